//! The journal: what happened, in an order nobody can change unnoticed.
//!
//! Entries form one chain per node: each holds the SHA-256 hash of the one before. Personal fields are
//! encrypted for their [`Subject`], and the hash covers the ciphertext, so that destroying a subject's
//! keys erases its data and leaves the chain whole.
//!
//! **Against whom it is tamper-evident.** An edit, removal, insertion or exchange of entries breaks the
//! chain for anybody who reads it. Whoever can write the database *and* recompute every later hash
//! can make a false chain that fits in itself; so the head is signed ([`SignedHead`]) and exported off
//! the machine. Against an exported head any change of what came before it is evident, cutting the
//! end included, even to somebody who holds every key of the machine. Not evident: entries that an
//! intruder with full control withholds or invents *after* the last exported head. The interval of
//! export is therefore the width of that window. The chain proves order and integrity, not that a
//! fact was true when it was written.
//!
//! **How to drive it.** [`Journal::append`] makes the next entry; whoever drives it stores entries in
//! order, each in one transaction with the new keys that came with it, and keeps an entry until it is
//! stored, or takes it back with [`Journal::rewind`] before it makes the next. After a restart the chain goes on from the [`Position`] of the last stored entry.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use pure::{Chance, Now, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::fact::{Fact, Holder};
use crate::hex;
use crate::id::{DeviceId, ExtensionId, NodeId, TenantId};
use crate::secret::{CannotOpen, KEY_LENGTH, KeyId, MasterKey, Sealed};

/// Makes the entries of one node.
///
/// It holds the end of the chain and at most [`KEYS_MAX`] subject keys.
#[derive(Debug)]
pub struct Journal {
    node: NodeId,
    position: Position,
    chance: Chance,
    keys: BTreeMap<Subject, SubjectKey>,
}

/// One link of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 on each node, without gaps.
    pub sequence: u64,
    #[serde(with = "micros")]
    pub utc: Utc,
    pub node: NodeId,
    /// `None`: a fact of the node, which belongs to the operator.
    pub tenant: Option<TenantId>,
    /// Of the fact, see [`Fact::CATALOGUE`].
    pub number: u16,
    /// The fact's fields as a JSON object; personal ones are null.
    pub public: String,
    /// The personal fields, one part for each subject.
    pub personal: Vec<Part>,
    pub previous: Hash,
    pub hash: Hash,
}

/// The personal fields of one subject in one entry: a sealed JSON object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    pub subject: Subject,
    pub sealed: Sealed,
}

/// Whose data a part holds, and what is erased together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    Extension(ExtensionId),
    Device(DeviceId),
    /// Everybody without a record, by calendar month (UTC), so that strangers' addresses can be
    /// erased when their time is up.
    Strangers {
        year: u16,
        month: u8,
    },
    Administrators,
}

/// A subject's key. A subject may have several over time; erasure destroys all of them.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SubjectKey {
    #[zeroize(skip)]
    subject: Subject,
    #[zeroize(skip)]
    id: KeyId,
    bytes: [u8; KEY_LENGTH],
}

/// What [`Journal::append`] made. The keys must be stored no later than the entry.
#[derive(Debug)]
#[must_use = "an entry that isn't stored breaks the chain"]
pub struct Appended {
    pub entry: Entry,
    pub new_keys: Vec<SubjectKey>,
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

/// A place in a chain: an entry's number and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    pub sequence: u64,
    pub hash: Hash,
}

/// The end of a node's chain at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    pub node: NodeId,
    #[serde(flatten)]
    pub position: Position,
    #[serde(with = "micros")]
    pub utc: Utc,
}

/// A head that can leave the machine: one line of JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    #[serde(flatten)]
    pub head: Head,
    /// Of [`HeadKey`]; whoever verifies compares it with the one noted before.
    #[serde(with = "hex")]
    pub public_key: [u8; 32],
    /// Ed25519 (RFC 8032).
    #[serde(with = "hex")]
    pub signature: [u8; 64],
}

/// The node's Ed25519 key for heads.
pub struct HeadKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

