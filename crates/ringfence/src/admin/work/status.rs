//! `ringfence status`: the answer to "am I safe?", from what is and from the last day of the journal.
//!
//! What needs attention is a list: each thing that can need it has a few lines in [`Known::attention`].

use std::path::Path;
use std::time::Duration;

use guard::gate::Gate;
use guard::id::ExtensionId;
use guard::journal::Entry;
use guard::ledger;
use guard::money::{Currency, Money};
use guard::number::Digits;
use guard::policy::{Account, Policy, Scope};
use guard::wall::{Held, Who, undo};
use guard::zone::Zone;
use pbx::command::{
    Bans, Command, DeviceView, ExtensionView, Reply, StatusView, TrunkState, TrunkView,
};
use pbx::directory::TrunkMedia;
use pbx::flow::Transport;
use pure::Utc;

use super::{InClear, Office, Result, confused, rules, unreadable};
use crate::admin::amount;
use crate::admin::names::{Names, of_window};
use crate::admin::protocol::{
    Answer, AtRisk, Attention, Coverage, Encryption, Exposure, Status, Stopped,
};
use crate::alerts::Listed;
use crate::alerts::deliver::State;
use crate::authority;

/// All that is looked at.
struct Known<'a> {
    view: &'a StatusView,
    devices: &'a [DeviceView],
    trunks: &'a [TrunkView],
    policy: &'a Policy,
    accounts: &'a [ledger::Account],
    names: &'a Names,
    now: Utc,
    machine: Machine,
    in_clear: &'a [InClear],
    /// Mailboxes and webhooks that hear of an attack; `None` where alerts don't run.
    sinks: Option<&'a [Listed]>,
    wall: &'a Bans,
    extensions: &'a [ExtensionView],
    zone: &'a Zone,
    /// The port that phones reach by TLS.
    tls_port: u16,
}

/// What the machine says of the node's data.
#[derive(Clone, PartialEq, Debug, Default)]
struct Machine {
    /// Why the journal is not whole.
    journal: Option<String>,
    /// What the database says while it refuses writes.
    refusal: Option<String>,
    /// Writes that failed in the last 24 hours.
    writes_failed: u64,
    /// Of the data folder's disk: bytes that are free, and all of them.
    disk: Option<(u64, u64)>,
    /// When the owner's own certificate ends; ours renews itself.
    certificate_ends: Option<Utc>,
}

impl Office {
    pub(super) async fn status(&self) -> Result<Answer> {
        let stopped = self.stopped(self.clock.now().utc).await?;
        Ok(Answer::Status(Box::new(self.safety(stopped).await?)))
    }

    /// The same without what the journal says: for a page that is asked for every few seconds.
    pub(crate) async fn safety_now(&self) -> Result<Status> {
        self.safety((Stopped::default(), 0)).await
    }

