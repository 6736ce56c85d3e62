//! Softphones over real sockets: the phones of crate `actors`, driven in real time against a server.
//!
//! One thread drives them all: TLS that verifies the server, framing, audio over UDP, the clock.
//! Whoever watches looks at the phones through [`Fleet::look`], which returns as soon as what it looks
//! for is there: nothing here sleeps. The tests of the whole node include this file too, and add their
//! own ways of waiting.
//!
//! Each phone has a loopback address of its own for audio (127.0.0.0/8 is all ours on Linux), so
//! demonstrations and tests run beside each other without agreeing on ports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use actors::phone::{Action, Event, Input, Link, Output, Phone, PhoneSettings, Security, Voice};
use bytes::Bytes;
use pure::{Chance, Now, Utc};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sip::digest::Algorithm;
use sip::stream::{Frame, Framer, PONG};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where phones connect, and whom they trust there.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// Where they connect from; `None`: the system chooses.
    pub(crate) from: Option<IpAddr>,
    /// What the server's certificate must carry.
    pub(crate) name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
}

impl Door {
    /// # Errors
    /// Where this is no authority.
    pub(crate) fn trusting(
        address: SocketAddr,
        authority: CertificateDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::IpAddress(address.ip().into());
        Ok(Self { address, from: None, name, tls: Arc::new(tls) })
    }
}

/// A usual phone of an extension: it encrypts, takes calls up at once, and says its own number.
pub(crate) fn usual(number: &str, secret: &str, domain: &str, audio: IpAddr) -> PhoneSettings {
    PhoneSettings {
        number: number.to_owned(),
        secret: secret.to_owned(),
        domain: domain.to_owned(),
        display_name: format!("Desk {number}"),
        instance: Some(format!("urn:uuid:00000000-0000-4000-8000-{number:0>12}")),
        agent: "Handset 1.0".to_owned(),
        transport: sip::Transport::Tls,
        expires: 3_600,
        security: Security::Srtp,
        answer_after: Some(Duration::ZERO),
        reject_with: None,
        early_media: false,
        weakest: Algorithm::Sha256,
        media_address: audio,
        media_port: 4_000,
        packet_interval: Duration::from_millis(20),
        voice: Voice(number.parse().unwrap_or_default()),
        reconnect_max: Duration::from_secs(1),
    }
}

/// Many phones and the thread that drives them. Dropping it pulls every plug.
pub(crate) struct Fleet {
    seats: Arc<Watched<Vec<Seat>>>,
    orders: UnboundedSender<Arrival>,
    thread: Option<JoinHandle<()>>,
}

/// One phone of a fleet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Handset(pub(crate) usize);

/// A phone and its wires, as whoever watches sees it.
pub(crate) struct Seat {
    pub(crate) phone: Phone,
    /// All that its owner would have noticed, oldest first.
    pub(crate) events: Vec<(Instant, Event)>,
    /// Why the last connection could not be made or ended.
    pub(crate) trouble: Option<String>,
    /// The last messages that came from the server, as they were on the wire.
    pub(crate) received: VecDeque<Bytes>,
    /// The last messages that went there.
    pub(crate) sent: VecDeque<Bytes>,
    /// Whether what the server sends is thrown away unread (a phone that hangs).
    deaf: bool,
    door: Door,
    wire: Option<Wire>,
    audio: BTreeMap<SocketAddr, (Arc<UdpSocket>, AbortHandle)>,
    deadline: Option<pure::Instant>,
}

struct Wire {
    link: Link,
    /// `None` until the handshake is done.
    writer: Option<UnboundedSender<Bytes>>,
    tasks: Vec<AbortHandle>,
}

/// A value that one side changes and others wait on.
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Last,
}

pub(crate) enum Arrival {
    Do {
        at: usize,
        action: Action,
    },
    #[allow(dead_code, reason = "tests alone make a phone hang")]
    Deafen {
        at: usize,
        deaf: bool,
    },
    #[allow(dead_code, reason = "tests alone break a connection")]
    Cut {
        at: usize,
    },
    Connected {
        at: usize,
        link: Link,
        local: SocketAddr,
        writer: UnboundedSender<Bytes>,
    },
    Disconnected {
        at: usize,
        link: Link,
        why: String,
    },
    Message {
        at: usize,
        link: Link,
        bytes: Bytes,
    },
    Audio {
        at: usize,
        local: SocketAddr,
        from: SocketAddr,
        packet: Vec<u8>,
    },
    End,
}

