//! The torture tests of RFC 4475 and RFC 5118, as messages of our own (tests/common).
//!
//! Of the 49 sections of RFC 4475 we accept the 27 that describe a usable message and refuse the 22
//! that do not, among them all 13 that no element may accept. Where those RFCs leave a choice we refuse,
//! since two readers may understand such a message differently.
//!
//! With `SIP_TORTURE_DIR` set to a directory that holds the RFCs' own messages (`rfc4475/wsinv.dat`, …,
//! `rfc5118/ipv6-good`, …) those are judged too, and must come to what ours come to.

mod common;

use bytes::Bytes;
use common::{Case, INTMETH, RFC_4475_UNUSABLE, RFC_4475_USABLE, RFC_5118, Then, WSINV, bytes};
use sip::sdp::Session;
use sip::{Message, Method, Name, Request, Scheme, Transport};
use std::path::Path;

fn request(message: &str) -> Request {
    match Message::parse(bytes(message)) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?} for\n{message}"),
    }
}

fn check(cases: &[Case]) {
    for Case { section, name, what, message, expect, then } in cases {
        let judged = Message::parse_or_reject(bytes(message));
        let got = judged.as_ref().map(|_| ()).map_err(|rejected| rejected.violation);
        assert_eq!(got, *expect, "§{section} {name}, {what}:\n{message}");
        let reply = judged.err().map(|rejected| rejected.reply.map(|reply| reply.status().code()));
        match (then, reply) {
            (Then::Core(_), None) | (Then::Dropped, Some(None)) => {}
            (Then::Answered(status), Some(Some(answered))) if *status == answered => {}
            (then, reply) => panic!("§{section} {name}: {then:?} is said, {reply:?} done"),
        }
    }
}

#[test]
fn rfc_4475_usable_messages_are_accepted() {
    check(RFC_4475_USABLE);
    assert_eq!(RFC_4475_USABLE.len(), 27);
}

#[test]
fn rfc_4475_unusable_messages_are_refused() {
    check(RFC_4475_UNUSABLE);
}

#[test]
fn rfc_4475_is_whole() {
    let cases = RFC_4475_USABLE.iter().chain(RFC_4475_UNUSABLE);
    let mut sections: Vec<&str> = cases.map(|case| case.section).collect();
    sections.sort_unstable();
    sections.dedup();
    let chapters = [("3.1.1", 13), ("3.1.2", 19), ("3.2", 1), ("3.3", 15), ("3.4", 1)];
    let mut expected: Vec<String> = chapters
        .iter()
        .flat_map(|(chapter, count)| (1..=*count).map(move |n| format!("{chapter}.{n}")))
        .collect();
    expected.sort_unstable();
    assert_eq!(sections, expected);
    assert_eq!(sections.len(), 49);
    // What no element may accept: framing, numbers, quotes and start lines that have no reading.
    for name in [
        "badinv01",
        "clerr",
        "ncl",
        "scalar02",
        "scalarlg",
        "quotbal",
        "ltgtruri",
        "lwsruri",
        "badaspec",
        "mismatch01",
        "mismatch02",
        "bigcode",
        "mcl01",
    ] {
        assert!(RFC_4475_UNUSABLE.iter().any(|case| case.name == name), "{name}");
    }
}

