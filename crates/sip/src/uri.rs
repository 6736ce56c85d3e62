//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), judged once and read without allocation.
//!
//! [`Uri`] borrows its text and carries the offsets found when it was judged; [`UriBuf`] owns the
//! same. A URI of a scheme we do not know is a valid URI without parts: whether to serve it (416) is
//! policy. Equality is that of RFC 3261 §19.1.4, not of the bytes.

use crate::ascii::{self, OPAQUE, PARAM, PASSWORD, URI_HEADER, USER};
use crate::{PARAMS_MAX, Violation};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A judged URI, borrowed.
#[derive(Clone, Copy)]
pub struct Uri<'a> {
    text: &'a str,
    parts: UriParts,
}

/// A judged URI, owned.
#[derive(Clone)]
pub struct UriBuf {
    text: Box<str>,
    parts: UriParts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    /// Any other: the rest of the URI is opaque.
    Other,
}

/// The host of a URI or of a Via. Equality of names ignores case (RFC 3261 §19.1.4).
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// Offsets into the text of a URI. Texts are shorter than 64 KiB ([`crate::MESSAGE_MAX`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct UriParts {
    scheme: Scheme,
    /// Empty when there is no user.
    user: Span,
    /// `None` when there is no colon; may be empty.
    password: Option<Span>,
    host_text: Span,
    host: HostKind,
    port: Option<u16>,
    /// From the first `;` to the `?` or the end.
    params: Span,
    /// Behind the `?`.
    headers: Span,
}

