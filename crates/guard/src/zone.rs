//! The civil time of a tenant: where a day and a week begin, and which minute of the week it is.
//!
//! The rules of the zones are bundled, so a verdict doesn't depend on what the machine has installed,
//! and a simulated world has the same midnights as the real one.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use pure::Utc;

use crate::ledger::Window;

/// A zone of the IANA database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone(TimeZone);

/// A window of time: from the first instant of `begin` to just before `end`, in seconds since the
/// epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    pub begin: i64,
    pub end: i64,
}

/// A day of the calendar, `2026-12-01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day(Date);

impl Day {
    /// After this comes none.
    pub const MAX: Self = Self(Date::MAX);

    /// `None`: the calendar has no such day.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        Date::new(year, month, day).ok().map(Self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Zone {
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// By its IANA name, such as `Europe/Berlin`, whatever its case. `None`: no such zone.
    pub fn named(name: &str) -> Option<Self> {
        // The database answers some words that are no place ("unknown" among them).
        let known = TimeZoneDatabase::bundled().get(name).ok()?;
        (!known.is_unknown()).then_some(Self(known))
    }

    /// The window that an instant lies in. Hours are UTC's, so that an hour is an hour when clocks
    /// change; a day begins at the first instant of its date here, a week with its Monday.
    pub fn window(&self, utc: Utc, window: Window) -> Span {
        let second = utc.seconds();
        let date = || self.0.to_datetime(timestamp(second)).date();
        let span = match window {
            Window::Hour => None,
            Window::Day => self.days(date(), 0, 1),
            Window::Week => {
                let date = date();
                let past = i32::from(date.weekday().to_monday_zero_offset());
                self.days(date, -past, 7 - past)
            }
        };
        // The calendar ends at the year 9999, and there a day is as good as an hour.
        let hour = second - second.rem_euclid(3_600);
        span.unwrap_or(Span { begin: hour, end: hour.saturating_add(3_600) })
    }

    /// The date on the wall here.
    pub fn day(&self, utc: Utc) -> Day {
        Day(self.0.to_datetime(timestamp(utc.seconds())).date())
    }

    /// Minutes since Monday 00:00, by the clock on the wall here: 0 to 10,079.
    pub fn minute_of_week(&self, utc: Utc) -> u16 {
        let local = self.0.to_datetime(timestamp(utc.seconds()));
        let day = u16::try_from(local.date().weekday().to_monday_zero_offset()).unwrap_or(0);
        let part = |n: i8| u16::try_from(n).unwrap_or(0);
        day * 1_440 + part(local.hour()) * 60 + part(local.minute())
    }

    /// By the clock on the wall here, `2026-11-22 03:00:05 EST`; where a zone has no letters of its own,
    /// its distance from UTC: `2026-11-22 13:45:05 +0545`.
    pub fn wall(&self, utc: Utc) -> String {
        let local = timestamp(utc.seconds()).to_zoned_datetime(self.0.clone());
        let letters = local.strftime("%Z").to_string();
        let named = letters.bytes().all(|byte| byte.is_ascii_alphabetic());
        let name = if named { letters } else { local.strftime("%z").to_string() };
        format!("{} {name}", local.strftime("%Y-%m-%d %H:%M:%S"))
    }

    /// The first instant after `utc` at which the wall shows this minute of the week. Where clocks
    /// skip it, the instant at which they do.
    pub fn next(&self, utc: Utc, minute_of_week: u16) -> Utc {
        let minute = minute_of_week % (7 * 1_440);
        let today = self.0.to_datetime(timestamp(utc.seconds())).date();
        let past = i32::from(today.weekday().to_monday_zero_offset());
        let time = minute % 1_440;
        // This week's, else the next one's.
        for week in 0..=1 {
            let days = i32::from(minute / 1_440) - past + 7 * week;
            let small = |n: u16| i8::try_from(n).expect("hours and minutes are below 60");
            let at = shifted(today, days).and_then(|date| {
                let time = Time::new(small(time / 60), small(time % 60), 0, 0).ok()?;
                self.0.to_timestamp(date.to_datetime(time)).ok()
            });
            if let Some(at) = at.map(|at| Utc(at.as_microsecond())).filter(|at| *at > utc) {
                return at;
            }
        }
        Utc(utc.0.saturating_add(7 * 86_400 * 1_000_000))
    }

    /// By the clock on the wall, for people: `2026-11-22 17:50:24 CET`.
    pub fn shown(&self, utc: Utc) -> String {
        let instant = timestamp(utc.seconds());
        let wall = self.0.to_datetime(instant).to_string().replacen('T', " ", 1);
        format!("{wall} {}", self.0.to_offset_info(instant).abbreviation())
    }

    fn days(&self, date: Date, first: i32, after: i32) -> Option<Span> {
        let midnight = |days| {
            let date = shifted(date, days)?;
            // A midnight that clocks skip is the instant at which they do; of two, the first counts.
            Some(self.0.to_timestamp(date.to_datetime(Time::midnight())).ok()?.as_second())
        };
        Some(Span { begin: midnight(first)?, end: midnight(after)? })
    }
}

/// An instant as our answers write it, `2026-11-22T08:00:00.000Z`, and nothing looser: a name that
/// looks a little like a time stays a name.
pub fn written(text: &str) -> Option<Utc> {
    if text.len() != 24 || !text.ends_with('Z') || text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    text.parse::<Timestamp>().ok().map(|at| Utc(at.as_microsecond()))
}

