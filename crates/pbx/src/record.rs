//! What is stored: one row type for each thing that must survive. `store` writes them, at start it
//! reads them back as [`Loaded`]. Shapes change only with a version and a migration.

use std::sync::Arc;

use guard::cause::{Disposition, EndedBy};
use guard::gate::{Algorithm, Decision, Origin, Proof};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, RealmId, TenantId, TrunkId};
use guard::ledger::Spend;
use guard::money::{Currency, Money};
use guard::number::{Class, Country};
use guard::policy::Policy;
use guard::rate::{Rate, RateDeck};
use guard::sink::{Sink, SinkId};
use guard::source::Source;
use guard::wall::Ban;
use pure::Utc;

use crate::command::TrunkSecret;
use crate::directory::{Device, Extension, Inbound, Tenant, Trunk};
use crate::flow::Transport;
use crate::snapshot::CallSnapshot;

/// Part of a row, so that the store needs no crate below this one.
pub use rtp::quality::Report as Quality;

/// One change of one row.
#[derive(Clone, PartialEq, Debug)]
pub enum Row {
    Tenant(Tenant),
    Extension(Box<Extension>),
    RemoveExtension(ExtensionId),
    Device(Box<Device>),
    RemoveDevice(DeviceId),
    Binding(Box<BindingRow>),
    RemoveBinding(DeviceId),
    Snapshot(Box<CallSnapshot>),
    RemoveSnapshot(CallId),
    Cdr(Box<Cdr>),
    Trunk(Box<Trunk>),
    RemoveTrunk(TrunkId),
    Inbound(Inbound),
    /// By its number.
    RemoveInbound(String),
    /// A new version of the policy. All versions are kept.
    Policy(Arc<Policy>),
    /// A new rate deck. The former ones are kept by their versions.
    Deck(Arc<RateDeck>),
    /// What a budget's bucket has settled now.
    Spend(Spend),
    Ban(Ban),
    RemoveBan(Source),
    /// Where alerts go. Nothing in the exchange is built from it.
    Sink(Box<Sink>),
    RemoveSink(SinkId),
    Watermark(Watermark),
}

/// How far a reader of the journal has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watermark {
    pub reader: String,
    /// All before it and itself is done with.
    pub sequence: u64,
}

/// A registration as it is kept. On connections it is history after a restart (the flow is gone); it
/// still says which device to expect and where from. Over UDP it holds again once the socket is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindingRow {
    pub device: DeviceId,
    pub extension: ExtensionId,
    pub tenant: TenantId,
    pub node: NodeId,
    pub contact: String,
    pub transport: Transport,
    /// Whose socket the device registered through.
    pub realm: RealmId,
    pub remote: std::net::SocketAddr,
    pub algorithm: Algorithm,
    pub call_id: String,
    pub cseq: u32,
    pub registered: Utc,
    /// Not after `registered`: it was taken away before its time.
    pub expires: Utc,
}

/// A call detail record: one a call, written when its last leg has ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Cdr {
    pub call: CallId,
    pub tenant: TenantId,
    pub node: NodeId,
    /// Extension number or E.164 of the caller, and what was dialled.
    pub from: String,
    pub to: String,
    /// Who answers for the cost.
    pub responsible: Option<ExtensionId>,
    /// Why the leg toward the called side was opened.
    pub origin: Origin,
    /// The legs outside that could cost money, failed attempts included, in the order they were made.
    pub tolls: Vec<Toll>,
    pub started: Utc,
    pub answered: Option<Utc>,
    pub ended: Utc,
    pub disposition: Disposition,
    /// What cut it, where it was up and nobody hung up.
    pub ended_by: EndedBy,
    pub decision: Option<Decision>,
    pub emergency: bool,
    pub legs: Vec<CdrLeg>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CdrLeg {
    pub leg: LegId,
    pub extension: Option<ExtensionId>,
    pub device: Option<DeviceId>,
    pub trunk: Option<TrunkId>,
    pub caller: bool,
    pub transport: Transport,
    /// `TLSv1.3 TLS13_AES_128_GCM_SHA256`, empty where signalling was in clear.
    pub signalling: String,
    pub proof: Option<Proof>,
    /// The SRTP suite by its registered name; `None`: audio in clear, by exception.
    pub suite: Option<&'static str>,
    pub agent: String,
    /// What ended or refused this leg: the last SIP status, 0 where there was none.
    pub status: u16,
    pub quality: Option<Quality>,
    /// In plain words, as shown everywhere.
    pub weaknesses: Vec<String>,
}

/// What a leg outside was judged by and came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Toll {
    pub leg: LegId,
    pub trunk: TrunkId,
    /// As the trunk was told to dial it.
    pub number: String,
    pub class: Class,
    pub country: Option<Country>,
    pub decision: Decision,
    pub currency: Currency,
    pub rate: Rate,
    /// When the carrier answered; `None`: it never did, and nothing is owed.
    pub answered: Option<Utc>,
    /// Seconds that are charged.
    pub seconds: u64,
    pub cost: Money,
    /// Set aside at most.
    pub held: Money,
}

/// What the store held at start.
#[derive(Debug, Default)]
pub struct Loaded {
    pub tenants: Vec<Tenant>,
    /// With the digests the edge derived from the unsealed secrets: current, and previous.
    pub extensions:
        Vec<(Extension, crate::command::Credentials, Option<crate::command::Credentials>)>,
    pub devices: Vec<Device>,
    pub bindings: Vec<BindingRow>,
    pub snapshots: Vec<CallSnapshot>,
    /// With the clear secret where the trunk has an account: a challenge names its realm only when it
    /// comes, so no digest can be derived before.
    pub trunks: Vec<(Trunk, Option<TrunkSecret>)>,
    pub inbound: Vec<Inbound>,
    /// The newest; `None` before the first start.
    pub policy: Option<Arc<Policy>>,
    pub deck: Option<Arc<RateDeck>>,
    /// Of windows that are not over yet.
    pub spends: Vec<Spend>,
    /// Sources that are shut out.
    pub bans: Vec<Ban>,
    /// The highest flow generation any binding or snapshot names; new flows count from above it.
    pub generation: u64,
}
