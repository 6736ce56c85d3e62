//! SQLite: the one file that knows it.
//!
//! Write-ahead log, one writing connection, a few reading ones that don't wait for it. What a commit
//! survives is [`Durability`]: a killed process always, a cut of the power where it is asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pbx::io::PersistError;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection, Executor, Row, TypeInfo, ValueRef,
};

use crate::database::{Record, Statement, Value};
use crate::error::{Error, Failure};
use crate::folder;

/// What a committed write survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// `kill -9` and any crash of the program (SQLite's `synchronous=NORMAL`). The operating system
    /// holds the last second or so; a cut of the power loses that, and never more or out of order.
    #[default]
    Process,
    /// A cut of the power too (`synchronous=FULL`): each commit waits for the disk.
    Power,
}

/// The writing connection.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// `None` after an error that the connection may not have survived.
    connection: Option<SqliteConnection>,
}

/// Reading connections.
#[derive(Clone, Debug)]
pub(crate) struct SqliteReader {
    pool: SqlitePool,
}

impl Sqlite {
    /// Opens the file for writing; makes it, with mode 0600, where there is none. `size_max` in
    /// bytes bounds the main file: at the bound writes answer [`PersistError::Full`].
    pub(crate) async fn open(
        folder: &Path,
        durability: Durability,
        size_max: Option<u64>,
    ) -> Result<Self, Error> {
        let path = folder.join(FILE);
        folder::touch_private(&path)?;
        let synchronous = match durability {
            Durability::Process => SqliteSynchronous::Normal,
            Durability::Power => SqliteSynchronous::Full,
        };
        let mut options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            // Readers come and go; only a checkpoint or a foreign tool could make us wait.
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS_CACHED)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            // A destroyed key is overwritten, not only unlinked.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        if let Some(size) = size_max {
            let pages = (size / PAGE).clamp(1, u64::from(u32::MAX));
            options = options.pragma("max_page_count", pages.to_string());
        }
        let connection = options.connect().await.map_err(|e| failure(&e))?;
        // The log and its index appear with the first transaction and take the main file's mode.
        Ok(Self { path, options, connection: Some(connection) })
    }

    pub(crate) async fn commit(&mut self, statements: Vec<Statement>) -> Result<(), Failure> {
        let done = self.transact(statements).await.map_err(|e| failure(&e));
        if done.is_err()
            && let Some(connection) = self.connection.take()
        {
            // A full disk makes SQLite roll back by itself, which the driver's count of transactions
            // doesn't see; and after a disk went away, open files may be of no use. A new connection
            // starts clean. Whether the old one closes well changes nothing.
            let _ = connection.close().await;
        }
        done
    }

    async fn transact(&mut self, statements: Vec<Statement>) -> Result<(), sqlx::Error> {
        // Dropped without a commit, the transaction is rolled back before the next one begins.
        let mut transaction = self.connected().await?.begin_with("BEGIN IMMEDIATE").await?;
        for statement in statements {
            run(&mut transaction, statement).await?;
        }
        transaction.commit().await
    }

    async fn connected(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    pub(crate) async fn query(
        &mut self,
        table: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Record>, Failure> {
        let connection = self.connected().await.map_err(|e| failure(&e))?;
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), arguments(values));
        let rows = query.fetch_all(connection).await.map_err(|e| failure(&e))?;
        rows.iter().map(|row| record(table, row)).collect()
    }

    pub(crate) async fn migrate(&mut self, text: &str, after: Statement) -> Result<(), Failure> {
        let migrated = async {
            let connection = self.connected().await?;
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned()))).await?;
            run(&mut transaction, after).await?;
            transaction.commit().await
        };
        migrated.await.map_err(|e| failure(&e))
    }

    /// Copies the database beside itself, named after the version it has.
    pub(crate) async fn back_up(&mut self, version: i64) -> Result<PathBuf, Error> {
        let copy = self.path.with_file_name(format!("{FILE}.v{version}.backup"));
        let partial = copy.with_extension("partial");
        // SQLite fills an empty file and refuses any other; ours has the right mode already.
        match std::fs::remove_file(&partial) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &partial, e));
            }
            _ => {}
        }
        folder::touch_private(&partial)?;
        let text = partial.to_str().ok_or_else(|| {
            Error::io("name", &partial, std::io::Error::from(std::io::ErrorKind::InvalidFilename))
        })?;
        let connection = self.connected().await.map_err(|e| failure(&e))?;
        let copied = sqlx::query("VACUUM INTO $1").bind(text.to_owned()).execute(connection).await;
        copied.map_err(|e| failure(&e))?;
        std::fs::rename(&partial, &copy).map_err(|e| Error::io("rename", &partial, e))?;
        Ok(copy)
    }

    /// Moves the log into the main file and empties it. While somebody reads, what they may still
    /// need stays until the next time.
    pub(crate) async fn scrub(&mut self) -> Result<(), Failure> {
        let connection = self.connected().await.map_err(|e| failure(&e))?;
        let moved = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await;
        moved.map(drop).map_err(|e| failure(&e))
    }

    /// Leaves one file behind: a copy of it alone is whole.
    pub(crate) async fn close(mut self) -> Result<(), Failure> {
        let scrubbed = self.scrub().await;
        let closed = match self.connection.take() {
            Some(connection) => connection.close().await.map_err(|e| failure(&e)),
            None => Ok(()),
        };
        scrubbed.and(closed)
    }
}

