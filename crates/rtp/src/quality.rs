//! How a leg sounded: what was received, lost, late and repeated, and what a listener would say.

use std::time::Duration;

use pure::Instant;

/// Statistics of one direction of one leg.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Report {
    /// Authentic packets, repeated ones left out.
    pub packets: u64,
    /// Of RTP payload.
    pub bytes: u64,
    /// Never arrived, as far as the sequence numbers tell (RFC 3550 A.3).
    pub lost: u64,
    pub duplicates: u64,
    /// Arrived after a packet that was sent later.
    pub reordered: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1) when last measured.
    pub jitter: Duration,
    pub jitter_max: Duration,
    /// The longest time between two packets.
    pub longest_gap: Duration,
    pub first: Option<Instant>,
    pub last: Option<Instant>,
    /// Estimated mean opinion score, 1.0 to 4.5; `None` where fewer than
    /// [`Report::MOS_PACKETS_MIN`] packets came.
    pub mos: Option<f32>,
}

impl Report {
    /// A second of audio: less says nothing.
    pub const MOS_PACKETS_MIN: u64 = 50;
}
