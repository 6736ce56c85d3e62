//! The running binary and phones that use it over real sockets: first start, calls, a crash, an end,
//! abuse. Each test has a server and addresses of its own.

mod abuse;
mod alerts;
mod calls;
mod crash;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod timing;
