//! The command line of a running node: asks over the admin socket and prints.
//!
//! Data goes to stdout, talk to stderr. Every list is also JSON (`--json`). Exit code 0: done; 1: the
//! node said no, or what was checked does not hold; 2: it could not be asked.

mod alert;
pub(crate) mod print;
mod rules;
mod secret;
mod trunk;
mod wall;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use guard::zone::Zone;

use crate::admin::amount;
use crate::admin::client;
use crate::admin::protocol::{Answer, CostBy, Question};
use crate::data_dir::{self, Trouble};
use crate::plain;
use alert::{AlertAsk, AlertList};
use rules::{BudgetAsk, LockdownAsk, PolicyAsk, RoleAsk};
use trunk::{NumberAsk, RatesAsk, TrunkAsk};
use wall::{BanAsk, UnbanAsk};

#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// One screen: am I safe, what needs attention, and what to do about it
    #[command(after_help = "Example:\n  ringfence status --json")]
    Status(Json),
    /// Extensions: numbers, names and secrets of phones
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence extension add 101 --name \"Front desk\"\n  ringfence extension list"
    )]
    Extension(ExtensionAsk),
    /// Phones: who is registered, from where, how well protected
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  ringfence devices\n  ringfence devices --json\n  ringfence devices remove 098e"
    )]
    Devices {
        #[command(flatten)]
        json: Json,
        #[command(subcommand)]
        ask: Option<DeviceAsk>,
    },
    /// Calls: those that are up, and the records of past ones
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  ringfence calls --up\n  ringfence calls --extension 101 --since 2d\n  \
                      ringfence calls --since 2026-11-01 --cost --by country\n  ringfence calls show 3fa9 --ladder"
    )]
    Calls {
        #[command(flatten)]
        list: CallList,
        #[command(subcommand)]
        ask: Option<CallAsk>,
    },
    /// The journal: what happened, tamper-evident
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence journal show --limit 20\n  ringfence journal verify"
    )]
    Journal(JournalAsk),
    /// Carriers: connect, test, change
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence trunk add carrier --server sip.example.net --user 4711\n  \
                      ringfence trunk test carrier\n  ringfence trunk list"
    )]
    Trunk(TrunkAsk),
    /// Your numbers at carriers, and who answers them
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence number add +12025550123 --trunk carrier --to 101\n  ringfence number list"
    )]
    Number(NumberAsk),
    /// Roles: who may dial what, when, how much
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence role list\n  ringfence role add sales --like staff\n  \
                      ringfence role set sales --allow international --country LV"
    )]
    Role(RoleAsk),
    /// The rules of calls outside, and why the gate decides as it does
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence policy show\n  ringfence policy explain +37120000000 --from 101\n  \
                      ringfence policy set home DE"
    )]
    Policy(PolicyAsk),
    /// Stop all calls outside at once, emergency excepted, or one extension's
    Lockdown(LockdownAsk),
    /// What calls cost: a carrier's price list
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence rates import carrier.csv --dry-run\n  ringfence rates show +371"
    )]
    Rates(RatesAsk),
    /// What may be spent, what is spent, what is left
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence budget show\n  ringfence budget set --of operator --per week --hard 100\n  \
                      ringfence budget raise 20 --of extension 101 --per day"
    )]
    Budget(BudgetAsk),
    /// The most that could be lost until somebody could act
    #[command(after_help = "Examples:\n  ringfence exposure\n  ringfence exposure --json")]
    Exposure(Json),
    /// Who is shut out, held or slowed down: why, until when, and how to undo it
    #[command(after_help = "Examples:\n  ringfence bans\n  ringfence bans --json")]
    Bans(Json),
    /// Shut an address out; refused where phones or carriers are
    #[command(
        after_help = "Example:\n  ringfence ban 203.0.113.9 --for 2h --why \"rings at night\""
    )]
    Ban(BanAsk),
    /// Let an address in again at once, and forget what is held against it
    #[command(
        after_help = "Examples:\n  ringfence unban 203.0.113.9\n  ringfence unban 203.0.113.9 --account 100"
    )]
    Unban(UnbanAsk),
    /// What went wrong or is being tried: one line for each attacker; and where to tell it
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  ringfence alerts\n  ringfence alerts --follow\n  ringfence alerts --since 2d --json\n  \
                      ringfence alerts sink add mail --to you@example.com --from pbx@example.com --server mail.example.com"
    )]
    Alerts {
        #[command(flatten)]
        list: AlertList,
        #[command(subcommand)]
        ask: Option<AlertAsk>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// How a change of the rules is made.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Saving {
    /// Show what would change, and what could be lost before and after; save nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask, even where the change loosens something; a script must say so
    #[arg(long)]
    yes: bool,
}

/// How something is removed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Sure {
    /// Don't ask; a script must say so
    #[arg(long)]
    yes: bool,
}

/// What is asked of the node, and how its answer is shown.
#[derive(Debug)]
struct Asked {
    question: Question,
    json: bool,
    /// What follows the question.
    body: Vec<u8>,
    yes: bool,
    /// Ask again and again, and print what is new.
    follow: bool,
    /// What is lost by it, where it must be wanted: a sentence.
    confirm: Option<String>,
}

