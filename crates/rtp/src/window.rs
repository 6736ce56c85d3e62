//! Which packets of a stream were seen: the full index behind a 16-bit sequence number, and a window
//! that refuses to see one twice (RFC 3711 §3.3.1, §3.3.2).

/// The newest index of a stream and the [`Window::SIZE`] before it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Window {
    /// Meaningless until something was seen.
    highest: u64,
    /// Bit n stands for `highest - n`. Zero: nothing was seen yet.
    seen: u128,
}

impl Window {
    /// RFC 3711 §3.3.2 demands 64. At 50 packets a second 128 are 2.5 seconds, longer than any
    /// jitter buffer waits: what is older is useless even where it is honest.
    pub(crate) const SIZE: u64 = 128;

    /// Everything up to `highest` counts as seen.
    pub(crate) fn after(highest: u64) -> Self {
        Self { highest, seen: u128::MAX }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen == 0
    }

    pub(crate) fn highest(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.highest)
    }

    /// The index nearest to the newest one that ends in `sequence`; `None` where that would lie
    /// before the beginning. The first packet of a stream has a rollover counter of zero.
    pub(crate) fn estimate(&self, sequence: u16) -> Option<u64> {
        if self.is_empty() {
            return Some(u64::from(sequence));
        }
        // RFC 3711 appendix A, told as a signed distance: at most half the number space away.
        let newest = self.highest as u16;
        let distance = sequence.wrapping_sub(newest) as i16;
        self.highest.checked_add_signed(i64::from(distance))
    }

    /// Neither seen nor too old to tell.
    pub(crate) fn is_fresh(&self, index: u64) -> bool {
        if self.is_empty() || index > self.highest {
            return true;
        }
        let age = self.highest - index;
        age < Self::SIZE && self.seen >> age & 1 == 0
    }

    pub(crate) fn note(&mut self, index: u64) {
        if self.is_empty() {
            *self = Self { highest: index, seen: 1 };
        } else if index > self.highest {
            let step = index - self.highest;
            self.seen = if step < Self::SIZE { self.seen << step | 1 } else { 1 };
            self.highest = index;
        } else if self.highest - index < Self::SIZE {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_index_rolls_over() {
        let mut window = Window::default();
        for (sequence, index) in [
            (65_534, 65_534),
            (65_535, 65_535),
            (1, 65_537),
            (0, 65_536),
            (65_533, 65_533),
            (30_000, 95_536),
            (60_000, 125_536),
            (10, 131_082),
        ] {
            assert_eq!(window.estimate(sequence), Some(index));
            window.note(index);
        }
    }

    #[test]
    fn nothing_lies_before_the_beginning() {
        let mut window = Window::default();
        window.note(3);
        assert_eq!(window.estimate(65_535), None);
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn agrees_with_a_set(steps in proptest::collection::vec(0u64..400, 1..200)) {
            let (mut window, mut model, mut highest) = (Window::default(), BTreeSet::new(), None::<u64>);
            for index in steps {
                let young = highest.is_none_or(|highest| index + Window::SIZE > highest);
                let fresh = young && !model.contains(&index);
                prop_assert_eq!(window.is_fresh(index), fresh, "{}", index);
                if fresh {
                    window.note(index);
                    model.insert(index);
                    highest = highest.max(Some(index));
                }
            }
        }
    }
}
