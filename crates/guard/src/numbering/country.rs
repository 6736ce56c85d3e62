//! The countries that have a telephone: their names, calling codes and dialling habits.
//!
//! ISO 3166-1 countries with a calling code (ITU-T E.164 Annex D), and three that ISO lacks but whose
//! numbers exist: Ascension (AC), Tristan da Cunha (TA) and Kosovo (XK). Names are the short English ones
//! of Unicode CLDR. Prefixes are those of ITU-T Operational Bulletin 994 and its amendments, as
//! libphonenumber 9.0 holds them; where callers choose a carrier, the usual form. Zones are IANA names.

use crate::number::Country;

/// What is usual in a country. Defaults to offer, not limits: the dial plan itself knows all forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    pub country: Country,
    /// In English.
    pub name: &'static str,
    /// Without `+`; shared by several countries at times (1, 7, 44, …).
    pub calling_code: u16,
    /// Dialled before a calling code: `011` in North America, `0011` in Australia, `00` nearly everywhere.
    pub international_prefix: &'static str,
    /// Dialled before an area code and dropped after a calling code; empty where there is none.
    pub national_prefix: &'static str,
    /// The zone in which most of its people live: a guess to offer.
    pub zone: &'static str,
}

/// What is usual there; `None` where it has no telephones of its own, or is no country.
pub fn facts(country: Country) -> Option<&'static Facts> {
    let found = COUNTRIES.binary_search_by(|facts| facts.country.cmp(&country));
    found.ok().map(|index| &COUNTRIES[index])
}

/// Every country that numbers can belong to, sorted by code.
pub fn countries() -> impl Iterator<Item = &'static Facts> {
    COUNTRIES.iter()
}

/// Whether numbers can belong to it. Two capital letters alone are not enough: a typing error in a list
/// of allowed countries should be an error and not a country that never calls.
pub fn is_known(country: Country) -> bool {
    facts(country).is_some()
}

/// A country by its two letters, in any case.
///
/// # Errors
/// Why it is none, and what to write instead, in a sentence.
pub fn named(text: &str) -> Result<Country, String> {
    let code = text.trim().to_ascii_uppercase();
    if let Some(known) = code.parse().ok().filter(|country| is_known(*country)) {
        return Ok(known);
    }
    let said = COUNTRIES.iter().find(|facts| facts.name.eq_ignore_ascii_case(text.trim()));
    let instead = match (code.as_str(), said) {
        ("UK", _) => "the United Kingdom is GB".to_owned(),
        ("EU", _) => "name one of its members, such as DE or FR".to_owned(),
        (_, Some(facts)) => format!("{} is {}", facts.name, facts.country),
        _ => "write two letters as in ISO 3166, such as US or DE".to_owned(),
    };
    Err(format!("{} is no country here: {instead}", text.trim().to_uppercase()))
}

/// Its short English name; of an unknown one, that it is unknown.
pub fn name(country: Country) -> &'static str {
    facts(country).map_or("unknown country", |facts| facts.name)
}

const fn row(
    code: [u8; 2],
    calling_code: u16,
    international_prefix: &'static str,
    national_prefix: &'static str,
    zone: &'static str,
    name: &'static str,
) -> Facts {
    let country = Country::literal(code);
    Facts { country, name, calling_code, international_prefix, national_prefix, zone }
}

