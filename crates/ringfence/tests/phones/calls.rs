//! Calls between two phones, encrypted or refused.

use std::time::Duration;

use actors::phone::{Action, Ending, Event, Security, State, Voice};
use serde_json::Value;
use sip::Status;

use crate::support::driver::{Fleet, Handset, Seat};
use crate::support::server::Server;

#[test]
fn two_phones_call_hear_each_other_hold_press_keys_and_hang_up() {
    let mut server = Server::start();
    let (alice, bob) = (server.extension("101"), server.extension("102"));
    let mut bob = bob;
    bob.answer_after = None;
    bob.agent = "Bobs Handset 7.7".to_owned();
    let mut fleet = Fleet::new();
    let a = fleet.plug_in(&server.door(), alice.clone());
    let b = fleet.plug_in(&server.door(), bob.clone());
    fleet.wait_registered(&[a, b], SOON);

    let (at_a, at_b) = fleet.call(a, b, SOON);
    fleet.wait_event(b, &Event::Incoming { call: at_b, from: "101".to_owned() }, SOON);
    let up = server.json(&["calls", "--up"]);
    assert_eq!(up["up"][0]["state"], "ringing", "{up:#}");
    fleet.act(b, Action::Answer { call: at_b });
    fleet.wait_state(a, at_a, State::Up, SOON);
    fleet.wait_heard(a, at_a, Voice(102), 20, SOON);
    fleet.wait_heard(b, at_b, Voice(101), 20, SOON);
    let up = server.json(&["calls", "--up"]);
    assert_eq!(up["up"][0]["state"], "up", "{up:#}");
    assert_eq!(server.json(&["status"])["calls_up"], 1);

    for digit in ['1', '9', '#'] {
        fleet.act(a, Action::Press { call: at_a, digit });
    }
    fleet.wait("the digits", SOON, |seats| {
        (seats[b.0].phone.digits(at_b) == Some("19#")).then_some(())
    });

    // On hold the held side is silent: timed by what it hears meanwhile, half a second of it.
    fleet.act(b, Action::Hold { call: at_b });
    fleet.wait_event(b, &Event::Held { call: at_b }, SOON);
    fleet.wait_heard(a, at_a, Voice(102), 5, SOON);
    let before = heard(&fleet.seats()[b.0], Voice(101));
    fleet.wait_heard(a, at_a, Voice(102), 25, SOON);
    assert_eq!(
        heard(&fleet.seats()[b.0], Voice(101)),
        before,
        "somebody spoke to a phone that holds"
    );
    fleet.act(b, Action::Resume { call: at_b });
    fleet.wait_event(b, &Event::Resumed { call: at_b }, SOON);
    fleet.wait_heard(b, at_b, Voice(101), 20, SOON);

    // A phone that moves is heard at its new address.
    fleet.act(a, Action::Move { call: at_a });
    fleet.wait_event(a, &Event::Resumed { call: at_a }, SOON);
    fleet.wait_heard(a, at_a, Voice(102), 20, SOON);
    fleet.wait_heard(b, at_b, Voice(101), 20, SOON);
    {
        let seats = fleet.seats();
        for (seat, call, other) in [(&seats[a.0], at_a, 102), (&seats[b.0], at_b, 101)] {
            let heard = seat.phone.heard(call).expect("up");
            assert!(heard.keys().eq([&Voice(other)]), "{heard:?}");
            assert_eq!(seat.phone.forged(call), Some(0));
        }
    }

    fleet.act(a, Action::HangUp { call: at_a });
    fleet.wait_idle(&[a, b], SOON);
    fleet.wait_event(b, &Event::Ended { call: at_b, ending: Ending::OtherHungUp }, SOON);
    assert_eq!(fleet.confusions(), Vec::<String>::new());

    let records = server.records(1);
    let [record] = &records[..] else { panic!("{records:#?}") };
    assert_eq!(record["disposition"], "answered", "{record:#}");
    assert_eq!((&record["from"], &record["to"]), (&"101".into(), &"102".into()));
    assert_eq!(record["responsible"], "101");
    for (leg, side, agent) in [(0, "caller", &alice.agent), (1, "called", &bob.agent)] {
        let leg = &record["legs"][leg];
        assert_eq!(leg["side"], side, "{record:#}");
        assert_eq!(leg["agent"], agent.as_str(), "{record:#}");
        assert_eq!(leg["transport"], "TLS", "{record:#}");
        assert!(leg["signalling"].as_str().is_some_and(|tls| tls.contains("1.3")), "{record:#}");
        assert_eq!(leg["media"], "AES_CM_128_HMAC_SHA1_80", "{record:#}");
        assert_eq!(leg["weaknesses"], Value::Array(Vec::new()), "{record:#}");
        assert!(leg["quality"]["packets"].as_u64() > Some(40), "{record:#}");
    }
    assert_eq!(record["legs"][0]["proof"], "digest SHA-256", "{record:#}");

    let id = record["id"].as_str().expect("an id");
    let shown = server.json(&["calls", "show", id, "--ladder"]);
    let lines = shown["ladder"].as_array().expect("a ladder");
    for leg in [0, 1] {
        let leg = record["legs"][leg]["id"].as_str().expect("an id");
        for sent in [false, true] {
            let some = lines.iter().any(|line| line["leg"] == leg && line["sent"] == sent);
            assert!(some, "nothing {sent} on leg {leg}: {shown:#}");
        }
    }
    let ladder = server.tell(&["calls", "show", id, "--ladder"]);
    for word in ["INVITE ", "SIP/2.0 180", "SIP/2.0 200", "ACK ", "BYE ", "a=crypto:1 "] {
        assert!(ladder.contains(word), "no {word} in\n{ladder}");
    }
    for printed in [&ladder, &shown.to_string()] {
        assert!(!printed.contains(&alice.secret) && !printed.contains(&bob.secret));
        assert!(!printed.contains("response="), "credentials in\n{printed}");
        let keys = printed.match_indices("inline:");
        let struck = |at: usize| printed[at + "inline:".len()..].starts_with("(struck out)");
        assert!(keys.clone().all(|(at, _)| struck(at)), "a media key in\n{printed}");
        assert!(!printed.contains("19#"), "digits in\n{printed}");
    }
    assert_topology_hidden(&fleet, a, b);
    assert_topology_hidden(&fleet, b, a);
}

