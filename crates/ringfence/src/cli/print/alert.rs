//! Incidents and sinks as text.

use super::{laid_out, shown, table};
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
    let Alert { incident, last, severity, title, words, .. } = one;
    format!("{last}  {incident:>6}  {severity:<11}  {:<5}  {title}. {words}\n", state(one))
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
    let mut table = table(&["sink", "kind", "to", "server", "waiting", "state"]);
    for one in list {
        let state = match &one.why {
            Some(why) => format!("failing ({} tries): {}", one.failures, shown(why)),
            None => "works".to_owned(),
        };
        table.add_row([
            one.sink.to_string(),
            one.kind.clone(),
            shown(&one.to),
            one.server.clone().unwrap_or_else(|| "-".to_owned()),
            one.waiting.to_string(),
            state,
        ]);
    }
    laid_out(&table)
}
