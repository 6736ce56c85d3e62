//! From an [`Edit`], as people say it, to the next version of the policy.

use std::sync::Arc;
use std::time::Duration;

use guard::id::RoleId;
use guard::ledger::Window;
use guard::money::Money;
use guard::numbering;
use guard::policy::{Account, Budget, Hours, Policy, Role};

use super::names::{self, Names};
use super::protocol::{Edit, Failure, Key, RoleChange};
use super::{amount, names::of_window};

/// The next version. Whether it holds together as a whole is judged by whoever puts it into effect.
///
/// # Errors
/// What can't be read or doesn't exist, and what to write instead.
pub(super) fn apply(policy: &Policy, edit: &Edit, names: &Names) -> Result<Arc<Policy>, Failure> {
    let mut next = policy.clone();
    match edit {
        Edit::Set { key, value } => set(&mut next, *key, value.trim())?,
        Edit::Lockdown { reach, on } => {
            let scope = names.reach(policy, reach)?;
            match on {
                true => next.lockdown.add(scope),
                false => next.lockdown.lift(scope),
            }
        }
        Edit::RoleAdd { name, like } => {
            let model = match like {
                Some(like) => names::role(policy, like)?,
                None => policy.default_role,
            };
            let model = policy.roles.get(&model).cloned().unwrap_or_else(Role::staff);
            let name = new_role_name(policy, name)?;
            next.roles.insert(new_role_id(policy), Role { name, ..model });
        }
        Edit::RoleSet { name, change } => {
            let id = names::role(policy, name)?;
            if let Some(role) = next.roles.get_mut(&id) {
                change_role(role, change)?;
            }
        }
        Edit::RoleRemove { name } => {
            let id = names::role(policy, name)?;
            check_unused(policy, id, name, names)?;
            next.roles.remove(&id);
        }
        Edit::Member { extension, role } => {
            let extension = names.extension(extension)?;
            match role {
                Some(name) => {
                    next.members.insert(extension, names::role(policy, name)?);
                }
                None => {
                    next.members.remove(&extension);
                }
            }
        }
        Edit::Budget { of, window, soft, hard } => {
            let of = names.whose(policy, of)?;
            let at = position(&mut next.budgets, of, *window);
            let budget = &mut next.budgets[at];
            budget.soft = bound(budget.soft, soft.as_deref())?;
            budget.hard = bound(budget.hard, hard.as_deref())?;
            check_order(budget)?;
            next.budgets.retain(|budget| budget.soft.is_some() || budget.hard.is_some());
        }
        Edit::Raise { of, window, by } => {
            let of = names.whose(policy, of)?;
            raise(&mut next.budgets, of, *window, parsed(by)?)?;
        }
    }
    Ok(policy.next(|present| *present = next))
}

fn set(policy: &mut Policy, key: Key, value: &str) -> Result<(), Failure> {
    let wrong = |remedy: &str| Failure::new(format!("`{value}` can't be used here"), remedy);
    match key {
        Key::Home => {
            policy.home = numbering::named(value).map_err(|why| {
                Failure::new(why, "`ringfence policy set home GB` would be the United Kingdom")
            })?;
        }
        Key::Currency => {
            let code = value.to_ascii_uppercase();
            policy.currency =
                code.parse().map_err(|_| wrong("give three letters, such as USD or EUR"))?;
        }
        Key::Zone => value.clone_into(&mut policy.zone),
        Key::OutsideLine => {
            let mut digits = value.chars();
            policy.outside_line = match (value, digits.next(), digits.next()) {
                ("none", ..) => None,
                (_, Some(digit), None) if digit.is_ascii_digit() => Some(digit),
                _ => return Err(wrong("give one digit, such as 9, or none")),
            };
        }
        Key::Area => {
            let is_code = (1..=AREA_MAX).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_digit());
            policy.area = match value {
                "none" => None,
                code if is_code => Some(code.to_owned()),
                _ => return Err(wrong("give the digits of the area code, such as 212, or none")),
            };
        }
        Key::EmergencyForStrangers => {
            policy.emergency_for_strangers = match value {
                "on" => true,
                "off" => false,
                _ => return Err(wrong("write on or off")),
            };
        }
        Key::EmergencyGuaranteeDays => {
            let days: u32 = value.parse().unwrap_or(0);
            if !(1..=GUARANTEE_DAYS_MAX).contains(&days) {
                return Err(wrong("give 1 to 3650 days"));
            }
            policy.emergency_guarantee = DAY * days;
        }
        Key::DefaultRole => policy.default_role = names::role(policy, value)?,
        Key::WorkingHours => policy.working = hours(value)?,
        Key::Lockdown => {
            return Err(wrong("write `ringfence lockdown on` or `ringfence lockdown off`"));
        }
    }
    Ok(())
}

