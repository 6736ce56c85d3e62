//! Answers as text: tables for lists, sentences for the rest.

pub(super) mod alert;
mod carriers;
mod rules;
mod status;
#[cfg(test)]
mod tests;
mod wall;

use std::cell::LazyCell;
use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use guard::zone::{self, Zone};

use crate::admin::protocol::{
    Answer, Call, Calls, Device, Extension, LadderLine, PhoneSettings, Question, Verified,
};
use crate::plain;

/// The value alone, so that scripts don't unwrap our envelope.
pub(super) fn json(answer: &Answer) -> String {
    let value = match answer {
        Answer::Done | Answer::DoneWith(_) | Answer::Failed(_) => {
            serde_json::to_string_pretty(answer)
        }
        Answer::Status(value) => serde_json::to_string_pretty(value),
        Answer::Secret(value) => serde_json::to_string_pretty(value),
        Answer::Extensions(value) => serde_json::to_string_pretty(value),
        Answer::Devices(value) => serde_json::to_string_pretty(value),
        Answer::Calls(value) => serde_json::to_string_pretty(value),
        Answer::Call(value) => serde_json::to_string_pretty(value),
        Answer::Journal(value) => serde_json::to_string_pretty(value),
        Answer::Verified(value) => serde_json::to_string_pretty(value),
        Answer::Trunks(value) => serde_json::to_string_pretty(value),
        Answer::TrunkTested(value) => serde_json::to_string_pretty(value),
        Answer::Numbers(value) => serde_json::to_string_pretty(value),
        Answer::Roles(value) => serde_json::to_string_pretty(value),
        Answer::Policy(value) => serde_json::to_string_pretty(value),
        Answer::PolicyChanged(value) => serde_json::to_string_pretty(value),
        Answer::PolicyHistory(value) => serde_json::to_string_pretty(value),
        Answer::Explained(value) => serde_json::to_string_pretty(value),
        Answer::Rates(value) => serde_json::to_string_pretty(value),
        Answer::RatesChanged(value) => serde_json::to_string_pretty(value),
        Answer::RatesCsv(value) => serde_json::to_string_pretty(value),
        Answer::Budgets(value) => serde_json::to_string_pretty(value),
        Answer::BudgetReset(value) => serde_json::to_string_pretty(value),
        Answer::Exposure(value) => serde_json::to_string_pretty(value),
        Answer::Bans(value) => serde_json::to_string_pretty(value),
        Answer::Alerts(value) => serde_json::to_string_pretty(value),
        Answer::Sinks(value) => serde_json::to_string_pretty(value),
        Answer::Lockdown(value) => serde_json::to_string_pretty(value),
    };
    plain::json(&value.expect("an answer is strings and numbers")) + "\n"
}

