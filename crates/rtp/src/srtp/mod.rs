//! SRTP and SRTCP: RFC 3711 (AES counter mode, HMAC-SHA1), RFC 6188 (256-bit keys), RFC 7714 (GCM).
//!
//! A [`Sender`] protects and a [`Receiver`] opens, in place, both for RTP and RTCP under one master
//! key. Neither can be copied. Three rules hold whatever the caller does:
//!
//! - **A keystream is used once.** A sender refuses an index that it has protected before, so a
//!   duplicate that reached us can't be encrypted a second time. It is never restored from a
//!   snapshot: after a crash the leg gets a new key.
//! - **A packet is accepted once.** The replay window can't be switched off.
//! - **Nothing unauthenticated changes state.** The rollover counter, the window and the table of
//!   sources move only after the tag was right.

mod cipher;
mod key;

use crate::PacketBuf;
use crate::packet::Header;
use crate::window::Window;
use cipher::{Cipher, ENCRYPTED, Kind, Place, RTCP_CLEAR};
pub use key::{KeyLength, MasterKey, Suite};

/// Protects what we send on one leg.
#[derive(Debug)]
pub struct Sender {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    streams: Streams,
    /// Protected so far, all sources together.
    packets: u64,
    /// The next SRTCP index, shared by all sources.
    rtcp_index: u32,
}

/// Opens what a peer sends on one leg.
#[derive(Debug)]
pub struct Receiver {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    streams: Streams,
}

/// Where a stream stood, for a snapshot: a receiver made from the same key continues there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rollover {
    pub ssrc: u32,
    pub counter: u32,
    /// The newest sequence number.
    pub sequence: u16,
}

/// Why a packet was not protected or not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// Too short or not a media packet.
    Malformed,
    /// The tag is wrong. Also an SRTCP packet that says it is not encrypted, since we never agree
    /// to that (RFC 4568 §6.3.2).
    NotAuthentic,
    /// Seen before, or too old to tell.
    Replayed,
    /// [`SOURCES_MAX`] sources were seen under this key. A new one is refused rather than an old one
    /// forgotten: what is forgotten can be replayed.
    TooManySources,
    /// The key has protected as many packets as it safely can.
    KeyExhausted,
    /// The tag doesn't fit behind the packet.
    NoRoom,
}

/// Sources (SSRC) under one key. A telephone has one, and chooses another when it restarts a stream
/// in mid-call (hold, transfer, a collision); sixteen such restarts without new keys is no telephone.
pub const SOURCES_MAX: usize = 16;

/// RFC 3711 §9.2: packets under one master key in counter mode.
const PACKETS_MAX: u64 = 1 << 48;

/// The forgery and confidentiality bounds of GCM shrink with each packet, faster than counter mode
/// with HMAC; 2^32 packets are 2.7 years of audio, so nobody is hurt by staying far away from them.
const PACKETS_MAX_GCM: u64 = 1 << 32;

/// RFC 3711 §9.2.
const RTCP_PACKETS_MAX: u32 = 1 << 31;

impl Sender {
    pub fn new(key: &MasterKey) -> Self {
        Self {
            suite: key.suite(),
            rtp: Cipher::new(key, Kind::Rtp),
            rtcp: Cipher::new(key, Kind::Rtcp),
            streams: Streams::default(),
            packets: 0,
            rtcp_index: 0,
        }
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Protects an RTP packet in place. After an error the packet must not be sent.
    pub fn protect(&mut self, packet: &mut PacketBuf) -> Result<(), Error> {
        let header = Header::parse(packet.as_slice()).map_err(|_| Error::Malformed)?;
        let limit = if self.suite.is_gcm() { PACKETS_MAX_GCM } else { PACKETS_MAX };
        if self.packets >= limit {
            return Err(Error::KeyExhausted);
        }
        let at = self.streams.find(header.ssrc);
        let window = at.map_or_else(Window::default, |at| self.streams.known[at].rtp);
        let index = window.estimate(header.sequence).ok_or(Error::Replayed)?;
        if index >= PACKETS_MAX {
            return Err(Error::KeyExhausted);
        }
        if !window.is_fresh(index) {
            return Err(Error::Replayed);
        }
        let at = at.or_else(|| self.streams.add(header.ssrc)).ok_or(Error::TooManySources)?;
        // Noted first: whatever fails behind this line, the index is spent.
        self.streams.known[at].rtp.note(index);
        self.packets += 1;
        self.rtp.seal_rtp(Place { ssrc: header.ssrc, index }, header.len, packet)
    }

    /// Protects a compound RTCP packet in place. After an error the packet must not be sent.
    pub fn protect_rtcp(&mut self, packet: &mut PacketBuf) -> Result<(), Error> {
        let ssrc = rtcp_ssrc(packet.as_slice()).ok_or(Error::Malformed)?;
        if self.rtcp_index >= RTCP_PACKETS_MAX {
            return Err(Error::KeyExhausted);
        }
        let place = Place { ssrc, index: u64::from(self.rtcp_index) };
        self.rtcp_index += 1;
        self.rtcp.seal_rtcp(place, packet)
    }
}

impl Receiver {
    pub fn new(key: &MasterKey) -> Self {
        Self::resume(key, &[])
    }

