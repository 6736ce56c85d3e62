//! REGISTER at a carrier (RFC 3261 §10.2), and what its answer grants.

use guard::id::{RealmId, TrunkId};
use pure::Chance;
use sip::{Method, Name, NameAddrBuf, Request, Response, Status, Violation};

use super::account::Answering;
use super::line::Purpose;
use super::trouble::Trouble;
use super::{Turn, uri_host, uri_of};
use crate::back_to_back::leg::ALLOW;
use crate::directory::{Trunk, TrunkAccount};
use crate::flow::{Path, Transport};

/// What one registration keeps over its life: RFC 3261 §10.2 asks for one Call-ID and a counting CSeq.
#[derive(Debug)]
pub(super) struct Registration {
    /// The user of our Contact and its parameter [`LINE`]: 128 random bits. Who names it was told it by
    /// the carrier.
    pub(super) token: String,
    call_id: String,
    tag: String,
    cseq: u32,
    /// Seconds to ask for.
    asked: u32,
}

/// One REGISTER and the repetitions that the carrier asks for.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) key: sip::transaction::Key,
    /// Credentials that answered a challenge of this attempt.
    pub(super) answers: u8,
    pub(super) prolonged: bool,
}

/// Where we are, for Via and Contact.
pub(super) struct Hop<'a> {
    pub(super) transport: Transport,
    pub(super) sent_by: &'a str,
    pub(super) branch: &'a str,
}

/// What a final answer means.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Judged {
    /// For so many seconds.
    Granted(u32),
    /// 401 or 407.
    Challenged,
    /// 423: ask for so many seconds at least.
    TooBrief(u32),
    Failed(Trouble, Option<u32>),
}

/// A registration that ends: the trunk was changed, disabled or removed, or we go down.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) trunk: Trunk,
    pub(super) registration: Registration,
    pub(super) answering: Answering,
    pub(super) path: Path,
    /// The challenge was answered: there is nothing more to try.
    pub(super) answered: bool,
}

impl Registration {
    pub(super) fn new(chance: &mut Chance) -> Self {
        Self {
            token: format!("{:032x}", chance.u128()),
            call_id: format!("{:032x}", chance.u128()),
            tag: format!("{:016x}", chance.u64()),
            cseq: 0,
            asked: ASKED,
        }
    }

    /// The next REGISTER. `expires`: `None` asks for what the carrier is known to grant, 0 ends it.
    pub(super) fn request(
        &mut self,
        trunk: &Trunk,
        account: &TrunkAccount,
        hop: &Hop<'_>,
        expires: Option<u32>,
        credentials: Option<&(Name, String)>,
    ) -> Result<Request, Violation> {
        let aor = NameAddrBuf::new(None, &aor(trunk, account))?;
        let Hop { transport, sent_by, branch } = hop;
        let parameter = transport.uri_parameter();
        // Twice: many carriers dial our Contact with the called number in place of its user, and keep the
        // parameters; `line` is what others call it as well.
        let token = &self.token;
        let contact = format!("sip:{token}@{sent_by}{parameter};{LINE}={token}");
        let contact = NameAddrBuf::new(None, &contact)?;
        self.cseq = self.cseq.saturating_add(1);
        let mut request = Request::builder(Method::Register, &uri_of(trunk))
            .via(transport.sip(), sent_by, branch)
            .max_forwards(70)
            .from(&aor.with_tag(&self.tag)?)
            .to(&aor)
            .call_id(&self.call_id)
            .cseq(self.cseq)
            .contact(&contact)
            .expires(expires.unwrap_or(self.asked))
            .header(Name::Allow, ALLOW);
        if let Some((name, value)) = credentials {
            request = request.header(*name, value);
        }
        request.build()
    }

    /// The carrier wants to hear from us less often.
    pub(super) fn prolong(&mut self, seconds: u32) {
        self.asked = seconds;
    }

