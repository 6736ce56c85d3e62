//! Status codes: a number from 100 to 699, its class and its usual phrase (IANA registry).

use crate::Violation;
use std::fmt;

/// A status code from 100 to 699 (RFC 3261 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

/// The first digit of a status code (RFC 3261 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusClass {
    Provisional,
    Success,
    Redirection,
    ClientError,
    ServerError,
    GlobalFailure,
}

impl Status {
    pub const TRYING: Self = Self(100);
    pub const RINGING: Self = Self(180);
    pub const CALL_IS_BEING_FORWARDED: Self = Self(181);
    pub const QUEUED: Self = Self(182);
    pub const SESSION_PROGRESS: Self = Self(183);
    pub const EARLY_DIALOG_TERMINATED: Self = Self(199);
    pub const OK: Self = Self(200);
    pub const ACCEPTED: Self = Self(202);
    pub const NO_NOTIFICATION: Self = Self(204);
    pub const MULTIPLE_CHOICES: Self = Self(300);
    pub const MOVED_PERMANENTLY: Self = Self(301);
    pub const MOVED_TEMPORARILY: Self = Self(302);
    pub const USE_PROXY: Self = Self(305);
    pub const ALTERNATIVE_SERVICE: Self = Self(380);
    pub const BAD_REQUEST: Self = Self(400);
    pub const UNAUTHORIZED: Self = Self(401);
    pub const PAYMENT_REQUIRED: Self = Self(402);
    pub const FORBIDDEN: Self = Self(403);
    pub const NOT_FOUND: Self = Self(404);
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    pub const NOT_ACCEPTABLE: Self = Self(406);
    pub const PROXY_AUTHENTICATION_REQUIRED: Self = Self(407);
    pub const REQUEST_TIMEOUT: Self = Self(408);
    pub const GONE: Self = Self(410);
    pub const CONDITIONAL_REQUEST_FAILED: Self = Self(412);
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self(413);
    pub const REQUEST_URI_TOO_LONG: Self = Self(414);
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    pub const UNSUPPORTED_URI_SCHEME: Self = Self(416);
    pub const UNKNOWN_RESOURCE_PRIORITY: Self = Self(417);
    pub const BAD_EXTENSION: Self = Self(420);
    pub const EXTENSION_REQUIRED: Self = Self(421);
    pub const SESSION_INTERVAL_TOO_SMALL: Self = Self(422);
    pub const INTERVAL_TOO_BRIEF: Self = Self(423);
    pub const BAD_LOCATION_INFORMATION: Self = Self(424);
    pub const USE_IDENTITY_HEADER: Self = Self(428);
    pub const PROVIDE_REFERRER_IDENTITY: Self = Self(429);
    pub const FLOW_FAILED: Self = Self(430);
    pub const ANONYMITY_DISALLOWED: Self = Self(433);
    pub const BAD_IDENTITY_INFO: Self = Self(436);
    pub const UNSUPPORTED_CREDENTIAL: Self = Self(437);
    pub const INVALID_IDENTITY_HEADER: Self = Self(438);
    pub const FIRST_HOP_LACKS_OUTBOUND_SUPPORT: Self = Self(439);
    pub const MAX_BREADTH_EXCEEDED: Self = Self(440);
    pub const BAD_INFO_PACKAGE: Self = Self(469);
    pub const CONSENT_NEEDED: Self = Self(470);
    pub const TEMPORARILY_UNAVAILABLE: Self = Self(480);
    pub const CALL_DOES_NOT_EXIST: Self = Self(481);
    pub const LOOP_DETECTED: Self = Self(482);
    pub const TOO_MANY_HOPS: Self = Self(483);
    pub const ADDRESS_INCOMPLETE: Self = Self(484);
    pub const AMBIGUOUS: Self = Self(485);
    pub const BUSY_HERE: Self = Self(486);
    pub const REQUEST_TERMINATED: Self = Self(487);
    pub const NOT_ACCEPTABLE_HERE: Self = Self(488);
    pub const BAD_EVENT: Self = Self(489);
    pub const REQUEST_PENDING: Self = Self(491);
    pub const UNDECIPHERABLE: Self = Self(493);
    pub const SECURITY_AGREEMENT_REQUIRED: Self = Self(494);
    pub const SERVER_INTERNAL_ERROR: Self = Self(500);
    pub const NOT_IMPLEMENTED: Self = Self(501);
    pub const BAD_GATEWAY: Self = Self(502);
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    pub const SERVER_TIMEOUT: Self = Self(504);
    pub const VERSION_NOT_SUPPORTED: Self = Self(505);
    pub const MESSAGE_TOO_LARGE: Self = Self(513);
    pub const PUSH_NOTIFICATION_SERVICE_NOT_SUPPORTED: Self = Self(555);
    pub const PRECONDITION_FAILURE: Self = Self(580);
    pub const BUSY_EVERYWHERE: Self = Self(600);
    pub const DECLINE: Self = Self(603);
    pub const DOES_NOT_EXIST_ANYWHERE: Self = Self(604);
    pub const GLOBAL_NOT_ACCEPTABLE: Self = Self(606);
    pub const UNWANTED: Self = Self(607);
    pub const REJECTED: Self = Self(608);