/// An entry with its fact, as far as the keys went.
#[derive(Clone, PartialEq, Debug)]
pub struct Readable {
    pub fact: Fact,
    /// Subjects whose key is gone: their fields say that they were erased.
    pub erased: Vec<Subject>,
}

/// A chain that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    pub entries: u64,
    pub head: Position,
}

/// The first place where a chain doesn't hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Break {
    /// The entry at which it was noticed, or that was expected there.
    pub sequence: u64,
    pub why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The content doesn't give the hash that it carries.
    Edited,
    /// The hash before it isn't the one it names: something was exchanged or inserted.
    NotChained,
    /// An entry is missing here.
    Missing,
    /// An entry is repeated or stands too late.
    OutOfOrder,
    /// The entry is of another node.
    OtherNode,
    /// The chain ends before the known head.
    Truncated,
    /// The chain fits in itself but isn't the one of the known head.
    Rewritten,
    /// The known head lies before the start of the walk.
    NotCovered,
}

/// The signature doesn't fit the head, or the key isn't the expected one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forged;

/// Walks a chain with the memory of one hash.
#[derive(Clone, Debug)]
pub struct Verifier {
    node: NodeId,
    from: u64,
    position: Position,
    entries: u64,
    known: Option<Position>,
}

/// Keys held in memory, about 6 MB. At the bound one is let go; its subject gets a further key when it
/// is next spoken of.
pub const KEYS_MAX: usize = 65_536;
/// The longest text of a field, in bytes; the rest is cut and [`CUT`] put in its place. Long enough for
/// any honest address or agent name.
pub const TEXT_MAX: usize = 512;
/// The longest public part and the longest personal part, in bytes. A longer one is replaced by its
/// fact's name and a mark. Only a future version's fact can come here: ours have a dozen fields.
pub const PART_MAX: usize = 16 * 1_024;
/// Stands where a text was cut.
pub const CUT: &str = "…[cut]";

impl Journal {
    /// Goes on after `position` (the last stored entry, or [`Position::genesis`]). `keys` are the
    /// stored subject keys, opened; a subject's later key takes the place of its earlier one.
    pub fn new(
        node: NodeId,
        position: Position,
        chance: Chance,
        keys: impl IntoIterator<Item = SubjectKey>,
    ) -> Self {
        let keys = keys.into_iter().take(KEYS_MAX).map(|key| (key.subject, key)).collect();
        Self { node, position, chance, keys }
    }

    pub fn position(&self) -> Position {
        self.position
    }

    pub fn head(&self, now: Now) -> Head {
        Head { node: self.node, position: self.position, utc: now.utc }
    }

    /// Makes the next entry, or nothing where the fact isn't journalled.
    pub fn append(&mut self, now: Now, tenant: Option<TenantId>, fact: &Fact) -> Option<Appended> {
        if !fact.journalled() {
            return None;
        }
        let sequence = self.position.sequence + 1;
        let mut public = fact.to_json();
        let mut by_subject: BTreeMap<Subject, Map<String, Value>> = BTreeMap::new();
        for (field, holder) in fact.personal() {
            let subject = Subject::of(holder, now.utc);
            let value = public.insert(field.to_owned(), Value::Null).unwrap_or(Value::Null);
            by_subject.entry(subject).or_default().insert(field.to_owned(), value);
        }

        let mut new_keys = Vec::new();
        let mut personal = Vec::new();
        for (subject, fields) in by_subject {
            let text = bounded(fields, fact.name());
            let key = self.key(subject, &mut new_keys);
            let record = part_record(self.node, sequence, subject);
            let sealed = Sealed::seal(&key, &mut self.chance, &record, text.as_bytes());
            personal.push(Part { subject, sealed });
        }

        let mut entry = Entry {
            sequence,
            utc: now.utc,
            node: self.node,
            tenant,
            number: fact.number(),
            public: bounded(public, fact.name()),
            personal,
            previous: self.position.hash,
            hash: Hash([0; 32]),
        };
        entry.hash = entry.computed_hash();
        self.position = entry.position();
        Some(Appended { entry, new_keys })
    }

