//! The carrier and the attackers of crate `actors` over real sockets.
//!
//! Each has a task of its own that owns its connections and audio sockets; whoever watches looks at the
//! engine through [`Stand::look`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use actors::attacker::{self, Attacker};
use actors::carrier::{self, Carrier};
use actors::phone::Link;
use bytes::Bytes;
use pure::Now;
use rustls::ServerConfig;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::driver::{Door, Told, Watched, call_in, listen, serve};
use crate::clock::Clock;

/// What an engine is told of the world.
#[derive(Debug)]
pub(crate) enum Arrival {
    Connected {
        link: Link,
        local: SocketAddr,
        writer: UnboundedSender<Bytes>,
    },
    Disconnected {
        link: Link,
    },
    Message {
        link: Link,
        bytes: Bytes,
    },
    Media {
        at: SocketAddr,
        from: SocketAddr,
        packet: Vec<u8>,
    },
    /// Somebody outside has given it something to do.
    Nudge,
}

/// What an engine wants of the world.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect,
    Disconnect { link: Link },
    Transmit { link: Link, bytes: Bytes },
    MediaOpen { at: SocketAddr },
    MediaClose { at: SocketAddr },
    Media { from: SocketAddr, to: SocketAddr, packet: Vec<u8> },
    Nothing,
}

/// An engine that can stand here.
pub(crate) trait Engine: Send + 'static {
    fn arrived(&mut self, now: Now, arrival: Arrival);
    fn wake(&mut self, now: Now);
    fn wish(&mut self) -> Option<Wish>;
    fn deadline(&self) -> Option<pure::Instant>;
}

/// One engine and its task. Dropping it closes its sockets.
pub(crate) struct Stand<E> {
    engine: Arc<Watched<E>>,
    clock: Clock,
    inbox: UnboundedSender<Arrival>,
    tasks: Vec<AbortHandle>,
}

impl<E: Engine> Stand<E> {
    /// An engine that connects to `door`.
    pub(crate) fn toward(engine: E, clock: Clock, door: Door) -> Self {
        Self::with(engine, clock, Some(door))
    }

    fn with(engine: E, clock: Clock, door: Option<Door>) -> Self {
        let engine = Arc::new(Watched::new(engine));
        let (inbox, arrivals) = unbounded_channel();
        let task = Task {
            engine: engine.clone(),
            clock,
            arrivals,
            inbox: inbox.clone(),
            door,
            links: 0,
            writers: BTreeMap::new(),
            made: BTreeMap::new(),
            audio: BTreeMap::new(),
        };
        let tasks = vec![tokio::spawn(task.run()).abort_handle()];
        Self { engine, clock, inbox, tasks }
    }

    /// Acts on the engine.
    pub(crate) fn act(&self, act: impl FnOnce(&mut E, Now)) {
        act(&mut self.engine(), self.clock.now());
        let _ = self.inbox.send(Arrival::Nudge);
    }

    /// Waits until `look` finds what it looks for; `None` where that isn't there `within`.
    pub(crate) fn look<T>(&self, within: Duration, look: impl FnMut(&E) -> Option<T>) -> Option<T> {
        self.engine.look(within, look)
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, E> {
        self.engine.lock()
    }
}

impl Stand<Caught<Carrier>> {
    /// A carrier that accepts TLS connections on `listener`.
    pub(crate) fn accepting(
        carrier: Carrier,
        clock: Clock,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
    ) -> Self {
        let mut stand = Self::with(Caught::new(carrier), clock, None);
        let inbox = stand.inbox.clone();
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(tls), inbox));
        stand.tasks.push(accepting.abort_handle());
        stand
    }
}

