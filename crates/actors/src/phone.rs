//! A softphone with one account: registers over one connection, calls and is called, encrypts, and
//! remembers whom it heard.
//!
//! It behaves like the phones of the field: it reconnects when its connection breaks and registers
//! anew, keeps its calls meanwhile, answers re-INVITEs, backs off on glare, and repeats what the RFCs
//! tell it to repeat. What it "says" is a [`Voice`], a number in every packet, so a test can ask who
//! heard whom.
//!
//! Drive it like every engine: `handle` one input, drain `poll_output`, wake it at `poll_timeout`.

mod call;
mod media;
mod registration;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use pure::{Chance, Instant, Now, Timers};
use sip::digest::{Algorithm, Client};
use sip::transaction::{self, Key, Transactions};
use sip::{Message, Method, Name, Request, Response, Status};

pub use crate::media::{Security, Voice};
use call::Call;
pub use call::{Ending, State};
use registration::Registration;

/// One softphone. See the module for how to drive it.
#[derive(Debug)]
pub struct Phone {
    settings: PhoneSettings,
    chance: Chance,
    client: Client,
    transactions: Transactions<Link>,
    /// The connection that stands, and our address on it.
    link: Option<(Link, SocketAddr)>,
    registration: Registration,
    calls: BTreeMap<CallId, Call>,
    /// What was heard in calls that have ended, at most [`PAST_MAX`] of them.
    past: BTreeMap<CallId, Heard>,
    /// Which call a transaction of ours belongs to.
    purposes: BTreeMap<Key, Purpose>,
    timers: Timers<Timer>,
    out: VecDeque<Output>,
    calls_made: u32,
    next_port: u16,
    session: Option<u32>,
    answers_when_cancelled: bool,
}

/// What a phone was told when it was set up.
#[derive(Clone, Debug)]
pub struct PhoneSettings {
    /// Account and user name.
    pub number: String,
    pub secret: String,
    /// Host of the server as it stands in URIs.
    pub domain: String,
    pub display_name: String,
    /// `+sip.instance`; `None` for phones that have none.
    pub instance: Option<String>,
    pub agent: String,
    pub transport: sip::Transport,
    /// Seconds to register for.
    pub expires: u32,
    pub security: Security,
    /// `None`: it rings until somebody acts.
    pub answer_after: Option<Duration>,
    /// What it answers instead of ringing: 486 when in use, 603 with do-not-disturb.
    pub reject_with: Option<Status>,
    /// Whether it speaks before the answer (183 with a description).
    pub early_media: bool,
    /// Least algorithm it answers a challenge with.
    pub weakest: Algorithm,
    /// Where media is received.
    pub media_address: IpAddr,
    /// First of the ports it uses, even.
    pub media_port: u16,
    /// Between two packets of a stream. Real phones take 20 ms; a long simulation takes more.
    pub packet_interval: Duration,
    pub voice: Voice,
    /// How long after a lost connection it tries anew, at the most.
    pub reconnect_max: Duration,
}

/// Names a connection; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Link {
    pub id: u64,
    pub reliable: bool,
}

impl transaction::Path for Link {
    fn is_reliable(&self) -> bool {
        self.reliable
    }
}

/// The phone's own name for one of its calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u32);

/// What happens to a phone.
#[derive(Debug)]
pub enum Input {
    /// Answers [`Output::Connect`].
    Connected {
        link: Link,
        local: SocketAddr,
    },
    /// The connection broke, or could not be made.
    Disconnected,
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

/// What its owner does with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Plug it in: connect and register.
    Start,
    /// Sign off and hang up.
    Stop,
    /// Pull the plug: nothing is said to anybody.
    Die,
    /// `number` may be a URI.
    Dial {
        number: String,
    },
    /// Leaves the offer to the called side (RFC 3261 §13.2.1).
    DialWithoutOffer {
        number: String,
    },
    /// To somebody who isn't called what the address says: how carriers call a Contact that was
    /// registered. Both are URIs.
    DialVia {
        uri: String,
        to: String,
    },
    Answer {
        call: CallId,
    },
    Reject {
        call: CallId,
    },
    /// End the call, or give up dialling.
    HangUp {
        call: CallId,
    },
    Hold {
        call: CallId,
    },
    /// Switches the microphone off: nothing is sent, and nobody is told.
    Mute {
        call: CallId,
    },
    Resume {
        call: CallId,
    },
    /// Moves the call's media to another port (a roaming phone).
    Move {
        call: CallId,
    },
    /// Says again what was agreed: a session kept alive by re-INVITE (RFC 4028 §7.4).
    Refresh {
        call: CallId,
    },
    Press {
        call: CallId,
        digit: char,
    },
    /// Presses a key and tells it by INFO, as phones do that were set so.
    Inform {
        call: CallId,
        digit: char,
    },
}

