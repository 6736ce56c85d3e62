//! The rate deck: what a minute costs, where it came from, and what an import changes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use guard::access::Actor;
use guard::gate::Gate;
use guard::money::Money;
use guard::number::{Class, Digits};
use guard::numbering::DialPlan;
use guard::policy::Policy;
use guard::rate::{self, Imported, Later, RateDeck, RateFault, Source};
use guard::zone::Zone;
use pbx::command::Change;

use super::{Office, Result, failure};
use crate::admin::amount;
use crate::admin::protocol::{Answer, Passes, Rate, Rates, RatesChange};

impl Office {
    /// `csv`: as it came; columns are found by their names.
    pub(super) async fn rates_import(
        &self,
        actor: Actor,
        csv: &[u8],
        dry_run: bool,
    ) -> Result<Answer> {
        let (policy, present) = self.policy().await?;
        let version = present.version.saturating_add(1);
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        let today = zone.day(self.clock.now().utc);
        let read = RateDeck::import_on(today, csv, policy.currency, version, &present);
        let Imported { deck, later } = read.map_err(|faults| {
            let shown: Vec<String> = faults.iter().take(FAULTS_SHOWN).map(in_words).collect();
            let more = faults.len().saturating_sub(FAULTS_SHOWN);
            let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
            failure(
                format!("nothing was imported:\n  {}{more}", shown.join("\n  ")),
                "mend what is named, then import the file again",
            )
        })?;
        self.change_deck(actor, deck, later, dry_run).await
    }

    pub(super) async fn rates_clear(&self, actor: Actor, dry_run: bool) -> Result<Answer> {
        let (policy, present) = self.policy().await?;
        let mut deck = RateDeck::estimates(policy.currency);
        deck.version = present.version.saturating_add(1);
        self.change_deck(actor, deck, None, dry_run).await
    }

    async fn change_deck(
        &self,
        actor: Actor,
        deck: RateDeck,
        later: Option<Later>,
        dry_run: bool,
    ) -> Result<Answer> {
        let (policy, present) = self.policy().await?;
        let names = self.names().await?;
        let deck = Arc::new(deck);
        let mut change = compared(&present, &deck);
        change.loosens = loosened(&present, &deck, &policy);
        let minutes = || deck.rates().map(|rate| rate.per_minute);
        change.lowest = minutes().min().map(amount::text);
        change.highest = minutes().max().map(amount::text);
        let passes = |role: &guard::policy::Role| {
            let max = role.price_max;
            deck.rates().filter(|rate| rate.per_minute <= max && rate.connect <= max).count()
        };
        if !deck.is_empty() {
            change.passes = policy
                .roles
                .values()
                .map(|role| Passes {
                    role: role.name.clone(),
                    price_max: amount::text(role.price_max),
                    lines: passes(role),
                })
                .collect();
        }
        if let Some(Later { lines, first, kept }) = later {
            (change.later, change.later_kept) = (lines, kept);
            change.later_first = Some(first.to_string());
        }
        change.before = self.at_most(&policy, &present, &names).await?;
        change.after = self.at_most(&policy, &deck, &names).await?;
        if !dry_run {
            self.change(actor, Change::SetDeck { deck }).await?;
            change.saved = true;
        }
        Ok(Answer::RatesChanged(Box::new(change)))
    }

    pub(super) async fn rates_show(&self, number: &str) -> Result<Answer> {
        let (policy, deck) = self.policy().await?;
        let digits = Digits::parse(number).ok_or_else(|| {
            failure(
                format!("`{number}` is no number"),
                "give a number or the beginning of one, such as +3712 or +37120000000",
            )
        })?;
        let gate = Gate::new(Arc::clone(&policy), Arc::clone(&deck));
        let outside = gate.plan().read(&digits);
        let e164 = outside.digits().as_str().trim_start_matches('+').to_owned();
        let concerns = |rate: &rate::Rate| {
            !rate.prefix.is_empty()
                && (e164.starts_with(&rate.prefix) || rate.prefix.starts_with(&e164))
        };
        let mut found: Vec<rate::Rate> = deck.rates().filter(concerns).collect();
        // What decides first: the longest that the number begins with, then what lies below it.
        found.sort_by_key(|rate| {
            let above = e164.starts_with(&rate.prefix);
            (!above, if above { RATE_LENGTH - rate.prefix.len().min(RATE_LENGTH) } else { 0 })
        });
        found.truncate(RATES_SHOWN);
        Ok(Answer::Rates(Rates {
            version: deck.version,
            currency: deck.currency.to_string(),
            lines: deck.len(),
            price: deck.price(&outside, policy.home).as_ref().map(rate),
            class: Some(outside.class().to_string()),
            country: outside.country().map(|country| country.to_string()),
            rates: found.iter().map(rate).collect(),
        }))
    }

    pub(super) async fn rates_list(&self, limit: u32) -> Result<Answer> {
        let (_, deck) = self.policy().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Answer::Rates(Rates {
            version: deck.version,
            currency: deck.currency.to_string(),
            lines: deck.len(),
            price: None,
            class: None,
            country: None,
            rates: deck.rates().take(limit).map(|one| rate(&one)).collect(),
        }))
    }

    pub(super) async fn rates_export(&self) -> Result<Answer> {
        let (_, deck) = self.policy().await?;
        Ok(Answer::RatesCsv(deck.to_csv()))
    }
}

