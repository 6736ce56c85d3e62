//! Questions to the store: calls, ladders, the journal. Read-only connections, no lock: they work
//! beside a running node and without one, and a slow reader holds nobody up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard::gate::PolicyVersion;
use guard::id::{CallId, ExtensionId, NodeId, TenantId, TrunkId};
use guard::journal::{Break, Entry, Head, Position, Readable, SubjectKey, Verified, Verifier};
use guard::money::{Currency, Money};
use guard::number::{Class, Country};
use guard::policy::Policy;
use guard::secret::{KeyId, MasterKey};
use guard::sink::Sink;
use pbx::io::Trace;
use pbx::record::Cdr;
use pure::Utc;

use crate::database::{ReadDatabase, Record, Value};
use crate::error::Error;
use crate::folder;
use crate::sqlite::SqliteReader;
use crate::table;

/// Reads a node's store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    database: ReadDatabase,
    head: PathBuf,
    master: Option<Arc<MasterKey>>,
}

/// Which calls. All conditions hold together; newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallQuery {
    pub tenant: Option<TenantId>,
    /// Started at or after.
    pub since: Option<Utc>,
    /// Started before.
    pub until: Option<Utc>,
    /// Had a leg of this extension, or was its responsibility.
    pub extension: Option<ExtensionId>,
    /// The beginning of a call's id, 1 to 32 hex digits. Anything else matches no call.
    pub id_prefix: Option<String>,
    /// At most 10,000; `None` means that many.
    pub limit: Option<u32>,
}

/// Whose costs are summed. All conditions hold together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostQuery {
    pub by: CostBy,
    pub tenant: Option<TenantId>,
    /// Of calls started at or after.
    pub since: Option<Utc>,
    /// Of calls started before.
    pub until: Option<Utc>,
    /// Of calls that this extension answers for.
    pub extension: Option<ExtensionId>,
}

/// What costs are summed by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CostBy {
    Extension,
    Country,
    Trunk,
    Class,
}

/// One line of a sum, dearest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    pub of: CostOf,
    pub currency: Currency,
    /// Legs outside, failed attempts included.
    pub legs: u64,
    pub answered: u64,
    /// That are charged.
    pub seconds: u64,
    pub cost: Money,
}

/// Whose a line is. `None`: nobody's extension, no country's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CostOf {
    Extension(Option<ExtensionId>),
    Country(Option<Country>),
    Trunk(TrunkId),
    Class(Class),
}

/// A version of the policy, and since when it was in force.
#[derive(Debug)]
pub struct PolicyRecord {
    pub version: PolicyVersion,
    pub since: Utc,
    /// Where it doesn't read: why.
    pub policy: Result<Policy, Error>,
}

/// Which entries of the journal, of those kinds alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds<'a> {
    /// Of facts.
    pub numbers: &'a [u16],
    /// Behind this entry.
    pub after: u64,
    pub since: Option<Utc>,
    /// At most, and at most 20,000.
    pub limit: u32,
    /// Where there are more: the newest, or the oldest.
    pub newest: bool,
}

/// Journal entries in order, a page at a time.
#[derive(Debug)]
pub struct Entries {
    database: ReadDatabase,
    node: NodeId,
    after: u64,
    until: u64,
    /// Empty: all.
    kinds: &'static [u16],
}

impl Reader {
    /// Opens for reading. Ladders and personal data need the master key.
    ///
    /// # Errors
    /// Where there is no database, or others on the machine may read it.
    pub async fn open(folder: &Path, master: Option<Arc<MasterKey>>) -> Result<Self, Error> {
        folder::check_files(folder)?;
        let database = ReadDatabase::Sqlite(SqliteReader::open(folder).await?);
        Ok(Self { database, head: folder.join(HEAD), master })
    }

    /// # Errors
    /// Where the database fails or a record doesn't read.
    pub async fn calls(&self, query: &CallQuery) -> Result<Vec<Cdr>, Error> {
        let mut conditions = Conditions::default();
        let mut when = |condition, value| conditions.add(condition, value);
        if let Some(TenantId(tenant)) = query.tenant {
            when("tenant = $n", i64::from(tenant).into());
        }
        if let Some(since) = query.since {
            when("started >= $n", since.0.into());
        }
        if let Some(until) = query.until {
            when("started < $n", until.0.into());
        }
        if let Some(extension) = query.extension {
            let of = "call IN (SELECT call FROM cdr_party WHERE extension = $n)";
            when(of, extension.to_string().into());
        }
        if let Some(prefix) = &query.id_prefix {
            let hex = prefix.bytes().all(|b| b.is_ascii_hexdigit());
            if !hex || prefix.is_empty() || prefix.len() > 32 {
                return Ok(Vec::new());
            }
            let prefix = prefix.to_ascii_lowercase();
            // Whatever follows a hex digit sorts below `g`.
            when("call < $n", format!("{prefix}g").into());
            when("call >= $n", prefix.into());
        }
        let limit = query.limit.unwrap_or(CALLS_MAX).min(CALLS_MAX);
        let Conditions { text, values } = conditions;
        let select = table::CDR.select();
        let sql = format!("{select}{text} ORDER BY started DESC, call LIMIT {limit}");
        let rows = self.database.query("cdr", &sql, values).await?;
        rows.into_iter().map(table::to_cdr).collect()
    }

