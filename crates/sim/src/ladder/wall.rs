//! The wall, as those behind it and those before it live it.

use std::net::IpAddr;

use actors::attacker::{Attack, AttackerSettings, Event, Gain};
use guard::access::Actor;
use guard::admission;
use guard::fact::Fact;
use guard::source::Source;
use pbx::command::{Bans, Change, Command, Reply};
use pbx::settings::Dangerous;
use sip::Method;

use super::*;
use crate::server::Effect;

/// An office behind one address: extensions from 100 on, one phone each; the secret of 100 is `100`.
struct Office {
    world: World,
}

impl Office {
    fn new(phones: usize) -> Self {
        Self::with(phones, Settings::default())
    }

    fn with(phones: usize, settings: Settings) -> Self {
        let mut world = World::new(settings, Weather::STILL, Chance::from_number(11));
        world.log_max = 400;
        world.log_registering = false;
        for at in 0..phones {
            let number = number(at);
            let id = world.server.store.install(&number, &secret_of(at), Exceptions::default());
            let trunk = guard::id::TrunkId(1);
            world.server.store.install_inbound(&format!("+12125550{number}"), trunk, id);
        }
        world.server.store.deck = Arc::new(house::deck(&house::tariffs()));
        Line::new("acme", 1).build(&mut world);
        world.act(Act::Start);
        let mut office = Self { world };
        for at in 0..phones {
            office.plug_in(&number(at), &secret_of(at), OFFICE);
        }
        office.world.run(Duration::from_secs(10));
        office.everybody_is_in();
        office
    }

    fn plug_in(&mut self, number: &str, secret: &str, address: IpAddr) -> usize {
        let host = u8::try_from(self.world.phones.len() + 1).expect("few phones");
        let settings = ordinary(number, secret, host);
        let name = format!("p{number}");
        let phone = self.world.add(Cast { name, settings, translated: false, session: None });
        self.world.behind(phone, address);
        self.world.act(Act::Phone { phone, action: Action::Start });
        phone
    }

    fn attacker(&mut self, transport: sip::Transport, agent: &str, address: IpAddr) -> usize {
        let settings = AttackerSettings {
            transport,
            agent: Some(agent.to_owned()),
            interval: Duration::from_millis(150),
            messages_max: 4_000,
            in_flight_max: 1,
            answer_wait: Duration::from_secs(2),
            reconnects_max: 100,
            reconnect_after: Duration::from_secs(1),
        };
        let at = self.world.add_attacker(settings, 70);
        self.world.attackers[at].address = address;
        at
    }

    fn attack(&mut self, attacker: usize, attack: Attack) {
        self.world.act(Act::Attack { attacker, attack });
    }

    fn gains(&self, attacker: usize) -> Vec<Gain> {
        let events = self.world.attackers[attacker].events.iter();
        let gains = events.filter_map(|(_, event)| match event {
            Event::Gained { gain, .. } => Some(*gain),
            _ => None,
        });
        gains.collect()
    }

    fn guesses(&self, address: IpAddr) -> u32 {
        let exchange = self.world.server.exchange().expect("it is up");
        exchange.registrar().wall().guesses(Source::from(address))
    }

    fn facts(&self, name: &str) -> usize {
        self.world.facts.iter().filter(|fact| fact.name() == name).count()
    }

    fn is_in(&self, phone: usize) -> bool {
        self.world.phones[phone].phone.is_registered()
    }

    fn everybody_is_in(&self) {
        for (at, node) in self.world.phones.iter().enumerate() {
            assert!(self.is_in(at), "{} is not registered", node.name);
        }
    }

    /// One calls the other, talks and hangs up.
    fn call(&mut self, from: usize, to: usize) {
        let answered = self.world.coverage.count(crate::coverage::Item::Call);
        let action = Action::Dial { number: number(to) };
        self.world.act(Act::Phone { phone: from, action });
        self.world.run(Duration::from_secs(10));
        self.world.act(Act::InCall { phone: from, what: InCall::HangUp });
        self.world.run(Duration::from_secs(5));
        let now = self.world.coverage.count(crate::coverage::Item::Call);
        assert_eq!(now, answered + 2, "p{from} reached p{to}");
    }

