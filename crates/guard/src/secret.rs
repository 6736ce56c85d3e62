//! Secrets: made here, kept sealed.
//!
//! A phone's secret is generated, never chosen. At rest every secret is a [`Sealed`] record:
//! XChaCha20-Poly1305 under a [`MasterKey`] that lives outside the database, with the record's own id
//! as associated data, so a ciphertext copied into another row doesn't open. The 24-byte nonce is
//! drawn at random: its collisions stay negligible for any number of records, where a 12-byte one
//! would need a counter that survives restarts and restored backups.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use pure::Chance;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hex;

/// The secret of a phone, in clear: wiped on drop, never printed by Debug.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

/// The key that seals other keys and secrets. It comes from outside the database and is wiped on
/// drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    #[zeroize(skip)]
    id: KeyId,
    bytes: [u8; KEY_LENGTH],
}

/// Tells keys apart; says nothing about the key, because it is drawn apart from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u64);

/// An encrypted record: which key opens it, the nonce, and the ciphertext with its tag.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    pub key: KeyId,
    #[serde(with = "hex")]
    pub nonce: [u8; NONCE_LENGTH],
    #[serde(with = "hex")]
    pub ciphertext: Vec<u8>,
}

/// Why a sealed record didn't open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CannotOpen {
    /// It was sealed under another key.
    OtherKey { needed: KeyId },
    /// It was changed, cut, or stands in a record that isn't its own.
    Tampered,
}

/// The bytes are no sealed record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotSealed;

pub const KEY_LENGTH: usize = 32;
pub const NONCE_LENGTH: usize = 24;
/// Of Poly1305; every ciphertext has at least this length.
pub const TAG_LENGTH: usize = 16;

impl Secret {
    /// Small letters and digits that no display confuses (no 0 o, 1 l i): phones with a keypad need
    /// no change of case, and people can read them out.
    pub const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
    /// Short enough for the password fields of old phones, which end at 24 or 25 characters.
    pub const LENGTH: usize = 24;
    /// log2(31) is 4.954, so 24 symbols are worth 118.9 bits.
    pub const ENTROPY_BITS: u32 = 118;

    /// A fresh secret, every symbol drawn without bias.
    pub fn generate(chance: &mut Chance) -> Self {
        let symbols = Self::ALPHABET.len() as u64;
        let mut secret = String::with_capacity(Self::LENGTH);
        for _ in 0..Self::LENGTH {
            let index = usize::try_from(chance.below(symbols)).expect("below 31");
            secret.push(char::from(Self::ALPHABET[index]));
        }
        Self(secret)
    }

    /// A secret that was opened from its record.
    pub fn restore(text: String) -> Self {
        Self(text)
    }

    /// The secret in clear: for the digest, and for whoever may see it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

// A generated secret below 100 bits must not compile.
const _: () = assert!(Secret::ENTROPY_BITS >= 100);

impl MasterKey {
    pub fn new(id: KeyId, bytes: [u8; KEY_LENGTH]) -> Self {
        Self { id, bytes }
    }

    pub fn draw(chance: &mut Chance) -> Self {
        Self { id: KeyId(chance.u64()), bytes: chance.bytes() }
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself, for the file or the credential that keeps it.
    pub fn reveal(&self) -> &[u8; KEY_LENGTH] {
        &self.bytes
    }
}

impl Sealed {
    /// Encrypts `plaintext` as the content of `record`, a name that is unique over everything sealed
    /// under this key, such as `extension/0123…/secret`.
    pub fn seal(key: &MasterKey, chance: &mut Chance, record: &[u8], plaintext: &[u8]) -> Self {
        let nonce = chance.bytes();
        let payload = Payload { msg: plaintext, aad: record };
        let ciphertext = cipher(key).encrypt(&XNonce::from(nonce), payload);
        let ciphertext = ciphertext.expect("only texts beyond 256 GiB are refused");
        Self { key: key.id, nonce, ciphertext }
    }

    /// Decrypts what was sealed as the content of `record`.
    pub fn open(&self, key: &MasterKey, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        if self.key != key.id {
            return Err(CannotOpen::OtherKey { needed: self.key });
        }
        let payload = Payload { msg: &self.ciphertext, aad: record };
        let plaintext = cipher(key).decrypt(&XNonce::from(self.nonce), payload);
        plaintext.map(Zeroizing::new).map_err(|_| CannotOpen::Tampered)
    }

    /// For a BLOB: version 1, key id, nonce, ciphertext.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LENGTH + self.ciphertext.len());
        out.push(VERSION);
        out.extend_from_slice(&self.key.0.to_be_bytes());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.ciphertext);
        out
    }

