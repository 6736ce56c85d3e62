//! The packet logic of anchored calls: a table of endpoints, one a leg, and the path between two.
//!
//! How to drive it. One `Relay` belongs to one thread (or to the simulation), with its sockets:
//!
//! - `handle(now, command)` for each [`Command`] of the exchange, then `poll_output()` until `None`.
//! - [`Output::Bind`] asks for an RTP and an RTCP socket; answer with [`Relay::bound`] or
//!   [`Relay::bind_failed`], at once or later. [`Output::Release`] closes them. The edge picks ports
//!   that can't be guessed and leaves a released port unused for a while.
//! - `packet(now, ..)` for each datagram; where it returns a [`Forward`], send the buffer there;
//!   then `poll_output()` until `None`.
//! - At `poll_timeout()`: `handle_timeout(now)`, then `poll_transmit(now, &mut buffer)` until `None`,
//!   sending each, then `poll_output()` until `None`.
//!
//! What it promises. Nothing is ever sent in answer to a datagram that wasn't authenticated (SRTP)
//! or came from another address than the leg's (plain RTP), so a port is silent to strangers and can't
//! reflect. Nothing crosses from leg to leg but payload: each leg we send to sees our own source,
//! sequence, timestamps and reports. RTCP is therefore ended here and written anew: a report about
//! packets that we renumbered would be wrong on the other side, and its descriptions would tell who
//! is there.

mod command;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use pure::{Chance, Instant, Map, Now, TimerId, Timers};

use crate::PacketBuf;
pub use command::{
    Closed, Codec, Command, EndpointConfig, EndpointId, Event, Latch, Payload, Protection, RealmId,
    Reason, Reported, Sent, Stats, Violation,
};

/// See the module on how to drive it.
#[derive(Debug)]
pub struct Relay {
    chance: Chance,
    limits: Limits,
    endpoints: Map<EndpointId, Endpoint>,
    /// The keys of `endpoints`, for the day on which all of them are closed.
    open: BTreeSet<EndpointId>,
    timers: Timers<Timer>,
    lease: Option<TimerId>,
    /// Endpoints that owe an RTCP report. Each stands here once.
    owing: VecDeque<EndpointId>,
    outputs: VecDeque<Output>,
}

/// The bounds of one relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Endpoints open at once; the next [`Command::Allocate`] fails with [`Reason::Full`].
    pub endpoints: usize,
    /// Endpoints are closed when this long passed without a [`Command::Renew`] (or any other
    /// command), so that an exchange that died leaves no open port and no running call.
    pub lease: Duration,
}

/// For the driver.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Open sockets for an endpoint, then call [`Relay::bound`] or [`Relay::bind_failed`].
    Bind { endpoint: EndpointId, epoch: u32, realm: RealmId },
    /// Close them.
    Release { endpoint: EndpointId },
    /// For the exchange.
    Event(Event),
}

/// Which of an endpoint's two sockets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Channel {
    Rtp,
    Rtcp,
}

/// Send what stands in the buffer from this endpoint's socket to this address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    pub endpoint: EndpointId,
    pub channel: Channel,
    pub to: SocketAddr,
}

impl Default for Limits {
    fn default() -> Self {
        Self { endpoints: 4_000, lease: Duration::from_secs(30) }
    }
}

