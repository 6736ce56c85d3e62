//! One interpretation: what two readers could understand differently is refused, and what we print
//! re-parses to what we judged.

#![allow(clippy::unwrap_used, reason = "the helpers here are tests as well")]

use bytes::Bytes;
use proptest::prelude::*;
use sip::{
    CSeq, ELEMENTS_MAX, Field, HEADERS_MAX, Host, MESSAGE_MAX, Message, Method, Name, NameAddr,
    NameAddrBuf, Refresher, Request, Response, Rport, Status, Transport, Uri, Via, Violation,
};

const CORE: [&str; 6] = [
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport",
    "From: <sip:a@example.com>;tag=1",
    "To: <sip:b@example.com>",
    "Call-ID: c@example.com",
    "CSeq: 1 INVITE",
    "Max-Forwards: 70",
];

/// An INVITE with more rows and a body.
fn invite(rows: &[&str], body: &str) -> Bytes {
    let rows: Vec<&str> = CORE.iter().chain(rows).copied().collect();
    format!("INVITE sip:b@example.com SIP/2.0\r\n{}\r\n\r\n{body}", rows.join("\r\n")).into()
}

/// An INVITE with one core row replaced.
fn invite_with(row: &str) -> Bytes {
    let name = row.split(':').next().unwrap_or_default();
    let rows = CORE.map(|r| if r.split(':').next() == Some(name) { row } else { r });
    format!("INVITE sip:b@example.com SIP/2.0\r\n{}\r\n\r\n", rows.join("\r\n")).into()
}

