//! Personal data: what may stand in a log only as a mask.
//!
//! [`Pii`] prints `+1…90` wherever it is formatted; only [`Pii::reveal`] hands out the value, so a
//! search for that word finds every place that shows it. Serialising does not mask: what is
//! stored or journalled is sealed by the store and the journal.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A value that belongs to a person. Debug and Display print its mask.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pii<T>(T);

/// What can be masked: enough is left to tell two apart in a log, too little to identify anyone.
pub trait Personal {
    fn mask(&self) -> String;
}

/// What can stand for a value whose key was destroyed. The journal writes a personal field as null in
/// the public part; where nothing fills it in again, this does.
pub trait Erasable {
    fn erased() -> Self;
}

/// A telephone number, as dialled or as E.164.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(pub String);

/// A network address, with or without its port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(pub String);

/// What a person or a desk is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(pub String);

/// What marks one piece of hardware or software: a `+sip.instance`, a MAC, a serial number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instance(pub String);

impl<T> Pii<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for pages and records that may show it.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    pub fn into_revealed(self) -> T {
        self.0
    }
}

impl<T: Personal> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.mask())
    }
}

impl<T: Personal> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.mask())
    }
}

impl<T: Serialize> Serialize for Pii<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Erasable> Deserialize<'de> for Pii<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_else(T::erased)))
    }
}

impl<T> From<T> for Pii<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<IpAddr> for Pii<Address> {
    fn from(address: IpAddr) -> Self {
        Self(Address(address.to_string()))
    }
}

impl From<SocketAddr> for Pii<Address> {
    fn from(address: SocketAddr) -> Self {
        Self(Address(address.to_string()))
    }
}

impl From<&str> for Pii<Number> {
    fn from(number: &str) -> Self {
        Self(Number(number.to_owned()))
    }
}

impl From<&str> for Pii<Name> {
    fn from(name: &str) -> Self {
        Self(Name(name.to_owned()))
    }
}

impl From<&str> for Pii<Instance> {
    fn from(instance: &str) -> Self {
        Self(Instance(instance.to_owned()))
    }
}

macro_rules! revealed {
    ($($name:ident)*) => {$(
        /// Masked: a derived Debug of whatever holds it ends in a log.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.mask())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Erasable for $name {
            fn erased() -> Self {
                Self("[erased]".to_owned())
            }
        }
    )*};
}

revealed!(Number Address Name Instance);

impl Personal for Number {
    fn mask(&self) -> String {
        mask_number(&self.0)
    }
}

impl Personal for Address {
    fn mask(&self) -> String {
        if let Ok(address) = self.0.parse::<SocketAddr>() {
            return address.mask();
        }
        self.0.parse::<IpAddr>().map_or_else(|_| mask_text(&self.0), |address| address.mask())
    }
}

impl Personal for Name {
    fn mask(&self) -> String {
        mask_text(&self.0)
    }
}

impl Personal for Instance {
    fn mask(&self) -> String {
        // The head of an instance id names its maker at most; the tail tells devices apart.
        let tail: Vec<char> =
            self.0.chars().rev().filter(|c| c.is_alphanumeric()).take(4).collect();
        format!("…{}", tail.into_iter().rev().collect::<String>())
    }
}

/// Whether, and what: both are hidden.
impl<T: Personal> Personal for Option<T> {
    fn mask(&self) -> String {
        self.as_ref().map_or_else(|| "…".to_owned(), Personal::mask)
    }
}

impl<T> Erasable for Option<T> {
    fn erased() -> Self {
        None
    }
}

impl Personal for bool {
    fn mask(&self) -> String {
        "…".to_owned()
    }
}

impl Personal for String {
    fn mask(&self) -> String {
        mask_text(self)
    }
}

impl Personal for IpAddr {
    /// The network, as wide as an office's: /16 of IPv4, /32 of IPv6.
    fn mask(&self) -> String {
        match self {
            Self::V4(v4) => {
                let [a, b, ..] = v4.octets();
                format!("{a}.{b}.…")
            }
            Self::V6(v6) => {
                let [a, b, ..] = v6.segments();
                format!("{a:x}:{b:x}:…")
            }
        }
    }
}

impl Personal for SocketAddr {
    fn mask(&self) -> String {
        self.ip().mask()
    }
}

/// `+1…90`: the first and the last two characters of a number that has at least seven.
pub(crate) fn mask_number(number: &str) -> String {
    let chars: Vec<char> = number.chars().collect();
    if chars.len() < MASKED_MIN {
        return "…".to_owned();
    }
    let ends = |part: &[char]| part.iter().collect::<String>();
    format!("{}…{}", ends(&chars[..2]), ends(&chars[chars.len() - 2..]))
}

fn mask_text(text: &str) -> String {
    text.chars().next().map_or_else(|| "…".to_owned(), |first| format!("{first}…"))
}

/// Below this length four shown characters would give the number away.
const MASKED_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_tell_apart_and_tell_nothing() {
        let masked = |number: &str| Pii::<Number>::from(number).to_string();
        assert_eq!(masked("+15550100190"), "+1…90");
        assert_eq!(masked("5550101"), "55…01");
        assert_eq!(masked("101"), "…");
        assert_eq!(masked(""), "…");
        let address = |text: &str| Pii::new(Address(text.to_owned())).to_string();
        assert_eq!(address("192.0.2.7"), "192.0.…");
        assert_eq!(address("192.0.2.7:5061"), "192.0.…");
        assert_eq!(address("[2001:db8::7]:5061"), "2001:db8:…");
        assert_eq!(address("phone.example"), "p…");
        assert_eq!(Pii::<Name>::from("Ärzte am Markt").to_string(), "Ä…");
        assert_eq!(Pii::<Instance>::from("<urn:uuid:0-0-beef>").to_string(), "…beef");
        assert_eq!(Pii::new(Some(true).is_some()).to_string(), "…");
    }

    #[test]
    fn debug_masks_too_and_reveal_reveals() {
        let name = Pii::<Name>::from("Grace Hopper");
        assert_eq!(format!("{name:?}"), "G…");
        assert_eq!(format!("{:?}", name.reveal()), "G…");
        assert_eq!(name.reveal().to_string(), "Grace Hopper");
    }

    #[test]
    fn what_was_erased_reads_so() {
        let name: Pii<Name> = serde_json::from_str("null").expect("null stands for erased");
        assert_eq!(name.reveal().to_string(), "[erased]");
        let maybe: Pii<Option<Instance>> = serde_json::from_str("null").expect("no instance");
        assert_eq!(maybe.reveal(), &None);
        let kept: Pii<Option<Instance>> = serde_json::from_str("\"x\"").expect("an instance");
        assert_eq!(kept.reveal(), &Some(Instance("x".to_owned())));
    }
}
