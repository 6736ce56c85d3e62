//! The store as the edge uses it: opened, written, killed, filled up, migrated.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guard::access::Actor;
use guard::cause::Disposition;
use guard::fact::Fact;
use guard::gate::{Algorithm, Decision, Origin, PolicyVersion, Proof, Responsible, Rule};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, TenantId};
use guard::journal::{Subject, Why};
use guard::number::ExtensionNumber;
use guard::pii::{Name, Pii};
use guard::secret::{KeyId, MasterKey, Sealed};
use pbx::directory::{Device, Exceptions, Extension, Secret, Tenant};
use pbx::flow::{FlowId, Path as FlowPath, Transport};
use pbx::io::{PersistError, Trace};
use pbx::record::{BindingRow, Cdr, CdrLeg, Quality, Row};
use pbx::snapshot::{CallSnapshot, DialogState, LegSnapshot, LegStage, Role, Stage};
use pure::{Chance, Now, Utc};
use tokio::sync::oneshot;

use crate::open::open_with;
use crate::schema::{MIGRATIONS, Migration};
use crate::testing::scratch;
use crate::{
    CallQuery, Durability, Error, First, Folder, Noted, Opened, Options, Reader, Retention, Write,
    open,
};

const NODE: NodeId = NodeId(1);
const HOUSE: TenantId = TenantId::HOUSE;

fn master() -> Arc<MasterKey> {
    Arc::new(MasterKey::new(KeyId(9), [7; 32]))
}

fn options(seed: u64) -> Options {
    Options {
        master: master(),
        chance: Chance::from_number(seed),
        now: Utc(1_000),
        durability: Durability::Process,
        size_max: None,
        first: First { node: NODE, realm: "house.example".to_owned() },
    }
}

async fn opened(path: &Path, seed: u64) -> (Folder, Opened) {
    let folder = Folder::open(path).unwrap();
    let opened = open(&folder, options(seed)).await.unwrap();
    (folder, opened)
}

fn extension(n: u64) -> Extension {
    let mut chance = Chance::from_number(n);
    let mut secret = |text: &[u8]| Secret {
        sealed: Sealed::seal(&master(), &mut chance, b"extension", text),
        since: Utc(5),
    };
    Extension {
        id: ExtensionId(u128::from(n)),
        tenant: HOUSE,
        number: ExtensionNumber::try_from(format!("{}", 1000 + n)).unwrap(),
        name: "Zoë \"front\" O'Desk; DROP TABLE extension".to_owned(),
        enabled: n.is_multiple_of(2),
        secret: secret(b"current"),
        previous: n.is_multiple_of(3).then(|| (secret(b"previous"), Utc(77))),
        exceptions: Exceptions { dangerous_plain_rtp: n % 2 == 1 },
        caller_id: n.is_multiple_of(2).then(|| "+15551230000".to_owned()),
        created: Utc(-3),
    }
}

fn device(n: u64) -> Device {
    Device {
        id: DeviceId(u128::from(n)),
        tenant: HOUSE,
        extension: ExtensionId(u128::from(n)),
        instance: "<urn:uuid:0>".to_owned(),
        agent: "baresip v1.1".to_owned(),
        mac: n.is_multiple_of(2).then_some([0, 1, 2, 0xfd, 0xfe, 0xff]),
        firmware: (n % 2 == 1).then(|| "1.2".to_owned()),
        algorithm: n.is_multiple_of(2).then_some(Algorithm::Sha256),
        exceptions: Exceptions::default(),
        first_seen: Utc(1),
        last_seen: Utc(i64::MAX),
    }
}

fn remote() -> SocketAddr {
    "[2001:db8::1]:5061".parse().unwrap()
}

fn binding(n: u64, expires: i64) -> BindingRow {
    BindingRow {
        device: DeviceId(u128::from(n)),
        extension: ExtensionId(u128::from(n)),
        tenant: HOUSE,
        node: NODE,
        contact: "<sip:1001@192.0.2.1;transport=tls>".to_owned(),
        transport: Transport::Tls,
        remote: remote(),
        algorithm: Algorithm::Md5,
        call_id: "abc@host".to_owned(),
        cseq: u32::MAX,
        registered: Utc(10),
        expires: Utc(expires),
    }
}

