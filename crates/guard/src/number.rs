//! What was dialled: emergency first, then an extension, then a number outside.
//!
//! Emergency is recognised before the dial plan and in every spelling a phone may produce: with the
//! digit for an outside line in front, with separators, as a `sip:`, `tel:` or `urn:service:sos`
//! (RFC 5031) address. Everything recognised as emergency can't be an extension, so no dial plan
//! can shadow it. An [`Emergency`] is made here alone: whoever holds one passes every lockdown.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pii;

/// A country as ISO 3166-1 alpha-2, such as `US`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

/// A call for help, recognised by [`Country::emergency`] alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Emergency {
    number: &'static str,
    kind: EmergencyKind,
}

/// Which help is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmergencyKind {
    /// One number for police, fire and ambulance.
    General,
    Police,
    Fire,
    Ambulance,
    /// Sea and mountain rescue.
    Rescue,
    /// Reads back the caller's number and registered location (933 in North America).
    Test,
}

/// The number of an extension: 2 to 8 digits, never one that means emergency at home.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExtensionNumber(String);

/// Dialled digits: an optional `+`, then 1 to 32 of `0-9 * #`, separators removed.
///
/// Debug prints a mask; [`Digits::as_str`] the digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digits(String);

/// A number outside: normalised, classified, and whose country it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outside {
    digits: Digits,
    class: Class,
    country: Option<Country>,
}

/// What a number costs, as the gate's rules name it. The country stands beside it in [`Outside`]: a
/// premium number abroad is premium *and* abroad, and both must be allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Local,
    National,
    TollFree,
    Mobile,
    /// Shared cost.
    Shared,
    Premium,
    /// Personal numbers, which forward anywhere at the caller's cost.
    Personal,
    /// Satellite and the international networks (+870, +881, +882, +883, +888, +979).
    Satellite,
    International,
    /// A country code 1 number outside the home country: dialled like a national one, priced
    /// like an international one (the one-ring fraud's favourite).
    NanpAbroad,
    /// No numbering plan knows it. Denied.
    Unknown,
}

/// Why a text can't be an extension's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAnExtension {
    /// Not 2 to 8 digits.
    Shape,
    /// Dialling it would call for help: this emergency number is meant.
    Emergency(&'static str),
}

/// The text isn't two capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotACountry;

impl Country {
    pub const US: Self = Self(*b"US");

    /// For tables of ours, whose codes a test reads.
    pub(crate) const fn literal(code: [u8; 2]) -> Self {
        Self(code)
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters, checked when it was made")
    }

    /// The emergency numbers that are recognised at home in this country.
    pub fn emergency_numbers(self) -> impl Iterator<Item = Emergency> {
        let own = PLANS.iter().find(|plan| plan.countries.contains(&self.code()));
        let own = own.map_or(UNLISTED, |plan| plan.numbers);
        let everywhere = EVERYWHERE
            .iter()
            .filter(move |(number, _)| own.iter().all(|(known, _)| known != number));
        own.iter().chain(everywhere).map(|&(number, kind)| Emergency { number, kind })
    }

    /// Recognises a call for help in a dialled number or a request's address.
    pub fn emergency(self, dialled: &str) -> Option<Emergency> {
        if dialled.len() > ADDRESS_MAX {
            return None;
        }
        if let Some(service) = sos(dialled) {
            return Some(self.for_service(service));
        }
        let digits = Digits::parse(dialled)?;
        // Some phones send the key that ended the dialling.
        let digits = digits.as_str().trim_end_matches('#');
        self.emergency_numbers().find(|known| {
            let prefix = digits.strip_suffix(known.number);
            matches!(prefix, Some("" | "+" | "0" | "9"))
        })
    }

    fn for_service(self, service: EmergencyKind) -> Emergency {
        let of = |kind| self.emergency_numbers().find(move |known| known.kind == kind);
        of(service)
            .or_else(|| of(General))
            .expect("112 is in EVERYWHERE, so every country has a general number")
    }
}

impl Emergency {
    /// The digits to dial, without any prefix for an outside line.
    pub fn number(&self) -> &'static str {
        self.number
    }

    pub fn kind(&self) -> EmergencyKind {
        self.kind
    }
}

