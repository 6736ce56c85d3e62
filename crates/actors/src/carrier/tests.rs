//! A carrier and a customer wired to each other. What passes is written as text.

use super::*;
use crate::phone::{self, Phone, PhoneSettings};
use pure::Utc;
use sip::digest::Client;
use sip::{Name, NameAddrBuf};

#[test]
fn a_customer_registers_with_the_right_password_only() {
    let mut line = Line::new(|_| {});
    line.register("wrong", 120);
    line.register("right", 30);
    line.register("right", 120);
    line.check(
        "
        customer > carrier REGISTER
        carrier > customer 401
        customer > carrier REGISTER
        carrier > customer 401
        turned away
        customer > carrier REGISTER
        carrier > customer 401
        customer > carrier REGISTER
        carrier > customer 423 60
        customer > carrier REGISTER
        carrier > customer 401
        customer > carrier REGISTER
        carrier > customer 200 120
        registered
        ",
    );
    assert!(line.carrier.is_registered(line.now, "acme-user"));
    line.run(121_000);
    assert!(!line.carrier.is_registered(line.now, "acme-user"));
}

#[test]
fn a_closed_registrar_says_when_to_come_back() {
    let mut line = Line::new(|settings| settings.closed = Some(7));
    line.register("right", 120);
    line.check("customer > carrier REGISTER\ncarrier > customer 503 7");
}

#[test]
fn a_call_is_billed_from_its_answer_to_its_bye() {
    let mut line = Line::new(|_| {});
    line.dial("+12125550177");
    line.run(31_200);
    line.hang_up();
    line.run(100);
    let [record] = line.carrier.records() else { panic!("one call") };
    // Answered after a second: 30.2 s are 31, which are billed as 36.
    assert_eq!((record.seconds, record.cost), (31, 36 * 600));
    assert_eq!(record.number, "+12125550177");
    assert!(!record.silenced && record.asserted.is_none());
}

#[test]
fn a_refused_call_costs_nothing_and_takes_no_line() {
    let busy = Habit::that(Takes::Refuses(Status::BUSY_HERE));
    let mut line = Line::new(|settings| {
        settings.channels = 1;
        settings.numbers.insert("+12125550199".to_owned(), busy);
    });
    line.dial("+12125550199");
    line.run(100);
    line.dial("+12125550177");
    line.run(3_000);
    line.dial("+12125550178");
    line.run(1_000);
    let costs: Vec<_> = line.carrier.records().iter().map(|r| r.answered.is_some()).collect();
    assert_eq!(costs, [false, true, false], "the second has the only line");
    line.hang_up();
    line.run(1_000);
    let costs: Vec<i64> = line.carrier.records().iter().map(|record| record.cost).collect();
    assert_eq!(costs, [0, 6 * 600, 0]);
}

#[test]
fn who_hangs_up_by_itself_ends_the_bill() {
    let mut line = Line::new(|settings| {
        settings.otherwise.talks = Some(Duration::from_secs(12));
    });
    line.dial("+12125550177");
    line.run(60_000);
    let [record] = line.carrier.records() else { panic!("one call") };
    assert_eq!((record.seconds, record.cost), (12, 12 * 600));
}

#[test]
fn silence_ends_the_call_and_its_bill() {
    let mut line = Line::new(|settings| {
        settings.silence_limit = Some(Duration::from_secs(20));
    });
    line.dial("+12125550177");
    line.run(5_000);
    line.deaf = true;
    line.run(60_000);
    let [record] = line.carrier.records() else { panic!("one call") };
    assert!(record.silenced);
    assert!((20..=25).contains(&record.seconds), "{record:?}");
}

#[test]
fn an_answer_in_the_moment_of_the_cancel_is_billed() {
    let mut line = Line::new(|settings| {
        settings.otherwise = Habit::that(Takes::Rings);
        settings.otherwise.answers_when_cancelled = true;
    });
    line.dial("+12125550177");
    line.run(2_000);
    line.hang_up();
    line.run(1_000);
    let [record] = line.carrier.records() else { panic!("one call") };
    assert_eq!((record.seconds, record.cost), (0, 6 * 600));
}

