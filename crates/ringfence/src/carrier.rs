//! The way to carriers: connections that we open, and one UDP socket and one TCP listener for each
//! realm that has trunks of that kind.
//!
//! A connection that we opened is served like an accepted one, by [`Flows`], but it needs to prove
//! nothing and counts among its own: [`CONNECTIONS_MAX`] at once, the next is refused. Connecting and
//! shaking hands take [`CONNECT_MAX`] together at most.
//!
//! A carrier's certificate must name what the trunk names, and come from an authority that this host's
//! distribution trusts, or from the trunk's own, then from that alone. There is no way around it:
//! a carrier that proves nothing is a trunk over TCP, and shows as one.
//!
//! Their datagrams have a share that strangers can't fill ([`crate::datagrams`]).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use guard::id::RealmId;
use pbx::command::Mend;
use pbx::flow::{FlowId, FlowOpened, Transport};
use pbx::io::{ConnectError, Far};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::datagrams::{Datagrams, Guests, Reading};
use crate::flows::{self, Flows, Seat, Security, Sink};
use crate::tls::Identity;

/// See the module.
pub(crate) struct Carriers<S: Sink> {
    flows: Arc<Flows<S>>,
    sides: BTreeMap<RealmId, Side>,
    /// What we show to a carrier that asks for a certificate.
    identity: RwLock<Option<Arc<Identity>>>,
    /// What this host trusts; read when it is first needed.
    public: Mutex<Option<Arc<RootCertStore>>>,
    connections: Arc<Semaphore>,
    /// Held while something is opened, so that nothing is opened twice.
    doors: tokio::sync::Mutex<BTreeMap<RealmId, Doors>>,
    tasks: Mutex<Vec<AbortHandle>>,
    sockets: Mutex<Vec<Reading>>,
}

/// A realm, as far as carriers are concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) bind: IpAddr,
    /// `None`: it has neither a socket nor a listener for carriers. Zero: any that is free.
    pub(crate) port: Option<u16>,
}

/// What is open of a realm.
#[derive(Default)]
struct Doors {
    udp: Option<(FlowId, SocketAddr)>,
    tcp: Option<SocketAddr>,
}

impl<S: Sink> Carriers<S> {
    pub(crate) fn new(flows: Arc<Flows<S>>, sides: BTreeMap<RealmId, Side>) -> Arc<Self> {
        Arc::new(Self {
            flows,
            sides,
            identity: RwLock::default(),
            public: Mutex::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            doors: tokio::sync::Mutex::default(),
            tasks: Mutex::default(),
            sockets: Mutex::default(),
        })
    }

    /// Connections to come show this certificate, and the host's authorities are read anew for them.
    pub(crate) fn replace_identity(&self, identity: Identity) {
        let identity = Some(Arc::new(identity));
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
        *self.public.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Opens the way to `to`. The exchange has been told of the flow when this returns it.
    pub(crate) async fn connect(self: &Arc<Self>, to: &Far) -> Result<FlowId, ConnectError> {
        match to.place.transport {
            Transport::Udp => self.socket(to.realm).await.map(|(flow, _)| flow),
            Transport::Tcp => {
                // A carrier known by its address calls us on our port. That it can't is no reason
                // why we couldn't call it.
                if let Err(error) = self.listen(to.realm).await {
                    tracing::warn!(%error, "carriers can't connect to this realm over TCP");
                }
                self.open(to).await
            }
            Transport::Tls => self.open(to).await,
            Transport::Ws | Transport::Wss => {
                Err(ConnectError::Refused("no carrier is reached over WebSocket".to_owned()))
            }
        }
    }

    async fn open(self: &Arc<Self>, to: &Far) -> Result<FlowId, ConnectError> {
        let Ok(place) = self.connections.clone().try_acquire_owned() else {
            let wrong = format!("{CONNECTIONS_MAX} connections to carriers are open already");
            return Err(ConnectError::Refused(wrong));
        };
        let side = self.side(to.realm)?;
        let started = Instant::now();
        let deadline = started + CONNECT_MAX;
        let in_time = |_| ConnectError::TimedOut;
        let remote = to.place.remote;
        let tcp = timeout_at(deadline, dial(side.bind, remote)).await.map_err(in_time)??;
        flows::tune(&tcp);
        let local = tcp.local_addr().map_err(|error| unreachable(remote, &error))?;
        let seat = Seat::ours(remote.ip());
        let flow = self.flows.draw(to.place.transport);
        let opened = |tls| FlowOpened {
            flow,
            realm: to.realm,
            local,
            remote: Some(remote),
            tls,
            origin: None,
        };
        let flows = self.flows.clone();
        if to.place.transport != Transport::Tls {
            let announced = flows.announce(opened(None), remote, seat);
            tokio::spawn(async move {
                flows.run(tcp, announced, started).await;
                drop(place);
            });
            return Ok(flow);
        }
        let name = ServerName::try_from(to.name.clone()).map_err(|_| {
            tls(format!("{} is no name for a certificate", to.name), Mend::ServerName)
        })?;
        let connector = TlsConnector::from(Arc::new(self.client(to).await?));
        let shaken = timeout_at(deadline, connector.connect(name, tcp)).await.map_err(in_time)?;
        let stream = shaken.map_err(|error| untrusted(&error, to))?;
        let facts = flows::facts(stream.get_ref().1, None, Some(to.name.clone()));
        let announced = flows.announce(opened(Some(facts)), remote, seat);
        tokio::spawn(async move {
            flows.run(stream, announced, started).await;
            drop(place);
        });
        Ok(flow)
    }

    /// What a connection is opened with.
    async fn client(&self, to: &Far) -> Result<ClientConfig, ConnectError> {
        let roots = match &to.authority {
            Some(pem) => Arc::new(authority(pem)?),
            None => self.public().await?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| tls(error.to_string(), Mend::Host))?
            .with_root_certificates(roots);
        let identity = self.identity.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
        let (chain, key) = (identity.chain.clone(), identity.key.clone_key());
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| tls(format!("our own certificate: {error}"), Mend::Host))
    }

