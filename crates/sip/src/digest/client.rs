//! The client's side: which challenge to answer, and the next count of a nonce.

use pure::Chance;
use zeroize::Zeroizing;

use super::{Algorithm, Challenge, Credentials, Fault, Ha1, Qop};

/// What one account does with challenges: a phone's line, or our side of a trunk.
///
/// It remembers the last nonce that was answered, so later requests carry credentials unasked
/// ([`Self::authorize`]) and save a round trip.
#[derive(Debug)]
pub struct Client {
    user: String,
    password: Password,
    /// Nothing weaker is answered: a bystander could else ask for MD5 and guess at leisure.
    weakest: Algorithm,
    chance: Chance,
    session: Option<Session>,
}

/// Why no credentials can be given. The request has then failed for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The answer to this very nonce was refused: the password is wrong.
    WrongPassword,
    /// No challenge could be answered; the fault of the first that couldn't be read.
    NothingUsable(Option<Fault>),
    /// Only challenges weaker than this account allows.
    TooWeak(Algorithm),
}

impl Client {
    /// `weakest` is the least algorithm to answer.
    pub fn new(user: &str, password: &str, weakest: Algorithm, chance: Chance) -> Self {
        Self {
            user: user.to_owned(),
            password: Password(Zeroizing::new(password.to_owned())),
            weakest,
            chance,
            session: None,
        }
    }

    /// The header value that answers the challenges of one 401 or 407, for a request with this method and
    /// Request-URI. Of several, the strongest that is spoken here is answered, not the topmost: RFC 8760
    /// §2.4 leaves that to local policy, and a server's order often only cares for old phones.
    pub fn answer<'a>(
        &mut self,
        challenges: impl IntoIterator<Item = &'a [u8]>,
        method: &str,
        uri: &str,
    ) -> Result<String, Refusal> {
        let best = self.best(challenges)?;
        if self.knows(&best) && !best.stale {
            self.session = None;
            return Err(Refusal::WrongPassword);
        }
        Ok(self.begin(best, method, uri))
    }

    /// As [`Self::answer`] where the challenged request carried no credentials. The same nonce as before
    /// then says nothing about the password: a server that draws one a second challenges two requests
    /// with it, and its count goes on.
    pub fn answer_first<'a>(
        &mut self,
        challenges: impl IntoIterator<Item = &'a [u8]>,
        method: &str,
        uri: &str,
    ) -> Result<String, Refusal> {
        let best = self.best(challenges)?;
        if self.knows(&best) && !best.stale {
            return Ok(self.authorize(method, uri).expect("the session is known"));
        }
        Ok(self.begin(best, method, uri))
    }

    /// The same password for another account or another line of requests, with no nonce remembered.
    pub fn again(&self, user: &str, weakest: Algorithm, chance: Chance) -> Self {
        Self::new(user, &self.password.0, weakest, chance)
    }

    /// Of the challenge that was answered last.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.session.as_ref().map(|session| session.ha1.algorithm())
    }

    /// The strongest challenge, where it is strong enough.
    fn best<'a>(
        &self,
        challenges: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Challenge<'a>, Refusal> {
        let mut best: Option<Challenge<'_>> = None;
        let mut fault = None;
        for value in challenges.into_iter().take(CHALLENGES_MAX) {
            match Challenge::parse(value) {
                // The first of equals stays.
                Ok(one) if best.as_ref().is_none_or(|best| one.algorithm > best.algorithm) => {
                    best = Some(one);
                }
                Ok(_) => {}
                Err(found) => fault = fault.or(Some(found)),
            }
        }
        let best = best.ok_or(Refusal::NothingUsable(fault))?;
        if best.algorithm < self.weakest {
            return Err(Refusal::TooWeak(best.algorithm));
        }
        Ok(best)
    }

    fn knows(&self, challenge: &Challenge<'_>) -> bool {
        self.session.as_ref().is_some_and(|session| {
            session.nonce == *challenge.nonce
                && session.realm == *challenge.realm
                && session.ha1.algorithm() == challenge.algorithm
        })
    }

    fn begin(&mut self, best: Challenge<'_>, method: &str, uri: &str) -> String {
        self.session = Some(Session {
            ha1: Ha1::derive(best.algorithm, &self.user, &best.realm, &self.password.0),
            realm: best.realm.into_owned(),
            nonce: best.nonce.into_owned(),
            opaque: best.opaque.map(|opaque| opaque.into_owned()),
            counted: best.auth.then_some(0),
        });
        self.authorize(method, uri).expect("the session was just made")
    }

    /// Credentials for a further request with the nonce answered last; `None` before the first challenge.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let session = self.session.as_mut()?;
        let qop = session.counted.as_mut().map(|counted| {
            *counted = counted.saturating_add(1);
            // 64 random bits: enough that no table of answers can be made ahead (RFC 7616 §5.8).
            Qop { count: *counted, cnonce: format!("{:016x}", self.chance.u64()).into() }
        });
        let response = session.ha1.response(&session.nonce, qop.as_ref(), method, uri);
        let credentials = Credentials {
            username: (&*self.user).into(),
            realm: (&*session.realm).into(),
            nonce: (&*session.nonce).into(),
            uri: uri.into(),
            algorithm: session.ha1.algorithm(),
            qop,
            opaque: session.opaque.as_deref().map(Into::into),
            response,
        };
        Some(credentials.to_string())
    }
}

