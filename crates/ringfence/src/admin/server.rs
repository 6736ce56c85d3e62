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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
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
    serve_with(listener, move |actor, question| {
        let office = Arc::clone(&office);
        async move { office.answer(actor, question).await }
    })
    .await;
}

/// Who has not asked yet holds a place to ask, for a short time; only who has asked holds one of the
/// few places to be answered.
async fn serve_with<F, A>(listener: UnixListener, answer: F)
where
    F: Fn(Actor, Question) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send,
{
    let asking = Arc::new(Semaphore::new(ASKING_MAX));
    let answering = Arc::new(Semaphore::new(ANSWERING_MAX));
    loop {
        let place = Arc::clone(&asking).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (answer, answering) = (answer.clone(), Arc::clone(&answering));
                tokio::spawn(async move {
                    let answered = converse(stream, place, &answering, answer).await;
                    if answered.is_err() {
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

async fn converse<F, A>(
    mut stream: UnixStream,
    asking: OwnedSemaphorePermit,
    answering: &Semaphore,
    answer: F,
) -> Result<(), Elapsed>
where
    F: Fn(Actor, Question) -> A,
    A: Future<Output = Answer>,
{
    let actor = match stream.peer_cred() {
        Ok(peer) => local_admin(peer.uid()),
        Err(error) => {
            tracing::warn!(%error, "the kernel would not say who is asking");
            return Ok(());
        }
    };
    let (reader, mut writer) = stream.split();
    let limit = u64::try_from(QUESTION_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader.take(limit));
    if timeout(TRANSFER_TIME_MAX, reader.read_until(b'\n', &mut line)).await?.is_err() {
        return Ok(());
    }
    let _place = answering.acquire().await.expect("never closed");
    drop(asking);
    let answer = match serde_json::from_slice::<Question>(&line) {
        Ok(question) => timeout(ANSWER_TIME_MAX, answer(actor, question)).await?,
        Err(error) => Answer::failed(
            format!("the question can't be read: {error}"),
            "the node and this program are of different versions: restart the node",
        ),
    };
    let bytes = serde_json::to_vec(&answer).expect("an answer is strings and numbers");
    // The asker may have gone; nobody is left to tell.
    let _ = timeout(TRANSFER_TIME_MAX, writer.write_all(&bytes)).await?;
    let _ = writer.shutdown().await;
    Ok(())
}

fn local_admin(uid: u32) -> Actor {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    Actor::LocalAdmin { uid, name: name.unwrap_or_else(|| format!("user {uid}")) }
}

/// Connections that have not asked yet, or wait for their answer's turn; the next waits.
const ASKING_MAX: usize = 256;
/// Questions that are carried out at once; the next waits.
const ANSWERING_MAX: usize = 32;
/// To read a question, and to write an answer: both ends are programs on this machine.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(5);
/// A verification of the journal is the longest answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_that_never_ask_do_not_keep_others_from_asking() {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen(folder.path()).unwrap();
        let path = folder.path().join(SOCKET);
        let served = tokio::spawn(serve_with(listener, |_, question| async move {
            Answer::failed(format!("{question:?}"), "")
        }));
        let mut silent = Vec::new();
        for _ in 0..400 {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"{").await.unwrap();
            silent.push(stream);
            tokio::task::yield_now().await;
        }
        let started = tokio::time::Instant::now();
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"{\"ask\":\"status\"}\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("Status"), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        served.abort();
    }
}
