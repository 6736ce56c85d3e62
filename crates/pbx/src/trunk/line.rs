//! One trunk's life: looked up, connected, registered or asked, up, and down for a while.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use guard::fact::Fact;
use pure::{Chance, Instant, TimerId, Utc};
use sip::digest::Challenge;
use sip::transaction::Key;
use sip::{Method, Name, Response};

use super::account::Account;
use super::places::Places;
use super::registration::{Attempt, Hop, Judged, Leaving, Registration};
use super::test::Test;
use super::trouble::{LONG, Patience, Trouble, back_off};
use super::{Effect, Route, Turn, Wake, allowed, health, uri_host, uri_of};
use crate::command::TrunkSecret;
use crate::directory::{Trunk, TrunkAccess};
use crate::flow::{FlowId, FlowOpened, Path, TlsFacts, Transport};
use crate::io::{Answer, ConnectError, Far, Place, Query, Ticket};

#[derive(Debug)]
pub(super) struct Line {
    pub(super) trunk: Trunk,
    pub(super) account: Option<Account>,
    pub(super) registration: Registration,
    pub(super) places: Places,
    pub(super) stage: Stage,
    /// Why it is down, and since when; stays until it is up again, whatever is tried meanwhile.
    pub(super) trouble: Option<(Trouble, Utc)>,
    /// What the journal knows. `None`: nothing yet.
    told: Option<Told>,
    /// Failures in a row.
    failures: u32,
    /// A BYE may wait for its next connection until then.
    hurried: Option<Instant>,
    /// The look-up of a trunk that is up.
    relocating: Option<Ticket>,
    pub(super) test: Option<Test>,
    alarms: BTreeMap<Alarm, TimerId>,
    /// Connections given up that may still carry calls.
    retired: VecDeque<FlowId>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Not wanted: disabled, or we go down.
    Idle,
    /// Nothing works; tried again at that time.
    Waiting {
        retry: Utc,
        /// The carrier asked for the wait, or nothing but a person will change what failed.
        fixed: bool,
    },
    Locating {
        ticket: Ticket,
    },
    Connecting {
        ticket: Ticket,
        place: Place,
    },
    /// The first REGISTER, or the first OPTIONS, is under way.
    Joining {
        link: Link,
        asked: Asked,
    },
    Up(Up),
}

/// What makes a connected trunk an up one.
#[derive(Debug)]
pub(super) enum Asked {
    Register(Attempt),
    Options(Key),
}

#[derive(Debug)]
pub(super) struct Up {
    pub(super) link: Link,
    pub(super) since: Utc,
    /// When the registration ends unless it is refreshed; `None` where none is needed.
    pub(super) expires: Option<Utc>,
    until: Option<Instant>,
    from: Instant,
    refresh: Option<Attempt>,
    probe: Option<Key>,
    /// Probes without a sign of life, in a row.
    missed: u8,
    /// It has answered OPTIONS before: silence means something. Some registrars never answer any.
    answers: bool,
}

/// The connection to a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) path: Path,
    pub(super) place: Place,
    pub(super) tls: Option<TlsFacts>,
}

/// What a request of ours was for.
#[derive(Debug)]
pub(super) enum Purpose {
    Register,
    Options,
    Leave(Box<Leaving>),
}

/// Why a line wakes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    /// A look-up or a connection takes too long.
    Deadline,
    Retry,
    Refresh,
    Probe,
    Relocate,
    Test,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Up,
    Down,
}

impl Line {
    pub(super) fn new(trunk: Trunk, secret: Option<&TrunkSecret>, chance: &mut Chance) -> Self {
        let account = trunk.account().zip(secret);
        Self {
            account: account.map(|(account, secret)| Account::new(account, secret, chance)),
            trunk,
            registration: Registration::new(chance),
            places: Places::default(),
            stage: Stage::Idle,
            trouble: None,
            told: None,
            failures: 0,
            hurried: None,
            relocating: None,
            test: None,
            alarms: BTreeMap::new(),
            retired: VecDeque::new(),
        }
    }

    /// From nothing: where is the carrier?
    pub(super) fn begin(&mut self, turn: &mut Turn<'_, '_>) {
        let wanted = self.trunk.enabled || self.test.is_some();
        if !wanted || turn.engine.draining {
            return;
        }
        self.places.again();
        let ticket = self.look_up(turn);
        self.enter(turn, Stage::Locating { ticket });
        self.set(turn, Alarm::Deadline, LOCATE_TIMEOUT);
    }

