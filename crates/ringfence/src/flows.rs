//! SIP connections: accept, shake hands, frame, and hand whole messages to the exchange.
//!
//! Everything here runs on the tokio pool and is bounded, so that neither a crowd nor a slow peer
//! holds more than its share:
//!
//! - what [`Front`] thinks of a source: a banned one is closed when it arrives, strangers have a rate of
//!   connections and, until they have proved something, of messages;
//! - connections in all and by source ([`Admission`]); the next takes the place of the oldest that has
//!   proved nothing, and is closed when it arrives where all have;
//! - a connection has proved itself when the exchange lets a phone register or a call go through on it
//!   ([`proves`]); until then it lives [`UNPROVED_MAX`] from its first message;
//! - handshakes in progress, of strangers, of trusted sources and by source; the next waits for its turn
//!   once it has said something, [`TURN_MAX`] at most, and has [`HANDSHAKE_MAX`] from then;
//! - until its first whole message a connection lives [`FIRST_MESSAGE_MAX`], and a message that has
//!   begun must be whole within [`MESSAGE_TIME_MAX`];
//! - messages on their way to the exchange: [`IN_FLIGHT_PER_FLOW`] by flow, [`IN_FLIGHT`] in all; at the
//!   bound the socket is not read, so TCP slows the peer down;
//! - what waits to be written: [`WRITES_MAX`] messages and [`WRITE_BYTES_MAX`] bytes; a peer that reads
//!   slower than that loses its connection, since its exchange must not wait for it.
//!
//! A flow that was announced by `FlowOpened` ends in exactly one `FlowClosed`, whatever ended it: the
//! value that announced it says so when it is dropped.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use guard::admission::Lane;
use guard::id::{NodeId, RealmId};
use pbx::flow::{FlowId, FlowOpened, Path, TlsFacts, Transport};
use rustls::ServerConfig;
use sip::stream::{Frame, Framer, PONG};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::config::Limits;
use crate::datagrams::{self, Datagrams, Guests, Reading};
use crate::front::{Banned, Front};
use crate::tls::ClientJudge;

/// Where flows come out: the exchange's thread.
pub(crate) trait Sink: Clone + Send + Sync + 'static {
    fn opened(&self, opened: FlowOpened, outlet: Outlet);
    fn received(&self, path: Path, bytes: Bytes, credit: Credit);
    fn closed(&self, flow: FlowId);
}

/// The right to have one message underway to the exchange; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Credit {
    pub(crate) _flow: OwnedSemaphorePermit,
    /// `None`: of a socket that has a bound of its own beside everybody's.
    pub(crate) _all: Option<OwnedSemaphorePermit>,
}

/// The exchange's end of a flow.
#[derive(Debug)]
pub(crate) enum Outlet {
    Connection(Writer),
    Datagrams(Datagrams),
}

/// What could not be handed to the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsent {
    /// The connection ends with it.
    Connection,
    /// This one alone.
    Datagram,
}

impl Outlet {
    /// Hands over a message for `remote`, which a connection knows anyway. Never waits.
    pub(crate) fn write(&self, remote: SocketAddr, bytes: Bytes) -> Result<(), Unsent> {
        match self {
            Self::Connection(writer) => writer.write(bytes).map_err(|TooSlow| Unsent::Connection),
            Self::Datagrams(socket) => socket.send(remote, &bytes).map_err(|_| Unsent::Datagram),
        }
    }

    /// Whether we opened the connection.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Connection(writer) => writer.seat.ours,
            Self::Datagrams(_) => false,
        }
    }
}

/// The exchange's end of a connection. Dropping it flushes what waits and closes the connection.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    abort: Arc<Notify>,
    seat: Arc<Seat>,
}

/// The peer reads slower than we must write, or is gone. The connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct TooSlow;

impl Writer {
    /// Queues a message. Never waits.
    fn write(&self, bytes: Bytes) -> Result<(), TooSlow> {
        if !self.seat.is_proved() && proves(&bytes) {
            self.seat.prove();
        }
        let len = bytes.len();
        let waiting = self.waiting.fetch_add(len, Ordering::Relaxed) + len;
        if waiting <= WRITE_BYTES_MAX && self.queue.try_send(bytes).is_ok() {
            return Ok(());
        }
        self.abort.notify_one();
        Err(TooSlow)
    }
}

/// Whether this message of ours says that its receiver is more than a stranger: a phone was registered,
/// or a call of its got through the gate. 100 is sent to everybody, before anything is known.
fn proves(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"SIP/2.0 ") else { return false };
    let (called, registered) = match rest {
        [b'1', b'0', b'0', ..] => (false, false),
        [b'1', ..] => (true, false),
        [b'2', ..] => (true, true),
        _ => (false, false),
    };
    let head = rest.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    let cseq = b"CSeq:";
    let mut numbers = head
        .filter(|line| line.get(..cseq.len()).is_some_and(|name| name.eq_ignore_ascii_case(cseq)));
    numbers.next().is_some_and(|line| {
        let line = line.trim_ascii_end();
        called && line.ends_with(b" INVITE") || registered && line.ends_with(b" REGISTER")
    })
}

