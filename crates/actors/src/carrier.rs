//! A carrier: a registrar for its customers' trunks, a switch with a table of numbers, and a bill of its
//! own.
//!
//! Behind it are other people's phones: each call has one, a [`Phone`](crate::phone::Phone) that answers, refuses or lets
//! ring as the table of numbers says. The carrier stands before them. It registers and challenges its
//! customer, hands each message to the phone of its call, and writes down what it means to be paid,
//! knowing nothing of what the customer wrote.
//!
//! Drive it like every engine: `handle` one input, drain `poll_output`, wake it at `poll_timeout`.

mod bill;
mod registrar;
mod switch;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use pure::{Chance, Instant, Now, Timers};
use sip::digest::Algorithm;
use sip::{Message, Method, Request, Response, Status};

pub use self::bill::{Record, Tariff};
use self::registrar::Registrar;
use self::switch::Line;
use crate::media::{Security, Voice};
use crate::phone::Link;

/// See the module.
#[derive(Debug)]
pub struct Carrier {
    settings: CarrierSettings,
    chance: Chance,
    registrar: Registrar,
    /// Connections that stand, newest last, and our address on each.
    links: Vec<(Link, SocketAddr)>,
    /// Calls by their Call-ID, those that ended lately included.
    lines: BTreeMap<String, Line>,
    records: Vec<Record>,
    timers: Timers<Timer>,
    out: VecDeque<Output>,
    lines_made: u32,
    next_port: u16,
    /// Requests without a phone of their own are answered with tags of this.
    tag: String,
    dead: bool,
}

#[derive(Clone, Debug)]
pub struct CarrierSettings {
    /// Host of our URIs, and the realm of our challenges.
    pub host: String,
    /// The customers that register, or answer our challenges.
    pub accounts: Vec<Account>,
    /// Offered in challenges, preferred first.
    pub algorithms: Vec<Algorithm>,
    /// What every registration is granted, in seconds, whatever it asks for.
    pub expires: u32,
    /// Shorter wishes are answered 423.
    pub expires_min: u32,
    /// Answers 503 with so many seconds of Retry-After to every REGISTER.
    pub closed: Option<u32>,
    pub challenges_invites: bool,
    /// Every request within a call must prove itself too: BYE, re-INVITE, UPDATE, INFO. RFC 3261 §22.1
    /// allows it, and carriers do.
    pub challenges_calls: bool,
    /// The first so many BYEs of each call are answered 503, and the call goes on being billed.
    pub refuses_byes: u8,
    pub answers_options: bool,
    pub security: Security,
    /// Refuses what it would have to encrypt (488).
    pub only_plain: bool,
    pub transport: sip::Transport,
    /// Who answers at a number, by the user part of the Request-URI.
    pub numbers: BTreeMap<String, Habit>,
    /// Who answers at all others.
    pub otherwise: Habit,
    /// Calls at once; a further one is answered 503.
    pub channels: usize,
    /// By the longest prefix, digits without `+`. What matches none is billed nothing.
    pub tariffs: Vec<Tariff>,
    /// Nothing heard from the customer for so long: hung up, and the bill ends.
    pub silence_limit: Option<Duration>,
    pub media_address: IpAddr,
    pub media_port: u16,
    pub packet_interval: Duration,
    /// What the first call's other party says; each further one is the next number.
    pub voice: Voice,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub user: String,
    pub secret: String,
}

/// How somebody out there takes calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Habit {
    pub takes: Takes,
    /// 183 with a description, and audio, before the answer.
    pub early_media: bool,
    /// Ends the call so long after answering.
    pub talks: Option<Duration>,
    /// Answers a call in the very moment of its CANCEL.
    pub answers_when_cancelled: bool,
    /// Refreshes the session timer where the caller leaves that open.
    pub keeps_alive: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    Answers {
        after: Duration,
    },
    Refuses(Status),
    /// Rings for ever.
    Rings,
    /// The carrier itself says nothing, not even 100.
    Mute,
}

/// What happens to a carrier.
#[derive(Debug)]
pub enum Input {
    /// A connection stands, whoever opened it; or a datagram socket and whom it speaks to.
    Connected {
        link: Link,
        local: SocketAddr,
    },
    Disconnected {
        link: Link,
    },
    /// One whole SIP message.
    Received {
        link: Link,
        bytes: Bytes,
    },
    /// A datagram at one of its media addresses.
    Media {
        at: SocketAddr,
        from: SocketAddr,
        packet: Vec<u8>,
    },
    Do(Action),
    /// The instant of `poll_timeout` has come.
    Wake,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Somebody out there calls a number of the customer's.
    Call {
        from: String,
        number: String,
        /// Whose registration is used; `None`: the customer's address.
        account: Option<String>,
        /// `sip:` host of the customer, for calls without registration.
        host: String,
    },
    /// The other parties of all calls that are up hang up.
    HangUpAll,
    /// They put the customer on hold, and take it back.
    HoldAll,
    ResumeAll,
    /// Pull the plug: nothing is said to anybody, and nothing is billed any more.
    Die,
    Start,
}

