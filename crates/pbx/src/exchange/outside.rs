//! Calls to the outside: which way, for how much money, and under whose number.
//!
//! One way is tried after the other. Each is an attempt of its own: judged, paid for, permitted.

use std::collections::VecDeque;
use std::time::Duration;

use guard::cause::Cause;
use guard::fact::Fact;
use guard::gate::{Algorithm, Attempt, Decision, Destination, Permit, Responsible, Rule};
use guard::id::{CallId, ExtensionId, LegId, TenantId, TrunkId};
use guard::number::Outside as Number;
use guard::policy::Scope;
use pure::Now;
use sip::transaction::Key;
use sip::{Request, Response};

use super::invite::{Allowed, Asker, Begin};
use super::{Exchange, Refused};
use crate::back_to_back::call::{Outside, Way};
use crate::back_to_back::desk::Purpose;
use crate::back_to_back::leg::{CallerId, Leg, Line, Party};
use crate::back_to_back::outlay::Outlay;
use crate::directory::{Exceptions, Trunk, TrunkMedia};
use crate::flow::Path;
use crate::record::Toll;

impl Exchange {
    pub(super) fn call_outside(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        asker: &Asker,
        number: Number,
    ) -> Result<(), Refused> {
        let ways = self.ways(now, asker.tenant);
        let destination = Destination::Outside(number);
        let allowed = self.judge(now, asker, asker.leg, destination.clone())?;
        let Allowed::Paid(reserve) = allowed else { return Err(Cause::Internal.into()) };
        if ways.is_empty() && self.is_locked_outward(now, asker.tenant) {
            let policy = self.core.gate.policy().version;
            let decision = Decision { rule: Rule::Lockdown, policy };
            self.decided(reserve.attempt(), &asker.dialled, decision, false);
            return Err(Refused::by(Cause::Refused(Rule::Lockdown), decision));
        }
        let party = self.caller(path, request, asker);
        let heard = self.offer(request, path, &party, asker)?;
        let mut outside = Outside {
            attempt: reserve.attempt().clone(),
            dialled: asker.dialled.clone(),
            ways,
            tried: None,
            last_ways: false,
        };
        // The judgement above was about the call; the leg's own is made with its money.
        drop(reserve);
        let leg = loop {
            match self.next_leg(now, &mut outside)? {
                Some(leg) => break leg,
                None if outside.ways.is_empty() => return Err(Cause::NoRoute.into()),
                None => {}
            }
        };
        let Some(decision) = leg.outlay.as_ref().map(|outlay| outlay.toll.decision) else {
            return Err(Cause::Internal.into());
        };
        let begin = Begin {
            party,
            heard,
            decision,
            forks: vec![leg],
            called: None,
            outside: Some(outside),
        };
        self.begin(now, key, request, asker, begin)
    }

    /// A call found no answer on the ways so far: the next one, or its end.
    pub(super) fn onward(&mut self, now: Now, call: CallId) {
        let Some(mut outside) = self.core.call_mut(call).and_then(|call| call.outside.take())
        else {
            return;
        };
        if let Some(way) = &outside.tried {
            self.trunks.place_failed(way.route.trunk, way.route.place, now);
        }
        let emergency = self.core.call(call).is_some_and(|call| call.emergency);
        if emergency {
            self.help_onward(now, call, &mut outside);
        }
        let next = loop {
            if outside.ways.is_empty() {
                break Err(Cause::NoRoute);
            }
            let leg = if emergency {
                Ok(self.next_leg_for_help(now, &mut outside))
            } else {
                self.next_leg(now, &mut outside)
            };
            match leg {
                Ok(Some(leg)) => break Ok(leg),
                Ok(None) => {}
                Err(refused) => break Err(refused.cause),
            }
        };
        if let Some(call) = self.core.call_mut(call) {
            call.outside = Some(outside);
        }
        match next {
            Ok(leg) => self.on_core(now, |core, now, is_at| core.onward(now, call, leg, is_at)),
            Err(cause) => {
                self.on_core(now, |core, now, is_at| core.no_further(now, call, cause, is_at));
            }
        }
    }

