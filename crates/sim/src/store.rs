//! What the server's disk holds, and what it loses: rows and journal facts wait for a commit, and a
//! crash forgets whatever had not been committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use guard::fact::Fact;
use guard::id::{CallId, DeviceId, ExtensionId, NodeId, TenantId, TrunkId};
use guard::journal::{self, Entry, Journal, Position, SubjectKey};
use guard::ledger::{Bucket, Spend};
use guard::money::Money;
use guard::policy::Policy;
use guard::rate::RateDeck;
use guard::secret::{MasterKey, Sealed};
use guard::source::Source;
use guard::wall::Ban;
use pbx::command::{Credentials, TrunkSecret};
use pbx::directory::{Device, Exceptions, Extension, Inbound, Secret, Tenant, Trunk, TrunkAccess};
use pbx::io::{PersistError, Ticket};
use pbx::record::{BindingRow, Cdr, Loaded, Row};
use pbx::snapshot::CallSnapshot;
use pure::{Chance, Now, Utc};
use sip::digest::{Algorithm, Ha1};

/// One disk. `write` and `tell` queue, `commit` makes durable.
#[derive(Debug)]
pub struct Store {
    tenant: Tenant,
    extensions: BTreeMap<ExtensionId, Extension>,
    devices: BTreeMap<DeviceId, Device>,
    bindings: BTreeMap<DeviceId, BindingRow>,
    pub snapshots: BTreeMap<CallId, CallSnapshot>,
    /// Every record in the order of its commit: a second one of the same call is seen.
    pub cdrs: Vec<Cdr>,
    trunks: BTreeMap<TrunkId, Trunk>,
    inbound: BTreeMap<String, Inbound>,
    pub policy: Arc<Policy>,
    pub deck: Arc<RateDeck>,
    /// What every bucket has settled, those of windows long past included.
    pub spends: BTreeMap<Bucket, Money>,
    pub bans: BTreeMap<Source, Ban>,
    entries: Vec<Entry>,
    keys: Vec<SubjectKey>,
    journal: Journal,
    pending: VecDeque<Write>,
    key: MasterKey,
    chance: Chance,
    pub generation: u64,
    node: NodeId,
}

#[derive(Debug)]
enum Write {
    Rows {
        ticket: Option<Ticket>,
        rows: Vec<Row>,
    },
    /// Together, or not at all.
    Change {
        ticket: Ticket,
        rows: Vec<Row>,
        facts: Vec<(Now, Option<TenantId>, Fact)>,
    },
    Fact(Now, Option<TenantId>, Fact),
}

impl Store {
    pub fn new(node: NodeId, tenant: Tenant, policy: Arc<Policy>, mut chance: Chance) -> Self {
        let journal = Journal::new(node, Position::genesis(node), chance.fork(), []);
        Self {
            tenant,
            extensions: BTreeMap::new(),
            devices: BTreeMap::new(),
            bindings: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            cdrs: Vec::new(),
            trunks: BTreeMap::new(),
            inbound: BTreeMap::new(),
            deck: Arc::new(RateDeck::estimates(policy.currency)),
            policy,
            spends: BTreeMap::new(),
            bans: BTreeMap::new(),
            entries: Vec::new(),
            keys: Vec::new(),
            journal,
            pending: VecDeque::new(),
            key: MasterKey::draw(&mut chance),
            chance,
            generation: 0,
            node,
        }
    }

    /// Before the first start: an extension with its secret.
    pub fn install(&mut self, number: &str, secret: &str, exceptions: Exceptions) -> ExtensionId {
        let id = ExtensionId(number.bytes().fold(0, |id, b| id * 256 + u128::from(b)));
        let extension = Extension {
            id,
            tenant: self.tenant.id,
            number: guard::number::ExtensionNumber::restore(number).expect("a short number"),
            name: format!("Desk {number}"),
            enabled: true,
            secret: self.sealed(id, secret),
            previous: None,
            exceptions,
            caller_id: None,
            created: Utc(0),
        };
        self.extensions.insert(id, extension);
        id
    }

