//! What the gate permits and refuses, and what it counts.

use super::*;
use crate::number::{Country, Digits};
use crate::policy::{Account, Budget, Hours, Lockdown};
use proptest::prelude::*;
use std::time::Duration;

pub(super) const ALICE: ExtensionId = ExtensionId(0xa11ce);
const BOB: ExtensionId = ExtensionId(0xb0b);
const ROLE: crate::id::RoleId = crate::id::RoleId(7);
const TRUNK: TrunkId = TrunkId(3);
const DAY: Duration = Duration::from_secs(86_400);
const START: Utc = Utc(1_795_366_224_250_000);

fn at(utc: Utc) -> Now {
    Now { utc, ..Now::default() }
}

/// A Sunday, 16:50.
pub(super) fn sunday() -> Now {
    at(START)
}

pub(super) fn calls_from_alice(destination: Destination) -> Attempt {
    Attempt { destination, ..internal() }
}

fn emergency() -> Destination {
    Destination::Emergency(Country::US.emergency("911").expect("in the table"))
}

fn outside() -> Destination {
    Destination::Outside(Outside::unclassified(Digits::parse("+15550100").expect("digits")))
}

fn internal() -> Attempt {
    Attempt {
        tenant: TenantId::HOUSE,
        call: CallId(1),
        leg: LegId(2),
        origin: Origin::Phone,
        responsible: Some(Responsible::Extension(ALICE)),
        destination: Destination::Extension(BOB),
        standing: Standing::Proved(Proof::Digest(Algorithm::Sha256)),
    }
}

fn policy(lockdown: &[Scope]) -> Arc<Policy> {
    Policy::first(Country::US).next(|policy| {
        policy.lockdown = Lockdown::new(lockdown.iter().copied());
        policy.zone = "UTC".to_owned();
        policy.roles.insert(ROLE, Role::staff());
        policy.members.insert(ALICE, ROLE);
    })
}

fn gate(policy: Arc<Policy>) -> Gate {
    let deck = RateDeck::estimates(policy.currency);
    Gate::new(policy, Arc::new(deck))
}

fn rule(lockdown: &[Scope], attempt: &Attempt) -> Rule {
    let verdict = gate(policy(lockdown)).judge(at(START), attempt, &Ledger::default());
    let (permitted, decision) = match verdict {
        Verdict::Permit(permit) => (true, permit.decision()),
        Verdict::Denial(denial) => (false, denial.decision),
        Verdict::NeedPin(_) | Verdict::NeedReserve(_) => panic!("nothing asks for these yet"),
    };
    assert_eq!(permitted, decision.rule.permits());
    assert_eq!(decision.policy, PolicyVersion(2));
    decision.rule
}

#[test]
fn a_permit_names_its_leg_and_its_rule() {
    let Verdict::Permit(permit) =
        gate(policy(&[])).judge(at(START), &internal(), &Ledger::default())
    else {
        panic!("extensions may call each other");
    };
    assert_eq!((permit.call(), permit.leg()), (CallId(1), LegId(2)));
    assert_eq!(permit.decision(), Decision { rule: Rule::Internal, policy: PolicyVersion(2) });
    let restored = Permit::restore(permit.call(), permit.leg(), permit.decision());
    assert_eq!(restored, permit);
}

#[test]
fn what_is_not_known_is_denied() {
    let judged = |change: fn(&mut Attempt)| {
        let mut attempt = internal();
        change(&mut attempt);
        rule(&[], &attempt)
    };
    assert_eq!(judged(|_| {}), Rule::Internal);
    assert_eq!(judged(|a| a.destination = Destination::Service), Rule::Service);
    assert_eq!(judged(|a| a.destination = Destination::Unknown), Rule::UnknownDestination);
    assert_eq!(judged(|a| a.destination = outside()), Rule::NotAllowedClass);
    assert_eq!(judged(|a| a.responsible = None), Rule::NobodyResponsible);
    assert_eq!(judged(|a| a.standing = Standing::Stranger), Rule::NotProved);
    let known = |a: &mut Attempt| {
        a.standing = Standing::KnownDevice { device: DeviceId(1), registered: START };
    };
    assert_eq!(judged(known), Rule::NotProved);
    let voicemail = |a: &mut Attempt| {
        a.origin = Origin::Voicemail;
        a.destination = outside();
    };
    assert_eq!(judged(voicemail), Rule::VoicemailOutward);
}

