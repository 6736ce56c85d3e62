//! Legs whose connection has gone: they wait for the next one, and who bills us is owed a BYE.

use std::time::Duration;

use guard::fact::Fact;
use guard::id::LegId;

use super::{Call, Cause, Event, FlowId, Owner, Path};
use crate::back_to_back::desk::{Desk, Why};
use crate::back_to_back::leg::{Leg, State};

impl Call {
    /// A connection is gone. Who was still setting up over it is lost; who talks has audio left and
    /// may come back on a new connection.
    pub(crate) fn flow_closed(&mut self, desk: &mut Desk<'_>, flow: FlowId) {
        let on_flow: Vec<LegId> =
            self.legs().filter(|leg| leg.party.path.flow == flow).map(|leg| leg.id).collect();
        for id in on_flow {
            let Some(leg) = self.leg_mut(id) else { continue };
            match leg.state {
                State::Inviting(_) => {
                    leg.state = State::Gone;
                    self.end(desk, Cause::Cancelled);
                }
                State::Planned(_) | State::Composed(_) | State::Calling(_) => {
                    leg.state = State::Gone;
                    self.fork_failed(desk, id, Cause::Unavailable);
                }
                State::Answered(_) | State::Confirmed(_) => {
                    leg.lost = true;
                    self.alarm(desk, Why::Lost(id), LOST_FLOW_TIMEOUT);
                }
                State::Cancelling(_) => self.unconfirmed(desk, id),
                State::Leaving => self.unsaid(desk, id),
                State::Gone => {}
            }
        }
    }

    /// A device or a trunk has a new connection: its legs go on there. A device has one place, so what it
    /// talks over goes with it, whether we have seen the old one break or not: asked there, a muted phone
    /// would say nothing. A carrier has several, and a call stays with the one that took it.
    pub(crate) fn reachable(&mut self, desk: &mut Desk<'_>, owner: Owner, path: Path) {
        let is_phone = matches!(owner, Owner::Device(_));
        let moves = |leg: &&Leg| {
            let talks = matches!(leg.state, State::Confirmed(_)) && leg.party.path != path;
            leg.party.owner() == Some(owner) && (leg.lost || is_phone && talks)
        };
        let lost: Vec<LegId> = self.legs().filter(moves).map(|leg| leg.id).collect();
        for id in lost {
            if let Some(leg) = self.leg_mut(id) {
                leg.moves_to(desk, path);
                leg.bye_again(desk);
            }
            self.cancel_alarm(desk, Why::Lost(id));
        }
    }

    /// A BYE that could not be said, since the leg's connection is gone: it is said on the next one, so
    /// that nobody keeps a call, or bills one, that is over. A carrier bills on meanwhile: it is owed the
    /// BYE for as long as after a crash, and its trunk comes back the sooner for it.
    pub(super) fn unsaid(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let now = desk.now.instant;
        let Some(found) = self.leg_mut(leg) else { return };
        if found.leaving().is_none() || found.party.owner().is_none() {
            return self.unconfirmed(desk, leg);
        }
        found.lost = true;
        if let Some(outlay) = &mut found.outlay {
            outlay.unsaid();
        }
        let trunk = found.party.trunk;
        let span = trunk.map_or(LOST_FLOW_TIMEOUT, |_| desk.settings.orphan_timeout);
        // However often the next connection breaks as well.
        let until = *found.owed_until.get_or_insert(now + span);
        self.cancel_alarm(desk, Why::Again(leg));
        if !self.alarms.contains_key(&Why::Lost(leg)) {
            self.alarm(desk, Why::Lost(leg), until.since(now));
        }
        if let Some(trunk) = trunk {
            desk.event(Event::Owed { call: self.id, leg, trunk });
        }
        self.maybe_record(desk);
    }

    /// Whether a carrier is owed a BYE that waits for its next connection.
    pub(crate) fn owes(&self) -> bool {
        self.legs()
            .any(|leg| leg.lost && leg.party.trunk.is_some() && matches!(leg.state, State::Leaving))
    }

    /// Who is owed a BYE has said one: the leg is over, and both know it.
    pub(crate) fn owed_no_more(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let Some(found) = self.leg(leg) else { return };
        if found.leaving().is_some() && found.owed_until.is_some() {
            self.cancel_alarm(desk, Why::Lost(leg));
            self.fork_gone(leg);
            self.maybe_record(desk);
        }
    }

    /// One too many to be kept.
    pub(crate) fn forsake(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        if self.leg(leg).is_some_and(|leg| matches!(leg.state, State::Leaving)) {
            self.unconfirmed(desk, leg);
        }
    }

    /// A leg is over, as far as we know: its other end never said so.
    pub(super) fn unconfirmed(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let call = self.id;
        if let Some(outlay) = self.leg_mut(leg).and_then(|leg| leg.outlay.as_mut()) {
            outlay.unconfirmed();
            let (trunk, held) = (outlay.toll.trunk, outlay.toll.held);
            if outlay.toll.answered.is_some() {
                desk.fact(Fact::EndUnconfirmed { call, leg, trunk, held });
            }
        }
        self.fork_gone(leg);
        self.maybe_record(desk);
    }
}

/// A phone notices a broken connection within its keep-alive and registers again; its leg waits. A carrier
/// is owed a BYE for longer: see [`Call::unsaid`].
const LOST_FLOW_TIMEOUT: Duration = Duration::from_secs(90);
