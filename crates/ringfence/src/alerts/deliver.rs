//! One sink: reads the incidents behind its position, sends them in their order, moves on when the far
//! end has said yes.
//!
//! A far end that is dead, slow or says no holds up nobody but itself, and loses nothing: the same
//! alerts are tried again, after waits that double from [`WAIT_MIN`] to [`WAIT_MAX`]. The journal says
//! once that it fails, and once that it works again. What piled up is one mail, or one request each.
//! A crash between the far end's yes and our note of it sends again: at least once, and each carries an
//! id to tell.

use std::time::Duration;

use guard::fact::{Fact, Severity};
use guard::incident::Incident;
use guard::journal::Entry;
use guard::sink::{Channel, Sink};
use pbx::record::{Row, Watermark};
use store::Kinds;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::message::{Alert, Letter};
use super::{Ground, mail, reader, webhook};
use crate::clock;

/// How a sink fares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Health {
    /// Tries in vain since it last worked.
    pub(crate) failures: u32,
    /// What went wrong the last time.
    pub(crate) why: Option<String>,
}

/// Ends when the store does; cancel it by dropping the future.
pub(super) async fn run(ground: Ground, sink: Sink, told: watch::Sender<Health>) {
    let mut committed = ground.writer.committed();
    let mut delivery =
        Delivery { position: 0, health: Health::default(), last: None, sink, ground };
    let mut wait = WAIT_MIN;
    let mut chance = clock::chance();
    loop {
        match delivery.begin().await {
            Ok(()) => break,
            Err(error) => {
                tracing::error!(%error, "a sink's position can't be read");
                sleep(WAIT_MAX).await;
            }
        }
    }
    loop {
        match delivery.next().await {
            Ok(true) => wait = WAIT_MIN,
            Ok(false) => {
                if matches!(timeout(LOOK, committed.changed()).await, Ok(Err(_))) {
                    return;
                }
                // A busy node commits hundreds of times a second.
                sleep(GATHER).await;
            }
            Err(why) => {
                delivery.failed(why).await;
                told.send_replace(delivery.health.clone());
                // A tenth more or less, so that many nodes don't come at one moment.
                let tenth = u64::try_from(wait.as_millis() / 10).unwrap_or(0);
                let jitter = chance.below(2 * tenth + 1);
                sleep(wait - Duration::from_millis(tenth) + Duration::from_millis(jitter)).await;
                wait = (wait * 2).min(WAIT_MAX);
                continue;
            }
        }
        told.send_replace(delivery.health.clone());
    }
}

/// Sends something that says that it is a test.
pub(super) async fn test(ground: &Ground, sink: &Sink) -> Result<(), String> {
    let now = ground.clock.now().utc;
    let id = format!("test-{}-{}", ground.node.0, now.0);
    match &sink.channel {
        Channel::Mail { .. } => {
            let letter = Letter {
                id,
                subject: "Ringfence: a test of alerts".to_owned(),
                body: "This is a test. Alerts of your phone system come to this address.\n"
                    .to_owned(),
            };
            bounded(mail::send(sink, &ground.confidence(sink)?, &letter)).await
        }
        Channel::Webhook { .. } => {
            let body = serde_json::json!({
                "version": 1,
                "id": id,
                "event": "test",
                "node": ground.node.0,
                "time": now.to_string(),
            });
            let body = body.to_string().into_bytes();
            bounded(webhook::post(sink, &ground.confidence(sink)?, &id, now, body)).await
        }
    }
}

/// Entries of incidents that opened or got worse behind a position.
pub(super) async fn pending(
    ground: &Ground,
    after: u64,
    limit: u32,
) -> Result<Vec<Entry>, store::Error> {
    let kinds = Kinds { numbers: &[800, 801], after, since: None, limit, newest: false };
    ground.store.journal_of(ground.node, &kinds).await
}

struct Delivery {
    ground: Ground,
    sink: Sink,
    position: u64,
    health: Health,
    /// When the last mail went.
    last: Option<Instant>,
}

impl Delivery {
    async fn begin(&mut self) -> Result<(), store::Error> {
        let stored = self.ground.store.watermark(&reader(self.sink.id)).await?;
        // It is written with the sink itself: only a hand in the table takes it away.
        self.position = stored.unwrap_or_else(|| *self.ground.writer.committed().borrow());
        Ok(())
    }

