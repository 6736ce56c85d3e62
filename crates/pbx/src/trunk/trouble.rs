//! Why a trunk is down: in words, and what to do about it.

use std::time::Duration;

use sip::digest::{Algorithm, Refusal};

use crate::command::Mend;
use crate::directory::Trunk;
use crate::io::ConnectError;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    NotLocated,
    Connect(ConnectError),
    /// The connection was lost soon after it was opened.
    Unsteady,
    /// To REGISTER or OPTIONS.
    NoAnswer(&'static str),
    NotSent(&'static str),
    Refused(&'static str, u16),
    WrongPassword,
    UnknownAccount,
    Forbidden,
    TooWeak(Algorithm),
    /// No challenge could be read.
    Unreadable,
    /// It asks for more and more credentials.
    Insatiable,
    NoAccount,
    /// The registration was accepted and ended at once.
    NotKept,
    /// What is configured can't be written into a request.
    Unwritable,
}

/// When it is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// Soon, then more and more seldom.
    Growing,
    /// Nothing will change by itself, and repetition locks accounts.
    Long,
}

impl Trouble {
    /// Another place may do better. What the carrier itself decided is the same everywhere.
    pub(super) fn is_of_place(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Unsteady
            | Self::NoAnswer(_)
            | Self::NotSent(_)
            | Self::Refused(_, 408 | 500..=599) => true,
            Self::NotLocated
            | Self::Refused(..)
            | Self::WrongPassword
            | Self::UnknownAccount
            | Self::Forbidden
            | Self::TooWeak(_)
            | Self::Unreadable
            | Self::Insatiable
            | Self::NoAccount
            | Self::NotKept
            | Self::Unwritable => false,
        }
    }

    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::WrongPassword
            | Self::UnknownAccount
            | Self::Forbidden
            | Self::TooWeak(_)
            | Self::NoAccount
            | Self::Unwritable => Patience::Long,
            Self::NotLocated
            | Self::Connect(_)
            | Self::Unsteady
            | Self::NoAnswer(_)
            | Self::NotSent(_)
            | Self::Refused(..)
            | Self::Unreadable
            | Self::Insatiable
            | Self::NotKept => Patience::Growing,
        }
    }

    pub(super) fn mend(&self) -> Mend {
        match self {
            Self::NotLocated => Mend::Server,
            Self::Connect(ConnectError::Tls { mend, .. }) => *mend,
            Self::Connect(ConnectError::Refused(_)) => Mend::Realm,
            Self::Connect(ConnectError::Unreachable(_) | ConnectError::TimedOut)
            | Self::Unsteady => Mend::Transport,
            // A carrier that doesn't know our address says nothing, too.
            Self::NoAnswer("OPTIONS") => Mend::Account,
            Self::NoAnswer(_) => Mend::Transport,
            Self::NotSent(_) | Self::Refused(_, 408 | 500..=599) => Mend::Again,
            Self::WrongPassword | Self::Insatiable => Mend::Secret,
            Self::UnknownAccount | Self::Forbidden | Self::Unwritable => Mend::User,
            Self::TooWeak(_) => Mend::Md5,
            Self::NoAccount => Mend::Account,
            Self::Unreadable | Self::NotKept => Mend::Address,
            Self::Refused(..) => Mend::Carrier,
        }
    }

    /// For whoever administers the trunk. `whose`: its account, or words for it.
    pub(super) fn words(&self, host: &str, whose: &str) -> String {
        match self {
            Self::NotLocated => format!("no server was found under {host}"),
            Self::Connect(error) => error.to_string(),
            Self::Unsteady => "the carrier closes the connection again and again".to_owned(),
            Self::NoAnswer(method) => format!("no answer to {method}"),
            Self::NotSent(method) => format!("{method} could not be sent"),
            Self::Refused(method, status) => format!("the carrier answers {method} with {status}"),
            Self::WrongPassword => format!("the carrier refuses the password of {whose}"),
            Self::UnknownAccount => format!("the carrier doesn't know {whose} (404)"),
            Self::Forbidden => format!("the carrier refuses {whose} (403)"),
            Self::TooWeak(algorithm) => format!(
                "the carrier asks for the password with {} only, which this trunk doesn't allow",
                algorithm.token()
            ),
            Self::Unreadable => {
                "the carrier asks for the password in a way that isn't understood".to_owned()
            }
            Self::Insatiable => "the carrier asks for the password again and again".to_owned(),
            Self::NoAccount => {
                "the carrier asks for a password, and the trunk has no account".to_owned()
            }
            Self::NotKept => "the carrier accepts the registration for no time at all".to_owned(),
            Self::Unwritable => "host or account can't be written into a request".to_owned(),
        }
    }

    /// Whoever administers the trunk may read its account.
    pub(super) fn for_administrator(&self, trunk: &Trunk) -> String {
        let account = trunk.account().map(|account| format!("account {}", account.user));
        self.words(&trunk.host, account.as_deref().unwrap_or("us"))
    }

    /// The journal may not: an account is often a telephone number.
    pub(super) fn for_journal(&self, trunk: &Trunk) -> String {
        self.words(&trunk.host, "the trunk's account")
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongPassword => Self::WrongPassword,
            Refusal::NothingUsable(_) => Self::Unreadable,
            Refusal::TooWeak(algorithm) => Self::TooWeak(algorithm),
        }
    }
}

/// How long to wait after the `failures`-th failure in a row, before jitter.
pub(super) fn back_off(failures: u32) -> Duration {
    (BACK_OFF_MIN * 2u32.saturating_pow(failures.min(16))).min(BACK_OFF_MAX)
}

/// A server that restarts is back within seconds.
pub(super) const BACK_OFF_MIN: Duration = Duration::from_secs(5);
/// People wait for their telephone no longer than that after the carrier is back.
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// After a wrong password: carriers lock accounts and addresses after a handful of these.
pub(super) const LONG: Duration = Duration::from_secs(600);
