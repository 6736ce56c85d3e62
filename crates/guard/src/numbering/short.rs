//! National short codes that are not for emergencies, and what they cost: what is known for sure. All
//! else stays unknown.

use crate::number::{Class, Country};

/// The class of a short code at home.
pub(super) fn class(home: Country, dialled: &str) -> Option<Class> {
    if !(3..=6).contains(&dialled.len()) {
        return None;
    }
    let own = TABLE.iter().filter(|plan| plan.countries.contains(&home.code()));
    let mut codes = own.flat_map(|plan| plan.codes);
    codes.find(|(code, _)| matches(code, dialled)).map(|&(_, class)| class)
}

/// `x` stands for any digit.
fn matches(code: &str, dialled: &str) -> bool {
    code.len() == dialled.len()
        && code.bytes().zip(dialled.bytes()).all(|(known, digit)| known == b'x' || known == digit)
}

struct Short {
    countries: &'static [&'static str],
    /// The first that matches decides.
    codes: &'static [(&'static str, Class)],
}

use Class::{National, Premium, Shared, TollFree};

const TABLE: &[Short] = &[
    // N11 and 988 (47 CFR 52.200, FCC 05-59 for 811). 411 is charged; 611 is each carrier's own.
    Short {
        countries: &["AS", "CA", "GU", "MP", "PR", "US", "VI"],
        codes: &[
            ("211", TollFree),
            ("311", TollFree),
            ("511", TollFree),
            ("711", TollFree),
            ("811", TollFree),
            ("988", TollFree),
            ("411", Premium),
        ],
    },
    // Harmonised numbers of social value: Commission Decisions 2007/116/EC, 2007/698/EC, 2009/884/EC.
    Short {
        countries: &[
            "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GG", "GR",
            "HR", "HU", "IE", "IM", "IS", "IT", "JE", "LI", "LT", "LU", "LV", "MT", "NL", "NO",
            "PL", "PT", "RO", "SE", "SI", "SK",
        ],
        codes: &[
            ("116000", TollFree),
            ("116006", TollFree),
            ("116111", TollFree),
            ("116117", TollFree),
            ("116123", TollFree),
        ],
    },
    // 101 police, 105 power cuts, 111 and 119 health, 159 banks; the speaking clock and enquiries cost.
    Short {
        countries: &["GB"],
        codes: &[
            ("101", TollFree),
            ("105", TollFree),
            ("111", TollFree),
            ("119", TollFree),
            ("159", National),
            ("123", Premium),
            ("118xxx", Premium),
        ],
    },
    Short { countries: &["IE"], codes: &[("118xx", Premium)] },
    // 115 the authorities, 116116 to block a card; enquiries.
    Short {
        countries: &["DE"],
        codes: &[("115", National), ("116116", TollFree), ("118xx", Premium), ("118xxx", Premium)],
    },
    Short {
        countries: &["AT"],
        codes: &[("142", TollFree), ("147", TollFree), ("118xxx", Premium)],
    },
    Short { countries: &["CH"], codes: &[("143", Shared), ("147", TollFree), ("18xx", Premium)] },
    // ARCEP: 30PQ and 31PQ are free, 3BPQ else may cost; 115 shelter, 119 children, 3919 violence.
    Short {
        countries: &["FR"],
        codes: &[
            ("115", TollFree),
            ("119", TollFree),
            ("30xx", TollFree),
            ("31xx", TollFree),
            ("3919", TollFree),
            ("32xx", Premium),
            ("34xx", Premium),
            ("36xx", Premium),
            ("39xx", Premium),
            ("118xxx", Premium),
        ],
    },
    Short { countries: &["NL"], codes: &[("113", TollFree), ("18xx", Premium)] },
    Short {
        countries: &["BE"],
        codes: &[
            ("103", TollFree),
            ("106", TollFree),
            ("107", TollFree),
            ("1207", Premium),
            ("1307", Premium),
        ],
    },
    Short {
        countries: &["IT"],
        codes: &[
            ("114", TollFree),
            ("117", TollFree),
            ("1500", TollFree),
            ("1515", TollFree),
            ("1522", TollFree),
            ("1530", TollFree),
            ("12xx", Premium),
        ],
    },
    Short {
        countries: &["ES"],
        codes: &[("016", TollFree), ("017", TollFree), ("118xx", Premium)],
    },
    Short {
        countries: &["SE"],
        codes: &[("1177", National), ("11414", National), ("118xxx", Premium)],
    },
    Short { countries: &["NO"], codes: &[("18xx", Premium)] },
    Short { countries: &["DK"], codes: &[("114", National), ("118", Premium)] },
    Short { countries: &["FI"], codes: &[("118", Premium)] },
    // 105 is the police when nothing burns, 1737 counselling; 018 enquiries.
    Short { countries: &["NZ"], codes: &[("105", TollFree), ("1737", TollFree), ("018", Premium)] },
    Short { countries: &["JP"], codes: &[("171", TollFree), ("104", Premium)] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound_and_calls_nobody_for_help() {
        for plan in TABLE {
            for code in plan.countries {
                let home: Country = code.parse().expect("two capital letters");
                for (code, _) in plan.codes {
                    assert!((3..=6).contains(&code.len()), "{code}");
                    assert!(code.bytes().all(|b| b == b'x' || b.is_ascii_digit()), "{code}");
                    let dialled = code.replace('x', "1");
                    assert_eq!(home.emergency(&dialled), None, "{home} {dialled}");
                    assert!(class(home, &dialled).is_some());
                }
            }
        }
    }
}