impl Fleet {
    /// # Errors
    /// Where the system gives no more threads or files.
    pub(crate) fn start() -> std::io::Result<Self> {
        let seats = Arc::new(Watched::new(Vec::new()));
        let (orders, arrivals) = unbounded_channel();
        let driver = Driver {
            seats: seats.clone(),
            arrivals,
            inbox: orders.clone(),
            start: Instant::now(),
            links: 0,
            deadlines: BTreeSet::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("phones".to_owned());
        let thread = thread.spawn(move || runtime.block_on(driver.run()))?;
        Ok(Self { seats, orders, thread: Some(thread) })
    }

    /// Adds a phone and plugs it in: it connects and registers.
    pub(crate) fn plug_in(&mut self, door: &Door, settings: PhoneSettings) -> Handset {
        let seed: [u8; 32] = fresh_seed();
        let seat = Seat {
            phone: Phone::new(settings, Chance::from_seed(seed)),
            events: Vec::new(),
            trouble: None,
            received: VecDeque::new(),
            sent: VecDeque::new(),
            deaf: false,
            door: door.clone(),
            wire: None,
            audio: BTreeMap::new(),
            deadline: None,
        };
        let handset = {
            let mut seats = self.seats();
            seats.push(seat);
            Handset(seats.len() - 1)
        };
        self.act(handset, Action::Start);
        handset
    }

    pub(crate) fn act(&self, handset: Handset, action: Action) {
        self.order(Arrival::Do { at: handset.0, action });
    }

    /// Waits until `look` finds what it looks for; `None` where that isn't there `within`.
    pub(crate) fn look<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&[Seat]) -> Option<T>,
    ) -> Option<T> {
        self.seats.look(within, |seats| look(seats))
    }

    pub(crate) fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.seats.lock()
    }

    pub(crate) fn order(&self, order: Arrival) {
        assert!(self.orders.send(order).is_ok(), "the thread of the phones has ended");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.orders.send(Arrival::End);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the thread of the phones panicked");
            }
        }
    }
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits looks again.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `look` finds what it looks for; `None` where that isn't there `within`.
    pub(crate) fn look<F>(
        &self,
        within: Duration,
        mut look: impl FnMut(&T) -> Option<F>,
    ) -> Option<F> {
        let end = Instant::now() + within;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&value) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            // Packets are counted without a note to whoever waits: looked at again now and then.
            let woken = self.changed.wait_timeout(value, left.min(GLANCE));
            value = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The thread's own part.
struct Driver {
    seats: Arc<Watched<Vec<Seat>>>,
    arrivals: UnboundedReceiver<Arrival>,
    inbox: UnboundedSender<Arrival>,
    start: Instant,
    links: u64,
    deadlines: BTreeSet<(pure::Instant, usize)>,
}

