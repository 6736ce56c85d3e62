//! The dial plan: what was dialled becomes E.164, and E.164 gets a class and a country.
//!
//! Which countries' plans look alike is public knowledge; what a number *costs* is not, so the classes
//! here are cautious: a number is as expensive as anything it could be.

use crate::number::{Country, Digits, Outside};

/// How numbers are dialled at home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialPlan {
    home: Country,
    /// Dialled before a number outside, by habit: dropped where the rest is then a number.
    outside_line: Option<char>,
    /// The area code of the office, for numbers dialled without one.
    area: Option<String>,
}

impl DialPlan {
    pub fn new(home: Country) -> Self {
        Self { home, outside_line: None, area: None }
    }

    pub fn with_outside_line(mut self, digit: Option<char>) -> Self {
        self.outside_line = digit;
        self
    }

    pub fn with_area(mut self, area: Option<String>) -> Self {
        self.area = area;
        self
    }

    /// What these digits mean to whoever is at home here. Never emergency: that was recognised before.
    pub fn read(&self, dialled: &Digits) -> Outside {
        Outside::unclassified(dialled.clone())
    }
}
