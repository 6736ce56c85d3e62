//! The world: events in simulated time, phones, connections and one server.
//!
//! Everything that happens is an [`Event`] with an instant; equal instants happen in the order they
//! were planned. So one seed is one world.

mod attackers;
mod carriers;
pub(crate) mod forge;
mod media;
mod phones;
mod script;
mod serve;
mod wires;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use actors::attacker::Attack;
use actors::phone::{self, Action, CallId, Link, Phone, PhoneSettings};
use bytes::Bytes;
use guard::fact::{Fact, Severity};
use pbx::command::{Command, Reply};
use pbx::flow::Path;
use pbx::io::{Answer, Input, Ticket};
use pbx::settings::Settings;
use pure::{Chance, Instant, Now, Utc};
use rtp::relay;
use sip::{Message, Method};

use crate::coverage::{Coverage, Item};
use crate::link::{Far, Weather, Wire};
use crate::model::Watch;
use crate::server::{DOMAIN, Effect, HOST, Server};
pub use attackers::AttackerNode;
pub use carriers::{CarrierNode, OfCarrier};
pub use forge::{Forger, Forgery, Slip, Whose};

/// See the module.
#[derive(Debug)]
pub struct World {
    instant: Instant,
    /// Wall time at instant zero: moved by a step of the clock.
    utc_origin: i64,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    pub server: Server,
    pub phones: Vec<Node>,
    pub carriers: Vec<CarrierNode>,
    pub attackers: Vec<AttackerNode>,
    wires: BTreeMap<u64, Wire>,
    wires_made: u64,
    /// The wire of each address that sends datagrams.
    datagrams: BTreeMap<SocketAddr, u64>,
    pub weather: Weather,
    /// Between exchange and relay, and until the disk has written.
    pub relay_delay: Duration,
    pub commit_delay: Duration,
    relay_last: [Instant; 2],
    committing: bool,
    pub disk_fails_until: Instant,
    chance: Chance,
    pub log: VecDeque<Line>,
    /// What is written for people and compared by ladders; random worlds keep the end only.
    pub log_max: usize,
    /// Whether REGISTER is written too.
    pub log_registering: bool,
    pub coverage: Coverage,
    pub watch: Watch,
    server_wake: Option<Instant>,
    /// Facts louder than a notice, and all of them by name.
    pub facts: Vec<Fact>,
    pub replies: Vec<Reply>,
    pub drained: bool,
    seen: VecDeque<(u64, u64)>,
    /// The last INVITE of each phone, and the To of its answer: what an eavesdropper would know.
    tapped: BTreeMap<usize, Bytes>,
    tapped_answers: BTreeMap<usize, sip::NameAddrBuf>,
    /// The last call that a carrier took: which one, the INVITE and its answer.
    tapped_outside: Option<(usize, Bytes, Bytes)>,
    tapped_toward: Option<Bytes>,
    /// The last INVITE of a carrier.
    tapped_inbound: Option<(usize, Bytes)>,
    /// Wires that said something of another's dialog, and its Call-ID.
    forged: BTreeSet<(u64, String)>,
    /// The last packet that arrived from each address and where, for whoever repeats it.
    overheard_media: BTreeMap<SocketAddr, (SocketAddr, Vec<u8>)>,
}

/// A phone and where it stands.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub phone: Phone,
    pub dead: bool,
    wire: Option<u64>,
    wake: Option<Instant>,
    /// As the server sees it: equal to its own unless translated.
    public: IpAddr,
    /// Added to its ports by the translator; changes when a mapping is lost.
    pub translation: u16,
    pub events: Vec<(Instant, phone::Event)>,
}

/// One line of the ladder.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Instant,
    pub text: String,
}

/// Who is who in a world.
#[derive(Clone, Debug)]
pub struct Cast {
    pub name: String,
    pub settings: PhoneSettings,
    /// Behind a translator of addresses.
    pub translated: bool,
    /// Seconds of the session interval it asks for (RFC 4028).
    pub session: Option<u32>,
}

