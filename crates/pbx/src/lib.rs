//! The back-to-back core, and the applications on it: the exchange today, the edge to come.
#![forbid(unsafe_code)]

pub mod authenticate;
pub mod command;
pub mod directory;
pub mod flow;
pub mod io;
pub mod record;
pub mod registrar;
pub mod snapshot;
pub mod throttle;
