//! Bring-up: from a judged configuration to a node that serves, in an order that leaves nothing half
//! made. First what may fail for reasons outside (ports), then the folder and what is in it, then the
//! threads; connections are accepted last.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use guard::id::{RealmId, TenantId};
use guard::number::Country;
use guard::secret::MasterKey;
use pbx::directory::{Tenant, Trunk, TrunkAccess};
use pbx::flow::{Realm, Transport};
use pbx::io::ConnectError;
use pbx::record::{Loaded, Row};
use pbx::settings::Dangerous;
use pure::Now;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use store::{Folder, Reader, Writer};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::admin;
use crate::admin::work::{Door, InClear, Office};
use crate::alerts::{self, Alerts};
use crate::authority::{self, Authority};
use crate::carrier::{Carriers, Side};
use crate::clock::{self, Clock};
use crate::config::{Config, Durability, KernelTable, RealmConfig};
use crate::data_dir::{self, Trouble, replace};
use crate::datagrams::{Datagrams, Guests, Reading};
use crate::exchange_thread::{self, Engine, ExchangeThread, Inbox, Pulse, Remains, State};
use crate::flows::{Flows, Security};
use crate::front::Front;
use crate::home::{self, Standing, Surroundings};
use crate::keeper::{Keeper, Outward};
use crate::kernel::{Kernel, Ports};
use crate::locate::Locator;
use crate::media::{Media, MediaRealm};
use crate::status_page::{self, Page};
use crate::tls::{self, ClientJudge, Identity};

/// A node that serves.
pub(crate) struct Node<E: Engine> {
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) flows: Arc<Flows<Inbox>>,
    pub(crate) carriers: Arc<Carriers<Inbox>>,
    pub(crate) grounds: Grounds,
    /// Where phones connect over TLS.
    pub(crate) door: Option<SocketAddr>,
    /// What listens where, for people.
    pub(crate) listening: Vec<(String, String)>,
    /// Where it is at home, for people.
    pub(crate) standing: Standing,
    /// Its folder was made, or filled, at this start.
    pub(crate) is_new: bool,
    /// Whether some trunk is in service that a call for help could leave by.
    pub(crate) help_leaves: bool,
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    alerts: Arc<Alerts>,
    exchange: JoinHandle<Remains<Keeper<E>>>,
    accepting: Vec<tokio::task::JoinHandle<()>>,
    /// The phones' UDP sockets.
    reading: Vec<Reading>,
    front: Arc<Front>,
}

/// What certificates are made from: kept, because they are made anew while the node runs.
pub(crate) struct Grounds {
    pub(crate) config: Config,
    pub(crate) folder: Folder,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) authority: Authority,
    /// From `--name` and the realms.
    names: Vec<String>,
}

/// What accepted connections are made with.
type Shown = (Arc<ServerConfig>, ClientJudge);

/// What an exchange is made with, beside what was stored.
#[derive(Clone, Debug)]
pub(crate) struct Facing {
    pub(crate) node: guard::id::NodeId,
    pub(crate) realms: Vec<Realm>,
    /// Calls at once.
    pub(crate) calls_max: usize,
}

