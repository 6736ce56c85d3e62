//! A small world for ladders: an exchange, phones on TLS connections that do what a test tells them,
//! a store and a relay that answer at once (or when the test says so), and a log of who said what.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guard::cause::Disposition;
use guard::fact::Fact;
use guard::gate::Gate;
use guard::id::{DeviceId, ExtensionId, NodeId, RealmId, TenantId, TrunkId};
use guard::ledger::{Bucket, Spend};
use guard::money::Money;
use guard::number::{Country, ExtensionNumber};
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::{MasterKey, Sealed};
use pure::{Chance, Instant, Now, Utc};
use rtp::relay;
use sip::dialog::{Dialog, DialogId, Hop};
use sip::digest::{Algorithm, Client, Ha1};
use sip::{
    Message, Method, Name, NameAddrBuf, Request, RequestBuilder, Response, ResponseBuilder, Status,
};

use crate::command::{Change, Command, Credentials, Reply, TrunkSecret};
use crate::directory::{
    Exceptions, Extension, Inbound, Secret, Tenant, Trunk, TrunkAccess, TrunkAccount,
    TrunkIdentity, TrunkMedia,
};
use crate::exchange::{Exchange, Setup};
use crate::flow::{FlowId, FlowOpened, Path, Realm, TlsFacts, Transport};
use crate::io::{Answer, ConnectError, Far, Input, Output, Place, Query, Ticket};
use crate::record::{Cdr, Loaded, Row};
use crate::registrar::RegistrarSettings;
use crate::settings::{Dangerous, Settings};
use crate::snapshot::CallSnapshot;

const REALM: &str = "pbx.test";

pub(super) struct World {
    pub(super) exchange: Exchange,
    now: Now,
    start: Instant,
    pub(super) phones: BTreeMap<&'static str, Phone>,
    log: Vec<String>,
    pub(super) cdrs: Vec<Cdr>,
    pub(super) facts: Vec<Fact>,
    pub(super) admissions: Vec<guard::admission::Change>,
    pub(super) closed: Vec<FlowId>,
    pub(super) replies: Vec<Reply>,
    pub(super) snapshots: BTreeMap<guard::id::CallId, CallSnapshot>,
    pub(super) traces: Vec<String>,
    pub(super) armed: BTreeMap<relay::EndpointId, relay::EndpointConfig>,
    /// The store answers only when it is told to.
    pub(super) slow_store: bool,
    pub(super) held: Vec<Ticket>,
    generation: u64,
    pub(super) drained: bool,
    settings: Settings,
    policy: Arc<Policy>,
    trunks: Vec<Trunk>,
    pub(super) spends: BTreeMap<Bucket, Money>,
    /// Where each carrier is, and the connection to it.
    pub(super) carriers: BTreeMap<SocketAddr, &'static str>,
    /// No carrier takes a connection.
    pub(super) unreachable: bool,
}

