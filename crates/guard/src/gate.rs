//! The gate: the one place that may allow a leg.
//!
//! Whoever starts a leg (a phone, a forward, a ring group, a transfer, a REFER, a 302, a trunk,
//! voicemail) describes it as an [`Attempt`] and gets a [`Verdict`]. Only [`Verdict::Permit`] holds a
//! [`Permit`], a value made here alone, which whatever opens a leg consumes: one permit, one leg
//! attempt; each fork, failover and redirection needs its own.
//!
//! The order of judgement is fixed: emergency first, then lockdown, who is responsible, what is
//! called, permissions and hours, concurrency, findings, PIN, and money last.

mod explain;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pure::{Now, Utc};
use serde::{Deserialize, Serialize};

pub use self::explain::Explained;
use crate::cause::{Cause, Outcome};
use crate::id::{CallId, DeviceId, ExtensionId, LegId, TenantId, TrunkId};
use crate::ledger::{Bucket, Crossing, Ledger, Note, Step, Window};
use crate::money::Money;
use crate::number::{Class, Outside};
use crate::numbering::DialPlan;
use crate::policy::{Policy, Role, Scope};
use crate::rate::{Rate, RateDeck};
use crate::zone::Zone;

/// The judge of legs under one version of the policy and one rate deck. What changes (money, counts)
/// is the [`Ledger`]'s.
///
/// Nothing is remembered between two judgements, so a changed policy is a new gate over the same
/// ledger, and calls that are up are judged anew by it.
#[derive(Clone, Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    deck: Arc<RateDeck>,
    plan: DialPlan,
    zone: Zone,
    /// Every leg outside is permitted: see [`Gate::dangerously_open`].
    open: bool,
}

/// A leg that somebody wants to open, with all that the judgement may look at.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub tenant: TenantId,
    pub call: CallId,
    pub leg: LegId,
    pub origin: Origin,
    /// Who pays and answers for the leg. `None`: a stranger.
    pub responsible: Option<Responsible>,
    pub destination: Destination,
    /// What is known of whoever asks for the leg.
    pub standing: Standing,
}

/// How far whoever asks for a leg is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The request was proved to come from whom it names.
    Proved(Proof),
    /// A device known by its flow, its address or its previous credential alone, and when it last
    /// registered. Good for emergency only.
    KnownDevice {
        device: DeviceId,
        registered: Utc,
    },
    /// Our own doing: no request asked for it (an alert, a drill).
    Ourselves,
    Stranger,
}

/// What made the leg necessary. Every way a call can cost money is listed: a new one makes the
/// compiler question the gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Phone,
    Forward,
    RingGroup,
    Transfer,
    Refer,
    Redirect,
    /// A carrier calls one of our numbers.
    Inbound,
    TrunkToTrunk,
    Voicemail,
    /// Our own call to the owner (an alert, a drill).
    Alert,
}

/// Who pays and answers for a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Responsible {
    Extension(ExtensionId),
    Trunk(TrunkId),
    System,
}

/// What is being called, after resolution. Emergency is recognised before the dial plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    Emergency(crate::number::Emergency),
    Extension(ExtensionId),
    /// The attendant, voicemail, a short code: media that ends here and can't cost money.
    Service,
    /// A number outside, normalised and classified.
    Outside(Outside),
    /// Nothing we know how to call. Denied: unknown is never the cheap case.
    Unknown,
}

/// How a request was proved: the verdict of authentication, carried to the gate and into the CDR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    Digest(Algorithm),
    /// Mutual TLS: the certificate names the device.
    ClientCertificate,
    /// The trunk's fixed address.
    TrunkAddress,
    /// The random Contact we registered at the trunk.
    TrunkContact,
    /// The phone system behind us answered 200 to the phone's own credentials (edge form).
    UpstreamAccepted,
    /// A short-lived token of the console (browser phone).
    Token,
}

/// Digest algorithms (RFC 7616, RFC 8760). MD5 shows everywhere as a weakness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    Md5,
    Sha256,
}

