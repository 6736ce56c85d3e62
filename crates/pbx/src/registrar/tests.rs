//! A phone and a stranger at the registrar's door.

use std::net::SocketAddr;

use bytes::Bytes;
use guard::access::Actor;
use guard::fact::AuthenticationFailure;
use guard::secret::{MasterKey, Sealed};
use sip::digest::{Client, Ha1};
use sip::{Message, Method, Name, NameAddrBuf};

use super::*;
use crate::authenticate::Verdict;
use crate::command::{Change, Refusal};
use crate::directory::Secret;

const REALM: &str = "pbx.test";
const PASSWORD: &str = "correct horse";
/// Where phones are heard over UDP, and whose socket it is.
const PORT: u16 = 5060;
const ACCESS: RealmId = RealmId(1);

#[test]
fn a_phone_registers_is_reached_on_its_flow_and_expires() {
    let mut world = World::new();
    let path = world.connect(1);
    let (status, effects) = world.register(&mut Phone::new("101", PASSWORD), path, 3_600);
    assert_eq!(status, Status::OK);
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Fact { fact: Fact::DeviceFirstSeen { .. }, .. }))
    );
    assert!(effects.iter().any(|e| matches!(e, Effect::Reachable { .. })));
    let targets = world.registrar.targets(world.extension);
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].path, path);

    world.pass(Duration::from_secs(91));
    let mut out = Vec::new();
    world.registrar.expire(world.now, &mut out);
    assert!(
        out.iter()
            .any(|e| matches!(e, Effect::Fact { fact: Fact::RegistrationExpired { .. }, .. }))
    );
    assert!(world.registrar.targets(world.extension).is_empty());
}

#[test]
fn a_dead_flow_is_unreachable_at_once() {
    let mut world = World::new();
    let path = world.connect(1);
    world.register(&mut Phone::new("101", PASSWORD), path, 60);
    let mut out = Vec::new();
    world.registrar.flow_closed(path.flow, &mut out);
    assert!(world.registrar.targets(world.extension).is_empty());
    assert!(out.iter().any(|e| matches!(e, Effect::Fact { fact: Fact::FlowLost { .. }, .. })));
}

#[test]
fn a_new_connection_of_the_same_phone_replaces_the_old() {
    let mut world = World::new();
    let mut phone = Phone::new("101", PASSWORD);
    let first = world.connect(1);
    world.register(&mut phone, first, 60);
    let second = world.connect(2);
    let (status, effects) = world.register(&mut phone, second, 60);
    assert_eq!(status, Status::OK);
    assert!(effects.iter().any(|e| matches!(e, Effect::CloseFlow(flow) if *flow == first.flow)));
    let targets = world.registrar.targets(world.extension);
    assert_eq!(targets.iter().map(|t| t.path).collect::<Vec<_>>(), [second]);
    // The late news of the old connection's end doesn't touch the new binding.
    world.registrar.flow_closed(first.flow, &mut Vec::new());
    assert_eq!(world.registrar.targets(world.extension).len(), 1);
}

#[test]
fn two_phones_of_one_extension_both_ring() {
    let mut world = World::new();
    let (desk, cell) = (world.connect(1), world.connect(2));
    world.register(&mut Phone::new("101", PASSWORD), desk, 60);
    world.register(
        &mut Phone { instance: Some("cell".into()), ..Phone::new("101", PASSWORD) },
        cell,
        60,
    );
    assert_eq!(world.registrar.targets(world.extension).len(), 2);
}

#[test]
fn strangers_learn_nothing_about_which_accounts_exist() {
    let mut world = World::new();
    let mut answers = Vec::new();
    for (number, password) in [("101", "wrong"), ("999", "wrong")] {
        let path = world.connect(answers.len() as u64 + 1);
        let phone = &mut Phone::new(number, password);
        let challenge = world.send(phone, path, 60).0;
        phone.answer(&challenge);
        let answer = world.send(phone, path, 60).0;
        answers.push((challenge, answer));
    }
    let [(first_a, then_a), (first_b, then_b)] = &answers[..] else { panic!("two strangers") };
    for (a, b) in [(first_a, first_b), (then_a, then_b)] {
        assert_eq!(a.status(), Status::UNAUTHORIZED);
        assert_eq!(shape(a), shape(b));
    }
}

#[test]
fn a_device_that_managed_sha_256_is_held_to_it_and_the_offer_does_not_tell() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, path, 60);
    let offered = |answer: &Response| {
        let values = answer.headers().get_all(Name::WwwAuthenticate);
        values.filter(|value| value.contains("algorithm=")).count()
    };
    // Somebody who knows the device's instance and agent sees what everybody sees.
    for (generation, number) in [(2, "101"), (3, "102"), (4, "999")] {
        let path = world.connect(generation);
        let stranger = &mut Phone { cseq: 90, ..Phone::new(number, PASSWORD) };
        assert_eq!(offered(&world.send(stranger, path, 60).0), 2, "{number}");
    }
    let path = world.connect(5);
    let weak = &mut Phone { cseq: 90, md5_only: true, ..Phone::new("101", PASSWORD) };
    assert_eq!(world.register(weak, path, 60).0, Status::UNAUTHORIZED);
    let sound = &mut Phone { cseq: 95, ..Phone::new("101", PASSWORD) };
    assert_eq!(world.register(sound, path, 60).0, Status::OK);
}

