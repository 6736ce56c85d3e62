//! One leg: a dialog of our own with one phone, written from our own state alone.
//!
//! Call-ID, tags, CSeq, Contact and Via are ours on each leg, so neither party learns where the other
//! is (topology hidden), and nothing of a message survives the crossing but what [`Carry`] holds and
//! what [`Media`] rewrites.

use std::collections::BTreeMap;
use std::time::Duration;

use guard::cause::Cause;
use guard::gate::{Algorithm, Permit, Proof, Standing};
use guard::id::{CallId, DeviceId, ExtensionId, LegId, RealmId, TenantId, TrunkId};
use pure::Instant;
use rtp::quality::Report;
use sip::dialog::{Dialog, DialogId, DialogState, Hop};
use sip::sdp::Direction;
use sip::transaction::Key;
use sip::{
    Method, Name, NameAddrBuf, Refresher, Request, RequestBuilder, Response, ResponseBuilder,
    Status,
};

use super::carry::Carry;
use super::desk::{Desk, Purpose, ServerTx};
use super::media::{Coded, Media};
use super::outlay::Outlay;
use super::{IsAt, Owner, info};
use crate::directory::Exceptions;
use crate::flow::{Path, TlsFacts};
use crate::settings::Settings;

/// See the module.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) call: CallId,
    pub(crate) role: Role,
    pub(crate) party: Party,
    /// The phone's Contact, for a leg that we open.
    pub(crate) request_uri: String,
    /// Of our dialog; with `tag` it finds the leg.
    pub(crate) call_id: String,
    pub(crate) tag: String,
    pub(crate) media: Media,
    pub(crate) state: State,
    turn: Turn,
    pub(crate) session: Option<SessionTimer>,
    /// The last final status of the leg's INVITE, 0 before there was one.
    pub(crate) status: u16,
    pub(crate) quality: Option<Box<Report>>,
    /// Its connection is gone, and the phone hasn't come back yet.
    pub(crate) lost: bool,
    /// This attempt offers audio in clear.
    pub(crate) offered_plain: bool,
    takes_update: bool,
    /// The money of a leg outside.
    pub(crate) outlay: Option<Box<Outlay>>,
    /// How a carrier is told who calls.
    identity: Option<CallerId>,
    /// Credentials for our next request in this dialog.
    credentials: Option<(Name, String)>,
    /// How often the INVITE or BYE that is out was challenged.
    pub(crate) challenges: u8,
    /// Our other requests to a carrier that have no final answer yet, by CSeq. A challenged one is taken
    /// out to be repeated, so that none is repeated twice.
    repeatable: BTreeMap<u32, Request>,
    /// Until when our BYE waits for another connection.
    pub(crate) owed_until: Option<Instant>,
    /// How often our BYE was refused.
    pub(crate) byes_refused: usize,
    /// The dialog that our BYE is ending.
    leaving: Option<Box<DialogState>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Caller,
    Callee,
}

/// Who is at the other end, and how we know.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) tenant: TenantId,
    pub(crate) extension: Option<ExtensionId>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) trunk: Option<TrunkId>,
    /// What is configured of the carrier's line.
    pub(crate) line: Option<Line>,
    pub(crate) proof: Option<Proof>,
    pub(crate) path: Path,
    pub(crate) realm: RealmId,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) agent: String,
    pub(crate) exceptions: Exceptions,
    /// Host part of the addresses that this party sees.
    pub(crate) domain: String,
    /// The number that this party calls, or is called by.
    pub(crate) number: String,
}

/// What a leg must know of the trunk it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) silence_limit: Duration,
    /// Codec names, preferred first; empty: all.
    pub(crate) codecs: Vec<String>,
    /// Its account may answer challenges by MD5.
    pub(crate) md5: bool,
}

/// What a carrier is told of the caller: screened by the exchange, never what a phone wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CallerId {
    /// User and host of From.
    pub(crate) from: String,
    pub(crate) name: String,
    /// P-Asserted-Identity (RFC 3325).
    pub(crate) asserted: Option<String>,
    /// `Privacy: id` (RFC 3323).
    pub(crate) private: bool,
}

#[derive(Debug)]
pub(crate) enum State {
    /// They called; no final answer yet.
    Inviting(Inviting),
    /// They called; our 2xx waits for its ACK.
    Answered(Answered),
    /// To be called; ports are being opened.
    Planned(Planned),
    /// To be called; the INVITE is written and waits for its snapshot.
    Composed(Composed),
    /// Called; no final answer yet.
    Calling(Calling),
    /// Called, and taken back; its final answer is awaited.
    Cancelling(Calling),
    Confirmed(Confirmed),
    /// Our BYE waits for its answer.
    Leaving,
    Gone,
}

#[derive(Debug)]
pub(crate) struct Inviting {
    key: ServerTx,
    request: Request,
    dialog: Dialog,
    rang: bool,
}

#[derive(Debug)]
pub(crate) struct Answered {
    key: ServerTx,
    pub(crate) dialog: Dialog,
    answer_expected: bool,
    then: Then,
}

/// What follows the ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Talk,
    /// RFC 3261 §15: the BYE of a callee waits for the ACK.
    Leave,
}

#[derive(Debug)]
pub(crate) struct Planned {
    permit: Permit,
}

#[derive(Debug)]
pub(crate) struct Composed {
    permit: Permit,
    invite: Request,
}

#[derive(Debug)]
pub(crate) struct Calling {
    key: Key,
    pub(crate) invite: Request,
    /// Its tag in a BYE that has overtaken the 2xx it ends.
    over: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) dialog: Dialog,
    /// What we sent, where we called, as long as its transaction brings 2xx of others beyond the phone (32 s).
    invite: Option<(Key, Request)>,
}

