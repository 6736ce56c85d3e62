//! Random lives of legs, beside a second bookkeeping that only adds up.
//!
//! Legs are judged, reserved, extended, and settled at any time: never answered, hung up, failed over to
//! another leg, billed beyond their hold. In between the clock steps (over the end of a week and of
//! summer time), the policy changes, accounts are reset, and the node crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use pure::{Instant, Now, Utc};

use super::*;
use crate::gate::{Algorithm, Attempt, Destination, Gate, Origin, Proof, Responsible, Rule};
use crate::gate::{Standing, Verdict};
use crate::id::{CallId, RoleId, TenantId};
use crate::number::{Class, Country, Digits, Outside};
use crate::policy::{Account as Of, Budget, Policy};
use crate::rate::{Rate, RateDeck};

/// The Saturday before the clocks of Europe go back, 20:00 there: a week and a summer end in 28 hours.
const START: Utc = Utc(1_792_864_800_000_000);

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Dial {
        extension: u8,
        number: u8,
    },
    /// By the order in which legs were opened, modulo those that are up.
    Extend {
        leg: u8,
    },
    Settle {
        leg: u8,
        cost: Cost,
    },
    /// Settled at nothing, and tried over another path.
    Failover {
        leg: u8,
    },
    Advance {
        seconds: u32,
    },
    /// The wall clock is set, the other one runs on.
    Step {
        seconds: i32,
    },
    Change {
        budgets: Vec<(u8, u8, u32)>,
        longest: u16,
        calls_max: u8,
        role: u8,
    },
    Reset {
        account: u8,
    },
    Crash,
}

#[derive(Clone, Debug)]
enum Cost {
    Nothing,
    /// Per cent of what is held.
    Part(u8),
    /// An increment more than is held.
    Beyond,
}

fn events() -> impl Strategy<Value = Event> {
    let cost =
        prop_oneof![Just(Cost::Nothing), (0..=100u8).prop_map(Cost::Part), Just(Cost::Beyond),];
    let budgets = proptest::collection::vec((0..8u8, 0..3u8, 0..6_000_000u32), 0..5);
    prop_oneof![
        8 => (0..3u8, 0..5u8).prop_map(|(extension, number)| Event::Dial { extension, number }),
        8 => any::<u8>().prop_map(|leg| Event::Extend { leg }),
        5 => (any::<u8>(), cost).prop_map(|(leg, cost)| Event::Settle { leg, cost }),
        1 => any::<u8>().prop_map(|leg| Event::Failover { leg }),
        4 => (0..5_000u32).prop_map(|seconds| Event::Advance { seconds }),
        1 => (-700_000..700_000i32).prop_map(|seconds| Event::Step { seconds }),
        1 => (budgets, 1..9_000u16, 0..5u8, 1..=2u8).prop_map(|(budgets, longest, calls_max, role)| {
            Event::Change { budgets, longest, calls_max, role }
        }),
        1 => (0..8u8).prop_map(|account| Event::Reset { account }),
        1 => Just(Event::Crash),
    ]
}

fn extension(number: u8) -> ExtensionId {
    ExtensionId(100 + u128::from(number))
}

fn account(number: u8) -> Of {
    match number {
        0 => Of::Operator,
        1 => Of::Tenant(TenantId::HOUSE),
        2 => Of::Role(RoleId(1)),
        3 => Of::Role(RoleId(2)),
        4 => Of::EachExtension,
        other => Of::Extension(extension(other - 5)),
    }
}

fn number(index: u8) -> Outside {
    let (digits, class) = [
        ("+18005550100", Class::TollFree),
        ("+12125550100", Class::National),
        ("+12135550100", Class::National),
        ("+19005550100", Class::Premium),
        ("+14155550100", Class::Mobile),
    ][usize::from(index)];
    Outside::new(Digits::parse(digits).expect("digits"), class, Some(Country::US))
}

fn deck() -> Arc<RateDeck> {
    let text = "prefix,price,connect,increment\n1800,0,0,1/1\n1212,0.012345,0,6/6\n\
                1213,0.31,0.07,30/6\n1900,2.5,1,60/60\n1415,0.000001,0,1/1\n";
    let usd = "USD".parse().expect("capitals");
    Arc::new(RateDeck::import(text.as_bytes(), usd, 1).expect("a deck"))
}

