//! What makes a policy unfit to take effect: all of it at once, each with a remedy.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::{Account, Budget, Policy, Role};
use crate::money::Money;
use crate::number::Class;
use crate::numbering::is_known;
use crate::zone::Zone;

/// What is wrong with a policy, and what to do about it: two sentences for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFault {
    /// Where: `zone`, `role staff`, `budget 2`.
    pub at: String,
    pub fault: String,
    pub remedy: String,
}

impl Policy {
    /// Nobody tells more roles apart.
    pub const ROLES_MAX: usize = 256;

    /// Each judgement reads all of them.
    pub const BUDGETS_MAX: usize = 1_024;

    /// As many extensions as one tenant may have.
    pub const MEMBERS_MAX: usize = 100_000;

    /// Bytes of a role's name, which stands in sentences.
    pub const NAME_MAX: usize = 40;

    /// No limit on money is larger: a billion units. Sums of many stay far from what an integer holds.
    pub const MONEY_MAX: Money = Money(1_000_000_000 * Money::UNIT);

    /// A call that lasts longer than a day was forgotten.
    pub const LONGEST_MAX: Duration = Duration::from_secs(24 * 3_600);

    /// Attempts of an extension an hour at most: one a second. Each is remembered for an hour.
    pub const CALLS_PER_HOUR_MAX: u16 = 3_600;

    /// Legs outside of one extension at once at most.
    pub const CALLS_MAX: u16 = 1_000;

