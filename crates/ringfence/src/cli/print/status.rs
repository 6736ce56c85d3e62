//! The screen that answers "am I safe?".

use std::fmt::Write;

use super::wrapped;
use crate::admin::protocol::{AtRisk, Coverage, Encryption, Status, Stopped};

pub(super) fn screen(status: &Status) -> String {
    let mut out = wrapped(&status.summary, "");
    if !status.attention.is_empty() {
        out.push_str("\nWhat needs attention\n");
        for one in &status.attention {
            out.push_str(&wrapped(&one.what, "  ! "));
            out.push_str(&wrapped(&one.remedy, "      remedy: "));
        }
    }
    if let Some(risk) = &status.at_risk {
        out.push_str("\nWhat could be lost\n");
        money(&mut out, risk);
    }
    out.push_str("\nWhat is encrypted\n");
    encryption(&mut out, &status.encryption);
    out.push_str("\nWhat was stopped in the last 24 hours\n");
    stopped(&mut out, &status.stopped);
    out.push_str("\nWhat is up\n");
    let row = |out: &mut String, what: &str, text: String| {
        out.push_str(&wrapped(&text, &format!("  {what:<14}")));
    };
    row(
        &mut out,
        "phones",
        format!("{} registered, {} known", status.devices_registered, status.devices_known),
    );
    row(&mut out, "extensions", status.extensions.to_string());
    row(&mut out, "trunks", format!("{} up, {} in all", status.trunks_up, status.trunks));
    row(&mut out, "calls", status.calls_up.to_string());
    if !status.kernel_table.is_empty() {
        row(&mut out, "kernel table", status.kernel_table.clone());
    }
    let since =
        status.since.as_ref().map_or_else(String::new, |since| format!(", up since {since}"));
    row(&mut out, "node", format!("{}, Ringfence {}{since}", status.node, status.version));
    if status.extensions == 0 {
        let _ = writeln!(out, "\nBegin with:  ringfence extension add 101 --name \"Front desk\"");
    }
    out
}

fn money(out: &mut String, risk: &AtRisk) {
    let AtRisk { currency, most, until, binding, spent_today, .. } = risk;
    let most = format!("{most} {currency} until {until} ({binding})");
    out.push_str(&wrapped(&most, "  at most       "));
    out.push_str(&wrapped(&format!("{spent_today} {currency}"), "  spent today   "));
}

fn encryption(out: &mut String, of: &Encryption) {
    let row = |what: &str, one: &Coverage| match one.all {
        0 => format!("  {what:<14}none\n"),
        all => format!(
            "  {what:<14}{all}: {} with encrypted signalling, {} with encrypted audio\n",
            one.signalling, one.media
        ),
    };
    out.push_str(&row("phones", &of.phones));
    out.push_str(&row("trunks", &of.trunks));
    for one in &of.exceptions {
        out.push_str(&wrapped(one, "  exception     "));
    }
}

fn stopped(out: &mut String, of: &Stopped) {
    let Stopped { calls_refused, not_encrypted, sign_ins_failed, bans, violations, .. } = of;
    let more = if of.at_least { "at least " } else { "" };
    let calls = match calls_refused {
        0 => "0".to_owned(),
        _ => format!(
            "{more}{calls_refused}; a minute of them together would have cost {}",
            of.per_minute
        ),
    };
    out.push_str(&wrapped(&calls, "  calls            "));
    for (what, count) in [
        ("clear audio", not_encrypted),
        ("failed sign-ins", sign_ins_failed),
        ("bans", bans),
        ("broken rules", violations),
    ] {
        let more = if *count > 0 { more } else { "" };
        let _ = writeln!(out, "  {what:<17}{more}{count}");
    }
    let held = match &of.held_now[..] {
        [] => "0".to_owned(),
        names => format!("{}: {} (ringfence bans)", of.held_count, names.join(", ")),
    };
    out.push_str(&wrapped(&held, "  held now         "));
    let shut_out = match of.banned_now {
        0 => "0".to_owned(),
        count => format!("{count} (ringfence bans)"),
    };
    out.push_str(&wrapped(&shut_out, "  shut out now     "));
}
