//! New descriptions and keys within a call: re-INVITE, UPDATE, their glare, session refreshes and INFO.

use sip::dialog;
use sip::sdp::Direction;
use sip::{Name, Request, Status};

use guard::cause::Cause;
use guard::id::LegId;

use super::{Answer, Awaited, CHANGE_TIMEOUT, Call, Change, Stage, Step, Up};
use crate::back_to_back::desk::{Desk, Purpose, ServerTx, Why};
use crate::back_to_back::info;
use crate::back_to_back::leg::{State, Turn};
use crate::back_to_back::media::{Coded, Heard};

impl Call {
    /// The answer to an offer that we made in a 2xx.
    pub(super) fn late_answer(&mut self, desk: &mut Desk<'_>, leg: LegId, body: &[u8]) {
        let Stage::Up(up) = &self.stage else { return };
        let peer = if leg == self.caller.id { up.other } else { self.caller.id };
        let peer = self.leg(peer).map(|leg| leg.media.endpoint);
        let Some(found) = self.leg_mut(leg) else { return };
        let silence = found.party.silence_limit(desk.settings);
        let answer = Heard::answer(body, found.may_be_plain(), &found.media);
        let agreed = answer.and_then(|answer| found.media.agree(&answer));
        match agreed {
            Ok(()) => {
                if let Some((_, command)) = found.media.arm(peer, silence) {
                    desk.media(command);
                }
                self.note_weakness(desk, leg);
                self.hold_alarm(desk);
            }
            Err(reason) => {
                self.refuse_media(desk, leg, reason);
                self.end(desk, reason.cause());
            }
        }
    }

    pub(super) fn reinvite(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        server: ServerTx,
        request: &Request,
    ) {
        let up = matches!(self.stage, Stage::Up(_));
        let Some(found) = self.leg_mut(leg) else { return };
        match found.turn() {
            Turn::Idle => {}
            // RFC 3261 §14.2: ours is under way.
            Turn::Ours(_) | Turn::BackingOff => {
                return found
                    .respond(desk, server, request, Status::REQUEST_PENDING, |answer| answer);
            }
            // RFC 3261 §14.2: an earlier one of theirs has no final answer yet.
            Turn::Theirs(_) | Turn::Acknowledging { .. } => {
                let wait = desk.chance.below(10).to_string();
                return found.respond(
                    desk,
                    server,
                    request,
                    Status::SERVER_INTERNAL_ERROR,
                    |answer| answer.header(Name::RetryAfter, &wait),
                );
            }
        }
        if !up {
            return found.respond(desk, server, request, Status::REQUEST_PENDING, |answer| answer);
        }
        if request.body().is_empty() {
            // They leave the offer to us: what is in force is said again (RFC 3264 §8).
            let Some(sdp) = found.media.repeat() else {
                return found.respond(
                    desk,
                    server,
                    request,
                    Status::NOT_ACCEPTABLE_HERE,
                    |answer| answer,
                );
            };
            found.accept_modification(desk, server, request, Some(&sdp), true);
            return self.session_alarm(desk, leg);
        }
        self.change(desk, leg, server, request);
    }

    /// UPDATE (RFC 3311): without a description it is a sign of life; with one it is what a re-INVITE
    /// would be, answered when the other leg has answered.
    pub(super) fn update(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        server: ServerTx,
        request: &Request,
    ) {
        let up = matches!(self.stage, Stage::Up(_));
        let Some(found) = self.leg_mut(leg) else { return };
        if request.body().is_empty() {
            found.accept_modification(desk, server, request, None, false);
            return self.session_alarm(desk, leg);
        }
        if !up || !matches!(found.turn(), Turn::Idle) {
            return found.respond(desk, server, request, Status::REQUEST_PENDING, |answer| answer);
        }
        self.change(desk, leg, server, request);
    }

