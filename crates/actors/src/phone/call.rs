//! The calls of a phone: dialled, ringing, up, on hold, ended.

use std::net::SocketAddr;
use std::time::Duration;

use pure::Now;
use sip::dialog::{Dialog, DialogId, Hop, glare_wait};
use sip::transaction::{self, Key};
use sip::{Method, Name, NameAddrBuf, Refresher, Request, Response, Status};

use super::{CallId, Event, Heard, Output, PAST_MAX, Phone, Purpose, Timer};
use crate::media::Media;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) state: State,
    pub(super) media: Media,
    dialog: Option<Dialog>,
    /// Our INVITE and its transaction, while we dial.
    invite: Option<(Key, Request)>,
    /// Their INVITE, until we have answered it finally; then for its ACK.
    incoming: Option<(Key, Request)>,
    /// A re-INVITE of ours that has no final answer: its CSeq and the port it leaves.
    pending: Option<Pending>,
    /// Said again after glare or a lost connection.
    wish: Option<Wish>,
    /// The last ACK of ours, sent again when its 2xx comes again.
    ack: Option<Request>,
    proved: bool,
    bye_wanted: bool,
    /// Whether our INVITE carries the offer; else theirs comes in the 2xx and our answer in the ACK.
    offering: bool,
    /// Whom our INVITE calls, where that isn't what its address says.
    to: Option<String>,
    /// Half of a session interval that we refresh.
    keep_alive: Option<Duration>,
}

#[derive(Debug)]
struct Pending {
    cseq: u32,
    wish: Wish,
    former: Option<SocketAddr>,
}

/// Where a call is, as a person would say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Dialling,
    /// The other phone rings.
    RingingThere,
    /// Given up while dialling; the final answer is still to come.
    GivingUp,
    Incoming,
    Up,
    HangingUp,
}

/// Why a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// We hung up or gave up.
    HungUp,
    /// The other side hung up.
    OtherHungUp,
    /// The caller gave up before we answered.
    CallerGaveUp,
    /// The server refused, or passed on a refusal.
    Refused(Status),
    /// We refused.
    Rejected,
    NobodyThere,
    ConnectionLost,
    /// Nobody acknowledged our answer.
    Unacknowledged,
    /// The plug was pulled.
    Died,
}

/// What a re-INVITE is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Hold,
    Resume,
    Move,
    Refresh,
}

impl Call {
    fn new(state: State, media: Media) -> Self {
        Self {
            state,
            media,
            dialog: None,
            invite: None,
            incoming: None,
            pending: None,
            wish: None,
            ack: None,
            proved: false,
            bye_wanted: false,
            offering: true,
            to: None,
            keep_alive: None,
        }
    }
}

