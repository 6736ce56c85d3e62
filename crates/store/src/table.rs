//! Which row goes into which table, column by column, and how it is read back.
//!
//! A group of changes is folded first: of several changes of one row only the last is written, so a
//! thousand refreshes of one registration cost one row, and a statement never meets a row twice
//! (PostgreSQL refuses that). Then it becomes a few statements of many rows each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use guard::cause::Disposition;
use guard::gate::PolicyVersion;
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, RealmId, TenantId, TrunkId};
use guard::journal::{Entry, Position, SubjectKey};
use guard::ledger::{Bucket, Spend, Window};
use guard::money::Money;
use guard::number::ExtensionNumber;
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::{KEY_LENGTH, KeyId, MasterKey, Sealed};
use guard::sink::{Sink, SinkId};
use guard::source::Source;
use guard::wall::Ban;
use pbx::directory::{Device, Extension, Inbound, Secret, Tenant, Trunk};
use pbx::io::Trace;
use pbx::record::{BindingRow, Cdr, Row};
use pbx::snapshot::CallSnapshot;
use pure::{Chance, Utc};

use crate::body::{self, CdrParts, SnapshotHead, TrunkHead};
use crate::database::{Record, Statement, Value};
use crate::deck;
use crate::error::Error;
use crate::word;

/// A table that is written: its key first, then the rest.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    key: &'static [&'static str],
    rest: &'static [&'static str],
}

/// Which row: of several changes of one row the last counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    Tenant(TenantId),
    Extension(ExtensionId),
    Device(DeviceId),
    Binding(DeviceId),
    Snapshot(CallId),
    Cdr(CallId),
    Trunk(TrunkId),
    Inbound(String),
    Policy(PolicyVersion),
    Deck(u64),
    Spend(Bucket),
    Ban(Source),
    Sink(SinkId),
    Watermark(String),
}

/// The texts of statements, made once for each table and size.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    upserts: BTreeMap<(&'static str, usize), Arc<str>>,
    deletes: BTreeMap<(&'static str, usize), Arc<str>>,
}

/// A snapshot as it was found.
pub(crate) enum FoundSnapshot {
    Known(Box<CallSnapshot>),
    /// Written by a newer program.
    Newer(CallId),
}

impl Key {
    pub(crate) fn of(row: &Row) -> Self {
        match row {
            Row::Tenant(tenant) => Self::Tenant(tenant.id),
            Row::Extension(extension) => Self::Extension(extension.id),
            Row::RemoveExtension(id) => Self::Extension(*id),
            Row::Device(device) => Self::Device(device.id),
            Row::RemoveDevice(id) => Self::Device(*id),
            Row::Binding(binding) => Self::Binding(binding.device),
            Row::RemoveBinding(id) => Self::Binding(*id),
            Row::Snapshot(snapshot) => Self::Snapshot(snapshot.call),
            Row::RemoveSnapshot(call) => Self::Snapshot(*call),
            Row::Cdr(cdr) => Self::Cdr(cdr.call),
            Row::Trunk(trunk) => Self::Trunk(trunk.id),
            Row::RemoveTrunk(id) => Self::Trunk(*id),
            Row::Inbound(inbound) => Self::Inbound(inbound.number.clone()),
            Row::RemoveInbound(number) => Self::Inbound(number.clone()),
            Row::Policy(policy) => Self::Policy(policy.version),
            Row::Deck(deck) => Self::Deck(deck.version),
            Row::Spend(spend) => Self::Spend(spend.bucket),
            Row::Ban(ban) => Self::Ban(ban.source),
            Row::RemoveBan(source) => Self::Ban(*source),
            Row::Sink(sink) => Self::Sink(sink.id),
            Row::RemoveSink(id) => Self::Sink(*id),
            Row::Watermark(mark) => Self::Watermark(mark.reader.clone()),
        }
    }
}

