//! An intruder with a connection of its own: scans, guesses, forges, replays, smuggles, injects and
//! floods, and tells what came of it.
//!
//! It exists to attack our own system, in simulation and in the drill, and can be used for nothing
//! else: it sends to a [`Target`] and to [`Ours`] addresses, which exist for this machine and for
//! addresses that belong to nobody (see [`target`]). It keeps a rate and a total of its settings.
//!
//! What it knows of its victims it is told ([`Overheard`], a captured request, a media address). What
//! it gains is an [`Event::Gained`]: a test asserts that there was none, and that
//! [`Event::Answered`] reads the same for extensions that exist and for those that don't.
//!
//! It writes its messages by hand, since a builder would refuse most of them; it reads answers with
//! the crate `sip`. It repeats nothing and acknowledges no refusal: that is how scanners behave.
//!
//! Drive it like every engine: `handle` one input, drain `poll_output`, wake it at `poll_timeout`.

mod attack;
pub mod malformed;
mod script;
pub mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pure::{Chance, Instant, Now, TimerId, Timers};
use sip::dialog::{Dialog, Hop};
use sip::digest::{Algorithm, Client};
use sip::{Message, Method, Name, Request, Response, Status, Transport};

use crate::Link;
pub use attack::{Attack, MediaAttack, Overheard};
use script::{Script, Shot};
use target::{Ours, Target};

/// One intruder. See the module for how to drive it.
#[derive(Debug)]
pub struct Attacker {
    target: Target,
    settings: AttackerSettings,
    chance: Chance,
    link: Option<(Link, SocketAddr)>,
    /// Whether a connection was asked for and has not come.
    connecting: bool,
    /// While a half message stands on the connection: when it is given up for the next one.
    holding: Option<TimerId>,
    reconnects: u32,
    planned: VecDeque<Attack>,
    running: Option<Script>,
    tally: Tally,
    /// Sent in total.
    sent: u32,
    /// What waits for an answer.
    probes: BTreeMap<Key, Probe>,
    /// The second halves of what was begun: they come before anything new.
    second: VecDeque<Shot>,
    timers: Timers<Timer>,
    /// The timer of the next shot.
    next: Option<TimerId>,
    out: VecDeque<Output>,
}

/// How fast and how much.
#[derive(Clone, Debug)]
pub struct AttackerSettings {
    pub transport: Transport,
    /// What it calls itself; `None`: like one known scanner after another.
    pub agent: Option<String>,
    /// Between two messages. Zero is a flood as fast as it is driven.
    pub interval: Duration,
    /// In all attacks together, media packets among them; then [`Event::Spent`].
    pub messages_max: u32,
    /// Requests without an answer; with as many it waits.
    pub in_flight_max: usize,
    /// After this long a request is taken for dropped. RFC 3261's Timer F is 32 seconds; to tell a
    /// ban from an answer, two are enough.
    pub answer_wait: Duration,
    /// Connections after the first, as long as there is something left to try.
    pub reconnects_max: u32,
    pub reconnect_after: Duration,
}

/// What happens to an attacker.
#[derive(Debug)]
pub enum Input {
    /// Answers [`Output::Connect`].
    Connected { link: Link, local: SocketAddr },
    /// The connection was closed, or could not be made.
    Disconnected,
    /// One whole SIP message.
    Received { link: Link, bytes: Bytes },
    /// A datagram at its media address.
    Media { from: SocketAddr, packet: Vec<u8> },
    /// Try this, after what is planned already. Beyond [`PLANNED_MAX`] it is dropped.
    Do(Attack),
    /// The instant of `poll_timeout` has come.
    Wake,
}

/// What an attacker wants done, or tells.
#[derive(Debug)]
pub enum Output {
    /// Open a connection to this address, which is [`Ours`].
    Connect {
        to: SocketAddr,
    },
    Disconnect {
        link: Link,
    },
    /// Whole messages, halves and garbage alike: to be written as they are.
    Transmit {
        link: Link,
        bytes: Bytes,
    },
    /// From the attacker's media address; `to` is [`Ours`].
    Media {
        to: SocketAddr,
        packet: Vec<u8>,
    },
    Event(Event),
}

/// What came of it. `attack` is [`Attack::name`], `about` the step: an extension, a case, a forgery.
/// No event holds a secret that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Answered {
        attack: &'static str,
        about: String,
        answer: Answer,
        /// Since it was sent: a difference in time tells as much as one in words.
        after: Duration,
    },
    /// No answer in [`AttackerSettings::answer_wait`].
    Silent {
        attack: &'static str,
        about: String,
    },
    /// The target closed the connection.
    Closed {
        attack: &'static str,
    },
    /// The defence failed.
    Gained {
        attack: &'static str,
        about: String,
        gain: Gain,
    },
    Finished {
        attack: &'static str,
        tally: Tally,
    },
    /// [`AttackerSettings::messages_max`] or `reconnects_max` is reached: nothing more will come.
    Spent,
}

