//! The one thread that runs the exchange: inputs in, outputs carried out, in order.
//!
//! It runs to completion: take a batch of inputs, hand each to the engine with one `Now`, carry out
//! what comes back, and only then look for more. It waits for nothing but its inbox: connections,
//! media, the store and look-ups have threads of their own and answer through the same inbox.
//!
//! **A panic inside the engine** costs the input that met it. The engine is thrown away and built
//! anew from what is durable (the calls' snapshots among it) and from the connections that are
//! still open, while the media threads run on. Media of calls that the new engine doesn't ask about
//! is closed after [`ORPHANS_AFTER`]. What was asked of the former engine is answered with "unavailable",
//! and tickets of the former are not given to the new one. A fault that keeps coming back
//! ([`FAULTS_MAX`] within [`FAULTS_WITHIN`]) ends the process: its supervisor starts it afresh.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use guard::admission;
use guard::fact::{Fact, Severity};
use guard::id::{NodeId, TenantId};
use pbx::command::{Command, Reply};
use pbx::flow::{FlowId, FlowOpened, Path};
use pbx::io::{Answer, ConnectError, Far, Input, Output, PersistError, Query, Ticket, Trace};
use pbx::record::Row;
use pure::{Instant, Now};
use rtp::relay::{self, EndpointId};
use store::Noted;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::flows::{Credit, Outlet, Sink, Unsent};
use crate::media::{self, Media};

/// The exchange, or what stands in for it in a test.
pub(crate) trait Engine {
    fn handle(&mut self, now: Now, input: Input);
    fn poll_output(&mut self) -> Option<Output>;
    fn poll_timeout(&self) -> Option<Instant>;
}

/// Where outputs go that are neither SIP nor media. Nothing here may wait.
pub(crate) trait Outside {
    type Engine: Engine;
    /// Keeps rows, and answers the ticket through [`Inbox::persisted`].
    fn persist(&mut self, receipt: Option<Receipt>, rows: Vec<Row>);
    /// Keeps rows and the facts that say so, or neither, and answers as for [`Self::persist`].
    fn change(&mut self, receipt: Receipt, rows: Vec<Row>, facts: Vec<Noted>);
    /// The store has answered, whichever engine asked.
    fn persisted(&mut self, receipt: Receipt, durable: bool);
    fn fact(&mut self, now: Now, tenant: Option<TenantId>, fact: Fact);
    fn trace(&mut self, trace: Trace);
    /// The inputs that were there are handled: what nobody waits for goes on.
    fn flush(&mut self);
    /// For the gate before the parser.
    fn admission(&mut self, change: admission::Change);
    /// Answers through [`Inbox::connected`].
    fn connect(&mut self, receipt: Receipt, to: Far);
    /// Answers through [`Inbox::looked_up`].
    fn look_up(&mut self, receipt: Receipt, query: Query);
    /// A fresh engine from what is durable.
    fn rebuild(&mut self, now: Now) -> Result<Self::Engine, String>;
}

/// A ticket of one life of the engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Receipt {
    incarnation: u64,
    ticket: Ticket,
}

/// What reaches the thread.
#[derive(Debug)]
enum Event {
    Received { path: Path, bytes: Bytes, credit: Credit },
    Opened(Box<FlowOpened>, Outlet),
    Connected(Receipt, Result<FlowId, ConnectError>),
    Closed(FlowId),
    Media(relay::Event),
    MediaFault(String),
    Persisted(Receipt, Result<(), PersistError>),
    LookedUp(Receipt, Answer),
    Ask(Command, oneshot::Sender<Reply>),
    Fact(Fact),
    Stop,
}

/// The way in. It never waits: what could grow without bound holds credits (messages of flows), and
/// all else answers something that was asked.
#[derive(Clone)]
pub(crate) struct Inbox(mpsc::Sender<Event>);

/// What the thread tells the rest of the process.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When it last looked at its inbox, on the node's clock.
    beat: AtomicU64,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Running,
    /// Nothing is up any more after a drain.
    Drained,
    /// The engine fails again and again: the process must be started afresh.
    Failing,
}

