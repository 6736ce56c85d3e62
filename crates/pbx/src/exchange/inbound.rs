//! Calls from carriers: which of our numbers is called, and who answers it.

use guard::cause::Cause;
use guard::fact::ViolationKind;
use guard::gate::{Origin, Proof, Standing};
use guard::id::{CallId, LegId, TenantId, TrunkId};
use guard::numbering::e164;
use pure::Now;
use sip::transaction::Key;
use sip::{Method, Request, Response};

use super::invite::{Asker, DIALLED_MAX};
use super::{Exchange, Refused, status_of};
use crate::back_to_back::leg::{explain, token};
use crate::directory::Inbound;
use crate::flow::Path;

impl Exchange {
    /// An INVITE of a trunk.
    pub(super) fn called_by_carrier(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        trunk: TrunkId,
        proof: Proof,
    ) {
        if self.turned_away(now, key, request) {
            return;
        }
        let called = self.called_number(trunk, request);
        let dialled = match &called {
            Ok(inbound) => inbound.number.clone(),
            Err(written) => written.chars().take(DIALLED_MAX).collect(),
        };
        let (name, number) = self.calling_number(request);
        let owner = self.trunks.get(trunk).and_then(|trunk| trunk.tenant);
        let tenant = called.as_ref().map_or(owner.unwrap_or(TenantId::HOUSE), |known| known.tenant);
        let asker = Asker {
            tenant,
            extension: None,
            device: None,
            trunk: Some(trunk),
            proof: Some(proof),
            standing: Standing::Proved(proof),
            origin: Origin::Inbound,
            call: CallId::begin(now.utc, self.core.desk(now).chance),
            leg: LegId::draw(self.core.desk(now).chance),
            name,
            number,
            dialled,
            quiet: false,
            emergency: false,
        };
        let begun = match called {
            Ok(inbound) => self.ring_house(now, key, path, request, &asker, &inbound),
            Err(_) => Err(Cause::NotFound.into()),
        };
        if let Err(refused) = begun {
            self.refuse(now, key, path, request, &asker, &refused);
        }
    }

    fn ring_house(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
        asker: &Asker,
        inbound: &Inbound,
    ) -> Result<(), Refused> {
        if self.core.calls_counted() >= self.core.settings.calls_max {
            return Err(Cause::Congestion.into());
        }
        if self.is_full_inward(inbound.trunk) {
            return Err(Cause::Busy.into());
        }
        self.call_extension(now, key, path, request, asker, inbound.extension)
    }

    /// Whether a trunk takes no further call inward: its lines are taken, or all but those that are kept
    /// for calls outward. Whoever calls one of our numbers again and again must not take the telephone
    /// away from everybody who wants to call out.
    fn is_full_inward(&self, trunk: TrunkId) -> bool {
        let channels = self.trunks.get(trunk).map_or(0, |trunk| usize::from(trunk.channels));
        let inward = self.core.calls().filter(|call| {
            call.caller.party.trunk == Some(trunk) && call.trunks().any(|of| of == trunk)
        });
        self.legs_of(trunk) >= channels || inward.count() >= channels - channels / KEPT_OUTWARD
    }

    /// Under pressure, a carrier's call to no number of ours, or over lines that are all taken, is
    /// refused without a transaction (RFC 3261 §8.2.7): one would be kept for 32 s. Such refusals are in
    /// no record.
    pub(super) fn refused_in_passing(&mut self, now: Now, path: Path, request: &Request) -> bool {
        if request.method() != Method::Invite
            || request.headers().to().tag().is_some()
            || !self.core.is_pressed(path, request)
        {
            return false;
        }
        let Some((trunk, _)) = self.trunks.identify(path, request) else { return false };
        let cause = match self.called_number(trunk, request) {
            Err(_) => Cause::NotFound,
            Ok(inbound) if self.is_full_inward(inbound.trunk) => Cause::Busy,
            Ok(_) => return false,
        };
        // Each repetition must get the same tag; that of all such answers is one.
        let tag = match &self.passing {
            Some(tag) => tag.clone(),
            None => token(&mut self.core.desk(now)),
        };
        self.passing = Some(tag.clone());
        let answer = Response::builder(request, status_of(cause.outcome())).to_tag(&tag);
        if let Ok(response) = explain(answer, cause).build() {
            self.core.transmit(path, response.as_bytes().clone());
        }
        self.violated(now, path, ViolationKind::Flood);
        true
    }

    /// Which of our numbers is called: by the Request-URI, or where that holds the Contact that we
    /// registered, by To. What was written, where it is none.
    fn called_number(&self, trunk: TrunkId, request: &Request) -> Result<Inbound, String> {
        let uri = request.uri().user_unescaped().unwrap_or_default().into_owned();
        let to = request.headers().to();
        let to = to.uri().user_unescaped().unwrap_or_default().into_owned();
        let home = self.core.gate.policy().home;
        let found = [&uri, &to].into_iter().find_map(|user| {
            let number = e164(user, home)?;
            self.trunks.inbound(trunk, &number)
        });
        found.cloned().ok_or(uri)
    }

    /// Who calls, as far as the carrier says: P-Asserted-Identity before From (RFC 3325 §9.1), cut and
    /// cleaned. What is no number of the outside world is nobody: else whoever calls in could be shown
    /// as an extension, as an emergency service, or under the name of one of our own people.
    fn calling_number(&self, request: &Request) -> (String, String) {
        let headers = request.headers();
        let asserted = headers
            .asserted_identities()
            .flatten()
            .find_map(|identity| identity.uri().user_unescaped().map(std::borrow::Cow::into_owned));
        let from = headers.from();
        let user = asserted
            .or_else(|| from.uri().user_unescaped().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let name = from.display_name().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let home = self.core.gate.policy().home;
        let number = e164(&user, home).unwrap_or_else(|| ANONYMOUS.to_owned());
        let name = if self.registrar.is_name_of_ours(&name) { String::new() } else { name };
        (name, number)
    }
}

/// Shown where the carrier names nobody (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "anonymous";

/// One line of so many is kept for calls outward: a quarter, and none of fewer than four.
const KEPT_OUTWARD: usize = 4;
