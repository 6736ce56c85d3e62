//! One audio line of a peer, read into what a relay needs to know. What we don't know is not passed on.

use std::net::{IpAddr, SocketAddr};

use super::{Refusal, audio_place};
use crate::sdp::{
    Crypto, Direction, Effective, Fingerprint, Format, Proto, Session, SessionParam, Setup, Text,
};

/// What the audio line of a description says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaDescription {
    /// Known codecs by preference, at least one, each coding once.
    pub codecs: Vec<Codec>,
    /// DTMF (RFC 4733), at the clock of the first codec where there is a choice.
    pub telephone_event: Option<TelephoneEvent>,
    /// Seen from the one who wrote it. An address of zeros counts as not receiving (RFC 3264 §8.4).
    pub direction: Direction,
    /// Where it wants RTP; `None` for the old hold by an address of zeros.
    pub rtp: Option<SocketAddr>,
    pub rtcp: Option<SocketAddr>,
    pub rtcp_mux: bool,
    /// Milliseconds.
    pub ptime: Option<u16>,
    pub proto: Proto,
    pub security: Security,
}

/// A codec under its payload type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Codec {
    pub coding: Coding,
    pub payload: u8,
    pub fmtp: Option<Text>,
}

/// The codecs that are known here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Coding {
    Pcmu,
    Pcma,
    G722,
    Opus,
}

/// DTMF as packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TelephoneEvent {
    pub payload: u8,
    pub clock: u32,
    pub fmtp: Option<Text>,
}

/// What protects the stream, as one side describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Security {
    /// The lines that can be used, at least one (RFC 4568). With an `RTP/AVP` profile it is opportunistic
    /// (RFC 8643): the peer would go without.
    Sdes(Vec<Crypto>),
    /// RFC 5763. `setup` is `actpass` where an offer doesn't say.
    Dtls {
        fingerprints: Vec<Fingerprint>,
        setup: Setup,
    },
    Plain,
}

impl MediaDescription {
    /// The first audio line that is open.
    ///
    /// # Errors
    /// [`Refusal::NoAudio`], [`Refusal::NoCommonCodec`] or [`Refusal::NoUsableKeys`].
    pub fn read(session: &Session) -> Result<Self, Refusal> {
        Self::read_line(session, audio_place(session).ok_or(Refusal::NoAudio)?)
    }

    pub(super) fn read_line(session: &Session, place: usize) -> Result<Self, Refusal> {
        let media = session.media.get(place).ok_or(Refusal::NoAudio)?;
        let effective = Effective { session, media };
        let codecs = codecs(&media.formats);
        let first = codecs.first().ok_or(Refusal::NoCommonCodec)?;
        let telephone_event = telephone_event(&media.formats, first.coding.clock());
        let address = effective.connection().filter(|address| !address.is_unspecified());
        let at = |address: Option<IpAddr>, port| address.map(|ip| SocketAddr::new(ip, port));
        let rtcp_address = media.rtcp.and_then(|rtcp| rtcp.address).or(address);
        let rtcp_address = if media.rtcp_mux { address } else { rtcp_address };
        let direction = match (effective.direction(), address) {
            (direction, Some(_)) => direction,
            (direction, None) if direction.sends() => Direction::SendOnly,
            (_, None) => Direction::Inactive,
        };
        Ok(Self {
            telephone_event,
            direction,
            rtp: at(address, media.port),
            rtcp: effective.rtcp_port().and_then(|port| at(rtcp_address, port)),
            rtcp_mux: media.rtcp_mux,
            ptime: media.ptime,
            proto: media.proto.clone(),
            security: security(&effective)?,
            codecs,
        })
    }

    /// Whether its writer put us on hold: it doesn't want to hear us (RFC 3264 §8.4).
    pub fn is_hold(&self) -> bool {
        !self.direction.receives()
    }
}

impl Coding {
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// As in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// The RTP clock in hertz. G.722's is 8000 by an old mistake (RFC 3551 §4.5.2).
    pub fn clock(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// opus is always described with two (RFC 7587 §7).
    pub fn channels(self) -> Option<u8> {
        match self {
            Self::Opus => Some(2),
            Self::Pcmu | Self::Pcma | Self::G722 => None,
        }
    }

    /// By `a=rtpmap`, or by a static payload type that has none (RFC 3551 §6).
    fn of(format: &Format) -> Option<(Self, u8)> {
        let payload = format.payload()?;
        let coding = match &format.rtpmap {
            Some(map) => Self::ALL.into_iter().find(|coding| {
                let channels = map.channels.unwrap_or(1) == coding.channels().unwrap_or(1);
                let named = coding.name().eq_ignore_ascii_case(map.encoding.as_str());
                named && map.clock == coding.clock() && channels
            })?,
            None => match payload {
                0 => Self::Pcmu,
                8 => Self::Pcma,
                9 => Self::G722,
                _ => return None,
            },
        };
        Some((coding, payload))
    }
}

fn codecs(formats: &[Format]) -> Vec<Codec> {
    let mut codecs: Vec<Codec> = Vec::new();
    for format in formats {
        if let Some((coding, payload)) = Coding::of(format)
            && codecs.iter().all(|codec| codec.coding != coding)
        {
            codecs.push(Codec { coding, payload, fmtp: format.fmtp.clone() });
        }
    }
    codecs
}

fn telephone_event(formats: &[Format], clock: u32) -> Option<TelephoneEvent> {
    let events = || {
        formats.iter().filter_map(|format| {
            let map = format.rtpmap.as_ref()?;
            let named = map.encoding.as_str().eq_ignore_ascii_case(TELEPHONE_EVENT);
            let (payload, fmtp) = (format.payload()?, format.fmtp.clone());
            named.then_some(TelephoneEvent { payload, clock: map.clock, fmtp })
        })
    };
    events().find(|event| event.clock == clock).or_else(|| events().next())
}

fn security(effective: &Effective<'_>) -> Result<Security, Refusal> {
    let media = effective.media;
    let fingerprints = effective.fingerprints();
    let usable: Vec<Crypto> = media.crypto.iter().filter(|line| is_usable(line)).cloned().collect();
    // A profile of DTLS takes no keys from the description, whatever else stands there.
    if !media.proto.is_dtls() && !usable.is_empty() {
        return Ok(Security::Sdes(usable));
    }
    if !fingerprints.is_empty() {
        let setup = effective.setup().unwrap_or(Setup::ActPass);
        return Ok(Security::Dtls { fingerprints: fingerprints.to_vec(), setup });
    }
    if media.proto.is_secure() { Err(Refusal::NoUsableKeys) } else { Ok(Security::Plain) }
}

/// One key without an identifier, and nothing that weakens it: we send no MKI and derive keys once.
fn is_usable(line: &Crypto) -> bool {
    let simple = matches!(&line.keys[..], [key] if key.mki.is_none());
    simple
        && line.params.iter().all(|param| match param {
            SessionParam::Wsh(_) | SessionParam::Kdr(0) => true,
            SessionParam::Kdr(_)
            | SessionParam::UnencryptedSrtp
            | SessionParam::UnencryptedSrtcp
            | SessionParam::UnauthenticatedSrtp
            | SessionParam::Unknown(_) => false,
        })
}

/// RFC 4733 §7.1.1.
pub(super) const TELEPHONE_EVENT: &str = "telephone-event";