pub(super) fn rate(rate: &rate::Rate) -> Rate {
    Rate {
        prefix: rate.prefix.clone(),
        name: rate.name.clone(),
        per_minute: amount::text(rate.per_minute),
        connect: amount::text(rate.connect),
        first: rate.first,
        increment: rate.increment,
        source: match rate.source {
            Source::Deck => "deck",
            Source::Estimate => "estimate",
        }
        .to_owned(),
    }
}

/// What the second deck has otherwise than the first, prefix by prefix.
fn compared(present: &RateDeck, next: &RateDeck) -> RatesChange {
    let mut former: BTreeMap<String, rate::Rate> =
        present.rates().map(|rate| (rate.prefix.clone(), rate)).collect();
    let mut change = RatesChange {
        saved: false,
        version: next.version,
        currency: next.currency.to_string(),
        lines: next.len(),
        added: 0,
        removed: 0,
        dearer: 0,
        cheaper: 0,
        otherwise: 0,
        loosens: Vec::new(),
        lowest: None,
        highest: None,
        passes: Vec::new(),
        later: 0,
        later_first: None,
        later_kept: 0,
        before: Default::default(),
        after: Default::default(),
    };
    for now in next.rates() {
        let Some(was) = former.remove(&now.prefix) else {
            change.added += 1;
            continue;
        };
        let price = (now.per_minute, now.connect);
        match price.cmp(&(was.per_minute, was.connect)) {
            Ordering::Greater => change.dearer += 1,
            Ordering::Less => change.cheaper += 1,
            Ordering::Equal if now == was => {}
            Ordering::Equal => change.otherwise += 1,
        }
    }
    change.removed = former.len();
    change
}

/// What a budget would no longer count, or count as less: asked about before it is saved.
fn loosened(present: &RateDeck, next: &RateDeck, policy: &Policy) -> Vec<String> {
    let mut said = Vec::new();
    if next.is_empty() && !present.is_empty() {
        said.push("the price list is forgotten; our own cautious estimates hold then".to_owned());
    }
    let plan = DialPlan::new(policy.home);
    let mut judged = 0;
    let free: Vec<rate::Rate> = next
        .rates()
        .filter(|rate| rate.per_minute == Money::ZERO)
        .filter(|rate| {
            judged += 1;
            judged > FREE_JUDGED || !is_toll_free(&plan, &rate.prefix)
        })
        .collect();
    if let Some(first) = free.first() {
        said.push(format!(
            "{} would cost nothing a minute, so no budget counts them: {} {}",
            lines(free.len()),
            first.prefix,
            first.name
        ));
    }
    let cheaper = |prefix: &str| {
        let (was, now) = (present.of_prefix(prefix)?, next.of_prefix(prefix)?);
        let less = |seconds| now.cost(seconds) < was.cost(seconds);
        SPANS.into_iter().any(less).then_some((was, now))
    };
    // A line that is gone makes its numbers as cheap as the shorter prefix.
    let known: BTreeSet<String> =
        present.rates().chain(next.rates()).map(|one| one.prefix).collect();
    let found: Vec<_> =
        known.iter().filter_map(|prefix| Some((prefix, cheaper(prefix)?))).collect();
    if let Some((prefix, (was, now))) = found.first() {
        said.push(format!(
            "{} would become cheaper, so a budget lasts longer: {prefix} {} → {} {} a minute",
            lines(found.len()),
            amount::text(was.per_minute),
            amount::text(now.per_minute),
            next.currency
        ));
    }
    said
}

/// Whether the numbers below a prefix cost their caller nothing, as far as samples tell.
fn is_toll_free(plan: &DialPlan, prefix: &str) -> bool {
    let samples = ["2", "5", "0"].into_iter().flat_map(|fill| {
        (prefix.len()..=RateDeck::PREFIX_MAX)
            .map(move |length| format!("+{prefix:…<length$}").replace('…', fill))
    });
    let mut classes = samples
        .filter_map(|number| Digits::parse(&number))
        .map(|digits| plan.read(&digits).class())
        .filter(|class| *class != Class::Unknown)
        .peekable();
    classes.peek().is_some() && classes.all(|class| class == Class::TollFree)
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// `line 7, price, \`abc\`: …`
fn in_words(fault: &RateFault) -> String {
    let place = match fault.line {
        0 => fault.field.to_owned(),
        line => format!("line {line}, {}", fault.field),
    };
    let found = match fault.found.as_str() {
        "" => String::new(),
        found => format!(", `{}`", found.escape_debug()),
    };
    format!("{place}{found}: {}", fault.remedy)
}

/// Lines without a price that are looked at closely; more are no list of toll-free numbers.
const FREE_JUDGED: usize = 1_000;
/// A short call, a minute, a long one: steps and fees count too.
const SPANS: [u64; 3] = [1, 60, 600];
/// Faults of a deck that are named; the rest is counted.
const FAULTS_SHOWN: usize = 20;
/// Lines below a prefix: a country has some dozens.
const RATES_SHOWN: usize = 100;
/// Longer than any prefix.
const RATE_LENGTH: usize = 64;
