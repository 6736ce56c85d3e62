//! The exchange: extensions call each other. An application on the dialog core.
//!
//! Drive it as [`crate::io`] says. Every request is judged in one order: is it sound, who sent it
//! (digest), what does it mean (tenant, number), may it happen (the gate, once for each leg), can it
//! happen (bounds, targets, encryption). Strangers learn nothing before they have proved who they are:
//! an INVITE to a number that doesn't exist gets the same challenge as one to a number that does.
//!
//! A call for help is recognised before all else and passes bounds, lockdown and drain.
//!
//! What an INVITE becomes is in [`invite`], calls to carriers in [`outside`], from them in [`inbound`],
//! calls for help in [`help`], administrators in [`command`]. What the wall wants and what strangers
//! hear is in [`strangers`].

mod command;
mod help;
mod inbound;
mod invite;
mod outside;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use guard::access::Actor;
use guard::cause::{Cause, Outcome};
use guard::fact::{Fact, ViolationKind};
use guard::gate::{Attempt, Decision, Destination, Gate, Origin, Standing, Verdict};
use guard::id::{CallId, ExtensionId, LegId, NodeId, TenantId, TrunkId};
use guard::ledger::{Crossing, Ledger, Spend};
use guard::policy::Scope;
use guard::source::Source;
use guard::tally::{Line, Tally};
use pure::{Chance, Instant, Now};
use sip::transaction::Key;
use sip::{Message, Method, Name, Rejected, Request, Response, ResponseBuilder, Status, Violation};

use crate::back_to_back::leg::{abilities, token};
use crate::back_to_back::{BackToBack, Event, Owner};
use crate::command::Change;
use crate::flow::{FlowId, Path, Realm, Transport};
use crate::io::{Input, Output, Ticket};
use crate::pace::{Pace, REFUSALS_MAX, Ringing, Unproved};
use crate::record::{Loaded, Row};
use crate::recovery::Recovery;
use crate::registrar::{Effect, Registrar, RegistrarSettings};
use crate::settings::Settings;
use crate::trunk::{self, Trunks};

/// See the module.
#[derive(Debug)]
pub struct Exchange {
    node: NodeId,
    registrar: Registrar,
    core: BackToBack,
    recovery: Recovery,
    trunks: Trunks,
    /// Sockets that carriers alone are answered on.
    carrier_sockets: BTreeSet<FlowId>,
    refusals: Pace<ExtensionId>,
    ringing: Ringing,
    /// Our tag in answers without a transaction, once there was one.
    passing: Option<String>,
    changes: BTreeMap<Ticket, Pending>,
    violations: BTreeMap<ViolationKind, Tally>,
    /// Calls for help of whoever is known by its address alone.
    unproved: Unproved,
    drain: Drain,
}

