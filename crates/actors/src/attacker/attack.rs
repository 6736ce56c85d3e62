//! What an intruder tries, as data.

use std::net::SocketAddr;

use bytes::Bytes;
use sip::Method;

use super::target::Ours;

/// One thing to try. Each is a finite list of messages; see [`super::AttackerSettings`] for how fast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attack {
    /// Who is there? For each extension OPTIONS, REGISTER, INVITE and a request of a random shape,
    /// under the names of known scanners.
    Scan { extensions: Vec<String> },
    /// Which extensions exist? One request each; what tells them apart is a difference in the answers.
    Enumerate { method: Method, extensions: Vec<String> },
    /// Registers with one secret after another, answering each challenge.
    Guess { extension: String, secrets: Vec<String> },
    /// Sends a captured message again, byte for byte.
    Replay { request: Bytes, times: u32 },
    /// Speaks into a call of others: BYE, CANCEL, re-INVITE to an address of the intruder, REFER to a
    /// premium number, UPDATE, INFO, each from both sides and with a guessed and an overheard tag.
    Forge { dialog: Overheard },
    /// Every message of [`super::malformed`]'s catalogue.
    Malformed,
    /// Messages that two readers may cut differently, each with an INVITE hidden inside.
    Smuggle,
    /// Puts a contact of the intruder's, or none at all, on somebody's account. `captured` is an
    /// Authorization value that was overheard.
    Hijack { extension: String, captured: Option<String> },
    /// Calls these numbers in the name of an extension, without a credential.
    Dial { extension: String, numbers: Vec<String> },
    /// Packets at a media address, while others talk.
    Media { to: Ours, with: MediaAttack, packets: u32 },
    /// As many requests as the settings allow, each from another caller.
    Flood { method: Method, messages: u32 },
    /// Connections that begin a message and never end it.
    Half { connections: u32 },
}

/// What is sent at a media address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaAttack {
    /// Plain RTP: audio of the intruder's, or an invitation to bleed (whoever answers the last sender
    /// sends him the call).
    Rtp { ssrc: u32, sequence: u16 },
    /// Captured packets, in turn, from the intruder's address.
    Replay { packets: Vec<Vec<u8>> },
    /// RTCP: BYE for the source, and a report that says everything was lost.
    Rtcp { ssrc: u32 },
    /// Binding requests without a password.
    Stun,
    /// Random bytes.
    Noise,
}

/// What somebody on the path knows of a dialog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overheard {
    pub call_id: String,
    /// The caller: an address as it stands in From, without its tag.
    pub caller: String,
    pub caller_tag: String,
    pub callee: String,
    /// As it stands in To; of a dialog that isn't established, empty.
    pub callee_tag: String,
    /// Of the INVITE.
    pub cseq: u32,
    /// Of the INVITE's topmost Via: CANCEL is matched by it.
    pub branch: String,
    /// The Request-URI that the call was sent to.
    pub uri: String,
}

impl Attack {
    /// In events and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scan { .. } => "scan",
            Self::Enumerate { .. } => "enumerate",
            Self::Guess { .. } => "guess",
            Self::Replay { .. } => "replay",
            Self::Forge { .. } => "forge",
            Self::Malformed => "malformed",
            Self::Smuggle => "smuggle",
            Self::Hijack { .. } => "hijack",
            Self::Dial { .. } => "dial",
            Self::Media { .. } => "media",
            Self::Flood { .. } => "flood",
            Self::Half { .. } => "half",
        }
    }
}

/// A request in the making: what an intruder writes, without asking any parser.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) method: String,
    pub(super) uri: String,
    /// Addresses with their tags.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) branch: String,
    pub(super) agent: String,
    /// Further header lines, each with its line end.
    pub(super) extra: String,
    pub(super) body: String,
}

impl Draft {
    pub(super) fn print(&self, transport: sip::Transport, local: SocketAddr) -> String {
        let Self { method, uri, from, to, call_id, cseq, branch, agent, extra, body } = self;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let (transport, len) = (transport.as_str(), body.len());
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch={branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nUser-Agent: {agent}\r\n{extra}{kind}Content-Length: {len}\r\n\
             \r\n{body}"
        )
    }
}

/// An offer of the intruder's: plain RTP to an address of his.
pub(super) fn offer(at: SocketAddr) -> String {
    let (ip, family) = (at.ip(), if at.is_ipv4() { "IP4" } else { "IP6" });
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
}

/// As known scanners call themselves; the empty one is the shape of those that call themselves
/// nothing.
pub(super) const AGENTS: [&str; 7] = [
    "friendly-scanner",
    "sipcli/v1.8",
    "sipvicious",
    "VaxSIPUserAgent/3.1",
    "eyeBeam release 3006o stamp 17551",
    "PBX",
    "",
];
