//! Secrets that are typed or kept in a file: never on the command line, where every user of the
//! machine can read them.

use std::fs::File;
use std::io::{IsTerminal, Read, Write as _};
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::admin::protocol::Confidential;
use crate::admin::work::trunk_secret;
use crate::data_dir::Trouble;

/// From a file, or from standard input where it is called `-`: a terminal is asked, without echo.
pub(super) fn read(from: &Path) -> Result<Confidential, Trouble> {
    let mut text = Zeroizing::new(String::new());
    if from == Path::new("-") {
        let stdin = std::io::stdin();
        let _quiet = stdin.is_terminal().then(|| Quiet::new("Secret: "));
        if stdin.is_terminal() {
            stdin.read_line(&mut text).map_err(|error| unreadable("standard input", &error))?;
        } else {
            let read = stdin.lock().take(BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| unreadable("standard input", &error))?;
        }
    } else {
        let file = File::open(from);
        let file = file.map_err(|error| Trouble::file("read the secret in", from, &error))?;
        let read = file.take(BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| unreadable(&from.display().to_string(), &error))?;
    }
    trunk_secret(&text).map_err(|wrong| Trouble::new(wrong, "copy it as the carrier wrote it"))
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
        assert!(trouble.contains("missing") && trouble.contains("remedy: "), "{trouble}");
    }
}
