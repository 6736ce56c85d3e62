//! Transactions (RFC 3261 §17, RFC 6026, RFC 4320): what makes one request and its answers out of
//! datagrams that are lost, doubled and late.
//!
//! One engine holds all of them. Drive it so: give each input to [`Transactions::handle`], drain
//! [`Transactions::poll_output`], and give [`Input::Timeout`] when [`Transactions::poll_timeout`] has
//! come. It acts as a user agent's core where the RFC splits the work between layers: it repeats a 2xx
//! until the ACK (§13.3.1.4), repeats a ringing every minute (§13.3.1.1) and builds ACKs for failures.
//!
//! *Matching.* A message belongs to a transaction only if branch, sent-by, method **and path** agree: a
//! CANCEL, ACK or response with a guessed or overheard branch does nothing from elsewhere. The price: a
//! peer that answers from another address than the one we sent to isn't heard. Branches without the magic
//! cookie (RFC 2543) are matched by the fields of §17.2.3. Texts are compared byte by byte: what is sent
//! again is the same bytes.
//!
//! *100 Trying* goes out at once for an INVITE: our answer waits for look-ups and the disk, so the
//! 200 ms of §17.2.1 can't be promised, and each repetition avoided is work saved on both sides.

mod client_invite;
mod client_other;
mod server_invite;
mod server_other;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use bytes::Bytes;
use pure::{Chance, HashSeed, Instant, Map, Now, Timers};

use self::client_invite::ClientInvite;
use self::client_other::ClientOther;
use self::server_invite::ServerInvite;
use self::server_other::ServerOther;
use self::turn::{Armed, Event, Turn};
use crate::{Message, Method, Name, Request, Response, Status};

/// All transactions of one node. See the module for how to drive it.
pub struct Transactions<P> {
    config: Config,
    chance: Chance,
    /// What [`Match`] and [`Ack`] are keyed by.
    seed: HashSeed,
    /// Boxed: half a minute of calls rests here, and the table moves all that it holds when it grows.
    live: Map<Key, Box<Slot<P>>>,
    by_match: Map<Match, Key>,
    /// INVITE server transactions whose 2xx waits for its ACK, by dialog and CSeq: that ACK is a
    /// transaction of its own and shares no branch (§17.1.1.3).
    by_ack: Map<Ack, Key>,
    /// All but those that rest on datagrams.
    by_path: Map<P, BTreeSet<Key>>,
    /// How many are at work under each [`Path::share`].
    by_share: Map<P, Share>,
    /// How many are at work: all that don't rest.
    working: usize,
    resting: Resting,
    timers: Timers<(Key, Timer)>,
    out: VecDeque<Output<P>>,
    next_key: u64,
}

/// Where a message came from or goes to: the caller's flow and remote address.
pub trait Path: Copy + Eq + Hash + fmt::Debug {
    /// True for TCP, TLS and WebSocket: nothing is repeated there, and nothing lingers.
    fn is_reliable(&self) -> bool;

    /// Under whom its transactions are counted, and how many times [`Config::per_path_max`] those may
    /// have together. A connection stands for itself; of datagrams anybody can have 65,535 paths.
    fn share(&self) -> (Self, usize) {
        (*self, 1)
    }
}

/// What one [`Path::share`] has under way.
#[derive(Clone, Copy, Default)]
struct Share {
    live: usize,
    /// Of these, calls for help that came in when it was full.
    help: usize,
}

/// Names one transaction; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A message arrived.
    Received { path: P, message: Message },
    /// A request that came back as [`Output::Overloaded`] and that the core, which knows dialogs and
    /// people, has judged: it may use the reserve of its rank. If even that is full it comes back once
    /// more, marked as admitted, and is not to be given again.
    Admit { path: P, request: Request, rank: Rank },
    /// Send a request as a client. The key comes from [`Transactions::reserve`]. An ACK is no transaction:
    /// transmit that for a 2xx directly. What goes on with a dialog has [`Rank::Progress`] anyway; `rank`
    /// is for what begins one: a call for help leaves however full the table is.
    Send { key: Key, path: P, request: Request, rank: Rank },
    /// Answer a request. Ignored where the transaction is over or was answered finally before.
    Respond { key: Key, response: Response },
    /// Give up an INVITE sent with this key. The CANCEL leaves when §9.1 allows: after a provisional. It
    /// is a transaction of the engine's own: outputs with its key need no attention.
    Cancel { key: Key },
    /// The path is broken: each transaction on it ends.
    Failed { path: P },
    /// The instant of `poll_timeout` has come.
    Timeout,
}

