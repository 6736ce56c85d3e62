//! Policy: an immutable, versioned value. A change is a new value with the next version, so a
//! decision that names its version can be explained for ever.

mod diff;
mod fault;
mod hours;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::fault::PolicyFault;
pub use self::hours::{Hours, NotHours};
use crate::gate::{PolicyVersion, Responsible};
use crate::id::{ExtensionId, RoleId, TenantId, TrunkId};
use crate::ledger::Window;
use crate::money::{Currency, Money};
use crate::number::{Class, Country};
use crate::numbering::facts;

/// What the gate goes by. Shared as `Arc<Policy>`; never changed in place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    pub version: PolicyVersion,
    /// Decides which numbers call for help, how numbers are dialled, and what is abroad.
    pub home: Country,
    pub currency: Currency,
    /// IANA name of the zone that hours, days and weeks are counted in.
    pub zone: String,
    /// Dropped in front of a number outside.
    pub outside_line: Option<char>,
    /// For numbers dialled without an area code.
    pub area: Option<String>,
    pub lockdown: Lockdown,
    /// How long after its last registration a device is still guaranteed its call for help.
    #[serde(rename = "emergency_guarantee_seconds", with = "seconds")]
    pub emergency_guarantee: Duration,
    /// Whether somebody who never registered may call for help: off unless the owner opens it.
    pub emergency_for_strangers: bool,
    pub roles: BTreeMap<RoleId, Role>,
    /// The role of each extension that has another than `default_role`.
    pub members: BTreeMap<ExtensionId, RoleId>,
    pub default_role: RoleId,
    pub budgets: Vec<Budget>,
    /// When somebody would notice: exposure is counted until the next of these begins.
    pub working: Hours,
}

/// What its extensions may dial outside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    pub classes: BTreeSet<Class>,
    /// Countries outside the home country, whatever the class of the number.
    pub countries: BTreeSet<Country>,
    /// When calls outside may begin and go on.
    pub hours: Hours,
    /// Legs outside at once, for each extension.
    pub calls_max: u16,
    /// Attempts outside an hour, for each extension, failed ones included.
    pub calls_per_hour: u16,
    #[serde(rename = "longest_seconds", with = "seconds")]
    pub longest: Duration,
    /// Numbers that cost more a minute, or more to connect, are refused.
    pub price_max: Money,
}

/// A bound on money in one window. `soft` warns, `hard` refuses and ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    pub of: Account,
    pub window: Window,
    pub soft: Option<Money>,
    pub hard: Option<Money>,
}

/// Whose money a budget bounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Account {
    Operator,
    Tenant(TenantId),
    Role(RoleId),
    /// Each extension by itself that has no budget of its own for that window.
    EachExtension,
    Extension(ExtensionId),
}

/// Where nothing but emergency passes. An empty one is no lockdown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lockdown(BTreeSet<Scope>);

/// How far a lockdown reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every tenant of the machine.
    Operator,
    Tenant(TenantId),
    Role(RoleId),
    /// Legs for which this extension is responsible. Calls to it still ring: whoever looks into a
    /// theft must be able to reach its victim.
    Extension(ExtensionId),
    /// Legs for which this trunk is responsible.
    Trunk(TrunkId),
}

impl Policy {
    /// Long enough for holidays and a phone in a drawer; short enough that a forgotten address
    /// isn't trusted for ever.
    pub const EMERGENCY_GUARANTEE: Duration = Duration::from_secs(30 * 86_400);

    /// What a business spends at most in a week before somebody is asked, and one extension in a day,
    /// in dollars: enough for an ordinary office, little for a thief.
    const FIRST_WEEK: i64 = 200;
    const FIRST_DAY: i64 = 20;