#[test]
fn a_lockdown_reaches_its_scope_and_no_further() {
    let attempt = internal();
    let of_trunk = Attempt { responsible: Some(Responsible::Trunk(TRUNK)), ..internal() };
    let of_bob = Attempt { responsible: Some(Responsible::Extension(BOB)), ..internal() };
    for scope in [Scope::Operator, Scope::Tenant(TenantId::HOUSE)] {
        for attempt in [&attempt, &of_trunk, &of_bob] {
            assert_eq!(rule(&[scope], attempt), Rule::Lockdown, "{scope:?}");
        }
    }
    for scope in [Scope::Role(ROLE), Scope::Extension(ALICE)] {
        assert_eq!(rule(&[scope], &attempt), Rule::Lockdown, "{scope:?}");
        assert_eq!(rule(&[scope], &of_bob), Rule::Internal, "{scope:?}");
        assert_eq!(rule(&[scope], &of_trunk), Rule::Internal, "{scope:?}");
    }
    assert_eq!(rule(&[Scope::Trunk(TRUNK)], &of_trunk), Rule::Lockdown);
    assert_eq!(rule(&[Scope::Trunk(TRUNK)], &attempt), Rule::Internal);
    assert_eq!(rule(&[Scope::Tenant(TenantId(9))], &attempt), Rule::Internal);
}

#[test]
fn an_open_gate_asks_nothing_of_a_leg_outside() {
    let attempt = Attempt { destination: outside(), ..internal() };
    // No price, no allowed class, and locked: still only the price is missed.
    let shut = gate(policy(&[Scope::Operator]));
    let open = shut.clone().dangerously_open(true);
    let mut ledger = Ledger::default();
    let denied = |gate: &Gate, ledger: &Ledger| match gate.judge(at(START), &attempt, ledger) {
        Verdict::Denial(denial) => Some(denial.decision.rule),
        Verdict::Permit(_) | Verdict::NeedPin(_) | Verdict::NeedReserve(_) => None,
    };
    assert_eq!(denied(&shut, &ledger), Some(Rule::Lockdown));
    assert_eq!(denied(&open, &ledger), Some(Rule::NoPrice));
    let number = DialPlan::new(Country::US).read(&Digits::parse("+442079460123").expect("digits"));
    let attempt = Attempt { destination: Destination::Outside(number), ..internal() };
    let Verdict::NeedReserve(request) = open.judge(at(START), &attempt, &ledger) else {
        panic!("nothing stands before it");
    };
    let rate = request.rate().clone();
    assert!(open.reserve(at(START), request, &mut ledger).is_ok());
    let next = open.extend(at(START), &attempt, &rate, &mut ledger);
    assert_eq!(next, Ok(Paid { seconds: u64::MAX, held: Money::ZERO }));
}

#[test]
fn help_is_guaranteed_to_known_devices_for_thirty_days() {
    let judged = |registered_days_ago: u32, open: bool| {
        let standing = Standing::KnownDevice { device: DeviceId(1), registered: START };
        let attempt = Attempt { standing, destination: emergency(), ..internal() };
        let policy = policy(&[Scope::Operator]).next(|p| p.emergency_for_strangers = open);
        let verdict =
            gate(policy).judge(at(START + DAY * registered_days_ago), &attempt, &Ledger::default());
        matches!(verdict, Verdict::Permit(_))
    };
    assert!(judged(0, false));
    assert!(judged(30, false));
    assert!(!judged(31, false));
    assert!(judged(31, true));
    // The clock stepped back behind the registration: emergency fails open.
    let standing = Standing::KnownDevice { device: DeviceId(1), registered: START };
    let attempt = Attempt { standing, destination: emergency(), ..internal() };
    let verdict = gate(policy(&[])).judge(at(Utc(0)), &attempt, &Ledger::default());
    assert!(matches!(verdict, Verdict::Permit(_)));
}

#[test]
fn strangers_get_help_only_where_the_owner_opened_it() {
    let stranger = Attempt { standing: Standing::Stranger, destination: emergency(), ..internal() };
    assert_eq!(rule(&[], &stranger), Rule::EmergencyStranger);
    let open = policy(&[Scope::Operator]).next(|policy| policy.emergency_for_strangers = true);
    let verdict = gate(open).judge(at(START), &stranger, &Ledger::default());
    assert!(matches!(verdict, Verdict::Permit(_)));
}

