//! Who is shut out, held or slowed down.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bans {
    /// Sources of which nothing is read.
    pub(crate) banned: Vec<Banned>,
    /// Sources that guessed at one account, and are not compared with it.
    pub(crate) held: Vec<HeldPair>,
    /// Sources that failed for many accounts, and are somebody's.
    pub(crate) slowed: Vec<SlowedSource>,
    /// Phones that try the password before the last rotation: no guess, and nobody is held for it.
    #[serde(default)]
    pub(crate) stale: Vec<StalePhone>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StalePhone {
    pub(crate) extension: String,
    /// Its name of itself, where it was there before.
    pub(crate) agent: Option<String>,
    pub(crate) source: String,
    pub(crate) since: String,
    pub(crate) last: String,
    pub(crate) tries: u32,
    /// The command that shows the password it needs.
    pub(crate) remedy: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Banned {
    /// An address, or a network of 64 bits.
    pub(crate) source: String,
    pub(crate) since: String,
    pub(crate) until: String,
    /// Counts the bans in a row: 1 for the first.
    pub(crate) times: u32,
    pub(crate) why: String,
    /// The command that undoes it.
    pub(crate) remedy: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldPair {
    pub(crate) source: String,
    pub(crate) account: String,
    /// It is a device of that account that was there before: a phone with a stale secret, most likely.
    pub(crate) known_device: bool,
    /// Phones of yours are at that address, or somebody signed in from there lately.
    #[serde(default)]
    pub(crate) home: bool,
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) times: u32,
    /// Wrong secrets that were compared.
    pub(crate) compared: u32,
    pub(crate) remedy: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SlowedSource {
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) since: String,
    pub(crate) until: String,
    #[serde(default)]
    pub(crate) why: String,
    pub(crate) remedy: String,
}
