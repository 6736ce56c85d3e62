//! The command line's end of the admin socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::SOCKET;
use super::protocol::{ANSWER_MAX, Answer, Question};
use crate::data_dir::Trouble;

/// Asks the node that runs on this data folder. `body`: what follows the question, as long as it says.
pub(crate) fn ask(data: &Path, question: &Question, body: &[u8]) -> Result<Answer, Trouble> {
    ask_within(data, question, body, PATIENCE)
}

/// How long silence is taken for work.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// After so long without an answer, whether the node lives is asked.
    look: Duration,
    /// So long for an answer to that.
    alive: Duration,
}

fn ask_within(
    data: &Path,
    question: &Question,
    body: &[u8],
    patience: Patience,
) -> Result<Answer, Trouble> {
    let path = data.join(SOCKET);
    let mut stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Trouble::new(
            format!("no ringfence is running on {}", data.display()),
            "start it with `ringfence up`, or name its folder with --data",
        ),
        ErrorKind::PermissionDenied => Trouble::new(
            format!("this user may not administer the node on {}", data.display()),
            "run the command as the user that the node runs as, or as root (sudo)",
        ),
        _ => Trouble::file("open the admin socket", &path, &error),
    })?;
    let broken = |error: &std::io::Error| {
        Trouble::new(
            format!("the node did not answer on {}: {error}", path.display()),
            "look at its log; `ringfence status` tells whether it is well",
        )
    };
    let mut line = serde_json::to_vec(question).expect("a question is strings and numbers");
    line.push(b'\n');
    stream.set_read_timeout(Some(patience.look)).map_err(|error| broken(&error))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX)).map_err(|error| broken(&error))?;
    let sent = stream.write_all(&line).and_then(|()| stream.write_all(body));
    // Whoever refuses what follows says why, and goes before it was sent in full.
    match sent {
        Err(error) if body.is_empty() || error.kind() != ErrorKind::BrokenPipe => {
            return Err(broken(&error));
        }
        _ => {}
    }
    let mut answer = Vec::new();
    let limit = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX);
    let begun = Instant::now();
    let mut reader = (&stream).take(limit);
    loop {
        match reader.read_to_end(&mut answer) {
            // What we sent beyond a refusal was never read: the answer came all the same.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !answer.is_empty() => break,
            // A long work and a node that hangs look the same from here: another question tells.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                    && begun.elapsed() < ANSWER_TIME_MAX =>
            {
                if !is_alive(&path, patience.alive) {
                    return Err(hangs(&stream));
                }
            }
            Err(error) => return Err(broken(&error)),
            Ok(_) => break,
        }
    }
    serde_json::from_slice(&answer).map_err(|error| {
        Trouble::new(
            format!("the node's answer can't be read: {error}"),
            "the node and this program are of different versions: restart the node",
        )
    })
}

/// Whether the node answers what costs nothing.
fn is_alive(path: &Path, within: Duration) -> bool {
    let asked = || {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(within))?;
        let mut line = serde_json::to_vec(&Question::LockdownShow).unwrap_or_default();
        line.push(b'\n');
        stream.write_all(&line)?;
        stream.read(&mut [0; 1])
    };
    matches!(asked(), Ok(1))
}

fn hangs(stream: &UnixStream) -> Trouble {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    let process = getsockopt(stream, PeerCredentials).ok().map(|peer| peer.pid());
    let process = process.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    Trouble::new(
        format!("the node (process {process}) does not answer"),
        format!(
            "see its log (journalctl -u ringfence) and whether it is stopped (ps {process}); then start it \
             again"
        ),
    )
}

/// A node on a busy machine has answered what costs nothing by then.
const PATIENCE: Patience = Patience { look: Duration::from_secs(2), alive: Duration::from_secs(4) };
/// Verifying a long journal is the slowest thing that can be asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;

    const HASTY: Patience =
        Patience { look: Duration::from_millis(50), alive: Duration::from_millis(500) };

    #[test]
    fn a_node_that_hangs_is_said_to() {
        let folder = tempfile::tempdir().unwrap();
        // The kernel takes the connection, as for a process that is stopped; nobody answers.
        let _listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let hangs = ask_within(folder.path(), &Question::Status, &[], HASTY).unwrap_err();
        let text = hangs.to_string();
        let own = format!("the node (process {}) does not answer", std::process::id());
        assert!(text.contains(&own) && text.contains("journalctl"), "{text}");
    }

    #[test]
    fn a_node_that_works_long_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let node = std::thread::spawn(move || {
            let mut slow = None;
            for stream in listener.incoming().flatten() {
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                // It answers the small question, and the long one once that was asked.
                if line.contains("Status") || line.contains("status") {
                    slow = Some(stream);
                    continue;
                }
                let answer = serde_json::to_vec(&Answer::Lockdown(Vec::new())).unwrap();
                (&stream).write_all(&answer).unwrap();
                if let Some(slow) = slow.take() {
                    let answer = serde_json::to_vec(&Answer::Done).unwrap();
                    (&slow).write_all(&answer).unwrap();
                    return;
                }
            }
        });
        let answer = ask_within(folder.path(), &Question::Status, &[], HASTY).unwrap();
        assert_eq!(answer, Answer::Done);
        node.join().unwrap();
    }
}
