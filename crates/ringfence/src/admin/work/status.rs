//! `ringfence status`: the answer to "am I safe?", from what is and from the last day of the journal.
//!
//! What needs attention is a list: each thing that can need it has a few lines in [`Known::attention`].

use std::path::Path;
use std::time::Duration;

use guard::gate::Gate;
use guard::journal::Entry;
use guard::ledger;
use guard::money::{Currency, Money};
use guard::number::Digits;
use guard::policy::{Account, Policy, Scope};
use guard::zone::Zone;
use pbx::command::{Command, DeviceView, Reply, StatusView, TrunkState, TrunkView};
use pbx::directory::TrunkMedia;
use pbx::flow::Transport;
use pure::Utc;

use super::{Office, Result, confused, rules, unreadable};
use crate::admin::amount;
use crate::admin::names::{Names, of_window};
use crate::admin::protocol::{
    Answer, AtRisk, Attention, Coverage, Encryption, Exposure, Status, Stopped,
};
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
    in_clear: &'a [String],
    /// Mailboxes and webhooks that hear of an attack; `None` where alerts don't run.
    sinks: Option<usize>,
}

/// What the machine says of the node's data.
#[derive(Clone, PartialEq, Debug, Default)]
struct Machine {
    /// Why the journal is not whole.
    journal: Option<String>,
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

    async fn safety(&self, (stopped, writes_failed): (Stopped, u64)) -> Result<Status> {
        let Reply::Status(view) = self.ask(Command::Status).await? else { return Err(confused()) };
        let devices = self.devices().await?;
        let trunks = self.trunk_views().await?;
        let (policy, _) = self.policy().await?;
        let names = self.names().await?;
        let accounts = self.accounts().await?;
        let exposure = self.exposure().await?;
        let now = self.clock.now();
        let known = Known {
            view: &view,
            devices: &devices,
            trunks: &trunks,
            policy: &policy,
            accounts: &accounts,
            names: &names,
            now: now.utc,
            in_clear: &self.in_clear,
            sinks: match &self.alerts {
                Some(alerts) => Some(alerts.list().await.map_err(unreadable)?.len()),
                None => None,
            },
            machine: Machine {
                journal: self.lost_before(),
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
            in_clear: self.in_clear.clone(),
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
                    "ban-placed" => stopped.bans += 1,
                    "violation-seen" | "strangers-summed" => stopped.violations += count("count"),
                    "persist-failed" => writes_failed += 1,
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
                    format!("ask the carrier for TLS and SRTP, then: ringfence trunk set {name}"),
                );
            }
        }
        if self.sinks == Some(0) && self.view.extensions > 0 {
            note(
                "Nobody is told when something happens: there is no alert sink.".into(),
                "ringfence alerts sink add mail --to YOU --from PBX --server HOST, or add webhook"
                    .into(),
            );
        }
        for way in self.in_clear {
            note(
                format!("{way}."),
                "take the realm's transports out of ringfence.toml once no phone needs them".into(),
            );
        }
        if self.policy.lockdown.covers(Scope::Operator) {
            note(
                "Everything is locked: nobody can call, except for help.".into(),
                "ringfence lockdown off, once you know why".into(),
            );
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
        for one in self.devices.iter().filter(|one| !one.weaknesses.is_empty()) {
            let id: String = one.device.id.to_string().chars().take(8).collect();
            note(
                format!("{} is weak: {}.", phone(one), one.weaknesses.join(", ")),
                format!(
                    "ringfence devices allow {id} --dangerous-plain-rtp=false, or set the phone to TLS, \
                     SRTP and SHA-256"
                ),
            );
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
        let weak_trunks = self.weak_trunks().map(|weak| format!("trunk {weak}"));
        Encryption { phones, trunks, exceptions: weak.chain(weak_trunks).collect() }
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

fn phone(one: &DeviceView) -> String {
    format!("Phone {} ({})", one.number, one.device.agent)
}

fn shown(money: Money, currency: Currency) -> String {
    money.display(currency).to_string()
}

/// Bytes that are free for us on the disk of a folder, and all of them.
fn disk(folder: &Path) -> Option<(u64, u64)> {
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
/// As the directory says it of a device.
const MAY_BE_PLAIN: &str = "audio may be unencrypted";

#[cfg(test)]
mod tests {
    use super::*;
    use guard::number::Country;

    fn remedies(change: impl FnOnce(&mut Known<'_>)) -> Vec<String> {
        let view = StatusView::default();
        let policy = Policy::first(Country::US);
        let names = Names {
            tenant: guard::id::TenantId::HOUSE,
            extensions: Vec::new(),
            trunks: Vec::new(),
        };
        let mut known = Known {
            view: &view,
            devices: &[],
            trunks: &[],
            policy: &policy,
            accounts: &[],
            names: &names,
            now: Utc(0),
            in_clear: &[],
            sinks: None,
            machine: Machine::default(),
        };
        change(&mut known);
        known.attention().into_iter().map(|one| format!("{} {}", one.what, one.remedy)).collect()
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
        let names = Names {
            tenant: guard::id::TenantId::HOUSE,
            extensions: Vec::new(),
            trunks: Vec::new(),
        };
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