    /// The authorities that this host's distribution or its owner put into the system's store: who may
    /// vouch for a carrier is theirs to say, and they hear of it when one falls.
    async fn public(&self) -> Result<Arc<RootCertStore>, ConnectError> {
        let known = self.public.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.map(|found| found.certs).unwrap_or_default());
        if roots.is_empty() {
            let why = "this host trusts no authorities: install ca-certificates, or give the trunk its \
                       carrier's authority";
            return Err(tls(why.to_owned(), Mend::Authority));
        }
        let roots = Arc::new(roots);
        *self.public.lock().unwrap_or_else(PoisonError::into_inner) = Some(roots.clone());
        Ok(roots)
    }

    /// The realm's UDP socket for carriers, bound where it isn't yet, and where it is. It stays for the
    /// life of the node.
    pub(crate) async fn socket(
        self: &Arc<Self>,
        realm: RealmId,
    ) -> Result<(FlowId, SocketAddr), ConnectError> {
        let mut doors = self.doors.lock().await;
        let doors = doors.entry(realm).or_default();
        if let Some(open) = doors.udp {
            return Ok(open);
        }
        let address = self.address(realm, doors.tcp)?;
        let socket = Datagrams::bind(address).map_err(|error| taken("UDP", address, &error))?;
        let opened = self.flows.open_socket(socket, realm, Guests::Carriers);
        let (flow, local, reading) = opened.map_err(|error| taken("UDP", address, &error))?;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
        tracing::info!(%local, "listening for carriers over UDP");
        doors.udp = Some((flow, local));
        Ok((flow, local))
    }

    /// Listens for carriers over TCP, where it doesn't yet. Strangers there are admitted like phones.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        realm: RealmId,
    ) -> Result<SocketAddr, ConnectError> {
        let mut doors = self.doors.lock().await;
        let doors = doors.entry(realm).or_default();
        if let Some(local) = doors.tcp {
            return Ok(local);
        }
        let address = self.address(realm, doors.udp.map(|(_, local)| local))?;
        let failed = |error: io::Error| taken("TCP", address, &error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let accepting =
            self.flows.clone().accept(listener, realm, Security::Clear(Guests::Carriers));
        self.keep(tokio::spawn(accepting).abort_handle());
        tracing::info!(%local, "listening for carriers over TCP");
        doors.tcp = Some(local);
        Ok(local)
    }

    /// Ends what listens. Connections that are up go on.
    pub(crate) fn close(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn keep(&self, task: AbortHandle) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn side(&self, realm: RealmId) -> Result<&Side, ConnectError> {
        let unknown = || ConnectError::Refused(format!("there is no realm {}", realm.0));
        self.sides.get(&realm).ok_or_else(unknown)
    }

    /// Where a socket of the realm is to be bound. `other`: what is open over the other protocol, whose
    /// port it shares where the system chose one.
    fn address(
        &self,
        realm: RealmId,
        other: Option<SocketAddr>,
    ) -> Result<SocketAddr, ConnectError> {
        let side = self.side(realm)?;
        let Some(port) = side.port else {
            return Err(ConnectError::Refused(format!(
                "realm {} has no port for carriers: set its carrier_port in ringfence.toml",
                side.name
            )));
        };
        let chosen = other.filter(|_| port == 0).map(|other| other.port());
        Ok(SocketAddr::new(side.bind, chosen.unwrap_or(port)))
    }
}

/// Connects from the realm's own address, where it is bound to one.
async fn dial(bind: IpAddr, remote: SocketAddr) -> Result<TcpStream, ConnectError> {
    let failed = |error: io::Error| unreachable(remote, &error);
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| ConnectError::Refused(format!("no socket: {error}")))?;
    if !bind.is_unspecified() {
        if bind.is_ipv4() != remote.is_ipv4() {
            let wrong = format!("{remote} can't be reached from {bind}, of the other family");
            return Err(ConnectError::Unreachable(wrong));
        }
        socket.bind(SocketAddr::new(bind, 0)).map_err(failed)?;
    }
    socket.connect(remote).await.map_err(failed)
}