pub(super) struct Phone {
    number: &'static str,
    pub(super) path: Path,
    client: Client,
    cseq: u32,
    pub(super) dialog: Option<Dialog>,
    /// Requests of the exchange without a final answer of ours.
    pending: VecDeque<Request>,
    /// Our own last INVITE (the first, or one within the dialog).
    invite: Option<Request>,
    pub(super) last_answer: Option<Response>,
    pub(super) last_request: Option<Request>,
    registered: Option<Response>,
    calls: u32,
    branches: u32,
    tag: String,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Settings::default(), Exceptions::default())
    }

    /// `exceptions` are bob's.
    pub(super) fn with(settings: Settings, exceptions: Exceptions) -> Self {
        Self::of(settings, exceptions, Policy::first(Country::US), Vec::new())
    }

    /// A house with two lines to the outside: `carrier` first, `second` after it, each with one channel.
    pub(super) fn with_carriers(change: impl FnOnce(&mut Policy)) -> Self {
        Self::without(Dangerous::default(), change)
    }

    /// The same with defences switched off.
    pub(super) fn without(dangerous: Dangerous, change: impl FnOnce(&mut Policy)) -> Self {
        let policy = Policy::first(Country::US).next(change);
        let trunks = vec![trunk(1, "carrier"), trunk(2, "second")];
        let settings = Settings { dangerous, ..Settings::default() };
        Self::of(settings, Exceptions::default(), policy, trunks)
    }

    /// The same, and the carriers know us by an account.
    pub(super) fn with_an_account() -> Self {
        let account = TrunkAccount {
            user: "4711".to_owned(),
            auth_user: None,
            secret: secret(),
            weakest: guard::gate::Algorithm::Sha256,
        };
        let line = |id, name| Trunk {
            access: TrunkAccess::Address(Some(account.clone())),
            ..trunk(id, name)
        };
        let trunks = vec![line(1, "carrier"), line(2, "second")];
        let policy = Policy::first(Country::US);
        Self::of(Settings::default(), Exceptions::default(), policy, trunks)
    }

    /// The same with other bounds, and so many channels on each line.
    pub(super) fn with_lines(settings: Settings, channels: u16) -> Self {
        let lines = [trunk(1, "carrier"), trunk(2, "second")];
        let trunks = lines.into_iter().map(|line| Trunk { channels, ..line }).collect();
        Self::of(settings, Exceptions::default(), Policy::first(Country::US), trunks)
    }

    fn of(
        settings: Settings,
        exceptions: Exceptions,
        policy: Arc<Policy>,
        trunks: Vec<Trunk>,
    ) -> Self {
        let now = Now { instant: Instant(1_000_000_000), utc: Utc(1_700_000_000_000_000) };
        let mut world = Self {
            exchange: Exchange::new(
                now,
                setup(settings.clone(), exceptions, &policy, &trunks, Loaded::default()),
            ),
            now,
            start: now.instant,
            phones: BTreeMap::new(),
            log: Vec::new(),
            cdrs: Vec::new(),
            facts: Vec::new(),
            admissions: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            snapshots: BTreeMap::new(),
            traces: Vec::new(),
            armed: BTreeMap::new(),
            slow_store: false,
            held: Vec::new(),
            generation: 10,
            drained: false,
            settings,
            policy,
            trunks,
            spends: BTreeMap::new(),
            carriers: BTreeMap::new(),
            unreachable: false,
        };
        world.run();
        for (name, number) in [("alice", "101"), ("bob", "102"), ("carol", "102")] {
            world.plug_in(name, number, Transport::Tls);
        }
        world.log.clear();
        world
    }

    /// The process died: a new exchange from what was stored, and the phones on new connections.
    pub(super) fn crash(&mut self) {
        let spends = self
            .spends
            .iter()
            .map(|(bucket, settled)| Spend { bucket: *bucket, settled: *settled });
        let loaded = Loaded {
            snapshots: self.snapshots.values().cloned().collect(),
            spends: spends.collect(),
            ..Loaded::default()
        };
        let settings = self.settings.clone();
        let setup = setup(settings, Exceptions::default(), &self.policy, &self.trunks, loaded);
        self.exchange = Exchange::new(self.now, setup);
        self.log.push(format!("{} pbx crashes", self.at()));
        self.run();
    }

    pub(super) fn plug_in(&mut self, name: &'static str, number: &'static str, over: Transport) {
        let path = self.connect(over);
        self.phones.insert(name, Phone::new(number, path));
        self.register(name);
    }

    fn connect(&mut self, transport: Transport) -> Path {
        self.connect_from([192, 0, 2, 1], transport)
    }

    /// A connection from an address that no phone has.
    pub(super) fn stranger(&mut self) -> Path {
        self.connect_from([203, 0, 113, 9], Transport::Tls)
    }

    pub(super) fn close(&mut self, path: Path) {
        self.exchange.handle(self.now, Input::FlowClosed { flow: path.flow });
        self.run();
    }

    /// Says something on a connection; the statuses of what is answered there.
    pub(super) fn say(&mut self, path: Path, text: &str) -> Vec<u16> {
        let heard = self.hear(path, text).into_iter().filter_map(|bytes| {
            let Ok(Message::Response(response)) = Message::parse(bytes) else { return None };
            Some(response.status().code())
        });
        heard.collect()
    }

    /// As [`Self::say`]: the answers themselves.
    pub(super) fn hear(&mut self, path: Path, text: &str) -> Vec<Bytes> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.exchange.handle(self.now, Input::Received { path, bytes });
        let mut heard = Vec::new();
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Transmit { path: to, bytes } => {
                    says_nothing_of_us(&bytes);
                    assert_eq!(to, path);
                    heard.push(bytes);
                }
                Output::CloseFlow { flow } => self.closed.push(flow),
                Output::Admission(change) => self.admissions.push(change),
                Output::Fact { fact, .. } => self.facts.push(fact),
                _ => {}
            }
        }
        heard
    }

    pub(super) fn connect_from(&mut self, address: [u8; 4], transport: Transport) -> Path {
        let port = 40_001 + u16::try_from(self.generation).expect("few connections");
        self.flow_to((address, port).into(), transport)
    }

    fn carriers_socket(&mut self) -> FlowId {
        self.generation += 1;
        let flow =
            FlowId { node: NodeId(1), transport: Transport::Udp, generation: self.generation };
        let opened = FlowOpened {
            flow,
            realm: RealmId(0),
            local: ([198, 51, 100, 1], 5062).into(),
            remote: None,
            tls: None,
            origin: None,
        };
        self.exchange.handle(self.now, Input::FlowOpened(opened));
        flow
    }

    fn flow_to(&mut self, remote: SocketAddr, transport: Transport) -> Path {
        self.generation += 1;
        let flow = FlowId { node: NodeId(1), transport, generation: self.generation };
        let tls = transport.is_encrypted().then(|| TlsFacts {
            version: "TLSv1.3",
            suite: "TLS13_AES_128_GCM_SHA256".into(),
            peer_certificate: None,
            sni: None,
        });
        let opened = FlowOpened {
            flow,
            realm: RealmId(0),
            local: ([198, 51, 100, 1], 5061).into(),
            remote: Some(remote),
            tls,
            origin: None,
        };
        self.exchange.handle(self.now, Input::FlowOpened(opened));
        Path { flow, remote }
    }

    /// The phone's connection breaks and it registers over a new one.
    pub(super) fn reconnect(&mut self, name: &'static str) {
        let old = self.phones[name].path;
        self.exchange.handle(self.now, Input::FlowClosed { flow: old.flow });
        self.run();
        let path = self.connect(old.flow.transport);
        self.phone(name).path = path;
        self.register(name);
    }

    pub(super) fn register(&mut self, name: &'static str) {
        let mark = self.log.len();
        self.send_register(name, None);
        let phone = self.phone(name);
        let challenge = phone.registered.take().expect("a challenge");
        let challenges = challenge.headers().get_all(Name::WwwAuthenticate).map(str::as_bytes);
        let answer = phone.client.answer(challenges, "REGISTER", "sip:pbx.test").expect("usable");
        self.send_register(name, Some(answer));
        let status = self.phone(name).registered.take().expect("an answer").status();
        assert_eq!(status, Status::OK, "REGISTER of {name}");
        // Registering is no part of a ladder; what it sets off is.
        let mut line = mark;
        self.log.retain(|text| {
            line += 1;
            line <= mark || !text.contains("REGISTER") && !is_registration(text)
        });
    }

    fn send_register(&mut self, name: &'static str, authorization: Option<String>) {
        let phone = self.phone(name);
        phone.cseq += 1;
        let aor = NameAddrBuf::new(None, &format!("sip:{}@{REALM}", phone.number)).expect("sound");
        let contact = phone.contact().with_param("+sip.instance", Some(name));
        let mut request = Request::builder(Method::Register, "sip:pbx.test")
            .via(phone.path.flow.transport.sip(), "192.0.2.1", &phone.branch())
            .max_forwards(70)
            .from(&aor.with_tag("r").expect("sound"))
            .to(&aor)
            .call_id(&format!("reg-{name}"))
            .cseq(phone.cseq)
            .contact(&contact.expect("sound"))
            .expires(60);
        if let Some(value) = authorization {
            request = request.header(Name::Authorization, &value);
        }
        self.transmit(name, request.build().expect("sound"));
    }

    pub(super) fn phone(&mut self, name: &str) -> &mut Phone {
        self.phones.get_mut(name).expect("a phone of this world")
    }

    // What phones do.

    pub(super) fn invite(&mut self, name: &'static str, number: &str, sdp: Option<&str>) {
        let phone = self.phone(name);
        phone.cseq += 1;
        phone.calls += 1;
        phone.tag = format!("t{}", phone.calls);
        let uri = format!("sip:{number}@{REALM}");
        let from = NameAddrBuf::new(None, &format!("sip:{}@{REALM}", phone.number));
        let from = from.and_then(|from| from.with_tag(&phone.tag)).expect("sound");
        let authorization = phone.client.authorize("INVITE", &uri);
        let mut request = Request::builder(Method::Invite, &uri)
            .via(phone.path.flow.transport.sip(), "192.0.2.1", &phone.branch())
            .max_forwards(70)
            .from(&from)
            .to(&NameAddrBuf::new(None, &uri).expect("sound"))
            .call_id(&format!("{name}-{}", phone.calls))
            .cseq(phone.cseq)
            .contact(&phone.contact());
        if let Some(value) = authorization {
            request = request.header(Name::Authorization, &value);
        }
        if let Some(sdp) = sdp {
            request = request.body("application/sdp", sdp.to_owned());
        }
        let request = request.build().expect("sound");
        self.phone(name).invite = Some(request.clone());
        self.phone(name).dialog = None;
        self.transmit(name, request);
    }

    /// Answers the oldest unanswered request with this method.
    pub(super) fn reply(
        &mut self,
        name: &'static str,
        method: Method,
        status: u16,
        sdp: Option<&str>,
    ) {
        self.reply_with(name, method, status, sdp, |answer| answer);
    }

    pub(super) fn reply_with(
        &mut self,
        name: &'static str,
        method: Method,
        status: u16,
        sdp: Option<&str>,
        with: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) {
        let log = self.log.join("\n    ");
        let phone = self.phone(name);
        let at = phone.pending.iter().position(|r| r.method() == method);
        let at = at.unwrap_or_else(|| panic!("{name} has no {method} to answer:\n    {log}"));
        let request = phone.pending[at].clone();
        if status >= 200 {
            phone.pending.remove(at);
        }
        let tag = format!("{name}-tag");
        let status = Status::new(status).expect("a status");
        let mut answer = Response::builder(&request, status).to_tag(&tag).contact(&phone.contact());
        if let Some(sdp) = sdp {
            answer = answer.body("application/sdp", sdp.to_owned());
        }
        let answer = with(answer).build().expect("sound");
        if method == Method::Invite && status.is_success() && phone.dialog.is_none() {
            phone.dialog = Dialog::uas(&request, &answer, true).ok();
        }
        self.note(name, "pbx", &summary_of_response(&answer));
        let path = self.phones[name].path;
        self.give(path, answer.as_bytes().clone());
    }

    /// 407 to the oldest request of this method.
    pub(super) fn challenge(&mut self, name: &'static str, method: Method) {
        let nonce = self.phone(name).branch();
        let asks =
            format!("Digest realm=\"{name}\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"");
        self.reply_with(name, method, 407, None, |answer| {
            answer.header(Name::ProxyAuthenticate, &asks)
        });
    }

    /// As [`Self::reply`], where there is something to answer.
    pub(super) fn reply_if(&mut self, name: &'static str, method: Method, status: u16) {
        if self.phone(name).pending.iter().any(|request| request.method() == method) {
            self.reply(name, method, status, None);
        }
    }

    /// An INVITE waits for this phone's answer.
    pub(super) fn is_asked(&mut self, name: &str) -> bool {
        self.phone(name).pending.iter().any(|request| request.method() == Method::Invite)
    }

    /// The BYE of a called phone that hangs up before its 2xx is heard.
    pub(super) fn hasty_bye(&mut self, name: &str, tag: &str) -> Request {
        let phone = self.phone(name);
        let invite = phone.pending.iter().find(|request| request.method() == Method::Invite);
        let invite = invite.expect("a call to answer").clone();
        let headers = invite.headers();
        let from = headers.to().to_buf().with_tag(tag).expect("sound");
        Request::builder(Method::Bye, invite.uri().as_str())
            .via(phone.path.flow.transport.sip(), "192.0.2.1", &phone.branch())
            .max_forwards(70)
            .from(&from)
            .to(&headers.from().to_buf())
            .call_id(headers.call_id())
            .cseq(1)
            .build()
            .expect("sound")
    }

    /// The ACK of the 2xx that came last.
    pub(super) fn ack(&mut self, name: &'static str, sdp: Option<&str>) {
        let phone = self.phone(name);
        let answer = phone.last_answer.clone().expect("an answer");
        let branch = phone.branch();
        let dialog = phone.dialog.as_ref().expect("a dialog");
        let hop = hop(&branch);
        let mut ack = dialog.ack(answer.headers().cseq().number, hop);
        if let Some(sdp) = sdp {
            ack = ack.body("application/sdp", sdp.to_owned());
        }
        let ack = ack.build().expect("sound");
        self.transmit(name, ack);
    }

    pub(super) fn within(&mut self, name: &'static str, method: Method, sdp: Option<&str>) {
        let request = self.request_within(name, method, |request| match sdp {
            Some(sdp) => request.body("application/sdp", sdp.to_owned()),
            None => request,
        });
        if method == Method::Invite {
            self.phone(name).invite = Some(request.clone());
        }
        self.transmit(name, request);
    }

    pub(super) fn request_within(
        &mut self,
        name: &str,
        method: Method,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Request {
        let phone = self.phone(name);
        let branch = phone.branch();
        let contact = phone.contact();
        let dialog = phone.dialog.as_mut().expect("a dialog");
        let request = dialog.request(method, hop(&branch)).expect("numbers are left");
        with(request.contact(&contact)).build().expect("sound")
    }

    pub(super) fn cancel(&mut self, name: &'static str) {
        let phone = self.phone(name);
        let invite = phone.invite.clone().expect("an INVITE");
        let headers = invite.headers();
        let cancel = Request::builder(Method::Cancel, invite.uri().as_str())
            .header(Name::Via, headers.top_via().as_str())
            .header(Name::From, headers.get(Name::From).expect("judged"))
            .header(Name::To, headers.get(Name::To).expect("judged"))
            .call_id(headers.call_id())
            .cseq(headers.cseq().number)
            .max_forwards(70)
            .build()
            .expect("sound");
        self.transmit(name, cancel);
    }

    /// Any request, from any path: for forgers.
    pub(super) fn forge(&mut self, from: &'static str, request: &Request) {
        self.note(from, "pbx", request.method().as_str());
        let path = self.phones[from].path;
        self.give(path, request.as_bytes().clone());
    }

    pub(super) fn transmit(&mut self, name: &'static str, request: Request) {
        self.note(name, "pbx", &summary_of_request(&request));
        let path = self.phones[name].path;
        self.give(path, request.as_bytes().clone());
    }

    fn give(&mut self, path: Path, bytes: Bytes) {
        self.exchange.handle(self.now, Input::Received { path, bytes });
        self.run();
    }

    pub(super) fn command(&mut self, command: Command) -> Reply {
        self.exchange.handle(self.now, Input::Command { ticket: Ticket(7), command });
        self.run();
        self.replies.pop().expect("commands without a change are answered at once")
    }

    pub(super) fn media(&mut self, event: relay::Event) {
        self.exchange.handle(self.now, Input::Media(event));
        self.run();
    }

    /// The store catches up.
    pub(super) fn store(&mut self) {
        self.slow_store = false;
        for ticket in std::mem::take(&mut self.held) {
            self.exchange.handle(self.now, Input::Persisted { ticket, result: Ok(()) });
        }
        self.run();
    }

    // Time and outputs.

    pub(super) fn pass(&mut self, millis: u64) {
        let until = self.now.instant + Duration::from_millis(millis);
        for _ in 0..WAKES_MAX {
            match self.exchange.poll_timeout().filter(|at| *at <= until) {
                Some(at) => {
                    let at = at.max(self.now.instant);
                    self.set_time(at);
                    self.exchange.handle(self.now, Input::Wake);
                    self.run();
                }
                None => return self.set_time(until),
            }
        }
        panic!("the exchange keeps waking at {:?}", self.now.instant);
    }

    fn set_time(&mut self, at: Instant) {
        self.now = Now { utc: self.now.utc_at(at), instant: at };
    }

    pub(super) fn now(&self) -> Now {
        self.now
    }

    pub(super) fn run(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Transmit { path, bytes } => self.deliver(path, bytes),
                Output::Media(command) => self.relay(command),
                Output::Persist { ticket, rows } => {
                    self.store_rows(rows);
                    match ticket {
                        Some(ticket) if self.slow_store => self.held.push(ticket),
                        Some(ticket) => {
                            let input = Input::Persisted { ticket, result: Ok(()) };
                            self.exchange.handle(self.now, input);
                        }
                        None => {}
                    }
                }
                Output::Change { ticket, rows, .. } => {
                    self.store_rows(rows);
                    if self.slow_store {
                        self.held.push(ticket);
                    } else {
                        let input = Input::Persisted { ticket, result: Ok(()) };
                        self.exchange.handle(self.now, input);
                    }
                }
                Output::Told(fact) => self.facts.push(fact),
                Output::Admission(change) => self.admissions.push(change),
                Output::Fact { fact, .. } => self.facts.push(fact),
                Output::Trace(trace) => self.traces.push(trace.text),
                Output::Reply { reply, .. } => self.replies.push(reply),
                Output::Drained => {
                    self.drained = true;
                    self.log.push(format!("{} pbx drained", self.at()));
                }
                Output::Lookup { ticket, query } => self.look_up(ticket, &query),
                Output::Connect { ticket, to } => self.connect_out(ticket, &to),
                Output::CloseFlow { flow } => self.closed.push(flow),
            }
        }
    }

    fn look_up(&mut self, ticket: Ticket, query: &Query) {
        let Query::Locate { host, .. } = query else { panic!("nothing else is looked up") };
        let trunk = self.trunks.iter().find(|trunk| trunk.name == host.trim_end_matches(".test"));
        let remote = carrier_address(trunk.expect("a trunk of this world").id);
        let place = Place { transport: Transport::Tls, remote };
        let answer = Answer::Located(vec![place]);
        self.exchange.handle(self.now, Input::LookedUp { ticket, answer });
    }

    fn connect_out(&mut self, ticket: Ticket, to: &Far) {
        if to.place.transport == Transport::Udp {
            let flow = self.carriers_socket();
            let path = Path { flow, remote: to.place.remote };
            self.phones.insert("plain", Phone::new("plain", path));
            return self.exchange.handle(self.now, Input::Connected { ticket, result: Ok(flow) });
        }
        if self.unreachable {
            let result = Err(ConnectError::TimedOut);
            return self.exchange.handle(self.now, Input::Connected { ticket, result });
        }
        let name = if to.name.starts_with("carrier") { "carrier" } else { "second" };
        let path = self.flow_to(to.place.remote, Transport::Tls);
        self.carriers.insert(to.place.remote, name);
        self.phones.insert(name, Phone::new(name, path));
        self.exchange.handle(self.now, Input::Connected { ticket, result: Ok(path.flow) });
    }

    pub(super) fn set_policy(&mut self, change: impl FnOnce(&mut Policy)) {
        let policy = self.policy.next(change);
        let after = self.policy.version;
        self.policy = policy.clone();
        let actor = guard::access::Actor::System;
        let change = Change::SetPolicy { after, policy, what: "a test".to_owned() };
        let reply = self.command(Command::Change { actor, change });
        assert_eq!(reply, Reply::Done);
    }

    /// The relay hears nothing any more on the legs to this name.
    pub(super) fn silence_of(&mut self, endpoint: relay::EndpointId) {
        let since = self.now.instant;
        self.pass(60_000);
        self.media(relay::Event::Silence { endpoint, since });
    }

    /// The carrier's connection is gone.
    pub(super) fn lose(&mut self, name: &'static str) {
        let flow = self.phone(name).path.flow;
        self.exchange.handle(self.now, Input::FlowClosed { flow });
        self.run();
    }

    /// Calls a number of ours from a carrier.
    pub(super) fn call_in(&mut self, name: &'static str, number: &str, sdp: &str) {
        self.call_in_as(name, number, sdp, ("Grace", "+14155550123"));
    }

    /// As whom the carrier says that it is.
    pub(super) fn call_in_as(
        &mut self,
        name: &'static str,
        number: &str,
        sdp: &str,
        (shown, caller): (&str, &str),
    ) {
        let phone = self.phone(name);
        phone.cseq += 1;
        phone.calls += 1;
        phone.tag = format!("t{}", phone.calls);
        let uri = format!("sip:{number}@{REALM}");
        let from = NameAddrBuf::new(Some(shown), &format!("sip:{caller}@carrier.test"));
        let from = from.and_then(|from| from.with_tag(&phone.tag)).expect("sound");
        let request = Request::builder(Method::Invite, &uri)
            .via(phone.path.flow.transport.sip(), "203.0.113.50", &phone.branch())
            .max_forwards(70)
            .from(&from)
            .to(&NameAddrBuf::new(None, &uri).expect("sound"))
            .call_id(&format!("{name}-{}", phone.calls))
            .cseq(phone.cseq)
            .contact(&phone.contact())
            .body("application/sdp", sdp.to_owned())
            .build()
            .expect("sound");
        self.phone(name).invite = Some(request.clone());
        self.phone(name).dialog = None;
        self.transmit(name, request);
    }

    fn store_rows(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row {
                Row::Cdr(cdr) => {
                    let length = match cdr.answered {
                        Some(answered) if cdr.disposition != Disposition::Cancelled => {
                            cdr.ended.since(answered).as_secs()
                        }
                        Some(_) | None => 0,
                    };
                    let Cdr { from, to, disposition, .. } = &*cdr;
                    self.log.push(format!("cdr {from} {to} {disposition} {length}s"));
                    self.cdrs.push(*cdr);
                }
                Row::Snapshot(snapshot) => {
                    self.snapshots.insert(snapshot.call, *snapshot);
                }
                Row::RemoveSnapshot(call) => {
                    self.snapshots.remove(&call);
                }
                Row::Tenant(_)
                | Row::Extension(_)
                | Row::RemoveExtension(_)
                | Row::Device(_)
                | Row::RemoveDevice(_)
                | Row::Binding(_)
                | Row::RemoveBinding(_)
                | Row::Trunk(_)
                | Row::RemoveTrunk(_)
                | Row::Inbound(_)
                | Row::RemoveInbound(_)
                | Row::Policy(_)
                | Row::Deck(_)
                | Row::Ban(_)
                | Row::RemoveBan(_)
                | Row::Sink(_)
                | Row::RemoveSink(_)
                | Row::Watermark(_) => {}
                Row::Spend(spend) => {
                    self.spends.insert(spend.bucket, spend.settled);
                }
            }
        }
    }

    fn relay(&mut self, command: relay::Command) {
        let event = match command {
            relay::Command::Allocate { endpoint, epoch, .. } => {
                let port = 20_000 + u16::try_from(endpoint.0 % 10_000).expect("small") * 2;
                let rtp = ([198, 51, 100, 1], port).into();
                let rtcp = ([198, 51, 100, 1], port + 1).into();
                relay::Event::Allocated { endpoint, epoch, rtp, rtcp }
            }
            relay::Command::Arm { endpoint, epoch, config } => {
                self.armed.insert(endpoint, *config);
                relay::Event::Armed { endpoint, epoch }
            }
            relay::Command::Close { endpoint } => {
                self.armed.remove(&endpoint);
                let stats = Box::new(relay::Stats {
                    tag: 0,
                    closed: relay::Closed::Asked,
                    suite: None,
                    received: rtp::quality::Report::default(),
                    sent: relay::Sent::default(),
                    reported: None,
                    moves: 0,
                    violations: [0; relay::Violation::ALL.len()],
                    not_forwarded: 0,
                });
                relay::Event::Stats { endpoint, stats }
            }
            relay::Command::Renew => return,
        };
        self.exchange.handle(self.now, Input::Media(event));
    }

    fn deliver(&mut self, path: Path, bytes: Bytes) {
        says_nothing_of_us(&bytes);
        let name = self.phones.iter().find(|(_, phone)| phone.path == path).map(|(name, _)| *name);
        let Some(name) = name else { return };
        match Message::parse(bytes).expect("what we print, we accept") {
            Message::Request(request) if request.method() == Method::Options => {
                // That its line is alive is no part of a ladder.
                let answer = Response::builder(&request, Status::OK).to_tag("alive").build();
                let bytes = answer.expect("sound").as_bytes().clone();
                self.exchange.handle(self.now, Input::Received { path, bytes });
            }
            Message::Request(request) => {
                self.note("pbx", name, &summary_of_request(&request));
                self.phone(name).got_request(request);
            }
            Message::Response(response) => {
                self.note("pbx", name, &summary_of_response(&response));
                let acks = self.phone(name).got_response(response);
                for ack in acks {
                    self.exchange.handle(self.now, Input::Received { path, bytes: ack });
                }
            }
        }
    }

    fn at(&self) -> String {
        format!("{}ms", self.now.instant.since(self.start).as_millis())
    }

    fn note(&mut self, from: &str, to: &str, what: &str) {
        // 100 says nothing that the next line doesn't.
        if what != "100" {
            self.log.push(format!("{} {from} > {to} {what}", self.at()));
        }
    }

    /// Compares the log since the last check with a ladder. White space and `//` comments don't count.
    pub(super) fn check(&mut self, ladder: &str) {
        let squeeze = |line: &str| {
            let line = line.split("//").next().unwrap_or_default();
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

    pub(super) fn clear(&mut self) {
        self.log.clear();
    }

    /// Whether some line says this, however it is spaced.
    pub(super) fn log_has(&self, said: &str) -> bool {
        let plain = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        self.log.iter().any(|line| plain(line).contains(said))
    }

    pub(super) fn check_ends_with(&mut self, line: &str) {
        let log = std::mem::take(&mut self.log);
        let last = log.last().map(String::as_str).unwrap_or_default();
        assert!(last.ends_with(line), "{last} is not {line}");
    }

    /// A call from alice to bob and carol (both phones of 102), answered by bob.
    pub(super) fn call(&mut self) {
        self.invite("alice", "102", Some(&offer("sendrecv")));
        self.reply("carol", Method::Invite, 180, None);
        self.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
        self.settle_forks();
        self.ack("alice", None);
        self.log.clear();
    }

    /// Carol's phone obeys its CANCEL.
    pub(super) fn settle_forks(&mut self) {
        if self.phone("carol").pending.iter().any(|r| r.method() == Method::Cancel) {
            self.reply("carol", Method::Cancel, 200, None);
            self.reply("carol", Method::Invite, 487, None);
        }
    }

    pub(super) fn dispositions(&self) -> Vec<Disposition> {
        self.cdrs.iter().map(|cdr| cdr.disposition).collect()
    }
}

impl Phone {
    fn new(number: &'static str, path: Path) -> Self {
        Self {
            number,
            path,
            client: Client::new(number, "secret", Algorithm::Md5, Chance::from_number(9)),
            cseq: 0,
            dialog: None,
            pending: VecDeque::new(),
            invite: None,
            last_answer: None,
            last_request: None,
            registered: None,
            calls: 0,
            branches: 0,
            tag: String::new(),
        }
    }

    /// What of this method waits for an answer, the oldest first.
    pub(super) fn asked(&self, method: &Method) -> Vec<Request> {
        self.pending.iter().filter(|request| request.method() == *method).cloned().collect()
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}-{}", self.number, self.branches)
    }

    fn contact(&self) -> NameAddrBuf {
        let remote = self.path.remote;
        NameAddrBuf::new(None, &format!("sip:{}@{remote};transport=tls", self.number))
            .expect("sound")
    }

    fn got_request(&mut self, request: Request) {
        self.last_request = Some(request.clone());
        if request.method() == Method::Ack {
            return;
        }
        if let Some(dialog) = &mut self.dialog
            && DialogId::of_request(&request) == dialog.id()
        {
            let _ = dialog.receive(&request);
        } else if request.method() == Method::Invite {
            self.dialog = None;
        }
        self.pending.push_back(request);
    }

    /// The ACK of a failure is the phone's transaction's business.
    fn got_response(&mut self, response: Response) -> Vec<Bytes> {
        let status = response.status();
        let mut acks = Vec::new();
        if response.headers().cseq().method == Method::Invite
            && let Some(invite) = &self.invite
        {
            if status.is_success() && self.dialog.is_none() {
                self.dialog = Dialog::uac(invite, &response).ok();
            }
            if status.is_failure() {
                let headers = invite.headers();
                let ack = Request::builder(Method::Ack, invite.uri().as_str())
                    .header(Name::Via, headers.top_via().as_str())
                    .header(Name::From, headers.get(Name::From).expect("judged"))
                    .header(Name::To, response.headers().to().as_str())
                    .call_id(headers.call_id())
                    .cseq(headers.cseq().number)
                    .build()
                    .expect("sound");
                acks.push(ack.as_bytes().clone());
            }
        }
        if response.headers().cseq().method == Method::Register {
            self.registered = Some(response);
        } else if status != Status::TRYING {
            self.last_answer = Some(response);
        }
        acks
    }

    pub(super) fn offered(&self) -> String {
        let request = self.last_request.as_ref().expect("a request");
        String::from_utf8(request.body().to_vec()).expect("text")
    }

    pub(super) fn answered(&self) -> String {
        let answer = self.last_answer.as_ref().expect("an answer");
        String::from_utf8(answer.body().to_vec()).expect("text")
    }
}

