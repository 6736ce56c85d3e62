//! Calls for help. Nothing may stand in their way: no bound, no budget, no lockdown, no full line.
//!
//! How their caller is known decides what they may take from others. By a *secret*, the present or the
//! former one, or on the *path* where a phone is registered now: all of it. By the *address* where a phone
//! registered before: anybody behind that address may be it, so such a call takes a free line and
//! nothing else, one at a time, and a few in ten minutes. Whoever isn't on its own connection is
//! challenged first ([`Exchange::sent_back`]): a phone with the right secret is known by it, one with a
//! spoilt secret has shown at least where it is, and whoever wrote an address into a datagram hears nothing.
//!
//! They aren't paid for, don't wait for the disk, take plain audio where there is nothing better, and
//! take a line from somebody else where none is free.

use std::collections::VecDeque;

use guard::cause::{Cause, EndedBy};
use guard::fact::{CallerKnown, Fact, KnownBy};
use guard::gate::{Attempt, Destination, Origin, Permit, Standing, Verdict};
use guard::id::{CallId, ExtensionId, LegId, TenantId, TrunkId};
use guard::number::Emergency;
use pure::Now;
use sip::dialog::Dialog;
use sip::transaction::Key;
use sip::{Method, Name, Request, Response, Status};

use super::Exchange;
use super::invite::{Asker, Begin};
use crate::authenticate::{Identity, Verdict as Authenticated};
use crate::back_to_back::call::{Outside, Way};
use crate::back_to_back::leg::Leg;
use crate::flow::Path;
use crate::record::{Cdr, Row};

impl Exchange {
    /// Challenges a call for help in passing, without a transaction, where it comes neither on the
    /// connection of a phone nor with an answer to a challenge of ours. Whether it did.
    pub(super) fn sent_back(&mut self, now: Now, path: Path, request: &Request) -> bool {
        if request.method() != Method::Invite
            || request.headers().to().tag().is_some()
            || self.emergency(request).is_none()
            || self.trunks.identify(path, request).is_some()
            || path.flow.transport.is_reliable() && self.registrar.is_bound(path)
        {
            return false;
        }
        // Where the owner opened help to strangers, nobody there has a secret to answer with.
        let open = self.core.gate.policy().emergency_for_strangers;
        if open && !self.registrar.is_bound(path) {
            return false;
        }
        let Some(challenge) = self.registrar.ask_where(now, request, path) else { return false };
        self.core.transmit(path, challenge.as_bytes().clone());
        true
    }

