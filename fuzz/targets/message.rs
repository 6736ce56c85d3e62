//! A message that is accepted says the same when it is read again, and every typed reading of its
//! headers is an answer, never a panic.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::{Message, Name, Response, Status};

fuzz_target!(|bytes: &[u8]| {
    let message = match Message::parse_or_reject(Bytes::copy_from_slice(bytes)) {
        Ok(message) => message,
        Err(rejected) => {
            let _ = rejected.violation.to_string();
            return;
        }
    };
    let headers = message.headers();
    for via in headers.vias() {
        let _ = (via.branch(), via.received(), via.rport(), via.port_or_default(), via.host());
    }
    for address in headers.contacts().chain([headers.from(), headers.to()]) {
        let _ = (address.display_name(), address.tag(), address.expires(), address.q());
        let uri = address.uri();
        let _ = (uri.user_unescaped(), uri.host(), uri.port(), uri == uri);
    }
    for (name, raw, value) in headers.rows() {
        let _ = (headers.single(name), raw.len(), value.len());
    }
    let _ = headers.elements(Name::Require).count();

    let again = Message::parse(message.as_bytes().clone()).expect("what was accepted is accepted");
    assert_eq!(again.headers().call_id(), headers.call_id());
    assert_eq!(again.headers().cseq(), headers.cseq());
    assert_eq!(again.body(), message.body());

    if let Message::Request(request) = &message {
        let answer = Response::builder(request, Status::OK).to_tag("fuzz").build();
        if let Ok(answer) = answer {
            Message::parse(answer.as_bytes().clone()).expect("what we print, we accept");
            assert_eq!(answer.headers().call_id(), headers.call_id());
        }
    }
});
