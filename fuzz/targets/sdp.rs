//! A session that is accepted prints to one that is accepted and means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::sdp::Session;

fuzz_target!(|bytes: &[u8]| {
    let Ok(session) = Session::parse(bytes) else { return };
    for media in session.effective() {
        let _ = (media.connection(), media.direction(), media.rtcp_port(), media.setup());
        let _ = (media.fingerprints().len(), media.ice_ufrag(), media.ice_pwd().is_some());
        let proto = &media.media.proto;
        assert!(proto.is_rtp() || !proto.is_sdes() && !proto.is_dtls());
        assert!(!proto.is_secure() || proto.is_sdes() != proto.is_dtls());
    }
    let printed = session.print();
    let again = Session::parse(printed.as_bytes()).expect("what we print, we accept");
    assert_eq!(again, session, "what we print means what we read");
    assert_eq!(again.print(), printed, "printing settles after one round");
    assert_eq!(again.effective().count(), session.effective().count());
});