/// What the gate says of an [`Attempt`]. It is resumable: `NeedPin` and `NeedReserve` come back as a
/// further attempt with what was asked for, and each extension of a call is judged anew.
#[derive(Debug)]
pub enum Verdict {
    Permit(Permit),
    Denial(Denial),
    /// A local media endpoint must collect the caller's PIN first.
    NeedPin(PinRequest),
    /// Money must be set aside, durably, before the leg may ring.
    NeedReserve(ReserveRequest),
}

/// The right to open one leg, once. Made by [`Gate::judge`] and [`Permit::restore`] alone, not
/// `Clone`, and remembers the rule and the version of the policy that granted it.
///
/// It can be read and moved:
///
/// ```
/// fn open(permit: guard::gate::Permit) -> guard::id::LegId {
///     permit.leg()
/// }
/// ```
///
/// but not copied,
///
/// ```compile_fail,E0382
/// fn open_twice(permit: guard::gate::Permit) -> [guard::gate::Permit; 2] {
///     [permit, permit]
/// }
/// ```
///
/// nor cloned,
///
/// ```compile_fail,E0599
/// fn keep_one(permit: &guard::gate::Permit) -> guard::gate::Permit {
///     guard::gate::Permit::clone(permit)
/// }
/// ```
///
/// nor made elsewhere:
///
/// ```compile_fail,E0451
/// use guard::gate::{Decision, Permit};
/// use guard::id::{CallId, LegId};
///
/// fn forge(decision: Decision) -> Permit {
///     Permit { call: CallId(1), leg: LegId(1), decision }
/// }
/// ```
#[derive(PartialEq, Eq, Debug)]
pub struct Permit {
    call: CallId,
    leg: LegId,
    decision: Decision,
}

/// Which rule decided, under which version of the policy: what CDR, journal and `explain` show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub rule: Rule,
    pub policy: PolicyVersion,
}

/// Counts the changes of a tenant's policy. A policy is immutable; a change is a new version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyVersion(pub u64);

/// The rules of the gate, in the order they are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    Emergency,
    /// Emergency asked for by nobody we know, and the owner didn't open it to strangers.
    EmergencyStranger,
    /// The request wasn't proved; what is known of its device suffices for emergency only.
    NotProved,
    Lockdown,
    NobodyResponsible,
    UnknownDestination,
    VoicemailOutward,
    NotAllowedClass,
    NotAllowedCountry,
    /// Outside the role's hours.
    Hours,
    /// The role has its highest number of legs outside open.
    Concurrency,
    /// Too many attempts in an hour.
    Rate,
    /// Nobody knows what the number costs.
    NoPrice,
    /// The number costs more than the role may spend a minute.
    TooDear,
    /// A budget is spent.
    Budget,
    /// Allowed, and its money is set aside.
    Outside,
    /// The call has lasted as long as the role allows.
    Longest,
    Internal,
    Service,
}

/// A refused leg: the rule, and what the caller may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denial {
    pub decision: Decision,
    /// What decided, where figures did.
    pub figures: Option<Figures>,
}

/// The figures that a denial rests on: for `explain` and the record of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figures {
    /// Legs outside of the extension, and how many its role allows.
    Open { open: u32, max: u16 },
    /// Attempts of the last hour, and how many the role allows.
    Attempts { made: u32, max: u16 },
    /// What a minute and the answer cost, and what either may.
    Price { per_minute: Money, connect: Money, max: Money },
    /// The account whose budget the least step doesn't fit into any more.
    Budget { bucket: Bucket, spent: Money, limit: Money, needed: Money },
    /// How long the call may last.
    Longest { max: Duration },
}

/// Ask the caller for a PIN; bounded tries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinRequest {
    pub leg: LegId,
    pub tries_max: u8,
}

/// Set money aside before the leg rings: made by [`Gate::judge`] alone, used up by [`Gate::reserve`].
#[derive(Debug)]
pub struct ReserveRequest {
    attempt: Attempt,
    rate: Rate,
    first: Paid,
}

/// How long what was set aside lasts, counted from the answer, and what it came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paid {
    /// Seconds from the answer that are paid for.
    pub seconds: u64,
    /// All that is held for the leg now.
    pub held: Money,
}

