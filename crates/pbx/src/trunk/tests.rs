//! Ladders of a trunk's life. `a` and `b` are the carrier's servers; times are in seconds.

mod world;

use guard::fact::Fact;
use guard::gate::{Algorithm, Proof};
use guard::id::{RealmId, TenantId, TrunkId};
use sip::{Method, Name, NameAddrBuf};

use self::world::{
    CARRIER, World, account, challenge, inbound, invite, invite_to, is_believed, nonce, over_udp,
    registration, secret, tls, trunk, udp,
};
use crate::command::{Change, Mend, Refusal, TrunkState};
use crate::directory::{Trunk, TrunkAccess};
use crate::flow::{Path, Transport};
use crate::io::ConnectError;

const ID: TrunkId = TrunkId(1);

// Registration.

#[test]
fn a_trunk_registers_with_digest_and_refreshes_at_half_time() {
    let mut world = World::registering();
    world.locate(&[tls(1), tls(2)]);
    world.connect();
    world.answer(Method::Register, 401, |answer| {
        let [md5, sha] = [sip::digest::Algorithm::Md5, sip::digest::Algorithm::Sha256]
            .map(|algorithm| challenge(&nonce(), algorithm));
        answer.header(Name::WwwAuthenticate, &md5).header(Name::WwwAuthenticate, &sha)
    });
    assert!(is_believed(world.last(Method::Register), "geheim"));
    assert!(!is_believed(world.last(Method::Register), "other"));
    world.grant(300);
    world.check(
        "
         0s  pbx looks up
         0s  pbx connects TLS a
         0s  pbx > a  REGISTER
         0s  a > pbx  401 REGISTER
         0s  pbx > a  REGISTER with credentials
         0s  a > pbx  200 REGISTER
         0s  up: TLS to 192.0.2.1:5061, registered for 300 s, SHA-256
         0s  reachable at a
        ",
    );
    let (first, token) = (world.last(Method::Register).clone(), world.token());
    assert_eq!(token.len(), 32, "128 bits");
    let line = "<sip:4930123@sip.carrier.test>";
    assert_eq!(first.headers().to().as_str(), line);
    assert_eq!(first.uri().as_str(), "sip:sip.carrier.test");
    assert_eq!(first.headers().expires(), Some(300));
    let contact = format!("<sip:{token}@198.51.100.2:5061;transport=tls;line={token}>");
    assert_eq!(world.contact().as_str(), contact);
    // OPTIONS come in between.
    world.pass(151);
    let refresh = world.last(Method::Register).clone();
    assert_eq!(refresh.headers().call_id(), first.headers().call_id(), "RFC 3261 §10.2");
    assert_eq!(refresh.headers().cseq().number, first.headers().cseq().number + 1);
    assert_eq!(world.token(), token);
    assert!(refresh.headers().authorization().next().is_some(), "saves a round trip");
    assert!(world.now.instant.since(pure::Instant(1_000_000_000)).as_secs() <= 151);
    world.grant(300);
    assert!(world.is_up());
    assert_eq!(world.told(), (1, 0));
}

#[test]
fn a_wrong_password_is_told_and_not_repeated() {
    let mut world = World::registering();
    world.locate(&[tls(1), tls(2)]);
    world.connect();
    world.challenge(Method::Register, "n1");
    // Many servers draw a new nonce for each answer that is wrong.
    world.challenge(Method::Register, "n2");
    world.check(
        "
         0s  pbx looks up
         0s  pbx connects TLS a
         0s  pbx > a  REGISTER
         0s  a > pbx  401 REGISTER
         0s  pbx > a  REGISTER with credentials
         0s  a > pbx  401 REGISTER
         0s  pbx closes 1
         0s  down: the carrier refuses the password of the trunk's account
        ",
    );
    assert_eq!(world.why(), "the carrier refuses the password of account 4930123");
    let before = world.count(Method::Register);
    world.pass(500);
    assert_eq!(world.count(Method::Register), before, "accounts get locked");
    assert!(world.routes(false).is_empty());
}

#[test]
fn a_stale_nonce_is_no_wrong_password() {
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.challenge(Method::Register, "n1");
    let stale = |nonce: &str| format!("Digest realm=\"c\", nonce=\"{nonce}\", stale=true");
    world.answer(Method::Register, 401, |a| a.header(Name::WwwAuthenticate, &stale("n2")));
    world.grant(300);
    assert!(world.is_up());
    // But nobody makes us answer without end.
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    for nonce in ["n1", "n2", "n3"] {
        world.answer(Method::Register, 401, |a| a.header(Name::WwwAuthenticate, &stale(nonce)));
    }
    assert_eq!(world.why(), "the carrier asks for the password again and again");
}