fn to(number: &str, class: Class, country: Option<&str>) -> Destination {
    let country = country.map(|code| code.parse().expect("capitals"));
    Destination::Outside(Outside::new(Digits::parse(number).expect("digits"), class, country))
}

fn national() -> Destination {
    to("+12125550100", Class::National, Some("US"))
}

/// A gate at whose deck a national minute costs 0.06, in wholes of 10 seconds after the first 30.
fn priced(change: impl FnOnce(&mut Policy)) -> Gate {
    let policy = policy(&[]).next(change);
    let text = "prefix,price,connect,increment\n1212,0.06,0,30/10\n";
    let deck = RateDeck::import(text.as_bytes(), policy.currency, 1).expect("a deck");
    Gate::new(policy, Arc::new(deck))
}

fn budget(policy: &mut Policy, hard: i64) {
    let (of, window) = (Account::Operator, Window::Day);
    policy.budgets = vec![Budget { of, window, soft: None, hard: Some(Money(hard)) }];
}

fn request(gate: &Gate, attempt: &Attempt, ledger: &Ledger) -> ReserveRequest {
    match gate.judge(sunday(), attempt, ledger) {
        Verdict::NeedReserve(request) => request,
        other => panic!("{other:?}"),
    }
}

fn open(gate: &Gate, attempt: &Attempt, ledger: &mut Ledger) -> (Rate, Paid) {
    let request = request(gate, attempt, ledger);
    let told = (request.rate().clone(), request.first());
    let permit = gate.reserve(sunday(), request, ledger).expect("judged a moment ago");
    assert_eq!((permit.leg(), permit.decision().rule), (attempt.leg, Rule::Outside));
    assert_eq!(ledger.paid(attempt.leg), Some(told.1));
    told
}

#[test]
fn the_rules_are_asked_in_their_order() {
    let mut attempt = Attempt {
        origin: Origin::Voicemail,
        responsible: None,
        standing: Standing::Stranger,
        ..calls_from_alice(to("+37190555010", Class::Premium, Some("LV")))
    };
    // Everything is wrong; each mended thing shows the next.
    let mut policy = (*policy(&[Scope::Operator])).clone();
    policy.roles.insert(
        ROLE,
        Role {
            classes: [Class::National].into(),
            hours: Hours::never(),
            calls_max: 0,
            calls_per_hour: 0,
            longest: Duration::ZERO,
            price_max: Money::ZERO,
            ..Role::staff()
        },
    );
    budget(&mut policy, 0);
    policy.currency = "XTS".parse().expect("capitals");
    let mut found = Vec::new();
    for step in 0..14 {
        let role = policy.roles.get_mut(&ROLE).expect("inserted");
        match step {
            0 => {}
            1 => policy.lockdown = Lockdown::default(),
            2 => attempt.standing = Standing::Proved(Proof::ClientCertificate),
            3 => attempt.responsible = Some(Responsible::Extension(ALICE)),
            4 => attempt.origin = Origin::Forward,
            5 => drop(role.classes.insert(Class::Premium)),
            6 => drop(role.countries.insert("LV".parse().expect("capitals"))),
            7 => role.hours = Hours::always(),
            8 => role.calls_per_hour = 1,
            9 => role.calls_max = 1,
            10 => policy.currency = "USD".parse().expect("capitals"),
            11 => role.price_max = Money(20_000_000),
            12 => role.longest = Duration::from_secs(1),
            _ => policy.budgets.clear(),
        }
        let gate = gate(Arc::new(policy.clone()));
        let rule = match gate.judge(sunday(), &attempt, &Ledger::default()) {
            Verdict::Denial(denial) => denial.decision.rule,
            Verdict::NeedReserve(_) => Rule::Outside,
            other => panic!("{other:?}"),
        };
        assert_eq!(gate.explain(sunday(), &attempt, &Ledger::default()).decision.rule, rule);
        found.push(rule);
    }
    let elsewhere = [
        Rule::Emergency,
        Rule::EmergencyStranger,
        Rule::Internal,
        Rule::Service,
        Rule::UnknownDestination,
    ];
    let asked = Rule::ALL.into_iter().filter(|rule| !elsewhere.contains(rule));
    assert_eq!(found, asked.collect::<Vec<_>>());
}