/// What [`Gate::weigh`] finds: all that judging, reserving, extending and explaining have in common.
enum Weighed<'a> {
    /// It costs nothing.
    Permit(Rule),
    Pay(Terms<'a>),
}

/// Why not.
#[derive(Clone, Copy)]
struct Ground {
    rule: Rule,
    figures: Option<Figures>,
}

/// On what terms a leg outside may be paid for.
struct Terms<'a> {
    extension: ExtensionId,
    role: &'a Role,
    rate: Rate,
    buckets: Vec<Bucket>,
    rooms: Vec<Room>,
}

/// A budget as it stands.
#[derive(Clone, Copy)]
struct Room {
    bucket: Bucket,
    spent: Money,
    soft: Option<Money>,
    hard: Option<Money>,
}

/// When a leg is weighed.
#[derive(Clone, Copy)]
enum Stage<'a> {
    New,
    /// About to be reserved, at the rate that was told.
    Told(&'a Rate),
    /// It has a hold: its attempt was counted, and its line is its own.
    Up(&'a Rate),
}

impl Gate {
    /// How much of a call is paid for at once, at least: less, and a busy node writes holds all day;
    /// more, and money lies idle that another call needs.
    pub const STEP: u64 = 60;

    /// How long before the paid time ends the next step may be asked for. Long enough for a slow disk;
    /// the exposure counts what it lets a call run beyond the hours of its role.
    pub const EXTEND_AHEAD: Duration = Duration::from_secs(30);

    pub fn new(policy: Arc<Policy>, deck: Arc<RateDeck>) -> Self {
        let plan = DialPlan::new(policy.home)
            .with_outside_line(policy.outside_line)
            .with_area(policy.area.clone());
        // Unknown zones are refused when a policy is set.
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        Self { policy, deck, plan, zone, open: false }
    }

    /// With `open`, no rule and no budget stands before a leg outside: a test shows so what they are
    /// worth.
    pub fn dangerously_open(self, open: bool) -> Self {
        Self { open, ..self }
    }

    /// The zone that hours, days and weeks are counted in: the policy's, or UTC where it names none
    /// that is known.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    pub fn deck(&self) -> &Arc<RateDeck> {
        &self.deck
    }

    /// How numbers are dialled at home.
    pub fn plan(&self) -> &DialPlan {
        &self.plan
    }

    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Permits or denies one leg attempt. The first rule that applies decides.
    /// A leg that costs money gets [`Verdict::NeedReserve`], where the ledger would bear its first step.
    pub fn judge(&self, now: Now, attempt: &Attempt, ledger: &Ledger) -> Verdict {
        match self.found(now, attempt, ledger, Stage::New) {
            Ok((rule, None)) => {
                let Attempt { call, leg, .. } = *attempt;
                Verdict::Permit(Permit { call, leg, decision: self.decision(rule) })
            }
            Ok((_, Some((Terms { rate, .. }, first)))) => {
                let attempt = attempt.clone();
                Verdict::NeedReserve(ReserveRequest { attempt, rate, first })
            }
            Err(ground) => Verdict::Denial(self.denial(ground)),
        }
    }

    /// Sets the money of a leg's first step aside, all of [`ReserveRequest::first`] or nothing. The hold
    /// is then in the ledger under the leg's name, and must be durable before anything leaves. The
    /// attempt counts from here on, whatever becomes of it.
    ///
    /// The leg is judged again, at the rate it was told: the ledger may have changed in between.
    pub fn reserve(
        &self,
        now: Now,
        request: ReserveRequest,
        ledger: &mut Ledger,
    ) -> Result<Permit, Denial> {
        let ReserveRequest { attempt, rate, first } = request;
        let Attempt { call, leg, .. } = attempt;
        let fits = match self.found(now, &attempt, ledger, Stage::Told(&rate)) {
            Ok((_, Some((terms, most)))) if most.seconds >= first.seconds => Ok(terms),
            Ok((_, Some((terms, _)))) => Err(terms.short(first.held)),
            // A request is made for legs outside alone; said so that nothing else is ever paid for.
            Ok((_, None)) => Err(Ground::of(Rule::Budget)),
            Err(ground) => Err(ground),
        };
        let terms = match fits {
            Ok(terms) => terms,
            Err(ground) => {
                let denial = self.denial(ground);
                ledger.refused(&denial);
                return Err(denial);
            }
        };
        ledger.count_attempt(now, terms.extension);
        terms.take(leg, first.held, first.seconds, ledger);
        Ok(Permit { call, leg, decision: self.decision(Rule::Outside) })
    }

    /// Judges a leg that is up anew and sets the money of its next step aside: a minute, or as many
    /// increments as fit. A leg that costs nothing needs no step and gets time without end.
    ///
    /// It is judged like a new one, at the rate it was told, but its attempt was counted and its own line
    /// is no other's. It should be asked for at most [`Gate::EXTEND_AHEAD`] before the paid time ends.
    pub fn extend(
        &self,
        now: Now,
        attempt: &Attempt,
        rate: &Rate,
        ledger: &mut Ledger,
    ) -> Result<Paid, Denial> {
        let terms = match self.weigh(now, attempt, ledger, Stage::Up(rate)) {
            Ok(Weighed::Pay(terms)) => terms,
            Ok(Weighed::Permit(_)) => return Ok(Paid { seconds: u64::MAX, held: Money::ZERO }),
            Err(ground) => return Err(self.denial(ground)),
        };
        // Without a first step there is no next one: whoever asks has lost its hold.
        let Some(paid) = ledger.paid(attempt.leg) else {
            return Err(self.denial(Ground::of(Rule::Budget)));
        };
        match terms.step(Some(paid)) {
            Ok(next) => {
                let more = Money(next.held.0.saturating_sub(paid.held.0).max(0));
                terms.take(attempt.leg, more, next.seconds, ledger);
                Ok(next)
            }
            Err(ground) => {
                let denial = self.denial(ground);
                ledger.refused(&denial);
                Err(denial)
            }
        }
    }

    /// Whether a leg outside that is up may stay, at the rate it was told: asked of every one when the
    /// policy has changed. Takes no money and doesn't ask for any.
    pub fn review(
        &self,
        now: Now,
        attempt: &Attempt,
        rate: &Rate,
        ledger: &Ledger,
    ) -> Result<(), Denial> {
        let weighed = self.weigh(now, attempt, ledger, Stage::Up(rate));
        weighed.map(|_| ()).map_err(|ground| self.denial(ground))
    }

    /// What a new leg would get: the rule, and the terms and the first step where it costs money.
    fn found(
        &self,
        now: Now,
        attempt: &Attempt,
        ledger: &Ledger,
        stage: Stage<'_>,
    ) -> Result<(Rule, Option<(Terms<'_>, Paid)>), Ground> {
        match self.weigh(now, attempt, ledger, stage)? {
            Weighed::Permit(rule) => Ok((rule, None)),
            Weighed::Pay(terms) => {
                let first = terms.step(None)?;
                Ok((Rule::Outside, Some((terms, first))))
            }
        }
    }

    /// The judgement itself, but for the size of the step.
    fn weigh(
        &self,
        now: Now,
        attempt: &Attempt,
        ledger: &Ledger,
        stage: Stage<'_>,
    ) -> Result<Weighed<'_>, Ground> {
        let deny = |rule| Err(Ground::of(rule));
        // Emergency comes before everything that could say no.
        if let Destination::Emergency(_) = attempt.destination {
            return if self.may_call_for_help(now, attempt.standing) {
                Ok(Weighed::Permit(Rule::Emergency))
            } else {
                deny(Rule::EmergencyStranger)
            };
        }
        if self.open
            && let Destination::Outside(number) = &attempt.destination
        {
            return self.unguarded(attempt, number, stage);
        }
        if self.locked(attempt) {
            return deny(Rule::Lockdown);
        }
        match attempt.standing {
            Standing::Proved(_) | Standing::Ourselves => {}
            Standing::KnownDevice { .. } | Standing::Stranger => return deny(Rule::NotProved),
        }
        let Some(responsible) = attempt.responsible else {
            return deny(Rule::NobodyResponsible);
        };
        match &attempt.destination {
            // Answered above; said again so that a new destination makes the compiler ask here.
            Destination::Emergency(_) => Ok(Weighed::Permit(Rule::Emergency)),
            Destination::Extension(_) => Ok(Weighed::Permit(Rule::Internal)),
            Destination::Service => Ok(Weighed::Permit(Rule::Service)),
            Destination::Outside(number) => {
                self.outside(now, attempt, responsible, number, ledger, stage).map(Weighed::Pay)
            }
            Destination::Unknown => deny(Rule::UnknownDestination),
        }
    }

    fn outside(
        &self,
        now: Now,
        attempt: &Attempt,
        responsible: Responsible,
        number: &Outside,
        ledger: &Ledger,
        stage: Stage<'_>,
    ) -> Result<Terms<'_>, Ground> {
        let deny = |rule| Err(Ground::of(rule));
        let with = |rule, figures| Err(Ground { rule, figures: Some(figures) });
        match attempt.origin {
            Origin::Voicemail => return deny(Rule::VoicemailOutward),
            Origin::Phone
            | Origin::Forward
            | Origin::RingGroup
            | Origin::Transfer
            | Origin::Refer
            | Origin::Redirect
            | Origin::Inbound
            | Origin::TrunkToTrunk
            | Origin::Alert => {}
        }
        // A carrier pays for nothing, and nothing we do ourselves costs money: whoever forwarded a call
        // outside answers for it.
        let extension = match responsible {
            Responsible::Extension(extension) => extension,
            Responsible::Trunk(_) | Responsible::System => return deny(Rule::NobodyResponsible),
        };
        let (role_id, role) = self.policy.role_of(extension);
        let Some(role) = role else { return deny(Rule::NotAllowedClass) };
        if number.class() == Class::Unknown || !role.classes.contains(&number.class()) {
            return deny(Rule::NotAllowedClass);
        }
        let country_allowed = match number.country() {
            Some(country) => country == self.policy.home || role.countries.contains(&country),
            // The networks that belong to no country are a class of their own.
            None => number.class() == Class::Satellite,
        };
        if !country_allowed {
            return deny(Rule::NotAllowedCountry);
        }
        if !role.hours.open(self.zone.minute_of_week(now.utc)) {
            return deny(Rule::Hours);
        }
        let held = ledger.hold(attempt.leg).is_some();
        let mut open = ledger.open(extension);
        match stage {
            Stage::Up(_) => open = open.saturating_sub(u32::from(held)),
            Stage::New | Stage::Told(_) => {
                let (made, max) = (ledger.attempts(now, extension), role.calls_per_hour);
                if made >= u32::from(max) {
                    return with(Rule::Rate, Figures::Attempts { made, max });
                }
            }
        }
        // One leg attempt, one hold: a leg that has one is no new leg.
        let twice = held && !matches!(stage, Stage::Up(_));
        if open >= u32::from(role.calls_max) || twice {
            return with(Rule::Concurrency, Figures::Open { open, max: role.calls_max });
        }
        let rate = match stage {
            Stage::New => match self.deck.price(number, self.policy.home) {
                Some(rate) => rate,
                None => return deny(Rule::NoPrice),
            },
            Stage::Told(rate) | Stage::Up(rate) => rate.clone(),
        };
        let Rate { per_minute, connect, .. } = rate;
        let max = role.price_max;
        if per_minute > max || connect > max {
            return with(Rule::TooDear, Figures::Price { per_minute, connect, max });
        }
        let mut buckets = Vec::with_capacity(12);
        for window in Window::ALL {
            let begin = self.zone.window(now.utc, window).begin;
            let accounts = Scope::accounts(attempt.tenant, role_id, extension);
            buckets.extend(accounts.map(|account| Bucket { account, window, begin }));
        }
        let rooms = self.policy.budgets_of(attempt.tenant, extension).filter_map(|(of, budget)| {
            let here = |b: &&Bucket| b.account == of && b.window == budget.window;
            let bucket = *buckets.iter().find(here)?;
            let spent = ledger.spent(&bucket);
            Some(Room { bucket, spent, soft: budget.soft, hard: budget.hard })
        });
        let rooms = rooms.collect();
        Ok(Terms { extension, role, rate, buckets, rooms })
    }

    /// What a leg outside gets where the gate is open: a first step that no budget bounds, then time
    /// without end.
    fn unguarded(
        &self,
        attempt: &Attempt,
        number: &Outside,
        stage: Stage<'_>,
    ) -> Result<Weighed<'_>, Ground> {
        let Some(Responsible::Extension(extension)) = attempt.responsible else {
            return Err(Ground::of(Rule::NobodyResponsible));
        };
        let (_, role) = self.policy.role_of(extension);
        let role = role.ok_or(Ground::of(Rule::NotAllowedClass))?;
        let rate = match stage {
            Stage::Up(_) => return Ok(Weighed::Permit(Rule::Outside)),
            Stage::Told(rate) => Some(rate.clone()),
            Stage::New => self.deck.price(number, self.policy.home),
        };
        let rate = rate.ok_or(Ground::of(Rule::NoPrice))?;
        Ok(Weighed::Pay(Terms { extension, role, rate, buckets: Vec::new(), rooms: Vec::new() }))
    }

    fn denial(&self, ground: Ground) -> Denial {
        Denial { decision: self.decision(ground.rule), figures: ground.figures }
    }

    fn decision(&self, rule: Rule) -> Decision {
        Decision { rule, policy: self.policy.version }
    }

    fn may_call_for_help(&self, now: Now, standing: Standing) -> bool {
        match standing {
            Standing::Proved(_) | Standing::Ourselves => true,
            // Where the clock stepped back, `since` is zero: emergency fails open.
            Standing::KnownDevice { registered, .. } => {
                now.utc.since(registered) <= self.policy.emergency_guarantee
                    || self.policy.emergency_for_strangers
            }
            Standing::Stranger => self.policy.emergency_for_strangers,
        }
    }

    fn locked(&self, attempt: &Attempt) -> bool {
        self.policy.locked(attempt.tenant, attempt.responsible)
    }
}