#[test]
fn tariffs_round_up_to_increments_and_millionths() {
    let tariff = |first, increment| Tariff {
        prefix: "1".to_owned(),
        per_minute: 10_000,
        connect: 5,
        first,
        increment,
    };
    // 10,000 millionths a minute are 166.67 a second.
    assert_eq!(tariff(1, 1).cost(0), 5 + 167);
    assert_eq!(tariff(1, 1).cost(7), 5 + 1_167);
    assert_eq!(tariff(60, 60).cost(1), 5 + 10_000);
    assert_eq!(tariff(60, 60).cost(61), 5 + 20_000);
    assert_eq!(tariff(30, 6).cost(31), 5 + 6_000);
    let tariffs = [tariff(1, 1), Tariff { prefix: "1900".to_owned(), ..tariff(60, 60) }];
    let of = |number| Tariff::of(&tariffs, number).map(|tariff| tariff.prefix.as_str());
    assert_eq!(of("+12125550177"), Some("1"));
    assert_eq!(of("+19005550123"), Some("1900"));
    assert_eq!(of("+442079460000"), None);
}

/// A carrier and one phone that stands for its customer.
struct Line {
    carrier: Carrier,
    customer: Phone,
    now: Now,
    log: Vec<String>,
    client: Client,
    cseq: u32,
    /// The carrier hears no audio any more.
    deaf: bool,
}

const LINK: Link = Link { id: 1, reliable: true };

impl Line {
    fn new(change: impl FnOnce(&mut CarrierSettings)) -> Self {
        let mut settings = CarrierSettings {
            host: "acme.test".to_owned(),
            accounts: vec![Account { user: "acme-user".to_owned(), secret: "right".to_owned() }],
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            expires: 120,
            expires_min: 60,
            closed: None,
            challenges_invites: false,
            challenges_calls: false,
            refuses_byes: 0,
            answers_options: true,
            security: Security::Srtp,
            only_plain: false,
            transport: sip::Transport::Tls,
            numbers: BTreeMap::new(),
            otherwise: Habit::answers(),
            channels: 10,
            tariffs: vec![Tariff {
                prefix: "1".to_owned(),
                per_minute: 36_000,
                connect: 0,
                first: 6,
                increment: 6,
            }],
            silence_limit: None,
            media_address: [198, 18, 0, 1].into(),
            media_port: 30_000,
            packet_interval: Duration::from_millis(500),
            voice: Voice(100),
        };
        change(&mut settings);
        let now = Now { instant: Instant(1), utc: Utc(0) };
        let mut chance = Chance::from_number(3);
        let customer = PhoneSettings {
            number: "customer".to_owned(),
            secret: String::new(),
            domain: "acme.test".to_owned(),
            display_name: String::new(),
            instance: None,
            agent: "Customer".to_owned(),
            transport: sip::Transport::Tls,
            expires: 120,
            security: Security::Srtp,
            answer_after: None,
            reject_with: None,
            early_media: false,
            weakest: Algorithm::Md5,
            media_address: [192, 0, 2, 1].into(),
            media_port: 4_000,
            packet_interval: Duration::from_millis(500),
            voice: Voice(1),
            reconnect_max: Duration::from_secs(1),
        };
        let mut line = Self {
            carrier: Carrier::new(settings, chance.fork(), now),
            customer: Phone::new(customer, chance.fork()),
            now,
            log: Vec::new(),
            client: Client::new("acme-user", "", Algorithm::Md5, chance.fork()),
            cseq: 0,
            deaf: false,
        };
        let local = "198.18.0.1:5061".parse().expect("an address");
        line.carrier.handle(now, Input::Connected { link: LINK, local });
        line.customer.attach(now, LINK, "192.0.2.1:5061".parse().expect("an address"));
        line
    }

    /// REGISTER with a password, challenge and all.
    fn register(&mut self, secret: &str, expires: u32) {
        let chance = Chance::from_number(u64::from(self.cseq) + 9);
        self.client = Client::new("acme-user", secret, Algorithm::Md5, chance);
        let challenged = self.send_register(expires, None);
        let challenges = challenged.headers().get_all(Name::WwwAuthenticate).map(str::as_bytes);
        if let Ok(proof) = self.client.answer(challenges, "REGISTER", "sip:acme.test") {
            self.send_register(expires, Some(proof));
        }
    }

