//! What administrators ask and change. A change is made durable first, in one transaction with its line in
//! the journal, and takes effect then.

use std::sync::Arc;

use guard::access::Actor;
use guard::cause::Cause;
use guard::exposure::exposure;
use guard::fact::{Fact, Lifted};
use guard::gate::{
    Algorithm, Attempt, Destination, Gate, Origin, Proof, Responsible, Rule, Standing,
};
use guard::id::{CallId, ExtensionId, LegId, TenantId};
use guard::ledger::Spend;
use guard::pii::Pii;
use guard::wall::Protected;
use pure::Now;

use super::{Drain, Exchange, Pending};
use crate::command::{
    Bans, Change, Command, Explanation, NoWay, Refusal, Reply, StatusView, TrunkState,
};
use crate::io::{Output, PersistError, Ticket};
use crate::record::Row;
use crate::registrar::Prepared;

impl Exchange {
    pub(super) fn command(&mut self, now: Now, ticket: Ticket, command: Command) {
        let reply = match command {
            Command::Change { actor, change } => return self.change(now, ticket, &actor, change),
            Command::Devices => Reply::Devices(self.registrar.device_views()),
            Command::Calls => Reply::Calls(self.core.views()),
            Command::Extensions { tenant, which } => {
                Reply::Extensions(self.registrar.extension_views(tenant, &which))
            }
            Command::Status => Reply::Status(self.status(now)),
            Command::Trunks => Reply::Trunks(self.trunks.views(now, |id| self.legs_of(id))),
            Command::Inbound => Reply::Inbound(self.trunks.inbound_list()),
            Command::TestTrunk { trunk } => {
                let mut out = Vec::new();
                let begun = self.trunks.test(&mut self.core.desk(now), ticket, trunk, &mut out);
                self.carry(now, out);
                match begun {
                    Ok(()) => return,
                    Err(refusal) => Reply::Refused(refusal),
                }
            }
            Command::Policy => {
                let gate = &self.core.gate;
                Reply::Policy(gate.policy().clone(), gate.deck().clone())
            }
            Command::Explain { extension, dialled } => {
                match self.explained(now, extension, &dialled) {
                    Some(explanation) => Reply::Explained(Box::new(explanation)),
                    None => Reply::Refused(Refusal::NotFound),
                }
            }
            Command::Exposure => {
                let extensions = self.registrar.extension_ids();
                let (gate, ledger) = (&self.core.gate, &self.core.ledger);
                Reply::Exposure(Box::new(exposure(gate, ledger, now, &extensions)))
            }
            Command::ExposureUnder { policy, deck } => {
                let extensions = self.registrar.extension_ids();
                let gate = Gate::new(policy, deck);
                Reply::Exposure(Box::new(exposure(&gate, &self.core.ledger, now, &extensions)))
            }
            Command::ExposureReset { account } => {
                let extensions = self.registrar.extension_ids();
                let mut ledger = self.core.ledger.clone();
                let spent = ledger.settled_of(account);
                ledger.forget(&spent);
                Reply::Exposure(Box::new(exposure(&self.core.gate, &ledger, now, &extensions)))
            }
            Command::Budgets => {
                let extensions = self.registrar.extension_ids();
                Reply::Budgets(self.core.ledger.accounts(now, &self.core.gate, &extensions))
            }
            Command::Bans => {
                let wall = self.registrar.wall();
                let (bans, held, slowed) = (wall.bans(), wall.held(now), wall.slowed(now));
                let stale = self.registrar.stale(now.instant);
                Reply::Bans(Bans { bans, held, slowed, stale })
            }
            Command::Drain => {
                self.begin_drain(now);
                Reply::Done
            }
        };
        self.core.output(Output::Reply { ticket, reply });
    }