#[test]
fn a_guesser_with_many_names_fills_one_line_of_the_journal() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut facts = 0;
    for account in ["101", "102", "103", "104", "105"] {
        let phone = &mut Phone::new(account, "wrong");
        let challenge = world.send(phone, path, 60).0;
        phone.answer(&challenge);
        let (_, effects) = world.send(phone, path, 60);
        facts += effects.iter().filter(|e| matches!(e, Effect::Fact { .. })).count();
    }
    assert_eq!(facts, 1);
}

#[test]
fn a_contact_that_cannot_be_called_is_refused() {
    let mut world = World::new();
    let path = world.connect(1);
    for uri in ["tel:+19005550100", "http://evil.example/"] {
        let mut phone = Phone { contact: Some(uri), ..Phone::new("101", PASSWORD) };
        assert_eq!(world.register(&mut phone, path, 60).0, Status::BAD_REQUEST, "{uri}");
    }
}

#[test]
fn a_phone_that_an_unknown_algorithm_confuses_is_asked_for_md5_alone() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    let offered = |answer: &Response| answer.headers().get_all(Name::WwwAuthenticate).count();
    assert_eq!(offered(&world.send(&mut phone, path, 60).0), 2);
    assert_eq!(offered(&world.send(&mut phone, path, 60).0), 1, "it came back without an answer");
    let fresh =
        &mut Phone { agent: "baresip v1.1.0 (x86_64/Linux)", ..Phone::new("101", PASSWORD) };
    let other = world.connect(2);
    assert_eq!(offered(&world.send(fresh, other, 60).0), 1, "known to be confused");
}

/// As pjsua does: the new Contact without its instance, the old one removed, in one request.
#[test]
fn a_phone_that_moves_in_one_request_stays_the_same_device() {
    let mut world = World::new();
    let first = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, first, 60);
    let device = world.registrar.targets(world.extension)[0].device;
    world.registrar.flow_closed(first.flow, &mut Vec::new());
    let second = world.connect(2);
    phone.moved = true;
    let (status, effects) = world.register(&mut phone, second, 60);
    assert_eq!(status, Status::OK);
    let targets = world.registrar.targets(world.extension);
    assert_eq!(targets.iter().map(|t| (t.device, t.path)).collect::<Vec<_>>(), [(device, second)]);
    let back = |effect: &Effect| matches!(effect, Effect::Reachable { device: came, .. } if *came == device);
    assert!(effects.iter().any(back));
}

#[test]
fn a_captured_register_is_worth_nothing_elsewhere() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    let challenge = world.send(&mut phone, path, 60).0;
    phone.answer(&challenge);
    let captured = phone.request(60);
    let thief = world.connect(666);
    let stolen = world.registrar.register(world.now, &captured, thief, &mut Vec::new());
    assert_eq!(stolen.status(), Status::UNAUTHORIZED);
    let honest = world.registrar.register(world.now, &captured, path, &mut Vec::new());
    assert_eq!(honest.status(), Status::OK);
    let replayed = world.registrar.register(world.now, &captured, path, &mut Vec::new());
    assert_eq!(replayed.status(), Status::UNAUTHORIZED);
}

/// A stolen secret that comes and goes fills no journal, and keeps the phone itself from nothing.
#[test]
fn coming_and_going_is_paced_at_each_address() {
    let mut world = World::new();
    let (elsewhere, desk) = (world.connect(1), world.connect(2));
    let elsewhere = Path { remote: "203.0.113.9:5061".parse().expect("one"), ..elsewhere };
    let mut thief = Phone { instance: Some("thief".into()), ..Phone::new("101", PASSWORD) };
    let mut phone = Phone::new("101", PASSWORD);
    let mut comes_and_goes = |world: &mut World, rounds: u32| {
        let registrations = (0..rounds).flat_map(|_| [60, 0]);
        let answers = registrations.map(|expires| {
            let (status, effects) = world.register(&mut thief, elsewhere, expires);
            let facts = effects
                .iter()
                .filter(|e| matches!(e, Effect::Fact { fact, .. } if fact.journalled()));
            (status, facts.count())
        });
        let answers: Vec<_> = answers.collect();
        let refused = answers.iter().filter(|(status, _)| *status == Status::SERVICE_UNAVAILABLE);
        (refused.count(), answers.iter().map(|(_, facts)| facts).sum::<usize>())
    };
    let (refused, facts) = comes_and_goes(&mut world, 500);
    assert_eq!(refused, 1_000 - 60);
    assert!((60..70).contains(&facts), "{facts} lines of the journal");
    // The phone comes, refreshes, and comes back on another connection.
    assert_eq!(world.register(&mut phone, desk, 60).0, Status::OK);
    assert_eq!(world.register(&mut phone, desk, 60).0, Status::OK);
    let again = world.connect(3);
    assert_eq!(world.register(&mut phone, again, 60).0, Status::OK);
    world.pass(Duration::from_secs(60));
    assert_eq!(comes_and_goes(&mut world, 30).0, 0);
}

