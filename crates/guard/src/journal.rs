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
//! stored. After a restart the chain goes on from the [`Position`] of the last stored entry.

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
}

/// The signature doesn't fit the head, or the key isn't the expected one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forged;

/// Walks a chain with the memory of one hash.
#[derive(Clone, Debug)]
pub struct Verifier {
    node: NodeId,
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
        Self { node, position: from, entries: 0, known }
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