impl Driver {
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let next =
                self.deadlines.first().map(|(at, _)| self.start + at.since(pure::Instant(0)));
            let wake = tokio::time::sleep_until(next.unwrap_or(self.start + FAR).into());
            tokio::select! {
                biased;
                count = self.arrivals.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                () = wake => {}
            }
            if self.turn(&mut batch) == Turn::Last {
                return;
            }
            // A long queue of packets must not keep the sockets' tasks from running.
            tokio::task::yield_now().await;
        }
    }

    /// Handles what has come and what is due, under one lock.
    fn turn(&mut self, batch: &mut Vec<Arrival>) -> Turn {
        let watched = self.seats.clone();
        let mut seats = watched.lock();
        let mut noticed = false;
        for arrival in batch.drain(..) {
            if matches!(arrival, Arrival::End) {
                seats.iter_mut().for_each(Seat::unplug);
                return Turn::Last;
            }
            noticed |= self.take(&mut seats, arrival);
        }
        let now = self.now().instant;
        while let Some(&(at, seat)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, seat));
            seats[seat].deadline = None;
            noticed |= self.handle(&mut seats, seat, Input::Wake);
        }
        drop(seats);
        if noticed {
            watched.notify();
        }
        Turn::More
    }

    /// Returns whether somebody may be waiting for it.
    fn take(&mut self, seats: &mut [Seat], arrival: Arrival) -> bool {
        match arrival {
            Arrival::Do { at, action } => self.handle(seats, at, Input::Do(action)),
            Arrival::Deafen { at, deaf } => {
                seats[at].deaf = deaf;
                true
            }
            Arrival::Cut { at } => {
                seats[at].hang_up_wire();
                seats[at].trouble = Some("cut by the test".to_owned());
                self.handle(seats, at, Input::Disconnected)
            }
            Arrival::Connected { at, link, local, writer } => {
                let wire = seats[at].wire.as_mut().filter(|wire| wire.link == link);
                let Some(wire) = wire else { return false };
                wire.writer = Some(writer);
                seats[at].trouble = None;
                self.handle(seats, at, Input::Connected { link, local })
            }
            Arrival::Disconnected { at, link, why } => {
                if seats[at].wire.as_ref().is_none_or(|wire| wire.link != link) {
                    return false;
                }
                seats[at].hang_up_wire();
                seats[at].trouble = Some(why);
                self.handle(seats, at, Input::Disconnected)
            }
            Arrival::Message { at, link, bytes } => {
                let current = seats[at].wire.as_ref().is_some_and(|wire| wire.link == link);
                if !current || seats[at].deaf {
                    return false;
                }
                keep(&mut seats[at].received, &bytes);
                self.handle(seats, at, Input::Received { link, bytes })
            }
            Arrival::Audio { at, local, from, packet } => {
                if !seats[at].audio.contains_key(&local) {
                    return false;
                }
                self.handle(seats, at, Input::Media { at: local, from, packet })
            }
            Arrival::End => false,
        }
    }

    fn handle(&mut self, seats: &mut [Seat], at: usize, input: Input) -> bool {
        let now = self.now();
        let seat = &mut seats[at];
        seat.phone.handle(now, input);
        let mut noticed = false;
        while let Some(output) = seat.phone.poll_output() {
            match output {
                Output::Connect => self.connect(seat, at),
                Output::Disconnect { .. } => seat.hang_up_wire(),
                Output::Transmit { link, bytes } => {
                    keep(&mut seat.sent, &bytes);
                    let wire = seat.wire.as_ref().filter(|wire| wire.link == link);
                    if let Some(writer) = wire.and_then(|wire| wire.writer.as_ref()) {
                        // Refused only once the connection is gone, which its reader tells.
                        let _ = writer.send(bytes);
                    }
                }
                Output::MediaOpen { at: local } => self.listen(seat, at, local),
                Output::MediaClose { at: local } => seat.close(local),
                Output::Media { from, to, packet } => {
                    if let Some((socket, _)) = seat.audio.get(&from) {
                        // A full socket buffer drops audio, as networks do.
                        let _ = socket.try_send_to(&packet, to);
                    }
                }
                Output::Event(event) => {
                    noticed = true;
                    seat.events.push((Instant::now(), event));
                }
            }
        }
        let next = seat.phone.poll_timeout();
        if next != seat.deadline {
            if let Some(former) = seat.deadline {
                self.deadlines.remove(&(former, at));
            }
            if let Some(next) = next {
                self.deadlines.insert((next, at));
            }
            seat.deadline = next;
        }
        noticed
    }

    fn connect(&mut self, seat: &mut Seat, at: usize) {
        seat.hang_up_wire();
        self.links += 1;
        let link = Link { id: self.links, reliable: true };
        let (door, inbox) = (seat.door.clone(), self.inbox.clone());
        let task = tokio::spawn(async move {
            let tell = |told| match told {
                Told::Up { local, writer } => {
                    inbox.send(Arrival::Connected { at, link, local, writer }).is_ok()
                }
                Told::Message(bytes) => inbox.send(Arrival::Message { at, link, bytes }).is_ok(),
            };
            let why = call_in(&door, tell).await;
            let _ = inbox.send(Arrival::Disconnected { at, link, why });
        });
        seat.wire = Some(Wire { link, writer: None, tasks: vec![task.abort_handle()] });
    }

    fn listen(&mut self, seat: &mut Seat, at: usize, local: SocketAddr) {
        let inbox = self.inbox.clone();
        let heard =
            move |from, packet| inbox.send(Arrival::Audio { at, local, from, packet }).is_ok();
        match listen(local, heard) {
            Ok(audio) => drop(seat.audio.insert(local, audio)),
            Err(error) => seat.trouble = Some(format!("no audio at {local}: {error}")),
        }
    }

    fn now(&self) -> Now {
        let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now {
            instant: pure::Instant(0) + self.start.elapsed(),
            utc: Utc(i64::try_from(utc.as_micros()).unwrap_or(i64::MAX)),
        }
    }
}

impl Seat {
    fn hang_up_wire(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.tasks.iter().for_each(AbortHandle::abort);
        }
    }

    fn close(&mut self, local: SocketAddr) {
        if let Some((_, task)) = self.audio.remove(&local) {
            task.abort();
        }
    }

    fn unplug(&mut self) {
        self.hang_up_wire();
        while let Some((_, (_, task))) = self.audio.pop_first() {
            task.abort();
        }
    }
}

/// What a connection tells whoever made it.
pub(crate) enum Told {
    Up { local: SocketAddr, writer: UnboundedSender<Bytes> },
    Message(Bytes),
}

/// Connects and carries the connection until it ends; returns why it did. `tell` says whether anybody
/// still listens.
pub(crate) async fn call_in(door: &Door, tell: impl Fn(Told) -> bool) -> String {
    match tokio::time::timeout(CONNECT_MAX, shake_hands(door)).await {
        Ok(Ok((stream, local))) => serve(stream, local, tell).await,
        Ok(Err(error)) => format!("could not connect: {error}"),
        Err(_) => format!("no connection within {CONNECT_MAX:?}"),
    }
}

