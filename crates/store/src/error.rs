//! What can go wrong with the store, in words for whoever starts or runs the node.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use pbx::io::PersistError;

/// Why the store can't be opened, read or written.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused: what was tried, on which path.
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
    /// A group or others may read what belongs to this node alone.
    Exposed { path: PathBuf, mode: u32 },
    /// Another process holds the data folder.
    InUse { path: PathBuf, pid: Option<u32> },
    /// A newer program has been here: its rows may mean what this one doesn't know.
    Newer { found: i64, known: i64 },
    /// A migration did not go through; nothing of it stayed.
    Migration { version: i64, cause: Failure, backup: Option<PathBuf> },
    /// A stored value that this program can't have written.
    Damaged { table: &'static str, what: String },
    /// A journal entry can't be opened or checked.
    Journal(String),
    /// The database was sealed under another master key than the one at hand.
    OtherKey { needed: String, given: String },
    /// What was asked for is sealed, and there is no master key at hand.
    Locked,
    /// The database said no.
    Database(Failure),
    /// The writer has ended: the program is on its way down.
    Closed,
}

/// What the database answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What waiting tickets get.
    pub kind: PersistError,
    pub text: String,
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }

    pub(crate) fn damaged(table: &'static str, what: impl fmt::Display) -> Self {
        Self::Damaged { table, what: what.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, cause } => {
                write!(f, "cannot {doing} {}: {cause}", path.display())
            }
            Self::Exposed { path, mode } => {
                let wanted = if path.is_dir() { "700" } else { "600" };
                write!(
                    f,
                    "{path} has mode {mode:o}: others on this machine may have read it. \
                     Check who did, then run: chmod {wanted} {path}",
                    path = path.display()
                )
            }
            Self::InUse { path, pid: Some(pid) } => write!(
                f,
                "{} is in use by process {pid}. Stop that one first, or choose another folder",
                path.display()
            ),
            Self::InUse { path, pid: None } => {
                write!(f, "{} is in use by another process", path.display())
            }
            Self::Newer { found, known } => write!(
                f,
                "the database has version {found}, this program knows up to {known}: \
                 a newer program has used it. Install that version again, or restore a backup"
            ),
            Self::Migration { version, cause, backup } => {
                write!(f, "the database could not be brought to version {version}: {cause}. ")?;
                match backup {
                    Some(path) => write!(f, "It is unchanged; a copy is at {}", path.display()),
                    None => f.write_str("It is unchanged"),
                }
            }
            Self::Damaged { table, what } => {
                write!(f, "table {table} holds what this program never writes: {what}")
            }
            Self::Journal(what) => write!(f, "journal: {what}"),
            Self::OtherKey { needed, given } => write!(
                f,
                "the database is sealed under master key {needed}, the key at hand is {given}. \
                 Put the right key file back; without it secrets and ladders can't be read"
            ),
            Self::Locked => f.write_str("this is sealed, and the master key is not at hand"),
            Self::Database(failure) => write!(f, "database: {failure}"),
            Self::Closed => f.write_str("the store has been closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            Self::Migration { cause, .. } | Self::Database(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Database(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PersistError::Full => write!(f, "no room left ({})", self.text),
            PersistError::Unavailable => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Failure {}