    async fn safety(&self, (mut stopped, writes_failed): (Stopped, u64)) -> Result<Status> {
        let Reply::Status(view) = self.ask(Command::Status).await? else { return Err(confused()) };
        let devices = self.devices().await?;
        let trunks = self.trunk_views().await?;
        let (policy, _) = self.policy().await?;
        let names = self.names().await?;
        let accounts = self.accounts().await?;
        let exposure = self.exposure().await?;
        let now = self.clock.now();
        let (wall, extensions) = (self.wall().await?, self.extensions().await?);
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        let sinks = match &self.alerts {
            Some(alerts) => Some(alerts.list().await.map_err(unreadable)?),
            None => None,
        };
        stopped.sign_ins_failed = stopped.sign_ins_failed.saturating_add(view.sign_ins_untold);
        let held = wall.held.iter().take(HELD_SHOWN);
        stopped.held_now = held.map(|one| held_in_words(one, &zone, now.utc)).collect();
        stopped.held_count = wall.held.len();
        if let Some(more) = wall.held.len().checked_sub(HELD_SHOWN).filter(|more| *more > 0) {
            stopped.held_now.push(format!("and {more} more"));
        }
        stopped.banned_now = wall.bans.len();
        let known = Known {
            view: &view,
            devices: &devices,
            trunks: &trunks,
            policy: &policy,
            accounts: &accounts,
            names: &names,
            now: now.utc,
            in_clear: &self.in_clear,
            sinks: sinks.as_deref(),
            wall: &wall,
            extensions: &extensions,
            zone: &zone,
            tls_port: self.door.port,
            machine: Machine {
                journal: self.lost_before(),
                refusal: self.alerts.as_ref().and_then(|alerts| alerts.refusal()),
                writes_failed,
                disk: self.door.ca_file.parent().and_then(disk),
                certificate_ends: self.door.certificate.as_deref().and_then(authority::not_after),
            },
        };
        let attention = known.attention();
        let encryption = known.encryption();
        let since = Utc(now.utc.0.saturating_sub(
            i64::try_from(now.instant.since(pure::Instant::default()).as_micros())
                .unwrap_or_default(),
        ));
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.0,
            since: Some(since.to_string()),
            safe: attention.is_empty(),
            summary: summary(&view, &attention, &exposure),
            extensions: view.extensions,
            devices_known: view.devices_known,
            devices_registered: view.devices_registered,
            calls_up: view.calls_up,
            weak: view.weak,
            draining: view.draining,
            trunks: view.trunks,
            trunks_up: view.trunks_up,
            weak_trunks: known.weak_trunks().collect(),
            at_risk: Some(self.at_risk(&exposure, &policy, now.utc).await?),
            exposure: Some(exposure.summary),
            encryption,
            stopped,
            attention,
            help_cannot_leave: view.help_no_way.map(|no_way| {
                let (why, remedy) = rules::no_way(no_way);
                format!("Calls for help cannot leave: {why}. {remedy}")
            }),
            kernel_table: self.front.kernel(),
            in_clear: self.in_clear.iter().map(|way| way.what.clone()).collect(),
            packets: super::packets(self.front.passed()),
        })
    }

    async fn at_risk(&self, exposure: &Exposure, policy: &Policy, now: Utc) -> Result<AtRisk> {
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        let midnight = zone.window(now, ledger::Window::Day).begin;
        let query = store::CostQuery {
            by: store::CostBy::Class,
            tenant: Some(self.tenant),
            since: Some(Utc(midnight.saturating_mul(1_000_000))),
            until: None,
            extension: None,
        };
        let costs = self.store.costs(&query).await.map_err(unreadable)?;
        let ours = costs.iter().filter(|cost| cost.currency == policy.currency);
        let spent = ours.fold(0_i64, |sum, cost| sum.saturating_add(cost.cost.0));
        let all = exposure.lines.last();
        Ok(AtRisk {
            currency: exposure.currency.clone(),
            most: all.map_or_else(|| amount::text(Money::ZERO), |line| line.most.clone()),
            until: exposure.until_local.clone(),
            until_utc: exposure.until.clone(),
            binding: all.map(|line| line.binding.clone()).unwrap_or_default(),
            spent_today: amount::text(Money(spent)),
        })
    }

    /// What the journal of the last 24 hours says was stopped, and how many writes failed. Read from
    /// its end, so that a long journal costs no more than a short one.
    async fn stopped(&self, now: Utc) -> Result<(Stopped, u64)> {
        let begin = Utc(now.0.saturating_sub(i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX)));
        let head = self.store.journal_head(self.node).await.map_err(unreadable)?;
        let (policy, deck) = self.policy().await?;
        let gate = Gate::new(policy.clone(), deck.clone());
        let (mut stopped, mut writes_failed, mut per_minute) = (Stopped::default(), 0, 0_i64);
        let (mut until, mut read) = (head.sequence, 0);
        'pages: while until > 0 {
            let after = until.saturating_sub(PAGE);
            let mut entries = self.store.journal(self.node, after, until);
            let page = entries.next_page().await.map_err(unreadable)?;
            for entry in page.iter().rev() {
                if entry.utc < begin {
                    break 'pages;
                }
                read += 1;
                if read > ENTRIES_MAX {
                    stopped.at_least = true;
                    break 'pages;
                }
                let Some((name, public)) = public(entry) else { continue };
                let count = |field: &str| public[field].as_u64().unwrap_or(1);
                match name {
                    "gate-decided" if public["permitted"] == false => {
                        stopped.calls_refused += 1;
                        let readable = self.store.read_entry(entry).await.map_err(unreadable)?;
                        let guard::fact::Fact::GateDecided { destination, .. } = readable.fact
                        else {
                            continue;
                        };
                        let digits = Digits::parse(&destination.reveal().0);
                        let number = digits.map(|digits| gate.plan().read(&digits));
                        let rate = number.and_then(|number| deck.price(&number, policy.home));
                        let cost = rate.map_or(0, |rate| rate.per_minute.0);
                        per_minute = per_minute.saturating_add(cost);
                    }
                    "leg-not-encrypted" => stopped.not_encrypted += 1,
                    "authentication-failed" => stopped.sign_ins_failed += count("failures"),
                    // What an administrator placed by hand was stopped by nobody else.
                    "ban-placed" if public["cause"]["cause"] != "administrator" => {
                        stopped.bans += 1;
                    }
                    "violation-seen" | "strangers-summed" => stopped.violations += count("count"),
                    "persist-failed" | "change-refused" => writes_failed += 1,
                    _ => {}
                }
            }
            until = after;
        }
        stopped.per_minute = Money(per_minute).display(policy.currency).to_string();
        Ok((stopped, writes_failed))
    }
}

