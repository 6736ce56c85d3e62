//! A small world for ladders of one engine: the dialog core lends its desk, a name server and a carrier
//! answer when the test says so, and a log tells who said what.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use guard::access::Actor;
use guard::fact::Fact;
use guard::gate::{Algorithm, Gate};
use guard::id::{ExtensionId, NodeId, RealmId, TenantId, TrunkId};
use guard::ledger::Ledger;
use guard::number::Country;
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::{MasterKey, Sealed};
use pure::{Chance, Instant, Now, Utc};
use sip::digest::{Attempt, Challenge, Credentials, Ha1, Nonces, NoncesConfig, Verdict};
use sip::{Message, Method, Name, NameAddrBuf, Request, Response, ResponseBuilder, Status};

use crate::back_to_back::{BackToBack, Event};
use crate::command::{Change, Refusal, Reply, TrunkSecret, TrunkState, TrunkTest, TrunkView};
use crate::directory::{
    Inbound, Secret, Trunk, TrunkAccess, TrunkAccount, TrunkIdentity, TrunkMedia,
};
use crate::flow::{FlowId, FlowOpened, Path, Realm, TlsFacts, Transport};
use crate::io::{Answer, ConnectError, Far, Output, Place, Ticket};
use crate::settings::Settings;
use crate::trunk::{Effect, Trunks};

pub(super) const CARRIER: RealmId = RealmId(2);
const ACCESS: RealmId = RealmId(1);
const ID: TrunkId = TrunkId(1);
const ACTOR: Actor = Actor::System;

pub(super) struct World {
    core: BackToBack,
    pub(super) trunks: Trunks,
    pub(super) now: Now,
    start: Instant,
    log: Vec<String>,
    lookups: VecDeque<Ticket>,
    connects: VecDeque<(Ticket, Far)>,
    /// UDP sockets asked for as a last way for calls for help.
    pub(super) lifelines: Vec<(Ticket, Far)>,
    /// Requests without a final answer, with where they went; repetitions don't count.
    pending: VecDeque<(Path, Request)>,
    /// The last request of each kind, answered or not.
    pub(super) seen: Vec<(Path, Request)>,
    pub(super) facts: Vec<Fact>,
    pub(super) tests: Vec<TrunkTest>,
    /// Connections that the engine wants closed.
    closing: Vec<FlowId>,
    /// Connections that are open.
    connections: Vec<(FlowId, SocketAddr)>,
    generation: u64,
    tickets: u64,
}

impl World {
    /// One trunk that registers over TLS.
    pub(super) fn registering() -> Self {
        Self::with(vec![trunk(1, registration())], Vec::new())
    }

    /// One trunk that is known by its address, over UDP.
    pub(super) fn by_address() -> Self {
        Self::with(vec![over_udp(trunk(1, TrunkAccess::Address(None)))], Vec::new())
    }

    pub(super) fn with(trunks: Vec<Trunk>, inbound: Vec<Inbound>) -> Self {
        let now = Now { instant: Instant(1_000_000_000), utc: Utc(1_700_000_000_000_000) };
        let policy = Policy::first(Country::US);
        let deck = RateDeck::estimates(policy.currency);
        let advertised = |host: &str| {
            [(Transport::Tls, 5061), (Transport::Tcp, 5060), (Transport::Udp, 5060)]
                .map(|(transport, port)| (transport, host.to_owned(), port))
                .to_vec()
        };
        let realm = |id, name: &str, host| Realm {
            id,
            name: name.to_owned(),
            advertised: advertised(host),
            for_carriers: Vec::new(),
        };
        let core = BackToBack::new(
            Settings::default(),
            Gate::new(policy, Arc::new(deck)),
            Ledger::default(),
            NodeId(1),
            vec![
                realm(ACCESS, "access", "198.51.100.1"),
                realm(CARRIER, "carrier", "198.51.100.2"),
            ],
            Chance::from_number(4),
        );
        let trunks: Vec<_> = trunks
            .into_iter()
            .map(|trunk| {
                let secret = trunk.account().map(|_| secret("geheim"));
                (trunk, secret)
            })
            .collect();
        let mut world = Self {
            core,
            trunks: Trunks::new(trunks, inbound, Chance::from_number(5)),
            now,
            start: now.instant,
            log: Vec::new(),
            lookups: VecDeque::new(),
            connects: VecDeque::new(),
            lifelines: Vec::new(),
            pending: VecDeque::new(),
            seen: Vec::new(),
            facts: Vec::new(),
            tests: Vec::new(),
            closing: Vec::new(),
            connections: Vec::new(),
            generation: 0,
            tickets: 1_000_000,
        };
        let mut out = Vec::new();
        world.trunks.start(&mut world.core.desk(now), &mut out);
        world.carry(out);
        world
    }

