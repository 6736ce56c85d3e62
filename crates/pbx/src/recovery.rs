//! After a crash: the legs that a former process left behind, each ended as soon as its phone can be
//! reached.
//!
//! A leg over UDP is ended at once, one over a connection when its device is back on a new one. What
//! was up gets BYE; what rang gets CANCEL, and ACK with BYE if it answers all the same; a caller
//! without an answer gets its refusal. 481 is as good as 200. What can't be reached within
//! [`Settings::orphan_timeout`](crate::settings::Settings) is given up: its phone has long registered
//! anew or never will, and its own session ended with its silence.
//!
//! A leg to a carrier costs money until the carrier has confirmed its end, at most what was held for it.
//! The record of its call is written when that is known.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use guard::cause::{Cause, Disposition, EndedBy};
use guard::fact::Fact;
use guard::id::{CallId, LegId, NodeId, RealmId, TenantId, TrunkId};
use pure::{Instant, Now, Timers};
use sip::dialog::{Dialog, DialogId, Hop};
use sip::transaction::{Input, Key, Rank};
use sip::{Message, Method, Name, Request, Response, Status};

use crate::back_to_back::Owner;
use crate::back_to_back::desk::Desk;
use crate::back_to_back::leg::end_stray;
use crate::back_to_back::outlay::{BYE_WAITS, seconds_up};
use crate::flow::{FlowOpened, Path, Transport};
use crate::record::{Cdr, CdrLeg, Row};
use crate::snapshot::{CallSnapshot, LegSnapshot, LegStage};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    orphans: BTreeMap<u64, Orphan>,
    /// Requests under way, and whose they are.
    sent: BTreeMap<Key, u64>,
    deadlines: Timers<(u64, Due)>,
    next: u64,
    /// Calls whose cost is not known yet.
    unsettled: BTreeMap<CallId, CallSnapshot>,
}

#[derive(Debug)]
struct Orphan {
    call: CallId,
    tenant: TenantId,
    leg: LegId,
    owner: Option<Owner>,
    path: Path,
    stage: LegStage,
    state: State,
    /// Money is held for it.
    costs: bool,
    /// How often what ends it was refused, or not answered.
    refused: usize,
    /// How often the request that is out was challenged.
    challenges: u8,
    credentials: Option<(Name, String)>,
}

/// Why an orphan is looked at again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// What ends it is said again.
    Again,
    /// No answer has crossed our CANCEL.
    Crossed,
    GiveUp,
}

/// What answers a carrier's challenge, from its trunk's account.
pub(crate) type Credentials<'a> =
    &'a mut dyn FnMut(TrunkId, &Response, &Method, &str) -> Option<(Name, String)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Its phone can't be reached yet.
    Waiting,
    Asked(Path, RealmId),
    /// Taken back; an answer that crossed our CANCEL would be heard by the deadline.
    TakenBack(RealmId),
    /// Nothing more to say. Kept until its deadline where a late 2xx may still come.
    Done,
}

impl Recovery {
    /// Takes over what was loaded: the interrupted calls' records, and the legs to end.
    pub(crate) fn begin(
        &mut self,
        now: Now,
        node: NodeId,
        snapshots: Vec<CallSnapshot>,
        timeout: Duration,
    ) -> (Vec<Row>, Vec<(Option<TenantId>, Fact)>) {
        let (mut rows, mut facts, mut legs_ended) = (Vec::new(), Vec::new(), 0);
        let calls = u32::try_from(snapshots.len()).unwrap_or(u32::MAX);
        for snapshot in snapshots {
            let call = snapshot.call;
            let duration = snapshot.answered.map(|answered| now.utc.since(answered));
            let duration_ms_min = duration
                .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
                .unwrap_or_default();
            let fact = Fact::CallInterrupted { call, duration_ms_min };
            facts.push((Some(snapshot.tenant), fact));
            let costs = snapshot.legs.iter().any(|leg| leg.toll.is_some());
            if !costs {
                rows.push(Row::Cdr(Box::new(interrupted(now, node, &snapshot))));
            }
            if snapshot.legs.is_empty() {
                rows.push(Row::RemoveSnapshot(call));
            }
            for leg in &snapshot.legs {
                self.next += 1;
                legs_ended += 1;
                self.deadlines.set(now.instant + timeout, (self.next, Due::GiveUp));
                let owner = leg.device.map(Owner::Device).or(leg.trunk.map(Owner::Trunk));
                let orphan = Orphan {
                    call,
                    tenant: snapshot.tenant,
                    leg: leg.leg,
                    owner,
                    path: leg.path,
                    stage: leg.stage.clone(),
                    state: State::Waiting,
                    costs: leg.toll.is_some(),
                    refused: 0,
                    challenges: 0,
                    credentials: None,
                };
                self.orphans.insert(self.next, orphan);
            }
            if costs {
                self.unsettled.insert(call, snapshot);
            }
        }
        if calls > 0 {
            let fact = Fact::CrashRecovered { node, calls_interrupted: calls, legs_ended };
            facts.push((None, fact));
        }
        (rows, facts)
    }

