//! The words that stand for enum values at rest. They never change, whatever the program calls its
//! variants; a word nobody knows (a newer program wrote it, or a hand) reads as `None`.

use guard::gate::{Algorithm, Origin, Proof, Responsible};
use guard::id::{RoleId, TenantId, TrunkId};
use guard::ledger::Window;
use guard::policy::Scope;
use pbx::directory::{Exceptions, TrunkMedia};
use pbx::flow::Transport;

pub(crate) fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Ws => "ws",
        Transport::Wss => "wss",
    }
}

pub(crate) fn to_transport(word: &str) -> Option<Transport> {
    Some(match word {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => return None,
    })
}

pub(crate) fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "md5",
        Algorithm::Sha256 => "sha-256",
    }
}

pub(crate) fn to_algorithm(word: &str) -> Option<Algorithm> {
    Some(match word {
        "md5" => Algorithm::Md5,
        "sha-256" => Algorithm::Sha256,
        _ => return None,
    })
}

pub(crate) fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::Digest(Algorithm::Md5) => "digest:md5",
        Proof::Digest(Algorithm::Sha256) => "digest:sha-256",
        Proof::ClientCertificate => "client-certificate",
        Proof::TrunkAddress => "trunk-address",
        Proof::TrunkContact => "trunk-contact",
        Proof::UpstreamAccepted => "upstream-accepted",
        Proof::Token => "token",
    }
}

pub(crate) fn to_proof(word: &str) -> Option<Proof> {
    Some(match word {
        "client-certificate" => Proof::ClientCertificate,
        "trunk-address" => Proof::TrunkAddress,
        "trunk-contact" => Proof::TrunkContact,
        "upstream-accepted" => Proof::UpstreamAccepted,
        "token" => Proof::Token,
        _ => return word.strip_prefix("digest:").and_then(to_algorithm).map(Proof::Digest),
    })
}

pub(crate) fn responsible(responsible: Responsible) -> String {
    match responsible {
        Responsible::Extension(id) => format!("extension:{id}"),
        Responsible::Trunk(TrunkId(id)) => format!("trunk:{id}"),
        Responsible::System => "system".to_owned(),
    }
}

pub(crate) fn to_responsible(word: &str) -> Option<Responsible> {
    if word == "system" {
        return Some(Responsible::System);
    }
    let (kind, id) = word.split_once(':')?;
    match kind {
        "extension" => id.parse().ok().map(Responsible::Extension),
        "trunk" => id.parse().ok().map(|id| Responsible::Trunk(TrunkId(id))),
        _ => None,
    }
}

pub(crate) fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Phone => "phone",
        Origin::Forward => "forward",
        Origin::RingGroup => "ring-group",
        Origin::Transfer => "transfer",
        Origin::Refer => "refer",
        Origin::Redirect => "redirect",
        Origin::Inbound => "inbound",
        Origin::TrunkToTrunk => "trunk-to-trunk",
        Origin::Voicemail => "voicemail",
        Origin::Alert => "alert",
    }
}

pub(crate) fn to_origin(word: &str) -> Option<Origin> {
    Some(match word {
        "phone" => Origin::Phone,
        "forward" => Origin::Forward,
        "ring-group" => Origin::RingGroup,
        "transfer" => Origin::Transfer,
        "refer" => Origin::Refer,
        "redirect" => Origin::Redirect,
        "inbound" => Origin::Inbound,
        "trunk-to-trunk" => Origin::TrunkToTrunk,
        "voicemail" => Origin::Voicemail,
        "alert" => Origin::Alert,
        _ => return None,
    })
}

pub(crate) fn trunk_media(media: TrunkMedia) -> &'static str {
    match media {
        TrunkMedia::Srtp => "srtp",
        TrunkMedia::DangerousPlain => "dangerous-plain",
    }
}

pub(crate) fn to_trunk_media(word: &str) -> Option<TrunkMedia> {
    Some(match word {
        "srtp" => TrunkMedia::Srtp,
        "dangerous-plain" => TrunkMedia::DangerousPlain,
        _ => return None,
    })
}

/// Whose money a bucket counts.
pub(crate) fn account(account: Scope) -> String {
    match account {
        Scope::Operator => "operator".to_owned(),
        Scope::Tenant(TenantId(id)) => format!("tenant:{id}"),
        Scope::Role(RoleId(id)) => format!("role:{id}"),
        Scope::Extension(id) => format!("extension:{id}"),
        Scope::Trunk(TrunkId(id)) => format!("trunk:{id}"),
    }
}

