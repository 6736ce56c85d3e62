//! SIP and SDP on the wire and in time.
//!
//! The wire half: bytes become a [`Message`] whose existence proves that its core headers are sound
//! ([`message`]), its headers and URIs are read through borrowed views ([`header`], [`uri`]), bodies
//! become a [`sdp::Session`], and streams become frames ([`stream`]). What breaks a rule is a
//! [`Violation`], counted by whoever judges the peer.
//!
//! The time half: messages become requests that are answered once ([`transaction`]), what two sides
//! remember of each other ([`dialog`]), and who knows the password without saying it ([`digest`]).
#![forbid(unsafe_code)]

mod ascii;
mod build;
mod date;
pub mod dialog;
pub mod digest;
pub mod header;
pub mod message;
pub mod method;
mod name;
mod reject;
pub mod sdp;
pub mod status;
pub mod stream;
pub mod transaction;
mod typed;
pub mod uri;
pub mod violation;

pub use build::{RequestBuilder, ResponseBuilder};
pub use header::{CSeq, Field, Name, NameAddr, NameAddrBuf, Rport, Transport, Via};
pub use message::{
    ELEMENTS_MAX, HEADERS_MAX, Headers, MESSAGE_MAX, Message, PARAMS_MAX, Rejected, Request,
    Response,
};
pub use method::{METHOD_MAX, Method};
pub use status::{Status, StatusClass};
pub use typed::{Event, RAck, Reason, Refresher, Replaces, SessionExpires, SubscriptionState};
pub use uri::{Host, Scheme, Uri, UriBuf};
pub use violation::Violation;
