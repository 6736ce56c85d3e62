//! Secrets that are typed or kept in a file: never on the command line, where every user of the
//! machine can read them.

use std::fs::File;
use std::io::{IsTerminal, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::admin::protocol::Confidential;
use crate::admin::work::trunk_secret;
use crate::data_dir::Trouble;

/// Whose secret is read: what a terminal is asked, and what to do about one that is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of {
    pub(super) prompt: &'static str,
    pub(super) remedy: &'static str,
}

pub(super) const CARRIER: Of = Of {
    prompt: "Password of the account at the carrier (it does not show): ",
    remedy: "copy it as the carrier wrote it",
};
pub(super) const MAIL: Of = Of {
    prompt: "Password of the account at the mail server (it does not show): ",
    remedy: "give the mail account's password: its file with --secret-file FILE, or type it at a terminal",
};
pub(super) const WEBHOOK: Of = Of {
    prompt: "Secret that requests are signed with (it does not show): ",
    remedy: "give one line that the program at the other end knows too: its file with --secret-file FILE",
};

/// A carrier's.
pub(super) fn read(from: &Path) -> Result<Confidential, Trouble> {
    read_of(from, CARRIER)
}

/// From a file, or from standard input where it is called `-`: a terminal is asked, without echo.
pub(super) fn read_of(from: &Path, of: Of) -> Result<Confidential, Trouble> {
    let mut text = Zeroizing::new(String::new());
    if from == Path::new("-") {
        let stdin = std::io::stdin();
        let _quiet = stdin.is_terminal().then(|| Quiet::new(of.prompt));
        if stdin.is_terminal() {
            stdin.read_line(&mut text).map_err(|error| unreadable("standard input", &error))?;
        } else {
            let read = stdin.lock().take(BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| unreadable("standard input", &error))?;
        }
    } else {
        let file = File::open(from).map_err(|error| {
            Trouble::new(
                format!("cannot read the secret in {}: {error}", from.display()),
                "check the path and that this user may read it, or say --secret-file - to be asked",
            )
        })?;
        if file.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o077 != 0) {
            eprintln!(
                "warning: others on this machine may read the secret in {0}\n  remedy: chmod 600 {0}",
                from.display()
            );
        }
        let read = file.take(BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| unreadable(&from.display().to_string(), &error))?;
    }
    trunk_secret(&text).map_err(|wrong| Trouble::new(wrong, of.remedy))
}

fn unreadable(what: &str, error: &std::io::Error) -> Trouble {
    Trouble::new(
        format!("the secret can't be read from {what}: {error}"),
        "give a file with --secret-file FILE, or `-` to be asked for it",
    )
}

/// A terminal that doesn't show what is typed, until it is dropped.
struct Quiet(Option<Termios>);

impl Quiet {
    fn new(prompt: &str) -> Self {
        eprint!("{prompt}");
        let _ = std::io::stderr().flush();
        let stdin = std::io::stdin();
        let former = tcgetattr(&stdin).ok();
        if let Some(former) = &former {
            let mut quiet = former.clone();
            quiet.local_flags.remove(LocalFlags::ECHO);
            let _ = tcsetattr(&stdin, SetArg::TCSAFLUSH, &quiet);
        }
        Self(former)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(former) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, former);
        }
        eprintln!();
    }
}

/// More than any secret: a wrong file is refused, not read in full.
const BYTES_MAX: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret word\r\n").unwrap();
        assert_eq!(*read(&file).unwrap().0, "s3cret word");
        for wrong in ["", "\n", "two\nlines\n", &"x".repeat(5_000)] {
            std::fs::write(&file, wrong).unwrap();
            let trouble = read(&file).unwrap_err().to_string();
            assert!(trouble.contains("remedy: "), "{trouble}");
        }
        let trouble = read(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(trouble.contains("missing") && trouble.contains("--secret-file"), "{trouble}");
        // Whose secret it is decides what to do.
        std::fs::write(&file, "").unwrap();
        for (of, part) in [(MAIL, "mail account"), (WEBHOOK, "signed"), (CARRIER, "carrier")] {
            let trouble = read_of(&file, of).unwrap_err().to_string();
            assert!(trouble.contains(part) || of.prompt.contains(part), "{trouble}");
            assert!(part == "carrier" || !trouble.contains("carrier"), "{trouble}");
        }
    }
}
