//! Alerts on their way to a mailbox and a webhook, against servers that work, fail and lie.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;

use crate::support::server::Server;

/// How a far end behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Well,
    /// 503, or 451 to a mail's text.
    Refuses,
    /// Takes what comes and hangs up without an answer.
    HangsUp,
    /// Sends elsewhere (a webhook), or offers no encryption (a mail server).
    Strays,
}

/// A server in threads of this test: what it took comes out in order.
struct FarEnd {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    taken: Receiver<String>,
}

impl FarEnd {
    fn start(serve: impl Fn(TcpStream, Mood) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mood = Arc::new(Mutex::new(Mood::Well));
        let (sender, taken) = mpsc::channel();
        let present = mood.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(SOON)).expect("a socket");
                let mood = *present.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(text) = serve(stream, mood)
                    && sender.send(text).is_err()
                {
                    return;
                }
            }
        });
        Self { address, mood, taken }
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn next(&self) -> String {
        self.taken.recv_timeout(SOON).expect("an alert comes")
    }

    /// Whatever came until now was taken out.
    fn assert_empty(&self) {
        assert_eq!(self.taken.try_recv().ok(), None);
    }
}

/// One request of HTTP: gives back its head and body.
fn http(stream: TcpStream, mood: Mood) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let status = match mood {
        Mood::Well => "204 No Content",
        Mood::Refuses => "503 Service Unavailable",
        Mood::Strays => "302 Found\r\nLocation: http://127.0.0.1:1/",
        Mood::HangsUp => return None,
    };
    write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok()?;
    (mood == Mood::Well).then(|| head + &String::from_utf8(body).expect("JSON"))
}

const SIGNING: &str = "a-signing-secret";
const PASSWORD: &str = "an-smtp-password";

fn secret(server: &Server, text: &str) -> String {
    let path = server.folder().join("given.secret");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn json_of(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let line = request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {request}"))
}

fn webhook(server: &Server, far: &FarEnd) {
    let file = secret(server, SIGNING);
    let url = format!("http://{}/hook?key=in-the-address", far.address);
    let add =
        ["alerts", "sink", "add", "webhook", "--url", &url, "--secret-file", &file, "--private"];
    let said = server.tell(&add);
    assert!(said.contains("Alerts go to http://127.0.0.1"), "{said}");
    let list = server.json(&["alerts", "sink", "list"]);
    assert_eq!(list[0]["state"], "not-tried", "nothing was sent there yet");
    std::fs::remove_file(file).expect("ours");
}

/// Nothing of a sink's secrets lies in clear in the data folder or in what was printed.
fn assert_sealed(server: &Server) {
    for entry in std::fs::read_dir(server.folder()).expect("the data folder").flatten() {
        let Ok(bytes) = std::fs::read(entry.path()) else { continue };
        for secret in [SIGNING, PASSWORD, "in-the-address"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} stands in {}", entry.path().display());
        }
    }
    for secret in [SIGNING, PASSWORD, "in-the-address"] {
        assert!(!server.output().contains(secret), "{secret} was printed");
    }
}

fn facts(server: &Server, name: &str) -> usize {
    let journal = server.json(&["journal", "show", "--limit", "10000"]);
    let all = journal.as_array().expect("a list").clone();
    all.iter().filter(|entry| entry["name"] == name).count()
}

