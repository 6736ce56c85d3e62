//! The first start, the second, the command line, and the journal.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use actors::phone::Event;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::support::driver::Fleet;
use crate::support::server::Server;

#[test]
fn the_first_start_makes_everything_and_the_second_finds_it() {
    let mut server = Server::unstarted();
    let asleep = server.run(&["status"]);
    assert_eq!(asleep.code, Some(2), "{}", asleep.err);
    assert!(asleep.err.contains("remedy") && asleep.err.contains("up"), "{}", asleep.err);
    server.up();
    assert_private(&server.folder());

    let phone = server.extension("101");
    let printed = server.json(&["extension", "reveal", "101"]);
    let pem = std::fs::read(server.folder().join("ca.pem")).unwrap();
    assert_eq!(text(&printed, "ca_sha256").replace(':', "").to_lowercase(), sha256_of(&pem));
    assert_eq!(text(&printed, "ca_file"), server.folder().join("ca.pem").display().to_string());
    assert_eq!(printed["port"], server.address().port());

    let mut fleet = Fleet::new();
    let handset = fleet.plug_in(&server.door(), phone);
    fleet.wait_registered(&[handset], SOON);

    server.terminate();
    assert_eq!(server.ended(SOON).code(), Some(0));
    server.up();
    assert_eq!(std::fs::read(server.folder().join("ca.pem")).unwrap(), pem);
    // The phone trusts what it trusted, and its secret is what it was.
    let before = fleet.seats()[handset.0].events.len();
    fleet.wait("the phone to sign in anew", SOON, |seats| {
        let new = &seats[handset.0].events[before.min(seats[handset.0].events.len())..];
        let up = seats[handset.0].phone.is_registered();
        (up && (new.iter().any(|(_, event)| matches!(event, Event::Registered { .. }))))
            .then_some(())
    });
    let list = server.json(&["extension", "list"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list:#}");
    assert_eq!(text(&list[0], "number"), "101");
    assert_eq!(server.json(&["journal", "verify"])["intact"], true);
    assert_private(&server.folder());
}

#[test]
fn the_command_line_changes_what_runs() {
    let mut server = Server::start();
    let phone = server.extension("101");
    server.extension("102");
    let status = server.json(&["status"]);
    assert_eq!((&status["extensions"], &status["calls_up"]), (&2.into(), &0.into()), "{status:#}");
    assert_eq!(server.json(&["devices"]), Value::Array(Vec::new()));
    assert!(server.tell(&["devices"]).contains("No phone has signed in yet"));
    assert_eq!(server.json(&["calls"])["records"], Value::Array(Vec::new()));

    let mut fleet = Fleet::new();
    let handset = fleet.plug_in(&server.door(), phone.clone());
    fleet.wait_registered(&[handset], SOON);
    let devices = server.json(&["devices"]);
    let [device] = &devices.as_array().expect("a list")[..] else { panic!("{devices:#}") };
    assert_eq!(text(device, "extension"), "101");
    assert_eq!(text(device, "agent"), phone.agent);
    assert_eq!(text(device, "transport"), "TLS");
    assert!(text(device, "tls").contains("1.3"), "{device:#}");
    assert_eq!(text(device, "algorithm"), "SHA-256");
    assert_eq!(device["registered"], true);
    assert_eq!(device["weaknesses"], Value::Array(Vec::new()), "{device:#}");
    let shown = server.json(&["extension", "show", "101"]);
    let shown = if shown.is_array() { shown[0].clone() } else { shown };
    assert_eq!(shown["devices"].as_array().map(Vec::len), Some(1), "{shown:#}");

    // Revealed: the same secret, and the journal knows.
    let revealed = server.json(&["extension", "reveal", "101"]);
    assert_eq!(text(&revealed, "secret"), phone.secret);
    let journal = server.json(&["journal", "show"]);
    let said = |journal: &Value, word: &str| {
        let mut entries = journal.as_array().expect("a list").iter();
        entries.any(|entry| text(entry, "name").to_lowercase().contains(word))
    };
    assert!(said(&journal, "reveal"), "{journal:#}");

    // Rotated: the former secret doesn't sign in any more, the new one does.
    let rotated = server.json(&["extension", "rotate", "101"]);
    let renewed = server.settings(&rotated);
    assert_ne!(renewed.secret, phone.secret);
    fleet.cut(handset);
    wait_refused(&fleet, handset.0, 0);
    let renewed = fleet.plug_in(&server.door(), renewed);
    fleet.wait_registered(&[renewed], SOON);

    // Disabled: not even with the right secret; put back into service: again.
    server.tell(&["extension", "disable", "101"]);
    fleet.cut(renewed);
    wait_refused(&fleet, renewed.0, 0);
    let list = server.json(&["extension", "list"]);
    let of = |number: &str| {
        let mut all = list.as_array().expect("a list").iter();
        all.find(|one| text(one, "number") == number).cloned()
    };
    assert_eq!(of("101").expect("101")["enabled"], false, "{list:#}");
    assert_eq!(of("102").expect("102")["enabled"], true);
    server.tell(&["extension", "enable", "101"]);
    fleet.cut(renewed);
    fleet.wait_registered(&[renewed], SOON);

    // Removed: nobody, and the number is free again.
    server.tell(&["extension", "remove", "101", "--yes"]);
    fleet.cut(renewed);
    wait_refused(&fleet, renewed.0, 1);
    let gone = server.run(&["extension", "show", "101"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.out.is_empty() && gone.err.contains("no extension 101"), "{}", gone.err);
    let anew = server.extension("101");
    assert_ne!(anew.secret, phone.secret);
    let taken = server.run(&["extension", "add", "102", "--name", "Again"]);
    assert_eq!(taken.code, Some(1));
    assert!(taken.err.contains("remedy"), "{}", taken.err);
    for nonsense in ["1", "123456789", "10a", "-1", "911", "112"] {
        let refused = server.run(&["extension", "add", nonsense, "--name", "x"]);
        assert!(matches!(refused.code, Some(1 | 2)), "{nonsense}: {}", refused.out);
    }
    assert_eq!(server.json(&["journal", "verify"])["intact"], true);
}

/// Whoever can write to the database can't do so unseen.
#[test]
fn a_changed_journal_is_found() {
    let mut server = Server::start();
    for number in ["101", "102", "103"] {
        server.extension(number);
    }
    // The head beside the database, which shows a cut tail, lies up to a second behind.
    let beside = server.folder().join("journal.head");
    let intact = server.eventually(&["journal", "verify"], |said| {
        let head = std::fs::read_to_string(&beside).unwrap_or_default();
        let (_, hash) = text(said, "head").split_once(':').expect("SEQUENCE:HASH");
        head.contains(hash).then(|| said.clone())
    });
    assert_eq!(intact["intact"], true, "{intact:#}");
    assert!(intact["entries"].as_u64() >= Some(4), "{intact:#}");
    // A head that was noted elsewhere: the true one, and one of another chain.
    let head = text(&intact, "head").to_owned();
    assert_eq!(server.run(&["journal", "verify", "--known", &head]).code, Some(0));
    let other = format!("2:{}", "ab".repeat(32));
    assert_eq!(server.run(&["journal", "verify", "--known", &other]).code, Some(1));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let execute = |statement: &'static str| {
        let address = format!("sqlite://{}", server.database().display());
        runtime.block_on(async {
            let mut database = SqliteConnection::connect(&address).await.expect("the database");
            let done = sqlx::query(statement).execute(&mut database).await.expect(statement);
            database.close().await.expect("closed");
            done.rows_affected()
        })
    };
    execute("CREATE TABLE kept AS SELECT * FROM journal");
    for (what, statement) in [
        ("a byte", "UPDATE journal SET public = replace(public, '1', '2') WHERE sequence = 2"),
        ("a time", "UPDATE journal SET utc = utc + 1 WHERE sequence = 2"),
        ("a kind", "UPDATE journal SET number = number + 1 WHERE sequence = 2"),
        ("an entry removed", "DELETE FROM journal WHERE sequence = 2"),
        (
            "the first removed",
            "DELETE FROM journal WHERE sequence = (SELECT min(sequence) FROM journal)",
        ),
        (
            "the last removed",
            "DELETE FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)",
        ),
        (
            "an entry doubled",
            "INSERT INTO journal SELECT node, sequence + 1000, utc, tenant, number, public, personal, \
             previous, hash FROM journal WHERE sequence = 2",
        ),
    ] {
        assert!(execute(statement) > 0, "{what}: nothing to change");
        let ran = server.run(&["journal", "verify", "--json"]);
        assert_eq!(ran.code, Some(1), "{what} goes unseen: {}{}", ran.out, ran.err);
        let said: Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!(said["intact"], false, "{what}");
        assert!(said["broken"].is_string(), "{what}: {said:#}");
        execute("DELETE FROM journal");
        execute("INSERT INTO journal SELECT * FROM kept");
        let ran = server.run(&["journal", "verify"]);
        assert_eq!(ran.code, Some(0), "after {what}: {}{}", ran.out, ran.err);
    }
    // A secret of the server's stands nowhere in clear: checked when the server is dropped.
}

/// Waits for the phone to be refused, having been refused `before` times.
fn wait_refused(fleet: &Fleet, at: usize, before: usize) {
    fleet.wait("the phone to be refused", SOON, |seats| {
        let refusals = seats[at].events.iter();
        let refusals =
            refusals.filter(|(_, event)| matches!(event, Event::RegistrationFailed { .. }));
        (refusals.count() > before).then_some(())
    });
}

/// Nobody but the owner reads anything in the folder.
fn assert_private(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        let mode = mode(&entry.path());
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value:#}"))
}

/// Of the certificate in a PEM file, in hex.
fn sha256_of(pem: &[u8]) -> String {
    let certificate = CertificateDer::from_pem_slice(pem).expect("a certificate");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const SOON: Duration = Duration::from_secs(20);
