//! Header names: known ones by id, long and compact form alike (RFC 3261 §7.3.3 and the IANA registry).

use std::fmt;

/// A header name we know. A header of another name is [`Name::Other`] and is found by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    Contact,
    Route,
    RecordRoute,
    ContentLength,
    ContentType,
    ContentEncoding,
    ContentDisposition,
    ContentLanguage,
    MimeVersion,
    Expires,
    MinExpires,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    AuthenticationInfo,
    Require,
    ProxyRequire,
    Supported,
    Unsupported,
    Allow,
    AllowEvents,
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    Event,
    SubscriptionState,
    ReferTo,
    ReferredBy,
    ReferSub,
    Replaces,
    Join,
    SessionExpires,
    MinSe,
    RAck,
    RSeq,
    Reason,
    PAssertedIdentity,
    PPreferredIdentity,
    PEarlyMedia,
    Privacy,
    Identity,
    IdentityInfo,
    Date,
    Diversion,
    HistoryInfo,
    AlertInfo,
    CallInfo,
    ErrorInfo,
    RetryAfter,
    UserAgent,
    Server,
    Warning,
    Path,
    ServiceRoute,
    Subject,
    Timestamp,
    InReplyTo,
    ReplyTo,
    Organization,
    Priority,
    AcceptContact,
    RejectContact,
    RequestDisposition,
    InfoPackage,
    RecvInfo,
    SipEtag,
    SipIfMatch,
    Geolocation,
    ResourcePriority,
    TargetDialog,
    AnswerMode,
    RemotePartyId,
    /// Any name not in this list.
    Other,
}