/// A change that waits to be durable.
#[derive(Debug)]
struct Pending {
    asked: Ticket,
    change: Change,
    actor: Actor,
    /// What the journal says of it once it is made.
    facts: Vec<Fact>,
    /// What a reset of a budget forgets.
    forgets: Vec<Spend>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    Open,
    /// Nothing new; what is up is being ended until the deadline, calls for help until theirs.
    Draining {
        deadline: Instant,
        help: Instant,
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

impl Exchange {
    /// Begins with what the store held. Interrupted calls get their records at once; their legs are
    /// ended as their phones come back.
    pub fn new(now: Now, setup: Setup) -> Self {
        let Setup { node, settings, mut registrar, gate, realms, mut loaded, mut chance } = setup;
        registrar.without_wall |= settings.dangerous.without_wall;
        let snapshots = std::mem::take(&mut loaded.snapshots);
        let held = snapshots.iter().flat_map(|call| &call.legs).filter_map(|leg| leg.toll.as_ref());
        let held = held.map(|(_, hold)| hold.clone());
        let ledger = Ledger::restore(std::mem::take(&mut loaded.spends), held);
        let carriers = std::mem::take(&mut loaded.trunks);
        let trunks = Trunks::new(carriers, std::mem::take(&mut loaded.inbound), chance.fork());
        let directory = (&mut loaded).into();
        let registrar = Registrar::new(registrar, node, directory, now, chance.fork());
        let timeout = settings.orphan_timeout;
        let gate = gate.dangerously_open(settings.dangerous.without_gate);
        // One is drawn and not used, so that the random worlds that are known by their seeds stay as they are.
        chance.hash_seed();
        let by_extension = chance.hash_seed();
        let mut exchange = Self {
            node,
            registrar,
            violations: BTreeMap::new(),
            unproved: Unproved::default(),
            refusals: Pace::new(REFUSALS_MAX, by_extension),
            ringing: Ringing::new(by_extension),
            passing: None,
            core: BackToBack::new(settings, gate, ledger, node, realms, chance),
            recovery: Recovery::default(),
            trunks,
            carrier_sockets: BTreeSet::new(),
            changes: BTreeMap::new(),
            drain: Drain::Open,
        };
        let (rows, facts) = exchange.recovery.begin(now, node, snapshots, timeout);
        exchange.write(rows);
        for (tenant, fact) in facts {
            exchange.core.output(Output::Fact { tenant, fact });
        }
        let mut out = Vec::new();
        exchange.trunks.start(&mut exchange.core.desk(now), &mut out);
        exchange.carry(now, out);
        exchange.registrar.wall.carriers(exchange.trunks.sources());
        exchange.obey_wall();
        exchange
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Received { path, bytes } => self.received(now, path, bytes),
            Input::FlowOpened(opened) => {
                self.turn_back(now, &opened);
                let rows = self.recovery.flow_opened(&mut self.core.desk(now), &opened);
                self.trunks.flow_opened(&opened);
                let mut effects = Vec::new();
                let phones = self.core.realms.get(&opened.realm).and_then(heard_over_udp);
                self.registrar.flow_opened(now, opened, phones, &mut effects);
                self.write(rows);
                self.carry_out(now, effects);
                self.on_core(now, |core, now, is_at| core.pump(now, is_at));
            }
            Input::FlowClosed { flow } => {
                let mut effects = Vec::new();
                let remote = self.registrar.flow(flow).and_then(|opened| opened.remote);
                self.registrar.flow_closed(flow, &mut effects);
                self.carry_out(now, effects);
                self.on_core(now, |core, now, is_at| core.flow_closed(now, flow, remote, is_at));
                self.carrier_sockets.remove(&flow);
                let mut out = Vec::new();
                self.trunks.flow_closed(&mut self.core.desk(now), flow, &mut out);
                self.carry(now, out);
            }
            Input::TransmitFailed { path } => {
                self.on_core(now, |core, now, is_at| core.transmit_failed(now, path, is_at));
            }
            Input::Persisted { ticket, result } => self.persisted(now, ticket, result),
            Input::LookedUp { ticket, answer } => {
                let mut out = Vec::new();
                self.trunks.located(&mut self.core.desk(now), ticket, &answer, &mut out);
                self.carry(now, out);
                self.registrar.wall.carriers(self.trunks.sources());
            }
            Input::Connected { ticket, result } => {
                if let Ok(flow) = result.as_ref()
                    && flow.transport == Transport::Udp
                {
                    self.carrier_sockets.insert(*flow);
                }
                let mut out = Vec::new();
                self.trunks.connected(&mut self.core.desk(now), ticket, result, &mut out);
                self.carry(now, out);
            }
            Input::Media(event) => {
                self.on_core(now, |core, now, is_at| core.media(now, event, is_at));
            }
            Input::Command { ticket, command } => self.command(now, ticket, command),
            Input::Wake => self.wake(now),
        }
        self.serve(now);
        self.tell_violations(now);
        self.registrar.wall.tell(now.instant);
        self.obey_wall();
        self.tell_crossings();
        self.maybe_drained();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.poll_output()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Draining { deadline, help } => {
                let ordinary = self.core.calls().any(|call| !call.emergency);
                Some(if ordinary { deadline } else { help })
            }
            Drain::Open | Drain::Drained => None,
        };
        let core = self.core.poll_timeout();
        let registrar = self.registrar.poll_timeout();
        let (recovery, trunks) = (self.recovery.poll_timeout(), self.trunks.poll_timeout());
        [drain, core, registrar, recovery, trunks].into_iter().flatten().min()
    }