/// What refreshes is no change.
#[test]
fn a_phone_may_refresh_as_often_as_it_likes() {
    let mut world = World::new();
    let (mut phone, path) = (Phone::new("101", PASSWORD), world.connect(1));
    assert!((0..200).all(|_| world.register(&mut phone, path, 60).0 == Status::OK));
}

#[test]
fn another_accounts_name_is_refused() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone { named: "102", ..Phone::new("101", PASSWORD) };
    let (status, _) = world.register(&mut phone, path, 60);
    assert_eq!(status, Status::FORBIDDEN);
}

#[test]
fn too_brief_an_expiry_is_told_the_least() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    let challenge = world.send(&mut phone, path, 5).0;
    phone.answer(&challenge);
    let answer = world.send(&mut phone, path, 5).0;
    assert_eq!(answer.status(), Status::INTERVAL_TOO_BRIEF);
    assert_eq!(answer.headers().get(Name::MinExpires), Some("30"));
}

#[test]
fn signing_off_removes_the_binding_and_an_old_request_does_not() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, path, 60);
    // As if delayed on the way: both of its requests count below the registration's.
    phone.cseq -= 3;
    let (status, _) = world.register(&mut phone, path, 0);
    assert_eq!(status, Status::SERVER_INTERNAL_ERROR);
    assert_eq!(world.registrar.targets(world.extension).len(), 1);
    let (status, _) = world.register(&mut phone, path, 0);
    assert_eq!(status, Status::OK);
    assert!(world.registrar.targets(world.extension).is_empty());
}

/// Where a phone was is remembered over a restart, also when it was away then.
#[test]
fn the_row_of_a_binding_stays_when_its_connection_ends_and_goes_with_the_device() {
    let removes = |effects: &[Effect]| {
        effects.iter().any(|effect| {
            matches!(effect, Effect::Persist(rows)
                if rows.iter().any(|row| matches!(row, Row::RemoveBinding(_))))
        })
    };
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, path, 60);
    let mut effects = Vec::new();
    world.registrar.flow_closed(path.flow, &mut effects);
    assert!(world.registrar.targets(world.extension).is_empty());
    assert!(!effects.is_empty() && !removes(&effects), "{effects:?}");
    let device = world.registrar.device_views()[0].device.id;
    let change = Change::RemoveDevice { device };
    let prepared = world.registrar.prepare(&Actor::System, change).expect("it is there");
    assert!(removes(&[Effect::Persist(prepared.rows)]));
}

#[test]
fn the_wildcard_removes_every_binding_and_does_nothing_else() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, path, 60);
    phone.contact = Some("*");
    assert_eq!(world.register(&mut phone, path, 60).0, Status::BAD_REQUEST);
    assert_eq!(world.registrar.targets(world.extension).len(), 1);
    assert_eq!(world.register(&mut phone, path, 0).0, Status::OK);
    assert!(world.registrar.targets(world.extension).is_empty());
}

#[test]
fn devices_of_an_extension_are_bounded() {
    let mut world = World::new();
    let names: Vec<String> = (0..40).map(|n| format!("phone-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let path = world.connect(n as u64 + 1);
        let mut phone = Phone { instance: Some(name.clone()), ..Phone::new("101", PASSWORD) };
        let (status, _) = world.register(&mut phone, path, 60);
        let room = n < world.registrar.settings.bindings_max;
        assert_eq!(status, if room { Status::OK } else { Status::FORBIDDEN });
    }
    for generation in 1..=names.len() as u64 {
        let flow = FlowId { node: NodeId(1), transport: Transport::Tls, generation };
        world.registrar.flow_closed(flow, &mut Vec::new());
    }
    world.pass(Duration::from_secs(60));
    // Phones that went away are forgotten, oldest first, before new ones are turned away.
    for (n, name) in names.iter().enumerate() {
        let path = world.connect(n as u64 + 100);
        let mut phone = Phone { instance: Some(name.clone()), ..Phone::new("101", PASSWORD) };
        assert_eq!(world.register(&mut phone, path, 60).0, Status::OK);
        world.registrar.flow_closed(path.flow, &mut Vec::new());
        world.pass(Duration::from_secs(1));
    }
    assert!(world.registrar.device_views().len() <= world.registrar.settings.devices_max);
}

#[test]
fn a_rotated_secret_still_calls_for_help() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, path, 60);
    let until = world.now.utc + Duration::from_secs(86_400);
    let change = Change::RotateSecret {
        extension: world.extension,
        secret: secret(),
        credentials: credentials("101", "brand new"),
        previous_until: until,
    };
    let prepared = world.registrar.prepare(&Actor::System, change).expect("it exists");
    assert!(prepared.facts.iter().any(|fact| matches!(fact, Fact::SecretRotated { .. })));
    world.registrar.apply(prepared.change, &mut Vec::new());
    assert!(world.registrar.targets(world.extension).is_empty(), "it must sign in anew");

    let challenge = world.send(&mut phone, path, 60).0;
    phone.answer(&challenge);
    let request = phone.request(60);
    let verdict = world.registrar.authenticate(world.now, &request, path, false, &mut Vec::new());
    assert!(matches!(verdict, Verdict::Former { .. }), "{verdict:?}");
    assert_eq!(world.register(&mut phone, path, 60).0, Status::UNAUTHORIZED);
    world.pass(Duration::from_secs(86_401));
    let challenge = world.send(&mut phone, path, 60).0;
    phone.answer(&challenge);
    let request = phone.request(60);
    let verdict = world.registrar.authenticate(world.now, &request, path, false, &mut Vec::new());
    assert!(matches!(verdict, Verdict::Challenge(_)), "{verdict:?}");
}

