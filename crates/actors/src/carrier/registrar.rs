//! The registrar: who of the customers is where, and whether they know their password.

use std::collections::BTreeMap;
use std::time::Duration;

use pure::{Chance, Instant, Now};
use sip::digest::{Attempt, Challenge, Credentials, Ha1, Nonces, NoncesConfig, Verdict};
use sip::{Name, Request, Response, Status};

use super::{Account, Carrier, Event};
use crate::phone::Link;

#[derive(Debug)]
pub(super) struct Registrar {
    nonces: Nonces,
    bindings: BTreeMap<String, Binding>,
}

#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The URI that is called.
    pub(super) contact: String,
    /// Over which it came: what is called there goes back on it.
    pub(super) link: Link,
    until: Instant,
}

/// Where a challenge is said, and in which words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Registrar,
    Proxy,
}

impl Registrar {
    pub(super) fn new(chance: Chance, now: Now) -> Self {
        let config = NoncesConfig { lifetime: NONCE_LIFETIME, served_max: 64 };
        Self { nonces: Nonces::new(config, 0, chance, now), bindings: BTreeMap::new() }
    }

    pub(super) fn contact(&self, now: Now, user: &str) -> Option<&Binding> {
        self.bindings.get(user).filter(|binding| binding.until > now.instant)
    }

    pub(super) fn clear(&mut self) {
        self.bindings.clear();
    }
}

impl Carrier {
    /// The answer to a REGISTER.
    pub(super) fn register(&mut self, now: Now, link: Link, request: &Request) -> Option<Response> {
        if let Some(wait) = self.settings.closed {
            let answer = Response::builder(request, Status::SERVICE_UNAVAILABLE).to_tag(&self.tag);
            return answer.header(Name::RetryAfter, &wait.to_string()).build().ok();
        }
        let user = match self.prove(now, link, request, Role::Registrar) {
            Ok(user) => user,
            Err(answer) => return answer,
        };
        let headers = request.headers();
        let Some(contact) = headers.contacts().next() else {
            return self.plain(request, Status::BAD_REQUEST);
        };
        let wanted = contact.expires().or(headers.expires()).unwrap_or(self.settings.expires);
        if wanted == 0 {
            self.registrar.bindings.remove(&user);
            self.event(Event::Unregistered { user });
            return self.plain(request, Status::OK);
        }
        if wanted < self.settings.expires_min {
            let answer = Response::builder(request, Status::INTERVAL_TOO_BRIEF).to_tag(&self.tag);
            let least = self.settings.expires_min.to_string();
            return answer.header(Name::MinExpires, &least).build().ok();
        }
        let granted = self.settings.expires;
        let binding = Binding {
            contact: contact.uri().as_str().to_owned(),
            link,
            until: now.instant + Duration::from_secs(granted.into()),
        };
        let listed = format!("<{}>;expires={granted}", binding.contact);
        if self.registrar.bindings.insert(user.clone(), binding).is_none() {
            self.event(Event::Registered { user });
        }
        let answer = Response::builder(request, Status::OK).to_tag(&self.tag);
        answer.header(Name::Contact, &listed).build().ok()
    }

    /// The challenge that an INVITE must answer first, where it hasn't.
    ///
    /// # Errors
    /// What to say instead of taking the call.
    pub(super) fn prove_call(
        &mut self,
        now: Now,
        link: Link,
        request: &Request,
    ) -> Result<(), Option<Response>> {
        if !self.settings.challenges_invites {
            return Ok(());
        }
        self.prove(now, link, request, Role::Proxy).map(|_| ())
    }

    /// As [`Self::prove_call`], for a request within a call.
    ///
    /// # Errors
    /// What to say instead of doing it.
    pub(super) fn prove_in_call(
        &mut self,
        now: Now,
        link: Link,
        request: &Request,
    ) -> Result<(), Option<Response>> {
        self.prove(now, link, request, Role::Proxy).map(|_| ())
    }

    /// Which account this request comes from.
    fn prove(
        &mut self,
        now: Now,
        link: Link,
        request: &Request,
        role: Role,
    ) -> Result<String, Option<Response>> {
        let headers = request.headers();
        let values: Vec<&str> = match role {
            Role::Registrar => headers.authorization().collect(),
            Role::Proxy => headers.proxy_authorization().collect(),
        };
        let realm = self.settings.host.clone();
        let values = values.into_iter().map(str::as_bytes);
        let Some(Ok(credentials)) = Credentials::for_realm(values, &realm) else {
            return Err(self.challenge(now, link, request, role, false));
        };
        let name = credentials.username.clone().into_owned();
        let account = self.settings.accounts.iter().find(|account| account.user == name);
        let Some(Account { user, secret }) = account.cloned() else {
            self.event(Event::Turned { user: name });
            return Err(self.plain(request, Status::FORBIDDEN));
        };
        let ha1 = Ha1::derive(credentials.algorithm, &user, &realm, &secret);
        let binding = link.id.to_be_bytes();
        let method = request.method();
        let attempt = Attempt {
            credentials: &credentials,
            method: method.as_str(),
            request_uri: request.uri().as_str(),
            realm: &realm,
            binding: &binding,
        };
        match self.registrar.nonces.check(now, &attempt, &ha1) {
            Verdict::Granted { .. } => Ok(user),
            // A repeated datagram is no thief: its answer was lost.
            Verdict::Stale | Verdict::Replayed => {
                Err(self.challenge(now, link, request, role, true))
            }
            Verdict::Failed => {
                self.event(Event::Turned { user });
                Err(self.challenge(now, link, request, role, false))
            }
            Verdict::Malformed(_) => Err(self.plain(request, Status::BAD_REQUEST)),
        }
    }

    fn challenge(
        &mut self,
        now: Now,
        link: Link,
        request: &Request,
        role: Role,
        stale: bool,
    ) -> Option<Response> {
        let nonce = self.registrar.nonces.issue(now, &link.id.to_be_bytes());
        let (status, name) = match role {
            Role::Registrar => (Status::UNAUTHORIZED, Name::WwwAuthenticate),
            Role::Proxy => (Status::PROXY_AUTHENTICATION_REQUIRED, Name::ProxyAuthenticate),
        };
        let mut answer = Response::builder(request, status).to_tag(&self.tag);
        let (host, order) = (&self.settings.host, &self.settings.algorithms);
        for challenge in Challenge::in_order(host, &nonce, stale, order) {
            answer = answer.header(name, &challenge.to_string());
        }
        answer.build().ok()
    }
}

/// As the field's registrars have it, give or take.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