impl Texts {
    /// The statements that write `rows`, already folded. `now`: since when a policy or a deck holds.
    pub(crate) fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Row>,
        now: Utc,
        out: &mut Vec<Statement>,
    ) {
        let mut puts: BTreeMap<&'static str, (&'static Table, Vec<Vec<Value>>)> = BTreeMap::new();
        let mut removals: BTreeMap<&'static str, (&'static Table, Vec<Vec<Value>>)> =
            BTreeMap::new();
        let mut put = |table: &'static Table, values| {
            puts.entry(table.name).or_insert_with(|| (table, Vec::new())).1.push(values);
        };
        let mut remove = |table: &'static Table, id: Value| {
            let values = vec![id];
            removals.entry(table.name).or_insert_with(|| (table, Vec::new())).1.push(values);
        };
        let mut newest_deck = None;
        for row in rows {
            match row {
                Row::Tenant(row) => put(&TENANT, tenant(row)),
                Row::Extension(row) => put(&EXTENSION, extension(row)),
                Row::RemoveExtension(id) => remove(&EXTENSION, hex(id)),
                Row::Device(row) => put(&DEVICE, device(row)),
                Row::RemoveDevice(id) => remove(&DEVICE, hex(id)),
                Row::Binding(row) => put(&BINDING, binding(row)),
                Row::RemoveBinding(id) => remove(&BINDING, hex(id)),
                Row::Snapshot(row) => put(&SNAPSHOT, snapshot(row)),
                Row::RemoveSnapshot(id) => remove(&SNAPSHOT, hex(id)),
                Row::Cdr(row) => {
                    put(&CDR, cdr(row));
                    cdr_parties(row).into_iter().for_each(|party| put(&CDR_PARTY, party));
                    cdr_tolls(row).for_each(|toll| put(&CDR_TOLL, toll));
                }
                Row::Trunk(row) => put(&TRUNK, trunk(row)),
                Row::RemoveTrunk(TrunkId(id)) => remove(&TRUNK, i64::from(*id).into()),
                Row::Inbound(row) => put(&INBOUND, inbound(row)),
                Row::RemoveInbound(number) => remove(&INBOUND, text(number)),
                Row::Policy(row) => put(&POLICY, policy(row, now)),
                Row::Deck(row) => {
                    newest_deck = newest_deck.max(Some(row.version));
                    put(&DECK, rate_deck(row, now));
                }
                Row::Spend(row) => put(&SPEND, spend(row)),
                Row::Ban(row) => put(&BAN, ban(row)),
                Row::RemoveBan(source) => remove(&BAN, hex(source.ip())),
                Row::Sink(row) => put(&SINK, sink(row)),
                Row::RemoveSink(SinkId(id)) => remove(&SINK, i64::from(*id).into()),
                Row::Watermark(row) => {
                    put(&WATERMARK, vec![text(&row.reader), sequence(row.sequence)]);
                }
            }
        }
        for (table, rows) in removals.into_values() {
            self.in_chunks(table, rows, Self::delete, out);
        }
        for (table, rows) in puts.into_values() {
            self.in_chunks(table, rows, Self::upsert, out);
        }
        if let Some(old) = newest_deck.and_then(|newest| newest.checked_sub(DECKS_KEPT)) {
            out.push(Statement { sql: Arc::from(DELETE_OLD_DECKS), values: vec![sequence(old)] });
        }
    }

    /// The statements that put `rows`, each in the order of the table's columns.
    pub(crate) fn put(
        &mut self,
        table: &'static Table,
        rows: &[Vec<Value>],
        out: &mut Vec<Statement>,
    ) {
        // Copied: they stay with their owner until the commit is through.
        self.in_chunks(table, rows.to_vec(), Self::upsert, out);
    }

    fn in_chunks(
        &mut self,
        table: &'static Table,
        rows: Vec<Vec<Value>>,
        text: fn(&mut Self, &'static Table, usize) -> Arc<str>,
        out: &mut Vec<Statement>,
    ) {
        let (mut left, mut rows) = (rows.len(), rows.into_iter());
        while left > 0 {
            let size = chunk(left);
            let values = rows.by_ref().take(size).flatten().collect();
            out.push(Statement { sql: text(self, table, size), values });
            left -= size;
        }
    }

    fn upsert(&mut self, table: &'static Table, rows: usize) -> Arc<str> {
        let text = self.upserts.entry((table.name, rows)).or_insert_with(|| {
            let columns: Vec<&str> = table.key.iter().chain(table.rest).copied().collect();
            let row = format!("({})", vec![PLACE; columns.len()].join(", "));
            let set: Vec<_> = table.rest.iter().map(|c| format!("{c} = excluded.{c}")).collect();
            Arc::from(format!(
                "INSERT INTO {} ({}) VALUES {} ON CONFLICT ({}) DO UPDATE SET {}",
                table.name,
                columns.join(", "),
                vec![&row[..]; rows].join(", "),
                table.key.join(", "),
                set.join(", "),
            ))
        });
        Arc::clone(text)
    }

    fn delete(&mut self, table: &'static Table, rows: usize) -> Arc<str> {
        let text = self.deletes.entry((table.name, rows)).or_insert_with(|| {
            let all = vec![PLACE; rows].join(", ");
            let (name, key) = (table.name, table.key[0]);
            Arc::from(format!("DELETE FROM {name} WHERE {key} IN ({all})"))
        });
        Arc::clone(text)
    }
}

