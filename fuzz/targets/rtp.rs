//! Media packets. The first byte chooses what reads the rest: the parsers, SRTP by itself, or the
//! relay between two armed legs, where the bytes are a script of honest, hostile and replayed packets.
//!
//! The keys are fixed, so an input is a whole story. No input can forge a tag, which is what the
//! assertions rest on: nothing is accepted that was not protected here, nothing is accepted twice,
//! and no hostile packet keeps an honest one from passing.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pure::{Chance, Instant, Now, Utc};
use rtp::PacketBuf;
use rtp::dtmf::Decoder;
use rtp::packet::{Header, is_rtcp};
use rtp::relay::{
    Channel, Command, EndpointConfig, EndpointId, Forward, Latch, Limits, Output, Payload,
    Protection, RealmId, Relay,
};
use rtp::srtp::{Error, MasterKey, Receiver, Sender, Suite};
use rtp::{rtcp, sdes};

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, rest)) = bytes.split_first() else { return };
    let suite = |n: u8| Suite::ALL[usize::from(n) % Suite::ALL.len()];
    match mode & 3 {
        0 => parsers(suite(mode >> 2), rest),
        1 => protection(suite(mode >> 2), rest),
        _ => {
            // Leg A may be a plain one, leg B is always encrypted.
            let a = (mode & 0x40 == 0).then(|| suite(mode >> 2));
            Story::new(a, suite(mode >> 4), mode & 0x80 != 0).tell(rest);
        }
    }
});

fn parsers(suite: Suite, bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert!(header.len <= bytes.len() && header.payload_type < 128);
        if let Ok(payload) = header.payload(bytes) {
            assert!(header.len + payload.len() <= bytes.len());
            let mut packet = PacketBuf::new();
            if header.build(payload, &mut packet) {
                let again = Header::parse(packet.as_slice()).expect("what we print, we read");
                assert_eq!(again, Header { len: Header::LEN, padded: false, ..header });
                assert_eq!(again.payload(packet.as_slice()), Ok(payload));
            }
        }
    }
    let _ = is_rtcp(bytes);
    if let Ok(packets) = rtcp::parse(bytes) {
        let packets: Vec<_> = packets.collect();
        assert!(!packets.is_empty() && packets.len() <= bytes.len() / 4);
        for packet in packets {
            let (rtcp::Packet::SenderReport { blocks, .. }
            | rtcp::Packet::ReceiverReport { blocks, .. }) = packet
            else {
                continue;
            };
            for block in blocks.iter() {
                assert!((-(1 << 23)..1 << 23).contains(&block.lost));
                let _ = rtcp::round_trip(rtcp::ntp(Utc(0)), &block);
                let (ssrc, cname) = (block.ssrc, 1);
                let report = rtcp::Report { ssrc, sender: None, block: Some(block), cname };
                let mut printed = PacketBuf::new();
                report.build(&mut printed);
                let mut read = rtcp::parse(printed.as_slice()).expect("what we print, we read");
                let Some(rtcp::Packet::ReceiverReport { blocks, .. }) = read.next() else {
                    panic!("a report was printed");
                };
                assert!(blocks.iter().eq([block]));
            }
        }
    }
    let mut decoder = Decoder::default();
    for chunk in bytes.chunks(8) {
        let Some((timestamp, payload)) = chunk.split_first_chunk::<4>() else { break };
        let timestamp = u32::from_be_bytes(*timestamp);
        decoder.decode(timestamp, payload);
        assert_eq!(decoder.decode(timestamp, payload), None, "a key is pressed once");
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(key) = sdes::parse(suite, text)
    {
        let printed = sdes::print(&key);
        assert!(sdes::parse(suite, &printed).expect("what we print, we read") == key);
    }
}

