//! The store as the edge uses it: opened, written, killed, filled up, migrated.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guard::access::Actor;
use guard::cause::{Disposition, EndedBy};
use guard::fact::Fact;
use guard::gate::{Algorithm, Decision, Origin, PolicyVersion, Proof, Responsible, Rule};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, RealmId, RoleId, TenantId, TrunkId};
use guard::journal::{Subject, Why};
use guard::ledger::{Bucket, Hold, HoldPart, Spend, Window};
use guard::money::Money;
use guard::number::{Class, Country, ExtensionNumber};
use guard::pii::{Name, Pii};
use guard::policy::{Policy, Scope};
use guard::rate::{Rate, RateDeck, Source};
use guard::secret::{KeyId, MasterKey, Sealed};
use guard::sink::{Channel, Security, Sink, SinkId};
use guard::wall::{Ban, BanCause};
use pbx::directory::{
    Device, Exceptions, Extension, Inbound, Secret, Tenant, Trunk, TrunkAccess, TrunkAccount,
    TrunkIdentity, TrunkMedia,
};
use pbx::flow::{FlowId, Path as FlowPath, Transport};
use pbx::io::{PersistError, Trace};
use pbx::record::{BindingRow, Cdr, CdrLeg, Quality, Row, Toll, Watermark};
use pbx::snapshot::{CallSnapshot, DialogState, LegSnapshot, LegStage, Role, Stage};
use pure::{Chance, Now, Utc};
use tokio::sync::oneshot;

use crate::database::Database;
use crate::open::open_with;
use crate::schema::{self, MIGRATIONS, Migration};
use crate::sqlite::Sqlite;
use crate::testing::scratch;
use crate::{
    CallQuery, Cost, CostBy, CostOf, CostQuery, Durability, Error, First, Folder, Kinds, Noted,
    Opened, Options, Reader, Retention, Write, open,
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
        realm: RealmId(u16::MAX),
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
        ended_by: EndedBy(
            n.is_multiple_of(2).then(|| "the day budget of extension 111".to_owned()),
        ),
        decision: Some(Decision { rule: Rule::Lockdown, policy: PolicyVersion(4) }),
        emergency: true,
        legs: vec![leg(ExtensionId(3), true), leg(callee, false)],
    }
}

fn toll(trunk: u32, country: Option<&str>, cost: i64) -> Toll {
    Toll {
        leg: LegId(7),
        trunk: TrunkId(trunk),
        number: "+37120000000".to_owned(),
        class: Class::Mobile,
        country: country.map(|code| code.parse().unwrap()),
        decision: Decision { rule: Rule::Outside, policy: PolicyVersion(4) },
        currency: "EUR".parse().unwrap(),
        rate: Rate {
            prefix: "3712".to_owned(),
            name: "Latvia, mobile \"A\", '1'".to_owned(),
            per_minute: Money(123_456),
            connect: Money(1),
            first: 30,
            increment: 6,
            source: Source::Deck,
        },
        answered: (cost > 0).then_some(Utc(150)),
        seconds: if cost > 0 { 36 } else { 0 },
        cost: Money(cost),
        held: Money(cost + 1),
    }
}

fn hold() -> Hold {
    let bucket = Bucket { account: Scope::Role(RoleId(2)), window: Window::Day, begin: -86_400 };
    Hold {
        leg: LegId(7),
        extension: ExtensionId(3),
        seconds: 60,
        tail: Money(2),
        parts: vec![HoldPart { amount: Money(5), buckets: vec![bucket] }],
    }
}

fn trunk(n: u32) -> Trunk {
    let account = TrunkAccount {
        user: "4711".to_owned(),
        auth_user: n.is_multiple_of(2).then(|| "auth".to_owned()),
        secret: extension(2).secret,
        weakest: if n.is_multiple_of(2) { Algorithm::Md5 } else { Algorithm::Sha256 },
    };
    Trunk {
        id: TrunkId(n),
        tenant: n.is_multiple_of(2).then_some(HOUSE),
        name: format!("carrier {n}"),
        enabled: n.is_multiple_of(2),
        realm: RealmId(3),
        host: "sip.carrier.example".to_owned(),
        port: n.is_multiple_of(2).then_some(5061),
        transport: n.is_multiple_of(3).then_some(Transport::Tls),
        access: match n % 3 {
            0 => TrunkAccess::Registration(account),
            1 => TrunkAccess::Address(Some(account)),
            _ => TrunkAccess::Address(None),
        },
        sources: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        media: if n.is_multiple_of(2) { TrunkMedia::Srtp } else { TrunkMedia::DangerousPlain },
        identity: TrunkIdentity {
            asserted: true,
            from_account: n.is_multiple_of(2),
            private: false,
        },
        default_caller_id: Some("+15550001".to_owned()),
        codecs: vec!["PCMA".to_owned()],
        channels: u16::MAX,
        priority: 1,
        silence_limit: Duration::from_millis(1_500),
        call_max: Duration::from_secs(7_200),
        authority: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
        created: Utc(8),
    }
}

