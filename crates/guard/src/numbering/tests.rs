use proptest::prelude::*;

use super::*;

/// Reads rows such as `020 7946 0000 > +442079460000 national GB`, all of one home.
fn check(plan: &DialPlan, rows: &str) {
    let mut wrong = String::new();
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with("//")) {
        let (dialled, expected) = row.split_once(" > ").expect("dialled > expected");
        let expected = expected.split(" //").next().unwrap_or_default().trim();
        let found = read(plan, dialled.trim());
        if found != expected {
            wrong.push_str(&format!("\n{dialled} > {found} (expected {expected})"));
        }
    }
    assert!(wrong.is_empty(), "at home in {}:{wrong}", plan.home);
}

fn read(plan: &DialPlan, dialled: &str) -> String {
    let Some(digits) = Digits::parse(dialled) else { return "no digits".to_owned() };
    let found = plan.read(&digits);
    if found.class() == Class::Unknown {
        assert_eq!((found.digits(), found.country()), (&digits, None), "unknown stays as dialled");
        return "unknown".to_owned();
    }
    let country = found.country().map_or("-".to_owned(), |country| country.to_string());
    format!("{} {} {country}", found.digits().as_str(), found.class())
}

fn home(code: &str) -> Country {
    code.parse().expect("two capital letters")
}

fn at(code: &str) -> DialPlan {
    DialPlan::new(home(code))
}

fn with(code: &str, line: char, area: &str) -> DialPlan {
    at(code).with_outside_line(Some(line)).with_area(Some(area.to_owned()))
}

#[test]
fn a_country_is_said_by_its_two_letters() {
    assert_eq!(named("gb").map(|found| found.to_string()), Ok("GB".to_owned()));
    for (said, told) in [
        ("UK", "UK is no country here: the United Kingdom is GB"),
        ("EU", "EU is no country here: name one of its members, such as DE or FR"),
        ("zz", "ZZ is no country here: write two letters as in ISO 3166, such as US or DE"),
        ("Latvia", "LATVIA is no country here: Latvia is LV"),
    ] {
        assert_eq!(named(said), Err(told.to_owned()));
    }
}

