//! Legs outside: their money, their challenges, and the way on when a carrier doesn't take the call.

use std::collections::VecDeque;
use std::time::Duration;

use guard::cause::Cause;
use guard::fact::Fact;
use guard::gate::{Attempt, Decision, Denial, Figures, PolicyVersion, Rule};
use guard::id::{LegId, TrunkId};
use guard::money::{Currency, Money};
use guard::policy::Scope;
use sip::{Name, Status};

use super::{Answer, Call, Early, Ringing, Stage, more_telling};
use crate::back_to_back::Event;
use crate::back_to_back::desk::{Desk, Purpose, Why};
use crate::back_to_back::leg::{Leg, State};
use crate::back_to_back::outlay::BYE_WAITS;
use crate::io::{PersistError, Ticket};
use crate::record::{Row, Toll};
use crate::trunk::Route;

/// What the application needs to find the next way of a call to the outside.
#[derive(Debug)]
pub(crate) struct Outside {
    /// What each way's attempt is made from, with a leg of its own.
    pub(crate) attempt: Attempt,
    /// As the caller dialled it, for the journal.
    pub(crate) dialled: String,
    pub(crate) ways: VecDeque<Way>,
    pub(crate) tried: Option<Way>,
    /// For help: the ways in clear have been asked for.
    pub(crate) last_ways: bool,
}

/// One way to the outside.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) route: Route,
    /// In clear though the trunk is not: for help alone.
    pub(crate) plain: bool,
}

impl Call {
    // Money.

    /// The carrier has answered this leg: its clock runs.
    pub(super) fn clock_runs(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        if let Some(outlay) = self.leg_mut(leg).and_then(|leg| leg.outlay.as_mut()) {
            outlay.answered(desk.now);
        }
    }

    /// Watches the paid time of a leg that talks.
    pub(super) fn watch_money(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let Some(outlay) = self.leg(leg).and_then(|leg| leg.outlay.as_ref()) else { return };
        let (asks, ends) = (outlay.asks_at(), outlay.ends_at());
        let waits = outlay.is_stepping();
        for (why, at) in [(Why::Extend(leg), asks.filter(|_| !waits)), (Why::Unpaid(leg), ends)] {
            if let Some(at) = at {
                self.alarm(desk, why, at.since(desk.now.instant));
            }
        }
    }

    /// Asks the gate for another step.
    pub(super) fn extend(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let Some(found) = self.leg_mut(leg) else { return };
        let Some(outlay) = found.outlay.as_mut().filter(|outlay| outlay.may_step()) else {
            return;
        };
        match desk.gate.extend(desk.now, &outlay.attempt, &outlay.toll.rate, desk.ledger) {
            Ok(paid) => {
                // The snapshot must already hold it; the ticket is known only once it is written.
                outlay.toll.held = paid.held;
                let row = Row::Snapshot(Box::new(self.snapshot(desk)));
                let ticket = desk.persist(self.id, vec![row]);
                if let Some(outlay) = self.leg_mut(leg).and_then(|leg| leg.outlay.as_mut()) {
                    outlay.stepping(ticket, paid);
                }
                let (held, seconds) = (paid.held, paid.seconds);
                desk.fact(Fact::MoneyHeld { call: self.id, leg, held, seconds });
            }
            Err(denial) => {
                let rule = denial.decision.rule;
                outlay.deny(denial);
                // What is paid for may be used up, unless the rule is about more than money.
                if !matches!(rule, Rule::Budget | Rule::Longest) {
                    self.end(desk, Cause::Refused(rule));
                }
            }
        }
    }

    /// Its extension is gone or may not call any more.
    pub(crate) fn pay_no_more(&mut self, policy: PolicyVersion) {
        let decision = Decision { rule: Rule::NobodyResponsible, policy };
        for outlay in self.legs_mut().filter_map(|leg| leg.outlay.as_mut()) {
            outlay.deny(Denial { decision, figures: None });
        }
    }

    /// The paid time is over.
    pub(super) fn unpaid(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let Some(outlay) = self.leg(leg).and_then(|leg| leg.outlay.as_ref()) else { return };
        let Some(denial) = outlay.denied() else {
            self.cut = Some("the disk, which did not take the next step of its money".to_owned());
            return self.end(desk, Cause::Refused(Rule::Budget));
        };
        self.cut_by(desk, denial);
    }

