//! Alerts: from what stands in the journal to somebody's mailbox.
//!
//! [`watch`] folds the journal into incidents and writes them down. Each sink has a task ([`deliver`])
//! that reads the incidents behind its own position and sends them by [`mail`] or [`webhook`]; the
//! position moves when the far end has said yes. All of it reads what is committed, from the store:
//! signalling neither waits for it nor knows of it.

pub(crate) mod deliver;
mod mail;
pub(crate) mod message;
mod watch;
mod webhook;
mod wire;

pub(crate) use mail::address as mail_address;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use guard::access::Actor;
use guard::fact::Fact;
use guard::id::{ExtensionId, NodeId, TenantId};
use guard::incident::Incident;
use guard::pii::{Name, Pii};
use guard::policy::Policy;
use guard::secret::{MasterKey, Sealed};
use guard::sink::{Channel, SINKS_MAX, Sink, SinkId};
use guard::zone::Zone;
use pbx::command::{Command, Reply, Which};
use pbx::record::{Row, Watermark};
use serde::{Deserialize, Serialize};
use store::{Noted, Reader, Writer};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::admin::protocol::Confidential;
use crate::admin::work::in_short;
use crate::clock::{self, Clock};
use crate::exchange_thread::{self, Inbox};
use deliver::Health;
pub(crate) use wire::Wrong;

/// What everything here works with.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) node: NodeId,
    pub(crate) tenant: TenantId,
    pub(crate) clock: Clock,
    pub(crate) key: Arc<MasterKey>,
    pub(crate) store: Reader,
    pub(crate) writer: Writer,
    pub(crate) exchange: Inbox,
}

/// The watcher and the sinks of a node.
pub(crate) struct Alerts {
    ground: Ground,
    watcher: JoinHandle<()>,
    open: Open,
    sinks: Mutex<BTreeMap<SinkId, Running>>,
}

/// The incidents that are open, by their ids, as the watcher knows them now.
type Open = Arc<std::sync::Mutex<BTreeMap<u64, Incident>>>;

struct Running {
    sink: Sink,
    health: tokio::sync::watch::Sender<Health>,
    task: JoinHandle<()>,
}

/// A sink as it is listed.
pub(crate) struct Listed {
    pub(crate) sink: Sink,
    pub(crate) health: Health,
    /// Alerts that it has not taken yet.
    pub(crate) waiting: usize,
    /// Where it leads, for people: a webhook's address without what opens it.
    pub(crate) to: String,
}

/// What of a sink nobody may see: sealed as JSON.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Confidence {
    /// Of a webhook, in full.
    pub(crate) url: Option<Confidential>,
    /// A mail account's password, or what a webhook's signature is made with.
    pub(crate) secret: Option<Confidential>,
}

/// Whether a sink can ever be there.
///
/// # Errors
/// Why not: an address that is nobody's, or one that needs a word more.
pub(crate) async fn may_lead(
    channel: &Channel,
    confidence: &Confidence,
    private: bool,
) -> Result<(), Wrong> {
    let reach = |loopback_only| wire::Reach { authority: None, private, loopback_only };
    match channel {
        Channel::Mail { host, port, security, .. } => {
            let reach = reach(*security == guard::sink::Security::Loopback);
            wire::may_lead(host, *port, reach).await
        }
        Channel::Webhook { .. } => {
            let Some(url) = &confidence.url else { return Ok(()) };
            let target = target(&url.0)?;
            wire::may_lead(&target.host, target.port, reach(!target.encrypted)).await
        }
    }
}

/// # Errors
/// What is wrong with the address of a webhook.
pub(crate) fn target(url: &str) -> Result<webhook::Target, String> {
    webhook::Target::parse(url)
}