fn protection(suite: Suite, bytes: &[u8]) {
    let key = key(1, suite);
    let mut packet = PacketBuf::new();
    // Nobody can protect without the key.
    if packet.fill(bytes) {
        assert!(Receiver::new(&key).unprotect(&mut packet).is_err());
        let _ = packet.fill(bytes);
        assert!(Receiver::new(&key).unprotect_rtcp(&mut packet).is_err());
    }
    // What we protect comes back whole, once; a changed copy never. The last two bytes say where.
    let Some((plain, &[at, with])) = bytes.split_last_chunk::<2>() else { return };
    for rtcp in [false, true] {
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
        let mut seal = |packet: &mut PacketBuf| match rtcp {
            false => sender.protect(packet),
            true => sender.protect_rtcp(packet),
        };
        let mut open = |packet: &mut PacketBuf| match rtcp {
            false => receiver.unprotect(packet).map(|_| ()),
            true => receiver.unprotect_rtcp(packet),
        };
        if !packet.fill(plain) || seal(&mut packet).is_err() {
            continue;
        }
        let sealed = packet.as_slice().to_vec();
        let mut changed = sealed.clone();
        let place = usize::from(at) * changed.len() / 256;
        changed[place] ^= with;
        let fits = |packet: &mut PacketBuf, bytes: &[u8]| packet.fill(bytes);
        if with != 0 && fits(&mut packet, &changed) {
            assert!(open(&mut packet).is_err(), "byte {place} was changed");
        }
        if fits(&mut packet, &sealed) {
            assert_eq!(open(&mut packet), Ok(()));
            assert_eq!(packet.as_slice(), plain);
            let _ = packet.fill(&sealed);
            assert_eq!(open(&mut packet), Err(Error::Replayed));
        }
    }
}

/// Two legs, their phones, and whoever else sends to their ports.
struct Story {
    relay: Relay,
    now: Now,
    legs: [Party; 2],
    /// Packets that passed, each to be refused when it comes again.
    spent: Vec<(usize, Vec<u8>)>,
}

struct Party {
    suite: Option<Suite>,
    mux: bool,
    epoch: u32,
    sender: Option<Sender>,
    /// Opens what the relay sends to this phone.
    receiver: Option<Receiver>,
    at: SocketAddr,
    /// Every address that this phone signalled or really sent from.
    proved: Vec<SocketAddr>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The phone itself misbehaved: its next honest packet may be taken for another stream.
    wild: bool,
}

impl Story {
    fn new(a: Option<Suite>, b: Suite, mux: bool) -> Self {
        let mut chance = Chance::from_number(1);
        let relay = Relay::new(chance.fork(), Limits::default(), Vec::new());
        let now = Now { instant: Instant(1_000_000_000), utc: Utc(1_700_000_000_000_000) };
        let legs = [(a, 1), (Some(b), 2)].map(|(suite, n)| {
            let at = SocketAddr::from(([192, 0, 2, n], 4_000));
            Party {
                suite,
                mux,
                epoch: 1,
                sender: suite.map(|suite| Sender::new(&key(n, suite))),
                receiver: suite.map(|suite| Receiver::new(&key(n + 10, suite))),
                at,
                proved: Vec::new(),
                ssrc: u32::from(n) << 24 | 77,
                sequence: 100,
                timestamp: 160,
                wild: false,
            }
        });
        let mut story = Self { relay, now, legs, spent: Vec::new() };
        for leg in 0..2 {
            let (endpoint, realm) = (id(leg), RealmId(0));
            let tag = leg as u64;
            story.relay.handle(now, Command::Allocate { endpoint, epoch: 1, realm, tag, urgent: false });
            let [rtp, rtcp] = [0, 1].map(|port| ([198, 51, 100, 1], 9_000 + 2 * leg as u16 + port));
            story.relay.bound(endpoint, 1, rtp.into(), rtcp.into());
            story.arm(leg);
        }
        // Both speak once, so that a plain leg has learned whom it belongs to.
        for leg in 0..2 {
            story.honest(leg, 0, &[0xff; 20]);
        }
        story
    }

    fn arm(&mut self, leg: usize) {
        let party = &mut self.legs[leg];
        // What is signalled is where the first packets go.
        party.proved.push(party.at);
        let n = leg as u8 + 1;
        let protection = match party.suite {
            Some(suite) => Protection::Srtp { send: key(n + 10, suite), receive: key(n, suite) },
            None => Protection::DangerousPlain,
        };
        let config = EndpointConfig {
            remote: Some(party.at),
            remote_rtcp: None,
            rtcp_mux: party.mux,
            protection,
            send: true,
            receive: true,
            payloads: vec![Payload::PCMU, Payload::telephone_event(101)],
            latch: Latch::Follow,
            peer: Some(id(1 - leg)),
            silence_limit: Some(Duration::from_secs(2)),
        };
        let (endpoint, epoch) = (id(leg), party.epoch);
        let config = Box::new(config);
        self.relay.handle(self.now, Command::Arm { endpoint, epoch, config });
    }

