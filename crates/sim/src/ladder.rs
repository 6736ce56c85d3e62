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
use std::time::Duration;

use actors::phone::{Action, PhoneSettings, State};
use guard::policy::{Policy, Scope};
use pbx::directory::Exceptions;
use pbx::settings::Settings;
use pure::{Chance, Instant};

use crate::link::Weather;
use crate::world::{Act, Cast, InCall, World, ordinary};

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

/// Runs a ladder with the usual cast: alice 101, bob 102, carol 103.
pub fn check(text: &str) {
    Ladder::new(|_, _| {}).check(text);
}

impl Ladder {
    /// `tell` sets up each phone before it is plugged in.
    pub fn new(tell: impl Fn(&str, &mut PhoneSettings)) -> Self {
        Self::of(&[("alice", "101"), ("bob", "102"), ("carol", "103")], tell)
    }

    pub fn of(cast: &[(&str, &str)], tell: impl Fn(&str, &mut PhoneSettings)) -> Self {
        Self::with(Settings::default(), cast, &[], tell)
    }

    /// `weak`: extensions that may be in clear. Sven's phone asks for session timers.
    pub fn with(
        settings: Settings,
        cast: &[(&str, &str)],
        weak: &[&str],
        tell: impl Fn(&str, &mut PhoneSettings),
    ) -> Self {
        let mut world = World::new(settings, Weather::STILL, Chance::from_number(7));
        for (_, number) in cast {
            let exceptions = Exceptions { dangerous_plain_rtp: weak.contains(number) };
            world.server.store.install(number, &secret(number), exceptions);
        }
        world.watch.secrets = cast.iter().map(|(_, number)| secret(number)).collect();
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
    }

    fn phone(&self, name: &str) -> usize {
        let found = self.world.phones.iter().position(|node| node.name == name);
        found.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    fn act(&mut self, words: &[&str]) {
        if let ["pbx" | "mallory" | "clock" | "admin" | "network", ..] = words {
            return self.act_of_others(words);
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
            ["resumes"] => call(InCall::Resume),
            ["moves"] => call(InCall::Move),
            ["presses", digit] => call(InCall::Press(digit.chars().next().expect("one character"))),
            ["dies"] => person(Action::Die),
            ["starts"] => person(Action::Start),
            ["stops"] => person(Action::Stop),
            ["breaks"] => Act::Reset { phone },
            ["half-breaks"] => Act::HalfOpen { phone },
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
            ["mallory", "forges", method, name] => self.forge(method, name),
            other => panic!("nobody can {other:?}"),
        }
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

    /// The words of a dialog that somebody overheard, from another connection.
    fn forge(&mut self, method: &str, name: &str) {
        let phone = self.phone(name);
        let message = self.world.overheard(phone, method);
        let wire = self.world.stranger();
        self.world.forge(wire, message);
    }

    /// All that was seen, and what was heard.
    fn seen(&mut self) -> String {
        let mut text = String::new();
        for line in &self.world.log {
            if !self.registering && line.text.ends_with("REGISTER") {
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
                    let who = who.map_or("a stranger", |other| other.name.as_str());
                    writeln!(text, "    heard  {} {who}", node.name).expect("memory");
                }
                if let Some(digits) = node.phone.digits(call).filter(|digits| !digits.is_empty()) {
                    writeln!(text, "    digits {} {digits}", node.name).expect("memory");
                }
            }
        }
        text
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
mod tests;
