//! Carrying out what was asked over the admin socket: the exchange for what is, the store for what
//! was.

mod alerts;
mod costs;
mod rates;
mod rules;
mod status;
#[cfg(test)]
mod tests;
pub(crate) mod trunks;
mod wall;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guard::access::{Actor, Permission};
use guard::gate::{Algorithm, Origin, Proof};
use guard::id::{CallId, DeviceId, ExtensionId, NodeId, RealmId, TenantId};
use guard::journal::Position;
use guard::number::ExtensionNumber;
use guard::secret::{MasterKey, Sealed, Secret};
use guard::zone::Zone;
use pbx::command::{
    CallState, CallView, Change, Command, DeviceView, ExtensionView, Refusal, Reply, Which,
};
use pbx::directory::{self, Exceptions};
use pbx::record::{Cdr, CdrLeg};
use pure::{Chance, Utc};

use super::names::Names;
use super::protocol::{
    Answer, Call, CallUp, Calls, CostBy, Device, Edit, Extension, Failure, JournalEntry,
    LadderLine, Leg, Packets, PhoneSettings, Quality, Question, Verified,
};
pub(crate) use rules::in_short;
pub(crate) use status::disk;
pub(crate) use trunks::secret as trunk_secret;

use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::credentials;
use crate::exchange_thread::Inbox;
use crate::front::{Front, Passed};

/// Whoever answers administrators. One for a node.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) node: NodeId,
    pub(crate) tenant: TenantId,
    /// The digest realm of that tenant.
    pub(crate) realm: String,
    /// The sides we face, by their names, in the order of the configuration.
    pub(crate) realms: Vec<(String, RealmId)>,
    pub(crate) key: Arc<MasterKey>,
    pub(crate) clock: Clock,
    pub(crate) chance: Mutex<Chance>,
    pub(crate) exchange: Inbox,
    pub(crate) store: store::Reader,
    /// `None` in tests of what has nothing to do with them.
    pub(crate) alerts: Option<Arc<Alerts>>,
    pub(crate) door: Door,
    pub(crate) front: Arc<Front>,
    /// Ways in for phones that are not encrypted.
    pub(crate) in_clear: Vec<InClear>,
}

/// A way in for phones that is not encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InClear {
    /// In words, without a full stop.
    pub(crate) what: String,
    /// What closes it.
    pub(crate) remedy: String,
}

/// What phones are told of the way in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) domain: String,
    pub(crate) port: u16,
    pub(crate) ca_file: PathBuf,
    pub(crate) ca_sha256: String,
    /// Where a browser on this machine fetches it; `None` without a status page.
    pub(crate) ca_url: Option<String>,
    /// The owner's own certificate file; `None`: ours, which renews itself.
    pub(crate) certificate: Option<PathBuf>,
}

type Result<T> = std::result::Result<T, Failure>;

fn packets(passed: Passed) -> Packets {
    let Passed { counts, no_room, kernel } = passed;
    Packets {
        trusted: counts.trusted,
        strangers: counts.strangers,
        dropped_banned: counts.dropped_banned,
        dropped_source_rate: counts.dropped_source_rate,
        dropped_strangers_total: counts.dropped_strangers_total,
        dropped_no_room: no_room,
        dropped_by_kernel: kernel,
    }
}

impl Office {
    /// `body`: what came behind the question's line; empty for most.
    pub(crate) async fn answer(&self, actor: Actor, question: Question, body: Vec<u8>) -> Answer {
        let permission = permission_for(&question);
        if !actor.may(permission) {
            return Answer::failed("this is not allowed to you", "ask the owner of the system");
        }
        self.carry_out(actor, question, body).await.unwrap_or_else(Answer::Failed)
    }

