//! Session descriptions (RFC 8866) as our own typed value.
//!
//! What is not in these types is not passed on: we print from our own parse. A known line that is
//! malformed or ambiguous refuses the whole description; an unknown attribute is dropped. Keys and
//! passwords are in types that show nothing in `Debug` and are wiped when dropped.

mod parse;
mod print;

use crate::{Violation, ascii};
use std::fmt;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// The longest description. A browser's offer with video has about 10 KiB.
pub const SDP_MAX: usize = 32 * 1024;
/// The most media descriptions.
pub const MEDIA_MAX: usize = 16;
/// The most formats of one media description; there are 128 payload types, 35 of them dynamic.
pub const FORMATS_MAX: usize = 64;
/// The most `crypto` lines of one media description. Each suite is offered once, and there are nine.
pub const CRYPTO_MAX: usize = 16;
/// The most keys of one `crypto` line (RFC 4568 §6.1).
pub const KEYS_MAX: usize = 4;
/// The most candidates of one media description (RFC 8839 §5.1); beyond it they are dropped, since
/// the first ones are as good.
pub const CANDIDATES_MAX: usize = 32;
/// The most fingerprints at one level: one per hash function.
pub const FINGERPRINTS_MAX: usize = 8;
/// The longest word: a mid, an ICE user name (RFC 8839 §5.4: 256), a codec name.
pub const WORD_MAX: usize = 256;
/// The longest free text: format parameters of a video codec take some 200 bytes.
pub const TEXT_MAX: usize = 1024;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub origin: Origin,
    /// The address for media that name none of their own.
    pub connection: Option<IpAddr>,
    /// Start and stop; `0 0` for a session without bounds.
    pub timing: (u64, u64),
    pub direction: Option<Direction>,
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Option<Setup>,
    pub ice_lite: bool,
    pub ice_ufrag: Option<Word>,
    pub ice_pwd: Option<SecretWord>,
    /// The mids of `a=group:BUNDLE` (RFC 9143), one list a group.
    pub bundles: Vec<Vec<Word>>,
    pub media: Vec<Media>,
}

/// `o=` (RFC 8866 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub username: Word,
    pub session_id: u64,
    pub version: u64,
    /// An address or a host name: it identifies, nothing is sent there.
    pub address: Word,
    pub is_ipv6: bool,
}

/// One media description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub kind: MediaKind,
    /// 0 refuses or disables the media (RFC 3264 §6).
    pub port: u16,
    pub proto: Proto,
    pub formats: Vec<Format>,
    pub connection: Option<IpAddr>,
    pub direction: Option<Direction>,
    /// Milliseconds, never 0.
    pub ptime: Option<u16>,
    /// Milliseconds, never 0.
    pub maxptime: Option<u16>,
    pub rtcp: Option<Rtcp>,
    pub rtcp_mux: bool,
    pub crypto: Vec<Crypto>,
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Option<Setup>,
    pub ice_ufrag: Option<Word>,
    pub ice_pwd: Option<SecretWord>,
    pub candidates: Vec<Candidate>,
    pub end_of_candidates: bool,
    pub mid: Option<Word>,
}

/// One media description with what the session level says for it.
#[derive(Clone, Copy, Debug)]
pub struct Effective<'a> {
    pub session: &'a Session,
    pub media: &'a Media,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Audio,
    Video,
    Text,
    Application,
    Message,
    Image,
    Other(Word),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proto {
    RtpAvp,
    RtpAvpf,
    RtpSavp,
    RtpSavpf,
    UdpTlsRtpSavp,
    UdpTlsRtpSavpf,
    Other(Word),
}

/// A format of the `m=` line with its `rtpmap` and `fmtp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The payload type for RTP, a media type or other word else.
    pub id: Word,
    pub rtpmap: Option<RtpMap>,
    pub fmtp: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpMap {
    /// Compare without case (RFC 4855 §3).
    pub encoding: Word,
    /// Hertz, never 0.
    pub clock: u32,
    pub channels: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// `a=rtcp` (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    pub port: u16,
    pub address: Option<IpAddr>,
}

/// One `crypto` line of a suite we know (RFC 4568 §9.1, RFC 6188, RFC 7714). Lines of other suites
/// are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    pub tag: u32,
    pub suite: Suite,
    pub keys: Vec<Key>,
    pub params: Vec<SessionParam>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AesCm192HmacSha1_80,
    AesCm192HmacSha1_32,
    AesCm256HmacSha1_80,
    AesCm256HmacSha1_32,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

