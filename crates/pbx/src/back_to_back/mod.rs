//! The dialog core: two or more dialogs of our own, and a call between them.
//!
//! [`BackToBack`] holds transactions, legs and calls. An application on it (the exchange today, the
//! edge to come) decides what the core doesn't: who a new request comes from, what it means, who may
//! be called and where. It reads [`Event`]s, answers requests outside of calls with
//! [`BackToBack::respond`], and begins calls with [`BackToBack::begin`]. Everything after that is here:
//! provisional answers, forks, races of CANCEL and BYE, re-INVITEs and their glare, session timers,
//! media, snapshots and the record.
//!
//! Nothing crosses from leg to leg but [`Carry`] and what [`media`] rewrites. A request within a dialog
//! counts only with the dialog's tags, in the order of its CSeq, and on the leg's own path (or a newer
//! connection of the same device): forged ones are answered 481 and change nothing.
//!
//! SUBSCRIBE dialogs are bridged on the same parts when the edge needs them: [`leg::Leg`] is already a
//! dialog with one party, found by Call-ID and our tag in [`desk::Lines`], and its media is one field.
//! A bridge of two subscriptions is a second kind of call with two such legs and no media, whose
//! stages are pending, active and terminated (RFC 6665), whose NOTIFY bodies are rewritten by type from
//! a list as bounded as [`Carry`], and which shares path checks, CSeq, ladder and snapshots.

pub(crate) mod call;
pub mod carry;
pub(crate) mod desk;
mod info;
pub(crate) mod leg;
mod media;
pub(crate) mod outlay;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use guard::cause::Cause;
use guard::fact::ViolationKind;
use guard::gate::Gate;
use guard::id::{CallId, DeviceId, ExtensionId, LegId, NodeId, RealmId, TrunkId};
use guard::ledger::Ledger;
use pure::{Chance, Instant, Now, Timers};
use rtp::relay;
use sip::dialog::Refusal;
use sip::transaction::{Input, Key, Output as Wire, Rank, Timer, Transactions};
use sip::{Message, Method, Name, Request, Response, Status};

use self::call::{Answer, Call, NewCall};
use self::desk::{Desk, Lines, Purpose, Why};
use self::leg::Leg;
pub(crate) use self::media::{Heard, Unacceptable};
use crate::command::CallView;
use crate::flow::{FlowId, Path, Realm};
use crate::io::{Output, PersistError, Ticket};
use crate::settings::Settings;

/// What names a dialog, for Replaces.
pub use sip::dialog::DialogId as DialogName;

/// See the module.
#[derive(Debug)]
pub(crate) struct BackToBack {
    pub(crate) settings: Settings,
    pub(crate) gate: Gate,
    pub(crate) ledger: Ledger,
    node: NodeId,
    pub(crate) realms: BTreeMap<RealmId, Realm>,
    chance: Chance,
    transactions: Transactions<Path>,
    timers: Timers<(CallId, Why)>,
    lines: Lines,
    tickets: u64,
    /// Boxed: a call has some kilobytes, and the tree moves its values about.
    calls: BTreeMap<CallId, Box<Call>>,
    /// How many of the calls don't linger: of each caller, `None` being whoever is no extension.
    counted: BTreeMap<Option<ExtensionId>, usize>,
    out: VecDeque<Output>,
    events: VecDeque<Event>,
}

/// What the application must see to.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request outside of any call: to be answered with [`BackToBack::respond`].
    Request { key: Key, path: Path, request: Request },
    /// No transaction is free for this one; only an emergency may still enter, once: what was
    /// `admitted` already is to be refused.
    Overloaded { path: Path, request: Request, admitted: bool },
    /// A 2xx to an INVITE that this process doesn't know.
    Stray { path: Path, response: Response },
    /// A request that isn't any call's own got its final answer, or never will (`None`).
    Done { key: Key, answer: Option<Response> },
    /// A request that isn't any call's own could not be sent.
    Undelivered { key: Key },
    /// A carrier wants credentials for a request of a call: [`BackToBack::authorize`] answers.
    Challenged { call: CallId, leg: LegId, purpose: Purpose, response: Response },
    /// No leg outside is left that could answer, and there may be further ways: [`BackToBack::onward`]
    /// or [`BackToBack::no_further`] answers.
    Onward { call: CallId },
    /// A carrier is owed a BYE that waits for its next connection.
    Owed { call: CallId, leg: LegId, trunk: TrunkId },
    /// A peer broke the rules.
    Violation { path: Path, kind: ViolationKind },
}