/// What to do, or what to know.
#[derive(Clone, Debug)]
pub enum Output<P> {
    Transmit {
        path: P,
        bytes: Bytes,
    },
    /// A new request, to be answered with [`Input::Respond`].
    NewRequest {
        key: Key,
        path: P,
        request: Request,
    },
    /// A CANCEL. Answer `key`: 200 where `invite` names the transaction it means (and that one 487, if it
    /// has no final answer yet), 481 where there is none (§9.2).
    Cancel {
        key: Key,
        path: P,
        request: Request,
        invite: Option<Key>,
    },
    /// The ACK of a 2xx. `invite` is the transaction that it ends; `None` where we know of none, such as
    /// after a restart.
    Ack {
        path: P,
        request: Request,
        invite: Option<Key>,
    },
    /// An answer to a request of ours. Each 2xx of an INVITE comes up, repeated ones and those of other
    /// forks too: the caller sends (again) the ACK of that dialog.
    Response {
        key: Key,
        response: Response,
    },
    /// A 2xx to an INVITE that is over. Someone believes in a call: ACK it and send BYE.
    Stray {
        path: P,
        response: Response,
    },
    /// The table or this path's share of it is full: answer 503 without a transaction. What was
    /// `admitted` already has no better chance: giving it again would go round for ever.
    Overloaded {
        path: P,
        request: Request,
        admitted: bool,
    },
    /// A request of ours was not sent: the table is full, or the key, branch or method can't be used.
    Refused {
        key: Key,
    },
    /// A timer ran out: B and F: nobody answered. C: ringing for too long, send [`Input::Cancel`].
    /// `Cancelled`: no 487 came. H: a failure was never acknowledged. `Retransmit2xx`: a 2xx wasn't, so
    /// send BYE (§13.3.1.4). `Unanswered`: we never answered. All but C end the transaction.
    Timeout {
        key: Key,
        timer: Timer,
    },
    TransportFailed {
        key: Key,
    },
    /// The key is free. Each transaction that was begun comes to this, once.
    Terminated {
        key: Key,
    },
}

/// How much of the table a new transaction may use. A stranger can say anything in a message, so only
/// what the engine or its core knows by itself raises a rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rank {
    /// Anybody's request.
    Ordinary,
    /// What goes on with work in progress: the CANCEL of a live INVITE, a request within a dialog of
    /// ours.
    Progress,
    /// A call for help of somebody who may call for help.
    Emergency,
}

/// Why the engine wakes. Letters are those of RFC 3261 §17 and RFC 6026 §7; D, I, J, K, M, and L after the ACK,
/// only let go of what rests, and are told to nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// INVITE sent again.
    A,
    /// INVITE without any answer.
    B,
    /// INVITE with provisional answers only (§16.6: more than three minutes).
    C,
    /// Other request sent again.
    E,
    /// Other request without a final answer.
    F,
    /// Failure of an INVITE sent again.
    G,
    /// Failure of an INVITE without an ACK.
    H,
    /// Server INVITE: a 2xx without an ACK.
    L,
    /// Server: the 100 to a request other than INVITE (RFC 4320 §4.1).
    Trying,
    /// A provisional is sent again so that no proxy gives up (§13.3.1.1).
    Provisional,
    /// A 2xx is sent again until its ACK (§13.3.1.4).
    Retransmit2xx,
    /// A cancelled INVITE whose 487 never came (§9.1).
    Cancelled,
    /// We ourselves never gave a final answer.
    Unanswered,
}