impl ExtensionNumber {
    pub const DIGITS_MIN: usize = 2;
    pub const DIGITS_MAX: usize = 8;

    /// A new extension's number, checked against the emergency numbers of the home country.
    pub fn new(text: &str, home: Country) -> Result<Self, NotAnExtension> {
        let number = Self::restore(text)?;
        match home.emergency(text) {
            Some(emergency) => Err(NotAnExtension::Emergency(emergency.number)),
            None => Ok(number),
        }
    }

    /// A number read back from storage: only its shape is checked. Where the home country changed
    /// since, emergency still comes first, because it is recognised before extensions are.
    pub fn restore(text: &str) -> Result<Self, NotAnExtension> {
        let long_enough = (Self::DIGITS_MIN..=Self::DIGITS_MAX).contains(&text.len());
        if long_enough && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnExtension::Shape)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Digits {
    /// Longer than E.164 (15), so that prefixes and short codes fit.
    pub const MAX: usize = 32;

    /// Reads a dialled number, or the user part of a `sip:`, `sips:` or `tel:` address. Separators
    /// (RFC 3966 §3: `- . ( )`, and spaces) and parameters are dropped.
    pub fn parse(dialled: &str) -> Option<Self> {
        if dialled.len() > ADDRESS_MAX {
            return None;
        }
        let user = user_part(dialled)?;
        let mut digits = String::new();
        for byte in Unescaped(user.as_bytes()) {
            match byte {
                b'-' | b'.' | b'(' | b')' | b' ' => continue,
                b'+' if digits.is_empty() => {}
                b'0'..=b'9' | b'*' | b'#' => {}
                _ => return None,
            }
            if digits.len() == Self::MAX {
                return None;
            }
            digits.push(char::from(byte));
        }
        let some = !digits.trim_start_matches('+').is_empty();
        some.then_some(Self(digits))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Outside {
    /// For the dial plan ([`crate::numbering`]): `digits` as a trunk is to dial them, `+` and E.164, or a
    /// national short code.
    pub(crate) fn new(digits: Digits, class: Class, country: Option<Country>) -> Self {
        Self { digits, class, country }
    }

    /// A number that no numbering plan has judged: of unknown class, so denied.
    pub fn unclassified(digits: Digits) -> Self {
        Self { digits, class: Class::Unknown, country: None }
    }

    /// `+` and E.164, or a national short code.
    pub fn digits(&self) -> &Digits {
        &self.digits
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Whose numbering plan it belongs to; `None` where it belongs to no country.
    pub fn country(&self) -> Option<Country> {
        self.country
    }
}

impl Class {
    pub const ALL: [Self; 11] = [
        Self::Local,
        Self::National,
        Self::TollFree,
        Self::Mobile,
        Self::Shared,
        Self::Premium,
        Self::Personal,
        Self::Satellite,
        Self::International,
        Self::NanpAbroad,
        Self::Unknown,
    ];

    /// The stable name in rules and records, the same as serde's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::National => "national",
            Self::TollFree => "toll-free",
            Self::Mobile => "mobile",
            Self::Shared => "shared",
            Self::Premium => "premium",
            Self::Personal => "personal",
            Self::Satellite => "satellite",
            Self::International => "international",
            Self::NanpAbroad => "nanp-abroad",
            Self::Unknown => "unknown",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Country {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| NotACountry)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACountry) }
    }
}

impl TryFrom<String> for Country {
    type Error = NotACountry;

    fn try_from(text: String) -> Result<Self, NotACountry> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.code().to_owned()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl TryFrom<String> for ExtensionNumber {
    type Error = NotAnExtension;

    fn try_from(text: String) -> Result<Self, NotAnExtension> {
        Self::restore(&text)
    }
}

impl From<ExtensionNumber> for String {
    fn from(number: ExtensionNumber) -> Self {
        number.0
    }
}

/// An extension's number names a desk inside the house, not a person: shown in full.
impl fmt::Display for ExtensionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ExtensionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtensionNumber({})", self.0)
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({})", pii::mask_number(&self.0))
    }
}

