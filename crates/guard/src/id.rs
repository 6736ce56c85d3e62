//! Names of things that outlive a process: 128-bit ids, and the small numbers of nodes and tenants.
//!
//! An id is drawn from [`Chance`], so two nodes never agree by accident and nobody outside guesses
//! the next one. Printed as 32 hex digits; people may type a prefix.

use std::fmt;
use std::str::FromStr;

use pure::{Chance, Utc};
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                let value = hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
                value.map(Self).ok_or(NotAnId)
            }
        }

        /// As 32 hex digits: JSON numbers don't hold 128 bits.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! drawn {
    ($($name:ident)*) => {$(
        impl $name {
            pub fn draw(chance: &mut Chance) -> Self {
                Self(chance.u128())
            }
        }
    )*};
}

id!(
    /// One call: everything between the first INVITE and the last BYE, all legs included.
    CallId
);
id!(
    /// One leg of a call, and the media endpoint that belongs to it.
    LegId
);
id!(
    /// A subscriber's number inside a tenant; survives renumbering.
    ExtensionId
);
id!(
    /// A phone. An extension has devices.
    DeviceId
);
drawn!(LegId ExtensionId DeviceId);

impl CallId {
    /// The first four of its digits are a sixteenth of a second within 68 minutes, the others drawn: what is stored of
    /// calls that begin together lies together, and a prefix tells calls apart as well as if all were drawn.
    pub fn begin(now: Utc, chance: &mut Chance) -> Self {
        let slot = now.0.div_euclid(SLOT).rem_euclid(1 << 16);
        let slot = u128::from(slot.unsigned_abs());
        Self(slot << 112 | chance.u128() >> 16)
    }
}

/// In microseconds.
const SLOT: i64 = 62_500;

/// A node of the cluster. It is part of every token and flow, so a survivor knows whose they were.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u16);

/// A customer of the operator. Extension 101 exists once in each tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The one that exists from the first start: a business that runs its own phones.
    pub const HOUSE: Self = Self(1);
}

/// A set of permissions that extensions share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleId(pub u32);

/// A carrier's line, owned by the operator or by a tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrunkId(pub u32);

/// Where we face: an interface with its own addresses, media pool, transports and policy.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RealmId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text isn't 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id: 32 hex digits are expected")
    }
}

impl std::error::Error for NotAnId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_hex_digits() {
        let id = CallId::begin(Utc(0), &mut Chance::from_number(1));
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).expect("a string");
        assert_eq!(serde_json::from_str::<CallId>(&json).expect("as written"), id);
        for text in ["", "1", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(text.parse::<CallId>(), Err(NotAnId), "{text}");
        }
    }

    #[test]
    fn ids_of_calls_that_begin_together_lie_together() {
        let mut chance = Chance::from_number(1);
        let mut first = |utc| CallId::begin(Utc(utc), &mut chance).to_string()[..4].to_owned();
        assert_eq!(
            (first(0), first(62_499), first(62_500)),
            ("0000".into(), "0000".into(), "0001".into())
        );
        assert_eq!((first(62_500 << 16), first(-1)), ("0000".into(), "ffff".into()));
    }
}