    /// Ends it for what the gate said; a budget by its name.
    fn cut_by(&mut self, desk: &mut Desk<'_>, denial: Denial) {
        if let Some(Figures::Budget { bucket, .. }) = denial.figures {
            // The one who answers for it is who dialled, unless a phone was forwarded.
            let dialler = self.caller_extension.map(|id| (id, self.from.clone()));
            let number =
                |id| dialler.clone().and_then(|(known, number)| (known == id).then_some(number));
            let account = bucket.account.in_words(desk.gate.policy(), number);
            self.cut = Some(format!("the {} budget of {account}", bucket.window));
        }
        self.end(desk, Cause::Refused(denial.decision.rule));
    }

    /// A step became durable, or could not be made so. False where the ticket is of none.
    pub(super) fn stepped(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        result: Result<(), PersistError>,
    ) -> bool {
        let durable = result.is_ok();
        let stepped = self.legs_mut().find_map(|leg| {
            let id = leg.id;
            leg.outlay.as_mut()?.stepped(ticket, durable).map(|_| id)
        });
        let Some(leg) = stepped else { return false };
        if let Err(error) = result {
            desk.fact(Fact::PersistFailed {
                what: "the money of a call".to_owned(),
                error: format!("{error:?}"),
            });
        }
        if durable && !self.is_ending() {
            self.watch_money(desk, leg);
        }
        true
    }

    /// The policy has changed: what is up outside must still be allowed.
    pub(crate) fn review(&mut self, desk: &mut Desk<'_>) {
        if self.is_ending() || self.emergency {
            return;
        }
        // Nothing more to say where the trunk itself is locked.
        let denied = self.legs().filter_map(|leg| leg.outlay.as_ref()).find_map(|outlay| {
            let trunk = Scope::Trunk(outlay.toll.trunk);
            if desk.gate.policy().lockdown.covers(trunk) {
                return Some(None);
            }
            let rate = &outlay.toll.rate;
            desk.gate.review(desk.now, &outlay.attempt, rate, desk.ledger).err().map(Some)
        });
        match denied {
            Some(Some(denial)) => self.cut_by(desk, denial),
            Some(None) => self.end(desk, Cause::Refused(Rule::Lockdown)),
            None => {}
        }
    }

    /// Money that is set aside for this call now.
    pub(crate) fn held(&self) -> Option<(Money, Currency)> {
        let open = self.legs().filter_map(|leg| leg.outlay.as_ref()).filter(|o| !o.is_settled());
        open.map(|outlay| (outlay.toll.held, outlay.toll.currency))
            .reduce(|(sum, currency), (next, _)| (Money(sum.0.saturating_add(next.0)), currency))
    }

    /// Settles the legs that are over while the call goes on: the rest of their money is free again.
    pub(crate) fn settle_gone(&mut self, desk: &mut Desk<'_>) {
        if desk.is_recorded(self.id) {
            return;
        }
        let mut rows = self.settled(desk);
        if !rows.is_empty() {
            rows.push(Row::Snapshot(Box::new(self.snapshot(desk))));
            desk.persist_quietly(rows);
        }
    }

    /// Settles what is over; the rows of the budgets that changed.
    pub(super) fn settled(&mut self, desk: &mut Desk<'_>) -> Vec<Row> {
        let (mut rows, mut tolls) = (Vec::new(), Vec::new());
        let call = self.id;
        for leg in self.legs_mut() {
            let over = matches!(leg.state, State::Gone);
            let Some(outlay) = leg.outlay.as_mut().filter(|o| over && !o.is_settled()) else {
                continue;
            };
            let cost = outlay.settle(desk.now);
            rows.extend(desk.ledger.settle(leg.id, cost).into_iter().map(Row::Spend));
            let Toll { trunk, seconds, .. } = outlay.toll;
            if outlay.toll.answered.is_some() {
                desk.fact(Fact::LegSettled { call, leg: leg.id, trunk, cost, seconds });
            }
            tolls.push(outlay.toll.clone());
        }
        self.tolls.extend(tolls);
        rows
    }

    // Carriers.

