//! Carriers, numbers at them, and what calls over them cost.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What is said of a trunk: when it is added, the rest has its safe default; when it is changed, the
/// rest stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrunkSettings {
    /// `HOST` or `HOST:PORT`; IPv6 with a port in brackets.
    pub(crate) server: Option<String>,
    pub(crate) transport: Option<TrunkTransport>,
    pub(crate) access: Option<TrunkAccess>,
    pub(crate) user: Option<String>,
    /// Empty: the same as `user`.
    pub(crate) auth_user: Option<String>,
    pub(crate) secret: Option<Confidential>,
    /// Name of the realm that faces the carrier.
    pub(crate) realm: Option<String>,
    /// `+` and E.164; empty: none.
    pub(crate) caller_id: Option<String>,
    pub(crate) asserted: Option<bool>,
    pub(crate) from_account: Option<bool>,
    pub(crate) private: Option<bool>,
    /// Empty: all that the relay passes.
    pub(crate) codecs: Option<Vec<String>>,
    pub(crate) channels: Option<u16>,
    pub(crate) priority: Option<u16>,
    pub(crate) silence_limit_seconds: Option<u64>,
    pub(crate) longest_seconds: Option<u64>,
    /// PEM of the authority to trust; empty: the public ones.
    pub(crate) authority: Option<String>,
    pub(crate) plain_rtp: Option<bool>,
    pub(crate) allow_md5: Option<bool>,
}

/// How SIP travels to a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TrunkTransport {
    Tls,
    Tcp,
    Udp,
    /// What the carrier's DNS (NAPTR) prefers, encrypted unless plain audio is allowed.
    Auto,
}

/// How the carrier knows us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TrunkAccess {
    Register,
    /// Addresses that its calls come from, beside those of its server.
    Address(Vec<IpAddr>),
}

/// A secret on its way over the socket: wiped when dropped, masked in Debug.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Confidential(pub(crate) Zeroizing<String>);

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confidential(..)")
    }
}

impl Serialize for Confidential {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Confidential {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trunk {
    pub(crate) name: String,
    pub(crate) enabled: bool,
    /// `disabled`, `connecting`, `up`, `down`
    pub(crate) state: String,
    pub(crate) since: Option<String>,
    /// Until when the registration lasts.
    pub(crate) expires: Option<String>,
    /// Why it is down, and when it is tried again.
    pub(crate) why: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) server: String,
    /// `tls`, `tcp`, `udp` or `auto`, as configured.
    pub(crate) transport: String,
    /// `registration` or `address`
    pub(crate) access: String,
    /// Further addresses that its calls come from.
    pub(crate) addresses: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) auth_user: Option<String>,
    pub(crate) caller_id: Option<String>,
    pub(crate) asserted_identity: bool,
    pub(crate) from_account: bool,
    pub(crate) private: bool,
    /// Empty: all that the relay passes.
    pub(crate) codecs: Vec<String>,
    pub(crate) channels: u16,
    /// Calls on it now.
    pub(crate) calls: usize,
    pub(crate) priority: u16,
    pub(crate) silence_limit_seconds: u64,
    pub(crate) longest_seconds: u64,
    /// Whether it trusts an authority of its own instead of the public ones.
    pub(crate) own_authority: bool,
    /// `srtp` or `plain`
    pub(crate) media: String,
    pub(crate) md5: bool,
    /// Where its next call would go: `TLS 192.0.2.7:5061`.
    pub(crate) places: Vec<String>,
    /// Version and suite that the connection negotiated.
    pub(crate) tls: Option<String>,
    pub(crate) weaknesses: Vec<String>,
    pub(crate) created: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrunkTest {
    pub(crate) name: String,
    pub(crate) passed: bool,
    pub(crate) steps: Vec<TestStep>,
    pub(crate) weaknesses: Vec<String>,
    /// What mends each of the weaknesses, in their order.
    #[serde(default)]
    pub(crate) remedies: Vec<String>,
    /// It is out of service, and was brought up for the test alone.
    #[serde(default)]
    pub(crate) disabled: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestStep {
    /// `look-up`, `connection`, `registration`, `options`
    pub(crate) what: String,
    pub(crate) passed: bool,
    /// A sentence.
    pub(crate) found: String,
    /// What mends it, where it failed: words, or words and a command.
    #[serde(default)]
    pub(crate) remedy: Option<String>,
}

/// A number of ours at a carrier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) number: String,
    pub(crate) trunk: String,
    pub(crate) extension: String,
}

/// A tariff. Amounts are decimal text in the deck's currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Digits without `+`; empty for an estimate.
    pub(crate) prefix: String,
    pub(crate) name: String,
    pub(crate) per_minute: String,
    pub(crate) connect: String,
    /// Seconds billed at least, and the step after them.
    pub(crate) first: u16,
    pub(crate) increment: u16,
    /// `deck` or `estimate`
    pub(crate) source: String,
}