impl Table {
    /// `SELECT` with all columns, key first: what the readers of this file expect.
    pub(crate) fn select(&self) -> String {
        let columns: Vec<&str> = self.key.iter().chain(self.rest).copied().collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.name)
    }
}

pub(crate) const META: Table = Table { name: "meta", key: &["name"], rest: &["value"] };

pub(crate) const TENANT: Table =
    Table { name: "tenant", key: &["id"], rest: &["name", "realm", "domains"] };

fn tenant(row: &Tenant) -> Vec<Value> {
    // A domain holds no line break: it is what phones write into a URI.
    let domains = row.domains.join("\n");
    vec![number(row.id), text(&row.name), text(&row.realm), domains.into()]
}

pub(crate) fn to_tenant(mut row: Record) -> Result<Tenant, Error> {
    Ok(Tenant {
        id: TenantId(row.small()?),
        name: row.text()?,
        realm: row.text()?,
        domains: row.text()?.lines().map(str::to_owned).collect(),
    })
}

pub(crate) const EXTENSION: Table = Table {
    name: "extension",
    key: &["id"],
    rest: &[
        "tenant",
        "number",
        "name",
        "enabled",
        "secret",
        "secret_since",
        "previous",
        "previous_since",
        "previous_until",
        "exceptions",
        "created",
        "caller_id",
    ],
};

fn extension(row: &Extension) -> Vec<Value> {
    let previous = row.previous.as_ref();
    vec![
        hex(row.id),
        number(row.tenant),
        text(row.number.as_str()),
        text(&row.name),
        flag(row.enabled),
        row.secret.sealed.to_bytes().into(),
        time(row.secret.since),
        previous.map(|(secret, _)| secret.sealed.to_bytes()).into(),
        previous.map(|(secret, _)| secret.since.0).into(),
        previous.map(|(_, until)| until.0).into(),
        word::exceptions(row.exceptions).into(),
        time(row.created),
        row.caller_id.clone().into(),
    ]
}

pub(crate) fn to_extension(mut row: Record) -> Result<Extension, Error> {
    Ok(Extension {
        id: row.parsed(|id| id.parse().ok())?,
        tenant: TenantId(row.small()?),
        number: row.parsed(|number| ExtensionNumber::try_from(number.to_owned()).ok())?,
        name: row.text()?,
        enabled: row.int()? != 0,
        secret: Secret { sealed: sealed(&mut row)?, since: Utc(row.int()?) },
        previous: {
            let bytes = row.opt_blob()?;
            let (since, until) = (row.opt_int()?, row.opt_int()?);
            match (bytes, since, until) {
                (Some(bytes), Some(since), Some(until)) => {
                    let sealed =
                        Sealed::from_bytes(&bytes).map_err(|e| row.wrong(&e.to_string()))?;
                    Some((Secret { sealed, since: Utc(since) }, Utc(until)))
                }
                _ => None,
            }
        },
        exceptions: word::to_exceptions(&row.text()?),
        created: Utc(row.int()?),
        caller_id: row.opt_text()?,
    })
}

fn sealed(row: &mut Record) -> Result<Sealed, Error> {
    let bytes = row.blob()?;
    Sealed::from_bytes(&bytes).map_err(|e| row.wrong(&e.to_string()))
}

pub(crate) const DEVICE: Table = Table {
    name: "device",
    key: &["id"],
    rest: &[
        "tenant",
        "extension",
        "instance",
        "agent",
        "mac",
        "firmware",
        "algorithm",
        "exceptions",
        "first_seen",
        "last_seen",
    ],
};

fn device(row: &Device) -> Vec<Value> {
    vec![
        hex(row.id),
        number(row.tenant),
        hex(row.extension),
        text(&row.instance),
        text(&row.agent),
        row.mac.map(word::mac).into(),
        row.firmware.clone().into(),
        row.algorithm.map(word::algorithm).into(),
        word::exceptions(row.exceptions).into(),
        time(row.first_seen),
        time(row.last_seen),
    ]
}