    pub(super) fn look_up(&mut self, turn: &mut Turn<'_, '_>) -> Ticket {
        let ticket = turn.ticket(self.trunk.id);
        let query = Query::Locate {
            host: self.trunk.host.clone(),
            port: self.trunk.port,
            transport: self.trunk.transport,
            allowed: allowed(&self.trunk),
        };
        turn.out.push(Effect::Lookup { ticket, query });
        ticket
    }

    pub(super) fn located(&mut self, turn: &mut Turn<'_, '_>, ticket: Ticket, answer: &Answer) {
        let places = match answer {
            Answer::Located(places) => places.as_slice(),
            Answer::Identity(_) | Answer::Signature(_) | Answer::Failed => &[],
        };
        let awaited = matches!(self.stage, Stage::Locating { ticket: of } if of == ticket);
        let again = self.relocating.take_if(|of| *of == ticket).is_some();
        if !awaited && !again {
            return;
        }
        let known = self.places.update(places, &allowed(&self.trunk));
        self.note_located(turn, places, awaited);
        if awaited && known {
            self.connect_next(turn, Trouble::NotLocated);
        } else if awaited {
            self.fail(turn, Trouble::NotLocated, None);
        } else if let Some(link) = self.link()
            && self.places.has_left(link.place)
        {
            self.places.again();
            self.retire(turn);
            self.connect_next(turn, Trouble::NotLocated);
        }
    }

    /// The next place of this round; down with `trouble` where none is left.
    fn connect_next(&mut self, turn: &mut Turn<'_, '_>, trouble: Trouble) {
        match self.places.next(turn.now().instant) {
            Some(place) => self.connect(turn, place),
            None => self.wait(turn, trouble, None),
        }
    }

    fn connect(&mut self, turn: &mut Turn<'_, '_>, place: Place) {
        let ticket = turn.ticket(self.trunk.id);
        let to = Far {
            realm: self.trunk.realm,
            place,
            name: self.trunk.host.clone(),
            authority: self.trunk.authority.clone(),
        };
        turn.out.push(Effect::Connect { ticket, to });
        self.enter(turn, Stage::Connecting { ticket, place });
        self.set(turn, Alarm::Deadline, CONNECT_TIMEOUT);
    }

    /// False where nobody waits for it any more.
    pub(super) fn connected(
        &mut self,
        turn: &mut Turn<'_, '_>,
        ticket: Ticket,
        result: Result<FlowId, ConnectError>,
    ) -> bool {
        let place = match &self.stage {
            Stage::Connecting { ticket: of, place } if *of == ticket => *place,
            Stage::Connecting { .. }
            | Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Locating { .. }
            | Stage::Joining { .. }
            | Stage::Up(_) => return false,
        };
        match result {
            Ok(flow) => {
                let tls = turn.engine.flows.get(&flow).and_then(|opened| opened.tls.clone());
                let link = Link { path: Path { flow, remote: place.remote }, place, tls };
                self.note_connected(&link);
                self.join(turn, link);
            }
            Err(error) => self.fail(turn, Trouble::Connect(error), None),
        }
        true
    }

    fn join(&mut self, turn: &mut Turn<'_, '_>, link: Link) {
        let asked = match self.trunk.access {
            TrunkAccess::Registration(_) => self
                .register(turn, &link, None)
                .map(|key| Asked::Register(Attempt { key, answers: 0, prolonged: false })),
            TrunkAccess::Address(_) => self.ask(turn, &link).map(Asked::Options),
        };
        match asked {
            Some(asked) => self.enter(turn, Stage::Joining { link, asked }),
            None => {
                self.hang_up(turn, &link);
                self.note_trouble(&Trouble::Unwritable);
                self.wait(turn, Trouble::Unwritable, None);
            }
        }
    }

    fn register(
        &mut self,
        turn: &mut Turn<'_, '_>,
        link: &Link,
        credentials: Option<(Name, String)>,
    ) -> Option<Key> {
        let account = match &self.trunk.access {
            TrunkAccess::Registration(account) => account,
            TrunkAccess::Address(_) => return None,
        };
        let sent_by = turn.sent_by(self.trunk.realm, link.path.flow);
        let branch = turn.desk.transactions.branch();
        let hop = Hop { transport: link.path.flow.transport, sent_by: &sent_by, branch: &branch };
        let uri = uri_of(&self.trunk);
        let ahead = self.account.as_mut();
        let credentials = credentials.or_else(|| {
            ahead.and_then(|known| known.registrar.authorize(Method::Register.as_str(), &uri))
        });
        let credentials = credentials.as_ref();
        let request = self.registration.request(&self.trunk, account, &hop, None, credentials);
        let request = request.ok()?;
        Some(turn.send(self.trunk.id, Purpose::Register, link.path, request))
    }