/// The name of an entry's fact, and its fields but for personal ones.
fn public(entry: &Entry) -> Option<(&'static str, serde_json::Value)> {
    let catalogue = guard::fact::Fact::CATALOGUE;
    let (_, name) = catalogue.iter().find(|(number, _)| *number == entry.number)?;
    Some((name, serde_json::from_str(&entry.public).ok()?))
}

impl Known<'_> {
    /// Everything that somebody should look after, the gravest first.
    fn attention(&self) -> Vec<Attention> {
        let mut list = Vec::new();
        let mut note = |what: String, remedy: String| list.push(Attention { what, remedy });
        if let Some(lost) = &self.machine.journal {
            note(format!("The journal is not whole: {lost}."), "ringfence journal verify".into());
        }
        if let Some(refusal) = &self.machine.refusal {
            note(
                format!(
                    "The database refuses writes now, and calls that cost money are refused with it: {refusal}."
                ),
                "see that the disk of the data folder has room and works, and that no other program holds the database"
                    .into(),
            );
        }
        if self.machine.writes_failed > 0 {
            note(
                format!(
                    "The database refused {} writes in the last 24 hours.",
                    self.machine.writes_failed
                ),
                "see that the disk of the data folder has room and works".into(),
            );
        }
        if let Some((free, all)) = self.machine.disk
            && (free < DISK_FREE_MIN || free < all / DISK_FREE_PART)
        {
            note(
                format!("The disk of the data folder has only {} MB left.", free / 1_000_000),
                "free some space there: without it calls outside are refused".into(),
            );
        }
        if self.view.draining {
            note(
                "It is stopping and takes no new calls except emergency.".into(),
                "start it again: ringfence up".into(),
            );
        }
        if self.view.extensions > 0
            && let Some(no_way) = self.view.help_no_way
        {
            let (why, remedy) = rules::no_way(no_way);
            note(format!("Calls for help cannot leave: {why}."), remedy.into());
        }
        for one in self.trunks {
            let name = &one.trunk.name;
            if let TrunkState::Down { why, .. } = &one.state {
                note(
                    format!("Trunk {name} is down: {why}"),
                    format!("ringfence trunk test {name}"),
                );
            }
            if one.trunk.enabled && !one.weaknesses.is_empty() {
                note(
                    format!("Trunk {name} is weak: {}.", one.weaknesses.join(", ")),
                    one.weaknesses.first().map_or_else(String::new, |weakness| {
                        super::trunks::remedy_of_weakness(weakness, name)
                    }),
                );
            }
        }
        for (what, remedy) in self.deaf() {
            note(what, remedy);
        }
        for (what, remedy) in self.passwords() {
            note(what, remedy);
        }
        for way in self.in_clear {
            note(format!("{}.", way.what), way.remedy.clone());
        }
        for (what, remedy) in self.locked() {
            note(what, remedy);
        }
        let bounded = self
            .policy
            .budgets
            .iter()
            .any(|budget| budget.of == Account::Operator && budget.hard.is_some());
        if !bounded {
            note(
                "No hard budget bounds what all together may spend.".into(),
                "ringfence budget set --of operator --per week --hard 200".into(),
            );
        }
        for account in self.accounts {
            let Some(hard) = account.hard.filter(|hard| account.spent >= *hard) else { continue };
            let (of, window) =
                (self.names.of_scope(self.policy, account.account), of_window(account.window));
            note(
                format!(
                    "The {window} budget of {of} is spent: {} of {}.",
                    shown(account.spent, self.policy.currency),
                    shown(hard, self.policy.currency)
                ),
                format!(
                    "ringfence calls --since 1d --cost, then: ringfence budget raise 20 --of {of} \
                     --per {window}"
                ),
            );
        }
        for (what, remedy) in self.weak_phones() {
            note(what, remedy);
        }
        if let Some(ends) = self.machine.certificate_ends
            && ends < self.now + CERTIFICATE_WARN
        {
            note(
                format!("The certificate that phones are shown ends on {ends}."),
                "renew the files named under [tls], then send the process a SIGHUP".into(),
            );
        }
        list
    }

    /// Whether anybody hears of an attack.
    fn deaf(&self) -> Vec<(String, String)> {
        let Some(sinks) = self.sinks.filter(|_| self.view.extensions > 0) else {
            return Vec::new();
        };
        if sinks.is_empty() {
            return vec![(
                "Nobody is told when something happens: there is no alert sink.".to_owned(),
                "ringfence alerts sink add mail --help, or ringfence alerts sink add webhook --help"
                    .to_owned(),
            )];
        }
        let works = |one: &&Listed| {
            matches!(one.health.state, State::Works(_)) && one.health.test.is_none()
        };
        let nobody = !sinks.iter().any(|one| works(&one));
        let mut found = Vec::new();
        for one in sinks.iter().filter(|one| !works(one)) {
            let shown = super::alerts::sink(one);
            let waits = match one.waiting {
                0 => String::new(),
                waiting => format!(", {waiting} waiting"),
            };
            let how = match (&one.health.state, &one.health.test) {
                (State::Fails(since, wrong), _) => {
                    format!("fails since {}{waits}: {}", self.clock(*since), wrong.why)
                }
                (_, Some((at, wrong))) => {
                    format!("did not take the test of {}{waits}: {}", self.clock(*at), wrong.why)
                }
                _ => format!("was never tried{waits}"),
            };
            let name = format!("{} sink {}", shown.kind, shown.sink);
            let what = match nobody {
                true => format!("No alert reaches anybody, as far as is known: {name} {how}."),
                false => format!("Alerts don't reach {name}: it {how}."),
            };
            let remedy = shown.remedy.unwrap_or_default();
            found.push((what, remedy));
        }
        found
    }

    /// Phones of ours whose password is a former or a wrong one: they are silent until somebody goes there.
    fn passwords(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for one in &self.wall.stale {
            let Some(number) = self.number(one.extension) else { continue };
            let device = self.devices.iter().find(|view| Some(view.device.id) == one.device());
            let what = match device {
                Some(view) => phone(view),
                None => format!("A phone of extension {number}"),
            };
            found.push((
                format!(
                    "{what} tries the former password since {} from {}: it can't call, except for help, and \
                     can't be called.",
                    self.clock(one.since),
                    one.pair.source
                ),
                format!("type the new one into it: ringfence extension reveal {number}"),
            ));
        }
        for one in &self.wall.held {
            let (account, source) = (&one.pair.account, one.pair.source);
            let ours =
                self.extensions.iter().any(|view| view.extension.number.as_str() == &**account);
            let until = self.clock(one.until);
            let (what, remedy) = match (one.pair.who, one.home) {
                _ if !ours => continue,
                (Who::Alike(device) | Who::Known(device) | Who::Bound(device), _) => {
                    let view = self.devices.iter().find(|view| view.device.id == device);
                    let who = view.map_or_else(|| format!("A phone of extension {account}"), phone);
                    (
                        format!(
                            "{who} tries a wrong password from {source}; it is held until {until}."
                        ),
                        format!("type the right one into it: ringfence extension reveal {account}"),
                    )
                }
                (Who::Unknown | Who::Home, Some(home)) => (
                    format!(
                        "Somebody {} tries wrong passwords for extension {account}; that is held until {until}.",
                        match home {
                            guard::wall::Protected::Ourselves =>
                                format!("on this machine ({source})"),
                            _ => format!("at {source}, where phones of yours are or were,"),
                        }
                    ),
                    format!(
                        "if it is a phone that is being set up: ringfence extension reveal {account}, then {}",
                        undo(source, account)
                    ),
                ),
                // A guesser in the street is what the wall is for.
                (Who::Unknown | Who::Home, None) => continue,
            };
            found.push((what, remedy));
        }
        found
    }

    fn locked(&self) -> Vec<(String, String)> {
        let lockdown = &self.policy.lockdown;
        let mut found = Vec::new();
        if lockdown.covers(Scope::Operator) {
            found.push((
                "Everything is locked: nobody can call, except for help.".to_owned(),
                "once you know why: ringfence lockdown off".to_owned(),
            ));
        }
        let scopes = lockdown.scopes().filter(|scope| *scope != Scope::Operator);
        for scope in scopes {
            let of = self.names.of_scope(self.policy, scope);
            found.push(match scope {
                Scope::Trunk(_) => (
                    format!("Locked: {of} takes no calls, except for help."),
                    format!("once you know why: ringfence lockdown off --{of}"),
                ),
                _ => (
                    format!("Locked: {of} can't call, except for help."),
                    format!("once you know why: ringfence lockdown off --{of}"),
                ),
            });
        }
        found
    }

    /// Weak phones, each weakness with what ends it.
    fn weak_phones(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for one in self.extensions.iter().filter(|one| one.extension.exceptions.dangerous_plain_rtp)
        {
            let number = &one.extension.number;
            found.push((
                format!("Phones of extension {number} may send audio unencrypted."),
                format!(
                    "once they can SRTP: ringfence extension allow {number} --dangerous-plain-rtp=false"
                ),
            ));
        }
        for one in self.devices {
            let id: String = one.device.id.to_string().chars().take(8).collect();
            for weakness in &one.weaknesses {
                let remedy = match *weakness {
                    MAY_BE_PLAIN if one.device.exceptions.dangerous_plain_rtp => format!(
                        "once it can SRTP: ringfence devices allow {id} --dangerous-plain-rtp=false"
                    ),
                    // It is its extension's, which was named.
                    MAY_BE_PLAIN => continue,
                    SIGNALS_PLAIN => match self.tls_port {
                        0 => "open transports.tls in ringfence.toml, then set the phone to TLS"
                            .to_owned(),
                        port => format!("set the phone to TLS, port {port}"),
                    },
                    _ => {
                        "update the phone's firmware; it offers nothing better by itself".to_owned()
                    }
                };
                found.push((format!("{} is weak: {weakness}.", phone(one)), remedy));
            }
        }
        found
    }

    fn number(&self, id: ExtensionId) -> Option<&str> {
        let found = self.extensions.iter().find(|view| view.extension.id == id);
        found.map(|view| view.extension.number.as_str())
    }

    fn clock(&self, at: Utc) -> String {
        when(at, self.zone, self.now)
    }

    fn encryption(&self) -> Encryption {
        let mut phones = Coverage::default();
        for one in self.devices {
            let Some(registered) = &one.registered else { continue };
            let signalling = registered.path.flow.transport.is_encrypted();
            phones.all += 1;
            phones.signalling += usize::from(signalling);
            let plain = one.weaknesses.contains(&MAY_BE_PLAIN);
            phones.media += usize::from(signalling && !plain);
        }
        let mut trunks = Coverage::default();
        for one in self.trunks.iter().filter(|one| one.trunk.enabled) {
            let signalling = one.trunk.transport.is_none_or(Transport::is_encrypted);
            trunks.all += 1;
            trunks.signalling += usize::from(signalling);
            let srtp = one.trunk.media != TrunkMedia::DangerousPlain;
            trunks.media += usize::from(signalling && srtp);
        }
        let weak = self.devices.iter().filter(|one| !one.weaknesses.is_empty());
        let weak = weak.map(|one| format!("{}: {}", phone(one), one.weaknesses.join(", ")));
        let allowed = self.extensions.iter().filter_map(|one| {
            let weak = one.extension.exceptions.weaknesses();
            let number = &one.extension.number;
            (!weak.is_empty()).then(|| format!("Extension {number}: {}", weak.join(", ")))
        });
        let weak_trunks = self.weak_trunks().map(|weak| format!("trunk {weak}"));
        Encryption { phones, trunks, exceptions: allowed.chain(weak).chain(weak_trunks).collect() }
    }

    /// Trunks in service with something weak about them.
    fn weak_trunks(&self) -> impl Iterator<Item = String> {
        self.trunks
            .iter()
            .filter(|one| one.trunk.enabled && !one.weaknesses.is_empty())
            .map(|one| format!("{}: {}", one.trunk.name, one.weaknesses.join(", ")))
    }
}