/// Brings a node up. `make` builds its exchange, now and after each fault; `dangerous` is what a test may
/// switch off.
///
/// # Errors
/// What a person must mend, in words; nothing is left half-made.
pub(crate) async fn bring_up<E, M>(
    config: Config,
    data: &Path,
    names: &[String],
    home: Option<Country>,
    dangerous: Dangerous,
    make: impl FnOnce(Facing) -> M,
) -> Result<Node<E>, Trouble>
where
    E: Engine + Send + 'static,
    M: Fn(Loaded, Now) -> E + Send + 'static,
{
    let clock = Clock::start();
    let mut chance = clock::chance();
    let mut sockets = Vec::new();
    let mut datagrams = Vec::new();
    // A second start in the same folder is told so, and not that its own port is taken. A folder that
    // isn't there yet is made only once every port is ours.
    let known = if data.join(data_dir::DATABASE_FILE).exists() { Some(open(data)?) } else { None };
    for realm in &config.realms {
        if let Some(port) = realm.tls_port {
            let address = SocketAddr::new(realm.bind, port);
            sockets.push((realm.id, Security::Tls, listen("SIP over TLS", address).await?));
        }
        if let Some(port) = realm.tcp_port {
            let address = SocketAddr::new(realm.bind, port);
            let clear = Security::Clear(Guests::Phones);
            sockets.push((realm.id, clear, listen("SIP over TCP", address).await?));
        }
        if let Some(port) = realm.udp_port {
            let address = SocketAddr::new(realm.bind, port);
            let socket = Datagrams::bind(address)
                .map_err(|error| cannot_listen("SIP over UDP", address, &error))?;
            datagrams.push((realm.id, socket));
        }
    }
    let page_socket = match config.status_page {
        Some(address) => Some(listen("the status page", address).await?),
        None => None,
    };
    let is_new = known.is_none();
    let folder = known.map_or_else(|| open(data), Ok)?;
    let names = remember(&folder, names)?;
    let facing = config
        .realms
        .iter()
        .map(|realm| advertised(realm, names.first()))
        .collect::<Result<Vec<_>, _>>()?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let master = data_dir::master_key(data, credentials.as_deref(), &mut chance)?;
    let master = Arc::new(master);
    let authority = Authority::open(data, &master, &mut chance, clock.now().utc)?;
    show_authority(&data.join(AUTHORITY_CERTIFICATE), authority.pem())?;
    let mut extra = names;
    extra.extend(facing.iter().flat_map(|(host, ip)| [host.clone(), ip.to_string()]));
    let grounds = Grounds { config, folder, master: master.clone(), authority, names: extra };
    let (tls, identity) = grounds.tls(clock.now())?;

    let config = &grounds.config;
    let mut opened = store::open(
        &grounds.folder,
        store::Options {
            master: master.clone(),
            chance: chance.fork(),
            now: clock.now().utc,
            durability: match config.database.durability {
                Durability::Process => store::Durability::Process,
                Durability::Power => store::Durability::Power,
            },
            size_max: None,
            first: store::First { node: config.node, realm: DIGEST_REALM.to_owned() },
        },
    )
    .await
    .map_err(|error| store_trouble(&error))?;
    for damaged in &opened.stored.damaged {
        tracing::error!(%damaged, "a stored row is left out");
    }
    if let Some(broken) = &opened.journal_break {
        tracing::error!(
            entry = broken.sequence,
            why = %broken.why,
            "the journal does not end where it did; run: ringfence journal verify"
        );
    }
    let mut alerts = opened.alerts;
    tokio::spawn(async move {
        while let Some(fact) = alerts.recv().await {
            exchange_thread::log(&fact);
        }
    });

    if opened.stored.tenants.is_empty() {
        let house = the_house(&opened.writer, opened.meta.realm.clone()).await?;
        opened.stored.tenants.push(house);
    }
    let here = Surroundings::here();
    let standing =
        home::settle(&opened.writer, &mut opened.stored, home, here, clock.now()).await?;
    let help_leaves = opened.stored.trunks.iter().any(|trunk| trunk.enabled);

    let (inbox, events) = exchange_thread::inbox();
    let (pulse, state) = Pulse::new();
    let media_realms: Vec<MediaRealm> = config
        .realms
        .iter()
        .zip(&facing)
        .map(|(realm, (_, ip))| MediaRealm {
            id: rtp::relay::RealmId(realm.id.0),
            bind: realm.bind,
            advertise: *ip,
            ports: realm.media_ports,
        })
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = config.media_threads.unwrap_or(cores.min(MEDIA_THREADS));
    let no_thread = |error: io::Error| {
        Trouble::new(
            format!("a thread could not be started: {error}"),
            "raise the limits on processes and open files of this user",
        )
    };
    let media = match dangerous.without_media {
        true => Media::null(&media_realms, inbox.clone()),
        false => Media::start(&media_realms, threads, clock, chance.fork(), inbox.clone())
            .map_err(no_thread)?,
    };
    let counters = media.counters();

    let generation = opened.stored.generation;
    let front = Front::new(clock, chance.hash_seed(), dangerous.without_wall);
    let (limits, heir) = (config.limits, front.clone());
    let flows = Arc::new(Flows::new(config.node, generation, limits, tls, heir, inbox.clone()));
    let sides = config.realms.iter().map(|realm| {
        let (name, port) = (realm.name.clone(), realm.carrier_port);
        (realm.id, Side { name, bind: realm.bind, port })
    });
    let carriers = Carriers::new(flows.clone(), sides.collect());
    carriers.replace_identity(identity);

    let mut realms = Vec::new();
    let mut listening = Vec::new();
    let mut door = None;
    let mut entrance = None;
    let house = opened.stored.tenants.first().expect("made above where there was none");
    let (tenant, realm) = (house.id, house.realm.clone());
    let (mut ports, mut in_clear, mut reading) = (Ports::default(), Vec::new(), Vec::new());
    let file = data.join("ringfence.toml");
    let file = if file.exists() { file } else { "the configuration file".into() };
    for (realm, (host, _)) in config.realms.iter().zip(&facing) {
        let (mut transports, mut for_carriers) = (Vec::new(), Vec::new());
        let mut told = |transport: Transport, bound: SocketAddr, weakness: &str| {
            transports.push((transport, host.clone(), bound.port()));
            let what = format!("SIP over {}{weakness}, realm {}", transport.via(), realm.name);
            listening.push((what, format!("{bound}, phones use {host}:{}", bound.port())));
            if !weakness.is_empty() {
                let (via, key) = (transport.via(), transport.via().to_ascii_lowercase());
                in_clear.push(InClear {
                    what: format!("SIP over {via} on {bound}: whoever is on the way reads who calls whom"),
                    remedy: format!(
                        "when every phone uses TLS, take transports.{key} of realm {} out of {} (and leave \
                         transports.tls in), then restart",
                        realm.name,
                        file.display()
                    ),
                });
            }
        };
        for (_, security, socket) in sockets.iter().filter(|(id, _, _)| *id == realm.id) {
            let bound = socket.local_addr().map_err(no_thread)?;
            ports.tcp.insert(bound.port());
            if *security == Security::Tls {
                told(Transport::Tls, bound, "");
                entrance.get_or_insert(bound);
                door.get_or_insert_with(|| (host.clone(), bound.port()));
            } else {
                told(Transport::Tcp, bound, IN_CLEAR);
            }
        }
        // Before the carriers' sockets: what a crash left open on phones is ended from here.
        for (id, socket) in std::mem::take(&mut datagrams) {
            if id != realm.id {
                datagrams.push((id, socket));
                continue;
            }
            let opened = flows.open_socket(socket, id, Guests::Phones).map_err(no_thread)?;
            told(Transport::Udp, opened.1, IN_CLEAR);
            ports.udp.insert(opened.1.port());
            reading.push(opened.2);
        }
        if let Some(port) = realm.carrier_port {
            // Where the system chooses the port, it must be known before it is written anywhere.
            let (udp, tcp) = match port {
                0 => {
                    let refused = |error| no_carrier_port(&realm.name, &error);
                    let (_, udp) = carriers.socket(realm.id).await.map_err(refused)?;
                    (udp.port(), carriers.listen(realm.id).await.map_err(refused)?.port())
                }
                _ => (port, port),
            };
            for_carriers.push((Transport::Udp, host.clone(), udp));
            for_carriers.push((Transport::Tcp, host.clone(), tcp));
            ports.udp.insert(udp);
            ports.tcp.insert(tcp);
        }
        let (id, name) = (realm.id, realm.name.clone());
        realms.push(Realm { id, name, advertised: transports, for_carriers });
        let what = format!("audio (SRTP), realm {}", realm.name);
        listening.push((what, format!("{} UDP ports {}", realm.bind, realm.media_ports)));
    }
    let called: Vec<(RealmId, Transport)> =
        opened.stored.trunks.iter().filter_map(called).collect();
    let make = make(Facing { node: config.node, realms, calls_max: config.limits.calls });
    let outward = Outward {
        carriers: carriers.clone(),
        locator: Arc::new(Locator::new(chance.fork())),
        front: front.clone(),
    };
    let (stored, writer) = (opened.stored, opened.writer.clone());
    let mut keeper = Keeper::new(stored, master.clone(), writer, inbox.clone(), outward, make);
    if config.kernel == KernelTable::Auto {
        front.extend(Kernel::start(ports, clock, inbox.clone()).map_err(no_thread)?);
    }
    for way in &in_clear {
        tracing::warn!("phones may speak in clear: {}; let phones use TLS", way.what);
    }
    let engine = exchange_thread::Outside::rebuild(&mut keeper, clock.now())
        .map_err(|error| Trouble::new(error, "see the log"))?;
    let node = config.node;
    let thread = ExchangeThread::new(node, clock, engine, keeper, media, events, pulse.clone());
    let exchange = std::thread::Builder::new()
        .name("exchange".to_owned())
        .spawn(move || thread.run())
        .map_err(no_thread)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    inbox.fact(guard::fact::Fact::NodeStarted { node, version });

    let mut accepting = vec![tokio::spawn(front.clone().upkeep(inbox.clone()))];
    if let Some(socket) = &page_socket {
        let bound = socket.local_addr().map_err(no_thread)?;
        listening.push((STATUS_PAGE.to_owned(), format!("http://{bound}/")));
    }
    let page = listening.iter().find(|(what, _)| what == STATUS_PAGE);
    let ca_url = page.map(|(_, address)| format!("{address}ca.pem"));
    let (domain, port) = door.unwrap_or_default();
    let alerts = Alerts::start(alerts::Ground {
        node,
        tenant,
        clock,
        key: master.clone(),
        store: opened.reader.clone(),
        writer: opened.writer.clone(),
        exchange: inbox.clone(),
    })
    .await;
    let office = Arc::new(Office {
        node,
        tenant,
        realm,
        realms: config.realms.iter().map(|realm| (realm.name.clone(), realm.id)).collect(),
        key: master,
        clock,
        chance: chance.fork().into(),
        exchange: inbox.clone(),
        store: opened.reader.clone(),
        alerts: Some(alerts.clone()),
        door: Door {
            domain,
            port,
            ca_file: grounds.authority_file(),
            ca_sha256: grounds.fingerprint(),
            ca_url,
            certificate: config.tls.files.as_ref().map(|(certificate, _)| certificate.clone()),
        },
        front: front.clone(),
        in_clear,
    });
    if let Some(socket) = page_socket {
        let page = Page {
            office: office.clone(),
            inbox: inbox.clone(),
            clock,
            pulse: pulse.clone(),
            flows: flows.clone(),
            media: counters,
            listening: listening.clone(),
            authority_pem: grounds.authority.pem().to_owned(),
            authority_fingerprint: grounds.fingerprint(),
        };
        accepting.push(tokio::spawn(status_page::serve(socket, page)));
    }
    let socket = admin::server::listen(grounds.folder.path())?;
    let path = grounds.folder.file(admin::SOCKET).display().to_string();
    listening.push(("administration".to_owned(), path));
    accepting.push(tokio::spawn(admin::server::serve(socket, office)));
    for (realm, security, socket) in sockets {
        accepting.push(tokio::spawn(flows.clone().accept(socket, realm, security)));
    }
    for (realm, transport) in called {
        let opened = match transport {
            Transport::Udp => carriers.socket(realm).await.map(drop),
            _ => carriers.listen(realm).await.map(drop),
        };
        if let Err(error) = opened {
            // Phones and other trunks work without it.
            tracing::error!(%error, "a carrier that knows our address can't call us");
        }
    }
    Ok(Node {
        clock,
        inbox,
        pulse,
        state,
        flows,
        carriers,
        grounds,
        door: entrance,
        listening,
        standing,
        is_new,
        help_leaves,
        writer: opened.writer,
        reader: opened.reader,
        alerts,
        exchange,
        accepting,
        reading,
        front,
    })
}

