//! A process that is killed in the middle of writing: what was answered is there.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use guard::fact::Fact;
use guard::id::{NodeId, TenantId};
use guard::secret::{KeyId, MasterKey};
use pbx::directory::Tenant;
use pbx::record::Row;
use pure::{Chance, Now, Utc};
use store::{Durability, First, Folder, Noted, Opened, Options, open};

const NODE: NodeId = NodeId(1);
const FOLDER: &str = "RINGFENCE_KILL_TEST_FOLDER";

async fn opened(folder: &Folder) -> Opened {
    let options = Options {
        master: Arc::new(MasterKey::new(KeyId(1), [1; 32])),
        chance: Chance::from_number(u64::from(std::process::id())),
        now: Utc(0),
        durability: Durability::Process,
        size_max: None,
        first: First { node: NODE, realm: "house.example".to_owned() },
    };
    open(folder, options).await.expect("a store of our own")
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let path = std::env::temp_dir().join(format!("ringfence-kill-{}", std::process::id()));
    let mut child = Command::new(std::env::current_exe().expect("a test runs from a file"))
        .args(["--exact", "the_process_to_kill", "--ignored", "--nocapture"])
        .env(FOLDER, &path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary starts again");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let answered = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("answered ")?.parse::<u32>().ok())
        .take(200)
        .last();
    child.kill().expect("our own child");
    child.wait().expect("our own child");

    let folder = Folder::open(&path).expect("the lock fell with the process");
    let store = opened(&folder).await;
    let answered = answered.expect("the child wrote");
    assert_eq!(answered, 200);
    let found = store.stored.tenants.len();
    assert!(found >= 200, "answered 200, found {found}");
    let verified = store.reader.verify_journal(NODE, None).await.expect("readable");
    // One fact came with each row: in its transaction, so neither is there without the other.
    assert_eq!(verified.expect("whole").entries, u64::try_from(found).expect("small"));
    assert_eq!(store.journal_break, None);
    store.writer.close().await.expect("writable");
    std::fs::remove_dir_all(&path).expect("our own folder");
}

#[tokio::test]
#[ignore = "run by the test above, as a process to kill"]
async fn the_process_to_kill() {
    let Ok(path) = std::env::var(FOLDER) else { return };
    let folder = Folder::open(&PathBuf::from(path)).expect("a new folder");
    let store = opened(&folder).await;
    for n in 1..=100_000 {
        let tenant = Tenant {
            id: TenantId(n),
            name: "x".repeat(100),
            realm: String::new(),
            domains: Vec::new(),
        };
        let fact = Fact::NodeStarted { node: NODE, version: n.to_string() };
        let noted = Noted { now: Now::default(), tenant: None, fact };
        store.writer.persist(vec![Row::Tenant(tenant)], vec![noted]).await.expect("written");
        println!("answered {n}");
    }
}
