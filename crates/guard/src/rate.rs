//! What a minute costs: the operator's rate deck by longest prefix, and a cautious estimate where the
//! deck is silent.

mod day;
mod estimate;
mod import;

use serde::{Deserialize, Serialize};

pub use self::estimate::estimate;
pub use self::import::{Imported, Later, RateFault};
use crate::money::{Currency, Money};
use crate::number::{Country, Outside};

/// One tariff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Digits without `+` that numbers begin with; empty for an estimate.
    pub prefix: String,
    /// `Latvia, mobile`
    pub name: String,
    pub per_minute: Money,
    /// Charged once when the call is answered.
    pub connect: Money,
    /// Seconds billed at least.
    pub first: u16,
    /// Seconds that are billed as a whole after that.
    pub increment: u16,
    pub source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A line of the imported deck.
    Deck,
    /// Ours, by class and country. Labelled as an estimate wherever it shows.
    Estimate,
}

/// All tariffs of one operator. Immutable; an import makes a new one.
///
/// A line takes 24 bytes and each name is kept once: 200,000 prefixes with 20,000 names are under
/// 6 MB, where three strings each would be 30.
#[derive(Clone, PartialEq, Eq)]
pub struct RateDeck {
    pub version: u64,
    pub currency: Currency,
    /// Sorted by key.
    lines: Box<[Line]>,
    names: Names,
    /// Bit n: some prefix has n digits.
    lengths: u16,
}

/// A tariff as the deck keeps it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Line {
    key: Key,
    /// Millionths: [`RateDeck::PRICE_MAX`] fits.
    per_minute: u32,
    connect: u32,
    name: u32,
    first: u16,
    increment: u16,
}

/// A prefix: how many digits in the upper byte, their value below, so that those of one length lie
/// together and are found by halving.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

/// Texts one after the other, and where each ends.
#[derive(Clone, PartialEq, Eq, Default)]
struct Names {
    text: Box<str>,
    ends: Box<[u32]>,
}

/// The most that any of some tariffs can cost, each figure by itself: a bound on all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ceiling {
    pub per_minute: Money,
    /// What an answer costs however short the call: connecting, and the seconds that are billed at least.
    pub answer: Money,
    /// One billing increment.
    pub increment: Money,
    /// Seconds that are billed as a whole, at most.
    pub whole: u16,
    /// So many times the least that can be paid for may one increment cost: once, where no first step is
    /// shorter than an increment; zero where nothing may be called.
    pub factor: i64,
}

impl RateDeck {
    /// Lines of an import. A carrier's full deck has some 200,000.
    pub const LINES_MAX: u64 = 2_000_000;

    /// Bytes of an import.
    pub const BYTES_MAX: usize = 64 << 20;

    /// Dearer than this a minute, or for an answer, nothing is: 1,000 units.
    pub const PRICE_MAX: Money = Money(1_000 * Money::UNIT);

    /// Nobody bills longer wholes than an hour.
    pub const INCREMENT_MAX: u16 = 3_600;

    /// Digits of a prefix: a whole number by E.164.
    pub const PREFIX_MAX: usize = 15;

    /// Nothing imported: estimates alone.
    pub fn estimates(currency: Currency) -> Self {
        Self { version: 0, currency, lines: Box::default(), names: Names::default(), lengths: 0 }
    }

    /// Longest prefix, else the estimate for who is at `home`; `None`: nobody knows, so it is denied.
    pub fn price(&self, number: &Outside, home: Country) -> Option<Rate> {
        // National short codes have no place in a deck of international prefixes.
        let digits = number.digits().as_str().strip_prefix('+');
        digits
            .and_then(|digits| self.longest(digits))
            .map(|line| self.rate(line))
            .or_else(|| estimate(self.currency, home, number.class(), number.country()))
    }

    /// What numbers that begin with this prefix cost by the deck alone.
    pub fn of_prefix(&self, digits: &str) -> Option<Rate> {
        self.longest(digits).map(|line| self.rate(line))
    }

    /// How many prefixes it has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All lines, shorter prefixes first.
    pub fn rates(&self) -> impl ExactSizeIterator<Item = Rate> {
        self.lines.iter().map(|line| self.rate(line))
    }

