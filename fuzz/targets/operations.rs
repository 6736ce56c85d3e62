//! Any sequence of operations on transactions and dialogs: the bounds hold, each transaction that
//! begins ends once and leaves nothing behind, what is forged (another path, branch, tag or an old
//! CSeq) reaches nobody's transaction and changes no dialog.
//!
//! The bytes are steps of a small world: three peers, each on a datagram and on a stream path, eight
//! branches, four calls, and a core that answers, sends, cancels and keeps dialogs.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pure::{Chance, Instant, Now};
use sip::dialog::{Dialog, DialogId, Hop};
use sip::transaction::{Config, Input, Key, Output, Path, Rank, Transactions};
use sip::{Message, Method, NameAddrBuf, Request, Response, Status, Transport};

fuzz_target!(|bytes: &[u8]| {
    let mut world = World::new();
    let mut steps = Steps(bytes);
    for _ in 0..STEPS_MAX {
        let Some(step) = steps.next() else { break };
        world.step(step, &mut steps);
        world.check();
    }
    world.rest();
});

const STEPS_MAX: usize = 300;
const LIVE_MAX: usize = 12;
const RESERVE: usize = 3;
const PER_PATH_MAX: usize = 5;
const RESTING_MAX: usize = 8_000;
/// More of each are not remembered by the world.
const KEPT: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Wire {
    peer: u8,
    reliable: bool,
}

impl Path for Wire {
    fn is_reliable(&self) -> bool {
        self.reliable
    }
}

struct Steps<'a>(&'a [u8]);

