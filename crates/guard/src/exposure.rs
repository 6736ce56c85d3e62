//! Exposure: the most that could be lost before somebody could act, from what the gate enforces.
//!
//! For each extension: what whoever holds its password could spend until the next working morning, if
//! they spent as fast as every rule allows. For a role, a tenant and the operator: all of it at once.
//!
//! *What is counted* is new cost: all that legs of the account, those up now included, may still settle,
//! when they began before the morning. What is held for a leg now counts, since it may yet be spent.
//!
//! *A budget* lets through what isn't settled yet of its present window, and every later window that
//! begins before the morning in full. Beyond it there is the tail: when the last step of a window is
//! granted, each leg that is up may be billed one increment more than was held for it, because a carrier
//! starts its clock earlier and stops it later than we do. Whatever overran before that grant was
//! settled, and so was counted by it.
//!
//! *The pace* is what calls at once, in the hours that are allowed until then, cost at the dearest price
//! that the role may call; each attempt may have its fee, its rounding up and its tail. A call may run
//! past the hours of its role by the step that was granted last.
//!
//! The least of these decides. The figures hold for this policy, this deck and a clock that isn't set:
//! a leg that was priced by a former deck is counted at this one's prices.

#[cfg(test)]
mod attack;

use std::collections::BTreeMap;

use pure::{Now, Utc};

use crate::gate::{Gate, Responsible};
use crate::id::{ExtensionId, RoleId, TenantId};
use crate::ledger::{Bucket, Ledger, Window};
use crate::money::{Currency, Money};
use crate::number::Class;
use crate::policy::{Account, Budget, Hours, Policy, Role, Scope};
use crate::rate::{Ceiling, estimate, of_minute};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exposure {
    pub currency: Currency,
    pub from: Utc,
    /// The next working morning.
    pub until: Utc,
    /// Extensions, roles, tenants, and the operator last.
    pub lines: Vec<ExposureLine>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExposureLine {
    pub of: Scope,
    /// New money at most, the tail included.
    pub most: Money,
    /// Of `most`: increments that a carrier may begin after our BYE has left.
    pub tail: Money,
    pub binding: Binding,
}

/// Which limit decides. Of a sum, the limit that decides for its largest part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Nothing outside that costs money may be dialled.
    NothingAllowed,
    /// The lockdown.
    Lockdown,
    /// A budget.
    Budget { account: Scope, window: Window },
    /// Hours, calls at once, calls an hour and the dearest price allowed.
    Pace,
}