    /// The first version: nothing locked; everybody may dial national numbers, and the lobby's phones
    /// what is free; a hard budget a week for all, and a day for each extension.
    pub fn first(home: Country) -> Arc<Self> {
        let currency = Currency::of(home);
        let tenths = currency.per_dollar_tenths().unwrap_or(10);
        let local = |dollars: i64| Money(dollars * tenths * (Money::UNIT / 10));
        let scaled = |role: Role| Role { price_max: Money(role.price_max.0 * tenths / 10), ..role };
        let week = Budget {
            of: Account::Operator,
            window: Window::Week,
            soft: Some(local(Self::FIRST_WEEK / 2)),
            hard: Some(local(Self::FIRST_WEEK)),
        };
        let day = Budget {
            of: Account::EachExtension,
            window: Window::Day,
            soft: None,
            hard: Some(local(Self::FIRST_DAY)),
        };
        let roles = [(RoleId(1), scaled(Role::staff())), (RoleId(2), scaled(Role::lobby()))];
        Arc::new(Self {
            version: PolicyVersion(1),
            home,
            currency,
            zone: facts(home).map_or("UTC", |facts| facts.zone).to_owned(),
            outside_line: None,
            area: None,
            lockdown: Lockdown::default(),
            emergency_guarantee: Self::EMERGENCY_GUARANTEE,
            emergency_for_strangers: false,
            roles: BTreeMap::from(roles),
            members: BTreeMap::new(),
            default_role: RoleId(1),
            budgets: vec![week, day],
            working: Hours::office(),
        })
    }

    /// The role of an extension, and its number. A member of a role that is gone has the default one.
    pub fn role_of(&self, extension: ExtensionId) -> (RoleId, Option<&Role>) {
        let own = self.members.get(&extension).filter(|role| self.roles.contains_key(role));
        let id = own.copied().unwrap_or(self.default_role);
        (id, self.roles.get(&id))
    }

    /// Whether the lockdown reaches legs that this one answers for.
    pub fn locked(&self, tenant: TenantId, responsible: Option<Responsible>) -> bool {
        let covers = |scope| self.lockdown.covers(scope);
        let own = match responsible {
            Some(Responsible::Extension(extension)) => {
                covers(Scope::Extension(extension))
                    || covers(Scope::Role(self.role_of(extension).0))
            }
            Some(Responsible::Trunk(trunk)) => covers(Scope::Trunk(trunk)),
            Some(Responsible::System) | None => false,
        };
        own || covers(Scope::Operator) || covers(Scope::Tenant(tenant))
    }

    /// Whether `EachExtension` doesn't mean this one in this window, because it has a budget of its own.
    pub fn has_own_budget(&self, extension: ExtensionId, window: Window) -> bool {
        let own = Account::Extension(extension);
        self.budgets.iter().any(|budget| budget.of == own && budget.window == window)
    }

    /// The budgets that bound what this extension spends, and the account each is counted in.
    pub fn budgets_of(
        &self,
        tenant: TenantId,
        extension: ExtensionId,
    ) -> impl Iterator<Item = (Scope, &Budget)> {
        let role = self.role_of(extension).0;
        self.budgets.iter().filter_map(move |budget| {
            let scope = match budget.of {
                Account::EachExtension if self.has_own_budget(extension, budget.window) => None,
                Account::EachExtension => Some(Scope::Extension(extension)),
                of => of.scope(),
            };
            let accounts = Scope::accounts(tenant, role, extension);
            scope.filter(|scope| accounts.contains(scope)).map(|scope| (scope, budget))
        })
    }

    /// The next version, changed by `change`; the present one stays as it is.
    pub fn next(&self, change: impl FnOnce(&mut Self)) -> Arc<Self> {
        let mut next = self.clone();
        change(&mut next);
        next.version = PolicyVersion(self.version.0.saturating_add(1));
        Arc::new(next)
    }
}

impl Account {
    /// The account it is counted in; `None` where each extension has one.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Operator => Some(Scope::Operator),
            Self::Tenant(tenant) => Some(Scope::Tenant(tenant)),
            Self::Role(role) => Some(Scope::Role(role)),
            Self::EachExtension => None,
            Self::Extension(extension) => Some(Scope::Extension(extension)),
        }
    }
}

