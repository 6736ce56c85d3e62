//! What a minute might cost where no deck says: by class and country, and dearer rather than cheaper.
//!
//! The figures are our own. No public deck exists, carriers differ by a factor of ten, and these are
//! meant to err to the side of the budget: what they price too high is refused too early, and an
//! imported deck cures it. Wherever they show they are called an estimate.

use super::{Rate, Source};
use crate::money::{Currency, Money};
use crate::number::{Class, Country};
use crate::numbering;

/// How dear a country is to call, mobile numbers included, because a prefix says little about them.
#[derive(Clone, Copy)]
enum Zone {
    /// Carriers compete for both its fixed and its mobile networks.
    Cheap,
    Middle,
    /// Few networks, high termination fees.
    Dear,
    /// Where numbers are rented out to whoever sends traffic: the usual ends of stolen calls.
    Fraud,
}

const CHEAP: &[&str] = &[
    "AR", "AT", "AU", "BE", "BR", "CA", "CH", "CL", "CN", "CO", "CY", "CZ", "DE", "DK", "ES", "FI",
    "FR", "GB", "GR", "HK", "HU", "IE", "IL", "IN", "IT", "JP", "KR", "LU", "MT", "MX", "MY", "NL",
    "NO", "NZ", "PL", "PR", "PT", "RO", "SE", "SG", "SK", "TH", "TW", "US",
];

const DEAR: &[&str] = &[
    "AF", "AO", "BF", "BI", "BJ", "BT", "BW", "CD", "CG", "CI", "CM", "CV", "ET", "GA", "GH", "GQ",
    "GY", "HT", "IQ", "IR", "KE", "KP", "LY", "MA", "MM", "MR", "MU", "MW", "MZ", "NE", "NG", "NP",
    "RW", "SD", "SN", "SR", "SS", "SY", "SZ", "TG", "TZ", "UG", "YE", "ZM", "ZW",
];

const FRAUD: &[&str] = &[
    "AC", "AD", "AL", "AZ", "BA", "BY", "CF", "CK", "CU", "DJ", "DZ", "EE", "EH", "ER", "FK", "GL",
    "GM", "GN", "GW", "KI", "KM", "LI", "LR", "LT", "LV", "MC", "MD", "ME", "MG", "MH", "MK", "ML",
    "MV", "NC", "NR", "NU", "PF", "PG", "PM", "PW", "RS", "RU", "SB", "SC", "SH", "SI", "SL", "SM",
    "SO", "ST", "TD", "TJ", "TK", "TL", "TM", "TN", "TO", "TV", "UZ", "VU", "WF", "WS", "XK", "ZZ",
];

/// The estimate for a class of numbers of a country, seen from home. `None`: nobody knows, which is
/// denied. So it is where the currency's worth isn't known.
pub fn estimate(
    currency: Currency,
    home: Country,
    class: Class,
    country: Option<Country>,
) -> Option<Rate> {
    // Thousandths of a dollar a minute, and for the answer.
    let (per_minute, connect) = match country {
        Some(country) if country == home => at_home(class, home)?,
        Some(country) => abroad(class, zone(country))?,
        // The satellite and international networks belong to no country.
        None => match class {
            Class::Satellite => (10_000, 0),
            Class::Local
            | Class::National
            | Class::TollFree
            | Class::Mobile
            | Class::Shared
            | Class::Premium
            | Class::Personal
            | Class::International
            | Class::NanpAbroad
            | Class::Unknown => return None,
        },
    };
    let money = |thousandths: i64| Some(Money(thousandths * 100 * currency.per_dollar_tenths()?));
    let place = country.map_or("no country", numbering::name);
    Some(Rate {
        prefix: String::new(),
        name: format!("{place}, {class} (estimate)"),
        per_minute: money(per_minute)?,
        connect: money(connect)?,
        first: 60,
        increment: 60,
        source: Source::Estimate,
    })
}

