//! The house holds: which crate may know which, and that the pure ones touch nothing of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may know of ours (ARCHITECTURE.md, "Directions").
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("pure", &[]),
    ("sip", &["pure"]),
    ("rtp", &["pure"]),
    ("guard", &["pure", "sip"]),
    ("pbx", &["guard", "pure", "rtp", "sip"]),
    ("actors", &["pure", "rtp", "sip"]),
    ("store", &["guard", "pbx", "pure"]),
    ("ringfence", &["actors", "guard", "pbx", "pure", "rtp", "sip", "store"]),
    ("sim", &["actors", "guard", "pbx", "pure", "rtp", "sip"]),
];

const PURE: &[&str] = &["pure", "sip", "rtp", "guard", "pbx", "actors", "sim"];

/// Crates that reach the clock, the network, files, threads or the system's randomness.
const WORLDLY: &[&str] = &[
    "async-io",
    "async-std",
    "chrono",
    "crossbeam-channel",
    "dirs",
    "hyper",
    "mio",
    "nix",
    "polling",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tempfile",
    "tokio",
    "tracing-subscriber",
    "ureq",
];

/// Words that a pure crate's sources may not hold outside their tests.
const WORLDLY_WORDS: &[&str] = &[
    "std::env::",
    "std::fs::",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process::",
    "std::sync::Mutex",
    "std::sync::mpsc",
    "std::thread::",
    "std::time::Instant",
    "std::time::SystemTime",
    "println!",
    "thread_rng",
    "OsRng",
];

#[test]
fn crates_know_only_what_lies_below_them() {
    let graph = Graph::read();
    for (name, allowed) in DIRECTIONS {
        let strangers: Vec<_> = graph.linked[*name]
            .iter()
            .filter(|dependency| DIRECTIONS.iter().any(|(ours, _)| ours == dependency))
            .filter(|ours| !allowed.contains(&ours.as_str()))
            .collect();
        assert!(strangers.is_empty(), "{name} may not depend on {strangers:?}");
    }
    let named: BTreeSet<_> = DIRECTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(graph.members, named, "a new crate needs its row here and in ARCHITECTURE.md");
}

#[test]
fn pure_crates_link_nothing_worldly() {
    let graph = Graph::read();
    for name in PURE {
        let reached = graph.reached_from(name);
        let worldly: Vec<_> = WORLDLY.iter().filter(|word| reached.contains(**word)).collect();
        assert!(worldly.is_empty(), "{name} reaches {worldly:?}");
    }
}

#[test]
fn pure_sources_name_nothing_worldly() {
    for name in PURE {
        let source = workspace().join("crates").join(name).join("src");
        let head = fs::read_to_string(source.join("lib.rs")).expect("a pure crate is a library");
        assert!(head.contains("#![forbid(unsafe_code)]"), "{name} does not forbid unsafe code");
        for file in rust_files(&source) {
            let text = fs::read_to_string(&file).expect("listed a moment ago");
            let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for (number, line) in shipped.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if let Some(word) = WORLDLY_WORDS.iter().find(|word| code.contains(**word)) {
                    panic!("{}:{}: `{word}` in a pure crate", file.display(), number + 1);
                }
            }
        }
    }
}

struct Graph {
    members: BTreeSet<String>,
    /// Normal dependencies by package name: what ends up in the product.
    linked: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            // Packages of other platforms were never fetched by whoever only builds here.
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", &host()])
            .current_dir(workspace())
            .output()
            .expect("cargo runs this test, so cargo is here");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
        let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = list(&node["deps"]).into_iter().filter(|dependency| {
                list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
            });
            linked
                .entry(names[&text(&node["id"])].clone())
                .or_default()
                .extend(normal.map(|dependency| names[&text(&dependency["pkg"])].clone()));
        }
        let members = list(&metadata["workspace_members"]);
        Self { members: members.iter().map(|id| names[&text(id)].clone()).collect(), linked }
    }

    fn reached_from(&self, name: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            for dependency in &self.linked[&next] {
                if reached.insert(dependency.clone()) {
                    open.push(dependency.clone());
                }
            }
        }
        reached
    }
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc built this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