    /// Sends OPTIONS.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_, '_>, link: &Link) -> Option<Key> {
        let sent_by = turn.sent_by(self.trunk.realm, link.path.flow);
        let branch = turn.desk.transactions.branch();
        let hop = Hop { transport: link.path.flow.transport, sent_by: &sent_by, branch: &branch };
        let call_id = format!("{:032x}", turn.engine.chance.u128());
        let tag = format!("{:016x}", turn.engine.chance.u64());
        let request = health::request(&self.trunk, &hop, &call_id, &tag).ok()?;
        Some(turn.send(self.trunk.id, Purpose::Options, link.path, request))
    }

    /// The answer to a REGISTER.
    pub(super) fn registered(
        &mut self,
        turn: &mut Turn<'_, '_>,
        key: Key,
        answer: Option<&Response>,
    ) {
        let Some((link, attempt)) = self.attempt(key) else { return };
        let (answers, prolonged) = (attempt.answers, attempt.prolonged);
        match self.registration.judge(answer) {
            Judged::Granted(seconds) => self.granted(turn, link, seconds),
            Judged::TooBrief(_) if prolonged => {
                self.fail(turn, Trouble::Refused("REGISTER", 423), None);
            }
            Judged::TooBrief(seconds) => {
                self.registration.prolong(seconds);
                self.repeat(turn, &link, None, |attempt| attempt.prolonged = true);
            }
            Judged::Challenged => {
                let credentials = answer.map(|answer| self.credentials(answer, answers));
                match credentials {
                    Some(Ok(credentials)) => {
                        self.repeat(turn, &link, Some(credentials), |attempt| attempt.answers += 1);
                    }
                    Some(Err(trouble)) => self.fail(turn, trouble, None),
                    None => {}
                }
            }
            Judged::Failed(trouble, retry_after) => self.fail(turn, trouble, retry_after),
        }
    }

    /// Answers a challenge. A nonce of ours that is too old (RFC 7616 §3.5) says nothing about the
    /// password; many servers draw a new one for each answer that is wrong.
    fn credentials(&mut self, answer: &Response, before: u8) -> Result<(Name, String), Trouble> {
        let account = self.account.as_mut().ok_or(Trouble::NoAccount)?;
        let headers = answer.headers();
        let challenges = [Name::WwwAuthenticate, Name::ProxyAuthenticate];
        let mut challenges = challenges.into_iter().flat_map(|name| headers.get_all(name));
        let stale = challenges
            .any(|value| Challenge::parse(value.as_bytes()).is_ok_and(|challenge| challenge.stale));
        match before {
            0 => {}
            1 if stale => {}
            _ if stale => return Err(Trouble::Insatiable),
            _ => return Err(Trouble::WrongPassword),
        }
        let method = Method::Register.as_str();
        Ok(account.registrar.answer(answer, method, &uri_of(&self.trunk))?)
    }

    /// The attempt that this key belongs to, with the connection it was made over.
    fn attempt(&self, key: Key) -> Option<(Link, &Attempt)> {
        let (link, attempt) = match &self.stage {
            Stage::Joining { link, asked: Asked::Register(attempt) } => (link, attempt),
            Stage::Up(Up { link, refresh: Some(attempt), .. }) => (link, attempt),
            Stage::Joining { asked: Asked::Options(_), .. }
            | Stage::Up(_)
            | Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Locating { .. }
            | Stage::Connecting { .. } => return None,
        };
        (attempt.key == key).then(|| (link.clone(), attempt))
    }

    /// The same attempt once more, with what the carrier asked for.
    fn repeat(
        &mut self,
        turn: &mut Turn<'_, '_>,
        link: &Link,
        credentials: Option<(Name, String)>,
        change: impl FnOnce(&mut Attempt),
    ) {
        let Some(key) = self.register(turn, link, credentials) else {
            return self.fail(turn, Trouble::Unwritable, None);
        };
        let attempt = match &mut self.stage {
            Stage::Joining { asked: Asked::Register(attempt), .. } => attempt,
            Stage::Up(Up { refresh: Some(attempt), .. }) => attempt,
            Stage::Joining { asked: Asked::Options(_), .. }
            | Stage::Up(_)
            | Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Locating { .. }
            | Stage::Connecting { .. } => return,
        };
        attempt.key = key;
        change(attempt);
    }

    fn granted(&mut self, turn: &mut Turn<'_, '_>, link: Link, seconds: u32) {
        let span = Duration::from_secs(seconds.into());
        let now = turn.now();
        self.note_registered(seconds);
        let expires = Some(now.utc + span);
        let until = Some(now.instant + span);
        if let Stage::Up(up) = &mut self.stage {
            (up.expires, up.until, up.refresh) = (expires, until, None);
        } else {
            let digest = self.account.as_ref().and_then(|account| account.registrar.algorithm());
            let digest = digest.map_or("no password", |algorithm| algorithm.token());
            let how = format!("registered for {seconds} s, {digest}");
            self.up(turn, link, (expires, until), &how);
        }
        // Half of it, and up to a tenth sooner, so that many trunks don't refresh at once.
        let tenth = u64::from(seconds) * 1_000 / 20;
        let sooner = Duration::from_millis(turn.engine.chance.below(tenth));
        self.set(turn, Alarm::Refresh, (span / 2).saturating_sub(sooner));
        self.continue_test(turn);
    }

    fn up(
        &mut self,
        turn: &mut Turn<'_, '_>,
        link: Link,
        (expires, until): (Option<Utc>, Option<Instant>),
        how: &str,
    ) {
        let now = turn.now();
        let Link { path, place, .. } = link;
        let answers = until.is_none();
        self.places.again();
        self.trouble = None;
        let up = Up {
            link,
            since: now.utc,
            expires,
            until,
            from: now.instant,
            refresh: None,
            probe: None,
            missed: 0,
            answers,
        };
        self.enter(turn, Stage::Up(up));
        if self.told != Some(Told::Up) {
            self.told = Some(Told::Up);
            let how = format!("{} to {}, {how}", place.transport.via(), place.remote);
            let Trunk { id, name, tenant, .. } = &self.trunk;
            turn.fact(*tenant, Fact::TrunkUp { trunk: *id, name: name.clone(), how });
        }
        let (trunk, realm) = (self.trunk.id, self.trunk.realm);
        turn.out.push(Effect::Reachable { trunk, path, realm });
        let gap = turn.about(self.probe_interval());
        self.set(turn, Alarm::Probe, gap);
        let hour = turn.about(RELOCATE_INTERVAL);
        self.set(turn, Alarm::Relocate, hour);
    }

    fn probe_interval(&self) -> Duration {
        let datagrams = self.link().is_some_and(|link| !link.path.flow.transport.is_reliable());
        match self.trunk.access {
            _ if datagrams => PROBE_DATAGRAM,
            TrunkAccess::Registration(_) => PROBE_REGISTERED,
            TrunkAccess::Address(_) => PROBE_ADDRESS,
        }
    }

    /// The answer to an OPTIONS.
    pub(super) fn probed(&mut self, turn: &mut Turn<'_, '_>, key: Key, answer: Option<&Response>) {
        if self.tested(turn, key, answer) {
            return;
        }
        let alive = answer.filter(|answer| health::is_alive(answer));
        match (&mut self.stage, alive) {
            (Stage::Joining { link, asked: Asked::Options(of) }, alive) if *of == key => {
                let link = link.clone();
                match alive {
                    Some(answer) => {
                        self.note_options(answer);
                        let how = format!("answers OPTIONS with {}", answer.status().code());
                        self.up(turn, link, (None, None), &how);
                        self.finish_test(turn, true);
                    }
                    None => self.fail(turn, silence(answer), retry_after(answer)),
                }
            }
            (Stage::Up(up), Some(_)) if up.probe == Some(key) => {
                (up.probe, up.missed, up.answers) = (None, 0, true);
                let gap = turn.about(self.probe_interval());
                self.set(turn, Alarm::Probe, gap);
            }
            (Stage::Up(up), None) if up.probe == Some(key) => {
                self.missed(turn, silence(answer), retry_after(answer));
            }
            (
                Stage::Joining { .. }
                | Stage::Up(_)
                | Stage::Idle
                | Stage::Waiting { .. }
                | Stage::Locating { .. }
                | Stage::Connecting { .. },
                _,
            ) => {}
        }
    }

    /// A probe without a sign of life. A registrar that has never answered one lives by its registration.
    fn missed(&mut self, turn: &mut Turn<'_, '_>, trouble: Trouble, retry_after: Option<u32>) {
        let interval = self.probe_interval();
        let Stage::Up(up) = &mut self.stage else { return };
        up.probe = None;
        if !up.answers {
            return self.set(turn, Alarm::Probe, interval);
        }
        up.missed += 1;
        if up.missed >= MISSED_MAX {
            return self.fail(turn, trouble, retry_after);
        }
        self.set(turn, Alarm::Probe, SOON);
    }

    /// A request of ours was not sent. A connection that broke is told apart; else our own table of
    /// transactions was full, or a datagram had no way, both of which pass.
    pub(super) fn undelivered(&mut self, turn: &mut Turn<'_, '_>, key: Key) {
        if self.tested(turn, key, None) {
            return;
        }
        let now = turn.now().instant;
        match &mut self.stage {
            Stage::Joining { asked: Asked::Register(attempt), .. } if attempt.key == key => {
                self.fail(turn, Trouble::NotSent("REGISTER"), None);
            }
            Stage::Joining { asked: Asked::Options(of), .. } if *of == key => {
                self.fail(turn, Trouble::NotSent("OPTIONS"), None);
            }
            Stage::Up(up) if up.probe == Some(key) => {
                self.missed(turn, Trouble::NotSent("OPTIONS"), None);
            }
            Stage::Up(up) if up.refresh.as_ref().is_some_and(|attempt| attempt.key == key) => {
                up.refresh = None;
                if up.until.is_some_and(|until| until <= now + SOON) {
                    self.fail(turn, Trouble::NotSent("REGISTER"), None);
                } else {
                    self.set(turn, Alarm::Refresh, SOON);
                }
            }
            Stage::Joining { .. }
            | Stage::Up(_)
            | Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Locating { .. }
            | Stage::Connecting { .. } => {}
        }
    }

    /// The connection is gone. One that had held is opened again at once, to the same place; one that had
    /// just been opened counts as a failure, so that nobody makes us connect in a circle.
    pub(super) fn flow_lost(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.now().instant;
        let steady = match &self.stage {
            Stage::Up(up) => now.since(up.from) >= STEADY,
            Stage::Joining { .. } => false,
            Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Locating { .. }
            | Stage::Connecting { .. } => return,
        };
        if turn.engine.draining || (!self.trunk.enabled && self.test.is_none()) {
            return self.enter(turn, Stage::Idle);
        }
        let Some(place) = self.link().map(|link| link.place) else { return };
        if steady {
            self.failures = 0;
            self.places.again();
            self.places.tried(place);
            self.connect(turn, place);
        } else {
            self.fail(turn, Trouble::Unsteady, None);
        }
    }

    /// What was asked of the carrier failed: the next place, or a pause.
    pub(super) fn fail(
        &mut self,
        turn: &mut Turn<'_, '_>,
        trouble: Trouble,
        retry_after: Option<u32>,
    ) {
        let now = turn.now().instant;
        self.note_trouble(&trouble);
        if let Stage::Up(up) = &self.stage
            && now.since(up.from) >= STEADY
        {
            self.failures = 0;
        }
        let place = match &self.stage {
            Stage::Connecting { place, .. } => Some(*place),
            Stage::Joining { link, .. } | Stage::Up(Up { link, .. }) => Some(link.place),
            Stage::Idle | Stage::Waiting { .. } | Stage::Locating { .. } => None,
        };
        if let Some(place) = place.filter(|_| trouble.is_of_place()) {
            self.places.failed(place, now);
            self.places.tried(place);
            // A server that answers, if only 503, may still have calls on the connection.
            match (&trouble, self.link().cloned()) {
                (Trouble::Refused(..), _) => self.retire(turn),
                (_, Some(link)) => self.hang_up(turn, &link),
                (_, None) => {}
            }
            if let Some(next) = self.places.next(now) {
                return self.connect(turn, next);
            }
        } else {
            self.retire(turn);
        }
        self.wait(turn, trouble, retry_after);
    }

    fn wait(&mut self, turn: &mut Turn<'_, '_>, trouble: Trouble, retry_after: Option<u32>) {
        let now = turn.now();
        let hurried = self.hurried.is_some_and(|until| now.instant < until);
        let span = match trouble.patience() {
            Patience::Growing if hurried => back_off(self.failures).min(HURRY),
            Patience::Growing => back_off(self.failures),
            Patience::Long => LONG,
        };
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
        let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
        let span = turn.about(span).max(asked);
        let fixed = trouble.patience() == Patience::Long || !asked.is_zero();
        if self.told != Some(Told::Down) && self.trunk.enabled {
            self.told = Some(Told::Down);
            let Trunk { id, name, tenant, .. } = &self.trunk;
            let why = trouble.for_journal(&self.trunk);
            turn.fact(*tenant, Fact::TrunkDown { trunk: *id, name: name.clone(), why });
        }
        let since = self.trouble.take().map_or(now.utc, |(_, since)| since);
        self.trouble = Some((trouble, since));
        let encrypted = self.places.all().iter().find(|place| place.transport != Transport::Udp);
        if let Some(place) = encrypted.filter(|_| self.trunk.enabled) {
            let remote = SocketAddr::new(place.remote.ip(), super::UDP_PORT);
            turn.lifeline(Far {
                realm: self.trunk.realm,
                place: Place { transport: Transport::Udp, remote },
                name: self.trunk.host.clone(),
                authority: None,
            });
        }
        self.enter(turn, Stage::Waiting { retry: now.utc + span, fixed });
        self.set(turn, Alarm::Retry, span);
        self.finish_test(turn, false);
    }

    /// A carrier bills until it hears a BYE that waits for its next connection: for as long as it may wait
    /// the pauses between tries stay short. What the carrier asked for is obeyed all the same.
    pub(super) fn hurry(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.now();
        self.hurried = Some(now.instant + turn.desk.settings.orphan_timeout);
        if let Stage::Waiting { retry, fixed: false } = &mut self.stage {
            let span = turn.about(HURRY);
            if now.utc + span < *retry {
                *retry = now.utc + span;
                self.set(turn, Alarm::Retry, span);
            }
        }
    }

    pub(super) fn alarmed(&mut self, turn: &mut Turn<'_, '_>, alarm: Alarm) {
        self.alarms.remove(&alarm);
        match alarm {
            Alarm::Deadline => match self.stage {
                Stage::Locating { .. } => {
                    // What was known before is better than nothing.
                    if self.places.all().is_empty() {
                        self.fail(turn, Trouble::NotLocated, None);
                    } else {
                        self.connect_next(turn, Trouble::NotLocated);
                    }
                }
                Stage::Connecting { .. } => {
                    self.fail(turn, Trouble::Connect(ConnectError::TimedOut), None);
                }
                Stage::Idle | Stage::Waiting { .. } | Stage::Joining { .. } | Stage::Up(_) => {}
            },
            Alarm::Retry => self.begin(turn),
            Alarm::Refresh => self.refresh(turn),
            Alarm::Probe => {
                let Some(link) = self.link().cloned() else { return };
                let key = self.ask(turn, &link);
                if let Stage::Up(up) = &mut self.stage {
                    up.probe = key;
                }
            }
            Alarm::Relocate => {
                self.relocating = Some(self.look_up(turn));
                let hour = turn.about(RELOCATE_INTERVAL);
                self.set(turn, Alarm::Relocate, hour);
            }
            Alarm::Test => self.give_up_test(turn),
        }
    }

    /// Registers anew where the trunk is up and nothing is under way.
    pub(super) fn refresh(&mut self, turn: &mut Turn<'_, '_>) {
        let Stage::Up(Up { link, refresh: None, .. }) = &self.stage else { return };
        let link = link.clone();
        let Some(key) = self.register(turn, &link, None) else { return };
        if let Stage::Up(up) = &mut self.stage {
            up.refresh = Some(Attempt { key, answers: 0, prolonged: false });
        }
    }

    pub(super) fn is_relocating(&self) -> bool {
        self.relocating.is_some()
    }

    /// Begins a look-up whose answer changes only where a trunk that is up would go next.
    pub(super) fn relocate(&mut self, turn: &mut Turn<'_, '_>) {
        self.relocating = Some(self.look_up(turn));
    }

    pub(super) fn drain(&mut self, turn: &mut Turn<'_, '_>) {
        self.leave(turn);
        for alarm in [Alarm::Refresh, Alarm::Probe, Alarm::Relocate, Alarm::Retry, Alarm::Deadline]
        {
            self.cancel(turn, alarm);
        }
        if self.link().is_none() {
            self.enter(turn, Stage::Idle);
        }
    }

    /// Ends the registration, if there is one. The connection stays. What is under way to a carrier that
    /// hasn't answered yet is let be: at the worst it lasts as long as the carrier grants.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_, '_>) {
        let (TrunkAccess::Registration(account), Some(known)) = (&self.trunk.access, &self.account)
        else {
            return;
        };
        let Stage::Up(Up { link, .. }) = &self.stage else { return };
        let path = link.path;
        let chance = turn.engine.chance.fork();
        let answering = known.registrar.again(account, chance);
        let registration = Registration::new(&mut turn.engine.chance);
        let registration = std::mem::replace(&mut self.registration, registration);
        let trunk = self.trunk.clone();
        let leaving = Leaving { trunk, registration, answering, path, answered: false };
        Box::new(leaving).send(turn, self.trunk.id, None);
    }

    /// Another configuration. The connection stays where it leads to the same carrier; else it is kept for
    /// the calls that are up, as long as one of them may last.
    pub(super) fn replace(
        &mut self,
        turn: &mut Turn<'_, '_>,
        trunk: Trunk,
        secret: Option<&TrunkSecret>,
    ) {
        self.finish_test(turn, false);
        self.leave(turn);
        let chance = &mut turn.engine.chance;
        self.account = match (trunk.account(), secret, &self.account) {
            (Some(account), Some(secret), _) => Some(Account::new(account, secret, chance)),
            (Some(account), None, Some(known)) => Some(known.again(account, chance)),
            (Some(_), None, None) | (None, _, _) => None,
        };
        self.registration = Registration::new(chance);
        let same = connects_alike(&self.trunk, &trunk);
        let link = self.link().cloned().filter(|_| same && trunk.enabled);
        if link.is_none() {
            self.retire(turn);
        }
        if !same {
            self.say_farewell(turn);
            self.places.forget();
        }
        self.trunk = trunk;
        self.relocating = None;
        self.failures = 0;
        self.trouble = None;
        if !self.trunk.enabled {
            self.told = None;
        }
        for alarm in [Alarm::Refresh, Alarm::Probe, Alarm::Relocate, Alarm::Retry, Alarm::Deadline]
        {
            self.cancel(turn, alarm);
        }
        match link {
            Some(link) if !turn.engine.draining => self.join(turn, link),
            Some(_) | None => {
                self.enter(turn, Stage::Idle);
                self.begin(turn);
            }
        }
    }

    /// Not wanted (any more).
    pub(super) fn rest(&mut self, turn: &mut Turn<'_, '_>) {
        self.leave(turn);
        self.retire(turn);
        self.enter(turn, Stage::Idle);
        self.trouble = None;
    }

    /// The trunk is no more.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_, '_>) {
        self.finish_test(turn, false);
        self.leave(turn);
        self.retire(turn);
        self.say_farewell(turn);
        while let Some((_, timer)) = self.alarms.pop_first() {
            turn.engine.timers.cancel(timer);
        }
    }

    /// Gives up the connection. One that was up may carry calls: it is let be for as long as one of them
    /// may last, or until [`RETIRED_MAX`] more have been given up.
    pub(super) fn retire(&mut self, turn: &mut Turn<'_, '_>) {
        let Some(link) = self.link().cloned() else { return };
        if !self.is_up() {
            return self.hang_up(turn, &link);
        }
        let flow = link.path.flow;
        if !flow.transport.is_reliable() || !turn.engine.flows.contains_key(&flow) {
            return;
        }
        let at = turn.now().instant + self.trunk.call_max;
        turn.engine.timers.set(at, Wake::Close(flow));
        self.retired.retain(|former| turn.engine.flows.contains_key(former));
        self.retired.push_back(flow);
        if self.retired.len() > RETIRED_MAX
            && let Some(oldest) = self.retired.pop_front()
        {
            turn.out.push(Effect::CloseFlow(oldest));
        }
    }

    /// The carrier's addresses are heard a while longer, for calls that are up.
    fn say_farewell(&mut self, turn: &mut Turn<'_, '_>) {
        for address in self.addresses() {
            turn.remember(self.trunk.realm, address, self.trunk.call_max);
        }
    }

    /// Closes a connection: nobody answers on it, or nothing was done with it.
    fn hang_up(&self, turn: &mut Turn<'_, '_>, link: &Link) {
        let flow = link.path.flow;
        if flow.transport.is_reliable() && turn.engine.flows.contains_key(&flow) {
            turn.out.push(Effect::CloseFlow(flow));
        }
    }

    pub(super) fn link(&self) -> Option<&Link> {
        match &self.stage {
            Stage::Joining { link, .. } | Stage::Up(Up { link, .. }) => Some(link),
            Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Locating { .. }
            | Stage::Connecting { .. } => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_)) || self.is_rejoining()
    }

    /// Registering again over a connection that was up: the carrier still knows us.
    fn is_rejoining(&self) -> bool {
        matches!(self.stage, Stage::Joining { .. }) && self.told == Some(Told::Up)
    }

    /// Each with whether its place failed lately. A trunk on a connection has the one; over UDP our socket
    /// reaches every place of the carrier, the one that is known to answer first. A UDP trunk that is down
    /// may be tried all the same where a socket is open.
    pub(super) fn routes(
        &self,
        flows: &BTreeMap<FlowId, FlowOpened>,
        now: Instant,
    ) -> Vec<(bool, Route)> {
        let current = self.link();
        let route = |path, place, tls| {
            let route = Route {
                trunk: self.trunk.id,
                path,
                realm: self.trunk.realm,
                place,
                tls,
                host: uri_host(&self.trunk.host),
                port: self.trunk.port,
            };
            (self.places.has_failed(place, now), route)
        };
        let mut routes: Vec<_> = current
            .map(|link| route(link.path, link.place, link.tls.clone()))
            .into_iter()
            .collect();
        let others = self.places.in_order(now).into_iter().filter(|place| {
            !place.transport.is_reliable() && current.is_none_or(|link| link.place != *place)
        });
        for place in others {
            let alike = |opened: &&FlowOpened| {
                opened.realm == self.trunk.realm
                    && opened.flow.transport == place.transport
                    && opened.local.is_ipv4() == place.remote.is_ipv4()
            };
            let same = current.and_then(|link| flows.get(&link.path.flow)).filter(alike);
            if let Some(opened) = same.or_else(|| flows.values().find(alike)) {
                let path = Path { flow: opened.flow, remote: place.remote };
                routes.push(route(path, place, None));
            }
        }
        routes
    }

    /// Enters a stage, with the alarms of the former one off.
    pub(super) fn enter(&mut self, turn: &mut Turn<'_, '_>, stage: Stage) {
        for alarm in [Alarm::Deadline, Alarm::Retry, Alarm::Refresh, Alarm::Probe, Alarm::Relocate]
        {
            self.cancel(turn, alarm);
        }
        self.relocating = None;
        self.stage = stage;
    }

    pub(super) fn set(&mut self, turn: &mut Turn<'_, '_>, alarm: Alarm, span: Duration) {
        self.cancel(turn, alarm);
        let at = turn.now().instant + span;
        let timer = turn.engine.timers.set(at, Wake::Line(self.trunk.id, alarm));
        self.alarms.insert(alarm, timer);
    }

    pub(super) fn cancel(&mut self, turn: &mut Turn<'_, '_>, alarm: Alarm) {
        if let Some(timer) = self.alarms.remove(&alarm) {
            turn.engine.timers.cancel(timer);
        }
    }
}

