//! Somebody tries passwords.
//!
//! *The model.* A source that fails often, or asks for several accounts, is guessing. A person mistypes
//! a few times; a phone with an old secret fails for ever, but for one account, and mostly from where
//! its neighbours are registered. So a source where devices of ours registered within a day is a
//! home: it takes many accounts there to speak of guessing. One account that fails from more than
//! three places at once is guessed by a swarm, and that is one attacker, not many.
//!
//! *The thresholds.* Ten failures or four accounts within ten minutes: a guesser passes that in a
//! second, a person rarely. Ten accounts at a home: an office whose secrets were all changed.
//!
//! *What it misses.* A swarm with a try each, at an account each; less than a try a minute; a guesser in
//! the owner's own network who stays with one account. These can't guess 118 bits either: the wall and
//! the secrets hold, this only tells. *What it mistakes:* a phone at a new place with an old secret;
//! the words say so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pure::Utc;

use super::{At, Finding, Homes, RUSH, insert_bounded, source, span};
use crate::fact::{AuthenticationFailure, Fact, Severity};
use crate::incident::{Key, What, shown};
use crate::source::Source;
use crate::wall::undo;

#[derive(Debug, Default)]
pub(super) struct Guessing {
    sources: BTreeMap<Source, Tries>,
    accounts: BTreeMap<String, Asked>,
}

/// Of one source, in the present rush.
#[derive(Clone, Debug)]
struct Tries {
    began: Utc,
    last: Utc,
    failures: u64,
    accounts: BTreeSet<String>,
    /// Since it was found out, until it has been quiet for [`QUIET`].
    caught: bool,
}

/// Of one account, in the present rush.
#[derive(Clone, Debug)]
struct Asked {
    began: Utc,
    last: Utc,
    failures: u64,
    sources: BTreeSet<Source>,
    swarm: bool,
}

impl Guessing {
    pub(super) fn observe(&mut self, at: At, fact: &Fact, homes: &Homes) -> Option<Finding> {
        let (failures, account, account_exists, address) = match fact {
            // A phone that wasn't told of the new password: `ringfence status` says which.
            Fact::AuthenticationFailed { reason: AuthenticationFailure::FormerSecret, .. } => {
                return None;
            }
            Fact::AuthenticationFailed { failures, account, account_exists, address, .. } => {
                (failures, account, account_exists, address)
            }
            Fact::GuessingHeld { .. } => return self.held(at, fact, homes),
            _ => return None,
        };
        let (source, events) = (source(address)?, u64::from(*failures));
        let account = &account.reveal().0;
        let home = homes.holds(at.utc, source);
        let swarm = match home {
            // The owner's own phones are no swarm, wherever their people live.
            true => None,
            false => self.asked(at.utc, source, account, events),
        };
        let caught = self.tried(at.utc, source, account, events, home);
        let real = *account_exists.reveal() == Some(true);
        let finding = match (swarm, caught) {
            (Some(words), _) => {
                let severity = if real { Severity::Error } else { Severity::Warn };
                let key = Key::Account(account.clone());
                Finding::new(at, key, What::Guessing, severity, words)
            }
            (None, Some(words)) => {
                Finding::new(at, Key::Source(source), What::Guessing, Severity::Warn, words)
            }
            (None, None) => return None,
        };
        Some(Finding { events, ..finding })
    }

    /// The wall holds a pair: five wrong passwords in ten minutes. A phone that was there before has an old
    /// one, and a new phone in the owner's own house is being set up.
    fn held(&self, at: At, fact: &Fact, homes: &Homes) -> Option<Finding> {
        let Fact::GuessingHeld { failures, seconds, known_device, account, address, .. } = fact
        else {
            return None;
        };
        let source = source(address)?;
        let account = &account.reveal().0;
        let caught = self.sources.get(&source).is_some_and(|tries| tries.caught);
        if *known_device || (homes.holds(at.utc, source) && !caught) {
            return None;
        }
        let is_swarm = |asked: &Asked| asked.swarm && at.utc.since(asked.last) <= QUIET;
        let key = match self.accounts.get(account).is_some_and(is_swarm) {
            true => Key::Account(account.clone()),
            false => Key::Source(source),
        };
        let words = format!(
            "{source} gave {failures} wrong passwords for {}. Somebody guesses, or a phone that is new there \
             has an old one.",
            shown(account)
        );
        let done = format!(
            "What it tries for this account is not compared for {}; nobody else notices. Undo: {}",
            span(Duration::from_secs(seconds.0)),
            undo(source, account)
        );
        let finding = Finding::new(at, key, What::Guessing, Severity::Warn, words);
        Some(Finding { events: u64::from(*failures), done: Some(done), ..finding })
    }

