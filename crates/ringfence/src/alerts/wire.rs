//! Connections to sinks: looked up, judged, connected and encrypted within bounds of time.
//!
//! Where a sink leads is what somebody typed, and a name may lead anywhere tomorrow. So the addresses
//! that the name has now are judged, and one of *those* is connected to: a sink reaches this machine
//! and private networks only where `--private` said so, and the addresses that clouds give their
//! secrets out at, never.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why something was not delivered, and what mends it where that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wrong {
    pub(crate) why: String,
    pub(crate) remedy: Option<&'static str>,
}

impl Wrong {
    pub(super) fn with(why: impl Into<String>, remedy: &'static str) -> Self {
        Self { why: why.into(), remedy: Some(remedy) }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self { why, remedy: None }
    }
}

impl From<&str> for Wrong {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Whom to trust, and how far it may lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    pub(super) authority: Option<&'a str>,
    pub(super) private: bool,
    /// In clear: this machine alone.
    pub(super) loopback_only: bool,
}

/// Whether what the name has for addresses now can ever be a sink's. A name that isn't found may be
/// found tomorrow.
pub(super) async fn may_lead(host: &str, port: u16, reach: Reach<'_>) -> Result<(), Wrong> {
    let Ok(found) = look_up(host, port).await else { return Ok(()) };
    let mut judged = found.into_iter().map(|address| judge(address.ip(), reach));
    let Some(first) = judged.next() else { return Ok(()) };
    judged.fold(first, |all, one| all.or(one))
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Wrong> {
    let found = timeout(LOOK_UP_MAX, tokio::net::lookup_host((host, port))).await;
    match found {
        Err(_) => Err(Wrong::with(format!("looking up {host} took too long"), NAME_REMEDY)),
        Ok(Err(error)) => Err(Wrong::with(format!("{host} is not found: {error}"), NAME_REMEDY)),
        Ok(Ok(found)) => Ok(found.take(ADDRESSES_MAX).collect()),
    }
}

pub(super) async fn connect(host: &str, port: u16, reach: Reach<'_>) -> Result<TcpStream, Wrong> {
    let found = look_up(host, port).await?;
    let mut why = Wrong::with(format!("{host} has no address"), NAME_REMEDY);
    for address in found {
        if let Err(refused) = judge(address.ip(), reach) {
            why = refused;
            continue;
        }
        match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                why = Wrong::with(format!("{address} can't be reached: {error}"), REACH_REMEDY);
            }
            Err(_) => why = Wrong::with(format!("{address} does not answer"), REACH_REMEDY),
        }
    }
    Err(why)
}

pub(super) async fn encrypt(
    stream: TcpStream,
    host: &str,
    reach: Reach<'_>,
) -> Result<TlsStream<TcpStream>, Wrong> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host} is no name for a certificate"))?;
    let connector = TlsConnector::from(Arc::new(client(reach.authority).await?));
    match timeout(HANDSHAKE_MAX, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(untrusted(host, &error)),
        Err(_) => Err(Wrong::with(
            format!("{host} does not finish its TLS handshake"),
            "see that this port begins with TLS, and that a firewall lets it through",
        )),
    }
}

