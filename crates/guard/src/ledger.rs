//! Money spent and set aside, and what is open: the half of the gate that changes.
//!
//! A hold is taken from every account and window that it concerns, or from none, and counts as spent
//! from then on. What turns out not to be needed goes back into the windows it came from. Every account
//! is kept, whether a budget bounds it or not, so that a budget that is set later knows what was spent.
//!
//! Nothing is ever computed from two readings of an account: its sum is what was settled and what is
//! held, whatever the clock does. So no sum can go negative, leak, or be counted twice.

#[cfg(test)]
mod lives;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use pure::{Instant, Now, Utc};
use serde::{Deserialize, Serialize};

use crate::gate::{Denial, Figures, Gate, Paid};
use crate::id::{ExtensionId, LegId};
use crate::money::Money;
use crate::policy::{Account as Of, Policy, Scope};

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
    /// Seconds from the answer that are paid for.
    pub seconds: u64,
    /// What one billing increment costs: what a carrier may bill beyond the hold.
    pub tail: Money,
    /// Each part went into these buckets at once. Steps that went into the same ones are one part, so
    /// there are as many as hours and midnights that the call has seen.
    pub parts: Vec<HoldPart>,
}

/// What was held while the same windows lasted.
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

/// A budget that somebody should hear of. Each crossing of a bucket's limit is noted once, and once
/// more after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    pub bucket: Bucket,
    pub crossing: Crossing,
    /// Settled and held then.
    pub spent: Money,
    pub limit: Money,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Crossing {
    /// As much as the soft limit is spent or held.
    Soft,
    /// A call, or its next step, didn't fit under the hard limit.
    Hard,
}

/// See the module.
///
/// Memory: for each account that spent lately, three windows of the present and two of the past; a
/// hold for each leg that is up; and for each extension the attempts of its last hour, which its role
/// bounds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    settled: BTreeMap<Bucket, Money>,
    /// The sum of the holds' parts, by bucket: kept so that judging doesn't walk all holds.
    held: BTreeMap<Bucket, Money>,
    holds: BTreeMap<LegId, Hold>,
    /// Holds of each extension: its legs outside.
    open: BTreeMap<ExtensionId, u32>,
    /// When the attempts of the last hour were made, by the clock that never steps.
    attempts: BTreeMap<ExtensionId, VecDeque<Instant>>,
    /// Beginnings of the windows used last, the latest at the end.
    recent: BTreeMap<Window, Vec<i64>>,
    noted: BTreeSet<(Bucket, Crossing, Money)>,
    notes: VecDeque<Note>,
}

/// A step to be held; see [`Ledger::take`].
pub(crate) struct Step {
    pub(crate) leg: LegId,
    pub(crate) extension: ExtensionId,
    /// What is held anew.
    pub(crate) amount: Money,
    /// Paid for with it, from the answer on.
    pub(crate) seconds: u64,
    pub(crate) tail: Money,
    pub(crate) buckets: Vec<Bucket>,
}

impl Window {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.name() == name)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Hold {
    pub fn amount(&self) -> Money {
        self.parts.iter().fold(Money::ZERO, |sum, part| plus(sum, part.amount))
    }
}

impl Ledger {
    /// Windows whose sums are kept, of each length: the present one, and two that were used before
    /// it, so that a clock that was set back (or a year ahead, and back) finds what it had spent.
    const WINDOWS_KEPT: usize = 3;

    /// Notes that wait to be drained. More are dropped: each budget's crossing is in the journal
    /// already when the next call is judged, and the sums themselves aren't touched.
    const NOTES_MAX: usize = 1_024;

    /// An attempt counts against its role's `calls_per_hour` so long.
    pub(crate) const ATTEMPT_COUNTS: Duration = Duration::from_secs(3_600);

    /// What the store held at start. Attempts aren't stored: whoever can restart the node can do worse.
    ///
    /// Amounts below zero, which this program never writes, count as zero.
    pub fn restore(
        spends: impl IntoIterator<Item = Spend>,
        holds: impl IntoIterator<Item = Hold>,
    ) -> Self {
        let mut ledger = Self::default();
        for Spend { bucket, settled } in spends {
            ledger.settled.insert(bucket, settled.max(Money::ZERO));
        }
        for mut hold in holds {
            for part in &mut hold.parts {
                part.amount = part.amount.max(Money::ZERO);
                part.buckets.sort_unstable();
                part.buckets.dedup();
            }
            ledger.release(hold.leg);
            ledger.hold_all(&hold);
            *ledger.open.entry(hold.extension).or_default() += 1;
            ledger.holds.insert(hold.leg, hold);
        }
        // Which were used last isn't stored; the latest are the best guess. Where a clock that was set
        // back makes it wrong, the present window is kept all the same once it is used.
        for window in Window::ALL {
            let parts = ledger.holds.values().flat_map(|hold| &hold.parts);
            let held = parts.flat_map(|part| &part.buckets);
            let begins: BTreeSet<i64> = ledger
                .settled
                .keys()
                .chain(held)
                .filter(|bucket| bucket.window == window)
                .map(|bucket| bucket.begin)
                .collect();
            let excess = begins.len().saturating_sub(Self::WINDOWS_KEPT);
            ledger.recent.insert(window, begins.into_iter().skip(excess).collect());
        }
        ledger
    }

