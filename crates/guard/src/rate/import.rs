//! A deck as carriers send it: CSV whose columns are found by their names.
//!
//! What can't be read is refused as a whole, with the line, the field and what to do about it: a deck
//! with holes would price numbers by a shorter prefix, and too cheaply.

use std::collections::BTreeMap;
use std::fmt;

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::{Key, Line, Names, RateDeck, day};
use crate::money::{Currency, Money};
use crate::zone::Day;

/// A deck as it was read on a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// What is in force on that day.
    pub deck: RateDeck,
    /// What isn't yet.
    pub later: Option<Later>,
}

/// Lines that take effect after the day of the import. They are not in the deck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Later {
    pub lines: usize,
    /// When the first of them does.
    pub first: Day,
    /// Prefixes that have no other line: they keep the price of the deck before.
    pub kept: usize,
}

/// What is wrong with a line of a deck.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateFault {
    /// From 1; 0 where the file as a whole is meant.
    pub line: u64,
    /// The column by our name for it: `prefix`, `price`, `connect`, `increment`, `first`, `name`,
    /// `date`; or `file`, `columns`.
    pub field: &'static str,
    /// What stands there, its beginning.
    pub found: String,
    /// What is wrong and what to do, a sentence.
    pub remedy: String,
}

/// Headers, without case, spaces and signs, that name a column of ours.
const PREFIX: &[&str] = &[
    "prefix",
    "code",
    "dialcode",
    "dialingcode",
    "diallingcode",
    "dialprefix",
    "destinationcode",
    "prefixes",
    "codes",
    "callingcode",
    "destinationprefix",
    "breakout",
    "digits",
];
const PRICE: &[&str] = &[
    "rate",
    "price",
    "perminute",
    "permin",
    "rateperminute",
    "ratepermin",
    "ratemin",
    "rateminute",
    "priceperminute",
    "pricepermin",
    "pricemin",
    "priceminute",
    "costperminute",
    "costpermin",
    "minuterate",
    "minuteprice",
    "cost",
    "tariff",
    "voicerate",
    "newrate",
    "currentrate",
];
const CONNECT: &[&str] = &[
    "connect",
    "connectfee",
    "connection",
    "connectionfee",
    "connectioncharge",
    "connectcharge",
    "connectcost",
    "connectrate",
    "setup",
    "setupfee",
    "setupcharge",
    "setupcost",
    "flagfall",
];
const INCREMENT: &[&str] = &[
    "increment",
    "increments",
    "billingincrement",
    "billingincrements",
    "billing",
    "rounding",
    "billinginterval",
    "interval",
    "intervals",
    "interval2",
    "intervaln",
    "nextinterval",
    "subsequent",
    "subsequentincrement",
    "nextincrement",
    "step",
];
const FIRST: &[&str] = &[
    "first",
    "firstincrement",
    "firstinterval",
    "initial",
    "initialincrement",
    "initialinterval",
    "interval1",
    "minimum",
    "minimumduration",
    "minimumseconds",
    "minduration",
    "minimumcharge",
    "minimaltime",
];
/// The best comes first: a deck with `destination` and `country` is named by the former.
const NAME: &[&str] = &[
    "destination",
    "destinationname",
    "name",
    "description",
    "location",
    "zone",
    "region",
    "country",
    "countryname",
    "operator",
];
const CURRENCY: &[&str] = &["currency", "ccy"];
/// Since when a line holds.
const DATE: &[&str] = &[
    "effectivedate",
    "effective",
    "effectivefrom",
    "effectdate",
    "dateeffective",
    "validfrom",
    "validfromdate",
    "startdate",
    "date",
];
/// Half a prefix: 212 is New York behind country code 1, and Morocco where it stands alone.
const AREA: &[&str] = &["area", "areacode", "areacodes", "city", "citycode", "regioncode", "ndc"];
/// The other half. Where it stands beside a whole prefix, that must begin with it.
const COUNTRY_CODE: &[&str] = &["countrycode", "cc", "countrydialcode", "countrydialingcode"];
/// Names of a prefix that are whole even beside an area code.
const WHOLE: &[&str] = &["prefix", "prefixes", "dialprefix", "destinationprefix"];

/// Where each of our columns stands.
struct Columns {
    /// How many the header has.
    count: usize,
    country_code: Option<usize>,
    prefix: usize,
    price: usize,
    connect: Option<usize>,
    increment: Option<usize>,
    first: Option<usize>,
    name: Option<usize>,
    currency: Option<usize>,
    date: Option<usize>,
}

/// A line of the file.
struct Read {
    line: Line,
    name: String,
    /// `None`: it holds already.
    since: Option<Day>,
}

/// How numbers are written in this file.
#[derive(Clone, Copy)]
struct Style {
    currency: Currency,
    /// Where fields aren't separated by commas, a comma may be a decimal one.
    decimal_comma: bool,
}

