//! `ringfence.toml`: what belongs to the node. People, phones and policy live in the database.
//!
//! The file is optional, and every key in it is. It is read and judged whole before anything starts:
//! a key nobody knows, a value out of its range or a combination that can't work is one [`Mistake`]
//! that names the file, the line, the column, what is wrong and what to write instead. What comes out
//! is a [`Config`] that needs no further checks, so nothing after it asks "but what if".
//!
//! [`KEYS`] describes each key for people; the guide's table is generated from it, and tests hold it
//! against the structs that serde reads.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use guard::id::{NodeId, RealmId};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

/// A configuration that can be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Config {
    pub(crate) node: NodeId,
    /// At least one.
    pub(crate) realms: Vec<RealmConfig>,
    pub(crate) media_threads: Option<usize>,
    pub(crate) tls: TlsConfig,
    pub(crate) database: DatabaseConfig,
    /// Always a loopback address. `None`: switched off.
    pub(crate) status_page: Option<SocketAddr>,
    pub(crate) limits: Limits,
    pub(crate) kernel: KernelTable,
}

/// Where the node faces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RealmConfig {
    pub(crate) id: RealmId,
    pub(crate) name: String,
    pub(crate) bind: IpAddr,
    /// What phones are told. `None`: found out from the host's interfaces.
    pub(crate) advertise: Option<Advertise>,
    /// Zero lets the system choose, for tests.
    pub(crate) tls_port: Option<u16>,
    /// For phones, in clear. `None`: not served.
    pub(crate) udp_port: Option<u16>,
    pub(crate) tcp_port: Option<u16>,
    /// UDP and TCP, for carriers, opened when a trunk needs them. Zero lets the system choose.
    pub(crate) carrier_port: Option<u16>,
    pub(crate) media_ports: MediaPorts,
}

/// The address or the name that stands in Via, Contact and SDP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Advertise {
    /// For SIP: a name or an address.
    pub(crate) host: String,
    /// For media, where SDP needs an address.
    pub(crate) address: Option<IpAddr>,
}

/// Even RTP ports from `first`, each with the odd RTCP port above it, up to `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MediaPorts {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TlsConfig {
    /// Certificate chain and key of the owner's; else our own authority signs.
    pub(crate) files: Option<(PathBuf, PathBuf)>,
    pub(crate) minimum: TlsVersion,
    pub(crate) client_certificates: ClientCertificates,
    /// Who signs client certificates; `None`: our own authority.
    pub(crate) client_authority: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(crate) enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether phones are asked for a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    Off,
    /// Asked for. One that another authority signed counts as none: many phones show the
    /// certificate of their maker to whoever asks.
    Optional,
    /// No connection without one that the authority signed.
    Required,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DatabaseConfig {
    pub(crate) durability: Durability,
}

/// What a committed row survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// The end of the process by any means, `kill -9` included.
    Process,
    /// Loss of power too: each group of rows waits for the disk.
    Power,
}

/// Whether the kernel drops floods and banned sources for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KernelTable {
    /// Where we may (CAP_NET_ADMIN).
    #[default]
    Auto,
    Off,
}

/// Bounds on calls and connections. Each protects memory or file descriptors from strangers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Calls at once: [`pbx::settings::Settings::calls_max`].
    pub(crate) calls: usize,
    pub(crate) connections: usize,
    pub(crate) connections_per_source: usize,
    pub(crate) handshakes: usize,
}

impl MediaPorts {
    /// Pairs of ports in the range.
    pub(crate) fn pairs(self) -> usize {
        (usize::from(self.last) - usize::from(self.first)).div_ceil(2)
    }
}

/// Not 5060, which scanners ask all day long.
const CARRIER_PORT: u16 = 5062;

impl fmt::Display for MediaPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Limits {
    /// As [`pbx::settings::Settings::default`].
    const CALLS: usize = 500;
    /// A TLS connection costs about 50 KiB with its buffers: 4,000 stay near 200 MiB.
    const CONNECTIONS: usize = 4_000;
    /// An office behind one address has a connection for each phone, and two while one replaces
    /// another.
    const CONNECTIONS_PER_SOURCE: usize = 500;
    /// A handshake costs a signature, about a tenth of a millisecond of a core: 128 at once are
    /// worked off within milliseconds, so more would only hold memory for peers who stall.
    const HANDSHAKES: usize = 128;
}

impl Default for Config {
    /// What an absent file means.
    fn default() -> Self {
        parse(Path::new("ringfence.toml"), "").expect("the defaults are valid, a test holds them")
    }
}

