//! The node's end of the admin socket.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guard::access::Actor;
use nix::unistd::{Uid, User};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::SOCKET;
use super::protocol::{Answer, QUESTION_MAX, Question};
use super::work::Office;
use crate::data_dir::Trouble;

/// Opens the socket in the data folder. The folder is locked by this process, so a socket that lies
/// there already is left over from one that was killed.
pub(crate) fn listen(data: &Path) -> Result<UnixListener, Trouble> {
    let path = data.join(SOCKET);
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Trouble::file("replace the admin socket", &path, &error)),
    }
    let listener = UnixListener::bind(&path)
        .map_err(|error| Trouble::file("open the admin socket", &path, &error))?;
    // The folder is 0700 already; the mode says it once more where somebody looks.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(|error| Trouble::file("protect the admin socket", &path, &error))?;
    Ok(listener)
}

/// Answers for ever. Cancel by dropping the future.
pub(crate) async fn serve(listener: UnixListener, office: Arc<Office>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let office = Arc::clone(&office);
                tokio::spawn(async move {
                    let _place = place;
                    if timeout(CONNECTION_TIME_MAX, answer(stream, &office)).await.is_err() {
                        tracing::debug!("an admin connection took too long and was closed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an admin connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, office: &Office) {
    let actor = match stream.peer_cred() {
        Ok(peer) => local_admin(peer.uid()),
        Err(error) => {
            tracing::warn!(%error, "the kernel would not say who is asking");
            return;
        }
    };
    let (reader, mut writer) = stream.split();
    let limit = u64::try_from(QUESTION_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    if BufReader::new(reader.take(limit)).read_until(b'\n', &mut line).await.is_err() {
        return;
    }
    let answer = match serde_json::from_slice::<Question>(&line) {
        Ok(question) => office.answer(actor, question).await,
        Err(error) => Answer::failed(
            format!("the question can't be read: {error}"),
            "the node and this program are of different versions: restart the node",
        ),
    };
    let bytes = serde_json::to_vec(&answer).expect("an answer is strings and numbers");
    // The asker may have gone; nobody is left to tell.
    let _ = writer.write_all(&bytes).await;
    let _ = writer.shutdown().await;
}

fn local_admin(uid: u32) -> Actor {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    Actor::LocalAdmin { uid, name: name.unwrap_or_else(|| format!("user {uid}")) }
}

/// Local programs that ask at once; the next waits.
const CONNECTIONS_MAX: usize = 32;
/// A verification of the journal is the longest answer.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
