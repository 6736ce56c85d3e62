//! The policy: rules, roles, lockdown, budgets, exposure.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use guard::ledger::Window;
use guard::number::{Class, Country};
use guard::numbering;

use super::{Asked, Json, Saving, parse_seconds};
use crate::admin::protocol::{Edit, Key, Question, Reach, RoleChange, Whose};
use crate::data_dir::Trouble;

#[derive(Debug, Subcommand)]
pub(crate) enum RoleAsk {
    /// List the roles: who may dial what, when, how much
    #[command(after_help = "Example:\n  ringfence role list --json")]
    List(Json),
    /// Show one role
    #[command(after_help = "Example:\n  ringfence role show staff")]
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        json: Json,
    },
    /// Add a role with the rules of another
    #[command(after_help = "Example:\n  ringfence role add sales --like staff")]
    Add {
        /// Its name: letters, digits, dots, dashes, underscores
        name: String,
        /// The role whose rules it begins with [default: the default role]
        #[arg(long, value_name = "ROLE")]
        like: Option<String>,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// Change a role: only what is given changes
    #[command(
        after_help = "Classes: local, national, toll-free, mobile, shared, premium, personal, satellite,\n\
                      international, nanp-abroad. A number abroad needs its class and its country.\n\n\
                      Examples:\n  ringfence role set sales --allow international --country LV,EE\n  \
                      ringfence role set lobby --hours \"mon-fri 08:00-18:00\" --calls 1 --price-max 0.10\n  \
                      ringfence role set sales --no-country EE --dry-run"
    )]
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        change: RoleOptions,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// Remove a role that nobody has
    #[command(after_help = "Example:\n  ringfence role remove sales")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RoleOptions {
    /// Classes of numbers that may be dialled
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',', value_parser = class)]
    allow: Vec<Class>,
    /// Classes of numbers that may not
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',', value_parser = class)]
    deny: Vec<Class>,
    /// Countries outside your own that may be dialled
    #[arg(long, value_name = "LV,…", value_delimiter = ',', value_parser = country)]
    country: Vec<Country>,
    /// Countries that may not
    #[arg(long, value_name = "LV,…", value_delimiter = ',', value_parser = country)]
    no_country: Vec<Country>,
    /// When calls outside may begin and go on: "mon-fri 08:00-18:00", always, never
    #[arg(long)]
    hours: Option<String>,
    /// Calls outside at once, for each extension
    #[arg(long, value_name = "COUNT")]
    calls: Option<u16>,
    /// Attempts outside an hour, for each extension
    #[arg(long, value_name = "COUNT")]
    calls_per_hour: Option<u16>,
    /// The longest a call outside may last: 2h
    #[arg(long, value_name = "SPAN", value_parser = parse_seconds)]
    longest: Option<u64>,
    /// Numbers that cost more a minute, or more to connect, are refused: 0.50
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    price_max: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAsk {
    /// Show the rules in force, or a former version of them
    #[command(
        after_help = "Examples:\n  ringfence policy show\n  ringfence policy show --version 3 --json"
    )]
    Show {
        /// A former version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        #[command(flatten)]
        json: Json,
    },
    /// Change one of the general rules
    #[command(
        after_help = "What could be lost is computed before and after, and shown where the change loosens anything.\n\n\
                      Examples:\n  ringfence policy set home DE\n  ringfence policy set zone Europe/Berlin\n  \
                      ringfence policy set outside-line 0\n  ringfence policy set working-hours \"mon-fri 08:00-18:00\"\n  \
                      ringfence policy set lockdown on extension 104"
    )]
    Set {
        /// Which
        #[arg(value_enum)]
        key: Key,
        /// Its new value
        value: String,
        /// For lockdown, what is locked: tenant, role NAME, extension NUMBER, trunk NAME [default: everything]
        #[arg(num_args = 0..=2, value_name = "SCOPE")]
        scope: Vec<String>,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// Say what the gate would do with a number, and why
    #[command(after_help = "Example:\n  ringfence policy explain +37120000000 --from 101")]
    Explain {
        /// As it would be dialled
        number: String,
        /// The extension that would dial it
        #[arg(long, value_name = "NUMBER")]
        from: String,
        #[command(flatten)]
        json: Json,
    },
    /// Show the former versions and what each changed, newest first
    #[command(after_help = "Example:\n  ringfence policy history --limit 5")]
    History {
        /// How many versions at the most
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=999))]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Emergency calls always pass. Without a scope everything is locked.\n\n\
                  Examples:\n  ringfence lockdown on\n  ringfence lockdown on --extension 104\n  ringfence lockdown off")]
