//! What can be asked over the admin socket, and the shapes of the answers.
//!
//! The answers are also what `--json` prints: one shape for the wire, for scripts and for the
//! tables. Times are RFC 3339 in UTC. Fields are only ever added.

mod alert;
mod rules;
mod status;
mod trunk;
mod wall;

use serde::{Deserialize, Serialize};

pub(crate) use alert::{Alert, MailSecurity, NewChannel, NewSink, Sink};
pub(crate) use rules::{
    AtMost, Budget, BudgetReset, BudgetRule, Edit, Explained, Exposure, ExposureLine, Key, Policy,
    PolicyChange, PolicyVersion, Reach, Role, RoleChange, Whose,
};
pub(crate) use status::{AtRisk, Attention, Coverage, Encryption, Stopped};
pub(crate) use trunk::{
    Confidential, Cost, CostBy, Costs, Number, Passes, Rate, Rates, RatesChange, TestStep, Toll,
    Trunk, TrunkAccess, TrunkSettings, TrunkTest, TrunkTransport,
};
pub(crate) use wall::{Banned, Bans, HeldPair, SlowedSource, StalePhone};

/// A question. Numbers are extension numbers as dialled; ids may be cut to a prefix that is unique.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Question {
    Status,
    ExtensionAdd {
        number: String,
        name: String,
        allow_plain_rtp: bool,
    },
    /// With a secret of the asker's choice: a test shows so what a weak one is worth.
    #[cfg(feature = "dangerous-test")]
    DangerousExtensionAdd {
        number: String,
        name: String,
        secret: Confidential,
    },
    ExtensionList,
    ExtensionShow {
        number: String,
    },
    ExtensionReveal {
        number: String,
    },
    /// `grace_days`: how long the former secret keeps working for emergency calls.
    ExtensionRotate {
        number: String,
        grace_days: u16,
    },
    ExtensionEnable {
        number: String,
        enabled: bool,
    },
    ExtensionRename {
        number: String,
        name: String,
    },
    ExtensionRemove {
        number: String,
    },
    ExtensionAllow {
        number: String,
        plain_rtp: bool,
    },
    Devices,
    DeviceAllow {
        device: String,
        plain_rtp: bool,
    },
    DeviceRemove {
        device: String,
    },
    /// Calls that are up, and (unless `up`) the latest records.
    Calls {
        up: bool,
        extension: Option<String>,
        /// Seconds before now.
        since: Option<i64>,
        /// The day they began on at the earliest, `2026-11-01`, in the policy's zone.
        #[serde(default)]
        from: Option<String>,
        limit: u32,
        /// Sum what they cost by this.
        #[serde(default)]
        costs: Option<CostBy>,
    },
    CallShow {
        call: String,
        ladder: bool,
    },
    HangUp {
        call: String,
    },
    JournalShow {
        limit: u32,
    },
    /// `known`: a head noted earlier, `SEQUENCE:HASH`; what stood before it must still stand.
    JournalVerify {
        known: Option<String>,
    },
    /// The number an extension shows outside; `None`: the trunk's.
    ExtensionCallerId {
        number: String,
        caller_id: Option<String>,
    },
    TrunkAdd {
        name: String,
        settings: Box<TrunkSettings>,
    },
    TrunkList,
    TrunkShow {
        name: String,
    },
    TrunkTest {
        name: String,
    },
    TrunkSet {
        name: String,
        settings: Box<TrunkSettings>,
    },
    TrunkEnable {
        name: String,
        enabled: bool,
    },
    TrunkRemove {
        name: String,
    },
    NumberAdd {
        number: String,
        trunk: String,
        extension: String,
    },
    NumberList,
    NumberRemove {
        number: String,
    },
    RoleList,
    RoleShow {
        name: String,
    },
    /// `version`: a former one.
    PolicyShow {
        version: Option<u64>,
    },
    /// With `dry_run` it tells what would change, and changes nothing.
    PolicyChange {
        edit: Edit,
        dry_run: bool,
    },
    PolicyHistory {
        limit: u32,
    },
    Explain {
        number: String,
        from: String,
    },
    /// So many bytes of CSV follow the line.
    RatesImport {
        bytes: u64,
        dry_run: bool,
    },
    /// The price of a number, and the deck's lines about it; or those below a prefix.
    RatesShow {
        number: String,
    },
    RatesList {
        limit: u32,
    },
    RatesExport,
    RatesClear {
        dry_run: bool,
    },
    BudgetShow,
    /// Forgets what this account has spent in its present windows. With `dry_run` it tells what could
    /// be lost then, and changes nothing.
    BudgetReset {
        of: Whose,
        #[serde(default)]
        dry_run: bool,
    },
    Exposure,
    /// Who is shut out, held or slowed down.
    Bans,
    /// Shuts a source out for so many seconds.
    Ban {
        source: String,
        seconds: u64,
        why: String,
    },
    /// Forgets what is held against a source, or against one account from there.
    Unban {
        source: String,
        account: Option<String>,
    },
    /// Incidents that began or changed since, or behind an entry of the journal.
    Alerts {
        /// Seconds before now.
        since: Option<i64>,
        /// A day, as for calls.
        from: Option<String>,
        after: Option<u64>,
        limit: u32,
    },
    AlertShow {
        incident: u64,
    },
    SinkAdd {
        sink: Box<NewSink>,
    },
    SinkSet {
        sink: u32,
        new: Box<NewSink>,
    },
    SinkList,
    SinkShow {
        sink: u32,
    },
    LockdownShow,
    SinkRemove {
        sink: u32,
    },
    SinkTest {
        sink: u32,
    },
}