/// Whose request for a new description is on the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Idle,
    /// They asked, and have no final answer yet.
    Theirs(ServerTx),
    /// Our 2xx to their re-INVITE waits for its ACK; whether that brings the answer.
    Acknowledging {
        key: ServerTx,
        answer_expected: bool,
    },
    /// We asked; with this CSeq.
    Ours(u32),
    /// We asked, and will again.
    BackingOff,
}

/// A session interval that was agreed on (RFC 4028).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionTimer {
    pub(crate) interval: Duration,
    /// Whether the refreshing is ours.
    pub(crate) ours: bool,
}

/// The first ACK of a 2xx.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) answer_expected: bool,
}

impl Party {
    pub(crate) fn standing(&self) -> Standing {
        self.proof.map_or(Standing::Stranger, Standing::Proved)
    }

    /// Without packets for so long its other end is gone.
    pub(crate) fn silence_limit(&self, settings: &Settings) -> Duration {
        self.line.as_ref().map_or(settings.silence_limit, |line| line.silence_limit)
    }

    /// The codecs that may be offered to it.
    pub(crate) fn allowed(&self, codecs: Vec<Coded>) -> Vec<Coded> {
        let named = self.line.as_ref().map(|line| &line.codecs).filter(|names| !names.is_empty());
        match named {
            Some(names) => Coded::only(codecs, names),
            None => codecs,
        }
    }

    /// Whose newer connections its requests may come over.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.device.map(Owner::Device).or(self.trunk.map(Owner::Trunk))
    }
}

impl Leg {
    /// The leg of whoever called. `None` where the request can't make a dialog (it has no Contact).
    pub(crate) fn caller(
        desk: &mut Desk<'_>,
        call: CallId,
        id: LegId,
        party: Party,
        key: ServerTx,
        request: &Request,
    ) -> Option<Self> {
        let tag = token(desk);
        // The dialog exists from our first tagged provisional on (§12.1.1).
        let early = Response::builder(request, Status::RINGING).to_tag(&tag).build().ok()?;
        let over_tls = party.path.flow.transport.is_encrypted();
        let dialog = Dialog::uas(request, &early, over_tls).ok()?;
        let call_id = request.headers().call_id().to_owned();
        let mut leg = Self::new(desk, call, id, Role::Caller, party);
        leg.takes_update = request.headers().has_token(Name::Allow, "UPDATE");
        leg.session = asked_session(desk, request).or(leg.own_session(desk));
        desk.lines.leg(leg.party.tenant, (call, id), &call_id, &tag, leg.party.path);
        desk.lines.serve(key, call, id);
        leg.call_id = call_id;
        leg.tag = tag;
        leg.state =
            State::Inviting(Inviting { key, request: request.clone(), dialog, rang: false });
        Some(leg)
    }

    /// A leg that we are going to open: the permit is used up by it.
    pub(crate) fn callee(
        permit: Permit,
        party: Party,
        request_uri: String,
        desk: &mut Desk<'_>,
    ) -> Option<Self> {
        // A registered Contact may carry headers, a Request-URI may not (RFC 3261 §19.1.1 table 1).
        let request_uri = sip::Uri::parse(&request_uri).ok()?.without_headers().to_owned();
        let (call, id) = (permit.call(), permit.leg());
        let (tag, call_id) = (token(desk), token(desk));
        let mut leg = Self::new(desk, call, id, Role::Callee, party);
        desk.lines.leg(leg.party.tenant, (call, id), &call_id, &tag, leg.party.path);
        leg.request_uri = request_uri;
        leg.call_id = call_id;
        leg.tag = tag;
        leg.state = State::Planned(Planned { permit });
        Some(leg)
    }

    fn new(desk: &mut Desk<'_>, call: CallId, id: LegId, role: Role, party: Party) -> Self {
        Self {
            id,
            call,
            role,
            party,
            request_uri: String::new(),
            call_id: String::new(),
            tag: String::new(),
            media: Media::new(id, desk.chance),
            state: State::Gone,
            turn: Turn::Idle,
            session: None,
            status: 0,
            quality: None,
            lost: false,
            offered_plain: false,
            takes_update: false,
            outlay: None,
            identity: None,
            credentials: None,
            challenges: 0,
            repeatable: BTreeMap::new(),
            owed_until: None,
            byes_refused: 0,
            leaving: None,
        }
    }

    /// A leg toward a carrier: `outlay` is its money, `None` for a call for help.
    pub(crate) fn outside(mut self, identity: CallerId, outlay: Option<Outlay>) -> Self {
        self.identity = Some(identity);
        self.outlay = outlay.map(Box::new);
        self
    }

    /// On a carrier's leg we refresh the session ourselves, whether it knows the timer or not: a dialog
    /// that is gone answers 481, and a lost BYE costs half an interval at the most (RFC 4028 §7.4).
    fn own_session(&self, desk: &Desk<'_>) -> Option<SessionTimer> {
        let interval = desk.settings.trunk_session_interval;
        self.party.trunk.map(|_| SessionTimer { interval, ours: true })
    }

    /// The session as we watch over it. Whatever a carrier agrees to, or asks for, we refresh ourselves,
    /// and soon enough: it is our money.
    pub(crate) fn watched_session(&self, desk: &Desk<'_>) -> Option<SessionTimer> {
        let agreed = self.session?;
        match self.own_session(desk) {
            Some(own) => Some(SessionTimer { interval: agreed.interval.min(own.interval), ..own }),
            None => Some(agreed),
        }
    }