pub(crate) struct LockdownAsk {
    /// On, off, or what is locked now
    #[arg(value_enum)]
    switch: Switch,
    /// Only calls that this extension answers for
    #[arg(long, value_name = "NUMBER", group = "reach")]
    extension: Option<String>,
    /// Only extensions of this role
    #[arg(long, value_name = "ROLE", group = "reach")]
    role: Option<String>,
    /// Only calls that come over this trunk and would go out again
    #[arg(long, value_name = "NAME", group = "reach")]
    trunk: Option<String>,
    /// Only this tenant
    #[arg(long, group = "reach")]
    tenant: bool,
    #[command(flatten)]
    saving: Saving,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
    /// Say what is locked
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetAsk {
    /// Show every budget with what is spent and left
    #[command(after_help = "Example:\n  ringfence budget show --json")]
    Show(Json),
    /// Set what an account may spend
    #[command(
        after_help = "A soft bound warns; a hard one refuses calls and ends those that are up. Each extension has the\n\
                      budget of each-extension until it gets one of its own.\n\n\
                      Examples:\n  ringfence budget set --of operator --per week --soft 80 --hard 100\n  \
                      ringfence budget set --of each-extension --per day --hard 10\n  \
                      ringfence budget set --of extension 101 --per day --hard 25.50\n  \
                      ringfence budget set --of role sales --per day --hard none"
    )]
    Set {
        #[command(flatten)]
        account: AccountOption,
        /// The window it holds in
        #[arg(long, value_parser = windows())]
        per: Window,
        /// Warn at this amount, or none
        #[arg(long, value_name = "AMOUNT", value_parser = bound)]
        soft: Option<String>,
        /// Refuse and end beyond this amount, or none
        #[arg(long, value_name = "AMOUNT", value_parser = bound)]
        hard: Option<String>,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// Raise a budget by an amount, for good
    #[command(after_help = "Example:\n  ringfence budget raise 20 --of extension 101 --per day")]
    Raise {
        /// By how much
        #[arg(value_name = "BY", value_parser = amount)]
        by: String,
        #[command(flatten)]
        account: AccountOption,
        /// The window it holds in
        #[arg(long, value_parser = windows())]
        per: Window,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
    /// Forget what an account has spent in its present hour, day and week
    #[command(
        after_help = "Examples:\n  ringfence budget reset --of extension 101 --dry-run\n  ringfence budget reset --of extension 101 --yes"
    )]
    Reset {
        #[command(flatten)]
        account: AccountOption,
        #[command(flatten)]
        saving: Saving,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AccountOption {
    /// Whose: operator, tenant, each-extension, role NAME, extension NUMBER
    #[arg(long, value_name = "WHOSE", num_args = 1..=2, action = ArgAction::Set, required = true)]
    of: Vec<String>,
}

pub(super) fn role(ask: RoleAsk) -> Result<Asked, Trouble> {
    Ok(match ask {
        RoleAsk::List(json) => Asked::new(Question::RoleList, json),
        RoleAsk::Show { name, json } => Asked::new(Question::RoleShow { name }, json),
        RoleAsk::Add { name, like, saving, json } => {
            edit(Edit::RoleAdd { name, like }, saving, json)
        }
        RoleAsk::Set { name, change, saving, json } => {
            let change = RoleChange {
                allow: change.allow,
                deny: change.deny,
                countries: change.country,
                no_countries: change.no_country,
                hours: change.hours,
                calls: change.calls,
                calls_per_hour: change.calls_per_hour,
                longest_seconds: change.longest,
                price_max: change.price_max,
            };
            if change == RoleChange::default() {
                return Err(Trouble::new(
                    "nothing was said to change",
                    "name what changes; `ringfence role set --help` shows what can",
                ));
            }
            edit(Edit::RoleSet { name, change }, saving, json)
        }
        RoleAsk::Remove { name, saving, json } => edit(Edit::RoleRemove { name }, saving, json),
    })
}

pub(super) fn policy(ask: PolicyAsk) -> Result<Asked, Trouble> {
    Ok(match ask {
        PolicyAsk::Show { version, json } => Asked::new(Question::PolicyShow { version }, json),
        PolicyAsk::Set { key: Key::Lockdown, value, scope, saving, json } => {
            let on = match value.as_str() {
                "on" => true,
                "off" => false,
                _ => return Err(Trouble::new("a lockdown is on or off", "write one of the two")),
            };
            edit(Edit::Lockdown { reach: reach(&scope)?, on }, saving, json)
        }
        PolicyAsk::Set { scope, .. } if !scope.is_empty() => {
            return Err(Trouble::new(
                format!("`{}` is one word too many", scope.join(" ")),
                "put a value of several words in quotes: \"mon-fri 08:00-18:00\"",
            ));
        }
        PolicyAsk::Set { key, value, saving, json, .. } => {
            edit(Edit::Set { key, value }, saving, json)
        }
        PolicyAsk::Explain { number, from, json } => {
            Asked::new(Question::Explain { number, from }, json)
        }
        PolicyAsk::History { limit, json } => Asked::new(Question::PolicyHistory { limit }, json),
    })
}

pub(super) fn lockdown(ask: LockdownAsk) -> Asked {
    let LockdownAsk { switch, extension, role, trunk, tenant, saving, json } = ask;
    if switch == Switch::Status {
        return Asked::new(Question::LockdownShow, json);
    }
    let reach = match (extension, role, trunk, tenant) {
        (Some(number), ..) => Reach::Extension(number),
        (_, Some(name), ..) => Reach::Role(name),
        (_, _, Some(name), _) => Reach::Trunk(name),
        (.., true) => Reach::Tenant,
        _ => Reach::Everything,
    };
    edit(Edit::Lockdown { reach, on: switch == Switch::On }, saving, json)
}

pub(super) fn budget(ask: BudgetAsk) -> Result<Asked, Trouble> {
    Ok(match ask {
        BudgetAsk::Show(json) => Asked::new(Question::BudgetShow, json),
        BudgetAsk::Set { soft: None, hard: None, .. } => {
            return Err(Trouble::new(
                "neither a soft nor a hard bound was given",
                "give --hard AMOUNT, --soft AMOUNT, or `none` to take one away",
            ));
        }
        BudgetAsk::Set { account, per, soft, hard, saving, json } => {
            let of = whose(&account.of)?;
            edit(Edit::Budget { of, window: per, soft, hard }, saving, json)
        }
        BudgetAsk::Raise { by, account, per, saving, json } => {
            edit(Edit::Raise { of: whose(&account.of)?, window: per, by }, saving, json)
        }
        BudgetAsk::Reset { account, saving, json } => {
            let question =
                Question::BudgetReset { of: whose(&account.of)?, dry_run: saving.dry_run };
            Asked::new(question, json).saving(saving)
        }
    })
}

pub(super) fn member(extension: String, role: String, saving: Saving, json: Json) -> Asked {
    let role = if role == "none" { None } else { Some(role) };
    edit(Edit::Member { extension, role }, saving, json)
}

fn edit(edit: Edit, saving: Saving, json: Json) -> Asked {
    let question = Question::PolicyChange { edit, dry_run: saving.dry_run };
    Asked::new(question, json).saving(saving)
}

fn whose(words: &[String]) -> Result<Whose, Trouble> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match words[..] {
        ["operator"] => Whose::Operator,
        ["tenant"] => Whose::Tenant,
        ["each-extension"] => Whose::EachExtension,
        ["role", name] => Whose::Role(name.to_owned()),
        ["extension", number] => Whose::Extension(number.to_owned()),
        _ => {
            return Err(Trouble::new(
                format!("`{}` is nobody who has a budget", words.join(" ")),
                "write operator, tenant, each-extension, role NAME or extension NUMBER",
            ));
        }
    })
}