/// The same with every time as the clock on the wall there shows it. JSON keeps UTC.
pub(super) fn localised(answer: Answer, zone: impl FnOnce() -> Zone) -> Answer {
    let zone = LazyCell::new(zone);
    fn walk<F: FnOnce() -> Zone>(value: &mut serde_json::Value, zone: &LazyCell<Zone, F>) {
        match value {
            serde_json::Value::String(text) => {
                if let Some(at) = zone::written(text) {
                    *text = zone.wall(at);
                }
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(|one| walk(one, zone)),
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(|one| walk(one, zone));
            }
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::to_value(&answer) else { return answer };
    walk(&mut value, &zone);
    serde_json::from_value(value).unwrap_or(answer)
}

/// For people: whatever strangers wrote into it, a terminal shows text and nothing else.
pub(super) fn text(question: &Question, answer: &Answer) -> String {
    plain::lines(&unfiltered(question, answer))
}

fn unfiltered(question: &Question, answer: &Answer) -> String {
    match answer {
        Answer::Done => done(question),
        Answer::DoneWith(said) => {
            said.iter().fold(done(question), |out, sentence| format!("{out}{sentence}\n"))
        }
        Answer::BudgetReset(reset) => rules::budget_reset(reset),
        Answer::Status(one) => status::screen(one),
        Answer::Secret(settings) => phone_settings(settings),
        Answer::Extensions(list) => match (question, &list[..]) {
            (Question::ExtensionShow { .. }, [one]) => extension(one),
            _ => extensions(list),
        },
        Answer::Devices(list) => devices(list),
        Answer::Calls(list) => calls(list),
        Answer::Trunks(list) => match (question, &list[..]) {
            (Question::TrunkList, _) | (_, []) => carriers::trunks(list),
            (_, [one, ..]) => carriers::trunk(question, one),
        },
        Answer::TrunkTested(test) => carriers::trunk_test(test),
        Answer::Numbers(list) => carriers::numbers(list),
        Answer::Roles(list) => match (question, &list[..]) {
            (Question::RoleShow { .. }, [one]) => rules::role(one),
            _ => rules::roles(list),
        },
        Answer::Policy(one) => rules::policy(one),
        Answer::PolicyChanged(change) => rules::policy_change(change),
        Answer::PolicyHistory(list) => rules::policy_history(list),
        Answer::Explained(one) => rules::explained(one),
        Answer::Rates(rates) => carriers::rates(question, rates),
        Answer::RatesChanged(change) => carriers::rates_change(change),
        Answer::RatesCsv(csv) => csv.clone(),
        Answer::Budgets(list) => rules::budgets(list),
        Answer::Exposure(exposure) => rules::exposure(exposure),
        Answer::Bans(list) => wall::bans(list),
        Answer::Alerts(list) => alert::alerts(question, list),
        Answer::Sinks(list) => alert::sinks(question, list),
        Answer::Lockdown(list) => rules::locked(list),
        Answer::Call(one) => call(one),
        Answer::Journal(entries) => {
            let mut out = String::new();
            for entry in entries {
                let at = &entry.time;
                let _ = writeln!(
                    out,
                    "{:>8}  {at}  {:<6}  {}",
                    entry.sequence, entry.severity, entry.text
                );
            }
            or_else_say(out, "The journal is empty.")
        }
        Answer::Verified(verified) => verification(verified),
        Answer::Failed(failure) => format!("{}\n", failure.wrong),
    }
}

fn done(question: &Question) -> String {
    match question {
        Question::ExtensionEnable { number, enabled: true } => {
            format!("Extension {number} is in service again; its phones may sign in.\n")
        }
        Question::ExtensionEnable { number, enabled: false } => {
            format!("Extension {number} is out of service. Calls that are up go on.\n")
        }
        Question::ExtensionRename { number, name } => {
            format!("Extension {number} is now \"{name}\".\n")
        }
        Question::ExtensionRemove { number } => {
            format!("Extension {number} is removed, with its secret and its phones.\n")
        }
        Question::ExtensionAllow { number, plain_rtp: true } => format!(
            "Phones of extension {number} may now send audio unencrypted. It shows as a weakness.\n"
        ),
        Question::ExtensionAllow { number, plain_rtp: false } => {
            format!("Phones of extension {number} must encrypt audio again.\n")
        }
        Question::DeviceAllow { plain_rtp: true, .. } => {
            "This phone may now send audio unencrypted. It shows as a weakness.\n".to_owned()
        }
        Question::DeviceAllow { plain_rtp: false, .. } => {
            "This phone must encrypt audio again.\n".to_owned()
        }
        Question::DeviceRemove { .. } => "The phone is forgotten.\n".to_owned(),
        Question::SinkRemove { sink } => format!("No more alerts go to sink {sink}.\n"),
        Question::SinkTest { sink } => format!("Sink {sink} took the test.\n"),
        Question::HangUp { .. } => "The call is being ended.\n".to_owned(),
        // They say it themselves.
        Question::Ban { .. } | Question::Unban { .. } => String::new(),
        question => rules::done(question).unwrap_or_else(|| "Done.\n".to_owned()),
    }
}

fn phone_settings(settings: &PhoneSettings) -> String {
    let PhoneSettings { number, name, user, secret, domain, port, transport, media, .. } = settings;
    let PhoneSettings { ca_file, ca_sha256, ca_url, .. } = settings;
    let fetch = ca_url.as_ref().map_or_else(String::new, |url| {
        format!("\n  fetch     {url}   (with a browser on this machine)")
    });
    format!(
        "Extension {number}, {name}. Type this into the phone:

  server, registrar, domain   {domain}
  port                        {port}
  transport                   {transport}
  user name                   {user}
  password                    {secret}
  media encryption            {media}

The phone must trust this authority (and verify the server against it):

  file      {ca_file}{fetch}
  SHA-256   {ca_sha256}

The password is stored sealed; `ringfence extension reveal {number}` shows it again and is journalled.
"
    )
}

fn extensions(list: &[Extension]) -> String {
    if list.is_empty() {
        return "No extensions yet. Begin with:  ringfence extension add 101 --name \"Front desk\"\n"
            .to_owned();
    }
    let mut table = table(&["number", "name", "state", "phones", "weaknesses"]);
    for one in list {
        let registered = one.devices.iter().filter(|device| device.registered).count();
        table.add_row([
            one.number.clone(),
            shown(&one.name),
            if one.enabled { "in service" } else { "disabled" }.to_owned(),
            format!("{registered} registered"),
            weaknesses(&one.weaknesses),
        ]);
    }
    laid_out(&table)
}

fn extension(one: &Extension) -> String {
    let mut out = String::new();
    let state = if one.enabled { "in service" } else { "disabled" };
    let _ = writeln!(out, "Extension {}, {}: {state}", one.number, one.name);
    let _ = writeln!(out, "  created      {}", one.created);
    let _ = writeln!(out, "  secret       since {}", one.secret_since);
    let caller_id = one.caller_id.as_deref().unwrap_or("the trunk's number");
    let _ = writeln!(out, "  shows        {caller_id} outside");
    if let Some(until) = &one.former_secret_until {
        let _ = writeln!(out, "  former       makes emergency calls until {until}");
    }
    let _ = writeln!(out, "  weaknesses   {}\n", weaknesses(&one.weaknesses));
    out.push_str(&devices(&one.devices));
    out
}

fn devices(list: &[Device]) -> String {
    if list.is_empty() {
        return "No phone has signed in yet.\n".to_owned();
    }
    let mut table = table(&[
        "device",
        "extension",
        "phone",
        "state",
        "address",
        "signalling",
        "digest",
        "weaknesses",
    ]);
    for one in list {
        let signalling = match (&one.transport, &one.tls) {
            (Some(_), Some(tls)) => tls.clone(),
            (Some(transport), None) => transport.clone(),
            (None, _) => "-".to_owned(),
        };
        let state = match (&one.former_password_since, one.registered) {
            (Some(since), _) => format!("tries the former password since {since}"),
            (None, true) => "registered".to_owned(),
            (None, false) => format!("last seen {}", one.last_seen),
        };
        let nat = if one.behind_nat.is_some() { " (NAT)" } else { "" };
        table.add_row([
            one.id.chars().take(SHORT_ID).collect(),
            one.extension.clone(),
            shown(&one.agent),
            state,
            one.address.as_ref().map_or("-".to_owned(), |address| format!("{address}{nat}")),
            signalling,
            one.algorithm.clone().unwrap_or_else(|| "-".to_owned()),
            weaknesses(&one.weaknesses),
        ]);
    }
    laid_out(&table)
}

fn calls(list: &Calls) -> String {
    let mut out = String::new();
    if !list.up.is_empty() {
        let mut table = table(&["up now", "from", "to", "state", "since", "protection"]);
        for call in &list.up {
            table.add_row([
                call.id.chars().take(SHORT_ID).collect(),
                call.from.clone(),
                call.to.clone(),
                call.state.clone(),
                call.since.clone(),
                call.protection.join(" | "),
            ]);
        }
        let _ = writeln!(out, "{}", laid_out(&table));
    }
    if !list.records.is_empty() {
        let mut head =
            vec!["call", "started", "from", "to", "outcome", "seconds", "media", "weaknesses"];
        if list.costs.is_some() {
            head.insert(6, "cost");
        }
        let mut table = table(&head);
        for call in &list.records {
            let media = call.legs.iter().map(|leg| leg.media.as_deref().unwrap_or("none"));
            let mut media: Vec<_> = media.collect();
            media.dedup();
            let weak: Vec<String> =
                call.legs.iter().flat_map(|leg| leg.weaknesses.clone()).collect();
            let mut row = vec![
                call.id.chars().take(SHORT_ID).collect(),
                call.started.clone(),
                call.from.clone(),
                call.to.clone(),
                outcome(call),
                call.seconds.to_string(),
                media.join(" | "),
                weaknesses(&weak),
            ];
            if list.costs.is_some() {
                row.insert(6, cost(&call.cost));
            }
            table.add_row(row);
        }
        out.push_str(&laid_out(&table));
    }
    if let Some(costs) = &list.costs {
        let _ = write!(out, "\n{}", carriers::costs(costs));
    }
    or_else_say(out, "No calls. Register two phones and dial one from the other.")
}

/// `answered, ended by the day budget of extension 111`
fn outcome(call: &Call) -> String {
    match &call.ended_by {
        Some(by) => format!("{}, ended by {}", call.disposition, shown(by)),
        None => call.disposition.clone(),
    }
}

fn cost(sums: &[String]) -> String {
    if sums.is_empty() { "-".to_owned() } else { sums.join(" + ") }
}

fn call(one: &Call) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "Call {}", one.id);
    let _ = writeln!(out, "  {} called {}: {}", one.from, one.to, outcome(one));
    let _ = writeln!(out, "  started    {}", one.started);
    if let Some(answered) = &one.answered {
        let _ = writeln!(out, "  answered   {answered}");
    }
    let _ = writeln!(out, "  ended      {} ({} s)", one.ended, one.seconds);
    if let (Some(rule), Some(policy)) = (&one.rule, one.policy) {
        let _ = writeln!(out, "  rule       {rule} (policy version {policy})");
    }
    if !one.origin.is_empty() {
        let _ = writeln!(out, "  origin     {}", one.origin);
    }
    if !one.tolls.is_empty() {
        let _ = writeln!(out, "  cost       {}", cost(&one.cost));
    }
    out.push_str(&carriers::tolls(&one.tolls));
    for leg in &one.legs {
        let who = match (&leg.trunk, &leg.extension) {
            (Some(trunk), _) => format!("trunk {trunk}"),
            (None, Some(extension)) => format!("extension {extension}"),
            (None, None) => "extension -".to_owned(),
        };
        let agent =
            if leg.agent.is_empty() { String::new() } else { format!(", {}", shown(&leg.agent)) };
        let _ = writeln!(out, "\n  {} leg, {who}{agent}", leg.side);
        let signalling = format!("{} {}", leg.transport, leg.signalling);
        let _ = writeln!(out, "    signalling   {}", signalling.trim_end());
        // A leg that was refused never came to have any.
        let none =
            if one.answered.is_none() { "none: it was never answered" } else { "not encrypted" };
        let _ = writeln!(out, "    media        {}", leg.media.as_deref().unwrap_or(none));
        let _ = writeln!(out, "    proved by    {}", leg.proof.as_deref().unwrap_or("-"));
        if leg.status != 0 {
            let _ = writeln!(out, "    last status  {}", leg.status);
        }
        if let Some(quality) = &leg.quality {
            let _ = writeln!(
                out,
                "    received     {} packets, {} lost, jitter {:.1} ms, MOS {}",
                quality.packets,
                quality.lost,
                quality.jitter_ms,
                quality.mos.map_or_else(|| "-".to_owned(), |mos| format!("{mos:.1}"))
            );
        }
        let _ = writeln!(out, "    weaknesses   {}", weaknesses(&leg.weaknesses));
    }
    if let Some(lines) = &one.ladder {
        let _ = writeln!(out);
        out.push_str(&ladder(one, lines));
    }
    out
}

