//! Connections that were not made to talk: another authority, silence, halves, single bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use actors::phone::{Action, State, Voice};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::driver::{Door, Fleet, Place, shake_hands};
use crate::support::server::Server;

#[test]
fn a_phone_that_trusts_another_authority_refuses() {
    let mut server = Server::start();
    let phone = server.extension("101");
    let mut fleet = Fleet::new();
    let stranger = fleet.plug_in(&server.door_trusting(another_authority()), phone);
    let why = fleet.wait("the phone to refuse", SOON, |seats| seats[stranger.0].trouble.clone());
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert!(!fleet.seats()[stranger.0].phone.is_registered());
    assert!(fleet.seats()[stranger.0].events.is_empty());
    assert!(server.json(&["devices"]).as_array().is_some_and(Vec::is_empty));

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let door = server.door();
    let mut names: Vec<ServerName<'static>> = vec![
        ServerName::try_from("localhost").unwrap(),
        ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()),
        ServerName::IpAddress(server.host().into()),
    ];
    for name in names.drain(..) {
        let door = Door { name: name.clone(), ..door.clone() };
        let met = runtime.block_on(shake_hands(&door));
        assert!(met.is_ok(), "{name:?}: {:?}", met.err());
    }
    let door = Door { name: ServerName::try_from("pbx.example.com").unwrap(), ..door };
    let met = runtime.block_on(shake_hands(&door));
    let why = met.expect_err("the certificate does not carry this name").to_string();
    assert!(why.contains("not valid for name"), "{why}");
}

#[test]
fn abused_connections_leave_calls_alone_and_memory_bounded() {
    // From an address of its own, as an attacker has.
    let elsewhere = Place::take().expect("a loopback address");
    let registered = abused_from(elsewhere.address);
    assert!(registered < Duration::from_secs(5), "a new phone waited {registered:?}");
}

/// Behind the office's own address the handshakes of an abuser take the turns of its phones: those
/// that are connected don't notice, a new one waits until the mute ones are cut off.
#[test]
fn abuse_from_the_offices_address_only_delays_a_new_phone() {
    let registered = abused_from([127, 0, 0, 1].into());
    assert!(registered < Duration::from_secs(15), "a new phone waited {registered:?}");
}