impl fmt::Display for NotAnExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("an extension's number has 2 to 8 digits"),
            Self::Emergency(number) => {
                write!(f, "this number calls for help here ({number}) and can't be an extension")
            }
        }
    }
}

impl std::error::Error for NotAnExtension {}

impl fmt::Display for NotACountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a country: two capital letters are expected, such as US")
    }
}

impl std::error::Error for NotACountry {}

/// The user part of an address, or the text itself where it names no scheme. `sip:10.0.0.1` has none;
/// `sip:911` is what a phone makes of a short number without a server, since no host is all digits.
fn user_part(dialled: &str) -> Option<&str> {
    let schemes = ["sips:", "sip:", "tel:"];
    let scheme = schemes.into_iter().find(|scheme| starts_with(dialled, scheme));
    let rest = scheme.map_or(dialled, |scheme| &dialled[scheme.len()..]);
    // The host begins at the last @: an unescaped one can't stand in a user part (RFC 3261 §25.1).
    let user = match rest.rsplit_once('@') {
        Some((user, _host)) => user,
        None if matches!(scheme, Some("sip:" | "sips:")) && rest.contains('.') => return None,
        None => rest,
    };
    let user = user.split_once(';').map_or(user, |(number, _parameters)| number);
    // A password in the user part is obsolete but legal (RFC 3261 §19.1.1).
    Some(user.split_once(':').map_or(user, |(number, _rest)| number))
}

/// The service of `urn:service:sos` and its children; an unknown child means its parent
/// (RFC 5031 §4.2), so help is never refused for a word we don't know.
fn sos(address: &str) -> Option<EmergencyKind> {
    let root = "urn:service:sos";
    if !starts_with(address, root) {
        return None;
    }
    let rest = &address[root.len()..];
    let rest = rest.split_once([';', '?', '@']).map_or(rest, |(service, _)| service);
    let child = match rest.strip_prefix('.') {
        Some(child) => child.split('.').next().unwrap_or_default().to_ascii_lowercase(),
        None if rest.is_empty() => String::new(),
        None => return None,
    };
    Some(match child.as_str() {
        "police" => Police,
        "fire" => Fire,
        "ambulance" | "physician" => Ambulance,
        "marine" | "mountain" => Rescue,
        _ => General,
    })
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.as_bytes()
        .get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Bytes with `%xx` decoded (RFC 3261 §19.1.2: `%39%31%31` is 911). A broken escape stays as it is,
/// and its `%` is then no digit.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        let hex = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        if let (b'%', [high, low, after @ ..]) = (byte, rest)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            self.0 = after;
            return Some(high << 4 | low);
        }
        self.0 = rest;
        Some(byte)
    }
}

/// A longer address is no dialled number; it bounds the work on hostile text.
const ADDRESS_MAX: usize = 256;

struct Plan {
    countries: &'static [&'static str],
    numbers: &'static [(&'static str, EmergencyKind)],
}

use EmergencyKind::{Ambulance, Fire, General, Police, Rescue, Test};

/// 3GPP TS 22.101 §10.1.1: every mobile phone takes these two for help anywhere, and people carry
/// the habit to their desks.
const EVERYWHERE: &[(&str, EmergencyKind)] = &[("112", General), ("911", General)];

/// A home country that the table lacks: the numbers that TS 22.101 §10.1.1 has a phone without a SIM
/// take for help, less the two-digit `08`, which begins too many ordinary numbers.
const UNLISTED: &[(&str, EmergencyKind)] = &[
    ("112", General),
    ("911", General),
    ("999", General),
    ("000", General),
    ("110", Police),
    ("118", Ambulance),
    ("119", Fire),
];