    /// Whether it may take effect. All faults are told at once.
    pub fn validate(&self) -> Result<(), Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let mut fault = |at: &str, fault: String, remedy: &str| {
            faults.push(PolicyFault { at: at.to_owned(), fault, remedy: remedy.to_owned() });
        };
        if Zone::named(&self.zone).is_none() {
            let remedy = "Use an IANA name, such as Europe/Berlin or America/New_York.";
            fault("zone", format!("There is no zone \"{}\".", shortened(&self.zone)), remedy);
        }
        // A typing error in a list of allowed countries would be a country that never calls.
        let named = self.roles.values().flat_map(|role| &role.countries).chain([&self.home]);
        let unknown: BTreeSet<_> = named.filter(|country| !is_known(**country)).collect();
        for country in unknown {
            let remedy = "Use the two letters of ISO 3166, such as DE.";
            fault("countries", format!("There is no country {country}."), remedy);
        }
        if self.outside_line.is_some_and(|digit| !digit.is_ascii_digit()) {
            fault("outside line", "It is not a digit.".to_owned(), "Use one digit, such as 9.");
        }
        let area = self.area.as_deref().unwrap_or("0");
        if area.is_empty() || area.len() > 8 || !area.bytes().all(|byte| byte.is_ascii_digit()) {
            let remedy = "Use the digits that are dialled, such as 212.";
            fault("area", "It is not an area code of 1 to 8 digits.".to_owned(), remedy);
        }
        if !self.working.is_sound() {
            let remedy = "Write them like mon-fri 08:00-18:00.";
            fault("working", "The hours overlap or aren't in order.".to_owned(), remedy);
        }
        let counts = [
            ("roles", self.roles.len(), Self::ROLES_MAX),
            ("budgets", self.budgets.len(), Self::BUDGETS_MAX),
            ("members", self.members.len(), Self::MEMBERS_MAX),
        ];
        for (what, count, max) in counts {
            if count > max {
                let remedy = format!("Remove some; {max} are the most.");
                fault(what, format!("There are {count}."), &remedy);
            }
        }
        if !self.roles.contains_key(&self.default_role) {
            let remedy = "Add that role, or make another one the default.";
            fault("default role", format!("There is no role {}.", self.default_role.0), remedy);
        }
        let mut names = BTreeSet::new();
        for (id, role) in &self.roles {
            let name = shortened(&role.name);
            let at = format!("role {}", if name.is_empty() { "?" } else { &name });
            for (what, remedy) in role.faults() {
                fault(&at, what, remedy);
            }
            if !names.insert(role.name.to_lowercase()) {
                let remedy = "Give each role a name of its own.";
                fault(&at, format!("Role {} has a name that another has too.", id.0), remedy);
            }
        }
        let gone = self.members.values().filter(|role| !self.roles.contains_key(role));
        let gone: BTreeSet<u32> = gone.map(|role| role.0).collect();
        for role in gone {
            let remedy = "Give those extensions another role first.";
            fault("members", format!("Extensions have role {role}, which there isn't."), remedy);
        }
        let mut budgets = BTreeSet::new();
        for (index, budget) in self.budgets.iter().enumerate() {
            let at = format!("budget {}", index + 1);
            for (what, remedy) in self.faults_of(budget) {
                fault(&at, what, remedy);
            }
            if !budgets.insert((budget.of, budget.window)) {
                let remedy = "Keep one for each account and window.";
                fault(&at, "The same account has two budgets for that window.".to_owned(), remedy);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn faults_of(&self, budget: &Budget) -> Vec<(String, &'static str)> {
        let mut faults = Vec::new();
        for amount in [budget.soft, budget.hard].into_iter().flatten() {
            faults.extend(money(amount));
        }
        if let (Some(soft), Some(hard)) = (budget.soft, budget.hard)
            && soft > hard
        {
            let remedy = "Warn before the end: make the soft limit smaller than the hard one.";
            faults.push(("The soft limit is above the hard one.".to_owned(), remedy));
        }
        if let Account::Role(role) = budget.of
            && !self.roles.contains_key(&role)
        {
            let remedy = "Remove the budget, or name a role that there is.";
            faults.push((format!("There is no role {}.", role.0), remedy));
        }
        faults
    }
}

impl Role {
    fn faults(&self) -> Vec<(String, &'static str)> {
        let mut faults = Vec::new();
        let mut fault = |what: &str, remedy| faults.push((what.to_owned(), remedy));
        let shown = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '&');
        let trimmed = self.name.trim() == self.name;
        if self.name.is_empty() || self.name.len() > Policy::NAME_MAX {
            fault("It has no name, or too long a one.", "Give it a name of 1 to 40 letters.");
        } else if !trimmed || !self.name.chars().all(shown) {
            fault("Its name has signs in it.", "Use letters, digits, spaces, and - _ . &");
        }
        if self.classes.contains(&Class::Unknown) {
            fault("It allows unknown numbers.", "Nobody knows what those cost: remove the class.");
        }
        if !self.hours.is_sound() {
            fault("Its hours overlap or aren't in order.", "Write them like mon-fri 08:00-18:00.");
        }
        if self.longest.is_zero() || self.longest > Policy::LONGEST_MAX {
            fault("Its longest call is none.", "Allow 1 second to 24 hours.");
        }
        if self.calls_per_hour > Policy::CALLS_PER_HOUR_MAX {
            fault("It allows absurdly many attempts an hour.", "Allow 3600 at most.");
        }
        if self.calls_max > Policy::CALLS_MAX {
            fault("It allows absurdly many calls at once.", "Allow 1000 at most.");
        }
        faults.extend(money(self.price_max));
        faults
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.at, self.fault, self.remedy)
    }
}

