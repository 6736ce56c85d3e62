//! Incidents: many findings, one story for the owner.
//!
//! **One incident for each attacker.** What strangers do is told by their source; what is done with our
//! own things, by the extension, device, trunk or call. A swarm that guesses at one account is one
//! attacker ([`Key::Account`]). An incident stays open while findings keep coming and closes after
//! [`QUIET`]. Its opening is an alert, a rise of its severity another; its end stands in the journal.
//!
//! **Bounds.** At most [`STRANGERS_MAX`] incidents of strangers are open at once. Beyond, all further
//! strangers are one: "many sources": whoever comes from a thousand addresses must neither fill the
//! owner's mailbox nor our memory. Incidents of our own things have room of their own
//! ([`OWN_MAX`]), so that a flood from outside never hides a call for help; at that bound the one
//! that was quiet the longest is closed.
//!
//! **State.** It is the journal's: [`Incidents::learn`] takes the facts that earlier changes became.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pure::Utc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Actor;
use crate::detect::Finding;
use crate::fact::{Fact, Severity};
use crate::id::{CallId, DeviceId, ExtensionId, TrunkId};
use crate::pii::{Name, Pii};
use crate::source::Source;

/// Whose doing findings are taken for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// A stranger.
    Source(Source),
    /// A swarm of strangers at one account.
    Account(String),
    /// More strangers than are told apart.
    ManySources,
    /// Whatever came from addresses that anybody can write into a datagram.
    Unproved,
    Extension(ExtensionId),
    Device(DeviceId),
    /// A budget that is no extension's, in words.
    Budget(String),
    Call(CallId),
    /// Calls for help of one device: the second within the hour is counted. What was proved stands apart.
    Help {
        device: Option<DeviceId>,
        extension: Option<ExtensionId>,
        proved: bool,
    },
    Trunk(TrunkId),
    /// A secret of this extension that was looked at.
    Secret(ExtensionId),
    /// A weakness that this device was allowed.
    Exception(DeviceId),
    /// A weakness that all phones of this extension were allowed.
    PhonesException(ExtensionId),
    Node(What),
}

/// What kind of trouble it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Scanning,
    Guessing,
    Fraud,
    Budget,
    NewDevice,
    NewPlace,
    Emergency,
    TrunkDown,
    Storage,
    Journal,
    SecretRevealed,
    Exception,
}

/// What is known of one incident.
#[derive(Clone, PartialEq, Debug)]
pub struct Incident {
    /// The journal's number of the entry that gave rise to it: no two incidents share it.
    pub id: u64,
    pub key: Key,
    pub what: What,
    pub severity: Severity,
    pub first: Utc,
    pub last: Utc,
    pub findings: u32,
    pub events: u64,
    /// The latest finding's.
    pub words: String,
    pub done: Option<String>,
    pub extension: Option<ExtensionId>,
    pub by: Option<Actor>,
}

/// What became of an incident: to be written down.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    Opened(Incident),
    /// Its severity is higher than when it was last told.
    Raised(Incident),
    Closed(Incident),
}

/// The incidents that are open.
#[derive(Debug, Default)]
pub struct Incidents {
    open: BTreeMap<Key, Incident>,
    /// How far what is open was counted when it was told, by its id.
    told: BTreeMap<u64, Counted>,
}

/// The findings that a fact about an incident has counted.
#[derive(Clone, Copy, Debug)]
enum Counted {
    /// Those in entries of the journal up to this one.
    Entry(u64),
    /// Those of entries up to this time.
    Time(Utc),
}

/// No finding for so long ends an incident. A guesser who pauses to change its list takes less; longer,
/// and tomorrow's attack hides in today's.
pub const QUIET: Duration = Duration::from_secs(3_600);
/// Strangers told apart at once.
pub const STRANGERS_MAX: usize = 64;
/// Open incidents of our own extensions, devices, trunks and calls.
pub const OWN_MAX: usize = 1_024;

impl Key {
    fn is_strangers(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Account(_) | Self::ManySources | Self::Unproved)
    }
}

impl Incidents {
    /// Takes a finding. `None`: its incident is open and was told of.
    pub fn take(&mut self, finding: Finding) -> Option<Change> {
        if let Some(open) = self.open.get_mut(&finding.key) {
            return open.continued(finding).then(|| Change::Raised(open.clone()));
        }
        let strangers = finding.key.is_strangers();
        // What can be forged is one incident, and takes no place of those that can't.
        if finding.key == Key::Unproved {
            return Some(self.opened(finding));
        }
        let of_strangers = |key: &&Key| key.is_strangers() == strangers && **key != Key::Unproved;
        let count = self.open.keys().filter(of_strangers).count();
        match strangers {
            true if count >= STRANGERS_MAX => {
                let words = cut(
                    format!(
                        "More than {STRANGERS_MAX} strangers attack at once; they are told as one from \
                         here on. The latest: {}",
                        finding.words
                    ),
                    Finding::WORDS_MAX,
                );
                let finding = Finding { key: Key::ManySources, words, ..finding };
                match self.open.get_mut(&Key::ManySources) {
                    Some(open) => open.continued(finding).then(|| Change::Raised(open.clone())),
                    None => Some(self.opened(finding)),
                }
            }
            _ => Some(self.opened(finding)),
        }
    }

