//! Am I safe? What `ringfence status` tells beside the figures.

use serde::{Deserialize, Serialize};

/// What could be lost, and what was spent. Amounts are decimal text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AtRisk {
    pub(crate) currency: String,
    pub(crate) most: String,
    /// `Thursday 08:00`: when somebody could act at the latest.
    pub(crate) until: String,
    /// The same as a time in UTC.
    #[serde(default)]
    pub(crate) until_utc: String,
    /// Which limit decides, in words.
    pub(crate) binding: String,
    /// Charged since midnight, in the policy's zone.
    pub(crate) spent_today: String,
}

/// How much of what is there is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Encryption {
    /// Registered phones.
    pub(crate) phones: Coverage,
    /// Trunks in service.
    pub(crate) trunks: Coverage,
    /// What may be weaker than the rest, by name: `104 (Handset 1.0): audio may be unencrypted`.
    pub(crate) exceptions: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    pub(crate) all: usize,
    pub(crate) signalling: usize,
    pub(crate) media: usize,
}

/// What was stopped in the last 24 hours, by the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stopped {
    pub(crate) calls_refused: u64,
    /// What a minute of them together would have cost, as far as their prices are known.
    pub(crate) per_minute: String,
    pub(crate) not_encrypted: u64,
    /// Tries, not accounts or addresses.
    pub(crate) sign_ins_failed: u64,
    /// Those that the wall placed by itself.
    pub(crate) bans: u64,
    /// Who is held now, in words: `203.0.113.5 at 101 until 09:28`.
    #[serde(default)]
    pub(crate) held_now: Vec<String>,
    #[serde(default)]
    pub(crate) held_count: usize,
    /// Addresses that are shut out now, by whomever.
    #[serde(default)]
    pub(crate) banned_now: usize,
    pub(crate) violations: u64,
    /// The journal of these hours was too long to be read whole: it was more than this.
    pub(crate) at_least: bool,
}

/// Something to look after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attention {
    /// A sentence.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: String,
}
