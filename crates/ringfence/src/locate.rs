//! Where a carrier's server is: RFC 3263 §4 over the system's name servers, and /etc/hosts.
//!
//! What comes back is never weaker than what was asked for: a transport that the trunk doesn't allow is
//! not in the answer, whatever DNS says, so whoever forges DNS can lead a call astray only as far as
//! the certificate lets them.
//!
//! Bounds: [`AT_ONCE`] look-ups at a time, the next wait; [`ANSWER_MAX`] for one, then it has failed;
//! of an answer the first [`RECORDS_MAX`] records count; [`PLACES_MAX`] places at most. Names are not
//! followed from one SRV record to another, so there is no loop; aliases (CNAME) are the resolver's,
//! which bounds them. It keeps answers as long as they say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use pbx::flow::Transport;
use pbx::io::Place;
use pure::Chance;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// See the module.
pub(crate) struct Locator {
    /// What the resolver was made from, and when that was written: DHCP rewrites it.
    made: Mutex<Option<(Stamp, TokioResolver)>>,
    fixed: Option<TokioResolver>,
    chance: Mutex<Chance>,
    places: Semaphore,
}

type Stamp = [Option<SystemTime>; 2];

/// What is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// `None`: NAPTR decides among `allowed`.
    pub(crate) transport: Option<Transport>,
    /// Preferred first.
    pub(crate) allowed: Vec<Transport>,
}

/// Why there is no place, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lost {
    /// No such name, or nothing of the kind under it.
    Nowhere,
    /// The name servers don't answer, or say that they can't.
    Unanswered(String),
    TimedOut,
    NoName,
}

