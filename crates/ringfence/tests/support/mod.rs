//! What the tests of the running binary share.

pub(crate) mod driver;
pub(crate) mod server;
