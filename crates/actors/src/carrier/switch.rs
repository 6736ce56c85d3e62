//! The switch: which phone a call is for, and what is written on the bill.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pure::{Instant, Now};
use sip::digest::Algorithm;
use sip::{Message, Method, Name, Request, Status};

use super::{Action, Carrier, Event, Habit, Output, Record, Takes, Timer};
use crate::media::{Security, Voice};
use crate::phone::{self, CallId, Link, Phone, PhoneSettings};

/// A call, and the phone behind us that is in it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) phone: Phone,
    media: SocketAddr,
    /// Of [`Carrier::records`].
    record: usize,
    talks: Option<Duration>,
    heard: Instant,
    ended: bool,
    /// Branch of the re-INVITE that was challenged last: its ACK is ours, not the phone's.
    challenged: Option<String>,
    byes_refused: u8,
}

impl Carrier {
    /// A new call of the customer's.
    pub(super) fn called(&mut self, now: Now, link: Link, request: &Request, bytes: Bytes) {
        if let Err(answer) = self.prove_call(now, link, request) {
            return self.answer(link, answer);
        }
        let number = request.uri().user_unescaped().unwrap_or_default().into_owned();
        let habit = self.settings.numbers.get(&number).unwrap_or(&self.settings.otherwise).clone();
        if habit.takes == Takes::Mute {
            return;
        }
        self.event(Event::Called { number: number.clone() });
        let headers = request.headers();
        let asserted = headers.get(Name::PAssertedIdentity).map(str::to_owned);
        let caller = headers.from().uri().user_unescaped().unwrap_or_default().into_owned();
        let call_id = headers.call_id().to_owned();
        let full = self.lines.values().filter(|line| !line.ended).count() >= self.settings.channels;
        let habit = match full {
            true => Habit::that(Takes::Refuses(Status::SERVICE_UNAVAILABLE)),
            false => habit,
        };
        let line = self.line(now, link, &call_id, &number, &habit, true);
        self.records[line.record].caller = caller;
        self.records[line.record].asserted = asserted;
        self.lines.insert(call_id.clone(), line);
        self.tell(now, &call_id, phone::Input::Received { link, bytes });
        // Refused at once: no line is taken, what comes again is answered again.
        if let Some(line) = self.lines.get_mut(&call_id)
            && line.phone.calls().next().is_none()
            && !line.ended
        {
            line.ended = true;
            self.end(now, &call_id);
            self.timers.set(now.instant + REMEMBERED, Timer::Forget(call_id));
        }
    }

    /// A phone for one call.
    fn line(
        &mut self,
        now: Now,
        link: Link,
        call_id: &str,
        number: &str,
        habit: &Habit,
        outbound: bool,
    ) -> Line {
        self.lines_made += 1;
        let voice = Voice(self.settings.voice.0 + u64::from(self.lines_made));
        let media = SocketAddr::new(self.settings.media_address, self.next_port);
        self.next_port = match self.next_port.checked_add(2) {
            Some(next) if next < self.settings.media_port.saturating_add(PORTS) => next,
            _ => self.settings.media_port,
        };
        let settings = PhoneSettings {
            number: number.to_owned(),
            secret: String::new(),
            domain: self.settings.host.clone(),
            display_name: String::new(),
            instance: None,
            agent: "Carrier".to_owned(),
            transport: self.settings.transport,
            expires: self.settings.expires,
            security: match self.settings.only_plain {
                true => Security::Plain,
                false => self.settings.security,
            },
            answer_after: match habit.takes {
                Takes::Answers { after } => Some(after),
                Takes::Refuses(_) | Takes::Rings | Takes::Mute => None,
            },
            reject_with: match habit.takes {
                Takes::Refuses(status) => Some(status),
                Takes::Answers { .. } | Takes::Rings | Takes::Mute => None,
            },
            early_media: habit.early_media,
            weakest: Algorithm::Md5,
            media_address: media.ip(),
            media_port: media.port(),
            packet_interval: self.settings.packet_interval,
            voice,
            reconnect_max: Duration::from_secs(1),
        };
        let mut phone = Phone::new(settings, self.chance.fork());
        if habit.keeps_alive {
            phone.ask_for_sessions(Some(SESSION));
        }
        if habit.answers_when_cancelled {
            phone.answer_when_cancelled();
        }
        if let Some((_, local)) = self.links.iter().find(|(known, _)| *known == link) {
            phone.attach(now, link, *local);
        }
        self.records.push(Record {
            call_id: call_id.to_owned(),
            outbound,
            number: number.to_owned(),
            caller: String::new(),
            asserted: None,
            voice,
            began: now.instant,
            answered: None,
            ended: None,
            seconds: 0,
            cost: 0,
            silenced: false,
        });
        Line {
            phone,
            media,
            record: self.records.len() - 1,
            talks: habit.talks,
            heard: now.instant,
            ended: false,
            challenged: None,
            byes_refused: 0,
        }
    }

