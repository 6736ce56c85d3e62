//! The server of a world: the real exchange, the real relay and a simulated store, wired as the
//! binary wires them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use guard::admission;
use guard::fact::Fact;
use guard::gate::Gate;
use guard::id::{NodeId, RealmId, TenantId};
use guard::number::Country;
use guard::policy::Policy;
use pbx::command::{Command, Reply};
use pbx::directory::Tenant;
use pbx::exchange::{Exchange, Setup};
use pbx::flow::{FlowId, FlowOpened, Path, Realm, TlsFacts, Transport};
use pbx::io::{Far, Input, Output, PersistError, Query, Ticket, Trace};
use pbx::registrar::RegistrarSettings;
use pbx::settings::Settings;
use pure::{Chance, Instant, Now};
use rtp::PacketBuf;
use rtp::relay::{self, Channel, EndpointId, Limits, Relay};
use sip::digest::Algorithm;

use crate::store::Store;

/// See the module. Killed and started by the world.
#[derive(Debug)]
pub struct Server {
    running: Option<Running>,
    pub store: Store,
    pub settings: Settings,
    chance: Chance,
    tickets: u64,
    /// How often it was started: what belongs to a former life is dropped.
    pub life: u64,
    pub effects: VecDeque<Effect>,
    /// What the gate before the parser was told.
    pub admissions: Vec<admission::Change>,
}

#[derive(Debug)]
struct Running {
    exchange: Exchange,
    relay: Relay,
    sockets: BTreeMap<SocketAddr, (EndpointId, Channel)>,
    bound: BTreeMap<EndpointId, (SocketAddr, SocketAddr)>,
    next_port: u16,
    udp: FlowId,
    /// Where carriers are spoken to in datagrams, once it is bound.
    carrier_udp: Option<FlowId>,
    renew: Instant,
}

/// What leaves the server.
#[derive(Debug)]
pub enum Effect {
    Transmit {
        path: Path,
        bytes: Bytes,
    },
    CloseFlow {
        flow: FlowId,
    },
    Media {
        from: SocketAddr,
        to: SocketAddr,
        packet: Vec<u8>,
    },
    /// For the relay, which is another thread.
    Relay(relay::Command),
    RelayEvent(relay::Event),
    Fact(Fact),
    Trace(Trace),
    Reply(Reply),
    Connect {
        ticket: Ticket,
        to: Far,
    },
    Lookup {
        ticket: Ticket,
        query: Query,
    },
    Drained,
}

impl Server {
    pub fn new(settings: Settings, mut chance: Chance) -> Self {
        let tenant = Tenant {
            id: TenantId::HOUSE,
            name: "House".to_owned(),
            realm: DOMAIN.to_owned(),
            domains: vec![DOMAIN.to_owned()],
        };
        Self {
            running: None,
            store: Store::new(NODE, tenant, Policy::first(Country::US), chance.fork()),
            settings,
            chance,
            tickets: 1_000_000,
            life: 0,
            effects: VecDeque::new(),
            admissions: Vec::new(),
        }
    }

    pub fn start(&mut self, now: Now) {
        self.life += 1;
        self.store.generation += 1;
        let advertised = |ports: &[(Transport, u16)]| {
            ports.iter().map(|(transport, port)| (*transport, HOST.to_string(), *port)).collect()
        };
        let access = advertised(&[(Transport::Tls, 5061), (Transport::Udp, 5060)]);
        let carrier = [(Transport::Tls, 5071), (Transport::Tcp, 5070), (Transport::Udp, 5070)];
        let setup = Setup {
            node: NODE,
            settings: self.settings.clone(),
            registrar: RegistrarSettings {
                first_contact: &[Algorithm::Sha256, Algorithm::Md5],
                ..RegistrarSettings::default()
            },
            gate: Gate::new(self.store.policy.clone(), self.store.deck.clone()),
            realms: vec![
                Realm {
                    id: ACCESS,
                    name: "access".to_owned(),
                    advertised: access,
                    for_carriers: Vec::new(),
                },
                Realm {
                    id: CARRIER,
                    name: "carrier".to_owned(),
                    advertised: advertised(&carrier),
                    for_carriers: Vec::new(),
                },
            ],
            loaded: self.store.load(),
            chance: self.chance.fork(),
        };
        let udp =
            FlowId { node: NODE, transport: Transport::Udp, generation: self.store.generation };
        let own = relay::Own { ip: HOST, ports: 20_000..=u16::MAX };
        let running = Running {
            exchange: Exchange::new(now, setup),
            relay: Relay::new(self.chance.fork(), Limits::default(), vec![own]),
            sockets: BTreeMap::new(),
            bound: BTreeMap::new(),
            next_port: 20_000 + u16::try_from(self.life % 16).unwrap_or(0) * 1_000,
            udp,
            carrier_udp: None,
            renew: now.instant,
        };
        self.running = Some(running);
        let opened = FlowOpened {
            flow: udp,
            realm: ACCESS,
            local: (HOST, 5060).into(),
            remote: None,
            tls: None,
            origin: None,
        };
        self.input(now, Input::FlowOpened(opened));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.running = None;
        self.store.crash();
    }

    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub fn exchange(&self) -> Option<&Exchange> {
        self.running.as_ref().map(|running| &running.exchange)
    }

