//! The attacker against scripted targets: weak ones, that it must find out, and sound ones.

use std::collections::BTreeSet;

use pure::Utc;
use sip::stream::{Frame, Framer};

use super::malformed::HIDINGS;
use super::target::NotOurs;
use super::*;

#[test]
fn only_what_is_ours_can_be_attacked() {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    for ours in ["127.0.0.1:5060", "[::1]:5060", "[::ffff:127.8.0.1]:1"] {
        assert_eq!(Ours::loopback(address(ours)).map(Ours::get), Ok(address(ours)));
    }
    for ours in ["192.0.2.1:5060", "198.19.0.1:5060", "[2001:db8::1]:5060"] {
        assert_eq!(Ours::simulated(address(ours)).map(Ours::get), Ok(address(ours)));
    }
    for theirs in ["10.0.0.1:5060", "8.8.8.8:5060", "[2001:db9::1]:1", "0.0.0.0:1", "[::]:1"] {
        let refused = Err(NotOurs(address(theirs)));
        assert_eq!(Ours::loopback(address(theirs)), refused);
        assert_eq!(Ours::simulated(address(theirs)), refused);
    }
}

#[test]
fn a_sound_target_gives_nothing_away() {
    let mut field = Field::new(refuses);
    let captured = "REGISTER sip:b.test SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nFrom: <sip:101@b.test>;tag=1\r\n\
                    To: <sip:101@b.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n";
    for attack in [
        Attack::Scan { extensions: vec!["100".into(), "101".into()] },
        Attack::Guess { extension: "101".into(), secrets: vec!["101".into(), "1234".into()] },
        Attack::Replay { request: captured.into(), times: 3 },
        Attack::Forge { dialog: overheard() },
        Attack::Malformed,
        Attack::Smuggle,
        Attack::Hijack { extension: "101".into(), captured: Some("Digest x".into()) },
        Attack::Dial { extension: "101".into(), numbers: vec!["+252615123456".into()] },
        Attack::Flood { method: Method::Register, messages: 50 },
        Attack::Half { connections: 3 },
    ] {
        field.attack(attack);
    }
    let finished = |event: &&Event| matches!(event, Event::Finished { .. });
    assert_eq!(field.events.iter().filter(finished).count(), 10);
    assert_eq!(field.gains(), []);
    assert!(field.attacker.is_done() && !field.events.contains(&Event::Spent));
}