impl Steps<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A number below the bound; zero when the bytes have run out.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next().unwrap_or(0)) % bound.max(1)
    }

    fn wire(&mut self) -> Wire {
        let byte = self.next().unwrap_or(0);
        Wire { peer: byte & 3, reliable: byte & 4 != 0 }
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

struct World {
    engine: Transactions<Wire>,
    now: Instant,
    begun: BTreeSet<Key>,
    ended: BTreeSet<Key>,
    /// Requests that came up, to be answered.
    came: Vec<(Key, Wire, Request)>,
    /// Requests that we sent: the only ones whose answers may come up, and only from there.
    sent: BTreeMap<Key, (Wire, Request)>,
    /// What a 2xx of ours waits for: path is free, the tags are not.
    accepted: BTreeMap<Key, DialogId>,
    refused: Vec<(Wire, Request)>,
    dialogs: Vec<Dialog>,
}

impl World {
    fn new() -> Self {
        let config = Config {
            live_max: LIVE_MAX,
            reserve: RESERVE,
            per_path_max: PER_PATH_MAX,
            resting_max: RESTING_MAX,
            ..Config::default()
        };
        Self {
            engine: Transactions::new(config, Chance::from_number(1)),
            now: Instant(0),
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            came: Vec::new(),
            sent: BTreeMap::new(),
            accepted: BTreeMap::new(),
            refused: Vec::new(),
            dialogs: Vec::new(),
        }
    }

    fn step(&mut self, step: u8, steps: &mut Steps<'_>) {
        match step % 13 {
            0 => {
                let path = steps.wire();
                let request = request(Method::Invite, steps);
                self.give(Input::Received { path, message: Message::Request(request) });
            }
            1 => {
                let path = steps.wire();
                let method = *steps.one(&OTHERS).expect("a method");
                let request = request(method, steps);
                self.give(Input::Received { path, message: Message::Request(request) });
            }
            2 => self.answer(steps),
            3 => self.send(steps),
            4 => self.hear(steps),
            5 => {
                let keys: Vec<Key> = self.sent.keys().copied().collect();
                if let Some(&key) = steps.one(&keys) {
                    self.give(Input::Cancel { key });
                }
            }
            6 => {
                let path = steps.wire();
                self.give(Input::Failed { path });
            }
            7 => self.pass(Duration::from_millis(50 * (1 + steps.below(256) as u64))),
            8 => self.pass(Duration::from_secs(steps.below(256) as u64)),
            9 => {
                let rank = [Rank::Ordinary, Rank::Progress, Rank::Emergency][steps.below(3)];
                if let Some((path, request)) = self.refused.pop() {
                    self.give(Input::Admit { path, request, rank });
                }
            }
            10 => self.forge_within(steps),
            11 => self.say_within(steps),
            // Time stands, and a timer is asked for too early.
            _ => self.give(Input::Timeout),
        }
    }

    /// The core answers one of the requests that came.
    fn answer(&mut self, steps: &mut Steps<'_>) {
        let Some((key, _, request)) = steps.one(&self.came).cloned() else { return };
        let status = Status::new(STATUSES[steps.below(STATUSES.len())]).expect("a status");
        let response = answer(&request, status, steps.below(2));
        if request.method() == Method::Invite && status.is_success() {
            // Of several answers the engine takes the first: any of them names the same tags.
            self.accepted.entry(key).or_insert_with(|| DialogId::of_request(&acked(&response)));
        }
        if let Ok(dialog) = Dialog::uas(&request, &response, true) {
            self.keep(dialog);
        }
        self.give(Input::Respond { key, response });
    }

    fn keep(&mut self, dialog: Dialog) {
        if self.dialogs.len() < KEPT && self.dialogs.iter().all(|known| known.id() != dialog.id()) {
            self.dialogs.push(dialog);
        }
    }

    fn send(&mut self, steps: &mut Steps<'_>) {
        let path = steps.wire();
        let method = [Method::Invite, Method::Options, Method::Bye, Method::Ack][steps.below(4)];
        let request = request(method, steps);
        let rank = [Rank::Ordinary, Rank::Emergency][steps.below(2)];
        // Now and then a key that was used before.
        let used: Vec<Key> = self.begun.iter().copied().collect();
        let key = match steps.below(4) {
            0 => steps.one(&used).copied(),
            _ => None,
        };
        let key = key.unwrap_or_else(|| self.engine.reserve());
        if self.begun.contains(&key) {
            // It is refused where it lives, and names nothing new where it is over.
            if self.engine.is_live(key) {
                self.give(Input::Send { key, path, request, rank });
            }
            return;
        }
        self.begun.insert(key);
        self.sent.insert(key, (path, request.clone()));
        self.give(Input::Send { key, path, request, rank });
    }

    /// An answer arrives: to a request of ours, from there or from elsewhere, with its branch or another.
    fn hear(&mut self, steps: &mut Steps<'_>) {
        let sent: Vec<(Wire, Request)> = self.sent.values().cloned().collect();
        let Some((path, request)) = steps.one(&sent).cloned() else { return };
        let status = Status::new(STATUSES[steps.below(STATUSES.len())]).expect("a status");
        let response = answer(&request, status, steps.below(3));
        if let Ok(dialog) = Dialog::uac(&request, &response) {
            self.keep(dialog);
        }
        let how = steps.below(8);
        let path = if how == 1 { Wire { peer: path.peer ^ 1, ..path } } else { path };
        let response = if how == 2 { another_branch(&response) } else { response };
        self.give(Input::Received { path, message: Message::Response(response) });
    }

    /// A request with one of a dialog's names wrong, or a number that was used: the dialog stays as it is.
    fn forge_within(&mut self, steps: &mut Steps<'_>) {
        let which = steps.below(self.dialogs.len());
        let Some(dialog) = self.dialogs.get_mut(which) else { return };
        let id = dialog.id();
        let method = [Method::Bye, Method::Invite, Method::Refer, Method::Info][steps.below(4)];
        let last = dialog.state().remote_cseq;
        let fresh = last.map_or(1, |last| last.saturating_add(1));
        let (mut names, mut cseq) = (id.clone(), fresh);
        match steps.below(4) {
            0 => names.local_tag.push('x'),
            1 => names.remote_tag.push('x'),
            2 => names.call_id.push('x'),
            // The last number, or one before it.
            _ => match last {
                Some(last) => cseq = last.saturating_sub(steps.below(3) as u32),
                None => return,
            },
        }
        let forged = within(&names, method, cseq, steps);
        let before = dialog.clone();
        assert!(dialog.receive(&forged).is_err(), "{forged:?} was taken");
        assert_eq!(*dialog, before, "a forged request changed the dialog");
        // No other dialog takes it either, unless it is its own.
        for other in &mut self.dialogs {
            if other.id() != names {
                assert!(other.receive(&forged).is_err());
            }
        }
    }

    /// The peer's own next request is taken once; ours are sound and count on.
    fn say_within(&mut self, steps: &mut Steps<'_>) {
        let which = steps.below(self.dialogs.len());
        let Some(dialog) = self.dialogs.get_mut(which) else { return };
        let next = dialog.state().remote_cseq.map_or(1, |last| last.saturating_add(1));
        if next <= sip::header::CSEQ_MAX {
            let told = within(&dialog.id(), Method::Info, next, steps);
            assert_eq!(dialog.receive(&told), Ok(()));
            assert!(dialog.receive(&told).is_err(), "one number twice");
        }
        let before = dialog.state().local_cseq;
        let hop = Hop { transport: Transport::Tls, sent_by: "pbx.test", branch: "z9hG4bKown" };
        if let Ok(bye) = dialog.request(Method::Bye, hop) {
            let bye = bye.build().expect("a dialog's BYE is sound");
            assert!(before.is_none_or(|before| bye.headers().cseq().number == before + 1));
            let restored = Dialog::restore(dialog.state().clone());
            assert_eq!(restored.as_ref(), Ok(&*dialog));
        }
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= until) {
            assert!(at >= self.now, "a deadline in the past");
            self.now = at;
            self.give(Input::Timeout);
        }
        self.now = until;
    }

    fn give(&mut self, input: Input<Wire>) {
        self.engine.handle(Now { instant: self.now, ..Now::default() }, input);
        while let Some(output) = self.engine.poll_output() {
            self.see(output);
        }
    }

    fn see(&mut self, output: Output<Wire>) {
        match output {
            Output::Transmit { bytes, .. } => {
                Message::parse(bytes).expect("what is sent is sound");
            }
            Output::NewRequest { key, path, request } => {
                assert!(self.begun.insert(key), "a key twice");
                if self.came.len() < KEPT {
                    self.came.push((key, path, request));
                }
            }
            Output::Cancel { key, path, request, invite } => {
                assert!(self.begun.insert(key), "a key twice");
                if let Some(invite) = invite
                    && let Some((_, from, asked)) = self.came.iter().find(|(k, _, _)| *k == invite)
                {
                    assert_eq!(*from, path, "a CANCEL from elsewhere");
                    let branch = |r: &Request| r.headers().top_via().branch().map(str::to_owned);
                    assert_eq!(branch(asked), branch(&request), "a CANCEL of another branch");
                }
                if self.came.len() < KEPT {
                    self.came.push((key, path, request));
                }
            }
            Output::Ack { request, invite, .. } => {
                if let Some(invite) = invite {
                    let names = self.accepted.get(&invite);
                    assert_eq!(names, Some(&DialogId::of_request(&request)), "an ACK of another");
                }
            }
            Output::Response { key, response } => {
                // The engine's own CANCELs answer too; the core never sees a key it doesn't know otherwise.
                if let Some((_, request)) = self.sent.get(&key) {
                    let asked = request.headers();
                    let came = response.headers();
                    assert_eq!(came.top_via().branch(), asked.top_via().branch());
                    assert_eq!(came.cseq().method, request.method());
                }
            }
            Output::Stray { response, .. } => {
                assert!(response.status().is_success());
            }
            Output::Overloaded { path, request, admitted } => {
                if !admitted && self.refused.len() < KEPT {
                    self.refused.push((path, request));
                }
            }
            Output::Refused { key } => {
                if !self.engine.is_live(key) {
                    self.sent.remove(&key);
                    self.ended.insert(key);
                }
            }
            Output::Timeout { .. } | Output::TransportFailed { .. } => {}
            Output::Terminated { key } => {
                assert!(self.ended.insert(key), "{key:?} ended twice");
                self.came.retain(|(other, _, _)| *other != key);
                self.sent.remove(&key);
                self.accepted.remove(&key);
            }
        }
    }

    fn check(&self) {
        let (at_work, resting) = (self.engine.at_work(), self.engine.resting_bytes());
        assert!(at_work <= LIVE_MAX + 2 * RESERVE, "{at_work} at work");
        assert!(resting <= RESTING_MAX, "{resting} bytes at rest");
        assert_eq!(self.engine.live() == 0, self.engine.is_at_rest(), "a table leaks");
    }

    /// Everybody falls silent: all ends, and nothing is left.
    fn rest(&mut self) {
        for _ in 0..100_000 {
            let Some(at) = self.engine.poll_timeout() else { break };
            self.pass(at.since(self.now));
        }
        assert!(self.engine.is_at_rest(), "left behind: {:?}", self.engine);
        assert!(self.begun.is_subset(&self.ended), "begun and never ended");
    }
}

