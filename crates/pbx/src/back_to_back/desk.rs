//! What a call may touch while it handles something: time, chance, transactions, timers, and the way
//! out. Lent for one input, so that a call holds nothing but its own state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use guard::fact::Fact;
use guard::gate::{Attempt, Gate, Permit, Responsible, Verdict};
use guard::id::{CallId, LegId, NodeId, RealmId, TenantId, TrunkId};
use guard::ledger::Ledger;
use pure::{Chance, HashSeed, Map, Now, Timers};
use rtp::relay;
use sip::transaction::{Input, Key, Rank, Transactions};
use sip::{Request, Response};

use super::Event;
use crate::flow::{Path, Realm, Transport};
use crate::io::{Output, Ticket, Trace};
use crate::ladder;
use crate::record::Row;
use crate::settings::Settings;

pub(crate) type ServerTx = Key;

/// See the module.
pub(crate) struct Desk<'a> {
    pub(crate) now: Now,
    /// Whose call is being handled; `None` outside one.
    pub(crate) tenant: Option<TenantId>,
    /// It is a call for help: nothing that it sends waits for room.
    pub(crate) help: bool,
    pub(crate) node: NodeId,
    pub(crate) settings: &'a Settings,
    pub(crate) gate: &'a Gate,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) realms: &'a BTreeMap<RealmId, Realm>,
    pub(crate) chance: &'a mut Chance,
    pub(crate) transactions: &'a mut Transactions<Path>,
    pub(crate) timers: &'a mut Timers<(CallId, Why)>,
    pub(crate) lines: &'a mut Lines,
    pub(crate) tickets: &'a mut u64,
    pub(crate) out: &'a mut VecDeque<Output>,
    pub(crate) events: &'a mut VecDeque<Event>,
}

/// Why a call wakes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Why {
    Prepare,
    Ring,
    Answer,
    /// The longest a call may last.
    Longest,
    Hold,
    /// A re-INVITE that waits for the other leg.
    Change,
    /// Another try after a 491.
    Glare,
    Stats,
    /// A leg is still on its way out.
    Linger,
    /// The session timer of a leg has run out.
    Expired(LegId),
    /// It is ours to refresh.
    Refresh(LegId),
    /// Nothing has been heard from it, and it is to be asked again.
    Silent(LegId),
    /// The leg's connection has been gone for too long.
    Lost(LegId),
    /// The paid time of a leg outside nears its end.
    Extend(LegId),
    /// It has ended.
    Unpaid(LegId),
    /// A carrier has not said a word to our INVITE.
    Mute(LegId),
    /// A call for help rings nowhere yet.
    Slow(LegId),
    /// A carrier refused our BYE: it is said again.
    Again(LegId),
    /// The 2xx that a BYE has overtaken has not come.
    Overtaken(LegId),
}

/// What a request of ours was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Invite,
    Change,
    Refresh,
    Bye,
    Info,
}

/// Which call and leg something belongs to.
#[derive(Debug)]
pub(crate) struct Lines {
    /// What the digests below are keyed by.
    seed: HashSeed,
    /// By the digest of Call-ID and our tag.
    dialogs: Map<u128, (CallId, LegId)>,
    /// For the ladder: by the digest of Call-ID and path, with the messages shown so far.
    traced: Map<u128, Traced>,
    clients: BTreeMap<Key, (CallId, LegId, Purpose)>,
    /// INVITEs to be answered, or whose ACK is awaited.
    servers: BTreeMap<Key, (CallId, LegId)>,
    media: Map<LegId, CallId>,
    tickets: BTreeMap<Ticket, CallId>,
    recorded: BTreeSet<CallId>,
}

#[derive(Debug)]
struct Traced {
    tenant: TenantId,
    call: CallId,
    leg: LegId,
    shown: u32,
}

