//! Two phones wired to each other, without a server between them.

use super::*;
use pure::Utc;

#[test]
fn they_call_hear_each_other_hold_press_keys_and_hang_up() {
    let mut line = Line::new(Security::Srtp, Security::Srtp);
    line.act(0, Action::Dial { number: "sip:bob@b.test".into() });
    line.run(Duration::from_secs(3));
    let (a, b) = (line.only_call(0), line.only_call(1));
    assert_eq!(
        line.phones[0].heard(a).map(|heard| heard.keys().copied().collect()),
        Some(vec![Voice(2)])
    );
    assert_eq!(
        line.phones[1].heard(b).map(|heard| heard.keys().copied().collect()),
        Some(vec![Voice(1)])
    );

    line.act(0, Action::Press { call: a, digit: '7' });
    line.run(Duration::from_secs(1));
    assert_eq!(line.phones[1].digits(b), Some("7"));

    line.act(1, Action::Hold { call: b });
    line.run(Duration::from_secs(1));
    let before = line.phones[1].heard(b).expect("up")[&Voice(1)];
    line.run(Duration::from_secs(1));
    assert_eq!(line.phones[1].heard(b).expect("up")[&Voice(1)], before, "on hold nobody speaks");
    line.act(1, Action::Resume { call: b });
    line.run(Duration::from_secs(1));
    assert!(line.phones[1].heard(b).expect("up")[&Voice(1)] > before);

    line.act(0, Action::Move { call: a });
    line.run(Duration::from_secs(1));
    assert_eq!(line.phones[0].forged(a), Some(0));

    line.act(1, Action::HangUp { call: b });
    line.run(Duration::from_secs(1));
    assert!(line.phones.iter().all(|phone| phone.calls().next().is_none()));
    assert!(line.events.contains(&(0, Event::Ended { call: a, ending: Ending::OtherHungUp })));
    assert!(!line.events.iter().any(|(_, event)| matches!(event, Event::Confused { .. })));
}

#[test]
fn giving_up_while_it_rings_ends_both_sides() {
    let mut line = Line::new(Security::Srtp, Security::Srtp);
    line.phones[1].settings.answer_after = None;
    line.act(0, Action::Dial { number: "sip:bob@b.test".into() });
    line.run(Duration::from_secs(1));
    let (a, b) = (line.only_call(0), line.only_call(1));
    line.act(0, Action::HangUp { call: a });
    line.run(Duration::from_secs(1));
    assert!(line.events.contains(&(0, Event::Ended { call: a, ending: Ending::HungUp })));
    assert!(line.events.contains(&(1, Event::Ended { call: b, ending: Ending::CallerGaveUp })));
}

#[test]
fn a_phone_that_encrypts_refuses_one_that_does_not() {
    let mut line = Line::new(Security::Plain, Security::Srtp);
    line.act(0, Action::Dial { number: "sip:bob@b.test".into() });
    line.run(Duration::from_secs(3));
    let refused = Ending::Refused(Status::NOT_ACCEPTABLE_HERE);
    assert!(line.events.contains(&(0, Event::Ended { call: CallId(1), ending: refused })));
}

struct Line {
    phones: [Phone; 2],
    now: Now,
    events: Vec<(usize, Event)>,
}

impl Line {
    fn new(a: Security, b: Security) -> Self {
        let mut chance = Chance::from_number(5);
        let mut phone = |number: &str, security, host: u8| {
            let settings = PhoneSettings {
                number: number.into(),
                secret: "s".into(),
                domain: "b.test".into(),
                display_name: number.into(),
                instance: None,
                agent: "Phone".into(),
                transport: sip::Transport::Tls,
                expires: 3_600,
                security,
                answer_after: Some(Duration::from_secs(1)),
                reject_with: None,
                early_media: false,
                weakest: Algorithm::Md5,
                media_address: [192, 0, 2, host].into(),
                media_port: 4_000,
                packet_interval: Duration::from_millis(20),
                voice: Voice(host.into()),
                reconnect_max: Duration::from_secs(1),
            };
            Phone::new(settings, chance.fork())
        };
        let mut phones = [phone("alice", a, 1), phone("bob", b, 2)];
        let now = Now { instant: Instant(0), utc: Utc(0) };
        let link = Link { id: 1, reliable: true };
        for (phone, local) in phones.iter_mut().zip(["192.0.2.1:5061", "192.0.2.2:5061"]) {
            phone.link = Some((link, local.parse().expect("an address")));
        }
        Self { phones, now, events: Vec::new() }
    }

    fn act(&mut self, phone: usize, action: Action) {
        self.phones[phone].handle(self.now, Input::Do(action));
        self.deliver();
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.instant + span;
        while let Some(at) = self.phones.iter().filter_map(Phone::poll_timeout).min() {
            if at > end {
                break;
            }
            self.now.instant = at.max(self.now.instant);
            for phone in &mut self.phones {
                phone.handle(self.now, Input::Wake);
            }
            self.deliver();
        }
        self.now.instant = end;
    }

    fn deliver(&mut self) {
        let mut busy = true;
        while std::mem::take(&mut busy) {
            for from in 0..2 {
                while let Some(output) = self.phones[from].poll_output() {
                    busy = true;
                    let other = &mut self.phones[1 - from];
                    match output {
                        Output::Transmit { link, bytes } => {
                            other.handle(self.now, Input::Received { link, bytes });
                        }
                        Output::Media { from, to, packet } => {
                            other.handle(self.now, Input::Media { at: to, from, packet });
                        }
                        Output::Event(event) => self.events.push((from, event)),
                        Output::Connect
                        | Output::Disconnect { .. }
                        | Output::MediaOpen { .. }
                        | Output::MediaClose { .. } => {}
                    }
                }
            }
        }
    }

    fn only_call(&self, phone: usize) -> CallId {
        self.phones[phone].calls().next().expect("one call").0
    }
}