    fn tell(&mut self, mut script: &[u8]) {
        for _ in 0..STEPS_MAX {
            let Some((&[step, detail, len], rest)) = script.split_first_chunk::<3>() else { break };
            let (bytes, rest) = rest.split_at(rest.len().min(usize::from(len)));
            script = rest;
            let leg = usize::from(step >> 7);
            match step & 7 {
                0 => self.honest(leg, detail, bytes),
                1 => self.replayed(detail),
                2 => self.changed(detail, bytes),
                3 => self.forged(leg, detail, bytes),
                4 => self.wild(leg, bytes),
                5 => self.moved(leg, detail),
                6 => self.passed(detail),
                _ => {
                    self.legs[leg].epoch += 1;
                    self.arm(leg);
                }
            }
            self.drain();
        }
    }

    /// A phone says something, whatever its codec and its clock are.
    fn honest(&mut self, leg: usize, detail: u8, payload: &[u8]) {
        let party = &mut self.legs[leg];
        party.sequence = party.sequence.wrapping_add(1);
        party.timestamp = party.timestamp.wrapping_add(u32::from(detail) * 160);
        let header = Header {
            marker: detail & 1 != 0,
            payload_type: if detail & 2 == 0 { 0 } else { 101 },
            sequence: party.sequence,
            timestamp: party.timestamp,
            ssrc: party.ssrc,
            len: Header::LEN,
            padded: false,
        };
        let mut packet = PacketBuf::new();
        assert!(header.build(payload, &mut packet));
        let (at, wild) = (party.at, party.wild);
        let passed = self.authentic(leg, at, packet, payload);
        assert!(passed || wild, "an honest packet passes, whatever came before it");
    }

    /// An authentic packet of any shape: the phone itself is the attacker.
    fn wild(&mut self, leg: usize, bytes: &[u8]) {
        let mut packet = PacketBuf::new();
        if !packet.fill(bytes) || rtp::stun::is_stun(bytes) {
            return;
        }
        let payload = Header::parse(bytes).ok().and_then(|header| header.payload(bytes).ok());
        let payload = payload.unwrap_or_default().to_vec();
        self.legs[leg].wild = true;
        let at = self.legs[leg].at;
        self.authentic(leg, at, packet, &payload);
    }

    /// Protects a packet as the phone does, sends it, and judges what the relay makes of it.
    fn authentic(
        &mut self,
        leg: usize,
        from: SocketAddr,
        mut packet: PacketBuf,
        payload: &[u8],
    ) -> bool {
        if let Some(sender) = &mut self.legs[leg].sender
            && sender.protect(&mut packet).is_err()
        {
            return false;
        }
        let sealed = packet.as_slice().to_vec();
        let mut fitting = PacketBuf::new();
        if !fitting.fill(&sealed) {
            return false;
        }
        self.legs[leg].proved.push(from);
        let (now, endpoint) = (self.now, id(leg));
        let forward = self.relay.packet(now, endpoint, Channel::Rtp, from, &mut fitting);
        if self.spent.len() < SPENT_MAX {
            self.spent.push((leg, sealed));
        }
        match forward {
            Some(forward) => {
                self.heard(1 - leg, forward, &mut fitting, payload);
                true
            }
            None => false,
        }
    }

    /// The other phone opens it with its own key and hears what was said.
    fn heard(&mut self, leg: usize, forward: Forward, packet: &mut PacketBuf, payload: &[u8]) {
        let party = &mut self.legs[leg];
        assert_eq!((forward.endpoint, forward.channel), (id(leg), Channel::Rtp));
        assert!(party.proved.contains(&forward.to), "{} is nobody's", forward.to);
        if let Some(receiver) = &mut party.receiver {
            receiver.unprotect(packet).expect("the relay protects with this leg's key, once");
        }
        let header = Header::parse(packet.as_slice()).expect("the relay sends RTP");
        assert_eq!(header.payload(packet.as_slice()), Ok(payload));
        assert!(header.len == Header::LEN && self.legs.iter().all(|leg| leg.ssrc != header.ssrc));
    }

