//! The gate before the parser: what is known of sources, told by whoever judges them.

use pure::Utc;

use crate::source::Source;

/// What is to be known of a source from now on: in the process, and in the kernel where there is one
/// to tell. Each replaces what was known before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A carrier, a source with a binding, or one that succeeded lately: it passes by strangers.
    Trust(Source),
    /// No longer; it is a stranger again.
    Distrust(Source),
    /// Nothing of it is read until then. Never said of a source that is trusted.
    Ban { source: Source, until: Utc },
    /// At once, whatever the kernel held.
    Unban(Source),
}
