//! Calls from carriers: which of our numbers is called, and who answers it.

use guard::cause::Cause;
use guard::gate::{Origin, Proof, Standing};
use guard::id::{CallId, LegId, TenantId, TrunkId};
use guard::number::Digits;
use guard::numbering::e164;
use pure::Now;
use sip::Request;
use sip::transaction::Key;

use super::invite::{Asker, DIALLED_MAX};
use super::{Exchange, Refused};
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
            call: CallId::draw(self.core.desk(now).chance),
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
        let channels = self.trunks.get(inbound.trunk).map_or(0, |trunk| trunk.channels);
        if self.legs_of(inbound.trunk) >= usize::from(channels) {
            return Err(Cause::Busy.into());
        }
        self.call_extension(now, key, path, request, asker, inbound.extension)
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
    /// cleaned.
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
        let plain = || Digits::parse(&user).map(|digits| digits.as_str().to_owned());
        let number = e164(&user, home).or_else(plain).unwrap_or_else(|| ANONYMOUS.to_owned());
        (name, number)
    }
}

/// Shown where the carrier names nobody (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "anonymous";
