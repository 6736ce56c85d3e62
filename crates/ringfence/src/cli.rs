//! The command line of a running node: asks over the admin socket and prints.
//!
//! Data goes to stdout, talk to stderr. Every list is also JSON (`--json`). Exit code 0: done; 1: the
//! node said no, or what was checked does not hold; 2: it could not be asked.

pub(crate) mod print;

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::admin::client;
use crate::admin::protocol::{Answer, Question};

#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// One screen: is all well, and what needs attention
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
        after_help = "Examples:\n  ringfence calls --up\n  ringfence calls --extension 101 --since 2d\n  ringfence calls show 3fa9 --ladder"
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
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
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
        #[command(flatten)]
        json: Json,
    },
    /// List all extensions
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
    /// Remove an extension, its secret and its phones; records of calls stay
    #[command(after_help = "Example:\n  ringfence extension remove 105")]
    Remove {
        /// Its number
        number: String,
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
    /// Only calls that began within the last hours (`4h`), days (`2d`) or minutes (`30m`)
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    since: Option<i64>,
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

/// Asks the node on `data` and prints its answer.
pub(crate) fn run(data: &Path, ask: Ask) -> ExitCode {
    let (question, json) = question(ask);
    match client::ask(data, &question) {
        Ok(Answer::Failed(failure)) => {
            eprintln!("error: {}\n  remedy: {}", failure.wrong, failure.remedy);
            ExitCode::from(1)
        }
        Ok(answer) => {
            let holds = !matches!(&answer, Answer::Verified(verified) if !verified.intact);
            let text = if json { print::json(&answer) } else { print::text(&question, &answer) };
            if let Err(error) = say(&text) {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
            if holds { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(2)
        }
    }
}

/// Writes to stdout. A reader that went away (`| head`) has seen enough; a full disk is a failure.
pub(crate) fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("the output could not be written: {error}"))
        }
        _ => Ok(()),
    }
}

fn question(ask: Ask) -> (Question, bool) {
    match ask {
        Ask::Status(Json { json }) => (Question::Status, json),
        Ask::Extension(ask) => extension_question(ask),
        Ask::Devices { json: Json { json }, ask: None } => (Question::Devices, json),
        Ask::Devices { ask: Some(DeviceAsk::Allow { device, dangerous_plain_rtp }), .. } => {
            (Question::DeviceAllow { device, plain_rtp: dangerous_plain_rtp }, false)
        }
        Ask::Devices { ask: Some(DeviceAsk::Remove { device }), .. } => {
            (Question::DeviceRemove { device }, false)
        }
        Ask::Calls { list: CallList { up, extension, since, limit, json }, ask: None } => {
            (Question::Calls { up, extension, since, limit }, json.json)
        }
        Ask::Calls { ask: Some(CallAsk::Show { call, ladder, json: Json { json } }), .. } => {
            (Question::CallShow { call, ladder }, json)
        }
        Ask::Calls { ask: Some(CallAsk::HangUp { call }), .. } => {
            (Question::HangUp { call }, false)
        }
        Ask::Journal(JournalAsk::Verify { known, json: Json { json } }) => {
            (Question::JournalVerify { known }, json)
        }
        Ask::Journal(JournalAsk::Show { limit, json: Json { json } }) => {
            (Question::JournalShow { limit }, json)
        }
    }
}

fn extension_question(ask: ExtensionAsk) -> (Question, bool) {
    match ask {
        ExtensionAsk::Add { number, name, dangerous_plain_rtp, json: Json { json } } => {
            let allow_plain_rtp = dangerous_plain_rtp;
            (Question::ExtensionAdd { number, name, allow_plain_rtp }, json)
        }
        ExtensionAsk::List(Json { json }) => (Question::ExtensionList, json),
        ExtensionAsk::Show { number, json: Json { json } } => {
            (Question::ExtensionShow { number }, json)
        }
        ExtensionAsk::Reveal { number, json: Json { json } } => {
            (Question::ExtensionReveal { number }, json)
        }
        ExtensionAsk::Rotate { number, grace_days, json: Json { json } } => {
            (Question::ExtensionRotate { number, grace_days }, json)
        }
        ExtensionAsk::Disable { number } => {
            (Question::ExtensionEnable { number, enabled: false }, false)
        }
        ExtensionAsk::Enable { number } => {
            (Question::ExtensionEnable { number, enabled: true }, false)
        }
        ExtensionAsk::Rename { number, name } => {
            (Question::ExtensionRename { number, name }, false)
        }
        ExtensionAsk::Remove { number } => (Question::ExtensionRemove { number }, false),
        ExtensionAsk::Allow { number, dangerous_plain_rtp } => {
            (Question::ExtensionAllow { number, plain_rtp: dangerous_plain_rtp }, false)
        }
    }
}

/// `30m`, `4h`, `2d` as seconds.
fn parse_span(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no time span: write 30m, 4h or 2d");
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
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        ask: Ask,
    }

    fn asked(line: &str) -> (Question, bool) {
        let words = std::iter::once("ringfence").chain(line.split(' '));
        question(Line::try_parse_from(words).expect("a valid line").ask)
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
        let (question, _) = asked("calls --since 2d --limit 5");
        let Question::Calls { since, limit, .. } = question else { panic!("{question:?}") };
        assert_eq!((since, limit), (Some(172_800), 5));
    }

    #[test]
    fn spans_are_whole_and_bounded() {
        assert_eq!(parse_span("30m"), Ok(1_800));
        for wrong in ["", "m", "-1h", "4", "4w", "99999999999h", "é"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
