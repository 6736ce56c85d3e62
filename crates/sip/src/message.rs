//! Messages: one buffer and an index of where each header stands.
//!
//! [`Message::parse`] judges the start line, the framing and the core headers (Via, From, To, Call-ID,
//! CSeq, Max-Forwards, Contact, Route, Record-Route, Content-Length, Content-Type, Expires, Date) in
//! one pass, so that their accessors cannot fail: the type's existence is the proof. What is
//! ambiguous is refused, since two readers who understand one message differently are a hole.
//! Folded lines are legal, so they are joined first; the joined bytes are then the message.

use crate::ascii;
use crate::header::{CSeq, Elements, Field, Name, NameAddr, NameAddrParts, Via, ViaParts, seconds};
use crate::uri::{Span, UriParts};
use crate::{Method, Status, Uri, Violation};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// The longest message: the most a datagram can carry, and it keeps offsets in 16 bits.
pub const MESSAGE_MAX: usize = 65_535;
/// The most header rows. Real messages have below forty; the longest of RFC 4475 has 48.
pub const HEADERS_MAX: usize = 128;
/// The most values of Via, Contact, Route or Record-Route in one message: Max-Forwards starts at 70.
pub const ELEMENTS_MAX: usize = 128;
/// The most parameters of one value. Comparing each with each for repetition stays cheap below it.
pub const PARAMS_MAX: usize = 32;

/// A judged SIP message.
#[derive(Clone, Debug)]
pub enum Message {
    Request(Request),
    Response(Response),
}

#[derive(Clone)]
pub struct Request {
    body: Bytes,
    headers: Headers,
    method: Method,
    uri_text: Span,
    uri: UriParts,
}

#[derive(Clone)]
pub struct Response {
    body: Bytes,
    headers: Headers,
    status: Status,
    reason: Span,
}

/// The headers of a message. Cloning shares the index.
#[derive(Clone)]
pub struct Headers {
    /// The whole message. What stands before the body was judged to be UTF-8.
    bytes: Bytes,
    index: Arc<Index>,
}

struct Index {
    rows: Vec<Row>,
    top_via: (Span, ViaParts),
    from: (Span, NameAddrParts),
    to: (Span, NameAddrParts),
    call_id: Span,
    cseq: CSeq,
    max_forwards: Option<u8>,
    expires: Option<u32>,
    content_type: Option<Span>,
    first_contact: Option<(Span, NameAddrParts)>,
    star_contact: bool,
}

#[derive(Clone, Copy)]
struct Row {
    name: Name,
    name_text: Span,
    value: Span,
}

/// A message that was refused, with the answer to send where there is one.
#[derive(Clone, Debug)]
pub struct Rejected {
    pub violation: Violation,
    /// A stateless answer, ready to go where the top Via and the source say (RFC 3261 §8.2.6.2,
    /// §18.2.2). `None` where the message is no request, is an ACK, or is too broken to answer.
    pub reply: Option<Response>,
}

impl Message {
    /// Judges a whole datagram or frame. Bytes behind Content-Length are dropped (RFC 3261 §18.3).
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn parse(bytes: Bytes) -> Result<Self, Violation> {
        parse(bytes, true)
    }

    /// As [`Message::parse`], and with an answer to what can be answered.
    ///
    /// # Errors
    /// The violation and, where possible, the response to send.
    pub fn parse_or_reject(bytes: Bytes) -> Result<Self, Rejected> {
        Self::parse(bytes.clone()).map_err(|violation| Rejected {
            violation,
            reply: crate::reject::reply(&bytes, violation),
        })
    }

    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    pub fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }

    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Request(request) => request.as_bytes(),
            Self::Response(response) => response.as_bytes(),
        }
    }
}

impl Request {
    pub fn method(&self) -> Method {
        self.method
    }

    /// The Request-URI.
    pub fn uri(&self) -> Uri<'_> {
        Uri::from_parts(self.headers.text(self.uri_text), self.uri)
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The whole message as judged: folded lines joined, nothing behind the body.
    pub fn as_bytes(&self) -> &Bytes {
        &self.headers.bytes
    }
}

