//! Incidents, and where alerts about them go.

use serde::{Deserialize, Serialize};

use super::Confidential;

/// An incident as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) incident: u64,
    /// The entry of the journal that told of it last.
    pub(crate) sequence: u64,
    /// `notice`, `warning`, `critical`
    pub(crate) severity: String,
    /// `guessing`, `fraud`, `emergency` and so on.
    pub(crate) what: String,
    pub(crate) open: bool,
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) words: String,
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) findings: u32,
    pub(crate) events: u64,
    pub(crate) done: String,
    pub(crate) next: String,
    pub(crate) by: Option<String>,
    /// All of it as a mail says it; only where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) text: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sink {
    pub(crate) sink: u32,
    /// `mail` or `webhook`
    pub(crate) kind: String,
    pub(crate) to: String,
    /// A mail server's `host:port`.
    pub(crate) server: Option<String>,
    pub(crate) created: String,
    /// `not-tried`, `works` or `fails`
    #[serde(default)]
    pub(crate) state: String,
    /// Since when it works, or fails.
    #[serde(default)]
    pub(crate) since: Option<String>,
    /// It has taken something, and everything since.
    pub(crate) works: bool,
    /// Why not.
    pub(crate) why: Option<String>,
    /// Tries in vain since it last worked.
    pub(crate) failures: u32,
    /// Alerts that it has not taken yet.
    pub(crate) waiting: usize,
    /// A test that it did not take, if it took nothing since: when, and why not.
    #[serde(default)]
    pub(crate) test_failed: Option<String>,
    #[serde(default)]
    pub(crate) test_why: Option<String>,
    /// What to do about it, where something is to be done.
    #[serde(default)]
    pub(crate) remedy: Option<String>,
}

/// A sink as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSink {
    pub(crate) channel: NewChannel,
    /// The account's password, or what requests are signed with.
    pub(crate) secret: Option<Confidential>,
    /// PEM.
    pub(crate) authority: Option<String>,
    pub(crate) private: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum NewChannel {
    Mail {
        to: Vec<String>,
        from: String,
        /// `host` or `host:port`
        server: String,
        security: MailSecurity,
        user: Option<String>,
    },
    Webhook {
        url: Confidential,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MailSecurity {
    StartTls,
    Tls,
    Loopback,
}