#[test]
fn at_home_in_the_united_states() {
    check(
        &at("US"),
        "
        // national, with and without 1, with +, with separators
        212 555 0123             > +12125550123 national US
        1 212 555 0123           > +12125550123 national US
        +1 (212) 555-0123        > +12125550123 national US
        12125550123              > +12125550123 national US
        sip:+12125550123@pbx     > +12125550123 national US
        tel:212-555-0123         > +12125550123 national US
        011 1 212 555 0123       > +12125550123 national US
        907 555 0123             > +19075550123 national US  // Alaska
        808 555 0123             > +18085550123 national US  // Hawaii
        // seven digits need an area code
        555 0123                 > unknown
        // toll-free
        800 234 5678             > +18002345678 toll-free US
        1 833 234 5678           > +18332345678 toll-free US
        844 234 5678             > +18442345678 toll-free US
        855 234 5678             > +18552345678 toll-free US
        866 234 5678             > +18662345678 toll-free US
        877 234 5678             > +18772345678 toll-free US
        +1 888 234 5678          > +18882345678 toll-free US
        800 555 1212             > +18005551212 toll-free US
        // what begins like toll-free and is not
        822 234 5678             > unknown
        880 234 5678             > unknown
        881 234 5678             > unknown
        887 234 5678             > unknown
        889 234 5678             > unknown
        // premium
        900 234 5678             > +19002345678 premium US
        1 900 234 5678           > +19002345678 premium US
        212 976 1234             > +12129761234 premium US
        212 555 1212             > +12125551212 premium US
        976 234 5678             > unknown
        // personal
        500 234 5678             > +15002345678 personal US
        521 234 5678             > +15212345678 personal US
        533 234 5678             > +15332345678 personal US
        544 234 5678             > +15442345678 personal US
        588 234 5678             > +15882345678 personal US
        // carriers' and the government's own
        700 555 4141             > unknown
        710 627 4387             > unknown
        // the neighbours with the same country code
        416 555 0123             > +14165550123 nanp-abroad CA
        1 604 555 0123           > +16045550123 nanp-abroad CA
        600 234 5678             > +16002345678 premium CA
        622 234 5678             > +16222345678 personal CA
        242 345 6789             > +12423456789 nanp-abroad BS
        246 234 5678             > +12462345678 nanp-abroad BB
        264 497 2345             > +12644972345 nanp-abroad AI
        268 464 1234             > +12684641234 nanp-abroad AG
        284 494 2345             > +12844942345 nanp-abroad VG
        345 945 2345             > +13459452345 nanp-abroad KY
        441 292 2345             > +14412922345 nanp-abroad BM
        473 440 2345             > +14734402345 nanp-abroad GD
        649 946 2345             > +16499462345 nanp-abroad TC
        658 523 0123             > +16585230123 nanp-abroad JM
        664 491 2345             > +16644912345 nanp-abroad MS
        721 542 2345             > +17215422345 nanp-abroad SX
        758 452 2345             > +17584522345 nanp-abroad LC
        767 448 2345             > +17674482345 nanp-abroad DM
        784 456 2345             > +17844562345 nanp-abroad VC
        809 555 0123             > +18095550123 nanp-abroad DO
        1 829 234 5678           > +18292345678 nanp-abroad DO
        849 234 5678             > +18492345678 nanp-abroad DO
        868 628 2345             > +18686282345 nanp-abroad TT
        869 465 2345             > +18694652345 nanp-abroad KN
        876 927 2345             > +18769272345 nanp-abroad JM
        // territories are priced apart by many carriers
        787 234 5678             > +17872345678 nanp-abroad PR
        939 234 5678             > +19392345678 nanp-abroad PR
        340 774 2345             > +13407742345 nanp-abroad VI
        671 472 2345             > +16714722345 nanp-abroad GU
        684 633 2345             > +16846332345 nanp-abroad AS
        670 234 5678             > +16702345678 nanp-abroad MP
        // abroad
        011 44 20 7946 0000      > +442079460000 international GB
        +44 20 7946 0000         > +442079460000 international GB
        00 44 20 7946 0000       > +442079460000 international GB
        +44 7400 123456          > +447400123456 international GB
        +44 7911 123456          > +447911123456 international GG
        +44 7781 123456          > +447781123456 international GG
        +44 70 2345 6789         > +447023456789 personal GB
        +44 844 234 5678         > +448442345678 premium GB
        +44 909 879 0000         > +449098790000 premium GB
        +44 800 123 4567         > +448001234567 international GB
        +371 6712 3456           > +37167123456 international LV
        +371 9012 3456           > +37190123456 premium LV
        011 53 7 832 0000        > +5378320000 international CU
        +252 61 234 5678         > +252612345678 international SO
        +247 62889               > +24762889 international AC
        +290 22158               > +29022158 international SH
        +677 74 21234            > +6777421234 international SB
        +49 137 123 4567         > +491371234567 premium DE
        // satellite and international networks
        +870 773 123 456         > +870773123456 satellite -
        011 870 773 123 456      > +870773123456 satellite -
        +881 6 2345 6789         > +881623456789 satellite -  // Iridium
        +881 9 2345 6789         > +881923456789 satellite -  // Globalstar
        +882 16 2345 6789        > +8821623456789 satellite -  // Thuraya
        +883 510 012 345 678     > +883510012345678 satellite -
        +888 123 456 789 01      > +88812345678901 satellite -
        +979 123 456 789         > +979123456789 premium -
        +878 10 1234567890       > +878101234567890 personal -
        +800 1234 5678           > +80012345678 international -
        +808 1234 5678           > +80812345678 premium -
        // short codes
        211                      > 211 toll-free US
        311                      > 311 toll-free US
        411                      > 411 premium US
        511                      > 511 toll-free US
        611                      > unknown
        711                      > 711 toll-free US
        811                      > 811 toll-free US
        988                      > 988 toll-free US
        911                      > unknown  // recognised before
        112                      > unknown
        +911                     > unknown
        +411                     > unknown
        1411                     > unknown
        101                      > unknown
        12345                    > unknown
        123456                   > unknown
        // no number
        112 555 0123             > unknown
        012 555 0123             > unknown
        212 055 0123             > unknown
        212 155 0123             > unknown
        2125550123456            > unknown
        +1 555 010 0090          > unknown
        +1 911 555 0123          > unknown
        ",
    );
}

#[test]
fn the_office_in_manhattan_dials_9_and_seven_digits() {
    check(
        &with("US", '9', "212"),
        "
        555 0123                 > +12125550123 local US
        9 555 0123               > +12125550123 local US
        212 555 0123             > +12125550123 local US
        9 212 555 0123           > +12125550123 local US
        9 1 212 555 0123         > +12125550123 local US
        9 1 718 555 0123         > +17185550123 national US
        718 555 0123             > +17185550123 national US
        9 1 809 555 0123         > +18095550123 nanp-abroad DO
        9 011 44 20 7946 0000    > +442079460000 international GB
        9 00 44 20 7946 0000     > +442079460000 international GB
        // the whole is a number, so nothing is dropped
        917 555 0123             > +19175550123 national US
        900 234 5678             > +19002345678 premium US
        9 900 234 5678           > +19002345678 premium US
        9 976 1234               > +12129761234 premium US
        976 1234                 > +12129761234 premium US
        555 1212                 > +12125551212 premium US
        9 411                    > 411 premium US
        9 988                    > 988 toll-free US
        9 911                    > unknown
        9 9 212 555 0123         > unknown
        9                        > unknown
        99                       > unknown
        155 0123                 > unknown
        055 0123                 > unknown
        55 0123                  > unknown
        ",
    );
    assert_eq!(with("US", '8', "212").emergency("8911").map(|found| found.number()), Some("911"));
    assert_eq!(with("US", '8', "212").emergency("88911"), None);
    check(&with("US", '8', "212"), "8911 > unknown");
}