#[test]
fn plain_audio_is_refused_or_allowed_by_an_exception_that_shows() {
    let mut server = Server::start();
    let (mut alice, bob) = (server.extension("101"), server.extension("102"));
    alice.security = Security::Plain;
    let mut fleet = Fleet::new();
    let a = fleet.plug_in(&server.door(), alice);
    let b = fleet.plug_in(&server.door(), bob);
    fleet.wait_registered(&[a, b], SOON);

    fleet.act(a, Action::Dial { number: "102".to_owned() });
    let refused = fleet.wait("the call to be refused", SOON, |seats| {
        seats[a.0].events.iter().find_map(|(_, event)| match event {
            Event::Ended { ending, .. } => Some(*ending),
            _ => None,
        })
    });
    assert_eq!(refused, Ending::Refused(Status::NOT_ACCEPTABLE_HERE));
    let said = fleet.seats()[a.0].received.iter().any(|message| {
        let text = String::from_utf8_lossy(message);
        text.starts_with("SIP/2.0 488")
            && (text.contains("\r\nReason:") || text.contains("\r\nWarning:"))
    });
    assert!(said, "the 488 gives no reason");
    assert!(
        fleet.seats()[b.0].events.iter().all(|(_, event)| !matches!(event, Event::Incoming { .. }))
    );

    server.tell(&["extension", "allow", "101", "--dangerous-plain-rtp=true"]);
    let (at_a, at_b) = fleet.call(a, b, SOON);
    fleet.wait_state(a, at_a, State::Up, SOON);
    fleet.wait_heard(a, at_a, Voice(102), 20, SOON);
    fleet.wait_heard(b, at_b, Voice(101), 20, SOON);
    let device = server
        .json(&["devices"])
        .as_array()
        .and_then(|all| all.iter().find(|device| device["extension"] == "101").cloned());
    let device = device.expect("registered");
    assert!(!device["weaknesses"].as_array().expect("a list").is_empty(), "{device:#}");
    assert!(server.json(&["status"])["weak"].as_u64() > Some(0));
    fleet.act(a, Action::HangUp { call: at_a });
    fleet.wait_idle(&[a, b], SOON);
    let records = server.records(2);
    let answered = records.iter().find(|record| record["disposition"] == "answered");
    let answered = answered.unwrap_or_else(|| panic!("{records:#?}"));
    let leg = |side: &str| {
        let legs = answered["legs"].as_array().expect("a list");
        legs.iter().find(|leg| leg["side"] == side).expect(side)
    };
    assert_eq!(leg("caller")["media"], Value::Null, "{answered:#}");
    assert!(!leg("caller")["weaknesses"].as_array().expect("a list").is_empty(), "{answered:#}");
    assert_eq!(leg("called")["media"], "AES_CM_128_HMAC_SHA1_80", "{answered:#}");
    let refused = records.iter().find(|record| record["disposition"] == "not-encrypted");
    assert!(refused.is_some(), "{records:#?}");

    // Withdrawn: refused again.
    server.tell(&["extension", "allow", "101", "--dangerous-plain-rtp=false"]);
    let before = fleet.seats()[a.0].events.len();
    fleet.act(a, Action::Dial { number: "102".to_owned() });
    fleet.wait("the call to be refused again", SOON, |seats| {
        seats[a.0].events[before..].iter().find(|(_, event)| {
            let refused = Ending::Refused(Status::NOT_ACCEPTABLE_HERE);
            matches!(event, Event::Ended { ending, .. } if *ending == refused)
        })?;
        Some(())
    });
}