    /// Up, with its ladder forgotten.
    pub(super) fn up() -> Self {
        let mut world = Self::registering();
        world.bring_up();
        world
    }

    pub(super) fn bring_up(&mut self) {
        self.locate(&[tls(1), tls(2)]);
        self.connect();
        self.challenge(Method::Register, "n1");
        self.grant(300);
        self.log.clear();
        self.facts.clear();
    }

    // The name server.

    pub(super) fn locate(&mut self, places: &[Place]) {
        let answer = match places {
            [] => Answer::Failed,
            places => Answer::Located(places.to_vec()),
        };
        let ticket = self.lookups.pop_front().expect("a look-up");
        let mut out = Vec::new();
        let desk = &mut self.core.desk(self.now);
        assert!(self.trunks.located(desk, ticket, &answer, &mut out));
        self.carry(out);
    }

    // The network.

    /// The oldest connection that is asked for succeeds.
    pub(super) fn connect(&mut self) -> FlowId {
        let (ticket, to) = self.connects.pop_front().expect("a connection is asked for");
        let flow = self.open(to.realm, to.place.transport, Some(to.place.remote));
        self.resolve(ticket, Ok(flow));
        flow
    }

    pub(super) fn refuse(&mut self, error: ConnectError) {
        let (ticket, _) = self.connects.pop_front().expect("a connection is asked for");
        self.resolve(ticket, Err(error));
    }

    /// A BYE waits for the next connection.
    pub(super) fn owe(&mut self) {
        let mut out = Vec::new();
        self.trunks.hurry(&mut self.core.desk(self.now), ID, &mut out);
        self.carry(out);
    }

    /// A connection comes after all, long after it was given up.
    pub(super) fn connect_late(&mut self, (ticket, to): (Ticket, Far)) {
        let flow = self.open(to.realm, to.place.transport, Some(to.place.remote));
        self.resolve(ticket, Ok(flow));
    }

    pub(super) fn asked(&mut self) -> (Ticket, Far) {
        self.connects.pop_front().expect("a connection is asked for")
    }

    fn resolve(&mut self, ticket: Ticket, result: Result<FlowId, ConnectError>) {
        let mut out = Vec::new();
        let desk = &mut self.core.desk(self.now);
        assert!(self.trunks.connected(desk, ticket, result, &mut out));
        self.carry(out);
    }

    /// A flow of a realm: ours, or one that somebody opened to us.
    pub(super) fn open(
        &mut self,
        realm: RealmId,
        transport: Transport,
        remote: Option<SocketAddr>,
    ) -> FlowId {
        self.generation += 1;
        let flow = FlowId { node: NodeId(1), transport, generation: self.generation };
        let tls = transport.is_encrypted().then(|| TlsFacts {
            version: "TLSv1.3",
            suite: "TLS13_AES_128_GCM_SHA256".into(),
            peer_certificate: None,
            sni: None,
        });
        if let Some(remote) = remote.filter(|_| transport.is_reliable()) {
            self.connections.push((flow, remote));
        }
        self.trunks.flow_opened(&FlowOpened {
            flow,
            realm,
            local: ([198, 51, 100, 2], 40_000).into(),
            remote: remote.filter(|_| transport.is_reliable()),
            tls,
            origin: None,
        });
        flow
    }

