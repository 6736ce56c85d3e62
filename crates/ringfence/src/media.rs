//! The media threads: sockets for the packet logic of `rtp::relay`.
//!
//! Each thread owns one `Relay`, the sockets of its endpoints and its share of the ports; it shares
//! nothing, so the path of a packet takes no lock, and it allocates nothing. Both legs of a call live
//! on one thread, since a bridge stands between endpoints of one relay: `Allocate` carries the call
//! in its `tag`, and the tag chooses the thread.
//!
//! A thread waits in `epoll` (through mio) for its sockets, its commands (an eventfd) and the relay's
//! next deadline. Readiness is edge-triggered: a socket is read until it is empty, or until its share
//! of a turn is used up, and then first in the next turn. Packets of one leg come 20 ms apart, so a
//! socket almost never holds two: `recvmmsg`, which batches within one socket, would gain nothing.
//!
//! A fault in the packet logic costs the packet that met it, and is reported; audio of all calls goes
//! on.

mod null;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use pure::{Chance, Instant, Map, Now};
use rtp::PacketBuf;
use rtp::relay::{
    Channel, Command, EndpointId, Event, Forward, Limits, Output, Own, RealmId, Relay,
};

use crate::clock::Clock;
use crate::config::MediaPorts;

/// Where endpoints of one realm get their ports, and what their peers are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaRealm {
    pub(crate) id: RealmId,
    pub(crate) bind: IpAddr,
    pub(crate) advertise: IpAddr,
    pub(crate) ports: MediaPorts,
}

/// All media threads, as the exchange's thread holds them.
#[derive(Debug)]
pub(crate) struct Media {
    threads: Vec<Thread>,
    /// On which thread each open endpoint lives.
    homes: BTreeMap<EndpointId, usize>,
    counters: Arc<Counters>,
    /// In place of threads.
    null: Option<null::NullRelay>,
}

#[derive(Debug)]
struct Thread {
    orders: mpsc::Sender<Order>,
    waker: Arc<Waker>,
    /// It has orders that it was not woken for.
    asleep: bool,
    join: JoinHandle<()>,
}

enum Order {
    Relay(Command),
    Stop,
}

/// What the threads did since the start, for the status page.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    /// The network did not take them.
    pub(crate) not_sent: AtomicU64,
}

/// What the threads tell.
pub(crate) trait Listener: Clone + Send + 'static {
    fn event(&self, event: Event);
    /// A fault in the packet logic was contained.
    fn panicked(&self, message: String);
}

