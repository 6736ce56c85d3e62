//! The writer: the one thread that changes the database, and the owner of the journal.
//!
//! **Group commit.** A write that comes after a pause is committed at once. Under load commits begin at least
//! [`COMMIT_GAP`] apart, and whatever came meanwhile goes into one, up to [`GROUP_MAX`] writes: a commit costs as much
//! as ten rows, and a call waits for two of them. Answers go out after the commit. Of several changes of one row only the last is
//! written. Refreshes of registrations, which nobody waits for, are held back up to [`LAZY_MAX`] so
//! that they ride along with something else: a crash costs at most that second of them. Lines of ladders wait as long
//! for others of their call ([`ladders`]).
//!
//! **A change and its facts.** What [`Write::bound`] holds is chained at the commit of its rows, after what
//! was chained before, and taken back from the chain where the commit fails: no change is ever without its
//! line in the journal, and no line says that a change was made which wasn't.
//!
//! **A failing disk.** Writes that somebody waits for are answered with the error and forgotten: their
//! asker decides. Rows that nobody waits for, facts and ladders are kept and tried again, first
//! after [`RETRY_MIN`], then doubling to [`RETRY_MAX`]; until then whoever waits is refused at once. It
//! recovers by itself. One fact says that it began, one what was lost, if anything was. At the bounds:
//! beyond [`ROWS_KEPT_MAX`] rows the next refresh makes room (the phone will send another), and where
//! there is none to drop, the new row is lost and counted; beyond [`ENTRIES_KEPT_MAX`] a fact is
//! counted instead of chained, so that the chain stays whole; beyond 20 MB of ladders the next line
//! is lost and counted.

mod ladders;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use guard::fact::Fact;
use guard::id::{DeviceId, NodeId, TenantId};
use guard::journal::{Break, Journal, Position, Subject, SubjectKey};
use guard::secret::MasterKey;
use pbx::io::{PersistError, Trace};
use pbx::record::Row;
use pure::{Chance, Now, Utc};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use self::ladders::Ladders;
use crate::database::{Database, Statement, Value};
use crate::error::{Error, Failure};
use crate::folder;
use crate::table::{self, Key, Texts};

/// Hands writes to the writer. Cheap to clone; when the last one is gone the writer writes what it
/// holds and ends.
#[derive(Clone, Debug)]
pub struct Writer {
    orders: mpsc::Sender<Order>,
    committed: watch::Receiver<u64>,
    refusal: watch::Receiver<Option<String>>,
}

/// What is committed together, or not at all.
#[derive(Debug, Default)]
pub struct Write {
    pub rows: Vec<Row>,
    /// Chained in this order, in the transaction of the rows. They are kept where the rows of a
    /// write that somebody waits for are refused: a fact happened, whatever became of the row.
    pub facts: Vec<Noted>,
    /// Chained with the rows of a write that somebody waits for, or not at all: what says that those were
    /// changed.
    pub bound: Vec<Noted>,
    pub traces: Vec<Trace>,
    /// Answered after the commit.
    pub reply: Option<Reply>,
}

/// Who is told how a write went: exactly once, and [`PersistError::Unavailable`] where the writer dies or never
/// took the write.
pub struct Reply(Option<Tell>);

type Tell = Box<dyn FnOnce(Result<(), PersistError>) + Send>;

/// A fact, when it happened and to whom.
#[derive(Clone, PartialEq, Debug)]
pub struct Noted {
    pub now: Now,
    /// `None`: a fact of the node.
    pub tenant: Option<TenantId>,
    pub fact: Fact,
}

/// What is deleted for its age: whatever began before the time given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    pub cdrs_before: Option<Utc>,
    pub traces_before: Option<Utc>,
}

/// How many rows a retention deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deleted {
    pub cdrs: u64,
    pub traces: u64,
}