    fn help(&mut self, from: usize) {
        let before = self.facts("emergency-called");
        let action = Action::Dial { number: "911".to_owned() };
        self.world.act(Act::Phone { phone: from, action });
        self.world.run(Duration::from_secs(5));
        self.world.act(Act::InCall { phone: from, what: InCall::HangUp });
        self.world.run(Duration::from_secs(5));
        assert_eq!(self.facts("emergency-called"), before + 1, "p{from} called for help");
    }

    fn unban(&mut self, address: IpAddr) {
        let change = Change::Unban { source: Source::from(address), account: None };
        self.world.command(Command::Change { actor: Actor::System, change });
        self.world.run(Duration::from_secs(1));
    }

    fn bans(&mut self) -> Bans {
        self.world.command(Command::Bans);
        match self.world.replies.pop() {
            Some(Reply::Bans(bans)) => bans,
            other => panic!("{other:?}"),
        }
    }

    /// The owner gives an extension another secret; the former one is good for nothing.
    fn rotate(&mut self, at: usize, secret: &str) {
        let now = self.world.now().utc;
        let store = &mut self.world.server.store;
        let extension = store.extension(&number(at)).expect("an extension").id;
        let sealed = store.sealed(extension, secret);
        let credentials = store.credentials(&number(at), secret);
        let previous_until = now;
        let change =
            Change::RotateSecret { extension, secret: sealed, credentials, previous_until };
        self.world.command(Command::Change { actor: Actor::System, change });
    }

    fn nothing_broke(&self) {
        assert!(self.world.watch.broken.is_empty(), "{:#?}", self.world.watch.broken);
        assert!(!self.world.facts.iter().any(|fact| matches!(fact, Fact::BanPlaced { .. })));
    }
}

fn number(at: usize) -> String {
    (100 + at).to_string()
}

fn secret_of(at: usize) -> String {
    if at == 0 { "100".to_owned() } else { secret(&number(at)) }
}

/// As svcrack does: every number of three digits in turn; the right one is among them.
fn dictionary() -> Attack {
    let secrets = (0..200_u32).map(|n| format!("{}", 50 + n)).collect();
    Attack::Guess { extension: "100".to_owned(), secrets }
}

fn sprayed() -> Vec<Attack> {
    let guess = |n: u32| Attack::Guess {
        extension: (100 + n).to_string(),
        secrets: vec!["1234".to_owned(), "0000".to_owned()],
    };
    (0..20).map(guess).collect()
}

#[test]
fn a_guesser_gets_ten_comparisons_at_most_and_disturbs_nobody() {
    for transport in [sip::Transport::Udp, sip::Transport::Tls] {
        let mut office = Office::new(3);
        let attacker = office.attacker(transport, "Phone 1.0", ATTACKER);
        office.attack(attacker, dictionary());
        office.world.run(Duration::from_secs(120));
        assert_eq!(office.gains(attacker), []);
        assert!((1..=10).contains(&office.guesses(ATTACKER)), "{}", office.guesses(ATTACKER));
        assert_eq!(office.facts("guessing-held"), 1);
        office.everybody_is_in();
        // The same account from its own office, another from the attacker's place, and the same one there.
        office.world.act(Act::Reset { phone: 0 });
        office.world.run(Duration::from_secs(10));
        office.everybody_is_in();
        let neighbour = office.plug_in("101", &secret_of(1), ATTACKER);
        let itself = office.plug_in("100", "100", ATTACKER);
        office.world.run(Duration::from_secs(30));
        assert!(office.is_in(neighbour) && !office.is_in(itself));
        assert_eq!(office.bans().held.len(), 1);
        office.unban(ATTACKER);
        office.world.run(Duration::from_secs(30));
        assert!(office.is_in(itself), "at once");
        office.help(0);
        office.nothing_broke();
    }
}

#[test]
fn without_the_wall_extension_100_falls() {
    let dangerous = Dangerous { without_wall: true, ..Dangerous::default() };
    let mut office = Office::with(3, Settings { dangerous, ..Settings::default() });
    let attacker = office.attacker(sip::Transport::Udp, "Phone 1.0", ATTACKER);
    office.attack(attacker, dictionary());
    office.world.run(Duration::from_secs(120));
    assert_eq!(office.gains(attacker), [Gain::Registered]);
}