    pub(crate) fn live(&self) -> [(&'static str, usize); 4] {
        [
            ("unsettled calls", self.unsettled.len()),
            ("orphans", self.orphans.len()),
            ("orphans' requests", self.sent.len()),
            ("orphans' deadlines", self.deadlines.len()),
        ]
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Gives up what could not be reached in time, and believes in what was taken back.
    pub(crate) fn expire(&mut self, desk: &mut Desk<'_>) -> Vec<Row> {
        let mut rows = Vec::new();
        while let Some((id, due)) = self.deadlines.pop(desk.now.instant) {
            if due == Due::Again {
                if let Some((path, realm)) = self.orphans.get(&id).and_then(Orphan::asked) {
                    rows.extend(self.end(desk, id, path, realm));
                }
                continue;
            }
            let taken_back = |orphan: &Orphan| matches!(orphan.state, State::TakenBack(_));
            if due == Due::Crossed && !self.orphans.get(&id).is_some_and(taken_back) {
                continue;
            }
            let Some(orphan) = self.orphans.remove(&id) else { continue };
            self.sent.retain(|_, of| *of != id);
            rows.extend(self.give_up(desk, &orphan));
        }
        rows
    }

    /// An orphan that nothing more is heard of.
    fn give_up(&mut self, desk: &mut Desk<'_>, orphan: &Orphan) -> Vec<Row> {
        let cost = match (&orphan.stage, orphan.state) {
            (_, State::TakenBack(_)) => Cost::Nothing,
            (LegStage::Up { .. }, _) => Cost::Held,
            (LegStage::Outgoing { .. } | LegStage::Incoming { .. }, _) => Cost::UntilNow,
        };
        let mut rows = self.settle(desk, orphan, cost);
        rows.extend(self.settled(orphan.call));
        rows
    }

    /// A leg with money is over. Its call's record is written with the last of them.
    fn settle(&mut self, desk: &mut Desk<'_>, orphan: &Orphan, cost: Cost) -> Vec<Row> {
        if !orphan.costs {
            return Vec::new();
        }
        let Some(snapshot) = self.unsettled.get_mut(&orphan.call) else { return Vec::new() };
        let legs = snapshot.legs.iter_mut().filter(|leg| leg.leg == orphan.leg);
        let Some((mut toll, hold)) = legs.filter_map(|leg| leg.toll.take()).next() else {
            return Vec::new();
        };
        let (now, held) = (desk.now, hold.amount());
        toll.seconds = match (cost, toll.answered) {
            (Cost::Nothing, None) => 0,
            (_, Some(answered)) => seconds_up(now.utc.since(answered)),
            (Cost::UntilNow | Cost::Held, None) => UNACKNOWLEDGED_MAX,
        };
        if toll.seconds > 0 || toll.answered.is_some() {
            toll.answered = toll.answered.or(Some(now.utc));
            toll.cost = match cost {
                Cost::Held => held,
                _ => toll.rate.cost(toll.seconds).unwrap_or(held).min(held),
            };
        }
        let spends = desk.ledger.settle(orphan.leg, toll.cost);
        let mut rows: Vec<Row> = spends.into_iter().map(Row::Spend).collect();
        let settled = Fact::LegSettled {
            call: orphan.call,
            leg: orphan.leg,
            trunk: toll.trunk,
            cost: toll.cost,
            seconds: toll.seconds,
        };
        desk.tenant = Some(orphan.tenant);
        desk.fact(settled);
        if cost == Cost::Held {
            let (call, leg, trunk) = (orphan.call, orphan.leg, toll.trunk);
            desk.fact(Fact::EndUnconfirmed { call, leg, trunk, held });
        }
        snapshot.tolls.push(toll);
        rows.push(Row::Snapshot(Box::new(snapshot.clone())));
        if snapshot.legs.iter().all(|leg| leg.toll.is_none()) {
            rows.push(Row::Cdr(Box::new(interrupted(now, desk.node, snapshot))));
            self.unsettled.remove(&orphan.call);
        }
        rows
    }

    /// A UDP socket of ours is open again: the legs that used one are ended through it.
    pub(crate) fn flow_opened(&mut self, desk: &mut Desk<'_>, opened: &FlowOpened) -> Vec<Row> {
        if opened.flow.transport != Transport::Udp {
            return Vec::new();
        }
        let on_udp: Vec<u64> = self
            .waiting()
            .filter(|(_, orphan)| orphan.path.flow.transport == Transport::Udp)
            // A carrier's leg goes out on the carriers' socket, when its trunk says so.
            .filter(|(_, orphan)| !matches!(orphan.owner, Some(Owner::Trunk(_))))
            .map(|(id, _)| *id)
            .collect();
        let mut rows = Vec::new();
        for id in on_udp {
            let Some(orphan) = self.orphans.get(&id) else { continue };
            let path = Path { flow: opened.flow, remote: orphan.path.remote };
            rows.extend(self.end(desk, id, path, opened.realm));
        }
        rows
    }

    /// A device or a trunk is back.
    pub(crate) fn reachable(
        &mut self,
        desk: &mut Desk<'_>,
        owner: Owner,
        path: Path,
        realm: RealmId,
    ) -> Vec<Row> {
        let of_owner: Vec<u64> = self
            .waiting()
            .filter(|(_, orphan)| orphan.owner == Some(owner))
            .map(|(id, _)| *id)
            .collect();
        let mut rows = Vec::new();
        for id in of_owner {
            let Some(orphan) = self.orphans.get(&id) else { continue };
            // Over UDP a carrier of many addresses is asked where the call was.
            let path = match orphan.path.flow.transport {
                Transport::Udp if path.flow.transport == Transport::Udp => {
                    Path { flow: path.flow, remote: orphan.path.remote }
                }
                _ => path,
            };
            rows.extend(self.end(desk, id, path, realm));
        }
        rows
    }

    fn waiting(&self) -> impl Iterator<Item = (&u64, &Orphan)> {
        self.orphans.iter().filter(|(_, orphan)| orphan.state == State::Waiting)
    }

    /// Says what ends the leg.
    fn end(&mut self, desk: &mut Desk<'_>, id: u64, path: Path, realm: RealmId) -> Vec<Row> {
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        let credentials = orphan.credentials.take();
        let request = match &mut orphan.stage {
            LegStage::Incoming { refusal } => {
                desk.transmit(path, Bytes::copy_from_slice(refusal));
                None
            }
            LegStage::Outgoing { cancel, .. } => request_of(cancel)
                .and_then(|cancel| copy_head(&cancel, Method::Cancel, false, credentials)),
            LegStage::Up { dialog } => {
                let sent_by = desk.sent_by(realm, path.flow.transport, trunk_of(orphan.owner));
                let branch = desk.transactions.branch();
                let transport = path.flow.transport.sip();
                let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
                let mut state = dialog.clone();
                state.local_cseq =
                    Some(state.local_cseq.unwrap_or_default().saturating_add(SKIPPED));
                let said = Dialog::restore(state).and_then(|mut dialog| {
                    let bye = dialog.request(Method::Bye, hop)?;
                    Ok((bye, dialog.state().clone()))
                });
                said.ok().and_then(|(bye, state)| {
                    // The next one, if this one is refused, has a higher number.
                    *dialog = state;
                    let bye = match credentials {
                        Some((name, value)) => bye.header(name, &value),
                        None => bye,
                    };
                    bye.build().ok()
                })
            }
        };
        let Some(request) = request else { return self.over(desk, id) };
        orphan.state = State::Asked(path, realm);
        let key = desk.transactions.reserve();
        self.sent.insert(key, id);
        desk.transactions
            .handle(desk.now, Input::Send { key, path, request, rank: Rank::Progress });
        Vec::new()
    }

    /// A request of ours has its answer, or will never get one.
    pub(crate) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        key: Key,
        answer: Option<&Response>,
        credentials: Credentials<'_>,
    ) -> Vec<Row> {
        match self.sent.remove(&key) {
            Some(id) => self.done(desk, id, answer, credentials),
            None => Vec::new(),
        }
    }

    /// The connection broke again before it was said: at the next one. A socket has no next one.
    pub(crate) fn undelivered(&mut self, desk: &mut Desk<'_>, key: Key) -> Vec<Row> {
        let Some(id) = self.sent.remove(&key) else { return Vec::new() };
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        if let State::Asked(path, _) = orphan.state
            && !path.flow.transport.is_reliable()
        {
            return self.again(desk, id);
        }
        orphan.state = State::Waiting;
        Vec::new()
    }

    /// A late 2xx to an INVITE of the former process: acknowledged and ended.
    pub(crate) fn stray(
        &mut self,
        desk: &mut Desk<'_>,
        path: Path,
        response: &Response,
    ) -> Vec<Row> {
        let meant = DialogId::of_response(response);
        for (id, orphan) in &self.orphans {
            let LegStage::Outgoing { invite, .. } = &orphan.stage else { continue };
            let Some(invite) = request_of(invite) else { continue };
            let headers = invite.headers();
            let tag = headers.from();
            if headers.call_id() == meant.call_id && tag.tag() == Some(&meant.local_tag) {
                let realm = match orphan.state {
                    State::Asked(_, realm) | State::TakenBack(realm) => realm,
                    State::Waiting | State::Done => RealmId::default(),
                };
                let id = *id;
                if !orphan.costs {
                    end_stray(desk, (realm, trunk_of(orphan.owner)), path, &invite, response);
                    return Vec::new();
                }
                return self.answered_late(desk, id, (path, realm), &invite, response);
            }
        }
        Vec::new()
    }

    /// A carrier's leg was answered after all: acknowledged, and from now on ended as one that is up.
    fn answered_late(
        &mut self,
        desk: &mut Desk<'_>,
        id: u64,
        (path, realm): (Path, RealmId),
        invite: &Request,
        response: &Response,
    ) -> Vec<Row> {
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        let Ok(dialog) = Dialog::uac(invite, response) else { return Vec::new() };
        let sent_by = desk.sent_by(realm, path.flow.transport, trunk_of(orphan.owner));
        let branch = desk.transactions.branch();
        let transport = path.flow.transport.sip();
        let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
        if let Ok(ack) = dialog.ack(response.headers().cseq().number, hop).build() {
            desk.transmit(path, ack.as_bytes().clone());
        }
        orphan.stage = LegStage::Up { dialog: dialog.state().clone() };
        (orphan.refused, orphan.challenges) = (0, 0);
        let (call, leg) = (orphan.call, orphan.leg);
        self.sent.retain(|_, of| *of != id);
        let legs = self.unsettled.get_mut(&call).map(|snapshot| &mut snapshot.legs);
        let legs = legs.into_iter().flatten().filter(|known| known.leg == leg);
        for (toll, _) in legs.filter_map(|leg| leg.toll.as_mut()) {
            toll.answered = toll.answered.or(Some(desk.now.utc));
        }
        self.deadlines.set(desk.now.instant + LATE_MAX, (id, Due::GiveUp));
        self.end(desk, id, path, realm)
    }

    /// The request that ends an orphan has its answer, or will never get one.
    fn done(
        &mut self,
        desk: &mut Desk<'_>,
        id: u64,
        answer: Option<&Response>,
        credentials: Credentials<'_>,
    ) -> Vec<Row> {
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        let outgoing = matches!(orphan.stage, LegStage::Outgoing { .. });
        let status = answer.map(Response::status);
        if outgoing && orphan.costs && status.is_some_and(Status::is_success) {
            // RFC 3261 §9.1: a CANCEL may cross the answer; its 200 says only that it arrived.
            if let State::Asked(_, realm) = orphan.state {
                orphan.state = State::TakenBack(realm);
            }
            self.deadlines.set(desk.now.instant + CROSSING_MAX, (id, Due::Crossed));
            return Vec::new();
        }
        let confirmed = status
            .is_some_and(|status| status.is_success() || status == Status::CALL_DOES_NOT_EXIST);
        let Some(trunk) = trunk_of(orphan.owner).filter(|_| !confirmed) else {
            return self.over(desk, id);
        };
        if let Some(response) = answer.filter(|answer| matches!(answer.status().code(), 401 | 407))
            && orphan.challenges < CHALLENGES_MAX
        {
            let uri = match &orphan.stage {
                LegStage::Up { dialog } => dialog.remote_target.to_string(),
                LegStage::Outgoing { cancel, .. } => {
                    request_of(cancel).map(|cancel| cancel.uri().to_string()).unwrap_or_default()
                }
                LegStage::Incoming { .. } => String::new(),
            };
            let method = response.headers().cseq().method;
            orphan.challenges += 1;
            orphan.credentials = credentials(trunk, response, &method, &uri);
            if !outgoing
                && orphan.credentials.is_some()
                && let State::Asked(path, realm) = orphan.state
            {
                return self.end(desk, id, path, realm);
            }
        }
        self.again(desk, id)
    }

    /// A carrier hasn't agreed that a leg is over: said again after a while, at last given up.
    fn again(&mut self, desk: &mut Desk<'_>, id: u64) -> Vec<Row> {
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        let Some(wait) = BYE_WAITS.get(orphan.refused).copied() else {
            let Some(orphan) = self.orphans.remove(&id) else { return Vec::new() };
            return self.give_up(desk, &orphan);
        };
        orphan.refused += 1;
        let wait = match orphan.stage {
            LegStage::Up { .. } => {
                if orphan.credentials.is_none() {
                    orphan.challenges = 0;
                }
                wait
            }
            LegStage::Outgoing { .. } | LegStage::Incoming { .. } => wait.max(SAME_BRANCH_AFTER),
        };
        self.deadlines.set(desk.now.instant + wait, (id, Due::Again));
        Vec::new()
    }

    /// A leg is over.
    fn over(&mut self, desk: &mut Desk<'_>, id: u64) -> Vec<Row> {
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        let call = orphan.call;
        orphan.state = State::Done;
        let over = Orphan {
            stage: orphan.stage.clone(),
            credentials: orphan.credentials.take(),
            ..*orphan
        };
        if !matches!(over.stage, LegStage::Outgoing { .. }) {
            self.orphans.remove(&id);
        }
        let mut rows = self.settle(desk, &over, Cost::UntilNow);
        rows.extend(self.settled(call));
        rows
    }

    /// The snapshot goes when no leg of its call is left to be ended.
    fn settled(&self, call: CallId) -> Vec<Row> {
        let left = self.orphans.values().any(|o| o.call == call && o.state != State::Done);
        let left = left || self.unsettled.contains_key(&call);
        if left { Vec::new() } else { vec![Row::RemoveSnapshot(call)] }
    }
}

/// How long a leg that is over is taken to have cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cost {
    /// It was never answered.
    Nothing,
    /// From its answer until now, at most what was held; where nobody knows of an answer,
    /// [`UNACKNOWLEDGED_MAX`].
    UntilNow,
    /// All that was held: nobody confirmed its end.
    Held,
}