/// Reads and judges the file. `required`: an absent file is a mistake, since somebody named it.
pub(crate) fn load(path: &Path, required: bool) -> Result<Config, Mistake> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
            Ok(Config::default())
        }
        Err(error) => Err(Mistake {
            file: path.to_owned(),
            place: None,
            wrong: format!("cannot read the configuration: {error}"),
            remedy: match error.kind() {
                std::io::ErrorKind::NotFound => "correct the path given with --config, or leave \
                     --config out to run on defaults"
                    .to_owned(),
                std::io::ErrorKind::NotADirectory => "what stands before the last / is no folder: \
                     name a folder with --data"
                    .to_owned(),
                std::io::ErrorKind::InvalidData => "save the file as UTF-8 text".to_owned(),
                _ => format!(
                    "let the user that runs ringfence read it: chown or chmod {}",
                    path.display()
                ),
            },
        }),
    }
}

/// Judges the text of a configuration file. `path` is for messages.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, Mistake> {
    let judge = Judge { path, text };
    let file: File = toml::from_str(text).map_err(|error| judge.unreadable(&error))?;
    judge.config(file)
}

/// Why a configuration was refused: for whoever edits the file.
#[derive(Debug)]
pub(crate) struct Mistake {
    file: PathBuf,
    place: Option<Place>,
    wrong: String,
    remedy: String,
}

#[derive(Debug)]
struct Place {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    source: String,
    /// Characters to underline, at least one.
    width: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        let Some(Place { line, column, source, width }) = &self.place else {
            return write!(f, "{file}: {}\n  remedy: {}", self.wrong, self.remedy);
        };
        let gutter = line.to_string().len();
        writeln!(f, "{file}:{line}:{column}: {}", self.wrong)?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {source}")?;
        writeln!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(*width), indent = column - 1)?;
        write!(f, "  remedy: {}", self.remedy)
    }
}

impl std::error::Error for Mistake {}

/// One key of the file, for people.
pub(crate) struct Key {
    pub(crate) path: &'static str,
    pub(crate) values: &'static str,
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
}

/// Every key there is, in the order of the guide.
pub(crate) const KEYS: &[Key] = &[
    Key {
        path: "node.id",
        values: "0 to 65535",
        default: "0",
        meaning: "Tells the nodes of a cluster apart; it stands in every tag and record.",
    },
    Key {
        path: "tls.certificate",
        values: "file",
        default: "own authority",
        meaning: "PEM certificate chain to show to phones. Without it Ringfence's own authority \
                  signs one for the host's names and addresses and renews it.",
    },
    Key {
        path: "tls.key",
        values: "file",
        default: "own authority",
        meaning: "PEM private key of `tls.certificate`; both or neither.",
    },
    Key {
        path: "tls.min_version",
        values: "\"1.2\", \"1.3\"",
        default: "\"1.2\"",
        meaning: "The oldest TLS that is spoken. Older phones manage only 1.2.",
    },
    Key {
        path: "tls.client_certificates",
        values: "\"off\", \"optional\", \"required\"",
        default: "\"off\"",
        meaning: "Whether phones are asked for a certificate. `optional`: one that the authority \
                  signed is recorded, any other counts as none. `required`: no connection without.",
    },
    Key {
        path: "tls.client_authority",
        values: "file",
        default: "own authority",
        meaning: "PEM certificates of whoever signs the phones' certificates.",
    },
    Key {
        path: "database.durability",
        values: "\"process\", \"power\"",
        default: "\"process\"",
        meaning: "What a committed record survives: the end of the process (`kill -9` included), \
                  or a loss of power too, which makes each write wait for the disk.",
    },
    Key {
        path: "status_page.bind",
        values: "loopback address:port, false",
        default: "\"127.0.0.1:8480\"",
        meaning: "Where the status page is served. Only loopback: it asks for no password.",
    },
    Key {
        path: "media.threads",
        values: "1 to 64",
        default: "cores, at most 4",
        meaning: "Threads that relay audio.",
    },
    Key {
        path: "limits.calls",
        values: "1 to 20000",
        default: "500",
        meaning: "Calls at once, those being set up included; the next one is refused with 503. \
                  Calls for help always pass. Each takes two media ports of a realm.",
    },
    Key {
        path: "limits.connections",
        values: "1 to 100000",
        default: "4000",
        meaning: "Connections open at once; further ones are closed when they arrive.",
    },
    Key {
        path: "limits.connections_per_source",
        values: "1 to 100000",
        default: "500",
        meaning: "Connections open at once from one IPv4 address or IPv6 /48.",
    },
    Key {
        path: "limits.handshakes",
        values: "1 to 10000",
        default: "128",
        meaning: "TLS handshakes in progress at once, a quarter of them from one source; further \
                  connections are closed when they arrive.",
    },
    Key {
        path: "firewall.kernel",
        values: "\"auto\", \"off\"",
        default: "\"auto\"",
        meaning: "Whether floods and banned sources are dropped by the kernel, in an nftables table \
                  `inet ringfence` that Ringfence makes and removes. `auto`: where it may \
                  (CAP_NET_ADMIN). One node of a host can use it.",
    },
    Key {
        path: "realm.id",
        values: "0 to 65535",
        default: "0",
        meaning: "Number of the realm, once each. A realm is a side that the node faces; without \
                  any `[[realm]]` there is one, named `access`.",
    },
    Key {
        path: "realm.name",
        values: "text",
        default: "\"access\"",
        meaning: "Its name, for people; once each.",
    },
    Key {
        path: "realm.bind",
        values: "address",
        default: "\"0.0.0.0\"",
        meaning: "The local address for signalling and media; `0.0.0.0` is every one.",
    },
    Key {
        path: "realm.advertise",
        values: "address",
        default: "from `bind`, else the default route's",
        meaning: "The address that phones are told, where it differs from `bind` (1:1 NAT).",
    },
    Key {
        path: "realm.advertise_name",
        values: "host name",
        default: "`advertise`",
        meaning: "The host name written into SIP messages instead of the address. Audio still \
                  goes to the address.",
    },
    Key {
        path: "realm.media_ports",
        values: "\"first-last\"",
        default: "\"20000-29999\"",
        meaning: "UDP ports for audio: each leg of a call takes an even port and the odd one \
                  above it. Open them in the firewall.",
    },
    Key {
        path: "realm.carrier_port",
        values: "port, false",
        default: "5062, of the first realm on an address",
        meaning: "UDP and TCP port for carriers that offer no TLS. It is opened when the first trunk \
                  needs it; phones can't sign in there.",
    },
    Key {
        path: "realm.transports.tls",
        values: "port, false",
        default: "5061",
        meaning: "SIP over TLS.",
    },
    Key {
        path: "realm.transports.tcp",
        values: "port, false",
        default: "false",
        meaning: "SIP over TCP for phones, in clear: whoever is on the way reads who calls whom and \
                  what is dialled. Calls need an exception (`ringfence extension allow`).",
    },
    Key {
        path: "realm.transports.udp",
        values: "port, false",
        default: "false",
        meaning: "SIP over UDP for phones, in clear, as for TCP; usually 5060, which scanners ask all \
                  day long.",
    },
];

