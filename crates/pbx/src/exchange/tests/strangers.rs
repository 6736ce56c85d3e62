//! What strangers hear: nothing that tells one from another.

use std::collections::{BTreeMap, BTreeSet};

use guard::access::Actor;
use guard::admission;
use guard::fact::Fact;
use guard::id::ExtensionId;
use guard::source::Source;
use guard::wall::{Ban, BanCause, FAILURES_MAX, Protected};
use pure::Utc;
use sip::digest::{Algorithm, Client};
use sip::{Message, Name};

use super::world::{self, World, offer};
use super::*;
use crate::command::{Change, Refusal};
use crate::flow::{Path, Transport};
use crate::settings::Dangerous;

const ATTACKER: [u8; 4] = [203, 0, 113, 9];

/// One request of a stranger about an account.
struct Ask<'a> {
    method: &'a str,
    account: &'a str,
    number: usize,
    agent: &'a str,
    authorization: &'a str,
}

impl Ask<'_> {
    fn uri(&self) -> String {
        match self.method {
            "REGISTER" => "sip:pbx.test".to_owned(),
            _ => format!("sip:{}@pbx.test", self.account),
        }
    }

    fn text(&self) -> String {
        let Self { method, account, number, agent, authorization } = self;
        let (uri, transport) = (self.uri(), "TLS");
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.99;branch=z9hG4bK{number:08}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{account}@pbx.test>;tag=f\r\nTo: <sip:{account}@pbx.test>\r\n\
             Call-ID: {number:08}\r\nCSeq: 1 {method}\r\nContact: <sip:{account}@192.0.2.99>\r\n\
             User-Agent: {agent}\r\nEvent: presence\r\n{authorization}Content-Length: 0\r\n\r\n"
        )
    }
}

/// A guesser at a door: each try is a challenge and its answer.
pub(super) struct Guesser {
    pub(super) path: Path,
    tries: usize,
    pub(super) agent: &'static str,
    /// In its Contact.
    pub(super) port: u16,
}

impl Guesser {
    pub(super) fn new(path: Path) -> Self {
        Self { path, tries: 0, agent: "Phone", port: 5_060 }
    }

    /// What is said to this secret; the bytes.
    pub(super) fn guess(
        &mut self,
        w: &mut World,
        method: &str,
        account: &str,
        secret: &str,
    ) -> String {
        let challenge = self.ask(w, method, account, "");
        let Ok(Message::Response(challenge)) = Message::parse(challenge.into_bytes().into()) else {
            panic!("no answer")
        };
        let values = challenge.headers().get_all(Name::WwwAuthenticate).map(str::as_bytes);
        let chance = pure::Chance::from_number(1);
        let mut client = Client::new(account, secret, Algorithm::Md5, chance);
        let ask = Ask { method, account, number: 0, agent: "", authorization: "" };
        let answer = client.answer(values, method, &ask.uri()).expect("a challenge");
        self.ask(w, method, account, &format!("Authorization: {answer}\r\n"))
    }

    fn ask(&mut self, w: &mut World, method: &str, account: &str, authorization: &str) -> String {
        self.tries += 1;
        let number = self.path.flow.generation as usize * 10_000 + self.tries;
        let ask = Ask { method, account, number, agent: self.agent, authorization };
        let contact = format!("@192.0.2.99:{}>", self.port);
        let text = ask.text().replace("@192.0.2.99>", &contact);
        let text = match self.path.flow.transport {
            Transport::Udp => text.replace("/TLS", "/UDP"),
            _ => text,
        };
        let heard = w.hear(self.path, &text);
        let last = heard.into_iter().rfind(|bytes| !bytes.starts_with(b"SIP/2.0 100"));
        String::from_utf8(last.map(|bytes| bytes.to_vec()).unwrap_or_default()).expect("ASCII")
    }
}

/// The answer with everything out of it that is drawn anew, and the account that was asked for.
fn masked(answer: &str, account: &str) -> String {
    let mut out = String::new();
    for line in answer.split("\r\n") {
        let line = match line.split_once(':').map(|(name, _)| name) {
            Some(name @ ("Via" | "Call-ID")) => name.to_owned(),
            Some("To") => {
                let (head, tag) = line.split_once(";tag=").expect("a tag of ours");
                format!("{head};tag={}", tag.len())
            }
            _ => match line.split_once("nonce=\"") {
                Some((head, rest)) => {
                    let (nonce, tail) = rest.split_once('"').expect("it ends");
                    format!("{head}nonce={}{tail}", nonce.len())
                }
                None => line.to_owned(),
            },
        };
        out += &line.replace(&format!("sip:{account}@"), "sip:ACCOUNT@");
        out.push('\n');
    }
    out
}

