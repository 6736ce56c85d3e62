//! The exchange: extensions call each other. An application on the dialog core.
//!
//! Drive it as [`crate::io`] says. Every request is judged in one order: is it sound, who sent it
//! (digest), what does it mean (tenant, number), may it happen (the gate, once for each leg), can it
//! happen (bounds, targets, encryption). Strangers learn nothing before they have proved who they are:
//! an INVITE to a number that doesn't exist gets the same challenge as one to a number that does.
//!
//! A call for help is recognised before all else and passes bounds, lockdown and drain. There is no
//! trunk yet: it is judged, written down and answered that no emergency route exists.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use guard::access::Actor;
use guard::cause::{Cause, Outcome};
use guard::fact::{Fact, ViolationKind};
use guard::gate::{
    Attempt, Decision, Destination, Gate, Origin, Permit, Responsible, Standing, Verdict,
};
use guard::id::{CallId, ExtensionId, LegId, NodeId};
use guard::ledger::Ledger;
use guard::number::{Digits, Emergency, Outside};
use pure::{Chance, Instant, Now};
use sip::transaction::Key;
use sip::{Message, Method, Name, Rejected, Request, Response, ResponseBuilder, Status, Violation};

use crate::authenticate::{self, Identity};
use crate::back_to_back::call::NewCall;
use crate::back_to_back::carry::Carry;
use crate::back_to_back::leg::{Leg, Party, abilities, explain, token};
use crate::back_to_back::{BackToBack, Event, Heard};
use crate::command::{Change, Command, Refusal, Reply, StatusView};
use crate::flow::{Path, Realm};
use crate::io::{Attestation, Input, Output, PersistError, Ticket};
use crate::record::{Cdr, CdrLeg, Loaded, Row};
use crate::recovery::Recovery;
use crate::registrar::{Effect, Prepared, Registrar, RegistrarSettings, Target};
use crate::settings::Settings;
use crate::throttle::Throttle;

/// See the module.
#[derive(Debug)]
pub struct Exchange {
    node: NodeId,
    registrar: Registrar,
    core: BackToBack,
    recovery: Recovery,
    changes: BTreeMap<Ticket, Pending>,
    violations: Throttle<(IpAddr, ViolationKind)>,
    drain: Drain,
}

/// A change that waits to be durable.
#[derive(Debug)]
struct Pending {
    asked: Ticket,
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    Open,
    /// Nothing new; what is up is being ended until the deadline.
    Draining {
        deadline: Instant,
    },
    Drained,
}

/// What it takes to begin.
#[derive(Debug)]
pub struct Setup {
    pub node: NodeId,
    pub settings: Settings,
    pub registrar: RegistrarSettings,
    pub gate: Gate,
    pub realms: Vec<Realm>,
    pub loaded: Loaded,
    pub chance: Chance,
}

/// Why an INVITE became no call.
#[derive(Debug)]
struct Refused {
    cause: Cause,
    decision: Option<Decision>,
}

/// A caller who has proved who it is.
#[derive(Debug)]
struct Asker {
    identity: Identity,
    standing: Standing,
    call: CallId,
    leg: LegId,
    number: String,
    dialled: String,
}