impl RateDeck {
    /// More faults than this are not listed: whoever mends fifty sees the next ones.
    const FAULTS_MAX: usize = 50;

    /// Characters of a name that are kept.
    const NAME_MAX: usize = 80;

    /// What most carriers bill abroad, and the dearest that is usual: where the deck is silent about
    /// increments, whole minutes are counted.
    const WHOLE_MINUTE: u16 = 60;

    /// Reads a deck that holds whatever the day is, such as [`RateDeck::to_csv`] writes; of a prefix
    /// with several dates, the last.
    pub fn import(bytes: &[u8], currency: Currency, version: u64) -> Result<Self, Vec<RateFault>> {
        let before = Self::estimates(currency);
        let imported = Self::import_on(Day::MAX, bytes, currency, version, &before)?;
        Ok(imported.deck)
    }

    /// Reads a deck: CSV with a line of headers, fields separated by comma, semicolon or tab.
    ///
    /// Needed are a prefix and a price a minute. A fee for the answer, increments (`60/60`, or in two
    /// columns), a name, a currency and a date are read where they are. A price with more than six
    /// decimals is rounded up. At most [`RateDeck::BYTES_MAX`] and [`RateDeck::LINES_MAX`].
    ///
    /// Of the lines of one prefix the newest counts whose date is not after `today`. A prefix that has
    /// only later ones keeps its line of the deck `before`, if it had one: a shorter prefix might price
    /// it too cheaply.
    pub fn import_on(
        today: Day,
        bytes: &[u8],
        currency: Currency,
        version: u64,
        before: &Self,
    ) -> Result<Imported, Vec<RateFault>> {
        if bytes.len() > Self::BYTES_MAX {
            let remedy = "The file is larger than 64 MiB; a full deck has some 10 MiB.";
            return Err(vec![RateFault::of(0, "file", "", remedy)]);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let separator = separator(bytes);
        let style = Style { currency, decimal_comma: separator != b',' };
        let mut reader = ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(bytes);
        let mut record = ByteRecord::new();
        let mut columns = None;
        let mut faults = Vec::new();
        // A line without a date is older than any with one.
        let mut lines: BTreeMap<(Key, Option<Day>), (Line, u64)> = BTreeMap::new();
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        while faults.len() < Self::FAULTS_MAX {
            // A reader of bytes that allows any number of fields has nothing to fail at.
            if !reader.read_byte_record(&mut record).unwrap_or(false) {
                break;
            }
            let number = record.position().map_or(0, csv::Position::line);
            if number > Self::LINES_MAX {
                let remedy =
                    "The file has more than 2,000,000 lines; a full deck has some 200,000.";
                faults.push(RateFault::of(number, "file", "", remedy));
                break;
            }
            if record.iter().all(<[u8]>::is_empty) {
                continue;
            }
            let Some(columns) = &columns else {
                match Columns::find(&record, currency) {
                    Ok(found) => columns = Some(found),
                    Err((field, found, remedy)) => {
                        faults.push(RateFault::of(number, field, &found, &remedy));
                        break;
                    }
                }
                continue;
            };
            match columns.read(&record, style) {
                Ok(Read { mut line, name, since }) => {
                    line.name = number_of(&mut names, name);
                    if let Some((known, at)) = lines.get(&(line.key, since)) {
                        if !line.costs_like(known) {
                            let found = line.key.digits();
                            let since =
                                since.map_or_else(String::new, |day| format!(" since {day}"));
                            let remedy = format!(
                                "Line {at} has the same prefix with another price{since}; keep the one \
                                 in force."
                            );
                            faults.push(RateFault::of(number, "prefix", &found, &remedy));
                        }
                        continue;
                    }
                    lines.insert((line.key, since), (line, number));
                }
                Err((field, found, remedy)) => {
                    faults.push(RateFault::of(number, field, &found, &remedy));
                }
            }
        }
        if faults.is_empty() && lines.is_empty() {
            let remedy = "The file has no rates; a line of headers and a line for each prefix are \
                          expected, such as prefix,name,price.";
            faults.push(RateFault::of(0, "file", "", remedy));
        }
        if !faults.is_empty() {
            return Err(faults);
        }

        let mut in_force: BTreeMap<Key, Line> = BTreeMap::new();
        let mut later: Option<Later> = None;
        let mut waiting: Vec<Key> = Vec::new();
        for ((key, since), (line, _)) in lines {
            match since.filter(|day| *day > today) {
                // In the order of their dates: the newest stays.
                None => drop(in_force.insert(key, line)),
                Some(day) => {
                    let later = later.get_or_insert(Later { lines: 0, first: day, kept: 0 });
                    later.lines += 1;
                    later.first = later.first.min(day);
                    if !in_force.contains_key(&key) && waiting.last() != Some(&key) {
                        waiting.push(key);
                    }
                }
            }
        }
        if let (Some(later), true) = (&mut later, before.currency == currency) {
            for key in waiting {
                let Some(line) = before.line(key) else { continue };
                let name = before.names.get(line.name).to_owned();
                // Names of decks that were imported are cut already.
                in_force.insert(key, Line { name: number_of(&mut names, name), ..*line });
                later.kept += 1;
            }
        }
        if let Some(later) = later.filter(|later| in_force.len() == later.kept) {
            let remedy =
                format!("No line takes effect before {}; import the file then.", later.first);
            return Err(vec![RateFault::of(0, "date", &later.first.to_string(), &remedy)]);
        }
        let deck = Self::of_lines(in_force.into_values(), &names, currency, version);
        Ok(Imported { deck, later })
    }

    /// The deck as CSV that [`RateDeck::import`] reads back as the same.
    pub fn to_csv(&self) -> String {
        let mut text = String::from("prefix,name,price,connect,first,increment\n");
        for rate in self.rates() {
            let name = rate.name.replace('"', "\"\"");
            let Self { currency, .. } = *self;
            let amount = |money: Money| {
                let shown = money.display(currency).to_string();
                shown.split(' ').next().unwrap_or_default().to_owned()
            };
            text += &format!(
                "{},\"{name}\",{},{},{},{}\n",
                rate.prefix,
                amount(rate.per_minute),
                amount(rate.connect),
                rate.first,
                rate.increment,
            );
        }
        text
    }

    /// `lines` by key. Names are numbered anew in this order, so that equal decks are equal.
    fn of_lines(
        lines: impl Iterator<Item = Line>,
        names: &BTreeMap<String, u32>,
        currency: Currency,
        version: u64,
    ) -> Self {
        let mut texts: Vec<&str> = vec![""; names.len()];
        for (name, index) in names {
            if let Some(text) = usize::try_from(*index).ok().and_then(|at| texts.get_mut(at)) {
                *text = name;
            }
        }
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut text, mut ends) = (String::new(), Vec::new());
        let mut lengths = 0;
        let lines = lines.map(|line| {
            lengths |= 1 << line.key.length();
            let name = *numbers.entry(line.name).or_insert_with(|| {
                let at = usize::try_from(line.name).unwrap_or(usize::MAX);
                text += texts.get(at).copied().unwrap_or_default();
                // Names are cut, and there are at most 64 MiB of them.
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
                u32::try_from(ends.len() - 1).unwrap_or(u32::MAX)
            });
            Line { name, ..line }
        });
        let lines: Box<[Line]> = lines.collect();
        let names = Names { text: text.into(), ends: ends.into() };
        Self { version, currency, lines, names, lengths }
    }
}

