//! Money: an integer in millionths of the tenant's currency, with arithmetic that never wraps.
//!
//! Rates are quoted in ten-thousandths of a cent a minute, so cents are too coarse; floating point
//! loses what a sum of a million small calls needs. A result that doesn't fit is `None`, and the
//! caller, who guards a budget, refuses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in millionths of a currency unit; the currency stands with the tenant.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(pub i64);

/// An ISO 4217 code such as `USD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// The text isn't three letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotACurrency;

impl Money {
    pub const ZERO: Self = Self(0);
    /// Millionths in one unit.
    pub const UNIT: i64 = 1_000_000;

    /// Whole units; `None` where they don't fit.
    pub fn units(units: i64) -> Option<Self> {
        units.checked_mul(Self::UNIT).map(Self)
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    pub fn checked_mul(self, times: i64) -> Option<Self> {
        self.0.checked_mul(times).map(Self)
    }

    /// The amount as people read it, `12.50 USD`: two places, more only where they are used.
    pub fn display(self, currency: Currency) -> impl fmt::Display {
        Shown { amount: self, currency }
    }
}

impl Currency {
    /// The currency of a country, for a first policy; dollars where the table has none.
    pub fn of(home: crate::number::Country) -> Self {
        const EURO: &[&str] = &[
            "AT", "BE", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU",
            "LV", "MT", "NL", "PT", "SI", "SK", "BG",
        ];
        match home.code() {
            "CA" => Self(*b"CAD"),
            "GB" => Self(*b"GBP"),
            "CH" => Self(*b"CHF"),
            "AU" => Self(*b"AUD"),
            "NZ" => Self(*b"NZD"),
            "SE" => Self(*b"SEK"),
            "NO" => Self(*b"NOK"),
            "DK" => Self(*b"DKK"),
            "PL" => Self(*b"PLN"),
            code if EURO.contains(&code) => Self(*b"EUR"),
            _ => Self(*b"USD"),
        }
    }

    /// Roughly what a dollar is worth, in tenths of this currency, for figures that are rough
    /// themselves: estimated rates and the budgets of a first policy. `None`: not in the table.
    pub fn per_dollar_tenths(&self) -> Option<i64> {
        Some(match self.code() {
            "USD" | "EUR" | "GBP" | "CHF" => 10,
            "CAD" | "SGD" => 14,
            "AUD" => 16,
            "NZD" | "BGN" => 18,
            "AED" | "ILS" | "PLN" | "SAR" => 40,
            "RON" => 50,
            "BRL" => 60,
            "CNY" | "DKK" => 75,
            "HKD" => 80,
            "NOK" | "SEK" => 110,
            "MXN" | "ZAR" => 200,
            "CZK" => 240,
            "THB" => 350,
            "TRY" | "UAH" => 450,
            "INR" => 900,
            "ISK" => 1_400,
            "JPY" => 1_600,
            "HUF" => 4_000,
            "KRW" => 14_000,
            _ => return None,
        })
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters, checked when it was made")
    }
}

impl std::str::FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACurrency) }
    }
}

impl TryFrom<String> for Currency {
    type Error = NotACurrency;

    fn try_from(text: String) -> Result<Self, NotACurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

/// Where the currency stands elsewhere, or is not known: `12.50`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, millionths) = (Self::UNIT.unsigned_abs(), self.0.unsigned_abs());
        let fraction = format!("{:06}", millionths % unit);
        let places = fraction.trim_end_matches('0').len().max(2);
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{}", millionths / unit, &fraction[..places])
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for NotACurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a currency: three capital letters are expected, such as USD")
    }
}

impl std::error::Error for NotACurrency {}

struct Shown {
    amount: Money,
    currency: Currency,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let dollars: Currency = "USD".parse().expect("three capitals");
        let shown = |millionths| Money(millionths).display(dollars).to_string();
        assert_eq!(shown(0), "0.00 USD");
        assert_eq!(shown(12_500_000), "12.50 USD");
        assert_eq!(shown(-12_500_000), "-12.50 USD");
        assert_eq!(shown(4_500), "0.0045 USD");
        assert_eq!(shown(1), "0.000001 USD");
        assert_eq!(shown(i64::MIN), "-9223372036854.775808 USD");
    }

    #[test]
    fn nothing_wraps() {
        let most = Money(i64::MAX);
        assert_eq!(most.checked_add(Money(1)), None);
        assert_eq!(Money(i64::MIN).checked_sub(Money(1)), None);
        assert_eq!(most.checked_mul(2), None);
        assert_eq!(Money::units(i64::MAX), None);
        assert_eq!(Money::units(3).and_then(|three| three.checked_mul(2)), Some(Money(6_000_000)));
        assert_eq!(Money(5).checked_sub(Money(7)), Some(Money(-2)));
    }

    #[test]
    fn a_currency_is_three_capitals() {
        for text in ["", "US", "usd", "USDT", "U$D", "ÄÖ"] {
            assert_eq!(text.parse::<Currency>(), Err(NotACurrency), "{text}");
        }
    }
}