impl Phone {
    pub(super) fn dial(&mut self, now: Now, number: String, to: Option<String>, offering: bool) {
        self.calls_made += 1;
        let id = CallId(self.calls_made);
        if self.link.is_none() {
            return self.event(Event::Ended { call: id, ending: Ending::ConnectionLost });
        }
        let media = self.open_media();
        let mut call = Call::new(State::Dialling, media);
        call.offering = offering;
        call.to = to;
        self.calls.insert(id, call);
        self.event(Event::Dialling { call: id, number: number.clone() });
        let uri = if number.contains(':') { number } else { self.aor(&number) };
        let call_id = format!("{:032x}", self.chance.u128());
        let tag = self.tag();
        self.invite(now, id, &uri, &call_id, &tag, 1, None);
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one request line and its identity")]
    fn invite(
        &mut self,
        now: Now,
        id: CallId,
        uri: &str,
        call_id: &str,
        tag: &str,
        cseq: u32,
        credentials: Option<String>,
    ) {
        let branch = self.transactions.branch();
        let security = self.settings.security;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let offer = call.offering.then(|| call.media.offer(security));
        let to = NameAddrBuf::new(None, call.to.as_deref().unwrap_or(uri));
        let account = self.aor(&self.settings.number);
        let from = NameAddrBuf::new(Some(&self.settings.display_name), &account)
            .and_then(|from| from.with_tag(tag));
        let (Ok(from), Ok(to)) = (from, to) else {
            return self.forget(id, Ending::Refused(Status::BAD_REQUEST));
        };
        let mut builder = Request::builder(Method::Invite, uri)
            .via(self.settings.transport, &self.sent_by(), &branch)
            .max_forwards(70)
            .from(&from)
            .to(&to)
            .call_id(call_id)
            .cseq(cseq)
            .header(Name::Contact, &self.contact())
            .header(Name::UserAgent, &self.settings.agent);
        if let Some(interval) = self.session {
            builder = builder
                .header(Name::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE")
                .header(Name::Supported, "timer")
                .header(Name::SessionExpires, &format!("{interval};refresher=uas"));
        }
        if let Some(offer) = offer {
            builder = builder.body("application/sdp", offer);
        }
        let unasked = || None;
        if let Some(credentials) = credentials.or_else(unasked) {
            builder = builder.header(Name::Authorization, &credentials);
        }
        let (Ok(request), Some((link, _))) = (builder.build(), self.link) else {
            return self.forget(id, Ending::ConnectionLost);
        };
        let key = self.transactions.reserve();
        self.purposes.insert(key, Purpose::Invite(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = Some((key, request.clone()));
        }
        self.transactions.handle(
            now,
            transaction::Input::Send {
                key,
                path: link,
                request,
                rank: transaction::Rank::Ordinary,
            },
        );
    }

    pub(super) fn invite_answered(&mut self, now: Now, id: CallId, response: &Response) {
        let status = response.status();
        let security = self.settings.security;
        let Some(call) = self.calls.get_mut(&id) else {
            // Forgotten, and answered all the same: end it properly.
            return self.stray(response);
        };
        let Some((_, request)) = call.invite.clone() else { return };
        if status.is_provisional() {
            if call.state == State::Dialling && status.code() > 100 {
                call.state = State::RingingThere;
                self.event(Event::Ringing { call: id });
            }
            let early = !response.body().is_empty();
            if let Some(call) = self.calls.get_mut(&id)
                && early
                && call.media.agreed(response.body(), security).is_ok()
            {
                self.tune(now, id);
            }
            return;
        }
        if status.is_success() {
            return self.invite_accepted(now, id, &request, response);
        }
        let challenged =
            matches!(status, Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED);
        if challenged && !call.proved && call.state != State::GivingUp {
            call.proved = true;
            let uri = request.uri().as_str().to_owned();
            if let Some(credentials) = self.prove(response, &Method::Invite, &uri) {
                let headers = request.headers();
                let tag = headers.from().tag().unwrap_or_default().to_owned();
                let (call_id, cseq) = (headers.call_id().to_owned(), headers.cseq().number + 1);
                return self.invite(now, id, &uri, &call_id, &tag, cseq, Some(credentials));
            }
        }
        let gave_up = self.calls.get(&id).is_some_and(|call| call.state == State::GivingUp);
        self.forget(id, if gave_up { Ending::HungUp } else { Ending::Refused(status) });
    }

    fn invite_accepted(&mut self, now: Now, id: CallId, request: &Request, response: &Response) {
        let security = self.settings.security;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.dialog.is_some() {
            // The same 2xx again: our ACK was lost (RFC 3261 §13.2.2.4).
            if let Some(ack) = call.ack.clone() {
                self.transmit(&ack);
            }
            return;
        }
        let Ok(dialog) = Dialog::uac(request, response) else {
            return self.confused("a 2xx that makes no dialog");
        };
        let gave_up = call.state == State::GivingUp;
        call.dialog = Some(dialog);
        let agreed = match call.offering {
            true => call.media.agreed(response.body(), security).map(|()| None),
            false => call.media.answer(response.body(), security).map(Some),
        };
        let usable = agreed.is_ok();
        self.acknowledge(id, request.headers().cseq().number, agreed.ok().flatten());
        if gave_up || !usable {
            return self.hang_up(now, id);
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.state = State::Up;
        }
        self.event(Event::Answered { call: id });
        self.tune(now, id);
    }

    fn acknowledge(&mut self, id: CallId, cseq: u32, answer: Option<String>) {
        let branch = self.transactions.branch();
        let sent_by = self.sent_by();
        let transport = self.settings.transport;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dialog) = &call.dialog else { return };
        let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
        let mut ack = dialog.ack(cseq, hop);
        if let Some(answer) = answer {
            ack = ack.body("application/sdp", answer);
        }
        if let Ok(ack) = ack.build() {
            call.ack = Some(ack.clone());
            self.transmit(&ack);
        }
    }

    /// A 2xx to a call we have forgotten: ACK and BYE.
    pub(super) fn stray(&mut self, response: &Response) {
        let headers = response.headers();
        let (from, to) = (headers.from().to_buf(), headers.to().to_buf());
        let Some(contact) = headers.contacts().next() else { return };
        let target = contact.uri().as_str().to_owned();
        for (method, cseq) in
            [(Method::Ack, headers.cseq().number), (Method::Bye, headers.cseq().number + 1)]
        {
            let branch = self.transactions.branch();
            let request = Request::builder(method, &target)
                .via(self.settings.transport, &self.sent_by(), &branch)
                .max_forwards(70)
                .from(&from)
                .to(&to)
                .call_id(headers.call_id())
                .cseq(cseq)
                .build();
            if let Ok(request) = request {
                self.transmit(&request);
            }
        }
    }

    pub(super) fn incoming(&mut self, now: Now, key: Key, request: &Request) {
        if let Some(status) = self.settings.reject_with {
            return self.respond(now, key, request, status);
        }
        self.calls_made += 1;
        let id = CallId(self.calls_made);
        let media = self.open_media();
        let mut call = Call::new(State::Incoming, media);
        call.incoming = Some((key, request.clone()));
        self.calls.insert(id, call);
        let from = request.headers().from();
        let from = from.uri().user_unescaped().unwrap_or_default().into_owned();
        self.event(Event::Incoming { call: id, from });
        if self.settings.early_media {
            self.answer_with(now, id, Status::SESSION_PROGRESS);
        } else {
            self.answer_with(now, id, Status::RINGING);
        }
        if let Some(wait) = self.settings.answer_after {
            self.timers.set(now.instant + wait, Timer::Answer(id));
        }
    }

    pub(super) fn answer(&mut self, now: Now, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.state == State::Incoming) {
            self.answer_with(now, id, Status::OK);
        }
    }

    /// 180, 183 with our description, or 200 with it.
    fn answer_with(&mut self, now: Now, id: CallId, status: Status) {
        let security = self.settings.security;
        let contact = self.contact();
        let fresh_tag = self.tag();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some((key, request)) = call.incoming.clone() else { return };
        let tag = match &call.dialog {
            Some(dialog) => dialog.id().local_tag,
            None => fresh_tag,
        };
        let mut builder = Response::builder(&request, status)
            .to_tag(&tag)
            .record_routes_of(&request)
            .header(Name::Contact, &contact)
            .header(Name::UserAgent, &self.settings.agent);
        let described = status != Status::RINGING;
        let asked = request.headers().session_expires().present();
        if let Some(asked) = asked.filter(|_| self.session.is_some() && status.is_success()) {
            // RFC 4028 §9: what the caller left open is ours.
            let ours = asked.refresher != Some(Refresher::Uac);
            let refresher = if ours { "uas" } else { "uac" };
            let value = format!("{};refresher={refresher}", asked.interval);
            builder = builder.header(Name::SessionExpires, &value).header(Name::Require, "timer");
            let half = Duration::from_secs(u64::from(asked.interval) / 2);
            call.keep_alive = ours.then_some(half);
        }
        if described {
            let sdp = match request.body().is_empty() {
                true => Ok(call.media.offer(security)),
                false => call.media.answer(request.body(), security),
            };
            match sdp {
                Ok(sdp) => builder = builder.body("application/sdp", sdp),
                Err(_) => return self.reject(now, id, Status::NOT_ACCEPTABLE_HERE),
            }
        }
        let Ok(response) = builder.build() else {
            return self.confused("an answer that can't be printed");
        };
        match &mut call.dialog {
            Some(dialog) if status.is_success() => dialog.confirm(),
            Some(_) => {}
            None => {
                let over_tls = self.settings.transport.is_secure();
                call.dialog = Dialog::uas(&request, &response, over_tls).ok();
            }
        }
        if status.is_success() {
            call.state = State::Up;
        }
        self.transactions.handle(now, transaction::Input::Respond { key, response });
        if status.is_success() {
            self.event(Event::Answered { call: id });
            self.keep_alive_later(now, id);
        }
        if described {
            self.tune(now, id);
        }
    }

    fn keep_alive_later(&mut self, now: Now, id: CallId) {
        if let Some(wait) = self.calls.get(&id).and_then(|call| call.keep_alive) {
            self.timers.set(now.instant + wait, Timer::Session(id));
        }
    }

    pub(super) fn keep_alive(&mut self, now: Now, id: CallId) {
        self.reinvite(now, id, Wish::Refresh);
        self.keep_alive_later(now, id);
    }

    pub(super) fn reject(&mut self, now: Now, id: CallId, status: Status) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.state != State::Incoming {
            return;
        }
        if let Some((key, request)) = call.incoming.take() {
            self.respond(now, key, &request, status);
        }
        self.forget(id, Ending::Rejected);
    }