/// Times and bounds; the default is the RFC's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Estimate of a round trip.
    pub t1: Duration,
    /// Longest gap between repetitions of anything but an INVITE.
    pub t2: Duration,
    /// How long a message stays in the network.
    pub t4: Duration,
    /// Timer C.
    pub ringing_max: Duration,
    /// How long our own core may leave an INVITE without a final answer.
    pub unanswered_max: Duration,
    /// Transactions at work at once: those that are not yet answered, or whose answer may have to be said again
    /// by itself. At the bound a new request comes back as [`Output::Overloaded`].
    pub live_max: usize,
    /// Kept beyond `live_max` for [`Rank::Progress`], and as much again beyond that for
    /// [`Rank::Emergency`], which work in progress can't use.
    pub reserve: usize,
    /// Transactions at once of one [`Path::share`], whoever began them, before a new request from there
    /// comes back as [`Output::Overloaded`]: no single peer fills the table. [`Rank::Progress`] may have as many
    /// again; of [`Rank::Emergency`] there are [`HELP_PER_SHARE_MAX`] beside, so that nobody fills everybody's
    /// reserve with calls for help. What we send ourselves isn't held back by it.
    pub per_path_max: usize,
    /// Bytes that transactions may hold which are over and only absorb what is repeated (Timers D, I, J, K and L).
    /// At the bound the oldest is forgotten before its time: what is repeated so late is a new request, or an answer
    /// to nothing.
    pub resting_max: usize,
}

impl<P: Path> Transactions<P> {
    /// `chance` makes branches and hash seeds.
    pub fn new(config: Config, mut chance: Chance) -> Self {
        let seed = chance.hash_seed();
        Self {
            config,
            seed,
            live: Map::new(seed),
            by_match: Map::new(seed),
            by_ack: Map::new(chance.hash_seed()),
            by_path: Map::new(chance.hash_seed()),
            by_share: Map::new(chance.hash_seed()),
            working: 0,
            resting: Resting::default(),
            timers: Timers::new(),
            out: VecDeque::new(),
            next_key: 0,
            chance,
        }
    }

    /// A key for [`Input::Send`].
    pub fn reserve(&mut self) -> Key {
        self.next_key += 1;
        Key(self.next_key)
    }

    /// A branch that nobody guesses: the cookie and 128 random bits.
    pub fn branch(&mut self) -> String {
        format!("{}{:032x}", crate::header::BRANCH_COOKIE, self.chance.u128())
    }

    pub fn handle(&mut self, now: Now, input: Input<P>) {
        let now = now.instant;
        match input {
            Input::Received { path, message: Message::Request(request) } => {
                self.receive(now, path, request, None);
            }
            Input::Received { path, message: Message::Response(response) } => {
                self.receive_response(now, path, response);
            }
            Input::Admit { path, request, rank } => self.receive(now, path, request, Some(rank)),
            Input::Send { key, path, request, rank } => self.send(now, key, path, request, rank),
            Input::Respond { key, response } => {
                if self.live.get(&key).is_some_and(|slot| slot.machine.is_server()) {
                    self.step(now, key, Event::Respond(response));
                }
            }
            Input::Cancel { key } => self.cancel(now, key),
            Input::Failed { path } => {
                let broken: Vec<Key> =
                    self.by_path.get(&path).into_iter().flatten().copied().collect();
                for key in broken {
                    self.step(now, key, Event::Failed);
                }
            }
            Input::Timeout => {
                while let Some((key, timer)) = self.timers.pop(now) {
                    self.step(now, key, Event::Fired(timer));
                }
                while let Some(key) = self.resting.pop(now) {
                    self.bury(key);
                }
            }
        }
    }

    /// The next thing to do. Drain it after each input.
    pub fn poll_output(&mut self) -> Option<Output<P>> {
        self.out.pop_front()
    }

