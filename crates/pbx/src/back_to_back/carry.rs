//! What may cross from one leg to the other. Nothing does by default: a leg's messages are written
//! from this list and from our own state, so a header that we don't know can't smuggle anything.
//!
//! Only the caller's identity is carried today. The other kinds are in the type so that whoever adds
//! one fills it here, bounded, from our own parse, and not by copying a header.

use crate::io::Attestation;

/// Everything that crosses, typed and bounded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Carry {
    pub caller: Caller,
    /// P-Asserted-Identity (RFC 3325) and whether the caller asked not to be shown (RFC 3323).
    pub asserted: Option<Caller>,
    pub private: bool,
    /// Opaque Identity tokens (RFC 8224), at most [`Carry::IDENTITY_MAX`].
    pub identity: Vec<String>,
    /// Who the call was for before (Diversion, RFC 5806; History-Info, RFC 7044), at most
    /// [`Carry::DIVERSIONS_MAX`].
    pub diversions: Vec<Caller>,
    /// Replaces (RFC 3891), mapped from the other leg's dialog to this one's.
    pub replaces: Option<crate::back_to_back::DialogName>,
    /// How to ring (Alert-Info), by our own name for it.
    pub alert: Option<Alert>,
}

/// Who calls, as the other side shows it: from the directory, never from what the phone wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    pub name: String,
    pub number: String,
    pub attestation: Attestation,
}

/// A kind of ringing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alert {
    Internal,
    External,
    /// The called phone may answer by itself.
    Intercom,
}

impl Carry {
    /// A call passes few providers; each adds one.
    pub const IDENTITY_MAX: usize = 4;
    /// More diversions are a loop.
    pub const DIVERSIONS_MAX: usize = 8;
    /// Longer display names are cut: a phone's display has forty characters, and a name must not
    /// fill a datagram.
    pub const NAME_MAX: usize = 64;

    pub fn of(name: &str, number: &str, attestation: Attestation) -> Self {
        let name = name.chars().filter(|c| !c.is_control()).take(Self::NAME_MAX).collect();
        Self { caller: Caller { name, number: number.to_owned(), attestation }, ..Self::default() }
    }
}