impl Response {
    pub fn status(&self) -> Status {
        self.status
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> &str {
        self.headers.text(self.reason)
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The whole message as judged: folded lines joined, nothing behind the body.
    pub fn as_bytes(&self) -> &Bytes {
        &self.headers.bytes
    }
}

impl Headers {
    /// Of the whole message, in bytes.
    pub(crate) fn message_len(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, span: Span) -> &str {
        let bytes = &self.bytes[usize::from(span.start)..usize::from(span.end)];
        std::str::from_utf8(bytes)
            .expect("the head was judged to be UTF-8 and spans lie between ASCII")
    }

    /// The Via that the sender put on top.
    pub fn top_via(&self) -> Via<'_> {
        let (span, parts) = self.index.top_via;
        Via::from_parts(self.text(span), parts)
    }

    /// All Via values, top first.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.elements(Name::Via).map(|v| Via::parse(v).expect("every Via was judged"))
    }

    pub fn from(&self) -> NameAddr<'_> {
        let (span, parts) = self.index.from;
        NameAddr::from_parts(self.text(span), parts)
    }

    pub fn to(&self) -> NameAddr<'_> {
        let (span, parts) = self.index.to;
        NameAddr::from_parts(self.text(span), parts)
    }

    pub fn call_id(&self) -> &str {
        self.text(self.index.call_id)
    }

    pub fn cseq(&self) -> CSeq {
        self.index.cseq
    }

    pub fn max_forwards(&self) -> Option<u8> {
        self.index.max_forwards
    }

    /// Seconds; beyond 2^32-1 it is 2^32-1.
    pub fn expires(&self) -> Option<u32> {
        self.index.expires
    }

    /// The Content-Type as written, `type/subtype` and parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.index.content_type.map(|span| self.text(span))
    }

    /// True when the Content-Type is this `type/subtype`, whatever its parameters.
    pub fn content_type_is(&self, media_type: &str) -> bool {
        self.content_type().is_some_and(|value| {
            ascii::trim(value.split(';').next().unwrap_or_default())
                .eq_ignore_ascii_case(media_type)
        })
    }

    /// `Contact: *` (RFC 3261 §10.2.2). It is then the only contact and not among [`Headers::contacts`].
    pub fn is_star_contact(&self) -> bool {
        self.index.star_contact
    }

    pub fn contacts(&self) -> impl Iterator<Item = NameAddr<'_>> {
        let address = |(span, parts)| NameAddr::from_parts(self.text(span), parts);
        let others = self.elements(Name::Contact).skip(1).map(judged);
        self.index.first_contact.map(address).into_iter().chain(others)
    }

    pub fn routes(&self) -> impl Iterator<Item = NameAddr<'_>> {
        self.elements(Name::Route).map(judged)
    }

    pub fn record_routes(&self) -> impl Iterator<Item = NameAddr<'_>> {
        self.elements(Name::RecordRoute).map(judged)
    }

    /// The first row of that name, folded lines joined, without space around it.
    pub fn get(&self, name: Name) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Every row of that name, in order.
    pub fn get_all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.index.rows.iter().filter(move |row| row.name == name).map(|row| self.text(row.value))
    }

    /// The one row of a name that may stand once.
    pub fn single(&self, name: Name) -> Field<&str> {
        let mut rows = self.get_all(name);
        match (rows.next(), rows.next()) {
            (None, _) => Field::Absent,
            (Some(value), None) => Field::Present(value),
            (Some(_), Some(_)) => Field::Repeated,
        }
    }

    /// The values of a header that is a list, across its rows, trimmed.
    pub fn elements(&self, name: Name) -> impl Iterator<Item = &str> {
        self.get_all(name).flat_map(Elements::new)
    }

    /// Every row of a header whose name we do not know; names compare without case.
    pub fn get_other(&self, name: &str) -> impl Iterator<Item = &str> {
        self.rows()
            .filter(move |(id, n, _)| *id == Name::Other && n.eq_ignore_ascii_case(name))
            .map(|r| r.2)
    }

    /// Every row: id, name as written, value.
    pub fn rows(&self) -> impl Iterator<Item = (Name, &str, &str)> {
        self.index.rows.iter().map(|row| (row.name, self.text(row.name_text), self.text(row.value)))
    }

    /// True when a list of tokens (Require, Supported, Allow, …) names this one.
    pub fn has_token(&self, name: Name, token: &str) -> bool {
        self.elements(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// Raw credentials, one a row (RFC 3261 §20.7: several are not joined by commas).
    pub fn authorization(&self) -> impl Iterator<Item = &str> {
        self.get_all(Name::Authorization)
    }

    /// Raw credentials, one a row.
    pub fn proxy_authorization(&self) -> impl Iterator<Item = &str> {
        self.get_all(Name::ProxyAuthorization)
    }
}

/// Reads again what was judged with the message.
fn judged(value: &str) -> NameAddr<'_> {
    NameAddr::parse(value).expect("every address of these headers was judged")
}