#[derive(Debug)]
enum Event {
    WakePhone(usize),
    WakeServer,
    Connected { phone: usize },
    Refused { phone: usize },
    ToServer { wire: u64, bytes: Bytes },
    ToFar { wire: u64, bytes: Bytes },
    FarLearns { wire: u64 },
    WakeCarrier(usize),
    WakeAttacker(usize),
    AttackerConnected(usize),
    LookedUp { life: u64, ticket: Ticket, answer: Answer },
    ConnectOut { life: u64, ticket: Ticket, to: pbx::io::Far },
    ServerLearns { wire: u64 },
    MediaUp { at: SocketAddr, from: SocketAddr, packet: Vec<u8> },
    MediaDown { from: SocketAddr, to: SocketAddr, packet: Vec<u8> },
    Commit { life: u64 },
    Relay { life: u64, command: relay::Command },
    Relayed { life: u64, event: relay::Event },
    Act(Act),
}

/// What a story makes happen.
#[derive(Clone, Debug)]
pub enum Act {
    Phone {
        phone: usize,
        action: Action,
    },
    /// Like `Phone`, in the newest call of the phone that has not ended.
    InCall {
        phone: usize,
        what: InCall,
    },
    /// The connection breaks and both ends learn of it.
    Reset {
        phone: usize,
    },
    /// The connection breaks and the server learns of it only when it says something.
    HalfOpen {
        phone: usize,
    },
    /// The translator of the phone's address forgets its mappings.
    Translate {
        phone: usize,
    },
    Carrier {
        carrier: usize,
        what: OfCarrier,
    },
    Kill,
    Start,
    DiskFails {
        span: Duration,
    },
    Weather(Weather),
    Drain,
    ClockStep {
        seconds: i64,
    },
    /// Packets from a stranger to every media port of the server, and forged ones to phones.
    Inject,
    Attack {
        attacker: usize,
        attack: Attack,
    },
    /// Nothing, where nothing was overheard or whoever forges has no line.
    Forge(Forgery),
}

/// What a person does in the call at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InCall {
    Answer,
    Reject,
    HangUp,
    Hold,
    Mute,
    Resume,
    Move,
    Press(char),
    /// The same by INFO.
    Inform(char),
}

impl World {
    pub fn new(settings: Settings, weather: Weather, mut chance: Chance) -> Self {
        Self {
            instant: Instant(1_000_000_000),
            utc_origin: 1_795_366_224_000_000,
            queue: BTreeMap::new(),
            sequence: 0,
            server: Server::new(settings, chance.fork()),
            phones: Vec::new(),
            carriers: Vec::new(),
            attackers: Vec::new(),
            wires: BTreeMap::new(),
            wires_made: 0,
            datagrams: BTreeMap::new(),
            weather,
            relay_delay: Duration::ZERO,
            commit_delay: Duration::ZERO,
            relay_last: [Instant(0); 2],
            committing: false,
            disk_fails_until: Instant(0),
            chance,
            log: VecDeque::new(),
            log_max: 4_000,
            log_registering: true,
            coverage: Coverage::default(),
            watch: Watch::default(),
            server_wake: None,
            facts: Vec::new(),
            replies: Vec::new(),
            drained: false,
            seen: VecDeque::new(),
            tapped: BTreeMap::new(),
            tapped_answers: BTreeMap::new(),
            tapped_outside: None,
            tapped_toward: None,
            tapped_inbound: None,
            forged: BTreeSet::new(),
            overheard_media: BTreeMap::new(),
        }
    }

    /// Adds a phone that is not yet plugged in. Its extension must be in the store before the start.
    pub fn add(&mut self, cast: Cast) -> usize {
        let at = self.phones.len();
        let IpAddr::V4(own) = cast.settings.media_address else {
            panic!("worlds are of IPv4");
        };
        let octets = own.octets();
        let public = if cast.translated { Ipv4Addr::new(203, 0, 113, octets[3]) } else { own };
        let mut phone = Phone::new(cast.settings, self.chance.fork());
        phone.ask_for_sessions(cast.session);
        self.phones.push(Node {
            name: cast.name,
            phone,
            dead: true,
            wire: None,
            wake: None,
            public: public.into(),
            translation: if cast.translated { 20_000 } else { 0 },
            events: Vec::new(),
        });
        let addresses = vec![own.to_string(), public.to_string()];
        self.watch.addresses.insert(Far::Phone(at), addresses);
        at
    }