#[test]
fn a_broken_connection_is_replaced_and_a_dead_one_is_unreachable_at_once() {
    let mut server = Server::start();
    let (alice, bob) = (server.extension("101"), server.extension("102"));
    let mut fleet = Fleet::new();
    let a = fleet.plug_in(&server.door(), alice);
    let b = fleet.plug_in(&server.door(), bob);
    fleet.wait_registered(&[a, b], SOON);
    let (at_a, at_b) = fleet.call(a, b, SOON);
    fleet.wait_state(a, at_a, State::Up, SOON);

    // The call outlives its called side's connection; the BYE comes over the new one.
    fleet.cut(b);
    fleet.wait("the phone to be gone", SOON, |seats| {
        (!seats[b.0].phone.is_registered()).then_some(())
    });
    fleet.wait_registered(&[b], SOON);
    fleet.wait_heard(a, at_a, Voice(102), 20, SOON);
    fleet.wait_heard(b, at_b, Voice(101), 20, SOON);
    fleet.act(a, Action::HangUp { call: at_a });
    fleet.wait_idle(&[a, b], SOON);
    fleet.wait_event(b, &Event::Ended { call: at_b, ending: Ending::OtherHungUp }, SOON);
    assert_eq!(server.json(&["devices"]).as_array().map(Vec::len), Some(2), "a device too many");

    // Over that connection it is called too.
    let (at_a, _) = fleet.call(a, b, SOON);
    fleet.wait_state(a, at_a, State::Up, SOON);
    fleet.act(a, Action::HangUp { call: at_a });
    fleet.wait_idle(&[a, b], SOON);

    // Its plug is pulled: whoever calls it hears so at once, not after a time of ringing.
    fleet.act(b, Action::Die);
    server.eventually(&["devices"], |devices| {
        let mut all = devices.as_array().expect("a list").iter();
        all.any(|device| device["extension"] == "102" && device["registered"] == false)
            .then_some(())
    });
    let before = fleet.seats()[a.0].events.len();
    fleet.act(a, Action::Dial { number: "102".to_owned() });
    let ending = fleet.wait("the call to be refused", Duration::from_secs(5), |seats| {
        seats[a.0].events[before..].iter().find_map(|(_, event)| match event {
            Event::Ended { ending, .. } => Some(*ending),
            _ => None,
        })
    });
    assert_eq!(ending, Ending::Refused(Status::TEMPORARILY_UNAVAILABLE));
    let records = server.records(3);
    assert_eq!(records[0]["disposition"], "unavailable", "{records:#?}");
    assert_eq!(fleet.confusions(), Vec::<String>::new());
}

