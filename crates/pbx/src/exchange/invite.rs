//! An INVITE that begins a call: whose it is, what it asks for, and what becomes of it.

use guard::cause::{Cause, EndedBy};
use guard::fact::Fact;
use guard::gate::{
    Attempt, Decision, Destination, Origin, Permit, Proof, ReserveRequest, Responsible, Standing,
    Verdict,
};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, TenantId, TrunkId};
use guard::number::{Digits, Emergency};
use pure::Now;
use sip::transaction::Key;
use sip::{Name, Request, Status};

use super::{Drain, Exchange, Refused, status_of};
use crate::authenticate;
use crate::back_to_back::Heard;
use crate::back_to_back::call::{NewCall, Outside};
use crate::back_to_back::carry::Carry;
use crate::back_to_back::leg::{Leg, Party, explain};
use crate::flow::Path;
use crate::io::Attestation;
use crate::record::{Cdr, CdrLeg, Row};
use crate::registrar::Target;

/// Who asks for a call, and how that is known.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) tenant: TenantId,
    pub(super) extension: Option<ExtensionId>,
    pub(super) device: Option<DeviceId>,
    /// It comes from a carrier.
    pub(super) trunk: Option<TrunkId>,
    pub(super) proof: Option<Proof>,
    pub(super) standing: Standing,
    pub(super) origin: Origin,
    pub(super) call: CallId,
    pub(super) leg: LegId,
    pub(super) name: String,
    pub(super) number: String,
    pub(super) dialled: String,
    /// It has been refused so often lately that further refusals are only counted.
    pub(super) quiet: bool,
    pub(super) emergency: bool,
}

/// What the gate allowed.
#[derive(Debug)]
pub(super) enum Allowed {
    Leg(Permit),
    /// It costs money, which is not set aside yet.
    Paid(ReserveRequest),
}

impl Asker {
    pub(super) fn responsible(&self) -> Option<Responsible> {
        let extension = self.extension.map(Responsible::Extension);
        extension.or(self.trunk.map(Responsible::Trunk))
    }
}

impl Exchange {
    pub(super) fn emergency(&self, request: &Request) -> Option<Emergency> {
        let found = self.core.gate.plan().emergency(request.uri().as_str());
        found.filter(|_| !self.core.settings.dangerous.without_emergency)
    }

    pub(super) fn invite(&mut self, now: Now, key: Key, path: Path, request: &Request) {
        if let Some((trunk, proof)) = self.trunks.identify(path, request) {
            return self.called_by_carrier(now, key, path, request, trunk, proof);
        }
        let emergency = self.emergency(request);
        // What a call for help asks for beside help is ignored; nothing may stand in its way. Nobody but a
        // phone on its own connection hears anything before it has said who it is.
        let at_home = path.flow.transport.is_reliable() && self.registrar.is_bound(path);
        if emergency.is_none() && at_home && self.turned_away(now, key, request) {
            return;
        }
        let mut effects = Vec::new();
        let help = emergency.is_some() && self.registrar.known_device(path).is_some();
        let verdict = self.registrar.authenticate(now, request, path, help, &mut effects);
        self.carry_out(now, effects);
        if let Some(emergency) = emergency {
            return self.help(now, key, path, request, emergency, verdict);
        }
        let identity = match verdict {
            authenticate::Verdict::Proved(identity) => identity,
            // Enough for help, for nothing else.
            authenticate::Verdict::Former { challenge: response, .. }
            | authenticate::Verdict::Challenge(response)
            | authenticate::Verdict::Refused(response) => return self.respond(now, key, response),
        };
        if !at_home && self.turned_away(now, key, request) {
            return;
        }
        let caller = self.registrar.extension(identity.extension);
        let number = caller.map(|extension| extension.number.to_string()).unwrap_or_default();
        let name = caller.map(|extension| extension.name.clone()).unwrap_or_default();
        let dialled = request.uri().user_unescaped().unwrap_or_default().into_owned();
        let asker = Asker {
            tenant: identity.tenant,
            extension: Some(identity.extension),
            device: identity.device,
            trunk: None,
            proof: Some(identity.proof()),
            standing: identity.standing(),
            origin: Origin::Phone,
            call: CallId::begin(now.utc, self.core.desk(now).chance),
            leg: LegId::draw(self.core.desk(now).chance),
            name,
            number,
            dialled: dialled.chars().take(DIALLED_MAX).collect(),
            quiet: self.refusals.is_full(now.instant, &identity.extension),
            emergency: false,
        };
        if let Err(refused) = self.call(now, key, path, request, &asker) {
            self.refuse(now, key, path, request, &asker, &refused);
        }
    }

