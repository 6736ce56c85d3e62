//! The command line's end of the admin socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::SOCKET;
use super::protocol::{ANSWER_MAX, Answer, Question};
use crate::data_dir::Trouble;

/// Asks the node that runs on this data folder.
pub(crate) fn ask(data: &Path, question: &Question) -> Result<Answer, Trouble> {
    let path = data.join(SOCKET);
    let mut stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Trouble::new(
            format!("no ringfence is running on {}", data.display()),
            "start it with `ringfence up`, or name its folder with --data",
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
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(|error| broken(&error))?;
    stream.write_all(&line).map_err(|error| broken(&error))?;
    let mut answer = Vec::new();
    let limit = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX);
    stream.take(limit).read_to_end(&mut answer).map_err(|error| broken(&error))?;
    serde_json::from_slice(&answer).map_err(|error| {
        Trouble::new(
            format!("the node's answer can't be read: {error}"),
            "the node and this program are of different versions: restart the node",
        )
    })
}

/// Verifying a long journal is the slowest thing that can be asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);
