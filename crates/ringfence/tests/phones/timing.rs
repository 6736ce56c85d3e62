//! Does the delay of an answer tell which extensions exist?
//!
//! Ten thousand REGISTERs with a wrong secret over one TLS connection, for an extension that exists
//! and for one that doesn't, in an order drawn by chance. The statistic is Mann and Whitney's U: it asks
//! how often a try of the one took longer than a try of the other, and no outlier of a busy machine
//! weighs more than one place in the order. Under the hypothesis of no difference its z is
//! standard normal (the ties are few), so |z| > 4.9 comes by chance once in a million runs.
//!
//! Its power is measured each time, not assumed: the smallest delay is sought that, added to every try of
//! one side, would have been found, and then a real delay of that order is planted and must be found. On an
//! idle machine that is about a microsecond.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use pure::Chance;
use rustls::{ClientConnection, StreamOwned};
use sip::digest::{Algorithm, Client};

use crate::support::driver::Door;
use crate::support::server::Server;

#[test]
fn the_delay_of_an_answer_does_not_tell_which_extensions_exist() {
    let mut server = Server::start();
    server.extension("101");
    let insider = server.extension("102");
    let mut stranger = Stranger::connect(&server.door());
    let mut chance = Chance::from_number(0x71);
    // A stranger's messages wait for their turn, which hides any difference: this one has an account of
    // its own, and learns no more of the others.
    stranger.sign_in(&insider.number, &insider.secret, &mut chance);

    // Both are held after their fifth failure; the first tries, which are not, are compared below.
    stranger.warm_up();
    let held = stranger.measure(TRIES, Duration::ZERO, &mut chance, |stranger, account| {
        stranger.ask(account, true)
    });
    let z = held.z(Duration::ZERO);
    println!("wrong secrets, held: z = {z:.2} of {TRIES} tries, {}", held.medians());
    assert!(z.abs() < ALARM, "existing and missing extensions differ: z = {z:.2}");

    let asked = stranger.measure(TRIES, Duration::ZERO, &mut chance, |stranger, account| {
        stranger.ask(account, false)
    });
    let z = asked.z(Duration::ZERO);
    println!("no credentials: z = {z:.2} of {TRIES} tries, {}", asked.medians());
    assert!(z.abs() < ALARM, "existing and missing extensions differ: z = {z:.2}");

    // Not held: four tries of each, then the administrator forgives.
    let mut free = Tries::default();
    for _ in 0..ROUNDS {
        server.tell(&["unban", "127.0.0.1"]);
        free.add(stranger.measure(8, Duration::ZERO, &mut chance, |stranger, account| {
            stranger.ask(account, true)
        }));
    }
    let z = free.z(Duration::ZERO);
    println!("wrong secrets, compared: z = {z:.2} of {} tries, {}", 8 * ROUNDS, free.medians());
    assert!(z.abs() < ALARM, "existing and missing extensions differ: z = {z:.2}");

    let visible = held.visible();
    let planted = (visible * 2).max(Duration::from_micros(3));
    let found = stranger
        .measure(TRIES, planted, &mut chance, |stranger, account| stranger.ask(account, true));
    let z = found.z(Duration::ZERO);
    println!(
        "a difference of {visible:?} would have been seen; one of {planted:?} gave z = {z:.2}"
    );
    assert!(z > ALARM, "a planted delay of {planted:?} was not seen: z = {z:.2}");
}

/// A connection of somebody without a secret.
struct Stranger {
    stream: StreamOwned<ClientConnection, TcpStream>,
    cseq: u32,
    nonce: String,
    buffer: Vec<u8>,
}

/// How long the tries of each side took, in nanoseconds.
#[derive(Default)]
struct Tries {
    existing: Vec<u64>,
    missing: Vec<u64>,
}

impl Stranger {
    fn connect(door: &Door) -> Self {
        let socket = TcpStream::connect(door.address).expect("it listens");
        socket.set_nodelay(true).expect("TCP");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("TCP");
        let tls = ClientConnection::new(door.tls.clone(), door.name.clone()).expect("a client");
        let stream = StreamOwned::new(tls, socket);
        Self { stream, cseq: 0, nonce: String::new(), buffer: vec![0; 8_192] }
    }

    fn warm_up(&mut self) {
        for _ in 0..500 {
            for account in [EXISTING, MISSING] {
                self.ask(account, true);
            }
        }
    }

    /// `planted`: added to each try of the missing extension.
    fn measure(
        &mut self,
        tries: usize,
        planted: Duration,
        chance: &mut Chance,
        ask: impl Fn(&mut Self, &str) -> Duration,
    ) -> Tries {
        let mut all = Tries::default();
        for _ in 0..tries / 2 {
            // Pairs in an order drawn by chance: whatever drifts, drifts for both.
            let first = chance.one_in(2);
            for exists in [first, !first] {
                let account = if exists { EXISTING } else { MISSING };
                let begin = Instant::now();
                while !exists && begin.elapsed() < planted {
                    std::hint::spin_loop();
                }
                let waited = if exists { Duration::ZERO } else { begin.elapsed().min(planted) };
                let took = waited + ask(self, account);
                let took = u64::try_from(took.as_nanos()).expect("short");
                if exists { all.existing.push(took) } else { all.missing.push(took) }
            }
        }
        all
    }

