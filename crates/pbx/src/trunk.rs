//! The engine that keeps carriers' lines alive: where a carrier is, the connection to it, our
//! registration there, whether it answers, and which of its requests are believed.
//!
//! It stands beside the dialog core as [`crate::recovery`] does: the exchange lends it the
//! [`Desk`] for one input and carries out its [`Effect`]s in order. Each trunk is a [`Line`] with one
//! state; it is looked up (RFC 3263), connected, and then registered (RFC 3261 §10) or asked by
//! OPTIONS, and stays up as long as that goes on. A place that doesn't answer is left for the next one;
//! when none is left the trunk is down and tried again after a growing while.
//!
//! Our Contact at a carrier is a random token, drawn anew at each start and each change: a call that
//! names it, from the carrier's own address or over our registration's own connection, comes from whom
//! we told it. Nothing that a carrier answers is believed beyond a bound: how long a registration
//! lasts, how long to wait, how many contacts or places it lists.

mod account;
mod change;
mod health;
mod identify;
mod line;
mod places;
mod registration;
mod test;
#[cfg(test)]
mod tests;
mod trouble;
mod views;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use guard::fact::Fact;
use guard::id::{RealmId, TenantId, TrunkId};
use pure::{Chance, Instant, Now, Timers};
use sip::transaction::{Input, Key, Rank};
use sip::{Method, Name, Request, Response};

use self::line::{Alarm, Line, Purpose};
use crate::back_to_back::desk::{Desk, sent_by};
use crate::command::{Refusal, Reply, TrunkSecret};
use crate::directory::{Inbound, Trunk};
use crate::flow::{FlowId, FlowOpened, Path, TlsFacts, Transport};
use crate::io::{Answer, ConnectError, Far, Place, Query, Ticket};

/// See the module.
#[derive(Debug)]
pub(crate) struct Trunks {
    lines: BTreeMap<TrunkId, Line>,
    inbound: BTreeMap<String, Inbound>,
    /// Trunks that are being written: two additions of one name or id can't both win.
    pending: BTreeMap<String, TrunkId>,
    /// Whose each address is, so that a packet on the carriers' socket costs a look and no scan.
    addresses: BTreeSet<(RealmId, IpAddr, TrunkId)>,
    engine: Engine,
}

/// What the engine wants done. In order.
#[derive(Debug)]
pub(crate) enum Effect {
    Connect {
        ticket: Ticket,
        to: Far,
    },
    /// Open the carriers' UDP socket of a realm: nobody waits for it.
    Lifeline {
        ticket: Ticket,
        to: Far,
    },
    Lookup {
        ticket: Ticket,
        query: Query,
    },
    CloseFlow(FlowId),
    Fact {
        tenant: Option<TenantId>,
        fact: Fact,
    },
    /// A trunk can be reached on this path (again): orphan legs toward it are ended through it.
    Reachable {
        trunk: TrunkId,
        path: Path,
        realm: RealmId,
    },
    /// The end of a test.
    Reply {
        ticket: Ticket,
        reply: Reply,
    },
}

/// One way out for a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    pub(crate) trunk: TrunkId,
    pub(crate) path: Path,
    pub(crate) realm: RealmId,
    pub(crate) place: Place,
    pub(crate) tls: Option<TlsFacts>,
    /// For Request-URI and To, as it stands in a URI: an IPv6 address has its brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// What all lines share.
