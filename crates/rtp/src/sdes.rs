//! SDES: keys that travel in SDP (RFC 4568), made, printed and read.
//!
//! The `sip` crate knows the `a=crypto` line as an attribute; what stands behind `inline:` is read
//! here. It is worth exactly as much as the TLS that carried it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use pure::Chance;
use zeroize::Zeroizing;

use crate::srtp::{MasterKey, Suite};

/// Why key parameters were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Not `inline:`, not base64, or longer than any key.
    Malformed,
    /// Another length than the suite demands.
    Length,
    /// Several keys for one line (RFC 4568 §6.1 allows it with an MKI).
    SeveralKeys,
    /// A master key identifier. It would add bytes to every packet and a second key to choose from;
    /// no phone needs it, since a re-INVITE changes keys.
    Mki,
    /// A lifetime of zero packets, or above the suite's own limit (RFC 3711 §9.2).
    Lifetime,
}

/// A fresh master key for one direction of one leg.
pub fn generate(chance: &mut Chance, suite: Suite) -> MasterKey {
    let mut material = Zeroizing::new([0; MasterKey::MATERIAL_MAX]);
    let material = &mut material[..suite.key_len() + suite.salt_len()];
    chance.fill(material);
    MasterKey::new(suite, material).expect("the length was taken from the suite")
}

/// The key parameters of an `a=crypto` line: `inline:` and base64 (RFC 4568 §9.2).
pub fn print(key: &MasterKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(PRINTED_MAX));
    text.push_str("inline:");
    STANDARD.encode_string(key.reveal(), &mut text);
    text
}

/// Reads what stands behind the suite in an `a=crypto` line: `inline:KEY[|LIFETIME]`.
///
/// A stated lifetime is accepted and not needed: we change keys or end the call long before it.
pub fn parse(suite: Suite, parameters: &str) -> Result<MasterKey, Refused> {
    if parameters.contains(';') {
        return Err(Refused::SeveralKeys);
    }
    let Some((method, rest)) = parameters.split_once(':') else { return Err(Refused::Malformed) };
    if !method.eq_ignore_ascii_case("inline") {
        return Err(Refused::Malformed);
    }
    let mut parts = rest.split('|');
    let encoded = parts.next().unwrap_or_default();
    // Either a lifetime or an MKI may stand first; an MKI is the one with a colon.
    if let Some(part) = parts.next() {
        if part.contains(':') {
            return Err(Refused::Mki);
        }
        check_lifetime(part)?;
    }
    match parts.next() {
        Some(part) if part.contains(':') => return Err(Refused::Mki),
        Some(_) => return Err(Refused::Malformed),
        None => {}
    }
    if encoded.len() > ENCODED_MAX {
        return Err(Refused::Malformed);
    }
    // Padding is required by RFC 4568 §9.2 and left out by some phones for the 46-byte keys.
    let trimmed = encoded.trim_end_matches('=');
    if encoded.len() - trimmed.len() > 2 {
        return Err(Refused::Malformed);
    }
    let mut material = Zeroizing::new([0; MasterKey::MATERIAL_MAX]);
    let len = STANDARD_NO_PAD
        .decode_slice(trimmed, material.as_mut_slice())
        .map_err(|_| Refused::Malformed)?;
    MasterKey::new(suite, &material[..len]).map_err(|_| Refused::Length)
}

fn check_lifetime(text: &str) -> Result<(), Refused> {
    let packets = match text.strip_prefix("2^") {
        Some(exponent) => match exponent.parse::<u32>() {
            Ok(exponent @ 0..=48) => 1 << exponent,
            _ => return Err(Refused::Lifetime),
        },
        None => text.parse::<u64>().map_err(|_| Refused::Malformed)?,
    };
    // A shorter life would have to be watched, and keys changed in mid-call.
    if (LIFETIME_MIN..=1 << 48).contains(&packets) { Ok(()) } else { Err(Refused::Lifetime) }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the key is not inline base64",
            Self::Length => "the key has not the length of its suite",
            Self::SeveralKeys => "several keys in one line",
            Self::Mki => "a master key identifier",
            Self::Lifetime => "a key lifetime that cannot be kept",
        })
    }
}

impl std::error::Error for Refused {}

/// Base64 of 46 bytes, the longest key with salt.
const ENCODED_MAX: usize = 64;

/// `inline:` and the base64, so that the text is never moved while it grows.
const PRINTED_MAX: usize = 7 + ENCODED_MAX;

/// Phones print 2^20, 2^31 or 2^48. The smallest of them lasts 5.8 hours at 50 packets a second.
const LIFETIME_MIN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let mut chance = Chance::from_number(4);
        for suite in Suite::ALL {
            let key = generate(&mut chance, suite);
            assert_eq!(parse(suite, &print(&key)), Ok(key.clone()));
            assert_eq!(parse(suite, print(&key).trim_end_matches('=')), Ok(key.clone()));
            assert_eq!(parse(suite, &format!("{}|2^31", *print(&key))), Ok(key));
        }
    }

    #[test]
    fn the_example_of_rfc_4568() {
        let suite = Suite::AesCm128HmacSha1_80;
        let key = parse(suite, "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20").unwrap();
        assert_eq!(key.reveal(), b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#");
    }

    #[test]
    fn refusals() {
        let suite = Suite::AesCm128HmacSha1_80;
        let key = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
        let check = |text: &str, refused| assert_eq!(parse(suite, text), Err(refused), "{text}");
        check("", Refused::Malformed);
        check("uri:http://x/", Refused::Malformed);
        check("inline:", Refused::Length);
        check("inline:d0Rm dmcm", Refused::Malformed);
        check("inline:d0RmdmcmVCsp", Refused::Length);
        check(&format!("inline:{}", "A".repeat(4_000)), Refused::Malformed);
        check(&format!("{key}|2^20|1:4"), Refused::Mki);
        check(&format!("{key}|1:4"), Refused::Mki);
        check(&format!("{key}|2^49"), Refused::Lifetime);
        check(&format!("{key}|0"), Refused::Lifetime);
        check(&format!("{key}|x"), Refused::Malformed);
        check(&format!("{key}|2^20|"), Refused::Malformed);
        check(&format!("{key};{key}"), Refused::SeveralKeys);
    }
}
