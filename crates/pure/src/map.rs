//! A hash table that can't betray determinism: keyed by a seed, and without iteration.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;
use siphasher::sip128::{self, Hasher128};

use crate::HashSeed;

/// A hash table whose order nobody sees. Where order or iteration is needed, use a `BTreeMap`.
#[allow(clippy::disallowed_types)] // The one place: seeded, and its iteration stays private.
pub struct Map<K, V>(std::collections::HashMap<K, V, HashSeed>);

#[allow(clippy::disallowed_types)]
impl<K: Eq + Hash, V> Map<K, V> {
    pub fn new(seed: HashSeed) -> Self {
        Self(std::collections::HashMap::with_hasher(seed))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// The value that stood there before, as `HashMap::insert` returns it.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(make)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives memory back after a peak.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({} entries)", self.0.len())
    }
}

impl BuildHasher for HashSeed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl HashSeed {
    /// A keyed digest that stands for a value in a table, so that the table needn't hold it. Two values have
    /// one digest with a chance of 2^-128, and nobody without the key can look for such a pair.
    pub fn digest(self, value: impl Hash) -> u128 {
        let mut hasher = sip128::SipHasher13::new_with_keys(self.0, self.1);
        value.hash(&mut hasher);
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chance;

    #[test]
    fn finds_what_was_put_in() {
        let mut map = Map::new(Chance::from_number(1).hash_seed());
        assert_eq!(map.insert("101".to_owned(), 1), None);
        assert_eq!(map.get("101"), Some(&1));
        assert_eq!(map.remove("101"), Some(1));
        assert!(map.is_empty());
    }

    #[test]
    fn a_digest_depends_on_each_part_and_on_the_key() {
        let seed = Chance::from_number(1).hash_seed();
        let digest = seed.digest(("ab", "c", 1));
        assert_eq!(seed.digest(("ab", "c", 1)), digest);
        assert_ne!(seed.digest(("a", "bc", 1)), digest);
        assert_ne!(Chance::from_number(2).hash_seed().digest(("ab", "c", 1)), digest);
    }
}
