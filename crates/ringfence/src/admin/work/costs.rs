//! What past calls came to, summed.

use std::collections::{BTreeMap, BTreeSet};

use guard::id::ExtensionId;
use guard::ledger::Window;
use guard::money::{Currency, Money};
use guard::zone::Zone;
use pbx::record::{Cdr, Toll};
use pure::Utc;

use super::rates::rate;
use super::{Office, Result, failure, unreadable};
use crate::admin::amount;
use crate::admin::names::Names;
use crate::admin::protocol::{self, Cost, CostBy, Costs};

impl Office {
    /// Over every call of the time, however many.
    pub(super) async fn costs(
        &self,
        by: CostBy,
        since: Option<Utc>,
        extension: Option<ExtensionId>,
        zone: &Zone,
        names: &Names,
    ) -> Result<Costs> {
        let stored = match by {
            CostBy::Extension => store::CostBy::Extension,
            CostBy::Country => store::CostBy::Country,
            CostBy::Trunk => store::CostBy::Trunk,
            CostBy::Day => return self.costs_by_day(since, extension, zone).await,
        };
        summed(by, self.costs_by(stored, since, extension, names).await?)
    }

    async fn costs_by(
        &self,
        by: store::CostBy,
        since: Option<Utc>,
        extension: Option<ExtensionId>,
        names: &Names,
    ) -> Result<Vec<(String, Currency, Sum)>> {
        let tenant = Some(self.tenant);
        let query = store::CostQuery { by, tenant, since, until: None, extension };
        let found = self.store.costs(&query).await.map_err(unreadable)?;
        let none = || "-".to_owned();
        let line = |cost: store::Cost| {
            let of = match cost.of {
                store::CostOf::Extension(id) => id.map_or_else(none, |id| {
                    let known = names.extensions.iter().find(|(known, _)| *known == id);
                    known.map_or_else(|| "(removed)".to_owned(), |(_, number)| number.clone())
                }),
                store::CostOf::Country(country) => {
                    country.map_or_else(none, |country| country.to_string())
                }
                store::CostOf::Trunk(id) => names.of_trunk(id),
                store::CostOf::Class(class) => class.to_string(),
            };
            let store::Cost { legs, answered, seconds, cost: money, .. } = cost;
            (of, cost.currency, Sum { legs, answered, seconds, cost: money })
        };
        Ok(found.into_iter().map(line).collect())
    }

    /// The store knows no zones, so the records are read page by page.
    async fn costs_by_day(
        &self,
        since: Option<Utc>,
        extension: Option<ExtensionId>,
        zone: &Zone,
    ) -> Result<Costs> {
        let mut days: BTreeMap<(String, Currency), Sum> = BTreeMap::new();
        let mut until = None;
        // Calls that began in the microsecond at which the former page ended stand in both.
        let mut seen: BTreeSet<guard::id::CallId> = BTreeSet::new();
        loop {
            let query = store::CallQuery {
                tenant: Some(self.tenant),
                since,
                until,
                limit: Some(PAGE),
                ..store::CallQuery::default()
            };
            let page = self.store.calls(&query).await.map_err(unreadable)?;
            let fresh: Vec<&Cdr> = page.iter().filter(|cdr| !seen.contains(&cdr.call)).collect();
            let mine = |cdr: &Cdr| extension.is_none() || cdr.responsible == extension;
            for cdr in fresh.iter().filter(|cdr| mine(cdr)) {
                let day = date(day_of(zone, cdr.started));
                for toll in &cdr.tolls {
                    let sum = days.entry((day.clone(), toll.currency)).or_default();
                    sum.add(&Sum::of(toll)).ok_or_else(too_much)?;
                }
            }
            let Some(last) = page.last().filter(|_| !fresh.is_empty()) else { break };
            until = Some(Utc(last.started.0.saturating_add(1)));
            let began = last.started;
            seen = page.iter().filter(|cdr| cdr.started == began).map(|cdr| cdr.call).collect();
        }
        let lines = days.into_iter().rev().map(|((day, currency), sum)| (day, currency, sum));
        summed(CostBy::Day, lines.collect())
    }
}

/// Part of a sum.
#[derive(Clone, Debug, Default)]
struct Sum {
    legs: u64,
    answered: u64,
    seconds: u64,
    cost: Money,
}

impl Sum {
    fn of(toll: &Toll) -> Self {
        Self {
            legs: 1,
            answered: u64::from(toll.answered.is_some()),
            seconds: toll.seconds,
            cost: toll.cost,
        }
    }

    /// `None` where it doesn't fit.
    fn add(&mut self, more: &Self) -> Option<()> {
        self.legs = self.legs.checked_add(more.legs)?;
        self.answered = self.answered.checked_add(more.answered)?;
        self.seconds = self.seconds.checked_add(more.seconds)?;
        self.cost = self.cost.checked_add(more.cost)?;
        Some(())
    }

    fn shown(&self, of: String, currency: Currency) -> Cost {
        Cost {
            of,
            currency: currency.to_string(),
            legs: self.legs,
            answered: self.answered,
            seconds: self.seconds,
            cost: amount::text(self.cost),
        }
    }
}

/// Currencies are never added to each other: each has a total of its own.
fn summed(by: CostBy, lines: Vec<(String, Currency, Sum)>) -> Result<Costs> {
    let mut totals: BTreeMap<Currency, Sum> = BTreeMap::new();
    for (_, currency, sum) in &lines {
        totals.entry(*currency).or_default().add(sum).ok_or_else(too_much)?;
    }
    let by = match by {
        CostBy::Extension => "extension",
        CostBy::Country => "country",
        CostBy::Trunk => "trunk",
        CostBy::Day => "day",
    };
    Ok(Costs {
        by: by.to_owned(),
        lines: lines.into_iter().map(|(of, currency, sum)| sum.shown(of, currency)).collect(),
        totals: totals
            .into_iter()
            .map(|(currency, sum)| sum.shown("all".to_owned(), currency))
            .collect(),
    })
}

