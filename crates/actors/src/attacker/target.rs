//! What may be attacked: our own system, and nothing that a packet could reach by mistake.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address that belongs to this machine or to nobody. There is no other way to make one, and the
/// attacker sends to nothing else, so it can't be aimed at somebody's telephone system, whatever
/// configuration or argument it is given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ours(SocketAddr);

/// The system under attack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Where its signalling listens.
    pub address: Ours,
    /// The host that stands in URIs. It is never looked up.
    pub domain: String,
}

/// The address may be somebody else's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOurs(pub SocketAddr);

impl Ours {
    /// On this machine.
    ///
    /// # Errors
    /// Everything outside 127.0.0.0/8 and `::1`.
    pub fn loopback(address: SocketAddr) -> Result<Self, NotOurs> {
        match address.ip().to_canonical().is_loopback() {
            true => Ok(Self(address)),
            false => Err(NotOurs(address)),
        }
    }

    /// In a simulated world: an address that is reserved for documentation or benchmarks (RFC 5737,
    /// RFC 3849, RFC 2544), which no router of the Internet forwards. Were such a world wired to real
    /// sockets, its packets would still reach nobody.
    ///
    /// # Errors
    /// Every address that somebody may have, private ones among them: those are people's offices.
    pub fn simulated(address: SocketAddr) -> Result<Self, NotOurs> {
        let nobodys = match address.ip().to_canonical() {
            IpAddr::V4(ip) => matches!(
                ip.octets(),
                [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18 | 19, _, _]
            ),
            IpAddr::V6(ip) => is_documentation(ip),
        };
        if nobodys { Ok(Self(address)) } else { Err(NotOurs(address)) }
    }

    pub fn get(self) -> SocketAddr {
        self.0
    }
}

impl Target {
    pub fn new(address: Ours, domain: &str) -> Self {
        Self { address, domain: domain.to_owned() }
    }
}

fn is_documentation(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x2001, 0xdb8, ..])
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address that may be somebody else's is never attacked")
    }
}

impl std::error::Error for NotOurs {}