#[derive(Debug)]
struct Engine {
    chance: Chance,
    /// Questions without an answer, and whose they are.
    tickets: BTreeMap<Ticket, TrunkId>,
    /// Requests under way.
    sent: BTreeMap<Key, (TrunkId, Purpose)>,
    timers: Timers<Wake>,
    /// Every flow that is open: a carrier may have connected to us, before or after its trunk was
    /// configured. As many as the driver lets be.
    flows: BTreeMap<FlowId, FlowOpened>,
    /// Addresses of carriers that were removed or moved, as often as that happened: the BYE of a call that
    /// is up, and the answer to our leaving, still come from there.
    former: BTreeMap<(RealmId, IpAddr), u32>,
    /// The carriers' UDP socket of each realm, where one is open.
    sockets: BTreeMap<RealmId, FlowId>,
    /// Sockets that were asked for as a last way for calls for help.
    lifelines: BTreeMap<Ticket, RealmId>,
    /// The process is about to end: nothing is kept alive any more.
    draining: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wake {
    Line(TrunkId, Alarm),
    /// A connection that was replaced: no call can be on it any more.
    Close(FlowId),
    /// An address of a carrier that was removed or moved.
    Forget(RealmId, IpAddr),
}

/// What a line may touch while it handles something.
struct Turn<'a, 'd> {
    desk: &'a mut Desk<'d>,
    engine: &'a mut Engine,
    out: &'a mut Vec<Effect>,
}

impl Trunks {
    /// More than [`TRUNKS_MAX`] trunks or [`INBOUND_MAX`] numbers can't have been added; should the store
    /// hold them all the same, those with the highest ids are left out.
    pub(crate) fn new(
        trunks: Vec<(Trunk, Option<TrunkSecret>)>,
        inbound: Vec<Inbound>,
        mut chance: Chance,
    ) -> Self {
        let mut lines = BTreeMap::new();
        for (trunk, secret) in trunks {
            lines.insert(trunk.id, Line::new(trunk, secret.as_ref(), &mut chance));
            if lines.len() > TRUNKS_MAX {
                lines.pop_last();
            }
        }
        let inbound = inbound.into_iter().take(INBOUND_MAX);
        let mut trunks = Self {
            lines,
            addresses: BTreeSet::new(),
            inbound: inbound.map(|one| (one.number.clone(), one)).collect(),
            pending: BTreeMap::new(),
            engine: Engine {
                chance,
                tickets: BTreeMap::new(),
                sent: BTreeMap::new(),
                timers: Timers::new(),
                flows: BTreeMap::new(),
                former: BTreeMap::new(),
                sockets: BTreeMap::new(),
                lifelines: BTreeMap::new(),
                draining: false,
            },
        };
        let ids: Vec<TrunkId> = trunks.lines.keys().copied().collect();
        ids.into_iter().for_each(|id| trunks.note_addresses(id));
        trunks
    }

    /// Begins the look-ups of every enabled trunk.
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>, out: &mut Vec<Effect>) {
        self.each(desk, out, Line::begin);
    }

    /// The answer of an [`Effect::Lookup`]. False: not ours.
    pub(crate) fn located(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        answer: &Answer,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(trunk) = self.engine.tickets.remove(&ticket) else { return false };
        self.with(desk, trunk, out, |line, turn| line.located(turn, ticket, answer));
        self.note_addresses(trunk);
        true
    }

    /// What came of an [`Effect::Connect`]. False: not ours. A connection that nobody waits for any more
    /// is closed.
    pub(crate) fn connected(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        result: Result<FlowId, ConnectError>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let flow = result.as_ref().ok().copied();
        if let Some(flow) = flow.filter(|flow| flow.transport == Transport::Udp)
            && let Some(realm) = self.engine.flows.get(&flow).map(|opened| opened.realm)
        {
            self.engine.sockets.insert(realm, flow);
        }
        if self.engine.lifelines.remove(&ticket).is_some() {
            return true;
        }
        let Some(trunk) = self.engine.tickets.remove(&ticket) else { return false };
        let mut wanted = false;
        self.with(desk, trunk, out, |line, turn| wanted = line.connected(turn, ticket, result));
        if let Some(flow) = flow.filter(|flow| !wanted && flow.transport.is_reliable()) {
            out.push(Effect::CloseFlow(flow));
        }
        true
    }

    /// A BYE waits for this trunk's next connection.
    pub(crate) fn hurry(&mut self, desk: &mut Desk<'_>, trunk: TrunkId, out: &mut Vec<Effect>) {
        self.with(desk, trunk, out, Line::hurry);
    }

    /// To be told of every flow, before [`Self::connected`].
    pub(crate) fn flow_opened(&mut self, opened: &FlowOpened) {
        self.engine.flows.insert(opened.flow, opened.clone());
    }

    pub(crate) fn flow_closed(&mut self, desk: &mut Desk<'_>, flow: FlowId, out: &mut Vec<Effect>) {
        self.engine.flows.remove(&flow);
        self.engine.sockets.retain(|_, socket| *socket != flow);
        self.each(desk, out, |line, turn| {
            if line.link().is_some_and(|link| link.path.flow == flow) {
                line.flow_lost(turn);
            }
        });
    }

