//! SRTP and SRTCP: RFC 3711 (AES counter mode, HMAC-SHA1), RFC 6188 (256-bit keys), RFC 7714 (GCM).

mod key;

pub use key::{KeyLength, MasterKey, Suite};