/// The table of the guide.
pub(crate) fn table() -> String {
    let mut out = String::from("| key | values | default | meaning |\n| --- | --- | --- | --- |\n");
    for Key { path, values, default, meaning } in KEYS {
        let cell = |text: &str| text.replace('|', "\\|");
        out.push_str(&format!(
            "| `{path}` | {} | {} | {} |\n",
            cell(values),
            cell(default),
            cell(meaning)
        ));
    }
    out
}

// The file as serde reads it: every key optional, every value with its place.

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    node: NodeTable,
    tls: TlsTable,
    database: DatabaseTable,
    status_page: StatusPageTable,
    media: MediaTable,
    limits: LimitsTable,
    firewall: FirewallTable,
    realm: Vec<RealmTable>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct NodeTable {
    id: u16,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TlsTable {
    certificate: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
    min_version: Option<TlsVersion>,
    client_certificates: Option<ClientCertificates>,
    client_authority: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct DatabaseTable {
    durability: Option<Durability>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StatusPageTable {
    bind: Option<Spanned<OrOff<String>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct MediaTable {
    threads: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LimitsTable {
    connections: Option<Spanned<u64>>,
    connections_per_source: Option<Spanned<u64>>,
    calls: Option<Spanned<u64>>,
    handshakes: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FirewallTable {
    kernel: KernelTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RealmTable {
    id: Option<Spanned<u16>>,
    name: Option<Spanned<String>>,
    bind: Option<Spanned<String>>,
    advertise: Option<Spanned<String>>,
    advertise_name: Option<Spanned<String>>,
    media_ports: Option<Spanned<String>>,
    carrier_port: Option<Spanned<OrOff<u16>>>,
    transports: TransportsTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TransportsTable {
    tls: Option<Spanned<OrOff<u16>>>,
    tcp: Option<Spanned<OrOff<u16>>>,
    udp: Option<Spanned<OrOff<u16>>>,
}

/// A value, or `false` for "not at all".
#[derive(Clone, Copy)]
enum OrOff<T> {
    On(T),
    Off,
}

impl<'de> Deserialize<'de> for OrOff<u16> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Port;
        impl Visitor<'_> for Port {
            type Value = OrOff<u16>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number, or false")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                if on {
                    Err(E::invalid_type(de::Unexpected::Bool(on), &self))
                } else {
                    Ok(OrOff::Off)
                }
            }
            fn visit_i64<E: de::Error>(self, port: i64) -> Result<Self::Value, E> {
                u16::try_from(port)
                    .map(OrOff::On)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(port), &self))
            }
        }
        from.deserialize_any(Port)
    }
}

impl<'de> Deserialize<'de> for OrOff<String> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = OrOff<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an \"address:port\", or false")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                if on {
                    Err(E::invalid_type(de::Unexpected::Bool(on), &self))
                } else {
                    Ok(OrOff::Off)
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OrOff::On(text.to_owned()))
            }
        }
        from.deserialize_any(Text)
    }
}

