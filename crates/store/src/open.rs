//! Opening a store: lock and modes (by [`Folder`]), migrations, what was kept, and the writer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guard::fact::Fact;
use guard::gate::PolicyVersion;
use guard::id::{CallId, NodeId};
use guard::journal::{Break, Journal, KEYS_MAX, Position, SubjectKey, Why};
use guard::ledger::Spend;
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::MasterKey;
use guard::wall::Ban;
use pbx::directory::{Device, Extension, Inbound, Tenant, Trunk};
use pbx::io::PersistError;
use pbx::record::BindingRow;
use pbx::snapshot::CallSnapshot;
use pure::{Chance, Utc};
use tokio::sync::mpsc;

use crate::database::{Database, Record, Statement};
use crate::error::Error;
use crate::folder::Folder;
use crate::reader::{self, Reader};
use crate::schema::{self, MIGRATIONS, Migration};
use crate::sqlite::{Durability, Sqlite};
use crate::table::{self, FoundSnapshot, Table, Texts};
use crate::writer::{self, Start, Writer};

/// How to open.
#[derive(Debug)]
pub struct Options {
    /// Seals subject keys and ladders. It is kept outside the database; opening with another one than
    /// before is refused.
    pub master: Arc<MasterKey>,
    /// The store's own stream, from the operating system's randomness: never the exchange's.
    pub chance: Chance,
    pub now: Utc,
    pub durability: Durability,
    /// Bytes that the database file may grow to; `None`: as the disk allows. At the bound writes
    /// answer `PersistError::Full`, as on a full disk, and everything else on the disk lives on.
    pub size_max: Option<u64>,
    /// What a new database is given; an existing one keeps its own.
    pub first: First,
}

/// What is fixed at the first start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct First {
    pub node: NodeId,
    /// Part of every HA1.
    pub realm: String,
}

/// What a database says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    pub node: NodeId,
    pub realm: String,
    pub created: Utc,
    /// Counts the starts of this data folder from 1.
    pub starts: u64,
}

/// An open store. The writer runs on the current tokio runtime.
#[derive(Debug)]
pub struct Opened {
    pub writer: Writer,
    pub reader: Reader,
    pub stored: Stored,
    pub meta: Meta,
    /// Facts about the store itself (a disk that fails, rows lost), for log and alerts.
    pub alerts: mpsc::Receiver<Fact>,
    /// The end of the journal is not where the file beside it says: entries were lost or cut. It is
    /// noted in the journal too.
    pub journal_break: Option<Break>,
}

/// What was kept. Secrets are sealed: the edge opens them and derives the digests.
#[derive(Debug, Default)]
pub struct Stored {
    pub tenants: Vec<Tenant>,
    pub extensions: Vec<Extension>,
    pub devices: Vec<Device>,
    pub bindings: Vec<BindingRow>,
    pub snapshots: Vec<CallSnapshot>,
    /// Calls that a newer program left: kept, to be ended by hand.
    pub newer_snapshots: Vec<CallId>,
    pub trunks: Vec<Trunk>,
    pub inbound: Vec<Inbound>,
    /// The newest that reads; `None` before the first start, or where none does.
    pub policy: Option<Arc<Policy>>,
    /// The newest version there is, where it doesn't read: what it forbade is not known, so nothing
    /// that costs money may go by an older one.
    pub policy_lost: Option<PolicyVersion>,
    /// The newest that reads.
    pub deck: Option<Arc<RateDeck>>,
    /// Of windows that are not over, or ended less than [`SPENDS_LOADED`] ago: a call that was up then
    /// settles into them.
    pub spends: Vec<Spend>,
    /// Sources that are shut out; those that are over, too.
    pub bans: Vec<Ban>,
    /// Rows that don't read. They are left out and left alone: one of them must not keep every other
    /// phone from calling for help.
    pub damaged: Vec<Error>,
    /// Above every flow generation of an earlier start. Each start has 2^32 of its own.
    pub generation: u64,
}

/// Opens the store in `folder`: migrates, loads, starts the writer.
///
/// # Errors
/// Everything that needs a person: see [`Error`].
pub async fn open(folder: &Folder, options: Options) -> Result<Opened, Error> {
    open_with(folder, options, MIGRATIONS).await
}

