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
mod keys;
mod leg;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use pure::{Chance, Instant, Map, Now, TimerId, Timers};

use crate::PacketBuf;
use crate::packet::is_rtcp;
use crate::srtp::Rollover;
pub use command::{
    Closed, Codec, Command, EndpointConfig, EndpointId, Event, Latch, Payload, Protection, RealmId,
    Reason, Reported, Sent, Stats, Violation,
};
use keys::Keys;
use leg::{Leg, Verdict};

/// See the module on how to drive it.
#[derive(Debug)]
pub struct Relay {
    chance: Chance,
    limits: Limits,
    own: Vec<Own>,
    keys: Keys,
    endpoints: Map<EndpointId, Endpoint>,
    /// The keys of `endpoints`, for the day on which all of them are closed.
    open: BTreeSet<EndpointId>,
    timers: Timers<Timer>,
    lease: Option<TimerId>,
    /// Endpoints that owe an RTCP report.
    owing: BTreeSet<EndpointId>,
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

/// Where media sockets of this node may be: those of this relay and of every other. Nothing is sent
/// there and nothing is heard from there, since two legs that face each other would pass one packet
/// round for ever, though no key and no address of either leg alone is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    /// Bound or advertised. An unspecified address stands for all of loopback; the other addresses
    /// of a host that binds to all of them must be listed one by one.
    pub ip: IpAddr,
    pub ports: RangeInclusive<u16>,
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
    /// `own`: every address and range of ports of this node's media sockets, on all its relays.
    pub fn new(mut chance: Chance, limits: Limits, own: Vec<Own>) -> Self {
        Self {
            keys: Keys::new(chance.hash_seed()),
            endpoints: Map::new(chance.hash_seed()),
            chance,
            limits,
            own,
            open: BTreeSet::new(),
            timers: Timers::new(),
            lease: None,
            owing: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, now: Now, command: Command) {
        self.renew(now);
        match command {
            Command::Allocate { endpoint, epoch, realm, tag, urgent: _ } => {
                self.allocate(endpoint, epoch, realm, tag);
            }
            Command::Arm { endpoint, epoch, config } => self.arm(now, endpoint, epoch, *config),
            Command::Close { endpoint } => {
                if !self.close(endpoint, Closed::Asked) {
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
    /// holds what to send; otherwise its contents are spent. An empty buffer stands for a datagram
    /// that was too long. Neither allocates nor locks, but for an event.
    pub fn packet(
        &mut self,
        now: Now,
        endpoint: EndpointId,
        channel: Channel,
        from: SocketAddr,
        packet: &mut PacketBuf,
    ) -> Option<Forward> {
        let known = self.endpoints.get_mut(&endpoint)?;
        let leg = known.leg.as_mut()?;
        let report = match channel {
            Channel::Rtp => leg.config.rtcp_mux && is_rtcp(packet.as_slice()),
            Channel::Rtcp => true,
        };
        let looped = self.own.iter().any(|own| own.has(from));
        let verdict = match channel {
            _ if looped => Verdict::Violation(Violation::Loop),
            // RFC 5761: nobody was told of the second port.
            Channel::Rtcp if leg.config.rtcp_mux => Verdict::Violation(Violation::Stranger),
            _ if report => match leg.hear_report(now, from, packet) {
                Ok(()) => Verdict::Kept { heard: true },
                Err(violation) => Verdict::Violation(violation),
            },
            _ => leg.hear(now, endpoint, from, packet),
        };
        let (said, digit) = match verdict {
            Verdict::Said(said, digit) => (Some(said), digit),
            Verdict::Kept { heard: true } => {
                known.not_forwarded += u64::from(!report);
                (None, None)
            }
            Verdict::Kept { heard: false } => return None,
            Verdict::Violation(violation) => {
                let count = &mut known.violations[violation as usize];
                *count += 1;
                if count.is_power_of_two() {
                    let event = Event::Violated { endpoint, violation, count: *count };
                    self.outputs.push_back(Output::Event(event));
                }
                // Authentic, if not understood: the phone is there.
                if violation != Violation::UnknownPayload {
                    return None;
                }
                (None, None)
            }
        };
        leg.last_heard = now.instant;
        if leg.silent {
            leg.silent = false;
            self.outputs.push_back(Output::Event(Event::Resumed { endpoint }));
            if let Some(limit) = leg.config.silence_limit {
                let timer = Timer::Silence(endpoint);
                known.silence = Some(self.timers.set(now.instant + limit, timer));
            }
        }
        if let Some(digit) = digit {
            self.outputs.push_back(Output::Event(Event::Dtmf { endpoint, digit }));
        }
        let (said, peer) = (said?, leg.config.peer);
        let forward = peer.and_then(|peer| {
            let hearing = self.endpoints.get_mut(&peer)?.leg.as_mut()?;
            if hearing.config.peer != Some(endpoint) {
                return None;
            }
            let to = hearing.say(now, &said, packet)?;
            Some(Forward { endpoint: peer, channel: Channel::Rtp, to })
        });
        if forward.is_none()
            && let Some(known) = self.endpoints.get_mut(&endpoint)
        {
            known.not_forwarded += 1;
        }
        forward
    }

    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::Lease => {
                    self.lease = None;
                    for endpoint in std::mem::take(&mut self.open) {
                        self.close(endpoint, Closed::LeaseExpired);
                    }
                }
                Timer::Silence(endpoint) => self.check_silence(now, endpoint),
                Timer::Report(endpoint) => {
                    self.owing.insert(endpoint);
                    let next = now.instant + report_interval(&mut self.chance);
                    if let Some(known) = self.endpoints.get_mut(&endpoint) {
                        known.report = Some(self.timers.set(next, timer));
                    }
                }
            }
        }
    }

    /// A packet that is due without one having arrived (an RTCP report).
    pub fn poll_transmit(&mut self, now: Now, packet: &mut PacketBuf) -> Option<Forward> {
        while let Some(endpoint) = self.owing.pop_first() {
            let Some(leg) = self.endpoints.get_mut(&endpoint).and_then(|known| known.leg.as_mut())
            else {
                continue;
            };
            if let Some(to) = leg.report(now, packet) {
                let mux = leg.config.rtcp_mux;
                let channel = if mux { Channel::Rtp } else { Channel::Rtcp };
                return Some(Forward { endpoint, channel, to });
            }
        }
        packet.clear();
        None
    }

    /// How a leg is so far; `None` where it isn't open. [`Stats::closed`] says `Asked`.
    pub fn stats(&self, endpoint: EndpointId) -> Option<Stats> {
        self.endpoints.get(&endpoint).map(|known| known.stats(Closed::Asked))
    }

    /// Where the streams of a leg stand, for its snapshot. Empty in plain RTP.
    pub fn rollovers(&self, endpoint: EndpointId) -> Vec<Rollover> {
        let leg = self.endpoints.get(&endpoint).and_then(|known| known.leg.as_ref());
        leg.map_or_else(Vec::new, |leg| leg.rollovers())
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
    leg: Option<Box<Leg>>,
    silence: Option<TimerId>,
    report: Option<TimerId>,
    violations: [u64; Violation::ALL.len()],
    not_forwarded: u64,
}

#[derive(Clone, Copy, Debug)]
struct Local {
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    Lease,
    Silence(EndpointId),
    Report(EndpointId),
}

impl Own {
    fn has(&self, at: SocketAddr) -> bool {
        // What comes to an IPv6 socket over IPv4 carries a mapped address.
        let (own, ip) = (self.ip.to_canonical(), at.ip().to_canonical());
        self.ports.contains(&at.port()) && (ip == own || own.is_unspecified() && ip.is_loopback())
    }
}

impl Endpoint {
    fn stats(&self, closed: Closed) -> Stats {
        let leg = self.leg.as_ref();
        Stats {
            tag: self.tag,
            closed,
            suite: leg.and_then(|leg| leg.config.protection.suite()),
            received: leg.map(|leg| leg.received()).unwrap_or_default(),
            sent: leg.map(|leg| leg.sent()).unwrap_or_default(),
            reported: leg.and_then(|leg| leg.reported()),
            moves: leg.map_or(0, |leg| leg.moves),
            violations: self.violations,
            not_forwarded: self.not_forwarded,
        }
    }
}

/// RFC 3550 §6.2: five seconds, and half as much more or less by chance, so that reports of many
/// calls don't bunch.
fn report_interval(chance: &mut Chance) -> Duration {
    Duration::from_millis(2_500 + chance.below(5_000))
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
                let fresh = Endpoint {
                    tag,
                    epoch,
                    local: None,
                    leg: None,
                    silence: None,
                    report: None,
                    violations: [0; Violation::ALL.len()],
                    not_forwarded: 0,
                };
                self.endpoints.insert(endpoint, fresh);
                self.open.insert(endpoint);
                self.outputs.push_back(Output::Bind { endpoint, epoch, realm });
            }
        }
    }