fn change_role(role: &mut Role, change: &RoleChange) -> Result<(), Failure> {
    let RoleChange { allow, deny, countries, no_countries, .. } = change;
    let both = |word: &str| {
        Failure::new(
            format!("{word} is both allowed and denied"),
            "name it once: with --allow or --country, or with --deny or --no-country",
        )
    };
    if let Some(class) = allow.iter().find(|class| deny.contains(class)) {
        return Err(both(class.name()));
    }
    if let Some(country) = countries.iter().find(|country| no_countries.contains(country)) {
        return Err(both(country.code()));
    }
    role.classes.extend(allow);
    role.classes.retain(|class| !deny.contains(class));
    role.countries.extend(countries);
    role.countries.retain(|country| !no_countries.contains(country));
    if let Some(text) = &change.hours {
        role.hours = hours(text)?;
    }
    role.calls_max = change.calls.unwrap_or(role.calls_max);
    role.calls_per_hour = change.calls_per_hour.unwrap_or(role.calls_per_hour);
    role.longest = change.longest_seconds.map_or(role.longest, Duration::from_secs);
    if let Some(text) = &change.price_max {
        role.price_max = parsed(text)?;
    }
    Ok(())
}

fn hours(text: &str) -> Result<Hours, Failure> {
    text.parse().map_err(|error| {
        Failure::new(
            format!("`{text}` are no hours: {error}"),
            "write them as \"mon-fri 08:00-18:00\", several with a comma between, or always",
        )
    })
}

