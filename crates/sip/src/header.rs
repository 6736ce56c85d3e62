//! Typed header values: what a Via, an address or a CSeq says, judged once and read without allocation.
//!
//! Views borrow the header's text and carry the offsets found when it was judged. What is not part of
//! every message is typed when asked for, and then absent, malformed and repeated are three answers
//! ([`Field`]).

use crate::ascii;
pub use crate::name::Name;
use crate::uri::{HostKind, Span, UriParts, host_prefix, port_prefix};
use crate::{Host, Method, PARAMS_MAX, Uri, UriBuf, Violation};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// The answer to a question about a header that is typed on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<T> {
    Absent,
    Present(T),
    Malformed(Violation),
    /// It stands more than once although it may stand once.
    Repeated,
}

impl<T> Field<T> {
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Malformed(_) | Self::Repeated => None,
        }
    }

    /// Absent is fine, the other two are violations.
    ///
    /// # Errors
    /// The violation of a malformed header, or [`Violation::Repeated`].
    pub fn optional(self) -> Result<Option<T>, Violation> {
        match self {
            Self::Absent => Ok(None),
            Self::Present(value) => Ok(Some(value)),
            Self::Malformed(violation) => Err(violation),
            Self::Repeated => Err(Violation::Repeated),
        }
    }

    pub(crate) fn and_then<U>(self, f: impl FnOnce(T) -> Result<U, Violation>) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Present(value) => match f(value) {
                Ok(value) => Field::Present(value),
                Err(violation) => Field::Malformed(violation),
            },
            Self::Malformed(violation) => Field::Malformed(violation),
            Self::Repeated => Field::Repeated,
        }
    }
}

/// CSeq: a number below 2^31 and a method (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

/// The bound of RFC 3261 §8.1.1.5.
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Sctp,
    Ws,
    Wss,
    /// A token we do not speak.
    Other,
}

/// One Via value (RFC 3261 §20.42).
#[derive(Clone, Copy)]
pub struct Via<'a> {
    text: &'a str,
    parts: ViaParts,
}

/// What a Via says about `rport` (RFC 3581 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    Absent,
    /// The sender asks to be answered where it sent from.
    Empty,
    Port(u16),
}

/// An address with an optional display name and parameters (RFC 3261 §20.10).
#[derive(Clone, Copy)]
pub struct NameAddr<'a> {
    text: &'a str,
    parts: NameAddrParts,
}

/// A judged address, owned.
#[derive(Clone)]
pub struct NameAddrBuf {
    text: Box<str>,
    parts: NameAddrParts,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ViaParts {
    transport: Transport,
    transport_text: Span,
    host: HostKind,
    host_text: Span,
    port: Option<u16>,
    params: Span,
    branch: Span,
    received: Span,
    rport: Rport,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NameAddrParts {
    /// With its quotes, when quoted.
    display: Span,
    uri: UriParts,
    uri_text: Span,
    bracketed: bool,
    params: Span,
    tag: Span,
}

/// Header parameters: `*( SEMI generic-param )` (RFC 3261 §25.1), with the values as written.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    text: &'a str,
    at: usize,
}

impl CSeq {
    pub(crate) fn judge(value: &str) -> Result<Self, Violation> {
        let digits = value.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = value.split_at(digits);
        let number =
            ascii::number(number.as_bytes(), u64::from(CSEQ_MAX)).ok_or(Violation::CSeq)?;
        let method = rest.trim_start_matches([' ', '\t']);
        if method.len() == rest.len() || !ascii::is_token(method.as_bytes()) {
            return Err(Violation::CSeq);
        }
        Ok(Self { number: number as u32, method: Method::parse(method.as_bytes())? })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

impl Transport {
    /// Transports compare without case (RFC 3261 §7.3.1).
    pub fn from_token(token: &str) -> Self {
        match token.as_bytes() {
            t if t.eq_ignore_ascii_case(b"UDP") => Self::Udp,
            t if t.eq_ignore_ascii_case(b"TCP") => Self::Tcp,
            t if t.eq_ignore_ascii_case(b"TLS") => Self::Tls,
            t if t.eq_ignore_ascii_case(b"SCTP") => Self::Sctp,
            t if t.eq_ignore_ascii_case(b"WS") => Self::Ws,
            t if t.eq_ignore_ascii_case(b"WSS") => Self::Wss,
            _ => Self::Other,
        }
    }

    /// As a Via writes it. `Other` has no name of its own: it is never printed by us.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Sctp => "SCTP",
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Other => "",
        }
    }

