//! What one source has asked for: many accounts are worse than many tries.

use std::sync::Arc;
use std::time::Duration;

use pure::Instant;

use super::lane::Lane;
use super::pair::PEACE;

#[derive(Debug, Default)]
pub(super) struct Suspect {
    last: Instant,
    /// Accounts it failed for within the hour, and when last.
    failed: Vec<(Arc<str>, Instant)>,
    /// Accounts it asked for without credentials and was challenged for, and when first.
    asked: Vec<(Arc<str>, Instant)>,
    spraying: Option<Spraying>,
    scanning: Option<Instant>,
    /// When it last called itself an attack tool.
    tool: Option<Instant>,
    /// Bans in a row.
    pub(super) bans: u32,
}

/// It sprays, and can't be shut out: its unknown devices wait.
#[derive(Debug)]
struct Spraying {
    since: Instant,
    until: Instant,
    lane: Lane,
}

impl Suspect {
    /// Counts a failure. The number of accounts, where it became too many just now.
    pub(super) fn failed(&mut self, now: Instant, account: &Arc<str>) -> Option<u32> {
        self.last = now;
        self.answered(account);
        self.failed.retain(|(_, at)| now.since(*at) < SPRAYING_WITHIN);
        let full = self.failed.len() > SPRAYING_MAX;
        match self.failed.iter_mut().find(|(known, _)| known == account) {
            Some((_, at)) => *at = now,
            None if full => {}
            None => self.failed.push((Arc::clone(account), now)),
        }
        if self.failed.len() <= SPRAYING_MAX {
            return None;
        }
        let until = now + SPRAYING_WITHIN;
        match &mut self.spraying {
            Some(spraying) if now < spraying.until => {
                spraying.until = until;
                None
            }
            _ => {
                let lane = Lane::new(SLOW_MAX, SLOW_EVERY, now);
                self.spraying = Some(Spraying { since: now, until, lane });
                u32::try_from(self.failed.len()).ok()
            }
        }
    }

    /// Counts a request without credentials. The number of accounts that were asked for and left so,
    /// where it became too many just now.
    pub(super) fn asked(&mut self, now: Instant, account: &Arc<str>) -> Option<u32> {
        self.last = now;
        self.asked.retain(|(_, at)| now.since(*at) < SCANNING_WITHIN);
        let known = self.asked.iter().any(|(known, _)| known == account);
        if !known && self.asked.len() < ASKED_MAX {
            self.asked.push((Arc::clone(account), now));
        }
        // A challenge is answered at once, or its transaction is over.
        let left = self.asked.iter().filter(|(_, at)| now.since(*at) >= ANSWERED_WITHIN).count();
        if left <= SCANNING_MAX {
            return None;
        }
        let told = self.scanning.is_some_and(|at| now.since(at) < SCANNING_WITHIN);
        self.scanning = Some(now);
        if told { None } else { u32::try_from(left).ok() }
    }

    /// It came back with credentials: that is how phones do it.
    pub(super) fn answered(&mut self, account: &Arc<str>) {
        self.asked.retain(|(known, _)| known != account);
    }

    pub(super) fn succeeded(&mut self, account: &Arc<str>) {
        self.answered(account);
        self.failed.retain(|(known, _)| known != account);
    }

    /// Whether an unknown device may be compared now.
    pub(super) fn may_compare(&mut self, now: Instant) -> bool {
        self.spraying
            .as_mut()
            .is_none_or(|spraying| now >= spraying.until || spraying.lane.take(now))
    }

    /// Since when and until when it is slowed down, and for how many accounts it failed.
    pub(super) fn slowed(&self, now: Instant) -> Option<(Instant, Instant, u32)> {
        let spraying = self.spraying.as_ref().filter(|spraying| now < spraying.until)?;
        let accounts = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
        Some((spraying.since, spraying.until, accounts))
    }

    pub(super) fn tool(&mut self, now: Instant) {
        (self.last, self.tool) = (now, Some(now));
    }

    /// Whether that is known already.
    pub(super) fn is_tool(&self, now: Instant) -> bool {
        self.tool.is_some_and(|at| now.since(at) < SCANNING_WITHIN)
    }

    /// It is shut out: what led to it begins anew.
    pub(super) fn banned(&mut self, until: Instant) -> u32 {
        let bans = self.bans.saturating_add(1);
        *self = Self { bans, last: until, ..Self::default() };
        bans
    }

    pub(super) fn ends(&self, now: Instant) -> Instant {
        self.last.max(now) + PEACE
    }
}

/// An office mistypes a few; nobody honest fails for eleven accounts in an hour.
pub const SPRAYING_MAX: usize = 10;
const SPRAYING_WITHIN: Duration = Duration::from_secs(3_600);
/// What unknown devices of a spraying source that can't be shut out get: a new phone is in within a
/// minute, and a guesser has nothing of it.
pub const SLOW_MAX: u32 = 6;
pub const SLOW_EVERY: Duration = Duration::from_secs(10);
/// More accounts than a person has phones, left unanswered within ten minutes.
pub const SCANNING_MAX: usize = 20;
const SCANNING_WITHIN: Duration = Duration::from_secs(600);
/// RFC 3261 Timer F: after that nobody answers a challenge any more. Forty phones that come back at once
/// ask forty times before the first of them answers; that is no scan.
const ANSWERED_WITHIN: Duration = Duration::from_secs(32);
/// Names that are remembered of one source; of an office with more phones than that the others ask
/// uncounted.
const ASKED_MAX: usize = 64;
