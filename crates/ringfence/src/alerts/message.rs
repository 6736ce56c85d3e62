//! Alerts in words: the mail, and the JSON of a webhook.
//!
//! Whatever a stranger chose (an account, an agent's name) was made one line without control
//! characters when its sentence was made; it is made so here again, where it is printed.

use std::fmt::Write as _;

use guard::fact::{Fact, Severity};
use guard::id::NodeId;
use guard::incident::{Incident, What};
use guard::zone::Zone;
use pure::Utc;
use serde_json::{Value, json};

use crate::plain;

/// One incident that opened or got worse.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    /// Of its entry in the journal.
    pub(crate) sequence: u64,
    pub(crate) told: Utc,
    pub(crate) raised: bool,
    pub(crate) about: String,
    pub(crate) incident: Incident,
    pub(crate) zone: Zone,
    /// What can be lost at most, now.
    pub(crate) stake: Option<String>,
}

/// A mail before it has addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Letter {
    /// The same for the same alerts: a mail that comes twice shows as one.
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) body: String,
}

impl Alert {
    pub(super) fn id(&self, node: NodeId) -> String {
        format!("{}-{}", node.0, self.sequence)
    }

    pub(super) fn json(&self, node: NodeId) -> Value {
        let one = &self.incident;
        json!({
            "version": 1,
            "id": self.id(node),
            "event": if self.raised { "raised" } else { "opened" },
            "node": node.0,
            "time": self.told.to_string(),
            "incident": one.id,
            "what": one.what.name(),
            "severity": severity(one.severity),
            "title": self.title(),
            "about": plain::line(&self.about),
            "words": plain::line(&one.words),
            "first": one.first.to_string(),
            "last": one.last.to_string(),
            "findings": one.findings,
            "events": one.events,
            "done": plain::line(&one.done()),
            "next": plain::line(&one.next(&self.about)),
            "stake": self.stake(),
            "by": one.by.as_ref().map(|by| plain::line(&by.to_string())),
        })
    }

    /// Where money is at stake.
    fn stake(&self) -> Option<String> {
        let costs = matches!(
            self.incident.what,
            What::Guessing | What::Fraud | What::Budget | What::NewDevice
        );
        self.stake.as_deref().filter(|_| costs).map(plain::line)
    }

    pub(crate) fn title(&self) -> String {
        plain::line(&self.incident.title(&self.about))
    }

    /// All there is to say, as a mail has it.
    pub(crate) fn text(&self) -> String {
        let one = &self.incident;
        let mut out = format!("{}: {}\n\n", capital(severity(one.severity)), self.title());
        let mut row = |what: &str, text: &str| {
            let _ = writeln!(out, "{what:<16}{}", plain::line(text));
        };
        row("What happened", &one.words);
        let (first, last) = (self.zone.shown(one.first), self.zone.shown(one.last));
        match first == last {
            true => row("When", &first),
            false => row("When", &format!("{first} to {last}, {} events", one.events)),
        }
        row("About", &self.about);
        if let Some(by) = &one.by {
            row("By whom", &by.to_string());
        }
        row("Done already", &one.done());
        if let Some(stake) = self.stake() {
            row("At stake", &stake);
        }
        row("To do", &one.next(&self.about));
        row("More", &format!("ringfence alerts show {}", one.id));
        out
    }
}

impl Letter {
    /// One alert, or a digest of several.
    pub(super) fn of(node: NodeId, alerts: &[Alert]) -> Self {
        let worst = alerts.iter().max_by_key(|one| one.incident.severity);
        let severity = worst.map_or("notice", |one| severity(one.incident.severity));
        let title = worst.map(Alert::title).unwrap_or_default();
        let (first, last) = (alerts.first(), alerts.last());
        let ends = [first, last].map(|one| one.map_or(0, |one| one.sequence));
        let id = format!("{}-{}-{}", node.0, ends[0], ends[1]);
        let texts: Vec<String> = alerts.iter().map(Alert::text).collect();
        let (subject, body) = match &texts[..] {
            [one] => (format!("[{severity}] {title}"), one.clone()),
            many => {
                let count = many.len();
                let head = format!("{count} alerts, in their order.\n\n");
                let body = head + &many.join("\n----------------------------------------\n\n");
                (format!("[{severity}] {count} alerts; the worst: {title}"), body)
            }
        };
        Self { id, subject: subject.chars().take(SUBJECT_MAX).collect(), body }
    }
}