fn unreachable(remote: SocketAddr, error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            ConnectError::Unreachable(format!("nobody listens on {remote}"))
        }
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            ConnectError::Unreachable(format!("no way leads to {remote}"))
        }
        _ => ConnectError::Unreachable(format!("{remote}: {error}")),
    }
}

fn taken(protocol: &str, address: SocketAddr, error: &io::Error) -> ConnectError {
    ConnectError::Refused(format!(
        "no {protocol} socket on {address}: {error}; correct bind or carrier_port in ringfence.toml"
    ))
}

/// The trunk's own authority, to be trusted instead of the public ones.
fn authority(pem: &str) -> Result<RootCertStore, ConnectError> {
    let unusable = |what: String| {
        tls(format!("the trunk's own authority can't be used: {what}"), Mend::Authority)
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(roots) }
}

/// Why a handshake came to nothing, and what to do, for people.
fn untrusted(error: &io::Error, to: &Far) -> ConnectError {
    use CertificateError as Certificate;
    let name = &to.name;
    let Some(found) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => tls(
                "the server hung up during the handshake: does it speak TLS on this port?"
                    .to_owned(),
                Mend::Transport,
            ),
            _ => tls(format!("the handshake failed: {error}"), Mend::Carrier),
        };
    };
    let (why, mend) = match found {
        rustls::Error::InvalidCertificate(Certificate::NotValidForNameContext {
            presented,
            ..
        }) => {
            let names = presented.iter().take(NAMES_SHOWN).map(|name| printable(name));
            let names: Vec<String> = names.collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            let why = format!(
                "its certificate is for {names}, not for {name}: correct the trunk's host, or ask the \
                 carrier which name its certificate bears"
            );
            (why, Mend::ServerName)
        }
        rustls::Error::InvalidCertificate(Certificate::NotValidForName) => {
            let why = format!("its certificate is not for {name}: correct the trunk's host");
            (why, Mend::ServerName)
        }
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            let why = match to.authority {
                None => {
                    "its certificate comes from an authority that this host does not trust: give the \
                     trunk the carrier's own authority, if it has one"
                }
                Some(_) => {
                    "its certificate does not come from the trunk's own authority: ask the carrier \
                     for the present one"
                }
            };
            (why.to_owned(), Mend::Authority)
        }
        rustls::Error::InvalidCertificate(
            Certificate::Expired | Certificate::ExpiredContext { .. },
        ) => {
            let why = "its certificate has expired: tell the carrier, and see that this host's clock is \
                       right";
            (why.to_owned(), Mend::Carrier)
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. },
        ) => {
            let why = "its certificate is not valid yet: see that this host's clock is right";
            (why.to_owned(), Mend::Host)
        }
        rustls::Error::InvalidCertificate(other) => {
            (format!("its certificate can't be used ({other}): tell the carrier"), Mend::Carrier)
        }
        rustls::Error::AlertReceived(alert) => {
            let why = format!(
                "the server refused the handshake ({alert:?}): does it want another certificate of ours?"
            );
            (why, Mend::Carrier)
        }
        rustls::Error::PeerIncompatible(_) => {
            let why = "the server speaks neither TLS 1.2 nor 1.3 with a cipher that is still safe";
            (why.to_owned(), Mend::Carrier)
        }
        rustls::Error::InvalidMessage(_) => {
            let why = "what answers does not speak TLS: correct the trunk's port or transport";
            (why.to_owned(), Mend::Transport)
        }
        other => (format!("the handshake failed: {other}"), Mend::Carrier),
    };
    tls(why, mend)
}