/// Field, what was found, remedy.
type Fault = (&'static str, String, String);

impl Columns {
    fn find(header: &ByteRecord, currency: Currency) -> Result<Self, Fault> {
        let code = currency.code().to_ascii_lowercase();
        let plain: Vec<String> = header.iter().map(plain).collect();
        let named = |names: &[&str]| -> Vec<usize> {
            let is = |word: &str| {
                let bare = word.strip_suffix(&code).or_else(|| word.strip_prefix(&code));
                names.contains(&word) || bare.is_some_and(|bare| names.contains(&bare))
            };
            (0..plain.len()).filter(|at| plain.get(*at).is_some_and(|word| is(word))).collect()
        };
        let one = |field: &'static str, names: &[&str]| match named(names).as_slice() {
            [] => Ok(None),
            [at] => Ok(Some(*at)),
            [first, second, ..] => {
                let text = |at: &usize| plain.get(*at).cloned().unwrap_or_default();
                let found = format!("{}, {}", text(first), text(second));
                let remedy =
                    format!("Two columns could be the {field}; remove or rename one of them.");
                Err((field, found, remedy))
            }
        };
        let needed = |field: &'static str, names: &[&str]| {
            one(field, names)?.ok_or_else(|| {
                let known = names.iter().take(4).copied().collect::<Vec<_>>().join(", ");
                let remedy = format!(
                    "The first line must name the columns, and none is named as a {field}; \
                     call it one of: {known}."
                );
                let found: Vec<String> = header.iter().map(text).collect();
                (field, found.join(", "), remedy)
            })
        };
        let column = |at: usize| header.get(at).map(text).unwrap_or_default();
        let country_code = named(COUNTRY_CODE).first().copied();
        if let (Some(area), []) = (named(AREA).first().copied(), &named(WHOLE)[..]) {
            let area_codes = plain.get(area).is_some_and(|word| word != "city");
            let half = country_code.or_else(|| named(PREFIX).first().copied());
            match half {
                _ if !area_codes => {}
                Some(half) => {
                    let found = format!("{}, {}", column(half), column(area));
                    let remedy = format!(
                        "The prefix is spread over two columns: join \"{}\" and \"{}\" into one named \
                         prefix, such as 1212.",
                        column(half),
                        column(area)
                    );
                    return Err(("prefix", found, remedy));
                }
                None => {
                    let remedy = "An area code alone is no prefix: put the country code in front, \
                                  and name the column prefix.";
                    return Err(("prefix", column(area), remedy.to_owned()));
                }
            }
        }
        Ok(Self {
            count: header.len(),
            country_code,
            prefix: needed("prefix", PREFIX)?,
            price: needed("price", PRICE)?,
            connect: one("connect", CONNECT)?,
            increment: one("increment", INCREMENT)?,
            first: one("first", FIRST)?,
            name: NAME.iter().find_map(|name| plain.iter().position(|word| word == name)),
            currency: one("currency", CURRENCY)?,
            date: one("date", DATE)?,
        })
    }

    /// A column too many is a price cut in two, and the halves would be read as other prices.
    fn check_count(&self, record: &ByteRecord, style: Style) -> Result<(), Fault> {
        let filled = record.iter().rposition(|field| !field.is_empty()).map_or(0, |at| at + 1);
        let needed = self.prefix.max(self.price);
        let columns =
            |n: usize| if n == 1 { "1 column".to_owned() } else { format!("{n} columns") };
        let (here, header) =
            (columns(filled.max(record.len().min(self.count))), columns(self.count));
        let found = || record.iter().map(text).collect::<Vec<_>>().join("|");
        if filled > self.count {
            let cause = if style.decimal_comma {
                "Put a name that has the separator in it into quotes."
            } else {
                "Are these decimal commas? Separate the columns with ; then. A name with a comma in \
                 it needs quotes."
            };
            let remedy = format!("This line has {here}, the header {header}. {cause}");
            return Err(("columns", found(), remedy));
        }
        if record.len() <= needed {
            let remedy = format!(
                "This line has {here}, the header {header}, so the prefix or the price is missing. \
                 Complete it, or remove it."
            );
            return Err(("columns", found(), remedy));
        }
        Ok(())
    }

    fn read(&self, record: &ByteRecord, style: Style) -> Result<Read, Fault> {
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).map(text);
        let filled = |at: Option<usize>| field(at).filter(|text| !text.is_empty());
        let amount = |name: &'static str, text: &str| {
            style.amount(text).map_err(|remedy| (name, text.to_owned(), remedy))
        };

        self.check_count(record, style)?;
        let prefix = field(Some(self.prefix)).unwrap_or_default();
        let digits: String = prefix.strip_prefix('+').unwrap_or(&prefix).replace(' ', "");
        if let Some(code) = filled(self.country_code) {
            // Some write LV here, which says nothing of the digits.
            let code = code.trim_start_matches(['+', '0']);
            let numeric = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
            if numeric && !digits.starts_with(code) {
                let remedy = format!(
                    "It doesn't begin with the country code {code} beside it: join the two columns \
                     into one named prefix, such as {code}{digits}."
                );
                return Err(("prefix", prefix, remedy));
            }
        }
        let key = Key::of(&digits).ok_or_else(|| {
            let remedy = "A prefix is 1 to 15 digits beginning with the country code, one to a line, \
                          such as 37120.";
            ("prefix", prefix, remedy.to_owned())
        })?;
        let price = field(Some(self.price)).unwrap_or_default();
        let per_minute = amount("price", &price)?;
        let connect = filled(self.connect).map(|text| amount("connect", &text)).transpose()?;

        let pair = match filled(self.increment) {
            Some(text) => Some(increments(&text).ok_or_else(|| {
                let remedy =
                    "An increment is seconds, 1 to 3600, such as 60, or first and next, 60/1.";
                ("increment", text, remedy.to_owned())
            })?),
            None => None,
        };
        let first = match filled(self.first) {
            Some(text) => Some(seconds(&text).ok_or_else(|| {
                let remedy = "The seconds that are billed at least, 0 to 3600, are expected.";
                ("first", text, remedy.to_owned())
            })?),
            None => None,
        };
        let (first, increment) = match (first, pair) {
            (Some(first), Some((_, increment))) => (first, increment),
            (Some(first), None) => (first, first.max(1)),
            (None, Some(pair)) => pair,
            (None, None) => (RateDeck::WHOLE_MINUTE, RateDeck::WHOLE_MINUTE),
        };

        if let Some(code) = filled(self.currency)
            && !code.eq_ignore_ascii_case(style.currency.code())
        {
            let remedy = format!("The policy's currency is {}.", style.currency);
            return Err(("currency", code, remedy));
        }
        let since = match filled(self.date) {
            Some(text) => Some(day::read(&text).map_err(|remedy| ("date", text, remedy))?),
            None => None,
        };
        let name = field(self.name).unwrap_or_default();
        if name.contains(['\r', '\n']) {
            let remedy = "A quote is opened here and never closed on this line.";
            return Err(("name", name, remedy.to_owned()));
        }
        let name = name.chars().filter(|c| !c.is_control()).take(RateDeck::NAME_MAX).collect();
        let (per_minute, connect) = (per_minute, connect.unwrap_or_default());
        let line = Line { key, per_minute, connect, name: 0, first, increment };
        Ok(Read { line, name, since })
    }
}