fn inbound(n: u32) -> Inbound {
    Inbound {
        number: format!("+1555000{n}"),
        tenant: HOUSE,
        trunk: TrunkId(n),
        extension: ExtensionId(3),
    }
}

/// `began`: seconds.
fn spend(account: Scope, window: Window, began: i64, settled: i64) -> Row {
    let bucket = Bucket { account, window, begin: began };
    Row::Spend(Spend { bucket, settled: Money(settled) })
}

fn ban(source: &str) -> Ban {
    Ban {
        source: source.parse::<std::net::IpAddr>().unwrap().into(),
        cause: BanCause::Administrator { why: "rings at \"night\"".to_owned() },
        since: Utc(7),
        until: Utc(9),
        times: 3,
        by: None,
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

/// The record of a call, with which its ladder goes.
fn ended(call: u64) -> Row {
    let record = cdr(call, 60, ExtensionId(1));
    Row::Cdr(Box::new(Cdr { call: CallId(u128::from(call)), ..record }))
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
async fn carriers_numbers_and_money_read_back_as_they_were_written() {
    let scratch = scratch("money");
    let (folder, store) = opened(scratch.path(), 1).await;
    let mut rows: Vec<Row> = (1..=10).map(|n| Row::Trunk(Box::new(trunk(n)))).collect();
    rows.extend((1..=10).map(|n| Row::Inbound(inbound(n))));
    let policy = Policy::first(Country::US);
    rows.push(Row::Policy(policy.clone()));
    let locked = policy.next(|next| next.lockdown.add(Scope::Operator));
    rows.push(Row::Policy(locked.clone()));
    let mut call = cdr(1, 300, ExtensionId(4));
    call.origin = Origin::Transfer;
    call.tolls = vec![toll(1, Some("LV"), 0), toll(2, None, 12_345)];
    call.legs[1].trunk = Some(TrunkId(2));
    rows.push(Row::Cdr(Box::new(call.clone())));
    let mut up = snapshot(1);
    up.tolls = call.tolls.clone();
    up.origin = Origin::Forward;
    up.legs[0].trunk = Some(TrunkId(2));
    up.legs[0].toll = Some((toll(2, Some("LV"), 5), hold()));
    rows.push(Row::Snapshot(Box::new(up.clone())));
    rows.extend(["203.0.113.9", "2001:db8::1", "192.0.2.9"].map(|source| Row::Ban(ban(source))));
    store.writer.persist(rows, Vec::new()).await.unwrap();
    let number = inbound(10).number;
    let removed = vec![
        Row::RemoveTrunk(TrunkId(10)),
        Row::RemoveInbound(number),
        Row::RemoveBan(ban("192.0.2.9").source),
    ];
    store.writer.persist(removed, Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));

    let (_folder, store) = opened(scratch.path(), 2).await;
    let found = store.stored;
    assert!(found.damaged.is_empty(), "{:?}", found.damaged);
    assert_eq!(found.trunks, (1..=9).map(trunk).collect::<Vec<_>>());
    assert_eq!(found.inbound, (1..=9).map(inbound).collect::<Vec<_>>());
    let bans: std::collections::BTreeSet<_> = found.bans.iter().map(|ban| ban.source).collect();
    assert_eq!(bans, ["203.0.113.9", "2001:db8::1"].map(|source| ban(source).source).into());
    assert_eq!(found.bans[0], ban(&found.bans[0].source.ip().to_string()));
    assert_eq!((found.policy.as_ref(), found.policy_lost), (Some(&locked), None));
    assert_eq!(found.snapshots, [up]);
    assert_eq!(store.reader.calls(&CallQuery::default()).await.unwrap(), [call]);
    let versions = store.reader.policies(10).await.unwrap();
    let versions: Vec<_> = versions.into_iter().map(|found| found.policy.unwrap()).collect();
    assert_eq!(versions, [(*locked).clone(), (*policy).clone()]);
    let first = store.reader.policy(PolicyVersion(1)).await.unwrap();
    assert_eq!(first.as_ref(), Some(&*policy));
    assert_eq!(store.reader.policy(PolicyVersion(3)).await.unwrap(), None);
}

#[tokio::test]
async fn costs_are_summed_by_each_side_and_each_currency_by_itself() {
    let scratch = scratch("costs");
    let (_folder, store) = opened(scratch.path(), 1).await;
    let call = |n, started, tolls| {
        let mut cdr = cdr(n, started, ExtensionId(4));
        cdr.tolls = tolls;
        cdr.responsible = Some(ExtensionId(u128::from(n)));
        Row::Cdr(Box::new(cdr))
    };
    let mut dollars = toll(2, None, 10);
    dollars.currency = "USD".parse().unwrap();
    let rows = vec![
        call(1, 100, vec![toll(1, Some("LV"), 0), toll(2, Some("LV"), 700)]),
        call(2, 200, vec![toll(2, Some("CU"), 50), dollars]),
        call(3, 300, Vec::new()),
    ];
    store.writer.persist(rows, Vec::new()).await.unwrap();
    let ask = async |query: CostQuery| {
        let costs = store.reader.costs(&query).await.unwrap();
        let line = |cost: &Cost| (cost.of, cost.currency.code().to_owned(), cost.cost.0, cost.legs);
        costs.iter().map(line).collect::<Vec<_>>()
    };
    let by = |by| CostQuery { by, tenant: None, since: None, until: None, extension: None };
    let euro = || "EUR".to_owned();
    let of = |id| CostOf::Extension(Some(ExtensionId(id)));
    assert_eq!(
        ask(by(CostBy::Extension)).await,
        [(of(1), euro(), 700, 2), (of(2), euro(), 50, 1), (of(2), "USD".to_owned(), 10, 1)]
    );
    let of = |id| CostOf::Trunk(TrunkId(id));
    assert_eq!(
        ask(by(CostBy::Trunk)).await,
        [(of(2), euro(), 750, 2), (of(2), "USD".to_owned(), 10, 1), (of(1), euro(), 0, 1)]
    );
    let of = |code: &str| CostOf::Country(code.parse().ok());
    let since = CostQuery { since: Some(Utc(200)), ..by(CostBy::Country) };
    assert_eq!(ask(since).await, [(of("CU"), euro(), 50, 1), (of(""), "USD".to_owned(), 10, 1)]);
    let of = CostOf::Class(Class::Mobile);
    let until = CostQuery { until: Some(Utc(200)), ..by(CostBy::Class) };
    assert_eq!(ask(until).await, [(of, euro(), 700, 2)]);
    let own = CostQuery { extension: Some(ExtensionId(2)), ..by(CostBy::Class) };
    assert_eq!(ask(own).await, [(of, euro(), 50, 1), (of, "USD".to_owned(), 10, 1)]);
    let nobody = CostQuery { tenant: Some(TenantId(9)), ..by(CostBy::Class) };
    assert_eq!(ask(nobody).await, []);
    let answered = store.reader.costs(&by(CostBy::Trunk)).await.unwrap();
    assert_eq!((answered[0].answered, answered[0].seconds, answered[2].answered), (2, 72, 0));

    // They go with their calls.
    let retention = Retention { cdrs_before: Some(Utc(200)), traces_before: None };
    store.writer.delete(retention).await.unwrap();
    assert_eq!(ask(by(CostBy::Class)).await, [(of, euro(), 50, 1), (of, "USD".to_owned(), 10, 1)]);
}

#[tokio::test]
async fn the_newest_deck_is_in_force_and_ten_former_ones_are_kept() {
    let scratch = scratch("decks");
    let (folder, store) = opened(scratch.path(), 1).await;
    let currency = "CHF".parse().unwrap();
    for version in 1..=14 {
        let mut deck = RateDeck::estimates(currency);
        deck.version = version;
        store.writer.persist(vec![Row::Deck(Arc::new(deck))], Vec::new()).await.unwrap();
    }
    store.writer.close().await.unwrap();
    drop((folder, store));
    let kept = count(scratch.path(), "SELECT COUNT(*) FROM rate_deck").await;
    assert_eq!(kept, 11);
    by_hand(scratch.path(), "UPDATE rate_deck SET currency = 'coins' WHERE version = 14").await;
    let (_folder, store) = opened(scratch.path(), 2).await;
    let deck = store.stored.deck.unwrap();
    assert_eq!((deck.version, deck.currency), (13, currency));
    assert_eq!(store.stored.damaged.len(), 1);
}

#[tokio::test]
async fn a_deck_reads_back_with_every_price() {
    let scratch = scratch("deck");
    let (folder, store) = opened(scratch.path(), 1).await;
    let text = "prefix,name,price,connect,first,increment\n\
                371,\"Latvia, \"\"fixed\"\"\",0.0123,0,60,60\n3712,Latvia mobile,0.25,0.01,30,6\n";
    let deck = RateDeck::import(text.as_bytes(), "EUR".parse().unwrap(), 7).unwrap();
    store.writer.persist(vec![Row::Deck(Arc::new(deck.clone()))], Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));
    let (_folder, store) = opened(scratch.path(), 2).await;
    let found = store.stored.deck.unwrap();
    assert_eq!(*found, deck);
    assert_eq!(found.rates().len(), 2);
}

#[tokio::test]
async fn what_was_spent_is_remembered_as_long_as_it_counts() {
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    let scratch = scratch("spends");
    let (folder, store) = opened(scratch.path(), 1).await;
    let now = 1_000 * DAY;
    let rows = vec![
        spend(Scope::Operator, Window::Week, now - 6 * DAY, 1),
        spend(Scope::Tenant(HOUSE), Window::Day, now - HOUR, 2),
        spend(Scope::Extension(ExtensionId(3)), Window::Hour, now - 12 * HOUR, 3),
        // Over for longer than a call may last.
        spend(Scope::Operator, Window::Hour, now - 2 * DAY, 4),
        // Over for more than fifteen days.
        spend(Scope::Operator, Window::Week, now - 23 * DAY, 5),
        spend(Scope::Operator, Window::Day, now - 17 * DAY, 6),
    ];
    store.writer.persist(rows, Vec::new()).await.unwrap();
    let changed = spend(Scope::Tenant(HOUSE), Window::Day, now - HOUR, 7);
    store.writer.persist(vec![changed], Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));
    let bad =
        "INSERT INTO spend (account, span, begins, settled) VALUES ('moon', 'day', 86400000, 1)";
    by_hand(scratch.path(), bad).await;

    let folder = Folder::open(scratch.path()).unwrap();
    let options = Options { now: Utc(now * 1_000_000), ..options(2) };
    let store = open(&folder, options).await.unwrap();
    let mut settled: Vec<i64> = store.stored.spends.iter().map(|spend| spend.settled.0).collect();
    settled.sort_unstable();
    assert_eq!(settled, [1, 3, 7]);
    assert_eq!(store.stored.damaged.len(), 1);
    assert_eq!(count(scratch.path(), "SELECT COUNT(*) FROM spend").await, 5);
}

