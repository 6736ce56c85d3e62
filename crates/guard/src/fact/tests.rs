//! One of every fact, and what becomes of each in a journal.

use super::*;
use crate::incident::{Change, Incident, Key};
use crate::source::Source;

const ALICE: ExtensionId = ExtensionId(0xa11ce);
const PHONE: DeviceId = DeviceId(0xd);
const CALL: CallId = CallId(0xca11);
const LEG: LegId = LegId(0x1e9);

/// One of each, in the order of numbers.
pub(crate) fn samples() -> Vec<Fact> {
    let node = NodeId(1);
    let (device, extension, call, leg) = (PHONE, ALICE, CALL, LEG);
    let admin = Actor::LocalAdmin { uid: 1_000, name: "grace".to_owned() };
    let actor = Pii::new(admin);
    let sink_actor = actor.clone();
    let number = "101".to_owned();
    let address = Pii::new(Address("192.0.2.7:5061".to_owned()));
    let outside: Pii<Number> = "+15550100190".into();
    vec![
        Fact::NodeStarted { node, version: "0.1.0".to_owned() },
        Fact::NodeStopped { node, calls_ended: 2 },
        Fact::CrashRecovered { node, calls_interrupted: 3, legs_ended: 6 },
        Fact::PanicContained { node, part: "exchange".into(), message: "index".into() },
        Fact::DrainStarted { node, calls_up: 4 },
        Fact::PersistFailed { what: "a CDR".to_owned(), error: "disk full".to_owned() },
        Fact::KernelTableUp { how: "in place since the start".to_owned() },
        Fact::KernelTableUnavailable { why: "no CAP_NET_ADMIN".to_owned() },
        Fact::ConfigurationAccepted { fingerprint: "ab12".into(), actor: actor.clone() },
        Fact::ConfigurationRefused { reason: "port 0".into(), actor: actor.clone() },
        Fact::PolicyChanged {
            version: PolicyVersion(2),
            change: "lockdown".to_owned(),
            actor: actor.clone(),
        },
        Fact::RatesChanged { version: 2, lines: 90, actor: actor.clone() },
        Fact::BudgetReset {
            account: "extension 101".to_owned(),
            forgotten: Money(3),
            actor: actor.clone(),
        },
        Fact::ChangeRefused {
            change: "policy-changed".to_owned(),
            why: "the disk is full".to_owned(),
            actor: actor.clone(),
        },
        Fact::ExtensionAdded {
            extension,
            number: number.clone(),
            name: "Front desk".into(),
            actor: actor.clone(),
        },
        Fact::ExtensionChanged {
            extension,
            number: number.clone(),
            change: ExtensionChange::Name,
            actor: actor.clone(),
        },
        Fact::ExtensionDisabled { extension, number: number.clone(), actor: actor.clone() },
        Fact::ExtensionRemoved { extension, number: number.clone(), actor: actor.clone() },
        Fact::PhonesExceptionGranted {
            extension,
            number: number.clone(),
            exception: Exception::PlainMedia,
            actor: actor.clone(),
        },
        Fact::PhonesExceptionWithdrawn {
            extension,
            number: number.clone(),
            exception: Exception::PlainMedia,
            actor: actor.clone(),
        },
        Fact::SecretGenerated { extension, number: number.clone(), actor: actor.clone() },
        Fact::SecretRotated { extension, number: number.clone(), actor: actor.clone() },
        Fact::SecretRevealed { extension, number: number.clone(), actor: actor.clone() },
        Fact::TrunkAdded {
            trunk: TrunkId(1),
            name: "carrier".to_owned(),
            host: "sip.example.net".to_owned(),
            actor: actor.clone(),
        },
        Fact::TrunkChanged {
            trunk: TrunkId(1),
            name: "carrier".to_owned(),
            change: "priority 1 to 2".to_owned(),
            actor: actor.clone(),
        },
        Fact::TrunkRemoved { trunk: TrunkId(1), name: "carrier".to_owned(), actor: actor.clone() },
        Fact::InboundChanged {
            trunk: TrunkId(1),
            extension: Some(extension),
            number: "+15550100190".into(),
            actor: actor.clone(),
        },
        Fact::DeviceFirstSeen {
            device,
            extension,
            agent: "baresip 1.1".to_owned(),
            instance: Pii::new(Some(Instance("<urn:uuid:beef>".to_owned()))),
            address: address.clone(),
        },
        Fact::ExceptionGranted { device, exception: Exception::PlainMedia, actor: actor.clone() },
        Fact::ExceptionWithdrawn { device, exception: Exception::PlainMedia, actor: actor.clone() },
        Fact::Registered {
            device,
            extension,
            transport: "TLS".to_owned(),
            algorithm: Some(Algorithm::Sha256),
            expires_seconds: 120,
            address: address.clone(),
        },
        Fact::RegistrationRefreshed { device, extension, expires_seconds: 120 },
        Fact::RegistrationExpired { device, extension },
        Fact::RegistrationRemoved { device, extension },
        Fact::FlowReplaced { device, extension, address: address.clone() },
        Fact::FlowLost { device, extension },
        Fact::AuthenticationFailed {
            reason: AuthenticationFailure::WrongResponse,
            failures: 3,
            account: "admin".into(),
            account_exists: Pii::new(Some(false)),
            address: address.clone(),
        },
        Fact::BanPlaced {
            cause: BanCause::Spraying { accounts: 11 },
            seconds: Seconds(3_600),
            times: 1,
            address: address.clone(),
            actor: Pii::new(None),
        },
        Fact::BanLifted {
            why: Lifted::Administrator,
            address: address.clone(),
            actor: Pii::new(Some(actor.reveal().clone())),
        },
        Fact::GuessingHeld {
            failures: 5,
            seconds: Seconds(600),
            known_device: false,
            account: "admin".into(),
            account_exists: Pii::new(Some(false)),
            address: address.clone(),
        },
        Fact::ScannerSeen {
            sign: BanCause::Scanner { agent: "friendly-scanner".to_owned() },
            proved: Some(true),
            address: address.clone(),
        },
        Fact::SprayingSeen { accounts: 11, slowed: Slowed(true), address: address.clone() },
        Fact::HoldLifted {
            account: "admin".into(),
            address: address.clone(),
            actor: actor.clone(),
        },
        Fact::ViolationSeen {
            kind: ViolationKind::Malformed,
            count: 9,
            proved: Some(false),
            address: address.clone(),
        },
        Fact::StrangersShed {
            banned: 1,
            source_rate: 2,
            strangers_total: 3,
            no_room: 4,
            kernel: 5,
            loudest: Pii::new(Some(Address("192.0.2.7".to_owned()))),
        },
        Fact::StrangersSummed {
            what: "malformed messages".to_owned(),
            count: 3_790,
            loudest: address,
        },
        Fact::TrunkUp {
            trunk: TrunkId(1),
            name: "carrier".to_owned(),
            how: "registered for 300 s".to_owned(),
        },
        Fact::TrunkDown {
            trunk: TrunkId(1),
            name: "carrier".to_owned(),
            why: "nobody listens".to_owned(),
        },
        Fact::GateDecided {
            call,
            leg,
            origin: Origin::Phone,
            extension: Some(extension),
            permitted: false,
            rule: Rule::NotAllowedClass,
            policy: PolicyVersion(2),
            destination: outside.clone(),
        },
        Fact::CallStarted {
            call,
            caller: Some(extension),
            callee: None,
            from: "101".into(),
            to: outside,
        },
        Fact::CallAnswered { call, ring_ms: 1_200 },
        Fact::CallEnded {
            call,
            disposition: Disposition::Refused(Rule::Lockdown),
            q850: 21,
            duration_ms: 0,
            by: EndedBy::default(),
        },
        Fact::CallInterrupted { call, duration_ms_min: 9_000 },
        Fact::LegNotEncrypted { call, leg, device: Some(device) },
        Fact::ExceptionUsed { call, leg, device, exceptions: Used(vec![Exception::Md5]) },
        Fact::EmergencyCalled {
            call,
            extension: Some(extension),
            device: Some(device),
            number: "911".to_owned(),
            kind: EmergencyKind::General,
            known: CallerKnown(Some(KnownBy::Secret)),
            from: "101".into(),
        },
        Fact::MoneyHeld { call, leg, held: Money(250_000), seconds: 60 },
        Fact::LegSettled { call, leg, trunk: TrunkId(1), cost: Money(125_000), seconds: 30 },
        Fact::BudgetSoft {
            account: "extension 101".to_owned(),
            window: Window::Day,
            spent: Money(8_000_000),
            limit: Money(8_000_000),
            extension: Some(extension),
        },
        Fact::BudgetHard {
            account: "extension 101".to_owned(),
            window: Window::Day,
            limit: Money(10_000_000),
            extension: Some(extension),
        },
        Fact::CallPreempted { call, trunk: TrunkId(1), by: CallId(2) },
        Fact::EndUnconfirmed { call, leg, trunk: TrunkId(1), held: Money(250_000) },
        Fact::HelpGaveWay { call, by: CallId(2) },
        Fact::MediaSilent { call, leg, silent_ms: 5_000 },
        Fact::MediaResumed { call, leg, silent_ms: 7_000 },
        Fact::MediaForged { call, leg, packets: 12 },
        Fact::JournalHeadExported { node, sequence: 7, hash: "00".to_owned() },
        Fact::JournalVerified { node, entries: 7 },
        Fact::JournalBroken { node, sequence: 3, why: "it is missing".to_owned() },
        Fact::SubjectErased { subject: "strangers:2026-11".to_owned(), actor: actor.clone() },
        incident(Change::Opened),
        incident(Change::Raised),
        incident(Change::Closed),
        Fact::SinkAdded {
            sink: 1,
            kind: "mail".to_owned(),
            to: "grace@example.com".into(),
            actor: actor.clone(),
        },
        Fact::SinkRemoved {
            sink: 1,
            kind: "mail".to_owned(),
            to: "grace@example.com".into(),
            actor,
        },
        Fact::AlertDelivered { sink: 1, kind: "mail".to_owned(), incidents: Incidents(vec![7]) },
        Fact::SinkFailing { sink: 1, kind: "mail".to_owned(), why: "refused".to_owned() },
        Fact::SinkRecovered { sink: 1, kind: "mail".to_owned(), tries: 3 },
        Fact::SinkTested {
            sink: 1,
            kind: "mail".to_owned(),
            passed: true,
            found: "it took the test".to_owned(),
        },
        Fact::SinkChanged {
            sink: 1,
            kind: "mail".to_owned(),
            to: "grace@example.com".into(),
            actor: sink_actor,
        },
    ]
}