/// How a carrier that knows us by our address calls us, where that isn't over TLS.
fn called(trunk: &Trunk) -> Option<(RealmId, Transport)> {
    let transport =
        trunk.transport.filter(|over| matches!(over, Transport::Udp | Transport::Tcp))?;
    let by_address = match trunk.access {
        TrunkAccess::Address(_) => true,
        TrunkAccess::Registration(_) => false,
    };
    (trunk.enabled && by_address).then_some((trunk.realm, transport))
}

fn no_carrier_port(realm: &str, error: &ConnectError) -> Trouble {
    Trouble::new(
        format!("realm {realm} has no port for carriers: {error}"),
        "set its `carrier_port` in ringfence.toml",
    )
}

/// The only tenant of a first start, written before anything can belong to it: an extension whose
/// tenant is missing is nobody's, and could not sign in after the next start.
async fn the_house(writer: &Writer, realm: String) -> Result<Tenant, Trouble> {
    let house =
        Tenant { id: TenantId::HOUSE, name: "House".to_owned(), realm, domains: Vec::new() };
    let (reply, answer) = oneshot::channel();
    let rows = vec![Row::Tenant(house.clone())];
    let write = store::Write { rows, reply: Some(reply.into()), ..store::Write::default() };
    match (writer.write(write).await, answer.await) {
        (Ok(()), Ok(Ok(()))) => Ok(house),
        _ => Err(Trouble::new(
            "the database takes no rows",
            "see that the disk of the data folder has room and works, then start again",
        )),
    }
}