    pub(super) fn cancelled(&mut self, now: Now, key: Key, request: &Request, invite: Option<Key>) {
        let Some(invite) = invite else {
            return self.cancelled_elsewhere(now, key, request);
        };
        self.respond(now, key, request, Status::OK);
        let ringing = self.calls.iter().find(|(_, call)| {
            let theirs = call.incoming.as_ref().is_some_and(|(key, _)| *key == invite);
            theirs && call.state == State::Incoming
        });
        if let Some(id) = ringing.map(|(id, _)| *id) {
            if self.answers_when_cancelled {
                return self.answer(now, id);
            }
            let request = self.calls.get(&id).and_then(|call| call.incoming.clone());
            if let Some((key, request)) = request {
                self.respond(now, key, &request, Status::REQUEST_TERMINATED);
            }
            self.forget(id, Ending::CallerGaveUp);
        }
    }

    /// A CANCEL over another connection than its INVITE came by: the server has started afresh. It
    /// repeats the INVITE's topmost Via, Call-ID, From and CSeq number (RFC 3261 §9.1).
    fn cancelled_elsewhere(&mut self, now: Now, key: Key, request: &Request) {
        let same = |invite: &Request| {
            let (theirs, ours) = (request.headers(), invite.headers());
            theirs.get(Name::Via) == ours.get(Name::Via)
                && theirs.call_id() == ours.call_id()
                && theirs.from().tag() == ours.from().tag()
                && theirs.cseq().number == ours.cseq().number
        };
        let ringing = self.calls.iter().find(|(_, call)| {
            call.state == State::Incoming
                && call.incoming.as_ref().is_some_and(|(_, invite)| same(invite))
        });
        let Some(id) = ringing.map(|(id, _)| *id) else {
            return self.respond(now, key, request, Status::CALL_DOES_NOT_EXIST);
        };
        self.respond(now, key, request, Status::OK);
        self.forget(id, Ending::CallerGaveUp);
    }

