//! A rate deck as it is stored: CSV, the form in which it came and in which it can leave. A deck
//! without lines, which prices by estimates alone, is an empty text: no file of that kind can be imported.

use guard::money::Currency;
use guard::rate::RateDeck;

pub(crate) fn to_csv(deck: &RateDeck) -> String {
    if deck.is_empty() { String::new() } else { deck.to_csv() }
}

pub(crate) fn from_csv(version: u64, currency: Currency, csv: &str) -> Option<RateDeck> {
    if csv.is_empty() {
        let mut deck = RateDeck::estimates(currency);
        deck.version = version;
        return Some(deck);
    }
    RateDeck::import(csv.as_bytes(), currency, version).ok()
}
