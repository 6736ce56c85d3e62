//! Sounds that test phones make: 16-bit samples at 8 kHz.

use std::f32::consts::TAU;

/// Samples a second.
pub const RATE: u32 = 8_000;

/// Samples in a packet of 20 ms.
pub const PACKET: usize = 160;

/// A sine that goes on for ever. The phase is a 32-bit fraction of a turn, so it neither drifts nor
/// loses precision however long it runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sine {
    phase: u32,
    step: u32,
    amplitude: f32,
}

/// Nothing, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence;

impl Sine {
    /// `hertz` below 4,000, the most that 8 kHz carry (above, it folds back); `amplitude` up to
    /// 32,767.
    pub fn new(hertz: u16, amplitude: i16) -> Self {
        let step = (u64::from(hertz) << 32) / u64::from(RATE);
        Self { phase: 0, step: step as u32, amplitude: f32::from(amplitude) }
    }
}

impl Iterator for Sine {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        let turn = self.phase as f32 / (u32::MAX as f32 + 1.0);
        self.phase = self.phase.wrapping_add(self.step);
        // A float that is out of range becomes the nearest integer.
        Some(((turn * TAU).sin() * self.amplitude).round() as i16)
    }
}

impl Iterator for Silence {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_has_its_frequency_and_amplitude() {
        let samples: Vec<i16> = Sine::new(440, 10_000).take(RATE as usize * 60).collect();
        let rises = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!(rises.abs_diff(440 * 60) <= 1, "{rises}");
        let peak = samples.iter().max().unwrap();
        assert!((9_990..=10_000).contains(peak), "{peak}");
        assert!(Silence.take(PACKET).all(|sample| sample == 0));
    }
}
