//! `ringfence demo`: the real node in this process, on data and addresses of its own, attacked before
//! your eyes.
//!
//! `story` plays phones, a carrier and attackers over real sockets, `claims` judges what came of it by
//! what the node wrote down. Several demonstrations run beside each other: each has a loopback address
//! of its own, and ports that the system chooses.

mod claims;
pub(crate) mod driver;
mod say;
mod stand;
mod story;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actors::carrier::{Account, Carrier, CarrierSettings, Habit, Takes, Tariff};
use actors::phone::{Security, Voice};
use clap::Args;
use guard::id::NodeId;
use guard::money::Money;
use guard::number::Country;
use guard::policy::Scope;
use guard::secret::MasterKey;
use pbx::settings::Dangerous;
use serde::Serialize;
use sip::digest::Algorithm;
use store::Reader;
use tokio::net::TcpListener;

use self::claims::{Claim, Evidence, Tampering};
use self::driver::{Door, Fleet, Place};
use self::say::Teller;
use self::stand::{Caught, Stand};
use self::story::{Seen, Stage};
use crate::authority::Authority;
use crate::clock;
use crate::config::{self, ClientCertificates, TlsVersion};
use crate::data_dir::{Trouble, replace};
use crate::lifecycle::{self, Stop};
use crate::{exchange, node, tls};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print what came of it as JSON; the story goes to stderr
    #[arg(long)]
    json: bool,
    /// Keep the data in this new folder, to look at with `ringfence up --data DIR` and the other commands
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Switch a defence off, to see its claim fail
    #[cfg(feature = "dangerous-test")]
    #[arg(long, value_name = "DEFENCE", value_enum)]
    dangerous_without: Option<Defence>,
}

/// What a test can switch off.
#[cfg(feature = "dangerous-test")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Defence {
    Encryption,
    Gate,
    Wall,
    Emergency,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    version: &'static str,
    holds: bool,
    seconds: f64,
    currency: &'static str,
    /// The most that could be lost, said before, and what the carrier asked for.
    most: String,
    bill: String,
    claims: Vec<Claim>,
}

/// The data folder. Dropping it removes it, unless it is kept.
struct Folder {
    path: PathBuf,
    kept: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| format!("the runtime could not be started: {error}"))?;
    let folder = Folder::new(options.keep.as_deref()).map_err(|trouble| trouble.to_string())?;
    let code = runtime.block_on(shown(options, &folder)).map_err(|trouble| trouble.to_string());
    // Tasks of actors that wait for nothing any more end with the process.
    runtime.shutdown_background();
    drop(folder);
    code
}

