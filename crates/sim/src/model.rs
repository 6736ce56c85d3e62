//! What must be true, whatever the exchange thinks: the wire and the facts as a stranger to its code
//! sees them, and who should have heard whom.
//!
//! [`Watch`] looks at every message, trace and fact of a world, ladders included.

pub(crate) mod money;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actors::phone::{self, Ending, Event};
use bytes::Bytes;
use guard::cause::Disposition;
use guard::fact::{Fact, Severity};
use guard::id::{CallId, LegId};
use pbx::io::Trace;
use pure::Instant;

use crate::link::Far;
use crate::store::Store;
use crate::world::{Node, World};

/// Invariants that hold at every moment. What broke is kept as text.
#[derive(Debug, Default)]
pub struct Watch {
    pub broken: Vec<String>,
    /// Addresses of each phone and carrier, as text.
    pub addresses: BTreeMap<Far, Vec<String>>,
    pub bills: money::Bills,
    /// Secrets in clear: none may ever appear in what is shown.
    pub secrets: Vec<String>,
    /// Long words (Call-IDs, tags, branches, keys) and who said them first; `None`: the server.
    words: BTreeMap<Vec<u8>, Option<Far>>,
    /// Words and addresses of others that somebody forged with: they may be said back to it.
    repeated: BTreeSet<(Far, Vec<u8>)>,
    /// Legs that the gate permitted.
    permitted: BTreeSet<LegId>,
    /// Calls that began, and those whose snapshot was on disk at some commit.
    pub started: BTreeSet<CallId>,
    pub durable: BTreeSet<CallId>,
    /// Errors that a fault of the world explains.
    pub disk_may_fail: bool,
    calls_for_help: u64,
}

impl Watch {
    fn breaks(&mut self, what: String) {
        if self.broken.len() < 20 {
            self.broken.push(what);
        }
    }

    pub(crate) fn says(&mut self, who: Far, bytes: &Bytes) {
        for word in words(bytes) {
            if !self.words.contains_key(word) {
                self.words.insert(word.to_vec(), Some(who));
            }
        }
    }

    /// Somebody says what it has overheard.
    pub(crate) fn forges(&mut self, who: Far, bytes: &Bytes) {
        let addresses = addresses(bytes).into_iter().map(String::into_bytes);
        let said = words(bytes).map(<[u8]>::to_vec).chain(addresses);
        self.repeated.extend(said.map(|word| (who, word)));
        self.says(who, bytes);
    }

    fn repeats(&self, who: Far, word: &[u8]) -> bool {
        !self.repeated.is_empty() && self.repeated.contains(&(who, word.to_vec()))
    }

    /// Nothing of one leg shows on another: no address, Call-ID, tag, branch or key.
    pub(crate) fn is_told(&mut self, who: Far, bytes: &Bytes) {
        let mut leaks = Vec::new();
        for word in words(bytes) {
            match self.words.get(word) {
                Some(Some(owner)) if *owner != who && !self.repeats(who, word) => {
                    leaks.push(String::from_utf8_lossy(word).into_owned());
                }
                Some(_) => {}
                None => {
                    self.words.insert(word.to_vec(), None);
                }
            }
        }
        for address in addresses(bytes) {
            let own = self.addresses.get(&who).is_some_and(|own| own.contains(&address));
            let repeated = self.repeats(who, address.as_bytes());
            if !own && !repeated && !address.starts_with("198.51.100.") {
                leaks.push(address);
            }
        }
        for leak in leaks {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.breaks(format!("topology: {leak} shows on another leg:\n{text}"));
        }
    }

    pub(crate) fn trace(&mut self, trace: &Trace) {
        let text = &trace.text;
        for line in text.lines() {
            let key = line.split_once("inline:").is_some_and(|(_, rest)| rest != STRUCK);
            let head = line.to_ascii_lowercase();
            let credentials = head.starts_with("authorization:") && !line.ends_with(STRUCK);
            if key || credentials {
                self.breaks(format!("secret: a trace shows {line}"));
            }
        }
        if let Some(secret) = self.secrets.iter().find(|secret| text.contains(*secret)) {
            let what = format!("secret: a trace shows the password {secret}");
            self.breaks(what);
        }
        // Whatever we open toward a device, the gate has permitted. A To tag: it is open already.
        let opens = trace.sent
            && text.starts_with("INVITE ")
            && !text.lines().any(|line| line.starts_with("To:") && line.contains(";tag="));
        if opens && !self.permitted.contains(&trace.leg) {
            self.breaks(format!("gate: leg {:?} was opened without a permit", trace.leg));
        }
    }

