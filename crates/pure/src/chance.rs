//! Randomness as a value: seeded from the operating system at the edge, from a number in simulation.

use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A cryptographic stream of random numbers (ChaCha with 12 rounds).
///
/// Tags, nonces and keys come from it, so a seed from the edge must be 32 bytes of the operating
/// system's randomness, and is never stored. Not `Clone`: two copies would hand out the same keys.
pub struct Chance(ChaCha12Rng);

/// The key of a [`crate::Map`], so that a peer who chooses the keys can't choose the collisions.
#[derive(Clone, Copy)]
pub struct HashSeed(pub(crate) u64, pub(crate) u64);

impl Chance {
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// For simulation and tests: a printed number reproduces the world.
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn u128(&mut self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// A number below `bound`, without bias; zero where `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Draws above the last whole multiple of `bound` would favour small numbers: drawn again.
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let draw = self.u64();
            if draw < zone {
                return draw % bound;
            }
        }
    }

    /// True once in `n` draws on average; never where `n` is zero.
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }

    /// An independent stream: what one engine draws doesn't shift what another sees.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.bytes())
    }

    pub fn hash_seed(&mut self) -> HashSeed {
        HashSeed(self.u64(), self.u64())
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance(..)")
    }
}

impl fmt::Debug for HashSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashSeed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reproduces_the_stream() {
        let (mut a, mut b) = (Chance::from_number(7), Chance::from_number(7));
        assert_eq!(a.bytes::<32>(), b.bytes::<32>());
        assert_ne!(a.u64(), Chance::from_number(8).u64());
    }

    #[test]
    fn below_keeps_its_bound() {
        let mut chance = Chance::from_number(1);
        assert!((0..1_000).all(|_| chance.below(3) < 3));
        assert_eq!(chance.below(0), 0);
    }
}
