//! Saying a thing once: repeated facts are counted and told at intervals, not one by one.
//!
//! Whoever is attacked writes a fact for each attempt, and the journal becomes the attack. So the
//! first event of a key is told at once, the rest are counted, and the next one after `interval` is
//! told with their number.

use std::hash::Hash;
use std::time::Duration;

use pure::{HashSeed, Instant, Map};

/// At most one event a key and interval passes. Holds [`Throttle::KEYS_MAX`] keys at the most; at
/// the bound all is forgotten, which costs a few facts too many and no memory.
#[derive(Debug)]
pub struct Throttle<K> {
    interval: Duration,
    last: Map<K, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    held_back: u64,
}

impl<K: Eq + Hash> Throttle<K> {
    pub const KEYS_MAX: usize = 4_096;

    pub fn new(interval: Duration, seed: HashSeed) -> Self {
        Self { interval, last: Map::new(seed) }
    }

    /// Whether to tell this event now: then how many it stands for, itself included.
    pub fn admit(&mut self, now: Instant, key: K) -> Option<u64> {
        if let Some(told) = self.last.get_mut(&key) {
            if now.since(told.at) < self.interval {
                told.held_back += 1;
                return None;
            }
            let count = told.held_back + 1;
            *told = Told { at: now, held_back: 0 };
            return Some(count);
        }
        if self.last.len() >= Self::KEYS_MAX {
            self.last.clear();
        }
        self.last.insert(key, Told { at: now, held_back: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pure::Chance;

    #[test]
    fn tells_the_first_and_then_the_number() {
        let mut throttle =
            Throttle::new(Duration::from_secs(60), Chance::from_number(1).hash_seed());
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        assert_eq!(throttle.admit(at(0), "a"), Some(1));
        assert_eq!(throttle.admit(at(1), "a"), None);
        assert_eq!(throttle.admit(at(2), "a"), None);
        assert_eq!(throttle.admit(at(2), "b"), Some(1));
        assert_eq!(throttle.admit(at(60), "a"), Some(3));
    }

    #[test]
    fn stays_within_its_bound() {
        let mut throttle =
            Throttle::new(Duration::from_secs(60), Chance::from_number(1).hash_seed());
        for key in 0..3 * Throttle::<usize>::KEYS_MAX {
            throttle.admit(Instant(0), key);
        }
        assert!(throttle.last.len() <= Throttle::<usize>::KEYS_MAX);
    }
}
