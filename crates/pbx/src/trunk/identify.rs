//! Whose call is this? A carrier can't be challenged, so what proves it is what it was told (the token in
//! our Contact) and where it comes from.
//!
//! A token alone proves nothing: it travels in clear over UDP and shows in the carrier's logs. An
//! address alone is proof for trunks that are configured so, on their own realm and over a transport
//! that is no weaker than theirs: over UDP an address can be written by anybody on the way, which is what
//! such a trunk is shown to be weak in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use guard::gate::Proof;
use guard::id::{RealmId, TrunkId};
use guard::source::Source;
use sip::Request;

use super::Trunks;
use super::line::Line;
use super::registration::LINE;
use crate::directory::TrunkAccess;
use crate::flow::{Path, Transport};

impl Trunks {
    /// Who sends this, and how it is proved; `None`: no trunk that is known.
    ///
    /// Of several trunks at one address the token decides, then the exact place (port included) and the
    /// host in From, then whose number is called; then the lowest id.
    pub(crate) fn identify(&self, path: Path, request: &Request) -> Option<(TrunkId, Proof)> {
        let uri = request.uri();
        let named = [uri.user(), uri.param(LINE)];
        let realm = self.realm_of(path)?;
        let enabled = self.lines.values().filter(|line| line.trunk.enabled);
        let told = enabled.clone().find(|line| {
            let registers = matches!(line.trunk.access, TrunkAccess::Registration(_));
            registers
                && named.contains(&Some(&line.registration.token))
                && (line.link().is_some_and(|link| link.path == path)
                    || line.is_source(realm, path))
        });
        if let Some(line) = told {
            return Some((line.trunk.id, Proof::TrunkContact));
        }
        let by_address = enabled.filter(|line| {
            matches!(line.trunk.access, TrunkAccess::Address(_)) && line.is_source(realm, path)
        });
        let mut candidates: Vec<&Line> = by_address.collect();
        let narrow = |candidates: &mut Vec<&Line>, fits: &dyn Fn(&Line) -> bool| {
            if candidates.iter().any(|line| fits(line)) {
                candidates.retain(|line| fits(line));
            }
        };
        narrow(&mut candidates, &|line| {
            line.link().is_some_and(|link| link.path == path)
                || line.places.all().iter().any(|place| place.remote == path.remote)
        });
        let from = request.headers().from();
        let from_host = from.uri().host_str();
        narrow(&mut candidates, &|line| {
            super::uri_host(&line.trunk.host).eq_ignore_ascii_case(from_host)
        });
        let called = request.uri().user_unescaped().map(|user| {
            let digits = user.strip_prefix('+').unwrap_or(&user);
            format!("+{digits}")
        });
        narrow(&mut candidates, &|line| {
            called.as_ref().is_some_and(|called| self.inbound(line.trunk.id, called).is_some())
        });
        candidates.first().map(|line| (line.trunk.id, Proof::TrunkAddress))
    }

    /// Whether anything on this UDP socket from this address may be answered at all: there is a trunk that
    /// it could be, or there was one whose calls may go on.
    pub(crate) fn is_carrier(&self, path: Path) -> bool {
        let Some(realm) = self.realm_of(path) else { return false };
        let address = path.remote.ip().to_canonical();
        let here = (realm, address, TrunkId(u32::MIN))..=(realm, address, TrunkId(u32::MAX));
        let mut named = self.addresses.range(here).filter_map(|(_, _, id)| self.lines.get(id));
        let known = named.any(|line| line.is_source(realm, path));
        debug_assert_eq!(known, self.lines.values().any(|line| line.is_source(realm, path)));
        known || self.engine.former.contains_key(&(realm, address))
    }

    /// To be called after whatever may change the addresses of a trunk, its end included.
    pub(super) fn note_addresses(&mut self, id: TrunkId) {
        self.addresses.retain(|(_, _, of)| *of != id);
        if let Some(line) = self.lines.get(&id) {
            let realm = line.trunk.realm;
            self.addresses.extend(line.addresses().map(|address| (realm, address, id)));
        }
    }

    /// Where carriers are.
    pub(crate) fn sources(&self) -> BTreeSet<Source> {
        let enabled = self.lines.values().filter(|line| line.trunk.enabled);
        enabled.flat_map(Line::addresses).map(Source::from).collect()
    }

    pub(super) fn realm_of(&self, path: Path) -> Option<RealmId> {
        self.engine.flows.get(&path.flow).map(|opened| opened.realm)
    }
}

impl Line {
    /// From an address of the trunk, on its realm, over a transport as good as its own.
    pub(super) fn is_source(&self, realm: RealmId, path: Path) -> bool {
        realm == self.trunk.realm
            && self.speaks(path.flow.transport)
            && self.has_address(path.remote.ip())
    }

    /// What is configured, what the host says itself, and what the look-ups brought.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let host = self.trunk.host.trim_start_matches('[').trim_end_matches(']');
        let literal = host.parse::<IpAddr>().ok();
        let known = self.trunk.sources.iter().copied().chain(literal);
        known.chain(self.places.addresses()).map(|address| address.to_canonical())
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses().any(|known| known == address)
    }

    /// A transport no weaker than the trunk's: its TLS trunk can't be impersonated over UDP.
    fn speaks(&self, transport: Transport) -> bool {
        let least = match self.trunk.transport {
            Some(transport) => Some(transport),
            None => self.places.transports().min_by_key(|transport| strength(*transport)),
        };
        least.is_some_and(|least| strength(transport) >= strength(least))
    }
}

/// How hard it is to write somebody else's address: on UDP not at all, on TCP one must see the answers.
fn strength(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp | Transport::Ws => 1,
        Transport::Tls | Transport::Wss => 2,
    }
}
