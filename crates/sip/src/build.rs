//! Making messages: typed setters, values that cannot break out of their line, and one last judgement.
//!
//! A builder prints a head and has it judged like a received one, so what it returns is
//! indistinguishable from a parsed message and nothing leaves that we would not accept. The first
//! value that cannot be printed safely is remembered and reported by `build`.

use crate::header::{Name, NameAddrBuf, Rport, Transport, Via};
use crate::message::{Headers, MESSAGE_MAX, Message, Request, Response};
use crate::{Host, Method, Status, Uri, Violation, ascii};
use bytes::Bytes;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A message in the making. `S` is its first line.
#[derive(Clone, Debug)]
pub struct Builder<S> {
    start: S,
    rows: String,
    content_type: Option<String>,
    body: Bytes,
    fault: Option<Violation>,
}

/// The first line of a request in the making.
#[derive(Clone, Debug)]
pub struct RequestStart {
    method: Method,
    uri: String,
}

/// The first line of a response in the making, and what it copied.
#[derive(Clone, Debug)]
pub struct ResponseStart {
    status: Status,
    reason: Option<String>,
    /// The request's To, until `build` prints it with or without a tag of ours.
    to: NameAddrBuf,
}

pub type RequestBuilder = Builder<RequestStart>;
pub type ResponseBuilder = Builder<ResponseStart>;

impl Request {
    /// A request to `uri`. Via, From, To, Call-ID and CSeq must be set before `build`.
    pub fn builder(method: Method, uri: &str) -> RequestBuilder {
        let fault = Uri::parse(uri).err();
        Builder::new(RequestStart { method, uri: uri.to_owned() }, fault)
    }

    /// The same request with a Via on top of the others.
    ///
    /// # Errors
    /// What the Via breaks, or [`Violation::MessageTooLong`].
    pub fn with_top_via(
        &self,
        transport: Transport,
        sent_by: &str,
        branch: &str,
    ) -> Result<Self, Violation> {
        let via = via_value(transport, sent_by, branch);
        Via::parse(&via)?;
        self.edited(|rows, print| {
            print("Via", &via);
            for (_, name, value) in rows {
                print(name, value);
            }
        })
    }

    /// The same request without its top Via.
    ///
    /// # Errors
    /// [`Violation::MissingVia`] when it was the only one.
    pub fn without_top_via(&self) -> Result<Self, Violation> {
        self.edited(|rows, print| replace_top_via(rows, None, print))
    }

    /// Stamps the top Via with where the request really came from: `received` when sent-by says
    /// otherwise or `rport` asks for it, and the port into an empty `rport` (RFC 3261 §18.2.1,
    /// RFC 3581 §4). What the sender itself wrote there is replaced.
    ///
    /// # Errors
    /// [`Violation::MessageTooLong`] when the stamp does not fit.
    pub fn with_received(&self, source: SocketAddr) -> Result<Self, Violation> {
        let via = self.headers().top_via();
        let asked = via.rport() != Rport::Absent;
        let told = via.host() == Host::from(source.ip());
        if told && !asked && via.received().is_none() {
            return Ok(self.clone());
        }
        let mut stamped = format!("SIP/2.0/{} {}", via.transport_str(), via.host_str());
        if let Some(port) = via.port() {
            let _ = write!(stamped, ":{port}");
        }
        for (name, value) in via.params() {
            if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
                continue;
            }
            stamped.push(';');
            stamped.push_str(name);
            if let Some(value) = value {
                stamped.push('=');
                stamped.push_str(value);
            }
        }
        if asked || !told {
            let _ = write!(stamped, ";received={}", source.ip());
        }
        if asked {
            let _ = write!(stamped, ";rport={}", source.port());
        }
        self.edited(|rows, print| replace_top_via(rows, Some(&stamped), print))
    }

    fn edited(&self, edit: impl FnOnce(Rows<'_>, Print<'_>)) -> Result<Self, Violation> {
        let start = format!("{} {} SIP/2.0\r\n", self.method(), self.uri());
        match rewritten(start, self.headers(), self.body(), edit)? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => Err(Violation::StartLine),
        }
    }
}