fn money(amount: Money) -> Option<(String, &'static str)> {
    if amount < Money::ZERO {
        Some(("An amount is negative.".to_owned(), "Use 0 for nothing at all."))
    } else if amount > Policy::MONEY_MAX {
        Some(("An amount is above a billion.".to_owned(), "Leave the limit out for none."))
    } else {
        None
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ExtensionId, RoleId};
    use crate::ledger::Window;
    use crate::number::Country;
    use crate::policy::Hours;

    fn faults(change: impl FnOnce(&mut Policy)) -> String {
        let policy = Policy::first(Country::US).next(change);
        let faults = policy.validate().err().unwrap_or_default();
        faults.iter().map(|fault| format!("{fault}\n")).collect()
    }

    fn staff(change: impl FnOnce(&mut Role)) -> String {
        faults(|policy| change(policy.roles.get_mut(&RoleId(1)).expect("the first role")))
    }

    #[test]
    fn the_first_policy_of_every_country_may_take_effect() {
        for home in ["US", "CA", "GB", "DE", "JP", "LV", "NO", "BR"] {
            let policy = Policy::first(home.parse().expect("capitals"));
            assert_eq!(policy.validate(), Ok(()), "{home}");
        }
    }

    #[test]
    fn each_fault_is_told_with_its_remedy() {
        let is = |told: String, expected: &str| {
            assert!(told.starts_with(expected), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        };
        is(
            faults(|p| p.zone = "Europe/Atlantis".to_owned()),
            "zone: There is no zone \"Europe/Atlantis\". Use an IANA name",
        );
        is(
            faults(|p| p.home = "QQ".parse().expect("capitals")),
            "countries: There is no country QQ.",
        );
        let abroad =
            |role: &mut Role| role.countries.extend(["XY".parse::<Country>().expect("capitals")]);
        is(staff(abroad), "countries: There is no country XY.");
        is(faults(|p| p.outside_line = Some('x')), "outside line: It is not a digit.");
        is(faults(|p| p.area = Some("21a".to_owned())), "area: It is not an area code");
        is(faults(|p| p.working = Hours(vec![(5, 9), (8, 12)])), "working: The hours overlap");
        is(faults(|p| p.default_role = RoleId(9)), "default role: There is no role 9.");
        let member = |p: &mut Policy| {
            p.members.insert(ExtensionId(1), RoleId(9));
        };
        is(faults(member), "members: Extensions have role 9, which there isn't.");
        is(staff(|role| role.name.clear()), "role ?: It has no name");
        is(staff(|role| role.name = "a\nb".to_owned()), "role ab: Its name has signs");
        is(staff(|role| role.name = "Lobby".to_owned()), "role lobby: Role 2 has a name");
        is(staff(|role| role.classes.extend([Class::Unknown])), "role staff: It allows unknown");
        is(staff(|role| role.hours = Hours(vec![(9, 5)])), "role staff: Its hours overlap");
        is(staff(|role| role.longest = Duration::ZERO), "role staff: Its longest call is none.");
        is(
            staff(|role| role.calls_per_hour = 9_999),
            "role staff: It allows absurdly many attempts",
        );
        is(staff(|role| role.calls_max = 9_999), "role staff: It allows absurdly many calls");
        is(staff(|role| role.price_max = Money(-1)), "role staff: An amount is negative.");
        let budget = |of, soft, hard| {
            let (soft, hard) = (Some(Money(soft)), Some(Money(hard)));
            faults(|p| p.budgets = vec![Budget { of, window: Window::Day, soft, hard }])
        };
        is(budget(Account::Operator, 2, 1), "budget 1: The soft limit is above the hard one.");
        is(budget(Account::Operator, 0, i64::MAX), "budget 1: An amount is above a billion.");
        is(budget(Account::Role(RoleId(9)), 1, 1), "budget 1: There is no role 9.");
        let twice = |p: &mut Policy| p.budgets.push(p.budgets[0].clone());
        is(faults(twice), "budget 3: The same account has two budgets for that window.");
    }

    #[test]
    fn sizes_are_bounded() {
        let roles = |p: &mut Policy| {
            for id in 10..300 {
                p.roles.insert(RoleId(id), Role { name: format!("r{id}"), ..Role::staff() });
            }
        };
        assert!(faults(roles).starts_with("roles: There are 292. Remove some; 256 are the most."));
        let budgets = |p: &mut Policy| {
            let of = |id| Account::Extension(ExtensionId(id));
            let one = |id| Budget { of: of(id), window: Window::Day, soft: None, hard: None };
            p.budgets = (0..1_025).map(one).collect();
        };
        assert!(faults(budgets).starts_with("budgets: There are 1025."));
    }
}
