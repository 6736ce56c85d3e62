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
//! settled, and so was counted by it. And since each leg holds at least an increment of that window, all
//! their tails together are no more than the budget itself.
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
use crate::ledger::{Bucket, Hold, Ledger, Window};
use crate::money::{Currency, Money};
use crate::number::Class;
use crate::numbering::countries_of;
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    let mut up: BTreeMap<ExtensionId, Up> = BTreeMap::new();
    for hold in ledger.holds() {
        up.entry(hold.extension).or_default().add(hold);
    }

    let scene = Scene { policy, ledger, windows: &windows };
    // There is one tenant until there are more.
    let tenant = TenantId::HOUSE;
    let mut lines = Vec::with_capacity(extensions.len() + policy.roles.len() + 2);
    let mut sums: BTreeMap<RoleId, Sum> = BTreeMap::new();
    for extension in extensions {
        let role = policy.role_of(*extension).0;
        let own = up.remove(extension).unwrap_or_default();
        let reach = reach.get(&role).copied().unwrap_or_default();
        let tails = reach.tails(own);
        let locked = policy.locked(tenant, Some(Responsible::Extension(*extension)));
        let mut line = if locked {
            Line { loss: own.loss(), binding: Binding::Lockdown }
        } else {
            reach.pace(own)
        };
        for (account, budget) in policy.budgets_of(tenant, *extension) {
            line.bound(scene.budget(account, budget, tails));
        }
        lines.push(line.of(Scope::Extension(*extension)));
        sums.entry(role).or_default().add(line, tails);
    }

    let mut whole = Sum::default();
    for role in policy.roles.keys() {
        let sum = sums.remove(role).unwrap_or_default();
        let accounts = [Scope::Role(*role), Scope::Tenant(tenant), Scope::Operator];
        let mut line = sum.line();
        scene.bound(&mut line, &accounts, sum.tails);
        if policy.lockdown.covers(Scope::Role(*role)) || policy.locked(tenant, None) {
            line.binding = Binding::Lockdown;
        }
        lines.push(line.of(Scope::Role(*role)));
        whole.add(line, sum.tails);
    }
    // Extensions whose role there isn't may call nothing outside; legs of removed ones may be up.
    let of_none = sums.into_values().map(|sum| (sum.line(), sum.tails));
    let of_gone = up.into_values().map(|own| {
        let line = Line { loss: own.loss(), binding: Binding::NothingAllowed };
        (line, Reach::default().tails(own))
    });
    for (line, tails) in of_none.chain(of_gone) {
        whole.add(line, tails);
    }
    for (scope, accounts) in [
        (Scope::Tenant(tenant), [Scope::Tenant(tenant), Scope::Operator].as_slice()),
        (Scope::Operator, [Scope::Tenant(tenant), Scope::Operator].as_slice()),
    ] {
        let mut line = whole.line();
        scene.bound(&mut line, accounts, whole.tails);
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

/// Legs that are up now.
#[derive(Clone, Copy, Default)]
struct Up {
    legs: u32,
    held: Money,
    tail: Money,
    /// See [`Tails::factor`].
    factor: i64,
}

/// What carriers may bill at one moment beyond what is held: an increment for each leg that may be up.
#[derive(Clone, Copy, Default)]
struct Tails {
    most: Money,
    legs: i64,
    /// So many times what a leg holds in a window may its tail be: once, but for rates whose first step
    /// is shorter than an increment.
    factor: i64,
    /// Of legs that are up now. They may have been paid in a former window, and overrun that one.
    up: Money,
}

/// Several lines at once.
#[derive(Default)]
struct Sum {
    loss: Loss,
    tails: Tails,
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
    fn add(&mut self, line: Line, tails: Tails) {
        self.loss.most = plus(self.loss.most, line.loss.most);
        self.loss.tail = plus(self.loss.tail, line.loss.tail);
        self.tails = self.tails.and(tails);
        if self.largest.is_none_or(|largest| largest.loss.most < line.loss.most) {
            self.largest = Some(line);
        }
    }

    fn line(&self) -> Line {
        let binding = self.largest.map_or(Binding::NothingAllowed, |line| line.binding);
        Line { loss: self.loss, binding }
    }
}

impl Up {
    fn add(&mut self, hold: &Hold) {
        self.legs += 1;
        self.held = plus(self.held, hold.amount());
        self.tail = plus(self.tail, hold.tail);
        let last = hold.parts.last().map_or(1, |part| part.amount.0.max(1));
        // The millionth is that of `Tails::within`.
        self.factor = self.factor.max(hold.tail.0.saturating_sub(1) / last + 1);
    }

    /// If nothing more is granted: what is held, and the tails.
    fn loss(self) -> Loss {
        Loss { most: plus(self.held, self.tail), tail: self.tail }
    }
}

impl Tails {
    fn and(self, other: Self) -> Self {
        Self {
            most: plus(self.most, other.most),
            legs: self.legs.saturating_add(other.legs),
            factor: self.factor.max(other.factor),
            up: plus(self.up, other.up),
        }
    }

    /// In one window of which `held` may be held at once.
    fn within(self, held: Money) -> Money {
        // A step is a difference of rounded costs: a millionth less than an increment, at worst.
        self.most.min(plus(times(held, self.factor), Money(self.legs)))
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
    /// What a budget lets through, if it has a hard limit.
    fn budget(&self, account: Scope, budget: &Budget, tails: Tails) -> Option<Line> {
        let hard = budget.hard?;
        let window = budget.window;
        let (begin, later) = self.windows.of(window);
        let bucket = Bucket { account, window, begin };
        // Where a limit was lowered below what is held, the holds may be spent all the same.
        let held = self.ledger.held(&bucket);
        let unspent = Money(hard.0.saturating_sub(self.ledger.settled(&bucket).0));
        let present = unspent.max(held);
        let former = self.ledger.held_elsewhere(account, window, begin);
        let of_former = if former > Money::ZERO { tails.up } else { Money::ZERO };
        let of_present = tails.within(hard.max(held));
        let tail = plus(plus(of_former, of_present), times(tails.within(hard), later));
        let most = plus(plus(present, former), plus(times(hard, later), tail));
        Some(Line { loss: Loss { most, tail }, binding: Binding::Budget { account, window } })
    }

    fn bound(&self, line: &mut Line, accounts: &[Scope], tails: Tails) {
        for budget in &self.policy.budgets {
            let scope = match budget.of {
                Account::EachExtension | Account::Extension(_) => None,
                of => of.scope(),
            };
            if let Some(account) = scope.filter(|scope| accounts.contains(scope)) {
                line.bound(self.budget(account, budget, tails));
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

    fn tails(&self, own: Up) -> Tails {
        let lines = if self.allowed { self.calls_max } else { 0 };
        let legs = i64::from(lines.max(own.legs));
        Tails {
            // Those that are up may have other rates than what may be called now.
            most: plus(times(self.ceiling.increment, i64::from(lines)), own.tail),
            legs,
            factor: self.ceiling.factor.max(own.factor),
            up: own.tail,
        }
    }

    /// As fast as it goes, beside the legs that are up.
    fn pace(&self, own: Up) -> Line {
        if !self.allowed {
            return Line { loss: own.loss(), binding: Binding::NothingAllowed };
        }
        let calls = self.attempts.saturating_add(i64::from(own.legs));
        let lines = i64::from(self.calls_max.max(own.legs));
        let talk = self.seconds.saturating_mul(lines).min(self.longest.saturating_mul(calls));
        let seconds = u64::try_from(talk).unwrap_or(u64::MAX);
        let talk = of_minute(self.ceiling.per_minute, seconds).unwrap_or(Money(i64::MAX));
        // Each call is rounded up to a millionth by itself.
        let answer = plus(self.ceiling.answer, Money(1));
        let tail = plus(times(self.ceiling.increment, calls), own.tail);
        // What is held for legs that are up pays for time that has passed, too.
        let most = plus(plus(talk, times(answer, calls)), plus(tail, own.held));
        Line { loss: Loss { most, tail }, binding: Binding::Pace }
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
    let mut known = BTreeMap::new();
    let mut ceiling = gate.deck().ceiling(max, |prefix| reaches(policy, role, prefix, &mut known));
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

/// Whether some number below a prefix may be in a country that the role allows. A prefix says little
/// about the class of a number below it, so any class may be meant.
///
/// `known` remembers the answers for short beginnings: a longer prefix belongs to no more countries,
/// so a deck's thousands of lines for one country ask once.
fn reaches(policy: &Policy, role: &Role, prefix: &str, known: &mut BTreeMap<String, bool>) -> bool {
    // Networks of no country begin with +87, +88 and +97.
    if role.classes.contains(&Class::Satellite) && prefix.starts_with(['8', '9']) {
        return true;
    }
    let allowed = |prefix: &str| {
        let owners = countries_of(prefix);
        owners.iter().any(|owner| *owner == policy.home || role.countries.contains(owner))
    };
    let short = prefix.get(..4).unwrap_or(prefix);
    let maybe = match known.get(short) {
        Some(known) => *known,
        None => {
            let found = allowed(short);
            known.insert(short.to_owned(), found);
            found
        }
    };
    maybe && (short == prefix || allowed(prefix))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use pure::Instant;

    use super::*;
    use crate::gate::{Algorithm, Attempt, Destination, Origin, Proof, Standing, Verdict};
    use crate::id::{CallId, LegId};
    use crate::ledger::Spend;
    use crate::number::{Country, Digits, Outside};
    use crate::rate::RateDeck;

    const ALICE: ExtensionId = ExtensionId(0xa11ce);
    const BOB: ExtensionId = ExtensionId(0xb0b);

    /// Friday 2026-11-27, 17:00.
    const FRIDAY: Now = Now { instant: Instant(0), utc: Utc(1_795_798_800_000_000) };

    /// A dollar a minute, in whole ones.
    fn gate(change: impl FnOnce(&mut Policy)) -> Gate {
        let policy = Policy::first(Country::US).next(|policy| {
            policy.zone = "UTC".to_owned();
            for role in policy.roles.values_mut() {
                role.price_max = Money(1_000_000);
            }
            change(policy);
        });
        let text = "prefix,price,increment\n1,1,60/60\n";
        let deck = RateDeck::import(text.as_bytes(), policy.currency, 1).expect("a deck");
        Gate::new(policy, Arc::new(deck))
    }

    fn dial(gate: &Gate, now: Now, leg: u128, ledger: &mut Ledger) {
        let digits = Digits::parse("+12125550100").expect("digits");
        let attempt = Attempt {
            tenant: TenantId::HOUSE,
            call: CallId(leg),
            leg: LegId(leg),
            origin: Origin::Phone,
            responsible: Some(Responsible::Extension(ALICE)),
            destination: Destination::Outside(Outside::new(
                digits,
                Class::National,
                Some(Country::US),
            )),
            standing: Standing::Proved(Proof::Digest(Algorithm::Sha256)),
        };
        let Verdict::NeedReserve(request) = gate.judge(now, &attempt, ledger) else {
            panic!("it may be called")
        };
        gate.reserve(now, request, ledger).expect("judged a moment ago");
    }

    fn shown(exposure: &Exposure) -> String {
        let amount = |money: Money| money.display(exposure.currency).to_string();
        let policy = Policy::first(Country::US);
        let number = |extension| Some(if extension == ALICE { "101" } else { "102" }.to_owned());
        let line = |line: &ExposureLine| {
            format!(
                "{}: {}, tail {}, {}\n",
                line.of.in_words(&policy, number),
                amount(line.most),
                amount(line.tail),
                line.binding.in_words(&policy, number)
            )
        };
        exposure.lines.iter().map(line).collect()
    }

    #[test]
    fn the_first_policy_bounds_a_weekend_by_its_budgets() {
        let gate = gate(|policy| {
            policy.members.insert(BOB, RoleId(2));
        });
        let printed = exposure(&gate, &Ledger::default(), FRIDAY, &[ALICE, BOB]);
        assert_eq!(printed.until.to_string(), "2026-11-30T08:00:00.000Z");
        // Friday, Saturday, Sunday and Monday have 20 each, and three calls may overrun each day; the
        // lobby has one line.
        let expected = "\
extension 101: 92.00 USD, tail 12.00 USD, the day budget of extension 101
extension 102: 84.00 USD, tail 4.00 USD, the day budget of extension 102
role staff: 92.00 USD, tail 12.00 USD, the day budget of extension 101
role lobby: 84.00 USD, tail 4.00 USD, the day budget of extension 102
tenant 1: 176.00 USD, tail 16.00 USD, the day budget of extension 101
the operator: 176.00 USD, tail 16.00 USD, the day budget of extension 101
";
        assert_eq!(shown(&printed), expected, "\n{}", shown(&printed));
    }

    #[test]
    fn the_operators_budget_bounds_the_sum_of_many() {
        let gate = gate(|_| {});
        let all: Vec<ExtensionId> = (1..=30).map(ExtensionId).collect();
        let printed = exposure(&gate, &Ledger::default(), FRIDAY, &all);
        let operator = printed.lines.last().expect("the operator");
        // What is left of this week, all of the next one, and what 90 calls overrun in each.
        assert_eq!(operator.most, Money(2 * 200_000_000 + 2 * 90_000_000));
        assert_eq!(
            operator.binding,
            Binding::Budget { account: Scope::Operator, window: Window::Week }
        );
    }

    #[test]
    fn tails_are_no_more_than_what_is_held_for_their_legs() {
        let gate = gate(|policy| {
            let (of, window) = (Account::EachExtension, Window::Week);
            policy.budgets = vec![Budget { of, window, soft: None, hard: Some(Money(1_000_000)) }];
        });
        let printed = exposure(&gate, &Ledger::default(), FRIDAY, &[ALICE]);
        // A dollar bears one call of a minute, not three; a millionth for each is rounding.
        assert_eq!(printed.lines[0].tail, Money(2 * 1_000_003));
    }

    #[test]
    fn what_is_held_and_what_is_settled_already_are_told_apart() {
        let gate = gate(|_| {});
        let begin = gate.zone().window(FRIDAY.utc, Window::Day).begin;
        let bucket = Bucket { account: Scope::Extension(ALICE), window: Window::Day, begin };
        let mut ledger = Ledger::restore([Spend { bucket, settled: Money(15_000_000) }], []);
        let before = exposure(&gate, &ledger, FRIDAY, &[ALICE]).lines[0].most;
        assert_eq!(before, Money(92_000_000 - 15_000_000));
        // Held money may be spent yet: the figure is as it was, and the leg has its tail.
        dial(&gate, FRIDAY, 1, &mut ledger);
        let held = exposure(&gate, &ledger, FRIDAY, &[ALICE]).lines[0];
        assert!(held.most >= before, "{held:?}");
    }

    #[test]
    fn legs_paid_in_a_former_window_count_beside_the_present_one() {
        let gate = gate(|policy| {
            let (of, window) = (Account::EachExtension, Window::Hour);
            policy.budgets = vec![Budget { of, window, soft: None, hard: Some(Money(2_000_000)) }];
            policy.working = "mon-sun 18:30-19:00".parse().expect("hours");
        });
        let mut ledger = Ledger::default();
        let before = Now { utc: Utc(FRIDAY.utc.0 - 1_000_000), ..FRIDAY };
        dial(&gate, before, 1, &mut ledger);
        let alone = exposure(&gate, &Ledger::default(), FRIDAY, &[ALICE]).lines[0].most;
        let beside = exposure(&gate, &ledger, FRIDAY, &[ALICE]).lines[0].most;
        // A dollar held in the hour before, and its tail there.
        assert_eq!(beside, Money(alone.0 + 2_000_000));
    }

    #[test]
    fn a_lockdown_leaves_what_is_up() {
        let open = gate(|_| {});
        let mut ledger = Ledger::default();
        dial(&open, FRIDAY, 1, &mut ledger);
        let locked = gate(|policy| policy.lockdown.add(Scope::Operator));
        let printed = exposure(&locked, &ledger, FRIDAY, &[ALICE, BOB]);
        for (line, most) in printed.lines.iter().zip([2_000_000, 0, 2_000_000, 0, 2_000_000]) {
            assert_eq!((line.most, line.binding), (Money(most), Binding::Lockdown), "{line:?}");
        }
        // A leg of an extension that is gone is the operator's all the same.
        let printed = exposure(&open, &ledger, FRIDAY, &[]);
        assert_eq!(printed.lines.last().map(|line| line.most), Some(Money(2_000_000)));
    }

    #[test]
    fn where_nothing_dear_may_be_dialled_nothing_can_be_lost() {
        let free = gate(|policy| {
            let staff = policy.roles.get_mut(&RoleId(1)).expect("staff");
            staff.price_max = Money::ZERO;
        });
        let line = exposure(&free, &Ledger::default(), FRIDAY, &[ALICE]).lines[0];
        assert_eq!((line.most, line.binding), (Money::ZERO, Binding::NothingAllowed));
    }

    #[test]
    fn without_a_budget_the_pace_decides() {
        let gate = gate(|policy| {
            policy.budgets.clear();
            policy.working = "mon-sun 18:00-19:00".parse().expect("hours");
            let staff = policy.roles.get_mut(&RoleId(1)).expect("staff");
            staff.hours = "mon-sun 17:00-17:30".parse().expect("hours");
            (staff.calls_max, staff.calls_per_hour) = (2, 10);
            staff.longest = Duration::from_secs(7_200);
        });
        let line = exposure(&gate, &Ledger::default(), FRIDAY, &[ALICE]).lines[0];
        assert_eq!(line.binding, Binding::Pace);
        // Two lines for 30 minutes, and 150 seconds over at the closing and at the end: 70 minutes. At
        // most twenty attempts, each with a minute of rounding (and a millionth) and one of tail.
        assert_eq!(line.most, Money(70_000_000 + 20 * 2_000_001));
        assert_eq!(line.tail, Money(20_000_000));
    }

    #[test]
    fn only_prefixes_of_allowed_countries_count() {
        let text = "prefix,price,increment\n1,0.1,60/60\n1876,0.7,60/60\n37190,0.9,60/60\n8816,0.95,60/60\n";
        let dearest = |countries: &[&str], satellite: bool| {
            let mut role = Role { price_max: Money(1_000_000), ..Role::staff() };
            role.classes = [Class::National].into();
            if satellite {
                role.classes.insert(Class::Satellite);
            }
            role.countries = countries.iter().map(|code| code.parse().expect("capitals")).collect();
            let policy = Policy::first(Country::US);
            let deck = RateDeck::import(text.as_bytes(), policy.currency, 1).expect("a deck");
            let gate = Gate::new(policy, Arc::new(deck));
            let of_deck =
                |prefix: &str| reaches(gate.policy(), &role, prefix, &mut BTreeMap::new());
            gate.deck().ceiling(role.price_max, of_deck).per_minute.0
        };
        assert_eq!(dearest(&[], false), 100_000);
        assert_eq!(dearest(&["JM"], false), 700_000);
        assert_eq!(dearest(&["LV", "JM"], false), 900_000);
        assert_eq!(dearest(&[], true), 950_000);
    }

    #[test]
    fn the_morning_is_the_next_opening_of_the_working_hours() {
        let until = |working: &str| {
            let gate = gate(|policy| policy.working = working.parse().expect("hours"));
            exposure(&gate, &Ledger::default(), FRIDAY, &[]).until.to_string()
        };
        assert_eq!(until("mon-fri 08:00-18:00"), "2026-11-30T08:00:00.000Z");
        assert_eq!(until("mon-sun 18:00-24:00"), "2026-11-27T18:00:00.000Z");
        assert_eq!(until("always"), "2026-11-28T17:00:00.000Z");
        assert_eq!(until("never"), "2026-12-04T17:00:00.000Z");
    }
}
