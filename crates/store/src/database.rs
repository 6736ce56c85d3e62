//! The seam between what is stored and who stores it.
//!
//! Everything above speaks in statements and values of its own, so that a second engine is one more
//! file and one more variant. Statements keep to what SQLite and PostgreSQL share: numbered
//! parameters (`$1`), `INSERT … ON CONFLICT … DO UPDATE`, `BIGINT`, `TEXT`; the one word that differs
//! (`BLOB`, there `BYTEA`) an engine replaces when it runs a migration. Keys are texts and numbers we
//! choose ourselves: no row ids, no sequences, no triggers, no JSON operators.
//!
//! `sqlx` rather than an own binding or `rusqlite`: it reaches both engines, and `rusqlite` beside it
//! can't be linked (both claim the same native library). Its `Any` driver is refused: it knows the
//! smallest common set of types and hides the errors that tell a full disk from a broken one.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Failure};
use crate::sqlite::{Sqlite, SqliteReader};

/// The writing side: one connection, owned by the writer.
#[derive(Debug)]
pub(crate) enum Database {
    Sqlite(Sqlite),
}

/// The reading side: a few connections that can't write, shared by whoever asks.
#[derive(Clone, Debug)]
pub(crate) enum ReadDatabase {
    Sqlite(SqliteReader),
}

/// A value of a column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// One statement with its parameters. The text is shared: the engine keeps it prepared.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: Arc<str>,
    pub(crate) values: Vec<Value>,
}

/// One row that was read, taken apart column by column, in the order of the query.
#[derive(Debug)]
pub(crate) struct Record {
    table: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Database {
    /// Runs all statements in one transaction: all of them hold afterwards, or none.
    pub(crate) async fn commit(&mut self, statements: Vec<Statement>) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.commit(statements).await,
        }
    }

    pub(crate) async fn query(
        &mut self,
        table: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(table, sql, values).await,
        }
    }

    /// Runs the text of one migration and `after` in one transaction.
    pub(crate) async fn migrate(&mut self, text: &str, after: Statement) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.migrate(text, after).await,
        }
    }

    /// A copy of everything as it is now. `None` where the engine's operator takes care of backups.
    pub(crate) async fn back_up(&mut self, version: i64) -> Result<Option<PathBuf>, Error> {
        match self {
            Self::Sqlite(sqlite) => sqlite.back_up(version).await.map(Some),
        }
    }

    /// Removes what was deleted from the engine's log too.
    pub(crate) async fn scrub(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.scrub().await,
        }
    }

    /// Leaves the files in the shape in which a copy of the main file alone is whole.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

impl ReadDatabase {
    pub(crate) async fn query(
        &self,
        table: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Sqlite(reader) => reader.query(table, sql, values).await,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(reader) => reader.close().await,
        }
    }
}

impl Record {
    pub(crate) fn new(table: &'static str, values: Vec<Value>) -> Self {
        Self { table, values: values.into_iter() }
    }

    pub(crate) fn int(&mut self) -> Result<i64, Error> {
        self.opt_int()?.ok_or_else(|| self.wrong("a number is missing"))
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        self.opt_text()?.ok_or_else(|| self.wrong("a text is missing"))
    }

    pub(crate) fn blob(&mut self) -> Result<Vec<u8>, Error> {
        self.opt_blob()?.ok_or_else(|| self.wrong("bytes are missing"))
    }

    pub(crate) fn opt_int(&mut self) -> Result<Option<i64>, Error> {
        match self.values.next() {
            Some(Value::Int(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            other => Err(self.wrong(&format!("{} instead of a number", kind(&other)))),
        }
    }

    pub(crate) fn opt_text(&mut self) -> Result<Option<String>, Error> {
        match self.values.next() {
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            other => Err(self.wrong(&format!("{} instead of a text", kind(&other)))),
        }
    }

    pub(crate) fn opt_blob(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.values.next() {
            Some(Value::Blob(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            other => Err(self.wrong(&format!("{} instead of bytes", kind(&other)))),
        }
    }

    /// A number that must fit a narrower type.
    pub(crate) fn small<T: TryFrom<i64>>(&mut self) -> Result<T, Error> {
        let value = self.int()?;
        T::try_from(value).map_err(|_| self.wrong(&format!("{value} is out of range")))
    }

    /// A text in one of the stable forms: an id, an address, a word of an enum.
    pub(crate) fn parsed<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        let text = self.text()?;
        // Not quoted: it may be anything, and errors are logged.
        parse(&text).ok_or_else(|| self.wrong("a text that stands for nothing here"))
    }

    pub(crate) fn opt_parsed<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.opt_text()? else { return Ok(None) };
        let read = parse(&text);
        read.map(Some).ok_or_else(|| self.wrong("a text that stands for nothing here"))
    }

    pub(crate) fn wrong(&self, what: &str) -> Error {
        Error::damaged(self.table, what)
    }
}

fn kind(value: &Option<Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Int(_)) => "a number",
        Some(Value::Text(_)) => "a text",
        Some(Value::Blob(_)) => "bytes",
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
