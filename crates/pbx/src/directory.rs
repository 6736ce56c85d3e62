//! Who is who: extensions, their devices, and what each device is allowed to be weak in.
//!
//! Read from the store at start and changed by [`crate::command::Command`] only after the change is
//! durable. Everything carries its tenant: extension 101 exists once in each.

use std::net::IpAddr;
use std::time::Duration;

use guard::gate::Algorithm;
use guard::id::{DeviceId, ExtensionId, RealmId, TenantId, TrunkId};
use guard::number::ExtensionNumber;
use guard::secret::Sealed;
use pure::Utc;

use crate::flow::Transport;

/// A business on this system: its name for digest (realm) and the addresses that mean it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// The digest realm: part of every HA1, so it never changes while secrets live.
    pub realm: String,
    /// Host names and addresses that phones write in their Request-URI and From. A name that no
    /// tenant claims means the house, as long as it is the only tenant: phones are configured by
    /// address as often as by name.
    pub domains: Vec<String>,
}

/// A subscriber: a number, a name, a secret, devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    pub id: ExtensionId,
    pub tenant: TenantId,
    pub number: ExtensionNumber,
    /// Display name that other phones show.
    pub name: String,
    pub enabled: bool,
    pub secret: Secret,
    /// The secret before the last rotation: good for emergency calls only, until it expires.
    pub previous: Option<(Secret, Utc)>,
    /// What every device of this extension may be weak in.
    pub exceptions: Exceptions,
    /// The number that calls outside show: `+` and E.164, one of the tenant's own ([`Inbound`]).
    pub caller_id: Option<String>,
    pub created: Utc,
}

/// A carrier's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trunk {
    pub id: TrunkId,
    /// `None`: the operator's, open to every tenant.
    pub tenant: Option<TenantId>,
    /// Unique; what people call it.
    pub name: String,
    pub enabled: bool,
    /// Our side of it.
    pub realm: RealmId,
    /// The carrier's domain or address, and what its certificate must name.
    pub host: String,
    /// With a port only addresses are looked up; without one SRV (RFC 3263 §4.2).
    pub port: Option<u16>,
    /// `None`: NAPTR decides, among the encrypted transports unless `media` is plain.
    pub transport: Option<Transport>,
    pub access: TrunkAccess,
    /// Further addresses that its calls come from, beside those `host` resolves to.
    pub sources: Vec<IpAddr>,
    pub media: TrunkMedia,
    /// How the caller is told to this carrier.
    pub identity: TrunkIdentity,
    /// Shown where the caller has no number of its own, and for call-backs of emergency calls.
    pub default_caller_id: Option<String>,
    /// Codec names allowed, preferred first; empty: all that the relay passes.
    pub codecs: Vec<String>,
    /// Calls that the carrier takes at once. An emergency call ends another where they are full.
    pub channels: u16,
    /// Lower is tried first.
    pub priority: u16,
    /// No RTP from the carrier for so long ends the call.
    pub silence_limit: Duration,
    /// The longest a call over it may last.
    pub call_max: Duration,
    /// PEM of the authority its certificate must come from; `None`: the public ones.
    pub authority: Option<String>,
    pub created: Utc,
}

/// How the carrier knows us, and we its calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrunkAccess {
    /// We register, with a random Contact that its calls must name.
    Registration(TrunkAccount),
    /// It knows our address, and we its own; an account where it challenges calls all the same.
    Address(Option<TrunkAccount>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrunkAccount {
    /// User part of our address of record there.
    pub user: String,
    /// The name in credentials, where it differs.
    pub auth_user: Option<String>,
    pub secret: Secret,
    /// The weakest digest algorithm that is answered.
    pub weakest: Algorithm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrunkMedia {
    /// SRTP or nothing.
    Srtp,
    /// Plain RTP. Shows as a weakness wherever the trunk or its calls do.
    DangerousPlain,
}

/// Which headers tell the carrier who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrunkIdentity {
    /// P-Asserted-Identity (RFC 3325) with the caller's number.
    pub asserted: bool,
    /// The account's user stands in From, not the caller's number.
    pub from_account: bool,
    /// Ask the carrier not to show the caller (`Privacy: id`, RFC 3323), From anonymous.
    pub private: bool,
}

/// A number of ours at a carrier, and who answers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inbound {
    /// `+` and E.164: the key.
    pub number: String,
    pub tenant: TenantId,
    pub trunk: TrunkId,
    pub extension: ExtensionId,
}

/// The secret of an extension: sealed as it is stored. The digests derived from it live in the
/// registrar's memory only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    pub sealed: Sealed,
    pub since: Utc,
}

/// A phone, as it showed itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    pub id: DeviceId,
    pub tenant: TenantId,
    pub extension: ExtensionId,
    /// What tells one device from another: `+sip.instance` (RFC 5626), else the registration's
    /// Call-ID.
    pub instance: String,
    pub agent: String,
    /// From provisioning, where it is known.
    pub mac: Option<[u8; 6]>,
    pub firmware: Option<String>,
    /// The best digest algorithm it was seen to manage. `None`: not yet seen.
    pub algorithm: Option<Algorithm>,
    pub exceptions: Exceptions,
    pub first_seen: Utc,
    pub last_seen: Utc,
}

/// Weaknesses that the owner allowed, each by name. They show wherever the device or its calls do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exceptions {
    /// May send and get audio unencrypted.
    pub dangerous_plain_rtp: bool,
}

impl Exceptions {
    /// What either allows.
    pub fn or(self, other: Self) -> Self {
        Self { dangerous_plain_rtp: self.dangerous_plain_rtp || other.dangerous_plain_rtp }
    }

    /// In plain words, as they are shown beside the device and its calls.
    pub fn weaknesses(self) -> Vec<&'static str> {
        if self.dangerous_plain_rtp { vec!["audio may be unencrypted"] } else { Vec::new() }
    }
}

impl Trunk {
    /// In plain words, as they are shown beside the trunk and its calls.
    pub fn weaknesses(&self) -> Vec<&'static str> {
        let mut weak = Vec::new();
        if !self.transport.is_none_or(Transport::is_encrypted) {
            weak.push("signalling is not encrypted");
        }
        if self.media == TrunkMedia::DangerousPlain {
            weak.push("audio is not encrypted");
        } else if !self.transport.is_none_or(Transport::is_encrypted) {
            weak.push("audio keys travel in clear signalling");
        }
        if self.account().is_some_and(|account| account.weakest == Algorithm::Md5) {
            weak.push("digest may use MD5");
        }
        weak
    }

    pub fn account(&self) -> Option<&TrunkAccount> {
        match &self.access {
            TrunkAccess::Registration(account) | TrunkAccess::Address(Some(account)) => {
                Some(account)
            }
            TrunkAccess::Address(None) => None,
        }
    }
}
