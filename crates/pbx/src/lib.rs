//! The back-to-back core, and the applications on it: the exchange today, the edge to come.
#![forbid(unsafe_code)]

pub mod authenticate;
pub mod back_to_back;
mod cdr;
pub mod command;
pub mod directory;
pub mod exchange;
mod failures;
pub mod flow;
pub mod io;
pub mod ladder;
mod pace;
pub mod record;
mod recovery;
pub mod registrar;
pub mod settings;
pub mod snapshot;
pub mod throttle;
mod trunk;