    async fn carry_out(&self, actor: Actor, question: Question, body: Vec<u8>) -> Result<Answer> {
        match question {
            Question::Status => self.status().await,
            Question::ExtensionAdd { number, name, allow_plain_rtp } => {
                self.add(actor, &number, name, allow_plain_rtp, None).await
            }
            #[cfg(feature = "dangerous-test")]
            Question::DangerousExtensionAdd { number, name, secret } => {
                let secret = Secret::restore(secret.0.to_string());
                self.add(actor, &number, name, false, Some(secret)).await
            }
            Question::ExtensionList => {
                let all = self.extensions().await?;
                Ok(Answer::Extensions(all.iter().map(extension).collect()))
            }
            Question::ExtensionShow { number } => {
                let one = self.extension(&number).await?;
                Ok(Answer::Extensions(vec![extension(&one)]))
            }
            Question::ExtensionReveal { number } => {
                let one = self.extension(&number).await?.extension;
                let secret =
                    credentials::clear(&self.key, one.id, &one.secret).map_err(|error| {
                        failure(
                            format!("the secret of {number} can't be opened: {error}"),
                            format!("`ringfence extension rotate {number}` makes a new one"),
                        )
                    })?;
                // First the line in the journal, then the secret.
                self.change(actor, Change::SecretRevealed { extension: one.id }).await?;
                Ok(self.settings(&one, &secret))
            }
            Question::ExtensionRotate { number, grace_days } => {
                self.rotate(actor, &number, grace_days).await
            }
            Question::ExtensionEnable { number, enabled } => {
                let extension = self.extension_id(&number).await?;
                self.change(actor, Change::SetEnabled { extension, enabled }).await
            }
            Question::ExtensionRename { number, name } => {
                let extension = self.extension_id(&number).await?;
                let name = checked_name(&name)?;
                self.change(actor, Change::RenameExtension { extension, name }).await
            }
            Question::ExtensionRemove { number } => self.remove(actor, &number).await,
            Question::ExtensionAllow { number, plain_rtp } => {
                let extension = self.extension_id(&number).await?;
                let exceptions = Exceptions { dangerous_plain_rtp: plain_rtp };
                self.change(actor, Change::SetExtensionExceptions { extension, exceptions }).await
            }
            Question::Devices => {
                let stale = self.wall().await?.stale;
                let mut list: Vec<_> = self.devices().await?.iter().map(device).collect();
                for one in &stale {
                    let id = one.device().map(|id| id.to_string());
                    if let Some(row) = list.iter_mut().find(|row| Some(&row.id) == id.as_ref()) {
                        row.former_password_since = Some(one.since.to_string());
                    }
                }
                Ok(Answer::Devices(list))
            }
            Question::DeviceAllow { device, plain_rtp } => {
                let device = self.device_id(&device).await?;
                let exceptions = Exceptions { dangerous_plain_rtp: plain_rtp };
                self.change(actor, Change::SetDeviceExceptions { device, exceptions }).await
            }
            Question::DeviceRemove { device } => {
                let device = self.device_id(&device).await?;
                self.change(actor, Change::RemoveDevice { device }).await
            }
            Question::Calls { up, extension, since, from, limit, costs } => {
                let since = Since { seconds: since, date: from };
                self.calls(up, extension, since, limit, costs).await
            }
            Question::CallShow { call, ladder } => self.call(&call, ladder).await,
            Question::HangUp { call } => {
                let up = self.calls_up().await?;
                let ids = up.iter().map(|call| (call.id.to_string(), call.id));
                let call: CallId = by_prefix("running call", &call, ids)?;
                self.change(actor, Change::HangUp { call }).await
            }
            Question::JournalShow { limit } => self.journal(limit).await,
            Question::JournalVerify { known } => self.verify(known).await,
            Question::ExtensionCallerId { number, caller_id } => {
                self.caller_id(actor, &number, caller_id.as_deref()).await
            }
            Question::TrunkAdd { name, settings } => self.trunk_add(actor, name, *settings).await,
            Question::TrunkList => self.trunks(None).await,
            Question::TrunkShow { name } => self.trunks(Some(&name)).await,
            Question::TrunkTest { name } => self.trunk_test(&name).await,
            Question::TrunkSet { name, settings } => self.trunk_set(actor, &name, *settings).await,
            Question::TrunkEnable { name, enabled } => {
                self.trunk_enable(actor, &name, enabled).await
            }
            Question::TrunkRemove { name } => self.trunk_remove(actor, &name).await,
            Question::NumberAdd { number, trunk, extension } => {
                self.number_add(actor, &number, &trunk, &extension).await
            }
            Question::NumberList => self.number_list().await,
            Question::NumberRemove { number } => self.number_remove(actor, &number).await,
            Question::RoleList => self.roles(None).await,
            Question::RoleShow { name } => self.roles(Some(&name)).await,
            Question::PolicyShow { version } => self.policy_show(version).await,
            Question::LockdownShow => match self.policy_show(None).await? {
                Answer::Policy(policy) => Ok(Answer::Lockdown(policy.lockdown)),
                _ => Err(confused()),
            },
            Question::PolicyChange { edit, dry_run } => {
                self.change_policy(actor, &edit, dry_run).await
            }
            Question::PolicyHistory { limit } => self.policy_history(limit).await,
            Question::Explain { number, from } => self.explain(number, from).await,
            Question::RatesImport { dry_run, .. } => self.rates_import(actor, &body, dry_run).await,
            Question::RatesShow { number } => self.rates_show(&number).await,
            Question::RatesList { limit } => self.rates_list(limit).await,
            Question::RatesExport => self.rates_export().await,
            Question::RatesClear { dry_run } => self.rates_clear(actor, dry_run).await,
            Question::BudgetShow => self.budgets().await,
            Question::BudgetReset { of, dry_run } => self.reset_budget(actor, &of, dry_run).await,
            Question::Alerts { since, from, after, limit } => {
                let since = Since { seconds: since, date: from };
                self.alerts(since, after, limit).await
            }
            Question::AlertShow { incident } => self.alert(incident).await,
            Question::SinkAdd { sink } => self.sink_add(actor, *sink).await,
            Question::SinkSet { sink, new } => self.sink_set(actor, sink, *new).await,
            Question::SinkList => self.sinks().await,
            Question::SinkShow { sink } => self.sink_show(sink).await,
            Question::SinkRemove { sink } => self.sink_remove(actor, sink).await,
            Question::SinkTest { sink } => self.sink_test(sink).await,
            Question::Exposure => Ok(Answer::Exposure(Box::new(self.exposure().await?))),
            Question::Bans => self.bans().await,
            Question::Ban { source, seconds, why } => self.ban(actor, &source, seconds, &why).await,
            Question::Unban { source, account } => self.unban(actor, &source, account).await,
        }
    }