    /// Continues streams where a snapshot left them. Everything up to there counts as seen. Of more
    /// than [`SOURCES_MAX`] the first are taken.
    pub fn resume(key: &MasterKey, rollovers: &[Rollover]) -> Self {
        let mut streams = Streams::default();
        for rollover in rollovers {
            if let Some(at) = streams.add(rollover.ssrc) {
                let newest = u64::from(rollover.counter) << 16 | u64::from(rollover.sequence);
                streams.known[at].rtp = Window::after(newest);
            }
        }
        Self {
            suite: key.suite(),
            rtp: Cipher::new(key, Kind::Rtp),
            rtcp: Cipher::new(key, Kind::Rtcp),
            streams,
        }
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// For a snapshot.
    pub fn rollovers(&self) -> impl Iterator<Item = Rollover> + '_ {
        self.streams.known[..self.streams.count].iter().filter_map(|stream| {
            let newest = stream.rtp.highest()?;
            let (counter, sequence) = ((newest >> 16) as u32, newest as u16);
            Some(Rollover { ssrc: stream.ssrc, counter, sequence })
        })
    }

    /// The newest index of a source.
    pub(crate) fn newest(&self, ssrc: u32) -> Option<u64> {
        self.streams.known[self.streams.find(ssrc)?].rtp.highest()
    }

    /// Authenticates and decrypts an RTP packet in place, and returns its 48-bit index. After an
    /// error the packet is spent.
    pub fn unprotect(&mut self, packet: &mut PacketBuf) -> Result<u64, Error> {
        let header = Header::parse(packet.as_slice()).map_err(|_| Error::Malformed)?;
        let at = self.streams.find(header.ssrc);
        let window = at.map_or_else(Window::default, |at| self.streams.known[at].rtp);
        let index = window.estimate(header.sequence).ok_or(Error::Replayed)?;
        if index >= PACKETS_MAX {
            return Err(Error::KeyExhausted);
        }
        if !window.is_fresh(index) {
            return Err(Error::Replayed);
        }
        self.rtp.open_rtp(Place { ssrc: header.ssrc, index }, header.len, packet)?;
        let at = at.or_else(|| self.streams.add(header.ssrc)).ok_or(Error::TooManySources)?;
        self.streams.known[at].rtp.note(index);
        Ok(index)
    }

    /// Authenticates and decrypts a compound RTCP packet in place. After an error the packet is
    /// spent.
    pub fn unprotect_rtcp(&mut self, packet: &mut PacketBuf) -> Result<(), Error> {
        let word = self.rtcp.rtcp_word(packet.as_slice()).ok_or(Error::Malformed)?;
        let ssrc = rtcp_ssrc(packet.as_slice()).ok_or(Error::Malformed)?;
        let flagged = u32::from_be_bytes(word);
        if flagged & ENCRYPTED == 0 {
            return Err(Error::NotAuthentic);
        }
        let index = u64::from(flagged & !ENCRYPTED);
        let at = self.streams.find(ssrc);
        if at.is_some_and(|at| !self.streams.known[at].rtcp.is_fresh(index)) {
            return Err(Error::Replayed);
        }
        self.rtcp.open_rtcp(Place { ssrc, index }, word, packet)?;
        let at = at.or_else(|| self.streams.add(ssrc)).ok_or(Error::TooManySources)?;
        self.streams.known[at].rtcp.note(index);
        Ok(())
    }
}

/// The sources under one key: few, so they are looked through from the front.
#[derive(Debug, Default)]
struct Streams {
    known: [Stream; SOURCES_MAX],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
}

impl Streams {
    fn find(&self, ssrc: u32) -> Option<usize> {
        self.known[..self.count].iter().position(|stream| stream.ssrc == ssrc)
    }

