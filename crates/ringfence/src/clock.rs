//! The two clocks of the machine as the pure crates want them, and its randomness.

use std::time::{Duration, SystemTime};

use pure::{Chance, Instant, Now, Utc};

/// Copies agree with each other: one is made at start and handed to every thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A clock before 1970 is no clock; a machine without one starts there and is set later.
        let micros = since_epoch.unwrap_or_default().as_micros();
        Now {
            instant: Instant::default() + self.origin.elapsed(),
            utc: Utc(i64::try_from(micros).unwrap_or(i64::MAX)),
        }
    }

    /// How long until `deadline`; zero where it has come.
    pub(crate) fn until(&self, deadline: Instant) -> Duration {
        deadline.since(self.now().instant)
    }
}

/// A stream seeded with the operating system's randomness.
pub(crate) fn chance() -> Chance {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("the system's randomness is there once it has booted");
    Chance::from_seed(seed)
}
