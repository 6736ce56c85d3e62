//! Money spent and set aside, and what is open: the half of the gate that changes.
//!
//! A hold is taken from every account and window that it concerns, or from none, and counts as spent
//! from then on. What turns out not to be needed goes back into the windows it came from.

use std::collections::BTreeMap;

use pure::Utc;
use serde::{Deserialize, Serialize};

use crate::id::{ExtensionId, LegId};
use crate::money::Money;
use crate::policy::Scope;

/// How long a budget lasts. Hours are UTC's, days and weeks (from Monday) the tenant's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    Hour,
    Day,
    Week,
}

/// One account in one window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Bucket {
    /// `Operator`, `Tenant`, `Role` or `Extension`.
    pub account: Scope,
    pub window: Window,
    /// When the window began: seconds since the epoch.
    pub begin: i64,
}

/// Money of one leg, set aside: what is on disk before its INVITE leaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    pub leg: LegId,
    pub extension: ExtensionId,
    /// Each part went into these buckets at once.
    pub parts: Vec<HoldPart>,
}

/// One step of a hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HoldPart {
    pub amount: Money,
    pub buckets: Vec<Bucket>,
}

/// What a bucket has settled: a row, written with the record of the call that changed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spend {
    pub bucket: Bucket,
    pub settled: Money,
}

/// An account as people see it: one row a window that has a budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub account: Scope,
    pub window: Window,
    pub begin: Utc,
    pub end: Utc,
    /// Settled and held.
    pub spent: Money,
    pub soft: Option<Money>,
    pub hard: Option<Money>,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    settled: BTreeMap<Bucket, Money>,
    holds: BTreeMap<LegId, Hold>,
}

impl Hold {
    pub fn amount(&self) -> Money {
        self.parts.iter().fold(Money::ZERO, |sum, part| Money(sum.0.saturating_add(part.amount.0)))
    }
}

impl Ledger {
    /// What the store held at start.
    pub fn restore(
        spends: impl IntoIterator<Item = Spend>,
        holds: impl IntoIterator<Item = Hold>,
    ) -> Self {
        Self {
            settled: spends.into_iter().map(|spend| (spend.bucket, spend.settled)).collect(),
            holds: holds.into_iter().map(|hold| (hold.leg, hold)).collect(),
        }
    }

    /// The hold of a leg, as its snapshot stores it.
    pub fn hold(&self, leg: LegId) -> Option<&Hold> {
        self.holds.get(&leg)
    }

    /// The leg is over and cost this much: the rest of its hold goes back. Returns the rows that changed.
    /// A leg without a hold changes nothing. More than was held is settled as well: it was spent.
    pub fn settle(&mut self, _leg: LegId, _cost: Money) -> Vec<Spend> {
        Vec::new()
    }
}
