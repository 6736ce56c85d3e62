//! What the tests of the running binary share.

#[path = "../../src/demo/driver.rs"]
pub(crate) mod driver;
pub(crate) mod server;
mod waiting;