/// What an intruder wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Gain {
    /// A REGISTER was accepted.
    Registered,
    /// An INVITE rang somewhere, was queued, or was answered.
    Called,
    /// A request in somebody else's dialog was accepted.
    Interfered,
    /// Another request than OPTIONS was accepted.
    Served,
    /// A message inside a message was answered.
    Smuggled,
    /// The target sent a packet to a media address that it never agreed on.
    Heard,
}

/// A final answer without what differs from request to request (branches, tags, nonces, dates), so
/// that two can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: Status,
    pub reason: String,
    /// The header lines in order. Of what is copied from the request or drawn anew only the name.
    pub rows: Vec<String>,
    pub body_len: usize,
}

/// The sum of one attack.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    pub sent: u32,
    pub answered: u32,
    pub silent: u32,
    /// Connections that the target closed.
    pub closed: u32,
    pub gains: u32,
}

/// A request is known by its Call-ID, number and method: an answer has all three.
type Key = (String, u32, String);

#[derive(Debug)]
struct Probe {
    about: String,
    kind: Kind,
    sent: Instant,
    silence: TimerId,
    /// For what follows an answer.
    bytes: Bytes,
    rang: bool,
}

/// What a success means.
#[derive(Clone, Debug)]
enum Kind {
    /// Nothing: everybody may ask.
    Harmless,
    Success(Gain),
    /// A challenge is answered with this secret.
    Guess {
        extension: String,
        secret: String,
    },
    /// Any answer at all is a gain.
    Hidden,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Timer {
    Next,
    Silence(Key),
    Connect,
    /// The connection that holds a half message is given up.
    Abandon,
}

impl Attacker {
    pub fn new(target: Target, settings: AttackerSettings, chance: Chance) -> Self {
        Self {
            target,
            settings,
            chance,
            link: None,
            connecting: false,
            holding: None,
            reconnects: 0,
            planned: VecDeque::new(),
            running: None,
            tally: Tally::default(),
            sent: 0,
            probes: BTreeMap::new(),
            second: VecDeque::new(),
            timers: Timers::new(),
            next: None,
            out: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected { link, local } => {
                self.connecting = false;
                self.link = Some((link, local));
            }
            Input::Disconnected => self.disconnected(now),
            Input::Received { link, bytes } => {
                if self.link.is_some_and(|(ours, _)| ours == link) {
                    self.received(now, bytes);
                }
            }
            Input::Media { from, .. } => {
                self.gained(&format!("a packet from {from}"), Gain::Heard);
            }
            Input::Do(attack) => {
                if self.planned.len() < PLANNED_MAX {
                    self.planned.push_back(attack);
                }
            }
            Input::Wake => self.wake(now),
        }
        self.proceed(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether everything planned was tried, or can't be tried any more.
    pub fn is_done(&self) -> bool {
        self.is_spent() || (self.running.is_none() && self.planned.is_empty())
    }

    fn is_spent(&self) -> bool {
        self.sent >= self.settings.messages_max || self.reconnects > self.settings.reconnects_max
    }

    fn wake(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::Next => {
                    self.next = None;
                    self.shoot(now);
                }
                Timer::Silence(key) => {
                    if let Some(probe) = self.probes.remove(&key) {
                        self.silent(probe);
                    }
                }
                Timer::Connect => {
                    self.connecting = false;
                    self.connect();
                }
                Timer::Abandon => {
                    self.holding = None;
                    if let Some((link, _)) = self.link.take() {
                        self.out.push_back(Output::Disconnect { link });
                        self.reconnect(now);
                    }
                }
            }
        }
    }

    /// Begins what is planned, sets the time of the next shot, and ends what is over.
    fn proceed(&mut self, now: Now) {
        if self.running.is_none()
            && let Some(attack) = self.planned.pop_front()
        {
            self.tally = Tally::default();
            self.running = Some(Script::new(attack));
        }
        let Some(script) = &self.running else { return };
        if self.is_spent() {
            // Reported once; the answers that are still underway are counted.
            if self.probes.is_empty() {
                self.finish();
                self.planned.clear();
                self.event(Event::Spent);
            }
            return;
        }
        if script.is_over() && self.second.is_empty() {
            if self.probes.is_empty() && self.holding.is_none() {
                self.finish();
                if !self.planned.is_empty() {
                    self.proceed(now);
                }
            }
            return;
        }
        if self.link.is_none() && !script.is_media() {
            return self.connect();
        }
        if self.next.is_none()
            && self.holding.is_none()
            && self.probes.len() < self.settings.in_flight_max.max(1)
        {
            let at = now.instant + self.settings.interval;
            self.next = Some(self.timers.set(at, Timer::Next));
        }
    }