#[test]
fn answers_tell_which_extensions_exist_or_do_not_tell() {
    let enumerate = |target: Respond| {
        let mut field = Field::new(target);
        let extensions = ["100", "101", "102", "no-such"].map(str::to_owned).to_vec();
        field.attack(Attack::Enumerate { method: Method::Register, extensions });
        let answers = field.events.iter().filter_map(|event| match event {
            Event::Answered { about, answer, .. } => Some((about.clone(), answer.clone())),
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 4);
        answers
            .iter()
            .filter(|(_, answer)| *answer != answers[0].1)
            .map(|(about, _)| about.clone())
            .collect()
    };
    let told: Vec<String> = enumerate(refuses);
    assert!(told.is_empty());
    let told: Vec<String> = enumerate(|request| match user(request) {
        "no-such" => plain(request, Status::NOT_FOUND),
        _ => refuses(request),
    });
    assert_eq!(told, ["no-such"]);
}

#[test]
fn a_guessed_secret_is_a_gain_and_no_event_tells_it() {
    // The third secret that is tried opens.
    let mut field = Field::new(|request| match user(request) {
        _ if request.headers().authorization().next().is_none() => refuses(request),
        "101" if request.headers().authorization().any(|value| value.contains("nc=00000001")) => {
            plain(request, Status::OK)
        }
        _ => refuses(request),
    });
    let secrets = vec!["hunter2".to_owned()];
    field.attack(Attack::Guess { extension: "101".into(), secrets });
    assert_eq!(field.gains(), [("101, guess 1".to_owned(), Gain::Registered)]);
    assert!(!format!("{:?}", field.events).contains("hunter2"));
}

#[test]
fn what_a_careless_target_accepts_is_a_gain() {
    let accepts: Respond = |request| plain(request, Status::OK);
    let mut field = Field::new(accepts);
    field.attack(Attack::Forge { dialog: overheard() });
    assert_eq!(field.gains().len(), 28, "seven forgeries, two sides, tags known or not");
    field.attack(Attack::Hijack { extension: "101".into(), captured: None });
    assert_eq!(field.gains().len(), 28 + 8);
    field.attack(Attack::Scan { extensions: vec!["101".into()] });
    assert_eq!(field.gains().len(), 28 + 8 + 3, "anybody may ask for options");
}

#[test]
fn a_call_that_rings_is_taken_back_and_one_that_is_answered_ended() {
    let dial = || Attack::Dial { extension: "101".into(), numbers: vec!["900".into()] };
    let mut field = Field::new(|request| plain(request, Status::RINGING));
    field.attack(dial());
    assert_eq!(field.gains(), [("number 1".to_owned(), Gain::Called)]);
    assert_eq!(field.methods(), ["INVITE", "CANCEL"]);

    let mut field = Field::new(|request| {
        let contact = sip::NameAddrBuf::parse("<sip:900@192.0.2.1>").expect("an address");
        let answer = Response::builder(request, Status::OK).to_tag("t").contact(&contact);
        answer.build().ok()
    });
    field.attack(dial());
    assert_eq!(field.methods(), ["INVITE", "ACK", "BYE"]);
}

#[test]
fn a_reader_that_looks_for_messages_anywhere_is_found_out_and_ours_is_not() {
    let mut field = Field::new(refuses);
    field.reader = Reader::Anywhere;
    field.attack(Attack::Smuggle);
    let found: BTreeSet<String> = field.gains().into_iter().map(|(about, _)| about).collect();
    assert_eq!(found.len(), HIDINGS.len());

    let mut field = Field::new(refuses);
    field.attack(Attack::Smuggle);
    assert_eq!(field.gains(), []);
    let closed = field.events.iter().filter(|event| matches!(event, Event::Closed { .. })).count();
    assert!(closed > HIDINGS.len() / 2, "{closed} ambiguous messages closed their connection");
}

#[test]
fn half_messages_are_no_messages() {
    let mut field = Field::new(refuses);
    field.attack(Attack::Half { connections: 4 });
    assert_eq!((field.methods().len(), field.connections), (0, 4));
    assert_eq!(field.tally().sent, 4);
}

#[test]
fn a_target_that_hangs_up_ends_the_attack() {
    let mut field = Field::new(refuses);
    field.reader = Reader::Closes;
    field.attack(Attack::Flood { method: Method::Invite, messages: 1_000 });
    assert!(field.events.contains(&Event::Spent) && field.attacker.is_done());
    assert_eq!(field.connections, settings().reconnects_max + 1);
}

#[test]
fn rate_and_total_are_bounded() {
    let mut field = Field::new(|_| None);
    field.attacker.settings.messages_max = 20;
    let extensions: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    field.attack(Attack::Enumerate { method: Method::Register, extensions });
    assert_eq!(field.methods().len(), 20);
    assert!(field.events.contains(&Event::Spent));
    // Four at a time, each given up after a second, 10 ms between two.
    let instants: Vec<u64> = field.seen.iter().map(|(at, _)| at.0 / 1_000_000).collect();
    assert!(instants.windows(2).all(|pair| pair[1] - pair[0] >= 10));
    assert!(instants.windows(5).all(|five| five[4] - five[0] >= 1_000));
    let silent = field.events.iter().filter(|event| matches!(event, Event::Silent { .. }));
    assert_eq!(silent.count(), 20);
}

#[test]
fn media_goes_where_it_is_told_and_an_echo_is_a_gain() {
    let mut field = Field::new(refuses);
    let to = Ours::simulated("192.0.2.1:9000".parse().expect("an address")).expect("nobody's");
    for with in [
        MediaAttack::Rtp { ssrc: 7, sequence: 65_535 },
        MediaAttack::Replay { packets: vec![vec![1], vec![2]] },
        MediaAttack::Rtcp { ssrc: 7 },
        MediaAttack::Stun,
        MediaAttack::Noise,
    ] {
        field.attack(Attack::Media { to, with, packets: 3 });
    }
    assert_eq!((field.media.len(), field.connections), (15, 0));
    assert!(field.media.iter().all(|(at, _)| *at == to.get()));
    assert!(field.media[..3].iter().all(|(_, packet)| rtp::packet::Header::parse(packet).is_ok()));
    assert_eq!(
        field.media[3..6].iter().map(|(_, packet)| packet[0]).collect::<Vec<_>>(),
        [1, 2, 1]
    );
    assert!(rtp::rtcp::parse(&field.media[6].1).is_ok());
    assert!(rtp::stun::Message::parse(&field.media[9].1).is_ok());
    assert_eq!(field.gains(), []);
    let (from, packet) = (to.get(), vec![0x80]);
    field.attacker.handle(field.now, Input::Media { from, packet });
    field.drain();
    assert_eq!(field.gains().len(), 1);
}

type Respond = fn(&Request) -> Option<Response>;

/// How a target finds messages in a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// As our system does.
    Ours,
    /// Wherever a line looks like the first one of an INVITE.
    Anywhere,
    /// It closes the connection at the first byte.
    Closes,
}

struct Field {
    attacker: Attacker,
    respond: Respond,
    reader: Reader,
    now: Now,
    framer: Framer,
    connections: u32,
    /// Requests that the target read.
    seen: Vec<(Instant, Request)>,
    media: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<Event>,
}