    /// Takes back the entries made since `to`, none of which was stored, with the keys that came with them.
    pub fn rewind(&mut self, to: Position, new_keys: impl IntoIterator<Item = Subject>) {
        self.position = to;
        for subject in new_keys {
            self.forget(subject);
        }
    }

    /// Lets go of a subject's key, so that nothing more is sealed under it. The stored keys of the
    /// subject are the store's to destroy.
    pub fn forget(&mut self, subject: Subject) {
        self.keys.remove(&subject);
    }

    fn key(&mut self, subject: Subject, new_keys: &mut Vec<SubjectKey>) -> MasterKey {
        if !self.keys.contains_key(&subject) {
            if self.keys.len() >= KEYS_MAX {
                self.keys.pop_first();
            }
            let id = KeyId(self.chance.u64());
            let key = SubjectKey { subject, id, bytes: self.chance.bytes() };
            new_keys.push(key.clone());
            self.keys.insert(subject, key);
        }
        self.keys[&subject].sealing()
    }
}

impl Entry {
    pub fn position(&self) -> Position {
        Position { sequence: self.sequence, hash: self.hash }
    }

    /// The hash that the content gives. Every field is of fixed width or led by its length, so no two
    /// entries give the same bytes.
    pub fn computed_hash(&self) -> Hash {
        let mut sha = Sha256::new();
        sha.update(b"ringfence journal entry 1");
        sha.update(self.sequence.to_be_bytes());
        sha.update(self.utc.0.to_be_bytes());
        sha.update(self.node.0.to_be_bytes());
        sha.update([u8::from(self.tenant.is_some())]);
        sha.update(self.tenant.map_or(0, |tenant| tenant.0).to_be_bytes());
        sha.update(self.number.to_be_bytes());
        let text = |sha: &mut Sha256, bytes: &[u8]| {
            sha.update((bytes.len() as u64).to_be_bytes());
            sha.update(bytes);
        };
        text(&mut sha, self.public.as_bytes());
        sha.update((self.personal.len() as u64).to_be_bytes());
        for part in &self.personal {
            text(&mut sha, part.subject.to_string().as_bytes());
            text(&mut sha, &part.sealed.to_bytes());
        }
        sha.update(self.previous.0);
        Hash(sha.finalize().into())
    }

    /// Reads the fact. `key` finds a subject key by its id; one it doesn't find was destroyed, and the
    /// fields under it say so. An error where a key is there and the part doesn't open under it.
    pub fn open(
        &self,
        mut key: impl FnMut(KeyId) -> Option<SubjectKey>,
    ) -> Result<Readable, CannotOpen> {
        // Text that isn't an object can't have come from `append`.
        let mut fields: Map<String, Value> =
            serde_json::from_str(&self.public).map_err(|_| CannotOpen::Tampered)?;
        let mut erased = Vec::new();
        for part in &self.personal {
            let Some(key) = key(part.sealed.key) else {
                erased.push(part.subject);
                continue;
            };
            let record = part_record(self.node, self.sequence, part.subject);
            let text = part.sealed.open(&key.sealing(), &record)?;
            let opened: Map<String, Value> =
                serde_json::from_slice(&text).map_err(|_| CannotOpen::Tampered)?;
            fields.extend(opened);
        }
        Ok(Readable { fact: Fact::from_json(self.number, fields), erased })
    }
}

impl Subject {
    fn of(holder: Holder, utc: Utc) -> Self {
        match holder {
            Holder::Extension(extension) => Self::Extension(extension),
            Holder::Device(device) => Self::Device(device),
            Holder::Stranger => {
                let (year, month, ..) = utc.civil();
                Self::Strangers { year: u16::try_from(year).unwrap_or_default(), month }
            }
            Holder::Administrator => Self::Administrators,
        }
    }
}

impl SubjectKey {
    /// A key that was opened from its sealed record.
    pub fn restore(subject: Subject, id: KeyId, bytes: [u8; KEY_LENGTH]) -> Self {
        Self { subject, id, bytes }
    }