    fn sign_in(&mut self, number: &str, secret: &str, chance: &mut Chance) {
        let mut client = Client::new(number, secret, Algorithm::Sha256, chance.fork());
        let (_, challenge) = self.register(number, "");
        let challenges =
            challenge.lines().filter_map(|line| line.strip_prefix("WWW-Authenticate: "));
        let proof = client.answer(challenges.map(str::as_bytes), "REGISTER", URI);
        let proof = proof.unwrap_or_else(|refusal| panic!("{refusal:?} of {challenge}"));
        let (_, answer) = self.register(number, &format!("Authorization: {proof}\r\n"));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }

    /// One try; how long its answer took.
    fn ask(&mut self, account: &str, with_secret: bool) -> Duration {
        let nonce = &self.nonce;
        let authorization = match with_secret && !nonce.is_empty() {
            true => format!(
                "Authorization: Digest username=\"{account}\", realm=\"pbx\", nonce=\"{nonce}\", \
                 uri=\"{URI}\", response=\"{:064x}\", algorithm=SHA-256, cnonce=\"c\", \
                 qop=auth, nc=00000001\r\n",
                self.cseq
            ),
            false => String::new(),
        };
        let (took, answer) = self.register(account, &authorization);
        assert!(answer.starts_with("SIP/2.0 401"), "{answer}");
        let (_, nonce) = answer.split_once("nonce=\"").expect("a challenge");
        self.nonce = nonce.split_once('"').expect("it ends").0.to_owned();
        took
    }

    /// One REGISTER: the time from its last byte out to its whole answer in, and the answer.
    fn register(&mut self, account: &str, authorization: &str) -> (Duration, String) {
        self.cseq += 1;
        let cseq = self.cseq;
        let text = format!(
            "REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK{cseq:08}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{account}@pbx>;tag=f\r\nTo: <sip:{account}@pbx>\r\n\
             Call-ID: {cseq:08}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{account}@127.0.0.1>\r\n\
             {authorization}Content-Length: 0\r\n\r\n"
        );
        let begin = Instant::now();
        self.stream.write_all(text.as_bytes()).expect("it is open");
        self.stream.flush().expect("it is open");
        let mut length = 0;
        while !self.buffer[..length].ends_with(b"\r\n\r\n") {
            let more = self.stream.read(&mut self.buffer[length..]).expect("an answer");
            assert!(more > 0, "the connection was closed");
            length += more;
        }
        (begin.elapsed(), String::from_utf8_lossy(&self.buffer[..length]).into_owned())
    }
}

impl Tries {
    fn add(&mut self, other: Self) {
        self.existing.extend(other.existing);
        self.missing.extend(other.missing);
    }

    /// Mann and Whitney's U as a standard normal, `shift` added to the missing ones: positive where they
    /// take longer.
    fn z(&self, shift: Duration) -> f64 {
        let shift = u64::try_from(shift.as_nanos()).expect("short");
        let existing = self.existing.iter().map(|took| (*took, false));
        let missing = self.missing.iter().map(|took| (*took + shift, true));
        let mut all: Vec<(u64, bool)> = existing.chain(missing).collect();
        all.sort_unstable_by_key(|(took, _)| *took);
        // Equal times share their ranks' mean.
        let (mut ranks, mut at) = (0.0, 0);
        while at < all.len() {
            let tied = all[at..].iter().take_while(|(took, _)| *took == all[at].0).count();
            let rank = at as f64 + (tied as f64 + 1.0) / 2.0;
            let of_missing = all[at..at + tied].iter().filter(|(_, missing)| *missing).count();
            ranks += rank * of_missing as f64;
            at += tied;
        }
        let (n, m) = (self.missing.len() as f64, self.existing.len() as f64);
        let u = ranks - n * (n + 1.0) / 2.0;
        (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
    }

    /// The smallest delay of one side that would have been found.
    fn visible(&self) -> Duration {
        let steps =
            (0..200_u32).map(|step| Duration::from_nanos(50).mul_f64(1.05_f64.powi(step as i32)));
        let mut seen = steps.filter(|shift| self.z(*shift) > ALARM);
        seen.next().expect("a delay of a millisecond shows on any machine")
    }

    fn medians(&self) -> String {
        let median = |tries: &[u64]| {
            let mut tries = tries.to_vec();
            tries.sort_unstable();
            Duration::from_nanos(tries[tries.len() / 2])
        };
        format!("medians {:?} and {:?}", median(&self.existing), median(&self.missing))
    }
}

const URI: &str = "sip:pbx";
const EXISTING: &str = "101";
const MISSING: &str = "999";
const TRIES: usize = 10_000;
/// Of eight tries each: an unban is a process of its own.
const ROUNDS: usize = 100;
/// Beyond it: by chance once in a million runs.
const ALARM: f64 = 4.9;