/// One arrow a message, its whole text below: what a telephone engineer reads first and last.
fn ladder(call: &Call, lines: &[LadderLine]) -> String {
    if lines.is_empty() {
        return "  No signalling of this call was kept.\n".to_owned();
    }
    let mut out = String::new();
    for line in lines {
        let side = call.legs.iter().find(|leg| leg.id == line.leg);
        let phone = match side {
            Some(leg) if leg.trunk.is_some() => "carrier",
            Some(leg) => leg.extension.as_deref().unwrap_or("phone"),
            None => "phone",
        };
        let first = line.text.lines().next().unwrap_or_default();
        let leg = side.map_or("other", |leg| leg.side.as_str());
        let (from, to) = if line.sent { ("ringfence", phone) } else { (phone, "ringfence") };
        let _ = writeln!(out, "{:>8} ms  {leg} leg  {from} > {to}  {first}", line.at_ms);
        for rest in line.text.lines().skip(1) {
            let _ = writeln!(out, "              | {rest}");
        }
    }
    out
}

fn verification(verified: &Verified) -> String {
    match &verified.broken {
        None => format!(
            "The journal is intact: {} {}, head {}.\n",
            verified.entries,
            if verified.entries == 1 { "entry" } else { "entries" },
            verified.head
        ),
        Some(broken) => format!(
            "THE JOURNAL IS BROKEN: {broken}.\nKeep a copy of the data folder before you change anything.\n"
        ),
    }
}