/// Somebody rotated the secret and has not typed the new one into the phone yet: it is no guess, and it
/// must be seen.
#[test]
fn a_phone_with_the_former_secret_is_written_down_once_and_listed_until_it_is_put_right() {
    let mut world = World::new();
    let path = world.connect(1);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, path, 60);
    let change = Change::RotateSecret {
        extension: world.extension,
        secret: secret(),
        credentials: credentials("101", "brand new"),
        previous_until: world.now.utc + Duration::from_secs(86_400),
    };
    let prepared = world.registrar.prepare(&Actor::System, change).expect("it exists");
    world.registrar.apply(prepared.change, &mut Vec::new());
    let mut facts = Vec::new();
    let mut again = |world: &mut World, phone: &mut Phone| {
        phone.credentials = None;
        let challenge = world.send(phone, path, 60).0;
        phone.answer(&challenge);
        let request = phone.request(60);
        let mut out = Vec::new();
        let answer = world.registrar.register(world.now, &request, path, &mut out);
        facts.extend(out.into_iter().filter_map(|effect| match effect {
            Effect::Fact { fact: Fact::AuthenticationFailed { reason, failures, .. }, .. } => {
                Some((reason, failures))
            }
            _ => None,
        }));
        answer.status()
    };
    for _ in 0..8 {
        assert_eq!(again(&mut world, &mut phone), Status::UNAUTHORIZED);
        world.pass(Duration::from_secs(30));
    }
    let stale = world.registrar.stale(world.now.instant);
    let [one] = &stale[..] else { panic!("{stale:?}") };
    assert_eq!((one.extension, one.tries), (world.extension, 8));
    assert!(one.device().is_some(), "it was there before");
    assert_eq!(world.registrar.sign_ins_untold(), 7, "each try counts");
    assert!(world.registrar.wall().held(world.now).is_empty());
    phone.password = "brand new";
    assert_eq!(again(&mut world, &mut phone), Status::OK);
    assert_eq!(world.registrar.stale(world.now.instant), []);
    assert_eq!(facts, [(AuthenticationFailure::FormerSecret, 1)]);
}

/// Whoever allows a whole extension to speak in clear is written down as whoever allows one phone.
#[test]
fn a_weakness_of_an_extension_is_a_fact_of_its_own() {
    let mut world = World::new();
    let mut allow = |plain: bool| {
        let exceptions = Exceptions { dangerous_plain_rtp: plain };
        let change = Change::SetExtensionExceptions { extension: world.extension, exceptions };
        let prepared = world.registrar.prepare(&Actor::System, change).expect("it exists");
        let names: Vec<_> = prepared.facts.iter().map(Fact::name).collect();
        world.registrar.apply(prepared.change, &mut Vec::new());
        names
    };
    assert_eq!(allow(true), ["phones-exception-granted"]);
    assert_eq!(allow(true), Vec::<&str>::new());
    assert_eq!(allow(false), ["phones-exception-withdrawn"]);
    let mut weak = extension("105");
    (weak.id, weak.exceptions.dangerous_plain_rtp) = (ExtensionId(105), true);
    let credentials = credentials("105", "x");
    let change = Change::AddExtension { extension: Box::new(weak), credentials };
    let prepared = world.registrar.prepare(&Actor::System, change).expect("free");
    assert!(prepared.facts.iter().any(|fact| fact.name() == "phones-exception-granted"));
}