impl Alerts {
    /// What the database says, as long as it refuses writes: until it takes them no alert can be made of that.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.ground.writer.refusal()
    }

    /// Starts the watcher and a task for each sink, on the current runtime.
    pub(crate) async fn start(ground: Ground) -> Arc<Self> {
        let sinks = match ground.store.sinks().await {
            Ok((sinks, damaged)) => {
                for error in damaged {
                    tracing::error!(%error, "a sink is left out: no alerts go there");
                }
                sinks
            }
            Err(error) => {
                tracing::error!(%error, "the sinks can't be read: no alerts are sent");
                Vec::new()
            }
        };
        let running = sinks.into_iter().map(|sink| (sink.id, run(&ground, sink)));
        let sinks = Mutex::new(running.collect());
        let open = Open::default();
        let watcher = tokio::spawn(watch::run(ground.clone(), open.clone()));
        Arc::new(Self { ground, watcher, open, sinks })
    }

    /// Lets go of everything; what was not sent is sent after the next start.
    pub(crate) async fn stop(&self) {
        self.watcher.abort();
        for running in self.sinks.lock().await.values() {
            running.task.abort();
        }
    }

    /// # Errors
    /// Why not, in words.
    pub(crate) async fn add(
        &self,
        actor: Actor,
        channel: Channel,
        confidence: &Confidence,
        authority: Option<String>,
        private: bool,
    ) -> Result<SinkId, String> {
        let mut sinks = self.sinks.lock().await;
        if sinks.len() >= SINKS_MAX {
            return Err(format!("there are {SINKS_MAX} sinks already"));
        }
        self.is_new(&sinks, None, &channel, confidence)?;
        let last = sinks.keys().next_back().map_or(0, |last| last.0);
        let id = SinkId(last.max(self.last_added().await).saturating_add(1));
        let sink = self.sealed(id, channel, confidence, authority, private);
        // What happened before it was there is none of its business.
        let sequence = *self.ground.writer.committed().borrow();
        let rows = vec![
            Row::Sink(Box::new(sink.clone())),
            Row::Watermark(Watermark { reader: reader(id), sequence }),
        ];
        let (kind, to) = (sink.channel.kind().to_owned(), sink.channel.to());
        let to = Pii::new(Name(to));
        let fact = Fact::SinkAdded { sink: id.0, kind, to, actor: Pii::new(actor) };
        self.ground.change(rows, fact).await?;
        sinks.insert(id, run(&self.ground, sink));
        Ok(id)
    }

    /// Lets a sink lead elsewhere; what waits goes there. False: there is none of this number.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) async fn set(
        &self,
        actor: Actor,
        id: SinkId,
        channel: Channel,
        confidence: &Confidence,
        authority: Option<String>,
        private: bool,
    ) -> Result<bool, String> {
        let mut sinks = self.sinks.lock().await;
        let Some(created) = sinks.get(&id).map(|running| running.sink.created) else {
            return Ok(false);
        };
        self.is_new(&sinks, Some(id), &channel, confidence)?;
        let sealed = self.sealed(id, channel, confidence, authority, private);
        let sink = Sink { created, ..sealed };
        let (kind, to) = (sink.channel.kind().to_owned(), Pii::new(Name(sink.channel.to())));
        let fact = Fact::SinkChanged { sink: id.0, kind, to, actor: Pii::new(actor) };
        self.ground.write(vec![Row::Sink(Box::new(sink.clone()))], vec![fact]).await?;
        if let Some(former) = sinks.insert(id, run(&self.ground, sink)) {
            former.task.abort();
        }
        Ok(true)
    }

    fn sealed(
        &self,
        id: SinkId,
        channel: Channel,
        confidence: &Confidence,
        authority: Option<String>,
        private: bool,
    ) -> Sink {
        let clear = serde_json::to_vec(confidence).map(Zeroizing::new);
        let clear = clear.expect("texts always print");
        let key = &self.ground.key;
        let sealed = Sealed::seal(key, &mut clock::chance(), record(id).as_bytes(), &clear);
        let created = self.ground.clock.now().utc;
        Sink { id, created, channel, sealed, authority, private }
    }

    /// A second sink to the same place would tell everything twice.
    fn is_new(
        &self,
        sinks: &BTreeMap<SinkId, Running>,
        but: Option<SinkId>,
        channel: &Channel,
        confidence: &Confidence,
    ) -> Result<(), String> {
        let same = sinks.values().find(|one| {
            Some(one.sink.id) != but
                && one.sink.channel == *channel
                && self.ground.confidence(&one.sink).is_ok_and(|known| known.url == confidence.url)
        });
        match same {
            Some(one) => Err(format!("sink {} leads there already", one.sink.id.0)),
            None => Ok(()),
        }
    }

    /// The highest number that was ever given, so that none names two sinks.
    async fn last_added(&self) -> u32 {
        let ground = &self.ground;
        let kinds = store::Kinds { numbers: &[810], after: 0, since: None, limit: 1, newest: true };
        let Ok(found) = ground.store.journal_of(ground.node, &kinds).await else { return 0 };
        let Some(entry) = found.last() else { return 0 };
        match ground.store.read_entry(entry).await.map(|read| read.fact) {
            Ok(Fact::SinkAdded { sink, .. }) => sink,
            _ => 0,
        }
    }

    /// Alerts that it has not taken yet; `None`: there is none of this number.
    pub(crate) async fn waiting(&self, id: SinkId) -> Result<Option<usize>, store::Error> {
        if !self.sinks.lock().await.contains_key(&id) {
            return Ok(None);
        }
        self.pending(id).await.map(Some)
    }

    async fn pending(&self, id: SinkId) -> Result<usize, store::Error> {
        let after = self.ground.store.watermark(&reader(id)).await?.unwrap_or(0);
        Ok(deliver::pending(&self.ground, after, deliver::LISTED_MAX).await?.len())
    }

    /// False: there is none of this number.
    ///
    /// # Errors
    /// Where it could not be written.
    pub(crate) async fn remove(&self, actor: Actor, id: SinkId) -> Result<bool, String> {
        let mut sinks = self.sinks.lock().await;
        let Some(running) = sinks.get(&id) else { return Ok(false) };
        let channel = &running.sink.channel;
        let (kind, to) = (channel.kind().to_owned(), Pii::new(Name(channel.to())));
        let fact = Fact::SinkRemoved { sink: id.0, kind, to, actor: Pii::new(actor) };
        self.ground.change(vec![Row::RemoveSink(id)], fact).await?;
        if let Some(running) = sinks.remove(&id) {
            running.task.abort();
        }
        Ok(true)
    }

    /// An open incident as it is now: the journal has it as it was when it was told.
    pub(crate) fn open(&self, incident: u64) -> Option<Incident> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&incident).cloned()
    }

    pub(crate) async fn list(&self) -> Result<Vec<Listed>, store::Error> {
        let mut all = Vec::new();
        for running in self.sinks.lock().await.values() {
            let sink = running.sink.clone();
            let waiting = self.pending(sink.id).await?;
            let to = self.leads_to(&sink);
            all.push(Listed { sink, health: running.health.borrow().clone(), waiting, to });
        }
        Ok(all)
    }

    /// Sends a test; `None`: there is none of this number.
    pub(crate) async fn test(&self, id: SinkId) -> Option<Result<(), Wrong>> {
        let found = {
            let sinks = self.sinks.lock().await;
            sinks.get(&id).map(|running| (running.sink.clone(), running.health.clone()))
        };
        let (sink, health) = found?;
        let taken = deliver::test(&self.ground, &sink).await;
        let now = self.ground.clock.now().utc;
        health.send_modify(|health| health.tested(now, &taken));
        let (passed, found) = match &taken {
            Ok(()) => (true, "it took it".to_owned()),
            Err(wrong) => (false, wrong.why.clone()),
        };
        let kind = sink.channel.kind().to_owned();
        let fact = Fact::SinkTested { sink: id.0, kind, passed, found };
        let _ = self.ground.write(Vec::new(), vec![fact]).await;
        Some(taken)
    }

    fn leads_to(&self, sink: &Sink) -> String {
        let url = match &sink.channel {
            Channel::Webhook { .. } => {
                self.ground.confidence(sink).ok().and_then(|known| known.url)
            }
            Channel::Mail { .. } => None,
        };
        let target = url.and_then(|url| target(&url.0).ok());
        target.map_or_else(|| sink.channel.to(), |target| target.masked())
    }
}

