//! Our judgement beside that of `sipx-sip`, and why they differ where they do.
//!
//! The peer frames a message, validates it and reads each header that we judge, with its own typed
//! readers. What it then says is compared with what we say: whether the message is sound, and if both
//! say so, each key field. [`disagreement`] names a difference that the tables below don't explain.
//!
//! Used by `tests/differential.rs` and by the fuzz target `differential`.

#![allow(dead_code, reason = "each user needs a part")]

use bytes::Bytes;
use sip::{Host, Message, Rport, Scheme, Uri, Violation};
use sipx_sip::headers::{
    Address, CSeq, CallId, ContactValue, ContentType, Date, Expires, From, MaxForwards,
    RecordRoute, Route, To, Via,
};
use sipx_sip::message::Version;
use sipx_sip::{Limits, TypedHeader, parse_datagram, validate};

/// Why one side refuses what the other takes.
pub(crate) struct Reason {
    /// What the refusing side calls it: our [`Violation`], or the peer's error without its numbers.
    pub(crate) fault: &'static str,
    pub(crate) why: &'static str,
    /// A row that shows it, in place of its like in an ordinary request.
    pub(crate) example: &'static str,
}

/// Why both take a message and read a field differently.
pub(crate) struct Reading {
    pub(crate) field: &'static str,
    pub(crate) why: &'static str,
    /// True where the reason explains the two texts.
    pub(crate) explains: fn(&str, &str) -> bool,
    pub(crate) example: &'static str,
}

/// What the fields are called, and what each side reads in them.
pub(crate) type Fields = Vec<(&'static str, String)>;

/// An unexplained difference.
pub(crate) fn disagreement(bytes: &Bytes) -> Option<String> {
    let (ours, theirs) = (ours(bytes), theirs(bytes));
    match (&ours, &theirs) {
        (Err(_), Err(_)) => None,
        (Err(fault), Ok(_)) => {
            let name = format!("{fault:?}");
            let explained = WE_REFUSE.iter().any(|reason| reason.fault == name);
            (!explained).then(|| format!("we refuse for {name}, the peer takes it"))
        }
        (Ok(_), Err(fault)) => {
            let explained = THEY_REFUSE.iter().any(|reason| reason.fault == fault);
            (!explained).then(|| format!("the peer refuses for {fault}, we take it"))
        }
        (Ok(ours), Ok(theirs)) => {
            let explained = |ours: &(&str, String), theirs: &(&str, String)| {
                READ_DIFFERENTLY.iter().any(|reading| {
                    ours.0 == reading.field
                        && theirs.0 == reading.field
                        && (reading.explains)(&ours.1, &theirs.1)
                })
            };
            let mut pairs = ours.iter().zip(theirs);
            let differs = pairs.find(|(ours, theirs)| ours != theirs && !explained(ours, theirs));
            match differs {
                Some((ours, theirs)) => Some(format!("{ours:?} is for the peer {theirs:?}")),
                None if ours.len() != theirs.len() => Some("one reads more than the other".into()),
                None => None,
            }
        }
    }
}

/// What the one side calls the fault that the other doesn't see.
pub(crate) fn refusal(bytes: &Bytes) -> Option<String> {
    match (ours(bytes), theirs(bytes)) {
        (Err(fault), Ok(_)) => Some(format!("{fault:?}")),
        (Ok(_), Err(fault)) => Some(fault),
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => None,
    }
}

/// The fields that both take and read differently.
pub(crate) fn read_differently(bytes: &Bytes) -> Vec<&'static str> {
    match (ours(bytes), theirs(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            let pairs = ours.into_iter().zip(theirs);
            pairs.filter(|(ours, theirs)| ours != theirs).map(|(ours, _)| ours.0).collect()
        }
        _ => Vec::new(),
    }
}

