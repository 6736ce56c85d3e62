//! What changed between two policies, in words: the journal's line about a change.

use std::fmt::{Debug, Display};

use super::{Account, Budget, Policy, Role};
use crate::id::RoleId;
use crate::ledger::Window;
use crate::money::{Currency, Money};

/// More changes than this are counted, not listed: a line in the journal is read by people.
const LISTED_MAX: usize = 20;

impl Policy {
    /// What is different in `after`: `role staff: countries + LV; budget of the operator a week: hard
    /// 200.00 USD, was 100.00 USD`. `nothing` where nothing but the version is.
    pub fn diff(&self, after: &Self) -> String {
        let mut changes = Vec::new();
        let same = |what: &str, a: &dyn Display, b: &dyn Display| {
            let (a, b) = (a.to_string(), b.to_string());
            (a != b).then(|| format!("{what} {b}, was {a}"))
        };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let digit = |policy: &Self| or_none(policy.outside_line.map(String::from));
        changes.extend(same("home", &self.home, &after.home));
        changes.extend(same("currency", &self.currency, &after.currency));
        changes.extend(same("zone", &self.zone, &after.zone));
        changes.extend(same("outside line", &digit(self), &digit(after)));
        changes.extend(same("area", &or_none(self.area.clone()), &or_none(after.area.clone())));
        changes.extend(same("working hours", &self.working, &after.working));
        let days = |policy: &Self| format!("{} s", policy.emergency_guarantee.as_secs());
        changes.extend(same("emergency guarantee", &days(self), &days(after)));
        let open = |policy: &Self| if policy.emergency_for_strangers { "open" } else { "closed" };
        changes.extend(same("emergency for strangers", &open(self), &open(after)));

        let no_number = |_| None;
        for scope in after.lockdown.scopes().filter(|scope| !self.lockdown.covers(*scope)) {
            changes.push(format!("locked {}", scope.in_words(after, no_number)));
        }
        for scope in self.lockdown.scopes().filter(|scope| !after.lockdown.covers(*scope)) {
            changes.push(format!("unlocked {}", scope.in_words(self, no_number)));
        }
        for (id, role) in &after.roles {
            match self.roles.get(id) {
                Some(before) => changes.extend(before.diff(role, after.currency)),
                None => changes.push(format!("role {} added", role.name)),
            }
        }
        for role in self.roles.iter().filter(|(id, _)| !after.roles.contains_key(id)) {
            changes.push(format!("role {} removed", role.1.name));
        }
        changes.extend(same(
            "default role",
            &name(self, self.default_role),
            &name(after, after.default_role),
        ));
        for (extension, role) in &after.members {
            if self.members.get(extension) != Some(role) {
                changes.push(format!("extension {extension} has role {}", name(after, *role)));
            }
        }
        for extension in self.members.keys().filter(|ext| !after.members.contains_key(ext)) {
            changes.push(format!("extension {extension} has the default role"));
        }
        for budget in &after.budgets {
            let before = self.budget(budget.of, budget.window);
            if before != Some(budget) {
                changes.push(budget.change(before, after));
            }
        }
        for budget in &self.budgets {
            if after.budget(budget.of, budget.window).is_none() {
                changes.push(format!("{} removed", budget.title(self)));
            }
        }
        let more = changes.len().saturating_sub(LISTED_MAX);
        changes.truncate(LISTED_MAX);
        match (changes.is_empty(), more) {
            (true, _) => "nothing".to_owned(),
            (false, 0) => changes.join("; "),
            (false, more) => format!("{}; and {more} more", changes.join("; ")),
        }
    }

    fn budget(&self, of: Account, window: Window) -> Option<&Budget> {
        self.budgets.iter().find(|budget| budget.of == of && budget.window == window)
    }
}

