//! Money, as a stranger to the exchange sees it: what carriers say they are owed beside what was set
//! aside and what was written down.
//!
//! For each call that a carrier took, with `o` seconds counted by us and `c` by it:
//!
//! - *held before*: when its INVITE left, a snapshot on disk held money for it;
//! - *never short*: `c` is no more than `o`, the time our clock started later (its 200 on the way), the time
//!   our BYE was on the way, and a second of rounding;
//! - *never long*: `o` is no more than `c`, the time our clock stopped later (our BYE on the way, and its
//!   answer) and a second of rounding;
//! - *bounded*: what the carrier asks is no more than what was held, and one increment, and what it counts
//!   while it refuses our BYE or has not got it. Where the end was
//!   lost on the way (the carrier unreachable, or the process dead) the carrier's own limit of silence
//!   comes on top.
//!
//! And for each account, what it has settled is the sum of what the records of its calls say, and no
//! more than its hard budget but for what calls came to beyond what was held.

use std::collections::BTreeMap;
use std::time::Duration;

use actors::carrier;
use bytes::Bytes;
use guard::gate::Responsible;
use guard::id::LegId;
use guard::ledger::Window;
use guard::money::Money;
use guard::number::{Class, Country};
use guard::policy::{Account, Scope};
use pbx::record::{Cdr, Toll};
use pbx::snapshot::LegStage;
use pure::Instant;
use sip::{Message, Method, Status};

use super::Watch;
use crate::store::Store;
use crate::world::World;

/// What was seen of calls to carriers.
#[derive(Debug, Default)]
pub struct Bills {
    /// Dialogs toward carriers, by Call-ID.
    dialogs: BTreeMap<String, Outgoing>,
    settled: BTreeMap<LegId, Instant>,
    /// What the numbers of this world are, by the digits that carriers are told, said by whoever made
    /// the world and not by the product.
    pub numbers: BTreeMap<String, (Class, Option<Country>)>,
    /// Some carrier was out of reach: what it was told last was lost, and it knows no end but silence.
    pub lost_ends: bool,
    /// Some carrier's connections broke: an end was told on the next one.
    pub late_ends: bool,
    pub crashed: bool,
    /// For a while messages took seconds: the carrier's clock began and ended so much later than ours.
    pub slow: bool,
    pub clock_stepped: bool,
}

#[derive(Debug, Default)]
struct Outgoing {
    leg: Option<LegId>,
    answer_said: Option<Instant>,
    answer_heard: Option<Instant>,
    /// When we first said BYE.
    first_bye: Option<Instant>,
    /// The BYE that is on its way, or was taken, and when it was first said: what was refused is not.
    bye: Option<(Instant, Bytes)>,
}

impl Watch {
    /// A message leaves toward a carrier.
    pub(crate) fn carrier_is_told(&mut self, now: Instant, bytes: &Bytes, store: &Store) {
        if bytes.starts_with(b"BYE ")
            && let Ok(message) = Message::parse(bytes.clone())
            && let Some(known) = self.bills.dialogs.get_mut(message.headers().call_id())
        {
            known.first_bye.get_or_insert(now);
            if known.bye.as_ref().is_none_or(|(_, said)| said != bytes) {
                known.bye = Some((now, bytes.clone()));
            }
        }
        if !bytes.starts_with(b"INVITE ") {
            return;
        }
        let Ok(Message::Request(invite)) = Message::parse(bytes.clone()) else { return };
        let headers = invite.headers();
        if headers.to().tag().is_some() {
            return;
        }
        let number = invite.uri().user_unescaped().unwrap_or_default().into_owned();
        let call_id = headers.call_id().to_owned();
        let known = self.bills.dialogs.entry(call_id.clone()).or_default();
        if number == HELP || known.answer_heard.is_some() {
            return;
        }
        let mut legs = store
            .snapshots
            .values()
            .flat_map(|call| call.legs.iter().map(move |leg| (call.responsible, leg)));
        let held = legs.find(|(_, leg)| match &leg.stage {
            LegStage::Outgoing { invite, .. } => same_call(invite, &call_id),
            LegStage::Up { dialog } => dialog.call_id == call_id,
            LegStage::Incoming { .. } => false,
        });
        let Some((responsible, leg)) = held else {
            return self
                .breaks(format!("money: INVITE {number} left before its snapshot was durable"));
        };
        known.leg = Some(leg.leg);
        let Some((toll, hold)) = &leg.toll else {
            return self.breaks(format!("money: INVITE {number} left without money"));
        };
        let least = toll.rate.cost(1).unwrap_or(Money(i64::MAX));
        if hold.amount() < least {
            let held = hold.amount();
            self.breaks(format!("money: INVITE {number} left with {held:?} of {least:?} held"));
        }
        let Some(Responsible::Extension(extension)) = responsible else {
            return self.breaks(format!("money: nobody answers for INVITE {number}"));
        };
        let Some((class, country)) = self.bills.numbers.get(&number).copied() else {
            return;
        };
        let policy = &store.policy;
        let allowed = policy.role_of(extension).1.is_some_and(|role| {
            let here = country.is_none_or(|c| c == policy.home || role.countries.contains(&c));
            role.classes.contains(&class) && here
        });
        if !allowed {
            self.breaks(format!(
                "money: INVITE {number} ({class:?}) left though it is not allowed"
            ));
        }
    }

