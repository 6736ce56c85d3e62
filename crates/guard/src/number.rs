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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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

/// A number outside, with its tariff class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outside {
    digits: Digits,
    class: Class,
}

/// What a number costs and to whom it belongs, as the gate's rules name it.
///
/// Classification needs a numbering plan and a rate deck; until a number went through them it is
/// [`Class::Unknown`], and unknown is denied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    Internal,
    Local,
    National,
    TollFree,
    Mobile,
    /// Shared cost.
    Shared,
    Premium,
    /// Personal numbers, which forward anywhere at the caller's cost.
    Personal,
    Satellite,
    International(Country),
    /// A country code 1 number outside the home country: dialled like a national one, priced
    /// like an international one (the one-ring fraud's favourite).
    NanpAbroad(Country),
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
        let digits = digits.as_str();
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
        let user = user_part(dialled);
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
    /// A number that no numbering plan has judged yet: of unknown class, so denied.
    pub fn unclassified(digits: Digits) -> Self {
        Self { digits, class: Class::Unknown }
    }

    pub fn digits(&self) -> &Digits {
        &self.digits
    }

    pub fn class(&self) -> Class {
        self.class
    }
}

impl std::str::FromStr for Country {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| NotACountry)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACountry) }
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

/// The user part of an address, or the text itself where it names no scheme.
fn user_part(dialled: &str) -> &str {
    let schemes = ["sips:", "sip:", "tel:"];
    let scheme = schemes.iter().find(|scheme| starts_with(dialled, scheme));
    let rest = scheme.map_or(dialled, |scheme| &dialled[scheme.len()..]);
    // The host begins at the last @: an unescaped one can't stand in a user part (RFC 3261 §25.1).
    let user = rest.rsplit_once('@').map_or(rest, |(user, _host)| user);
    let user = user.split_once(';').map_or(user, |(number, _parameters)| number);
    // A password in the user part is obsolete but legal (RFC 3261 §19.1.1).
    user.split_once(':').map_or(user, |(number, _rest)| number)
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
        if let (b'%', [high, low, after @ ..]) = (byte, rest) {
            if let (Some(high), Some(low)) = (hex(high), hex(low)) {
                self.0 = after;
                return Some(high << 4 | low);
            }
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

/// Numbers by country, from the national numbering plans as notified under ITU-T E.129, and for the
/// European Union Directive (EU) 2018/1972 article 109 (112 everywhere, national ones beside it).
const PLANS: &[Plan] = &[
    // 47 CFR §9 (911); 933 reads back the registered address at most carriers.
    Plan {
        countries: &["US", "CA", "PR", "GU", "VI", "AS", "MP"],
        numbers: &[("911", General), ("933", Test)],
    },
    Plan { countries: &["MX"], numbers: &[("911", General)] },
    Plan {
        countries: &["GB", "IE", "GG", "JE", "IM"],
        numbers: &[("112", General), ("999", General)],
    },
    // 112 alone, or what stood beside it before.
    Plan {
        countries: &["NL", "DK", "SE", "FI", "PT", "RO", "BG", "EE", "LT", "IS"],
        numbers: &[("112", General)],
    },
    Plan { countries: &["DE"], numbers: &[("112", General), ("110", Police)] },
    Plan {
        countries: &["AT"],
        numbers: &[
            ("112", General),
            ("122", Fire),
            ("133", Police),
            ("144", Ambulance),
            ("140", Rescue),
        ],
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
    Plan {
        countries: &["FR"],
        numbers: &[
            ("112", General),
            ("114", General),
            ("15", Ambulance),
            ("17", Police),
            ("18", Fire),
            ("196", Rescue),
        ],
    },
    Plan {
        countries: &["IT"],
        numbers: &[("112", General), ("113", Police), ("115", Fire), ("118", Ambulance)],
    },
    Plan {
        countries: &["ES"],
        numbers: &[("112", General), ("091", Police), ("080", Fire), ("061", Ambulance)],
    },
    Plan { countries: &["BE"], numbers: &[("112", General), ("101", Police), ("100", Ambulance)] },
    Plan {
        countries: &["PL"],
        numbers: &[("112", General), ("997", Police), ("998", Fire), ("999", Ambulance)],
    },
    Plan {
        countries: &["CZ", "SK"],
        numbers: &[("112", General), ("158", Police), ("150", Fire), ("155", Ambulance)],
    },
    Plan { countries: &["NO"], numbers: &[("112", Police), ("110", Fire), ("113", Ambulance)] },
    // Telecommunications (Emergency Call Service) Determination: 000, and 112 from mobiles.
    Plan { countries: &["AU"], numbers: &[("000", General), ("112", General)] },
    Plan { countries: &["NZ"], numbers: &[("111", General)] },
    Plan { countries: &["JP"], numbers: &[("110", Police), ("119", Fire), ("118", Rescue)] },
    Plan { countries: &["KR"], numbers: &[("119", Fire), ("112", Police)] },
    Plan {
        countries: &["CN"],
        numbers: &[("110", Police), ("119", Fire), ("120", Ambulance), ("122", Police)],
    },
    Plan { countries: &["HK", "MO"], numbers: &[("999", General)] },
    Plan { countries: &["SG"], numbers: &[("999", Police), ("995", Fire)] },
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
    Plan { countries: &["BR"], numbers: &[("190", Police), ("193", Fire), ("192", Ambulance)] },
    Plan {
        countries: &["ZA"],
        numbers: &[("112", General), ("10111", Police), ("10177", Ambulance)],
    },
    Plan { countries: &["IL"], numbers: &[("100", Police), ("101", Ambulance), ("102", Fire)] },
];
