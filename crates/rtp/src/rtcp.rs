//! RTCP (RFC 3550 §6): reading what a phone reports, and writing our own report.

use std::time::Duration;

use pure::Utc;

use crate::PacketBuf;
use crate::packet::Malformed;

/// One packet of a compound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        sender: SenderInfo,
        blocks: Blocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: Blocks<'a>,
    },
    /// The first source that leaves; a telephone has one.
    Bye {
        ssrc: u32,
    },
    /// Descriptions, feedback, extended reports: nothing that the relay acts on.
    Other {
        kind: u8,
    },
}

/// What a sender says about its stream (§6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SenderInfo {
    /// 32 bits of seconds since 1900, 32 bits of fraction.
    pub ntp: u64,
    /// The same moment in units of the RTP timestamp.
    pub timestamp: u32,
    pub packets: u32,
    pub bytes: u32,
}

/// What a receiver says about one source (§6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Block {
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction: u8,
    /// Since the beginning; 24 bits with a sign.
    pub lost: i32,
    pub highest: u32,
    pub jitter: u32,
    /// The middle of [`SenderInfo::ntp`] in the last sender report, or zero.
    pub last_report: u32,
    /// Since then, in 65,536ths of a second.
    pub delay: u32,
}

/// The blocks of one report: at most 31.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks<'a>(&'a [u8]);

/// Our report: a sender's or a receiver's, and the description that must go with it (§6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    pub ssrc: u32,
    /// Where something was sent since the last report.
    pub sender: Option<SenderInfo>,
    pub block: Option<Block>,
    /// Printed as the canonical name: random, so that it names nobody (RFC 7022 §4.2).
    pub cname: u64,
}

/// Reads a compound packet, already decrypted. The whole is checked before anything is returned:
/// each packet lies inside, and the first is a report (§6.1, §A.2).
pub fn parse(compound: &[u8]) -> Result<impl Iterator<Item = Packet<'_>>, Malformed> {
    let mut rest = compound;
    let mut first = true;
    while !rest.is_empty() {
        let (kind, _, behind) = split(rest)?;
        if first && !matches!(kind, SENDER_REPORT | RECEIVER_REPORT) {
            return Err(Malformed);
        }
        read(rest)?;
        (first, rest) = (false, behind);
    }
    if first {
        return Err(Malformed);
    }
    let mut rest = compound;
    Ok(std::iter::from_fn(move || {
        let (_, _, behind) = split(rest).ok()?;
        let packet = read(rest).ok();
        rest = behind;
        packet
    }))
}

impl Blocks<'_> {
    pub fn iter(&self) -> impl Iterator<Item = Block> + '_ {
        self.0.as_chunks::<BLOCK_LEN>().0.iter().map(|bytes| {
            let word = |at: usize| {
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            Block {
                ssrc: word(0),
                fraction: bytes[4],
                // Sign-extended from 24 bits.
                lost: (word(4) << 8) as i32 >> 8,
                highest: word(8),
                jitter: word(12),
                last_report: word(16),
                delay: word(20),
            }
        })
    }
}