impl<E> Drop for Stand<E> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Link numbers are even here and odd for connections that we make, so that they never meet.
async fn accept(listener: TcpListener, tls: TlsAcceptor, inbox: UnboundedSender<Arrival>) {
    let mut made = 0;
    while let Ok((stream, _)) = listener.accept().await {
        made += 2;
        let link = Link { id: made, reliable: true };
        let (tls, inbox) = (tls.clone(), inbox.clone());
        tokio::spawn(async move {
            let Ok(local) = stream.local_addr() else { return };
            let Ok(stream) = tls.accept(stream).await else { return };
            serve(stream, local, telling(link, inbox.clone())).await;
            let _ = inbox.send(Arrival::Disconnected { link });
        });
    }
}

fn telling(link: Link, inbox: UnboundedSender<Arrival>) -> impl Fn(Told) -> bool {
    move |told| {
        let arrival = match told {
            Told::Up { local, writer } => Arrival::Connected { link, local, writer },
            Told::Message(bytes) => Arrival::Message { link, bytes },
        };
        inbox.send(arrival).is_ok()
    }
}

/// The task's own part.
struct Task<E> {
    engine: Arc<Watched<E>>,
    clock: Clock,
    arrivals: UnboundedReceiver<Arrival>,
    inbox: UnboundedSender<Arrival>,
    door: Option<Door>,
    links: u64,
    writers: BTreeMap<Link, UnboundedSender<Bytes>>,
    /// Connections that we made.
    made: BTreeMap<Link, AbortHandle>,
    audio: BTreeMap<SocketAddr, (Arc<UdpSocket>, AbortHandle)>,
}

impl<E: Engine> Task<E> {
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let deadline = self.engine.lock().deadline();
            let pause = deadline.map_or(FAR, |at| self.clock.until(at));
            tokio::select! {
                biased;
                count = self.arrivals.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.turn(&mut batch);
            // A long queue of packets must not keep the sockets' tasks from running.
            tokio::task::yield_now().await;
        }
    }

    fn turn(&mut self, batch: &mut Vec<Arrival>) {
        let watched = self.engine.clone();
        let mut engine = watched.lock();
        let now = self.clock.now();
        for arrival in batch.drain(..) {
            match &arrival {
                Arrival::Connected { link, writer, .. } => {
                    self.writers.insert(*link, writer.clone());
                }
                Arrival::Disconnected { link } => {
                    self.writers.remove(link);
                    self.made.remove(link);
                }
                Arrival::Message { .. } | Arrival::Media { .. } | Arrival::Nudge => {}
            }
            engine.arrived(now, arrival);
            self.carry_out(&mut engine);
        }
        if engine.deadline().is_some_and(|at| at <= now.instant) {
            engine.wake(now);
            self.carry_out(&mut engine);
        }
        drop(engine);
        watched.notify();
    }

    fn carry_out(&mut self, engine: &mut E) {
        while let Some(wish) = engine.wish() {
            match wish {
                Wish::Connect => self.connect(),
                Wish::Disconnect { link } => {
                    self.writers.remove(&link);
                    if let Some(task) = self.made.remove(&link) {
                        task.abort();
                    }
                }
                Wish::Transmit { link, bytes } => {
                    if let Some(writer) = self.writers.get(&link) {
                        let _ = writer.send(bytes);
                    }
                }
                Wish::MediaOpen { at } => {
                    let inbox = self.inbox.clone();
                    let heard =
                        move |from, packet| inbox.send(Arrival::Media { at, from, packet }).is_ok();
                    // Without it nothing is heard, which the claims tell.
                    if let Ok(audio) = listen(at, heard) {
                        self.audio.insert(at, audio);
                    }
                }
                Wish::MediaClose { at } => self.close(at),
                Wish::Media { from, to, packet } => {
                    if let Some((socket, _)) = self.audio.get(&from) {
                        // A full socket buffer drops audio, as networks do.
                        let _ = socket.try_send_to(&packet, to);
                    }
                }
                Wish::Nothing => {}
            }
        }
    }

    fn connect(&mut self) {
        let Some(door) = self.door.clone() else { return };
        self.links += 2;
        let link = Link { id: self.links + 1, reliable: true };
        let inbox = self.inbox.clone();
        let task = tokio::spawn(async move {
            call_in(&door, telling(link, inbox.clone())).await;
            let _ = inbox.send(Arrival::Disconnected { link });
        });
        self.made.insert(link, task.abort_handle());
    }

    fn close(&mut self, at: SocketAddr) {
        if let Some((_, task)) = self.audio.remove(&at) {
            task.abort();
        }
    }
}

