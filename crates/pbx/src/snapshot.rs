//! A call as it must survive the process: enough to end every leg properly, or to carry it on.
//!
//! Durable before an INVITE leaves and again before its answer is relayed. At start every orphan leg
//! gets its BYE (CANCEL, or ACK and BYE on a late 2xx). The same snapshot is what another node takes
//! over; a survivor re-keys by re-INVITE and never reuses a keystream.

use guard::gate::{Decision, Proof, Responsible};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, TenantId};
use pure::Utc;

use crate::flow::{Path, Transport};

/// Part of a snapshot, so that the store needs no crate below this one.
pub use sip::dialog::{DialogState, Role, Stage};

/// Raised whenever a field changes meaning. A newer version than ours is kept and ended by hand.
pub const VERSION: u16 = 1;

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
    /// Money set aside, in millionths; zero for calls that can't cost any.
    pub reservation: guard::money::Money,
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