    /// Refused while numbers ring it: nobody would answer them, and nobody would know.
    async fn remove(&self, actor: Actor, number: &str) -> Result<Answer> {
        let extension = self.extension_id(number).await?;
        let rings = self.inbound().await?;
        let rings: Vec<_> = rings.iter().filter(|one| one.extension == extension).collect();
        if let Some(first) = rings.first() {
            let numbers: Vec<&str> = rings.iter().map(|one| one.number.as_str()).collect();
            let trunk = self.names().await?.of_trunk(first.trunk);
            return Err(failure(
                format!("extension {number} answers {}", numbers.join(", ")),
                format!(
                    "let another one answer first: `ringfence number add {} --trunk {trunk} --to 102`, \
                     or `ringfence number remove {}`",
                    first.number, first.number
                ),
            ));
        }
        self.change(actor, Change::RemoveExtension { extension }).await
    }

    async fn add(
        &self,
        actor: Actor,
        number: &str,
        name: String,
        allow_plain_rtp: bool,
        given: Option<Secret>,
    ) -> Result<Answer> {
        let (policy, _) = self.policy().await?;
        let number = ExtensionNumber::new(number, policy.home).map_err(|error| {
            failure(
                format!("{number} can't be an extension: {error}"),
                "choose 2 to 8 digits that are no emergency number, such as 101",
            )
        })?;
        let name = checked_name(&name)?;
        if let Some(one) = self.find_extension(number.as_str()).await? {
            return Err(failure(
                format!("extension {number} exists already: {}", one.extension.name),
                "choose another number; `ringfence extension list` shows those in use",
            ));
        }
        if let Some(digit) = policy.outside_line.filter(|digit| number.as_str().starts_with(*digit))
        {
            return Err(failure(
                format!("{number} begins with {digit}, which is dialled before a number outside"),
                format!(
                    "choose a number that doesn't begin with {digit}, or run `ringfence policy set outside-line none`"
                ),
            ));
        }
        let id = self.draw(ExtensionId::draw);
        let (secret, sealed) = self.sealed_secret(id, given);
        let now = self.clock.now().utc;
        let extension = directory::Extension {
            id,
            tenant: self.tenant,
            number: number.clone(),
            name,
            enabled: true,
            secret: directory::Secret { sealed, since: now },
            previous: None,
            exceptions: Exceptions { dangerous_plain_rtp: allow_plain_rtp },
            caller_id: None,
            created: now,
        };
        let settings = self.settings(&extension, secret.reveal());
        let credentials = credentials::derive(number.as_str(), &self.realm, secret.reveal());
        let extension = Box::new(extension);
        self.change(actor, Change::AddExtension { extension, credentials }).await?;
        Ok(settings)
    }

    async fn rotate(&self, actor: Actor, number: &str, grace_days: u16) -> Result<Answer> {
        let one = self.extension(number).await?.extension;
        let (secret, sealed) = self.sealed_secret(one.id, None);
        let now = self.clock.now().utc;
        let change = Change::RotateSecret {
            extension: one.id,
            secret: directory::Secret { sealed, since: now },
            credentials: credentials::derive(one.number.as_str(), &self.realm, secret.reveal()),
            previous_until: now + DAY * u32::from(grace_days),
        };
        self.change(actor, change).await?;
        Ok(self.settings(&one, secret.reveal()))
    }