/// Whose connections a leg may move to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Device(DeviceId),
    Trunk(TrunkId),
}

/// Whether a path belongs to somebody: its registration lives there now.
pub(crate) type IsAt<'a> = &'a dyn Fn(Owner, Path) -> bool;

impl BackToBack {
    pub(crate) fn new(
        settings: Settings,
        gate: Gate,
        ledger: Ledger,
        node: NodeId,
        realms: Vec<Realm>,
        mut chance: Chance,
    ) -> Self {
        let config = sip::transaction::Config {
            live_max: settings.transactions_max,
            reserve: settings.transactions_max / 5,
            per_path_max: settings.transactions_per_path_max,
            ..sip::transaction::Config::default()
        };
        Self {
            settings,
            gate,
            ledger,
            node,
            realms: realms.into_iter().map(|realm| (realm.id, realm)).collect(),
            transactions: Transactions::new(config, chance.fork()),
            timers: Timers::new(),
            lines: Lines::new(|| chance.hash_seed()),
            chance: chance.fork(),
            tickets: 0,
            calls: BTreeMap::new(),
            counted: BTreeMap::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.transactions.poll_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn received(&mut self, now: Now, path: Path, message: Message, is_at: IsAt<'_>) {
        let bytes = message.as_bytes().clone();
        self.lines.trace(now, path, false, &bytes, &mut self.out);
        self.transactions.handle(now, Input::Received { path, message });
        self.pump(now, is_at);
    }

    /// Serves an emergency that came back as [`Event::Overloaded`] and wasn't admitted before.
    pub(crate) fn admit(&mut self, now: Now, path: Path, request: Request, is_at: IsAt<'_>) {
        let rank = Rank::Emergency;
        self.transactions.handle(now, Input::Admit { path, request, rank });
        self.pump(now, is_at);
    }

    /// See [`Transactions::is_pressed`].
    pub(crate) fn is_pressed(&self, path: Path, request: &Request) -> bool {
        self.transactions.is_pressed(path, request)
    }

    pub(crate) fn respond(&mut self, now: Now, key: Key, response: Response, is_at: IsAt<'_>) {
        self.transactions.handle(now, Input::Respond { key, response });
        self.pump(now, is_at);
    }

    pub(crate) fn transmit(&mut self, path: Path, bytes: Bytes) {
        self.out.push_back(Output::Transmit { path, bytes });
    }

    pub(crate) fn wake(&mut self, now: Now, is_at: IsAt<'_>) {
        self.transactions.handle(now, Input::Timeout);
        self.pump(now, is_at);
        while let Some((call, why)) = self.timers.pop(now.instant) {
            self.with(now, call, |call, desk| call.alarmed(desk, why));
            self.pump(now, is_at);
        }
    }

    pub(crate) fn media(&mut self, now: Now, event: relay::Event, is_at: IsAt<'_>) {
        let leg = LegId(endpoint_of(&event).0);
        let Some(call) = self.lines.of_media(leg) else { return };
        self.with(now, call, |call, desk| call.media(desk, leg, event));
        self.pump(now, is_at);
    }

    /// False where the ticket is none of a call's.
    pub(crate) fn persisted(
        &mut self,
        now: Now,
        ticket: Ticket,
        result: Result<(), PersistError>,
        is_at: IsAt<'_>,
    ) -> bool {
        let Some(call) = self.lines.ticket(ticket) else { return false };
        self.with(now, call, |call, desk| call.persisted(desk, ticket, result));
        self.pump(now, is_at);
        true
    }

    /// `remote` is the far end where the flow was a connection: every transaction with it ends,
    /// whether it belongs to a call or to a stranger.
    pub(crate) fn flow_closed(
        &mut self,
        now: Now,
        flow: FlowId,
        remote: Option<SocketAddr>,
        is_at: IsAt<'_>,
    ) {
        let mut paths: Vec<Path> = remote.map(|remote| Path { flow, remote }).into_iter().collect();
        for call in self.calls.values() {
            paths.extend(call.legs().map(|leg| leg.party.path).filter(|path| path.flow == flow));
        }
        for path in paths {
            self.transactions.handle(now, Input::Failed { path });
        }
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            self.with(now, call, |call, desk| call.flow_closed(desk, flow));
        }
        self.pump(now, is_at);
    }

    pub(crate) fn transmit_failed(&mut self, now: Now, path: Path, is_at: IsAt<'_>) {
        self.transactions.handle(now, Input::Failed { path });
        self.pump(now, is_at);
    }

    pub(crate) fn reachable(&mut self, now: Now, owner: Owner, path: Path) {
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            self.with(now, call, |call, desk| call.reachable(desk, owner, path));
        }
    }

