//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22): who knows the password, without saying it.
//!
//! A server issues a nonce ([`Nonces`]), writes a [`Challenge`] for each algorithm it accepts, parses the
//! [`Credentials`] that come back and asks [`Nonces::check`] for a [`Verdict`]. A client (a phone, our side
//! of a trunk) hands the challenges to its [`Client`] and gets the header value to send.
//!
//! What is not spoken here, and why: `auth-int` (it would hash a body that every SBC on the way rewrites;
//! no phone asks for it), the `-sess` algorithms (RFC 8760 §2.1 does not list them for SIP), SHA-512/256
//! (no phone has it), `username*` and `userhash` (an extension is plain ASCII, and a hashed name would make
//! the look-up a scan of all users).

mod client;
mod grammar;
mod nonces;

pub use client::{Client, Refusal};
pub use grammar::{Challenge, Credentials, Fault, PARAMETERS_MAX, Qop, VALUE_LEN_MAX};
pub use nonces::{Attempt, Nonces, NoncesConfig, Verdict};

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The hash of a challenge, ordered by strength.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// Every phone ever made has it. Its use is shown to the operator as a weakness.
    Md5,
    /// RFC 8760 §2.1.
    Sha256,
}

impl Algorithm {
    /// As written in a header.
    pub fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// `None` for an algorithm that is not spoken here.
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256]
            .into_iter()
            .find(|known| known.token().eq_ignore_ascii_case(token))
    }

    /// Bytes of a hash: 16 or 32.
    pub fn hash_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 => 32,
        }
    }

    /// The hash of the parts with a colon between each, the only shape RFC 7616 §3.4 ever hashes.
    fn hash(self, parts: &[&[u8]]) -> Hashed {
        fn feed<H: sha2::Digest>(parts: &[&[u8]], out: &mut [u8]) {
            let mut hasher = H::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    hasher.update(b":");
                }
                hasher.update(part);
            }
            out.copy_from_slice(&hasher.finalize());
        }
        let mut hashed = Hashed { algorithm: self, bytes: [0; HASH_LEN_MAX] };
        let out = &mut hashed.bytes[..self.hash_len()];
        match self {
            Self::Md5 => feed::<Md5>(parts, out),
            Self::Sha256 => feed::<Sha256>(parts, out),
        }
        hashed
    }
}

/// H(user:realm:password), the secret that both sides share (RFC 7616 §3.4.2).
///
/// It is as good as the password within its realm: wiped when dropped, compared in constant time, silent
/// in `Debug`, and never readable again.
#[derive(Clone)]
pub struct Ha1(Hashed);

impl Ha1 {
    /// From the password itself.
    pub fn derive(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> Self {
        Self(algorithm.hash(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]))
    }

    /// From an HA1 stored elsewhere (imported from another system): 16 bytes for MD5, 32 for SHA-256.
    pub fn from_bytes(algorithm: Algorithm, stored: &[u8]) -> Option<Self> {
        let mut hashed = Hashed { algorithm, bytes: [0; HASH_LEN_MAX] };
        (stored.len() == algorithm.hash_len()).then(|| {
            hashed.bytes[..stored.len()].copy_from_slice(stored);
            Self(hashed)
        })
    }

    /// The secret of a user that doesn't exist: nobody knows it, and it is the same at each attempt.
    ///
    /// With it an unknown user takes the path of a known one with a wrong password, so that neither the
    /// answer nor its delay tells which names exist. `key` is any secret of this process.
    pub fn decoy(key: &[u8; 32], user: &str, algorithm: Algorithm) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(algorithm.token().as_bytes());
        mac.update(b":decoy:");
        mac.update(user.as_bytes());
        let mut hashed = Hashed { algorithm, bytes: [0; HASH_LEN_MAX] };
        let out = algorithm.hash_len();
        hashed.bytes[..out].copy_from_slice(&mac.finalize().into_bytes()[..out]);
        Self(hashed)
    }

    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The response value for one request (RFC 7616 §3.4.1), or that of RFC 2069 where `qop` is absent.
    fn response(&self, nonce: &str, qop: Option<&Qop<'_>>, method: &str, uri: &str) -> Hashed {
        let algorithm = self.0.algorithm;
        let ha1 = self.0.hex();
        let ha2 = algorithm.hash(&[method.as_bytes(), uri.as_bytes()]).hex();
        match qop {
            Some(Qop { count, cnonce }) => algorithm.hash(&[
                ha1.as_bytes(),
                nonce.as_bytes(),
                format!("{count:08x}").as_bytes(),
                cnonce.as_bytes(),
                b"auth",
                ha2.as_bytes(),
            ]),
            None => algorithm.hash(&[ha1.as_bytes(), nonce.as_bytes(), ha2.as_bytes()]),
        }
    }
}

impl PartialEq for Ha1 {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ha1 {}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({}, ..)", self.0.algorithm.token())
    }
}

/// A hash value: HA1, HA2 or a response. Bytes past the algorithm's length stay zero.
#[derive(Clone)]
struct Hashed {
    algorithm: Algorithm,
    bytes: [u8; HASH_LEN_MAX],
}

impl Hashed {
    /// Exactly two hexadecimal digits a byte, or `None`. Capitals are taken: a few phones write them.
    fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 2 * algorithm.hash_len() {
            return None;
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        let mut bytes = [0; HASH_LEN_MAX];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self { algorithm, bytes })
    }

    fn hex(&self) -> Zeroizing<String> {
        let bytes = &self.bytes[..self.algorithm.hash_len()];
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        let mut hex = Zeroizing::new(String::with_capacity(2 * bytes.len()));
        for byte in bytes {
            hex.push(digit(byte >> 4));
            hex.push(digit(byte & 15));
        }
        hex
    }
}

/// In constant time: how many leading bytes of a guess were right must not show in the delay.
impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for Hashed {}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(..)")
    }
}

impl Drop for Hashed {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl ZeroizeOnDrop for Hashed {}

/// Bytes of the longest hash, SHA-256.
const HASH_LEN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_vectors_of_the_rfc() {
        let qop = Qop { count: 1, cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".into() };
        let answer = |algorithm| {
            Ha1::derive(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
                .response(
                    "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                    Some(&qop),
                    "GET",
                    "/dir/index.html",
                )
                .hex()
                .to_string()
        };
        assert_eq!(answer(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            answer(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn secrets_are_silent() {
        let ha1 = Ha1::derive(Algorithm::Md5, "101", "pbx", "secret");
        assert_eq!(format!("{ha1:?}"), "Ha1(MD5, ..)");
    }

    #[test]
    fn a_stored_ha1_is_the_derived_one() {
        // printf 101:pbx:secret | md5sum
        let derived = Ha1::derive(Algorithm::Md5, "101", "pbx", "secret");
        assert_eq!(*derived.0.hex(), "83e21791b9f6d30047c27da88eb66817");
        let bytes = derived.0.bytes;
        assert_eq!(Ha1::from_bytes(Algorithm::Md5, &bytes[..16]), Some(derived));
        assert_eq!(Ha1::from_bytes(Algorithm::Sha256, &bytes[..16]), None);
    }

    #[test]
    fn a_decoy_is_stable_and_apart() {
        let decoy = |key: u8, user| Ha1::decoy(&[key; 32], user, Algorithm::Sha256);
        assert_eq!(decoy(1, "999"), decoy(1, "999"));
        assert_ne!(decoy(1, "999"), decoy(1, "998"));
        assert_ne!(decoy(1, "999"), decoy(2, "999"));
    }
}