    fn add(&mut self, ssrc: u32) -> Option<usize> {
        let at = self.count;
        *self.known.get_mut(at)? = Stream { ssrc, ..Stream::default() };
        self.count += 1;
        Some(at)
    }
}

/// The sender of a compound packet, which stands in the clear.
fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let (&[flags, kind, _, _, a, b, c, d], _) = packet.split_first_chunk::<RTCP_CLEAR>()?;
    (flags >> 6 == 2 && matches!(kind, 192..=223)).then(|| u32::from_be_bytes([a, b, c, d]))
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a media packet",
            Self::NotAuthentic => "the tag is wrong",
            Self::Replayed => "seen before, or too old to tell",
            Self::TooManySources => "too many sources under one key",
            Self::KeyExhausted => "the key has protected as many packets as it safely can",
            Self::NoRoom => "no room for the tag",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdes;
    use proptest::prelude::*;
    use pure::Chance;

    fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> PacketBuf {
        let mut packet = PacketBuf::new();
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            len: 12,
            padded: false,
        };
        assert!(header.build(payload, &mut packet));
        packet
    }

    fn pair(suite: Suite) -> (Sender, Receiver) {
        let key = sdes::generate(&mut Chance::from_number(1), suite);
        (Sender::new(&key), Receiver::new(&key))
    }

    fn copy(packet: &PacketBuf) -> PacketBuf {
        let mut copy = PacketBuf::new();
        assert!(copy.fill(packet.as_slice()));
        copy
    }

    #[test]
    fn a_packet_is_opened_once() {
        for suite in Suite::ALL {
            let (mut sender, mut receiver) = pair(suite);
            let mut packet = rtp(7, 65_535, b"hello");
            sender.protect(&mut packet).unwrap();
            assert_eq!(packet.len(), 12 + 5 + suite.rtp_tag_len());
            let mut again = copy(&packet);
            assert_eq!(receiver.unprotect(&mut packet), Ok(65_535));
            assert_eq!(packet.as_slice()[12..], *b"hello");
            assert_eq!(receiver.unprotect(&mut again), Err(Error::Replayed));
            // Over the rollover, where only the counter under the tag has changed.
            let mut packet = rtp(7, 0, b"world");
            sender.protect(&mut packet).unwrap();
            assert_eq!(receiver.unprotect(&mut packet), Ok(65_536));
        }
    }

    #[test]
    fn a_keystream_is_never_used_twice() {
        let (mut sender, _) = pair(Suite::AesCm128HmacSha1_80);
        sender.protect(&mut rtp(7, 10, b"one")).unwrap();
        assert_eq!(sender.protect(&mut rtp(7, 10, b"two")), Err(Error::Replayed));
        sender.protect(&mut rtp(7, 12, b"gap")).unwrap();
        sender.protect(&mut rtp(7, 11, b"late")).unwrap();
        assert_eq!(sender.protect(&mut rtp(7, 11, b"late")), Err(Error::Replayed));
        sender.protect(&mut rtp(7, 500, b"far")).unwrap();
        assert_eq!(sender.protect(&mut rtp(7, 13, b"old")), Err(Error::Replayed));
    }

    #[test]
    fn rtcp_is_opened_once_and_keeps_its_long_tag() {
        for suite in Suite::ALL {
            let (mut sender, mut receiver) = pair(suite);
            let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
            let mut packet = PacketBuf::new();
            assert!(packet.fill(&report));
            sender.protect_rtcp(&mut packet).unwrap();
            assert_eq!(packet.len(), 8 + 4 + suite.rtcp_tag_len());
            let (mut again, mut plain) = (copy(&packet), copy(&packet));
            assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(()));
            assert_eq!(packet.as_slice(), report);
            assert_eq!(receiver.unprotect_rtcp(&mut again), Err(Error::Replayed));
            let flag = if suite.is_gcm() { plain.len() - 4 } else { 8 };
            plain.as_mut_slice()[flag] &= 0x7f;
            assert_eq!(receiver.unprotect_rtcp(&mut plain), Err(Error::NotAuthentic));
        }
    }

    #[test]
    fn a_new_source_beyond_the_bound_is_refused_and_old_ones_live_on() {
        let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
        let key = sdes::generate(&mut Chance::from_number(1), Suite::AesCm128HmacSha1_80);
        for ssrc in 0..SOURCES_MAX as u32 {
            let mut packet = rtp(ssrc, 1, b"x");
            sender.protect(&mut packet).unwrap();
            receiver.unprotect(&mut packet).unwrap();
        }
        assert_eq!(sender.protect(&mut rtp(99, 1, b"x")), Err(Error::TooManySources));
        let mut packet = rtp(99, 1, b"x");
        Sender::new(&key).protect(&mut packet).unwrap();
        assert_eq!(receiver.unprotect(&mut packet), Err(Error::TooManySources));
        let mut packet = rtp(3, 2, b"x");
        sender.protect(&mut packet).unwrap();
        assert!(receiver.unprotect(&mut packet).is_ok());
    }

    #[test]
    fn a_receiver_continues_where_its_snapshot_was() {
        let suite = Suite::AeadAes128Gcm;
        let key = sdes::generate(&mut Chance::from_number(2), suite);
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
        let mut last = PacketBuf::new();
        for sequence in (0..70_000u32).step_by(10_000) {
            let mut packet = rtp(7, sequence as u16, b"x");
            sender.protect(&mut packet).unwrap();
            last = copy(&packet);
            receiver.unprotect(&mut packet).unwrap();
        }
        let mut next = rtp(7, (70_000u32 % 65_536) as u16, b"y");
        sender.protect(&mut next).unwrap();
        let mut other = copy(&next);

        let rollovers: Vec<_> = receiver.rollovers().collect();
        assert_eq!(rollovers, [Rollover { ssrc: 7, counter: 0, sequence: 60_000 }]);
        let mut resumed = Receiver::resume(&key, &rollovers);
        assert_eq!(resumed.unprotect(&mut last), Err(Error::Replayed));
        assert_eq!(resumed.unprotect(&mut next), Ok(70_000));
        assert_eq!(Receiver::new(&key).unprotect(&mut other), Err(Error::NotAuthentic));
    }

    #[test]
    fn an_exhausted_key_is_refused() {
        let (mut sender, _) = pair(Suite::AeadAes128Gcm);
        sender.packets = PACKETS_MAX_GCM;
        assert_eq!(sender.protect(&mut rtp(7, 1, b"x")), Err(Error::KeyExhausted));
        sender.rtcp_index = RTCP_PACKETS_MAX;
        let mut report = PacketBuf::new();
        assert!(report.fill(&[0x80, 201, 0, 1, 0, 0, 0, 7]));
        assert_eq!(sender.protect_rtcp(&mut report), Err(Error::KeyExhausted));
    }

    proptest! {
        /// A single changed bit anywhere is noticed, and changes nothing for the honest packet.
        #[test]
        fn forgeries_fail_and_leave_no_trace(
            suite in 0usize..5,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0u8..8,
            cut in any::<proptest::sample::Index>(),
        ) {
            let (mut sender, mut receiver) = pair(Suite::ALL[suite]);
            let mut packet = rtp(7, 100, &payload);
            sender.protect(&mut packet).unwrap();
            let mut forged = copy(&packet);
            let at = at.index(forged.len());
            forged.as_mut_slice()[at] ^= 1 << bit;
            prop_assert!(receiver.unprotect(&mut forged).is_err());
            let mut short = copy(&packet);
            short.truncate(cut.index(packet.len()));
            prop_assert!(receiver.unprotect(&mut short).is_err());
            prop_assert_eq!(receiver.rollovers().count(), 0);
            prop_assert_eq!(receiver.unprotect(&mut packet), Ok(100));
            prop_assert_eq!(&packet.as_slice()[12..], payload.as_slice());
        }

        #[test]
        fn no_bytes_panic(suite in 0usize..5, bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let (mut sender, mut receiver) = pair(Suite::ALL[suite]);
            let mut packet = PacketBuf::new();
            prop_assert!(packet.fill(&bytes));
            prop_assert!(receiver.unprotect(&mut copy(&packet)).is_err());
            prop_assert!(receiver.unprotect_rtcp(&mut copy(&packet)).is_err());
            let _ = sender.protect_rtcp(&mut copy(&packet));
            let _ = sender.protect(&mut packet);
        }
    }
}
