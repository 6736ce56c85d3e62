//! The torture messages of RFC 4475 and RFC 5118, as messages of our own: each puts the trick of one
//! section into a small message and says what must come of it.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "the helpers here are tests as well")]

use bytes::Bytes;
use sip::Violation;

pub(crate) struct Case {
    pub(crate) section: &'static str,
    /// What the RFC calls the message, as a file of its archive.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) message: &'static str,
    pub(crate) expect: Result<(), Violation>,
    pub(crate) then: Then,
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    /// Refused and answered so, without a transaction ([`sip::Message::parse_or_reject`]).
    Answered(u16),
    /// Refused, and nobody is told: it is a response, or an answer could only go to a guessed place.
    Dropped,
    /// Sound. What the exchange, a back-to-back user agent and registrar, does with it.
    Core(&'static str),
}

const USABLE: Result<(), Violation> = Ok(());

const fn refused(violation: Violation) -> Result<(), Violation> {
    Err(violation)
}

/// Lines to CR LF. A `{ordinary}` line stands for the core headers that a case does not play with.
pub(crate) fn bytes(message: &str) -> Bytes {
    let ordinary = "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1\nFrom: <sip:a@example.com>;tag=1\n\
                    To: <sip:b@example.com>\nCall-ID: torture@example.com\nMax-Forwards: 70";
    let from_to = "From: <sip:a@example.com>;tag=1\nTo: <sip:b@example.com>\nCall-ID: torture@example.com\n\
                   Max-Forwards: 70";
    let via_id = "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1\nCall-ID: torture@example.com\n\
                  Max-Forwards: 70";
    let vias: String = (0..33)
        .map(|i| format!("v: SIP/2.0/TCP host{i}.example.com;branch=z9hG4bK{i}\n"))
        .collect();
    message
        .replace("{33 vias}", &vias)
        .replace("{long}", &"k".repeat(1500))
        .replace("{ordinary}", ordinary)
        .replace("{from,to,id}", from_to)
        .replace("{via,id}", via_id)
        .replace('\n', "\r\n")
        .into()
}

/// All cases, as bytes.
pub(crate) fn all() -> impl Iterator<Item = (&'static Case, Bytes)> {
    let cases = RFC_4475_USABLE.iter().chain(RFC_4475_UNUSABLE).chain(RFC_5118);
    cases.map(|case| (case, bytes(case.message)))
}

pub(crate) const WSINV: &str = "\
INVITE sip:vera@example.com;unknown SIP/2.0
TO :
 sip:vera@example.com ;   tag    = 19a
from   : \"V Roe \\\\\\\"\"       <sip:roe@example.com>
  ;
  tag = 98b
MaX-fOrWaRdS: 0068
Call-ID: ws.torture@192.0.2.1
Content-Length   : 4
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skd
s :
NewFangled:   one
 two
Odd: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;with=value;novalue>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ik  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK302
m:\"Quoted \\\"\\\"\" <sip:roe@example.com> ; newparam =
      newvalue ;
  second ; q = 0.33

v=0
";

pub(crate) const INTMETH: &str = "\
!Odd-Method0123456789_*+`.%indeed'~ sip:1_un.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d.(doesn't-it)@example.com SIP/2.0
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:1_un.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:plain@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\";tag=_token~1'+`*%!-.
Call-ID: word%ZK-!.*_+'@word`~)(><:\\/\"][?}{
CSeq: 139122385 !Odd-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extension-!.%*+_`'~:\u{feff}\u{5927}
Content-Length: 0

";

/// Those that an element must understand.
pub(crate) const RFC_4475_USABLE: &[Case] = &[
    Case {
        section: "3.1.1.1",
        name: "wsinv",
        what: "white space and folds wherever legal",
        message: WSINV,
        expect: USABLE,
        then: Then::Core("401; its SDP is judged by `sdp`"),
    },
    Case {
        section: "3.1.1.2",
        name: "intmeth",
        what: "every legal character",
        message: INTMETH,
        expect: USABLE,
        then: Then::Core("401, then 501: the method is unknown"),
    },
    Case {
        section: "3.1.1.3",
        name: "esc01",
        what: "escapes in URIs and quotes",
        message: "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\nFrom: <sip:I%20have%20spaces@example.net>;tag=1\n{via,id}\nCSeq: 1 INVITE\nContact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401; the escapes are undone where the user is looked up, nowhere else"),
    },
    Case {
        section: "3.1.1.4",
        name: "escnull",
        what: "escaped NUL in URIs",
        message: "REGISTER sip:example.com SIP/2.0\nTo: sip:n-%00-n@example.com\nFrom: sip:n-%00-n@example.com;tag=1\n{via,id}\nCSeq: 1 REGISTER\nContact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0\n\n",
        expect: USABLE,
        then: Then::Core("401, then 403: To names no extension of the sender"),
    },
    Case {
        section: "3.1.1.5",
        name: "esc02",
        what: "percent where nothing is escaped",
        message: "RE%47IST%45R sip:r.example.com SIP/2.0\nTo: \"%Z%45\" <sip:res@example.com>\nFrom: \"%Z%45\" <sip:res@example.com>;tag=1\nVia: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fz\nCall-ID: e\nCSeq: 29344 RE%47IST%45R\nContact: <sip:a1@host1.example.com>\nC%6Fntact: <sip:a2@host2.example.com>\nContact: <sip:a3@host3.example.com>\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then 501: an escaped method is another method"),
    },
    Case {
        section: "3.1.1.6",
        name: "lwsdisp",
        what: "no space between display name and bracket",
        message: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\n{via,id}\nCSeq: 60 OPTIONS\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core("401; 200 for whoever signs in"),
    },
    Case {
        section: "3.1.1.8",
        name: "dblreq",
        what: "a second request behind the first in one datagram",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 8 REGISTER\nContent-Length: 0\n\nINVITE sip:joe@example.com SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\n\n",
        expect: USABLE,
        then: Then::Core("the first is answered, the second was never read"),
    },
    Case {
        section: "3.1.1.9",
        name: "semiuri",
        what: "semicolon and parameters in the user part",
        message: "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\n{ordinary}\nCSeq: 8 OPTIONS\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core("401; 200 for whoever signs in"),
    },
    Case {
        section: "3.1.1.10",
        name: "transports",
        what: "known and unknown transports",
        message: "OPTIONS sip:user@example.com SIP/2.0\n{from,to,id}\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP t1.example.com;branch=z9hG4bKk\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKl\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKa\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, to where it came from: the Vias below are only copied"),
    },
    Case {
        section: "3.1.1.11",
        name: "mpart01",
        what: "a body of bytes that are no text",
        message: "MESSAGE sip:k@example.com SIP/2.0\n{ordinary}\nCSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\nContent-Length: 6\n\n\0\u{1}\u{7f}\n\r",
        expect: USABLE,
        then: Then::Core("401, then 405: no MESSAGE is served"),
    },
    Case {
        section: "3.1.1.12",
        name: "unreason",
        what: "a reason phrase of any script",
        message: "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}\n{ordinary}\nCSeq: 35 INVITE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("ignored: it answers nothing of ours"),
    },
    Case {
        section: "3.1.1.13",
        name: "noreason",
        what: "an empty reason phrase",
        message: "SIP/2.0 100 \n{ordinary}\nCSeq: 35 INVITE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("ignored: it answers nothing of ours"),
    },
    Case {
        section: "3.2.1",
        name: "badbranch",
        what: "a branch of nothing but the cookie",
        message: "OPTIONS sip:user@example.com SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\nCSeq: 8 OPTIONS\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core(
            "matched by the fields of RFC 3261 §17.2.3, as one without cookie (`transaction::Match`)",
        ),
    },
    Case {
        section: "3.3.2",
        name: "unkscm",
        what: "a Request-URI of an unknown scheme",
        message: "OPTIONS nobodyKnows:totallyopaque SIP/2.0\n{ordinary}\nCSeq: 3 OPTIONS\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core(
            "401, then 200: an OPTIONS asks nothing of the Request-URI. An INVITE there is 404, not 416",
        ),
    },
    Case {
        section: "3.3.3",
        name: "novelsc",
        what: "a Request-URI of a known scheme that is not SIP",
        message: "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0\n{ordinary}\nCSeq: 2 OPTIONS\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core(
            "401, then 200: an OPTIONS asks nothing of the Request-URI. An INVITE there is 404, not 416",
        ),
    },
    Case {
        section: "3.3.4",
        name: "unksm2",
        what: "unknown schemes in To, From and Contact",
        message: "REGISTER sip:example.com SIP/2.0\nTo: isbn:2983792873\nFrom: <http://www.example.com>;tag=3\n{via,id}\nCSeq: 234902 REGISTER\nContact: <name:John_Smith>\nl:0\n\n",
        expect: USABLE,
        then: Then::Core("401, then 403: To names no extension"),
    },
    Case {
        section: "3.3.5",
        name: "bext01",
        what: "extensions nobody implements",
        message: "OPTIONS sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 OPTIONS\nProxy-Require: nothingSupportsThis, nothingSupportsThisEither\nRequire: nothingSupportsThis\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core(
            "401, then 200. Of INVITE and REGISTER an unknown Require is 420; Proxy-Require is for proxies",
        ),
    },
    Case {
        section: "3.3.6",
        name: "invut",
        what: "an unknown body type",
        message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 2 INVITE\nContent-Type: application/unknownformat\nContent-Length: 4\n\n<a/>",
        expect: USABLE,
        then: Then::Core("401, then 415 with Accept: application/sdp"),
    },
    Case {
        section: "3.3.7",
        name: "regaut01",
        what: "an unknown authorization scheme",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 9338 REGISTER\nAuthorization: NoOneKnowsThisScheme opaque-data=here\nContent-Length:0\n\n",
        expect: USABLE,
        then: Then::Core("401: credentials of another scheme are none"),
    },
    Case {
        section: "3.3.10",
        name: "bcast",
        what: "a response whose second Via is the broadcast address",
        message: "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK2\n{from,to,id}\nCSeq: 35 INVITE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("ignored: it answers nothing of ours, and a second Via is never followed"),
    },
    Case {
        section: "3.3.11",
        name: "zeromf",
        what: "Max-Forwards of zero",
        message: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:u@example.com\nFrom: sip:c@example.net;tag=3\nCall-ID: z\nVia: SIP/2.0/UDP h;branch=z9hG4bKk\nMax-Forwards: 0\nCSeq: 39234321 OPTIONS\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core(
            "401, then 200: we are where an OPTIONS ends. An INVITE would go on, so it is 483",
        ),
    },
    Case {
        section: "3.3.12",
        name: "cparam01",
        what: "a parameter behind a Contact without brackets",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 2 REGISTER\nContact: sip:+19725552222@gw1.example.net;unknownparam\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then registered: the parameter is the header's"),
    },
    Case {
        section: "3.3.13",
        name: "cparam02",
        what: "a URI parameter in a Contact",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 3 REGISTER\nContact: <sip:+19725552222@gw1.example.net;unknownparam>\nl: 0\n\n",
        expect: USABLE,
        then: Then::Core(
            "registered; the parameter belongs to the URI and comes back in the Request-URI",
        ),
    },
    Case {
        section: "3.3.14",
        name: "regescrt",
        what: "headers in the URI of a registered Contact",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 14398234 REGISTER\nM: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>\nL:0\n\n",
        expect: USABLE,
        then: Then::Core("401, then registered; the headers of the URI are in no request of ours"),
    },
    Case {
        section: "3.3.15",
        name: "sdp01",
        what: "Accept without the type that is used",
        message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nAccept: text/nobodyKnowsThis\nContent-Type: application/sdp\nContent-Length: 3\n\nv=0",
        expect: USABLE,
        then: Then::Core("401, then served: Accept is not read"),
    },
    Case {
        section: "3.4.1",
        name: "inv2543",
        what: "RFC 2543: no branch, no tag, no Max-Forwards",
        message: "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\nTo: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: 1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401; matched by the fields of RFC 3261 §17.2.3"),
    },
    Case {
        section: "3.1.1.7",
        name: "longreq",
        what: "long values, many of them",
        message: "INVITE sip:user@example.com SIP/2.0\nTo: \"{long}\" <sip:u@example.com;{long}=x>\nFrom: sip:{long}@example.net;tag=1;p={long}\n{via,id}\nUnknown-{long}: {long}\nCSeq: 1 INVITE\n{33 vias}\n",
        expect: USABLE,
        then: Then::Core("401; the lengths are below our limits"),
    },
];

/// Those that are broken, or that two elements may understand differently.
pub(crate) const RFC_4475_UNUSABLE: &[Case] = &[
    Case {
        section: "3.1.2.1",
        name: "badinv01",
        what: "separators without parameters",
        message: "INVITE sip:user@example.com SIP/2.0\n{from,to,id}\nCSeq: 1 INVITE\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\nContact: \"Joe\" <sip:joe@example.org>;;;;\nContent-Length: 0\n\n",
        expect: refused(Violation::Param),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.2",
        name: "clerr",
        what: "Content-Length beyond the datagram",
        message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nContent-Length: 9999\n\nv=0",
        expect: refused(Violation::BodyTooShort),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.3",
        name: "ncl",
        what: "negative Content-Length",
        message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nContent-Length: -999\n\nv=0",
        expect: refused(Violation::ContentLength),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.4",
        name: "scalar02",
        what: "scalars too large in a request",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 36893488147419103232 REGISTER\nl: 0\n\n",
        expect: refused(Violation::CSeq),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.4",
        name: "scalar02",
        what: "Max-Forwards too large",
        message: "REGISTER sip:example.com SIP/2.0\n{via,id}0\nCSeq: 3 REGISTER\nl: 0\n\n",
        expect: refused(Violation::MaxForwards),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.5",
        name: "scalarlg",
        what: "scalars too large in a response",
        message: "SIP/2.0 503 Service Unavailable\n{ordinary}\nCSeq: 9292394834772304023312 OPTIONS\nRetry-After: 949302838503028349304023988\n\n",
        expect: refused(Violation::CSeq),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.6",
        name: "quotbal",
        what: "an unterminated quote",
        message: "INVITE sip:user@example.com SIP/2.0\nTo: \"Mr. J. User <sip:j.user@example.com>\nFrom: sip:c@example.net;tag=93334\n{via,id}\nCSeq: 8 INVITE\nContent-Length: 0\n\n",
        expect: refused(Violation::Quote),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.7",
        name: "ltgtruri",
        what: "brackets around the Request-URI",
        message: "INVITE <sip:user@example.com> SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
        expect: refused(Violation::UriScheme),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.8",
        name: "lwsruri",
        what: "space inside the Request-URI",
        message: "INVITE sip:user@example.com; lr SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
        expect: refused(Violation::StartLine),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.9",
        name: "lwsstart",
        what: "two spaces in the request line",
        message: "INVITE  sip:user@example.com  SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
        expect: refused(Violation::StartLine),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.10",
        name: "trws",
        what: "space behind the version",
        message: "OPTIONS sip:user@example.com SIP/2.0  \n{ordinary}\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n",
        expect: refused(Violation::StartLine),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.11",
        name: "escruri",
        what: "headers in the Request-URI",
        message: "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
        expect: refused(Violation::RequestUri),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.12",
        name: "baddate",
        what: "a date that is not GMT",
        message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nDate: Fri, 01 Jan 2010 16:00:00 EST\nContent-Length: 0\n\n",
        expect: refused(Violation::Date),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.13",
        name: "regbadct",
        what: "a Contact whose URI headers need brackets",
        message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 1 REGISTER\nContact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\nl: 0\n\n",
        expect: refused(Violation::NameAddr),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.14",
        name: "badaspec",
        what: "spaces inside the brackets",
        message: "OPTIONS sip:user@example.org SIP/2.0\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nFrom: <sip:c@example.net>;tag=3\n{via,id}\nCSeq: 1 OPTIONS\nl: 0\n\n",
        expect: refused(Violation::UriScheme),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.15",
        name: "baddn",
        what: "an unquoted display name with a comma",
        message: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:u@example.com\nFrom: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\n{via,id}\nCSeq: 1 OPTIONS\nl: 0\n\n",
        expect: refused(Violation::NameAddr),
        then: Then::Dropped,
    },
    Case {
        section: "3.1.2.16",
        name: "badvers",
        what: "another version",
        message: "OPTIONS sip:t.watson@example.org SIP/7.0\n{from,to,id}\nVia: SIP/7.0/UDP c.example.com;branch=z9hG4bKk\nCSeq: 1 OPTIONS\nl: 0\n\n",
        expect: refused(Violation::Version),
        then: Then::Answered(505),
    },
    Case {
        section: "3.1.2.17",
        name: "mismatch01",
        what: "a known method against another CSeq",
        message: "OPTIONS sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nl: 0\n\n",
        expect: refused(Violation::MethodMismatch),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.18",
        name: "mismatch02",
        what: "an unknown method against another CSeq",
        message: "NEWMETHOD sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nl: 0\n\n",
        expect: refused(Violation::MethodMismatch),
        then: Then::Answered(400),
    },
    Case {
        section: "3.1.2.19",
        name: "bigcode",
        what: "a status code of ten digits",
        message: "SIP/2.0 4294967301 better not break the receiver\n{ordinary}\nCSeq: 353494 INVITE\nContent-Length: 0\n\n",
        expect: refused(Violation::StatusCode),
        then: Then::Dropped,
    },
    Case {
        section: "3.3.1",
        name: "insuf",
        what: "no Call-ID, From and To",
        message: "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKk\nContent-Length: 0\n\n",
        expect: refused(Violation::MissingFrom),
        then: Then::Dropped,
    },
    Case {
        section: "3.3.8",
        name: "multi01",
        what: "headers that may stand once stand twice",
        message: "INVITE sip:user@company.com SIP/2.0\n{ordinary}\nCSeq: 5 INVITE\nCSeq: 59 INVITE\nCall-ID: another\nContent-Length: 0\n\n",
        expect: refused(Violation::Repeated),
        then: Then::Dropped,
    },
    Case {
        section: "3.3.9",
        name: "mcl01",
        what: "two Content-Lengths",
        message: "OPTIONS sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 5 OPTIONS\nContent-Length: 13\nContent-Length: 5\n\nThere's no way to know",
        expect: refused(Violation::Repeated),
        then: Then::Answered(400),
    },
];

pub(crate) const RFC_5118: &[Case] = &[
    Case {
        section: "4.1",
        name: "ipv6-good",
        what: "an IPv6 reference",
        message: "REGISTER sip:[2001:db8::10] SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.2",
        name: "ipv6-bad",
        what: "an IPv6 address without brackets",
        message: "REGISTER sip:2001:db8::10 SIP/2.0\n{ordinary}\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
        expect: refused(Violation::Host),
        then: Then::Answered(400),
    },
    Case {
        section: "4.3",
        name: "port-ambiguous",
        what: "what looks like a port is part of the address",
        message: "REGISTER sip:[2001:db8::10:5070] SIP/2.0\n{ordinary}\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.4",
        name: "port-unambiguous",
        what: "a port behind the bracket",
        message: "REGISTER sip:[2001:db8::10]:5070 SIP/2.0\n{ordinary}\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.5",
        name: "via-received-param-with-delim",
        what: "received in brackets",
        message: "BYE sip:[2001:db8::10] SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\nCSeq: 1 BYE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.5",
        name: "via-received-param-no-delim",
        what: "received without brackets",
        message: "OPTIONS sip:[2001:db8::10] SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.6",
        name: "ipv6-in-sdp",
        what: "IPv6 in SDP",
        message: "INVITE sip:user@[2001:db8::10] SIP/2.0\n{ordinary}\nCSeq: 8612 INVITE\nContent-Type: application/sdp\n\nv=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=-\nc=IN IP6 2001:db8::20\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.7",
        name: "mult-ip-in-header",
        what: "both families in Via",
        message: "BYE sip:user@host.example.net SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKj\nVia: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK4;received=192.0.2.200\nCSeq: 89187 BYE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.8",
        name: "mult-ip-in-sdp",
        what: "both families in one session",
        message: "INVITE sip:user@[2001:db8::10] SIP/2.0\n{ordinary}\nCSeq: 8912 INVITE\nContent-Type: application/sdp\n\nv=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=-\nc=IN IP6 2001:db8::1\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\nm=video 6024 RTP/AVP 107\nc=IN IP4 192.0.2.11\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.9",
        name: "ipv4-mapped-ipv6",
        what: "IPv4-mapped addresses",
        message: "INVITE sip:user@example.com SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\nContact: \"T. desk phone\" <sip:ted@[::ffff:192.0.2.2]>\nCSeq: 612 INVITE\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    Case {
        section: "4.10",
        name: "ipv6-correct-abnf-2-colons",
        what: "two colons before an embedded IPv4 address",
        message: "OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0\n{ordinary}\nCSeq: 689 OPTIONS\nContent-Length: 0\n\n",
        expect: USABLE,
        then: Then::Core("401, then as any other"),
    },
    // The section lets an element be lenient here; three colons are no address by RFC 4291.
    Case {
        section: "4.10",
        name: "ipv6-bug-abnf-3-colons",
        what: "three colons before an embedded IPv4 address",
        message: "OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0\n{ordinary}\nCSeq: 689 OPTIONS\nContent-Length: 0\n\n",
        expect: refused(Violation::Host),
        then: Then::Answered(400),
    },
];

/// What phones and carriers send, each header as usual: what a mutation starts from.
pub(crate) fn plain() -> impl Iterator<Item = Bytes> {
    PLAIN.iter().map(|message| bytes(message))
}

const PLAIN: &[&str] = &[
    "INVITE sip:1002@pbx.example.com;transport=tls SIP/2.0\nVia: SIP/2.0/TLS 192.0.2.101:50612;branch=z9hG4bK-5-1;rport;alias\nMax-Forwards: 70\nContact: <sip:1001@192.0.2.101:50612;transport=tls>;+sip.instance=\"<urn:uuid:0-1>\";q=0.5\nTo: \"Reception\" <sip:1002@pbx.example.com>\nFrom: \"Alice \\\"A\\\" Example\" <sip:1001@pbx.example.com>;tag=4f1f2a0c\nCall-ID: 86213NmYz@192.0.2.101\nCSeq: 2 INVITE\nRoute: <sip:edge.example.com;lr>, <sip:p2.example.com:5080;lr>\nAllow: INVITE, ACK\nSupported: replaces, timer\nSession-Expires: 1800\nContent-Type: application/sdp\nContent-Length: 7\n\nv=0\no=\n",
    "REGISTER sips:pbx.example.com SIP/2.0\nv: SIP/2.0/TCP [2001:db8::9]:5060 ; branch=z9hG4bKr , SIP/2.0/UDP h2.example.com;received=192.0.2.9;rport=5099;branch=z9hG4bKs\nf: sip:1001@pbx.example.com;tag=a\nt: <sip:1001@pbx.example.com>\ni: r1\nCSeq: 1 REGISTER\nm: <sip:1001@192.0.2.1>;expires=60, \"b, c\" <sips:1001@192.0.2.2>;q=1\nExpires: 3600\nDate: Sat, 13 Nov 2010 23:29:00 GMT\nMax-Forwards: 69\nl: 0\n\n",
    "SIP/2.0 200 OK\nVia: SIP/2.0/TLS pbx.example.com:5061;branch=z9hG4bK77;received=192.0.2.1\nFrom: <sip:a@example.com>;tag=1\nTo: Bob <sip:b@example.com;user=phone>;tag=2\nCall-ID: c1\nCSeq: 314 INVITE\nRecord-Route: <sip:p1.example.com;lr>\nContact: tel:+12125550100\nServer: x\nContent-Length: 0\n\n",
    "BYE sip:a@[2001:db8::1]:5070 SIP/2.0\n{ordinary}\nCSeq: 2147483647 BYE\nReason: Q.850;cause=16\nSubject: a\n  b\n\n",
    "REGISTER sip:pbx.example.com SIP/2.0\n{ordinary}\nCSeq: 3 REGISTER\nContact: *\nExpires: 0\n\n",
];

/// Makes messages out of messages, the same ones for the same seed.
pub(crate) struct Mutator(pure::Chance);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(pure::Chance::from_number(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// One of the corpus with a change or a few: of many changes nothing is taken.
    pub(crate) fn next(&mut self, corpus: &[Bytes]) -> Bytes {
        let chosen = self.below(corpus.len());
        let mut bytes = corpus[chosen].to_vec();
        let more = self.below(2) * self.below(4);
        for _ in 0..=more {
            self.change(&mut bytes, corpus);
        }
        bytes.into()
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Bytes]) {
        let at = self.below(bytes.len() + 1);
        match self.below(12) {
            // A word of the trade, or a byte that means something, put in or written over.
            0 | 1 => {
                let word = self.pick(WORDS);
                bytes.splice(at..at, word.bytes());
            }
            2 => {
                let word = self.pick(WORDS);
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word.bytes());
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.0.below(256) as u8;
                }
            }
            4 => {
                let end = (at + 1 + self.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            // Whole lines: away, twice, exchanged, taken from another message.
            kind => self.change_line(bytes, kind, corpus),
        }
    }

    fn change_line(&mut self, bytes: &mut Vec<u8>, kind: usize, corpus: &[Bytes]) {
        let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
        };
        let mut own = lines(bytes);
        let at = self.below(own.len());
        match kind {
            5 => {
                own.remove(at);
            }
            6 => own.insert(at, own[at].clone()),
            7 => {
                let other = self.below(own.len());
                own.swap(at, other);
            }
            8 | 9 => {
                let other = lines(&corpus[self.below(corpus.len())]);
                own.insert(at, other[self.below(other.len())].clone());
            }
            // Cut in two by a line end of some kind.
            10 => {
                let end = self.pick(&["\r\n ", "\r\n\t", "\r\n", "\n", "\r", "\r\n \r\n "]);
                let cut = self.below(own[at].len());
                own[at].splice(cut..cut, end.bytes());
            }
            _ => own[at].make_ascii_uppercase(),
        }
        *bytes = own.concat();
    }
}

const WORDS: &[&str] = &[
    " ",
    "\t",
    "\r\n",
    "\r",
    "\n",
    "\0",
    "\u{7f}",
    "\u{e9}",
    ",",
    ";",
    ":",
    "/",
    "?",
    "@",
    "<",
    ">",
    "\"",
    "\\",
    "=",
    "%",
    "%00",
    "%41",
    "%zz",
    "[",
    "]",
    "[::1]",
    "*",
    "-1",
    "+1",
    "0",
    "00",
    "256",
    "65536",
    "4294967296",
    "99999999999999999999",
    ";;",
    ";tag=x",
    ";branch=",
    ";lr",
    ";rport",
    ";received=",
    ";expires=9",
    "sip:",
    "tel:",
    "SIP/2.0",
    "sip/2.0",
    "SIP/3.0",
    "INVITE",
    "v: ",
    "l: 1\r\n",
    "i: x\r\n",
    "Content-Length: 0\r\n",
    "Contact: *\r\n",
    "To: <sip:x@y>\r\n",
    "CSeq: 1 ACK\r\n",
    "Max-Forwards: 7\r\n",
    "Expires: x\r\n",
    "f: a\r\n",
    "Route: <sip:r;lr>\r\n",
];