    fn send_register(&mut self, expires: u32, proof: Option<String>) -> Response {
        self.cseq += 1;
        let aor = NameAddrBuf::new(None, "sip:acme-user@acme.test").expect("sound");
        let mut request = Request::builder(Method::Register, "sip:acme.test")
            .via(sip::Transport::Tls, "192.0.2.1:5061", &format!("z9hG4bK{}", self.cseq))
            .max_forwards(70)
            .from(&aor.with_tag("r").expect("sound"))
            .to(&aor)
            .call_id("registration")
            .cseq(self.cseq)
            .header(Name::Contact, "<sip:token@192.0.2.1:5061>")
            .expires(expires);
        if let Some(proof) = proof {
            request = request.header(Name::Authorization, &proof);
        }
        let bytes = request.build().expect("sound").as_bytes().clone();
        self.log.push("customer > carrier REGISTER".to_owned());
        self.carrier.handle(self.now, Input::Received { link: LINK, bytes });
        let mut answer = None;
        let mut told = Vec::new();
        while let Some(output) = self.carrier.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => match Message::parse(bytes) {
                    Ok(Message::Response(response)) => answer = Some(response),
                    other => panic!("an answer is sound: {other:?}"),
                },
                Output::Event(Event::Registered { .. }) => told.push("registered".to_owned()),
                Output::Event(Event::Turned { .. }) => told.push("turned away".to_owned()),
                other => panic!("nothing else happens: {other:?}"),
            }
        }
        let answer = answer.expect("every REGISTER is answered");
        let headers = answer.headers();
        let expires = headers.contacts().next().and_then(|contact| contact.expires());
        let seconds = headers.min_expires().present().or(headers.retry_after().present());
        let seconds = seconds.or(expires).map(|s| format!(" {s}")).unwrap_or_default();
        self.log.push(format!("carrier > customer {}{seconds}", answer.status().code()));
        self.log.extend(told);
        answer
    }

    fn dial(&mut self, number: &str) {
        let action = phone::Action::Dial { number: number.to_owned() };
        self.customer.handle(self.now, phone::Input::Do(action));
        self.deliver();
    }

    fn hang_up(&mut self) {
        let calls: Vec<_> = self.customer.calls().map(|(id, _)| id).collect();
        for call in calls {
            self.customer.handle(self.now, phone::Input::Do(phone::Action::HangUp { call }));
        }
        self.deliver();
    }

    fn run(&mut self, millis: u64) {
        let end = self.now.instant + Duration::from_millis(millis);
        loop {
            let due = [self.customer.poll_timeout(), self.carrier.poll_timeout()];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now.instant = at.max(self.now.instant);
            self.customer.handle(self.now, phone::Input::Wake);
            self.carrier.handle(self.now, Input::Wake);
            self.deliver();
        }
        self.now.instant = end;
    }

    fn deliver(&mut self) {
        loop {
            let mut busy = false;
            while let Some(output) = self.customer.poll_output() {
                busy = true;
                let input = match output {
                    phone::Output::Transmit { bytes, .. } => Input::Received { link: LINK, bytes },
                    phone::Output::Media { from, to, packet } if !self.deaf => {
                        Input::Media { at: to, from, packet }
                    }
                    _ => continue,
                };
                self.carrier.handle(self.now, input);
            }
            while let Some(output) = self.carrier.poll_output() {
                busy = true;
                let input = match output {
                    Output::Transmit { bytes, link } => phone::Input::Received { link, bytes },
                    Output::Media { from, to, packet } => {
                        phone::Input::Media { at: to, from, packet }
                    }
                    _ => continue,
                };
                self.customer.handle(self.now, input);
            }
            if !busy {
                return;
            }
        }
    }

    fn check(&self, text: &str) {
        let wanted: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        assert_eq!(wanted, self.log, "\n{}", self.log.join("\n"));
    }
}