    /// When to give [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.resting.next()].into_iter().flatten().min()
    }

    /// Whether this transaction is still there to be answered: its connection may have broken.
    pub fn is_live(&self, key: Key) -> bool {
        self.live.contains_key(&key)
    }

    /// Transactions at this moment, those included that only absorb what is repeated.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Transactions that are not over: what [`Config::live_max`] and the reserves bound.
    pub fn at_work(&self) -> usize {
        self.working
    }

    /// What [`Config::resting_max`] bounds.
    pub fn resting_bytes(&self) -> usize {
        self.resting.bytes
    }

    /// Whether nothing is remembered of any transaction: no table holds more than it must.
    pub fn is_at_rest(&self) -> bool {
        self.live.is_empty()
            && self.by_match.is_empty()
            && self.by_ack.is_empty()
            && self.by_path.is_empty()
            && self.by_share.is_empty()
            && self.timers.is_empty()
            && self.working == 0
            && self.resting.bytes == 0
    }

    fn receive(&mut self, now: Instant, path: P, request: Request, admitted: Option<Rank>) {
        let matched = Match::of_request(self.seed, &request, path);
        let method = request.method();
        let known = self.by_match.get(&matched).copied();
        match (method, known) {
            // A refusal awaits this ACK. Where a 2xx does, the branch was used again by mistake.
            (Method::Ack, Some(key)) if self.live.get(&key).is_some_and(|s| s.ack.is_none()) => {
                return self.step(now, key, Event::Ack);
            }
            (Method::Ack, _) => return self.receive_ack(now, path, request),
            (_, Some(key)) => return self.step(now, key, Event::Repeated),
            (_, None) => {}
        }
        // Each INVITE has one CANCEL at most: another is a repetition. A To tag alone says nothing.
        let invite = (method == Method::Cancel)
            .then(|| Match::of(self.seed, &request, Method::Invite, path, Role::Server))
            .and_then(|invite| self.by_match.get(&invite).copied());
        let rank = match (admitted, invite) {
            (Some(rank), _) => rank,
            (None, Some(_)) => Rank::Progress,
            (None, None) => Rank::Ordinary,
        };
        if !self.has_room(rank) || !self.has_share(path, rank) {
            let admitted = admitted.is_some();
            return self.out.push_back(Output::Overloaded { path, request, admitted });
        }
        let key = self.reserve();
        let machine = match method {
            Method::Invite => Machine::ServerInvite(ServerInvite::new()),
            _ => Machine::ServerOther(ServerOther::new(&request)),
        };
        self.begin(key, path, matched, machine, rank == Rank::Emergency);
        self.step(now, key, Event::Begin(request.clone()));
        self.out.push_back(match method {
            Method::Cancel => Output::Cancel { key, path, request, invite },
            _ => Output::NewRequest { key, path, request },
        });
    }

    /// An ACK that shares no branch with an INVITE: that of a 2xx. It may arrive by another path (it goes
    /// to our Contact); that the sender knows our tag is its proof.
    fn receive_ack(&mut self, now: Instant, path: P, request: Request) {
        let invite = self.by_ack.get(&Ack::of(self.seed, request.headers())).copied();
        if let Some(key) = invite {
            let awaited = self.live.get(&key).is_some_and(|slot| slot.machine.awaits_ack());
            if !awaited {
                return; // said again
            }
            self.step(now, key, Event::Ack);
        }
        self.out.push_back(Output::Ack { path, request, invite });
    }

    fn receive_response(&mut self, now: Instant, path: P, response: Response) {
        let matched = Match::of_response(self.seed, &response, path);
        if let Some(key) = self.by_match.get(&matched).copied() {
            return self.step(now, key, Event::Response(response));
        }
        let cseq = response.headers().cseq();
        if response.status().is_success() && cseq.method == Method::Invite {
            self.out.push_back(Output::Stray { path, response });
        }
    }

    fn send(&mut self, now: Instant, key: Key, path: P, request: Request, rank: Rank) {
        let method = request.method();
        let matched = Match::of(self.seed, &request, method, path, Role::Client);
        // What ends a call must leave, whatever the load.
        let rank = match method {
            Method::Cancel => rank.max(Rank::Progress),
            _ if request.headers().to().tag().is_some() => rank.max(Rank::Progress),
            _ => rank,
        };
        // The answer carries our branch alone, so it must be one of RFC 3261.
        let usable = request.headers().top_via().rfc3261_branch().is_some()
            && method != Method::Ack
            && key.0 <= self.next_key
            && !self.live.contains_key(&key)
            && !self.by_match.contains_key(&matched);
        if !usable || !self.has_room(rank) {
            return self.out.push_back(Output::Refused { key });
        }
        let machine = match method {
            Method::Invite => Machine::ClientInvite(ClientInvite::new(&request)),
            _ => Machine::ClientOther(ClientOther::new(&request)),
        };
        self.begin(key, path, matched, machine, false);
        self.step(now, key, Event::Begin(request));
    }

    fn cancel(&mut self, now: Instant, key: Key) {
        let is_invite = |slot: &Slot<P>| matches!(slot.machine, Machine::ClientInvite(_));
        if self.live.get(&key).is_some_and(|slot| is_invite(slot)) {
            self.step(now, key, Event::Cancel);
        }
    }

    fn has_room(&self, rank: Rank) -> bool {
        let reserve = match rank {
            Rank::Ordinary => 0,
            Rank::Progress => self.config.reserve,
            Rank::Emergency => self.config.reserve.saturating_mul(2),
        };
        self.working < self.config.live_max.saturating_add(reserve)
    }

    /// Whether one more from this path leaves enough for everybody else.
    fn has_share(&self, path: P, rank: Rank) -> bool {
        let (whose, times) = path.share();
        let share = self.by_share.get(&whose).copied().unwrap_or_default();
        let own = self.config.per_path_max.saturating_mul(times);
        match rank {
            Rank::Ordinary => share.live < own,
            Rank::Progress => share.live < own.saturating_mul(2),
            Rank::Emergency => share.help < HELP_PER_SHARE_MAX,
        }
    }

    /// Whether more than half of what may be begun from here is under way: time to answer without a
    /// transaction what is refused anyway. False for a request that has one.
    pub fn is_pressed(&self, path: P, request: &Request) -> bool {
        let (whose, times) = path.share();
        let share = self.by_share.get(&whose).copied().unwrap_or_default();
        share.live > self.config.per_path_max.saturating_mul(times) / 2
            && !self.by_match.contains_key(&Match::of_request(self.seed, request, path))
    }

    fn begin(&mut self, key: Key, path: P, matched: Match, machine: Machine, help: bool) {
        self.by_match.insert(matched, key);
        self.by_path.get_or_insert_with(path, BTreeSet::new).insert(key);
        let share = self.by_share.get_or_insert_with(path.share().0, Share::default);
        share.live += 1;
        share.help += usize::from(help);
        self.working += 1;
        let armed = Armed::default();
        let slot = Slot { path, matched, help, ack: None, armed, machine, rests: None };
        self.live.insert(key, Box::new(slot));
    }

    /// Gives one event to one machine, and buries it where it is over.
    fn step(&mut self, now: Instant, key: Key, event: Event) {
        let Some(slot) = self.live.get_mut(&key) else {
            return;
        };
        // A 2xx names the dialog whose ACK it waits for.
        if let (Machine::ServerInvite(ServerInvite::Proceeding(_)), Event::Respond(response)) =
            (&slot.machine, &event)
            && response.status().is_success()
        {
            let ack = Ack::of(self.seed, response.headers());
            slot.ack = Some(ack);
            self.by_ack.insert(ack, key);
        }
        let mut turn = Turn {
            now,
            key,
            path: slot.path,
            config: &self.config,
            armed: &mut slot.armed,
            timers: &mut self.timers,
            out: &mut self.out,
            cancel: None,
            rest: None,
        };
        let machine = std::mem::replace(&mut slot.machine, Machine::Over);
        slot.machine = match machine {
            Machine::ClientInvite(machine) => match machine.handle(&mut turn, event) {
                ClientInvite::Terminated => Machine::Over,
                machine => Machine::ClientInvite(machine),
            },
            Machine::ClientOther(machine) => match machine.handle(&mut turn, event) {
                ClientOther::Terminated => Machine::Over,
                machine => Machine::ClientOther(machine),
            },
            Machine::ServerInvite(machine) => match machine.handle(&mut turn, event) {
                ServerInvite::Terminated => Machine::Over,
                machine => Machine::ServerInvite(machine),
            },
            Machine::ServerOther(machine) => match machine.handle(&mut turn, event) {
                ServerOther::Terminated => Machine::Over,
                machine => Machine::ServerOther(machine),
            },
            Machine::Over => Machine::Over,
        };
        let (path, cancel, rest) = (slot.path, turn.cancel.take(), turn.rest);
        if let Machine::Over = slot.machine {
            turn.disarm();
            self.bury(key);
        } else if let Some(span) = rest {
            self.lay_to_rest(now, key, span);
        }
        // The CANCEL is a transaction of its own beside the INVITE it shares the branch with (§9.1).
        if let Some(request) = cancel {
            let key = self.reserve();
            self.send(now, key, path, request, Rank::Progress);
        }
    }

    /// From now on the transaction only absorbs what is repeated: it is no work under way any more. What keeps a
    /// message that is longer than honest ones stays counted until it is forgotten: a peer chooses how long it is.
    fn lay_to_rest(&mut self, now: Instant, key: Key, span: Duration) {
        let Some(slot) = self.live.get_mut(&key) else { return };
        let (path, help, kept) = (slot.path, slot.help, slot.machine.bytes_kept());
        let may_go = slot.machine.may_be_forgotten();
        let bytes = if may_go && kept <= KEPT_MAX { RESTING_BYTES + kept } else { 0 };
        if kept <= KEPT_MAX {
            slot.rests = Some(bytes);
            self.is_at_work_no_more(path, help);
        }
        if !path.is_reliable() {
            self.leave_path(path, key);
        }
        self.resting.push(now + span, (span, may_go), key, bytes);
        while self.resting.bytes > self.config.resting_max
            && let Some(oldest) = self.resting.pop_oldest()
        {
            self.bury(oldest);
        }
    }

    fn is_at_work_no_more(&mut self, path: P, help: bool) {
        self.working -= 1;
        let whose = path.share().0;
        if let Some(share) = self.by_share.get_mut(&whose) {
            share.live -= 1;
            share.help -= usize::from(help);
            if share.live == 0 {
                self.by_share.remove(&whose);
            }
        }
    }

    fn leave_path(&mut self, path: P, key: Key) {
        if let Some(keys) = self.by_path.get_mut(&path) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    /// Nothing where it was buried before.
    fn bury(&mut self, key: Key) {
        let Some(slot) = self.live.remove(&key) else {
            return;
        };
        self.by_match.remove(&slot.matched);
        // Two transactions may claim one dialog and CSeq (a request merged on its way): the later has it.
        if let Some(ack) = slot.ack
            && self.by_ack.get(&ack) == Some(&key)
        {
            self.by_ack.remove(&ack);
        }
        match slot.rests {
            Some(bytes) => self.resting.bytes -= bytes,
            None => self.is_at_work_no_more(slot.path, slot.help),
        }
        self.leave_path(slot.path, key);
        self.out.push_back(Output::Terminated { key });
    }
}

