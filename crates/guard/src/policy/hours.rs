//! Hours of the week, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Hours of the week, in the policy's zone: minutes from Monday 00:00, sorted, not overlapping. Full
/// by default; an empty list is never.
///
/// Written as `mon-fri 08:00-18:00, sat 09:00-12:00`, `always` or `never`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hours(pub Vec<(u16, u16)>);

/// The text names no hours; it says where it went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotHours(String);

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: u16 = 1_440;

impl Hours {
    pub const WEEK: u16 = 7 * DAY;

    /// More spans than this are no hours that anybody keeps: ten for each day.
    pub const SPANS_MAX: usize = 70;

    pub fn always() -> Self {
        Self(vec![(0, Self::WEEK)])
    }

    pub fn never() -> Self {
        Self(Vec::new())
    }

    /// Monday to Friday, 08:00 to 18:00.
    pub fn office() -> Self {
        Self((0..5).map(|day| (day * DAY + 480, day * DAY + 1_080)).collect())
    }

    /// Whether they are open in this minute of the week, 0 to 10,079.
    pub fn open(&self, minute: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..*to).contains(&minute))
    }

    /// The minutes of the week at which they open, having been closed before. None where they are
    /// always open, or never.
    pub fn openings(&self) -> impl Iterator<Item = u16> {
        // Sunday's midnight is Monday's: hours that touch there are one span.
        let ends = |minute: u16| {
            self.0.iter().any(|(_, to)| *to == minute || (minute == 0 && *to == Self::WEEK))
        };
        self.0.iter().map(|(from, _)| *from).filter(move |from| !ends(*from))
    }

    /// Sorted, within the week, not overlapping, not empty: what [`Hours::open`] goes by.
    pub fn is_sound(&self) -> bool {
        let spans = &self.0;
        spans.len() <= Self::SPANS_MAX
            && spans.iter().all(|(from, to)| from < to && *to <= Self::WEEK)
            && spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
    }

    /// Sound hours that cover the same minutes.
    fn joined(mut spans: Vec<(u16, u16)>) -> Self {
        spans.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::new();
        for (from, to) in spans {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                Some(_) | None => joined.push((from, to)),
            }
        }
        Self(joined)
    }
}

impl FromStr for Hours {
    type Err = NotHours;

    fn from_str(text: &str) -> Result<Self, NotHours> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "always" => return Ok(Self::always()),
            "never" => return Ok(Self::never()),
            _ => {}
        }
        let mut spans = Vec::new();
        for part in text.split(',') {
            let wrong = || NotHours(part.trim().chars().take(40).collect());
            let (days, times) = part.trim().split_once(' ').ok_or_else(wrong)?;
            let (first, last) = days.split_once('-').unwrap_or((days, days));
            let (first, last) = (day(first).ok_or_else(wrong)?, day(last).ok_or_else(wrong)?);
            let (from, to) = times.trim().split_once('-').ok_or_else(wrong)?;
            let (from, to) = (time(from).ok_or_else(wrong)?, time(to).ok_or_else(wrong)?);
            if from == to || from == DAY {
                return Err(wrong());
            }
            // `fri-mon` goes round the week; 22:00-06:00 ends on the next day.
            let count = (last + 7 - first) % 7;
            for day in 0..=count {
                let begin = (first + day) % 7 * DAY + from;
                let end = begin + if to > from { to - from } else { DAY - from + to };
                spans.push((begin, end.min(Self::WEEK)));
                if end > Self::WEEK {
                    spans.push((0, end - Self::WEEK));
                }
            }
        }
        let hours = Self::joined(spans);
        if hours.is_sound() { Ok(hours) } else { Err(NotHours("too many spans".to_owned())) }
    }
}