    /// A carrier challenged a request of a leg. False where that is no challenge to answer.
    pub(super) fn challenged(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        purpose: Purpose,
        answer: &Answer<'_>,
    ) -> bool {
        let Answer::Response(response) = answer else { return false };
        if !matches!(response.status().code(), 401 | 407) {
            return false;
        }
        let cseq = response.headers().cseq().number;
        let Some(found) = self.leg_mut(leg).filter(|leg| leg.party.trunk.is_some()) else {
            return false;
        };
        match purpose {
            Purpose::Invite | Purpose::Bye if found.challenges < CHALLENGES_MAX => {
                found.challenges += 1;
            }
            Purpose::Change | Purpose::Refresh | Purpose::Info if found.is_repeatable(cseq) => {}
            Purpose::Invite | Purpose::Bye | Purpose::Change | Purpose::Refresh | Purpose::Info => {
                return false;
            }
        }
        let response = (*response).clone();
        desk.event(Event::Challenged { call: self.id, leg, purpose, response });
        true
    }

    /// The credentials for a challenged request, with its CSeq; without any it has failed.
    pub(crate) fn authorize(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        (purpose, cseq): (Purpose, u32),
        credentials: Option<(Name, String)>,
    ) {
        let Some(found) = self.leg_mut(leg) else { return };
        // Taken back, or ended, in the meantime.
        let wanted = match purpose {
            Purpose::Invite => matches!(found.state, State::Calling(_)),
            Purpose::Bye => found.is_leaving(),
            Purpose::Change | Purpose::Refresh | Purpose::Info => {
                matches!(found.state, State::Confirmed(_))
            }
        };
        if wanted && credentials.is_some_and(|known| found.authorize(desk, (purpose, cseq), known))
        {
            if purpose == Purpose::Invite {
                // A restart must be able to take back the INVITE that is out now.
                let row = Row::Snapshot(Box::new(self.snapshot(desk)));
                desk.persist_quietly(vec![row]);
            }
            return;
        }
        match purpose {
            Purpose::Invite => {
                self.fork_gone(leg);
                self.close_media(desk, leg);
                // Not the called phone's fault: this line can't be used.
                self.fork_failed(desk, leg, Cause::NoRoute);
            }
            Purpose::Bye => self.bye_refused(desk, leg, None),
            Purpose::Change => {
                if let Some(found) = self.leg_mut(leg) {
                    found.idle();
                }
                self.change_refused(desk, Status::NOT_ACCEPTABLE_HERE);
            }
            Purpose::Refresh => {
                if let Some(found) = self.leg_mut(leg) {
                    found.idle();
                }
                self.session_alarm(desk, leg);
            }
            Purpose::Info => {}
        }
    }

    /// A carrier's final answer to our BYE that is no end: the call may be up there, and billed. Said
    /// again after a while (RFC 3261 §15.1.1 knows 481 and 408 alone as ends beside 2xx).
    pub(super) fn bye_refused(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        retry_after: Option<Duration>,
    ) {
        let Some(found) = self.leg_mut(leg).filter(|leg| matches!(leg.state, State::Leaving))
        else {
            return;
        };
        let Some(wait) = BYE_WAITS.get(found.byes_refused).copied() else {
            return self.unconfirmed(desk, leg);
        };
        found.byes_refused += 1;
        found.challenges = 0;
        let longest = BYE_WAITS[BYE_WAITS.len() - 1];
        let wait = wait.max(retry_after.unwrap_or_default()).min(longest);
        self.alarm(desk, Why::Again(leg), wait);
    }

    /// Asks the application for another way, where this failure of a carrier is not the called person's
    /// own word. False where there is none to ask for.
    pub(super) fn seeks_another_way(&mut self, desk: &mut Desk<'_>, cause: Cause) -> bool {
        if self.outside.is_none()
            || !is_carriers_fault(cause)
            || self.ways >= desk.settings.ways_max
        {
            return false;
        }
        let Stage::Ringing(Ringing { awaits_way, .. }) = &mut self.stage else { return false };
        *awaits_way = true;
        self.ways += 1;
        desk.event(Event::Onward { call: self.id });
        true
    }

    /// Another leg outside: its ports are opened, its INVITE is written, made durable and sent.
    pub(crate) fn onward(&mut self, desk: &mut Desk<'_>, mut leg: Leg) {
        let Stage::Ringing(ringing) = &mut self.stage else {
            leg.state = State::Gone;
            self.forks.push(leg);
            return;
        };
        ringing.awaits_way = false;
        leg.allocate(desk, self.emergency);
        self.forks.push(leg);
    }

