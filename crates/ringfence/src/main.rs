//! The binary: everything of Ringfence that touches the world.
//!
//! `node` brings a node up, `lifecycle` keeps it and takes it down. In between, `front` judges what arrives by its source,
//! `kernel` drops what it can before that, `datagrams` and `flows` hold the SIP sockets and
//! connections, `media` the audio, `keeper` the way to the store, and `exchange_thread` runs the pure
//! exchange that all of them feed. `config` and `data_dir` say with what, `authority` and `tls` make
//! it trustworthy, `home` decides where it stands, `carrier` and `locate` lead out, `status_page` shows it, `admin` answers whoever may ask on this machine, and `cli`
//! asks.

mod admin;
mod alerts;
mod authority;
mod carrier;
mod cli;
mod clock;
mod config;
mod credentials;
mod data_dir;
mod datagrams;
mod demo;
mod exchange_thread;
mod flows;
mod front;
mod home;
mod keeper;
mod kernel;
mod lifecycle;
mod locate;
mod media;
mod node;
mod plain;
mod status_page;
mod tls;

use std::any::Any;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use guard::gate::Gate;
use guard::number::Country;
use guard::policy::Policy;
use guard::rate::RateDeck;
use pbx::exchange::{Exchange, Setup};
use pbx::registrar::RegistrarSettings;
use pbx::settings::{Dangerous, Settings};
use pure::{Instant, Now};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Config;
use crate::data_dir::Trouble;
use crate::exchange_thread::Engine;
use crate::lifecycle::End;
use crate::node::Facing;

/// A call is some hundred allocations of short life, made on one thread and often freed on another: the system's
/// allocator took a sixth of the exchange's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A secure phone system: every leg encrypted or refused, losses bounded, emergency calls always.
#[derive(Parser)]
#[command(
    name = "ringfence",
    version,
    after_help = "First steps:\n  ringfence up --name pbx.example.com\n  ringfence extension add 101 --name \"Front desk\"\n  ringfence status"
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Task,
}

/// Which node is meant.
#[derive(Args)]
struct Place {
    /// Data folder [default: $STATE_DIRECTORY, /var/lib/ringfence as root, $XDG_DATA_HOME/ringfence]
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    data: Option<PathBuf>,
    /// Configuration file [default: ringfence.toml in the data folder, if there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    config: Option<PathBuf>,
    /// What goes to the log: error, warn, info, debug, trace, or per part, as in info,ringfence=debug
    /// [default: info; demo: error]
    #[arg(long, global = true, value_name = "LEVELS", help_heading = EVERYWHERE)]
    log: Option<Targets>,
}

#[derive(Subcommand)]
enum Task {
    /// Run the phone system; the first start makes everything it needs
    #[command(after_help = "Example:\n  ringfence up --name pbx.example.com")]
    Up {
        /// A name or address that phones reach this host by, for its certificate (repeatable)
        #[arg(long = "name", value_name = "HOST", value_parser = host)]
        names: Vec<String>,
        /// The home country, as ISO 3166 (DE, US): it decides which numbers call for help and what is
        /// abroad. First start only [default: from the locale, else US]
        #[arg(long, value_name = "COUNTRY", value_parser = country)]
        home: Option<Country>,
        /// Count no failures, ban nobody, answer scanners: for tests that attack it
        #[cfg(feature = "dangerous-test")]
        #[arg(long)]
        dangerous_without_wall: bool,
        /// Open no ports for audio: for benchmarks of signalling alone
        #[cfg(feature = "dangerous-test")]
        #[arg(long)]
        dangerous_without_media: bool,
    },
    /// Attack this program before your eyes, on this machine and on data of its own: half a minute
    #[command(
        after_help = "Examples:\n  ringfence demo\n  ringfence demo --json\n  ringfence demo --keep /tmp/ringfence-demo"
    )]
    Demo(demo::Options),
    /// The configuration file: is it sound, and what can stand in it
    #[command(after_help = "Examples:\n  ringfence config check\n  ringfence config keys")]
    Config {
        #[command(subcommand)]
        task: ConfigTask,
    },
    #[command(flatten)]
    Ask(cli::Ask),
}

