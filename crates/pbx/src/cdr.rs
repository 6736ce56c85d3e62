//! The record of a call, from the call itself.

use guard::cause::{Cause, Disposition};
use guard::id::NodeId;
use pure::Now;

use crate::back_to_back::call::Call;
use crate::back_to_back::leg::{Leg, Role};
use crate::record::{Cdr, CdrLeg};

/// The record of a call that has ended. A call that was answered stays answered, whatever ended it.
pub(crate) fn of(call: &Call, now: Now, node: NodeId) -> Cdr {
    let disposition = match (&call.answered, call.cause) {
        (Some(_), _) => Disposition::Answered,
        (None, Some(cause)) => cause.outcome().disposition,
        (None, None) => Disposition::Failed,
    };
    // Hung up in the moment between the called side's answer and ours: nobody spoke.
    let disposition = match (disposition, call.cause) {
        (Disposition::Answered, Some(Cause::Cancelled)) => Disposition::Cancelled,
        (disposition, _) => disposition,
    };
    Cdr {
        call: call.id,
        tenant: call.tenant,
        node,
        from: call.from.clone(),
        to: call.to.clone(),
        responsible: call.caller_extension,
        origin: call.origin,
        tolls: call.tolls.clone(),
        started: call.started,
        answered: call.answered.map(|(utc, _)| utc),
        ended: call.ended.map_or(now.utc, |(utc, _)| utc),
        disposition,
        ended_by: call.ended_by(),
        decision: Some(call.decision),
        emergency: call.emergency,
        legs: call.legs().map(leg).collect(),
    }
}

pub(crate) fn leg(leg: &Leg) -> CdrLeg {
    CdrLeg {
        leg: leg.id,
        extension: leg.party.extension,
        device: leg.party.device,
        trunk: leg.party.trunk,
        caller: leg.role == Role::Caller,
        transport: leg.party.path.flow.transport,
        signalling: leg.signalling(),
        proof: leg.party.proof,
        suite: leg.media.suite().map(|suite| suite.name()),
        agent: leg.party.agent.clone(),
        status: leg.status,
        quality: leg.quality.as_deref().copied(),
        weaknesses: leg.weaknesses(),
    }
}