/// What is remembered of the challenge answered last.
#[derive(Debug)]
struct Session {
    ha1: Ha1,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// The last nc, or `None` for a server of RFC 2069, which counts nothing.
    counted: Option<u32>,
}

struct Password(Zeroizing<String>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Challenges looked at in one answer: a server offers one for each algorithm, and there are few.
const CHALLENGES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Attempt, Nonces, NoncesConfig, Verdict};
    use pure::Now;

    fn client(password: &str, weakest: Algorithm) -> Client {
        Client::new("101", password, weakest, Chance::from_number(2))
    }

    #[test]
    fn both_sides_agree() {
        let now = Now::default();
        let mut nonces = Nonces::new(NoncesConfig::default(), 1, Chance::from_number(1), now);
        let nonce = nonces.issue(now, b"connection 5");
        let lines: Vec<String> =
            Challenge::in_order("pbx", &nonce, false, &[Algorithm::Md5, Algorithm::Sha256])
                .map(|one| one.to_string())
                .collect();
        let mut client = client("secret", Algorithm::Md5);
        let mut judge = |header: &str| {
            let credentials = Credentials::parse(header.as_bytes()).expect("own writing");
            let ha1 = Ha1::derive(Algorithm::Sha256, "101", "pbx", "secret");
            let attempt = Attempt {
                credentials: &credentials,
                method: "REGISTER",
                request_uri: "sip:pbx",
                realm: "pbx",
                binding: b"connection 5",
            };
            nonces.check(now, &attempt, &ha1)
        };
        let challenges = || lines.iter().map(|line| line.as_bytes());
        let first = client.answer(challenges(), "REGISTER", "sip:pbx").expect("answerable");
        assert_eq!(judge(&first), Verdict::Granted { algorithm: Algorithm::Sha256 });
        assert_eq!(judge(&first), Verdict::Replayed);
        let second = client.authorize("REGISTER", "sip:pbx").expect("a nonce is known");
        assert_eq!(judge(&second), Verdict::Granted { algorithm: Algorithm::Sha256 });
        assert_eq!(client.algorithm(), Some(Algorithm::Sha256));
        let third = client.answer_first(challenges(), "INVITE", "sip:pbx").expect("answerable");
        assert!(third.contains("nc=00000003"), "the count goes on: {third}");
        let again = client.answer(challenges(), "REGISTER", "sip:pbx");
        assert_eq!(again, Err(Refusal::WrongPassword), "the same nonce asked twice");
    }

    #[test]
    fn what_is_too_weak_or_unreadable_is_not_answered() {
        let md5 = b"Digest realm=\"r\", nonce=\"n\", qop=\"auth\"".as_slice();
        let mut strict = client("secret", Algorithm::Sha256);
        assert_eq!(strict.answer([md5], "INVITE", "sip:x"), Err(Refusal::TooWeak(Algorithm::Md5)));
        assert_eq!(
            strict.answer([b"Basic realm=\"r\"".as_slice()], "INVITE", "sip:x"),
            Err(Refusal::NothingUsable(Some(Fault::OtherScheme)))
        );
        assert!(!format!("{strict:?}").contains("secret"));
    }

    /// RFC 2617 §3.5's realm and password in the shape of RFC 2069, computed apart with a shell's md5sum.
    #[test]
    fn an_old_server_gets_an_answer_without_a_count() {
        let old = b"Digest realm=\"testrealm@host.com\", nonce=\"n\"".as_slice();
        let mut client =
            Client::new("Mufasa", "Circle Of Life", Algorithm::Md5, Chance::from_number(3));
        let answer = client.answer([old], "GET", "/dir/index.html").expect("answerable");
        assert!(!answer.contains("nc="), "{answer}");
        assert!(answer.contains("response=\"7e227fc0fc1cbc2b288773630a3441d4\""), "{answer}");
    }
}