#[test]
fn one_number_cannot_be_given_twice() {
    let mut world = World::new();
    let add = |number: &str| {
        let mut extension = extension(number);
        extension.id = ExtensionId(77);
        let credentials = credentials(number, "x");
        Change::AddExtension { extension: Box::new(extension), credentials }
    };
    let taken = world.registrar.prepare(&Actor::System, add("101"));
    assert_eq!(taken.map(|_| ()), Err(Refusal::NumberTaken));
    let first = world.registrar.prepare(&Actor::System, add("102")).expect("free");
    let second = world.registrar.prepare(&Actor::System, add("102"));
    assert_eq!(second.map(|_| ()), Err(Refusal::NumberTaken), "while the first is being written");
    world.registrar.abandon(&first.change);
    world.registrar.prepare(&Actor::System, add("102")).expect("free again");
}

#[test]
fn a_phone_over_udp_is_where_it_was_after_a_restart() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    let mut phone = Phone::new("101", PASSWORD);
    assert_eq!(world.register(&mut phone, before, 120).0, Status::OK);
    let was = world.registrar.targets(world.extension).remove(0);
    world.pass(Duration::from_secs(50));
    world.restart();
    assert_eq!(world.reached(), [], "its socket is not open yet");

    let (path, effects) = world.listen(2, ACCESS, PORT);
    let target = world.registrar.targets(world.extension).remove(0);
    assert_eq!(target.path, path);
    assert_eq!(
        (target.device, &target.request_uri, target.algorithm),
        (was.device, &was.request_uri, was.algorithm)
    );
    let [Effect::Reachable { device, path: at }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((*device, *at), (was.device, path));
    assert!(world.registrar.is_bound(path), "its calls for help are believed as before");
    assert_eq!(world.registrar.device_at(path, world.extension), Some(was.device));

    let standing = world.registrar.wall.standing(path.remote.ip().into());
    assert_eq!(standing, Some(guard::wall::Protected::Phones(1)));

    // The order of its requests goes on.
    phone.cseq -= 3;
    assert_eq!(world.register(&mut phone, path, 0).0, Status::SERVER_INTERNAL_ERROR);
    world.pass(Duration::from_secs(69));
    assert_eq!(world.expire(), 0);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.expire(), 1, "what was left of its time is over");
    assert_eq!(world.reached(), []);
}

#[test]
fn a_phone_that_comes_back_over_udp_refreshes_what_it_had() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, before, 120);
    world.restart();
    let (path, _) = world.listen(2, ACCESS, PORT);
    let (status, effects) = world.register(&mut phone, path, 120);
    assert_eq!(status, Status::OK);
    let refreshed =
        |e: &Effect| matches!(e, Effect::Fact { fact: Fact::RegistrationRefreshed { .. }, .. });
    assert!(effects.iter().any(refreshed), "{effects:?}");
    world.pass(Duration::from_secs(119));
    assert_eq!(world.expire(), 0, "the former time counts no more");
    assert_eq!(world.reached(), [path]);
}

#[test]
fn a_connection_does_not_come_back_after_a_restart() {
    let mut world = World::new();
    let path = world.connect(1);
    world.register(&mut Phone::new("101", PASSWORD), path, 60);
    world.restart();
    world.listen(2, ACCESS, PORT);
    assert_eq!(world.reached(), []);
}

#[test]
fn a_phone_over_udp_comes_back_at_its_own_realms_socket_for_phones_alone() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    world.register(&mut Phone::new("101", PASSWORD), before, 120);
    world.restart();
    world.listen(2, ACCESS, 5070);
    assert_eq!(world.reached(), [], "carriers' socket");
    world.listen(3, RealmId(2), PORT);
    assert_eq!(world.reached(), [], "another realm");
    let (path, _) = world.listen(4, ACCESS, PORT);
    assert_eq!(world.reached(), [path], "it still waits for its own");
}

#[test]
fn a_phone_of_another_node_does_not_come_back_here() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    world.register(&mut Phone::new("101", PASSWORD), before, 120);
    world.stored.bindings.values_mut().for_each(|row| row.node = NodeId(2));
    world.restart();
    world.listen(2, ACCESS, PORT);
    assert_eq!(world.reached(), []);
}

#[test]
fn a_registration_that_ran_out_while_we_were_down_does_not_come_back() {
    for (socket_opens, comes_back) in [(119, true), (120, false)] {
        let mut world = World::new();
        let (before, _) = world.listen(1, ACCESS, PORT);
        world.register(&mut Phone::new("101", PASSWORD), before, 120);
        world.pass(Duration::from_secs(60));
        world.restart();
        world.pass(Duration::from_secs(socket_opens - 60));
        let (path, _) = world.listen(2, ACCESS, PORT);
        assert_eq!(world.reached() == [path], comes_back, "{socket_opens}");
    }
}

/// Else a phone that was unplugged rang for as long as the clock was wrong.
#[test]
fn a_clock_that_steps_back_over_a_restart_makes_no_registration_longer() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    world.register(&mut Phone::new("101", PASSWORD), before, 120);
    world.now.utc = Utc(world.now.utc.0 - 86_400_000_000);
    world.restart();
    let (path, _) = world.listen(2, ACCESS, PORT);
    assert_eq!(world.reached(), [path]);
    world.pass(Duration::from_secs(300));
    assert_eq!(world.expire(), 1);
}