/// As [`Hours::from_str`] reads it back: equal days that follow each other are written together.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = Self::joined(self.0.clone());
        match hours.0.as_slice() {
            [] => return f.write_str("never"),
            [(0, Self::WEEK)] => return f.write_str("always"),
            _ => {}
        }
        // Each day's own minutes, then runs of days that have the same.
        let of_day = |day: u16| -> Vec<(u16, u16)> {
            let (begin, end) = (day * DAY, day * DAY + DAY);
            let cut = |(from, to): &(u16, u16)| ((*from).max(begin), (*to).min(end));
            let cut = hours.0.iter().map(cut).filter(|(from, to)| from < to);
            cut.map(|(from, to)| (from - begin, to - begin)).collect()
        };
        let mut parts = Vec::new();
        let mut first = 0;
        while first < 7 {
            let times = of_day(first);
            let mut last = first;
            while last < 6 && of_day(last + 1) == times {
                last += 1;
            }
            let name = |day: u16| DAYS.get(usize::from(day)).copied().unwrap_or_default();
            for (from, to) in times {
                let days = if first == last {
                    name(first).to_owned()
                } else {
                    format!("{}-{}", name(first), name(last))
                };
                let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
                parts.push(format!("{days} {}-{}", clock(from), clock(to)));
            }
            first = last + 1;
        }
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for NotHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.0;
        write!(
            f,
            "\"{found}\" names no hours; write them like mon-fri 08:00-18:00, sat 09:00-12:00, or \
             always, or never"
        )
    }
}

impl std::error::Error for NotHours {}

/// 0 for Monday.
fn day(text: &str) -> Option<u16> {
    let at = DAYS.iter().position(|day| *day == text)?;
    u16::try_from(at).ok()
}

/// Minutes of the day; `24:00` is its end.
fn time(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse::<u16>().ok() } else { None }
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60 || hour == 24 && minute == 0).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Hours {
        text.parse().unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn hours_read_as_people_write_them() {
        assert_eq!(read("mon-fri 08:00-18:00"), Hours::office());
        assert_eq!(read("Always"), Hours::always());
        assert_eq!(read("never"), Hours::never());
        assert_eq!(read("sat 09:00-12:00, sun 00:00-24:00").0, [(7_740, 7_920), (8_640, 10_080)]);
        // Over midnight, over the week's end, and touching ones become one.
        assert_eq!(read("sun 22:00-06:00").0, [(0, 360), (9_960, 10_080)]);
        assert_eq!(read("mon-sun 00:00-24:00"), Hours::always());
        assert_eq!(read("fri-mon 10:00-11:00").0.len(), 4);
    }

    #[test]
    fn what_is_no_hours_is_refused_with_its_words() {
        let wrong = [
            "",
            "monday 08:00-18:00",
            "mon 8-18",
            "mon 08:00",
            "mon 25:00-26:00",
            "mon 08:00-08:00",
        ];
        for text in wrong {
            let fault = text.parse::<Hours>().expect_err(text).to_string();
            assert!(fault.contains(text), "{fault}");
        }
    }

    #[test]
    fn hours_open_and_close_on_their_minute() {
        let office = Hours::office();
        assert!(!office.open(479) && office.open(480) && office.open(1_079) && !office.open(1_080));
        assert_eq!(office.openings().collect::<Vec<_>>(), [480, 1_920, 3_360, 4_800, 6_240]);
        assert_eq!(Hours::always().openings().count(), 0);
        assert_eq!(Hours::never().openings().count(), 0);
        // Sunday's midnight is Monday's.
        assert_eq!(read("sun 22:00-06:00").openings().collect::<Vec<_>>(), [9_960]);
    }

    proptest! {
        #[test]
        fn hours_read_back_as_they_are_written(
            cuts in proptest::collection::btree_set(0u16..=Hours::WEEK, 0..12),
        ) {
            let cuts: Vec<u16> = cuts.into_iter().collect();
            let hours = Hours(cuts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect());
            prop_assert!(hours.is_sound());
            prop_assert_eq!(read(&hours.to_string()), hours);
        }

        #[test]
        fn no_text_breaks_the_reading(text in "[a-z0-9 :,-]{0,40}") {
            if let Ok(hours) = text.parse::<Hours>() {
                prop_assert!(hours.is_sound(), "{hours:?}");
            }
        }
    }
}