    /// The connection that the last request went over breaks.
    pub(super) fn break_connection(&mut self) {
        let path = self.seen.last().expect("a request").0;
        self.lose(path);
    }

    fn lose(&mut self, path: Path) {
        self.connections.retain(|(flow, _)| *flow != path.flow);
        self.log.push(format!("{} {} breaks", self.at(), name_of(path.remote)));
        self.core.flow_closed(self.now, path.flow, Some(path.remote), &|_, _| false);
        let mut out = Vec::new();
        self.trunks.flow_closed(&mut self.core.desk(self.now), path.flow, &mut out);
        self.carry(out);
    }

    // The carrier.

    pub(super) fn answer(
        &mut self,
        method: Method,
        status: u16,
        with: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) {
        let at = self.pending.iter().position(|(_, request)| request.method() == method);
        let at = at.unwrap_or_else(|| panic!("no {method} to answer:\n{}", self.log.join("\n")));
        let (path, request) = self.pending.remove(at).expect("just found");
        let status = Status::new(status).expect("a status");
        let answer = with(Response::builder(&request, status).to_tag("c")).build().expect("sound");
        let who = name_of(path.remote);
        self.log.push(format!("{} {who} > pbx {status} {method}", self.at()));
        self.core.received(self.now, path, Message::Response(answer), &|_, _| false);
        self.run();
    }

    pub(super) fn challenge(&mut self, method: Method, nonce: &str) {
        self.answer(method, 401, |answer| {
            let challenge = format!("Digest realm=\"c\", nonce=\"{nonce}\", qop=\"auth\"");
            answer
                .header(Name::WwwAuthenticate, &format!("{challenge}, algorithm=MD5"))
                .header(Name::WwwAuthenticate, &format!("{challenge}, algorithm=SHA-256"))
        });
    }

    /// 200 to a REGISTER, with its own contact among others.
    pub(super) fn grant(&mut self, seconds: u32) {
        let contact = self.contact();
        self.answer(Method::Register, 200, |answer| {
            let other = NameAddrBuf::new(None, "sip:desk@203.0.113.7").expect("sound");
            let other = other.with_param("expires", Some("7")).expect("sound");
            let ours = contact.with_param("expires", Some(&seconds.to_string())).expect("sound");
            answer.contact(&other).contact(&ours)
        });
    }

    /// The Contact that the last REGISTER named.
    pub(super) fn contact(&self) -> NameAddrBuf {
        let register = self.last(Method::Register);
        register.headers().contacts().next().expect("a contact").to_buf()
    }

    pub(super) fn token(&self) -> String {
        self.contact().uri().user().expect("a token").to_owned()
    }

    pub(super) fn last(&self, method: Method) -> &Request {
        let mut seen = self.seen.iter().rev().map(|(_, request)| request);
        seen.find(|request| request.method() == method).expect("such a request")
    }

    pub(super) fn count(&self, method: Method) -> usize {
        self.seen.iter().filter(|(_, request)| request.method() == method).count()
    }

    // Who asks.

    pub(super) fn change(&mut self, change: Change) -> Result<(), Refusal> {
        let prepared = self.trunks.prepare(&ACTOR, change)?;
        self.facts.extend(prepared.facts);
        assert!(!prepared.rows.is_empty(), "every change is written");
        let mut out = Vec::new();
        self.trunks.apply(&mut self.core.desk(self.now), prepared.change, &mut out);
        self.carry(out);
        Ok(())
    }

    pub(super) fn test(&mut self) -> Result<(), Refusal> {
        self.tickets += 1;
        let mut out = Vec::new();
        let desk = &mut self.core.desk(self.now);
        let begun = self.trunks.test(desk, Ticket(self.tickets), ID, &mut out);
        self.carry(out);
        begun
    }