#[test]
fn a_registration_that_was_taken_away_does_not_come_back_with_a_restart() {
    let asks = |contact: Option<&'static str>| {
        move |world: &mut World, phone: &mut Phone, path: Path| {
            phone.contact = contact;
            assert_eq!(world.register(phone, path, 0).0, Status::OK);
        }
    };
    let (signs_off, asks_for_all) = (asks(None), asks(Some("*")));
    let disabled = |world: &mut World, _: &mut Phone, _: Path| {
        for enabled in [false, true] {
            world.change(Change::SetEnabled { extension: world.extension, enabled });
        }
    };
    let rotated = |world: &mut World, _: &mut Phone, _: Path| {
        let change = Change::RotateSecret {
            extension: world.extension,
            secret: secret(),
            credentials: credentials("101", "brand new"),
            previous_until: world.now.utc,
        };
        world.change(change);
    };
    let moved = |world: &mut World, phone: &mut Phone, _: Path| {
        let path = world.connect(8);
        assert_eq!(world.register(phone, path, 60).0, Status::OK);
    };
    let removed = |world: &mut World, _: &mut Phone, _: Path| {
        let device = world.registrar.device_views()[0].device.id;
        world.change(Change::RemoveDevice { device });
        assert_eq!(world.stored.bindings.len(), 0, "nothing is left of it");
    };
    let all_removed = |world: &mut World, _: &mut Phone, _: Path| {
        world.change(Change::RemoveExtension { extension: world.extension });
        assert_eq!(world.stored.bindings.len(), 0, "nothing is left of it");
    };
    type Way<'a> = &'a dyn Fn(&mut World, &mut Phone, Path);
    let ways: [(&str, Way<'_>); 7] = [
        ("signed off", &signs_off),
        ("all of the extension", &asks_for_all),
        ("disabled and enabled again", &disabled),
        ("another secret", &rotated),
        ("moved to a connection", &moved),
        ("removed", &removed),
        ("the extension removed", &all_removed),
    ];
    for (what, way) in ways {
        // The clock may have been fast when it registered.
        for (when, back) in [("registered", 0), ("waiting", 0), ("registered", 3_600_000_000)] {
            let mut world = World::new();
            let (mut path, _) = world.listen(1, ACCESS, PORT);
            let mut phone = Phone::new("101", PASSWORD);
            world.register(&mut phone, path, 120);
            // A phone signs off where it is heard; for all else the socket may still be closed.
            if when == "waiting" {
                world.restart();
                if ["signed off", "all of the extension"].contains(&what) {
                    path = world.listen(2, ACCESS, PORT).0;
                }
            }
            way(&mut world, &mut phone, path);
            world.now.utc = Utc(world.now.utc.0 - back);
            world.restart();
            world.listen(9, ACCESS, PORT);
            assert_eq!(world.reached(), [], "{what}, {when}");
        }
    }
}

#[test]
fn what_changed_before_the_socket_was_open_counts() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    let mut phone = Phone::new("101", PASSWORD);
    world.register(&mut phone, before, 120);
    world.restart();
    let connected = world.connect(2);
    world.register(&mut phone, connected, 60);
    world.listen(3, ACCESS, PORT);
    assert_eq!(world.reached(), [connected], "it registered anew");
    world.registrar.flow_closed(connected.flow, &mut Vec::new());
    assert_eq!(world.reached(), []);
}

