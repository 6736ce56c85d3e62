//! Calls for help. Nothing may stand in their way: no bound, no budget, no lockdown, no full line.
//!
//! They aren't paid for, don't wait for the disk, take plain audio where there is nothing better, and
//! take a line from somebody else where none is free.

use std::collections::VecDeque;

use guard::cause::{Cause, EndedBy};
use guard::fact::Fact;
use guard::gate::{Attempt, Destination, Origin, Permit, Standing, Verdict};
use guard::id::{CallId, ExtensionId, LegId, TenantId, TrunkId};
use guard::number::Emergency;
use pure::Now;
use sip::transaction::Key;
use sip::{Name, Request, Response, Status};

use super::Exchange;
use super::invite::{Asker, Begin};
use crate::authenticate::Identity;
use crate::back_to_back::call::{Outside, Way};
use crate::back_to_back::leg::Leg;
use crate::flow::Path;
use crate::record::{Cdr, Row};

impl Exchange {
    #[allow(clippy::too_many_arguments, reason = "all that is known of one request, used once")]
    pub(super) fn help(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        emergency: Emergency,
        identity: Option<Identity>,
        standing: Standing,
        otherwise: Option<Response>,
    ) {
        let (call, leg) = {
            let desk = self.core.desk(now);
            (CallId::draw(desk.chance), LegId::draw(desk.chance))
        };
        let device = match standing {
            Standing::KnownDevice { device, .. } => Some(device),
            Standing::Proved(_) | Standing::Ourselves | Standing::Stranger => {
                identity.as_ref().and_then(|identity| identity.device)
            }
        };
        // A device that is known by its address alone still has an extension, and somebody must be able
        // to call back.
        let known = device.and_then(|device| self.registrar.device(device));
        let extension = identity.as_ref().map(|i| i.extension).or(known.map(|d| d.extension));
        let tenant = match (&identity, known) {
            (Some(identity), _) => identity.tenant,
            (None, Some(device)) => device.tenant,
            (None, None) => self.registrar.tenant_of(request),
        };
        let caller = extension.and_then(|extension| self.registrar.extension(extension));
        let asker = Asker {
            tenant,
            extension,
            device,
            trunk: None,
            proof: identity.as_ref().map(Identity::proof),
            standing,
            origin: Origin::Phone,
            call,
            leg,
            name: caller.map(|caller| caller.name.clone()).unwrap_or_default(),
            number: caller.map(|caller| caller.number.to_string()).unwrap_or_default(),
            dialled: emergency.number().to_owned(),
            quiet: false,
            emergency: true,
        };
        let attempt = Attempt {
            tenant,
            call,
            leg: LegId::draw(self.core.desk(now).chance),
            origin: Origin::Phone,
            responsible: asker.responsible(),
            destination: Destination::Emergency(emergency),
            standing,
        };
        let Verdict::Permit(permit) = self.core.gate.judge(now, &attempt, &self.core.ledger) else {
            // A stranger, where the owner didn't open it: the challenge, as for any number.
            match otherwise {
                Some(response) => self.respond(now, key, response),
                None => self.answer(now, key, request, Status::FORBIDDEN, |answer| answer),
            }
            return;
        };
        let fact = Fact::EmergencyCalled {
            call,
            extension,
            device,
            number: emergency.number().to_owned(),
            kind: emergency.kind(),
            from: asker.number.as_str().into(),
        };
        self.tell(tenant, fact);
        let decision = permit.decision();
        if let Some(extension) = extension {
            self.give_way(now, tenant, extension, call);
        }
        let mut outside = Outside {
            attempt,
            dialled: asker.dialled.clone(),
            ways: self.ways_for_help(now, tenant),
            tried: None,
            last_ways: false,
        };
        let party = self.caller(path, request, &asker);
        let heard = self.offer(request, path, &party, &asker);
        let Some(leg) = self.first_leg_for_help(now, &mut outside) else {
            self.answer(now, key, request, Status::SERVICE_UNAVAILABLE, |answer| {
                answer
                    .reason("No Emergency Route Is Configured")
                    .header(Name::Reason, NO_EMERGENCY_ROUTE)
            });
            let cdr = Cdr {
                call,
                tenant,
                node: self.node,
                from: asker.number,
                to: emergency.number().to_owned(),
                responsible: extension,
                origin: Origin::Phone,
                tolls: Vec::new(),
                started: now.utc,
                answered: None,
                ended: now.utc,
                disposition: Cause::NoRoute.outcome().disposition,
                ended_by: EndedBy::default(),
                decision: Some(decision),
                emergency: true,
                legs: Vec::new(),
            };
            return self.write(vec![Row::Cdr(Box::new(cdr))]);
        };
        let begun = match heard {
            Ok(heard) => {
                let begin = Begin {
                    party,
                    heard,
                    decision,
                    forks: vec![leg],
                    called: None,
                    outside: Some(outside),
                };
                self.begin(now, key, request, &asker, begin)
            }
            Err(cause) => {
                leg.forget(&mut self.core.desk(now));
                Err(cause.into())
            }
        };
        if let Err(refused) = begun {
            self.refuse(now, key, path, request, &asker, &refused);
        }
    }