    /// The ways of a tenant that have a line free, best first.
    pub(super) fn ways(&mut self, now: Now, tenant: TenantId) -> VecDeque<Way> {
        let routes = self.trunks.routes(now, tenant, false);
        let free = |trunk: TrunkId| {
            let channels = self.trunks.get(trunk).map_or(0, |trunk| usize::from(trunk.channels));
            self.legs_of(trunk) < channels
        };
        let mut ways: VecDeque<Way> = routes
            .into_iter()
            .filter(|route| free(route.trunk) && !self.is_locked(route.trunk))
            .map(|route| Way { route, plain: false })
            .collect();
        ways.truncate(self.core.settings.ways_max);
        ways
    }

    /// Whether the only ways of a tenant that are open are locked.
    pub(super) fn is_locked_outward(&mut self, now: Now, tenant: TenantId) -> bool {
        let routes = self.trunks.routes(now, tenant, false);
        !routes.is_empty() && routes.iter().all(|route| self.is_locked(route.trunk))
    }

    /// Whether the lockdown closes a trunk: nothing but calls for help goes out over it.
    pub(super) fn is_locked(&self, trunk: TrunkId) -> bool {
        self.core.gate.policy().lockdown.covers(Scope::Trunk(trunk))
    }

    /// The longest that a call over these trunks may last.
    pub(super) fn longest(&self, trunks: impl Iterator<Item = TrunkId>) -> Option<Duration> {
        trunks.filter_map(|id| self.trunks.get(id)).map(|trunk| trunk.call_max).min()
    }

    /// Legs that are up or being set up over a trunk.
    pub(super) fn legs_of(&self, trunk: TrunkId) -> usize {
        self.core.calls().flat_map(|call| call.trunks()).filter(|id| *id == trunk).count()
    }

    /// A leg on the next way, judged and paid for. `None`: that way can't be used.
    ///
    /// # Errors
    /// The gate's own no.
    fn next_leg(&mut self, now: Now, outside: &mut Outside) -> Result<Option<Leg>, Refused> {
        let Some(way) = outside.ways.pop_front() else { return Ok(None) };
        outside.tried = Some(way.clone());
        let Some(trunk) = self.trunks.get(way.route.trunk).filter(|trunk| trunk.enabled).cloned()
        else {
            return Ok(None);
        };
        // Locked since the call began.
        if self.is_locked(trunk.id) {
            return Ok(None);
        }
        let leg = LegId::draw(self.core.desk(now).chance);
        let attempt = Attempt { leg, ..outside.attempt.clone() };
        let verdict = self.core.gate.judge(now, &attempt, &self.core.ledger);
        let guard::gate::Verdict::NeedReserve(request) = verdict else {
            let denial = match verdict {
                guard::gate::Verdict::Denial(denial) => denial,
                _ => return Err(Cause::Internal.into()),
            };
            self.decided(&attempt, &outside.dialled, denial.decision, false);
            return Err(Refused::by(Cause::Refused(denial.decision.rule), denial.decision));
        };
        let (rate, first) = (request.rate().clone(), request.first());
        let reserved = self.core.gate.reserve(now, request, &mut self.core.ledger);
        let permit = match reserved {
            Ok(permit) => permit,
            Err(denial) => {
                self.decided(&attempt, &outside.dialled, denial.decision, false);
                return Err(Refused::by(Cause::Refused(denial.decision.rule), denial.decision));
            }
        };
        let decision = permit.decision();
        self.decided(&attempt, &outside.dialled, decision, true);
        let held =
            Fact::MoneyHeld { call: attempt.call, leg, held: first.held, seconds: first.seconds };
        self.tell(attempt.tenant, held);
        let Destination::Outside(number) = &attempt.destination else { return Ok(None) };
        let toll = Toll {
            leg,
            trunk: trunk.id,
            number: number.digits().as_str().to_owned(),
            class: number.class(),
            country: number.country(),
            decision,
            currency: self.core.gate.deck().currency,
            rate,
            answered: None,
            seconds: 0,
            cost: guard::money::Money::ZERO,
            held: first.held,
        };
        let dial = toll.number.clone();
        let outlay = Outlay::new(attempt.clone(), toll, first);
        let made = self.leg_outside(now, permit, &way, &trunk, &attempt, &dial, Some(outlay));
        if made.is_none() {
            self.core.ledger.settle(leg, guard::money::Money::ZERO);
        }
        Ok(made)
    }

