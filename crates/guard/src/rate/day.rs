//! Dates as decks write them. Nothing is guessed: 03/04 is two days, and which one is meant decides
//! what a call costs.

use crate::zone::Day;

/// The day, or what to write instead. `2026-12-01`, `20261201`, `1 Dec 2026`, `Dec 1, 2026`,
/// `31/12/2026`; midnight may follow.
pub(super) fn read(text: &str) -> Result<Day, String> {
    let (date, time) = parts(text);
    if !time.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.' | b'Z' | b'+')) {
        return Err("A line holds from midnight on: write the date without the time.".to_owned());
    }
    let separated = |c: char| matches!(c, '-' | '/' | '.' | ',' | ' ');
    let words: Vec<&str> = date.split(separated).filter(|word| !word.is_empty()).take(4).collect();
    let day = match *words.as_slice() {
        [word] if word.len() == 8 => match (word.get(..4), word.get(4..6), word.get(6..)) {
            (Some(year), Some(month), Some(day)) => of(year, month, day),
            _ => None,
        },
        [year, month, day] if year.len() == 4 => of(year, month, day),
        [first, second, year] if first.parse::<u8>().is_ok() && second.parse::<u8>().is_ok() => {
            let (day_first, month_first) = (of(year, second, first), of(year, first, second));
            if let (Some(one), Some(other)) = (day_first, month_first)
                && one != other
            {
                let said = |day: &str, month: &str| {
                    let name = month.parse::<usize>().ok().and_then(|at| MONTHS.get(at - 1));
                    format!("{} {}", day.trim_start_matches('0'), name.copied().unwrap_or(month))
                };
                return Err(format!(
                    "It is {} or {}: write {one} or {other}.",
                    said(first, second),
                    said(second, first)
                ));
            }
            day_first.or(month_first)
        }
        [day, month, year] if day.parse::<u8>().is_ok() => of(year, month, day),
        [month, day, year] => of(year, month, day),
        _ => None,
    };
    day.ok_or_else(|| "A date such as 2026-12-01 or 1 Dec 2026 is expected.".to_owned())
}

/// The date, and the time of day where one follows.
fn parts(text: &str) -> (&str, &str) {
    let split = text.find(':').and_then(|colon| text.get(..colon)?.rfind([' ', 'T']));
    match split.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((date, time)) => (date, time.trim()),
        None => (text, ""),
    }
}

/// Four digits, one or two digits or a name, one or two digits.
fn of(year: &str, month: &str, day: &str) -> Option<Day> {
    let number = |text: &str, most: usize| -> Option<i16> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && text.len() <= most { text.parse().ok() } else { None }
    };
    let month =
        number(month, 2).and_then(|month| i8::try_from(month).ok()).or_else(|| named(month))?;
    let year = number(year, 4).filter(|_| year.len() == 4)?;
    Day::new(year, month, i8::try_from(number(day, 2)?).ok()?)
}

/// A month by its English name or the beginning of it, three letters at least.
fn named(text: &str) -> Option<i8> {
    let begins =
        |name: &&str| name.get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text));
    let at = MONTHS.iter().position(|name| text.len() >= 3 && begins(name))?;
    i8::try_from(at + 1).ok()
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_can_be_meant_in_one_way_is_read() {
        for text in [
            "2026-12-13",
            "2026/12/13",
            "2026.12.13",
            "20261213",
            "13/12/2026",
            "12/13/2026",
            "13.12.2026",
            "13-Dec-2026",
            "13 december 2026",
            "Dec 13, 2026",
            "2026-Dec-13",
            "2026-12-13 00:00:00",
            "2026-12-13T00:00:00Z",
            "2026-12-13T00:00:00.000+00:00",
            "13 DEC 2026 00:00",
        ] {
            assert_eq!(
                read(text).map(|day| day.to_string()),
                Ok("2026-12-13".to_owned()),
                "{text}"
            );
        }
        // The same day, whichever comes first.
        assert_eq!(read("5/05/2026").map(|day| day.to_string()), Ok("2026-05-05".to_owned()));
        assert_eq!(read("1 Sept 2026").map(|day| day.to_string()), Ok("2026-09-01".to_owned()));
    }

    #[test]
    fn what_can_be_meant_in_two_ways_or_none_is_not() {
        let said = |text: &str| read(text).expect_err(text);
        assert_eq!(said("03/04/2026"), "It is 3 April or 4 March: write 2026-04-03 or 2026-03-04.");
        assert!(said("1.12.2026").starts_with("It is 1 December or 12 January"));
        for text in [
            "",
            "01/02/26",
            "46000",
            "13122026",
            "2026-13-01",
            "2026-02-30",
            "30/02/2026",
            "0/0/2026",
            "12-2026",
            "1 De 2026",
            "Dec 2026",
            "2026-12-01-02",
            "now",
            "+1-+1-2026",
            "é-é-2026",
        ] {
            assert!(said(text).starts_with("A date such as"), "{text}: {}", said(text));
        }
        assert!(said("2026-12-01 14:00").contains("without the time"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[0-9éT: ./,+a-eJ-]{0,24}") {
            let _ = read(&text);
        }

        #[test]
        fn a_day_reads_back(year in 1000i16..9_999, month in 1i8..=12, day in 1i8..=31) {
            if let Some(day) = Day::new(year, month, day) {
                prop_assert_eq!(read(&day.to_string()), Ok(day));
            }
        }
    }
}
