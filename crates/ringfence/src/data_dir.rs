//! The data folder: which one, and the master key that opens what is sealed in it.
//!
//! `store::Folder` makes the folder, keeps others out and locks it against a second process. Each
//! file in it is written whole beside its place, flushed, and renamed, and files come in an order in
//! which every one needs only those before it (master key, authority, server certificate, database):
//! so a first start that was interrupted anywhere is simply continued by the next.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use guard::secret::{KEY_LENGTH, KeyId, MasterKey};
use pure::Chance;
use zeroize::{Zeroize, Zeroizing};

/// Why the node can't start or go on: what is wrong and what to do, each a sentence.
#[derive(Debug)]
pub(crate) struct Trouble {
    wrong: String,
    remedy: String,
}

impl Trouble {
    pub(crate) fn new(wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), remedy: remedy.into() }
    }

    /// The same, with another thing to do about it.
    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "let this user (uid {}) use it, or choose another folder with --data",
                nix::unistd::geteuid()
            ),
            io::ErrorKind::StorageFull => "free some space on that disk".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => {
                "choose a folder that can be written with --data".to_owned()
            }
            io::ErrorKind::NotADirectory => "choose another folder with --data".to_owned(),
            _ => "check the path, or choose another folder with --data".to_owned(),
        };
        Self { wrong: format!("cannot {doing} {}: {error}", path.display()), remedy }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  remedy: {}", self.wrong, self.remedy)
    }
}

impl std::error::Error for Trouble {}

/// What `store` calls its database: where it lies, there was a first start.
pub(crate) const DATABASE_FILE: &str = "ringfence.db";

/// Which folder: the one that was named, systemd's, or the usual one of this user.
pub(crate) fn choose(
    named: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
    root: bool,
) -> Result<PathBuf, Trouble> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = named {
        return Ok(named);
    }
    if let Some(state) = set("STATE_DIRECTORY") {
        return Ok(state);
    }
    if root {
        return Ok("/var/lib/ringfence".into());
    }
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("ringfence"))
        .ok_or_else(|| {
            Trouble::new(
                "no data folder: neither XDG_DATA_HOME nor HOME is set",
                "name one with --data DIR",
            )
        })
}

/// Reads the master key from systemd's credential or from the folder, or makes it at the first start.
pub(crate) fn master_key(
    folder: &Path,
    credentials: Option<&Path>,
    chance: &mut Chance,
) -> Result<MasterKey, Trouble> {
    if let Some(path) = credentials.map(|folder| folder.join(CREDENTIAL))
        && path.exists()
    {
        return read_master_key(&path)?.ok_or_else(|| {
            Trouble::new(
                format!("{} vanished while it was read", path.display()),
                "start the service again",
            )
        });
    }
    let path = folder.join(MASTER_KEY_FILE);
    if let Some(key) = read_master_key(&path)? {
        return Ok(key);
    }
    // What was sealed can't be opened by a new key: making one would only hide the loss.
    if ["authority.json", DATABASE_FILE].iter().any(|file| folder.join(file).exists()) {
        return Err(Trouble::new(
            format!("{} is missing, and the folder holds what it sealed", path.display()),
            "restore it from your backup, or give it as the systemd credential `master-key`; to \
             start afresh, choose an empty folder with --data",
        ));
    }
    let key = MasterKey::draw(chance);
    let key_hex = hex(key.reveal());
    let text = Zeroizing::new(format!("{MASTER_KEY_HEAD} {} {}\n", key.id(), *key_hex));
    replace(&path, text.as_bytes())?;
    Ok(key)
}

fn read_master_key(path: &Path) -> Result<Option<MasterKey>, Trouble> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::file("read", path, &error)),
    };
    let key = parse_master_key(&text).ok_or_else(|| {
        Trouble::new(
            format!("{} is no master key", path.display()),
            format!("restore it from your backup; it is one line: {MASTER_KEY_HEAD} ID KEY"),
        )
    })?;
    Ok(Some(key))
}

