//! Who sent this request? Digest against the secrets of the directory (RFC 7616, RFC 3261 §22).
//!
//! Names that don't exist, names that are disabled, wrong passwords and pairs that the wall holds take
//! one path: the same challenge, the same two comparisons, the same answer. The second comparison is
//! against the secret before the last rotation, which is good for emergency calls only (a phone whose
//! owner is still walking round with the new secret must be able to call for help), and is no guess.

use std::borrow::Cow;
use std::net::IpAddr;

use guard::fact::{AuthenticationFailure, Fact};
use guard::gate::{Proof, Standing};
use guard::id::{DeviceId, ExtensionId, TenantId};
use guard::pii::Pii;
use guard::source::Source;
use guard::wall::Pair;
use pure::Now;
use sip::digest::{Algorithm, Attempt, Challenge, Credentials, Fault, Ha1, Verdict as Digest};
use sip::{Method, Name, Request, Response, Status};

use crate::failures::Failure;
use crate::flow::Path;
use crate::registrar::{Effect, Registrar};

/// What is known of the sender of a request.
#[derive(Debug)]
pub enum Verdict {
    Proved(Identity),
    /// Proved by the secret before the last rotation: emergency calls only.
    Former {
        identity: Identity,
        challenge: Response,
    },
    /// Not proved; the 401 to send. Says nothing about whether the account exists.
    Challenge(Response),
    /// The credentials can't be read: 400.
    Refused(Response),
}

/// An extension, proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub tenant: TenantId,
    pub extension: ExtensionId,
    /// The device at the request's path, where that extension registered it.
    pub device: Option<DeviceId>,
    pub algorithm: Algorithm,
}

/// A sender that was offered several algorithms and has not been proved since.
#[derive(Debug)]
pub(crate) struct Puzzled {
    /// Of the request that was challenged.
    cseq: u32,
    /// It asked again without an answer to the challenge: it can't read it.
    came_back_without: bool,
}

impl Identity {
    pub fn proof(&self) -> Proof {
        Proof::Digest(journalled(self.algorithm))
    }

    pub fn standing(&self) -> Standing {
        Standing::Proved(self.proof())
    }
}

impl Registrar {
    /// Judges the credentials of any request. `help`: it is a call for help from where a device is known.
    pub fn authenticate(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        help: bool,
        out: &mut Vec<Effect>,
    ) -> Verdict {
        let tenant = self.tenant_of(request);
        let realm = self.realm(tenant).to_owned();
        let binding = nonce_binding(path);
        let source = Source::from(path.remote.ip());
        let values = request.headers().authorization();
        let credentials = match Credentials::for_realm(values.map(str::as_bytes), &realm) {
            None => {
                self.came_without(now, request, path);
                return Verdict::Challenge(self.challenge(now, request, path, &realm, false));
            }
            // Said once to an address that anybody may have written: a 400 to an INVITE would be repeated.
            Some(Err(_)) if is_loose(request, path) => {
                return Verdict::Challenge(self.challenge(now, request, path, &realm, false));
            }
            Some(Err(fault)) => return Verdict::Refused(self.malformed(request, fault)),
            Some(Ok(credentials)) => credentials,
        };
        self.wall.answered(source, &asked_for(request));
        let good = self.nonces.is_good(now, &credentials.nonce, &binding);
        let better_offered = self.offered(request).iter().any(|one| *one > credentials.algorithm);
        if good && better_offered && self.is_too_weak(tenant, request, path, credentials.algorithm)
        {
            self.failed(now, path, &credentials, tenant, AuthenticationFailure::WeakAlgorithm, out);
            return Verdict::Challenge(self.challenge(now, request, path, &realm, false));
        }
        let method = request.method();
        let attempt = Attempt {
            credentials: &credentials,
            method: method.as_str(),
            request_uri: request.uri().as_str(),
            realm: &realm,
            binding: &binding,
        };
        let pair = self.pair(now, tenant, &credentials.username, request, path);
        // A comparison may be one of few: it isn't spent on what can't be right.
        let compared = good && self.wall.may_compare(now.instant, &pair, help);
        let user = &credentials.username;
        let (account, current, former) =
            self.secrets(now, tenant, user, credentials.algorithm, compared);
        match self.nonces.check(now, &attempt, &current) {
            Digest::Granted { algorithm } => match account {
                Some(extension) => {
                    self.puzzled.remove(request.headers().call_id());
                    self.wall.succeeded(now, &pair, extension);
                    self.stale.put_right(&pair);
                    let device = self.device_at(path, extension);
                    Verdict::Proved(Identity { tenant, extension, device, algorithm })
                }
                // A decoy's secret is a MAC under a key of this process: nobody can have matched it.
                None => Verdict::Challenge(self.challenge(now, request, path, &realm, false)),
            },
            Digest::Stale => Verdict::Challenge(self.challenge(now, request, path, &realm, true)),
            Digest::Replayed => {
                self.failed(now, path, &credentials, tenant, AuthenticationFailure::Replay, out);
                Verdict::Challenge(self.challenge(now, request, path, &realm, true))
            }
            Digest::Malformed(_) if is_loose(request, path) => {
                Verdict::Challenge(self.challenge(now, request, path, &realm, false))
            }
            Digest::Malformed(fault) => Verdict::Refused(self.malformed(request, fault)),
            Digest::Failed => {
                let again = self.nonces.check(now, &attempt, &former);
                let challenge = self.challenge(now, request, path, &realm, false);
                if let (Digest::Granted { algorithm }, Some(extension)) = (again, account) {
                    if !help {
                        self.tried_former(now, &pair, extension, out);
                    }
                    let device = self.device_at(path, extension);
                    let identity = Identity { tenant, extension, device, algorithm };
                    return Verdict::Former { identity, challenge };
                }
                let reason = AuthenticationFailure::WrongResponse;
                self.failed(now, path, &credentials, tenant, reason, out);
                let exists = self.account_named(tenant, &pair.account).is_some();
                self.wall.failed(now, pair, compared, exists);
                Verdict::Challenge(challenge)
            }
        }
    }

