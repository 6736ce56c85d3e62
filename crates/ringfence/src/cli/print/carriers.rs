//! Trunks, numbers, price lists and what calls cost, as text.

use std::fmt::Write;

use super::{laid_out, or_else_say, shown, table, weaknesses};
use crate::admin::protocol::{
    Cost, Costs, Number, Question, Rate, Rates, RatesChange, Toll, Trunk, TrunkTest,
};

pub(super) fn trunks(list: &[Trunk]) -> String {
    if list.is_empty() {
        return "No trunks yet, so nothing outside can be called. Begin with:  ringfence trunk add \
                carrier --server sip.example.net --user 4711\n"
            .to_owned();
    }
    let mut table = table(&[
        "trunk",
        "state",
        "server",
        "transport",
        "media",
        "calls",
        "priority",
        "weaknesses",
    ]);
    for one in list {
        let state = match (&one.why, one.state.as_str()) {
            (Some(why), state) => format!("{state}: {}", shown(why)),
            (None, state) => state.to_owned(),
        };
        table.add_row([
            one.name.clone(),
            state,
            one.server.clone(),
            one.transport.clone(),
            one.media.clone(),
            format!("{} of {}", one.calls, one.channels),
            one.priority.to_string(),
            weaknesses(&one.weaknesses),
        ]);
    }
    laid_out(&table)
}

pub(super) fn trunk(question: &Question, one: &Trunk) -> String {
    let mut out = String::new();
    let _ = match question {
        Question::TrunkAdd { .. } => {
            writeln!(out, "Trunk {} is added. Now:  ringfence trunk test {}\n", one.name, one.name)
        }
        Question::TrunkSet { .. } => writeln!(out, "Trunk {} is changed.\n", one.name),
        _ => Ok(()),
    };
    let _ = writeln!(out, "Trunk {}: {}", one.name, one.state);
    let mut line = |what: &str, text: &str| {
        let _ = writeln!(out, "  {what:<14} {text}");
    };
    if let Some(why) = &one.why {
        let retry = one.retry.as_deref().unwrap_or("-");
        line("why", &format!("{} (tried again {retry})", shown(why)));
    }
    if let Some(since) = &one.since {
        line("since", since);
    }
    if let Some(expires) = &one.expires {
        line("registered", &format!("until {expires}"));
    }
    line("server", &one.server);
    let negotiated = one.tls.as_ref().map_or_else(String::new, |tls| format!(" ({tls})"));
    line("signalling", &format!("{}{negotiated}", one.transport));
    line("media", if one.media == "srtp" { "SRTP, mandatory" } else { "plain RTP" });
    line("authority", if one.own_authority { "its own" } else { "the public ones" });
    let account = one.user.as_ref().map_or_else(String::new, |user| format!(", account {user}"));
    line("known by", &format!("{}{account}", one.access));
    if let Some(user) = &one.auth_user {
        line("signs in as", user);
    }
    if !one.addresses.is_empty() {
        line("calls from", &one.addresses.join(", "));
    }
    line("next call to", one.places.first().map_or("nowhere", String::as_str));
    line("caller", &caller(one));
    let codecs = if one.codecs.is_empty() { "all".to_owned() } else { one.codecs.join(", ") };
    line("codecs", &codecs);
    line("calls", &format!("{} of {} at once, priority {}", one.calls, one.channels, one.priority));
    let (silence, longest) = (span(one.silence_limit_seconds), span(one.longest_seconds));
    line("ends", &format!("after {silence} of silence, after {longest} in any case"));
    line("weaknesses", &weaknesses(&one.weaknesses));
    out
}

fn caller(one: &Trunk) -> String {
    let mut parts = vec![match &one.caller_id {
        Some(number) => format!("{number} for whoever has none"),
        None => "none for whoever has none".to_owned(),
    }];
    for (holds, words) in [
        (one.asserted_identity, "in P-Asserted-Identity"),
        (one.from_account, "the account in From"),
        (one.private, "not to be shown"),
    ] {
        if holds {
            parts.push(words.to_owned());
        }
    }
    parts.join(", ")
}