/// A leg as the second bookkeeping knows it.
struct Life {
    attempt: Attempt,
    rate: Rate,
    extension: ExtensionId,
    paid: Paid,
    /// What was taken at once, and from where.
    parts: Vec<(Money, BTreeSet<Bucket>)>,
}

struct World {
    now: Now,
    policy: Arc<Policy>,
    deck: Arc<RateDeck>,
    gate: Gate,
    ledger: Ledger,
    legs: BTreeMap<LegId, Life>,
    next: u128,
    settled: BTreeMap<Bucket, Money>,
    /// What a store would have.
    rows: BTreeMap<Bucket, Money>,
    used: BTreeMap<Window, Vec<i64>>,
    /// Windows so many others ago that they may be forgotten.
    forgotten: BTreeSet<(Window, i64)>,
}

impl World {
    fn new() -> Self {
        let policy = Policy::first(Country::US).next(|policy| {
            policy.zone = "Europe/Berlin".to_owned();
            let staff = policy.roles.get_mut(&RoleId(1)).expect("staff");
            staff.classes = Class::ALL.into_iter().filter(|c| *c != Class::Unknown).collect();
            staff.price_max = Money(3_000_000);
            policy.roles.insert(RoleId(2), policy.roles[&RoleId(1)].clone());
            policy.members.insert(extension(2), RoleId(2));
        });
        let deck = deck();
        Self {
            now: Now { instant: Instant(0), utc: START },
            gate: Gate::new(Arc::clone(&policy), Arc::clone(&deck)),
            policy,
            deck,
            ledger: Ledger::default(),
            legs: BTreeMap::new(),
            next: 0,
            settled: BTreeMap::new(),
            rows: BTreeMap::new(),
            used: BTreeMap::new(),
            forgotten: BTreeSet::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Dial { extension: who, number: what } => {
                let who = extension(who);
                self.dial(who, number(what));
            }
            Event::Extend { leg } => {
                if let Some(leg) = self.pick(leg) {
                    self.extend(leg);
                }
            }
            Event::Settle { leg, cost } => {
                if let Some(leg) = self.pick(leg) {
                    let life = &self.legs[&leg];
                    let held = life.paid.held.0;
                    let cost = match cost {
                        Cost::Nothing => 0,
                        Cost::Part(percent) => held * i64::from(percent) / 100,
                        Cost::Beyond => held + life.rate.tail().0,
                    };
                    self.settle(leg, Money(cost));
                }
            }
            Event::Failover { leg } => {
                if let Some(leg) = self.pick(leg) {
                    let Life { attempt, extension, .. } = self.settle(leg, Money::ZERO);
                    let Destination::Outside(number) = attempt.destination else { return };
                    self.dial(extension, number);
                }
            }
            Event::Advance { seconds } => {
                let span = Duration::from_secs(u64::from(seconds));
                self.now = Now { instant: self.now.instant + span, utc: self.now.utc + span };
            }
            Event::Step { seconds } => {
                self.now.utc = Utc(self.now.utc.0 + i64::from(seconds) * 1_000_000);
            }
            Event::Change { budgets, longest, calls_max, role } => {
                self.policy = self.policy.next(|policy| {
                    let budgets = budgets.into_iter().map(|(of, window, hard)| Budget {
                        of: account(of),
                        window: Window::ALL[usize::from(window)],
                        soft: Some(Money(i64::from(hard / 2))),
                        hard: Some(Money(i64::from(hard))),
                    });
                    policy.budgets = budgets.collect();
                    policy.members.insert(extension(0), RoleId(u32::from(role)));
                    for role in policy.roles.values_mut() {
                        role.longest = Duration::from_secs(u64::from(longest));
                        role.calls_max = u16::from(calls_max);
                    }
                });
                self.gate = Gate::new(Arc::clone(&self.policy), Arc::clone(&self.deck));
            }
            Event::Reset { account: of } => {
                let Some(account) = account(of).scope() else { return };
                let spent = self.ledger.settled_of(account);
                assert!(spent.iter().all(|row| row.settled > Money::ZERO));
                assert_eq!(self.ledger.forget(&spent), [], "nothing was settled meanwhile");
                let none = |row: Spend| Spend { settled: Money::ZERO, ..row };
                self.write(spent.into_iter().map(none).collect());
                for (bucket, settled) in &mut self.settled {
                    if bucket.account == account {
                        *settled = Money::ZERO;
                    }
                }
            }
            Event::Crash => {
                let row = |(bucket, settled): (&Bucket, &Money)| Spend {
                    bucket: *bucket,
                    settled: *settled,
                };
                let holds: Vec<Hold> = self.ledger.holds().cloned().collect();
                self.ledger = Ledger::restore(self.rows.iter().map(row), holds);
                // Which windows were used last isn't stored: the latest are taken for it.
                for (window, used) in &mut self.used {
                    let parts = self.legs.values().flat_map(|life| &life.parts);
                    let buckets = parts.flat_map(|(_, buckets)| buckets).chain(self.rows.keys());
                    let begins = buckets.filter(|b| b.window == *window).map(|b| b.begin);
                    let begins: BTreeSet<i64> = begins.collect();
                    let excess = begins.len().saturating_sub(Ledger::WINDOWS_KEPT);
                    self.forgotten
                        .extend(begins.iter().take(excess).map(|begin| (*window, *begin)));
                    *used = begins.into_iter().skip(excess).collect();
                }
            }
        }
        while self.ledger.poll_note().is_some() {}
    }