    /// A message leaves a carrier.
    pub(crate) fn carrier_says(&mut self, now: Instant, bytes: &Bytes) {
        if let Some(call_id) = answered(bytes)
            && let Some(known) = self.bills.dialogs.get_mut(&call_id)
        {
            known.answer_said.get_or_insert(now);
        }
        if let Some(call_id) = refused_bye(bytes)
            && let Some(known) = self.bills.dialogs.get_mut(&call_id)
        {
            known.bye = None;
        }
    }

    /// A message of a carrier arrives at the server.
    pub(crate) fn carrier_is_heard(&mut self, now: Instant, bytes: &Bytes) {
        if let Some(call_id) = answered(bytes)
            && let Some(known) = self.bills.dialogs.get_mut(&call_id)
        {
            known.answer_heard.get_or_insert(now);
        }
    }

    pub(super) fn leg_settled(&mut self, now: Instant, leg: LegId) {
        self.bills.settled.insert(leg, now);
    }
}

/// Twice the worst delay of a burst, which a carrier with increments of a second bills.
const SLOW_SECONDS: u16 = 3;

/// Once everything is quiet.
pub(crate) fn judge(world: &mut World) {
    let mut broken = Vec::new();
    let records = last_records(&world.server.store);
    for node in &world.carriers {
        let limit = node.carrier.settings().silence_limit.unwrap_or(LOST);
        for record in node.carrier.records() {
            if record.outbound && record.number != HELP && record.answered.is_some() {
                let at = (node.name.as_str(), limit);
                compare(&world.watch.bills, at, record, &records, &mut broken);
            }
        }
    }
    budgets(&world.server.store, &records, &mut broken);
    hard_limits(&world.server.store, &records, &mut broken);
    world.watch.broken.extend(broken);
}

/// One record of each call: that of an interrupted call may be written again by the next start.
pub(crate) fn last_records(store: &Store) -> BTreeMap<guard::id::CallId, &Cdr> {
    store.cdrs.iter().map(|cdr| (cdr.call, cdr)).collect()
}

fn compare(
    bills: &Bills,
    (carrier, silence): (&str, Duration),
    record: &carrier::Record,
    records: &BTreeMap<guard::id::CallId, &Cdr>,
    broken: &mut Vec<String>,
) {
    let who = format!("{carrier} took {} from {}", record.number, record.caller);
    let Some(dialog) = bills.dialogs.get(&record.call_id) else {
        return broken.push(format!("money: {who}, which nobody called"));
    };
    let Some(leg) = dialog.leg else { return };
    let tolls = records.values().flat_map(|cdr| &cdr.tolls);
    let ours: Vec<&Toll> = tolls.filter(|toll| toll.leg == leg).collect();
    let [toll] = ours[..] else {
        return broken
            .push(format!("money: {who}; our records name that leg {} times", ours.len()));
    };
    let Some(ended) = record.ended else {
        return broken.push(format!("money: {who} and is not told that it is over"));
    };
    let cost = |seconds: u64| toll.rate.cost(seconds).unwrap_or(Money(i64::MAX));
    let late = if bills.slow { SLOW_SECONDS } else { 1 };
    let tail = Money(toll.rate.per_minute.0 * i64::from(toll.rate.increment.max(late)) / 60 + 1);
    let lost = bills.lost_ends || bills.crashed;
    let most = match lost || bills.late_ends {
        true => {
            // Whatever it heard last, the carrier notices the silence; a step of paid time may have
            // passed before.
            let paid = paid_seconds(toll);
            cost(paid + silence.as_secs() + LOST.as_secs())
        }
        // A carrier that lost our BYE on the way, or refused it first, bills on until it takes one.
        false => {
            let since = dialog.bye.as_ref().and(dialog.first_bye);
            let overdue = since.map_or(Duration::ZERO, |at| ended.since(at));
            let more = cost(paid_seconds(toll) + seconds_up(overdue));
            let held = if overdue > ON_THE_WAY { toll.held.max(more) } else { toll.held };
            Money(held.0 + tail.0)
        }
    };
    if Money(record.cost) > most {
        broken.push(format!(
            "money: {who} for {}; held were {:?}, {} s counted by it and {} by us",
            record.cost, toll.held, record.seconds, toll.seconds
        ));
    }
    if lost {
        return;
    }
    let (Some(said), Some(heard)) = (dialog.answer_said, dialog.answer_heard) else { return };
    // It stops when it hears the BYE that it takes; we count to when that was said.
    let unheard = dialog.bye.as_ref().map_or(Duration::ZERO, |(at, _)| ended.since(*at));
    let later = seconds_up(heard.since(said)) + seconds_up(unheard) + 1;
    // What could not be told in time, or was refused, counts to the end of what was paid for.
    let took = dialog.bye.as_ref().map(|(at, _)| *at);
    let refused = took.zip(dialog.first_bye).is_some_and(|(took, first)| took > first);
    let capped = (bills.late_ends || refused) && toll.cost >= toll.held;
    if record.seconds > toll.seconds + later && !capped {
        broken.push(format!(
            "money: {who}: {} s; we count {} and began {later} s later",
            record.seconds, toll.seconds
        ));
    }
    let stopped = bills.settled.get(&leg).map_or(Duration::ZERO, |at| at.since(ended));
    // A carrier whose connection is broken tells of its end on the next one, minutes later.
    let longer = seconds_up(if bills.late_ends { stopped } else { stopped.min(LOST) }) + 1;
    if toll.seconds > record.seconds + longer && !capped {
        broken.push(format!(
            "money: {who}: {} s; we count {} and stopped {longer} s later",
            record.seconds, toll.seconds
        ));
    }
    if Some(toll.cost) != toll.rate.cost(toll.seconds) {
        broken.push(format!("money: {who}: {toll:?} doesn't cost what its rate says"));
    }
}