/// An encrypted description, as a phone writes it: PCMU, PCMA and telephone events.
pub(super) fn offer(direction: &str) -> String {
    sdp("RTP/SAVP", "0 8 101", direction, KEY)
}

pub(super) fn plain(direction: &str) -> String {
    sdp("RTP/AVP", "0 8 101", direction, "")
}

pub(super) fn sdp(profile: &str, formats: &str, direction: &str, key: &str) -> String {
    let crypto = match key {
        "" => String::new(),
        key => format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"),
    };
    let events = if formats.contains("101") { "a=rtpmap:101 telephone-event/8000\r\n" } else { "" };
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 4000 {profile} {formats}\r\n{events}{crypto}a={direction}\r\n"
    )
}

pub(super) const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn hop(branch: &str) -> Hop<'_> {
    Hop { transport: sip::Transport::Tls, sent_by: "192.0.2.1", branch }
}

fn summary_of_request(request: &Request) -> String {
    let number = request.uri().user_unescaped().unwrap_or_default().into_owned();
    let outside = request.headers().to().tag().is_none() && request.method() == Method::Invite;
    let number = if outside { format!(" {number}") } else { String::new() };
    let direction = direction_of(request.body());
    format!("{}{number}{direction}", request.method())
}

fn summary_of_response(response: &Response) -> String {
    let direction = direction_of(response.body());
    let method = response.headers().cseq().method;
    let of = if method == Method::Invite { String::new() } else { format!(" {method}") };
    format!("{}{of}{direction}", response.status())
}