impl Line {
    fn costs_like(&self, other: &Self) -> bool {
        Self { name: 0, ..*self } == Self { name: 0, ..*other }
    }
}

impl Style {
    /// Millionths. Nothing is guessed: a comma that might separate thousands is a fault.
    fn amount(self, text: &str) -> Result<u32, String> {
        let bare = text.trim_matches(|c: char| matches!(c, '$' | '€' | '£' | '¥') || c == ' ');
        let letters = |c: char| c.is_ascii_alphabetic();
        let number = bare.trim_matches(letters).trim();
        let word: String = bare.chars().filter(|c| letters(*c)).collect();
        if !word.is_empty() && !word.eq_ignore_ascii_case(self.currency.code()) {
            return Err(format!(
                "An amount in {} is expected, such as 0.0120.",
                self.currency.code()
            ));
        }
        if number.starts_with('-') {
            return Err("A price can't be negative.".to_owned());
        }
        let point = if self.decimal_comma && !number.contains('.') { ',' } else { '.' };
        let (whole, fraction) = number.split_once(point).unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
            return Err("An amount is digits with a decimal point, such as 0.0120.".to_owned());
        }
        let too_dear = || "More than 1000 a minute is no price; is the point missing?".to_owned();
        let whole: i64 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_dear())? };
        let kept: String = fraction.chars().chain("000000".chars()).take(6).collect();
        let lost = fraction.bytes().skip(6).any(|byte| byte != b'0');
        let millionths: i64 = kept.parse().map_err(|_| too_dear())?;
        let sum = Money::units(whole)
            .and_then(|whole| whole.checked_add(Money(millionths + i64::from(lost))))
            .filter(|sum| *sum <= RateDeck::PRICE_MAX);
        sum.and_then(|sum| u32::try_from(sum.0).ok()).ok_or_else(too_dear)
    }
}