    /// Answers what can be no call whoever sent it, and everything while we drain.
    pub(super) fn turned_away(&mut self, now: Now, key: Key, request: &Request) -> bool {
        if let Some((status, header)) = self.unfit(request) {
            self.answer(now, key, request, status, |answer| match header {
                Some((name, value)) => answer.header(name, &value),
                None => answer,
            });
            return true;
        }
        if self.drain != Drain::Open {
            let cause = Cause::Draining;
            self.answer(now, key, request, status_of(cause.outcome()), |answer| {
                explain(answer, cause)
            });
            return true;
        }
        false
    }

    /// What is wrong with an INVITE, whosever it is.
    fn unfit(&self, request: &Request) -> Option<(Status, Option<(Name, String)>)> {
        let headers = request.headers();
        let unknown: Vec<&str> = headers
            .elements(Name::Require)
            .filter(|option| !option.eq_ignore_ascii_case("timer"))
            .collect();
        if !unknown.is_empty() {
            return Some((Status::BAD_EXTENSION, Some((Name::Unsupported, unknown.join(", ")))));
        }
        if headers.max_forwards() == Some(0) {
            return Some((Status::TOO_MANY_HOPS, None));
        }
        // Our own INVITE, back from a phone that forwards to us.
        if self.core.is_ours(request) {
            return Some((Status::LOOP_DETECTED, None));
        }
        if headers.contacts().next().is_none() {
            return Some((Status::BAD_REQUEST, None));
        }
        if !request.body().is_empty() && !headers.content_type_is("application/sdp") {
            let accept = "application/sdp".to_owned();
            return Some((Status::UNSUPPORTED_MEDIA_TYPE, Some((Name::Accept, accept))));
        }
        let shortest = self.core.settings.session_interval_min.as_secs();
        let asked = headers.session_expires().present();
        if asked.is_some_and(|asked| u64::from(asked.interval) < shortest) {
            let status = Status::SESSION_INTERVAL_TOO_SMALL;
            return Some((status, Some((Name::MinSe, shortest.to_string()))));
        }
        None
    }

    /// Judges the call and begins it.
    fn call(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        asker: &Asker,
    ) -> Result<(), Refused> {
        if self.core.calls_counted() >= self.core.settings.calls_max {
            return Err(Cause::Congestion.into());
        }
        if let Some(caller) = asker.extension
            && self.core.calls_of(caller) >= self.core.settings.calls_per_extension_max
        {
            return Err(Cause::Busy.into());
        }
        match self.destination(asker.tenant, &asker.dialled) {
            Destination::Extension(called) => {
                self.call_extension(now, key, path, request, asker, called)
            }
            Destination::Outside(outside) => {
                self.call_outside(now, key, path, request, asker, outside)
            }
            other @ (Destination::Emergency(_) | Destination::Service | Destination::Unknown) => {
                let allowed = self.judge(now, asker, asker.leg, other)?;
                let decision = match &allowed {
                    Allowed::Leg(permit) => Some(permit.decision()),
                    Allowed::Paid(_) => None,
                };
                Err(Refused { cause: Cause::NotFound, decision })
            }
        }
    }

    /// What these digits mean in this tenant: an extension before a number outside. Emergency was
    /// recognised before.
    pub(super) fn destination(&self, tenant: TenantId, dialled: &str) -> Destination {
        if let Some(extension) = self.registrar.resolve(tenant, dialled) {
            return Destination::Extension(extension);
        }
        let Some(digits) = Digits::parse(dialled) else { return Destination::Unknown };
        let outside = self.core.gate.plan().read(&digits);
        let known = outside.class() != guard::number::Class::Unknown;
        if known || digits.as_str().len() > INTERNAL_DIGITS_MAX {
            return Destination::Outside(outside);
        }
        Destination::Unknown
    }