#[test]
fn md5_is_answered_only_where_the_account_allows_it_and_shows() {
    let md5 = challenge("n", sip::digest::Algorithm::Md5);
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.answer(Method::Register, 407, |a| a.header(Name::ProxyAuthenticate, &md5));
    let header = world.last(Method::Register).headers().proxy_authorization().next().is_some();
    assert!(header, "a proxy's challenge is answered to the proxy");
    world.grant(300);
    let said = |fact: &Fact| matches!(fact, Fact::TrunkUp { how, .. } if how.ends_with("MD5"));
    assert!(world.facts.iter().any(said), "{:?}", world.facts);
    assert_eq!(world.view().weaknesses, ["digest MD5"]);

    let strict = TrunkAccess::Registration(account(Algorithm::Sha256));
    let mut world = World::with(vec![trunk(1, strict)], Vec::new());
    world.locate(&[tls(1)]);
    world.connect();
    world.answer(Method::Register, 401, |a| a.header(Name::WwwAuthenticate, &md5));
    assert!(world.why().contains("with MD5 only, which this trunk doesn't allow"));
    assert_eq!(world.count(Method::Register), 1, "no answer to guess at");
}

#[test]
fn what_a_carrier_grants_is_bounded() {
    type Answer = fn(sip::ResponseBuilder, &NameAddrBuf) -> sip::ResponseBuilder;
    let cases: [(&str, Answer, u64); 8] = [
        ("huge", |a, c| a.contact(&c.with_param("expires", Some("4294967295")).unwrap()), 3_600),
        (
            "beyond huge",
            |a, c| a.contact(&c.with_param("expires", Some("99999999999999999999")).unwrap()),
            3_600,
        ),
        // RFC 3261 §10.2.1.1: malformed counts as an hour.
        ("negative", |a, c| a.contact(&c.with_param("expires", Some("-5")).unwrap()), 3_600),
        ("tiny", |a, c| a.contact(&c.with_param("expires", Some("1")).unwrap()), 60),
        ("in the header", |a, c| a.contact(c).expires(120), 120),
        ("no contact", |a, _| a.expires(90), 90),
        ("nothing at all", |a, _| a, 300),
        (
            "many others",
            |a, _| {
                (0..90).fold(a.expires(100), |a, n| {
                    let other = NameAddrBuf::new(None, &format!("sip:o{n}@203.0.113.1")).unwrap();
                    a.contact(&other.with_param("expires", Some("9000")).unwrap())
                })
            },
            100,
        ),
    ];
    for (name, answer, granted) in cases {
        let mut world = World::registering();
        world.locate(&[tls(1)]);
        world.connect();
        let contact = world.contact();
        world.answer(Method::Register, 200, |builder| answer(builder, &contact));
        let TrunkState::Up { expires: Some(expires), .. } = world.view().state else {
            panic!("{name}: {:?}", world.view().state)
        };
        assert_eq!(expires.since(world.now.utc).as_secs(), granted, "{name}");
        world.pass(granted / 2 + 1);
        assert_eq!(world.count(Method::Register), 2, "{name}: refreshed at half of it");
    }
}

#[test]
fn a_registration_for_no_time_is_none() {
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.grant(0);
    assert_eq!(world.why(), "the carrier accepts the registration for no time at all");
}

#[test]
fn a_carrier_may_ask_for_longer_registrations_within_reason() {
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.answer(Method::Register, 423, |a| a.header(Name::MinExpires, "1800"));
    assert_eq!(world.last(Method::Register).headers().expires(), Some(1_800));
    world.grant(1_800);
    assert!(world.is_up());
    // It is asked for from now on.
    world.pass(901);
    assert_eq!(world.last(Method::Register).headers().expires(), Some(1_800));

    for least in ["4294967295", "300", "10"] {
        let mut world = World::registering();
        world.locate(&[tls(1)]);
        world.connect();
        world.answer(Method::Register, 423, |a| a.header(Name::MinExpires, least));
        assert_eq!(world.why(), "the carrier answers REGISTER with 423", "{least}");
    }
    // Twice in one attempt is a circle.
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.answer(Method::Register, 423, |a| a.header(Name::MinExpires, "600"));
    world.answer(Method::Register, 423, |a| a.header(Name::MinExpires, "1200"));
    assert_eq!(world.why(), "the carrier answers REGISTER with 423");
}

// Places.

#[test]
fn a_silent_server_is_left_for_the_next() {
    let mut world = World::registering();
    world.locate(&[tls(1), tls(2)]);
    world.refuse(ConnectError::Unreachable("refused".into()));
    world.connect();
    world.pass(32);
    world.ignore();
    world.check(
        "
         0s  pbx looks up
         0s  pbx connects TLS a
         0s  pbx connects TLS b
         0s  pbx > b  REGISTER
        32s  pbx closes 1           // Timer F
        32s  down: no answer to REGISTER
        ",
    );
    // After a while from the beginning.
    world.pass(6);
    world.locate(&[tls(1), tls(2)]);
    world.connect();
    world.grant(300);
    world.check(
        "
        37s  pbx looks up
        38s  pbx connects TLS a
        38s  pbx > a  REGISTER
        38s  a > pbx  200 REGISTER
        38s  up: TLS to 192.0.2.1:5061, registered for 300 s, no password
        38s  reachable at a
        ",
    );
}

