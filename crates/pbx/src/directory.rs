//! Who is who: extensions, their devices, and what each device is allowed to be weak in.
//!
//! Read from the store at start and changed by [`crate::command::Command`] only after the change is
//! durable. Everything carries its tenant: extension 101 exists once in each.

use guard::gate::Algorithm;
use guard::id::{DeviceId, ExtensionId, TenantId};
use guard::number::ExtensionNumber;
use guard::secret::Sealed;
use pure::Utc;

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
    pub created: Utc,
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