    /// A call to phones of the house.
    pub(super) fn call_extension(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        asker: &Asker,
        called: ExtensionId,
    ) -> Result<(), Refused> {
        let destination = Destination::Extension(called);
        let targets = self.targets(now, path, asker, called);
        // Before ports are opened: an attempt that nobody takes costs them all the same.
        if let Some(caller) = asker.extension
            && !self.ringing.takes(now.instant, caller, targets.len().max(1))
        {
            return Err(Cause::Congestion.into());
        }
        // The gate is asked once for each leg; where nobody can be rung, once for the call.
        let leg = LegId::draw(self.core.desk(now).chance);
        let first = self.permit(now, asker, leg, destination.clone())?;
        let decision = first.decision();
        let refused = |cause| Refused::by(cause, decision);
        let party = self.caller(path, request, asker);
        let heard = self.offer(request, path, &party, asker).map_err(refused)?;
        let reachable = !targets.is_empty();
        let targets: Vec<Target> = targets
            .into_iter()
            .filter(|target| {
                target.path.flow.transport.is_encrypted() || target.exceptions.dangerous_plain_rtp
            })
            .take(self.core.settings.forks_max)
            .collect();
        if targets.is_empty() {
            let cause = if reachable { Cause::NotEncrypted } else { Cause::Unavailable };
            return Err(refused(cause));
        }
        let domain = self.domain(asker.tenant);
        let mut permits = vec![first];
        while permits.len() < targets.len() {
            let leg = LegId::draw(self.core.desk(now).chance);
            permits.push(self.permit(now, asker, leg, destination.clone())?);
        }
        let own = self.registrar.extension(called).map(|found| found.number.to_string());
        let number = own.unwrap_or_else(|| asker.dialled.clone());
        let mut forks: Vec<Leg> = targets
            .into_iter()
            .zip(permits)
            .filter_map(|(target, permit)| {
                let party = callee(&target, &domain, &number);
                Leg::callee(permit, party, target.request_uri, &mut self.core.desk(now))
            })
            .collect();
        // A leg is large, and most calls ring at one phone.
        forks.shrink_to_fit();
        if forks.is_empty() {
            return Err(refused(Cause::Unavailable));
        }
        self.begin(
            now,
            key,
            request,
            asker,
            Begin { party, heard, decision, forks, called: Some(called), outside: None },
        )
    }

    /// Begins a call whose legs are permitted.
    pub(super) fn begin(
        &mut self,
        now: Now,
        key: Key,
        request: &Request,
        asker: &Asker,
        begin: Begin,
    ) -> Result<(), Refused> {
        let Begin { party, heard, decision, forks, called, outside } = begin;
        let attestation = if asker.trunk.is_some() { Attestation::None } else { Attestation::Full };
        let carry = Carry::of(&asker.name, &asker.number, attestation);
        let longest = self
            .longest(party.trunk.into_iter().chain(forks.iter().filter_map(|leg| leg.party.trunk)));
        let desk = &mut self.core.desk(now);
        let caller = Leg::caller(desk, asker.call, asker.leg, party, key, request);
        let Some(caller) = caller else {
            // Nobody will carry these legs out: what was set aside for them is free again.
            for leg in &forks {
                desk.ledger.settle(leg.id, guard::money::Money::ZERO);
                leg.forget(desk);
            }
            return Err(Refused::by(Cause::ProtocolError, decision));
        };
        let new = NewCall {
            id: asker.call,
            tenant: asker.tenant,
            from: asker.number.clone(),
            to: asker.dialled.clone(),
            caller_extension: asker.extension,
            callee_extension: called,
            responsible: asker.responsible(),
            decision,
            origin: asker.origin,
            emergency: asker.emergency,
            outside,
            carry,
            hops: request.headers().max_forwards().unwrap_or(70).saturating_sub(1),
            caller,
            forks,
            longest,
        };
        self.on_core(now, |core, now, is_at| core.begin(now, new, heard, is_at));
        Ok(())
    }

    /// The permit for a leg that costs nothing.
    pub(super) fn permit(
        &mut self,
        now: Now,
        asker: &Asker,
        leg: LegId,
        destination: Destination,
    ) -> Result<Permit, Refused> {
        match self.judge(now, asker, leg, destination)? {
            Allowed::Leg(permit) => Ok(permit),
            Allowed::Paid(_) => Err(Cause::Internal.into()),
        }
    }