#[test]
fn a_busy_server_is_left_at_once_and_its_wish_to_wait_is_bounded() {
    let mut world = World::registering();
    world.locate(&[tls(1), tls(2)]);
    world.connect();
    world.answer(Method::Register, 503, |a| a.header(Name::RetryAfter, "99999999"));
    world.connect();
    world.answer(Method::Register, 503, |a| a.header(Name::RetryAfter, "99999999"));
    world.check(
        "
         0s  pbx looks up
         0s  pbx connects TLS a
         0s  pbx > a  REGISTER
         0s  a > pbx  503 REGISTER
         0s  pbx closes 1
         0s  pbx connects TLS b
         0s  pbx > b  REGISTER
         0s  b > pbx  503 REGISTER
         0s  pbx closes 2
         0s  down: the carrier answers REGISTER with 503
        ",
    );
    assert_eq!(world.retry().as_secs(), 900);
}

#[test]
fn pauses_grow_and_stay_below_their_bound() {
    let mut world = World::registering();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        world.locate(&[]);
        pauses.push(world.retry().as_secs_f64());
        let pause = world.retry().as_secs() + 1;
        world.pass(pause);
    }
    assert!((4.5..=5.5).contains(&pauses[0]), "{pauses:?}");
    assert!((9.0..=11.0).contains(&pauses[1]), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 330.0), "{pauses:?}");
    assert!(pauses[11] >= 270.0, "{pauses:?}");
    assert_eq!(world.told(), (0, 1), "told once");
    assert_eq!(world.why(), "no server was found under sip.carrier.test");
}

#[test]
fn pauses_are_short_while_a_carrier_is_owed_a_bye_and_only_so_long() {
    let mut world = World::registering();
    let pause = |world: &mut World| {
        world.locate(&[]);
        let pause = world.retry().as_secs();
        world.pass(pause + 1);
        pause
    };
    for _ in 0..8 {
        pause(&mut world);
    }
    world.locate(&[]);
    assert!(world.retry().as_secs() >= 270);
    world.owe();
    assert!(world.retry().as_secs() <= 17, "the pause that has begun is cut short");
    world.pass(17);
    let owed: Vec<u64> = (0..50).map(|_| pause(&mut world)).collect();
    assert!(owed.iter().all(|pause| (12..=17).contains(pause)), "{owed:?}");
    let later: Vec<u64> = (0..30).map(|_| pause(&mut world)).collect();
    assert!(later[29] >= 270, "{later:?}");
}

#[test]
fn a_carrier_that_asked_for_a_pause_is_left_alone_whoever_waits() {
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.answer(Method::Register, 503, |a| a.header(Name::RetryAfter, "600"));
    let pause = world.retry();
    world.owe();
    assert_eq!(world.retry(), pause);
}

#[test]
fn a_name_server_that_is_down_takes_no_trunk_down() {
    let mut world = World::up();
    world.pass(70);
    world.break_connection();
    world.refuse(ConnectError::TimedOut);
    world.refuse(ConnectError::TimedOut);
    let pause = world.retry().as_secs() + 1;
    world.pass(pause);
    world.forget();
    world.locate(&[]);
    assert!(world.has_said("pbx connects TLS a"), "where it was");
}

#[test]
fn more_places_than_bounded_are_cut_and_foreign_transports_ignored() {
    let mut world = World::registering();
    let many: Vec<_> = [udp(9)].into_iter().chain((1..=60).map(tls)).collect();
    world.locate(&many);
    for _ in 0..8 {
        world.refuse(ConnectError::TimedOut);
    }
    assert_eq!(world.why(), "the connection timed out");
}

// Flows.

#[test]
fn a_lost_connection_comes_back_at_once() {
    let mut world = World::up();
    world.pass(100);
    world.answer(Method::Options, 200, |a| a);
    world.forget();
    world.break_connection();
    assert!(!world.is_up());
    assert!(world.routes(false).is_empty(), "nothing leads there");
    world.connect();
    world.grant(300);
    world.check(
        "
       100s  a breaks
       100s  pbx connects TLS a
       100s  pbx > a  REGISTER with credentials
       100s  a > pbx  200 REGISTER
       100s  reachable at a
        ",
    );
    assert_eq!(world.told(), (0, 0), "nobody is woken for that");
}

#[test]
fn a_connection_that_breaks_at_once_is_not_opened_in_a_circle() {
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    world.connect();
    world.grant(300);
    world.forget();
    world.break_connection();
    world.check(
        "
         0s  a breaks
         0s  down: the carrier closes the connection again and again
        ",
    );
    assert!(world.retry().as_secs() >= 4);
}