    pub(super) fn help(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        emergency: Emergency,
        verdict: Authenticated,
    ) {
        let (call, leg) = {
            let desk = self.core.desk(now);
            (CallId::begin(desk.now.utc, desk.chance), LegId::draw(desk.chance))
        };
        let (identity, known_by, otherwise) = self.caller_for_help(path, verdict);
        // Beyond its turns an address is a stranger's.
        let has_turn = known_by != KnownBy::Address || self.has_turn(now, path, call);
        let known_by = if has_turn { known_by } else { KnownBy::Nothing };
        let standing = match (&identity, known_by) {
            (Some(identity), _) => identity.standing(),
            (None, KnownBy::Nothing) => Standing::Stranger,
            (None, _) => self.standing_of(path),
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
            quiet: extension.is_some_and(|one| self.refusals.is_full(now.instant, &one)),
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
        let party = self.caller(path, request, &asker);
        // What can be no call is none: it is answered before it is told and before it takes anything.
        let heard = match self.offer(request, path, &party, &asker) {
            Ok(heard) if has_dialog(request, path) => heard,
            Ok(_) => {
                let refused = Cause::ProtocolError.into();
                return self.refuse(now, key, path, request, &asker, &refused);
            }
            Err(cause) => {
                return self.refuse(now, key, path, request, &asker, &cause.into());
            }
        };
        let fact = Fact::EmergencyCalled {
            call,
            extension,
            device,
            number: emergency.number().to_owned(),
            kind: emergency.kind(),
            known: CallerKnown(Some(known_by)),
            from: asker.number.as_str().into(),
        };
        self.tell(tenant, fact);
        let decision = permit.decision();
        if let Some(extension) = extension.filter(|_| !known_by.proved_nothing()) {
            self.give_way(now, tenant, extension, call);
        }
        let mut outside = Outside {
            attempt,
            dialled: asker.dialled.clone(),
            ways: self.ways_for_help(now, tenant),
            tried: None,
            last_ways: false,
        };
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
        let begin = Begin {
            party,
            heard,
            decision,
            forks: vec![leg],
            called: None,
            outside: Some(outside),
        };
        if let Err(refused) = self.begin(now, key, request, &asker, begin) {
            self.refuse(now, key, path, request, &asker, &refused);
        }
    }

    /// Who calls for help, how that is known, and what is said where that isn't enough.
    fn caller_for_help(
        &self,
        path: Path,
        verdict: Authenticated,
    ) -> (Option<Identity>, KnownBy, Option<Response>) {
        match verdict {
            Authenticated::Proved(identity) => (Some(identity), KnownBy::Secret, None),
            Authenticated::Former { identity, challenge } => {
                (Some(identity), KnownBy::FormerSecret, Some(challenge))
            }
            Authenticated::Challenge(response) | Authenticated::Refused(response) => {
                let known_by = match self.registrar.known_device(path) {
                    Some(_) if self.registrar.is_bound(path) => KnownBy::Path,
                    Some(_) => KnownBy::Address,
                    None => KnownBy::Nothing,
                };
                (None, known_by, Some(response))
            }
        }
    }

    /// Whether whoever is known by its address alone may call for help once more.
    fn has_turn(&mut self, now: Now, path: Path, call: CallId) -> bool {
        let (core, source) = (&self.core, path.remote.ip().into());
        let is_up = |call| core.call(call).is_some_and(|call| !call.is_ending());
        self.unproved.admit(now.instant, source, call, is_up)
    }

    /// Whether this call for help takes what others have.
    fn takes_from_others(&self, attempt: &Attempt) -> bool {
        attempt.standing != Standing::Stranger && !self.unproved.holds(attempt.call)
    }

    /// Of too many calls for help of one extension one of its own gives way, never another's: a stolen
    /// secret must not take every line from those who need one. Calls of whoever proved nothing are not its
    /// own: they neither count nor make anything give way. What rings goes before what talks, and of
    /// those the oldest.
    fn give_way(&mut self, now: Now, tenant: TenantId, extension: ExtensionId, by: CallId) {
        let own: Vec<_> = self
            .core
            .calls()
            .filter(|call| call.emergency && !call.is_ending())
            .filter(|call| call.caller_extension == Some(extension))
            .filter(|call| !self.unproved.holds(call.id))
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

    /// A leg on the next way, on a line that is made free where none is. For a caller who proved nothing none
    /// is made free; the carrier may still have one. `None`: that way can't be used.
    pub(super) fn next_leg_for_help(&mut self, now: Now, outside: &mut Outside) -> Option<Leg> {
        let way = outside.ways.pop_front()?;
        outside.tried = Some(way.clone());
        let trunk = self.trunks.get(way.route.trunk).filter(|trunk| trunk.enabled).cloned()?;
        let taken = self.core.calls().filter(|call| call.occupies(trunk.id)).count();
        if taken >= usize::from(trunk.channels) && self.takes_from_others(&outside.attempt) {
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
            480 | 486 | 500 | 503 | 600
                if self.takes_from_others(&outside.attempt) && self.preempt(now, trunk, call) =>
            {
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

/// Whether a dialog can come of this INVITE: as the leg will ask.
fn has_dialog(request: &Request, path: Path) -> bool {
    let early = Response::builder(request, Status::RINGING).to_tag("1").build();
    let over_tls = path.flow.transport.is_encrypted();
    early.is_ok_and(|early| Dialog::uas(request, &early, over_tls).is_ok())
}

/// Q.850 3: no route to destination.
const NO_EMERGENCY_ROUTE: &str = "Q.850;cause=3;text=\"No emergency route is configured.\"";

/// Somebody who was cut off calls again, and somebody else at the same desk may call too: two, and one
/// more for a handset that was left off the hook.
const HELP_PER_EXTENSION_MAX: usize = 3;
