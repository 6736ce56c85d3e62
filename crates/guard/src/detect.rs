//! Detectors: folds over facts. Each looks at one kind of trouble and says what it found; what becomes
//! of it (one incident for many findings) is [`crate::incident`]'s.
//!
//! No I/O, and bounded memory: each file names its bounds. The same fold runs live, over a day that is
//! read again at a start, and over history. A detector alerts; what blocks stands elsewhere (the gate,
//! the wall), so a finding too many costs attention and no call.

mod budget;
mod fraud;
mod guessing;
mod new_device;
mod new_place;
mod notice;
mod scanning;
mod shut_out;
mod trunk;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pure::Utc;

use crate::access::Actor;
use crate::fact::{Fact, Severity};
use crate::id::ExtensionId;
use crate::incident::{Key, What};
use crate::journal::Entry;
use crate::money::Currency;
use crate::pii::{Address, Pii};
use crate::source::Source;

/// Where in the journal a fact stands, and when it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    pub sequence: u64,
    pub utc: Utc,
}

/// What a detector found in one fact.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// Of the fact that gave rise to it.
    pub at: At,
    pub key: Key,
    pub what: What,
    pub severity: Severity,
    /// So many events the fact stands for: tries, packets, calls.
    pub events: u64,
    /// What happened, in a sentence or two for the owner. At most [`Finding::WORDS_MAX`] bytes.
    pub words: String,
    /// What was done about it already, where that differs from what is always done.
    pub done: Option<String>,
    /// Whose personal data the words hold, where it is one of ours.
    pub extension: Option<ExtensionId>,
    /// Who did it, where it was an administrator.
    pub by: Option<Actor>,
}

/// All detectors.
#[derive(Debug)]
pub struct Detectors {
    guessing: guessing::Guessing,
    scanning: scanning::Scanning,
    fraud: fraud::Fraud,
    budget: budget::Budgets,
    new_device: new_device::NewDevice,
    new_place: new_place::NewPlace,
    trunk: trunk::TrunkDown,
    homes: Homes,
}

/// What came in datagrams that anybody may have sent under that address: all of it is one story, so that
/// forged addresses neither fill the owner's mailbox nor take the places of those that are real.
fn unproved(at: At, what: What, words: String) -> Finding {
    let words = format!("Datagrams whose sender proved nothing. The latest: {words}");
    Finding::new(at, Key::Unproved, what, Severity::Notice, words)
}

impl Finding {
    /// The journal cuts texts at 512 bytes; a cut sentence would lose its end.
    pub const WORDS_MAX: usize = 480;

    fn new(at: At, key: Key, what: What, severity: Severity, words: String) -> Self {
        let words = crate::incident::cut(words, Self::WORDS_MAX);
        let (done, extension, by) = (None, None, None);
        Self { at, key, what, severity, events: 1, words, done, extension, by }
    }
}

impl Detectors {
    /// `currency`: what the policy's amounts are in.
    pub fn new(currency: Currency) -> Self {
        Self {
            guessing: guessing::Guessing::default(),
            scanning: scanning::Scanning::default(),
            fraud: fraud::Fraud::default(),
            budget: budget::Budgets::new(currency),
            new_device: new_device::NewDevice::default(),
            new_place: new_place::NewPlace::default(),
            trunk: trunk::TrunkDown::default(),
            homes: Homes::default(),
        }
    }

    /// Takes the facts of the journal in their order.
    pub fn observe(&mut self, at: At, fact: &Fact) -> Vec<Finding> {
        self.homes.observe(at.utc, fact);
        let found = [
            self.guessing.observe(at, fact, &self.homes),
            self.scanning.observe(at, fact, &self.homes),
            self.fraud.observe(at, fact),
            self.budget.observe(at, fact),
            self.new_device.observe(at, fact),
            self.new_place.observe(at, fact),
            self.trunk.observe(at, fact),
            notice::observe(at, fact),
            shut_out::observe(at, fact),
        ];
        found.into_iter().flatten().collect()
    }

    /// The numbers of facts that something here looks at: others need not be read.
    pub const KINDS: &[u16] = &[
        105, 300, 306, 312, 322, 400, 401, 410, 414, 420, 421, 422, 423, 424, 425, 430, 440, 441,
        500, 510, 513, 514, 702, 800, 801, 802,
    ];

    /// Whether an entry needs to be opened: one of [`Self::KINDS`], and no call that was permitted, of which there are
    /// as many as calls.
    pub fn concerns(entry: &Entry) -> bool {
        const GATE_DECIDED: u16 = 500;
        // Outside of a text no quotation mark is escaped, so it stands for the field alone.
        const PERMITTED: &str = "\"permitted\":true";
        Self::KINDS.contains(&entry.number)
            && !(entry.number == GATE_DECIDED && entry.public.contains(PERMITTED))
    }

    /// Where extensions were during the last weeks: to be told before the day that is read again.
    pub fn remember_place(&mut self, at: At, fact: &Fact) {
        let _ = self.new_place.observe(at, fact);
    }

    /// What only time shows. Call it when all facts until `utc` were observed.
    pub fn tick(&mut self, utc: Utc) -> Vec<Finding> {
        self.trunk.tick(utc)
    }
}

/// Sources from which a device of ours registered within a day: an office, a home. What fails there is
/// more likely a phone with an old secret or a fault than a stranger.
#[derive(Debug, Default)]
struct Homes(BTreeMap<Source, Utc>);

impl Homes {
    fn observe(&mut self, utc: Utc, fact: &Fact) {
        let (Fact::Registered { address, .. } | Fact::FlowReplaced { address, .. }) = fact else {
            return;
        };
        if let Some(source) = source(address) {
            insert_bounded(&mut self.0, source, utc, Self::MAX, |seen| *seen);
        }
    }

    fn holds(&self, utc: Utc, source: Source) -> bool {
        self.0.get(&source).is_some_and(|seen| utc.since(*seen) < Self::LASTS)
    }

    /// Every phone of a large house at an address of its own. At the bound the one that registered
    /// longest ago counts as a stranger's.
    const MAX: usize = 8_192;
    const LASTS: Duration = Duration::from_secs(86_400);
}

/// Puts a value into a table of at most `max`; where it is full, what was touched longest ago goes.
fn insert_bounded<K: Ord + Clone, V>(
    table: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    max: usize,
    touched: impl Fn(&V) -> Utc,
) {
    if table.len() >= max && !table.contains_key(&key) {
        let oldest = table.iter().min_by_key(|(_, held)| touched(held));
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            table.remove(&oldest);
        }
    }
    table.insert(key, value);
}

/// The source that an address is of; `None` where it was erased.
fn source(address: &Pii<Address>) -> Option<Source> {
    let Address(text) = address.reveal();
    let host = text.split('/').next().unwrap_or_default();
    let ip = host.parse::<IpAddr>().ok();
    ip.or_else(|| host.parse::<SocketAddr>().ok().map(|at| at.ip())).map(Source::from)
}

/// How long a rush lasts that counts as one: longer than a person's second and third try, shorter than
/// a working hour of honest mistakes.
const RUSH: Duration = Duration::from_secs(600);

/// `12 minutes`, `1 second`: for sentences.
fn span(span: Duration) -> String {
    let counted = |count: u64, unit: &str| {
        let s = if count == 1 { "" } else { "s" };
        format!("{count} {unit}{s}")
    };
    match span.as_secs() {
        seconds @ 0..120 => counted(seconds.max(1), "second"),
        seconds @ 120..7_200 => counted(seconds / 60, "minute"),
        seconds => counted(seconds / 3_600, "hour"),
    }
}

#[cfg(test)]
mod tests;
