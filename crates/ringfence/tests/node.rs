//! The real binary, started in a folder of its own on ports that the system chooses.
#![allow(clippy::unwrap_used, reason = "helpers of tests: clippy allows it in test functions only")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

/// Media ports apart from those of other tests; 0 lets the system choose the others.
const CONFIG: &str = "status_page.bind = \"127.0.0.1:0\"
firewall.kernel = \"off\"
[[realm]]
bind = \"127.0.0.1\"
advertise_name = \"localhost\"
media_ports = \"18600-18699\"
transports.tls = 0
";

/// A node that is up. Killed when dropped, so that no test leaves one behind.
struct Running {
    child: Child,
    said: String,
    log: mpsc::Receiver<String>,
}

impl Running {
    fn start(data: &Path) -> Self {
        Self::start_with(data, CONFIG)
    }

    fn start_with(data: &Path, config: &str) -> Self {
        fs::write(data.join("ringfence.toml"), config).unwrap();
        private(&data.join("ringfence.toml"), 0o600);
        let mut child = command(data, &["up"]).spawn().unwrap();
        // The log says `ready` after all was printed.
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while stdout.read_line(&mut said).unwrap() > 0 && !said.contains("extension add") {}
        let running = Self { child, said, log };
        assert!(running.said.contains("Ringfence is up."), "{}", running.rest_of_log());
        running
    }

