//! What two versions of a policy differ in, a sentence each, and whether somebody may do more.
//!
//! The sentences go into the journal and before the eyes of whoever is about to save the change, so
//! each says before and after.

use std::collections::BTreeSet;

use guard::id::ExtensionId;
use guard::ledger::Window;
use guard::money::Money;
use guard::numbering;
use guard::policy::{Account, Budget, Hours, Policy, Role};

use super::amount;
use super::names::{Names, of_role, of_window};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Difference {
    pub(super) words: String,
    /// Somebody may do more than before. Where that depends, it says yes.
    pub(super) loosens: bool,
}

/// In the order in which a policy is shown.
pub(super) fn differences(before: &Policy, after: &Policy, names: &Names) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut say = |loosens: bool, words: String| found.push(Difference { words, loosens });
    general(before, after, &mut say);
    for scope in before.lockdown.scopes().filter(|scope| !after.lockdown.covers(*scope)) {
        say(true, format!("the lockdown of {} ends", names.of_scope(before, scope)));
    }
    for scope in after.lockdown.scopes().filter(|scope| !before.lockdown.covers(*scope)) {
        let of = names.of_scope(after, scope);
        say(false, format!("lockdown of {of}: nothing outside but emergency"));
    }
    for (id, role) in &after.roles {
        match before.roles.get(id) {
            Some(former) => role_changes(former, role, after, &mut say),
            None => say(false, format!("role {} is new; nobody has it yet", role.name)),
        }
    }
    for (_, role) in before.roles.iter().filter(|(id, _)| !after.roles.contains_key(id)) {
        say(false, format!("role {} is removed", role.name));
    }
    members(before, after, names, &mut say);
    budgets(before, after, names, &mut say);
    found
}

fn general(before: &Policy, after: &Policy, say: &mut impl FnMut(bool, String)) {
    let mut compare = |what: &str, loosens: bool, former: &str, now: &str| {
        if former != now {
            say(loosens, format!("{what}: {former} → {now}"));
        }
    };
    let none = || "none".to_owned();
    // Other numbers count as national then, and hours begin elsewhere.
    let home = |policy: &Policy| format!("{} ({})", policy.home, numbering::name(policy.home));
    if before.home != after.home {
        let help: Vec<String> =
            after.home.emergency_numbers().map(|one| one.number().to_owned()).collect();
        let now = format!("{}; calls for help: {}", home(after), help.join(", "));
        compare("home country", true, &home(before), &now);
    }
    compare("currency of every amount", true, before.currency.code(), after.currency.code());
    compare("time zone", true, &before.zone, &after.zone);
    let line = |policy: &Policy| policy.outside_line.map_or_else(none, String::from);
    compare("digit for an outside line", false, &line(before), &line(after));
    let area = |policy: &Policy| policy.area.clone().unwrap_or_else(none);
    compare("area code", false, &area(before), &area(after));
    let days = |policy: &Policy| (policy.emergency_guarantee.as_secs() / DAY).to_string();
    let what = "days in which a phone that was registered may call for help";
    compare(what, false, &days(before), &days(after));
    let open = |policy: &Policy| if policy.emergency_for_strangers { "on" } else { "off" };
    let opens = after.emergency_for_strangers;
    compare("emergency calls by strangers", opens, open(before), open(after));
    let working = |policy: &Policy| policy.working.to_string();
    compare("working hours", false, &working(before), &working(after));
}

