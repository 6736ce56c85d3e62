//! An attacker against the printed figure: spends as fast as every rule allows, in simulated time, until
//! the next working morning, and never exceeds what the exposure said beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pure::{Chance, Instant};

use super::*;
use crate::gate::{
    Algorithm, Attempt, Destination, Figures, Origin, Proof, Rule, Standing, Verdict,
};
use crate::id::{CallId, LegId};
use crate::number::{Country, Digits, Outside};
use crate::policy::Lockdown;
use crate::rate::{Rate, RateDeck};

const POLICIES: u64 = 1_000;

/// Events of one night at most. Where it is reached, the attacker rests for the remainder.
const EVENTS_MAX: usize = 6_000;

/// 2026-10-21, in the week in which the clocks of Europe go back.
const START: i64 = 1_792_540_800;

fn pick<T: Copy>(chance: &mut Chance, all: &[T]) -> T {
    let index = chance.below(u64::try_from(all.len()).expect("a length"));
    all[usize::try_from(index).expect("an index")]
}

/// Numbers that the attacker knows: of every class, at home and abroad.
fn numbers() -> Vec<Outside> {
    let all = [
        ("+12125550100", Class::National, Some("US")),
        ("+18005550100", Class::TollFree, Some("US")),
        ("+19005550100", Class::Premium, Some("US")),
        ("+13475550100", Class::Mobile, Some("US")),
        ("+18765550100", Class::NanpAbroad, Some("JM")),
        ("+37120555010", Class::International, Some("LV")),
        ("+37190555010", Class::Premium, Some("LV")),
        ("+881605550100", Class::Satellite, None),
    ];
    let number = |(digits, class, country): &(&str, Class, Option<&str>)| {
        let country = country.map(|code| code.parse().expect("capitals"));
        Outside::new(Digits::parse(digits).expect("digits"), *class, country)
    };
    all.iter().map(number).collect()
}

fn deck(chance: &mut Chance) -> RateDeck {
    let usd = "USD".parse().expect("capitals");
    if chance.below(4) == 0 {
        return RateDeck::estimates(usd);
    }
    let mut text = String::from("prefix,price,connect,first,increment\n");
    for prefix in ["1", "1900", "1800", "1876", "371", "37190", "8816"] {
        let price = chance.below(3_000_000);
        let connect = if chance.one_in(3) { chance.below(2_000_000) } else { 0 };
        let (first, increment) =
            pick(chance, &[(60, 60), (1, 1), (30, 6), (0, 60), (180, 60), (1, 300)]);
        let money = |n: u64| format!("{}.{:06}", n / 1_000_000, n % 1_000_000);
        text += &format!("{prefix},{},{},{first},{increment}\n", money(price), money(connect));
    }
    RateDeck::import(text.as_bytes(), usd, 1).expect("a deck")
}

fn hours(chance: &mut Chance) -> Hours {
    let text = pick(
        chance,
        &[
            "always",
            "always",
            "mon-fri 08:00-18:00",
            "mon-sun 17:10-17:50, mon-sun 22:00-02:00",
            "mon-sun 00:00-00:20, mon-sun 01:00-03:00, mon-sun 06:30-06:31",
        ],
    );
    text.parse().expect("hours")
}

const STAFF: u128 = 4;

fn extensions() -> Vec<ExtensionId> {
    (1..=STAFF).map(ExtensionId).collect()
}

fn policy(chance: &mut Chance) -> Arc<Policy> {
    Policy::first(Country::US).next(|policy| {
        policy.zone = pick(chance, &["UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu"])
            .to_owned();
        let working =
            ["mon-fri 08:00-18:00", "mon-sun 07:00-20:00", "always", "mon-sun 21:15-21:30"];
        policy.working = pick(chance, &working).parse().expect("hours");
        let role = |id: u32| (RoleId(id), Role { name: format!("role {id}"), ..role(chance) });
        policy.roles = (1..=2).map(role).collect();
        for extension in extensions() {
            policy.members.insert(extension, RoleId(pick(chance, &[1, 1, 2])));
        }
        let accounts = [
            Account::Operator,
            Account::Tenant(TenantId::HOUSE),
            Account::Role(RoleId(1)),
            Account::Role(RoleId(2)),
            Account::EachExtension,
            Account::Extension(ExtensionId(1)),
        ];
        let mut budgets = BTreeMap::new();
        for _ in 0..chance.below(6) {
            let of = pick(chance, &accounts);
            let window = pick(chance, &Window::ALL);
            let most = pick(chance, &[3_000_000, 60_000_000, 300_000_000]);
            let hard = chance.below(most);
            let hard = Some(Money(i64::try_from(hard).expect("small")));
            budgets.insert((of, window), Budget { of, window, soft: None, hard });
        }
        policy.budgets = budgets.into_values().collect();
    })
}