#[test]
fn only_an_extension_pays_and_voicemail_never_dials_out() {
    let all = [
        Origin::Phone,
        Origin::Forward,
        Origin::RingGroup,
        Origin::Transfer,
        Origin::Refer,
        Origin::Redirect,
        Origin::TrunkToTrunk,
        Origin::Alert,
    ];
    for origin in all {
        let of = |responsible| Attempt {
            origin,
            responsible: Some(responsible),
            ..calls_from_alice(national())
        };
        let gate = priced(|_| {});
        let verdict = gate.judge(sunday(), &of(Responsible::Extension(ALICE)), &Ledger::default());
        assert!(matches!(verdict, Verdict::NeedReserve(_)), "{origin:?}");
        for nobody in [Responsible::Trunk(TRUNK), Responsible::System] {
            let verdict = gate.judge(sunday(), &of(nobody), &Ledger::default());
            let Verdict::Denial(denial) = verdict else { panic!("{origin:?} {nobody:?}") };
            assert_eq!(denial.decision.rule, Rule::NobodyResponsible);
        }
    }
}

#[test]
fn a_number_abroad_needs_its_country_whatever_its_class() {
    let judged = |destination: Destination| {
        let gate = priced(|policy| {
            let role = policy.roles.get_mut(&ROLE).expect("inserted");
            let classes = Class::ALL.into_iter().filter(|class| *class != Class::Satellite);
            role.classes = classes.collect();
            role.countries = ["CA".parse().expect("capitals")].into();
            role.price_max = Money(20_000_000);
            policy.budgets.clear();
        });
        match gate.judge(sunday(), &calls_from_alice(destination), &Ledger::default()) {
            Verdict::Denial(denial) => denial.decision.rule,
            Verdict::NeedReserve(_) => Rule::Outside,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(judged(national()), Rule::Outside);
    assert_eq!(judged(to("+14165550100", Class::NanpAbroad, Some("CA"))), Rule::Outside);
    assert_eq!(judged(to("+18765550100", Class::NanpAbroad, Some("JM"))), Rule::NotAllowedCountry);
    assert_eq!(judged(to("+37126555010", Class::Mobile, Some("LV"))), Rule::NotAllowedCountry);
    assert_eq!(judged(to("+883510055501", Class::International, None)), Rule::NotAllowedCountry);
    assert_eq!(judged(to("+881605550100", Class::Satellite, None)), Rule::NotAllowedClass);
    // A role that names it allows nothing unknown all the same.
    assert_eq!(judged(to("+12125550100", Class::Unknown, Some("US"))), Rule::NotAllowedClass);
}

#[test]
fn a_first_step_is_a_minute_or_as_many_increments_as_fit() {
    let first = |hard: i64| {
        let gate = priced(|policy| budget(policy, hard));
        match gate.judge(sunday(), &calls_from_alice(national()), &Ledger::default()) {
            Verdict::NeedReserve(request) => Ok((request.first().seconds, request.first().held.0)),
            Verdict::Denial(denial) => Err((denial.decision.rule, denial.figures)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(first(1_000_000), Ok((60, 60_000)));
    assert_eq!(first(60_000), Ok((60, 60_000)));
    assert_eq!(first(59_999), Ok((50, 50_000)));
    assert_eq!(first(30_000), Ok((30, 30_000)));
    let bucket = Bucket { account: Scope::Operator, window: Window::Day, begin: 1_795_305_600 };
    let (spent, limit, needed) = (Money::ZERO, Money(29_999), Money(30_000));
    let figures = Some(Figures::Budget { bucket, spent, limit, needed });
    assert_eq!(first(29_999), Err((Rule::Budget, figures)));
}

#[test]
fn a_leg_that_is_up_is_paid_by_steps_until_nothing_fits() {
    let gate = priced(|policy| budget(policy, 145_000));
    let (attempt, mut ledger) = (calls_from_alice(national()), Ledger::default());
    let (rate, first) = open(&gate, &attempt, &mut ledger);
    assert_eq!(first, Paid { seconds: 60, held: Money(60_000) });
    let mut next = || gate.extend(sunday(), &attempt, &rate, &mut ledger);
    assert_eq!(next(), Ok(Paid { seconds: 120, held: Money(120_000) }));
    assert_eq!(next(), Ok(Paid { seconds: 140, held: Money(140_000) }));
    assert_eq!(next().map_err(|denial| denial.decision.rule), Err(Rule::Budget));
    assert_eq!(ledger.paid(attempt.leg), Some(Paid { seconds: 140, held: Money(140_000) }));
}

#[test]
fn no_more_is_held_than_the_longest_call_costs() {
    let gate = priced(|policy| {
        policy.roles.get_mut(&ROLE).expect("inserted").longest = Duration::from_secs(75);
    });
    let (attempt, mut ledger) = (calls_from_alice(national()), Ledger::default());
    let (rate, _) = open(&gate, &attempt, &mut ledger);
    let mut next = || gate.extend(sunday(), &attempt, &rate, &mut ledger);
    assert_eq!(next(), Ok(Paid { seconds: 75, held: Money(80_000) }));
    assert_eq!(next().map_err(|denial| denial.decision.rule), Err(Rule::Longest));
}

#[test]
fn a_reservation_is_judged_anew() {
    let gate = priced(|policy| budget(policy, 100_000));
    let mut ledger = Ledger::default();
    let one = calls_from_alice(national());
    let other = Attempt { leg: LegId(3), ..calls_from_alice(national()) };
    // Both are judged before either is reserved, and there is money for one.
    let (first, second) = (request(&gate, &one, &ledger), request(&gate, &other, &ledger));
    gate.reserve(sunday(), first, &mut ledger).expect("there is money");
    let before = ledger.clone();
    let denial = gate.reserve(sunday(), second, &mut ledger).expect_err("there is none left");
    assert_eq!(denial.decision.rule, Rule::Budget);
    assert!(ledger.hold(other.leg).is_none());
    assert_eq!(ledger.attempts(sunday(), ALICE), before.attempts(sunday(), ALICE));
    assert!(ledger.poll_note().is_some_and(|note| note.crossing == Crossing::Hard));
    // A leg that has a hold is no new leg.
    let Verdict::Denial(denial) = gate.judge(sunday(), &one, &ledger) else { panic!("twice") };
    assert_eq!(denial.decision.rule, Rule::Concurrency);
}

#[test]
fn a_changed_policy_reaches_calls_that_are_up() {
    let gate = priced(|_| {});
    let (attempt, mut ledger) = (calls_from_alice(national()), Ledger::default());
    let (rate, _) = open(&gate, &attempt, &mut ledger);
    let review = |change: fn(&mut Policy), ledger: &mut Ledger| {
        let gate = priced(change);
        let reviewed = gate.review(sunday(), &attempt, &rate, ledger);
        let extended = gate.extend(sunday(), &attempt, &rate, ledger).map(|_| ());
        assert_eq!(reviewed, extended);
        reviewed.map_err(|denial| denial.decision.rule)
    };
    fn role(policy: &mut Policy) -> &mut Role {
        policy.roles.get_mut(&ROLE).expect("inserted")
    }
    assert_eq!(review(|_| {}, &mut ledger), Ok(()));
    type Change = fn(&mut Policy);
    let cases: [(Change, Rule); 6] = [
        (|p| p.lockdown.add(Scope::Role(ROLE)), Rule::Lockdown),
        (|p| role(p).classes.clear(), Rule::NotAllowedClass),
        (|p| p.home = "GB".parse().expect("capitals"), Rule::NotAllowedCountry),
        (|p| role(p).hours = Hours::never(), Rule::Hours),
        (|p| role(p).calls_max = 0, Rule::Concurrency),
        (|p| role(p).price_max = Money(59_999), Rule::TooDear),
    ];
    for (change, rule) in cases {
        assert_eq!(review(change, &mut ledger), Err(rule));
    }
    // Attempts of the past don't end it.
    assert_eq!(review(|p| role(p).calls_per_hour = 0, &mut ledger), Ok(()));
}

#[test]
fn attempts_count_for_an_hour_and_lines_while_they_are_up() {
    let gate = priced(|policy| {
        let role = policy.roles.get_mut(&ROLE).expect("inserted");
        (role.calls_max, role.calls_per_hour) = (2, 3);
    });
    let mut ledger = Ledger::default();
    let leg = |leg: u128| Attempt { leg: LegId(leg), ..calls_from_alice(national()) };
    let judged =
        |now: Now, number: u128, ledger: &Ledger| match gate.judge(now, &leg(number), ledger) {
            Verdict::Denial(denial) => denial.decision.rule,
            Verdict::NeedReserve(_) => Rule::Outside,
            other => panic!("{other:?}"),
        };
    let (rate, _) = open(&gate, &leg(1), &mut ledger);
    open(&gate, &leg(2), &mut ledger);
    assert_eq!(judged(sunday(), 3, &ledger), Rule::Concurrency);
    // Its own line is no other's, and its attempt was counted.
    gate.extend(sunday(), &leg(1), &rate, &mut ledger).expect("it is up already");
    ledger.settle(LegId(2), Money::ZERO);
    open(&gate, &leg(3), &mut ledger);
    ledger.settle(LegId(3), Money::ZERO);
    assert_eq!(judged(sunday(), 4, &ledger), Rule::Rate);
    // The wall clock may jump; an hour is an hour.
    let hour = Duration::from_secs(3_600);
    assert_eq!(judged(Now { utc: START + hour, ..sunday() }, 4, &ledger), Rule::Rate);
    let later = Now { instant: sunday().instant + hour, ..sunday() };
    assert_eq!(judged(later, 4, &ledger), Rule::Outside);
}

#[test]
fn names_of_rules_are_those_of_serde() {
    for rule in Rule::ALL {
        let json = serde_json::to_value(rule).expect("a string");
        assert_eq!(json, rule.name());
        assert_eq!(Rule::from_name(rule.name()), Some(rule));
    }
    let mut names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Rule::ALL.len());
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::Operator),
        Just(Scope::Tenant(TenantId::HOUSE)),
        Just(Scope::Role(ROLE)),
        Just(Scope::Extension(ALICE)),
        Just(Scope::Trunk(TRUNK)),
    ]
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Phone),
        Just(Origin::Forward),
        Just(Origin::RingGroup),
        Just(Origin::Transfer),
        Just(Origin::Refer),
        Just(Origin::Redirect),
        Just(Origin::Inbound),
        Just(Origin::TrunkToTrunk),
        Just(Origin::Voicemail),
        Just(Origin::Alert),
    ]
}