    /// The address printed behind a word.
    fn address(&self, what: &str) -> SocketAddr {
        let line = self.said.lines().find(|line| line.contains(what)).expect(what);
        let address = line.split_once("127.0.0.1:").expect("an address").1;
        let port = address.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn end(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ended by itself");
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
    }

    fn rest_of_log(&self) -> String {
        self.log.try_iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(arguments).arg("--data").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("CREDENTIALS_DIRECTORY").env_remove("NOTIFY_SOCKET");
    command
}

/// Runs what is expected to refuse: status 2, nothing on stdout.
fn refused(data: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(data, arguments).output().unwrap();
    let talk = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{talk}");
    assert!(stdout.is_empty());
    assert!(talk.contains("remedy: "), "{talk}");
    talk
}

fn private(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    private(folder.path(), 0o700);
    folder
}

fn client(data: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(
    to: SocketAddr,
    data: &Path,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let tls = rustls::ClientConnection::new(client(data), name).unwrap();
    let tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    rustls::StreamOwned::new(tls, tcp)
}

fn http(to: SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_first_start_makes_everything_and_a_second_finds_it() {
    let data = folder();
    let mut first = Running::start(data.path());
    for expected in ["SIP over TLS", "18600-18699", "status page", "SHA-256", "extension add 101"] {
        assert!(first.said.contains(expected), "{expected} in {}", first.said);
    }
    for file in ["master.key", "authority.json", "server.json", "ca.pem"] {
        let mode = fs::metadata(data.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // A phone that trusts the authority is answered: a keep-alive gets its pong.
    let mut phone = connect(first.address("SIP over TLS"), data.path());
    phone.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    phone.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");

    let kept = |name: &str| fs::read(data.path().join(name)).unwrap();
    let before = [kept("master.key"), kept("ca.pem"), kept("server.json")];
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end(), 0, "{}", first.rest_of_log());
    drop(first);

    let mut second = Running::start(data.path());
    assert_eq!(before, [kept("master.key"), kept("ca.pem"), kept("server.json")]);
    second.signal(Signal::SIGINT);
    assert_eq!(second.end(), 0, "{}", second.rest_of_log());
}

#[test]
fn phones_speak_in_clear_only_where_the_owner_wants_it_and_it_shows() {
    let data = folder();
    let clear = format!("{CONFIG}transports.udp = 0\ntransports.tcp = 0\n");
    let node = Running::start_with(data.path(), &clear);
    let (udp, tcp) = (node.address("SIP over UDP (NOT"), node.address("SIP over TCP (NOT"));
    let status: serde_json::Value =
        serde_json::from_str(&told(data.path(), &["status", "--json"])).unwrap();
    assert_eq!(status["in_clear"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!(status["kernel_table"], "not used", "{status}");

    let register = |over: &str, port: u16| {
        format!(
            "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/{over} 127.0.0.1:{port};branch=z9hG4bK{port};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:101@localhost>;tag=a\r\nTo: <sip:101@localhost>\r\n\
             Call-ID: {port}\r\nCSeq: 1 REGISTER\r\nContact: <sip:101@127.0.0.1:{port}>\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    let mut answer = [0; 4_096];
    let phone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = phone.local_addr().unwrap().port();
    phone.send_to(register("UDP", port).as_bytes(), udp).unwrap();
    let (len, from) = phone.recv_from(&mut answer).unwrap();
    assert!(answer[..len].starts_with(b"SIP/2.0 401 "));
    assert_eq!(from, udp);
    let mut phone = TcpStream::connect(tcp).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = phone.local_addr().unwrap().port();
    phone.write_all(register("TCP", port).as_bytes()).unwrap();
    assert!(phone.read(&mut answer).unwrap() > 0);
    assert!(answer.starts_with(b"SIP/2.0 401 "));

    let status: serde_json::Value =
        serde_json::from_str(&told(data.path(), &["status", "--json"])).unwrap();
    // The datagram, the connection, and the message on it.
    assert_eq!(status["packets"]["strangers"], 3, "{status}");
    assert!(told(data.path(), &["status"]).contains("! SIP over UDP on 127.0.0.1:"));
    assert!(node.rest_of_log().contains("phones may speak in clear"));
}

#[test]
fn a_second_process_in_the_same_folder_is_refused() {
    let data = folder();
    let first = Running::start(data.path());
    let message = refused(data.path(), &["up"]);
    assert!(message.contains(&first.child.id().to_string()), "{message}");
}

#[test]
fn a_home_is_chosen_once() {
    let data = folder();
    let mut first = Running::start(data.path());
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end(), 0, "{}", first.rest_of_log());
    let message = refused(data.path(), &["up", "--home", "IS"]);
    assert!(message.contains("ringfence policy set home IS"), "{message}");
}

#[test]
fn a_taken_port_is_named_with_its_holder_and_nothing_is_made() {
    let (parent, taken) = (folder(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port();
    let config = parent.path().join("node.toml");
    let text = format!("[[realm]]\nbind = \"127.0.0.1\"\ntransports.tls = {port}\n");
    fs::write(&config, text).unwrap();
    let data = parent.path().join("data");
    let message = refused(&data, &["up", "--config", config.to_str().unwrap()]);
    assert!(message.contains(&format!("port {port} is held by")), "{message}");
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    assert!(!data.exists(), "nothing half-made");
}

#[test]
fn a_bad_value_is_shown_with_its_line() {
    let parent = folder();
    let config = parent.path().join("node.toml");
    fs::write(&config, "[media]\nthreads = 2\n\n[tls]\nmin_version = \"1.0\"\n").unwrap();
    let data = parent.path().join("data");
    for task in [&["up"][..], &["config", "check"]] {
        let arguments = [task, &["--config", config.to_str().unwrap()]].concat();
        let message = refused(&data, &arguments);
        assert!(message.contains("node.toml:5:15"), "{message}");
        assert!(message.contains("min_version = \"1.0\""), "{message}");
    }
    assert!(!data.exists(), "nothing half-made");
}

#[test]
fn a_folder_that_cannot_be_used_is_said_so() {
    let parent = folder();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let config = parent.path().join("node.toml");
    fs::write(&config, CONFIG).unwrap();
    let message = refused(&file, &["up", "--config", config.to_str().unwrap()]);
    assert!(message.contains("file"), "{message}");
    // Readable by others, with something in it.
    private(&file, 0o644);
    private(parent.path(), 0o755);
    let message = refused(parent.path(), &["up", "--config", config.to_str().unwrap()]);
    assert!(message.contains("chmod 700"), "{message}");
}

#[test]
fn the_status_page_answers_loopback_names_only() {
    let data = folder();
    let node = Running::start(data.path());
    let page = node.address("status page");
    let get = |path: &str, host: &str| {
        http(page, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    let shown = get("/", "localhost");
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    assert!(shown.contains("ringfence extension add 101"), "{shown}");
    assert!(shown.contains("content-security-policy: default-src 'none'"), "{shown}");
    assert!(get("/healthz", "127.0.0.1").ends_with("ok\n"));
    assert!(get("/ca.pem", "localhost").contains("BEGIN CERTIFICATE"));
    assert!(get("/", "attacker.example").starts_with("HTTP/1.1 421"));
    let post = http(page, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
}

#[test]
fn silent_handshakes_of_one_source_do_not_keep_out_a_phone() {
    let data = folder();
    let node = Running::start(data.path());
    let to = node.address("SIP over TLS");
    // As many as may shake hands at once from one source, less one: they say nothing.
    let silent: Vec<TcpStream> = (0..31).map(|_| TcpStream::connect(to).unwrap()).collect();
    let mut phone = connect(to, data.path());
    phone.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    phone.read_exact(&mut pong).unwrap();
    // And they are cut off by themselves, ten seconds after they came.
    let started = Instant::now();
    let mut first = &silent[0];
    first.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    assert_eq!(first.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(started.elapsed() < Duration::from_secs(12));
}

/// Runs a command that the running node carries out, and returns what it printed.
fn told(data: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(data, arguments).output().unwrap();
    let talk = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(0), "{arguments:?}: {talk}");
    String::from_utf8(stdout).unwrap()
}

/// Runs a command that the node refuses: status 1, and a remedy.
fn denied(data: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(data, arguments).output().unwrap();
    let talk = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{arguments:?}: {talk}");
    assert!(stdout.is_empty() && talk.contains("remedy: "), "{arguments:?}: {talk}");
    talk
}

#[test]
fn a_house_gets_its_rules_its_prices_and_its_carrier_and_keeps_them() {
    let data = folder();
    let mut node = Running::start(data.path());
    let told = |line: &[&str]| told(data.path(), line);
    let json = |line: &[&str]| -> serde_json::Value {
        serde_json::from_str(&told(&[line, &["--json"]].concat())).unwrap()
    };
    told(&["extension", "add", "101", "--name", "Desk"]);
    // A carrier where nobody listens: it is kept, shown as weak, and its test fails.
    let secret = data.path().join("secret");
    fs::write(&secret, "s3cret\n").unwrap();
    private(&secret, 0o600);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let secret = secret.to_str().unwrap();
    let add = ["trunk", "add", "old", "--server", &nobody, "--transport", "tcp", "--allow-md5"];
    let shown = told(&[&add[..], &["--user", "4711", "--secret-file", secret]].concat());
    assert!(shown.contains("signalling is not encrypted, "), "{shown}");
    assert!(shown.contains("digest may use MD5"), "{shown}");
    fs::remove_file(secret).unwrap();
    told(&["number", "add", "+12025550123", "--trunk", "old", "--to", "101"]);
    denied(data.path(), &["extension", "caller-id", "101", "+12025550199"]);
    told(&["extension", "caller-id", "101", "+12025550123"]);
    denied(data.path(), &["trunk", "remove", "old", "--yes"]);

    // What is allowed, and for how much.
    let international = ["policy", "explain", "+37120000000", "--from", "101"];
    let explained = json(&international);
    assert_eq!(explained["permitted"], false, "{explained}");
    let change =
        ["role", "set", "staff", "--allow", "international,mobile", "--country", "LV", "--yes"];
    let tried = json(&[&change[..], &["--dry-run"]].concat());
    assert_eq!((&tried["saved"], &tried["loosens"]), (&false.into(), &true.into()), "{tried}");
    let saved = json(&change);
    assert_eq!(saved["saved"], true, "{saved}");
    told(&[
        "budget",
        "set",
        "--of",
        "extension",
        "101",
        "--per",
        "day",
        "--hard",
        "0.0045",
        "--yes",
    ]);
    let raised =
        json(&["budget", "raise", "2", "--of", "extension", "101", "--per", "day", "--yes"]);
    assert!(raised["changes"][0].as_str().unwrap().contains("2.0045"), "{raised}");
    let deck = data.path().join("rates.csv");
    fs::write(&deck, "prefix,rate\n371,0.05\nlatvia,1\n").unwrap();
    private(&deck, 0o600);
    let import = ["rates", "import", deck.to_str().unwrap(), "--yes"];
    assert!(denied(data.path(), &import).contains("line 3"));
    fs::write(&deck, "prefix,rate,name\n371,0.05,Latvia\n").unwrap();
    assert_eq!(json(&import)["added"], 1);
    let priced = json(&["rates", "show", "+37120000000"]);
    assert_eq!(priced["price"]["per_minute"], "0.05", "{priced}");
    assert_eq!(json(&international)["rate"]["source"], "deck");
    let exposure = told(&["exposure"]);
    assert!(exposure.starts_with("At most "), "{exposure}");
    assert!(exposure.contains("(extension 101, day budget)"), "{exposure}");
    told(&["lockdown", "on"]);
    assert_eq!(json(&international)["rule"], "lockdown");
    assert!(told(&["exposure"]).starts_with("Nothing can be lost"));
    told(&["lockdown", "off", "--yes"]);
    let test = command(data.path(), &["trunk", "test", "old"]).output().unwrap();
    assert_eq!(test.status.code(), Some(1), "{test:?}");
    assert!(String::from_utf8(test.stdout).unwrap().contains("failed"));

    // All of it is there after a restart, with every version of the rules.
    let before = [json(&["policy", "show"]), json(&["number", "list"])];
    let exported = told(&["rates", "export"]);
    node.signal(Signal::SIGTERM);
    assert_eq!(node.end(), 0, "{}", node.rest_of_log());
    drop(node);
    let node = Running::start(data.path());
    assert_eq!(before, [json(&["policy", "show"]), json(&["number", "list"])]);
    assert_eq!(told(&["rates", "export"]), exported);
    let history = json(&["policy", "history"]);
    assert!(history.as_array().unwrap().len() >= 6, "{history}");
    let status = json(&["status"]);
    assert_eq!((&status["trunks"], &status["trunks_up"]), (&1.into(), &0.into()), "{status}");
    assert!(status["weak_trunks"][0].as_str().unwrap().starts_with("old: "), "{status}");
    let page = node.address("status page");
    let page = http(page, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(page.contains("At most ") && page.contains("old"), "{page}");
    assert!(!page.contains("+12025550123"), "{page}");
    assert!(json(&["calls", "--since", "7d", "--cost"])["costs"]["totals"].is_array());
    assert!(told(&["journal", "verify"]).contains("intact"));
}
