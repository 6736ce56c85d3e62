//! Who is shut out, held and slowed down, as text.

use super::{laid_out, shown, table};
use crate::admin::protocol::{Bans, Question};

pub(super) fn bans(list: &Bans) -> String {
    let Bans { banned, held, slowed } = list;
    if banned.is_empty() && held.is_empty() && slowed.is_empty() {
        return "Nobody is shut out. By hand:  ringfence ban 203.0.113.9 --for 2h --why \"rings at night\"\n"
            .to_owned();
    }
    let mut parts = Vec::new();
    if !banned.is_empty() {
        let mut table = table(&["shut out", "since", "until", "times", "why", "to undo it"]);
        for one in banned {
            table.add_row([
                one.source.clone(),
                one.since.clone(),
                one.until.clone(),
                one.times.to_string(),
                shown(&one.why),
                one.remedy.clone(),
            ]);
        }
        parts.push(laid_out(&table));
    }
    if !held.is_empty() {
        let mut table = table(&[
            "held",
            "account",
            "since",
            "until",
            "times",
            "secrets tried",
            "who",
            "to undo it",
        ]);
        for one in held {
            let who = if one.known_device { "a phone with a stale secret" } else { "a stranger" };
            table.add_row([
                one.source.clone(),
                shown(&one.account),
                one.since.clone(),
                one.until.clone(),
                one.times.to_string(),
                one.compared.to_string(),
                who.to_owned(),
                shown(&one.remedy),
            ]);
        }
        parts.push(laid_out(&table));
    }
    if !slowed.is_empty() {
        let mut table = table(&["slowed down", "until", "to undo it"]);
        for one in slowed {
            table.add_row([one.source.clone(), one.until.clone(), one.remedy.clone()]);
        }
        parts.push(laid_out(&table));
    }
    parts.join("\n")
}

pub(super) fn done(question: &Question) -> Option<String> {
    Some(match question {
        Question::Ban { source, .. } => {
            format!("{source} is shut out. To undo it:  ringfence unban {source}\n")
        }
        Question::Unban { source, account: None } => {
            format!("{source} may try again; nothing is held against it.\n")
        }
        Question::Unban { source, account: Some(account) } => {
            format!("{source} may try account {account} again.\n")
        }
        _ => return None,
    })
}