    pub(super) fn judge(&self, answer: Option<&Response>) -> Judged {
        let Some(answer) = answer else {
            return Judged::Failed(Trouble::NoAnswer("REGISTER"), None);
        };
        let headers = answer.headers();
        let status = answer.status();
        match status {
            _ if status.is_success() => match self.granted(answer) {
                0 => Judged::Failed(Trouble::NotKept, None),
                seconds => Judged::Granted(seconds.clamp(GRANTED_MIN, GRANTED_MAX)),
            },
            Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED => Judged::Challenged,
            Status::INTERVAL_TOO_BRIEF => match headers.min_expires().present() {
                Some(least) if least > self.asked && least <= PROLONGED_MAX => {
                    Judged::TooBrief(least)
                }
                Some(_) | None => refused(status),
            },
            Status::FORBIDDEN => Judged::Failed(Trouble::Forbidden, None),
            Status::NOT_FOUND => Judged::Failed(Trouble::UnknownAccount, None),
            Status::SERVICE_UNAVAILABLE => {
                let trouble = Trouble::Refused("REGISTER", status.code());
                Judged::Failed(trouble, headers.retry_after().present())
            }
            _ => refused(status),
        }
    }

    /// Our own contact's `expires`, else the header, else what was asked (RFC 3261 §10.2.4). Contacts
    /// under other users are other bindings of the account, or ours as a border controller rewrote it.
    fn granted(&self, answer: &Response) -> u32 {
        let headers = answer.headers();
        let mut contacts = headers.contacts().take(CONTACTS_MAX);
        let ours = contacts.find(|contact| contact.uri().user() == Some(&self.token));
        ours.and_then(|contact| contact.expires()).or(headers.expires()).unwrap_or(self.asked)
    }
}

impl Leaving {
    /// Ends the registration. Its answer matters only where it asks who we are.
    pub(super) fn send(
        mut self: Box<Self>,
        turn: &mut Turn<'_, '_>,
        id: TrunkId,
        credentials: Option<(Name, String)>,
    ) {
        let Some(account) = self.trunk.account().cloned() else { return };
        let realm: RealmId = self.trunk.realm;
        let sent_by = turn.sent_by(realm, self.path.flow);
        let branch = turn.desk.transactions.branch();
        let hop = Hop { transport: self.path.flow.transport, sent_by: &sent_by, branch: &branch };
        let uri = uri_of(&self.trunk);
        let credentials =
            credentials.or_else(|| self.answering.authorize(Method::Register.as_str(), &uri));
        let Self { trunk, registration, path, .. } = &mut *self;
        let request = registration.request(trunk, &account, &hop, Some(0), credentials.as_ref());
        let path = *path;
        if let Ok(request) = request {
            turn.send(id, Purpose::Leave(self), path, request);
        }
    }

    pub(super) fn answered(
        mut self: Box<Self>,
        turn: &mut Turn<'_, '_>,
        id: TrunkId,
        answer: Option<&Response>,
    ) {
        let Some(answer) = answer else { return };
        let status = answer.status();
        let challenged =
            matches!(status, Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED);
        if !challenged || self.answered {
            return;
        }
        let uri = uri_of(&self.trunk);
        if let Ok(credentials) = self.answering.answer(answer, Method::Register.as_str(), &uri) {
            self.answered = true;
            self.send(turn, id, Some(credentials));
        }
    }
}

/// Our address of record there.
pub(super) fn aor(trunk: &Trunk, account: &TrunkAccount) -> String {
    format!("sip:{}@{}", account.user, uri_host(&trunk.host))
}

fn refused(status: Status) -> Judged {
    Judged::Failed(Trouble::Refused("REGISTER", status.code()), None)
}

/// Seconds asked for: within the lifetime of most address translations at half of it, and what carriers
/// commonly grant.
const ASKED: u32 = 300;
/// Less is taken as this: a refresh each half minute is what we give a carrier at most.
pub(super) const GRANTED_MIN: u32 = 60;
/// More is taken as this: a carrier that lost its registrations in a crash gets ours back within half an
/// hour, whatever it granted.
pub(super) const GRANTED_MAX: u32 = 3_600;
/// A carrier that wants a registration to last longer than a day isn't obeyed: 423 stands.
const PROLONGED_MAX: u32 = 86_400;
/// The parameter of our Contact that holds the token.
pub(super) const LINE: &str = "line";
/// Contacts of an answer that are looked at. An account with more has trouble of its own; the header or
/// what was asked counts then.
const CONTACTS_MAX: usize = 32;