/// One sentence: is all well?
fn summary(view: &StatusView, attention: &[Attention], exposure: &Exposure) -> String {
    let lost = exposure.summary.split(';').next().unwrap_or_default();
    match attention {
        [] if view.extensions == 0 => "Nothing can happen yet: there is no extension.".to_owned(),
        [] => format!("All is well. {}.", lost.trim_end_matches('.')),
        [only] => format!("One thing needs attention. {}", only.what),
        [first, ..] => format!("{} things need attention. First: {}", attention.len(), first.what),
    }
}

/// `203.0.113.5 at 101 until 09:28`
fn held_in_words(one: &Held, zone: &Zone, now: Utc) -> String {
    let account = guard::incident::shown(&one.pair.account);
    format!("{} at {account} until {}", one.pair.source, when(one.until, zone, now))
}

/// The clock's minute; the day too, where it is another one.
fn when(at: Utc, zone: &Zone, now: Utc) -> String {
    let (shown, today) = (zone.shown(at), zone.shown(now));
    let minute = |text: &str| text.get(11..16).unwrap_or_default().to_owned();
    match shown.get(..10) == today.get(..10) {
        true => minute(&shown),
        false => format!("{} {}", shown.get(..10).unwrap_or_default(), minute(&shown)),
    }
}

fn phone(one: &DeviceView) -> String {
    format!("Phone {} ({})", one.number, one.device.agent)
}