/// What comes back: the value asked for, or what went wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    /// Done, and what follows from it, a sentence each.
    DoneWith(Vec<String>),
    Status(Box<Status>),
    Secret(Box<PhoneSettings>),
    Extensions(Vec<Extension>),
    Devices(Vec<Device>),
    Calls(Calls),
    Call(Box<Call>),
    Journal(Vec<JournalEntry>),
    Verified(Verified),
    Failed(Failure),
    Trunks(Vec<Trunk>),
    TrunkTested(TrunkTest),
    Numbers(Vec<Number>),
    Roles(Vec<Role>),
    Policy(Box<Policy>),
    PolicyChanged(Box<PolicyChange>),
    PolicyHistory(Vec<PolicyVersion>),
    Explained(Box<Explained>),
    Rates(Rates),
    RatesChanged(Box<RatesChange>),
    /// CSV as it can be imported.
    RatesCsv(String),
    Budgets(Vec<Budget>),
    BudgetReset(Box<BudgetReset>),
    Exposure(Box<Exposure>),
    Bans(Bans),
    /// In the order in which they changed last.
    Alerts(Vec<Alert>),
    Sinks(Vec<Sink>),
    /// What is locked: `everything`, `extension 103`; empty: nothing.
    Lockdown(Vec<String>),
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) wrong: String,
    pub(crate) remedy: String,
}

/// Everything to type into a phone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhoneSettings {
    pub(crate) number: String,
    pub(crate) name: String,
    /// User name for signing in; the number.
    pub(crate) user: String,
    pub(crate) secret: String,
    /// Server, registrar and domain: one name, which the certificate carries.
    pub(crate) domain: String,
    pub(crate) port: u16,
    pub(crate) transport: String,
    /// `SRTP (SDES), mandatory`
    pub(crate) media: String,
    pub(crate) ca_file: String,
    pub(crate) ca_sha256: String,
    /// Where a browser on this machine fetches the certificate.
    pub(crate) ca_url: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) node: u16,
    pub(crate) extensions: usize,
    pub(crate) devices_known: usize,
    pub(crate) devices_registered: usize,
    pub(crate) calls_up: usize,
    /// Registered devices and calls with something weak about them.
    pub(crate) weak: usize,
    pub(crate) draining: bool,
    #[serde(default)]
    pub(crate) trunks: usize,
    #[serde(default)]
    pub(crate) trunks_up: usize,
    /// Trunks in service with something weak about them: name and weaknesses.
    #[serde(default)]
    pub(crate) weak_trunks: Vec<String>,
    /// The most that could be lost until the next working morning, in a sentence.
    #[serde(default)]
    pub(crate) exposure: Option<String>,
    /// What the kernel does for us, in words, with the remedy where it does nothing.
    #[serde(default)]
    pub(crate) kernel_table: String,
    /// Ways in for phones that are not encrypted.
    #[serde(default)]
    pub(crate) in_clear: Vec<String>,
    #[serde(default)]
    pub(crate) packets: Packets,
    /// Why a call for help could not leave now, and what to do; absent where it can.
    #[serde(default)]
    pub(crate) help_cannot_leave: Option<String>,
    /// Am I safe? One sentence; `safe` where nothing needs attention.
    #[serde(default)]
    pub(crate) summary: String,
    #[serde(default)]
    pub(crate) safe: bool,
    /// Since when the node is up.
    #[serde(default)]
    pub(crate) since: Option<String>,
    #[serde(default)]
    pub(crate) at_risk: Option<AtRisk>,
    #[serde(default)]
    pub(crate) encryption: Encryption,
    #[serde(default)]
    pub(crate) stopped: Stopped,
    /// The gravest first.
    #[serde(default)]
    pub(crate) attention: Vec<Attention>,
}

