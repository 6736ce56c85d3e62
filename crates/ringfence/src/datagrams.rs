//! UDP sockets for SIP, of phones and of carriers: a thread each that reads, and an end that sends.
//!
//! A thread of its own, not a task: a flood must not take turns away from connections. It judges a datagram
//! by its source before anything is copied ([`crate::front`]), and hands it on where its lane has room.
//! Phones and carriers have a share that no stranger can fill. What finds no room is dropped and counted,
//! as a network would. Nothing that can arrive ends the socket.
//!
//! One `recvfrom` for each datagram: dropping 50,000 forged ones a second took 0.7 s of a core in 20 s more
//! than letting the kernel do it (`interop/run flood`).
//! `recvmmsg` would want a buffer of 64 KiB for each place of a batch, and was not measured.

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
pub(crate) struct Datagrams {
    socket: UdpSocket,
    local: SocketAddr,
}

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
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The end to read from, which shares the socket.
    pub(crate) fn reader(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Hands one datagram to the kernel, which either takes it at once or has no room.
    pub(crate) fn send(&self, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let remote = match (self.local.ip(), remote.ip()) {
            // One socket for both families: there IPv4 is written as IPv6 (RFC 4291 §2.5.5.2).
            (IpAddr::V6(own), IpAddr::V4(ip)) if own.is_unspecified() => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), remote.port())
            }
            _ => remote,
        };
        let socket = SockRef::from(&self.socket);
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

#[cfg(test)]
mod tests {
    use super::*;

    use guard::admission::{Admission, Change};
    use guard::id::{NodeId, RealmId};
    use guard::source::Source;
    use pbx::flow::FlowOpened;
    use pure::Utc;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use crate::clock::{self, Clock};
    use crate::config::Limits;
    use crate::flows::{Flows, Outlet};

    /// Stands for the exchange: what reached it. Credits come back when it is taken.
    #[derive(Clone)]
    struct Exchange(mpsc::Sender<(Path, Bytes, Credit)>);

    impl Sink for Exchange {
        fn opened(&self, _: FlowOpened, _: Outlet) {}
        fn received(&self, path: Path, bytes: Bytes, credit: Credit) {
            let _ = self.0.send((path, bytes, credit));
        }
        fn closed(&self, _: FlowId) {}
    }

    struct World {
        front: Arc<Front>,
        address: SocketAddr,
        received: mpsc::Receiver<(Path, Bytes, Credit)>,
        _reading: Reading,
    }

    impl World {
        fn open(guests: Guests, open: bool) -> Self {
            let front = Front::new(Clock::start(), clock::chance().hash_seed(), open);
            let (sender, received) = mpsc::channel();
            let limits =
                Limits { calls: 1, connections: 2, connections_per_source: 2, handshakes: 4 };
            let tls = crate::tls::tests::server();
            let flows = Flows::new(NodeId(0), 0, limits, tls, front.clone(), Exchange(sender));
            let socket = Datagrams::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let (_, address, reading) = flows.open_socket(socket, RealmId(0), guests).unwrap();
            Self { front, address, received, _reading: reading }
        }

        /// What arrives next.
        fn next(&self) -> (Path, Bytes, Credit) {
            self.received.recv_timeout(Duration::from_secs(10)).expect("it arrives")
        }

        /// Sends until so many in all were dropped or had no room: the socket's own buffer may lose some.
        fn flood(&self, from: &UdpSocket, dropped: u64) {
            let gone = || {
                let passed = self.front.passed();
                let counts = passed.counts;
                counts.dropped_banned
                    + counts.dropped_source_rate
                    + counts.dropped_strangers_total
                    + passed.no_room
            };
            while gone() < dropped {
                from.send_to(MESSAGE, self.address).unwrap();
            }
        }
    }