fn snapshot(n: u64) -> CallSnapshot {
    let leg = |stage| LegSnapshot {
        leg: LegId(u128::MAX),
        extension: Some(ExtensionId(3)),
        device: None,
        trunk: None,
        toll: None,
        proof: Some(Proof::Digest(Algorithm::Sha256)),
        path: FlowPath {
            flow: FlowId { node: NODE, transport: Transport::Tls, generation: 17 + n },
            remote: remote(),
        },
        transport: Transport::Tls,
        stage,
        suite: Some("AEAD_AES_128_GCM".to_owned()),
        rollover: (1, u32::MAX),
    };
    let dialog = DialogState {
        stage: Stage::Confirmed,
        call_id: "c@h".to_owned(),
        local: "<sip:a@b>;tag=1".to_owned(),
        remote: "<sip:c@d>;tag=2".to_owned(),
        local_cseq: Some(7),
        remote_cseq: None,
        remote_target: "sip:c@192.0.2.9".to_owned(),
        route_set: vec!["<sip:p;lr>".to_owned()],
        secure: true,
        role: Role::Uas,
    };
    CallSnapshot {
        version: pbx::snapshot::VERSION,
        call: CallId(u128::from(n)),
        tenant: HOUSE,
        node: NODE,
        from: "1001".to_owned(),
        to: "1002".to_owned(),
        responsible: Some(Responsible::Extension(ExtensionId(3))),
        decision: Decision { rule: Rule::Internal, policy: PolicyVersion(4) },
        origin: Origin::Phone,
        tolls: Vec::new(),
        emergency: false,
        started: Utc(100),
        answered: Some(Utc(200)),
        legs: vec![
            leg(LegStage::Incoming { refusal: (0..=255).collect() }),
            leg(LegStage::Outgoing { cancel: b"CANCEL".to_vec(), invite: b"INVITE".to_vec() }),
            leg(LegStage::Up { dialog }),
        ],
    }
}

fn cdr(n: u64, started: i64, callee: ExtensionId) -> Cdr {
    let leg = |extension, caller| CdrLeg {
        leg: LegId(5),
        extension: Some(extension),
        device: Some(DeviceId(6)),
        trunk: None,
        caller,
        transport: Transport::Wss,
        signalling: "TLSv1.3 TLS13_AES_128_GCM_SHA256".to_owned(),
        proof: Some(Proof::ClientCertificate),
        suite: Some("AES_CM_128_HMAC_SHA1_80"),
        agent: "linphone".to_owned(),
        status: 486,
        quality: Some(Quality {
            packets: 500,
            lost: 3,
            jitter: Duration::from_micros(1_250),
            mos: Some(4.37),
            ..Quality::default()
        }),
        weaknesses: vec!["digest MD5".to_owned()],
    };
    Cdr {
        call: CallId(u128::from(n) << 120),
        tenant: HOUSE,
        node: NODE,
        from: "1001".to_owned(),
        to: "1002".to_owned(),
        responsible: Some(ExtensionId(3)),
        origin: Origin::Phone,
        tolls: Vec::new(),
        started: Utc(started),
        answered: None,
        ended: Utc(started + 1),
        disposition: Disposition::Refused(Rule::Lockdown),
        decision: Some(Decision { rule: Rule::Lockdown, policy: PolicyVersion(4) }),
        emergency: true,
        legs: vec![leg(ExtensionId(3), true), leg(callee, false)],
    }
}

fn boxed_cdr(n: u64, started: i64) -> Row {
    Row::Cdr(Box::new(cdr(n, started, ExtensionId(4))))
}

fn noted(n: u64) -> Noted {
    let fact = Fact::ExtensionAdded {
        extension: ExtensionId(u128::from(n)),
        number: "1001".to_owned(),
        name: Pii::new(Name("Alice Example".to_owned())),
        actor: Pii::new(Actor::System),
    };
    Noted { now: Now { utc: Utc(50), ..Now::default() }, tenant: Some(HOUSE), fact }
}

