//! The policy and what follows from it: roles, budgets, exposure, and the gate's reasons.

use std::sync::Arc;

use guard::access::Actor;
use guard::gate::PolicyVersion;
use guard::ledger;
use guard::money::Money;
use guard::policy::{self, Account};
use guard::rate::RateDeck;
use guard::zone::Zone;
use pbx::command::{Change, Command, Explanation, NoWay, Refusal, Reply};

use super::rates::rate;
use super::{Office, Result, confused, failure, refused, unreadable};
use crate::admin::names::{self, Names, of_window};
use crate::admin::protocol::{
    Answer, AtMost, Budget, BudgetRule, Edit, Explained, Exposure, ExposureLine, Failure, Policy,
    PolicyChange, Role, Whose,
};
use crate::admin::{amount, difference, edit, protocol};

impl Office {
    /// Makes the next version, shows what could be lost before and after, and saves it unless `dry_run`.
    /// Where somebody else changed the policy in between, the same edit is made once more to theirs.
    pub(super) async fn change_policy(
        &self,
        actor: Actor,
        edit: &Edit,
        dry_run: bool,
    ) -> Result<Answer> {
        let mut planned = self.plan_policy(edit).await?;
        if dry_run || planned.answer.changes.is_empty() {
            return Ok(Answer::PolicyChanged(Box::new(planned.answer)));
        }
        for _ in 0..=OUTDATED_RETRIES {
            let change = Change::SetPolicy {
                after: planned.after,
                policy: Arc::clone(&planned.policy),
                what: planned.answer.changes.join("; "),
            };
            match self.try_change(actor.clone(), change).await? {
                Ok(()) => {
                    planned.answer.saved = true;
                    return Ok(Answer::PolicyChanged(Box::new(planned.answer)));
                }
                Err(Refusal::Outdated) => planned = self.plan_policy(edit).await?,
                Err(refusal) => return Err(refused(refusal)),
            }
        }
        Err(refused(Refusal::Outdated))
    }

    async fn plan_policy(&self, edit: &Edit) -> Result<Planned> {
        let (before, deck) = self.policy().await?;
        let names = self.names().await?;
        let after = edit::apply(&before, edit, &names)?;
        check_outside_line(&before, &after, &names)?;
        after.validate().map_err(|faults| unsound(&faults))?;
        let mut differences = difference::differences(&before, &after, &names);
        if before.currency != after.currency {
            let spent = self.accounts().await?.iter().any(|one| one.spent > Money::ZERO);
            let words = unconverted(&before, &after, deck.len(), spent);
            differences.push(difference::Difference { words, loosens: true });
        }
        let (version, next) = (before.version.0, after.version.0);
        let answer = PolicyChange {
            saved: false,
            from: version,
            version: if differences.is_empty() { version } else { next },
            changes: differences.iter().map(|one| one.words.clone()).collect(),
            loosens: differences.iter().any(|one| one.loosens),
            still_locked: match edit {
                Edit::Lockdown { on: false, .. } => {
                    after.lockdown.scopes().map(|scope| names.of_scope(&after, scope)).collect()
                }
                _ => Vec::new(),
            },
            before: self.at_most(&before, &deck, &names).await?,
            after: self.at_most(&after, &deck, &names).await?,
        };
        Ok(Planned { after: before.version, policy: after, answer })
    }

