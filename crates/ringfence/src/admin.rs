//! The local admin socket: the same questions and answers for the command line and, later, the
//! console.
//!
//! A Unix socket in the data folder (mode 0600), so the kernel says who is asking and the file system
//! says who may. One line of JSON goes in (with a rate deck behind it, where it announces one), one
//! comes out, and the connection ends: nothing to keep in step. Whoever may open the socket may read
//! the key beside it, so every caller is the owner; the journal still names them.

pub(crate) mod amount;
pub(crate) mod client;
mod difference;
mod edit;
mod names;
pub(crate) mod protocol;
pub(crate) mod server;
pub(crate) mod work;

/// The socket's name in the data folder.
pub(crate) const SOCKET: &str = "admin.sock";
