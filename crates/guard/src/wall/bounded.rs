//! A table of what strangers do, which strangers can't turn against each other.
//!
//! Whoever is attacked keeps a line for each attacker, so an attacker decides how many lines there
//! are. At the bound the newcomer always gets its line, and it is the most crowded *neighbourhood*
//! that gives one up: of the sources in one IPv4 /24 or one IPv6 /48, the line that would have been
//! forgotten first. Whoever fills the table from addresses that it rents together pushes out itself;
//! lines of others, holds and bans among them, stay. Only somebody with thousands of unrelated
//! networks can reach further, and he had as many guesses as networks anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pure::Instant;

use crate::source::Source;

/// What a line is about.
pub(super) trait Keyed: Clone + Ord {
    fn source(&self) -> Source;
}

impl Keyed for Source {
    fn source(&self) -> Source {
        *self
    }
}

#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    max: usize,
    lines: BTreeMap<K, Line<V>>,
    /// The same lines as they are forgotten: the earliest of all, and the earliest of a neighbourhood.
    by_end: BTreeSet<(Instant, K)>,
    by_neighbourhood: BTreeMap<IpAddr, BTreeSet<(Instant, K)>>,
    /// How crowded each is.
    crowds: BTreeSet<(usize, IpAddr)>,
}

#[derive(Debug)]
struct Line<V> {
    value: V,
    ends: Instant,
}

impl<K: Keyed, V> Bounded<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            lines: BTreeMap::new(),
            by_end: BTreeSet::new(),
            by_neighbourhood: BTreeMap::new(),
            crowds: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.lines.get(key).map(|line| &line.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.lines.iter().map(|(key, line)| (key, &line.value))
    }

    /// The keys from this one on, in order.
    pub(super) fn from(&self, first: &K) -> impl Iterator<Item = &K> {
        self.lines.range(first..).map(|(key, _)| key)
    }

    /// For small changes that don't move the end.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.lines.get_mut(key).map(|line| &mut line.value)
    }

    /// Puts a line in place, to be forgotten at `ends`. What had to give way, if anything.
    pub(super) fn put(&mut self, key: K, value: V, ends: Instant) -> Option<(K, V)> {
        let replaced = self.remove(&key).is_some();
        let evicted = if !replaced && self.lines.len() >= self.max { self.evict() } else { None };
        let place = neighbourhood(key.source());
        let crowd = self.by_neighbourhood.entry(place).or_default();
        self.crowds.remove(&(crowd.len(), place));
        crowd.insert((ends, key.clone()));
        self.crowds.insert((crowd.len(), place));
        self.by_end.insert((ends, key.clone()));
        self.lines.insert(key, Line { value, ends });
        evicted
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let Line { value, ends } = self.lines.remove(key)?;
        let entry = (ends, key.clone());
        self.by_end.remove(&entry);
        let place = neighbourhood(key.source());
        if let Some(crowd) = self.by_neighbourhood.get_mut(&place) {
            self.crowds.remove(&(crowd.len(), place));
            crowd.remove(&entry);
            if crowd.is_empty() {
                self.by_neighbourhood.remove(&place);
            } else {
                self.crowds.insert((crowd.len(), place));
            }
        }
        Some(value)
    }

    /// The lines that a test picks are taken out.
    pub(super) fn take(&mut self, picks: impl Fn(&K, &V) -> bool) -> Vec<(K, V)> {
        let picked = self.lines.iter().filter(|(key, line)| picks(key, &line.value));
        let keys: Vec<K> = picked.map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.remove(&key).map(|value| (key, value))).collect()
    }

    /// The next line whose time has come; call until `None`.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(K, V)> {
        let (ends, key) = self.by_end.first()?;
        if *ends > now {
            return None;
        }
        let key = key.clone();
        self.remove(&key).map(|value| (key, value))
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.by_end.first().map(|(ends, _)| *ends)
    }

    fn evict(&mut self) -> Option<(K, V)> {
        let (_, place) = self.crowds.last()?;
        let (_, key) = self.by_neighbourhood.get(place)?.first()?;
        let key = key.clone();
        self.remove(&key).map(|value| (key, value))
    }
}

/// The network that one customer of a provider is commonly given.
fn neighbourhood(source: Source) -> IpAddr {
    match source.ip() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn whoever_fills_it_pushes_out_himself() {
        let mut table = Bounded::new(10);
        let (honest, other) = (source("192.0.2.1"), source("198.51.100.1"));
        table.put(honest, 0, Instant(1));
        table.put(other, 0, Instant(2));
        for host in 0..1_000_u32 {
            let rented = source(&format!("2001:db8:1:{host:x}::1"));
            table.put(rented, 0, Instant(1_000 + u64::from(host)));
            assert_eq!(table.get(&rented), Some(&0), "a newcomer always gets its line");
        }
        assert_eq!(table.iter().count(), 10);
        assert!(table.get(&honest).is_some() && table.get(&other).is_some());
    }

    #[test]
    fn forgets_in_the_order_of_the_ends() {
        let mut table = Bounded::new(10);
        table.put(source("192.0.2.1"), 'a', Instant(5));
        table.put(source("192.0.2.2"), 'b', Instant(3));
        table.put(source("192.0.2.1"), 'c', Instant(2));
        assert_eq!(table.next_end(), Some(Instant(2)));
        assert_eq!(table.expire(Instant(3)).map(|(_, value)| value), Some('c'));
        assert_eq!(table.expire(Instant(3)).map(|(_, value)| value), Some('b'));
        assert!(table.expire(Instant(3)).is_none());
        assert!(table.crowds.is_empty() && table.by_neighbourhood.is_empty());
    }
}