#[test]
fn a_phone_of_an_extension_out_of_service_or_with_a_newer_secret_does_not_come_back() {
    type Change<'a> = &'a dyn Fn(&mut Extension, Utc);
    let changes: [(Change<'_>, bool); 3] = [
        (&|extension, _| extension.enabled = false, false),
        (&|extension, registered| extension.secret.since = Utc(registered.0 + 1), false),
        (&|extension, registered| extension.secret.since = registered, true),
    ];
    for (change, comes_back) in changes {
        let mut world = World::new();
        let (before, _) = world.listen(1, ACCESS, PORT);
        world.register(&mut Phone::new("101", PASSWORD), before, 120);
        change(world.stored.extension.as_mut().expect("it is there"), world.now.utc);
        world.restart();
        let (path, _) = world.listen(2, ACCESS, PORT);
        // Where it is out of service nobody is called anyway: what counts is who is believed to be there.
        assert_eq!(world.registrar.is_bound(path), comes_back);
    }
}

/// Our own end is not the phone's.
#[test]
fn the_end_of_our_socket_takes_nothing_away() {
    let mut world = World::new();
    let (before, _) = world.listen(1, ACCESS, PORT);
    world.register(&mut Phone::new("101", PASSWORD), before, 120);
    let mut out = Vec::new();
    world.registrar.flow_closed(before.flow, &mut out);
    world.keep(&out);
    assert_eq!(world.reached(), []);
    world.restart();
    let (path, _) = world.listen(2, ACCESS, PORT);
    assert_eq!(world.reached(), [path]);
}

/// What a stranger can compare of an answer: everything but what is random by design.
fn shape(answer: &Response) -> Vec<String> {
    let rows = answer.headers().rows().map(|(name, raw, value)| {
        let mut line = format!("{name} {} {}", raw.len(), value.len());
        if name == Name::WwwAuthenticate {
            line.push_str(value.split("nonce=").next().expect("split gives one"));
        }
        line
    });
    rows.chain([answer.reason().to_owned(), answer.as_bytes().len().to_string()]).collect()
}

struct World {
    registrar: Registrar,
    extension: ExtensionId,
    now: Now,
    stored: Stored,
}

/// What outlives the process.
#[derive(Default)]
struct Stored {
    extension: Option<Extension>,
    devices: BTreeMap<DeviceId, Device>,
    bindings: BTreeMap<DeviceId, BindingRow>,
}

impl Stored {
    fn put(&mut self, row: Row) {
        match row {
            Row::Extension(extension) => self.extension = Some(*extension),
            Row::RemoveExtension(_) => self.extension = None,
            Row::Device(device) => drop(self.devices.insert(device.id, *device)),
            Row::RemoveDevice(id) => drop(self.devices.remove(&id)),
            Row::Binding(binding) => drop(self.bindings.insert(binding.device, *binding)),
            Row::RemoveBinding(id) => drop(self.bindings.remove(&id)),
            other => panic!("no registrar writes {other:?}"),
        }
    }
}

impl World {
    fn new() -> Self {
        let now = Now { instant: Instant(1_000_000_000), utc: Utc(1_700_000_000_000_000) };
        let extension = extension("101");
        let id = extension.id;
        let stored = Stored { extension: Some(extension.clone()), ..Stored::default() };
        let directory = Directory {
            tenants: vec![house()],
            extensions: vec![(extension, credentials("101", PASSWORD), None)],
            ..Directory::default()
        };
        let settings = RegistrarSettings::default();
        let chance = Chance::from_number(1);
        let registrar = Registrar::new(settings, NodeId(1), directory, now, chance);
        Self { registrar, extension: id, now, stored }
    }

    fn connect(&mut self, generation: u64) -> Path {
        let flow = FlowId { node: NodeId(1), transport: Transport::Tls, generation };
        let remote: SocketAddr = format!("192.0.2.7:{}", 10_000 + generation).parse().expect("one");
        let local: SocketAddr = "192.0.2.1:5061".parse().expect("one");
        let opened = FlowOpened {
            flow,
            realm: RealmId(1),
            local,
            remote: Some(remote),
            tls: None,
            origin: None,
        };
        self.registrar.flow_opened(self.now, opened, Some(PORT), &mut Vec::new());
        Path { flow, remote }
    }

    /// Opens a UDP socket, as at the start. Where the phone is on it.
    fn listen(&mut self, generation: u64, realm: RealmId, port: u16) -> (Path, Vec<Effect>) {
        let flow = FlowId { node: NodeId(1), transport: Transport::Udp, generation };
        let local = format!("192.0.2.1:{port}").parse().expect("one");
        let opened = FlowOpened { flow, realm, local, remote: None, tls: None, origin: None };
        let mut out = Vec::new();
        self.registrar.flow_opened(self.now, opened, Some(PORT), &mut out);
        self.keep(&out);
        (Path { flow, remote: "192.0.2.7:10001".parse().expect("one") }, out)
    }

    /// What would be written.
    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Persist(rows) = effect {
                rows.iter().cloned().for_each(|row| self.stored.put(row));
            }
        }
    }

    /// A durable change, and what is written for it after that.
    fn change(&mut self, change: Change) {
        let prepared = self.registrar.prepare(&Actor::System, change).expect("it exists");
        prepared.rows.into_iter().for_each(|row| self.stored.put(row));
        let mut out = Vec::new();
        self.registrar.apply(prepared.change, &mut out);
        self.keep(&out);
    }

    /// Begins anew with what was written.
    fn restart(&mut self) {
        let Stored { extension, devices, bindings } = &self.stored;
        let directory = Directory {
            tenants: vec![house()],
            extensions: extension
                .iter()
                .map(|extension| (extension.clone(), credentials("101", PASSWORD), None))
                .collect(),
            devices: devices.values().cloned().collect(),
            bindings: bindings.values().cloned().collect(),
            bans: Vec::new(),
        };
        let (settings, chance) = (RegistrarSettings::default(), Chance::from_number(2));
        self.registrar = Registrar::new(settings, NodeId(1), directory, self.now, chance);
    }

    /// Where the extension's phones are.
    fn reached(&self) -> Vec<Path> {
        self.registrar.targets(self.extension).into_iter().map(|target| target.path).collect()
    }

    /// How many registrations end now.
    fn expire(&mut self) -> usize {
        let mut out = Vec::new();
        self.registrar.expire(self.now, &mut out);
        let ended =
            |e: &&Effect| matches!(e, Effect::Fact { fact: Fact::RegistrationExpired { .. }, .. });
        out.iter().filter(ended).count()
    }

    fn pass(&mut self, span: Duration) {
        self.now.instant += span;
        self.now.utc = self.now.utc + span;
    }

    fn send(&mut self, phone: &mut Phone, path: Path, expires: u32) -> (Response, Vec<Effect>) {
        let mut out = Vec::new();
        let request = phone.request(expires);
        let answer = self.registrar.register(self.now, &request, path, &mut out);
        self.keep(&out);
        Message::parse(answer.as_bytes().clone()).expect("what we print, we accept");
        (answer, out)
    }

    /// As a phone does it: once plain, and again with credentials when asked.
    fn register(&mut self, phone: &mut Phone, path: Path, expires: u32) -> (Status, Vec<Effect>) {
        let (mut answer, mut effects) = self.send(phone, path, expires);
        if answer.status() == Status::UNAUTHORIZED {
            phone.answer(&answer);
            (answer, effects) = self.send(phone, path, expires);
        }
        (answer.status(), effects)
    }
}

