//! A session that is accepted prints to one that is accepted and means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::sdp::Session;

fuzz_target!(|bytes: &[u8]| {
    let Ok(session) = Session::parse(bytes) else { return };
    for media in session.effective() {
        let _ = (media.connection(), media.direction(), media.rtcp_port(), media.setup());
    }
    let printed = session.print();
    let again = Session::parse(printed.as_bytes()).expect("what we print, we accept");
    assert_eq!(again.print(), printed, "printing settles after one round");
});