pub(super) fn trunk_test(test: &TrunkTest) -> String {
    let mut out = String::new();
    for step in &test.steps {
        let mark = if step.passed { "✓ passed" } else { "✗ failed" };
        let _ = writeln!(out, "  {mark}  {:<13} {}", step.what, shown_long(&step.found));
        if let Some(remedy) = &step.remedy {
            let _ = writeln!(out, "            {remedy}");
        }
    }
    let remedies = test.remedies.iter().map(String::as_str).chain(std::iter::repeat(""));
    for (weakness, remedy) in test.weaknesses.iter().zip(remedies) {
        let _ = writeln!(out, "  ! weak    {weakness}");
        if !remedy.is_empty() {
            let _ = writeln!(out, "            {remedy}");
        }
    }
    let verdict = match (test.passed, test.weaknesses.is_empty()) {
        (true, true) => "works, and nothing about it is weak",
        (true, false) => "works, but see what is weak about it",
        (false, _) => "does not work",
    };
    let _ = writeln!(out, "Trunk {} {verdict}. No call was placed.", test.name);
    if test.disabled {
        let _ = writeln!(
            out,
            "It is out of service and was brought up for this test alone:  ringfence trunk enable {}",
            test.name
        );
    }
    out
}

pub(super) fn numbers(list: &[Number]) -> String {
    if list.is_empty() {
        return "No numbers yet, so nobody outside can call in. Begin with:  ringfence number add \
                +12025550123 --trunk carrier --to 101\n"
            .to_owned();
    }
    let mut table = table(&["number", "trunk", "extension"]);
    for one in list {
        table.add_row([one.number.clone(), one.trunk.clone(), one.extension.clone()]);
    }
    laid_out(&table)
}

pub(super) fn rates(question: &Question, answer: &Rates) -> String {
    let mut out = String::new();
    if let Question::RatesShow { number } = question {
        let country = answer.country.as_deref().map_or_else(String::new, |c| format!(", {c}"));
        let price = answer.price.as_ref().map(|rate| price(rate, &answer.currency));
        let _ = match (answer.class.as_deref(), price) {
            // The beginning of one, or a mistake: lines of the list may be about it all the same.
            (None | Some("unknown"), None) => {
                writeln!(
                    out,
                    "No plan knows {number} as a whole number: dialled so, it is refused."
                )
            }
            (None | Some("unknown"), Some(price)) => {
                writeln!(out, "No plan knows {number} as a whole number; what begins so: {price}")
            }
            (Some(class), Some(price)) => writeln!(out, "{number} is {class}{country}: {price}"),
            (Some(class), None) => writeln!(
                out,
                "{number} is {class}{country}: nobody knows what it costs, so it is refused"
            ),
        };
    } else {
        let _ = match answer.version {
            0 => writeln!(out, "No price list is imported: cautious estimates hold."),
            version => writeln!(
                out,
                "Price list {version}, {} in {}",
                lines(answer.lines),
                answer.currency
            ),
        };
    }
    if answer.rates.is_empty() {
        if matches!(question, Question::RatesShow { .. }) && answer.version != 0 {
            let _ = writeln!(out, "No line of the price list is about it.");
        }
        return out;
    }
    let _ = writeln!(out);
    let mut table = table(&["prefix", "name", "a minute", "connect", "billed in", "source"]);
    for one in &answer.rates {
        table.add_row([
            one.prefix.clone(),
            shown(&one.name),
            one.per_minute.clone(),
            one.connect.clone(),
            format!("{}/{} s", one.first, one.increment),
            one.source.clone(),
        ]);
    }
    out.push_str(&laid_out(&table));
    let left = answer.lines.saturating_sub(answer.rates.len());
    if matches!(question, Question::RatesList { .. }) && left > 0 {
        let _ = writeln!(out, "and {left} more: --limit shows them");
    }
    out
}

/// `0.05 USD a minute, 0.10 USD to connect, billed in 60/60 s (Latvia, mobile; by the price list)`
pub(super) fn price(rate: &Rate, currency: &str) -> String {
    let connect = match rate.connect.as_str() {
        "0.00" => String::new(),
        connect => format!(", {connect} {currency} to connect"),
    };
    // The name of an estimate says that it is one.
    let source = if rate.source == "estimate" { "" } else { "; by the price list" };
    format!(
        "{} {currency} a minute{connect}, billed in {}/{} s ({}{source})",
        rate.per_minute,
        rate.first,
        rate.increment,
        shown(&rate.name),
    )
}

