//! Incidents, and the sinks that alerts go to.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::{Asked, Json, Since, elsewhere, parse_since, print, say, secret, there, trunk, zone};
use crate::admin::client;
use crate::admin::protocol::{Answer, Confidential, MailSecurity, NewChannel, NewSink, Question};
use crate::data_dir::Trouble;

#[derive(Debug, Args)]
pub(crate) struct AlertList {
    /// Stay, and print what comes
    #[arg(long)]
    follow: bool,
    /// Only what began or changed within the last hours (`4h`), days (`2d`) or minutes (`30m`), or on
    /// this day and after it (`2026-11-01`) [default: 7d]
    #[arg(long, value_name = "SPAN", value_parser = parse_since)]
    since: Option<Since>,
    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertAsk {
    /// Show one in full: what happened, what was done, what to do
    #[command(after_help = "Example:\n  ringfence alerts show 4711")]
    Show {
        /// Its number, as the list shows it
        incident: u64,
        #[command(flatten)]
        json: Json,
    },
    /// Where alerts are sent: mailboxes and webhooks
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence alerts sink add webhook --url https://hooks.example.com/ringfence\n  \
                      ringfence alerts sink list"
    )]
    Sink(SinkAsk),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SinkAsk {
    /// Send alerts to a mailbox or a webhook from now on
    #[command(
        subcommand,
        after_help = "Examples:\n  ringfence alerts sink add mail --to you@example.com --from pbx@example.com --server mail.example.com\n  \
                      ringfence alerts sink add webhook --url https://hooks.example.com/ringfence"
    )]
    Add(SinkAdd),
    /// List them: whether each works, and what waits
    #[command(after_help = "Example:\n  ringfence alerts sink list --json")]
    List(Json),
    /// Show one: where it leads, how it fares, and what to do about it
    #[command(after_help = "Example:\n  ringfence alerts sink show 1")]
    Show {
        /// Its number
        #[arg(value_parser = number)]
        sink: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Send no more alerts there; what waits is not sent any more
    #[command(after_help = "Example:\n  ringfence alerts sink remove 1")]
    Remove {
        /// Its number
        #[arg(value_parser = number)]
        sink: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Send a test there now
    #[command(
        after_help = "Exit code 1 where it was not taken.\n\nExample:\n  ringfence alerts sink test 1"
    )]
    Test {
        /// Its number
        #[arg(value_parser = number)]
        sink: u32,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SinkAdd {
    /// A mailbox, through a mail server: encrypted, its certificate checked
    #[command(
        after_help = "The password is never an argument: it is asked for, or read from a file.\n\n\
                      Examples:\n  ringfence alerts sink add mail --to you@example.com --from pbx@example.com --server mail.example.com:587 --user pbx@example.com --secret-file -\n  \
                      ringfence alerts sink add mail --to it@example.com,boss@example.com --from pbx@example.com --server mail.example.com --tls"
    )]
    Mail {
        /// Who gets them
        #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', required = true)]
        to: Vec<String>,
        /// Who they come from; the mail server must take it
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// The mail server [default port: 587, with --tls 465]
        #[arg(long, value_name = "HOST[:PORT]")]
        server: String,
        /// Begin in clear and require STARTTLS (the default)
        #[arg(long, conflicts_with_all = ["tls", "loopback"])]
        starttls: bool,
        /// TLS from the first byte
        #[arg(long, conflicts_with = "loopback")]
        tls: bool,
        /// Without encryption, to a mail server on this machine only; needs --private
        #[arg(long, requires = "private")]
        loopback: bool,
        /// The account at the mail server, where it wants one
        #[arg(long)]
        user: Option<String>,
        /// File with the account's password; `-` asks for it, or reads standard input
        #[arg(long, value_name = "FILE", requires = "user")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
        #[command(flatten)]
        json: Json,
    },
    /// A program that takes each alert as JSON by HTTPS (docs/guide/alerts.md has its form)
    #[command(
        after_help = "Its address is kept sealed. http:// only to this machine, with --private.\n\n\
                      Examples:\n  ringfence alerts sink add webhook --url https://hooks.example.com/ringfence --secret-file -\n  \
                      ringfence alerts sink add webhook --url http://127.0.0.1:9000/ --private"
    )]
    Webhook {
        /// Where to
        #[arg(long)]
        url: String,
        /// File with a secret that each request is signed with; `-` asks for it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// PEM file of the authority to trust instead of the public ones
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// It may be on this machine or in a private network
    #[arg(long)]
    private: bool,
    /// Let this sink lead there instead: its number stays, and what waits is not lost
    #[arg(long, value_name = "SINK", value_parser = number)]
    instead_of: Option<u32>,
}

