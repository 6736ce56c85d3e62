//! What one party of a call says and hears: descriptions, keys, packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pure::{Chance, TimerId};
use rtp::PacketBuf;
use rtp::dtmf::{Decoder, Press};
use rtp::packet::{Header, is_rtcp};
use rtp::sdes;
use rtp::srtp::{MasterKey, Receiver, Sender, Suite};
use sip::sdp::{
    self, Crypto, Direction, Format, Key, Media as Description, MediaKind, Origin, Proto, RtpMap,
    Session, Word,
};

/// What somebody demands of a call's media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// SRTP by SDES and nothing else.
    Srtp,
    /// Plain RTP: what Ringfence refuses.
    Plain,
}

/// What somebody says: a number in every packet, instead of a voice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Voice(pub u64);

/// The media of one call.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    /// The key we send with, one for the whole call.
    key: MasterKey,
    sender: Option<Sender>,
    receiver: Option<(MasterKey, Receiver)>,
    /// Agreed direction, from our side.
    direction: Direction,
    /// What we want: sendonly while we hold.
    pub(crate) wanted: Direction,
    /// Its microphone is off, and nothing is sent instead.
    pub(crate) muted: bool,
    session_id: u64,
    version: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    event_type: u8,
    pub(crate) presses: Vec<Press>,
    press_timestamp: u32,
    pub(crate) packet_timer: Option<TimerId>,
    decoder: Decoder,
    pub(crate) heard: BTreeMap<Voice, u64>,
    pub(crate) digits: String,
    pub(crate) forged: u64,
}

/// The other side's description can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unusable;

impl Media {
    pub(crate) fn new(local: SocketAddr, chance: &mut Chance) -> Self {
        Self {
            local,
            remote: None,
            key: sdes::generate(chance, SUITE),
            sender: None,
            receiver: None,
            direction: Direction::SendRecv,
            wanted: Direction::SendRecv,
            muted: false,
            session_id: chance.u64() >> 2,
            version: 0,
            ssrc: chance.u64() as u32,
            // RFC 3711 §3.3.1: below 2^15, so that a lost first packet can't hide a rollover.
            sequence: chance.below(1 << 15) as u16,
            timestamp: chance.u64() as u32,
            event_type: EVENT_TYPE,
            presses: Vec::new(),
            press_timestamp: 0,
            packet_timer: None,
            decoder: Decoder::default(),
            heard: BTreeMap::new(),
            digits: String::new(),
            forged: 0,
        }
    }

    pub(crate) fn offer(&mut self, security: Security) -> String {
        self.describe(security, 1, self.wanted)
    }

    /// Takes an offer and gives the answer.
    pub(crate) fn answer(&mut self, offer: &[u8], security: Security) -> Result<String, Unusable> {
        let (tag, theirs) = self.take(offer, security)?;
        let ours = meet(self.wanted, theirs);
        self.direction = ours;
        Ok(self.describe(security, tag, ours))
    }

    /// Takes the answer to our offer.
    pub(crate) fn agreed(&mut self, answer: &[u8], security: Security) -> Result<(), Unusable> {
        let (_, theirs) = self.take(answer, security)?;
        self.direction = meet(self.wanted, theirs);
        Ok(())
    }

    fn describe(&mut self, security: Security, tag: u32, direction: Direction) -> String {
        self.version += 1;
        let address = self.local.ip();
        let mut session = Session::new(Origin::new(self.session_id, self.version, address));
        session.connection = Some(address);
        let word = |text: &str| Word::new(text).expect("a constant without spaces");
        let map =
            |encoding: &str| RtpMap { encoding: word(encoding), clock: 8_000, channels: None };
        let formats = vec![
            Format::rtp(0, Some(map("PCMU")), None),
            Format::rtp(self.event_type, Some(map("telephone-event")), None),
        ];
        let proto = match security {
            Security::Srtp => Proto::RtpSavp,
            Security::Plain => Proto::RtpAvp,
        };
        let mut media = Description::new(MediaKind::Audio, self.local.port(), proto, formats);
        media.direction = Some(direction);
        media.ptime = Some(20);
        if security == Security::Srtp {
            let key_salt = sdp::Secret::new(self.key.reveal().to_vec());
            media.crypto.push(Crypto {
                tag,
                suite: sdp::Suite::AesCm128HmacSha1_80,
                keys: vec![Key { key_salt, lifetime: None, mki: None }],
                params: Vec::new(),
            });
            self.sender.get_or_insert_with(|| Sender::new(&self.key));
        }
        session.media.push(media);
        session.print()
    }

