//! What a peer did wrong, as a value.
//!
//! A peer's fault is not our error: it is a `Violation`, counted by whoever judges the peer. Each
//! variant names one rule, so that a count says what was tried. Where an answer is possible,
//! [`Violation::status`] says which.

use crate::Status;
use std::fmt;

/// The rule that a message, header, URI or session description broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// Nothing there, or only line ends: a keep-alive is not a message (RFC 5626 §4.4.1).
    Empty,
    /// Longer than [`crate::MESSAGE_MAX`].
    MessageTooLong,
    /// More header rows than [`crate::HEADERS_MAX`].
    TooManyHeaders,
    /// More values in one header than [`crate::ELEMENTS_MAX`].
    TooManyElements,
    /// More parameters on one value than [`crate::PARAMS_MAX`].
    TooManyParams,
    /// A carriage return without a line feed, or the reverse (RFC 3261 §7).
    BareLineEnd,
    /// No empty line after the headers (RFC 3261 §7).
    Unterminated,
    /// The head is not UTF-8 (RFC 3261 §7).
    NotUtf8,
    /// A NUL or other control where text is expected (RFC 3261 §25.1).
    ControlCharacter,
    /// The first line is neither a request line nor a status line (RFC 3261 §7.1, §7.2).
    StartLine,
    /// Not SIP/2.0 (RFC 3261 §7.1, §21.5.6).
    Version,
    /// The method is no token (RFC 3261 §25.1).
    Method,
    /// The method is longer than [`crate::METHOD_MAX`].
    MethodTooLong,
    /// A status code outside 100 to 699 or not three digits (RFC 3261 §7.2).
    StatusCode,
    /// The Request-URI carries headers or a form not allowed there (RFC 3261 §19.1.1 table 1).
    RequestUri,
    /// A header row without a colon (RFC 3261 §7.3.1).
    MissingColon,
    /// A header name that is no token (RFC 3261 §25.1).
    HeaderName,
    /// A continuation line before any header, or one that cuts an escape (RFC 3261 §7.3.1).
    Fold,
    /// A header that may stand only once stands twice, in long or compact form (RFC 3261 §7.3.1).
    Repeated,
    /// Via is absent (RFC 3261 §8.1.1).
    MissingVia,
    /// From is absent (RFC 3261 §8.1.1).
    MissingFrom,
    /// To is absent (RFC 3261 §8.1.1).
    MissingTo,
    /// Call-ID is absent (RFC 3261 §8.1.1).
    MissingCallId,
    /// CSeq is absent (RFC 3261 §8.1.1).
    MissingCSeq,
    /// Via does not follow RFC 3261 §20.42.
    Via,
    /// An address (From, To, Contact, Route, …) does not follow RFC 3261 §20.10.
    NameAddr,
    /// `Contact: *` beside another contact (RFC 3261 §10.2.2).
    StarContact,
    /// Call-ID does not follow RFC 3261 §20.8.
    CallId,
    /// CSeq does not follow RFC 3261 §20.16, or its number is 2^31 or more (§8.1.1.5).
    CSeq,
    /// CSeq names another method than the request line (RFC 3261 §8.1.1.5).
    MethodMismatch,
    /// Max-Forwards is no number from 0 to 255 (RFC 3261 §20.22).
    MaxForwards,
    /// Content-Length is no plain number (RFC 3261 §20.14).
    ContentLength,
    /// Content-Length is absent on a stream (RFC 3261 §18.3).
    MissingContentLength,
    /// Content-Length promises more than has come, or more than [`crate::MESSAGE_MAX`] allows.
    BodyTooShort,
    /// Content-Type is no `type/subtype` (RFC 3261 §20.15).
    ContentType,
    /// A number of seconds that is none (RFC 3261 §20.19).
    Seconds,
    /// Date is not an RFC 1123 date in GMT (RFC 3261 §20.17).
    Date,
    /// Parameters that do not follow RFC 3261 §25.1 `generic-param`.
    Param,
    /// One parameter name twice (RFC 3261 §7.3.1, §19.1.1).
    RepeatedParam,
    /// A quoted string without its end (RFC 3261 §25.1).
    Quote,
    /// No URI, or a scheme that is none (RFC 3261 §19.1.1).
    UriScheme,
    /// A user or password with characters that must be escaped (RFC 3261 §19.1.2).
    UriUser,
    /// A host that is neither a name nor an address (RFC 3261 §25.1).
    Host,
    /// A port that is no number from 1 to 65535 (RFC 3261 §19.1.1).
    Port,
    /// URI parameters or headers with characters that must be escaped (RFC 3261 §19.1.1).
    UriParam,
    /// A `tel` number with other characters than RFC 3966 §3 allows.
    TelNumber,
    /// A typed header does not follow the grammar of the RFC that defines it.
    HeaderValue,
    /// A session description that does not follow RFC 8866.
    Sdp,
    /// A session description beyond one of the limits of [`crate::sdp`].
    SdpTooLong,
    /// A line of a session description that may stand once stands twice (RFC 8866 §5).
    SdpRepeated,
    /// No connection address for a media description (RFC 8866 §5.7).
    SdpNoConnection,
    /// A `crypto` line that does not follow RFC 4568 §9.1.
    SdpCrypto,
}

