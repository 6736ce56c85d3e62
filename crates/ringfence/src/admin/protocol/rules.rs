//! The policy: how it is changed, how it is shown, and what could be lost under it.
//!
//! Amounts are decimal text (`12.50`) in the currency that stands beside them.

use guard::ledger::Window;
use guard::number::{Class, Country};
use serde::{Deserialize, Serialize};

/// One change of the policy as people say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Edit {
    Set {
        key: Key,
        value: String,
    },
    Lockdown {
        reach: Reach,
        on: bool,
    },
    RoleAdd {
        name: String,
        /// Whose rules it begins with; `None`: those of the default role.
        like: Option<String>,
    },
    RoleSet {
        name: String,
        change: RoleChange,
    },
    RoleRemove {
        name: String,
    },
    /// The role of one extension; `None`: the default one.
    Member {
        extension: String,
        role: Option<String>,
    },
    /// `None` leaves a bound as it is; `none` takes it away.
    Budget {
        of: Whose,
        window: Window,
        soft: Option<String>,
        hard: Option<String>,
    },
    /// Adds to the hard bound, and to the soft one by as much.
    Raise {
        of: Whose,
        window: Window,
        by: String,
    },
}

/// What `ringfence policy set` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Key {
    /// The home country: `US`
    Home,
    /// Currency of every amount: `EUR`
    Currency,
    /// Time zone of hours, days and weeks: `Europe/Berlin`
    Zone,
    /// Digit dialled before a number outside: `9`, `none`
    OutsideLine,
    /// Area code for numbers dialled without one: `030`, `none`
    Area,
    /// Whether a phone that never registered may call for help: on, off
    EmergencyForStrangers,
    /// Days after its last registration in which a phone may call for help
    EmergencyGuaranteeDays,
    /// Role of the extensions that have no other
    DefaultRole,
    /// When somebody would notice: `mon-fri 08:00-18:00`
    WorkingHours,
    /// Nothing outside but emergency: on, off; then `tenant`, `role NAME`, `extension 101`, `trunk NAME`
    Lockdown,
}

/// What a lockdown reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    Everything,
    Tenant,
    Role(String),
    Extension(String),
    Trunk(String),
}

/// Whose money a budget bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Whose {
    Operator,
    Tenant,
    Role(String),
    EachExtension,
    Extension(String),
}

/// What is changed of a role; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RoleChange {
    pub(crate) allow: Vec<Class>,
    pub(crate) deny: Vec<Class>,
    pub(crate) countries: Vec<Country>,
    pub(crate) no_countries: Vec<Country>,
    pub(crate) hours: Option<String>,
    pub(crate) calls: Option<u16>,
    pub(crate) calls_per_hour: Option<u16>,
    pub(crate) longest_seconds: Option<u64>,
    pub(crate) price_max: Option<String>,
}

/// What a change of the policy did, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyChange {
    pub(crate) saved: bool,
    /// The version it was made from, and the one it made.
    pub(crate) from: u64,
    pub(crate) version: u64,
    /// Sentences, before and after in each. Empty: nothing changes.
    pub(crate) changes: Vec<String>,
    /// Whether somebody may do more than before, by any one of the changes.
    pub(crate) loosens: bool,
    /// What stays locked after a lockdown was lifted.
    #[serde(default)]
    pub(crate) still_locked: Vec<String>,
    pub(crate) before: AtMost,
    pub(crate) after: AtMost,
}

/// What forgetting an account's spending did, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BudgetReset {
    pub(crate) saved: bool,
    pub(crate) of: String,
    pub(crate) before: AtMost,
    pub(crate) after: AtMost,
}

/// What could be lost, in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AtMost {
    pub(crate) currency: String,
    /// By everybody together.
    pub(crate) all: String,
    /// By the extension that could lose most.
    pub(crate) one: String,
    pub(crate) until: String,
    /// A sentence.
    pub(crate) summary: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) version: u64,
    pub(crate) home: String,
    pub(crate) currency: String,
    pub(crate) zone: String,
    pub(crate) outside_line: Option<String>,
    pub(crate) area: Option<String>,
    /// What is locked: `everything`, `role staff`; empty: nothing.
    pub(crate) lockdown: Vec<String>,
    pub(crate) emergency_guarantee_days: u64,
    pub(crate) emergency_for_strangers: bool,
    pub(crate) working_hours: String,
    pub(crate) default_role: String,
    pub(crate) roles: Vec<Role>,
    pub(crate) budgets: Vec<BudgetRule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) default: bool,
    pub(crate) classes: Vec<String>,
    pub(crate) countries: Vec<String>,
    pub(crate) hours: String,
    pub(crate) calls: u16,
    pub(crate) calls_per_hour: u16,
    pub(crate) longest_seconds: u64,
    pub(crate) currency: String,
    pub(crate) price_max: String,
    /// Extensions that have it by name; those of the default role have it without.
    pub(crate) extensions: Vec<String>,
}

/// A budget as the policy has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BudgetRule {
    pub(crate) of: String,
    /// `hour`, `day`, `week`
    pub(crate) per: String,
    pub(crate) soft: Option<String>,
    pub(crate) hard: Option<String>,
}

/// An account with what it has spent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Budget {
    pub(crate) of: String,
    pub(crate) per: String,
    pub(crate) currency: String,
    pub(crate) soft: Option<String>,
    pub(crate) hard: Option<String>,
    /// Settled and set aside.
    pub(crate) spent: String,
    /// Of the hard bound; absent where there is none.
    pub(crate) left: Option<String>,
    pub(crate) begins: String,
    pub(crate) ends: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyVersion {
    pub(crate) version: u64,
    pub(crate) since: String,
    /// What it changed, a sentence each.
    pub(crate) changes: Vec<String>,
}

/// What the gate would say of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explained {
    pub(crate) number: String,
    pub(crate) from: String,
    /// `emergency`, `extension 102`, or the number as the trunk would dial it.
    pub(crate) destination: String,
    pub(crate) class: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) role: String,
    pub(crate) permitted: bool,
    pub(crate) rule: String,
    pub(crate) policy: u64,
    pub(crate) currency: String,
    pub(crate) rate: Option<super::trunk::Rate>,
    /// What would be set aside before it rings, and the seconds that pays for.
    pub(crate) first_hold: Option<String>,
    pub(crate) first_seconds: Option<u64>,
    /// The trunks that would be tried, in order.
    pub(crate) trunks: Vec<String>,
    /// A sentence: why.
    pub(crate) why: String,
    /// The call would fail though it is allowed: a sentence, and what to do.
    #[serde(default)]
    pub(crate) fails: Option<String>,
    #[serde(default)]
    pub(crate) remedy: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exposure {
    pub(crate) summary: String,
    pub(crate) currency: String,
    pub(crate) from: String,
    pub(crate) until: String,
    /// `Thursday 08:00`, in the policy's zone.
    pub(crate) until_local: String,
    /// Extensions, roles, tenants, the operator last.
    pub(crate) lines: Vec<ExposureLine>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExposureLine {
    /// `extension 101`, `role staff`, `the house`, `everything`
    pub(crate) of: String,
    pub(crate) most: String,
    /// Of `most`: increments that a carrier may begin after our BYE has left.
    pub(crate) tail: String,
    /// Which limit decides, in words.
    pub(crate) binding: String,
}