/// Each name as it is mostly written, and its compact form.
const KNOWN: [(&str, Name); 99] = [
    ("Via", Name::Via),
    ("v", Name::Via),
    ("From", Name::From),
    ("f", Name::From),
    ("To", Name::To),
    ("t", Name::To),
    ("Call-ID", Name::CallId),
    ("i", Name::CallId),
    ("CSeq", Name::CSeq),
    ("Max-Forwards", Name::MaxForwards),
    ("Contact", Name::Contact),
    ("m", Name::Contact),
    ("Route", Name::Route),
    ("Record-Route", Name::RecordRoute),
    ("Content-Length", Name::ContentLength),
    ("l", Name::ContentLength),
    ("Content-Type", Name::ContentType),
    ("c", Name::ContentType),
    ("Content-Encoding", Name::ContentEncoding),
    ("e", Name::ContentEncoding),
    ("Content-Disposition", Name::ContentDisposition),
    ("Content-Language", Name::ContentLanguage),
    ("MIME-Version", Name::MimeVersion),
    ("Expires", Name::Expires),
    ("Min-Expires", Name::MinExpires),
    ("Authorization", Name::Authorization),
    ("Proxy-Authorization", Name::ProxyAuthorization),
    ("WWW-Authenticate", Name::WwwAuthenticate),
    ("Proxy-Authenticate", Name::ProxyAuthenticate),
    ("Authentication-Info", Name::AuthenticationInfo),
    ("Require", Name::Require),
    ("Proxy-Require", Name::ProxyRequire),
    ("Supported", Name::Supported),
    ("k", Name::Supported),
    ("Unsupported", Name::Unsupported),
    ("Allow", Name::Allow),
    ("Allow-Events", Name::AllowEvents),
    ("u", Name::AllowEvents),
    ("Accept", Name::Accept),
    ("Accept-Encoding", Name::AcceptEncoding),
    ("Accept-Language", Name::AcceptLanguage),
    ("Event", Name::Event),
    ("o", Name::Event),
    ("Subscription-State", Name::SubscriptionState),
    ("Refer-To", Name::ReferTo),
    ("r", Name::ReferTo),
    ("Referred-By", Name::ReferredBy),
    ("b", Name::ReferredBy),
    ("Refer-Sub", Name::ReferSub),
    ("Replaces", Name::Replaces),
    ("Join", Name::Join),
    ("Session-Expires", Name::SessionExpires),
    ("x", Name::SessionExpires),
    ("Min-SE", Name::MinSe),
    ("RAck", Name::RAck),
    ("RSeq", Name::RSeq),
    ("Reason", Name::Reason),
    ("P-Asserted-Identity", Name::PAssertedIdentity),
    ("P-Preferred-Identity", Name::PPreferredIdentity),
    ("P-Early-Media", Name::PEarlyMedia),
    ("Privacy", Name::Privacy),
    ("Identity", Name::Identity),
    ("y", Name::Identity),
    ("Identity-Info", Name::IdentityInfo),
    ("n", Name::IdentityInfo),
    ("Date", Name::Date),
    ("Diversion", Name::Diversion),
    ("History-Info", Name::HistoryInfo),
    ("Alert-Info", Name::AlertInfo),
    ("Call-Info", Name::CallInfo),
    ("Error-Info", Name::ErrorInfo),
    ("Retry-After", Name::RetryAfter),
    ("User-Agent", Name::UserAgent),
    ("Server", Name::Server),
    ("Warning", Name::Warning),
    ("Path", Name::Path),
    ("Service-Route", Name::ServiceRoute),
    ("Subject", Name::Subject),
    ("s", Name::Subject),
    ("Timestamp", Name::Timestamp),
    ("In-Reply-To", Name::InReplyTo),
    ("Reply-To", Name::ReplyTo),
    ("Organization", Name::Organization),
    ("Priority", Name::Priority),
    ("Accept-Contact", Name::AcceptContact),
    ("a", Name::AcceptContact),
    ("Reject-Contact", Name::RejectContact),
    ("j", Name::RejectContact),
    ("Request-Disposition", Name::RequestDisposition),
    ("d", Name::RequestDisposition),
    ("Info-Package", Name::InfoPackage),
    ("Recv-Info", Name::RecvInfo),
    ("SIP-ETag", Name::SipEtag),
    ("SIP-If-Match", Name::SipIfMatch),
    ("Geolocation", Name::Geolocation),
    ("Resource-Priority", Name::ResourcePriority),
    ("Target-Dialog", Name::TargetDialog),
    ("Answer-Mode", Name::AnswerMode),
    ("Remote-Party-ID", Name::RemotePartyId),
];

/// Where each stands in [`KNOWN`], counted from one; zero is free. A third of it is used, so few names
/// are compared with more than one.
static TABLE: [u8; 512] = table();

const fn table() -> [u8; 512] {
    let mut table = [0; 512];
    let mut index = 0;
    while index < KNOWN.len() {
        let mut at = hash(KNOWN[index].0.as_bytes());
        while table[at] != 0 {
            at = (at + 1) % table.len();
        }
        index += 1;
        table[at] = index as u8;
    }
    table
}

