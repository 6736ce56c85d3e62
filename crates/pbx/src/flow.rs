//! Where a message came from and where its answer goes: realms, flows and paths.

use std::net::SocketAddr;

use guard::id::{NodeId, RealmId};

/// How SIP travels. RFC 3261 §18, RFC 7118 for WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

/// One connection, or one UDP socket of ours. Never reused: `generation` counts up for the life of a
/// node's data folder, so a binding that names a dead flow can't reach whoever came after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId {
    pub node: NodeId,
    pub transport: Transport,
    pub generation: u64,
}

/// A flow and the far end's address on it. On connections the address is always the same; a UDP
/// socket has many. A reply goes back on the path of its request (RFC 3581, RFC 3261 §18.2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path {
    pub flow: FlowId,
    pub remote: SocketAddr,
}

/// A connection was accepted (handshake done) or a UDP socket was bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowOpened {
    pub flow: FlowId,
    pub realm: RealmId,
    pub local: SocketAddr,
    /// `None` for a UDP socket of ours.
    pub remote: Option<SocketAddr>,
    pub tls: Option<TlsFacts>,
    /// The Origin header of a WebSocket's HTTP request (browser phones).
    pub origin: Option<String>,
}

/// What the TLS handshake really negotiated: shown per call and per device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: &'static str,
    /// `TLS13_AES_128_GCM_SHA256`
    pub suite: String,
    /// SHA-256 of the client's certificate where it showed one that our authority signed.
    pub peer_certificate: Option<[u8; 32]>,
    pub sni: Option<String>,
}

/// What the exchange must know of a realm to write addresses that the far end can reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Realm {
    pub id: RealmId,
    /// `access`, `core`, `carrier`: for people.
    pub name: String,
    /// Host and port that we write into Via and Contact, per transport that listens.
    pub advertised: Vec<(Transport, String, u16)>,
    /// The same for carriers, where they have a port of their own. Where they have none, as for phones.
    pub for_carriers: Vec<(Transport, String, u16)>,
}

impl Transport {
    /// The word in a Via header.
    pub fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// Whether the transport retransmits by itself, so that transactions need not (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// Whether what is said on it can be read on the way.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }
}
