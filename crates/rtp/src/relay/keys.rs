//! Which keys the armed legs of a relay use, so that no leg receives with a key that another sends with.
//!
//! The phone chooses the key that it sends with, and it knows the one that we send to it with. Should
//! it give ours out as its own on another leg, then what we send to the first is authentic on the
//! second, and packets run in a circle. Only keyed hashes stand here: the keys themselves stay with
//! their legs, and how long a look-up takes says nothing about them.

use std::collections::BTreeMap;

use pure::HashSeed;

use super::command::Protection;

#[derive(Debug)]
pub(super) struct Keys {
    seed: HashSeed,
    uses: BTreeMap<u64, Uses>,
}

/// How many legs use one key. Legs that ring side by side share what they receive with.
#[derive(Default, Debug)]
struct Uses {
    send: usize,
    receive: usize,
}

/// Some leg sends with what this one would receive with, or the other way round.
#[derive(Debug)]
pub(super) struct Clash;

impl Keys {
    pub(super) fn new(seed: HashSeed) -> Self {
        Self { seed, uses: BTreeMap::new() }
    }

    /// One leg goes from its former protection to the next. On a clash it keeps the former.
    pub(super) fn replace(
        &mut self,
        former: Option<&Protection>,
        next: &Protection,
    ) -> Result<(), Clash> {
        if let Some(former) = former {
            self.release(former);
        }
        let clash = self.prints(next).is_some_and(|(send, receive)| {
            let uses = |print| self.uses.get(print);
            uses(&send).is_some_and(|uses| uses.receive > 0)
                || uses(&receive).is_some_and(|uses| uses.send > 0)
        });
        if let Some(held) = if clash { former } else { Some(next) }
            && let Some((send, receive)) = self.prints(held)
        {
            self.uses.entry(send).or_default().send += 1;
            self.uses.entry(receive).or_default().receive += 1;
        }
        if clash { Err(Clash) } else { Ok(()) }
    }

    /// A leg that was armed with this ends.
    pub(super) fn release(&mut self, protection: &Protection) {
        let Some((send, receive)) = self.prints(protection) else { return };
        if let Some(uses) = self.uses.get_mut(&send) {
            uses.send -= 1;
        }
        if let Some(uses) = self.uses.get_mut(&receive) {
            uses.receive -= 1;
        }
        for print in [send, receive] {
            if self.uses.get(&print).is_some_and(|uses| uses.send + uses.receive == 0) {
                self.uses.remove(&print);
            }
        }
    }

    /// Of the keys to send and to receive with.
    fn prints(&self, protection: &Protection) -> Option<(u64, u64)> {
        match protection {
            Protection::Srtp { send, receive } => {
                Some((send.print(self.seed), receive.print(self.seed)))
            }
            Protection::DangerousPlain => None,
        }
    }
}
