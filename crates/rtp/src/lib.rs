//! Media as packet logic: RTP and RTCP on the wire, SRTP, STUN, telephone events, G.711, and the
//! relay that anchors every call.
//!
//! Nothing here owns a socket or asks a clock. The edge receives datagrams into a [`PacketBuf`],
//! hands them to [`relay::Relay::packet`], and sends what comes back; the simulation does the same.
#![forbid(unsafe_code)]

mod buf;
pub mod dtmf;
pub mod g711;
pub mod packet;
pub mod quality;
pub mod relay;
pub mod rtcp;
pub mod sdes;
pub mod srtp;
pub mod stun;
pub mod tone;
mod window;

pub use buf::PacketBuf;