/// Whether this asks to register. Carriers never do, so nobody does where only they are expected: a phone
/// there would show its calls to whoever listens, and a scanner gets no answer to learn from.
pub(crate) fn signs_in(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REGISTER ")
}

/// What every connection of the node shares.
#[derive(Debug)]
pub(crate) struct Flows<S> {
    node: NodeId,
    sink: S,
    front: Arc<Front>,
    generation: AtomicU64,
    admission: Admission,
    in_flight: Arc<Semaphore>,
    /// Replaced as a whole when certificates are read anew; handshakes underway keep the former.
    tls: RwLock<(Arc<ServerConfig>, ClientJudge)>,
}

impl<S: Sink> Flows<S> {
    /// `generation`: the highest that stored rows name; flows count from above it, so that a binding
    /// of a former process can't mean a connection of this one.
    pub(crate) fn new(
        node: NodeId,
        generation: u64,
        limits: Limits,
        tls: (Arc<ServerConfig>, ClientJudge),
        front: Arc<Front>,
        sink: S,
    ) -> Self {
        Self {
            node,
            sink,
            front,
            generation: AtomicU64::new(generation),
            admission: Admission::new(limits),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            tls: RwLock::new(tls),
        }
    }

    /// New handshakes use this; connections that are up stay.
    pub(crate) fn replace_tls(&self, tls: (Arc<ServerConfig>, ClientJudge)) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    pub(crate) fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// A name for a new flow.
    pub(crate) fn draw(&self, transport: Transport) -> FlowId {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        FlowId { node: self.node, transport, generation }
    }

    /// Opens a UDP socket: the exchange is told of it, and its datagrams are read from now on.
    pub(crate) fn open_socket(
        &self,
        socket: Datagrams,
        realm: RealmId,
        guests: Guests,
    ) -> io::Result<(FlowId, SocketAddr, Reading)> {
        let (local, reader) = (socket.local(), socket.reader()?);
        let flow = self.draw(Transport::Udp);
        let opened = FlowOpened { flow, realm, local, remote: None, tls: None, origin: None };
        self.sink.opened(opened, Outlet::Datagrams(socket));
        let closing = Closing { flow, sink: self.sink.clone() };
        let (front, sink) = (self.front.clone(), self.sink.clone());
        let reading = datagrams::read(reader, flow, guests, front, sink, closing)?;
        Ok((flow, local, reading))
    }

