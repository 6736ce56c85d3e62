//! What the exchange asks of the relay, and what the relay answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pure::Instant;

use super::Own;
use crate::dtmf::Digit;
use crate::packet::collides_with_rtcp;
use crate::quality::Report;
use crate::srtp::{MasterKey, Suite};

/// The media of one leg. The exchange chooses it; it must never be used for another leg.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointId(pub u128);

/// Where the leg faces. It means nothing here: the edge knows its address and port range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RealmId(pub u16);

/// From the exchange.
#[derive(Debug)]
pub enum Command {
    /// Opens a pair of ports. Answered by [`Event::Allocated`] or [`Event::Failed`]; repeated with
    /// the same epoch, it is answered again. `tag` comes back in [`Stats`]. `urgent` is for the edge:
    /// a call for help, for which ports are kept.
    Allocate { endpoint: EndpointId, epoch: u32, realm: RealmId, tag: u64, urgent: bool },
    /// Says what an offer and answer agreed on. Until then every packet is dropped. Answered by
    /// [`Event::Armed`]. An epoch that was armed before, or an older one, changes nothing and is
    /// answered with the epoch in force; each re-INVITE needs a higher one.
    Arm { endpoint: EndpointId, epoch: u32, config: Box<EndpointConfig> },
    /// Ends it. Answered by [`Event::Stats`], also where the endpoint had never carried a packet;
    /// an unknown endpoint is answered by [`Event::Failed`].
    Close { endpoint: EndpointId },
    /// The exchange is alive: every endpoint may live for another [`super::Limits::lease`].
    Renew,
}

/// What one leg agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointConfig {
    /// The signalled address, where the first packets go. With `None` nothing is sent until the
    /// peer's source is known.
    pub remote: Option<SocketAddr>,
    /// The signalled address of RTCP (RFC 3605; without one, the port above RTP's); ignored with
    /// `rtcp_mux`. With `None` no report is sent until one of the peer's has come.
    pub remote_rtcp: Option<SocketAddr>,
    /// RFC 5761: RTCP shares the RTP port.
    pub rtcp_mux: bool,
    pub protection: Protection,
    /// Whether this leg may hear: packets of the peer are sent to it.
    pub send: bool,
    /// Whether this leg may speak: its packets reach the peer. A packet that arrives while this is
    /// false is still authenticated and measured, then dropped.
    pub receive: bool,
    /// How this leg numbers its codecs. A packet with another number is dropped and counted. At
    /// most [`EndpointConfig::PAYLOADS_MAX`]; more fails the arming.
    pub payloads: Vec<Payload>,
    pub latch: Latch,
    /// Whose packets this leg hears, and who hears it. A bridge stands once both sides name each
    /// other: a stale configuration can't listen in on a leg that moved on. Both legs must be in the
    /// same relay.
    pub peer: Option<EndpointId>,
    /// After this long without an authenticated packet [`Event::Silence`] is raised. `None` while
    /// on hold.
    pub silence_limit: Option<Duration>,
}

/// What one payload number means on a leg (`a=rtpmap`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    /// 0 to 127.
    pub number: u8,
    pub codec: Codec,
    /// Of the RTP timestamp, in hertz. G.722 says 8000 (RFC 3551 §4.5.2).
    pub clock: u32,
}

/// The name that both legs share. Packets pass where codec and clock are the same on both legs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    G729,
    Opus,
    ComfortNoise,
    /// RFC 4733: decoded here, and passed on.
    TelephoneEvent,
    /// Anything else, numbered by the exchange.
    Other(u16),
}

/// How a leg's media is protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    Srtp {
        /// What we protect with: the key that we wrote into our SDP.
        send: MasterKey,
        /// What the peer protects with: the key in its SDP.
        receive: MasterKey,
    },
    /// Plain RTP, readable by whoever can capture it. The policy must have said so by name.
    DangerousPlain,
}

/// Which source address may become the one we send to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Latch {
    /// Only the signalled one: for trunks, whose carrier publishes its addresses. Packets from
    /// elsewhere are dropped, whatever their keys say.
    Signalled,
    /// Behind a NAT: with SRTP each authenticated, unreplayed packet that is newer than all before
    /// moves it; in plain RTP another address than the signalled one is believed only shortly after
    /// arming, and once.
    Follow,
}

/// To the exchange.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    Allocated {
        endpoint: EndpointId,
        epoch: u32,
        rtp: SocketAddr,
        rtcp: SocketAddr,
    },
    Failed {
        endpoint: EndpointId,
        epoch: u32,
        reason: Reason,
    },
    Armed {
        endpoint: EndpointId,
        epoch: u32,
    },
    /// Nothing authentic came for the configured time. Raised once; `since` is when the last packet
    /// came, or when the endpoint was armed, which starts the time anew.
    Silence {
        endpoint: EndpointId,
        since: Instant,
    },
    /// The first packet after [`Event::Silence`].
    Resumed {
        endpoint: EndpointId,
    },
    /// A key was pressed on this leg. Once a key, whatever was lost or repeated.
    Dtmf {
        endpoint: EndpointId,
        digit: Digit,
    },
    /// What a peer, or a stranger at its port, did wrong. Raised at the first time and whenever the
    /// count has doubled, so that a flood of packets is no flood of events.
    Violated {
        endpoint: EndpointId,
        violation: Violation,
        count: u64,
    },
    /// The last word about an endpoint.
    Stats {
        endpoint: EndpointId,
        stats: Box<Stats>,
    },
}

