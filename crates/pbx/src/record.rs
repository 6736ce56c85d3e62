//! What is stored: one row type for each thing that must survive. `store` writes them, at start it
//! reads them back as [`Loaded`]. Shapes change only with a version and a migration.

use guard::cause::Disposition;
use guard::gate::{Algorithm, Decision, Proof};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, TenantId};
use pure::Utc;

use crate::directory::{Device, Extension, Tenant};
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
}

/// A registration as it is kept. On connections it is history after a restart (the flow is gone); it
/// still says which device to expect and where from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindingRow {
    pub device: DeviceId,
    pub extension: ExtensionId,
    pub tenant: TenantId,
    pub node: NodeId,
    pub contact: String,
    pub transport: Transport,
    pub remote: std::net::SocketAddr,
    pub algorithm: Algorithm,
    pub call_id: String,
    pub cseq: u32,
    pub registered: Utc,
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
    pub started: Utc,
    pub answered: Option<Utc>,
    pub ended: Utc,
    pub disposition: Disposition,
    pub decision: Option<Decision>,
    pub emergency: bool,
    pub legs: Vec<CdrLeg>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CdrLeg {
    pub leg: LegId,
    pub extension: Option<ExtensionId>,
    pub device: Option<DeviceId>,
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
    /// The highest flow generation any binding or snapshot names; new flows count from above it.
    pub generation: u64,
}