    /// Requests are not retransmitted over a reliable transport (RFC 3261 §17.1.1.2).
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// RFC 3261 §19.1.2, RFC 7118 §5.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp | Self::Sctp | Self::Other => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a branch begins with when it identifies a transaction by itself (RFC 3261 §8.1.1.7).
pub const BRANCH_COOKIE: &str = "z9hG4bK";

impl<'a> Via<'a> {
    /// Judges one Via value.
    ///
    /// # Errors
    /// [`Violation::Via`] or the rule of the host, port or parameter that is broken.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Ok(Self { text, parts: ViaParts::judge(text)? })
    }

    pub(crate) fn from_parts(text: &'a str, parts: ViaParts) -> Self {
        Self { text, parts }
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    pub fn transport(&self) -> Transport {
        self.parts.transport
    }

    /// The transport as written.
    pub fn transport_str(&self) -> &'a str {
        self.parts.transport_text.of(self.text)
    }

    /// The host of sent-by.
    pub fn host(&self) -> Host<'a> {
        self.parts.host.with(self.host_str()).expect("a judged Via has a host")
    }

    /// The host of sent-by as written.
    pub fn host_str(&self) -> &'a str {
        self.parts.host_text.of(self.text)
    }

    /// The port of sent-by.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The port of sent-by, or the default of the transport (RFC 3261 §18.1.1).
    pub fn port_or_default(&self) -> u16 {
        self.parts.port.unwrap_or(self.parts.transport.default_port())
    }

    /// Never empty.
    pub fn branch(&self) -> Option<&'a str> {
        (!self.parts.branch.is_empty()).then(|| self.parts.branch.of(self.text))
    }

    /// The branch, if it carries the magic cookie: compare without case (RFC 3261 §17.2.3 with
    /// §7.3.1: tokens ignore case), and it is one transaction.
    pub fn rfc3261_branch(&self) -> Option<&'a str> {
        self.branch().filter(|b| {
            b.len() > BRANCH_COOKIE.len()
                && b.as_bytes()[..BRANCH_COOKIE.len()]
                    .eq_ignore_ascii_case(BRANCH_COOKIE.as_bytes())
        })
    }

    pub fn received(&self) -> Option<IpAddr> {
        (!self.parts.received.is_empty())
            .then(|| parse_received(self.parts.received.of(self.text)))
            .flatten()
    }

    pub fn rport(&self) -> Rport {
        self.parts.rport
    }

    /// RFC 5923 §5: the connection may be used for requests the other way.
    pub fn alias(&self) -> bool {
        self.param("alias").is_some()
    }

    /// RFC 6223 §4: keep-alives are offered (`Some("")`) or granted with a frequency.
    pub fn keep(&self) -> Option<&'a str> {
        self.param("keep")
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().get(name)
    }

    pub fn params(&self) -> Params<'a> {
        Params::new(self.parts.params.of(self.text))
    }
}

