use super::*;
use crate::detect::At;
use std::net::IpAddr;

const MINUTE: i64 = 60_000_000;

fn source(n: u32) -> Key {
    Key::Source(Source::from(IpAddr::from((0xc633_0000 + n).to_be_bytes())))
}

fn finding(minute: i64, key: Key, severity: Severity) -> Finding {
    let at =
        At { sequence: u64::try_from(minute).expect("positive") + 1, utc: Utc(minute * MINUTE) };
    let what = if key.is_strangers() { What::Guessing } else { What::Emergency };
    Finding {
        at,
        key,
        what,
        severity,
        events: 3,
        words: format!("minute {minute}"),
        done: None,
        extension: None,
        by: None,
    }
}

#[test]
fn an_incident_is_told_once_and_again_when_it_gets_worse() {
    let mut incidents = Incidents::default();
    let take = |incidents: &mut Incidents, minute, severity| {
        incidents.take(finding(minute, source(1), severity))
    };
    assert!(matches!(take(&mut incidents, 0, Severity::Notice), Some(Change::Opened(_))));
    for minute in 1..100 {
        assert_eq!(take(&mut incidents, minute, Severity::Notice), None);
    }
    let Some(Change::Raised(raised)) = take(&mut incidents, 100, Severity::Warn) else { panic!() };
    assert_eq!((raised.id, raised.findings, raised.events), (1, 101, 303));
    assert_eq!(take(&mut incidents, 101, Severity::Warn), None);
    // What is less bad changes neither the severity nor the words.
    assert_eq!(take(&mut incidents, 102, Severity::Notice), None);
    assert_eq!(incidents.tick(Utc(161 * MINUTE)), []);
    let [Change::Closed(closed)] = &incidents.tick(Utc(162 * MINUTE))[..] else { panic!() };
    assert_eq!((closed.id, closed.words.as_str()), (1, "minute 101"));
    // The next morning it is another one.
    let Some(Change::Opened(next)) = take(&mut incidents, 900, Severity::Notice) else { panic!() };
    assert_eq!(next.id, 901);
}

#[test]
fn beyond_the_bound_strangers_are_one_and_our_own_things_are_told_all_the_same() {
    let mut incidents = Incidents::default();
    let mut opened = 0;
    for n in 0..10_000 {
        opened += usize::from(incidents.take(finding(1, source(n), Severity::Warn)).is_some());
    }
    assert_eq!(opened, STRANGERS_MAX + 1);
    assert!(incidents.open().any(|one| one.key == Key::ManySources));
    assert_eq!(incidents.open().count(), STRANGERS_MAX + 1);
    let help = finding(2, Key::Call(CallId(1)), Severity::Error);
    assert!(matches!(incidents.take(help), Some(Change::Opened(_))));
    for n in 0..2 * OWN_MAX as u128 {
        assert!(incidents.take(finding(3, Key::Call(CallId(2 + n)), Severity::Error)).is_some());
    }
    assert_eq!(incidents.tick(Utc(4 * MINUTE)).len(), OWN_MAX + 1);
    assert!(incidents.open().any(|one| one.key == Key::ManySources));
}

#[test]
fn what_was_written_down_is_known_again() {
    let mut before = Incidents::default();
    let names = |_: ExtensionId| Some("101".to_owned());
    let mut facts = Vec::new();
    let mut told = |change: Option<Change>| facts.extend(change.map(|one| one.into_fact(names)));
    told(before.take(finding(1, source(1), Severity::Notice)));
    told(before.take(finding(2, source(1), Severity::Warn)));
    told(before.take(finding(3, Key::Extension(ExtensionId(7)), Severity::Warn)));
    told(before.take(finding(4, source(2), Severity::Warn)));
    before.tick(Utc(63 * MINUTE)).into_iter().for_each(|one| told(Some(one)));
    let mut after = Incidents::default();
    for _ in 0..2 {
        facts.iter().for_each(|fact| after.learn(fact));
    }
    assert_eq!(after.open().count(), 1);
    assert_eq!(after.take(finding(64, source(2), Severity::Warn)), None);
    assert!(after.take(finding(64, source(1), Severity::Warn)).is_some());
    // Read as it was written.
    for fact in &facts {
        let read = Fact::from_json(fact.number(), fact.to_json());
        assert_eq!(&read, fact);
        assert!(Incident::from_fact(&read).is_some());
    }
}