    /// Accepts for ever. Cancel by dropping the future; connections that are up go on.
    pub(crate) async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        realm: RealmId,
        security: Security,
    ) {
        loop {
            match listener.accept().await {
                Ok((tcp, remote)) => {
                    let Some(lane) = self.front.admit(remote.ip()) else {
                        tracing::debug!(
                            "connection refused: its source is banned, or connects too often"
                        );
                        continue;
                    };
                    match self.admission.connect(remote.ip(), lane) {
                        Some(place) => {
                            let (flows, seat) = (self.clone(), place.seat.clone());
                            tokio::spawn(async move {
                                tokio::select! {
                                    () = flows.serve(tcp, remote, realm, security, place) => {}
                                    () = seat.evicted.notified() => {
                                        tracing::debug!("connection ended: it had proved nothing and its place was needed");
                                    }
                                }
                            });
                        }
                        None => tracing::debug!("connection refused: too many are open"),
                    }
                }
                Err(error) => {
                    // Out of file descriptors, or a peer that was gone already. The pause keeps a
                    // lasting fault from turning into a busy loop.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(
        self: Arc<Self>,
        tcp: TcpStream,
        remote: SocketAddr,
        realm: RealmId,
        security: Security,
        place: Place,
    ) {
        let started = Instant::now();
        let Ok(local) = tcp.local_addr() else { return };
        tune(&tcp);
        let opened =
            |flow, tls| FlowOpened { flow, realm, local, remote: Some(remote), tls, origin: None };
        match security {
            Security::Clear(guests) => {
                let opened = opened(self.draw(Transport::Tcp), None);
                let announced = self.announce(opened, remote, place.seat.clone());
                self.run(tcp, Announced { guests, ..announced }, started).await;
            }
            Security::Tls => {
                let (config, judge) =
                    self.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
                // Whoever says nothing takes nobody's turn.
                if timeout_at(started + HANDSHAKE_MAX, tcp.readable()).await.is_err() {
                    tracing::debug!("nothing came on a new connection");
                    return;
                }
                let Ok(turn) = timeout_at(started + TURN_MAX, place.handshake()).await else {
                    tracing::debug!("too many TLS handshakes at once");
                    return;
                };
                let shaken = timeout(HANDSHAKE_MAX, TlsAcceptor::from(config).accept(tcp)).await;
                drop(turn);
                let stream = match shaken {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "TLS handshake failed");
                        return;
                    }
                    Err(_) => {
                        tracing::debug!("TLS handshake took too long");
                        return;
                    }
                };
                let tls = stream.get_ref().1;
                let certificate =
                    tls.peer_certificates().and_then(|chain| judge.fingerprint(chain));
                let facts = facts(tls, certificate, tls.server_name().map(str::to_owned));
                let opened = opened(self.draw(Transport::Tls), Some(facts));
                let announced = self.announce(opened, remote, place.seat.clone());
                self.run(stream, announced, started).await;
            }
        }
    }

    /// Tells the exchange of a connection that is up. Nothing was read from it yet.
    pub(crate) fn announce(
        &self,
        opened: FlowOpened,
        remote: SocketAddr,
        seat: Arc<Seat>,
    ) -> Announced<S> {
        let (queue, writes) = mpsc::channel(WRITES_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let abort = Arc::new(Notify::new());
        let path = Path { flow: opened.flow, remote };
        let writer =
            Writer { queue, waiting: waiting.clone(), abort: abort.clone(), seat: seat.clone() };
        self.sink.opened(opened, Outlet::Connection(writer));
        let closing = Closing { flow: path.flow, sink: self.sink.clone() };
        let guests =
            if path.flow.transport.is_encrypted() { Guests::Phones } else { Guests::Carriers };
        Announced { path, guests, writes, waiting, abort, seat, _closing: closing }
    }

    /// Serves one established connection until either side ends it.
    pub(crate) async fn run<T: AsyncRead + AsyncWrite>(
        &self,
        stream: T,
        announced: Announced<S>,
        started: Instant,
    ) {
        let Announced { path, guests, writes, waiting, abort, seat, _closing } = announced;
        let pong = Notify::new();
        let (reader, socket) = tokio::io::split(stream);
        tokio::select! {
            ended = self.read(reader, (path, guests), started, &pong, &seat) => {
                tracing::debug!(flow = path.flow.generation, ended, "connection ended");
            }
            _ = write(socket, writes, &waiting, &pong) => {}
            () = abort.notified() => {
                tracing::debug!(flow = path.flow.generation, "connection ended: the peer reads too slowly");
            }
        }
    }

    /// Reads until the end and says in words why it came.
    async fn read(
        &self,
        mut socket: impl AsyncRead + Unpin,
        (path, guests): (Path, Guests),
        started: Instant,
        pong: &Notify,
        seat: &Seat,
    ) -> &'static str {
        let mut framer = Framer::new();
        let own = Arc::new(Semaphore::new(IN_FLIGHT_PER_FLOW));
        let mut heard: Option<Instant> = None;
        let mut begun: Option<Instant> = None;
        loop {
            let deadline = match begun {
                // Where we called, it is for us to speak first.
                _ if heard.is_none() && !seat.ours => started + FIRST_MESSAGE_MAX,
                Some(begun) => begun + MESSAGE_TIME_MAX,
                None => Instant::now() + IDLE_MAX,
            };
            let unproved = heard.filter(|_| !seat.is_proved()).map(|heard| heard + UNPROVED_MAX);
            let until = unproved.map_or(deadline, |unproved| unproved.min(deadline));
            match timeout_at(until, read_some(&mut socket, &mut framer)).await {
                // Proved while we waited.
                Err(_) if until < deadline && seat.is_proved() => continue,
                Err(_) if until < deadline => return "it proved nothing",
                Ok(Ok(0)) => return "closed by the peer",
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return "broken",
                Err(_) => return "too slow or idle for too long",
            }
            loop {
                match framer.next() {
                    Ok(None) => break,
                    Ok(Some(Frame::Ping)) => pong.notify_one(),
                    Ok(Some(Frame::Pong)) => {}
                    Ok(Some(Frame::Message(bytes))) => {
                        heard = heard.or_else(|| Some(Instant::now()));
                        begun = None;
                        if guests == Guests::Carriers && signs_in(&bytes) {
                            return "a phone wanted to sign in over a connection in clear";
                        }
                        if !seat.is_proved() {
                            let turn = self.front.turn(path.remote.ip());
                            match timeout(UNPROVED_MAX, turn).await {
                                Ok(Ok(())) => {}
                                Ok(Err(Banned)) => return "its source is banned",
                                Err(_) => return "strangers send too much",
                            }
                        }
                        let Some(credit) = self.credit(&own).await else { return "shutting down" };
                        self.sink.received(path, bytes, credit);
                    }
                    Err(_) => return "the peer broke the framing",
                }
            }
            // Half a keep-alive stays in the framer while the connection idles: only what is longer
            // is a message that has begun.
            begun = match framer.pending() {
                pending if pending <= PONG.len() + 1 => None,
                _ => begun.or_else(|| Some(Instant::now())),
            };
        }
    }

    async fn credit(&self, own: &Arc<Semaphore>) -> Option<Credit> {
        let flow = own.clone().acquire_owned().await.ok()?;
        let all = self.in_flight.clone().acquire_owned().await.ok()?;
        Some(Credit { _flow: flow, _all: Some(all) })
    }
}