/// What we read.
pub(crate) fn ours(bytes: &Bytes) -> Result<Fields, Violation> {
    let message = Message::parse(bytes.clone())?;
    let headers = message.headers();
    let mut fields = Fields::new();
    match &message {
        Message::Request(request) => {
            fields.push(("method", request.method().to_string()));
            our_uri(&mut fields, request.uri());
        }
        Message::Response(response) => {
            fields.push(("status", response.status().to_string()));
            fields.push(("reason", response.reason().to_owned()));
        }
    }
    for via in headers.vias() {
        fields.push(("transport", via.transport_str().to_owned()));
        fields.push(("sent-by", our_host(Some(via.host()))));
        fields.push(("sent-by port", format!("{:?}", via.port())));
        fields.push(("branch", via.branch().unwrap_or_default().to_owned()));
        fields.push(("received", via.param("received").unwrap_or_default().to_owned()));
        let rport = match via.rport() {
            Rport::Absent => String::new(),
            Rport::Empty => "asked".to_owned(),
            Rport::Port(port) => port.to_string(),
        };
        fields.push(("rport", rport));
    }
    for (name, address) in [("From", headers.from()), ("To", headers.to())] {
        fields.push((name, address.tag().unwrap_or_default().to_owned()));
        our_uri(&mut fields, address.uri());
        fields.push(("display name", address.display_name().unwrap_or_default().into_owned()));
    }
    fields.push(("Call-ID", headers.call_id().to_owned()));
    fields.push(("CSeq", headers.cseq().to_string()));
    fields.push(("Max-Forwards", format!("{:?}", headers.max_forwards())));
    fields.push(("Expires", format!("{:?}", headers.expires())));
    if headers.is_star_contact() {
        fields.push(("Contact", "*".to_owned()));
    }
    for (name, addresses) in [
        ("Contact", headers.contacts().collect::<Vec<_>>()),
        ("Route", headers.routes().collect()),
        ("Record-Route", headers.record_routes().collect()),
    ] {
        for address in addresses {
            fields.push((name, address.display_name().unwrap_or_default().into_owned()));
            our_uri(&mut fields, address.uri());
        }
    }
    fields.push(("body", format!("{:?}", message.body())));
    Ok(fields)
}

fn our_uri(fields: &mut Fields, uri: Uri<'_>) {
    let scheme = uri.scheme_str().to_ascii_lowercase();
    let plain = matches!(uri.scheme(), Scheme::Sip | Scheme::Sips);
    fields.push(("scheme", scheme));
    fields.push(("user", uri.user().filter(|_| plain).unwrap_or_default().to_owned()));
    fields.push(("host", our_host(uri.host())));
    fields.push(("port", format!("{:?}", uri.port())));
    fields.push(("lr", format!("{}", plain && uri.is_loose_route())));
}

fn our_host(host: Option<Host<'_>>) -> String {
    host.map(|host| host.to_string().to_ascii_lowercase()).unwrap_or_default()
}