fn role_changes(before: &Role, after: &Role, policy: &Policy, say: &mut impl FnMut(bool, String)) {
    let name = &after.name;
    if before.name != *name {
        say(false, format!("role {}: its name is now {name}", before.name));
    }
    for class in after.classes.difference(&before.classes) {
        say(true, format!("role {name} may dial {class} numbers"));
    }
    for class in before.classes.difference(&after.classes) {
        say(false, format!("role {name} may no longer dial {class} numbers"));
    }
    for country in after.countries.difference(&before.countries) {
        let of = numbering::name(*country);
        say(true, format!("role {name} may dial numbers of {country} ({of})"));
    }
    for country in before.countries.difference(&after.countries) {
        let of = numbering::name(*country);
        say(false, format!("role {name} may no longer dial numbers of {country} ({of})"));
    }
    if before.hours != after.hours {
        let loosens = !within(&after.hours, &before.hours);
        say(loosens, format!("role {name}: hours {} → {}", before.hours, after.hours));
    }
    let mut bound = |what: &str, former: u64, now: u64| {
        if former != now {
            say(now > former, format!("role {name}: {what} {former} → {now}"));
        }
    };
    bound("calls outside at once", before.calls_max.into(), after.calls_max.into());
    bound("calls outside an hour", before.calls_per_hour.into(), after.calls_per_hour.into());
    bound("longest call in seconds", before.longest.as_secs(), after.longest.as_secs());
    if before.price_max != after.price_max {
        let (former, now) = (before.price_max, after.price_max);
        let words = format!(
            "role {name}: highest price a minute {} → {}",
            amount::text(former),
            now.display(policy.currency)
        );
        say(now > former, words);
    }
}