impl RateFault {
    fn of(line: u64, field: &'static str, found: &str, remedy: &str) -> Self {
        let found = found.chars().filter(|c| !c.is_control()).take(60).collect();
        Self { line, field, found, remedy: remedy.to_owned() }
    }
}

impl fmt::Display for RateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, field, found, remedy } = self;
        if *line > 0 {
            write!(f, "line {line}, ")?;
        }
        if found.is_empty() {
            write!(f, "{field}: {remedy}")
        } else {
            write!(f, "{field} \"{found}\": {remedy}")
        }
    }
}

/// The one that stands most often in the first line outside quotes.
fn separator(bytes: &[u8]) -> u8 {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
    let mut counts = [(0usize, b','), (0, b'\t'), (0, b';')];
    let mut quoted = false;
    for byte in line.unwrap_or_default() {
        quoted ^= *byte == b'"';
        for (count, separator) in &mut counts {
            *count += usize::from(!quoted && byte == separator);
        }
    }
    counts.into_iter().max().map_or(b',', |(_, separator)| separator)
}

/// A header's letters and digits in lower case: `Price/Min (USD)` is `priceminusd`.
fn plain(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The number of a name, a new one where it has none.
fn number_of(names: &mut BTreeMap<String, u32>, name: String) -> u32 {
    let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
    *names.entry(name).or_insert(next)
}

/// Decks in Latin-1 lose an accent in a name, nothing else.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// `60`, `60/1`, `60+1`, `1-1`: first and next.
fn increments(text: &str) -> Option<(u16, u16)> {
    let (first, increment) = match text.split_once(['/', '+', '-', ':']) {
        Some((first, increment)) => (seconds(first.trim())?, seconds(increment.trim())?),
        None => (seconds(text)?, seconds(text)?),
    };
    (increment > 0).then_some((first, increment))
}

fn seconds(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if plain { text.parse().ok() } else { None };
    seconds.filter(|seconds| *seconds <= RateDeck::INCREMENT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{Class, Country, Digits, Outside};
    use crate::rate::{Rate, Source};
    use proptest::prelude::*;

    fn dollars() -> Currency {
        "USD".parse().expect("capitals")
    }

    fn read(text: &str) -> RateDeck {
        RateDeck::import(text.as_bytes(), dollars(), 3)
            .unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn faults(text: &str) -> String {
        let faults = RateDeck::import(text.as_bytes(), dollars(), 3).expect_err("it has faults");
        faults.iter().map(|fault| format!("{fault}\n")).collect()
    }

    fn listed(deck: &RateDeck) -> String {
        let line = |rate: Rate| {
            let Rate { prefix, name, per_minute, connect, first, increment, .. } = rate;
            format!("{prefix} {name:?} {} {} {first}/{increment}\n", per_minute.0, connect.0)
        };
        deck.rates().map(line).collect()
    }

    #[test]
    fn columns_are_found_by_their_names_in_any_order() {
        let plain =
            "prefix,name,price,connect,increment\n37120,\"Latvia, mobile\",0.25,0.01,60/1\n";
        let expected = "37120 \"Latvia, mobile\" 250000 10000 60/1\n";
        assert_eq!(listed(&read(plain)), expected);
        let german = "Destination;Dial Code;Rate (USD);Setup Fee;Interval 1;Interval N\r\n\
                      Latvia, mobile;+371 20;0,25;0,01;60;1\r\n";
        assert_eq!(listed(&read(german)), expected);
        let tabs = "\u{feff}Rate/Min\tCode\tCountry\tDestination\tConnection Fee\tBilling Increment\n\
                    $0.25\t37120\tLatvia\tLatvia, mobile\t$ 0.01\t60+1\n";
        assert_eq!(listed(&read(tabs)), expected);
        // Nothing said of increments: whole minutes.
        assert_eq!(listed(&read("code,rate\n1,USD 0.0000001\n")), "1 \"\" 1 0 60/60\n");
    }

    #[test]
    fn each_fault_names_its_line_its_field_and_a_remedy() {
        let text = "prefix,name,price,increment
371,Latvia,0.1,60/60
372,Estonia,cheap,60/60
0044,Britain,0.1,60/60
373,Moldova,-1,60/60
374,Armenia,1000.000001,60/60
375,Belarus,0.1,60/0
371,Latvia,0.1,60/60
371,Latvia,0.2,60/60
376,Andorra,\"1,200.00\",1/1
377,Monaco,EUR 0.3,1/1
378,San Marino,,1/1
";
        let expected = "\
line 3, price \"cheap\": An amount in USD is expected, such as 0.0120.
line 4, prefix \"0044\": A prefix is 1 to 15 digits beginning with the country code, one to a line, such as 37120.
line 5, price \"-1\": A price can't be negative.
line 6, price \"1000.000001\": More than 1000 a minute is no price; is the point missing?
line 7, increment \"60/0\": An increment is seconds, 1 to 3600, such as 60, or first and next, 60/1.
line 9, prefix \"371\": Line 2 has the same prefix with another price; keep the one in force.
line 10, price \"1,200.00\": An amount is digits with a decimal point, such as 0.0120.
line 11, price \"EUR 0.3\": An amount in USD is expected, such as 0.0120.
line 12, price: An amount is digits with a decimal point, such as 0.0120.
";
        let found = faults(text);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn a_file_that_is_no_deck_says_what_one_is() {
        assert!(faults("").contains("no rates"));
        assert!(faults("prefix,price\n").contains("no rates"));
        assert!(faults("371,0.1\n372,0.2\n").starts_with("line 1, prefix \"371, 0.1\": The first"));
        assert!(faults("prefix,rate,price\n").contains("Two columns could be the price"));
        let open = "prefix,name,price\n371,\"Latvia,0.1\n372,Estonia,0.1\n";
        assert!(RateDeck::import(open.as_bytes(), dollars(), 1).is_err());
        let wrong = "prefix,price,currency\n371,0.1,EUR\n";
        assert_eq!(faults(wrong), "line 2, currency \"EUR\": The policy's currency is USD.\n");
    }

    /// `1,USA,0,012` would be a price of 0, and a budget would never end.
    #[test]
    fn a_price_cut_in_two_by_its_comma_is_refused() {
        let text = "prefix,name,price\n1,USA,0,012\n371,Latvia,0.1,\n372\n373,Moldova,0.2\n";
        assert_eq!(
            faults(text),
            "line 2, columns \"1|USA|0|012\": This line has 4 columns, the header 3 columns. Are these \
             decimal commas? Separate the columns with ; then. A name with a comma in it needs quotes.\n\
             line 4, columns \"372\": This line has 1 column, the header 3 columns, so the prefix or the \
             price is missing. Complete it, or remove it.\n"
        );
        let quoted = "prefix,name,price\n1,USA,\"0,012\"\n";
        assert!(faults(quoted).contains("digits with a decimal point"));
        let semicolons = read("prefix;name;price\n1;USA;0,012\n");
        assert_eq!(listed(&semicolons), "1 \"USA\" 12000 0 60/60\n");
    }

    /// 212 is New York behind country code 1, and Morocco where it stands alone.
    #[test]
    fn an_area_code_is_never_taken_for_a_prefix() {
        let text = "Country Code,Area code,Rate\n1,212,0.01\n";
        assert_eq!(
            faults(text),
            "line 1, prefix \"Country Code, Area code\": The prefix is spread over two columns: join \
             \"Country Code\" and \"Area code\" into one named prefix, such as 1212.\n"
        );
        assert!(
            faults("Code,City Code,Rate\n1,212,0.01\n").contains("join \"Code\" and \"City Code\"")
        );
        assert!(faults("Area code,Rate\n212,0.01\n").contains("An area code alone is no prefix"));
        let beside = "Country Code,Code,Rate\n1,212,0.01\n";
        assert!(faults(beside).contains("country code 1 beside it"), "{}", faults(beside));
        // A whole prefix beside its parts, and a country by its letters, are read.
        let whole = read("Country Code,Area Code,Prefix,Rate\n1,212,1212,0.01\n");
        assert_eq!(listed(&whole), "1212 \"\" 10000 0 60/60\n");
        assert_eq!(read("Country Code,Code,City,Rate\nLV,371,Riga,0.01\n").len(), 1);
    }

    fn on(today: &str, text: &str, before: &RateDeck) -> Result<Imported, String> {
        let today = day::read(today).expect("a day");
        RateDeck::import_on(today, text.as_bytes(), dollars(), 4, before)
            .map_err(|faults| faults.iter().map(|fault| format!("{fault}\n")).collect())
    }

    #[test]
    fn the_newest_line_that_is_in_force_counts() {
        let none = RateDeck::estimates(dollars());
        let text = "Prefix,Rate,Effective Date\n\
                    371,0.09,2026-12-02\n\
                    371,0.05,\n\
                    371,0.06,2026-10-01\n\
                    371,0.07,2026-12-01\n\
                    371,0.07,2026-12-01\n\
                    372,0.01,2026-10-01\n";
        let price = |today: &str| {
            let read = on(today, text, &none).expect("sound");
            (listed(&read.deck).lines().next().unwrap_or_default().to_owned(), read.later)
        };
        let later = |lines, day: &str| {
            Some(Later { lines, first: day::read(day).expect("a day"), kept: 0 })
        };
        let (line, waits) = price("2026-11-30");
        assert_eq!(line, "371 \"\" 60000 0 60/60");
        assert_eq!(waits, later(2, "2026-12-01"));
        // On the very day it holds.
        assert_eq!(price("2026-12-01"), ("371 \"\" 70000 0 60/60".into(), later(1, "2026-12-02")));
        assert_eq!(price("2026-12-02"), ("371 \"\" 90000 0 60/60".into(), None));
        for header in ["Effective date", "Valid from", "Date", "EFFECTIVE_DATE", "Start Date"] {
            let text = format!("Prefix,Rate,{header}\n371,0.1,2026-12-01\n372,0.1,2026-01-01\n");
            let read = on("2026-11-30", &text, &none).expect("sound");
            assert_eq!((read.deck.len(), read.later), (1, later(1, "2026-12-01")), "{header}");
        }
    }

    #[test]
    fn a_prefix_that_has_no_line_yet_keeps_its_former_price() {
        let before = read("prefix,name,price\n37,shorter,0.01\n371,Latvia,0.2\n");
        let text =
            "prefix,price,date\n37,0.01,2026-01-01\n371,0.3,2026-12-01\n372,0.3,2026-12-01\n";
        let on_eve = on("2026-11-30", text, &before).expect("sound");
        assert_eq!(listed(&on_eve.deck), "37 \"\" 10000 0 60/60\n371 \"Latvia\" 200000 0 60/60\n");
        assert_eq!(on_eve.later.map(|later| (later.lines, later.kept)), Some((2, 1)));
        // A deck in another currency says nothing of this one's prices.
        let mut foreign = before.clone();
        foreign.currency = "EUR".parse().expect("capitals");
        let on_eve = on("2026-11-30", text, &foreign).expect("sound");
        assert_eq!((on_eve.deck.len(), on_eve.later.map(|later| later.kept)), (1, Some(0)));
        let all = on("2026-11-30", "prefix,price,date\n371,0.3,2026-12-01\n", &before);
        assert_eq!(
            all.expect_err("nothing holds"),
            "date \"2026-12-01\": No line takes effect before 2026-12-01; import the file then.\n"
        );
    }

    #[test]
    fn a_date_that_can_be_read_in_two_ways_is_a_fault() {
        let none = RateDeck::estimates(dollars());
        let one = |text: &str| {
            let text = format!("prefix;price;date\n371;0.1;{text}\n");
            on("2030-01-01", &text, &none).expect_err("a fault")
        };
        assert_eq!(
            one("03/04/2026"),
            "line 2, date \"03/04/2026\": It is 3 April or 4 March: write 2026-04-03 or 2026-03-04.\n"
        );
        assert!(one("soon").contains("A date such as 2026-12-01 or 1 Dec 2026 is expected."));
        let twice = "prefix,price,date\n371,0.1,2026-01-01\n371,0.2,1 Jan 2026\n";
        assert!(on("2026-01-01", twice, &none).expect_err("twice").contains(
            "Line 2 has the same prefix with another price since 2026-01-01; keep the one in force."
        ));
        let two = "prefix,price,Date,Valid From\n371,0.1,2026-01-01,2026-01-01\n";
        assert!(on("2026-01-01", two, &none).expect_err("two").contains("could be the date"));
    }

    #[test]
    fn no_more_than_fifty_faults_are_listed() {
        let text = format!("prefix,price\n{}", "x,1\n".repeat(80));
        assert_eq!(faults(&text).lines().count(), 50);
    }

    #[test]
    fn the_longest_prefix_decides_and_else_the_estimate() {
        let deck = read("prefix,price\n1,0.01\n1876,0.2\n18765,0.4\n371,0.1\n");
        let price = |number: &str, class| {
            let digits = Digits::parse(number).expect("digits");
            deck.price(&Outside::new(digits, class, Some(Country::US)), Country::US)
        };
        let prefix = |number: &str| {
            let rate = price(number, Class::International).expect("in the deck");
            assert_eq!(rate.source, Source::Deck);
            rate.prefix
        };
        assert_eq!(prefix("+12125550100"), "1");
        assert_eq!(prefix("+18764445555"), "1876");
        assert_eq!(prefix("+18765445555"), "18765");
        assert_eq!(prefix("+37120000000"), "371");
        assert_eq!(price("+442079460000", Class::International), None);
        // A national short code isn't country code 1.
        let short = price("1411", Class::Shared).expect("estimated");
        assert_eq!(short.source, Source::Estimate);
    }

    #[test]
    fn a_cost_is_whole_increments_and_never_rounded_down() {
        let deck = read("prefix,price,connect,increment\n1,0.000001,0,1/1\n2,0.6,0.05,30/6\n");
        let rates: Vec<Rate> = deck.rates().collect();
        let costs = |rate: usize, seconds: &[u64]| -> Vec<i64> {
            seconds.iter().map(|s| rates[rate].cost(*s).expect("fits").0).collect()
        };
        assert_eq!(costs(0, &[0, 1, 59, 60, 61]), [1, 1, 1, 1, 2]);
        assert_eq!(
            costs(1, &[0, 1, 30, 31, 36, 37]),
            [350_000, 350_000, 350_000, 410_000, 410_000, 470_000]
        );
        assert_eq!(rates[1].cost(u64::MAX), None);
    }

    #[test]
    fn a_full_deck_takes_little_memory() {
        assert_eq!(size_of::<Line>(), 24);
    }

    proptest! {
        #[test]
        fn a_deck_reads_back_as_it_was_written(
            lines in proptest::collection::btree_map(
                "[1-9][0-9]{0,14}",
                ("[ -~é]{0,20}", 0u32..1_000_000_000, 0u32..1_000_000_000, 0u16..=3_600, 1u16..=3_600),
                1..40,
            ),
        ) {
            let mut text = String::from("prefix,name,price,connect,first,increment\n");
            for (prefix, (name, price, connect, first, increment)) in &lines {
                let name = name.replace('"', "\"\"");
                let money = |n: u32| format!("{}.{:06}", n / 1_000_000, n % 1_000_000);
                text += &format!("{prefix},\"{name}\",{},{},{first},{increment}\n", money(*price), money(*connect));
            }
            let deck = read(&text);
            prop_assert_eq!(deck.len(), lines.len());
            let again = read(&deck.to_csv());
            prop_assert_eq!(&again, &deck);
            for rate in again.rates() {
                let (name, price, connect, first, increment) = &lines[&rate.prefix];
                prop_assert_eq!(&rate.name, name.trim());
                prop_assert_eq!((rate.per_minute.0, rate.connect.0), (i64::from(*price), i64::from(*connect)));
                prop_assert_eq!((rate.first, rate.increment), (*first, *increment));
            }
        }

        #[test]
        fn no_bytes_break_the_import(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = RateDeck::import(&bytes, dollars(), 1);
            let mut text = b"prefix,price\n".to_vec();
            text.extend(bytes);
            let _ = RateDeck::import(&text, dollars(), 1);
        }

        #[test]
        fn the_longest_prefix_is_found_among_many(
            prefixes in proptest::collection::btree_set("[1-3][0-3]{0,6}", 1..60),
            number in "[1-3][0-3]{0,14}",
        ) {
            let lines: String = prefixes.iter().map(|prefix| format!("{prefix},0.1\n")).collect();
            let deck = read(&format!("prefix,price\n{lines}"));
            let found = deck.longest(&number).map(|line| line.key.digits());
            let expected = prefixes.iter().filter(|p| number.starts_with(*p)).max_by_key(|p| p.len());
            prop_assert_eq!(found.as_ref(), expected);
        }
    }
}
