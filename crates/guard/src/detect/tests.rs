//! Attacks that must be told, and the honest people they resemble.

use super::*;
use crate::fact::{
    AuthenticationFailure, CallerKnown, Exception, KnownBy, Seconds, Slowed, ViolationKind,
};
use crate::gate::{Algorithm, Origin, PolicyVersion, Rule};
use crate::id::{CallId, DeviceId, LegId, NodeId, TrunkId};
use crate::incident::{Change, Incident, Incidents};
use crate::journal::{Journal, Position};
use crate::ledger::Window;
use crate::money::Money;
use crate::number::EmergencyKind;
use crate::wall::BanCause;
use pure::{Chance, Now};

const ALICE: ExtensionId = ExtensionId(0xa11ce);
const PHONE: DeviceId = DeviceId(0xd);
const OFFICE: &str = "203.0.113.5";

/// Detectors and incidents, and what they told.
struct Desk {
    detectors: Detectors,
    incidents: Incidents,
    sequence: u64,
    told: Vec<Change>,
}

impl Desk {
    fn new() -> Self {
        Self {
            detectors: Detectors::new("USD".parse().expect("a currency")),
            incidents: Incidents::default(),
            sequence: 0,
            told: Vec::new(),
        }
    }

    fn at(&mut self, second: i64, fact: &Fact) {
        self.sequence += 1;
        let at = At { sequence: self.sequence, utc: Utc(second * 1_000_000) };
        let found = self.detectors.observe(at, fact);
        self.take(found);
    }

    fn tick(&mut self, second: i64) {
        let utc = Utc(second * 1_000_000);
        let found = self.detectors.tick(utc);
        self.take(found);
        self.told.extend(self.incidents.tick(utc));
    }

    fn take(&mut self, found: Vec<Finding>) {
        for finding in found {
            assert!(finding.words.len() <= Finding::WORDS_MAX, "{}", finding.words);
            self.told.extend(self.incidents.take(finding));
        }
    }

    /// `guessing warn 192.0.2.7` for each that opened or got worse.
    fn alerts(&self) -> Vec<String> {
        let told = self.told.iter().filter(|change| !matches!(change, Change::Closed(_)));
        let line = |one: &Incident| {
            let about = one.about(|id| (id == ALICE).then(|| "101".to_owned()));
            format!("{} {:?} {about}", one.what, one.severity)
        };
        told.map(|change| line(change.incident())).collect()
    }
}

fn address(text: &str) -> Pii<Address> {
    Pii::new(Address(text.to_owned()))
}

fn failed(from: &str, account: &str, failures: u32) -> Fact {
    Fact::AuthenticationFailed {
        reason: AuthenticationFailure::WrongResponse,
        failures,
        account: account.into(),
        account_exists: Pii::new(Some(account == "101")),
        address: address(from),
    }
}

fn held(from: &str, known_device: bool) -> Fact {
    Fact::GuessingHeld {
        failures: 5,
        seconds: Seconds(600),
        known_device,
        account: "101".into(),
        account_exists: Pii::new(Some(true)),
        address: address(from),
    }
}

fn shut_out(from: &str, cause: BanCause) -> Fact {
    let actor = Pii::new(None);
    Fact::BanPlaced { cause, seconds: Seconds(3_600), times: 1, address: address(from), actor }
}

fn registered(device: DeviceId, from: &str) -> Fact {
    Fact::Registered {
        device,
        extension: ALICE,
        transport: "TLS".to_owned(),
        algorithm: Some(Algorithm::Sha256),
        expires_seconds: 300,
        address: address(&format!("{from}:5061")),
    }
}

fn refused(call: u128, rule: Rule, to: &str) -> Fact {
    Fact::GateDecided {
        call: CallId(call),
        leg: LegId(1),
        origin: Origin::Phone,
        extension: Some(ALICE),
        permitted: false,
        rule,
        policy: PolicyVersion(1),
        destination: to.into(),
    }
}

fn added() -> Fact {
    Fact::ExtensionAdded {
        extension: ALICE,
        number: "101".to_owned(),
        name: "Front desk".into(),
        actor: Pii::new(Actor::System),
    }
}

fn first_seen(device: DeviceId) -> Fact {
    Fact::DeviceFirstSeen {
        device,
        extension: ALICE,
        agent: "Softphone\r\n9".to_owned(),
        instance: Pii::new(None),
        address: address("192.0.2.7:40000"),
    }
}