    /// `help`: see [`rtp::relay::Command::Allocate`].
    pub(crate) fn allocate(&mut self, desk: &mut Desk<'_>, help: bool) {
        let tag = u64::try_from(self.call.0 & u128::from(u64::MAX)).unwrap_or_default();
        let command = self.media.allocate(self.party.realm, tag, help);
        desk.media(command);
    }

    /// The owner allowed this device audio in clear.
    pub(crate) fn may_be_plain(&self) -> bool {
        self.party.exceptions.dangerous_plain_rtp
    }

    /// Whether its signalling is encrypted: a key that was read on the way protects nothing.
    pub(crate) fn is_secure(&self) -> bool {
        self.party.path.flow.transport.is_encrypted()
    }

    pub(crate) fn dialog(&self) -> Option<&Dialog> {
        match &self.state {
            State::Inviting(state) => Some(&state.dialog),
            State::Answered(state) => Some(&state.dialog),
            State::Confirmed(state) => Some(&state.dialog),
            State::Planned(_)
            | State::Composed(_)
            | State::Calling(_)
            | State::Cancelling(_)
            | State::Leaving
            | State::Gone => None,
        }
    }

    pub(crate) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Inviting(state) => Some(&mut state.dialog),
            State::Answered(state) => Some(&mut state.dialog),
            State::Confirmed(state) => Some(&mut state.dialog),
            State::Planned(_)
            | State::Composed(_)
            | State::Calling(_)
            | State::Cancelling(_)
            | State::Leaving
            | State::Gone => None,
        }
    }

    /// Whether a request on this path is the peer's own: its path, or a newer one of its device, where
    /// the leg then goes on.
    pub(crate) fn comes_from_peer(
        &mut self,
        desk: &mut Desk<'_>,
        path: Path,
        is_at: IsAt<'_>,
    ) -> bool {
        if path == self.party.path {
            return true;
        }
        let moved = self.party.owner().is_some_and(|owner| is_at(owner, path));
        if moved {
            // What it is owed is said once it is known to listen there: see `Call::reachable`.
            let owed = self.lost && self.leaving().is_some();
            self.moves_to(desk, path);
            self.lost = owed;
        }
        moved
    }

    pub(crate) fn moves_to(&mut self, desk: &mut Desk<'_>, path: Path) {
        desk.lines.forget_trace(&self.call_id, self.party.path);
        self.party.path = path;
        self.lost = false;
        desk.lines.trace_on(self.party.tenant, (self.call, self.id), &self.call_id, path);
    }

    /// Our CANCEL or BYE is out.
    pub(crate) fn is_leaving(&self) -> bool {
        match &self.state {
            State::Leaving | State::Cancelling(_) | State::Gone => true,
            State::Inviting(_)
            | State::Answered(_)
            | State::Planned(_)
            | State::Composed(_)
            | State::Calling(_)
            | State::Confirmed(_) => false,
        }
    }

    pub(crate) fn turn(&self) -> Turn {
        self.turn
    }

    pub(crate) fn theirs(&mut self, key: ServerTx) {
        self.turn = Turn::Theirs(key);
    }

    pub(crate) fn idle(&mut self) {
        self.turn = Turn::Idle;
    }

    pub(crate) fn backing_off(&mut self) {
        self.turn = Turn::BackingOff;
    }

    pub(crate) fn heard_from(&mut self, response: &Response) {
        self.takes_update |= response.headers().has_token(Name::Allow, "UPDATE");
        let agent = response
            .headers()
            .get(Name::UserAgent)
            .or_else(|| response.headers().get(Name::Server));
        if let Some(agent) = agent {
            self.party.agent = agent.chars().take(AGENT_MAX).collect();
        }
    }

    pub(crate) fn heard_from_request(&mut self, request: &Request) {
        self.takes_update |= request.headers().has_token(Name::Allow, "UPDATE");
    }

    // The caller's side.

    /// A provisional answer. The same one is said once.
    pub(crate) fn ring_back(&mut self, desk: &mut Desk<'_>, status: Status, sdp: Option<&str>) {
        let State::Inviting(inviting) = &mut self.state else { return };
        if inviting.rang && sdp.is_none() {
            return;
        }
        inviting.rang = true;
        let (key, request) = (inviting.key, inviting.request.clone());
        self.respond_to(desk, key, &request, status, |answer, contact| {
            let answer = answer.contact(contact);
            match sdp {
                Some(sdp) => answer.body("application/sdp", sdp.to_owned()),
                None => answer,
            }
        });
    }

    /// 200 with our description. False where it can't be written.
    pub(crate) fn answer(&mut self, desk: &mut Desk<'_>, sdp: &str) -> bool {
        let State::Inviting(inviting) = std::mem::replace(&mut self.state, State::Gone) else {
            return false;
        };
        let Inviting { key, request, mut dialog, .. } = inviting;
        let session = self.session;
        self.respond_to(desk, key, &request, Status::OK, |answer, contact| {
            let answer = abilities(answer.contact(contact));
            grant_session(answer, session).body("application/sdp", sdp.to_owned())
        });
        dialog.confirm();
        self.status = 200;
        let answer_expected = request.body().is_empty();
        self.state = State::Answered(Answered { key, dialog, answer_expected, then: Then::Talk });
        true
    }

    /// An ACK of a 2xx of ours. `None` where none was awaited.
    pub(crate) fn acknowledged(&mut self, desk: &mut Desk<'_>) -> Option<Acknowledged> {
        if let Turn::Acknowledging { answer_expected, .. } = self.turn {
            self.turn = Turn::Idle;
            return Some(Acknowledged { answer_expected });
        }
        if !matches!(self.state, State::Answered(_)) {
            return None;
        }
        let State::Answered(answered) = std::mem::replace(&mut self.state, State::Gone) else {
            return None;
        };
        let Answered { dialog, answer_expected, then, .. } = answered;
        self.state = State::Confirmed(Confirmed { dialog, invite: None });
        if then == Then::Leave {
            self.bye(desk, Cause::Cleared);
        }
        Some(Acknowledged { answer_expected })
    }

    /// Our 2xx was never acknowledged: a BYE may leave now (§13.3.1.4).
    pub(crate) fn unacknowledged(&mut self, key: ServerTx) -> bool {
        if matches!(self.turn, Turn::Acknowledging { key: awaited, .. } if awaited == key) {
            self.turn = Turn::Idle;
            return true;
        }
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Answered(answered) if answered.key == key => {
                self.state = State::Confirmed(Confirmed { dialog: answered.dialog, invite: None });
                true
            }
            state => {
                self.state = state;
                false
            }
        }
    }

    fn refuse(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let State::Inviting(inviting) = std::mem::replace(&mut self.state, State::Gone) else {
            return;
        };
        let outcome = cause.outcome();
        let status = Status::new(outcome.status).unwrap_or(Status::SERVER_INTERNAL_ERROR);
        self.status = status.code();
        self.respond_to(desk, inviting.key, &inviting.request, status, |answer, _| {
            explain(answer, cause)
        });
    }

    // The called side.

    /// Writes the INVITE with an offer of ours. Nothing is sent yet.
    pub(crate) fn compose(
        &mut self,
        desk: &mut Desk<'_>,
        carry: &Carry,
        hops: u8,
        codecs: &[Coded],
        direction: Direction,
        ptime: Option<u16>,
    ) {
        let State::Planned(planned) = std::mem::replace(&mut self.state, State::Gone) else {
            return;
        };
        let suites = desk.settings.suites.clone();
        let plain = self.offered_plain;
        let offer = self.media.offer(desk.chance, codecs, direction, ptime, &suites, plain);
        let invite = offer.and_then(|sdp| {
            self.invite(desk, carry, hops)?.body("application/sdp", sdp).build().ok()
        });
        if let Some(invite) = invite {
            self.state = State::Composed(Composed { permit: planned.permit, invite });
        }
    }

    fn invite(&self, desk: &mut Desk<'_>, carry: &Carry, hops: u8) -> Option<RequestBuilder> {
        let transport = self.party.path.flow.transport;
        let sent_by = desk.sent_by(self.party.realm, transport, self.party.trunk);
        let branch = desk.transactions.branch();
        let domain = &self.party.domain;
        let own = self.identity.as_ref();
        let from =
            own.map_or_else(|| format!("{}@{domain}", carry.caller.number), |own| own.from.clone());
        let from = format!("sip:{from}");
        let name = own.map_or(carry.caller.name.as_str(), |own| own.name.as_str());
        let name = Some(name).filter(|name| !name.is_empty());
        let from = NameAddrBuf::new(name, &from).or_else(|_| NameAddrBuf::new(None, &from)).ok()?;
        let from = from.with_tag(&self.tag).ok()?;
        let to = NameAddrBuf::new(None, &format!("sip:{}@{domain}", self.party.number)).ok()?;
        let session = self.own_session(desk);
        let invite = Request::builder(Method::Invite, &self.request_uri);
        let invite = match own.and_then(|own| own.asserted.as_ref()) {
            Some(asserted) => invite.header(Name::PAssertedIdentity, &format!("<sip:{asserted}>")),
            None => invite,
        };
        let invite = match own {
            Some(own) if own.private => invite.header(Name::Privacy, "id"),
            Some(_) | None => invite,
        };
        Some(
            ask_session(invite, session)
                .via(transport.sip(), &sent_by, &branch)
                .max_forwards(hops)
                .from(&from)
                .to(&to)
                .call_id(&self.call_id)
                .cseq(1)
                .contact(&self.contact(desk)?)
                .header(Name::Allow, ALLOW),
        )
    }

    /// Sends the composed INVITE: the permit is used up. False where there is none.
    pub(crate) fn dial(&mut self, desk: &mut Desk<'_>) -> bool {
        let State::Composed(Composed { permit, invite }) =
            std::mem::replace(&mut self.state, State::Gone)
        else {
            return false;
        };
        // A permit opens the one leg that it names.
        if permit.leg() != self.id || permit.call() != self.call {
            return false;
        }
        let owner = (self.call, self.id, Purpose::Invite);
        let key = desk.send(owner, self.party.path, invite.clone());
        self.state = State::Calling(Calling { key, invite, over: None });
        true
    }

    /// The 2xx to our INVITE: acknowledged at once, and the dialog stands. Where the 2xx makes no
    /// dialog (it lacks a tag or a Contact), nothing more can be said to the phone.
    pub(crate) fn confirm(&mut self, desk: &mut Desk<'_>, response: &Response) {
        let (State::Calling(calling) | State::Cancelling(calling)) =
            std::mem::replace(&mut self.state, State::Gone)
        else {
            return;
        };
        self.heard_from(response);
        self.session = granted_session(desk, response).or(self.own_session(desk));
        let Ok(dialog) = Dialog::uac(&calling.invite, response) else { return };
        self.state =
            State::Confirmed(Confirmed { dialog, invite: Some((calling.key, calling.invite)) });
        self.acknowledge(desk, response);
    }

    /// Their BYE while we wait for a final answer: a called phone that hangs up before our ACK, which RFC
    /// 3261 §15 forbids, may be heard before its own 2xx. False where this is no such BYE.
    pub(crate) fn overtakes(&mut self, request: &Request) -> bool {
        let State::Calling(calling) = &mut self.state else { return false };
        let Some(tag) = request.headers().from().tag() else { return false };
        let bye = request.method() == Method::Bye;
        if bye {
            calling.over.get_or_insert_with(|| tag.to_owned());
        }
        bye
    }

    /// Whether a 2xx makes the dialog whose BYE has come already.
    pub(crate) fn is_over(&self, response: &Response) -> bool {
        let State::Calling(calling) = &self.state else { return false };
        calling.over.is_some() && calling.over.as_deref() == response.headers().to().tag()
    }

    /// The ACK of a 2xx in our dialog.
    pub(crate) fn acknowledge(&mut self, desk: &mut Desk<'_>, response: &Response) {
        let (cseq, path) = (response.headers().cseq().number, self.party.path);
        let sent_by = desk.sent_by(self.party.realm, path.flow.transport, self.party.trunk);
        let branch = desk.transactions.branch();
        let hop = Hop { transport: path.flow.transport.sip(), sent_by: &sent_by, branch: &branch };
        let Some(dialog) = self.dialog_mut() else { return };
        dialog.refresh_target(response.headers());
        if let Ok(ack) = dialog.ack(cseq, hop).build() {
            desk.transmit(path, ack.as_bytes().clone());
        }
    }

    /// A 2xx came again, or a second one from a fork beyond the phone: the first gets its ACK again,
    /// the other is acknowledged and ended (§13.2.2.4).
    pub(crate) fn acknowledge_again(&mut self, desk: &mut Desk<'_>, response: &Response) {
        let State::Confirmed(Confirmed { dialog, invite }) = &self.state else { return };
        if dialog.id() == DialogId::of_response(response) {
            return self.acknowledge(desk, response);
        }
        if let Some((_, invite)) = invite.clone() {
            end_stray(
                desk,
                (self.party.realm, self.party.trunk),
                self.party.path,
                &invite,
                response,
            );
        }
    }

    /// The transaction of an INVITE of ours is over: what comes to it now is a stray.
    pub(crate) fn let_go_of_invite(&mut self, over: Key) {
        if let State::Confirmed(confirmed) = &mut self.state {
            confirmed.invite.take_if(|(key, _)| *key == over);
        }
    }

    // Both sides.

    /// Ends the leg in the way its state asks for.
    pub(crate) fn leave(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        match &mut self.state {
            State::Inviting(_) => self.refuse(desk, cause),
            State::Answered(answered) => answered.then = Then::Leave,
            State::Planned(_) | State::Composed(_) => self.state = State::Gone,
            State::Calling(calling) => {
                desk.cancel(calling.key);
                let State::Calling(calling) = std::mem::replace(&mut self.state, State::Gone)
                else {
                    return;
                };
                self.state = State::Cancelling(calling);
            }
            State::Confirmed(_) => self.bye(desk, cause),
            State::Cancelling(_) | State::Leaving | State::Gone => {}
        }
    }

    pub(crate) fn bye(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let bye =
            self.within(desk, Method::Bye).map(|bye| bye.header(Name::Reason, &reason(cause)));
        let Some(Ok(bye)) = bye.map(RequestBuilder::build) else {
            self.state = State::Gone;
            return;
        };
        let over = self.dialog().map(|dialog| dialog.state().clone());
        self.leaving = over.map(Box::new).or(self.leaving.take());
        if let Some(outlay) = &mut self.outlay {
            outlay.leaves(desk.now);
        }
        desk.send((self.call, self.id, Purpose::Bye), self.party.path, bye);
        self.state = State::Leaving;
    }

    /// Nothing is left of it but a BYE that its phone will hear when it comes back. It costs nothing, so
    /// the record of its call needs not wait.
    pub(crate) fn waits_for_phone(&self) -> bool {
        self.lost
            && self.leaving().is_some()
            && self.outlay.as_ref().is_none_or(|outlay| outlay.is_settled())
    }

    /// Says the BYE again that was challenged, or lost with a connection.
    pub(crate) fn bye_again(&mut self, desk: &mut Desk<'_>) {
        let over = self.leaving().cloned();
        let Some(dialog) = over.and_then(|state| Dialog::restore(state).ok()) else { return };
        self.state = State::Confirmed(Confirmed { dialog, invite: None });
        self.bye(desk, Cause::Cleared);
    }

    /// The dialog as a restart must end it, while our BYE waits for its answer.
    pub(crate) fn leaving(&self) -> Option<&DialogState> {
        self.leaving.as_deref().filter(|_| matches!(self.state, State::Leaving))
    }

    /// Whether a request with this CSeq waits for its answer and was never repeated.
    pub(crate) fn is_repeatable(&self, cseq: u32) -> bool {
        self.repeatable.contains_key(&cseq)
    }

    /// The request with this CSeq has its answer.
    pub(crate) fn not_repeated(&mut self, cseq: u32) {
        self.repeatable.remove(&cseq);
    }

    /// Repeats a challenged request with credentials. False where that can't be done. `cseq`: of the
    /// request.
    pub(crate) fn authorize(
        &mut self,
        desk: &mut Desk<'_>,
        (purpose, cseq): (Purpose, u32),
        credentials: (Name, String),
    ) -> bool {
        match purpose {
            Purpose::Invite => self.invite_again(desk, credentials),
            Purpose::Bye => {
                self.credentials = Some(credentials);
                self.bye_again(desk);
                matches!(self.state, State::Leaving)
            }
            Purpose::Change | Purpose::Refresh | Purpose::Info => {
                let Some(former) = self.repeatable.remove(&cseq) else { return false };
                self.credentials = Some(credentials);
                self.repeat(desk, purpose, &former)
            }
        }
    }

    /// The same request within the dialog: next CSeq, new branch, credentials (RFC 3261 §22.2).
    fn repeat(&mut self, desk: &mut Desk<'_>, purpose: Purpose, former: &Request) -> bool {
        let headers = former.headers();
        let Some(request) = self.within(desk, former.method()) else { return false };
        let request = headers.rows().fold(request, |request, (known, _, text)| match known {
            Name::Contact | Name::Allow | Name::Supported | Name::SessionExpires | Name::MinSe => {
                request.header(known, text)
            }
            // The dialog writes the others, and the body its own.
            _ => request,
        });
        let request = match headers.get(Name::ContentType) {
            Some(kind) => request.body(kind, former.body().to_vec()),
            None => request,
        };
        let Ok(request) = request.build() else { return false };
        if purpose != Purpose::Info {
            self.turn = Turn::Ours(request.headers().cseq().number);
        }
        desk.send((self.call, self.id, purpose), self.party.path, request);
        true
    }

    /// Sends a request within the dialog that a carrier may challenge.
    fn send(&mut self, desk: &mut Desk<'_>, purpose: Purpose, request: Request) {
        if self.party.trunk.is_some() {
            if self.repeatable.len() >= REPEATABLE_MAX {
                self.repeatable.pop_first();
            }
            self.repeatable.insert(request.headers().cseq().number, request.clone());
        }
        desk.send((self.call, self.id, purpose), self.party.path, request);
    }

    /// The same INVITE under the same permit: next CSeq, new branch, credentials (RFC 3261 §22.2).
    fn invite_again(&mut self, desk: &mut Desk<'_>, (name, value): (Name, String)) -> bool {
        let State::Calling(calling) = &self.state else { return false };
        let over = calling.over.clone();
        let transport = self.party.path.flow.transport;
        let sent_by = desk.sent_by(self.party.realm, transport, self.party.trunk);
        let branch = desk.transactions.branch();
        let former = &calling.invite;
        let mut builder = Request::builder(Method::Invite, former.uri().as_str())
            .via(transport.sip(), &sent_by, &branch)
            .cseq(former.headers().cseq().number.saturating_add(1));
        for (known, _, text) in former.headers().rows() {
            let anew = matches!(
                known,
                Name::Via
                    | Name::CSeq
                    | Name::ContentLength
                    | Name::ContentType
                    | Name::Authorization
                    | Name::ProxyAuthorization
            );
            if !anew {
                builder = builder.header(known, text);
            }
        }
        let body = String::from_utf8_lossy(former.body()).into_owned();
        let invite = builder.header(name, &value).body("application/sdp", body).build();
        let Ok(invite) = invite else { return false };
        let key = desk.send((self.call, self.id, Purpose::Invite), self.party.path, invite.clone());
        self.state = State::Calling(Calling { key, invite, over });
        true
    }

    /// They said BYE: the leg is over, and what we were asked in it gets no other answer.
    pub(crate) fn hung_up(&mut self, desk: &mut Desk<'_>) {
        if let State::Inviting(inviting) = &self.state {
            let (key, request) = (inviting.key, inviting.request.clone());
            self.status = 487;
            self.respond_to(desk, key, &request, Status::REQUEST_TERMINATED, |answer, _| answer);
        }
        self.state = State::Gone;
    }

    /// A request within our dialog: `None` where there is no dialog (any more).
    fn within(&mut self, desk: &mut Desk<'_>, method: Method) -> Option<RequestBuilder> {
        let path = self.party.path;
        let sent_by = desk.sent_by(self.party.realm, path.flow.transport, self.party.trunk);
        let branch = desk.transactions.branch();
        let hop = Hop { transport: path.flow.transport.sip(), sent_by: &sent_by, branch: &branch };
        let request = self.dialog_mut()?.request(method, hop).ok()?;
        let request = match self.credentials.take() {
            Some((name, value)) => request.header(name, &value),
            None => request,
        };
        Some(request)
    }

    /// Our re-INVITE with this description. False where it can't be sent.
    pub(crate) fn reinvite(&mut self, desk: &mut Desk<'_>, sdp: &str, purpose: Purpose) -> bool {
        let contact = self.contact(desk);
        let session = self.session;
        let Some(Ok(request)) =
            self.within(desk, Method::Invite).zip(contact).map(|(request, contact)| {
                let request = request.contact(&contact).header(Name::Allow, ALLOW);
                ask_session(request, session).body("application/sdp", sdp.to_owned()).build()
            })
        else {
            return false;
        };
        self.turn = Turn::Ours(request.headers().cseq().number);
        self.send(desk, purpose, request);
        true
    }

    /// Refreshes the session: UPDATE where the phone knows it, else a re-INVITE that changes nothing.
    pub(crate) fn refresh(&mut self, desk: &mut Desk<'_>) {
        if self.turn != Turn::Idle {
            return;
        }
        if !self.takes_update {
            if let Some(sdp) = self.media.repeat() {
                self.reinvite(desk, &sdp, Purpose::Refresh);
            }
            return;
        }
        let contact = self.contact(desk);
        let session = self.session;
        let update = self
            .within(desk, Method::Update)
            .zip(contact)
            .map(|(request, contact)| ask_session(request.contact(&contact), session).build());
        if let Some(Ok(request)) = update {
            self.turn = Turn::Ours(request.headers().cseq().number);
            self.send(desk, Purpose::Refresh, request);
        }
    }

    /// A 2xx to our refresh.
    pub(crate) fn refreshed(&mut self, desk: &mut Desk<'_>, response: &Response) {
        if response.headers().cseq().method == Method::Invite {
            self.acknowledge(desk, response);
        } else if let Some(dialog) = self.dialog_mut() {
            dialog.refresh_target(response.headers());
        }
        self.session = granted_session(desk, response).or(self.session);
    }

    pub(crate) fn info(&mut self, desk: &mut Desk<'_>, key: &info::Key) {
        let (content_type, body) = info::write(key);
        let request = self.within(desk, Method::Info).map(|r| r.body(content_type, body).build());
        if let Some(Ok(request)) = request {
            self.send(desk, Purpose::Info, request);
        }
    }

    /// 200 to a re-INVITE or UPDATE.
    pub(crate) fn accept_modification(
        &mut self,
        desk: &mut Desk<'_>,
        key: ServerTx,
        request: &Request,
        sdp: Option<&str>,
        answer_expected: bool,
    ) {
        if let Some(dialog) = self.dialog_mut() {
            dialog.refresh_target(request.headers());
        }
        self.session = asked_session(desk, request).or(self.session);
        let session = asked_session(desk, request);
        self.respond_to(desk, key, request, Status::OK, |answer, contact| {
            let answer = grant_session(answer.contact(contact), session);
            match sdp {
                Some(sdp) => answer.body("application/sdp", sdp.to_owned()),
                None => answer,
            }
        });
        // Where its connection broke meanwhile nobody will acknowledge, and nothing would end the wait.
        if request.method() == Method::Invite && desk.transactions.is_live(key) {
            desk.lines.serve(key, self.call, self.id);
            self.turn = Turn::Acknowledging { key, answer_expected };
        }
    }

    pub(crate) fn refuse_modification(
        &mut self,
        desk: &mut Desk<'_>,
        key: ServerTx,
        request: &Request,
        cause: Cause,
    ) {
        let status = Status::new(cause.outcome().status).unwrap_or(Status::NOT_ACCEPTABLE_HERE);
        self.respond_to(desk, key, request, status, |answer, _| explain(answer, cause));
    }

    pub(crate) fn respond(
        &self,
        desk: &mut Desk<'_>,
        key: ServerTx,
        request: &Request,
        status: Status,
        with: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) {
        self.respond_to(desk, key, request, status, |answer, _| with(answer));
    }

    fn respond_to(
        &self,
        desk: &mut Desk<'_>,
        key: ServerTx,
        request: &Request,
        status: Status,
        with: impl FnOnce(ResponseBuilder, &NameAddrBuf) -> ResponseBuilder,
    ) {
        let answer = Response::builder(request, status);
        // RFC 3261 §8.2.6.2: a 100 has no tag of ours.
        let answer = if status == Status::TRYING { answer } else { answer.to_tag(&self.tag) };
        let Some(contact) = self.contact(desk) else { return };
        // What can't be written would be our own fault; the plain refusal always can.
        let response = with(answer, &contact).build().or_else(|_| {
            Response::builder(request, Status::SERVER_INTERNAL_ERROR).to_tag(&self.tag).build()
        });
        if let Ok(response) = response {
            desk.respond(key, response);
        }
    }

    fn contact(&self, desk: &Desk<'_>) -> Option<NameAddrBuf> {
        let transport = self.party.path.flow.transport;
        let at = desk.sent_by(self.party.realm, transport, self.party.trunk);
        NameAddrBuf::new(None, &format!("sip:pbx@{at}{}", transport.uri_parameter())).ok()
    }

    // What is stored and shown.

    /// `TLSv1.3 TLS13_AES_128_GCM_SHA256`; empty in clear.
    pub(crate) fn signalling(&self) -> String {
        let facts = self.party.tls.as_ref();
        facts.map(|tls| format!("{} {}", tls.version, tls.suite)).unwrap_or_default()
    }

    pub(crate) fn protection(&self) -> String {
        let transport = self.party.path.flow.transport.via();
        let media = match (&self.media.agreed, self.media.suite()) {
            (_, Some(suite)) => format!("SRTP {suite}"),
            (Some(_), None) => "unencrypted audio".to_owned(),
            (None, None) => "no audio yet".to_owned(),
        };
        format!("{transport} + {media}")
    }

    /// The Request-URI of our next request on this leg, as credentials must name it.
    pub(crate) fn target(&self) -> String {
        let dialog = self.dialog().map(Dialog::state).or(self.leaving.as_deref());
        dialog.map_or_else(|| self.request_uri.clone(), |state| state.remote_target.to_string())
    }

    /// Nobody has answered our INVITE, not even with 100.
    pub(crate) fn is_unheard(&self) -> bool {
        matches!(self.state, State::Calling(_)) && self.status == 0
    }

    /// In plain words, as shown everywhere.
    pub(crate) fn weaknesses(&self) -> Vec<String> {
        let weak = [
            (!self.is_secure(), "signalling is not encrypted"),
            (self.media.is_plain(), "audio is not encrypted"),
            (self.party.proof == Some(Proof::Digest(Algorithm::Md5)), "digest uses MD5"),
            (self.party.line.as_ref().is_some_and(|line| line.md5), "digest may use MD5"),
        ];
        weak.into_iter().filter(|(is, _)| *is).map(|(_, words)| words.to_owned()).collect()
    }

    /// The INVITE that this leg came with and that has no final answer yet.
    pub(crate) fn asked(&self) -> Option<&Request> {
        match &self.state {
            State::Inviting(inviting) => Some(&inviting.request),
            State::Composed(_)
            | State::Calling(_)
            | State::Cancelling(_)
            | State::Answered(_)
            | State::Planned(_)
            | State::Confirmed(_)
            | State::Leaving
            | State::Gone => None,
        }
    }

    /// The INVITE that waits for its snapshot or is out.
    pub(crate) fn invited(&self) -> Option<&Request> {
        match &self.state {
            State::Composed(composed) => Some(&composed.invite),
            State::Calling(calling) | State::Cancelling(calling) => Some(&calling.invite),
            State::Inviting(_)
            | State::Answered(_)
            | State::Planned(_)
            | State::Confirmed(_)
            | State::Leaving
            | State::Gone => None,
        }
    }

    /// The refusal that a restart would send to a caller without an answer.
    pub(crate) fn refusal(&self) -> Option<Response> {
        let State::Inviting(inviting) = &self.state else { return None };
        let status = Status::new(Cause::Interrupted.outcome().status).ok()?;
        let answer = Response::builder(&inviting.request, status).to_tag(&self.tag);
        explain(answer, Cause::Interrupted).build().ok()
    }

    pub(crate) fn forget(&self, desk: &mut Desk<'_>) {
        desk.lines.forget_leg(self.id, &self.call_id, &self.tag, self.party.path);
    }
}

