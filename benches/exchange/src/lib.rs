//! Phones of `actors` and the real exchange, without sockets, disk or media.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actors::phone::{self, Action, Event, Link, Phone, PhoneSettings, Security, Voice};
use guard::gate::Gate;
use guard::id::{ExtensionId, NodeId, RealmId, TenantId};
use guard::number::{Country, ExtensionNumber};
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::{MasterKey, Sealed};
use pbx::command::Credentials;
use pbx::directory::{Exceptions, Extension, Secret, Tenant};
use pbx::exchange::{Exchange, Setup};
use pbx::flow::{FlowId, FlowOpened, Path, Realm, TlsFacts, Transport};
use pbx::io::{Input, Output};
use pbx::record::Loaded;
use pbx::registrar::RegistrarSettings;
use pbx::settings::Settings;
use pure::{Chance, Instant, Now, Utc};
use rtp::relay;
use sip::digest::{Algorithm, Ha1};

const HOST: &str = "pbx.test";
const SECRET: &str = "a-long-secret-of-a-phone";

pub struct World {
    pub exchange: Exchange,
    now: Now,
    phones: Vec<Phone>,
    places: BTreeMap<SocketAddr, usize>,
    tls: bool,
    pub spent: Duration,
    pub inputs: u64,
    pub answered: u64,
    pub ended: u64,
    pub bytes: u64,
    pub sent: u64,
    pub rows: u64,
    pub facts: u64,
    pub traces: u64,
    /// Callers hang up when they are answered.
    pub hang_up: bool,
    todo: VecDeque<(usize, Action)>,
    next_port: u16,
}

impl World {
    pub fn new(count: usize, tls: bool) -> Self {
        let mut chance = Chance::from_number(1);
        let now = Now { instant: Instant(1_000_000_000), utc: Utc(1_700_000_000_000_000) };
        let key = MasterKey::draw(&mut chance);
        let number = |index: usize| format!("{}", 1_000 + index);
        let extensions = (0..count)
            .map(|index| {
                let number = number(index);
                let secret = Secret {
                    sealed: Sealed::seal(&key, &mut chance, b"extension", b"x"),
                    since: Utc(0),
                };
                let row = Extension {
                    id: ExtensionId(index as u128 + 1),
                    tenant: TenantId::HOUSE,
                    number: ExtensionNumber::new(&number, Country::US).expect("a number"),
                    name: format!("Desk {number}"),
                    enabled: true,
                    secret,
                    previous: None,
                    exceptions: Exceptions { dangerous_plain_rtp: !tls, ..Exceptions::default() },
                    caller_id: None,
                    created: Utc(0),
                };
                let credentials = Credentials {
                    md5: Ha1::derive(Algorithm::Md5, &number, HOST, SECRET),
                    sha256: Ha1::derive(Algorithm::Sha256, &number, HOST, SECRET),
                };
                (row, credentials, None)
            })
            .collect();
        let policy = Policy::first(Country::US);
        let setup = Setup {
            node: NodeId(1),
            settings: Settings {
                calls_max: 10_000,
                transactions_max: 200_000,
                ..Settings::default()
            },
            registrar: RegistrarSettings::default(),
            gate: Gate::new(policy.clone(), Arc::new(RateDeck::estimates(policy.currency))),
            realms: vec![Realm {
                id: RealmId(0),
                name: "access".into(),
                advertised: vec![
                    (Transport::Tls, HOST.into(), 5061),
                    (Transport::Udp, HOST.into(), 5060),
                ],
                for_carriers: Vec::new(),
            }],
            loaded: Loaded {
                tenants: vec![Tenant {
                    id: TenantId::HOUSE,
                    name: "House".into(),
                    realm: HOST.into(),
                    domains: vec![HOST.into()],
                }],
                extensions,
                generation: 10,
                ..Loaded::default()
            },
            chance: chance.fork(),
        };
        let phones = (0..count)
            .map(|index| {
                let settings = PhoneSettings {
                    number: number(index),
                    secret: SECRET.into(),
                    domain: HOST.into(),
                    display_name: format!("Desk {index}"),
                    instance: Some(format!("urn:uuid:00000000-0000-4000-8000-{index:012}")),
                    agent: "Bench/1".into(),
                    transport: if tls { sip::Transport::Tls } else { sip::Transport::Udp },
                    expires: 3_600,
                    security: if tls { Security::Srtp } else { Security::Plain },
                    answer_after: Some(Duration::from_millis(100)),
                    reject_with: None,
                    early_media: false,
                    weakest: Algorithm::Md5,
                    media_address: Ipv4Addr::new(198, 18, 0, 1).into(),
                    media_port: 20_000,
                    packet_interval: Duration::from_secs(3_600),
                    voice: Voice(index as u64),
                    reconnect_max: Duration::from_secs(30),
                };
                Phone::new(settings, chance.fork())
            })
            .collect();
        let mut world = Self {
            exchange: Exchange::new(now, setup),
            now,
            phones,
            places: BTreeMap::new(),
            tls,
            spent: Duration::ZERO,
            inputs: 0,
            answered: 0,
            ended: 0,
            bytes: 0,
            sent: 0,
            rows: 0,
            facts: 0,
            traces: 0,
            hang_up: true,
            todo: VecDeque::new(),
            next_port: 20_000,
        };
        let flows = if tls { count } else { 1 };
        for index in 0..flows {
            let facts = TlsFacts {
                version: "TLSv1.3",
                suite: "TLS13_AES_128_GCM_SHA256".into(),
                peer_certificate: None,
                sni: None,
            };
            world.exchange(Input::FlowOpened(FlowOpened {
                flow: world.path(index).flow,
                realm: RealmId(0),
                local: ([198, 51, 100, 1], 5060).into(),
                remote: tls.then(|| Self::place(index)),
                tls: tls.then_some(facts),
                origin: None,
            }));
        }
        world
    }

