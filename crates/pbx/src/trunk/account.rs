//! What a trunk's account does with challenges. Registration and calls each have a nonce and a count of
//! their own: the carrier's registrar and its proxies may be different machines with different realms.

use guard::gate::Algorithm;
use pure::Chance;
use sip::digest::{Client, Refusal};
use sip::{Name, Response, Status};

use crate::command::TrunkSecret;
use crate::directory::TrunkAccount;

#[derive(Debug)]
pub(super) struct Account {
    pub(super) registrar: Answering,
    pub(super) calls: Answering,
}

/// One series of challenges and answers.
#[derive(Debug)]
pub(super) struct Answering {
    client: Client,
    /// Whether the last challenge was a proxy's.
    header: Name,
}

impl Account {
    pub(super) fn new(account: &TrunkAccount, secret: &TrunkSecret, chance: &mut Chance) -> Self {
        let weakest = digest_algorithm(account.weakest);
        let client = || Client::new(user(account), &secret.0, weakest, chance.fork());
        let [registrar, calls] = std::iter::repeat_with(client)
            .take(2)
            .map(|client| Answering { client, header: Name::Authorization })
            .collect::<Vec<_>>()
            .try_into()
            .expect("two were taken");
        Self { registrar, calls }
    }

    /// The same password under what is configured now.
    pub(super) fn again(&self, account: &TrunkAccount, chance: &mut Chance) -> Self {
        let mut again = || self.registrar.again(account, chance.fork());
        Self { registrar: again(), calls: again() }
    }

    /// The weakest algorithm of those really used.
    pub(super) fn used(&self) -> Option<Algorithm> {
        let used = [self.registrar.client.algorithm(), self.calls.client.algorithm()];
        used.into_iter().flatten().min().map(crate::authenticate::journalled)
    }
}

impl Answering {
    pub(super) fn again(&self, account: &TrunkAccount, chance: Chance) -> Self {
        let client = self.client.again(user(account), digest_algorithm(account.weakest), chance);
        Self { client, header: Name::Authorization }
    }

    /// Header and value that answer a 401 or 407. The same nonce again means a wrong password.
    pub(super) fn answer(
        &mut self,
        response: &Response,
        method: &str,
        uri: &str,
    ) -> Result<(Name, String), Refusal> {
        let (asks, header) = names(response);
        let challenges = response.headers().get_all(asks).map(str::as_bytes);
        let value = self.client.answer(challenges, method, uri)?;
        self.header = header;
        Ok((header, value))
    }

    /// As [`Self::answer`] where the challenged request carried no credentials.
    pub(super) fn answer_first(
        &mut self,
        response: &Response,
        method: &str,
        uri: &str,
    ) -> Result<(Name, String), Refusal> {
        let (asks, header) = names(response);
        let challenges = response.headers().get_all(asks).map(str::as_bytes);
        let value = self.client.answer_first(challenges, method, uri)?;
        self.header = header;
        Ok((header, value))
    }

    /// Ahead of a challenge, with the nonce answered last.
    pub(super) fn authorize(&mut self, method: &str, uri: &str) -> Option<(Name, String)> {
        let value = self.client.authorize(method, uri)?;
        Some((self.header, value))
    }

    pub(super) fn algorithm(&self) -> Option<sip::digest::Algorithm> {
        self.client.algorithm()
    }
}

/// The name in credentials.
fn user(account: &TrunkAccount) -> &str {
    account.auth_user.as_deref().unwrap_or(&account.user)
}

/// Where the challenge stands, and where its answer belongs (RFC 3261 §22.2, §22.3).
fn names(response: &Response) -> (Name, Name) {
    if response.status() == Status::PROXY_AUTHENTICATION_REQUIRED {
        (Name::ProxyAuthenticate, Name::ProxyAuthorization)
    } else {
        (Name::WwwAuthenticate, Name::Authorization)
    }
}

fn digest_algorithm(algorithm: Algorithm) -> sip::digest::Algorithm {
    match algorithm {
        Algorithm::Md5 => sip::digest::Algorithm::Md5,
        Algorithm::Sha256 => sip::digest::Algorithm::Sha256,
    }
}