    /// The connection that a call came over is gone before it was answered: the phone stops ringing,
    /// since nobody could hear its answer.
    pub(super) fn unringable(&mut self, key: Key) {
        let ringing = self.calls.iter().find(|(_, call)| {
            let theirs = call.incoming.as_ref().is_some_and(|(invite, _)| *invite == key);
            theirs && call.state == State::Incoming
        });
        if let Some(id) = ringing.map(|(id, _)| *id) {
            self.forget(id, Ending::ConnectionLost);
        }
    }

    /// Nobody acknowledged our 2xx: the other side is gone (RFC 3261 §13.3.1.4).
    pub(super) fn unacknowledged(&mut self, now: Now, key: Key) {
        let call = self
            .calls
            .iter()
            .find(|(_, call)| call.incoming.as_ref().is_some_and(|(invite, _)| *invite == key));
        if let Some(id) = call.map(|(id, _)| *id) {
            self.event(Event::Ended { call: id, ending: Ending::Unacknowledged });
            self.hang_up(now, id);
        }
    }

    /// An ACK with a description answers our offer (RFC 3261 §13.2.2.4, delayed offer).
    pub(super) fn acknowledged(&mut self, now: Now, request: &Request) {
        let security = self.settings.security;
        let Some(id) = self.call_of(request) else { return };
        if let Some(call) = self.calls.get_mut(&id)
            && !request.body().is_empty()
            && call.media.agreed(request.body(), security).is_ok()
        {
            self.tune(now, id);
        }
    }