fn run(ground: &Ground, sink: Sink) -> Running {
    let (health, _) = tokio::sync::watch::channel(Health::default());
    let task = tokio::spawn(deliver::run(ground.clone(), sink.clone(), health.clone()));
    Running { sink, health, task }
}

impl Ground {
    /// A change and the fact that says so, or neither.
    async fn change(&self, rows: Vec<Row>, fact: Fact) -> Result<(), String> {
        let noted = Noted { now: self.clock.now(), tenant: None, fact: fact.clone() };
        self.writer.change(rows, vec![noted]).await.map_err(|_| NOT_WRITTEN.to_owned())?;
        exchange_thread::log(&fact);
        Ok(())
    }

    /// Rows and facts in one transaction. The facts happened, and are kept where the rows are refused.
    async fn write(&self, rows: Vec<Row>, facts: Vec<Fact>) -> Result<(), String> {
        let now = self.clock.now();
        let note = |fact: Fact| {
            exchange_thread::log(&fact);
            Noted { now, tenant: None, fact }
        };
        let facts = facts.into_iter().map(note).collect();
        let written = self.writer.persist(rows, facts).await;
        written.map_err(|_| NOT_WRITTEN.to_owned())
    }

    async fn policy(&self) -> Option<Arc<Policy>> {
        match self.exchange.ask(Command::Policy).await {
            Ok(Reply::Policy(policy, _)) => Some(policy),
            _ => None,
        }
    }

    /// The most that can be lost until somebody acts: `At most 23.40 USD can be lost until Thursday 08:00.`
    async fn stake(&self) -> Option<String> {
        let policy = self.policy().await?;
        match self.exchange.ask(Command::Exposure).await {
            Ok(Reply::Exposure(exposure)) => Some(in_short(&exposure, &policy)),
            _ => None,
        }
    }

    async fn zone(&self) -> Zone {
        let policy = self.policy().await;
        policy.and_then(|policy| Zone::named(&policy.zone)).unwrap_or_else(Zone::utc)
    }

    /// Numbers of these extensions, as far as they exist.
    async fn numbers(&self, ids: Vec<ExtensionId>) -> BTreeMap<ExtensionId, String> {
        let which = Which::Ids(ids);
        match self.exchange.ask(Command::Extensions { tenant: self.tenant, which }).await {
            Ok(Reply::Extensions(all)) => all
                .into_iter()
                .map(|one| (one.extension.id, one.extension.number.to_string()))
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    fn confidence(&self, sink: &Sink) -> Result<Confidence, String> {
        let clear = sink.sealed.open(&self.key, record(sink.id).as_bytes());
        let clear = clear.map_err(|error| {
            format!("its secret does not open ({error}): remove the sink and add it again")
        })?;
        serde_json::from_slice(&clear).map_err(|_| "its secret does not read".to_owned())
    }
}

const NOT_WRITTEN: &str = "it could not be written to the disk of the data folder";

/// The name under which a sink's secrets are sealed.
fn record(id: SinkId) -> String {
    format!("sink/{}/secret", id.0)
}

/// The name of its position in the journal.
fn reader(id: SinkId) -> String {
    format!("sink/{}", id.0)
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alerts")
    }
}