    pub(crate) fn fact(&mut self, now: Instant, fact: &Fact) {
        if fact.severity() == Severity::Error {
            let of_disk = matches!(fact, Fact::PersistFailed { .. } | Fact::ChangeRefused { .. });
            let expected = of_disk && self.disk_may_fail;
            if !expected {
                self.breaks(format!("error: {fact}"));
            }
        }
        match fact {
            Fact::GateDecided { leg, permitted: true, .. } => {
                self.permitted.insert(*leg);
            }
            Fact::CallStarted { call, .. } => {
                self.started.insert(*call);
            }
            Fact::EmergencyCalled { .. } => self.calls_for_help += 1,
            Fact::LegSettled { leg, .. } => self.leg_settled(now, *leg),
            _ => {}
        }
        let shown = format!("{fact:?} {fact}");
        let personal = shown.contains("10.0.0.") || shown.contains("203.0.113.");
        if personal || self.secrets.iter().any(|secret| shown.contains(secret)) {
            self.breaks(format!("secret: a fact shows too much: {shown}"));
        }
    }

    pub(crate) fn committed(&mut self, store: &Store) {
        self.durable.extend(store.snapshots.keys().copied());
    }

    pub fn calls_for_help(&self) -> u64 {
        self.calls_for_help
    }

    /// Once everything is quiet: every call that was durable has its record, and exactly one; only
    /// the record of an interrupted call may be written again by the next start.
    pub fn records(&mut self, store: &Store) {
        let mut records: BTreeMap<CallId, Vec<Disposition>> = BTreeMap::new();
        for cdr in &store.cdrs {
            records.entry(cdr.call).or_default().push(cdr.disposition);
        }
        for (call, dispositions) in &records {
            let interrupted = dispositions.iter().all(|d| *d == Disposition::Interrupted);
            if dispositions.len() > 1 && !interrupted {
                self.breaks(format!("records: call {call:?} has {dispositions:?}"));
            }
        }
        let missing = self.durable.iter().find(|call| !records.contains_key(call));
        if let Some(call) = missing {
            self.breaks(format!("records: call {call:?} has none"));
        }
        if let Some(call) = store.snapshots.keys().next() {
            let count = store.snapshots.len();
            self.breaks(format!("leak: {count} snapshots are left, {call:?} the first"));
        }
        if let Err(broken) = store.verify() {
            self.breaks(format!("journal: {broken}"));
        }
    }
}

/// How many calls were dialled.
pub fn dialled(world: &World) -> u64 {
    let events = world.phones.iter().flat_map(|node| &node.events);
    events.filter(|(_, event)| matches!(event, Event::Dialling { .. })).count() as u64
}

/// Once everybody is back: no phone believes in a call that the server doesn't know.
pub fn known(world: &mut World) {
    let calls = world.phones.iter().flat_map(|node| node.phone.calls());
    let up = calls.filter(|(_, state)| **state == phone::State::Up).count();
    let live = world.server.exchange().map(|exchange| exchange.live()).unwrap_or_default();
    let known = live.iter().find(|(what, _)| *what == "calls").map_or(0, |(_, count)| *count);
    if up > 2 * known {
        let what = format!("calls: phones are in {up} calls, the server knows {known}");
        world.watch.broken.push(what);
    }
}

/// Once everybody has hung up: no phone is in a call.
pub fn left_in_phones(world: &mut World) {
    for node in &world.phones {
        for (id, state) in node.phone.calls() {
            world.watch.broken.push(format!("leak: {} is left in {id:?} ({state:?})", node.name));
        }
    }
}

/// Once a world is quiet: who heard whom, and whether anything is left over.
pub fn judge(world: &mut World, calm: bool) {
    let mut broken = Vec::new();
    if let Some(exchange) = world.server.exchange() {
        for (what, count) in exchange.live() {
            if count != 0 {
                broken.push(format!("leak: {count} {what} are left"));
            }
        }
    }
    let endpoints = world.server.endpoints();
    if endpoints != 0 {
        broken.push(format!("leak: {endpoints} media endpoints are left"));
    }
    let talks: Vec<Talk> = world.phones.iter().flat_map(talks).collect();
    for talk in &talks {
        heard(world, talk, &talks, calm, &mut broken);
    }
    let World { watch, server, .. } = world;
    watch.records(&server.store);
    watch.broken.extend(broken);
    money::judge(world);
    if calm {
        help(world);
        agree(world, &talks);
    }
}