    /// Before the first start: a line to a carrier. `secret` is its account's.
    pub fn install_trunk(&mut self, mut trunk: Trunk, secret: &str) {
        let record = trunk.id.0.to_be_bytes();
        let sealed = Sealed::seal(&self.key, &mut self.chance, &record, secret.as_bytes());
        let sealed = Secret { sealed, since: Utc(0) };
        match &mut trunk.access {
            TrunkAccess::Registration(account) | TrunkAccess::Address(Some(account)) => {
                account.secret = sealed;
            }
            TrunkAccess::Address(None) => {}
        }
        self.trunks.insert(trunk.id, trunk);
    }

    /// A secret that means nothing, for what is built before it is installed.
    pub fn no_secret(&mut self) -> Secret {
        let sealed = Sealed::seal(&self.key, &mut self.chance, &[], &[]);
        Secret { sealed, since: Utc(0) }
    }

    /// Before the first start: a number of ours at a carrier.
    pub fn install_inbound(&mut self, number: &str, trunk: TrunkId, extension: ExtensionId) {
        let inbound =
            Inbound { number: number.to_owned(), tenant: self.tenant.id, trunk, extension };
        self.inbound.insert(number.to_owned(), inbound);
    }

    pub fn set_caller_id(&mut self, extension: ExtensionId, number: &str) {
        if let Some(extension) = self.extensions.get_mut(&extension) {
            extension.caller_id = Some(number.to_owned());
        }
    }

    pub fn trunks(&self) -> impl Iterator<Item = &Trunk> {
        self.trunks.values()
    }

    pub fn inbound(&self) -> impl Iterator<Item = &Inbound> {
        self.inbound.values()
    }

    pub fn extensions(&self) -> impl Iterator<Item = &Extension> {
        self.extensions.values()
    }

    pub fn sealed(&mut self, of: ExtensionId, secret: &str) -> Secret {
        let record = of.0.to_be_bytes();
        let sealed = Sealed::seal(&self.key, &mut self.chance, &record, secret.as_bytes());
        Secret { sealed, since: Utc(0) }
    }

    /// The digests of a secret in clear.
    pub fn credentials(&self, number: &str, secret: &str) -> Credentials {
        let realm = &self.tenant.realm;
        Credentials {
            md5: Ha1::derive(Algorithm::Md5, number, realm, secret),
            sha256: Ha1::derive(Algorithm::Sha256, number, realm, secret),
        }
    }

    pub fn write(&mut self, ticket: Option<Ticket>, rows: Vec<Row>) {
        self.pending.push_back(Write::Rows { ticket, rows });
    }

    pub fn change(
        &mut self,
        now: Now,
        ticket: Ticket,
        tenant: Option<TenantId>,
        rows: Vec<Row>,
        facts: Vec<Fact>,
    ) {
        let facts = facts.into_iter().map(|fact| (now, tenant, fact)).collect();
        self.pending.push_back(Write::Change { ticket, rows, facts });
    }

    pub fn tell(&mut self, now: Now, tenant: Option<TenantId>, fact: Fact) {
        self.pending.push_back(Write::Fact(now, tenant, fact));
    }

    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Makes what is pending durable. A disk that fails answers the tickets with an error and keeps
    /// the rest for the next time.
    pub fn commit(&mut self, failing: bool) -> Vec<(Ticket, Result<(), PersistError>)> {
        let mut answers = Vec::new();
        let mut kept = VecDeque::new();
        for write in std::mem::take(&mut self.pending) {
            match write {
                Write::Rows { ticket: Some(ticket), .. } | Write::Change { ticket, .. }
                    if failing =>
                {
                    answers.push((ticket, Err(PersistError::Unavailable)));
                }
                write if failing => kept.push_back(write),
                Write::Rows { ticket, rows } => {
                    for row in rows {
                        self.put(row);
                    }
                    answers.extend(ticket.map(|ticket| (ticket, Ok(()))));
                }
                Write::Change { ticket, rows, facts } => {
                    for row in rows {
                        self.put(row);
                    }
                    for (now, tenant, fact) in facts {
                        self.note(now, tenant, &fact);
                    }
                    answers.push((ticket, Ok(())));
                }
                Write::Fact(now, tenant, fact) => self.note(now, tenant, &fact),
            }
        }
        self.pending = kept;
        answers
    }

