//! What must survive the process: rows, facts and ladders, in SQLite by default.
//!
//! One writer owns the database and the journal: whatever comes in together is committed together,
//! many writes to a transaction ([`Writer`]). Readers have connections of their own and never wait
//! for it ([`Reader`]); they work beside a running node, and without one. [`Folder`] keeps everybody
//! else out. Another engine joins behind `database.rs`.
//!
//! Bounds, and what happens there, stand with their constants: in `writer.rs` for what is kept while
//! the disk is full, in `reader.rs` for what a question may return.
#![forbid(unsafe_code)]

mod body;
mod database;
mod deck;
mod error;
mod folder;
mod open;
mod reader;
mod schema;
mod sqlite;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod word;
mod writer;

pub use error::{Error, Failure};
pub use folder::Folder;
pub use open::{First, Meta, Opened, Options, Stored, open};
pub use reader::{
    CallQuery, Cost, CostBy, CostOf, CostQuery, Entries, Kinds, PolicyRecord, Reader,
};
pub use sqlite::Durability;
pub use writer::{Deleted, Noted, Reply, Retention, Write, Writer};