    pub(super) fn drain(&mut self) {
        let mut out = Vec::new();
        self.trunks.drain(&mut self.core.desk(self.now), &mut out);
        self.carry(out);
    }

    pub(super) fn view(&self) -> TrunkView {
        self.trunks.views(self.now, |_| 0).into_iter().next().expect("a trunk")
    }

    pub(super) fn why(&self) -> String {
        match self.view().state {
            TrunkState::Down { why, .. } => why,
            other => panic!("it is {other:?}"),
        }
    }

    /// Until it is tried again.
    pub(super) fn retry(&self) -> Duration {
        match self.view().state {
            TrunkState::Down { retry, .. } => retry.since(self.now.utc),
            other => panic!("it is {other:?}"),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.view().state, TrunkState::Up { .. })
    }

    pub(super) fn routes(&mut self, emergency: bool) -> Vec<String> {
        let routes = self.trunks.routes(self.now, TenantId::HOUSE, emergency);
        let text = |route: &crate::trunk::Route| {
            format!("{} {}", route.trunk.0, name_of(route.place.remote))
        };
        routes.iter().map(text).collect()
    }

    /// How many facts say up, and how many down.
    pub(super) fn told(&self) -> (usize, usize) {
        let count = |wanted: fn(&Fact) -> bool| self.facts.iter().filter(|f| wanted(f)).count();
        (
            count(|fact| matches!(fact, Fact::TrunkUp { .. })),
            count(|fact| matches!(fact, Fact::TrunkDown { .. })),
        )
    }

    // Time and outputs.