async fn shown(options: &Options, folder: &Folder) -> Result<ExitCode, Trouble> {
    let begun = std::time::Instant::now();
    let mut say = teller(options.json);
    let silence = say.silence();
    say.text(INTRODUCTION);
    say.act("The phone system starts");
    let mut stopping = Stop::new()?;
    let place = Place::take().map_err(|error| no_place(&error))?;
    let data = folder.path.clone();
    let config = configuration(&data, place.address).map_err(|trouble| no_room(&data, trouble))?;
    let dangerous = options.dangerous();
    let make = exchange(dangerous);
    let up = node::bring_up(config, &data, &[], Some(Country::US), dangerous, make).await;
    let node = up.map_err(|trouble| no_room(&data, trouble))?;
    say.event(&format!("It is up after {:.1} s.", begun.elapsed().as_secs_f64()));
    for (what, at) in &node.listening {
        say.evidence(&format!("{what}: {at}"));
    }
    say.evidence(
        "Nothing listens in clear: signalling is TLS, audio is SRTP, or the call is refused.",
    );
    if dangerous != Dangerous::default() {
        say.event("A DEFENCE IS SWITCHED OFF. At least one claim must fail.");
    }
    let master = node.grounds.master.clone();
    let mut stage = stage(&node, &data, place).await?;
    let mut playing = tokio::task::spawn_blocking(move || {
        let seen = story::play(&mut stage, &mut say);
        (seen, say, stage)
    });
    let (seen, mut say, stage) = tokio::select! {
        played = &mut playing => played.map_err(|error| broken(&error.to_string()))?,
        () = stopping.asked() => {
            // What follows happens because of the stop, and is no part of the story.
            silence.store(true, Ordering::Relaxed);
            // Calls that are up end with the node: nobody real is in one.
            node.bring_down().await;
            match folder.kept {
                true => eprintln!("Stopped; the data is kept in {}.", folder.path.display()),
                false => eprintln!("Stopped; the temporary data is removed."),
            }
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let seen = seen.map_err(|error| broken(&error))?;
    lifecycle::stop(node).await;
    // Not before: a carrier that is gone answers no BYE, and the node waits 32 seconds for it.
    drop(stage);
    let evidence = read(&data, master).await?;
    let claims = claims::judge(&seen, &evidence);
    let holds = claims.iter().all(|claim| claim.holds);
    summary(&mut say, &claims);
    say.text(&ending(holds, folder, begun.elapsed()));
    if options.json {
        let outcome = outcome(&seen, claims, begun.elapsed());
        let text = serde_json::to_string_pretty(&outcome).expect("strings and numbers");
        let written = crate::cli::say(&format!("{text}\n"));
        written.map_err(|error| Trouble::new(error, UNWRITTEN))?;
    }
    if let Some(error) = say.broken() {
        let wrong = format!("the output could not be written: {error}");
        return Err(Trouble::new(wrong, UNWRITTEN));
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// To stdout for people; where that is for a script, to stderr.
fn teller(json: bool) -> Teller {
    let (out, terminal): (Box<dyn std::io::Write + Send>, bool) = match json {
        true => (Box::new(std::io::stderr()), std::io::stderr().is_terminal()),
        false => (Box::new(std::io::stdout()), std::io::stdout().is_terminal()),
    };
    // https://no-color.org
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Teller::new(out, colour)
}

/// Written down, so that a folder that is kept can be started again where it was.
fn configuration(data: &Path, host: IpAddr) -> Result<config::Config, Trouble> {
    let text = format!(
        "status_page.bind = \"{host}:0\"\nfirewall.kernel = \"off\"\n[[realm]]\nbind = \"{host}\"\n\
         media_ports = \"{MEDIA_PORTS}\"\ntransports.tls = 0\n"
    );
    let path = data.join("ringfence.toml");
    replace(&path, text.as_bytes())?;
    config::parse(&path, &text).map_err(|mistake| broken(&mistake.to_string()))
}

/// The actors, in their places.
async fn stage<E: crate::exchange_thread::Engine + Send + 'static>(
    node: &node::Node<E>,
    data: &Path,
    place: Place,
) -> Result<Stage, Trouble> {
    let clock = node.clock;
    let address = node.door.ok_or_else(|| broken("no phone can connect"))?;
    let door = Door::trusting(address, node.grounds.authority.certificate().clone())
        .map_err(|error| broken(&error.to_string()))?;
    let home = Place::take().map_err(|error| no_place(&error))?;
    let listener = TcpListener::bind((home.address, 0)).await;
    let listener = listener.map_err(|error| no_place(&error))?;
    let carrier_server = listener.local_addr().map_err(|error| no_place(&error))?.to_string();
    let authority = Authority::draw(clock.now().utc);
    let identity = authority.issue(&[home.address.to_string()], clock.now().utc);
    let (tls, _) = tls::server(identity, TlsVersion::V1_3, ClientCertificates::Off, Vec::new())
        .map_err(|error| broken(&error.to_string()))?;
    let settings = carrier_settings(home.address);
    let carrier = Carrier::new(settings, clock::chance(), clock.now());
    let fleet = Fleet::start().map_err(|error| broken(&error.to_string()))?;
    Ok(Stage {
        data: data.to_owned(),
        clock,
        door,
        fleet,
        carrier: Stand::<Caught<Carrier>>::accepting(carrier, clock, listener, tls),
        carrier_server,
        carrier_authority: authority.pem().to_owned(),
        places: vec![place, home],
    })
}

fn carrier_settings(home: IpAddr) -> CarrierSettings {
    let answers = Habit::that(Takes::Answers { after: Duration::from_millis(300) });
    CarrierSettings {
        challenges_calls: false,
        refuses_byes: 0,
        host: home.to_string(),
        accounts: vec![Account {
            user: story::ACCOUNT.to_owned(),
            secret: story::ACCOUNT_SECRET.to_owned(),
        }],
        algorithms: vec![Algorithm::Sha256],
        expires: 600,
        expires_min: 60,
        closed: None,
        challenges_invites: false,
        answers_options: true,
        security: Security::Srtp,
        only_plain: false,
        transport: sip::Transport::Tls,
        numbers: BTreeMap::new(),
        otherwise: answers,
        channels: 10,
        tariffs: vec![Tariff {
            prefix: "44".to_owned(),
            per_minute: story::RATE * Money::UNIT,
            connect: 0,
            first: 1,
            increment: 1,
        }],
        silence_limit: None,
        media_address: home,
        media_port: 4_000,
        packet_interval: Duration::from_millis(20),
        voice: Voice(1_000),
    }
}

/// What the node has written down, read as anybody reads it afterwards.
async fn read(data: &Path, master: Arc<MasterKey>) -> Result<Evidence, Trouble> {
    let unreadable = |error: store::Error| broken(&format!("the records can't be read: {error}"));
    let reader = Reader::open(data, Some(master)).await.map_err(unreadable)?;
    let calls = reader.calls(&store::CallQuery::default()).await.map_err(unreadable)?;
    let node = NodeId(0);
    let head = reader.journal_head(node).await.map_err(unreadable)?;
    let mut pages = reader.journal(node, 0, head.sequence);
    let (mut entries, mut facts) = (Vec::new(), Vec::new());
    loop {
        let page = pages.next_page().await.map_err(unreadable)?;
        if page.is_empty() {
            break;
        }
        for entry in &page {
            facts.push(reader.read_entry(entry).await.map_err(unreadable)?.fact);
        }
        entries.extend(page);
    }
    let tampering = Tampering::try_all(node, &entries, head);
    let verified = reader.verify_journal(node, None).await.map_err(unreadable)?;
    let judged = calls.iter().find(|call| call.emergency).and_then(|call| call.decision);
    let locked = match judged {
        Some(decision) => {
            let policy = reader.policy(decision.policy).await.map_err(unreadable)?;
            policy.is_some_and(|policy| policy.lockdown.covers(Scope::Operator))
        }
        None => false,
    };
    reader.close().await;
    let verified = verified.map(|verified| verified.entries).map_err(|broken| broken.to_string());
    Ok(Evidence { calls, facts, locked, verified, tampering })
}

fn summary(say: &mut Teller, claims: &[Claim]) {
    say.act("What was claimed, and what was measured");
    for claim in claims {
        let verdict = say.verdict(claim.holds);
        say.text(&format!("  {verdict}  {}\n", claim.claim));
        say.evidence(&claim.measured);
    }
}

fn ending(holds: bool, folder: &Folder, took: Duration) -> String {
    let mut out = String::from("\n");
    let verdict = if holds { "Every claim holds." } else { "NOT EVERY CLAIM HOLDS." };
    let _ = writeln!(out, "{verdict} It took {:.0} s.", took.as_secs_f64());
    let _ = match folder.kept {
        true => writeln!(
            out,
            "The data is kept. Look at it:\n  ringfence up --data {data}\n  ringfence calls --cost \
             --data {data}",
            data = folder.path.display()
        ),
        false => {
            writeln!(out, "Its data is removed; with --keep DIR you can look at it afterwards.")
        }
    };
    out
}

fn outcome(seen: &Seen, claims: Vec<Claim>, took: Duration) -> Outcome {
    Outcome {
        version: env!("CARGO_PKG_VERSION"),
        holds: claims.iter().all(|claim| claim.holds),
        seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        currency: "USD",
        most: crate::admin::amount::text(seen.theft.most),
        bill: crate::admin::amount::text(seen.theft.bill),
        claims,
    }
}

impl Options {
    #[cfg(feature = "dangerous-test")]
    fn dangerous(&self) -> Dangerous {
        let without = |defence: Defence| {
            matches!(
                (self.dangerous_without, defence),
                (Some(Defence::Encryption), Defence::Encryption)
                    | (Some(Defence::Gate), Defence::Gate)
                    | (Some(Defence::Wall), Defence::Wall)
                    | (Some(Defence::Emergency), Defence::Emergency)
            )
        };
        Dangerous {
            without_encryption: without(Defence::Encryption),
            without_gate: without(Defence::Gate),
            without_wall: without(Defence::Wall),
            without_emergency: without(Defence::Emergency),
            without_media: false,
        }
    }

    /// Nothing can be switched off in what people run.
    #[cfg(not(feature = "dangerous-test"))]
    fn dangerous(&self) -> Dangerous {
        Dangerous::default()
    }
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Trouble> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => {
                let name = format!("ringfence-demo-{:016x}", clock::chance().u64());
                std::env::temp_dir().join(name)
            }
        };
        match std::fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Trouble::new(
                    format!("{} is there already", path.display()),
                    "name a folder that does not exist yet with --keep",
                ));
            }
            Err(error) => {
                return Err(Trouble::new(
                    format!("cannot make {}: {error}", path.display()),
                    "set TMPDIR to a folder that can be written, or name a new one with --keep DIR",
                ));
            }
        }
        let folder = Self { path, kept: keep.is_some() };
        private(&folder.path)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn private(path: &Path) -> Result<(), Trouble> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(path, mode).map_err(|error| Trouble::file("protect", path, &error))
}

