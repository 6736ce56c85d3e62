//! One armed leg: what it may say (`Inbound`), what it hears (`Outbound`), and where it is.

use std::net::SocketAddr;
use std::time::Duration;

use pure::{Chance, Instant, Now};

use super::command::{
    Codec, EndpointConfig, EndpointId, Latch, Payload, Protection, Reported, Sent, Violation,
};
use crate::PacketBuf;
use crate::dtmf::{Decoder, Digit};
use crate::packet::Header;
use crate::quality::{Arrival, Impairment, Meter};
use crate::rtcp;
use crate::srtp::{self, MasterKey, Receiver, Sender};
use crate::stun::is_stun;
use crate::window::Window;

/// A leg that was told what an offer and answer agreed on.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) epoch: u32,
    pub(super) config: EndpointConfig,
    /// Where we send: the signalled address until a packet moved it.
    pub(super) remote: Option<SocketAddr>,
    pub(super) remote_rtcp: Option<SocketAddr>,
    pub(super) last_heard: Instant,
    pub(super) silent: bool,
    pub(super) moves: u32,
    inbound: Inbound,
    outbound: Outbound,
}

#[derive(Debug)]
struct Inbound {
    opening: Opening,
    meter: Meter,
    dtmf: Decoder,
    source: Option<Source>,
    /// The source before: its last packets may still be underway.
    previous: Option<u32>,
    /// Counts sources, so that the leg that hears them notices a change.
    generation: u32,
    reported: Option<Reported>,
    /// The last sender report: the middle of its time, and when it came.
    sender_report: Option<(u32, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    last: Instant,
}

#[derive(Debug)]
enum Opening {
    Srtp(Box<Receiver>),
    Plain(Plain),
}

/// What stands in for authentication in plain RTP.
#[derive(Debug)]
struct Plain {
    window: Window,
    armed_at: Instant,
    /// An address has been believed since the last arming: no other will be.
    locked: bool,
    candidate: Option<Candidate>,
}

/// Somebody who isn't believed yet.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    next: u16,
    count: u8,
}

#[derive(Debug)]
struct Outbound {
    sealing: Sealing,
    ssrc: u32,
    cname: u64,
    /// Whose packets were sent last, and how they are renumbered.
    line: Option<Line>,
    /// The newest that was sent.
    sequence: u16,
    timestamp: u32,
    at: Instant,
    clock: u32,
    sent: Sent,
    /// Packets at the last report.
    told: u64,
}

#[derive(Debug)]
enum Sealing {
    Srtp(Box<Sender>),
    Plain,
}

/// The stream that a leg is hearing.
#[derive(Clone, Copy, Debug)]
struct Line {
    from: EndpointId,
    generation: u32,
    sequence_offset: u16,
    timestamp_offset: u32,
}

/// A packet that a leg was allowed to say, on its way to the leg that hears it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) from: EndpointId,
    header: Header,
    payload_len: usize,
    payload: Payload,
    generation: u32,
}

/// What came of a packet.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Dropped, and counted.
    Violation(Violation),
    /// Nothing to pass on. `heard`: authentic, but on hold or a late packet of a source that was
    /// replaced; otherwise STUN, or somebody on probation.
    Kept { heard: bool },
    /// Pass it on. `digit`: a key was pressed.
    Said(Said, Option<Digit>),
}

impl Leg {
    pub(super) fn new(now: Now, epoch: u32, config: EndpointConfig, chance: &mut Chance) -> Self {
        Self {
            epoch,
            remote: config.remote,
            remote_rtcp: if config.rtcp_mux { config.remote } else { config.remote_rtcp },
            last_heard: now.instant,
            silent: false,
            moves: 0,
            inbound: Inbound {
                opening: Opening::new(now, &config.protection),
                meter: Meter::new(),
                dtmf: Decoder::default(),
                source: None,
                previous: None,
                generation: 0,
                reported: None,
                sender_report: None,
            },
            outbound: Outbound::new(now, &config.protection, chance),
            config,
        }
    }