    /// # Errors
    /// [`Violation::StatusCode`] outside 100 to 699.
    pub const fn new(code: u16) -> Result<Self, Violation> {
        if 100 <= code && code <= 699 { Ok(Self(code)) } else { Err(Violation::StatusCode) }
    }

    pub const fn code(self) -> u16 {
        self.0
    }

    pub const fn class(self) -> StatusClass {
        match self.0 / 100 {
            1 => StatusClass::Provisional,
            2 => StatusClass::Success,
            3 => StatusClass::Redirection,
            4 => StatusClass::ClientError,
            5 => StatusClass::ServerError,
            _ => StatusClass::GlobalFailure,
        }
    }

    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 200 to 699: it ends the transaction.
    pub const fn is_final(self) -> bool {
        self.0 >= 200
    }

    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// Asks who is there: 401, 407.
    pub const fn is_challenge(self) -> bool {
        matches!(self, Self::UNAUTHORIZED | Self::PROXY_AUTHENTICATION_REQUIRED)
    }

    /// 300 to 699.
    pub const fn is_failure(self) -> bool {
        self.0 >= 300
    }

    /// The phrase of the registry; for a code that has none, that of its class (`x00`,
    /// RFC 3261 §8.1.3.2).
    pub const fn default_reason(self) -> &'static str {
        match self.0 {
            100 => "Trying",
            180 => "Ringing",
            181 => "Call Is Being Forwarded",
            182 => "Queued",
            183 => "Session Progress",
            199 => "Early Dialog Terminated",
            200 => "OK",
            202 => "Accepted",
            204 => "No Notification",
            300 => "Multiple Choices",
            301 => "Moved Permanently",
            302 => "Moved Temporarily",
            305 => "Use Proxy",
            380 => "Alternative Service",
            400 => "Bad Request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            410 => "Gone",
            412 => "Conditional Request Failed",
            413 => "Request Entity Too Large",
            414 => "Request-URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Unsupported URI Scheme",
            417 => "Unknown Resource-Priority",
            420 => "Bad Extension",
            421 => "Extension Required",
            422 => "Session Interval Too Small",
            423 => "Interval Too Brief",
            424 => "Bad Location Information",
            428 => "Use Identity Header",
            429 => "Provide Referrer Identity",
            430 => "Flow Failed",
            433 => "Anonymity Disallowed",
            436 => "Bad Identity Info",
            437 => "Unsupported Credential",
            438 => "Invalid Identity Header",
            439 => "First Hop Lacks Outbound Support",
            440 => "Max-Breadth Exceeded",
            469 => "Bad Info Package",
            470 => "Consent Needed",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            482 => "Loop Detected",
            483 => "Too Many Hops",
            484 => "Address Incomplete",
            485 => "Ambiguous",
            486 => "Busy Here",
            487 => "Request Terminated",
            488 => "Not Acceptable Here",
            489 => "Bad Event",
            491 => "Request Pending",
            493 => "Undecipherable",
            494 => "Security Agreement Required",
            500 => "Server Internal Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Server Time-out",
            505 => "Version Not Supported",
            513 => "Message Too Large",
            555 => "Push Notification Service Not Supported",
            580 => "Precondition Failure",
            600 => "Busy Everywhere",
            603 => "Decline",
            604 => "Does Not Exist Anywhere",
            606 => "Not Acceptable",
            607 => "Unwanted",
            608 => "Rejected",
            _ => match self.class() {
                StatusClass::Provisional => "Session Progress",
                StatusClass::Success => "OK",
                StatusClass::Redirection => "Multiple Choices",
                StatusClass::ClientError => "Bad Request",
                StatusClass::ServerError => "Server Internal Error",
                StatusClass::GlobalFailure => "Busy Everywhere",
            },
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}
