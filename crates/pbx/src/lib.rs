//! The back-to-back core, and the applications on it: the exchange today, the edge to come.
#![forbid(unsafe_code)]

pub mod authenticate;
pub mod back_to_back;
mod cdr;
pub mod command;
pub mod directory;
pub mod exchange;
pub mod flow;
pub mod io;
pub mod ladder;
pub mod record;
mod recovery;
pub mod registrar;
pub mod settings;
pub mod snapshot;
pub mod throttle;
#[allow(dead_code, unused_imports, reason = "the exchange takes it up next")]
pub mod trunk;