    fn finish(&mut self) {
        let Some(script) = self.running.take() else { return };
        self.second.clear();
        self.event(Event::Finished { attack: script.name(), tally: self.tally });
    }

    fn connect(&mut self) {
        let waiting = self.connecting || self.link.is_some();
        if !waiting && self.running.is_some() && !self.is_spent() {
            self.connecting = true;
            self.out.push_back(Output::Connect { to: self.target.address.get() });
        }
    }

    fn disconnected(&mut self, now: Now) {
        let stood = self.link.take().is_some();
        if let Some(abandon) = self.holding.take() {
            self.timers.cancel(abandon);
        }
        if stood && let Some(script) = &self.running {
            let attack = script.name();
            self.tally.closed += 1;
            self.event(Event::Closed { attack });
        }
        // Nothing is answered on a connection that is gone.
        for (_, probe) in std::mem::take(&mut self.probes) {
            self.timers.cancel(probe.silence);
            self.silent(probe);
        }
        self.reconnect(now);
    }

    fn reconnect(&mut self, now: Now) {
        self.reconnects += 1;
        // Until then no other connection is asked for.
        self.connecting = true;
        self.timers.set(now.instant + self.settings.reconnect_after, Timer::Connect);
    }

    fn silent(&mut self, probe: Probe) {
        self.tally.silent += 1;
        let attack = self.attack_name();
        // What was hidden and met silence was not found.
        if !matches!(probe.kind, Kind::Hidden) {
            self.event(Event::Silent { attack, about: probe.about });
        }
    }

    fn attack_name(&self) -> &'static str {
        self.running.as_ref().map_or("none", Script::name)
    }

    fn gained(&mut self, about: &str, gain: Gain) {
        self.tally.gains += 1;
        let (attack, about) = (self.attack_name(), about.to_owned());
        self.event(Event::Gained { attack, about, gain });
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}

/// Sending.
impl Attacker {
    fn shoot(&mut self, now: Now) {
        let local = self.link.map(|(_, local)| local);
        let needs_link = self.running.as_ref().is_none_or(|script| !script.is_media());
        if self.is_spent() || (needs_link && local.is_none()) {
            return;
        }
        let shot = match self.second.pop_front() {
            Some(shot) => Some(shot),
            None => self.running.as_mut().and_then(|script| {
                let domain = &self.target.domain;
                script.next(&self.settings, domain, local, &mut self.chance)
            }),
        };
        let Some(shot) = shot else { return };
        self.sent += 1;
        self.tally.sent += 1;
        match shot {
            Shot::Message { bytes, probes } => {
                let Some((link, _)) = self.link else { return };
                let bytes = Bytes::from(bytes);
                for (key, about, kind) in probes {
                    self.expect(now, key, about, kind, bytes.clone());
                }
                self.out.push_back(Output::Transmit { link, bytes });
            }
            Shot::Half { bytes } => {
                let Some((link, _)) = self.link else { return };
                self.out.push_back(Output::Transmit { link, bytes: bytes.into() });
                let at = now.instant + self.settings.answer_wait;
                self.holding = Some(self.timers.set(at, Timer::Abandon));
            }
            Shot::Media { to, packet } => {
                let to = Ours::get(to);
                self.out.push_back(Output::Media { to, packet });
            }
        }
    }

    fn expect(&mut self, now: Now, key: Key, about: String, kind: Kind, bytes: Bytes) {
        let at = now.instant + self.settings.answer_wait;
        let silence = self.timers.set(at, Timer::Silence(key.clone()));
        let probe = Probe { about, kind, sent: now.instant, silence, bytes, rang: false };
        // A repeated request is one request: its answer is counted once.
        if let Some(before) = self.probes.insert(key, probe) {
            self.timers.cancel(before.silence);
        }
    }
}

/// Reading.
impl Attacker {
    fn received(&mut self, now: Now, bytes: Bytes) {
        let Ok(Message::Response(response)) = Message::parse(bytes) else { return };
        let (headers, status) = (response.headers(), response.status());
        let cseq = headers.cseq();
        let key = (headers.call_id().to_owned(), cseq.number, cseq.method.as_str().to_owned());
        let Some(probe) = self.probes.get_mut(&key) else { return };
        if status.is_provisional() {
            // 100 only says that it came; everything above says that something was found.
            if status.code() > 100 && !probe.rang {
                probe.rang = true;
                let (about, bytes) = (probe.about.clone(), probe.bytes.clone());
                self.gained(&about, Gain::Called);
                self.give_up(&bytes);
            }
            return;
        }
        let Some(probe) = self.probes.remove(&key) else { return };
        self.timers.cancel(probe.silence);
        self.tally.answered += 1;
        let (attack, about) = (self.attack_name(), probe.about.clone());
        let (answer, after) = (Answer::of(&response), now.instant.since(probe.sent));
        self.event(Event::Answered { attack, about, answer, after });
        match probe.kind {
            Kind::Harmless => {}
            Kind::Hidden => self.gained(&probe.about, Gain::Smuggled),
            Kind::Success(gain) if status.is_success() => {
                self.gained(&probe.about, gain);
                self.hang_up(&probe.bytes, &response);
            }
            Kind::Success(_) => {}
            Kind::Guess { .. } if status.is_success() => {
                self.gained(&probe.about, Gain::Registered);
            }
            Kind::Guess { extension, secret } => {
                if let Some(credentials) = self.prove(&response, &extension, &secret) {
                    let about = probe.about;
                    let local = self.link.map(|(_, local)| local);
                    let domain = &self.target.domain;
                    let kind = Kind::Success(Gain::Registered);
                    let shot = script::register(
                        &self.settings,
                        domain,
                        local,
                        &mut self.chance,
                        &extension,
                        &format!("Authorization: {credentials}\r\n"),
                        (about, kind),
                    );
                    self.second.extend(shot);
                }
            }
        }
    }