impl Response {
    /// An answer: Via, From, To, Call-ID and CSeq are the request's (RFC 3261 §8.2.6.2), and
    /// Timestamp in a 100 (§8.2.6.1).
    pub fn builder(request: &Request, status: Status) -> ResponseBuilder {
        let headers = request.headers();
        let start = ResponseStart { status, reason: None, to: headers.to().to_buf() };
        let mut builder = Builder::new(start, None);
        for (name, _, value) in headers.rows() {
            let echoed = matches!(name, Name::Via | Name::From | Name::CallId | Name::CSeq)
                || (name == Name::Timestamp && status == Status::TRYING);
            if echoed {
                print_row(&mut builder.rows, name.as_str(), value);
            }
        }
        builder
    }

    /// The same response without its top Via, as it goes on to the next hop.
    ///
    /// # Errors
    /// [`Violation::MissingVia`] when it was the only one.
    pub fn without_top_via(&self) -> Result<Self, Violation> {
        let start = format!("SIP/2.0 {} {}\r\n", self.status(), self.reason());
        let edit = |rows: Rows<'_>, print: Print<'_>| replace_top_via(rows, None, print);
        match rewritten(start, self.headers(), self.body(), edit)? {
            Message::Response(response) => Ok(response),
            Message::Request(_) => Err(Violation::StartLine),
        }
    }
}

impl<S> Builder<S> {
    fn new(start: S, fault: Option<Violation>) -> Self {
        Self {
            start,
            rows: String::with_capacity(ROWS_USUAL),
            content_type: None,
            body: Bytes::new(),
            fault,
        }
    }

    /// Any header by id. Content-Length and Content-Type are set by [`Builder::body`] alone.
    #[must_use]
    pub fn header(self, name: Name, value: &str) -> Self {
        match name {
            Name::Other | Name::ContentLength | Name::ContentType => {
                self.fault(Violation::HeaderName)
            }
            _ => self.print(name.as_str(), value),
        }
    }

    /// A header whose name we do not know.
    #[must_use]
    pub fn other(self, name: &str, value: &str) -> Self {
        if !ascii::is_token(name.as_bytes()) || Name::parse(name.as_bytes()) != Name::Other {
            return self.fault(Violation::HeaderName);
        }
        self.print(name, value)
    }

    #[must_use]
    pub fn contact(self, contact: &NameAddrBuf) -> Self {
        self.print("Contact", contact.as_str())
    }

    #[must_use]
    pub fn record_route(self, route: &NameAddrBuf) -> Self {
        self.print("Record-Route", route.as_str())
    }

    #[must_use]
    pub fn expires(self, seconds: u32) -> Self {
        self.print("Expires", &seconds.to_string())
    }

    /// The body and its type; the last call counts.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.body = body.into();
        self
    }

    fn print(mut self, name: &str, value: &str) -> Self {
        if !ascii::all_but_control(value.as_bytes()) {
            return self.fault(Violation::ControlCharacter);
        }
        print_row(&mut self.rows, name, value);
        self
    }

    fn fault(mut self, violation: Violation) -> Self {
        self.fault.get_or_insert(violation);
        self
    }

    /// Prints everything below the first line and has the whole judged.
    fn finish(mut self, mut head: String) -> Result<Message, Violation> {
        if let Some(content_type) = self.content_type.take() {
            self = self.print("Content-Type", &content_type);
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        head.reserve(self.rows.len() + LENGTH_ROW + self.body.len());
        head.push_str(&self.rows);
        judged(head, &self.body)
    }
}

impl Builder<RequestStart> {
    /// Adds a Via below those already set. `sent_by` is `host` or `host:port`. `rport` is asked for
    /// always (RFC 3581 §3): most phones sit behind a translator and the rest do no harm.
    #[must_use]
    pub fn via(self, transport: Transport, sent_by: &str, branch: &str) -> Self {
        let via = via_value(transport, sent_by, branch);
        self.print("Via", &format!("{via};rport"))
    }

    #[must_use]
    pub fn from(self, from: &NameAddrBuf) -> Self {
        self.print("From", from.as_str())
    }

    #[must_use]
    pub fn to(self, to: &NameAddrBuf) -> Self {
        self.print("To", to.as_str())
    }

    #[must_use]
    pub fn call_id(self, call_id: &str) -> Self {
        self.print("Call-ID", call_id)
    }

    /// The number; the method is that of the request line.
    #[must_use]
    pub fn cseq(self, number: u32) -> Self {
        let cseq = format!("{number} {}", self.start.method);
        self.print("CSeq", &cseq)
    }