fn request(bytes: Bytes) -> Request {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn fault(bytes: impl Into<Bytes>) -> Violation {
    let bytes = bytes.into();
    Message::parse(bytes.clone())
        .map(|m| panic!("{m:?} from {:?}", String::from_utf8_lossy(&bytes)))
        .unwrap_err()
}

#[test]
fn framing_has_one_reading() {
    for (rows, expect) in [
        (&["Content-Length: 3", "Content-Length: 3"][..], Violation::Repeated),
        (&["Content-Length: 3", "l: 3"], Violation::Repeated),
        (&["l: 3", "L: 0"], Violation::Repeated),
        (&["Content-Length: +3"], Violation::ContentLength),
        (&["Content-Length: -3"], Violation::ContentLength),
        (&["Content-Length: 0x3"], Violation::ContentLength),
        (&["Content-Length: 3, 3"], Violation::ContentLength),
        (&["Content-Length: 3 3"], Violation::ContentLength),
        (&["Content-Length: 3;x"], Violation::ContentLength),
        (&["Content-Length:"], Violation::ContentLength),
        (&["Content-Length: 4"], Violation::BodyTooShort),
        (&["Content-Length: 18446744073709551619"], Violation::BodyTooShort),
        (&["No colon here"], Violation::MissingColon),
        (&["Bad name: x"], Violation::HeaderName),
        (&["Bad\u{1}name: x"], Violation::HeaderName),
        (&[": x"], Violation::HeaderName),
        (&["X: a\rb"], Violation::BareLineEnd),
        (&["X: a\nb: c"], Violation::BareLineEnd),
        (&["X: a\r\r\nY: b"], Violation::BareLineEnd),
        (&["X: a\0b"], Violation::ControlCharacter),
        (&["X: a\u{8}b"], Violation::ControlCharacter),
        (&["X: \"a\\\r\n b\""], Violation::Fold),
        (&["X: a\r\n \r\n b"], Violation::Fold),
        (&["Content-Length\r\n : 3"], Violation::MissingColon),
        (&["Y: a\r\n b", "Content-Length\r\n : 3"], Violation::Fold),
        (&["f: <sip:x@example.com>;tag=2"], Violation::Repeated),
        (&["t: <sip:x@example.com>"], Violation::Repeated),
        (&["i: other"], Violation::Repeated),
        (&["CSeq: 1 INVITE"], Violation::Repeated),
        (&["Max-Forwards: 70"], Violation::Repeated),
        (&["c: application/sdp", "Content-Type: application/sdp"], Violation::Repeated),
        (&["Expires: 1", "Expires: 1"], Violation::Repeated),
        (&["Expires: soon"], Violation::Seconds),
        (&["Content-Type: sdp"], Violation::ContentType),
        (&["Contact: *", "m: *"], Violation::StarContact),
        (&["Contact: *, <sip:a@example.com>"], Violation::StarContact),
        (&["Contact: <sip:a@example.com>,"], Violation::UriScheme),
        (&["Route: sip:a@example.com"], Violation::NameAddr),
        (&["v: SIP/2.0/UDP h;branch=a;branch=b"], Violation::RepeatedParam),
    ] {
        assert_eq!(fault(invite(rows, "v=0")), expect, "{rows:?}");
    }
}

/// What two elements on one way may read differently, by the names under which it is known. Each stands
/// in an INVITE that is sound without it.
#[test]
fn two_readings_are_refused() {
    let line = |row: &str| fault(invite(&[row], "v=0"));
    let twice = |row: &str| line(row) == Violation::Repeated;
    let raw = |text: &str| fault(text.to_owned());
    let sound = String::from_utf8(invite(&[], "").to_vec()).unwrap();
    let refused: [(&str, bool); 26] = [
        ("missing colon", line("Subject x") == Violation::MissingColon),
        ("bare CR", line("Subject: x\ry") == Violation::BareLineEnd),
        ("bare LF", line("Subject: x\ny: z") == Violation::BareLineEnd),
        ("line ends of LF only", raw(&sound.replace("\r\n", "\n")) == Violation::BareLineEnd),
        (
            "empty line of CR only",
            raw(&sound.replace("\r\n\r\n", "\r\n\r")) == Violation::Unterminated,
        ),
        ("space in a header name", line("Content Length: 0") == Violation::HeaderName),
        ("space before a header name", raw(&sound.replace("Via:", " Via:")) == Violation::Fold),
        (
            "fold before the first header",
            raw(&sound.replacen("\r\n", "\r\n \r\n", 1)) == Violation::Fold,
        ),
        (
            "Content-Length twice, alike",
            fault(invite(&["Content-Length: 3", "Content-Length: 3"], "v=0"))
                == Violation::Repeated,
        ),
        (
            "Content-Length twice",
            fault(invite(&["Content-Length: 3", "Content-Length: 0"], "v=0"))
                == Violation::Repeated,
        ),
        (
            "Content-Length and its compact twin",
            fault(invite(&["Content-Length: 3", "l: 0"], "v=0")) == Violation::Repeated,
        ),
        (
            "Content-Length too large",
            line("Content-Length: 99999999999999999999") == Violation::BodyTooShort,
        ),
        ("Content-Length signed", line("Content-Length: +3") == Violation::ContentLength),
        ("Content-Length negative", line("Content-Length: -3") == Violation::ContentLength),
        ("Content-Length as a list", line("Content-Length: 3, 3") == Violation::ContentLength),
        ("Content-Length in hexadecimal", line("Content-Length: 0x3") == Violation::ContentLength),
        ("From twice", twice("From: <sip:x@example.com>;tag=2")),
        ("To twice", twice("To: <sip:x@example.com>")),
        ("CSeq twice", twice("CSeq: 2 INVITE")),
        ("Call-ID twice", twice("Call-ID: other")),
        ("Max-Forwards twice", twice("Max-Forwards: 1")),
        ("From long and compact", twice("f: <sip:x@example.com>;tag=2")),
        ("To long and compact", twice("t: <sip:x@example.com>")),
        ("Call-ID long and compact", twice("i: other")),
        (
            "From as a list",
            fault(invite_with("From: <sip:a@example.com>;tag=1, <sip:x@example.com>;tag=2"))
                == Violation::Param,
        ),
        (
            "two spaces in the request line",
            raw(&sound.replace(" SIP/2.0\r\nVia", "  SIP/2.0\r\nVia")) == Violation::StartLine,
        ),
    ];
    let passed: Vec<&str> =
        refused.iter().filter(|(_, refused)| !refused).map(|(what, _)| *what).collect();
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn core_headers_are_judged() {
    for (row, expect) in [
        ("CSeq: 2147483648 INVITE", Violation::CSeq),
        ("CSeq: -1 INVITE", Violation::CSeq),
        ("CSeq: 1INVITE", Violation::CSeq),
        ("CSeq: 1", Violation::CSeq),
        ("CSeq: 1 IN VITE", Violation::CSeq),
        ("CSeq: 1 invite", Violation::MethodMismatch),
        ("Max-Forwards: 256", Violation::MaxForwards),
        ("Max-Forwards: x", Violation::MaxForwards),
        ("Call-ID: a b", Violation::CallId),
        ("Call-ID: a@b@c", Violation::CallId),
        ("Call-ID:", Violation::CallId),
        ("From: <sip:a@example.com>;tag=1;tag=2", Violation::RepeatedParam),
        ("From: <sip:a@example.com>;tag=", Violation::Param),
        ("From: <sip:a@example.com>;tag=\"x\"", Violation::Param),
        ("From: <sip:a@example.com> x", Violation::Param),
        ("From: <sip:a@example.com", Violation::NameAddr),
        ("From: \"a\" sip:a@example.com", Violation::NameAddr),
        ("Via: SIP/2.0/UDP", Violation::Via),
        ("Via: SIP/2.0 host", Violation::Via),
        ("Via: HTTP/2.0/UDP host", Violation::Via),
        ("Via: SIP/2.0/UDP host:0", Violation::Port),
        ("Via: SIP/2.0/UDP host;branch=", Violation::Param),
        ("Via: SIP/2.0/UDP host;branch", Violation::Via),
        ("Via: SIP/2.0/UDP host;received=name", Violation::Via),
        ("Via: SIP/2.0/UDP host;rport=0", Violation::Via),
        ("Via: SIP/2.0/UDP host (comment)", Violation::Param),
    ] {
        assert_eq!(fault(invite_with(row)), expect, "{row}");
    }
    assert_eq!(
        request(invite_with("CSeq: 2147483647 INVITE")).headers().cseq(),
        CSeq { number: (1 << 31) - 1, method: Method::Invite }
    );
}

#[test]
fn what_is_no_message_is_told_apart() {
    assert_eq!(fault(&b""[..]), Violation::Empty);
    assert_eq!(fault(&b"\r\n\r\n"[..]), Violation::Empty);
    assert_eq!(fault(vec![b'a'; MESSAGE_MAX + 1]), Violation::MessageTooLong);
    assert_eq!(fault(vec![b'a'; 100]), Violation::Unterminated);
    assert_eq!(fault(&b"INVITE sip:a@b SIP/2.0\r\n"[..]), Violation::Unterminated);
    assert_eq!(fault(&b"\r\nINVITE sip:a@b SIP/2.0\r\n\r\n"[..]), Violation::StartLine);
    assert_eq!(fault(&b"INVITE sip:a@b SIP/2.0\r\n To: x\r\n\r\n"[..]), Violation::Fold);
    // The first line continues none, which the fold behind it must not make us overlook.
    assert_eq!(fault(&b" INVITE sip:a@b SIP/2.0\r\nTo: x\r\n y\r\n\r\n"[..]), Violation::Fold);
    assert_eq!(fault(&b"INVITE sip:a@b HTTP/1.1\r\n\r\n"[..]), Violation::StartLine);
    assert_eq!(fault(&b"SIP/2.0 099 Low\r\n\r\n"[..]), Violation::StatusCode);
    assert_eq!(fault(&b"SIP/2.0 700 High\r\n\r\n"[..]), Violation::StatusCode);
    assert_eq!(fault(&b"SIP/2.0 200\r\n\r\n"[..]), Violation::StartLine);
    assert_eq!(fault(&b"SIP/3.0 200 OK\r\n\r\n"[..]), Violation::Version);
    let mut bytes = invite(&["Subject: x"], "").to_vec();
    let at = bytes.len() - 5;
    bytes[at] = 0xff;
    assert_eq!(fault(bytes), Violation::NotUtf8);
}

#[test]
fn limits_hold() {
    let room = HEADERS_MAX - CORE.len();
    assert!(Message::parse(invite(&vec!["X: y"; room], "")).is_ok());
    assert_eq!(fault(invite(&vec!["X: y"; room + 1], "")), Violation::TooManyHeaders);
    let routes = |n: usize| format!("Route: {}", vec!["<sip:a@b>"; n].join(","));
    assert!(Message::parse(invite(&[&routes(ELEMENTS_MAX)], "")).is_ok());
    assert_eq!(fault(invite(&[&routes(ELEMENTS_MAX + 1)], "")), Violation::TooManyElements);
    let params: String = (0..33).map(|i| format!(";p{i}")).collect();
    assert_eq!(fault(invite_with(&format!("From: <sip:a@b>{params}"))), Violation::TooManyParams);
}

#[test]
fn refused_requests_are_answered_where_that_is_safe() {
    let reply = |bytes: Bytes| Message::parse_or_reject(bytes).unwrap_err().reply;
    let mismatch = reply(invite_with("CSeq: 1 BYE")).unwrap();
    assert_eq!(mismatch.status(), Status::BAD_REQUEST);
    assert_eq!(mismatch.headers().top_via().branch(), Some("z9hG4bK1"));
    assert_eq!(mismatch.headers().call_id(), "c@example.com");
    let old =
        String::from_utf8(invite(&[], "").to_vec()).unwrap().replace("com SIP/2.0", "com SIP/3.0");
    assert_eq!(reply(old.clone().into()).unwrap().status(), Status::VERSION_NOT_SUPPORTED);
    assert!(reply(old.replace("INVITE", "ACK").into()).is_none(), "an ACK is never answered");
    assert!(reply(invite(&["Content-Length: 1", "i: x"], "")).is_none(), "which Call-ID?");
    assert!(reply(invite(&["v: nonsense"], "")).is_none(), "where to?");
    assert!(reply(Bytes::from_static(b"SIP/2.0 999 x\r\n\r\n")).is_none());
}

#[test]
fn absent_malformed_and_repeated_are_three_answers() {
    let headers = |rows: &[&str]| request(invite(rows, "")).headers().clone();
    assert_eq!(headers(&[]).min_se(), Field::Absent);
    assert_eq!(headers(&["Min-SE: 90;x=y"]).min_se(), Field::Present(90));
    assert_eq!(headers(&["Min-SE: x"]).min_se(), Field::Malformed(Violation::Seconds));
    assert_eq!(headers(&["Min-SE: 90", "Min-SE: 90"]).min_se(), Field::Repeated);
    let timer = headers(&["x: 1800;refresher=uac"]).session_expires().present().unwrap();
    assert_eq!((timer.interval, timer.refresher), (1800, Some(Refresher::Uac)));
    let rack = headers(&["RAck: 776656 1 INVITE"]).rack().present().unwrap();
    assert_eq!((rack.response, rack.cseq, rack.method), (776_656, 1, Method::Invite));
    assert_eq!(headers(&["RSeq: 0"]).rseq(), Field::Malformed(Violation::HeaderValue));
    let h =
        headers(&["Replaces: 98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff;early-only"]);
    let replaces = h.replaces().present().unwrap();
    assert_eq!(
        (replaces.call_id, replaces.to_tag, replaces.from_tag, replaces.early_only),
        ("98732@sip.example.com", "ff87ff", "r33th4x0r", true)
    );
    assert_eq!(
        headers(&["Replaces: 1@x;to-tag=a"]).replaces(),
        Field::Malformed(Violation::HeaderValue)
    );
    let h = headers(&["Reason: Q.850;cause=16;text=\"Normal, clearing\", SIP;cause=200"]);
    let reasons: Vec<_> = h.reasons().map(|r| r.unwrap()).collect();
    assert_eq!(
        (reasons[0].protocol, reasons[0].cause, reasons[0].text.as_deref()),
        ("Q.850", Some(16), Some("Normal, clearing"))
    );
    assert_eq!((reasons.len(), reasons[1].protocol), (2, "SIP"));
    let h = headers(&["Subscription-State: terminated;reason=noresource;retry-after=5"]);
    let state = h.subscription_state().present().unwrap();
    assert_eq!(
        (state.state, state.reason, state.retry_after),
        ("terminated", Some("noresource"), Some(5))
    );
    let h = headers(&[
        "Retry-After: 120 (maintenance)",
        "Event: dialog;id=7",
        "Supported: timer, 100rel",
    ]);
    assert_eq!(h.retry_after(), Field::Present(120));
    assert_eq!(h.event().present().map(|e| (e.package, e.id)), Some(("dialog", Some("7"))));
    assert!(h.has_token(Name::Supported, "100REL") && !h.has_token(Name::Supported, "rel"));
    let h = headers(&["Contact: <sip:a@b>;expires=99999999999;q=1.000, <sip:c@d>;expires=x"]);
    let contacts: Vec<_> = h.contacts().map(|c| (c.expires(), c.q())).collect();
    assert_eq!(contacts, [(Some(u32::MAX), Some(1000)), (Some(3600), None)]);
    assert!(headers(&["m: *"]).is_star_contact());
}

#[test]
fn a_built_request_is_a_parsed_one() {
    let built = ordinary().body("application/sdp", "v=0\r\n").build().unwrap();
    let parsed = request(built.as_bytes().clone());
    assert_eq!(
        built.headers().rows().collect::<Vec<_>>(),
        parsed.headers().rows().collect::<Vec<_>>()
    );
    assert_eq!(built.body(), parsed.body());
    assert_eq!(built.headers().get(Name::ContentLength), Some("5"));
    assert_eq!(built.headers().from().display_name().unwrap(), "O\"Brien\\ \u{e9}");
    assert_eq!(built.headers().top_via().rport(), Rport::Empty);
    assert!(built.headers().content_type_is("application/SDP"));
}

fn ordinary() -> sip::RequestBuilder {
    Request::builder(Method::Invite, "sip:b@example.com")
        .via(Transport::Tls, "pbx.example.com:5061", "z9hG4bK77")
        .from(
            &NameAddrBuf::new(Some("O\"Brien\\ \u{e9}"), "sip:a@example.com")
                .unwrap()
                .with_tag("t1")
                .unwrap(),
        )
        .to(&NameAddrBuf::new(None, "sip:b@example.com").unwrap())
        .call_id("call@example.com")
        .cseq(9)
        .max_forwards(70)
}

#[test]
fn nothing_breaks_out_of_its_line() {
    for evil in ["a\r\nVia: x", "a\nb", "a\rb", "a\0b", "a\u{7f}"] {
        assert_eq!(
            ordinary().header(Name::Subject, evil).build().unwrap_err(),
            Violation::ControlCharacter
        );
        assert_eq!(
            ordinary().other("X-Thing", evil).build().unwrap_err(),
            Violation::ControlCharacter
        );
        assert_eq!(ordinary().call_id(evil).build().unwrap_err(), Violation::ControlCharacter);
        assert_eq!(ordinary().body(evil, "").build().unwrap_err(), Violation::ControlCharacter);
        assert_eq!(
            NameAddrBuf::new(Some(evil), "sip:a@b").unwrap_err(),
            Violation::ControlCharacter
        );
        assert!(NameAddrBuf::new(None, &format!("sip:a@b;x={evil}")).is_err());
        assert!(Request::builder(Method::Bye, evil).build().is_err());
    }
    assert!(ordinary().other("X: y", "z").build().is_err());
    assert!(ordinary().other("Content-Length", "0").build().is_err());
    assert!(ordinary().header(Name::ContentLength, "0").build().is_err());
    assert!(
        ordinary().from(&NameAddrBuf::new(None, "sip:x@y").unwrap()).build().is_err(),
        "two From"
    );
    let ok = Response::builder(&ordinary().build().unwrap(), Status::OK);
    assert_eq!(ok.reason("a\r\nb").build().unwrap_err(), Violation::ControlCharacter);
}

#[test]
fn a_response_copies_what_it_must() {
    let invite = request(invite(
        &[
            "v: SIP/2.0/TCP h2;branch=z9hG4bK2, SIP/2.0/TCP h3",
            "Record-Route: <sip:p;lr>",
            "Timestamp: 54",
            "Subject: no",
        ],
        "",
    ));
    let ringing = Response::builder(&invite, Status::RINGING)
        .to_tag("ours")
        .record_routes_of(&invite)
        .build()
        .unwrap();
    let branches: Vec<_> =
        ringing.headers().vias().map(|v| v.branch().map(str::to_owned)).collect();
    assert_eq!(branches, [Some("z9hG4bK1".into()), Some("z9hG4bK2".into()), None]);
    assert_eq!(
        (ringing.headers().to().tag(), ringing.headers().from().tag()),
        (Some("ours"), Some("1"))
    );
    assert_eq!((ringing.reason(), ringing.headers().cseq()), ("Ringing", invite.headers().cseq()));
    assert_eq!(ringing.headers().record_routes().count(), 1);
    assert_eq!(
        (ringing.headers().get(Name::Timestamp), ringing.headers().get(Name::Subject)),
        (None, None)
    );
    let trying = Response::builder(&invite, Status::TRYING).build().unwrap();
    assert_eq!(
        (trying.headers().get(Name::Timestamp), trying.headers().to().tag()),
        (Some("54"), None)
    );
    let popped = ringing.without_top_via().unwrap();
    assert_eq!(popped.headers().vias().count(), 2);
    assert!(popped.without_top_via().unwrap().without_top_via().is_err());
}

#[test]
fn the_top_via_is_stamped_with_the_truth() {
    let stamp = |row: &str, source: &str| {
        let stamped = request(invite_with(row)).with_received(source.parse().unwrap()).unwrap();
        let via = stamped.headers().top_via();
        assert_eq!(via.branch(), Some("z9hG4bK1"));
        (via.received().map(|ip| ip.to_string()), via.rport())
    };
    let got = |ip: &str| Some(ip.to_owned());
    assert_eq!(
        stamp("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport", "192.0.2.1:9"),
        (got("192.0.2.1"), Rport::Port(9))
    );
    assert_eq!(
        stamp("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "192.0.2.1:9"),
        (None, Rport::Absent)
    );
    assert_eq!(
        stamp("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "192.0.2.7:9"),
        (got("192.0.2.7"), Rport::Absent)
    );
    assert_eq!(
        stamp("Via: SIP/2.0/UDP host;branch=z9hG4bK1", "[2001:db8::1]:9"),
        (got("2001:db8::1"), Rport::Absent)
    );
    // What the sender claims about itself is replaced.
    assert_eq!(
        stamp(
            "Via: SIP/2.0/UDP 192.0.2.1;received=10.0.0.1;rport=7;branch=z9hG4bK1",
            "192.0.2.1:9"
        ),
        (got("192.0.2.1"), Rport::Port(9))
    );
    assert_eq!(
        stamp("Via: SIP/2.0/UDP 192.0.2.1;received=10.0.0.1;branch=z9hG4bK1", "192.0.2.1:9"),
        (None, Rport::Absent)
    );
    let two = request(invite(&["v: SIP/2.0/TCP h2"], "x"))
        .with_received("192.0.2.9:5".parse().unwrap())
        .unwrap();
    assert_eq!((two.headers().vias().count(), &two.body()[..]), (2, &b"x"[..]));
    let three = two.with_top_via(Transport::Udp, "pbx:5060", "z9hG4bKnew").unwrap();
    assert_eq!(
        (three.headers().vias().count(), three.headers().top_via().host()),
        (3, Host::Name("pbx"))
    );
    assert_eq!(
        three.without_top_via().unwrap().headers().rows().count(),
        two.headers().rows().count()
    );
}

/// Messages made of the characters that matter.
fn rows() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(CORE.to_vec()).prop_map(|s| s.as_bytes().to_vec()),
        2 => prop::sample::select(vec![
            "\r\n", "\r\n ", "\n", "\r", "\0", ":", ";", ",", "\"", "\\", "<", ">", "@", "l: 0", "Content-Length: 3",
            "Contact: *", "m: <sip:x@y>;q=0.5", "INVITE sip:a@b SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", "Date: x", "\u{e9}",
            "Route: <sip:a;lr>, <sip:b>", "tag=", "SIP/2.0/UDP", "Expires: 5", "Replaces: a;to-tag=b;from-tag=c", "x: 1;refresher=uas",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        4 => Just(b"\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// Every accessor, for those that promise not to fail.
fn read_all(message: &Message) -> usize {
    let h = message.headers();
    let mut sum = h.rows().count() + h.call_id().len() + h.content_type().map_or(0, str::len);
    for via in h.vias() {
        sum += via.params().count() + via.host_str().len();
        let _ = (via.host(), via.received(), via.rport(), via.branch(), via.port_or_default());
    }
    for addr in [h.from(), h.to()]
        .into_iter()
        .chain(h.contacts())
        .chain(h.routes())
        .chain(h.record_routes())
    {
        sum += addr.params().count() + addr.uri().params().count() + addr.uri().headers().count();
        let _ = (
            addr.display_name(),
            addr.tag(),
            addr.expires(),
            addr.q(),
            addr.uri().user_unescaped(),
            addr.uri().host(),
        );
        assert!(addr.uri().scheme() == sip::Scheme::Other || addr.uri().equivalent(&addr.uri()));
    }
    let _ = (
        h.session_expires(),
        h.min_se(),
        h.rack(),
        h.rseq(),
        h.refer_to(),
        h.replaces(),
        h.event(),
        h.date(),
    );
    sum + h.reasons().count() + h.name_addrs(Name::Diversion).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_judged_without_panic(head in rows(), body in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut whole = b"INVITE sip:b@example.com SIP/2.0\r\n".to_vec();
        whole.extend_from_slice(CORE.join("\r\n").as_bytes());
        whole.extend_from_slice(b"\r\n");
        whole.extend_from_slice(&head);
        for bytes in [head, [whole, b"\r\n\r\n".to_vec(), body].concat()] {
            match Message::parse_or_reject(bytes.into()) {
                Ok(message) => {
                    read_all(&message);
                    // The same again from what we say the message is.
                    let again = Message::parse(message.as_bytes().clone()).unwrap();
                    prop_assert_eq!(again.as_bytes(), message.as_bytes());
                    prop_assert_eq!(again.headers().rows().collect::<Vec<_>>(), message.headers().rows().collect::<Vec<_>>());
                }
                Err(rejected) => if let Some(reply) = rejected.reply {
                    prop_assert!(reply.status().is_failure());
                }
            }
        }
    }

    #[test]
    fn what_we_print_is_what_we_judge(
        display in any::<String>(),
        user in "[a-z0-9.%_-]{1,12}",
        subject in any::<String>(),
        reason in "[ -~]{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..200),
        seq in 0u32..1 << 31,
        hops in any::<u8>(),
    ) {
        let Ok(from) = NameAddrBuf::new(Some(&display), &format!("sip:{user}@example.com")) else { return Ok(()) };
        let built = Request::builder(Method::Message, "sip:b@example.com")
            .via(Transport::Udp, "192.0.2.1", "z9hG4bK1")
            .from(&from.with_tag("a").unwrap())
            .to(&from)
            .call_id("x@y")
            .cseq(seq)
            .max_forwards(hops)
            .header(Name::Subject, &subject)
            .body("text/plain", body.clone())
            .build();
        let Ok(built) = built else { return Ok(()) };
        let h = built.headers();
        prop_assert_eq!(h.from().display_name().unwrap_or_default(), display.as_str());
        prop_assert_eq!(h.from().uri().user(), Some(user.as_str()));
        prop_assert_eq!(h.get(Name::Subject), Some(subject.trim_matches([' ', '\t'])));
        prop_assert_eq!((h.cseq().number, h.max_forwards(), &built.body()[..]), (seq, Some(hops), &body[..]));
        let response = Response::builder(&built, Status::OK).to_tag("b").reason(&reason).build().unwrap();
        prop_assert_eq!(response.reason(), reason.as_str());
        prop_assert_eq!(response.headers().to().tag(), Some("b"));
        prop_assert_eq!(response.headers().to().display_name(), h.to().display_name());
    }

    #[test]
    fn addresses_and_vias_never_panic(text in "[sipt:@;=<>\"\\\\,?&%0-9a-f\\[\\]. /SIPUD]{0,40}") {
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert!(uri.scheme() == sip::Scheme::Other || uri.equivalent(&uri));
            prop_assert_eq!(Uri::parse(uri.as_str()).unwrap().host(), uri.host());
        }
        if let Ok(addr) = NameAddr::parse(&text) {
            let again = addr.to_buf().with_tag("new").unwrap();
            prop_assert_eq!(again.uri().as_str(), addr.uri().as_str());
            prop_assert_eq!(again.as_name_addr().display_name(), addr.display_name());
        }
        let _ = Via::parse(&format!("SIP/2.0/{text}"));
    }
}