    /// Another offer and answer. What stays the same keeps its state: above all, a context whose key
    /// was only repeated keeps its rollover counter and its replay window.
    pub(super) fn rearm(
        &mut self,
        now: Now,
        epoch: u32,
        config: EndpointConfig,
        chance: &mut Chance,
    ) {
        self.epoch = epoch;
        (self.last_heard, self.silent) = (now.instant, false);
        // A phone behind a NAT repeats its private address: what was learned is still right.
        if config.remote != self.config.remote {
            self.remote = config.remote;
        }
        let signalled = |config: &EndpointConfig| (config.rtcp_mux, config.remote_rtcp);
        if config.rtcp_mux {
            self.remote_rtcp = self.remote;
        } else if signalled(&config) != signalled(&self.config) {
            self.remote_rtcp = config.remote_rtcp;
        }
        if receive_key(&config.protection) != receive_key(&self.config.protection) {
            self.inbound.opening = Opening::new(now, &config.protection);
            self.inbound.forget_source();
        } else if let Opening::Plain(plain) = &mut self.inbound.opening {
            (plain.armed_at, plain.locked, plain.candidate) = (now.instant, false, None);
        }
        if send_key(&config.protection) != send_key(&self.config.protection) {
            self.outbound.rekey(&config.protection, chance);
        }
        self.config = config;
    }

    /// Judges a datagram that came to the RTP port. Nothing of the leg's state has moved unless
    /// the packet was authentic (in plain RTP: from where it should be, or one more on probation).
    pub(super) fn hear(
        &mut self,
        now: Now,
        id: EndpointId,
        from: SocketAddr,
        packet: &mut PacketBuf,
    ) -> Verdict {
        if self.config.latch == Latch::Signalled && self.config.remote != Some(from) {
            return Verdict::Violation(Violation::Stranger);
        }
        // Phones that hoped for ICE, and some that keep a NAT open (RFC 6263 §4.3), send STUN here. It
        // isn't media, proves nothing, and is no wrong.
        if is_stun(packet.as_slice()) {
            return Verdict::Kept { heard: false };
        }
        let Ok(header) = Header::parse(packet.as_slice()) else {
            return Verdict::Violation(Violation::Malformed);
        };
        let opened = match &mut self.inbound.opening {
            Opening::Srtp(receiver) => match receiver.unprotect(packet) {
                Ok(index) => Ok(index),
                Err(error) => Err(Verdict::Violation(error.into())),
            },
            Opening::Plain(_) if header.ssrc == self.outbound.ssrc => {
                Err(Verdict::Violation(Violation::Loop))
            }
            Opening::Plain(_) => self.believe(now, from, &header),
        };
        let index = match opened {
            Ok(index) => index,
            Err(verdict) => {
                if matches!(verdict, Verdict::Violation(Violation::Replayed)) {
                    self.inbound.meter.duplicate();
                }
                return verdict;
            }
        };
        let Ok(payload) = header.payload(packet.as_slice()) else {
            return Verdict::Violation(Violation::Malformed);
        };
        let newest = match self.inbound.follow_source(now.instant, header.ssrc, index) {
            Some(newest) => newest,
            None => return Verdict::Kept { heard: true },
        };
        // Only the newest packet tells where the phone is: an older one was underway meanwhile.
        if newest && self.remote != Some(from) {
            self.moves += u32::from(self.remote.is_some());
            self.remote = Some(from);
            if self.config.rtcp_mux {
                self.remote_rtcp = self.remote;
            }
        }
        let known = self.config.payloads.iter().find(|known| known.number == header.payload_type);
        let Some(&known) = known else {
            return Verdict::Violation(Violation::UnknownPayload);
        };
        let event = known.codec == Codec::TelephoneEvent;
        if !event && known.codec != Codec::ComfortNoise {
            self.inbound.meter.set_impairment(impairment(known.codec));
        }
        self.inbound.meter.count(Arrival {
            at: now.instant,
            index,
            timestamp: header.timestamp,
            clock: known.clock,
            bytes: payload.len(),
            audio: !event,
        });
        if !self.config.receive {
            return Verdict::Kept { heard: true };
        }
        let digit = if event { self.inbound.dtmf.decode(header.timestamp, payload) } else { None };
        let said = Said {
            from: id,
            header,
            payload_len: payload.len(),
            payload: known,
            generation: self.inbound.generation,
        };
        Verdict::Said(said, digit)
    }