/// What a phone wants done, or tells.
#[derive(Debug)]
pub enum Output {
    /// Open a connection to the server.
    Connect,
    Disconnect {
        link: Link,
    },
    Transmit {
        link: Link,
        bytes: Bytes,
    },
    MediaOpen {
        at: SocketAddr,
    },
    MediaClose {
        at: SocketAddr,
    },
    Media {
        from: SocketAddr,
        to: SocketAddr,
        packet: Vec<u8>,
    },
    Event(Event),
}

/// What a person would notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Registered {
        expires: u32,
    },
    RegistrationFailed {
        status: Status,
    },
    Dialling {
        call: CallId,
        number: String,
    },
    Incoming {
        call: CallId,
        from: String,
    },
    Ringing {
        call: CallId,
    },
    Answered {
        call: CallId,
    },
    Held {
        call: CallId,
    },
    Resumed {
        call: CallId,
    },
    Ended {
        call: CallId,
        ending: Ending,
    },
    /// Something came that belongs to nothing: the other side and we disagree.
    Confused {
        what: &'static str,
    },
}

/// What a call that has ended brought.
#[derive(Debug)]
struct Heard {
    voices: BTreeMap<Voice, u64>,
    digits: String,
    forged: u64,
}

/// What a transaction of ours is for.
#[derive(Clone, Debug)]
enum Purpose {
    Register,
    Invite(CallId),
    Reinvite(CallId),
    Bye(CallId),
    Info,
}

/// Why the phone wakes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Timer {
    Connect,
    Refresh,
    Answer(CallId),
    Packet(CallId),
    /// A re-INVITE that met another one is tried again.
    Glare(CallId),
    /// A session that it refreshes.
    Session(CallId),
}