/// The advice for a phone system that lost its data is wrong for one that has none.
fn no_room(data: &Path, trouble: Trouble) -> Trouble {
    let (free, _) = crate::admin::work::disk(data).unwrap_or((u64::MAX, 0));
    match free < ROOM_MIN {
        true => trouble.with_remedy(format!(
            "free some space in {}, or set TMPDIR to a folder that has some",
            data.parent().unwrap_or(data).display()
        )),
        false => trouble,
    }
}

fn no_place(error: &std::io::Error) -> Trouble {
    Trouble::new(
        format!("there is no place on loopback: {error}"),
        "the demonstration needs 127.0.0.0/8 and some free ports there",
    )
}

fn broken(why: &str) -> Trouble {
    Trouble::new(
        format!("the demonstration broke off: {why}"),
        "run it again with --log info, and report what it says",
    )
}

const INTRODUCTION: &str = "\
Ringfence attacks itself: real packets against the real program, on this machine
only, with data of its own that is removed at the end. It takes half a minute.
";
/// For the node's legs; on an address that nobody else uses.
const MEDIA_PORTS: &str = "20000-20399";
const UNWRITTEN: &str = "see that what it is written to has room";
/// The demonstration's data, and room to breathe.
const ROOM_MIN: u64 = 16_000_000;
/// As shells report an end by SIGINT.
const INTERRUPTED: u8 = 130;