impl Relay {
    pub fn new(mut chance: Chance, limits: Limits) -> Self {
        Self {
            endpoints: Map::new(chance.hash_seed()),
            chance,
            limits,
            open: BTreeSet::new(),
            timers: Timers::new(),
            lease: None,
            owing: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, now: Now, command: Command) {
        self.renew(now);
        match command {
            Command::Allocate { endpoint, epoch, realm, tag } => {
                self.allocate(endpoint, epoch, realm, tag);
            }
            Command::Arm { endpoint, epoch, config } => self.arm(now, endpoint, epoch, *config),
            Command::Close { endpoint } => {
                if !self.close(now, endpoint, Closed::Asked) {
                    self.fail(endpoint, 0, Reason::Unknown);
                }
            }
            Command::Renew => {}
        }
    }

    /// Answers [`Output::Bind`]: the addresses that the peer will be told. For an endpoint that was
    /// closed meanwhile, [`Output::Release`] follows.
    pub fn bound(&mut self, endpoint: EndpointId, epoch: u32, rtp: SocketAddr, rtcp: SocketAddr) {
        match self.endpoints.get_mut(&endpoint) {
            Some(known) if known.epoch == epoch => {
                known.local = Some(Local { rtp, rtcp });
                self.outputs.push_back(Output::Event(Event::Allocated {
                    endpoint,
                    epoch,
                    rtp,
                    rtcp,
                }));
            }
            _ => self.outputs.push_back(Output::Release { endpoint }),
        }
    }

    /// Answers [`Output::Bind`] where no port was free: the endpoint is gone.
    pub fn bind_failed(&mut self, endpoint: EndpointId, epoch: u32) {
        if self.endpoints.get(&endpoint).is_some_and(|known| known.epoch == epoch) {
            self.endpoints.remove(&endpoint);
            self.open.remove(&endpoint);
            self.fail(endpoint, epoch, Reason::NoPort);
        }
    }

    /// One datagram that arrived at an endpoint's socket. Where a [`Forward`] comes back, `packet`
    /// holds what to send; otherwise its contents are spent. Neither allocates nor locks.
    pub fn packet(
        &mut self,
        now: Now,
        endpoint: EndpointId,
        channel: Channel,
        from: SocketAddr,
        packet: &mut PacketBuf,
    ) -> Option<Forward> {
        let _ = (now, channel, from);
        self.endpoints.get_mut(&endpoint)?;
        packet.clear();
        None
    }

    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::Lease => {
                    self.lease = None;
                    for endpoint in std::mem::take(&mut self.open) {
                        self.close(now, endpoint, Closed::LeaseExpired);
                    }
                }
            }
        }
    }

    /// A packet that is due without one having arrived (an RTCP report).
    pub fn poll_transmit(&mut self, _now: Now, packet: &mut PacketBuf) -> Option<Forward> {
        packet.clear();
        self.owing.pop_front();
        None
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.owing.is_empty() { self.timers.next() } else { Some(Instant(0)) }
    }

    /// Endpoints open now.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }
}

#[derive(Debug)]
struct Endpoint {
    tag: u64,
    epoch: u32,
    local: Option<Local>,
    armed: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Local {
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

#[derive(Debug)]
enum Timer {
    Lease,
}

impl Relay {
    fn renew(&mut self, now: Now) {
        if let Some(lease) = self.lease.take() {
            self.timers.cancel(lease);
        }
        self.lease = Some(self.timers.set(now.instant + self.limits.lease, Timer::Lease));
    }

    fn allocate(&mut self, endpoint: EndpointId, epoch: u32, realm: RealmId, tag: u64) {
        match self.endpoints.get(&endpoint) {
            Some(known) if known.epoch != epoch => {
                self.fail(endpoint, epoch, Reason::Duplicate);
            }
            Some(Endpoint { local: Some(Local { rtp, rtcp }), .. }) => {
                let event = Event::Allocated { endpoint, epoch, rtp: *rtp, rtcp: *rtcp };
                self.outputs.push_back(Output::Event(event));
            }
            Some(_) => {} // Asked for and not yet bound: the answer to the first is underway.
            None if self.endpoints.len() >= self.limits.endpoints => {
                self.fail(endpoint, epoch, Reason::Full);
            }
            None => {
                let fresh = Endpoint { tag, epoch, local: None, armed: None };
                self.endpoints.insert(endpoint, fresh);
                self.open.insert(endpoint);
                self.outputs.push_back(Output::Bind { endpoint, epoch, realm });
            }
        }
    }

    fn arm(&mut self, _now: Now, endpoint: EndpointId, epoch: u32, _config: EndpointConfig) {
        let _ = &self.chance;
        match self.endpoints.get_mut(&endpoint) {
            None => self.fail(endpoint, epoch, Reason::Unknown),
            Some(Endpoint { local: None, .. }) => self.fail(endpoint, epoch, Reason::NotAllocated),
            Some(known) => {
                let epoch = known.armed.map_or(epoch, |armed| armed.max(epoch));
                known.armed = Some(epoch);
                self.outputs.push_back(Output::Event(Event::Armed { endpoint, epoch }));
            }
        }
    }

    fn close(&mut self, _now: Now, endpoint: EndpointId, closed: Closed) -> bool {
        let Some(known) = self.endpoints.remove(&endpoint) else { return false };
        self.open.remove(&endpoint);
        self.outputs.push_back(Output::Release { endpoint });
        let stats = Box::new(Stats {
            tag: known.tag,
            closed,
            suite: None,
            received: crate::quality::Report::default(),
            sent: Sent::default(),
            reported: None,
            moves: 0,
            violations: [0; Violation::ALL.len()],
            not_forwarded: 0,
        });
        self.outputs.push_back(Output::Event(Event::Stats { endpoint, stats }));
        true
    }

    fn fail(&mut self, endpoint: EndpointId, epoch: u32, reason: Reason) {
        self.outputs.push_back(Output::Event(Event::Failed { endpoint, epoch, reason }));
    }
}