#[test]
fn at_home_in_canada_and_in_the_islands() {
    check(
        &at("CA"),
        "
        416 555 0123             > +14165550123 national CA
        1 867 555 0123           > +18675550123 national CA
        212 555 0123             > +12125550123 nanp-abroad US
        800 234 5678             > +18002345678 toll-free CA
        900 234 5678             > +19002345678 premium CA
        600 234 5678             > +16002345678 premium CA
        622 234 5678             > +16222345678 personal CA
        500 234 5678             > +15002345678 personal CA
        416 976 1234             > +14169761234 premium CA
        416 555 1212             > +14165551212 premium CA
        876 927 2345             > +18769272345 nanp-abroad JM
        787 234 5678             > +17872345678 nanp-abroad PR
        011 33 1 99 00 12 34     > +33199001234 international FR
        811                      > 811 toll-free CA
        411                      > 411 premium CA
        ",
    );
    check(
        &at("PR"),
        "
        787 234 5678             > +17872345678 national PR
        212 555 0123             > +12125550123 nanp-abroad US
        800 234 5678             > +18002345678 toll-free PR
        ",
    );
    check(
        &at("JM"),
        "
        876 927 2345             > +18769272345 national JM
        658 523 0123             > +16585230123 national JM
        800 234 5678             > +18002345678 nanp-abroad US
        900 234 5678             > +19002345678 premium US
        416 555 0123             > +14165550123 nanp-abroad CA
        411                      > unknown
        ",
    );
}

#[test]
fn at_home_in_the_united_kingdom() {
    check(
        &at("GB"),
        "
        020 7946 0000            > +442079460000 national GB
        20 7946 0000             > +442079460000 national GB
        +44 20 7946 0000         > +442079460000 national GB
        +44 (0)20 7946 0000      > +442079460000 national GB
        00 44 20 7946 0000       > +442079460000 national GB
        0161 496 0000            > +441614960000 national GB
        01632 960001             > unknown  // reserved for fiction
        0303 123 7300            > +443031237300 national GB
        0345 123 4567            > +443451234567 national GB
        0370 123 4567            > +443701234567 national GB
        07911 234567             > +447911234567 mobile GB
        07400 123456             > +447400123456 mobile GB
        0800 123 4567            > +448001234567 toll-free GB
        0808 157 0192            > +448081570192 toll-free GB
        0844 234 5678            > +448442345678 shared GB
        0843 234 5678            > +448432345678 shared GB
        0871 234 5678            > +448712345678 shared GB
        055 1234 5678            > +445512345678 shared GB
        056 1234 5678            > +445612345678 shared GB
        0906 123 4567            > +449061234567 premium GB
        0909 879 0000            > +449098790000 premium GB
        0909 879 000             > unknown
        070 2345 6789            > +447023456789 personal GB
        076 0123 4567            > +447601234567 premium GB
        // the islands that share the code
        01481 256789             > +441481256789 international GG
        07781 123456             > +447781123456 international GG
        07911 123456             > +447911123456 international GG
        01534 456789             > +441534456789 international JE
        07797 712345             > +447797712345 international JE
        01624 756789             > +441624756789 international IM
        07624 234567             > +447624234567 international IM
        07924 234567             > +447924234567 international IM
        // short codes
        101                      > 101 toll-free GB
        105                      > 105 toll-free GB
        111                      > 111 toll-free GB
        116123                   > 116123 toll-free GB
        119                      > 119 toll-free GB
        123                      > 123 premium GB
        118118                   > 118118 premium GB
        118500                   > 118500 premium GB
        116124                   > unknown
        100                      > unknown
        141                      > unknown
        1471                     > unknown
        999                      > unknown
        112                      > unknown
        // abroad
        00 1 212 555 0123        > +12125550123 international US
        +1 212 555 0123          > +12125550123 international US
        +1 800 234 5678          > +18002345678 international US
        +1 900 234 5678          > +19002345678 premium US
        +1 500 234 5678          > +15002345678 personal US
        00 1 809 555 0123        > +18095550123 international DO
        +353 1 677 1234          > +35316771234 international IE
        +49 30 123456            > +4930123456 international DE
        +49 171 1234567          > +491711234567 international DE
        +33 899 12 34 56         > +33899123456 premium FR
        +61 147 101 234          > +61147101234 satellite AU
        // no number
        0                        > unknown
        00                       > unknown
        020 7946 000             > unknown
        020 7946 00000           > unknown
        0207 *946                > unknown
        +44                      > unknown
        +094 76 1000000          > unknown
        +440                     > unknown
        ",
    );
    check(
        &with("GB", '9', "020"),
        "
        7946 0000                > +442079460000 local GB
        9 7946 0000              > +442079460000 local GB
        9 020 7946 0000          > +442079460000 local GB
        9 0161 496 0000          > +441614960000 national GB
        9 00 1 212 555 0123      > +12125550123 international US
        9 118118                 > 118118 premium GB
        9 999                    > unknown
        ",
    );
    check(
        &at("GG"),
        "01481 256789 > +441481256789 national GG\n020 7946 0000 > +442079460000 international GB",
    );
}

