//! What fails: a source, the account it asked for, and the device it did so with.
//!
//! After [`FAILURES_MAX`] failures within [`FAILURES_WITHIN`] a pair is held: nothing it says is
//! compared with a secret, and it hears what everybody hears. A pair that is held again after its time is held
//! twice as long.

use std::sync::Arc;
use std::time::Duration;

use pure::Instant;

use super::bounded::Keyed;
use super::lane::Lane;
use crate::id::{DeviceId, TenantId};
use crate::source::Source;

/// Whose failures are counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pair {
    pub source: Source,
    pub tenant: TenantId,
    /// The user name as it was given, cut to what an account can have.
    pub account: Arc<str>,
    pub who: Who,
}

/// Which device of the account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Who {
    /// One that was never seen at this source: all of them are one.
    Unknown,
    /// The same, where another of its extension was at this source lately: perhaps one of those, which
    /// came back without anything that it is known by.
    Home,
    /// It is of the make of this one, which was at this source before, and of one Contact host: what a
    /// guest can see and say. Apart from the next, so that he holds no phone that is known by more.
    Alike(DeviceId),
    /// It says that it is this one, which was at this source before.
    Known(DeviceId),
    /// It speaks on the very path where this one is registered now: nobody else can.
    Bound(DeviceId),
}

impl Who {
    /// Which device it is, or says that it is.
    pub fn device(self) -> Option<DeviceId> {
        match self {
            Self::Unknown | Self::Home => None,
            Self::Alike(device) | Self::Known(device) | Self::Bound(device) => Some(device),
        }
    }

    /// Whether it is, or says that it is, a device that was at this source before.
    pub fn is_known(self) -> bool {
        self.device().is_some()
    }
}

impl Pair {
    /// Stands before all pairs of this source.
    pub(super) fn first(source: Source) -> Self {
        Self { source, tenant: TenantId(0), account: Arc::from(""), who: Who::Unknown }
    }
}

#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The last ones, while it isn't held; [`FAILURES_MAX`] at the most.
    recent: Vec<Instant>,
    last: Instant,
    held: Option<Hold>,
    /// Holds in a row.
    pub(super) times: u32,
    /// Of all of them, those that were compared with a secret.
    pub(super) compared: u32,
}

#[derive(Debug)]
struct Hold {
    since: Instant,
    until: Instant,
    /// Comparisons that a held pair still gets, for help and for devices that were here before.
    spare: Lane,
}

impl Keyed for Pair {
    fn source(&self) -> Source {
        self.source
    }
}

impl Failures {
    /// The time for which it is held now, if it is: from and to.
    pub(super) fn held(&self, now: Instant) -> Option<(Instant, Instant)> {
        self.held.as_ref().filter(|hold| now < hold.until).map(|hold| (hold.since, hold.until))
    }

    /// One of the few comparisons that a held pair has left.
    pub(super) fn spare(&mut self, now: Instant) -> bool {
        self.held.as_mut().is_none_or(|hold| now >= hold.until || hold.spare.take(now))
    }

    /// Counts one. How long the pair is held from now on, where this one was too many.
    pub(super) fn count(&mut self, now: Instant, who: Who) -> Option<Duration> {
        self.last = now;
        if self.held(now).is_some() {
            return None;
        }
        self.recent.retain(|at| now.since(*at) < FAILURES_WITHIN);
        self.recent.push(now);
        if self.recent.len() < FAILURES_MAX {
            return None;
        }
        self.recent = Vec::new();
        let span = HOLD_FIRST.saturating_mul(1 << self.times.min(20)).min(HOLD_MAX);
        self.times = self.times.saturating_add(1);
        let spare = Lane::new(SPARE_AT_ONCE, spare_every(who), now);
        self.held = Some(Hold { since: now, until: now + span, spare });
        Some(span)
    }

    /// When all of it is forgotten, if nothing more happens.
    pub(super) fn ends(&self) -> Instant {
        let until = self.held.as_ref().map_or(self.last, |hold| hold.until);
        until.max(self.last) + PEACE
    }
}

/// A person who mistypes a secret gives up or asks after three; a phone with a stale one tries for ever.
pub const FAILURES_MAX: usize = 5;
/// A phone retries within minutes; a day's slips of different people don't add up.
pub const FAILURES_WITHIN: Duration = Duration::from_secs(600);
/// The first hold, doubled by each that follows.
pub const HOLD_FIRST: Duration = Duration::from_secs(600);
pub const HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Without a failure for so long after its hold, a pair is as if it had never failed.
pub const PEACE: Duration = Duration::from_secs(24 * 3_600);
/// Comparisons that a held pair has left where its extension or its device was at this source before, and
/// for calls for help from such a place: enough to redial, too few to guess with ...
pub const SPARE_AT_ONCE: u32 = 6;
/// ... and one more in this time, so that a phone whose secret is put right is back by itself.
pub const SPARE_EVERY: Duration = Duration::from_secs(600);
/// The same for unknown devices, since a guest in the office has these too: about 140 comparisons in a day of
/// an account that is at home there.
pub const SPARE_EVERY_UNKNOWN: Duration = Duration::from_secs(1_800);

fn spare_every(who: Who) -> Duration {
    if who.is_known() { SPARE_EVERY } else { SPARE_EVERY_UNKNOWN }
}