    /// The challenge to a call for help whose sender has not answered one of ours, with whatever secret. It
    /// needs no transaction. `None`: it has answered, so it is where it says.
    pub(crate) fn ask_where(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
    ) -> Option<Response> {
        let realm = self.realm(self.tenant_of(request)).to_owned();
        let values = request.headers().authorization();
        let credentials = Credentials::for_realm(values.map(str::as_bytes), &realm);
        let stale = match &credentials {
            Some(Ok(found)) if self.nonces.is_good(now, &found.nonce, &nonce_binding(path)) => {
                return None;
            }
            Some(Ok(_)) => true,
            Some(Err(_)) => false,
            None => {
                self.came_without(now, request, path);
                false
            }
        };
        Some(self.challenge(now, request, path, &realm, stale))
    }

    /// Whether this answers a challenge of ours, with whatever secret.
    pub(crate) fn answers_us(&self, now: Now, request: &Request, path: Path) -> bool {
        let realm = self.realm(self.tenant_of(request));
        let values = request.headers().authorization();
        match Credentials::for_realm(values.map(str::as_bytes), realm) {
            Some(Ok(found)) => self.nonces.is_good(now, &found.nonce, &nonce_binding(path)),
            Some(Err(_)) | None => false,
        }
    }

    /// A request without credentials.
    fn came_without(&mut self, now: Now, request: &Request, path: Path) {
        let cseq = request.headers().cseq().number;
        if let Some(puzzled) = self.puzzled.get_mut(request.headers().call_id()) {
            puzzled.came_back_without |= puzzled.cseq < cseq;
        }
        let proved = path.flow.transport.is_reliable();
        self.wall.asked(now, path.remote.ip().into(), &asked_for(request), proved);
    }

    /// The 401 with one challenge for each algorithm, strongest first (RFC 8760 §2.3).
    fn challenge(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        realm: &str,
        stale: bool,
    ) -> Response {
        let order = self.offered(request);
        let headers = request.headers();
        if order.len() > 1 {
            if self.puzzled.len() >= PUZZLED_MAX {
                self.puzzled.clear();
            }
            let puzzled = Puzzled { cseq: headers.cseq().number, came_back_without: false };
            self.puzzled.insert(headers.call_id().to_owned(), puzzled);
        }
        let nonce = self.nonces.issue(now, &nonce_binding(path));
        let challenges = Challenge::in_order(realm, &nonce, stale, order);
        self.answer(request, Status::UNAUTHORIZED, |answer| {
            challenges.fold(answer, |answer, challenge| {
                answer.header(Name::WwwAuthenticate, &challenge.to_string())
            })
        })
    }

    fn malformed(&mut self, request: &Request, fault: Fault) -> Response {
        self.answer(request, Status::BAD_REQUEST, |answer| answer.reason(fault_phrase(fault)))
    }