#[test]
fn at_home_in_germany() {
    check(
        &at("DE"),
        "
        030 123456               > +4930123456 national DE
        +49 30 123456            > +4930123456 national DE
        +49 (0)30 123456         > +4930123456 national DE
        0049 30 123456           > +4930123456 national DE
        089 1234567              > +49891234567 national DE
        0171 1234567             > +491711234567 mobile DE
        01512 3456789            > +4915123456789 mobile DE
        032 22 1234567           > +4932221234567 national DE
        0800 1234567             > +498001234567 toll-free DE
        0180 5 123456            > +491805123456 shared DE
        0180 2 123456            > +491802123456 shared DE
        0900 1 123456            > +499001123456 premium DE
        0900 3 123456            > +499003123456 premium DE
        0137 123 4567            > +491371234567 premium DE
        0700 12345678            > +4970012345678 personal DE
        0190 123456              > unknown
        115                      > 115 national DE
        116117                   > 116117 toll-free DE
        116116                   > 116116 toll-free DE
        116111                   > 116111 toll-free DE
        11833                    > 11833 premium DE
        118000                   > 118000 premium DE
        110                      > unknown
        112                      > unknown
        0110                     > unknown
        1150                     > unknown
        00 43 1 234567890        > +431234567890 international AT
        00 1 212 555 0123        > +12125550123 international US
        00 1 876 927 2345        > +18769272345 international JM
        +39 06 6982 1234         > +390669821234 international VA
        +7 727 234 5678          > +77272345678 international KZ
        +7 495 123 45 67         > +74951234567 international RU
        +41 79 123 45 67         > +41791234567 international CH
        +90                      > unknown
        ",
    );
    check(
        &with("DE", '0', "030"),
        "
        123456                   > unknown  // begins like a service
        234567                   > +4930234567 local DE
        0 234567                 > +49234567 national DE  // Bochum: the whole is a number
        0 030 234567             > +4930234567 local DE
        0 089 1234567            > +49891234567 national DE
        0 0171 1234567           > +491711234567 mobile DE
        0 00 43 1 234567890      > +431234567890 international AT
        00 43 1 234567890        > +431234567890 international AT
        0 0900 1 123456          > +499001123456 premium DE
        0 11833                  > 11833 premium DE
        0 110                    > unknown
        ",
    );
}

#[test]
fn at_home_in_france() {
    check(
        &at("FR"),
        "
        01 99 00 12 34           > +33199001234 national FR
        1 99 00 12 34            > +33199001234 national FR
        +33 1 99 00 12 34        > +33199001234 national FR
        0033 1 99 00 12 34       > +33199001234 national FR
        06 12 34 56 78           > +33612345678 mobile FR
        06 39 98 12 34           > unknown  // reserved for fiction
        07 56 12 34 56           > +33756123456 mobile FR
        09 70 12 34 56           > +33970123456 national FR
        0800 12 34 56            > +33800123456 toll-free FR
        0805 12 34 56            > +33805123456 toll-free FR
        0810 12 34 56            > +33810123456 shared FR
        0820 12 34 56            > +33820123456 shared FR
        0892 12 34 56            > +33892123456 premium FR
        0899 12 34 56            > +33899123456 premium FR
        118 218                  > 118218 premium FR
        3919                     > 3919 toll-free FR
        3949                     > 3949 premium FR
        3010                     > 3010 toll-free FR
        3103                     > 3103 toll-free FR
        1013                     > unknown
        115                      > 115 toll-free FR
        119                      > 119 toll-free FR
        116000                   > 116000 toll-free FR
        15                       > unknown
        17                       > unknown
        18                       > unknown
        112                      > unknown
        // overseas is not at home
        0590 27 12 34            > unknown
        +590 590 20 12 34        > +590590201234 international GP
        +262 262 12 34 56        > +262262123456 international RE
        +596 596 30 12 34        > +596596301234 international MQ
        00 44 20 7946 0000       > +442079460000 international GB
        +376 712 345             > +376712345 international AD
        ",
    );
}