/// The library's words are for programmers, and its times count from 1970.
fn untrusted(host: &str, error: &std::io::Error) -> Wrong {
    use rustls::{CertificateError as Of, Error as Tls};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    match inner {
        Some(Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Wrong::with(
            format!("this port of {host} does not begin with TLS"),
            "a mail server: leave out --tls, which STARTTLS then does, or name its port for TLS (465); a \
             webhook: give the port that speaks https",
        ),
        Some(Tls::InvalidCertificate(certificate)) => match certificate {
            Of::UnknownIssuer => Wrong::with(
                format!(
                    "the certificate of {host} is signed by an authority that is not trusted here"
                ),
                "say it with --authority FILE, the authority's certificate as PEM; or install it in this \
                 machine's list",
            ),
            Of::Expired | Of::ExpiredContext { .. } => Wrong::with(
                format!("the certificate of {host} has ended"),
                "have it renewed by whoever runs that server; see that this machine's clock is right",
            ),
            Of::NotValidYet | Of::NotValidYetContext { .. } => Wrong::with(
                format!("the certificate of {host} does not begin before later"),
                "see that this machine's clock is right",
            ),
            Of::NotValidForName | Of::NotValidForNameContext { .. } => Wrong::with(
                format!("{host} shows a certificate for another name"),
                "name the server as its certificate does",
            ),
            _ => format!("the certificate of {host} is not accepted: {error}").into(),
        },
        _ => format!("{host} can't be trusted: {error}").into(),
    }
}

async fn client(authority: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| format!("its authority: {error}"))?;
                roots.add(certificate).map_err(|error| format!("its authority: {error}"))?;
            }
        }
        None => {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            roots.add_parsable_certificates(found.map(|found| found.certs).unwrap_or_default());
        }
    }
    if roots.is_empty() {
        return Err(
            "this host trusts no authorities: install ca-certificates, or give --authority"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a sink may be at this address.
fn judge(ip: IpAddr, reach: Reach<'_>) -> Result<(), Wrong> {
    let ip = ip.to_canonical();
    if reach.loopback_only && !ip.is_loopback() {
        return Err(Wrong::with(
            format!("{ip} is not this machine: nothing goes there unencrypted"),
            "a webhook: give an address with https://; a mail server: leave out --loopback",
        ));
    }
    match range(ip) {
        Range::Public => Ok(()),
        Range::Private if reach.private => Ok(()),
        Range::Private => Err(Wrong::with(
            format!("{ip} is this machine or in a private network"),
            "say --private if it is meant",
        )),
        Range::Never => Err(Wrong::with(
            format!("no sink can be at {ip}"),
            "name a server that has an address of its own",
        )),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Range {
    Public,
    /// This machine, or a network of its owner's.
    Private,
    /// Nobody's, everybody's, or the address at which a cloud hands out its machine's secrets.
    Never,
}

fn range(ip: IpAddr) -> Range {
    match ip {
        IpAddr::V4(v4) => range_v4(v4),
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            let within = match segments {
                // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                    let bits = u32::from(high) << 16 | u32::from(low);
                    Some(range_v4(Ipv4Addr::from_bits(bits)))
                }
                _ => None,
            };
            match within {
                Some(range) => range,
                None if v6.is_loopback() || segments[0] & 0xfe00 == 0xfc00 => Range::Private,
                None if v6.is_unspecified() || v6.is_multicast() => Range::Never,
                None if segments[0] & 0xffc0 == 0xfe80 => Range::Never,
                None => Range::Public,
            }
        }
    }
}

fn range_v4(v4: Ipv4Addr) -> Range {
    match v4.octets() {
        [0, ..] | [169, 254, ..] | [224..=255, ..] => Range::Never,
        // RFC 1918, RFC 6598 (carrier's NAT) and this machine.
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => {
            Range::Private
        }
        _ => Range::Public,
    }
}

const NAME_REMEDY: &str = "check the name, and that this machine can look up names";
const REACH_REMEDY: &str =
    "see that the server runs, that the port is right, and that no firewall is between";
const LOOK_UP_MAX: Duration = Duration::from_secs(10);
/// For each address.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A name with more is tried no further.
const ADDRESSES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_leads_inside_only_where_it_was_said() {
        let reach = |private, loopback_only| Reach { authority: None, private, loopback_only };
        let open = |text: &str, reach| judge(text.parse().expect("an address"), reach).is_ok();
        for public in ["192.0.2.1", "8.8.8.8", "100.128.0.1", "2001:db8::1", "172.32.0.1"] {
            assert!(open(public, reach(false, false)), "{public}");
            assert!(!open(public, reach(true, true)), "{public} in clear");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
        ] {
            assert!(!open(private, reach(false, false)), "{private}");
            assert!(open(private, reach(true, false)), "{private}");
        }
        for never in [
            "0.0.0.0",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(!open(never, reach(true, false)), "{never}");
        }
        assert!(open("127.0.0.1", reach(true, true)));
    }
}