    fn pick(&self, index: u8) -> Option<LegId> {
        let index = usize::from(index).checked_rem(self.legs.len())?;
        self.legs.keys().nth(index).copied()
    }

    fn dial(&mut self, who: ExtensionId, number: Outside) {
        self.next += 1;
        let leg = LegId(self.next);
        let attempt = Attempt {
            tenant: TenantId::HOUSE,
            call: CallId(self.next),
            leg,
            origin: Origin::Phone,
            responsible: Some(Responsible::Extension(who)),
            destination: Destination::Outside(number),
            standing: Standing::Proved(Proof::Digest(Algorithm::Sha256)),
        };
        let before = self.ledger.clone();
        let verdict = self.gate.judge(self.now, &attempt, &self.ledger);
        assert_eq!(self.ledger, before, "judging changes nothing");
        let request = match verdict {
            Verdict::NeedReserve(request) => request,
            Verdict::Denial(denial) => {
                self.was_right(&denial);
                return;
            }
            Verdict::Permit(permit) => panic!("outside for nothing: {permit:?}"),
            Verdict::NeedPin(_) => panic!("nothing asks for a PIN"),
        };
        let (rate, first) = (request.rate().clone(), request.first());
        let permit = self.gate.reserve(self.now, request, &mut self.ledger).expect("judged so");
        assert_eq!((permit.leg(), permit.decision().rule), (leg, Rule::Outside));
        let parts = vec![(first.held, self.buckets(who))];
        self.legs.insert(leg, Life { attempt, rate, extension: who, paid: first, parts });
        self.granted(leg, first, first.held);
    }

    fn extend(&mut self, leg: LegId) {
        let life = &self.legs[&leg];
        let paid = life.paid;
        match self.gate.extend(self.now, &life.attempt, &life.rate, &mut self.ledger) {
            Ok(next) => {
                assert!(next.seconds > paid.seconds, "{paid:?} {next:?}");
                let more = Money(next.held.0 - paid.held.0);
                let part = (more, self.buckets(life.extension));
                let life = self.legs.get_mut(&leg).expect("it is up");
                life.parts.push(part);
                life.paid = next;
                self.granted(leg, next, more);
            }
            Err(denial) => self.was_right(&denial),
        }
    }

    /// The step is paid exactly, within the longest call, and within every hard budget.
    fn granted(&mut self, leg: LegId, paid: Paid, more: Money) {
        for window in Window::ALL {
            let begin = self.gate.zone().window(self.now.utc, window).begin;
            let used = self.used.entry(window).or_default();
            used.retain(|known| *known != begin);
            used.push(begin);
            let forgotten = used.iter().rev().skip(Ledger::WINDOWS_KEPT);
            self.forgotten.extend(forgotten.map(|begin| (window, *begin)));
        }
        let life = &self.legs[&leg];
        assert_eq!(self.ledger.paid(leg), Some(paid));
        assert_eq!(life.rate.cost(paid.seconds), Some(paid.held));
        let role = self.policy.role_of(life.extension).1.expect("a role");
        assert!(paid.seconds <= role.longest.as_secs());
        for (account, budget) in self.policy.budgets_of(TenantId::HOUSE, life.extension) {
            let begin = self.gate.zone().window(self.now.utc, budget.window).begin;
            let bucket = Bucket { account, window: budget.window, begin };
            let spent = self.ledger.spent(&bucket);
            let within = budget.hard.is_none_or(|hard| spent <= hard);
            assert!(within || more == Money::ZERO, "{spent:?} of {budget:?}");
        }
    }