#[test]
fn a_connection_that_comes_too_late_is_closed() {
    let mut world = World::registering();
    world.locate(&[tls(1)]);
    let late = world.asked();
    world.pass(16);
    assert_eq!(world.why(), "the connection timed out");
    world.forget();
    world.connect_late(late);
    world.check("16s pbx closes 1");
}

// Health.

#[test]
fn two_unanswered_options_are_down_and_one_answer_is_up_each_told_once() {
    let mut world = World::by_address();
    world.locate(&[udp(1)]);
    world.connect();
    world.answer(Method::Options, 404, |a| a);
    world.check(
        "
         0s  pbx looks up
         0s  pbx connects UDP a
         0s  pbx > a  OPTIONS
         0s  a > pbx  404 OPTIONS
         0s  up: UDP to 192.0.2.1:5060, answers OPTIONS with 404
         0s  reachable at a
        ",
    );
    world.pass(34);
    world.answer(Method::Options, 405, |a| a);
    world.forget();
    world.pass(34 + 32 + 5 + 32 + 1);
    world.ignore();
    assert_eq!(world.why(), "no answer to OPTIONS");
    assert_eq!(world.told(), (1, 1));
    assert_eq!(world.routes(false), Vec::<String>::new());
    assert_eq!(world.routes(true), ["1 a"], "for a call for help even so");
    world.pass(6);
    world.locate(&[udp(1)]);
    world.connect();
    world.answer(Method::Options, 200, |a| a);
    assert_eq!(world.told(), (2, 1));
    assert_eq!(world.routes(false), ["1 a"]);
}

#[test]
fn one_lost_options_is_nothing() {
    let mut world = World::by_address();
    world.locate(&[udp(1)]);
    world.connect();
    world.answer(Method::Options, 200, |a| a);
    world.pass(28);
    world.ignore(); // the one that is lost
    world.pass(32 + 5);
    world.answer(Method::Options, 200, |a| a);
    world.pass(20);
    assert!(world.is_up());
    assert_eq!(world.told(), (1, 0));
}

#[test]
fn a_registrar_that_never_answers_options_lives_by_its_registration() {
    let mut world = World::up();
    for _ in 0..4 {
        world.pass(151);
        world.grant(300);
        world.ignore();
    }
    assert!(world.is_up());
    assert_eq!(world.told(), (0, 0));
    assert!(world.count(Method::Options) >= 5, "asked all the same: it keeps the way open");
}

// Who calls.

#[test]
fn a_token_counts_from_the_carrier_only() {
    let mut world = World::up();
    let token = world.token();
    let (own, _) = world.seen.last().cloned().expect("a request");
    let who = |world: &World, path, user: &str| {
        world.trunks.identify(path, &invite(user, "sip.carrier.test"))
    };
    assert_eq!(who(&world, own, &token), Some((ID, Proof::TrunkContact)));
    assert_eq!(who(&world, own, "4930123"), None, "without it, nobody");
    // A carrier that puts the number called into our Contact, in place of its user.
    let host = format!("198.51.100.2:5061;transport=tls;line={token}");
    let called =
        world.trunks.identify(own, &invite_to(&format!("sip:+4930123@{host}"), "sip.carrier.test"));
    assert_eq!(called, Some((ID, Proof::TrunkContact)));
    // The carrier's other server opens a connection to us.
    let carrier = world.open(CARRIER, Transport::Tls, Some(([192, 0, 2, 2], 40_001).into()));
    let from = |flow, address: [u8; 4]| Path { flow, remote: (address, 40_001).into() };
    assert_eq!(who(&world, from(carrier, [192, 0, 2, 2]), &token), Some((ID, Proof::TrunkContact)));
    // Somebody has read it.
    let thief = world.open(CARRIER, Transport::Tls, Some(([203, 0, 113, 9], 40_001).into()));
    assert_eq!(who(&world, from(thief, [203, 0, 113, 9]), &token), None);
    // The carrier's address, on the side of the phones.
    let access = world.open(RealmId(1), Transport::Tls, None);
    assert_eq!(who(&world, from(access, [192, 0, 2, 1]), &token), None);
    // The carrier's address over UDP, where anybody can write it.
    let socket = world.open(CARRIER, Transport::Udp, None);
    assert_eq!(who(&world, from(socket, [192, 0, 2, 1]), &token), None);
}