const OTHERS: [Method; 6] =
    [Method::Ack, Method::Bye, Method::Cancel, Method::Options, Method::Info, Method::Refer];
const STATUSES: [u16; 8] = [100, 180, 183, 200, 200, 302, 486, 503];

/// A request of the small world. Branch and call are drawn, so they meet again.
fn request(method: Method, steps: &mut Steps<'_>) -> Request {
    let (branch, names) = (steps.below(10), steps.below(16));
    let (call, to_tag) = (names & 3, names >> 2);
    // Two branches are of RFC 2543.
    let branch = if branch < 8 { format!("z9hG4bK{branch}") } else { format!("old{branch}") };
    let to = if to_tag == 0 { String::new() } else { format!(";tag=t{to_tag}") };
    parsed(&format!(
        "{method} sip:b@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP a.test;branch={branch}\r\n\
         From: <sip:a@pbx.test>;tag=f{call}\r\nTo: <sip:b@pbx.test>{to}\r\nCall-ID: c{call}\r\n\
         CSeq: 7 {method}\r\nMax-Forwards: 70\r\nContact: <sip:a@a.test>\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// A request that the peer of a dialog with these names would send.
fn within(names: &DialogId, method: Method, cseq: u32, steps: &mut Steps<'_>) -> Request {
    let tag = |tag: &str| if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let (from, to) = (tag(&names.remote_tag), tag(&names.local_tag));
    let branch = steps.below(8);
    parsed(&format!(
        "{method} sip:b@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP a.test;branch=z9hG4bKw{branch}\r\n\
         From: <sip:a@pbx.test>{from}\r\nTo: <sip:b@pbx.test>{to}\r\nCall-ID: {}\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        names.call_id
    ))
}

fn answer(request: &Request, status: Status, tag: usize) -> Response {
    let contact = NameAddrBuf::parse("<sip:pbx@192.0.2.1>").expect("an address");
    Response::builder(request, status)
        .to_tag(&format!("t{}", tag + 1))
        .contact(&contact)
        .build()
        .expect("sound")
}

/// A request with the names of a response: the ACK that it waits for.
fn acked(response: &Response) -> Request {
    let headers = response.headers();
    Request::builder(Method::Ack, "sip:b@pbx.test")
        .via(Transport::Udp, "a.test", "z9hG4bKack")
        .header(sip::Name::From, headers.from().as_str())
        .header(sip::Name::To, headers.to().as_str())
        .call_id(headers.call_id())
        .cseq(headers.cseq().number)
        .build()
        .expect("sound")
}

fn another_branch(response: &Response) -> Response {
    let text = String::from_utf8_lossy(response.as_bytes()).replacen("branch=", "branch=x", 1);
    match Message::parse(text.into_bytes().into()) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn parsed(text: &str) -> Request {
    match Message::parse(text.as_bytes().to_vec().into()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?} of {text}"),
    }
}