    /// Of too many calls for help of one extension one of its own gives way, never another's: a stolen
    /// secret must not take every line from those who need one. What rings goes before what talks, and of
    /// those the oldest.
    fn give_way(&mut self, now: Now, tenant: TenantId, extension: ExtensionId, by: CallId) {
        let own: Vec<_> = self
            .core
            .calls()
            .filter(|call| call.emergency && !call.is_ending())
            .filter(|call| call.caller_extension == Some(extension))
            .collect();
        if own.len() < HELP_PER_EXTENSION_MAX {
            return;
        }
        let victim = own.into_iter().min_by_key(|call| (call.answered.is_some(), call.started));
        let Some(call) = victim.map(|call| call.id) else { return };
        self.tell(tenant, Fact::HelpGaveWay { call, by });
        self.on_core(now, |core, now, is_at| core.end(now, call, Cause::Preempted, is_at));
    }

    /// Every way there is, full or not, the plain ones last.
    fn ways_for_help(&mut self, now: Now, tenant: TenantId) -> VecDeque<Way> {
        let routes = self.trunks.routes(now, tenant, true).into_iter();
        routes.map(|route| Way { route, plain: false }).collect()
    }

    fn first_leg_for_help(&mut self, now: Now, outside: &mut Outside) -> Option<Leg> {
        loop {
            while !outside.ways.is_empty() {
                if let Some(leg) = self.next_leg_for_help(now, outside) {
                    return Some(leg);
                }
            }
            if std::mem::replace(&mut outside.last_ways, true) {
                return None;
            }
            outside.ways = self.last_ways_for_help(now, outside.attempt.tenant);
        }
    }

    /// A leg on the next way, on a line that is made free where none is. `None`: that way can't be used.
    pub(super) fn next_leg_for_help(&mut self, now: Now, outside: &mut Outside) -> Option<Leg> {
        let way = outside.ways.pop_front()?;
        outside.tried = Some(way.clone());
        let trunk = self.trunks.get(way.route.trunk).filter(|trunk| trunk.enabled).cloned()?;
        let taken = self.core.calls().filter(|call| call.occupies(trunk.id)).count();
        if taken >= usize::from(trunk.channels) {
            self.preempt(now, trunk.id, outside.attempt.call);
        }
        let leg = LegId::draw(self.core.desk(now).chance);
        let attempt = Attempt { leg, ..outside.attempt.clone() };
        let permit = match self.core.gate.judge(now, &attempt, &self.core.ledger) {
            Verdict::Permit(permit) => permit,
            Verdict::Denial(_) | Verdict::NeedPin(_) | Verdict::NeedReserve(_) => return None,
        };
        self.decided(&attempt, &outside.dialled, Permit::decision(&permit), true);
        let dial = outside.dialled.clone();
        self.leg_outside(now, permit, &way, &trunk, &attempt, &dial, None)
    }

    /// What the last way failed of may be mended on the same way: audio in clear where encryption was
    /// refused, a line of somebody else's where the carrier has none.
    pub(super) fn help_onward(&mut self, now: Now, call: CallId, outside: &mut Outside) {
        self.mend_for_help(now, call, outside);
        if outside.ways.is_empty() && !outside.last_ways {
            outside.last_ways = true;
            outside.ways = self.last_ways_for_help(now, outside.attempt.tenant);
        }
    }

    /// In clear over UDP, where every other way has failed.
    fn last_ways_for_help(&mut self, now: Now, tenant: TenantId) -> VecDeque<Way> {
        let routes = self.trunks.lifelines(&mut self.core.desk(now), tenant);
        routes.into_iter().map(|route| Way { route, plain: true }).collect()
    }

    fn mend_for_help(&mut self, now: Now, call: CallId, outside: &mut Outside) {
        let Some(last) = self.core.call(call).and_then(|call| call.forks.last()) else { return };
        let (status, plain, trunk) = (last.status, last.offered_plain, last.party.trunk);
        let Some(trunk) = trunk else { return };
        let known = outside.tried.clone().filter(|way| way.route.trunk == trunk);
        match status {
            488 | 606 if !plain => {
                if let Some(way) = known {
                    outside.ways.push_front(Way { plain: true, ..way });
                }
            }
            // RFC 3398 §7.2.6.1: what a carrier without a free circuit says.
            480 | 486 | 500 | 503 | 600 if self.preempt(now, trunk, call) => {
                if let Some(way) = known {
                    outside.ways.push_front(way);
                }
            }
            _ => {}
        }
    }

    /// Ends one ordinary call of a trunk: one that still rings before one that talks, and of those the
    /// youngest. False where there is none.
    fn preempt(&mut self, now: Now, trunk: TrunkId, by: CallId) -> bool {
        let victims = self
            .core
            .calls()
            .filter(|call| !call.emergency && !call.is_ending() && call.occupies(trunk));
        let victim = victims.max_by_key(|call| (call.answered.is_none(), call.started));
        let Some(victim) = victim else { return false };
        let (call, tenant) = (victim.id, victim.tenant);
        self.tell(tenant, Fact::CallPreempted { call, trunk, by });
        self.on_core(now, |core, now, is_at| core.end(now, call, Cause::Preempted, is_at));
        true
    }
}

/// Q.850 3: no route to destination.
const NO_EMERGENCY_ROUTE: &str = "Q.850;cause=3;text=\"No emergency route is configured.\"";

/// Somebody who was cut off calls again, and somebody else at the same desk may call too: two, and one
/// more for a handset that was left off the hook.
const HELP_PER_EXTENSION_MAX: usize = 3;