/// Numbers by country: national numbering plans as notified under ITU-T E.129, compared with the
/// emergency patterns in libphonenumber's short-number metadata (October 2024). Numbers that were
/// retired but may still be answered are kept: too many cost an extension, too few a life.
const PLANS: &[Plan] = &[
    // 47 CFR part 9; 933 reads back the registered address at most carriers.
    Plan {
        countries: &["US", "CA", "PR", "GU", "VI", "AS", "MP"],
        numbers: &[("911", General), ("933", Test)],
    },
    Plan { countries: &["MX"], numbers: &[("911", General)] },
    Plan {
        countries: &["AR"],
        numbers: &[("911", General), ("101", Police), ("100", Fire), ("107", Ambulance)],
    },
    Plan { countries: &["BR"], numbers: &[("190", Police), ("193", Fire), ("192", Ambulance)] },
    Plan { countries: &["CL"], numbers: &[("133", Police), ("132", Fire), ("131", Ambulance)] },
    Plan { countries: &["CO"], numbers: &[("123", General)] },
    // Directive (EU) 2018/1972 article 109: 112 throughout the Union, national numbers beside it.
    Plan {
        countries: &["NL", "DK", "FI", "PT", "RO", "EE", "IS", "MT"],
        numbers: &[("112", General)],
    },
    Plan {
        countries: &["GB", "IE", "GG", "JE", "IM"],
        numbers: &[("112", General), ("999", General)],
    },
    Plan {
        countries: &["AT"],
        numbers: &[
            ("112", General),
            ("133", Police),
            ("122", Fire),
            ("144", Ambulance),
            ("140", Rescue),
        ],
    },
    Plan { countries: &["BE"], numbers: &[("112", General), ("101", Police), ("100", Ambulance)] },
    Plan {
        countries: &["BG"],
        numbers: &[("112", General), ("166", Police), ("160", Fire), ("150", Ambulance)],
    },
    Plan {
        countries: &["CH", "LI"],
        numbers: &[
            ("112", General),
            ("117", Police),
            ("118", Fire),
            ("144", Ambulance),
            ("1414", Rescue),
        ],
    },
    Plan { countries: &["CY"], numbers: &[("112", General), ("199", General)] },
    Plan {
        countries: &["CZ", "SK"],
        numbers: &[("112", General), ("158", Police), ("150", Fire), ("155", Ambulance)],
    },
    Plan { countries: &["DE"], numbers: &[("112", General), ("110", Police)] },
    Plan {
        countries: &["ES"],
        numbers: &[("112", General), ("091", Police), ("080", Fire), ("061", Ambulance)],
    },
    // 114 is the text and relay service for the deaf, 196 rescue at sea.
    Plan {
        countries: &["FR"],
        numbers: &[
            ("112", General),
            ("114", General),
            ("17", Police),
            ("18", Fire),
            ("15", Ambulance),
            ("196", Rescue),
        ],
    },
    Plan {
        countries: &["GR"],
        numbers: &[("112", General), ("100", Police), ("199", Fire), ("166", Ambulance)],
    },
    Plan {
        countries: &["HR"],
        numbers: &[("112", General), ("192", Police), ("193", Fire), ("194", Ambulance)],
    },
    Plan {
        countries: &["HU"],
        numbers: &[("112", General), ("107", Police), ("105", Fire), ("104", Ambulance)],
    },
    Plan {
        countries: &["IT"],
        numbers: &[("112", General), ("113", Police), ("115", Fire), ("118", Ambulance)],
    },
    Plan {
        countries: &["LT"],
        numbers: &[("112", General), ("102", Police), ("101", Fire), ("103", Ambulance)],
    },
    Plan { countries: &["LU", "SI"], numbers: &[("112", General), ("113", Police)] },
    Plan { countries: &["LV"], numbers: &[("112", General), ("110", Police), ("113", Ambulance)] },
    Plan { countries: &["NO"], numbers: &[("112", Police), ("110", Fire), ("113", Ambulance)] },
    Plan {
        countries: &["PL"],
        numbers: &[("112", General), ("997", Police), ("998", Fire), ("999", Ambulance)],
    },
    // 90000 is the number before 112, still answered.
    Plan { countries: &["SE"], numbers: &[("112", General), ("90000", General)] },
    Plan { countries: &["TR"], numbers: &[("112", General), ("155", Police), ("110", Fire)] },
    Plan {
        countries: &["UA"],
        numbers: &[("112", General), ("102", Police), ("101", Fire), ("103", Ambulance)],
    },
    Plan { countries: &["IL"], numbers: &[("100", Police), ("102", Fire), ("101", Ambulance)] },
    Plan { countries: &["AE"], numbers: &[("999", Police), ("997", Fire), ("998", Ambulance)] },
    Plan {
        countries: &["SA"],
        numbers: &[("911", General), ("999", Police), ("998", Fire), ("997", Ambulance)],
    },
    Plan {
        countries: &["ZA"],
        numbers: &[("112", General), ("10111", Police), ("10177", Ambulance)],
    },
    // Telecommunications (Emergency Call Service) Determination. 106 is for textphones alone.
    Plan { countries: &["AU"], numbers: &[("000", General), ("112", General)] },
    Plan { countries: &["NZ"], numbers: &[("111", General)] },
    Plan {
        countries: &["CN"],
        numbers: &[("110", Police), ("122", Police), ("119", Fire), ("120", Ambulance)],
    },
    Plan { countries: &["HK", "MO"], numbers: &[("999", General)] },
    Plan {
        countries: &["ID"],
        numbers: &[
            ("112", General),
            ("110", Police),
            ("113", Fire),
            ("118", Ambulance),
            ("119", Ambulance),
        ],
    },
    Plan {
        countries: &["IN"],
        numbers: &[
            ("112", General),
            ("100", Police),
            ("101", Fire),
            ("102", Ambulance),
            ("108", Ambulance),
        ],
    },
    Plan { countries: &["JP"], numbers: &[("110", Police), ("119", Fire), ("118", Rescue)] },
    Plan { countries: &["KR"], numbers: &[("112", Police), ("119", Fire)] },
    Plan { countries: &["MY"], numbers: &[("999", General)] },
    Plan { countries: &["PH"], numbers: &[("911", General), ("117", Police)] },
    Plan { countries: &["SG"], numbers: &[("999", Police), ("995", Fire)] },
    Plan { countries: &["TH"], numbers: &[("191", Police), ("199", Fire), ("1669", Ambulance)] },
    Plan { countries: &["TW"], numbers: &[("110", Police), ("119", Fire)] },
    Plan { countries: &["VN"], numbers: &[("113", Police), ("114", Fire), ("115", Ambulance)] },
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn home(code: &str) -> Country {
        code.parse().expect("two capital letters")
    }

    fn asked(code: &str, dialled: &str) -> Option<(&'static str, EmergencyKind)> {
        home(code).emergency(dialled).map(|found| (found.number(), found.kind()))
    }

    #[test]
    fn help_is_recognised_in_every_spelling() {
        let spellings =
            "911 9911 0911 9-1-1 9.1.1 (911) +911 911# sip:911@pbx.example SIP:911@10.0.0.1
            sip:911 sips:911;phone-context=+1@pbx tel:911 tel:911;phone-context=+1 tel:9-911
            sip:%39%31%31@pbx sip:911:password@pbx sip:9911@pbx;user=phone urn:service:sos
            URN:Service:SOS urn:service:sos.unheard-of urn:service:sos.gas";
        for spelling in spellings.split_whitespace() {
            assert_eq!(asked("US", spelling), Some(("911", General)), "{spelling}");
        }
        assert_eq!(asked("US", "9 1 1"), Some(("911", General)));
        assert_eq!(asked("US", "112"), Some(("112", General)));
        assert_eq!(asked("US", "9112"), Some(("112", General)));
        assert_eq!(asked("CA", "933"), Some(("933", Test)));
    }

    #[test]
    fn other_numbers_are_no_emergency() {
        let others = "911911 91 11 1911 99911 9119 101 2911 +1911 +19115550123 alice *911 911*
            sip:alice@911.example sip:101@911 urn:service:sosx urn:service:counseling tel: sip: %39%31
            999 000 sip:9.1.1";
        for other in others.split_whitespace() {
            assert_eq!(asked("US", other), None, "{other}");
        }
        assert_eq!(asked("US", ""), None);
        assert_eq!(asked("US", &"9".repeat(10_000)), None);
    }

    #[test]
    fn each_country_has_its_numbers() {
        assert_eq!(asked("GB", "999"), Some(("999", General)));
        assert_eq!(asked("DE", "0110"), Some(("110", Police)));
        assert_eq!(asked("AU", "0000"), Some(("000", General)));
        assert_eq!(asked("JP", "119"), Some(("119", Fire)));
        assert_eq!(asked("FR", "15"), Some(("15", Ambulance)));
        assert_eq!(asked("JP", "urn:service:sos.fire"), Some(("119", Fire)));
        assert_eq!(asked("JP", "urn:service:sos"), Some(("112", General)));
        assert_eq!(asked("DE", "urn:service:sos.ambulance"), Some(("112", General)));
        // A country that the table lacks takes what phones without a SIM take.
        assert_eq!(asked("ZZ", "999"), Some(("999", General)));
    }

    #[test]
    fn the_table_is_sound() {
        let mut seen = Vec::new();
        for plan in PLANS {
            seen.extend_from_slice(plan.countries);
            for (number, _) in plan.numbers {
                assert!((2..=5).contains(&number.len()), "{number}");
                assert!(number.bytes().all(|b| b.is_ascii_digit()), "{number}");
            }
            for code in plan.countries {
                let numbers = home(code).emergency_numbers();
                for known in numbers {
                    assert_eq!(asked(code, known.number()), Some((known.number(), known.kind())));
                }
            }
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "a country stands twice");
    }

    #[test]
    fn no_extension_shadows_help() {
        for shadow in ["911", "112", "9911", "0911", "0112", "9112", "933"] {
            let refused = ExtensionNumber::new(shadow, Country::US);
            assert!(matches!(refused, Err(NotAnExtension::Emergency(_))), "{shadow}");
        }
        for shape in ["", "1", "123456789", "10a", "+101", "1 01", "１０１"] {
            let refused = ExtensionNumber::new(shape, Country::US);
            assert_eq!(refused, Err(NotAnExtension::Shape), "{shape}");
        }
        assert_eq!(ExtensionNumber::new("101", Country::US).expect("free").as_str(), "101");
        let text = NotAnExtension::Emergency("911").to_string();
        assert_eq!(text, "this number calls for help here (911) and can't be an extension");
    }

    #[test]
    fn digits_are_masked_in_logs() {
        let digits = Digits::parse("sip:+1%20(555)-010.0090@carrier").expect("a number");
        assert_eq!(digits.as_str(), "+15550100090");
        assert_eq!(format!("{digits:?}"), "Digits(+1…90)");
        let outside = Outside::unclassified(digits);
        assert_eq!(outside.class(), Class::Unknown);
        assert!(!format!("{outside:?}").contains("555"));
    }

    #[test]
    fn an_address_without_a_user_has_no_digits() {
        assert_eq!(Digits::parse("sip:10.0.0.1"), None);
        assert_eq!(Digits::parse("+"), None);
        assert_eq!(Digits::parse("1+1"), None);
        assert!(Digits::parse(&"1".repeat(Digits::MAX)).is_some());
        assert_eq!(Digits::parse(&"1".repeat(Digits::MAX + 1)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}") {
            let digits = Digits::parse(&text);
            prop_assert!(digits.is_none_or(|digits| digits.as_str().len() <= Digits::MAX));
            let _ = Country::US.emergency(&text);
        }

        // What can be an extension is never taken for help, in any country: no dial plan and no
        // emergency number are ever in doubt.
        #[test]
        fn an_extension_is_never_emergency(text in "[0-9]{1,9}", code in "[A-Z]{2}") {
            let country = home(&code);
            if ExtensionNumber::new(&text, country).is_ok() {
                prop_assert_eq!(country.emergency(&text), None);
            }
        }

        #[test]
        fn separators_hide_no_call_for_help(
            gaps in proptest::collection::vec("[-. ()]{0,3}", 4),
            prefix in "[09]?",
        ) {
            let dialled = format!("{prefix}{}9{}1{}1{}", gaps[0], gaps[1], gaps[2], gaps[3]);
            prop_assert_eq!(asked("US", &dialled), Some(("911", General)));
        }
    }
}