impl Exchange {
    /// Begins with what the store held. Interrupted calls get their records at once; their legs are
    /// ended as their phones come back.
    pub fn new(now: Now, setup: Setup) -> Self {
        let Setup { node, settings, registrar, gate, realms, mut loaded, mut chance } = setup;
        let snapshots = std::mem::take(&mut loaded.snapshots);
        let directory = (&mut loaded).into();
        let registrar = Registrar::new(registrar, node, directory, now, chance.fork());
        let timeout = settings.orphan_timeout;
        let mut exchange = Self {
            node,
            registrar,
            violations: Throttle::new(VIOLATION_INTERVAL, chance.hash_seed()),
            core: BackToBack::new(settings, gate, Ledger::default(), node, realms, chance),
            recovery: Recovery::default(),
            changes: BTreeMap::new(),
            drain: Drain::Open,
        };
        let (rows, facts) = exchange.recovery.begin(now, node, snapshots, timeout);
        exchange.write(rows);
        for (tenant, fact) in facts {
            exchange.core.output(Output::Fact { tenant, fact });
        }
        exchange
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Received { path, bytes } => self.received(now, path, bytes),
            Input::FlowOpened(opened) => {
                let rows = self.recovery.flow_opened(&mut self.core.desk(now), &opened);
                self.registrar.flow_opened(opened);
                self.write(rows);
                self.on_core(now, |core, now, is_at| core.pump(now, is_at));
            }
            Input::FlowClosed { flow } => {
                let mut effects = Vec::new();
                let remote = self.registrar.flow(flow).and_then(|opened| opened.remote);
                self.registrar.flow_closed(flow, &mut effects);
                self.carry_out(now, effects);
                self.on_core(now, |core, now, is_at| core.flow_closed(now, flow, remote, is_at));
            }
            Input::TransmitFailed { path } => {
                self.on_core(now, |core, now, is_at| core.transmit_failed(now, path, is_at));
            }
            Input::Persisted { ticket, result } => self.persisted(now, ticket, result),
            // Nothing is looked up yet: trunks and signatures will.
            Input::LookedUp { .. } | Input::Connected { .. } => {}
            Input::Media(event) => {
                self.on_core(now, |core, now, is_at| core.media(now, event, is_at));
            }
            Input::Command { ticket, command } => self.command(now, ticket, command),
            Input::Wake => self.wake(now),
        }
        self.serve(now);
        self.maybe_drained();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.poll_output()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Draining { deadline } => Some(deadline),
            Drain::Open | Drain::Drained => None,
        };
        let core = self.core.poll_timeout();
        let registrar = self.registrar.poll_timeout();
        [drain, core, registrar, self.recovery.poll_timeout()].into_iter().flatten().min()
    }

    /// What is held on account of calls, each with its name: all zero once nobody calls, whatever
    /// happened before.
    pub fn live(&self) -> Vec<(&'static str, usize)> {
        let mut live = self.core.live();
        live.extend(self.recovery.live());
        live.push(("changes", self.changes.len()));
        live
    }

    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// Puts a new version of the policy into effect: the next leg is judged by it.
    pub fn set_gate(&mut self, gate: Gate) {
        self.core.gate = gate;
    }

    // Driving the core.

    fn on_core<T>(
        &mut self,
        now: Now,
        act: impl FnOnce(&mut BackToBack, Now, crate::back_to_back::IsAt<'_>) -> T,
    ) -> T {
        let registrar = &self.registrar;
        act(&mut self.core, now, &|device, path| registrar.is_at(device, path))
    }

    /// Handles what the core has found until there is nothing more.
    fn serve(&mut self, now: Now) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Request { key, path, request } => self.request(now, key, path, &request),
                Event::Overloaded { path, request, admitted } => {
                    self.overloaded(now, path, request, admitted);
                }
                Event::Stray { path, response } => {
                    self.recovery.stray(&mut self.core.desk(now), path, &response);
                    self.on_core(now, |core, now, is_at| core.pump(now, is_at));
                }
                Event::Done { key, .. } => {
                    let rows = self.recovery.answered(key);
                    self.write(rows);
                }
                Event::Undelivered { key } => self.recovery.undelivered(key),
                Event::Violation { path, kind } => self.violated(now, path, kind),
            }
        }
    }

    fn write(&mut self, rows: Vec<Row>) {
        if !rows.is_empty() {
            self.core.output(Output::Persist { ticket: None, rows });
        }
    }

    fn carry_out(&mut self, now: Now, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(rows) => self.write(rows),
                Effect::Fact { tenant, fact } => {
                    self.core.output(Output::Fact { tenant: Some(tenant), fact });
                }
                Effect::CloseFlow(flow) => self.core.output(Output::CloseFlow { flow }),
                Effect::Reachable { device, path } => {
                    self.core.reachable(now, device, path);
                    let Some(realm) = self.registrar.flow(path.flow).map(|flow| flow.realm) else {
                        continue;
                    };
                    let desk = &mut self.core.desk(now);
                    let rows = self.recovery.reachable(desk, device, path, realm);
                    self.write(rows);
                    self.on_core(now, |core, now, is_at| core.pump(now, is_at));
                }
            }
        }
    }

    fn wake(&mut self, now: Now) {
        let mut effects = Vec::new();
        self.registrar.expire(now, &mut effects);
        self.carry_out(now, effects);
        let rows = self.recovery.expire(now);
        self.write(rows);
        self.on_core(now, |core, now, is_at| core.wake(now, is_at));
        if let Drain::Draining { deadline } = self.drain
            && deadline <= now.instant
        {
            self.core.give_up(now);
        }
    }

    // From the wire.

    fn received(&mut self, now: Now, path: Path, bytes: Bytes) {
        let message = match Message::parse_or_reject(bytes) {
            Ok(Message::Request(request)) => match request.with_received(path.remote) {
                Ok(request) => Message::Request(request),
                Err(_) => return self.violated(now, path, ViolationKind::TooLarge),
            },
            Ok(response) => response,
            // A keep-alive (RFC 5626 §4.4.1): the edge has answered it.
            Err(Rejected { violation: Violation::Empty, .. }) => return,
            Err(Rejected { reply, .. }) => {
                if let Some(reply) = reply {
                    self.core.output(Output::Transmit { path, bytes: reply.as_bytes().clone() });
                }
                return self.violated(now, path, ViolationKind::Malformed);
            }
        };
        self.on_core(now, |core, now, is_at| core.received(now, path, message, is_at));
    }

    fn violated(&mut self, now: Now, path: Path, kind: ViolationKind) {
        let key = (path.remote.ip(), kind);
        if let Some(count) = self.violations.admit(now.instant, key) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let address = path.remote.ip().into();
            let fact = Fact::ViolationSeen { kind, count, address };
            self.core.output(Output::Fact { tenant: None, fact });
        }
    }

    fn request(&mut self, now: Now, key: Key, path: Path, request: &Request) {
        match request.method() {
            Method::Invite => self.invite(now, key, path, request),
            Method::Register => {
                let mut effects = Vec::new();
                let response = self.registrar.register(now, request, path, &mut effects);
                self.respond(now, key, response);
                self.carry_out(now, effects);
            }
            Method::Options => self.answer(now, key, request, Status::OK, abilities),
            // RFC 6665 §7.3: no event package is known.
            Method::Subscribe | Method::Publish => {
                self.answer(now, key, request, Status::BAD_EVENT, |answer| answer);
            }
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
                self.answer(now, key, request, Status::CALL_DOES_NOT_EXIST, |answer| answer);
            }
            Method::Refer | Method::Message => {
                self.answer(now, key, request, Status::METHOD_NOT_ALLOWED, abilities);
            }
            // ACK and CANCEL never come up as new requests.
            Method::Ack | Method::Cancel => {}
            Method::Other(_) => {
                self.answer(now, key, request, Status::NOT_IMPLEMENTED, abilities);
            }
        }
    }

    /// The table of transactions, or the sender's share of it, is full. A call for help still enters,
    /// through a reserve of its own, if its sender may make one: anybody can write an emergency number
    /// into a message. It is given back once only, so what was `admitted` is refused.
    fn overloaded(&mut self, now: Now, path: Path, request: Request, admitted: bool) {
        if !admitted && self.may_enter_for_help(now, path, &request) {
            return self.on_core(now, |core, now, is_at| core.admit(now, path, request, is_at));
        }
        let after = self.core.settings.retry_after.as_secs().to_string();
        let reply = Response::builder(&request, Status::SERVICE_UNAVAILABLE)
            .to_tag(&token(&mut self.core.desk(now)))
            .header(Name::RetryAfter, &after)
            .build();
        if let Ok(reply) = reply {
            self.core.transmit(path, reply.as_bytes().clone());
        }
    }

    /// Whether the gate would permit this call for help by what is known of the path alone.
    fn may_enter_for_help(&mut self, now: Now, path: Path, request: &Request) -> bool {
        let emergency = self.emergency(request).filter(|_| request.method() == Method::Invite);
        let Some(emergency) = emergency else { return false };
        let (call, leg) = {
            let desk = self.core.desk(now);
            (CallId::draw(desk.chance), LegId::draw(desk.chance))
        };
        let attempt = Attempt {
            tenant: self.registrar.tenant_of(request),
            call,
            leg,
            origin: Origin::Phone,
            responsible: None,
            destination: Destination::Emergency(emergency),
            standing: self.standing_of(path),
        };
        matches!(self.core.gate.judge(now, &attempt, &self.core.ledger), Verdict::Permit(_))
    }

    /// Who somebody without a proof is taken for.
    fn standing_of(&self, path: Path) -> Standing {
        match self.registrar.known_device(path) {
            Some((device, registered)) => Standing::KnownDevice { device, registered },
            None => Standing::Stranger,
        }
    }

    fn respond(&mut self, now: Now, key: Key, response: Response) {
        self.on_core(now, |core, now, is_at| core.respond(now, key, response, is_at));
    }

    fn answer(
        &mut self,
        now: Now,
        key: Key,
        request: &Request,
        status: Status,
        with: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) {
        let tag = token(&mut self.core.desk(now));
        let answer = Response::builder(request, status).to_tag(&tag);
        let answer = answer.header(Name::Server, &self.core.settings.product);
        if let Ok(response) = with(answer).build() {
            self.respond(now, key, response);
        }
    }

    // INVITE.

    fn emergency(&self, request: &Request) -> Option<Emergency> {
        self.core.gate.policy().home.emergency(request.uri().as_str())
    }

    fn invite(&mut self, now: Now, key: Key, path: Path, request: &Request) {
        let emergency = self.emergency(request);
        // What a call for help asks for beside help is ignored; nothing may stand in its way.
        if emergency.is_none() {
            if let Some((status, header)) = self.unfit(request) {
                return self.answer(now, key, request, status, |answer| match header {
                    Some((name, value)) => answer.header(name, &value),
                    None => answer,
                });
            }
            if self.drain != Drain::Open {
                let cause = Cause::Draining;
                return self.answer(now, key, request, status_of(cause.outcome()), |answer| {
                    explain(answer, cause)
                });
            }
        }
        let mut effects = Vec::new();
        let verdict = self.registrar.authenticate(now, request, path, &mut effects);
        self.carry_out(now, effects);
        let (identity, standing, otherwise) = match verdict {
            authenticate::Verdict::Proved(identity) => {
                let standing = identity.standing();
                (Some(identity), standing, None)
            }
            authenticate::Verdict::Former { identity, challenge } => {
                // Enough for help, for nothing else.
                let standing = identity.standing();
                (Some(identity).filter(|_| emergency.is_some()), standing, Some(challenge))
            }
            authenticate::Verdict::Challenge(response)
            | authenticate::Verdict::Refused(response) => {
                (None, self.standing_of(path), Some(response))
            }
        };
        if let Some(emergency) = emergency {
            return self.help(now, key, request, emergency, identity, standing, otherwise);
        }
        let identity = match (identity, otherwise) {
            (Some(identity), _) => identity,
            (None, Some(response)) => return self.respond(now, key, response),
            (None, None) => return,
        };
        let number = self
            .registrar
            .extension(identity.extension)
            .map(|extension| extension.number.to_string())
            .unwrap_or_default();
        let dialled = request.uri().user_unescaped().unwrap_or_default().into_owned();
        let asker = Asker {
            standing: identity.standing(),
            call: CallId::draw(self.core.desk(now).chance),
            leg: LegId::draw(self.core.desk(now).chance),
            identity,
            number,
            dialled: dialled.chars().take(DIALLED_MAX).collect(),
        };
        if let Err(refused) = self.call(now, key, path, request, &asker) {
            self.refuse(now, key, path, request, &asker, &refused);
        }
    }

    /// What is wrong with an INVITE before anybody asks whose it is.
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
        let caller = asker.identity.extension;
        if self.core.calls_counted() >= self.core.settings.calls_max {
            return Err(Cause::Congestion.into());
        }
        if self.core.calls_of(caller) >= self.core.settings.calls_per_extension_max {
            return Err(Cause::Busy.into());
        }
        let called = self.registrar.resolve(asker.identity.tenant, &asker.dialled);
        let destination = match (called, Digits::parse(&asker.dialled)) {
            (Some(extension), _) => Destination::Extension(extension),
            (None, Some(digits)) if digits.as_str().len() > INTERNAL_DIGITS_MAX => {
                Destination::Outside(Outside::unclassified(digits))
            }
            (None, _) => Destination::Unknown,
        };
        let targets = called.map(|called| self.targets(now, path, asker, called));
        let targets = targets.unwrap_or_default();
        // The gate is asked once for each leg; where nobody can be rung, once for the call.
        let first = self.judge(now, asker, destination.clone())?;
        let decision = first.decision();
        let Some(called) = called else { return Err(Refused::by(Cause::NotFound, decision)) };
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
        let domain = self.domain(asker.identity.tenant);
        let mut permits = vec![first];
        while permits.len() < targets.len() {
            permits.push(self.judge(now, asker, destination.clone())?);
        }
        let forks: Vec<Leg> = targets
            .into_iter()
            .zip(permits)
            .filter_map(|(target, permit)| {
                let party = callee(&target, &domain, &asker.dialled);
                Leg::callee(permit, party, target.request_uri, &mut self.core.desk(now))
            })
            .collect();
        if forks.is_empty() {
            return Err(refused(Cause::Unavailable));
        }
        let name = self.registrar.extension(caller).map_or("", |extension| &extension.name);
        let carry = Carry::of(name, &asker.number, Attestation::Full);
        let desk = &mut self.core.desk(now);
        let caller_leg = Leg::caller(desk, asker.call, asker.leg, party, key, request);
        let Some(caller_leg) = caller_leg else { return Err(refused(Cause::ProtocolError)) };
        let new = NewCall {
            id: asker.call,
            tenant: asker.identity.tenant,
            from: asker.number.clone(),
            to: asker.dialled.clone(),
            caller_extension: Some(caller),
            callee_extension: Some(called),
            responsible: Some(Responsible::Extension(caller)),
            decision,
            carry,
            hops: request.headers().max_forwards().unwrap_or(70).saturating_sub(1),
            caller: caller_leg,
            forks,
        };
        self.on_core(now, |core, now, is_at| core.begin(now, new, heard, is_at));
        Ok(())
    }

    fn judge(
        &mut self,
        now: Now,
        asker: &Asker,
        destination: Destination,
    ) -> Result<Permit, Refused> {
        let attempt = Attempt {
            tenant: asker.identity.tenant,
            call: asker.call,
            leg: LegId::draw(self.core.desk(now).chance),
            origin: Origin::Phone,
            responsible: Some(Responsible::Extension(asker.identity.extension)),
            destination,
            standing: asker.standing,
        };
        let verdict = self.core.gate.judge(now, &attempt, &self.core.ledger);
        let (permitted, decision) = match &verdict {
            Verdict::Permit(permit) => (true, Some(permit.decision())),
            Verdict::Denial(denial) => (false, Some(denial.decision)),
            // Nothing can ask for a PIN or for money yet: what needs one is denied.
            Verdict::NeedPin(_) | Verdict::NeedReserve(_) => (false, None),
        };
        if let Some(decision) = decision {
            let fact = Fact::GateDecided {
                call: asker.call,
                leg: attempt.leg,
                origin: attempt.origin,
                extension: Some(asker.identity.extension),
                permitted,
                rule: decision.rule,
                policy: decision.policy,
                destination: asker.dialled.as_str().into(),
            };
            self.core.output(Output::Fact { tenant: Some(asker.identity.tenant), fact });
        }
        match verdict {
            Verdict::Permit(permit) => Ok(permit),
            Verdict::Denial(denial) => {
                Err(Refused::by(Cause::Refused(denial.decision.rule), denial.decision))
            }
            Verdict::NeedPin(_) | Verdict::NeedReserve(_) => Err(Cause::Internal.into()),
        }
    }

    /// Where the called extension can be rung; never the phone that calls.
    fn targets(&mut self, now: Now, path: Path, asker: &Asker, called: ExtensionId) -> Vec<Target> {
        let targets = self.registrar.targets(called);
        for target in &targets {
            let weak = !target.path.flow.transport.is_encrypted();
            if weak && !target.exceptions.dangerous_plain_rtp {
                let (call, device) = (asker.call, Some(target.device));
                let leg = LegId::draw(self.core.desk(now).chance);
                let fact = Fact::LegNotEncrypted { call, leg, device };
                self.core.output(Output::Fact { tenant: Some(asker.identity.tenant), fact });
            }
        }
        targets.into_iter().filter(|target| target.path != path).collect()
    }

    /// The caller's offer, where it made one. In clear only by exception, and a key that came in
    /// clear signalling is no key.
    fn offer(
        &mut self,
        request: &Request,
        path: Path,
        party: &Party,
        asker: &Asker,
    ) -> Result<Option<Heard>, Cause> {
        let plain = party.exceptions.dangerous_plain_rtp;
        let refused =
            Fact::LegNotEncrypted { call: asker.call, leg: asker.leg, device: party.device };
        if !path.flow.transport.is_encrypted() && !plain {
            self.core.output(Output::Fact { tenant: Some(asker.identity.tenant), fact: refused });
            return Err(Cause::NotEncrypted);
        }
        if request.body().is_empty() {
            return Ok(None);
        }
        match Heard::offer(request.body(), plain) {
            Ok(heard) => Ok(Some(heard)),
            Err(reason) => {
                if reason == crate::back_to_back::Unacceptable::NotEncrypted {
                    self.core.output(Output::Fact {
                        tenant: Some(asker.identity.tenant),
                        fact: refused,
                    });
                }
                Err(reason.cause())
            }
        }
    }

    fn caller(&self, path: Path, request: &Request, asker: &Asker) -> Party {
        let Identity { tenant, extension, device, .. } = asker.identity;
        let known = device.and_then(|device| self.registrar.device(device));
        let of_extension = self.registrar.extension(extension).map(|e| e.exceptions);
        let exceptions = of_extension.unwrap_or_default();
        let flow = self.registrar.flow(path.flow);
        let agent = request.headers().get(Name::UserAgent).unwrap_or_default();
        Party {
            tenant: asker.identity.tenant,
            extension: Some(extension),
            device,
            proof: Some(asker.identity.proof()),
            path,
            realm: flow.map(|flow| flow.realm).unwrap_or_default(),
            tls: flow.and_then(|flow| flow.tls.clone()),
            agent: agent.chars().take(AGENT_MAX).collect(),
            exceptions: known.map_or(exceptions, |known| exceptions.or(known.exceptions)),
            domain: self.domain(tenant),
            number: asker.number.clone(),
        }
    }

    /// The host part of the addresses that phones of this tenant are shown.
    fn domain(&self, tenant: guard::id::TenantId) -> String {
        let tenant = self.registrar.tenant(tenant);
        let named = tenant.and_then(|tenant| tenant.domains.first().cloned());
        let advertised = self.core.realms.values().flat_map(|realm| &realm.advertised).next();
        named
            .or_else(|| advertised.map(|(_, host, _)| host.clone()))
            .unwrap_or_else(|| "ringfence.invalid".to_owned())
    }

    /// Answers an INVITE that becomes no call, and writes it down: its sender is known.
    fn refuse(
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
        let party = self.caller(path, request, asker);
        let cdr = Cdr {
            call: asker.call,
            tenant: asker.identity.tenant,
            node: self.node,
            from: asker.number.clone(),
            to: asker.dialled.clone(),
            responsible: Some(asker.identity.extension),
            origin: Origin::Phone,
            tolls: Vec::new(),
            started: now.utc,
            answered: None,
            ended: now.utc,
            disposition: outcome.disposition,
            decision: refused.decision,
            emergency: false,
            legs: vec![refused_leg(asker.leg, &party, status)],
        };
        self.write(vec![Row::Cdr(Box::new(cdr))]);
    }

    /// A call for help.
    #[allow(clippy::too_many_arguments, reason = "all that is known of one request, used once")]
    fn help(
        &mut self,
        now: Now,
        key: Key,
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
        let tenant = match &identity {
            Some(identity) => identity.tenant,
            None => self.registrar.tenant_of(request),
        };
        let extension = identity.as_ref().map(|identity| identity.extension);
        let attempt = Attempt {
            tenant,
            call,
            leg,
            origin: Origin::Phone,
            responsible: extension.map(Responsible::Extension),
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
        let from = extension.and_then(|extension| self.registrar.extension(extension));
        let from = from.map(|extension| extension.number.to_string()).unwrap_or_default();
        let device = match standing {
            Standing::KnownDevice { device, .. } => Some(device),
            Standing::Proved(_) | Standing::Ourselves | Standing::Stranger => {
                identity.as_ref().and_then(|identity| identity.device)
            }
        };
        let fact = Fact::EmergencyCalled {
            call,
            extension,
            device,
            number: emergency.number().to_owned(),
            kind: emergency.kind(),
            from: from.as_str().into(),
        };
        self.core.output(Output::Fact { tenant: Some(tenant), fact });
        self.answer(now, key, request, Status::SERVICE_UNAVAILABLE, |answer| {
            answer
                .reason("No Emergency Route Is Configured")
                .header(Name::Reason, NO_EMERGENCY_ROUTE)
        });
        let cdr = Cdr {
            call,
            tenant,
            node: self.node,
            from,
            to: emergency.number().to_owned(),
            responsible: extension,
            origin: Origin::Phone,
            tolls: Vec::new(),
            started: now.utc,
            answered: None,
            ended: now.utc,
            disposition: Cause::Congestion.outcome().disposition,
            decision: Some(permit.decision()),
            emergency: true,
            legs: Vec::new(),
        };
        self.write(vec![Row::Cdr(Box::new(cdr))]);
    }

    // Commands.

    fn command(&mut self, now: Now, ticket: Ticket, command: Command) {
        let reply = match command {
            Command::Change { actor, change } => return self.change(now, ticket, &actor, change),
            Command::Devices => Reply::Devices(self.registrar.device_views()),
            Command::Calls => Reply::Calls(self.core.views()),
            Command::Extensions { tenant } => {
                Reply::Extensions(self.registrar.extension_views(tenant))
            }
            Command::Status => Reply::Status(self.status()),
            Command::Trunks
            | Command::Inbound
            | Command::TestTrunk { .. }
            | Command::Policy
            | Command::Explain { .. }
            | Command::Exposure
            | Command::ExposureUnder { .. }
            | Command::Budgets => Reply::Refused(Refusal::NotAllowed),
            Command::Drain => {
                self.begin_drain(now);
                Reply::Done
            }
        };
        self.core.output(Output::Reply { ticket, reply });
    }

    fn status(&self) -> StatusView {
        let devices = self.registrar.device_views();
        let registered = devices.iter().filter(|device| device.registered.is_some());
        let weak = registered.clone().filter(|device| !device.weaknesses.is_empty()).count();
        StatusView {
            extensions: self.registrar.extension_count(),
            devices_known: devices.len(),
            devices_registered: registered.count(),
            calls_up: self.core.calls_up(),
            weak: weak + self.core.calls_weak(),
            trunks: 0,
            trunks_up: 0,
            draining: self.drain != Drain::Open,
        }
    }

    fn change(&mut self, now: Now, asked: Ticket, actor: &Actor, change: Change) {
        if let Change::HangUp { call } = change {
            let known =
                self.on_core(now, |core, now, is_at| core.end(now, call, Cause::Cleared, is_at));
            let reply = if known { Reply::Done } else { Reply::Refused(Refusal::NotFound) };
            return self.core.output(Output::Reply { ticket: asked, reply });
        }
        let Prepared { tenant, rows, facts, change } = match self.registrar.prepare(actor, change) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let reply = Reply::Refused(refusal);
                return self.core.output(Output::Reply { ticket: asked, reply });
            }
        };
        let ticket = self.core.ticket();
        // The line in the journal goes first: no change is ever without it, whenever we die.
        for fact in facts {
            self.core.output(Output::Fact { tenant: Some(tenant), fact });
        }
        self.core.output(Output::Persist { ticket: Some(ticket), rows });
        self.changes.insert(ticket, Pending { asked, change });
    }

    fn persisted(&mut self, now: Now, ticket: Ticket, result: Result<(), PersistError>) {
        let Some(Pending { asked, change }) = self.changes.remove(&ticket) else {
            self.on_core(now, |core, now, is_at| core.persisted(now, ticket, result, is_at));
            return;
        };
        let reply = match result {
            Ok(()) => {
                let mut effects = Vec::new();
                self.registrar.apply(change, &mut effects);
                self.carry_out(now, effects);
                Reply::Done
            }
            Err(error) => {
                self.registrar.abandon(&change);
                let fact = Fact::PersistFailed {
                    what: "a change of the directory".to_owned(),
                    error: format!("{error:?}"),
                };
                self.core.output(Output::Fact { tenant: None, fact });
                Reply::Refused(Refusal::NotPersisted)
            }
        };
        self.core.output(Output::Reply { ticket: asked, reply });
    }

    fn begin_drain(&mut self, now: Now) {
        if self.drain != Drain::Open {
            return;
        }
        let calls_up = u32::try_from(self.core.calls_up()).unwrap_or(u32::MAX);
        let fact = Fact::DrainStarted { node: self.node, calls_up };
        self.core.output(Output::Fact { tenant: None, fact });
        let deadline = now.instant + self.core.settings.drain_timeout;
        self.drain = Drain::Draining { deadline };
        self.on_core(now, |core, now, is_at| core.end_all(now, Cause::Draining, is_at));
    }

    fn maybe_drained(&mut self) {
        if let Drain::Draining { .. } = self.drain
            && self.core.calls_up() == 0
        {
            self.drain = Drain::Drained;
            self.core.output(Output::Drained);
        }
    }
}