/// What a carrier wants done, or tells.
#[derive(Debug)]
pub enum Output {
    Transmit { link: Link, bytes: Bytes },
    MediaOpen { at: SocketAddr },
    MediaClose { at: SocketAddr },
    Media { from: SocketAddr, to: SocketAddr, packet: Vec<u8> },
    Event(Event),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Registered {
        user: String,
    },
    Unregistered {
        user: String,
    },
    /// Wrong password, or none that is known.
    Turned {
        user: String,
    },
    /// An INVITE that is a new call.
    Called {
        number: String,
    },
    Answered {
        number: String,
    },
    /// A call of either direction ended, and what is asked for it.
    Ended {
        number: String,
        cost: i64,
    },
    /// A phone behind us was confused.
    Confused {
        what: &'static str,
    },
}

/// Why the carrier wakes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// The other party has said all it wanted.
    HangUp(String),
    Silence(String),
    /// What ended is forgotten.
    Forget(String),
}

impl Carrier {
    pub fn new(settings: CarrierSettings, mut chance: Chance, now: Now) -> Self {
        Self {
            registrar: Registrar::new(chance.fork(), now),
            links: Vec::new(),
            lines: BTreeMap::new(),
            records: Vec::new(),
            timers: Timers::new(),
            out: VecDeque::new(),
            lines_made: 0,
            next_port: settings.media_port,
            tag: format!("{:016x}", chance.u64()),
            dead: false,
            settings,
            chance,
        }
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Do(Action::Start) => self.dead = false,
            _ if self.dead => {}
            Input::Connected { link, local } => {
                self.links.retain(|(known, _)| *known != link);
                self.links.push((link, local));
                self.reattach(now, link, local);
            }
            Input::Disconnected { link } => {
                self.links.retain(|(known, _)| *known != link);
                self.lost(now, link);
            }
            Input::Received { link, bytes } => self.received(now, link, bytes),
            Input::Media { at, from, packet } => self.hear(now, at, from, packet),
            Input::Do(action) => self.act(now, action),
            Input::Wake => self.wake(now),
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let lines = self.lines.values().filter_map(|line| line.phone.poll_timeout());
        lines.chain(self.timers.next()).min()
    }

    pub fn settings(&self) -> &CarrierSettings {
        &self.settings
    }

    /// Changes how it behaves from now on.
    pub fn set(&mut self, change: impl FnOnce(&mut CarrierSettings)) {
        change(&mut self.settings);
    }

    pub fn is_registered(&self, now: Now, user: &str) -> bool {
        self.registrar.contact(now, user).is_some()
    }

    /// Where a customer says that it is called.
    pub fn contact(&self, now: Now, user: &str) -> Option<String> {
        self.registrar.contact(now, user).map(|binding| binding.contact.clone())
    }

    /// Every call it took or made, in the order in which they began.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whom the other party of a call that is up has heard: packets by voice.
    pub fn heard(&self, call_id: &str) -> Option<&BTreeMap<Voice, u64>> {
        let phone = &self.lines.get(call_id)?.phone;
        let (call, _) = phone.calls().next()?;
        phone.heard(call)
    }

    /// Phones behind it that are in a call.
    pub fn calls(&self) -> usize {
        self.lines.values().filter(|line| line.phone.calls().next().is_some()).count()
    }

    fn received(&mut self, now: Now, link: Link, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else {
            return self.event(Event::Confused { what: "a message that can't be read" });
        };
        let call_id = message.headers().call_id().to_owned();
        if self.lines.contains_key(&call_id) {
            return self.hand_over(now, &call_id, link, &message, bytes);
        }
        let Message::Request(request) = message else { return };
        match request.method() {
            Method::Register => {
                let answer = self.register(now, link, &request);
                self.answer(link, answer);
            }
            Method::Options if self.settings.answers_options => {
                let answer = self.plain(&request, Status::OK);
                self.answer(link, answer);
            }
            Method::Options => {}
            Method::Invite if request.headers().to().tag().is_none() => {
                self.called(now, link, &request, bytes);
            }
            // The acknowledgement of a challenge.
            Method::Ack => {}
            _ => {
                let answer = self.plain(&request, Status::CALL_DOES_NOT_EXIST);
                self.answer(link, answer);
            }
        }
    }

    /// An answer without a transaction: a repeated request gets it again.
    fn plain(&self, request: &Request, status: Status) -> Option<Response> {
        Response::builder(request, status).to_tag(&self.tag).build().ok()
    }

    fn answer(&mut self, link: Link, response: Option<Response>) {
        if let Some(response) = response {
            self.out.push_back(Output::Transmit { link, bytes: response.as_bytes().clone() });
        }
    }

    fn wake(&mut self, now: Now) {
        self.wake_lines(now);
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::HangUp(call_id) => self.hang_up(now, &call_id),
                Timer::Silence(call_id) => self.listen(now, &call_id),
                Timer::Forget(call_id) => self.forget(now, call_id),
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}

impl Habit {
    /// Answers after a second and waits for the other side to hang up.
    pub fn answers() -> Self {
        Self::that(Takes::Answers { after: Duration::from_secs(1) })
    }

    pub fn that(takes: Takes) -> Self {
        Self {
            takes,
            early_media: false,
            talks: None,
            answers_when_cancelled: false,
            keeps_alive: false,
        }
    }
}

#[cfg(test)]
mod tests;