#[test]
fn a_webhook_takes_each_incident_once_and_loses_none_over_failures_and_a_restart() {
    let mut server = Server::start();
    let far = FarEnd::start(http);
    for number in ["101", "102", "103", "104"] {
        server.extension(number);
    }
    // What happened before is none of its business.
    server.tell(&["extension", "reveal", "104"]);
    server.eventually(&["alerts"], |all| (all.as_array()?.len() == 1).then_some(()));
    webhook(&server, &far);
    for _ in 0..3 {
        server.tell(&["extension", "reveal", "101"]);
    }
    let request = far.next();
    assert!(request.starts_with("POST /hook?key=in-the-address HTTP/1.1\r\n"), "{request}");
    let alert = json_of(&request);
    assert_eq!((&alert["what"], &alert["event"]), (&"secret-revealed".into(), &"opened".into()));
    assert_eq!(alert["title"], "the password of extension 101 was looked at");
    assert_eq!(alert["severity"], "notice");
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SIGNING.as_bytes());
    let signed = format!("{}.{body}", header(&request, "ringfence-timestamp"));
    let mut expected = String::from("v1=");
    for byte in hmac::sign(&key, signed.as_bytes()).as_ref() {
        expected.push_str(&format!("{byte:02x}"));
    }
    assert_eq!(header(&request, "ringfence-signature"), expected);
    assert_eq!(header(&request, "ringfence-id"), alert["id"].as_str().expect("a text"));

    // It fails in each of its ways, for as long as it takes to be seen; then the node restarts.
    let failing = |why: &str| {
        server.eventually(&["alerts", "sink", "list"], |sinks| {
            sinks[0]["why"].as_str().is_some_and(|text| text.contains(why)).then_some(())
        });
    };
    far.becomes(Mood::Refuses);
    server.tell(&["extension", "reveal", "102"]);
    failing("503");
    far.becomes(Mood::HangsUp);
    failing("the connection ended");
    far.becomes(Mood::Strays);
    server.tell(&["extension", "reveal", "103"]);
    failing("redirect");
    assert_eq!(facts(&server, "sink-failing"), 1);
    let known = server.json(&["alerts"]);
    server.terminate();
    server.ended(SOON);
    server.up();
    far.becomes(Mood::Well);
    let titles = [far.next(), far.next()].map(|request| json_of(&request)["about"].clone());
    assert_eq!(titles, ["extension 102", "extension 103"]);
    server.eventually(&["alerts", "sink", "list"], |sinks| {
        (sinks[0]["works"] == true && sinks[0]["waiting"] == 0).then_some(())
    });
    // The restart told nobody of anything again, and an incident that is open stays the same one.
    server.tell(&["extension", "reveal", "101"]);
    server.tell(&["extension", "reveal", "104"]);
    server.eventually(&["alerts"], |all| (all.as_array()?.len() == 4).then_some(()));
    let after = server.json(&["alerts"]);
    let ids = |all: &Value| -> Vec<Value> {
        all.as_array().expect("a list").iter().map(|one| one["incident"].clone()).collect()
    };
    assert_eq!(ids(&known), ids(&after));
    // What was read again was not counted again.
    for (about, events) in [("extension 101", 4), ("extension 102", 1)] {
        server.eventually(&["alerts"], |all| {
            let found = all.as_array()?.iter().find(|one| one["about"] == about)?;
            (found["events"] == events).then_some(())
        });
    }
    far.assert_empty();
    assert_eq!(facts(&server, "incident-opened"), 4);
    assert_sealed(&server);
    server.tell(&["alerts", "sink", "remove", "1"]);
    assert_eq!(server.json(&["alerts", "sink", "list"]), Value::Array(Vec::new()));
    assert_eq!(server.run(&["alerts", "sink", "test", "1"]).code, Some(1));
    assert_eq!(server.json(&["journal", "verify"])["intact"], true);
}