fn settings() -> AttackerSettings {
    AttackerSettings {
        transport: Transport::Tls,
        agent: None,
        interval: Duration::from_millis(10),
        messages_max: 500,
        in_flight_max: 4,
        answer_wait: Duration::from_secs(1),
        reconnects_max: 60,
        reconnect_after: Duration::from_millis(100),
    }
}

fn overheard() -> Overheard {
    Overheard {
        call_id: "call@h".into(),
        caller: "<sip:101@b.test>".into(),
        caller_tag: "a1".into(),
        callee: "<sip:102@b.test>".into(),
        callee_tag: "b2".into(),
        cseq: 7,
        branch: "z9hG4bKcall".into(),
        uri: "sip:102@192.0.2.1".into(),
    }
}

impl Field {
    fn new(respond: Respond) -> Self {
        let address = "192.0.2.1:5061".parse().expect("an address");
        let target = Target::new(Ours::simulated(address).expect("nobody's"), "b.test");
        Self {
            attacker: Attacker::new(target, settings(), Chance::from_number(3)),
            respond,
            reader: Reader::Ours,
            now: Now { instant: Instant(0), utc: Utc(0) },
            framer: Framer::new(),
            connections: 0,
            seen: Vec::new(),
            media: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Until it has nothing more to do.
    fn attack(&mut self, attack: Attack) {
        self.attacker.handle(self.now, Input::Do(attack));
        self.drain();
        for _ in 0..10_000 {
            let Some(at) = self.attacker.poll_timeout() else { return };
            self.now.instant = at.max(self.now.instant);
            self.attacker.handle(self.now, Input::Wake);
            self.drain();
        }
        panic!("it never ends");
    }

    fn drain(&mut self) {
        while let Some(output) = self.attacker.poll_output() {
            match output {
                Output::Connect { to } => {
                    assert_eq!(to, self.attacker.target.address.get());
                    self.connections += 1;
                    self.framer = Framer::new();
                    let link = Link { id: self.connections.into(), reliable: true };
                    let local = "192.0.2.66:40000".parse().expect("an address");
                    self.attacker.handle(self.now, Input::Connected { link, local });
                }
                Output::Disconnect { .. } => self.framer = Framer::new(),
                Output::Transmit { link, bytes } => self.read(link, &bytes),
                Output::Media { to, packet } => self.media.push((to, packet)),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn read(&mut self, link: Link, bytes: &[u8]) {
        match self.reader {
            Reader::Ours => {
                self.framer.push(bytes);
                loop {
                    match self.framer.next() {
                        Ok(Some(Frame::Message(bytes))) => self.serve(link, bytes),
                        Ok(Some(Frame::Ping | Frame::Pong)) => {}
                        Ok(None) => return,
                        Err(_) => {
                            return self.attacker.handle(self.now, Input::Disconnected);
                        }
                    }
                }
            }
            Reader::Anywhere => {
                let text = String::from_utf8_lossy(bytes);
                if let Some(at) = text.find("INVITE sip:") {
                    self.serve(link, Bytes::from(text[at..].to_owned()));
                }
            }
            Reader::Closes => self.attacker.handle(self.now, Input::Disconnected),
        }
    }

    fn serve(&mut self, link: Link, bytes: Bytes) {
        let Ok(Message::Request(request)) = Message::parse(bytes) else { return };
        let response = (self.respond)(&request);
        let silent = request.method() == Method::Ack;
        self.seen.push((self.now.instant, request));
        if let Some(response) = response.filter(|_| !silent) {
            let bytes = response.as_bytes().clone();
            self.attacker.handle(self.now, Input::Received { link, bytes });
        }
    }

    fn gains(&self) -> Vec<(String, Gain)> {
        let gains = self.events.iter().filter_map(|event| match event {
            Event::Gained { about, gain, .. } => Some((about.clone(), *gain)),
            _ => None,
        });
        gains.collect()
    }

    fn methods(&self) -> Vec<String> {
        self.seen.iter().map(|(_, request)| request.method().as_str().to_owned()).collect()
    }

    fn tally(&self) -> Tally {
        let tally = self.events.iter().rev().find_map(|event| match event {
            Event::Finished { tally, .. } => Some(*tally),
            _ => None,
        });
        tally.expect("it has finished")
    }
}

fn user(request: &Request) -> &str {
    request.headers().to().uri().user().unwrap_or_default()
}

fn plain(request: &Request, status: Status) -> Option<Response> {
    Response::builder(request, status).to_tag("t").build().ok()
}

/// A challenge to everything, with another nonce each time.
fn refuses(request: &Request) -> Option<Response> {
    let nonce = request.headers().call_id();
    let challenge =
        format!("Digest realm=\"b.test\", nonce=\"{nonce:0>32.32}\", algorithm=MD5, qop=\"auth\"");
    let answer = Response::builder(request, Status::UNAUTHORIZED).to_tag("t");
    answer.header(Name::WwwAuthenticate, &challenge).build().ok()
}
