//! One INVITE of 1,264 bytes, read by us and by two peers in one process: parsed, validated where a
//! peer can, its core headers and digest credentials read typed.
//!
//! Each contender is asked the same questions and answers with the same checksum, so that none is
//! measured doing less. What a peer cannot do it is not asked: `sipx-sip` has no reader of
//! credentials, neither peer reads SDP, and only `sipx-sip` has a validation to run. The rounds are
//! interleaved and count time on the core; of each contender the median of five stands, with the
//! fastest and the slowest.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use rsipstack::sip::prelude::*;
use rsipstack::sip::typed;
use sip::digest::Credentials;
use sip::sdp::Session;
use sip::{Message, Name};
use sipx_sip::headers::{CSeq, CallId, Contact, From, MaxForwards, To, Via};
use sipx_sip::{Limits, parse_datagram, validate};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);

struct Contender {
    name: &'static str,
    does: &'static str,
    run: fn(&Bytes) -> usize,
}

const CONTENDERS: [Contender; 7] = [
    Contender { name: "sip", does: "parse, validate, core headers", run: ours_core },
    Contender { name: "sip", does: "the same and digest", run: ours_digest },
    Contender { name: "sip", does: "the same, digest and SDP", run: ours_sdp },
    Contender { name: "rsipstack", does: "parse, core headers", run: rsipstack_core },
    Contender { name: "rsipstack", does: "the same and digest", run: rsipstack_digest },
    Contender { name: "sipx-sip", does: "parse", run: sipx_parse },
    Contender { name: "sipx-sip", does: "parse, validate, core headers", run: sipx_core },
];

/// What is compared: theirs, ours for the same questions, and what the ratio may not fall below.
struct Ratio {
    what: &'static str,
    theirs: usize,
    ours: usize,
    bar: f64,
}

const RATIOS: [Ratio; 3] = [
    Ratio { what: "rsipstack, core headers", theirs: 3, ours: 0, bar: 2.0 },
    Ratio { what: "rsipstack, core headers and digest", theirs: 4, ours: 1, bar: 2.0 },
    Ratio { what: "sipx-sip, validated, core headers", theirs: 6, ours: 0, bar: 5.0 },
];

fn main() -> ExitCode {
    let json = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--json" => true,
        [flag, line, count] if flag == "--only" => return only(line, count),
        _ => {
            eprintln!("usage: benches/run [--json]");
            return ExitCode::from(2);
        }
    };
    let message = invite();
    let sums = CONTENDERS.map(|contender| (contender.run)(&message));
    assert_eq!(sums, [sums[0]; CONTENDERS.len()], "all read the same");
    let mut rounds = vec![Vec::with_capacity(ROUNDS); CONTENDERS.len()];
    for _ in 0..ROUNDS {
        for (contender, times) in CONTENDERS.iter().zip(&mut rounds) {
            times.push(microseconds(contender.run, &message));
        }
    }
    for times in &mut rounds {
        times.sort_by(f64::total_cmp);
    }
    let lines = CONTENDERS.iter().zip(&rounds);
    let ratios: Vec<(&Ratio, f64)> = RATIOS
        .iter()
        .map(|r| (r, rounds[r.theirs][ROUNDS / 2] / rounds[r.ours][ROUNDS / 2]))
        .collect();
    if json {
        let lines: Vec<String> = lines
            .map(|(Contender { name, does, .. }, t)| {
                let (median, min, max) = (t[ROUNDS / 2], t[0], t[ROUNDS - 1]);
                format!(
                    r#"{{"parser":"{name}","does":"{does}","median_us":{median:.3},"min_us":{min:.3},"max_us":{max:.3}}}"#
                )
            })
            .collect();
        let ratios: Vec<String> = ratios
            .iter()
            .map(|(Ratio { what, bar, .. }, ratio)| {
                format!(r#"{{"against":"{what}","ratio":{ratio:.2},"bar":{bar:.1}}}"#)
            })
            .collect();
        let (lines, ratios) = (lines.join(","), ratios.join(","));
        let bytes = message.len();
        println!(r#"{{"bytes":{bytes},"rounds":{ROUNDS},"lines":[{lines}],"ratios":[{ratios}]}}"#);
    } else {
        println!(
            "one INVITE of {} bytes: µs a message, median of {ROUNDS} (min to max)",
            message.len()
        );
        for (Contender { name, does, .. }, t) in lines {
            let (median, min, max) = (t[ROUNDS / 2], t[0], t[ROUNDS - 1]);
            println!("{name:<10} {does:<30} {median:>7.3} ({min:.3} to {max:.3})");
        }
        for (Ratio { what, bar, .. }, ratio) in &ratios {
            println!("{what}: {ratio:.2} times ours (bar {bar:.1})");
        }
    }
    if ratios.iter().all(|(r, ratio)| *ratio >= r.bar) {
        ExitCode::SUCCESS
    } else {
        eprintln!("a ratio is below its bar");
        ExitCode::FAILURE
    }
}

/// For a profiler: nothing but one of our readings, so many times.
fn only(line: &str, count: &str) -> ExitCode {
    let (Some(contender), Ok(count)) =
        (line.parse().ok().and_then(|line: usize| CONTENDERS.get(line)), count.parse::<u64>())
    else {
        return ExitCode::from(2);
    };
    let message = invite();
    for _ in 0..count {
        black_box((contender.run)(black_box(&message)));
    }
    ExitCode::SUCCESS
}

fn microseconds(run: fn(&Bytes) -> usize, message: &Bytes) -> f64 {
    const BATCH: u32 = 4096;
    let from = on_core();
    let mut count = 0_u32;
    loop {
        for _ in 0..BATCH {
            black_box(run(black_box(message)));
        }
        count += BATCH;
        let spent = on_core().saturating_sub(from);
        if spent >= ROUND {
            return spent.as_secs_f64() * 1e6 / f64::from(count);
        }
    }
}

/// How long this thread has had a core: on a busy machine the clock tells of the others.
fn on_core() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let spent = schedstat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(spent.expect("the first word is nanoseconds"))
}

