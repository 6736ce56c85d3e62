//! The policy, its changes, budgets and exposure, as text.

use std::fmt::Write;

use super::carriers::{price, span};
use super::{laid_out, or_else_say, shown, table};
use crate::admin::protocol::{
    Budget, BudgetReset, BudgetRule, Explained, Exposure, Policy, PolicyChange, PolicyVersion,
    Question, Role,
};

pub(super) fn policy(policy: &Policy) -> String {
    let mut out = String::new();
    let none = "none".to_owned();
    let _ = writeln!(out, "Policy version {}", policy.version);
    let mut line = |what: &str, text: &str| {
        let _ = writeln!(out, "  {what:<22} {text}");
    };
    line("home", &policy.home);
    line("currency", &policy.currency);
    line("zone", &policy.zone);
    line("outside-line", policy.outside_line.as_ref().unwrap_or(&none));
    line("area", policy.area.as_ref().unwrap_or(&none));
    line("default-role", &policy.default_role);
    line("working-hours", &policy.working_hours);
    let locked = match &policy.lockdown[..] {
        [] => "off".to_owned(),
        scopes => format!("ON: {}", scopes.join(", ")),
    };
    line("lockdown", &locked);
    let days = policy.emergency_guarantee_days;
    line("emergency", &format!("guaranteed for {days} days after a phone's last registration"));
    let strangers = if policy.emergency_for_strangers { "open to strangers" } else { "refused" };
    line("strangers' emergency", strangers);
    let _ = writeln!(out, "\n{}", roles(&policy.roles));
    let _ = write!(out, "{}", budget_rules(&policy.budgets, &policy.currency));
    out
}

pub(super) fn locked(list: &[String]) -> String {
    match list {
        [] => "Nothing is locked. To lock everything:  ringfence lockdown on\n".to_owned(),
        list => format!(
            "Locked, except for calls for help: {}.\nTo end it:  ringfence lockdown off --help\n",
            list.join(", ")
        ),
    }
}

pub(super) fn roles(list: &[Role]) -> String {
    let mut table = table(&[
        "role",
        "classes",
        "countries",
        "hours",
        "at once",
        "an hour",
        "longest",
        "price max",
        "extensions",
    ]);
    let joined = |list: &[String]| match list {
        [] => "-".to_owned(),
        list => list.join(","),
    };
    for one in list {
        let mark = if one.default { " (default)" } else { "" };
        table.add_row([
            format!("{}{mark}", one.name),
            joined(&one.classes),
            joined(&one.countries),
            one.hours.clone(),
            one.calls.to_string(),
            one.calls_per_hour.to_string(),
            span(one.longest_seconds),
            format!("{} {}", one.price_max, one.currency),
            joined(&one.extensions),
        ]);
    }
    laid_out(&table)
}

pub(super) fn role(one: &Role) -> String {
    let mut out = String::new();
    let _ =
        writeln!(out, "Role {}{}", one.name, if one.default { ", the default one" } else { "" });
    let mut line = |what: &str, text: &str| {
        let _ = writeln!(out, "  {what:<18} {text}");
    };
    let joined = |list: &[String]| match list {
        [] => "none".to_owned(),
        list => list.join(", "),
    };
    line("classes", &joined(&one.classes));
    let countries: Vec<String> = one.countries.iter().map(|code| named(code)).collect();
    line("countries abroad", &joined(&countries));
    line("hours", &one.hours);
    line("calls at once", &one.calls.to_string());
    line("calls an hour", &one.calls_per_hour.to_string());
    line("longest call", &span(one.longest_seconds));
    line("highest price", &format!("{} {} a minute", one.price_max, one.currency));
    let others = if one.default { " and whoever has no other" } else { "" };
    line("extensions", &format!("{}{others}", joined(&one.extensions)));
    out
}

/// `LV (Latvia)`
fn named(code: &str) -> String {
    match code.parse() {
        Ok(country) => format!("{code} ({})", guard::numbering::name(country)),
        Err(_) => code.to_owned(),
    }
}

fn budget_rules(list: &[BudgetRule], currency: &str) -> String {
    if list.is_empty() {
        return "No budgets: nothing bounds what is spent. Set one:  ringfence budget set --of \
                operator --per week --hard 100\n"
            .to_owned();
    }
    let mut table = table(&["budget of", "per", "warns at", "ends at"]);
    let amount = |bound: &Option<String>| match bound {
        Some(bound) => format!("{bound} {currency}"),
        None => "-".to_owned(),
    };
    for one in list {
        table.add_row([one.of.clone(), one.per.clone(), amount(&one.soft), amount(&one.hard)]);
    }
    laid_out(&table)
}