/// ACK and BYE for a 2xx that nobody waits for.
pub(crate) fn end_stray(
    desk: &mut Desk<'_>,
    (realm, trunk): (RealmId, Option<TrunkId>),
    path: Path,
    invite: &Request,
    response: &Response,
) {
    let Ok(mut dialog) = Dialog::uac(invite, response) else { return };
    let sent_by = desk.sent_by(realm, path.flow.transport, trunk);
    let transport = path.flow.transport.sip();
    let branch = desk.transactions.branch();
    let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
    if let Ok(ack) = dialog.ack(response.headers().cseq().number, hop).build() {
        desk.transmit(path, ack.as_bytes().clone());
    }
    let branch = desk.transactions.branch();
    let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
    if let Ok(Ok(request)) = dialog.request(Method::Bye, hop).map(RequestBuilder::build) {
        let key = desk.transactions.reserve();
        let rank = sip::transaction::Rank::Progress;
        let input = sip::transaction::Input::Send { key, path, request, rank };
        desk.transactions.handle(desk.now, input);
    }
}

/// Reason and Warning for the peer: a number for its logs, a sentence for its display (RFC 3326,
/// RFC 3261 §20.43 code 399).
pub(crate) fn explain(answer: ResponseBuilder, cause: Cause) -> ResponseBuilder {
    let outcome = cause.outcome();
    let answer = answer.header(Name::Reason, &reason(cause));
    match outcome.status {
        // The agent is a pseudonym (RFC 3261 §20.43): nothing names the product.
        403 | 488 => answer.header(Name::Warning, &format!("399 pbx \"{}\"", outcome.sentence)),
        503 => answer.header(Name::RetryAfter, "10"),
        _ => answer,
    }
}

