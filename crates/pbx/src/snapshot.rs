//! A call as it must survive the process: enough to end every leg properly, or to carry it on.
//!
//! Durable before an INVITE leaves and again before its answer is relayed. At start every orphan leg
//! gets its BYE (CANCEL, or ACK and BYE on a late 2xx). The same snapshot is what another node takes
//! over; a survivor re-keys by re-INVITE and never reuses a keystream.

use guard::gate::{Decision, Origin, Proof, Responsible};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, TenantId, TrunkId};
use guard::ledger::Hold;
use pure::Utc;

use crate::flow::{Path, Transport};
use crate::record::Toll;

/// Part of a snapshot, so that the store needs no crate below this one.
pub use sip::dialog::{DialogState, Role, Stage};

/// Raised whenever a field changes meaning. A newer version than ours is kept and ended by hand.
pub const VERSION: u16 = 2;

#[derive(Clone, PartialEq, Debug)]
pub struct CallSnapshot {
    pub version: u16,
    pub call: CallId,
    pub tenant: TenantId,
    pub node: NodeId,
    pub from: String,
    pub to: String,
    pub responsible: Option<Responsible>,
    pub decision: Decision,
    pub origin: Origin,
    /// Legs outside that have ended already, for the record.
    pub tolls: Vec<Toll>,
    pub emergency: bool,
    pub started: Utc,
    pub answered: Option<Utc>,
    pub legs: Vec<LegSnapshot>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LegSnapshot {
    pub leg: LegId,
    pub extension: Option<ExtensionId>,
    /// Whose new connection the leg's BYE may use after a restart.
    pub device: Option<DeviceId>,
    /// Whose new connection it may use, where it leads to a carrier.
    pub trunk: Option<TrunkId>,
    /// The money of a leg outside, and what it was judged by.
    pub toll: Option<(Toll, Hold)>,
    pub proof: Option<Proof>,
    pub path: Path,
    pub transport: Transport,
    pub stage: LegStage,
    pub suite: Option<String>,
    /// SRTP rollover counters, sending and receiving: for a survivor that must not reuse a keystream.
    pub rollover: (u32, u32),
}

/// How far a leg is, and what it takes to end it from here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LegStage {
    /// They called us and have no final answer: `refusal` is the whole 503 to send, as bytes.
    Incoming { refusal: Vec<u8> },
    /// We called them: `cancel` is the whole CANCEL; `invite` answers a late 2xx with ACK and BYE.
    Outgoing { cancel: Vec<u8>, invite: Vec<u8> },
    /// Confirmed: BYE within this dialog.
    Up { dialog: DialogState },
}