fn at_home(class: Class, home: Country) -> Option<(i64, i64)> {
    let nanp = matches!(home.code(), "US" | "CA");
    Some(match class {
        Class::TollFree => (0, 0),
        Class::Local | Class::National => (30, 0),
        // In North America the called person pays for the air; elsewhere the caller does.
        Class::Mobile if nanp => (30, 0),
        Class::Mobile => (200, 0),
        Class::Shared => (200, 0),
        Class::Personal => (1_000, 0),
        Class::Premium => (5_000, 5_000),
        Class::Satellite => (10_000, 0),
        // What the plan calls abroad isn't at home; nobody knows what it is then.
        Class::International | Class::NanpAbroad | Class::Unknown => return None,
    })
}

fn abroad(class: Class, zone: Zone) -> Option<(i64, i64)> {
    let ordinary = match zone {
        Zone::Cheap => 400,
        Zone::Middle => 1_000,
        Zone::Dear => 2_000,
        Zone::Fraud => 4_000,
    };
    Some(match class {
        // Seen from abroad a free or a shared number is charged like any other.
        Class::Local
        | Class::National
        | Class::Mobile
        | Class::International
        | Class::NanpAbroad
        | Class::TollFree
        | Class::Shared => (ordinary, 0),
        Class::Personal => (ordinary + 2_000, 0),
        Class::Premium => (10_000, 10_000),
        Class::Satellite => (10_000, 0),
        Class::Unknown => return None,
    })
}

fn zone(country: Country) -> Zone {
    let code = country.code();
    match code {
        _ if CHEAP.contains(&code) => Zone::Cheap,
        _ if FRAUD.contains(&code) => Zone::Fraud,
        _ if DEAR.contains(&code) => Zone::Dear,
        // The Caribbean of country code 1, and every country that no list names.
        _ => Zone::Middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars(class: Class, country: Option<&str>) -> Option<String> {
        let usd: Currency = "USD".parse().expect("capitals");
        let country = country.map(|code| code.parse().expect("capitals"));
        let rate = estimate(usd, Country::US, class, country)?;
        assert_eq!(rate.source, Source::Estimate);
        assert!(rate.name.contains("estimate"), "{}", rate.name);
        Some(rate.per_minute.display(usd).to_string())
    }

    #[test]
    fn no_country_is_in_two_zones() {
        let mut all: Vec<&str> = [CHEAP, DEAR, FRAUD].concat();
        all.sort_unstable();
        let listed = all.len();
        all.dedup();
        assert_eq!(all.len(), listed);
        for list in [CHEAP, DEAR, FRAUD] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn the_estimate_errs_to_the_side_of_the_budget() {
        let at = |class, country| dollars(class, Some(country));
        assert_eq!(at(Class::National, "US").as_deref(), Some("0.03 USD"));
        assert_eq!(at(Class::TollFree, "US").as_deref(), Some("0.00 USD"));
        assert_eq!(at(Class::Premium, "US").as_deref(), Some("5.00 USD"));
        assert_eq!(at(Class::International, "DE").as_deref(), Some("0.40 USD"));
        assert_eq!(at(Class::International, "LV").as_deref(), Some("4.00 USD"));
        assert_eq!(at(Class::NanpAbroad, "JM").as_deref(), Some("1.00 USD"));
        assert_eq!(at(Class::Premium, "LV").as_deref(), Some("10.00 USD"));
        assert_eq!(dollars(Class::Satellite, None).as_deref(), Some("10.00 USD"));
        // A free call is free at home alone.
        assert_eq!(at(Class::TollFree, "GB").as_deref(), Some("0.40 USD"));
    }

    #[test]
    fn what_nobody_knows_has_no_estimate() {
        assert_eq!(dollars(Class::Unknown, Some("US")), None);
        assert_eq!(dollars(Class::Unknown, None), None);
        assert_eq!(dollars(Class::International, None), None);
        let strange: Currency = "XTS".parse().expect("capitals");
        assert_eq!(estimate(strange, Country::US, Class::Local, Some(Country::US)), None);
    }

    #[test]
    fn a_weak_currency_has_larger_figures() {
        let yen: Currency = "JPY".parse().expect("capitals");
        let rate = estimate(yen, Country::US, Class::Satellite, None).expect("known");
        assert_eq!(rate.per_minute.display(yen).to_string(), "1600.00 JPY");
    }
}