    fn prove(&mut self, response: &Response, extension: &str, secret: &str) -> Option<String> {
        let headers = response.headers();
        let challenges = headers.get_all(Name::WwwAuthenticate).map(str::as_bytes);
        let uri = format!("sip:{}", self.target.domain);
        // The weakest algorithm that is offered is as good as any to an intruder.
        let mut client = Client::new(extension, secret, Algorithm::Md5, self.chance.fork());
        client.answer(challenges, "REGISTER", &uri).ok()
    }

    /// Takes back a call that rings: the phones of an office are not to ring for a drill.
    fn give_up(&mut self, invite: &Bytes) {
        let (Some((link, _)), Ok(text)) = (self.link, str::from_utf8(invite)) else { return };
        let cancel =
            text.replacen("INVITE ", "CANCEL ", 1).replacen(" INVITE\r\n", " CANCEL\r\n", 1);
        let Some((head, _)) = cancel.split_once("\r\nContent-") else { return };
        let bytes = format!("{head}\r\nContent-Length: 0\r\n\r\n").into();
        self.out.push_back(Output::Transmit { link, bytes });
    }

    /// Ends a call that was answered.
    fn hang_up(&mut self, invite: &Bytes, response: &Response) {
        let Some((link, local)) = self.link else { return };
        let Ok(Message::Request(invite)) = Message::parse(invite.clone()) else { return };
        if invite.method() != Method::Invite {
            return;
        }
        for request in self.goodbye(&invite, response, local).into_iter().flatten() {
            self.out.push_back(Output::Transmit { link, bytes: request.as_bytes().clone() });
        }
    }

    fn goodbye(
        &mut self,
        invite: &Request,
        response: &Response,
        local: SocketAddr,
    ) -> Option<[Request; 2]> {
        let mut dialog = Dialog::uac(invite, response).ok()?;
        let (transport, sent_by) = (self.settings.transport, local.to_string());
        let branches = [(); 2].map(|()| script::branch(&mut self.chance));
        let [ack, bye] =
            branches.each_ref().map(|branch| Hop { transport, sent_by: &sent_by, branch });
        let ack = dialog.ack(invite.headers().cseq().number, ack).build().ok()?;
        let bye = dialog.request(Method::Bye, bye).ok()?.build().ok()?;
        Some([ack, bye])
    }
}

impl Answer {
    fn of(response: &Response) -> Self {
        let rows = response.headers().rows().map(|(name, _, value)| match name {
            Name::Via | Name::From | Name::CallId | Name::CSeq | Name::Date => {
                name.as_str().to_owned()
            }
            Name::To => format!("To, tagged: {}", value.contains(";tag=")),
            Name::WwwAuthenticate | Name::ProxyAuthenticate => {
                format!("{}: {}", name.as_str(), without_words(value, &["nonce", "opaque"]))
            }
            _ => format!("{}: {value}", name.as_str()),
        });
        Self {
            status: response.status(),
            reason: response.reason().to_owned(),
            rows: rows.collect(),
            body_len: response.body().len(),
        }
    }
}

/// A challenge in which these parameters say only how long they are.
fn without_words(value: &str, names: &[&str]) -> String {
    let parts = value.split(',').map(|part| match part.split_once('=') {
        Some((name, word)) if names.iter().any(|known| name.trim().ends_with(known)) => {
            format!("{name}={} bytes", word.len())
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Attacks that wait for their turn. A drill has two dozen.
pub const PLANNED_MAX: usize = 64;