    #[must_use]
    pub fn max_forwards(self, hops: u8) -> Self {
        self.print("Max-Forwards", &hops.to_string())
    }

    #[must_use]
    pub fn route(self, route: &NameAddrBuf) -> Self {
        self.print("Route", route.as_str())
    }

    /// `Contact: *`: every binding (RFC 3261 §10.2.2).
    #[must_use]
    pub fn star_contact(self) -> Self {
        self.print("Contact", "*")
    }

    /// # Errors
    /// The first value that could not be printed, or what the whole breaks.
    pub fn build(self) -> Result<Request, Violation> {
        let head = format!("{} {} SIP/2.0\r\n", self.start.method, self.start.uri);
        match self.finish(head)? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => Err(Violation::StartLine),
        }
    }
}

impl Builder<ResponseStart> {
    /// Our tag, put on To when the request's has none (RFC 3261 §8.2.6.2).
    #[must_use]
    #[allow(clippy::wrong_self_convention, reason = "it sets the To tag, it converts nothing")]
    pub fn to_tag(mut self, tag: &str) -> Self {
        if self.start.to.tag().is_some() {
            return self;
        }
        match self.start.to.with_tag(tag) {
            Ok(to) => {
                self.start.to = to;
                self
            }
            Err(violation) => self.fault(violation),
        }
    }

    /// Another phrase than the usual one.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Self {
        self.start.reason = Some(reason.to_owned());
        self
    }

    /// Copies the request's Record-Route, as a response that makes a dialog must
    /// (RFC 3261 §12.1.1).
    #[must_use]
    pub fn record_routes_of(mut self, request: &Request) -> Self {
        for value in request.headers().get_all(Name::RecordRoute) {
            print_row(&mut self.rows, "Record-Route", value);
        }
        self
    }

    /// # Errors
    /// The first value that could not be printed, or what the whole breaks.
    pub fn build(mut self) -> Result<Response, Violation> {
        let status = self.start.status;
        let reason = self.start.reason.take();
        let reason = reason.as_deref().unwrap_or(status.default_reason());
        if !ascii::all_but_control(reason.as_bytes()) {
            return Err(Violation::ControlCharacter);
        }
        let head = format!("SIP/2.0 {status} {reason}\r\n");
        print_row(&mut self.rows, "To", self.start.to.as_str());
        match self.finish(head)? {
            Message::Response(response) => Ok(response),
            Message::Request(_) => Err(Violation::StartLine),
        }
    }
}

type Rows<'a> = Box<dyn Iterator<Item = (Name, &'a str, &'a str)> + 'a>;
type Print<'a> = &'a mut dyn FnMut(&str, &str);

fn rewritten(
    mut head: String,
    headers: &Headers,
    body: &Bytes,
    edit: impl FnOnce(Rows<'_>, Print<'_>),
) -> Result<Message, Violation> {
    head.reserve(headers.message_len() + ROWS_USUAL / 4);
    let rows = headers.rows().filter(|(name, _, _)| *name != Name::ContentLength);
    edit(Box::new(rows), &mut |name, value| print_row(&mut head, name, value));
    judged(head, body)
}

/// Replaces the first Via value by `via`, or drops it.
fn replace_top_via(rows: Rows<'_>, via: Option<&str>, print: Print<'_>) {
    let mut done = false;
    for (id, name, value) in rows {
        if id != Name::Via || done {
            print(name, value);
            continue;
        }
        done = true;
        let mut elements = crate::header::Elements::new(value);
        elements.next();
        if let Some(via) = via {
            print(name, via);
        }
        for rest in elements {
            print(name, rest);
        }
    }
}

fn via_value(transport: Transport, sent_by: &str, branch: &str) -> String {
    format!("SIP/2.0/{transport} {sent_by};branch={branch}")
}

fn print_row(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(value);
    head.push_str("\r\n");
}

/// What the rows of a message of ours come to, most often.
const ROWS_USUAL: usize = 1_024;
/// `Content-Length` and the empty line.
const LENGTH_ROW: usize = 32;

fn judged(mut head: String, body: &Bytes) -> Result<Message, Violation> {
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    if head.len() + body.len() > MESSAGE_MAX {
        return Err(Violation::MessageTooLong);
    }
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    Message::parse(bytes.into())
}