impl ViaParts {
    pub(crate) fn judge(text: &str) -> Result<Self, Violation> {
        let bytes = text.as_bytes();
        if bytes.len() > crate::MESSAGE_MAX {
            return Err(Violation::MessageTooLong);
        }
        let mut at = Cursor { bytes, at: 0 };
        // sent-protocol: "SIP" SLASH version SLASH transport, with space around each slash. Which
        // version is said by the start line; a Via may tell of another hop's.
        if !at.token().eq_ignore_ascii_case(b"SIP")
            || !at.slash()
            || at.token().is_empty()
            || !at.slash()
        {
            return Err(Violation::Via);
        }
        let start = at.at;
        let transport = at.token();
        if transport.is_empty() {
            return Err(Violation::Via);
        }
        let transport_text = Span::new(start, at.at);
        if at.spaces() == 0 {
            return Err(Violation::Via);
        }
        let start = at.at;
        let (host, len) = host_prefix(&text[start..])?;
        at.at += len;
        let host_text = Span::new(start, at.at);
        let before = at.at;
        at.spaces();
        let port = if at.eat(b':') {
            at.spaces();
            let (port, len) = port_prefix(&bytes[at.at..])?;
            at.at += len;
            Some(port)
        } else {
            at.at = before;
            None
        };
        let params = Span::new(at.at, bytes.len());
        let mut parts = Self {
            transport: Transport::from_token(transport_text.of(text)),
            transport_text,
            host,
            host_text,
            port,
            params,
            branch: Span::default(),
            received: Span::default(),
            rport: Rport::Absent,
        };
        let offset = at.at;
        judge_params(params.of(text), |name, value, span| {
            let span = span.behind(offset);
            match name.as_bytes() {
                n if n.eq_ignore_ascii_case(b"branch") => match value {
                    Some(v) if ascii::is_token(v.as_bytes()) => parts.branch = span,
                    _ => return Err(Violation::Via),
                },
                n if n.eq_ignore_ascii_case(b"received") => match value {
                    Some(v) if parse_received(v).is_some() => parts.received = span,
                    _ => return Err(Violation::Via),
                },
                n if n.eq_ignore_ascii_case(b"rport") => {
                    parts.rport = match value {
                        None => Rport::Empty,
                        Some(v) => match ascii::number(v.as_bytes(), 65_535) {
                            Some(0) | None => return Err(Violation::Via),
                            Some(port) => Rport::Port(port as u16),
                        },
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(parts)
    }
}

/// RFC 5118 §4.5: an IPv6 address in `received` comes with and without brackets.
fn parse_received(value: &str) -> Option<IpAddr> {
    match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => value.parse().ok(),
    }
}

impl<'a> NameAddr<'a> {
    /// Judges one address: `"name" <uri>;params`, `<uri>;params` or `uri;params`.
    ///
    /// # Errors
    /// [`Violation::NameAddr`], or the rule of the URI or parameter that is broken.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Ok(Self { text, parts: NameAddrParts::judge(text)? })
    }

    pub(crate) fn from_parts(text: &'a str, parts: NameAddrParts) -> Self {
        Self { text, parts }
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The display name without quotes and escapes; `None` when there is none or it is empty.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        let text = self.parts.display.of(self.text);
        let name = match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
            Some(quoted) => unquote(quoted),
            None => Cow::Borrowed(text),
        };
        (!name.is_empty()).then_some(name)
    }

    pub fn uri(&self) -> Uri<'a> {
        Uri::from_parts(self.parts.uri_text.of(self.text), self.parts.uri)
    }

    /// Never empty.
    pub fn tag(&self) -> Option<&'a str> {
        (!self.parts.tag.is_empty()).then(|| self.parts.tag.of(self.text))
    }

    /// A header parameter as written (quotes and all): `Some("")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().get(name)
    }

    /// A header parameter without quotes and escapes (`+sip.instance`).
    pub fn param_unquoted(&self, name: &str) -> Option<Cow<'a, str>> {
        self.param(name).map(unquoted)
    }

    pub fn params(&self) -> Params<'a> {
        Params::new(self.parts.params.of(self.text))
    }

    /// The `expires` parameter in seconds. Beyond 2^32-1 it is 2^32-1; a malformed one counts as
    /// 3600 (RFC 3261 §10.2.1.1, §20.10).
    pub fn expires(&self) -> Option<u32> {
        self.param("expires").map(|v| seconds(v).unwrap_or(3600))
    }

    /// `q` in thousandths: 0 to 1000 (RFC 3261 §20.10). A malformed one is no preference: `None`.
    pub fn q(&self) -> Option<u16> {
        self.param("q").and_then(thousandths)
    }

    /// The address without display name and parameters compares as its URI.
    pub fn to_buf(&self) -> NameAddrBuf {
        NameAddrBuf { text: self.text.into(), parts: self.parts }
    }
}