    async fn calls(
        &self,
        only_up: bool,
        extension: Option<String>,
        since: Since,
        limit: u32,
        costs: Option<CostBy>,
    ) -> Result<Answer> {
        let concerns = |from: &str, to: &str| {
            extension.as_deref().is_none_or(|number| from == number || to == number)
        };
        let up = self.calls_up().await?;
        let up = up.iter().filter(|call| concerns(&call.from, &call.to)).map(call_up).collect();
        if only_up {
            return Ok(Answer::Calls(Calls { up, ..Calls::default() }));
        }
        let (policy, _) = self.policy().await?;
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        let since = since.begin(self.clock.now().utc, &zone)?;
        let concerned = match &extension {
            Some(number) => Some(self.extension_id(number).await?),
            None => None,
        };
        let query = store::CallQuery {
            tenant: Some(self.tenant),
            since,
            extension: concerned,
            limit: Some(limit),
            ..store::CallQuery::default()
        };
        let records = self.store.calls(&query).await.map_err(unreadable)?;
        let names = self.names().await?;
        let records = records.iter().map(|cdr| record(cdr, &names, None)).collect();
        let costs = match costs {
            Some(by) => Some(self.costs(by, since, concerned, &zone, &names).await?),
            None => None,
        };
        Ok(Answer::Calls(Calls { up, records, costs }))
    }

    async fn call(&self, prefix: &str, with_ladder: bool) -> Result<Answer> {
        let query = store::CallQuery {
            tenant: Some(self.tenant),
            id_prefix: Some(checked_prefix(prefix)?),
            limit: Some(2),
            ..store::CallQuery::default()
        };
        let found = self.store.calls(&query).await.map_err(unreadable)?;
        let cdr = match &found[..] {
            [one] => one,
            [] => {
                let up = self.calls_up().await?;
                if up
                    .iter()
                    .any(|call| call.id.to_string().starts_with(&prefix.to_ascii_lowercase()))
                {
                    return Err(failure(
                        format!("call {prefix} is up: it gets its record when it has ended"),
                        "`ringfence calls --up` shows it now, and `ringfence calls hang-up` ends it",
                    ));
                }
                return Err(failure(
                    format!("there is no record of a call {prefix}"),
                    "a call gets its record when it has ended; see `ringfence calls`",
                ));
            }
            _ => return Err(ambiguous("call", prefix)),
        };
        let ladder = match with_ladder {
            true => Some(self.ladder(cdr).await?),
            false => None,
        };
        Ok(Answer::Call(Box::new(record(cdr, &self.names().await?, ladder))))
    }

    async fn ladder(&self, cdr: &Cdr) -> Result<Vec<LadderLine>> {
        let traces = self.store.trace(cdr.call).await.map_err(unreadable)?;
        let start = traces.first().map_or(0, |trace| trace.utc.0);
        let line = |trace: pbx::io::Trace| LadderLine {
            at_ms: (trace.utc.0 - start) / 1_000,
            leg: trace.leg.to_string(),
            sent: trace.sent,
            text: trace.text,
        };
        Ok(traces.into_iter().map(line).collect())
    }

    async fn journal(&self, limit: u32) -> Result<Answer> {
        let names = self.names().await?;
        let head = self.store.journal_head(self.node).await.map_err(unreadable)?;
        let after = head.sequence.saturating_sub(u64::from(limit));
        let mut pages = self.store.journal(self.node, after, head.sequence);
        let mut entries = Vec::new();
        loop {
            let page = pages.next_page().await.map_err(unreadable)?;
            if page.is_empty() {
                return Ok(Answer::Journal(entries));
            }
            for entry in &page {
                let readable = self.store.read_entry(entry).await.map_err(unreadable)?;
                let fact = readable.fact;
                entries.push(JournalEntry {
                    sequence: entry.sequence,
                    time: entry.utc.to_string(),
                    number: fact.number(),
                    name: fact.name().to_owned(),
                    severity: format!("{:?}", fact.severity()).to_lowercase(),
                    text: numbered(fact.revealed().to_string(), &names),
                });
            }
        }
    }

