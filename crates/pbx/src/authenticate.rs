//! Who sent this request? Digest against the secrets of the directory (RFC 7616, RFC 3261 §22).
//!
//! Names that don't exist, names that are disabled and wrong passwords take one path: the same
//! challenge, the same two comparisons, the same answer. The second comparison is against the secret
//! before the last rotation, which is good for emergency calls only (a phone whose owner is still
//! walking round with the new secret must be able to call for help).

use std::net::IpAddr;

use guard::fact::{AuthenticationFailure, Fact};
use guard::gate::{Proof, Standing};
use guard::id::{DeviceId, ExtensionId, TenantId};
use guard::pii::Pii;
use pure::Now;
use sip::digest::{Algorithm, Attempt, Challenge, Credentials, Fault, Ha1, Verdict as Digest};
use sip::{Name, Request, Response, Status};

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

impl Identity {
    pub fn proof(&self) -> Proof {
        Proof::Digest(journalled(self.algorithm))
    }

    pub fn standing(&self) -> Standing {
        Standing::Proved(self.proof())
    }
}

impl Registrar {
    /// Judges the credentials of any request. `to_tag` goes into the answer where one is made.
    pub fn authenticate(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        out: &mut Vec<Effect>,
    ) -> Verdict {
        let tenant = self.tenant_of(request);
        let realm = self.realm(tenant).to_owned();
        let offered = self.algorithms_for(tenant, request, path);
        let binding = nonce_binding(path);
        let values = request.headers().authorization();
        let credentials = match Credentials::for_realm(values.map(str::as_bytes), &realm) {
            None => return Verdict::Challenge(self.challenge(now, request, path, &realm, false)),
            Some(Err(fault)) => return Verdict::Refused(self.malformed(request, fault)),
            Some(Ok(credentials)) => credentials,
        };
        self.puzzled.remove(request.headers().call_id());
        if offered.iter().all(|offered| credentials.algorithm < *offered) {
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
        let (account, current, former) =
            self.secrets(now, tenant, &credentials.username, credentials.algorithm);
        match self.nonces.check(now, &attempt, &current) {
            Digest::Granted { algorithm } => match account {
                Some(extension) => {
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
            Digest::Malformed(fault) => Verdict::Refused(self.malformed(request, fault)),
            Digest::Failed => {
                let again = self.nonces.check(now, &attempt, &former);
                let challenge = self.challenge(now, request, path, &realm, false);
                if let (Digest::Granted { algorithm }, Some(extension)) = (again, account) {
                    let device = self.device_at(path, extension);
                    let identity = Identity { tenant, extension, device, algorithm };
                    return Verdict::Former { identity, challenge };
                }
                let reason = AuthenticationFailure::WrongResponse;
                self.failed(now, path, &credentials, tenant, reason, out);
                Verdict::Challenge(challenge)
            }
        }
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
        let order = self.algorithms_for(self.tenant_of(request), request, path);
        let headers = request.headers();
        if order.len() > 1 {
            if self.puzzled.len() >= PUZZLED_MAX {
                self.puzzled.clear();
            }
            self.puzzled.insert(headers.call_id().to_owned(), headers.cseq().number);
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

    /// A device is offered what it managed before, as long as its firmware is the same; all others
    /// what the settings say, less what is known to confuse them. The instance and the agent are
    /// claims of the sender: whoever lies about them gets the ordinary offer or a weaker one, and
    /// would have to know the secret all the same.
    fn algorithms_for(
        &self,
        tenant: TenantId,
        request: &Request,
        path: Path,
    ) -> &'static [Algorithm] {
        let headers = request.headers();
        let agent = headers.get(Name::UserAgent).unwrap_or_default();
        let known = self.claimed_device(tenant, request, path);
        match known.filter(|device| device.agent == agent).and_then(|device| device.algorithm) {
            Some(guard::gate::Algorithm::Sha256) => return &[Algorithm::Sha256],
            Some(guard::gate::Algorithm::Md5) => return &[Algorithm::Md5],
            None => {}
        }
        let gave_up =
            self.puzzled.get(headers.call_id()).is_some_and(|cseq| *cseq < headers.cseq().number);
        let confused = CONFUSED_BY_SHA_256.iter().any(|name| agent.starts_with(name));
        if gave_up || confused { &[Algorithm::Md5] } else { self.settings.first_contact }
    }

    /// The account behind a user name, its secret, and its former one; decoys where there is none.
    fn secrets(
        &self,
        now: Now,
        tenant: TenantId,
        user: &str,
        algorithm: Algorithm,
    ) -> (Option<ExtensionId>, Ha1, Ha1) {
        let account = self.account_named(tenant, user).filter(|(_, account)| account.enabled());
        let decoy = || Ha1::decoy(&self.decoy_key, user, algorithm);
        match account {
            Some((id, account)) => {
                let former = account.former(now).map(|former| former.of(algorithm).clone());
                (Some(id), account.credentials.of(algorithm).clone(), former.unwrap_or_else(decoy))
            }
            None => (None, decoy(), decoy()),
        }
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
        let account = credentials.username.chars().take(ACCOUNT_LEN_MAX).collect::<String>();
        let key = (path.remote.ip(), account.clone());
        let Some(count) = self.failures.admit(now.instant, key) else { return };
        let exists = self.account_named(tenant, &account).is_some();
        let fact = Fact::AuthenticationFailed {
            reason,
            failures: u32::try_from(count).unwrap_or(u32::MAX),
            account: account.as_str().into(),
            account_exists: Pii::new(Some(exists)),
            address: path.remote.ip().into(),
        };
        out.push(Effect::Fact { tenant, fact });
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