    /// The probation of plain RTP. The signalled address is believed at once; a NAT's only while the
    /// leg is learning, and after some packets in a row; afterwards nobody else, until the next
    /// arming. A stream that jumps is on probation too, lest one forged packet end an honest one.
    fn believe(&mut self, now: Now, from: SocketAddr, header: &Header) -> Result<u64, Verdict> {
        let Opening::Plain(plain) = &mut self.inbound.opening else {
            unreachable!("asked for plain RTP only");
        };
        let home = self.remote == Some(from);
        let learning = now.instant.since(plain.armed_at) <= LEARNING && !plain.locked;
        if !home && !learning {
            return Err(Verdict::Violation(Violation::Stranger));
        }
        let known = self.inbound.source.is_some_and(|source| source.ssrc == header.ssrc);
        if home {
            if self.inbound.source.is_none() {
                plain.accept(header.sequence);
                return Ok(u64::from(header.sequence));
            }
            let index = plain.window.estimate(header.sequence).filter(|_| known);
            let near = index.filter(|&index| {
                let highest = plain.window.highest().unwrap_or(index);
                index <= highest + DROPOUT_MAX && index + Window::SIZE > highest
            });
            if let Some(index) = near {
                if !plain.window.is_fresh(index) {
                    return Err(Verdict::Violation(Violation::Replayed));
                }
                plain.window.note(index);
                (plain.locked, plain.candidate) = (true, None);
                return Ok(index);
            }
        }
        let next = header.sequence.wrapping_add(1);
        let count = match &plain.candidate {
            Some(candidate)
                if candidate.from == from
                    && candidate.ssrc == header.ssrc
                    && candidate.next == header.sequence =>
            {
                candidate.count + 1
            }
            _ => 1,
        };
        if count < PROBATION {
            plain.candidate = Some(Candidate { from, ssrc: header.ssrc, next, count });
            return Err(Verdict::Kept { heard: false });
        }
        plain.accept(header.sequence);
        self.inbound.forget_source();
        Ok(u64::from(header.sequence))
    }

    /// Judges a datagram with RTCP, and remembers what it reports.
    pub(super) fn hear_report(
        &mut self,
        now: Now,
        from: SocketAddr,
        packet: &mut PacketBuf,
    ) -> Result<(), Violation> {
        // Where no RTCP address was signalled, the host that the audio comes from is the next best.
        let neighbour = self.remote.is_some_and(|remote| remote.ip() == from.ip());
        let signalled =
            if self.config.rtcp_mux { self.config.remote } else { self.config.remote_rtcp };
        let expected = match (&self.inbound.opening, self.config.latch) {
            (_, Latch::Signalled) => signalled.map_or(neighbour, |signalled| signalled == from),
            (Opening::Srtp(_), Latch::Follow) => true,
            // Plain RTCP proves nothing, so it is read from the phone's host alone.
            (Opening::Plain(_), Latch::Follow) => neighbour || self.remote_rtcp == Some(from),
        };
        if !expected {
            return Err(Violation::Stranger);
        }
        if let Opening::Srtp(receiver) = &mut self.inbound.opening {
            receiver.unprotect_rtcp(packet)?;
        }
        let packets = rtcp::parse(packet.as_slice()).map_err(|_| Violation::Malformed)?;
        let ours = self.outbound.ssrc;
        for packet in packets {
            let blocks = match packet {
                rtcp::Packet::SenderReport { sender, blocks, .. } => {
                    let middle = rtcp::short_ntp(sender.ntp);
                    self.inbound.sender_report = Some((middle, now.instant));
                    blocks
                }
                rtcp::Packet::ReceiverReport { blocks, .. } => blocks,
                rtcp::Packet::Bye { .. } | rtcp::Packet::Other { .. } => continue,
            };
            if let Some(block) = blocks.iter().find(|block| block.ssrc == ours) {
                self.inbound.reported = Some(Reported {
                    lost: block.lost,
                    fraction: block.fraction,
                    jitter: block.jitter,
                    round_trip: rtcp::round_trip(rtcp::ntp(now.utc), &block)
                        .or(self.inbound.reported.and_then(|before| before.round_trip)),
                });
            }
        }
        // On its own port an authentic report tells where the next one goes.
        if !self.config.rtcp_mux {
            self.remote_rtcp = Some(from);
        }
        Ok(())
    }