/// Returns how long a new phone took to register meanwhile.
fn abused_from(from: IpAddr) -> Duration {
    let mut server = Server::start();
    let mut fleet = Fleet::new();
    let settings: Vec<_> = ["101", "102", "103", "104"].map(|n| server.extension(n)).into();
    let phones: Vec<_> =
        settings[..3].iter().map(|s| fleet.plug_in(&server.door(), s.clone())).collect();
    let (a, b) = (phones[0], phones[1]);
    fleet.wait_registered(&phones, SOON);
    let (at_a, at_b) = fleet.call(a, b, SOON);
    fleet.wait_state(a, at_a, State::Up, SOON);
    fleet.wait_heard(a, at_a, Voice(102), 20, SOON);
    let before = server.memory();

    let abuse = Abuse { from, to: server.address(), door: server.door() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let held = runtime.block_on(abuse.connect());
    let dripping = runtime.spawn(drip(held.dripping));
    println!(
        "{} connections without a handshake, {} idle, {} with half a message, {} a byte at a time",
        held.mute.len(),
        held.idle.len(),
        held.half.len(),
        DRIPPING
    );

    // The call that is up is heard as before, and a new phone comes and calls.
    fleet.wait_heard(a, at_a, Voice(102), 50, SOON);
    fleet.wait_heard(b, at_b, Voice(101), 50, SOON);
    let start = Instant::now();
    let late = fleet.plug_in(&server.door(), settings[3].clone());
    fleet.wait_registered(&[late], SOON);
    let registered = start.elapsed();
    let (call, _) = fleet.call(late, phones[2], SOON);
    fleet.wait_state(late, call, State::Up, SOON);
    fleet.wait_heard(late, call, Voice(103), 20, SOON);
    let called = start.elapsed();
    let during = server.memory();
    let grown = during.saturating_sub(before);
    println!(
        "memory {before} KiB before, {during} KiB during; a phone registered within {:.2} s and spoke \
         after {:.2} s",
        registered.as_secs_f64(),
        called.as_secs_f64()
    );
    assert!(grown < GROWTH_MAX, "{grown} KiB more for {CONNECTIONS} connections");
    fleet.act(a, Action::HangUp { call: at_a });
    fleet.act(late, Action::HangUp { call });
    fleet.wait_idle(&[a, b, late, phones[2]], SOON);
    dripping.abort();
    drop((held.mute, held.idle, held.half));
    assert_eq!(fleet.confusions(), Vec::<String>::new());
    assert_eq!(server.records(2).len(), 2);
    registered
}

struct Abuse {
    from: IpAddr,
    to: SocketAddr,
    door: Door,
}

/// What stays open. The server may close any of it: fewer then.
#[derive(Default)]
struct Held {
    mute: Vec<TcpStream>,
    idle: Vec<TlsStream<TcpStream>>,
    half: Vec<TlsStream<TcpStream>>,
    dripping: Vec<TlsStream<TcpStream>>,
}

impl Abuse {
    async fn connect(&self) -> Held {
        let mut held = Held::default();
        // First those that speak TLS: the mute ones may use up what one source may have half-open.
        for number in 0..CONNECTIONS - MUTE {
            let Some(mut stream) = self.handshake().await else { continue };
            match number {
                0..DRIPPING => held.dripping.push(stream),
                DRIPPING..60 => {
                    if stream.write_all(HALF).await.is_ok() && stream.flush().await.is_ok() {
                        held.half.push(stream);
                    }
                }
                _ => held.idle.push(stream),
            }
        }
        assert!(held.dripping.len() == DRIPPING, "{} drip", held.dripping.len());
        for _ in 0..MUTE {
            held.mute.extend(self.reach().await);
        }
        held
    }

    async fn reach(&self) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::new(self.from, 0)).ok()?;
        tokio::time::timeout(REACH_MAX, socket.connect(self.to)).await.ok()?.ok()
    }

    async fn handshake(&self) -> Option<TlsStream<TcpStream>> {
        let stream = self.reach().await?;
        let connector = TlsConnector::from(self.door.tls.clone());
        let met = connector.connect(self.door.name.clone(), stream);
        tokio::time::timeout(REACH_MAX, met).await.ok()?.ok()
    }
}

/// A long message, a byte a record, from all of them in turn, until the server has had enough.
async fn drip(mut streams: Vec<TlsStream<TcpStream>>) {
    let message =
        format!("{}X-Filler: {}\r\n", str::from_utf8(HALF).expect("text"), "a".repeat(60_000));
    for byte in message.bytes() {
        let mut left = Vec::new();
        for mut stream in streams {
            if stream.write_all(&[byte]).await.is_ok() && stream.flush().await.is_ok() {
                left.push(stream);
            }
        }
        if left.is_empty() {
            return;
        }
        streams = left;
        tokio::time::sleep(DRIP).await;
    }
}

/// The certificate of an authority that nobody knows.
fn another_authority() -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).expect("a certificate").der().clone()
}

const HALF: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/TLS host;branch=z9hG4bK1\r\n";
const CONNECTIONS: usize = 200;
const MUTE: usize = 80;
const DRIPPING: usize = 20;
/// Between two bytes of one connection: the pace of an attacker, not a wait for anything.
const DRIP: Duration = Duration::from_millis(5);
const REACH_MAX: Duration = Duration::from_secs(5);
/// In KiB: 200 KiB for each connection, four times what TLS and its buffers take.
const GROWTH_MAX: u64 = 200 * CONNECTIONS as u64;
const SOON: Duration = Duration::from_secs(20);