pub(crate) async fn open_with(
    folder: &Folder,
    options: Options,
    migrations: &[Migration],
) -> Result<Opened, Error> {
    let Options { master, mut chance, now, durability, size_max, first } = options;
    let sqlite = Sqlite::open(folder.path(), durability, size_max).await?;
    let mut database = Database::Sqlite(sqlite);
    schema::migrate(&mut database, migrations, now).await?;
    let meta = meta(&mut database, &first, &master, now).await?;
    forget_spends(&mut database, now).await?;
    let stored = stored(&mut database, &meta, now).await?;

    let head = folder.file(reader::HEAD);
    let values = vec![i64::from(meta.node.0).into()];
    let last = database.query("journal", reader::LAST, values).await?;
    let last = last.into_iter().next().map(table::to_position).transpose()?;
    let last = last.unwrap_or_else(|| Position::genesis(meta.node));
    let journal_break = end_of_journal(&mut database, &meta, last, &head).await?;
    if let Some(Break { sequence, .. }) = journal_break {
        // The evidence stays: the next head would overwrite it.
        let kept = folder.file(&format!("{}.broken-{sequence}", reader::HEAD));
        std::fs::rename(&head, &kept).map_err(|e| Error::io("rename", &head, e))?;
    }

    let keys = subject_keys(&mut database, &master).await?;
    let journal = Journal::new(meta.node, last, chance.fork(), keys);
    let mut last_trace = database.query("trace", LAST_TRACE, Vec::new()).await?;
    let last_trace = last_trace.first_mut().map_or(Ok(0), Record::int)?;
    // Opened last, when there is a database to read.
    let reader = Reader::open(folder.path(), Some(Arc::clone(&master))).await?;
    let (alerts, receiver) = mpsc::channel(writer::ALERTS_MAX);
    let next_trace = last_trace.saturating_add(1);
    let start = Start { database, journal, master, chance, head, next_trace, alerts };
    let writer = writer::spawn(start, journal_break.map(|b| (meta.node, b)))
        .map_err(|e| Error::io("start the writer of", folder.path(), e))?;
    Ok(Opened { writer, reader, stored, meta, alerts: receiver, journal_break })
}