impl Media {
    /// Threads that serve `realms`: at most one for each pair of ports of the smallest range, so
    /// that each has ports of its own.
    ///
    /// # Errors
    /// The system refused an epoll instance or a thread, or did not tell its addresses.
    pub(crate) fn start(
        realms: &[MediaRealm],
        threads: usize,
        clock: Clock,
        mut chance: Chance,
        listener: impl Listener,
    ) -> io::Result<Self> {
        let smallest = realms.iter().map(|realm| realm.ports.pairs()).min().unwrap_or(1);
        let share = threads.clamp(1, smallest.max(1));
        let counters = Arc::new(Counters::default());
        let own = own(realms)?;
        // Each endpoint has a pair of ports, so there are never more of them.
        let endpoints = realms.iter().map(|realm| realm.ports.pairs()).sum();
        let limits = Limits { endpoints, ..Limits::default() };
        let threads = (0..share)
            .map(|index| {
                let poll = Poll::new()?;
                let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
                let (orders, inbox) = mpsc::channel();
                let worker = Worker {
                    poll,
                    inbox,
                    clock,
                    relay: Relay::new(chance.fork(), limits, own.clone()),
                    pools: realms
                        .iter()
                        .map(|realm| (realm.id, PortPool::new(*realm, index, share)))
                        .collect(),
                    slots: Vec::new(),
                    free: Vec::new(),
                    by_endpoint: Map::new(chance.hash_seed()),
                    urgent: false,
                    unfinished: Vec::new(),
                    packet: PacketBuf::new(),
                    chance: chance.fork(),
                    counters: counters.clone(),
                    listener: listener.clone(),
                };
                let join = std::thread::Builder::new()
                    .name(format!("media-{index}"))
                    .spawn(move || worker.run())?;
                Ok(Thread { orders, waker, asleep: false, join })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { threads, homes: BTreeMap::new(), counters, null: None })
    }

    /// Without threads, ports and packets: for benchmarks of signalling alone.
    pub(crate) fn null(realms: &[MediaRealm], listener: impl Listener) -> Self {
        let relay = null::NullRelay::new(realms, move |event| listener.event(event));
        let (threads, homes) = (Vec::new(), BTreeMap::new());
        Self { threads, homes, counters: Arc::default(), null: Some(relay) }
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Endpoints that were opened and have not ended.
    pub(crate) fn open(&self) -> BTreeSet<EndpointId> {
        let unopened = self.null.iter().flat_map(|null| null.open());
        self.homes.keys().copied().chain(unopened).collect()
    }

    /// Hands a command to the thread that its endpoint lives on, which sees it after [`Media::flush`].
    pub(crate) fn send(&mut self, command: Command) {
        if let Some(null) = &mut self.null {
            return null.handle(&command);
        }
        match &command {
            Command::Allocate { endpoint, tag, .. } => {
                let share = u64::try_from(self.threads.len()).expect("a thread count fits");
                let chosen = usize::try_from(tag % share).expect("below the thread count");
                // A repeated Allocate goes where the first went.
                let home = *self.homes.entry(*endpoint).or_insert(chosen);
                self.order(home, command);
            }
            // An unknown endpoint is answered by any relay: it has failed.
            Command::Arm { endpoint, .. } | Command::Close { endpoint } => {
                let home = self.homes.get(endpoint).copied().unwrap_or(0);
                self.order(home, command);
            }
            Command::Renew => {
                for home in 0..self.threads.len() {
                    self.order(home, Command::Renew);
                }
            }
        }
    }

    /// To be told of each event on its way to the exchange: an endpoint that ended has no home.
    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Stats { endpoint, .. } => {
                self.homes.remove(endpoint);
            }
            // Failed allocations leave no endpoint behind; a failed arming does.
            Event::Failed { endpoint, reason, .. } => {
                use rtp::relay::Reason;
                if matches!(reason, Reason::Full | Reason::NoPort | Reason::Unknown) {
                    self.homes.remove(endpoint);
                }
            }
            _ => {}
        }
    }

    fn order(&mut self, home: usize, command: Command) {
        let Thread { orders, asleep, .. } = &mut self.threads[home];
        // A thread ends only at `stop`; a send after that is one at the end of the process.
        *asleep |= orders.send(Order::Relay(command)).is_ok();
    }

    /// Wakes the threads that have orders: once for all that were given together.
    pub(crate) fn flush(&mut self) {
        for thread in self.threads.iter_mut().filter(|thread| thread.asleep) {
            let _ = thread.waker.wake();
            thread.asleep = false;
        }
    }

    /// Ends the threads and closes every socket. Returns when they are gone.
    pub(crate) fn stop(self) {
        for Thread { orders, waker, .. } in &self.threads {
            let _ = orders.send(Order::Stop);
            let _ = waker.wake();
        }
        for Thread { join, .. } in self.threads {
            let _ = join.join();
        }
    }
}

/// Every address under which a media socket of ours can be met, with its ports: those of all threads,
/// since legs on two of them could be made to face each other. A host that gets another address later
/// knows it after the next start; until then the advertised one and the keys hold.
fn own(realms: &[MediaRealm]) -> io::Result<Vec<Own>> {
    let mut own = Vec::new();
    for MediaRealm { bind, advertise, ports, .. } in realms {
        let mut ips = BTreeSet::from([*bind, *advertise]);
        if bind.is_unspecified() {
            ips.extend(addresses()?);
        }
        own.extend(ips.into_iter().map(|ip| Own { ip, ports: ports.first..=ports.last }));
    }
    Ok(own)
}

/// What this host is called on its interfaces.
fn addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs()?;
    Ok(interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect())
}

struct Worker<L> {
    poll: Poll,
    inbox: mpsc::Receiver<Order>,
    clock: Clock,
    relay: Relay,
    pools: BTreeMap<RealmId, PortPool>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_endpoint: Map<EndpointId, usize>,
    /// What is carried out now is for a call for help.
    urgent: bool,
    /// Sockets that had more to read than their share of the turn.
    unfinished: Vec<Token>,
    packet: PacketBuf,
    chance: Chance,
    counters: Arc<Counters>,
    listener: L,
}