    fn status(&mut self, now: Now) -> StatusView {
        let devices = self.registrar.device_views();
        let registered = devices.iter().filter(|device| device.registered.is_some());
        let weak = registered.clone().filter(|device| !device.weaknesses.is_empty()).count();
        let trunks = self.trunks.views(now, |_| 0);
        let up = trunks.iter().filter(|view| matches!(view.state, TrunkState::Up { .. })).count();
        StatusView {
            extensions: self.registrar.extension_count(),
            devices_known: devices.len(),
            devices_registered: registered.count(),
            calls_up: self.core.calls_up(),
            weak: weak + self.core.calls_weak(),
            trunks: trunks.len(),
            trunks_up: up,
            draining: self.drain != Drain::Open,
            help_no_way: self.no_way(now, TenantId::HOUSE, true),
            sign_ins_untold: self.registrar.sign_ins_untold(),
        }
    }

    /// Why no trunk could carry a call of this tenant now; `None` where one can.
    fn no_way(&mut self, now: Now, tenant: TenantId, help: bool) -> Option<NoWay> {
        if !self.trunks.routes(now, tenant, help).is_empty() {
            return None;
        }
        let views = self.trunks.views(now, |_| 0);
        let mut own = views.iter().filter(|view| view.trunk.tenant.is_none_or(|one| one == tenant));
        Some(match (own.clone().count(), own.any(|view| view.trunk.enabled)) {
            (0, _) => NoWay::NoTrunk,
            (_, false) => NoWay::AllDisabled,
            (_, true) => NoWay::AllDown,
        })
    }

    /// Asks the gate as a call would, and changes nothing.
    fn explained(&mut self, now: Now, id: ExtensionId, dialled: &str) -> Option<Explanation> {
        let extension = self.registrar.extension(id)?;
        let (tenant, disabled) = (extension.tenant, !extension.enabled);
        let policy = self.core.gate.policy();
        let role = policy.role_of(id).1.map(|role| role.name.clone()).unwrap_or_default();
        let destination = match self.core.gate.plan().emergency(dialled) {
            Some(emergency) => Destination::Emergency(emergency),
            None => self.destination(tenant, dialled),
        };
        let outside = match &destination {
            Destination::Outside(number) => Some(number.clone()),
            _ => None,
        };
        let words = match &destination {
            Destination::Emergency(emergency) => format!("emergency {}", emergency.number()),
            Destination::Extension(called) => {
                let called = self.registrar.extension(*called);
                format!("extension {}", called.map_or_else(String::new, |e| e.number.to_string()))
            }
            Destination::Service => "a service of the house".to_owned(),
            Destination::Outside(number) => number.digits().as_str().to_owned(),
            Destination::Unknown => "nothing that can be called".to_owned(),
        };
        let help = matches!(destination, Destination::Emergency(_));
        let attempt = Attempt {
            tenant,
            call: CallId(0),
            leg: LegId(0),
            origin: Origin::Phone,
            responsible: Some(Responsible::Extension(id)),
            destination,
            standing: Standing::Proved(Proof::Digest(Algorithm::Sha256)),
        };
        let mut explained = self.core.gate.explain(now, &attempt, &self.core.ledger);
        let routes = match (&outside, help) {
            (Some(_), _) | (None, true) => self.trunks.routes(now, tenant, help),
            (None, false) => Vec::new(),
        };
        if outside.is_some() && explained.permitted && self.is_locked_outward(now, tenant) {
            explained.decision.rule = Rule::Lockdown;
            explained.permitted = false;
            explained.why = "Refused: every trunk that this call could take is locked.".to_owned();
        }
        let mut trunks: Vec<String> = routes
            .iter()
            .filter(|route| help || !self.is_locked(route.trunk))
            .filter_map(|route| self.trunks.get(route.trunk).map(|trunk| trunk.name.clone()))
            .collect();
        trunks.dedup();
        let leaves = help || outside.is_some();
        let no_way =
            if leaves && explained.permitted { self.no_way(now, tenant, help) } else { None };
        Some(Explanation {
            destination: words,
            class: outside.as_ref().map(|number| number.class()),
            country: outside.as_ref().and_then(|number| number.country()),
            role,
            decision: explained.decision,
            permitted: explained.permitted,
            why: explained.why,
            rate: explained.rate,
            first: explained.first,
            trunks,
            disabled,
            no_way,
        })
    }

    // Changes.