    /// What is held on account of calls, each with its name: all zero once nobody calls, whatever
    /// happened before.
    pub fn live(&self) -> Vec<(&'static str, usize)> {
        let mut live = self.core.live();
        live.extend(self.recovery.live());
        live.push(("holds", self.core.ledger.holds().count()));
        live.push(("changes", self.changes.len()));
        live
    }

    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    // Driving the core.

    fn on_core<T>(
        &mut self,
        now: Now,
        act: impl FnOnce(&mut BackToBack, Now, crate::back_to_back::IsAt<'_>) -> T,
    ) -> T {
        let (registrar, trunks) = (&self.registrar, &self.trunks);
        act(&mut self.core, now, &|owner, path| match owner {
            Owner::Device(device) => registrar.is_at(device, path),
            Owner::Trunk(trunk) => trunks.is_at(trunk, path),
        })
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
                    let desk = &mut self.core.desk(now);
                    let rows = self.recovery.stray(desk, path, &response);
                    self.write(rows);
                    self.on_core(now, |core, now, is_at| core.pump(now, is_at));
                }
                Event::Done { key, answer } => {
                    let trunks = &mut self.trunks;
                    let rows = self.recovery.answered(
                        &mut self.core.desk(now),
                        key,
                        answer.as_ref(),
                        &mut |trunk, response, method, uri| {
                            trunks.answer_challenge(trunk, response, method, uri)
                        },
                    );
                    self.write(rows);
                    let mut out = Vec::new();
                    let desk = &mut self.core.desk(now);
                    self.trunks.answered(desk, key, answer.as_ref(), &mut out);
                    self.carry(now, out);
                }
                Event::Undelivered { key } => {
                    let rows = self.recovery.undelivered(&mut self.core.desk(now), key);
                    self.write(rows);
                    let mut out = Vec::new();
                    self.trunks.undelivered(&mut self.core.desk(now), key, &mut out);
                    self.carry(now, out);
                }
                Event::Challenged { call, leg, purpose, response } => {
                    self.challenged(now, call, leg, purpose, &response);
                }
                Event::Onward { call } => self.onward(now, call),
                Event::Owed { call, leg, trunk } => self.owed(now, call, leg, trunk),
                Event::Violation { path, kind } => self.violated(now, path, kind),
            }
        }
    }

    /// A carrier bills until it hears our BYE: its trunk doesn't wait for long to connect.
    fn owed(&mut self, now: Now, call: CallId, leg: LegId, trunk: TrunkId) {
        if self.core.owing() > OWING_MAX {
            return self.core.forsake(now, call, leg);
        }
        let mut out = Vec::new();
        self.trunks.hurry(&mut self.core.desk(now), trunk, &mut out);
        self.carry(now, out);
    }

    fn write(&mut self, rows: Vec<Row>) {
        if !rows.is_empty() {
            self.core.output(Output::Persist { ticket: None, rows });
        }
    }

    fn tell(&mut self, tenant: TenantId, fact: Fact) {
        self.core.output(Output::Fact { tenant: Some(tenant), fact });
    }

    /// Budgets that were crossed since.
    fn tell_crossings(&mut self) {
        while let Some(note) = self.core.ledger.poll_note() {
            let number = |id| self.registrar.extension(id).map(|found| found.number.to_string());
            let account = note.account_in_words(self.core.gate.policy(), number);
            let tenant = match note.bucket.account {
                Scope::Tenant(tenant) => Some(tenant),
                Scope::Extension(id) => self.registrar.extension(id).map(|found| found.tenant),
                Scope::Operator | Scope::Role(_) | Scope::Trunk(_) => None,
            };
            let extension = match note.bucket.account {
                Scope::Extension(id) => Some(id),
                Scope::Operator | Scope::Tenant(_) | Scope::Role(_) | Scope::Trunk(_) => None,
            };
            let (window, limit, spent) = (note.bucket.window, note.limit, note.spent);
            let fact = match note.crossing {
                Crossing::Soft => Fact::BudgetSoft { account, window, spent, limit, extension },
                Crossing::Hard => Fact::BudgetHard { account, window, limit, extension },
            };
            self.core.output(Output::Fact { tenant, fact });
        }
    }

    /// Carries out what the trunks want.
    fn carry(&mut self, now: Now, effects: Vec<trunk::Effect>) {
        for effect in effects {
            match effect {
                trunk::Effect::Connect { ticket, to } | trunk::Effect::Lifeline { ticket, to } => {
                    self.core.output(Output::Connect { ticket, to });
                }
                trunk::Effect::Lookup { ticket, query } => {
                    self.core.output(Output::Lookup { ticket, query });
                }
                trunk::Effect::CloseFlow(flow) => self.core.output(Output::CloseFlow { flow }),
                trunk::Effect::Fact { tenant, fact } => {
                    self.core.output(Output::Fact { tenant, fact });
                }
                trunk::Effect::Reachable { trunk, path, realm } => {
                    self.core.reachable(now, Owner::Trunk(trunk), path);
                    let desk = &mut self.core.desk(now);
                    let rows = self.recovery.reachable(desk, Owner::Trunk(trunk), path, realm);
                    self.write(rows);
                }
                trunk::Effect::Reply { ticket, reply } => {
                    self.core.output(Output::Reply { ticket, reply });
                }
            }
        }
        self.on_core(now, |core, now, is_at| core.pump(now, is_at));
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
                    self.core.reachable(now, Owner::Device(device), path);
                    let Some(realm) = self.registrar.flow(path.flow).map(|flow| flow.realm) else {
                        continue;
                    };
                    let desk = &mut self.core.desk(now);
                    let owner = Owner::Device(device);
                    let rows = self.recovery.reachable(desk, owner, path, realm);
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
        let rows = self.recovery.expire(&mut self.core.desk(now));
        self.write(rows);
        self.on_core(now, |core, now, is_at| core.wake(now, is_at));
        let mut out = Vec::new();
        self.trunks.wake(&mut self.core.desk(now), &mut out);
        self.carry(now, out);
        if let Drain::Draining { deadline, help } = self.drain
            && deadline <= now.instant
        {
            self.core.give_up(now, help <= now.instant);
        }
    }

    // From the wire.

    fn received(&mut self, now: Now, path: Path, bytes: Bytes) {
        // The carriers' socket answers nobody else, not even that it is there.
        if self.carrier_sockets.contains(&path.flow) && !self.trunks.is_carrier(path) {
            return self.violated(now, path, ViolationKind::Forged);
        }
        if self.is_shut_out(now, path) {
            return;
        }
        let message = match Message::parse_or_reject(bytes) {
            // Nobody answers an ACK, so it needs no way back; it is matched by its branch.
            Ok(Message::Request(ack))
                if ack.method() == Method::Ack
                    && ack.headers().top_via().rfc3261_branch().is_some() =>
            {
                Message::Request(ack)
            }
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
        if let Message::Request(request) = &message
            && self.is_scanner(now, path, request)
        {
            return;
        }
        if let Message::Request(request) = &message
            && (self.refused_in_passing(now, path, request) || self.sent_back(now, path, request))
        {
            return;
        }
        self.on_core(now, |core, now, is_at| core.received(now, path, message, is_at));
    }

    fn violated(&mut self, now: Now, path: Path, kind: ViolationKind) {
        self.tell_violations(now);
        let source = Source::from(path.remote.ip());
        if self.violations.entry(kind).or_default().admit(now.instant, source) {
            let proved = Some(path.flow.transport.is_reliable());
            let address = path.remote.ip().into();
            let fact = Fact::ViolationSeen { kind, count: 1, proved, address };
            self.core.output(Output::Fact { tenant: None, fact });
        }
    }

    /// What was only counted, once its minute is over. Whether those further ones were proved isn't known.
    fn tell_violations(&mut self, now: Now) {
        for (kind, tally) in &mut self.violations {
            for line in tally.due(now.instant) {
                let fact = match line {
                    Line::Of { source, count } => {
                        let count = u32::try_from(count).unwrap_or(u32::MAX);
                        let connected = self.registrar.has_connection_from(source);
                        let (kind, proved) = (*kind, Some(connected));
                        Fact::ViolationSeen { kind, count, proved, address: source.ip().into() }
                    }
                    Line::Others { count, loudest } => {
                        let (what, loudest) = (kind.to_string(), loudest.ip().into());
                        Fact::StrangersSummed { what, count, loudest }
                    }
                };
                self.core.output(Output::Fact { tenant: None, fact });
            }
        }
    }

    fn request(&mut self, now: Now, key: Key, path: Path, request: &Request) {
        if self.is_challenged(now, key, path, request) {
            return;
        }
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
    /// through a reserve of its own, if its sender has shown where it is: anybody can write an emergency
    /// number into a message, and any address. It is given back once only, so what was `admitted` is refused.
    fn overloaded(&mut self, now: Now, path: Path, request: Request, admitted: bool) {
        if !admitted && self.is_help_in_earnest(now, path, &request) {
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

    /// A call for help on the connection of a phone, or one that answers a challenge of ours.
    fn is_help_in_earnest(&mut self, now: Now, path: Path, request: &Request) -> bool {
        if request.method() != Method::Invite
            || request.headers().to().tag().is_some()
            || self.emergency(request).is_none()
        {
            return false;
        }
        let open = self.registrar.is_bound(path) || self.core.gate.policy().emergency_for_strangers;
        let connected = path.flow.transport.is_reliable() && open;
        connected && self.may_enter_for_help(now, path, request)
            || self.registrar.answers_us(now, request, path)
    }

    /// Whether the gate would permit this call for help by what is known of the path alone.
    fn may_enter_for_help(&mut self, now: Now, path: Path, request: &Request) -> bool {
        let emergency = self.emergency(request).filter(|_| request.method() == Method::Invite);
        let Some(emergency) = emergency else { return false };
        let (call, leg) = {
            let desk = self.core.desk(now);
            (CallId::begin(desk.now.utc, desk.chance), LegId::draw(desk.chance))
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
        if let Ok(response) = with(answer).build() {
            self.respond(now, key, response);
        }
    }

    fn begin_drain(&mut self, now: Now) {
        if self.drain != Drain::Open {
            return;
        }
        let calls_up = u32::try_from(self.core.calls_up()).unwrap_or(u32::MAX);
        let fact = Fact::DrainStarted { node: self.node, calls_up };
        self.core.output(Output::Fact { tenant: None, fact });
        let mut untold = Vec::new();
        self.registrar.tell_failures(&mut untold);
        self.carry_out(now, untold);
        let deadline = now.instant + self.core.settings.drain_timeout;
        let help = now.instant + self.core.settings.drain_emergency_max;
        self.drain = Drain::Draining { deadline, help };
        self.on_core(now, |core, now, is_at| core.end_ordinary(now, Cause::Draining, is_at));
        let mut out = Vec::new();
        self.trunks.drain(&mut self.core.desk(now), &mut out);
        self.carry(now, out);
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

fn status_of(outcome: Outcome) -> Status {
    Status::new(outcome.status).unwrap_or(Status::SERVER_INTERNAL_ERROR)
}

/// The port of a realm's socket for phones.
fn heard_over_udp(realm: &Realm) -> Option<u16> {
    let udp = realm.advertised.iter().find(|(transport, _, _)| *transport == Transport::Udp);
    udp.map(|(_, _, port)| *port)
}

/// Calls whose BYE waits for a carrier's next connection: as many as a trunk may carry.
const OWING_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
