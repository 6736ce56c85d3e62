//! The local certificate authority, and the server certificate that it signs.
//!
//! Phones verify whom they call, and a business has no public name for its phone system, nor should
//! it need one. So the first start makes an authority: an ECDSA P-256 key, sealed under the master
//! key, and a certificate for ten years that phones are given once. It signs one certificate for the
//! names and addresses of this host, for 397 days (browsers and phones refuse longer ones), and anew
//! whenever those change or thirty days before the end.
//!
//! Certificate and sealed key stand in one file, written whole and renamed: there is never one
//! without the other.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use guard::secret::{MasterKey, Sealed};
use pure::{Chance, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::data_dir::{DATABASE_FILE, Trouble, replace};
use crate::tls::Identity;

/// Signs for this node.
pub(crate) struct Authority {
    key: KeyPair,
    common_name: String,
    pem: String,
    certificate: CertificateDer<'static>,
}

/// The file: everything about one certificate.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// Of the authority: its common name. Of the server: each name and address, sorted.
    names: Vec<String>,
    /// Microseconds since 1970.
    not_after: i64,
    certificate: String,
    key: Sealed,
}

impl Authority {
    /// Reads the authority, or makes it where there is none.
    pub(crate) fn open(
        folder: &Path,
        master: &MasterKey,
        chance: &mut Chance,
        now: Utc,
    ) -> Result<Self, Trouble> {
        let path = folder.join(AUTHORITY_FILE);
        if let Some(kept) = read(&path)? {
            let (certificate, key) = unseal(&path, &kept, AUTHORITY_RECORD, master)?;
            let common_name = kept.names.first().cloned().unwrap_or_default();
            return Ok(Self { key, common_name, pem: kept.certificate, certificate });
        }
        // Phones trust the authority of the first start: another one in its place would lock all of them out.
        if folder.join(DATABASE_FILE).exists() {
            return Err(Trouble::new(
                format!("{} is missing, and phones trust what it signed", path.display()),
                "restore it from your backup; to start afresh, choose an empty folder with --data",
            ));
        }
        let fresh = Self::draw(now);
        let kept = Kept {
            version: VERSION,
            names: vec![fresh.common_name.clone()],
            not_after: (now + AUTHORITY_LIFE).0,
            certificate: fresh.pem.clone(),
            key: seal(&fresh.key, AUTHORITY_RECORD, master, chance),
        };
        write(&path, &kept)?;
        Ok(fresh)
    }

    /// A new authority, nowhere written.
    pub(crate) fn draw(now: Utc) -> Self {
        let key = generate();
        // Two systems in one phone's list of authorities can be told apart by the end of the name.
        let short = key.public_key_raw().iter().rev().take(3);
        let short: String = short.map(|byte| format!("{byte:02x}")).collect();
        let common_name = format!("Telephone authority {short}");
        let mut params = authority_params(&common_name);
        params.serial_number = Some(serial());
        set_validity(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key).expect(OUR_OWN);
        Self { key, common_name, pem: certificate.pem(), certificate: certificate.into() }
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The server's certificate for `names`: read, or signed anew where names or addresses changed,
    /// the end is near, or there is none. The second value says whether it is new.
    pub(crate) fn server(
        &self,
        folder: &Path,
        names: &[String],
        master: &MasterKey,
        chance: &mut Chance,
        now: Utc,
    ) -> Result<(Identity, bool), Trouble> {
        let path = folder.join(SERVER_FILE);
        if let Some(kept) = read(&path)?
            && kept.names == names
            && Utc(kept.not_after) > now + RENEW_BEFORE
        {
            let (certificate, key) = unseal(&path, &kept, SERVER_RECORD, master)?;
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            return Ok((Identity { chain: vec![certificate], key }, false));
        }
        let key = generate();
        let certificate = self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, &key, now);
        let kept = Kept {
            version: VERSION,
            names: names.to_vec(),
            not_after: (now + SERVER_LIFE).0,
            certificate: certificate.pem(),
            key: seal(&key, SERVER_RECORD, master, chance),
        };
        write(&path, &kept)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((Identity { chain: vec![certificate.into()], key }, true))
    }

    /// A certificate for a server that is none of ours, nowhere written: the carrier of the
    /// demonstration.
    pub(crate) fn issue(&self, names: &[String], now: Utc) -> Identity {
        self.identity(names, ExtendedKeyUsagePurpose::ServerAuth, now)
    }

    fn identity(&self, names: &[String], usage: ExtendedKeyUsagePurpose, now: Utc) -> Identity {
        let key = generate();
        let certificate = self.sign(names, usage, &key, now);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity { chain: vec![certificate.into()], key }
    }