    pub(super) fn pass(&mut self, seconds: u64) {
        let until = self.now.instant + Duration::from_secs(seconds);
        for _ in 0..WAKES_MAX {
            let next = [self.trunks.poll_timeout(), self.core.poll_timeout()];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
                self.now = Now { utc: self.now.utc_at(until), instant: until };
                return;
            };
            let at = at.max(self.now.instant);
            self.now = Now { utc: self.now.utc_at(at), instant: at };
            self.core.wake(self.now, &|_, _| false);
            self.run();
            let mut out = Vec::new();
            self.trunks.wake(&mut self.core.desk(self.now), &mut out);
            self.carry(out);
        }
        panic!("it keeps waking at {:?}", self.now.instant);
    }

    fn carry(&mut self, effects: Vec<Effect>) {
        let at = self.at();
        for effect in effects {
            match effect {
                Effect::Connect { ticket, to } => {
                    let Place { transport, remote } = to.place;
                    let over = transport.via();
                    self.log.push(format!("{at} pbx connects {over} {}", name_of(remote)));
                    self.connects.push_back((ticket, to));
                }
                Effect::Lifeline { ticket, to } => self.lifelines.push((ticket, to)),
                Effect::Lookup { ticket, .. } => {
                    self.log.push(format!("{at} pbx looks up"));
                    self.lookups.push_back(ticket);
                }
                Effect::CloseFlow(flow) => {
                    self.log.push(format!("{at} pbx closes {}", flow.generation));
                    self.closing.push(flow);
                }
                Effect::Fact { fact, .. } => {
                    match &fact {
                        Fact::TrunkUp { how, .. } => self.log.push(format!("{at} up: {how}")),
                        Fact::TrunkDown { why, .. } => self.log.push(format!("{at} down: {why}")),
                        other => panic!("{other:?}"),
                    }
                    self.facts.push(fact);
                }
                Effect::Reachable { path, .. } => {
                    self.log.push(format!("{at} reachable at {}", name_of(path.remote)));
                }
                Effect::Reply { reply, .. } => match reply {
                    Reply::TrunkTested(test) => self.tests.push(test),
                    other => panic!("{other:?}"),
                },
            }
        }
        self.run();
    }

    fn run(&mut self) {
        self.core.pump(self.now, &|_, _| false);
        while let Some(output) = self.core.poll_output() {
            let Output::Transmit { path, bytes } = output else { panic!("{output:?}") };
            let Ok(Message::Request(request)) = Message::parse(bytes) else {
                panic!("only requests are sent")
            };
            let again = self.seen.iter().any(|(_, seen)| seen.as_bytes() == request.as_bytes());
            if again {
                continue;
            }
            let credentials = request.headers().authorization().next().is_some();
            let with = if credentials { " with credentials" } else { "" };
            let gone =
                request.method() == Method::Register && request.headers().expires() == Some(0);
            let gone = if gone { " Expires: 0" } else { "" };
            let line = format!("{}{gone}{with}", request.method());
            self.log.push(format!("{} pbx > {} {line}", self.at(), name_of(path.remote)));
            self.pending.push_back((path, request.clone()));
            self.seen.push((path, request));
        }
        while let Some(event) = self.core.poll_event() {
            let mut out = Vec::new();
            let desk = &mut self.core.desk(self.now);
            let ours = match event {
                Event::Done { key, answer } => {
                    self.trunks.answered(desk, key, answer.as_ref(), &mut out)
                }
                Event::Undelivered { key } => self.trunks.undelivered(desk, key, &mut out),
                other => panic!("{other:?}"),
            };
            assert!(ours);
            // Whoever never answered won't now.
            self.carry(out);
        }
    }

    // Anything.

    /// One thing that may happen, the likelier ones more often.
    pub(super) fn anything(&mut self, chance: &mut Chance, first: &Trunk) {
        // What was given up long ago comes to nothing, at some time.
        while self.lookups.len() > 1 {
            self.locate(&[]);
        }
        while self.connects.len() > 1 {
            self.refuse(ConnectError::TimedOut);
        }
        while self.pending.len() > 2 {
            self.pending.pop_front();
        }
        match chance.below(40) {
            0..=9 if !self.lookups.is_empty() => {
                let transport = first.transport.expect("configured");
                let count = chance.below(4);
                let places: Vec<_> = (0..count)
                    .map(|_| {
                        let host = u8::try_from(1 + chance.below(5)).expect("small");
                        Place { transport, remote: ([192, 0, 2, host], 5_060).into() }
                    })
                    .collect();
                self.locate(&places);
            }
            0..=14 if !self.connects.is_empty() => match chance.below(4) {
                0 => self.refuse(ConnectError::TimedOut),
                _ => drop(self.connect()),
            },
            0..=25 if !self.pending.is_empty() => {
                let method = self.pending[0].1.method();
                self.say_anything(chance, method);
            }
            26 if !self.connections.is_empty() => {
                let at =
                    usize::try_from(chance.below(self.connections.len() as u64)).expect("small");
                let (flow, remote) = self.connections[at];
                self.lose(Path { flow, remote });
            }
            27 => {
                let enabled = !chance.one_in(8);
                let channels = u16::try_from(chance.below(9)).expect("small");
                let host = if chance.one_in(3) { "other.test" } else { "sip.carrier.test" };
                let changed = Trunk { enabled, channels, host: host.into(), ..first.clone() };
                self.set(changed);
                // It may be off for a while; never at the end.
                if !enabled {
                    self.pass(chance.below(100));
                    self.facts.clear();
                    self.set(first.clone());
                }
            }
            28 => {
                let _ = self.test();
            }
            29 => self.ignore(),
            30 => self.pass(chance.below(4_000)),
            31..=34 => self.pass(chance.below(70)),
            _ => self.pass(chance.below(6)),
        }
        self.close_what_is_wanted();
    }

    fn set(&mut self, trunk: Trunk) {
        let secret = trunk.account().map(|_| secret("geheim"));
        self.change(Change::SetTrunk { trunk: Box::new(trunk), secret }).expect("sound");
    }

    fn say_anything(&mut self, chance: &mut Chance, method: Method) {
        let nonce = chance.below(5).to_string();
        let seconds = [0, 1, 60, 300, u32::MAX][usize::try_from(chance.below(5)).expect("small")];
        match chance.below(16) {
            0 => self.challenge(method, &nonce),
            1 => self.answer(method, 503, |a| a.header(Name::RetryAfter, &seconds.to_string())),
            2 => self.answer(method, 423, |a| a.header(Name::MinExpires, &seconds.to_string())),
            3 => {
                let status = u16::try_from(300 + chance.below(400)).expect("small");
                self.answer(method, status, |a| a);
            }
            4 => self.answer(method, 200, |a| a.expires(seconds)),
            _ if method == Method::Register => self.grant(seconds),
            _ => self.answer(method, 200, |a| a),
        }
    }

    /// What the engine gave up is closed, and it hears of that.
    fn close_what_is_wanted(&mut self) {
        while let Some(flow) = self.closing.pop() {
            let found = self.connections.iter().find(|(open, _)| *open == flow).copied();
            if let Some((flow, remote)) = found {
                self.lose(Path { flow, remote });
            }
        }
    }

    /// Something will happen by itself.
    pub(super) fn waits(&self) -> bool {
        self.trunks.poll_timeout().or(self.core.poll_timeout()).is_some()
    }

    pub(super) fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// Everything works again, for an hour.
    pub(super) fn come_to_senses(&mut self) {
        for _ in 0..3_600 {
            while !self.lookups.is_empty() {
                self.locate(&[tls(1), udp(1)]);
            }
            while !self.connects.is_empty() {
                self.connect();
            }
            while let Some((_, request)) = self.pending.front() {
                match request.method() {
                    Method::Register if request.headers().expires() != Some(0) => self.grant(300),
                    method => self.answer(method, 200, |a| a),
                }
            }
            self.close_what_is_wanted();
            self.pass(1);
            if self.now.instant.since(self.start).as_secs().is_multiple_of(60) && self.is_up() {
                return;
            }
        }
    }

    /// Requests that nobody will answer any more.
    pub(super) fn ignore(&mut self) {
        self.pending.clear();
    }

    /// In whole seconds: jitter below that is nobody's business.
    fn at(&self) -> String {
        format!("{}s", self.now.instant.since(self.start).as_secs())
    }

    /// Whether the log since the last check says so.
    pub(super) fn has_said(&self, end: &str) -> bool {
        self.log.iter().any(|line| line.ends_with(end))
    }

    pub(super) fn forget(&mut self) {
        self.log.clear();
    }

    /// Compares the log since the last check with a ladder.
    pub(super) fn check(&mut self, ladder: &str) {
        let squeeze = |line: &str| {
            let line = line.split(" // ").next().unwrap_or_default();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let wanted: Vec<String> =
            ladder.lines().map(squeeze).filter(|line| !line.is_empty()).collect();
        let got: Vec<String> = std::mem::take(&mut self.log).iter().map(|l| squeeze(l)).collect();
        if wanted != got {
            let mut text = String::new();
            for line in &got {
                let _ = writeln!(text, "    {line}");
            }
            panic!("the ladder is another one:\n{text}wanted:\n    {}\n", wanted.join("\n    "));
        }
    }
}

