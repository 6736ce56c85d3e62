//! The wall recognised a scanner, saw somebody try many accounts, or shut a source out.
//!
//! *The model.* None of its own: the wall's figures are the thresholds (`guard::wall`). Its words join what
//! other detectors say of the same source, since the key is the same.
//!
//! *What it misses:* what an administrator shut out by hand, who knows of it.

use std::time::Duration;

use super::{At, Finding, source, span, unproved};
use crate::fact::{Fact, Severity};
use crate::incident::{Key, What};
use crate::wall::BanCause;

pub(super) fn observe(at: At, fact: &Fact) -> Option<Finding> {
    let (address, what, severity, words, done) = match fact {
        Fact::ScannerSeen { sign, proved, address } => {
            if *proved == Some(false) {
                let source = source(address)?;
                return Some(unproved(at, kind(sign)?, format!("{source}: It scans: {sign}.")));
            }
            (address, kind(sign)?, Severity::Notice, format!("It scans: {sign}."), None)
        }
        Fact::SprayingSeen { accounts, slowed, address } => {
            let ours = source(address)?.ip().is_loopback();
            let whose = if ours { "It is this machine" } else { "Phones of yours are there" };
            let done = slowed.0.then(|| format!("{whose}, so it is slowed down and not shut out."));
            let words = format!("It tried passwords of {accounts} accounts within an hour.");
            (address, What::Guessing, Severity::Warn, words, done)
        }
        Fact::BanPlaced { cause, seconds, address, .. } => {
            let words = format!("It is shut out, because {cause}.");
            let lasts = span(Duration::from_secs(seconds.0));
            let source = source(address)?;
            let done =
                format!("Nothing from there is read for {lasts}. Undo: ringfence unban {source}");
            (address, kind(cause)?, Severity::Warn, words, Some(done))
        }
        _ => return None,
    };
    let source = source(address)?;
    let finding =
        Finding::new(at, Key::Source(source), what, severity, format!("{source}: {words}"));
    Some(Finding { done, ..finding })
}

/// `None`: an administrator did it, who knows.
fn kind(cause: &BanCause) -> Option<What> {
    match cause {
        BanCause::Spraying { .. } => Some(What::Guessing),
        BanCause::Scanning { .. } | BanCause::Scanner { .. } => Some(What::Scanning),
        BanCause::Administrator { .. } => None,
    }
}
