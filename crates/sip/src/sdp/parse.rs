//! Reading a session description (RFC 8866 §9), line by line, once.

use super::{
    CANDIDATES_MAX, CRYPTO_MAX, Candidate, CandidateKind, Crypto, Direction, FINGERPRINTS_MAX,
    FORMATS_MAX, Fingerprint, Format, Hash, KEYS_MAX, Key, MEDIA_MAX, Media, MediaKind, Mki,
    Origin, Proto, Rtcp, RtpMap, SDP_MAX, Secret, SecretWord, Session, SessionParam, Setup, Suite,
    Text, Word,
};
use crate::{Violation, ascii};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn session(body: &[u8]) -> Result<Session, Violation> {
    if body.len() > SDP_MAX {
        return Err(Violation::SdpTooLong);
    }
    let text = std::str::from_utf8(body).map_err(|_| Violation::Sdp)?;
    let mut lines = Lines { rest: text };

    // `v=`, `o=` and `s=` begin every description, in this order.
    if lines.next()? != Some(('v', "0")) {
        return Err(Violation::Sdp);
    }
    let origin = match lines.next()? {
        Some(('o', value)) => origin(value)?,
        _ => return Err(Violation::Sdp),
    };
    match lines.next()? {
        Some(('s', _)) => {}
        _ => return Err(Violation::Sdp),
    }
    let mut session = Session::new(origin);
    let mut timing = None;
    while let Some((kind, value)) = lines.next()? {
        match (kind, session.media.last_mut()) {
            ('m', _) => {
                if session.media.len() == MEDIA_MAX {
                    return Err(Violation::SdpTooLong);
                }
                session.media.push(media(value)?);
            }
            ('a', Some(media)) => media_attribute(media, value)?,
            ('a', None) => session_attribute(&mut session, value)?,
            ('c', Some(media)) => once(&mut media.connection, connection(value)?)?,
            ('c', None) => once(&mut session.connection, connection(value)?)?,
            ('t', None) => once(&mut timing, read_timing(value)?)?,
            // Read by nobody here; their presence is no fault (RFC 8866 §5.4 to §5.12). `k=` is a key
            // in clear that nobody may use any more.
            ('i' | 'b' | 'k', _) | ('u' | 'e' | 'p' | 'r' | 'z', None) => {}
            // "MUST completely ignore any session description that contains a type letter that it
            // does not understand" (RFC 8866 §5); and those known stand in their place or nowhere.
            _ => return Err(Violation::Sdp),
        }
    }
    session.timing = timing.ok_or(Violation::Sdp)?;
    let unreachable = |media: &Media| media.port != 0 && media.connection.is_none();
    if session.connection.is_none() && session.media.iter().any(unreachable) {
        return Err(Violation::SdpNoConnection);
    }
    judge_mids(&session)?;
    Ok(session)
}

struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// The next `x=value`. Lines end in CR LF, or in LF alone, which RFC 8866 §5 has readers accept.
    fn next(&mut self) -> Result<Option<(char, &'a str)>, Violation> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (line, rest) = ascii::cut(self.rest, b'\n').ok_or(Violation::Sdp)?;
        self.rest = rest;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if memchr::memchr2(0, b'\r', line.as_bytes()).is_some() {
            return Err(Violation::Sdp);
        }
        match line.as_bytes() {
            [kind @ b'a'..=b'z', b'=', ..] => Ok(Some((char::from(*kind), &line[2..]))),
            _ => Err(Violation::Sdp),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Violation> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Violation::SdpRepeated),
    }
}

fn flag(slot: &mut bool) -> Result<(), Violation> {
    if std::mem::replace(slot, true) { Err(Violation::SdpRepeated) } else { Ok(()) }
}

fn number(text: &str, max: u64) -> Result<u64, Violation> {
    ascii::number(text.as_bytes(), max).ok_or(Violation::Sdp)
}

fn words<const N: usize>(value: &str) -> Result<[&str; N], Violation> {
    let mut out = [""; N];
    let (last, others) = out.split_last_mut().ok_or(Violation::Sdp)?;
    let mut rest = value;
    for slot in others {
        (*slot, rest) =
            ascii::cut(rest, b' ').filter(|(w, _)| !w.is_empty()).ok_or(Violation::Sdp)?;
    }
    if rest.is_empty() || rest.contains(' ') {
        return Err(Violation::Sdp);
    }
    *last = rest;
    Ok(out)
}

