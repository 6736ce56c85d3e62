//! Carriers, numbers at them, and rates.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Asked, Json, Saving, Sure, parse_seconds, secret};
use crate::admin::protocol::{DECK_MAX, Question, TrunkAccess, TrunkSettings, TrunkTransport};
use crate::data_dir::Trouble;

#[derive(Debug, Subcommand)]
pub(crate) enum TrunkAsk {
    /// Connect a carrier: encrypted and without MD5 unless you say otherwise
    #[command(
        after_help = "Without --register or --address: with a user it registers, else the carrier knows us by our\n\
                      address. The secret is never an argument: it is asked for, or read from a file.\n\n\
                      Examples:\n  ringfence trunk add carrier --server sip.example.net --user 4711\n  \
                      ringfence trunk add office --server 192.0.2.7:5061 --address 192.0.2.8,192.0.2.9\n  \
                      ringfence trunk add old --server sip.example.org --user 4711 --secret-file secret.txt \
                      --transport udp --dangerous-plain-rtp --allow-md5"
    )]
    Add {
        /// What people call it: letters, digits, dots, dashes, underscores
        name: String,
        #[command(flatten)]
        options: Box<TrunkOptions>,
        #[command(flatten)]
        json: Json,
    },
    /// List all trunks: where they lead, whether they are up, what is weak
    #[command(after_help = "Example:\n  ringfence trunk list --json")]
    List(Json),
    /// Show one trunk with all its settings
    #[command(after_help = "Example:\n  ringfence trunk show carrier")]
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// Look it up, connect, register and ask how it is; places no call
    #[command(
        after_help = "Exit code 1 where a step failed.\n\nExample:\n  ringfence trunk test carrier"
    )]
    Test {
        /// Its name
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// Change a trunk: only what is given changes
    #[command(
        after_help = "Examples:\n  ringfence trunk set carrier --channels 20 --priority 5\n  \
                      ringfence trunk set carrier --secret-file -\n  \
                      ringfence trunk set carrier --dangerous-plain-rtp=false"
    )]
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        options: Box<TrunkOptions>,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        json: Json,
    },
    /// Put a trunk back into service
    #[command(after_help = "Example:\n  ringfence trunk enable carrier")]
    Enable {
        /// Its name
        name: String,
    },
    /// Take a trunk out of service, keeping it
    #[command(after_help = "Example:\n  ringfence trunk disable carrier")]
    Disable {
        /// Its name
        name: String,
    },
    /// Remove a trunk that has no numbers any more; records of calls stay
    #[command(after_help = "Example:\n  ringfence trunk remove carrier --yes")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct TrunkOptions {
    /// The carrier's host name or address; without a port, DNS names it
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<String>,
    /// How signalling travels [default: tls]
    #[arg(long, value_enum)]
    transport: Option<TrunkTransport>,
    /// We register there, with the account of --user
    #[arg(long, conflicts_with = "address")]
    register: bool,
    /// The carrier knows our address; these further ones of its may send calls
    #[arg(long, value_name = "IP,…", value_delimiter = ',', num_args = 0..=1)]
    address: Option<Vec<IpAddr>>,
    /// The account's name at the carrier
    #[arg(long)]
    user: Option<String>,
    /// The name in credentials, where it differs; "" for none
    #[arg(long, value_name = "USER")]
    auth_user: Option<String>,
    /// File with the account's secret; `-` asks for it, or reads standard input
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Our side of it, as the configuration file calls it [default: carrier, else the first]
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// Shown for callers without a number of their own, and for emergency call-backs; or none
    #[arg(long, value_name = "+E164")]
    caller_id: Option<String>,
    /// Tell the caller's number in P-Asserted-Identity
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    asserted_identity: Option<bool>,
    /// The account stands in From, not the caller's number
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    from_account: Option<bool>,
    /// Ask the carrier not to show the caller
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    private: Option<bool>,
    /// Codecs allowed, preferred first; or all
    #[arg(long, value_name = "PCMA,PCMU,…", value_delimiter = ',')]
    codecs: Option<Vec<String>>,
    /// Calls that the carrier takes at once [default: 10]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=27_000))]
    channels: Option<u16>,
    /// Lower is tried first [default: 10]
    #[arg(long, value_name = "N")]
    priority: Option<u16>,
    /// A call without audio from the carrier ends after this, 60s to 1h [default: 120s]
    #[arg(long, value_name = "SPAN", value_parser = parse_seconds)]
    silence_limit: Option<u64>,
    /// The longest a call may last, 1m to 24h [default: 4h]
    #[arg(long, value_name = "SPAN", value_parser = parse_seconds)]
    longest: Option<u64>,
    /// PEM file of the authority that signs the carrier's certificate; or public [default: public]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Let audio travel unencrypted (shown everywhere as a weakness)
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dangerous_plain_rtp: Option<bool>,
    /// Answer a challenge in MD5 (shown everywhere as a weakness)
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_md5: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NumberAsk {
    /// Say which extension answers a number; adds it, or moves it
    #[command(
        after_help = "Example:\n  ringfence number add +12025550123 --trunk carrier --to 101"
    )]
    Add {
        /// The number, with its country code
        #[arg(value_name = "+E164")]
        number: String,
        /// The trunk that its calls come from
        #[arg(long, value_name = "NAME")]
        trunk: String,
        /// The extension that answers
        #[arg(long, value_name = "NUMBER")]
        to: String,
    },
    /// List the numbers you have at carriers
    #[command(after_help = "Example:\n  ringfence number list --json")]
    List(Json),
    /// Remove a number: its calls are refused then
    #[command(after_help = "Example:\n  ringfence number remove +12025550123")]
    Remove {
        /// The number, with its country code
        #[arg(value_name = "+E164")]
        number: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RatesAsk {
    /// Read a carrier's price list; it replaces the present one as a whole
    #[command(
        after_help = "CSV with a line of headers, separated by comma, semicolon or tab: columns are found by their\n\
                      names (prefix or code; rate or price; and, where there are, connect fee, increment,\n\
                      destination, effective date). Lines that take effect later are counted, not applied.\n\
                      Whatever can't be read is named with its line, and nothing is imported.\n\n\
                      Examples:\n  ringfence rates import carrier.csv --dry-run\n  ringfence rates import carrier.csv"
    )]
    Import {
        /// The file, 64 MiB at most
        file: PathBuf,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// What a call to a number costs, and which lines of the price list are about it
    #[command(
        after_help = "Examples:\n  ringfence rates show +37120000000\n  ringfence rates show +371"
    )]
    Show {
        /// A number, or the beginning of one
        number: String,
        #[command(flatten)]
        json: Json,
    },
    /// List the price list
    #[command(after_help = "Example:\n  ringfence rates list --limit 20")]
    List {
        /// How many lines at the most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Write the price list as CSV, as it can be imported
    #[command(after_help = "Example:\n  ringfence rates export > rates.csv")]
    Export,
    /// Forget the price list: cautious estimates hold then
    #[command(after_help = "Example:\n  ringfence rates clear --dry-run")]
    Clear {
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
}

pub(super) fn trunk(ask: TrunkAsk) -> Result<Asked, Trouble> {
    Ok(match ask {
        TrunkAsk::Add { name, options, json } => {
            let mut options = *options;
            // An account without a secret is none: whoever gave no file is asked.
            if options.user.is_some() && options.secret_file.is_none() {
                options.secret_file = Some(PathBuf::from("-"));
            }
            let settings = Box::new(settings(options)?);
            Asked::new(Question::TrunkAdd { name, settings }, json)
        }
        TrunkAsk::List(json) => Asked::new(Question::TrunkList, json),
        TrunkAsk::Show { name, json } => Asked::new(Question::TrunkShow { name }, json),
        TrunkAsk::Test { name, json } => Asked::new(Question::TrunkTest { name }, json),
        TrunkAsk::Set { name, options, sure, json } => {
            let settings = Box::new(settings(*options)?);
            if *settings == TrunkSettings::default() {
                return Err(Trouble::new(
                    "nothing was said to change",
                    "name what changes; `ringfence trunk set --help` shows what can",
                ));
            }
            let what = (settings.plain_rtp == Some(true)).then(|| {
                format!("Audio of calls over {name} would travel unencrypted: whoever sees it can listen.")
            });
            let asked = Asked::new(Question::TrunkSet { name, settings }, json);
            match what {
                Some(what) => asked.confirm(sure, what),
                None => asked,
            }
        }
        TrunkAsk::Enable { name } => {
            Asked::new(Question::TrunkEnable { name, enabled: true }, Json::NO)
        }
        TrunkAsk::Disable { name } => {
            Asked::new(Question::TrunkEnable { name, enabled: false }, Json::NO)
        }
        TrunkAsk::Remove { name, sure } => {
            let what = format!("Trunk {name} would be removed, with its secret.");
            Asked::new(Question::TrunkRemove { name }, Json::NO).confirm(sure, what)
        }
    })
}

pub(super) fn number(ask: NumberAsk) -> Asked {
    match ask {
        NumberAsk::Add { number, trunk, to } => {
            Asked::new(Question::NumberAdd { number, trunk, extension: to }, Json::NO)
        }
        NumberAsk::List(json) => Asked::new(Question::NumberList, json),
        NumberAsk::Remove { number } => Asked::new(Question::NumberRemove { number }, Json::NO),
    }
}

pub(super) fn rates(ask: RatesAsk) -> Result<Asked, Trouble> {
    Ok(match ask {
        RatesAsk::Import { file, saving, json } => {
            let body = deck(&file)?;
            let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
            let question = Question::RatesImport { bytes, dry_run: saving.dry_run };
            Asked { body, ..Asked::new(question, json).saving(saving) }
        }
        RatesAsk::Show { number, json } => Asked::new(Question::RatesShow { number }, json),
        RatesAsk::List { limit, json } => Asked::new(Question::RatesList { limit }, json),
        RatesAsk::Export => Asked::new(Question::RatesExport, Json::NO),
        RatesAsk::Clear { saving, json } => {
            Asked::new(Question::RatesClear { dry_run: saving.dry_run }, json).saving(saving)
        }
    })
}

fn settings(options: TrunkOptions) -> Result<TrunkSettings, Trouble> {
    let access = match (options.register, options.address) {
        (true, _) => Some(TrunkAccess::Register),
        (false, Some(addresses)) => Some(TrunkAccess::Address(addresses)),
        (false, None) => None,
    };
    let authority = match options.ca {
        Some(word) if word == Path::new("public") => Some(String::new()),
        Some(file) => Some(authority(&file)?),
        None => None,
    };
    let unless =
        |word: &'static str| move |text: String| if text == word { String::new() } else { text };
    let codecs = options.codecs.map(|list| match &list[..] {
        [all] if all == "all" => Vec::new(),
        _ => list,
    });
    Ok(TrunkSettings {
        server: options.server,
        transport: options.transport,
        access,
        user: options.user,
        auth_user: options.auth_user,
        secret: options.secret_file.as_deref().map(secret::read).transpose()?,
        realm: options.realm,
        caller_id: options.caller_id.map(unless("none")),
        asserted: options.asserted_identity,
        from_account: options.from_account,
        private: options.private,
        codecs,
        channels: options.channels,
        priority: options.priority,
        silence_limit_seconds: options.silence_limit,
        longest_seconds: options.longest,
        authority,
        plain_rtp: options.dangerous_plain_rtp,
        allow_md5: options.allow_md5,
    })
}

pub(super) fn authority(file: &Path) -> Result<String, Trouble> {
    let size = fs::metadata(file).map_or(0, |about| about.len());
    if size > AUTHORITY_MAX {
        return Err(Trouble::new(
            format!("{} is larger than {} KiB", file.display(), AUTHORITY_MAX / 1_024),
            "give a file that holds the carrier's authority alone",
        ));
    }
    fs::read_to_string(file).map_err(|error| unread(file, &error))
}

/// A file that was named on the line: another data folder would not help.
fn unread(file: &Path, error: &std::io::Error) -> Trouble {
    Trouble::new(
        format!("cannot read {}: {error}", file.display()),
        "check the path, and that this user may read the file",
    )
}

fn deck(file: &Path) -> Result<Vec<u8>, Trouble> {
    let about = fs::metadata(file).map_err(|error| unread(file, &error))?;
    let too_long = usize::try_from(about.len()).map_or(true, |length| length > DECK_MAX);
    if too_long {
        return Err(Trouble::new(
            format!("{} is larger than {} MiB", file.display(), DECK_MAX >> 20),
            "leave out what you never dial, or columns that are not needed",
        ));
    }
    let body = fs::read(file).map_err(|error| unread(file, &error))?;
    if body.is_empty() {
        return Err(Trouble::new(
            format!("{} is empty", file.display()),
            "give the carrier's price list; `ringfence rates clear` forgets the present one",
        ));
    }
    Ok(body)
}

/// A few certificates; a whole bundle of public authorities is not what is meant.
const AUTHORITY_MAX: u64 = 32 * 1_024;