/// Of the length and three letters, whatever their case.
const fn hash(name: &[u8]) -> usize {
    if name.is_empty() {
        return 0;
    }
    let first = (name[0] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    (first * 7 + middle * 31 + last * 13 + name.len() * 67) % 512
}

impl Name {
    /// Names compare without case; the compact form is the same name.
    pub fn parse(name: &[u8]) -> Self {
        let mut at = hash(name);
        loop {
            match TABLE[at] {
                0 => return Self::Other,
                known => {
                    let (text, name_of) = KNOWN[usize::from(known) - 1];
                    if text.as_bytes() == name || text.as_bytes().eq_ignore_ascii_case(name) {
                        return name_of;
                    }
                }
            }
            at = (at + 1) % TABLE.len();
        }
    }

    /// The long form; empty for [`Name::Other`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Via => "Via",
            Self::From => "From",
            Self::To => "To",
            Self::CallId => "Call-ID",
            Self::CSeq => "CSeq",
            Self::MaxForwards => "Max-Forwards",
            Self::Contact => "Contact",
            Self::Route => "Route",
            Self::RecordRoute => "Record-Route",
            Self::ContentLength => "Content-Length",
            Self::ContentType => "Content-Type",
            Self::ContentEncoding => "Content-Encoding",
            Self::ContentDisposition => "Content-Disposition",
            Self::ContentLanguage => "Content-Language",
            Self::MimeVersion => "MIME-Version",
            Self::Expires => "Expires",
            Self::MinExpires => "Min-Expires",
            Self::Authorization => "Authorization",
            Self::ProxyAuthorization => "Proxy-Authorization",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::ProxyAuthenticate => "Proxy-Authenticate",
            Self::AuthenticationInfo => "Authentication-Info",
            Self::Require => "Require",
            Self::ProxyRequire => "Proxy-Require",
            Self::Supported => "Supported",
            Self::Unsupported => "Unsupported",
            Self::Allow => "Allow",
            Self::AllowEvents => "Allow-Events",
            Self::Accept => "Accept",
            Self::AcceptEncoding => "Accept-Encoding",
            Self::AcceptLanguage => "Accept-Language",
            Self::Event => "Event",
            Self::SubscriptionState => "Subscription-State",
            Self::ReferTo => "Refer-To",
            Self::ReferredBy => "Referred-By",
            Self::ReferSub => "Refer-Sub",
            Self::Replaces => "Replaces",
            Self::Join => "Join",
            Self::SessionExpires => "Session-Expires",
            Self::MinSe => "Min-SE",
            Self::RAck => "RAck",
            Self::RSeq => "RSeq",
            Self::Reason => "Reason",
            Self::PAssertedIdentity => "P-Asserted-Identity",
            Self::PPreferredIdentity => "P-Preferred-Identity",
            Self::PEarlyMedia => "P-Early-Media",
            Self::Privacy => "Privacy",
            Self::Identity => "Identity",
            Self::IdentityInfo => "Identity-Info",
            Self::Date => "Date",
            Self::Diversion => "Diversion",
            Self::HistoryInfo => "History-Info",
            Self::AlertInfo => "Alert-Info",
            Self::CallInfo => "Call-Info",
            Self::ErrorInfo => "Error-Info",
            Self::RetryAfter => "Retry-After",
            Self::UserAgent => "User-Agent",
            Self::Server => "Server",
            Self::Warning => "Warning",
            Self::Path => "Path",
            Self::ServiceRoute => "Service-Route",
            Self::Subject => "Subject",
            Self::Timestamp => "Timestamp",
            Self::InReplyTo => "In-Reply-To",
            Self::ReplyTo => "Reply-To",
            Self::Organization => "Organization",
            Self::Priority => "Priority",
            Self::AcceptContact => "Accept-Contact",
            Self::RejectContact => "Reject-Contact",
            Self::RequestDisposition => "Request-Disposition",
            Self::InfoPackage => "Info-Package",
            Self::RecvInfo => "Recv-Info",
            Self::SipEtag => "SIP-ETag",
            Self::SipIfMatch => "SIP-If-Match",
            Self::Geolocation => "Geolocation",
            Self::ResourcePriority => "Resource-Priority",
            Self::TargetDialog => "Target-Dialog",
            Self::AnswerMode => "Answer-Mode",
            Self::RemotePartyId => "Remote-Party-ID",
            Self::Other => "",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_however_it_is_written() {
        for (text, name) in KNOWN {
            assert_eq!(Name::parse(text.as_bytes()), name);
            assert_eq!(Name::parse(text.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(Name::parse(text.to_ascii_lowercase().as_bytes()), name);
            assert_eq!(Name::parse(name.as_str().as_bytes()), name);
            assert_eq!(Name::parse(format!("{text}x").as_bytes()), Name::Other, "{text}x");
        }
        for other in ["", "x-thing", "q", "Content-Lenght"] {
            assert_eq!(Name::parse(other.as_bytes()), Name::Other, "{other}");
        }
    }
}