impl Role {
    /// Changes of one role, in one clause.
    fn diff(&self, after: &Self, currency: Currency) -> Option<String> {
        let mut parts = Vec::new();
        let mut differs = |what: &str, a: String, b: String| {
            if a != b {
                parts.push(format!("{what} {b}, was {a}"));
            }
        };
        differs("name", self.name.clone(), after.name.clone());
        differs("hours", self.hours.to_string(), after.hours.to_string());
        let number = |n: u16| n.to_string();
        differs("calls at once", number(self.calls_max), number(after.calls_max));
        differs("calls an hour", number(self.calls_per_hour), number(after.calls_per_hour));
        let longest = |role: &Self| format!("{} s", role.longest.as_secs());
        differs("longest call", longest(self), longest(after));
        let price = |role: &Self| role.price_max.display(currency).to_string();
        differs("highest price", price(self), price(after));
        parts.extend(sets("classes", &self.classes, &after.classes));
        parts.extend(sets("countries", &self.countries, &after.countries));
        (!parts.is_empty()).then(|| format!("role {}: {}", after.name, parts.join(", ")))
    }
}

impl Budget {
    fn title(&self, policy: &Policy) -> String {
        let of = match self.of.scope() {
            Some(scope) => scope.in_words(policy, |_| None),
            None => "each extension".to_owned(),
        };
        format!("budget of {of} a {}", self.window)
    }

    fn change(&self, before: Option<&Self>, policy: &Policy) -> String {
        let amount = |money: Option<Money>| match money {
            Some(money) => money.display(policy.currency).to_string(),
            None => "none".to_owned(),
        };
        let limit = |what: &str, now: Option<Money>, then: Option<Option<Money>>| match then {
            Some(then) if then == now => None,
            Some(then) => Some(format!("{what} {}, was {}", amount(now), amount(then))),
            None => Some(format!("{what} {}", amount(now))),
        };
        let limits = [
            limit("soft", self.soft, before.map(|b| b.soft)),
            limit("hard", self.hard, before.map(|b| b.hard)),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        format!("{}: {}", self.title(policy), limits.join(", "))
    }
}

fn name(policy: &Policy, role: RoleId) -> String {
    policy.roles.get(&role).map_or_else(|| role.0.to_string(), |role| role.name.clone())
}

fn sets<T: Ord + Display + Debug>(
    what: &str,
    before: &std::collections::BTreeSet<T>,
    after: &std::collections::BTreeSet<T>,
) -> Option<String> {
    let added = after.difference(before).map(|item| format!("+ {item}"));
    let removed = before.difference(after).map(|item| format!("- {item}"));
    let changes: Vec<String> = added.chain(removed).collect();
    (!changes.is_empty()).then(|| format!("{what} {}", changes.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ExtensionId;
    use crate::number::{Class, Country};
    use crate::policy::{Hours, Scope};

    #[test]
    fn a_change_reads_in_words() {
        let before = Policy::first(Country::US);
        let after = before.next(|policy| {
            policy.zone = "America/Chicago".to_owned();
            policy.lockdown.add(Scope::Role(RoleId(2)));
            let staff = policy.roles.get_mut(&RoleId(1)).expect("staff");
            staff.countries.insert("LV".parse().expect("capitals"));
            staff.classes.remove(&Class::Mobile);
            staff.hours = Hours::office();
            policy.members.insert(ExtensionId(7), RoleId(2));
            policy.budgets[0].hard = Some(Money(300_000_000));
            policy.budgets.remove(1);
        });
        let told = before.diff(&after);
        let expected = [
            "zone America/Chicago, was America/New_York",
            "locked role lobby",
            "role staff: hours mon-fri 08:00-18:00, was always, classes - mobile, countries + LV",
            "extension 00000000000000000000000000000007 has role lobby",
            "budget of the operator a week: hard 300.00 USD, was 200.00 USD",
            "budget of each extension a day removed",
        ];
        let told: Vec<&str> = told.split("; ").collect();
        assert_eq!(told, expected);
        assert_eq!(before.diff(&before), "nothing");
    }

    #[test]
    fn a_line_of_the_journal_stays_a_line() {
        let before = Policy::first(Country::US);
        let after = before.next(|policy| {
            policy.members = (0..100).map(|n| (ExtensionId(n), RoleId(2))).collect();
        });
        assert!(before.diff(&after).ends_with("; and 80 more"));
    }
}