    pub fn now(&self) -> Now {
        Now { instant: self.instant, utc: self.utc_of(self.instant) }
    }

    /// The wall time of an instant, by the clock as it stands.
    pub fn utc_of(&self, instant: Instant) -> Utc {
        let micros = i64::try_from(instant.0 / 1_000).expect("worlds are short");
        Utc(self.utc_origin + micros)
    }

    pub fn at(&mut self, when: Instant, act: Act) {
        self.plan(when, Event::Act(act));
    }

    fn plan(&mut self, when: Instant, event: Event) {
        self.sequence += 1;
        self.queue.insert((when.max(self.instant), self.sequence), event);
    }

    /// Runs until `end`, events of that instant included.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((when, _), event) = entry.remove_entry();
            self.instant = when;
            self.handle(event);
        }
        self.instant = end.max(self.instant);
    }

    pub fn run(&mut self, span: Duration) {
        self.run_until(self.instant + span);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::WakePhone(phone) => {
                let node = &mut self.phones[phone];
                node.wake = None;
                if node.phone.poll_timeout().is_some_and(|at| at <= self.instant) {
                    self.phone(phone, phone::Input::Wake);
                } else {
                    self.watch_phone(phone);
                }
            }
            Event::WakeServer => {
                self.server_wake = None;
                self.server.wake(self.now());
                self.serve();
            }
            Event::Connected { phone } => self.connected(phone),
            Event::Refused { phone } => {
                if !self.phones[phone].dead {
                    self.phone(phone, phone::Input::Disconnected);
                }
            }
            Event::ToServer { wire, bytes } => self.arrive_at_server(wire, bytes),
            Event::ToFar { wire, bytes } => self.arrive_at_far(wire, bytes),
            Event::FarLearns { wire } => self.far_learns(wire),
            Event::WakeCarrier(at) => self.wake_carrier(at),
            Event::WakeAttacker(at) => self.attacker_wakes(at),
            Event::AttackerConnected(at) => self.attacker_connected(at),
            Event::LookedUp { life, ticket, answer } => {
                if life == self.server.life && self.server.is_up() {
                    self.server.input(self.now(), Input::LookedUp { ticket, answer });
                    self.serve();
                }
            }
            Event::ConnectOut { life, ticket, to } => {
                if life == self.server.life && self.server.is_up() {
                    self.connected_out(ticket, &to);
                }
            }
            Event::ServerLearns { wire } => self.server_learns(wire),
            Event::MediaUp { at, from, packet } => {
                let passed = self.server.media(self.now(), at, from, &packet);
                // What the relay has not taken yet, whoever repeats it may bring first: authentic is
                // authentic.
                if passed && from.ip() != STRANGERS {
                    self.overheard_media.insert(from, (at, packet));
                }
                self.serve();
            }
            Event::MediaDown { from, to, packet } => self.media_down(from, to, packet),
            Event::Commit { life } => {
                if life != self.server.life || !self.server.is_up() {
                    return;
                }
                self.committing = false;
                let failing = self.instant < self.disk_fails_until;
                if failing {
                    self.coverage.reach(Item::PersistFailure);
                }
                let before = self.server.store.cdrs.len();
                self.server.commit(self.now(), failing);
                self.watch.committed(&self.server.store);
                for cdr in &self.server.store.cdrs[before..] {
                    self.coverage.record(cdr);
                    let answered = cdr.answered.map_or(0, |from| cdr.ended.since(from).as_secs());
                    let text =
                        format!("cdr    {} {} {} {answered}s", cdr.from, cdr.to, cdr.disposition);
                    self.log.push_back(Line { at: self.instant, text });
                }
                self.serve();
            }
            Event::Relay { life, command } => {
                if life == self.server.life {
                    self.server.relay(self.now(), command);
                    self.serve();
                }
            }
            Event::Relayed { life, event } => {
                if life == self.server.life {
                    self.server.input(self.now(), Input::Media(event));
                    self.serve();
                }
            }
            Event::Act(act) => self.act(act),
        }
    }

    /// Makes something happen now.
    pub fn act(&mut self, act: Act) {
        match act {
            Act::Phone { phone, action } => self.phone_acts(phone, action),
            Act::InCall { phone, what } => self.in_call(phone, what),
            Act::Reset { phone } => {
                self.note_fault(phone, "breaks");
                let Some(wire) = self.phones[phone].wire else { return };
                self.note_mid_call(phone);
                self.break_wire(wire);
                let delay = self.weather.delay(&mut self.chance);
                self.plan(self.instant + delay, Event::FarLearns { wire });
                let delay = self.weather.delay(&mut self.chance);
                self.plan(self.instant + delay, Event::ServerLearns { wire });
            }
            Act::HalfOpen { phone } => {
                self.note_fault(phone, "half-breaks");
                let Some(wire) = self.phones[phone].wire else { return };
                self.note_mid_call(phone);
                self.coverage.reach(Item::HalfOpen);
                self.break_wire(wire);
                self.plan(self.instant, Event::FarLearns { wire });
            }
            Act::Translate { phone } => {
                let node = &mut self.phones[phone];
                if node.translation == 0 {
                    return;
                }
                self.coverage.reach(Item::AddressChanged);
                node.translation = 10_000 + (node.translation + 2_000) % 30_000;
                // The mapping of the connection is gone with the others.
                self.act(Act::HalfOpen { phone });
            }
            Act::Carrier { carrier, what } => self.befall(carrier, what),
            Act::Kill => self.kill(),
            Act::Start if self.server.is_up() => {}
            Act::Start => {
                self.note("pbx starts");
                self.server.start(self.now());
                self.serve();
            }
            Act::DiskFails { span } => {
                self.note("disk fails");
                self.disk_fails_until = self.instant + span;
            }
            Act::Weather(weather) => {
                self.watch.bills.slow |= weather.jitter > Duration::from_secs(1);
                self.weather = weather;
            }
            Act::Drain => {
                self.server.command(self.now(), Command::Drain);
                self.serve();
            }
            Act::ClockStep { seconds } => {
                self.coverage.reach(Item::ClockStep);
                if self.server.holds() > 0 {
                    self.coverage.reach(Item::ClockStepWithMoney);
                }
                self.watch.bills.clock_stepped = true;
                self.utc_origin += seconds * 1_000_000;
            }
            Act::Inject => self.inject(),
            Act::Attack { attacker, attack } => self.attack(attacker, attack),
            Act::Forge(forgery) => self.forge_in_passing(forgery),
        }
    }

    /// An administrator's command.
    pub fn command(&mut self, command: Command) {
        self.server.command(self.now(), command);
        self.serve();
    }
}

/// A phone of the kind that most are: TLS, SRTP, answers after two seconds.
pub fn ordinary(number: &str, secret: &str, host: u8) -> PhoneSettings {
    PhoneSettings {
        number: number.to_owned(),
        secret: secret.to_owned(),
        domain: DOMAIN.to_owned(),
        display_name: format!("Desk {number}"),
        instance: Some(format!("urn:uuid:00000000-0000-4000-8000-0000000000{host:02x}")),
        agent: "Phone 1.0".to_owned(),
        transport: sip::Transport::Tls,
        expires: 120,
        security: phone::Security::Srtp,
        answer_after: Some(Duration::from_secs(2)),
        reject_with: None,
        early_media: false,
        weakest: sip::digest::Algorithm::Sha256,
        media_address: Ipv4Addr::new(10, 0, 0, host).into(),
        media_port: 4_000,
        packet_interval: Duration::from_millis(500),
        voice: phone::Voice(u64::from(host)),
        reconnect_max: Duration::from_secs(2),
    }
}

/// What a stranger's audio says.
pub const INTRUDER: u64 = 0xbad;
const STRANGER: &str = "mallory";
const STRANGERS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));
/// How often a packet that was overheard is repeated: more than a call could lose.
const REPLAYS: usize = 100;