    /// The hold of a leg, as its snapshot stores it.
    pub fn hold(&self, leg: LegId) -> Option<&Hold> {
        self.holds.get(&leg)
    }

    /// All that is set aside, in the order of the legs' names.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// How long a leg is paid for, and what is held for it.
    pub fn paid(&self, leg: LegId) -> Option<Paid> {
        let hold = self.holds.get(&leg)?;
        Some(Paid { seconds: hold.seconds, held: hold.amount() })
    }

    /// What a bucket has spent: settled and held.
    pub fn spent(&self, bucket: &Bucket) -> Money {
        plus(self.settled(bucket), self.held(bucket))
    }

    pub fn settled(&self, bucket: &Bucket) -> Money {
        self.settled.get(bucket).copied().unwrap_or_default()
    }

    pub fn held(&self, bucket: &Bucket) -> Money {
        self.held.get(bucket).copied().unwrap_or_default()
    }

    /// What is held of an account in other windows of this length than the one that began then.
    pub(crate) fn held_elsewhere(&self, account: Scope, window: Window, begin: i64) -> Money {
        let bucket = |begin| Bucket { account, window, begin };
        self.held
            .range(bucket(i64::MIN)..=bucket(i64::MAX))
            .filter(|(bucket, _)| bucket.begin != begin)
            .fold(Money::ZERO, |sum, (_, held)| plus(sum, *held))
    }

    /// Legs outside that an extension has open.
    pub fn open(&self, extension: ExtensionId) -> u32 {
        self.open.get(&extension).copied().unwrap_or_default()
    }

    /// Attempts outside that an extension made in the last hour.
    pub fn attempts(&self, now: Now, extension: ExtensionId) -> u32 {
        let Some(made) = self.attempts.get(&extension) else { return 0 };
        let lately = made.iter().filter(|at| now.instant.since(**at) < Self::ATTEMPT_COUNTS);
        u32::try_from(lately.count()).unwrap_or(u32::MAX)
    }

    /// The leg is over and cost this much: the rest of its hold goes back. Returns the rows that changed.
    /// A leg without a hold changes nothing. More than was held is settled as well: it was spent.
    ///
    /// What was held first is spent first; what goes beyond the hold, into the windows of its last part.
    pub fn settle(&mut self, leg: LegId, cost: Money) -> Vec<Spend> {
        let Some(hold) = self.release(leg) else { return Vec::new() };
        let mut left = cost.max(Money::ZERO);
        let mut changed = BTreeSet::new();
        let last = hold.parts.len().saturating_sub(1);
        for (index, part) in hold.parts.iter().enumerate() {
            let share = if index == last { left } else { left.min(part.amount) };
            left = Money(left.0 - share.0);
            if share > Money::ZERO {
                for bucket in &part.buckets {
                    let settled = self.settled.entry(*bucket).or_default();
                    *settled = plus(*settled, share);
                    changed.insert(*bucket);
                }
            }
        }
        changed.into_iter().map(|bucket| Spend { bucket, settled: self.settled(&bucket) }).collect()
    }

    /// What a reset of an account would forget, in each of its windows. What is held stays held.
    pub fn settled_of(&self, account: Scope) -> Vec<Spend> {
        let of = self.settled.iter().filter(|(bucket, _)| bucket.account == account);
        let spent = of.filter(|(_, settled)| **settled > Money::ZERO);
        spent.map(|(bucket, settled)| Spend { bucket: *bucket, settled: *settled }).collect()
    }

    /// Carries out a reset: what was settled when it was asked for counts as nothing from now on, what was
    /// settled since still counts. Returns the rows of what is left.
    pub fn forget(&mut self, spent: &[Spend]) -> Vec<Spend> {
        let mut rows = Vec::new();
        for Spend { bucket, settled: forgotten } in spent {
            let Some(settled) = self.settled.get_mut(bucket) else { continue };
            *settled = Money(settled.0.saturating_sub(forgotten.0).max(0));
            if *settled > Money::ZERO {
                rows.push(Spend { bucket: *bucket, settled: *settled });
            }
            self.noted.retain(|(noted, ..)| noted.account != bucket.account);
        }
        rows
    }

    /// Every budget of the gate's policy with what is spent of it: one row for each of `extensions`
    /// where each has its own.
    pub fn accounts(&self, now: Now, gate: &Gate, extensions: &[ExtensionId]) -> Vec<Account> {
        let mut rows = Vec::new();
        for budget in &gate.policy().budgets {
            let scopes = match budget.of {
                Of::EachExtension => extensions
                    .iter()
                    .filter(|extension| !gate.policy().has_own_budget(**extension, budget.window))
                    .map(|extension| Scope::Extension(*extension))
                    .collect(),
                of => Vec::from_iter(of.scope()),
            };
            let span = gate.zone().window(now.utc, budget.window);
            for account in scopes {
                let bucket = Bucket { account, window: budget.window, begin: span.begin };
                rows.push(Account {
                    account,
                    window: budget.window,
                    begin: Utc(span.begin.saturating_mul(1_000_000)),
                    end: Utc(span.end.saturating_mul(1_000_000)),
                    spent: self.spent(&bucket),
                    soft: budget.soft,
                    hard: budget.hard,
                });
            }
        }
        rows
    }

