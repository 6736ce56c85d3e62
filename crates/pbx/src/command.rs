//! What an administrator can ask of a running exchange. A change is answered after it is durable.

use std::net::SocketAddr;

use guard::access::Actor;
use guard::gate::Algorithm;
use guard::id::{CallId, DeviceId, ExtensionId, TenantId};
use guard::number::ExtensionNumber;
use pure::Utc;

use crate::directory::{Device, Exceptions, Extension};
use crate::flow::{Path, TlsFacts};

#[derive(Debug)]
pub enum Command {
    Change {
        actor: Actor,
        change: Change,
    },
    /// Who is registered, and from where.
    Devices,
    /// The calls that are up.
    Calls,
    Extensions {
        tenant: TenantId,
    },
    Status,
    /// Refuse new calls (emergency excepted), end what is up with BYE, then say `Drained`.
    Drain,
}

/// A change to the directory. Secrets come sealed, with the digests derived from them: the exchange
/// never sees a secret in clear.
#[derive(Debug)]
pub enum Change {
    AddExtension {
        extension: Box<Extension>,
        credentials: Credentials,
    },
    RenameExtension {
        extension: ExtensionId,
        name: String,
    },
    /// The former secret keeps working for emergency calls until `previous_until`.
    RotateSecret {
        extension: ExtensionId,
        secret: crate::directory::Secret,
        credentials: Credentials,
        previous_until: Utc,
    },
    /// The owner looked at a secret: nothing changes, but it is written down.
    SecretRevealed {
        extension: ExtensionId,
    },
    /// Disabling and removing end the registrations at once; calls that are up go on.
    SetEnabled {
        extension: ExtensionId,
        enabled: bool,
    },
    RemoveExtension {
        extension: ExtensionId,
    },
    SetExtensionExceptions {
        extension: ExtensionId,
        exceptions: Exceptions,
    },
    SetDeviceExceptions {
        device: DeviceId,
        exceptions: Exceptions,
    },
    RemoveDevice {
        device: DeviceId,
    },
    HangUp {
        call: CallId,
    },
}

/// HA1 of one secret under each algorithm (RFC 7616 §3.4.2): password-equivalent, memory only.
#[derive(Debug)]
pub struct Credentials {
    pub md5: sip::digest::Ha1,
    pub sha256: sip::digest::Ha1,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Done,
    Refused(Refusal),
    Devices(Vec<DeviceView>),
    Calls(Vec<CallView>),
    Extensions(Vec<ExtensionView>),
    Status(StatusView),
}

/// Why a change was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    NumberTaken,
    NotFound,
    NotAllowed,
    /// The store did not take it; the running system is as it was.
    NotPersisted,
    TooMany,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ExtensionView {
    pub extension: Extension,
    pub devices: Vec<DeviceView>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DeviceView {
    pub device: Device,
    pub number: ExtensionNumber,
    /// `None`: known, but not registered now.
    pub registered: Option<Registered>,
    /// In plain words, empty where there is none: `audio may be unencrypted`, `digest MD5`.
    pub weaknesses: Vec<&'static str>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Registered {
    pub path: Path,
    pub tls: Option<TlsFacts>,
    pub algorithm: Algorithm,
    pub since: Utc,
    pub expires: Utc,
    /// Where the phone believes itself to be, if that differs from where it is.
    pub behind_nat: Option<SocketAddr>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CallView {
    pub id: CallId,
    pub tenant: TenantId,
    pub from: String,
    pub to: String,
    pub state: CallState,
    pub since: Utc,
    /// `TLS + SRTP AES_CM_128_HMAC_SHA1_80`, one for each leg.
    pub protection: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallState {
    Connecting,
    Ringing,
    Up,
    Ending,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct StatusView {
    pub extensions: usize,
    pub devices_known: usize,
    pub devices_registered: usize,
    pub calls_up: usize,
    /// Registered devices and calls with something weak about them.
    pub weak: usize,
    pub draining: bool,
}

impl Credentials {
    pub(crate) fn of(&self, algorithm: sip::digest::Algorithm) -> &sip::digest::Ha1 {
        match algorithm {
            sip::digest::Algorithm::Md5 => &self.md5,
            sip::digest::Algorithm::Sha256 => &self.sha256,
        }
    }
}