    /// The policy and the rate deck in force.
    pub(super) async fn policy(&self) -> Result<(Arc<policy::Policy>, Arc<RateDeck>)> {
        match self.ask(Command::Policy).await? {
            Reply::Policy(policy, deck) => Ok((policy, deck)),
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    pub(super) async fn names(&self) -> Result<Names> {
        let trunks = self.trunk_views().await?;
        Ok(Names {
            tenant: self.tenant,
            extensions: self.numbers().await?,
            trunks: trunks.into_iter().map(|one| (one.trunk.id, one.trunk.name)).collect(),
        })
    }

    /// What could be lost under this policy and deck, in short.
    pub(super) async fn at_most(
        &self,
        policy: &Arc<policy::Policy>,
        deck: &Arc<RateDeck>,
        names: &Names,
    ) -> Result<AtMost> {
        let (policy, deck) = (Arc::clone(policy), Arc::clone(deck));
        let command = Command::ExposureUnder { policy: Arc::clone(&policy), deck };
        match self.ask(command).await? {
            Reply::Exposure(exposure) => Ok(at_most(&exposure, &policy, names)),
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    pub(super) async fn exposure(&self) -> Result<Exposure> {
        let (policy, _) = self.policy().await?;
        let names = self.names().await?;
        match self.ask(Command::Exposure).await? {
            Reply::Exposure(exposure) => Ok(shown_exposure(&exposure, &policy, &names)),
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    pub(super) async fn policy_show(&self, version: Option<u64>) -> Result<Answer> {
        let (present, _) = self.policy().await?;
        let names = self.names().await?;
        let shown = match version {
            Some(version) if version != present.version.0 => {
                let found = self.store.policy(PolicyVersion(version)).await.map_err(unreadable)?;
                found.ok_or_else(|| {
                    failure(
                        format!("there is no version {version} of the policy"),
                        "`ringfence policy history` shows those there were",
                    )
                })?
            }
            _ => (*present).clone(),
        };
        Ok(Answer::Policy(Box::new(shown_policy(&shown, &names))))
    }

    pub(super) async fn policy_history(&self, limit: u32) -> Result<Answer> {
        let names = self.names().await?;
        // One more, so that the oldest shown can say what it changed.
        let records = self.store.policies(limit.saturating_add(1)).await.map_err(unreadable)?;
        let changes = |at: usize| {
            let now = match &records[at].policy {
                Ok(policy) => policy,
                Err(error) => return vec![format!("it can't be read: {error}")],
            };
            match records.get(at + 1).map(|older| &older.policy) {
                Some(Ok(older)) => {
                    let found = difference::differences(older, now, &names);
                    found.into_iter().map(|one| one.words).collect()
                }
                Some(Err(_)) => vec!["the version before can't be read".to_owned()],
                None if now.version == PolicyVersion(1) => vec!["the first".to_owned()],
                None => vec!["the oldest that is kept".to_owned()],
            }
        };
        let shown = (0..records.len()).take(usize::try_from(limit).unwrap_or(usize::MAX));
        let shown = shown.map(|at| protocol::PolicyVersion {
            version: records[at].version.0,
            since: records[at].since.to_string(),
            changes: changes(at),
        });
        Ok(Answer::PolicyHistory(shown.collect()))
    }

    pub(super) async fn roles(&self, name: Option<&str>) -> Result<Answer> {
        let (policy, _) = self.policy().await?;
        let names = self.names().await?;
        let wanted = name.map(|name| names::role(&policy, name)).transpose()?;
        let mut shown = shown_policy(&policy, &names).roles;
        if let Some(id) = wanted {
            let name = names::of_role(&policy, id);
            shown.retain(|role| role.name == name);
        }
        Ok(Answer::Roles(shown))
    }

    pub(super) async fn explain(&self, number: String, from: String) -> Result<Answer> {
        let extension = self.extension_id(&from).await?;
        let (policy, _) = self.policy().await?;
        let command = Command::Explain { extension, dialled: number.clone() };
        match self.ask(command).await? {
            Reply::Explained(one) => {
                Ok(Answer::Explained(Box::new(explained(number, from, *one, &policy))))
            }
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }

    pub(super) async fn budgets(&self) -> Result<Answer> {
        let (policy, _) = self.policy().await?;
        let names = self.names().await?;
        let accounts = self.accounts().await?;
        let shown = accounts.iter().map(|account| budget(account, &policy, &names)).collect();
        Ok(Answer::Budgets(shown))
    }

    pub(super) async fn reset_budget(
        &self,
        actor: Actor,
        whose: &Whose,
        dry_run: bool,
    ) -> Result<Answer> {
        let (policy, deck) = self.policy().await?;
        let names = self.names().await?;
        let accounts = match names.whose(&policy, whose)? {
            Account::Operator => policy::Scope::Operator,
            Account::Tenant(tenant) => policy::Scope::Tenant(tenant),
            Account::Role(role) => policy::Scope::Role(role),
            Account::Extension(extension) => policy::Scope::Extension(extension),
            Account::EachExtension => {
                return Err(failure(
                    "what each extension has spent is reset one by one",
                    "name it: `ringfence budget reset --of extension 101`",
                ));
            }
        };
        let before = self.at_most(&policy, &deck, &names).await?;
        let after = match self.ask(Command::ExposureReset { account: accounts }).await? {
            Reply::Exposure(exposure) => at_most(&exposure, &policy, &names),
            Reply::Refused(refusal) => return Err(refused(refusal)),
            _ => return Err(confused()),
        };
        if !dry_run {
            self.change(actor, Change::ResetBudget { account: accounts }).await?;
        }
        let of = names.of_scope(&policy, accounts);
        let reset = protocol::BudgetReset { saved: !dry_run, of, before, after };
        Ok(Answer::BudgetReset(Box::new(reset)))
    }

    pub(super) async fn accounts(&self) -> Result<Vec<ledger::Account>> {
        match self.ask(Command::Budgets).await? {
            Reply::Budgets(accounts) => Ok(accounts),
            Reply::Refused(refusal) => Err(refused(refusal)),
            _ => Err(confused()),
        }
    }
}

/// A change that is ready to be saved.
struct Planned {
    after: PolicyVersion,
    policy: Arc<policy::Policy>,
    answer: PolicyChange,
}

/// Why nothing can leave, and what to do.
pub(super) fn no_way(no_way: NoWay) -> (&'static str, &'static str) {
    match no_way {
        NoWay::NoTrunk => (
            "there is no trunk",
            "Connect a carrier: `ringfence trunk add carrier --server sip.example.net --user 4711`.",
        ),
        NoWay::AllDisabled => (
            "no trunk is in service",
            "`ringfence trunk list` shows them; `ringfence trunk enable NAME` puts one back.",
        ),
        NoWay::AllDown => (
            "no trunk is up",
            "`ringfence trunk list` says why, and `ringfence trunk test NAME` looks closer.",
        ),
    }
}

/// Amounts are figures: they mean something else then, and nobody converts them.
fn unconverted(
    before: &policy::Policy,
    after: &policy::Policy,
    lines: usize,
    spent: bool,
) -> String {
    let (former, now) = (before.currency, after.currency);
    let mut words = format!(
        "no amount is converted: what was 10.00 {former} in budgets and highest prices is 10.00 {now}"
    );
    if spent {
        words += &format!(", and what was spent in {former} counts as {now}");
    }
    if lines > 0 {
        words += &format!(
            "; the price list's {lines} lines count as {now} until a new one is imported \
             (`ringfence rates import`)"
        );
    }
    words
}

/// A digit that leads outside can't be the beginning of an extension.
fn check_outside_line(
    before: &policy::Policy,
    after: &policy::Policy,
    names: &Names,
) -> Result<()> {
    let Some(digit) = after.outside_line.filter(|_| before.outside_line != after.outside_line)
    else {
        return Ok(());
    };
    match names.extensions.iter().find(|(_, number)| number.starts_with(digit)) {
        Some((_, number)) => Err(failure(
            format!("extension {number} begins with {digit}"),
            "choose a digit that no extension begins with, such as 0 or 9, or none",
        )),
        None => Ok(()),
    }
}

/// One fault with its own remedy; of several, each with its own in a line.
fn unsound(faults: &[policy::PolicyFault]) -> Failure {
    let clause = |sentence: &str| sentence.trim_end_matches('.').to_owned();
    match faults {
        [one] => failure(format!("{}: {}", one.at, clause(&one.fault)), clause(&one.remedy)),
        several => {
            let line =
                |one: &policy::PolicyFault| format!("\n  {}: {} {}", one.at, one.fault, one.remedy);
            let lines: String = several.iter().map(line).collect();
            failure(
                format!("the rules would not hold together:{lines}"),
                "mend what is named; `ringfence policy show` shows the rules in force",
            )
        }
    }
}

fn shown_policy(policy: &policy::Policy, names: &Names) -> Policy {
    let role = |(id, role): (&guard::id::RoleId, &policy::Role)| Role {
        name: role.name.clone(),
        default: *id == policy.default_role,
        classes: role.classes.iter().map(ToString::to_string).collect(),
        countries: role.countries.iter().map(ToString::to_string).collect(),
        hours: role.hours.to_string(),
        calls: role.calls_max,
        calls_per_hour: role.calls_per_hour,
        longest_seconds: role.longest.as_secs(),
        currency: policy.currency.to_string(),
        price_max: amount::text(role.price_max),
        extensions: policy
            .members
            .iter()
            .filter(|(_, of)| *of == id)
            .filter_map(|(member, _)| names.extensions.iter().find(|(known, _)| known == member))
            .map(|(_, number)| number.clone())
            .collect(),
    };
    let budget = |one: &policy::Budget| BudgetRule {
        of: names.of_account(policy, one.of),
        per: of_window(one.window).to_owned(),
        soft: one.soft.map(amount::text),
        hard: one.hard.map(amount::text),
    };
    Policy {
        version: policy.version.0,
        home: policy.home.to_string(),
        currency: policy.currency.to_string(),
        zone: policy.zone.clone(),
        outside_line: policy.outside_line.map(String::from),
        area: policy.area.clone(),
        lockdown: policy.lockdown.scopes().map(|scope| names.of_scope(policy, scope)).collect(),
        emergency_guarantee_days: policy.emergency_guarantee.as_secs() / 86_400,
        emergency_for_strangers: policy.emergency_for_strangers,
        working_hours: policy.working.to_string(),
        default_role: names::of_role(policy, policy.default_role),
        roles: policy.roles.iter().map(role).collect(),
        budgets: policy.budgets.iter().map(budget).collect(),
    }
}

fn budget(account: &ledger::Account, policy: &policy::Policy, names: &Names) -> Budget {
    let left = account.hard.map(|hard| {
        let left = hard.checked_sub(account.spent).unwrap_or_default();
        amount::text(left.max(Money::ZERO))
    });
    Budget {
        of: names.of_scope(policy, account.account),
        per: of_window(account.window).to_owned(),
        currency: policy.currency.to_string(),
        soft: account.soft.map(amount::text),
        hard: account.hard.map(amount::text),
        spent: amount::text(account.spent),
        left,
        begins: account.begin.to_string(),
        ends: account.end.to_string(),
    }
}

fn explained(number: String, from: String, one: Explanation, policy: &policy::Policy) -> Explained {
    let no_way = one.no_way.map(|why| {
        let (why, remedy) = no_way(why);
        (format!("no trunk can carry it now: this call would fail ({why})"), remedy.to_owned())
    });
    let disabled = || {
        one.disabled.then(|| {
            let fails = format!("extension {from} is out of service: its phones can't sign in");
            (fails, format!("`ringfence extension enable {from}` puts it back."))
        })
    };
    let (fails, remedy) = disabled().or(no_way).unzip();
    Explained {
        fails,
        remedy,
        number,
        from,
        destination: one.destination,
        class: one.class.map(|class| class.to_string()),
        country: one.country.map(|country| country.to_string()),
        role: one.role,
        permitted: one.permitted,
        rule: one.decision.rule.name().to_owned(),
        policy: one.decision.policy.0,
        currency: policy.currency.to_string(),
        rate: one.rate.as_ref().map(rate),
        first_hold: one.first.map(|paid| amount::text(paid.held)),
        first_seconds: one.first.map(|paid| paid.seconds),
        trunks: one.trunks,
        why: one.why,
    }
}

pub(super) fn shown_exposure(
    exposure: &guard::exposure::Exposure,
    policy: &policy::Policy,
    names: &Names,
) -> Exposure {
    let line = |line: &guard::exposure::ExposureLine| ExposureLine {
        of: names.of_scope(policy, line.of),
        most: amount::text(line.most),
        tail: amount::text(line.tail),
        binding: binding(line, policy, names),
    };
    Exposure {
        summary: summary(exposure, policy, names),
        currency: exposure.currency.to_string(),
        from: exposure.from.to_string(),
        until: exposure.until.to_string(),
        until_local: local(exposure.until, policy),
        lines: exposure.lines.iter().map(line).collect(),
    }
}

fn at_most(exposure: &guard::exposure::Exposure, policy: &policy::Policy, names: &Names) -> AtMost {
    let all = all(exposure).map_or(Money::ZERO, |line| line.most);
    let one = dearest(exposure).map_or(Money::ZERO, |line| line.most);
    AtMost {
        currency: exposure.currency.to_string(),
        all: amount::text(all),
        one: amount::text(one),
        until: exposure.until.to_string(),
        summary: summary(exposure, policy, names),
    }
}

/// Without numbers and names, for whoever walks by: `At most 23.40 USD can be lost until Thursday 08:00.`
pub(crate) fn in_short(exposure: &guard::exposure::Exposure, policy: &policy::Policy) -> String {
    let until = local(exposure.until, policy);
    match all(exposure).map(|line| line.most).filter(|most| *most != Money::ZERO) {
        Some(most) => {
            let most = cents(most).display(exposure.currency);
            format!("At most {most} can be lost until {until}.")
        }
        None => format!("Nothing can be lost until {until}."),
    }
}

/// `At most 23.40 USD can be lost until Thursday 08:00; a single stolen password …`
fn summary(exposure: &guard::exposure::Exposure, policy: &policy::Policy, names: &Names) -> String {
    let until = local(exposure.until, policy);
    let (Some(all), Some(one)) = (all(exposure), dearest(exposure)) else {
        return "Nothing can be lost: there is no extension.".to_owned();
    };
    if all.most == Money::ZERO {
        let why = binding(all, policy, names);
        return format!("Nothing can be lost until {until}: {why}.");
    }
    format!(
        "At most {} can be lost until {until}; a single stolen password at most {} ({}, {}).",
        cents(all.most).display(exposure.currency),
        cents(one.most).display(exposure.currency),
        names.of_scope(policy, one.of),
        binding(one, policy, names),
    )
}

/// In a sentence cents are enough; up, so that it is never more than said.
fn cents(amount: Money) -> Money {
    const CENT: i64 = Money::UNIT / 100;
    let over = amount.0.rem_euclid(CENT);
    Money(if over == 0 { amount.0 } else { amount.0.saturating_add(CENT - over) })
}

/// The line of everything together: it stands last.
fn all(exposure: &guard::exposure::Exposure) -> Option<&guard::exposure::ExposureLine> {
    exposure.lines.last()
}

/// The extension that could lose most; the first of several.
fn dearest(exposure: &guard::exposure::Exposure) -> Option<&guard::exposure::ExposureLine> {
    let extensions =
        exposure.lines.iter().filter(|line| matches!(line.of, policy::Scope::Extension(_)));
    extensions.rev().max_by_key(|line| line.most)
}

fn binding(line: &guard::exposure::ExposureLine, policy: &policy::Policy, names: &Names) -> String {
    use guard::exposure::Binding;
    if let policy::Scope::Role(role) = line.of
        && !names.extensions.iter().any(|(id, _)| policy.role_of(*id).0 == role)
    {
        return "nobody has this role".to_owned();
    }
    match line.binding {
        Binding::NothingAllowed => "nothing outside may be dialled".to_owned(),
        Binding::Lockdown => "lockdown".to_owned(),
        Binding::Budget { account, window } if account == line.of => {
            format!("{} budget", of_window(window))
        }
        Binding::Budget { account, window } => {
            format!("{} budget of {}", of_window(window), names.of_scope(policy, account))
        }
        Binding::Pace => {
            "no budget, but hours, calls at once, calls an hour and the highest price together"
                .to_owned()
        }
    }
}

/// `Thursday 2026-11-26 08:00`, by the clock on the wall there.
fn local(at: pure::Utc, policy: &policy::Policy) -> String {
    let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
    let minute = zone.minute_of_week(at);
    let day = DAYS[usize::from(minute / 1_440) % DAYS.len()];
    let wall = zone.wall(at);
    let date = wall.get(..10).unwrap_or_default();
    format!("{day} {date} {:02}:{:02}", minute / 60 % 24, minute % 60)
}

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// One: who meets somebody else twice should look at what they are doing.
const OUTDATED_RETRIES: usize = 1;