/// Turns what serde read into what can be started, or says where it can't.
struct Judge<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Judge<'_> {
    fn config(&self, file: File) -> Result<Config, Mistake> {
        let realms = self.realms(file.realm)?;
        Ok(Config {
            node: NodeId(file.node.id),
            realms,
            media_threads: self
                .number(file.media.threads, 1..65, "threads")?
                .map(|n| usize::try_from(n).expect("below 65")),
            tls: self.tls(file.tls)?,
            database: DatabaseConfig {
                durability: file.database.durability.unwrap_or(Durability::Process),
            },
            status_page: self.status_page(file.status_page)?,
            limits: self.limits(file.limits)?,
            kernel: file.firewall.kernel,
        })
    }

    fn realms(&self, tables: Vec<RealmTable>) -> Result<Vec<RealmConfig>, Mistake> {
        let tables = if tables.is_empty() { vec![RealmTable::default()] } else { tables };
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut realms: Vec<RealmConfig> = Vec::with_capacity(tables.len());
        for table in tables {
            let (id, name) = (span(&table.id), span(&table.name));
            let ports = span(&table.media_ports);
            let carriers = span(&table.carrier_port);
            let clear = [span(&table.transports.udp), span(&table.transports.tcp)];
            let mut realm = self.realm(table)?;
            if !ids.insert(realm.id) {
                return Err(self.at(
                    id,
                    format!("realm id {} is used twice", realm.id.0),
                    "give every [[realm]] an `id` of its own",
                ));
            }
            if !names.insert(realm.name.clone()) {
                return Err(self.at(
                    name,
                    format!("realm name {:?} is used twice", realm.name),
                    "give every [[realm]] a `name` of its own",
                ));
            }
            // Two realms on one address would hand out the same audio ports.
            if let Some(other) = realms.iter().find(|other| {
                shares_address(other, &realm)
                    && other.media_ports.first <= realm.media_ports.last
                    && realm.media_ports.first <= other.media_ports.last
            }) {
                return Err(self.at(
                    ports,
                    format!(
                        "media ports {} overlap with {} of realm {:?} on the same address",
                        realm.media_ports, other.media_ports, other.name
                    ),
                    "give realms that share an address ranges that don't overlap",
                ));
            }
            self.clear_ports(&realm, clear, &realms)?;
            self.carrier_port(&mut realm, carriers, &realms)?;
            realms.push(realm);
        }
        if realms.iter().all(|realm| realm.tls_port.is_none()) {
            return Err(self.at(
                None,
                "no realm listens for SIP: TLS is switched off in each".to_owned(),
                "set `transports.tls` of one realm to a port, usually 5061",
            ));
        }
        Ok(realms)
    }

    /// A port for phones in clear that something else of the same address and protocol has.
    fn clear_ports(
        &self,
        realm: &RealmConfig,
        [udp, tcp]: [Option<Range<usize>>; 2],
        others: &[RealmConfig],
    ) -> Result<(), Mistake> {
        let near = |other: &&RealmConfig| shares_address(other, realm);
        let media = |other: &RealmConfig, port| {
            (other.media_ports.first..=other.media_ports.last).contains(&port)
        };
        let holder = |taken: &dyn Fn(&RealmConfig) -> bool| {
            let other = others.iter().filter(near).find(|other| taken(other));
            other.map(|other| format!("realm {:?}", other.name))
        };
        let udp_holder = realm.udp_port.filter(|port| *port != 0).and_then(|port| {
            let own = media(realm, port).then(|| "audio of this realm".to_owned());
            own.or_else(|| {
                holder(&|other| {
                    other.udp_port == Some(port)
                        || other.carrier_port == Some(port)
                        || media(other, port)
                })
            })
        });
        let tcp_holder = realm.tcp_port.filter(|port| *port != 0).and_then(|port| {
            let own = realm.tls_port == Some(port);
            own.then(|| "SIP over TLS of this realm".to_owned()).or_else(|| {
                holder(&|other| {
                    [other.tcp_port, other.tls_port, other.carrier_port].contains(&Some(port))
                })
            })
        });
        let found = [(udp, udp_holder, realm.udp_port), (tcp, tcp_holder, realm.tcp_port)];
        match found.into_iter().find_map(|(at, holder, port)| Some((at, holder?, port?))) {
            None => Ok(()),
            Some((at, holder, port)) => Err(self.at(
                at,
                format!("port {port} is already used by {holder} on the same address"),
                "choose another port, usually 5060, or false",
            )),
        }
    }

    /// A port for carriers that something else of the same address has is a mistake where it was
    /// written; where it is only the default, this realm has none.
    fn carrier_port(
        &self,
        realm: &mut RealmConfig,
        written: Option<Range<usize>>,
        others: &[RealmConfig],
    ) -> Result<(), Mistake> {
        let Some(port) = realm.carrier_port.filter(|port| *port != 0) else { return Ok(()) };
        let shares = |other: &&RealmConfig| shares_address(other, realm);
        let taken = |other: &RealmConfig| {
            [other.carrier_port, other.tls_port, other.udp_port, other.tcp_port]
                .contains(&Some(port))
        };
        let holder = if realm.tls_port == Some(port) {
            Some("SIP over TLS of this realm".to_owned())
        } else if [realm.udp_port, realm.tcp_port].contains(&Some(port)) {
            Some("phones of this realm".to_owned())
        } else {
            let other = others.iter().filter(shares).find(|other| taken(other));
            other.map(|other| format!("realm {:?}", other.name))
        };
        match (holder, written) {
            (None, _) => Ok(()),
            (Some(_), None) => {
                realm.carrier_port = None;
                Ok(())
            }
            (Some(holder), Some(written)) => Err(self.at(
                Some(written),
                format!("port {port} is already used by {holder} on the same address"),
                "choose another `carrier_port`, or false where this realm has no trunk over UDP or TCP",
            )),
        }
    }

    fn realm(&self, table: RealmTable) -> Result<RealmConfig, Mistake> {
        let TransportsTable { tls, tcp, udp } = table.transports;
        let clear = |port: Option<Spanned<OrOff<u16>>>| match port.map(Spanned::into_inner) {
            Some(OrOff::On(port)) => Some(port),
            Some(OrOff::Off) | None => None,
        };
        if let Some(name) = &table.name
            && (name.get_ref().is_empty()
                || name.get_ref().len() > 32
                || !name.get_ref().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        {
            return Err(self.at(
                Some(name.span()),
                format!("{:?} is no name for a realm", name.get_ref()),
                "use 1 to 32 letters, digits and hyphens, for example \"access\"",
            ));
        }
        let bind = match &table.bind {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(text) => text.get_ref().parse().map_err(|_| {
                self.at(
                    Some(text.span()),
                    format!("{:?} is not an IP address", text.get_ref()),
                    "write an address of this host without a port, for example \"192.0.2.10\", or \
                     \"0.0.0.0\" for every one; ports stand under `transports`",
                )
            })?,
        };
        if bind.is_multicast() {
            return Err(self.at(
                span(&table.bind),
                format!("{bind} is a multicast address"),
                "write an address of this host, or \"0.0.0.0\" for every one",
            ));
        }
        Ok(RealmConfig {
            id: RealmId(table.id.map_or(0, Spanned::into_inner)),
            name: table.name.map_or_else(|| "access".to_owned(), Spanned::into_inner),
            bind,
            advertise: self.advertise(bind, table.advertise, table.advertise_name)?,
            tls_port: match tls.map(Spanned::into_inner) {
                None => Some(5061),
                Some(OrOff::On(port)) => Some(port),
                Some(OrOff::Off) => None,
            },
            udp_port: clear(udp),
            tcp_port: clear(tcp),
            carrier_port: match table.carrier_port.map(Spanned::into_inner) {
                None => Some(CARRIER_PORT),
                Some(OrOff::On(port)) => Some(port),
                Some(OrOff::Off) => None,
            },
            media_ports: match table.media_ports {
                None => MediaPorts { first: 20_000, last: 29_999 },
                Some(text) => self.media_ports(&text)?,
            },
        })
    }

    fn advertise(
        &self,
        bind: IpAddr,
        address: Option<Spanned<String>>,
        name: Option<Spanned<String>>,
    ) -> Result<Option<Advertise>, Mistake> {
        let address = match address {
            None => None,
            Some(text) => {
                let parsed: Option<IpAddr> = text.get_ref().parse().ok();
                let usable = parsed.filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
                let ip = usable.ok_or_else(|| {
                    self.at(
                        Some(text.span()),
                        format!("{:?} is no address that a phone can reach", text.get_ref()),
                        "write the address that phones see, without a port; a host name goes into \
                         `advertise_name`",
                    )
                })?;
                if ip.is_ipv4() != bind.is_ipv4() {
                    return Err(self.at(
                        Some(text.span()),
                        format!(
                            "{ip} and the realm's bind address {bind} are of different families"
                        ),
                        "use two IPv4 or two IPv6 addresses",
                    ));
                }
                Some(ip)
            }
        };
        let name = match name {
            None => None,
            Some(text) if is_host_name(text.get_ref()) => Some(text.into_inner()),
            Some(text) => {
                return Err(self.at(
                    Some(text.span()),
                    format!("{:?} is not a host name", text.get_ref()),
                    "write a name such as \"pbx.example.com\"; an address goes into `advertise`",
                ));
            }
        };
        Ok(match (name, address) {
            (None, None) => None,
            (Some(host), address) => Some(Advertise { host, address }),
            (None, Some(ip)) => Some(Advertise { host: ip.to_string(), address: Some(ip) }),
        })
    }

    fn media_ports(&self, text: &Spanned<String>) -> Result<MediaPorts, Mistake> {
        let wrong = |what: String| {
            self.at(
                Some(text.span()),
                what,
                "write first and last port, for example \"20000-29999\"",
            )
        };
        let ports = text.get_ref().split_once('-').and_then(|(first, last)| {
            Some(MediaPorts { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        });
        let Some(ports) = ports else {
            return Err(wrong(format!("{:?} is not a range of ports", text.get_ref())));
        };
        if ports.first < 1_024 {
            return Err(wrong(format!("the range starts at {}, below 1024", ports.first)));
        }
        if ports.last <= ports.first {
            return Err(wrong(format!("{} is not above {}", ports.last, ports.first)));
        }
        let ports = MediaPorts { first: ports.first + ports.first % 2, last: ports.last };
        if ports.last <= ports.first {
            return Err(wrong("the range holds no even port with an odd one above it".to_owned()));
        }
        Ok(ports)
    }

    fn tls(&self, table: TlsTable) -> Result<TlsConfig, Mistake> {
        let both = "set both `certificate` and `key`, or neither to use Ringfence's own authority";
        let files = match (table.certificate, table.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(alone), None) => {
                return Err(self.at(Some(alone.span()), "the certificate has no key".into(), both));
            }
            (None, Some(alone)) => {
                return Err(self.at(Some(alone.span()), "the key has no certificate".into(), both));
            }
        };
        let files = match files {
            None => None,
            Some((certificate, key)) => Some((self.readable(certificate)?, self.readable(key)?)),
        };
        Ok(TlsConfig {
            files,
            minimum: table.min_version.unwrap_or(TlsVersion::V1_2),
            client_certificates: table.client_certificates.unwrap_or(ClientCertificates::Off),
            client_authority: table.client_authority.map(|file| self.readable(file)).transpose()?,
        })
    }

    /// The path of a file that can be read now; relative paths start beside the configuration.
    fn readable(&self, path: Spanned<PathBuf>) -> Result<PathBuf, Mistake> {
        let base = self.path.parent().unwrap_or(Path::new(""));
        let full = base.join(path.get_ref());
        std::fs::File::open(&full)
            .map_err(|error| {
                self.at(
                    Some(path.span()),
                    format!("cannot read {}: {error}", full.display()),
                    "correct the path, or let the user that runs ringfence read the file",
                )
            })
            .map(|_| full)
    }

    fn status_page(&self, table: StatusPageTable) -> Result<Option<SocketAddr>, Mistake> {
        let text = match table.bind {
            None => return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8480)))),
            Some(value) => {
                let place = value.span();
                match value.into_inner() {
                    OrOff::Off => return Ok(None),
                    OrOff::On(text) => Spanned::new(place, text),
                }
            }
        };
        let address: SocketAddr = text.get_ref().parse().map_err(|_| {
            self.at(
                Some(text.span()),
                format!("{:?} is not an address with a port", text.get_ref()),
                "write for example \"127.0.0.1:8480\", or false",
            )
        })?;
        if !address.ip().is_loopback() {
            return Err(self.at(
                Some(text.span()),
                format!(
                    "{} is not a loopback address, and the page asks for no password",
                    address.ip()
                ),
                "bind it to \"127.0.0.1:8480\", and reach it from elsewhere through SSH: ssh -L \
                 8480:127.0.0.1:8480 HOST",
            ));
        }
        Ok(Some(address))
    }

    fn limits(&self, table: LimitsTable) -> Result<Limits, Mistake> {
        let bound = |value, last: u64, name| {
            let number = self.number(value, 1..last + 1, name)?;
            Ok(number.map(|n| usize::try_from(n).expect("at most 100,000")))
        };
        Ok(Limits {
            calls: bound(table.calls, 20_000, "calls")?.unwrap_or(Limits::CALLS),
            connections: bound(table.connections, 100_000, "connections")?
                .unwrap_or(Limits::CONNECTIONS),
            connections_per_source: bound(
                table.connections_per_source,
                100_000,
                "connections_per_source",
            )?
            .unwrap_or(Limits::CONNECTIONS_PER_SOURCE),
            handshakes: bound(table.handshakes, 10_000, "handshakes")?
                .unwrap_or(Limits::HANDSHAKES),
        })
    }

    fn number(
        &self,
        value: Option<Spanned<u64>>,
        allowed: Range<u64>,
        name: &str,
    ) -> Result<Option<u64>, Mistake> {
        let Some(value) = value else { return Ok(None) };
        if allowed.contains(value.get_ref()) {
            return Ok(Some(value.into_inner()));
        }
        Err(self.at(
            Some(value.span()),
            format!("{} is out of range for `{name}`", value.get_ref()),
            format!("write a number from {} to {}", allowed.start, allowed.end - 1),
        ))
    }

    fn unreadable(&self, error: &toml::de::Error) -> Mistake {
        let remedy = if error.message().starts_with("unknown field") {
            "correct the name of the key, or remove it; `ringfence config keys` lists them all"
        } else if error.message().starts_with("invalid type: map, expected a sequence") {
            "a realm begins with double brackets: [[realm]]"
        } else if error.message().starts_with("invalid") || error.message().contains("expected") {
            "`ringfence config keys` says what each key takes"
        } else {
            "correct the TOML here"
        };
        let wrong = error.message().trim_end().replace('\n', "; ");
        self.at(error.span(), wrong, remedy)
    }

    fn at(&self, span: Option<Range<usize>>, wrong: String, remedy: impl Into<String>) -> Mistake {
        let place = span.filter(|_| !self.text.is_empty()).map(|span| self.place(span));
        Mistake { file: self.path.to_owned(), place, wrong, remedy: remedy.into() }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let source = self.text[line_start..].lines().next().unwrap_or("");
        let column = self.text[line_start..start].chars().count() + 1;
        let shown = self.text.get(start..span.end).unwrap_or("").lines().next().unwrap_or("");
        Place {
            line: before.matches('\n').count() + 1,
            column,
            // A tab would shift the underline.
            source: source.replace('\t', " "),
            width: shown.chars().count().max(1),
        }
    }
}