    /// Nothing comes of it: `bytes` were not sent by the phone of this leg, or not now.
    fn refused(&mut self, leg: usize, channel: Channel, from: SocketAddr, bytes: &[u8]) {
        let mut packet = PacketBuf::new();
        if !packet.fill(bytes) {
            packet.clear();
        }
        let forward = self.relay.packet(self.now, id(leg), channel, from, &mut packet);
        assert_eq!(forward, None, "a forged or repeated packet passed");
    }

    fn replayed(&mut self, detail: u8) {
        let Some(at) = usize::from(detail).checked_rem(self.spent.len()) else { return };
        let (leg, bytes) = self.spent[at].clone();
        // In plain RTP a repeated packet of the phone's own address is a duplicate; from elsewhere it
        // is a stranger's.
        let from = if detail & 1 == 0 { STRANGER.into() } else { self.legs[leg].at };
        if self.legs[leg].suite.is_some() || from == SocketAddr::from(STRANGER) {
            self.refused(leg, Channel::Rtp, from, &bytes);
        }
        // Across the call: what one phone said is not what the other says.
        if self.legs[1 - leg].suite.is_some() {
            self.refused(1 - leg, Channel::Rtp, self.legs[1 - leg].at, &bytes);
        }
    }

    /// A copy with some bytes changed.
    fn changed(&mut self, detail: u8, mask: &[u8]) {
        let Some(at) = usize::from(detail).checked_rem(self.spent.len()) else { return };
        let (leg, mut bytes) = self.spent[at].clone();
        if self.legs[leg].suite.is_none() {
            return;
        }
        for (byte, mask) in bytes.iter_mut().skip(usize::from(detail & 3)).zip(mask) {
            *byte ^= mask;
        }
        bytes.truncate(bytes.len() - usize::from(detail >> 6));
        let from = self.legs[leg].at;
        self.refused(leg, Channel::Rtp, from, &bytes);
    }

    fn forged(&mut self, leg: usize, detail: u8, bytes: &[u8]) {
        // A spoofed source address is all it takes against plain RTP, so there it comes from elsewhere.
        let spoofed = detail & 1 != 0 && self.legs[leg].suite.is_some();
        let from = if spoofed { self.legs[leg].at } else { STRANGER.into() };
        let channel = if detail & 2 == 0 { Channel::Rtp } else { Channel::Rtcp };
        self.refused(leg, channel, from, bytes);
    }

    /// The phone's address changes under it, as behind a NAT.
    fn moved(&mut self, leg: usize, detail: u8) {
        if self.legs[leg].suite.is_some() {
            let at = SocketAddr::from(([192, 0, 2, 101 + leg as u8], 5_000 + u16::from(detail)));
            self.legs[leg].at = at;
        }
    }

    fn passed(&mut self, detail: u8) {
        self.relay.handle(self.now, Command::Renew);
        self.now.instant += Duration::from_millis(u64::from(detail) * 100);
        self.relay.handle_timeout(self.now);
        let mut packet = PacketBuf::new();
        for _ in 0..4 {
            let Some(forward) = self.relay.poll_transmit(self.now, &mut packet) else { break };
            let leg = usize::from(forward.endpoint == id(1));
            assert!(self.legs[leg].proved.iter().any(|at| at.ip() == forward.to.ip()));
            if let Some(receiver) = &mut self.legs[leg].receiver {
                receiver.unprotect_rtcp(&mut packet).expect("reports are protected, once each");
            }
            assert!(rtcp::parse(packet.as_slice()).is_ok());
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            assert!(matches!(output, Output::Event(_) | Output::Bind { .. }), "{output:?}");
        }
    }
}

fn id(leg: usize) -> EndpointId {
    EndpointId(leg as u128 + 1)
}

fn key(n: u8, suite: Suite) -> MasterKey {
    sdes::generate(&mut Chance::from_number(u64::from(n)), suite)
}

const STRANGER: ([u8; 4], u16) = ([203, 0, 113, 9], 31_337);

/// A longer script is slower to run and reaches nothing new.
const STEPS_MAX: usize = 64;

const SPENT_MAX: usize = 64;