impl Desk<'_> {
    pub(crate) fn fact(&mut self, fact: Fact) {
        self.out.push_back(Output::Fact { tenant: self.tenant, fact });
    }

    /// Something that the application must decide.
    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn media(&mut self, command: relay::Command) {
        self.out.push_back(Output::Media(command));
    }

    /// Writes rows and waits for it.
    pub(crate) fn persist(&mut self, call: CallId, rows: Vec<Row>) -> Ticket {
        *self.tickets += 1;
        let ticket = Ticket(*self.tickets);
        self.lines.tickets.insert(ticket, call);
        self.out.push_back(Output::Persist { ticket: Some(ticket), rows });
        ticket
    }

    /// Writes rows that nobody waits for.
    pub(crate) fn persist_quietly(&mut self, rows: Vec<Row>) {
        self.out.push_back(Output::Persist { ticket: None, rows });
    }

    /// Writes the call's last rows. Once.
    pub(crate) fn record(&mut self, call: CallId, rows: Vec<Row>) {
        self.lines.recorded.insert(call);
        self.out.push_back(Output::Persist { ticket: None, rows });
    }

    pub(crate) fn is_recorded(&self, call: CallId) -> bool {
        self.lines.is_recorded(call)
    }

    /// Asks the gate for a leg. `None`: denied, and nothing more can be asked for in the middle of a
    /// call.
    pub(crate) fn permit(&mut self, attempt: &Attempt, destination: &str) -> Option<Permit> {
        let verdict = self.gate.judge(self.now, attempt, self.ledger);
        let (permitted, decision) = match &verdict {
            Verdict::Permit(permit) => (true, permit.decision()),
            Verdict::Denial(denial) => (false, denial.decision),
            Verdict::NeedPin(_) | Verdict::NeedReserve(_) => return None,
        };
        let extension = match attempt.responsible {
            Some(Responsible::Extension(extension)) => Some(extension),
            Some(Responsible::Trunk(_) | Responsible::System) | None => None,
        };
        self.fact(Fact::GateDecided {
            call: attempt.call,
            leg: attempt.leg,
            origin: attempt.origin,
            extension,
            permitted,
            rule: decision.rule,
            policy: decision.policy,
            destination: destination.into(),
        });
        match verdict {
            Verdict::Permit(permit) => Some(permit),
            Verdict::Denial(_) | Verdict::NeedPin(_) | Verdict::NeedReserve(_) => None,
        }
    }

    pub(crate) fn respond(&mut self, key: ServerTx, response: Response) {
        self.transactions.handle(self.now, Input::Respond { key, response });
    }

    /// Sends a request as a transaction and remembers what for.
    pub(crate) fn send(
        &mut self,
        owner: (CallId, LegId, Purpose),
        path: Path,
        request: Request,
    ) -> Key {
        let key = self.transactions.reserve();
        self.lines.clients.insert(key, owner);
        let rank = if self.help { Rank::Emergency } else { Rank::Ordinary };
        self.transactions.handle(self.now, Input::Send { key, path, request, rank });
        key
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.transactions.handle(self.now, Input::Cancel { key });
    }

    /// The ACK of a 2xx is no transaction.
    pub(crate) fn transmit(&mut self, path: Path, bytes: Bytes) {
        self.lines.trace(self.now, path, true, &bytes, self.out);
        self.out.push_back(Output::Transmit { path, bytes });
    }

    /// `host:port` of ours as the far end of this path can reach it.
    pub(crate) fn sent_by(
        &self,
        realm: RealmId,
        transport: Transport,
        trunk: Option<TrunkId>,
    ) -> String {
        sent_by(self.realms, realm, transport, trunk.is_some())
    }
}

/// Where we are, in a realm and over a transport, for a carrier or a phone. A realm that doesn't listen on the transport names
/// nothing that could be reached; requests then come back over the connection that exists.
pub(crate) fn sent_by(
    realms: &BTreeMap<RealmId, Realm>,
    realm: RealmId,
    transport: Transport,
    for_carrier: bool,
) -> String {
    let realm = realms.get(&realm);
    let listens = realm.and_then(|realm| {
        let own = realm.for_carriers.iter().filter(|_| for_carrier);
        own.chain(&realm.advertised).find(|(listening, _, _)| *listening == transport)
    });
    match listens {
        Some((_, host, port)) => format!("{host}:{port}"),
        None => "pbx.invalid".to_owned(),
    }
}