    pub fn subject(&self) -> Subject {
        self.subject
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself, to be sealed under the node's master key.
    pub fn reveal(&self) -> &[u8; KEY_LENGTH] {
        &self.bytes
    }

    fn sealing(&self) -> MasterKey {
        MasterKey::new(self.id, self.bytes)
    }
}

impl Position {
    /// Before the first entry. The node is in it, so two nodes' chains never begin alike.
    pub fn genesis(node: NodeId) -> Self {
        let mut sha = Sha256::new();
        sha.update(b"ringfence journal genesis 1");
        sha.update(node.0.to_be_bytes());
        Self { sequence: 0, hash: Hash(sha.finalize().into()) }
    }
}

impl HeadKey {
    /// From 32 secret bytes; the public key follows from them.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref();
        let public = public.try_into().expect("an Ed25519 public key has 32 bytes");
        Self { pair, public }
    }

    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    pub fn sign(&self, head: Head) -> SignedHead {
        let signature = self.pair.sign(&head.signed_bytes());
        let signature = signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        SignedHead { head, public_key: self.public, signature }
    }
}

impl Head {
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = b"ringfence journal head 1".to_vec();
        out.extend_from_slice(&self.node.0.to_be_bytes());
        out.extend_from_slice(&self.position.sequence.to_be_bytes());
        out.extend_from_slice(&self.position.hash.0);
        out.extend_from_slice(&self.utc.0.to_be_bytes());
        out
    }
}

impl SignedHead {
    /// Proves the head against a public key that was noted earlier, off the machine. The key inside
    /// the signed head only says which one it wants to be.
    pub fn verify(&self, public_key: &[u8; 32]) -> Result<Head, Forged> {
        if self.public_key != *public_key {
            return Err(Forged);
        }
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        let proved = key.verify(&self.head.signed_bytes(), &self.signature);
        proved.map(|()| self.head).map_err(|_| Forged)
    }
}

/// Verifies the chain of `node` after `from`: [`Position::genesis`], or an earlier head where what came
/// before was archived. `known` is a position that must lie on the chain (an exported head): without it
/// a cut end can't be noticed.
pub fn verify(
    node: NodeId,
    from: Position,
    entries: impl IntoIterator<Item = Entry>,
    known: Option<Position>,
) -> Result<Verified, Break> {
    let mut verifier = Verifier::new(node, from, known);
    for entry in entries {
        verifier.take(&entry)?;
    }
    verifier.finish()
}

impl Verifier {
    pub fn new(node: NodeId, from: Position, known: Option<Position>) -> Self {
        Self { node, from: from.sequence, position: from, entries: 0, known }
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Break> {
        self.known_holds()?;
        let expected = self.position.sequence.saturating_add(1);
        let why = if entry.node != self.node {
            Why::OtherNode
        } else if entry.sequence > expected {
            return Err(Break { sequence: expected, why: Why::Missing });
        } else if entry.sequence < expected {
            Why::OutOfOrder
        } else if entry.previous != self.position.hash {
            Why::NotChained
        } else if entry.computed_hash() != entry.hash {
            Why::Edited
        } else {
            self.position = entry.position();
            self.entries += 1;
            return self.known_holds();
        };
        Err(Break { sequence: entry.sequence, why })
    }

    /// Says whether the chain that was taken holds and reaches the known head.
    pub fn finish(self) -> Result<Verified, Break> {
        self.known_holds()?;
        match self.known {
            Some(known) if known.sequence > self.position.sequence => Err(Break {
                sequence: self.position.sequence.saturating_add(1),
                why: Why::Truncated,
            }),
            // The walk began after it, so nothing was said about it: no silent success.
            Some(known) if known.sequence < self.from => {
                Err(Break { sequence: known.sequence, why: Why::NotCovered })
            }
            _ => Ok(Verified { entries: self.entries, head: self.position }),
        }
    }

    fn known_holds(&self) -> Result<(), Break> {
        match self.known {
            Some(known) if known.sequence == self.position.sequence && known != self.position => {
                Err(Break { sequence: known.sequence, why: Why::Rewritten })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(extension) => write!(f, "extension:{extension}"),
            Self::Device(device) => write!(f, "device:{device}"),
            Self::Strangers { year, month } => write!(f, "strangers:{year:04}-{month:02}"),
            Self::Administrators => f.write_str("administrators"),
        }
    }
}

/// The text names no subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotASubject;

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "extension" => name.parse().map(Self::Extension).map_err(|_| NotASubject),
            "device" => name.parse().map(Self::Device).map_err(|_| NotASubject),
            "strangers" => {
                let (year, month) = name.split_once('-').ok_or(NotASubject)?;
                let year = year.parse().map_err(|_| NotASubject)?;
                let month = month.parse().map_err(|_| NotASubject)?;
                Ok(Self::Strangers { year, month })
            }
            "administrators" if text == kind => Ok(Self::Administrators),
            _ => Err(NotASubject),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = NotASubject;

    fn try_from(text: String) -> Result<Self, NotASubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for NotASubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a subject of the journal")
    }
}