fn shifted(date: Date, days: i32) -> Option<Date> {
    date.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

/// Clamped to the years the calendar knows.
fn timestamp(second: i64) -> Timestamp {
    let (least, most) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(second.clamp(least, most)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Utc {
        Utc(text.parse::<Timestamp>().expect("RFC 3339").as_microsecond())
    }

    fn span(zone: &str, utc: &str, window: Window) -> String {
        let span = Zone::named(zone).expect("bundled").window(at(utc), window);
        let text = |second: i64| Utc(second * 1_000_000).to_string().replace(":00.000Z", "");
        format!("{} {}", text(span.begin), text(span.end))
    }

    #[test]
    fn the_day_is_the_one_on_the_wall() {
        let day = |zone: &str| {
            Zone::named(zone).expect("bundled").day(at("2026-11-30T23:30:00Z")).to_string()
        };
        assert_eq!(day("Europe/Berlin"), "2026-12-01");
        assert_eq!(day("America/New_York"), "2026-11-30");
    }

    #[test]
    fn days_and_weeks_begin_at_the_midnight_of_the_place() {
        let berlin = |utc, window| span("Europe/Berlin", utc, window);
        assert_eq!(
            berlin("2026-07-01T23:30:00Z", Window::Day),
            "2026-07-01T22:00 2026-07-02T22:00"
        );
        assert_eq!(
            berlin("2026-07-01T23:30:00Z", Window::Hour),
            "2026-07-01T23:00 2026-07-02T00:00"
        );
        // Clocks go back on a Sunday in October: that day has 25 hours, that week 169.
        assert_eq!(
            berlin("2026-10-25T12:00:00Z", Window::Day),
            "2026-10-24T22:00 2026-10-25T23:00"
        );
        assert_eq!(
            berlin("2026-10-25T12:00:00Z", Window::Week),
            "2026-10-18T22:00 2026-10-25T23:00"
        );
        // Chile's clocks skip midnight itself.
        let chile = span("America/Santiago", "2026-09-06T12:00:00Z", Window::Day);
        assert_eq!(chile, "2026-09-06T04:00 2026-09-07T03:00");
    }

    #[test]
    fn the_wall_says_which_clock_it_is() {
        let wall = |zone: &str, utc| Zone::named(zone).expect("bundled").wall(at(utc));
        assert_eq!(wall("America/New_York", "2026-11-22T08:00:05Z"), "2026-11-22 03:00:05 EST");
        assert_eq!(wall("Europe/Berlin", "2026-07-01T23:30:00Z"), "2026-07-02 01:30:00 CEST");
        assert_eq!(wall("UTC", "2026-07-01T23:30:00Z"), "2026-07-01 23:30:00 UTC");
        assert_eq!(wall("Asia/Kathmandu", "2026-07-01T00:00:00Z"), "2026-07-01 05:45:00 +0545");
    }

    #[test]
    fn a_zone_that_is_not_in_the_database_is_none() {
        for name in ["", "Europe/Atlantis", "unknown", "Etc/Unknown", "../etc/passwd"] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
        assert!(Zone::named("UTC").is_some() && Zone::named("america/new_york").is_some());
    }

    #[test]
    fn the_next_minute_of_the_week_is_found_on_the_wall() {
        let berlin = Zone::named("Europe/Berlin").expect("bundled");
        // Friday evening; Monday 08:00 lies behind the change to winter.
        let monday = berlin.next(at("2026-10-23T18:00:00Z"), 480);
        assert_eq!(monday.to_string(), "2026-10-26T07:00:00.000Z");
        assert_eq!(berlin.minute_of_week(monday), 480);
        assert_eq!(berlin.shown(monday), "2026-10-26 08:00:00 CET");
        // Exactly then, the next is a week away.
        assert_eq!(berlin.next(monday, 480).to_string(), "2026-11-02T07:00:00.000Z");
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_window_and_windows_touch(
            second in -2_000_000_000i64..8_000_000_000,
            zone in prop_oneof![
                Just("UTC"), Just("Europe/Berlin"), Just("America/Santiago"), Just("Pacific/Apia"),
                Just("Asia/Kathmandu"), Just("America/Havana"), Just("Atlantic/Azores"),
            ],
            window in prop_oneof![Just(Window::Hour), Just(Window::Day), Just(Window::Week)],
        ) {
            let zone = Zone::named(zone).expect("bundled");
            let span = zone.window(Utc(second * 1_000_000), window);
            prop_assert!(span.begin <= second && second < span.end, "{span:?}");
            prop_assert_eq!(zone.window(Utc(span.end * 1_000_000), window).begin, span.end);
            let last = zone.window(Utc(span.end * 1_000_000 - 1), window);
            prop_assert_eq!(last, span);
        }

        #[test]
        fn no_instant_breaks_the_calendar(micros in any::<i64>(), minute in any::<u16>()) {
            let zone = Zone::named("Europe/Berlin").expect("bundled");
            let utc = Utc(micros);
            for window in [Window::Hour, Window::Day, Window::Week] {
                let span = zone.window(utc, window);
                prop_assert!(span.begin <= span.end);
            }
            prop_assert!(zone.minute_of_week(utc) < 10_080);
            prop_assert!(zone.next(utc, minute) >= utc);
        }
    }
}