    /// What legs outside came to, dearest first: at most [`COSTS_MAX`] lines. Each currency by itself.
    ///
    /// # Errors
    /// Where the database fails, a line doesn't read, or a sum doesn't fit.
    pub async fn costs(&self, query: &CostQuery) -> Result<Vec<Cost>, Error> {
        let mut conditions = Conditions::default();
        if let Some(TenantId(tenant)) = query.tenant {
            conditions.add("tenant = $n", i64::from(tenant).into());
        }
        if let Some(since) = query.since {
            conditions.add("started >= $n", since.0.into());
        }
        if let Some(until) = query.until {
            conditions.add("started < $n", until.0.into());
        }
        if let Some(extension) = query.extension {
            conditions.add("extension = $n", extension.to_string().into());
        }
        let Conditions { text, values } = conditions;
        let by = match query.by {
            CostBy::Extension => "extension",
            CostBy::Country => "country",
            CostBy::Trunk => "trunk",
            CostBy::Class => "class",
        };
        let sql = format!(
            "SELECT {by}, currency, COUNT(*), COUNT(answered), \
             CAST(SUM(seconds) AS BIGINT), CAST(SUM(cost) AS BIGINT) AS total \
             FROM cdr_toll{text} GROUP BY {by}, currency \
             ORDER BY total DESC, {by}, currency LIMIT {COSTS_MAX}"
        );
        let rows = self.database.query("cdr_toll", &sql, values).await?;
        rows.into_iter().map(|row| to_cost(query.by, row)).collect()
    }

    /// Versions of the policy, the newest first: at most `limit`, and at most 1,000.
    ///
    /// # Errors
    /// Where the database fails. A version that doesn't read says so in its place.
    pub async fn policies(&self, limit: u32) -> Result<Vec<PolicyRecord>, Error> {
        let limit = limit.min(POLICIES_MAX);
        let sql = format!("{} ORDER BY version DESC LIMIT {limit}", table::POLICY.select());
        let rows = self.database.query("policy", &sql, Vec::new()).await?;
        let record = |row| {
            let (version, since, policy) = table::to_policy(row)?;
            Ok(PolicyRecord { version, since, policy })
        };
        rows.into_iter().map(record).collect()
    }