impl NameAddrBuf {
    /// Judges an owned address.
    ///
    /// # Errors
    /// As [`NameAddr::parse`].
    pub fn parse(text: impl Into<String>) -> Result<Self, Violation> {
        let text: String = text.into();
        let parts = NameAddrParts::judge(&text)?;
        Ok(Self { text: text.into(), parts })
    }

    /// `"display" <uri>`. The display name is quoted and escaped; controls in it are refused, since
    /// no peer shows them and some are misled by them.
    ///
    /// # Errors
    /// [`Violation::ControlCharacter`] for the display name, or what [`Uri::parse`] says.
    pub fn new(display: Option<&str>, uri: &str) -> Result<Self, Violation> {
        Uri::parse(uri)?;
        let mut text = String::with_capacity(uri.len() + display.map_or(0, str::len) + 6);
        if let Some(display) = display {
            text.push_str(&quote(display)?);
            text.push(' ');
        }
        text.push('<');
        text.push_str(uri);
        text.push('>');
        Self::parse(text)
    }

    /// Adds a parameter; a value that is no token is quoted.
    ///
    /// # Errors
    /// [`Violation::Param`] for a name that is no token, [`Violation::RepeatedParam`],
    /// [`Violation::ControlCharacter`], [`Violation::TooManyParams`].
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Result<Self, Violation> {
        if !ascii::is_token(name.as_bytes()) {
            return Err(Violation::Param);
        }
        let addr = self.as_name_addr();
        // Behind a bare URI a parameter would be read as its own all the same: brackets say whose.
        let mut text = if self.parts.bracketed {
            self.text.to_string()
        } else {
            format!("<{}>{}", addr.uri(), self.parts.params.of(&self.text))
        };
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            if ascii::is_token(value.as_bytes()) {
                text.push_str(value);
            } else {
                text.push_str(&quote(value)?);
            }
        }
        Self::parse(text)
    }

    /// The same with `tag` set in place of any there was.
    ///
    /// # Errors
    /// [`Violation::Param`] when the tag is no token.
    pub fn with_tag(&self, tag: &str) -> Result<Self, Violation> {
        if !ascii::is_token(tag.as_bytes()) {
            return Err(Violation::Param);
        }
        let addr = self.as_name_addr();
        let mut text = self.without_params();
        for (name, value) in addr.params().filter(|(n, _)| !n.eq_ignore_ascii_case("tag")) {
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        text.push_str(";tag=");
        text.push_str(tag);
        Self::parse(text)
    }

    fn without_params(&self) -> String {
        let display = self.parts.display.of(&self.text);
        let space = if display.is_empty() { "" } else { " " };
        format!("{display}{space}<{}>", self.as_name_addr().uri())
    }

    pub fn as_name_addr(&self) -> NameAddr<'_> {
        NameAddr { text: &self.text, parts: self.parts }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn uri(&self) -> Uri<'_> {
        Uri::from_parts(self.parts.uri_text.of(&self.text), self.parts.uri)
    }

    pub fn uri_buf(&self) -> UriBuf {
        self.uri().to_buf()
    }

    pub fn tag(&self) -> Option<&str> {
        (!self.parts.tag.is_empty()).then(|| self.parts.tag.of(&self.text))
    }
}