fn weaknesses(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

fn or_else_say(out: String, sentence: &str) -> String {
    if out.is_empty() { format!("{sentence}\n") } else { out }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table
}

/// The rows without the spaces that the table library puts around them, and each in one line, whatever
/// strangers wrote into its cells.
fn laid_out(table: &Table) -> String {
    let mut table = table.clone();
    for row in table.row_iter_mut() {
        *row = row.cell_iter().map(|cell| plain::line(&cell.content())).into();
    }
    let mut out = String::new();
    for line in table.lines() {
        let _ = writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end());
    }
    out
}

/// The text behind `head`, broken between words, further lines below its first word.
pub(crate) fn wrapped(text: &str, head: &str) -> String {
    let indent = " ".repeat(head.chars().count());
    let mut out = String::from(head);
    let mut column = head.chars().count();
    for (at, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if at > 0 {
            if column + 1 + length > WIDTH {
                out.push('\n');
                out.push_str(&indent);
                column = indent.len();
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

/// Text of strangers in a table, cut.
fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        out.push('…');
    }
    out
}

/// What a terminal shows in one line.
const WIDTH: usize = 79;
/// As much of a phone's name of itself as a table bears; JSON has it whole.
const SHOWN: usize = 64;
/// Enough of an id to tell calls of a year apart.
const SHORT_ID: usize = 8;