fn trace(call: u64, text: &str) -> Trace {
    let call = CallId(u128::from(call));
    Trace {
        tenant: TenantId::HOUSE,
        call,
        leg: LegId(2),
        utc: Utc(60),
        sent: true,
        text: text.to_owned(),
    }
}

fn unwaited(rows: Vec<Row>) -> Write {
    Write { rows, ..Write::default() }
}

#[tokio::test]
async fn every_row_reads_back_as_it_was_written() {
    let scratch = scratch("round-trip");
    let (folder, store) = opened(scratch.path(), 1).await;
    assert_eq!(store.meta.starts, 1);
    let tenant = Tenant {
        id: HOUSE,
        name: "House".to_owned(),
        realm: "house.example".to_owned(),
        domains: vec!["a.example".to_owned(), "192.0.2.1".to_owned()],
    };
    let mut rows = vec![Row::Tenant(tenant.clone())];
    // More than one statement of each size.
    let many = 1..=75;
    rows.extend(many.clone().map(|n| Row::Extension(Box::new(extension(n)))));
    rows.extend(many.clone().map(|n| Row::Device(Box::new(device(n)))));
    rows.extend(many.clone().map(|n| Row::Binding(Box::new(binding(n, 99)))));
    rows.extend(many.clone().map(|n| Row::Snapshot(Box::new(snapshot(n)))));
    rows.extend(many.clone().map(|n| boxed_cdr(n, 300)));
    store.writer.persist(rows, vec![noted(1)]).await.unwrap();
    store
        .writer
        .persist(
            vec![
                Row::RemoveExtension(ExtensionId(75)),
                Row::RemoveDevice(DeviceId(75)),
                Row::RemoveBinding(DeviceId(75)),
                Row::RemoveSnapshot(CallId(75)),
            ],
            Vec::new(),
        )
        .await
        .unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));

    let (_folder, store) = opened(scratch.path(), 2).await;
    let (left, found) = (1..=74, store.stored);
    assert!(found.damaged.is_empty(), "{:?}", found.damaged);
    assert_eq!(found.tenants, [tenant]);
    assert_eq!(found.extensions, left.clone().map(extension).collect::<Vec<_>>());
    assert_eq!(found.devices, left.clone().map(device).collect::<Vec<_>>());
    assert_eq!(found.bindings, left.clone().map(|n| binding(n, 99)).collect::<Vec<_>>());
    assert_eq!(found.snapshots, left.map(snapshot).collect::<Vec<_>>());
    assert_eq!((store.meta.starts, store.meta.node), (2, NODE));
    assert!(found.generation > 17 + 75);
    let mut calls = store.reader.calls(&CallQuery::default()).await.unwrap();
    calls.sort_by_key(|cdr| cdr.call);
    assert_eq!(calls, (1..=75).map(|n| cdr(n, 300, ExtensionId(4))).collect::<Vec<_>>());
}

#[tokio::test]
async fn calls_are_found_by_each_condition() {
    let scratch = scratch("calls");
    let (_folder, store) = opened(scratch.path(), 1).await;
    let row = |n, started, callee| Row::Cdr(Box::new(cdr(n, started, ExtensionId(callee))));
    let rows = vec![row(0x11, 100, 4), row(0x12, 200, 5), row(0x22, 300, 4)];
    store.writer.persist(rows, Vec::new()).await.unwrap();
    let ask = async |query: CallQuery| {
        let calls = store.reader.calls(&query).await.unwrap();
        calls.iter().map(|cdr| cdr.started.0).collect::<Vec<_>>()
    };
    let all = CallQuery::default;
    assert_eq!(ask(all()).await, [300, 200, 100]);
    assert_eq!(ask(CallQuery { since: Some(Utc(200)), ..all() }).await, [300, 200]);
    assert_eq!(ask(CallQuery { until: Some(Utc(200)), ..all() }).await, [100]);
    assert_eq!(ask(CallQuery { limit: Some(1), ..all() }).await, [300]);
    // As the callee, and as the one responsible.
    assert_eq!(ask(CallQuery { extension: Some(ExtensionId(5)), ..all() }).await, [200]);
    assert_eq!(ask(CallQuery { extension: Some(ExtensionId(3)), ..all() }).await, [300, 200, 100]);
    assert_eq!(ask(CallQuery { tenant: Some(TenantId(2)), ..all() }).await, [0; 0]);
    let prefix = |text: &str| CallQuery { id_prefix: Some(text.to_owned()), ..all() };
    assert_eq!(ask(prefix("1")).await, [200, 100]);
    assert_eq!(ask(prefix("22")).await, [300]);
    for nothing in ["", "3", "%", "1' OR '1'='1"] {
        assert_eq!(ask(prefix(nothing)).await, [0; 0], "{nothing}");
    }
}