pub(crate) fn to_device(mut row: Record) -> Result<Device, Error> {
    Ok(Device {
        id: row.parsed(|id| id.parse().ok())?,
        tenant: TenantId(row.small()?),
        extension: row.parsed(|id| id.parse().ok())?,
        instance: row.text()?,
        agent: row.text()?,
        // A MAC or an algorithm that doesn't read is as good as not known.
        mac: row.opt_text()?.and_then(|mac| word::to_mac(&mac)),
        firmware: row.opt_text()?,
        algorithm: row.opt_text()?.and_then(|word| word::to_algorithm(&word)),
        exceptions: word::to_exceptions(&row.text()?),
        first_seen: Utc(row.int()?),
        last_seen: Utc(row.int()?),
    })
}

pub(crate) const BINDING: Table = Table {
    name: "binding",
    key: &["device"],
    rest: &[
        "tenant",
        "extension",
        "node",
        "contact",
        "transport",
        "realm",
        "remote",
        "algorithm",
        "call_id",
        "cseq",
        "registered",
        "expires",
    ],
};

fn binding(row: &BindingRow) -> Vec<Value> {
    vec![
        hex(row.device),
        number(row.tenant),
        hex(row.extension),
        i64::from(row.node.0).into(),
        text(&row.contact),
        word::transport(row.transport).into(),
        i64::from(row.realm.0).into(),
        row.remote.to_string().into(),
        word::algorithm(row.algorithm).into(),
        text(&row.call_id),
        i64::from(row.cseq).into(),
        time(row.registered),
        time(row.expires),
    ]
}

pub(crate) fn to_binding(mut row: Record) -> Result<BindingRow, Error> {
    Ok(BindingRow {
        device: row.parsed(|id| id.parse().ok())?,
        tenant: TenantId(row.small()?),
        extension: row.parsed(|id| id.parse().ok())?,
        node: NodeId(row.small()?),
        contact: row.text()?,
        transport: row.parsed(word::to_transport)?,
        realm: RealmId(row.small()?),
        remote: row.parsed(|remote| remote.parse().ok())?,
        algorithm: row.parsed(word::to_algorithm)?,
        call_id: row.text()?,
        cseq: row.small()?,
        registered: Utc(row.int()?),
        expires: Utc(row.int()?),
    })
}

pub(crate) const SNAPSHOT: Table = Table {
    name: "snapshot",
    key: &["call"],
    rest: &["tenant", "node", "version", "started", "body", "packed"],
};

fn snapshot(row: &CallSnapshot) -> Vec<Value> {
    vec![
        hex(row.call),
        number(row.tenant),
        i64::from(row.node.0).into(),
        i64::from(row.version).into(),
        time(row.started),
        "".into(),
        pack(body::snapshot(row).as_bytes()).into(),
    ]
}

pub(crate) fn to_snapshot(mut row: Record) -> Result<FoundSnapshot, Error> {
    let call = row.parsed(|id| id.parse().ok())?;
    let tenant = TenantId(row.small()?);
    let node = NodeId(row.small()?);
    let version: u16 = row.small()?;
    if version > pbx::snapshot::VERSION {
        return Ok(FoundSnapshot::Newer(call));
    }
    let head = SnapshotHead { call, tenant, node, started: Utc(row.int()?) };
    let (body, packed) = (row.text()?, row.opt_blob()?);
    let body = match packed {
        None => Some(body),
        Some(packed) => unpack(&packed).and_then(|bytes| String::from_utf8(bytes).ok()),
    };
    let found = body.and_then(|body| body::to_snapshot(head, &body));
    let found = found.ok_or_else(|| row.wrong("a body that doesn't read"))?;
    Ok(FoundSnapshot::Known(Box::new(found)))
}

pub(crate) const CDR: Table = Table {
    name: "cdr",
    key: &["call"],
    rest: &[
        "tenant",
        "node",
        "caller",
        "callee",
        "extension",
        "started",
        "answered",
        "ended",
        "disposition",
        "emergency",
        "origin",
        "body",
    ],
};

fn cdr(row: &Cdr) -> Vec<Value> {
    vec![
        hex(row.call),
        number(row.tenant),
        i64::from(row.node.0).into(),
        text(&row.from),
        text(&row.to),
        row.responsible.map(|id| id.to_string()).into(),
        time(row.started),
        row.answered.map(|at| at.0).into(),
        time(row.ended),
        row.disposition.to_string().into(),
        flag(row.emergency),
        word::origin(row.origin).into(),
        body::cdr(row).into(),
    ]
}