    /// A message of a call that is known.
    pub(super) fn hand_over(
        &mut self,
        now: Now,
        call_id: &str,
        link: Link,
        message: &Message,
        bytes: Bytes,
    ) {
        // The customer may have come back on another connection.
        let local = self.links.iter().find(|(known, _)| *known == link).map(|(_, local)| *local);
        if let (Some(local), Some(line)) = (local, self.lines.get_mut(call_id)) {
            line.phone.attach(now, link, local);
        }
        if let Message::Request(request) = message
            && self.keeps_out(now, call_id, link, request)
        {
            return;
        }
        match message {
            Message::Request(request) if request.method() == Method::Bye => {
                self.end(now, call_id);
            }
            Message::Response(response)
                if response.status().is_success()
                    && response.headers().cseq().method == Method::Invite =>
            {
                self.answered(now, call_id);
            }
            Message::Request(_) | Message::Response(_) => {}
        }
        self.tell(now, call_id, phone::Input::Received { link, bytes });
    }

    /// Whether a request within a call stops here: challenged, or a BYE that isn't taken yet. The call,
    /// and its bill, go on.
    fn keeps_out(&mut self, now: Now, call_id: &str, link: Link, request: &Request) -> bool {
        let Some(line) = self.lines.get_mut(call_id) else { return false };
        let over = self.records[line.record].ended.is_some();
        let headers = request.headers();
        let branch = headers.top_via().branch().unwrap_or_default().to_owned();
        match request.method() {
            Method::Ack => return line.challenged.as_ref() == Some(&branch),
            // A late copy of the INVITE that was challenged is no second call.
            Method::Invite if headers.to().tag().is_none() => {
                let bare = headers.get(Name::ProxyAuthorization).is_none();
                if bare && let Err(answer) = self.prove_call(now, link, request) {
                    self.answer(link, answer);
                    return true;
                }
                return false;
            }
            Method::Bye | Method::Update | Method::Info if !over => {}
            Method::Invite if !over => {}
            _ => return false,
        }
        if self.settings.challenges_calls
            && let Err(answer) = self.prove_in_call(now, link, request)
        {
            if let Some(line) = self.lines.get_mut(call_id) {
                line.challenged = Some(branch);
            }
            self.answer(link, answer);
            return true;
        }
        let refuses = self.settings.refuses_byes;
        if let Some(line) = self.lines.get_mut(call_id)
            && request.method() == Method::Bye
            && line.byes_refused < refuses
        {
            line.byes_refused += 1;
            let answer = self.plain(request, Status::SERVICE_UNAVAILABLE);
            self.answer(link, answer);
            return true;
        }
        false
    }

    pub(super) fn act(&mut self, now: Now, action: Action) {
        match action {
            Action::Call { from, number, account, host } => {
                self.call(now, &from, &number, account.as_deref(), &host);
            }
            Action::HangUpAll => {
                let ids: Vec<String> = self.lines.keys().cloned().collect();
                ids.iter().for_each(|call_id| self.hang_up(now, call_id));
            }
            Action::HoldAll => self.each_call(now, |call| phone::Action::Hold { call }),
            Action::ResumeAll => self.each_call(now, |call| phone::Action::Resume { call }),
            Action::Die => {
                for record in &mut self.records {
                    record.end(now.instant, &self.settings.tariffs);
                }
                self.dead = true;
                self.links.clear();
                self.lines.clear();
                self.registrar.clear();
                self.timers = pure::Timers::new();
            }
            Action::Start => {}
        }
    }

