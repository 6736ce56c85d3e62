//! What goes into the exchange and what comes out: the whole contract between the pure core and
//! whatever drives it (the binary's threads, or a simulated world).
//!
//! Drive it so: `handle` one input, then `poll_output` until `None`, then sleep until `poll_timeout`
//! at the latest and call `handle(now, Input::Wake)`. Outputs must be carried out in order. A ticket
//! comes back exactly once; the exchange gives up on it at a deadline of its own.

use std::fmt;

use bytes::Bytes;
use guard::admission;
use guard::fact::Fact;
use guard::id::{CallId, LegId, RealmId, TenantId};
use rtp::relay;

use crate::command::{Command, Mend, Reply};
use crate::flow::{FlowId, FlowOpened, Path, Transport};
use crate::record::Row;

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// One datagram, or one whole frame of a connection. Never longer than `sip`'s limit.
    Received {
        path: Path,
        bytes: Bytes,
    },
    FlowOpened(FlowOpened),
    /// What came of [`Output::Connect`]. `FlowOpened` of a new connection comes before it.
    Connected {
        ticket: Ticket,
        result: Result<FlowId, ConnectError>,
    },
    FlowClosed {
        flow: FlowId,
    },
    /// A message could not be handed to the network. The flow may live on (UDP).
    TransmitFailed {
        path: Path,
    },
    Persisted {
        ticket: Ticket,
        result: Result<(), PersistError>,
    },
    LookedUp {
        ticket: Ticket,
        answer: Answer,
    },
    Media(relay::Event),
    /// An administrator, or the console, wants something.
    Command {
        ticket: Ticket,
        command: Command,
    },
    /// A deadline of `poll_timeout` has come.
    Wake,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Output {
    Transmit {
        path: Path,
        bytes: Bytes,
    },
    /// Open a connection to a carrier. For UDP: the realm's own socket for carriers, bound where it isn't.
    Connect {
        ticket: Ticket,
        to: Far,
    },
    /// Close a connection: its peer broke the framing, or was replaced.
    CloseFlow {
        flow: FlowId,
    },
    Media(relay::Command),
    Lookup {
        ticket: Ticket,
        query: Query,
    },
    /// Write these rows in one transaction. `ticket` where somebody waits for `Persisted`; facts and
    /// rows keep their order among each other.
    Persist {
        ticket: Option<Ticket>,
        rows: Vec<Row>,
    },
    /// Write these rows, and the facts that say so into the journal, in one transaction or not at all.
    /// `Persisted` follows.
    Change {
        ticket: Ticket,
        tenant: Option<TenantId>,
        rows: Vec<Row>,
        facts: Vec<Fact>,
    },
    /// A fact that a [`Output::Change`] has put into the journal: for the log, metrics and alerts alone.
    Told(Fact),
    /// For the gate before the parser, and for the kernel's table.
    Admission(admission::Change),
    /// For the journal, the log, metrics and alerts. `tenant`: whose it is; `None` where it concerns
    /// the node, or somebody who belongs to nobody.
    Fact {
        tenant: Option<TenantId>,
        fact: Fact,
    },
    /// A message of a leg, for the call's ladder. Secrets and digits are already out of it.
    Trace(Trace),
    Reply {
        ticket: Ticket,
        reply: Reply,
    },
    /// Nothing is up any more after [`Command::Drain`]: the process may end.
    Drained,
}

/// Pairs a question with its answer. Drawn by whoever asks; the two directions never mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The store could not write. Money and policy are refused then, emergency goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PersistError {
    Full,
    Unavailable,
}

/// What takes the world to answer: public keys, DNS, signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// STIR/SHAKEN on the way in: is this Identity header genuine (RFC 8224)?
    VerifyIdentity { identity: Vec<String>, from: String, to: String },
    /// STIR/SHAKEN on the way out: sign for this caller.
    SignIdentity { from: String, to: String, attestation: Attestation },
    /// Where is this server (RFC 3263 §4)? `transport`: `None` asks NAPTR which of `allowed` it wants.
    Locate {
        host: String,
        port: Option<u16>,
        transport: Option<Transport>,
        allowed: Vec<Transport>,
    },
}

/// One place where a server can be reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    pub transport: Transport,
    pub remote: std::net::SocketAddr,
}

/// A carrier's server to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Far {
    pub realm: RealmId,
    pub place: Place,
    /// What its certificate must name (RFC 5922 §7.1), and SNI.
    pub name: String,
    /// PEM of the authority to trust instead of the public ones.
    pub authority: Option<String>,
}

/// Why a connection could not be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// Nobody listens, or no way leads there.
    Unreachable(String),
    /// The certificate doesn't prove the name, or the handshake failed: in words.
    Tls {
        why: String,
        mend: Mend,
    },
    TimedOut,
    /// Our own bound, or no socket to be had.
    Refused(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the carrier can't be reached: {why}"),
            Self::Tls { why, .. } => write!(f, "the encrypted connection failed: {why}"),
            Self::TimedOut => f.write_str("the connection timed out"),
            Self::Refused(why) => write!(f, "no connection could be opened here: {why}"),
        }
    }
}

impl std::error::Error for ConnectError {}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Identity(Attestation),
    Signature(String),
    /// In the order in which they are to be tried.
    Located(Vec<Place>),
    Failed,
}

/// How far somebody vouches for a caller's number (ATIS-1000074). It crosses from leg to leg with
/// the caller's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attestation {
    /// The number is the caller's own.
    Full,
    /// The customer is known, the number isn't proved.
    Partial,
    /// Only the gateway of entry is known.
    Gateway,
    #[default]
    None,
}

/// One message as the ladder shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    pub tenant: TenantId,
    pub call: CallId,
    pub leg: LegId,
    pub utc: pure::Utc,
    pub sent: bool,
    /// The message with credentials, keys and digits struck out.
    pub text: String,
}