fn reason(cause: Cause) -> String {
    let outcome = cause.outcome();
    format!("Q.850;cause={};text=\"{}\"", outcome.q850, outcome.sentence)
}

/// What we can do: in answers to OPTIONS and INVITE, and beside every 405.
pub(crate) fn abilities(answer: ResponseBuilder) -> ResponseBuilder {
    answer
        .header(Name::Allow, ALLOW)
        .header(Name::Accept, info::ACCEPT)
        .header(Name::Supported, "timer")
}

/// The session interval that a request asks for, as far as we grant it. A phone that knows the timer
/// refreshes itself unless it asked us to.
fn asked_session(desk: &Desk<'_>, request: &Request) -> Option<SessionTimer> {
    let headers = request.headers();
    if !headers.has_token(Name::Supported, "timer") && !headers.has_token(Name::Require, "timer") {
        return None;
    }
    let asked = headers.session_expires().present()?;
    let interval = Duration::from_secs(asked.interval.into())
        .clamp(desk.settings.session_interval_min, desk.settings.session_interval);
    Some(SessionTimer { interval, ours: asked.refresher == Some(Refresher::Uas) })
}

fn granted_session(desk: &Desk<'_>, response: &Response) -> Option<SessionTimer> {
    let granted = response.headers().session_expires().present()?;
    let interval =
        Duration::from_secs(granted.interval.into()).max(desk.settings.session_interval_min);
    Some(SessionTimer { interval, ours: granted.refresher == Some(Refresher::Uac) })
}