#[tokio::test]
async fn a_ladder_is_sealed_and_bounded() {
    let scratch = scratch("ladder");
    let (_folder, store) = opened(scratch.path(), 1).await;
    let traces = (0..600).map(|n| trace(1, &format!("INVITE {n} needle-in-clear"))).collect();
    let (reply, answer) = oneshot::channel();
    let write = Write { traces, reply: Some(reply), ..Write::default() };
    store.writer.write(write).await.unwrap();
    answer.await.unwrap().unwrap();
    let lines = store.reader.trace(CallId(1)).await.unwrap();
    assert_eq!(lines.len(), 512);
    assert_eq!(lines[511], trace(1, "INVITE 511 needle-in-clear"));
    assert!(store.reader.trace(CallId(2)).await.unwrap().is_empty());
    let without_key = Reader::open(scratch.path(), None).await.unwrap();
    assert!(matches!(without_key.trace(CallId(1)).await, Err(Error::Locked)));
    for entry in std::fs::read_dir(scratch.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"needle"));
    }
}

#[tokio::test]
async fn of_two_changes_of_a_row_the_later_counts() {
    let scratch = scratch("order");
    let (folder, store) = opened(scratch.path(), 1).await;
    let writer = &store.writer;
    // Held back, then overtaken by what somebody waits for.
    writer.write(unwaited(vec![Row::Binding(Box::new(binding(1, 10)))])).await.unwrap();
    writer.write(unwaited(vec![Row::Binding(Box::new(binding(1, 20)))])).await.unwrap();
    writer.write(unwaited(vec![Row::Binding(Box::new(binding(2, 10)))])).await.unwrap();
    writer.persist(vec![Row::RemoveBinding(DeviceId(2))], Vec::new()).await.unwrap();
    let (reply, answer) = oneshot::channel();
    let rows = vec![Row::Snapshot(Box::new(snapshot(1)))];
    writer.write(Write { rows, reply: Some(reply), ..Write::default() }).await.unwrap();
    writer.write(unwaited(vec![Row::RemoveSnapshot(CallId(1))])).await.unwrap();
    answer.await.unwrap().unwrap();
    writer.close().await.unwrap();
    drop((folder, store));
    let (_folder, store) = opened(scratch.path(), 2).await;
    assert_eq!(store.stored.bindings, [binding(1, 20)]);
    assert!(store.stored.snapshots.is_empty());
}