fn direction_of(body: &[u8]) -> String {
    match sip::sdp::Session::parse(body) {
        Ok(session) => {
            let direction = session.effective().next().map(|media| media.direction());
            let direction = direction.map_or("", |direction| direction.as_str());
            if direction == "sendrecv" { " sdp".to_owned() } else { format!(" {direction}") }
        }
        Err(_) => String::new(),
    }
}

fn is_registration(line: &str) -> bool {
    line.ends_with("REGISTER")
}

fn carrier_address(trunk: TrunkId) -> SocketAddr {
    ([203, 0, 113, u8::try_from(50 + trunk.0).expect("few trunks")], 5061).into()
}

fn trunk(id: u32, name: &str) -> Trunk {
    Trunk {
        id: TrunkId(id),
        tenant: Some(TenantId::HOUSE),
        name: name.to_owned(),
        enabled: true,
        realm: RealmId(0),
        host: format!("{name}.test"),
        port: Some(5061),
        transport: Some(Transport::Tls),
        access: TrunkAccess::Address(None),
        sources: Vec::new(),
        media: TrunkMedia::Srtp,
        identity: TrunkIdentity { asserted: true, from_account: false, private: false },
        default_caller_id: Some("+12125550100".to_owned()),
        codecs: Vec::new(),
        channels: 2,
        priority: u16::try_from(id).expect("few trunks"),
        silence_limit: Duration::from_secs(60),
        call_max: Duration::from_secs(4 * 3_600),
        authority: None,
        created: Utc(0),
    }
}