    /// Takes a finding that is read again, whose incident was told of already, if it was told of at all:
    /// it changes only what is known, and nothing where what was told has counted it.
    pub fn recall(&mut self, finding: Finding) {
        let Some(open) = self.open.get_mut(&finding.key) else { return };
        let counted = match self.told.get(&open.id) {
            Some(Counted::Entry(sequence)) => finding.at.sequence <= *sequence,
            Some(Counted::Time(utc)) => finding.at.sequence <= open.id || finding.at.utc <= *utc,
            None => false,
        };
        if counted {
            return;
        }
        let severity = open.severity;
        open.continued(finding);
        open.severity = severity;
    }

    /// Takes a fact that a change became: the same fact twice changes nothing.
    pub fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::IncidentOpened { .. } | Fact::IncidentRaised { .. } => {
                let Some(told) = Incident::from_fact(fact) else { return };
                let counted = match fact {
                    Fact::IncidentOpened { .. } => Counted::Entry(told.id),
                    _ => Counted::Time(told.last),
                };
                match self.open.get_mut(&told.key) {
                    Some(open) if open.id > told.id => (),
                    // Our own word: what came since is counted too.
                    Some(open) if open.id == told.id && open.findings >= told.findings => {
                        open.severity = open.severity.max(told.severity);
                        open.last = open.last.max(told.last);
                    }
                    _ => {
                        self.told.insert(told.id, counted);
                        self.open.insert(told.key.clone(), told);
                    }
                }
            }
            Fact::IncidentClosed { incident, .. } => {
                self.open.retain(|_, open| open.id != *incident);
                self.told.remove(incident);
            }
            _ => {}
        }
    }

    /// Closes what has been quiet. Call it when every finding until `utc` was taken.
    pub fn tick(&mut self, utc: Utc) -> Vec<Change> {
        let mut closed = Vec::new();
        self.open.retain(|_, open| {
            let quiet = utc.since(open.last) >= QUIET;
            if quiet {
                closed.push(Change::Closed(open.clone()));
            }
            !quiet
        });
        // At the bound of our own things nothing is refused: the one that was quiet longest ends.
        while self.open.keys().filter(|key| !key.is_strangers()).count() > OWN_MAX {
            let own = self.open.iter().filter(|(key, _)| !key.is_strangers());
            let Some(oldest) = own.min_by_key(|(_, open)| open.last).map(|(key, _)| key.clone())
            else {
                break;
            };
            closed.extend(self.open.remove(&oldest).map(Change::Closed));
        }
        for change in &closed {
            self.told.remove(&change.incident().id);
        }
        closed
    }

    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    fn opened(&mut self, finding: Finding) -> Change {
        let Finding { at, key, what, severity, events, words, done, extension, by } = finding;
        let incident = Incident {
            id: at.sequence,
            key: key.clone(),
            what,
            severity,
            first: at.utc,
            last: at.utc,
            findings: 1,
            events,
            words,
            done,
            extension,
            by,
        };
        self.open.insert(key, incident.clone());
        Change::Opened(incident)
    }
}

impl Incident {
    /// Adds a finding; true where it made it worse.
    fn continued(&mut self, finding: Finding) -> bool {
        let worse = finding.severity > self.severity;
        if worse {
            self.severity = finding.severity;
            self.what = finding.what;
        }
        // What is less bad doesn't take the words of what is worse.
        if finding.severity >= self.severity {
            self.words = finding.words;
        }
        self.done = finding.done.or(self.done.take());
        self.extension = self.extension.or(finding.extension);
        self.by = finding.by.or(self.by.take());
        self.last = self.last.max(finding.at.utc);
        // The fact that gave rise to it, said once more because it lasts.
        if finding.at.sequence != self.id {
            self.findings = self.findings.saturating_add(1);
            self.events = self.events.saturating_add(finding.events);
        }
        worse
    }