fn disable(w: &mut World, extension: u128) {
    let change = Change::SetEnabled { extension: ExtensionId(extension), enabled: false };
    assert_eq!(w.command(Command::Change { actor: Actor::System, change }), Reply::Done);
}

#[test]
fn ten_thousand_tries_tell_no_account_from_another() {
    let mut w = World::new();
    disable(&mut w, 102);
    let mut heard: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    let mut tries = 0;
    for host in 0..28 {
        let mut guessers =
            [Guesser::new(w.connect_from([203, 0, 113, 100 + host], Transport::Tls))];
        // From the sixth round on every account is held: enabled, disabled and missing alike.
        for _ in 0..10 {
            for method in ["REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE"] {
                for account in ["101", "102", "999"] {
                    let [guesser] = &mut guessers;
                    let mut note = |how, answer: &str| {
                        heard.entry((method, how)).or_default().insert(masked(answer, account));
                        tries += 1;
                    };
                    note("none", &guesser.ask(&mut w, method, account, ""));
                    note("wrong", &guesser.guess(&mut w, method, account, "wrong"));
                    let malformed = "Authorization: Digest username=\"\", realm=\"pbx.test\"\r\n";
                    note("malformed", &guesser.ask(&mut w, method, account, malformed));
                }
            }
        }
        assert_eq!(w.exchange.registrar().wall().held(w.now()).len(), 3 * (usize::from(host) + 1));
    }
    assert!(tries >= 10_000, "{tries}");
    assert_eq!(heard.len(), 12);
    for ((method, how), answers) in &heard {
        assert_eq!(answers.len(), 1, "{method} {how}: {answers:#?}");
        let status = if *how == "malformed" { "SIP/2.0 400" } else { "SIP/2.0 401" };
        assert!(answers.iter().all(|answer| answer.starts_with(status)), "{method} {how}");
    }
    let challenges: BTreeSet<_> = heard.iter().filter(|((_, how), _)| *how == "wrong").collect();
    assert!(challenges.iter().all(|((method, _), answers)| {
        // Each method is challenged with the same words.
        answers.iter().all(|answer| !answer.contains("Allow") && answer.contains(method))
    }));
}

#[test]
fn five_guesses_are_compared_and_the_right_one_comes_too_late() {
    let mut w = World::new();
    let mut guesser = Guesser::new(w.connect_from(ATTACKER, Transport::Tls));
    for n in 0..200 {
        let heard = guesser.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
        assert!(heard.starts_with("SIP/2.0 401"), "{heard}");
    }
    let source = Source::from(guesser.path.remote.ip());
    assert_eq!(w.exchange.registrar().wall().guesses(source), FAILURES_MAX as u32);
    // Held: the secret itself is not compared, whatever method asks.
    for method in ["REGISTER", "OPTIONS", "SUBSCRIBE", "INVITE"] {
        let heard = guesser.guess(&mut w, method, "101", "secret");
        assert!(heard.starts_with("SIP/2.0 401"), "{method}: {heard}");
    }
    // The account's own phone, and the same attacker with another account, are as before.
    w.register("alice");
    let heard = guesser.guess(&mut w, "REGISTER", "102", "secret");
    assert!(heard.starts_with("SIP/2.0 200"), "{heard}");
    let change = Change::Unban { source, account: Some("101".to_owned()) };
    assert_eq!(w.command(Command::Change { actor: Actor::System, change }), Reply::Done);
    let heard = guesser.guess(&mut w, "REGISTER", "101", "secret");
    assert!(heard.starts_with("SIP/2.0 200"), "{heard}");
}

#[test]
fn without_the_wall_the_guesser_gets_in() {
    let dangerous = Dangerous { without_wall: true, ..Dangerous::default() };
    let mut w = World::with(Settings { dangerous, ..Settings::default() }, Exceptions::default());
    let mut guesser = Guesser::new(w.connect_from(ATTACKER, Transport::Tls));
    for n in 0..200 {
        guesser.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
    }
    let heard = guesser.guess(&mut w, "REGISTER", "101", "secret");
    assert!(heard.starts_with("SIP/2.0 200"), "{heard}");
}