    /// A budget that is named as spent doesn't bear even the least step.
    fn was_right(&mut self, denial: &Denial) {
        if denial.decision.rule == Rule::Budget {
            let Some(Figures::Budget { bucket, spent, limit, needed }) = denial.figures else {
                panic!("which budget? {denial:?}");
            };
            assert_eq!(self.ledger.spent(&bucket), spent);
            assert!(spent.0 + needed.0 > limit.0);
            self.ledger.refused(denial);
        }
    }

    fn settle(&mut self, leg: LegId, cost: Money) -> Life {
        let life = self.legs.remove(&leg).expect("picked");
        let rows = self.ledger.settle(leg, cost);
        let mut left = cost.0;
        let last = life.parts.len() - 1;
        for (index, (amount, buckets)) in life.parts.iter().enumerate() {
            let share = if index == last { left } else { left.min(amount.0) };
            left -= share;
            for bucket in buckets.iter().filter(|_| share > 0) {
                self.settled.entry(*bucket).or_default().0 += share;
            }
        }
        for row in &rows {
            assert_eq!(self.ledger.settled(&row.bucket), row.settled);
        }
        self.write(rows);
        assert_eq!(self.ledger.settle(leg, cost), [], "settled once");
        life
    }

    fn write(&mut self, rows: Vec<Spend>) {
        self.rows.extend(rows.into_iter().map(|row| (row.bucket, row.settled)));
    }

    fn buckets(&self, who: ExtensionId) -> BTreeSet<Bucket> {
        let role = self.policy.role_of(who).0;
        let mut buckets = BTreeSet::new();
        for window in Window::ALL {
            let begin = self.gate.zone().window(self.now.utc, window).begin;
            for account in [
                Scope::Operator,
                Scope::Tenant(TenantId::HOUSE),
                Scope::Role(role),
                Scope::Extension(who),
            ] {
                buckets.insert(Bucket { account, window, begin });
            }
        }
        buckets
    }

