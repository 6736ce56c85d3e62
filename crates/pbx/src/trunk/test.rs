//! The test of a trunk: what its line goes through anyway, told step by step.

use pure::Instant;
use sip::Response;
use sip::transaction::Key;

use super::line::{Alarm, Line, Link, Stage};
use super::trouble::Trouble;
use super::{Effect, Turn, health};
use crate::command::{Mend, Refusal, Reply, TestStep, TrunkTest};
use crate::directory::TrunkAccess;
use crate::io::{Place, Ticket};

#[derive(Debug)]
pub(super) struct Test {
    /// Who asked.
    ticket: Ticket,
    steps: Vec<TestStep>,
    /// An OPTIONS of the test's own, and when it was sent.
    options: Option<(Key, Instant)>,
    /// What answered OPTIONS.
    status: Option<u16>,
    /// All is known but the look-up.
    done: Option<bool>,
}

impl Line {
    /// A trunk that is up is looked up, registered and asked anew over its connection, since another
    /// registration beside it would push it out at some carriers; one that isn't is brought up, even if
    /// it is disabled, then only for the test. One test at a time.
    pub(super) fn begin_test(
        &mut self,
        turn: &mut Turn<'_, '_>,
        ticket: Ticket,
    ) -> Result<(), Refusal> {
        if self.test.is_some() {
            return Err(Refusal::InUse);
        }
        if turn.engine.draining {
            return Err(Refusal::NotAllowed);
        }
        let (steps, options, status, done) = (Vec::new(), None, None, None);
        self.test = Some(Test { ticket, steps, options, status, done });
        let timeout = turn.desk.settings.trunk_test_timeout;
        self.set(turn, Alarm::Test, timeout);
        match &self.stage {
            Stage::Up(up) => {
                let link = up.link.clone();
                self.note_connected(&link);
                self.relocate(turn);
                match self.trunk.access {
                    TrunkAccess::Registration(_) => self.refresh(turn),
                    TrunkAccess::Address(_) => self.continue_test(turn),
                }
            }
            Stage::Idle | Stage::Waiting { .. } => {
                self.enter(turn, Stage::Idle);
                self.begin(turn);
            }
            // Under way: what comes is what is told.
            Stage::Locating { .. } | Stage::Connecting { .. } | Stage::Joining { .. } => {}
        }
        Ok(())
    }

    /// The last step: OPTIONS of its own.
    pub(super) fn continue_test(&mut self, turn: &mut Turn<'_, '_>) {
        let waits = self.test.as_ref().is_some_and(|test| test.options.is_none());
        let Some(link) = self.link().cloned().filter(|_| waits) else { return };
        let now = turn.now().instant;
        let key = self.ask(turn, &link);
        if let Some(test) = &mut self.test {
            test.options = key.map(|key| (key, now));
        }
    }

    /// Whether this answer was the test's own.
    pub(super) fn tested(
        &mut self,
        turn: &mut Turn<'_, '_>,
        key: Key,
        answer: Option<&Response>,
    ) -> bool {
        let Some(test) = &mut self.test else { return false };
        let Some((_, sent)) = test.options.filter(|(of, _)| *of == key) else { return false };
        let registers = matches!(self.trunk.access, TrunkAccess::Registration(_));
        let passed = match answer {
            Some(answer) => {
                let (code, alive) = (answer.status().code(), health::is_alive(answer));
                let took = turn.desk.now.instant.since(sent).as_millis();
                test.status = Some(code);
                let found = format!("OPTIONS was answered with {code} in {took} ms.");
                match alive {
                    true => test.passed("options", found),
                    false => test.failed("options", found, Mend::Again),
                }
                alive
            }
            None if registers => {
                let found = "OPTIONS was not answered; the registration is its sign of life.";
                test.passed("options", found.to_owned());
                true
            }
            None => {
                let found = "OPTIONS was not answered.".to_owned();
                test.failed("options", found, Trouble::NoAnswer("OPTIONS").mend());
                false
            }
        };
        self.finish_test(turn, passed);
        true
    }

    pub(super) fn give_up_test(&mut self, turn: &mut Turn<'_, '_>) {
        let what = match &self.stage {
            Stage::Idle | Stage::Waiting { .. } | Stage::Locating { .. } => "look-up",
            Stage::Connecting { .. } => "connection",
            Stage::Joining { .. } if self.registers() => "registration",
            Stage::Up(_) if self.registers() && self.is_asked() => "registration",
            Stage::Joining { .. } | Stage::Up(_) => "options",
        };
        if let Some(test) = &mut self.test {
            let seconds = turn.desk.settings.trunk_test_timeout.as_secs();
            // Only the look-up was missing where the rest is done.
            let what = if test.done.is_some() { "look-up" } else { what };
            let mend = match what {
                "look-up" => Mend::Server,
                "options" => Trouble::NoAnswer("OPTIONS").mend(),
                _ => Mend::Transport,
            };
            test.failed(what, format!("Nothing came within {seconds} s."), mend);
            test.done = Some(false);
        }
        self.conclude(turn, true);
    }

    /// The end, where a test is on and nothing is awaited any more.
    pub(super) fn finish_test(&mut self, turn: &mut Turn<'_, '_>, passed: bool) {
        if let Some(test) = &mut self.test {
            test.done = Some(passed);
            self.conclude(turn, !passed);
        }
    }