/// Transactions that are over, in the order in which they will be forgotten. There are few spans, and with one
/// span who began to rest first is forgotten first: a queue each, and no deadline to sort.
#[derive(Default)]
struct Resting {
    queues: BTreeMap<(Duration, bool), VecDeque<(Instant, Key)>>,
    /// What those hold that are still there and may be forgotten early.
    bytes: usize,
}

impl Resting {
    fn push(&mut self, at: Instant, queue: (Duration, bool), key: Key, bytes: usize) {
        self.queues.entry(queue).or_default().push_back((at, key));
        self.bytes += bytes;
    }

    fn next(&self) -> Option<Instant> {
        self.queues.values().filter_map(|queue| queue.front()).map(|(at, _)| *at).min()
    }

    /// The first whose time has come.
    fn pop(&mut self, now: Instant) -> Option<Key> {
        let due =
            |queue: &&mut VecDeque<(Instant, Key)>| queue.front().is_some_and(|(at, _)| *at <= now);
        let queue = self.queues.values_mut().find(due)?;
        queue.pop_front().map(|(_, key)| key)
    }

    /// The oldest that may be forgotten early, of those that rest the longest.
    fn pop_oldest(&mut self) -> Option<Key> {
        let may_go = self.queues.iter_mut().rev().filter(|((_, may_go), _)| *may_go);
        may_go.map(|(_, queue)| queue).find_map(VecDeque::pop_front).map(|(_, key)| key)
    }
}