/// The exchange did not answer: it is ending, was rebuilt meanwhile, or is overloaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unavailable;

pub(crate) struct ExchangeThread<O: Outside> {
    node: NodeId,
    clock: Clock,
    engine: O::Engine,
    outside: O,
    media: Media,
    events: mpsc::Receiver<Event>,
    pulse: Arc<Pulse>,
    flows: BTreeMap<FlowId, Flow>,
    asked: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    tickets: u64,
    /// Inputs that carrying out an output gave rise to.
    pending: VecDeque<Input>,
    incarnation: u64,
    faults: VecDeque<Instant>,
    /// Endpoints of the former engine, and until when the present one may claim them.
    orphans: Option<(Instant, BTreeSet<EndpointId>)>,
    renewed: Option<Instant>,
}

struct Flow {
    opened: FlowOpened,
    /// `None` once we want it closed.
    outlet: Option<Outlet>,
}

/// What is left when the thread has ended.
pub(crate) struct Remains<O> {
    pub(crate) outside: O,
    pub(crate) media: Media,
}

/// The way in, and the end that [`ExchangeThread`] takes.
pub(crate) fn inbox() -> (Inbox, Events) {
    let (sender, receiver) = mpsc::channel();
    (Inbox(sender), Events(receiver))
}

pub(crate) struct Events(mpsc::Receiver<Event>);

#[cfg(test)]
impl Events {
    /// The next that is written down.
    pub(crate) fn fact(&self) -> Fact {
        loop {
            let event = self.0.recv_timeout(Duration::from_secs(10)).expect("a fact is on its way");
            if let Event::Fact(fact) = event {
                return fact;
            }
        }
    }

    /// Stands in for the exchange: answers whoever asks, until nobody can any more.
    pub(crate) fn answer(self, mut with: impl FnMut(Command) -> Reply) {
        while let Ok(event) = self.0.recv() {
            if let Event::Ask(command, reply) = event {
                let _ = reply.send(with(command));
            }
        }
    }
}

impl Inbox {
    /// Asks the exchange and waits for its answer.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, Unavailable> {
        let (sender, reply) = oneshot::channel();
        // A carrier is given its time to answer.
        let longest = match command {
            Command::TestTrunk { .. } => TEST_ANSWER_MAX,
            _ => ANSWER_MAX,
        };
        self.send(Event::Ask(command, sender));
        match tokio::time::timeout(longest, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }

    pub(crate) fn persisted(&self, receipt: Receipt, result: Result<(), PersistError>) {
        self.send(Event::Persisted(receipt, result));
    }

    pub(crate) fn connected(&self, receipt: Receipt, result: Result<FlowId, ConnectError>) {
        self.send(Event::Connected(receipt, result));
    }

    pub(crate) fn looked_up(&self, receipt: Receipt, answer: Answer) {
        self.send(Event::LookedUp(receipt, answer));
    }

    /// Writes something down that happened at the edge.
    pub(crate) fn fact(&self, fact: Fact) {
        self.send(Event::Fact(fact));
    }

    pub(crate) fn stop(&self) {
        self.send(Event::Stop);
    }

    fn send(&self, event: Event) {
        // Nobody listens once the process is ending, and nothing is lost by it: whoever waits for an
        // answer sees its channel close.
        let _ = self.0.send(event);
    }
}

impl Sink for Inbox {
    fn opened(&self, opened: FlowOpened, outlet: Outlet) {
        self.send(Event::Opened(Box::new(opened), outlet));
    }

    fn received(&self, path: Path, bytes: Bytes, credit: Credit) {
        self.send(Event::Received { path, bytes, credit });
    }

    fn closed(&self, flow: FlowId) {
        self.send(Event::Closed(flow));
    }
}

impl media::Listener for Inbox {
    fn event(&self, event: relay::Event) {
        self.send(Event::Media(event));
    }

    fn panicked(&self, message: String) {
        self.send(Event::MediaFault(message));
    }
}