#[tokio::test]
async fn a_policy_that_does_not_read_is_not_replaced_in_silence() {
    let scratch = scratch("lost-policy");
    let (folder, store) = opened(scratch.path(), 1).await;
    let first = Policy::first(Country::US);
    let second = first.next(|next| next.lockdown.add(Scope::Operator));
    let rows = vec![Row::Policy(first.clone()), Row::Policy(second)];
    store.writer.persist(rows, Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));
    for bad in [
        "UPDATE policy SET body = '{}' WHERE version = 2",
        // Of another version than it says.
        "UPDATE policy SET body = (SELECT body FROM policy WHERE version = 1) WHERE version = 2",
    ] {
        by_hand(scratch.path(), bad).await;
        let (_folder, store) = opened(scratch.path(), 2).await;
        assert_eq!(store.stored.policy.as_ref(), Some(&first));
        assert_eq!(store.stored.policy_lost, Some(PolicyVersion(2)));
        assert_eq!(store.stored.damaged.len(), 1);
        assert!(store.reader.policies(10).await.unwrap()[0].policy.is_err());
        store.writer.close().await.unwrap();
    }
    by_hand(scratch.path(), "UPDATE policy SET body = 'x'").await;
    let (_folder, store) = opened(scratch.path(), 3).await;
    assert_eq!((store.stored.policy, store.stored.policy_lost), (None, Some(PolicyVersion(2))));
}