#[test]
fn a_finding_that_was_told_before_opens_nothing() {
    let mut incidents = Incidents::default();
    incidents.recall(finding(1, source(1), Severity::Warn));
    assert_eq!(incidents.open().count(), 0);
    incidents.take(finding(2, source(1), Severity::Notice));
    incidents.recall(finding(30, source(1), Severity::Warn));
    // Its rise was not told: the next one tells it.
    assert!(matches!(
        incidents.take(finding(31, source(1), Severity::Warn)),
        Some(Change::Raised(_))
    ));
    assert_eq!(incidents.tick(Utc(90 * MINUTE)), []);
}

/// A start reads the day again: neither the fact that opened an incident nor those that it had counted
/// when it got worse are counted twice, and what came after is counted once.
#[test]
fn a_restart_counts_nothing_twice() {
    let names = |_: ExtensionId| Some("101".to_owned());
    let script = [
        (1, Severity::Notice),
        (2, Severity::Notice),
        (3, Severity::Warn),
        (4, Severity::Warn),
        (5, Severity::Notice),
    ];
    for read in 1..=script.len() {
        let mut before = Incidents::default();
        let (read, mut facts) = (&script[..read], Vec::new());
        for (minute, severity) in read {
            let change = before.take(finding(*minute, source(1), *severity));
            facts.extend(change.map(|one| one.into_fact(names)));
        }
        let mut after = Incidents::default();
        facts.iter().for_each(|fact| after.learn(fact));
        for (minute, severity) in read {
            after.recall(finding(*minute, source(1), *severity));
        }
        let (before, known) = (before.open().next().unwrap(), after.open().next().unwrap());
        assert_eq!((before.findings, before.events), (known.findings, known.events), "{read:?}");
        assert_eq!((before.severity, before.last), (known.severity, known.last));
        // And nothing is told anew because of what was read again.
        assert_eq!(after.take(finding(9, source(1), before.severity)), None);
    }
}

/// A carrier that stays away is said again and again, after a restart too: it is one event.
#[test]
fn the_fact_that_opened_an_incident_is_one_event_however_often_it_is_said() {
    let mut incidents = Incidents::default();
    let away = |minute| {
        let once = finding(minute, Key::Trunk(TrunkId(1)), Severity::Warn);
        Finding { at: At { sequence: 7, ..once.at }, events: 1, ..once }
    };
    let Some(Change::Opened(opened)) = incidents.take(away(5)) else { panic!() };
    assert_eq!(incidents.take(away(35)), None);
    let one = incidents.open().next().unwrap();
    assert_eq!((one.id, one.events, one.last), (opened.id, 1, Utc(35 * MINUTE)));
}

#[test]
fn texts_of_strangers_stay_one_line() {
    let hostile = "x\r\nBcc: all@example.com\u{202e}\u{1b}[2J";
    assert_eq!(shown(hostile), "x\u{fffd}\u{fffd}Bcc: all@example.com\u{fffd}\u{fffd}[2J");
    assert_eq!(shown(&"a".repeat(100)).chars().count(), 65);
    let key = Key::Account(hostile.to_owned());
    let Some(change) = Incidents::default().take(finding(1, key, Severity::Warn)) else { panic!() };
    let one = change.incident().clone();
    let about = one.about(|_| None);
    for text in [one.title(&about), one.next(&about), about] {
        assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{text:?}");
    }
    assert_eq!(cut("äöü".to_owned(), 5), "ä…");
}
