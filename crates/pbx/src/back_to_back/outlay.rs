//! The money of one leg outside: what was set aside for it, until when that lasts, and what the leg
//! came to.
//!
//! Paid time runs from the carrier's answer. Shortly before its end the gate is asked for another
//! step; the step counts once it is durable. Where none comes, the call ends [`EARLY`] before the paid
//! time does, since the carrier's clock starts before ours and stops after it.

use std::time::Duration;

use guard::gate::{Attempt, Denial, Paid};
use guard::money::Money;
use pure::{Instant, Now};

use crate::io::Ticket;
use crate::record::Toll;

/// See the module.
#[derive(Debug)]
pub(crate) struct Outlay {
    /// What the gate judged, and judges again for each step.
    pub(crate) attempt: Attempt,
    pub(crate) toll: Toll,
    /// Seconds from the answer that are paid for, durably.
    paid: u64,
    answered: Option<Instant>,
    /// When the BYE that is out was first said.
    left: Option<Instant>,
    /// The step that is being made durable.
    step: Option<(Ticket, u64)>,
    /// Why there will be no further step.
    denied: Option<Denial>,
    /// The far side never said that it knows of the end.
    unconfirmed: bool,
    settled: bool,
}

impl Outlay {
    pub(crate) fn new(attempt: Attempt, toll: Toll, first: Paid) -> Self {
        Self {
            attempt,
            toll,
            paid: first.seconds,
            answered: None,
            left: None,
            step: None,
            denied: None,
            unconfirmed: false,
            settled: false,
        }
    }

    /// The carrier has answered: its clock runs. Only the first answer counts.
    pub(crate) fn answered(&mut self, now: Now) {
        if self.answered.is_none() {
            self.answered = Some(now.instant);
            self.toll.answered = Some(now.utc);
        }
    }

    /// When the gate is to be asked for the next step.
    pub(crate) fn asks_at(&self) -> Option<Instant> {
        let lead = LEAD.min(Duration::from_secs(self.paid) / 2);
        let paid = Duration::from_secs(self.paid).saturating_sub(lead);
        self.answered.map(|at| at + paid)
    }

    /// When the call must end unless another step is paid for.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        let paid = Duration::from_secs(self.paid).saturating_sub(EARLY);
        self.answered.map(|at| at + paid)
    }

    /// A step was set aside and waits to be durable.
    pub(crate) fn stepping(&mut self, ticket: Ticket, paid: Paid) {
        self.toll.held = paid.held;
        self.step = Some((ticket, paid.seconds));
    }

    pub(crate) fn is_stepping(&self) -> bool {
        self.step.is_some()
    }

    /// Whether the gate may be asked for another step.
    pub(crate) fn may_step(&self) -> bool {
        self.step.is_none() && self.denied.is_none()
    }

    /// The step is durable (or could not be made so): `None` where this is not its ticket, else whether
    /// there is new paid time.
    pub(crate) fn stepped(&mut self, ticket: Ticket, durable: bool) -> Option<bool> {
        let (_, seconds) = self.step.take_if(|(awaited, _)| *awaited == ticket)?;
        if durable {
            self.paid = seconds;
        }
        Some(durable)
    }

    pub(crate) fn deny(&mut self, denial: Denial) {
        self.denied = Some(denial);
    }

    /// Why the paid time ends: a denial, or a disk that didn't take the next step.
    pub(crate) fn denied(&self) -> Option<Denial> {
        self.denied
    }

    pub(crate) fn unconfirmed(&mut self) {
        self.unconfirmed = true;
    }

    /// Our BYE leaves.
    pub(crate) fn leaves(&mut self, now: Now) {
        self.left = Some(now.instant);
    }

    /// It did not leave, or nobody knows whether it was heard.
    pub(crate) fn unsaid(&mut self) {
        self.left = None;
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// The leg is over: what it cost. A carrier stops counting when it hears our BYE, not when we hear its
    /// answer: from the BYE on one increment is charged at most, and never more than one beyond what was
    /// paid for. A leg that nobody confirmed the end of costs all that was set aside: nobody knows when
    /// the carrier stopped counting.
    pub(crate) fn settle(&mut self, now: Now) -> Money {
        self.settled = true;
        let Some(answered) = self.answered else { return Money::ZERO };
        // A step that is not durable yet is set aside all the same.
        let set_aside = self.step.map_or(self.paid, |(_, seconds)| seconds.max(self.paid));
        let elapsed = seconds_up(now.instant.since(answered));
        let increment = u64::from(self.toll.rate.increment);
        let left = self.left.map(|left| seconds_up(left.since(answered)).saturating_add(increment));
        let counted = elapsed.min(left.unwrap_or(elapsed)).min(self.paid.saturating_add(increment));
        self.toll.seconds = if self.unconfirmed { set_aside } else { counted };
        // What no integer holds is dearer than anything that was ever set aside.
        self.toll.cost = self.toll.rate.cost(self.toll.seconds).unwrap_or(self.toll.held);
        self.toll.cost
    }
}

/// Whole seconds, a begun one counting.
pub(crate) fn seconds_up(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// The next step is asked for so long before the paid time ends, so that a slow disk has time: steps
/// are a minute. Half of the paid time where that is less.
const LEAD: Duration = Duration::from_secs(5);

/// How long we wait before a BYE is said again that a carrier has refused: a minute and a half in all,
/// in which the carrier's silence limit or its operator may have ended the call. Each wait is a call that
/// may be billed, so the first are short.
pub(crate) const BYE_WAITS: [Duration; 6] = {
    let seconds = Duration::from_secs;
    [seconds(2), seconds(4), seconds(8), seconds(16), seconds(30), seconds(30)]
};

/// Longer than a round trip to any carrier on the same continent.
const EARLY: Duration = Duration::from_millis(500);
