//! Behaviour as text. A ladder says who does what when, and every message that then passes:
//!
//! ```text
//!    0ms  alice dials 102
//!    0ms  alice > pbx    INVITE 102
//! ```
//!
//! A line without `>` is what somebody does (the story); all others are what must be seen, all of it
//! and in this order. `//` begins a comment. Registering before the story is left out. After the last
//! line the world runs on for a while, and what then passes must be in the ladder too.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actors::carrier::{Habit, Takes};
use actors::phone::{Action, PhoneSettings, State};
use guard::number::Country;
use guard::policy::{Policy, Scope};
use pbx::directory::Exceptions;
use pbx::flow::Transport;
use pbx::settings::Settings;
use pure::{Chance, Instant};
use sip::{Method, Status};

use crate::house::{self, Line};
use crate::link::Weather;
use crate::model;
use crate::world::{Act, Cast, Forger, Forgery, InCall, OfCarrier, Slip, Whose, World, ordinary};

/// A world for one ladder.
#[derive(Debug)]
pub struct Ladder {
    pub world: World,
    start: Instant,
    registering: bool,
    after: Duration,
    expected: Vec<&'static str>,
    clear: bool,
}

/// What a ladder begins with.
#[allow(missing_debug_implementations, reason = "it holds a function, and lives for one line")]
pub struct House<'a> {
    pub settings: Settings,
    pub cast: Vec<(&'static str, &'static str)>,
    /// Extensions that may be in clear.
    pub weak: Vec<&'static str>,
    pub tell: &'a dyn Fn(&str, &mut PhoneSettings),
    pub lines: Vec<Line>,
    pub policy: Policy,
}

impl Default for House<'_> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            cast: vec![("alice", "101"), ("bob", "102"), ("carol", "103")],
            weak: Vec::new(),
            tell: &|_, _| {},
            lines: Vec::new(),
            policy: (*Policy::first(Country::US)).clone(),
        }
    }
}

/// Runs a ladder with the usual cast: alice 101, bob 102, carol 103.
pub fn check(text: &str) {
    Ladder::new(|_, _| {}).check(text);
}

impl Ladder {
    /// `tell` sets up each phone before it is plugged in.
    pub fn new(tell: impl Fn(&str, &mut PhoneSettings)) -> Self {
        Self::of(&[("alice", "101"), ("bob", "102"), ("carol", "103")], tell)
    }

    pub fn of(
        cast: &[(&'static str, &'static str)],
        tell: impl Fn(&str, &mut PhoneSettings),
    ) -> Self {
        Self::with(Settings::default(), cast, &[], tell)
    }

