//! The world: events in simulated time, phones, connections and one server.
//!
//! Everything that happens is an [`Event`] with an instant; equal instants happen in the order they
//! were planned. So one seed is one world.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use actors::phone::{self, Action, CallId, Link, Phone, PhoneSettings};
use bytes::Bytes;
use guard::fact::{Fact, Severity};
use pbx::command::{Command, Reply};
use pbx::flow::Path;
use pbx::io::Input;
use pbx::settings::Settings;
use pure::{Chance, Instant, Now, Utc};
use rtp::relay;
use sip::{Message, Method};

use crate::coverage::{Coverage, Item};
use crate::link::{Weather, Wire};
use crate::model::Watch;
use crate::server::{DOMAIN, Effect, HOST, Server};

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
    ToPhone { wire: u64, bytes: Bytes },
    PhoneLearns { wire: u64 },
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
}

/// What a person does in the call at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InCall {
    Answer,
    Reject,
    HangUp,
    Hold,
    Resume,
    Move,
    Press(char),
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
        self.watch.addresses.insert(at, vec![own.to_string(), public.to_string()]);
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
            Event::ToPhone { wire, bytes } => self.arrive_at_phone(wire, bytes),
            Event::PhoneLearns { wire } => self.phone_learns(wire),
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
                self.plan(self.instant + delay, Event::PhoneLearns { wire });
                let delay = self.weather.delay(&mut self.chance);
                self.plan(self.instant + delay, Event::ServerLearns { wire });
            }
            Act::HalfOpen { phone } => {
                self.note_fault(phone, "half-breaks");
                let Some(wire) = self.phones[phone].wire else { return };
                self.note_mid_call(phone);
                self.coverage.reach(Item::HalfOpen);
                self.break_wire(wire);
                self.plan(self.instant, Event::PhoneLearns { wire });
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
            Act::Weather(weather) => self.weather = weather,
            Act::Drain => {
                self.server.command(self.now(), Command::Drain);
                self.serve();
            }
            Act::ClockStep { seconds } => {
                self.coverage.reach(Item::ClockStep);
                self.utc_origin += seconds * 1_000_000;
            }
            Act::Inject => self.inject(),
        }
    }

    fn phone_acts(&mut self, phone: usize, action: Action) {
        let node = &mut self.phones[phone];
        match &action {
            Action::Start if !node.dead => return,
            Action::Start => node.dead = false,
            _ if node.dead => return,
            Action::Die => {
                node.dead = true;
                self.note_fault(phone, "dies");
                self.coverage.reach(Item::PhoneDied);
                if let Some(wire) = self.phones[phone].wire {
                    self.break_wire(wire);
                }
            }
            _ => {}
        }
        self.phone(phone, phone::Input::Do(action));
    }

    /// The newest call of this phone.
    pub fn newest_call(&self, phone: usize) -> Option<CallId> {
        self.phones[phone].phone.calls().last().map(|(id, _)| id)
    }

    fn in_call(&mut self, phone: usize, what: InCall) {
        let Some(call) = self.newest_call(phone) else { return };
        let action = match what {
            InCall::Answer => Action::Answer { call },
            InCall::Reject => Action::Reject { call },
            InCall::HangUp => Action::HangUp { call },
            InCall::Hold => Action::Hold { call },
            InCall::Resume => Action::Resume { call },
            InCall::Move => Action::Move { call },
            InCall::Press(digit) => Action::Press { call, digit },
        };
        self.phone_acts(phone, action);
    }

    fn note_fault(&mut self, phone: usize, what: &str) {
        if !self.log_registering {
            let text = format!("        {} {what}", self.phones[phone].name);
            self.log_line(text);
        }
    }

    fn note_mid_call(&mut self, phone: usize) {
        let up = |(_, state): (CallId, &phone::State)| *state == phone::State::Up;
        if self.phones[phone].phone.calls().any(up) {
            self.coverage.reach(Item::FlowLossMidCall);
        }
    }

    // Wires.

    fn break_wire(&mut self, wire: u64) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.broken = true;
        }
    }

    fn connected(&mut self, phone: usize) {
        if self.phones[phone].dead || self.phones[phone].wire.is_some() {
            return;
        }
        let reliable = self.phones[phone].phone.settings().transport.is_reliable();
        if reliable && !self.server.is_up() {
            return self.phone(phone, phone::Input::Disconnected);
        }
        let node = &self.phones[phone];
        self.wires_made += 1;
        let id = self.wires_made;
        let port = 30_000 + u16::try_from(id % 20_000).expect("below");
        let local = SocketAddr::new(node.phone.settings().media_address, port);
        let remote = SocketAddr::new(node.public, port);
        let now = self.now();
        let generation = match reliable {
            true => self.server.accept(now, remote).generation,
            false => 0,
        };
        let wire = Wire {
            phone: Some(phone),
            reliable,
            local,
            remote,
            generation,
            phone_open: true,
            server_open: true,
            broken: false,
            up_last: self.instant,
            down_last: self.instant,
        };
        self.wires.insert(id, wire);
        if !reliable {
            self.datagrams.insert(remote, id);
        }
        self.phones[phone].wire = Some(id);
        self.serve();
        self.phone(phone, phone::Input::Connected { link: Link { id, reliable }, local });
    }

    fn phone_learns(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if !std::mem::replace(&mut wire.phone_open, false) {
            return;
        }
        let phone = wire.phone;
        self.bury(id);
        if let Some(phone) = phone
            && self.phones[phone].wire == Some(id)
        {
            self.phones[phone].wire = None;
            if !self.phones[phone].dead {
                self.phone(phone, phone::Input::Disconnected);
            }
        }
    }

    fn server_learns(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if !wire.reliable || !std::mem::replace(&mut wire.server_open, false) {
            return;
        }
        let flow = flow(wire.generation);
        self.bury(id);
        self.server.input(self.now(), Input::FlowClosed { flow });
        // A dead connection is unreachable at once: no device may still be shown on it.
        let views = self.server.exchange().map(|exchange| exchange.registrar().device_views());
        let on_it = |view: &pbx::command::DeviceView| {
            view.registered.as_ref().is_some_and(|registered| registered.path.flow == flow)
        };
        if views.is_some_and(|views| views.iter().any(on_it)) {
            self.watch.broken.push("flow: a device is registered on a dead connection".to_owned());
        }
        self.serve();
    }

    fn bury(&mut self, id: u64) {
        if self.wires.get(&id).is_some_and(|wire| !wire.phone_open && !wire.server_open) {
            self.wires.remove(&id);
        }
    }

    fn arrive_at_server(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get(&id) else { return };
        if wire.broken || !wire.server_open || !self.server.is_up() {
            return;
        }
        let path = match (wire.reliable, self.server.udp_flow()) {
            (true, _) => Path { flow: flow(wire.generation), remote: wire.remote },
            (false, Some(flow)) => Path { flow, remote: wire.remote },
            (false, None) => return,
        };
        self.coverage.server_hears(&bytes);
        self.server.input(self.now(), Input::Received { path, bytes });
        self.serve();
    }

    fn arrive_at_phone(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get(&id) else { return };
        if wire.broken || !wire.phone_open {
            return;
        }
        let Some(phone) = wire.phone else { return };
        if self.phones[phone].dead {
            return;
        }
        let link = Link { id, reliable: wire.reliable };
        let giving_up =
            self.phones[phone].phone.calls().any(|(_, state)| *state == phone::State::GivingUp);
        self.coverage.phone_hears(&bytes, giving_up);
        self.phone(phone, phone::Input::Received { link, bytes });
    }

    // Phones.

    fn phone(&mut self, at: usize, input: phone::Input) {
        let now = self.now();
        self.phones[at].phone.handle(now, input);
        while let Some(output) = self.phones[at].phone.poll_output() {
            use phone::Output as Out;
            match output {
                Out::Connect => {
                    let delay = self.weather.delay(&mut self.chance) * 3;
                    let reliable = self.phones[at].phone.settings().transport.is_reliable();
                    let event = if self.server.is_up() || !reliable {
                        Event::Connected { phone: at }
                    } else {
                        Event::Refused { phone: at }
                    };
                    self.plan(self.instant + delay, event);
                }
                Out::Disconnect { link } => {
                    if let Some(wire) = self.wires.get_mut(&link.id) {
                        wire.phone_open = false;
                    }
                    if self.phones[at].wire == Some(link.id) {
                        self.phones[at].wire = None;
                    }
                    self.bury(link.id);
                }
                Out::Transmit { link, bytes } => self.phone_sends(at, link, bytes),
                Out::Media { from, to, packet } => {
                    let node = &self.phones[at];
                    let from = SocketAddr::new(node.public, from.port() + node.translation);
                    let arrivals = self.weather.datagram(self.instant, &mut self.chance);
                    for arrival in arrivals {
                        let packet = packet.clone();
                        self.plan(arrival, Event::MediaUp { at: to, from, packet });
                    }
                }
                Out::MediaOpen { .. } | Out::MediaClose { .. } => {}
                Out::Event(event) => {
                    self.coverage.event(&event);
                    if !self.log_registering && !matches!(event, phone::Event::Registered { .. }) {
                        let text = format!("        {} {event:?}", self.phones[at].name);
                        self.log_line(text);
                    }
                    self.phones[at].events.push((self.instant, event));
                }
            }
        }
        self.watch_phone(at);
    }

    fn watch_phone(&mut self, at: usize) {
        let node = &mut self.phones[at];
        let Some(due) = node.phone.poll_timeout() else { return };
        if node.wake.is_none_or(|wake| due < wake) {
            node.wake = Some(due);
            self.plan(due, Event::WakePhone(at));
        }
    }

    fn phone_sends(&mut self, at: usize, link: Link, bytes: Bytes) {
        let text = self.summary(&bytes);
        let name = self.phones[at].name.clone();
        self.note_message(&name, "pbx", &text);
        self.repeated(&bytes, link.id);
        self.watch.phone_says(at, &bytes);
        if bytes.starts_with(b"INVITE ") {
            self.tapped.insert(at, bytes.clone());
        }
        self.send_up(link.id, bytes);
    }

    fn send_up(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.broken {
            // Nobody acknowledges: the kernel gives up after a while.
            return self
                .plan(self.instant + Duration::from_secs(5), Event::PhoneLearns { wire: id });
        }
        if wire.reliable && !wire.server_open {
            return self.plan(self.instant, Event::PhoneLearns { wire: id });
        }
        let arrivals = if wire.reliable {
            let arrival = self.instant + self.weather.delay(&mut self.chance);
            vec![wire.ordered(true, arrival)]
        } else {
            self.weather.datagram(self.instant, &mut self.chance)
        };
        if arrivals.len() > 1 {
            self.coverage.reach(Item::Duplicate);
        }
        if arrivals.is_empty() {
            self.coverage.reach(Item::Loss);
        }
        for arrival in arrivals {
            self.plan(arrival, Event::ToServer { wire: id, bytes: bytes.clone() });
        }
    }

    fn send_down(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.broken {
            if wire.reliable {
                let late = self.instant + Duration::from_secs(15);
                self.plan(late, Event::ServerLearns { wire: id });
            }
            return;
        }
        if wire.reliable && !wire.phone_open {
            return self.plan(self.instant, Event::ServerLearns { wire: id });
        }
        let arrivals = if wire.reliable {
            let arrival = self.instant + self.weather.delay(&mut self.chance);
            vec![wire.ordered(false, arrival)]
        } else {
            self.weather.datagram(self.instant, &mut self.chance)
        };
        if arrivals.len() > 1 {
            self.coverage.reach(Item::Duplicate);
        }
        for arrival in arrivals {
            self.plan(arrival, Event::ToPhone { wire: id, bytes: bytes.clone() });
        }
    }

    /// Bytes that were sent on this wire before: a retransmission.
    fn repeated(&mut self, bytes: &Bytes, wire: u64) {
        // FNV-1a: enough to recognise equal bytes among the last few.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if self.seen.contains(&(wire, hash)) {
            self.coverage.reach(Item::Retransmission);
        }
        self.seen.push_back((wire, hash));
        if self.seen.len() > 128 {
            self.seen.pop_front();
        }
    }

    // The server.

    fn kill(&mut self) {
        if !self.server.is_up() {
            return;
        }
        self.note("pbx crashes");
        self.coverage.reach(Item::Crash);
        for node in &self.phones {
            for (_, state) in node.phone.calls() {
                match state {
                    phone::State::Incoming => self.coverage.reach(Item::CrashWhileRinging),
                    phone::State::Up => self.coverage.reach(Item::CrashMidCall),
                    _ => {}
                }
            }
        }
        self.server.kill();
        self.committing = false;
        self.server_wake = None;
        let connections: Vec<u64> =
            self.wires.iter().filter(|(_, wire)| wire.reliable).map(|(id, _)| *id).collect();
        for wire in connections {
            self.break_wire(wire);
            if let Some(wire) = self.wires.get_mut(&wire) {
                wire.server_open = false;
            }
            let delay = self.weather.delay(&mut self.chance);
            self.plan(self.instant + delay, Event::PhoneLearns { wire });
        }
    }

    /// Carries out what the server wants.
    fn serve(&mut self) {
        while let Some(effect) = self.server.effects.pop_front() {
            match effect {
                Effect::Transmit { path, bytes } => self.server_sends(path, bytes),
                Effect::CloseFlow { flow } => {
                    let wire = self
                        .wires
                        .iter()
                        .find(|(_, wire)| wire.reliable && wire.generation == flow.generation);
                    if let Some((&wire, _)) = wire {
                        self.break_wire(wire);
                        let delay = self.weather.delay(&mut self.chance);
                        self.plan(self.instant + delay, Event::PhoneLearns { wire });
                        self.plan(self.instant, Event::ServerLearns { wire });
                    }
                }
                Effect::Media { from, to, packet } => {
                    if to.ip() == STRANGERS {
                        self.watch.broken.push("media: a stranger was sent audio".to_owned());
                    }
                    let arrivals = self.weather.datagram(self.instant, &mut self.chance);
                    for arrival in arrivals {
                        let packet = packet.clone();
                        self.plan(arrival, Event::MediaDown { from, to, packet });
                    }
                }
                Effect::Relay(command) => {
                    let life = self.server.life;
                    let at = self.relay_time(0);
                    self.plan(at, Event::Relay { life, command });
                }
                Effect::RelayEvent(event) => {
                    match &event {
                        relay::Event::Failed { .. } => self.coverage.reach(Item::RelayRefused),
                        relay::Event::Dtmf { .. } => self.coverage.reach(Item::Dtmf),
                        _ => {}
                    }
                    let life = self.server.life;
                    let at = self.relay_time(1);
                    self.plan(at, Event::Relayed { life, event });
                }
                Effect::Fact(fact) => {
                    self.watch.fact(&fact);
                    self.coverage.fact(&fact);
                    if fact.severity() >= Severity::Notice {
                        let text = format!("fact   {}", fact.name());
                        self.log_line(text);
                    }
                    self.facts.push(fact);
                }
                Effect::Trace(trace) => self.watch.trace(&trace),
                Effect::Reply(reply) => self.replies.push(reply),
                Effect::Drained => {
                    self.drained = true;
                    self.note("pbx drained");
                }
            }
        }
        if self.server.store.is_busy() && !self.committing && self.server.is_up() {
            self.committing = true;
            let life = self.server.life;
            let busy = self.instant < self.disk_fails_until;
            let least = if busy { Duration::from_millis(100) } else { Duration::ZERO };
            let micros = u64::try_from(self.commit_delay.as_micros()).expect("short");
            let delay = least + Duration::from_micros(self.chance.below(micros));
            self.plan(self.instant + delay, Event::Commit { life });
        }
        if let Some(due) = self.server.poll_timeout()
            && self.server_wake.is_none_or(|wake| due < wake)
        {
            self.server_wake = Some(due);
            self.plan(due, Event::WakeServer);
        }
    }

    fn relay_time(&mut self, way: usize) -> Instant {
        let micros = u64::try_from(self.relay_delay.as_micros()).expect("short");
        let at = self.instant + Duration::from_micros(self.chance.below(micros));
        self.relay_last[way] = self.relay_last[way].max(at);
        self.relay_last[way]
    }

    fn server_sends(&mut self, path: Path, bytes: Bytes) {
        let wire = if path.flow.transport.is_reliable() {
            let mut wires = self.wires.iter();
            wires
                .find(|(_, w)| w.reliable && w.generation == path.flow.generation)
                .map(|(&id, _)| id)
        } else {
            self.datagrams.get(&path.remote).copied()
        };
        let Some(id) = wire else {
            self.server.input(self.now(), Input::TransmitFailed { path });
            return;
        };
        let phone = self.wires.get(&id).and_then(|wire| wire.phone);
        let name = phone.map_or_else(|| STRANGER.to_owned(), |at| self.phones[at].name.clone());
        let text = self.summary(&bytes);
        self.note_message("pbx", &name, &text);
        self.repeated(&bytes, id);
        if let Some(phone) = phone {
            self.watch.phone_is_told(phone, &bytes);
            if bytes.starts_with(b"SIP/2.0 200")
                && let Ok(Message::Response(response)) = Message::parse(bytes.clone())
                && response.headers().cseq().method == Method::Invite
            {
                self.tapped_answers.insert(phone, response.headers().to().to_buf());
            }
        }
        self.coverage.server_says(&bytes);
        self.send_down(id, bytes);
    }

    // Media.

    fn media_down(&mut self, from: SocketAddr, to: SocketAddr, packet: Vec<u8>) {
        let node = self.phones.iter().position(|node| node.public == to.ip() && !node.dead);
        let Some(at) = node else { return };
        let node = &self.phones[at];
        // Through the translator only by the mapping that stands.
        let Some(port) = to.port().checked_sub(node.translation) else { return };
        let own = SocketAddr::new(node.phone.settings().media_address, port);
        self.phone(at, phone::Input::Media { at: own, from, packet });
    }

    /// A stranger sends audio to every media port it can guess, and to every phone in the server's
    /// name.
    fn inject(&mut self) {
        self.coverage.reach(Item::Injection);
        let stranger = SocketAddr::new(STRANGERS, 6_666);
        for (at, packet) in self.overheard_media.values().cloned().collect::<Vec<_>>() {
            self.coverage.reach(Item::Replay);
            for _ in 0..REPLAYS {
                let packet = packet.clone();
                self.plan(self.instant, Event::MediaUp { at, from: stranger, packet });
            }
        }
        let mut packet = vec![0x80, 0, 0x12, 0x34, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef];
        packet.extend_from_slice(&INTRUDER.to_be_bytes());
        packet.resize(12 + 160 + 10, 0xff);
        let sockets: Vec<SocketAddr> = self.server.sockets().collect();
        for at in sockets {
            let packet = packet.clone();
            self.plan(self.instant, Event::MediaUp { at, from: stranger, packet });
        }
        let encrypted =
            |node: &Node| node.phone.settings().security == phone::Security::Srtp && !node.dead;
        let targets: Vec<(SocketAddr, u16)> = self
            .phones
            .iter()
            .filter(|node| encrypted(node))
            .map(|node| {
                let settings = node.phone.settings();
                let to = SocketAddr::new(node.public, settings.media_port + node.translation);
                (to, settings.media_port)
            })
            .collect();
        for (to, _) in targets {
            for offset in (0..40).step_by(2) {
                let to = SocketAddr::new(to.ip(), to.port() + offset);
                let from = SocketAddr::new(HOST, 21_000 + offset);
                let packet = packet.clone();
                self.plan(self.instant, Event::MediaDown { from, to, packet });
            }
        }
    }

    /// Opens a stranger's connection; for forgers.
    pub fn stranger(&mut self) -> u64 {
        self.wires_made += 1;
        let id = self.wires_made;
        let remote = SocketAddr::new(STRANGERS, 45_000);
        let generation = self.server.accept(self.now(), remote).generation;
        let wire = Wire {
            phone: None,
            reliable: true,
            local: remote,
            remote,
            generation,
            phone_open: true,
            server_open: true,
            broken: false,
            up_last: self.instant,
            down_last: self.instant,
        };
        self.wires.insert(id, wire);
        id
    }

    pub fn forge(&mut self, wire: u64, bytes: Bytes) {
        let text = self.summary(&bytes);
        self.note_message(STRANGER, "pbx", &text);
        self.send_up(wire, bytes);
    }

    /// An administrator's command.
    pub fn command(&mut self, command: Command) {
        self.server.command(self.now(), command);
        self.serve();
    }

    /// A request with the names of a dialog or transaction of this phone, as somebody who had read
    /// its last INVITE would forge it.
    pub fn overheard(&self, phone: usize, method: &str) -> Bytes {
        let invite = self.tapped.get(&phone).expect("an INVITE of this phone").clone();
        let Ok(Message::Request(invite)) = Message::parse(invite) else {
            panic!("only requests are tapped");
        };
        let headers = invite.headers();
        let method = Method::parse(method.as_bytes()).expect("a method");
        let cancel = method == Method::Cancel;
        let via = headers.top_via().as_str().to_owned();
        let via = if cancel { via } else { via.replace("branch=z9hG4bK", "branch=z9hG4bKforged") };
        let answered = self.tapped_answers.get(&phone).filter(|_| !cancel);
        let to = answered.map_or_else(|| headers.to().to_buf(), |to| to.clone());
        let mut request = sip::Request::builder(method, invite.uri().as_str())
            .header(sip::Name::Via, &via)
            .max_forwards(70)
            .from(&headers.from().to_buf())
            .to(&to)
            .call_id(headers.call_id())
            .cseq(headers.cseq().number + if cancel { 0 } else { 50 });
        if method == Method::Invite {
            request = request.header(sip::Name::Contact, "<sip:mallory@192.0.2.66:45000>");
            let body = String::from_utf8_lossy(invite.body()).replace("10.0.0.", "192.0.2.");
            request = request.body("application/sdp", body);
        }
        request.build().expect("a sound forgery").as_bytes().clone()
    }

    // The ladder.

    pub fn note(&mut self, text: &str) {
        self.log_line(text.to_owned());
    }

    fn note_message(&mut self, from: &str, to: &str, text: &str) {
        if !self.log_registering && text.ends_with("REGISTER") {
            return;
        }
        self.log_line(format!("{from} > {to} {text}"));
    }

    fn log_line(&mut self, text: String) {
        if self.log.len() >= self.log_max {
            self.log.pop_front();
        }
        self.log.push_back(Line { at: self.instant, text });
    }

    /// A message in a word or two.
    fn summary(&self, bytes: &Bytes) -> String {
        match Message::parse(bytes.clone()) {
            Ok(Message::Request(request)) => {
                let method = request.method();
                let within = request.headers().to().tag().is_some();
                let mut text = match method {
                    Method::Invite if within => "re-INVITE".to_owned(),
                    Method::Invite => {
                        let user = request.uri().user_unescaped().unwrap_or_default();
                        format!("INVITE {user}")
                    }
                    _ => method.as_str().to_owned(),
                };
                push_description(&mut text, request.body(), method != Method::Invite);
                text
            }
            Ok(Message::Response(response)) => {
                let method = response.headers().cseq().method;
                let mut text = response.status().code().to_string();
                if method != Method::Invite {
                    text.push_str(&format!(" {}", method.as_str()));
                }
                push_description(&mut text, response.body(), true);
                text
            }
            Err(_) => "?".to_owned(),
        }
    }
}

/// Says `sdp` where that is worth saying, and every direction but sendrecv.
fn push_description(text: &mut String, body: &Bytes, said: bool) {
    if body.is_empty() {
        if !said {
            text.push_str(" without offer");
        }
        return;
    }
    let directions = ["sendonly", "recvonly", "inactive"];
    let body = String::from_utf8_lossy(body);
    if said {
        text.push_str(" sdp");
    }
    for direction in directions {
        if body.contains(&format!("a={direction}")) {
            text.push_str(&format!(" {direction}"));
        }
    }
}

fn flow(generation: u64) -> pbx::flow::FlowId {
    pbx::flow::FlowId {
        node: crate::server::NODE,
        transport: pbx::flow::Transport::Tls,
        generation,
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