    /// Renumbers, maps and protects what the peer said, in place. `None`: this leg doesn't hear it.
    pub(super) fn say(
        &mut self,
        now: Now,
        said: &Said,
        packet: &mut PacketBuf,
    ) -> Option<SocketAddr> {
        let to = self.remote?;
        if !self.config.send {
            return None;
        }
        let same = |known: &&Payload| {
            known.codec == said.payload.codec && known.clock == said.payload.clock
        };
        let payload = self.config.payloads.iter().find(same)?;
        let (sequence, timestamp, fresh) = self.outbound.renumber(now.instant, said);
        let header = Header {
            marker: said.header.marker || fresh,
            payload_type: payload.number,
            sequence,
            timestamp,
            ssrc: self.outbound.ssrc,
            len: Header::LEN,
            padded: false,
        };
        said.header.replace(&header, said.payload_len, packet).ok()?;
        if let Sealing::Srtp(sender) = &mut self.outbound.sealing {
            // Refused where this number was sent before: a copy that overtook a change of source.
            sender.protect(packet).ok()?;
        }
        self.outbound.sent.packets += 1;
        self.outbound.sent.bytes += said.payload_len as u64;
        Some(to)
    }

    /// Our report about what we sent to this leg and heard from it; `None` where there is nothing to
    /// tell or nowhere to send it.
    pub(super) fn report(&mut self, now: Now, packet: &mut PacketBuf) -> Option<SocketAddr> {
        let to = self.remote_rtcp?;
        let interval = self.inbound.meter.interval();
        let block = interval.zip(self.inbound.source).map(|(interval, source)| {
            let (last_report, delay) = match self.inbound.sender_report {
                Some((middle, at)) => (middle, rtcp::short_duration(now.instant.since(at))),
                None => (0, 0),
            };
            rtcp::Block {
                ssrc: source.ssrc,
                fraction: interval.fraction,
                lost: interval.lost,
                highest: interval.highest,
                jitter: interval.jitter,
                last_report,
                delay,
            }
        });
        let sender = self.outbound.info(now);
        if block.is_none() && sender.is_none() {
            return None;
        }
        let (ssrc, cname) = (self.outbound.ssrc, self.outbound.cname);
        rtcp::Report { ssrc, sender, block, cname }.build(packet);
        if let Sealing::Srtp(sender) = &mut self.outbound.sealing {
            sender.protect_rtcp(packet).ok()?;
        }
        Some(to)
    }

    pub(super) fn received(&self) -> crate::quality::Report {
        self.inbound.meter.report(self.inbound.reported.and_then(|reported| reported.round_trip))
    }

    pub(super) fn reported(&self) -> Option<Reported> {
        self.inbound.reported
    }

    pub(super) fn sent(&self) -> Sent {
        self.outbound.sent
    }