#[tokio::test]
async fn a_trunk_that_does_not_read_leaves_the_others_in_service() {
    let scratch = scratch("damaged-trunk");
    let (folder, store) = opened(scratch.path(), 1).await;
    let rows = (1..=6).map(|n| Row::Trunk(Box::new(trunk(n)))).collect();
    store.writer.persist(rows, Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));
    for bad in [
        // An account without its secret, and a secret that is none.
        "UPDATE trunk SET secret = NULL WHERE id = 1",
        "UPDATE trunk SET secret = x'00' WHERE id = 3",
        // What a newer program allowed is not guessed at.
        "UPDATE trunk SET body = replace(body, 'dangerous-plain', 'anything') WHERE id = 5",
        "UPDATE trunk SET tenant = -1 WHERE id = 6",
    ] {
        by_hand(scratch.path(), bad).await;
    }
    let (_folder, store) = opened(scratch.path(), 2).await;
    assert_eq!(store.stored.trunks, [trunk(2), trunk(4)]);
    assert_eq!(store.stored.damaged.len(), 4);
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
    store.writer.write(Write { traces, ..Write::default() }).await.unwrap();
    // What is held of a ladder goes with the record.
    store.writer.persist(vec![ended(1)], Vec::new()).await.unwrap();
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
    writer.write(Write { rows, reply: Some(reply.into()), ..Write::default() }).await.unwrap();
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