    pub(super) fn bye(&mut self, now: Now, key: Key, request: &Request) {
        let Some(id) = self.call_of(request) else {
            return self.respond(now, key, request, Status::CALL_DOES_NOT_EXIST);
        };
        let judged = self.calls.get_mut(&id).and_then(|call| call.dialog.as_mut());
        if let Some(Err(refusal)) = judged.map(|dialog| dialog.receive(request)) {
            return self.respond(now, key, request, refusal.status());
        }
        self.respond(now, key, request, Status::OK);
        let ours = self.calls.get(&id).is_some_and(|call| call.state == State::HangingUp);
        self.forget(id, if ours { Ending::HungUp } else { Ending::OtherHungUp });
    }

    pub(super) fn hang_up(&mut self, now: Now, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.state {
            State::Dialling | State::RingingThere if call.dialog.is_none() => {
                call.state = State::GivingUp;
                if let Some((key, _)) = &call.invite {
                    let key = *key;
                    self.transactions.handle(now, transaction::Input::Cancel { key });
                }
            }
            State::GivingUp if call.dialog.is_none() => {}
            State::Incoming => self.reject(now, id, Status::BUSY_HERE),
            State::HangingUp => {}
            State::Dialling | State::RingingThere | State::GivingUp | State::Up => {
                call.state = State::HangingUp;
                self.say_bye(now, id);
            }
        }
    }

    /// BYE on the connection that stands; said later where none does.
    fn say_bye(&mut self, now: Now, id: CallId) {
        let branch = self.transactions.branch();
        let sent_by = self.sent_by();
        let transport = self.settings.transport;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
        let bye = call.dialog.as_mut().map(|dialog| dialog.request(Method::Bye, hop));
        match bye {
            Some(Ok(bye)) if self.link.is_some() => {
                call.bye_wanted = false;
                if let Ok(bye) = bye.build() {
                    self.send(now, bye, Purpose::Bye(id));
                }
            }
            Some(Ok(_)) => call.bye_wanted = true,
            Some(Err(_)) | None => self.forget(id, Ending::HungUp),
        }
        self.silence(id);
    }

