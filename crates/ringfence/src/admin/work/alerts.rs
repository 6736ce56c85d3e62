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
        let NewSink { channel, secret, authority, private } = new;
        let authority = authority.map(checked_authority).transpose()?;
        let (channel, confidence) = match channel {
            NewChannel::Webhook { url } => {
                let target = alerts::target(&url.0).map_err(|wrong| {
                    failure(wrong, "copy it as the program that takes it shows it")
                })?;
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
        let alerts = self.desk()?;
        let added = alerts.add(actor, channel, &confidence, authority, private).await;
        let id = added.map_err(|wrong| {
            failure(wrong, "`ringfence alerts sink list` shows them; remove one that is not needed")
        })?;
        self.listed(Some(id)).await
    }

    pub(super) async fn sinks(&self) -> Result<Answer> {
        self.listed(None).await
    }

    async fn listed(&self, only: Option<SinkId>) -> Result<Answer> {
        let all = self.desk()?.list().await.map_err(unreadable)?;
        let all = all.into_iter().filter(|one| only.is_none_or(|id| one.sink.id == id));
        let sink = |one: alerts::Listed| protocol::Sink {
            sink: one.sink.id.0,
            kind: one.sink.channel.kind().to_owned(),
            to: one.sink.channel.to(),
            server: match &one.sink.channel {
                Channel::Mail { host, port, .. } => Some(format!("{host}:{port}")),
                Channel::Webhook { .. } => None,
            },
            created: one.sink.created.to_string(),
            works: one.health.failures == 0,
            why: one.health.why,
            failures: one.health.failures,
            waiting: one.waiting,
        };
        Ok(Answer::Sinks(all.map(sink).collect()))
    }

    pub(super) async fn sink_remove(&self, actor: Actor, sink: u32) -> Result<Answer> {
        let removed = self.desk()?.remove(actor, SinkId(sink)).await;
        match removed {
            Ok(true) => Ok(Answer::Done),
            Ok(false) => Err(no_sink(sink)),
            Err(wrong) => Err(failure(wrong, "see that it has room and works, then try again")),
        }
    }

    pub(super) async fn sink_test(&self, sink: u32) -> Result<Answer> {
        match self.desk()?.test(SinkId(sink)).await {
            Some(Ok(())) => Ok(Answer::Done),
            Some(Err(wrong)) => Err(failure(
                format!("the test was not taken: {wrong}"),
                "mend what it says; if the sink itself is wrong, remove it and add it again",
            )),
            None => Err(no_sink(sink)),
        }
    }

    fn desk(&self) -> Result<&Alerts> {
        self.alerts.as_deref().ok_or_else(|| failure("there are no alerts here", "start the node"))
    }
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
    let (host, port) = server(at)?;
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