impl Pulse {
    pub(crate) fn new() -> (Arc<Self>, watch::Receiver<State>) {
        let (state, changes) = watch::channel(State::Running);
        (Arc::new(Self { beat: AtomicU64::new(0), state }), changes)
    }

    /// Whether the thread has looked at its inbox lately. It does so at least every
    /// [`RENEW_EVERY`].
    pub(crate) fn is_alive(&self, now: Now) -> bool {
        now.instant.since(Instant(self.beat.load(Ordering::Relaxed))) < BEAT_MAX
    }
}

impl<O: Outside> ExchangeThread<O> {
    pub(crate) fn new(
        node: NodeId,
        clock: Clock,
        engine: O::Engine,
        outside: O,
        media: Media,
        events: Events,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            node,
            clock,
            engine,
            outside,
            media,
            events: events.0,
            pulse,
            flows: BTreeMap::new(),
            asked: BTreeMap::new(),
            tickets: 0,
            pending: VecDeque::new(),
            incarnation: 0,
            faults: VecDeque::new(),
            orphans: None,
            renewed: None,
        }
    }

    /// Runs until [`Inbox::stop`].
    pub(crate) fn run(mut self) -> Remains<O> {
        loop {
            let now = self.clock.now();
            self.pulse.beat.store(now.instant.0, Ordering::Relaxed);
            self.upkeep(now);
            // What an engine wants to say before its first input (orphans of a former process).
            self.drain(now);
            self.media.flush();
            self.outside.flush();
            let wait = self.next_deadline().map_or(RENEW_EVERY, |at| at.since(now.instant));
            let first = match self.events.recv_timeout(wait.min(RENEW_EVERY)) {
                Ok(event) => Some(event),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let now = self.clock.now();
            let rest = std::iter::from_fn(|| self.events.try_recv().ok()).take(BATCH - 1);
            let batch: Vec<Event> = first.into_iter().chain(rest).collect();
            for event in batch {
                if self.take(now, event).is_break() {
                    self.media.flush();
                    self.outside.flush();
                    return Remains { outside: self.outside, media: self.media };
                }
            }
            if self.engine.poll_timeout().is_some_and(|at| at <= now.instant) {
                self.step(now, Input::Wake);
            }
        }
        Remains { outside: self.outside, media: self.media }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let orphans = self.orphans.as_ref().map(|(at, _)| *at);
        [self.engine.poll_timeout(), orphans].into_iter().flatten().min()
    }

    /// Turns an event into an input and hands it over.
    fn take(&mut self, now: Now, event: Event) -> ControlFlow<()> {
        match event {
            Event::Received { path, bytes, credit } => {
                self.step(now, Input::Received { path, bytes });
                drop(credit);
            }
            Event::Opened(opened, outlet) => {
                let opened = *opened;
                let flow = Flow { opened: opened.clone(), outlet: Some(outlet) };
                self.flows.insert(opened.flow, flow);
                self.step(now, Input::FlowOpened(opened));
            }
            Event::Closed(flow) => {
                if self.flows.remove(&flow).is_some() {
                    self.step(now, Input::FlowClosed { flow });
                }
            }
            Event::Media(event) => {
                self.media.observe(&event);
                self.step(now, Input::Media(event));
            }
            Event::MediaFault(message) => self.panicked(now, "media", message),
            Event::Persisted(receipt, result) => {
                let Receipt { incarnation, ticket } = receipt;
                self.outside.persisted(receipt, result.is_ok());
                if incarnation == self.incarnation {
                    self.step(now, Input::Persisted { ticket, result });
                }
            }
            Event::Connected(Receipt { incarnation, ticket }, result) => {
                if incarnation == self.incarnation {
                    self.step(now, Input::Connected { ticket, result });
                } else if let Ok(flow) = result {
                    // Whoever wanted it is gone; the present engine opens its own.
                    self.close(flow);
                }
            }
            Event::LookedUp(Receipt { incarnation, ticket }, answer) => {
                if incarnation == self.incarnation {
                    self.step(now, Input::LookedUp { ticket, answer });
                }
            }
            Event::Ask(command, reply) => {
                // Whoever gave up waiting makes room; when all still wait, the newest is turned away.
                self.asked.retain(|_, asker| !asker.is_closed());
                if self.asked.len() < ASKED_MAX {
                    self.tickets += 1;
                    let ticket = Ticket(self.tickets);
                    self.asked.insert(ticket, reply);
                    self.step(now, Input::Command { ticket, command });
                }
            }
            Event::Fact(fact) => self.fact(now, None, fact),
            Event::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// One input, and all that follows from it.
    fn step(&mut self, now: Now, input: Input) {
        self.pending.push_back(input);
        while let Some(input) = self.pending.pop_front() {
            let engine = &mut self.engine;
            match catch_unwind(AssertUnwindSafe(|| engine.handle(now, input))) {
                Ok(()) => self.drain(now),
                Err(panic) => self.recover(now, &*panic),
            }
        }
    }

    fn drain(&mut self, now: Now) {
        loop {
            let engine = &mut self.engine;
            match catch_unwind(AssertUnwindSafe(|| engine.poll_output())) {
                Ok(Some(output)) => self.carry_out(now, output),
                Ok(None) => break,
                Err(panic) => self.recover(now, &*panic),
            }
        }
    }

    fn carry_out(&mut self, now: Now, output: Output) {
        match output {
            Output::Transmit { path, bytes } => {
                let flow = self.flows.get_mut(&path.flow);
                let sent = flow.is_some_and(|flow| {
                    let written = flow.outlet.as_ref().map(|out| out.write(path.remote, bytes));
                    if written == Some(Err(Unsent::Connection)) {
                        flow.outlet = None;
                    }
                    written == Some(Ok(()))
                });
                if !sent {
                    self.pending.push_back(Input::TransmitFailed { path });
                }
            }
            Output::Connect { ticket, to } => {
                self.outside.connect(Receipt { incarnation: self.incarnation, ticket }, to);
            }
            Output::CloseFlow { flow } => self.close(flow),
            Output::Media(command) => {
                if let Some((_, orphans)) = &mut self.orphans {
                    claim(orphans, &command);
                }
                self.media.send(command);
            }
            Output::Lookup { ticket, query } => {
                let receipt = Receipt { incarnation: self.incarnation, ticket };
                self.outside.look_up(receipt, query);
            }
            Output::Persist { ticket, rows } => {
                let incarnation = self.incarnation;
                let receipt = ticket.map(|ticket| Receipt { incarnation, ticket });
                self.outside.persist(receipt, rows);
            }
            Output::Change { ticket, tenant, rows, facts } => {
                let receipt = Receipt { incarnation: self.incarnation, ticket };
                let noted = |fact| Noted { now, tenant, fact };
                self.outside.change(receipt, rows, facts.into_iter().map(noted).collect());
            }
            Output::Told(fact) => log(&fact),
            Output::Admission(change) => self.outside.admission(change),
            Output::Fact { tenant, fact } => self.fact(now, tenant, fact),
            Output::Trace(trace) => self.outside.trace(trace),
            Output::Reply { ticket, reply } => {
                if let Some(asker) = self.asked.remove(&ticket) {
                    // An asker that gave up needs no answer.
                    let _ = asker.send(reply);
                }
            }
            Output::Drained => {
                self.pulse.state.send_if_modified(|state| {
                    let first = *state == State::Running;
                    if first {
                        *state = State::Drained;
                    }
                    first
                });
            }
        }
    }

    /// Lets go of a connection, which flushes and closes it; `Closed` follows from the connection itself.
    /// A socket for datagrams stays: it is everybody's.
    fn close(&mut self, flow: FlowId) {
        if let Some(flow) = self.flows.get_mut(&flow)
            && let Some(Outlet::Connection(_)) = &flow.outlet
        {
            flow.outlet = None;
        }
    }

    /// Replaces an engine that panicked.
    fn recover(&mut self, now: Now, panic: &(dyn std::any::Any + Send)) {
        self.incarnation += 1;
        self.asked.clear();
        self.pending.clear();
        self.panicked(now, "the exchange", crate::panic_message(panic));
        self.faults.push_back(now.instant);
        while self.faults.front().is_some_and(|at| now.instant.since(*at) > FAULTS_WITHIN) {
            self.faults.pop_front();
        }
        let outside = &mut self.outside;
        let rebuilt = match catch_unwind(AssertUnwindSafe(|| outside.rebuild(now))) {
            Ok(rebuilt) => rebuilt,
            Err(panic) => Err(crate::panic_message(&*panic)),
        };
        let failing = self.faults.len() > FAULTS_MAX;
        match rebuilt {
            Ok(engine) if !failing => self.engine = engine,
            Ok(_) => {
                tracing::error!("the exchange fails again and again");
                self.pulse.state.send_replace(State::Failing);
            }
            Err(error) => {
                tracing::error!(error, "the exchange could not be rebuilt");
                self.pulse.state.send_replace(State::Failing);
            }
        }
        self.orphans = Some((now.instant + ORPHANS_AFTER, self.media.open()));
        // The new engine doesn't know what the former one connected to carriers for: it connects anew.
        for flow in self.flows.values_mut() {
            flow.outlet.take_if(|outlet| outlet.is_ours());
        }
        let flows = self.flows.values().filter(|flow| flow.outlet.is_some());
        self.pending.extend(flows.map(|flow| Input::FlowOpened(flow.opened.clone())));
    }

    /// Keeps the media alive, and ends what a former engine left behind.
    fn upkeep(&mut self, now: Now) {
        if self.renewed.is_none_or(|at| now.instant.since(at) >= RENEW_EVERY) {
            self.renewed = Some(now.instant);
            self.media.send(relay::Command::Renew);
        }
        if let Some((_, orphans)) = self.orphans.take_if(|(at, _)| *at <= now.instant) {
            for endpoint in orphans {
                self.media.send(relay::Command::Close { endpoint });
            }
        }
    }

    fn panicked(&mut self, now: Now, part: &str, message: String) {
        let fact = Fact::PanicContained { node: self.node, part: part.to_owned(), message };
        self.fact(now, None, fact);
    }

    fn fact(&mut self, now: Now, tenant: Option<TenantId>, fact: Fact) {
        log(&fact);
        self.outside.fact(now, tenant, fact);
    }
}

/// An endpoint that the new engine speaks of is no orphan.
fn claim(orphans: &mut BTreeSet<EndpointId>, command: &relay::Command) {
    use relay::Command::{Allocate, Arm, Close, Renew};
    match command {
        Allocate { endpoint, .. } | Arm { endpoint, .. } | Close { endpoint } => {
            orphans.remove(endpoint);
        }
        Renew => {}
    }
}

/// Facts are the log's events. Personal fields print masked.
pub(crate) fn log(fact: &Fact) {
    let (number, name) = (fact.number(), fact.name());
    match fact.severity() {
        Severity::Info => tracing::debug!(fact = number, name, "{fact}"),
        Severity::Notice => tracing::info!(fact = number, name, "{fact}"),
        Severity::Warn => tracing::warn!(fact = number, name, "{fact}"),
        Severity::Error => tracing::error!(fact = number, name, "{fact}"),
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the exchange does not answer; try again in a moment")
    }
}

impl std::error::Error for Unavailable {}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

/// Inputs with one `Now`: few enough that a timer is at most a few milliseconds late.
const BATCH: usize = 128;
/// Administrators and pages that wait for an answer at once.
const ASKED_MAX: usize = 256;
/// A change waits for the store; a disk that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longer than [`pbx::settings::Settings::trunk_test_timeout`].
const TEST_ANSWER_MAX: Duration = Duration::from_secs(30);
/// A third of the relay's lease at the least, so that one late turn closes no call.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Three turns missed: the thread hangs.
const BEAT_MAX: Duration = Duration::from_secs(15);
/// Long enough for a phone to come back and for a restored call to be claimed.
const ORPHANS_AFTER: Duration = Duration::from_secs(30);
const FAULTS_MAX: usize = 5;
const FAULTS_WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MediaPorts;
    use crate::media::MediaRealm;
    use pbx::command::StatusView;
    use pbx::flow::Transport;
    use std::thread::JoinHandle;

    /// Answers `Status` with the flows it was told of, echoes messages, and panics at `boom`.
    #[derive(Default)]
    struct Fake {
        flows: usize,
        outputs: VecDeque<Output>,
    }

    impl Engine for Fake {
        fn handle(&mut self, _: Now, input: Input) {
            match input {
                Input::FlowOpened(_) => self.flows += 1,
                Input::FlowClosed { .. } => self.flows -= 1,
                Input::Received { path, bytes } => {
                    assert!(&bytes[..] != b"boom", "boom was received");
                    self.outputs.push_back(Output::Transmit { path, bytes });
                }
                Input::Command { ticket, command: Command::Status } => {
                    let status = StatusView { devices_known: self.flows, ..StatusView::default() };
                    self.outputs.push_back(Output::Reply { ticket, reply: Reply::Status(status) });
                }
                Input::Command { command: Command::Drain, .. } => {
                    self.outputs.push_back(Output::Drained);
                }
                Input::Command { ticket, .. } => {
                    self.outputs
                        .push_back(Output::Persist { ticket: Some(ticket), rows: Vec::new() });
                }
                Input::Persisted { ticket, result } => {
                    assert_eq!(result, Ok(()));
                    self.outputs.push_back(Output::Reply { ticket, reply: Reply::Done });
                }
                _ => {}
            }
        }

        fn poll_output(&mut self) -> Option<Output> {
            self.outputs.pop_front()
        }

        fn poll_timeout(&self) -> Option<Instant> {
            None
        }
    }

    struct World {
        inbox: Inbox,
        facts: mpsc::Sender<Fact>,
        rebuilt: usize,
    }

    impl Outside for World {
        type Engine = Fake;

        fn persist(&mut self, receipt: Option<Receipt>, _: Vec<Row>) {
            let receipt = receipt.expect("asked for");
            let former = Receipt { incarnation: receipt.incarnation + 1, ..receipt };
            self.inbox.persisted(former, Err(PersistError::Full));
            self.inbox.persisted(receipt, Ok(()));
        }
        fn change(&mut self, receipt: Receipt, rows: Vec<Row>, _: Vec<Noted>) {
            self.persist(Some(receipt), rows);
        }
        fn fact(&mut self, _: Now, _: Option<TenantId>, fact: Fact) {
            let _ = self.facts.send(fact);
        }
        fn persisted(&mut self, _: Receipt, _: bool) {}
        fn trace(&mut self, _: Trace) {}
        fn flush(&mut self) {}
        fn admission(&mut self, _: admission::Change) {}
        fn connect(&mut self, _: Receipt, _: Far) {}
        fn look_up(&mut self, _: Receipt, _: Query) {}
        fn rebuild(&mut self, _: Now) -> Result<Fake, String> {
            self.rebuilt += 1;
            Ok(Fake::default())
        }
    }

    struct Running {
        inbox: Inbox,
        facts: mpsc::Receiver<Fact>,
        state: watch::Receiver<State>,
        thread: JoinHandle<Remains<World>>,
    }

    fn start() -> Running {
        let (inbox, events) = inbox();
        let (pulse, state) = Pulse::new();
        let (sender, facts) = mpsc::channel();
        let clock = Clock::start();
        let realm = MediaRealm {
            id: relay::RealmId(0),
            bind: [127, 0, 0, 1].into(),
            advertise: [127, 0, 0, 1].into(),
            ports: MediaPorts { first: 18_500, last: 18_509 },
        };
        let chance = crate::clock::chance();
        let media = Media::start(&[realm], 1, clock, chance, inbox.clone()).unwrap();
        let world = World { inbox: inbox.clone(), facts: sender, rebuilt: 0 };
        let thread =
            ExchangeThread::new(NodeId(0), clock, Fake::default(), world, media, events, pulse);
        let thread = std::thread::spawn(move || thread.run());
        Running { inbox, facts, state, thread }
    }

    fn path(generation: u64) -> Path {
        let flow = FlowId { node: NodeId(0), transport: Transport::Tls, generation };
        Path { flow, remote: "192.0.2.1:5000".parse().unwrap() }
    }

    fn open(inbox: &Inbox, generation: u64) -> tokio::sync::mpsc::Receiver<Bytes> {
        let (outlet, queue) = crate::flows::tests::outlet();
        inbox.opened(
            FlowOpened {
                flow: path(generation).flow,
                realm: guard::id::RealmId(0),
                local: "192.0.2.2:5061".parse().unwrap(),
                remote: Some(path(generation).remote),
                tls: None,
                origin: None,
            },
            outlet,
        );
        queue
    }

    async fn flows(inbox: &Inbox) -> usize {
        match inbox.ask(Command::Status).await {
            Ok(Reply::Status(status)) => status.devices_known,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_panic_is_recorded_and_the_engine_rebuilt_with_its_flows() {
        let running = start();
        let inbox = &running.inbox;
        let mut first = open(inbox, 1);
        let _second = open(inbox, 2);
        inbox.received(path(1), Bytes::from_static(b"hello"), crate::flows::tests::credit());
        assert_eq!(first.recv().await.unwrap(), "hello");
        inbox.received(path(1), Bytes::from_static(b"boom"), crate::flows::tests::credit());
        assert_eq!(flows(inbox).await, 2, "the connections live on");
        let fact = running.facts.recv().unwrap();
        let Fact::PanicContained { message, .. } = fact else { panic!("{fact:?}") };
        assert_eq!(message, "boom was received");
        inbox.received(path(1), Bytes::from_static(b"again"), crate::flows::tests::credit());
        assert_eq!(first.recv().await.unwrap(), "again");
        inbox.closed(path(1).flow);
        inbox.closed(path(1).flow);
        assert_eq!(flows(inbox).await, 1, "closed once");
        inbox.stop();
        let remains = running.thread.join().unwrap();
        assert_eq!(remains.outside.rebuilt, 1);
        remains.media.stop();
    }

    #[tokio::test]
    async fn a_fault_that_keeps_coming_back_ends_the_process() {
        let mut running = start();
        for _ in 0..=FAULTS_MAX {
            assert_eq!(*running.state.borrow(), State::Running);
            let boom = Bytes::from_static(b"boom");
            running.inbox.received(path(1), boom, crate::flows::tests::credit());
            flows(&running.inbox).await;
        }
        running.state.wait_for(|state| *state == State::Failing).await.unwrap();
        running.inbox.stop();
        running.thread.join().unwrap().media.stop();
    }

    #[tokio::test]
    async fn changes_wait_for_the_store_and_tickets_of_a_former_engine_are_dropped() {
        let mut running = start();
        assert_eq!(running.inbox.ask(Command::Calls).await, Ok(Reply::Done));
        // The engine says `Drained` and answers nothing.
        let inbox = running.inbox.clone();
        let asked = tokio::spawn(async move { inbox.ask(Command::Drain).await });
        running.state.wait_for(|state| *state == State::Drained).await.unwrap();
        running.inbox.stop();
        running.thread.join().unwrap().media.stop();
        assert_eq!(asked.await.unwrap(), Err(Unavailable), "told at the end");
    }

    #[tokio::test]
    async fn a_message_for_a_dead_flow_is_reported_not_lost_silently() {
        let running = start();
        let queue = open(&running.inbox, 1);
        drop(queue);
        let credit = crate::flows::tests::credit();
        running.inbox.received(path(1), Bytes::from_static(b"hello"), credit);
        assert_eq!(flows(&running.inbox).await, 1, "still running, until the flow says it closed");
        running.inbox.stop();
        running.thread.join().unwrap().media.stop();
    }
}