impl Locator {
    /// Over the name servers of the system.
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            made: Mutex::default(),
            fixed: None,
            chance: Mutex::new(chance),
            places: Semaphore::new(AT_ONCE),
        }
    }

    /// The places to try, in their order: at least one.
    pub(crate) async fn locate(&self, wanted: Wanted) -> Result<Vec<Place>, Lost> {
        let found = timeout(ANSWER_MAX, async {
            let _turn = self.places.acquire().await.map_err(|_| Lost::TimedOut)?;
            self.look(&wanted).await
        });
        let mut places = found.await.unwrap_or(Err(Lost::TimedOut))?;
        // The same place twice is no second chance.
        let mut seen = Vec::with_capacity(places.len());
        places.retain(|place| !seen.contains(place) && (seen.push(*place), true).1);
        places.truncate(PLACES_MAX);
        if places.is_empty() { Err(Lost::Nowhere) } else { Ok(places) }
    }

    async fn look(&self, wanted: &Wanted) -> Result<Vec<Place>, Lost> {
        let Wanted { host, port, transport, allowed } = wanted;
        let Some(likeliest) = transport.or(allowed.first().copied()) else {
            return Err(Lost::Nowhere);
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            let port = port.unwrap_or_else(|| default_port(likeliest));
            return Ok(vec![Place { transport: likeliest, remote: SocketAddr::new(ip, port) }]);
        }
        let asker = Asker { resolver: self.resolver()? };
        if let Some(port) = port {
            return asker.addresses(&name(host)?, likeliest, *port, PLACES_MAX).await;
        }
        // §4.1: NAPTR says which transport the domain prefers. Where it doesn't answer at all, SRV is
        // asked: there are routers that lose such questions, and `allowed` bounds what can come of it.
        let pointers = match transport {
            None => asker.pointers(&name(host)?, allowed).await,
            Some(_) => Vec::new(),
        };
        let services = if pointers.is_empty() {
            let asked = transport.map_or_else(|| allowed.clone(), |transport| vec![transport]);
            let service = |transport| Some((transport, service_name(transport, host)?));
            asked.into_iter().filter_map(service).collect()
        } else {
            pointers
        };
        let mut places = Vec::new();
        let mut denied = false;
        for (transport, service) in services {
            match asker.servers(&service).await? {
                Servers::None => {}
                Servers::Denied => denied = true,
                Servers::Some(servers) => {
                    for Server { target, port } in self.in_order(servers) {
                        if places.len() >= PLACES_MAX {
                            break;
                        }
                        // One target that is gone doesn't take the others with it.
                        let found = asker.addresses(&target, transport, port, PER_TARGET).await;
                        places.extend(found.unwrap_or_default());
                    }
                }
            }
        }
        if places.is_empty() && !denied {
            // §4.2: no SRV record at all, so the name itself at the transport's port.
            return asker
                .addresses(&name(host)?, likeliest, default_port(likeliest), PLACES_MAX)
                .await;
        }
        Ok(places)
    }

    /// RFC 2782: the lowest priority first; within one, drawn by weight.
    fn in_order(&self, servers: Vec<(u16, u16, Server)>) -> Vec<Server> {
        let mut by_priority: BTreeMap<u16, Vec<(u16, Server)>> = BTreeMap::new();
        for (priority, weight, server) in servers {
            by_priority.entry(priority).or_default().push((weight, server));
        }
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ordered = Vec::new();
        for mut group in by_priority.into_values() {
            // Those of weight 0 stand first, so that they have a small chance too.
            group.sort_by_key(|(weight, _)| *weight);
            while !group.is_empty() {
                let total: u64 = group.iter().map(|(weight, _)| u64::from(*weight)).sum();
                let mut drawn = chance.below(total + 1);
                let at = group.iter().position(|(weight, _)| {
                    let reached = u64::from(*weight) >= drawn;
                    drawn = drawn.saturating_sub(u64::from(*weight));
                    reached
                });
                ordered.push(group.remove(at.unwrap_or(0)).1);
            }
        }
        ordered
    }

    /// The resolver, made anew when its files were changed.
    fn resolver(&self) -> Result<TokioResolver, Lost> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let written = |path: &str| Path::new(path).metadata().and_then(|meta| meta.modified()).ok();
        let stamp = ["/etc/resolv.conf", "/etc/hosts"].map(written);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = &*made
            && *of == stamp
        {
            return Ok(resolver.clone());
        }
        let unreadable = |error: NetError| Lost::Unanswered(format!("/etc/resolv.conf: {error}"));
        let mut builder = TokioResolver::builder_tokio().map_err(unreadable)?;
        options(builder.options_mut());
        let resolver = builder.build().map_err(unreadable)?;
        *made = Some((stamp, resolver.clone()));
        Ok(resolver)
    }
}

fn options(options: &mut ResolverOpts) {
    options.timeout = QUESTION_MAX;
    options.attempts = 1;
    options.cache_size = CACHE;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}

/// Asks one resolver.
struct Asker {
    resolver: TokioResolver,
}

struct Server {
    target: Name,
    port: u16,
}

enum Servers {
    None,
    /// The one record `.`: the domain says that it offers no such service (RFC 2782).
    Denied,
    /// Priority, weight, server.
    Some(Vec<(u16, u16, Server)>),
}