impl Reply {
    /// `tell` runs within the writer, so it must not wait.
    pub fn new(tell: impl FnOnce(Result<(), PersistError>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    fn send(mut self, result: Result<(), PersistError>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<(), PersistError>) {
        if let Some(tell) = self.0.take() {
            tell(result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.tell(Err(PersistError::Unavailable));
    }
}

impl From<oneshot::Sender<Result<(), PersistError>>> for Reply {
    fn from(sender: oneshot::Sender<Result<(), PersistError>>) -> Self {
        // Nobody listens where the asker gave up; the row is written all the same.
        Self::new(|result| {
            let _ = sender.send(result);
        })
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

#[derive(Debug)]
enum Order {
    Write(Write),
    Delete(Retention, oneshot::Sender<Result<Deleted, Error>>),
    Erase(Subject, Noted, oneshot::Sender<Result<(), Error>>),
    Close(oneshot::Sender<Result<(), Error>>),
}

impl Writer {
    /// Hands over one write, waiting for room in the queue.
    ///
    /// # Errors
    /// [`Error::Closed`] where the writer has ended.
    pub async fn write(&self, write: Write) -> Result<(), Error> {
        self.orders.send(Order::Write(write)).await.map_err(|_| Error::Closed)
    }

    /// Hands over one write without waiting: for the signalling thread, which must not stop.
    ///
    /// # Errors
    /// The write itself comes back where [`QUEUE_MAX`] others are waiting or the writer has ended. What
    /// somebody waits for is then to be answered with [`PersistError::Unavailable`]; what nobody
    /// waits for can be handed over later.
    pub fn try_write(&self, write: Write) -> Result<(), Box<Write>> {
        self.orders.try_send(Order::Write(write)).map_err(|refused| {
            let (TrySendError::Full(order) | TrySendError::Closed(order)) = refused;
            match order {
                Order::Write(write) => Box::new(write),
                _ => unreachable!("what comes back is what was sent"),
            }
        })
    }

    /// The last entry of the journal that can be read, and when it changes.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// What the database says, as long as it refuses writes. Nothing of that is in the journal before it takes them
    /// again.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    /// Writes and waits for the commit.
    ///
    /// # Errors
    /// What the exchange gets too.
    pub async fn persist(&self, rows: Vec<Row>, facts: Vec<Noted>) -> Result<(), PersistError> {
        self.commit(Write { rows, facts, ..Write::default() }).await
    }

    /// Writes a change and waits for the commit: the rows and the facts that say so, or neither.
    ///
    /// # Errors
    /// What the exchange gets too.
    pub async fn change(&self, rows: Vec<Row>, bound: Vec<Noted>) -> Result<(), PersistError> {
        self.commit(Write { rows, bound, ..Write::default() }).await
    }

    async fn commit(&self, write: Write) -> Result<(), PersistError> {
        let (reply, answer) = oneshot::channel();
        let write = Write { reply: Some(reply.into()), ..write };
        self.write(write).await.map_err(|_| PersistError::Unavailable)?;
        answer.await.unwrap_or(Err(PersistError::Unavailable))
    }

    /// Deletes what is too old, a bite at a time between commits.
    ///
    /// # Errors
    /// Where the database fails; what was deleted until then stays deleted.
    pub async fn delete(&self, retention: Retention) -> Result<Deleted, Error> {
        self.ask(|reply| Order::Delete(retention, reply)).await
    }

    /// Destroys the keys of a subject: its personal data in the journal can't be read any more, the
    /// chain holds. `noted` is the fact that says so.
    ///
    /// The keys leave the database file and its log. They stay in copies made before (a backup, a
    /// copy before a migration, a snapshot of the disk), where the master key still opens them.
    ///
    /// # Errors
    /// Where the database fails; the keys are then still there.
    pub async fn erase(&self, subject: Subject, noted: Noted) -> Result<(), Error> {
        self.ask(|reply| Order::Erase(subject, noted, reply)).await
    }

    /// Writes what is held, moves the log into the database file, and ends the writer.
    ///
    /// # Errors
    /// Where the last rows could not be written.
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(Order::Close).await
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Order,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// What the writer starts with.
pub(crate) struct Start {
    pub(crate) database: Database,
    pub(crate) journal: Journal,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) chance: Chance,
    /// Where the journal's head is kept beside the database.
    pub(crate) head: std::path::PathBuf,
    pub(crate) next_trace: i64,
    /// Facts about the store itself, for log and alerts; they are in the journal too.
    pub(crate) alerts: mpsc::Sender<Fact>,
}

/// Starts the writer, on a thread of its own: calls wait for it, and it waits for no handshake of a stranger. A break
/// found at the end of the journal is the first thing it notes.
pub(crate) fn spawn(start: Start, broken: Option<(NodeId, Break)>) -> io::Result<Writer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (sender, orders) = mpsc::channel(QUEUE_MAX);
    let (told, committed) = watch::channel(start.journal.position().sequence);
    let (refusing, refusal) = watch::channel(None);
    let mut task = Task {
        orders,
        texts: Texts::default(),
        ordinal: 0,
        rows: BTreeMap::new(),
        waiting: Vec::new(),
        entries: Vec::new(),
        keys: Vec::new(),
        ladders: Ladders::new(start.next_trace),
        lazy_until: None,
        eager: false,
        gather_until: None,
        idle_until: None,
        gathered: 0,
        trouble: None,
        deletion: None,
        head_written: None,
        head_due: None,
        told,
        refusing,
        start,
    };
    if let Some((node, Break { sequence, why })) = broken {
        task.alert(Fact::JournalBroken { node, sequence, why: why.to_string() });
    }
    let thread = std::thread::Builder::new().name("writer".to_owned());
    thread.spawn(move || runtime.block_on(task.run()))?;
    Ok(Writer { orders: sender, committed, refusal })
}

struct Task {
    start: Start,
    orders: mpsc::Receiver<Order>,
    texts: Texts,
    /// Counts rows as they come, so that the later one of two is known.
    ordinal: u64,
    /// Rows that nobody waits for.
    rows: BTreeMap<Key, (u64, Row)>,
    waiting: Vec<Waiting>,
    /// Chained, not yet stored: they can't be dropped any more.
    entries: Vec<Vec<Value>>,
    keys: Vec<Vec<Value>>,
    ladders: Ladders,
    /// When rows that were held back must go.
    lazy_until: Option<Instant>,
    /// Whether anything is held that goes with the next commit.
    eager: bool,
    /// When the next commit may begin.
    gather_until: Option<Instant>,
    /// Until when nothing is looked for, since what came last waits anyway.
    idle_until: Option<Instant>,
    /// Writes taken since the last commit.
    gathered: usize,
    trouble: Option<Trouble>,
    deletion: Option<Deletion>,
    head_written: Option<Instant>,
    /// When the head beside the database must be brought up to date.
    head_due: Option<Instant>,
    /// How far the journal can be read.
    told: watch::Sender<u64>,
    /// What the database says while it refuses.
    refusing: watch::Sender<Option<String>>,
}

struct Waiting {
    ordinal: u64,
    rows: Vec<Row>,
    bound: Vec<Noted>,
    reply: Reply,
}

/// How far the chain had come.
struct Mark {
    position: Position,
    entries: usize,
    keys: usize,
    /// Whose keys were drawn since.
    drawn: Vec<Subject>,
}

/// The disk doesn't take our writes.
struct Trouble {
    failure: Failure,
    retry_at: Instant,
    pause: Duration,
    rows_lost: u64,
    facts_lost: u64,
    traces_lost: u64,
}

struct Deletion {
    retention: Retention,
    deleted: Deleted,
    reply: oneshot::Sender<Result<Deleted, Error>>,
}

impl Task {
    async fn run(mut self) {
        let closing = loop {
            let now = Instant::now();
            if self.is_due(now) {
                self.gather_until = Some(now + COMMIT_GAP);
                self.gathered = 0;
                // Whoever waited has the answer; what is kept is tried again.
                let _ = self.commit().await;
            }
            if self.head_due.is_some_and(|due| Instant::now() >= due) {
                self.write_head();
            }
            self.delete_some().await;
            match self.next().await {
                Next::Order(order) => {
                    if let Some(closing) = self.take(order).await {
                        break Some(closing);
                    }
                    if let Some(closing) = self.take_waiting().await {
                        break Some(closing);
                    }
                }
                Next::Deadline => {}
                Next::Gone => break None,
            }
        };
        let ended = self.end().await;
        if let Some(reply) = closing {
            // Nobody listens where the asker gave up.
            let _ = reply.send(ended);
        }
    }

    async fn next(&mut self) -> Next {
        if self.deletion.is_some() {
            return match self.orders.try_recv() {
                Ok(order) => Next::Order(order),
                Err(_) => Next::Deadline,
            };
        }
        let deadline = match &self.trouble {
            Some(trouble) => Some(trouble.retry_at),
            None => {
                let until = [self.lazy_until, self.ladders.until(), self.head_due];
                until.into_iter().flatten().min()
            }
        };
        // Each order would wake us; they wait in the queue for the commit that they go with, and after what nobody
        // waits for, a moment for others of its kind.
        let pause = match self.eager {
            true => self.gather_until.filter(|_| self.gathered < GROUP_MAX),
            false => self.idle_until.take(),
        };
        if let Some(until) = pause
            && self.trouble.is_none()
        {
            tokio::time::sleep_until(until.into()).await;
            return self.orders.try_recv().map_or(Next::Deadline, Next::Order);
        }
        let order = match deadline {
            None => self.orders.recv().await,
            Some(deadline) => {
                match tokio::time::timeout_at(deadline.into(), self.orders.recv()).await {
                    Ok(order) => order,
                    Err(_) => return Next::Deadline,
                }
            }
        };
        order.map_or(Next::Gone, Next::Order)
    }

    /// Takes what else is there already, up to the size of a group.
    async fn take_waiting(&mut self) -> Option<Closing> {
        for _ in 1..GROUP_MAX {
            let Ok(order) = self.orders.try_recv() else { break };
            let closing = self.take(order).await;
            if closing.is_some() {
                return closing;
            }
        }
        None
    }

    async fn take(&mut self, order: Order) -> Option<Closing> {
        match order {
            Order::Write(write) => self.take_write(write),
            Order::Delete(retention, reply) => match self.deletion {
                Some(_) => {
                    let failure = unavailable("another deletion is under way");
                    let _ = reply.send(Err(Error::Database(failure)));
                }
                None => {
                    // What is under way may be old enough. Where the disk fails, so will the deletion.
                    let _ = self.commit_all().await;
                    let deleted = Deleted::default();
                    self.deletion = Some(Deletion { retention, deleted, reply });
                }
            },
            Order::Erase(subject, noted, reply) => {
                let erased = self.erase(subject, noted).await;
                let _ = reply.send(erased);
            }
            Order::Close(reply) => return Some(reply),
        }
        None
    }

    fn take_write(&mut self, write: Write) {
        let lazy = write.reply.is_none()
            && !write.facts.iter().any(|noted| noted.fact.journalled())
            && write.rows.iter().all(|row| matches!(row, Row::Binding(_) | Row::Device(_)));
        let only_lines = lazy && write.rows.is_empty();
        if only_lines {
            // They have a time of their own.
        } else if lazy {
            let now = Instant::now();
            self.lazy_until.get_or_insert(now + LAZY_MAX);
            self.idle_until = Some(now + LAZY_GAP);
        } else {
            self.eager = true;
        }
        for noted in write.facts {
            self.note(noted);
        }
        let now = Instant::now();
        for trace in write.traces {
            self.trace(now, trace);
        }
        self.eager |= self.ladders.is_crowded();
        for row in &write.rows {
            if let Row::Cdr(cdr) = row {
                self.ladders.ended(cdr.call);
            }
        }
        self.ordinal += 1;
        self.gathered += 1;
        match write.reply {
            Some(reply) => {
                let (ordinal, rows, bound) = (self.ordinal, write.rows, write.bound);
                self.waiting.push(Waiting { ordinal, rows, bound, reply });
            }
            None => {
                // Such a write is never refused.
                write.bound.into_iter().for_each(|noted| self.note(noted));
                write.rows.into_iter().for_each(|row| self.keep(row));
            }
        }
    }

    /// Keeps a row until it is written.
    fn keep(&mut self, row: Row) {
        let key = Key::of(&row);
        if self.rows.len() >= ROWS_KEPT_MAX && !self.rows.contains_key(&key) {
            let refreshes = Key::Binding(DeviceId(0))..=Key::Binding(DeviceId(u128::MAX));
            match self.rows.range(refreshes).next().map(|(key, _)| key.clone()) {
                Some(refresh) => drop(self.rows.remove(&refresh)),
                None => {
                    if let Some(trouble) = &mut self.trouble {
                        trouble.rows_lost += 1;
                        return;
                    }
                    // Without trouble the group is smaller than the bound and goes next.
                }
            }
        }
        self.rows.insert(key, (self.ordinal, row));
    }

    /// Chains a fact.
    fn note(&mut self, noted: Noted) {
        if self.entries.len() >= ENTRIES_KEPT_MAX
            && let Some(trouble) = &mut self.trouble
        {
            trouble.facts_lost += 1;
            return;
        }
        self.chain(&noted);
    }

    /// The subjects whose keys were drawn for it.
    fn chain(&mut self, noted: &Noted) -> Vec<Subject> {
        let Noted { now, tenant, fact } = noted;
        let Some(appended) = self.start.journal.append(*now, *tenant, fact) else {
            return Vec::new();
        };
        let (master, chance) = (&self.start.master, &mut self.start.chance);
        for key in &appended.new_keys {
            self.keys.push(table::subject_key(key, *tenant, now.utc, master, chance));
        }
        self.entries.push(table::entry(&appended.entry));
        appended.new_keys.iter().map(SubjectKey::subject).collect()
    }

    /// Chains what is bound to the rows that go now.
    fn chain_bound(&mut self) -> Mark {
        let mut mark = Mark {
            position: self.start.journal.position(),
            entries: self.entries.len(),
            keys: self.keys.len(),
            drawn: Vec::new(),
        };
        let bound: Vec<Noted> = self
            .waiting
            .iter_mut()
            .flat_map(|waiting| std::mem::take(&mut waiting.bound))
            .collect();
        for noted in &bound {
            mark.drawn.extend(self.chain(noted));
        }
        mark
    }

    /// The rows were refused: nothing was changed, and nothing says so.
    fn unchain(&mut self, mark: Mark) {
        self.entries.truncate(mark.entries);
        self.keys.truncate(mark.keys);
        self.start.journal.rewind(mark.position, mark.drawn);
    }

    fn trace(&mut self, now: Instant, trace: Trace) {
        match &mut self.trouble {
            Some(trouble) if self.ladders.is_full() => trouble.traces_lost += 1,
            _ => self.ladders.push(now, trace),
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        if let Some(trouble) = &self.trouble {
            if now >= trouble.retry_at {
                return true;
            }
            let refusal = trouble.failure.kind;
            for waiting in self.waiting.drain(..) {
                waiting.reply.send(Err(refusal));
            }
            return false;
        }
        let gathers = self.gather_until.is_some_and(|until| now < until);
        let crowded = self.gathered >= GROUP_MAX;
        let held_back = [self.lazy_until, self.ladders.until()];
        self.eager && (crowded || !gathers)
            || held_back.into_iter().flatten().any(|until| now >= until)
    }

    /// Writes what is held in one transaction, and answers.
    async fn commit(&mut self) -> Result<(), Failure> {
        self.commit_with(Vec::new(), false).await
    }

    /// The same, with ladders that could wait longer.
    async fn commit_all(&mut self) -> Result<(), Failure> {
        self.commit_with(Vec::new(), true).await
    }

    async fn commit_with(
        &mut self,
        mut statements: Vec<Statement>,
        all: bool,
    ) -> Result<(), Failure> {
        let mark = self.chain_bound();
        self.statements(&mut statements, all);
        if statements.is_empty() {
            self.committed();
            return Ok(());
        }
        match self.start.database.commit(statements).await {
            Ok(()) => {
                self.committed();
                Ok(())
            }
            Err(failure) => {
                self.unchain(mark);
                self.failed(failure.clone());
                Err(failure)
            }
        }
    }

    fn statements(&mut self, out: &mut Vec<Statement>, all: bool) {
        let kept = self.rows.iter();
        let mut last: BTreeMap<Key, (u64, &Row)> =
            kept.map(|(key, (ordinal, row))| (key.clone(), (*ordinal, row))).collect();
        for waiting in &self.waiting {
            for row in &waiting.rows {
                let kept = last.entry(Key::of(row)).or_insert((waiting.ordinal, row));
                if kept.0 <= waiting.ordinal {
                    *kept = (waiting.ordinal, row);
                }
            }
        }
        self.texts.write(last.into_values().map(|(_, row)| row), wall_now().utc, out);
        // A key is there before the entry that it opens.
        self.texts.put(&table::SUBJECT_KEY, &self.keys, out);
        self.texts.put(&table::JOURNAL, &self.entries, out);
        let Start { master, chance, .. } = &mut self.start;
        let ladders = self.ladders.rows(Instant::now(), all, master, chance);
        self.texts.put(&table::TRACE, &ladders, out);
    }

    fn committed(&mut self) {
        self.rows.clear();
        self.keys.clear();
        let chained = !self.entries.is_empty();
        self.entries.clear();
        self.ladders.stored();
        self.lazy_until = None;
        self.eager = false;
        for waiting in self.waiting.drain(..) {
            waiting.reply.send(Ok(()));
        }
        // What the recovery itself has to say is chained with the next commit.
        let stored = self.start.journal.position().sequence;
        if let Some(trouble) = self.trouble.take() {
            self.refusing.send_replace(None);
            self.recovered(&trouble);
        }
        if chained {
            let due = self.head_written.map_or_else(Instant::now, |at| at + HEAD_INTERVAL);
            self.head_due.get_or_insert(due);
            self.told.send_replace(stored);
        }
    }

    fn failed(&mut self, failure: Failure) {
        self.refusing.send_replace(Some(failure.to_string()));
        for waiting in self.waiting.drain(..) {
            waiting.reply.send(Err(failure.kind));
        }
        let now = Instant::now();
        match &mut self.trouble {
            Some(trouble) => {
                trouble.pause = (trouble.pause * 2).min(RETRY_MAX);
                trouble.retry_at = now + trouble.pause;
                trouble.failure = failure;
            }
            None => {
                self.trouble = Some(Trouble {
                    failure: failure.clone(),
                    retry_at: now + RETRY_MIN,
                    pause: RETRY_MIN,
                    rows_lost: 0,
                    facts_lost: 0,
                    traces_lost: 0,
                });
                let what = "to the database".to_owned();
                self.alert(Fact::PersistFailed { what, error: failure.to_string() });
            }
        }
    }

    fn recovered(&mut self, trouble: &Trouble) {
        let Trouble { rows_lost, facts_lost, traces_lost, .. } = trouble;
        if rows_lost + facts_lost + traces_lost > 0 {
            let what = format!("{rows_lost} rows, {facts_lost} facts, {traces_lost} ladder lines");
            let error = "the disk failed for longer than memory reached; they are lost".to_owned();
            self.alert(Fact::PersistFailed { what, error });
        }
    }

    /// A fact about ourselves: into the journal, and to whoever watches.
    fn alert(&mut self, fact: Fact) {
        tracing::error!(number = fact.number(), "{fact}");
        // A watcher that fell sixteen alerts behind reads them in the journal.
        let _ = self.start.alerts.try_send(fact.clone());
        self.note(Noted { now: wall_now(), tenant: None, fact });
        self.eager = true;
    }

    /// Says beside the database how far the chain has come.
    fn write_head(&mut self) {
        self.head_written = Some(Instant::now());
        self.head_due = None;
        if !self.entries.is_empty() {
            // The chain in memory is ahead of the one that is stored; a later commit catches up.
            return;
        }
        let head = self.start.journal.head(wall_now());
        let line = serde_json::to_vec(&head).expect("numbers and hex always print");
        if let Err(error) = folder::replace_private(&self.start.head, &line) {
            tracing::warn!("the journal's head: {error}");
        }
    }

    async fn erase(&mut self, subject: Subject, noted: Noted) -> Result<(), Error> {
        // What is under way goes first: a key that was drawn a moment ago must be there to be deleted.
        self.commit().await?;
        let delete = Statement {
            sql: Arc::from("DELETE FROM subject_key WHERE subject = $1"),
            values: vec![subject.to_string().into()],
        };
        self.commit_with(vec![delete], false).await?;
        self.start.journal.forget(subject);
        self.note(noted);
        self.commit().await?;
        self.start.database.scrub().await?;
        Ok(())
    }

    /// One bite of a deletion that is under way.
    async fn delete_some(&mut self) {
        let Some(deletion) = &mut self.deletion else { return };
        let database = &mut self.start.database;
        let bitten = match deletion.retention {
            Retention { cdrs_before: Some(before), .. } => {
                let bite = bite(database, &CDR_AGE, before).await;
                bite.map(|(count, done)| {
                    deletion.deleted.cdrs += count;
                    if done {
                        deletion.retention.cdrs_before = None;
                    }
                })
            }
            Retention { traces_before: Some(before), .. } => {
                let bite = bite(database, &TRACE_AGE, before).await;
                bite.map(|(count, done)| {
                    deletion.deleted.traces += count;
                    if done {
                        deletion.retention.traces_before = None;
                    }
                })
            }
            Retention { cdrs_before: None, traces_before: None } => Ok(()),
        };
        let done = deletion.retention == Retention::default();
        if (done || bitten.is_err())
            && let Some(deletion) = self.deletion.take()
        {
            let _ = deletion.reply.send(bitten.map(|()| deletion.deleted));
        }
    }

    async fn end(mut self) -> Result<(), Error> {
        let written = self.commit_all().await;
        if written.is_ok() {
            self.write_head();
        }
        if let Some(deletion) = self.deletion.take() {
            let _ = deletion.reply.send(Err(Error::Closed));
        }
        let closed = self.start.database.close().await;
        written?;
        Ok(closed?)
    }
}

type Closing = oneshot::Sender<Result<(), Error>>;

#[expect(clippy::large_enum_variant, reason = "it lives on the stack for one step")]
enum Next {
    Order(Order),
    Deadline,
    /// Every handle is gone.
    Gone,
}

/// A table that is deleted from by age.
struct Age {
    table: &'static str,
    count: &'static str,
    boundary: &'static str,
    deletes: &'static [&'static str],
}

const CDR_AGE: Age = Age {
    table: "cdr",
    count: "SELECT COUNT(*) FROM cdr WHERE started < $1",
    boundary: "SELECT started FROM cdr WHERE started < $1 ORDER BY started LIMIT 1 OFFSET $2",
    deletes: &[
        "DELETE FROM cdr WHERE started < $1",
        "DELETE FROM cdr_party WHERE started < $1",
        "DELETE FROM cdr_toll WHERE started < $1",
    ],
};

const TRACE_AGE: Age = Age {
    table: "trace",
    count: "SELECT COUNT(*) FROM trace WHERE utc < $1",
    boundary: "SELECT utc FROM trace WHERE utc < $1 ORDER BY utc LIMIT 1 OFFSET $2",
    deletes: &["DELETE FROM trace WHERE utc < $1"],
};

/// Deletes the oldest [`BITE`] rows, or a few more that are of the same microsecond. The second answer
/// says whether none is left.
async fn bite(database: &mut Database, age: &Age, before: Utc) -> Result<(u64, bool), Error> {
    let values = vec![before.0.into(), BITE.into()];
    let mut beyond = database.query(age.table, age.boundary, values).await?;
    // The boundary row itself goes too, or many rows of one time would never be passed.
    let until = match beyond.first_mut() {
        Some(row) => row.int()?.saturating_add(1),
        None => before.0,
    };
    let mut counted = database.query(age.table, age.count, vec![until.into()]).await?;
    let count = counted.first_mut().map_or(Ok(0), |row| row.small())?;
    let delete =
        |sql: &&'static str| Statement { sql: Arc::from(*sql), values: vec![until.into()] };
    database.commit(age.deletes.iter().map(delete).collect()).await?;
    Ok((count, until >= before.0))
}

/// The wall clock, for what the store itself has to say. Its journal entries use no other.
fn wall_now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let utc = Utc(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    Now { utc, ..Now::default() }
}

fn unavailable(text: &str) -> Failure {
    Failure { kind: PersistError::Unavailable, text: text.to_owned() }
}

/// Writes waiting for the writer: some seconds of the heaviest signalling one node can do. At the bound
/// [`Writer::try_write`] gives the write back.
pub(crate) const QUEUE_MAX: usize = 8_192;
/// Writes in one transaction. Larger groups save nothing more, and whoever is first waits for the last.
const GROUP_MAX: usize = 1_024;
/// Least time from the beginning of one commit to that of the next: nobody at a telephone notices twice as much.
const COMMIT_GAP: Duration = Duration::from_millis(20);
/// How long a refreshed registration is held back: what the design allows a crash to cost.
const LAZY_MAX: Duration = Duration::from_secs(1);
/// After one of them, how long the next write waits to be taken.
const LAZY_GAP: Duration = Duration::from_millis(5);
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Short, because calls that cost money are refused meanwhile.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// About 100 MB of the largest rows; ten minutes of 80 calls a second.
const ROWS_KEPT_MAX: usize = 50_000;
/// About 50 MB.
const ENTRIES_KEPT_MAX: usize = 50_000;
/// Rows deleted at once: a few milliseconds, so that nobody's commit waits for a year of records.
const BITE: i64 = 1_000;
/// The head beside the database may lie this far behind.
const HEAD_INTERVAL: Duration = Duration::from_secs(1);
/// Alerts that may wait to be read.
pub(crate) const ALERTS_MAX: usize = 16;