    /// `now`: without the look-up, if that is still missing.
    fn conclude(&mut self, turn: &mut Turn<'_, '_>, now: bool) {
        let waits = self.is_relocating() && !now;
        let Some(test) = self.test.take_if(|test| test.done.is_some() && !waits) else { return };
        self.cancel(turn, Alarm::Test);
        let Test { ticket, mut steps, status, done, .. } = test;
        // The look-up of a trunk that is up comes when it comes.
        steps.sort_by_key(|step| STEPS.iter().position(|what| *what == step.what));
        let mut weaknesses: Vec<String> =
            self.weaknesses().into_iter().map(str::to_owned).collect();
        // A carrier that wants credentials even for OPTIONS is careful, not weak.
        let asks = |status: &u16| matches!(status, 200..=299 | 401 | 407);
        if let Some(status) = status.filter(|status| !asks(status)) {
            weaknesses.push(format!("answers OPTIONS with {status}"));
        }
        let passed = done == Some(true);
        let reply = Reply::TrunkTested(TrunkTest { steps, weaknesses, passed });
        turn.out.push(Effect::Reply { ticket, reply });
        if !self.trunk.enabled {
            self.rest(turn);
        }
    }

    fn registers(&self) -> bool {
        matches!(self.trunk.access, TrunkAccess::Registration(_))
    }

    fn is_asked(&self) -> bool {
        self.test.as_ref().is_some_and(|test| test.options.is_none())
    }

    /// `awaited`: the line can't go on without; its failure is told as its trouble then.
    pub(super) fn note_located(
        &mut self,
        turn: &mut Turn<'_, '_>,
        places: &[Place],
        awaited: bool,
    ) {
        let Some(test) = &mut self.test else { return };
        let host = &self.trunk.host;
        let names: Vec<String> = self
            .places
            .all()
            .iter()
            .map(|place| format!("{} {}", place.transport.via(), place.remote))
            .collect();
        if places.is_empty() && !awaited {
            test.failed("look-up", format!("No server was found under {host}."), Mend::Server);
        } else if !names.is_empty() {
            test.passed("look-up", format!("{host} is at {}.", names.join(", ")));
        }
        self.conclude(turn, false);
    }

    pub(super) fn note_connected(&mut self, link: &Link) {
        let Some(test) = &mut self.test else { return };
        let Place { transport, remote } = link.place;
        let found = match &link.tls {
            Some(tls) => format!(
                "{} {} to {remote}; the certificate names {}.",
                tls.version, tls.suite, self.trunk.host
            ),
            None => format!("{} to {remote}, not encrypted.", transport.via()),
        };
        test.passed("connection", found);
    }

    pub(super) fn note_registered(&mut self, seconds: u32) {
        let Some(test) = &mut self.test else { return };
        let digest = self.account.as_ref().and_then(|account| account.registrar.algorithm());
        let how = match digest {
            Some(algorithm) => format!("proved by digest {}", algorithm.token()),
            None => "without being asked for the password".to_owned(),
        };
        test.passed("registration", format!("Registered for {seconds} s, {how}."));
    }

    pub(super) fn note_options(&mut self, answer: &Response) {
        let Some(test) = &mut self.test else { return };
        let code = answer.status().code();
        test.status = Some(code);
        test.passed("options", format!("OPTIONS was answered with {code}."));
    }

    pub(super) fn note_trouble(&mut self, trouble: &Trouble) {
        let Some(test) = &mut self.test else { return };
        let what = match trouble {
            Trouble::NotLocated => "look-up",
            Trouble::Connect(_) | Trouble::Unsteady => "connection",
            Trouble::NoAnswer("OPTIONS")
            | Trouble::NotSent("OPTIONS")
            | Trouble::Refused("OPTIONS", _) => "options",
            Trouble::NoAnswer(_)
            | Trouble::NotSent(_)
            | Trouble::Refused(..)
            | Trouble::WrongPassword
            | Trouble::UnknownAccount
            | Trouble::Forbidden
            | Trouble::TooWeak(_)
            | Trouble::Unreadable
            | Trouble::Insatiable
            | Trouble::NoAccount
            | Trouble::NotKept
            | Trouble::Unwritable => "registration",
        };
        let words = trouble.for_administrator(&self.trunk);
        let place = match &self.stage {
            Stage::Connecting { place, .. } => Some(*place),
            Stage::Joining { link, .. } => Some(link.place),
            Stage::Up(up) => Some(up.link.place),
            Stage::Idle | Stage::Waiting { .. } | Stage::Locating { .. } => None,
        };
        let at = place.map(|place| format!(" ({})", place.remote)).unwrap_or_default();
        let mut letters = words.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let found = first.into_iter().chain(letters).collect::<String>();
        test.failed(what, format!("{found}{at}."), trouble.mend());
    }
}

impl Test {
    fn passed(&mut self, what: &'static str, found: String) {
        self.note(TestStep { what, passed: true, found, mend: None });
    }

    fn failed(&mut self, what: &'static str, found: String, mend: Mend) {
        self.note(TestStep { what, passed: false, found, mend: Some(mend) });
    }

    fn note(&mut self, step: TestStep) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(step);
        }
    }
}

/// In the order in which they are told.
const STEPS: [&str; 4] = ["look-up", "connection", "registration", "options"];
/// A carrier with many places that all fail; the first of them say enough.
const STEPS_MAX: usize = 24;