/// Hands the framer what is there, and says how much: nothing at the end. The buffer is on the stack of whoever is
/// asked, so that an idle connection has none.
async fn read_some(
    socket: &mut (impl AsyncRead + Unpin),
    framer: &mut Framer,
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut chunk = [MaybeUninit::uninit(); READ_CHUNK];
        let mut read = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut read))?;
        framer.push(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

/// Whether a listener's connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Security {
    Tls,
    /// For carriers that offer nothing else, or for phones where the owner wants it so.
    Clear(Guests),
}

/// A connection that the exchange knows of.
#[derive(Debug)]
pub(crate) struct Announced<S: Sink> {
    path: Path,
    guests: Guests,
    writes: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    abort: Arc<Notify>,
    seat: Arc<Seat>,
    _closing: Closing<S>,
}

/// Announces the end of a flow when it goes.
#[derive(Debug)]
pub(crate) struct Closing<S: Sink> {
    flow: FlowId,
    sink: S,
}

impl<S: Sink> Drop for Closing<S> {
    fn drop(&mut self) {
        self.sink.closed(self.flow);
    }
}

/// Writes what the exchange queues, and pongs, until the exchange lets go of the connection.
async fn write(
    mut socket: impl AsyncWrite + Unpin,
    mut writes: mpsc::Receiver<Bytes>,
    waiting: &AtomicUsize,
    pong: &Notify,
) -> io::Result<()> {
    loop {
        let bytes = tokio::select! {
            biased;
            queued = writes.recv() => match queued {
                Some(first) => {
                    let bytes = gathered(first, &mut writes);
                    waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                    bytes
                }
                None => break,
            },
            // Several pings that came at once are answered by one pong: the peer asks whether the
            // flow lives (RFC 5626 §4.4.1).
            () = pong.notified() => Bytes::from_static(PONG),
        };
        timeout(WRITE_TIME_MAX, async {
            socket.write_all(&bytes).await?;
            socket.flush().await
        })
        .await??;
    }
    timeout(WRITE_TIME_MAX, socket.shutdown()).await?
}

/// A message with those that wait behind it: one TLS record and one segment for all, where each alone has both.
fn gathered(first: Bytes, writes: &mut mpsc::Receiver<Bytes>) -> Bytes {
    let Ok(second) = writes.try_recv() else { return first };
    let mut all = BytesMut::with_capacity(RECORD_MAX);
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while all.len() < RECORD_MAX / 2
        && let Ok(next) = writes.try_recv()
    {
        all.extend_from_slice(&next);
    }
    all.freeze()
}

/// What the handshake agreed on, whichever side we are.
pub(crate) fn facts<D>(
    tls: &rustls::ConnectionCommon<D>,
    peer_certificate: Option<[u8; 32]>,
    sni: Option<String>,
) -> TlsFacts {
    TlsFacts {
        version: match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            // No other is offered.
            _ => "TLS",
        },
        suite: tls
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
            .to_owned(),
        peer_certificate,
        sni,
    }
}

pub(crate) fn tune(tcp: &TcpStream) {
    // Wishes: a connection without them works too.
    let _ = tcp.set_nodelay(true);
    let socket = socket2::SockRef::from(tcp);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_RETRIES);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}

/// Counts connections and handshakes, in all and by source.
#[derive(Debug)]
struct Admission {
    limits: Limits,
    /// Of strangers, and of sources that are trusted: those wait for no stranger.
    handshakes: [Arc<Semaphore>; 2],
    /// A source leaves with its last connection, so there are never more than connections.
    sources: Arc<Mutex<Sources>>,
}

#[derive(Debug, Default)]
struct Sources {
    connections: usize,
    by_source: BTreeMap<IpAddr, Source>,
    /// By the order in which they came.
    unproved: BTreeMap<u64, Arc<Seat>>,
    admitted: u64,
}

#[derive(Debug)]
struct Source {
    connections: usize,
    handshakes: Arc<Semaphore>,
}

/// One admitted connection; gives its place back when it is dropped.
#[derive(Debug)]
struct Place {
    seat: Arc<Seat>,
    handshakes: (Arc<Semaphore>, Arc<Semaphore>),
}

/// What is known of an admitted connection.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    source: IpAddr,
    sources: Arc<Mutex<Sources>>,
    /// We opened it: it needs no proof, and counts among nobody's connections.
    ours: bool,
    proved: AtomicBool,
    /// Its place was given to another, and is no longer counted.
    lost: AtomicBool,
    evicted: Notify,
}