impl Orphan {
    /// Where it was told last that it is over.
    fn asked(&self) -> Option<(Path, RealmId)> {
        match self.state {
            State::Asked(path, realm) => Some((path, realm)),
            State::Waiting | State::TakenBack(_) | State::Done => None,
        }
    }
}

/// Seconds: a called side whose 2xx nobody acknowledges hangs up after 64·T1 (RFC 3261 §13.3.1.4).
const UNACKNOWLEDGED_MAX: u64 = 32;

/// Of one request, as in a call: one nonce, and one more where it was stale.
const CHALLENGES_MAX: u8 = 2;

/// A CANCEL said again has its branch again (RFC 3261 §9.1), which its former transaction keeps for T4,
/// 5 s, over UDP.
const SAME_BRANCH_AFTER: Duration = Duration::from_secs(6);

/// A leg that was answered late is told of its end for so long: longer than [`BYE_WAITS`] with a time-out
/// after each.
const LATE_MAX: Duration = Duration::from_secs(6 * 60);

/// A 2xx is repeated every T2, 4 s, until it is acknowledged (RFC 3261 §13.3.1.4).
const CROSSING_MAX: Duration = Duration::from_secs(5);

/// How a leg that we call is ended from a snapshot: the INVITE without its description (which holds
/// keys), and its CANCEL, which shares branch, target, From, To, Call-ID and CSeq number
/// (RFC 3261 §9.1).
pub(crate) fn outgoing(invite: &Request) -> Option<LegStage> {
    let bare = copy_head(invite, Method::Invite, true, None)?;
    let cancel = copy_head(invite, Method::Cancel, false, None)?;
    Some(LegStage::Outgoing {
        cancel: cancel.as_bytes().to_vec(),
        invite: bare.as_bytes().to_vec(),
    })
}