#[tokio::test]
async fn the_journal_verifies_and_an_erased_subject_is_gone() {
    let scratch = scratch("journal");
    let (folder, store) = opened(scratch.path(), 1).await;
    for n in 0..5 {
        store.writer.persist(Vec::new(), vec![noted(1), noted(2 + n)]).await.unwrap();
    }
    let verified = store.reader.verify_journal(NODE, None).await.unwrap().unwrap();
    assert_eq!(verified.entries, 10);
    assert_eq!(store.reader.journal_head(NODE).await.unwrap(), verified.head);
    let page = store.reader.journal(NODE, 0, 2).next_page().await.unwrap();
    assert_eq!(page.len(), 2);
    let readable = store.reader.read_entry(&page[0]).await.unwrap();
    assert_eq!(readable.fact, noted(1).fact);

    let subject = Subject::Extension(ExtensionId(1));
    let said = Fact::SubjectErased { subject: subject.to_string(), actor: Pii::new(Actor::System) };
    store.writer.erase(subject, Noted { fact: said, ..noted(1) }).await.unwrap();
    let readable = store.reader.read_entry(&page[0]).await.unwrap();
    assert_eq!(readable.erased, [subject]);
    let other = store.reader.read_entry(&page[1]).await.unwrap();
    assert_eq!(other.fact, noted(2).fact);
    // After the restart the chain goes on, under keys that were kept.
    store.writer.close().await.unwrap();
    drop((folder, store));
    let (_folder, store) = opened(scratch.path(), 2).await;
    assert_eq!(store.journal_break, None);
    store.writer.persist(Vec::new(), vec![noted(2)]).await.unwrap();
    let verified = store.reader.verify_journal(NODE, None).await.unwrap().unwrap();
    assert_eq!(verified.entries, 12);
}