fn origin(value: &str) -> Result<Origin, Violation> {
    let [username, id, version, net, family, address] = words(value)?;
    if net != "IN" || !matches!(family, "IP4" | "IP6") {
        return Err(Violation::Sdp);
    }
    Ok(Origin {
        // Visible text of any script is legal here; what is not ASCII identifies no less as "-".
        username: Word::new(username).or_else(|_| Word::new("-"))?,
        session_id: number(id, u64::MAX)?,
        version: number(version, u64::MAX)?,
        address: Word::new(address)?,
        is_ipv6: family == "IP6",
    })
}

/// An address of one host, not a name and not one of many: whoever is called sends to one place. The
/// unspecified address is read, since it means hold (RFC 2543 §B.5).
fn connection(value: &str) -> Result<IpAddr, Violation> {
    let [net, family, address] = words(value)?;
    let ip: IpAddr = address.parse().map_err(|_| Violation::Sdp)?;
    let many = ip.to_canonical();
    if many.is_multicast() || many == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(Violation::Sdp);
    }
    match (net, family, ip) {
        ("IN", "IP4", IpAddr::V4(_)) | ("IN", "IP6", IpAddr::V6(_)) => Ok(ip),
        _ => Err(Violation::Sdp),
    }
}

fn read_timing(value: &str) -> Result<(u64, u64), Violation> {
    let [start, stop] = words(value)?;
    Ok((number(start, u64::MAX)?, number(stop, u64::MAX)?))
}

fn media(value: &str) -> Result<Media, Violation> {
    let mut parts = value.split(' ');
    let mut next = || parts.next().filter(|p| !p.is_empty()).ok_or(Violation::Sdp);
    let kind = match next()? {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        "text" => MediaKind::Text,
        "application" => MediaKind::Application,
        "message" => MediaKind::Message,
        "image" => MediaKind::Image,
        other => MediaKind::Other(Word::new(other)?),
    };
    // `port/count` asks for several streams at once: which of them is meant nobody agrees on.
    let port = number(next()?, 65_535)? as u16;
    let proto = match next()? {
        "RTP/AVP" => Proto::RtpAvp,
        "RTP/AVPF" => Proto::RtpAvpf,
        "RTP/SAVP" => Proto::RtpSavp,
        "RTP/SAVPF" => Proto::RtpSavpf,
        "UDP/TLS/RTP/SAVP" => Proto::UdpTlsRtpSavp,
        "UDP/TLS/RTP/SAVPF" => Proto::UdpTlsRtpSavpf,
        other => Proto::Other(Word::new(other)?),
    };
    let mut formats: Vec<Format> = Vec::new();
    for id in parts {
        if formats.len() == FORMATS_MAX {
            return Err(Violation::SdpTooLong);
        }
        let format = Format { id: Word::new(id)?, rtpmap: None, fmtp: None };
        if proto.is_rtp() && format.payload().is_none() {
            return Err(Violation::Sdp);
        }
        // Bounded by FORMATS_MAX: comparing each with each stays cheap.
        if formats.iter().any(|f| f.same_id(&format)) {
            return Err(Violation::SdpRepeated);
        }
        formats.push(format);
    }
    if formats.is_empty() {
        return Err(Violation::Sdp);
    }
    Ok(Media::new(kind, port, proto, formats))
}

impl Format {
    /// `08` and `8` are one payload type.
    fn same_id(&self, other: &Self) -> bool {
        self.id == other.id || (self.payload().is_some() && self.payload() == other.payload())
    }
}