impl Admission {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            handshakes: [0, 1].map(|_| Arc::new(Semaphore::new(limits.handshakes))),
            sources: Arc::default(),
        }
    }

    fn connect(&self, ip: IpAddr, lane: Lane) -> Option<Place> {
        let source = source_of(ip);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.connections >= self.limits.connections {
            let oldest = sources.unproved.keys().next().copied()?;
            sources.evict(oldest);
        }
        let crowded = sources
            .by_source
            .get(&source)
            .is_some_and(|known| known.connections >= self.limits.connections_per_source);
        if crowded {
            let mut unproved = sources.unproved.iter();
            let oldest = unproved.find_map(|(n, seat)| (seat.source == source).then_some(*n))?;
            sources.evict(oldest);
        }
        let entry = sources.by_source.entry(source).or_insert_with(|| Source {
            connections: 0,
            handshakes: Arc::new(Semaphore::new((self.limits.handshakes / 4).max(1))),
        });
        entry.connections += 1;
        let own = entry.handshakes.clone();
        sources.connections += 1;
        sources.admitted += 1;
        let seat = Arc::new(Seat {
            number: sources.admitted,
            source,
            sources: self.sources.clone(),
            ours: false,
            proved: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        sources.unproved.insert(seat.number, seat.clone());
        let [strangers, trusted] = &self.handshakes;
        let all = match lane {
            Lane::Stranger => strangers,
            Lane::Trusted => trusted,
        };
        Some(Place { seat, handshakes: (own, all.clone()) })
    }

    fn connections(&self) -> usize {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).connections
    }
}

impl Place {
    /// Waits for a turn to shake hands: first among its own source, then among all, so that one
    /// source can't fill the queue.
    async fn handshake(&self) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let open = "these semaphores are never closed";
        let own = self.handshakes.0.clone().acquire_owned().await.expect(open);
        let all = self.handshakes.1.clone().acquire_owned().await.expect(open);
        (own, all)
    }
}

impl Sources {
    /// Ends a connection that proved nothing. Its place is free at once.
    fn evict(&mut self, number: u64) {
        let Some(seat) = self.unproved.remove(&number) else { return };
        seat.lost.store(true, Ordering::Relaxed);
        seat.evicted.notify_one();
        self.leave(seat.source);
    }

    fn leave(&mut self, ip: IpAddr) {
        self.connections -= 1;
        if let Some(source) = self.by_source.get_mut(&ip) {
            source.connections -= 1;
            if source.connections == 0 {
                self.by_source.remove(&ip);
            }
        }
    }
}

impl Seat {
    /// Of a connection that we open.
    pub(crate) fn ours(remote: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            number: 0,
            source: remote,
            sources: Arc::default(),
            ours: true,
            proved: AtomicBool::new(true),
            lost: AtomicBool::new(false),
            evicted: Notify::new(),
        })
    }

    fn is_proved(&self) -> bool {
        self.proved.load(Ordering::Relaxed)
    }

    fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.unproved.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Seat { number, source, sources, lost, .. } = &*self.seat;
        let mut sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.unproved.remove(number);
        // Set and read under the lock.
        if !lost.load(Ordering::Relaxed) {
            sources.leave(*source);
        }
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 network of 48 bits, which is the most that
/// one site gets (RFC 6177).
fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80)),
    }
}