struct Phone {
    account: &'static str,
    named: &'static str,
    instance: Option<String>,
    password: &'static str,
    credentials: Option<String>,
    cseq: u32,
    agent: &'static str,
    /// Brings a new Contact without an instance, and removes the old one.
    moved: bool,
    /// Answers MD5 even where SHA-256 is offered.
    md5_only: bool,
    contact: Option<&'static str>,
}

impl Phone {
    fn new(account: &'static str, password: &'static str) -> Self {
        let instance = Some("desk".into());
        Self {
            account,
            named: account,
            instance,
            password,
            credentials: None,
            cseq: 1,
            agent: "Test Phone 1.0",
            moved: false,
            md5_only: false,
            contact: None,
        }
    }

    fn answer(&mut self, challenge: &Response) {
        let chance = Chance::from_number(9);
        let mut client = Client::new(self.account, self.password, Algorithm::Md5, chance);
        let values = challenge.headers().get_all(Name::WwwAuthenticate);
        let wanted = |value: &&str| !self.md5_only || value.contains("=MD5");
        let values = values.filter(wanted).map(str::as_bytes);
        self.credentials = Some(client.answer(values, "REGISTER", "sip:pbx.test").expect("usable"));
    }

    fn request(&mut self, expires: u32) -> Request {
        self.cseq += 1;
        let aor = NameAddrBuf::new(None, &format!("sip:{}@pbx.test", self.named)).expect("sound");
        let contact = NameAddrBuf::new(None, "sip:me@10.0.0.9:4444;transport=tls").expect("sound");
        let mut contact = contact.as_str().to_owned();
        if let Some(instance) = &self.instance {
            contact = format!("<sip:{instance}@10.0.0.9:4444>;+sip.instance=\"<{instance}>\"");
        }
        if let Some(uri) = self.contact {
            contact = if uri == "*" { uri.to_owned() } else { format!("<{uri}>") };
        }
        if self.moved {
            contact = format!("<sip:new@10.0.0.9:5555>, {contact};expires=0");
        }
        let mut builder = Request::builder(Method::Register, "sip:pbx.test")
            .via(sip::Transport::Tls, "10.0.0.9:4444", &format!("z9hG4bK{}", self.cseq))
            .from(&aor.with_tag("me").expect("sound"))
            .to(&aor)
            .call_id(self.instance.as_deref().unwrap_or("call"))
            .cseq(self.cseq)
            .header(Name::Contact, &contact)
            .header(Name::UserAgent, self.agent)
            .expires(expires);
        if let Some(credentials) = &self.credentials {
            builder = builder.header(Name::Authorization, credentials);
        }
        let request = builder.build().expect("sound");
        let bytes = Bytes::copy_from_slice(request.as_bytes());
        match Message::parse(bytes).expect("sound") {
            Message::Request(request) => request,
            Message::Response(_) => unreachable!("it was built as a request"),
        }
    }
}

fn house() -> Tenant {
    Tenant {
        id: TenantId::HOUSE,
        name: "House".into(),
        realm: REALM.into(),
        domains: vec![REALM.into()],
    }
}

fn extension(number: &str) -> Extension {
    Extension {
        id: ExtensionId(1),
        tenant: TenantId::HOUSE,
        number: ExtensionNumber::new(number, Country::US).expect("a number"),
        name: "Front desk".into(),
        enabled: true,
        secret: secret(),
        previous: None,
        exceptions: Exceptions::default(),
        caller_id: None,
        created: Utc(0),
    }
}

fn secret() -> Secret {
    let mut chance = Chance::from_number(3);
    let key = MasterKey::draw(&mut chance);
    Secret { sealed: Sealed::seal(&key, &mut chance, b"extension", b"x"), since: Utc(0) }
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        md5: Ha1::derive(Algorithm::Md5, user, REALM, password),
        sha256: Ha1::derive(Algorithm::Sha256, user, REALM, password),
    }
}