pub(crate) fn to_cdr(mut row: Record) -> Result<Cdr, Error> {
    let call = row.parsed(|id| id.parse().ok())?;
    let tenant = TenantId(row.small()?);
    let node = NodeId(row.small()?);
    let (from, to) = (row.text()?, row.text()?);
    let responsible = row.opt_parsed(|id| id.parse().ok())?;
    let (started, answered, ended) = (Utc(row.int()?), row.opt_int()?.map(Utc), Utc(row.int()?));
    let disposition = row.parsed(|word| word.parse::<Disposition>().ok())?;
    let emergency = row.int()? != 0;
    let origin = row.parsed(word::to_origin)?;
    let CdrParts { decision, ended_by, tolls, legs } = row.parsed(body::to_cdr_parts)?;
    Ok(Cdr {
        call,
        tenant,
        node,
        from,
        to,
        responsible,
        origin,
        tolls,
        started,
        answered,
        ended,
        disposition,
        ended_by,
        decision,
        emergency,
        legs,
    })
}

pub(crate) const CDR_PARTY: Table =
    Table { name: "cdr_party", key: &["extension", "started", "call"], rest: &["tenant"] };

fn cdr_parties(row: &Cdr) -> Vec<Vec<Value>> {
    let mut parties: Vec<ExtensionId> = row.legs.iter().filter_map(|leg| leg.extension).collect();
    parties.extend(row.responsible);
    parties.sort_unstable();
    parties.dedup();
    let party = |id| vec![hex(id), time(row.started), hex(row.call), number(row.tenant)];
    parties.into_iter().map(party).collect()
}

pub(crate) const CDR_TOLL: Table = Table {
    name: "cdr_toll",
    key: &["call", "position"],
    rest: &[
        "tenant",
        "extension",
        "trunk",
        "class",
        "country",
        "currency",
        "started",
        "answered",
        "seconds",
        "cost",
    ],
};

fn cdr_tolls(row: &Cdr) -> impl Iterator<Item = Vec<Value>> {
    (0_i64..).zip(&row.tolls).map(|(position, toll)| {
        vec![
            hex(row.call),
            position.into(),
            number(row.tenant),
            row.responsible.map(|id| id.to_string()).into(),
            i64::from(toll.trunk.0).into(),
            toll.class.name().into(),
            toll.country.map(|country| country.to_string()).into(),
            toll.currency.to_string().into(),
            time(row.started),
            toll.answered.map(|at| at.0).into(),
            sequence(toll.seconds),
            toll.cost.0.into(),
        ]
    })
}

pub(crate) const TRUNK: Table = Table {
    name: "trunk",
    key: &["id"],
    rest: &["tenant", "name", "enabled", "secret", "secret_since", "created", "body"],
};

fn trunk(row: &Trunk) -> Vec<Value> {
    let secret = row.account().map(|account| &account.secret);
    vec![
        i64::from(row.id.0).into(),
        row.tenant.map(|tenant| i64::from(tenant.0)).into(),
        text(&row.name),
        flag(row.enabled),
        secret.map(|secret| secret.sealed.to_bytes()).into(),
        secret.map(|secret| secret.since.0).into(),
        time(row.created),
        body::trunk(row).into(),
    ]
}

pub(crate) fn to_trunk(mut row: Record) -> Result<Trunk, Error> {
    let id = TrunkId(row.small()?);
    let tenant = optional_tenant(&mut row)?;
    let (name, enabled) = (row.text()?, row.int()? != 0);
    let secret = match (row.opt_blob()?, row.opt_int()?) {
        (Some(bytes), Some(since)) => {
            let sealed = Sealed::from_bytes(&bytes).map_err(|e| row.wrong(&e.to_string()))?;
            Some((sealed, Utc(since)))
        }
        _ => None,
    };
    let head = TrunkHead { id, tenant, name, enabled, secret, created: Utc(row.int()?) };
    row.parsed(|body| body::to_trunk(head, body))
}

pub(crate) const INBOUND: Table =
    Table { name: "inbound", key: &["number"], rest: &["tenant", "trunk", "extension"] };

fn inbound(row: &Inbound) -> Vec<Value> {
    vec![text(&row.number), number(row.tenant), i64::from(row.trunk.0).into(), hex(row.extension)]
}