/// A range of offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum HostKind {
    None,
    Name,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        Self { start: start as u16, end: end as u16 }
    }

    pub(crate) fn of(self, text: &str) -> &str {
        &text[usize::from(self.start)..usize::from(self.end)]
    }

    /// The same range of a text that begins `offset` earlier.
    pub(crate) fn behind(self, offset: usize) -> Self {
        Self::new(offset + usize::from(self.start), offset + usize::from(self.end))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl<'a> Uri<'a> {
    /// Judges a whole URI, without brackets and without space around it.
    ///
    /// # Errors
    /// The rule that is broken; beyond 65,535 bytes [`Violation::MessageTooLong`].
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Ok(Self { text, parts: UriParts::judge(text)? })
    }

    pub(crate) fn from_parts(text: &'a str, parts: UriParts) -> Self {
        Self { text, parts }
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The scheme as written, also of unknown ones.
    pub fn scheme_str(&self) -> &'a str {
        self.text.split(':').next().unwrap_or_default()
    }

    /// The user as written, escapes and all; for `tel` the number as written. A user is never empty.
    pub fn user(&self) -> Option<&'a str> {
        (!self.parts.user.is_empty()).then(|| self.parts.user.of(self.text))
    }

    /// The user with its escapes undone. Bytes that are no UTF-8 after that are replaced, so this is
    /// for looking up and showing, not for printing back.
    pub fn user_unescaped(&self) -> Option<Cow<'a, str>> {
        self.user().map(unescape)
    }

    pub fn password(&self) -> Option<&'a str> {
        self.parts.password.map(|p| p.of(self.text))
    }

    /// `None` for `tel` and unknown schemes.
    pub fn host(&self) -> Option<Host<'a>> {
        self.parts.host.with(self.parts.host_text.of(self.text))
    }

    /// The host as written, brackets of an IPv6 address included; empty where there is none.
    pub fn host_str(&self) -> &'a str {
        self.parts.host_text.of(self.text)
    }

    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The value of a URI parameter, as written: `Some("")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().find(|(n, _)| same_name(n, name)).map(|(_, v)| v.unwrap_or(""))
    }

    /// The URI parameters as written.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let params = self.parts.params.of(self.text);
        params.split(';').skip(1).map(|p| match p.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (p, None),
        })
    }

    /// The parameters with their leading `;`, or nothing.
    pub fn params_str(&self) -> &'a str {
        self.parts.params.of(self.text)
    }

    /// The headers (`?name=value&…`) as written, still escaped.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let headers = self.parts.headers.of(self.text);
        headers.split('&').filter_map(|h| h.split_once('='))
    }

    /// The value of one URI header with its escapes undone (`Replaces` in a Refer-To).
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers()
            .find(|(n, _)| unescape(n).eq_ignore_ascii_case(name))
            .map(|(_, value)| unescape(value))
    }

    pub fn has_headers(&self) -> bool {
        !self.parts.headers.is_empty()
    }

    /// All but the headers: in the target or the route of a dialog they are not allowed (RFC 3261 §19.1.1
    /// table 1), and a Request-URI made of them would be refused.
    pub fn without_headers(&self) -> &'a str {
        match self.parts.headers.start {
            0 => self.text,
            behind => &self.text[..usize::from(behind) - 1],
        }
    }

    /// The transport parameter, if any, in lower case where it is a known one.
    pub fn transport(&self) -> Option<crate::Transport> {
        self.param("transport").map(crate::Transport::from_token)
    }

    pub fn is_loose_route(&self) -> bool {
        self.param("lr").is_some()
    }

    /// Equality of RFC 3261 §19.1.4: it is not transitive, so there is no `Eq`.
    ///
    /// Two `tel` URIs compare by number without visual separators (RFC 3966 §4), two URIs of an
    /// unknown scheme by their bytes.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.parts.scheme != other.parts.scheme {
            return false;
        }
        match self.parts.scheme {
            Scheme::Other => self.text == other.text,
            Scheme::Tel => {
                same_number(self, other)
                    && same_params(self, other, &["phone-context", "ext", "isub"])
            }
            Scheme::Sip | Scheme::Sips => {
                same_escaped(self.user(), other.user(), false)
                    && same_escaped(self.password(), other.password(), false)
                    && self.host() == other.host()
                    && self.port() == other.port()
                    && same_params(self, other, &["user", "ttl", "method", "maddr", "transport"])
                    && same_headers(self, other)
            }
        }
    }

    pub fn to_buf(&self) -> UriBuf {
        UriBuf { text: self.text.into(), parts: self.parts }
    }
}

impl UriBuf {
    /// # Errors
    /// As [`Uri::parse`].
    pub fn new(text: impl Into<String>) -> Result<Self, Violation> {
        let text: String = text.into();
        let parts = UriParts::judge(&text)?;
        Ok(Self { text: text.into(), parts })
    }

    pub fn as_uri(&self) -> Uri<'_> {
        Uri { text: &self.text, parts: self.parts }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl UriParts {
    pub(crate) fn judge(text: &str) -> Result<Self, Violation> {
        let bytes = text.as_bytes();
        if bytes.len() > crate::MESSAGE_MAX {
            return Err(Violation::MessageTooLong);
        }
        if let [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', ..] = bytes {
            return Self::judge_sip(Scheme::Sip, text, 4);
        }
        let colon = memchr::memchr(b':', bytes).ok_or(Violation::UriScheme)?;
        let scheme = match &bytes[..colon] {
            s if s.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            s if s.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            s if s.first().is_some_and(u8::is_ascii_alphabetic)
                && s.iter().all(|&b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
            {
                Scheme::Other
            }
            _ => return Err(Violation::UriScheme),
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::judge_sip(scheme, text, colon + 1),
            Scheme::Tel => Self::judge_tel(text, colon + 1),
            Scheme::Other => {
                if colon + 1 == bytes.len() || !ascii::all_or_escaped(&bytes[colon + 1..], OPAQUE) {
                    return Err(Violation::UriScheme);
                }
                Ok(Self::bare(Scheme::Other))
            }
        }
    }

    fn bare(scheme: Scheme) -> Self {
        Self {
            scheme,
            user: Span::default(),
            password: None,
            host_text: Span::default(),
            host: HostKind::None,
            port: None,
            params: Span::default(),
            headers: Span::default(),
        }
    }

    pub(crate) fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    fn judge_sip(scheme: Scheme, text: &str, start: usize) -> Result<Self, Violation> {
        let bytes = text.as_bytes();
        let mut parts = Self::bare(scheme);
        let mut at = start;
        // No part but the userinfo's end may hold a bare `@`, so the first one is that end.
        if let Some(len) = memchr::memchr(b'@', &bytes[start..]) {
            let userinfo = &bytes[start..start + len];
            let user_len = userinfo.iter().position(|&b| b == b':').unwrap_or(len);
            if user_len == 0 || !ascii::all_or_escaped(&userinfo[..user_len], USER) {
                return Err(Violation::UriUser);
            }
            parts.user = Span::new(start, start + user_len);
            if user_len < len {
                if !ascii::all_or_escaped(&userinfo[user_len + 1..], PASSWORD) {
                    return Err(Violation::UriUser);
                }
                parts.password = Some(Span::new(start + user_len + 1, start + len));
            }
            at = start + len + 1;
        }
        let (host, host_len) = host_prefix(&text[at..])?;
        parts.host = host;
        parts.host_text = Span::new(at, at + host_len);
        at += host_len;
        if bytes.get(at) == Some(&b':') {
            let (port, len) = port_prefix(&bytes[at + 1..])?;
            parts.port = Some(port);
            at += 1 + len;
        }
        let question = memchr::memchr(b'?', &bytes[at..]).map_or(bytes.len(), |q| at + q);
        judge_uri_params(&text[at..question])?;
        parts.params = Span::new(at, question);
        if question < bytes.len() {
            judge_uri_headers(&bytes[question + 1..])?;
            parts.headers = Span::new(question + 1, bytes.len());
        }
        Ok(parts)
    }

    /// RFC 3966 §3. A local number should carry `phone-context`; one without is taken all the same,
    /// since phones dial `tel:911` so.
    fn judge_tel(text: &str, start: usize) -> Result<Self, Violation> {
        let bytes = text.as_bytes();
        let end = bytes[start..].iter().position(|&b| b == b';').map_or(bytes.len(), |s| start + s);
        let number = &bytes[start..end];
        let (global, digits) = match number {
            [b'+', rest @ ..] => (true, rest),
            _ => (false, number),
        };
        let fits = |b: u8| {
            b"-.()".contains(&b)
                || if global {
                    b.is_ascii_digit()
                } else {
                    b.is_ascii_hexdigit() || b == b'*' || b == b'#'
                }
        };
        let counts = |b: u8| b.is_ascii_alphanumeric() || b == b'*' || b == b'#';
        if !digits.iter().copied().all(fits) || !digits.iter().copied().any(counts) {
            return Err(Violation::TelNumber);
        }
        judge_uri_params(&text[end..])?;
        let mut parts = Self::bare(Scheme::Tel);
        parts.user = Span::new(start, end);
        parts.params = Span::new(end, bytes.len());
        Ok(parts)
    }
}

impl HostKind {
    pub(crate) fn with(self, text: &str) -> Option<Host<'_>> {
        match self {
            Self::None => None,
            Self::Name => Some(Host::Name(text)),
            Self::V4(ip) => Some(Host::V4(ip)),
            Self::V6(ip) => Some(Host::V6(ip)),
        }
    }
}

impl<'a> Host<'a> {
    /// Judges a host name, an IPv4 address or an IPv6 address in brackets (RFC 3261 §25.1).
    ///
    /// # Errors
    /// [`Violation::Host`].
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        match host_prefix(text)? {
            (kind, len) if len == text.len() => kind.with(text).ok_or(Violation::Host),
            _ => Err(Violation::Host),
        }
    }

    /// The address, when the host is one. An IPv4-mapped IPv6 address stays IPv6.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Self::Name(_) => None,
            Self::V4(ip) => Some(IpAddr::V4(ip)),
            Self::V6(ip) => Some(IpAddr::V6(ip)),
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Self::V4(b)) => a == b,
            (Self::V6(a), Self::V6(b)) => a == b,
            (Self::Name(_) | Self::V4(_) | Self::V6(_), _) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl From<IpAddr> for Host<'_> {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Display for UriBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for UriBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Judges the host at the start of `text`; returns it and its length.
pub(crate) fn host_prefix(text: &str) -> Result<(HostKind, usize), Violation> {
    let bytes = text.as_bytes();
    if bytes.first() == Some(&b'[') {
        let end = bytes.iter().position(|&b| b == b']').ok_or(Violation::Host)?;
        let ip: Ipv6Addr = text[1..end].parse().map_err(|_| Violation::Host)?;
        return Ok((HostKind::V6(ip), end + 1));
    }
    // Labels with dots between: none is empty, or begins or ends with a hyphen.
    let (mut len, mut before, mut sound) = (0, b'.', true);
    let (mut label, mut last) = (0, 0);
    for &b in bytes {
        if !ascii::is(b, ascii::HOST) {
            break;
        }
        if b == b'.' {
            sound &= before != b'.' && before != b'-';
            (label, last) = (last, len + 1);
        } else if b == b'-' {
            sound &= before != b'.';
        }
        before = b;
        len += 1;
    }
    // A dot may stand behind the last label.
    let top = if last == len { label } else { last };
    // `toplabel` begins with a letter, so what ends in a digit label is an IPv4 address or nothing.
    if bytes[top..len].first().is_some_and(u8::is_ascii_digit) {
        let ip = ipv4(&bytes[..len]).ok_or(Violation::Host)?;
        return Ok((HostKind::V4(ip), len));
    }
    if !sound || len == 0 || before == b'-' {
        return Err(Violation::Host);
    }
    Ok((HostKind::Name, len))
}

/// Four numbers up to 255 with dots between. A zero in front is refused: some read the rest as octal.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut at = 0;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            at += usize::from(text.get(at) == Some(&b'.'));
        }
        let len = text[at..].iter().take(3).take_while(|b| b.is_ascii_digit()).count();
        let digits = &text[at..at + len];
        if len == 0 || (len > 1 && digits[0] == b'0') || (index > 0 && text[at - 1] != b'.') {
            return None;
        }
        *octet = u8::try_from(ascii::number(digits, 255)?).ok()?;
        at += len;
    }
    (at == text.len()).then_some(octets.into())
}

/// Judges the port at the start of `bytes`; returns it and its length.
pub(crate) fn port_prefix(bytes: &[u8]) -> Result<(u16, usize), Violation> {
    let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    match ascii::number(&bytes[..len], u64::from(u16::MAX)) {
        Some(0) | None => Err(Violation::Port),
        Some(port) => Ok((port as u16, len)),
    }
}

/// Judges `*( ";" pname [ "=" pvalue ] )` (RFC 3261 §25.1).
fn judge_uri_params(params: &str) -> Result<(), Violation> {
    if params.is_empty() {
        return Ok(());
    }
    let bytes = params.as_bytes();
    if bytes[0] != b';' {
        // Something stood between the host and the first semicolon.
        return Err(Violation::Host);
    }
    let mut names = [Span::default(); PARAMS_MAX];
    let mut at = 1;
    for (count, param) in bytes[1..].split(|&b| b == b';').enumerate() {
        let equals = param.iter().position(|&b| b == b'=');
        let (name, value) = match equals {
            Some(equals) => (&param[..equals], Some(&param[equals + 1..])),
            None => (param, None),
        };
        if name.is_empty()
            || !ascii::all_or_escaped(name, PARAM)
            || value.is_some_and(|v| v.is_empty() || !ascii::all_or_escaped(v, PARAM))
        {
            return Err(Violation::UriParam);
        }
        let name = &params[at..at + name.len()];
        if count >= PARAMS_MAX {
            return Err(Violation::TooManyParams);
        }
        if names[..count].iter().any(|n| same_name(n.of(params), name)) {
            return Err(Violation::RepeatedParam);
        }
        names[count] = Span::new(at, at + name.len());
        at += param.len() + 1;
    }
    Ok(())
}

/// Judges `hname "=" hvalue *( "&" … )` (RFC 3261 §25.1).
fn judge_uri_headers(headers: &[u8]) -> Result<(), Violation> {
    for (count, header) in headers.split(|&b| b == b'&').enumerate() {
        let equals = header.iter().position(|&b| b == b'=').ok_or(Violation::UriParam)?;
        let (name, value) = (&header[..equals], &header[equals + 1..]);
        if name.is_empty()
            || !ascii::all_or_escaped(name, URI_HEADER)
            || !ascii::all_or_escaped(value, URI_HEADER)
        {
            return Err(Violation::UriParam);
        }
        if count >= PARAMS_MAX {
            return Err(Violation::TooManyParams);
        }
    }
    Ok(())
}

/// Undoes `%HH`. Judged text has no stray `%`.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes: Vec<u8> = Units(text.as_bytes()).map(|(byte, _)| byte).collect();
    Cow::Owned(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

/// The bytes of an escaped text, each with whether it is an escaped *reserved* one: those differ
/// from the same byte written plainly, all others are equal to it (RFC 3261 §19.1.4).
struct Units<'a>(&'a [u8]);

impl Iterator for Units<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        match *self.0 {
            [] => None,
            [b'%', high, low, ref rest @ ..] if hex(high).is_some() && hex(low).is_some() => {
                self.0 = rest;
                let byte = hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0);
                Some((byte, b";/?:@&=+$,".contains(&byte)))
            }
            [byte, ref rest @ ..] => {
                self.0 = rest;
                Some((byte, false))
            }
        }
    }
}

fn same_escaped(a: Option<&str>, b: Option<&str>, ignore_case: bool) -> bool {
    let (a, b) = match (a, b) {
        (None, None) => return true,
        (Some(a), Some(b)) => (Units(a.as_bytes()), Units(b.as_bytes())),
        (None, Some(_)) | (Some(_), None) => return false,
    };
    let fold = |(byte, reserved): (u8, bool)| {
        (if ignore_case { byte.to_ascii_lowercase() } else { byte }, reserved)
    };
    a.map(fold).eq(b.map(fold))
}

/// Names of parameters: an escaped letter is the letter, so `%6Cr` is `lr` (RFC 3261 §19.1.4).
fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || ((a.contains('%') || b.contains('%')) && same_escaped(Some(a), Some(b), true))
}

/// Parameters in both must match; those of `decisive` must be in both or in none. The counts are
/// bounded by [`PARAMS_MAX`], so comparing each with each is.
fn same_params(a: &Uri<'_>, b: &Uri<'_>, decisive: &[&str]) -> bool {
    let covers = |a: &Uri<'_>, b: &Uri<'_>| {
        a.params().all(|(name, value)| {
            let twin = b.params().find(|(n, _)| same_escaped(Some(n), Some(name), true));
            match twin {
                Some((_, other)) => same_escaped(value, other, true),
                None => !decisive.iter().any(|d| same_name(d, name)),
            }
        })
    };
    covers(a, b) && covers(b, a)
}

/// Headers must be the same set (RFC 3261 §19.1.4).
fn same_headers(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let covers = |a: &Uri<'_>, b: &Uri<'_>| {
        a.headers().all(|(name, value)| {
            b.headers().any(|(n, v)| {
                same_escaped(Some(n), Some(name), true) && same_escaped(Some(v), Some(value), false)
            })
        })
    };
    a.headers().count() == b.headers().count() && covers(a, b) && covers(b, a)
}

fn same_number(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let digits = |uri: &Uri<'_>| {
        let user = uri.parts.user.of(uri.text).to_ascii_lowercase();
        user.chars().filter(|c| !"-.()".contains(*c)).collect::<String>()
    };
    digits(a) == digits(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(a: &str, b: &str) -> bool {
        let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
        assert_eq!(a.equivalent(&b), b.equivalent(&a), "equality is symmetric");
        a.equivalent(&b)
    }

    #[test]
    fn equality_follows_rfc_3261_19_1_4() {
        assert!(equal(
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtlanTa.CoM;Transport=tcp"
        ));
        assert!(equal("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
        assert!(equal("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"));
        assert!(equal(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
        ));
        assert!(equal(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
        ));
        assert!(!equal(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP"
        ));
        assert!(!equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!equal("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
        assert!(!equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
        assert!(!equal("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
        assert!(!equal("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
        assert!(!equal("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
        assert!(!equal("sip:a%3Bb@x.com", "sip:a;b@x.com"), "an escaped reserved byte is another");
        assert!(!equal("sips:bob@x.com", "sip:bob@x.com"));
        assert!(equal("tel:+1-201-555-0123", "tel:+12015550123"));
    }

    #[test]
    fn parts_are_found() {
        let uri =
            Uri::parse("sip:user;par=u%40example.net:pw@[2001:db8::1]:5070;lr;x=y?a=b&c=").unwrap();
        assert_eq!(uri.user(), Some("user;par=u%40example.net"));
        assert_eq!(uri.user_unescaped().unwrap(), "user;par=u@example.net");
        assert_eq!(uri.password(), Some("pw"));
        assert_eq!(uri.host().unwrap().ip(), "2001:db8::1".parse().ok());
        assert_eq!(
            (uri.port(), uri.is_loose_route(), uri.param("X")),
            (Some(5070), true, Some("y"))
        );
        assert_eq!(uri.headers().collect::<Vec<_>>(), [("a", "b"), ("c", "")]);
        assert!(Uri::parse("sip:p;%6c%72").unwrap().is_loose_route(), "RFC 4475 §3.1.1.3");
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for (text, violation) in [
            ("", Violation::UriScheme),
            ("alice@example.com", Violation::UriScheme),
            ("1x:y", Violation::UriScheme),
            ("isbn:", Violation::UriScheme),
            ("isbn:29%8", Violation::UriScheme),
            ("sip:", Violation::Host),
            ("sip:@example.com", Violation::UriUser),
            ("sip:a b@example.com", Violation::UriUser),
            ("sip:a%4@example.com", Violation::UriUser),
            ("sip:a@b@example.com", Violation::Host),
            ("sip:a@exa_mple.com", Violation::Host),
            ("sip:a@-x.com", Violation::Host),
            ("sip:a@x..com", Violation::Host),
            ("sip:a@1.2.3.4.5", Violation::Host),
            ("sip:a@1.2.3.256", Violation::Host),
            ("sip:a@2001:db8::1", Violation::Host),
            ("sip:a@[::1%eth0]", Violation::Host),
            ("sip:a@[::1", Violation::Host),
            ("sip:a@x.com:", Violation::Port),
            ("sip:a@x.com:0", Violation::Port),
            ("sip:a@x.com:65536", Violation::Port),
            ("sip:a@x.com:+5", Violation::Port),
            ("sip:a@x.com;", Violation::UriParam),
            ("sip:a@x.com;=v", Violation::UriParam),
            ("sip:a@x.com;a=", Violation::UriParam),
            ("sip:a@x.com;lr;LR", Violation::RepeatedParam),
            ("sip:a@x.com;lr;%6Cr", Violation::RepeatedParam),
            ("sip:a@x.com?", Violation::UriParam),
            ("sip:a@x.com?a", Violation::UriParam),
            ("tel:", Violation::TelNumber),
            ("tel:+", Violation::TelNumber),
            ("tel:+1a", Violation::TelNumber),
            ("tel:12 34", Violation::TelNumber),
        ] {
            assert_eq!(Uri::parse(text).unwrap_err(), violation, "{text}");
        }
    }

    proptest::proptest! {
        /// Against the standard library, which refuses the same ambiguities.
        #[test]
        fn ipv4_addresses_are_those_of_the_standard_library(text in "[0-9.]{0,16}|([0-9]{1,3}\\.){3}[0-9]{1,3}") {
            proptest::prop_assert_eq!(ipv4(text.as_bytes()), text.parse().ok());
        }
    }
}