    /// The next budget that somebody should hear of. Drained after each judgement.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Notes that a call was refused for want of money. [`Gate::judge`] can't, since it changes nothing;
    /// [`Gate::reserve`] and [`Gate::extend`] do it themselves.
    pub fn refused(&mut self, denial: &Denial) {
        if let Some(Figures::Budget { bucket, spent, limit, .. }) = denial.figures {
            self.note(Note { bucket, crossing: Crossing::Hard, spent, limit });
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        let new = self.noted.insert((note.bucket, note.crossing, note.limit));
        if new && self.notes.len() < Self::NOTES_MAX {
            self.notes.push_back(note);
        }
    }

    /// Holds a first or a further step of a leg.
    pub(crate) fn take(&mut self, step: Step) {
        let Step { leg, extension, amount, seconds, tail, buckets } = step;
        self.remember(&buckets);
        for bucket in &buckets {
            let held = self.held.entry(*bucket).or_default();
            *held = plus(*held, amount);
        }
        if !self.holds.contains_key(&leg) {
            *self.open.entry(extension).or_default() += 1;
        }
        let new = Hold { leg, extension, seconds, tail, parts: Vec::new() };
        let hold = self.holds.entry(leg).or_insert(new);
        hold.seconds = seconds;
        match hold.parts.last_mut() {
            Some(last) if last.buckets == buckets => last.amount = plus(last.amount, amount),
            Some(_) | None => hold.parts.push(HoldPart { amount, buckets }),
        }
    }

    pub(crate) fn count_attempt(&mut self, now: Now, extension: ExtensionId) {
        let made = self.attempts.entry(extension).or_default();
        while made.front().is_some_and(|at| now.instant.since(*at) >= Self::ATTEMPT_COUNTS) {
            made.pop_front();
        }
        made.push_back(now.instant);
    }

    /// Takes a leg's hold out of all sums.
    fn release(&mut self, leg: LegId) -> Option<Hold> {
        let hold = self.holds.remove(&leg)?;
        for part in &hold.parts {
            for bucket in &part.buckets {
                let held = self.held.entry(*bucket).or_default();
                *held = Money(held.0.saturating_sub(part.amount.0).max(0));
                if *held == Money::ZERO {
                    self.held.remove(bucket);
                }
            }
        }
        if let Some(open) = self.open.get_mut(&hold.extension) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&hold.extension);
            }
        }
        Some(hold)
    }

    fn hold_all(&mut self, hold: &Hold) {
        for part in hold.parts.iter().filter(|part| part.amount > Money::ZERO) {
            for bucket in &part.buckets {
                let held = self.held.entry(*bucket).or_default();
                *held = plus(*held, part.amount);
            }
        }
    }

    /// These windows are used now; what hasn't been for long is forgotten.
    fn remember(&mut self, buckets: &[Bucket]) {
        let mut sweep = false;
        for bucket in buckets {
            let recent = self.recent.entry(bucket.window).or_default();
            if recent.last() == Some(&bucket.begin) {
                continue;
            }
            recent.retain(|begin| *begin != bucket.begin);
            recent.push(bucket.begin);
            if recent.len() > Self::WINDOWS_KEPT {
                recent.remove(0);
                sweep = true;
            }
        }
        if sweep {
            self.sweep();
        }
    }

    /// At most once an hour. Sums that a hold still refers to stay.
    fn sweep(&mut self) {
        let parts = self.holds.values().flat_map(|hold| &hold.parts);
        let needed: BTreeSet<Bucket> =
            parts.flat_map(|part| part.buckets.iter().copied()).collect();
        let recent = &self.recent;
        let keep = |bucket: &Bucket| {
            let begins = recent.get(&bucket.window);
            begins.is_some_and(|begins| begins.contains(&bucket.begin)) || needed.contains(bucket)
        };
        self.settled.retain(|bucket, _| keep(bucket));
        self.noted.retain(|(bucket, ..)| keep(bucket));
        self.attempts.retain(|_, made| !made.is_empty());
    }
}

impl Note {
    /// Whose budget, for the journal: `the operator`, `role staff`, `extension 101`. `number` knows the
    /// numbers of extensions, which the policy doesn't.
    pub fn account_in_words(
        &self,
        policy: &Policy,
        number: impl Fn(ExtensionId) -> Option<String>,
    ) -> String {
        self.bucket.account.in_words(policy, number)
    }
}

/// Stays at the most there can be: that counts as spent.
fn plus(a: Money, b: Money) -> Money {
    Money(a.0.saturating_add(b.0))
}