    fn change(&mut self, now: Now, asked: Ticket, actor: &Actor, change: Change) {
        if let Change::HangUp { call } = change {
            let known = self
                .on_core(now, |core, now, is_at| core.end(now, call, Cause::Administrator, is_at));
            let reply = if known { Reply::Done } else { Reply::Refused(Refusal::NotFound) };
            return self.core.output(Output::Reply { ticket: asked, reply });
        }
        let Prepared { tenant, rows, facts, change } = match self.prepare(actor, change) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let reply = Reply::Refused(refusal);
                return self.core.output(Output::Reply { ticket: asked, reply });
            }
        };
        let ticket = self.core.ticket();
        // What is settled while this waits for the disk still counts.
        let forgets = match &change {
            Change::ResetBudget { account } => self.core.ledger.settled_of(*account),
            _ => Vec::new(),
        };
        self.core.output(Output::Change { ticket, tenant, rows, facts: facts.clone() });
        let actor = actor.clone();
        self.changes.insert(ticket, Pending { asked, change, actor, facts, forgets });
    }

    /// Judges a change; nothing takes effect yet.
    fn prepare(&mut self, actor: &Actor, change: Change) -> Result<Prepared, Refusal> {
        let by = Pii::new(actor.clone());
        match &change {
            Change::SetInbound { inbound } => {
                let answers = self.registrar.extension(inbound.extension);
                if answers.is_none_or(|extension| extension.tenant != inbound.tenant) {
                    return Err(Refusal::NotFound);
                }
                self.trunks.prepare(actor, change)
            }
            Change::AddTrunk { .. }
            | Change::SetTrunk { .. }
            | Change::RemoveTrunk { .. }
            | Change::RemoveInbound { .. } => self.trunks.prepare(actor, change),
            Change::SetCallerId { extension, caller_id: Some(number) } => {
                let tenant = self.registrar.extension(*extension).ok_or(Refusal::NotFound)?.tenant;
                if !self.trunks.numbers_of(tenant).any(|inbound| inbound.number == *number) {
                    return Err(Refusal::NotOurNumber);
                }
                self.registrar.prepare(actor, change)
            }
            Change::SetPolicy { after, policy, what } => {
                let present = self.core.gate.policy().version;
                let waits = self
                    .changes
                    .values()
                    .any(|pending| matches!(pending.change, Change::SetPolicy { .. }));
                if waits || *after != present || policy.version.0 != present.0.saturating_add(1) {
                    return Err(Refusal::Outdated);
                }
                if policy.validate().is_err() {
                    return Err(Refusal::NotAllowed);
                }
                let version = policy.version;
                let fact = Fact::PolicyChanged { version, change: what.clone(), actor: by };
                let rows = vec![Row::Policy(policy.clone())];
                Ok(Prepared { tenant: None, rows, facts: vec![fact], change })
            }
            Change::SetDeck { deck } => {
                let lines = u32::try_from(deck.len()).unwrap_or(u32::MAX);
                let fact = Fact::RatesChanged { version: deck.version, lines, actor: by };
                let rows = vec![Row::Deck(deck.clone())];
                Ok(Prepared { tenant: None, rows, facts: vec![fact], change })
            }
            Change::ResetBudget { account } => {
                let spent = self.core.ledger.settled_of(*account);
                let forgotten = spent.iter().map(|row| row.settled).max().unwrap_or_default();
                let number =
                    |id| self.registrar.extension(id).map(|found| found.number.to_string());
                let account = account.in_words(self.core.gate.policy(), number);
                let fact = Fact::BudgetReset { account, forgotten, actor: by };
                let none = |row: &Spend| Spend { settled: guard::money::Money::ZERO, ..*row };
                let rows = spent.iter().map(|row| Row::Spend(none(row))).collect();
                Ok(Prepared { tenant: None, rows, facts: vec![fact], change })
            }
            Change::Ban(ban) => {
                if self.registrar.is_own_address(ban.source) {
                    return Err(Refusal::Protected(Protected::Ourselves));
                }
                self.registrar.wall.may_ban(ban.source).map_err(Refusal::Protected)?;
                let (rows, facts) = (vec![Row::Ban(ban.clone())], vec![ban.placed()]);
                Ok(Prepared { tenant: None, rows, facts, change })
            }
            Change::Unban { source, account } => {
                let address = source.ip().into();
                let (rows, fact) = match account {
                    Some(account) => {
                        let account = account.as_str().into();
                        (Vec::new(), Fact::HoldLifted { account, address, actor: by })
                    }
                    None => {
                        let actor = Pii::new(Some(actor.clone()));
                        let fact = Fact::BanLifted { why: Lifted::Administrator, address, actor };
                        (vec![Row::RemoveBan(*source)], fact)
                    }
                };
                Ok(Prepared { tenant: None, rows, facts: vec![fact], change })
            }
            _ => self.registrar.prepare(actor, change),
        }
    }

    pub(super) fn persisted(&mut self, now: Now, ticket: Ticket, result: Result<(), PersistError>) {
        let Some(Pending { asked, change, actor, facts, forgets }) = self.changes.remove(&ticket)
        else {
            self.on_core(now, |core, now, is_at| core.persisted(now, ticket, result, is_at));
            return;
        };
        let reply = match result {
            Ok(()) => {
                for fact in facts {
                    self.core.output(Output::Told(fact));
                }
                self.apply(now, change);
                let left = self.core.ledger.forget(&forgets);
                self.write(left.into_iter().map(Row::Spend).collect());
                Reply::Done
            }
            Err(error) => {
                self.registrar.abandon(&change);
                self.trunks.abandon(&change);
                let what = facts.first().map_or("of settings", Fact::name);
                let why = match error {
                    PersistError::Full => "the disk is full",
                    PersistError::Unavailable => "the database could not be written",
                };
                let fact = Fact::ChangeRefused {
                    change: what.to_owned(),
                    why: why.to_owned(),
                    actor: Pii::new(actor),
                };
                self.core.output(Output::Fact { tenant: None, fact });
                Reply::Refused(Refusal::NotPersisted)
            }
        };
        self.core.output(Output::Reply { ticket: asked, reply });
    }

    /// Puts a durable change into effect.
    fn apply(&mut self, now: Now, change: Change) {
        match change {
            Change::AddTrunk { .. }
            | Change::SetTrunk { .. }
            | Change::RemoveTrunk { .. }
            | Change::SetInbound { .. }
            | Change::RemoveInbound { .. } => {
                let mut out = Vec::new();
                self.trunks.apply(&mut self.core.desk(now), change, &mut out);
                self.carry(now, out);
                self.registrar.wall.carriers(self.trunks.sources());
            }
            Change::SetPolicy { policy, .. } => {
                let deck = self.core.gate.deck().clone();
                self.set_gate(now, Gate::new(policy, deck));
            }
            Change::SetDeck { deck } => {
                let policy = self.core.gate.policy().clone();
                self.set_gate(now, Gate::new(policy, Arc::clone(&deck)));
            }
            Change::Ban(ban) => self.registrar.wall.ban(now, ban),
            Change::Unban { source, account } => {
                self.registrar.wall.unban(source, account.as_deref());
            }
            // By what it was found to forget.
            Change::ResetBudget { .. } => {}
            change => {
                let mut effects = Vec::new();
                // Whoever is gone, or may not call, gets no further paid time.
                let gone = match &change {
                    Change::RemoveExtension { extension }
                    | Change::SetEnabled { extension, enabled: false } => Some(*extension),
                    _ => None,
                };
                self.registrar.apply(change, &mut effects);
                self.carry_out(now, effects);
                if let Some(extension) = gone {
                    self.core.pay_no_more(extension);
                }
            }
        }
    }

    /// Puts a new version of the policy into effect: the next leg is judged by it, and so are those
    /// that are up.
    pub fn set_gate(&mut self, now: Now, gate: Gate) {
        self.core.gate = gate.dangerously_open(self.core.settings.dangerous.without_gate);
        self.on_core(now, |core, now, is_at| core.review(now, is_at));
    }
}