impl Json {
    const NO: Self = Self { json: false };
}

impl Asked {
    fn new(question: Question, Json { json }: Json) -> Self {
        Self { question, json, body: Vec::new(), yes: false, follow: false, confirm: None }
    }

    fn saving(self, saving: Saving) -> Self {
        Self { yes: saving.yes, ..self }
    }

    /// Must be wanted: at a terminal by a word, in a script by `--yes`.
    fn confirm(self, Sure { yes }: Sure, what: impl Into<String>) -> Self {
        Self { yes, confirm: Some(what.into()), ..self }
    }

    /// The same question as one that changes nothing; `None` where it changes no rules.
    fn rehearsal(&self) -> Option<Question> {
        match &self.question {
            Question::PolicyChange { edit, dry_run: false } => {
                Some(Question::PolicyChange { edit: edit.clone(), dry_run: true })
            }
            Question::RatesImport { bytes, dry_run: false } => {
                Some(Question::RatesImport { bytes: *bytes, dry_run: true })
            }
            Question::RatesClear { dry_run: false } => Some(Question::RatesClear { dry_run: true }),
            Question::BudgetReset { of, dry_run: false } => {
                Some(Question::BudgetReset { of: of.clone(), dry_run: true })
            }
            _ => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExtensionAsk {
    /// Add an extension and print what to type into its phone
    #[command(after_help = "Example:\n  ringfence extension add 101 --name \"Front desk\"")]
    Add {
        /// The number to dial, 2 to 8 digits
        number: String,
        /// The name other phones show
        #[arg(long)]
        name: String,
        /// Let its phones send audio unencrypted (shown everywhere as a weakness)
        #[arg(long)]
        dangerous_plain_rtp: bool,
        /// A password of your choice, for tests that guess it
        #[cfg(feature = "dangerous-test")]
        #[arg(long, value_name = "SECRET", conflicts_with = "dangerous_plain_rtp")]
        dangerous_secret: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// List all extensions
    #[command(after_help = "Example:\n  ringfence extension list --json")]
    List(Json),
    /// Show one extension and its phones
    #[command(after_help = "Example:\n  ringfence extension show 101")]
    Show {
        /// Its number
        number: String,
        #[command(flatten)]
        json: Json,
    },
    /// Show the secret again, and all else to type into its phone (written to the journal)
    #[command(after_help = "Example:\n  ringfence extension reveal 101")]
    Reveal {
        /// Its number
        number: String,
        #[command(flatten)]
        json: Json,
    },
    /// Replace the secret; its phones must sign in anew
    #[command(
        after_help = "The former secret keeps making emergency calls for the grace period.\n\nExample:\n  ringfence extension rotate 101 --grace-days 7"
    )]
    Rotate {
        /// Its number
        number: String,
        /// Days for which the former secret still makes emergency calls
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(0..=365))]
        grace_days: u16,
        #[command(flatten)]
        json: Json,
    },
    /// Take an extension out of service, keeping it
    #[command(after_help = "Example:\n  ringfence extension disable 105")]
    Disable {
        /// Its number
        number: String,
    },
    /// Put an extension back into service
    #[command(after_help = "Example:\n  ringfence extension enable 105")]
    Enable {
        /// Its number
        number: String,
    },
    /// Change the name that other phones show
    #[command(after_help = "Example:\n  ringfence extension rename 101 \"Reception\"")]
    Rename {
        /// Its number
        number: String,
        /// The new name
        name: String,
    },
    /// Set the number it shows outside: one of your own, or none for the trunk's
    #[command(
        after_help = "Examples:\n  ringfence extension caller-id 101 +12025550123\n  ringfence extension caller-id 101 none"
    )]
    CallerId {
        /// Its number
        number: String,
        /// The number to show, with its country code, or none
        #[arg(value_name = "+E164")]
        caller_id: String,
    },
    /// Give it a role, or the default one again
    #[command(
        after_help = "Examples:\n  ringfence extension role 101 sales\n  ringfence extension role 101 none"
    )]
    Role {
        /// Its number
        number: String,
        /// The role's name, or none for the default one
        role: String,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// Remove an extension, its secret and its phones; records of calls stay
    #[command(
        after_help = "Refused while a number of yours rings it.\n\nExample:\n  ringfence extension remove 105 --yes"
    )]
    Remove {
        /// Its number
        number: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Allow or withdraw a weakness for all phones of an extension
    #[command(
        after_help = "Examples:\n  ringfence extension allow 105 --dangerous-plain-rtp=true\n  ringfence extension allow 105 --dangerous-plain-rtp=false"
    )]
    Allow {
        /// Its number
        number: String,
        /// Whether its phones may send audio unencrypted
        #[arg(long, value_name = "YES", action = clap::ArgAction::Set)]
        dangerous_plain_rtp: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceAsk {
    /// Allow or withdraw a weakness for one phone
    #[command(after_help = "Example:\n  ringfence devices allow 098e --dangerous-plain-rtp=false")]
    Allow {
        /// Its id, or the beginning of it
        device: String,
        /// Whether it may send audio unencrypted
        #[arg(long, value_name = "YES", action = clap::ArgAction::Set)]
        dangerous_plain_rtp: bool,
    },
    /// Forget a phone; if it signs in again it counts as new
    #[command(after_help = "Example:\n  ringfence devices remove 098e")]
    Remove {
        /// Its id, or the beginning of it
        device: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CallList {
    /// Only calls that are up now
    #[arg(long)]
    up: bool,
    /// Only calls from or to this extension
    #[arg(long, value_name = "NUMBER")]
    extension: Option<String>,
    /// Only calls that began within the last hours (`4h`), days (`2d`) or minutes (`30m`), or on this
    /// day and after it (`2026-11-01`, in the policy's time zone)
    #[arg(long, value_name = "SPAN", value_parser = parse_since)]
    since: Option<Since>,
    /// Show what each cost, and the sums over all calls of that time
    #[arg(long)]
    cost: bool,
    /// What the sums are by [default: extension]
    #[arg(long, value_enum, requires = "cost")]
    by: Option<CostBy>,
    /// How many records at the most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CallAsk {
    /// Show one call: its legs, how each was proved and encrypted, its quality
    #[command(after_help = "Example:\n  ringfence calls show 3fa9 --ladder")]
    Show {
        /// Its id, or the beginning of it
        call: String,
        /// Show the signalling of both legs, decrypted; secrets and digits struck out
        #[arg(long)]
        ladder: bool,
        #[command(flatten)]
        json: Json,
    },
    /// End a call that is up
    #[command(after_help = "Example:\n  ringfence calls hang-up 3fa9")]
    HangUp {
        /// Its id, or the beginning of it
        call: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalAsk {
    /// Check the whole chain: nothing changed, removed or inserted
    #[command(
        after_help = "Examples:\n  ringfence journal verify\n  ringfence journal verify --known 4711:9f86d0…\n\nNote the head it prints somewhere else: it proves what stood before it, even against\nwhoever can write this machine."
    )]
    Verify {
        /// A head printed earlier; what stood before it must still stand
        #[arg(long, value_name = "SEQUENCE:HASH")]
        known: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Show the latest entries, newest last
    #[command(after_help = "Example:\n  ringfence journal show --limit 20")]
    Show {
        /// How many entries at the most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
}

/// When calls began at the earliest.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Since {
    /// Seconds before now.
    Span(i64),
    Date(String),
}

/// Asks the node on `data` and prints its answer.
pub(crate) fn run(data: &Path, ask: Ask) -> ExitCode {
    let place = elsewhere(data);
    let here = |text: &str| there(text, place.as_deref());
    let asked = match question(ask) {
        Ok(asked) => asked,
        Err(trouble) => {
            eprintln!("error: {}", here(&trouble.to_string()));
            return ExitCode::from(2);
        }
    };
    if asked.follow {
        return alert::follow(data, asked.question, asked.json);
    }
    if !rehearse(data, &asked) {
        return ExitCode::from(1);
    }
    let Asked { question, json, body, .. } = asked;
    match client::ask(data, &question, &body) {
        Ok(Answer::Failed(failure)) => {
            let said = |text: &str| plain::lines(&here(text));
            eprintln!("error: {}\n  remedy: {}", said(&failure.wrong), said(&failure.remedy));
            ExitCode::from(1)
        }
        Ok(answer) => {
            let holds = holds(&answer);
            let text = if json {
                print::json(&answer)
            } else {
                here(&print::text(&question, &print::localised(answer, || zone(data))))
            };
            if let Err(error) = say(&text) {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
            if holds { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(trouble) => {
            eprintln!("error: {}", here(&trouble.to_string()));
            ExitCode::from(2)
        }
    }
}

/// The folder as a command must name it, where it isn't the one that is meant without a word.
pub(crate) fn elsewhere(data: &Path) -> Option<String> {
    let root = nix::unistd::geteuid().is_root();
    let usual = data_dir::choose(None, |name| std::env::var_os(name), root).ok();
    let whole = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    if usual.is_some_and(|usual| usual == whole) {
        return None;
    }
    let text = whole.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=@:,".contains(c);
    Some(match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    })
}

/// The same text with every command in it naming this folder: what is pasted must not reach another system.
pub(crate) fn there(text: &str, place: Option<&str>) -> String {
    let Some(place) = place else { return text.to_owned() };
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(PROGRAM) {
        let (before, behind) = rest.split_at(at + PROGRAM.len());
        out.push_str(before);
        let alone = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || "-_./".contains(c));
        let word = behind.trim_start();
        let end = word.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(word.len());
        if alone && word.len() < behind.len() && COMMANDS.contains(&&word[..end]) {
            out.push_str(" --data ");
            out.push_str(place);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

const PROGRAM: &str = "ringfence";
/// All that ask a node, or are one.
const COMMANDS: &[&str] = &[
    "up",
    "status",
    "extension",
    "devices",
    "calls",
    "journal",
    "trunk",
    "number",
    "role",
    "policy",
    "lockdown",
    "rates",
    "budget",
    "exposure",
    "bans",
    "ban",
    "unban",
    "alerts",
];

/// The policy's: tables show its clock. Where nobody says, UTC, which is always named.
fn zone(data: &Path) -> Zone {
    match client::ask(data, &Question::PolicyShow { version: None }, &[]) {
        Ok(Answer::Policy(policy)) => Zone::named(&policy.zone).unwrap_or_else(Zone::utc),
        _ => Zone::utc(),
    }
}

/// Before a change that loosens or removes anything: what changes, and what could be lost before and
/// after. At a terminal it asks; a script says `--yes`. False: not wanted.
fn rehearse(data: &Path, asked: &Asked) -> bool {
    let warning = match &asked.confirm {
        Some(what) => format!("{what}\n"),
        // What is wrong with the question is said once, when it is asked in earnest.
        None => match asked.rehearsal().map(|question| client::ask(data, &question, &asked.body)) {
            Some(Ok(answer)) => match warning(&answer) {
                Some(warning) => warning,
                None => return true,
            },
            Some(Err(_)) | None => return true,
        },
    };
    eprint!("{warning}");
    if asked.yes {
        return true;
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        eprintln!(
            "error: nothing was changed, since nobody can be asked\n  remedy: add --yes to the command"
        );
        return false;
    }
    eprint!("Do it? [y/N] ");
    let mut said = String::new();
    let _ = std::io::stdin().read_line(&mut said);
    let wanted = matches!(said.trim(), "y" | "Y" | "yes");
    if !wanted {
        eprintln!("Nothing was changed.");
    }
    wanted
}

/// `None` where nothing becomes looser.
fn warning(rehearsed: &Answer) -> Option<String> {
    let dearer = |before: &str, after: &str| match (amount::parse(before), amount::parse(after)) {
        (Ok(before), Ok(after)) => after > before,
        _ => before != after,
    };
    let (loosens, what, before, after) = match rehearsed {
        Answer::PolicyChanged(change) => {
            (change.loosens, change.changes.clone(), &change.before, &change.after)
        }
        Answer::RatesChanged(change) => {
            let more = dearer(&change.before.all, &change.after.all);
            let dear = more && change.loosens.is_empty();
            let words = if dear {
                vec!["by the prices of this list".to_owned()]
            } else {
                change.loosens.clone()
            };
            (!change.loosens.is_empty(), words, &change.before, &change.after)
        }
        Answer::BudgetReset(reset) => {
            let words =
                format!("what {} has spent is forgotten: it may be spent once more", reset.of);
            (true, vec![words], &reset.before, &reset.after)
        }
        _ => return None,
    };
    if !loosens && !dearer(&before.all, &after.all) {
        return None;
    }
    let head = match loosens {
        // Neither more nor less: at other times.
        true if what.iter().all(|words| words.starts_with("time zone: ")) => {
            "This moves the hours that your rules speak of:"
        }
        true => "This loosens what protects you:",
        false => "This lets more be lost:",
    };
    if before.summary == after.summary {
        // Other hours, other numbers: not another sum.
        return Some(format!("{head}\n  {}\n  {}\n", what.join("\n  "), after.summary));
    }
    Some(format!(
        "{head}\n  {}\n  before  {}\n  after   {}\n",
        what.join("\n  "),
        before.summary,
        after.summary
    ))
}

/// Whether what was asked for holds: a journal, a trunk under test.
fn holds(answer: &Answer) -> bool {
    match answer {
        Answer::Verified(verified) => verified.intact,
        Answer::TrunkTested(test) => test.passed,
        _ => true,
    }
}

/// Writes to stdout. A reader that went away (`| head`) has seen enough; a full disk is a failure.
pub(crate) fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(plain::lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("the output could not be written: {error}"))
        }
        _ => Ok(()),
    }
}

fn question(ask: Ask) -> Result<Asked, Trouble> {
    Ok(match ask {
        Ask::Status(json) => Asked::new(Question::Status, json),
        Ask::Extension(ask) => extension_question(ask),
        Ask::Devices { json, ask: None } => Asked::new(Question::Devices, json),
        Ask::Devices { ask: Some(DeviceAsk::Allow { device, dangerous_plain_rtp }), .. } => {
            let question = Question::DeviceAllow { device, plain_rtp: dangerous_plain_rtp };
            Asked::new(question, Json::NO)
        }
        Ask::Devices { ask: Some(DeviceAsk::Remove { device }), .. } => {
            Asked::new(Question::DeviceRemove { device }, Json::NO)
        }
        Ask::Calls { list, ask: None } => calls_question(list),
        Ask::Calls { ask: Some(CallAsk::Show { call, ladder, json }), .. } => {
            Asked::new(Question::CallShow { call, ladder }, json)
        }
        Ask::Calls { ask: Some(CallAsk::HangUp { call }), .. } => {
            Asked::new(Question::HangUp { call }, Json::NO)
        }
        Ask::Journal(JournalAsk::Verify { known, json }) => {
            Asked::new(Question::JournalVerify { known }, json)
        }
        Ask::Journal(JournalAsk::Show { limit, json }) => {
            Asked::new(Question::JournalShow { limit }, json)
        }
        Ask::Trunk(ask) => trunk::trunk(ask)?,
        Ask::Number(ask) => trunk::number(ask),
        Ask::Role(ask) => rules::role(ask)?,
        Ask::Policy(ask) => rules::policy(ask)?,
        Ask::Lockdown(ask) => rules::lockdown(ask),
        Ask::Rates(ask) => trunk::rates(ask)?,
        Ask::Budget(ask) => rules::budget(ask)?,
        Ask::Exposure(json) => Asked::new(Question::Exposure, json),
        Ask::Bans(json) => Asked::new(Question::Bans, json),
        Ask::Ban(ask) => wall::ban(ask),
        Ask::Unban(ask) => wall::unban(ask),
        Ask::Alerts { list, ask: None } => alert::list(list),
        Ask::Alerts { ask: Some(ask), .. } => alert::question(ask)?,
    })
}

fn calls_question(list: CallList) -> Asked {
    let CallList { up, extension, since, limit, cost, by, json } = list;
    let (since, from) = match since {
        Some(Since::Span(seconds)) => (Some(seconds), None),
        Some(Since::Date(date)) => (None, Some(date)),
        None => (None, None),
    };
    let costs = cost.then(|| by.unwrap_or(CostBy::Extension));
    Asked::new(Question::Calls { up, extension, since, from, limit, costs }, json)
}

fn extension_question(ask: ExtensionAsk) -> Asked {
    let (question, json) = match ask {
        #[cfg(feature = "dangerous-test")]
        ExtensionAsk::Add { number, name, dangerous_secret: Some(secret), json, .. } => {
            let secret = crate::admin::protocol::Confidential(zeroize::Zeroizing::new(secret));
            (Question::DangerousExtensionAdd { number, name, secret }, json)
        }
        ExtensionAsk::Add { number, name, dangerous_plain_rtp, json, .. } => {
            let allow_plain_rtp = dangerous_plain_rtp;
            (Question::ExtensionAdd { number, name, allow_plain_rtp }, json)
        }
        ExtensionAsk::List(json) => (Question::ExtensionList, json),
        ExtensionAsk::Show { number, json } => (Question::ExtensionShow { number }, json),
        ExtensionAsk::Reveal { number, json } => (Question::ExtensionReveal { number }, json),
        ExtensionAsk::Rotate { number, grace_days, json } => {
            (Question::ExtensionRotate { number, grace_days }, json)
        }
        ExtensionAsk::Enable { number } => {
            (Question::ExtensionEnable { number, enabled: true }, Json::NO)
        }
        ExtensionAsk::Disable { number } => {
            (Question::ExtensionEnable { number, enabled: false }, Json::NO)
        }
        ExtensionAsk::Rename { number, name } => {
            (Question::ExtensionRename { number, name }, Json::NO)
        }
        ExtensionAsk::Remove { number, sure } => {
            let what =
                format!("Extension {number} would be removed, with its secret and its phones.");
            return Asked::new(Question::ExtensionRemove { number }, Json::NO).confirm(sure, what);
        }
        ExtensionAsk::Allow { number, dangerous_plain_rtp } => {
            (Question::ExtensionAllow { number, plain_rtp: dangerous_plain_rtp }, Json::NO)
        }
        ExtensionAsk::CallerId { number, caller_id } => {
            let caller_id = if caller_id == "none" { None } else { Some(caller_id) };
            (Question::ExtensionCallerId { number, caller_id }, Json::NO)
        }
        ExtensionAsk::Role { number, role, saving, json } => {
            return rules::member(number, role, saving, json);
        }
    };
    Asked::new(question, json)
}

/// A span, or a date such as `2026-11-01`; whether that day exists the node knows.
fn parse_since(text: &str) -> Result<Since, String> {
    let is_date = text.len() == 10
        && text
            .char_indices()
            .all(|(at, c)| if at == 4 || at == 7 { c == '-' } else { c.is_ascii_digit() });
    if is_date {
        return Ok(Since::Date(text.to_owned()));
    }
    let since = parse_span(text).map(Since::Span);
    since.map_err(|_| {
        format!("`{text}` is neither a span nor a day: write 30m, 4h, 7d or 2026-11-01")
    })
}

/// `90s`, `2m`, `4h`, `1d` as seconds.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let span = match text.strip_suffix('s') {
        Some(seconds) => seconds.parse().ok().filter(|seconds| *seconds > 0 && *seconds <= 86_400),
        None => parse_span(text).ok().and_then(|seconds| u64::try_from(seconds).ok()),
    };
    span.ok_or_else(|| format!("`{text}` is no time span: write 90s, 2m or 4h"))
}

/// `30m`, `4h`, `2d` as seconds.
fn parse_span(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no time span: write 30m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    if !(1..=100_000).contains(&count) {
        return Err(wrong());
    }
    Ok(count * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{
        AtMost, Confidential, Edit, Key, PolicyChange, Reach, RoleChange, TrunkAccess,
        TrunkSettings, Whose,
    };
    use clap::{CommandFactory as _, Parser};
    use guard::ledger::Window;
    use guard::number::Class;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        ask: Ask,
    }

    /// As a shell splits them, with double quotes only.
    fn shell(words: &str) -> Vec<String> {
        let mut parts = vec!["ringfence".to_owned()];
        for (at, part) in words.split('"').enumerate() {
            match at % 2 {
                0 => parts.extend(part.split_whitespace().map(str::to_owned)),
                _ => parts.push(part.to_owned()),
            }
        }
        parts
    }

    fn line(words: &str) -> Result<Asked, String> {
        let ask = Line::try_parse_from(shell(words)).map_err(|error| error.to_string())?.ask;
        question(ask).map_err(|trouble| trouble.to_string())
    }

    fn asked(words: &str) -> (Question, bool) {
        let asked = line(words).unwrap_or_else(|error| panic!("{words}: {error}"));
        (asked.question, asked.json)
    }

    fn edit(words: &str) -> Edit {
        match asked(words).0 {
            Question::PolicyChange { edit, .. } => edit,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn lines_become_questions() {
        let (question, json) = asked("extension add 101 --name Desk --json");
        let expected = Question::ExtensionAdd {
            number: "101".into(),
            name: "Desk".into(),
            allow_plain_rtp: false,
        };
        assert_eq!((question, json), (expected, true));
        assert_eq!(asked("devices --json"), (Question::Devices, true));
        let (question, _) = asked("calls show 3fa9 --ladder");
        assert_eq!(question, Question::CallShow { call: "3fa9".into(), ladder: true });
        let (question, _) = asked("ban 203.0.113.9 --for 2h --why \"rings at night\"");
        let (source, why) = ("203.0.113.9".to_owned(), "rings at night".to_owned());
        assert_eq!(question, Question::Ban { source: source.clone(), seconds: 7_200, why });
        let (question, _) = asked("unban 203.0.113.9 --account 100");
        assert_eq!(question, Question::Unban { source, account: Some("100".to_owned()) });
        assert_eq!(asked("bans --json"), (Question::Bans, true));
        let (question, _) = asked("calls --since 2d --limit 5");
        let Question::Calls { since, limit, .. } = question else { panic!("{question:?}") };
        assert_eq!((since, limit), (Some(172_800), 5));
    }

    #[test]
    fn a_trunk_is_said_with_all_it_needs_and_its_secret_comes_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret\n").unwrap();
        let words = format!(
            "trunk add carrier --server sip.example.net:5061 --user 4711 --secret-file {} --register \
             --codecs PCMA,PCMU --channels 20 --silence-limit 90s --longest 2h --asserted-identity \
             --allow-md5 --caller-id +12025550123",
            file.display()
        );
        let (Question::TrunkAdd { name, settings }, false) = asked(&words) else { panic!() };
        assert_eq!(name, "carrier");
        let expected = TrunkSettings {
            server: Some("sip.example.net:5061".to_owned()),
            access: Some(TrunkAccess::Register),
            user: Some("4711".to_owned()),
            secret: Some(Confidential(zeroize::Zeroizing::new("s3cret".to_owned()))),
            caller_id: Some("+12025550123".to_owned()),
            asserted: Some(true),
            codecs: Some(vec!["PCMA".to_owned(), "PCMU".to_owned()]),
            channels: Some(20),
            silence_limit_seconds: Some(90),
            longest_seconds: Some(7_200),
            allow_md5: Some(true),
            ..TrunkSettings::default()
        };
        assert_eq!(*settings, expected);
        // A secret can't be said on the line, and never shows in a log.
        assert!(line("trunk add x --server y --user z --secret w").is_err());
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
    }

    #[test]
    fn a_trunk_that_knows_us_by_address_may_have_further_addresses() {
        let of = |words: &str| match asked(words).0 {
            Question::TrunkAdd { settings, .. } | Question::TrunkSet { settings, .. } => *settings,
            other => panic!("{other:?}"),
        };
        let two = of("trunk add x --server 192.0.2.7 --address 192.0.2.8,2001:db8::1");
        let expected = vec!["192.0.2.8".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(two.access, Some(TrunkAccess::Address(expected)));
        let none = of("trunk add x --address --server 192.0.2.7");
        assert_eq!(none.access, Some(TrunkAccess::Address(Vec::new())));
        let changed = of("trunk set x --dangerous-plain-rtp=false --codecs all --caller-id none");
        let expected = TrunkSettings {
            plain_rtp: Some(false),
            codecs: Some(Vec::new()),
            caller_id: Some(String::new()),
            ..TrunkSettings::default()
        };
        assert_eq!(changed, expected);
        assert!(line("trunk add x --register --address 192.0.2.1 --server y").is_err());
        assert!(line("trunk set x").unwrap_err().contains("remedy: "));
    }

    #[test]
    fn rules_are_said_as_people_say_them() {
        let expected = Edit::RoleSet {
            name: "sales".to_owned(),
            change: RoleChange {
                allow: vec![Class::International, Class::Mobile],
                countries: vec!["LV".parse().unwrap(), "EE".parse().unwrap()],
                hours: Some("mon-fri 08:00-18:00".to_owned()),
                longest_seconds: Some(7_200),
                price_max: Some("0.50".to_owned()),
                ..RoleChange::default()
            },
        };
        let words = "role set sales --allow international,mobile --country lv,EE \
                     --hours \"mon-fri 08:00-18:00\" --longest 2h --price-max 0.50";
        assert_eq!(edit(words), expected);
        let member = |role: Option<&str>| Edit::Member {
            extension: "101".to_owned(),
            role: role.map(str::to_owned),
        };
        assert_eq!(edit("extension role 101 sales"), member(Some("sales")));
        assert_eq!(edit("extension role 101 none"), member(None));
        let home = Edit::Set { key: Key::Home, value: "DE".to_owned() };
        assert_eq!(edit("policy set home DE"), home);
        for wrong in [
            "role set sales",
            "role set sales --allow unknown",
            "role set sales --country Latvia",
            "role set sales --price-max 1,50",
            "policy set home DE FR",
            "policy set colour red",
        ] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lockdown_is_said_in_two_ways() {
        let locked = |reach, on| Edit::Lockdown { reach, on };
        assert_eq!(edit("lockdown on"), locked(Reach::Everything, true));
        assert_eq!(edit("policy set lockdown off"), locked(Reach::Everything, false));
        let extension = Reach::Extension("104".to_owned());
        assert_eq!(edit("lockdown on --extension 104"), locked(extension.clone(), true));
        assert_eq!(edit("policy set lockdown on extension 104"), locked(extension, true));
        assert_eq!(edit("lockdown off --tenant"), locked(Reach::Tenant, false));
        assert_eq!(edit("lockdown on --trunk x"), locked(Reach::Trunk("x".to_owned()), true));
        assert_eq!(edit("lockdown on --role x"), locked(Reach::Role("x".to_owned()), true));
        for wrong in ["lockdown", "lockdown on --role x --tenant", "policy set lockdown maybe"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn budgets_are_said_with_whose_and_when() {
        let expected = Edit::Budget {
            of: Whose::Extension("101".to_owned()),
            window: Window::Day,
            soft: Some("none".to_owned()),
            hard: Some("0.0045".to_owned()),
        };
        let words = "budget set --of extension 101 --per day --hard 0.0045 --soft none";
        assert_eq!(edit(words), expected);
        let expected =
            Edit::Raise { of: Whose::Operator, window: Window::Week, by: "12.5".to_owned() };
        assert_eq!(edit("budget raise 12.5 --of operator --per week"), expected);
        let (question, _) = asked("budget reset --of role sales");
        assert_eq!(
            question,
            Question::BudgetReset { of: Whose::Role("sales".to_owned()), dry_run: false }
        );
        for wrong in [
            "budget set --of extension --per day --hard 1",
            "budget set --of everybody --per day --hard 1",
            "budget set --of operator --per month --hard 1",
            "budget set --of operator --per day",
            "budget set --of operator --per day --hard -1",
            "budget raise 1e3 --of operator --per day",
        ] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn calls_are_asked_for_since_a_span_or_a_day() {
        let of = |words: &str| match asked(words).0 {
            Question::Calls { since, from, costs, .. } => (since, from, costs),
            other => panic!("{other:?}"),
        };
        assert_eq!(of("calls --since 7d --cost"), (Some(604_800), None, Some(CostBy::Extension)));
        let by_day = (None, Some("2026-11-01".to_owned()), Some(CostBy::Day));
        assert_eq!(of("calls --since 2026-11-01 --cost --by day"), by_day);
        for wrong in ["calls --by day", "calls --since yesterday", "calls --since 2026-11-1"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_price_list_is_read_here_and_sent_behind_the_question() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rates.csv");
        std::fs::write(&file, "prefix,rate\n371,0.05\n").unwrap();
        let asked = line(&format!("rates import {} --dry-run", file.display())).unwrap();
        assert_eq!(asked.question, Question::RatesImport { bytes: 21, dry_run: true });
        assert_eq!(asked.body, b"prefix,rate\n371,0.05\n");
        std::fs::write(&file, "").unwrap();
        for name in ["rates.csv", "missing.csv"] {
            let words = format!("rates import {}", folder.path().join(name).display());
            assert!(line(&words).unwrap_err().contains("remedy: "), "{name}");
        }
        // One longer than the bound is refused unread: this one takes no room on the disk.
        std::fs::File::create(&file).unwrap().set_len(65 << 20).unwrap();
        let words = format!("rates import {}", file.display());
        assert!(line(&words).unwrap_err().contains("larger than 64 MiB"));
    }

    #[test]
    fn every_command_shows_an_example_that_can_be_typed() {
        fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !path.is_empty() {
                found.push((path.to_owned(), help));
            }
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                leaves(sub, &format!("{path} {}", sub.get_name()), found);
            }
        }
        let mut found = Vec::new();
        leaves(&Line::command(), "", &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for (path, help) in found {
            let example = format!("ringfence{path}");
            assert!(help.contains(&example), "no example in `{example} --help`: {help}");
            for typed in help.lines().filter_map(|line| line.trim().strip_prefix("ringfence ")) {
                let parts = shell(typed.split(" > ").next().unwrap());
                let parsed = Line::try_parse_from(parts);
                assert!(parsed.is_ok(), "`{typed}`: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn what_loosens_is_told_before_it_is_saved() {
        let at_most = |all: &str| AtMost {
            all: all.to_owned(),
            summary: format!("At most {all} USD."),
            ..AtMost::default()
        };
        let change = |loosens, before, after| {
            let changes = vec!["role staff may dial numbers of LV".to_owned()];
            let (before, after) = (at_most(before), at_most(after));
            let still_locked = Vec::new();
            let (saved, from, version) = (false, 1, 2);
            let change = PolicyChange {
                saved,
                from,
                version,
                changes,
                loosens,
                still_locked,
                before,
                after,
            };
            warning(&Answer::PolicyChanged(Box::new(change)))
        };
        let expected = "This loosens what protects you:
  role staff may dial numbers of LV
  before  At most 9.00 USD.
  after   At most 23.40 USD.
";
        assert_eq!(change(true, "9.00", "23.40").as_deref(), Some(expected));
        // The same sum is said once.
        assert_eq!(change(true, "9.00", "9.00").unwrap().matches("At most").count(), 1);
        // What more could be lost needs a word of its own where no rule is loosened.
        assert!(change(false, "9.00", "10.00").unwrap().starts_with("This lets more be lost:"));
        // 10 is more than 9, whatever their letters; a tighter rule is no warning.
        assert!(change(false, "9.00", "10.00").is_some());
        assert_eq!(change(false, "9.00", "9.00"), None);
    }

    /// What `trunk test` advises can be typed.
    #[test]
    fn remedies_of_a_trunk_are_commands() {
        use crate::admin::work::trunks::{remedy, remedy_of_weakness};
        let weaknesses = [
            "signalling is not encrypted",
            "audio keys travel in clear signalling",
            "audio is not encrypted",
            "digest may use MD5",
            "digest MD5",
            "answers OPTIONS with 404",
        ];
        let of_steps = pbx::command::Mend::ALL.map(|mend| remedy(mend, "carrier"));
        let of_weaknesses = weaknesses.map(|weakness| remedy_of_weakness(weakness, "carrier"));
        let mut commands = 0;
        for remedy in of_steps.iter().chain(&of_weaknesses) {
            let Some((_, command)) = remedy.split_once(":  ringfence ") else {
                assert!(!remedy.contains("--"), "{remedy}");
                continue;
            };
            let read = Line::try_parse_from(shell(command));
            assert!(read.is_ok(), "{remedy}: {:?}", read.err());
            commands += 1;
        }
        assert_eq!(commands, 16);
    }

    #[test]
    fn what_removes_or_weakens_must_be_wanted() {
        for words in [
            "extension remove 105",
            "trunk remove carrier",
            "trunk set carrier --dangerous-plain-rtp",
        ] {
            let asked = line(words).unwrap();
            assert!(asked.confirm.is_some() && !asked.yes, "{words}");
            assert!(line(&format!("{words} --yes")).unwrap().yes, "{words}");
        }
        assert_eq!(line("trunk set carrier --dangerous-plain-rtp=false").unwrap().confirm, None);
        for words in ["budget reset --of operator", "rates clear"] {
            assert!(line(words).unwrap().rehearsal().is_some(), "{words}");
        }
    }

    /// Pasted as root, a command without the folder would begin a second system.
    #[test]
    fn commands_name_the_folder_where_it_is_not_the_usual_one() {
        let text = "no ringfence is running on /x. remedy: start it with `ringfence up`, see\n    ringfence \
                    status; ringfence\n  alerts sink test 1; not-ringfence status, ringfence demo\n";
        assert_eq!(there(text, None), text);
        let moved = there(text, Some("/x"));
        for part in [
            "no ringfence is running",
            "`ringfence --data /x up`",
            "ringfence --data /x status;",
            "ringfence --data /x\n  alerts sink",
            "not-ringfence status, ringfence demo",
        ] {
            assert!(moved.contains(part), "{part} in {moved}");
        }
        // What it prints can be parsed: the folder may stand before the command.
        assert_eq!(
            elsewhere(Path::new("/tmp/o'brien's")).as_deref(),
            Some("'/tmp/o'\\''brien'\\''s'")
        );
    }

    #[test]
    fn every_command_that_asks_a_node_names_its_folder() {
        let names: Vec<String> =
            Line::command().get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        for name in names.iter().filter(|name| *name != "help") {
            assert!(COMMANDS.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn spans_are_whole_and_bounded() {
        assert_eq!(parse_span("30m"), Ok(1_800));
        for wrong in ["", "m", "-1h", "4", "4w", "99999999999h", "é"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