/// Reads what the database says of itself, or writes it for the first time; counts the start.
async fn meta(
    database: &mut Database,
    first: &First,
    master: &MasterKey,
    now: Utc,
) -> Result<Meta, Error> {
    let rows = database.query("meta", &table::META.select(), Vec::new()).await?;
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for mut row in rows {
        found.insert(row.text()?, row.text()?);
    }
    if found.is_empty() {
        found.insert("node".to_owned(), first.node.0.to_string());
        found.insert("realm".to_owned(), first.realm.clone());
        found.insert("created".to_owned(), now.0.to_string());
        found.insert("master-key".to_owned(), master.id().to_string());
    }
    let text = |name: &str| {
        found.get(name).cloned().ok_or_else(|| Error::damaged("meta", format!("{name} is missing")))
    };
    let number = |name: &str| {
        text(name)?
            .parse::<i64>()
            .map_err(|_| Error::damaged("meta", format!("{name} is no number")))
    };
    let sealed_under = text("master-key")?;
    if sealed_under != master.id().to_string() {
        return Err(Error::OtherKey { needed: sealed_under, given: master.id().to_string() });
    }
    let starts = found.get("starts").and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) + 1;
    let node = u16::try_from(number("node")?)
        .map_err(|_| Error::damaged("meta", "node is out of range"))?;
    let meta = Meta {
        node: NodeId(node),
        realm: text("realm")?,
        created: Utc(number("created")?),
        starts,
    };
    found.insert("starts".to_owned(), starts.to_string());
    let rows: Vec<_> = found.into_iter().map(|(k, v)| vec![k.into(), v.into()]).collect();
    let mut statements = Vec::new();
    Texts::default().put(&table::META, &rows, &mut statements);
    match database.commit(statements).await {
        Ok(()) => Ok(meta),
        // A full disk must not keep calls for help from being made. This start isn't counted, so it takes
        // a number that no counted one comes near: flows are told apart by it for the life of the folder.
        Err(failure) if failure.kind == PersistError::Full && starts > 1 => {
            let apart = u64::try_from(now.0 / 1_000_000).unwrap_or_default() % UNCOUNTED;
            Ok(Meta { starts: UNCOUNTED + starts + apart, ..meta })
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Deletes what was spent in windows long over. The records of the calls stay.
async fn forget_spends(database: &mut Database, now: Utc) -> Result<(), Error> {
    let (ended, values) = table::spend_ended(before(now, SPENDS_KEPT));
    let sql = Arc::from(format!("DELETE FROM spend WHERE {ended}"));
    match database.commit(vec![Statement { sql, values }]).await {
        // Another time.
        Err(failure) if failure.kind == PersistError::Full => Ok(()),
        done => Ok(done?),
    }
}

/// The newest policy that reads, and the newest version of all where that one doesn't.
async fn policy(
    database: &mut Database,
    damaged: &mut Vec<Error>,
) -> Result<(Option<Arc<Policy>>, Option<PolicyVersion>), Error> {
    // Each is read alone until one is sound: all versions of years would be for nothing.
    let sql = format!("{} ORDER BY version DESC LIMIT 1 OFFSET $1", table::POLICY.select());
    let mut lost = None;
    for at in 0.. {
        let rows = database.query("policy", &sql, vec![i64::from(at).into()]).await?;
        let Some(row) = rows.into_iter().next() else { break };
        match table::to_policy(row) {
            Ok((_, _, Ok(policy))) => return Ok((Some(Arc::new(policy)), lost)),
            Ok((version, _, Err(error))) => {
                lost = lost.max(Some(version));
                damaged.push(error);
            }
            Err(error) => {
                lost = lost.max(Some(PolicyVersion::default()));
                damaged.push(error);
            }
        }
        if at == POLICIES_TRIED {
            break;
        }
    }
    Ok((None, lost))
}

async fn deck(
    database: &mut Database,
    damaged: &mut Vec<Error>,
) -> Result<Option<Arc<RateDeck>>, Error> {
    // One at a time: a deck may be tens of megabytes.
    let sql = format!("{} ORDER BY version DESC LIMIT 1 OFFSET $1", table::DECK.select());
    for at in 0_i64.. {
        let rows = database.query("rate_deck", &sql, vec![at.into()]).await?;
        let Some(row) = rows.into_iter().next() else { break };
        match table::to_deck(row) {
            Ok(deck) => return Ok(Some(Arc::new(deck))),
            Err(error) => damaged.push(error),
        }
    }
    Ok(None)
}

async fn spends(
    database: &mut Database,
    now: Utc,
    damaged: &mut Vec<Error>,
) -> Result<Vec<Spend>, Error> {
    let (ended, values) = table::spend_ended(before(now, SPENDS_LOADED));
    let sql = format!("{} WHERE NOT ({ended})", table::SPEND.select());
    let rows = database.query("spend", &sql, values).await?;
    Ok(sound(rows, table::to_spend, damaged))
}

fn before(now: Utc, span: Duration) -> Utc {
    Utc(now.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}

async fn stored(database: &mut Database, meta: &Meta, now: Utc) -> Result<Stored, Error> {
    let mut damaged = Vec::new();
    let tenants = all(database, &table::TENANT, table::to_tenant, &mut damaged).await?;
    let extensions = all(database, &table::EXTENSION, table::to_extension, &mut damaged).await?;
    let devices = all(database, &table::DEVICE, table::to_device, &mut damaged).await?;
    let bindings = all(database, &table::BINDING, table::to_binding, &mut damaged).await?;
    let found = all(database, &table::SNAPSHOT, table::to_snapshot, &mut damaged).await?;
    let (mut snapshots, mut newer_snapshots) = (Vec::new(), Vec::new());
    for snapshot in found {
        match snapshot {
            FoundSnapshot::Known(snapshot) => snapshots.push(*snapshot),
            FoundSnapshot::Newer(call) => newer_snapshots.push(call),
        }
    }
    let trunks = all(database, &table::TRUNK, table::to_trunk, &mut damaged).await?;
    let inbound = all(database, &table::INBOUND, table::to_inbound, &mut damaged).await?;
    let (policy, policy_lost) = policy(database, &mut damaged).await?;
    let deck = deck(database, &mut damaged).await?;
    let spends = spends(database, now, &mut damaged).await?;
    let bans = all(database, &table::BAN, table::to_ban, &mut damaged).await?;
    let named = snapshots.iter().flat_map(|snapshot| &snapshot.legs);
    let highest = named.map(|leg| leg.path.flow.generation).max().unwrap_or(0);
    // Above all flows of any start that a snapshot names, counted or not.
    let named = ((highest >> GENERATION_BITS) + 1) << GENERATION_BITS;
    let counted = meta.starts << GENERATION_BITS;
    let generation = if highest < counted { counted } else { named };
    Ok(Stored {
        tenants,
        extensions,
        devices,
        bindings,
        snapshots,
        newer_snapshots,
        trunks,
        inbound,
        policy,
        policy_lost,
        deck,
        spends,
        bans,
        damaged,
        generation,
    })
}

async fn all<T>(
    database: &mut Database,
    table: &'static Table,
    read: fn(Record) -> Result<T, Error>,
    damaged: &mut Vec<Error>,
) -> Result<Vec<T>, Error> {
    let rows = database.query(table.name, &table.select(), Vec::new()).await?;
    Ok(sound(rows, read, damaged))
}

/// The rows that read; the others are told in `damaged`.
fn sound<T>(
    rows: Vec<Record>,
    read: fn(Record) -> Result<T, Error>,
    damaged: &mut Vec<Error>,
) -> Vec<T> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(value) => found.push(value),
            Err(error) => damaged.push(error),
        }
    }
    found
}