impl Asker {
    async fn addresses(
        &self,
        name: &Name,
        transport: Transport,
        port: u16,
        most: usize,
    ) -> Result<Vec<Place>, Lost> {
        let found = match self.resolver.lookup_ip(name.clone()).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(lost(&error)),
        };
        let mut ips: Vec<IpAddr> =
            found.iter().filter(|ip| is_sane(*ip)).take(RECORDS_MAX).collect();
        // A realm is bound to IPv4 unless its owner said otherwise. The order within a family is the
        // name server's, which may turn them.
        ips.sort_by_key(IpAddr::is_ipv6);
        ips.truncate(most);
        let place = |ip| Place { transport, remote: SocketAddr::new(ip, port) };
        Ok(ips.into_iter().map(place).collect())
    }

    /// The services that NAPTR names, best first, among `allowed`.
    async fn pointers(&self, name: &Name, allowed: &[Transport]) -> Vec<(Transport, Name)> {
        let Ok(found) = self.resolver.lookup(name.clone(), RecordType::NAPTR).await else {
            return Vec::new();
        };
        let read =
            found.answers().iter().take(RECORDS_MAX).filter_map(|record| match &record.data {
                RData::NAPTR(naptr) if naptr.flags.eq_ignore_ascii_case(b"s") => {
                    let transport = match &*naptr.services.to_ascii_uppercase() {
                        b"SIPS+D2T" => Transport::Tls,
                        b"SIP+D2T" => Transport::Tcp,
                        b"SIP+D2U" => Transport::Udp,
                        _ => return None,
                    };
                    let wanted = allowed.contains(&transport);
                    wanted.then(|| {
                        (naptr.order, naptr.preference, transport, naptr.replacement.clone())
                    })
                }
                _ => None,
            });
        let mut pointers: Vec<_> = read.collect();
        pointers.sort_by_key(|(order, preference, transport, _)| {
            (*order, *preference, !transport.is_encrypted())
        });
        // RFC 3403 §4.1: what comes after a match under another order is not for us.
        let first = pointers.first().map(|(order, ..)| *order);
        pointers.retain(|(order, ..)| Some(*order) == first);
        pointers.truncate(allowed.len());
        pointers.into_iter().map(|(_, _, transport, to)| (transport, to)).collect()
    }

    async fn servers(&self, service: &Name) -> Result<Servers, Lost> {
        let found = match self.resolver.lookup(service.clone(), RecordType::SRV).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Servers::None),
            Err(error) => return Err(lost(&error)),
        };
        let mut denied = false;
        let mut servers = Vec::new();
        for record in found.answers().iter().take(RECORDS_MAX) {
            let RData::SRV(srv) = &record.data else { continue };
            match (srv.target.is_root(), srv.port) {
                (true, _) => denied = true,
                (false, 0) => {}
                (false, port) => {
                    let server = Server { target: srv.target.clone(), port };
                    servers.push((srv.priority, srv.weight, server));
                }
            }
        }
        Ok(match (servers.is_empty(), denied) {
            (false, _) => Servers::Some(servers),
            (true, true) => Servers::Denied,
            (true, false) => Servers::None,
        })
    }
}

/// An address that a packet can be sent to.
fn is_sane(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255; 4])
}

fn lost(error: &NetError) -> Lost {
    match error {
        NetError::Timeout => Lost::TimedOut,
        other => Lost::Unanswered(other.to_string()),
    }
}

/// A name with dots is whole; one without is looked for in the system's search domains too.
fn name(host: &str) -> Result<Name, Lost> {
    let mut name = Name::from_ascii(host).map_err(|_| Lost::NoName)?;
    if host.contains('.') {
        name.set_fqdn(true);
    }
    Ok(name)
}

/// RFC 3263 §4.1. `None`: a transport that no SRV record names.
fn service_name(transport: Transport, host: &str) -> Option<Name> {
    let service = match transport {
        Transport::Tls => "_sips._tcp",
        Transport::Tcp => "_sip._tcp",
        Transport::Udp => "_sip._udp",
        Transport::Ws | Transport::Wss => return None,
    };
    name(&format!("{service}.{host}")).ok()
}

/// RFC 3261 §19.1.2; RFC 7118 for WebSocket.
fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nowhere => f.write_str("no such server"),
            Self::Unanswered(what) => write!(f, "the name servers gave no answer: {what}"),
            Self::TimedOut => f.write_str("the name servers did not answer in time"),
            Self::NoName => f.write_str("that is no host name"),
        }
    }
}

impl std::fmt::Debug for Locator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Locator")
    }
}