/// A mail server that wants STARTTLS and a login: gives back each mail it took.
fn smtp(tls: Arc<rustls::ServerConfig>) -> impl Fn(TcpStream, Mood) -> Option<String> {
    move |stream, mood| {
        let mut clear = BufReader::new(stream);
        let say = |to: &mut dyn Write, text: &str| write!(to, "{text}\r\n").ok();
        say(clear.get_mut(), "220 mail.test")?;
        loop {
            let mut line = String::new();
            clear.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end() {
                "STARTTLS" => break,
                "EHLO localhost" if mood == Mood::Strays => say(clear.get_mut(), "250 mail.test")?,
                "EHLO localhost" => say(clear.get_mut(), "250-mail.test\r\n250 STARTTLS")?,
                // In clear there is nothing else to be had.
                other => panic!("in clear: {other}"),
            }
        }
        say(clear.get_mut(), "220 go ahead")?;
        let session = rustls::ServerConnection::new(tls.clone()).ok()?;
        let mut stream = BufReader::new(rustls::StreamOwned::new(session, clear.into_inner()));
        let mut mail = String::new();
        let mut logged_in = false;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let answer = match line.trim_end() {
                "EHLO localhost" => "250-mail.test\r\n250 AUTH LOGIN PLAIN",
                line if line.starts_with("AUTH PLAIN ") => {
                    let expected = base64(format!("\0pbx\0{PASSWORD}").as_bytes());
                    assert_eq!(line, format!("AUTH PLAIN {expected}"));
                    logged_in = true;
                    "235 welcome"
                }
                "MAIL FROM:<pbx@example.com>" if logged_in => "250 ok",
                "RCPT TO:<grace@example.com>" => "250 ok",
                "DATA" => {
                    say(stream.get_mut(), "354 go")?;
                    loop {
                        let mut line = String::new();
                        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
                        assert!(line.ends_with("\r\n"), "{line:?}");
                        if line == ".\r\n" {
                            break;
                        }
                        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                    }
                    match mood {
                        Mood::Refuses => {
                            mail.clear();
                            "451 try again"
                        }
                        Mood::HangsUp => return None,
                        _ => "250 taken",
                    }
                }
                "QUIT" => {
                    say(stream.get_mut(), "221 bye")?;
                    return (!mail.is_empty()).then_some(mail);
                }
                other => panic!("{other}"),
            };
            say(stream.get_mut(), answer)?;
            if answer == "250 taken" {
                return Some(mail);
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What a mail program shows: the quoted-printable undone.
fn read(mail: &str) -> (String, String) {
    let (head, body) = mail.split_once("\r\n\r\n").expect("a head and a body");
    let body = body.replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n");
    (head.to_owned(), body)
}

#[test]
fn a_mailbox_takes_each_incident_once_and_what_piled_up_as_one() {
    let mut server = Server::start();
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let authority = server.folder().join("mail-authority.pem");
    std::fs::write(&authority, certificate.pem()).expect("written");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a certificate and its key");
    let far = FarEnd::start(smtp(Arc::new(tls)));
    let at = format!("localhost:{}", far.address.port());
    let file = secret(&server, PASSWORD);
    let mut add = vec!["alerts", "sink", "add", "mail", "--to", "grace@example.com"];
    add.extend(["--from", "pbx@example.com", "--server", &at, "--user", "pbx"]);
    add.extend(["--secret-file", &file]);
    let authority = authority.display().to_string();
    // This machine only where it was said: what could never arrive is refused at once.
    let refused = server.run(&[&add[..], &["--authority", &authority]].concat());
    assert!(refused.code == Some(1) && refused.err.contains("--private"), "{}", refused.err);
    // Nobody unknown is trusted; a test in vain is remembered, and is no peace.
    server.tell(&[&add[..], &["--private"]].concat());
    let ran = server.run(&["alerts", "sink", "test", "1"]);
    assert!(ran.code == Some(1) && ran.err.contains("not trusted here"), "{}", ran.err);
    assert!(ran.err.contains("--authority FILE"), "{}", ran.err);
    let shown = server.json(&["alerts", "sink", "show", "1"]);
    assert!(shown[0]["works"] == false && shown[0]["test_failed"].is_string(), "{shown}");
    server.extension("100");
    let status = server.json(&["status"]);
    let deaf = status["attention"].to_string();
    assert!(deaf.contains("No alert reaches anybody") && status["safe"] == false, "{deaf}");
    // The same mailbox twice would be told everything twice.
    let both = [&add[..], &["--private", "--authority", &authority]].concat();
    let twice = server.run(&both);
    assert!(twice.code == Some(1) && twice.err.contains("sink 1 leads there"), "{}", twice.err);
    server.tell(&["alerts", "sink", "remove", "1"]);
    // A number names one sink for ever.
    server.tell(&both);
    std::fs::remove_file(file).expect("ours");
    assert_eq!(server.tell(&["alerts", "sink", "test", "2"]), "Sink 2 took the test.\n");
    assert!(!server.json(&["status"])["attention"].to_string().contains("sink"));
    let (head, _) = read(&far.next());
    assert!(head.contains("Subject: Ringfence: a test of alerts"), "{head}");

    server.extension("101");
    server.tell(&["extension", "reveal", "101"]);
    let (head, body) = read(&far.next());
    let head = head.replace("\r\n ", " ");
    let subject = "Subject: [notice] the password of extension 101 was looked at";
    assert!(head.contains(subject), "{head}");
    for expected in ["By whom", "To do", "ringfence extension rotate 101", "ringfence alerts show "]
    {
        assert!(body.contains(expected), "{expected}: {body}");
    }

    // Dead for a while: nothing is lost, and what piled up is one mail, in order.
    far.becomes(Mood::Strays);
    for number in ["102", "103"] {
        server.extension(number);
        server.tell(&["extension", "reveal", number]);
    }
    let failing = |why: &str| {
        server.eventually_within(LATE, &["alerts", "sink", "list"], |sinks| {
            sinks[0]["why"].as_str().is_some_and(|text| text.contains(why)).then_some(())
        });
    };
    failing("no encryption");
    far.becomes(Mood::Refuses);
    failing("451 try again");
    far.becomes(Mood::HangsUp);
    failing("hung up");
    far.becomes(Mood::Well);
    let (head, body) = read(&far.taken.recv_timeout(LATE).expect("a digest"));
    let head = head.replace("\r\n ", " ");
    assert!(head.contains("Subject: [notice] 2 alerts; the worst: the password of"), "{head}");
    let at = |what: &str| body.find(what).unwrap_or_else(|| panic!("no {what} in {body}"));
    assert!(at("About           extension 102") < at("About           extension 103"));
    far.assert_empty();
    server
        .eventually(&["alerts", "sink", "list"], |sinks| (sinks[0]["works"] == true).then_some(()));
    assert_eq!((facts(&server, "sink-failing"), facts(&server, "sink-recovered")), (1, 1));
    assert_sealed(&server);
}

#[test]
fn whoever_follows_sees_what_comes() {
    let mut server = Server::start();
    server.extension("101");
    let (sender, lines) = mpsc::channel();
    let mut child = server.spawn(&["alerts", "--follow", "--json"]);
    let out = BufReader::new(child.stdout.take().expect("piped"));
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    server.tell(&["extension", "reveal", "101"]);
    let line = lines.recv_timeout(SOON);
    let again = lines.recv_timeout(Duration::from_millis(1_500));
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    let alert: Value = serde_json::from_str(&line.expect("an alert")).expect("JSON");
    assert_eq!((&alert["what"], &alert["open"]), (&"secret-revealed".into(), &true.into()));
    assert_eq!(again, Err(RecvTimeoutError::Timeout), "told once");
    let shown = server.tell(&["alerts", "show", &alert["incident"].to_string()]);
    assert!(shown.contains("Notice: the password of extension 101 was looked at"), "{shown}");
    assert!(shown.contains("By whom"), "{shown}");
    let gone = server.run(&["alerts", "show", "999999"]);
    assert!(gone.code == Some(1) && gone.err.contains("remedy: "), "{}", gone.err);
}

const SOON: Duration = Duration::from_secs(20);
/// Waits between tries double, and mails that are no emergency keep their pace.
const LATE: Duration = Duration::from_secs(60);