impl<E: Engine + Send + 'static> Node<E> {
    /// True where its thread died of a fault outside the engine, which nothing contains.
    pub(crate) fn has_lost_its_exchange(&self) -> bool {
        self.exchange.is_finished()
    }

    /// Stops accepting, ends the threads, and writes what is left. True where all of it was written.
    pub(crate) async fn bring_down(self) -> bool {
        for task in &self.accepting {
            task.abort();
        }
        drop(self.reading);
        self.alerts.stop().await;
        self.carriers.close();
        self.inbox.stop();
        let front = self.front;
        let removed = tokio::task::spawn_blocking(move || front.close());
        let ended = tokio::task::spawn_blocking(move || {
            self.exchange.join().ok().map(|Remains { outside, media }| {
                media.stop();
                drop(outside);
            })
        });
        let mut sound = matches!(ended.await, Ok(Some(())));
        sound &= removed.await.is_ok();
        if let Err(error) = self.writer.close().await {
            tracing::error!(%error, "the store could not be closed");
            sound = false;
        }
        self.reader.close().await;
        sound
    }
}

impl Grounds {
    /// Reads or makes the certificate, and builds what connections are accepted with.
    pub(crate) fn tls(&self, now: Now) -> Result<(Shown, Identity), Trouble> {
        let tls = &self.config.tls;
        let identity = match &tls.files {
            Some((certificate, key)) => from_files(certificate, key)?,
            None => {
                let names = authority::host_names(&self.names);
                let folder = self.folder.path();
                let mut chance = clock::chance();
                let (identity, new) =
                    self.authority.server(folder, &names, &self.master, &mut chance, now.utc)?;
                if new {
                    tracing::info!(names = names.len(), "signed a new server certificate");
                }
                identity
            }
        };
        let authorities = match &tls.client_authority {
            Some(path) => certificates(path)?,
            None => vec![self.authority.certificate().clone()],
        };
        // To carriers that ask for one we show the same certificate as to phones.
        let ours = Identity { chain: identity.chain.clone(), key: identity.key.clone_key() };
        let shown = tls::server(identity, tls.minimum, tls.client_certificates, authorities)
            .map_err(|error| {
                Trouble::new(format!("TLS: {error}"), "correct the files named under [tls]")
            })?;
        Ok((shown, ours))
    }