#[test]
fn a_former_secret_is_no_guess_and_calls_for_help_though_its_pair_is_held() {
    let mut w = World::with_carriers(|_| {});
    // At a place of its own: a stranger's call for help obeys the wall like anything else.
    let mut before = Guesser::new(w.connect_from([198, 51, 100, 77], Transport::Tls));
    assert!(before.guess(&mut w, "REGISTER", "101", "secret").starts_with("SIP/2.0 200"));
    let secret = world::secret();
    let credentials = world::credentials("101", "another secret");
    let change = Change::RotateSecret {
        extension: ExtensionId(101),
        secret,
        credentials,
        previous_until: Utc(i64::MAX),
    };
    assert_eq!(w.command(Command::Change { actor: Actor::System, change }), Reply::Done);
    let mut phone = Guesser::new(w.connect_from([198, 51, 100, 77], Transport::Tls));
    for _ in 0..50 {
        assert!(phone.guess(&mut w, "REGISTER", "101", "secret").starts_with("SIP/2.0 401"));
    }
    let wall = w.exchange.registrar().wall();
    assert_eq!((wall.held(w.now()).len(), wall.guesses(phone.path.remote.ip().into())), (0, 0));
    for n in 0..FAILURES_MAX {
        phone.guess(&mut w, "REGISTER", "101", &format!("wrong-{n}"));
    }
    assert_eq!(w.exchange.registrar().wall().held(w.now()).len(), 1);
    let helped = |w: &World| {
        w.facts.iter().filter(|fact| matches!(fact, Fact::EmergencyCalled { .. })).count()
    };
    // With the former secret, and with the present one: the account in the credentials counts.
    for (n, secret) in ["secret", "another secret"].into_iter().enumerate() {
        phone.help(&mut w, "101", secret);
        assert_eq!(helped(&w), n + 1, "{secret}");
    }
    // Nothing is left to be compared: it is heard by where it is.
    for n in 0..50 {
        phone.guess(&mut w, "REGISTER", "101", &format!("worse-{n}"));
    }
    phone.help(&mut w, "101", "secret");
    assert_eq!(helped(&w), 3);
}

impl Guesser {
    /// Calls 911 with this account's credentials.
    pub(super) fn help(&mut self, w: &mut World, account: &str, secret: &str) {
        let challenge = self.ask(w, "OPTIONS", account, "");
        let Ok(Message::Response(challenge)) = Message::parse(challenge.into_bytes().into()) else {
            panic!("no answer")
        };
        let values = challenge.headers().get_all(Name::WwwAuthenticate).map(str::as_bytes);
        let chance = pure::Chance::from_number(1);
        let mut client = Client::new(account, secret, Algorithm::Md5, chance);
        let answer = client.answer(values, "INVITE", "sip:911@pbx.test").expect("a challenge");
        self.ask(w, "INVITE", "911", &format!("Authorization: {answer}\r\n"));
    }
}

