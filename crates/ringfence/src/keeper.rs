//! The exchange's way to the store, and what a fresh exchange is built from.
//!
//! Writes go to the store's writer in the order they were made. What nobody waits for is gathered until the inputs
//! that were there are handled, or goes with what somebody waits for. Where the writer's queue is full, a write that
//! somebody waits for is refused at once; another is lost and said so.
//!
//! Beside it stands a copy of the rows as they are durable: rows that somebody waits for enter it when
//! the store has said yes. So an exchange that panicked is built anew in memory, without asking a disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard::admission;
use guard::fact::Fact;
use guard::id::{CallId, DeviceId, ExtensionId, TenantId, TrunkId};
use guard::ledger::{Bucket, Spend, Window};
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::MasterKey;
use guard::source::Source;
use guard::wall::Ban;
use pbx::directory::{Device, Extension, Inbound, Tenant, Trunk};
use pbx::io::{Answer, Far, Query, Trace};
use pbx::record::{BindingRow, Loaded, Row};
use pbx::snapshot::CallSnapshot;
use pure::Now;
use store::{Noted, Reply, Stored, Write, Writer};
use tokio::sync::Semaphore;

use crate::carrier::Carriers;
use crate::credentials;
use crate::exchange_thread::{Engine, Inbox, Outside, Receipt};
use crate::front::Front;
use crate::locate::{Locator, Wanted};

/// Keeps what one node's exchange wants kept. `E`: what it is rebuilt as.
pub(crate) struct Keeper<E> {
    kept: Kept,
    master: Arc<MasterKey>,
    make: Box<dyn Fn(Loaded, Now) -> E + Send>,
    /// Rows whose answer is not here yet.
    unanswered: BTreeMap<Receipt, Vec<Row>>,
    writer: Writer,
    /// What nobody waits for.
    gathered: Write,
    inbox: Inbox,
    runtime: tokio::runtime::Handle,
    look_ups: Arc<Semaphore>,
    outward: Outward,
}

/// The ways out to carriers, and what stands at the way in.
#[derive(Clone, Debug)]
pub(crate) struct Outward {
    pub(crate) carriers: Arc<Carriers<Inbox>>,
    pub(crate) locator: Arc<Locator>,
    pub(crate) front: Arc<Front>,
}

/// The rows as they are durable.
#[derive(Default)]
struct Kept {
    tenants: BTreeMap<TenantId, Tenant>,
    extensions: BTreeMap<ExtensionId, Extension>,
    devices: BTreeMap<DeviceId, Device>,
    bindings: BTreeMap<DeviceId, BindingRow>,
    snapshots: BTreeMap<CallId, CallSnapshot>,
    trunks: BTreeMap<TrunkId, Trunk>,
    inbound: BTreeMap<String, Inbound>,
    policy: Option<Arc<Policy>>,
    deck: Option<Arc<RateDeck>>,
    spends: BTreeMap<Bucket, Spend>,
    bans: BTreeMap<Source, Ban>,
    generation: u64,
}

impl<E: Engine> Keeper<E> {
    /// To be made within the runtime that is to carry what it starts.
    pub(crate) fn new(
        stored: Stored,
        master: Arc<MasterKey>,
        writer: Writer,
        inbox: Inbox,
        outward: Outward,
        make: impl Fn(Loaded, Now) -> E + Send + 'static,
    ) -> Self {
        Self {
            kept: Kept::from(stored),
            master,
            make: Box::new(make),
            unanswered: BTreeMap::new(),
            writer,
            gathered: Write::default(),
            inbox,
            runtime: tokio::runtime::Handle::current(),
            look_ups: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
            outward,
        }
    }

    /// Hands over what somebody waits for, with the facts and ladders from before it.
    fn queue(&mut self, receipt: Receipt, rows: Vec<Row>, bound: Vec<Noted>) {
        // Rows that are refused together with these would be lost.
        if !self.gathered.rows.is_empty() {
            self.flush_gathered();
        }
        let inbox = self.inbox.clone();
        let reply = Reply::new(move |result| inbox.persisted(receipt, result));
        let gathered = std::mem::take(&mut self.gathered);
        self.hand_over(Write { rows, bound, reply: Some(reply), ..gathered });
    }
}