/// What the first line said.
enum Start {
    Request { method: Method, uri_text: Span, uri: UriParts },
    Response { status: Status, reason: Span },
}

/// `unfold` is false the second time, when no folded line can be left.
fn parse(bytes: Bytes, unfold: bool) -> Result<Message, Violation> {
    if bytes.len() > MESSAGE_MAX {
        return Err(Violation::MessageTooLong);
    }
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        return Err(Violation::Empty);
    }
    let mut lines = Lines { bytes: &bytes, at: 0 };
    let start_line = lines.next()?;
    if start_line.is_empty() {
        // Only a stream may have line ends before a message, and its framer takes them off
        // (RFC 3261 §7.5).
        return Err(Violation::StartLine);
    }
    let mut rows = Vec::with_capacity(ROWS_USUAL);
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            break;
        }
        if ascii::is_space(bytes[usize::from(line.start)]) {
            if rows.is_empty() || !unfold {
                return Err(Violation::Fold);
            }
            return parse(join_folds(&bytes)?, false);
        }
        if rows.len() == HEADERS_MAX {
            return Err(Violation::TooManyHeaders);
        }
        rows.push(row(&bytes, line)?);
    }
    let head_len = lines.at;
    // One look at the whole: where nothing but the line ends is no visible ASCII, no value has to be looked at.
    let line_ends = 2 * (rows.len() + 2);
    if ascii::invisible(&bytes[usize::from(start_line.end)..head_len]) != line_ends {
        for row in &rows {
            let value = &bytes[usize::from(row.value.start)..usize::from(row.value.end)];
            if !ascii::all_but_control(value) {
                judge_controls(value)?;
            }
        }
    }
    let head = std::str::from_utf8(&bytes[..head_len]).map_err(|_| Violation::NotUtf8)?;

    let start = start(head, start_line)?;
    let mut core = Core::default();
    for row in &rows {
        core.take(head, row)?;
    }
    let (index, content_length) = core.finish(rows, &start)?;
    let body_len = match content_length {
        Some(len) if len > bytes.len() - head_len => return Err(Violation::BodyTooShort),
        Some(len) => len,
        None => bytes.len() - head_len,
    };
    let end = head_len + body_len;
    let body = bytes.slice(head_len..end);
    let bytes = if end == bytes.len() { bytes } else { bytes.slice(..end) };
    let headers = Headers { bytes, index: Arc::new(index) };
    Ok(match start {
        Start::Request { method, uri_text, uri } => {
            Message::Request(Request { body, headers, method, uri_text, uri })
        }
        Start::Response { status, reason } => {
            Message::Response(Response { body, headers, status, reason })
        }
    })
}

/// Room for the rows of a usual message, so that the index grows rarely.
const ROWS_USUAL: usize = 24;