#[test]
fn at_home_in_australia() {
    check(
        &at("AU"),
        "
        02 5550 1234             > +61255501234 national AU
        (02) 5550 1234           > +61255501234 national AU
        +61 2 5550 1234          > +61255501234 national AU
        0011 61 2 5550 1234      > +61255501234 national AU
        0412 345 678             > +61412345678 mobile AU
        0491 570 156             > +61491570156 mobile AU
        1800 123 456             > +611800123456 toll-free AU
        1300 123 456             > +611300123456 shared AU
        13 14 50                 > +61131450 shared AU
        1900 123 456             > +611900123456 premium AU
        0147 101 234             > +61147101234 satellite AU
        0011 1 212 555 0123      > +12125550123 international US
        0011 64 9 234 5678       > +6492345678 international NZ
        0011 881 6 2345 6789     > +881623456789 satellite -
        08 9164 1234             > +61891641234 international CX
        08 9162 1234             > +61891621234 international CC
        000                      > unknown
        0000                     > unknown
        112                      > unknown
        106                      > unknown
        1234                     > unknown
        9550 1234                > unknown
        ",
    );
    check(
        &with("AU", '0', "2"),
        "5550 1234 > +61255501234 local AU\n0 0011 64 9 234 5678 > +6492345678 international NZ\n13 14 50 > +61131450 shared AU",
    );
}

#[test]
fn at_home_elsewhere() {
    check(
        &at("RU"),
        "8 495 123 45 67 > +74951234567 national RU\n8 10 44 20 7946 0000 > +442079460000 international GB\n8 912 345 67 89 > +79123456789 mobile RU\n8 727 234 56 78 > +77272345678 international KZ\n8 800 123 45 67 > +78001234567 toll-free RU",
    );
    check(
        &at("IT"),
        "06 1234 5678 > +390612345678 national IT\n312 345 6789 > +393123456789 mobile IT\n1254 > 1254 premium IT\n118 > unknown",
    );
    check(
        &at("HU"),
        "06 1 234 5678 > +3612345678 national HU\n06 20 123 4567 > +36201234567 mobile HU",
    );
    check(
        &at("MX"),
        "55 1234 5678 > +525512345678 national MX\n00 1 212 555 0123 > +12125550123 international US",
    );
    check(
        &at("AR"),
        "011 2345 6789 > +541123456789 national AR\n011 15 2345 6789 > +5491123456789 mobile AR",
    );
    check(
        &at("BR"),
        "0 31 11 2345 6789 > +551123456789 national BR\n11 96123 4567 > +5511961234567 mobile BR",
    );
    check(
        &at("NO"),
        "22 12 34 56 > +4722123456 national NO\n79 02 12 34 > +4779021234 international SJ\n1881 > 1881 premium NO",
    );
    check(
        &at("FI"),
        "09 123 4567 > +35891234567 national FI\n018 12345 > +3581812345 international AX",
    );
    check(
        &at("ES"),
        "912 345 678 > +34912345678 national ES\n016 > 016 toll-free ES\n11818 > 11818 premium ES",
    );
    check(
        &at("CH"),
        "044 668 18 00 > +41446681800 national CH\n0900 123 456 > +41900123456 premium CH\n058 123 45 67 > +41581234567 national CH",
    );
    check(
        &at("SG"),
        "6123 4567 > +6561234567 national SG\n001 44 20 7946 0000 > +442079460000 international GB",
    );
    check(
        &at("JP"),
        "03 1234 5678 > +81312345678 national JP\n010 1 212 555 0123 > +12125550123 international US\n119 > unknown",
    );
    // A home that has no telephones: only what names its country can be read.
    check(
        &at("ZZ"),
        "+442079460000 > +442079460000 international GB\n020 7946 0000 > unknown\n00442079460000 > +442079460000 international GB",
    );
}