    /// Reads what [`Sealed::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotSealed> {
        let (version, rest) = bytes.split_first().ok_or(NotSealed)?;
        let (key, rest) = rest.split_first_chunk().ok_or(NotSealed)?;
        let (nonce, ciphertext) = rest.split_first_chunk().ok_or(NotSealed)?;
        if *version != VERSION || ciphertext.len() < TAG_LENGTH {
            return Err(NotSealed);
        }
        let key = KeyId(u64::from_be_bytes(*key));
        Ok(Self { key, nonce: *nonce, ciphertext: ciphertext.to_vec() })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// As 16 hex digits: many readers of JSON round numbers beyond 2^53.
impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode_array(&text);
        let bytes = bytes.ok_or_else(|| serde::de::Error::custom("a key id has 16 hex digits"))?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for CannotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey { needed } => write!(f, "sealed under another key, {needed}"),
            Self::Tampered => f.write_str("changed since it was sealed, or from another record"),
        }
    }
}

impl std::error::Error for CannotOpen {}

impl fmt::Display for NotSealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a sealed record")
    }
}

impl std::error::Error for NotSealed {}

fn cipher(key: &MasterKey) -> XChaCha20Poly1305 {
    // By reference: a copy on the way would stay on the stack unwiped.
    XChaCha20Poly1305::new(<&Key>::from(&key.bytes))
}

const VERSION: u8 = 1;
const HEAD_LENGTH: usize = 1 + 8 + NONCE_LENGTH;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(chance: &mut Chance) -> MasterKey {
        MasterKey::draw(chance)
    }

    #[test]
    fn a_secret_has_the_entropy_it_states() {
        let bits = Secret::LENGTH as f64 * (Secret::ALPHABET.len() as f64).log2();
        assert!(
            bits >= f64::from(Secret::ENTROPY_BITS) && bits < f64::from(Secret::ENTROPY_BITS + 1)
        );
        let mut distinct = Secret::ALPHABET.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), Secret::ALPHABET.len());
        assert!(b"0o1li".iter().all(|symbol| !distinct.contains(symbol)));
    }

    #[test]
    fn secrets_use_the_whole_alphabet_and_never_repeat() {
        let mut chance = Chance::from_number(1);
        let secrets: Vec<Secret> = (0..200).map(|_| Secret::generate(&mut chance)).collect();
        let all: String = secrets.iter().map(Secret::reveal).collect();
        assert!(Secret::ALPHABET.iter().all(|symbol| all.contains(char::from(*symbol))));
        let mut distinct: Vec<&str> = secrets.iter().map(Secret::reveal).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), secrets.len());
        assert!(secrets.iter().all(|secret| secret.reveal().len() == Secret::LENGTH));
    }

    #[test]
    fn a_sealed_record_opens_only_as_itself() {
        let mut chance = Chance::from_number(2);
        let (ours, other) = (key(&mut chance), key(&mut chance));
        let sealed = Sealed::seal(&ours, &mut chance, b"extension/1", b"hunter2");
        assert_eq!(
            sealed.open(&ours, b"extension/1").expect("its own record").as_slice(),
            b"hunter2"
        );
        assert_eq!(sealed.open(&ours, b"extension/2"), Err(CannotOpen::Tampered));
        let needed = ours.id();
        assert_eq!(sealed.open(&other, b"extension/1"), Err(CannotOpen::OtherKey { needed }));
        let posing = MasterKey::new(ours.id(), *other.reveal());
        assert_eq!(sealed.open(&posing, b"extension/1"), Err(CannotOpen::Tampered));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let mut chance = Chance::from_number(3);
        let ours = key(&mut chance);
        let bytes = Sealed::seal(&ours, &mut chance, b"r", b"secret").to_bytes();
        assert!(Sealed::from_bytes(&bytes).expect("as written").open(&ours, b"r").is_ok());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let opened = Sealed::from_bytes(&changed).map(|sealed| sealed.open(&ours, b"r"));
            assert!(!matches!(opened, Ok(Ok(_))), "byte {at}");
            let cut = Sealed::from_bytes(&bytes[..at]).map(|sealed| sealed.open(&ours, b"r"));
            assert!(!matches!(cut, Ok(Ok(_))), "cut at {at}");
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        let mut chance = Chance::from_number(4);
        let secret = Secret::generate(&mut chance);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let master = MasterKey::new(KeyId(7), [0xab; KEY_LENGTH]);
        assert_eq!(format!("{master:?}"), "MasterKey(0000000000000007)");
    }

    #[test]
    fn a_sealed_record_survives_json() {
        let mut chance = Chance::from_number(5);
        let sealed = Sealed::seal(&key(&mut chance), &mut chance, b"r", b"x");
        let text = serde_json::to_string(&sealed).expect("strings only");
        assert_eq!(serde_json::from_str::<Sealed>(&text).expect("as written"), sealed);
    }
}
