//! Calls for help of whoever proved nothing, and of the honest callers that they resemble.

use guard::access::Actor;
use guard::fact::{CallerKnown, Fact, KnownBy, ViolationKind};
use guard::id::ExtensionId;
use guard::source::Source;
use guard::wall::FAILURES_MAX;
use pure::Utc;

use super::strangers::Guesser;
use super::world::{self, World, offer};
use super::*;
use crate::command::Change;
use crate::flow::{Path, Transport};

/// Where the phones of the house are.
const OFFICE: [u8; 4] = [192, 0, 2, 1];

fn helped(w: &World) -> Vec<KnownBy> {
    let known = w.facts.iter().filter_map(|fact| match fact {
        Fact::EmergencyCalled { known: CallerKnown(known), .. } => *known,
        _ => None,
    });
    known.collect()
}

fn took_from_others(w: &World) -> bool {
    let took = |fact: &Fact| matches!(fact, Fact::HelpGaveWay { .. } | Fact::CallPreempted { .. });
    w.facts.iter().any(took)
}

fn call(w: &mut World, path: Path, number: usize, body: &str) -> Vec<u16> {
    let via = if path.flow.transport == Transport::Udp { "UDP" } else { "TLS" };
    let text = format!(
        "INVITE sip:911@pbx.test SIP/2.0\r\nVia: SIP/2.0/{via} 192.0.2.99;branch=z9hG4bKh{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:101@pbx.test>;tag=f\r\nTo: <sip:911@pbx.test>\r\n\
         Call-ID: h{number}\r\nCSeq: 1 INVITE\r\nContact: <sip:101@192.0.2.99>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    w.say(path, &text)
}

#[test]
fn whoever_writes_a_phones_address_into_a_datagram_calls_nobody_and_holds_nothing() {
    let mut w = World::with_carriers(|_| {});
    let forged = w.connect_from(OFFICE, Transport::Udp);
    let before = transactions(&w);
    for n in 0..400 {
        let body = if n % 2 == 0 { "junk".to_owned() } else { offer("sendrecv") };
        // One challenge, smaller than a transaction, and no repetition of it.
        assert_eq!(call(&mut w, forged, n, &body), [401]);
    }
    assert_eq!(transactions(&w), before);
    assert_eq!((helped(&w), w.cdrs.len()), (vec![], 0));
    w.pass(40_000);
    w.invite("alice", "911", Some(&offer("sendrecv")));
    assert_eq!(helped(&w), [KnownBy::Secret]);
}

#[test]
fn a_guest_at_a_phones_address_takes_a_free_line_and_nothing_else() {
    let mut w = World::with_carriers(|_| {});
    for _ in 0..3 {
        w.invite("alice", "911", Some(&offer("sendrecv")));
        w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
        w.ack("alice", None);
    }
    w.facts.clear();
    for transport in [Transport::Tls, Transport::Udp] {
        let mut guest = Guesser::new(w.connect_from(OFFICE, transport));
        for n in 0..5 {
            assert_eq!(call(&mut w, guest.path, n, ""), [401]);
            guest.help(&mut w, "101", "spoilt");
        }
    }
    assert_eq!(helped(&w), [KnownBy::Address], "one at a time");
    assert!(!took_from_others(&w));
    // The right secret in the same place is no guest.
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    phone.help(&mut w, "102", "secret");
    assert_eq!(helped(&w), [KnownBy::Address, KnownBy::Secret]);
}

#[test]
fn a_full_line_is_made_free_for_a_phone_and_not_for_a_guest() {
    let mut w = World::with_carriers(|_| {});
    for name in ["alice", "bob"] {
        w.invite(name, "+12125550177", Some(&offer("sendrecv")));
        w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
        w.ack(name, None);
    }
    let mut guest = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    guest.help(&mut w, "101", "spoilt");
    assert_eq!((helped(&w), took_from_others(&w)), (vec![KnownBy::Address], false));
    w.invite("carol", "911", Some(&offer("sendrecv")));
    assert_eq!((helped(&w).len(), took_from_others(&w)), (2, true));
}

#[test]
fn what_can_be_no_call_is_no_call_for_help() {
    let mut w = World::with_carriers(|_| {});
    let alice = w.phones["alice"].path;
    for n in 0..100 {
        assert_eq!(call(&mut w, alice, n, "v=0\r\nnonsense\r\n"), [100, 400]);
    }
    assert_eq!(helped(&w), []);
}

#[test]
fn help_is_no_way_to_guess_for_a_stranger() {
    let mut w = World::with_carriers(|_| {});
    let mut guesser = Guesser::new(w.connect_from([203, 0, 113, 9], Transport::Tls));
    for n in 0..30 {
        guesser.help(&mut w, "101", &format!("wrong-{n}"));
    }
    let source = Source::from(guesser.path.remote.ip());
    assert_eq!(w.exchange.registrar().wall().guesses(source), FAILURES_MAX as u32);
    guesser.help(&mut w, "101", "secret");
    assert_eq!(helped(&w), [], "held");
    // A phone at a place of its own, held for somebody else's failures, is heard.
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    for n in 0..5 {
        phone.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
    }
    phone.help(&mut w, "101", "secret");
    assert_eq!(helped(&w), [KnownBy::Secret]);
}

#[test]
fn disabling_an_extension_ends_the_help_of_its_places_and_rotating_does_not() {
    let place = [198, 51, 100, 77];
    let thief = |w: &mut World| {
        let mut thief = Guesser::new(w.connect_from(place, Transport::Tls));
        assert!(thief.guess(w, "REGISTER", "101", "secret").starts_with("SIP/2.0 200"));
    };
    let change = |w: &mut World, change| {
        assert_eq!(w.command(Command::Change { actor: Actor::System, change }), Reply::Done);
    };
    let mut w = World::with_carriers(|_| {});
    thief(&mut w);
    change(
        &mut w,
        Change::RotateSecret {
            extension: ExtensionId(101),
            secret: world::secret(),
            credentials: world::credentials("101", "another secret"),
            previous_until: Utc(0),
        },
    );
    let mut back = Guesser::new(w.connect_from(place, Transport::Tls));
    back.help(&mut w, "101", "secret");
    assert_eq!(helped(&w), [KnownBy::Address]);
    for ends in [
        Change::SetEnabled { extension: ExtensionId(101), enabled: false },
        Change::RemoveExtension { extension: ExtensionId(101) },
    ] {
        let mut w = World::with_carriers(|_| {});
        thief(&mut w);
        change(&mut w, ends);
        let mut back = Guesser::new(w.connect_from(place, Transport::Tls));
        back.help(&mut w, "101", "secret");
        assert_eq!(helped(&w), []);
    }
}

#[test]
fn a_phone_without_a_name_comes_back_beside_a_guest_who_guesses() {
    let mut w = World::new();
    let mut guest = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    for n in 0..20 {
        guest.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
    }
    let source = Source::from(guest.path.remote.ip());
    assert_eq!(w.exchange.registrar().wall().held(w.now()).len(), 1);
    assert_eq!(w.exchange.registrar().wall().guesses(source), 11);
    // He has used up what was to spare; half an hour later there is one more.
    w.pass(1_801_000);
    let mut guest = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    for n in 0..5 {
        guest.guess(&mut w, "REGISTER", "101", &format!("again-{n}"));
    }
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    let heard = phone.guess(&mut w, "REGISTER", "101", "secret");
    assert!(heard.starts_with("SIP/2.0 200"), "{heard}");
}

/// The same, where the phone still is what it was: at another port, in another registration.
#[test]
fn a_phone_that_comes_back_as_it_was_is_not_held_for_a_guest() {
    let mut w = World::new();
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    assert!(phone.guess(&mut w, "REGISTER", "101", "secret").starts_with("SIP/2.0 200"));
    w.close(phone.path);
    let mut guest = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    (guest.agent, guest.port) = ("Guest", 7_777);
    for n in 0..60 {
        guest.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
    }
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    phone.port = 6_666;
    let heard = phone.guess(&mut w, "REGISTER", "101", "secret");
    assert!(heard.starts_with("SIP/2.0 200"), "{heard}");
}

/// A guest guesses under every guise that he can see, and uses up the address's own turns: a phone that comes
/// back with the right secret reaches help all the same.
#[test]
fn a_guest_keeps_no_phone_with_the_right_secret_from_help() {
    let mut w = World::with_carriers(|_| {});
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    assert!(phone.guess(&mut w, "REGISTER", "101", "secret").starts_with("SIP/2.0 200"));
    w.close(phone.path);
    for agent in ["Guest", "Phone"] {
        let mut guest = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
        (guest.agent, guest.port) = (agent, 7_777);
        for n in 0..30 {
            guest.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
        }
        for n in 0..30 {
            guest.help(&mut w, "101", &format!("wrong-{n}"));
        }
    }
    assert!(helped(&w).iter().all(|known| *known == KnownBy::Address));
    let mut phone = Guesser::new(w.connect_from(OFFICE, Transport::Tls));
    phone.help(&mut w, "101", "secret");
    assert_eq!(helped(&w).last(), Some(&KnownBy::Secret));
}

#[test]
fn before_it_has_said_who_it_is_an_invite_hears_the_challenge() {
    let mut w = World::new();
    for transport in [Transport::Udp, Transport::Tls] {
        let path = w.connect_from([203, 0, 113, 9], transport);
        for (n, header) in [
            "Require: foo",
            "Max-Forwards: 0",
            "Session-Expires: 5",
            "Content-Type: text/plain",
            "Authorization: Digest username=\"\", realm=\"pbx.test\"",
        ]
        .into_iter()
        .enumerate()
        {
            let hops = if header.starts_with("Max") { "" } else { "Max-Forwards: 70\r\n" };
            let text = format!(
                "INVITE sip:102@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKm{n}\r\n\
                 {hops}From: <sip:x@pbx.test>;tag=x\r\nTo: <sip:102@pbx.test>\r\nCall-ID: m{n}\r\n\
                 CSeq: 1 INVITE\r\nContact: <sip:x@203.0.113.9>\r\n{header}\r\nContent-Length: 1\r\n\r\nx"
            );
            let text = match transport {
                Transport::Udp => text,
                _ => text.replace("/UDP", "/TLS"),
            };
            let heard = w.say(path, &text);
            if transport == Transport::Udp || !header.starts_with("Auth") {
                assert_eq!(heard, [100, 401], "{header}");
                assert_eq!(transactions(&w), 0, "{header}");
            }
        }
    }
    // A phone on its own connection is told what is wrong.
    let carol = w.phones["carol"].path;
    assert_eq!(w.say(carol, &unknown("INVITE", "102", 1, "")), [100, 483]);
}

#[test]
fn forged_sources_are_some_lines_a_minute() {
    let mut w = World::new();
    let socket = w.connect_from([203, 0, 113, 9], Transport::Udp);
    for n in 0..3_800_u32 {
        let host = std::net::Ipv4Addr::from_bits(0xcb00_7100 + n % 3_000);
        let path = Path { flow: socket.flow, remote: (host, 5060).into() };
        w.say(path, "INVITE nonsense\r\n\r\n");
    }
    w.pass(61_000);
    w.say(socket, "INVITE nonsense\r\n\r\n");
    let told = |name: &str| w.facts.iter().filter(|fact| fact.name() == name).count();
    assert!((10..=22).contains(&told("violation-seen")), "{}", told("violation-seen"));
    assert_eq!(told("strangers-summed"), 1);
    let proved = |fact: &Fact| matches!(fact, Fact::ViolationSeen { proved: Some(true), .. });
    assert!(!w.facts.iter().any(proved));
    let kind =
        |fact: &Fact| matches!(fact, Fact::ViolationSeen { kind: ViolationKind::Malformed, .. });
    assert!(w.facts.iter().any(kind));
}

/// A telephone in the lobby has no secret. It stands behind the same address as everybody's phones.
#[test]
fn where_the_owner_opened_help_to_strangers_nobody_is_challenged_and_nothing_is_taken() {
    let mut w = World::with_carriers(|policy| policy.emergency_for_strangers = true);
    for n in 0..5 {
        let lobby = w.connect_from(OFFICE, Transport::Tls);
        assert_eq!(call(&mut w, lobby, n, ""), [100]);
    }
    let (address, nothing) = (KnownBy::Address, KnownBy::Nothing);
    assert_eq!(helped(&w), [address, nothing, nothing, nothing, nothing]);
    assert!(!took_from_others(&w));
}