/// Master key and salt with lifetime and MKI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Key and salt, as long as the suite says ([`Suite::key_salt_len`]).
    pub key_salt: Secret,
    /// Packets.
    pub lifetime: Option<u64>,
    pub mki: Option<Mki>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    pub value: u128,
    /// 1 to 16 bytes on the wire: we refuse the longer ones that RFC 4568 would allow.
    pub len: u8,
}

/// What a `crypto` line adds (RFC 4568 §6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionParam {
    /// Key derivation rate: 2 to this power.
    Kdr(u8),
    UnencryptedSrtp,
    UnencryptedSrtcp,
    UnauthenticatedSrtp,
    /// Window size hint, at least 64.
    Wsh(u16),
    /// One we do not know and must not use the line with; those marked optional (`-`) are dropped.
    Unknown(Word),
}

/// Bytes that nobody reads by accident: wiped when dropped, absent from `Debug`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// A [`Word`] that nobody reads by accident.
#[derive(Clone)]
pub struct SecretWord(Zeroizing<String>);

/// `a=fingerprint` (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub hash: Hash,
    /// As long as the hash says.
    pub digest: Vec<u8>,
}

/// Hash functions for certificates; fingerprints of others (MD5, MD2) are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// `a=setup` (RFC 4145 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

/// A UDP candidate with an address (RFC 8839 §5.1). Those over TCP or with a host name are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub foundation: Word,
    pub component: u16,
    pub priority: u32,
    pub address: IpAddr,
    pub port: u16,
    pub kind: CandidateKind,
    pub related: Option<(IpAddr, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    Host,
    ServerReflexive,
    PeerReflexive,
    Relayed,
}

/// Visible ASCII without spaces, 1 to [`WORD_MAX`] bytes: cannot break out of its line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Box<str>);

/// Text without controls, 1 to [`TEXT_MAX`] bytes: cannot break out of its line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<str>);

impl Session {
    /// Judges a body.
    ///
    /// # Errors
    /// [`Violation::Sdp`] and its kin.
    pub fn parse(body: &[u8]) -> Result<Self, Violation> {
        parse::session(body)
    }

    /// A session without media, direction or address.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            connection: None,
            timing: (0, 0),
            direction: None,
            fingerprints: Vec::new(),
            setup: None,
            ice_lite: false,
            ice_ufrag: None,
            ice_pwd: None,
            bundles: Vec::new(),
            media: Vec::new(),
        }
    }

    /// Canonical SDP. It holds the keys in clear: for the wire, never for a log.
    pub fn print(&self) -> String {
        print::session(self)
    }

    /// The media descriptions with what they inherit.
    pub fn effective(&self) -> impl Iterator<Item = Effective<'_>> {
        self.media.iter().map(|media| Effective { session: self, media })
    }
}

impl Origin {
    /// An origin of ours, at an address.
    pub fn new(session_id: u64, version: u64, address: IpAddr) -> Self {
        Self {
            username: Word("-".into()),
            session_id,
            version,
            address: Word(address.to_string().into()),
            is_ipv6: address.is_ipv6(),
        }
    }
}

impl Media {
    /// A media description without attributes.
    pub fn new(kind: MediaKind, port: u16, proto: Proto, formats: Vec<Format>) -> Self {
        Self {
            kind,
            port,
            proto,
            formats,
            connection: None,
            direction: None,
            ptime: None,
            maxptime: None,
            rtcp: None,
            rtcp_mux: false,
            crypto: Vec::new(),
            fingerprints: Vec::new(),
            setup: None,
            ice_ufrag: None,
            ice_pwd: None,
            candidates: Vec::new(),
            end_of_candidates: false,
            mid: None,
        }
    }

    /// The format of a payload type.
    pub fn format(&self, payload: u8) -> Option<&Format> {
        self.formats.iter().find(|f| f.payload() == Some(payload))
    }
}

impl<'a> Effective<'a> {
    /// `None` only for media refused by port 0.
    pub fn connection(&self) -> Option<IpAddr> {
        self.media.connection.or(self.session.connection)
    }

    /// `sendrecv` where neither level says (RFC 8866 §6.7).
    pub fn direction(&self) -> Direction {
        self.media.direction.or(self.session.direction).unwrap_or(Direction::SendRecv)
    }

