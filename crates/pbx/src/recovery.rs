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
use sip::transaction::{Input, Key};
use sip::{Message, Method, Name, Request, RequestBuilder, Response};

use crate::back_to_back::Owner;
use crate::back_to_back::desk::Desk;
use crate::back_to_back::leg::end_stray;
use crate::back_to_back::outlay::seconds_up;
use crate::flow::{FlowOpened, Path, Transport};
use crate::record::{Cdr, CdrLeg, Row};
use crate::snapshot::{CallSnapshot, LegSnapshot, LegStage};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    orphans: BTreeMap<u64, Orphan>,
    /// Requests under way, and whose they are.
    sent: BTreeMap<Key, u64>,
    deadlines: Timers<u64>,
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
}

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
                self.deadlines.set(now.instant + timeout, self.next);
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
        while let Some(id) = self.deadlines.pop(desk.now.instant) {
            let Some(orphan) = self.orphans.remove(&id) else { continue };
            self.sent.retain(|_, of| *of != id);
            let cost = match orphan.state {
                State::TakenBack(_) => Cost::Nothing,
                State::Waiting | State::Asked(..) | State::Done => Cost::UntilNow,
            };
            rows.extend(self.settle(desk, &orphan, cost));
            rows.extend(self.settled(orphan.call));
        }
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
            (Cost::UntilNow | Cost::Unacknowledged, None) => UNACKNOWLEDGED_MAX,
        };
        if toll.seconds > 0 || toll.answered.is_some() {
            toll.answered = toll.answered.or(Some(now.utc));
            toll.cost = toll.rate.cost(toll.seconds).unwrap_or(held).min(held);
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
        let request = match &orphan.stage {
            LegStage::Incoming { refusal } => {
                desk.transmit(path, Bytes::copy_from_slice(refusal));
                None
            }
            LegStage::Outgoing { cancel, .. } => request_of(cancel),
            LegStage::Up { dialog } => {
                let sent_by = desk.sent_by(realm, path.flow.transport, trunk_of(orphan.owner));
                let branch = desk.transactions.branch();
                let transport = path.flow.transport.sip();
                let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
                let mut state = dialog.clone();
                state.local_cseq =
                    Some(state.local_cseq.unwrap_or_default().saturating_add(SKIPPED));
                let bye = Dialog::restore(state)
                    .and_then(|mut dialog| dialog.request(Method::Bye, hop))
                    .and_then(RequestBuilder::build);
                bye.ok()
            }
        };
        let Some(request) = request else { return self.done(desk, id, None) };
        orphan.state = State::Asked(path, realm);
        let key = desk.transactions.reserve();
        self.sent.insert(key, id);
        desk.transactions.handle(desk.now, Input::Send { key, path, request });
        Vec::new()
    }

    /// A request of ours has its answer, or will never get one.
    pub(crate) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        key: Key,
        answer: Option<&Response>,
    ) -> Vec<Row> {
        match self.sent.remove(&key) {
            Some(id) => self.done(desk, id, answer),
            None => Vec::new(),
        }
    }

    /// The connection broke again before it was said: at the next one.
    pub(crate) fn undelivered(&mut self, key: Key) {
        if let Some(orphan) = self.sent.remove(&key).and_then(|id| self.orphans.get_mut(&id)) {
            orphan.state = State::Waiting;
        }
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
                end_stray(desk, (realm, trunk_of(orphan.owner)), path, &invite, response);
                let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
                if !orphan.costs {
                    return Vec::new();
                }
                orphan.state = State::Done;
                let orphan = Orphan { stage: orphan.stage.clone(), ..*orphan };
                let mut rows = self.settle(desk, &orphan, Cost::Unacknowledged);
                rows.extend(self.settled(orphan.call));
                return rows;
            }
        }
        Vec::new()
    }

    /// The request that ends an orphan has its answer, or will never get one.
    fn done(&mut self, desk: &mut Desk<'_>, id: u64, answer: Option<&Response>) -> Vec<Row> {
        let Some(orphan) = self.orphans.get_mut(&id) else { return Vec::new() };
        let call = orphan.call;
        let outgoing = matches!(orphan.stage, LegStage::Outgoing { .. });
        let accepted = answer.is_some_and(|answer| answer.status().is_success());
        if outgoing && orphan.costs && accepted {
            // RFC 3261 §9.1: a CANCEL may cross the answer; its 200 says only that it arrived.
            if let State::Asked(_, realm) = orphan.state {
                orphan.state = State::TakenBack(realm);
            }
            self.deadlines.set(desk.now.instant + CROSSING_MAX, id);
            return Vec::new();
        }
        orphan.state = State::Done;
        let orphan = Orphan { stage: orphan.stage.clone(), ..*orphan };
        if !outgoing {
            self.orphans.remove(&id);
        }
        let mut rows = self.settle(desk, &orphan, Cost::UntilNow);
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
    /// From its answer until now; where nobody knows of an answer, as [`Cost::Unacknowledged`].
    UntilNow,
    /// Answered, and the answer was never acknowledged by us.
    Unacknowledged,
}

/// Seconds: a called side whose 2xx nobody acknowledges hangs up after 64·T1 (RFC 3261 §13.3.1.4).
const UNACKNOWLEDGED_MAX: u64 = 32;

/// A 2xx is repeated every T2, 4 s, until it is acknowledged (RFC 3261 §13.3.1.4).
const CROSSING_MAX: Duration = Duration::from_secs(5);

/// How a leg that we call is ended from a snapshot: the INVITE without its description (which holds
/// keys), and its CANCEL, which shares branch, target, From, To, Call-ID and CSeq number
/// (RFC 3261 §9.1).
pub(crate) fn outgoing(invite: &Request) -> Option<LegStage> {
    let bare = copy_head(invite, Method::Invite, true)?;
    let cancel = copy_head(invite, Method::Cancel, false)?;
    Some(LegStage::Outgoing {
        cancel: cancel.as_bytes().to_vec(),
        invite: bare.as_bytes().to_vec(),
    })
}

fn copy_head(invite: &Request, method: Method, whole: bool) -> Option<Request> {
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