fn theirs(bytes: &Bytes) -> Result<Fields, String> {
    let message = parse_datagram(bytes.clone(), &limits()).map_err(|e| named(&e))?;
    if let Some(finding) = validate(&message).iter().find(|f| !f.is_repairable()) {
        return Err(named(finding));
    }
    let headers = message.headers();
    let mut fields = Fields::new();
    match &message {
        sipx_sip::Message::Request(request) => {
            fields.push(("method", text(request.method.as_bytes())));
            their_uri(&mut fields, &request.uri);
            if request.version != Version::Sip20 {
                return Err("Version".to_owned());
            }
        }
        sipx_sip::Message::Response(response) => {
            fields.push(("status", response.status.code().to_string()));
            fields.push(("reason", text(&response.reason)));
        }
    }
    for via in all::<Via>(headers)? {
        fields.push(("transport", text(&via.transport)));
        fields.push(("sent-by", their_host(&via.host)));
        fields.push(("sent-by port", format!("{:?}", via.port)));
        fields.push(("branch", text(via.branch().unwrap_or_default())));
        fields.push(("received", text(via.received().unwrap_or_default())));
        let rport = match via.rport() {
            None => String::new(),
            Some(None) => "asked".to_owned(),
            Some(Some(port)) => number(port),
        };
        fields.push(("rport", rport));
    }
    let from = one::<From>(headers)?.ok_or("no From")?.0;
    let to = one::<To>(headers)?.ok_or("no To")?.0;
    for (name, address) in [("From", from), ("To", to)] {
        fields.push((name, text(address.tag().unwrap_or_default())));
        their_uri(&mut fields, &address.uri);
        fields.push(("display name", text(&address.display_name.unwrap_or_default())));
    }
    fields.push(("Call-ID", text(&one::<CallId>(headers)?.ok_or("no Call-ID")?.0)));
    let cseq = one::<CSeq>(headers)?.ok_or("no CSeq")?;
    fields.push(("CSeq", format!("{} {}", cseq.sequence, text(cseq.method.as_bytes()))));
    fields.push(("Max-Forwards", format!("{:?}", one::<MaxForwards>(headers)?.map(|m| m.0))));
    fields.push(("Expires", format!("{:?}", one::<Expires>(headers)?.map(|e| e.0))));
    for contact in all::<ContactValue>(headers)? {
        match contact {
            ContactValue::Wildcard => fields.push(("Contact", "*".to_owned())),
            ContactValue::Address(address) => their_address(&mut fields, "Contact", address),
        }
    }
    for route in all::<Route>(headers)? {
        their_address(&mut fields, "Route", route.0);
    }
    for route in all::<RecordRoute>(headers)? {
        their_address(&mut fields, "Record-Route", route.0);
    }
    one::<ContentType>(headers)?;
    // Release 1.0.1 overflows on a date whose numbers are none.
    let digits = |date: &[u8]| {
        let at = [5, 6, 17, 18, 20, 21, 23, 24];
        at.iter().all(|&at| date.get(at).is_some_and(u8::is_ascii_digit))
    };
    if headers.value(&Date::NAME).is_some_and(|date| !digits(&date)) {
        return Err(r#"Syntax { header: "Date" }"#.to_owned());
    }
    one::<Date>(headers)?;
    fields.push(("body", format!("{:?}", message.body())));
    Ok(fields)
}

/// As ours, where the peer lets its reader choose.
fn limits() -> Limits {
    Limits {
        max_message_bytes: sip::MESSAGE_MAX,
        max_body_bytes: sip::MESSAGE_MAX,
        max_headers: sip::HEADERS_MAX,
        max_header_bytes: sip::MESSAGE_MAX,
        max_folding_lines: usize::MAX,
    }
}

fn all<H: TypedHeader>(headers: &sipx_sip::Headers) -> Result<Vec<H>, String> {
    headers.typed_all::<H>().collect::<Result<_, _>>().map_err(|e| named(&e))
}

/// The one value of a header that may stand once.
fn one<H: TypedHeader>(headers: &sipx_sip::Headers) -> Result<Option<H>, String> {
    let mut values = all::<H>(headers)?;
    if headers.count(&H::NAME) > 1 {
        return Err(format!("repeated {}", H::NAME));
    }
    Ok(values.pop())
}

fn their_address(fields: &mut Fields, name: &'static str, address: Address) {
    fields.push((name, text(&address.display_name.unwrap_or_default())));
    their_uri(fields, &address.uri);
}

fn their_uri(fields: &mut Fields, uri: &sipx_sip::Uri) {
    let plain = uri.scheme().is_sip();
    fields.push(("scheme", text(uri.scheme().as_bytes()).to_ascii_lowercase()));
    fields.push(("user", text(uri.user().filter(|_| plain).unwrap_or_default())));
    fields.push(("host", uri.host().map(their_host).unwrap_or_default()));
    fields.push(("port", format!("{:?}", uri.port())));
    let lr = plain && uri.params().is_some_and(|params| params.contains("lr"));
    fields.push(("lr", lr.to_string()));
}

fn their_host(host: &sipx_sip::Host) -> String {
    let host = text(&host.to_bytes()).to_ascii_lowercase();
    if host.contains(':') { format!("[{host}]") } else { host }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: &[u8]) -> String {
    text(bytes).parse::<u64>().map_or_else(|_| "none".to_owned(), |number| number.to_string())
}

/// An error by its name, without the numbers in it.
fn named(error: &impl std::fmt::Debug) -> String {
    let mut name = format!("{error:?}");
    name.retain(|c| !c.is_ascii_digit());
    name
}

/// What we refuse and `sipx-sip` 1.0.1 takes. It reads headers when asked, and more widely.
pub(crate) const WE_REFUSE: &[Reason] = &[
    Reason {
        fault: "CallId",
        why: "RFC 3261 §20.8, §25.1: word [ \"@\" word ]. The peer takes any bytes, and two elements \
              would not agree on what a dialog is called",
        example: "Call-ID: a b@example.com",
    },
    Reason {
        fault: "ControlCharacter",
        why: "RFC 3261 §25.1: no TEXT holds a control; a NUL ends the text for some. The peer looks only \
              for line ends",
        example: "Subject: a\0b",
    },
    Reason {
        fault: "MethodTooLong",
        why: "a bound of ours (`METHOD_MAX`, docs/limits.md), so that a method is a small value. The peer has none",
        example: "SIP/2.0 200 OK\nCSeq: 1 NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN",
    },
    Reason {
        fault: "NotUtf8",
        why: "RFC 3261 §7, §25.1: TEXT-UTF8. The peer keeps bytes",
        example: "Subject: \u{fffd}",
    },
    Reason {
        fault: "Fold",
        why: "§7.3.1: a continuation of nothing but blanks reads as the end of the headers to some; one \
              that begins behind a backslash or before the colon to others as another header",
        example: "Subject: a\n \n b",
    },
    Reason {
        fault: "Host",
        why: "§25.1: hostname, IPv4address, IPv6reference. The peer takes labels that end in a hyphen, top \
              labels of digits, numbers above 255 and three colons (RFC 5118 §4.10 lets it)",
        example: "Contact: <sip:a@[2001:db8:::192.0.2.1]>",
    },
    Reason {
        fault: "NameAddr",
        why: "§20.10: an address with a comma or question mark stands in brackets; Route and Record-Route \
              always do (§20.30, §20.34)",
        example: "To: sip:a,b@example.com",
    },
    Reason {
        fault: "Param",
        why: "§25.1: a tag is a token, a parameter's value a token, a host or quoted. The peer takes a slash, \
              and a tag of any kind",
        example: "From: <sip:a@example.com>;tag=x/y",
    },
    Reason {
        fault: "Port",
        why: "§19.1.1: nobody listens at port 0",
        example: "Contact: <sip:a@example.com:0>",
    },
    Reason {
        fault: "Quote",
        why: "§25.1 quoted-pair: only ASCII is escaped",
        example: "Contact: \"\\\u{430}\" <sip:a@example.com>",
    },
    Reason {
        fault: "RepeatedParam",
        why: "§7.3.1: no parameter name stands twice: one element would take the first, another the last",
        example: "Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKa;branch=z9hG4bKb",
    },
    Reason {
        fault: "StarContact",
        why: "§10.2.2: the star is the only Contact. The peer looks at each row by itself",
        example: "Contact: *\nContact: *",
    },
    Reason {
        fault: "StartLine",
        why: "§7.2: a space stands before the reason phrase, though that is empty",
        example: "SIP/2.0 100",
    },
    Reason {
        fault: "UriParam",
        why: "§19.1.1, §25.1: parameters and headers of a URI have names, values where there is a sign, and \
              escapes where they must. The peer keeps what it finds",
        example: "Contact: <sip:a@example.com;b=>",
    },
    Reason {
        fault: "UriScheme",
        why: "RFC 3986 §3.1: a scheme begins with a letter; what is opaque has no bare backslash",
        example: "Contact: <0sip:a@example.com>",
    },
    Reason {
        fault: "UriUser",
        why: "§25.1: a password has no bare colon, semicolon, slash or question mark",
        example: "Contact: <sip:a:b:c@example.com>",
    },
    Reason {
        fault: "Via",
        why: "§20.42, §25.1: branch is a token, received an address, rport a number, the protocol SIP. The \
              peer reads any text there, and an answer would go where that says",
        example: "Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKa;received=nowhere",
    },
    Reason {
        fault: "Date",
        why: "§20.17: the day of the week is that of the date, and no clock of ours shows a year before 1970",
        example: "Date: Sun, 13 Nov 2010 23:29:00 GMT",
    },
];

/// What `sipx-sip` 1.0.1 refuses and we take.
pub(crate) const THEY_REFUSE: &[Reason] = &[
    Reason {
        fault: r#"MalformedRequiredHeader("Via")"#,
        why: "§25.1: sent-by = host [ COLON port ], and COLON may have blanks on both sides",
        example: "Via: SIP/2.0/UDP h.example.com : 5060;branch=z9hG4bKa",
    },
    Reason {
        fault: r#"Uri { header: "Via", source: Port }"#,
        why: "the same in a Via below the top",
        example: "Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKa, SIP/2.0/UDP h.example.com : 5060",
    },
    Reason {
        fault: r#"Uri { header: "Via", source: Host }"#,
        why: "the same with the blank before the colon alone",
        example: "Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKa, SIP/2.0/UDP h.example.com :5060",
    },
    Reason {
        fault: r#"OutOfRange { header: "Expires" }"#,
        why: "RFC 4475 §3.1.2.4: a time beyond 2^32-1 s only says \"long\", so we read 2^32-1",
        example: "Expires: 4294967296",
    },
    Reason {
        fault: "StartLine(Uri(Port))",
        why: "§25.1: port = 1*DIGIT, leading zeros and all",
        example: "INVITE sip:b@example.com:005070 SIP/2.0",
    },
    Reason {
        fault: r#"Syntax { header: "Contact" }"#,
        why: "§25.1: a user may hold a bare parenthesis (mark). The peer takes it for a comment",
        example: "Contact: <sip:1(01@example.com>, <sip:b@example.com>",
    },
    Reason {
        fault: r#"Syntax { header: "Date" }"#,
        why: "§25.1: a fold is one space, also in a date. The peer leaves the blank that stood before it",
        example: "Date: Sat, 13 Nov 2010 \n 23:29:00 GMT",
    },
];

/// What both take and read differently.
pub(crate) const READ_DIFFERENTLY: &[Reading] = &[
    Reading {
        field: "display name",
        why: FOLD,
        explains: but_for_blanks,
        example: "To: \"a \n b\" <sip:b@example.com>",
    },
    Reading {
        field: "Contact",
        why: FOLD,
        explains: but_for_blanks,
        example: "Contact: \"a \n b\" <sip:b@example.com>",
    },
    Reading {
        field: "Route",
        why: FOLD,
        explains: but_for_blanks,
        example: "Route: \"a \n b\" <sip:b@example.com;lr>",
    },
    Reading {
        field: "Record-Route",
        why: FOLD,
        explains: but_for_blanks,
        example: "Record-Route: \"a \n b\" <sip:b@example.com;lr>",
    },
];

const FOLD: &str = "§25.1 LWS: blanks, a line end and blanks are one space. The peer leaves the blanks before the line end";

fn but_for_blanks(ours: &str, theirs: &str) -> bool {
    ours.split_whitespace().eq(theirs.split_whitespace())
}