impl<P> fmt::Debug for Transactions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transactions({} live, {} timers)", self.live.len(), self.timers.len())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            t1: T1,
            t2: T2,
            t4: T4,
            ringing_max: RINGING_MAX,
            unanswered_max: UNANSWERED_MAX,
            live_max: LIVE_MAX,
            reserve: RESERVE,
            per_path_max: PER_PATH_MAX,
            resting_max: RESTING_MAX,
        }
    }
}

impl Config {
    /// Timers B, F, H (on unreliable paths), J, L and M.
    fn t1_64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// How long a client's Timer E takes to reach T2 (RFC 4320 §4.1): 3.5 s by default.
    fn until_t2(&self) -> Duration {
        let (mut gap, mut sum) = (self.t1, Duration::ZERO);
        while gap < self.t2 && !gap.is_zero() {
            sum += gap;
            gap *= 2;
        }
        sum
    }
}

struct Slot<P> {
    path: P,
    matched: Match,
    /// It was admitted as a call for help.
    help: bool,
    ack: Option<Ack>,
    armed: Armed,
    machine: Machine,
    /// It is over and absorbs what is repeated; what it counts for in [`Resting::bytes`].
    rests: Option<usize>,
}

enum Machine {
    ClientInvite(ClientInvite),
    ClientOther(ClientOther),
    ServerInvite(ServerInvite),
    ServerOther(ServerOther),
    Over,
}