fn shown(money: Money, currency: Currency) -> String {
    money.display(currency).to_string()
}

/// Bytes that are free for us on the disk of a folder, and all of them.
pub(crate) fn disk(folder: &Path) -> Option<(u64, u64)> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Some((bytes(found.blocks_available()), bytes(found.blocks())))
}

const DAY: Duration = Duration::from_secs(86_400);
/// Entries read at once.
const PAGE: u64 = 1_000;
/// A day under attack writes more; beyond it the figures say "at least". Some two seconds of reading.
const ENTRIES_MAX: u64 = 20_000;
/// A database that takes calls needs some megabytes a day.
const DISK_FREE_MIN: u64 = 500_000_000;
/// One part in so many.
const DISK_FREE_PART: u64 = 20;
/// Authorities of the public renew at thirty days before the end: by now one should have.
const CERTIFICATE_WARN: Duration = Duration::from_secs(14 * 86_400);
/// Held pairs that one line names.
const HELD_SHOWN: usize = 3;
const SIGNALS_PLAIN: &str = "signalling is not encrypted";
/// As the directory says it of a device.
const MAY_BE_PLAIN: &str = "audio may be unencrypted";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::Wrong;
    use crate::alerts::deliver::Health;
    use guard::id::{DeviceId, TenantId};
    use guard::number::{Country, ExtensionNumber};
    use guard::secret::{MasterKey, Sealed};
    use guard::sink::{Channel, Sink, SinkId};
    use guard::source::Source;
    use guard::wall::{Pair, Protected};
    use pbx::directory::{self, Exceptions};
    use pure::Chance;

    static NOBODY: Bans =
        Bans { bans: Vec::new(), held: Vec::new(), slowed: Vec::new(), stale: Vec::new() };

    fn sealed() -> Sealed {
        let key = MasterKey::draw(&mut Chance::from_number(1));
        Sealed::seal(&key, &mut Chance::from_number(2), b"test", b"secret")
    }

    fn extension(number: &str, id: u128, plain: bool) -> ExtensionView {
        ExtensionView {
            extension: directory::Extension {
                id: ExtensionId(id),
                tenant: TenantId::HOUSE,
                number: ExtensionNumber::new(number, Country::US).unwrap(),
                name: "Desk".to_owned(),
                enabled: true,
                secret: directory::Secret { sealed: sealed(), since: Utc(0) },
                previous: None,
                exceptions: Exceptions { dangerous_plain_rtp: plain },
                caller_id: None,
                created: Utc(0),
            },
            devices: Vec::new(),
        }
    }

    fn device(
        of: &ExtensionView,
        id: u128,
        plain: bool,
        weaknesses: &[&'static str],
    ) -> DeviceView {
        DeviceView {
            device: directory::Device {
                id: DeviceId(id),
                tenant: TenantId::HOUSE,
                extension: of.extension.id,
                instance: "x".to_owned(),
                agent: "Yealink T46".to_owned(),
                mac: None,
                firmware: None,
                algorithm: None,
                exceptions: Exceptions { dangerous_plain_rtp: plain },
                first_seen: Utc(0),
                last_seen: Utc(0),
            },
            number: of.extension.number.clone(),
            registered: None,
            weaknesses: weaknesses.to_vec(),
        }
    }

    fn listed(id: u32, health: Health, waiting: usize) -> Listed {
        let channel = Channel::Webhook { host: "hooks.example.com".to_owned() };
        let (created, sealed) = (Utc(0), sealed());
        let sink =
            Sink { id: SinkId(id), created, channel, sealed, authority: None, private: false };
        Listed { sink, health, waiting, to: "https://hooks.example.com/…".to_owned() }
    }

    fn pair(account: &str, who: Who) -> Pair {
        Pair {
            source: Source::from(std::net::IpAddr::from([203, 0, 113, 5])),
            tenant: TenantId::HOUSE,
            account: account.into(),
            who,
        }
    }

    #[test]
    fn alerts_that_reach_nobody_are_no_peace() {
        let at = Utc(9 * 3_600_000_000);
        let wrong = || Wrong::from("connection refused");
        let fails =
            || Health { state: State::Fails(at, wrong()), failures: 10, ..Health::default() };
        let works = || Health { state: State::Works(at), ..Health::default() };
        let of = |sinks: &[Listed]| {
            let view = StatusView { extensions: 1, ..StatusView::default() };
            let list = with(|known| (known.sinks, known.view) = (Some(sinks), &view));
            list.into_iter().map(|one| format!("{} {}", one.what, one.remedy)).collect::<Vec<_>>()
        };
        let [nobody] = &of(&[])[..] else { panic!() };
        assert!(nobody.contains("no alert sink"), "{nobody}");
        let [never] = &of(&[listed(6, Health::default(), 0)])[..] else { panic!() };
        assert!(never.contains("No alert reaches anybody, as far as is known"), "{never}");
        assert!(never.contains("never tried") && never.contains("sink test 6"), "{never}");
        let [dead] = &of(&[listed(6, fails(), 5)])[..] else { panic!() };
        assert!(dead.contains("No alert reaches anybody"), "{dead}");
        assert!(dead.contains("fails since 09:00, 5 waiting: connection refused"), "{dead}");
        assert!(dead.contains("ringfence alerts sink test 6"), "{dead}");
        let [one] = &of(&[listed(1, works(), 0), listed(2, fails(), 1)])[..] else { panic!() };
        assert!(one.starts_with("Alerts don't reach webhook sink 2: it fails"), "{one}");
        let tested = Health { test: Some((at, wrong())), ..works() };
        assert_eq!(of(&[listed(1, tested, 0)]).len(), 1, "its last test failed");
        assert_eq!(of(&[listed(1, works(), 0)]), Vec::<String>::new());
    }

    #[test]
    fn a_phone_with_a_wrong_or_a_former_password_needs_somebody() {
        let extensions = [extension("101", 1, false)];
        let devices = [device(&extensions[0], 7, false, &[])];
        let held = |account: &str, who, home| Held {
            pair: pair(account, who),
            since: Utc(0),
            until: Utc(600_000_000),
            times: 1,
            compared: 5,
            home,
        };
        let of = |wall: Bans| {
            let list = with(|known| {
                (known.wall, known.extensions, known.devices) = (&wall, &extensions, &devices);
            });
            list.into_iter().map(|one| format!("{} {}", one.what, one.remedy)).collect::<Vec<_>>()
        };
        let office = Some(Protected::Phones(2));
        let known = held("101", Who::Known(DeviceId(7)), office);
        let [one] = &of(Bans { held: vec![known], ..NOBODY.clone() })[..] else { panic!() };
        assert!(one.contains("Phone 101 (Yealink T46) tries a wrong password"), "{one}");
        assert!(one.contains("held until 00:10") && one.contains("extension reveal 101"), "{one}");
        let new = held("101", Who::Unknown, office);
        let [one] = &of(Bans { held: vec![new], ..NOBODY.clone() })[..] else { panic!() };
        assert!(one.contains("unban 203.0.113.5 --account 101"), "{one}");
        // A guesser in the street, and one who guesses at what isn't there, are what the wall is for.
        let street = held("101", Who::Unknown, None);
        let none = held("admin", Who::Unknown, office);
        assert_eq!(of(Bans { held: vec![street, none], ..NOBODY.clone() }), Vec::<String>::new());
        let stale = pbx::registrar::Stale {
            extension: ExtensionId(1),
            pair: pair("101", Who::Known(DeviceId(7))),
            since: Utc(0),
            last: Utc(1),
            tries: 8,
        };
        let [one] = &of(Bans { stale: vec![stale], ..NOBODY.clone() })[..] else { panic!() };
        let begins =
            "Phone 101 (Yealink T46) tries the former password since 00:00 from 203.0.113.5";
        assert!(one.starts_with(begins) && one.contains("extension reveal 101"), "{one}");
    }

    /// What is advised must end what is complained of.
    #[test]
    fn each_weakness_of_a_phone_has_the_remedy_that_ends_it() {
        let extensions = [extension("104", 4, true), extension("105", 5, false)];
        let devices = [
            device(&extensions[0], 0x6f3e_d35d << 96, false, &[MAY_BE_PLAIN]),
            device(&extensions[1], 0x0512_0000 << 96, true, &[MAY_BE_PLAIN, SIGNALS_PLAIN]),
        ];
        let list = with(|known| {
            (known.extensions, known.devices, known.tls_port) = (&extensions, &devices, 6061);
        });
        let list: Vec<_> =
            list.iter().map(|one| (one.what.as_str(), one.remedy.as_str())).collect();
        let phone = "Phone 105 (Yealink T46) is weak:";
        assert_eq!(
            list,
            [
                (
                    "Phones of extension 104 may send audio unencrypted.",
                    "once they can SRTP: ringfence extension allow 104 --dangerous-plain-rtp=false"
                ),
                (
                    &*format!("{phone} audio may be unencrypted."),
                    "once it can SRTP: ringfence devices allow 05120000 --dangerous-plain-rtp=false"
                ),
                (
                    &*format!("{phone} signalling is not encrypted."),
                    "set the phone to TLS, port 6061"
                ),
            ]
        );
        let known_of = with(|known| known.extensions = &extensions[1..]);
        assert_eq!(known_of.len(), 0);
    }

    #[test]
    fn a_lockdown_of_one_extension_is_no_peace() {
        let names = Names {
            tenant: TenantId::HOUSE,
            extensions: vec![(ExtensionId(3), "103".to_owned())],
            trunks: Vec::new(),
        };
        let policy = Policy::first(Country::US)
            .next(|policy| policy.lockdown.add(Scope::Extension(ExtensionId(3))));
        let list = with(|known| (known.policy, known.names) = (&policy, &names));
        let [one] = &list[..] else { panic!("{list:?}") };
        assert_eq!(one.what, "Locked: extension 103 can't call, except for help.");
        assert!(one.remedy.ends_with("ringfence lockdown off --extension 103"), "{}", one.remedy);
    }

    fn remedies(change: impl FnOnce(&mut Known<'_>)) -> Vec<String> {
        let list = with(change);
        list.into_iter().map(|one| format!("{} {}", one.what, one.remedy)).collect()
    }

    fn with<'a>(change: impl FnOnce(&mut Known<'a>)) -> Vec<Attention> {
        let view: &'static StatusView = Box::leak(Box::default());
        let policy: &'static Policy = Box::leak(Box::new((*Policy::first(Country::US)).clone()));
        let names: &'static Names = Box::leak(Box::new(Names {
            tenant: TenantId::HOUSE,
            extensions: Vec::new(),
            trunks: Vec::new(),
        }));
        let zone: &'static Zone = Box::leak(Box::new(Zone::utc()));
        let mut known = Known {
            view,
            devices: &[],
            trunks: &[],
            policy,
            accounts: &[],
            names,
            now: Utc(0),
            in_clear: &[],
            sinks: None,
            wall: &NOBODY,
            extensions: &[],
            zone,
            tls_port: 5061,
            machine: Machine::default(),
        };
        change(&mut known);
        known.attention()
    }

    #[test]
    fn nothing_needs_attention_where_nothing_is() {
        assert_eq!(remedies(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_thing_is_named_with_what_to_do() {
        let has = |change: fn(&mut Known<'_>), what: &str, remedy: &str| {
            let list = remedies(change);
            let found = list.iter().any(|one| one.contains(what) && one.contains(remedy));
            assert!(found, "{what}: {list:?}");
        };
        let day = i64::try_from(DAY.as_micros()).unwrap();
        assert!(day > 0);
        has(|k| k.machine.journal = Some("cut".into()), "not whole", "journal verify");
        has(|k| k.machine.refusal = Some("disk I/O error".into()), "now", "no other program");
        has(|k| k.machine.writes_failed = 2, "refused 2 writes", "disk");
        has(|k| k.machine.disk = Some((400_000_000, 1 << 40)), "only 400 MB", "free some space");
        has(|k| k.machine.certificate_ends = Some(Utc(0) + DAY), "ends on 1970-01-02", "[tls]");
        let full = (DISK_FREE_MIN * 2, DISK_FREE_MIN * 100);
        assert_eq!(remedies(|k| k.machine.disk = Some(full)).len(), 1);
        let fine = (DISK_FREE_MIN * 20, DISK_FREE_MIN * 100);
        assert!(remedies(|k| k.machine.disk = Some(fine)).is_empty());
        assert!(remedies(|k| k.machine.certificate_ends = Some(Utc(0) + DAY * 90)).is_empty());
    }

    #[test]
    fn a_house_without_a_way_out_and_without_a_bound_hears_of_both() {
        let view = StatusView {
            extensions: 1,
            draining: true,
            help_no_way: Some(pbx::command::NoWay::NoTrunk),
            ..StatusView::default()
        };
        let policy = Policy::first(Country::US).next(|policy| {
            policy.budgets.clear();
            policy.lockdown.add(Scope::Operator);
        });
        let names = Names { tenant: TenantId::HOUSE, extensions: Vec::new(), trunks: Vec::new() };
        let spent = ledger::Account {
            account: Scope::Operator,
            window: ledger::Window::Day,
            begin: Utc(0),
            end: Utc(1),
            spent: Money(5_000_000),
            soft: None,
            hard: Some(Money(5_000_000)),
        };
        let accounts = [spent];
        let known = Known {
            view: &view,
            devices: &[],
            trunks: &[],
            policy: &policy,
            accounts: &accounts,
            names: &names,
            now: Utc(0),
            in_clear: &[],
            sinks: None,
            wall: &NOBODY,
            extensions: &[],
            zone: &Zone::utc(),
            tls_port: 5061,
            machine: Machine::default(),
        };
        let list = known.attention();
        let what: Vec<&str> = list.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "It is stopping and takes no new calls except emergency.",
                "Calls for help cannot leave: there is no trunk.",
                "Everything is locked: nobody can call, except for help.",
                "No hard budget bounds what all together may spend.",
                "The day budget of operator is spent: 5.00 USD of 5.00 USD.",
            ]
        );
        assert!(list[4].remedy.contains("budget raise 20 --of operator --per day"));
    }
}
