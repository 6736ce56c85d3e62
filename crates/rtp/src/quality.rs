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

/// What a codec costs in the E-model, and how well it hides a lost packet (ITU-T G.113 appendix I).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Impairment {
    pub equipment: f32,
    pub robustness: f32,
}

impl Impairment {
    /// With packet loss concealment, which every telephone of this century has.
    pub const G711: Self = Self { equipment: 0.0, robustness: 25.1 };
    /// G.729A.
    pub const G729: Self = Self { equipment: 11.0, robustness: 19.0 };
}

/// Counts one direction of one leg as its packets come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    report: Report,
    impairment: Impairment,
    stream: Option<Stream>,
    /// Of streams that ended.
    lost_before: u64,
    /// At the last RTCP report: expected and received.
    reported: (u64, u64),
}

/// A run of consecutive sequence numbers.
#[derive(Clone, Copy, Debug)]
struct Stream {
    base: u64,
    highest: u64,
    packets: u64,
    /// Arrival minus timestamp of the last audio packet, in timestamp units.
    transit: Option<u32>,
    /// In sixteenths of a timestamp unit (RFC 3550 A.8).
    jitter: u64,
    clock: u32,
}

/// One packet, as the meter sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) clock: u32,
    pub(crate) bytes: usize,
    /// A telephone event repeats its timestamp, which says nothing about the network.
    pub(crate) audio: bool,
}

/// What an RTCP block says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Interval {
    pub(crate) fraction: u8,
    pub(crate) lost: i32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            report: Report::default(),
            impairment: Impairment::G711,
            stream: None,
            lost_before: 0,
            reported: (0, 0),
        }
    }

    /// The numbering starts anew (another source, other keys): what was counted stays.
    pub(crate) fn restart(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.lost_before += stream.lost();
            self.reported = (0, 0);
        }
    }

    pub(crate) fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    pub(crate) fn duplicate(&mut self) {
        self.report.duplicates += 1;
    }

    pub(crate) fn count(&mut self, arrival: Arrival) {
        let report = &mut self.report;
        report.packets += 1;
        report.bytes += arrival.bytes as u64;
        if let Some(last) = report.last {
            report.longest_gap = report.longest_gap.max(arrival.at.since(last));
        }
        report.first = report.first.or(Some(arrival.at));
        report.last = Some(arrival.at);

        let stream = self.stream.get_or_insert(Stream {
            base: arrival.index,
            highest: arrival.index,
            packets: 0,
            transit: None,
            jitter: 0,
            clock: arrival.clock,
        });
        stream.packets += 1;
        // The first packet to arrive need not have been the first to be sent.
        stream.base = stream.base.min(arrival.index);
        if arrival.index < stream.highest {
            report.reordered += 1;
        } else {
            stream.highest = arrival.index;
        }
        if arrival.audio
            && let Some(jitter) = stream.measure(&arrival)
        {
            report.jitter = jitter;
            report.jitter_max = report.jitter_max.max(jitter);
        }
    }

    /// `round_trip` where RTCP told one.
    pub(crate) fn report(&self, round_trip: Option<Duration>) -> Report {
        let lost = self.lost_before + self.stream.map_or(0, |stream| stream.lost());
        let mut report = Report { lost, ..self.report };
        if report.packets >= Report::MOS_PACKETS_MIN {
            let loss = lost as f32 / (lost + report.packets) as f32;
            // One way, and a jitter buffer of twice the jitter beside the packet itself.
            let delay =
                round_trip.unwrap_or_default() / 2 + report.jitter * 2 + Duration::from_millis(20);
            report.mos = Some(mos(rating(self.impairment, loss, delay)));
        }
        report
    }

    /// For our RTCP block about this stream; the loss fraction counts from the last call.
    pub(crate) fn interval(&mut self) -> Option<Interval> {
        let stream = self.stream?;
        let (expected, received) = (stream.highest - stream.base + 1, stream.packets);
        let (before_expected, before_received) = self.reported;
        self.reported = (expected, received);
        let step = expected.saturating_sub(before_expected);
        let lost = step.saturating_sub(received.saturating_sub(before_received));
        let fraction = (lost << 8).checked_div(step).unwrap_or(0);
        Some(Interval {
            fraction: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: i32::try_from(stream.lost()).unwrap_or(i32::MAX),
            highest: stream.highest as u32,
            jitter: u32::try_from(stream.jitter >> 4).unwrap_or(u32::MAX),
        })
    }
}