fn parse_master_key(text: &str) -> Option<MasterKey> {
    let mut words = text.split_ascii_whitespace();
    let (head, id, key) = (words.next()?, words.next()?, words.next()?);
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let sound = head == MASTER_KEY_HEAD
        && words.next().is_none()
        && (id.len(), key.len()) == (16, 2 * KEY_LENGTH)
        && digits(id)
        && digits(key);
    if !sound {
        return None;
    }
    let id = KeyId(u64::from_str_radix(id, 16).ok()?);
    let mut bytes = [0; KEY_LENGTH];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(key.get(at..at + 2)?, 16).ok()?;
    }
    let master = MasterKey::new(id, bytes);
    bytes.zeroize();
    Some(master)
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
        }
    }
    out
}

/// Writes a whole file of mode 0600, so that a reader, or a start after a crash or a loss of power,
/// sees the old or the new text and never half.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let beside = path.with_extension("new");
    let written = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        // The rename itself is durable once its folder is.
        match path.parent() {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|error| Trouble::file("write", path, &error))
}

const MASTER_KEY_FILE: &str = "master.key";
const CREDENTIAL: &str = "master-key";
const MASTER_KEY_HEAD: &str = "ringfence-master-key-1";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_is_the_one_that_was_meant() {
        let chosen = |named: Option<&str>, set: &[(&str, &str)], root| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, v)| v.into());
            choose(named.map(PathBuf::from), variable, root)
                .map(|path| path.display().to_string())
                .ok()
        };
        let systemd = ("STATE_DIRECTORY", "/var/lib/rf");
        assert_eq!(chosen(Some("x"), &[systemd], true).as_deref(), Some("x"));
        assert_eq!(chosen(None, &[systemd], true).as_deref(), Some("/var/lib/rf"));
        assert_eq!(chosen(None, &[], true).as_deref(), Some("/var/lib/ringfence"));
        let xdg = ("XDG_DATA_HOME", "/d");
        assert_eq!(chosen(None, &[xdg], false).as_deref(), Some("/d/ringfence"));
        let home = ("HOME", "/h");
        assert_eq!(
            chosen(None, &[("XDG_DATA_HOME", ""), home], false).as_deref(),
            Some("/h/.local/share/ringfence")
        );
        assert_eq!(chosen(None, &[], false), None);
    }

    #[test]
    fn the_master_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut chance = crate::clock::chance();
        let first = master_key(folder.path(), None, &mut chance).unwrap();
        let second = master_key(folder.path(), None, &mut chance).unwrap();
        assert!(first.id() == second.id() && first.reveal() == second.reveal());
        let mode = fs::metadata(folder.path().join(MASTER_KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lost_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("authority.json"), "{}").unwrap();
        let refused = master_key(folder.path(), None, &mut crate::clock::chance()).unwrap_err();
        assert!(refused.to_string().contains("restore it"), "{refused}");
        assert!(!folder.path().join(MASTER_KEY_FILE).exists());
    }

    #[test]
    fn a_credential_comes_before_the_file() {
        let (folder, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let line = format!("{MASTER_KEY_HEAD} 00000000000000ff {}\n", "ab".repeat(32));
        fs::write(credentials.path().join(CREDENTIAL), line).unwrap();
        let mut chance = crate::clock::chance();
        let key = master_key(folder.path(), Some(credentials.path()), &mut chance).unwrap();
        assert_eq!((key.id(), key.reveal()), (KeyId(255), &[0xab; 32]));
        assert!(!folder.path().join(MASTER_KEY_FILE).exists());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let line = format!("{MASTER_KEY_HEAD} 00000000000000ff {}", "ab".repeat(32));
        assert!(parse_master_key(&line).is_some());
        for text in [
            "",
            "ringfence-master-key-1",
            &line.replace("ab", "ä"),
            &line.replace("-1 ", "-2 "),
            &format!("{line} more"),
            &line[..line.len() - 2],
        ] {
            assert!(parse_master_key(text).is_none(), "{text:?}");
        }
    }
}