pub(crate) struct Lines<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl Lines<'_> {
    /// The next line without its CR LF.
    pub(crate) fn next(&mut self) -> Result<Span, Violation> {
        let start = self.at;
        let Some(len) = memchr::memchr2(b'\r', b'\n', &self.bytes[start..]) else {
            return Err(Violation::Unterminated);
        };
        let end = start + len;
        match self.bytes[end..] {
            [b'\r', b'\n', ..] => self.at = end + 2,
            [b'\r'] => return Err(Violation::Unterminated),
            _ => return Err(Violation::BareLineEnd),
        }
        Ok(Span::new(start, end))
    }
}

/// Reads `name HCOLON value`: white space before the colon is legal, inside the name it is not.
fn row(bytes: &[u8], line: Span) -> Result<Row, Violation> {
    let (start, end) = (usize::from(line.start), usize::from(line.end));
    let text = &bytes[start..end];
    let colon = memchr::memchr(b':', text).ok_or(Violation::MissingColon)?;
    let blanks = text[..colon].iter().rev().take_while(|&&b| ascii::is_space(b)).count();
    let name_len = colon - blanks;
    let name = Name::parse(&text[..name_len]);
    // A name that we know is a token.
    if name == Name::Other && !ascii::is_token(&text[..name_len]) {
        return Err(Violation::HeaderName);
    }
    let value_at = colon + 1 + ascii::spaces(&text[colon + 1..]);
    let trailing = text[value_at..].iter().rev().take_while(|&&b| ascii::is_space(b)).count();
    Ok(Row {
        name,
        name_text: Span::new(start, start + name_len),
        value: Span::new(start + value_at, end - trailing),
    })
}

/// Controls may stand in a quoted string behind a backslash (RFC 3261 §25.1 `quoted-pair`,
/// RFC 4475 §3.1.1.2), and nowhere else.
fn judge_controls(value: &[u8]) -> Result<(), Violation> {
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            _ if ascii::is(byte, ascii::CONTROL) => return Err(Violation::ControlCharacter),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Joins folded lines: the line end and the space around it are one space (RFC 3261 §7.3.1).
/// A line of nothing but space is refused: some would read it as the end of the headers. So is a fold
/// before the colon, where only blanks may stand (§25.1 HCOLON): some would see a header of another name.
fn join_folds(bytes: &Bytes) -> Result<Bytes, Violation> {
    let mut lines = Lines { bytes, at: 0 };
    let mut joined = Vec::with_capacity(bytes.len());
    let mut named = false;
    loop {
        let line = lines.next()?;
        let text = &bytes[usize::from(line.start)..usize::from(line.end)];
        if text.is_empty() {
            break;
        }
        if ascii::is_space(text[0]) {
            let lead = ascii::spaces(text);
            // Before any name: also where the start line itself begins with space.
            if !named || lead == text.len() {
                return Err(Violation::Fold);
            }
            // Cut the CR LF of the line before, and the space that stood there.
            joined.truncate(joined.len() - 2);
            while joined.last().is_some_and(|&b| ascii::is_space(b)) {
                joined.pop();
            }
            if joined.last() == Some(&b'\\') {
                return Err(Violation::Fold);
            }
            joined.push(b' ');
            joined.extend_from_slice(&text[lead..]);
        } else {
            named = text.contains(&b':');
            joined.extend_from_slice(text);
        }
        joined.extend_from_slice(b"\r\n");
    }
    joined.extend_from_slice(b"\r\n");
    joined.extend_from_slice(&bytes[lines.at..]);
    Ok(joined.into())
}

/// Judges the first line (RFC 3261 §7.1, §7.2): single spaces, nothing around them.
fn start(head: &str, line: Span) -> Result<Start, Violation> {
    let text = line.of(head);
    if let Some(rest) = text.get(..4).filter(|t| t.eq_ignore_ascii_case("SIP/")).map(|_| &text[4..])
    {
        let (version, rest) = rest.split_once(' ').ok_or(Violation::StartLine)?;
        if version != "2.0" {
            return Err(Violation::Version);
        }
        let (code, _) = rest.split_once(' ').ok_or(Violation::StartLine)?;
        if code.len() != 3 {
            return Err(Violation::StatusCode);
        }
        let code = ascii::number(code.as_bytes(), 699).ok_or(Violation::StatusCode)?;
        let reason = Span { start: line.start + 12, end: line.end };
        if !ascii::all_but_control(reason.of(head).as_bytes()) {
            return Err(Violation::ControlCharacter);
        }
        return Ok(Start::Response { status: Status::new(code as u16)?, reason });
    }
    let mut spaces = memchr::memchr_iter(b' ', text.as_bytes());
    let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else {
        return Err(Violation::StartLine);
    };
    let (method, uri, version) = (&text[..first], &text[first + 1..second], &text[second + 1..]);
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        let other = version.get(..4).is_some_and(|t| t.eq_ignore_ascii_case("SIP/"));
        return Err(if other { Violation::Version } else { Violation::StartLine });
    }
    let method_len = method.len();
    let method = Method::parse(method.as_bytes())?;
    let at = usize::from(line.start) + method_len + 1;
    let parts = UriParts::judge(uri)?;
    if parts.has_headers() {
        return Err(Violation::RequestUri);
    }
    Ok(Start::Request { method, uri_text: Span::new(at, at + uri.len()), uri: parts })
}