impl Ground {
    fn of(rule: Rule) -> Self {
        Self { rule, figures: None }
    }
}

impl Terms<'_> {
    /// The next step after `paid`: a minute in whole increments, or as many as fit, never more than the
    /// longest call costs.
    fn step(&self, paid: Option<Paid>) -> Result<Paid, Ground> {
        let longest = self.role.longest.as_secs();
        let increment = u64::from(self.rate.increment.max(1));
        let (least, whole, held) = match paid {
            Some(Paid { seconds, held }) => {
                let whole = Gate::STEP.div_ceil(increment) * increment;
                (seconds.saturating_add(increment), seconds.saturating_add(whole), held)
            }
            None => {
                let first = u64::from(self.rate.first);
                let least = if first == 0 { increment } else { first };
                let more = Gate::STEP.saturating_sub(least).div_ceil(increment) * increment;
                (least, least + more, Money::ZERO)
            }
        };
        if paid.map_or(0, |paid| paid.seconds) >= longest {
            let figures = Some(Figures::Longest { max: self.role.longest });
            return Err(Ground { rule: Rule::Longest, figures });
        }
        let mut end = whole;
        loop {
            let seconds = end.min(longest);
            let needed = match self.rate.cost(seconds) {
                Some(cost) => Money(cost.0.saturating_sub(held.0).max(0)),
                None => Money(i64::MAX),
            };
            if self.rooms.iter().all(|room| room.fits(needed)) {
                let held = Money(held.0.saturating_add(needed.0));
                return Ok(Paid { seconds, held });
            }
            if end <= least {
                return Err(self.short(needed));
            }
            end -= increment.min(end - least);
        }
    }

    /// Which budget this much doesn't fit into.
    fn short(&self, needed: Money) -> Ground {
        let short = self.rooms.iter().find(|room| !room.fits(needed));
        let figures = short.map(|room| Figures::Budget {
            bucket: room.bucket,
            spent: room.spent,
            limit: room.hard.unwrap_or_default(),
            needed,
        });
        Ground { rule: Rule::Budget, figures }
    }

    fn take(&self, leg: LegId, amount: Money, seconds: u64, ledger: &mut Ledger) {
        let (extension, tail, buckets) = (self.extension, self.rate.tail(), self.buckets.clone());
        ledger.take(Step { leg, extension, amount, seconds, tail, buckets });
        for Room { bucket, soft, .. } in &self.rooms {
            let spent = ledger.spent(bucket);
            if let Some(limit) = soft.filter(|limit| spent >= *limit && spent > Money::ZERO) {
                ledger.note(Note { bucket: *bucket, crossing: Crossing::Soft, spent, limit });
            }
        }
    }
}