    /// SHA-256 of the authority's certificate, as phones and people compare it.
    pub(crate) fn fingerprint(&self) -> String {
        tls::print_fingerprint(&tls::fingerprint(self.authority.certificate()))
    }

    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.file(AUTHORITY_CERTIFICATE)
    }
}

fn from_files(certificate: &Path, key: &Path) -> Result<Identity, Trouble> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        Trouble::new(
            format!("{} holds no private key: {error}", key.display()),
            "give a PEM file with an unencrypted private key as tls.key",
        )
    })?;
    Ok(Identity { chain, key })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let wrong = |what: String| {
        let remedy = "give a PEM file with certificates, the server's own first";
        Trouble::new(format!("{}: {what}", path.display()), remedy)
    };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?.collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong("no certificate in it".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The host for SIP and the address for media that a realm's phones are told.
fn advertised(realm: &RealmConfig, name: Option<&String>) -> Result<(String, IpAddr), Trouble> {
    let given = realm.advertise.as_ref();
    let address = match given.and_then(|advertise| advertise.address) {
        Some(address) => address,
        None if !realm.bind.is_unspecified() => realm.bind,
        None => default_address(realm.bind).ok_or_else(|| {
            Trouble::new(
                format!("realm {}: this host has no address that phones could reach", realm.name),
                "connect it to a network, or set `advertise` in ringfence.toml",
            )
        })?,
    };
    // A name where there is one: phones that lost their connection open a new one to our Contact and
    // check the certificate against it, and not every phone takes an address there.
    let host = given.map(|known| known.host.clone()).or_else(|| name.cloned());
    Ok((host.unwrap_or_else(|| address.to_string()), address))
}

/// Lays the authority's certificate out for phones. A full disk must not keep a telephone system from
/// starting: emergency calls need no disk.
fn show_authority(path: &Path, pem: &str) -> Result<(), Trouble> {
    let shown = std::fs::read_to_string(path);
    if shown.as_ref().is_ok_and(|shown| shown == pem) {
        return Ok(());
    }
    match (replace(path, pem.as_bytes()), shown) {
        (Err(trouble), Ok(_)) => {
            tracing::error!(%trouble, "an old certificate of the authority is left in place");
            Ok(())
        }
        (written, _) => written,
    }
}

/// The names that this node was ever given with `--name`, the first first: a start without them must
/// not take them out of the certificate that phones check.
fn remember(folder: &Folder, given: &[String]) -> Result<Vec<String>, Trouble> {
    let path = folder.file(NAMES);
    let mut names: Vec<String> = match std::fs::read_to_string(&path) {
        Ok(text) => text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Trouble::file("read", &path, &error)),
    };
    let known = names.len();
    for name in given {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if names.len() > known
        && let Err(trouble) = replace(&path, (names.join("\n") + "\n").as_bytes())
    {
        if known == 0 {
            return Err(trouble);
        }
        tracing::error!(%trouble, "a new name is forgotten with the next start");
    }
    Ok(names)
}

/// The address that this host would speak from to the outside: the kernel's own choice, asked by
/// connecting a UDP socket, which sends nothing. Without a route, any address it has.
fn default_address(family: IpAddr) -> Option<IpAddr> {
    // Documentation addresses (RFC 5737, RFC 3849): never routed anywhere special.
    let outside = if family.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    let chosen = UdpSocket::bind(SocketAddr::new(family, 0))
        .and_then(|socket| socket.connect(outside).and_then(|()| socket.local_addr()));
    if let Ok(address) = chosen
        && !address.ip().is_unspecified()
    {
        return Some(address.ip());
    }
    let mut own = authority::addresses();
    own.retain(|(_, ip)| ip.is_ipv4() == family.is_ipv4());
    own.sort_by_key(|(_, ip)| ip.is_loopback());
    own.first().map(|(_, ip)| *ip)
}

async fn listen(what: &str, address: SocketAddr) -> Result<TcpListener, Trouble> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| cannot_listen(what, address, &error))
}

