//! How often somebody may be refused in writing, and ring the house.
//!
//! Whoever holds a stolen secret can be refused a thousand times a second, and each refusal is a
//! record, a decision and a line of the journal. Beyond a rate they are only counted.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

use guard::id::{CallId, ExtensionId};
use guard::source::Source;
use pure::{HashSeed, Instant, Map};

/// Events of each key within a minute. Holds [`KEYS_MAX`] of them at the most; at the bound all is
/// forgotten, which costs a few lines too many and no memory.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    minutes: Map<K, Minute>,
    minute_max: u32,
}

#[derive(Debug)]
struct Minute {
    since: Instant,
    events: u32,
}

/// Refusals of an extension that are written down. A person who is refused tries a few times; a machine, thousands.
pub(crate) const REFUSALS_MAX: u32 = 30;
/// Changes of who is registered, by one extension from one address. A phone on a bad line comes back every few seconds.
pub(crate) const REGISTRATIONS_MAX: u32 = 60;
const KEYS_MAX: usize = 4_096;

impl<K: Eq + Hash> Pace<K> {
    pub(crate) fn new(minute_max: u32, seed: HashSeed) -> Self {
        Self { minutes: Map::new(seed), minute_max }
    }

    /// Whether this minute has had its events.
    pub(crate) fn is_full(&self, now: Instant, key: &K) -> bool {
        self.minutes.get(key).is_some_and(|minute| {
            now.since(minute.since) < MINUTE && minute.events >= self.minute_max
        })
    }

    pub(crate) fn count(&mut self, now: Instant, key: K) {
        if let Some(minute) = self.minutes.get_mut(&key)
            && now.since(minute.since) < MINUTE
        {
            minute.events = minute.events.saturating_add(1);
            return;
        }
        if self.minutes.len() >= KEYS_MAX {
            self.minutes.clear();
        }
        self.minutes.insert(key, Minute { since: now, events: 1 });
    }
}

/// Calls for help of whoever is known by its address alone: anybody behind that address, a guest in the office too.
/// One at a time and a few in ten minutes are enough to be heard; beyond them a secret is asked for.
#[derive(Debug, Default)]
pub(crate) struct Unproved(BTreeMap<Source, Asked>);

#[derive(Debug)]
struct Asked {
    /// At the most [`Unproved::CALLS_MAX`].
    at: Vec<Instant>,
    /// The last one.
    call: CallId,
}

impl Unproved {
    pub(crate) const CALLS_MAX: usize = 3;
    pub(crate) const WITHIN: Duration = Duration::from_secs(600);
    /// Each is a place where a phone registered, and has shown that it is there. At the bound the one that was
    /// quiet the longest begins anew.
    pub(crate) const SOURCES_MAX: usize = 4_096;

    /// Whether one more may be made, which is then counted. `is_up`: whether a call still is.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        source: Source,
        call: CallId,
        is_up: impl Fn(CallId) -> bool,
    ) -> bool {
        if !self.0.contains_key(&source) && self.0.len() >= Self::SOURCES_MAX {
            let quiet = self.0.iter().min_by_key(|(_, asked)| (is_up(asked.call), asked.at.last()));
            let quiet = quiet.map(|(source, _)| *source);
            quiet.and_then(|source| self.0.remove(&source));
        }
        let asked = self.0.entry(source).or_insert(Asked { at: Vec::new(), call });
        asked.at.retain(|at| now.since(*at) < Self::WITHIN);
        if asked.at.len() >= Self::CALLS_MAX || asked.call != call && is_up(asked.call) {
            return false;
        }
        asked.at.push(now);
        asked.call = call;
        true
    }

    /// Whether this call is one of them.
    pub(crate) fn holds(&self, call: CallId) -> bool {
        self.0.values().any(|asked| asked.call == call)
    }
}

/// How many phones of the house one extension may have rung lately, each phone that rings counting. A
/// stolen secret that redials a busy neighbour would else take the ports and the time of everybody;
/// somebody who transfers calls all day rings a phone every few seconds.
#[derive(Debug)]
pub(crate) struct Ringing(Map<ExtensionId, Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u64,
    filled: Instant,
}