    fn note(&mut self, now: Now, tenant: Option<TenantId>, fact: &Fact) {
        if let Some(appended) = self.journal.append(now, tenant, fact) {
            self.entries.push(appended.entry);
            self.keys.extend(appended.new_keys);
        }
    }

    /// The process died.
    pub fn crash(&mut self) {
        self.pending.clear();
        let end = self.entries.last().map_or(Position::genesis(self.node), Entry::position);
        self.journal = Journal::new(self.node, end, self.chance.fork(), self.keys.clone());
    }

    /// What a starting process reads.
    pub fn load(&self) -> Loaded {
        let clear = |extension: &Extension, secret: &Secret| {
            let opened = secret.sealed.open(&self.key, &extension.id.0.to_be_bytes());
            let opened = opened.expect("sealed by this store");
            let text = std::str::from_utf8(&opened).expect("a secret is text");
            self.credentials(extension.number.as_str(), text)
        };
        let extensions = self.extensions.values().map(|extension| {
            let previous = extension.previous.as_ref();
            let previous = previous.map(|(secret, _)| clear(extension, secret));
            (extension.clone(), clear(extension, &extension.secret), previous)
        });
        let trunks = self.trunks.values().map(|trunk| {
            let clear = trunk.account().map(|account| {
                let opened = account.secret.sealed.open(&self.key, &trunk.id.0.to_be_bytes());
                let opened = opened.expect("sealed by this store");
                let text = String::from_utf8(opened.to_vec()).expect("a secret is text");
                TrunkSecret(text.into())
            });
            (trunk.clone(), clear)
        });
        let spend =
            |(bucket, settled): (&Bucket, &Money)| Spend { bucket: *bucket, settled: *settled };
        Loaded {
            trunks: trunks.collect(),
            inbound: self.inbound.values().cloned().collect(),
            policy: Some(self.policy.clone()),
            deck: Some(self.deck.clone()),
            spends: self.spends.iter().map(spend).collect(),
            tenants: vec![self.tenant.clone()],
            extensions: extensions.collect(),
            devices: self.devices.values().cloned().collect(),
            bindings: self.bindings.values().cloned().collect(),
            snapshots: self.snapshots.values().cloned().collect(),
            bans: self.bans.values().cloned().collect(),
            generation: self.generation,
        }
    }

    /// The journal's chain, judged; the number of entries.
    pub fn verify(&self) -> Result<u64, String> {
        let from = Position::genesis(self.node);
        let entries = self.entries.iter().cloned();
        let verified = journal::verify(self.node, from, entries, Some(self.journal.position()));
        verified.map(|verified| verified.entries).map_err(|broken| format!("{broken:?}"))
    }

    pub fn device(&self, device: DeviceId) -> Option<&Device> {
        self.devices.get(&device)
    }

    pub fn extension(&self, number: &str) -> Option<&Extension> {
        self.extensions.values().find(|extension| extension.number.as_str() == number)
    }

    fn put(&mut self, row: Row) {
        match row {
            Row::Tenant(tenant) => self.tenant = tenant,
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
            Row::Cdr(cdr) => self.cdrs.push(*cdr),
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
            Row::Policy(policy) => self.policy = policy,
            Row::Deck(deck) => self.deck = deck,
            Row::Spend(spend) => {
                self.spends.insert(spend.bucket, spend.settled);
            }
            Row::Ban(ban) => {
                self.bans.insert(ban.source, ban);
            }
            Row::RemoveBan(source) => {
                self.bans.remove(&source);
            }
            // The world has no alerts: the exchange writes none of these.
            Row::Sink(_) | Row::RemoveSink(_) | Row::Watermark(_) => {}
        }
    }
}