fn session_attribute(session: &mut Session, value: &str) -> Result<(), Violation> {
    let (name, value) = attribute(value);
    match name {
        "sendrecv" | "sendonly" | "recvonly" | "inactive" => {
            once(&mut session.direction, direction(name))
        }
        "fingerprint" => push_fingerprint(&mut session.fingerprints, value),
        "setup" => once(&mut session.setup, setup(value)?),
        "ice-lite" => flag(&mut session.ice_lite),
        "ice-ufrag" => once(&mut session.ice_ufrag, ice_word(value, 4)?),
        "ice-pwd" => once(&mut session.ice_pwd, ice_pwd(value)?),
        "group" => match value.strip_prefix("BUNDLE") {
            Some(mids) => push_bundle(&mut session.bundles, mids),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn push_bundle(bundles: &mut Vec<Vec<Word>>, mids: &str) -> Result<(), Violation> {
    let mids = mids.split(' ').skip(1).map(Word::new).collect::<Result<Vec<_>, _>>()?;
    if mids.len() > MEDIA_MAX || bundles.len() == MEDIA_MAX {
        return Err(Violation::SdpTooLong);
    }
    bundles.push(mids);
    Ok(())
}

fn media_attribute(media: &mut Media, value: &str) -> Result<(), Violation> {
    let (name, value) = attribute(value);
    match name {
        "sendrecv" | "sendonly" | "recvonly" | "inactive" => {
            once(&mut media.direction, direction(name))
        }
        "rtpmap" => {
            let (id, value) = ascii::cut(value, b' ').ok_or(Violation::Sdp)?;
            match find(media, id) {
                Some(format) => once(&mut format.rtpmap, rtpmap(ascii::trim(value))?),
                // A map for a format that the m= line does not offer says nothing.
                None => Ok(()),
            }
        }
        "fmtp" => {
            let (id, value) = ascii::cut(value, b' ').ok_or(Violation::Sdp)?;
            match find(media, id) {
                Some(format) => once(&mut format.fmtp, Text::new(value)?),
                None => Ok(()),
            }
        }
        "ptime" => once(&mut media.ptime, milliseconds(value)?),
        "maxptime" => once(&mut media.maxptime, milliseconds(value)?),
        "rtcp" => once(&mut media.rtcp, rtcp(value)?),
        "rtcp-mux" => flag(&mut media.rtcp_mux),
        "crypto" => push_crypto(&mut media.crypto, value),
        "fingerprint" => push_fingerprint(&mut media.fingerprints, value),
        "setup" => once(&mut media.setup, setup(value)?),
        "ice-ufrag" => once(&mut media.ice_ufrag, ice_word(value, 4)?),
        "ice-pwd" => once(&mut media.ice_pwd, ice_pwd(value)?),
        "candidate" => {
            if let Some(candidate) = candidate(value)?
                && media.candidates.len() < CANDIDATES_MAX
            {
                media.candidates.push(candidate);
            }
            Ok(())
        }
        "end-of-candidates" => flag(&mut media.end_of_candidates),
        "mid" => once(&mut media.mid, Word::new(value)?),
        _ => Ok(()),
    }
}

fn attribute(value: &str) -> (&str, &str) {
    ascii::cut(value, b':').unwrap_or((value, ""))
}

fn find<'a>(media: &'a mut Media, id: &str) -> Option<&'a mut Format> {
    let payload = ascii::number(id.as_bytes(), 127);
    media.formats.iter_mut().find(|f| {
        f.id.as_str() == id || (payload.is_some() && f.payload().map(u64::from) == payload)
    })
}

fn direction(name: &str) -> Direction {
    match name {
        "sendonly" => Direction::SendOnly,
        "recvonly" => Direction::RecvOnly,
        "inactive" => Direction::Inactive,
        _ => Direction::SendRecv,
    }
}

fn setup(value: &str) -> Result<Setup, Violation> {
    match value {
        "active" => Ok(Setup::Active),
        "passive" => Ok(Setup::Passive),
        "actpass" => Ok(Setup::ActPass),
        "holdconn" => Ok(Setup::HoldConn),
        _ => Err(Violation::Sdp),
    }
}

/// `encoding/clock[/channels]` (RFC 8866 §6.6).
fn rtpmap(value: &str) -> Result<RtpMap, Violation> {
    let mut parts = value.split('/');
    let encoding = Word::new(parts.next().unwrap_or_default())?;
    let clock = number(parts.next().unwrap_or_default(), u64::from(u32::MAX))? as u32;
    let channels = parts.next().map(|c| number(c, 255)).transpose()?.map(|c| c as u8);
    if clock == 0 || channels == Some(0) || parts.next().is_some() {
        return Err(Violation::Sdp);
    }
    Ok(RtpMap { encoding, clock, channels })
}

/// A positive number, with a fraction or without (RFC 8866 §6.4); the fraction is dropped.
fn milliseconds(value: &str) -> Result<u16, Violation> {
    let (whole, fraction) = ascii::cut(value, b'.').unwrap_or((value, "0"));
    number(fraction, u64::MAX)?;
    match number(whole, u64::from(u16::MAX))? {
        0 => Err(Violation::Sdp),
        whole => Ok(whole as u16),
    }
}

fn rtcp(value: &str) -> Result<Rtcp, Violation> {
    let (port, address) = match ascii::cut(value, b' ') {
        None => (value, None),
        Some((port, rest)) => (port, Some(connection(rest)?)),
    };
    match number(port, 65_535)? {
        0 => Err(Violation::Sdp),
        port => Ok(Rtcp { port: port as u16, address }),
    }
}

/// Keys of 30 bytes come without padding, those of 46 with or without: both are read, and stray
/// bits behind the last byte are refused.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn push_crypto(lines: &mut Vec<Crypto>, value: &str) -> Result<(), Violation> {
    let Some(crypto) = crypto(value)? else { return Ok(()) };
    if lines.len() == CRYPTO_MAX {
        return Err(Violation::SdpTooLong);
    }
    if lines.iter().any(|c| c.tag == crypto.tag) {
        return Err(Violation::SdpRepeated);
    }
    lines.push(crypto);
    Ok(())
}