    /// One version of the policy; `None` where it never was, or doesn't read.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn policy(&self, version: PolicyVersion) -> Result<Option<Policy>, Error> {
        let sql = format!("{} WHERE version = $1", table::POLICY.select());
        let values = vec![table::sequence(version.0)];
        let rows = self.database.query("policy", &sql, values).await?;
        let found = rows.into_iter().next().map(table::to_policy).transpose()?;
        Ok(found.and_then(|(_, _, policy)| policy.ok()))
    }

    /// The ladder of a call, in the order in which its lines were seen.
    ///
    /// # Errors
    /// [`Error::Locked`] without the master key; where a line was changed since it was written.
    pub async fn trace(&self, call: CallId) -> Result<Vec<Trace>, Error> {
        let master = self.master.as_deref().ok_or(Error::Locked)?;
        let sql = format!("{} WHERE call = $1 ORDER BY id", table::TRACE.select());
        let rows = self.database.query("trace", &sql, vec![call.to_string().into()]).await?;
        let mut lines = Vec::new();
        for row in rows {
            lines.append(&mut table::to_ladder(row, master)?);
        }
        Ok(lines)
    }

    /// Where alerts go, in the order of their numbers. One that doesn't read is left out, and told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sinks(&self) -> Result<(Vec<Sink>, Vec<Error>), Error> {
        let sql = format!("{} ORDER BY id", table::SINK.select());
        let rows = self.database.query("sink", &sql, Vec::new()).await?;
        let (mut sinks, mut damaged) = (Vec::new(), Vec::new());
        for row in rows {
            match table::to_sink(row) {
                Ok(sink) => sinks.push(sink),
                Err(error) => damaged.push(error),
            }
        }
        Ok((sinks, damaged))
    }

    /// How far a reader of the journal has come; `None`: it has not begun.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn watermark(&self, reader: &str) -> Result<Option<u64>, Error> {
        let sql = "SELECT sequence FROM watermark WHERE reader = $1";
        let mut rows = self.database.query("watermark", sql, vec![reader.into()]).await?;
        rows.first_mut().map(Record::small).transpose()
    }

    /// Entries of some kinds alone, in order. What was asked for is bounded: see [`Kinds`].
    ///
    /// # Errors
    /// Where the database fails or an entry doesn't read.
    pub async fn journal_of(&self, node: NodeId, kinds: &Kinds<'_>) -> Result<Vec<Entry>, Error> {
        let limit = kinds.limit.min(KINDS_MAX);
        let order = if kinds.newest { "DESC" } else { "ASC" };
        let mut found = Vec::new();
        for number in kinds.numbers {
            // One kind at a time: the index then gives each in order, and nothing is sorted.
            let mut conditions = Conditions::default();
            conditions.add("node = $n", i64::from(node.0).into());
            conditions.add("number = $n", i64::from(*number).into());
            conditions.add("sequence > $n", table::sequence(kinds.after));
            if let Some(since) = kinds.since {
                conditions.add("utc >= $n", since.0.into());
            }
            let Conditions { text, values } = conditions;
            let select = table::JOURNAL.select();
            let sql = format!("{select}{text} ORDER BY sequence {order} LIMIT {limit}");
            let rows = self.database.query("journal", &sql, values).await?;
            for row in rows {
                found.push(table::to_entry(row)?);
            }
        }
        found.sort_by_key(|entry| entry.sequence);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match kinds.newest {
            true => drop(found.drain(..found.len().saturating_sub(limit))),
            false => found.truncate(limit),
        }
        Ok(found)
    }

    /// The last entry before a time; 0 where there is none.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn last_before(&self, node: NodeId, utc: Utc) -> Result<u64, Error> {
        let sql = "SELECT COALESCE(MAX(sequence), 0) FROM journal WHERE node = $1 AND utc < $2";
        let values = vec![i64::from(node.0).into(), utc.0.into()];
        let mut rows = self.database.query("journal", sql, values).await?;
        rows.first_mut().map_or(Ok(0), Record::small)
    }

    /// Entries of a node's journal, from the first after `after` up to and with `until`.
    pub fn journal(&self, node: NodeId, after: u64, until: u64) -> Entries {
        Entries { database: self.database.clone(), node, after, until, kinds: &[] }
    }

    /// The end of the chain as it is stored; the genesis where it is empty.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn journal_head(&self, node: NodeId) -> Result<Position, Error> {
        let rows = self.database.query("journal", LAST, vec![i64::from(node.0).into()]).await?;
        let last = rows.into_iter().next().map(table::to_position).transpose()?;
        Ok(last.unwrap_or_else(|| Position::genesis(node)))
    }

    /// Walks the whole chain. `known` is a head that was exported earlier; without one, the head kept
    /// beside the database is used.
    ///
    /// That file shows a tail that was lost or cut by a mistake, a restored copy, or somebody who
    /// didn't know of it. It lies up to a second behind, it is not signed, and whoever can write the
    /// database can write it too: against them only a head that left the machine helps.
    ///
    /// # Errors
    /// Where the database fails; a broken chain is an answer, not an error.
    pub async fn verify_journal(
        &self,
        node: NodeId,
        known: Option<Position>,
    ) -> Result<Result<Verified, Break>, Error> {
        // Read before the entries: while the node runs, the chain only grows beyond it.
        let beside = self.head_beside()?.filter(|head| head.node == node);
        let known = known.or(beside.map(|head| head.position));
        let mut verifier = Verifier::new(node, Position::genesis(node), known);
        let mut entries = self.journal(node, 0, u64::MAX);
        loop {
            let page = match entries.next_page().await {
                Ok(page) => page,
                // A value that no entry can have: somebody's hand was in the table.
                Err(Error::Damaged { .. }) => {
                    let sequence = entries.after.saturating_add(1);
                    return Ok(Err(Break { sequence, why: guard::journal::Why::Edited }));
                }
                Err(error) => return Err(error),
            };
            if page.is_empty() {
                return Ok(verifier.finish());
            }
            for entry in &page {
                if let Err(broken) = verifier.take(entry) {
                    return Ok(Err(broken));
                }
            }
        }
    }

    /// The fact of an entry, as far as its subjects' keys are still there.
    ///
    /// # Errors
    /// [`Error::Locked`] without the master key; [`Error::Journal`] where a part was changed.
    pub async fn read_entry(&self, entry: &Entry) -> Result<Readable, Error> {
        let master = self.master.as_deref().ok_or(Error::Locked)?;
        let mut keys: Vec<SubjectKey> = Vec::new();
        for part in &entry.personal {
            keys.extend(self.subject_key(part.sealed.key, master).await?);
        }
        let find = |id: KeyId| keys.iter().find(|key| key.id() == id).cloned();
        entry.open(find).map_err(|e| Error::Journal(format!("entry {}: {e}", entry.sequence)))
    }

    async fn subject_key(
        &self,
        id: KeyId,
        master: &MasterKey,
    ) -> Result<Option<SubjectKey>, Error> {
        let sql = format!("{} WHERE id = $1", table::SUBJECT_KEY.select());
        let rows = self.database.query("subject_key", &sql, vec![id.to_string().into()]).await?;
        rows.into_iter().next().map(|row| table::to_subject_key(row, master)).transpose()
    }

    /// What the file beside the database says; `None` where there is none.
    pub(crate) fn head_beside(&self) -> Result<Option<Head>, Error> {
        read_head(&self.head)
    }

    /// Lets go of the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// Conditions of a question, and the values in their order.
