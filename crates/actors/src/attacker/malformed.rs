//! Messages that break a rule, say two things at once, or carry what was meant for another program.
//!
//! Each case spoils a sound request. A name says what is wrong, so that a report can be read.

/// One way to spoil a message.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub(super) spoil: fn(&str) -> Vec<u8>,
}

/// One way to hide `inner` in `outer`, so that it is a message for one reader and none for another.
#[derive(Clone, Copy, Debug)]
pub struct Hiding {
    pub name: &'static str,
    pub(super) hide: fn(outer: &str, inner: &str) -> Vec<u8>,
}

/// Spoilt INVITEs (`CSeq: 1 INVITE`).
pub const CASES: &[Case] = &[
    Case { name: "no Via", spoil: |text| without(text, "Via") },
    Case { name: "no From", spoil: |text| without(text, "From") },
    Case { name: "no Call-ID", spoil: |text| without(text, "Call-ID") },
    Case { name: "no CSeq", spoil: |text| without(text, "CSeq") },
    Case { name: "two From", spoil: |text| with(text, "From: <sip:other@example.com>;tag=2") },
    Case { name: "two Call-ID", spoil: |text| with(text, "i: another") },
    Case { name: "two CSeq", spoil: |text| with(text, "CSeq: 2 INVITE") },
    Case { name: "CSeq of another method", spoil: |text| swap(text, "1 INVITE", "1 BYE") },
    Case { name: "CSeq beyond 32 bits", spoil: |text| swap(text, "1 INVITE", "4294967297 INVITE") },
    Case { name: "negative CSeq", spoil: |text| swap(text, "1 INVITE", "-1 INVITE") },
    Case { name: "Max-Forwards of 999", spoil: |text| swap(text, "wards: 70", "wards: 999") },
    Case { name: "Max-Forwards used up", spoil: |text| swap(text, "wards: 70", "wards: 0") },
    Case { name: "another version", spoil: |text| swap(text, "SIP/2.0\r\n", "SIP/7.0\r\n") },
    Case { name: "NUL in a header", spoil: |text| with(text, "Subject: a\0b") },
    Case { name: "escape sequence", spoil: |text| with(text, "Subject: \x1b]0;owned\x07") },
    Case { name: "0xFF in a header", spoil: |text| raw(text, b"Subject: \xff\xfe\r\n") },
    Case { name: "overlong UTF-8", spoil: |text| raw(text, b"Subject: \xc0\x8a\r\n") },
    Case { name: "lines that end in LF", spoil: |text| text.replace("\r\n", "\n").into() },
    Case { name: "lines that end in CR", spoil: |text| text.replace("\r\n", "\r").into() },
    Case { name: "a fold before the colon", spoil: |text| with(text, "Subject\r\n : x") },
    Case { name: "a first line that is folded", spoil: |text| format!(" {text}").into() },
    Case { name: "an open quote", spoil: |text| swap(text, "From: ", "From: \"x ") },
    Case { name: "an open bracket", spoil: |text| swap(text, ">;tag", ";tag") },
    Case { name: "a hundred and fifty headers", spoil: |text| raw(text, &b"X: y\r\n".repeat(150)) },
    Case { name: "a hundred and fifty Vias", spoil: |text| raw(text, &VIA.repeat(150)) },
    Case {
        name: "a header of 60 KB",
        spoil: |text| with(text, &format!("X: {}", "y".repeat(60_000))),
    },
    Case {
        name: "headers in the Request-URI",
        spoil: |text| swap(text, " SIP/2.0", "?X=y SIP/2.0"),
    },
    Case {
        name: "line ends in the Request-URI",
        spoil: |text| swap(text, "sip:", "sip:%0d%0aX:y@"),
    },
    Case {
        name: "a query in the user",
        spoil: |text| swap(text, "<sip:", "<sip:1'%20OR%20'1'='1@x;y="),
    },
    Case {
        name: "a query in the name",
        spoil: |text| swap(text, "From: ", "From: \"'; DROP TABLE calls;--\" "),
    },
    Case {
        name: "a script in the agent",
        spoil: |text| swap(text, "Agent: ", "Agent: <script>alert(1)</script>"),
    },
    Case {
        name: "a format in the agent",
        spoil: |text| swap(text, "Agent: ", "Agent: %s%s%n${jndi:ldap://x}"),
    },
    Case {
        name: "a path in the user",
        spoil: |text| swap(text, "<sip:", "<sip:..%2f..%2fetc%2fpasswd%00@x;y="),
    },
    Case {
        name: "a formula in the name",
        spoil: |text| swap(text, "From: ", "From: \"=cmd|' /C calc'!A0\" "),
    },
    Case {
        name: "another host",
        spoil: |text| swap(text, "INVITE sip:", "INVITE sip:1900@relay.example;x="),
    },
    Case { name: "a route elsewhere", spoil: |text| with(text, "Route: <sip:relay.example;lr>") },
    Case {
        name: "an asserted identity",
        spoil: |text| with(text, "P-Asserted-Identity: <sip:admin@localhost>"),
    },
    Case {
        name: "a call that doesn't exist",
        spoil: |text| swap(text, "\r\nCall-ID", ";tag=nobody\r\nCall-ID"),
    },
    Case {
        name: "a call to replace",
        spoil: |text| with(text, "Replaces: x@y;to-tag=1;from-tag=2"),
    },
    Case {
        name: "an extension that must be known",
        spoil: |text| with(text, "Require: nothing-at-all"),
    },
    Case { name: "a body that is no SDP", spoil: |text| swap(text, "v=0\r\n", "v=1\r\n") },
    Case { name: "a body shorter than it says", spoil: |text| text[..text.len() - 40].into() },
    Case { name: "an answer to nothing", spoil: |text| answer(text) },
    Case { name: "an unknown method", spoil: |text| text.replace("INVITE", "JUMP").into() },
    Case {
        name: "a method of 300 letters",
        spoil: |text| text.replace("INVITE", &"J".repeat(300)).into(),
    },
    Case { name: "HTTP", spoil: |_| b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec() },
    Case { name: "a TLS greeting", spoil: |_| b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03".repeat(8) },
];

/// A request (OPTIONS) with an INVITE behind or in it.
pub const HIDINGS: &[Hiding] = &[
    Hiding { name: "the body", hide: |outer, inner| framed(outer, inner, length) },
    Hiding {
        name: "two lengths, none first",
        hide: |outer, inner| framed(outer, inner, |len| length("0") + &length(len)),
    },
    Hiding {
        name: "two lengths, none last",
        hide: |outer, inner| framed(outer, inner, |len| length(len) + &length("0")),
    },
    Hiding {
        name: "a long and a short name",
        hide: |outer, inner| framed(outer, inner, |len| length("0") + &format!("l: {len}\r\n")),
    },
    Hiding {
        name: "a space before the colon",
        hide: |outer, inner| {
            framed(outer, inner, |len| format!("Content-Length : 0\r\nl: {len}\r\n"))
        },
    },
    Hiding {
        name: "a folded length",
        hide: |outer, inner| framed(outer, inner, |len| format!("Content-Length:\r\n {len}\r\n")),
    },
    Hiding {
        name: "a length continued by a fold",
        hide: |outer, inner| framed(outer, inner, |_| "Content-Length: 0\r\n 0\r\n".into()),
    },
    Hiding {
        name: "a list of lengths",
        hide: |outer, inner| framed(outer, inner, |len| length(&format!("0, {len}"))),
    },
    Hiding {
        name: "a signed length",
        hide: |outer, inner| framed(outer, inner, |len| length(&format!("+{len}"))),
    },
    Hiding {
        name: "a negative length",
        hide: |outer, inner| framed(outer, inner, |_| length("-1")),
    },
    Hiding {
        name: "a length in hex",
        hide: |outer, inner| framed(outer, inner, |_| length("0x0")),
    },
    Hiding {
        name: "a length beyond 32 bits",
        hide: |outer, inner| framed(outer, inner, |_| length("4294967296")),
    },
    Hiding { name: "no length", hide: |outer, inner| framed(outer, inner, |_| String::new()) },
    Hiding {
        name: "a name with a NUL",
        hide: |outer, inner| {
            framed(outer, inner, |len| format!("Content-Length\0: 0\r\n{}", length(len)))
        },
    },
    Hiding {
        name: "an empty line that ends in LF",
        hide: |outer, inner| {
            let head = outer.trim_end().replace("Content-Length: 0", "");
            format!("{}\n\n{inner}", head.trim_end()).into()
        },
    },
    Hiding {
        name: "a line of blanks",
        hide: |outer, inner| {
            framed(outer, inner, |len| format!("X: y\r\n  \r\nZ: y\r\n{}", length(len)))
        },
    },
];

const VIA: &[u8] = b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n";

fn length(len: &str) -> String {
    format!("Content-Length: {len}\r\n")
}

/// `outer` with other length lines, and `inner` behind its empty line.
fn framed(outer: &str, inner: &str, lines: impl Fn(&str) -> String) -> Vec<u8> {
    let lines = lines(&inner.len().to_string());
    (outer.replace("Content-Length: 0\r\n", &lines) + inner).into()
}

fn without(text: &str, name: &str) -> Vec<u8> {
    let kept = text.split_inclusive("\r\n").filter(|line| !line.starts_with(name));
    kept.collect::<String>().into()
}

/// With one more header line, before all others.
fn with(text: &str, line: &str) -> Vec<u8> {
    raw(text, format!("{line}\r\n").as_bytes())
}

fn raw(text: &str, lines: &[u8]) -> Vec<u8> {
    let at = text.find("\r\n").map_or(text.len(), |at| at + 2);
    [&text.as_bytes()[..at], lines, &text.as_bytes()[at..]].concat()
}

fn swap(text: &str, old: &str, new: &str) -> Vec<u8> {
    text.replacen(old, new, 1).into()
}

fn answer(text: &str) -> Vec<u8> {
    let at = text.find("\r\n").unwrap_or(0);
    [b"SIP/2.0 200 OK", &text.as_bytes()[at..]].concat()
}
