//! Intruders in random worlds: guessers, sprayers, scanners and forgers, and what may not come of them.

use std::time::Duration;

use actors::attacker::{Attack, AttackerSettings, Event, Gain};
use pbx::directory::Exceptions;
use pure::Chance;
use sip::Method;

use crate::world::{Forger, Forgery, Slip, Whose, World};

/// An extension with a secret that any list has, and no phone: whoever could try long enough would be in.
pub(super) fn prey(world: &mut World) {
    world.server.store.install(PREY, WEAK, Exceptions::default());
}

/// One or two, each with an address of its own.
pub(super) fn invade(world: &mut World, chance: &mut Chance) {
    for host in 0..1 + chance.below(2) {
        let settings = AttackerSettings {
            transport: match chance.one_in(2) {
                true => sip::Transport::Tls,
                false => sip::Transport::Udp,
            },
            // As a known tool calls itself, or as a phone does.
            agent: Some(match chance.one_in(4) {
                true => "friendly-scanner".to_owned(),
                false => "Phone 1.0".to_owned(),
            }),
            interval: Duration::from_millis(200 + chance.below(1_000)),
            messages_max: 400,
            in_flight_max: 4,
            answer_wait: Duration::from_secs(2),
            reconnects_max: 8,
            reconnect_after: Duration::from_millis(500 + chance.below(20_000)),
        };
        world.add_attacker(settings, 70 + u8::try_from(host).expect("two"));
    }
}

/// What one of them tries, in any order. On a calm day a guesser has the right secret from its eleventh
/// guess on, so one more comparison than there may be shows; where packets are lost and the server dies, its
/// guesses are counted only.
pub(super) fn plan(chance: &mut Chance, calm: bool) -> Vec<Attack> {
    let extensions = |from: u64, count: u64| (from..from + count).map(|n| n.to_string()).collect();
    // One list of guesses for each: a second one would outlast the hold of the first.
    let mut guessed = false;
    let attacks = (0..1 + chance.below(3)).flat_map(|_| match chance.below(7) {
        0 | 1 if !std::mem::replace(&mut guessed, true) => {
            let wrong = |n| format!("{}", 1_000 + n);
            let secret = |n| if calm && n >= 10 { WEAK.to_owned() } else { wrong(n) };
            let secrets = (0..120).map(secret).collect();
            vec![Attack::Guess { extension: PREY.to_owned(), secrets }]
        }
        0..=2 => {
            let guess = |n: u64| Attack::Guess {
                extension: (100 + n).to_string(),
                secrets: vec!["1234".to_owned(), (100 + n).to_string()],
            };
            (0..16).map(guess).collect()
        }
        3 => vec![Attack::Enumerate { method: Method::Register, extensions: extensions(100, 80) }],
        4 => vec![Attack::Scan { extensions: extensions(100, 10) }],
        5 => vec![Attack::Hijack { extension: "100".to_owned(), captured: None }],
        _ => {
            let numbers = vec!["8816550123".to_owned(), "18765550123".to_owned()];
            vec![Attack::Dial { extension: "100".to_owned(), numbers }, Attack::Malformed]
        }
    });
    attacks.collect()
}

/// A forged request, from elsewhere, or from the right side with another dialog's tag or an old number.
pub(super) fn forgery(chance: &mut Chance, phones: usize, lines: usize) -> Forgery {
    let mut below = |bound: usize| {
        let bound = u64::try_from(bound).expect("small");
        usize::try_from(chance.below(bound)).expect("below")
    };
    let within = [Method::Bye, Method::Invite, Method::Refer, Method::Update][below(4)];
    let any = if below(4) == 0 { Method::Cancel } else { within };
    let slip = [Slip::ToTag, Slip::FromTag, Slip::OldNumber][below(3)];
    let phone = Whose::Phone(below(phones));
    let (whose, by, method, slip) = match below(10) {
        0..=2 => (phone, Forger::Stranger, any, Slip::Nothing),
        3..=5 => (phone, Forger::Itself, within, slip),
        6 => (Whose::Carrier, Forger::Stranger, any, Slip::Nothing),
        7 => (Whose::Carrier, Forger::Datagram, any, Slip::Nothing),
        8 => (Whose::Carrier, Forger::Carrier(below(lines)), any, Slip::Nothing),
        // Any number of theirs may be the first.
        _ if slip == Slip::OldNumber => (Whose::Carrier, Forger::Itself, within, Slip::ToTag),
        _ => (Whose::Carrier, Forger::Itself, within, slip),
    };
    Forgery { whose, by, method, slip }
}

/// Once everybody is back: nobody gained anything, and no phone lost its registration.
pub(super) fn judge(world: &mut World, calm: bool) {
    world.count_guesses();
    let mut broken = Vec::new();
    for (at, node) in world.attackers.iter().enumerate() {
        for (_, event) in &node.events {
            if let Event::Gained { attack, about, gain } = event
                && *gain != Gain::Heard
            {
                broken.push(format!("intruder: a{at} gained {gain:?} by {attack} ({about})"));
            }
        }
    }
    if calm {
        let lost = world.phones.iter().filter(|node| !node.dead && !node.phone.is_registered());
        broken.extend(lost.map(|node| format!("wall: {} is not registered", node.name)));
    }
    world.watch.broken.extend(broken);
}

/// Beyond the numbers that phones have.
const PREY: &str = "150";
const WEAK: &str = "150";
