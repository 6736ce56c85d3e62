//! What a carrier means to be paid: its own tariffs, its own clock, its own arithmetic.
//!
//! Nothing here is shared with whoever pays. Amounts are millionths of a currency.

use pure::Instant;

use crate::media::Voice;

/// What calls to a prefix cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tariff {
    /// Digits without `+`.
    pub prefix: String,
    pub per_minute: i64,
    pub connect: i64,
    /// Seconds billed at least.
    pub first: u64,
    /// Seconds billed as a whole after that; at least 1.
    pub increment: u64,
}

/// One call as the carrier wrote it down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub call_id: String,
    /// Called by the customer, or calling it.
    pub outbound: bool,
    /// The other party's number. What the customer dialled, or who called it.
    pub number: String,
    /// User part of the caller in From.
    pub caller: String,
    /// The first P-Asserted-Identity, whole.
    pub asserted: Option<String>,
    pub voice: Voice,
    pub began: Instant,
    /// Our first 200, or the customer's.
    pub answered: Option<Instant>,
    /// BYE came or was said, or we gave up.
    pub ended: Option<Instant>,
    /// Of the answered call, begun ones counted. Billed ones may be more.
    pub seconds: u64,
    pub cost: i64,
    /// Hung up since nothing was heard any more.
    pub silenced: bool,
}

impl Tariff {
    /// A call of so many seconds, rounded up to millionths.
    pub fn cost(&self, seconds: u64) -> i64 {
        let increment = self.increment.max(1);
        let over = seconds.saturating_sub(self.first);
        let billed = self.first + over.div_ceil(increment) * increment;
        let talk = i128::from(self.per_minute) * i128::from(billed);
        let whole = talk.div_euclid(60) + i128::from(talk.rem_euclid(60) != 0);
        self.connect.saturating_add(i64::try_from(whole).unwrap_or(i64::MAX))
    }

    /// The tariff of a number among these: the longest prefix.
    pub fn of<'a>(tariffs: &'a [Self], number: &str) -> Option<&'a Self> {
        let digits = number.trim_start_matches('+');
        let fitting = tariffs.iter().filter(|tariff| digits.starts_with(&tariff.prefix));
        fitting.max_by_key(|tariff| tariff.prefix.len())
    }
}

impl Record {
    /// The bill ends now.
    pub(super) fn end(&mut self, now: Instant, tariffs: &[Tariff]) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(now);
        let Some(answered) = self.answered else { return };
        let span = now.since(answered);
        self.seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
        if self.outbound {
            self.cost = Tariff::of(tariffs, &self.number).map_or(0, |t| t.cost(self.seconds));
        }
    }
}
