//! Sources that are somebody's: a carrier, phones that are registered there, a success lately.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pure::Instant;

use super::ban::Protected;
use crate::id::ExtensionId;
use crate::source::Source;

#[derive(Debug, Default)]
pub(super) struct Standings {
    carriers: BTreeSet<Source>,
    known: BTreeMap<Source, Standing>,
    /// The sources of `known` by the time at which they are forgotten.
    ends: BTreeSet<(Instant, Source)>,
}

#[derive(Debug, Default)]
struct Standing {
    bindings: usize,
    /// Whose success it was, and until when it counts. A few are enough to stand on.
    successes: Vec<(ExtensionId, Instant)>,
}

impl Standings {
    pub(super) fn of(&self, source: Source) -> Option<Protected> {
        if source.ip().is_loopback() {
            return Some(Protected::Ourselves);
        }
        if self.carriers.contains(&source) {
            return Some(Protected::Carrier);
        }
        let standing = self.known.get(&source)?;
        match standing.bindings {
            0 => Some(Protected::SignedIn),
            phones => Some(Protected::Phones(phones)),
        }
    }

    /// The carriers' addresses as they are now; what is new and what is gone.
    pub(super) fn carriers(&mut self, carriers: BTreeSet<Source>) -> Vec<Source> {
        let changed = self.carriers.symmetric_difference(&carriers).copied().collect();
        self.carriers = carriers;
        changed
    }

    pub(super) fn succeeded(&mut self, source: Source, extension: ExtensionId, until: Instant) {
        if !self.known.contains_key(&source) && self.known.len() >= SOURCES_MAX {
            self.forget_oldest();
        }
        let end = self.end(source);
        let standing = self.known.entry(source).or_default();
        match standing.successes.iter_mut().find(|(known, _)| *known == extension) {
            Some((_, known)) => *known = until.max(*known),
            None => {
                if standing.successes.len() >= SUCCESSES_MAX
                    && let Some(oldest) =
                        standing.successes.iter().enumerate().min_by_key(|(_, (_, at))| *at)
                {
                    let oldest = oldest.0;
                    standing.successes.swap_remove(oldest);
                }
                standing.successes.push((extension, until));
            }
        }
        self.moved(source, end);
    }

    pub(super) fn bound(&mut self, source: Source) {
        let end = self.end(source);
        self.known.entry(source).or_default().bindings += 1;
        self.moved(source, end);
    }

    pub(super) fn unbound(&mut self, source: Source) {
        let end = self.end(source);
        if let Some(standing) = self.known.get_mut(&source) {
            standing.bindings = standing.bindings.saturating_sub(1);
        }
        self.moved(source, end);
    }

    /// A success of this extension counts no more: its secret was replaced, or it is gone. The sources
    /// that lost something.
    pub(super) fn disown(&mut self, extension: ExtensionId) -> Vec<Source> {
        let has = |standing: &Standing| standing.successes.iter().any(|(of, _)| *of == extension);
        let found = self.known.iter().filter(|(_, standing)| has(standing));
        let sources: Vec<Source> = found.map(|(source, _)| *source).collect();
        for source in &sources {
            let end = self.end(*source);
            if let Some(standing) = self.known.get_mut(source) {
                standing.successes.retain(|(of, _)| *of != extension);
            }
            self.moved(*source, end);
        }
        sources
    }

    /// The next source that nobody has signed in from for too long; call until `None`.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Source> {
        let (end, source) = *self.ends.first()?;
        if end > now {
            return None;
        }
        self.ends.remove(&(end, source));
        self.known.remove(&source);
        Some(source)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// When it is forgotten; `None` while a phone is registered there, or where it isn't known.
    fn end(&self, source: Source) -> Option<Instant> {
        let standing = self.known.get(&source).filter(|standing| standing.bindings == 0)?;
        standing.successes.iter().map(|(_, until)| *until).max()
    }

    fn moved(&mut self, source: Source, before: Option<Instant>) {
        if let Some(before) = before {
            self.ends.remove(&(before, source));
        }
        match self.end(source) {
            Some(end) => {
                self.ends.insert((end, source));
            }
            None if self.known.get(&source).is_some_and(|known| known.bindings == 0) => {
                self.known.remove(&source);
            }
            None => {}
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, source)) = self.ends.pop_first() {
            self.known.remove(&source);
        }
    }
}

/// Sources with standing but without a phone that is registered there now. Each took a right secret; at the
/// bound the one whose last success is oldest is a stranger again. Sources of registered phones are as
/// many as phones.
pub(super) const SOURCES_MAX: usize = 65_536;
/// Extensions of one source whose success is remembered.
const SUCCESSES_MAX: usize = 8;
/// A success counts for so long: the time for which a device without a proof may call for help, too.
pub const STANDING: Duration = Duration::from_secs(30 * 24 * 3_600);