/// Connects as a phone does: the certificate must be signed by whom it trusts, for the name it knows.
pub(crate) async fn shake_hands(
    door: &Door,
) -> std::io::Result<(TlsStream<TcpStream>, SocketAddr)> {
    let stream = match door.from {
        Some(from) => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(door.address).await?
        }
        None => TcpStream::connect(door.address).await?,
    };
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let connector = TlsConnector::from(door.tls.clone());
    Ok((connector.connect(door.name.clone(), stream).await?, local))
}

/// Carries one connection until it ends; returns why it did.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite>(
    stream: S,
    local: SocketAddr,
    tell: impl Fn(Told) -> bool,
) -> String {
    let (reader, writer) = tokio::io::split(stream);
    let (outgoing, queue) = unbounded_channel();
    let pongs = outgoing.clone();
    if !tell(Told::Up { local, writer: outgoing }) {
        return "nobody is there any more".to_owned();
    }
    // Whichever half ends first takes the other with it.
    tokio::select! {
        why = read(reader, tell, &pongs) => why,
        why = write(writer, queue) => why,
    }
}

async fn read<S: AsyncRead>(
    mut reader: ReadHalf<S>,
    tell: impl Fn(Told) -> bool,
    pongs: &UnboundedSender<Bytes>,
) -> String {
    let mut framer = Framer::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return "the server closed the connection".to_owned(),
            Ok(length) => framer.push(&buffer[..length]),
            Err(error) => return format!("the connection broke: {error}"),
        }
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    tell(Told::Message(bytes));
                }
                Ok(Some(Frame::Ping)) => {
                    let _ = pongs.send(Bytes::from_static(PONG));
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => break,
                Err(violation) => return format!("the server sent no SIP: {violation:?}"),
            }
        }
        framer.pong_if_pending();
    }
}

async fn write<S: AsyncWrite>(
    mut writer: WriteHalf<S>,
    mut queue: UnboundedReceiver<Bytes>,
) -> String {
    while let Some(bytes) = queue.recv().await {
        let sent = match writer.write_all(&bytes).await {
            Ok(()) => writer.flush().await,
            error => error,
        };
        if let Err(error) = sent {
            return format!("the connection broke: {error}");
        }
    }
    "the phone hung up".to_owned()
}

/// Opens a socket for audio; `heard` gets each packet and says whether anybody still listens.
pub(crate) fn listen(
    local: SocketAddr,
    heard: impl Fn(SocketAddr, Vec<u8>) -> bool + Send + 'static,
) -> std::io::Result<(Arc<UdpSocket>, AbortHandle)> {
    let socket = std::net::UdpSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let receiver = socket.clone();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        // An error on a UDP socket is an ICMP message about an earlier packet.
        loop {
            if let Ok((length, from)) = receiver.recv_from(&mut buffer).await
                && !heard(from, buffer[..length].to_vec())
            {
                return;
            }
        }
    });
    Ok((socket, task.abort_handle()))
}

fn keep(messages: &mut VecDeque<Bytes>, bytes: &Bytes) {
    if messages.len() == MESSAGES_MAX {
        messages.pop_front();
    }
    messages.push_back(bytes.clone());
}

/// A loopback address that no other phone, test or process of ours uses at this time: it is held by
/// a socket on it for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    _held: std::net::UdpSocket,
}

impl Place {
    /// # Errors
    /// Where none is free.
    pub(crate) fn take() -> std::io::Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let start = std::process::id().wrapping_mul(2_654_435_761);
        for _ in 0..10_000 {
            let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(257));
            // 127.16.0.0 and above: away from 127.0.0.1, where everybody else is.
            let [a, b, c, _] = number.to_be_bytes();
            let address = Ipv4Addr::new(127, 16 + a % 224, b, 1 + c % 250);
            if let Ok(held) = std::net::UdpSocket::bind((address, HOLDING_PORT)) {
                return Ok(Self { address: address.into(), _held: held });
            }
        }
        Err(std::io::Error::other("no loopback address is free"))
    }
}

fn fresh_seed() -> [u8; 32] {
    use std::hash::{BuildHasher, RandomState};
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        chunk.copy_from_slice(&RandomState::new().hash_one(0).to_ne_bytes());
    }
    seed
}

/// How often whoever waits looks when nothing noteworthy happens.
const GLANCE: Duration = Duration::from_millis(50);
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// Arrivals handled under one lock.
const BATCH: usize = 256;
/// Messages kept of each phone and direction: a call has about ten.
const MESSAGES_MAX: usize = 100;
/// When no phone wants to be woken.
const FAR: Duration = Duration::from_secs(3_600);
/// A port that no server and no phone of ours uses.
const HOLDING_PORT: u16 = 1_999;