#[test]
fn an_address_counts_on_its_realm_and_transport_only() {
    let mut strict = trunk(2, TrunkAccess::Address(None));
    strict.sources = vec![[203, 0, 113, 50].into()];
    let plain = over_udp(trunk(1, TrunkAccess::Address(None)));
    let mut world = World::with(vec![plain, strict], Vec::new());
    world.locate(&[udp(1)]);
    world.locate(&[tls(3)]);
    let socket = world.open(CARRIER, Transport::Udp, None);
    let access = world.open(RealmId(1), Transport::Udp, None);
    let at = |flow, address: [u8; 4]| Path { flow, remote: (address, 5_060).into() };
    let who = |world: &World, path| {
        let found = world.trunks.identify(path, &invite("+4930123", "elsewhere.test"));
        assert_eq!(found.is_some(), world.trunks.is_carrier(path));
        found
    };
    assert_eq!(who(&world, at(socket, [192, 0, 2, 1])), Some((ID, Proof::TrunkAddress)));
    assert_eq!(who(&world, at(access, [192, 0, 2, 1])), None, "spoofed from the phones' side");
    assert_eq!(who(&world, at(socket, [203, 0, 113, 50])), None, "a TLS trunk's, over UDP");
    assert_eq!(who(&world, at(socket, [192, 0, 2, 99])), None);
    let tls_flow = world.open(CARRIER, Transport::Tls, None);
    let second = Some((TrunkId(2), Proof::TrunkAddress));
    assert_eq!(who(&world, at(tls_flow, [203, 0, 113, 50])), second);
    assert!(world.trunks.is_at(TrunkId(2), at(tls_flow, [203, 0, 113, 50])));
    assert!(!world.trunks.is_at(ID, at(tls_flow, [203, 0, 113, 50])));
    // IPv4 as a dual-stack socket shows it.
    let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
    let mapped = Path { flow: socket, remote: (mapped, 5_060).into() };
    assert_eq!(who(&world, mapped), Some((ID, Proof::TrunkAddress)));
}

#[test]
fn of_two_trunks_at_one_address_host_and_number_decide() {
    let mut trunks: Vec<Trunk> =
        (1..=3).map(|id| over_udp(trunk(id, TrunkAccess::Address(None)))).collect();
    trunks[2].host = "other.test".to_owned();
    let numbers = vec![inbound("+4930200", 2)];
    let mut world = World::with(trunks, numbers);
    for _ in 0..3 {
        world.locate(&[udp(1)]);
    }
    let socket = world.open(CARRIER, Transport::Udp, None);
    let path = Path { flow: socket, remote: ([192, 0, 2, 1], 5_060).into() };
    let who = |user: &str, host: &str| {
        world.trunks.identify(path, &invite(user, host)).map(|(trunk, _)| trunk.0)
    };
    assert_eq!(who("4930200", "OTHER.test"), Some(3), "the host in From");
    assert_eq!(who("4930200", "sip.carrier.test"), Some(2), "the number called");
    assert_eq!(who("+4930200", "192.0.2.1"), Some(2));
    assert_eq!(who("+4930999", "sip.carrier.test"), Some(1), "else the first");
}

// Changes.

#[test]
fn a_change_ends_the_old_registration_and_draws_a_new_token() {
    let mut world = World::up();
    let (path, old) = (world.seen.last().expect("a request").0, world.token());
    let changed = Trunk { channels: 20, ..trunk(1, registration()) };
    let change = Change::SetTrunk { trunk: Box::new(changed), secret: None };
    world.change(change).expect("sound");
    world.check(
        "
         0s  pbx > a  REGISTER Expires: 0
         0s  pbx > a  REGISTER
        ",
    );
    assert_eq!(world.routes(false), ["1 a"], "calls go on");
    world.challenge(Method::Register, "n7");
    world.challenge(Method::Register, "n8");
    let leaving = world.seen[world.seen.len() - 2].1.clone();
    assert_eq!(leaving.headers().expires(), Some(0), "who leaves is asked as well");
    assert!(leaving.headers().authorization().next().is_some());
    world.answer(Method::Register, 200, |a| a);
    world.grant(300);
    assert!(world.is_up());
    let new = world.token();
    assert_ne!(new, old);
    let who = |user: &str| world.trunks.identify(path, &invite(user, "sip.carrier.test"));
    assert_eq!(who(&old), None);
    assert_eq!(who(&new), Some((ID, Proof::TrunkContact)));
    let words = world.facts.iter().find_map(|fact| match fact {
        Fact::TrunkChanged { change, .. } => Some(change.clone()),
        _ => None,
    });
    assert_eq!(words.as_deref(), Some("channels 10 to 20."));
}

#[test]
fn another_carrier_leaves_the_connection_to_the_calls_on_it() {
    let mut world = World::up();
    let moved = Trunk { host: "new.test".to_owned(), ..trunk(1, registration()) };
    let change = Change::SetTrunk { trunk: Box::new(moved), secret: Some(secret("neu")) };
    world.change(change).expect("sound");
    world.locate(&[tls(5)]);
    world.check(
        "
         0s  pbx looks up
         0s  pbx > a  REGISTER Expires: 0
         0s  pbx connects TLS e
        ",
    );
    world.answer(Method::Register, 200, |a| a);
    world.connect();
    world.grant(3_600);
    world.forget();
    world.pass(4 * 3_600 - 60);
    assert!(!world.has_said("pbx closes 1"));
    world.pass(120);
    assert!(world.has_said("pbx closes 1"), "the longest call is over");
}

