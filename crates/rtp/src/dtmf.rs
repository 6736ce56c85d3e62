//! Telephone events (RFC 4733): keys that were pressed.

use std::fmt;

/// A key: `0` to `9`, `*`, `#`, `A` to `D`.
///
/// People type PINs and card numbers with it, so `Debug` doesn't show which.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digit(u8);

impl Digit {
    /// RFC 4733 §3.2: event codes 0 to 15.
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    pub fn event(self) -> u8 {
        self.0
    }

    pub fn from_char(key: char) -> Option<Self> {
        let key = u8::try_from(key.to_ascii_uppercase()).ok()?;
        let event = KEYS.iter().position(|&known| known == key)?;
        u8::try_from(event).ok().map(Self)
    }

    /// The key itself. Keep it out of logs.
    pub fn reveal(self) -> char {
        char::from(KEYS[usize::from(self.0)])
    }
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digit(..)")
    }
}

/// In the order of their event codes.
const KEYS: &[u8; 16] = b"0123456789*#ABCD";