impl NameAddrParts {
    pub(crate) fn judge(text: &str) -> Result<Self, Violation> {
        let bytes = text.as_bytes();
        if bytes.len() > crate::MESSAGE_MAX {
            return Err(Violation::MessageTooLong);
        }
        let (display, bracket) = display_prefix(bytes)?;
        let (uri_text, bracketed, params_at) = match bracket {
            Some(open) => {
                let len = memchr::memchr(b'>', &bytes[open + 1..]).ok_or(Violation::NameAddr)?;
                (Span::new(open + 1, open + 1 + len), true, open + len + 2)
            }
            None => {
                // Without brackets, semicolons belong to the header (RFC 3261 §20.10), and a comma
                // or question mark would be ambiguous.
                let end = bytes
                    .iter()
                    .position(|&b| b == b';' || ascii::is_space(b))
                    .unwrap_or(bytes.len());
                if bytes[..end].iter().any(|&b| b == b',' || b == b'?') {
                    return Err(Violation::NameAddr);
                }
                (Span::new(0, end), false, end)
            }
        };
        let uri = UriParts::judge(uri_text.of(text))?;
        let params = Span::new(params_at, bytes.len());
        let mut tag = Span::default();
        judge_params(params.of(text), |name, value, span| {
            if name.eq_ignore_ascii_case("tag") {
                match value {
                    Some(v) if ascii::is_token(v.as_bytes()) => {
                        tag = span.behind(params_at);
                    }
                    _ => return Err(Violation::Param),
                }
            }
            Ok(())
        })?;
        Ok(Self { display, uri, uri_text, bracketed, params, tag })
    }

    pub(crate) fn is_bracketed(&self) -> bool {
        self.bracketed
    }
}

/// The display name before `<`, and where `<` is; no `<` means that a bare URI follows.
fn display_prefix(bytes: &[u8]) -> Result<(Span, Option<usize>), Violation> {
    if bytes.first() == Some(&b'"') {
        let end = quoted_end(bytes, 0)?;
        let open = end + ascii::spaces(&bytes[end..]);
        return match bytes.get(open) {
            Some(b'<') => Ok((Span::new(0, end), Some(open))),
            _ => Err(Violation::NameAddr),
        };
    }
    // *( token LWS ): the loop stops at the bracket or at what no token holds (a colon, of a URI).
    let words =
        bytes.iter().take_while(|&&b| ascii::is(b, ascii::TOKEN) || ascii::is_space(b)).count();
    if bytes.get(words) == Some(&b'<') {
        let name = ascii::trim(std::str::from_utf8(&bytes[..words]).expect("tokens are ASCII"));
        return Ok((Span::new(0, name.len()), Some(words)));
    }
    Ok((Span::default(), None))
}

/// The offset behind the quoted string that begins at `start`.
pub(crate) fn quoted_end(bytes: &[u8], start: usize) -> Result<usize, Violation> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..]).ok_or(Violation::Quote)?;
        if bytes[at] == b'"' {
            return Ok(at + 1);
        }
        // quoted-pair: only ASCII may be escaped (RFC 3261 §25.1).
        if !bytes.get(at + 1).is_some_and(u8::is_ascii) {
            return Err(Violation::Quote);
        }
        at += 2;
    }
}

/// Where a parameter stands in the text of its [`Params`].
struct ParamAt {
    name: Span,
    value: Option<Span>,
}

impl<'a> Params<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The value of a parameter as written; names compare without case.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.clone().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.unwrap_or(""))
    }

    /// Steps over one parameter. `Ok(None)` at the end.
    fn step(&mut self) -> Result<Option<ParamAt>, Violation> {
        let mut at = Cursor { bytes: self.text.as_bytes(), at: self.at };
        at.spaces();
        if at.at == at.bytes.len() {
            return Ok(None);
        }
        if !at.eat(b';') {
            return Err(Violation::Param);
        }
        at.spaces();
        let start = at.at;
        if at.token().is_empty() {
            return Err(Violation::Param);
        }
        let name = Span::new(start, at.at);
        let end = at.at;
        at.spaces();
        if !at.eat(b'=') {
            self.at = end;
            return Ok(Some(ParamAt { name, value: None }));
        }
        at.spaces();
        let start = at.at;
        if at.bytes.get(start) == Some(&b'"') {
            at.at = quoted_end(at.bytes, start)?;
        } else {
            // gen-value: a token or a host; a host in brackets or not brings `[`, `]` and `:`.
            let fits = |b: u8| ascii::is(b, ascii::TOKEN) || matches!(b, b'[' | b']' | b':');
            at.at += at.bytes[start..].iter().take_while(|&&b| fits(b)).count();
            if at.at == start {
                return Err(Violation::Param);
            }
        }
        self.at = at.at;
        Ok(Some(ParamAt { name, value: Some(Span::new(start, at.at)) }))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let param = self.step().ok().flatten()?;
        Some((param.name.of(self.text), param.value.map(|value| value.of(self.text))))
    }
}

