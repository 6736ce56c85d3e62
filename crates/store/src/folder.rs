//! The data folder: one process at a time, and nobody else on the machine may look inside.
//!
//! The database, its write-ahead log, the key file and the certificate authority live here. SQLite
//! would let two processes write; our journal, our flow generations and our sockets would not
//! survive that, so whoever opens the folder holds `ringfence.lock`. The lock is the kernel's
//! (`flock`), so it falls with its process, however that ends; the pid inside is for the message only.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A locked data folder. Dropping it lets the next process in.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none, checks who may read it, and locks it.
    ///
    /// # Errors
    /// [`Error::Exposed`] where a group or others may read the folder or a file in it: tightening it
    /// silently would hide that somebody may have read it already. [`Error::InUse`] where another
    /// process holds it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        make_private(path)?;
        let lock = lock(path)?;
        check_files(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// What [`open`](Self::open) would refuse about who may read it; makes, locks and changes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn check(path: &Path) -> Result<(), Error> {
        if !path.exists() || is_new(path)? {
            return Ok(());
        }
        check_files(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file inside; nothing is created.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file with mode 0600 so that a reader sees the old or the new text, never half.
    ///
    /// # Errors
    /// [`Error::Io`] with what was tried on which path.
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        replace_private(&self.file(name), bytes)
    }
}

/// Writes beside `path` with mode 0600 and renames. No fsync: what must survive power loss is in the
/// database, these are its companions.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&beside)
        .map_err(|e| Error::io("create", &beside, e))?;
    file.write_all(bytes).map_err(|e| Error::io("write", &beside, e))?;
    fs::rename(&beside, path).map_err(|e| Error::io("rename", &beside, e))
}

/// An empty file of mode 0600, for a library that would create it by the umask.
pub(crate) fn touch_private(path: &Path) -> Result<(), Error> {
    let opened = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path);
    opened.map(drop).map_err(|e| Error::io("create", path, e))
}

/// Refuses a folder, or a file of ours in it, that more than its owner may use. The configuration and
/// the authority's certificate hold no secret, and what else lies there is none of our business.
pub(crate) fn check_files(folder: &Path) -> Result<(), Error> {
    check_private(folder)?;
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))? {
        let entry = entry.map_err(|e| Error::io("list", folder, e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let secret = SECRET_FILES.iter().any(|start| name.starts_with(start));
        if secret && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            check_private(&entry.path())?;
        }
    }
    Ok(())
}

fn make_private(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
            made.map_err(|e| Error::io("create", path, e))
        }
        Err(e) => Err(Error::io("look at", path, e)),
        Ok(found) if !found.is_dir() => {
            Err(Error::io("open", path, io::Error::from(io::ErrorKind::NotADirectory)))
        }
        // A folder that `mkdir` made a moment ago holds nothing that anybody could have read.
        Ok(found) if is_exposed(found.mode()) && is_new(path)? => {
            fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE))
                .map_err(|e| Error::io("restrict", path, e))
        }
        Ok(_) => check_private(path),
    }
}

/// Empty, or with the configuration alone, which holds no secret. What holds anything else may be somebody
/// else's folder: its mode is not ours to change.
fn is_new(path: &Path) -> Result<bool, Error> {
    for entry in fs::read_dir(path).map_err(|e| Error::io("list", path, e))? {
        let entry = entry.map_err(|e| Error::io("list", path, e))?;
        if entry.file_name() != CONFIGURATION {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check_private(path: &Path) -> Result<(), Error> {
    let mode = match fs::symlink_metadata(path) {
        Ok(found) => found.mode(),
        // SQLite removes its companions when the last connection goes: gone is private enough.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("look at", path, e)),
    };
    if is_exposed(mode) {
        return Err(Error::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    Ok(())
}

fn is_exposed(mode: u32) -> bool {
    mode & 0o077 != 0
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // What can't be read is left out of the message; the refusal stands either way.
            let _ = file.take(PID_LENGTH_MAX).read_to_string(&mut text);
            return Err(Error::InUse { path: folder.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(|e| Error::io("write", &path, e))?;
    Ok(file)
}

/// May be there before the first start.
const CONFIGURATION: &str = "ringfence.toml";
const LOCK: &str = "ringfence.lock";
/// Beginnings of the names of files that hold secrets or sealed ones: the key, the database with its
/// companions and copies, the authority's and the server's keys, the journal's head.
const SECRET_FILES: [&str; 5] =
    ["master.key", "ringfence.db", "authority.json", "server.json", "journal.head"];
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Longer than any pid; whatever else stands in the file is not read into memory.
const PID_LENGTH_MAX: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;

    #[test]
    fn a_second_opener_is_told_who_holds_it() {
        let scratch = scratch("lock");
        let first = Folder::open(scratch.path()).unwrap();
        let refused = Folder::open(scratch.path()).unwrap_err();
        assert!(
            matches!(refused, Error::InUse { pid: Some(pid), .. } if pid == std::process::id())
        );
        assert!(refused.to_string().contains(&std::process::id().to_string()));
        drop(first);
        Folder::open(scratch.path()).unwrap();
    }

    #[test]
    fn what_others_could_read_is_refused() {
        let scratch = scratch("modes");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let folder = scratch.path().join("data");
        // Made by hand a moment ago and empty: taken over.
        fs::create_dir(&folder).unwrap();
        set(&folder, 0o755);
        let held = Folder::open(&folder).unwrap();
        held.write_private("master.key", b"secret").unwrap();
        drop(held);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("master.key")), 0o600);
        assert_eq!(mode(&folder.join(LOCK)), 0o600);

        set(&folder.join("master.key"), 0o640);
        let refused = Folder::open(&folder).unwrap_err();
        assert!(matches!(&refused, Error::Exposed { mode: 0o640, .. }), "{refused:?}");
        assert!(refused.to_string().contains("chmod"), "{refused}");
        set(&folder.join("master.key"), 0o600);

        // The configuration may be read by whoever reaches it: it holds no secret.
        fs::write(folder.join("ringfence.toml"), "").unwrap();
        set(&folder.join("ringfence.toml"), 0o644);
        Folder::open(&folder).unwrap();

        // So may one that was written before the first start, in a folder that is new.
        let fresh = scratch.path().join("fresh");
        fs::create_dir(&fresh).unwrap();
        fs::write(fresh.join("ringfence.toml"), "").unwrap();
        set(&fresh, 0o755);
        drop(Folder::open(&fresh).unwrap());
        assert_eq!(mode(&fresh), 0o700);
        // A folder of somebody else's keeps its mode.
        let other = scratch.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("passwd"), "").unwrap();
        set(&other, 0o755);
        assert!(matches!(Folder::open(&other), Err(Error::Exposed { mode: 0o755, .. })));
        assert_eq!(mode(&other), 0o755);

        set(&folder, 0o750);
        assert!(matches!(Folder::open(&folder), Err(Error::Exposed { mode: 0o750, .. })));
        set(&folder, 0o700);
        Folder::open(&folder).unwrap();
    }
}