impl<E> Keeper<E> {
    fn flush_gathered(&mut self) {
        let Write { rows, facts, traces, .. } = &self.gathered;
        if !rows.is_empty() || !facts.is_empty() || !traces.is_empty() {
            let write = std::mem::take(&mut self.gathered);
            self.hand_over(write);
        }
    }

    fn hand_over(&mut self, write: Write) {
        if let Err(refused) = self.writer.try_write(write) {
            let Write { rows, facts, traces, reply, .. } = &*refused;
            if reply.is_none() || !facts.is_empty() || !traces.is_empty() {
                let (rows, facts, lines) = (rows.len(), facts.len(), traces.len());
                tracing::error!(
                    rows,
                    facts,
                    lines,
                    "records were lost: the store has fallen behind"
                );
            }
        }
    }
}

impl<E> Drop for Keeper<E> {
    /// What was gathered happened, whatever ends the thread.
    fn drop(&mut self) {
        self.flush_gathered();
    }
}

impl<E: Engine> Outside for Keeper<E> {
    type Engine = E;

    fn persist(&mut self, receipt: Option<Receipt>, rows: Vec<Row>) {
        match receipt {
            Some(receipt) => {
                self.unanswered.insert(receipt, rows.clone());
                self.queue(receipt, rows, Vec::new());
            }
            None => {
                rows.iter().cloned().for_each(|row| self.kept.take(row));
                self.gathered.rows.extend(rows);
            }
        }
    }

    fn change(&mut self, receipt: Receipt, rows: Vec<Row>, facts: Vec<Noted>) {
        self.unanswered.insert(receipt, rows.clone());
        self.queue(receipt, rows, facts);
    }

    fn persisted(&mut self, receipt: Receipt, durable: bool) {
        for row in self.unanswered.remove(&receipt).into_iter().flatten() {
            if durable {
                self.kept.take(row);
            }
        }
    }

    fn fact(&mut self, now: Now, tenant: Option<TenantId>, fact: Fact) {
        if fact.journalled() {
            self.gathered.facts.push(Noted { now, tenant, fact });
        }
    }

    fn trace(&mut self, trace: Trace) {
        self.gathered.traces.push(trace);
    }

    fn flush(&mut self) {
        self.flush_gathered();
    }

    fn admission(&mut self, change: admission::Change) {
        self.outward.front.apply(change);
    }

    fn connect(&mut self, receipt: Receipt, to: Far) {
        let (carriers, inbox) = (self.outward.carriers.clone(), self.inbox.clone());
        self.runtime.spawn(async move {
            let result = carriers.connect(&to).await;
            inbox.connected(receipt, result);
        });
    }

    fn look_up(&mut self, receipt: Receipt, query: Query) {
        let inbox = self.inbox.clone();
        let Ok(place) = self.look_ups.clone().try_acquire_owned() else {
            inbox.looked_up(receipt, Answer::Failed);
            return;
        };
        let locator = self.outward.locator.clone();
        self.runtime.spawn(async move {
            let answer = match query {
                Query::Locate { host, port, transport, allowed } => {
                    match locator.locate(Wanted { host, port, transport, allowed }).await {
                        Ok(places) => Answer::Located(places),
                        Err(lost) => {
                            tracing::info!(%lost, "a carrier was not found");
                            Answer::Failed
                        }
                    }
                }
                // No keys and no trust anchors are configured.
                Query::VerifyIdentity { .. } | Query::SignIdentity { .. } => Answer::Failed,
            };
            inbox.looked_up(receipt, answer);
            drop(place);
        });
    }

    fn rebuild(&mut self, now: Now) -> Result<E, String> {
        // What waits for the disk was asked by an engine that is gone. It may become durable still,
        // so it counts as such: a call ended twice is harmless, one forgotten is not.
        for row in std::mem::take(&mut self.unanswered).into_values().flatten() {
            self.kept.take(row);
        }
        Ok((self.make)(self.kept.load(&self.master), now))
    }
}

impl Kept {
    /// Keeps what was spent in the newest windows. The oldest go first at the bound, long after they
    /// were over; their rows stay in the store.
    fn forget_spends(&mut self) {
        if self.spends.len() > SPENDS_MAX {
            let mut begins: Vec<i64> = self.spends.keys().map(|bucket| bucket.begin).collect();
            let (_, middle, _) = begins.select_nth_unstable(SPENDS_MAX / 4);
            let oldest = *middle;
            self.spends.retain(|bucket, _| bucket.begin > oldest || bucket.window == Window::Week);
        }
    }