fn copy_head(
    invite: &Request,
    method: Method,
    whole: bool,
    credentials: Option<(Name, String)>,
) -> Option<Request> {
    let headers = invite.headers();
    let mut builder = Request::builder(method, invite.uri().as_str());
    for (name, _, value) in headers.rows() {
        let kept = match name {
            Name::Via | Name::From | Name::To | Name::CallId | Name::MaxForwards | Name::Route => {
                true
            }
            Name::Contact => whole,
            _ => false,
        };
        if kept {
            builder = builder.header(name, value);
        }
    }
    if let Some((name, value)) = credentials {
        builder = builder.header(name, &value);
    }
    builder.cseq(headers.cseq().number).build().ok()
}

/// The snapshot is of the answer; re-INVITEs and refreshes since then have used higher numbers, and a
/// phone answers 500 to a number it has passed and keeps its call. Gaps are no error (RFC 3261
/// §12.2.2), so this is more than a call of the longest kind can have used.
const SKIPPED: u32 = 10_000;

fn trunk_of(owner: Option<Owner>) -> Option<TrunkId> {
    match owner? {
        Owner::Trunk(trunk) => Some(trunk),
        Owner::Device(_) => None,
    }
}

fn request_of(bytes: &[u8]) -> Option<Request> {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(Message::Request(request)) => Some(request),
        Ok(Message::Response(_)) | Err(_) => None,
    }
}

