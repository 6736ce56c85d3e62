//! Somebody who has an extension's secret tries where calls are dear, and is refused.
//!
//! *The model.* The gate refuses each call by itself; several refusals of one extension within minutes,
//! to different numbers, are somebody feeling for what is open. People misdial once, and dial the
//! *same* number again.
//!
//! *The thresholds.* Refused calls to three different numbers, or ten calls to any, within ten minutes.
//! Only rules about cost count: class, country, price, pace, hours, budget. A lockdown doesn't: then
//! everybody is refused, and the owner knows. Twenty numbers are no person at a telephone: the severity
//! rises.
//!
//! *What it misses.* A thief who tries two numbers an hour, and what is allowed: the budget bounds it.
//! *What it mistakes:* somebody who works through a list of numbers that are not allowed to them.

use std::collections::{BTreeMap, BTreeSet};

use pure::Utc;

use super::{At, Finding, RUSH, insert_bounded, span};
use crate::fact::{Fact, Severity};
use crate::gate::Rule;
use crate::id::{CallId, ExtensionId};
use crate::incident::{Key, What, shown};

#[derive(Debug, Default)]
pub(super) struct Fraud {
    extensions: BTreeMap<ExtensionId, Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    began: Utc,
    last: Utc,
    calls: u64,
    /// One call may be judged for several ways out.
    call: CallId,
    numbers: BTreeSet<String>,
}

impl Fraud {
    pub(super) fn observe(&mut self, at: At, fact: &Fact) -> Option<Finding> {
        let Fact::GateDecided {
            call,
            extension: Some(extension),
            permitted: false,
            rule,
            destination,
            ..
        } = fact
        else {
            return None;
        };
        let why = costly(*rule)?;
        let number = destination.reveal().0.clone();
        let fresh = || Refused {
            began: at.utc,
            last: at.utc,
            calls: 0,
            call: CallId(0),
            numbers: BTreeSet::new(),
        };
        let mut refused = self.extensions.remove(extension);
        refused.take_if(|held| at.utc.since(held.last) > RUSH);
        let mut refused = refused.unwrap_or_else(fresh);
        let again = refused.calls > 0 && refused.call == *call;
        if !again {
            refused.calls += 1;
            refused.call = *call;
        }
        refused.last = at.utc;
        if refused.numbers.len() < NUMBERS_TOLD {
            refused.numbers.insert(number.clone());
        }
        let (calls, numbers) = (refused.calls, refused.numbers.len());
        let within = span(at.utc.since(refused.began));
        insert_bounded(&mut self.extensions, *extension, refused, EXTENSIONS_MAX, |one| one.last);
        if again || (numbers < NUMBERS && calls < CALLS) {
            return None;
        }
        let severity = if numbers >= NUMBERS_TOLD { Severity::Error } else { Severity::Warn };
        let words = format!(
            "{calls} calls were refused within {within}, to {numbers} different numbers; the last to {} \
             because {why}. Somebody may have this extension's password or its phone.",
            shown(&number)
        );
        let finding = Finding::new(at, Key::Extension(*extension), What::Fraud, severity, words);
        Some(Finding { extension: Some(*extension), ..finding })
    }
}

/// Why, where the rule is about what a call may cost.
fn costly(rule: Rule) -> Option<&'static str> {
    match rule {
        Rule::NotAllowedClass => Some("such numbers are not allowed to it"),
        Rule::NotAllowedCountry => Some("that country is not open to it"),
        Rule::Hours => Some("it was outside the hours of its role"),
        Rule::Concurrency => Some("it had as many calls as it may"),
        Rule::Rate => Some("it had made too many attempts within an hour"),
        Rule::NoPrice => Some("nobody knows what that number costs"),
        Rule::TooDear => Some("that number costs more than it may"),
        Rule::Budget => Some("its budget is spent"),
        Rule::VoicemailOutward => Some("a mailbox may not call outside"),
        Rule::Emergency
        | Rule::EmergencyStranger
        | Rule::NotProved
        | Rule::Lockdown
        | Rule::NobodyResponsible
        | Rule::UnknownDestination
        | Rule::Outside
        | Rule::Longest
        | Rule::Internal
        | Rule::Service => None,
    }
}

const NUMBERS: usize = 3;
const CALLS: u64 = 10;
/// Numbers that are told apart; so many are no person's doing.
const NUMBERS_TOLD: usize = 20;
/// Extensions that are followed at once, some 5 MB. At the bound the one that was quiet the longest
/// begins anew.
const EXTENSIONS_MAX: usize = 4_096;