    /// `weak`: extensions that may be in clear. Sven's phone asks for session timers.
    pub fn with(
        settings: Settings,
        cast: &[(&'static str, &'static str)],
        weak: &[&'static str],
        tell: impl Fn(&str, &mut PhoneSettings),
    ) -> Self {
        Self::house(House {
            settings,
            cast: cast.to_vec(),
            weak: weak.to_vec(),
            tell: &tell,
            ..House::default()
        })
    }

    /// The usual cast, with two lines outside: acme, which registers over TLS with SRTP, and after it
    /// bell, which knows our address, over UDP in clear. Alice is called at +1 212 555 0101 by acme, Bob
    /// at 0102 by bell.
    pub fn outside(change: impl FnOnce(&mut House<'_>)) -> Self {
        let mut house = House {
            lines: vec![
                Line::new("acme", 1),
                Line::new("bell", 2).by_address(Transport::Udp).plain(),
            ],
            ..House::default()
        };
        change(&mut house);
        Self::house(house)
    }

    fn house(house: House<'_>) -> Self {
        let House { settings, cast, weak, tell, lines, policy } = house;
        let mut world = World::new(settings, Weather::STILL, Chance::from_number(7));
        let mut extensions = Vec::new();
        for (_, number) in &cast {
            let exceptions = Exceptions { dangerous_plain_rtp: weak.contains(number) };
            let id = world.server.store.install(number, &secret(number), exceptions);
            extensions.push((*number, id));
        }
        world.watch.secrets = cast.iter().map(|(_, number)| secret(number)).collect();
        world.server.store.deck = Arc::new(house::deck(&house::tariffs()));
        world.server.store.policy = Arc::new(policy);
        for (at, line) in lines.into_iter().enumerate() {
            let trunk = guard::id::TrunkId(line.id);
            if let Some((number, extension)) = extensions.get(at) {
                let number = format!("+12125550{number}");
                world.server.store.install_inbound(&number, trunk, *extension);
            }
            line.build(&mut world);
        }
        world.act(Act::Start);
        for (host, (name, number)) in cast.iter().enumerate() {
            let host = u8::try_from(host + 1).expect("a small cast");
            let mut settings = ordinary(number, &secret(number), host);
            tell(name, &mut settings);
            let session = (*name == "sven").then_some(90);
            let cast = Cast { name: (*name).to_owned(), settings, translated: false, session };
            let phone = world.add(cast);
            world.act(Act::Phone { phone, action: Action::Start });
        }
        world.run(Duration::from_secs(1));
        world.log.clear();
        let start = world.now().instant;
        Self {
            world,
            start,
            registering: false,
            after: Duration::from_secs(40),
            expected: Vec::new(),
            clear: true,
        }
    }

    /// Shows REGISTER too.
    pub fn registering(mut self) -> Self {
        self.registering = true;
        self
    }

    /// How long the world runs on after the last line of the story.
    pub fn after(mut self, span: Duration) -> Self {
        self.after = span;
        self
    }

    /// Breaks of invariants that this story is about.
    pub fn expecting(mut self, what: &'static str) -> Self {
        self.expected.push(what);
        self
    }

    /// Something is meant to be left at the end (a call that is up).
    pub fn unfinished(mut self) -> Self {
        self.clear = false;
        self
    }

    /// Plays the story and compares all that was seen.
    pub fn check(mut self, text: &str) {
        let lines: Vec<&str> = text.lines().map(tidy).filter(|line| !line.is_empty()).collect();
        let story: Vec<(Duration, Vec<&str>)> = lines
            .iter()
            .filter(|line| !line.contains(" > "))
            .filter_map(|line| {
                let (time, rest) = line.trim_start().split_once(' ')?;
                let millis = time.strip_suffix("ms")?.parse().ok()?;
                Some((Duration::from_millis(millis), rest.split_whitespace().collect()))
            })
            .filter(|(_, words): &(_, Vec<&str>)| !is_seen(words))
            .collect();
        for (at, words) in &story {
            // What was planned for this very instant before the story's act comes after it.
            self.world.run_until(self.start + *at);
            self.world.note(&words.join(" "));
            self.act(words);
        }
        self.world.run(self.after);
        let seen = self.seen();
        let wanted: Vec<String> = lines.iter().map(|line| squeeze(line)).collect();
        let found: Vec<String> = seen.lines().map(squeeze).collect();
        assert!(wanted == found, "{}\nseen:\n{seen}", difference(&wanted, &found));
        if self.clear {
            self.finish();
        }
        let expected = |broken: &&String| !self.expected.iter().any(|e| broken.contains(e));
        let broken: Vec<_> = self.world.watch.broken.iter().filter(expected).collect();
        assert!(broken.is_empty(), "{broken:#?}\nseen:\n{seen}");
    }

    /// Nothing may be left over.
    fn finish(&mut self) {
        for node in &self.world.phones {
            let left: Vec<State> = node.phone.calls().map(|(_, state)| *state).collect();
            assert!(left.is_empty(), "{} is left with {left:?}", node.name);
        }
        assert_eq!(self.world.server.endpoints(), 0, "endpoints are left");
        let World { watch, server, .. } = &mut self.world;
        watch.records(&server.store);
        assert_eq!(self.world.server.holds(), 0, "money is left set aside");
        model::money::judge(&mut self.world);
    }

    fn phone(&self, name: &str) -> usize {
        let found = self.world.phones.iter().position(|node| node.name == name);
        found.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    fn act(&mut self, words: &[&str]) {
        if let ["pbx" | "mallory" | "clock" | "admin" | "network" | "disk", ..] = words {
            return self.act_of_others(words);
        }
        if let Some(at) = self.world.carriers.iter().position(|node| node.name == words[0]) {
            return self.act_of_carrier(at, &words[1..]);
        }
        let phone = self.phone(words[0]);
        let person = |action| Act::Phone { phone, action };
        let call = |what| Act::InCall { phone, what };
        let act = match &words[1..] {
            ["dials", number] => person(Action::Dial { number: (*number).to_owned() }),
            ["dials", number, "without", "offer"] => {
                person(Action::DialWithoutOffer { number: (*number).to_owned() })
            }
            ["answers"] => call(InCall::Answer),
            ["rejects"] => call(InCall::Reject),
            ["hangs", "up"] => call(InCall::HangUp),
            ["holds"] => call(InCall::Hold),
            ["mutes"] => call(InCall::Mute),
            ["resumes"] => call(InCall::Resume),
            ["moves"] => call(InCall::Move),
            ["presses", digit, "by", "INFO"] => {
                call(InCall::Inform(digit.chars().next().expect("one character")))
            }
            ["presses", digit] => call(InCall::Press(digit.chars().next().expect("one character"))),
            ["dies"] => person(Action::Die),
            ["starts"] => person(Action::Start),
            ["stops"] => person(Action::Stop),
            ["breaks"] => Act::Reset { phone },
            ["half-breaks"] => Act::HalfOpen { phone },
            ["says", method, wrong @ ..] => {
                return self.forge(method, Whose::Phone(phone), Forger::Itself, slip(wrong));
            }
            other => panic!("nobody can {other:?}"),
        };
        self.world.act(act);
    }

    fn act_of_others(&mut self, words: &[&str]) {
        match words {
            ["pbx", "crashes"] => {
                // The world notes it itself.
                self.world.log.pop_back();
                self.world.act(Act::Kill);
            }
            ["pbx", "starts"] => {
                self.world.log.pop_back();
                self.world.act(Act::Start);
            }
            ["pbx", "drains"] => self.world.act(Act::Drain),
            ["pbx", "locks", "down"] => {
                let now = self.world.now();
                let lock = |policy: &mut Policy| policy.lockdown.add(Scope::Operator);
                self.world.server.change_policy(now, lock);
            }
            ["network", "drops", "datagrams"] => self.world.weather.loss = 1_000,
            ["network", "heals"] => self.world.weather.loss = 0,
            ["mallory", "injects"] => self.world.act(Act::Inject),
            ["clock", "steps", span] => {
                let seconds = span.strip_suffix('s').and_then(|s| s.parse().ok());
                self.world.act(Act::ClockStep { seconds: seconds.expect("seconds") });
            }
            ["admin", "rotates", number] => self.rotate(number),
            ["disk", "fails", span] => {
                let seconds = span.strip_suffix('s').and_then(|s| s.parse().ok());
                let span = Duration::from_secs(seconds.expect("seconds"));
                self.world.act(Act::DiskFails { span });
                // The world notes it itself.
                self.world.log.pop_back();
            }
            ["mallory", "forges", method, "of", _] => {
                self.forge(method, Whose::Carrier, Forger::Stranger, Slip::Nothing);
            }
            ["mallory", "forges", method, "of", _, "by", "datagram"] => {
                self.forge(method, Whose::Carrier, Forger::Datagram, Slip::Nothing);
            }
            ["mallory", "calls", "the", "contact", "of", name] => {
                let carrier = self.world.carriers.iter().find(|node| node.name == *name);
                let contact = carrier.and_then(|node| {
                    let user = node.carrier.settings().accounts.first()?.user.clone();
                    node.carrier.contact(self.world.now(), &user)
                });
                let invite = self.world.stolen_contact(&contact.expect("a registration"));
                self.as_stranger(invite);
            }
            ["mallory", "forges", method, name] => {
                let whose = Whose::Phone(self.phone(name));
                self.forge(method, whose, Forger::Stranger, Slip::Nothing);
            }
            other => panic!("nobody can {other:?}"),
        }
    }

    fn act_of_carrier(&mut self, carrier: usize, words: &[&str]) {
        use actors::carrier::Action as Do;
        let what = match words {
            ["calls", number] => OfCarrier::Do(Do::Call {
                from: CALLER.to_owned(),
                number: (*number).to_owned(),
                account: self.account(carrier),
                host: crate::server::HOST.to_string(),
            }),
            ["hangs", "up"] => OfCarrier::Do(Do::HangUpAll),
            ["holds"] => OfCarrier::Do(Do::HoldAll),
            ["resumes"] => OfCarrier::Do(Do::ResumeAll),
            ["vanishes"] => OfCarrier::Cut,
            ["says", method, wrong @ ..] => {
                return self.forge(method, Whose::Carrier, Forger::Itself, slip(wrong));
            }
            ["forges", method, "of", _] => {
                return self.forge(method, Whose::Carrier, Forger::Carrier(carrier), Slip::Nothing);
            }
            ["is", "back"] => OfCarrier::Heal,
            ["closes"] => OfCarrier::Close,
            ["opens"] => OfCarrier::Open,
            ["dies"] => OfCarrier::Do(Do::Die),
            ["starts"] => OfCarrier::Do(Do::Start),
            ["number", number, "refuses", status] => {
                let status = status.parse().ok().and_then(|code| Status::new(code).ok());
                let takes = Takes::Refuses(status.expect("a status"));
                self.habit(carrier, number, Habit::that(takes));
                return;
            }
            ["number", number, "rings"] => {
                self.habit(carrier, number, Habit::that(Takes::Rings));
                return;
            }
            ["number", number, "is", "mute"] => {
                self.habit(carrier, number, Habit::that(Takes::Mute));
                return;
            }
            other => panic!("no carrier can {other:?}"),
        };
        self.world.act(Act::Carrier { carrier, what });
    }

    fn habit(&mut self, carrier: usize, number: &str, habit: Habit) {
        self.world.carriers[carrier].carrier.set(|settings| {
            settings.numbers.insert(number.to_owned(), habit);
        });
    }

    /// The account that this carrier knows us by, where we are registered.
    fn account(&self, carrier: usize) -> Option<String> {
        let node = &self.world.carriers[carrier].carrier;
        let user = node.settings().accounts.first()?.user.clone();
        node.is_registered(self.world.now(), &user).then_some(user)
    }

    fn rotate(&mut self, number: &str) {
        use guard::access::Actor;
        use pbx::command::{Change, Command};
        let store = &mut self.world.server.store;
        let extension = store.extension(number).expect("an extension").id;
        let secret = store.sealed(extension, "a-new-secret-of-the-extension");
        let credentials = store.credentials(number, "a-new-secret-of-the-extension");
        let now = self.world.now();
        let previous_until = now.utc + Duration::from_secs(86_400);
        let change = Change::RotateSecret { extension, secret, credentials, previous_until };
        let command = Command::Change { actor: Actor::System, change };
        self.world.command(command);
    }

    /// The words of a dialog that somebody overheard.
    fn forge(&mut self, method: &str, whose: Whose, by: Forger, slip: Slip) {
        let method = Method::parse(method.as_bytes()).expect("a method");
        let said = self.world.forge(Forgery { whose, by, method, slip });
        assert!(said.is_some(), "nothing was overheard, or there is no line");
    }

    /// From elsewhere, to the port where carriers are answered.
    fn as_stranger(&mut self, message: bytes::Bytes) {
        let wire = self.world.stranger_among_carriers();
        self.world.say_forged(wire, message, true);
    }

    /// All that was seen, and what was heard.
    fn seen(&mut self) -> String {
        let mut text = String::new();
        for line in &self.world.log {
            let kept_alive = ["REGISTER", "OPTIONS"].iter().any(|end| line.text.ends_with(end));
            if !self.registering && kept_alive {
                continue;
            }
            if line.text.starts_with("cdr") || line.text.starts_with("fact") {
                writeln!(text, "    {}", line.text).expect("memory");
                continue;
            }
            let millis = line.at.since(self.start).as_millis();
            match line.text.split_once(" > ") {
                Some((from, rest)) => {
                    let (to, what) = rest.split_once(' ').unwrap_or((rest, ""));
                    writeln!(text, "{millis:>7}ms  {from:<7} > {to:<7} {what}").expect("memory");
                }
                None => writeln!(text, "{millis:>7}ms  {}", line.text).expect("memory"),
            }
        }
        for node in &self.world.phones {
            for call in (1..9).map(actors::phone::CallId) {
                let Some(voices) = node.phone.heard(call) else { continue };
                for voice in voices.keys() {
                    let who = self
                        .world
                        .phones
                        .iter()
                        .find(|other| other.phone.settings().voice == *voice);
                    let carrier = self.world.carriers.iter().find(|node| {
                        node.carrier.records().iter().any(|record| record.voice == *voice)
                    });
                    let carrier = carrier.map(|node| node.name.as_str());
                    let who = who.map(|other| other.name.as_str()).or(carrier);
                    let who = who.unwrap_or("a stranger");
                    writeln!(text, "    heard  {} {who}", node.name).expect("memory");
                }
                if let Some(digits) = node.phone.digits(call).filter(|digits| !digits.is_empty()) {
                    writeln!(text, "    digits {} {digits}", node.name).expect("memory");
                }
            }
        }
        // What carriers mean to be paid, and what we wrote down.
        let records = model::money::last_records(&self.world.server.store);
        for node in &self.world.carriers {
            for record in node.carrier.records().iter().filter(|record| record.outbound) {
                if record.answered.is_some() {
                    let (number, seconds, cost) = (&record.number, record.seconds, record.cost);
                    writeln!(text, "    bill   {} {number} {seconds}s {cost}", node.name)
                        .expect("memory");
                }
            }
        }
        for toll in records.values().flat_map(|cdr| &cdr.tolls) {
            let (number, seconds, cost) = (&toll.number, toll.seconds, toll.cost.0);
            writeln!(text, "    toll   {number} {seconds}s {cost}").expect("memory");
        }
        text
    }
}

/// Who calls from outside.
const CALLER: &str = "+14155550123";

fn slip(words: &[&str]) -> Slip {
    let header = |name: &str| sip::Name::parse(name.as_bytes());
    match words {
        [] => Slip::Nothing,
        ["with", "another", "To", "tag"] => Slip::ToTag,
        ["with", "another", "From", "tag"] => Slip::FromTag,
        ["with", "an", "old", "CSeq"] => Slip::OldNumber,
        ["with", "a", "far", "CSeq"] => Slip::FarNumber,
        ["without", name] => Slip::Without(header(name)),
        ["with", "a", "malformed", name] => Slip::Malformed(header(name)),
        ["with", name, "twice"] => Slip::Twice(header(name)),
        other => panic!("nobody can say it {other:?}"),
    }
}

/// Without comment and empty space at the ends.
fn tidy(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim()
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines with a time that tell what was seen rather than done.
fn is_seen(words: &[&str]) -> bool {
    matches!(words, ["pbx", "drained"])
}

/// The first line where they part.
fn difference(wanted: &[String], found: &[String]) -> String {
    let at = wanted.iter().zip(found).take_while(|(a, b)| a == b).count();
    let or = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "the end".to_owned());
    format!("line {}: wanted `{}`, found `{}`", at + 1, or(wanted), or(found))
}

/// Long and never part of anything else, so that a leak is found by searching for it.
fn secret(number: &str) -> String {
    format!("correct-horse-{number}-battery")
}

#[cfg(test)]
mod absent;
#[cfg(test)]
mod emergency;
#[cfg(test)]
mod forged;
#[cfg(test)]
mod money;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trunk;
#[cfg(test)]
mod wall;