/// There are as many permitted calls as calls: nobody opens the entry of one, whatever was dialled.
#[test]
fn only_a_refused_call_is_opened() {
    let start = Position::genesis(NodeId(1));
    let mut journal = Journal::new(NodeId(1), start, Chance::from_number(1), []);
    let mut concerns = |permitted: bool| {
        let mut fact = refused(1, Rule::TooDear, r#"","permitted":true,"x":""#);
        let Fact::GateDecided { permitted: decided, .. } = &mut fact else { unreachable!() };
        *decided = permitted;
        let entry = journal.append(Now::default(), None, &fact).expect("it is journalled").entry;
        Detectors::concerns(&entry)
    };
    assert!(concerns(false));
    assert!(!concerns(true));
}

#[test]
fn a_weakness_allowed_to_a_whole_extension_is_told() {
    let mut desk = Desk::new();
    let actor = Pii::new(Actor::LocalAdmin { uid: 1_000, name: "grace".to_owned() });
    let exception = Exception::PlainMedia;
    let number = "101".to_owned();
    let fact = Fact::PhonesExceptionGranted { extension: ALICE, number, exception, actor };
    assert!(Detectors::KINDS.contains(&fact.number()));
    desk.at(1, &fact);
    assert_eq!(desk.alerts(), ["exception Warn extension 101"]);
    let next = desk.told[0].incident().next("extension 101");
    assert!(next.ends_with("extension allow 101 --dangerous-plain-rtp=false"), "{next}");
}

/// Somebody rotated a secret and hasn't told the phone: that is no guess, however long it lasts.
#[test]
fn the_former_password_is_no_guess() {
    let mut desk = Desk::new();
    for second in 0..100 {
        let Fact::AuthenticationFailed { failures, account, account_exists, address, .. } =
            failed("198.51.100.7", "101", 30)
        else {
            panic!()
        };
        let reason = AuthenticationFailure::FormerSecret;
        let fact =
            Fact::AuthenticationFailed { reason, failures, account, account_exists, address };
        desk.at(second, &fact);
    }
    assert_eq!(desk.alerts(), Vec::<String>::new());
}

#[test]
fn thousands_of_tries_of_one_attacker_are_one_incident() {
    let mut desk = Desk::new();
    for minute in 0..24 * 60 {
        desk.at(minute * 60, &failed("192.0.2.7", &format!("{}", 100 + minute % 900), 50));
        desk.tick(minute * 60);
    }
    assert_eq!(desk.alerts(), ["guessing Warn 192.0.2.7"]);
    desk.tick(26 * 3_600);
    let Some(Change::Closed(closed)) = desk.told.last() else { panic!("it is over") };
    assert!(closed.events > 70_000, "{}", closed.events);
    assert!(closed.words.contains("at least 32 accounts"), "{}", closed.words);
}

#[test]
fn a_slow_guesser_of_one_account_is_found() {
    let mut desk = Desk::new();
    for minute in 0..10 {
        desk.at(minute * 60, &failed("192.0.2.7", "101", 1));
    }
    assert_eq!(desk.alerts(), ["guessing Warn 192.0.2.7"]);
}

#[test]
fn forty_attackers_are_forty_incidents() {
    let mut desk = Desk::new();
    for round in 0..5 {
        for host in 1..=40 {
            desk.at(round * 60, &failed(&format!("198.51.100.{host}"), &format!("9{host}"), 10));
        }
    }
    assert_eq!(desk.alerts().len(), 40);
}

#[test]
fn a_swarm_at_one_account_is_one_attacker() {
    let mut desk = Desk::new();
    for host in 1..=200 {
        desk.at(host, &failed(&format!("198.51.{host}.1"), "101", 1));
    }
    assert_eq!(desk.alerts(), ["guessing Error account 101"]);
    // An account that nobody has costs less sleep.
    let mut desk = Desk::new();
    for host in 1..=200 {
        desk.at(host, &failed(&format!("198.51.{host}.1"), "admin", 1));
    }
    assert_eq!(desk.alerts(), ["guessing Warn account admin"]);
}

#[test]
fn people_and_phones_that_only_err_are_left_alone() {
    let mut desk = Desk::new();
    desk.at(0, &registered(PHONE, OFFICE));
    // The same extension's second phone has the old secret, all day.
    for minute in 0..24 * 60 {
        if minute % 60 == 0 {
            desk.at(minute * 60, &registered(PHONE, OFFICE));
        }
        desk.at(minute * 60, &failed(OFFICE, "101", 4));
        desk.tick(minute * 60);
    }
    // Somebody mistypes at home, three times.
    for second in [0, 20, 50] {
        desk.at(90_000 + second, &failed("198.51.100.9", "102", 1));
    }
    // A flaky line: some broken messages, and a faulty phone in the office.
    desk.at(90_100, &violated("198.51.100.9", 3));
    desk.at(90_200, &violated(OFFICE, 300));
    assert_eq!(desk.alerts(), [""; 0]);
}

fn violated(from: &str, count: u32) -> Fact {
    let proved = Some(true);
    Fact::ViolationSeen { kind: ViolationKind::Malformed, count, proved, address: address(from) }
}

#[test]
fn a_scanner_that_begins_to_guess_is_the_same_attacker() {
    let mut desk = Desk::new();
    desk.at(0, &violated("192.0.2.7", 1));
    desk.at(60, &violated("192.0.2.7", 40));
    desk.at(120, &failed("192.0.2.7", "100", 30));
    desk.at(180, &violated("192.0.2.7", 40));
    assert_eq!(desk.alerts(), ["scanning Notice 192.0.2.7", "guessing Warn 192.0.2.7"]);
}

#[test]
fn a_host_that_changes_its_ipv6_address_stays_one_attacker() {
    let mut desk = Desk::new();
    for n in 0..50 {
        desk.at(n * 60, &failed(&format!("2001:db8:1:2::{n:x}"), "100", 10));
    }
    assert_eq!(desk.alerts(), ["guessing Warn 2001:db8:1:2::/64"]);
}

#[test]
fn a_thief_who_feels_for_what_is_open_is_told_and_a_misdial_is_not() {
    let mut desk = Desk::new();
    // The same number again and again is a person.
    for n in 0..4 {
        desk.at(n * 30, &refused(n as u128, Rule::NotAllowedCountry, "+37120000000"));
    }
    assert_eq!(desk.alerts(), [""; 0]);
    for n in 10..40u32 {
        let to = format!("+2526{n:07}");
        desk.at(1_000 + i64::from(n), &refused(n.into(), Rule::NotAllowedCountry, &to));
    }
    assert_eq!(desk.alerts(), ["fraud Warn extension 101", "fraud Error extension 101"]);
    let worst = desk.told.last().expect("told").incident();
    assert!(worst.words.contains("20 different numbers"), "{}", worst.words);
}

#[test]
fn refusals_that_cost_nothing_and_days_apart_are_no_fraud() {
    let mut desk = Desk::new();
    for n in 0..30u32 {
        let to = format!("+2526{n:07}");
        // A lockdown refuses everybody.
        desk.at(i64::from(n), &refused(n.into(), Rule::Lockdown, &to));
        desk.at(i64::from(n) * 3_600, &refused(n.into(), Rule::NotAllowedClass, &to));
    }
    // One call that was judged for three ways out.
    for to in ["1", "2", "3"] {
        desk.at(200_000, &refused(77, Rule::TooDear, to));
    }
    assert_eq!(desk.alerts(), [""; 0]);
}

#[test]
fn budgets_and_fraud_of_an_extension_are_one_incident() {
    let mut desk = Desk::new();
    let account = || "extension 101".to_owned();
    let (window, extension) = (Window::Day, Some(ALICE));
    let (spent, limit) = (Money(8_000_000), Money(8_000_000));
    desk.at(0, &Fact::BudgetSoft { account: account(), window, spent, limit, extension });
    for n in 0..5u32 {
        desk.at(60, &refused(n.into(), Rule::Budget, &format!("+2526{n:07}")));
    }
    let limit = Money(10_000_000);
    desk.at(90, &Fact::BudgetHard { account: account(), window, limit, extension });
    assert_eq!(desk.alerts(), ["budget Warn extension 101", "budget Error extension 101"]);
    let worst = desk.told.last().expect("told").incident();
    assert_eq!(worst.words, "extension 101 has spent all it may within this day: 10.00 USD.");
    // The operator's own budget is nobody's extension.
    let account = "the operator".to_owned();
    desk.at(100, &Fact::BudgetHard { account, window, limit, extension: None });
    assert_eq!(desk.alerts().last().map(String::as_str), Some("budget Error the operator"));
}

#[test]
fn a_new_phone_is_told_unless_its_owner_sets_it_up() {
    let mut desk = Desk::new();
    desk.at(0, &added());
    desk.at(3_600, &first_seen(PHONE));
    assert_eq!(desk.alerts(), [""; 0]);
    desk.at(7_200, &first_seen(DeviceId(2)));
    assert_eq!(desk.alerts(), ["new-device Warn a phone of extension 101"]);
    let words = &desk.told[0].incident().words;
    assert!(words.contains("192.0.2.7") && words.contains("Softphone\u{fffd}\u{fffd}9"), "{words}");
    // An extension of long ago without a phone: not its owner setting it up today.
    let mut desk = Desk::new();
    desk.at(0, &added());
    desk.at(2 * 86_400, &first_seen(PHONE));
    assert_eq!(desk.alerts().len(), 1);
}

#[test]
fn a_new_place_is_told_once_and_new_leases_are_none() {
    let mut desk = Desk::new();
    let day = 86_400;
    desk.at(0, &registered(PHONE, OFFICE));
    // Home, and a lease of its own each day: told once.
    for n in 1..20 {
        desk.at(n * day, &registered(PHONE, &format!("198.51.{n}.7")));
        desk.at(n * day + 3_600, &registered(PHONE, OFFICE));
        desk.tick((n + 1) * day - 1);
    }
    assert_eq!(desk.alerts(), ["new-place Notice a phone of extension 101"]);
    let words = &desk.told[0].incident().words;
    assert!(words.contains("24 hours") && words.contains("198.51.0.0/16"), "{words}");
    // After more than thirty days away it is new again.
    desk.tick(60 * day);
    desk.at(60 * day, &registered(PHONE, OFFICE));
    assert_eq!(desk.alerts().len(), 2);
}

#[test]
fn a_new_phone_at_a_new_place_is_one_incident() {
    let mut desk = Desk::new();
    desk.at(0, &registered(PHONE, OFFICE));
    desk.at(10, &first_seen(DeviceId(2)));
    desk.at(10, &registered(DeviceId(2), "192.0.2.7"));
    assert_eq!(desk.alerts(), ["new-device Warn a phone of extension 101"]);
}

#[test]
fn a_carrier_that_stays_away_is_told_and_a_hiccup_is_not() {
    let mut desk = Desk::new();
    let (trunk, name) = (TrunkId(1), "carrier".to_owned());
    let down = Fact::TrunkDown { trunk, name: name.clone(), why: "nobody listens".to_owned() };
    let up = Fact::TrunkUp { trunk, name, how: "registered".to_owned() };
    desk.at(0, &down);
    desk.at(60, &up);
    desk.tick(400);
    assert_eq!(desk.alerts(), [""; 0]);
    desk.at(500, &down);
    for second in (500..20_000).step_by(10) {
        desk.tick(second);
    }
    assert_eq!(desk.alerts(), ["trunk-down Warn a carrier"]);
    assert!(desk.told.iter().all(|change| !matches!(change, Change::Closed(_))), "still down");
    desk.at(20_000, &up);
    desk.tick(24_000);
    assert!(matches!(desk.told.last(), Some(Change::Closed(_))));
}

#[test]
fn what_is_an_alert_by_itself() {
    let mut desk = Desk::new();
    let call = |n, known| Fact::EmergencyCalled {
        call: CallId(n),
        extension: Some(ALICE),
        device: Some(PHONE),
        number: "911".to_owned(),
        kind: EmergencyKind::General,
        known: CallerKnown(Some(known)),
        from: "101".into(),
    };
    desk.at(0, &call(1, KnownBy::Address));
    // What nobody proved doesn't hide the phone's own call; each is told once within the hour.
    desk.at(0, &call(2, KnownBy::Secret));
    for n in 3..60 {
        desk.at(1, &call(n, KnownBy::Address));
        desk.at(1, &call(n + 100, KnownBy::Path));
    }
    desk.at(2, &Fact::PersistFailed { what: "a call".into(), error: "disk full".into() });
    desk.at(3, &Fact::PersistFailed { what: "a call".into(), error: "disk full".into() });
    let actor = Pii::new(Actor::LocalAdmin { uid: 0, name: "root".to_owned() });
    let number = "101".to_owned();
    desk.at(4, &Fact::SecretRevealed { extension: ALICE, number, actor: actor.clone() });
    desk.at(5, &Fact::JournalBroken { node: NodeId(1), sequence: 3, why: "it is missing".into() });
    let exception = Exception::PlainMedia;
    desk.at(6, &Fact::ExceptionGranted { device: PHONE, exception, actor: actor.clone() });
    let expected = [
        "emergency Error somebody at the address of extension 101",
        "emergency Error extension 101",
        "storage Error this node",
        "secret-revealed Notice extension 101",
        "journal Error this node",
        "exception Warn phone 00000000",
    ];
    assert_eq!(desk.alerts(), expected);
    let words = |n: usize| desk.told[n].incident().words.as_str();
    assert_eq!(
        words(0),
        "Somebody at the address of 101, who proved nothing, called 911 for help."
    );
    assert_eq!(words(1), "101 called 911 for help.");
    assert_eq!(desk.told[3].incident().by.as_ref(), Some(actor.reveal()));
}

#[test]
fn a_flood_of_sources_and_accounts_keeps_the_tables_bounded() {
    let mut desk = Desk::new();
    for n in 0..6_000u32 {
        let from = IpAddr::from((0x0a00_0000 + n).to_be_bytes()).to_string();
        desk.at(1, &failed(&from, &format!("user{n}"), 50));
        desk.at(1, &violated(&from, 50));
    }
    assert!(desk.alerts().len() <= crate::incident::STRANGERS_MAX + 2, "{}", desk.alerts().len());
}

#[test]
fn what_the_wall_does_is_one_incident_with_the_guessing() {
    let mut desk = Desk::new();
    let from = "192.0.2.7";
    desk.at(0, &failed(from, "101", 1));
    desk.at(1, &held(from, false));
    desk.at(62, &failed(from, "101", 400));
    let cause = BanCause::Spraying { accounts: 11 };
    desk.at(
        63,
        &Fact::SprayingSeen { accounts: 11, slowed: Slowed(false), address: address(from) },
    );
    desk.at(63, &shut_out(from, cause));
    assert_eq!(desk.alerts().len(), 1, "{:?}", desk.alerts());

    // A tool that gives its name, and is shut out for it.
    let tool = BanCause::Scanner { agent: "friendly-scanner".to_owned() };
    desk.at(
        70,
        &Fact::ScannerSeen {
            sign: tool.clone(),
            proved: Some(true),
            address: address("192.0.2.8"),
        },
    );
    desk.at(71, &shut_out("192.0.2.8", tool));
    assert!(desk.alerts().iter().any(|line| line.contains("192.0.2.8")));
}

#[test]
fn a_phone_with_an_old_secret_and_the_owners_own_ban_alert_nobody() {
    let mut desk = Desk::new();
    desk.at(0, &registered(PHONE, OFFICE));
    desk.at(10, &held(OFFICE, true));
    desk.at(11, &held(OFFICE, false));
    desk.at(12, &shut_out("192.0.2.9", BanCause::Administrator { why: "rings at night".into() }));
    assert!(desk.alerts().is_empty(), "{:?}", desk.alerts());
}

#[test]
fn forged_scanners_take_no_place_of_those_that_are_real() {
    let mut desk = Desk::new();
    let tool = BanCause::Scanner { agent: "friendly-scanner".to_owned() };
    for n in 0..200 {
        let (sign, from) = (tool.clone(), address(&format!("203.0.113.{n}")));
        desk.at(n, &Fact::ScannerSeen { sign, proved: Some(false), address: from.clone() });
        let kind = ViolationKind::Malformed;
        desk.at(n, &Fact::ViolationSeen { kind, count: 10, proved: Some(false), address: from });
    }
    assert_eq!(desk.alerts(), ["scanning Notice addresses that proved nothing"]);
    // Whoever holds a connection is told by its address.
    desk.at(300, &shut_out("192.0.2.8", tool));
    assert_eq!(desk.alerts()[1..], ["scanning Warn 192.0.2.8"]);
}