/// One call as its phone lived it.
#[derive(Debug)]
struct Talk {
    phone: phone::Voice,
    name: String,
    number: String,
    call: phone::CallId,
    /// Whom it dialled, or who called.
    other: String,
    dialled: bool,
    began: Instant,
    answered: Option<Instant>,
    ended: Option<(Instant, Ending)>,
    disturbed: bool,
    heard: BTreeMap<phone::Voice, u64>,
}

fn talks(node: &Node) -> Vec<Talk> {
    let mut talks: Vec<Talk> = Vec::new();
    for (at, event) in &node.events {
        let (call, other, dialled) = match event {
            Event::Dialling { call, number } => (*call, number.clone(), true),
            Event::Incoming { call, from } => (*call, from.clone(), false),
            Event::Answered { call } | Event::Held { call } | Event::Resumed { call } => {
                if let Some(talk) = talks.iter_mut().find(|talk| talk.call == *call) {
                    match event {
                        Event::Answered { .. } => talk.answered = Some(*at),
                        _ => talk.disturbed = true,
                    }
                }
                continue;
            }
            Event::Ended { call, ending } => {
                if let Some(talk) = talks.iter_mut().find(|talk| talk.call == *call) {
                    talk.ended.get_or_insert((*at, *ending));
                }
                continue;
            }
            Event::Ringing { .. }
            | Event::Registered { .. }
            | Event::RegistrationFailed { .. }
            | Event::Confused { .. } => continue,
        };
        talks.push(Talk {
            phone: node.phone.settings().voice,
            name: node.name.clone(),
            number: node.phone.settings().number.clone(),
            call,
            other,
            dialled,
            began: *at,
            answered: None,
            ended: None,
            // Keys take the place of the voice while they are pressed.
            disturbed: node.phone.digits(call).is_some_and(|digits| !digits.is_empty()),
            heard: node.phone.heard(call).cloned().unwrap_or_default(),
        });
    }
    talks
}

/// Only phones of the other extension may ever have been heard; and in a call that was answered and
/// left alone on a good day, the other phone heard this one.
fn heard(world: &World, talk: &Talk, all: &[Talk], calm: bool, broken: &mut Vec<String>) {
    for voice in talk.heard.keys() {
        let who = world.phones.iter().find(|node| node.phone.settings().voice == *voice);
        match who {
            Some(node) if node.phone.settings().number == talk.other => {}
            Some(node) => broken.push(format!(
                "voices: {} heard {} in {:?} with {}",
                talk.name, node.name, talk.call, talk.other
            )),
            None if outside(world, talk, *voice) => {}
            None => broken.push(format!(
                "voices: {} heard a stranger ({voice:?}) in {:?}",
                talk.name, talk.call
            )),
        }
    }
    let Some((ended, _)) = talk.ended else { return };
    // Nobody says much more than a packet in each interval, whoever repeats it; a phone that is held
    // and resumed begins anew each time, which adds some.
    let lasted = ended.since(talk.began).as_millis();
    let interval = world.phones[0].phone.settings().packet_interval.as_millis();
    let most = lasted * 5 / 4 / interval + HEARD_SLACK;
    if let Some((voice, packets)) = talk.heard.iter().find(|(_, n)| u128::from(**n) > most) {
        broken.push(format!(
            "voices: {} heard {packets} packets of {voice:?} in {lasted} ms ({:?})",
            talk.name, talk.call
        ));
    }
    let Some(answered) = talk.answered else { return };
    // Long enough for two packets each way, and nobody held.
    if !calm || !talk.dialled || ended.since(answered) < Duration::from_secs(4) {
        return;
    }
    let others: Vec<&Talk> = all
        .iter()
        .filter(|other| {
            !other.dialled
                && other.number == talk.other
                && other.other == talk.number
                && other.answered.is_some_and(|at| at <= answered && at >= talk.began)
        })
        .collect();
    let [other] = others[..] else { return };
    if talk.disturbed || other.disturbed {
        return;
    }
    let only = |heard: &BTreeMap<phone::Voice, u64>, voice| {
        heard.get(&voice).is_some_and(|packets| *packets > 1)
    };
    if !only(&talk.heard, other.phone) || !only(&other.heard, talk.phone) {
        broken.push(format!(
            "voices: {} ({:?}) and {} ({:?}) talked and heard {:?} and {:?}",
            talk.name, talk.call, other.name, other.call, talk.heard, other.heard
        ));
    }
}

/// Whether this is the voice of somebody at a carrier, with whom the phone was in a call.
fn outside(world: &World, talk: &Talk, voice: phone::Voice) -> bool {
    let records = world.carriers.iter().flat_map(|node| node.carrier.records());
    let Some(record) = records.into_iter().find(|record| record.voice == voice) else {
        return false;
    };
    // As they were dialled: with the prefix of the country, or of the world, or without.
    let bare = |number: &str| {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        digits[digits.len().saturating_sub(7)..].to_owned()
    };
    bare(&record.number) == bare(&talk.other)
}