fn reach(words: &[String]) -> Result<Reach, Trouble> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match words[..] {
        [] | ["operator"] => Reach::Everything,
        ["tenant"] => Reach::Tenant,
        ["role", name] => Reach::Role(name.to_owned()),
        ["extension", number] => Reach::Extension(number.to_owned()),
        ["trunk", name] => Reach::Trunk(name.to_owned()),
        _ => {
            return Err(Trouble::new(
                format!("`{}` can't be locked", words.join(" ")),
                "write nothing for everything, or tenant, role NAME, extension NUMBER, trunk NAME",
            ));
        }
    })
}

fn class(text: &str) -> Result<Class, String> {
    Class::from_name(text).filter(|class| *class != Class::Unknown).ok_or_else(|| {
        let known = Class::ALL.into_iter().filter(|class| *class != Class::Unknown);
        let known: Vec<&str> = known.map(Class::name).collect();
        format!("write one of {}", known.join(", "))
    })
}

fn country(text: &str) -> Result<Country, String> {
    numbering::named(text)
}

/// With the values, so that the help lists them.
fn windows() -> impl TypedValueParser<Value = Window> {
    PossibleValuesParser::new(["hour", "day", "week"]).map(|text| match text.as_str() {
        "hour" => Window::Hour,
        "day" => Window::Day,
        _ => Window::Week,
    })
}

/// Checked here, so that a mistake is shown before anything is asked; the node reads it again.
fn amount(text: &str) -> Result<String, String> {
    crate::admin::amount::parse(text).map(|_| text.to_owned())
}

fn bound(text: &str) -> Result<String, String> {
    if text == "none" { Ok(text.to_owned()) } else { amount(text) }
}