impl Ringing {
    /// Rung at once.
    pub(crate) const BURST: u64 = 20;
    /// One more each of these: sixty a minute.
    pub(crate) const EACH: Duration = Duration::from_secs(1);

    pub(crate) fn new(seed: HashSeed) -> Self {
        Self(Map::new(seed))
    }

    /// Whether so many more phones may ring. What an extension of many phones asks for at once is never
    /// more than [`Self::BURST`].
    pub(crate) fn takes(&mut self, now: Instant, extension: ExtensionId, phones: usize) -> bool {
        let wanted = u64::try_from(phones).unwrap_or(u64::MAX).min(Self::BURST);
        if self.0.len() >= KEYS_MAX {
            self.0.clear();
        }
        let full = || Bucket { left: Self::BURST, filled: now };
        let bucket = self.0.get_or_insert_with(extension, full);
        let more = now.since(bucket.filled).as_secs() / Self::EACH.as_secs();
        if more > 0 {
            bucket.left = bucket.left.saturating_add(more).min(Self::BURST);
            bucket.filled += Self::EACH * u32::try_from(more).unwrap_or(u32::MAX);
        }
        let may = bucket.left >= wanted;
        if may {
            bucket.left -= wanted;
        }
        may
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use pure::Chance;

    #[test]
    fn thirty_refusals_a_minute_are_written_down() {
        let mut pace = Pace::new(REFUSALS_MAX, Chance::from_number(1).hash_seed());
        let (alice, bob) = (ExtensionId(1), ExtensionId(2));
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        let written = |pace: &mut Pace<ExtensionId>, from: u64| {
            let tries = (0..100).filter(|_| {
                let full = pace.is_full(at(from), &alice);
                pace.count(at(from), alice);
                !full
            });
            tries.count()
        };
        assert_eq!(written(&mut pace, 0), 30);
        assert!(!pace.is_full(at(1), &bob));
        assert_eq!(written(&mut pace, 59), 0);
        assert_eq!(written(&mut pace, 60), 30);
    }

    #[test]
    fn twenty_phones_at_once_and_sixty_a_minute() {
        let mut ringing = Ringing::new(Chance::from_number(1).hash_seed());
        let (alice, bob) = (ExtensionId(1), ExtensionId(2));
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        let rung = (0..1_000).filter(|n| ringing.takes(at(n / 100), alice, 1)).count();
        assert_eq!(rung, 20 + 9);
        assert!(ringing.takes(at(10), bob, 8));
        // Somebody who transfers calls rings two phones every three seconds, for an hour.
        assert!((40..1_240).all(|n| ringing.takes(at(n * 3), alice, 2)));
    }

    #[test]
    fn an_address_has_one_call_for_help_at_a_time_and_three_in_ten_minutes() {
        let mut unproved = Unproved::default();
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        let (office, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let source = |address: [u8; 4]| Source::from(std::net::IpAddr::from(address));
        let up = |up: u128| move |call: CallId| call == CallId(up);
        assert!(unproved.admit(at(0), source(office), CallId(1), up(0)));
        assert!(unproved.holds(CallId(1)));
        assert!(!unproved.admit(at(1), source(office), CallId(2), up(1)));
        assert!(unproved.admit(at(1), source(other), CallId(3), up(1)), "elsewhere");
        assert!(unproved.admit(at(2), source(office), CallId(4), up(0)));
        assert!(unproved.admit(at(3), source(office), CallId(5), up(0)));
        assert!(!unproved.admit(at(4), source(office), CallId(6), up(0)));
        assert!(unproved.admit(at(601), source(office), CallId(7), up(0)));
        assert!(!unproved.holds(CallId(5)) && unproved.holds(CallId(7)));
        for n in 0..3 * u32::try_from(Unproved::SOURCES_MAX).expect("few") {
            let source = Source::from(std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(n)));
            assert!(unproved.admit(at(700), source, CallId(100 + u128::from(n)), up(7)));
        }
        assert!(unproved.0.len() <= Unproved::SOURCES_MAX);
        assert!(unproved.holds(CallId(7)), "what is up isn't forgotten");
    }
}