    /// A new description from a leg: answered at once where only that leg changes, asked of the other
    /// leg where direction or codecs do.
    pub(super) fn change(
        &mut self,
        desk: &mut Desk<'_>,
        asker: LegId,
        server: ServerTx,
        request: &Request,
    ) {
        let Some(found) = self.leg_mut(asker) else { return };
        let heard = match Heard::offer(request.body(), found.may_be_plain()) {
            Ok(heard) => heard,
            Err(reason) => {
                found.refuse_modification(desk, server, request, reason.cause());
                return self.refuse_media(desk, asker, reason);
            }
        };
        let local = found.media.changes_nothing_beyond(&heard);
        found.theirs(server);
        let Stage::Up(up) = &mut self.stage else { return };
        let mut given_way = None;
        if let Some(pending) = up.change.take() {
            // Ours to this leg is backing off: theirs goes first, and the other side may ask again.
            given_way = Some(pending);
        }
        let request = request.clone();
        up.change = Some(Change { asker, server, request, heard, step: Step::Asking, tries: 0 });
        let other = if asker == self.caller.id { up.other } else { self.caller.id };
        if let Some(pending) = given_way {
            self.cancel_alarm(desk, Why::Glare);
            if let Some(leg) = self.leg_mut(pending.asker) {
                leg.respond(
                    desk,
                    pending.server,
                    &pending.request,
                    Status::REQUEST_PENDING,
                    |answer| answer,
                );
                leg.idle();
            }
            if let Some(leg) = self.leg_mut(asker) {
                leg.theirs(server);
            }
        }
        self.alarm(desk, Why::Change, CHANGE_TIMEOUT);
        if local {
            let direction = self.leg(asker).and_then(|leg| leg.media.agreed.as_ref());
            let direction = direction.map_or(Direction::SendRecv, |agreed| agreed.ours);
            return self.change_settled(desk, None, direction);
        }
        self.ask_other(desk, other);
    }

    /// Sends the other leg a re-INVITE with what the asker offers.
    pub(super) fn ask_other(&mut self, desk: &mut Desk<'_>, other: LegId) {
        let Stage::Up(Up { change: Some(change), .. }) = &self.stage else { return };
        let (codecs, direction) = (change.heard.codecs.clone(), change.heard.direction);
        let ptime = change.heard.ptime;
        let Some(leg) = self.leg_mut(other) else { return };
        if !matches!(leg.turn(), Turn::Idle | Turn::BackingOff) {
            return self.change_refused(desk, Status::REQUEST_PENDING);
        }
        let plain = leg.media.is_plain();
        let suites = desk.settings.suites.clone();
        let offer = leg.media.offer(desk.chance, &codecs, direction, ptime, &suites, plain);
        let sent = offer.is_some_and(|sdp| leg.reinvite(desk, &sdp, Purpose::Change));
        if !sent {
            return self.change_refused(desk, Status::SERVER_INTERNAL_ERROR);
        }
        if let Stage::Up(Up { change: Some(change), .. }) = &mut self.stage {
            change.step = Step::Asking;
        }
    }

    /// What the other leg said to our re-INVITE.
    pub(super) fn change_answered(
        &mut self,
        desk: &mut Desk<'_>,
        other: LegId,
        answer: Answer<'_>,
    ) {
        let status = answer.status();
        if status.is_provisional() {
            return;
        }
        let ending = self.is_ending();
        let Some(leg) = self.leg_mut(other) else { return };
        leg.idle();
        if let (true, Answer::Response(response)) = (status.is_success(), answer) {
            leg.acknowledge(desk, response);
            let heard = Heard::answer(response.body(), leg.may_be_plain(), &leg.media);
            if ending {
                return;
            }
            let agreed = heard.and_then(|heard| leg.media.agree(&heard).map(|()| heard));
            return match agreed {
                Ok(heard) => self.change_settled(desk, Some(other), heard.direction),
                // It said yes to something that we can't do: nothing both sides share is left.
                Err(reason) => {
                    self.refuse_media(desk, other, reason);
                    self.end(desk, reason.cause());
                }
            };
        }
        match status {
            // RFC 3261 §12.2.1.2: the dialog is gone, or its peer is.
            Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT => {
                if let Some(leg) = self.leg_mut(other) {
                    leg.state = State::Gone;
                }
                self.end(desk, Cause::MediaLost);
            }
            Status::REQUEST_PENDING => self.back_off(desk, other),
            status => self.change_refused(desk, status),
        }
    }

