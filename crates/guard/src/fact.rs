//! The one catalogue of events. It feeds logs, metrics, alerts, exports and the journal.
//!
//! Each fact has a number that never changes and a name that never changes; a test holds both as
//! text. Numbers are grouped: 100 the node, 200 configuration, 300 extensions and secrets, 400
//! devices and registration, 500 calls, 600 media, 700 the journal itself, 800 incidents and alerts. What a newer version
//! wrote is read as [`Fact::Unknown`], never refused.
//!
//! A personal field is a [`Pii`]: masked wherever it is printed, sealed in the journal under the key
//! of its [`Holder`].

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::Actor;
use crate::cause::{Disposition, EndedBy};
use crate::gate::{Algorithm, Origin, PolicyVersion, Rule};
use crate::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, TrunkId};
use crate::incident::What;
use crate::ledger::Window;
use crate::money::Money;
use crate::number::EmergencyKind;
use crate::pii::{Address, Instance, Name, Number, Pii};
use crate::wall::BanCause;

/// How loud a fact is. `Warn` may wake someone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Info,
    Notice,
    Warn,
    Error,
}

/// Whose key seals a personal field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Holder {
    Extension(ExtensionId),
    Device(DeviceId),
    /// Somebody we have no record of: erased by the month.
    Stranger,
    Administrator,
}

/// A fact that a newer version wrote.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Unknown {
    #[serde(default)]
    pub number: u16,
    #[serde(flatten)]
    pub raw: Map<String, Value>,
}

/// Why a digest or certificate didn't prove its sender. A stale nonce is no failure and no fact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthenticationFailure {
    /// The response doesn't fit; whether the account exists is sealed.
    WrongResponse,
    /// It fits the secret before the last rotation: no guess, a phone that was not told of the new one.
    FormerSecret,
    /// A nonce count was used twice: a replay, or a broken phone.
    Replay,
    /// The credentials are for another account than the one named in the request.
    WrongAccount,
    /// The algorithm isn't allowed for this device.
    WeakAlgorithm,
    Disabled,
    Certificate,
}

/// How a peer broke the protocol. Kept coarse: the parser's own counters know the details.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationKind {
    Malformed,
    TooLarge,
    /// Two readings of one message are possible (framing, repeated headers): smuggling.
    Ambiguous,
    /// A request for a dialog or transaction that isn't its sender's.
    Forged,
    OutOfOrder,
    Flood,
    Tls,
}

/// What a device is allowed though it weakens safety.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exception {
    /// Signalling without TLS.
    PlainSignalling,
    /// Media without SRTP.
    PlainMedia,
    /// Digest with MD5 only.
    Md5,
}

/// Why a source is not shut out any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifted {
    Expired,
    Administrator,
    /// It is a carrier's, or a phone's, by now.
    Standing,
    /// So many others of its neighbourhood are shut out that the table was full.
    Crowded,
}

impl fmt::Display for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its time is over",
            Self::Administrator => "an administrator said so",
            Self::Standing => "it is a carrier's or a phone's",
            Self::Crowded => "too many of its neighbours are",
        })
    }
}

/// A time span. As a number in JSON, in words in a sentence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// Whether a source is slowed down because it is somebody's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slowed(pub bool);

/// What a leg was allowed though it is weaker for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Used(pub Vec<Exception>);

/// Incidents that an alert was about, by their numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incidents(pub Vec<u64>);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            all if all >= 172_800 && all % 86_400 == 0 => (all / 86_400, "day"),
            all if all >= 3_600 && all % 3_600 == 0 => (all / 3_600, "hour"),
            all if all >= 60 && all % 60 == 0 => (all / 60, "minute"),
            all => (all, "second"),
        };
        let s = if count == 1 { "" } else { "s" };
        write!(f, "{count} {unit}{s}")
    }
}