/// On a good day every call for help reached a carrier.
fn help(world: &mut World) {
    let reached: Vec<Instant> = world
        .carriers
        .iter()
        .flat_map(|node| &node.events)
        .filter(|(_, event)| {
            matches!(event, actors::carrier::Event::Called { number } if number == money::HELP)
        })
        .map(|(at, _)| *at)
        .collect();
    if world.carriers.is_empty() {
        return;
    }
    let mut broken = Vec::new();
    for talk in world.phones.iter().flat_map(talks) {
        if !talk.dialled || talk.other != money::HELP {
            continue;
        }
        let soon = talk.began + HELP_WITHIN;
        let early = talk.ended.is_some_and(|(at, ending)| {
            ending == Ending::HungUp && at.since(talk.began) < Duration::from_secs(1)
        });
        if !early && !reached.iter().any(|at| *at >= talk.began && *at <= soon) {
            broken.push(format!("help: {} called for help and reached no carrier", talk.name));
        }
    }
    world.watch.broken.extend(broken);
}

/// On a good day each dial has one record, and both say the same of it.
fn agree(world: &mut World, talks: &[Talk]) {
    use Disposition as D;
    let mut broken = Vec::new();
    for talk in talks.iter().filter(|talk| talk.dialled && talk.other != "911") {
        let Some((ended, ending)) = talk.ended else { continue };
        let slack = Duration::from_millis(1_500);
        let began = world.utc_of(talk.began);
        let records: Vec<_> = world
            .server
            .store
            .cdrs
            .iter()
            .filter(|cdr| {
                let close = cdr.started >= began && cdr.started.since(began) < slack;
                cdr.from == talk.number && cdr.to == talk.other && close
            })
            .collect();
        let Some(cdr) = records.first() else {
            // Given up before it had proved itself: no call.
            let early = ended.since(talk.began) < slack && ending == Ending::HungUp;
            if !early {
                broken
                    .push(format!("records: {} {:?} has none ({ending:?})", talk.name, talk.call));
            }
            continue;
        };
        if records.len() > 1 {
            continue; // Two phones of one extension dialled the same number at once.
        }
        let fits = match (ending, cdr.disposition) {
            (_, D::Answered) if talk.answered.is_some() => true,
            // The called phone answered and hung up before the caller could know.
            (Ending::Refused(status), D::Answered) => status.code() == 487,
            // The refusal may have met the CANCEL.
            (Ending::HungUp, disposition) => disposition != D::Interrupted,
            (Ending::Refused(status), disposition) => {
                let expected = match disposition {
                    D::Busy => &[486][..],
                    D::Declined => &[603],
                    D::NoAnswer | D::Unavailable => &[480],
                    D::NotFound => &[404],
                    // Too many at once is busy.
                    D::Refused(_) => &[404, 403, 486],
                    D::NotEncrypted => &[488],
                    // The called phone refused what it was offered.
                    D::Failed => &[488, 500, 502, 503],
                    D::Answered | D::Cancelled | D::Interrupted => &[],
                };
                expected.contains(&status.code())
            }
            _ => false,
        };
        if !fits {
            broken.push(format!(
                "records: {} {:?} ended {ending:?}, its record says {}",
                talk.name, talk.call, cdr.disposition
            ));
        }
    }
    world.watch.broken.extend(broken);
}

/// Runs of letters and digits long enough to name something: Call-IDs, tags, branches, keys.
fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || *b == b'+';
    bytes.split(move |b| !inside(b)).filter(|word| word.len() >= WORD_MIN)
}

/// The private and translated addresses in a message.
fn addresses(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for start in [&b"10.0.0."[..], b"203.0.113.", b"192.0.2.", b"198.18.0."] {
        let mut rest = bytes;
        while let Some(at) = rest.windows(start.len()).position(|window| window == start) {
            let tail = &rest[at + start.len()..];
            let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
            let whole = &rest[at..at + start.len() + digits];
            found.push(String::from_utf8_lossy(whole).into_owned());
            rest = tail;
        }
    }
    found
}

/// With every way tried.
const HELP_WITHIN: Duration = Duration::from_secs(20);
/// Moving a stream to another port repeats its clock.
const HEARD_SLACK: u128 = 12;
/// No word of the protocol is so long; every identifier that an engine draws is.
const WORD_MIN: usize = 16;
const STRUCK: &str = pbx::ladder::STRUCK;