/// Why, whose fault it is, and what to do.
fn cannot_listen(what: &str, address: SocketAddr, error: &io::Error) -> Trouble {
    let port = address.port();
    let wrong = |why: &str| format!("cannot listen for {what} on {address}: {why}");
    match error.kind() {
        io::ErrorKind::AddrInUse => match holder(port) {
            Some(Holder { pid, name }) => Trouble::new(
                wrong(&format!("port {port} is held by {name} (process {pid})")),
                "stop that process, or choose another port in ringfence.toml",
            ),
            None => Trouble::new(
                wrong(&format!("port {port} is taken")),
                format!(
                    "find out by whom with: ss -ltunp 'sport = :{port}'; stop it, or choose \
                         another port in ringfence.toml"
                ),
            ),
        },
        io::ErrorKind::AddrNotAvailable => Trouble::new(
            wrong("this host does not have that address"),
            "correct `bind` in ringfence.toml, or leave it out to listen on every address",
        ),
        io::ErrorKind::PermissionDenied => Trouble::new(
            wrong("ports below 1024 need a privilege"),
            "choose a higher port, or run under the systemd unit",
        ),
        _ => Trouble::new(wrong(&error.to_string()), "correct `bind` in ringfence.toml"),
    }
}

/// Who holds a port.
#[derive(PartialEq, Eq, Debug)]
struct Holder {
    pid: u32,
    name: String,
}