    /// Asks the gate for a leg and writes down what it says.
    pub(super) fn judge(
        &mut self,
        now: Now,
        asker: &Asker,
        leg: LegId,
        destination: Destination,
    ) -> Result<Allowed, Refused> {
        let attempt = Attempt {
            tenant: asker.tenant,
            call: asker.call,
            leg,
            origin: asker.origin,
            responsible: asker.responsible(),
            destination,
            standing: asker.standing,
        };
        let verdict = self.core.gate.judge(now, &attempt, &self.core.ledger);
        match verdict {
            Verdict::Permit(permit) => {
                self.decided(&attempt, &asker.dialled, permit.decision(), true);
                Ok(Allowed::Leg(permit))
            }
            Verdict::NeedReserve(request) => Ok(Allowed::Paid(request)),
            Verdict::Denial(denial) => {
                self.core.ledger.refused(&denial);
                if !asker.quiet {
                    self.decided(&attempt, &asker.dialled, denial.decision, false);
                }
                Err(Refused::by(Cause::Refused(denial.decision.rule), denial.decision))
            }
            // Nothing can collect a PIN yet: what needs one is denied.
            Verdict::NeedPin(_) => Err(Cause::Internal.into()),
        }
    }

    pub(super) fn decided(
        &mut self,
        attempt: &Attempt,
        dialled: &str,
        decision: Decision,
        permitted: bool,
    ) {
        let extension = match attempt.responsible {
            Some(Responsible::Extension(extension)) => Some(extension),
            Some(Responsible::Trunk(_) | Responsible::System) | None => None,
        };
        let fact = Fact::GateDecided {
            call: attempt.call,
            leg: attempt.leg,
            origin: attempt.origin,
            extension,
            permitted,
            rule: decision.rule,
            policy: decision.policy,
            destination: dialled.into(),
        };
        self.tell(attempt.tenant, fact);
    }

    /// Where the called extension can be rung; never the phone that calls.
    fn targets(&mut self, now: Now, path: Path, asker: &Asker, called: ExtensionId) -> Vec<Target> {
        let targets = self.registrar.targets(called);
        for target in &targets {
            let weak = !target.path.flow.transport.is_encrypted();
            if weak && !target.exceptions.dangerous_plain_rtp {
                let (call, device) = (asker.call, Some(target.device));
                let leg = LegId::draw(self.core.desk(now).chance);
                self.tell(asker.tenant, Fact::LegNotEncrypted { call, leg, device });
            }
        }
        targets.into_iter().filter(|target| target.path != path).collect()
    }

    /// The caller's offer, where it made one. In clear only by exception, and a key that came in
    /// clear signalling is no key; what a carrier's line may be weak in was said when it was added.
    pub(super) fn offer(
        &mut self,
        request: &Request,
        path: Path,
        party: &Party,
        asker: &Asker,
    ) -> Result<Option<Heard>, Cause> {
        let plain = party.exceptions.dangerous_plain_rtp;
        let refused =
            Fact::LegNotEncrypted { call: asker.call, leg: asker.leg, device: party.device };
        if !path.flow.transport.is_encrypted() && !plain && asker.trunk.is_none() {
            self.tell(asker.tenant, refused);
            return Err(Cause::NotEncrypted);
        }
        if request.body().is_empty() {
            return Ok(None);
        }
        match Heard::offer(request.body(), plain) {
            Ok(heard) => Ok(Some(heard)),
            Err(reason) => {
                if reason == crate::back_to_back::Unacceptable::NotEncrypted {
                    self.tell(asker.tenant, refused);
                }
                Err(reason.cause())
            }
        }
    }