#[test]
fn rfc_5118_messages_are_judged() {
    check(RFC_5118);
    assert_eq!(RFC_5118.len(), 12);
    for name in ["ipv6-in-sdp", "mult-ip-in-sdp"] {
        let case = RFC_5118.iter().find(|case| case.name == name).expect("a case");
        let session = Session::parse(request(case.message).body()).expect("a session");
        assert!(session.effective().all(|media| media.connection().is_some()), "{name}");
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped case carries its reason")]
#[allow(
    clippy::disallowed_methods,
    reason = "it reads an archive, which the crate itself never does"
)]
fn the_archives_of_the_rfcs_come_to_the_same() {
    let Some(directory) = std::env::var_os("SIP_TORTURE_DIR") else {
        eprintln!("skipped: SIP_TORTURE_DIR names no directory with the RFCs' messages");
        return;
    };
    let directory = Path::new(&directory);
    let mut differ = Vec::new();
    let mut judged = 0;
    let archives = [
        ("rfc4475", ".dat", RFC_4475_USABLE),
        ("rfc4475", ".dat", RFC_4475_UNUSABLE),
        ("rfc5118", "", RFC_5118),
    ];
    for (archive, suffix, cases) in archives {
        let mut last = "";
        for case in cases {
            // Two of our cases may take one section apart; the first is the section's own.
            if case.name == last {
                continue;
            }
            last = case.name;
            let path = directory.join(archive).join(format!("{}{suffix}", case.name));
            let bytes = std::fs::read(&path).expect("a message of the archive");
            let got = Message::parse(Bytes::from(bytes)).map(|_| ());
            judged += 1;
            if got.is_ok() != case.expect.is_ok() {
                differ.push(format!(
                    "§{} {}: {got:?}, ours {:?}",
                    case.section, case.name, case.expect
                ));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert_eq!(judged, 61);
}

#[test]
fn rfc_4475_3_1_1_1_is_understood() {
    let invite = request(WSINV);
    let headers = invite.headers();
    assert_eq!((invite.method(), invite.uri().param("unknown")), (Method::Invite, Some("")));
    assert_eq!(headers.to().tag(), Some("19a"));
    assert_eq!(headers.from().display_name().unwrap(), "V Roe \\\"");
    assert_eq!((headers.from().tag(), headers.max_forwards()), (Some("98b"), Some(68)));
    assert_eq!((headers.cseq().number, headers.cseq().method), (9, Method::Invite));
    let vias: Vec<_> = headers.vias().map(|v| (v.transport(), v.host_str(), v.branch())).collect();
    assert_eq!(
        vias,
        [
            (Transport::Udp, "192.0.2.2", Some("390skd")),
            (Transport::Tcp, "spindle.example.com", Some("z9hG4bK9ik")),
            (Transport::Udp, "192.168.255.111", Some("z9hG4bK302")),
        ]
    );
    assert_eq!(headers.top_via().rfc3261_branch(), None);
    assert_eq!(headers.get(Name::Subject), Some(""));
    assert_eq!(headers.get_other("newfangled").next(), Some("one two"));
    let contact = headers.contacts().next().unwrap();
    assert_eq!(contact.display_name().unwrap(), "Quoted \"\"");
    assert_eq!(
        (contact.q(), contact.param("newparam"), contact.param("second")),
        (Some(330), Some("newvalue"), Some(""))
    );
    let route = headers.routes().next().unwrap();
    assert!(route.uri().is_loose_route());
    assert_eq!(route.uri().param("with"), Some("value"));
    assert_eq!(&invite.body()[..], b"v=0\r");
}

#[test]
fn rfc_4475_3_1_1_2_is_understood() {
    let odd = request(INTMETH);
    assert_eq!(odd.method().as_str(), "!Odd-Method0123456789_*+`.%indeed'~");
    assert_eq!(odd.uri().user(), Some("1_un.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(odd.uri().password(), Some("&it+has=1,weird!*pas$wo~d.(doesn't-it)"));
    assert_eq!(odd.headers().to().display_name().unwrap(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    assert_eq!(odd.headers().from().display_name().unwrap(), "token1~` token2'+_ token3*%!.-");
    assert_eq!(odd.headers().from().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(odd.headers().max_forwards(), Some(255));
}

#[test]
fn what_follows_the_body_is_no_part_of_the_message() {
    let two = "OPTIONS sip:a@x.com SIP/2.0\n{ordinary}\nCSeq: 1 OPTIONS\nl: 2\n\nabBYE sip:a@x.com SIP/2.0\n";
    let first = request(two);
    assert_eq!(&first.body()[..], b"ab");
    assert!(first.as_bytes().ends_with(b"\r\n\r\nab"));
}

#[test]
fn unknown_schemes_are_valid_and_opaque() {
    let options =
        request("OPTIONS nobodyKnows:total SIP/2.0\n{ordinary}\nCSeq: 3 OPTIONS\nl: 0\n\n");
    assert_eq!(
        (options.uri().scheme(), options.uri().scheme_str()),
        (Scheme::Other, "nobodyKnows")
    );
    assert_eq!(options.uri().host(), None);
}