#[test]
fn a_stranger_hears_the_challenge_to_whatever_it_asks_and_a_phone_its_answer() {
    let mut w = World::with_carriers(|_| {});
    let mut stranger = Guesser::new(w.stranger());
    for method in
        ["OPTIONS", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER", "INVITE", "FETCH"]
    {
        let heard = stranger.ask(&mut w, method, "101", "");
        assert!(heard.starts_with("SIP/2.0 401"), "{method}: {heard}");
        assert!(!heard.contains("Allow"), "{method}: {heard}");
    }
    for method in ["BYE", "INFO", "UPDATE"] {
        assert!(stranger.ask(&mut w, method, "101", "").starts_with("SIP/2.0 481"), "{method}");
    }
    for name in ["alice", "carrier"] {
        let mut known = Guesser::new(w.phones[name].path);
        let heard = known.ask(&mut w, "OPTIONS", "101", "");
        assert!(heard.starts_with("SIP/2.0 200") && heard.contains("Allow"), "{name}: {heard}");
        assert!(known.ask(&mut w, "SUBSCRIBE", "101", "").starts_with("SIP/2.0 489"), "{name}");
    }
}

#[test]
fn an_attack_tool_hears_nothing_and_loses_its_connection_but_never_at_a_phones_place() {
    let mut w = World::new();
    let ask = |number| Ask {
        method: "OPTIONS",
        account: "101",
        number,
        agent: "friendly-scanner",
        authorization: "",
    };
    // Over UDP whoever writes an address gets nobody banned.
    let udp = w.connect_from(ATTACKER, Transport::Udp);
    assert!(w.hear(udp, &ask(1).text().replace("/TLS", "/UDP")).is_empty());
    assert!(w.admissions.iter().all(|change| !matches!(change, admission::Change::Ban { .. })));
    let tls = w.connect_from(ATTACKER, Transport::Tls);
    assert!(w.hear(tls, &ask(2).text()).is_empty());
    let source = Source::from(tls.remote.ip());
    let banned = |change: &admission::Change| matches!(change, admission::Change::Ban { source: of, .. } if *of == source);
    assert!(w.admissions.iter().any(banned));
    assert!(w.closed.contains(&tls.flow));
    // What was on its way, and what comes on another connection, is not read.
    assert!(w.hear(tls, &ask(3).text().replace("friendly-scanner", "Phone")).is_empty());
    let again = w.connect_from(ATTACKER, Transport::Tls);
    assert!(w.hear(again, &ask(4).text()).is_empty());
    let told: Vec<&str> = w.facts.iter().map(Fact::name).collect();
    assert_eq!(told.iter().filter(|name| **name == "scanner-seen").count(), 1);
    w.pass(601_000);
    let mut after = Guesser::new(w.connect_from(ATTACKER, Transport::Tls));
    assert!(after.ask(&mut w, "OPTIONS", "101", "").starts_with("SIP/2.0 401"));
    // The same words on alice's connection, and from her address.
    w.register("alice");
    let alice = w.phones["alice"].path;
    assert_eq!(w.say(alice, &ask(5).text()), [200]);
    let beside = w.connect_from([192, 0, 2, 1], Transport::Tls);
    assert_eq!(w.say(beside, &ask(6).text()), [401]);
}

#[test]
fn administrators_shut_out_strangers_and_nobody_of_ours() {
    let mut w = World::with_carriers(|_| {});
    let ban = |w: &World, address: [u8; 4]| {
        let source = Source::from(std::net::IpAddr::from(address));
        let cause = BanCause::Administrator { why: "rings at night".to_owned() };
        let since = w.now().utc;
        let until = since + std::time::Duration::from_secs(3_600);
        let change = Change::Ban(Ban { source, cause, since, until, times: 1, by: None });
        Command::Change { actor: Actor::System, change }
    };
    for (address, by) in [
        ([192, 0, 2, 1], Protected::Phones(3)),
        ([203, 0, 113, 51], Protected::Carrier),
        ([127, 0, 0, 1], Protected::Ourselves),
        ([198, 51, 100, 1], Protected::Ourselves),
    ] {
        let command = ban(&w, address);
        assert_eq!(w.command(command), Reply::Refused(Refusal::Protected(by)), "{address:?}");
    }
    let mut stranger = Guesser::new(w.stranger());
    assert!(stranger.ask(&mut w, "OPTIONS", "101", "").starts_with("SIP/2.0 401"));
    let command = ban(&w, ATTACKER);
    assert_eq!(w.command(command), Reply::Done);
    assert!(w.closed.contains(&stranger.path.flow));
    assert_eq!(stranger.ask(&mut w, "OPTIONS", "101", ""), "");
    let Reply::Bans(bans) = w.command(Command::Bans) else { panic!() };
    assert_eq!(bans.bans.len(), 1);
    let change = Change::Unban { source: bans.bans[0].source, account: None };
    assert_eq!(w.command(Command::Change { actor: Actor::System, change }), Reply::Done);
    let mut again = Guesser::new(w.stranger());
    assert!(again.ask(&mut w, "OPTIONS", "101", "").starts_with("SIP/2.0 401"));
}

#[test]
fn a_stale_phone_of_a_colleague_disturbs_no_call() {
    let mut w = World::new();
    let mut stale = Guesser::new(w.connect_from([192, 0, 2, 1], Transport::Tls));
    for n in 0..100 {
        stale.guess(&mut w, "REGISTER", "102", &format!("wrong-{n}"));
    }
    w.register("bob");
    w.register("carol");
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
    w.reply("bob", Method::Invite, 486, None);
    w.reply("carol", Method::Invite, 486, None);
    assert_eq!(w.cdrs.len(), 1);
    assert_eq!(w.exchange.registrar().wall().held(w.now()).len(), 1);
}
