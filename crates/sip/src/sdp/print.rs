//! Canonical SDP: one order of lines, one spelling (RFC 8866 §5).

use super::{Candidate, Crypto, Fingerprint, Media, Session, SessionParam};
use base64::Engine as _;
use std::fmt::Write as _;
use std::net::IpAddr;

pub(super) fn session(session: &Session) -> String {
    let mut out = String::with_capacity(512);
    let o = &session.origin;
    let family = if o.is_ipv6 { "IP6" } else { "IP4" };
    line(&mut out, format_args!("v=0"));
    line(
        &mut out,
        format_args!("o={} {} {} IN {family} {}", o.username, o.session_id, o.version, o.address),
    );
    line(&mut out, format_args!("s=-"));
    connection(&mut out, session.connection);
    line(&mut out, format_args!("t={} {}", session.timing.0, session.timing.1));
    for mids in &session.bundles {
        out.push_str("a=group:BUNDLE");
        for mid in mids {
            let _ = write!(out, " {mid}");
        }
        out.push_str("\r\n");
    }
    if session.ice_lite {
        line(&mut out, format_args!("a=ice-lite"));
    }
    if let Some(direction) = session.direction {
        line(&mut out, format_args!("a={}", direction.as_str()));
    }
    if let Some(ufrag) = &session.ice_ufrag {
        line(&mut out, format_args!("a=ice-ufrag:{ufrag}"));
    }
    if let Some(pwd) = &session.ice_pwd {
        line(&mut out, format_args!("a=ice-pwd:{}", pwd.expose()));
    }
    fingerprints(&mut out, &session.fingerprints);
    if let Some(setup) = session.setup {
        line(&mut out, format_args!("a=setup:{}", setup.as_str()));
    }
    for media in &session.media {
        print_media(&mut out, media);
    }
    out
}

fn print_media(out: &mut String, media: &Media) {
    let _ = write!(out, "m={} {} {}", media.kind.as_str(), media.port, media.proto.as_str());
    for format in &media.formats {
        let _ = write!(out, " {}", format.id);
    }
    out.push_str("\r\n");
    connection(out, media.connection);
    if let Some(mid) = &media.mid {
        line(out, format_args!("a=mid:{mid}"));
    }
    for format in &media.formats {
        if let Some(map) = &format.rtpmap {
            let _ = write!(out, "a=rtpmap:{} {}/{}", format.id, map.encoding, map.clock);
            if let Some(channels) = map.channels {
                let _ = write!(out, "/{channels}");
            }
            out.push_str("\r\n");
        }
        if let Some(fmtp) = &format.fmtp {
            line(out, format_args!("a=fmtp:{} {fmtp}", format.id));
        }
    }
    if let Some(ptime) = media.ptime {
        line(out, format_args!("a=ptime:{ptime}"));
    }
    if let Some(maxptime) = media.maxptime {
        line(out, format_args!("a=maxptime:{maxptime}"));
    }
    if let Some(direction) = media.direction {
        line(out, format_args!("a={}", direction.as_str()));
    }
    if let Some(rtcp) = media.rtcp {
        match rtcp.address {
            Some(ip) => line(out, format_args!("a=rtcp:{} IN {} {ip}", rtcp.port, family(ip))),
            None => line(out, format_args!("a=rtcp:{}", rtcp.port)),
        }
    }
    if media.rtcp_mux {
        line(out, format_args!("a=rtcp-mux"));
    }
    for crypto in &media.crypto {
        print_crypto(out, crypto);
    }
    if let Some(ufrag) = &media.ice_ufrag {
        line(out, format_args!("a=ice-ufrag:{ufrag}"));
    }
    if let Some(pwd) = &media.ice_pwd {
        line(out, format_args!("a=ice-pwd:{}", pwd.expose()));
    }
    fingerprints(out, &media.fingerprints);
    if let Some(setup) = media.setup {
        line(out, format_args!("a=setup:{}", setup.as_str()));
    }
    for candidate in &media.candidates {
        print_candidate(out, candidate);
    }
    if media.end_of_candidates {
        line(out, format_args!("a=end-of-candidates"));
    }
}

fn print_crypto(out: &mut String, crypto: &Crypto) {
    let _ = write!(out, "a=crypto:{} {} ", crypto.tag, crypto.suite.as_str());
    for (i, key) in crypto.keys.iter().enumerate() {
        out.push_str(if i == 0 { "inline:" } else { ";inline:" });
        base64::engine::general_purpose::STANDARD.encode_string(key.key_salt.expose(), out);
        if let Some(lifetime) = key.lifetime {
            let _ = write!(out, "|{lifetime}");
        }
        if let Some(mki) = key.mki {
            let _ = write!(out, "|{}:{}", mki.value, mki.len);
        }
    }
    for param in &crypto.params {
        let _ = match param {
            SessionParam::Kdr(power) => write!(out, " KDR={power}"),
            SessionParam::UnencryptedSrtp => write!(out, " UNENCRYPTED_SRTP"),
            SessionParam::UnencryptedSrtcp => write!(out, " UNENCRYPTED_SRTCP"),
            SessionParam::UnauthenticatedSrtp => write!(out, " UNAUTHENTICATED_SRTP"),
            SessionParam::Wsh(size) => write!(out, " WSH={size}"),
            SessionParam::Unknown(word) => write!(out, " {word}"),
        };
    }
    out.push_str("\r\n");
}

fn print_candidate(out: &mut String, c: &Candidate) {
    let _ = write!(
        out,
        "a=candidate:{} {} UDP {} {} {} typ {}",
        c.foundation,
        c.component,
        c.priority,
        c.address,
        c.port,
        c.kind.as_str()
    );
    if let Some((ip, port)) = c.related {
        let _ = write!(out, " raddr {ip} rport {port}");
    }
    out.push_str("\r\n");
}

fn fingerprints(out: &mut String, fingerprints: &[Fingerprint]) {
    for fingerprint in fingerprints {
        let _ = write!(out, "a=fingerprint:{} ", fingerprint.hash.as_str());
        for (i, byte) in fingerprint.digest.iter().enumerate() {
            let _ = write!(out, "{}{byte:02X}", if i == 0 { "" } else { ":" });
        }
        out.push_str("\r\n");
    }
}

fn connection(out: &mut String, address: Option<IpAddr>) {
    if let Some(ip) = address {
        line(out, format_args!("c=IN {} {ip}", family(ip)));
    }
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv6() { "IP6" } else { "IP4" }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push_str("\r\n");
}