/// The two sockets of one endpoint.
struct Slot {
    endpoint: EndpointId,
    realm: RealmId,
    port: u16,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Somebody may send to it: an offer and an answer agreed on it.
    armed: bool,
}

impl<L: Listener> Worker<L> {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut ready: Vec<Token> = Vec::new();
        loop {
            let wait = if self.unfinished.is_empty() {
                self.relay.poll_timeout().map(|at| self.clock.until(at))
            } else {
                Some(Duration::ZERO)
            };
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "epoll failed; audio stops on this thread");
                return;
            }
            ready.clear();
            ready.append(&mut self.unfinished);
            ready.extend(events.iter().map(|event| event.token()).filter(|token| *token != WAKE));
            match self.contained(|worker| worker.orders()) {
                Some(true) | None => {}
                Some(false) => return,
            }
            for token in &ready {
                self.contained(|worker| worker.read(*token));
            }
            self.contained(Self::timers);
        }
    }

    /// Runs a step; a panic in it is reported and costs only what the step had in hand.
    fn contained<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| step(self))) {
            Ok(done) => Some(done),
            Err(panic) => {
                self.packet.clear();
                self.listener.panicked(crate::panic_message(&*panic));
                None
            }
        }
    }

    /// Carries out what the exchange sent. False at the end.
    fn orders(&mut self) -> bool {
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Relay(command) => {
                    let now = self.clock.now();
                    self.urgent = matches!(command, Command::Allocate { urgent: true, .. });
                    if let Command::Arm { endpoint, .. } = &command {
                        let index = self.by_endpoint.get(endpoint).copied();
                        if let Some(Some(slot)) = index.map(|index| &mut self.slots[index]) {
                            slot.armed = true;
                        }
                    }
                    self.relay.handle(now, command);
                    self.outputs(now);
                }
                Order::Stop => return false,
            }
        }
        true
    }

    fn read(&mut self, token: Token) {
        let (index, channel) = channel_of(token);
        let now = self.clock.now();
        for _ in 0..READS_PER_TURN {
            let Some(Some(slot)) = self.slots.get(index) else { return };
            let (endpoint, socket) = (slot.endpoint, slot.socket(channel));
            let from = match socket.recv_from(self.packet.receive_area()) {
                Ok((len, from)) => {
                    self.counters.received.fetch_add(1, Ordering::Relaxed);
                    // Too long for media: lost, as the relay's buffer says.
                    if !self.packet.received(len) {
                        continue;
                    }
                    from
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error about a packet of ours: the next read has the next packet.
                Err(_) => continue,
            };
            if let Some(forward) = self.relay.packet(now, endpoint, channel, from, &mut self.packet)
            {
                self.send(forward);
            }
            self.outputs(now);
        }
        self.unfinished.push(token);
    }

    fn timers(&mut self) {
        let now = self.clock.now();
        if self.relay.poll_timeout().is_none_or(|at| at > now.instant) {
            return;
        }
        self.relay.handle_timeout(now);
        while let Some(forward) = self.relay.poll_transmit(now, &mut self.packet) {
            self.send(forward);
        }
        self.outputs(now);
    }

    fn send(&self, Forward { endpoint, channel, to }: Forward) {
        let slot = self.by_endpoint.get(&endpoint).and_then(|index| self.slots[*index].as_ref());
        let sent = slot
            .is_some_and(|slot| slot.socket(channel).send_to(self.packet.as_slice(), to).is_ok());
        // A full socket buffer or an unreachable peer: the packet is lost, as on any network.
        let counter = if sent { &self.counters.sent } else { &self.counters.not_sent };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn outputs(&mut self, now: Now) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Bind { endpoint, epoch, realm } => match self.bind(now, endpoint, realm) {
                    Some((rtp, rtcp)) => self.relay.bound(endpoint, epoch, rtp, rtcp),
                    None => self.relay.bind_failed(endpoint, epoch),
                },
                Output::Release { endpoint } => self.release(now, endpoint),
                Output::Event(event) => self.listener.event(event),
            }
        }
    }

    /// Opens both sockets. Returns what the peer is told.
    fn bind(
        &mut self,
        now: Now,
        endpoint: EndpointId,
        realm: RealmId,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let pool = self.pools.get_mut(&realm)?;
        let (port, mut rtp, mut rtcp) = pool.open(now.instant, &mut self.chance, self.urgent)?;
        let advertise = pool.realm.advertise;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let registry = self.poll.registry();
        let registered = registry
            .register(&mut rtp, token_of(index, Channel::Rtp), Interest::READABLE)
            .and_then(|()| {
                registry.register(&mut rtcp, token_of(index, Channel::Rtcp), Interest::READABLE)
            });
        if let Err(error) = registered {
            tracing::error!(%error, "a media socket could not be watched");
            pool.release(now.instant, port, false);
            self.free.push(index);
            return None;
        }
        self.slots[index] = Some(Slot { endpoint, realm, port, rtp, rtcp, armed: false });
        self.by_endpoint.insert(endpoint, index);
        Some((SocketAddr::new(advertise, port), SocketAddr::new(advertise, port + 1)))
    }

    fn release(&mut self, now: Now, endpoint: EndpointId) {
        let Some(index) = self.by_endpoint.remove(&endpoint) else { return };
        // Closing a socket takes it out of epoll.
        let Some(slot) = self.slots[index].take() else { return };
        self.free.push(index);
        if let Some(pool) = self.pools.get_mut(&slot.realm) {
            pool.release(now.instant, slot.port, slot.armed);
        }
    }
}

