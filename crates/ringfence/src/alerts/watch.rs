//! The watcher: reads the journal in its order, folds it into incidents, writes them down.
//!
//! What it writes and how far it has read are committed together, so that a crash neither repeats an
//! incident nor loses one. At a start it reads what it needs to know again: the incidents that are
//! open, where extensions were during the last weeks, and the last day for the detectors. Its own
//! facts are no finding of any detector, so it can't wake itself for ever.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use guard::detect::{At, Detectors, Finding};
use guard::fact::Fact;
use guard::id::ExtensionId;
use guard::incident::{Change, Incidents};
use guard::journal::Entry;
use guard::money::Currency;
use guard::number::Country;
use pbx::record::{Row, Watermark};
use pure::Utc;
use store::Kinds;
use tokio::time::timeout;

use super::{Ground, Open};

/// Ends when the store does; cancel it by dropping the future.
pub(super) async fn run(ground: Ground, open: Open) {
    let mut watcher = loop {
        match Watcher::begin(ground.clone()).await {
            Ok(watcher) => break watcher,
            Err(error) => {
                tracing::error!(%error, "the journal can't be read: no incident is recognised");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let mut committed = ground.writer.committed();
    loop {
        if let Err(error) = watcher.catch_up().await {
            tracing::error!(%error, "the journal can't be read: no incident is recognised");
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        watcher.tick().await;
        let known = watcher.incidents.open().map(|one| (one.id, one.clone())).collect();
        *open.lock().unwrap_or_else(PoisonError::into_inner) = known;
        if matches!(timeout(TICK, committed.changed()).await, Ok(Err(_))) {
            return;
        }
        // A busy node commits hundreds of times a second.
        tokio::time::sleep(GATHER).await;
    }
}

struct Watcher {
    ground: Ground,
    detectors: Detectors,
    incidents: Incidents,
    position: u64,
    /// The position as it is stored.
    marked: u64,
    behind: bool,
}

impl Watcher {
    async fn begin(ground: Ground) -> Result<Self, store::Error> {
        let currency = ground.policy().await.map(|policy| policy.currency);
        let detectors = Detectors::new(currency.unwrap_or_else(|| Currency::of(Country::US)));
        let head = *ground.writer.committed().borrow();
        let stored = ground.store.watermark(READER).await?;
        // What was before the first start of the watcher is history.
        let position = stored.unwrap_or(head);
        let mut watcher = Self {
            detectors,
            incidents: Incidents::default(),
            position,
            marked: stored.unwrap_or(0),
            behind: false,
            ground,
        };
        watcher.recall().await?;
        if stored.is_none() {
            watcher.write(head, Vec::new()).await;
        }
        Ok(watcher)
    }

    /// What was known when the former process ended.
    async fn recall(&mut self) -> Result<(), store::Error> {
        let now = self.ground.clock.now().utc;
        let weeks = Some(before(now, PLACES));
        let told = Kinds {
            numbers: &[800, 801, 802],
            after: 0,
            since: weeks,
            limit: TOLD_MAX,
            newest: true,
        };
        for entry in self.ground.store.journal_of(self.ground.node, &told).await? {
            self.incidents.learn(&self.ground.store.read_entry(&entry).await?.fact);
        }
        let places = Kinds { numbers: &[410, 414], limit: PLACES_MAX, ..told };
        for entry in self.ground.store.journal_of(self.ground.node, &places).await? {
            let fact = self.ground.store.read_entry(&entry).await?.fact;
            self.detectors.remember_place(at(&entry), &fact);
        }
        let day = self.ground.store.last_before(self.ground.node, before(now, DAY)).await?;
        let after = day.max(self.position.saturating_sub(RECALLED_MAX));
        let pages = self.ground.store.journal(self.ground.node, after, self.position);
        let mut pages = pages.of(Detectors::KINDS);
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for entry in page.iter().filter(|entry| Detectors::concerns(entry)) {
                let fact = self.ground.store.read_entry(entry).await?.fact;
                for finding in self.detectors.observe(at(entry), &fact) {
                    self.incidents.recall(finding);
                }
            }
        }
    }

    /// Reads on to the end of the journal.
    async fn catch_up(&mut self) -> Result<(), store::Error> {
        let head = *self.ground.writer.committed().borrow();
        let pages = self.ground.store.journal(self.ground.node, self.position, head);
        let mut pages = pages.of(Detectors::KINDS);
        loop {
            let page = pages.next_page().await?;
            for entry in page.iter().filter(|entry| Detectors::concerns(entry)) {
                let fact = self.ground.store.read_entry(entry).await?.fact;
                self.incidents.learn(&fact);
                let found = self.detectors.observe(at(entry), &fact);
                self.take(entry.sequence, found).await;
                // Whoever fails at the next one comes back to that one.
                self.position = entry.sequence;
            }
            // What lies between those kinds, and behind the last of them, concerns nobody.
            self.position = page.last().map_or(head.max(self.position), |last| last.sequence);
            let behind = self.ground.writer.committed().borrow().saturating_sub(self.position);
            if behind > BEHIND && !self.behind {
                tracing::warn!(behind, "alerts lie behind the journal; none is lost");
            }
            self.behind = behind > BEHIND;
            if self.position - self.marked >= MARK_EVERY {
                self.write(self.position, Vec::new()).await;
            }
            if page.is_empty() {
                return Ok(());
            }
        }
    }

    /// What only time shows. Everything that is committed has been read.
    async fn tick(&mut self) {
        let now = self.ground.clock.now().utc;
        let found = self.detectors.tick(now);
        self.take(self.position, found).await;
        let closed = self.incidents.tick(now);
        self.tell(self.position, closed).await;
    }

    async fn take(&mut self, sequence: u64, found: Vec<Finding>) {
        let changes = found.into_iter().filter_map(|finding| self.incidents.take(finding));
        let changes = changes.collect();
        self.tell(sequence, changes).await;
    }

    async fn tell(&mut self, sequence: u64, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let whose: Vec<_> = changes.iter().filter_map(|one| one.incident().extension).collect();
        let numbers = match whose.is_empty() {
            true => BTreeMap::new(),
            false => self.ground.numbers(whose).await,
        };
        let number = |id: ExtensionId| numbers.get(&id).cloned();
        let facts = changes.into_iter().map(|change| change.into_fact(number)).collect();
        self.write(sequence, facts).await;
    }

    async fn write(&mut self, sequence: u64, mut facts: Vec<Fact>) {
        let mark = Watermark { reader: READER.to_owned(), sequence };
        // The store keeps facts even where it refuses the row: only that is tried again.
        while self
            .ground
            .write(vec![Row::Watermark(mark.clone())], std::mem::take(&mut facts))
            .await
            .is_err()
        {
            tokio::time::sleep(AGAIN).await;
        }
        self.marked = sequence;
    }
}

fn at(entry: &Entry) -> At {
    At { sequence: entry.sequence, utc: entry.utc }
}

fn before(now: Utc, span: Duration) -> Utc {
    Utc(now.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}

const READER: &str = "incidents";
/// Without a commit, time is looked at so often: a carrier that stays away, an incident that ends.
const TICK: Duration = Duration::from_secs(10);
/// What is committed within this time is read together.
const GATHER: Duration = Duration::from_millis(100);
/// After the disk failed.
const AGAIN: Duration = Duration::from_secs(1);
/// What detectors remember, bar places.
const DAY: Duration = Duration::from_secs(86_400);
const PLACES: Duration = Duration::from_secs(30 * 86_400);
/// Entries of the last day that are read again at a start, some seconds; in a busier house the
/// detectors know a shorter time.
const RECALLED_MAX: u64 = 50_000;
/// Registrations of the last weeks that are read again; beyond, places are new sooner.
const PLACES_MAX: u32 = 20_000;
/// Facts about incidents that are read again.
const TOLD_MAX: u32 = 10_000;
/// Entries read without a finding before the position is written: what a crash makes us read again.
const MARK_EVERY: u64 = 1_000;
/// So far behind the journal it is said.
const BEHIND: u64 = 10_000;