    fn take(&mut self, row: Row) {
        match row {
            Row::Tenant(tenant) => {
                self.tenants.insert(tenant.id, tenant);
            }
            Row::Extension(extension) => {
                self.extensions.insert(extension.id, *extension);
            }
            Row::RemoveExtension(id) => {
                self.extensions.remove(&id);
            }
            Row::Device(device) => {
                self.devices.insert(device.id, *device);
            }
            Row::RemoveDevice(id) => {
                self.devices.remove(&id);
            }
            Row::Binding(binding) => {
                self.bindings.insert(binding.device, *binding);
            }
            Row::RemoveBinding(device) => {
                self.bindings.remove(&device);
            }
            Row::Snapshot(snapshot) => {
                self.snapshots.insert(snapshot.call, *snapshot);
            }
            Row::RemoveSnapshot(call) => {
                self.snapshots.remove(&call);
            }
            Row::Trunk(trunk) => {
                self.trunks.insert(trunk.id, *trunk);
            }
            Row::RemoveTrunk(id) => {
                self.trunks.remove(&id);
            }
            Row::Inbound(inbound) => {
                self.inbound.insert(inbound.number.clone(), inbound);
            }
            Row::RemoveInbound(number) => {
                self.inbound.remove(&number);
            }
            // Writes may be answered out of order: an older version never takes a newer one's place.
            Row::Policy(policy) => {
                if self.policy.as_ref().is_none_or(|held| held.version < policy.version) {
                    self.policy = Some(policy);
                }
            }
            Row::Deck(deck) => {
                if self.deck.as_ref().is_none_or(|held| held.version < deck.version) {
                    self.deck = Some(deck);
                }
            }
            Row::Spend(spend) => {
                self.spends.insert(spend.bucket, spend);
                self.forget_spends();
            }
            Row::Ban(ban) => {
                self.bans.insert(ban.source, ban);
            }
            Row::RemoveBan(source) => {
                self.bans.remove(&source);
            }
            // History: nothing is built from it.
            Row::Cdr(_) | Row::Sink(_) | Row::RemoveSink(_) | Row::Watermark(_) => {}
        }
    }

    fn load(&self, master: &MasterKey) -> Loaded {
        let extensions = self.extensions.values().filter_map(|extension| {
            let Some(tenant) = self.tenants.get(&extension.tenant) else {
                tracing::error!(extension = %extension.id, "an extension of no known tenant");
                return None;
            };
            match credentials::open(master, &tenant.realm, extension) {
                Ok((current, previous)) => Some((extension.clone(), current, previous)),
                Err(error) => {
                    // One damaged row must not keep every other phone from calling.
                    tracing::error!(extension = %extension.id, %error, "a secret does not open");
                    None
                }
            }
        });
        let trunks = self.trunks.values().map(|trunk| {
            let secret = credentials::open_trunk(master, trunk).unwrap_or_else(|error| {
                // It stays in sight, so that its owner can give it the secret again.
                tracing::error!(trunk = trunk.id.0, %error, "a trunk's secret does not open");
                None
            });
            (trunk.clone(), secret)
        });
        Loaded {
            tenants: self.tenants.values().cloned().collect(),
            extensions: extensions.collect(),
            devices: self.devices.values().cloned().collect(),
            bindings: self.bindings.values().cloned().collect(),
            snapshots: self.snapshots.values().cloned().collect(),
            trunks: trunks.collect(),
            inbound: self.inbound.values().cloned().collect(),
            policy: self.policy.clone(),
            deck: self.deck.clone(),
            spends: self.spends.values().copied().collect(),
            bans: self.bans.values().cloned().collect(),
            generation: self.generation,
        }
    }
}

impl From<Stored> for Kept {
    fn from(stored: Stored) -> Self {
        Self {
            tenants: stored.tenants.into_iter().map(|row| (row.id, row)).collect(),
            extensions: stored.extensions.into_iter().map(|row| (row.id, row)).collect(),
            devices: stored.devices.into_iter().map(|row| (row.id, row)).collect(),
            bindings: stored.bindings.into_iter().map(|row| (row.device, row)).collect(),
            snapshots: stored.snapshots.into_iter().map(|row| (row.call, row)).collect(),
            trunks: stored.trunks.into_iter().map(|row| (row.id, row)).collect(),
            inbound: stored.inbound.into_iter().map(|row| (row.number.clone(), row)).collect(),
            policy: stored.policy,
            deck: stored.deck,
            spends: stored.spends.into_iter().map(|row| (row.bucket, row)).collect(),
            bans: stored.bans.into_iter().map(|row| (row.source, row)).collect(),
            generation: stored.generation,
        }
    }
}