impl Slot {
    fn socket(&self, channel: Channel) -> &UdpSocket {
        match channel {
            Channel::Rtp => &self.rtp,
            Channel::Rtcp => &self.rtcp,
        }
    }
}

/// One thread's share of a realm's ports: every `share`-th pair, so that no two threads meet.
struct PortPool {
    realm: MediaRealm,
    index: usize,
    share: usize,
    held: BTreeSet<u16>,
    /// Oldest first.
    quarantine: VecDeque<(Instant, u16)>,
}

impl PortPool {
    fn new(realm: MediaRealm, index: usize, share: usize) -> Self {
        Self { realm, index, share, held: BTreeSet::new(), quarantine: VecDeque::new() }
    }

    /// A random free pair, bound. A port that another program holds costs one try. The last pairs are kept
    /// for calls for help, and where none is left such a call gets the one that has rested longest.
    fn open(
        &mut self,
        now: Instant,
        chance: &mut Chance,
        urgent: bool,
    ) -> Option<(u16, UdpSocket, UdpSocket)> {
        while let Some((until, port)) = self.quarantine.front()
            && *until <= now
        {
            self.held.remove(port);
            self.quarantine.pop_front();
        }
        let pairs = self.realm.ports.pairs().saturating_sub(self.index).div_ceil(self.share);
        let kept = if urgent { 0 } else { HELP_PAIRS.min(pairs / 4) };
        if self.held.len() >= pairs.saturating_sub(kept) {
            if !urgent {
                return None;
            }
            let (_, rested) = self.quarantine.pop_front()?;
            self.held.remove(&rested);
        }
        let start = chance.below(u64::try_from(pairs).ok()?);
        let start = usize::try_from(start).ok()?;
        let mut tries = 0;
        // Draws anew while that finds free pairs soon, then walks on from the first draw, which
        // finds the last free one of a crowded range too.
        for step in 0..pairs + DRAWS {
            let pair = if step < DRAWS {
                usize::try_from(chance.below(u64::try_from(pairs).ok()?)).ok()?
            } else {
                (start + step - DRAWS) % pairs
            };
            let offset = u16::try_from((pair * self.share + self.index) * 2).ok()?;
            let port = self.realm.ports.first + offset;
            if self.held.contains(&port) {
                continue;
            }
            if let Ok((rtp, rtcp)) = bind_pair(self.realm.bind, port) {
                self.held.insert(port);
                return Some((port, rtp, rtcp));
            }
            tries += 1;
            if tries == BIND_TRIES {
                break;
            }
        }
        None
    }

    /// Nobody was ever told to send to a port that wasn't armed: it needs no rest. Else whoever redials a
    /// busy neighbour would have every port rest after a few seconds.
    fn release(&mut self, now: Instant, port: u16, armed: bool) {
        if armed {
            self.quarantine.push_back((now + QUARANTINE, port));
        } else {
            self.held.remove(&port);
        }
    }
}