/// Why something could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// [`super::Limits::endpoints`] are open.
    Full,
    /// The edge found no free port in the realm's range.
    NoPort,
    /// Never allocated, or closed.
    Unknown,
    /// Armed before its ports were bound.
    NotAllocated,
    /// Allocated before, with another epoch.
    Duplicate,
    /// The remote address is one of our own ([`super::Own`]), unspecified, multicast, or has port zero.
    Address,
    /// A payload number above 127, twice, one that collides with RTCP, a clock of zero, or too many
    /// of them.
    Payloads,
    /// The endpoint is its own peer.
    Loop,
    /// One key for both directions, of this leg or of two: what we send would be authentic when it
    /// came back, to this leg or to the other.
    KeyReused,
}

/// Packets that were dropped, by cause.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Violation {
    /// Not RTP or RTCP, or longer than [`crate::PacketBuf::RECEIVE_MAX`].
    Malformed,
    /// The tag is wrong: forged, damaged, or protected with another key.
    NotAuthentic,
    /// Authentic and seen before, or too old to tell.
    Replayed,
    /// From an address that is not the leg's.
    Stranger,
    /// A payload number that the leg never agreed on.
    UnknownPayload,
    /// Our own packet came back, or one of our own sockets sent it ([`super::Own`]).
    Loop,
    /// More synchronisation sources under one key than a telephone has.
    TooManySources,
    /// The key has protected as many packets as it safely can.
    KeyExhausted,
}

impl Violation {
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::NotAuthentic,
        Self::Replayed,
        Self::Stranger,
        Self::UnknownPayload,
        Self::Loop,
        Self::TooManySources,
        Self::KeyExhausted,
    ];
}

/// What one leg was like, from allocation to close.
#[derive(Clone, PartialEq, Debug)]
pub struct Stats {
    /// As it stood in [`Command::Allocate`].
    pub tag: u64,
    pub closed: Closed,
    /// What protected it last; `None` in plain RTP or where it was never armed.
    pub suite: Option<Suite>,
    /// What we received from this leg.
    pub received: Report,
    /// What we sent to it.
    pub sent: Sent,
    /// What its receiver reported about our stream, in its last RTCP report.
    pub reported: Option<Reported>,
    /// Times the source address moved.
    pub moves: u32,
    /// Dropped packets, in the order of [`Violation::ALL`].
    pub violations: [u64; Violation::ALL.len()],
    /// Authentic packets that nobody heard: this leg or the other was held, or the other had no
    /// payload number for them.
    pub not_forwarded: u64,
}

/// Why an endpoint ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Closed {
    Asked,
    /// The exchange didn't renew the lease.
    LeaseExpired,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sent {
    pub packets: u64,
    /// Of RTP payload.
    pub bytes: u64,
}

/// From a report block of the leg's receiver (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reported {
    /// Packets lost since the beginning; negative where duplicates outweigh the loss.
    pub lost: i32,
    /// Of the last interval, in 256ths.
    pub fraction: u8,
    /// In units of the RTP timestamp.
    pub jitter: u32,
    /// Round trip, where the report named one of our sender reports.
    pub round_trip: Option<Duration>,
}

impl EndpointConfig {
    /// A phone offers a dozen; more would only slow down the look-up.
    pub const PAYLOADS_MAX: usize = 24;

    /// Why an endpoint can't be armed with this. `own`: where the remote must not be.
    pub(super) fn refusal(&self, endpoint: EndpointId, own: &[Own]) -> Option<Reason> {
        if self.peer == Some(endpoint) {
            return Some(Reason::Loop);
        }
        if self.payloads.len() > Self::PAYLOADS_MAX {
            return Some(Reason::Payloads);
        }
        for (at, payload) in self.payloads.iter().enumerate() {
            let number = payload.number;
            let twice = self.payloads[..at].iter().any(|before| before.number == number);
            let shadowed = self.rtcp_mux && collides_with_rtcp(number);
            if number > 127 || payload.clock == 0 || twice || shadowed {
                return Some(Reason::Payloads);
            }
        }
        for remote in [self.remote, self.remote_rtcp].into_iter().flatten() {
            let ip = remote.ip().to_canonical();
            let nobody = ip.is_unspecified() || ip.is_multicast() || ip == BROADCAST;
            if nobody || remote.port() == 0 || own.iter().any(|own| own.has(remote)) {
                return Some(Reason::Address);
            }
        }
        match &self.protection {
            Protection::Srtp { send, receive } if send == receive => Some(Reason::KeyReused),
            Protection::Srtp { .. } | Protection::DangerousPlain => None,
        }
    }
}

const BROADCAST: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

impl Payload {
    pub const PCMU: Self = Self { number: 0, codec: Codec::Pcmu, clock: 8_000 };
    pub const PCMA: Self = Self { number: 8, codec: Codec::Pcma, clock: 8_000 };
    pub const G722: Self = Self { number: 9, codec: Codec::G722, clock: 8_000 };
    pub const G729: Self = Self { number: 18, codec: Codec::G729, clock: 8_000 };

    /// Telephone events at 8 kHz, under the number that the SDP gave them.
    pub fn telephone_event(number: u8) -> Self {
        Self { number, codec: Codec::TelephoneEvent, clock: 8_000 }
    }
}

impl Protection {
    pub fn suite(&self) -> Option<Suite> {
        match self {
            Self::Srtp { send, .. } => Some(send.suite()),
            Self::DangerousPlain => None,
        }
    }
}

impl Stats {
    pub fn violations(&self, violation: Violation) -> u64 {
        self.violations[violation as usize]
    }
}