impl Violation {
    /// The status to answer a request with; `None` where the message is too broken to answer, or
    /// where an answer could only go to a guessed address.
    pub fn status(self) -> Option<Status> {
        match self {
            Self::Empty
            | Self::BareLineEnd
            | Self::Unterminated
            | Self::NotUtf8
            | Self::StatusCode
            | Self::MissingColon
            | Self::HeaderName
            | Self::Fold
            | Self::MissingVia
            | Self::Via => None,
            Self::Version => Some(Status::VERSION_NOT_SUPPORTED),
            Self::MessageTooLong | Self::TooManyHeaders | Self::TooManyElements => {
                Some(Status::MESSAGE_TOO_LARGE)
            }
            Self::MethodTooLong => Some(Status::NOT_IMPLEMENTED),
            Self::Sdp
            | Self::SdpTooLong
            | Self::SdpRepeated
            | Self::SdpNoConnection
            | Self::SdpCrypto
            | Self::TooManyParams
            | Self::ControlCharacter
            | Self::StartLine
            | Self::Method
            | Self::RequestUri
            | Self::Repeated
            | Self::MissingFrom
            | Self::MissingTo
            | Self::MissingCallId
            | Self::MissingCSeq
            | Self::NameAddr
            | Self::StarContact
            | Self::CallId
            | Self::CSeq
            | Self::MethodMismatch
            | Self::MaxForwards
            | Self::ContentLength
            | Self::MissingContentLength
            | Self::BodyTooShort
            | Self::ContentType
            | Self::Seconds
            | Self::Date
            | Self::Param
            | Self::RepeatedParam
            | Self::Quote
            | Self::UriScheme
            | Self::UriUser
            | Self::Host
            | Self::Port
            | Self::UriParam
            | Self::TelNumber
            | Self::HeaderValue => Some(Status::BAD_REQUEST),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Empty => "nothing but line ends",
            Self::MessageTooLong => "the message is too long",
            Self::TooManyHeaders => "too many headers",
            Self::TooManyElements => "too many values in one header",
            Self::TooManyParams => "too many parameters",
            Self::BareLineEnd => "a line does not end in CR LF",
            Self::Unterminated => "the headers do not end",
            Self::NotUtf8 => "the headers are not UTF-8",
            Self::ControlCharacter => "a control character in a header",
            Self::StartLine => "the first line is no request and no response",
            Self::Version => "not SIP/2.0",
            Self::Method => "the method is no token",
            Self::MethodTooLong => "the method is too long",
            Self::StatusCode => "the status code is not 100 to 699",
            Self::RequestUri => "the Request-URI carries what it may not",
            Self::MissingColon => "a header without a colon",
            Self::HeaderName => "a header name that is no token",
            Self::Fold => "a continuation line where none may be",
            Self::Repeated => "a header repeated that may stand once",
            Self::MissingVia => "no Via",
            Self::MissingFrom => "no From",
            Self::MissingTo => "no To",
            Self::MissingCallId => "no Call-ID",
            Self::MissingCSeq => "no CSeq",
            Self::Via => "a malformed Via",
            Self::NameAddr => "a malformed address",
            Self::StarContact => "Contact: * beside another contact",
            Self::CallId => "a malformed Call-ID",
            Self::CSeq => "a malformed CSeq",
            Self::MethodMismatch => "CSeq names another method",
            Self::MaxForwards => "a malformed Max-Forwards",
            Self::ContentLength => "a malformed Content-Length",
            Self::MissingContentLength => "no Content-Length on a stream",
            Self::BodyTooShort => "the body is shorter than Content-Length",
            Self::ContentType => "a malformed Content-Type",
            Self::Seconds => "a malformed number of seconds",
            Self::Date => "a malformed Date",
            Self::Param => "a malformed parameter",
            Self::RepeatedParam => "a parameter repeated",
            Self::Quote => "a quoted string without its end",
            Self::UriScheme => "a URI without a scheme",
            Self::UriUser => "a malformed user in a URI",
            Self::Host => "a malformed host",
            Self::Port => "a malformed port",
            Self::UriParam => "a malformed URI parameter",
            Self::TelNumber => "a malformed telephone number",
            Self::HeaderValue => "a malformed header value",
            Self::Sdp => "a malformed session description",
            Self::SdpTooLong => "a session description beyond its limits",
            Self::SdpRepeated => "a line repeated in a session description",
            Self::SdpNoConnection => "media without a connection address",
            Self::SdpCrypto => "a malformed crypto attribute",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for Violation {}