#[derive(Default)]
struct Conditions {
    /// Empty, or ` WHERE …`.
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// `$n` stands for the value.
    fn add(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(&condition.replace("$n", &format!("${}", self.values.len())));
    }
}

fn to_cost(by: CostBy, mut row: Record) -> Result<Cost, Error> {
    let of = match by {
        CostBy::Extension => CostOf::Extension(row.opt_parsed(|id| id.parse().ok())?),
        CostBy::Country => CostOf::Country(row.opt_parsed(|code| code.parse().ok())?),
        CostBy::Trunk => CostOf::Trunk(TrunkId(row.small()?)),
        CostBy::Class => CostOf::Class(row.parsed(Class::from_name)?),
    };
    Ok(Cost {
        of,
        currency: row.parsed(|code| code.parse().ok())?,
        legs: row.small()?,
        answered: row.small()?,
        seconds: row.small()?,
        cost: Money(row.int()?),
    })
}

pub(crate) fn read_head(path: &Path) -> Result<Option<Head>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| Error::Journal(format!("{} is no journal head", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

impl Entries {
    /// Only those of these numbers.
    #[must_use]
    pub fn of(mut self, kinds: &'static [u16]) -> Self {
        self.kinds = kinds;
        self
    }

    /// The next up to [`PAGE`] entries; empty at the end.
    ///
    /// # Errors
    /// Where the database fails or an entry doesn't read.
    pub async fn next_page(&mut self) -> Result<Vec<Entry>, Error> {
        let kinds: Vec<String> = self.kinds.iter().map(u16::to_string).collect();
        let of = match &kinds[..] {
            [] => String::new(),
            kinds => format!(" AND number IN ({})", kinds.join(", ")),
        };
        let sql = format!(
            "{} WHERE node = $1 AND sequence > $2 AND sequence <= $3{of} ORDER BY sequence LIMIT {PAGE}",
            table::JOURNAL.select()
        );
        let (after, until) = (table::sequence(self.after), table::sequence(self.until));
        let values = vec![i64::from(self.node.0).into(), after, until];
        let rows = self.database.query("journal", &sql, values).await?;
        let page: Vec<Entry> = rows.into_iter().map(table::to_entry).collect::<Result<_, _>>()?;
        if let Some(last) = page.last() {
            self.after = last.sequence;
        }
        Ok(page)
    }
}

/// The file beside the database that says how far the journal has come.
pub(crate) const HEAD: &str = "journal.head";
pub(crate) const LAST: &str =
    "SELECT sequence, hash FROM journal WHERE node = $1 ORDER BY sequence DESC LIMIT 1";
/// Calls in one answer, and so the memory of a question: about 20 MB. A report asks by time.
pub(crate) const CALLS_MAX: u32 = 10_000;
/// Lines of a sum: every extension of a large house.
pub(crate) const COSTS_MAX: u32 = 10_000;
/// Versions in one answer: some 10 MB.
const POLICIES_MAX: u32 = 1_000;
/// Entries of some kinds in one answer: some 20 MB.
pub(crate) const KINDS_MAX: u32 = 20_000;
/// Entries in memory at once.
const PAGE: u32 = 1_000;