fn role(chance: &mut Chance) -> Role {
    let mut classes = BTreeSet::from([Class::National]);
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Unknown) {
        if chance.below(2) == 0 {
            classes.insert(class);
        }
    }
    let abroad = ["LV", "JM"].map(|code| code.parse::<Country>().expect("capitals"));
    Role {
        classes,
        countries: abroad.into_iter().filter(|_| chance.below(2) == 0).collect(),
        hours: hours(chance),
        calls_max: u16::try_from(chance.below(6)).expect("small"),
        calls_per_hour: u16::try_from(10 + chance.below(60)).expect("small"),
        longest: Duration::from_secs(pick(chance, &[30, 90, 1_000, 4 * 3_600])),
        price_max: Money(pick(chance, &[50_000, 500_000, 2_000_000, 10_000_000])),
        ..Role::staff()
    }
}

/// What the attacker is after.
#[derive(Clone, Copy, Debug)]
enum Greed {
    /// The dearest minute, as long as it goes.
    Talk,
    /// The dearest answer: hangs up at once and dials again.
    Churn,
    /// Just over the edge of an increment, then the next call.
    Edge,
    /// Each time one of the three.
    Mixed,
}

struct Leg {
    attempt: Attempt,
    rate: Rate,
    extension: ExtensionId,
    answered: Utc,
    seconds: u64,
    greed: Greed,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Task {
    /// What is over is settled before anything new.
    End(LegId, bool),
    Extend(LegId),
    Dial(ExtensionId),
}

struct Attack {
    gate: Gate,
    ledger: Ledger,
    start: Utc,
    now: Now,
    greed: Greed,
    chance: Chance,
    numbers: Vec<Outside>,
    legs: BTreeMap<LegId, Leg>,
    tasks: BTreeSet<(i64, Task)>,
    next: u128,
    /// Settled so far, of each extension.
    lost: BTreeMap<ExtensionId, i64>,
}

impl Attack {
    fn at(&mut self, utc: Utc, task: Task) {
        self.tasks.insert((utc.0.max(self.now.utc.0), task));
    }

    fn run(&mut self, until: Utc) {
        for _ in 0..EVENTS_MAX {
            let Some((at, task)) = self.tasks.pop_first() else { break };
            if at >= until.0 {
                self.tasks.insert((at, task));
                break;
            }
            self.set(Utc(at));
            match task {
                Task::Dial(extension) => self.dial(extension),
                Task::Extend(leg) => self.extend(leg),
                Task::End(leg, beyond) => self.end(leg, beyond),
            }
        }
        self.set(until);
    }

    fn set(&mut self, utc: Utc) {
        let since = u64::try_from(utc.0 - self.start.0).expect("time goes on");
        self.now = Now { instant: Instant(since * 1_000), utc };
    }

    fn dial(&mut self, extension: ExtensionId) {
        let greed = match self.greed {
            Greed::Mixed => pick(&mut self.chance, &[Greed::Talk, Greed::Churn, Greed::Edge]),
            greed => greed,
        };
        let mut best = None;
        let mut denied = None;
        for number in &self.numbers {
            let leg = LegId(self.next + 1);
            let attempt = Attempt {
                tenant: TenantId::HOUSE,
                call: CallId(leg.0),
                leg,
                origin: Origin::Phone,
                responsible: Some(Responsible::Extension(extension)),
                destination: Destination::Outside(number.clone()),
                standing: Standing::Proved(Proof::Digest(Algorithm::Sha256)),
            };
            match self.gate.judge(self.now, &attempt, &self.ledger) {
                Verdict::NeedReserve(request) => {
                    let rate = request.rate();
                    let worth = match greed {
                        Greed::Talk => rate.per_minute,
                        Greed::Churn => rate.cost(1).expect("small"),
                        Greed::Edge | Greed::Mixed => rate.tail(),
                    };
                    if best.as_ref().is_none_or(|(most, _)| *most < worth) {
                        best = Some((worth, request));
                    }
                }
                Verdict::Denial(denial) => {
                    // The most promising of the refusals: one that time may lift.
                    let waits =
                        matches!(denial.decision.rule, Rule::Hours | Rule::Rate | Rule::Budget);
                    if denied.is_none() || waits {
                        denied = Some(denial);
                    }
                }
                Verdict::Permit(_) | Verdict::NeedPin(_) => panic!("outside without money"),
            }
        }
        let Some((_, request)) = best else {
            if let Some(at) = denied.and_then(|denial| self.retry(extension, denial)) {
                self.at(at, Task::Dial(extension));
            }
            return;
        };
        self.next += 1;
        let (attempt, rate) = (request.attempt().clone(), request.rate().clone());
        let seconds = request.first().seconds;
        let leg = attempt.leg;
        self.gate.reserve(self.now, request, &mut self.ledger).expect("judged a moment ago");
        // Some are let ring: a hold of the last open minute is spent later.
        let ring = pick(&mut self.chance, &[0, 0, 0, 45]);
        let answered = self.now.utc + Duration::from_secs(ring);
        self.legs.insert(leg, Leg { attempt, rate, extension, answered, seconds, greed });
        self.plan(leg);
        self.at(self.now.utc, Task::Dial(extension));
    }