/// Tries for one call: whoever is unreachable at eight places is unreachable.
const PLACES_MAX: usize = 8;
/// Of one server, so that its addresses don't crowd out the next server.
const PER_TARGET: usize = 4;
/// Records of one answer that are looked at: more is no carrier's.
const RECORDS_MAX: usize = 64;
/// Look-ups at a time: trunks are few, and their answers are kept.
const AT_ONCE: usize = 16;
/// For one question to the name servers.
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// For the chain of NAPTR, SRV and addresses.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Answers that are kept.
const CACHE: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::sync::Arc;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
    use tokio::net::UdpSocket;

    /// What a name server knows. A name that isn't here does not exist; one that is `silent` gets no
    /// answer.
    #[derive(Default)]
    struct Zone {
        records: Vec<(String, RData)>,
        silent: Vec<String>,
    }

    impl Zone {
        fn a(mut self, name: &str, ip: [u8; 4]) -> Self {
            self.records.push((name.to_owned(), RData::A(A(ip.into()))));
            self
        }

        fn srv(mut self, name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Self {
            let srv = SRV::new(priority, weight, port, Name::from_ascii(target).unwrap());
            self.records.push((name.to_owned(), RData::SRV(srv)));
            self
        }

        fn naptr(mut self, order: u16, preference: u16, service: &str, to: &str) -> Self {
            let naptr = NAPTR::new(
                order,
                preference,
                (*b"S").into(),
                service.as_bytes().into(),
                Box::default(),
                Name::from_ascii(to).unwrap(),
            );
            self.records.push(("carrier.test.".to_owned(), RData::NAPTR(naptr)));
            self
        }

        fn silent(mut self, name: &str) -> Self {
            self.silent.push(name.to_owned());
            self
        }

        fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
            let question = Message::from_vec(question).ok()?;
            let query = question.queries.first()?.clone();
            let asked = query.name().to_string().to_ascii_lowercase();
            if self.silent.contains(&asked) {
                return None;
            }
            let mut answer = question;
            answer.metadata.message_type = MessageType::Response;
            let known: Vec<_> = self.records.iter().filter(|(name, _)| *name == asked).collect();
            if known.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            for (_, data) in known {
                if data.record_type() == query.query_type() {
                    answer.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
                }
            }
            answer.to_vec().ok()
        }

        /// A locator that asks this zone alone.
        async fn serve(self, seed: u64) -> Locator {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 1_500];
                while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                    if let Some(answer) = self.answer(&buffer[..len]) {
                        socket.send_to(&answer, from).await.unwrap();
                    }
                }
            });
            let mut udp = ConnectionConfig::udp();
            udp.port = address.port();
            let server = NameServerConfig::new(address.ip(), true, vec![udp]);
            let config = ResolverConfig::from_name_servers(vec![server]);
            let provider = TokioRuntimeProvider::default();
            let mut builder = TokioResolver::builder_with_config(config, provider);
            options(builder.options_mut());
            builder.options_mut().timeout = Duration::from_millis(200);
            let mut locator = Locator::new(Chance::from_number(seed));
            locator.fixed = Some(builder.build().unwrap());
            locator
        }
    }

    fn wanted(transport: Option<Transport>, allowed: &[Transport]) -> Wanted {
        let host = "carrier.test".to_owned();
        Wanted { host, port: None, transport, allowed: allowed.to_vec() }
    }

    async fn found(locator: &Locator, wanted: Wanted) -> Vec<String> {
        let places = locator.locate(wanted).await.unwrap();
        let text = |place: Place| format!("{} {}", place.transport.via(), place.remote);
        places.into_iter().map(text).collect()
    }

    use Transport::{Tcp, Tls, Udp};

    #[tokio::test]
    async fn an_address_and_a_port_ask_nobody_more_than_they_must() {
        let zone = Zone::default().a("carrier.test.", [192, 0, 2, 1]).srv(
            "_sips._tcp.carrier.test.",
            1,
            1,
            7000,
            "other.test.",
        );
        let locator = zone.serve(1).await;
        let of = |host: &str, port, transport| Wanted {
            host: host.to_owned(),
            port,
            transport,
            allowed: vec![Tls, Udp],
        };
        assert_eq!(found(&locator, of("192.0.2.9", None, None)).await, ["TLS 192.0.2.9:5061"]);
        let six = of("[2001:db8::1]", Some(7), Some(Udp));
        assert_eq!(found(&locator, six).await, ["UDP [2001:db8::1]:7"]);
        let port = of("carrier.test", Some(5099), None);
        assert_eq!(found(&locator, port).await, ["TLS 192.0.2.1:5099"]);
    }

    #[tokio::test]
    async fn servers_come_by_priority_and_then_the_name_itself_is_not_asked() {
        let zone = Zone::default()
            .a("carrier.test.", [192, 0, 2, 99])
            .srv("_sips._tcp.carrier.test.", 20, 0, 5063, "c.test.")
            .srv("_sips._tcp.carrier.test.", 10, 0, 5061, "a.test.")
            .srv("_sips._tcp.carrier.test.", 15, 0, 5062, "gone.test.")
            .srv("_sips._tcp.carrier.test.", 16, 0, 0, "a.test.")
            .a("a.test.", [192, 0, 2, 1])
            .a("a.test.", [192, 0, 2, 2])
            .a("c.test.", [192, 0, 2, 3])
            .a("c.test.", [0, 0, 0, 0]);
        let locator = zone.serve(1).await;
        let places = found(&locator, wanted(Some(Tls), &[])).await;
        let mut first: Vec<_> = places[..2].to_vec();
        first.sort_unstable();
        assert_eq!(first, ["TLS 192.0.2.1:5061", "TLS 192.0.2.2:5061"]);
        assert_eq!(places[2..], ["TLS 192.0.2.3:5063"]);
    }

    #[tokio::test]
    async fn without_servers_the_name_itself_at_the_default_port() {
        let locator = Zone::default().a("carrier.test.", [192, 0, 2, 1]).serve(1).await;
        assert_eq!(found(&locator, wanted(Some(Tcp), &[])).await, ["TCP 192.0.2.1:5060"]);
        assert_eq!(found(&locator, wanted(None, &[Tls, Tcp])).await, ["TLS 192.0.2.1:5061"]);
    }

    #[tokio::test]
    async fn weights_share_the_calls() {
        let zone = Zone::default()
            .srv("_sip._udp.carrier.test.", 1, 90, 1, "heavy.test.")
            .srv("_sip._udp.carrier.test.", 1, 10, 2, "light.test.")
            .srv("_sip._udp.carrier.test.", 1, 0, 3, "none.test.")
            .a("heavy.test.", [192, 0, 2, 1])
            .a("light.test.", [192, 0, 2, 2])
            .a("none.test.", [192, 0, 2, 3]);
        let locator = zone.serve(7).await;
        let mut firsts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..400 {
            let places = found(&locator, wanted(Some(Udp), &[])).await;
            assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 3, "each once: {places:?}");
            *firsts.entry(places[0].clone()).or_default() += 1;
        }
        let heavy = firsts["UDP 192.0.2.1:1"];
        assert!((330..=385).contains(&heavy), "{firsts:?}");
        assert!(firsts["UDP 192.0.2.2:2"] > 15, "{firsts:?}");
    }

    #[tokio::test]
    async fn naptr_chooses_among_what_is_allowed_and_never_less() {
        let zone = || {
            Zone::default()
                .naptr(10, 50, "SIP+D2U", "_sip._udp.carrier.test.")
                .naptr(10, 50, "SIPS+D2T", "secure.test.")
                .naptr(10, 60, "sip+d2t", "_sip._tcp.carrier.test.")
                .naptr(5, 1, "E2U+sip", "enum.test.")
                .srv("secure.test.", 1, 1, 5061, "a.test.")
                .srv("_sip._udp.carrier.test.", 1, 1, 5060, "a.test.")
                .srv("_sip._tcp.carrier.test.", 1, 1, 5070, "a.test.")
                .a("a.test.", [192, 0, 2, 1])
        };
        let locator = zone().serve(1).await;
        assert_eq!(found(&locator, wanted(None, &[Tls])).await, ["TLS 192.0.2.1:5061"]);
        let all = wanted(None, &[Tls, Tcp, Udp]);
        assert_eq!(
            found(&locator, all).await,
            ["TLS 192.0.2.1:5061", "UDP 192.0.2.1:5060", "TCP 192.0.2.1:5070"],
        );
        assert_eq!(found(&locator, wanted(None, &[Tcp])).await, ["TCP 192.0.2.1:5070"]);

        // The domain, or whoever speaks for it, offers clear transports alone.
        let clear = Zone::default()
            .naptr(10, 50, "SIP+D2U", "_sip._udp.carrier.test.")
            .srv("_sip._udp.carrier.test.", 1, 1, 5060, "a.test.")
            .a("carrier.test.", [192, 0, 2, 7])
            .a("a.test.", [192, 0, 2, 1]);
        let locator = clear.serve(1).await;
        assert_eq!(found(&locator, wanted(None, &[Tls])).await, ["TLS 192.0.2.7:5061"]);

        // What stands under a later order is not for us.
        let later = Zone::default()
            .naptr(10, 50, "SIPS+D2T", "secure.test.")
            .naptr(20, 1, "SIP+D2U", "_sip._udp.carrier.test.")
            .srv("secure.test.", 1, 1, 5061, "a.test.")
            .srv("_sip._udp.carrier.test.", 1, 1, 5060, "a.test.")
            .a("a.test.", [192, 0, 2, 1]);
        let locator = later.serve(1).await;
        assert_eq!(found(&locator, wanted(None, &[Tls, Udp])).await, ["TLS 192.0.2.1:5061"]);
    }

    #[tokio::test]
    async fn without_naptr_each_allowed_transport_is_asked_for_in_its_order() {
        let zone = Zone::default()
            .silent("carrier.test.")
            .srv("_sip._udp.carrier.test.", 1, 1, 5060, "a.test.")
            .srv("_sips._tcp.carrier.test.", 1, 1, 5061, "a.test.")
            .a("a.test.", [192, 0, 2, 1]);
        let locator = zone.serve(1).await;
        assert_eq!(
            found(&locator, wanted(None, &[Tls, Udp])).await,
            ["TLS 192.0.2.1:5061", "UDP 192.0.2.1:5060"],
        );
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_from_what_does_not_answer() {
        let zone = Zone::default()
            .silent("_sip._tcp.carrier.test.")
            .srv("_sip._udp.carrier.test.", 0, 0, 0, ".")
            .a("carrier.test.", [192, 0, 2, 1]);
        let locator = zone.serve(1).await;
        let nobody = Wanted { host: "nobody.test".to_owned(), ..wanted(Some(Tls), &[]) };
        assert_eq!(locator.locate(nobody).await, Err(Lost::Nowhere));
        assert_eq!(locator.locate(wanted(Some(Tcp), &[])).await, Err(Lost::TimedOut));
        // The domain says that it takes no calls over UDP: its address isn't tried all the same.
        assert_eq!(locator.locate(wanted(Some(Udp), &[])).await, Err(Lost::Nowhere));
        for host in ["", "a..b", &"x".repeat(300)] {
            let bad = Wanted { host: (*host).to_owned(), ..wanted(Some(Tls), &[]) };
            assert!(locator.locate(bad).await.is_err(), "{host}");
        }
        assert_eq!(locator.locate(wanted(None, &[])).await, Err(Lost::Nowhere));
    }

    #[tokio::test]
    async fn absurd_answers_are_cut() {
        let mut zone = Zone::default();
        for n in 0..12 {
            let target = format!("t{n}.test.");
            zone = zone.srv("_sip._udp.carrier.test.", 1, 1, 5060, &target);
            for last in 0..6 {
                zone = zone.a(&target, [192, 0, n, last + 1]);
            }
        }
        let locator = Arc::new(zone.serve(1).await);
        let places = found(&locator, wanted(Some(Udp), &[])).await;
        assert_eq!(places.len(), PLACES_MAX);
        let networks: BTreeSet<&str> =
            places.iter().filter_map(|place| place.rsplit_once('.').map(|(net, _)| net)).collect();
        assert_eq!(networks.len(), 2, "four of each: {places:?}");
    }
}