    /// Repeats a challenged request, known by its purpose and CSeq, with credentials; `None`: there are none,
    /// and the request has failed.
    pub(crate) fn authorize(
        &mut self,
        now: Now,
        call: CallId,
        leg: LegId,
        challenged: (Purpose, u32),
        credentials: Option<(Name, String)>,
        is_at: IsAt<'_>,
    ) {
        self.with(now, call, |call, desk| call.authorize(desk, leg, challenged, credentials));
        self.pump(now, is_at);
    }

    /// Another leg outside of a call that found none so far.
    pub(crate) fn onward(&mut self, now: Now, call: CallId, leg: Leg, is_at: IsAt<'_>) {
        self.with(now, call, |call, desk| call.onward(desk, leg));
        self.pump(now, is_at);
    }

    /// There is no further way: the call ends with what was heard so far, or with this.
    pub(crate) fn no_further(&mut self, now: Now, call: CallId, cause: Cause, is_at: IsAt<'_>) {
        self.with(now, call, |call, desk| call.no_further(desk, cause));
        self.pump(now, is_at);
    }

    /// The policy has changed: calls outside are judged anew.
    pub(crate) fn review(&mut self, now: Now, is_at: IsAt<'_>) {
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            self.with(now, call, Call::review);
        }
        self.pump(now, is_at);
    }

    /// No further step is paid for the calls of an extension: they end with their paid time.
    pub(crate) fn pay_no_more(&mut self, extension: ExtensionId) {
        let own = self.calls.values_mut().filter(|call| {
            call.responsible == Some(guard::gate::Responsible::Extension(extension))
        });
        let policy = self.gate.policy().version;
        own.for_each(|call| call.pay_no_more(policy));
    }

    /// Calls whose BYE to a carrier waits for its next connection.
    pub(crate) fn owing(&self) -> usize {
        self.calls.values().filter(|call| call.owes()).count()
    }

    /// Gives up the BYE that a carrier is owed.
    pub(crate) fn forsake(&mut self, now: Now, call: CallId, leg: LegId) {
        self.with(now, call, |call, desk| call.forsake(desk, leg));
    }

    pub(crate) fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id).map(|call| &**call)
    }

    pub(crate) fn call_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id).map(|call| &mut **call)
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values().map(|call| &**call)
    }

    /// Begins a call that the application has judged.
    pub(crate) fn begin(&mut self, now: Now, new: NewCall, heard: Option<Heard>, is_at: IsAt<'_>) {
        let id = new.id;
        let (_, mut desk) = self.split(now);
        desk.tenant = Some(new.tenant);
        desk.help = new.emergency;
        let call = Call::begin(&mut desk, new, heard);
        *self.counted.entry(call.caller_extension).or_default() += 1;
        self.calls.insert(id, Box::new(call));
        self.pump(now, is_at);
    }

    /// Ends a call. False where there is none.
    pub(crate) fn end(&mut self, now: Now, call: CallId, cause: Cause, is_at: IsAt<'_>) -> bool {
        let known = self.calls.contains_key(&call);
        self.with(now, call, |call, desk| call.end(desk, cause));
        self.pump(now, is_at);
        known
    }

    /// Ends all but calls for help.
    pub(crate) fn end_ordinary(&mut self, now: Now, cause: Cause, is_at: IsAt<'_>) {
        let ordinary = self.calls.values().filter(|call| !call.emergency).map(|call| call.id);
        for call in ordinary.collect::<Vec<_>>() {
            self.end(now, call, cause, is_at);
        }
    }

    /// Writes the records of what is still ending, without waiting for anybody; of calls for help only
    /// where `help`.
    pub(crate) fn give_up(&mut self, now: Now, help: bool) {
        let over = self.calls.values().filter(|call| help || !call.emergency).map(|call| call.id);
        for call in over.collect::<Vec<_>>() {
            self.with(now, call, |call, desk| call.give_up(desk));
        }
    }

    /// What of calls and messages is still held, by what.
    pub(crate) fn live(&self) -> Vec<(&'static str, usize)> {
        let mut live = vec![
            ("calls", self.calls.len()),
            ("callers", self.counted.len()),
            ("transactions", self.transactions.live()),
            ("timers", self.timers.len()),
        ];
        live.extend(self.lines.live());
        live
    }

    /// All whose record isn't written.
    pub(crate) fn calls_up(&self) -> usize {
        self.calls.keys().filter(|id| !self.lines.is_recorded(**id)).count()
    }

    pub(crate) fn calls_weak(&self) -> usize {
        self.calls.values().filter(|call| call.is_weak()).count()
    }

    /// Calls that take up room: all but those that only wait for a phone to answer our CANCEL or BYE
    /// long after their end.
    pub(crate) fn calls_counted(&self) -> usize {
        self.counted.values().sum()
    }

    /// As [`Self::calls_counted`], for one caller. A call that is ending counts: whoever calls and
    /// cancels in a loop would else open as many as there is room for.
    pub(crate) fn calls_of(&self, extension: ExtensionId) -> usize {
        self.counted.get(&Some(extension)).copied().unwrap_or_default()
    }

    pub(crate) fn views(&self) -> Vec<CallView> {
        let open = self.calls.values().filter(|call| !self.lines.is_recorded(call.id));
        open.map(|call| call.view()).collect()
    }

    /// One of our own requests has come back to us.
    pub(crate) fn is_ours(&self, request: &Request) -> bool {
        let headers = request.headers();
        let tag = headers.from();
        tag.tag().is_some_and(|tag| self.lines.dialog(headers.call_id(), tag).is_some())
    }

    pub(crate) fn desk(&mut self, now: Now) -> Desk<'_> {
        self.split(now).1
    }

    fn split(&mut self, now: Now) -> (&mut BTreeMap<CallId, Box<Call>>, Desk<'_>) {
        let desk = Desk {
            now,
            tenant: None,
            help: false,
            node: self.node,
            settings: &self.settings,
            gate: &self.gate,
            ledger: &mut self.ledger,
            realms: &self.realms,
            chance: &mut self.chance,
            transactions: &mut self.transactions,
            timers: &mut self.timers,
            lines: &mut self.lines,
            tickets: &mut self.tickets,
            out: &mut self.out,
            events: &mut self.events,
        };
        (&mut self.calls, desk)
    }

    /// Lets a call handle something, and buries it where that was the last.
    fn with(&mut self, now: Now, id: CallId, handle: impl FnOnce(&mut Call, &mut Desk<'_>)) {
        let (calls, mut desk) = self.split(now);
        let Some(call) = calls.get_mut(&id) else { return };
        desk.tenant = Some(call.tenant());
        desk.help = call.emergency;
        let (caller, lingered) = (call.caller_extension, call.is_lingering());
        handle(call, &mut desk);
        call.settle_gone(&mut desk);
        let over = desk.is_recorded(id) && call.all_gone();
        let counts_no_more = !lingered && (over || call.is_lingering());
        if over {
            for leg in call.legs() {
                leg.forget(&mut desk);
            }
            call.cancel_alarm(&mut desk, Why::Linger);
            desk.lines.forget_call(id);
            calls.remove(&id);
        }
        if counts_no_more && let Some(counted) = self.counted.get_mut(&caller) {
            *counted -= 1;
            if *counted == 0 {
                self.counted.remove(&caller);
            }
        }
    }

    /// Carries out what the transactions want, until they want nothing more.
    pub(crate) fn pump(&mut self, now: Now, is_at: IsAt<'_>) {
        while let Some(output) = self.transactions.poll_output() {
            match output {
                Wire::Transmit { path, bytes } => {
                    self.lines.trace(now, path, true, &bytes, &mut self.out);
                    self.out.push_back(Output::Transmit { path, bytes });
                }
                Wire::NewRequest { key, path, request } => {
                    if request.headers().to().tag().is_some() {
                        self.within(now, key, path, &request, is_at);
                    } else {
                        self.events.push_back(Event::Request { key, path, request });
                    }
                }
                Wire::Cancel { key, request, invite, .. } => {
                    let status = match invite {
                        Some(_) => Status::OK,
                        None => Status::CALL_DOES_NOT_EXIST,
                    };
                    let owner = invite.and_then(|invite| self.lines.server(invite));
                    self.answer_plainly(now, key, &request, status);
                    if let Some((call, leg)) = owner {
                        self.with(now, call, |call, desk| call.cancelled(desk, leg));
                    }
                }
                Wire::Ack { path, request, .. } => self.ack(now, path, &request, is_at),
                Wire::Response { key, response } => match self.lines.client(key) {
                    Some((call, leg, purpose)) => self.with(now, call, |call, desk| {
                        call.answered(desk, leg, purpose, Answer::Response(&response));
                    }),
                    None if response.status().is_final() => {
                        self.events.push_back(Event::Done { key, answer: Some(response) });
                    }
                    None => {}
                },
                Wire::Stray { path, response } => {
                    self.events.push_back(Event::Stray { path, response });
                }
                Wire::Overloaded { path, request, admitted } => {
                    if !admitted && self.is_within(now, path, &request, is_at) {
                        let rank = Rank::Progress;
                        self.transactions.handle(now, Input::Admit { path, request, rank });
                    } else {
                        self.events.push_back(Event::Overloaded { path, request, admitted });
                    }
                }
                Wire::Refused { key } | Wire::TransportFailed { key } => {
                    match self.lines.client(key) {
                        Some(owner) => self.unanswered(now, owner, Answer::Unreachable),
                        None => self.events.push_back(Event::Undelivered { key }),
                    }
                }
                Wire::Timeout { key, timer } => self.timed_out(now, key, timer),
                Wire::Terminated { key } => {
                    if let Some((call, leg, Purpose::Invite)) = self.lines.client(key)
                        && let Some(leg) =
                            self.calls.get_mut(&call).and_then(|call| call.leg_mut(leg))
                    {
                        leg.let_go_of_invite(key);
                    }
                    self.lines.terminated(key);
                }
            }
        }
    }

    fn timed_out(&mut self, now: Now, key: Key, timer: Timer) {
        if let Some(owner) = self.lines.client(key) {
            return match timer {
                // Ringing for longer than any ring time of ours: the call's own alarm is at fault.
                Timer::C => self.transactions.handle(now, Input::Cancel { key }),
                _ => self.unanswered(now, owner, Answer::TimedOut),
            };
        }
        match self.lines.server(key) {
            Some((call, leg)) if timer == Timer::Retransmit2xx => {
                self.with(now, call, |call, desk| call.unacknowledged(desk, leg, key));
            }
            Some(_) => {}
            None => self.events.push_back(Event::Done { key, answer: None }),
        }
    }

    fn unanswered(&mut self, now: Now, owner: (CallId, LegId, Purpose), answer: Answer<'_>) {
        let (call, leg, purpose) = owner;
        self.with(now, call, |call, desk| call.answered(desk, leg, purpose, answer));
    }

    /// A request with a To tag: for one of our legs, or for nobody.
    fn within(&mut self, now: Now, key: Key, path: Path, request: &Request, is_at: IsAt<'_>) {
        let Some((call_id, leg_id)) = self.leg_named(request) else {
            return self.answer_plainly(now, key, request, Status::CALL_DOES_NOT_EXIST);
        };
        let (calls, mut desk) = self.split(now);
        let leg = calls.get_mut(&call_id).and_then(|call| call.leg_mut(leg_id));
        let Some(leg) = leg else {
            return self.answer_plainly(now, key, request, Status::CALL_DOES_NOT_EXIST);
        };
        if !leg.comes_from_peer(&mut desk, path, is_at) {
            self.events.push_back(Event::Violation { path, kind: ViolationKind::Forged });
            return self.answer_plainly(now, key, request, Status::CALL_DOES_NOT_EXIST);
        }
        // A leg on its way out has no dialog any more: its BYE crosses theirs, which is fine.
        if leg.is_leaving() {
            let status = match request.method() {
                Method::Bye => Status::OK,
                _ => Status::CALL_DOES_NOT_EXIST,
            };
            self.answer_plainly(now, key, request, status);
            if request.method() == Method::Bye {
                self.with(now, call_id, |call, desk| call.owed_no_more(desk, leg_id));
            }
            return;
        }
        if leg.overtakes(request) {
            self.answer_plainly(now, key, request, Status::OK);
            return self.with(now, call_id, |call, desk| call.overtaken(desk, leg_id));
        }
        let judged = leg.dialog_mut().map(|dialog| dialog.receive(request));
        match judged {
            Some(Ok(())) => {
                self.with(now, call_id, |call, desk| call.request(desk, leg_id, key, request));
            }
            Some(Err(refusal)) => {
                if refusal != Refusal::Merged {
                    let kind = ViolationKind::OutOfOrder;
                    self.events.push_back(Event::Violation { path, kind });
                }
                self.answer_plainly(now, key, request, refusal.status());
            }
            None => self.answer_plainly(now, key, request, Status::CALL_DOES_NOT_EXIST),
        }
    }

    /// Whether a request belongs to a dialog of ours and comes from its peer. A To tag alone can be
    /// invented.
    fn is_within(&mut self, now: Now, path: Path, request: &Request, is_at: IsAt<'_>) -> bool {
        let Some((call, leg)) = self.leg_named(request) else { return false };
        let (calls, mut desk) = self.split(now);
        let leg = calls.get_mut(&call).and_then(|call| call.leg_mut(leg));
        leg.is_some_and(|leg| leg.comes_from_peer(&mut desk, path, is_at))
    }

    fn ack(&mut self, now: Now, path: Path, request: &Request, is_at: IsAt<'_>) {
        let Some((call_id, leg_id)) = self.leg_named(request) else { return };
        let (calls, mut desk) = self.split(now);
        let Some(leg) = calls.get_mut(&call_id).and_then(|call| call.leg_mut(leg_id)) else {
            return;
        };
        if !leg.comes_from_peer(&mut desk, path, is_at) {
            self.events.push_back(Event::Violation { path, kind: ViolationKind::Forged });
            return;
        }
        if leg.dialog_mut().is_some_and(|dialog| dialog.receive(request).is_ok()) {
            self.with(now, call_id, |call, desk| call.acknowledged(desk, leg_id, request));
        }
    }

    fn leg_named(&self, request: &Request) -> Option<(CallId, LegId)> {
        let headers = request.headers();
        let to = headers.to();
        self.lines.dialog(headers.call_id(), to.tag()?)
    }

    /// An answer without anything of ours in it.
    fn answer_plainly(&mut self, now: Now, key: Key, request: &Request, status: Status) {
        let tag = leg::token(&mut self.desk(now));
        if let Ok(response) = Response::builder(request, status).to_tag(&tag).build() {
            self.transactions.handle(now, Input::Respond { key, response });
        }
    }
}

fn endpoint_of(event: &relay::Event) -> relay::EndpointId {
    match event {
        relay::Event::Allocated { endpoint, .. }
        | relay::Event::Failed { endpoint, .. }
        | relay::Event::Armed { endpoint, .. }
        | relay::Event::Silence { endpoint, .. }
        | relay::Event::Resumed { endpoint }
        | relay::Event::Dtmf { endpoint, .. }
        | relay::Event::Violated { endpoint, .. }
        | relay::Event::Stats { endpoint, .. } => *endpoint,
    }
}
