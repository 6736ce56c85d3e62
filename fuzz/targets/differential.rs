//! Another parser beside ours: what one refuses and the other takes, or both read differently, is in
//! the tables of `crates/sip/tests/oracle`, with its reason.
#![no_main]

#[path = "../../crates/sip/tests/oracle/mod.rs"]
mod oracle;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(what) = oracle::disagreement(&Bytes::copy_from_slice(bytes)) {
        panic!("{what}");
    }
});