impl Refused {
    fn by(cause: Cause, decision: Decision) -> Self {
        Self { cause, decision: Some(decision) }
    }
}

impl From<Cause> for Refused {
    fn from(cause: Cause) -> Self {
        Self { cause, decision: None }
    }
}

fn callee(target: &Target, domain: &str, number: &str) -> Party {
    Party {
        tenant: target.tenant,
        extension: Some(target.extension),
        device: Some(target.device),
        proof: Some(guard::gate::Proof::Digest(target.algorithm)),
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
        trunk: None,
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

fn status_of(outcome: Outcome) -> Status {
    Status::new(outcome.status).unwrap_or(Status::SERVER_INTERNAL_ERROR)
}

/// Q.850 3: no route to destination.
const NO_EMERGENCY_ROUTE: &str = "Q.850;cause=3;text=\"No emergency route is configured.\"";

/// One line of the journal a minute, address and kind of violation.
const VIOLATION_INTERVAL: Duration = Duration::from_secs(60);

/// What is longer is no number; it is kept this far for the record.
const DIALLED_MAX: usize = 64;

/// Shorter digits are an extension that doesn't exist, not a number outside.
const INTERNAL_DIGITS_MAX: usize = 6;

/// Longer names of a phone are cut.
const AGENT_MAX: usize = 96;

#[cfg(test)]
mod tests;