    fn sign(
        &self,
        names: &[String],
        usage: ExtendedKeyUsagePurpose,
        key: &KeyPair,
        now: Utc,
    ) -> rcgen::Certificate {
        let mut params = CertificateParams::new(names.to_vec()).expect(OUR_OWN);
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, names.first().map_or("ringfence", String::as_str));
        params.serial_number = Some(serial());
        set_validity(&mut params, now, SERVER_LIFE);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let issuing = authority_params(&self.common_name);
        let issuer = Issuer::from_params(&issuing, &self.key);
        params.signed_by(key, &issuer).expect(OUR_OWN)
    }
}

/// What signing needs of the authority's own certificate: its name and key identifier.
fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "Telephone system");
    // No further authorities below this one.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// When the first certificate of a PEM file ends; `None` where it doesn't read.
pub(crate) fn not_after(path: &Path) -> Option<Utc> {
    let certificate = CertificateDer::from_pem_file(path).ok()?;
    end_of_validity(&certificate)
}

/// RFC 5280 §4.1: a certificate is a sequence whose first part holds version, serial number,
/// signature, issuer and validity in this order.
fn end_of_validity(der: &[u8]) -> Option<Utc> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if let (VERSION_TAG, _, behind) = element(rest)? {
        rest = behind;
    }
    for _serial_signature_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, text, _) = element(element(validity)?.2)?;
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    // UTCTime has two digits of the year, GeneralizedTime four (§4.1.2.5.1: below 50 is this century).
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        _ => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
    };
    let month: i64 = rest.get(..2)?.parse().ok()?;
    let day: i64 = rest.get(2..4)?.parse().ok()?;
    // Days from civil: years begin in March, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - DAYS_BEFORE_1970;
    Some(Utc(days.checked_mul(86_400 * 1_000_000)?))
}

/// Tag and contents of the first DER element, and what stands behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(length)?;
    Some((tag, contents, behind))
}

/// The names and addresses that phones may reach this host by: sorted, each once. Link-local
/// addresses are left out, since they change and no phone is configured with one.
pub(crate) fn host_names(extra: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    if let Ok(host) = nix::unistd::gethostname()
        && let Ok(host) = host.into_string()
        && crate::config::is_host_name(&host)
    {
        names.push(host.to_ascii_lowercase());
    }
    names.extend(extra.iter().map(|name| name.to_ascii_lowercase()));
    names.sort();
    names.dedup();
    // What somebody asked for is never left out for an address of a host that has very many.
    let mut addresses: Vec<String> = addresses().iter().map(|(_, ip)| ip.to_string()).collect();
    addresses.sort();
    addresses.dedup();
    addresses.retain(|address| !names.contains(address));
    addresses.truncate(NAMES_MAX.saturating_sub(names.len()));
    names.extend(addresses);
    names.sort();
    names
}

/// The addresses of this host's interfaces, link-local ones left out.
pub(crate) fn addresses() -> Vec<(String, IpAddr)> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            let link_local = match ip {
                IpAddr::V4(ip) => ip.is_link_local(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            (!link_local && !ip.is_unspecified()).then_some((interface.interface_name, ip))
        })
        .collect()
}

fn generate() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .expect("the system's randomness is there once it has booted")
}

/// Drawn, so that nobody can prepare a collision (CA/Browser Forum: at least 64 bits).
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = crate::clock::chance().bytes();
    // Positive, and of full length.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn seal(key: &KeyPair, record: &str, master: &MasterKey, chance: &mut Chance) -> Sealed {
    let der = Zeroizing::new(key.serialize_der());
    Sealed::seal(master, chance, record.as_bytes(), &der)
}

fn unseal(
    path: &Path,
    kept: &Kept,
    record: &str,
    master: &MasterKey,
) -> Result<(CertificateDer<'static>, KeyPair), Trouble> {
    let damaged = |what: String| {
        Trouble::new(
            format!("{}: {what}", path.display()),
            "restore the data folder, with its master key, from one backup",
        )
    };
    let der = kept
        .key
        .open(master, record.as_bytes())
        .map_err(|error| damaged(format!("the master key does not open it: {error}")))?;
    let key = PrivatePkcs8KeyDer::from(der.to_vec());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
        .map_err(|error| damaged(error.to_string()))?;
    let certificate = CertificateDer::from_pem_slice(kept.certificate.as_bytes())
        .map_err(|error| damaged(error.to_string()))?;
    Ok((certificate, key))
}

fn read(path: &Path) -> Result<Option<Kept>, Trouble> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::file("read", path, &error)),
    };
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| {
        Trouble::new(format!("{} is damaged: {error}", path.display()), "restore it from a backup")
    })?;
    if kept.version != VERSION {
        return Err(Trouble::new(
            format!(
                "{} has version {}, this program knows {VERSION}",
                path.display(),
                kept.version
            ),
            "install the version of ringfence that wrote it, or a newer one",
        ));
    }
    Ok(Some(kept))
}

fn write(path: &Path, kept: &Kept) -> Result<(), Trouble> {
    let text = serde_json::to_vec_pretty(kept).expect("strings and numbers are always JSON");
    replace(path, &text)
}