impl Scope {
    /// The accounts that pay for a call of an extension.
    pub fn accounts(tenant: TenantId, role: RoleId, extension: ExtensionId) -> [Self; 4] {
        [Self::Operator, Self::Tenant(tenant), Self::Role(role), Self::Extension(extension)]
    }

    /// For people: `the operator`, `role staff`, `extension 101`. `number` knows the numbers of
    /// extensions, which the policy doesn't.
    pub fn in_words(
        self,
        policy: &Policy,
        number: impl Fn(ExtensionId) -> Option<String>,
    ) -> String {
        match self {
            Self::Operator => "the operator".to_owned(),
            Self::Tenant(tenant) => format!("tenant {tenant}"),
            Self::Role(role) => match policy.roles.get(&role) {
                Some(known) => format!("role {}", known.name),
                None => format!("role {} (removed)", role.0),
            },
            Self::Extension(extension) => match number(extension) {
                Some(number) => format!("extension {number}"),
                None => format!("extension {extension}"),
            },
            Self::Trunk(trunk) => format!("trunk {}", trunk.0),
        }
    }
}

impl Role {
    /// What everybody has at first: the home country but for what is dear, within sane bounds.
    pub fn staff() -> Self {
        use Class::{Local, Mobile, National, Shared, TollFree};
        Self {
            name: "staff".to_owned(),
            classes: [Local, National, TollFree, Mobile, Shared].into(),
            countries: BTreeSet::new(),
            hours: Hours::always(),
            calls_max: 3,
            calls_per_hour: 60,
            longest: Duration::from_secs(4 * 3_600),
            price_max: Money(500_000),
        }
    }

    /// For phones that anybody can reach: the house, and what is free.
    pub fn lobby() -> Self {
        Self {
            name: "lobby".to_owned(),
            classes: [Class::TollFree].into(),
            calls_max: 1,
            calls_per_hour: 20,
            longest: Duration::from_secs(3_600),
            // A deck may price a free number a little.
            price_max: Money(50_000),
            ..Self::staff()
        }
    }
}

impl Lockdown {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().collect())
    }

    pub fn add(&mut self, scope: Scope) {
        self.0.insert(scope);
    }

    pub fn lift(&mut self, scope: Scope) {
        self.0.remove(&scope);
    }

    pub fn covers(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

mod seconds {
    //! A [`Duration`] as whole seconds.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(span.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_new_version_and_leaves_the_old_one() {
        let first = Policy::first(Country::US);
        let second = first.next(|policy| policy.lockdown.add(Scope::Operator));
        assert_eq!((first.version, second.version), (PolicyVersion(1), PolicyVersion(2)));
        assert!(first.lockdown.is_empty() && second.lockdown.covers(Scope::Operator));
        let third = second.next(|policy| policy.lockdown.lift(Scope::Operator));
        assert!(third.lockdown.is_empty());
        // Nobody dates a policy back, not even in its own change.
        let fourth = third.next(|policy| policy.version = PolicyVersion(1));
        assert_eq!(fourth.version, PolicyVersion(4));
    }

    #[test]
    fn a_policy_reads_in_json_as_it_was_written() {
        let policy = Policy::first(Country::US).next(|policy| {
            policy.lockdown = Lockdown::new([Scope::Operator, Scope::Role(RoleId(2))]);
            policy.members.insert(ExtensionId(0xa), RoleId(2));
        });
        let text = serde_json::to_string(&*policy).expect("a struct");
        let expected = r#"{"version":2,"home":"US","currency":"USD","zone":"America/New_York""#;
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains(r#""emergency_guarantee_seconds":2592000"#), "{text}");
        assert_eq!(serde_json::from_str::<Policy>(&text).expect("as written"), *policy);
    }
}