    /// The ledger's sums are those of the second bookkeeping.
    fn check(&self) {
        let mut held: BTreeMap<Bucket, Money> = BTreeMap::new();
        let mut open: BTreeMap<ExtensionId, u32> = BTreeMap::new();
        for life in self.legs.values() {
            *open.entry(life.extension).or_default() += 1;
            for (amount, buckets) in &life.parts {
                for bucket in buckets {
                    held.entry(*bucket).or_default().0 += amount.0;
                }
            }
        }
        held.retain(|_, amount| *amount > Money::ZERO);
        let mut ours = self.ledger.held.clone();
        ours.retain(|_, amount| *amount != Money::ZERO);
        assert_eq!(ours, held);
        assert_eq!(self.ledger.open, open);
        assert_eq!(self.ledger.holds.len(), self.legs.len());
        for (bucket, settled) in &self.settled {
            if !self.forgotten.contains(&(bucket.window, bucket.begin)) {
                assert_eq!(self.ledger.settled(bucket), *settled, "{bucket:?}");
                assert_eq!(self.rows.get(bucket), Some(settled));
            }
        }
        assert!(self.ledger.settled.values().all(|settled| *settled >= Money::ZERO));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_leaked_doubled_or_negative_in_any_life(
        lives in proptest::collection::vec(events(), 1..120),
    ) {
        let mut world = World::new();
        for event in lives {
            world.happen(event);
            world.check();
        }
        let legs: Vec<LegId> = world.legs.keys().copied().collect();
        for leg in legs {
            let paid = world.legs[&leg].paid;
            world.settle(leg, paid.held);
            world.check();
        }
        prop_assert!(world.ledger.holds.is_empty() && world.ledger.open.is_empty());
        prop_assert!(world.ledger.held.is_empty());
    }
}

#[test]
fn memory_is_bounded_by_what_is_used_lately() {
    let mut world = World::new();
    for hour in 0..3_000 {
        world.dial(extension(0), number(1));
        if hour % 3 == 0 {
            let leg = *world.legs.keys().next().expect("one is up");
            world.settle(leg, Money(1_000));
        }
        for leg in world.legs.keys().copied().collect::<Vec<_>>() {
            if world.legs.len() > 1 {
                world.settle(leg, Money(1_000));
            }
        }
        world.happen(Event::Advance { seconds: 3_600 });
        // Four accounts, three windows of each length, and what the leg that is up refers to.
        assert!(world.ledger.settled.len() <= 4 * 3 * 3 + 12, "{}", world.ledger.settled.len());
        assert!(world.ledger.recent.values().all(|begins| begins.len() <= 3));
        assert!(world.ledger.attempts.values().all(|made| made.len() <= 60));
    }
}

#[test]
fn a_refund_goes_back_where_it_came_from() {
    let mut world = World::new();
    world.policy = world.policy.next(|policy| policy.budgets.clear());
    world.gate = Gate::new(Arc::clone(&world.policy), Arc::clone(&world.deck));
    world.dial(extension(0), number(3));
    let leg = LegId(1);
    let day = |world: &World| Bucket {
        account: Scope::Extension(extension(0)),
        window: Window::Day,
        begin: world.gate.zone().window(world.now.utc, Window::Day).begin,
    };
    let saturday = day(&world);
    // A connect fee of 1.00 and a minute of 2.50.
    assert_eq!(world.ledger.spent(&saturday), Money(3_500_000));
    world.happen(Event::Advance { seconds: 4 * 3_600 });
    let sunday = day(&world);
    assert_ne!(saturday, sunday);
    world.extend(leg);
    assert_eq!(world.ledger.spent(&sunday), Money(2_500_000));
    // It was hung up within the first minute.
    let rows = world.ledger.settle(leg, Money(3_500_000));
    assert_eq!(world.ledger.spent(&saturday), Money(3_500_000));
    assert_eq!(world.ledger.spent(&sunday), Money::ZERO);
    assert!(rows.iter().all(|row| row.bucket.begin <= saturday.begin + 20 * 3_600));
    assert_eq!(rows.len(), 12);
}

#[test]
fn a_crossing_is_noted_once_for_each_bucket_and_limit() {
    let mut world = World::new();
    world.policy = world.policy.next(|policy| {
        policy.budgets = vec![Budget {
            of: Of::Operator,
            window: Window::Day,
            soft: Some(Money(3_000_000)),
            hard: Some(Money(8_000_000)),
        }];
    });
    world.gate = Gate::new(Arc::clone(&world.policy), Arc::clone(&world.deck));
    let told = |world: &mut World| -> Vec<(Crossing, i64)> {
        std::iter::from_fn(|| world.ledger.poll_note()).map(|n| (n.crossing, n.spent.0)).collect()
    };
    world.dial(extension(0), number(3));
    assert_eq!(told(&mut world), [(Crossing::Soft, 3_500_000)]);
    world.dial(extension(1), number(3));
    assert_eq!(told(&mut world), []);
    world.dial(extension(2), number(3));
    world.extend(LegId(1));
    assert_eq!(told(&mut world), [(Crossing::Hard, 7_000_000)]);
    // What is free is called all the same.
    world.dial(extension(2), number(0));
    assert_eq!(world.legs.len(), 3);
    world.settle(LegId(1), Money(3_500_000));
    // The reset forgets what is settled, not what is held; the crossing is news again.
    let spent = world.ledger.settled_of(Scope::Operator);
    assert_eq!((spent[0].settled, spent.len()), (Money(3_500_000), 3));
    assert_eq!(world.ledger.forget(&spent), []);
    world.dial(extension(2), number(3));
    assert_eq!(told(&mut world), [(Crossing::Soft, 7_000_000)]);
    let note = Note {
        bucket: Bucket { account: Scope::Extension(extension(0)), window: Window::Day, begin: 0 },
        crossing: Crossing::Hard,
        spent: Money::ZERO,
        limit: Money::ZERO,
    };
    let words = note.account_in_words(&world.policy, |_| Some("101".to_owned()));
    assert_eq!(words, "extension 101");
}

#[test]
fn accounts_are_shown_for_every_budget() {
    let mut world = World::new();
    world.dial(extension(0), number(3));
    let shown = world.ledger.accounts(world.now, &world.gate, &[extension(0), extension(1)]);
    let shown: Vec<(Scope, Window, i64, Option<Money>)> =
        shown.into_iter().map(|row| (row.account, row.window, row.spent.0, row.hard)).collect();
    let expected = [
        (Scope::Operator, Window::Week, 3_500_000, Some(Money(200_000_000))),
        (Scope::Extension(extension(0)), Window::Day, 3_500_000, Some(Money(20_000_000))),
        (Scope::Extension(extension(1)), Window::Day, 0, Some(Money(20_000_000))),
    ];
    assert_eq!(shown, expected);
}