    /// About whom, for people. `number`: of an extension.
    pub fn about(&self, number: impl Fn(ExtensionId) -> Option<String>) -> String {
        let extension = |id: Option<ExtensionId>| match id.and_then(&number) {
            Some(number) => format!("extension {number}"),
            None => "a removed extension".to_owned(),
        };
        match &self.key {
            Key::Source(source) => source.to_string(),
            Key::Account(account) => format!("account {}", shown(account)),
            Key::ManySources => "many sources".to_owned(),
            Key::Unproved => "addresses that proved nothing".to_owned(),
            Key::Extension(id) | Key::Secret(id) | Key::PhonesException(id) => extension(Some(*id)),
            Key::Device(_) => format!("a phone of {}", extension(self.extension)),
            Key::Budget(account) => shown(account),
            Key::Call(_) if self.extension.is_none() => "somebody unknown".to_owned(),
            Key::Call(_) => extension(self.extension),
            Key::Help { proved: true, .. } => extension(self.extension),
            Key::Help { proved: false, .. } => {
                format!("somebody at the address of {}", extension(self.extension))
            }
            Key::Trunk(_) => "a carrier".to_owned(),
            Key::Exception(device) => {
                let id = device.to_string();
                format!("phone {}", id.get(..8).unwrap_or_default())
            }
            Key::Node(_) => "this node".to_owned(),
        }
    }

    /// What happened in a few words, for a subject and a table.
    pub fn title(&self, about: &str) -> String {
        match (self.what, &self.key) {
            (What::Guessing, Key::Account(_)) => {
                format!("many machines guess the password of {about}")
            }
            (What::Guessing, _) => format!("passwords are being guessed from {about}"),
            (What::Scanning, _) => format!("scanned by {about}"),
            (What::Fraud, _) => format!("calls of {about} were refused again and again"),
            (What::Budget, _) if self.severity >= Severity::Error => {
                format!("the budget of {about} is spent")
            }
            (What::Budget, _) => format!("the budget of {about} is nearly spent"),
            (What::NewDevice, _) => format!("a new phone: {}", phone(about)),
            (What::NewPlace, _) => format!("a phone at a new place: {}", phone(about)),
            (What::Emergency, _) => format!("emergency call by {about}"),
            (What::TrunkDown, _) => "a carrier can't be reached".to_owned(),
            (What::Storage, _) => "records can't be written".to_owned(),
            (What::Journal, _) => "the journal is broken".to_owned(),
            (What::SecretRevealed, _) => format!("the password of {about} was looked at"),
            (What::Exception, _) => format!("{about} was allowed a weakness"),
        }
    }

    /// What was done about it already.
    pub fn done(&self) -> String {
        if let Some(done) = &self.done {
            return done.clone();
        }
        let text = match self.what {
            What::Guessing => {
                "Wrong passwords are answered like unknown accounts, and what is generated \
                 here can't be guessed."
            }
            What::Scanning => {
                "Nothing was answered that tells of this system. Calls are not affected."
            }
            What::Fraud => "Each of these calls was refused before it could cost anything.",
            What::Budget if self.severity >= Severity::Error => {
                "Calls outside are refused for it until the window ends; emergency calls are not."
            }
            What::Budget => "Nothing yet: calls are refused when the whole budget is spent.",
            What::NewDevice => "It may call as this extension may, within its budget.",
            What::NewPlace => "Nothing: the phone works as before.",
            What::Emergency => "The call was put through before any other.",
            What::TrunkDown => {
                "Calls take the other trunks, where there are any. It is tried again and again."
            }
            What::Storage => {
                "Calls that cost money are refused until records can be written; emergency calls are not."
            }
            What::Journal => "The head that was known before is kept beside the database.",
            What::SecretRevealed | What::Exception => "It is written in the journal.",
        };
        text.to_owned()
    }

    /// What to do next.
    pub fn next(&self, about: &str) -> String {
        // `extension 101` as the commands take it.
        let number = about.rsplit(' ').next().unwrap_or_default();
        match (self.what, &self.key) {
            (What::Guessing, Key::Account(_)) => {
                "Nothing, unless phones of your own fail too: ringfence devices".to_owned()
            }
            (What::Guessing, _) => {
                "Nothing. If it is a phone of yours, type its password into it again; this shows it: ringfence \
                 extension reveal NUMBER"
                    .to_owned()
            }
            (What::Scanning, _) => {
                "Nothing. Whether a phone of yours is there: ringfence devices".to_owned()
            }
            (What::Fraud, _) | (What::Budget, Key::Extension(_)) => format!(
                "If nobody there knows of it: ringfence lockdown on --extension {number}; then \
                 ringfence extension rotate {number}. See ringfence calls --extension {number} --cost"
            ),
            (What::Budget, _) => {
                "See who spends: ringfence calls --since 1d --cost. A budget that is too small: \
                 ringfence budget show"
                    .to_owned()
            }
            (What::NewDevice | What::NewPlace, _) => format!(
                "If it isn't yours: ringfence extension rotate {number}, which signs all its phones off. \
                 If it is, there is nothing to do."
            ),
            (What::Emergency, _) => {
                "Send somebody there, and let the services in. See ringfence calls --since 1h".to_owned()
            }
            (What::TrunkDown, _) => "ringfence trunk list, then ringfence trunk test NAME".to_owned(),
            (What::Storage, _) => {
                "Make room on the disk of the data folder, or replace it. See ringfence journal show"
                    .to_owned()
            }
            (What::Journal, _) => {
                "Keep a copy of the data folder, then: ringfence journal verify".to_owned()
            }
            (What::SecretRevealed, _) => {
                format!("If that was none of your administrators: ringfence extension rotate {number}")
            }
            (What::Exception, Key::PhonesException(_)) => {
                format!("If it was not meant: ringfence extension allow {number} --dangerous-plain-rtp=false")
            }
            (What::Exception, _) => {
                format!("If it was not meant: ringfence devices allow {number} --dangerous-plain-rtp=false")
            }
        }
    }