fn responsibles() -> impl Strategy<Value = Option<Responsible>> {
    prop_oneof![
        Just(None),
        Just(Some(Responsible::Extension(ALICE))),
        Just(Some(Responsible::Trunk(TRUNK))),
        Just(Some(Responsible::System)),
    ]
}

fn known_standings() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Proved(Proof::Digest(Algorithm::Md5))),
        Just(Standing::Proved(Proof::ClientCertificate)),
        Just(Standing::Ourselves),
        (0..=30u32).prop_map(|days| Standing::KnownDevice {
            device: DeviceId(1),
            registered: Utc(START.0 - i64::from(days) * 86_400_000_000),
        }),
    ]
}

fn standings() -> impl Strategy<Value = Standing> {
    prop_oneof![known_standings(), Just(Standing::Stranger)]
}

fn destinations() -> impl Strategy<Value = Destination> {
    prop_oneof![
        Just(Destination::Extension(BOB)),
        Just(Destination::Service),
        Just(outside()),
        Just(Destination::Unknown),
    ]
}

proptest! {
    // Invariant 2: no lockdown, origin or missing payer stands before a call for help.
    #[test]
    fn emergency_passes_every_lockdown(
        lockdown in proptest::collection::vec(scopes(), 0..6),
        origin in origins(),
        responsible in responsibles(),
        standing in known_standings(),
    ) {
        let destination = emergency();
        let attempt = Attempt { origin, responsible, standing, destination, ..internal() };
        prop_assert_eq!(rule(&lockdown, &attempt), Rule::Emergency);
    }

    // Nothing outside is permitted without money set aside, and nothing at all to strangers.
    #[test]
    fn judging_permits_nothing_that_costs_money(
        lockdown in proptest::collection::vec(scopes(), 0..3),
        origin in origins(),
        responsible in responsibles(),
        standing in standings(),
        destination in destinations(),
    ) {
        let attempt = Attempt { origin, responsible, standing, destination, ..internal() };
        let rule = rule(&lockdown, &attempt);
        if rule.permits() {
            prop_assert!(matches!(attempt.destination, Destination::Extension(_) | Destination::Service));
            prop_assert!(matches!(attempt.standing, Standing::Proved(_) | Standing::Ourselves));
            prop_assert!(attempt.responsible.is_some());
            prop_assert!(!lockdown.contains(&Scope::Operator));
        }
    }

    // The fixed order: a rule decides only where none before it applies.
    #[test]
    fn lockdown_is_asked_before_all_but_emergency(
        origin in origins(),
        responsible in responsibles(),
        standing in standings(),
        destination in destinations(),
    ) {
        let attempt = Attempt { origin, responsible, standing, destination, ..internal() };
        prop_assert_eq!(rule(&[Scope::Operator], &attempt), Rule::Lockdown);
    }
}
