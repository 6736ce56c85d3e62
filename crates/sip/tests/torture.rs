//! The torture tests of RFC 4475 and RFC 5118, as messages of our own.
//!
//! Each case puts the trick of one section into a small message and says what must come of it. Of the
//! 49 sections of RFC 4475 we accept the 27 that describe a usable message and refuse the 22 that do
//! not, among them all 13 that no element may accept. Where those RFCs leave a choice we refuse, since
//! two readers may understand such a message differently.

use bytes::Bytes;
use sip::{Message, Method, Name, Request, Scheme, Transport, Violation};

struct Case {
    section: &'static str,
    what: &'static str,
    message: &'static str,
    expect: Result<(), Violation>,
}

const USABLE: Result<(), Violation> = Ok(());

const fn refused(violation: Violation) -> Result<(), Violation> {
    Err(violation)
}

/// Lines to CR LF. A `{ordinary}` line stands for the core headers that a case does not play with.
fn bytes(message: &str) -> Bytes {
    let ordinary = "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1\nFrom: <sip:a@example.com>;tag=1\n\
                    To: <sip:b@example.com>\nCall-ID: torture@example.com\nMax-Forwards: 70";
    let from_to = "From: <sip:a@example.com>;tag=1\nTo: <sip:b@example.com>\nCall-ID: torture@example.com\n\
                   Max-Forwards: 70";
    let via_id = "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1\nCall-ID: torture@example.com\n\
                  Max-Forwards: 70";
    message
        .replace("{ordinary}", ordinary)
        .replace("{from,to,id}", from_to)
        .replace("{via,id}", via_id)
        .replace('\n', "\r\n")
        .into()
}

fn request(message: &str) -> Request {
    match Message::parse(bytes(message)) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?} for\n{message}"),
    }
}

fn check(cases: &[Case]) {
    for case in cases {
        let got = Message::parse(bytes(case.message)).map(|_| ());
        assert_eq!(got, case.expect, "{} {}:\n{}", case.section, case.what, case.message);
    }
}

const WSINV: &str = "\
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

const INTMETH: &str = "\
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