impl fmt::Display for Slowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "; it is slowed down and not shut out" } else { "" })
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, one) in self.0.iter().enumerate() {
            write!(f, "{}{one}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Incidents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0.len() == 1 { "alert" } else { "alerts" };
        f.write_str(s)?;
        for (at, one) in self.0.iter().enumerate() {
            write!(f, "{} {one}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// How a caller for help is known, strongest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    Secret,
    FormerSecret,
    /// It speaks on the very path where a device is registered now.
    Path,
    /// A device registered from its address before. It proved nothing.
    Address,
    /// The owner opened help to strangers.
    Nothing,
}

/// What an earlier version wrote doesn't say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallerKnown(pub Option<KnownBy>);

impl KnownBy {
    /// Whether it is no more than somebody at an address.
    pub fn proved_nothing(self) -> bool {
        match self {
            Self::Address | Self::Nothing => true,
            Self::Secret | Self::FormerSecret | Self::Path => false,
        }
    }
}

impl fmt::Display for CallerKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "",
            Some(KnownBy::Secret) => ", known by its secret",
            Some(KnownBy::FormerSecret) => ", known by its former secret",
            Some(KnownBy::Path) => ", known by the path where it is registered",
            Some(KnownBy::Address) => ": somebody at its address, who proved nothing",
            Some(KnownBy::Nothing) => ": somebody unknown, who proved nothing",
        })
    }
}

/// What was changed of an extension.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionChange {
    Number,
    Name,
    Enabled,
    Role,
    /// The number it shows outside.
    CallerId,
    Settings,
}

impl fmt::Display for AuthenticationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongResponse => "wrong password",
            Self::FormerSecret => "the former password",
            Self::Replay => "a nonce count used twice",
            Self::WrongAccount => "credentials of another account",
            Self::WeakAlgorithm => "an algorithm that is not allowed",
            Self::Disabled => "the extension is out of service",
            Self::Certificate => "its certificate",
        })
    }
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed messages",
            Self::TooLarge => "messages too large",
            Self::Ambiguous => "messages with two readings",
            Self::Forged => "requests for what is not its own",
            Self::OutOfOrder => "messages out of order",
            Self::Flood => "a flood",
            Self::Tls => "broken TLS",
        })
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlainSignalling => "signalling without TLS",
            Self::PlainMedia => "audio without encryption",
            Self::Md5 => "digest with MD5",
        })
    }
}

impl fmt::Display for ExtensionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "its number",
            Self::Name => "its name",
            Self::Enabled => "back in service",
            Self::Role => "its role",
            Self::CallerId => "the number it shows outside",
            Self::Settings => "its settings",
        })
    }
}

/// Builds the catalogue: `NUMBER Severity Variant "name" { public } personal { field: Type => holder }
/// "sentence"`. One declaration a fact keeps number, name, sentence and what is personal together;
/// personal fields become [`Pii`] of the type written.
macro_rules! facts {
    ($(
        $(#[$doc:meta])*
        $number:literal $severity:ident $variant:ident $name:literal
        { $($field:ident: $type:ty),* $(,)? }
        personal { $($secret:ident: $secret_type:ty => $holder:expr),* $(,)? }
        $sentence:literal
    )*) => {
        /// Something that happened.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "fact")]
        pub enum Fact {
            $(
                $(#[$doc])*
                #[serde(rename = $name)]
                $variant { $($field: $type,)* $($secret: Pii<$secret_type>,)* },
            )*
            /// Written by a newer version.
            #[serde(untagged)]
            Unknown(Unknown),
        }

        impl Fact {
            /// Every number and name, in the order of numbers.
            pub const CATALOGUE: &'static [(u16, &'static str)] = &[$(($number, $name),)*];

            pub fn number(&self) -> u16 {
                match self {
                    $(Self::$variant { .. } => $number,)*
                    Self::Unknown(unknown) => unknown.number,
                }
            }

            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                    Self::Unknown(_) => "unknown",
                }
            }

            pub fn severity(&self) -> Severity {
                match self {
                    $(Self::$variant { .. } => Severity::$severity,)*
                    Self::Unknown(_) => Severity::Info,
                }
            }

            /// The personal fields and whose they are.
            #[allow(unused_variables, reason = "not every holder is named by another field")]
            pub fn personal(&self) -> Vec<(&'static str, Holder)> {
                match self {
                    $(Self::$variant { $($field,)* $($secret,)* } => {
                        vec![$((stringify!($secret), $holder),)*]
                    })*
                    Self::Unknown(_) => Vec::new(),
                }
            }

            /// The fact for people, personal fields masked.
            #[allow(unused_variables, reason = "not every sentence names every field")]
            fn write_masked(&self, f: &mut dyn fmt::Write) -> fmt::Result {
                match self {
                    $(Self::$variant { $($field,)* $($secret,)* } => write!(f, $sentence),)*
                    Self::Unknown(unknown) => {
                        write!(f, "A newer version recorded fact {}.", unknown.number)
                    }
                }
            }

            /// The fact for people who may see personal data.
            #[allow(unused_variables, reason = "not every sentence names every field")]
            fn write_revealed(&self, f: &mut dyn fmt::Write) -> fmt::Result {
                match self {
                    $(Self::$variant { $($field,)* $($secret,)* } => {
                        $(let $secret = $secret.reveal();)*
                        write!(f, $sentence)
                    })*
                    Self::Unknown(_) => self.write_masked(f),
                }
            }
        }
    };
}