/// Whoever stole a secret loses it at once, not when a registration runs out.
#[test]
fn what_is_withdrawn_stops_working_at_once() {
    let mut server = Server::start();
    let (alice, bob) = (server.extension("101"), server.extension("102"));
    let mut fleet = Fleet::new();
    let a = fleet.plug_in(&server.door(), alice);
    let b = fleet.plug_in(&server.door(), bob);
    let refused = |from: Handset, number: &str, why: &str| {
        let before = fleet.seats()[from.0].events.len();
        fleet.act(from, Action::Dial { number: number.to_owned() });
        fleet.wait(&format!("a refusal: {why}"), SOON, |seats| {
            let mut events = seats[from.0].events[before..].iter();
            let ended = events.find(|(_, event)| {
                matches!(event, Event::Ended { ending: Ending::Refused(_), .. })
            });
            ended.map(|_| ())
        });
        assert!(fleet.calls(from).is_empty());
    };
    for (withdraw, restore) in [
        (&["extension", "disable", "101"][..], Some(&["extension", "enable", "101"][..])),
        (&["extension", "rotate", "101"][..], None),
    ] {
        if restore.is_some() {
            fleet.wait_registered(&[a, b], SOON);
        }
        server.tell(withdraw);
        refused(a, "102", "it calls with what was withdrawn");
        refused(b, "101", "it is called where it signed in with what was withdrawn");
        if let Some(restore) = restore {
            server.tell(restore);
            fleet.cut(a);
            fleet.wait("the phone to be gone", SOON, |seats| {
                (!seats[a.0].phone.is_registered()).then_some(())
            });
            fleet.wait_registered(&[a], SOON);
            let (call, _) = fleet.call(a, b, SOON);
            fleet.wait_state(a, call, State::Up, SOON);
            fleet.act(a, Action::HangUp { call });
            fleet.wait_idle(&[a, b], SOON);
        }
    }
}

/// Nothing that `to` received names `from`'s address, its agent or its dialogs.
fn assert_topology_hidden(fleet: &Fleet, from: Handset, to: Handset) {
    let seats = fleet.seats();
    let (from, to) = (&seats[from.0], &seats[to.0]);
    let value = |text: &str, name: &str| {
        let line = text.split("\r\n").find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    let mut tells =
        vec![from.phone.settings().media_address.to_string(), from.phone.settings().agent.clone()];
    for message in &from.received {
        let text = String::from_utf8_lossy(message).into_owned();
        let own = |line: &str| line.split(";tag=").nth(1).map(str::to_owned);
        tells.extend(value(&text, "Call-ID:"));
        tells.extend(value(&text, "From:").as_deref().and_then(own));
        tells.extend(value(&text, "To:").as_deref().and_then(own));
    }
    for message in &to.received {
        let text = String::from_utf8_lossy(message);
        for tell in &tells {
            assert!(!says(&text, tell), "`{tell}` crossed over:\n{text}");
        }
    }
}

/// Whether `text` holds `word`, and not only as a part of a longer one (127.0.0.2 in 127.0.0.21).
fn says(text: &str, word: &str) -> bool {
    let inside = |other: Option<char>| other.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !inside(before.chars().next_back()) && !inside(after.chars().next())
    })
}

/// Packets of this voice in the only call of a phone.
fn heard(seat: &Seat, voice: Voice) -> u64 {
    let (call, _) = seat.phone.calls().next().expect("one call");
    seat.phone.heard(call).and_then(|heard| heard.get(&voice)).copied().unwrap_or(0)
}

const SOON: Duration = Duration::from_secs(20);