/// The process that listens on a TCP port, where /proc lets us see it.
fn holder(port: u16) -> Option<Holder> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listening_inode(line, port).map(str::to_owned))
    })?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let mut files = files.flatten();
        let holds = files.any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        });
        if holds {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            return Some(Holder { pid, name: name.trim().to_owned() });
        }
    }
    None
}

/// The inode of a line of /proc/net/tcp, if it is a listening socket on this port. Columns: number,
/// local address, remote address, state (0A listens), queues, timer, retransmits, uid, timeout, inode.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
    let matches = u16::from_str_radix(local_port, 16) == Ok(port) && *columns.get(3)? == "0A";
    matches.then(|| columns.get(9).copied()).flatten()
}

/// What a start would refuse about who may read the data folder.
pub(crate) fn check_folder(data: &Path) -> Result<(), Trouble> {
    Folder::check(data).map_err(|error| store_trouble(&error))
}

fn open(data: &Path) -> Result<Folder, Trouble> {
    Folder::open(data).map_err(|error| store_trouble(&error))
}

fn store_trouble(error: &store::Error) -> Trouble {
    match error {
        store::Error::Io { doing, path, cause } => Trouble::file(doing, path, cause),
        store::Error::Exposed { .. } => Trouble::new(
            error.to_string(),
            "tighten the mode as said, and think of rotating secrets",
        ),
        store::Error::InUse { .. } => Trouble::new(
            error.to_string(),
            "one node for each data folder: choose another with --data",
        ),
        _ => Trouble::new(
            error.to_string(),
            "mend what is said, or restore the folder from a backup",
        ),
    }
}

impl<E: Engine> fmt::Debug for Node<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("listening", &self.listening).finish_non_exhaustive()
    }
}

/// Part of every HA1: the same on every installation, since phones know it from the challenge and a
/// renamed host must not invalidate its phones' secrets.
const DIGEST_REALM: &str = "pbx";
/// Beside what listens so, wherever it is listed.
const IN_CLEAR: &str = " (NOT ENCRYPTED)";
const STATUS_PAGE: &str = "status page";
const AUTHORITY_CERTIFICATE: &str = "ca.pem";
/// One host name or address a line; delete a line to forget it.
const NAMES: &str = "names";
/// A core carries thousands of legs: beyond four, the network is the limit.
const MEDIA_THREADS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_takes_nothing_keeps_no_authority_from_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(AUTHORITY_CERTIFICATE);
        show_authority(&path, "first").unwrap();
        // From now on nothing can be written beside it.
        std::fs::create_dir(path.with_extension("new")).unwrap();
        show_authority(&path, "first").unwrap();
        show_authority(&path, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        std::fs::remove_file(&path).unwrap();
        show_authority(&path, "second").unwrap_err();
    }

    #[tokio::test]
    async fn a_taken_port_names_its_holder() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let message = listen("SIP over TLS", address).await.unwrap_err().to_string();
        let own = std::process::id().to_string();
        assert!(
            message.contains(&address.port().to_string()) && message.contains(&own),
            "{message}"
        );
        assert!(message.contains("remedy: stop that process"), "{message}");
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_said_so() {
        let address = "192.0.2.1:5061".parse().unwrap();
        let message = listen("SIP over TLS", address).await.unwrap_err().to_string();
        assert!(message.contains("does not have that address"), "{message}");
    }

    #[test]
    fn only_listening_sockets_count() {
        let line = "   0: 0100007F:13C5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening_inode(line, 5061), Some("4711"));
        assert_eq!(listening_inode(line, 5060), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 5061), None);
        assert_eq!(listening_inode("  sl  local_address rem_address   st", 5061), None);
    }

    #[test]
    fn phones_are_told_an_address_they_can_reach() {
        let address = default_address([0, 0, 0, 0].into()).expect("there is always loopback");
        assert!(!address.is_unspecified());
    }
}
