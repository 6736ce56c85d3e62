//! Questions to the store: calls, ladders, the journal. Read-only connections, no lock: they work
//! beside a running node and without one, and a slow reader holds nobody up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard::id::{CallId, ExtensionId, NodeId, TenantId};
use guard::journal::{Break, Entry, Head, Position, Readable, SubjectKey, Verified, Verifier};
use guard::secret::{KeyId, MasterKey};
use pbx::io::Trace;
use pbx::record::Cdr;
use pure::Utc;

use crate::database::{ReadDatabase, Value};
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

/// Journal entries in order, a page at a time.
#[derive(Debug)]
pub struct Entries {
    database: ReadDatabase,
    node: NodeId,
    after: u64,
    until: u64,
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
        let mut values: Vec<Value> = Vec::new();
        let mut conditions: Vec<String> = Vec::new();
        let mut when = |condition: &str, value: Value| {
            values.push(value);
            conditions.push(condition.replace("$n", &format!("${}", values.len())));
        };
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
        let mut sql = table::CDR.select();
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql.push_str(&format!(" ORDER BY started DESC, call LIMIT {limit}"));
        let rows = self.database.query("cdr", &sql, values).await?;
        rows.into_iter().map(table::to_cdr).collect()
    }

    /// The ladder of a call, in the order in which its lines were seen.
    ///
    /// # Errors
    /// [`Error::Locked`] without the master key; where a line was changed since it was written.
    pub async fn trace(&self, call: CallId) -> Result<Vec<Trace>, Error> {
        let master = self.master.as_deref().ok_or(Error::Locked)?;
        let sql = format!("{} WHERE call = $1 ORDER BY id", table::TRACE.select());
        let rows = self.database.query("trace", &sql, vec![call.to_string().into()]).await?;
        rows.into_iter().map(|row| table::to_trace(row, master)).collect()
    }

    /// Entries of a node's journal, from the first after `after` up to and with `until`.
    pub fn journal(&self, node: NodeId, after: u64, until: u64) -> Entries {
        Entries { database: self.database.clone(), node, after, until }
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
    /// The next up to [`PAGE`] entries; empty at the end.
    ///
    /// # Errors
    /// Where the database fails or an entry doesn't read.
    pub async fn next_page(&mut self) -> Result<Vec<Entry>, Error> {
        let sql = format!(
            "{} WHERE node = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT {PAGE}",
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
/// Entries in memory at once.
const PAGE: u32 = 1_000;
