//! The dial plan: what was dialled becomes E.164, and E.164 gets a class and a country.
//!
//! Which countries' plans look alike is public knowledge; what a number *costs* is not, so the classes
//! here are cautious: a number is as expensive as anything it could be. What no plan knows is
//! [`Class::Unknown`], which the gate denies.
//!
//! The plans themselves (which numbers exist, how they are dialled) are libphonenumber's, through
//! `rlibphonenumber`. Ours are who owns a shared calling code ([`owner`]), what is dear whatever its
//! type ([`risk`]), short codes ([`short`]) and what is usual in a country ([`country`]). Where the
//! library and our table of owners disagree, the number is unknown: a new area code of a neighbour is
//! refused until both know it.
//!
//! What will be missed: numbers assigned after the library's release (denied), premium services that
//! hide behind ordinary numbers (a price per minute and a list of countries bound those), and numbers
//! ported to a dearer network.

mod country;
mod owner;
mod risk;
mod short;
#[cfg(test)]
mod tests;

use rlibphonenumber::{
    PHONE_NUMBER_UTIL as PLANS, PhoneNumber, PhoneNumberType, Region,
    get_national_significant_number_owned,
};

pub use country::{Facts, countries, facts, is_known, name, named};
pub use owner::countries_of;

use crate::number::{Class, Country, Digits, Emergency, Outside};
use owner::{Owned, owner};
use risk::{Kind, Where};

/// How numbers are dialled at home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialPlan {
    home: Country,
    /// Dialled before a number outside, by habit: dropped where the rest is then a number.
    outside_line: Option<char>,
    /// The area code of the office, for numbers dialled without one.
    area: Option<String>,
}

/// A valid number, in the one form in which it is judged and dialled.
struct Number {
    /// Without `+`.
    digits: String,
    /// Without calling code and national prefix.
    national: String,
    kind: Kind,
    /// `None`: an international network.
    country: Option<Country>,
}

impl DialPlan {
    pub fn new(home: Country) -> Self {
        Self { home, outside_line: None, area: None }
    }

    pub fn with_outside_line(mut self, digit: Option<char>) -> Self {
        self.outside_line = digit;
        self
    }

    /// With or without the national prefix: `30` and `030` are Berlin. What isn't 1 to 5 digits is no
    /// area code; then there is none.
    pub fn with_area(mut self, area: Option<String>) -> Self {
        self.area = area.and_then(|area| {
            // Where it is 8, as in Russia, area codes begin with it too.
            let written = match facts(self.home).map_or("", |facts| facts.national_prefix) {
                prefix @ ("0" | "06") => area.strip_prefix(prefix),
                "1" if area.len() == 4 => area.strip_prefix('1'),
                _ => None,
            };
            let bare = written.unwrap_or(&area);
            let shaped = (1..=5).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_digit());
            shaped.then(|| bare.to_owned())
        });
        self
    }

    /// A call for help: [`Country::emergency`], and with the digit for an outside line in front, which
    /// is known here alone.
    pub fn emergency(&self, dialled: &str) -> Option<Emergency> {
        self.home.emergency(dialled).or_else(|| {
            let digits = Digits::parse(dialled)?;
            self.home.emergency(digits.as_str().strip_prefix(self.outside_line?)?)
        })
    }

    /// What these digits mean to whoever is at home here. Never emergency: that was recognised before,
    /// and is unknown here, so that it can't be taken for something cheap.
    ///
    /// The first reading that is a valid number stands: as it is (a short code, `+` and E.164, a local
    /// number where an area code is set, a national number with or without its prefix, a number abroad
    /// behind the home country's international prefix, or behind `00`), then without the digit for an
    /// outside line. What comes out reads as itself again. Without memory and bounded: each reading is
    /// tried once.
    pub fn read(&self, dialled: &Digits) -> Outside {
        let unknown = || Outside::unclassified(dialled.clone());
        let text = dialled.as_str();
        let digits = text.strip_prefix('+').unwrap_or(text);
        if !digits.bytes().all(|b| b.is_ascii_digit()) || self.emergency(text).is_some() {
            return unknown();
        }
        let behind_line = || text.strip_prefix(self.outside_line?);
        self.read_as_it_is(text)
            .or_else(|| self.read_as_it_is(behind_line()?))
            .unwrap_or_else(unknown)
    }

    fn read_as_it_is(&self, text: &str) -> Option<Outside> {
        if let Some(class) = short::class(self.home, text) {
            return Some(Outside::new(Digits::parse(text)?, class, Some(self.home)));
        }
        let number = self.local(text).or_else(|| number(text, self.home)).or_else(|| {
            // Recommended by ITU-T E.123 everywhere, and dialled by habit where another one is usual.
            number(&format!("+{}", text.strip_prefix("00")?), self.home)
        })?;
        self.classify(&number)
    }

    /// A number without its area code. Those begin neither with 0 nor with 1, which lead to prefixes and
    /// services; country code 1 has seven digits always.
    fn local(&self, text: &str) -> Option<Number> {
        let (area, facts) = (self.area.as_deref()?, facts(self.home)?);
        let prefix = facts.national_prefix;
        let long_enough = if facts.calling_code == 1 { text.len() == 7 } else { text.len() >= 3 };
        let bare =
            !text.starts_with(['+', '0', '1']) && (prefix.is_empty() || !text.starts_with(prefix));
        if !long_enough || !bare {
            return None;
        }
        let found = number(&format!("{prefix}{area}{text}"), self.home)?;
        let whole = found.national.strip_prefix(area) == Some(text);
        // Premium: exchange 976, and 555-1212.
        let local = matches!(found.kind, Kind::Geographic | Kind::Premium);
        (whole && local && found.country == Some(self.home)).then_some(found)
    }

    fn classify(&self, number: &Number) -> Option<Outside> {
        let country = number.country;
        let nanp = |country| facts(country).is_some_and(|facts| facts.calling_code == 1);
        let lies = match country {
            Some(country) if country == self.home => Where::Home,
            Some(country) if nanp(country) && nanp(self.home) => Where::NanpAbroad,
            Some(_) | None => Where::Abroad,
        };
        let class = match number.kind.class(lies) {
            Class::Unknown => return None,
            Class::National if self.is_local(number) => Class::Local,
            class => class,
        };
        Some(Outside::new(Digits::parse(&format!("+{}", number.digits))?, class, country))
    }

    fn is_local(&self, number: &Number) -> bool {
        self.area.as_ref().is_some_and(|area| number.national.starts_with(area))
    }
}

