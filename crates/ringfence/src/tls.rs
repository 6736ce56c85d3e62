//! What a TLS connection is made of: certificate, versions, and how client certificates are judged.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::config::{ClientCertificates, TlsVersion};

/// What we show to phones.
pub(crate) struct Identity {
    /// Our own certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Says whose client certificate counts.
#[derive(Clone, Debug)]
pub(crate) struct ClientJudge(Option<Arc<dyn ClientCertVerifier>>);

/// Why certificate, key and settings don't make a server, in words.
#[derive(Debug)]
pub(crate) struct Unusable(String);

/// Installs the one provider of cryptography of the process. Call once, before anything else.
pub(crate) fn install_provider() {
    // A second installation changes nothing, and the provider is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Builds what connections are accepted with. `authorities` sign client certificates.
pub(crate) fn server(
    identity: Identity,
    minimum: TlsVersion,
    clients: ClientCertificates,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<(Arc<ServerConfig>, ClientJudge), Unusable> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = match clients {
        ClientCertificates::Off => None,
        ClientCertificates::Optional | ClientCertificates::Required => {
            Some(verifier(authorities, provider.clone())?)
        }
    };
    let versions: &[&rustls::SupportedProtocolVersion] = match minimum {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| Unusable(error.to_string()))?;
    let builder = match (clients, &verifier) {
        (ClientCertificates::Required, Some(verifier)) => {
            builder.with_client_cert_verifier(verifier.clone())
        }
        (ClientCertificates::Optional, Some(verifier)) => {
            builder.with_client_cert_verifier(Arc::new(Welcoming(verifier.clone())))
        }
        _ => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(identity.chain, identity.key).map_err(|error| {
        Unusable(match error {
            rustls::Error::InconsistentKeys(_) => {
                "the private key does not belong to the certificate".to_owned()
            }
            other => other.to_string(),
        })
    })?;
    Ok((Arc::new(config), ClientJudge(verifier)))
}

fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| {
            Unusable(format!("a certificate of the client authority cannot be used: {error}"))
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| Unusable(format!("the client authority cannot be used: {error}")))
}

impl ClientJudge {
    /// SHA-256 of the client's certificate, where the authority signed it and it is valid now.
    pub(crate) fn fingerprint(&self, chain: &[CertificateDer<'_>]) -> Option<[u8; 32]> {
        let (own, intermediates) = chain.split_first()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = UnixTime::since_unix_epoch(now.unwrap_or(Duration::ZERO));
        self.0.as_ref()?.verify_client_cert(own, intermediates, now).ok()?;
        Some(fingerprint(own))
    }
}

/// SHA-256 of a certificate.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// As certificate viewers print it: `AB:CD:…`.
pub(crate) fn print_fingerprint(fingerprint: &[u8; 32]) -> String {
    let bytes: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Lets every client certificate pass the handshake, with proof that the client holds its key. Many
/// phones show their maker's certificate to whoever asks, and refusing it would refuse the phone:
/// [`ClientJudge::fingerprint`] decides afterwards whether it counts for anything.
#[derive(Debug)]
struct Welcoming(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Welcoming {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::authority::Authority;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    /// A server as the node makes it, with an authority of its own.
    pub(crate) fn server() -> (Arc<ServerConfig>, ClientJudge) {
        let now = crate::clock::Clock::start().now().utc;
        let authority = Authority::draw(now);
        let identity = authority.issue(&names(), now);
        super::server(identity, TlsVersion::V1_2, ClientCertificates::Off, Vec::new())
            .expect("valid")
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let now = crate::clock::Clock::start().now().utc;
        let authority = Authority::draw(now);
        let mut identity = authority.issue(&names(), now);
        identity.key = authority.issue(&names(), now).key;
        let refused =
            super::server(identity, TlsVersion::V1_2, ClientCertificates::Off, Vec::new());
        assert!(refused.unwrap_err().to_string().contains("does not belong"));
    }

    #[test]
    fn only_certificates_of_the_authority_count() {
        let now = crate::clock::Clock::start().now().utc;
        let (ours, other) = (Authority::draw(now), Authority::draw(now));
        let (_, judge) = super::server(
            ours.issue(&names(), now),
            TlsVersion::V1_2,
            ClientCertificates::Optional,
            vec![ours.certificate().clone()],
        )
        .expect("valid");
        let phone = ours.issue_client("phone", now);
        assert_eq!(judge.fingerprint(&phone.chain), Some(fingerprint(&phone.chain[0])));
        assert_eq!(judge.fingerprint(&other.issue_client("phone", now).chain), None);
        // A server's certificate is no phone's.
        assert_eq!(judge.fingerprint(&ours.issue(&names(), now).chain), None);
    }
}