impl Lines {
    /// How much is remembered, by what.
    pub(crate) fn live(&self) -> [(&'static str, usize); 7] {
        [
            ("dialogs", self.dialogs.len()),
            ("traced", self.traced.len()),
            ("clients", self.clients.len()),
            ("servers", self.servers.len()),
            ("media", self.media.len()),
            ("tickets", self.tickets.len()),
            ("recorded", self.recorded.len()),
        ]
    }

    pub(crate) fn new(mut seed: impl FnMut() -> HashSeed) -> Self {
        let dialogs = seed();
        Self {
            seed: dialogs,
            dialogs: Map::new(dialogs),
            traced: Map::new(seed()),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            media: Map::new(seed()),
            tickets: BTreeMap::new(),
            recorded: BTreeSet::new(),
        }
    }

    pub(crate) fn leg(
        &mut self,
        tenant: TenantId,
        (call, leg): (CallId, LegId),
        call_id: &str,
        tag: &str,
        path: Path,
    ) {
        self.dialogs.insert(self.seed.digest((call_id, tag)), (call, leg));
        self.trace_on(tenant, (call, leg), call_id, path);
        self.media.insert(leg, call);
    }

    /// From now on the leg's messages are on this path as well.
    pub(crate) fn trace_on(
        &mut self,
        tenant: TenantId,
        (call, leg): (CallId, LegId),
        call_id: &str,
        path: Path,
    ) {
        let traced = Traced { tenant, call, leg, shown: 0 };
        self.traced.insert(self.seed.digest((call_id, path)), traced);
    }

    pub(crate) fn forget_trace(&mut self, call_id: &str, path: Path) {
        self.traced.remove(&self.seed.digest((call_id, path)));
    }

    pub(crate) fn forget_leg(&mut self, leg: LegId, call_id: &str, tag: &str, path: Path) {
        self.dialogs.remove(&self.seed.digest((call_id, tag)));
        self.forget_trace(call_id, path);
        self.media.remove(&leg);
    }

    pub(crate) fn is_recorded(&self, call: CallId) -> bool {
        self.recorded.contains(&call)
    }

    pub(crate) fn forget_call(&mut self, call: CallId) {
        self.recorded.remove(&call);
        self.tickets.retain(|_, owner| *owner != call);
    }

    pub(crate) fn dialog(&self, call_id: &str, tag: &str) -> Option<(CallId, LegId)> {
        self.dialogs.get(&self.seed.digest((call_id, tag))).copied()
    }

    pub(crate) fn client(&self, key: Key) -> Option<(CallId, LegId, Purpose)> {
        self.clients.get(&key).copied()
    }

    pub(crate) fn serve(&mut self, key: Key, call: CallId, leg: LegId) {
        self.servers.insert(key, (call, leg));
    }

    pub(crate) fn server(&self, key: Key) -> Option<(CallId, LegId)> {
        self.servers.get(&key).copied()
    }

    pub(crate) fn terminated(&mut self, key: Key) {
        self.clients.remove(&key);
        self.servers.remove(&key);
    }

    pub(crate) fn of_media(&self, leg: LegId) -> Option<CallId> {
        self.media.get(&leg).copied()
    }

    pub(crate) fn ticket(&mut self, ticket: Ticket) -> Option<CallId> {
        self.tickets.remove(&ticket)
    }

    /// Shows a message in the ladder of the leg that it belongs to, if any.
    pub(crate) fn trace(
        &mut self,
        now: Now,
        path: Path,
        sent: bool,
        bytes: &[u8],
        out: &mut VecDeque<Output>,
    ) {
        let Some(call_id) = call_id_of(bytes) else { return };
        let Some(traced) = self.traced.get_mut(&self.seed.digest((call_id, path))) else { return };
        if traced.shown >= TRACES_MAX {
            return;
        }
        traced.shown += 1;
        out.push_back(Output::Trace(Trace {
            tenant: traced.tenant,
            call: traced.call,
            leg: traced.leg,
            utc: now.utc,
            sent,
            text: ladder::redact(bytes),
        }));
    }
}

/// The Call-ID of a message without judging it: under its full or compact name, whatever the case.
fn call_id_of(bytes: &[u8]) -> Option<&str> {
    let mut from = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[std::mem::replace(&mut from, end + 1)..end];
        if !matches!(line.first(), Some(b'C' | b'c' | b'I' | b'i')) {
            continue;
        }
        let Some(at) = memchr::memchr(b':', line) else { continue };
        let name = line[..at].trim_ascii_end();
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            return std::str::from_utf8(line[at + 1..].trim_ascii()).ok();
        }
    }
    None
}

impl sip::transaction::Path for Path {
    fn is_reliable(&self) -> bool {
        self.flow.transport.is_reliable()
    }

    /// Datagrams are counted by their address alone: ports cost nothing. An office behind one address,
    /// or a carrier, has more to say than one phone.
    fn share(&self) -> (Self, usize) {
        if self.flow.transport.is_reliable() {
            return (*self, 1);
        }
        let host = std::net::SocketAddr::new(self.remote.ip().to_canonical(), 0);
        (Self { flow: self.flow, remote: host }, DATAGRAM_SHARES)
    }
}

impl Transport {
    /// As `sip` calls it.
    pub(crate) fn sip(self) -> sip::Transport {
        match self {
            Self::Udp => sip::Transport::Udp,
            Self::Tcp => sip::Transport::Tcp,
            Self::Tls => sip::Transport::Tls,
            Self::Ws => sip::Transport::Ws,
            Self::Wss => sip::Transport::Wss,
        }
    }

    /// The URI parameter that says it; UDP is what is meant without one.
    pub(crate) fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
            Self::Ws => ";transport=ws",
            Self::Wss => ";transport=wss",
        }
    }
}

/// Messages of one leg in the ladder. A call of hours with session refreshes has some hundred; a
/// phone that floods its own dialog fills no disk.
const TRACES_MAX: u32 = 600;

/// How many times a connection's share of the transactions one address may have over UDP: 4,096 of the
/// 8,000, which are the calls of an office that all ring at once, many times over.
const DATAGRAM_SHARES: usize = 16;
