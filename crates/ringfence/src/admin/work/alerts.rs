//! Incidents, and where alerts about them go.

use std::collections::BTreeMap;

use guard::access::Actor;
use guard::fact::Fact;
use guard::incident::Incident;
use guard::pii::{Name, Pii};
use guard::sink::{Channel, RECIPIENTS_MAX, Security, SinkId};
use guard::zone::Zone;
use pbx::command::{Command, Reply};

use super::trunks::{checked_authority, server};
use super::{Office, Result, Since, failure, unreadable};
use crate::admin::protocol::{self, Answer, MailSecurity, NewChannel, NewSink};
use crate::alerts::deliver::State;
use crate::alerts::{self, Alerts, Confidence, message};
use crate::plain;

impl Office {
    /// `after`: what changed behind this entry of the journal.
    pub(super) async fn alerts(
        &self,
        since: Since,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Answer> {
        let (policy, _) = self.policy().await?;
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        let since = since.begin(self.clock.now().utc, &zone)?;
        let after = after.unwrap_or(0);
        let kinds = store::Kinds { numbers: TOLD, after, since, limit: TOLD_MAX, newest: true };
        let mut found = self.told(&kinds, &zone, None).await?;
        found.sort_by_key(|one| one.sequence);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        found.drain(..found.len().saturating_sub(limit));
        Ok(Answer::Alerts(found))
    }

    pub(super) async fn alert(&self, incident: u64) -> Result<Answer> {
        let (policy, _) = self.policy().await?;
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        // It was told of behind the entry that gave rise to it.
        let after = incident.saturating_sub(1);
        let kinds =
            store::Kinds { numbers: TOLD, after, since: None, limit: TOLD_MAX, newest: false };
        let stake = match self.ask(Command::Exposure).await? {
            Reply::Exposure(exposure) => Some(super::in_short(&exposure, &policy)),
            _ => None,
        };
        let found = self.told(&kinds, &zone, stake).await?;
        let one = found.into_iter().find(|one| one.incident == incident).ok_or_else(|| {
            failure(
                format!("there is no incident {incident}"),
                "`ringfence alerts --since 30d` shows the numbers of those there are",
            )
        })?;
        Ok(Answer::Alerts(vec![one]))
    }

    /// Each incident as it was told of last.
    async fn told(
        &self,
        kinds: &store::Kinds<'_>,
        zone: &Zone,
        stake: Option<String>,
    ) -> Result<Vec<protocol::Alert>> {
        let mut found = BTreeMap::new();
        for entry in self.store.journal_of(self.node, kinds).await.map_err(unreadable)? {
            let fact = self.store.read_entry(&entry).await.map_err(unreadable)?.fact;
            let Some(incident) = Incident::from_fact(&fact) else { continue };
            let open = !matches!(fact, Fact::IncidentClosed { .. });
            let live = self.alerts.as_ref().filter(|_| open).and_then(|all| all.open(incident.id));
            let incident = live.unwrap_or(incident);
            let alert = message::Alert {
                sequence: entry.sequence,
                told: entry.utc,
                raised: matches!(fact, Fact::IncidentRaised { .. }),
                about: message::about(&fact),
                incident,
                zone: zone.clone(),
                stake: stake.clone(),
            };
            found.insert(alert.incident.id, shown(&alert, open));
        }
        Ok(found.into_values().collect())
    }

    pub(super) async fn sink_add(&self, actor: Actor, new: NewSink) -> Result<Answer> {
        let Checked { channel, confidence, authority, private } = checked(new).await?;
        let added = self.desk()?.add(actor, channel, &confidence, authority, private).await;
        let id = added.map_err(sink_refused)?;
        self.listed(Some(id)).await
    }

    pub(super) async fn sink_set(&self, actor: Actor, sink: u32, new: NewSink) -> Result<Answer> {
        let Checked { channel, confidence, authority, private } = checked(new).await?;
        let (id, desk) = (SinkId(sink), self.desk()?);
        let set = desk.set(actor, id, channel, &confidence, authority, private).await;
        match set.map_err(sink_refused)? {
            true => self.listed(Some(id)).await,
            false => Err(no_sink(sink)),
        }
    }

    pub(super) async fn sinks(&self) -> Result<Answer> {
        self.listed(None).await
    }

    pub(super) async fn sink_show(&self, sink: u32) -> Result<Answer> {
        match self.listed(Some(SinkId(sink))).await? {
            Answer::Sinks(found) if found.is_empty() => Err(no_sink(sink)),
            found => Ok(found),
        }
    }

    async fn listed(&self, only: Option<SinkId>) -> Result<Answer> {
        let all = self.desk()?.list().await.map_err(unreadable)?;
        let all = all.iter().filter(|one| only.is_none_or(|id| one.sink.id == id));
        Ok(Answer::Sinks(all.map(sink).collect()))
    }

    pub(super) async fn sink_remove(&self, actor: Actor, sink: u32) -> Result<Answer> {
        let waiting = self.desk()?.waiting(SinkId(sink)).await.map_err(unreadable)?;
        let removed = self.desk()?.remove(actor, SinkId(sink)).await;
        match removed {
            Ok(true) => Ok(match waiting {
                None | Some(0) => Answer::Done,
                Some(lost) => Answer::DoneWith(vec![format!(
                    "{lost} that it had not taken will not be sent; ringfence alerts shows them."
                )]),
            }),
            Ok(false) => Err(no_sink(sink)),
            Err(wrong) => Err(failure(wrong, "see that it has room and works, then try again")),
        }
    }

    pub(super) async fn sink_test(&self, sink: u32) -> Result<Answer> {
        match self.desk()?.test(SinkId(sink)).await {
            Some(Ok(())) => Ok(Answer::Done),
            Some(Err(wrong)) => {
                let all = self.desk()?.list().await.map_err(unreadable)?;
                let one = all.iter().find(|one| one.sink.id.0 == sink);
                let anew = one.map(|one| said_anew(&one.sink)).unwrap_or_default();
                let remedy = wrong.remedy.unwrap_or("see what that server says of it");
                let wrong = format!("the test was not taken: {}", wrong.why);
                Err(failure(wrong, format!("{remedy}. {anew}")))
            }
            None => Err(no_sink(sink)),
        }
    }

    fn desk(&self) -> Result<&Alerts> {
        self.alerts.as_deref().ok_or_else(|| failure("there are no alerts here", "start the node"))
    }
}

/// A sink as it is asked for, judged.
struct Checked {
    channel: Channel,
    confidence: Confidence,
    authority: Option<String>,
    private: bool,
}

async fn checked(new: NewSink) -> Result<Checked> {
    let NewSink { channel, secret, authority, private } = new;
    let authority = authority.map(checked_authority).transpose()?;
    let (channel, confidence) = match channel {
        NewChannel::Webhook { url } => {
            let target = alerts::target(&url.0)
                .map_err(|wrong| failure(wrong, "copy it as the program that takes it shows it"))?;
            let confidence = Confidence { url: Some(url), secret };
            (Channel::Webhook { host: target.host }, confidence)
        }
        NewChannel::Mail { to, from, server, security, user } => {
            let channel = mail(&to, &from, &server, security, user)?;
            (channel, Confidence { url: None, secret })
        }
    };
    if let Channel::Mail { user: Some(_), .. } = &channel
        && confidence.secret.is_none()
    {
        return Err(failure(
            "an account at a mail server has a password",
            "give its file with --secret-file, or `-` to be asked for it",
        ));
    }
    // What can never arrive is said now, and not in the night of the first alert.
    alerts::may_lead(&channel, &confidence, private).await.map_err(|wrong| {
        let remedy = wrong.remedy.unwrap_or("name another address");
        failure(format!("no alert could go there: {}", wrong.why), remedy)
    })?;
    Ok(Checked { channel, confidence, authority, private })
}

fn sink_refused(wrong: String) -> protocol::Failure {
    failure(wrong, "`ringfence alerts sink list` shows them; remove one that is not needed")
}

/// A sink as it is listed: how it fares, and what to do about it.
pub(super) fn sink(one: &alerts::Listed) -> protocol::Sink {
    let id = one.sink.id.0;
    let (state, since, wrong) = match &one.health.state {
        State::NotTried => ("not-tried", None, None),
        State::Works(since) => ("works", Some(since), None),
        State::Fails(since, wrong) => ("fails", Some(since), Some(wrong)),
    };
    let test = one.health.test.as_ref();
    let remedy = match (wrong.or(test.map(|(_, wrong)| wrong)), state) {
        (Some(wrong), _) => Some(sink_remedy(one, wrong)),
        (None, "not-tried") => Some(format!("ringfence alerts sink test {id}")),
        (None, _) => None,
    };
    protocol::Sink {
        sink: id,
        kind: one.sink.channel.kind().to_owned(),
        to: one.to.clone(),
        server: match &one.sink.channel {
            Channel::Mail { host, port, .. } => Some(format!("{host}:{port}")),
            Channel::Webhook { .. } => None,
        },
        created: one.sink.created.to_string(),
        state: state.to_owned(),
        since: since.map(ToString::to_string),
        works: state == "works",
        why: wrong.map(|wrong| wrong.why.clone()),
        failures: one.health.failures,
        waiting: one.waiting,
        test_failed: test.map(|(at, _)| at.to_string()),
        test_why: test.map(|(_, wrong)| wrong.why.clone()),
        remedy,
    }
}

/// What mends it, and the command that shows whether it did.
fn sink_remedy(one: &alerts::Listed, wrong: &alerts::Wrong) -> String {
    let (id, anew) = (one.sink.id.0, said_anew(&one.sink));
    match wrong.remedy {
        Some(remedy) => format!("{remedy}; then: ringfence alerts sink test {id}. {anew}"),
        None => format!("ringfence alerts sink test {id} tries it now. {anew}"),
    }
}

fn said_anew(sink: &guard::sink::Sink) -> String {
    format!(
        "What was said wrong is said anew with --instead-of {}: ringfence alerts sink add {} --help",
        sink.id.0,
        sink.channel.kind()
    )
}

fn mail(
    to: &[String],
    from: &str,
    at: &str,
    security: MailSecurity,
    user: Option<String>,
) -> Result<Channel> {
    let address = |text: &String| {
        let checked = alerts::mail_address(text);
        let checked = checked.map_err(|wrong| failure(wrong, "write it as name@example.com"))?;
        Ok(Pii::new(Name(checked)))
    };
    let to = to.iter().map(address).collect::<Result<Vec<_>>>()?;
    if to.is_empty() || to.len() > RECIPIENTS_MAX {
        return Err(failure(
            format!("a mail goes to 1 to {RECIPIENTS_MAX} addresses"),
            "give a list's address, or add a second sink",
        ));
    }
    if let Some(user) = &user
        && (user.is_empty() || user.len() > USER_MAX || user.chars().any(char::is_control))
    {
        return Err(failure(
            "that can't be an account's name",
            "copy it as the server's owner wrote it",
        ));
    }
    let (host, port) = server(at).map_err(|wrong| {
        failure(
            wrong.wrong,
            "give its name or address, with a port if need be: mail.example.com:587",
        )
    })?;
    let (security, usual) = match security {
        MailSecurity::StartTls => (Security::StartTls, 587),
        MailSecurity::Tls => (Security::Tls, 465),
        MailSecurity::Loopback => (Security::Loopback, 25),
    };
    let from = address(&from.to_owned())?;
    Ok(Channel::Mail { to, from, host, port: port.unwrap_or(usual), security, user })
}

fn shown(alert: &message::Alert, open: bool) -> protocol::Alert {
    let one = &alert.incident;
    let line = plain::line;
    protocol::Alert {
        incident: one.id,
        sequence: alert.sequence,
        severity: message::severity(one.severity).to_owned(),
        what: one.what.name().to_owned(),
        open,
        title: alert.title(),
        about: line(&alert.about),
        words: line(&one.words),
        first: one.first.to_string(),
        last: one.last.to_string(),
        findings: one.findings,
        events: one.events,
        done: line(&one.done()),
        next: line(&one.next(&alert.about)),
        by: one.by.as_ref().map(|by| line(&by.to_string())),
        text: Some(alert.text()),
    }
}

fn no_sink(sink: u32) -> protocol::Failure {
    failure(
        format!("there is no sink {sink}"),
        "`ringfence alerts sink list` shows those there are",
    )
}

/// Facts about incidents.
const TOLD: &[u16] = &[800, 801, 802];
/// Facts that are looked through for one answer.
const TOLD_MAX: u32 = 20_000;
const USER_MAX: usize = 128;