impl Machine {
    fn awaits_ack(&self) -> bool {
        matches!(self, Self::ServerInvite(ServerInvite::Accepted(_)))
    }

    fn is_server(&self) -> bool {
        match self {
            Self::ServerInvite(_) | Self::ServerOther(_) => true,
            Self::ClientInvite(_) | Self::ClientOther(_) | Self::Over => false,
        }
    }

    /// What it keeps to say it again.
    fn bytes_kept(&self) -> usize {
        match self {
            Self::ServerOther(ServerOther::Completed(completed)) => completed.len(),
            Self::ClientInvite(ClientInvite::Completed(completed)) => completed.len(),
            _ => 0,
        }
    }

    /// All but the INVITE of ours that was answered: what comes to it late is a call that must be ended.
    fn may_be_forgotten(&self) -> bool {
        !matches!(self, Self::ClientInvite(ClientInvite::Accepted))
    }
}

/// What tells one transaction from another (§17.1.3, §17.2.3): a digest of role, method, path, branch and sent-by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Match(u128);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Role {
    Client,
    Server,
}

impl Match {
    fn of_request<P: Path>(seed: HashSeed, request: &Request, path: P) -> Self {
        let method = match request.method() {
            // The ACK of a failure belongs to its INVITE (§17.2.3).
            Method::Ack => Method::Invite,
            method => method,
        };
        Self::of(seed, request, method, path, Role::Server)
    }

    fn of<P: Path>(seed: HashSeed, request: &Request, method: Method, path: P, role: Role) -> Self {
        let headers = request.headers();
        let via = headers.top_via();
        let Some(branch) = via.rfc3261_branch() else {
            // RFC 2543, as §17.2.3 has it. The To tag is left out: an INVITE has none, its ACK ours.
            let from = headers.from();
            let uri = request.uri();
            let own = (uri.as_str(), from.tag(), headers.call_id(), headers.cseq().number);
            return Self(seed.digest((role, method, path, own, via.as_str())));
        };
        Self(seed.digest((role, method, path, branch, via.host_str(), via.port())))
    }