    /// A socket at an address of its own; all of 127/8 is this machine.
    fn at(last: u8) -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap()
    }

    fn source(of: &UdpSocket) -> Source {
        of.local_addr().unwrap().ip().into()
    }

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn a_banned_source_is_dropped_before_anybody_reads_it() {
        let world = World::open(Guests::Phones, false);
        let (rogue, phone) = (at(2), at(3));
        world.front.apply(Change::Ban { source: source(&rogue), until: Utc(i64::MAX) });
        world.flood(&rogue, 10);
        phone.send_to(MESSAGE, world.address).unwrap();
        let (path, bytes, _credit) = world.next();
        assert_eq!((path.remote, &bytes[..]), (phone.local_addr().unwrap(), MESSAGE));
        assert_eq!(world.front.passed().counts.strangers, 1);
        world.front.apply(Change::Unban(source(&rogue)));
        rogue.send_to(MESSAGE, world.address).unwrap();
        // What it sent before may still be on its way, and passes now as well.
        assert_eq!(world.next().0.remote, rogue.local_addr().unwrap());
    }

    #[test]
    fn strangers_never_crowd_out_whoever_is_trusted() {
        let world = World::open(Guests::Phones, false);
        let phone = at(3);
        world.front.apply(Change::Trust(source(&phone)));
        // The exchange takes nothing: strangers fill their lane, and what each may send.
        let strangers: Vec<_> = (10..20).map(at).collect();
        for (dropped, stranger) in (1..).zip(&strangers) {
            world.flood(stranger, dropped * 200);
        }
        for _ in 0..50 {
            phone.send_to(MESSAGE, world.address).unwrap();
            strangers[0].send_to(MESSAGE, world.address).unwrap();
        }
        let mut of_phone = 0;
        let mut of_strangers = 0;
        let mut credits = Vec::new();
        while of_phone < 50 {
            let (path, _, credit) = world.next();
            credits.push(credit);
            if path.remote == phone.local_addr().unwrap() {
                of_phone += 1
            } else {
                of_strangers += 1
            }
        }
        assert_eq!(of_strangers, STRANGERS_MAX, "their lane and no more");
        let passed = world.front.passed();
        assert_eq!(passed.counts.trusted, 50);
        assert!(passed.no_room > 0 && passed.counts.dropped_source_rate > 0, "{passed:?}");
    }

    /// The test of the tests above: without the gate the same flood takes the phone's place.
    #[test]
    fn with_the_gate_open_strangers_crowd_out_everybody() {
        let world = World::open(Guests::Phones, true);
        let (phone, rogue) = (at(3), at(2));
        world.front.apply(Change::Trust(source(&phone)));
        world.front.apply(Change::Ban { source: source(&rogue), until: Utc(i64::MAX) });
        world.flood(&rogue, 10);
        let before = world.front.passed().no_room;
        while world.front.passed().no_room == before {
            phone.send_to(MESSAGE, world.address).unwrap();
        }
        let held: Vec<_> = world.received.try_iter().collect();
        assert_eq!(held.len(), STRANGERS_MAX);
        assert!(held.iter().all(|(path, _, _)| path.remote == rogue.local_addr().unwrap()));
    }

    #[test]
    fn keep_alives_cost_nothing_and_phones_sign_in_where_phones_are_expected() {
        let register = b"REGISTER sip:a SIP/2.0\r\n\r\n";
        for (guests, signs_in) in [(Guests::Phones, true), (Guests::Carriers, false)] {
            let world = World::open(guests, false);
            let phone = at(3);
            for _ in 0..1_000 {
                phone.send_to(b"\r\n\r\n", world.address).unwrap();
            }
            phone.send_to(register, world.address).unwrap();
            phone.send_to(MESSAGE, world.address).unwrap();
            let (_, bytes, _credit) = world.next();
            assert_eq!(bytes.starts_with(b"REGISTER"), signs_in);
            assert!(world.front.passed().counts.strangers <= u64::from(Admission::STRANGER.burst));
            assert_eq!(world.front.passed().counts.dropped_source_rate, 0);
        }
    }
}
