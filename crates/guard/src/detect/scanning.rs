//! Somebody looks for weaknesses: malformed messages, requests for other people's dialogs, floods.
//!
//! *The model.* A source whose messages break the protocol again and again is a scanner. A phone with a
//! fault does that too, but from where phones are registered, and at a phone's pace.
//!
//! *The thresholds.* Ten violations within ten minutes from a stranger; a thousand from a home, which is
//! a phone that needs mending or somebody inside.
//!
//! *What it misses.* A scanner that speaks flawless SIP and asks once: it learns nothing, and the wall
//! knows the common ones by their names. Every address on the Internet is scanned daily, so this is a
//! notice and no warning.

use std::collections::BTreeMap;

use pure::Utc;

use super::{At, Finding, Homes, RUSH, insert_bounded, source, span, unproved};
use crate::fact::{Fact, Severity, ViolationKind};
use crate::incident::{Key, What};
use crate::source::Source;

#[derive(Debug, Default)]
pub(super) struct Scanning {
    sources: BTreeMap<Source, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    began: Utc,
    last: Utc,
    violations: u64,
}

impl Scanning {
    pub(super) fn observe(&mut self, at: At, fact: &Fact, homes: &Homes) -> Option<Finding> {
        let Fact::ViolationSeen { kind, count, proved, address } = fact else { return None };
        let (source, events) = (source(address)?, u64::from(*count));
        let mut seen = self.sources.get(&source).copied();
        seen.take_if(|seen| at.utc.since(seen.began) > RUSH);
        let mut seen = seen.unwrap_or(Seen { began: at.utc, last: at.utc, violations: 0 });
        seen.last = at.utc;
        seen.violations += events;
        insert_bounded(&mut self.sources, source, seen, SOURCES_MAX, |seen| seen.last);
        let home = homes.holds(at.utc, source);
        if seen.violations < if home { AT_HOME } else { ABROAD } {
            return None;
        }
        let what = match kind {
            ViolationKind::Malformed | ViolationKind::TooLarge => "malformed messages",
            ViolationKind::Ambiguous => "messages made to be read in two ways",
            ViolationKind::Forged => "requests for calls that are not its own",
            ViolationKind::OutOfOrder => "messages out of order",
            ViolationKind::Flood => "more than it may",
            ViolationKind::Tls => "broken TLS handshakes",
        };
        let inside = match home {
            true => " Phones of yours are registered from there: one of them may be broken.",
            false => "",
        };
        let words = format!(
            "{source} broke the protocol {} times within {}, the last time with {what}.{inside}",
            seen.violations,
            span(at.utc.since(seen.began)),
        );
        if *proved == Some(false) && !home {
            return Some(Finding { events, ..unproved(at, What::Scanning, words) });
        }
        let key = Key::Source(source);
        let finding = Finding::new(at, key, What::Scanning, Severity::Notice, words);
        Some(Finding { events, ..finding })
    }
}

const ABROAD: u64 = 10;
const AT_HOME: u64 = 1_000;
/// As in `guessing`.
const SOURCES_MAX: usize = 4_096;