    /// For a snapshot: where the peer's streams stand. Empty in plain RTP.
    pub(super) fn rollovers(&self) -> Vec<srtp::Rollover> {
        match &self.inbound.opening {
            Opening::Srtp(receiver) => receiver.rollovers().collect(),
            Opening::Plain(_) => Vec::new(),
        }
    }
}

impl Opening {
    fn new(now: Now, protection: &Protection) -> Self {
        match protection {
            Protection::Srtp { receive, .. } => Self::Srtp(Box::new(Receiver::new(receive))),
            Protection::DangerousPlain => Self::Plain(Plain {
                window: Window::default(),
                armed_at: now.instant,
                locked: false,
                candidate: None,
            }),
        }
    }
}

impl Plain {
    /// A stream begins, from an address that is believed from now on.
    fn accept(&mut self, sequence: u16) {
        self.window = Window::default();
        self.window.note(u64::from(sequence));
        (self.locked, self.candidate) = (true, None);
    }
}

impl Inbound {
    fn forget_source(&mut self) {
        self.source = None;
        self.previous = None;
    }

    /// Follows the phone to another source. Whether the packet is the newest of its stream; `None`
    /// for a late packet of a source that was replaced.
    fn follow_source(&mut self, now: Instant, ssrc: u32, index: u64) -> Option<bool> {
        match &mut self.source {
            Some(source) if source.ssrc == ssrc => {
                let newest = match &self.opening {
                    Opening::Srtp(receiver) => receiver.newest(ssrc),
                    Opening::Plain(plain) => plain.window.highest(),
                };
                source.last = now;
                Some(newest == Some(index))
            }
            Some(source)
                if self.previous == Some(ssrc) && now.since(source.last) < SOURCE_OVERLAP =>
            {
                None
            }
            other => {
                self.previous = other.map(|source| source.ssrc);
                self.source = Some(Source { ssrc, last: now });
                self.generation = self.generation.wrapping_add(1);
                self.meter.restart();
                self.dtmf.reset();
                Some(true)
            }
        }
    }
}

impl Outbound {
    fn new(now: Now, protection: &Protection, chance: &mut Chance) -> Self {
        Self {
            sealing: Sealing::new(protection),
            ssrc: chance.u64() as u32,
            cname: chance.u64(),
            line: None,
            // RFC 3711 §3.3.1: below 2^15, so that the first lost packets can't hide a rollover.
            sequence: chance.below(1 << 15) as u16,
            timestamp: chance.u64() as u32,
            at: now.instant,
            clock: 8_000,
            sent: Sent::default(),
            told: 0,
        }
    }

    /// A new key begins with a new source and a low sequence number. Receivers differ on whether a
    /// rollover counter survives new keys (RFC 3711 §3.3.1 against what most do); a source that they
    /// have never heard starts at zero for all of them.
    fn rekey(&mut self, protection: &Protection, chance: &mut Chance) {
        self.sealing = Sealing::new(protection);
        self.ssrc = chance.u64() as u32;
        self.sequence = chance.below(1 << 15) as u16;
        self.line = None;
        self.told = self.sent.packets;
    }