/// Whether a connection for one is a connection for the other.
fn connects_alike(one: &Trunk, other: &Trunk) -> bool {
    one.realm == other.realm
        && one.host == other.host
        && one.port == other.port
        && one.authority == other.authority
        && allowed(one) == allowed(other)
}

fn silence(answer: Option<&Response>) -> Trouble {
    match answer {
        Some(answer) => Trouble::Refused("OPTIONS", answer.status().code()),
        None => Trouble::NoAnswer("OPTIONS"),
    }
}

fn retry_after(answer: Option<&Response>) -> Option<u32> {
    answer.and_then(|answer| answer.headers().retry_after().present())
}

/// DNS clients give up after some ten seconds.
const LOCATE_TIMEOUT: Duration = Duration::from_secs(12);
/// The driver's own time-out is shorter; this one is for a driver that forgets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// DNS of a carrier changes with its maintenance, announced by hours.
const RELOCATE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Over UDP an address translation on the way must not forget us: they live for 30 seconds and more.
const PROBE_DATAGRAM: Duration = Duration::from_secs(25);
/// Nothing else says that the carrier is there.
const PROBE_ADDRESS: Duration = Duration::from_secs(30);
/// The registration is a sign of life by itself.
const PROBE_REGISTERED: Duration = Duration::from_secs(60);
/// Probes in a row without an answer before a trunk counts as down: one may be lost with a route change.
const MISSED_MAX: u8 = 2;
/// Between a failure that may pass and the next try.
const SOON: Duration = Duration::from_secs(5);
/// Between two tries while the carrier is owed a BYE: most bill by six seconds or more, and a server that
/// comes back to many customers must not be stormed.
const HURRY: Duration = Duration::from_secs(15);
/// A connection that held so long was a good one.
const STEADY: Duration = Duration::from_secs(60);
/// A carrier's Retry-After is obeyed up to here: a typing error must not take the telephone away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(900);
/// Connections of one trunk that were given up and are still open; beyond it the oldest is closed, with
/// what calls are on it. A carrier that fails again and again doesn't cost a socket each time.
const RETIRED_MAX: usize = 2;