    pub(super) fn back_off(&mut self, desk: &mut Desk<'_>, other: LegId) {
        let retries = desk.settings.glare_retries;
        let Stage::Up(Up { change: Some(change), .. }) = &mut self.stage else { return };
        change.tries += 1;
        if change.tries > retries {
            return self.change_refused(desk, Status::REQUEST_PENDING);
        }
        change.step = Step::BackingOff;
        let Some(leg) = self.leg_mut(other) else { return };
        leg.backing_off();
        let role = leg.dialog().map_or(dialog::Role::Uas, |dialog| dialog.state().role);
        let wait = dialog::glare_wait(role, desk.chance);
        self.alarm(desk, Why::Glare, wait);
    }

    /// The other leg agreed (or needs not be asked): the asker's answer is written, and what changed
    /// is armed.
    pub(super) fn change_settled(
        &mut self,
        desk: &mut Desk<'_>,
        other: Option<LegId>,
        direction: Direction,
    ) {
        let Stage::Up(up) = &mut self.stage else { return };
        let Some(change) = &mut up.change else { return };
        let asker = change.asker;
        let heard = change.heard.clone();
        let peer = if asker == self.caller.id { up.other } else { self.caller.id };
        let peer_codecs = self.leg(peer).and_then(|leg| leg.media.agreed.as_ref());
        let peer_codecs = peer_codecs.map(|agreed| agreed.codecs.clone()).unwrap_or_default();
        let codecs = Coded::pick(&heard.codecs, &peer_codecs);
        let Some(peer_endpoint) = self.leg(peer).map(|leg| leg.media.endpoint) else { return };
        let Some(leg) = self.leg_mut(asker) else { return };
        let answer = leg.media.answer(desk.chance, &heard, &codecs, direction, heard.ptime);
        let armed = leg.media.arm(Some(peer_endpoint), leg.party.silence_limit(desk.settings));
        let own_endpoint = leg.media.endpoint;
        let (Some(sdp), Some((epoch, command))) = (answer, armed) else {
            return self.change_refused(desk, Status::SERVER_INTERNAL_ERROR);
        };
        let mut awaited = Awaited::default();
        awaited.0.insert(asker, epoch);
        desk.media(command);
        if let Some(leg) = other.and_then(|other| self.leg_mut(other))
            && let silence = leg.party.silence_limit(desk.settings)
            && let Some((epoch, command)) = leg.media.arm(Some(own_endpoint), silence)
        {
            awaited.0.insert(leg.id, epoch);
            desk.media(command);
        }
        if let Stage::Up(Up { change: Some(change), .. }) = &mut self.stage {
            change.step = Step::Arming { awaited, sdp };
        }
    }

    pub(super) fn change_agreed(&mut self, desk: &mut Desk<'_>) {
        let Stage::Up(up) = &mut self.stage else { return };
        let Some(Change { asker, server, request, step: Step::Arming { sdp, .. }, .. }) =
            up.change.take()
        else {
            return;
        };
        // Silence counts anew: what was silent on hold may speak now.
        up.silent.clear();
        self.cancel_alarm(desk, Why::Change);
        if let Some(leg) = self.leg_mut(asker) {
            leg.idle();
            leg.accept_modification(desk, server, &request, Some(&sdp), false);
        }
        self.session_alarm(desk, asker);
        self.hold_alarm(desk);
    }

    /// The asker's wish can't be met: both descriptions stay as they were (RFC 3261 §14.1).
    pub(super) fn change_refused(&mut self, desk: &mut Desk<'_>, status: Status) {
        let Stage::Up(up) = &mut self.stage else { return };
        let Some(change) = up.change.take() else { return };
        self.cancel_alarm(desk, Why::Change);
        self.cancel_alarm(desk, Why::Glare);
        // A status of the other side that means something else on this leg is not passed on.
        let status = match status {
            Status::REQUEST_PENDING | Status::NOT_ACCEPTABLE_HERE | Status::REQUEST_TERMINATED => {
                status
            }
            status if status.code() == 500 => status,
            _ => Status::NOT_ACCEPTABLE_HERE,
        };
        if let Some(leg) = self.leg_mut(change.asker) {
            leg.idle();
            leg.respond(desk, change.server, &change.request, status, |answer| answer);
        }
    }