/// Judges all parameters, each name once, and shows each to `see`: its name, its value, and where in
/// `text` the value stands.
pub(crate) fn judge_params<'a>(
    text: &'a str,
    mut see: impl FnMut(&'a str, Option<&'a str>, Span) -> Result<(), Violation>,
) -> Result<(), Violation> {
    if text.len() > crate::MESSAGE_MAX {
        return Err(Violation::MessageTooLong);
    }
    // Spans, since clearing them costs a quarter of clearing as many `&str`.
    let mut names = [Span::default(); PARAMS_MAX];
    let mut count = 0;
    let mut params = Params::new(text);
    while let Some(param) = params.step()? {
        if count == PARAMS_MAX {
            return Err(Violation::TooManyParams);
        }
        let name = param.name.of(text);
        if names[..count].iter().any(|n| n.of(text).eq_ignore_ascii_case(name)) {
            return Err(Violation::RepeatedParam);
        }
        names[count] = param.name;
        count += 1;
        let value = param.value.unwrap_or_default();
        see(name, param.value.map(|value| value.of(text)), value)?;
    }
    Ok(())
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn token(&mut self) -> &'a [u8] {
        let start = self.at;
        let len = self.bytes[start..].iter().take_while(|&&b| ascii::is(b, ascii::TOKEN)).count();
        self.at += len;
        &self.bytes[start..self.at]
    }

    fn spaces(&mut self) -> usize {
        let len = ascii::spaces(&self.bytes[self.at..]);
        self.at += len;
        len
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn slash(&mut self) -> bool {
        self.spaces();
        let found = self.eat(b'/');
        self.spaces();
        found
    }
}

/// The comma-separated values of one header row; commas in quotes and in brackets are not between
/// values. Values come trimmed; an empty one ends in the judge of its type.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: Option<&'a str>,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(row: &'a str) -> Self {
        Self { rest: Some(row) }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let bytes = rest.as_bytes();
        if memchr::memchr(b',', bytes).is_none() {
            self.rest = None;
            return Some(ascii::trim(rest));
        }
        let (mut at, mut quoted, mut bracketed) = (0, false, false);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'\\' if quoted => at += 1,
                b'"' if !bracketed => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                b',' if !quoted && !bracketed => {
                    self.rest = Some(&rest[at + 1..]);
                    return Some(ascii::trim(&rest[..at]));
                }
                _ => {}
            }
            at += 1;
        }
        self.rest = None;
        Some(ascii::trim(rest))
    }
}

/// Delta-seconds: a number beyond 2^32-1 is 2^32-1, since it only says "long".
pub(crate) fn seconds(value: &str) -> Option<u32> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(ascii::number(value.as_bytes(), u64::from(u32::MAX)).map_or(u32::MAX, |n| n as u32))
}

/// `qvalue` in thousandths (RFC 3261 §25.1).
fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction =
        fraction.bytes().chain(*b"000").take(3).fold(0, |n, b| n * 10 + u16::from(b - b'0'));
    match (whole, fraction) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Undoes quoted pairs.
fn unquote(quoted: &str) -> Cow<'_, str> {
    if !quoted.contains('\\') {
        return Cow::Borrowed(quoted);
    }
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(text)
}

/// A parameter value without its quotes, if it has any.
pub(crate) fn unquoted(value: &str) -> Cow<'_, str> {
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(quoted) => unquote(quoted),
        None => Cow::Borrowed(value),
    }
}

/// Quotes a text for a header.
///
/// # Errors
/// [`Violation::ControlCharacter`] for any control, line ends and NUL above all.
pub fn quote(text: &str) -> Result<String, Violation> {
    if text.chars().any(char::is_control) {
        return Err(Violation::ControlCharacter);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if c == '"' || c == '\\' {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Ok(quoted)
}

impl fmt::Debug for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Display for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for NameAddrBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for NameAddrBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