#[test]
fn rfc_4475_usable_messages_are_accepted() {
    check(&[
        Case {
            section: "3.1.1.1",
            what: "white space and folds wherever legal",
            message: WSINV,
            expect: USABLE,
        },
        Case {
            section: "3.1.1.2",
            what: "every legal character",
            message: INTMETH,
            expect: USABLE,
        },
        Case {
            section: "3.1.1.3",
            what: "escapes in URIs and quotes",
            message: "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\nFrom: <sip:I%20have%20spaces@example.net>;tag=1\n{via,id}\nCSeq: 1 INVITE\nContact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.4",
            what: "escaped NUL in URIs",
            message: "REGISTER sip:example.com SIP/2.0\nTo: sip:n-%00-n@example.com\nFrom: sip:n-%00-n@example.com;tag=1\n{via,id}\nCSeq: 1 REGISTER\nContact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.5",
            what: "percent where nothing is escaped",
            message: "RE%47IST%45R sip:r.example.com SIP/2.0\nTo: \"%Z%45\" <sip:res@example.com>\nFrom: \"%Z%45\" <sip:res@example.com>;tag=1\nVia: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fz\nCall-ID: e\nCSeq: 29344 RE%47IST%45R\nContact: <sip:a1@host1.example.com>\nC%6Fntact: <sip:a2@host2.example.com>\nContact: <sip:a3@host3.example.com>\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.6",
            what: "no space between display name and bracket",
            message: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\n{via,id}\nCSeq: 60 OPTIONS\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.8",
            what: "a second request behind the first in one datagram",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 8 REGISTER\nContent-Length: 0\n\nINVITE sip:joe@example.com SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.9",
            what: "semicolon and parameters in the user part",
            message: "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\n{ordinary}\nCSeq: 8 OPTIONS\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.10",
            what: "known and unknown transports",
            message: "OPTIONS sip:user@example.com SIP/2.0\n{from,to,id}\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP t1.example.com;branch=z9hG4bKk\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKl\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKa\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.11",
            what: "a body of bytes that are no text",
            message: "MESSAGE sip:k@example.com SIP/2.0\n{ordinary}\nCSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\nContent-Length: 6\n\n\0\u{1}\u{7f}\n\r",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.12",
            what: "a reason phrase of any script",
            message: "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}\n{ordinary}\nCSeq: 35 INVITE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.1.1.13",
            what: "an empty reason phrase",
            message: "SIP/2.0 100 \n{ordinary}\nCSeq: 35 INVITE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.2.1",
            what: "a branch of nothing but the cookie",
            message: "OPTIONS sip:user@example.com SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\nCSeq: 8 OPTIONS\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.2",
            what: "a Request-URI of an unknown scheme",
            message: "OPTIONS nobodyKnows:totallyopaque SIP/2.0\n{ordinary}\nCSeq: 3 OPTIONS\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.3",
            what: "a Request-URI of a known scheme that is not SIP",
            message: "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0\n{ordinary}\nCSeq: 2 OPTIONS\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.4",
            what: "unknown schemes in To, From and Contact",
            message: "REGISTER sip:example.com SIP/2.0\nTo: isbn:2983792873\nFrom: <http://www.example.com>;tag=3\n{via,id}\nCSeq: 234902 REGISTER\nContact: <name:John_Smith>\nl:0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.5",
            what: "extensions nobody implements",
            message: "OPTIONS sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 OPTIONS\nProxy-Require: nothingSupportsThis, nothingSupportsThisEither\nRequire: nothingSupportsThis\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.6",
            what: "an unknown body type",
            message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 2 INVITE\nContent-Type: application/unknownformat\nContent-Length: 4\n\n<a/>",
            expect: USABLE,
        },
        Case {
            section: "3.3.7",
            what: "an unknown authorization scheme",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 9338 REGISTER\nAuthorization: NoOneKnowsThisScheme opaque-data=here\nContent-Length:0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.10",
            what: "a response whose second Via is the broadcast address",
            message: "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK2\n{from,to,id}\nCSeq: 35 INVITE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.11",
            what: "Max-Forwards of zero",
            message: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:u@example.com\nFrom: sip:c@example.net;tag=3\nCall-ID: z\nVia: SIP/2.0/UDP h;branch=z9hG4bKk\nMax-Forwards: 0\nCSeq: 39234321 OPTIONS\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.12",
            what: "a parameter behind a Contact without brackets",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 2 REGISTER\nContact: sip:+19725552222@gw1.example.net;unknownparam\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.13",
            what: "a URI parameter in a Contact",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 3 REGISTER\nContact: <sip:+19725552222@gw1.example.net;unknownparam>\nl: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.14",
            what: "headers in the URI of a registered Contact",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 14398234 REGISTER\nM: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>\nL:0\n\n",
            expect: USABLE,
        },
        Case {
            section: "3.3.15",
            what: "Accept without the type that is used",
            message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nAccept: text/nobodyKnowsThis\nContent-Type: application/sdp\nContent-Length: 3\n\nv=0",
            expect: USABLE,
        },
        Case {
            section: "3.4.1",
            what: "RFC 2543: no branch, no tag, no Max-Forwards",
            message: "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\nTo: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: 1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
    ]);
    // §3.1.1.7: long values, many of them.
    let long = "k".repeat(1500);
    let mut message = format!(
        "INVITE sip:user@example.com SIP/2.0\nTo: \"{long}\" <sip:u@example.com;{long}=x>\nFrom: sip:{long}@example.net;tag=1;p={long}\n{{via,id}}\nUnknown-{long}: {long}\nCSeq: 1 INVITE\n"
    );
    for i in 0..33 {
        message += &format!("v: SIP/2.0/TCP host{i}.example.com;branch=z9hG4bK{i}\n");
    }
    assert_eq!(request(&(message + "\n")).headers().vias().count(), 34);
}

#[test]
fn rfc_4475_unusable_messages_are_refused() {
    check(&[
        Case {
            section: "3.1.2.1",
            what: "separators without parameters",
            message: "INVITE sip:user@example.com SIP/2.0\n{from,to,id}\nCSeq: 1 INVITE\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\nContact: \"Joe\" <sip:joe@example.org>;;;;\nContent-Length: 0\n\n",
            expect: refused(Violation::Param),
        },
        Case {
            section: "3.1.2.2",
            what: "Content-Length beyond the datagram",
            message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nContent-Length: 9999\n\nv=0",
            expect: refused(Violation::BodyTooShort),
        },
        Case {
            section: "3.1.2.3",
            what: "negative Content-Length",
            message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nContent-Length: -999\n\nv=0",
            expect: refused(Violation::ContentLength),
        },
        Case {
            section: "3.1.2.4",
            what: "scalars too large in a request",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 36893488147419103232 REGISTER\nl: 0\n\n",
            expect: refused(Violation::CSeq),
        },
        Case {
            section: "3.1.2.4",
            what: "Max-Forwards too large",
            message: "REGISTER sip:example.com SIP/2.0\n{via,id}0\nCSeq: 3 REGISTER\nl: 0\n\n",
            expect: refused(Violation::MaxForwards),
        },
        Case {
            section: "3.1.2.5",
            what: "scalars too large in a response",
            message: "SIP/2.0 503 Service Unavailable\n{ordinary}\nCSeq: 9292394834772304023312 OPTIONS\nRetry-After: 949302838503028349304023988\n\n",
            expect: refused(Violation::CSeq),
        },
        Case {
            section: "3.1.2.6",
            what: "an unterminated quote",
            message: "INVITE sip:user@example.com SIP/2.0\nTo: \"Mr. J. User <sip:j.user@example.com>\nFrom: sip:c@example.net;tag=93334\n{via,id}\nCSeq: 8 INVITE\nContent-Length: 0\n\n",
            expect: refused(Violation::Quote),
        },
        Case {
            section: "3.1.2.7",
            what: "brackets around the Request-URI",
            message: "INVITE <sip:user@example.com> SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
            expect: refused(Violation::UriScheme),
        },
        Case {
            section: "3.1.2.8",
            what: "space inside the Request-URI",
            message: "INVITE sip:user@example.com; lr SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
            expect: refused(Violation::StartLine),
        },
        Case {
            section: "3.1.2.9",
            what: "two spaces in the request line",
            message: "INVITE  sip:user@example.com  SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
            expect: refused(Violation::StartLine),
        },
        Case {
            section: "3.1.2.10",
            what: "space behind the version",
            message: "OPTIONS sip:user@example.com SIP/2.0  \n{ordinary}\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n",
            expect: refused(Violation::StartLine),
        },
        Case {
            section: "3.1.2.11",
            what: "headers in the Request-URI",
            message: "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
            expect: refused(Violation::RequestUri),
        },
        Case {
            section: "3.1.2.12",
            what: "a date that is not GMT",
            message: "INVITE sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 1 INVITE\nDate: Fri, 01 Jan 2010 16:00:00 EST\nContent-Length: 0\n\n",
            expect: refused(Violation::Date),
        },
        Case {
            section: "3.1.2.13",
            what: "a Contact whose URI headers need brackets",
            message: "REGISTER sip:example.com SIP/2.0\n{ordinary}\nCSeq: 1 REGISTER\nContact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\nl: 0\n\n",
            expect: refused(Violation::NameAddr),
        },
        Case {
            section: "3.1.2.14",
            what: "spaces inside the brackets",
            message: "OPTIONS sip:user@example.org SIP/2.0\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nFrom: <sip:c@example.net>;tag=3\n{via,id}\nCSeq: 1 OPTIONS\nl: 0\n\n",
            expect: refused(Violation::UriScheme),
        },
        Case {
            section: "3.1.2.15",
            what: "an unquoted display name with a comma",
            message: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:u@example.com\nFrom: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\n{via,id}\nCSeq: 1 OPTIONS\nl: 0\n\n",
            expect: refused(Violation::NameAddr),
        },
        Case {
            section: "3.1.2.16",
            what: "another version",
            message: "OPTIONS sip:t.watson@example.org SIP/7.0\n{from,to,id}\nVia: SIP/7.0/UDP c.example.com;branch=z9hG4bKk\nCSeq: 1 OPTIONS\nl: 0\n\n",
            expect: refused(Violation::Version),
        },
        Case {
            section: "3.1.2.17",
            what: "a known method against another CSeq",
            message: "OPTIONS sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nl: 0\n\n",
            expect: refused(Violation::MethodMismatch),
        },
        Case {
            section: "3.1.2.18",
            what: "an unknown method against another CSeq",
            message: "NEWMETHOD sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 8 INVITE\nl: 0\n\n",
            expect: refused(Violation::MethodMismatch),
        },
        Case {
            section: "3.1.2.19",
            what: "a status code of ten digits",
            message: "SIP/2.0 4294967301 better not break the receiver\n{ordinary}\nCSeq: 353494 INVITE\nContent-Length: 0\n\n",
            expect: refused(Violation::StatusCode),
        },
        Case {
            section: "3.3.1",
            what: "no Call-ID, From and To",
            message: "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKk\nContent-Length: 0\n\n",
            expect: refused(Violation::MissingFrom),
        },
        Case {
            section: "3.3.8",
            what: "headers that may stand once stand twice",
            message: "INVITE sip:user@company.com SIP/2.0\n{ordinary}\nCSeq: 5 INVITE\nCSeq: 59 INVITE\nCall-ID: another\nContent-Length: 0\n\n",
            expect: refused(Violation::Repeated),
        },
        Case {
            section: "3.3.9",
            what: "two Content-Lengths",
            message: "OPTIONS sip:user@example.com SIP/2.0\n{ordinary}\nCSeq: 5 OPTIONS\nContent-Length: 13\nContent-Length: 5\n\nThere's no way to know",
            expect: refused(Violation::Repeated),
        },
    ]);
}

#[test]
fn rfc_5118_messages_are_judged() {
    check(&[
        Case {
            section: "4.1",
            what: "an IPv6 reference",
            message: "REGISTER sip:[2001:db8::10] SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.2",
            what: "an IPv6 address without brackets",
            message: "REGISTER sip:2001:db8::10 SIP/2.0\n{ordinary}\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
            expect: refused(Violation::Host),
        },
        Case {
            section: "4.3",
            what: "what looks like a port is part of the address",
            message: "REGISTER sip:[2001:db8::10:5070] SIP/2.0\n{ordinary}\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.4",
            what: "a port behind the bracket",
            message: "REGISTER sip:[2001:db8::10]:5070 SIP/2.0\n{ordinary}\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.5",
            what: "received in brackets",
            message: "BYE sip:[2001:db8::10] SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\nCSeq: 1 BYE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.5",
            what: "received without brackets",
            message: "OPTIONS sip:[2001:db8::10] SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.6",
            what: "IPv6 in SDP",
            message: "INVITE sip:user@[2001:db8::10] SIP/2.0\n{ordinary}\nCSeq: 8612 INVITE\nContent-Type: application/sdp\nContent-Length: 3\n\nv=0",
            expect: USABLE,
        },
        Case {
            section: "4.7",
            what: "both families in Via",
            message: "BYE sip:user@host.example.net SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKj\nVia: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK4;received=192.0.2.200\nCSeq: 89187 BYE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.9",
            what: "IPv4-mapped addresses",
            message: "INVITE sip:user@example.com SIP/2.0\n{from,to,id}\nVia: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\nContact: \"T. desk phone\" <sip:ted@[::ffff:192.0.2.2]>\nCSeq: 612 INVITE\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        Case {
            section: "4.10",
            what: "two colons before an embedded IPv4 address",
            message: "OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0\n{ordinary}\nCSeq: 689 OPTIONS\nContent-Length: 0\n\n",
            expect: USABLE,
        },
        // The section lets an element be lenient here; three colons are no address by RFC 4291.
        Case {
            section: "4.10",
            what: "three colons before an embedded IPv4 address",
            message: "OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0\n{ordinary}\nCSeq: 689 OPTIONS\nContent-Length: 0\n\n",
            expect: refused(Violation::Host),
        },
    ]);
}

#[test]
fn rfc_4475_3_1_1_1_is_understood() {
    let invite = request(WSINV);
    let headers = invite.headers();
    assert_eq!((invite.method(), invite.uri().param("unknown")), (Method::Invite, Some("")));
    assert_eq!(headers.to().tag(), Some("19a"));
    assert_eq!(headers.from().display_name().unwrap(), "V Roe \\\"");
    assert_eq!((headers.from().tag(), headers.max_forwards()), (Some("98b"), Some(68)));
    assert_eq!((headers.cseq().number, headers.cseq().method), (9, Method::Invite));
    let vias: Vec<_> = headers.vias().map(|v| (v.transport(), v.host_str(), v.branch())).collect();
    assert_eq!(
        vias,
        [
            (Transport::Udp, "192.0.2.2", Some("390skd")),
            (Transport::Tcp, "spindle.example.com", Some("z9hG4bK9ik")),
            (Transport::Udp, "192.168.255.111", Some("z9hG4bK302")),
        ]
    );
    assert_eq!(headers.top_via().rfc3261_branch(), None);
    assert_eq!(headers.get(Name::Subject), Some(""));
    assert_eq!(headers.get_other("newfangled").next(), Some("one two"));
    let contact = headers.contacts().next().unwrap();
    assert_eq!(contact.display_name().unwrap(), "Quoted \"\"");
    assert_eq!(
        (contact.q(), contact.param("newparam"), contact.param("second")),
        (Some(330), Some("newvalue"), Some(""))
    );
    let route = headers.routes().next().unwrap();
    assert!(route.uri().is_loose_route());
    assert_eq!(route.uri().param("with"), Some("value"));
    assert_eq!(&invite.body()[..], b"v=0\r");
}

#[test]
fn rfc_4475_3_1_1_2_is_understood() {
    let odd = request(INTMETH);
    assert_eq!(odd.method().as_str(), "!Odd-Method0123456789_*+`.%indeed'~");
    assert_eq!(odd.uri().user(), Some("1_un.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(odd.uri().password(), Some("&it+has=1,weird!*pas$wo~d.(doesn't-it)"));
    assert_eq!(odd.headers().to().display_name().unwrap(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    assert_eq!(odd.headers().from().display_name().unwrap(), "token1~` token2'+_ token3*%!.-");
    assert_eq!(odd.headers().from().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(odd.headers().max_forwards(), Some(255));
}

#[test]
fn what_follows_the_body_is_no_part_of_the_message() {
    let two = "OPTIONS sip:a@x.com SIP/2.0\n{ordinary}\nCSeq: 1 OPTIONS\nl: 2\n\nabBYE sip:a@x.com SIP/2.0\n";
    let first = request(two);
    assert_eq!(&first.body()[..], b"ab");
    assert!(first.as_bytes().ends_with(b"\r\n\r\nab"));
}

#[test]
fn unknown_schemes_are_valid_and_opaque() {
    let options =
        request("OPTIONS nobodyKnows:total SIP/2.0\n{ordinary}\nCSeq: 3 OPTIONS\nl: 0\n\n");
    assert_eq!(
        (options.uri().scheme(), options.uri().scheme_str()),
        (Scheme::Other, "nobodyKnows")
    );
    assert_eq!(options.uri().host(), None);
}