fn incident(change: fn(Incident) -> Change) -> Fact {
    let one = Incident {
        id: 7,
        key: Key::Source(Source::from(std::net::IpAddr::from([192, 0, 2, 7]))),
        what: What::Guessing,
        severity: Severity::Warn,
        first: pure::Utc(1),
        last: pure::Utc(2),
        findings: 2,
        events: 30,
        words: "192.0.2.7 tried passwords".to_owned(),
        done: None,
        extension: None,
        by: Some(Actor::LocalAdmin { uid: 1_000, name: "grace".to_owned() }),
    };
    change(one).into_fact(|_| None)
}

#[test]
fn numbers_and_names_never_change() {
    let table: String =
        Fact::CATALOGUE.iter().map(|(number, name)| format!("{number} {name}\n")).collect();
    let expected = "\
100 node-started
101 node-stopped
102 crash-recovered
103 panic-contained
104 drain-started
105 persist-failed
106 kernel-table-up
107 kernel-table-unavailable
200 configuration-accepted
201 configuration-refused
202 policy-changed
203 rates-changed
204 budget-reset
205 change-refused
300 extension-added
301 extension-changed
302 extension-disabled
303 extension-removed
306 phones-exception-granted
307 phones-exception-withdrawn
310 secret-generated
311 secret-rotated
312 secret-revealed
320 trunk-added
321 trunk-changed
322 trunk-removed
323 inbound-changed
400 device-first-seen
401 exception-granted
402 exception-withdrawn
410 registered
411 registration-refreshed
412 registration-expired
413 registration-removed
414 flow-replaced
415 flow-lost
420 authentication-failed
421 ban-placed
422 ban-lifted
423 guessing-held
424 scanner-seen
425 spraying-seen
426 hold-lifted
430 violation-seen
431 strangers-shed
432 strangers-summed
440 trunk-up
441 trunk-down
500 gate-decided
501 call-started
502 call-answered
503 call-ended
504 call-interrupted
505 leg-not-encrypted
506 exception-used
510 emergency-called
511 money-held
512 leg-settled
513 budget-soft
514 budget-hard
515 call-preempted
516 end-unconfirmed
517 help-gave-way
600 media-silent
601 media-resumed
602 media-forged
700 journal-head-exported
701 journal-verified
702 journal-broken
703 subject-erased
800 incident-opened
801 incident-raised
802 incident-closed
810 sink-added
811 sink-removed
812 alert-delivered
813 sink-failing
814 sink-recovered
815 sink-tested
816 sink-changed
";
    assert_eq!(table, expected);
    let sampled: Vec<_> = samples().iter().map(|fact| (fact.number(), fact.name())).collect();
    assert_eq!(sampled, Fact::CATALOGUE, "a fact has no sample");
}

