//! The one date format of SIP: RFC 1123, always GMT, and its names in just this case (RFC 3261 §20.17).

use crate::Violation;

/// Seconds since 1970.
pub(crate) fn parse(text: &str) -> Result<i64, Violation> {
    read(text).ok_or(Violation::Date)
}

/// `Sat, 13 Nov 2010 23:29:00 GMT`.
fn read(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 29 || !text.is_ascii() || &text[3..5] != ", " || &text[25..] != " GMT" {
        return None;
    }
    if bytes[7] != b' '
        || bytes[11] != b' '
        || bytes[16] != b' '
        || bytes[19] != b':'
        || bytes[22] != b':'
    {
        return None;
    }
    let number =
        |at: usize, len: usize| crate::ascii::number(&bytes[at..at + len], 9999).map(|n| n as i64);
    let weekday = position(&DAYS, &text[..3])?;
    let (day, month, year) = (number(5, 2)?, position(&MONTHS, &text[8..11])? + 1, number(12, 4)?);
    let (hour, minute, second) = (number(17, 2)?, number(20, 2)?, number(23, 2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length).contains(&day) || year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days from civil, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    // 1970-01-01 was a Thursday; a date that contradicts itself is no date.
    ((days + 3).rem_euclid(7) == weekday)
        .then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn position(names: &[&str], name: &str) -> Option<i64> {
    names.iter().position(|&n| n == name).map(|i| i as i64)
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_read_or_refused() {
        assert_eq!(super::parse("Sat, 13 Nov 2010 23:29:00 GMT"), Ok(1_289_690_940));
        assert_eq!(super::parse("Thu, 01 Jan 1970 00:00:00 GMT"), Ok(0));
        for bad in [
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Sat, 13 Nov 2010 23:29:00",
            "Sun, 13 Nov 2010 23:29:00 GMT",
            "SAT, 13 NOV 2010 23:29:00 GMT",
            "Sat, 13 Nov 2010 23:29:60 GMT",
            "",
        ] {
            assert!(super::parse(bad).is_err(), "{bad}");
        }
    }
}