impl Phone {
    pub fn new(settings: PhoneSettings, mut chance: Chance) -> Self {
        let (number, secret) = (&settings.number, &settings.secret);
        let client = Client::new(number, secret, settings.weakest, chance.fork());
        let config = transaction::Config::default();
        Self {
            client,
            transactions: Transactions::new(config, chance.fork()),
            link: None,
            registration: Registration::new(&mut chance),
            calls: BTreeMap::new(),
            past: BTreeMap::new(),
            purposes: BTreeMap::new(),
            timers: Timers::new(),
            out: VecDeque::new(),
            calls_made: 0,
            next_port: settings.media_port,
            session: None,
            answers_when_cancelled: false,
            settings,
            chance,
        }
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected { link, local } => {
                self.link = Some((link, local));
                self.register(now);
            }
            Input::Disconnected => self.disconnected(now),
            Input::Received { link, bytes } => self.received(now, link, bytes),
            Input::Media { at, from, packet } => self.hear(at, from, &packet),
            Input::Do(action) => self.act(now, action),
            Input::Wake => self.wake(now),
        }
        self.settle(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.transactions.poll_timeout()].into_iter().flatten().min()
    }

    /// From now on its calls ask for a session timer of so many seconds, refreshed by the server
    /// (RFC 4028).
    pub fn ask_for_sessions(&mut self, interval: Option<u32>) {
        self.session = interval;
    }

    /// From now on it takes calls up in the very moment when their callers give up.
    pub fn answer_when_cancelled(&mut self) {
        self.answers_when_cancelled = true;
    }

    /// Speaks over this connection from now on, without registering; says what was left unsaid.
    pub(crate) fn attach(&mut self, now: Now, link: Link, local: SocketAddr) {
        if self.link != Some((link, local)) {
            self.link = Some((link, local));
            self.catch_up(now);
            self.settle(now);
        }
    }

    pub(crate) fn link(&self) -> Option<Link> {
        self.link.map(|(link, _)| link)
    }

    /// Whether the other side has anything to say in this call, as both agreed.
    pub(crate) fn is_spoken_to(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|call| call.media.is_spoken_to())
    }

    /// Whether it is in no call and waits for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.transactions.poll_timeout().is_none()
    }

    pub fn settings(&self) -> &PhoneSettings {
        &self.settings
    }

    pub fn is_registered(&self) -> bool {
        self.registration.is_up()
    }

    /// Its calls that have not ended.
    pub fn calls(&self) -> impl Iterator<Item = (CallId, &State)> {
        self.calls.iter().map(|(id, call)| (*id, &call.state))
    }

    /// Whom it heard in this call: packets by voice. The last calls are remembered after their end.
    pub fn heard(&self, call: CallId) -> Option<&BTreeMap<Voice, u64>> {
        let past = || self.past.get(&call).map(|past| &past.voices);
        self.calls.get(&call).map(|call| &call.media.heard).or_else(past)
    }

    /// Digits that came in this call, as RFC 4733 events.
    pub fn digits(&self, call: CallId) -> Option<&str> {
        let past = || self.past.get(&call).map(|past| past.digits.as_str());
        self.calls.get(&call).map(|call| call.media.digits.as_str()).or_else(past)
    }

    /// Media packets of this call that were not authentic.
    pub fn forged(&self, call: CallId) -> Option<u64> {
        let past = || self.past.get(&call).map(|past| past.forged);
        self.calls.get(&call).map(|call| call.media.forged).or_else(past)
    }

    fn act(&mut self, now: Now, action: Action) {
        match action {
            Action::Start => self.out.push_back(Output::Connect),
            Action::Stop => {
                let calls: Vec<CallId> = self.calls.keys().copied().collect();
                for call in calls {
                    self.hang_up(now, call);
                }
                self.unregister(now);
            }
            Action::Die => {
                if let Some((link, _)) = self.link.take() {
                    self.out.push_back(Output::Disconnect { link });
                }
                self.timers = Timers::new();
                self.registration.lost();
                self.purposes.clear();
                let chance = self.chance.fork();
                self.transactions = Transactions::new(transaction::Config::default(), chance);
                let calls: Vec<CallId> = self.calls.keys().copied().collect();
                for call in calls {
                    self.forget(call, Ending::Died);
                }
            }
            Action::Dial { number } => self.dial(now, number, None, true),
            Action::DialWithoutOffer { number } => self.dial(now, number, None, false),
            Action::DialVia { uri, to } => self.dial(now, uri, Some(to), true),
            Action::Answer { call } => self.answer(now, call),
            Action::Reject { call } => self.reject(now, call, Status::DECLINE),
            Action::HangUp { call } => self.hang_up(now, call),
            Action::Hold { call } => self.reinvite(now, call, call::Wish::Hold),
            Action::Mute { call } => self.mute(now, call),
            Action::Resume { call } => self.reinvite(now, call, call::Wish::Resume),
            Action::Move { call } => self.reinvite(now, call, call::Wish::Move),
            Action::Refresh { call } => self.reinvite(now, call, call::Wish::Refresh),
            Action::Press { call, digit } => self.press(now, call, digit),
            Action::Inform { call, digit } => self.inform(now, call, digit),
        }
    }

    fn disconnected(&mut self, now: Now) {
        if let Some((link, _)) = self.link.take() {
            self.transactions.handle(now, transaction::Input::Failed { path: link });
        }
        self.registration.lost();
        let most = u64::try_from(self.settings.reconnect_max.as_millis()).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(100 + self.chance.below(most.max(1)));
        self.timers.set(now.instant + wait, Timer::Connect);
    }

    fn wake(&mut self, now: Now) {
        self.transactions.handle(now, transaction::Input::Timeout);
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::Connect => {
                    if self.link.is_none() {
                        self.out.push_back(Output::Connect);
                    }
                }
                Timer::Refresh => self.register(now),
                Timer::Answer(call) => self.answer(now, call),
                Timer::Packet(call) => self.speak(now, call),
                Timer::Glare(call) => self.retry(now, call),
                Timer::Session(call) => self.keep_alive(now, call),
            }
        }
    }

    fn received(&mut self, now: Now, link: Link, bytes: Bytes) {
        match Message::parse(bytes) {
            Ok(message) => {
                self.transactions.handle(now, transaction::Input::Received { path: link, message });
            }
            Err(_) => self.confused("a message that can't be read"),
        }
    }

    /// Carries out what the transactions want, until they want nothing more.
    fn settle(&mut self, now: Now) {
        while let Some(output) = self.transactions.poll_output() {
            use transaction::Output as Out;
            match output {
                Out::Transmit { path, bytes } => {
                    self.out.push_back(Output::Transmit { link: path, bytes });
                }
                Out::NewRequest { key, request, .. } => self.requested(now, key, &request),
                Out::Cancel { key, request, invite, .. } => {
                    self.cancelled(now, key, &request, invite)
                }
                Out::Ack { request, .. } => self.acknowledged(now, &request),
                Out::Response { key, response } => self.answered(now, key, &response),
                Out::Stray { response, .. } => self.stray(&response),
                Out::Overloaded { .. } => self.confused("too many transactions"),
                Out::Refused { key } | Out::TransportFailed { key } => self.failed(key),
                Out::Timeout { key, timer } => self.timed_out(now, key, timer),
                Out::Terminated { key } => {
                    self.purposes.remove(&key);
                }
            }
        }
    }

    fn requested(&mut self, now: Now, key: Key, request: &Request) {
        match request.method() {
            Method::Invite if request.headers().to().tag().is_none() => {
                self.incoming(now, key, request);
            }
            Method::Invite => self.reinvited(now, key, request),
            Method::Bye => self.bye(now, key, request),
            Method::Options | Method::Info | Method::Notify => {
                self.respond(now, key, request, Status::OK);
            }
            Method::Update if self.session.is_some() => self.updated(now, key, request),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Update
            | Method::Prack
            | Method::Subscribe
            | Method::Refer
            | Method::Message
            | Method::Publish
            | Method::Other(_) => self.respond(now, key, request, Status::METHOD_NOT_ALLOWED),
        }
    }

    fn answered(&mut self, now: Now, key: Key, response: &Response) {
        match self.purposes.get(&key).cloned() {
            Some(Purpose::Register) => self.register_answered(now, response),
            Some(Purpose::Invite(call)) => self.invite_answered(now, call, response),
            Some(Purpose::Reinvite(call)) => self.reinvite_answered(now, call, response),
            Some(Purpose::Bye(call)) if response.status().is_final() => {
                self.forget(call, Ending::HungUp);
            }
            Some(Purpose::Bye(_) | Purpose::Info) | None => {}
        }
    }

    fn failed(&mut self, key: Key) {
        match self.purposes.remove(&key) {
            Some(Purpose::Invite(call)) => self.forget(call, Ending::ConnectionLost),
            Some(Purpose::Reinvite(call)) => self.reinvite_failed(call),
            // The BYE is said again on the next connection.
            Some(Purpose::Bye(call)) => self.bye_unsent(call),
            Some(Purpose::Register | Purpose::Info) => {}
            None => self.unringable(key),
        }
    }

    fn timed_out(&mut self, now: Now, key: Key, timer: transaction::Timer) {
        match self.purposes.get(&key).cloned() {
            Some(Purpose::Register) => self.register_failed(now, Status::REQUEST_TIMEOUT),
            Some(Purpose::Invite(call)) => self.forget(call, Ending::NobodyThere),
            Some(Purpose::Reinvite(call)) => self.reinvite_failed(call),
            Some(Purpose::Bye(call)) => self.forget(call, Ending::HungUp),
            Some(Purpose::Info) => {}
            None => {
                if timer == transaction::Timer::Retransmit2xx {
                    self.unacknowledged(now, key);
                }
            }
        }
    }

    /// A plain answer without a body.
    fn respond(&mut self, now: Now, key: Key, request: &Request, status: Status) {
        let tag = self.tag();
        let response = Response::builder(request, status).to_tag(&tag);
        let response = response.header(Name::UserAgent, &self.settings.agent).build();
        if let Ok(response) = response {
            self.transactions.handle(now, transaction::Input::Respond { key, response });
        }
    }

    fn send(&mut self, now: Now, request: Request, purpose: Purpose) {
        let Some((link, _)) = self.link else { return };
        let key = self.transactions.reserve();
        self.purposes.insert(key, purpose);
        self.transactions.handle(
            now,
            transaction::Input::Send {
                key,
                path: link,
                request,
                rank: transaction::Rank::Ordinary,
            },
        );
    }

    fn sent_by(&self) -> String {
        self.link.map_or_else(|| "0.0.0.0".to_owned(), |(_, local)| local.to_string())
    }

    fn contact(&self) -> String {
        let transport = self.settings.transport.as_str().to_ascii_lowercase();
        format!("<sip:{}@{};transport={transport}>", self.settings.number, self.sent_by())
    }

    fn aor(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.settings.domain)
    }

    fn tag(&mut self) -> String {
        format!("{:016x}", self.chance.u64())
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn confused(&mut self, what: &'static str) {
        self.event(Event::Confused { what });
    }
}

/// Enough for whoever asks after a call; a phone that runs for months forgets the rest.
const PAST_MAX: usize = 64;

#[cfg(test)]
mod tests;
