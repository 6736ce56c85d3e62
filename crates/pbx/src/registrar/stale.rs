//! Phones that try the password before the last rotation: somebody has not typed the new one into them
//! yet. It is no guess, so the wall doesn't count it; but the phone is silent until somebody goes there,
//! and its owner must be able to see which and where.

use std::collections::BTreeMap;
use std::time::Duration;

use guard::id::{DeviceId, ExtensionId};
use guard::wall::{Pair, Who};
use pure::{Instant, Now, Utc};

/// A phone with the former password, for administrators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stale {
    pub extension: ExtensionId,
    pub pair: Pair,
    pub since: Utc,
    pub last: Utc,
    pub tries: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Stales(BTreeMap<Pair, Entry>);

#[derive(Debug)]
struct Entry {
    stale: Stale,
    last: Instant,
    /// When it was last told, and the tries since then.
    told: Instant,
    held_back: u32,
}

impl Stale {
    /// Which phone, where it was there before.
    pub fn device(&self) -> Option<DeviceId> {
        self.pair.who.device()
    }
}

impl Stales {
    /// More phones than a large house has. At the bound the one that was quiet the longest is forgotten.
    const PHONES_MAX: usize = 2_048;
    /// Phones try again within minutes: what was quiet for so long was put right or taken away.
    const LASTS: Duration = Duration::from_secs(3_600);
    /// A phone that nobody sees to for weeks fills a line of the journal an hour.
    const TOLD_EVERY: Duration = Duration::from_secs(3_600);

    /// Counts a try. So many are to be told now, if any.
    pub(crate) fn tried(&mut self, now: Now, pair: &Pair, extension: ExtensionId) -> Option<u32> {
        if let Some(entry) = self.0.get_mut(pair)
            && now.instant.since(entry.last) < Self::LASTS
        {
            entry.stale.tries = entry.stale.tries.saturating_add(1);
            (entry.stale.last, entry.last) = (now.utc, now.instant);
            entry.held_back = entry.held_back.saturating_add(1);
            if now.instant.since(entry.told) < Self::TOLD_EVERY {
                return None;
            }
            entry.told = now.instant;
            return Some(std::mem::take(&mut entry.held_back));
        }
        if self.0.len() >= Self::PHONES_MAX && !self.0.contains_key(pair) {
            let oldest = self.0.iter().min_by_key(|(_, entry)| entry.last);
            if let Some(oldest) = oldest.map(|(pair, _)| pair.clone()) {
                self.0.remove(&oldest);
            }
        }
        let (since, last) = (now.utc, now.utc);
        let stale = Stale { extension, pair: pair.clone(), since, last, tries: 1 };
        let entry = Entry { stale, last: now.instant, told: now.instant, held_back: 0 };
        self.0.insert(pair.clone(), entry);
        Some(1)
    }

    /// It has the right one now. A phone that was not recognised, or by less, may be by now.
    pub(crate) fn put_right(&mut self, pair: &Pair) {
        let of = |device| [Who::Alike(device), Who::Known(device), Who::Bound(device)];
        let known = pair.who.device().into_iter().flat_map(of);
        for who in [Who::Unknown, Who::Home].into_iter().chain(known) {
            self.0.remove(&Pair { who, ..pair.clone() });
        }
    }

    /// The extension is gone, or has yet another secret.
    pub(crate) fn forget(&mut self, extension: ExtensionId) {
        self.0.retain(|_, entry| entry.stale.extension != extension);
    }

    /// Tries that no fact has told yet.
    pub(crate) fn held_back(&self) -> u64 {
        let all = self.0.values().map(|entry| u64::from(entry.held_back));
        all.fold(0, u64::saturating_add)
    }

    pub(crate) fn list(&self, now: Instant) -> Vec<Stale> {
        let fresh = self.0.values().filter(|entry| now.since(entry.last) < Self::LASTS);
        fresh.map(|entry| entry.stale.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use guard::id::TenantId;
    use guard::source::Source;

    #[test]
    fn a_phone_that_is_put_right_is_named_no_more_however_it_was_known() {
        let phone = DeviceId(7);
        for before in
            [Who::Unknown, Who::Home, Who::Alike(phone), Who::Known(phone), Who::Bound(phone)]
        {
            for after in [Who::Known(phone), Who::Bound(phone)] {
                let pair = |who| Pair {
                    source: Source::from(std::net::IpAddr::from([192, 0, 2, 1])),
                    tenant: TenantId::HOUSE,
                    account: "101".into(),
                    who,
                };
                let mut stales = Stales::default();
                assert_eq!(stales.tried(Now::default(), &pair(before), ExtensionId(101)), Some(1));
                stales.put_right(&pair(after));
                assert_eq!(stales.list(Instant::default()), [], "{before:?} {after:?}");
            }
        }
    }
}