/// `+` and E.164 of a number that people or carriers wrote: an own number, an inbound one in a
/// Request-URI or To, a caller's. `None` where it is none.
///
/// More lenient than [`DialPlan::read`], because nobody pays by it. Carriers leave out the `+`, so a
/// number may begin with a calling code or with `00`; where national numbers are written with a 0, what
/// has none is taken for E.164 first (`4930…` is Berlin and not the island of Juist). A number that is
/// shaped like one but that no plan lists is taken as it is, since laboratories and new ranges have those.
/// All spellings of one number give the same text.
pub fn e164(text: &str, home: Country) -> Option<String> {
    let dialled = Digits::parse(text)?;
    let written = dialled.as_str();
    let digits = written.strip_prefix('+').unwrap_or(written);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole = |digits: &str| number(&format!("+{digits}"), home).map(|number| number.digits);
    let shaped = |digits: String| {
        let shaped = (7..=E164_MAX).contains(&digits.len()) && !digits.starts_with('0');
        shaped.then_some(digits)
    };
    let national = || number(digits, home).map(|number| number.digits);
    let with_zero = facts(home).is_some_and(|facts| facts.national_prefix.starts_with('0'));
    let found = if written.starts_with('+') {
        whole(digits).or_else(|| shaped(digits.to_owned()))
    } else {
        let e164_first = with_zero && !digits.starts_with('0');
        let found = if e164_first {
            whole(digits).or_else(national)
        } else {
            national().or_else(|| whole(digits))
        };
        found
            .or_else(|| whole(digits.strip_prefix("00")?))
            .or_else(|| shaped(unlisted(digits, home)?))
    };
    found.map(|digits| format!("+{digits}"))
}

/// A number at home that no plan lists, with its calling code.
fn unlisted(digits: &str, home: Country) -> Option<String> {
    let facts = facts(home)?;
    let (code, prefix) = (facts.calling_code.to_string(), facts.national_prefix);
    if code == "1" {
        let national = digits.strip_prefix('1').unwrap_or(digits);
        return (national.len() == 10).then(|| format!("1{national}"));
    }
    if let Some(abroad) = digits.strip_prefix("00") {
        return Some(abroad.to_owned());
    }
    if digits.starts_with(&code) && digits.len() >= code.len() + 7 {
        return Some(digits.to_owned());
    }
    let national = digits.strip_prefix(prefix).filter(|_| !prefix.is_empty())?;
    Some(format!("{code}{national}"))
}