/// The core headers while they are gathered.
#[derive(Default)]
struct Core {
    top_via: Option<(Span, ViaParts)>,
    from: Option<(Span, NameAddrParts)>,
    to: Option<(Span, NameAddrParts)>,
    call_id: Option<Span>,
    cseq: Option<CSeq>,
    max_forwards: Option<u8>,
    expires: Option<u32>,
    content_type: Option<Span>,
    content_length: Option<usize>,
    date: Option<()>,
    vias: usize,
    contacts: usize,
    first_contact: Option<(Span, NameAddrParts)>,
    star_contact: bool,
    routes: usize,
    record_routes: usize,
}

impl Core {
    fn take(&mut self, head: &str, row: &Row) -> Result<(), Violation> {
        let value = row.value.of(head);
        match row.name {
            Name::Via => {
                for text in Elements::new(value) {
                    let parts = ViaParts::judge(text)?;
                    count(&mut self.vias)?;
                    if self.top_via.is_none() {
                        // The first element of a trimmed row begins where the row does.
                        let start = usize::from(row.value.start);
                        self.top_via = Some((Span::new(start, start + text.len()), parts));
                    }
                }
            }
            Name::From => once(&mut self.from, (row.value, NameAddrParts::judge(value)?))?,
            Name::To => once(&mut self.to, (row.value, NameAddrParts::judge(value)?))?,
            Name::CallId => once(&mut self.call_id, judge_call_id(value, row.value)?)?,
            Name::CSeq => once(&mut self.cseq, CSeq::judge(value)?)?,
            Name::MaxForwards => {
                let hops = ascii::number(value.as_bytes(), 255).ok_or(Violation::MaxForwards)?;
                once(&mut self.max_forwards, hops as u8)?;
            }
            Name::Contact => {
                for text in Elements::new(value) {
                    if text == "*" {
                        self.star_contact = true;
                    } else {
                        let parts = NameAddrParts::judge(text)?;
                        if self.contacts == 0 {
                            // As with Via: the first element begins where its row does.
                            let start = usize::from(row.value.start);
                            self.first_contact =
                                Some((Span::new(start, start + text.len()), parts));
                        }
                    }
                    count(&mut self.contacts)?;
                }
                if self.star_contact && self.contacts > 1 {
                    return Err(Violation::StarContact);
                }
            }
            Name::Route => judge_routes(value, &mut self.routes)?,
            Name::RecordRoute => judge_routes(value, &mut self.record_routes)?,
            Name::Expires => {
                once(&mut self.expires, seconds(value).ok_or(Violation::Seconds)?)?;
            }
            Name::ContentLength => {
                // A number too large for any message is refused as one that promises too much.
                if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(Violation::ContentLength);
                }
                let len = ascii::number(value.as_bytes(), MESSAGE_MAX as u64)
                    .ok_or(Violation::BodyTooShort)?;
                once(&mut self.content_length, len as usize)?;
            }
            Name::ContentType => {
                judge_content_type(value)?;
                once(&mut self.content_type, row.value)?;
            }
            Name::Date => {
                crate::date::parse(value)?;
                once(&mut self.date, ())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, rows: Vec<Row>, start: &Start) -> Result<(Index, Option<usize>), Violation> {
        let top_via = self.top_via.ok_or(Violation::MissingVia)?;
        let from = self.from.ok_or(Violation::MissingFrom)?;
        let to = self.to.ok_or(Violation::MissingTo)?;
        let call_id = self.call_id.ok_or(Violation::MissingCallId)?;
        let cseq = self.cseq.ok_or(Violation::MissingCSeq)?;
        if let Start::Request { method, .. } = start
            && *method != cseq.method
        {
            return Err(Violation::MethodMismatch);
        }
        let index = Index {
            rows,
            top_via,
            from,
            to,
            call_id,
            cseq,
            max_forwards: self.max_forwards,
            expires: self.expires,
            content_type: self.content_type,
            first_contact: self.first_contact,
            star_contact: self.star_contact,
        };
        Ok((index, self.content_length))
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Violation> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Violation::Repeated),
    }
}