    /// Reads the other side's address and key. A key that stays keeps its context: a fresh one would
    /// take old packets for new.
    fn take(&mut self, body: &[u8], security: Security) -> Result<(u32, Direction), Unusable> {
        let session = Session::parse(body).map_err(|_| Unusable)?;
        let audio = session.effective().find(|m| m.media.kind == MediaKind::Audio);
        let audio = audio.filter(|m| m.media.port != 0).ok_or(Unusable)?;
        let mut tag = 1;
        match security {
            Security::Srtp => {
                let suite = sdp::Suite::AesCm128HmacSha1_80;
                let line = audio.media.crypto.iter().find(|line| line.suite == suite);
                let line = line.filter(|_| audio.media.proto.is_sdes()).ok_or(Unusable)?;
                let [key] = &line.keys[..] else { return Err(Unusable) };
                let key = MasterKey::new(SUITE, key.key_salt.expose()).map_err(|_| Unusable)?;
                tag = line.tag;
                if self.receiver.as_ref().is_none_or(|(known, _)| *known != key) {
                    let receiver = Receiver::new(&key);
                    self.receiver = Some((key, receiver));
                }
            }
            Security::Plain if audio.media.proto.is_secure() => return Err(Unusable),
            Security::Plain => {}
        }
        let events = audio.media.formats.iter().find(|format| {
            let map = format.rtpmap.as_ref();
            map.is_some_and(|map| map.encoding.as_str().eq_ignore_ascii_case("telephone-event"))
        });
        if let Some(number) = events.and_then(Format::payload) {
            self.event_type = number;
        }
        let address = audio.connection().ok_or(Unusable)?;
        self.remote = Some(SocketAddr::new(address, audio.media.port));
        // The hold of old phones (RFC 3264 §8.4): an address of zeros.
        let zero = matches!(address, IpAddr::V4(v4) if v4.is_unspecified());
        let direction = if zero { Direction::SendOnly } else { audio.direction() };
        Ok((tag, direction))
    }

    pub(crate) fn is_speaking(&self) -> bool {
        self.remote.is_some() && self.direction.sends() && !self.muted
    }

    pub(crate) fn is_spoken_to(&self) -> bool {
        self.remote.is_some() && self.direction.receives()
    }

    /// The next packet: a key being pressed, or the voice.
    pub(crate) fn packet(&mut self, voice: Voice, step: Duration) -> Option<(SocketAddr, Vec<u8>)> {
        let remote = self.remote?;
        let ticks = u32::try_from(step.as_micros() / 125).unwrap_or(u32::MAX);
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = Header {
            marker: false,
            payload_type: 0,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            len: Header::LEN,
            padded: false,
        };
        let mut payload = [0xff; VOICE_LEN];
        payload[..8].copy_from_slice(&voice.0.to_be_bytes());
        let mut packet = PacketBuf::new();
        let mut event = None;
        while let Some(press) = self.presses.first_mut() {
            event = press.next();
            if event.is_some() {
                break;
            }
            self.presses.remove(0);
        }
        let fits = match event {
            Some(event) => {
                if event.marker {
                    self.press_timestamp = self.timestamp;
                }
                header.marker = event.marker;
                header.payload_type = self.event_type;
                header.timestamp = self.press_timestamp;
                header.build(&event.payload, &mut packet)
            }
            None => header.build(&payload, &mut packet),
        };
        debug_assert!(fits, "20 ms of PCMU are far shorter than a packet");
        if let Some(sender) = &mut self.sender {
            sender.protect(&mut packet).ok()?;
        }
        Some((remote, packet.as_slice().to_vec()))
    }

    pub(crate) fn hear(&mut self, packet: &[u8], security: Security) {
        let mut buffer = PacketBuf::new();
        if is_rtcp(packet) || !buffer.fill(packet) {
            return;
        }
        if security == Security::Srtp {
            let receiver = self.receiver.as_mut().map(|(_, receiver)| receiver);
            if receiver.is_none_or(|receiver| receiver.unprotect(&mut buffer).is_err()) {
                self.forged += 1;
                return;
            }
        }
        let Ok(header) = Header::parse(buffer.as_slice()) else { return };
        let Ok(payload) = header.payload(buffer.as_slice()) else { return };
        if header.payload_type == self.event_type {
            if let Some(digit) = self.decoder.decode(header.timestamp, payload)
                && self.digits.len() < DIGITS_MAX
            {
                self.digits.push(digit.reveal());
            }
        } else if let Some(voice) = payload.first_chunk::<8>()
            && (self.heard.len() < VOICES_MAX)
        {
            *self.heard.entry(Voice(u64::from_be_bytes(*voice))).or_default() += 1;
        }
    }

    pub(crate) fn moved(&mut self, local: SocketAddr) -> SocketAddr {
        std::mem::replace(&mut self.local, local)
    }
}

/// Our direction when we want `ours` and they say `theirs` (RFC 3264 §6.1).
fn meet(ours: Direction, theirs: Direction) -> Direction {
    let theirs = theirs.reversed();
    match (ours.sends() && theirs.sends(), ours.receives() && theirs.receives()) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

/// What every phone has.
const SUITE: Suite = Suite::AesCm128HmacSha1_80;
const EVENT_TYPE: u8 = 101;
/// 20 ms of PCMU.
const VOICE_LEN: usize = 160;
/// Nobody talks with more people at once; what a forger adds is not counted.
const VOICES_MAX: usize = 16;
const DIGITS_MAX: usize = 64;