    pub(crate) fn no_further(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        ringing.awaits_way = false;
        let worst = ringing.worst.map_or(cause, |worst| more_telling(worst, cause));
        if !self.anyone_ringing() {
            self.end(desk, worst);
        }
    }

    /// The INVITE of a leg that was added while others had their turn: sent once it is durable; for a call
    /// for help at once.
    pub(super) fn dial_durably(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let row = Row::Snapshot(Box::new(self.snapshot(desk)));
        if self.emergency {
            desk.persist_quietly(vec![row]);
            return self.dial(desk, leg);
        }
        let ticket = desk.persist(self.id, vec![row]);
        if let Stage::Ringing(ringing) = &mut self.stage {
            ringing.dialling.insert(ticket, leg);
        }
    }

    /// The snapshot of such a leg is durable, or could not be made so. False where the ticket is of none.
    pub(super) fn dialling(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        result: Result<(), PersistError>,
    ) -> bool {
        let Stage::Ringing(ringing) = &mut self.stage else { return false };
        let Some(leg) = ringing.dialling.remove(&ticket) else { return false };
        match result {
            Ok(()) => self.dial(desk, leg),
            Err(error) => {
                desk.fact(Fact::PersistFailed {
                    what: "a call's snapshot".to_owned(),
                    error: format!("{error:?}"),
                });
                self.fork_failed(desk, leg, Cause::Internal);
            }
        }
        true
    }

    /// A carrier has said nothing at all: taken back, and the next way is tried. A late answer is hung up.
    pub(super) fn mute(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let Some(found) = self.leg_mut(leg) else { return };
        if !found.is_unheard() {
            return;
        }
        found.leave(desk, Cause::TimedOut);
        self.close_media(desk, leg);
        self.fork_failed(desk, leg, Cause::TimedOut);
    }

    /// A carrier has taken a call for help and doesn't ring: the next way is tried beside it.
    pub(super) fn slow(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let rings = self.legs().any(|leg| leg.status > 100 && leg.status < 200);
        let waits = self.leg(leg).is_some_and(|leg| matches!(leg.state, State::Calling(_)));
        if rings || !waits || self.outside.is_none() || self.ways >= desk.settings.ways_max {
            return;
        }
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        if !std::mem::replace(&mut ringing.awaits_way, true) {
            self.ways += 1;
            desk.event(Event::Onward { call: self.id });
        }
    }

    /// Over which trunks this call has legs that are not gone.
    pub(crate) fn trunks(&self) -> impl Iterator<Item = TrunkId> {
        let live = self.legs().filter(|leg| !matches!(leg.state, State::Gone));
        live.filter_map(|leg| leg.party.trunk)
    }

    /// Whether it has a leg over this trunk that isn't on its way out.
    pub(crate) fn occupies(&self, trunk: TrunkId) -> bool {
        self.legs().any(|leg| leg.party.trunk == Some(trunk) && !leg.is_leaving())
    }

    /// The early media of a leg that has failed is nobody's any more.
    pub(super) fn forget_early(&mut self, leg: LegId) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        let heard = match &ringing.early {
            Early::Arming { fork, .. } | Early::Heard { fork } => Some(*fork),
            Early::Silent => None,
        };
        if heard == Some(leg) {
            ringing.early = Early::Silent;
        }
    }
}

/// Whether another way may do better: the carrier or the path to it failed, not the called number.
fn is_carriers_fault(cause: Cause) -> bool {
    match cause {
        Cause::Congestion
        | Cause::CarrierFull
        | Cause::TimedOut
        | Cause::Unavailable
        | Cause::PeerFailed
        | Cause::ProtocolError
        | Cause::Internal
        | Cause::IncompatibleMedia
        | Cause::NotEncrypted
        | Cause::NoRoute => true,
        Cause::Cleared
        | Cause::Busy
        | Cause::NoAnswer
        | Cause::NotFound
        | Cause::Declined
        | Cause::Cancelled
        | Cause::Refused(_)
        | Cause::Draining
        | Cause::MediaLost
        | Cause::Silence
        | Cause::Administrator
        | Cause::Longest
        | Cause::Interrupted
        | Cause::Preempted => false,
    }
}

/// Of an INVITE or a BYE: one nonce, and one more where it was stale. A third challenge means that the
/// password is wrong. Counted for each request anew: a carrier may ask for a password in every one of a long
/// call. What else is said within a call is repeated once.
const CHALLENGES_MAX: u8 = 2;