    pub fn fingerprints(&self) -> &'a [Fingerprint] {
        if self.media.fingerprints.is_empty() {
            &self.session.fingerprints
        } else {
            &self.media.fingerprints
        }
    }

    pub fn setup(&self) -> Option<Setup> {
        self.media.setup.or(self.session.setup)
    }

    pub fn ice_ufrag(&self) -> Option<&'a Word> {
        self.media.ice_ufrag.as_ref().or(self.session.ice_ufrag.as_ref())
    }

    pub fn ice_pwd(&self) -> Option<&'a SecretWord> {
        self.media.ice_pwd.as_ref().or(self.session.ice_pwd.as_ref())
    }

    /// Where RTCP goes: beside RTP with mux, to `a=rtcp`, or to the next port (RFC 3550 §11).
    pub fn rtcp_port(&self) -> Option<u16> {
        match (self.media.rtcp_mux, self.media.rtcp) {
            (true, _) => Some(self.media.port),
            (false, Some(rtcp)) => Some(rtcp.port),
            (false, None) => self.media.port.checked_add(1),
        }
    }
}

impl Proto {
    pub fn is_rtp(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// True for the profiles that carry SRTP, keyed by `crypto` lines or by DTLS.
    pub fn is_secure(&self) -> bool {
        self.is_sdes() || self.is_dtls()
    }

    /// `RTP/SAVP` and `RTP/SAVPF`.
    pub fn is_sdes(&self) -> bool {
        matches!(self, Self::RtpSavp | Self::RtpSavpf)
    }

    /// `UDP/TLS/RTP/SAVP` and `UDP/TLS/RTP/SAVPF`.
    pub fn is_dtls(&self) -> bool {
        matches!(self, Self::UdpTlsRtpSavp | Self::UdpTlsRtpSavpf)
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::RtpAvp => "RTP/AVP",
            Self::RtpAvpf => "RTP/AVPF",
            Self::RtpSavp => "RTP/SAVP",
            Self::RtpSavpf => "RTP/SAVPF",
            Self::UdpTlsRtpSavp => "UDP/TLS/RTP/SAVP",
            Self::UdpTlsRtpSavpf => "UDP/TLS/RTP/SAVPF",
            Self::Other(word) => word.as_str(),
        }
    }
}

impl MediaKind {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Text => "text",
            Self::Application => "application",
            Self::Message => "message",
            Self::Image => "image",
            Self::Other(word) => word.as_str(),
        }
    }
}

impl Format {
    /// A format of an RTP profile.
    pub fn rtp(payload: u8, rtpmap: Option<RtpMap>, fmtp: Option<Text>) -> Self {
        Self { id: Word(payload.to_string().into()), rtpmap, fmtp }
    }

    /// The payload type; `None` for formats that are none.
    pub fn payload(&self) -> Option<u8> {
        ascii::number(self.id.as_str().as_bytes(), 127).map(|n| n as u8)
    }
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::SendRecv => Self::SendRecv,
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::Inactive => Self::Inactive,
        }
    }
}

impl Setup {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }
}

impl Suite {
    pub const ALL: [Self; 8] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AesCm192HmacSha1_80,
        Self::AesCm192HmacSha1_32,
        Self::AesCm256HmacSha1_80,
        Self::AesCm256HmacSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm192HmacSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            Self::AesCm192HmacSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of master key and of master salt.
    pub fn key_salt_len(self) -> (usize, usize) {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => (16, 14),
            Self::AesCm192HmacSha1_80 | Self::AesCm192HmacSha1_32 => (24, 14),
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 => (32, 14),
            Self::AeadAes128Gcm => (16, 12),
            Self::AeadAes256Gcm => (32, 12),
        }
    }
}

impl Hash {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of the digest.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl CandidateKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

impl Word {
    /// # Errors
    /// [`Violation::Sdp`] for what is no word, [`Violation::SdpTooLong`] beyond [`WORD_MAX`].
    pub fn new(text: &str) -> Result<Self, Violation> {
        judge_word(text).map(|()| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn judge_word(text: &str) -> Result<(), Violation> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Violation::Sdp);
    }
    if text.len() > WORD_MAX { Err(Violation::SdpTooLong) } else { Ok(()) }
}

impl Text {
    /// Spaces around it are dropped: a reader would drop them too.
    ///
    /// # Errors
    /// [`Violation::Sdp`] for an empty text or a control in it, [`Violation::SdpTooLong`] beyond
    /// [`TEXT_MAX`].
    pub fn new(text: &str) -> Result<Self, Violation> {
        let text = text.trim_matches(' ');
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Violation::Sdp);
        }
        if text.len() > TEXT_MAX { Err(Violation::SdpTooLong) } else { Ok(Self(text.into())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl SecretWord {
    /// # Errors
    /// As [`Word::new`].
    pub fn new(text: &str) -> Result<Self, Violation> {
        judge_word(text).map(|()| Self(Zeroizing::new(text.to_owned())))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Without an early end, so that time does not tell where two secrets differ.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        same_secret(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl PartialEq for SecretWord {
    fn eq(&self, other: &Self) -> bool {
        same_secret(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for SecretWord {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for SecretWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretWord")
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