fn grant_session(answer: ResponseBuilder, session: Option<SessionTimer>) -> ResponseBuilder {
    let Some(session) = session else { return answer };
    let refresher = if session.ours { "uas" } else { "uac" };
    let value = format!("{};refresher={refresher}", session.interval.as_secs());
    let answer = answer.header(Name::SessionExpires, &value);
    // RFC 4028 §9: required where the refreshing is theirs.
    if session.ours { answer } else { answer.header(Name::Require, "timer") }
}

fn ask_session(request: RequestBuilder, session: Option<SessionTimer>) -> RequestBuilder {
    let Some(session) = session else { return request };
    let refresher = if session.ours { "uac" } else { "uas" };
    let value = format!("{};refresher={refresher}", session.interval.as_secs());
    request.header(Name::Supported, "timer").header(Name::SessionExpires, &value)
}

/// A tag or Call-ID of ours: version, node, 128 random bits. Whoever hasn't seen it can't guess it,
/// and a survivor knows whose it was.
pub(crate) fn token(desk: &mut Desk<'_>) -> String {
    format!("1{:04x}{:032x}", desk.node.0, desk.chance.u128())
}

/// REFER is missing until its gate exists; PRACK because 100rel is not offered.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// Requests that wait for an answer at once: somebody typing digits, and one change. Beyond it the
/// oldest isn't repeated.
const REPEATABLE_MAX: usize = 16;
/// Longer names of a phone are cut.
const AGENT_MAX: usize = 96;
