//! What an administrator can ask of a running exchange. A change is answered after it is durable.

use std::net::SocketAddr;

use std::sync::Arc;

use guard::access::Actor;
use guard::gate::{Algorithm, Decision, Paid, PolicyVersion};
use guard::id::{CallId, DeviceId, ExtensionId, TenantId, TrunkId};
use guard::money::{Currency, Money};
use guard::number::{Class, Country, ExtensionNumber};
use guard::policy::{Policy, Scope};
use guard::rate::{Rate, RateDeck};
use guard::source::Source;
use guard::wall::{Ban, Held, Protected, Slowed};
use pure::Utc;

use crate::directory::{Device, Exceptions, Extension, Inbound, Trunk};
use crate::flow::{Path, TlsFacts};
use crate::io::Place;
use crate::registrar::Stale;

/// Which extensions of a tenant; what doesn't exist is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    All,
    Numbered(String),
    Ids(Vec<ExtensionId>),
}

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
    /// In the order of their numbers. A house may have thousands: whoever is after one asks for that one.
    Extensions {
        tenant: TenantId,
        which: Which,
    },
    Status,
    Trunks,
    /// Numbers of ours at carriers.
    Inbound,
    /// Registers anew where the trunk registers, asks OPTIONS, places no call, and answers with what was
    /// found, within [`Settings::trunk_test_timeout`](crate::settings::Settings).
    TestTrunk {
        trunk: TrunkId,
    },
    /// The policy and the rate deck in force.
    Policy,
    /// What the gate would say of this number from this extension now, and why. Changes nothing.
    Explain {
        extension: ExtensionId,
        dialled: String,
    },
    Exposure,
    /// What it would be under these, over the money spent now: asked before they are put into effect.
    ExposureUnder {
        policy: Arc<Policy>,
        deck: Arc<RateDeck>,
    },
    /// What it would be once this account's spending is forgotten.
    ExposureReset {
        account: Scope,
    },
    /// What is spent and left, account by account.
    Budgets,
    /// Who is shut out, held or slowed down, and why.
    Bans,
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
    /// Disabling and removing end the registrations at once; calls that are up go on, those outside until
    /// the end of what is paid for.
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
    /// The number that an extension shows outside: must be one of its tenant's own.
    SetCallerId {
        extension: ExtensionId,
        caller_id: Option<String>,
    },
    AddTrunk {
        trunk: Box<Trunk>,
        secret: Option<TrunkSecret>,
    },
    /// Replaces what is configured of a trunk; calls that are up go on. `secret`: `None` keeps the one
    /// there is.
    SetTrunk {
        trunk: Box<Trunk>,
        secret: Option<TrunkSecret>,
    },
    RemoveTrunk {
        trunk: TrunkId,
    },
    /// Adds a number or moves it.
    SetInbound {
        inbound: Inbound,
    },
    RemoveInbound {
        number: String,
    },
    /// The next version of the policy, made from version `after`; refused where that is not the one in
    /// force. `what` says it in words, for the journal: before and after.
    SetPolicy {
        after: PolicyVersion,
        policy: Arc<Policy>,
        what: String,
    },
    SetDeck {
        deck: Arc<RateDeck>,
    },
    /// Forgets what an account has spent in its present windows.
    ResetBudget {
        account: Scope,
    },
    /// Shuts a source out. Refused where it is somebody's.
    Ban(Ban),
    /// Forgets what is held against a source, or against one account from there.
    Unban {
        source: Source,
        account: Option<String>,
    },
}

/// A trunk's password in clear, in memory only: what a challenge's realm is joined with when it comes.
pub struct TrunkSecret(pub zeroize::Zeroizing<String>);

impl std::fmt::Debug for TrunkSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrunkSecret(..)")
    }
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
    Trunks(Vec<TrunkView>),
    Inbound(Vec<Inbound>),
    TrunkTested(TrunkTest),
    Policy(Arc<Policy>, Arc<RateDeck>),
    Explained(Box<Explanation>),
    Exposure(Box<guard::exposure::Exposure>),
    Budgets(Vec<guard::ledger::Account>),
    Bans(Bans),
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
    /// The policy has changed since it was read.
    Outdated,
    /// The number is none of the tenant's own.
    NotOurNumber,
    /// Something else still refers to it (a trunk with numbers).
    InUse,
    /// It is somebody's, and is never shut out.
    Protected(Protected),
}