impl<E> Drop for Task<E> {
    fn drop(&mut self) {
        self.made.values().for_each(AbortHandle::abort);
        self.audio.values().for_each(|(_, task)| task.abort());
    }
}

/// An engine, and what it has told so far.
#[derive(Debug)]
pub(crate) struct Caught<A: Tells> {
    pub(crate) engine: A,
    pub(crate) events: Vec<A::Event>,
}

/// An engine that tells what a person would notice.
pub(crate) trait Tells {
    type Event;
}

impl<A: Tells> Caught<A> {
    pub(crate) fn new(engine: A) -> Self {
        Self { engine, events: Vec::new() }
    }
}

impl Tells for Carrier {
    type Event = carrier::Event;
}

impl Tells for Attacker {
    type Event = attacker::Event;
}

impl Engine for Caught<Carrier> {
    fn arrived(&mut self, now: Now, arrival: Arrival) {
        let input = match arrival {
            Arrival::Connected { link, local, .. } => carrier::Input::Connected { link, local },
            Arrival::Disconnected { link } => carrier::Input::Disconnected { link },
            Arrival::Message { link, bytes } => carrier::Input::Received { link, bytes },
            Arrival::Media { at, from, packet } => carrier::Input::Media { at, from, packet },
            Arrival::Nudge => return,
        };
        self.engine.handle(now, input);
    }

    fn wake(&mut self, now: Now) {
        self.engine.handle(now, carrier::Input::Wake);
    }

    fn wish(&mut self) -> Option<Wish> {
        Some(match self.engine.poll_output()? {
            carrier::Output::Transmit { link, bytes } => Wish::Transmit { link, bytes },
            carrier::Output::MediaOpen { at } => Wish::MediaOpen { at },
            carrier::Output::MediaClose { at } => Wish::MediaClose { at },
            carrier::Output::Media { from, to, packet } => Wish::Media { from, to, packet },
            carrier::Output::Event(event) => {
                self.events.push(event);
                Wish::Nothing
            }
        })
    }

    fn deadline(&self) -> Option<pure::Instant> {
        self.engine.poll_timeout()
    }
}

impl Engine for Caught<Attacker> {
    fn arrived(&mut self, now: Now, arrival: Arrival) {
        let input = match arrival {
            Arrival::Connected { link, local, .. } => attacker::Input::Connected { link, local },
            Arrival::Disconnected { .. } => attacker::Input::Disconnected,
            Arrival::Message { link, bytes } => attacker::Input::Received { link, bytes },
            Arrival::Media { from, packet, .. } => attacker::Input::Media { from, packet },
            Arrival::Nudge => return,
        };
        self.engine.handle(now, input);
    }

    fn wake(&mut self, now: Now) {
        self.engine.handle(now, attacker::Input::Wake);
    }

    fn wish(&mut self) -> Option<Wish> {
        Some(match self.engine.poll_output()? {
            attacker::Output::Connect { .. } => Wish::Connect,
            attacker::Output::Disconnect { link } => Wish::Disconnect { link },
            attacker::Output::Transmit { link, bytes } => Wish::Transmit { link, bytes },
            // Nothing is forged here: whose audio it is, is the business of other tests.
            attacker::Output::Media { .. } => Wish::Nothing,
            attacker::Output::Event(event) => {
                self.events.push(event);
                Wish::Nothing
            }
        })
    }

    fn deadline(&self) -> Option<pure::Instant> {
        self.engine.poll_timeout()
    }
}

/// When an engine does not want to be woken.
const FAR: Duration = Duration::from_secs(3_600);
/// Arrivals handled under one lock.
const BATCH: usize = 256;
