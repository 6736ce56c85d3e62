//! Judgement: facts in; verdicts, findings, incidents and audits out.
#![forbid(unsafe_code)]

pub mod gate;
pub mod id;
