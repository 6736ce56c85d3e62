//! How often somebody may be refused in writing.
//!
//! Whoever holds a stolen secret can be refused a thousand times a second, and each refusal is a
//! record, a decision and a line of the journal. Beyond a rate they are only counted.

use std::time::Duration;

use guard::id::ExtensionId;
use pure::{HashSeed, Instant, Map};

/// Refusals of each extension within a minute. Holds [`Pace::EXTENSIONS_MAX`] of them at the most; at
/// the bound all is forgotten, which costs a few lines too many and no memory.
#[derive(Debug)]
pub(crate) struct Pace(Map<ExtensionId, Minute>);

#[derive(Debug)]
struct Minute {
    since: Instant,
    refusals: u32,
}

impl Pace {
    pub(crate) const EXTENSIONS_MAX: usize = 4_096;
    /// A person who is refused tries a few times; a machine, thousands.
    pub(crate) const MINUTE_MAX: u32 = 30;

    pub(crate) fn new(seed: HashSeed) -> Self {
        Self(Map::new(seed))
    }

    /// Whether a further refusal of this extension is only to be counted.
    pub(crate) fn is_full(&self, now: Instant, extension: ExtensionId) -> bool {
        self.0.get(&extension).is_some_and(|minute| {
            now.since(minute.since) < MINUTE && minute.refusals >= Self::MINUTE_MAX
        })
    }

    pub(crate) fn count(&mut self, now: Instant, extension: ExtensionId) {
        if let Some(minute) = self.0.get_mut(&extension)
            && now.since(minute.since) < MINUTE
        {
            minute.refusals = minute.refusals.saturating_add(1);
            return;
        }
        if self.0.len() >= Self::EXTENSIONS_MAX {
            self.0.clear();
        }
        self.0.insert(extension, Minute { since: now, refusals: 1 });
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use pure::Chance;

    #[test]
    fn thirty_refusals_a_minute_are_written_down() {
        let mut pace = Pace::new(Chance::from_number(1).hash_seed());
        let (alice, bob) = (ExtensionId(1), ExtensionId(2));
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        let written = |pace: &mut Pace, from: u64| {
            let tries = (0..100).filter(|_| {
                let full = pace.is_full(at(from), alice);
                pace.count(at(from), alice);
                !full
            });
            tries.count()
        };
        assert_eq!(written(&mut pace, 0), 30);
        assert!(!pace.is_full(at(1), bob));
        assert_eq!(written(&mut pace, 59), 0);
        assert_eq!(written(&mut pace, 60), 30);
    }
}