    /// When a refused number is worth another try; nothing where time doesn't help.
    fn retry(&self, extension: ExtensionId, denial: crate::gate::Denial) -> Option<Utc> {
        let second = Duration::from_secs(1);
        match (denial.decision.rule, denial.figures) {
            (Rule::Hours, _) => {
                let role = self.gate.policy().role_of(extension).1?;
                let openings = role.hours.openings();
                openings.map(|minute| self.gate.zone().next(self.now.utc, minute)).min()
            }
            (Rule::Rate, _) => Some(self.now.utc + second * 300),
            (Rule::Budget, Some(Figures::Budget { bucket, .. })) => {
                let end = self.gate.zone().window(self.now.utc, bucket.window).end;
                Some(Utc(end * 1_000_000))
            }
            // A line that gets free dials by itself.
            _ => None,
        }
    }

    /// What becomes of a leg whose paid time has changed.
    fn plan(&mut self, id: LegId) {
        let leg = &self.legs[&id];
        let (first, increment) = (u64::from(leg.rate.first), u64::from(leg.rate.increment));
        let after = |seconds: u64| leg.answered + Duration::from_secs(seconds);
        let (at, task) = match leg.greed {
            Greed::Churn => (after(1), Task::End(id, false)),
            Greed::Edge if first < leg.seconds => {
                let edges = (leg.seconds - first - 1) / increment;
                (after(first + edges * increment + 1), Task::End(id, false))
            }
            Greed::Edge | Greed::Talk | Greed::Mixed => {
                let ahead = pick(&mut self.chance, &[0, 1, 10, 30]);
                (after(leg.seconds.saturating_sub(ahead)), Task::Extend(id))
            }
        };
        self.at(at, task);
    }

    fn extend(&mut self, id: LegId) {
        let leg = self.legs.get_mut(&id).expect("it is up");
        let extended = self.gate.extend(self.now, &leg.attempt, &leg.rate, &mut self.ledger);
        match extended {
            Ok(paid) => {
                leg.seconds = paid.seconds;
                self.plan(id);
            }
            // The carrier begins one increment more than was paid for.
            Err(_) => {
                let end = leg.answered + Duration::from_secs(leg.seconds);
                self.at(end, Task::End(id, true));
            }
        }
    }

    /// The carrier's bill. `beyond`: our BYE came too late.
    fn end(&mut self, id: LegId, beyond: bool) {
        let leg = self.legs.remove(&id).expect("it is up");
        let up = self.now.utc.since(leg.answered).as_secs().min(leg.seconds);
        let seconds = if beyond { leg.seconds + 1 } else { up };
        let cost = leg.rate.cost(seconds).expect("small");
        self.ledger.settle(id, cost);
        *self.lost.entry(leg.extension).or_default() += cost.0;
        self.at(self.now.utc, Task::Dial(leg.extension));
    }

    /// The morning: whatever is up is billed as far as it is paid, and an increment more.
    fn morning(&mut self) {
        for id in self.legs.keys().copied().collect::<Vec<_>>() {
            self.end(id, true);
        }
    }