fn bind_pair(bind: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = UdpSocket::bind(SocketAddr::new(bind, port))?;
    let rtcp = UdpSocket::bind(SocketAddr::new(bind, port + 1))?;
    for socket in [&rtp, &rtcp] {
        let socket = socket2::SockRef::from(socket);
        // A wish: a system that doesn't take it still carries the call.
        let _ = match bind {
            IpAddr::V4(_) => socket.set_tos_v4(EXPEDITED),
            IpAddr::V6(_) => socket.set_tclass_v6(EXPEDITED),
        };
    }
    Ok((rtp, rtcp))
}

fn token_of(index: usize, channel: Channel) -> Token {
    Token(index * 2 + usize::from(channel == Channel::Rtcp))
}

fn channel_of(Token(token): Token) -> (usize, Channel) {
    (token / 2, if token % 2 == 0 { Channel::Rtp } else { Channel::Rtcp })
}

/// Media that comes this long after a call still belongs to it: a phone whose BYE got lost sends on
/// until its last retransmission (RFC 3261 Timer F, 64·T1). Nobody else gets the port before.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(32);
/// Pairs of each thread that only calls for help get: eight such calls at once, each with two legs. A
/// quarter of what there is, where that is less.
pub(crate) const HELP_PAIRS: usize = 16;
/// Ports that other programs hold are met one by one; more than so many and the range is wrong.
const BIND_TRIES: usize = 32;
/// Half a range in use makes one draw in two a hit: sixteen draws miss once in 65,000 times.
const DRAWS: usize = 16;
/// 64 packets of one socket are more than a second of one call: a flood at one port waits its turn.
const READS_PER_TURN: usize = 64;
/// Sockets served between two looks at commands and deadlines.
const EVENTS_PER_TURN: usize = 256;
/// Expedited forwarding, as routers queue voice (RFC 4594 §4.1): DSCP 46 in the upper six bits.
const EXPEDITED: u32 = 46 << 2;
const WAKE: Token = Token(usize::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Inbox(mpsc::Sender<Event>);

    impl Listener for Inbox {
        fn event(&self, event: Event) {
            let _ = self.0.send(event);
        }
        fn panicked(&self, message: String) {
            panic!("{message}");
        }
    }

    impl Media {
        fn give(&mut self, command: Command) {
            self.send(command);
            self.flush();
        }
    }

    fn realm(ports: MediaPorts) -> MediaRealm {
        MediaRealm {
            id: RealmId(0),
            bind: IpAddr::from([127, 0, 0, 1]),
            advertise: IpAddr::from([203, 0, 113, 7]),
            ports,
        }
    }

    fn start(ports: MediaPorts, threads: usize) -> (Media, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel();
        let clock = Clock::start();
        let chance = crate::clock::chance();
        let media =
            Media::start(&[realm(ports)], threads, clock, chance, Inbox(sender)).expect("starts");
        (media, events)
    }

    fn next(events: &mpsc::Receiver<Event>) -> Event {
        events.recv_timeout(Duration::from_secs(5)).expect("an event comes")
    }

    fn allocate(endpoint: u128, tag: u64) -> Command {
        for_whom(endpoint, tag, false)
    }

    fn for_whom(endpoint: u128, tag: u64, urgent: bool) -> Command {
        let (endpoint, realm) = (EndpointId(endpoint), RealmId(0));
        Command::Allocate { endpoint, epoch: 1, realm, tag, urgent }
    }

    /// In clear, to nobody.
    fn arm(endpoint: u128) -> Command {
        let config = rtp::relay::EndpointConfig {
            remote: None,
            remote_rtcp: None,
            rtcp_mux: false,
            protection: rtp::relay::Protection::DangerousPlain,
            send: true,
            receive: true,
            payloads: Vec::new(),
            latch: rtp::relay::Latch::Follow,
            peer: None,
            silence_limit: None,
        };
        Command::Arm { endpoint: EndpointId(endpoint), epoch: 1, config: Box::new(config) }
    }

    fn close(media: &mut Media, events: &mpsc::Receiver<Event>, endpoint: u128) {
        media.give(Command::Close { endpoint: EndpointId(endpoint) });
        let Event::Stats { .. } = next(events) else { panic!("the last word") };
    }

    #[test]
    fn ports_are_even_odd_pairs_of_the_range_and_told_by_the_advertised_address() {
        let (mut media, events) = start(MediaPorts { first: 18_000, last: 18_199 }, 2);
        let mut seen = BTreeSet::new();
        for n in 0..20 {
            media.give(allocate(n, u64::try_from(n).unwrap()));
            let Event::Allocated { rtp, rtcp, .. } = next(&events) else { panic!("allocated") };
            assert_eq!(rtp.ip(), IpAddr::from([203, 0, 113, 7]));
            assert!(rtp.port() % 2 == 0 && rtcp.port() == rtp.port() + 1);
            assert!((18_000..=18_199).contains(&rtcp.port()));
            assert!(seen.insert(rtp.port()));
        }
        assert!(seen.iter().copied().ne((18_000..18_040).step_by(2)), "ports must not be in order");
        media.stop();
    }

    #[test]
    fn a_port_rests_after_use_and_a_full_range_fails() {
        let (mut media, events) = start(MediaPorts { first: 18_200, last: 18_203 }, 4);
        for n in 0..2 {
            media.give(allocate(n, 0));
            media.give(allocate(n + 10, 1));
            for _ in 0..2 {
                match (n, next(&events)) {
                    (0, Event::Allocated { .. }) | (1, Event::Failed { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        media.give(arm(0));
        let Event::Armed { .. } = next(&events) else { panic!("armed") };
        close(&mut media, &events, 0);
        media.give(allocate(5, 0));
        let event = next(&events);
        assert!(matches!(event, Event::Failed { .. }), "the port is in quarantine: {event:?}");
        // Whoever calls for help gets it all the same.
        media.give(for_whom(6, 0, true));
        assert!(matches!(next(&events), Event::Allocated { .. }));
        media.stop();
    }

    #[test]
    fn a_port_that_carried_nothing_needs_no_rest() {
        let (mut media, events) = start(MediaPorts { first: 18_600, last: 18_601 }, 1);
        for n in 0..50 {
            media.give(allocate(n, 0));
            assert!(matches!(next(&events), Event::Allocated { .. }), "attempt {n}");
            close(&mut media, &events, n);
        }
        media.stop();
    }

    #[test]
    fn the_last_ports_are_for_help() {
        let (mut media, events) = start(MediaPorts { first: 18_700, last: 18_715 }, 1);
        let mut got = 0;
        for n in 0..8 {
            media.give(allocate(n, 0));
            got += usize::from(matches!(next(&events), Event::Allocated { .. }));
        }
        assert_eq!(got, 6, "of eight pairs two are kept");
        for n in 10..12 {
            media.give(for_whom(n, 0, true));
            assert!(matches!(next(&events), Event::Allocated { .. }));
        }
        media.stop();
    }

    #[test]
    fn a_port_that_another_program_holds_is_passed_over() {
        let _rtp = std::net::UdpSocket::bind("127.0.0.1:18300").unwrap();
        let _rtcp = std::net::UdpSocket::bind("127.0.0.1:18303").unwrap();
        let (mut media, events) = start(MediaPorts { first: 18_300, last: 18_305 }, 1);
        media.give(allocate(1, 0));
        let Event::Allocated { rtp, .. } = next(&events) else { panic!("allocated") };
        assert_eq!(rtp.port(), 18_304);
        media.stop();
    }

    #[test]
    fn every_address_of_ours_is_known_with_the_ports_of_all_threads() {
        let ports = MediaPorts { first: 18_500, last: 18_599 };
        let own = |realm| own(&[realm]).unwrap();
        let has = |own: &[Own], ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            own.iter().any(|own| own.ip == ip && own.ports == (18_500..=18_599))
        };
        let one = own(realm(ports));
        assert!(has(&one, "127.0.0.1") && has(&one, "203.0.113.7") && one.len() == 2, "{one:?}");
        let all = own(MediaRealm { bind: IpAddr::from([0; 4]), ..realm(ports) });
        assert!(has(&all, "0.0.0.0") && has(&all, "203.0.113.7"), "{all:?}");
        assert!(has(&all, "127.0.0.1"), "the interfaces are listed: {all:?}");
    }

    #[test]
    fn an_unknown_endpoint_is_answered() {
        let (mut media, events) = start(MediaPorts { first: 18_400, last: 18_499 }, 2);
        media.give(Command::Close { endpoint: EndpointId(77) });
        assert!(matches!(next(&events), Event::Failed { endpoint: EndpointId(77), .. }));
        media.stop();
    }
}