/// Computes it for these extensions. In time with the deck's lines for each role, and with the
/// extensions.
pub fn exposure(gate: &Gate, ledger: &Ledger, now: Now, extensions: &[ExtensionId]) -> Exposure {
    let policy = gate.policy();
    let until = morning(gate, now.utc);
    let windows = Windows::new(gate, now.utc, until);
    let mut reach = BTreeMap::new();
    for (id, role) in &policy.roles {
        reach.insert(*id, Reach::new(gate, role, now.utc, until));
    }
    let mut up: BTreeMap<ExtensionId, Loss> = BTreeMap::new();
    for hold in ledger.holds() {
        let loss = up.entry(hold.extension).or_default();
        loss.most = plus(loss.most, plus(hold.amount(), hold.tail));
        loss.tail = plus(loss.tail, hold.tail);
    }

    let scene = Scene { policy, ledger, windows: &windows };
    // There is one tenant until there are more.
    let tenant = TenantId::HOUSE;
    let mut lines = Vec::with_capacity(extensions.len() + policy.roles.len() + 2);
    let mut sums: BTreeMap<RoleId, Sum> = BTreeMap::new();
    for extension in extensions {
        let role = policy.role_of(*extension).0;
        let own = up.remove(extension).unwrap_or_default();
        let open = ledger.open(*extension);
        let reach = reach.get(&role).copied().unwrap_or_default();
        let tail = reach.tail(open).max(own.tail);
        let locked = policy.locked(tenant, Some(Responsible::Extension(*extension)));
        let mut line = if locked {
            Line { loss: own, binding: Binding::Lockdown }
        } else {
            reach.pace(open, own)
        };
        for (account, budget) in policy.budgets_of(tenant, *extension) {
            line.bound(scene.budget(account, budget, tail));
        }
        lines.push(line.of(Scope::Extension(*extension)));
        sums.entry(role).or_default().add(line, tail);
    }

    let mut whole = Sum::default();
    for role in policy.roles.keys() {
        let sum = sums.remove(role).unwrap_or_default();
        let accounts = [Scope::Role(*role), Scope::Tenant(tenant), Scope::Operator];
        let mut line = sum.line();
        scene.bound(&mut line, &accounts, sum.tail);
        if policy.lockdown.covers(Scope::Role(*role)) {
            line.binding = Binding::Lockdown;
        }
        lines.push(line.of(Scope::Role(*role)));
        whole.add(line, sum.tail);
    }
    // Extensions whose role there isn't may call nothing outside; legs of removed ones may be up.
    let of_none = sums.into_values().map(|sum| (sum.line(), sum.tail));
    let of_gone = up.into_values().map(|loss| {
        let binding = Binding::NothingAllowed;
        (Line { loss, binding }, loss.tail)
    });
    for (line, tail) in of_none.chain(of_gone) {
        whole.add(line, tail);
    }
    for (scope, accounts) in [
        (Scope::Tenant(tenant), [Scope::Tenant(tenant), Scope::Operator].as_slice()),
        (Scope::Operator, [Scope::Tenant(tenant), Scope::Operator].as_slice()),
    ] {
        let mut line = whole.line();
        scene.bound(&mut line, accounts, whole.tail);
        if policy.locked(tenant, None) {
            line.binding = Binding::Lockdown;
        }
        lines.push(line.of(scope));
    }
    Exposure { currency: policy.currency, from: now.utc, until, lines }
}

impl Binding {
    /// For people, without a capital or a full stop. `number` knows the numbers of extensions.
    pub fn in_words(
        self,
        policy: &Policy,
        number: impl Fn(ExtensionId) -> Option<String>,
    ) -> String {
        match self {
            Self::NothingAllowed => "nothing that costs money may be dialled".to_owned(),
            Self::Lockdown => "the lockdown".to_owned(),
            Self::Budget { account, window } => {
                format!("the {window} budget of {}", account.in_words(policy, number))
            }
            Self::Pace => "calls at once, hours, and the dearest price allowed".to_owned(),
        }
    }
}

/// Money that may be lost, and how much of it is tail.
#[derive(Clone, Copy, Default)]
struct Loss {
    most: Money,
    tail: Money,
}

#[derive(Clone, Copy)]
struct Line {
    loss: Loss,
    binding: Binding,
}

/// Several lines at once.
#[derive(Default)]
struct Sum {
    loss: Loss,
    /// The tail of one moment: an increment for each leg that may be up.
    tail: Money,
    largest: Option<Line>,
}

/// Windows that touch the night.
struct Windows {
    /// When the present one began, and how many begin later but before the morning.
    of: [(Window, i64, i64); 3],
}

struct Scene<'a> {
    policy: &'a Policy,
    ledger: &'a Ledger,
    windows: &'a Windows,
}

/// What a role lets each of its extensions do until the morning.
#[derive(Clone, Copy, Default)]
struct Reach {
    /// Whether a new call may be made at all.
    allowed: bool,
    calls_max: u32,
    /// Seconds in which calls may be up, by the hours and what they may run over.
    seconds: i64,
    attempts: i64,
    longest: i64,
    ceiling: Ceiling,
}

impl Line {
    fn of(self, of: Scope) -> ExposureLine {
        let Self { loss: Loss { most, tail }, binding } = self;
        ExposureLine { of, most, tail, binding }
    }

    fn bound(&mut self, other: Option<Self>) {
        if let Some(other) = other.filter(|other| other.loss.most < self.loss.most) {
            *self = other;
        }
    }
}