impl Stream {
    fn lost(&self) -> u64 {
        (self.highest - self.base + 1).saturating_sub(self.packets)
    }

    fn measure(&mut self, arrival: &Arrival) -> Option<Duration> {
        if self.clock != arrival.clock {
            (self.clock, self.transit, self.jitter) = (arrival.clock, None, 0);
        }
        // 128 bits, since nanoseconds times a clock rate outgrow 64 after days.
        let units = u128::from(arrival.at.0) * u128::from(arrival.clock) / 1_000_000_000;
        let transit = (units as u32).wrapping_sub(arrival.timestamp);
        let before = self.transit.replace(transit)?;
        let step = u64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
        // A pause (hold, silence suppression with a wrong timestamp) isn't the network's doing.
        if step < u64::from(arrival.clock) {
            self.jitter = self.jitter + step - ((self.jitter + 8) >> 4);
        }
        let nanos = (self.jitter >> 4) * 1_000_000_000 / u64::from(arrival.clock.max(1));
        Some(Duration::from_nanos(nanos))
    }
}

/// The transmission rating R of ITU-T G.107 with all defaults but three: delay (in the two-slope form
/// of Cole and Rosenbluth, 2001), codec and loss (G.107 §7.6, random loss).
fn rating(codec: Impairment, loss: f32, delay: Duration) -> f32 {
    let delay = delay.as_secs_f32() * 1_000.0;
    let late = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let percent = loss * 100.0;
    let equipment =
        codec.equipment + (95.0 - codec.equipment) * percent / (percent + codec.robustness);
    93.2 - late - equipment
}

/// R as a mean opinion score (G.107 annex B).
fn mos(rating: f32) -> f32 {
    match rating {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(index: u64, at: u64) -> Arrival {
        Arrival {
            at: Instant(at * 1_000_000),
            index,
            timestamp: index as u32 * 160,
            clock: 8_000,
            bytes: 160,
            audio: true,
        }
    }

    #[test]
    fn a_perfect_call_sounds_like_g711() {
        let mut meter = Meter::new();
        (0..500).for_each(|n| meter.count(arrival(n, n * 20)));
        let report = meter.report(None);
        assert_eq!((report.packets, report.lost, report.reordered), (500, 0, 0));
        assert_eq!(
            (report.jitter, report.longest_gap),
            (Duration::ZERO, Duration::from_millis(20))
        );
        assert!((4.3..4.5).contains(&report.mos.unwrap()), "{report:?}");
    }

    #[test]
    fn loss_order_and_jitter_are_seen() {
        let mut meter = Meter::new();
        for n in (10..210).filter(|n| n % 10 != 3) {
            meter.count(arrival(n ^ u64::from(n % 10 >= 8), n * 20 + n % 2 * 5));
        }
        let report = meter.report(Some(Duration::from_millis(100)));
        assert_eq!((report.packets, report.lost), (180, 20));
        assert_eq!(report.reordered, 20);
        assert!(report.jitter > Duration::from_millis(4), "{report:?}");
        assert!((2.0..3.7).contains(&report.mos.unwrap()), "{report:?}");
        let interval = meter.interval().unwrap();
        assert_eq!((interval.fraction, interval.lost, interval.highest), (25, 20, 209));
        assert_eq!(meter.interval().unwrap().fraction, 0);
    }

    #[test]
    fn a_restart_is_no_loss() {
        let mut meter = Meter::new();
        meter.count(arrival(60_000, 0));
        meter.count(arrival(60_002, 40));
        meter.restart();
        meter.count(arrival(5, 60));
        assert_eq!((meter.report(None).lost, meter.report(None).packets), (1, 3));
        assert_eq!(meter.report(None).mos, None);
    }

    #[test]
    fn the_e_model_at_its_corners() {
        assert!((mos(93.2) - 4.41).abs() < 0.01);
        assert_eq!((mos(-5.0), mos(120.0)), (1.0, 4.5));
        let clean = rating(Impairment::G711, 0.0, Duration::ZERO);
        assert!(rating(Impairment::G729, 0.0, Duration::ZERO) < clean);
        assert!(rating(Impairment::G711, 0.0, Duration::from_millis(400)) < clean - 30.0);
        assert!(rating(Impairment::G711, 1.0, Duration::ZERO) < 20.0);
    }
}