    fn lost(&self, of: Scope) -> i64 {
        let policy = self.gate.policy();
        let concerns = |extension: &ExtensionId| match of {
            Scope::Extension(one) => one == *extension,
            Scope::Role(role) => policy.role_of(*extension).0 == role,
            Scope::Operator | Scope::Tenant(_) => true,
            Scope::Trunk(_) => false,
        };
        self.lost.iter().filter(|(extension, _)| concerns(extension)).map(|(_, lost)| lost).sum()
    }
}

/// How the figures of all the nights compare.
#[derive(Debug, Default)]
struct Tally {
    /// Lines of which something was lost.
    lost: u32,
    /// Nights in which something was lost at all, and more than half of the operator's figure.
    nights: u32,
    half: u32,
    /// Lines that a figure without its tail would have denied.
    needs_tail: u32,
    /// Lines that a figure without one of the later windows would have denied.
    needs_window: u32,
    /// By what decided.
    by_pace: u32,
    by_budget: u32,
    by_holds: u32,
}

fn night(seed: u64, tally: &mut Tally) {
    let mut chance = Chance::from_number(seed);
    let policy = policy(&mut chance);
    assert_eq!(policy.validate(), Ok(()));
    let deck = deck(&mut chance);
    let gate = Gate::new(Arc::clone(&policy), Arc::new(deck));
    let start = Utc((START + i64::try_from(chance.below(6 * 86_400)).expect("small")) * 1_000_000);
    let greed =
        pick(&mut chance, &[Greed::Talk, Greed::Talk, Greed::Churn, Greed::Edge, Greed::Mixed]);
    let mut attack = Attack {
        gate,
        ledger: Ledger::default(),
        start,
        now: Now { instant: Instant(0), utc: start },
        greed,
        chance: chance.fork(),
        numbers: numbers(),
        legs: BTreeMap::new(),
        tasks: BTreeSet::new(),
        next: 0,
        lost: BTreeMap::new(),
    };
    // One password is stolen, or all.
    let stolen = if chance.one_in(3) { vec![ExtensionId(1)] } else { extensions() };
    for extension in &stolen {
        attack.at(start, Task::Dial(*extension));
    }
    // It has begun before anybody looks: calls are up, windows half spent.
    if chance.below(2) == 0 {
        attack.run(start + Duration::from_secs(chance.below(9_000)));
    }
    if chance.one_in(5) {
        let scopes = [Scope::Operator, Scope::Role(RoleId(1)), Scope::Extension(ExtensionId(1))];
        let locked = Lockdown::new([pick(&mut chance, &scopes)]);
        let policy = policy.next(|policy| policy.lockdown = locked);
        attack.gate = Gate::new(policy, Arc::clone(attack.gate.deck()));
    }
    let printed = exposure(&attack.gate, &attack.ledger, attack.now, &extensions());
    assert!(printed.until > attack.now.utc);
    attack.lost.clear();
    for extension in &stolen {
        attack.at(attack.now.utc, Task::Dial(*extension));
    }
    attack.run(printed.until);
    attack.morning();
    for line in &printed.lines {
        let lost = attack.lost(line.of);
        assert!(
            lost <= line.most.0,
            "seed {seed}, {greed:?}: {lost} were lost, {line:?} were printed for {:?}",
            attack.gate.policy()
        );
        tally.count(&attack.gate, &printed, line, lost);
    }
}

impl Tally {
    fn count(&mut self, gate: &Gate, printed: &Exposure, line: &ExposureLine, lost: i64) {
        if lost == 0 {
            return;
        }
        self.lost += 1;
        if line.of == Scope::Operator {
            self.nights += 1;
            self.half += u32::from(lost > line.most.0 / 2);
        }
        self.needs_tail += u32::from(lost > line.most.0 - line.tail.0);
        match line.binding {
            Binding::Budget { account, window } => {
                self.by_budget += 1;
                let later = Windows::new(gate, printed.from, printed.until).of(window).1;
                let of = |budget: &&Budget| {
                    budget.window == window
                        && (budget.of.scope() == Some(account)
                            || budget.of == Account::EachExtension)
                };
                let hard = gate.policy().budgets.iter().filter(of).filter_map(|b| b.hard).min();
                let without = line.most.0 - hard.expect("it is bound by one").0;
                self.needs_window += u32::from(later > 0 && lost > without);
            }
            Binding::Pace => self.by_pace += 1,
            Binding::NothingAllowed | Binding::Lockdown => self.by_holds += 1,
        }
    }
}

#[test]
fn no_attacker_under_1000_random_policies_exceeds_the_exposure_printed_beforehand() {
    let mut tally = Tally::default();
    for seed in 0..POLICIES {
        night(seed, &mut tally);
    }
    // The figure is no empty promise: without its tail, or with a window of a budget forgotten, some
    // attacker would have exceeded it, and many come near.
    assert!(tally.needs_tail >= 20, "{tally:?}");
    assert!(tally.needs_window >= 20, "{tally:?}");
    assert!(tally.half >= tally.nights / 5, "{tally:?}");
    assert!(tally.by_pace >= 50 && tally.by_budget >= 200 && tally.by_holds >= 5, "{tally:?}");
}
