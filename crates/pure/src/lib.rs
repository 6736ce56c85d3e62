//! What a pure engine is given: time, chance and hash seeds.
//!
//! Every engine of this project is a function of its inputs: a seed reproduces a whole world and an
//! incident can be replayed. So the clock ([`Now`]), randomness ([`Chance`]) and the keys of hash
//! tables ([`Map`]) are values handed in from the edge, and a deadline is a row in [`Timers`].
#![forbid(unsafe_code)]

mod chance;
mod map;
mod time;
mod timers;

pub use chance::{Chance, HashSeed};
pub use map::Map;
pub use time::{Instant, Now, Utc};
pub use timers::{TimerId, Timers};
