//! A slow lane: so many at once, then one at a time.

use std::time::Duration;

use pure::Instant;

#[derive(Debug)]
pub(super) struct Lane {
    most: u32,
    every: Duration,
    left: u32,
    /// The last one came in then.
    filled: Instant,
}

impl Lane {
    pub(super) fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self { most, every, left: most, filled: now }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self.left < self.most && now.since(self.filled) >= self.every {
            self.filled += self.every;
            self.left += 1;
        }
        if self.left == self.most {
            self.filled = now;
        }
        let passes = self.left > 0;
        self.left -= u32::from(passes);
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_at_once_and_then_one_at_a_time() {
        let minute = Duration::from_secs(60);
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        let mut lane = Lane::new(6, minute, at(0));
        let passed = |lane: &mut Lane, now| (0..100).filter(|_| lane.take(at(now))).count();
        assert_eq!(passed(&mut lane, 10), 6);
        assert_eq!(passed(&mut lane, 69), 0);
        assert_eq!(passed(&mut lane, 70), 1);
        assert_eq!(passed(&mut lane, 250), 3);
        assert_eq!(passed(&mut lane, 100_000), 6);
    }
}