    /// Legs that money is set aside for.
    pub fn holds(&self) -> usize {
        let live = self.exchange().map(Exchange::live).unwrap_or_default();
        live.iter().find(|(what, _)| *what == "holds").map_or(0, |(_, count)| *count)
    }

    pub fn endpoints(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.relay.len())
    }

    /// Every media socket that is open.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.running.iter().flat_map(|running| running.sockets.keys().copied())
    }

    pub fn udp_flow(&self) -> Option<FlowId> {
        self.running.as_ref().map(|running| running.udp)
    }

    /// The socket that carriers are spoken to on in datagrams.
    pub fn carrier_udp(&self) -> Option<FlowId> {
        self.running.as_ref().and_then(|running| running.carrier_udp)
    }

    /// A phone's connection was accepted.
    pub fn accept(&mut self, now: Now, remote: SocketAddr) -> FlowId {
        self.open(now, Transport::Tls, ACCESS, remote)
    }

    /// A connection stands, whoever opened it.
    pub fn open(
        &mut self,
        now: Now,
        transport: Transport,
        realm: RealmId,
        remote: SocketAddr,
    ) -> FlowId {
        self.store.generation += 1;
        let generation = self.store.generation;
        let flow = FlowId { node: NODE, transport, generation };
        let tls = transport.is_encrypted().then(|| TlsFacts {
            version: "TLSv1.3",
            suite: "TLS13_AES_128_GCM_SHA256".to_owned(),
            peer_certificate: None,
            sni: None,
        });
        let port = if realm == ACCESS { 5061 } else { 5071 };
        let opened = FlowOpened {
            flow,
            realm,
            local: (HOST, port).into(),
            remote: Some(remote),
            tls,
            origin: None,
        };
        self.input(now, Input::FlowOpened(opened));
        flow
    }

    /// The carriers' datagram socket, bound where it isn't yet.
    pub fn bind_carrier_udp(&mut self, now: Now) -> Option<FlowId> {
        if let Some(bound) = self.carrier_udp() {
            return Some(bound);
        }
        self.store.generation += 1;
        let generation = self.store.generation;
        let flow = FlowId { node: NODE, transport: Transport::Udp, generation };
        self.running.as_mut()?.carrier_udp = Some(flow);
        let opened = FlowOpened {
            flow,
            realm: CARRIER,
            local: (HOST, 5070).into(),
            remote: None,
            tls: None,
            origin: None,
        };
        self.input(now, Input::FlowOpened(opened));
        Some(flow)
    }

    pub fn command(&mut self, now: Now, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.input(now, Input::Command { ticket, command });
    }

    /// Puts the next version of the policy into effect.
    pub fn change_policy(&mut self, now: Now, change: impl FnOnce(&mut Policy)) {
        self.store.policy = self.store.policy.next(change);
        let gate = Gate::new(self.store.policy.clone(), self.store.deck.clone());
        if let Some(running) = &mut self.running {
            running.exchange.set_gate(now, gate);
        }
        self.drain_exchange(now);
    }

    pub fn input(&mut self, now: Now, input: Input) {
        let Some(running) = &mut self.running else { return };
        running.exchange.handle(now, input);
        self.drain_exchange(now);
    }

    fn drain_exchange(&mut self, now: Now) {
        let Some(running) = &mut self.running else { return };
        while let Some(output) = running.exchange.poll_output() {
            let effect = match output {
                Output::Transmit { path, bytes } => Effect::Transmit { path, bytes },
                Output::CloseFlow { flow } => Effect::CloseFlow { flow },
                Output::Media(command) => Effect::Relay(command),
                Output::Persist { ticket, rows } => {
                    self.store.write(ticket, rows);
                    continue;
                }
                Output::Change { ticket, tenant, rows, facts } => {
                    self.store.change(now, ticket, tenant, rows, facts);
                    continue;
                }
                Output::Told(fact) => Effect::Fact(fact),
                Output::Fact { tenant, fact } => {
                    self.store.tell(now, tenant, fact.clone());
                    Effect::Fact(fact)
                }
                Output::Admission(change) => {
                    self.admissions.push(change);
                    continue;
                }
                Output::Trace(trace) => Effect::Trace(trace),
                Output::Reply { reply, .. } => Effect::Reply(reply),
                Output::Drained => Effect::Drained,
                Output::Connect { ticket, to } => Effect::Connect { ticket, to },
                Output::Lookup { ticket, query } => Effect::Lookup { ticket, query },
            };
            self.effects.push_back(effect);
        }
    }

    pub fn commit(&mut self, now: Now, failing: bool) {
        let answers: Vec<(Ticket, Result<(), PersistError>)> = self.store.commit(failing);
        for (ticket, result) in answers {
            self.input(now, Input::Persisted { ticket, result });
        }
    }

    pub fn relay(&mut self, now: Now, command: relay::Command) {
        let Some(running) = &mut self.running else { return };
        running.relay.handle(now, command);
        self.drain_relay();
    }

    fn drain_relay(&mut self) {
        let Some(running) = &mut self.running else { return };
        while let Some(output) = running.relay.poll_output() {
            match output {
                relay::Output::Bind { endpoint, epoch, .. } => {
                    // Not reused within a life: a late packet must not meet another call.
                    let rtp = SocketAddr::new(HOST, running.next_port);
                    let rtcp = SocketAddr::new(HOST, running.next_port + 1);
                    running.next_port += 2;
                    running.sockets.insert(rtp, (endpoint, Channel::Rtp));
                    running.sockets.insert(rtcp, (endpoint, Channel::Rtcp));
                    running.bound.insert(endpoint, (rtp, rtcp));
                    running.relay.bound(endpoint, epoch, rtp, rtcp);
                }
                relay::Output::Release { endpoint } => {
                    if let Some((rtp, rtcp)) = running.bound.remove(&endpoint) {
                        running.sockets.remove(&rtp);
                        running.sockets.remove(&rtcp);
                    }
                }
                relay::Output::Event(event) => self.effects.push_back(Effect::RelayEvent(event)),
            }
        }
    }

    /// A datagram at one of the media sockets. Whether it was passed on.
    pub fn media(&mut self, now: Now, at: SocketAddr, from: SocketAddr, packet: &[u8]) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(&(endpoint, channel)) = running.sockets.get(&at) else { return false };
        let mut buffer = PacketBuf::new();
        if !buffer.fill(packet) {
            return false;
        }
        let forward = running.relay.packet(now, endpoint, channel, from, &mut buffer);
        if let Some(forward) = forward {
            self.forward(forward, &buffer);
        }
        self.drain_relay();
        forward.is_some()
    }

    fn forward(&mut self, forward: relay::Forward, buffer: &PacketBuf) {
        let Some(running) = &self.running else { return };
        let Some(&(rtp, rtcp)) = running.bound.get(&forward.endpoint) else { return };
        let from = match forward.channel {
            Channel::Rtp => rtp,
            Channel::Rtcp => rtcp,
        };
        let packet = buffer.as_slice().to_vec();
        self.effects.push_back(Effect::Media { from, to: forward.to, packet });
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let exchange = running.exchange.poll_timeout();
        [exchange, running.relay.poll_timeout(), Some(running.renew)].into_iter().flatten().min()
    }

    pub fn wake(&mut self, now: Now) {
        let Some(running) = &mut self.running else { return };
        if running.renew <= now.instant {
            running.renew = now.instant + RENEWAL;
            running.relay.handle(now, relay::Command::Renew);
        }
        if running.relay.poll_timeout().is_some_and(|at| at <= now.instant) {
            running.relay.handle_timeout(now);
            let mut buffer = PacketBuf::new();
            while let Some(running) = &mut self.running
                && let Some(forward) = running.relay.poll_transmit(now, &mut buffer)
            {
                self.forward(forward, &buffer);
            }
        }
        self.drain_relay();
        let due = self.running.as_ref().and_then(|running| running.exchange.poll_timeout());
        if due.is_some_and(|at| at <= now.instant) {
            self.input(now, Input::Wake);
        }
    }
}

pub const NODE: NodeId = NodeId(1);
/// Where phones are.
pub const ACCESS: RealmId = RealmId(0);
/// Where carriers are.
pub const CARRIER: RealmId = RealmId(1);
/// The server's address.
pub const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
/// What phones are configured with.
pub const DOMAIN: &str = "pbx.test";
/// As the binary does: well within the relay's lease.
const RENEWAL: Duration = Duration::from_secs(10);