impl SqliteReader {
    /// Opens for reading, beside a running writer or without one; no lock is needed.
    pub(crate) async fn open(folder: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE))
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("query_only", "ON")
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_WAIT)
            .connect_with(options)
            .await
            .map_err(|e| failure(&e))?;
        Ok(Self { pool })
    }

    pub(crate) async fn query(
        &self,
        table: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Record>, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), arguments(values));
        let rows = query.fetch_all(&self.pool).await.map_err(|e| failure(&e))?;
        rows.iter().map(|row| record(table, row)).collect()
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

async fn run(connection: &mut SqliteConnection, statement: Statement) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(statement.sql);
    sqlx::query_with(sql, arguments(statement.values)).execute(connection).await.map(drop)
}

fn arguments(values: Vec<Value>) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Blob(value) => arguments.add(value),
        };
        added.expect("numbers, texts and bytes always encode");
    }
    arguments
}

fn record(table: &'static str, row: &SqliteRow) -> Result<Record, Failure> {
    let values = (0..row.len()).map(|column| value(row, column)).collect::<Result<Vec<_>, _>>();
    Ok(Record::new(table, values.map_err(|e| failure(&e))?))
}

fn value(row: &SqliteRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    // Any other kind (a float that a foreign tool wrote) ends as an error of the conversion.
    let kind = raw.type_info();
    Ok(match kind.name() {
        "TEXT" => Value::Text(row.try_get(column)?),
        "BLOB" => Value::Blob(row.try_get(column)?),
        _ => Value::Int(row.try_get(column)?),
    })
}

fn failure(error: &sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(|e| e.code()?.parse::<u32>().ok());
    // The low byte is the primary code; the rest tells where inside SQLite it came up.
    let kind = match code.map(|code| code & 0xff) {
        Some(SQLITE_FULL) => PersistError::Full,
        _ => PersistError::Unavailable,
    };
    Failure { kind, text: error.to_string() }
}

const FILE: &str = "ringfence.db";
/// SQLite's default page size, and what `size_max` is counted in.
const PAGE: u64 = 4096;
const SQLITE_FULL: u32 = 13;
/// Pages in the log before they go to the main file: those that many commits touch go once. 16 MiB. The cache stays
/// as SQLite has it, 2 MiB: each commit walks all of it, so that one of 32 MiB made commits twice as dear.
const CHECKPOINT: &str = "4000";
/// Upserts and deletions in 33 sizes, for the seven tables that calls and registrations write to, and room for others.
/// One takes some 5 KiB.
const STATEMENTS_CACHED: usize = 512;
/// Longer than any checkpoint; a waiting ticket of the exchange has a deadline of its own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The console, the command line and a report at once; reads take milliseconds.
const READERS: u32 = 4;
const READER_WAIT: Duration = Duration::from_secs(5);