    /// The final answer to a request of ours; `None`: it timed out. False: not ours.
    pub(crate) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        key: Key,
        answer: Option<&Response>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some((trunk, purpose)) = self.engine.sent.remove(&key) else { return false };
        match purpose {
            Purpose::Register => {
                self.with(desk, trunk, out, |line, turn| line.registered(turn, key, answer));
            }
            Purpose::Options => {
                self.with(desk, trunk, out, |line, turn| line.probed(turn, key, answer));
            }
            Purpose::Leave(leaving) => {
                let engine = &mut self.engine;
                leaving.answered(&mut Turn { desk, engine, out }, trunk, answer);
            }
        }
        true
    }

    /// A request of ours could not be sent. False: not ours.
    pub(crate) fn undelivered(
        &mut self,
        desk: &mut Desk<'_>,
        key: Key,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some((trunk, purpose)) = self.engine.sent.remove(&key) else { return false };
        match purpose {
            Purpose::Register | Purpose::Options => {
                self.with(desk, trunk, out, |line, turn| line.undelivered(turn, key));
            }
            Purpose::Leave(_) => {}
        }
        true
    }

    pub(crate) fn wake(&mut self, desk: &mut Desk<'_>, out: &mut Vec<Effect>) {
        while let Some(wake) = self.engine.timers.pop(desk.now.instant) {
            match wake {
                Wake::Line(trunk, alarm) => {
                    self.with(desk, trunk, out, |line, turn| line.alarmed(turn, alarm));
                }
                Wake::Close(flow) => {
                    if self.engine.flows.contains_key(&flow) {
                        out.push(Effect::CloseFlow(flow));
                    }
                }
                Wake::Forget(realm, address) => {
                    if let Entry::Occupied(mut held) = self.engine.former.entry((realm, address)) {
                        match held.get() {
                            0 | 1 => drop(held.remove()),
                            _ => *held.get_mut() -= 1,
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.engine.timers.next()
    }

    /// Unregisters everywhere and keeps nothing alive any more. Connections stay for the calls that are
    /// being ended, and for calls for help.
    pub(crate) fn drain(&mut self, desk: &mut Desk<'_>, out: &mut Vec<Effect>) {
        self.engine.draining = true;
        self.each(desk, out, Line::drain);
    }

    /// In clear over UDP, to the servers of every trunk that is open to this tenant: for calls for help
    /// whose encrypted ways have failed. Their answers are heard from now on. [`ROUTES_MAX`] at the most.
    pub(crate) fn lifelines(&mut self, desk: &mut Desk<'_>, tenant: TenantId) -> Vec<Route> {
        let mut turn = Turn { desk, engine: &mut self.engine, out: &mut Vec::new() };
        let mut routes = Vec::new();
        for line in self.lines.values() {
            let open = line.trunk.tenant.is_none_or(|owner| owner == tenant) && line.trunk.enabled;
            let socket = turn.engine.sockets.get(&line.trunk.realm).copied();
            let Some(flow) = socket.filter(|_| open) else { continue };
            for place in line.places.all().iter().filter(|place| place.transport != Transport::Udp)
            {
                let remote = SocketAddr::new(place.remote.ip(), UDP_PORT);
                turn.remember(line.trunk.realm, remote.ip(), line.trunk.call_max);
                routes.push(Route {
                    trunk: line.trunk.id,
                    path: Path { flow, remote },
                    realm: line.trunk.realm,
                    place: Place { transport: Transport::Udp, remote },
                    tls: None,
                    host: uri_host(&line.trunk.host),
                    port: None,
                });
            }
        }
        routes.truncate(ROUTES_MAX);
        routes
    }

    /// Where a call of this tenant can leave, best first: by priority, then places that failed lately
    /// last. Trunks that are down only for an emergency, after all others. [`ROUTES_MAX`] at the most: each
    /// is an attempt that somebody waits for.
    pub(crate) fn routes(&mut self, now: Now, tenant: TenantId, emergency: bool) -> Vec<Route> {
        let lines = self.lines.values().filter(|line| {
            let open = line.trunk.tenant.is_none_or(|owner| owner == tenant);
            open && line.trunk.enabled && (line.is_up() || emergency)
        });
        let mut ranked: Vec<_> = lines
            .flat_map(|line| {
                let rank = (!line.is_up(), line.trunk.priority, line.trunk.id);
                let routes = line.routes(&self.engine.flows, now.instant);
                routes.into_iter().enumerate().map(move |(at, (failed, route))| {
                    let (down, priority, id) = rank;
                    ((down, failed, priority, id, at), route)
                })
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, route)| route).take(ROUTES_MAX).collect()
    }

    pub(crate) fn get(&self, id: TrunkId) -> Option<&Trunk> {
        self.lines.get(&id).map(|line| &line.trunk)
    }

    /// A number of ours that is called at this trunk. `number`: `+` and E.164.
    pub(crate) fn inbound(&self, trunk: TrunkId, number: &str) -> Option<&Inbound> {
        self.inbound.get(number).filter(|inbound| inbound.trunk == trunk)
    }

    pub(crate) fn numbers_of(&self, tenant: TenantId) -> impl Iterator<Item = &Inbound> {
        self.inbound.values().filter(move |inbound| inbound.tenant == tenant)
    }

    pub(crate) fn inbound_list(&self) -> Vec<Inbound> {
        self.inbound.values().cloned().collect()
    }

    /// Credentials for a request of a call that the trunk challenged (401, 407). It can't know whether the
    /// challenged request carried some already: the leg asks once for each request, and a second time
    /// only where the first answer was ahead of any challenge. `None`: there is no account, or nothing
    /// that it may answer.
    pub(crate) fn answer_challenge(
        &mut self,
        trunk: TrunkId,
        response: &Response,
        method: &Method,
        uri: &str,
    ) -> Option<(Name, String)> {
        let account = self.lines.get_mut(&trunk)?.account.as_mut()?;
        account.calls.answer_first(response, method.as_str(), uri).ok()
    }

    /// Whether this path is one of the trunk's now: its own connection, or one of its addresses.
    pub(crate) fn is_at(&self, trunk: TrunkId, path: Path) -> bool {
        let Some(line) = self.lines.get(&trunk) else { return false };
        line.link().is_some_and(|link| link.path == path)
            || self.realm_of(path).is_some_and(|realm| line.is_source(realm, path))
    }

    /// A place failed a call (503, time-out, transport): it goes to the end for [`PENALTY`].
    pub(crate) fn place_failed(&mut self, trunk: TrunkId, place: Place, now: Now) {
        if let Some(line) = self.lines.get_mut(&trunk) {
            line.places.failed(place, now.instant);
        }
    }

    /// Tests a trunk: looks it up, connects, registers anew, asks OPTIONS; places no call. The answer is
    /// an [`Effect::Reply`] within
    /// [`Settings::trunk_test_timeout`](crate::settings::Settings).
    pub(crate) fn test(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        trunk: TrunkId,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let line = self.lines.get_mut(&trunk).ok_or(Refusal::NotFound)?;
        let engine = &mut self.engine;
        line.begin_test(&mut Turn { desk, engine, out }, ticket)
    }

    /// How much is held, and how much may be, for one trunk.
    #[cfg(test)]
    fn sizes(&self) -> [(&'static str, usize, usize); 3] {
        [
            ("requests", self.engine.sent.len(), 40),
            ("questions", self.engine.tickets.len(), TICKETS_MAX),
            ("timers", self.engine.timers.len(), 2_000),
        ]
    }

    fn with(
        &mut self,
        desk: &mut Desk<'_>,
        trunk: TrunkId,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Line, &mut Turn<'_, '_>),
    ) {
        if let Some(line) = self.lines.get_mut(&trunk) {
            act(line, &mut Turn { desk, engine: &mut self.engine, out });
        }
    }

    fn each(
        &mut self,
        desk: &mut Desk<'_>,
        out: &mut Vec<Effect>,
        act: impl Fn(&mut Line, &mut Turn<'_, '_>),
    ) {
        for line in self.lines.values_mut() {
            act(line, &mut Turn { desk, engine: &mut self.engine, out });
        }
    }
}

impl Turn<'_, '_> {
    fn now(&self) -> Now {
        self.desk.now
    }

    /// A ticket for a question of this trunk.
    fn ticket(&mut self, trunk: TrunkId) -> Ticket {
        *self.desk.tickets += 1;
        let ticket = Ticket(*self.desk.tickets);
        self.engine.tickets.insert(ticket, trunk);
        if self.engine.tickets.len() > TICKETS_MAX {
            self.engine.tickets.pop_first();
        }
        ticket
    }

    fn send(&mut self, trunk: TrunkId, purpose: Purpose, path: Path, request: Request) -> Key {
        let key = self.desk.transactions.reserve();
        self.engine.sent.insert(key, (trunk, purpose));
        self.desk
            .transactions
            .handle(self.desk.now, Input::Send { key, path, request, rank: Rank::Ordinary });
        key
    }

    /// Where we are as the carrier can reach us. A realm that doesn't listen on the transport is named by
    /// the connection's own address, which comes back over the connection.
    fn sent_by(&self, realm: RealmId, flow: FlowId) -> String {
        let listens = self.desk.realms.get(&realm).is_some_and(|realm| {
            let told = realm.for_carriers.iter().chain(&realm.advertised);
            told.clone().any(|(transport, _, _)| *transport == flow.transport)
        });
        match self.engine.flows.get(&flow) {
            Some(opened) if !listens => opened.local.to_string(),
            Some(_) | None => sent_by(self.desk.realms, realm, flow.transport, true),
        }
    }

    /// Asks for the carriers' UDP socket of a realm whose encrypted line is down: whoever must call for
    /// help then has a last way.
    fn lifeline(&mut self, far: Far) {
        let realm = far.realm;
        let known = self.engine.sockets.contains_key(&realm);
        if known || self.engine.lifelines.values().any(|asked| *asked == realm) {
            return;
        }
        *self.desk.tickets += 1;
        let ticket = Ticket(*self.desk.tickets);
        self.engine.lifelines.insert(ticket, realm);
        self.out.push(Effect::Lifeline { ticket, to: far });
    }

    /// Hears this address for as long as a call that is up may last.
    fn remember(&mut self, realm: RealmId, address: IpAddr, span: Duration) {
        let key = (realm, address.to_canonical());
        let (former, at) = (&mut self.engine.former, self.desk.now.instant + span);
        if former.contains_key(&key) || former.len() < FORMER_MAX {
            let times = former.entry(key).or_default();
            *times = times.saturating_add(1);
            self.engine.timers.set(at, Wake::Forget(realm, key.1));
        }
    }

    fn fact(&mut self, tenant: Option<TenantId>, fact: Fact) {
        self.out.push(Effect::Fact { tenant, fact });
    }

    /// `span` and up to a tenth more or less: carriers' servers shouldn't hear from all at once.
    fn about(&mut self, span: Duration) -> Duration {
        let tenth = u64::try_from(span.as_millis() / 10).unwrap_or(u64::MAX);
        let jitter = Duration::from_millis(self.engine.chance.below(tenth.saturating_mul(2)));
        span.saturating_sub(Duration::from_millis(tenth)) + jitter
    }
}

/// How a host stands in a URI.
fn uri_host(host: &str) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

/// The carrier's own address: Request-URI of REGISTER and OPTIONS.
fn uri_of(trunk: &Trunk) -> String {
    let host = uri_host(&trunk.host);
    match trunk.port {
        Some(port) => format!("sip:{host}:{port}"),
        None => format!("sip:{host}"),
    }
}

/// What a look-up may bring: what is configured, else the encrypted transport, and the others only where
/// the trunk's audio is in clear anyway.
fn allowed(trunk: &Trunk) -> Vec<Transport> {
    match (trunk.transport, trunk.media) {
        (Some(transport), _) => vec![transport],
        (None, crate::directory::TrunkMedia::Srtp) => vec![Transport::Tls],
        (None, crate::directory::TrunkMedia::DangerousPlain) => {
            vec![Transport::Tls, Transport::Tcp, Transport::Udp]
        }
    }
}

/// Trunks of one node. A further one is refused with `TooMany`. Each is a registration or a question a
/// minute; a carrier's whole market of them belongs on several nodes.
pub(crate) const TRUNKS_MAX: usize = 200;
/// Numbers of ours at carriers. A further one is refused with `TooMany`. Two ranges of a business of
/// ten thousand.
pub(crate) const INBOUND_MAX: usize = 20_000;
/// Further addresses of one trunk. More are refused with `TooMany`: who needs more wants a network, and a
/// network isn't a carrier's address.
pub(crate) const SOURCES_MAX: usize = 64;
/// Addresses of former carriers. Beyond it none is remembered more: calls that are up with such a carrier
/// over UDP end by their silence.
const FORMER_MAX: usize = 2_000;
/// Ways out that one call may try.
const ROUTES_MAX: usize = 16;

/// RFC 3261 §18.1.1: where a server listens for UDP when nobody says otherwise.
const UDP_PORT: u16 = 5060;
/// Questions without an answer; at the bound the oldest is given up. Each line asks one or two at a
/// time, and the driver answers each.
const TICKETS_MAX: usize = 8 * TRUNKS_MAX;