/// Signalling by its source, since the start: what was let in, and what was dropped unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Packets {
    pub(crate) trusted: u64,
    pub(crate) strangers: u64,
    pub(crate) dropped_banned: u64,
    pub(crate) dropped_source_rate: u64,
    pub(crate) dropped_strangers_total: u64,
    pub(crate) dropped_no_room: u64,
    /// Read once a minute.
    pub(crate) dropped_by_kernel: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extension {
    pub(crate) number: String,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) created: String,
    pub(crate) secret_since: String,
    /// Until when the former secret still makes emergency calls.
    pub(crate) former_secret_until: Option<String>,
    pub(crate) weaknesses: Vec<String>,
    pub(crate) devices: Vec<Device>,
    /// The number it shows outside.
    #[serde(default)]
    pub(crate) caller_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) extension: String,
    pub(crate) agent: String,
    pub(crate) registered: bool,
    /// Where it registered from; absent while it isn't registered.
    pub(crate) address: Option<String>,
    /// Where the phone believes itself to be, if that differs: an address translation.
    pub(crate) behind_nat: Option<String>,
    pub(crate) transport: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) algorithm: Option<String>,
    pub(crate) registered_since: Option<String>,
    pub(crate) expires: Option<String>,
    pub(crate) first_seen: String,
    pub(crate) last_seen: String,
    pub(crate) weaknesses: Vec<String>,
    /// Since when it tries the password before the last rotation.
    #[serde(default)]
    pub(crate) former_password_since: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) up: Vec<CallUp>,
    /// Newest first.
    pub(crate) records: Vec<Call>,
    /// Only where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) costs: Option<Costs>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallUp {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// `connecting`, `ringing`, `up`, `ending`
    pub(crate) state: String,
    pub(crate) since: String,
    /// One for each leg.
    pub(crate) protection: Vec<String>,
    /// Money set aside by now: `0.25 USD`.
    #[serde(default)]
    pub(crate) held: Option<String>,
}

/// A call detail record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The extension that answers for the call.
    pub(crate) responsible: Option<String>,
    pub(crate) started: String,
    pub(crate) answered: Option<String>,
    pub(crate) ended: String,
    pub(crate) seconds: u64,
    pub(crate) disposition: String,
    /// What cut it, where it was up and nobody hung up: `the day budget of extension 111`.
    #[serde(default)]
    pub(crate) ended_by: Option<String>,
    /// The rule of the gate that decided, and the version of the policy.
    pub(crate) rule: Option<String>,
    pub(crate) policy: Option<u64>,
    pub(crate) emergency: bool,
    /// Why the leg toward the called side was opened: `phone`, `forward`.
    #[serde(default)]
    pub(crate) origin: String,
    /// What its legs outside came to, each currency by itself: `0.25 USD`. Empty: nothing outside.
    #[serde(default)]
    pub(crate) cost: Vec<String>,
    /// Legs outside, failed attempts included.
    #[serde(default)]
    pub(crate) tolls: Vec<Toll>,
    pub(crate) legs: Vec<Leg>,
    /// The signalling of all legs as a ladder; only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) ladder: Option<Vec<LadderLine>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub(crate) id: String,
    /// `caller` or `called`
    pub(crate) side: String,
    pub(crate) extension: Option<String>,
    #[serde(default)]
    pub(crate) trunk: Option<String>,
    pub(crate) agent: String,
    pub(crate) transport: String,
    /// Version and suite of TLS; empty where signalling was in clear.
    pub(crate) signalling: String,
    /// How the leg's request was proved: `digest SHA-256`.
    pub(crate) proof: Option<String>,
    /// SRTP suite; absent: audio in clear, by exception.
    pub(crate) media: Option<String>,
    /// Last SIP status, 0 where there was none.
    pub(crate) status: u16,
    pub(crate) quality: Option<Quality>,
    pub(crate) weaknesses: Vec<String>,
}

/// What was received from this leg's phone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quality {
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) jitter_ms: f64,
    /// 1.0 to 4.5; absent where too little was heard to tell.
    pub(crate) mos: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LadderLine {
    /// Milliseconds since the first message of the call.
    pub(crate) at_ms: i64,
    pub(crate) leg: String,
    /// Whether we sent it.
    pub(crate) sent: bool,
    /// Whole message, secrets and digits struck out.
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JournalEntry {
    pub(crate) sequence: u64,
    pub(crate) time: String,
    pub(crate) number: u16,
    pub(crate) name: String,
    pub(crate) severity: String,
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verified {
    pub(crate) intact: bool,
    pub(crate) entries: u64,
    /// Where and why the chain breaks; absent where it is intact.
    pub(crate) broken: Option<String>,
    /// `SEQUENCE:HASH`: note it elsewhere, and give it to a later verification.
    pub(crate) head: String,
}

impl Question {
    /// Bytes that follow the question's line.
    pub(crate) fn body_length(&self) -> u64 {
        match self {
            Self::RatesImport { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}

impl Answer {
    pub(crate) fn failed(wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed(Failure::new(wrong, remedy))
    }
}

impl Failure {
    pub(crate) fn new(wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), remedy: remedy.into() }
    }
}

/// The longest question: a name and a number need a few hundred bytes, an authority's certificates a
/// few thousand.
pub(crate) const QUESTION_MAX: usize = 64 * 1024;
/// The longest rate deck, as CSV. A longer one is refused before it is read.
pub(crate) const DECK_MAX: usize = guard::rate::RateDeck::BYTES_MAX;
/// The longest answer that a client reads: a rate deck, written out in full and escaped.
pub(crate) const ANSWER_MAX: usize = 4 * DECK_MAX;
