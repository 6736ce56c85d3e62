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
use pure::Utc;
use store::Kinds;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::message::{Alert, Letter};
use super::wire::Wrong;
use super::{Ground, mail, reader, webhook};
use crate::clock;

/// How a sink fares, by what it took and by tests of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Health {
    pub(crate) state: State,
    /// Tries in vain since it last worked.
    pub(crate) failures: u32,
    /// Of a test that it did not take, if it took nothing since.
    pub(crate) test: Option<(Utc, Wrong)>,
}

/// Whether alerts arrive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    /// Nothing was sent there yet.
    #[default]
    NotTried,
    /// It has taken everything since then.
    Works(Utc),
    /// It has taken nothing since then, and why not.
    Fails(Utc, Wrong),
}

impl Health {
    fn worked(&mut self, at: Utc) {
        let since = match self.state {
            State::Works(since) => since,
            State::NotTried | State::Fails(..) => at,
        };
        *self = Self { state: State::Works(since), ..Self::default() };
    }

    fn failed(&mut self, at: Utc, why: Wrong) {
        let since = match self.state {
            State::Fails(since, _) => since,
            State::NotTried | State::Works(_) => at,
        };
        self.state = State::Fails(since, why);
        self.failures = self.failures.saturating_add(1);
    }

    /// As the journal tells it, entry by entry.
    fn recall(&mut self, at: Utc, fact: &Fact) {
        match fact {
            Fact::AlertDelivered { .. } | Fact::SinkRecovered { .. } => self.worked(at),
            Fact::SinkFailing { why, .. } => self.failed(at, why.clone().into()),
            Fact::SinkTested { passed: true, .. } => self.tested(at, &Ok(())),
            Fact::SinkTested { found, .. } => self.tested(at, &Err(found.clone().into())),
            // Where it leads is another place now.
            Fact::SinkAdded { .. } | Fact::SinkChanged { .. } => *self = Self::default(),
            _ => {}
        }
    }

    pub(super) fn tested(&mut self, at: Utc, taken: &Result<(), Wrong>) {
        match taken {
            Ok(()) => self.worked(at),
            Err(wrong) => self.test = Some((at, wrong.clone())),
        }
    }
}

/// How a sink fared before this process, by the journal.
pub(super) async fn recalled(ground: &Ground, sink: &Sink) -> Health {
    let kinds = Kinds {
        numbers: &[810, 812, 813, 814, 815, 816],
        after: 0,
        since: Some(sink.created),
        limit: RECALLED_MAX,
        newest: true,
    };
    let mut health = Health::default();
    for entry in ground.store.journal_of(ground.node, &kinds).await.unwrap_or_default() {
        let Ok(read) = ground.store.read_entry(&entry).await else { continue };
        let of = match &read.fact {
            Fact::SinkAdded { sink, .. }
            | Fact::AlertDelivered { sink, .. }
            | Fact::SinkFailing { sink, .. }
            | Fact::SinkRecovered { sink, .. }
            | Fact::SinkTested { sink, .. }
            | Fact::SinkChanged { sink, .. } => *sink,
            _ => continue,
        };
        if of == sink.id.0 {
            health.recall(entry.utc, &read.fact);
        }
    }
    health
}

/// Ends when the store does; cancel it by dropping the future.
pub(super) async fn run(ground: Ground, sink: Sink, told: watch::Sender<Health>) {
    let mut committed = ground.writer.committed();
    // The failure that was told before a restart is told by its recovery too.
    let known = recalled(&ground, &sink).await;
    told.send_if_modified(|health| {
        let fresh = *health == Health::default();
        if fresh {
            *health = known;
        }
        fresh
    });
    let mut delivery = Delivery { position: 0, told, last: None, sink, ground };
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
                // A tenth more or less, so that many nodes don't come at one moment.
                let tenth = u64::try_from(wait.as_millis() / 10).unwrap_or(0);
                let jitter = chance.below(2 * tenth + 1);
                sleep(wait - Duration::from_millis(tenth) + Duration::from_millis(jitter)).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
    }
}

