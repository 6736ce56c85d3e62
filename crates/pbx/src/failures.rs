//! Failed sign-ins, counted: the first of a source is told at once, and what follows once a minute with its
//! number, the last of it too. Whoever guesses fills a line of the journal a minute, and every try is in
//! one of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use guard::fact::{AuthenticationFailure, Fact};
use guard::id::TenantId;
use guard::pii::Pii;
use guard::source::Source;
use pure::{HashSeed, Instant, Map};

/// One failed sign-in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) address: IpAddr,
    pub(crate) tenant: TenantId,
    pub(crate) reason: AuthenticationFailure,
    /// As it was given, cut.
    pub(crate) account: String,
    pub(crate) exists: bool,
}

#[derive(Debug)]
pub(crate) struct Failures {
    told: Map<Source, Told>,
    /// When those that are held back are told.
    due: BTreeSet<(Instant, Source)>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    held_back: u32,
    last: Failure,
}

impl Failures {
    /// At the bound all is forgotten, which costs a count and no memory.
    pub(crate) const SOURCES_MAX: usize = 4_096;
    pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { told: Map::new(seed), due: BTreeSet::new() }
    }

    /// The fact to be told now, if any.
    pub(crate) fn count(&mut self, now: Instant, failure: Failure) -> Option<Fact> {
        let source = Source::from(failure.address);
        if let Some(told) = self.told.get_mut(&source) {
            let due = (told.at + Self::INTERVAL, source);
            if now < due.0 {
                told.held_back = told.held_back.saturating_add(1);
                told.last = failure;
                self.due.insert(due);
                return None;
            }
            self.due.remove(&due);
            let count = told.held_back.saturating_add(1);
            let fact = failure.fact(count);
            *told = Told { at: now, held_back: 0, last: failure };
            return Some(fact);
        }
        if self.told.len() >= Self::SOURCES_MAX {
            self.told.clear();
            self.due.clear();
        }
        let fact = failure.fact(1);
        self.told.insert(source, Told { at: now, held_back: 0, last: failure });
        Some(fact)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What was held back and is due. Call it until there is nothing.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(TenantId, Fact)> {
        let due = *self.due.first().filter(|(at, _)| *at <= now)?;
        let told = self.tell(due)?;
        told.at = now;
        Some((told.last.tenant, told.last.fact(std::mem::take(&mut told.held_back))))
    }

    /// The same before its time: nobody will be there at the time.
    pub(crate) fn drain(&mut self) -> Option<(TenantId, Fact)> {
        let due = *self.due.first()?;
        let told = self.tell(due)?;
        Some((told.last.tenant, told.last.fact(std::mem::take(&mut told.held_back))))
    }

    fn tell(&mut self, due: (Instant, Source)) -> Option<&mut Told> {
        self.due.remove(&due);
        self.told.get_mut(&due.1)
    }

    /// Failures that no fact has told yet.
    pub(crate) fn held_back(&self) -> u64 {
        self.due
            .iter()
            .filter_map(|(_, source)| self.told.get(source))
            .fold(0, |sum, told| sum.saturating_add(u64::from(told.held_back)))
    }
}

impl Failure {
    fn fact(&self, failures: u32) -> Fact {
        Fact::AuthenticationFailed {
            reason: self.reason,
            failures,
            account: self.account.as_str().into(),
            account_exists: Pii::new(Some(self.exists)),
            address: self.address.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Failures {
        Failures::new(pure::Chance::from_number(1).hash_seed())
    }

    fn failure(n: u32) -> Failure {
        Failure {
            address: IpAddr::from(n.to_be_bytes()),
            tenant: TenantId::HOUSE,
            reason: AuthenticationFailure::WrongResponse,
            account: "101".to_owned(),
            exists: true,
        }
    }

    fn told(fact: Option<Fact>) -> Option<u32> {
        fact.map(|fact| match fact {
            Fact::AuthenticationFailed { failures, .. } => failures,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn every_try_is_told_the_last_ones_too() {
        let mut failures = fresh();
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        assert_eq!(told(failures.count(at(0), failure(1))), Some(1));
        assert_eq!(failures.next(), None, "one failure needs no second look");
        for second in 1..7 {
            assert_eq!(failures.count(at(second), failure(1)), None);
        }
        assert_eq!((failures.held_back(), failures.next()), (6, Some(at(60))));
        assert_eq!(failures.pop(at(59)), None);
        assert_eq!(told(failures.pop(at(60)).map(|(_, fact)| fact)), Some(6));
        assert_eq!((failures.pop(at(60)), failures.held_back()), (None, 0));
        // Whoever goes on has a line a minute.
        assert_eq!(failures.count(at(61), failure(1)), None);
        assert_eq!(told(failures.count(at(120), failure(1))), Some(2));
        assert_eq!(failures.next(), None);
        // And nothing is lost where the node goes down.
        failures.count(at(121), failure(1));
        assert_eq!(told(failures.drain().map(|(_, fact)| fact)), Some(1));
        assert_eq!(failures.drain(), None);
    }

    #[test]
    fn stays_within_its_bound() {
        let mut failures = fresh();
        for n in 0..10_000 {
            failures.count(Instant(0), failure(n));
            failures.count(Instant(1), failure(n));
        }
        assert!(failures.told.len() <= Failures::SOURCES_MAX);
        assert!(failures.due.len() <= Failures::SOURCES_MAX);
    }
}
