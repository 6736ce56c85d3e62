//! The RTP header (RFC 3550 §5.1): read with every bound checked, and written in place.

use crate::PacketBuf;

/// A header that lies inside its packet, with its contributing sources and its extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Bytes before the payload.
    pub len: usize,
    /// The last byte of the payload counts padding (§5.1). In SRTP it is encrypted, so it is read
    /// after decryption only.
    pub padded: bool,
}

/// Not RTP, or not RTCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl Header {
    /// The fixed part.
    pub const LEN: usize = 12;

    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let (fixed, rest) = packet.split_first_chunk::<{ Self::LEN }>().ok_or(Malformed)?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if flags >> 6 != 2 {
            return Err(Malformed);
        }
        let mut len = Self::LEN + 4 * usize::from(flags & 0x0f);
        if flags & 0x10 != 0 {
            // §5.3.1: sixteen bits of profile, sixteen bits that count 32-bit words.
            let at = len - Self::LEN;
            let words = rest.get(at + 2..at + 4).ok_or(Malformed)?;
            len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if len > packet.len() {
            return Err(Malformed);
        }
        Ok(Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            len,
            padded: flags & 0x20 != 0,
        })
    }

    /// The payload without its padding. `packet` is the one that was parsed, decrypted.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let payload = packet.get(self.len..).ok_or(Malformed)?;
        if !self.padded {
            return Ok(payload);
        }
        let count = usize::from(*payload.last().ok_or(Malformed)?);
        if count == 0 || count > payload.len() {
            return Err(Malformed);
        }
        Ok(&payload[..payload.len() - count])
    }

    /// Writes the fixed header into the first twelve bytes: no padding, extension or sources.
    pub fn write(&self, packet: &mut [u8; Self::LEN]) {
        packet[0] = 0x80;
        packet[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }

    /// A whole packet. False, and the buffer empty, where it doesn't fit. [`Header::len`] and
    /// [`Header::padded`] are not looked at.
    #[must_use]
    pub fn build(&self, payload: &[u8], packet: &mut PacketBuf) -> bool {
        let mut fixed = [0; Self::LEN];
        self.write(&mut fixed);
        if Self::LEN + payload.len() > PacketBuf::RECEIVE_MAX {
            packet.clear();
            return false;
        }
        packet.fill(&fixed) && packet.extend(payload)
    }

    /// Replaces this header by `fresh`, in place: sources, extension and padding disappear.
    pub(crate) fn replace(
        &self,
        fresh: &Self,
        payload_len: usize,
        packet: &mut PacketBuf,
    ) -> Result<(), Malformed> {
        packet.truncate(self.len + payload_len);
        packet.skip(self.len - Self::LEN);
        fresh.write(packet.as_mut_slice().first_chunk_mut().ok_or(Malformed)?);
        Ok(())
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a media packet")
    }
}

impl std::error::Error for Malformed {}

/// Whether a packet on a shared port is RTCP (RFC 5761 §4): types 192 to 223, where no payload
/// number may lie.
pub fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet.get(1), Some(192..=223))
}

/// Whether a payload number would be read as RTCP on a shared port (RFC 5761 §4).
pub fn collides_with_rtcp(payload_type: u8) -> bool {
    matches!(payload_type, 64..=95)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_with_everything() {
        let packet = [
            0xb1, 0x80, 0x12, 0x34, 0, 0, 0, 9, 0xca, 0xfe, 0xba,
            0xbe, // P, X, one source, marker
            1, 2, 3, 4, // the source
            0xbe, 0xde, 0, 1, 5, 5, 5, 5, // an extension of one word
            b'h', b'i', 0, 0, 3,
        ];
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.marker, header.payload_type, header.sequence), (true, 0, 0x1234));
        assert_eq!((header.timestamp, header.ssrc, header.len), (9, 0xcafe_babe, 24));
        assert_eq!(header.payload(&packet), Ok(&b"hi"[..]));
    }

    #[test]
    fn what_is_cut_is_refused() {
        let whole = [0x91, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 0, 0, 0, 1, 5, 5, 5, 5];
        assert!(Header::parse(&whole).is_ok());
        for len in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..len]), Err(Malformed), "{len}");
        }
        let mut version = whole;
        version[0] = 0x51;
        assert_eq!(Header::parse(&version), Err(Malformed));
    }

    #[test]
    fn padding_stays_inside_the_payload() {
        let check = |tail: &[u8]| {
            let mut packet = vec![0xa0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
            packet.extend(tail);
            let header = Header::parse(&packet).unwrap();
            header.payload(&packet).map(<[u8]>::len)
        };
        assert_eq!(check(&[1, 2, 1]), Ok(2));
        assert_eq!(check(&[1, 2, 3]), Ok(0));
        assert_eq!(check(&[1, 2, 4]), Err(Malformed));
        assert_eq!(check(&[1, 2, 0]), Err(Malformed));
        assert_eq!(check(&[]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
                if let Ok(payload) = header.payload(&bytes) {
                    let mut packet = PacketBuf::new();
                    prop_assert!(header.build(payload, &mut packet));
                    let again = Header::parse(packet.as_slice()).unwrap();
                    prop_assert_eq!(again, Header { len: 12, padded: false, ..header });
                    prop_assert_eq!(again.payload(packet.as_slice()), Ok(payload));
                }
            }
        }
    }
}
