//! Registering: once connected, again before it expires, and after every lost connection.

use std::time::Duration;

use pure::{Chance, Now, TimerId};
use sip::{Method, Name, NameAddrBuf, Request, Response, Status};

use super::{Event, Phone, Purpose, Timer};

#[derive(Debug)]
pub(super) struct Registration {
    call_id: String,
    from_tag: String,
    cseq: u32,
    state: State,
    refresh: Option<TimerId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Out,
    /// Asked; whether credentials went with it.
    Asking {
        answered: bool,
    },
    Up,
    Leaving,
}

impl Registration {
    pub(super) fn new(chance: &mut Chance) -> Self {
        Self {
            call_id: format!("{:032x}", chance.u128()),
            from_tag: format!("{:016x}", chance.u64()),
            cseq: 0,
            state: State::Out,
            refresh: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(super) fn lost(&mut self) {
        self.state = State::Out;
    }
}

impl Phone {
    pub(super) fn register(&mut self, now: Now) {
        self.registration.state = State::Asking { answered: false };
        self.say(now, self.settings.expires);
    }

    pub(super) fn unregister(&mut self, now: Now) {
        if let Some(refresh) = self.registration.refresh.take() {
            self.timers.cancel(refresh);
        }
        self.registration.state = State::Leaving;
        self.say(now, 0);
    }

    fn say(&mut self, now: Now, expires: u32) {
        let uri = format!("sip:{}", self.settings.domain);
        let branch = self.transactions.branch();
        self.registration.cseq += 1;
        let mut contact = self.contact();
        if let Some(instance) = &self.settings.instance {
            contact.push_str(&format!(";+sip.instance=\"<{instance}>\""));
        }
        let aor =
            NameAddrBuf::new(Some(&self.settings.display_name), &self.aor(&self.settings.number));
        let Ok(aor) = aor else { return self.confused("an account that is no URI") };
        let Ok(from) = aor.with_tag(&self.registration.from_tag) else { return };
        let mut builder = Request::builder(Method::Register, &uri)
            .via(self.settings.transport, &self.sent_by(), &branch)
            .max_forwards(70)
            .from(&from)
            .to(&aor)
            .call_id(&self.registration.call_id)
            .cseq(self.registration.cseq)
            .header(Name::Contact, &contact)
            .header(Name::UserAgent, &self.settings.agent)
            .expires(expires);
        if let Some(credentials) = self.client.authorize("REGISTER", &uri) {
            builder = builder.header(Name::Authorization, &credentials);
        }
        match builder.build() {
            Ok(request) => self.send(now, request, Purpose::Register),
            Err(_) => self.confused("a REGISTER that can't be printed"),
        }
    }

    pub(super) fn register_answered(&mut self, now: Now, response: &Response) {
        let status = response.status();
        match (self.registration.state, status) {
            (_, status) if status.is_provisional() => {}
            (State::Asking { answered: false } | State::Leaving, Status::UNAUTHORIZED) => {
                let uri = format!("sip:{}", self.settings.domain);
                let challenges = response.headers().get_all(Name::WwwAuthenticate);
                let challenges = challenges.map(str::as_bytes);
                match self.client.answer(challenges, "REGISTER", &uri) {
                    Ok(_) => {
                        let leaving = self.registration.state == State::Leaving;
                        let stale = response
                            .headers()
                            .get_all(Name::WwwAuthenticate)
                            .any(|challenge| challenge.contains("stale=true"));
                        if !leaving {
                            // A stale nonce is no refusal: the next challenge may be answered too.
                            self.registration.state = State::Asking { answered: !stale };
                        }
                        self.say(now, if leaving { 0 } else { self.settings.expires });
                    }
                    Err(_) => self.register_failed(now, status),
                }
            }
            (State::Leaving, _) => self.registration.state = State::Out,
            (_, status) if status.is_success() => {
                let contact = response.headers().contacts().next();
                let granted = contact.and_then(|contact| contact.expires());
                let granted = granted.or(response.headers().expires());
                let expires = granted.unwrap_or(self.settings.expires);
                self.registration.state = State::Up;
                // As phones do: well before the end, so that a lost answer costs nothing.
                let wait = Duration::from_secs(u64::from(expires)) * 3 / 4;
                self.refresh_in(now, wait);
                self.event(Event::Registered { expires });
                self.catch_up(now);
            }
            (_, status) => self.register_failed(now, status),
        }
    }

    pub(super) fn register_failed(&mut self, now: Now, status: Status) {
        if self.registration.state == State::Leaving {
            self.registration.state = State::Out;
            return;
        }
        self.registration.state = State::Out;
        self.refresh_in(now, RETRY);
        self.event(Event::RegistrationFailed { status });
    }

    fn refresh_in(&mut self, now: Now, wait: Duration) {
        if let Some(refresh) = self.registration.refresh.take() {
            self.timers.cancel(refresh);
        }
        self.registration.refresh = Some(self.timers.set(now.instant + wait, Timer::Refresh));
    }

    /// Credentials for a request that was challenged; `None` where the secret is wrong.
    pub(super) fn prove(
        &mut self,
        response: &Response,
        method: &Method,
        uri: &str,
    ) -> Option<String> {
        let challenges = response.headers().get_all(Name::WwwAuthenticate);
        let proxies = response.headers().get_all(Name::ProxyAuthenticate);
        let all = challenges.chain(proxies).map(str::as_bytes);
        self.client.answer(all, method.as_str(), uri).ok()
    }
}

/// How long a refused phone waits before it asks again.
const RETRY: Duration = Duration::from_secs(30);
