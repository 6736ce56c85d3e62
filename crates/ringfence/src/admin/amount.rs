//! Amounts of money as people type them and as scripts read them: decimal text, exact to the
//! millionth. No floating point touches them on the way.

use guard::money::Money;

/// Reads `12`, `12.5` or `0.0045` as units of the policy's currency.
///
/// # Errors
/// What is wrong with it, in words: not an unsigned decimal number, more than six decimal places, or
/// more than fits.
pub(crate) fn parse(text: &str) -> Result<Money, String> {
    let wrong = || format!("`{text}` is no amount: write 12, 12.5 or 0.0045, without a currency");
    let (units, fraction) = match text.split_once('.') {
        Some((units, fraction)) if !fraction.is_empty() => (units, fraction),
        Some(_) => return Err(wrong()),
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if units.is_empty() || !digits(units) || !digits(fraction) {
        return Err(wrong());
    }
    if fraction.len() > PLACES {
        return Err(format!("`{text}` is finer than a millionth: write at most 6 decimal places"));
    }
    let too_much = || format!("`{text}` is more than can be counted");
    let units: i64 = units.parse().map_err(|_| too_much())?;
    let millionths: i64 = format!("{fraction:0<PLACES$}").parse().map_err(|_| wrong())?;
    let whole = Money::units(units).and_then(|whole| whole.checked_add(Money(millionths)));
    whole.ok_or_else(too_much)
}

/// Writes it as [`parse`] reads it: two places, more only where they are used.
pub(crate) fn text(amount: Money) -> String {
    amount.to_string()
}

/// Decimal places of a millionth.
const PLACES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, millionths) in [
            ("0", 0),
            ("12", 12_000_000),
            ("12.5", 12_500_000),
            ("0.0045", 4_500),
            ("0.000001", 1),
            ("9223372036854.775807", i64::MAX),
        ] {
            assert_eq!(parse(text), Ok(Money(millionths)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1,5",
            "1e3",
            "0x10",
            "1 000",
            "1.0000001",
            "12 EUR",
            "9223372036854.775808",
            "99999999999999999999",
            "１",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for millionths in [0, 1, 4_500, 500_000, 12_500_000, i64::MAX] {
            assert_eq!(parse(&text(Money(millionths))), Ok(Money(millionths)));
        }
        assert_eq!(text(Money(12_500_000)), "12.50");
        assert_eq!(text(Money(-4_500)), "-0.0045");
    }
}