    /// The most that numbers can cost of those prefixes that are `allowed`, leaving out what costs more
    /// than `max` a minute or to connect. `allowed` is asked for few: those that would raise a figure.
    pub fn ceiling(&self, max: Money, mut allowed: impl FnMut(&str) -> bool) -> Ceiling {
        let mut ceiling = Ceiling::default();
        for line in &self.lines {
            let (per_minute, connect) = (line.per_minute(), line.connect());
            if per_minute > max || connect > max {
                continue;
            }
            let raised = ceiling.with(per_minute, connect, line.first, line.increment);
            if raised != ceiling && allowed(&line.key.digits()) {
                ceiling = raised;
            }
        }
        ceiling
    }

    fn longest(&self, digits: &str) -> Option<&Line> {
        let most = digits.len().min(Self::PREFIX_MAX);
        let lengths = (1..=most).rev().filter(|length| self.lengths & (1 << length) != 0);
        lengths.filter_map(|length| Key::of(digits.get(..length)?)).find_map(|key| self.line(key))
    }

    fn line(&self, key: Key) -> Option<&Line> {
        let at = self.lines.binary_search_by_key(&key, |line| line.key).ok()?;
        self.lines.get(at)
    }

    fn rate(&self, line: &Line) -> Rate {
        Rate {
            prefix: line.key.digits(),
            name: self.names.get(line.name).to_owned(),
            per_minute: line.per_minute(),
            connect: line.connect(),
            first: line.first,
            increment: line.increment,
            source: Source::Deck,
        }
    }
}

impl Line {
    fn per_minute(&self) -> Money {
        Money(i64::from(self.per_minute))
    }

    fn connect(&self) -> Money {
        Money(i64::from(self.connect))
    }
}

impl Key {
    /// 1 to 15 digits that don't begin with 0.
    fn of(digits: &str) -> Option<Self> {
        let fits = (1..=RateDeck::PREFIX_MAX).contains(&digits.len());
        if !fits || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let length = u64::try_from(digits.len()).ok()?;
        Some(Self(length << 56 | digits.parse::<u64>().ok()?))
    }

    fn length(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    fn digits(self) -> String {
        // The first digit is none of 0, so the value has as many digits as the prefix.
        (self.0 & ((1 << 56) - 1)).to_string()
    }
}

impl Names {
    fn get(&self, index: u32) -> &str {
        let end = |index: usize| self.ends.get(index).and_then(|end| usize::try_from(*end).ok());
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let begin = index.checked_sub(1).map_or(Some(0), end);
        let range = begin.zip(end(index)).and_then(|(begin, end)| self.text.get(begin..end));
        range.unwrap_or_default()
    }
}

impl Ceiling {
    /// A rate that may be called, too.
    pub fn with(self, per_minute: Money, connect: Money, first: u16, increment: u16) -> Self {
        let part = |seconds: u16| of_minute(per_minute, u64::from(seconds)).unwrap_or(MOST);
        let answer = Money(part(first.max(increment)).0.saturating_add(connect.0));
        Self {
            per_minute: self.per_minute.max(per_minute),
            answer: self.answer.max(answer),
            increment: self.increment.max(part(increment.max(1))),
            whole: self.whole.max(first).max(increment),
            factor: self.factor.max(if first == 0 {
                1
            } else {
                i64::from(increment.max(1).div_ceil(first))
            }),
        }
    }
}

const MOST: Money = Money(i64::MAX);

impl Rate {
    /// What `seconds` of an answered call cost, rounded up to millionths. `None` where it doesn't fit.
    pub fn cost(&self, seconds: u64) -> Option<Money> {
        let (first, increment) = (u64::from(self.first), u64::from(self.increment.max(1)));
        let billed = match seconds.checked_sub(first) {
            None => first,
            Some(over) => first.checked_add(over.div_ceil(increment).checked_mul(increment)?)?,
        };
        self.connect.checked_add(of_minute(self.per_minute, billed)?)
    }

    /// What one billing increment costs.
    pub fn tail(&self) -> Money {
        of_minute(self.per_minute, u64::from(self.increment.max(1))).unwrap_or(MOST)
    }
}

/// The price of some seconds, rounded up to millionths. `None` where it doesn't fit.
pub(crate) fn of_minute(per_minute: Money, seconds: u64) -> Option<Money> {
    let talk = per_minute.checked_mul(i64::try_from(seconds).ok()?)?.0;
    Some(Money(talk.div_euclid(60) + i64::from(talk.rem_euclid(60) != 0)))
}

/// How many there are; nobody reads 200,000 lines in a log.
impl std::fmt::Debug for RateDeck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateDeck")
            .field("version", &self.version)
            .field("currency", &self.currency)
            .field("lines", &self.lines.len())
            .finish_non_exhaustive()
    }
}