fn count(elements: &mut usize) -> Result<(), Violation> {
    *elements += 1;
    if *elements > ELEMENTS_MAX { Err(Violation::TooManyElements) } else { Ok(()) }
}

/// Route and Record-Route are always in brackets (RFC 3261 §20.30, §20.34).
fn judge_routes(value: &str, routes: &mut usize) -> Result<(), Violation> {
    for text in Elements::new(value) {
        if !NameAddrParts::judge(text)?.is_bracketed() {
            return Err(Violation::NameAddr);
        }
        count(routes)?;
    }
    Ok(())
}

/// `word [ "@" word ]` (RFC 3261 §25.1).
pub(crate) fn judge_call_id(value: &str, span: Span) -> Result<Span, Violation> {
    let good = |word: &[u8]| !word.is_empty() && ascii::all(word, ascii::WORD);
    let bytes = value.as_bytes();
    // No word holds an `@`, so a second one is refused with the right half.
    match memchr::memchr(b'@', bytes) {
        None if good(bytes) => Ok(span),
        Some(at) if good(&bytes[..at]) && good(&bytes[at + 1..]) => Ok(span),
        _ => Err(Violation::CallId),
    }
}

/// `type "/" subtype *( ";" parameter )` (RFC 3261 §25.1).
fn judge_content_type(value: &str) -> Result<(), Violation> {
    let params_at = memchr::memchr(b';', value.as_bytes()).unwrap_or(value.len());
    let media = &value[..params_at];
    let slash = memchr::memchr(b'/', media.as_bytes()).ok_or(Violation::ContentType)?;
    let (kind, subtype) = (ascii::trim(&media[..slash]), ascii::trim(&media[slash + 1..]));
    if !ascii::is_token(kind.as_bytes()) || !ascii::is_token(subtype.as_bytes()) {
        return Err(Violation::ContentType);
    }
    crate::header::judge_params(&value[params_at..], |_, _, _| Ok(()))
}

impl TryFrom<Message> for Request {
    type Error = Response;

    fn try_from(message: Message) -> Result<Self, Response> {
        match message {
            Message::Request(request) => Ok(request),
            Message::Response(response) => Err(response),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the whole: headers carry numbers and credentials.
        write!(f, "Request({} {} bytes)", self.method, self.as_bytes().len())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Response({} to {}, {} bytes)",
            self.status,
            self.headers.cseq(),
            self.as_bytes().len()
        )
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Headers({} rows)", self.index.rows.len())
    }
}