#[test]
fn carriers_write_a_number_as_they_like() {
    let check = |code: &str, spellings: &str, expected: Option<&str>| {
        for spelling in spellings.split(", ") {
            assert_eq!(e164(spelling, home(code)).as_deref(), expected, "{spelling} in {code}");
        }
    };
    let spellings = "+12125550123, 12125550123, 2125550123, (212) 555-0123, 0012125550123, \
        01112125550123, sip:+12125550123@carrier.example, sip:12125550123@10.0.0.1;user=phone, \
        tel:+1-212-555-0123";
    check("US", spellings, Some("+12125550123"));
    let spellings = "+4930123456, 4930123456, 030123456, 004930123456, +49 (0)30 123456, 30123456";
    check("DE", spellings, Some("+4930123456"));
    let spellings = "+442079460000, 442079460000, 02079460000, 00442079460000, 2079460000";
    check("GB", spellings, Some("+442079460000"));
    check("FR", "+33199001234, 33199001234, 0199001234, 0033199001234", Some("+33199001234"));
    check("AU", "+61255501234, 61255501234, 0255501234, 001161255501234", Some("+61255501234"));
    check("RU", "+74951234567, 74951234567, 84951234567, 4951234567", Some("+74951234567"));
    check("NO", "+4722123456, 4722123456, 22123456, 004722123456", Some("+4722123456"));
    // Callers from abroad.
    check("US", "442079460000, +442079460000, 00442079460000", Some("+442079460000"));
    check("DE", "12125550123, 0012125550123", Some("+12125550123"));
    check("DE", "33199001234, 0033199001234", Some("+33199001234"));
    // No plan lists these; whoever writes them has them.
    check("US", "+15550100090, 15550100090, 5550100090", Some("+15550100090"));
    check("GB", "+441632960001, 441632960001, 01632960001, 00441632960001", Some("+441632960001"));
    check("US", "101, 911, anonymous, 5550123, +, 0, sip:10.0.0.1, +0123456789, *67, 1#", None);
    check("DE", "101, 112, 110, anonymous, 00, 0000000000, +1234567890123456", None);
    check("ZZ", "+442079460000, 00442079460000", Some("+442079460000"));
}