/// `tag suite key-params [session-params]` (RFC 4568 §9.1); `None` for a suite we do not know.
fn crypto(value: &str) -> Result<Option<Crypto>, Violation> {
    let mut words = value.split(' ').filter(|w| !w.is_empty());
    let mut next = || words.next().ok_or(Violation::SdpCrypto);
    // 1*9DIGIT, without leading zeros beyond the number zero itself.
    let tag = next()?;
    let tag = ascii::number(tag.as_bytes(), 999_999_999)
        .filter(|_| tag.len() == 1 || !tag.starts_with('0'))
        .ok_or(Violation::SdpCrypto)? as u32;
    let suite = next()?;
    let keys_text = next()?;
    let Some(suite) = Suite::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(suite))
    else {
        return Ok(None);
    };
    let mut keys: Vec<Key> = Vec::new();
    for text in keys_text.split(';') {
        if keys.len() == KEYS_MAX {
            return Err(Violation::SdpTooLong);
        }
        keys.push(key(suite, text)?);
    }
    judge_mkis(&keys)?;
    let mut params = Vec::new();
    for word in words {
        if params.len() == CRYPTO_MAX {
            return Err(Violation::SdpTooLong);
        }
        params.extend(session_param(word)?);
    }
    Ok(Some(Crypto { tag, suite, keys, params }))
}

/// `inline:<key||salt>[|lifetime][|MKI:length]` (RFC 4568 §6.1).
fn key(suite: Suite, text: &str) -> Result<Key, Violation> {
    let info = text
        .get(..7)
        .filter(|method| method.eq_ignore_ascii_case("inline:"))
        .map(|_| &text[7..])
        .ok_or(Violation::SdpCrypto)?;
    let mut parts = info.split('|');
    let encoded = parts.next().unwrap_or_default();
    let (key_len, salt_len) = suite.key_salt_len();
    let key_salt = Secret::new(BASE64.decode(encoded).map_err(|_| Violation::SdpCrypto)?);
    if key_salt.expose().len() != key_len + salt_len {
        return Err(Violation::SdpCrypto);
    }
    let (mut lifetime, mut mki) = (None, None);
    for part in parts {
        match part.split_once(':') {
            Some((value, len)) if mki.is_none() => mki = Some(read_mki(value, len)?),
            None if lifetime.is_none() && mki.is_none() => lifetime = Some(read_lifetime(part)?),
            _ => return Err(Violation::SdpCrypto),
        }
    }
    Ok(Key { key_salt, lifetime, mki })
}

/// `2^n` or a number of packets, at most 2^48 (RFC 4568 §6.1, RFC 3711 §9.2).
fn read_lifetime(text: &str) -> Result<u64, Violation> {
    let lifetime = match text.strip_prefix("2^") {
        Some(power) => ascii::number(power.as_bytes(), 48).map(|p| 1 << p),
        None => ascii::number(text.as_bytes(), 1 << 48),
    };
    lifetime.filter(|&n| n > 0).ok_or(Violation::SdpCrypto)
}

fn read_mki(value: &str, len: &str) -> Result<Mki, Violation> {
    let len =
        ascii::number(len.as_bytes(), 16).filter(|&n| n > 0).ok_or(Violation::SdpCrypto)? as u8;
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Violation::SdpCrypto);
    }
    let value: u128 = value.parse().map_err(|_| Violation::SdpCrypto)?;
    if len < 16 && value >> (8 * u32::from(len)) != 0 {
        return Err(Violation::SdpCrypto);
    }
    Ok(Mki { value, len })
}

/// Several keys are told apart by their MKIs, which then are of one length and differ
/// (RFC 4568 §6.1).
fn judge_mkis(keys: &[Key]) -> Result<(), Violation> {
    if keys.len() < 2 {
        return Ok(());
    }
    for (i, key) in keys.iter().enumerate() {
        let mki = key.mki.ok_or(Violation::SdpCrypto)?;
        let clash = |k: &Key| k.mki.is_some_and(|m| m.len != mki.len || m.value == mki.value);
        if keys[..i].iter().any(clash) {
            return Err(Violation::SdpCrypto);
        }
    }
    Ok(())
}