fn members(before: &Policy, after: &Policy, names: &Names, say: &mut impl FnMut(bool, String)) {
    let loosens = |former: Option<&Role>, now: Option<&Role>| match (former, now) {
        (Some(former), Some(now)) => may_more(former, now),
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if before.default_role != after.default_role {
        let (former, now) = (before.default_role, after.default_role);
        let words = format!(
            "role of every extension that has no other: {} → {}",
            of_role(before, former),
            of_role(after, now)
        );
        say(loosens(before.roles.get(&former), after.roles.get(&now)), words);
    }
    let named: BTreeSet<ExtensionId> =
        before.members.keys().chain(after.members.keys()).copied().collect();
    for extension in named {
        let ((former, was), (now, is)) = (before.role_of(extension), after.role_of(extension));
        if former != now {
            let of = names.of_extension(extension);
            let words = format!("{of}: role {} → {}", of_role(before, former), of_role(after, now));
            say(loosens(was, is), words);
        }
    }
}

fn budgets(before: &Policy, after: &Policy, names: &Names, say: &mut impl FnMut(bool, String)) {
    let keys: BTreeSet<(Account, Window)> =
        before.budgets.iter().chain(&after.budgets).map(|one| (one.of, one.window)).collect();
    for (of, window) in keys {
        let find = |policy: &Policy| {
            let found = policy.budgets.iter().find(|one| one.of == of && one.window == window);
            found.map_or((None, None), |one| (one.soft, one.hard))
        };
        let ((soft_before, hard_before), (soft, hard)) = (find(before), find(after));
        let text = |bound: Option<Money>| match bound {
            Some(bound) => bound.display(after.currency).to_string(),
            None => "none".to_owned(),
        };
        let whose = names.of_account(after, of);
        let whose = format!("budget of {whose} a {}", of_window(window));
        if hard_before != hard {
            let bounds = (effective(before, of, window), effective(after, of, window));
            let loosens = match bounds {
                (Some(former), Some(now)) => now > former,
                (Some(_), None) => true,
                (None, _) => false,
            };
            // Where an extension has no budget of its own, everybody's is what was really in force.
            let real =
                |policy: &Policy, own: Option<Money>| match (own, effective(policy, of, window)) {
                    (None, Some(shared)) => format!("{} (each-extension)", text(Some(shared))),
                    (own, _) => text(own),
                };
            let (former, now) = (real(before, hard_before), real(after, hard));
            let left = match bounds.1 {
                None => format!("; {}", others(after, of, window, names)),
                Some(_) => String::new(),
            };
            say(loosens, format!("{whose}: hard {former} → {now}{left}"));
        }
        if soft_before != soft {
            say(false, format!("{whose}: warns at {} → {}", text(soft_before), text(soft)));
        }
    }
}

/// What still bounds an account that has lost a hard budget.
fn others(policy: &Policy, of: Account, window: Window, names: &Names) -> String {
    let reaches = |one: &&Budget| match one.of {
        Account::Operator | Account::Tenant(_) => true,
        Account::EachExtension => matches!(of, Account::Extension(_) | Account::EachExtension),
        other => other == of,
    };
    let rest: Vec<String> = policy
        .budgets
        .iter()
        .filter(|one| one.hard.is_some() && (one.of, one.window) != (of, window))
        .filter(reaches)
        .map(|one| {
            let hard = one.hard.unwrap_or_default().display(policy.currency);
            format!("{} a {} {hard}", names.of_account(policy, one.of), of_window(one.window))
        })
        .collect();
    match rest[..] {
        [] => "no budget bounds it any more".to_owned(),
        _ => format!("what still bounds it: {}", rest.join(", ")),
    }
}

/// What bounds an account: an extension without a budget of its own has everybody's.
fn effective(policy: &Policy, of: Account, window: Window) -> Option<Money> {
    let find = |of| policy.budgets.iter().find(|one| one.of == of && one.window == window);
    match (find(of), of) {
        (Some(own), _) => own.hard,
        (None, Account::Extension(_)) => find(Account::EachExtension).and_then(|all| all.hard),
        (None, _) => None,
    }
}

/// Whether whoever has `now` may do anything that `former` forbids.
fn may_more(former: &Role, now: &Role) -> bool {
    !now.classes.is_subset(&former.classes)
        || !now.countries.is_subset(&former.countries)
        || !within(&now.hours, &former.hours)
        || now.calls_max > former.calls_max
        || now.calls_per_hour > former.calls_per_hour
        || now.longest > former.longest
        || now.price_max > former.price_max
}

/// Whether every minute of `inner` lies in `outer`.
fn within(inner: &Hours, outer: &Hours) -> bool {
    inner.0.iter().all(|&(begin, end)| {
        let mut at = begin;
        // Sorted: whatever covers a minute stands before what covers a later one.
        for &(from, to) in &outer.0 {
            if from <= at && at < to {
                at = to;
            }
        }
        at >= end
    })
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use guard::id::{RoleId, TenantId};
    use guard::number::{Class, Country};
    use guard::policy::Scope;
    use std::sync::Arc;

    const ALICE: ExtensionId = ExtensionId(0xa);

    fn names() -> Names {
        Names {
            tenant: TenantId::HOUSE,
            extensions: vec![(ALICE, "101".to_owned())],
            trunks: Vec::new(),
        }
    }

    fn bare() -> Arc<Policy> {
        Policy::first(Country::US).next(|policy| {
            policy.budgets.clear();
            policy.zone = "UTC".to_owned();
        })
    }

    fn check(before: &Policy, change: impl FnOnce(&mut Policy), expected: &[&str]) {
        let after = before.next(change);
        let found = differences(before, &after, &names());
        let shown: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}", if one.loosens { "looser" } else { "same" }, one.words))
            .collect();
        assert_eq!(shown, expected);
    }

    fn staff(policy: &mut Policy) -> &mut Role {
        policy.roles.get_mut(&RoleId(1)).unwrap()
    }

    #[test]
    fn the_same_rules_differ_in_nothing() {
        check(&bare(), |_| {}, &[]);
    }

    #[test]
    fn whatever_allows_more_loosens_and_its_opposite_does_not() {
        let latvia: Country = "LV".parse().unwrap();
        let wide = bare().next(|policy| {
            let role = staff(policy);
            role.classes.insert(Class::International);
            role.countries.insert(latvia);
            role.calls_max = 4;
            role.price_max = Money(600_000);
            role.hours = Hours::always();
        });
        let narrow = |policy: &mut Policy| {
            let role = staff(policy);
            role.classes.remove(&Class::International);
            role.countries.remove(&latvia);
            role.calls_max = 3;
            role.price_max = Money(500_000);
            role.hours = Hours::office();
        };
        check(
            &wide,
            narrow,
            &[
                "same role staff may no longer dial international numbers",
                "same role staff may no longer dial numbers of LV (Latvia)",
                "same role staff: hours always → mon-fri 08:00-18:00",
                "same role staff: calls outside at once 4 → 3",
                "same role staff: highest price a minute 0.60 → 0.50 USD",
            ],
        );
        let narrowed = wide.next(narrow);
        check(
            &narrowed,
            |policy| policy.roles = wide.roles.clone(),
            &[
                "looser role staff may dial international numbers",
                "looser role staff may dial numbers of LV (Latvia)",
                "looser role staff: hours mon-fri 08:00-18:00 → always",
                "looser role staff: calls outside at once 3 → 4",
                "looser role staff: highest price a minute 0.50 → 0.60 USD",
            ],
        );
    }

    #[test]
    fn other_hours_loosen_where_they_are_not_within_the_former_ones() {
        assert!(within(&Hours(vec![(10, 20)]), &Hours(vec![(5, 15), (15, 30)])));
        assert!(!within(&Hours(vec![(10, 20)]), &Hours(vec![(5, 15), (16, 30)])));
        assert!(!within(&Hours::always(), &Hours::office()));
        assert!(within(&Hours(Vec::new()), &Hours(Vec::new())));
    }

    #[test]
    fn a_budget_of_ones_own_is_compared_with_everybodys() {
        let each = |policy: &mut Policy, of, hard| {
            policy.budgets.push(Budget { of, window: Window::Day, soft: None, hard: Some(hard) });
        };
        let shared = bare().next(|policy| each(policy, Account::EachExtension, Money(10_000_000)));
        check(
            &shared,
            |policy| each(policy, Account::Extension(ALICE), Money(20_000_000)),
            &["looser budget of extension 101 a day: hard 10.00 USD (each-extension) → 20.00 USD"],
        );
        check(
            &shared,
            |policy| each(policy, Account::Extension(ALICE), Money(5_000_000)),
            &["same budget of extension 101 a day: hard 10.00 USD (each-extension) → 5.00 USD"],
        );
        check(
            &shared,
            |policy| policy.budgets.clear(),
            &[
                "looser budget of each-extension a day: hard 10.00 USD → none; no budget bounds it any more",
            ],
        );
    }

    #[test]
    fn who_gets_a_role_and_what_is_unlocked_are_told() {
        let locked = bare().next(|policy| {
            policy.lockdown.add(Scope::Operator);
            let open = Role { name: "open".to_owned(), calls_max: 9, ..Role::staff() };
            policy.roles.insert(RoleId(9), open);
        });
        check(
            &locked,
            |policy| {
                policy.lockdown.lift(Scope::Operator);
                policy.lockdown.add(Scope::Extension(ALICE));
                policy.members.insert(ALICE, RoleId(9));
            },
            &[
                "looser the lockdown of operator ends",
                "same lockdown of extension 101: nothing outside but emergency",
                "looser extension 101: role staff → open",
            ],
        );
        let joined = locked.next(|policy| {
            policy.members.insert(ALICE, RoleId(9));
        });
        check(&joined, |policy| policy.members.clear(), &["same extension 101: role open → staff"]);
    }

    #[test]
    fn general_rules_say_before_and_after() {
        check(
            &bare(),
            |policy| {
                policy.home = "DE".parse().unwrap();
                policy.zone = "Europe/Berlin".to_owned();
                policy.outside_line = Some('0');
                policy.emergency_for_strangers = true;
            },
            &[
                "looser home country: US (United States) → DE (Germany); calls for help: 112, 110, 911",
                "looser time zone: UTC → Europe/Berlin",
                "same digit for an outside line: none → 0",
                "looser emergency calls by strangers: off → on",
            ],
        );
    }
}