/// How long what was held lasts at most.
fn paid_seconds(toll: &Toll) -> u64 {
    let per_minute = toll.rate.per_minute.0.max(1);
    let talk = toll.held.0.saturating_sub(toll.rate.connect.0).max(0);
    u64::try_from(talk * 60 / per_minute).unwrap_or(0) + u64::from(toll.rate.first)
}

/// No hard budget was passed by more than what calls came to beyond what was held for them.
fn hard_limits(
    store: &Store,
    records: &BTreeMap<guard::id::CallId, &Cdr>,
    broken: &mut Vec<String>,
) {
    let tolls = records.values().flat_map(|cdr| &cdr.tolls);
    let over: i64 = tolls.map(|toll| (toll.cost.0 - toll.held.0).max(0)).sum();
    for (bucket, settled) in &store.spends {
        let limits = store.policy.budgets.iter().filter(|budget| {
            let same = match (budget.of, bucket.account) {
                (Account::EachExtension, Scope::Extension(extension)) => {
                    !store.policy.has_own_budget(extension, budget.window)
                }
                (of, account) => of.scope() == Some(account),
            };
            same && budget.window == bucket.window
        });
        for hard in limits.filter_map(|budget| budget.hard) {
            if settled.0 > hard.0 + over {
                broken.push(format!("money: {bucket:?} settled {settled:?} of {hard:?}"));
            }
        }
    }
}

/// What each account settled is the sum of its calls.
fn budgets(store: &Store, records: &BTreeMap<guard::id::CallId, &Cdr>, broken: &mut Vec<String>) {
    let mut owed: BTreeMap<Scope, i64> = BTreeMap::new();
    for cdr in records.values() {
        let cost: i64 = cdr.tolls.iter().map(|toll| toll.cost.0).sum();
        let Some(extension) = cdr.responsible.filter(|_| cost > 0) else { continue };
        let role = store.policy.role_of(extension).0;
        for account in Scope::accounts(cdr.tenant, role, extension) {
            *owed.entry(account).or_default() += cost;
        }
    }
    for window in Window::ALL {
        let mut settled: BTreeMap<Scope, i64> = BTreeMap::new();
        for (bucket, amount) in store.spends.iter().filter(|(b, _)| b.window == window) {
            if amount.0 < 0 {
                broken.push(format!("money: {bucket:?} is below zero"));
            }
            *settled.entry(bucket.account).or_default() += amount.0;
        }
        settled.retain(|_, amount| *amount != 0);
        if settled != owed {
            broken.push(format!("money: {window} budgets say {settled:?}, records {owed:?}"));
        }
    }
}

/// The Call-ID of a BYE that was heard, and is not the end.
fn refused_bye(bytes: &Bytes) -> Option<String> {
    if !bytes.starts_with(b"SIP/2.0 ") || bytes.starts_with(b"SIP/2.0 2") {
        return None;
    }
    let Ok(Message::Response(answer)) = Message::parse(bytes.clone()) else { return None };
    let headers = answer.headers();
    let over = answer.status() == Status::CALL_DOES_NOT_EXIST;
    (headers.cseq().method == Method::Bye && !over).then(|| headers.call_id().to_owned())
}

/// The Call-ID of a 2xx to an INVITE.
fn answered(bytes: &Bytes) -> Option<String> {
    if !bytes.starts_with(b"SIP/2.0 2") {
        return None;
    }
    let message = Message::parse(bytes.clone()).ok()?;
    let headers = message.headers();
    (headers.cseq().method == Method::Invite).then(|| headers.call_id().to_owned())
}

fn same_call(invite: &[u8], call_id: &str) -> bool {
    let message = Message::parse(Bytes::copy_from_slice(invite));
    message.is_ok_and(|message| message.headers().call_id() == call_id)
}

fn seconds_up(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// A call for help costs nothing and waits for nothing.
pub(crate) const HELP: &str = "911";
/// Longer than a message takes that isn't lost.
const ON_THE_WAY: Duration = Duration::from_millis(200);
/// Longer than a lost BYE is repeated (Timer F).
const LOST: Duration = Duration::from_secs(40);
