//! Incidents and sinks as text.

use super::{laid_out, shown, table, wrapped};
use crate::admin::protocol::{Alert, Question, Sink};
use crate::plain;

pub(super) fn alerts(question: &Question, list: &[Alert]) -> String {
    if let (Question::AlertShow { .. }, [one]) = (question, list) {
        return one.text.clone().unwrap_or_default();
    }
    if list.is_empty() {
        return "Nothing to tell. To hear of it by mail:  ringfence alerts sink add mail --help\n"
            .to_owned();
    }
    let mut table = table(&["alert", "last", "severity", "state", "events", "what"]);
    for one in list {
        table.add_row([
            one.incident.to_string(),
            one.last.clone(),
            one.severity.clone(),
            state(one).to_owned(),
            one.events.to_string(),
            one.title.clone(),
        ]);
    }
    laid_out(&table)
}

/// For whoever stays to see what comes.
pub(in crate::cli) fn line(one: &Alert) -> String {
    let Alert { incident, last, severity, words, .. } = one;
    format!("{last}  {incident:>6}  {severity:<11}  {:<5}  {words}\n", state(one))
}

pub(in crate::cli) fn json_line(one: &Alert) -> String {
    plain::json(&serde_json::to_string(one).expect("strings and numbers always print")) + "\n"
}

fn state(one: &Alert) -> &'static str {
    if one.open { "open" } else { "over" }
}

pub(super) fn sinks(question: &Question, list: &[Sink]) -> String {
    if let (Question::SinkAdd { .. }, [one]) = (question, list) {
        let Sink { sink, kind, to, .. } = one;
        return format!(
            "Alerts go to {to} from now on ({kind} sink {sink}).\n\
             See that they arrive:  ringfence alerts sink test {sink}\n"
        );
    }
    if list.is_empty() {
        return "Alerts are sent nowhere. Begin with:  ringfence alerts sink add mail --help\n"
            .to_owned();
    }
    if let (Question::SinkSet { .. }, [one]) = (question, list) {
        let Sink { sink, kind, to, .. } = one;
        return format!(
            "Sink {sink} leads to {to} from now on ({kind}).\n\
             See that they arrive:  ringfence alerts sink test {sink}\n"
        );
    }
    let mut table = table(&["sink", "kind", "to", "server", "waiting", "state"]);
    for one in list {
        table.add_row([
            one.sink.to_string(),
            one.kind.clone(),
            shown(&one.to),
            one.server.clone().unwrap_or_else(|| "-".to_owned()),
            one.waiting.to_string(),
            how(one),
        ]);
    }
    let mut out = laid_out(&table);
    for one in list {
        let head = format!("sink {}: ", one.sink);
        if let Some(why) = &one.why {
            out.push('\n');
            out.push_str(&wrapped(why, &head));
        }
        if let (Some(at), Some(why)) = (&one.test_failed, &one.test_why) {
            out.push('\n');
            out.push_str(&wrapped(&format!("test of {at} not taken: {why}"), &head));
        }
        if let Some(remedy) =
            one.remedy.as_ref().filter(|_| one.why.is_some() || one.test_why.is_some())
        {
            out.push_str(&wrapped(remedy, "  remedy: "));
        }
    }
    out
}

/// `works since 09:05`
fn how(one: &Sink) -> String {
    let since = one.since.as_deref().unwrap_or_default();
    match (one.state.as_str(), &one.test_failed) {
        ("works", None) => format!("works since {since}"),
        ("works", Some(at)) => format!("worked since {since}, last test failed {at}"),
        ("fails", _) => format!("fails since {since} ({} tries)", one.failures),
        (_, Some(at)) => format!("last test failed {at}"),
        (_, None) => "not tried yet".to_owned(),
    }
}