/// From the accepted connection to its first byte, and from its turn to the end of the handshake. Two round
/// trips over a bad mobile line take three seconds.
const HANDSHAKE_MAX: Duration = Duration::from_secs(4);
/// A phone gives up its connection after ten seconds or more.
const TURN_MAX: Duration = Duration::from_secs(10);
/// A phone registers as soon as it is connected.
const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(30);
/// From the first message to a registration or a call: a phone answers its challenge within seconds.
/// Longer, and strangers could hold every place with a message each.
const UNPROVED_MAX: Duration = Duration::from_secs(60);
/// 64·T1: what takes longer than a whole transaction is no use to anybody.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(32);
/// Granted expiries on connections are far shorter, so a phone that is in use speaks before.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// The exchange takes a message in well under a millisecond: eight keep a flow busy.
const IN_FLIGHT_PER_FLOW: usize = 8;
/// At 64 KiB each this is 64 MiB at the very most, and a tenth of a second of work.
const IN_FLIGHT: usize = 1_024;
/// The most that one TLS record carries (RFC 8446 §5.1).
const RECORD_MAX: usize = 16 * 1_024;
/// A phone has a handful of transactions; this leaves room for a burst on a trunk.
pub(crate) const WRITES_MAX: usize = 256;
pub(crate) const WRITE_BYTES_MAX: usize = 512 * 1024;
/// No progress for so long: the peer is gone.
const WRITE_TIME_MAX: Duration = Duration::from_secs(20);
/// A TLS record holds 16 KiB at most.
const READ_CHUNK: usize = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A dead peer is found within 60 + 3 × 10 seconds, and while we write within 30.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use guard::admission::{Admission as Gate, Change};
    use tokio::io::AsyncReadExt;

    /// The outlet of a connection and the far end of its queue.
    pub(crate) fn outlet() -> (Outlet, mpsc::Receiver<Bytes>) {
        let (queue, writes) = mpsc::channel(WRITES_MAX);
        let seat = seat();
        let writer = Writer { queue, waiting: Arc::default(), abort: Arc::default(), seat };
        (Outlet::Connection(writer), writes)
    }

    fn seat() -> Arc<Seat> {
        let place = Admission::new(limits()).connect(IpAddr::from([192, 0, 2, 1]), Lane::Stranger);
        place.expect("the first").seat.clone()
    }

    pub(crate) fn credit() -> Credit {
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one is free");
        Credit { _flow: permit(), _all: None }
    }

    #[derive(Debug)]
    enum Event {
        Opened(Writer),
        Received(Bytes, Credit),
        Closed,
    }

    #[derive(Clone)]
    struct Inbox(mpsc::UnboundedSender<Event>);

    impl Sink for Inbox {
        fn opened(&self, _: FlowOpened, outlet: Outlet) {
            let Outlet::Connection(writer) = outlet else { panic!("a connection") };
            let _ = self.0.send(Event::Opened(writer));
        }
        fn received(&self, _: Path, bytes: Bytes, credit: Credit) {
            let _ = self.0.send(Event::Received(bytes, credit));
        }
        fn closed(&self, _: FlowId) {
            let _ = self.0.send(Event::Closed);
        }
    }

    const MESSAGE: &str = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    fn limits() -> Limits {
        Limits { calls: 1, connections: 3, connections_per_source: 2, handshakes: 4 }
    }

    fn flow() -> FlowId {
        FlowId { node: NodeId(0), transport: Transport::Tls, generation: 1 }
    }

    /// One connection over a pipe in memory; tokio's paused clock jumps to the next deadline.
    fn connection() -> (tokio::io::DuplexStream, mpsc::UnboundedReceiver<Event>) {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let (sender, events) = mpsc::unbounded_channel();
        let remote: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let opened = FlowOpened {
            flow: flow(),
            realm: RealmId(0),
            local: "192.0.2.2:5061".parse().unwrap(),
            remote: Some(remote),
            tls: None,
            origin: None,
        };
        let tls = crate::tls::tests::server();
        let flows = Arc::new(Flows::new(
            NodeId(0),
            0,
            limits(),
            tls,
            crate::front::tests::front(),
            Inbox(sender),
        ));
        tokio::spawn(async move {
            let announced = flows.announce(opened, remote, seat());
            flows.run(ours, announced, Instant::now()).await;
        });
        (theirs, events)
    }

    async fn opened(events: &mut mpsc::UnboundedReceiver<Event>) -> Writer {
        match events.recv().await {
            Some(Event::Opened(writer)) => writer,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_come_whole_and_pings_are_answered() {
        let (mut peer, mut events) = connection();
        let writer = opened(&mut events).await;
        let (a, b) = MESSAGE.split_at(10);
        peer.write_all(a.as_bytes()).await.unwrap();
        peer.write_all(b.as_bytes()).await.unwrap();
        let Some(Event::Received(bytes, _credit)) = events.recv().await else {
            panic!("a message")
        };
        assert_eq!(bytes, MESSAGE);
        peer.write_all(b"\r\n\r\n").await.unwrap();
        let mut answer = [0; 2];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\r\n");
        writer.write(Bytes::from_static(b"hello")).unwrap();
        drop(writer);
        let mut rest = String::new();
        peer.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello", "what was queued is flushed before the end");
        assert!(matches!(events.recv().await, Some(Event::Closed)));
        assert!(events.recv().await.is_none(), "closed once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed_after_thirty_seconds() {
        let (mut peer, mut events) = connection();
        let _writer = opened(&mut events).await;
        let started = Instant::now();
        // Keep-alives are no message.
        peer.write_all(b"\r\n\r\n").await.unwrap();
        assert!(matches!(events.recv().await, Some(Event::Closed)));
        assert_eq!(started.elapsed().as_secs(), FIRST_MESSAGE_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_message_is_not_waited_for_longer_when_bytes_trickle_in() {
        let (mut peer, mut events) = connection();
        let _writer = opened(&mut events).await;
        peer.write_all(MESSAGE.as_bytes()).await.unwrap();
        let Some(Event::Received(..)) = events.recv().await else { panic!("a message") };
        let started = Instant::now();
        peer.write_all(b"OPTIONS ").await.unwrap();
        let trickle = tokio::spawn(async move {
            while peer.write_all(b"s").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert!(matches!(events.recv().await, Some(Event::Closed)));
        assert_eq!(started.elapsed().as_secs(), MESSAGE_TIME_MAX.as_secs());
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_proves_nothing_ends_a_minute_after_its_first_message() {
        let (mut peer, mut events) = connection();
        let writer = opened(&mut events).await;
        let started = Instant::now();
        peer.write_all(MESSAGE.as_bytes()).await.unwrap();
        writer.write(Bytes::from_static(b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n")).unwrap();
        let busy = tokio::spawn(async move {
            while peer.write_all(MESSAGE.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        });
        while let Some(Event::Received(..)) = events.recv().await {}
        assert_eq!(started.elapsed().as_secs(), UNPROVED_MAX.as_secs());
        busy.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_source_shakes_hands_while_strangers_hold_every_turn() {
        let admission = Admission::new(limits());
        let at = |last| IpAddr::from([192, 0, 2, last]);
        let mut turns = Vec::new();
        for stranger in 1..=3 {
            let place = admission.connect(at(stranger), Lane::Stranger).unwrap();
            turns.push((place.handshake().await, place));
            let mine = turns.last().unwrap().1.handshake();
            assert!(timeout(TURN_MAX, mine).await.is_err(), "a quarter of four for one source");
        }
        let admission = Admission::new(Limits { connections: 100, ..limits() });
        let mut turns = Vec::new();
        for stranger in 1..=4 {
            let place = admission.connect(at(stranger), Lane::Stranger).unwrap();
            turns.push((place.handshake().await, place));
        }
        let late = admission.connect(at(5), Lane::Stranger).unwrap();
        assert!(timeout(TURN_MAX, late.handshake()).await.is_err(), "every turn is taken");
        let phone = admission.connect(at(6), Lane::Trusted).unwrap();
        assert!(timeout(TURN_MAX, phone.handshake()).await.is_ok());
    }

    /// A listener on loopback and what stands in front of it.
    async fn listener() -> (SocketAddr, Arc<Front>, mpsc::UnboundedReceiver<Event>) {
        let (sender, events) = mpsc::unbounded_channel();
        let front = crate::front::tests::front();
        let tls = crate::tls::tests::server();
        let limits =
            Limits { calls: 1, connections: 1_000, connections_per_source: 1_000, handshakes: 4 };
        let flows = Flows::new(NodeId(0), 0, limits, tls, front.clone(), Inbox(sender));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let security = Security::Clear(Guests::Phones);
        tokio::spawn(Arc::new(flows).accept(listener, RealmId(0), security));
        (address, front, events)
    }

    #[tokio::test]
    async fn a_banned_source_is_closed_at_once_and_while_it_has_proved_nothing() {
        let (address, front, mut events) = listener().await;
        let rogue = guard::source::Source::from(IpAddr::from([127, 0, 0, 1]));
        let mut early = TcpStream::connect(address).await.unwrap();
        let _writer = opened(&mut events).await;
        early.write_all(b"REGISTER sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let Some(Event::Received(..)) = events.recv().await else { panic!("a phone may sign in") };
        front.apply(Change::Ban { source: rogue, until: pure::Utc(i64::MAX) });
        early.write_all(MESSAGE.as_bytes()).await.unwrap();
        assert!(matches!(events.recv().await, Some(Event::Closed)), "unread");
        let mut late = TcpStream::connect(address).await.unwrap();
        assert_eq!(late.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(events.try_recv().is_err(), "the exchange hears nothing of it");
        assert_eq!(front.passed().counts.dropped_banned, 1);
    }

    #[tokio::test]
    async fn strangers_connect_at_a_rate_and_trusted_ones_at_will() {
        let (address, front, _events) = listener().await;
        let mut connections = Vec::new();
        while front.passed().counts.dropped_source_rate == 0 {
            connections.push(TcpStream::connect(address).await.unwrap());
        }
        let burst = usize::try_from(Gate::STRANGER.burst).unwrap();
        assert!(connections.len() > burst, "{}", connections.len());
        front.apply(Change::Trust(IpAddr::from([127, 0, 0, 1]).into()));
        for _ in 0..300 {
            connections.push(TcpStream::connect(address).await.unwrap());
        }
        while front.passed().counts.trusted < 300 {
            tokio::task::yield_now().await;
        }
        assert!(front.passed().counts.dropped_source_rate < 100);
    }

    #[test]
    fn a_registration_and_a_call_that_got_through_prove_a_flow() {
        let proof = |status: &str, cseq: &str| {
            proves(
                format!("SIP/2.0 {status} x\r\nVia: a\r\n{cseq}\r\n\r\nCSeq: 1 INVITE\n")
                    .as_bytes(),
            )
        };
        for (status, cseq) in
            [("200", "CSeq: 2 REGISTER"), ("200", "cseq: 9 INVITE"), ("180", "CSeq: 2 INVITE")]
        {
            assert!(proof(status, cseq), "{status} {cseq}");
        }
        for (status, cseq) in [
            ("100", "CSeq: 2 INVITE"),
            ("401", "CSeq: 2 REGISTER"),
            ("403", "CSeq: 2 INVITE"),
            ("180", "CSeq: 2 REGISTER"),
            ("200", "CSeq: 2 OPTIONS"),
            ("200", "X: 2 REGISTER"),
        ] {
            assert!(!proof(status, cseq), "{status} {cseq}");
        }
        assert!(!proves(b"INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_registered_phone_may_be_silent_for_long() {
        let (mut peer, mut events) = connection();
        let writer = opened(&mut events).await;
        writer.write(Bytes::from_static(b"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\n\r\n")).unwrap();
        peer.write_all(MESSAGE.as_bytes()).await.unwrap();
        let Some(Event::Received(..)) = events.recv().await else { panic!("a message") };
        peer.write_all(b"\r\n").await.unwrap();
        let silent = timeout(Duration::from_secs(1_800), events.recv()).await;
        assert!(silent.is_err(), "{silent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_exchange_stops_the_reading() {
        let (mut peer, mut events) = connection();
        let _writer = opened(&mut events).await;
        let sent = tokio::spawn(async move {
            for _ in 0..200 {
                peer.write_all(MESSAGE.as_bytes()).await.unwrap();
            }
            peer
        });
        let mut credits = Vec::new();
        while let Ok(Some(Event::Received(_, credit))) =
            timeout(Duration::from_secs(1), events.recv()).await
        {
            credits.push(credit);
        }
        assert_eq!(credits.len(), IN_FLIGHT_PER_FLOW);
        assert!(!sent.is_finished(), "the peer feels it");
        credits.clear();
        for _ in 0..200 - IN_FLIGHT_PER_FLOW {
            assert!(matches!(events.recv().await, Some(Event::Received(..))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_cut_off() {
        let (_peer, mut events) = connection();
        let writer = opened(&mut events).await;
        let big = Bytes::from(vec![b'x'; 60_000]);
        let taken = (0..100).take_while(|_| writer.write(big.clone()).is_ok()).count();
        assert!(taken * big.len() <= WRITE_BYTES_MAX + big.len(), "{taken}");
        assert!(matches!(events.recv().await, Some(Event::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn broken_framing_ends_the_connection() {
        let (mut peer, mut events) = connection();
        let _writer = opened(&mut events).await;
        peer.write_all(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n").await.unwrap();
        assert!(matches!(events.recv().await, Some(Event::Closed)));
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let admission = Admission::new(limits());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proved = |text| {
            let place = admission.connect(ip(text), Lane::Stranger)?;
            place.seat.prove();
            Some(place)
        };
        let first = proved("192.0.2.1").unwrap();
        let _second = proved("192.0.2.1").unwrap();
        assert!(proved("192.0.2.1").is_none(), "two from one source");
        let _third = proved("2001:db8::1").unwrap();
        assert!(proved("192.0.2.9").is_none(), "three in all");
        drop(first);
        let _fourth = proved("2001:db8::2").unwrap();
        assert_eq!(admission.connections(), 3);
        assert_eq!(source_of(ip("2001:db8:0:ffff::1")), ip("2001:db8::"));
        assert_ne!(source_of(ip("2001:db8:1::1")), ip("2001:db8::"));
        assert_eq!(source_of(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[tokio::test]
    async fn the_oldest_that_proved_nothing_makes_room() {
        let admission = Admission::new(limits());
        let connect = |last| admission.connect(IpAddr::from([192, 0, 2, last]), Lane::Stranger);
        let evicted = |place: &Place| place.seat.lost.load(Ordering::Relaxed);
        let phone = connect(1).unwrap();
        phone.seat.prove();
        let (old, new) = (connect(2).unwrap(), connect(3).unwrap());
        let second = connect(4).unwrap();
        assert!(evicted(&old) && !evicted(&new) && !evicted(&phone));
        old.seat.evicted.notified().await;
        assert_eq!(admission.connections(), 3);
        drop(old);
        assert_eq!(admission.connections(), 3, "given back once");
        // One's own crowd makes room for one's own.
        drop(new);
        let third = connect(4).unwrap();
        drop(phone);
        let fourth = connect(4).unwrap();
        assert!(evicted(&second) && !evicted(&third));
        drop((second, third, fourth));
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn messages_that_wait_go_together_in_their_order() {
        let (queue, mut writes) = mpsc::channel(WRITES_MAX);
        let alone = gathered(Bytes::from_static(b"first"), &mut writes);
        assert_eq!(alone, "first");
        for next in ["second", "third"] {
            queue.try_send(Bytes::from_static(next.as_bytes())).unwrap();
        }
        assert_eq!(gathered(alone, &mut writes), "firstsecondthird");

        let long = Bytes::from(vec![b'x'; RECORD_MAX / 4]);
        for _ in 0..6 {
            queue.try_send(long.clone()).unwrap();
        }
        let first = writes.try_recv().unwrap();
        assert_eq!(gathered(first, &mut writes).len(), RECORD_MAX / 2);
        assert_eq!(writes.len(), 4);
    }
}
