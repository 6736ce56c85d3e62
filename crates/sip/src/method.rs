//! The method of a request. Case-sensitive (RFC 3261 §7.1), a small `Copy` value.

use crate::{Violation, ascii};
use std::fmt;

/// The longest extension method kept. The torture method of RFC 4475 §3.1.1.2 has 43 bytes; no
/// registered method has more than 9.
pub const METHOD_MAX: usize = 46;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Info,
    Update,
    Prack,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    /// A method we do not know: a token, answered 405 or 501 by policy, never here.
    Other(OtherMethod),
}

/// A token of at most [`METHOD_MAX`] bytes that is none of the known methods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherMethod {
    len: u8,
    bytes: [u8; METHOD_MAX],
}

impl Method {
    /// Reads a method token.
    ///
    /// # Errors
    /// [`Violation::Method`] when it is no token, [`Violation::MethodTooLong`] beyond [`METHOD_MAX`].
    pub fn parse(text: &[u8]) -> Result<Self, Violation> {
        Ok(match text {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"REGISTER" => Self::Register,
            b"OPTIONS" => Self::Options,
            b"INFO" => Self::Info,
            b"UPDATE" => Self::Update,
            b"PRACK" => Self::Prack,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"REFER" => Self::Refer,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            _ if !ascii::is_token(text) => return Err(Violation::Method),
            _ if text.len() > METHOD_MAX => return Err(Violation::MethodTooLong),
            _ => {
                let mut bytes = [0; METHOD_MAX];
                bytes[..text.len()].copy_from_slice(text);
                Self::Other(OtherMethod { len: text.len() as u8, bytes })
            }
        })
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other(other) => other.as_str(),
        }
    }
}

impl OtherMethod {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("a token is ASCII")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for OtherMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