pub(crate) fn to_inbound(mut row: Record) -> Result<Inbound, Error> {
    Ok(Inbound {
        number: row.text()?,
        tenant: TenantId(row.small()?),
        trunk: TrunkId(row.small()?),
        extension: row.parsed(|id| id.parse().ok())?,
    })
}

pub(crate) const POLICY: Table =
    Table { name: "policy", key: &["version"], rest: &["since", "body"] };

fn policy(row: &Policy, now: Utc) -> Vec<Value> {
    vec![sequence(row.version.0), time(now), body::policy(row).into()]
}

/// A version of the policy, and since when. What doesn't read is an answer of its own: whoever guards
/// money must know that there is a version it can't go by.
pub(crate) fn to_policy(
    mut row: Record,
) -> Result<(PolicyVersion, Utc, Result<Policy, Error>), Error> {
    let version = PolicyVersion(row.small()?);
    let since = Utc(row.int()?);
    let read = |body: &str| body::to_policy(body).filter(|policy| policy.version == version);
    Ok((version, since, row.parsed(read)))
}

pub(crate) const DECK: Table =
    Table { name: "rate_deck", key: &["version"], rest: &["since", "currency", "body"] };

fn rate_deck(row: &RateDeck, now: Utc) -> Vec<Value> {
    vec![
        sequence(row.version),
        time(now),
        row.currency.to_string().into(),
        deck::to_csv(row).into(),
    ]
}

pub(crate) fn to_deck(mut row: Record) -> Result<RateDeck, Error> {
    let version = row.small()?;
    let _since = row.int()?;
    let currency = row.parsed(|code| code.parse().ok())?;
    row.parsed(|csv| deck::from_csv(version, currency, csv))
}

/// Former decks that are kept beside the newest: enough to compare and to go back.
pub(crate) const DECKS_KEPT: u64 = 10;
const DELETE_OLD_DECKS: &str = "DELETE FROM rate_deck WHERE version < $1";

pub(crate) const SPEND: Table =
    Table { name: "spend", key: &["account", "span", "begins"], rest: &["settled"] };

fn spend(row: &Spend) -> Vec<Value> {
    let Bucket { account, window, begin } = row.bucket;
    vec![
        word::account(account).into(),
        word::window(window).into(),
        begin.into(),
        row.settled.0.into(),
    ]
}

pub(crate) fn to_spend(mut row: Record) -> Result<Spend, Error> {
    let account = row.parsed(word::to_account)?;
    let window = row.parsed(word::to_window)?;
    let bucket = Bucket { account, window, begin: row.int()? };
    Ok(Spend { bucket, settled: Money(row.int()?) })
}

pub(crate) const BAN: Table =
    Table { name: "ban", key: &["source"], rest: &["since", "until", "times", "cause"] };

fn ban(row: &Ban) -> Vec<Value> {
    vec![
        row.source.ip().to_string().into(),
        time(row.since),
        time(row.until),
        i64::from(row.times).into(),
        body::ban_cause(&row.cause).into(),
    ]
}

pub(crate) fn to_ban(mut row: Record) -> Result<Ban, Error> {
    Ok(Ban {
        source: Source::from(row.parsed(|address| address.parse::<IpAddr>().ok())?),
        since: Utc(row.int()?),
        until: Utc(row.int()?),
        times: row.small()?,
        cause: row.parsed(body::to_ban_cause)?,
        by: None,
    })
}

pub(crate) const SINK: Table =
    Table { name: "sink", key: &["id"], rest: &["created", "secret", "body"] };

fn sink(row: &Sink) -> Vec<Value> {
    vec![
        i64::from(row.id.0).into(),
        time(row.created),
        row.sealed.to_bytes().into(),
        body::sink(row).into(),
    ]
}

pub(crate) fn to_sink(mut row: Record) -> Result<Sink, Error> {
    let (id, created) = (SinkId(row.small()?), Utc(row.int()?));
    let sealed = sealed(&mut row)?;
    row.parsed(|body| body::to_sink(id, created, sealed, body))
}

pub(crate) const WATERMARK: Table =
    Table { name: "watermark", key: &["reader"], rest: &["sequence"] };