#[test]
fn a_stale_phone_retries_for_a_day_in_an_office_of_forty() {
    let mut office = Office::new(40);
    office.rotate(7, "another secret of 107");
    // Its owner has given the new secret to another phone, which is as new here as could be.
    office.world.run(Duration::from_secs(300));
    assert!(!office.is_in(7));
    let second = office.plug_in("107", "another secret of 107", OFFICE);
    for hour in 0..24 {
        office.world.run(Duration::from_secs(3_600 - 15));
        office.call(hour + 8, 1);
        for phone in (0..40).filter(|phone| *phone != 7).chain([second]) {
            assert!(office.is_in(phone), "p{phone} in hour {hour}");
        }
    }
    assert!(!office.is_in(7));
    // Held again and again, and still somebody who may call for help.
    let held = office.bans();
    assert_eq!((held.held.len(), held.slowed.len()), (1, 0));
    assert!(held.held[0].times > 3);
    office.help(7);
    office.nothing_broke();
    // Everybody else registered on each of their tries: no refusal but the stale phone's is known.
    let failed = office.world.facts.iter().filter(|fact| fact.name() == "authentication-failed");
    assert!(failed.count() > 20, "it did retry");
}

#[test]
fn a_stale_phone_that_is_put_right_is_back_within_ten_minutes() {
    let mut office = Office::new(3);
    office.rotate(1, "another secret of 101");
    office.world.run(Duration::from_secs(6 * 3_600));
    assert!(!office.is_in(1));
    office.rotate(1, &secret_of(1));
    office.world.run(Duration::from_secs(600));
    assert!(office.is_in(1));
    office.nothing_broke();
}

#[test]
fn a_power_cut_brings_all_forty_back_at_once() {
    let mut office = Office::new(40);
    office.rotate(7, "another secret of 107");
    office.world.run(Duration::from_secs(600));
    for round in 0..3 {
        for phone in 0..40 {
            office.world.act(Act::Phone { phone, action: Action::Die });
        }
        // In the second round the system itself goes down with them.
        if round == 1 {
            office.world.act(Act::Kill);
            office.world.act(Act::Start);
        }
        office.world.run(Duration::from_secs(if round == 2 { 1_800 } else { 1 }));
        for phone in 0..40 {
            office.world.act(Act::Phone { phone, action: Action::Start });
        }
        office.world.run(Duration::from_secs(5));
        for phone in (0..40).filter(|phone| *phone != 7) {
            assert!(office.is_in(phone), "p{phone} in round {round}");
        }
    }
    assert_eq!(office.facts("scanner-seen"), 0);
    office.help(7);
    office.nothing_broke();
}

#[test]
fn a_sprayer_is_shut_out_until_it_is_let_in_again() {
    let mut office = Office::new(3);
    let attacker = office.attacker(sip::Transport::Tls, "Phone 1.0", ATTACKER);
    for attack in sprayed() {
        office.attack(attacker, attack);
    }
    office.world.run(Duration::from_secs(60));
    assert_eq!(office.gains(attacker), []);
    assert_eq!((office.facts("spraying-seen"), office.facts("ban-placed")), (1, 1));
    assert!(office.guesses(ATTACKER) <= 22, "two for each of eleven accounts");
    let closed = |office: &Office| {
        let events = office.world.attackers[attacker].events.iter();
        events.filter(|(_, event)| matches!(event, Event::Closed { .. })).count()
    };
    assert!(closed(&office) >= 1);
    let newcomer = office.plug_in("101", &secret_of(1), ATTACKER);
    office.world.run(Duration::from_secs(30));
    assert!(!office.is_in(newcomer));
    office.help(0);
    // A restart in between forgets nothing.
    office.world.act(Act::Kill);
    office.world.act(Act::Start);
    office.world.run(Duration::from_secs(30));
    assert_eq!(office.bans().bans.len(), 1);
    office.unban(ATTACKER);
    office.world.run(Duration::from_secs(10));
    assert!(office.is_in(newcomer));
    assert!(office.world.watch.broken.is_empty(), "{:#?}", office.world.watch.broken);
}

