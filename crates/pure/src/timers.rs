//! Deadlines of an engine, ordered, each with a key that says why it will wake.

use std::collections::BTreeMap;

use crate::Instant;

/// The deadlines of one engine. `K` names what to do (`Timer::B(transaction)`), so a trace can say
/// why the engine woke.
///
/// Setting and cancelling cost a logarithm of the deadlines pending, and a cancelled deadline leaves
/// at once: memory follows the engine's own bounds. Equal deadlines fire in the order they were set.
#[derive(Debug)]
pub struct Timers<K> {
    pending: BTreeMap<TimerId, K>,
    sequence: u64,
}

/// A handle to cancel with. It names the deadline too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId {
    at: Instant,
    sequence: u64,
}

impl<K> Timers<K> {
    pub fn new() -> Self {
        Self { pending: BTreeMap::new(), sequence: 0 }
    }

    pub fn set(&mut self, at: Instant, key: K) -> TimerId {
        self.sequence += 1;
        let id = TimerId { at, sequence: self.sequence };
        self.pending.insert(id, key);
        id
    }

    /// What was pending, or `None` where it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        self.pending.remove(&id)
    }

    /// The next deadline: what an engine returns from `poll_timeout`.
    pub fn next(&self) -> Option<Instant> {
        self.pending.first_key_value().map(|(id, _)| id.at)
    }

    /// The earliest key whose deadline has come; call until `None`.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let first = self.pending.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl TimerId {
    pub fn at(&self) -> Instant {
        self.at
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_and_forgets_the_cancelled() {
        let mut timers = Timers::new();
        timers.set(Instant(20), "b");
        let gone = timers.set(Instant(10), "cancelled");
        timers.set(Instant(10), "a");
        assert_eq!(timers.cancel(gone), Some("cancelled"));
        assert_eq!(timers.cancel(gone), None);
        assert_eq!(timers.next(), Some(Instant(10)));
        assert_eq!(timers.pop(Instant(9)), None);
        assert_eq!(timers.pop(Instant(25)), Some("a"));
        assert_eq!(timers.pop(Instant(25)), Some("b"));
        assert!(timers.is_empty());
    }
}