/// What tells the rows of windows that ended before a time from the later ones, and its parameters.
pub(crate) fn spend_ended(before: Utc) -> (&'static str, Vec<Value>) {
    let seconds = before.0.div_euclid(1_000_000);
    let began = |window| seconds.saturating_sub(window_seconds_max(window)).into();
    let condition = "begins < CASE span WHEN 'hour' THEN $1 WHEN 'day' THEN $2 ELSE $3 END";
    (condition, vec![began(Window::Hour), began(Window::Day), began(Window::Week)])
}

/// The longest that a window lasts: a day on which clocks are set back has an hour more.
fn window_seconds_max(window: Window) -> i64 {
    const HOUR: i64 = 3_600;
    match window {
        Window::Hour => HOUR,
        Window::Day => 25 * HOUR,
        Window::Week => (7 * 24 + 1) * HOUR,
    }
}

pub(crate) const TRACE: Table = Table {
    name: "trace",
    key: &["id"],
    rest: &["tenant", "call", "leg", "utc", "sent", "sealed", "lines"],
};

/// Lines of one call's ladder, at least one, under `id`, which no other row ever has. `leg`, `utc` and `sent` are those
/// of the first.
pub(crate) fn ladder(id: i64, lines: &[Trace], key: &MasterKey, chance: &mut Chance) -> Vec<Value> {
    let mut plain = Vec::new();
    for line in lines {
        plain.extend_from_slice(&line.leg.0.to_le_bytes());
        plain.extend_from_slice(&line.utc.0.to_le_bytes());
        plain.push(u8::from(line.sent));
        let length = u32::try_from(line.text.len()).unwrap_or(u32::MAX);
        plain.extend_from_slice(&length.to_le_bytes());
        plain.extend_from_slice(line.text.as_bytes());
    }
    // One message of a call is much like the next.
    let sealed = Sealed::seal(key, chance, &trace_record(lines[0].call, id), &pack(&plain));
    let first = &lines[0];
    vec![
        id.into(),
        number(first.tenant),
        hex(first.call),
        hex(first.leg),
        time(first.utc),
        flag(first.sent),
        sealed.to_bytes().into(),
        i64::try_from(lines.len()).unwrap_or(i64::MAX).into(),
    ]
}