#[test]
fn a_prefix_leads_to_its_countries() {
    let of = |prefix: &str| -> String {
        let found = countries_of(prefix);
        found.iter().map(|country| country.code()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        of("1"),
        "AG AI AS BB BM BS CA DM DO GD GU JM KN KY LC MP MS PR SX TC TT US VC VG VI"
    );
    assert_eq!(of("12"), "AG AI BB BS CA US VG");
    assert_eq!((of("1212"), of("+12125")), ("US".to_owned(), "US".to_owned()));
    assert_eq!((of("1809"), of("18095550123")), ("DO".to_owned(), "DO".to_owned()));
    assert_eq!(of("1416"), "CA");
    assert_eq!(of("1800"), "AS CA GU MP PR US VI");
    assert_eq!(of("7"), "KZ RU");
    assert_eq!((of("74"), of("77")), ("RU".to_owned(), "KZ".to_owned()));
    assert_eq!(of("44"), "GB GG IM JE");
    assert_eq!((of("4420"), of("441481"), of("4414")), ("GB".into(), "GG".into(), "GB GG".into()));
    assert_eq!(of("44791"), "GB GG");
    assert_eq!(of("371"), "LV");
    assert_eq!(of("37190123456"), "LV");
    assert_eq!(of("37"), "AD AM BY EE LT LV MC MD SM");
    assert_eq!(of("39"), "IT VA");
    assert_eq!(of("590"), "BL GP MF");
    assert_eq!(of("247"), "AC");
    // Networks, nobody, nonsense.
    for nobody in ["870", "881", "882", "979", "999", "210", "", "+", "44a", "++44", " 44"] {
        assert_eq!(of(nobody), "", "{nobody}");
    }
    assert_eq!(of("88"), "BD TW");
    assert_eq!(of("1234567890123456"), "");
    assert!(countries_of("4").len() < countries().count());
}

#[test]
fn the_table_of_countries_is_sound() {
    let codes: Vec<_> = countries().map(|facts| facts.country).collect();
    assert!(codes.is_sorted() && codes.len() == 245, "{}", codes.len());
    for facts in countries() {
        let code = facts.country.code();
        assert_eq!(code.parse(), Ok(facts.country));
        assert_eq!(super::facts(facts.country), Some(facts));
        let region = Region::from_code(code).expect("two letters");
        let known = PLANS.get_country_code_for_region(region);
        assert_eq!(known, Some(i32::from(facts.calling_code)), "{code}");
        assert!(countries_of(&facts.calling_code.to_string()).contains(&facts.country), "{code}");
        assert!((1..=40).contains(&facts.name.chars().count()), "{code}");
        assert!(facts.zone.contains('/'), "{code}");
        let digits = format!("{}{}", facts.international_prefix, facts.national_prefix);
        assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{code}");
    }
    for region in PLANS.get_supported_regions() {
        assert!(is_known(home(region.as_region_str().as_str())), "{region}");
    }
    assert_eq!((name(home("DE")), name(home("CI"))), ("Germany", "Côte d'Ivoire"));
    assert_eq!((name(home("ZZ")), is_known(home("ZZ"))), ("unknown country", false));
    assert_eq!(
        facts(home("AU")).map(|au| (au.international_prefix, au.zone)),
        Some(("0011", "Australia/Sydney"))
    );
}

const TYPES: [PhoneNumberType; 11] = [
    PhoneNumberType::FixedLine,
    PhoneNumberType::Mobile,
    PhoneNumberType::FixedLineOrMobile,
    PhoneNumberType::TollFree,
    PhoneNumberType::PremiumRate,
    PhoneNumberType::SharedCost,
    PhoneNumberType::VoIP,
    PhoneNumberType::PersonalNumber,
    PhoneNumberType::Pager,
    PhoneNumberType::UAN,
    PhoneNumberType::VoiceMail,
];

/// One valid number of each type of each country, in E.164.
fn examples() -> Vec<(Country, PhoneNumberType, String)> {
    let mut found = Vec::new();
    for facts in countries() {
        let region = Region::from_code(facts.country.code()).expect("two letters");
        for of in TYPES {
            if let Ok(example) = PLANS.get_example_number_for_type_and_region(region, of) {
                let national = get_national_significant_number_owned(&example);
                let text = format!("+{}{national}", example.country_code);
                found.push((facts.country, of, text));
            }
        }
    }
    found
}

#[test]
fn every_country_dials_itself_and_abroad() {
    let mut wrong = String::new();
    let mut refused = Vec::new();
    for (country, of, text) in examples() {
        let plan = DialPlan::new(country);
        let found = read(&plan, &text);
        // At home, or in a country that shares the code.
        let facts = facts(country).expect("listed");
        if found == "unknown" {
            refused.push(format!("{country} {of:?} {text}"));
            continue;
        }
        let (_, whose) = found.rsplit_once(' ').expect("three words");
        if !countries_of(&text).contains(&home(whose)) {
            wrong.push_str(&format!("{country} {of:?} {text} > {found}\n"));
        }
        let national = &text[1 + facts.calling_code.to_string().len()..];
        // Services and, in Colombia and Israel, other ranges are dialled without the national prefix.
        let prefix = match of {
            PhoneNumberType::FixedLine => facts.national_prefix,
            _ => "",
        };
        for dialled in [
            format!("{prefix}{national}"),
            format!("{}{}{national}", facts.international_prefix, facts.calling_code),
            format!("00{}{national}", facts.calling_code),
        ] {
            let same = read(&plan, &dialled);
            if same != found {
                wrong.push_str(&format!(
                    "{country} {of:?} {dialled} > {same} (as {text}: {found})\n"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    // 310-1234 is dialled so in all of Canada, and isn't E.164: seven digits behind +1.
    assert_eq!(refused, ["CA UAN +13101234"]);
}

#[test]
fn each_area_code_of_north_america_is_where_the_library_has_it() {
    let mut areas = 0;
    for area in 200..1_000 {
        // Some islands have few exchanges.
        let regions: std::collections::BTreeSet<_> = (200..1_000)
            .step_by(3)
            .map(|exchange| PhoneNumber {
                country_code: 1,
                national_number: area * 10_000_000 + exchange * 10_000 + 2_345,
                ..PhoneNumber::default()
            })
            .filter_map(|number| PLANS.get_region_for_number(&number))
            .collect();
        assert!(regions.len() <= 1, "{area} {regions:?}");
        let owners = countries_of(&format!("1{area}"));
        if let Some(region) = regions.first() {
            areas += 1;
            let country = home(region.as_region_str().as_str());
            assert!(owners.contains(&country), "{area} {country} {owners:?}");
            assert!(owners.len() == 1 || country == Country::US, "{area} {owners:?}");
        }
    }
    assert!(areas > 440, "{areas}");
}

/// What somebody may dial: digits at random, and digits that begin as numbers do.
fn dialled() -> impl Strategy<Value = String> {
    let begins = prop_oneof![
        Just(String::new()),
        Just("+".to_owned()),
        prop::sample::select(vec![
            "+1", "1", "011", "00", "0", "+44", "+447", "0044", "+49", "030", "+7", "8", "810",
            "9", "9011", "+88", "+1809", "1900", "+590", "+599", "+262", "+212528", "+618", "0011",
            "+441", "+39066", "06", "+4779", "+35818", "07", "08", "09", "118", "116",
        ])
        .prop_map(str::to_owned),
    ];
    (begins, "[0-9]{0,15}").prop_map(|(begins, rest)| format!("{begins}{rest}"))
}

/// Homes of every kind of plan, with an outside line and an area code or without.
fn plans() -> impl Strategy<Value = DialPlan> {
    let homes = prop::sample::select(vec![
        "US", "CA", "PR", "JM", "GB", "GG", "DE", "FR", "AU", "RU", "KZ", "IT", "VA", "NO", "ES",
        "BR", "AR", "MX", "JP", "SG", "GP", "BL", "CX", "AC", "ZZ",
    ]);
    let line = prop::sample::select(vec![None, Some('0'), Some('9'), Some('8')]);
    let area = prop::option::of("[0-9]{1,5}");
    (homes, line, area)
        .prop_map(|(home, line, area)| at(home).with_outside_line(line).with_area(area))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_was_read_reads_as_itself(plan in plans(), text in dialled()) {
        prop_assume!(Digits::parse(&text).is_some());
        let found = plan.read(&Digits::parse(&text).expect("assumed"));
        prop_assert_eq!(&plan.read(found.digits()), &found);
        if found.class() != Class::Unknown && found.digits().as_str().starts_with('+') {
            // Nothing of what was dialled matters but the number: not the habits of the office, nor, for
            // the country, where it was dialled.
            let bare = DialPlan::new(plan.home).read(found.digits());
            prop_assert_eq!(bare.country(), found.country());
            let class = if found.class() == Class::Local { Class::National } else { found.class() };
            prop_assert_eq!(bare.class(), class);
        }
    }

    #[test]
    fn nothing_abroad_has_a_class_of_home(plan in plans(), text in dialled()) {
        prop_assume!(Digits::parse(&text).is_some());
        let found = plan.read(&Digits::parse(&text).expect("assumed"));
        use Class::{Local, Mobile, National, Shared, TollFree};
        if matches!(found.class(), Local | National | TollFree | Mobile | Shared) {
            prop_assert_eq!(found.country(), Some(plan.home));
        }
        if matches!(found.class(), Class::International | Class::NanpAbroad) {
            prop_assert_ne!(found.country(), Some(plan.home));
        }
        // A rate deck's prefix of any length leads to the number's country.
        if let (Some(country), Some(digits)) = (found.country(), found.digits().as_str().strip_prefix('+')) {
            for end in 1..=digits.len() {
                prop_assert!(countries_of(&digits[..end]).contains(&country), "{}", &digits[..end]);
            }
        }
    }

    #[test]
    fn unknown_is_never_made_known(plan in plans(), text in dialled(), junk in "[*#]{1,3}") {
        for text in [format!("{junk}{text}"), format!("{text}{junk}"), format!("+{junk}{text}")] {
            if let Some(digits) = Digits::parse(&text) {
                prop_assert_eq!(plan.read(&digits).class(), Class::Unknown);
            }
        }
        // A whole number that the plan doesn't know can't be helped by more digits in front of its +.
        let abroad = format!("+{}", text.trim_start_matches('+'));
        if let Some(digits) = Digits::parse(&abroad)
            && plan.read(&digits).class() == Class::Unknown
        {
            prop_assert_eq!(Digits::parse(&format!("9{abroad}")), None);
        }
    }

    // Our short way to the plans and the library's own parser never mean two numbers by the same digits.
    #[test]
    fn the_library_reads_the_same_number(plan in plans(), text in dialled()) {
        let region = Region::from_code(plan.home.code()).expect("two letters");
        let library = PLANS.parse(&text, Some(region)).ok();
        let library = library.filter(|number| PLANS.is_valid_number(number)).map(|number| {
            format!("{}{}", number.country_code, get_national_significant_number_owned(&number))
        });
        if let (Some(ours), Some(library)) = (number(&text, plan.home), library) {
            prop_assert_eq!(ours.digits, library);
        }
    }

    #[test]
    fn help_is_never_a_cheap_number(plan in plans(), line in "[089]?", at in 0_usize..8) {
        let numbers: Vec<_> = plan.home.emergency_numbers().map(|known| known.number()).collect();
        let text = format!("{line}{}", numbers[at % numbers.len()]);
        if plan.emergency(&text).is_some() {
            let digits = Digits::parse(&text).expect("digits");
            prop_assert_eq!(plan.read(&digits).class(), Class::Unknown);
        }
    }

    #[test]
    fn any_text_is_survived(plan in plans(), text in ".{0,40}") {
        let _ = e164(&text, plan.home);
        let _ = countries_of(&text);
        let _ = plan.clone().with_area(Some(text.clone()));
        if let Some(digits) = Digits::parse(&text) {
            let _ = plan.read(&digits);
        }
    }

    #[test]
    fn e164_reads_as_itself(plan in plans(), text in dialled()) {
        if let Some(found) = e164(&text, plan.home) {
            prop_assert!(found.starts_with('+') && (5..=16).contains(&found.len()), "{found}");
            let again = e164(&found, plan.home);
            prop_assert_eq!(again.as_deref(), Some(found.as_str()));
        }
    }
}