impl Sum {
    fn add(&mut self, line: Line, tail: Money) {
        self.loss.most = plus(self.loss.most, line.loss.most);
        self.loss.tail = plus(self.loss.tail, line.loss.tail);
        self.tail = plus(self.tail, tail);
        if self.largest.is_none_or(|largest| largest.loss.most < line.loss.most) {
            self.largest = Some(line);
        }
    }

    fn line(&self) -> Line {
        let binding = self.largest.map_or(Binding::NothingAllowed, |line| line.binding);
        Line { loss: self.loss, binding }
    }
}

impl Windows {
    fn new(gate: &Gate, from: Utc, until: Utc) -> Self {
        let of = Window::ALL.map(|window| {
            let present = gate.zone().window(from, window);
            let mut later = 0;
            let mut end = present.end;
            while end.saturating_mul(1_000_000) < until.0 && later < Self::LATER_MAX {
                later += 1;
                let next = gate.zone().window(Utc(end.saturating_mul(1_000_000)), window).end;
                end = next.max(end.saturating_add(1));
            }
            (window, present.begin, later)
        });
        Self { of }
    }

    /// The night is a week at most: no more windows than it has hours, and an hour to spare.
    const LATER_MAX: i64 = 8 * 24;

    fn of(&self, window: Window) -> (i64, i64) {
        let found = self.of.iter().find(|(known, ..)| *known == window);
        found.map_or((0, 0), |(_, begin, later)| (*begin, *later))
    }
}

impl Scene<'_> {
    /// What a budget lets through, if it has a hard limit; `tail` is that of one moment.
    fn budget(&self, account: Scope, budget: &Budget, tail: Money) -> Option<Line> {
        let hard = budget.hard?;
        let window = budget.window;
        let (begin, later) = self.windows.of(window);
        let bucket = Bucket { account, window, begin };
        // Where a limit was lowered below what is held, the holds may be spent all the same.
        let unspent = Money(hard.0.saturating_sub(self.ledger.settled(&bucket).0));
        let present = unspent.max(self.ledger.held(&bucket));
        let former = self.ledger.held_elsewhere(account, window, begin);
        let tails = times(tail, later.saturating_add(1));
        let most = plus(plus(present, former), plus(times(hard, later), tails));
        let binding = Binding::Budget { account, window };
        Some(Line { loss: Loss { most, tail: tails }, binding })
    }

    fn bound(&self, line: &mut Line, accounts: &[Scope], tail: Money) {
        for budget in &self.policy.budgets {
            let scope = match budget.of {
                Account::EachExtension | Account::Extension(_) => None,
                of => of.scope(),
            };
            if let Some(account) = scope.filter(|scope| accounts.contains(scope)) {
                line.bound(self.budget(account, budget, tail));
            }
        }
    }
}

impl Reach {
    fn new(gate: &Gate, role: &Role, from: Utc, until: Utc) -> Self {
        let ceiling = ceiling(gate, role);
        let (open, runs) = open(gate, &role.hours, from, until);
        // Ringing isn't billed, so a first step that was held at the last moment counts as the last one.
        let step = i64::try_from(Gate::STEP).unwrap_or(i64::MAX);
        let ahead = i64::try_from(Gate::EXTEND_AHEAD.as_secs()).unwrap_or(i64::MAX);
        let over = ahead + step + i64::from(ceiling.whole);
        let priced = ceiling.per_minute > Money::ZERO || ceiling.answer > Money::ZERO;
        // Each run of open hours begins an hour's count anew at best.
        let hours = open / 3_600 + runs;
        Self {
            allowed: priced && open > 0 && role.calls_max > 0 && role.calls_per_hour > 0,
            calls_max: u32::from(role.calls_max),
            seconds: open.saturating_add(over.saturating_mul(runs)),
            attempts: i64::from(role.calls_per_hour).saturating_mul(hours),
            longest: i64::try_from(role.longest.as_secs()).unwrap_or(i64::MAX),
            ceiling,
        }
    }

    /// An increment for each leg that may be up.
    fn tail(&self, open: u32) -> Money {
        times(self.ceiling.increment, i64::from(self.calls_max.max(open)))
    }