/// Sends something that says that it is a test.
pub(super) async fn test(ground: &Ground, sink: &Sink) -> Result<(), Wrong> {
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
    told: watch::Sender<Health>,
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
    async fn next(&mut self) -> Result<bool, Wrong> {
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
        self.told.borrow().failures == 0 && self.last.is_some_and(|last| last.elapsed() < MAIL_PACE)
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

    async fn send(&self, alerts: &[Alert]) -> Result<(), Wrong> {
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
            let incidents = guard::fact::Incidents(incidents);
            facts.push(Fact::AlertDelivered { sink, kind: kind.clone(), incidents });
        }
        let tries = self.told.borrow().failures;
        if tries > 0 {
            facts.push(Fact::SinkRecovered { sink, kind, tries });
        }
        if !facts.is_empty() {
            let now = self.ground.clock.now().utc;
            self.told.send_modify(|health| health.worked(now));
        }
        let mark = Watermark { reader: reader(self.sink.id), sequence };
        // Where the disk fails the position is in memory alone, and goes with the next.
        let _ = self.ground.write(vec![Row::Watermark(mark)], facts).await;
    }

    async fn failed(&mut self, wrong: Wrong) {
        let now = self.ground.clock.now().utc;
        let (sink, kind) = (self.sink.id.0, self.sink.channel.kind().to_owned());
        let fact = Fact::SinkFailing { sink, kind, why: wrong.why.clone() };
        self.told.send_modify(|health| health.failed(now, wrong));
        if self.told.borrow().failures == 1 {
            let _ = self.ground.write(Vec::new(), vec![fact]).await;
        }
    }
}

async fn bounded(sent: impl Future<Output = Result<(), Wrong>>) -> Result<(), Wrong> {
    match timeout(DELIVERY_MAX, sent).await {
        Ok(sent) => sent,
        Err(_) => Err(format!("it took longer than {} seconds", DELIVERY_MAX.as_secs()).into()),
    }
}

/// Facts about sinks that are looked through at a start.
const RECALLED_MAX: u32 = 2_000;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Utc {
        Utc(minute * 60_000_000)
    }

    #[test]
    fn a_sink_works_once_it_has_taken_something_and_not_before() {
        let mut health = Health::default();
        assert_eq!(health.state, State::NotTried);
        health.tested(at(1), &Err("refused".into()));
        assert_eq!(health.state, State::NotTried, "a test in vain proves nothing good");
        assert!(health.test.is_some());
        health.tested(at(2), &Ok(()));
        assert_eq!((health.state.clone(), health.test.clone()), (State::Works(at(2)), None));
        health.worked(at(3));
        assert_eq!(health.state, State::Works(at(2)));
        health.failed(at(4), "gone".into());
        health.failed(at(5), "still gone".into());
        assert_eq!(health.state, State::Fails(at(4), "still gone".into()));
        assert_eq!(health.failures, 2);
        // A test in vain doesn't end what is known.
        health.tested(at(6), &Err("gone".into()));
        assert!(matches!(health.state, State::Fails(since, _) if since == at(4)));
        health.worked(at(7));
        assert_eq!(health, Health { state: State::Works(at(7)), ..Health::default() });
    }

    #[test]
    fn a_restart_knows_what_the_journal_says() {
        let (sink, kind) = (1, "mail".to_owned());
        let mut health = Health::default();
        let failing = Fact::SinkFailing { sink, kind: kind.clone(), why: "refused".to_owned() };
        health.recall(at(1), &failing);
        assert_eq!(
            (health.state.clone(), health.failures),
            (State::Fails(at(1), "refused".into()), 1)
        );
        health.recall(at(2), &Fact::SinkRecovered { sink, kind: kind.clone(), tries: 3 });
        assert_eq!(health.state, State::Works(at(2)));
        let (to, actor) =
            ("a@example.com".into(), guard::pii::Pii::new(guard::access::Actor::System));
        health.recall(at(3), &Fact::SinkChanged { sink, kind, to, actor });
        assert_eq!(health, Health::default());
    }
}
