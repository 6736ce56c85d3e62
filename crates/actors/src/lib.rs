//! Phones, carriers and attackers as engines: the other side of every call.
//!
//! The simulation, the demonstration and the drill drive the same actors, each against its own
//! network. They speak SIP and SRTP through the crates `sip` and `rtp`, so a fault in those shows as
//! two sides that misunderstand each other only where the tests of RFC vectors miss it.
#![forbid(unsafe_code)]

pub mod attacker;
pub mod carrier;
mod media;
pub mod phone;

pub use phone::{Action, CallId, Event, Input, Link, Output, Phone, PhoneSettings};