impl std::error::Error for NotASubject {}

/// The text isn't 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAHash;

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        hex::decode_array(text).map(Self).ok_or(NotAHash)
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl fmt::Display for NotAHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hash: 64 hex digits are expected")
    }
}

impl std::error::Error for NotAHash {}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectKey({}, {})", self.subject, self.id)
    }
}

impl fmt::Debug for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadKey({})", hex::encode(&self.public))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edited => "its content was changed",
            Self::NotChained => "it doesn't follow the entry before it",
            Self::Missing => "it is missing",
            Self::OutOfOrder => "it is repeated or out of order",
            Self::OtherNode => "it is another node's",
            Self::Truncated => "the journal ends before the known head",
            Self::Rewritten => "the known head isn't on this chain",
            Self::NotCovered => "the known head lies before the first entry that was read",
        })
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.sequence, self.why)
    }
}

impl std::error::Error for Break {}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head's signature doesn't hold under the expected key")
    }
}

impl std::error::Error for Forged {}

/// Associated data of a part: it opens only in its own entry and for its own subject.
fn part_record(node: NodeId, sequence: u64, subject: Subject) -> Vec<u8> {
    format!("journal/{node}/{sequence}/{subject}").into_bytes()
}

/// The fields as JSON within [`PART_MAX`], long texts cut.
fn bounded(mut fields: Map<String, Value>, name: &str) -> String {
    fields.values_mut().for_each(cut);
    let text = Value::Object(fields).to_string();
    if text.len() <= PART_MAX {
        return text;
    }
    serde_json::json!({ "fact": name, "cut": text.len() }).to_string()
}