/// The lines of one row, in their order.
pub(crate) fn to_ladder(mut row: Record, key: &MasterKey) -> Result<Vec<Trace>, Error> {
    let id = row.int()?;
    let tenant = TenantId(row.small()?);
    let call = row.parsed(|id| id.parse().ok())?;
    let leg = row.parsed(|id| id.parse().ok())?;
    let (utc, sent) = (Utc(row.int()?), row.int()? != 0);
    let opened = sealed(&mut row)?.open(key, &trace_record(call, id));
    let plain = opened.map_err(|e| row.wrong(&e.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let count: usize = row.small()?;
    if count == 0 {
        return Ok(vec![Trace { tenant, call, leg, utc, sent, text: text(&plain) }]);
    }
    let plain = unpack(&plain).ok_or_else(|| row.wrong("lines that don't unpack"))?;
    let mut rest = &plain[..];
    let mut lines = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<{ 16 + 8 + 1 + 4 }>() {
        let (leg, head) = head.split_first_chunk::<16>().expect("29 bytes");
        let (utc, head) = head.split_first_chunk::<8>().expect("13 bytes");
        let (sent, length) = head.split_first_chunk::<1>().expect("5 bytes");
        let length = length.first_chunk::<4>().expect("4 bytes");
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let line = behind.split_at_checked(length);
        let (line, behind) = line.ok_or_else(|| row.wrong("a line that ends early"))?;
        rest = behind;
        let (leg, utc) = (LegId(u128::from_le_bytes(*leg)), Utc(i64::from_le_bytes(*utc)));
        lines.push(Trace { tenant, call, leg, utc, sent: *sent != [0], text: text(line) });
    }
    if lines.len() != count {
        return Err(row.wrong("another number of lines than it says"));
    }
    Ok(lines)
}

/// Associated data of a sealed row: it opens only in its own place.
fn trace_record(call: CallId, id: i64) -> Vec<u8> {
    format!("trace/{call}/{id}").into_bytes()
}

pub(crate) const JOURNAL: Table = Table {
    name: "journal",
    key: &["node", "sequence"],
    rest: &["utc", "tenant", "number", "public", "personal", "previous", "hash"],
};

pub(crate) fn entry(row: &Entry) -> Vec<Value> {
    vec![
        i64::from(row.node.0).into(),
        sequence(row.sequence),
        time(row.utc),
        row.tenant.map(|tenant| i64::from(tenant.0)).into(),
        i64::from(row.number).into(),
        text(&row.public),
        body::parts(&row.personal).into(),
        row.previous.to_string().into(),
        row.hash.to_string().into(),
    ]
}

pub(crate) fn to_entry(mut row: Record) -> Result<Entry, Error> {
    Ok(Entry {
        node: NodeId(row.small()?),
        sequence: row.small()?,
        utc: Utc(row.int()?),
        tenant: optional_tenant(&mut row)?,
        number: row.small()?,
        public: row.text()?,
        personal: row.parsed(body::to_parts)?,
        previous: row.parsed(|hash| hash.parse().ok())?,
        hash: row.parsed(|hash| hash.parse().ok())?,
    })
}

fn optional_tenant(row: &mut Record) -> Result<Option<TenantId>, Error> {
    let Some(id) = row.opt_int()? else { return Ok(None) };
    u32::try_from(id).map(|id| Some(TenantId(id))).map_err(|_| row.wrong("a tenant out of range"))
}

pub(crate) fn to_position(mut row: Record) -> Result<Position, Error> {
    Ok(Position { sequence: row.small()?, hash: row.parsed(|hash| hash.parse().ok())? })
}

pub(crate) const SUBJECT_KEY: Table =
    Table { name: "subject_key", key: &["id"], rest: &["subject", "tenant", "created", "sealed"] };

/// A subject's key, sealed under the node's.
pub(crate) fn subject_key(
    row: &SubjectKey,
    tenant: Option<TenantId>,
    created: Utc,
    key: &MasterKey,
    chance: &mut Chance,
) -> Vec<Value> {
    let sealed = Sealed::seal(key, chance, &subject_key_record(row.id()), row.reveal());
    vec![
        row.id().to_string().into(),
        row.subject().to_string().into(),
        tenant.map(|tenant| i64::from(tenant.0)).into(),
        time(created),
        sealed.to_bytes().into(),
    ]
}

pub(crate) fn to_subject_key(mut row: Record, key: &MasterKey) -> Result<SubjectKey, Error> {
    let id = row.parsed(|id| u64::from_str_radix(id, 16).ok().map(KeyId))?;
    let subject = row.parsed(|subject| subject.parse().ok())?;
    let _tenant = row.opt_int()?;
    let _created = row.int()?;
    let opened = sealed(&mut row)?.open(key, &subject_key_record(id));
    let opened = opened.map_err(|e| row.wrong(&e.to_string()))?;
    let bytes: [u8; KEY_LENGTH] =
        opened.as_slice().try_into().map_err(|_| row.wrong("a key of another length"))?;
    Ok(SubjectKey::restore(subject, id, bytes))
}

fn subject_key_record(id: KeyId) -> Vec<u8> {
    format!("subject-key/{id}").into_bytes()
}

/// Sequences count from 1 by one: 2^63 of them take longer than the sun has.
pub(crate) fn sequence(sequence: u64) -> Value {
    i64::try_from(sequence).unwrap_or(i64::MAX).into()
}

/// Compressed, behind its length.
fn pack(plain: &[u8]) -> Vec<u8> {
    lz4_flex::compress_prepend_size(plain)
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let length = u32::from_le_bytes(*packed.first_chunk()?);
    if length > UNPACKED_MAX {
        return None;
    }
    lz4_flex::decompress_size_prepended(packed).ok()
}

/// More than any row of ours holds; a damaged one doesn't get memory for what it claims.
const UNPACKED_MAX: u32 = 64 << 20;

fn hex(id: impl std::fmt::Display) -> Value {
    id.to_string().into()
}

fn number(tenant: TenantId) -> Value {
    i64::from(tenant.0).into()
}

fn text(text: &str) -> Value {
    text.into()
}

fn time(at: Utc) -> Value {
    at.0.into()
}

fn flag(set: bool) -> Value {
    i64::from(set).into()
}

/// A value's place, without a name: SQLite looks a name up among all others, for each of eight hundred values.
const PLACE: &str = "?";

/// Rows of the next statement, where so many are left. Each statement goes to the database's thread and back, which
/// costs more than a row: any number up to 32 has a statement of its own. Beyond 64 rows a statement saves nothing
/// measurable, and 64 rows of the widest table are 832 parameters, far below the limit of either engine (32,766 and
/// 65,535).
fn chunk(left: usize) -> usize {
    match left {
        0..=32 => left,
        33..=63 => 32,
        64.. => 64,
    }
}
