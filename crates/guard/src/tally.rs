//! What strangers do, told source by source while few do it, and as a sum once many do.
//!
//! Over datagrams anybody can write a thousand addresses in a second, and a line of the journal for each
//! would be the attack. So within a minute [`Tally::TOLD_MAX`] sources are told at once, and each that goes on
//! once more, with its number, when the minute is over; all others are one sum with the loudest of
//! them. Make one for each kind of doing.
//!
//! Drive it: drain [`Tally::due`] before [`Tally::admit`], and whenever time has passed.

use std::collections::BTreeMap;
use std::time::Duration;

use pure::Instant;

use crate::source::Source;

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    began: Instant,
    /// Told at once, and how often since.
    told: BTreeMap<Source, u64>,
    others: u64,
    /// The loudest of the others, at most [`Tally::LOUD_MAX`]: where there is no room, the newcomer takes the place
    /// and the number of the quietest, so that whoever is truly loud stays.
    loud: BTreeMap<Source, u64>,
}

/// What there is to tell of a minute that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    Of { source: Source, count: u64 },
    Others { count: u64, loudest: Source },
}

impl Tally {
    /// Sources that are told by name within a minute.
    pub const TOLD_MAX: usize = 10;
    /// Sources among which the loudest is looked for.
    pub const LOUD_MAX: usize = 16;
    pub const EVERY: Duration = Duration::from_secs(60);

    /// Counts one. Whether it is told now; what isn't comes with [`Tally::due`].
    pub fn admit(&mut self, now: Instant, source: Source) -> bool {
        if self.told.is_empty() && self.others == 0 {
            self.began = now;
        }
        if let Some(count) = self.told.get_mut(&source) {
            *count = count.saturating_add(1);
            return false;
        }
        if self.told.len() < Self::TOLD_MAX {
            self.told.insert(source, 0);
            return true;
        }
        self.others = self.others.saturating_add(1);
        if !self.loud.contains_key(&source) && self.loud.len() >= Self::LOUD_MAX {
            let quietest = self.loud.iter().min_by_key(|(_, count)| **count);
            if let Some((quietest, count)) = quietest.map(|(source, count)| (*source, *count)) {
                self.loud.remove(&quietest);
                self.loud.insert(source, count);
            }
        }
        *self.loud.entry(source).or_default() += 1;
        false
    }

    /// What is left to tell, once its minute is over. A source that went on stays one that is told, so that
    /// it is one line a minute.
    pub fn due(&mut self, now: Instant) -> Vec<Line> {
        if now.since(self.began) < Self::EVERY {
            return Vec::new();
        }
        self.began = now;
        self.told.retain(|_, count| *count > 0);
        let told = self.told.iter_mut();
        let mut lines: Vec<Line> = told
            .map(|(source, count)| Line::Of { source: *source, count: std::mem::take(count) })
            .collect();
        let loudest = self.loud.iter().max_by_key(|(_, count)| **count).map(|(source, _)| *source);
        if let Some(loudest) = loudest {
            lines.push(Line::Others { count: std::mem::take(&mut self.others), loudest });
        }
        self.loud.clear();
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(number: u32) -> Source {
        IpAddr::from(Ipv4Addr::from_bits(0xc000_0200 + number)).into()
    }

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn a_forger_of_sources_is_ten_lines_and_a_sum_a_minute() {
        let mut tally = Tally::default();
        let mut lines = 0;
        for n in 0..38_000_u32 {
            let now = at(u64::from(n) / 190);
            lines += tally.due(now).len();
            // One in four is of the same address.
            let from = if n % 4 == 3 { 7_000_000 } else { n };
            lines += usize::from(tally.admit(now, source(from)));
        }
        assert!(lines <= 4 * 21, "{lines} lines in 200 s");
        let loud = tally.due(at(1_000)).into_iter().find(|line| match line {
            Line::Of { source: from, .. } | Line::Others { loudest: from, .. } => {
                *from == source(7_000_000)
            }
        });
        assert!(loud.is_some(), "the loud one is named");
    }

    #[test]
    fn a_steady_source_is_one_line_a_minute_and_a_quiet_one_is_new_again() {
        let mut tally = Tally::default();
        assert!(tally.admit(at(0), source(1)));
        assert!(!tally.admit(at(1), source(1)));
        assert!(!tally.admit(at(2), source(1)));
        assert!(tally.due(at(59)).is_empty());
        assert_eq!(tally.due(at(60)), [Line::Of { source: source(1), count: 2 }]);
        assert!(!tally.admit(at(61), source(1)));
        assert_eq!(tally.due(at(121)), [Line::Of { source: source(1), count: 1 }]);
        assert!(tally.due(at(200)).is_empty());
        assert!(tally.admit(at(201), source(1)));
    }
}