/// Whom a fact of an incident is about, as it was known then.
pub(crate) fn about(fact: &Fact) -> String {
    match fact {
        Fact::IncidentOpened { about, .. }
        | Fact::IncidentRaised { about, .. }
        | Fact::IncidentClosed { about, .. } => plain::line(&about.reveal().0),
        _ => String::new(),
    }
}

/// As mails, webhooks and lists say it.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "information",
        Severity::Notice => "notice",
        Severity::Warn => "warning",
        Severity::Error => "critical",
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// What mail programs show of a subject, and more.
const SUBJECT_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use guard::incident::Key;

    fn alert(sequence: u64, severity: Severity, account: &str) -> Alert {
        let incident = Incident {
            id: sequence - 1,
            key: Key::Account(account.to_owned()),
            what: What::Guessing,
            severity,
            first: Utc(1_795_366_224_000_000),
            last: Utc(1_795_366_284_000_000),
            findings: 3,
            events: 40,
            words: format!("The password of {account} was tried 40 times."),
            done: None,
            extension: None,
            by: None,
        };
        let about = incident.about(|_| None);
        let zone = Zone::named("Europe/Berlin").unwrap();
        let stake = Some("At most 23.40 USD can be lost until Thursday 08:00.".to_owned());
        Alert { sequence, told: incident.last, raised: false, about, incident, zone, stake }
    }

    #[test]
    fn one_alert_is_a_letter_that_says_what_when_and_what_to_do() {
        let letter = Letter::of(NodeId(1), &[alert(8, Severity::Error, "101")]);
        assert_eq!(letter.subject, "[critical] many machines guess the password of account 101");
        assert_eq!(letter.id, "1-8-8");
        let expected = "\
Critical: many machines guess the password of account 101

What happened   The password of 101 was tried 40 times.
When            2026-11-22 17:50:24 CET to 2026-11-22 17:51:24 CET, 40 events
About           account 101
Done already    Wrong passwords are answered like unknown accounts, and what is generated here can't be guessed.
At stake        At most 23.40 USD can be lost until Thursday 08:00.
To do           Nothing, unless phones of your own fail too: ringfence devices
More            ringfence alerts show 7
";
        assert_eq!(letter.body, expected);
    }

    #[test]
    fn what_piled_up_is_one_letter_in_order() {
        let alerts = [
            alert(8, Severity::Warn, "100"),
            alert(9, Severity::Error, "101"),
            alert(12, Severity::Notice, "102"),
        ];
        let letter = Letter::of(NodeId(1), &alerts);
        let subject =
            "[critical] 3 alerts; the worst: many machines guess the password of account 101";
        assert_eq!((letter.subject.as_str(), letter.id.as_str()), (subject, "1-8-12"));
        let at = |what: &str| letter.body.find(what).expect(what);
        assert!(at("show 7") < at("show 8") && at("show 8") < at("show 11"));
    }

    #[test]
    fn a_strangers_text_breaks_out_of_nothing() {
        let hostile = "x\r\nBcc: all@example.com\r\n\r\n<b>\u{202e}\u{1b}[2J\u{2028}";
        let one = alert(8, Severity::Warn, hostile);
        let letter = Letter::of(NodeId(1), std::slice::from_ref(&one));
        let lines = letter.body.lines().count();
        assert_eq!(
            lines,
            Letter::of(NodeId(1), &[alert(8, Severity::Warn, "x")]).body.lines().count()
        );
        for text in
            [&letter.subject, &letter.body.replace('\n', ""), &one.json(NodeId(1)).to_string()]
        {
            assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}', '\u{2028}']), "{text:?}");
        }
    }
}