#[test]
fn an_attacker_in_the_office_is_slowed_and_the_office_is_not() {
    let mut office = Office::new(10);
    let attacker = office.attacker(sip::Transport::Tls, "sipvicious", OFFICE);
    for attack in sprayed().into_iter().chain([dictionary()]) {
        office.attack(attacker, attack);
    }
    office.world.run(Duration::from_secs(300));
    assert_eq!(office.gains(attacker), []);
    let bans = office.bans();
    assert_eq!((bans.bans.len(), bans.slowed.len()), (0, 1));
    office.everybody_is_in();
    for phone in 0..10 {
        office.world.act(Act::Reset { phone });
    }
    office.world.run(Duration::from_secs(10));
    office.everybody_is_in();
    office.call(1, 2);
    office.help(3);
    office.nothing_broke();
}

#[test]
fn a_scanner_hears_nothing_at_all_over_udp() {
    let mut office = Office::new(3);
    let attacker = office.attacker(sip::Transport::Udp, "friendly-scanner", ATTACKER);
    let extensions: Vec<String> = (95..110).map(|n| n.to_string()).collect();
    office.attack(attacker, Attack::Scan { extensions });
    office.world.run(Duration::from_secs(300));
    let events = &office.world.attackers[attacker].events;
    let answered = events.iter().filter(|(_, event)| matches!(event, Event::Answered { .. }));
    assert_eq!(answered.count(), 0);
    assert!(events.iter().any(|(_, event)| matches!(event, Event::Silent { .. })));
    assert_eq!(office.facts("scanner-seen"), 1);
    office.everybody_is_in();
    office.nothing_broke();
}

#[test]
fn an_enumerator_learns_no_extension_and_is_shut_out_on_a_connection_only() {
    for (transport, bans) in [(sip::Transport::Udp, 0), (sip::Transport::Tls, 1)] {
        for method in [Method::Register, Method::Invite, Method::Options] {
            let mut office = Office::new(3);
            let attacker = office.attacker(transport, "Phone 1.0", ATTACKER);
            let extensions: Vec<String> = (0..600).map(|n| (90 + n).to_string()).collect();
            office.attack(attacker, Attack::Enumerate { method, extensions });
            office.world.run(Duration::from_secs(90));
            let mut shapes: Vec<_> = office.world.attackers[attacker]
                .events
                .iter()
                .filter_map(|(_, event)| match event {
                    Event::Answered { answer, .. } => Some(format!("{answer:?}")),
                    _ => None,
                })
                .collect();
            shapes.sort();
            shapes.dedup();
            assert_eq!(shapes.len(), 1, "{shapes:#?}");
            assert_eq!(office.gains(attacker), []);
            assert_eq!((office.facts("scanner-seen"), office.facts("ban-placed")), (1, bans));
            office.everybody_is_in();
            assert!(office.world.watch.broken.is_empty(), "{:#?}", office.world.watch.broken);
        }
    }
}

/// Without a secret, from the address where the phones of the office are.
#[test]
fn whoever_dials_for_help_from_the_offices_address_reaches_and_cuts_nobody() {
    for transport in [sip::Transport::Udp, sip::Transport::Tls] {
        let mut office = Office::new(3);
        let action = Action::Dial { number: "911".to_owned() };
        office.world.act(Act::Phone { phone: 0, action });
        office.world.run(Duration::from_secs(5));
        let attacker = office.attacker(transport, "Phone 1.0", OFFICE);
        let numbers = vec!["911".to_owned(); 100];
        office.attack(attacker, Attack::Dial { extension: "100".to_owned(), numbers });
        office.world.run(Duration::from_secs(60));
        assert_eq!(office.gains(attacker), []);
        let told = ["emergency-called", "help-gave-way", "call-preempted", "call-ended"];
        assert_eq!(told.map(|name| office.facts(name)), [1, 0, 0, 0], "{transport:?}");
        office.world.act(Act::InCall { phone: 0, what: InCall::HangUp });
        office.world.run(Duration::from_secs(5));
        office.everybody_is_in();
        office.help(1);
        office.nothing_broke();
    }
}

#[test]
fn the_gate_before_the_parser_trusts_the_office_and_the_carrier() {
    let office = Office::new(1);
    let trusted = |address: IpAddr| {
        let change = admission::Change::Trust(Source::from(address));
        office.world.server.admissions.contains(&change)
    };
    assert!(trusted(OFFICE));
    assert!(trusted(office.world.carriers[0].place.remote.ip()));
    assert!(!trusted(ATTACKER));
    assert!(!office.world.server.effects.iter().any(|e| matches!(e, Effect::CloseFlow { .. })));
}

const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 70));