fn interrupted(now: Now, node: NodeId, snapshot: &CallSnapshot) -> Cdr {
    let leg = |leg: &LegSnapshot| CdrLeg {
        leg: leg.leg,
        extension: leg.extension,
        device: leg.device,
        trunk: leg.trunk,
        caller: leg.proof.is_some(),
        transport: leg.transport,
        signalling: String::new(),
        proof: leg.proof,
        suite: leg.suite.as_deref().and_then(rtp::srtp::Suite::from_name).map(|s| s.name()),
        agent: String::new(),
        status: 0,
        quality: None,
        weaknesses: Vec::new(),
    };
    let mut legs: Vec<CdrLeg> = snapshot.legs.iter().map(leg).collect();
    // A caller between answer and ACK stands twice in its snapshot.
    legs.dedup_by_key(|leg| leg.leg);
    Cdr {
        call: snapshot.call,
        tenant: snapshot.tenant,
        node,
        from: snapshot.from.clone(),
        to: snapshot.to.clone(),
        responsible: match snapshot.responsible {
            Some(guard::gate::Responsible::Extension(extension)) => Some(extension),
            Some(guard::gate::Responsible::Trunk(_) | guard::gate::Responsible::System) | None => {
                None
            }
        },
        origin: snapshot.origin,
        tolls: snapshot.tolls.clone(),
        started: snapshot.started,
        answered: snapshot.answered,
        ended: now.utc,
        disposition: match Cause::Interrupted.outcome().disposition {
            Disposition::Interrupted => Disposition::Interrupted,
            other => other,
        },
        ended_by: EndedBy::default(),
        decision: Some(snapshot.decision),
        emergency: snapshot.emergency,
        legs,
    }
}