async fn subject_keys(
    database: &mut Database,
    master: &MasterKey,
) -> Result<Vec<SubjectKey>, Error> {
    // The newest, so that an old subject's key is drawn anew rather than a current one's.
    let sql = format!("{} ORDER BY created DESC LIMIT {KEYS_MAX}", table::SUBJECT_KEY.select());
    let rows = database.query("subject_key", &sql, Vec::new()).await?;
    // A key that doesn't open seals nothing any more; its subject gets another.
    let opened = rows.into_iter().rev().filter_map(|row| table::to_subject_key(row, master).ok());
    Ok(opened.collect())
}

/// Whether the chain reaches what the file beside the database says.
async fn end_of_journal(
    database: &mut Database,
    meta: &Meta,
    last: Position,
    head: &std::path::Path,
) -> Result<Option<Break>, Error> {
    let Some(head) = reader::read_head(head)?.filter(|head| head.node == meta.node) else {
        return Ok(None);
    };
    let Position { sequence, hash } = head.position;
    if sequence == 0 {
        return Ok(None);
    }
    if sequence > last.sequence {
        return Ok(Some(Break { sequence: last.sequence + 1, why: Why::Truncated }));
    }
    let values = vec![i64::from(meta.node.0).into(), table::sequence(sequence)];
    let at = database.query("journal", AT, values).await?;
    let at = at.into_iter().next().map(table::to_position).transpose()?;
    let holds = at.is_some_and(|at| at.hash == hash);
    Ok((!holds).then_some(Break { sequence, why: Why::Rewritten }))
}

const AT: &str = "SELECT sequence, hash FROM journal WHERE node = $1 AND sequence = $2";
const LAST_TRACE: &str = "SELECT COALESCE(MAX(id), 0) FROM trace";
/// A week, the longest window, and the week before it, for whoever asks what was spent last week.
const SPENDS_KEPT: Duration = Duration::from_secs(15 * 86_400);
/// Longer than a call may last: its hold goes back into the windows that it was taken from.
const SPENDS_LOADED: Duration = Duration::from_secs(86_400);
/// Damaged versions that are passed over in search of a sound one: more is a database to be restored.
const POLICIES_TRIED: i32 = 100;
/// Counted starts of a folder stay below it: one each minute would take two years.
const UNCOUNTED: u64 = 1 << 20;
/// Flows of one start; 2^32 starts fit above.
const GENERATION_BITS: u32 = 32;