    fn place(index: usize) -> SocketAddr {
        let [_, _, high, low] = (index as u32 + 1).to_be_bytes();
        ([10, 0, high, low], 5060).into()
    }

    fn path(&self, index: usize) -> Path {
        let (transport, generation) =
            if self.tls { (Transport::Tls, 20 + index as u64) } else { (Transport::Udp, 20) };
        let flow = FlowId { node: NodeId(1), transport, generation };
        Path { flow, remote: Self::place(index) }
    }

    fn link(&self) -> Link {
        Link { id: 1, reliable: self.tls }
    }

    pub fn register(&mut self) {
        for index in 0..self.phones.len() {
            let local = Self::place(index);
            self.places.insert(local, index);
            let link = self.link();
            self.phone(index, phone::Input::Do(Action::Start));
            self.phone(index, phone::Input::Connected { link, local });
        }
        self.pass(Duration::from_secs(40));
    }

    /// Each caller dials once.
    pub fn round(&mut self, pairs: usize) {
        for pair in 0..pairs {
            let number = (1_000 + pairs + pair).to_string();
            self.phone(pair, phone::Input::Do(Action::Dial { number }));
            self.act();
        }
        self.pass(Duration::from_secs(2));
    }

    fn act(&mut self) {
        while let Some((index, action)) = self.todo.pop_front() {
            self.phone(index, phone::Input::Do(action));
        }
    }

    pub fn pass(&mut self, span: Duration) {
        let until = self.now.instant + span;
        while self.now.instant < until {
            self.now.instant += Duration::from_millis(20);
            self.now.utc = self.now.utc + Duration::from_millis(20);
            while self.exchange.poll_timeout().is_some_and(|at| at <= self.now.instant) {
                self.exchange(Input::Wake);
            }
            for index in 0..self.phones.len() {
                while self.phones[index].poll_timeout().is_some_and(|at| at <= self.now.instant) {
                    self.phone(index, phone::Input::Wake);
                }
            }
            self.act();
        }
    }

    fn phone(&mut self, index: usize, input: phone::Input) {
        self.phones[index].handle(self.now, input);
        while let Some(output) = self.phones[index].poll_output() {
            match output {
                phone::Output::Transmit { bytes, .. } => {
                    let path = self.path(index);
                    self.exchange(Input::Received { path, bytes });
                }
                phone::Output::Event(Event::Answered { call }) if index < self.phones.len() / 2 => {
                    self.answered += 1;
                    if self.hang_up {
                        self.todo.push_back((index, Action::HangUp { call }));
                    }
                }
                phone::Output::Event(Event::Ended { ending, .. }) => {
                    assert!(!matches!(ending, phone::Ending::Refused(_)), "{index}: {ending:?}");
                    self.ended += 1;
                }
                _ => {}
            }
        }
    }

    fn exchange(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut outputs = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.inputs += 1;
            let began = cpu_time();
            self.exchange.handle(self.now, input);
            while let Some(output) = self.exchange.poll_output() {
                outputs.push(output);
            }
            self.exchange.poll_timeout();
            self.spent += cpu_time() - began;
            for output in outputs.drain(..) {
                match output {
                    Output::Transmit { path, bytes } => {
                        self.sent += 1;
                        self.bytes += bytes.len() as u64;
                        let index = self.places[&path.remote];
                        let link = self.link();
                        self.phone(index, phone::Input::Received { link, bytes });
                    }
                    Output::Persist { ticket, rows } => {
                        self.rows += rows.len() as u64;
                        if let Some(ticket) = ticket {
                            inputs.push_back(Input::Persisted { ticket, result: Ok(()) });
                        }
                    }
                    Output::Media(command) => inputs.extend(self.media(command).map(Input::Media)),
                    Output::Fact { .. } => self.facts += 1,
                    Output::Trace(_) => self.traces += 1,
                    _ => {}
                }
            }
        }
    }

    fn media(&mut self, command: relay::Command) -> Option<relay::Event> {
        Some(match command {
            relay::Command::Allocate { endpoint, epoch, .. } => {
                self.next_port =
                    self.next_port.checked_add(2).filter(|port| *port < 60_000).unwrap_or(20_000);
                let ip = Ipv4Addr::new(198, 51, 100, 1);
                relay::Event::Allocated {
                    endpoint,
                    epoch,
                    rtp: (ip, self.next_port).into(),
                    rtcp: (ip, self.next_port + 1).into(),
                }
            }
            relay::Command::Arm { endpoint, epoch, .. } => relay::Event::Armed { endpoint, epoch },
            relay::Command::Close { endpoint } => {
                let stats = Box::new(relay::Stats {
                    tag: 0,
                    closed: relay::Closed::Asked,
                    suite: None,
                    received: rtp::quality::Report::default(),
                    sent: relay::Sent::default(),
                    reported: None,
                    moves: 0,
                    violations: [0; relay::Violation::ALL.len()],
                    not_forwarded: 0,
                });
                relay::Event::Stats { endpoint, stats }
            }
            relay::Command::Renew => return None,
        })
    }
}

/// What this thread has used: other programs on the machine don't count.
fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("Linux has this clock")
        .into()
}