/// What the wall does now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bans {
    pub bans: Vec<Ban>,
    pub held: Vec<Held>,
    pub slowed: Vec<Slowed>,
    /// Phones that try the password before the last rotation.
    pub stale: Vec<Stale>,
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
pub struct TrunkView {
    pub trunk: Trunk,
    pub state: TrunkState,
    /// Where its next call would go; empty: nowhere.
    pub places: Vec<Place>,
    /// What the connection really negotiated.
    pub tls: Option<TlsFacts>,
    pub calls: usize,
    pub weaknesses: Vec<&'static str>,
}

/// What is known of a trunk's health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrunkState {
    Disabled,
    /// Being looked up, connected or registered.
    Connecting,
    /// Registered or answering, since when.
    Up {
        since: Utc,
        expires: Option<Utc>,
    },
    /// In words, and when it is tried again.
    Down {
        why: String,
        since: Utc,
        retry: Utc,
    },
}

/// What a test of a trunk found, step by step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrunkTest {
    pub steps: Vec<TestStep>,
    pub weaknesses: Vec<String>,
    pub passed: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestStep {
    /// `look-up`, `connection`, `registration`, `options`.
    pub what: &'static str,
    pub passed: bool,
    /// A sentence.
    pub found: String,
    /// What mends it, where it failed.
    pub mend: Option<Mend>,
}

/// What mends a trunk: a setting, or somebody else. The command line has the words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mend {
    /// Host or port of the carrier.
    Server,
    /// The name that the carrier's certificate bears.
    ServerName,
    /// Server, port or transport: nothing of the kind answers there.
    Transport,
    /// The carrier's own authority.
    Authority,
    /// Our side of it.
    Realm,
    /// The account's name.
    User,
    Secret,
    /// An account where there is none.
    Account,
    /// Digest with MD5.
    Md5,
    /// To be known by our address instead of registering.
    Address,
    /// This host: its clock, or what it trusts.
    Host,
    /// The carrier alone can.
    Carrier,
    /// It may pass.
    Again,
}

impl Mend {
    pub const ALL: [Self; 13] = [
        Self::Server,
        Self::ServerName,
        Self::Transport,
        Self::Authority,
        Self::Realm,
        Self::User,
        Self::Secret,
        Self::Account,
        Self::Md5,
        Self::Address,
        Self::Host,
        Self::Carrier,
        Self::Again,
    ];
}

/// What the gate would say, and what it would look at.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    /// `emergency`, `extension 102`, or the number as the trunk would dial it.
    pub destination: String,
    pub class: Option<Class>,
    pub country: Option<Country>,
    pub role: String,
    pub decision: Decision,
    pub permitted: bool,
    /// A sentence: why, with the figures that decided.
    pub why: String,
    pub rate: Option<Rate>,
    /// What would be set aside before it rings, and the seconds that pays for.
    pub first: Option<Paid>,
    /// The trunks that would be tried, in order.
    pub trunks: Vec<String>,
    /// The extension that would dial is out of service: its phones can't sign in.
    pub disabled: bool,
    /// Why no trunk can carry it now, where it needs one: it would fail though it is allowed.
    pub no_way: Option<NoWay>,
}

/// Why nothing can leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoWay {
    /// There is no trunk.
    NoTrunk,
    /// Every trunk is out of service.
    AllDisabled,
    /// Those in service are down.
    AllDown,
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
    /// Money set aside by now.
    pub held: Option<(Money, Currency)>,
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
    pub trunks: usize,
    pub trunks_up: usize,
    pub draining: bool,
    /// Why a call for help could not leave now.
    pub help_no_way: Option<NoWay>,
    /// Failed sign-ins that no fact has told yet.
    pub sign_ins_untold: u64,
}

impl Credentials {
    pub(crate) fn of(&self, algorithm: sip::digest::Algorithm) -> &sip::digest::Ha1 {
        match algorithm {
            sip::digest::Algorithm::Md5 => &self.md5,
            sip::digest::Algorithm::Sha256 => &self.sha256,
        }
    }
}