    fn of_response<P: Path>(seed: HashSeed, response: &Response, path: P) -> Self {
        let via = response.headers().top_via();
        let method = response.headers().cseq().method;
        // Ours have one; what has none matches nothing.
        let branch = via.rfc3261_branch().unwrap_or_default();
        Self(seed.digest((Role::Client, method, path, branch, via.host_str(), via.port())))
    }
}

/// Which 2xx an ACK means: a digest of dialog and CSeq number (§13.2.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Ack(u128);

impl Ack {
    fn of(seed: HashSeed, headers: &crate::Headers) -> Self {
        let (from, to) = (headers.from(), headers.to());
        Self(seed.digest((headers.call_id(), from.tag(), to.tag(), headers.cseq().number)))
    }
}

/// The ACK of a failure (§17.1.1.3) or the CANCEL (§9.1): both repeat the INVITE's target, Via, Route,
/// From, Call-ID and CSeq number; only the ACK's To is the answer's. `None` where it doesn't fit into a
/// message, which an INVITE that was itself sent leaves no room for but a response's long To may.
fn companion(invite: &Request, method: Method, to: &str) -> Option<Request> {
    let headers = invite.headers();
    let mut builder = Request::builder(method, invite.uri().as_str())
        .header(Name::Via, headers.top_via().as_str())
        .max_forwards(crate::dialog::MAX_FORWARDS);
    for route in headers.get_all(Name::Route) {
        builder = builder.header(Name::Route, route);
    }
    builder
        .header(Name::From, headers.get(Name::From).unwrap_or_default())
        .header(Name::To, to)
        .call_id(headers.call_id())
        .cseq(headers.cseq().number)
        .build()
        .ok()
}

/// What anybody hears who has shown nothing of himself: the challenge, and that there is no such call. It is
/// not waited on and not repeated (RFC 3261 §8.2.7): nobody without an account holds a place, and whose
/// address was forged hears it once. Where it was lost, the request comes again and hears it again.
fn is_said_once(status: Status) -> bool {
    status.is_challenge() || status == Status::CALL_DOES_NOT_EXIST
}

/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2.
const T2: Duration = Duration::from_secs(4);
/// RFC 3261 §17.1.2.2.
const T4: Duration = Duration::from_secs(5);
/// Timer D on an unreliable path: at least 32 seconds (§17.1.1.2).
const D_MIN: Duration = Duration::from_secs(32);
/// Timer C: more than three minutes (§16.6).
const RINGING_MAX: Duration = Duration::from_secs(185);
/// Longer than any Timer C, so that the far end gives up first; short enough to free a leak.
const UNANSWERED_MAX: Duration = Duration::from_secs(600);
/// A provisional is repeated each minute (§13.3.1.1).
const PROVISIONAL_GAP: Duration = Duration::from_secs(60);
/// About 1 to 3 KiB each: some hundred MiB at the worst.
const LIVE_MAX: usize = 50_000;
/// Calls for help at once that one [`Path::share`] may have beside what it has anyway: an office of forty
/// desks, and nobody fills the reserve that all have together.
pub const HELP_PER_SHARE_MAX: usize = 16;
/// A fifth more for what goes on with calls, and as much again for emergencies.
const RESERVE: usize = 10_000;
/// What one that rests holds beside its answer, about: its place in each table.
const RESTING_BYTES: usize = 512;
/// The longest answer, and the longest ACK, that honest peers bring about has less: two dozen Via rows.
const KEPT_MAX: usize = 4 * 1_024;
/// A second of 2,000 calls leaves some 4,000 of them, about 1 KiB each: they are absorbed for 32 s.
const RESTING_MAX: usize = 128 * 1_024 * 1_024;
/// A phone has a handful; this leaves room for a hundred keys of a switchboard.
const PER_PATH_MAX: usize = 256;