/// The cost of one call, each currency by itself: `0.25 USD`.
pub(super) fn cost(tolls: &[Toll]) -> Vec<String> {
    let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
    for toll in tolls {
        *sums.entry(toll.currency).or_default() += i128::from(toll.cost.0);
    }
    let shown = |(currency, sum): (Currency, i128)| {
        Money(i64::try_from(sum).unwrap_or(i64::MAX)).display(currency).to_string()
    };
    sums.into_iter().map(shown).collect()
}

pub(super) fn toll(toll: &Toll, names: &Names) -> protocol::Toll {
    protocol::Toll {
        leg: toll.leg.to_string(),
        trunk: names.of_trunk(toll.trunk),
        number: toll.number.clone(),
        class: toll.class.to_string(),
        country: toll.country.map(|country| country.to_string()),
        rule: toll.decision.rule.name().to_owned(),
        policy: toll.decision.policy.0,
        rate: rate(&toll.rate),
        answered: toll.answered.map(|at| at.to_string()),
        seconds: toll.seconds,
        currency: toll.currency.to_string(),
        cost: amount::text(toll.cost),
        held: amount::text(toll.held),
    }
}

/// The first instant of a date such as `2026-11-01`, by the clock on the wall there.
pub(super) fn first_of(zone: &Zone, text: &str) -> Result<Utc> {
    let day = days_of(text).ok_or_else(|| {
        failure(format!("`{text}` is no date"), "write it as 2026-11-01, or a span as 7d")
    })?;
    // Noon in UTC is the same date almost everywhere, and the next one far in the east.
    let noon = Utc((day * DAY + DAY / 2) * SECOND);
    let mut begin = zone.window(noon, Window::Day).begin;
    if day_of(zone, Utc(begin * SECOND)) > day {
        begin = zone.window(Utc((begin - 1) * SECOND), Window::Day).begin;
    }
    Ok(Utc(begin * SECOND))
}

/// The date there, as days since 1970-01-01.
fn day_of(zone: &Zone, at: Utc) -> i64 {
    let here = at.seconds().div_euclid(DAY);
    let weekday = i64::from(zone.minute_of_week(at) / 1_440);
    // No clock on a wall is a day or more away from UTC's. 1970-01-01 was a Thursday.
    let near = (here - 1..=here + 1).find(|day| (day + 3).rem_euclid(7) == weekday);
    near.unwrap_or(here)
}

fn date(day: i64) -> String {
    let (year, month, day, ..) = Utc(day.saturating_mul(DAY).saturating_mul(SECOND)).civil();
    format!("{year:04}-{month:02}-{day:02}")
}

/// `None`: not a date of the years 1970 to 9999.
fn days_of(text: &str) -> Option<i64> {
    let [year, month, day]: [&str; 3] = text.split('-').collect::<Vec<&str>>().try_into().ok()?;
    let shape = (year.len(), month.len(), day.len()) == (4, 2, 2);
    if !shape || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return None;
    }
    let (year, month, of_month): (i64, i64, i64) =
        (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&of_month) {
        return None;
    }
    // Close below it; then the days are counted to it, which also refuses the 30th of February.
    let about = (year - 1970) * 365 + (month - 1) * 28;
    (about..about + 700).find(|day| date(*day) == text)
}

fn too_much() -> protocol::Failure {
    failure("the sum is more than can be counted", "ask for a shorter time")
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// Records read at once.
const PAGE: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn first(zone: &str, text: &str) -> String {
        let zone = Zone::named(zone).unwrap();
        first_of(&zone, text).unwrap().to_string()
    }

    #[test]
    fn a_date_begins_at_its_own_midnight() {
        assert_eq!(first("UTC", "2026-11-01"), "2026-11-01T00:00:00.000Z");
        assert_eq!(first("Europe/Berlin", "2026-11-01"), "2026-10-31T23:00:00.000Z");
        assert_eq!(first("Pacific/Kiritimati", "2026-11-01"), "2026-10-31T10:00:00.000Z");
        assert_eq!(first("America/New_York", "2026-11-01"), "2026-11-01T04:00:00.000Z");
        assert_eq!(first("UTC", "2099-12-31"), "2099-12-31T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-1-1",
            "1969-01-01",
            "20é6-01-01",
            "-5-1-1",
        ] {
            assert_eq!(days_of(text), None, "{text}");
        }
        assert_eq!(days_of("2000-02-29").map(date).as_deref(), Some("2000-02-29"));
    }

    #[test]
    fn currencies_have_totals_of_their_own() {
        let (dollars, euros) = ("USD".parse().unwrap(), "EUR".parse().unwrap());
        let sum = |cost| Sum { legs: 1, answered: 1, seconds: 60, cost: Money(cost) };
        let lines = vec![
            ("101".to_owned(), dollars, sum(250_000)),
            ("102".to_owned(), dollars, sum(100_000)),
            ("102".to_owned(), euros, sum(4_500)),
        ];
        let costs = summed(CostBy::Extension, lines).unwrap();
        let totals: Vec<String> =
            costs.totals.iter().map(|one| format!("{} {}", one.cost, one.currency)).collect();
        assert_eq!(totals, ["0.0045 EUR", "0.35 USD"]);
        let over = vec![("1".to_owned(), euros, sum(i64::MAX)), ("2".to_owned(), euros, sum(1))];
        assert!(summed(CostBy::Extension, over).is_err());
    }
}