impl Report {
    /// Writes the compound packet: a report and a description.
    pub fn build(&self, packet: &mut PacketBuf) {
        let mut bytes = [0; REPORT_MAX];
        let mut len = 0;
        let mut put = |part: &[u8]| {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        };
        let kind = if self.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        let words = 1
            + if self.sender.is_some() { 5 } else { 0 }
            + if self.block.is_some() { 6 } else { 0 };
        put(&[0x80 | u8::from(self.block.is_some()), kind, 0, words]);
        put(&self.ssrc.to_be_bytes());
        if let Some(sender) = &self.sender {
            put(&sender.ntp.to_be_bytes());
            put(&sender.timestamp.to_be_bytes());
            put(&sender.packets.to_be_bytes());
            put(&sender.bytes.to_be_bytes());
        }
        if let Some(block) = &self.block {
            put(&block.ssrc.to_be_bytes());
            let lost = block.lost.clamp(-(1 << 23), (1 << 23) - 1).to_be_bytes();
            put(&[block.fraction, lost[1], lost[2], lost[3]]);
            put(&block.highest.to_be_bytes());
            put(&block.jitter.to_be_bytes());
            put(&block.last_report.to_be_bytes());
            put(&block.delay.to_be_bytes());
        }
        // One chunk: source, item CNAME (1) of 16 bytes, two zeros to the word's end.
        put(&[0x81, DESCRIPTION, 0, 6]);
        put(&self.ssrc.to_be_bytes());
        put(&[1, 16]);
        for byte in self.cname.to_be_bytes() {
            put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        put(&[0, 0]);
        assert!(packet.fill(&bytes[..len]), "a report is shorter than a datagram");
    }
}

/// The NTP timestamp of a moment (RFC 3550 §4): it wraps in 2036 as everybody's does.
pub fn ntp(utc: Utc) -> u64 {
    let seconds = (utc.seconds() + SECONDS_1900_TO_1970) as u64;
    let micros = utc.0.rem_euclid(1_000_000) as u64;
    (seconds << 32) | ((micros << 32) / 1_000_000)
}

/// The middle 32 bits: what a block repeats.
pub fn short_ntp(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// In 65,536ths of a second, as blocks count delays.
pub fn short_duration(span: Duration) -> u32 {
    u32::try_from((span.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// The round trip that a block about our stream tells (§6.4.1), or `None` where it names no report
/// or would be longer than any call's.
pub fn round_trip(now: u64, block: &Block) -> Option<Duration> {
    if block.last_report == 0 {
        return None;
    }
    let units = short_ntp(now).wrapping_sub(block.last_report).wrapping_sub(block.delay);
    (units < ROUND_TRIP_MAX).then(|| Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16))
}

/// The type, the body and what follows the first packet.
fn split(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Malformed> {
    let (&[flags, kind, high, low], _) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    let len = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    if flags >> 6 != 2 || len > bytes.len() {
        return Err(Malformed);
    }
    Ok((kind, &bytes[4..len], &bytes[len..]))
}

fn read(bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (kind, body, _) = split(bytes)?;
    let count = usize::from(bytes[0] & 0x1f);
    let ssrc = |body: &[u8]| body.first_chunk().copied().map(u32::from_be_bytes).ok_or(Malformed);
    let blocks =
        |from: usize| body.get(from..from + count * BLOCK_LEN).map(Blocks).ok_or(Malformed);
    Ok(match kind {
        SENDER_REPORT => {
            let (info, _) =
                body.get(4..).and_then(|b| b.split_first_chunk::<20>()).ok_or(Malformed)?;
            let word = |at: usize| {
                u32::from_be_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
            };
            let sender = SenderInfo {
                ntp: u64::from(word(0)) << 32 | u64::from(word(4)),
                timestamp: word(8),
                packets: word(12),
                bytes: word(16),
            };
            Packet::SenderReport { ssrc: ssrc(body)?, sender, blocks: blocks(24)? }
        }
        RECEIVER_REPORT => Packet::ReceiverReport { ssrc: ssrc(body)?, blocks: blocks(4)? },
        BYE if count > 0 => Packet::Bye { ssrc: ssrc(body)? },
        kind => Packet::Other { kind },
    })
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const BLOCK_LEN: usize = 24;

/// Sender report with one block (52), description (28).
const REPORT_MAX: usize = 80;

/// A minute, in 65,536ths of a second: more is a clock that was set, or a lie.
const ROUND_TRIP_MAX: u32 = 60 << 16;

const SECONDS_1900_TO_1970: i64 = 2_208_988_800;

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_report_is_read_again() {
        let block = Block {
            ssrc: 9,
            fraction: 12,
            lost: -3,
            highest: 0x1_0002,
            jitter: 40,
            last_report: 7,
            delay: 8,
        };
        let sender = SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: 5, packets: 6, bytes: 7 };
        let mut packet = PacketBuf::new();
        for (sender, block) in
            [(Some(sender), Some(block)), (None, Some(block)), (Some(sender), None), (None, None)]
        {
            Report { ssrc: 1, sender, block, cname: 0xab }.build(&mut packet);
            assert!(crate::packet::is_rtcp(packet.as_slice()));
            let packets: Vec<_> = parse(packet.as_slice()).unwrap().collect();
            let (found, blocks) = match packets[0] {
                Packet::SenderReport { ssrc: 1, sender, blocks } => (Some(sender), blocks),
                Packet::ReceiverReport { ssrc: 1, blocks } => (None, blocks),
                other => panic!("{other:?}"),
            };
            assert_eq!((found, blocks.iter().next()), (sender, block));
            assert_eq!(packets[1..], [Packet::Other { kind: 202 }]);
        }
    }

    #[test]
    fn compounds_that_are_refused() {
        for bytes in [
            &[][..],
            &[0x80, 201, 0, 1, 0, 0, 0],               // cut
            &[0x81, 201, 0, 1, 0, 0, 0, 1],            // a block that isn't there
            &[0x81, 203, 0, 1, 0, 0, 0, 1],            // starts with a BYE
            &[0x40, 201, 0, 1, 0, 0, 0, 1],            // version 1
            &[0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 203], // cut second
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn times() {
        let utc = Utc(1_500_000);
        assert_eq!(ntp(utc), 2_208_988_801 << 32 | 1 << 31);
        let block = Block {
            last_report: short_ntp(ntp(utc)),
            delay: short_duration(Duration::from_secs(2)),
            ..Block::default()
        };
        let later = utc + Duration::from_millis(2_250);
        assert_eq!(round_trip(ntp(later), &block), Some(Duration::from_millis(250)));
        assert_eq!(round_trip(ntp(utc), &block), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut bytes = bytes;
            if let [flags, kind, ..] = bytes.as_mut_slice() {
                (*flags, *kind) = (*flags & 0x3f | 0x80, 200 + *kind % 4);
            }
            if let Ok(packets) = parse(&bytes) {
                for packet in packets {
                    if let Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } = packet {
                        prop_assert!(blocks.iter().count() < 32);
                    }
                }
            }
        }
    }
}