pub(crate) fn to_account(word: &str) -> Option<Scope> {
    if word == "operator" {
        return Some(Scope::Operator);
    }
    let (kind, id) = word.split_once(':')?;
    match kind {
        "tenant" => id.parse().ok().map(|id| Scope::Tenant(TenantId(id))),
        "role" => id.parse().ok().map(|id| Scope::Role(RoleId(id))),
        "extension" => id.parse().ok().map(Scope::Extension),
        "trunk" => id.parse().ok().map(|id| Scope::Trunk(TrunkId(id))),
        _ => None,
    }
}

pub(crate) fn window(window: Window) -> &'static str {
    match window {
        Window::Hour => "hour",
        Window::Day => "day",
        Window::Week => "week",
    }
}

pub(crate) fn to_window(word: &str) -> Option<Window> {
    Some(match word {
        "hour" => Window::Hour,
        "day" => Window::Day,
        "week" => Window::Week,
        _ => return None,
    })
}

/// The names of what is allowed, separated by spaces; empty where nothing is.
pub(crate) fn exceptions(exceptions: Exceptions) -> &'static str {
    let Exceptions { dangerous_plain_rtp } = exceptions;
    if dangerous_plain_rtp { PLAIN_RTP } else { "" }
}

/// An unknown name allows nothing: what a newer program let pass, this one refuses.
pub(crate) fn to_exceptions(words: &str) -> Exceptions {
    Exceptions { dangerous_plain_rtp: words.split(' ').any(|word| word == PLAIN_RTP) }
}

/// The registered name of an SRTP suite (RFC 4568, RFC 6188, RFC 7714) as the program's own constant.
pub(crate) fn to_suite(name: &str) -> &'static str {
    SUITES.into_iter().find(|known| *known == name).unwrap_or(UNKNOWN_SUITE)
}

/// `00:15:65:aa:bb:cc`
pub(crate) fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

pub(crate) fn to_mac(word: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = word.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

const PLAIN_RTP: &str = "dangerous-plain-rtp";
/// Shown where a newer program wrote a suite that this one has no name for.
const UNKNOWN_SUITE: &str = "encrypted by a suite this version does not know";
const SUITES: [&str; 8] = [
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
];

#[cfg(test)]
mod tests {
    use super::*;
    use guard::id::ExtensionId;

    #[test]
    fn each_word_reads_back() {
        use Transport::{Tcp, Tls, Udp, Ws, Wss};
        for value in [Udp, Tcp, Tls, Ws, Wss] {
            assert_eq!(to_transport(transport(value)), Some(value));
        }
        let proofs = [
            Proof::Digest(Algorithm::Md5),
            Proof::Digest(Algorithm::Sha256),
            Proof::ClientCertificate,
            Proof::TrunkAddress,
            Proof::TrunkContact,
            Proof::UpstreamAccepted,
            Proof::Token,
        ];
        for value in proofs {
            assert_eq!(to_proof(proof(value)), Some(value));
        }
        let all = [
            Responsible::Extension(ExtensionId(7)),
            Responsible::Trunk(TrunkId(7)),
            Responsible::System,
        ];
        for value in all {
            assert_eq!(to_responsible(&responsible(value)), Some(value));
        }
        let origins = [
            Origin::Phone,
            Origin::Forward,
            Origin::RingGroup,
            Origin::Transfer,
            Origin::Refer,
            Origin::Redirect,
            Origin::TrunkToTrunk,
            Origin::Voicemail,
            Origin::Alert,
        ];
        for value in origins {
            assert_eq!(to_origin(origin(value)), Some(value));
        }
        let accounts = [
            Scope::Operator,
            Scope::Tenant(TenantId(7)),
            Scope::Role(RoleId(7)),
            Scope::Extension(ExtensionId(7)),
            Scope::Trunk(TrunkId(7)),
        ];
        for value in accounts {
            assert_eq!(to_account(&account(value)), Some(value));
        }
        for value in [Window::Hour, Window::Day, Window::Week] {
            assert_eq!(to_window(window(value)), Some(value));
        }
        for value in [TrunkMedia::Srtp, TrunkMedia::DangerousPlain] {
            assert_eq!(to_trunk_media(trunk_media(value)), Some(value));
        }
        assert_eq!(
            to_mac(&mac([0, 0x15, 0x65, 0xaa, 0xbb, 0xcc])),
            Some([0, 0x15, 0x65, 0xaa, 0xbb, 0xcc])
        );
        assert_eq!(to_mac("00:15:65:aa:bb:cc:dd"), None);
    }

    #[test]
    fn a_word_of_a_newer_program_allows_nothing() {
        assert_eq!(to_exceptions("dangerous-anything"), Exceptions::default());
        assert!(to_exceptions("dangerous-anything dangerous-plain-rtp").dangerous_plain_rtp);
        assert_eq!(to_suite("AEAD_AES_128_GCM"), "AEAD_AES_128_GCM");
        assert_eq!(to_suite("AEAD_NEXT"), UNKNOWN_SUITE);
    }
}