    /// The incident of a fact that opened or raised or closed one; `None` where who it was about was
    /// erased.
    pub fn from_fact(fact: &Fact) -> Option<Self> {
        let told = matches!(
            fact,
            Fact::IncidentOpened { .. } | Fact::IncidentRaised { .. } | Fact::IncidentClosed { .. }
        );
        let told: Told = told.then(|| Value::Object(fact.to_json())).and_then(|fields| {
            // The three have the same fields.
            serde_json::from_value(fields).ok()
        })?;
        Some(Self {
            id: told.incident,
            key: serde_json::from_str(&told.key.0).ok()?,
            what: told.what,
            severity: told.severity,
            first: Utc(told.first),
            last: Utc(told.last),
            findings: told.findings,
            events: told.events,
            words: told.words.0,
            done: told.done,
            extension: told.extension,
            by: told.by,
        })
    }
}

/// The fields of a fact about an incident.
#[derive(Deserialize)]
struct Told {
    incident: u64,
    what: What,
    severity: Severity,
    first: i64,
    last: i64,
    findings: u32,
    events: u64,
    words: Name,
    key: Name,
    done: Option<String>,
    extension: Option<ExtensionId>,
    by: Option<Actor>,
}

impl Change {
    pub fn incident(&self) -> &Incident {
        let (Self::Opened(incident) | Self::Raised(incident) | Self::Closed(incident)) = self;
        incident
    }

    /// The fact that says so.
    pub fn into_fact(self, number: impl Fn(ExtensionId) -> Option<String>) -> Fact {
        let about = self.incident().about(number);
        macro_rules! fact {
            ($variant:ident $one:ident) => {
                Fact::$variant {
                    incident: $one.id,
                    what: $one.what,
                    severity: $one.severity,
                    first: $one.first.0,
                    last: $one.last.0,
                    findings: $one.findings,
                    events: $one.events,
                    extension: $one.extension,
                    done: $one.done,
                    about: Pii::new(Name(about)),
                    words: Pii::new(Name($one.words)),
                    key: Pii::new(Name(
                        serde_json::to_string(&$one.key).expect("a key is texts and numbers"),
                    )),
                    by: Pii::new($one.by),
                }
            };
        }
        match self {
            Self::Opened(one) => fact!(IncidentOpened one),
            Self::Raised(one) => fact!(IncidentRaised one),
            Self::Closed(one) => fact!(IncidentClosed one),
        }
    }
}

impl What {
    /// As `--json` and webhooks say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scanning => "scanning",
            Self::Guessing => "guessing",
            Self::Fraud => "fraud",
            Self::Budget => "budget",
            Self::NewDevice => "new-device",
            Self::NewPlace => "new-place",
            Self::Emergency => "emergency",
            Self::TrunkDown => "trunk-down",
            Self::Storage => "storage",
            Self::Journal => "journal",
            Self::SecretRevealed => "secret-revealed",
            Self::Exception => "exception",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `extension 101` of `a phone of extension 101`.
fn phone(about: &str) -> &str {
    about.strip_prefix("a phone of ").unwrap_or(about)
}

/// A stranger's text inside a sentence: one line, no marks that turn it, cut.
pub fn shown(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if crate::fact::is_hostile(c) { '\u{fffd}' } else { c })
        .take(SHOWN_MAX)
        .collect();
    let more = if text.chars().count() > SHOWN_MAX { "…" } else { "" };
    format!("{clean}{more}")
}

/// At most `max` bytes, whole characters.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let mut end = max - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Longer than any honest account, trunk or agent needs to be recognised.
const SHOWN_MAX: usize = 64;

#[cfg(test)]
mod tests;