/// Whether a carrier that knows this password would believe the request.
pub(super) fn is_believed(request: &Request, password: &str) -> bool {
    let now = Now::default();
    let mut nonces = Nonces::new(NoncesConfig::default(), 1, Chance::from_number(1), now);
    let Some(value) = request.headers().authorization().next() else { return false };
    let credentials = Credentials::parse(value.as_bytes()).expect("readable");
    let ha1 = Ha1::derive(credentials.algorithm, "4930123", "c", password);
    let method = request.method();
    let attempt = Attempt {
        credentials: &credentials,
        method: method.as_str(),
        request_uri: request.uri().as_str(),
        realm: "c",
        binding: b"",
    };
    matches!(nonces.check(now, &attempt, &ha1), Verdict::Granted { .. })
}

/// A nonce that [`is_believed`] takes.
pub(super) fn nonce() -> String {
    let now = Now::default();
    Nonces::new(NoncesConfig::default(), 1, Chance::from_number(1), now).issue(now, b"")
}

/// An INVITE as a carrier sends it.
pub(super) fn invite(user: &str, from_host: &str) -> Request {
    invite_to(&format!("sip:{user}@198.51.100.2"), from_host)
}

pub(super) fn invite_to(uri: &str, from_host: &str) -> Request {
    let from = NameAddrBuf::new(None, &format!("sip:+15551234567@{from_host}")).expect("sound");
    Request::builder(Method::Invite, uri)
        .via(sip::Transport::Udp, "192.0.2.1", "z9hG4bK-1")
        .max_forwards(70)
        .from(&from.with_tag("f").expect("sound"))
        .to(&NameAddrBuf::new(None, uri).expect("sound"))
        .call_id("call")
        .cseq(1)
        .contact(&NameAddrBuf::new(None, "sip:192.0.2.1").expect("sound"))
        .build()
        .expect("sound")
}

