//! A message that is accepted says the same when it is read again, every typed reading of its
//! headers is an answer and the same answer twice, and whatever we build out of it (answers, a
//! dialog's requests, a changed Via) is accepted by the same parser.
#![no_main]

use std::net::SocketAddr;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::dialog::{Dialog, Hop};
use sip::digest::{Challenge, Credentials};
use sip::{
    Headers, Message, Method, Name, NameAddr, NameAddrBuf, Request, Response, Status, Transport,
    Uri, Via,
};

fuzz_target!(|bytes: &[u8]| {
    let message = match Message::parse_or_reject(Bytes::copy_from_slice(bytes)) {
        Ok(message) => message,
        Err(rejected) => {
            let _ = rejected.violation.to_string();
            if let Some(reply) = rejected.reply {
                assert!(reply.status().is_failure());
                Message::parse(reply.as_bytes().clone()).expect("a refusal is a sound message");
            }
            return;
        }
    };
    // Bytes behind Content-Length are gone: what is left frames itself.
    assert!(message.as_bytes().ends_with(message.body()));
    let once = reading(message.headers());
    let again = Message::parse(message.as_bytes().clone()).expect("what was accepted is accepted");
    assert_eq!(again.as_bytes(), message.as_bytes());
    assert_eq!(again.body(), message.body());
    assert_eq!(reading(again.headers()), once);
    match &message {
        Message::Request(request) => requested(request),
        Message::Response(response) => {
            if let Ok(inner) = response.without_top_via() {
                let read = Message::parse(inner.as_bytes().clone()).expect("ours is sound");
                assert_eq!(read.headers().vias().count() + 1, once.vias);
            }
        }
    }
});

/// Everything that can be asked of the headers.
#[derive(PartialEq, Debug)]
struct Reading {
    call_id: String,
    cseq: String,
    vias: usize,
    rows: usize,
    typed: String,
}

fn reading(headers: &Headers) -> Reading {
    let mut typed = String::new();
    let mut note = |text: String| typed.push_str(&text);
    for via in headers.vias() {
        assert_eq!(Via::parse(via.as_str()).expect("a Via that stood").as_str(), via.as_str());
        note(format!("{:?}{:?}{:?}", via.branch(), via.received(), via.rport()));
        note(format!("{:?}{}{:?}", via.transport(), via.port_or_default(), via.host()));
    }
    let known = [headers.from(), headers.to()];
    for address in known.into_iter().chain(headers.contacts()).chain(headers.routes()) {
        address_reads_alike(address);
        note(format!("{:?}{:?}", address.display_name(), address.tag()));
        note(format!("{:?}{:?}", address.expires(), address.q()));
        for (name, value) in address.params().take(8) {
            note(format!("{name}{value:?}{:?}", address.param_unquoted(name)));
        }
    }
    for (name, raw, value) in headers.rows() {
        let _ = (raw.len(), value.len());
        note(format!("{:?}{}", headers.single(name), headers.elements(name).count()));
    }
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        for value in headers.get_all(name) {
            note(format!("{:?}", Credentials::parse(value.as_bytes()).map(|_| ())));
        }
    }
    for value in headers.get_all(Name::WwwAuthenticate) {
        note(format!("{:?}", Challenge::parse(value.as_bytes()).map(|_| ())));
    }
    note(format!("{:?}{:?}", headers.session_expires(), headers.min_se()));
    note(format!("{:?}{:?}", headers.retry_after(), headers.rack()));
    note(format!("{:?}{:?}", headers.refer_to(), headers.referred_by()));
    note(format!("{:?}{:?}", headers.replaces(), headers.event()));
    note(format!("{:?}{:?}", headers.subscription_state(), headers.date()));
    note(format!("{}", headers.reasons().count()));
    note(format!("{}", headers.asserted_identities().count()));
    Reading {
        call_id: headers.call_id().to_owned(),
        cseq: format!("{:?}", headers.cseq()),
        vias: headers.vias().count(),
        rows: headers.rows().count(),
        typed,
    }
}

fn address_reads_alike(address: NameAddr<'_>) {
    let buf = address.to_buf();
    let again = NameAddr::parse(buf.as_str()).expect("an address that stood");
    assert_eq!(again.uri().as_str(), address.uri().as_str());
    assert_eq!((again.tag(), again.display_name()), (address.tag(), address.display_name()));
    let uri = address.uri();
    let copy = uri.to_buf();
    let read = Uri::parse(copy.as_str()).expect("a URI that stood");
    assert_eq!((read.user(), read.host(), read.port()), (uri.user(), uri.host(), uri.port()));
    assert!(uri.equivalent(&read) || uri.host().is_none() || uri.headers().count() > 0);
    let _ = (uri.user_unescaped(), uri.transport(), uri.is_loose_route());
    // A name that we write is the name that is read.
    if let Some(name) = address.display_name()
        && let Ok(built) = NameAddrBuf::new(Some(&name), "sip:a@b.test")
    {
        assert_eq!(built.as_name_addr().display_name().unwrap_or_default(), name);
    }
}

fn requested(request: &Request) {
    let headers = request.headers();
    let source: SocketAddr = "192.0.2.7:5099".parse().expect("an address");
    if let Ok(stamped) = request.with_received(source) {
        Message::parse(stamped.as_bytes().clone()).expect("a stamped request is sound");
        assert_eq!(stamped.headers().vias().count(), headers.vias().count());
        assert_eq!(stamped.body(), request.body());
    }
    let contact = NameAddrBuf::parse("<sip:pbx@192.0.2.1>").expect("an address");
    let answer = Response::builder(request, Status::OK)
        .to_tag("fuzz")
        .contact(&contact)
        .record_routes_of(request)
        .build();
    let Ok(answer) = answer else { return };
    let read = Message::parse(answer.as_bytes().clone()).expect("what we print, we accept");
    assert_eq!(read.headers().call_id(), headers.call_id());
    assert_eq!(read.headers().cseq(), headers.cseq());
    assert_eq!(read.headers().from().as_str(), headers.from().as_str());
    assert_eq!(read.headers().vias().count(), headers.vias().count());

    let Ok(mut dialog) = Dialog::uas(request, &answer, true) else { return };
    let hop = Hop { transport: Transport::Tls, sent_by: "pbx.test", branch: "z9hG4bKfuzz" };
    if let Ok(builder) = dialog.request(Method::Bye, hop) {
        // Nothing that a peer wrote makes our BYE unsound, or another message.
        if let Ok(bye) = builder.build() {
            let read = Message::parse(bye.as_bytes().clone()).expect("what we print, we accept");
            assert_eq!(read.headers().call_id(), headers.call_id());
            assert_eq!(read.headers().vias().count(), 1);
            assert_eq!(read.headers().to().tag(), headers.from().tag());
        }
    }
}