    /// Somebody out there calls the customer.
    fn call(&mut self, now: Now, from: &str, number: &str, account: Option<&str>, host: &str) {
        let way = match account {
            Some(user) => {
                let binding = self.registrar.contact(now, user);
                binding.map(|binding| (binding.contact.clone(), binding.link))
            }
            None => self.links.last().map(|(link, _)| (format!("sip:{number}@{host}"), *link)),
        };
        let Some((uri, link)) = way else { return };
        if !self.links.iter().any(|(known, _)| *known == link) {
            return;
        }
        let habit = Habit { keeps_alive: self.settings.otherwise.keeps_alive, ..Habit::answers() };
        let mut line = self.line(now, link, "", from, &habit, false);
        self.records[line.record].caller = from.to_owned();
        let to = format!("sip:{number}@{}", self.settings.host);
        line.phone.handle(now, phone::Input::Do(phone::Action::DialVia { uri, to }));
        // Its Call-ID is known once it has been said.
        let mut said = Vec::new();
        while let Some(output) = line.phone.poll_output() {
            said.push(output);
        }
        let call_id = said.iter().find_map(|output| match output {
            phone::Output::Transmit { bytes, .. } => call_id_of(bytes),
            _ => None,
        });
        let Some(call_id) = call_id else { return };
        self.records[line.record].call_id = call_id.clone();
        self.lines.insert(call_id.clone(), line);
        for output in said {
            self.carry(now, &call_id, output);
        }
    }

    fn each_call(&mut self, now: Now, act: impl Fn(CallId) -> phone::Action) {
        let ids: Vec<String> = self.lines.keys().cloned().collect();
        for call_id in ids {
            let Some(line) = self.lines.get(&call_id) else { continue };
            let calls: Vec<CallId> = line.phone.calls().map(|(id, _)| id).collect();
            for call in calls {
                self.tell(now, &call_id, phone::Input::Do(act(call)));
            }
        }
    }

    /// Gives a phone its input and carries out what it wants.
    fn tell(&mut self, now: Now, call_id: &str, input: phone::Input) {
        let Some(line) = self.lines.get_mut(call_id) else { return };
        line.phone.handle(now, input);
        while let Some(output) =
            self.lines.get_mut(call_id).and_then(|line| line.phone.poll_output())
        {
            self.carry(now, call_id, output);
        }
    }

    fn carry(&mut self, now: Now, call_id: &str, output: phone::Output) {
        match output {
            phone::Output::Transmit { link, bytes } => {
                if is_answer(&bytes) {
                    self.answered(now, call_id);
                }
                if bytes.starts_with(b"BYE ") {
                    self.end(now, call_id);
                }
                self.out.push_back(Output::Transmit { link, bytes });
            }
            phone::Output::MediaOpen { at } => self.out.push_back(Output::MediaOpen { at }),
            phone::Output::MediaClose { at } => self.out.push_back(Output::MediaClose { at }),
            phone::Output::Media { from, to, packet } => {
                self.out.push_back(Output::Media { from, to, packet });
            }
            phone::Output::Event(phone::Event::Ended { .. }) => {
                self.end(now, call_id);
                if let Some(line) = self.lines.get_mut(call_id) {
                    line.ended = true;
                }
                self.timers.set(now.instant + REMEMBERED, Timer::Forget(call_id.to_owned()));
            }
            phone::Output::Event(phone::Event::Confused { what }) => {
                self.event(Event::Confused { what });
            }
            phone::Output::Event(_) | phone::Output::Connect | phone::Output::Disconnect { .. } => {
            }
        }
    }

    /// The clock runs from the first answer.
    fn answered(&mut self, now: Now, call_id: &str) {
        let Some(line) = self.lines.get_mut(call_id) else { return };
        let record = &mut self.records[line.record];
        if record.answered.is_some() || record.ended.is_some() {
            return;
        }
        record.answered = Some(now.instant);
        line.heard = now.instant;
        let number = record.number.clone();
        if let Some(talks) = line.talks {
            self.timers.set(now.instant + talks, Timer::HangUp(call_id.to_owned()));
        }
        if let Some(limit) = self.settings.silence_limit {
            self.timers.set(now.instant + limit, Timer::Silence(call_id.to_owned()));
        }
        self.event(Event::Answered { number });
    }

