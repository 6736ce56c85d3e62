//! A source that is shut out, why, and for how long.

use std::fmt;
use std::time::Duration;

use pure::Utc;
use serde::{Deserialize, Serialize};

use crate::access::Actor;
use crate::fact::{Fact, Seconds};
use crate::pii::Pii;
use crate::source::Source;

/// One ban: in memory, in the store, and as administrators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ban {
    pub source: Source,
    pub cause: BanCause,
    pub since: Utc,
    pub until: Utc,
    /// Counts the bans in a row, 1 for the first: each doubles the time.
    pub times: u32,
    /// `None`: the wall itself.
    pub by: Option<Actor>,
}

/// Why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum BanCause {
    /// It tried to sign in to so many accounts within an hour, and failed.
    Spraying { accounts: u32 },
    /// It asked for so many accounts and never answered a challenge.
    Scanning { accounts: u32 },
    /// It said itself what it is.
    Scanner { agent: String },
    /// An administrator said so, in his words.
    Administrator { why: String },
}

/// Why a source can't be shut out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protected {
    /// This machine.
    Ourselves,
    /// A carrier is there.
    Carrier,
    /// So many phones are registered there.
    Phones(usize),
    /// Somebody signed in from there within thirty days.
    SignedIn,
}

impl Ban {
    /// What the journal says of it.
    pub fn placed(&self) -> Fact {
        Fact::BanPlaced {
            cause: self.cause.clone(),
            seconds: Seconds(self.until.since(self.since).as_secs()),
            times: self.times,
            address: self.source.ip().into(),
            actor: Pii::new(self.by.clone()),
        }
    }
}

impl BanCause {
    /// The length of the first ban; each repetition doubles it, to [`BAN_MAX`].
    pub(super) fn first(&self) -> Duration {
        match self {
            Self::Spraying { .. } | Self::Scanning { .. } | Self::Administrator { .. } => BAN_FIRST,
            Self::Scanner { .. } => BAN_SCANNER,
        }
    }
}

impl fmt::Display for BanCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spraying { accounts } => {
                write!(f, "it tried to sign in to {accounts} different accounts and failed")
            }
            Self::Scanning { accounts } => {
                write!(f, "it asked for {accounts} different accounts and never signed in")
            }
            Self::Scanner { agent } => write!(f, "it is the attack tool {agent}"),
            Self::Administrator { why } => write!(f, "an administrator said so ({why})"),
        }
    }
}

impl fmt::Display for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ourselves => f.write_str("it is this machine"),
            Self::Carrier => f.write_str("a carrier is there"),
            Self::Phones(1) => f.write_str("a phone is registered there"),
            Self::Phones(count) => write!(f, "{count} phones are registered there"),
            Self::SignedIn => f.write_str("somebody signed in from there within the last 30 days"),
        }
    }
}

/// A sprayer that is shut out for an hour has lost its afternoon; an honest office that was taken for one
/// has its remedy in one command.
pub const BAN_FIRST: Duration = Duration::from_secs(3_600);
/// A scanner passes by; it is gone before that.
pub const BAN_SCANNER: Duration = Duration::from_secs(600);
/// Addresses change hands: whoever has it tomorrow has done nothing.
pub const BAN_MAX: Duration = Duration::from_secs(24 * 3_600);