#[test]
fn every_fact_survives_json() {
    for fact in samples() {
        let fields = fact.to_json();
        assert_eq!(fields["fact"], fact.name());
        let read = Fact::from_json(fact.number(), fields.clone());
        assert_eq!(read, fact);
        let text = serde_json::to_string(&fact).expect("a struct");
        assert_eq!(serde_json::from_str::<Fact>(&text).expect("as written"), fact);
        for (field, _) in fact.personal() {
            assert!(fields.contains_key(field), "{field} of {}", fact.name());
        }
    }
}

#[test]
fn a_newer_fact_is_kept() {
    let text = r#"{"fact":"moon-rang","number":999,"crater":"Tycho"}"#;
    let Ok(Fact::Unknown(unknown)) = serde_json::from_str(text) else { panic!("refused") };
    assert_eq!((unknown.number, &unknown.raw["crater"]), (999, &"Tycho".into()));
    let fields = serde_json::from_str(r#"{"fact":"call-ended","disposition":"eaten"}"#);
    let fact = Fact::from_json(503, fields.expect("an object"));
    assert!(matches!(&fact, Fact::Unknown(unknown) if unknown.number == 503));
    assert_eq!(fact.to_string(), "A newer version recorded fact 503.");
}

#[test]
fn sentences_mask_what_is_personal() {
    let personal = ["grace", "Front desk", "192.0.2.7", "+15550100190", "admin ", "urn:uuid"];
    for fact in samples() {
        let (log, debug) = (fact.to_string(), format!("{fact:?}"));
        for secret in personal {
            assert!(!log.contains(secret), "{log}");
            assert!(!debug.contains(secret), "{debug}");
        }
        assert!(log.ends_with('.') || log.contains(": "), "not a sentence: {log}");
    }
    let started = samples();
    let started = started.iter().find(|fact| fact.number() == 501).expect("a sample");
    assert_eq!(started.to_string(), "… calls +1…90.");
    assert_eq!(started.revealed().to_string(), "101 calls +15550100190.");
}

/// Rust's own forms (`Money(2400)`, `Some(..)`) are for programmers.
#[test]
fn no_sentence_shows_how_we_store_it() {
    for fact in samples() {
        for sentence in [fact.to_string(), fact.revealed().to_string()] {
            let call = |pair: &[u8]| pair[0].is_ascii_alphanumeric() && pair[1] == b'(';
            assert!(!sentence.as_bytes().windows(2).any(call), "{sentence}");
        }
    }
}

/// A call that was cut says by what; what was written before it was known is still read.
#[test]
fn the_end_of_a_call_names_what_cut_it() {
    let text = r#"{"fact":"call-ended","call":"0000000000000000000000000000ca11",
                   "disposition":"answered","q850":21,"duration_ms":9000}"#;
    let mut fact: Fact = serde_json::from_str(text).expect("an older entry");
    let Fact::CallEnded { by, .. } = &mut fact else { panic!("{fact:?}") };
    assert_eq!(*by, EndedBy::default());
    *by = EndedBy(Some("the day budget of extension 111".to_owned()));
    let told = fact.to_string();
    assert!(
        told.contains("ended: answered, ended by the day budget of extension 111, 9000"),
        "{told}"
    );
}

