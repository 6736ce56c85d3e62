//! The node's end of the admin socket.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guard::access::Actor;
use nix::unistd::{Uid, User};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::SOCKET;
use super::protocol::{Answer, DECK_MAX, QUESTION_MAX, Question};
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
    serve_with(listener, move |actor, question, body| {
        let office = Arc::clone(&office);
        async move { office.answer(actor, question, body).await }
    })
    .await;
}

/// Who has not asked yet holds a place to ask, for a short time; only who has asked holds one of the
/// few places to be answered.
async fn serve_with<F, A>(listener: UnixListener, answer: F)
where
    F: Fn(Actor, Question, Vec<u8>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send,
{
    let asking = Arc::new(Semaphore::new(ASKING_MAX));
    let places = Arc::new(Places {
        answering: Semaphore::new(ANSWERING_MAX),
        bodies: Semaphore::new(BODIES_MAX),
    });
    loop {
        let place = Arc::clone(&asking).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (answer, places) = (answer.clone(), Arc::clone(&places));
                tokio::spawn(async move {
                    let answered = converse(stream, place, &places, answer).await;
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

/// What a question needs before it is carried out.
struct Places {
    answering: Semaphore,
    /// For questions that something long follows.
    bodies: Semaphore,
}

async fn converse<F, A>(
    mut stream: UnixStream,
    asking: OwnedSemaphorePermit,
    places: &Places,
    answer: F,
) -> Result<(), Elapsed>
where
    F: Fn(Actor, Question, Vec<u8>) -> A,
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
    let _place = places.answering.acquire().await.expect("never closed");
    drop(asking);
    let answer = match serde_json::from_slice::<Question>(&line) {
        Ok(question) => match body(&question, &mut reader, places).await? {
            Ok((body, _body_place)) => {
                timeout(ANSWER_TIME_MAX, answer(actor, question, body)).await?
            }
            Err(failed) => failed,
        },
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

/// What follows the line, where something does. A place for it is held until the answer is there, so
/// that no more than one long body is in memory.
async fn body<'a, R: AsyncRead + Unpin>(
    question: &Question,
    reader: &mut BufReader<Take<R>>,
    places: &'a Places,
) -> Result<Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Answer>, Elapsed> {
    let length = match usize::try_from(question.body_length()) {
        Ok(0) => return Ok(Ok((Vec::new(), None))),
        Ok(length) if length <= DECK_MAX => length,
        _ => {
            return Ok(Err(Answer::failed(
                format!("that is longer than {} MiB", DECK_MAX >> 20),
                "leave out what you never dial, or columns that are not needed",
            )));
        }
    };
    let Ok(place) = timeout(BODY_TIME_MAX, places.bodies.acquire()).await else {
        return Ok(Err(Answer::failed(
            "another import is being carried out",
            "wait for its end, then repeat the command",
        )));
    };
    let place = place.expect("never closed");
    // What the buffer has read ahead counts against the former limit already.
    let buffered = reader.buffer().len();
    let rest = u64::try_from(length.saturating_sub(buffered)).unwrap_or(u64::MAX);
    reader.get_mut().set_limit(rest);
    let mut body = vec![0; length];
    match timeout(BODY_TIME_MAX, reader.read_exact(&mut body)).await? {
        Ok(_) => Ok(Ok((body, Some(place)))),
        Err(_) => Ok(Err(Answer::failed(
            "the file ended before it was sent in full",
            "see that nothing changes it meanwhile, then repeat the command",
        ))),
    }
}

fn local_admin(uid: u32) -> Actor {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    Actor::LocalAdmin { uid, name: name.unwrap_or_else(|| format!("user {uid}")) }
}

/// Connections that have not asked yet, or wait for their answer's turn; the next waits.
const ASKING_MAX: usize = 256;
/// Questions that are carried out at once; the next waits.
const ANSWERING_MAX: usize = 32;
/// Bodies in memory at once; a further one waits as long as one may take, and is refused then.
const BODIES_MAX: usize = 1;
/// To read a question, and to write an answer: both ends are programs on this machine.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(5);
/// To read what follows a question.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
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
        let served = tokio::spawn(serve_with(listener, |_, question, _| async move {
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

    async fn asked(path: &Path, line: &str, body: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        // Whoever refuses the body may be gone before it is written.
        let _ = stream.write_all(line.as_bytes()).await;
        let _ = stream.write_all(body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_follows_a_question_is_read_in_full_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen(folder.path()).unwrap();
        let path = folder.path().join(SOCKET);
        let served = tokio::spawn(serve_with(listener, |_, question, body| async move {
            let sum = body.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            Answer::failed(format!("{question:?}: {} bytes, sum {sum}", body.len()), "")
        }));
        let line = |bytes: usize| {
            format!("{{\"ask\":\"rates-import\",\"bytes\":{bytes},\"dry_run\":false}}\n")
        };
        // Longer than the buffer, and than a question may be.
        let answer = asked(&path, &line(300_000), &vec![2; 300_000]).await;
        assert!(answer.contains("300000 bytes, sum 600000"), "{answer}");
        let answer = asked(&path, &line(3), b"abc").await;
        assert!(answer.contains("3 bytes, sum 294"), "{answer}");
        let answer = asked(&path, &line(DECK_MAX + 1), b"").await;
        assert!(answer.contains("longer than 64 MiB"), "{answer}");
        // One that ends early is an answer, not a wait.
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(line(10).as_bytes()).await.unwrap();
        stream.write_all(b"short").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("ended before"), "{answer}");
        served.abort();
    }
}
