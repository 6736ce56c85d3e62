//! UDP sockets for SIP, of phones and of carriers: a thread each that reads, and an end that sends.
//!
//! A thread of its own, not a task: a flood must not take turns away from connections. It judges a datagram
//! by its source before anything is copied ([`crate::front`]), and hands it on where its lane has room.
//! Phones and carriers have a share that no stranger can fill. What finds no room is dropped and counted,
//! as a network would. Nothing that can arrive ends the socket.
//!
//! One `recvfrom` for each datagram: it costs a microsecond, so 50,000 a second take a twentieth of a core.
//! `recvmmsg` would save a quarter of that, for a buffer of 64 KiB for each place of a batch.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use guard::admission::Lane;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use pbx::flow::{FlowId, Path};
use socket2::SockRef;
use tokio::sync::Semaphore;

use crate::flows::{self, Closing, Credit, Sink};
use crate::front::Front;

/// One UDP socket, to send with from the exchange's thread.
#[derive(Debug)]
pub(crate) struct Datagrams(UdpSocket);

/// Whom a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guests {
    Phones,
    /// No phone signs in here.
    Carriers,
}

/// Ends the thread that reads when it is dropped, within [`LOOK_EVERY`].
#[derive(Debug)]
pub(crate) struct Reading(Arc<AtomicBool>);

impl Datagrams {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        // A wish: the second sets no more than the system's own bound, the first needs CAP_NET_ADMIN.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
        Ok(Self(socket))
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The end to read from, which shares the socket.
    pub(crate) fn reader(&self) -> io::Result<UdpSocket> {
        self.0.try_clone()
    }

    /// Hands one datagram to the kernel, which either takes it at once or has no room.
    pub(crate) fn send(&self, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let local = self.0.local_addr()?;
        let remote = match (local.ip(), remote.ip()) {
            // One socket for both families: there IPv4 is written as IPv6 (RFC 4291 §2.5.5.2).
            (IpAddr::V6(own), IpAddr::V4(ip)) if own.is_unspecified() => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), remote.port())
            }
            _ => remote,
        };
        let socket = SockRef::from(&self.0);
        let send = || {
            let at_once = MsgFlags::MSG_DONTWAIT.bits();
            socket.send_to_with_flags(bytes, &remote.into(), at_once).map(drop)
        };
        match send() {
            // The answer to an earlier datagram (ICMP), reported by this call, which sent nothing.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => send(),
            sent => sent,
        }
    }
}

/// Starts the thread that reads `socket` and hands on what is admitted.
pub(crate) fn read<S: Sink>(
    socket: UdpSocket,
    flow: FlowId,
    guests: Guests,
    front: Arc<Front>,
    sink: S,
    closing: Closing<S>,
) -> io::Result<Reading> {
    let stop = Arc::new(AtomicBool::new(false));
    let reader = Reader {
        socket,
        flow,
        guests,
        front,
        sink,
        trusted: Arc::new(Semaphore::new(TRUSTED_MAX)),
        strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
        stop: stop.clone(),
    };
    std::thread::Builder::new().name("datagrams".to_owned()).spawn(move || {
        reader.run();
        drop(closing);
    })?;
    Ok(Reading(stop))
}

struct Reader<S> {
    socket: UdpSocket,
    flow: FlowId,
    guests: Guests,
    front: Arc<Front>,
    sink: S,
    trusted: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
}

impl<S: Sink> Reader<S> {
    fn run(&self) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut failures = 0;
        while !self.stop.load(Ordering::Relaxed) {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    failures = 0;
                    self.take(&buffer[..len], from);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // What came of something we sent: the next call tells of the next datagram.
                Err(_) if failures < FAILURES_MAX => failures += 1,
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn take(&self, bytes: &[u8], from: SocketAddr) {
        // A keep-alive costs its sender nothing.
        if bytes.len() < RUNT {
            return;
        }
        let remote = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(lane) = self.front.admit(remote.ip()) else { return };
        if self.guests == Guests::Carriers && flows::signs_in(bytes) {
            return;
        }
        let room = match lane {
            Lane::Trusted => &self.trusted,
            Lane::Stranger => &self.strangers,
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            self.front.found_no_room();
            return;
        };
        let credit = Credit { _flow: permit, _all: None };
        let path = Path { flow: self.flow, remote };
        self.sink.received(path, Bytes::copy_from_slice(bytes), credit);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Of phones and carriers on their way to the exchange, for each socket: more than the burst of one
/// source, so that one that floods doesn't fill it. A tenth of a second of work, 64 MiB at the very most.
pub(crate) const TRUSTED_MAX: usize = 2_048;
/// Of strangers: what stands before a phone's datagram is worked off within some 10 ms.
pub(crate) const STRANGERS_MAX: usize = 128;
/// UDP carries no more (RFC 768).
pub(crate) const DATAGRAM_MAX: usize = 65_535;
/// Shorter is a keep-alive, and no message of SIP.
const RUNT: usize = 16;
/// While the thread waits for its core, a quarter of a second of a flood; the kernel counts twice the bytes.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Keeps a lasting fault of a socket from turning into a busy loop.
const FAILURES_MAX: u32 = 64;
const PAUSE: Duration = Duration::from_millis(100);
