//! A known phone registers from a network where its extension was not seen for weeks.
//!
//! *The model.* People work at few places: office, home, the mobile carrier. A network is a /16 of IPv4 or
//! a /48 of IPv6: about as wide as what a home line's or a mobile carrier's DHCP deals out to one
//! place, so that a new lease is no new place. An extension's first place is learned in silence.
//!
//! *What it misses.* A thief in the same /16, which is the same city's line of the same carrier. *What it
//! mistakes:* travel, a new line, a carrier with many networks: a mobile worker may be told a few
//! times in the first weeks. Hence a notice, and no more than one for each network in thirty days.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pure::Utc;

use super::{At, Finding, insert_bounded, source, span};
use crate::fact::{Fact, Severity};
use crate::id::ExtensionId;
use crate::incident::{Key, What};
use crate::source::Source;

#[derive(Debug, Default)]
pub(super) struct NewPlace {
    extensions: BTreeMap<ExtensionId, Places>,
}

#[derive(Debug, Default)]
struct Places {
    networks: BTreeMap<IpAddr, Utc>,
    began: Utc,
    last: Utc,
}

impl NewPlace {
    pub(super) fn observe(&mut self, at: At, fact: &Fact) -> Option<Finding> {
        let (device, extension, address) = match fact {
            Fact::Registered { device, extension, address, .. }
            | Fact::FlowReplaced { device, extension, address } => (*device, *extension, address),
            _ => return None,
        };
        let source = source(address)?;
        let here = network(source);
        let mut places = self.extensions.remove(&extension).unwrap_or_default();
        if places.networks.is_empty() {
            places.began = at.utc;
        }
        let learning = places.networks.is_empty();
        let known = places.networks.get(&here).is_some_and(|seen| at.utc.since(*seen) < REMEMBERED);
        let since = at.utc.since(places.began).min(REMEMBERED);
        insert_bounded(&mut places.networks, here, at.utc, NETWORKS_MAX, |seen| *seen);
        places.last = at.utc;
        insert_bounded(&mut self.extensions, extension, places, EXTENSIONS_MAX, |one| one.last);
        if learning || known {
            return None;
        }
        let days = since.as_secs() / 86_400;
        let looked_back = match days {
            0..2 => span(since),
            days => format!("{days} days"),
        };
        let words = format!(
            "A phone registered from {source}. Within the last {looked_back} this extension was never \
             in that network ({}). A new line, a journey and a mobile network look the same.",
            shown(here)
        );
        let finding =
            Finding::new(at, Key::Device(device), What::NewPlace, Severity::Notice, words);
        Some(Finding { extension: Some(extension), ..finding })
    }
}

fn network(source: Source) -> IpAddr {
    match source.ip() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() >> 16 << 16).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

fn shown(network: IpAddr) -> String {
    match network {
        IpAddr::V4(v4) => format!("{v4}/16"),
        IpAddr::V6(v6) => format!("{v6}/48"),
    }
}

const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// Networks of one extension; at the bound the one it left longest ago is new again.
const NETWORKS_MAX: usize = 16;
/// Extensions whose places are known, some 15 MB; at the bound the one that registered longest ago
/// learns its first place anew, in silence.
const EXTENSIONS_MAX: usize = 10_000;