/// Runs one statement as somebody with a tool and no respect would.
async fn by_hand(path: &Path, sql: &'static str) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path.join("ringfence.db"));
    let mut connection = options.connect().await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_hand_in_the_journal_shows() {
    let edits: [(&str, Why); 4] = [
        ("UPDATE journal SET public = '{}' WHERE sequence = 2", Why::Edited),
        ("UPDATE journal SET hash = 'x' WHERE sequence = 2", Why::Edited),
        ("DELETE FROM journal WHERE sequence = 2", Why::Missing),
        ("DELETE FROM journal WHERE sequence > 2", Why::Truncated),
    ];
    for (edit, why) in edits {
        let scratch = scratch("tamper");
        let (folder, store) = opened(scratch.path(), 1).await;
        store.writer.persist(Vec::new(), vec![noted(1), noted(2), noted(3)]).await.unwrap();
        store.writer.close().await.unwrap();
        store.reader.close().await;
        drop((folder, store));
        by_hand(scratch.path(), edit).await;
        // Nobody runs: the reader works all the same.
        let reader = Reader::open(scratch.path(), None).await.unwrap();
        let broken = reader.verify_journal(NODE, None).await.unwrap().unwrap_err();
        assert_eq!(broken.why, why, "{edit}");
        reader.close().await;
        let (_folder, store) = opened(scratch.path(), 2).await;
        let cut = why == Why::Truncated;
        assert_eq!(store.journal_break.is_some(), cut, "{edit}");
        assert_eq!(scratch.path().join("journal.head.broken-3").exists(), cut);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_who_waits_keeps_the_rest_and_recovers() {
    let scratch = scratch("full");
    let folder = Folder::open(scratch.path()).unwrap();
    let options = Options { size_max: Some(400 * 1024), ..options(1) };
    let mut store = open(&folder, options).await.unwrap();
    let mut filled = 0;
    let refused = loop {
        let rows = (0..20).map(|n| boxed_cdr(1 + n, i64::try_from(n).unwrap()));
        let rows = rows.map(|row| match row {
            Row::Cdr(mut cdr) => {
                cdr.call = CallId(filled * 100 + cdr.call.0 % 97 + cdr.started.0 as u128);
                Row::Cdr(cdr)
            }
            other => other,
        });
        match store.writer.persist(rows.collect(), Vec::new()).await {
            Ok(()) => filled += 1,
            Err(error) => break error,
        }
        assert!(filled < 1_000, "the bound was never reached");
    };
    assert_eq!(refused, PersistError::Full);
    assert!(matches!(store.alerts.recv().await, Some(Fact::PersistFailed { .. })));
    // While it lasts: nobody waits for this call's record, and it must not be lost.
    let kept = cdr(0xfe, 1_000_000, ExtensionId(4));
    store.writer.write(unwaited(vec![Row::Cdr(Box::new(kept.clone()))])).await.unwrap();
    let noted_meanwhile = Write { facts: vec![noted(1)], ..Write::default() };
    store.writer.write(noted_meanwhile).await.unwrap();
    assert_eq!(
        store.writer.persist(vec![Row::Snapshot(Box::new(snapshot(1)))], Vec::new()).await,
        Err(PersistError::Full)
    );
    // Room comes back; the writer finds out by itself.
    let retention = Retention { cdrs_before: Some(Utc(500)), traces_before: None };
    let deleted = store.writer.delete(retention).await.unwrap();
    assert!(deleted.cdrs >= 20, "{deleted:?}");
    let recovered = async {
        while store.writer.persist(Vec::new(), Vec::new()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recovered).await.unwrap();
    assert_eq!(store.reader.calls(&CallQuery::default()).await.unwrap(), [kept]);
    let verified = store.reader.verify_journal(NODE, None).await.unwrap().unwrap();
    // That it began, and the fact from meanwhile.
    assert_eq!(verified.entries, 2);
    store.writer.close().await.unwrap();
}

#[tokio::test]
async fn what_is_too_old_is_deleted_and_nothing_else() {
    let scratch = scratch("age");
    let (_folder, store) = opened(scratch.path(), 1).await;
    // Three bites and a rest, many at the same microsecond.
    let rows = (0..3_300_u64).map(|n| {
        let mut cdr = cdr(1, i64::try_from(n / 40).unwrap(), ExtensionId(4));
        cdr.call = CallId(u128::from(n));
        Row::Cdr(Box::new(cdr))
    });
    store.writer.persist(rows.collect(), Vec::new()).await.unwrap();
    let traces = vec![trace(1, "old"), Trace { utc: Utc(90), ..trace(1, "new") }];
    store.writer.write(Write { traces, ..Write::default() }).await.unwrap();
    let retention = Retention { cdrs_before: Some(Utc(80)), traces_before: Some(Utc(90)) };
    let deleted = store.writer.delete(retention).await.unwrap();
    assert_eq!((deleted.cdrs, deleted.traces), (3_200, 1));
    assert_eq!(store.reader.calls(&CallQuery::default()).await.unwrap().len(), 100);
    let of_extension = CallQuery { extension: Some(ExtensionId(4)), ..CallQuery::default() };
    assert_eq!(store.reader.calls(&of_extension).await.unwrap().len(), 100);
    assert_eq!(store.reader.trace(CallId(1)).await.unwrap().len(), 1);
}

/// A database as version 1 left it, with a row in it. Its text never changes.
const FIXTURE: &str = include_str!("../migrations/fixtures/0001.sql");

#[tokio::test]
async fn a_database_of_version_1_is_carried_forward_after_a_copy() {
    let scratch = scratch("migrate");
    let folder = Folder::open(scratch.path()).unwrap();
    let first = Migration { version: 1, text: FIXTURE };
    drop(open_with(&folder, options(1), &[first]).await.unwrap());
    let next = |text| Migration { version: 2, text };

    // A step that fails half-way leaves nothing behind.
    let broken = [first, next("ALTER TABLE device ADD COLUMN note TEXT; SELECT nonsense;")];
    let refused = open_with(&folder, options(2), &broken).await.unwrap_err();
    assert!(matches!(&refused, Error::Migration { version: 2, backup: Some(_), .. }), "{refused}");
    let backup = scratch.path().join("ringfence.db.v1.backup");
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let as_before = open_with(&folder, options(3), MIGRATIONS).await.unwrap();
    assert_eq!(as_before.stored.tenants[0].name, "From version 1");
    as_before.writer.close().await.unwrap();

    let good = [first, next("ALTER TABLE device ADD COLUMN note TEXT;")];
    let migrated = open_with(&folder, options(4), &good).await.unwrap();
    assert_eq!(migrated.stored.tenants[0].name, "From version 1");
    migrated.writer.close().await.unwrap();

    // The program of version 1 doesn't touch it any more.
    let refused = open_with(&folder, options(5), MIGRATIONS).await.unwrap_err();
    assert!(matches!(refused, Error::Newer { found: 2, known: 1 }), "{refused}");
    assert!(refused.to_string().contains("newer program"));

    // The copy opens as what it was.
    std::fs::copy(&backup, scratch.path().join("ringfence.db")).unwrap();
    open_with(&folder, options(6), MIGRATIONS).await.unwrap();
}

#[tokio::test]
async fn the_fixture_has_the_schema_of_version_1() {
    let mut schemas = Vec::new();
    for text in [FIXTURE, MIGRATIONS[0].text] {
        let scratch = scratch("schema");
        let folder = Folder::open(scratch.path()).unwrap();
        drop(open_with(&folder, options(1), &[Migration { version: 1, text }]).await.unwrap());
        let database = crate::sqlite::SqliteReader::open(scratch.path()).await.unwrap();
        let sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name";
        let mut rows = database.query("sqlite_master", sql, Vec::new()).await.unwrap();
        schemas.push(rows.iter_mut().map(|row| row.text().unwrap()).collect::<Vec<_>>());
    }
    assert_eq!(schemas[0], schemas[1], "a released migration never changes: add a further one");
}

#[tokio::test]
async fn another_master_key_is_refused() {
    let scratch = scratch("key");
    let (folder, store) = opened(scratch.path(), 1).await;
    store.writer.close().await.unwrap();
    drop(store);
    let other = Arc::new(MasterKey::new(KeyId(10), [8; 32]));
    let refused = open(&folder, Options { master: other, ..options(2) }).await.unwrap_err();
    assert!(matches!(refused, Error::OtherKey { .. }), "{refused}");
}

#[tokio::test]
async fn one_damaged_row_keeps_nobody_from_calling() {
    let scratch = scratch("damaged");
    let (folder, store) = opened(scratch.path(), 1).await;
    let rows = (1..=2).map(|n| Row::Extension(Box::new(extension(n)))).collect();
    store.writer.persist(rows, Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));
    by_hand(scratch.path(), "UPDATE extension SET number = 'x' WHERE number = '1001'").await;
    let (_folder, store) = opened(scratch.path(), 2).await;
    assert_eq!(store.stored.extensions, [extension(2)]);
    assert_eq!(store.stored.damaged.len(), 1);
}

#[tokio::test]
async fn database_files_are_the_owners_alone() {
    let scratch = scratch("files");
    let (_folder, store) = opened(scratch.path(), 1).await;
    store.writer.persist(vec![boxed_cdr(1, 1)], vec![noted(1)]).await.unwrap();
    for entry in std::fs::read_dir(scratch.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

/// Seconds of processor time this process has used, all threads.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::test]
#[ignore = "a measurement, run by hand: cargo test -p store measure -- --ignored --nocapture"]
async fn measure_group_commit_against_row_by_row() {
    const ROWS: u64 = 10_000;
    for durability in [Durability::Process, Durability::Power] {
        for grouped in [false, true] {
            let scratch = scratch("measure");
            let folder = Folder::open(scratch.path()).unwrap();
            let store = open(&folder, Options { durability, ..options(1) }).await.unwrap();
            let (began, cpu_before) = (std::time::Instant::now(), cpu());
            let mut answers = Vec::new();
            for n in 0..ROWS {
                let mut row = cdr(1, 1, ExtensionId(4));
                row.call = CallId(u128::from(n));
                let (reply, answer) = oneshot::channel();
                let rows = vec![Row::Cdr(Box::new(row))];
                let write = Write { rows, reply: Some(reply), ..Write::default() };
                store.writer.write(write).await.unwrap();
                if grouped {
                    answers.push(answer);
                } else {
                    answer.await.unwrap().unwrap();
                }
            }
            for answer in answers {
                answer.await.unwrap().unwrap();
            }
            let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu() - cpu_before);
            println!(
                "{durability:?} grouped={grouped}: {:.0} CDRs/s, {:.0} us of processor a CDR",
                ROWS as f64 / wall,
                cpu * 1e6 / ROWS as f64
            );
            store.writer.close().await.unwrap();
        }
    }
}
