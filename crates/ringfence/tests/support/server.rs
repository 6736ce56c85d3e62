//! The real binary in a folder of its own: start, ask, stop, kill, start again.
//!
//! Each server listens on a loopback address of its own, so the ports are always the same ones and
//! tests don't meet. What it prints is kept: it stands in every failure, and no secret may be in it.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actors::phone::PhoneSettings;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::driver::{Door, Place, usual};

pub(crate) struct Server {
    folder: tempfile::TempDir,
    place: Place,
    child: Option<Child>,
    said: Arc<Said>,
    secrets: Vec<String>,
    /// Where the audio of its phones is.
    phones: Vec<Place>,
}

/// What the command line answered.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Both output streams of all the server's lives, line by line.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Server {
    /// A first start in a new folder.
    pub(crate) fn start() -> Self {
        let mut server = Self::unstarted();
        server.up();
        server
    }

    pub(crate) fn unstarted() -> Self {
        let folder = tempfile::Builder::new().prefix("ringfence-test").tempdir().expect("a folder");
        let place = Place::take().expect("a loopback address");
        let host = place.address;
        let config = format!(
            "[status_page]\nbind = \"{host}:{PAGE_PORT}\"\n\n[firewall]\nkernel = \"off\"\n\n[[realm]]\nbind = \"{host}\"\n\
             media_ports = \"20000-21999\"\n\n[realm.transports]\ntls = {SIP_PORT}\n"
        );
        std::fs::write(folder.path().join("ringfence.toml"), config).expect("written");
        Self {
            folder,
            place,
            child: None,
            said: Arc::default(),
            secrets: Vec::new(),
            phones: Vec::new(),
        }
    }

    /// Starts it and waits until it says that it is up.
    pub(crate) fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let before = self.said.len();
        let mut child = self
            .command(&["up"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        keep(child.stdout.take().expect("piped"), self.said.clone());
        keep(child.stderr.take().expect("piped"), self.said.clone());
        self.child = Some(child);
        let is_up =
            |lines: &[String]| lines[before..].iter().any(|line| line.contains("Ringfence is up"));
        let end = Instant::now() + START_MAX;
        loop {
            if self.said.wait(Duration::from_millis(100), is_up) {
                return;
            }
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("the server ended at start with {status}:\n{}", self.output());
            }
            assert!(Instant::now() < end, "not up within {START_MAX:?}:\n{}", self.output());
        }
    }

    /// Runs one command of the command line against it.
    pub(crate) fn run(&self, line: &[&str]) -> Ran {
        let child = self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the binary starts");
        let out = gather(child.stdout.take().expect("piped"));
        let err = gather(child.stderr.take().expect("piped"));
        let status = wait_exit(&mut child, ANSWER_MAX).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("`ringfence {}` gave no answer:\n{}", line.join(" "), self.output())
        });
        let text = |stream: JoinHandle<String>| stream.join().expect("its output is UTF-8");
        let (out, err) = (text(out), text(err));
        Ran { code: status.code(), out, err }
    }

    /// Starts a command that stays, its output piped.
    pub(crate) fn spawn(&self, line: &[&str]) -> Child {
        let mut command = self.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    /// The same, expecting success; returns what it printed.
    pub(crate) fn tell(&self, line: &[&str]) -> String {
        let ran = self.run(line);
        assert_eq!(
            ran.code,
            Some(0),
            "`ringfence {}` said: {}{}\n{}",
            line.join(" "),
            ran.out,
            ran.err,
            self.output()
        );
        ran.out
    }

    /// The same with `--json`.
    pub(crate) fn json(&self, line: &[&str]) -> Value {
        let line = [line, &["--json"]].concat();
        let out = self.tell(&line);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line:?}: {error}: {out}"))
    }

    /// Adds an extension and returns the settings of a phone for it.
    pub(crate) fn extension(&mut self, number: &str) -> PhoneSettings {
        let name = format!("Desk {number}");
        let added = self.json(&["extension", "add", number, "--name", &name]);
        self.settings(&added)
    }

    /// What `extension add` or `rotate` said, typed into a phone. Its secret is looked for in all that
    /// the server says from now on.
    pub(crate) fn settings(&mut self, printed: &Value) -> PhoneSettings {
        let field =
            |name: &str| printed[name].as_str().unwrap_or_else(|| panic!("{name}: {printed}"));
        let secret = field("secret").to_owned();
        self.secrets.push(secret.clone());
        let number = field("number").to_owned();
        let own = Place::take().expect("a loopback address");
        let media_address = own.address;
        self.phones.push(own);
        let name = field("name").to_owned();
        PhoneSettings {
            display_name: name,
            ..usual(&number, &secret, field("domain"), media_address)
        }
    }

    /// Where phones connect, trusting the authority in the data folder.
    pub(crate) fn door(&self) -> Door {
        let pem = self.folder().join("ca.pem");
        let authority = CertificateDer::from_pem_file(&pem).expect("the authority's certificate");
        self.door_trusting(authority)
    }

    pub(crate) fn door_trusting(&self, authority: CertificateDer<'static>) -> Door {
        Door::trusting(self.address(), authority).expect("an authority")
    }

    /// Asks with `--json` until `look` finds what it looks for in the answer.
    pub(crate) fn eventually<T>(&self, line: &[&str], look: impl FnMut(&Value) -> Option<T>) -> T {
        self.eventually_within(EVENTUALLY_MAX, line, look)
    }

    /// The same for what takes its time.
    pub(crate) fn eventually_within<T>(
        &self,
        within: Duration,
        line: &[&str],
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let end = Instant::now() + within;
        loop {
            let answer = self.json(line);
            if let Some(found) = look(&answer) {
                return found;
            }
            assert!(Instant::now() < end, "{line:?} still says {answer:#}");
        }
    }

    /// The records of calls, newest first, once there are `count`.
    pub(crate) fn records(&self, count: usize) -> Vec<Value> {
        self.eventually(&["calls", "--limit", "10000"], |answer| {
            let records = answer["records"].as_array().expect("a list");
            (records.len() >= count).then(|| records.clone())
        })
    }

    pub(crate) fn host(&self) -> IpAddr {
        self.place.address
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host(), SIP_PORT)
    }

    /// The data folder, which the first start makes.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder().join("ringfence.db")
    }

    /// Ends it as a crash does (SIGKILL).
    pub(crate) fn crash(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn terminate(&mut self) {
        let child = self.child.as_ref().expect("it runs");
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill(1) is there");
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = wait_exit(child, within);
        let status =
            status.unwrap_or_else(|| panic!("not ended within {within:?}:\n{}", self.output()));
        self.child = None;
        status
    }

    /// Resident memory in KiB, now.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.child.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        line.trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// All that it has printed, the end of it last.
    pub(crate) fn output(&self) -> String {
        self.said.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// It has said nothing of an error of its own.
    pub(crate) fn assert_sound(&self) {
        let output = self.output();
        let wrong = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        let wrong: Vec<&str> = output.lines().filter(wrong).collect();
        assert!(wrong.is_empty(), "the server says:\n{}", wrong.join("\n"));
    }

    /// No secret has left the server: not in its output, and not in clear in its folder.
    pub(crate) fn assert_discreet(&self) {
        let output = self.output();
        let mut places = vec![("its output".to_owned(), output.into_bytes())];
        for entry in std::fs::read_dir(self.folder()).expect("the data folder").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let bytes = std::fs::read(entry.path()).expect("readable");
                places.push((entry.path().display().to_string(), bytes));
            }
        }
        for (number, secret) in self.secrets.iter().enumerate() {
            for (place, bytes) in &places {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "secret {number} stands in {place}");
            }
        }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.arg("--data").arg(self.folder());
        command.arg("--config").arg(self.folder.path().join("ringfence.toml"));
        command.args(line).stdin(Stdio::null());
        command.env_remove("CREDENTIALS_DIRECTORY").env_remove("NOTIFY_SOCKET");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("The server said:\n{}", self.output());
        } else {
            self.assert_sound();
            self.assert_discreet();
        }
    }
}

impl Said {
    fn len(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn wait(&self, within: Duration, found: impl Fn(&[String]) -> bool) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.more.wait_timeout_while(lines, within, |lines| !found(lines));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

fn keep(stream: impl Read + Send + 'static, said: Arc<Said>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            said.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            said.more.notify_all();
        }
    });
}

/// Reads on while the process runs, so that no full pipe holds it up.
fn gather(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("UTF-8");
        text
    })
}

/// Waits for the end of a process without spinning: the standard library has no bounded wait.
fn wait_exit(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

const SIP_PORT: u16 = 5_061;
const PAGE_PORT: u16 = 8_480;
/// A start makes keys and a certificate, on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a record may take to be written after its call.
const EVENTUALLY_MAX: Duration = Duration::from_secs(15);
const ANSWER_MAX: Duration = Duration::from_secs(30);