#[test]
fn a_removed_trunk_is_unregistered_and_its_calls_are_heard() {
    let mut world = World::with(vec![over_udp(trunk(1, registration()))], Vec::new());
    world.locate(&[udp(1)]);
    world.connect();
    world.grant(300);
    world.forget();
    let (path, _) = world.seen.last().cloned().expect("a request");
    world.change(Change::RemoveTrunk { trunk: ID }).expect("it has no numbers");
    world.check("0s pbx > a REGISTER Expires: 0");
    assert!(world.trunks.is_carrier(path), "for the BYE of a call that is up");
    assert!(world.trunks.identify(path, &invite("x", "x")).is_none());
    assert!(world.trunks.get(ID).is_none());
    world.pass(4 * 3_600 + 1);
    assert!(!world.trunks.is_carrier(path));
    assert!(world.trunks.poll_timeout().is_none(), "nothing is left of it");
}

#[test]
fn a_disabled_trunk_is_quiet() {
    let mut world = World::up();
    let disabled = Trunk { enabled: false, ..trunk(1, registration()) };
    let change = Change::SetTrunk { trunk: Box::new(disabled), secret: None };
    world.change(change).expect("sound");
    world.check("0s pbx > a REGISTER Expires: 0");
    world.answer(Method::Register, 200, |a| a);
    world.forget();
    world.pass(3_000);
    world.check("");
    assert_eq!(world.view().state, TrunkState::Disabled);
    assert!(world.routes(true).is_empty());
    assert_eq!(world.told(), (0, 0));
}

#[test]
fn changes_are_judged() {
    let mut world = World::with(vec![trunk(1, registration())], vec![inbound("+4930200", 1)]);
    let add = |trunk: Trunk, with: bool| Change::AddTrunk {
        trunk: Box::new(trunk),
        secret: with.then(|| secret("x")),
    };
    let second = || Trunk { name: "second".to_owned(), ..trunk(2, registration()) };
    let user = |user: &str| {
        let account =
            crate::directory::TrunkAccount { user: user.to_owned(), ..account(Algorithm::Md5) };
        Trunk { access: TrunkAccess::Registration(account), ..second() }
    };
    let same_name = Trunk { name: "carrier 1".to_owned(), ..second() };
    let host = |host: &str| Trunk { host: host.to_owned(), ..second() };
    let crowded = Trunk { sources: vec![[192, 0, 2, 1].into(); 65], ..second() };
    let refused = [
        (add(second(), false), Refusal::NotAllowed),
        (add(same_name, true), Refusal::InUse),
        (add(host("a\r\nVia: x"), true), Refusal::NotAllowed),
        (add(host("a.test;lr"), true), Refusal::NotAllowed),
        (add(host("a.test:5060"), true), Refusal::NotAllowed),
        (add(host("x@a.test"), true), Refusal::NotAllowed),
        (add(host(""), true), Refusal::NotAllowed),
        (add(user("me@x>;tag=1"), true), Refusal::NotAllowed),
        (add(user(""), true), Refusal::NotAllowed),
        (add(crowded, true), Refusal::TooMany),
        (Change::RemoveTrunk { trunk: ID }, Refusal::InUse),
        (Change::RemoveTrunk { trunk: TrunkId(9) }, Refusal::NotFound),
        (Change::SetInbound { inbound: inbound("4930201", 1) }, Refusal::NotAllowed),
        (Change::SetInbound { inbound: inbound("+49302010000000000", 1) }, Refusal::NotAllowed),
        (Change::SetInbound { inbound: inbound("+4930201", 9) }, Refusal::NotFound),
        (Change::RemoveInbound { number: "+1".to_owned() }, Refusal::NotFound),
    ];
    for (change, refusal) in refused {
        let text = format!("{change:?}");
        assert!(!text.contains("geheim"));
        assert_eq!(world.change(change), Err(refusal), "{text}");
    }
    let mut other = inbound("+4930200", 1);
    other.tenant = TenantId(7);
    let change = Change::SetInbound { inbound: other };
    assert_eq!(world.change(change), Err(Refusal::NumberTaken), "it is somebody's");
    world.change(add(second(), true)).expect("sound");
    world
        .change(add(Trunk { id: TrunkId(3), name: "v6".into(), ..host("2001:db8::1") }, true))
        .expect("an IPv6 address is a host");
    world.change(Change::SetInbound { inbound: inbound("+4930201", 2) }).expect("ours");
    assert!(world.trunks.inbound(TrunkId(2), "+4930201").is_some());
    assert!(world.trunks.inbound(ID, "+4930201").is_none(), "at the other trunk");
    assert_eq!(world.trunks.numbers_of(TenantId::HOUSE).count(), 2);
}