/// From yesterday's midnight, for phones whose clock is a little late, to the end of a life.
fn set_validity(params: &mut CertificateParams, now: Utc, life: Duration) {
    let midnight = |at: Utc| {
        let (year, month, day, ..) = at.civil();
        rcgen::date_time_ymd(i32::try_from(year).expect("years have four digits"), month, day)
    };
    params.not_before = midnight(Utc(now.0 - 86_400_000_000));
    params.not_after = midnight(now + life);
}

const AUTHORITY_FILE: &str = "authority.json";
const SERVER_FILE: &str = "server.json";
const AUTHORITY_RECORD: &str = "authority/key";
const SERVER_RECORD: &str = "server/key";
const VERSION: u32 = 1;
/// `[0]`, explicit.
const VERSION_TAG: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
/// From the first of March of the year 0.
const DAYS_BEFORE_1970: i64 = 719_468;
const AUTHORITY_LIFE: Duration = Duration::from_secs(3_652 * 86_400);
const SERVER_LIFE: Duration = Duration::from_secs(397 * 86_400);
pub(crate) const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// A host with more addresses is no phone system; phones limit the length of certificates.
const NAMES_MAX: usize = 64;
const OUR_OWN: &str = "the parameters are our own, and names were judged before";

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use std::sync::Arc;

    const START: Utc = Utc(1_795_366_224_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_end_of_a_certificate_is_read_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate.pem");
        for years in [1, 10, 30, 40] {
            let mut params = CertificateParams::new(names()).unwrap();
            let life = DAY * (365 * years);
            set_validity(&mut params, START, life);
            let ends = START + life;
            let certificate = params.self_signed(&generate()).unwrap();
            std::fs::write(&path, certificate.pem()).unwrap();
            let found = not_after(&path).expect("it reads");
            // The day is enough to warn by.
            assert!(ends.since(found) < DAY && found <= ends, "{found} {ends}");
        }
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(not_after(&path), None);
        assert_eq!(end_of_validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    fn names() -> Vec<String> {
        vec!["192.0.2.1".into(), "2001:db8::1".into(), "pbx.example.com".into()]
    }

    impl Authority {
        pub(crate) fn issue_client(&self, name: &str, now: Utc) -> Identity {
            self.identity(&[name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, now)
        }
    }

    fn verify(ca: &Authority, identity: &Identity, name: &str, at: Utc) -> Result<(), String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let at = Duration::from_secs(u64::try_from(at.seconds()).unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(at);
        let verified = verifier.verify_server_cert(&identity.chain[0], &[], &name, &[], at);
        verified.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_phone_with_our_authority_accepts_every_name_for_397_days() {
        let authority = Authority::draw(START);
        let identity = authority.issue(&names(), START);
        for name in names() {
            verify(&authority, &identity, &name, START).unwrap();
            verify(&authority, &identity, &name, START + 396 * DAY).unwrap();
            verify(&authority, &identity, &name, START + 398 * DAY).unwrap_err();
        }
        verify(&authority, &identity, "other.example.com", START).unwrap_err();
        verify(&Authority::draw(START), &identity, "pbx.example.com", START).unwrap_err();
    }

    #[test]
    fn a_second_start_finds_it_and_change_renews_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut chance = crate::clock::chance();
        let master = MasterKey::draw(&mut chance);
        let mut start = |names: &[String], now| {
            let authority = Authority::open(folder.path(), &master, &mut chance, now).unwrap();
            let (identity, new) =
                authority.server(folder.path(), names, &master, &mut chance, now).unwrap();
            verify(&authority, &identity, &names[0], now).unwrap();
            (authority.certificate().clone(), identity.chain, new)
        };
        let (ca, first, new) = start(&names(), START);
        assert!(new);
        let (same_ca, same, new) = start(&names(), START + 300 * DAY);
        assert!(!new && same_ca == ca && same == first);
        let (same_ca, renewed, new) = start(&names(), START + 368 * DAY);
        assert!(new && same_ca == ca && renewed != first, "thirty days before the end");
        let (_, fewer, new) = start(&names()[1..], START + 369 * DAY);
        assert!(new && fewer != renewed, "an address is gone");
    }

    #[test]
    fn another_master_key_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut chance = crate::clock::chance();
        let (ours, other) = (MasterKey::draw(&mut chance), MasterKey::draw(&mut chance));
        Authority::open(folder.path(), &ours, &mut chance, START).unwrap();
        let Err(refused) = Authority::open(folder.path(), &other, &mut chance, START) else {
            panic!("refused")
        };
        assert!(refused.to_string().contains("another key"), "{refused}");
        let sealed = std::fs::read_to_string(folder.path().join(AUTHORITY_FILE)).unwrap();
        assert!(!sealed.contains("PRIVATE"));
    }

    #[test]
    fn the_host_has_names() {
        let names = host_names(&["PBX.example.com".to_owned()]);
        for name in ["localhost", "127.0.0.1", "pbx.example.com"] {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
        assert!(names.is_sorted());
    }
}