/// Names being resolved at once; further ones fail.
const LOOK_UPS_MAX: usize = 64;
/// Buckets in memory: a thousand accounts with three windows each, for weeks of hours.
const SPENDS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use guard::id::RealmId;
    use guard::money::{Currency, Money};
    use guard::number::Country;
    use guard::policy::Scope;
    use guard::secret::Sealed;
    use pbx::directory::{Secret, TrunkAccess, TrunkAccount, TrunkIdentity, TrunkMedia};
    use pure::{Chance, Utc};

    fn trunk(id: u32, sealed: Sealed) -> Row {
        let account = TrunkAccount {
            user: "4711".to_owned(),
            auth_user: None,
            secret: Secret { sealed, since: Utc(1) },
            weakest: guard::gate::Algorithm::Sha256,
        };
        Row::Trunk(Box::new(Trunk {
            id: TrunkId(id),
            tenant: None,
            name: format!("carrier {id}"),
            enabled: true,
            realm: RealmId(0),
            host: "sip.carrier.example".to_owned(),
            port: None,
            transport: None,
            access: TrunkAccess::Registration(account),
            sources: Vec::new(),
            media: TrunkMedia::Srtp,
            identity: TrunkIdentity { asserted: true, from_account: false, private: false },
            default_caller_id: None,
            codecs: Vec::new(),
            channels: 1,
            priority: 1,
            silence_limit: Duration::from_secs(60),
            call_max: Duration::from_secs(3_600),
            authority: None,
            created: Utc(1),
        }))
    }

    #[test]
    fn a_trunks_secret_opens_in_its_own_row_alone() {
        let mut chance = Chance::from_number(1);
        let master = MasterKey::draw(&mut chance);
        let record = credentials::trunk_record(TrunkId(1));
        let sealed = Sealed::seal(&master, &mut chance, record.as_bytes(), b"hunter2");
        let mut kept = Kept::default();
        kept.take(trunk(1, sealed.clone()));
        // Copied from the other row: no login, but the trunk stays in sight.
        kept.take(trunk(2, sealed));
        let loaded = kept.load(&master);
        let secrets = loaded.trunks.iter();
        let secrets: Vec<_> =
            secrets.map(|(_, secret)| secret.as_ref().map(|secret| secret.0.as_str())).collect();
        assert_eq!(secrets, [Some("hunter2"), None]);
    }

    #[test]
    fn answers_out_of_order_leave_the_newest_policy_and_deck() {
        let first = Policy::first(Country::US);
        let second = first.next(|next| next.lockdown.add(Scope::Operator));
        let deck = |version| {
            let mut deck = RateDeck::estimates(Currency::of(Country::US));
            deck.version = version;
            Arc::new(deck)
        };
        let mut kept = Kept::default();
        let policies = [Row::Policy(second.clone()), Row::Policy(first)];
        policies.into_iter().for_each(|row| kept.take(row));
        [3, 2].into_iter().for_each(|version| kept.take(Row::Deck(deck(version))));
        assert_eq!(kept.policy, Some(second));
        assert_eq!(kept.deck, Some(deck(3)));
    }

    #[test]
    fn old_hours_make_room_and_weeks_stay() {
        let mut kept = Kept::default();
        let spend = |window, begin| {
            let bucket = Bucket { account: Scope::Operator, window, begin };
            Row::Spend(Spend { bucket, settled: Money(1) })
        };
        kept.take(spend(Window::Week, 0));
        let hours = i64::try_from(SPENDS_MAX).expect("small");
        (0..hours).for_each(|hour| kept.take(spend(Window::Hour, hour * 3_600)));
        assert!(kept.spends.len() <= SPENDS_MAX);
        let held = |window, begin| {
            kept.spends.contains_key(&Bucket { account: Scope::Operator, window, begin })
        };
        assert!(held(Window::Week, 0) && held(Window::Hour, (hours - 1) * 3_600));
        assert!(!held(Window::Hour, 0));
    }
}
