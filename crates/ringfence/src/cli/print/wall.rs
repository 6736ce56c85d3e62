//! Who is shut out, held and slowed down, as text.

use super::{laid_out, shown, table};
use crate::admin::protocol::Bans;

pub(super) fn bans(list: &Bans) -> String {
    let Bans { banned, held, slowed, stale } = list;
    if banned.is_empty() && held.is_empty() && slowed.is_empty() && stale.is_empty() {
        return "Nobody is shut out. By hand:  ringfence ban 203.0.113.9 --for 2h --why \"rings at night\"\n"
            .to_owned();
    }
    let mut parts = Vec::new();
    if !banned.is_empty() {
        let mut table =
            table(&["shut out", "since", "until", "time in a row", "why", "to undo it"]);
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
            "time in a row",
            "tries",
            "who",
            "to undo it",
        ]);
        for one in held {
            let who = match (one.known_device, one.home) {
                (true, _) => "a phone with a wrong password",
                (false, true) => "new there; phones of yours are at that address",
                (false, false) => "a stranger",
            };
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
        let mut table = table(&["slowed down", "since", "until", "why", "to undo it"]);
        for one in slowed {
            table.add_row([
                one.source.clone(),
                one.since.clone(),
                one.until.clone(),
                shown(&one.why),
                one.remedy.clone(),
            ]);
        }
        parts.push(laid_out(&table));
    }
    if !stale.is_empty() {
        let mut table = table(&[
            "former password",
            "phone",
            "from",
            "since",
            "last",
            "tries",
            "shows the new one",
        ]);
        for one in stale {
            table.add_row([
                one.extension.clone(),
                one.agent.as_deref().map_or_else(|| "new there".to_owned(), shown),
                one.source.clone(),
                one.since.clone(),
                one.last.clone(),
                one.tries.to_string(),
                one.remedy.clone(),
            ]);
        }
        parts.push(laid_out(&table));
    }
    parts.join("\n")
}