#[test]
fn trunks_and_numbers_are_bounded() {
    let mut world = World::with(Vec::new(), Vec::new());
    for id in 1..=200 {
        let trunk = Box::new(trunk(id, TrunkAccess::Address(None)));
        world.change(Change::AddTrunk { trunk, secret: None }).expect("room");
    }
    let more = Box::new(trunk(201, TrunkAccess::Address(None)));
    let change = Change::AddTrunk { trunk: more, secret: None };
    assert_eq!(world.change(change), Err(Refusal::TooMany));
    let numbers = (0..20_000).map(|n| inbound(&format!("+4930{n:05}"), 1)).collect();
    let mut world = World::with(vec![trunk(1, TrunkAccess::Address(None))], numbers);
    let one = |number: &str| Change::SetInbound { inbound: inbound(number, 1) };
    assert_eq!(world.change(one("+4931")), Err(Refusal::TooMany));
    assert_eq!(world.change(one("+493000001")), Ok(()), "moving one is no more");
}

// Routes.

#[test]
fn routes_follow_priority_then_failures() {
    let first = Trunk { priority: 1, ..over_udp(trunk(2, TrunkAccess::Address(None))) };
    let theirs =
        Trunk { tenant: Some(TenantId(9)), ..over_udp(trunk(3, TrunkAccess::Address(None))) };
    let mut world = World::with(
        vec![over_udp(trunk(1, TrunkAccess::Address(None))), first, theirs],
        Vec::new(),
    );
    world.locate(&[udp(1), udp(2)]);
    world.locate(&[udp(3), udp(4)]);
    world.locate(&[udp(5)]);
    for _ in 0..3 {
        world.connect();
    }
    assert!(world.routes(false).is_empty(), "nobody has answered yet");
    for _ in 0..3 {
        world.answer(Method::Options, 200, |a| a);
    }
    assert_eq!(world.routes(false), ["2 c", "2 d", "1 a", "1 b"]);
    world.trunks.place_failed(TrunkId(2), udp(3), world.now);
    assert_eq!(world.routes(false), ["2 d", "1 a", "1 b", "2 c"]);
    world.pass(3);
    world.trunks.place_failed(TrunkId(2), udp(77), world.now);
    assert_eq!(world.routes(false), ["2 d", "1 a", "1 b", "2 c"], "an unknown place is nothing");
}

// Challenges of calls.

#[test]
fn a_call_is_authorised_beside_the_registration() {
    let mut world = World::up();
    let text = challenge("n1", sip::digest::Algorithm::Sha256);
    let request = invite("+1555", "x");
    let status = sip::Status::PROXY_AUTHENTICATION_REQUIRED;
    let response = sip::Response::builder(&request, status)
        .to_tag("t")
        .header(Name::ProxyAuthenticate, &text)
        .build()
        .expect("sound");
    let uri = "sip:+1555@sip.carrier.test";
    let mut answer = || world.trunks.answer_challenge(ID, &response, &Method::Invite, uri);
    let (name, first) = answer().expect("an account");
    assert_eq!(name, Name::ProxyAuthorization);
    assert!(first.contains("nc=00000001"), "{first}");
    // A second call, challenged in the same second with the same nonce.
    let (_, second) = answer().expect("no wrong password");
    assert!(second.contains("nc=00000002"), "{second}");
    let mut world = World::by_address();
    let none = world.trunks.answer_challenge(ID, &response, &Method::Invite, uri);
    assert_eq!(none, None, "no account");
}

// Tests of trunks.

#[test]
fn a_test_of_a_trunk_that_is_up_tells_each_step_and_disturbs_nothing() {
    let mut world = World::up();
    let token = world.token();
    world.test().expect("nothing is being tested");
    assert_eq!(world.test(), Err(Refusal::InUse), "one at a time");
    world.challenge(Method::Register, "n2");
    world.grant(300);
    world.answer(Method::Options, 404, |a| a);
    assert!(world.tests.is_empty(), "the look-up is awaited");
    world.locate(&[tls(1)]);
    let test = world.tests.pop().expect("the end");
    let steps: Vec<_> =
        test.steps.iter().map(|s| format!("{} {} {}", s.what, s.passed, s.found)).collect();
    assert_eq!(
        steps,
        [
            "look-up true sip.carrier.test is at TLS 192.0.2.1:5061.",
            "connection true TLSv1.3 TLS13_AES_128_GCM_SHA256 to 192.0.2.1:5061; the certificate \
             names sip.carrier.test.",
            "registration true Registered for 300 s, proved by digest SHA-256.",
            "options true OPTIONS was answered with 404 in 0 ms.",
        ]
    );
    assert!(test.passed);
    assert_eq!(test.weaknesses, ["digest may use MD5", "answers OPTIONS with 404"]);
    assert_eq!(world.token(), token);
    assert!(world.is_up());
    world.test().expect("the former one is over");
}