fn shares_address(one: &RealmConfig, other: &RealmConfig) -> bool {
    one.bind == other.bind || one.bind.is_unspecified() || other.bind.is_unspecified()
}

fn span<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
    value.as_ref().map(Spanned::span)
}

/// A host name as a certificate and a SIP URI can carry it (RFC 1123 §2.1).
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // Without a letter it would read as an address.
    name.len() <= 253 && name.split('.').all(label) && name.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(Path::new("ringfence.toml"), text).expect_err("must be refused").to_string()
    }

    #[test]
    fn an_empty_file_runs() {
        let config = parse(Path::new("ringfence.toml"), "").expect("defaults");
        assert_eq!(config.realms.len(), 1);
        assert_eq!(config.realms[0].tls_port, Some(5061));
        assert_eq!(config.realms[0].media_ports.pairs(), 5_000);
        assert_eq!(config.status_page, Some("127.0.0.1:8480".parse().unwrap()));
    }

    #[test]
    fn a_whole_file_is_understood() {
        let config = parse(
            Path::new("ringfence.toml"),
            r#"
            node.id = 3
            tls.min_version = "1.3"
            tls.client_certificates = "required"
            database = { durability = "power" }
            status_page.bind = false
            media.threads = 2
            limits.connections = 10
            [[realm]]
            name = "access"
            bind = "192.0.2.1"
            advertise = "203.0.113.7"
            advertise_name = "pbx.example.com"
            media_ports = "30001-30100"
            transports = { tls = 0, udp = false }
            [[realm]]
            id = 1
            name = "carrier"
            bind = "192.0.2.2"
            transports.tls = false
            "#,
        )
        .expect("valid");
        assert_eq!(config.node, NodeId(3));
        assert_eq!(config.status_page, None);
        assert_eq!(config.realms[0].media_ports, MediaPorts { first: 30_002, last: 30_100 });
        assert_eq!(config.realms[0].advertise.as_ref().unwrap().host, "pbx.example.com");
        assert_eq!(config.realms[1].tls_port, None);
    }

    #[test]
    fn realms_of_one_address_share_no_port_for_carriers() {
        let ports = |text: &str| {
            let config = parse(Path::new("ringfence.toml"), text).expect("valid");
            config.realms.iter().map(|realm| realm.carrier_port).collect::<Vec<_>>()
        };
        assert_eq!(ports(""), [Some(5062)]);
        assert_eq!(ports("[[realm]]\ncarrier_port = false"), [None]);
        assert_eq!(ports("[[realm]]\ncarrier_port = 0"), [Some(0)]);
        // The owner gave that port to phones.
        assert_eq!(ports("[[realm]]\ntransports.tls = 5062"), [None]);
        let second = "[[realm]]\nid = 1\nname = \"b\"\nmedia_ports = \"40000-40001\"\n\
                      transports.tls = false\n";
        assert_eq!(ports(&format!("[[realm]]\n{second}")), [Some(5062), None]);
        let own = format!("[[realm]]\n{second}carrier_port = 5072");
        assert_eq!(ports(&own), [Some(5062), Some(5072)]);
        let apart = format!("[[realm]]\nbind = \"192.0.2.1\"\n{second}bind = \"192.0.2.2\"");
        assert_eq!(ports(&apart), [Some(5062), Some(5062)]);
    }

    #[test]
    fn a_mistake_names_line_column_and_remedy() {
        assert_eq!(
            refused("[[realm]]\nname = \"access\"\nmedia_ports = \"29999-20000\"\n"),
            "ringfence.toml:3:15: 20000 is not above 29999\n\
             \x20 |\n\
             3 | media_ports = \"29999-20000\"\n\
             \x20 |               ^^^^^^^^^^^^^\n\
             \x20 remedy: write first and last port, for example \"20000-29999\""
        );
    }

    #[test]
    fn what_cannot_work_is_refused_where_it_stands() {
        for (text, place, wrong) in [
            ("tsl.key = 1", "1:1", "unknown field `tsl`"),
            ("[tls]\nkey = \"/nowhere\"", "2:7", "no certificate"),
            ("[tls]\nmin_version = \"1.1\"", "2:15", "unknown variant `1.1`"),
            ("\n[status_page]\nbind = \"0.0.0.0:80\"", "3:8", "not a loopback"),
            ("[media]\nthreads = 0", "2:11", "out of range"),
            ("[firewall]\nkernel = \"on\"", "2:10", "unknown variant `on`"),
            ("[[realm]]\ntransports.udp = 20001", "2:18", "already used by audio of this realm"),
            ("[[realm]]\ntransports.tcp = 5061", "2:18", "already used by SIP over TLS"),
            (
                "[[realm]]\ntransports.udp = 5060\n[[realm]]\nid = 1\nname = \"b\"\n\
                 media_ports=\"40000-40001\"\ntransports = { tls = false, udp = 5060 }",
                "7:35",
                "already used by realm \"access\"",
            ),
            (
                "[[realm]]\ntransports.udp = 5060\ncarrier_port = 5060",
                "3:16",
                "already used by phones of this realm",
            ),
            ("[[realm]]\ntransports.tls = 70000", "2:18", "invalid value"),
            ("[[realm]]\ntransports.tls = false", "", "no realm listens"),
            ("[[realm]]\nbind = \"pbx\"", "2:8", "not an IP address"),
            ("[[realm]]\nadvertise = \"::1\"", "2:13", "different families"),
            ("[[realm]]\nadvertise_name = \"10.0.0.1\"", "2:18", "not a host name"),
            (
                "[[realm]]\n[[realm]]\nid = 1\nname = \"b\"\nmedia_ports=\"20000-20001\"",
                "5:13",
                "overlap",
            ),
            ("[[realm]]\n[[realm]]\nid = 0", "3:6", "used twice"),
            ("[[realm]]\ncarrier_port = 65536", "2:16", "invalid value"),
            ("[[realm]]\ncarrier_port = true", "2:16", "invalid type"),
            ("[[realm]]\ncarrier_port = 5061", "2:16", "already used by SIP over TLS"),
            (
                "[[realm]]\n[[realm]]\nid = 1\nname = \"b\"\nmedia_ports=\"40000-40001\"\n\
                 transports.tls = false\ncarrier_port = 5062",
                "7:16",
                "already used by realm \"access\"",
            ),
            ("node.id = ", "1:11", ""),
            ("ü = 1", "1:1", ""),
        ] {
            let message = refused(text);
            assert!(message.starts_with(&format!("ringfence.toml:{place}")), "{text:?}: {message}");
            assert!(message.contains(wrong), "{text:?}: {message}");
            assert!(message.contains("remedy: "), "{text:?}: {message}");
        }
    }

    /// serde lists the fields it knows when it meets one it doesn't: that list is the schema.
    #[test]
    fn every_key_is_described() {
        let mut schema = BTreeSet::new();
        for (table, prefix) in [
            ("[node]", "node."),
            ("[tls]", "tls."),
            ("[database]", "database."),
            ("[status_page]", "status_page."),
            ("[media]", "media."),
            ("[limits]", "limits."),
            ("[firewall]", "firewall."),
            ("[[realm]]", "realm."),
            ("[realm.transports]", "realm.transports."),
        ] {
            let text = match prefix {
                "realm.transports." => "[[realm]]\n[realm.transports]\nzzz = 1".to_owned(),
                _ => format!("{table}\nzzz = 1"),
            };
            let message = refused(&text);
            let first = message.lines().next().unwrap();
            let known = first.split_once("expected").expect("serde lists the fields").1;
            schema.extend(known.split('`').skip(1).step_by(2).map(|key| format!("{prefix}{key}")));
        }
        schema.remove("realm.transports");
        let described: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
        assert_eq!(schema, described);
    }

    #[test]
    fn the_guide_shows_this_table() {
        let guide = include_str!("../../../docs/guide/configuration.md");
        assert!(
            guide.contains(&table()),
            "docs/guide/configuration.md: put this table in:\n{}",
            table()
        );
    }

    #[test]
    fn host_names_are_told_from_addresses() {
        assert!(is_host_name("pbx.example.com") && is_host_name("pbx") && is_host_name("3com.com"));
        for not in ["", "10.0.0.1", "-a", "a-", "a..b", "a_b", "a b", &"a".repeat(64)] {
            assert!(!is_host_name(not), "{not:?}");
        }
    }
}
