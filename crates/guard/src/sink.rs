//! Where alerts are sent: what is kept of it. How it is reached is the edge's.

use pure::Utc;
use serde::{Deserialize, Serialize};

use crate::pii::{Name, Pii};
use crate::secret::Sealed;

/// Counts up; a removed one's number may come again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SinkId(pub u32);

/// A mailbox or a program that takes alerts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sink {
    pub id: SinkId,
    pub created: Utc,
    pub channel: Channel,
    /// Sealed [`Confidence`].
    pub sealed: Sealed,
    /// PEM of the authority to trust instead of the public ones.
    pub authority: Option<String>,
    /// It may be in a private network.
    pub private: bool,
}

/// What may stand in clear. The shape is the disk's too: fields are only added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    Mail {
        to: Vec<Pii<Name>>,
        from: Pii<Name>,
        host: String,
        port: u16,
        security: Security,
        user: Option<String>,
    },
    /// Its address may hold a secret: only the host stands here.
    Webhook { host: String },
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// STARTTLS, required.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// In clear: this machine only.
    Loopback,
}

impl Channel {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mail { .. } => "mail",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// Where it leads, for people who may see it.
    pub fn to(&self) -> String {
        match self {
            Self::Mail { to, .. } => {
                let to: Vec<&str> = to.iter().map(|one| one.reveal().0.as_str()).collect();
                to.join(", ")
            }
            Self::Webhook { host } => host.clone(),
        }
    }
}

/// More is a mistake, or a list that belongs on a mail server.
pub const SINKS_MAX: usize = 16;
/// Addresses of one mail sink.
pub const RECIPIENTS_MAX: usize = 8;