pub(super) fn policy_change(change: &PolicyChange) -> String {
    if change.changes.is_empty() {
        if !change.still_locked.is_empty() {
            let locked = change.still_locked.join(", ");
            return format!("That was not locked. Still locked: {locked}.\n");
        }
        return format!("Nothing changes: policy version {} says so already.\n", change.from);
    }
    let mut out = String::new();
    let _ = match change.saved {
        true => writeln!(out, "Policy version {} is in force:", change.version),
        false => writeln!(out, "Nothing was saved. Version {} would be:", change.version),
    };
    for words in &change.changes {
        let _ = writeln!(out, "  {words}");
    }
    if !change.still_locked.is_empty() {
        let _ = writeln!(out, "Still locked: {}.", change.still_locked.join(", "));
    }
    if change.before.summary == change.after.summary {
        let _ = writeln!(out, "{}", change.after.summary);
        return out;
    }
    let _ = writeln!(out, "Before: {}", change.before.summary);
    let _ = writeln!(out, "After:  {}", change.after.summary);
    out
}

pub(super) fn policy_history(list: &[PolicyVersion]) -> String {
    let mut out = String::new();
    for one in list {
        let _ = writeln!(out, "{:>6}  {}", one.version, one.since);
        for words in &one.changes {
            let _ = writeln!(out, "        {words}");
        }
    }
    or_else_say(out, "There is no former version: the first policy is in force.")
}

pub(super) fn explained(one: &Explained) -> String {
    let mut out = String::new();
    let verdict = match (one.permitted, &one.fails) {
        (true, Some(fails)) => format!("allowed, but {fails}"),
        (true, None) => "allowed".to_owned(),
        (false, _) => "refused".to_owned(),
    };
    let _ = writeln!(out, "{} from {}: {verdict}", shown(&one.number), one.from);
    let mut line = |what: &str, text: &str| {
        let _ = writeln!(out, "  {what:<13} {text}");
    };
    line("destination", &one.destination);
    if let Some(class) = &one.class {
        line("class", class);
    }
    if let Some(country) = &one.country {
        line("country", &named(country));
    }
    line("role", &one.role);
    line("rule", &format!("{} (policy version {})", one.rule, one.policy));
    if let Some(rate) = &one.rate {
        line("price", &price(rate, &one.currency));
    }
    if let (Some(hold), Some(seconds)) = (&one.first_hold, one.first_seconds) {
        line("first hold", &format!("{hold} {} for {seconds} s", one.currency));
    }
    if !one.trunks.is_empty() {
        line("trunks", &one.trunks.join(", then "));
    }
    line("why", &one.why);
    if let (Some(remedy), true) = (&one.remedy, one.permitted) {
        line("remedy", remedy);
    }
    out
}

pub(super) fn budget_reset(reset: &BudgetReset) -> String {
    let verdict = match reset.saved {
        true => {
            format!("What {} has spent in its present hour, day and week is forgotten.", reset.of)
        }
        false => format!("Nothing was changed. What {} has spent would be forgotten.", reset.of),
    };
    format!("{verdict}\nBefore: {}\nAfter:  {}\n", reset.before.summary, reset.after.summary)
}

pub(super) fn budgets(list: &[Budget]) -> String {
    if list.is_empty() {
        return budget_rules(&[], "");
    }
    let mut table = table(&["of", "per", "spent", "warns at", "ends at", "left", "until"]);
    for one in list {
        let amount = |bound: &Option<String>| match bound {
            Some(bound) => format!("{bound} {}", one.currency),
            None => "-".to_owned(),
        };
        table.add_row([
            one.of.clone(),
            one.per.clone(),
            format!("{} {}", one.spent, one.currency),
            amount(&one.soft),
            amount(&one.hard),
            amount(&one.left),
            one.ends.clone(),
        ]);
    }
    laid_out(&table)
}

pub(super) fn exposure(exposure: &Exposure) -> String {
    let mut out = format!("{}\n", exposure.summary);
    if exposure.lines.is_empty() {
        return out;
    }
    let mut table = table(&["of", "at most", "of it the tail", "until", "what bounds it"]);
    for one in &exposure.lines {
        table.add_row([
            one.of.clone(),
            format!("{} {}", one.most, exposure.currency),
            one.tail.clone(),
            exposure.until_local.clone(),
            one.binding.clone(),
        ]);
    }
    let _ = write!(out, "\n{}", laid_out(&table));
    let _ = writeln!(
        out,
        "\nThe tail is what a carrier may bill for after a call has ended here: it can't be closed from our side."
    );
    out
}

pub(super) fn done(question: &Question) -> Option<String> {
    Some(match question {
        Question::TrunkEnable { name, enabled: true } => {
            format!("Trunk {name} is in service again. Now:  ringfence trunk test {name}\n")
        }
        Question::TrunkEnable { name, enabled: false } => {
            format!("Trunk {name} is out of service. Calls that are up go on.\n")
        }
        Question::TrunkRemove { name } => {
            format!("Trunk {name} is removed, with its secret. Records of calls stay.\n")
        }
        Question::NumberAdd { number, trunk, extension } => {
            format!("{number} at {trunk} rings extension {extension}.\n")
        }
        Question::NumberRemove { number } => {
            format!("{number} is removed: its calls are refused.\n")
        }
        Question::ExtensionCallerId { number, caller_id: Some(caller_id) } => {
            format!("Extension {number} shows {caller_id} outside.\n")
        }
        Question::ExtensionCallerId { number, caller_id: None } => {
            format!("Extension {number} shows the trunk's number outside.\n")
        }
        _ => return None,
    })
}
