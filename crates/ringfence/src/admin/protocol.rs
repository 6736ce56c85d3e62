//! What can be asked over the admin socket, and the shapes of the answers.
//!
//! The answers are also what `--json` prints: one shape for the wire, for scripts and for the
//! tables. Times are RFC 3339 in UTC. Fields are only ever added.

use serde::{Deserialize, Serialize};

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
        since: Option<i64>,
        limit: u32,
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
}

/// What comes back: the value asked for, or what went wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    Status(Status),
    Secret(Box<PhoneSettings>),
    Extensions(Vec<Extension>),
    Devices(Vec<Device>),
    Calls(Calls),
    Call(Box<Call>),
    Journal(Vec<JournalEntry>),
    Verified(Verified),
    Failed(Failure),
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) up: Vec<CallUp>,
    /// Newest first.
    pub(crate) records: Vec<Call>,
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
    /// The rule of the gate that decided, and the version of the policy.
    pub(crate) rule: Option<String>,
    pub(crate) policy: Option<u64>,
    pub(crate) emergency: bool,
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

impl Answer {
    pub(crate) fn failed(wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed(Failure { wrong: wrong.into(), remedy: remedy.into() })
    }
}

/// The longest question: a name and a number need a few hundred bytes.
pub(crate) const QUESTION_MAX: usize = 16 * 1024;
/// The longest answer that a client reads: a ladder of a long call.
pub(crate) const ANSWER_MAX: usize = 64 * 1024 * 1024;