pub(super) fn list(list: AlertList) -> Asked {
    let AlertList { follow, since, limit, json } = list;
    let (since, from) = match since {
        Some(Since::Span(seconds)) => (Some(seconds), None),
        Some(Since::Date(date)) => (None, Some(date)),
        None => (Some(SINCE_SECONDS), None),
    };
    let question = Question::Alerts { since, from, after: None, limit };
    Asked { follow, ..Asked::new(question, json) }
}

pub(super) fn question(ask: AlertAsk) -> Result<Asked, Trouble> {
    Ok(match ask {
        AlertAsk::Show { incident, json } => Asked::new(Question::AlertShow { incident }, json),
        AlertAsk::Sink(SinkAsk::List(json)) => Asked::new(Question::SinkList, json),
        AlertAsk::Sink(SinkAsk::Show { sink, json }) => {
            Asked::new(Question::SinkShow { sink }, json)
        }
        AlertAsk::Sink(SinkAsk::Remove { sink, json }) => {
            Asked::new(Question::SinkRemove { sink }, json)
        }
        AlertAsk::Sink(SinkAsk::Test { sink, json }) => {
            Asked::new(Question::SinkTest { sink }, json)
        }
        AlertAsk::Sink(SinkAsk::Add(add)) => {
            let (instead_of, new, json) = new_sink(add)?;
            let new = Box::new(new);
            let question = match instead_of {
                Some(sink) => Question::SinkSet { sink, new },
                None => Question::SinkAdd { sink: new },
            };
            Asked::new(question, json)
        }
    })
}

/// The sink in whose place it comes, if any, and what it is.
fn new_sink(add: SinkAdd) -> Result<(Option<u32>, NewSink, Json), Trouble> {
    let (channel, secret_file, of, trust, json) = match add {
        SinkAdd::Mail {
            to,
            from,
            server,
            starttls: _,
            tls,
            loopback,
            user,
            secret_file,
            trust,
            json,
        } => {
            let security = match (tls, loopback) {
                (true, _) => MailSecurity::Tls,
                (_, true) => MailSecurity::Loopback,
                _ => MailSecurity::StartTls,
            };
            // An account without a password is none: whoever gave no file is asked.
            if user.is_some() && secret_file.is_none() && !std::io::stdin().is_terminal() {
                return Err(Trouble::new(
                    "the password of the account at the mail server is missing",
                    "give its file with --secret-file FILE, or - to read it from standard input",
                ));
            }
            let asked = user.as_ref().map(|_| PathBuf::from("-"));
            let channel = NewChannel::Mail { to, from, server, security, user };
            (channel, secret_file.or(asked), secret::MAIL, trust, json)
        }
        SinkAdd::Webhook { url, secret_file, trust, json } => {
            let url = Confidential(Zeroizing::new(url));
            (NewChannel::Webhook { url }, secret_file, secret::WEBHOOK, trust, json)
        }
    };
    let secret = secret_file.as_deref().map(|file| secret::read_of(file, of)).transpose()?;
    let authority = trust.authority.as_deref().map(trunk::authority).transpose()?;
    let new = NewSink { channel, secret, authority, private: trust.private };
    Ok((trust.instead_of, new, json))
}

/// Prints what there is and then what comes, until somebody ends it.
pub(super) fn follow(data: &Path, first: Question, json: bool) -> ExitCode {
    let place = elsewhere(data);
    let mut question = first;
    loop {
        match client::ask(data, &question, &[]) {
            Ok(Answer::Alerts(found)) => {
                let after_all = found.last().map(|one| one.sequence);
                let shown = match json {
                    true => Answer::Alerts(found),
                    false => print::localised(Answer::Alerts(found), || zone(data)),
                };
                let Answer::Alerts(found) = shown else { return ExitCode::from(2) };
                for one in &found {
                    let text = match json {
                        true => print::alert::json_line(one),
                        false => there(&print::alert::line(one), place.as_deref()),
                    };
                    if let Err(error) = say(&text) {
                        eprintln!("error: {error}");
                        return ExitCode::from(2);
                    }
                }
                let Question::Alerts { after, limit, .. } = &question else {
                    return ExitCode::from(2);
                };
                let after = after_all.or(*after).or(Some(0));
                let since = if after == Some(0) { Some(SINCE_SECONDS) } else { None };
                question =
                    Question::Alerts { since, from: None, after, limit: (*limit).max(1_000) };
            }
            Ok(Answer::Failed(failure)) => {
                let said = format!("error: {}\n  remedy: {}", failure.wrong, failure.remedy);
                eprintln!("{}", there(&said, place.as_deref()));
                return ExitCode::from(1);
            }
            Ok(_) => return ExitCode::from(2),
            Err(trouble) => {
                eprintln!("error: {}", there(&trouble.to_string(), place.as_deref()));
                return ExitCode::from(2);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no sink's number: `ringfence alerts sink list` shows them")
    })
}

/// A week.
const SINCE_SECONDS: i64 = 7 * 86_400;
const LOOK_EVERY: Duration = Duration::from_secs(1);