/// A valid number, written with `+` or as one dials it at home.
///
/// The forms that nearly everybody dials are taken apart here and only looked up in the plans. The
/// library's own parser knows every other form (carrier codes, Argentina's 15, `+44 (0)20`), and reads
/// thousands of characters that can't occur here, for four times the price: it comes last.
fn number(text: &str, home: Country) -> Option<Number> {
    if let Some(digits) = text.strip_prefix('+') {
        // No calling code begins with 0; the library would look for one behind it.
        if digits.starts_with('0') {
            return None;
        }
        return Number::international(digits, home).or_else(|| parsed(text, None, home));
    }
    let facts = facts(home)?;
    if let Some(abroad) = text.strip_prefix(facts.international_prefix)
        && let Some(found) = Number::international(abroad, home)
    {
        return Some(found);
    }
    let bare = text.strip_prefix(facts.national_prefix);
    bare.and_then(|bare| Number::new(facts.calling_code, bare, home))
        .or_else(|| Number::new(facts.calling_code, text, home))
        // The United States and Canada dial in no other way.
        .or_else(|| match home.code() {
            "US" | "CA" => None,
            code => parsed(text, Some(Region::from_code(code).ok()?), home),
        })
}

/// As the library's parser reads it. Plans rewrite what was dialled, but what we judge is what the trunk
/// will be asked to dial: so the result is looked up again.
fn parsed(text: &str, region: Option<Region>, home: Country) -> Option<Number> {
    let parsed = PLANS.parse(text, region).ok()?;
    let code = u16::try_from(parsed.country_code).ok()?;
    Number::new(code, &get_national_significant_number_owned(&parsed), home)
}

impl Number {
    /// Digits behind the `+`. Calling codes have one to three digits, and none begins with another.
    fn international(digits: &str, home: Country) -> Option<Self> {
        let known = |code: &u16| PLANS.get_region_for_country_code(i32::from(*code)).is_some();
        (1..=3).find_map(|end| {
            let (code, national) = digits.split_at_checked(end)?;
            let code = code.parse().ok().filter(known)?;
            Self::new(code, national, home)
        })
    }

    /// Looks it up. `national` has no national prefix.
    fn new(code: u16, national: &str, home: Country) -> Option<Self> {
        let digits = format!("{code}{national}");
        // E.164 §6.1. German plans hold longer numbers, which nobody abroad can dial.
        if national.is_empty() || digits.len() > E164_MAX {
            return None;
        }
        // A number without its zeros is another number in Italy. The last digit is no leading one.
        let zeros = national[..national.len() - 1].bytes().take_while(|b| *b == b'0').count();
        let number = PhoneNumber {
            country_code: i32::from(code),
            national_number: national.parse().ok()?,
            italian_leading_zero: (zeros > 0).then_some(true),
            number_of_leading_zeros: (zeros > 1).then(|| i32::try_from(zeros).ok()).flatten(),
            ..PhoneNumber::default()
        };
        let (country, plan) = whose(&number, &digits, home)?;
        // The library's own definition of a valid number: its plan has a type for it.
        if plan == PhoneNumberType::Unknown {
            return None;
        }
        let kind = Kind::of(&digits, plan);
        Some(Self { digits, national: national.to_owned(), kind, country })
    }
}

/// The country of a number, and its type in that country's plan. The outer `None`: nobody's.
fn whose(
    number: &PhoneNumber,
    digits: &str,
    home: Country,
) -> Option<(Option<Country>, PhoneNumberType)> {
    let kind = || PLANS.get_number_type(number);
    let nanp = number.country_code == 1;
    match owner(digits) {
        Owned::By(country) if nanp => in_area(number, country),
        Owned::By(country) => Some((Some(country), kind())),
        Owned::ByOneOf(owners) => match owners.as_slice() {
            [] => Some((None, kind())),
            [country] if nanp => in_area(number, *country),
            // Toll-free, pay-per-call and personal numbers of country code 1 belong to several countries
            // in common: to home where it is one of them.
            _ if nanp && owners.contains(&home) => Some((Some(home), kind())),
            _ => {
                let region = PLANS.get_region_for_number(number)?;
                let named: Country = region.as_region_str().as_str().parse().ok()?;
                // Or the library knows a new prefix of a neighbour that we don't.
                owners.contains(&named).then(|| (Some(named), kind()))
            }
        },
    }
}

/// Country code 1 is split by area codes alone, and doesn't tell mobile numbers from others: so asking
/// that one country's plan suffices, where the library would search two dozen.
fn in_area(number: &PhoneNumber, country: Country) -> Option<(Option<Country>, PhoneNumberType)> {
    let region = Region::from_code(country.code()).ok()?;
    let valid = PLANS.is_valid_number_for_region(number, region);
    valid.then_some((Some(country), PhoneNumberType::FixedLineOrMobile))
}

/// Digits of an international number at most, its country code among them (ITU-T E.164 §6.1).
const E164_MAX: usize = 15;