facts! {
    100 Notice NodeStarted "node-started"
    { node: NodeId, version: String } personal {}
    "Node {node} started with version {version}."

    101 Notice NodeStopped "node-stopped"
    { node: NodeId, calls_ended: u32 } personal {}
    "Node {node} stopped and ended {calls_ended} calls."

    102 Warn CrashRecovered "crash-recovered"
    { node: NodeId, calls_interrupted: u32, legs_ended: u32 } personal {}
    "Node {node} had crashed: {calls_interrupted} calls were interrupted, {legs_ended} legs ended."

    103 Error PanicContained "panic-contained"
    { node: NodeId, part: String, message: String } personal {}
    "A fault in {part} was contained: {message}"

    104 Notice DrainStarted "drain-started"
    { node: NodeId, calls_up: u32 } personal {}
    "Node {node} takes no new calls except emergency; {calls_up} calls are up."

    105 Error PersistFailed "persist-failed"
    { what: String, error: String } personal {}
    "Writing {what} failed: {error}"

    106 Notice KernelTableUp "kernel-table-up"
    { how: String } personal {}
    "The kernel drops floods and banned sources for us: {how}"

    107 Warn KernelTableUnavailable "kernel-table-unavailable"
    { why: String } personal {}
    "The kernel's table is not used, the process does its work: {why}"

    200 Notice ConfigurationAccepted "configuration-accepted"
    { fingerprint: String } personal { actor: Actor => Holder::Administrator }
    "{actor} put a configuration into effect ({fingerprint})."

    201 Warn ConfigurationRefused "configuration-refused"
    { reason: String } personal { actor: Actor => Holder::Administrator }
    "A configuration from {actor} was refused, the running one stays: {reason}"

    202 Warn PolicyChanged "policy-changed"
    { version: PolicyVersion, change: String } personal { actor: Actor => Holder::Administrator }
    "{actor} changed the policy to version {version}: {change}"

    203 Warn RatesChanged "rates-changed"
    { version: u64, lines: u32 } personal { actor: Actor => Holder::Administrator }
    "{actor} put rate deck {version} into effect, with {lines} lines."

    204 Warn BudgetReset "budget-reset"
    { account: String, forgotten: Money } personal { actor: Actor => Holder::Administrator }
    "{actor} set what {account} has spent to zero; it was {forgotten}."

    205 Error ChangeRefused "change-refused"
    { change: String, why: String } personal { actor: Actor => Holder::Administrator }
    "A change by {actor} ({change}) was refused, and nothing was changed: {why}"

    300 Notice ExtensionAdded "extension-added"
    { extension: ExtensionId, number: String }
    personal { name: Name => Holder::Extension(*extension), actor: Actor => Holder::Administrator }
    "{actor} added extension {number}, {name}."

    301 Notice ExtensionChanged "extension-changed"
    { extension: ExtensionId, number: String, change: ExtensionChange }
    personal { actor: Actor => Holder::Administrator }
    "{actor} changed extension {number}: {change}."

    302 Notice ExtensionDisabled "extension-disabled"
    { extension: ExtensionId, number: String }
    personal { actor: Actor => Holder::Administrator }
    "{actor} disabled extension {number}."

    303 Notice ExtensionRemoved "extension-removed"
    { extension: ExtensionId, number: String }
    personal { actor: Actor => Holder::Administrator }
    "{actor} removed extension {number}."

    306 Warn PhonesExceptionGranted "phones-exception-granted"
    { extension: ExtensionId, number: String, exception: Exception }
    personal { actor: Actor => Holder::Administrator }
    "{actor} allowed all phones of extension {number} a weakness: {exception}."

    307 Notice PhonesExceptionWithdrawn "phones-exception-withdrawn"
    { extension: ExtensionId, number: String, exception: Exception }
    personal { actor: Actor => Holder::Administrator }
    "{actor} withdrew a weakness of all phones of extension {number}: {exception}."

    310 Notice SecretGenerated "secret-generated"
    { extension: ExtensionId, number: String }
    personal { actor: Actor => Holder::Administrator }
    "{actor} had a secret generated for extension {number}."

    311 Notice SecretRotated "secret-rotated"
    { extension: ExtensionId, number: String }
    personal { actor: Actor => Holder::Administrator }
    "{actor} replaced the secret of extension {number}."

    312 Warn SecretRevealed "secret-revealed"
    { extension: ExtensionId, number: String }
    personal { actor: Actor => Holder::Administrator }
    "{actor} looked at the secret of extension {number}."

    320 Warn TrunkAdded "trunk-added"
    { trunk: TrunkId, name: String, host: String } personal { actor: Actor => Holder::Administrator }
    "{actor} added trunk {name} to {host}."

    321 Warn TrunkChanged "trunk-changed"
    { trunk: TrunkId, name: String, change: String } personal { actor: Actor => Holder::Administrator }
    "{actor} changed trunk {name}: {change}"

    322 Warn TrunkRemoved "trunk-removed"
    { trunk: TrunkId, name: String } personal { actor: Actor => Holder::Administrator }
    "{actor} removed trunk {name}."

    323 Notice InboundChanged "inbound-changed"
    { trunk: TrunkId, extension: Option<ExtensionId> }
    personal { number: Number => Holder::Administrator, actor: Actor => Holder::Administrator }
    "{actor} changed who answers {number}."

    400 Notice DeviceFirstSeen "device-first-seen"
    { device: DeviceId, extension: ExtensionId, agent: String }
    personal {
        instance: Option<Instance> => Holder::Device(*device),
        address: Address => Holder::Device(*device),
    }
    "A new device ({agent}) signed in from {address}."

    401 Warn ExceptionGranted "exception-granted"
    { device: DeviceId, exception: Exception } personal { actor: Actor => Holder::Administrator }
    "{actor} allowed device {device} a weakness: {exception}."

    402 Notice ExceptionWithdrawn "exception-withdrawn"
    { device: DeviceId, exception: Exception } personal { actor: Actor => Holder::Administrator }
    "{actor} withdrew a weakness of device {device}: {exception}."

    410 Info Registered "registered"
    { device: DeviceId, extension: ExtensionId, transport: String, algorithm: Option<Algorithm>, expires_seconds: u32 }
    personal { address: Address => Holder::Device(*device) }
    "A device of extension {extension} registered over {transport} from {address}."

    411 Info RegistrationRefreshed "registration-refreshed"
    { device: DeviceId, extension: ExtensionId, expires_seconds: u32 } personal {}
    "A device of extension {extension} refreshed its registration."

    412 Info RegistrationExpired "registration-expired"
    { device: DeviceId, extension: ExtensionId } personal {}
    "The registration of a device of extension {extension} expired."

    413 Info RegistrationRemoved "registration-removed"
    { device: DeviceId, extension: ExtensionId } personal {}
    "A device of extension {extension} signed off."

    414 Info FlowReplaced "flow-replaced"
    { device: DeviceId, extension: ExtensionId }
    personal { address: Address => Holder::Device(*device) }
    "A device of extension {extension} came back over a new connection from {address}."

    415 Info FlowLost "flow-lost"
    { device: DeviceId, extension: ExtensionId } personal {}
    "The connection of a device of extension {extension} was lost."

    420 Notice AuthenticationFailed "authentication-failed"
    { reason: AuthenticationFailure, failures: u32 }
    personal {
        account: Name => Holder::Stranger,
        // Sealed and masked: nobody outside the journal learns which accounts exist.
        account_exists: Option<bool> => Holder::Stranger,
        address: Address => Holder::Stranger,
    }
    "Signing in as {account} from {address} failed ({failures} × {reason})."

    421 Warn BanPlaced "ban-placed"
    { cause: BanCause, seconds: Seconds, times: u32 }
    personal { address: Address => Holder::Stranger, actor: Option<Actor> => Holder::Administrator }
    "{address} is shut out for {seconds}: {cause}."

    422 Notice BanLifted "ban-lifted"
    { why: Lifted }
    personal { address: Address => Holder::Stranger, actor: Option<Actor> => Holder::Administrator }
    "{address} is not shut out any more: {why}."

    423 Warn GuessingHeld "guessing-held"
    { failures: u32, seconds: Seconds, known_device: bool }
    personal {
        account: Name => Holder::Stranger,
        account_exists: Option<bool> => Holder::Stranger,
        address: Address => Holder::Stranger,
    }
    "After {failures} wrong passwords for {account}, what {address} tries there is not compared for {seconds}."

    424 Notice ScannerSeen "scanner-seen"
    { sign: BanCause, proved: Option<bool> } personal { address: Address => Holder::Stranger }
    "{address} scans: {sign}."

    425 Warn SprayingSeen "spraying-seen"
    { accounts: u32, slowed: Slowed } personal { address: Address => Holder::Stranger }
    "{address} failed to sign in to {accounts} different accounts{slowed}."

    426 Notice HoldLifted "hold-lifted"
    {}
    personal {
        account: Name => Holder::Stranger,
        address: Address => Holder::Stranger,
        actor: Actor => Holder::Administrator,
    }
    "{actor} lets {address} try {account} again."

    430 Notice ViolationSeen "violation-seen"
    { kind: ViolationKind, count: u32, proved: Option<bool> } personal { address: Address => Holder::Stranger }
    "{address} broke the protocol ({count} × {kind})."

    431 Notice StrangersShed "strangers-shed"
    { banned: u64, source_rate: u64, strangers_total: u64, no_room: u64, kernel: u64 }
    personal { loudest: Option<Address> => Holder::Stranger }
    "Packets dropped unread within a minute: {banned} of banned sources, {source_rate} over a source's rate, {strangers_total} over what strangers may send together, {no_room} without room, {kernel} by the kernel."

    432 Notice StrangersSummed "strangers-summed"
    { what: String, count: u64 } personal { loudest: Address => Holder::Stranger }
    "Within a minute, beyond what is told source by source: {what}, {count} times, most often from {loudest}."

    440 Notice TrunkUp "trunk-up"
    { trunk: TrunkId, name: String, how: String } personal {}
    "Trunk {name} is up: {how}"

    441 Warn TrunkDown "trunk-down"
    { trunk: TrunkId, name: String, why: String } personal {}
    "Trunk {name} is down: {why}"

    500 Info GateDecided "gate-decided"
    { call: CallId, leg: LegId, origin: Origin, extension: Option<ExtensionId>, permitted: bool, rule: Rule, policy: PolicyVersion }
    personal { destination: Number => holder_of(extension) }
    "The gate judged a leg to {destination} by rule {rule} of policy {policy}; permitted: {permitted}."

    501 Info CallStarted "call-started"
    { call: CallId, caller: Option<ExtensionId>, callee: Option<ExtensionId> }
    personal { from: Number => holder_of(caller), to: Number => holder_of(callee) }
    "{from} calls {to}."

    502 Info CallAnswered "call-answered"
    { call: CallId, ring_ms: u64 } personal {}
    "Call {call} was answered after {ring_ms} ms."

    503 Info CallEnded "call-ended"
    { call: CallId, disposition: Disposition, q850: u8, duration_ms: u64, by: EndedBy } personal {}
    "Call {call} ended: {disposition}{by}, {duration_ms} ms after its answer."

    504 Warn CallInterrupted "call-interrupted"
    { call: CallId, duration_ms_min: u64 } personal {}
    "Call {call} was cut by a crash, at least {duration_ms_min} ms after its answer."

    505 Notice LegNotEncrypted "leg-not-encrypted"
    { call: CallId, leg: LegId, device: Option<DeviceId> } personal {}
    "A leg of call {call} was refused because it offered no encryption."

    506 Warn ExceptionUsed "exception-used"
    { call: CallId, leg: LegId, device: DeviceId, exceptions: Used } personal {}
    "A leg of call {call} is weak by what device {device} is allowed: {exceptions}."

    510 Warn EmergencyCalled "emergency-called"
    { call: CallId, extension: Option<ExtensionId>, device: Option<DeviceId>, number: String, kind: EmergencyKind, known: CallerKnown }
    personal { from: Number => holder_of(extension) }
    "{from} called {number} for help{known}."

    511 Info MoneyHeld "money-held"
    { call: CallId, leg: LegId, held: Money, seconds: u64 } personal {}
    "{held} is set aside for {seconds} seconds of a call."

    512 Info LegSettled "leg-settled"
    { call: CallId, leg: LegId, trunk: TrunkId, cost: Money, seconds: u64 } personal {}
    "A call outside cost {cost} for {seconds} seconds."

    513 Warn BudgetSoft "budget-soft"
    { account: String, window: Window, spent: Money, limit: Money, extension: Option<ExtensionId> } personal {}
    "{account} has spent {spent} of {limit} in this {window}."

    514 Warn BudgetHard "budget-hard"
    { account: String, window: Window, limit: Money, extension: Option<ExtensionId> } personal {}
    "{account} has spent its {window} budget of {limit}; further calls outside are refused."

    515 Warn CallPreempted "call-preempted"
    { call: CallId, trunk: TrunkId, by: CallId } personal {}
    "A call was ended because an emergency call needed its channel."

    516 Warn EndUnconfirmed "end-unconfirmed"
    { call: CallId, leg: LegId, trunk: TrunkId, held: Money } personal {}
    "A carrier never confirmed that a call is over: it may still be up, and billed. All that was set aside for it, {held}, is charged. Ask the carrier to end it."

    517 Warn HelpGaveWay "help-gave-way"
    { call: CallId, by: CallId } personal {}
    "An emergency call was ended because the same phone number of the house made further ones: {by}."

    600 Notice MediaSilent "media-silent"
    { call: CallId, leg: LegId, silent_ms: u64 } personal {}
    "No media came on a leg of call {call} for {silent_ms} ms."

    601 Info MediaResumed "media-resumed"
    { call: CallId, leg: LegId, silent_ms: u64 } personal {}
    "Media came back on a leg of call {call} after {silent_ms} ms."

    602 Notice MediaForged "media-forged"
    { call: CallId, leg: LegId, packets: u64 } personal {}
    "{packets} packets that were not the peer's were dropped on a leg of call {call}."

    700 Notice JournalHeadExported "journal-head-exported"
    { node: NodeId, sequence: u64, hash: String } personal {}
    "The head of the journal of node {node} was exported at entry {sequence}."

    701 Notice JournalVerified "journal-verified"
    { node: NodeId, entries: u64 } personal {}
    "The journal of node {node} was verified: {entries} entries."

    702 Error JournalBroken "journal-broken"
    { node: NodeId, sequence: u64, why: String } personal {}
    "The journal of node {node} is broken at entry {sequence}: {why}"

    703 Notice SubjectErased "subject-erased"
    { subject: String } personal { actor: Actor => Holder::Administrator }
    "{actor} erased the personal data of {subject}."

    800 Warn IncidentOpened "incident-opened"
    { incident: u64, what: What, severity: Severity, first: i64, last: i64, findings: u32, events: u64, extension: Option<ExtensionId>, done: Option<String> }
    personal {
        about: Name => holder_of(extension),
        words: Name => holder_of(extension),
        // What it is told by, as JSON: who comes back finds the same incident.
        key: Name => holder_of(extension),
        by: Option<Actor> => Holder::Administrator,
    }
    "Incident {incident} ({what}) began, about {about}: {words}"

    801 Warn IncidentRaised "incident-raised"
    { incident: u64, what: What, severity: Severity, first: i64, last: i64, findings: u32, events: u64, extension: Option<ExtensionId>, done: Option<String> }
    personal {
        about: Name => holder_of(extension),
        words: Name => holder_of(extension),
        // What it is told by, as JSON: who comes back finds the same incident.
        key: Name => holder_of(extension),
        by: Option<Actor> => Holder::Administrator,
    }
    "Incident {incident} ({what}) got worse, about {about}: {words}"

    802 Info IncidentClosed "incident-closed"
    { incident: u64, what: What, severity: Severity, first: i64, last: i64, findings: u32, events: u64, extension: Option<ExtensionId>, done: Option<String> }
    personal {
        about: Name => holder_of(extension),
        words: Name => holder_of(extension),
        // What it is told by, as JSON: who comes back finds the same incident.
        key: Name => holder_of(extension),
        by: Option<Actor> => Holder::Administrator,
    }
    "Incident {incident} ({what}) is over, about {about}, {events} events: {words}"

    810 Notice SinkAdded "sink-added"
    { sink: u32, kind: String }
    personal { to: Name => Holder::Administrator, actor: Actor => Holder::Administrator }
    "{actor} has alerts sent to {to} ({kind} sink {sink})."

    811 Notice SinkRemoved "sink-removed"
    { sink: u32, kind: String }
    personal { to: Name => Holder::Administrator, actor: Actor => Holder::Administrator }
    "{actor} has no more alerts sent to {to} ({kind} sink {sink})."

    812 Info AlertDelivered "alert-delivered"
    { sink: u32, kind: String, incidents: Incidents } personal {}
    "The {kind} sink {sink} took {incidents}."

    813 Warn SinkFailing "sink-failing"
    { sink: u32, kind: String, why: String } personal {}
    "The {kind} sink {sink} takes no alerts, it is tried again and nothing is lost: {why}"

    814 Notice SinkRecovered "sink-recovered"
    { sink: u32, kind: String, tries: u32 } personal {}
    "The {kind} sink {sink} takes alerts again; tries in vain before: {tries}."

    815 Notice SinkTested "sink-tested"
    { sink: u32, kind: String, passed: bool, found: String } personal {}
    "A test of the {kind} sink {sink}: {found}."

    816 Notice SinkChanged "sink-changed"
    { sink: u32, kind: String }
    personal { to: Name => Holder::Administrator, actor: Actor => Holder::Administrator }
    "{actor} changed the {kind} sink {sink}, which leads to {to}."
}