    pub(super) fn caller(&self, path: Path, request: &Request, asker: &Asker) -> Party {
        let known = asker.device.and_then(|device| self.registrar.device(device));
        let of_extension = asker.extension.and_then(|id| self.registrar.extension(id));
        let exceptions = of_extension.map(|extension| extension.exceptions).unwrap_or_default();
        let mut exceptions = known.map_or(exceptions, |known| exceptions.or(known.exceptions));
        let trunk = asker.trunk.and_then(|id| self.trunks.get(id));
        // A call for help is taken in clear if that is all that the phone has.
        exceptions.dangerous_plain_rtp |= asker.emergency
            || self.core.settings.dangerous.without_encryption
            || trunk.is_some_and(|t| t.media == crate::directory::TrunkMedia::DangerousPlain);
        let flow = self.registrar.flow(path.flow);
        let agent = request.headers().get(Name::UserAgent).unwrap_or_default();
        Party {
            tenant: asker.tenant,
            extension: asker.extension,
            device: asker.device,
            trunk: asker.trunk,
            line: trunk.map(super::outside::line),
            proof: asker.proof,
            path,
            realm: flow.map(|flow| flow.realm).unwrap_or_default(),
            tls: flow.and_then(|flow| flow.tls.clone()),
            agent: agent.chars().take(AGENT_MAX).collect(),
            exceptions,
            domain: self.domain(asker.tenant),
            number: asker.number.clone(),
        }
    }

    /// The host part of the addresses that phones of this tenant are shown.
    pub(super) fn domain(&self, tenant: TenantId) -> String {
        let tenant = self.registrar.tenant(tenant);
        let named = tenant.and_then(|tenant| tenant.domains.first().cloned());
        let advertised = self.core.realms.values().flat_map(|realm| &realm.advertised).next();
        named
            .or_else(|| advertised.map(|(_, host, _)| host.clone()))
            .unwrap_or_else(|| "pbx.invalid".to_owned())
    }

    /// Answers an INVITE that becomes no call, and writes it down: its sender is known.
    pub(super) fn refuse(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        asker: &Asker,
        refused: &Refused,
    ) {
        let cause = refused.cause;
        let outcome = cause.outcome();
        let status = match cause {
            // Between legs it is a failure of the other side; here it is what the caller itself sent.
            Cause::ProtocolError => Status::BAD_REQUEST,
            _ => status_of(outcome),
        };
        self.answer(now, key, request, status, |answer| explain(answer, cause));
        if let Some(extension) = asker.extension {
            self.refusals.count(now.instant, extension);
        }
        if asker.quiet {
            return;
        }
        let party = self.caller(path, request, asker);
        let cdr = Cdr {
            call: asker.call,
            tenant: asker.tenant,
            node: self.node,
            from: asker.number.clone(),
            to: asker.dialled.clone(),
            responsible: asker.extension,
            origin: asker.origin,
            tolls: Vec::new(),
            started: now.utc,
            answered: None,
            ended: now.utc,
            disposition: outcome.disposition,
            ended_by: EndedBy::default(),
            decision: refused.decision,
            emergency: asker.emergency,
            legs: vec![refused_leg(asker.leg, &party, status)],
        };
        self.write(vec![Row::Cdr(Box::new(cdr))]);
    }
}

/// What a call begins with, once every leg has its permit.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) party: Party,
    pub(super) heard: Option<Heard>,
    pub(super) decision: Decision,
    pub(super) forks: Vec<Leg>,
    pub(super) called: Option<ExtensionId>,
    pub(super) outside: Option<Outside>,
}

fn callee(target: &Target, domain: &str, number: &str) -> Party {
    Party {
        tenant: target.tenant,
        extension: Some(target.extension),
        device: Some(target.device),
        trunk: None,
        line: None,
        proof: Some(Proof::Digest(target.algorithm)),
        path: target.path,
        realm: target.realm,
        tls: target.tls.clone(),
        agent: target.agent.clone(),
        exceptions: target.exceptions,
        domain: domain.to_owned(),
        number: number.to_owned(),
    }
}

fn refused_leg(leg: LegId, party: &Party, status: Status) -> CdrLeg {
    let signalling = party.tls.as_ref().map(|tls| format!("{} {}", tls.version, tls.suite));
    CdrLeg {
        leg,
        extension: party.extension,
        device: party.device,
        trunk: party.trunk,
        caller: true,
        transport: party.path.flow.transport,
        signalling: signalling.unwrap_or_default(),
        proof: party.proof,
        suite: None,
        agent: party.agent.clone(),
        status: status.code(),
        quality: None,
        weaknesses: Vec::new(),
    }
}

/// What is longer is no number; it is kept this far for the record.
pub(super) const DIALLED_MAX: usize = 64;

/// Shorter digits that no dial plan knows are an extension that doesn't exist, not a number outside.
const INTERNAL_DIGITS_MAX: usize = 6;

/// Longer names of a phone are cut.
const AGENT_MAX: usize = 96;