    fn end(&mut self, now: Now, call_id: &str) {
        let Some(line) = self.lines.get(call_id) else { return };
        let record = &mut self.records[line.record];
        if record.ended.is_none() {
            record.end(now.instant, &self.settings.tariffs);
            let (number, cost) = (record.number.clone(), record.cost);
            self.event(Event::Ended { number, cost });
        }
    }

    /// Whether the customer can be told or not, the call is over and billed no longer.
    pub(super) fn hang_up(&mut self, now: Now, call_id: &str) {
        let Some(line) = self.lines.get(call_id) else { return };
        let calls: Vec<CallId> = line.phone.calls().map(|(id, _)| id).collect();
        for call in calls {
            self.tell(now, call_id, phone::Input::Do(phone::Action::HangUp { call }));
        }
        self.end(now, call_id);
    }

    /// Has anything been heard from the customer of late?
    pub(super) fn listen(&mut self, now: Now, call_id: &str) {
        let Some(limit) = self.settings.silence_limit else { return };
        let Some(line) = self.lines.get_mut(call_id).filter(|line| !line.ended) else { return };
        let spoken_to = line.phone.calls().any(|(call, _)| line.phone.is_spoken_to(call));
        if !spoken_to {
            line.heard = now.instant;
        }
        let due = line.heard + limit;
        if due > now.instant {
            self.timers.set(due, Timer::Silence(call_id.to_owned()));
            return;
        }
        self.records[line.record].silenced = true;
        self.hang_up(now, call_id);
    }

    pub(super) fn hear(&mut self, now: Now, at: SocketAddr, from: SocketAddr, packet: Vec<u8>) {
        let line = self.lines.iter_mut().find(|(_, line)| line.media == at && !line.ended);
        let Some((call_id, line)) = line else { return };
        line.heard = now.instant;
        let call_id = call_id.clone();
        self.tell(now, &call_id, phone::Input::Media { at, from, packet });
    }

    pub(super) fn wake_lines(&mut self, now: Now) {
        let due: Vec<String> = self
            .lines
            .iter()
            .filter(|(_, line)| line.phone.poll_timeout().is_some_and(|at| at <= now.instant))
            .map(|(call_id, _)| call_id.clone())
            .collect();
        for call_id in due {
            self.tell(now, &call_id, phone::Input::Wake);
        }
    }

    /// A new connection: calls that lost theirs go on over it.
    pub(super) fn reattach(&mut self, now: Now, link: Link, local: SocketAddr) {
        let standing: Vec<Link> = self.links.iter().map(|(link, _)| *link).collect();
        let ids: Vec<String> = self.lines.keys().cloned().collect();
        for call_id in ids {
            let Some(line) = self.lines.get_mut(&call_id) else { continue };
            if line.phone.link().is_none_or(|of| !standing.contains(&of)) {
                line.phone.attach(now, link, local);
                self.tell(now, &call_id, phone::Input::Wake);
            }
        }
    }

    /// A connection broke: what was under way on it has failed, the calls go on.
    pub(super) fn lost(&mut self, now: Now, link: Link) {
        let ids: Vec<String> = self
            .lines
            .iter()
            .filter(|(_, line)| line.phone.link() == Some(link))
            .map(|(call_id, _)| call_id.clone())
            .collect();
        for call_id in ids {
            self.tell(now, &call_id, phone::Input::Disconnected);
        }
    }

    pub(super) fn forget(&mut self, now: Now, call_id: String) {
        match self.lines.get(&call_id) {
            Some(line) if line.phone.is_idle() => drop(self.lines.remove(&call_id)),
            Some(_) => {
                self.timers.set(now.instant + REMEMBERED, Timer::Forget(call_id));
            }
            None => {}
        }
    }
}

fn call_id_of(bytes: &Bytes) -> Option<String> {
    let message = Message::parse(bytes.clone()).ok()?;
    Some(message.headers().call_id().to_owned())
}

/// A 2xx to an INVITE.
fn is_answer(bytes: &Bytes) -> bool {
    bytes.starts_with(b"SIP/2.0 2")
        && Message::parse(bytes.clone())
            .is_ok_and(|message| message.headers().cseq().method == Method::Invite)
}

/// Longer than any repetition of what a call said last (64·T1).
const REMEMBERED: Duration = Duration::from_secs(40);
/// Media ports in turn.
const PORTS: u16 = 2_000;
/// The session interval that a keeper-alive asks for when it calls.
const SESSION: u32 = 90;
