//! From sealed secrets to the digests that the exchange compares with.

use guard::id::{ExtensionId, TrunkId};
use guard::secret::{CannotOpen, MasterKey};
use pbx::command::{Credentials, TrunkSecret};
use pbx::directory::{Extension, Secret, Trunk};
use sip::digest::{Algorithm, Ha1};
use zeroize::Zeroizing;

/// The name under which an extension's secret is sealed: a secret copied into another extension's
/// row doesn't open.
pub(crate) fn record(extension: ExtensionId) -> String {
    format!("extension/{extension}/secret")
}

/// The name under which a trunk's secret is sealed.
pub(crate) fn trunk_record(trunk: TrunkId) -> String {
    format!("trunk/{}/secret", trunk.0)
}

/// A trunk's secret in clear, where it has an account: to answer the carrier's challenges with.
pub(crate) fn open_trunk(
    master: &MasterKey,
    trunk: &Trunk,
) -> Result<Option<TrunkSecret>, CannotOpen> {
    let Some(account) = trunk.account() else { return Ok(None) };
    let clear = account.secret.sealed.open(master, trunk_record(trunk.id).as_bytes())?;
    // A carrier's secret came as text: other bytes can't have been sealed here.
    let clear = str::from_utf8(&clear).map_err(|_| CannotOpen::Tampered)?;
    Ok(Some(TrunkSecret(Zeroizing::new(clear.to_owned()))))
}

/// HA1 of a secret under each algorithm. `realm`: the tenant's digest realm.
pub(crate) fn derive(number: &str, realm: &str, secret: &str) -> Credentials {
    Credentials {
        md5: Ha1::derive(Algorithm::Md5, number, realm, secret),
        sha256: Ha1::derive(Algorithm::Sha256, number, realm, secret),
    }
}

/// A secret in clear: to be derived from, or shown once to who may see it.
pub(crate) fn clear(
    master: &MasterKey,
    extension: ExtensionId,
    secret: &Secret,
) -> Result<Zeroizing<String>, CannotOpen> {
    let clear = secret.sealed.open(master, record(extension).as_bytes())?;
    // A generated secret is ASCII: other bytes can't have been sealed here.
    let clear = str::from_utf8(&clear).map_err(|_| CannotOpen::Tampered)?;
    Ok(Zeroizing::new(clear.to_owned()))
}

/// Opens the secrets of an extension, the current and the one before, and derives their digests.
pub(crate) fn open(
    master: &MasterKey,
    realm: &str,
    extension: &Extension,
) -> Result<(Credentials, Option<Credentials>), CannotOpen> {
    let number = extension.number.to_string();
    let digests =
        |secret: &Secret| Ok(derive(&number, realm, &clear(master, extension.id, secret)?));
    let current = digests(&extension.secret)?;
    let previous = extension.previous.as_ref().map(|(secret, _)| digests(secret)).transpose()?;
    Ok((current, previous))
}
