//! Suites and master keys.

use std::fmt;
use std::hash::BuildHasher;

use pure::HashSeed;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// What protects a stream, by the name SDP calls it (RFC 4568 §6.2, RFC 6188, RFC 7714 §14.2).
///
/// Ordered from weakest to strongest, so that a policy can name a floor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Suite {
    /// A 32-bit tag: one forged packet in four thousand million passes. Only where policy allows it;
    /// SRTCP keeps its 80-bit tag (RFC 4568 §6.2.2).
    AesCm128HmacSha1_32,
    AesCm128HmacSha1_80,
    AesCm256HmacSha1_80,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

/// The key and salt of one direction of one leg, from which all session keys are derived.
///
/// It may be copied, since it must stand in an SDP answer, in a snapshot and in the relay; what may
/// never exist twice is the [`super::Sender`] made from it. Comparison takes the same time whatever
/// differs, `Debug` shows the suite alone, and the memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    /// Key, then salt, then zeros.
    material: [u8; Self::MATERIAL_MAX],
}

/// Key material of another length than its suite demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyLength {
    pub expected: usize,
    pub found: usize,
}

impl Suite {
    /// Strongest first: the order in which an answer should prefer them.
    pub const ALL: [Self; 5] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm256HmacSha1_80,
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// RFC 4568 §9.1 spells suites in capitals; they are compared without regard to case, since
    /// phones exist that don't.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    pub fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_32 | Self::AesCm128HmacSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AeadAes256Gcm => 32,
        }
    }

    pub fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_32 | Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of tag behind an RTP packet.
    pub fn rtp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_32 => 4,
            Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes of tag behind an RTCP packet: never shortened to 32 bits.
    pub fn rtcp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_32 => 10,
            other => other.rtp_tag_len(),
        }
    }

    pub fn is_gcm(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MasterKey {
    /// A 256-bit key with the longer salt.
    pub const MATERIAL_MAX: usize = 32 + 14;

    /// `material` is the key followed by the salt, as SDES carries them (RFC 4568 §6.1).
    pub fn new(suite: Suite, material: &[u8]) -> Result<Self, KeyLength> {
        let expected = suite.key_len() + suite.salt_len();
        if material.len() != expected {
            return Err(KeyLength { expected, found: material.len() });
        }
        let mut key = Self { suite, material: [0; Self::MATERIAL_MAX] };
        key.material[..expected].copy_from_slice(material);
        Ok(key)
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt together: for the SDP line and the sealed snapshot, nothing else.
    pub fn reveal(&self) -> &[u8] {
        &self.material[..self.suite.key_len() + self.suite.salt_len()]
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.material[..self.suite.key_len()]
    }

    pub(crate) fn salt(&self) -> &[u8] {
        &self.material[self.suite.key_len()..][..self.suite.salt_len()]
    }
}

impl MasterKey {
    /// A keyed hash of the material, whatever the suite: equal for equal keys, and of no use to whoever
    /// doesn't have the seed.
    pub(crate) fn print(&self, seed: HashSeed) -> u64 {
        seed.hash_one(self.material.as_slice())
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.suite == other.suite && bool::from(self.material.ct_eq(&other.material))
    }
}

impl Eq for MasterKey {}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.suite)
    }
}

impl fmt::Display for KeyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of key and salt where the suite needs {}", self.found, self.expected)
    }
}

impl std::error::Error for KeyLength {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_found_by_their_names() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(&suite.name().to_ascii_lowercase()), Some(suite));
        }
        assert_eq!(Suite::from_name("F8_128_HMAC_SHA1_80"), None);
    }

    #[test]
    fn a_key_has_its_suites_length_and_hides() {
        let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[7; 30]).unwrap();
        assert_eq!(key.reveal(), &[7; 30]);
        assert_eq!(format!("{key:?}"), "MasterKey(AES_CM_128_HMAC_SHA1_80)");
        assert_eq!(
            MasterKey::new(Suite::AeadAes256Gcm, &[7; 46]),
            Err(KeyLength { expected: 44, found: 46 })
        );
        assert_ne!(key, MasterKey::new(Suite::AesCm128HmacSha1_32, &[7; 30]).unwrap());
        assert_ne!(key, MasterKey::new(Suite::AesCm128HmacSha1_80, &[8; 30]).unwrap());
    }
}