    /// The number and time that a packet gets on this leg, and whether a stream begins with it. Gaps
    /// and order of one stream are kept; between two streams the number goes on by one and the time
    /// by as much as has passed, so that a receiver hears one telephone all along.
    fn renumber(&mut self, now: Instant, said: &Said) -> (u16, u32, bool) {
        let header = &said.header;
        let kept = self.line.filter(|line| {
            let sequence = header.sequence.wrapping_add(line.sequence_offset);
            let ahead = i64::from(sequence.wrapping_sub(self.sequence) as i16);
            // Beyond this a pause lies between them (hold, or a jump), which would confuse the
            // rollover counter of the receiver.
            line.from == said.from
                && line.generation == said.generation
                && (-(Window::SIZE as i64)..=DROPOUT_MAX as i64).contains(&ahead)
        });
        let line = kept.unwrap_or_else(|| {
            let passed = now.since(self.at).as_nanos() * u128::from(said.payload.clock);
            let timestamp = self.timestamp.wrapping_add((passed / 1_000_000_000) as u32);
            Line {
                from: said.from,
                generation: said.generation,
                sequence_offset: self.sequence.wrapping_add(1).wrapping_sub(header.sequence),
                timestamp_offset: timestamp.wrapping_sub(header.timestamp),
            }
        });
        self.line = Some(line);
        let sequence = header.sequence.wrapping_add(line.sequence_offset);
        let timestamp = header.timestamp.wrapping_add(line.timestamp_offset);
        if sequence.wrapping_sub(self.sequence) as i16 > 0 {
            (self.sequence, self.timestamp) = (sequence, timestamp);
            (self.at, self.clock) = (now, said.payload.clock);
        }
        (sequence, timestamp, kept.is_none())
    }

    /// `None` where nothing was sent since the last report (RFC 3550 §6.4).
    fn info(&mut self, now: Now) -> Option<rtcp::SenderInfo> {
        if self.sent.packets == self.told {
            return None;
        }
        self.told = self.sent.packets;
        let passed = now.instant.since(self.at).as_nanos() * u128::from(self.clock);
        Some(rtcp::SenderInfo {
            ntp: rtcp::ntp(now.utc),
            timestamp: self.timestamp.wrapping_add((passed / 1_000_000_000) as u32),
            packets: self.sent.packets as u32,
            bytes: self.sent.bytes as u32,
        })
    }
}

impl Sealing {
    fn new(protection: &Protection) -> Self {
        match protection {
            Protection::Srtp { send, .. } => Self::Srtp(Box::new(Sender::new(send))),
            Protection::DangerousPlain => Self::Plain,
        }
    }
}

impl From<srtp::Error> for Violation {
    fn from(error: srtp::Error) -> Self {
        match error {
            srtp::Error::Malformed | srtp::Error::NoRoom => Self::Malformed,
            srtp::Error::NotAuthentic => Self::NotAuthentic,
            srtp::Error::Replayed => Self::Replayed,
            srtp::Error::TooManySources => Self::TooManySources,
            srtp::Error::KeyExhausted => Self::KeyExhausted,
        }
    }
}

fn send_key(protection: &Protection) -> Option<&MasterKey> {
    match protection {
        Protection::Srtp { send, .. } => Some(send),
        Protection::DangerousPlain => None,
    }
}

fn receive_key(protection: &Protection) -> Option<&MasterKey> {
    match protection {
        Protection::Srtp { receive, .. } => Some(receive),
        Protection::DangerousPlain => None,
    }
}

fn impairment(codec: Codec) -> Impairment {
    match codec {
        Codec::G729 => Impairment::G729,
        // Wideband codecs are rated as if they were narrowband: the scale ends at 4.5 for both.
        Codec::Pcmu
        | Codec::Pcma
        | Codec::G722
        | Codec::Opus
        | Codec::ComfortNoise
        | Codec::TelephoneEvent
        | Codec::Other(_) => Impairment::G711,
    }
}

/// Packets in a row that make an unknown plain source believable. RFC 3550 A.1 takes two; four are
/// 80 ms of an honest phone's call, and somebody who guesses must be right four times.
const PROBATION: u8 = 4;

/// How long after an arming a plain leg learns an address other than the signalled one.
const LEARNING: Duration = Duration::from_secs(10);

/// RFC 3550 A.1: sequence numbers that may be missing before a stream counts as another one. A
/// minute of audio.
const DROPOUT_MAX: u64 = 3_000;

/// Late packets of a source that was replaced are dropped while the new one speaks, so that two
/// interleaved sources don't restart the stream with every packet.
const SOURCE_OVERLAP: Duration = Duration::from_secs(1);