#[test]
fn a_test_of_a_disabled_trunk_brings_it_up_for_that_only() {
    let off = Trunk { enabled: false, ..trunk(1, registration()) };
    let mut world = World::with(vec![off], Vec::new());
    world.check("");
    world.test().expect("nothing is being tested");
    world.locate(&[tls(1), tls(2)]);
    let words = "the certificate is for other.test";
    world.refuse(ConnectError::Tls { why: words.into(), mend: Mend::ServerName });
    world.connect();
    world.grant(120);
    world.answer(Method::Options, 200, |a| a);
    let test = world.tests.pop().expect("the end");
    assert!(test.passed, "{test:?}");
    let failed: Vec<_> = test.steps.iter().filter(|step| !step.passed).collect();
    assert_eq!(failed.len(), 1);
    let told =
        "The encrypted connection failed: the certificate is for other.test (192.0.2.1:5061).";
    assert_eq!((failed[0].found.as_str(), failed[0].mend), (told, Some(Mend::ServerName)));
    assert!(test.steps.iter().filter(|step| step.passed).all(|step| step.mend.is_none()));
    assert_eq!(world.last(Method::Register).headers().expires(), Some(0), "and away again");
    assert_eq!(world.view().state, TrunkState::Disabled);
    assert!(world.routes(true).is_empty());
}

#[test]
fn a_test_ends_in_time_whatever_the_carrier_does() {
    let mut world = World::up();
    world.test().expect("nothing is being tested");
    world.pass(21);
    let test = world.tests.pop().expect("the end");
    assert!(!test.passed);
    let last = test.steps.iter().find(|step| !step.passed).expect("what failed");
    assert_eq!((last.what, last.found.as_str()), ("registration", "Nothing came within 20 s."));
    // A wrong password is an end as well.
    let mut world = World::registering();
    world.test().expect("nothing is being tested");
    world.locate(&[tls(1)]);
    world.connect();
    world.challenge(Method::Register, "n1");
    world.challenge(Method::Register, "n2");
    let test = world.tests.pop().expect("the end");
    let last = test.steps.last().expect("a step");
    let why = "The carrier refuses the password of account 4930123 (192.0.2.1:5061).";
    assert_eq!((last.what, last.passed, last.found.as_str()), ("registration", false, why));
}

// Whatever comes.

/// A carrier, a name server and a network that do anything at any time, with administrators who change
/// their minds: nothing panics, nothing grows, and the journal hears of up and down in turn.
#[test]
fn any_course_of_events_leaves_the_engine_within_its_bounds() {
    for seed in 0..60 {
        let access = if seed % 3 == 0 { TrunkAccess::Address(None) } else { registration() };
        let mut first = trunk(1, access);
        if seed % 2 == 0 {
            first = over_udp(first);
        }
        let mut world = World::with(vec![first.clone()], Vec::new());
        let mut chance = pure::Chance::from_number(seed);
        let mut ups = 0;
        for step in 0..1_000 {
            world.anything(&mut chance, &first);
            let told: Vec<bool> = world
                .facts
                .iter()
                .filter_map(|fact| match fact {
                    Fact::TrunkUp { .. } => Some(true),
                    Fact::TrunkDown { .. } => Some(false),
                    Fact::TrunkChanged { .. } => None,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(
                told.windows(2).all(|two| two[0] != two[1]),
                "seed {seed} step {step}: {told:?}"
            );
            let sizes = world.trunks.sizes();
            assert!(sizes.iter().all(|(_, size, most)| size <= most), "seed {seed}: {sizes:?}");
            let open = world.open_connections();
            assert!(open <= 4, "seed {seed} step {step}: {open} connections are open");
            ups += usize::from(world.is_up());
            assert!(world.waits(), "seed {seed} step {step}: it waits for nothing");
        }
        assert!((20..980).contains(&ups), "seed {seed}: {ups}, which tests little");
        // The carrier comes to its senses.
        world.come_to_senses();
        assert!(world.is_up(), "seed {seed}: {:?}", world.view().state);
        assert!(!world.routes(false).is_empty());
    }
}

// The end.

#[test]
fn a_drain_unregisters_and_keeps_the_line_for_calls_for_help() {
    let mut world = World::up();
    world.drain();
    world.check("0s pbx > a REGISTER Expires: 0");
    world.answer(Method::Register, 200, |a| a);
    world.forget();
    assert_eq!(world.routes(true), ["1 a"]);
    world.pass(900);
    world.check("");
    world.break_connection();
    world.check("900s a breaks");
}

#[test]
fn secrets_are_silent() {
    let world = World::up();
    assert!(!format!("{:?}", world.trunks).contains("geheim"));
}