    /// Builds a leg toward a carrier.
    #[allow(clippy::too_many_arguments, reason = "all that makes one leg, used by its two kinds")]
    pub(super) fn leg_outside(
        &mut self,
        now: Now,
        permit: Permit,
        way: &Way,
        trunk: &Trunk,
        attempt: &Attempt,
        dial: &str,
        outlay: Option<Outlay>,
    ) -> Option<Leg> {
        let extension = match attempt.responsible {
            Some(Responsible::Extension(extension)) => Some(extension),
            Some(Responsible::Trunk(_) | Responsible::System) | None => None,
        };
        let emergency = outlay.is_none();
        let identity = self.caller_id(trunk, attempt.tenant, extension, emergency);
        let route = &way.route;
        let transport = route.path.flow.transport;
        let host = match route.port {
            Some(port) => format!("{}:{port}", bracketed(&route.host)),
            None => bracketed(&route.host),
        };
        let uri = format!("sip:{dial}@{host}{}", transport.uri_parameter());
        let plain = way.plain || trunk.media == TrunkMedia::DangerousPlain;
        let party = Party {
            tenant: attempt.tenant,
            extension: None,
            device: None,
            trunk: Some(trunk.id),
            line: Some(line(trunk)),
            proof: None,
            path: route.path,
            realm: route.realm,
            tls: route.tls.clone(),
            agent: String::new(),
            exceptions: Exceptions { dangerous_plain_rtp: plain || emergency },
            domain: bracketed(&route.host),
            number: dial.to_owned(),
        };
        let mut leg = Leg::callee(permit, party, uri, &mut self.core.desk(now))?;
        leg.offered_plain = plain;
        Some(leg.outside(identity, outlay))
    }

    /// Under which number the carrier is told that we call: the extension's own where it is one of the
    /// tenant's, else the trunk's.
    fn caller_id(
        &self,
        trunk: &Trunk,
        tenant: TenantId,
        extension: Option<ExtensionId>,
        emergency: bool,
    ) -> CallerId {
        let caller = extension.and_then(|id| self.registrar.extension(id));
        let own = caller.and_then(|caller| caller.caller_id.clone()).filter(|number| {
            self.trunks.numbers_of(tenant).any(|inbound| inbound.number == *number)
        });
        let account = trunk.account().map(|account| account.user.clone());
        let number = own.or_else(|| trunk.default_caller_id.clone());
        // Whoever calls for help must be found: never anonymous.
        let private = trunk.identity.private && !emergency;
        let host = bracketed(&trunk.host);
        let shown = number.clone().or_else(|| account.clone());
        let from = match (private, trunk.identity.from_account, account) {
            (true, false, _) | (true, true, None) => "anonymous@anonymous.invalid".to_owned(),
            (_, true, Some(account)) => format!("{account}@{host}"),
            (false, _, _) => {
                format!("{}@{host}", shown.clone().unwrap_or_else(|| "unknown".to_owned()))
            }
        };
        let asserted = (trunk.identity.asserted || emergency).then_some(number).flatten();
        CallerId {
            from,
            name: String::new(),
            asserted: asserted.map(|number| format!("{number}@{host}")),
            private,
        }
    }

    /// A carrier challenged a request of a call.
    pub(super) fn challenged(
        &mut self,
        now: Now,
        call: CallId,
        leg: LegId,
        purpose: Purpose,
        response: &Response,
    ) {
        let found = self.core.call(call).and_then(|call| call.leg(leg));
        let trunk = found.and_then(|leg| leg.party.trunk);
        let uri = found.map(|leg| leg.target()).unwrap_or_default();
        let (method, cseq) = (response.headers().cseq().method, response.headers().cseq().number);
        let credentials =
            trunk.and_then(|trunk| self.trunks.answer_challenge(trunk, response, &method, &uri));
        self.on_core(now, |core, now, is_at| {
            core.authorize(now, call, leg, (purpose, cseq), credentials, is_at);
        });
    }
}

/// What a leg must know of its trunk.
pub(super) fn line(trunk: &Trunk) -> Line {
    let md5 = trunk.account().is_some_and(|account| account.weakest == Algorithm::Md5);
    Line { silence_limit: trunk.silence_limit, codecs: trunk.codecs.clone(), md5 }
}

/// An IPv6 address stands in brackets in a URI (RFC 3261 §25.1).
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