/// Cuts every text in a value. The depth is that of our own facts, or what serde_json let through (128).
fn cut(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT_MAX => {
            text.truncate(text.floor_char_boundary(TEXT_MAX - CUT.len()));
            text.push_str(CUT);
        }
        Value::Array(values) => values.iter_mut().for_each(cut),
        Value::Object(fields) => fields.values_mut().for_each(cut),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

mod micros {
    //! [`Utc`] as a number of microseconds.

    use pure::Utc;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(utc: &Utc, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(utc.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Utc, D::Error> {
        i64::deserialize(deserializer).map(Utc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Actor;
    use crate::pii::{Address, Pii};
    use proptest::prelude::*;

    const NODE: NodeId = NodeId(1);
    const START: Utc = Utc(1_795_366_224_250_000);

    fn now(second: u64) -> Now {
        Now { utc: START + std::time::Duration::from_secs(second), ..Now::default() }
    }

    fn journal(seed: u64) -> Journal {
        Journal::new(NODE, Position::genesis(NODE), Chance::from_number(seed), [])
    }

    /// A chain of one entry for each fact of the catalogue that is journalled, and its keys.
    fn chain(seed: u64) -> (Vec<Entry>, Vec<SubjectKey>, Position) {
        let mut journal = journal(seed);
        let (mut entries, mut keys) = (Vec::new(), Vec::new());
        for (second, fact) in (0..).zip(crate::fact::tests::samples()) {
            let tenant = (fact.number() >= 300).then_some(TenantId::HOUSE);
            if let Some(appended) = journal.append(now(second), tenant, &fact) {
                entries.push(appended.entry);
                keys.extend(appended.new_keys);
            }
        }
        (entries, keys, journal.position())
    }

    fn finder(keys: &[SubjectKey]) -> impl FnMut(KeyId) -> Option<SubjectKey> {
        move |id| keys.iter().find(|key| key.id() == id).cloned()
    }

    fn check(entries: Vec<Entry>, known: Option<Position>) -> Result<Verified, Break> {
        verify(NODE, Position::genesis(NODE), entries, known)
    }

    fn broken(entries: Vec<Entry>, known: Option<Position>) -> (u64, Why) {
        let found = check(entries, known).expect_err("the chain doesn't hold");
        (found.sequence, found.why)
    }

    #[test]
    fn what_was_written_is_read() {
        let (entries, keys, head) = chain(1);
        let journalled: Vec<Fact> =
            crate::fact::tests::samples().into_iter().filter(Fact::journalled).collect();
        assert_eq!(entries.len(), journalled.len());
        for (entry, fact) in entries.iter().zip(journalled) {
            let readable = entry.open(finder(&keys)).expect("our keys");
            assert_eq!(readable, Readable { fact, erased: Vec::new() });
        }
        let entries_count = entries.len() as u64;
        let verified = check(entries, Some(head)).expect("untouched");
        assert_eq!(verified, Verified { entries: entries_count, head });
    }

    #[test]
    fn nothing_personal_stands_in_clear() {
        let (entries, ..) = chain(2);
        for entry in entries {
            let text = serde_json::to_string(&entry).expect("a struct");
            for personal in ["grace", "Front desk", "192.0.2.7", "5550100190", "\"admin\"", "beef>"]
            {
                assert!(!text.contains(personal), "{text}");
            }
        }
    }

    #[test]
    fn erasing_a_subject_leaves_the_chain_whole() {
        let (entries, mut keys, head) = chain(3);
        keys.retain(|key| !matches!(key.subject(), Subject::Strangers { .. }));
        let failed = entries.iter().find(|entry| entry.number == 420).expect("in the catalogue");
        let readable = failed.open(finder(&keys)).expect("erased is no fault");
        assert_eq!(readable.erased, [Subject::Strangers { year: 2026, month: 11 }]);
        let Fact::AuthenticationFailed { account, account_exists, failures, .. } = readable.fact
        else {
            panic!("it stays the fact it was");
        };
        assert_eq!(account.reveal().to_string(), "[erased]");
        assert_eq!((account_exists.reveal(), failures), (&None, 3));
        assert!(check(entries, Some(head)).is_ok());
    }

    #[test]
    fn a_key_is_drawn_once_and_again_after_erasure() {
        let mut journal = journal(4);
        let strangers = Subject::Strangers { year: 2026, month: 11 };
        let fact = Fact::ViolationSeen {
            kind: crate::fact::ViolationKind::Flood,
            count: 1,
            proved: None,
            address: Pii::new(Address("192.0.2.7".to_owned())),
        };
        let new_keys =
            |journal: &mut Journal| journal.append(now(0), None, &fact).expect("kept").new_keys;
        let first = new_keys(&mut journal);
        assert_eq!(first.iter().map(SubjectKey::subject).collect::<Vec<_>>(), [strangers]);
        assert!(new_keys(&mut journal).is_empty());
        journal.forget(strangers);
        let second = new_keys(&mut journal);
        assert_ne!(second[0].id(), first[0].id());
        assert_ne!(second[0].reveal(), first[0].reveal());
    }

    #[test]
    fn keys_in_memory_are_bounded() {
        let mut journal = journal(13);
        for n in 0..=KEYS_MAX as u128 {
            let caller = Some(ExtensionId(n));
            let (call, from) = (crate::id::CallId(n), "101".into());
            let fact = Fact::CallStarted { call, caller, callee: caller, from, to: "102".into() };
            let appended = journal.append(now(0), None, &fact).expect("journalled");
            assert_eq!(appended.new_keys.len(), 1);
        }
        assert_eq!(journal.keys.len(), KEYS_MAX);
    }

    #[test]
    fn a_restart_goes_on_with_the_chain() {
        let (mut entries, keys, head) = chain(5);
        let mut journal = Journal::new(NODE, head, Chance::from_number(99), keys);
        let fact = Fact::SubjectErased { subject: "x".to_owned(), actor: Pii::new(Actor::System) };
        let appended = journal.append(now(99), None, &fact).expect("journalled");
        assert!(appended.new_keys.is_empty(), "the administrators' key was handed in");
        entries.push(appended.entry);
        assert!(check(entries, Some(head)).is_ok(), "an older head lies on the longer chain");
    }

    #[test]
    fn removal_insertion_exchange_and_cutting_are_noticed() {
        let (entries, _, head) = chain(6);
        let with = |change: fn(&mut Vec<Entry>)| {
            let mut entries = entries.clone();
            change(&mut entries);
            broken(entries, Some(head))
        };
        assert_eq!(with(|e| drop(e.remove(3))), (4, Why::Missing));
        assert_eq!(with(|e| drop(e.remove(0))), (1, Why::Missing));
        assert_eq!(with(|e| e.insert(3, e[2].clone())), (3, Why::OutOfOrder));
        assert_eq!(with(|e| e.swap(3, 4)), (4, Why::Missing));
        assert_eq!(with(|e| drop(e.pop())), (entries.len() as u64, Why::Truncated));
        assert_eq!(with(Vec::clear), (1, Why::Truncated));
        assert_eq!(with(|e| e[3].number += 1), (4, Why::Edited));
        assert_eq!(with(|e| e[3].node = NodeId(2)), (4, Why::OtherNode));
        assert_eq!(with(|e| e[3].public.push(' ')), (4, Why::Edited));
        // A forger who renumbers what follows a removed entry, and hashes it anew.
        let renumbered = with(|e| {
            e.remove(3);
            e[3].sequence = 4;
            e[3].hash = e[3].computed_hash();
        });
        assert_eq!(renumbered, (4, Why::NotChained));
    }

    #[test]
    fn a_chain_forged_as_a_whole_fails_against_a_known_head_alone() {
        let (mut entries, _, head) = chain(7);
        let mut previous = Position::genesis(NODE).hash;
        for entry in &mut entries {
            entry.utc = START;
            entry.previous = previous;
            entry.hash = entry.computed_hash();
            previous = entry.hash;
        }
        assert!(check(entries.clone(), None).is_ok());
        assert_eq!(broken(entries, Some(head)), (head.sequence, Why::Rewritten));
    }

    #[test]
    fn a_head_before_the_start_is_not_passed_over() {
        let (entries, _, head) = chain(8);
        let (archived, rest) = entries.split_at(5);
        let from = archived[4].position();
        let after = |known| verify(NODE, from, rest.to_vec(), Some(known));
        assert_eq!(after(head).map(|verified| verified.entries), Ok(rest.len() as u64));
        assert_eq!(after(from).map(|verified| verified.head), Ok(head));
        let early = after(archived[1].position());
        assert_eq!(early, Err(Break { sequence: 2, why: Why::NotCovered }));
    }

    #[test]
    fn a_part_opens_only_where_it_was_written() {
        let (entries, keys, _) = chain(9);
        let mut of_administrators = entries.iter().filter(|entry| {
            entry.personal.len() == 1 && entry.personal[0].subject == Subject::Administrators
        });
        let (first, second) = (of_administrators.next(), of_administrators.next());
        let (first, mut second) = (first.expect("some"), second.expect("some more").clone());
        second.personal = first.personal.clone();
        assert_eq!(second.open(finder(&keys)), Err(CannotOpen::Tampered));
    }

    #[test]
    fn a_signed_head_proves_itself() {
        let key = HeadKey::from_seed(&[7; 32]);
        let (.., position) = chain(10);
        let head = Head { node: NODE, position, utc: START };
        let signed = key.sign(head);
        assert_eq!(signed.verify(&key.public()), Ok(head));

        let text = serde_json::to_string(&signed).expect("a struct");
        assert!(!text.contains('\n'));
        let read: SignedHead = serde_json::from_str(&text).expect("as written");
        assert_eq!(read, signed);

        let mut moved = signed.clone();
        moved.head.position.sequence -= 1;
        assert_eq!(moved.verify(&key.public()), Err(Forged));
        let mut later = signed.clone();
        later.head.utc = Utc(0);
        assert_eq!(later.verify(&key.public()), Err(Forged));
        let other = HeadKey::from_seed(&[8; 32]);
        assert_eq!(other.sign(head).verify(&key.public()), Err(Forged));
        let mut posing = other.sign(head);
        posing.public_key = key.public();
        assert_eq!(posing.verify(&key.public()), Err(Forged));
    }

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        let long = "ü".repeat(100_000);
        let actor = Actor::LocalAdmin { uid: 0, name: long.clone() };
        let fact = Fact::ConfigurationRefused { reason: long, actor: Pii::new(actor) };
        let mut journal = journal(11);
        let Appended { entry, new_keys } = journal.append(now(0), None, &fact).expect("kept");
        assert!(entry.public.len() < 2 * TEXT_MAX);
        let readable = entry.open(finder(&new_keys)).expect("our key");
        let Fact::ConfigurationRefused { reason, actor } = readable.fact else { panic!("changed") };
        assert!(reason.ends_with(CUT) && reason.len() <= TEXT_MAX);
        assert!(actor.reveal().to_string().contains(CUT));
    }

    #[test]
    fn an_overlong_fact_of_the_future_is_replaced() {
        let raw = (0..5_000).map(|n| (format!("field{n}"), Value::from(n))).collect();
        let fact = Fact::Unknown(crate::fact::Unknown { number: 999, raw });
        let appended = journal(12).append(now(0), None, &fact).expect("kept");
        assert!(appended.entry.public.contains("\"cut\":"), "{}", appended.entry.public);
        assert_eq!(appended.entry.number, 999);
    }

    #[test]
    fn subjects_are_read_back() {
        let subjects = [
            Subject::Extension(ExtensionId(1)),
            Subject::Device(DeviceId(2)),
            Subject::Strangers { year: 2026, month: 1 },
            Subject::Administrators,
        ];
        for subject in subjects {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for text in ["", "extension:1", "strangers:2026", "administrators:x", "moon:1"] {
            assert_eq!(text.parse::<Subject>(), Err(NotASubject), "{text}");
        }
    }

    proptest! {
        // Whatever single byte of a stored chain changes, in any entry: it can't be read any more, or it
        // reads as before, or the chain is broken at that entry or the next; where the entry now claims
        // another place, at the one it claims.
        #[test]
        fn any_changed_byte_is_noticed(seed in 0..4u64, entry in any::<prop::sample::Index>(),
                                       byte in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let (mut entries, _, head) = chain(seed);
            let at = entry.index(entries.len());
            let mut text = serde_json::to_vec(&entries[at]).expect("a struct");
            let place = byte.index(text.len());
            text[place] ^= flip;
            if let Ok(changed) = serde_json::from_slice::<Entry>(&text)
                && changed != entries[at]
            {
                let claimed = changed.sequence;
                entries[at] = changed;
                let found = check(entries, Some(head)).expect_err("a changed entry");
                let near = found.sequence.abs_diff(at as u64 + 1) <= 1;
                prop_assert!(near || found.sequence == claimed, "{} at {}", found, at);
            }
        }

        // Removing, repeating or moving any run of entries is noticed.
        #[test]
        fn any_moved_entry_is_noticed(seed in 0..4u64, from in any::<prop::sample::Index>(),
                                      to in any::<prop::sample::Index>(), how in 0..3u8) {
            let (mut entries, _, head) = chain(seed);
            let (from, to) = (from.index(entries.len()), to.index(entries.len()));
            let original = entries.clone();
            match how {
                0 => drop(entries.remove(from)),
                1 => entries.insert(to, entries[from].clone()),
                _ => {
                    let moved = entries.remove(from);
                    entries.insert(to, moved);
                }
            }
            let expected = if entries == original { Ok(head) } else { Err(()) };
            let found = check(entries, Some(head)).map(|verified| verified.head).map_err(|_| ());
            prop_assert_eq!(found, expected);
        }
    }
}