fn tls(why: String, mend: Mend) -> ConnectError {
    ConnectError::Tls { why, mend }
}

/// A stranger's text, short and of plain characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(NAME_SHOWN).collect()
}

impl<S: Sink> fmt::Debug for Carriers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carriers").field("sides", &self.sides).finish_non_exhaustive()
    }
}

/// Trunks are few, and each has a connection or two; with their buffers these are some 15 MiB.
const CONNECTIONS_MAX: usize = 256;
/// For connecting and shaking hands: whoever waits for a call waits for this.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Of a certificate that names many.
const NAMES_SHOWN: usize = 3;
const NAME_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    use bytes::Bytes;
    use guard::admission::Change;
    use guard::id::NodeId;
    use pbx::flow::Path;
    use pbx::io::Place;
    use pure::Utc;
    use rustls::ServerConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UdpSocket;
    use tokio::sync::mpsc;
    use tokio_rustls::TlsAcceptor;

    use crate::authority::Authority;
    use crate::config::{ClientCertificates, Limits, TlsVersion};
    use crate::datagrams::{DATAGRAM_MAX, STRANGERS_MAX};
    use crate::flows::{Credit, Outlet};
    use crate::front::Front;
    use crate::tls::ClientJudge;

    #[derive(Debug)]
    enum Event {
        Opened(FlowOpened, Outlet),
        Received(Path, Bytes, Credit),
        Closed(FlowId),
    }

    #[derive(Clone, Debug)]
    struct Inbox(mpsc::UnboundedSender<Event>);

    impl Sink for Inbox {
        fn opened(&self, opened: FlowOpened, outlet: Outlet) {
            let _ = self.0.send(Event::Opened(opened, outlet));
        }
        fn received(&self, path: Path, bytes: Bytes, credit: Credit) {
            let _ = self.0.send(Event::Received(path, bytes, credit));
        }
        fn closed(&self, flow: FlowId) {
            let _ = self.0.send(Event::Closed(flow));
        }
    }

    const REALM: RealmId = RealmId(4);
    const MESSAGE: &str = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    fn now() -> Utc {
        crate::clock::Clock::start().now().utc
    }

    struct Ours {
        carriers: Arc<Carriers<Inbox>>,
        front: Arc<Front>,
        events: mpsc::UnboundedReceiver<Event>,
    }

    impl Ours {
        fn new(port: Option<u16>) -> Self {
            let (sender, events) = mpsc::unbounded_channel();
            let limits =
                Limits { calls: 1, connections: 2, connections_per_source: 2, handshakes: 4 };
            let tls = crate::tls::tests::server();
            let front = crate::front::tests::front();
            let flows = Flows::new(NodeId(0), 40, limits, tls, front.clone(), Inbox(sender));
            let side = Side { name: "access".to_owned(), bind: [127, 0, 0, 1].into(), port };
            let carriers = Carriers::new(Arc::new(flows), [(REALM, side)].into());
            Self { carriers, front, events }
        }

        async fn opened(&mut self) -> (FlowOpened, Outlet) {
            match self.events.recv().await {
                Some(Event::Opened(opened, outlet)) => (opened, outlet),
                other => panic!("{other:?}"),
            }
        }

        async fn received(&mut self) -> (Path, Bytes) {
            match self.events.recv().await {
                Some(Event::Received(path, bytes, credit)) => {
                    drop(credit);
                    (path, bytes)
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn far(transport: Transport, remote: SocketAddr) -> Far {
        let place = Place { transport, remote };
        Far { realm: REALM, place, name: "sip.carrier.test".to_owned(), authority: None }
    }

    /// A carrier's server: what it speaks, and every connection whose handshake went well.
    async fn carrier(
        tls: (Arc<ServerConfig>, ClientJudge),
    ) -> (SocketAddr, mpsc::UnboundedReceiver<tokio_rustls::server::TlsStream<TcpStream>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(tls.0);
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    let _ = sender.send(stream);
                }
            }
        });
        (address, streams)
    }

    fn server(
        authority: &Authority,
        name: &str,
        at: Utc,
        clients: ClientCertificates,
    ) -> (Arc<ServerConfig>, ClientJudge) {
        let identity = authority.issue(&[name.to_owned()], at);
        let authorities = vec![authority.certificate().clone()];
        crate::tls::server(identity, TlsVersion::V1_2, clients, authorities).unwrap()
    }

    fn in_words(result: Result<FlowId, ConnectError>) -> String {
        match result {
            Err(ConnectError::Tls { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_carrier_that_proves_its_name_is_spoken_with_over_one_connection() {
        let authority = Authority::draw(now());
        let tls = server(&authority, "sip.carrier.test", now(), ClientCertificates::Off);
        let (address, mut streams) = carrier(tls).await;
        let mut ours = Ours::new(None);
        let to =
            Far { authority: Some(authority.pem().to_owned()), ..far(Transport::Tls, address) };
        let flow = ours.carriers.connect(&to).await.unwrap();
        // Told before it is answered.
        let (opened, outlet) = ours.opened().await;
        assert_eq!((opened.flow, opened.realm, opened.remote), (flow, REALM, Some(address)));
        assert_eq!(flow.generation, 41);
        let facts = opened.tls.unwrap();
        assert_eq!((facts.version, facts.sni.as_deref()), ("TLSv1.3", Some("sip.carrier.test")));
        let mut theirs = streams.recv().await.unwrap();
        assert_eq!(theirs.get_ref().1.server_name(), Some("sip.carrier.test"));
        outlet.write(address, Bytes::from_static(MESSAGE.as_bytes())).unwrap();
        let mut heard = vec![0; MESSAGE.len()];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, MESSAGE.as_bytes());
        theirs.write_all(b"\r\n\r\n").await.unwrap();
        theirs.write_all(MESSAGE.as_bytes()).await.unwrap();
        let (path, bytes) = ours.received().await;
        assert_eq!((path, &bytes[..]), (Path { flow, remote: address }, MESSAGE.as_bytes()));
        let mut pong = [0; 2];
        theirs.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\r\n");
        drop(theirs);
        assert!(matches!(ours.events.recv().await, Some(Event::Closed(closed)) if closed == flow));
    }

    #[tokio::test]
    async fn a_certificate_that_proves_nothing_is_refused_in_words() {
        let authority = Authority::draw(now());
        let ours = Ours::new(None);
        let trusting = |pem: &str, address| Far {
            authority: Some(pem.to_owned()),
            ..far(Transport::Tls, address)
        };

        let tls = server(&authority, "other.test", now(), ClientCertificates::Off);
        let (address, mut streams) = carrier(tls).await;
        let words = in_words(ours.carriers.connect(&trusting(authority.pem(), address)).await);
        assert!(
            words.contains("other.test") && words.contains("not for sip.carrier.test"),
            "{words}"
        );

        let other = Authority::draw(now());
        let words = in_words(ours.carriers.connect(&trusting(other.pem(), address)).await);
        assert!(words.contains("trunk's own authority"), "{words}");
        // No authority of this host has signed it either, whichever it has.
        let words = in_words(ours.carriers.connect(&far(Transport::Tls, address)).await);
        assert!(words.contains("authorit"), "{words}");
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let words = in_words(ours.carriers.connect(&trusting(bad, address)).await);
            assert!(words.contains("can't be used"), "{words}");
        }

        let year = Duration::from_secs(3 * 366 * 86_400);
        let past = Utc(now().0 - i64::try_from(year.as_micros()).unwrap());
        let tls = server(&authority, "sip.carrier.test", past, ClientCertificates::Off);
        let (address, _) = carrier(tls).await;
        let words = in_words(ours.carriers.connect(&trusting(authority.pem(), address)).await);
        assert!(words.contains("expired"), "{words}");

        // Nothing was opened by any of them.
        let Ours { mut events, carriers, front: _ } = ours;
        assert_eq!(carriers.connections.available_permits(), CONNECTIONS_MAX);
        drop(carriers);
        assert!(events.recv().await.is_none());
        assert!(streams.try_recv().is_err());
    }

    #[tokio::test]
    async fn our_certificate_is_shown_to_a_carrier_that_asks() {
        let authority = Authority::draw(now());
        let tls = server(&authority, "sip.carrier.test", now(), ClientCertificates::Required);
        let (address, mut streams) = carrier(tls).await;
        let ours = Ours::new(None);
        let identity = authority.issue_client("pbx", now());
        let shown = identity.chain[0].clone();
        ours.carriers.replace_identity(identity);
        let to =
            Far { authority: Some(authority.pem().to_owned()), ..far(Transport::Tls, address) };
        ours.carriers.connect(&to).await.unwrap();
        let stream = streams.recv().await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates(), Some(&[shown][..]));
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Ours::new(None);
        let (words, ()) = tokio::join!(
            async {
                let to =
                    Far { authority: Some(PEM.with(Clone::clone)), ..far(Transport::Tls, address) };
                in_words(ours.carriers.connect(&to).await)
            },
            async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                tcp.write_all(b"SIP/2.0 400 Bad Request\r\n\r\n").await.unwrap();
                let mut rest = Vec::new();
                let _ = tcp.read_to_end(&mut rest).await;
            }
        );
        assert!(words.contains("does not speak TLS"), "{words}");
        drop(listener);
        let refused = ours.carriers.connect(&far(Transport::Tcp, address)).await;
        let expected = format!("nobody listens on {address}");
        assert_eq!(refused, Err(ConnectError::Unreachable(expected)));
    }

    thread_local! {
        static PEM: String = Authority::draw(now()).pem().to_owned();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up_after_ten_seconds() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Ours::new(None);
        let to = Far { authority: Some(PEM.with(Clone::clone)), ..far(Transport::Tls, address) };
        let began = Instant::now();
        assert_eq!(ours.carriers.connect(&to).await, Err(ConnectError::TimedOut));
        assert_eq!(began.elapsed().as_secs(), CONNECT_MAX.as_secs());
        assert_eq!(ours.carriers.connections.available_permits(), CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn a_carrier_over_tcp_may_be_silent_and_may_call_us_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut ours = Ours::new(Some(0));
        let flow = ours.carriers.connect(&far(Transport::Tcp, address)).await.unwrap();
        let (opened, outlet) = ours.opened().await;
        assert_eq!((opened.flow, opened.tls), (flow, None));
        assert!(outlet.is_ours());
        let (mut theirs, from) = listener.accept().await.unwrap();
        assert_eq!(from, opened.local);
        theirs.write_all(MESSAGE.as_bytes()).await.unwrap();
        assert_eq!(ours.received().await.1, MESSAGE);

        let door = ours.carriers.listen(REALM).await.unwrap();
        let mut back = TcpStream::connect(door).await.unwrap();
        let (opened, stranger) = ours.opened().await;
        assert_eq!(
            (opened.flow.transport, opened.remote),
            (Transport::Tcp, back.local_addr().ok())
        );
        assert!(!stranger.is_ours());
        back.write_all(MESSAGE.as_bytes()).await.unwrap();
        assert_eq!(ours.received().await.1, MESSAGE);
        // Strangers are counted as everywhere; the connection that we opened is not.
        let _second = TcpStream::connect(door).await.unwrap();
        ours.opened().await;
        assert_eq!(ours.carriers.flows.connections(), 2);
        let _third = TcpStream::connect(door).await.unwrap();
        ours.events.recv().await.unwrap();
        assert!(ours.carriers.flows.connections() <= 2);
        drop(outlet);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
    }

    #[tokio::test]
    async fn a_phone_that_signs_in_in_clear_is_cut_off() {
        let mut ours = Ours::new(Some(0));
        let door = ours.carriers.listen(REALM).await.unwrap();
        let mut phone = TcpStream::connect(door).await.unwrap();
        let (opened, _outlet) = ours.opened().await;
        phone.write_all(MESSAGE.replace("OPTIONS", "REGISTER").as_bytes()).await.unwrap();
        let ended = ours.events.recv().await;
        assert!(matches!(&ended, Some(Event::Closed(flow)) if *flow == opened.flow), "{ended:?}");
    }

    #[tokio::test]
    async fn datagrams_go_out_and_come_in_over_one_socket_that_nothing_ends() {
        let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let remote = theirs.local_addr().unwrap();
        let mut ours = Ours::new(Some(0));
        let flow = ours.carriers.connect(&far(Transport::Udp, remote)).await.unwrap();
        let again = ours.carriers.connect(&far(Transport::Udp, remote)).await.unwrap();
        assert_eq!(flow, again, "one socket, whoever is called");
        let (opened, outlet) = ours.opened().await;
        assert_eq!((opened.flow, opened.remote), (flow, None));
        let local = opened.local;
        outlet.write(remote, Bytes::from_static(MESSAGE.as_bytes())).unwrap();
        let mut buffer = vec![0; DATAGRAM_MAX];
        let (len, from) = theirs.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], from), (MESSAGE.as_bytes(), local));

        // Nobody listens there (which comes back as an error), too long, keep-alives, an empty one.
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        outlet.write(nobody, Bytes::from_static(MESSAGE.as_bytes())).unwrap();
        let long = Bytes::from(vec![b'x'; DATAGRAM_MAX]);
        assert_eq!(outlet.write(remote, long), Err(flows::Unsent::Datagram));
        // Nor does a phone sign in here.
        for runt in [&b""[..], b"\r\n\r\n", b"OPTIONS sip:a S", b"REGISTER sip:a SIP/2.0\r\n\r\n"] {
            theirs.send_to(runt, local).await.unwrap();
        }
        let largest = vec![b'y'; 65_507];
        theirs.send_to(&largest, local).await.unwrap();
        let (path, bytes) = ours.received().await;
        assert_eq!((path, bytes.len()), (Path { flow, remote }, largest.len()));
        outlet.write(remote, Bytes::from_static(b"still there")).unwrap();
        let (len, _) = theirs.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"still there");
        ours.carriers.close();
        assert!(matches!(ours.events.recv().await, Some(Event::Closed(closed)) if closed == flow));
    }

    #[tokio::test]
    async fn a_flood_of_strangers_crowds_out_no_carrier() {
        let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut ours = Ours::new(Some(0));
        let (flow, local) = ours.carriers.socket(REALM).await.unwrap();
        let _kept = ours.opened().await;
        let mut held = Vec::new();
        // The exchange takes nothing off: strangers fill their lane, and no more.
        for _ in 0..STRANGERS_MAX {
            theirs.send_to(MESSAGE.as_bytes(), local).await.unwrap();
            held.push(ours.events.recv().await.unwrap());
        }
        theirs.send_to(b"this one finds no room", local).await.unwrap();
        while ours.front.passed().no_room == 0 {
            tokio::task::yield_now().await;
        }
        assert!(ours.events.try_recv().is_err());
        let trusted = Change::Trust(IpAddr::from([127, 0, 0, 1]).into());
        ours.front.apply(trusted);
        theirs.send_to(MESSAGE.as_bytes(), local).await.unwrap();
        let (path, bytes) = ours.received().await;
        assert_eq!((path.flow, &bytes[..]), (flow, MESSAGE.as_bytes()));
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_refused_with_the_remedy() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let remote = taken.local_addr().unwrap();
        let refused = |result: Result<FlowId, ConnectError>| match result {
            Err(ConnectError::Refused(words)) => words,
            other => panic!("{other:?}"),
        };
        let none = Ours::new(None);
        let words = refused(none.carriers.connect(&far(Transport::Udp, remote)).await);
        assert!(words.contains("carrier_port") && words.contains("access"), "{words}");
        let busy = Ours::new(Some(remote.port()));
        let words = refused(busy.carriers.connect(&far(Transport::Udp, remote)).await);
        assert!(words.contains("carrier_port"), "{words}");
        let elsewhere = Far { realm: RealmId(9), ..far(Transport::Tls, remote) };
        refused(none.carriers.connect(&elsewhere).await);
        refused(none.carriers.connect(&far(Transport::Wss, remote)).await);
        let all = none.carriers.connections.clone();
        let _all = all.try_acquire_many(u32::try_from(CONNECTIONS_MAX).unwrap()).unwrap();
        let words = refused(none.carriers.connect(&far(Transport::Tls, remote)).await);
        assert!(words.contains("256"), "{words}");
        let six = far(Transport::Tcp, "[::1]:5060".parse().unwrap());
        drop(_all);
        let error = none.carriers.connect(&six).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    }
}