impl Fact {
    /// Whether the journal keeps it. Refreshes come every minute from every phone and prove nothing
    /// that the registration before didn't.
    pub fn journalled(&self) -> bool {
        !matches!(self, Self::RegistrationRefreshed { .. })
    }

    /// The fact as a sentence, personal data revealed: for people who may see it.
    pub fn revealed(&self) -> impl fmt::Display + '_ {
        Revealed(self)
    }

    /// All fields, personal ones in clear, and `fact` with the name.
    pub fn to_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => unreachable!("every fact is a struct of strings, numbers and enums"),
        }
    }

    /// Reads what [`Fact::to_json`] gave. What can't be read, because a newer version wrote it or
    /// because its personal part was erased, becomes [`Fact::Unknown`].
    pub fn from_json(number: u16, fields: Map<String, Value>) -> Self {
        match serde_json::from_value(Value::Object(fields.clone())) {
            Ok(Self::Unknown(_)) | Err(_) => Self::Unknown(Unknown { number, raw: fields }),
            Ok(fact) => fact,
        }
    }
}

/// The sentence with personal data masked: fit for a log.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_masked(&mut OneLine(f))
    }
}

struct Revealed<'a>(&'a Fact);

impl fmt::Display for Revealed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_revealed(&mut OneLine(f))
    }
}

/// Texts in facts may come from a peer (an agent's name, an account): nothing in a sentence may begin a
/// new line of a log, move a terminal's cursor or turn the reading direction.
struct OneLine<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut first = true;
        for clean in text.split(is_hostile) {
            if !first {
                self.0.write_char('\u{fffd}')?;
            }
            first = false;
            self.0.write_str(clean)?;
        }
        Ok(())
    }
}

/// What has no place in a line of text: it moves a cursor, breaks the line or turns the reading direction
/// (Unicode UAX #9).
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn holder_of(extension: &Option<ExtensionId>) -> Holder {
    extension.map_or(Holder::Stranger, Holder::Extension)
}

#[cfg(test)]
pub(crate) mod tests;