    pub(super) fn inform(&mut self, now: Now, id: CallId, digit: char) {
        let branch = self.transactions.branch();
        let sent_by = self.sent_by();
        let transport = self.settings.transport;
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.state == State::Up) else {
            return;
        };
        let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
        let info = call.dialog.as_mut().and_then(|dialog| dialog.request(Method::Info, hop).ok());
        let body = format!("Signal={digit}\r\nDuration=160\r\n");
        let info = info.and_then(|info| info.body("application/dtmf-relay", body).build().ok());
        if let Some(info) = info {
            self.send(now, info, Purpose::Info);
        }
    }

    pub(super) fn bye_unsent(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.bye_wanted = true;
        }
    }

    /// What a lost connection left unsaid; called once a new one is registered.
    pub(super) fn catch_up(&mut self, now: Now) {
        let unsaid = self.calls.iter().filter(|(_, call)| call.bye_wanted).map(|(id, _)| *id);
        for id in unsaid.collect::<Vec<_>>() {
            self.say_bye(now, id);
        }
    }

    pub(super) fn reinvite(&mut self, now: Now, id: CallId, wish: Wish) {
        let security = self.settings.security;
        let branch = self.transactions.branch();
        let sent_by = self.sent_by();
        let contact = self.contact();
        let transport = self.settings.transport;
        let moved = (wish == Wish::Move).then(|| self.next_media_address());
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.state != State::Up || call.pending.is_some() || self.link.is_none() {
            return;
        }
        call.media.wanted = match wish {
            Wish::Hold => sip::sdp::Direction::SendOnly,
            Wish::Resume => sip::sdp::Direction::SendRecv,
            Wish::Move | Wish::Refresh => call.media.wanted,
        };
        let former = moved.map(|local| call.media.moved(local));
        let offer = call.media.offer(security);
        let hop = Hop { transport, sent_by: &sent_by, branch: &branch };
        let request =
            call.dialog.as_mut().and_then(|dialog| dialog.request(Method::Invite, hop).ok());
        let request = request.and_then(|builder| {
            builder
                .header(Name::Contact, &contact)
                .header(Name::UserAgent, &self.settings.agent)
                .body("application/sdp", offer)
                .build()
                .ok()
        });
        if let Some(at) = moved {
            self.out.push_back(Output::MediaOpen { at });
        }
        let (Some(request), Some((link, _))) = (request, self.link) else { return };
        let key = self.transactions.reserve();
        let cseq = request.headers().cseq().number;
        call.pending = Some(Pending { cseq, wish, former });
        self.purposes.insert(key, Purpose::Reinvite(id));
        self.transactions.handle(
            now,
            transaction::Input::Send {
                key,
                path: link,
                request,
                rank: transaction::Rank::Ordinary,
            },
        );
    }

    pub(super) fn reinvite_answered(&mut self, now: Now, id: CallId, response: &Response) {
        let status = response.status();
        let security = self.settings.security;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if status.is_provisional() {
            return;
        }
        let Some(pending) = call.pending.take() else {
            // The 2xx again.
            if let Some(ack) = call.ack.clone().filter(|_| status.is_success()) {
                self.transmit(&ack);
            }
            return;
        };
        if status.is_success() {
            if let Some(dialog) = &mut call.dialog {
                dialog.refresh_target(response.headers());
            }
            let usable = call.media.agreed(response.body(), security).is_ok();
            if let Some(at) = pending.former {
                self.out.push_back(Output::MediaClose { at });
            }
            self.acknowledge(id, pending.cseq, None);
            if !usable {
                return self.hang_up(now, id);
            }
            match pending.wish {
                Wish::Hold => self.event(Event::Held { call: id }),
                Wish::Resume | Wish::Move => self.event(Event::Resumed { call: id }),
                Wish::Refresh => {}
            }
            return self.tune(now, id);
        }
        let wish = pending.wish;
        self.undo(id, pending);
        match status {
            Status::REQUEST_PENDING => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.wish = Some(wish);
                    let role = call.dialog.as_ref().map(|dialog| dialog.state().role);
                    if let Some(role) = role {
                        let wait = glare_wait(role, &mut self.chance);
                        self.timers.set(now.instant + wait, Timer::Glare(id));
                    }
                }
            }
            // RFC 3261 §12.2.1.2: the dialog is gone on the other side.
            Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT => self.hang_up(now, id),
            _ => {}
        }
    }

    pub(super) fn reinvite_failed(&mut self, id: CallId) {
        if let Some(pending) = self.calls.get_mut(&id).and_then(|call| call.pending.take()) {
            self.undo(id, pending);
        }
    }

    /// A refused re-INVITE leaves all as it was (RFC 6141 §3.4).
    fn undo(&mut self, id: CallId, pending: Pending) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(former) = pending.former {
            let abandoned = call.media.moved(former);
            self.out.push_back(Output::MediaClose { at: abandoned });
        }
        call.media.wanted = match pending.wish {
            Wish::Hold => sip::sdp::Direction::SendRecv,
            Wish::Resume => sip::sdp::Direction::SendOnly,
            Wish::Move | Wish::Refresh => call.media.wanted,
        };
    }

    pub(super) fn retry(&mut self, now: Now, id: CallId) {
        if let Some(wish) = self.calls.get_mut(&id).and_then(|call| call.wish.take()) {
            self.reinvite(now, id, wish);
        }
    }

    /// Their re-INVITE.
    pub(super) fn reinvited(&mut self, now: Now, key: Key, request: &Request) {
        let security = self.settings.security;
        let contact = self.contact();
        let Some(id) = self.call_of(request) else {
            return self.respond(now, key, request, Status::CALL_DOES_NOT_EXIST);
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.pending.is_some() {
            return self.respond(now, key, request, Status::REQUEST_PENDING);
        }
        let Some(dialog) = call.dialog.as_mut() else { return };
        if let Err(refusal) = dialog.receive(request) {
            return self.respond(now, key, request, refusal.status());
        }
        let sdp = match request.body().is_empty() {
            true => Ok(call.media.offer(security)),
            false => call.media.answer(request.body(), security),
        };
        let Ok(sdp) = sdp else {
            return self.respond(now, key, request, Status::NOT_ACCEPTABLE_HERE);
        };
        dialog.refresh_target(request.headers());
        let response = Response::builder(request, Status::OK)
            .header(Name::Contact, &contact)
            .header(Name::UserAgent, &self.settings.agent)
            .body("application/sdp", sdp)
            .build();
        if let Ok(response) = response {
            self.transactions.handle(now, transaction::Input::Respond { key, response });
        }
        self.tune(now, id);
    }

    /// An UPDATE without a description refreshes the session and nothing else (RFC 4028 §7.4).
    pub(super) fn updated(&mut self, now: Now, key: Key, request: &Request) {
        let id = self.call_of(request);
        let call = id.and_then(|id| self.calls.get_mut(&id));
        let Some(dialog) = call.and_then(|call| call.dialog.as_mut()) else {
            return self.respond(now, key, request, Status::CALL_DOES_NOT_EXIST);
        };
        let status = match dialog.receive(request) {
            Ok(_) => Status::OK,
            Err(refusal) => refusal.status(),
        };
        self.respond(now, key, request, status);
    }

    pub(super) fn forget(&mut self, id: CallId, ending: Ending) {
        self.silence(id);
        if let Some(call) = self.calls.remove(&id) {
            if let Some(at) = call.pending.and_then(|pending| pending.former) {
                self.out.push_back(Output::MediaClose { at });
            }
            self.out.push_back(Output::MediaClose { at: call.media.local });
            let media = call.media;
            if self.past.len() >= PAST_MAX {
                self.past.pop_first();
            }
            let heard = Heard { voices: media.heard, digits: media.digits, forged: media.forged };
            self.past.insert(id, heard);
            self.event(Event::Ended { call: id, ending });
        }
    }

    fn silence(&mut self, id: CallId) {
        let timer = self.calls.get_mut(&id).and_then(|call| call.media.packet_timer.take());
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
    }

    fn call_of(&self, request: &Request) -> Option<CallId> {
        let wanted = DialogId::of_request(request);
        let found = self
            .calls
            .iter()
            .find(|(_, call)| call.dialog.as_ref().is_some_and(|dialog| dialog.id() == wanted));
        found.map(|(id, _)| *id)
    }

    /// An ACK, or a request whose answer doesn't matter: no transaction of its own.
    fn transmit(&mut self, request: &Request) {
        if let Some((link, _)) = self.link {
            let bytes = request.as_bytes().clone();
            self.out.push_back(Output::Transmit { link, bytes });
        }
    }
}