    /// In words, where this account is guessed by a swarm.
    fn asked(&mut self, utc: Utc, source: Source, account: &str, events: u64) -> Option<String> {
        let fresh =
            Asked { began: utc, last: utc, failures: 0, sources: BTreeSet::new(), swarm: false };
        let mut asked = self.accounts.remove(account).unwrap_or_else(|| fresh.clone());
        if utc.since(asked.last) > QUIET || (!asked.swarm && utc.since(asked.began) > RUSH) {
            asked = fresh;
        }
        asked.last = utc;
        asked.failures += events;
        if asked.sources.len() < NAMED_MAX {
            asked.sources.insert(source);
        }
        asked.swarm |= asked.sources.len() > SOURCES;
        let words = asked.swarm.then(|| {
            let many = if asked.sources.len() < NAMED_MAX { "" } else { "at least " };
            format!(
                "The password of one account, {}, was tried {} times from {many}{} addresses within {}, \
                 the last of them {source}: many machines at work for one attacker.",
                shown(account),
                asked.failures,
                asked.sources.len(),
                span(utc.since(asked.began)),
            )
        });
        insert_bounded(&mut self.accounts, account.to_owned(), asked, TABLE_MAX, |one| one.last);
        words
    }

    /// In words, where this source guesses.
    fn tried(
        &mut self,
        utc: Utc,
        source: Source,
        account: &str,
        events: u64,
        home: bool,
    ) -> Option<String> {
        let fresh = || Tries {
            began: utc,
            last: utc,
            failures: 0,
            accounts: BTreeSet::new(),
            caught: false,
        };
        let mut tries = self.sources.remove(&source).unwrap_or_else(fresh);
        if utc.since(tries.last) > QUIET || (!tries.caught && utc.since(tries.began) > RUSH) {
            tries = fresh();
        }
        tries.last = utc;
        tries.failures += events;
        if tries.accounts.len() < NAMED_MAX {
            tries.accounts.insert(account.to_owned());
        }
        let guesses = match home {
            true => tries.accounts.len() >= ACCOUNTS_AT_HOME,
            false => tries.failures >= FAILURES || tries.accounts.len() >= ACCOUNTS,
        };
        tries.caught |= guesses;
        let words = tries.caught.then(|| said(&tries, source, account, home, utc));
        insert_bounded(&mut self.sources, source, tries, TABLE_MAX, |one| one.last);
        words
    }
}

fn said(tries: &Tries, source: Source, account: &str, home: bool, utc: Utc) -> String {
    let times = tries.failures;
    let within = span(utc.since(tries.began));
    match tries.accounts.len() {
        1 => format!(
            "{source} failed to sign in as {} {times} times within {within}. Somebody guesses a \
             password, or a phone that is new there has an old one.",
            shown(account)
        ),
        count => {
            let many = if count < NAMED_MAX { "" } else { "at least " };
            let place = match home {
                true => " Phones of yours are registered from there: it may be one of them.",
                false => "",
            };
            format!(
                "{source} tried passwords of {many}{count} accounts, {times} times within {within}; \
                 the last was {}.{place}",
                shown(account)
            )
        }
    }
}

const FAILURES: u64 = 10;
const ACCOUNTS: usize = 4;
const ACCOUNTS_AT_HOME: usize = 10;
/// Places from which one account may fail at once before it is a swarm: desk, home, mobile.
const SOURCES: usize = 3;
/// A guesser is remembered until it has been quiet for so long, as an incident is.
const QUIET: Duration = Duration::from_secs(3_600);
/// Sources, and accounts, that are followed at once: some 2 MB each. At the bound the one that was
/// quiet the longest is forgotten and would have to begin anew.
const TABLE_MAX: usize = 4_096;
/// Accounts of a source, or sources of an account, that are told apart; beyond, "at least".
const NAMED_MAX: usize = 32;