    /// Keys of the telephone by INFO: the two bodies in use are read and written anew to the other
    /// leg; other kinds get 415 (469 would be for packages of RFC 6086, of which we announce none).
    pub(super) fn info(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        server: ServerTx,
        request: &Request,
    ) {
        let other = match &self.stage {
            Stage::Up(up) if leg == self.caller.id => Some(up.other),
            Stage::Up(_) => Some(self.caller.id),
            Stage::Preparing(_) | Stage::Ringing(_) | Stage::Answering(_) | Stage::Ending(_) => {
                None
            }
        };
        let Some(found) = self.leg_mut(leg) else { return };
        if request.body().is_empty() {
            return found.respond(desk, server, request, Status::OK, |answer| answer);
        }
        let Some(key) = info::read(request) else {
            return found.respond(
                desk,
                server,
                request,
                Status::UNSUPPORTED_MEDIA_TYPE,
                |answer| answer.header(Name::Accept, info::ACCEPT),
            );
        };
        found.respond(desk, server, request, Status::OK, |answer| answer);
        if let Some(other) = other.and_then(|other| self.leg_mut(other)) {
            other.info(desk, &key);
        }
    }

    pub(super) fn refresh_answered(&mut self, desk: &mut Desk<'_>, leg: LegId, answer: Answer<'_>) {
        let status = answer.status();
        if status.is_provisional() {
            return;
        }
        let Some(found) = self.leg_mut(leg) else { return };
        found.idle();
        if let (true, Answer::Response(response)) = (status.is_success(), answer) {
            found.refreshed(desk, response);
            return self.session_alarm(desk, leg);
        }
        let ours = found.watched_session(desk).is_some_and(|session| session.ours);
        match status {
            Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT => {
                found.state = State::Gone;
                let silent = matches!(&self.stage, Stage::Up(up) if up.silent.contains(&leg));
                self.end(desk, if silent { Cause::Silence } else { Cause::MediaLost });
            }
            // Any other refusal leaves the session as it is; the next half interval tries again.
            _ if ours => self.session_alarm(desk, leg),
            _ => {}
        }
    }

    /// No audio is expected in a held call, so that its silence says nothing: its phones are asked instead. Carriers are
    /// asked anyway, by the refresh of the session.
    pub(super) fn probe_while_held(&mut self, desk: &mut Desk<'_>) {
        let phones: Vec<LegId> = self
            .legs()
            .filter(|leg| leg.party.trunk.is_none())
            .filter(|leg| matches!(leg.state, State::Confirmed(_) | State::Answered(_)))
            .map(|leg| leg.id)
            .collect();
        for leg in phones {
            self.alarm(desk, Why::Silent(leg), desk.settings.silence_limit);
        }
    }

    /// Asks a leg that nothing is heard from whether it is still in the call: a muted phone says yes, one
    /// that lost power says nothing, and one that has started again knows of no call. Said as a refresh
    /// of the session, since many phones answer OPTIONS without looking for its dialog. Asked again as
    /// long as the silence lasts. A call for help is left alone: whoever can't speak is to be heard.
    pub(super) fn probe(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let silent = matches!(&self.stage, Stage::Up(up) if up.silent.contains(&leg));
        let held = self.alarms.contains_key(&Why::Hold);
        if !(silent || held) || self.emergency {
            return;
        }
        let Some(found) = self.leg_mut(leg) else { return };
        // Where its connection is gone that has a limit of its own.
        if !found.lost {
            found.refresh(desk);
        }
        let again = found.party.silence_limit(desk.settings);
        self.alarm(desk, Why::Silent(leg), again);
    }
}
