//! A world in simulated time: the real exchange and relay, a store that can lose what it was given,
//! phones that behave like the field's, and a network that doesn't.
//!
//! [`world`] holds them together; [`house`] gives them lines to carriers; [`ladder`] writes behaviour as text; [`random`] invents worlds from
//! a seed, [`model`] says beside them what must be true, [`coverage`] what was really reached.
#![forbid(unsafe_code)]

pub mod coverage;
pub mod house;
pub mod ladder;
pub mod link;
pub mod model;
pub mod random;
pub mod server;
pub mod store;
pub mod world;