    /// Sends what comes next. False: there is nothing.
    async fn next(&mut self) -> Result<bool, String> {
        let mails = matches!(self.sink.channel, Channel::Mail { .. });
        let limit = if mails { DIGEST_MAX } else { 1 };
        let unreadable = |error: store::Error| format!("the journal can't be read: {error}");
        let mut entries = pending(&self.ground, self.position, limit).await.map_err(unreadable)?;
        if entries.is_empty() {
            return Ok(false);
        }
        let mut alerts = self.read(&entries).await?;
        if mails
            && self.is_soon()
            && alerts.iter().all(|one| one.incident.severity < Severity::Error)
        {
            // Forty attackers within a minute are a few mails, not forty.
            if let Some(last) = self.last {
                sleep(MAIL_PACE.saturating_sub(last.elapsed())).await;
            }
            entries = pending(&self.ground, self.position, limit).await.map_err(unreadable)?;
            alerts = self.read(&entries).await?;
        }
        let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(false) };
        // Whom it was about was erased: nothing is left to be told.
        if !alerts.is_empty() {
            self.send(&alerts).await?;
        }
        self.took(last, &alerts).await;
        Ok(true)
    }

    fn is_soon(&self) -> bool {
        self.health.failures == 0 && self.last.is_some_and(|last| last.elapsed() < MAIL_PACE)
    }

    async fn read(&self, entries: &[Entry]) -> Result<Vec<Alert>, String> {
        let (zone, stake) = (self.ground.zone().await, self.ground.stake().await);
        let mut alerts = Vec::new();
        for entry in entries {
            let read = self.ground.store.read_entry(entry).await;
            let fact = read.map_err(|error| format!("the journal can't be read: {error}"))?.fact;
            if let Some(incident) = Incident::from_fact(&fact) {
                let about = super::message::about(&fact);
                let (sequence, told) = (entry.sequence, entry.utc);
                let raised = matches!(fact, Fact::IncidentRaised { .. });
                let (zone, stake) = (zone.clone(), stake.clone());
                alerts.push(Alert { sequence, told, raised, about, incident, zone, stake });
            }
        }
        Ok(alerts)
    }

    async fn send(&self, alerts: &[Alert]) -> Result<(), String> {
        let confidence = self.ground.confidence(&self.sink)?;
        match &self.sink.channel {
            Channel::Mail { .. } => {
                let letter = Letter::of(self.ground.node, alerts);
                bounded(mail::send(&self.sink, &confidence, &letter)).await
            }
            Channel::Webhook { .. } => {
                for alert in alerts {
                    let id = alert.id(self.ground.node);
                    let now = self.ground.clock.now().utc;
                    let body = alert.json(self.ground.node).to_string().into_bytes();
                    bounded(webhook::post(&self.sink, &confidence, &id, now, body)).await?;
                }
                Ok(())
            }
        }
    }

    /// The far end has said yes.
    async fn took(&mut self, sequence: u64, alerts: &[Alert]) {
        self.position = sequence;
        self.last = Some(Instant::now());
        let (sink, kind) = (self.sink.id.0, self.sink.channel.kind().to_owned());
        let mut facts = Vec::new();
        if !alerts.is_empty() {
            let incidents = alerts.iter().map(|one| one.incident.id).collect();
            facts.push(Fact::AlertDelivered { sink, kind: kind.clone(), incidents });
        }
        if self.health.failures > 0 {
            facts.push(Fact::SinkRecovered { sink, kind, tries: self.health.failures });
        }
        self.health = Health::default();
        let mark = Watermark { reader: reader(self.sink.id), sequence };
        // Where the disk fails the position is in memory alone, and goes with the next.
        let _ = self.ground.write(vec![Row::Watermark(mark)], facts).await;
    }

    async fn failed(&mut self, why: String) {
        self.health.failures = self.health.failures.saturating_add(1);
        if self.health.failures == 1 {
            let (sink, kind) = (self.sink.id.0, self.sink.channel.kind().to_owned());
            let fact = Fact::SinkFailing { sink, kind, why: why.clone() };
            let _ = self.ground.write(Vec::new(), vec![fact]).await;
        }
        self.health.why = Some(why);
    }
}

async fn bounded(sent: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    match timeout(DELIVERY_MAX, sent).await {
        Ok(sent) => sent,
        Err(_) => Err(format!("it took longer than {} seconds", DELIVERY_MAX.as_secs())),
    }
}

const WAIT_MIN: Duration = Duration::from_secs(1);
/// A mail server's restart is over by then, and a dead one costs little.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// What is committed within this time is looked at together.
const GATHER: Duration = Duration::from_millis(250);
/// Without a commit it is looked so often.
const LOOK: Duration = Duration::from_secs(60);
/// A whole delivery, from look-up to yes: greylisting servers think for long.
const DELIVERY_MAX: Duration = Duration::from_secs(60);
/// Between two mails that are no emergency.
const MAIL_PACE: Duration = Duration::from_secs(15);
/// Alerts in one mail; the rest comes in the next.
const DIGEST_MAX: u32 = 50;
/// Waiting alerts that are counted for the list.
pub(super) const LISTED_MAX: u32 = 1_000;