pub(super) fn trunk(id: u32, access: TrunkAccess) -> Trunk {
    Trunk {
        id: TrunkId(id),
        tenant: None,
        name: format!("carrier {id}"),
        enabled: true,
        realm: CARRIER,
        host: "sip.carrier.test".to_owned(),
        port: None,
        transport: Some(Transport::Tls),
        access,
        sources: Vec::new(),
        media: TrunkMedia::Srtp,
        identity: TrunkIdentity { asserted: true, from_account: false, private: false },
        default_caller_id: None,
        codecs: Vec::new(),
        channels: 10,
        priority: 10,
        silence_limit: Duration::from_secs(60),
        call_max: Duration::from_secs(4 * 3_600),
        authority: None,
        created: Utc(0),
    }
}

pub(super) fn over_udp(trunk: Trunk) -> Trunk {
    Trunk { transport: Some(Transport::Udp), media: TrunkMedia::DangerousPlain, ..trunk }
}

pub(super) fn registration() -> TrunkAccess {
    TrunkAccess::Registration(account(Algorithm::Md5))
}

pub(super) fn account(weakest: Algorithm) -> TrunkAccount {
    let mut chance = Chance::from_number(5);
    let key = MasterKey::draw(&mut chance);
    let sealed = Sealed::seal(&key, &mut chance, b"trunk", b"x");
    TrunkAccount {
        user: "4930123".to_owned(),
        auth_user: None,
        secret: Secret { sealed, since: Utc(0) },
        weakest,
    }
}

pub(super) fn secret(text: &str) -> TrunkSecret {
    TrunkSecret(text.to_owned().into())
}

pub(super) fn inbound(number: &str, trunk: u32) -> Inbound {
    Inbound {
        number: number.to_owned(),
        tenant: TenantId::HOUSE,
        trunk: TrunkId(trunk),
        extension: ExtensionId(101),
    }
}

/// The carrier's first, second, … server.
pub(super) fn tls(host: u8) -> Place {
    Place { transport: Transport::Tls, remote: ([192, 0, 2, host], 5061).into() }
}

pub(super) fn udp(host: u8) -> Place {
    Place { transport: Transport::Udp, remote: ([192, 0, 2, host], 5060).into() }
}

/// `a` is the carrier's first server, `b` its second.
fn name_of(remote: SocketAddr) -> String {
    match remote.ip() {
        std::net::IpAddr::V4(address) => {
            char::from(b'a' + address.octets()[3].saturating_sub(1)).to_string()
        }
        std::net::IpAddr::V6(_) => remote.to_string(),
    }
}

/// One challenge, of an algorithm.
pub(super) fn challenge(nonce: &str, algorithm: sip::digest::Algorithm) -> String {
    Challenge::in_order("c", nonce, false, &[algorithm]).map(|one| one.to_string()).collect()
}

const WAKES_MAX: usize = 10_000;