    /// What the settings say, less what is known to confuse the sender. It follows from the request
    /// alone, so the offer tells nobody which accounts or devices exist.
    fn offered(&self, request: &Request) -> &'static [Algorithm] {
        let headers = request.headers();
        let agent = headers.get(Name::UserAgent).unwrap_or_default();
        let gave_up =
            self.puzzled.get(headers.call_id()).is_some_and(|puzzled| puzzled.came_back_without);
        let confused = CONFUSED_BY_SHA_256.iter().any(|name| agent.starts_with(name));
        if gave_up || confused { &[Algorithm::Md5] } else { self.settings.first_contact }
    }

    /// A device that managed SHA-256 with the firmware it has is held to it: who answers with less is
    /// somebody else, or somebody changed the challenge on its way.
    fn is_too_weak(
        &self,
        tenant: TenantId,
        request: &Request,
        path: Path,
        algorithm: Algorithm,
    ) -> bool {
        let agent = request.headers().get(Name::UserAgent).unwrap_or_default();
        let known = self.claimed_device(tenant, request, path);
        let managed =
            known.filter(|device| device.agent == agent).and_then(|device| device.algorithm);
        managed.is_some_and(|managed| journalled(algorithm) < managed)
    }

    /// Whose failures are counted together with this one's.
    fn pair(&self, now: Now, tenant: TenantId, user: &str, request: &Request, path: Path) -> Pair {
        let extension = self.account_named(tenant, user).map(|(extension, _)| extension);
        Pair {
            source: path.remote.ip().into(),
            tenant,
            account: cut(user).into(),
            who: self.who(now, extension, request, path),
        }
    }

    /// The account behind a user name, its secret, and its former one; decoys where there is none, or where
    /// nothing is to be compared. The decoy is made in every case, since it takes time.
    fn secrets(
        &self,
        now: Now,
        tenant: TenantId,
        user: &str,
        algorithm: Algorithm,
        compared: bool,
    ) -> (Option<ExtensionId>, Ha1, Ha1) {
        let decoy = Ha1::decoy(&self.decoy_key, user, algorithm);
        let account = self.account_named(tenant, user);
        let account = account.filter(|(_, account)| account.enabled() && compared);
        let current = account.map_or(&decoy, |(_, account)| account.credentials.of(algorithm));
        let former = account.and_then(|(_, account)| account.former(now));
        let former = former.map_or(&decoy, |former| former.of(algorithm));
        (account.map(|(id, _)| id), current.clone(), former.clone())
    }

    fn failed(
        &mut self,
        now: Now,
        path: Path,
        credentials: &Credentials<'_>,
        tenant: TenantId,
        reason: AuthenticationFailure,
        out: &mut Vec<Effect>,
    ) {
        let account = cut(&credentials.username);
        let exists = self.account_named(tenant, &account).is_some();
        let address = path.remote.ip();
        let failure = Failure { address, tenant, reason, account, exists };
        if let Some(fact) = self.failures.count(now.instant, failure) {
            out.push(Effect::Fact { tenant, fact });
        }
    }

    /// No guess, but a phone that somebody must see to.
    fn tried_former(
        &mut self,
        now: Now,
        pair: &Pair,
        extension: ExtensionId,
        out: &mut Vec<Effect>,
    ) {
        let Some(failures) = self.stale.tried(now, pair, extension) else { return };
        let fact = Fact::AuthenticationFailed {
            reason: AuthenticationFailure::FormerSecret,
            failures,
            account: pair.account.as_ref().into(),
            account_exists: Pii::new(Some(true)),
            address: pair.source.ip().into(),
        };
        out.push(Effect::Fact { tenant: pair.tenant, fact });
    }
}

/// The algorithm as the gate, the records and the journal name it.
pub(crate) fn journalled(algorithm: Algorithm) -> guard::gate::Algorithm {
    match algorithm {
        Algorithm::Md5 => guard::gate::Algorithm::Md5,
        Algorithm::Sha256 => guard::gate::Algorithm::Sha256,
    }
}

/// What a nonce is good for: one connection, or one address (of IPv6 the network, since a host
/// changes the rest at will). Never the port, which a translator changes.
fn nonce_binding(path: Path) -> Vec<u8> {
    if path.flow.transport.is_reliable() {
        let mut bytes = path.flow.generation.to_be_bytes().to_vec();
        bytes.extend(path.flow.node.0.to_be_bytes());
        return bytes;
    }
    match path.remote.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// An INVITE in a datagram: whatever but a challenge is said to it is repeated until somebody acknowledges.
fn is_loose(request: &Request, path: Path) -> bool {
    request.method() == Method::Invite && !path.flow.transport.is_reliable()
}

/// The account that a request without credentials is about: whom it registers, or whom it wants.
fn asked_for(request: &Request) -> String {
    let user = match request.method() {
        Method::Register => request.headers().to().uri().user_unescaped().map(Cow::into_owned),
        _ => request.uri().user_unescaped().map(Cow::into_owned),
    };
    cut(&user.unwrap_or_default())
}

fn cut(user: &str) -> String {
    user.chars().take(ACCOUNT_LEN_MAX).collect()
}

fn fault_phrase(fault: Fault) -> &'static str {
    match fault {
        Fault::OtherTarget => "Credentials For Another Request-URI",
        Fault::Unsupported(_) | Fault::OtherScheme => "Unsupported Credentials",
        Fault::Missing(_) => "Incomplete Credentials",
        Fault::TooLong
        | Fault::Syntax
        | Fault::Repeated
        | Fault::Invalid(_)
        | Fault::OtherRealm => "Malformed Credentials",
    }
}

/// Agents that give up when any challenge names another algorithm than MD5, in whatever order
/// (measured with baresip 1.1: it comes back 44 seconds later, without credentials).
const CONFUSED_BY_SHA_256: &[&str] = &["baresip v0.", "baresip v1."];
/// Phones between a challenge and its answer; at the bound all are forgotten, and a confused one is
/// recognised one round later.
const PUZZLED_MAX: usize = 4_096;
/// An extension number has at most eight digits; what is longer is kept this far for the journal.
const ACCOUNT_LEN_MAX: usize = 64;