/// What everybody must find: lengths and numbers of the core headers, summed.
struct Core<'a> {
    uri_host: &'a [u8],
    branch: &'a [u8],
    from_tag: &'a [u8],
    to_user: &'a [u8],
    call_id: &'a [u8],
    cseq: u32,
    max_forwards: u8,
    contact_user: &'a [u8],
    body: usize,
}

impl Core<'_> {
    fn sum(&self) -> usize {
        self.uri_host.len()
            + self.branch.len()
            + self.from_tag.len()
            + self.to_user.len()
            + self.call_id.len()
            + self.cseq as usize
            + usize::from(self.max_forwards)
            + self.contact_user.len()
            + self.body
    }
}

fn ours(message: &Bytes) -> sip::Request {
    match Message::parse(message.clone()) {
        Ok(Message::Request(request)) => request,
        other => panic!("it is sound: {other:?}"),
    }
}

fn ours_core(message: &Bytes) -> usize {
    ours_read(&ours(message))
}

fn ours_digest(message: &Bytes) -> usize {
    ours_read_with_digest(&ours(message))
}

fn ours_read_with_digest(request: &sip::Request) -> usize {
    let credentials = request.headers().get(Name::Authorization).expect("it is there");
    let credentials = Credentials::parse(credentials.as_bytes()).expect("they are sound");
    assert!(credentials.username == "1001" && credentials.qop.is_some_and(|qop| qop.count == 1));
    ours_read(request)
}

fn ours_sdp(message: &Bytes) -> usize {
    let request = ours(message);
    let session = Session::parse(request.body()).expect("it is sound");
    assert!(session.media[0].formats.len() == 4);
    ours_read_with_digest(&request)
}

fn ours_read(request: &sip::Request) -> usize {
    let headers = request.headers();
    let contact = headers.contacts().next().expect("it is there");
    Core {
        uri_host: request.uri().host_str().as_bytes(),
        branch: headers.top_via().branch().expect("it is there").as_bytes(),
        from_tag: headers.from().tag().expect("it is there").as_bytes(),
        to_user: headers.to().uri().user().expect("it is there").as_bytes(),
        call_id: headers.call_id().as_bytes(),
        cseq: headers.cseq().number,
        max_forwards: headers.max_forwards().expect("it is there"),
        contact_user: contact.uri().user().expect("it is there").as_bytes(),
        body: request.body().len(),
    }
    .sum()
}

fn rsipstack(message: &Bytes) -> rsipstack::sip::Request {
    match rsipstack::sip::parser::parse_message(message) {
        Ok(rsipstack::sip::SipMessage::Request(request)) => request,
        _ => panic!("it is sound"),
    }
}

fn rsipstack_core(message: &Bytes) -> usize {
    rsipstack_read(&rsipstack(message))
}

fn rsipstack_digest(message: &Bytes) -> usize {
    let request = rsipstack(message);
    let credentials = request.authorization_header().expect("it is there").value();
    let credentials = typed::Authorization::parse(credentials).expect("they are sound");
    assert!(credentials.username == "1001" && credentials.qop.is_some());
    rsipstack_read(&request)
}