    fn arm(&mut self, now: Now, endpoint: EndpointId, epoch: u32, config: EndpointConfig) {
        let Some(known) = self.endpoints.get_mut(&endpoint) else {
            return self.fail(endpoint, epoch, Reason::Unknown);
        };
        if known.local.is_none() {
            return self.fail(endpoint, epoch, Reason::NotAllocated);
        }
        if let Some(leg) = known.leg.as_ref().filter(|leg| leg.epoch >= epoch) {
            let event = Event::Armed { endpoint, epoch: leg.epoch };
            return self.outputs.push_back(Output::Event(event));
        }
        let former = known.leg.as_ref().map(|leg| &leg.config.protection);
        let refusal = config.refusal(endpoint, &self.own).or_else(|| {
            let replaced = self.keys.replace(former, &config.protection);
            replaced.err().map(|_| Reason::KeyReused)
        });
        if let Some(reason) = refusal {
            return self.fail(endpoint, epoch, reason);
        }
        if let Some(silence) = known.silence.take() {
            self.timers.cancel(silence);
        }
        if let Some(limit) = config.silence_limit {
            let timer = Timer::Silence(endpoint);
            known.silence = Some(self.timers.set(now.instant + limit, timer));
        }
        if known.report.is_none() {
            let at = now.instant + report_interval(&mut self.chance);
            known.report = Some(self.timers.set(at, Timer::Report(endpoint)));
        }
        match &mut known.leg {
            Some(leg) => leg.rearm(now, epoch, config, &mut self.chance),
            none => *none = Some(Box::new(Leg::new(now, epoch, config, &mut self.chance))),
        }
        self.outputs.push_back(Output::Event(Event::Armed { endpoint, epoch }));
    }