/// Who called for help says how that is known; what was written before is still read.
#[test]
fn a_call_for_help_tells_how_its_caller_is_known() {
    let text = r#"{"fact":"emergency-called","call":"0000000000000000000000000000ca11",
                   "extension":null,"device":null,"number":"911","kind":"general","from":"101"}"#;
    let mut fact: Fact = serde_json::from_str(text).expect("an older entry");
    let Fact::EmergencyCalled { known, .. } = &mut fact else { panic!("{fact:?}") };
    assert_eq!(*known, CallerKnown(None));
    *known = CallerKnown(Some(KnownBy::Address));
    let told = fact.revealed().to_string();
    assert_eq!(told, "101 called 911 for help: somebody at its address, who proved nothing.");
}

#[test]
fn an_unknown_account_reads_like_a_known_one() {
    let failed = |exists| Fact::AuthenticationFailed {
        reason: AuthenticationFailure::WrongResponse,
        failures: 1,
        account: "101".into(),
        account_exists: Pii::new(Some(exists)),
        address: Pii::new(Address("192.0.2.7".to_owned())),
    };
    let (known, unknown) = (failed(true), failed(false));
    assert_eq!(known.to_string(), unknown.to_string());
    assert_eq!(format!("{known:?}"), format!("{unknown:?}"));
    assert_eq!(known.personal(), unknown.personal());
}

#[test]
fn a_peer_writes_no_second_line() {
    let agent = "x\r\n2026 all is well \u{202e}\u{1b}[2J".to_owned();
    let Some(Fact::DeviceFirstSeen { device, extension, instance, address, .. }) =
        samples().into_iter().find(|fact| fact.number() == 400)
    else {
        panic!("400 is a device's first sight");
    };
    let fact = Fact::DeviceFirstSeen { device, extension, agent, instance, address };
    for text in [fact.to_string(), fact.revealed().to_string()] {
        assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{text:?}");
    }
}

#[test]
fn refreshes_alone_stay_out_of_the_journal() {
    let quiet: Vec<u16> = samples().iter().filter(|f| !f.journalled()).map(Fact::number).collect();
    assert_eq!(quiet, [411]);
}