pub(super) fn rates_change(change: &RatesChange) -> String {
    let mut out = String::new();
    let _ = match (change.saved, change.version, change.lines) {
        (true, version, 0) => {
            writeln!(out, "Price list {version}: empty; cautious estimates hold.")
        }
        (true, version, count) => {
            writeln!(out, "Price list {version} is in force: {}.", lines(count))
        }
        (false, _, count) => writeln!(out, "Nothing was saved. It would have {}.", lines(count)),
    };
    for (count, words) in [
        (change.added, "new"),
        (change.removed, "gone"),
        (change.dearer, "dearer"),
        (change.cheaper, "cheaper"),
        (change.otherwise, "with other names or billing steps"),
    ] {
        if count > 0 {
            let _ = writeln!(out, "  {count:>8}  {words}");
        }
    }
    if let (Some(lowest), Some(highest)) = (&change.lowest, &change.highest) {
        let currency = &change.currency;
        let _ = writeln!(out, "  prices  {lowest} to {highest} {currency} a minute");
    }
    for one in &change.passes {
        let count = lines(one.lines);
        let _ = writeln!(
            out,
            "  role {}: {count} within its highest price of {}",
            one.role, one.price_max
        );
    }
    if let Some(first) = &change.later_first {
        let verb = if change.later == 1 { "takes" } else { "take" };
        let _ = writeln!(
            out,
            "  later   {} {verb} effect later, the first on {first}; import the file again then",
            lines(change.later)
        );
        if change.later_kept > 0 {
            let verb = if change.later_kept == 1 { "stays" } else { "stay" };
            let _ = writeln!(
                out,
                "          until then {} of the present list {verb} in force",
                lines(change.later_kept)
            );
        }
    }
    for words in &change.loosens {
        let _ = writeln!(out, "  look    {words}");
    }
    let _ =
        writeln!(out, "  before  {}\n  after   {}", change.before.summary, change.after.summary);
    out
}

pub(super) fn tolls(list: &[Toll]) -> String {
    let mut out = String::new();
    for toll in list {
        let country = toll.country.as_deref().map_or_else(String::new, |c| format!(", {c}"));
        let _ = writeln!(out, "\n  outside, over trunk {}", toll.trunk);
        let _ = writeln!(out, "    number       {} ({}{country})", shown(&toll.number), toll.class);
        let _ = writeln!(out, "    rule         {} (policy version {})", toll.rule, toll.policy);
        let _ = writeln!(out, "    rate         {}", price(&toll.rate, &toll.currency));
        let _ = match &toll.answered {
            Some(answered) => {
                writeln!(out, "    charged      {} s from {answered}", toll.seconds)
            }
            None => writeln!(out, "    charged      nothing: it was never answered"),
        };
        let _ = writeln!(
            out,
            "    cost         {} {} (set aside at most {})",
            toll.cost, toll.currency, toll.held
        );
    }
    out
}

pub(super) fn costs(costs: &Costs) -> String {
    if costs.totals.is_empty() {
        return "No call outside in that time, so nothing was spent.\n".to_owned();
    }
    let mut table = table(&[&costs.by, "legs outside", "answered", "minutes", "cost"]);
    let mut row = |cost: &Cost| {
        table.add_row([
            cost.of.clone(),
            cost.legs.to_string(),
            cost.answered.to_string(),
            format!("{}:{:02}", cost.seconds / 60, cost.seconds % 60),
            format!("{} {}", cost.cost, cost.currency),
        ]);
    };
    costs.lines.iter().chain(&costs.totals).for_each(&mut row);
    or_else_say(laid_out(&table), "")
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// `2 min`, `4 h`, `90 s`
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        _ if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// A carrier's words in a sentence of ours, longer than a table's cell bears.
fn shown_long(text: &str) -> String {
    text.chars().take(300).collect()
}