#[derive(Subcommand)]
enum ConfigTask {
    /// Judge the file without starting anything
    #[command(after_help = "Example:\n  ringfence config check --data /var/lib/ringfence")]
    Check,
    /// Print the table of every key
    #[command(after_help = "Example:\n  ringfence config keys")]
    Keys,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tls::install_provider();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // Between the lines of a story only what broke has a place.
    let level = if matches!(cli.command, Task::Demo(_)) { Level::ERROR } else { Level::INFO };
    let usual = || Targets::new().with_default(level);
    let log = cli.place.log.clone().unwrap_or_else(usual);
    tracing_subscriber::registry().with(lines).with(log).init();
    match run(cli) {
        Ok(code) => code,
        // To the person who typed the command, not to the log.
        Err(message) => {
            eprintln!("ringfence: {message}");
            ExitCode::from(MISTAKE)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, String> {
    let in_words = |trouble: Trouble| trouble.to_string();
    match cli.command {
        Task::Demo(options) => demo::run(&options),
        Task::Up {
            names,
            home,
            #[cfg(feature = "dangerous-test")]
            dangerous_without_wall,
            #[cfg(feature = "dangerous-test")]
            dangerous_without_media,
        } => {
            #[cfg(feature = "dangerous-test")]
            let dangerous = Dangerous {
                without_wall: dangerous_without_wall,
                without_media: dangerous_without_media,
                ..Dangerous::default()
            };
            #[cfg(not(feature = "dangerous-test"))]
            let dangerous = Dangerous::default();
            let (data, config) = cli.place.read()?;
            let runtime = tokio::runtime::Runtime::new()
                .map_err(|error| format!("the runtime could not be started: {error}"))?;
            let end = runtime
                .block_on(async {
                    let node =
                        node::bring_up(config, &data, &names, home, dangerous, exchange(dangerous))
                            .await?;
                    lifecycle::live(node, cli::elsewhere(&data).as_deref()).await
                })
                .map_err(in_words)?;
            // Connections that are up end with the process.
            runtime.shutdown_background();
            Ok(match end {
                End::Clean => ExitCode::SUCCESS,
                End::Cut => ExitCode::FAILURE,
            })
        }
        Task::Ask(ask) => Ok(cli::run(&cli.place.folder()?, ask)),
        Task::Config { task: ConfigTask::Check } => {
            let file = cli.place.file()?;
            let (data, config) = cli.place.read()?;
            node::check_folder(&data).map_err(in_words)?;
            let realms = match config.realms.len() {
                1 => "1 realm".to_owned(),
                more => format!("{more} realms"),
            };
            let verdict = match file.exists() {
                true => format!("{} is sound: {realms}.\n", file.display()),
                false => {
                    format!("There is no {}: the defaults hold, {realms}.\n", file.display())
                }
            };
            cli::say(&verdict)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Config { task: ConfigTask::Keys } => {
            cli::say(&config::table())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Place {
    fn folder(&self) -> Result<PathBuf, String> {
        let root = nix::unistd::geteuid().is_root();
        data_dir::choose(self.data.clone(), |name| std::env::var_os(name), root)
            .map_err(|trouble| trouble.to_string())
    }

    /// The configuration file that would be read.
    fn file(&self) -> Result<PathBuf, String> {
        match &self.config {
            Some(named) => Ok(named.clone()),
            None => Ok(self.folder()?.join("ringfence.toml")),
        }
    }

    /// The data folder, and the configuration in force.
    fn read(self) -> Result<(PathBuf, Config), String> {
        let data = self.folder()?;
        let config = config::load(&self.file()?, self.config.is_some())
            .map_err(|mistake| mistake.to_string())?;
        Ok((data, config))
    }
}

/// How the exchange of this node is built, at start and after each fault.
fn exchange(
    dangerous: Dangerous,
) -> impl FnOnce(Facing) -> Box<dyn Fn(pbx::record::Loaded, Now) -> Exchange + Send> {
    move |facing| {
        Box::new(move |loaded, now| {
            let registrar = RegistrarSettings::default();
            let policy = loaded.policy.clone().unwrap_or_else(|| Policy::first(registrar.home));
            let deck = loaded.deck.clone();
            let deck = deck.unwrap_or_else(|| Arc::new(RateDeck::estimates(policy.currency)));
            let registrar = RegistrarSettings { home: policy.home, ..registrar };
            let gate = Gate::new(policy, deck);
            let Facing { node, realms, calls_max } = facing.clone();
            let settings = Settings { dangerous, ..Settings::for_calls(calls_max) };
            let chance = clock::chance();
            Exchange::new(now, Setup { node, settings, registrar, gate, realms, loaded, chance })
        })
    }
}

impl Engine for Exchange {
    fn handle(&mut self, now: Now, input: pbx::io::Input) {
        Exchange::handle(self, now, input);
    }

    fn poll_output(&mut self) -> Option<pbx::io::Output> {
        Exchange::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Exchange::poll_timeout(self)
    }
}

fn country(text: &str) -> Result<Country, String> {
    guard::numbering::named(text)
}

fn host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() || config::is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a host name or an address is expected, for example pbx.example.com".to_owned())
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// Options that every command takes come last in its help.
const EVERYWHERE: &str = "Options of every command";
/// The exit status of what a person must mend: configuration, ports, folders.
const MISTAKE: u8 = 2;
