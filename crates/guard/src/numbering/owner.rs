//! Whose numbers begin with what: the calling codes that several countries share, split by prefix.
//!
//! The dial plan gives a number to a country only where this table agrees, so that what a rate deck's
//! prefix can reach ([`countries_of`]) is never less than what the dial plan would let through.

use crate::number::Country;
use crate::numbering::country::countries;

/// The countries that numbers beginning with this prefix can belong to, sorted, each once.
///
/// The prefix is the beginning of an E.164 number, with or without `+`: `1` gives all of North America
/// and the Caribbean, `1809` the Dominican Republic, `44` the United Kingdom and the islands that share its code, `4`
/// everybody from the United Kingdom to Liechtenstein. Numbers of international networks (+870, +881,
/// +882, +883, +979, …) belong to no country, so nothing stands for them. Empty: international networks
/// alone, nobody, or no prefix (empty, not digits, longer than the 15 digits of E.164).
///
/// At most as long as [`countries`].
pub fn countries_of(prefix: &str) -> Vec<Country> {
    let digits = prefix.strip_prefix('+').unwrap_or(prefix);
    let shaped =
        (1..=super::E164_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !shaped {
        return Vec::new();
    }
    let mut found = holders(digits);
    // Whatever lies below the prefix.
    for (_, below) in BELOW.iter().filter(|(longer, _)| longer.starts_with(digits)) {
        found.extend(below.iter().map(|code| Country::literal(**code)));
    }
    for facts in countries() {
        let code = CallingCode::new(facts.calling_code);
        if code.as_str().starts_with(digits) {
            found.push(facts.country);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whose a number is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Owned {
    /// A row below the calling code says so.
    By(Country),
    /// By one of these, or by several in common; nobody where it is empty.
    ByOneOf(Vec<Country>),
}

/// Whose an E.164 number is (digits without `+`).
pub(super) fn owner(number: &str) -> Owned {
    match longest(BELOW, number) {
        Some([one]) => Owned::By(Country::literal(**one)),
        Some(_) | None => Owned::ByOneOf(holders(number)),
    }
}

/// The owners of the longest prefix of these digits that anybody owns.
fn holders(digits: &str) -> Vec<Country> {
    match longest(BELOW, digits).or_else(|| longest(FIRST, digits)) {
        Some(owners) => owners.iter().map(|code| Country::literal(**code)).collect(),
        None => countries()
            .filter(|facts| digits.starts_with(CallingCode::new(facts.calling_code).as_str()))
            .map(|facts| facts.country)
            .collect(),
    }
}

fn longest(table: &[(&str, Owners)], digits: &str) -> Option<Owners> {
    let above = table.iter().filter(|(prefix, _)| digits.starts_with(prefix));
    above.max_by_key(|(prefix, _)| prefix.len()).map(|&(_, owners)| owners)
}

/// A calling code as text, without asking for memory: two hundred are compared for each number.
struct CallingCode {
    digits: [u8; 3],
    length: usize,
}

impl CallingCode {
    fn new(code: u16) -> Self {
        let digit = |place: u16| b'0' + u8::try_from(code / place % 10).expect("below ten");
        match code {
            0..=9 => Self { digits: [digit(1), 0, 0], length: 1 },
            10..=99 => Self { digits: [digit(10), digit(1), 0], length: 2 },
            _ => Self { digits: [digit(100), digit(10), digit(1)], length: 3 },
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.length]).expect("ASCII digits, made above")
    }
}

type Owners = &'static [&'static [u8; 2]];

/// The United States with its territories, and Canada: toll-free, pay-per-call and personal numbers of
/// country code 1 are theirs in common.
const NORTH_AMERICA: Owners = &[b"AS", b"CA", b"GU", b"MP", b"PR", b"US", b"VI"];

const CANADA: Owners = &[b"CA"];

/// Calling codes that several countries share: whose a number is where no row below says otherwise.
const FIRST: &[(&str, Owners)] = &[
    ("1", &[b"US"]),
    ("212", &[b"MA"]),
    ("262", &[b"RE", b"YT"]),
    ("290", &[b"SH"]),
    ("358", &[b"FI"]),
    ("39", &[b"IT"]),
    ("44", &[b"GB"]),
    ("47", &[b"NO"]),
    ("590", &[b"BL", b"GP", b"MF"]),
    ("599", &[b"BQ", b"CW"]),
    ("61", &[b"AU"]),
    ("7", &[b"RU"]),
];

/// What lies below a shared calling code and belongs to others. The longest prefix decides. From the
/// North American Numbering Plan Administrator's list of area codes, Ofcom's allocations of 07 numbers to the
/// Crown dependencies, and the national plans; the tests compare them with libphonenumber.
const BELOW: &[(&str, Owners)] = &[
    ("1204", CANADA),
    ("1226", CANADA),
    ("1236", CANADA),
    ("1249", CANADA),
    ("1250", CANADA),
    ("1257", CANADA),
    ("1263", CANADA),
    ("1273", CANADA),
    ("1289", CANADA),
    ("1306", CANADA),
    ("1343", CANADA),
    ("1354", CANADA),
    ("1365", CANADA),
    ("1367", CANADA),
    ("1368", CANADA),
    ("1382", CANADA),
    ("1403", CANADA),
    ("1416", CANADA),
    ("1418", CANADA),
    ("1428", CANADA),
    ("1431", CANADA),
    ("1437", CANADA),
    ("1438", CANADA),
    ("1450", CANADA),
    ("1468", CANADA),
    ("1474", CANADA),
    ("1506", CANADA),
    ("1514", CANADA),
    ("1519", CANADA),
    ("1548", CANADA),
    ("1579", CANADA),
    ("1581", CANADA),
    ("1584", CANADA),
    ("1587", CANADA),
    ("1600", CANADA),
    ("1604", CANADA),
    ("1613", CANADA),
    ("1622", CANADA),
    ("1633", CANADA),
    ("1639", CANADA),
    ("1644", CANADA),
    ("1647", CANADA),
    ("1655", CANADA),
    ("1672", CANADA),
    ("1677", CANADA),
    ("1683", CANADA),
    ("1688", CANADA),
    ("1705", CANADA),
    ("1709", CANADA),
    ("1742", CANADA),
    ("1753", CANADA),
    ("1778", CANADA),
    ("1780", CANADA),
    ("1782", CANADA),
    ("1807", CANADA),
    ("1819", CANADA),
    ("1825", CANADA),
    ("1867", CANADA),
    ("1873", CANADA),
    ("1879", CANADA),
    ("1902", CANADA),
    ("1905", CANADA),
    ("1942", CANADA),
    ("1242", &[b"BS"]),
    ("1246", &[b"BB"]),
    ("1264", &[b"AI"]),
    ("1268", &[b"AG"]),
    ("1284", &[b"VG"]),
    ("1340", &[b"VI"]),
    ("1345", &[b"KY"]),
    ("1441", &[b"BM"]),
    ("1473", &[b"GD"]),
    ("1649", &[b"TC"]),
    ("1658", &[b"JM"]),
    ("1664", &[b"MS"]),
    ("1670", &[b"MP"]),
    ("1671", &[b"GU"]),
    ("1684", &[b"AS"]),
    ("1721", &[b"SX"]),
    ("1758", &[b"LC"]),
    ("1767", &[b"DM"]),
    ("1784", &[b"VC"]),
    ("1787", &[b"PR"]),
    ("1809", &[b"DO"]),
    ("1829", &[b"DO"]),
    ("1849", &[b"DO"]),
    ("1868", &[b"TT"]),
    ("1869", &[b"KN"]),
    ("1876", &[b"JM"]),
    ("1939", &[b"PR"]),
    ("1500", NORTH_AMERICA),
    ("1521", NORTH_AMERICA),
    ("1522", NORTH_AMERICA),
    ("1523", NORTH_AMERICA),
    ("1524", NORTH_AMERICA),
    ("1525", NORTH_AMERICA),
    ("1526", NORTH_AMERICA),
    ("1527", NORTH_AMERICA),
    ("1528", NORTH_AMERICA),
    ("1529", NORTH_AMERICA),
    ("1532", NORTH_AMERICA),
    ("1533", NORTH_AMERICA),
    ("1544", NORTH_AMERICA),
    ("1566", NORTH_AMERICA),
    ("1577", NORTH_AMERICA),
    ("1588", NORTH_AMERICA),
    ("1800", NORTH_AMERICA),
    ("1833", NORTH_AMERICA),
    ("1844", NORTH_AMERICA),
    ("1855", NORTH_AMERICA),
    ("1866", NORTH_AMERICA),
    ("1877", NORTH_AMERICA),
    ("1888", NORTH_AMERICA),
    ("1900", NORTH_AMERICA),
    ("76", &[b"KZ"]),
    ("77", &[b"KZ"]),
    ("7336", &[b"KZ", b"RU"]),
    ("2125288", &[b"EH", b"MA"]),
    ("2125289", &[b"EH", b"MA"]),
    ("2908", &[b"TA"]),
    ("35818", &[b"AX"]),
    ("3906698", &[b"VA"]),
    ("441481", &[b"GG"]),
    ("441534", &[b"JE"]),
    ("441624", &[b"IM"]),
    ("4474576", &[b"IM"]),
    ("447509", &[b"JE"]),
    ("447524", &[b"IM"]),
    ("447624", &[b"IM"]),
    ("4477003", &[b"JE"]),
    ("4477007", &[b"JE"]),
    ("4477008", &[b"JE"]),
    ("447781", &[b"GG"]),
    ("447797", &[b"JE"]),
    ("447829", &[b"JE"]),
    ("447839", &[b"GG"]),
    ("4479111", &[b"GG"]),
    ("4479117", &[b"GG"]),
    ("447924", &[b"IM"]),
    ("447937", &[b"JE"]),
    ("4779", &[b"SJ"]),
    ("5993", &[b"BQ"]),
    ("5994", &[b"BQ"]),
    ("5997", &[b"BQ"]),
    ("5999", &[b"CW"]),
    // Christmas and the Cocos Islands lie in blocks of ten numbers among those of Western Australia.
    ("61851", &[b"AU", b"CC", b"CX"]),
    ("61891", &[b"AU", b"CC", b"CX"]),
];