fn setup(
    settings: Settings,
    exceptions: Exceptions,
    policy: &Arc<Policy>,
    trunks: &[Trunk],
    loaded: Loaded,
) -> Setup {
    let extension = |number: &str, id: u128, exceptions| {
        let row = Extension {
            id: ExtensionId(id),
            tenant: TenantId::HOUSE,
            number: ExtensionNumber::new(number, Country::US).expect("a number"),
            name: format!("Desk {number}"),
            enabled: true,
            secret: secret(),
            previous: None,
            exceptions,
            caller_id: None,
            created: Utc(0),
        };
        (row, credentials(number, "secret"), None)
    };
    let device = |name: &str, id: u128, extension: u128| crate::directory::Device {
        id: DeviceId(id),
        tenant: TenantId::HOUSE,
        extension: ExtensionId(extension),
        instance: name.to_owned(),
        agent: String::new(),
        mac: None,
        firmware: None,
        algorithm: None,
        exceptions: Exceptions::default(),
        first_seen: Utc(0),
        last_seen: Utc(0),
    };
    Setup {
        node: NodeId(1),
        settings,
        registrar: RegistrarSettings::default(),
        gate: Gate::new(policy.clone(), Arc::new(RateDeck::estimates(policy.currency))),
        realms: vec![Realm {
            id: RealmId(0),
            name: "access".into(),
            advertised: vec![
                (Transport::Tls, REALM.into(), 5061),
                (Transport::Udp, REALM.into(), 5060),
            ],
            for_carriers: Vec::new(),
        }],
        loaded: Loaded {
            tenants: vec![Tenant {
                id: TenantId::HOUSE,
                name: "House".into(),
                realm: REALM.into(),
                domains: vec![REALM.into()],
            }],
            extensions: vec![
                extension("101", 101, Exceptions::default()),
                extension("102", 102, exceptions),
            ],
            devices: vec![device("alice", 1, 101), device("bob", 2, 102), device("carol", 3, 102)],
            bindings: Vec::new(),
            trunks: trunks
                .iter()
                .map(|trunk| {
                    let secret = trunk.account().map(|_| TrunkSecret("secret".to_owned().into()));
                    (trunk.clone(), secret)
                })
                .collect(),
            inbound: vec![Inbound {
                number: "+12125550101".to_owned(),
                tenant: TenantId::HOUSE,
                trunk: TrunkId(1),
                extension: ExtensionId(102),
            }],
            generation: 10,
            ..loaded
        },
        chance: Chance::from_number(4),
    }
}

pub(super) fn credentials(number: &str, secret: &str) -> Credentials {
    Credentials {
        md5: Ha1::derive(Algorithm::Md5, number, REALM, secret),
        sha256: Ha1::derive(Algorithm::Sha256, number, REALM, secret),
    }
}

pub(super) fn secret() -> Secret {
    let mut chance = Chance::from_number(5);
    let key = MasterKey::draw(&mut chance);
    Secret { sealed: Sealed::seal(&key, &mut chance, b"extension", b"x"), since: Utc(0) }
}

/// No message of ours names the product, wherever it goes.
fn says_nothing_of_us(message: &[u8]) {
    let text = String::from_utf8_lossy(message);
    assert!(!text.to_ascii_lowercase().contains("ringfence"), "{text}");
    for header in ["\r\nServer:", "\r\nUser-Agent:"] {
        assert!(!text.contains(header), "{text}");
    }
}

/// A bound for `pass`: more wakes in one step are an endless loop.
const WAKES_MAX: usize = 10_000;