fn rsipstack_read(request: &rsipstack::sip::Request) -> usize {
    let via = request.via_header().expect("it is there").typed().expect("it is sound");
    let from = request.from_header().expect("it is there").typed().expect("it is sound");
    let to = request.to_header().expect("it is there").typed().expect("it is sound");
    let cseq = request.cseq_header().expect("it is there").typed().expect("it is sound");
    let contacts = request.typed_contact_headers().expect("they are sound");
    let hops = request.max_forwards_header().expect("it is there").value();
    Core {
        uri_host: request.uri().host().to_string().as_bytes(),
        branch: via.branch().expect("it is there").value().as_bytes(),
        from_tag: from.tag().expect("it is there").value().as_bytes(),
        to_user: to.uri.user().expect("it is there").as_bytes(),
        call_id: request.call_id_header().expect("it is there").value().as_bytes(),
        cseq: cseq.seq,
        max_forwards: hops.parse().expect("a number"),
        contact_user: contacts[0].uri.user().expect("it is there").as_bytes(),
        body: request.body().len(),
    }
    .sum()
}

fn sipx(message: &Bytes) -> sipx_sip::Message {
    parse_datagram(message.clone(), &Limits::datagram()).expect("it is sound")
}

/// Only parsed, as its own figures are: the sum is of what was read before, so that lines compare.
fn sipx_parse(message: &Bytes) -> usize {
    static SUM: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    black_box(sipx(message));
    *SUM.get_or_init(|| sipx_core(message))
}

fn sipx_core(message: &Bytes) -> usize {
    let message = sipx(message);
    assert!(validate(&message).is_empty());
    let request = message.as_request().expect("a request");
    let headers = &request.headers;
    let via = headers.typed::<Via>().expect("it is there").expect("it is sound");
    let from = headers.typed::<From>().expect("it is there").expect("it is sound");
    let to = headers.typed::<To>().expect("it is there").expect("it is sound");
    let call_id = headers.typed::<CallId>().expect("it is there").expect("it is sound");
    let cseq = headers.typed::<CSeq>().expect("it is there").expect("it is sound");
    let hops = headers.typed::<MaxForwards>().expect("it is there").expect("it is sound");
    let contact = headers.typed::<Contact>().expect("it is there").expect("it is sound");
    Core {
        uri_host: &request.uri.host().expect("it is there").to_bytes(),
        branch: via.branch().expect("it is there"),
        from_tag: from.0.tag().expect("it is there"),
        to_user: to.0.uri.user().expect("it is there"),
        call_id: &call_id.0,
        cseq: cseq.sequence,
        max_forwards: hops.0,
        contact_user: contact.0.uri.user().expect("it is there"),
        body: request.body().len(),
    }
    .sum()
}

/// What a desk phone sends after our challenge, 1,264 bytes in all: the User-Agent fills it up.
fn invite() -> Bytes {
    const LEN: usize = 1264;
    let sdp = "v=0\r\n\
        o=- 20518 20518 IN IP4 192.0.2.101\r\n\
        s=-\r\n\
        c=IN IP4 192.0.2.101\r\n\
        t=0 0\r\n\
        m=audio 11780 RTP/SAVP 9 8 0 101\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
        a=rtpmap:9 G722/8000\r\n\
        a=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\n\
        a=sendrecv\r\n";
    let message = |agent: &str| {
        format!(
            "INVITE sip:1002@pbx.example.com;transport=tls SIP/2.0\r\n\
             Via: SIP/2.0/TLS 192.0.2.101:50612;branch=z9hG4bK-524287-1---7b1c9b4fd5a7a33e;rport;alias\r\n\
             Max-Forwards: 70\r\n\
             Contact: <sip:1001@192.0.2.101:50612;transport=tls>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"\r\n\
             To: \"Reception\" <sip:1002@pbx.example.com>\r\n\
             From: \"Alice Example\" <sip:1001@pbx.example.com>;tag=4f1f2a0c\r\n\
             Call-ID: 86213NmYzYjVlZjA3ZTk2ODY5Y2Y4\r\n\
             CSeq: 2 INVITE\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, OPTIONS, INFO, UPDATE\r\n\
             Supported: replaces, outbound, timer\r\n\
             Session-Expires: 1800\r\n\
             Authorization: Digest username=\"1001\", realm=\"pbx.example.com\", nonce=\"AQAABwAAAZOoGmRRx2xhG5g6zUJ3pbPGqqc\", uri=\"sip:1002@pbx.example.com;transport=tls\", response=\"6629fae49393a05397450978507c4ef1\", cnonce=\"0a4f113b\", nc=00000001, qop=auth, algorithm=MD5\r\n\
             User-Agent: {agent}\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    };
    let room = LEN.checked_sub(message("").len()).expect("the rest is shorter");
    let agent = "Phone ".repeat(room / 6 + 1);
    let message = message(agent[..room].trim_end());
    let short = LEN - message.len();
    message.replace("User-Agent: ", &format!("User-Agent: {}", "v".repeat(short))).into()
}
