//! Judgement: facts in; verdicts, findings, incidents and audits out.
#![forbid(unsafe_code)]

pub mod access;
pub mod admission;
pub mod cause;
pub mod detect;
pub mod exposure;
pub mod fact;
pub mod gate;
mod hex;
pub mod id;
pub mod incident;
pub mod journal;
pub mod ledger;
pub mod money;
pub mod number;
pub mod numbering;
pub mod pii;
pub mod policy;
pub mod rate;
pub mod secret;
pub mod sink;
pub mod source;
pub mod tally;
pub mod wall;
pub mod zone;
