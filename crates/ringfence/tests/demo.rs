//! The demonstration: every claim holds, and each fails when its defence is off.
//!
//! With the feature `dangerous-test` the defences can be switched off; without it nothing can.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs it on temporary data below `folder`.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(arguments).stdin(Stdio::null()).env("TMPDIR", folder);
    command.env_remove("CREDENTIALS_DIRECTORY").output().expect("the binary starts")
}

fn demo(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let arguments = [&["demo", "--json"], arguments].concat();
    let ran = run(folder, &arguments);
    let story = String::from_utf8(ran.stderr).expect("UTF-8");
    let outcome = serde_json::from_slice(&ran.stdout);
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}:\n{story}"));
    (ran.status.code(), outcome, story)
}

fn failed(outcome: &Value) -> Vec<&str> {
    let claims = outcome["claims"].as_array().expect("a list");
    let failed = claims.iter().filter(|claim| claim["holds"] == false);
    failed.map(|claim| claim["name"].as_str().expect("a name")).collect()
}

#[test]
fn every_claim_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept").display().to_string();
    let begun = Instant::now();
    let (code, outcome, story) = demo(folder.path(), &["--keep", &kept]);
    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
    assert!(failed(&outcome).is_empty(), "{story}");
    assert_eq!(code, Some(0), "{story}");
    assert_eq!(outcome["claims"].as_array().map(Vec::len), Some(8));
    assert!(story.contains("THE MOST THAT CAN BE LOST"), "{story}");
    assert!(!story.contains(" ERROR "), "{story}");

    // What was kept starts again, and is not overwritten.
    let checked = run(folder.path(), &["config", "check", "--data", &kept]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(Path::new(&kept).join("ringfence.db").exists());
    let refused = run(folder.path(), &["demo", "--keep", &kept]);
    let said = String::from_utf8(refused.stderr).expect("UTF-8");
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("remedy: name a folder that does not exist yet"), "{said}");
}

#[test]
#[cfg(feature = "dangerous-test")]
fn each_claim_fails_without_its_defence() {
    let cases: [(&str, &[&str]); 4] = [
        ("encryption", &["clear-refused"]),
        // Without it nothing is spent that 911 could go through.
        ("gate", &["country", "loss", "emergency"]),
        // Who guessed right signs in: one phone more than there should be.
        ("wall", &["scanner", "guessing"]),
        ("emergency", &["emergency"]),
    ];
    for (defence, claims) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let (code, outcome, story) = demo(folder.path(), &["--dangerous-without", defence]);
        assert_eq!(failed(&outcome), claims, "without {defence}:\n{story}");
        assert_eq!(code, Some(1), "without {defence}");
        assert!(story.contains("A DEFENCE IS SWITCHED OFF"), "{story}");
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "it left something behind:\n{story}");
    }
}

#[test]
#[cfg(not(feature = "dangerous-test"))]
fn what_people_run_can_switch_nothing_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    for line in [
        &["demo", "--dangerous-without", "gate"][..],
        &["up", "--dangerous-without-wall", "--data", &data],
        &["extension", "add", "100", "--name", "x", "--dangerous-secret", "100", "--data", &data],
    ] {
        let ran = run(folder.path(), line);
        let said = String::from_utf8(ran.stderr).expect("UTF-8");
        assert_eq!(ran.status.code(), Some(2), "{line:?}: {said}");
        assert!(said.contains("unexpected argument"), "{line:?}: {said}");
    }
    let program = std::fs::read(env!("CARGO_BIN_EXE_ringfence")).expect("the binary");
    for word in ["dangerous-extension-add", "dangerous-without"] {
        let found = program.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!found, "`{word}` stands in the binary");
    }
}

#[test]
fn it_cleans_up_when_it_is_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["demo"]).stdin(Stdio::null()).env("TMPDIR", folder.path());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("Two phones talk") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut said, &mut line).expect("text");
        assert!(read > 0, "it ended by itself");
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("a child of ours");
    let status = child.wait().expect("a child of ours");
    assert_eq!(status.code(), Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

/// What a demonstration may take.
const LONGEST: Duration = Duration::from_secs(90);
