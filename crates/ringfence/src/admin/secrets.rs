//! Secrets of extensions at the edge: sealed for the store, derived for the exchange.
//!
//! The clear text exists here, in the answer that shows it, and in the phone. The record's id is the
//! associated data, so a sealed secret that is copied to another extension doesn't open there.

use guard::id::ExtensionId;
use guard::number::ExtensionNumber;
use guard::secret::{CannotOpen, MasterKey, Sealed, Secret};
use pbx::command::Credentials;
use pure::Chance;
use sip::digest::{Algorithm, Ha1};
use zeroize::Zeroizing;

pub(super) fn seal_secret(
    key: &MasterKey,
    chance: &mut Chance,
    extension: ExtensionId,
    secret: &Secret,
) -> Sealed {
    Sealed::seal(key, chance, &record(extension), secret.reveal().as_bytes())
}

/// # Errors
/// Sealed under another key, for another extension, or damaged.
pub(crate) fn open_secret(
    key: &MasterKey,
    extension: ExtensionId,
    sealed: &Sealed,
) -> Result<Zeroizing<String>, CannotOpen> {
    let bytes = sealed.open(key, &record(extension))?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// HA1 under each algorithm: what the exchange checks a phone against.
pub(crate) fn credentials(number: &ExtensionNumber, realm: &str, secret: &str) -> Credentials {
    let derive = |algorithm| Ha1::derive(algorithm, number.as_str(), realm, secret);
    Credentials { md5: derive(Algorithm::Md5), sha256: derive(Algorithm::Sha256) }
}

fn record(extension: ExtensionId) -> Vec<u8> {
    format!("extension-secret:{extension}").into_bytes()
}