fn new_role_name(policy: &Policy, name: &str) -> Result<String, Failure> {
    let fits = (1..=ROLE_NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !fits {
        return Err(Failure::new(
            format!("`{name}` can't be a role's name"),
            format!("use 1 to {ROLE_NAME_MAX} letters, digits, dots, dashes and underscores"),
        ));
    }
    if policy.roles.values().any(|role| role.name == name) {
        return Err(Failure::new(
            format!("there is a role {name} already"),
            format!("change it with `ringfence role set {name}`, or choose another name"),
        ));
    }
    Ok(name.to_owned())
}

/// Above every one in use, so that what somebody else has spent is never taken over.
fn new_role_id(policy: &Policy) -> RoleId {
    let known = policy.roles.keys().chain(policy.members.values()).map(|id| id.0).max();
    RoleId(known.unwrap_or(0).saturating_add(1))
}

fn check_unused(policy: &Policy, id: RoleId, name: &str, names: &Names) -> Result<(), Failure> {
    if policy.default_role == id {
        return Err(Failure::new(
            format!("{name} is the role of every extension that has no other"),
            "make another one the default first: `ringfence policy set default-role NAME`",
        ));
    }
    if let Some((extension, _)) = policy.members.iter().find(|(_, role)| **role == id) {
        let of = names.of_extension(*extension);
        return Err(Failure::new(
            format!("{of} has the role {name}"),
            "give it another first: `ringfence extension role 101 NAME`, or `none`",
        ));
    }
    if policy.budgets.iter().any(|budget| budget.of == Account::Role(id)) {
        return Err(Failure::new(
            format!("the role {name} has a budget"),
            format!("take it away first: `ringfence budget set --of role {name} --hard none …`"),
        ));
    }
    Ok(())
}

/// Where the budget of that account and window stands; one is added where there is none.
fn position(budgets: &mut Vec<Budget>, of: Account, window: Window) -> usize {
    let found = budgets.iter().position(|one| one.of == of && one.window == window);
    found.unwrap_or_else(|| {
        budgets.push(Budget { of, window, soft: None, hard: None });
        budgets.len() - 1
    })
}

fn raise(budgets: &mut Vec<Budget>, of: Account, window: Window, by: Money) -> Result<(), Failure> {
    let has = |of| budgets.iter().find(|one| one.of == of && one.window == window).cloned();
    // An extension without a budget of its own has everybody's, and gets its own from there.
    let shared = || match of {
        Account::Extension(_) => has(Account::EachExtension),
        _ => None,
    };
    let Some(present) = has(of).or_else(shared).filter(|budget| budget.hard.is_some()) else {
        return Err(Failure::new(
            format!("there is no hard budget a {} there to raise", of_window(window)),
            "`ringfence budget show` shows those there are; `ringfence budget set` makes one",
        ));
    };
    let more = |bound: Option<Money>| match bound {
        None => Ok(None),
        Some(bound) => bound
            .checked_add(by)
            .map(Some)
            .ok_or_else(|| Failure::new("that is more than can be counted", "raise it by less")),
    };
    let (soft, hard) = (more(present.soft)?, more(present.hard)?);
    let at = position(budgets, of, window);
    budgets[at] = Budget { of, window, soft, hard };
    Ok(())
}

fn bound(present: Option<Money>, text: Option<&str>) -> Result<Option<Money>, Failure> {
    match text {
        None => Ok(present),
        Some("none") => Ok(None),
        Some(text) => parsed(text).map(Some),
    }
}

fn check_order(budget: &Budget) -> Result<(), Failure> {
    match (budget.soft, budget.hard) {
        (Some(soft), Some(hard)) if soft > hard => Err(Failure::new(
            format!(
                "a soft bound of {} can't warn before a hard one of {}",
                amount::text(soft),
                amount::text(hard)
            ),
            "set the soft bound below the hard one, or --soft none",
        )),
        _ => Ok(()),
    }
}

fn parsed(text: &str) -> Result<Money, Failure> {
    amount::parse(text).map_err(|wrong| Failure::new(wrong, "write it as 12.50"))
}

const DAY: Duration = Duration::from_secs(86_400);
/// Ten years: longer than any phone lies in a drawer.
const GUARANTEE_DAYS_MAX: u32 = 3_650;
/// The longest area codes in use have five digits; one more costs nothing.
const AREA_MAX: usize = 6;
/// Fits in a table.
const ROLE_NAME_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::protocol::{Reach, Whose};
    use super::*;
    use guard::id::{ExtensionId, TenantId, TrunkId};
    use guard::number::{Class, Country};
    use guard::policy::Scope;

    fn names() -> Names {
        Names {
            tenant: TenantId::HOUSE,
            extensions: vec![
                (ExtensionId(0xa), "101".to_owned()),
                (ExtensionId(0xb), "102".to_owned()),
            ],
            trunks: vec![(TrunkId(7), "carrier".to_owned())],
        }
    }

    fn edited(policy: &Policy, edit: Edit) -> Arc<Policy> {
        apply(policy, &edit, &names()).unwrap_or_else(|failure| panic!("{edit:?}: {failure:?}"))
    }

    fn refused(policy: &Policy, edit: Edit) -> Failure {
        let failure = apply(policy, &edit, &names()).expect_err(&format!("{edit:?}"));
        assert!(!failure.wrong.is_empty() && !failure.remedy.is_empty(), "{failure:?}");
        failure
    }

    fn set(key: Key, value: &str) -> Edit {
        Edit::Set { key, value: value.to_owned() }
    }

    fn budget(of: Whose, hard: &str) -> Edit {
        Edit::Budget { of, window: Window::Day, soft: None, hard: Some(hard.to_owned()) }
    }

    fn hard(policy: &Policy, of: Account, window: Window) -> Option<Money> {
        policy.budgets.iter().find(|one| one.of == of && one.window == window)?.hard
    }

    #[test]
    fn each_edit_is_the_next_version_and_leaves_the_former_one() {
        let first = Policy::first(Country::US);
        let second = edited(&first, set(Key::Home, "de"));
        assert_eq!((second.home.code(), second.version.0), ("DE", first.version.0 + 1));
        assert_eq!(first.home, Country::US);
        let third = edited(&second, set(Key::Zone, "Europe/Berlin"));
        assert_eq!((third.zone.as_str(), third.home.code()), ("Europe/Berlin", "DE"));
    }

    #[test]
    fn what_is_set_is_read_strictly() {
        let first = Policy::first(Country::US);
        assert_eq!(edited(&first, set(Key::OutsideLine, "9")).outside_line, Some('9'));
        assert_eq!(edited(&first, set(Key::Area, "212")).area.as_deref(), Some("212"));
        assert!(edited(&first, set(Key::EmergencyForStrangers, "on")).emergency_for_strangers);
        let days = edited(&first, set(Key::EmergencyGuaranteeDays, "7")).emergency_guarantee;
        assert_eq!(days, DAY * 7);
        assert_eq!(edited(&first, set(Key::WorkingHours, "always")).working, Hours::always());
        for (key, value) in [
            (Key::Home, "Germany"),
            (Key::Home, "XX"),
            (Key::Currency, "dollars"),
            (Key::OutsideLine, "99"),
            (Key::OutsideLine, "x"),
            (Key::Area, ""),
            (Key::Area, "030-12"),
            (Key::EmergencyForStrangers, "perhaps"),
            (Key::EmergencyGuaranteeDays, "0"),
            (Key::EmergencyGuaranteeDays, "36500"),
            (Key::DefaultRole, "nobody"),
            (Key::WorkingHours, "sometimes"),
            (Key::Lockdown, "on"),
        ] {
            refused(&first, set(key, value));
        }
    }

    #[test]
    fn a_role_begins_like_another_and_changes_only_in_what_is_said() {
        let first = Policy::first(Country::US);
        let add = Edit::RoleAdd { name: "sales".to_owned(), like: Some("staff".to_owned()) };
        let added = edited(&first, add.clone());
        let sales = names::role(&added, "sales").unwrap();
        let staff = names::role(&added, "staff").unwrap();
        assert_eq!(added.roles[&sales].classes, added.roles[&staff].classes);
        refused(&added, add);
        let change = RoleChange {
            allow: vec![Class::International],
            deny: vec![Class::Mobile],
            countries: vec!["LV".parse().unwrap()],
            calls: Some(1),
            price_max: Some("0.0045".to_owned()),
            ..RoleChange::default()
        };
        let set = |change| Edit::RoleSet { name: "sales".to_owned(), change };
        let changed = edited(&added, set(change));
        let role = &changed.roles[&sales];
        assert!(role.classes.contains(&Class::International));
        assert!(!role.classes.contains(&Class::Mobile));
        assert_eq!((role.calls_max, role.price_max), (1, Money(4_500)));
        assert_eq!(role.calls_per_hour, added.roles[&sales].calls_per_hour);
        let both = RoleChange {
            allow: vec![Class::Premium],
            deny: vec![Class::Premium],
            ..RoleChange::default()
        };
        refused(&added, set(both));
        refused(
            &added,
            set(RoleChange { hours: Some("noon".to_owned()), ..RoleChange::default() }),
        );
        for name in ["", "two words", "ünïcode", &"x".repeat(33)] {
            refused(&first, Edit::RoleAdd { name: name.to_owned(), like: None });
        }
    }

    #[test]
    fn a_role_goes_only_when_nobody_needs_it() {
        let remove = |name: &str| Edit::RoleRemove { name: name.to_owned() };
        let first = Policy::first(Country::US);
        assert!(refused(&first, remove("staff")).wrong.contains("no other"));
        let added = edited(&first, Edit::RoleAdd { name: "sales".to_owned(), like: None });
        let member = |role: Option<&str>| Edit::Member {
            extension: "101".to_owned(),
            role: role.map(str::to_owned),
        };
        let joined = edited(&added, member(Some("sales")));
        assert!(refused(&joined, remove("sales")).wrong.contains("extension 101"));
        let bounded = edited(&added, budget(Whose::Role("sales".to_owned()), "5"));
        assert!(refused(&bounded, remove("sales")).wrong.contains("budget"));
        let left = edited(&joined, member(None));
        let removed = edited(&left, remove("sales"));
        assert!(names::role(&removed, "sales").is_err());
        // Its number is not given again: what the former one spent is not the new one's.
        refused(&first, member(Some("sales")));
    }

    #[test]
    fn a_lockdown_reaches_what_was_named_and_is_lifted_by_the_same_name() {
        let first = Policy::first(Country::US);
        for (reach, scope) in [
            (Reach::Everything, Scope::Operator),
            (Reach::Tenant, Scope::Tenant(TenantId::HOUSE)),
            (Reach::Role("staff".to_owned()), Scope::Role(first.default_role)),
            (Reach::Extension("102".to_owned()), Scope::Extension(ExtensionId(0xb))),
            (Reach::Trunk("carrier".to_owned()), Scope::Trunk(TrunkId(7))),
        ] {
            let on = edited(&first, Edit::Lockdown { reach: reach.clone(), on: true });
            assert!(on.lockdown.covers(scope), "{reach:?}");
            assert!(edited(&on, Edit::Lockdown { reach, on: false }).lockdown.is_empty());
        }
        let nobody = Reach::Extension("999".to_owned());
        refused(&first, Edit::Lockdown { reach: nobody, on: true });
        refused(&first, Edit::Lockdown { reach: Reach::Trunk("x".to_owned()), on: true });
    }

    #[test]
    fn a_raised_extension_gets_its_own_budget_above_everybodys() {
        let first = Policy::first(Country::US);
        let shared = edited(&first, budget(Whose::EachExtension, "10"));
        let of = Whose::Extension("101".to_owned());
        let raise = |by: &str, window| Edit::Raise { of: of.clone(), window, by: by.to_owned() };
        let raised = edited(&shared, raise("2.50", Window::Day));
        let own = Account::Extension(ExtensionId(0xa));
        assert_eq!(hard(&raised, own, Window::Day), Some(Money(12_500_000)));
        let everybody = hard(&raised, Account::EachExtension, Window::Day);
        assert_eq!(everybody, Some(Money(10_000_000)));
        let again = edited(&raised, raise("1", Window::Day));
        assert_eq!(hard(&again, own, Window::Day), Some(Money(13_500_000)));
        refused(&shared, raise("1", Window::Hour));
        refused(&shared, raise("9223372036854", Window::Day));
        refused(&shared, raise("much", Window::Day));
    }

    #[test]
    fn a_budget_without_bounds_is_gone() {
        let first = Policy::first(Country::US);
        let bounded = edited(&first, budget(Whose::Tenant, "5"));
        let of = Account::Tenant(TenantId::HOUSE);
        assert_eq!(hard(&bounded, of, Window::Day), Some(Money(5_000_000)));
        let gone = edited(&bounded, budget(Whose::Tenant, "none"));
        assert!(gone.budgets.iter().all(|one| one.of != of));
        let upside_down = Edit::Budget {
            of: Whose::Tenant,
            window: Window::Day,
            soft: Some("6".to_owned()),
            hard: None,
        };
        assert!(refused(&bounded, upside_down).wrong.contains("6.00"));
    }
}