    /// The timer of a leg whose packets come is late on purpose: it is set again from here, not by
    /// each packet.
    fn check_silence(&mut self, now: Now, endpoint: EndpointId) {
        let Some(known) = self.endpoints.get_mut(&endpoint) else { return };
        known.silence = None;
        let Some(leg) = &mut known.leg else { return };
        let Some(limit) = leg.config.silence_limit else { return };
        let due = leg.last_heard + limit;
        if due > now.instant {
            known.silence = Some(self.timers.set(due, Timer::Silence(endpoint)));
        } else {
            leg.silent = true;
            let event = Event::Silence { endpoint, since: leg.last_heard };
            self.outputs.push_back(Output::Event(event));
        }
    }

    fn close(&mut self, endpoint: EndpointId, closed: Closed) -> bool {
        let Some(known) = self.endpoints.remove(&endpoint) else { return false };
        self.open.remove(&endpoint);
        self.owing.remove(&endpoint);
        if let Some(leg) = &known.leg {
            self.keys.release(&leg.config.protection);
        }
        for timer in [known.silence, known.report].into_iter().flatten() {
            self.timers.cancel(timer);
        }
        let stats = Box::new(known.stats(closed));
        self.outputs.push_back(Output::Release { endpoint });
        self.outputs.push_back(Output::Event(Event::Stats { endpoint, stats }));
        true
    }

    fn fail(&mut self, endpoint: EndpointId, epoch: u32, reason: Reason) {
        self.outputs.push_back(Output::Event(Event::Failed { endpoint, epoch, reason }));
    }
}