impl Room {
    /// What costs nothing always fits, also where a carrier has billed more than there was.
    fn fits(&self, amount: Money) -> bool {
        let Some(hard) = self.hard else { return true };
        let sum = self.spent.checked_add(amount);
        amount == Money::ZERO || sum.is_some_and(|sum| sum <= hard)
    }
}

impl ReserveRequest {
    pub fn leg(&self) -> LegId {
        self.attempt.leg
    }

    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// What the leg costs.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// What is set aside first.
    pub fn first(&self) -> Paid {
        self.first
    }
}

impl Rule {
    /// In the order they are asked.
    pub const ALL: [Self; 19] = [
        Self::Emergency,
        Self::EmergencyStranger,
        Self::Lockdown,
        Self::NotProved,
        Self::NobodyResponsible,
        Self::Internal,
        Self::Service,
        Self::VoicemailOutward,
        Self::UnknownDestination,
        Self::NotAllowedClass,
        Self::NotAllowedCountry,
        Self::Hours,
        Self::Rate,
        Self::Concurrency,
        Self::NoPrice,
        Self::TooDear,
        Self::Longest,
        Self::Budget,
        Self::Outside,
    ];

    /// The stable name in records, the same as serde's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::EmergencyStranger => "emergency-stranger",
            Self::NotProved => "not-proved",
            Self::Lockdown => "lockdown",
            Self::NobodyResponsible => "nobody-responsible",
            Self::UnknownDestination => "unknown-destination",
            Self::VoicemailOutward => "voicemail-outward",
            Self::NotAllowedClass => "not-allowed-class",
            Self::NotAllowedCountry => "not-allowed-country",
            Self::Hours => "hours",
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
            Self::NoPrice => "no-price",
            Self::TooDear => "too-dear",
            Self::Longest => "longest",
            Self::Budget => "budget",
            Self::Outside => "outside",
            Self::Internal => "internal",
            Self::Service => "service",
        }
    }

    /// Whether a permit may carry it; the others deny.
    pub fn permits(self) -> bool {
        match self {
            Self::Emergency | Self::Internal | Self::Service | Self::Outside => true,
            Self::EmergencyStranger
            | Self::NotProved
            | Self::Lockdown
            | Self::NobodyResponsible
            | Self::UnknownDestination
            | Self::VoicemailOutward
            | Self::NotAllowedClass
            | Self::NotAllowedCountry
            | Self::Hours
            | Self::Concurrency
            | Self::Rate
            | Self::NoPrice
            | Self::TooDear
            | Self::Longest
            | Self::Budget => false,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Denial {
    /// What the caller's phone, the CDR and the page about the call say of it.
    pub fn outcome(&self) -> Outcome {
        Cause::Refused(self.decision.rule).outcome()
    }
}

impl Permit {
    pub fn leg(&self) -> LegId {
        self.leg
    }

    pub fn call(&self) -> CallId {
        self.call
    }

    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The only other door: a leg that was permitted before a crash, read back from its snapshot to
    /// be ended or taken over.
    pub fn restore(call: CallId, leg: LegId, decision: Decision) -> Self {
        Self { call, leg, decision }
    }
}

#[cfg(test)]
mod tests;