/// What was asked of the deck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// Version of the deck; 0: nothing was imported.
    pub(crate) version: u64,
    pub(crate) currency: String,
    /// Lines of the whole deck.
    pub(crate) lines: usize,
    /// What a call to the number asked for would cost; `None`: nobody knows, so it is denied.
    pub(crate) price: Option<Rate>,
    /// The class and country that the number asked for was given.
    pub(crate) class: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) rates: Vec<Rate>,
}

/// What an import did, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RatesChange {
    pub(crate) saved: bool,
    pub(crate) version: u64,
    pub(crate) currency: String,
    pub(crate) lines: usize,
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) dearer: usize,
    pub(crate) cheaper: usize,
    /// Same price, other name or steps.
    pub(crate) otherwise: usize,
    /// What becomes less strict by it, a sentence each; empty: nothing.
    #[serde(default)]
    pub(crate) loosens: Vec<String>,
    /// The lowest and the highest price a minute.
    #[serde(default)]
    pub(crate) lowest: Option<String>,
    #[serde(default)]
    pub(crate) highest: Option<String>,
    /// How many lines pass the highest price of each role.
    #[serde(default)]
    pub(crate) passes: Vec<Passes>,
    /// Lines of the file that are not in force yet, and when the first of them is (`2026-12-01`).
    #[serde(default)]
    pub(crate) later: usize,
    #[serde(default)]
    pub(crate) later_first: Option<String>,
    /// Prefixes that keep their price of the former list until then.
    #[serde(default)]
    pub(crate) later_kept: usize,
    pub(crate) before: super::rules::AtMost,
    pub(crate) after: super::rules::AtMost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passes {
    pub(crate) role: String,
    pub(crate) price_max: String,
    pub(crate) lines: usize,
}

/// A leg outside: what it was judged by and what it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Toll {
    pub(crate) leg: String,
    pub(crate) trunk: String,
    /// As the trunk was told to dial it.
    pub(crate) number: String,
    pub(crate) class: String,
    pub(crate) country: Option<String>,
    pub(crate) rule: String,
    pub(crate) policy: u64,
    pub(crate) rate: Rate,
    pub(crate) answered: Option<String>,
    /// Seconds that are charged.
    pub(crate) seconds: u64,
    pub(crate) currency: String,
    pub(crate) cost: String,
    /// Set aside at most.
    pub(crate) held: String,
}

/// What costs are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CostBy {
    Extension,
    Country,
    Trunk,
    Day,
}

/// Sums over every call of the time asked for, dearest first; by day: the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    pub(crate) by: String,
    pub(crate) lines: Vec<Cost>,
    /// One a currency.
    pub(crate) totals: Vec<Cost>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Extension, country, trunk or day; `-` where there is none; `all` in a total.
    pub(crate) of: String,
    pub(crate) currency: String,
    /// Legs outside, failed attempts included.
    pub(crate) legs: u64,
    pub(crate) answered: u64,
    pub(crate) seconds: u64,
    pub(crate) cost: String,
}