async fn count(path: &Path, sql: &str) -> i64 {
    let database = crate::sqlite::SqliteReader::open(path).await.unwrap();
    database.query("count", sql, Vec::new()).await.unwrap()[0].int().unwrap()
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

/// Writes until the disk is full: how many changes went through, and what the last one heard.
async fn fill(writer: &crate::writer::Writer) -> (u128, PersistError) {
    let mut filled = 0;
    loop {
        let rows = (0..20).map(|n| boxed_cdr(1 + n, i64::try_from(n).unwrap()));
        let rows = rows.map(|row| match row {
            Row::Cdr(mut cdr) => {
                cdr.call = CallId(filled * 100 + cdr.call.0 % 97 + cdr.started.0 as u128);
                Row::Cdr(cdr)
            }
            other => other,
        });
        // Each of another subject, whose key is drawn with it.
        let said = noted(1_000 + u64::try_from(filled).unwrap());
        match writer.change(rows.collect(), vec![said]).await {
            Ok(()) => filled += 1,
            Err(error) => return (filled, error),
        }
        assert!(filled < 1_000, "the bound was never reached");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_who_waits_keeps_the_rest_and_recovers() {
    let scratch = scratch("full");
    let folder = Folder::open(scratch.path()).unwrap();
    let options = Options { size_max: Some(400 * 1024), ..options(1) };
    let mut store = open(&folder, options).await.unwrap();
    let (filled, error) = fill(&store.writer).await;
    assert_eq!(error, PersistError::Full);
    assert!(matches!(store.alerts.recv().await, Some(Fact::PersistFailed { .. })));
    assert!(store.writer.refusal().is_some_and(|said| said.contains("full")));
    let refused = noted(1_000 + u64::try_from(filled).unwrap());
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
    assert_eq!(store.writer.refusal(), None);
    assert_eq!(store.reader.calls(&CallQuery::default()).await.unwrap(), [kept]);
    let verified = store.reader.verify_journal(NODE, None).await.unwrap().unwrap();
    // Each change that was made, that the trouble began, and the fact from meanwhile: the change that was
    // refused has left nothing.
    let made = u64::try_from(filled).unwrap();
    assert_eq!(verified.entries, made + 2);
    // Its subject's key went with it, and a new one opens what comes next.
    store
        .writer
        .change(vec![Row::RemoveBinding(DeviceId(1))], vec![refused.clone()])
        .await
        .unwrap();
    let last = store.reader.journal(NODE, made + 2, made + 3).next_page().await.unwrap();
    let read = store.reader.read_entry(last.last().unwrap()).await.unwrap();
    assert_eq!((read.fact, read.erased), (refused.fact, Vec::new()));
    store.writer.close().await.unwrap();
}

/// Whoever reads the journal up to where it is said to be stored must not miss what is said of the loss itself.
#[tokio::test]
async fn nothing_is_said_to_be_stored_that_is_not() {
    let scratch = scratch("told");
    let folder = Folder::open(scratch.path()).unwrap();
    let options = Options { size_max: Some(1_500 * 1024), ..options(1) };
    let store = open(&folder, options).await.unwrap();
    // More than is kept; made before, since the writer tries again 100 ms after it was refused.
    let long = "x".repeat(8 << 10);
    let traces = (0..6_200).map(|n| trace(n % 200, &long)).collect();
    fill(&store.writer).await;
    store.writer.write(Write { traces, ..Write::default() }).await.unwrap();
    let told = store.writer.committed();
    let retention = Retention { cdrs_before: Some(Utc(500)), traces_before: None };
    store.writer.delete(retention).await.unwrap();
    let recovered = async {
        while store.writer.persist(Vec::new(), Vec::new()).await.is_err() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let said = *told.borrow();
        let stored = store.reader.journal_head(NODE).await.unwrap().sequence;
        assert!(said <= stored, "{said} is said to be stored, and {stored} is");
    };
    tokio::time::timeout(Duration::from_secs(10), recovered).await.unwrap();
    store.writer.close().await.unwrap();
    let verified = store.reader.verify_journal(NODE, None).await.unwrap().unwrap();
    let last =
        store.reader.journal(NODE, verified.entries - 1, u64::MAX).next_page().await.unwrap();
    let read = store.reader.read_entry(last.last().unwrap()).await.unwrap();
    assert!(matches!(read.fact, Fact::PersistFailed { what, .. } if what.contains("ladder lines")));
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
    let traces = vec![trace(1, "old"), Trace { utc: Utc(90), ..trace(2, "new") }];
    store.writer.write(Write { traces, ..Write::default() }).await.unwrap();
    let retention = Retention { cdrs_before: Some(Utc(80)), traces_before: Some(Utc(90)) };
    let deleted = store.writer.delete(retention).await.unwrap();
    assert_eq!((deleted.cdrs, deleted.traces), (3_200, 1));
    assert_eq!(store.reader.calls(&CallQuery::default()).await.unwrap().len(), 100);
    let of_extension = CallQuery { extension: Some(ExtensionId(4)), ..CallQuery::default() };
    assert_eq!(store.reader.calls(&of_extension).await.unwrap().len(), 100);
    assert_eq!(store.reader.trace(CallId(1)).await.unwrap(), []);
    assert_eq!(store.reader.trace(CallId(2)).await.unwrap().len(), 1);
}

/// A call without a record yet has its ladder a second later.
#[tokio::test]
async fn a_ladder_waits_no_longer_than_a_second() {
    let scratch = scratch("ladder-waits");
    let (_folder, store) = opened(scratch.path(), 1).await;
    let began = std::time::Instant::now();
    let traces = vec![trace(1, "INVITE")];
    store.writer.write(Write { traces, ..Write::default() }).await.unwrap();
    store.writer.persist(vec![ended(2)], Vec::new()).await.unwrap();
    let at_once = store.reader.trace(CallId(1)).await.unwrap().len();
    assert!(at_once == 0 || began.elapsed() > Duration::from_secs(1), "they wait for others");
    while store.reader.trace(CallId(1)).await.unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "they never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lines that are written together stand in one row, and come back in the order in which they were seen.
#[tokio::test]
async fn the_ladders_of_several_calls_are_kept_apart() {
    let scratch = scratch("ladders");
    let (_folder, store) = opened(scratch.path(), 1).await;
    let line = |n: u64| {
        let leg = LegId(u128::from(n % 3));
        Trace {
            leg,
            utc: Utc(60),
            sent: n.is_multiple_of(2),
            ..trace(1 + n % 2, &format!("line {n} ü"))
        }
    };
    for half in [0..10, 10..20] {
        let traces = half.map(line).collect();
        store.writer.write(Write { traces, ..Write::default() }).await.unwrap();
        let records = [1, 2].map(ended);
        store.writer.persist(records.to_vec(), Vec::new()).await.unwrap();
    }
    for call in [1, 2] {
        let expected: Vec<Trace> = (0..20).map(line).filter(|l| l.call.0 == call).collect();
        assert_eq!(store.reader.trace(CallId(call)).await.unwrap(), expected);
    }
}

/// A database as version 1 left it, with a row in it. Its text never changes.
const FIXTURE: &str = include_str!("../migrations/fixtures/0001.sql");

/// What version 1 wrote for a call that was up, a call that had ended, an extension, and two phones of it.
const ROWS_OF_VERSION_1: [&str; 4] = [
    "INSERT INTO extension (id, tenant, number, name, enabled, secret, secret_since, exceptions, created) \
     VALUES ('00000000000000000000000000000003', 1, '101', 'Desk', 1, \
     x'0100000000000000090000000000000000000000000000000000000000000000000000000000000000000000000000000000', \
     5, '', 6)",
    r#"INSERT INTO snapshot (call, tenant, node, version, started, body) VALUES
    ('00000000000000000000000000000011', 1, 1, 1, 100, '{"from":"101","to":"102",
    "responsible":"extension:00000000000000000000000000000003","rule":"internal","policy":1,
    "reservation":0,"emergency":false,"answered":null,"legs":[{"leg":
    "00000000000000000000000000000021","extension":null,"device":null,"proof":"digest:md5","node":1,
    "flow_transport":"tls","generation":4294967297,"remote":"192.0.2.1:5061","transport":"tls",
    "stage":{"is":"incoming","refusal":"SIP/2.0 503"},"suite":null,"rollover_sending":0,
    "rollover_receiving":0}]}')"#,
    r#"INSERT INTO cdr (call, tenant, node, caller, callee, extension, started, answered, ended,
    disposition, emergency, body) VALUES ('00000000000000000000000000000012', 1, 1, '101', '102',
    '00000000000000000000000000000003', 100, 200, 300, 'answered', 0, '{"rule":"internal","policy":1,
    "legs":[{"leg":"00000000000000000000000000000021","extension":null,"device":null,"caller":true,
    "transport":"tls","signalling":"","proof":null,"suite":null,"agent":"","status":200,
    "quality":null,"weaknesses":[]}]}')"#,
    "INSERT INTO binding (device, tenant, extension, node, contact, transport, remote, algorithm, call_id, \
     cseq, registered, expires) VALUES \
     ('00000000000000000000000000000031', 1, '00000000000000000000000000000003', 1, 'sip:a', 'udp', \
     '192.0.2.1:5060', 'md5', 'a', 1, 100, 400), \
     ('00000000000000000000000000000032', 1, '00000000000000000000000000000003', 1, 'sip:b', 'tls', \
     '192.0.2.1:5061', 'md5', 'b', 1, 100, 190)",
];

/// The database of a node that ran version 1.
async fn version_1(folder: &Folder) {
    let sqlite = Sqlite::open(folder.path(), Durability::Process, None).await.unwrap();
    let mut database = Database::Sqlite(sqlite);
    let first = Migration { version: 1, text: FIXTURE };
    schema::migrate(&mut database, &[first], Utc(1)).await.unwrap();
    database.close().await.unwrap();
    for row in ROWS_OF_VERSION_1 {
        by_hand(folder.path(), row).await;
    }
}

#[tokio::test]
async fn a_database_of_version_1_is_carried_forward_with_all_it_held() {
    let scratch = scratch("version-1");
    let folder = Folder::open(scratch.path()).unwrap();
    version_1(&folder).await;
    let store = open(&folder, options(1)).await.unwrap();
    let stored = &store.stored;
    assert!(stored.damaged.is_empty(), "{:?}", stored.damaged);
    assert_eq!(stored.tenants[0].name, "From version 1");
    assert_eq!(stored.extensions[0].caller_id, None);
    // Whether the phone over UDP had signed off was not written then.
    let until: Vec<_> = stored.bindings.iter().map(|row| (row.transport, row.expires)).collect();
    assert_eq!(until, [(Transport::Udp, Utc(100)), (Transport::Tls, Utc(190))]);
    let snapshot = &stored.snapshots[0];
    assert_eq!((snapshot.version, snapshot.origin), (pbx::snapshot::VERSION, Origin::Phone));
    assert!(snapshot.tolls.is_empty() && snapshot.legs[0].toll.is_none());
    assert_eq!((stored.policy.as_ref(), stored.policy_lost), (None, None));
    let calls = store.reader.calls(&CallQuery::default()).await.unwrap();
    assert_eq!((calls[0].origin, calls[0].tolls.len(), calls[0].legs.len()), (Origin::Phone, 0, 1));
    assert!(scratch.path().join("ringfence.db.v1.backup").exists());
    store.writer.close().await.unwrap();
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_database_as_it_was() {
    let scratch = scratch("migrate");
    let folder = Folder::open(scratch.path()).unwrap();
    version_1(&folder).await;
    let first = Migration { version: 1, text: FIXTURE };
    let broken = "ALTER TABLE device ADD COLUMN note TEXT; SELECT nonsense;";
    let broken = [first, Migration { version: 2, text: broken }];
    let refused = open_with(&folder, options(2), &broken).await.unwrap_err();
    assert!(matches!(&refused, Error::Migration { version: 2, backup: Some(_), .. }), "{refused}");
    let backup = scratch.path().join("ringfence.db.v1.backup");
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    // The right step goes through where the wrong one stopped: its column is not there twice.
    let migrated = open(&folder, options(3)).await.unwrap();
    assert_eq!(migrated.stored.tenants[0].name, "From version 1");
    migrated.writer.close().await.unwrap();

    // The program of version 1 doesn't touch it any more.
    let refused = open_with(&folder, options(5), &[first]).await.unwrap_err();
    assert!(matches!(refused, Error::Newer { found: 5, known: 1 }), "{refused}");
    assert!(refused.to_string().contains("newer program"));

    // The copy opens as what it was, and is carried forward again.
    std::fs::copy(&backup, scratch.path().join("ringfence.db")).unwrap();
    let again = open(&folder, options(6)).await.unwrap();
    assert_eq!(again.stored.snapshots.len(), 1);
}

#[tokio::test]
async fn the_fixture_has_the_schema_of_version_1() {
    let mut schemas = Vec::new();
    for text in [FIXTURE, MIGRATIONS[0].text] {
        let scratch = scratch("schema");
        let sqlite = Sqlite::open(scratch.path(), Durability::Process, None).await.unwrap();
        let mut of_one = Database::Sqlite(sqlite);
        let first = Migration { version: 1, text };
        schema::migrate(&mut of_one, &[first], Utc(1)).await.unwrap();
        of_one.close().await.unwrap();
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
                let write = Write { rows, reply: Some(reply.into()), ..Write::default() };
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

fn sink(n: u32) -> Sink {
    let channel = Channel::Mail {
        to: vec![Pii::new(Name("grace@example.com".to_owned()))],
        from: Pii::new(Name("pbx@example.com".to_owned())),
        host: "mail.example.com".to_owned(),
        port: 587,
        security: Security::StartTls,
        user: None,
    };
    let sealed = Sealed::seal(&master(), &mut Chance::from_number(n.into()), b"sink", b"{}");
    Sink { id: SinkId(n), created: Utc(5), channel, sealed, authority: None, private: n == 2 }
}

#[tokio::test]
async fn sinks_and_how_far_they_have_come_read_back() {
    let scratch = scratch("sinks");
    let (folder, store) = opened(scratch.path(), 1).await;
    let mark =
        |reader: &str, sequence| Row::Watermark(Watermark { reader: reader.to_owned(), sequence });
    let put = |n| Row::Sink(Box::new(sink(n)));
    let rows = vec![put(1), put(2), put(3), mark("sink/1", 7), mark("incidents", 1)];
    store.writer.persist(rows, Vec::new()).await.unwrap();
    let rows = vec![Row::RemoveSink(SinkId(3)), mark("sink/1", 9)];
    store.writer.persist(rows, Vec::new()).await.unwrap();
    store.writer.close().await.unwrap();
    drop((folder, store));
    let (_folder, store) = opened(scratch.path(), 2).await;
    let (sinks, damaged) = store.reader.sinks().await.unwrap();
    assert_eq!((sinks, damaged.len()), (vec![sink(1), sink(2)], 0));
    assert_eq!(store.reader.watermark("sink/1").await.unwrap(), Some(9));
    assert_eq!(store.reader.watermark("sink/2").await.unwrap(), None);
}

#[tokio::test]
async fn the_journal_is_read_by_kind_and_tells_how_far_it_has_come() {
    let scratch = scratch("kinds");
    let (_folder, store) = opened(scratch.path(), 1).await;
    let mut committed = store.writer.committed();
    let before = *committed.borrow_and_update();
    let stopped = |n: i64| Noted {
        now: Now { utc: Utc(n), ..Now::default() },
        tenant: None,
        fact: Fact::NodeStopped { node: NODE, calls_ended: 0 },
    };
    let facts = (1..=4).flat_map(|n| [noted(u64::try_from(n).unwrap()), stopped(n)]).collect();
    store.writer.persist(Vec::new(), facts).await.unwrap();
    committed.changed().await.unwrap();
    assert_eq!(*committed.borrow(), before + 8);
    let numbers = [stopped(1).fact.number()];
    let all = Kinds { numbers: &numbers, after: 0, since: None, limit: 9, newest: false };
    let of = async |kinds: Kinds<'_>| {
        let found = store.reader.journal_of(NODE, &kinds).await.unwrap();
        found.iter().map(|entry| entry.utc.0).collect::<Vec<_>>()
    };
    assert_eq!(of(all).await, [1, 2, 3, 4]);
    assert_eq!(of(Kinds { limit: 2, ..all }).await, [1, 2]);
    assert_eq!(of(Kinds { limit: 2, newest: true, ..all }).await, [3, 4]);
    assert_eq!(of(Kinds { since: Some(Utc(3)), ..all }).await, [3, 4]);
    assert_eq!(of(Kinds { after: before + 4, ..all }).await, [3, 4]);
    let both = [numbers[0], noted(1).fact.number()];
    assert_eq!(of(Kinds { numbers: &both, limit: 20, ..all }).await.len(), 8);
    assert_eq!(store.reader.last_before(NODE, Utc(0)).await.unwrap(), 0);
}