    /// As fast as it goes: `open` legs are up, for which `own` is held.
    fn pace(&self, open: u32, own: Loss) -> Line {
        if !self.allowed {
            return Line { loss: own, binding: Binding::NothingAllowed };
        }
        let calls = self.attempts.saturating_add(i64::from(open));
        let lines = i64::from(self.calls_max.max(open));
        let talk = self.seconds.saturating_mul(lines).min(self.longest.saturating_mul(calls));
        let seconds = u64::try_from(talk).unwrap_or(u64::MAX);
        let talk = of_minute(self.ceiling.per_minute, seconds).unwrap_or(Money(i64::MAX));
        // Each call is rounded up to a millionth by itself.
        let answer = plus(self.ceiling.answer, Money(1));
        let tail = times(self.ceiling.increment, calls);
        // What is held for legs that are up pays for time that has passed, too.
        let most = plus(plus(talk, times(answer, calls)), tail);
        Line { loss: Loss { most: plus(most, own.most), tail }, binding: Binding::Pace }
    }
}

/// When somebody would notice: the next opening of the working hours. Where there is always somebody,
/// a day from now; where there never is, a week.
fn morning(gate: &Gate, now: Utc) -> Utc {
    let working = &gate.policy().working;
    let next = working.openings().map(|minute| gate.zone().next(now, minute)).min();
    let days = if working.open(0) { 1 } else { 7 };
    next.unwrap_or(Utc(now.0.saturating_add(days * 86_400 * 1_000_000)))
}

/// The most that a role's extensions may be charged, by the deck and by the estimate.
fn ceiling(gate: &Gate, role: &Role) -> Ceiling {
    if role.classes.is_empty() {
        return Ceiling::default();
    }
    let policy = gate.policy();
    let max = role.price_max;
    // A prefix says little about the class of a number below it, so any class may be meant.
    let mut ceiling = gate.deck().ceiling(max, |_prefix| true);
    let countries = role.countries.iter().copied().chain([policy.home]).map(Some);
    for country in countries.chain([None]) {
        for class in role.classes.iter().filter(|class| **class != Class::Unknown) {
            let estimated = estimate(policy.currency, policy.home, *class, country);
            let rate = estimated.filter(|rate| rate.per_minute <= max && rate.connect <= max);
            if let Some(rate) = rate {
                let (per_minute, connect) = (rate.per_minute, rate.connect);
                ceiling = ceiling.with(per_minute, connect, rate.first, rate.increment);
            }
        }
    }
    ceiling
}

/// Seconds between two instants in which hours are open, rounded up to minutes, and how many runs they
/// may be in: one for each closing, and one for the end.
fn open(gate: &Gate, hours: &Hours, from: Utc, until: Utc) -> (i64, i64) {
    // Clocks change on quarters of an hour; a quarter in which they do counts as open.
    const QUARTER: i64 = 900;
    let (mut seconds, mut runs) = (0, 1);
    let (mut at, end) = (from.seconds(), until.seconds().saturating_add(1));
    while at < end {
        let next = (at - at.rem_euclid(QUARTER) + QUARTER).min(end);
        let minute = |second: i64| {
            i64::from(gate.zone().minute_of_week(Utc(second.saturating_mul(1_000_000))))
        };
        let (first, last) = (minute(at), minute(next - 1));
        let steady = (last - first).rem_euclid(i64::from(Hours::WEEK)) <= QUARTER / 60;
        if steady && first <= last {
            for (open, close) in &hours.0 {
                let (open, close) = (i64::from(*open), i64::from(*close));
                let overlap = close.min(last + 1) - open.max(first);
                seconds += overlap.max(0) * 60;
                runs += i64::from((first + 1..=last + 1).contains(&close));
            }
        } else {
            seconds += next - at;
            runs += 1;
        }
        at = next;
    }
    (seconds, runs)
}

fn plus(a: Money, b: Money) -> Money {
    Money(a.0.saturating_add(b.0))
}

fn times(money: Money, count: i64) -> Money {
    Money(money.0.saturating_mul(count))
}