    async fn verify(&self, known: Option<String>) -> Result<Answer> {
        let known = known.map(|text| position(&text)).transpose()?;
        let verified =
            match self.store.verify_journal(self.node, known).await.map_err(unreadable)? {
                Ok(verified) => Verified {
                    broken: self.lost_before(),
                    intact: self.lost_before().is_none(),
                    entries: verified.entries,
                    head: format!("{}:{}", verified.head.sequence, verified.head.hash),
                },
                Err(broken) => Verified {
                    intact: false,
                    entries: broken.sequence,
                    broken: Some(broken.to_string()),
                    head: String::new(),
                },
            };
        Ok(Answer::Verified(verified))
    }

    /// An earlier start found the end of the journal gone, and kept the head it knew: the chain since
    /// then is sound and tells nothing of what was lost.
    fn lost_before(&self) -> Option<String> {
        let folder = self.door.ca_file.parent()?;
        let names = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
        let kept = names
            .filter_map(|name| name.into_string().ok())
            .find(|name| name.starts_with("journal.head.broken-"))?;
        Some(format!(
            "entries were lost before this chain began; the head known then is kept in {kept}. \
             Delete that file once you know why"
        ))
    }

    /// A change takes effect once it is durable; `Done` means it is.
    async fn change(&self, actor: Actor, change: Change) -> Result<Answer> {
        match self.try_change(actor, change).await? {
            Ok(()) => Ok(Answer::Done),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// For whoever knows what to do about a refusal.
    async fn try_change(
        &self,
        actor: Actor,
        change: Change,
    ) -> Result<std::result::Result<(), Refusal>> {
        match self.ask(Command::Change { actor, change }).await? {
            Reply::Done => Ok(Ok(())),
            Reply::Refused(refusal) => Ok(Err(refusal)),
            _ => Err(confused()),
        }
    }

    async fn ask(&self, command: Command) -> Result<Reply> {
        self.exchange
            .ask(command)
            .await
            .map_err(|error| failure(error.to_string(), "look at the node's log"))
    }

    async fn extensions(&self) -> Result<Vec<ExtensionView>> {
        match self.ask(Command::Extensions { tenant: self.tenant, which: Which::All }).await? {
            Reply::Extensions(mut all) => {
                // As people count: 99 before 101.
                all.sort_by(|one, other| {
                    let key = |view: &ExtensionView| {
                        let number = view.extension.number.to_string();
                        (number.len(), number)
                    };
                    key(one).cmp(&key(other))
                });
                Ok(all)
            }
            _ => Err(confused()),
        }
    }

    async fn find_extension(&self, number: &str) -> Result<Option<ExtensionView>> {
        let which = Which::Numbered(number.to_owned());
        match self.ask(Command::Extensions { tenant: self.tenant, which }).await? {
            Reply::Extensions(found) => Ok(found.into_iter().next()),
            _ => Err(confused()),
        }
    }

    async fn extension(&self, number: &str) -> Result<ExtensionView> {
        self.find_extension(number).await?.ok_or_else(|| {
            failure(
                format!("there is no extension {number}"),
                "`ringfence extension list` shows those that exist",
            )
        })
    }

    async fn extension_id(&self, number: &str) -> Result<ExtensionId> {
        Ok(self.extension(number).await?.extension.id)
    }

    async fn devices(&self) -> Result<Vec<DeviceView>> {
        match self.ask(Command::Devices).await? {
            Reply::Devices(all) => Ok(all),
            _ => Err(confused()),
        }
    }

    async fn device_id(&self, prefix: &str) -> Result<DeviceId> {
        let all = self.devices().await?;
        by_prefix(
            "device",
            prefix,
            all.iter().map(|one| (one.device.id.to_string(), one.device.id)),
        )
    }

    async fn calls_up(&self) -> Result<Vec<CallView>> {
        match self.ask(Command::Calls).await? {
            Reply::Calls(all) => Ok(all),
            _ => Err(confused()),
        }
    }

    async fn numbers(&self) -> Result<Vec<(ExtensionId, String)>> {
        let all = self.extensions().await?;
        let pair = |one: ExtensionView| (one.extension.id, one.extension.number.to_string());
        Ok(all.into_iter().map(pair).collect())
    }

    fn settings(&self, extension: &directory::Extension, secret: &str) -> Answer {
        Answer::Secret(Box::new(PhoneSettings {
            number: extension.number.to_string(),
            name: extension.name.clone(),
            user: extension.number.to_string(),
            secret: secret.to_owned(),
            domain: self.door.domain.clone(),
            port: self.door.port,
            transport: "TLS".to_owned(),
            media: match extension.exceptions.dangerous_plain_rtp {
                false => "SRTP (SDES), mandatory".to_owned(),
                true => {
                    "SRTP (SDES) where it can; unencrypted is allowed to it, a weakness".to_owned()
                }
            },
            ca_file: self.door.ca_file.display().to_string(),
            ca_sha256: self.door.ca_sha256.clone(),
            ca_url: self.door.ca_url.clone(),
        }))
    }

    /// A secret, drawn unless it is given, and the same sealed for this extension.
    fn sealed_secret(&self, extension: ExtensionId, given: Option<Secret>) -> (Secret, Sealed) {
        self.draw(|chance| {
            let secret = given.unwrap_or_else(|| Secret::generate(chance));
            let record = credentials::record(extension);
            let clear = secret.reveal().as_bytes();
            let sealed = Sealed::seal(&self.key, chance, record.as_bytes(), clear);
            (secret, sealed)
        })
    }

    fn draw<T>(&self, with: impl FnOnce(&mut Chance) -> T) -> T {
        with(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// From when on, as it was asked for.
struct Since {
    seconds: Option<i64>,
    date: Option<String>,
}

impl Since {
    fn begin(self, now: Utc, zone: &Zone) -> Result<Option<Utc>> {
        match (self.date, self.seconds) {
            (Some(date), _) => costs::first_of(zone, &date).map(Some),
            (None, Some(seconds)) => {
                Ok(Some(Utc(now.0.saturating_sub(seconds.saturating_mul(1_000_000)))))
            }
            (None, None) => Ok(None),
        }
    }
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NumberTaken => failure(
            "this number or name is taken",
            "choose another; `ringfence extension list` and `ringfence trunk list` show those in use",
        ),
        Refusal::NotFound => failure(
            "it does not exist any more",
            "`ringfence extension list`, `devices` and `trunk list` show what does",
        ),
        Refusal::NotAllowed => failure("this can't be done", "see `ringfence help`"),
        Refusal::NotPersisted => failure(
            "the change could not be written; nothing has changed",
            "see that the disk of the data folder has room and works, then try again",
        ),
        Refusal::TooMany => failure(
            "the bound of these on one node is reached",
            "remove some, or run a second node (docs/limits.md)",
        ),
        Refusal::Outdated => failure(
            "somebody else has changed the policy meanwhile; yours was not saved",
            "look at it with `ringfence policy show`, then repeat the command",
        ),
        Refusal::NotOurNumber => failure(
            "that number is none of yours",
            "add it first: `ringfence number add +12025550123 --trunk NAME --to 101`",
        ),
        Refusal::InUse => failure(
            "something else still refers to it",
            "`ringfence number list` shows the numbers at a trunk: remove or move them first",
        ),
        Refusal::Protected(by) => wall::protected(by),
    }
}

fn permission_for(question: &Question) -> Permission {
    match question {
        Question::Status => Permission::SeeStatus,
        Question::ExtensionList | Question::ExtensionShow { .. } => Permission::SeeExtensions,
        Question::ExtensionAdd { .. }
        | Question::ExtensionEnable { .. }
        | Question::ExtensionRename { .. }
        | Question::ExtensionRemove { .. }
        | Question::DeviceRemove { .. }
        | Question::HangUp { .. } => Permission::ChangeExtensions,
        #[cfg(feature = "dangerous-test")]
        Question::DangerousExtensionAdd { .. } => Permission::ChangeExtensions,
        Question::ExtensionReveal { .. } => Permission::RevealSecret,
        Question::ExtensionRotate { .. } => Permission::RotateSecret,
        Question::ExtensionAllow { .. } | Question::DeviceAllow { .. } => {
            Permission::GrantException
        }
        // Whoever bans and unbans must see whom.
        Question::Devices | Question::Bans => Permission::SeeDevices,
        Question::Calls { .. } => Permission::SeeCalls,
        Question::CallShow { .. } => Permission::RevealPersonal,
        Question::JournalShow { .. } => Permission::SeeJournal,
        Question::JournalVerify { .. } => Permission::VerifyJournal,
        Question::ExtensionCallerId { .. } => Permission::ChangeExtensions,
        Question::TrunkList | Question::TrunkShow { .. } | Question::NumberList => {
            Permission::SeeStatus
        }
        Question::TrunkAdd { .. }
        | Question::TrunkSet { .. }
        | Question::TrunkEnable { .. }
        | Question::TrunkRemove { .. }
        // It registers anew and sends to the carrier.
        | Question::TrunkTest { .. }
        | Question::NumberAdd { .. }
        | Question::NumberRemove { .. } => Permission::ChangeTrunks,
        Question::PolicyChange { edit: Edit::Lockdown { .. }, .. } => Permission::ChangeLockdown,
        // A rate deck is a rule as well: what it knows may be dialled.
        Question::PolicyChange { .. }
        | Question::RatesImport { .. }
        | Question::RatesClear { .. } => Permission::ChangePolicy,
        Question::BudgetReset { .. } => Permission::ResetBudget,
        Question::Ban { .. } | Question::Unban { .. } => Permission::ChangeBans,
        Question::Alerts { .. }
        | Question::AlertShow { .. }
        | Question::SinkList
        | Question::SinkShow { .. } => {
            Permission::SeeJournal
        }
        // Whoever says where alerts go says who hears of an attack.
        Question::SinkAdd { .. }
        | Question::SinkSet { .. }
        | Question::SinkRemove { .. }
        | Question::SinkTest { .. } => {
            Permission::ChangePolicy
        }
        Question::RoleList
        | Question::RoleShow { .. }
        | Question::PolicyShow { .. }
        | Question::LockdownShow
        | Question::PolicyHistory { .. }
        | Question::Explain { .. }
        | Question::RatesShow { .. }
        | Question::RatesList { .. }
        | Question::RatesExport
        | Question::BudgetShow
        | Question::Exposure => Permission::SeeMoney,
    }
}

fn extension(view: &ExtensionView) -> Extension {
    let one = &view.extension;
    Extension {
        number: one.number.to_string(),
        name: one.name.clone(),
        enabled: one.enabled,
        created: one.created.to_string(),
        secret_since: one.secret.since.to_string(),
        former_secret_until: one.previous.as_ref().map(|(_, until)| until.to_string()),
        weaknesses: owned(&one.exceptions.weaknesses()),
        devices: view.devices.iter().map(device).collect(),
        caller_id: one.caller_id.clone(),
    }
}

fn device(view: &DeviceView) -> Device {
    let registered = view.registered.as_ref();
    let tls = registered.and_then(|now| now.tls.as_ref());
    Device {
        id: view.device.id.to_string(),
        extension: view.number.to_string(),
        agent: view.device.agent.clone(),
        registered: registered.is_some(),
        address: registered.map(|now| now.path.remote.to_string()),
        behind_nat: registered.and_then(|now| now.behind_nat).map(|at| at.to_string()),
        transport: registered.map(|now| now.path.flow.transport.via().to_owned()),
        tls: tls.map(|tls| format!("{} {}", tls.version, tls.suite)),
        algorithm: registered.map(|now| algorithm(now.algorithm).to_owned()),
        registered_since: registered.map(|now| now.since.to_string()),
        expires: registered.map(|now| now.expires.to_string()),
        first_seen: view.device.first_seen.to_string(),
        last_seen: view.device.last_seen.to_string(),
        weaknesses: owned(&view.weaknesses),
        former_password_since: None,
    }
}

fn call_up(view: &CallView) -> CallUp {
    let state = match view.state {
        CallState::Connecting => "connecting",
        CallState::Ringing => "ringing",
        CallState::Up => "up",
        CallState::Ending => "ending",
    };
    CallUp {
        id: view.id.to_string(),
        from: view.from.clone(),
        to: view.to.clone(),
        state: state.to_owned(),
        since: view.since.to_string(),
        protection: view.protection.clone(),
        held: view.held.map(|(held, currency)| held.display(currency).to_string()),
    }
}

fn record(cdr: &Cdr, names: &Names, ladder: Option<Vec<LadderLine>>) -> Call {
    let number_of = |id: Option<ExtensionId>| {
        let found = names.extensions.iter().find(|(known, _)| Some(*known) == id);
        found.map(|(_, number)| number.clone())
    };
    let talked = cdr.answered.map(|answered| cdr.ended.since(answered));
    Call {
        id: cdr.call.to_string(),
        from: cdr.from.clone(),
        to: cdr.to.clone(),
        responsible: number_of(cdr.responsible),
        started: cdr.started.to_string(),
        answered: cdr.answered.map(|at| at.to_string()),
        ended: cdr.ended.to_string(),
        seconds: talked.map_or(0, |span| span.as_secs()),
        disposition: cdr.disposition.to_string(),
        ended_by: cdr.ended_by.0.clone(),
        rule: cdr.decision.map(|decision| decision.rule.name().to_owned()),
        policy: cdr.decision.map(|decision| decision.policy.0),
        emergency: cdr.emergency,
        origin: origin(cdr.origin).to_owned(),
        cost: costs::cost(&cdr.tolls),
        tolls: cdr.tolls.iter().map(|toll| costs::toll(toll, names)).collect(),
        legs: cdr
            .legs
            .iter()
            .map(|one| leg(one, number_of(one.extension), one.trunk.map(|id| names.of_trunk(id))))
            .collect(),
        ladder,
    }
}

fn leg(leg: &CdrLeg, extension: Option<String>, trunk: Option<String>) -> Leg {
    let quality = leg.quality.as_ref().map(|quality| Quality {
        packets: quality.packets,
        lost: quality.lost,
        jitter_ms: quality.jitter.as_secs_f64() * 1_000.0,
        mos: quality.mos.map(f64::from),
    });
    Leg {
        id: leg.leg.to_string(),
        side: if leg.caller { "caller" } else { "called" }.to_owned(),
        extension,
        trunk,
        agent: leg.agent.clone(),
        transport: leg.transport.via().to_owned(),
        signalling: leg.signalling.clone(),
        proof: leg.proof.map(proof),
        media: leg.suite.as_ref().map(|suite| (*suite).to_string()),
        status: leg.status,
        quality,
        weaknesses: leg.weaknesses.clone(),
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Phone => "phone",
        Origin::Forward => "forward",
        Origin::RingGroup => "ring-group",
        Origin::Transfer => "transfer",
        Origin::Refer => "refer",
        Origin::Redirect => "redirect",
        Origin::Inbound => "inbound",
        Origin::TrunkToTrunk => "trunk-to-trunk",
        Origin::Voicemail => "voicemail",
        Origin::Alert => "alert",
    }
}

fn proof(proof: Proof) -> String {
    match proof {
        Proof::Digest(with) => format!("digest {}", algorithm(with)),
        Proof::ClientCertificate => "client certificate".to_owned(),
        Proof::TrunkAddress => "trunk address".to_owned(),
        Proof::TrunkContact => "trunk contact".to_owned(),
        Proof::UpstreamAccepted => "upstream accepted".to_owned(),
        Proof::Token => "token".to_owned(),
    }
}

fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha256 => "SHA-256",
    }
}

/// People know an extension by its number; the journal keeps its id, which outlives a number.
fn numbered(text: String, names: &Names) -> String {
    if !text.contains("extension ") {
        return text;
    }
    names.extensions.iter().fold(text, |text, (id, number)| {
        let id = id.to_string();
        if text.contains(&id) { text.replace(&id, number) } else { text }
    })
}

fn owned(list: &[&'static str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

/// What other phones can show, and nothing that could break out of a header or a terminal.
fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(failure(
            format!("a name has 1 to {NAME_MAX} characters, none of them control characters"),
            "give one such as \"Front desk\"",
        ));
    }
    Ok(name.to_owned())
}

fn checked_prefix(prefix: &str) -> Result<String> {
    let hex = prefix.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && (4..=32).contains(&prefix.len()) {
        return Ok(prefix.to_ascii_lowercase());
    }
    Err(failure(
        format!("`{prefix}` is no id"),
        "give at least the first 4 of its hex digits, as the lists show them",
    ))
}

fn by_prefix<T>(kind: &str, prefix: &str, ids: impl Iterator<Item = (String, T)>) -> Result<T> {
    let prefix = checked_prefix(prefix)?;
    let mut found = ids.filter(|(id, _)| id.starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some((_, one)), None) => Ok(one),
        (Some(_), Some(_)) => Err(ambiguous(kind, &prefix)),
        (None, _) => Err(failure(
            format!("there is no {kind} {prefix}"),
            "`ringfence devices` and `ringfence calls` show the ids",
        )),
    }
}

/// A head as `journal verify` printed it.
fn position(text: &str) -> Result<Position> {
    let (sequence, hash) = text.split_once(':').unwrap_or((text, ""));
    match (sequence.parse(), hash.parse()) {
        (Ok(sequence), Ok(hash)) => Ok(Position { sequence, hash }),
        _ => Err(failure(
            format!("`{text}` is no head of a journal"),
            "give it as `ringfence journal verify` printed it: SEQUENCE:HASH",
        )),
    }
}

fn ambiguous(kind: &str, prefix: &str) -> Failure {
    failure(format!("more than one {kind} begins with {prefix}"), "give more digits of its id")
}

fn confused() -> Failure {
    failure("the exchange gave another answer than was asked for", "look at the node's log")
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    failure(
        format!("the records can't be read: {error}"),
        "see that the disk of the data folder works; calls go on meanwhile",
    )
}

fn failure(wrong: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::new(wrong, remedy)
}

const DAY: Duration = Duration::from_secs(86_400);
/// Longer names don't fit on a phone's display.
const NAME_MAX: usize = 64;