/// Sorted by code, for the binary search.
const COUNTRIES: &[Facts] = &[
    row(*b"AC", 247, "00", "", "Atlantic/St_Helena", "Ascension Island"),
    row(*b"AD", 376, "00", "", "Europe/Andorra", "Andorra"),
    row(*b"AE", 971, "00", "0", "Asia/Dubai", "United Arab Emirates"),
    row(*b"AF", 93, "00", "0", "Asia/Kabul", "Afghanistan"),
    row(*b"AG", 1, "011", "1", "America/Antigua", "Antigua and Barbuda"),
    row(*b"AI", 1, "011", "1", "America/Anguilla", "Anguilla"),
    row(*b"AL", 355, "00", "0", "Europe/Tirane", "Albania"),
    row(*b"AM", 374, "00", "0", "Asia/Yerevan", "Armenia"),
    row(*b"AO", 244, "00", "", "Africa/Luanda", "Angola"),
    row(*b"AR", 54, "00", "0", "America/Argentina/Buenos_Aires", "Argentina"),
    row(*b"AS", 1, "011", "1", "Pacific/Pago_Pago", "American Samoa"),
    row(*b"AT", 43, "00", "0", "Europe/Vienna", "Austria"),
    row(*b"AU", 61, "0011", "0", "Australia/Sydney", "Australia"),
    row(*b"AW", 297, "00", "", "America/Aruba", "Aruba"),
    row(*b"AX", 358, "00", "0", "Europe/Mariehamn", "Åland Islands"),
    row(*b"AZ", 994, "00", "0", "Asia/Baku", "Azerbaijan"),
    row(*b"BA", 387, "00", "0", "Europe/Sarajevo", "Bosnia and Herzegovina"),
    row(*b"BB", 1, "011", "1", "America/Barbados", "Barbados"),
    row(*b"BD", 880, "00", "0", "Asia/Dhaka", "Bangladesh"),
    row(*b"BE", 32, "00", "0", "Europe/Brussels", "Belgium"),
    row(*b"BF", 226, "00", "", "Africa/Ouagadougou", "Burkina Faso"),
    row(*b"BG", 359, "00", "0", "Europe/Sofia", "Bulgaria"),
    row(*b"BH", 973, "00", "", "Asia/Bahrain", "Bahrain"),
    row(*b"BI", 257, "00", "", "Africa/Bujumbura", "Burundi"),
    row(*b"BJ", 229, "00", "", "Africa/Porto-Novo", "Benin"),
    row(*b"BL", 590, "00", "0", "America/St_Barthelemy", "Saint Barthélemy"),
    row(*b"BM", 1, "011", "1", "Atlantic/Bermuda", "Bermuda"),
    row(*b"BN", 673, "00", "", "Asia/Brunei", "Brunei"),
    row(*b"BO", 591, "00", "0", "America/La_Paz", "Bolivia"),
    row(*b"BQ", 599, "00", "", "America/Kralendijk", "Caribbean Netherlands"),
    row(*b"BR", 55, "00", "0", "America/Sao_Paulo", "Brazil"),
    row(*b"BS", 1, "011", "1", "America/Nassau", "Bahamas"),
    row(*b"BT", 975, "00", "", "Asia/Thimphu", "Bhutan"),
    row(*b"BW", 267, "00", "", "Africa/Gaborone", "Botswana"),
    row(*b"BY", 375, "810", "8", "Europe/Minsk", "Belarus"),
    row(*b"BZ", 501, "00", "", "America/Belize", "Belize"),
    row(*b"CA", 1, "011", "1", "America/Toronto", "Canada"),
    row(*b"CC", 61, "0011", "0", "Indian/Cocos", "Cocos (Keeling) Islands"),
    row(*b"CD", 243, "00", "0", "Africa/Kinshasa", "Congo (Kinshasa)"),
    row(*b"CF", 236, "00", "", "Africa/Bangui", "Central African Republic"),
    row(*b"CG", 242, "00", "", "Africa/Brazzaville", "Congo (Brazzaville)"),
    row(*b"CH", 41, "00", "0", "Europe/Zurich", "Switzerland"),
    row(*b"CI", 225, "00", "", "Africa/Abidjan", "Côte d'Ivoire"),
    row(*b"CK", 682, "00", "", "Pacific/Rarotonga", "Cook Islands"),
    row(*b"CL", 56, "00", "", "America/Santiago", "Chile"),
    row(*b"CM", 237, "00", "", "Africa/Douala", "Cameroon"),
    row(*b"CN", 86, "00", "0", "Asia/Shanghai", "China"),
    row(*b"CO", 57, "00", "0", "America/Bogota", "Colombia"),
    row(*b"CR", 506, "00", "", "America/Costa_Rica", "Costa Rica"),
    row(*b"CU", 53, "119", "0", "America/Havana", "Cuba"),
    row(*b"CV", 238, "00", "", "Atlantic/Cape_Verde", "Cape Verde"),
    row(*b"CW", 599, "00", "", "America/Curacao", "Curaçao"),
    row(*b"CX", 61, "0011", "0", "Indian/Christmas", "Christmas Island"),
    row(*b"CY", 357, "00", "", "Asia/Nicosia", "Cyprus"),
    row(*b"CZ", 420, "00", "", "Europe/Prague", "Czechia"),
    row(*b"DE", 49, "00", "0", "Europe/Berlin", "Germany"),
    row(*b"DJ", 253, "00", "", "Africa/Djibouti", "Djibouti"),
    row(*b"DK", 45, "00", "", "Europe/Copenhagen", "Denmark"),
    row(*b"DM", 1, "011", "1", "America/Dominica", "Dominica"),
    row(*b"DO", 1, "011", "1", "America/Santo_Domingo", "Dominican Republic"),
    row(*b"DZ", 213, "00", "0", "Africa/Algiers", "Algeria"),
    row(*b"EC", 593, "00", "0", "America/Guayaquil", "Ecuador"),
    row(*b"EE", 372, "00", "", "Europe/Tallinn", "Estonia"),
    row(*b"EG", 20, "00", "0", "Africa/Cairo", "Egypt"),
    row(*b"EH", 212, "00", "0", "Africa/El_Aaiun", "Western Sahara"),
    row(*b"ER", 291, "00", "0", "Africa/Asmara", "Eritrea"),
    row(*b"ES", 34, "00", "", "Europe/Madrid", "Spain"),
    row(*b"ET", 251, "00", "0", "Africa/Addis_Ababa", "Ethiopia"),
    row(*b"FI", 358, "00", "0", "Europe/Helsinki", "Finland"),
    row(*b"FJ", 679, "00", "", "Pacific/Fiji", "Fiji"),
    row(*b"FK", 500, "00", "", "Atlantic/Stanley", "Falkland Islands"),
    row(*b"FM", 691, "00", "", "Pacific/Chuuk", "Micronesia"),
    row(*b"FO", 298, "00", "", "Atlantic/Faroe", "Faroe Islands"),
    row(*b"FR", 33, "00", "0", "Europe/Paris", "France"),
    row(*b"GA", 241, "00", "", "Africa/Libreville", "Gabon"),
    row(*b"GB", 44, "00", "0", "Europe/London", "United Kingdom"),
    row(*b"GD", 1, "011", "1", "America/Grenada", "Grenada"),
    row(*b"GE", 995, "00", "0", "Asia/Tbilisi", "Georgia"),
    row(*b"GF", 594, "00", "0", "America/Cayenne", "French Guiana"),
    row(*b"GG", 44, "00", "0", "Europe/Guernsey", "Guernsey"),
    row(*b"GH", 233, "00", "0", "Africa/Accra", "Ghana"),
    row(*b"GI", 350, "00", "", "Europe/Gibraltar", "Gibraltar"),
    row(*b"GL", 299, "00", "", "America/Nuuk", "Greenland"),
    row(*b"GM", 220, "00", "", "Africa/Banjul", "Gambia"),
    row(*b"GN", 224, "00", "", "Africa/Conakry", "Guinea"),
    row(*b"GP", 590, "00", "0", "America/Guadeloupe", "Guadeloupe"),
    row(*b"GQ", 240, "00", "", "Africa/Malabo", "Equatorial Guinea"),
    row(*b"GR", 30, "00", "", "Europe/Athens", "Greece"),
    row(*b"GT", 502, "00", "", "America/Guatemala", "Guatemala"),
    row(*b"GU", 1, "011", "1", "Pacific/Guam", "Guam"),
    row(*b"GW", 245, "00", "", "Africa/Bissau", "Guinea-Bissau"),
    row(*b"GY", 592, "001", "", "America/Guyana", "Guyana"),
    row(*b"HK", 852, "00", "", "Asia/Hong_Kong", "Hong Kong"),
    row(*b"HN", 504, "00", "", "America/Tegucigalpa", "Honduras"),
    row(*b"HR", 385, "00", "0", "Europe/Zagreb", "Croatia"),
    row(*b"HT", 509, "00", "", "America/Port-au-Prince", "Haiti"),
    row(*b"HU", 36, "00", "06", "Europe/Budapest", "Hungary"),
    row(*b"ID", 62, "008", "0", "Asia/Jakarta", "Indonesia"),
    row(*b"IE", 353, "00", "0", "Europe/Dublin", "Ireland"),
    row(*b"IL", 972, "00", "0", "Asia/Jerusalem", "Israel"),
    row(*b"IM", 44, "00", "0", "Europe/Isle_of_Man", "Isle of Man"),
    row(*b"IN", 91, "00", "0", "Asia/Kolkata", "India"),
    row(*b"IO", 246, "00", "", "Indian/Chagos", "British Indian Ocean Territory"),
    row(*b"IQ", 964, "00", "0", "Asia/Baghdad", "Iraq"),
    row(*b"IR", 98, "00", "0", "Asia/Tehran", "Iran"),
    row(*b"IS", 354, "00", "", "Atlantic/Reykjavik", "Iceland"),
    row(*b"IT", 39, "00", "", "Europe/Rome", "Italy"),
    row(*b"JE", 44, "00", "0", "Europe/Jersey", "Jersey"),
    row(*b"JM", 1, "011", "1", "America/Jamaica", "Jamaica"),
    row(*b"JO", 962, "00", "0", "Asia/Amman", "Jordan"),
    row(*b"JP", 81, "010", "0", "Asia/Tokyo", "Japan"),
    row(*b"KE", 254, "000", "0", "Africa/Nairobi", "Kenya"),
    row(*b"KG", 996, "00", "0", "Asia/Bishkek", "Kyrgyzstan"),
    row(*b"KH", 855, "001", "0", "Asia/Phnom_Penh", "Cambodia"),
    row(*b"KI", 686, "00", "0", "Pacific/Tarawa", "Kiribati"),
    row(*b"KM", 269, "00", "", "Indian/Comoro", "Comoros"),
    row(*b"KN", 1, "011", "1", "America/St_Kitts", "Saint Kitts and Nevis"),
    row(*b"KP", 850, "00", "0", "Asia/Pyongyang", "North Korea"),
    row(*b"KR", 82, "001", "0", "Asia/Seoul", "South Korea"),
    row(*b"KW", 965, "00", "", "Asia/Kuwait", "Kuwait"),
    row(*b"KY", 1, "011", "1", "America/Cayman", "Cayman Islands"),
    row(*b"KZ", 7, "810", "8", "Asia/Almaty", "Kazakhstan"),
    row(*b"LA", 856, "00", "0", "Asia/Vientiane", "Laos"),
    row(*b"LB", 961, "00", "0", "Asia/Beirut", "Lebanon"),
    row(*b"LC", 1, "011", "1", "America/St_Lucia", "Saint Lucia"),
    row(*b"LI", 423, "00", "0", "Europe/Vaduz", "Liechtenstein"),
    row(*b"LK", 94, "00", "0", "Asia/Colombo", "Sri Lanka"),
    row(*b"LR", 231, "00", "0", "Africa/Monrovia", "Liberia"),
    row(*b"LS", 266, "00", "", "Africa/Maseru", "Lesotho"),
    row(*b"LT", 370, "00", "0", "Europe/Vilnius", "Lithuania"),
    row(*b"LU", 352, "00", "", "Europe/Luxembourg", "Luxembourg"),
    row(*b"LV", 371, "00", "", "Europe/Riga", "Latvia"),
    row(*b"LY", 218, "00", "0", "Africa/Tripoli", "Libya"),
    row(*b"MA", 212, "00", "0", "Africa/Casablanca", "Morocco"),
    row(*b"MC", 377, "00", "0", "Europe/Monaco", "Monaco"),
    row(*b"MD", 373, "00", "0", "Europe/Chisinau", "Moldova"),
    row(*b"ME", 382, "00", "0", "Europe/Podgorica", "Montenegro"),
    row(*b"MF", 590, "00", "0", "America/Marigot", "Saint Martin"),
    row(*b"MG", 261, "00", "0", "Indian/Antananarivo", "Madagascar"),
    row(*b"MH", 692, "011", "1", "Pacific/Majuro", "Marshall Islands"),
    row(*b"MK", 389, "00", "0", "Europe/Skopje", "North Macedonia"),
    row(*b"ML", 223, "00", "", "Africa/Bamako", "Mali"),
    row(*b"MM", 95, "00", "0", "Asia/Yangon", "Myanmar"),
    row(*b"MN", 976, "001", "0", "Asia/Ulaanbaatar", "Mongolia"),
    row(*b"MO", 853, "00", "", "Asia/Macau", "Macao"),
    row(*b"MP", 1, "011", "1", "Pacific/Saipan", "Northern Mariana Islands"),
    row(*b"MQ", 596, "00", "0", "America/Martinique", "Martinique"),
    row(*b"MR", 222, "00", "", "Africa/Nouakchott", "Mauritania"),
    row(*b"MS", 1, "011", "1", "America/Montserrat", "Montserrat"),
    row(*b"MT", 356, "00", "", "Europe/Malta", "Malta"),
    row(*b"MU", 230, "020", "", "Indian/Mauritius", "Mauritius"),
    row(*b"MV", 960, "00", "", "Indian/Maldives", "Maldives"),
    row(*b"MW", 265, "00", "0", "Africa/Blantyre", "Malawi"),
    row(*b"MX", 52, "00", "", "America/Mexico_City", "Mexico"),
    row(*b"MY", 60, "00", "0", "Asia/Kuala_Lumpur", "Malaysia"),
    row(*b"MZ", 258, "00", "", "Africa/Maputo", "Mozambique"),
    row(*b"NA", 264, "00", "0", "Africa/Windhoek", "Namibia"),
    row(*b"NC", 687, "00", "", "Pacific/Noumea", "New Caledonia"),
    row(*b"NE", 227, "00", "", "Africa/Niamey", "Niger"),
    row(*b"NF", 672, "00", "", "Pacific/Norfolk", "Norfolk Island"),
    row(*b"NG", 234, "009", "0", "Africa/Lagos", "Nigeria"),
    row(*b"NI", 505, "00", "", "America/Managua", "Nicaragua"),
    row(*b"NL", 31, "00", "0", "Europe/Amsterdam", "Netherlands"),
    row(*b"NO", 47, "00", "", "Europe/Oslo", "Norway"),
    row(*b"NP", 977, "00", "0", "Asia/Kathmandu", "Nepal"),
    row(*b"NR", 674, "00", "", "Pacific/Nauru", "Nauru"),
    row(*b"NU", 683, "00", "", "Pacific/Niue", "Niue"),
    row(*b"NZ", 64, "00", "0", "Pacific/Auckland", "New Zealand"),
    row(*b"OM", 968, "00", "", "Asia/Muscat", "Oman"),
    row(*b"PA", 507, "00", "", "America/Panama", "Panama"),
    row(*b"PE", 51, "00", "0", "America/Lima", "Peru"),
    row(*b"PF", 689, "00", "", "Pacific/Tahiti", "French Polynesia"),
    row(*b"PG", 675, "00", "", "Pacific/Port_Moresby", "Papua New Guinea"),
    row(*b"PH", 63, "00", "0", "Asia/Manila", "Philippines"),
    row(*b"PK", 92, "00", "0", "Asia/Karachi", "Pakistan"),
    row(*b"PL", 48, "00", "", "Europe/Warsaw", "Poland"),
    row(*b"PM", 508, "00", "0", "America/Miquelon", "Saint Pierre and Miquelon"),
    row(*b"PR", 1, "011", "1", "America/Puerto_Rico", "Puerto Rico"),
    row(*b"PS", 970, "00", "0", "Asia/Hebron", "Palestine"),
    row(*b"PT", 351, "00", "", "Europe/Lisbon", "Portugal"),
    row(*b"PW", 680, "011", "", "Pacific/Palau", "Palau"),
    row(*b"PY", 595, "00", "0", "America/Asuncion", "Paraguay"),
    row(*b"QA", 974, "00", "", "Asia/Qatar", "Qatar"),
    row(*b"RE", 262, "00", "0", "Indian/Reunion", "Réunion"),
    row(*b"RO", 40, "00", "0", "Europe/Bucharest", "Romania"),
    row(*b"RS", 381, "00", "0", "Europe/Belgrade", "Serbia"),
    row(*b"RU", 7, "810", "8", "Europe/Moscow", "Russia"),
    row(*b"RW", 250, "00", "0", "Africa/Kigali", "Rwanda"),
    row(*b"SA", 966, "00", "0", "Asia/Riyadh", "Saudi Arabia"),
    row(*b"SB", 677, "00", "", "Pacific/Guadalcanal", "Solomon Islands"),
    row(*b"SC", 248, "00", "", "Indian/Mahe", "Seychelles"),
    row(*b"SD", 249, "00", "0", "Africa/Khartoum", "Sudan"),
    row(*b"SE", 46, "00", "0", "Europe/Stockholm", "Sweden"),
    row(*b"SG", 65, "001", "", "Asia/Singapore", "Singapore"),
    row(*b"SH", 290, "00", "", "Atlantic/St_Helena", "Saint Helena"),
    row(*b"SI", 386, "00", "0", "Europe/Ljubljana", "Slovenia"),
    row(*b"SJ", 47, "00", "", "Arctic/Longyearbyen", "Svalbard and Jan Mayen"),
    row(*b"SK", 421, "00", "0", "Europe/Bratislava", "Slovakia"),
    row(*b"SL", 232, "00", "0", "Africa/Freetown", "Sierra Leone"),
    row(*b"SM", 378, "00", "", "Europe/San_Marino", "San Marino"),
    row(*b"SN", 221, "00", "", "Africa/Dakar", "Senegal"),
    row(*b"SO", 252, "00", "0", "Africa/Mogadishu", "Somalia"),
    row(*b"SR", 597, "00", "", "America/Paramaribo", "Suriname"),
    row(*b"SS", 211, "00", "0", "Africa/Juba", "South Sudan"),
    row(*b"ST", 239, "00", "", "Africa/Sao_Tome", "São Tomé and Príncipe"),
    row(*b"SV", 503, "00", "", "America/El_Salvador", "El Salvador"),
    row(*b"SX", 1, "011", "1", "America/Lower_Princes", "Sint Maarten"),
    row(*b"SY", 963, "00", "0", "Asia/Damascus", "Syria"),
    row(*b"SZ", 268, "00", "", "Africa/Mbabane", "Eswatini"),
    row(*b"TA", 290, "00", "", "Atlantic/St_Helena", "Tristan da Cunha"),
    row(*b"TC", 1, "011", "1", "America/Grand_Turk", "Turks and Caicos Islands"),
    row(*b"TD", 235, "00", "", "Africa/Ndjamena", "Chad"),
    row(*b"TG", 228, "00", "", "Africa/Lome", "Togo"),
    row(*b"TH", 66, "001", "0", "Asia/Bangkok", "Thailand"),
    row(*b"TJ", 992, "810", "", "Asia/Dushanbe", "Tajikistan"),
    row(*b"TK", 690, "00", "", "Pacific/Fakaofo", "Tokelau"),
    row(*b"TL", 670, "00", "", "Asia/Dili", "Timor-Leste"),
    row(*b"TM", 993, "810", "8", "Asia/Ashgabat", "Turkmenistan"),
    row(*b"TN", 216, "00", "", "Africa/Tunis", "Tunisia"),
    row(*b"TO", 676, "00", "", "Pacific/Tongatapu", "Tonga"),
    row(*b"TR", 90, "00", "0", "Europe/Istanbul", "Türkiye"),
    row(*b"TT", 1, "011", "1", "America/Port_of_Spain", "Trinidad and Tobago"),
    row(*b"TV", 688, "00", "", "Pacific/Funafuti", "Tuvalu"),
    row(*b"TW", 886, "002", "0", "Asia/Taipei", "Taiwan"),
    row(*b"TZ", 255, "000", "0", "Africa/Dar_es_Salaam", "Tanzania"),
    row(*b"UA", 380, "00", "0", "Europe/Kyiv", "Ukraine"),
    row(*b"UG", 256, "000", "0", "Africa/Kampala", "Uganda"),
    row(*b"US", 1, "011", "1", "America/New_York", "United States"),
    row(*b"UY", 598, "00", "0", "America/Montevideo", "Uruguay"),
    row(*b"UZ", 998, "00", "", "Asia/Tashkent", "Uzbekistan"),
    row(*b"VA", 39, "00", "", "Europe/Vatican", "Vatican City"),
    row(*b"VC", 1, "011", "1", "America/St_Vincent", "Saint Vincent and the Grenadines"),
    row(*b"VE", 58, "00", "0", "America/Caracas", "Venezuela"),
    row(*b"VG", 1, "011", "1", "America/Tortola", "British Virgin Islands"),
    row(*b"VI", 1, "011", "1", "America/St_Thomas", "US Virgin Islands"),
    row(*b"VN", 84, "00", "0", "Asia/Ho_Chi_Minh", "Vietnam"),
    row(*b"VU", 678, "00", "", "Pacific/Efate", "Vanuatu"),
    row(*b"WF", 681, "00", "", "Pacific/Wallis", "Wallis and Futuna"),
    row(*b"WS", 685, "00", "", "Pacific/Apia", "Samoa"),
    row(*b"XK", 383, "00", "0", "Europe/Belgrade", "Kosovo"),
    row(*b"YE", 967, "00", "0", "Asia/Aden", "Yemen"),
    row(*b"YT", 262, "00", "0", "Indian/Mayotte", "Mayotte"),
    row(*b"ZA", 27, "00", "0", "Africa/Johannesburg", "South Africa"),
    row(*b"ZM", 260, "00", "0", "Africa/Lusaka", "Zambia"),
    row(*b"ZW", 263, "00", "0", "Africa/Harare", "Zimbabwe"),
];
