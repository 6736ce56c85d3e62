//! Where a carrier can be reached, in which order, and which addresses are its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use pure::Instant;

use crate::flow::Transport;
use crate::io::Place;

/// What the last look-up brought.
#[derive(Debug, Default)]
pub(super) struct Places {
    located: Vec<Place>,
    /// What the look-up before it brought. A carrier that answers with a few of its many addresses in
    /// turn still calls from those it named last time.
    before: Vec<Place>,
    /// Places that failed, and until when they stand behind the others.
    penalties: BTreeMap<Place, Instant>,
    /// Tried since the trunk was last up or given up.
    tried: BTreeSet<Place>,
}

impl Places {
    /// An answer replaces what was known; an empty one changes nothing, since a name server that is down
    /// says nothing about the carrier. Whether anything is known then.
    pub(super) fn update(&mut self, answer: &[Place], allowed: &[Transport]) -> bool {
        let mut located: Vec<Place> = Vec::new();
        for place in answer.iter().filter(|place| allowed.contains(&place.transport)) {
            if located.len() < PLACES_MAX && !located.contains(place) {
                located.push(*place);
            }
        }
        if !located.is_empty() {
            self.penalties.retain(|place, _| located.contains(place));
            self.before = std::mem::replace(&mut self.located, located);
        }
        !self.located.is_empty()
    }

    /// As they are to be tried: in their order, those that failed lately at the end.
    pub(super) fn in_order(&self, now: Instant) -> Vec<Place> {
        let mut places = self.located.clone();
        places.sort_by_key(|place| self.has_failed(*place, now));
        places
    }

    pub(super) fn all(&self) -> &[Place] {
        &self.located
    }

    pub(super) fn has_failed(&self, place: Place, now: Instant) -> bool {
        self.penalties.get(&place).is_some_and(|until| now < *until)
    }

    pub(super) fn failed(&mut self, place: Place, now: Instant) {
        if self.located.contains(&place) {
            self.penalties.insert(place, now + PENALTY);
        }
    }

    /// The next that was not yet tried in this round.
    pub(super) fn next(&mut self, now: Instant) -> Option<Place> {
        let order = self.in_order(now);
        let next = order.into_iter().find(|place| !self.tried.contains(place))?;
        self.tried.insert(next);
        Some(next)
    }

    /// A new round: every place may be tried again.
    pub(super) fn again(&mut self) {
        self.tried.clear();
    }

    /// Counts as tried in this round.
    pub(super) fn tried(&mut self, place: Place) {
        self.tried.insert(place);
    }

    /// Neither of the last two look-ups knows this place: the carrier has given it up.
    pub(super) fn has_left(&self, place: Place) -> bool {
        !self.located.contains(&place) && !self.before.contains(&place)
    }

    /// The carrier changed: nothing is known.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.located.iter().chain(&self.before).map(|place| place.remote.ip())
    }

    pub(super) fn transports(&self) -> impl Iterator<Item = Transport> {
        self.located.iter().map(|place| place.transport)
    }
}

/// Places of one trunk. A look-up that brings more is cut: a call that failed at eight places fails at
/// the ninth.
const PLACES_MAX: usize = 8;
/// How long a place that failed stands behind the others: longer than a restart of a server.
pub(super) const PENALTY: Duration = Duration::from_secs(5 * 60);