fn session_param(word: &str) -> Result<Option<SessionParam>, Violation> {
    let bounded =
        |value: &str, max| ascii::number(value.as_bytes(), max).ok_or(Violation::SdpCrypto);
    Ok(Some(match word.split_once('=') {
        Some(("KDR", power)) => SessionParam::Kdr(bounded(power, 24)? as u8),
        Some(("WSH", size)) => match bounded(size, u64::from(u16::MAX))? {
            0..=63 => return Err(Violation::SdpCrypto),
            size => SessionParam::Wsh(size as u16),
        },
        None if word == "UNENCRYPTED_SRTP" => SessionParam::UnencryptedSrtp,
        None if word == "UNENCRYPTED_SRTCP" => SessionParam::UnencryptedSrtcp,
        None if word == "UNAUTHENTICATED_SRTP" => SessionParam::UnauthenticatedSrtp,
        _ if word.starts_with('-') => return Ok(None),
        _ => SessionParam::Unknown(Word::new(word)?),
    }))
}

fn push_fingerprint(list: &mut Vec<Fingerprint>, value: &str) -> Result<(), Violation> {
    let [name, digits] = words(value)?;
    let hash = match name {
        n if n.eq_ignore_ascii_case("sha-1") => Hash::Sha1,
        n if n.eq_ignore_ascii_case("sha-224") => Hash::Sha224,
        n if n.eq_ignore_ascii_case("sha-256") => Hash::Sha256,
        n if n.eq_ignore_ascii_case("sha-384") => Hash::Sha384,
        n if n.eq_ignore_ascii_case("sha-512") => Hash::Sha512,
        _ => return Ok(()),
    };
    let mut digest = Vec::with_capacity(hash.digest_len());
    for pair in digits.split(':') {
        if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Violation::Sdp);
        }
        digest.push(u8::from_str_radix(pair, 16).map_err(|_| Violation::Sdp)?);
        if digest.len() > hash.digest_len() {
            return Err(Violation::Sdp);
        }
    }
    if digest.len() != hash.digest_len() {
        return Err(Violation::Sdp);
    }
    if list.len() == FINGERPRINTS_MAX {
        return Err(Violation::SdpTooLong);
    }
    list.push(Fingerprint { hash, digest });
    Ok(())
}

/// `ice-char`s: letters, digits, `+` and `/` (RFC 8839 §5.4).
fn ice_word(value: &str, min: usize) -> Result<Word, Violation> {
    let ice_chars = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    if value.len() < min || !ice_chars { Err(Violation::Sdp) } else { Word::new(value) }
}

fn ice_pwd(value: &str) -> Result<SecretWord, Violation> {
    ice_word(value, 22)?;
    SecretWord::new(value)
}

/// `foundation component transport priority address port "typ" type …` (RFC 8839 §5.1); `None` for
/// one we could not use.
fn candidate(value: &str) -> Result<Option<Candidate>, Violation> {
    let mut words = value.split(' ');
    let mut next = || words.next().filter(|w| !w.is_empty()).ok_or(Violation::Sdp);
    let foundation = ice_word(next()?, 1)?;
    let component = number(next()?, 256)? as u16;
    let transport = next()?;
    let priority = number(next()?, u64::from(u32::MAX))? as u32;
    let address = next()?;
    let port = number(next()?, 65_535)? as u16;
    if next()? != "typ" {
        return Err(Violation::Sdp);
    }
    let kind = match next()? {
        "host" => Some(CandidateKind::Host),
        "srflx" => Some(CandidateKind::ServerReflexive),
        "prflx" => Some(CandidateKind::PeerReflexive),
        "relay" => Some(CandidateKind::Relayed),
        _ => None,
    };
    let (mut related_ip, mut related_port) = (None, None);
    while let Some(name) = words.next() {
        let value = words.next().ok_or(Violation::Sdp)?;
        match name {
            "raddr" => once(&mut related_ip, value.parse::<IpAddr>().ok())?,
            "rport" => once(&mut related_port, number(value, 65_535)? as u16)?,
            _ => {}
        }
    }
    let (Some(kind), Ok(address), true) =
        (kind, address.parse(), transport.eq_ignore_ascii_case("UDP"))
    else {
        return Ok(None);
    };
    if component == 0 || port == 0 {
        return Err(Violation::Sdp);
    }
    let related = related_ip.flatten().zip(related_port);
    Ok(Some(Candidate { foundation, component, priority, address, port, kind, related }))
}

/// Mids differ (RFC 5888 §5).
fn judge_mids(session: &Session) -> Result<(), Violation> {
    let mids: Vec<&Word> = session.media.iter().filter_map(|m| m.mid.as_ref()).collect();
    let twice = (1..mids.len()).any(|i| mids[..i].contains(&mids[i]));
    if twice { Err(Violation::SdpRepeated) } else { Ok(()) }
}
