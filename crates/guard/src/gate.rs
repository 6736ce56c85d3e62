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
mod tests {
    use super::*;
    use crate::number::{Country, Digits};
    use crate::policy::{Account, Budget, Hours, Lockdown};
    use proptest::prelude::*;
    use std::time::Duration;

    pub(super) const ALICE: ExtensionId = ExtensionId(0xa11ce);
    const BOB: ExtensionId = ExtensionId(0xb0b);
    const ROLE: crate::id::RoleId = crate::id::RoleId(7);
    const TRUNK: TrunkId = TrunkId(3);
    const DAY: Duration = Duration::from_secs(86_400);
    const START: Utc = Utc(1_795_366_224_250_000);

    fn at(utc: Utc) -> Now {
        Now { utc, ..Now::default() }
    }

    /// A Sunday, 16:50.
    pub(super) fn sunday() -> Now {
        at(START)
    }

    pub(super) fn calls_from_alice(destination: Destination) -> Attempt {
        Attempt { destination, ..internal() }
    }

    fn emergency() -> Destination {
        Destination::Emergency(Country::US.emergency("911").expect("in the table"))
    }

    fn outside() -> Destination {
        Destination::Outside(Outside::unclassified(Digits::parse("+15550100").expect("digits")))
    }

    fn internal() -> Attempt {
        Attempt {
            tenant: TenantId::HOUSE,
            call: CallId(1),
            leg: LegId(2),
            origin: Origin::Phone,
            responsible: Some(Responsible::Extension(ALICE)),
            destination: Destination::Extension(BOB),
            standing: Standing::Proved(Proof::Digest(Algorithm::Sha256)),
        }
    }

    fn policy(lockdown: &[Scope]) -> Arc<Policy> {
        Policy::first(Country::US).next(|policy| {
            policy.lockdown = Lockdown::new(lockdown.iter().copied());
            policy.zone = "UTC".to_owned();
            policy.roles.insert(ROLE, Role::staff());
            policy.members.insert(ALICE, ROLE);
        })
    }

    fn gate(policy: Arc<Policy>) -> Gate {
        let deck = RateDeck::estimates(policy.currency);
        Gate::new(policy, Arc::new(deck))
    }

    fn rule(lockdown: &[Scope], attempt: &Attempt) -> Rule {
        let verdict = gate(policy(lockdown)).judge(at(START), attempt, &Ledger::default());
        let (permitted, decision) = match verdict {
            Verdict::Permit(permit) => (true, permit.decision()),
            Verdict::Denial(denial) => (false, denial.decision),
            Verdict::NeedPin(_) | Verdict::NeedReserve(_) => panic!("nothing asks for these yet"),
        };
        assert_eq!(permitted, decision.rule.permits());
        assert_eq!(decision.policy, PolicyVersion(2));
        decision.rule
    }

    #[test]
    fn a_permit_names_its_leg_and_its_rule() {
        let Verdict::Permit(permit) =
            gate(policy(&[])).judge(at(START), &internal(), &Ledger::default())
        else {
            panic!("extensions may call each other");
        };
        assert_eq!((permit.call(), permit.leg()), (CallId(1), LegId(2)));
        assert_eq!(permit.decision(), Decision { rule: Rule::Internal, policy: PolicyVersion(2) });
        let restored = Permit::restore(permit.call(), permit.leg(), permit.decision());
        assert_eq!(restored, permit);
    }

    #[test]
    fn what_is_not_known_is_denied() {
        let judged = |change: fn(&mut Attempt)| {
            let mut attempt = internal();
            change(&mut attempt);
            rule(&[], &attempt)
        };
        assert_eq!(judged(|_| {}), Rule::Internal);
        assert_eq!(judged(|a| a.destination = Destination::Service), Rule::Service);
        assert_eq!(judged(|a| a.destination = Destination::Unknown), Rule::UnknownDestination);
        assert_eq!(judged(|a| a.destination = outside()), Rule::NotAllowedClass);
        assert_eq!(judged(|a| a.responsible = None), Rule::NobodyResponsible);
        assert_eq!(judged(|a| a.standing = Standing::Stranger), Rule::NotProved);
        let known = |a: &mut Attempt| {
            a.standing = Standing::KnownDevice { device: DeviceId(1), registered: START };
        };
        assert_eq!(judged(known), Rule::NotProved);
        let voicemail = |a: &mut Attempt| {
            a.origin = Origin::Voicemail;
            a.destination = outside();
        };
        assert_eq!(judged(voicemail), Rule::VoicemailOutward);
    }

    #[test]
    fn a_lockdown_reaches_its_scope_and_no_further() {
        let attempt = internal();
        let of_trunk = Attempt { responsible: Some(Responsible::Trunk(TRUNK)), ..internal() };
        let of_bob = Attempt { responsible: Some(Responsible::Extension(BOB)), ..internal() };
        for scope in [Scope::Operator, Scope::Tenant(TenantId::HOUSE)] {
            for attempt in [&attempt, &of_trunk, &of_bob] {
                assert_eq!(rule(&[scope], attempt), Rule::Lockdown, "{scope:?}");
            }
        }
        for scope in [Scope::Role(ROLE), Scope::Extension(ALICE)] {
            assert_eq!(rule(&[scope], &attempt), Rule::Lockdown, "{scope:?}");
            assert_eq!(rule(&[scope], &of_bob), Rule::Internal, "{scope:?}");
            assert_eq!(rule(&[scope], &of_trunk), Rule::Internal, "{scope:?}");
        }
        assert_eq!(rule(&[Scope::Trunk(TRUNK)], &of_trunk), Rule::Lockdown);
        assert_eq!(rule(&[Scope::Trunk(TRUNK)], &attempt), Rule::Internal);
        assert_eq!(rule(&[Scope::Tenant(TenantId(9))], &attempt), Rule::Internal);
    }

    #[test]
    fn an_open_gate_asks_nothing_of_a_leg_outside() {
        let attempt = Attempt { destination: outside(), ..internal() };
        // No price, no allowed class, and locked: still only the price is missed.
        let shut = gate(policy(&[Scope::Operator]));
        let open = shut.clone().dangerously_open(true);
        let mut ledger = Ledger::default();
        let denied = |gate: &Gate, ledger: &Ledger| match gate.judge(at(START), &attempt, ledger) {
            Verdict::Denial(denial) => Some(denial.decision.rule),
            Verdict::Permit(_) | Verdict::NeedPin(_) | Verdict::NeedReserve(_) => None,
        };
        assert_eq!(denied(&shut, &ledger), Some(Rule::Lockdown));
        assert_eq!(denied(&open, &ledger), Some(Rule::NoPrice));
        let number =
            DialPlan::new(Country::US).read(&Digits::parse("+442079460123").expect("digits"));
        let attempt = Attempt { destination: Destination::Outside(number), ..internal() };
        let Verdict::NeedReserve(request) = open.judge(at(START), &attempt, &ledger) else {
            panic!("nothing stands before it");
        };
        let rate = request.rate().clone();
        assert!(open.reserve(at(START), request, &mut ledger).is_ok());
        let next = open.extend(at(START), &attempt, &rate, &mut ledger);
        assert_eq!(next, Ok(Paid { seconds: u64::MAX, held: Money::ZERO }));
    }

    #[test]
    fn help_is_guaranteed_to_known_devices_for_thirty_days() {
        let judged = |registered_days_ago: u32, open: bool| {
            let standing = Standing::KnownDevice { device: DeviceId(1), registered: START };
            let attempt = Attempt { standing, destination: emergency(), ..internal() };
            let policy = policy(&[Scope::Operator]).next(|p| p.emergency_for_strangers = open);
            let verdict = gate(policy).judge(
                at(START + DAY * registered_days_ago),
                &attempt,
                &Ledger::default(),
            );
            matches!(verdict, Verdict::Permit(_))
        };
        assert!(judged(0, false));
        assert!(judged(30, false));
        assert!(!judged(31, false));
        assert!(judged(31, true));
        // The clock stepped back behind the registration: emergency fails open.
        let standing = Standing::KnownDevice { device: DeviceId(1), registered: START };
        let attempt = Attempt { standing, destination: emergency(), ..internal() };
        let verdict = gate(policy(&[])).judge(at(Utc(0)), &attempt, &Ledger::default());
        assert!(matches!(verdict, Verdict::Permit(_)));
    }

    #[test]
    fn strangers_get_help_only_where_the_owner_opened_it() {
        let stranger =
            Attempt { standing: Standing::Stranger, destination: emergency(), ..internal() };
        assert_eq!(rule(&[], &stranger), Rule::EmergencyStranger);
        let open = policy(&[Scope::Operator]).next(|policy| policy.emergency_for_strangers = true);
        let verdict = gate(open).judge(at(START), &stranger, &Ledger::default());
        assert!(matches!(verdict, Verdict::Permit(_)));
    }

    fn to(number: &str, class: Class, country: Option<&str>) -> Destination {
        let country = country.map(|code| code.parse().expect("capitals"));
        Destination::Outside(Outside::new(Digits::parse(number).expect("digits"), class, country))
    }

    fn national() -> Destination {
        to("+12125550100", Class::National, Some("US"))
    }

    /// A gate at whose deck a national minute costs 0.06, in wholes of 10 seconds after the first 30.
    fn priced(change: impl FnOnce(&mut Policy)) -> Gate {
        let policy = policy(&[]).next(change);
        let text = "prefix,price,connect,increment\n1212,0.06,0,30/10\n";
        let deck = RateDeck::import(text.as_bytes(), policy.currency, 1).expect("a deck");
        Gate::new(policy, Arc::new(deck))
    }

    fn budget(policy: &mut Policy, hard: i64) {
        let (of, window) = (Account::Operator, Window::Day);
        policy.budgets = vec![Budget { of, window, soft: None, hard: Some(Money(hard)) }];
    }

    fn request(gate: &Gate, attempt: &Attempt, ledger: &Ledger) -> ReserveRequest {
        match gate.judge(sunday(), attempt, ledger) {
            Verdict::NeedReserve(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn open(gate: &Gate, attempt: &Attempt, ledger: &mut Ledger) -> (Rate, Paid) {
        let request = request(gate, attempt, ledger);
        let told = (request.rate().clone(), request.first());
        let permit = gate.reserve(sunday(), request, ledger).expect("judged a moment ago");
        assert_eq!((permit.leg(), permit.decision().rule), (attempt.leg, Rule::Outside));
        assert_eq!(ledger.paid(attempt.leg), Some(told.1));
        told
    }

    #[test]
    fn the_rules_are_asked_in_their_order() {
        let mut attempt = Attempt {
            origin: Origin::Voicemail,
            responsible: None,
            standing: Standing::Stranger,
            ..calls_from_alice(to("+37190555010", Class::Premium, Some("LV")))
        };
        // Everything is wrong; each mended thing shows the next.
        let mut policy = (*policy(&[Scope::Operator])).clone();
        policy.roles.insert(
            ROLE,
            Role {
                classes: [Class::National].into(),
                hours: Hours::never(),
                calls_max: 0,
                calls_per_hour: 0,
                longest: Duration::ZERO,
                price_max: Money::ZERO,
                ..Role::staff()
            },
        );
        budget(&mut policy, 0);
        policy.currency = "XTS".parse().expect("capitals");
        let mut found = Vec::new();
        for step in 0..14 {
            let role = policy.roles.get_mut(&ROLE).expect("inserted");
            match step {
                0 => {}
                1 => policy.lockdown = Lockdown::default(),
                2 => attempt.standing = Standing::Proved(Proof::ClientCertificate),
                3 => attempt.responsible = Some(Responsible::Extension(ALICE)),
                4 => attempt.origin = Origin::Forward,
                5 => drop(role.classes.insert(Class::Premium)),
                6 => drop(role.countries.insert("LV".parse().expect("capitals"))),
                7 => role.hours = Hours::always(),
                8 => role.calls_per_hour = 1,
                9 => role.calls_max = 1,
                10 => policy.currency = "USD".parse().expect("capitals"),
                11 => role.price_max = Money(20_000_000),
                12 => role.longest = Duration::from_secs(1),
                _ => policy.budgets.clear(),
            }
            let gate = gate(Arc::new(policy.clone()));
            let rule = match gate.judge(sunday(), &attempt, &Ledger::default()) {
                Verdict::Denial(denial) => denial.decision.rule,
                Verdict::NeedReserve(_) => Rule::Outside,
                other => panic!("{other:?}"),
            };
            assert_eq!(gate.explain(sunday(), &attempt, &Ledger::default()).decision.rule, rule);
            found.push(rule);
        }
        let elsewhere = [
            Rule::Emergency,
            Rule::EmergencyStranger,
            Rule::Internal,
            Rule::Service,
            Rule::UnknownDestination,
        ];
        let asked = Rule::ALL.into_iter().filter(|rule| !elsewhere.contains(rule));
        assert_eq!(found, asked.collect::<Vec<_>>());
    }

    #[test]
    fn only_an_extension_pays_and_voicemail_never_dials_out() {
        let all = [
            Origin::Phone,
            Origin::Forward,
            Origin::RingGroup,
            Origin::Transfer,
            Origin::Refer,
            Origin::Redirect,
            Origin::TrunkToTrunk,
            Origin::Alert,
        ];
        for origin in all {
            let of = |responsible| Attempt {
                origin,
                responsible: Some(responsible),
                ..calls_from_alice(national())
            };
            let gate = priced(|_| {});
            let verdict =
                gate.judge(sunday(), &of(Responsible::Extension(ALICE)), &Ledger::default());
            assert!(matches!(verdict, Verdict::NeedReserve(_)), "{origin:?}");
            for nobody in [Responsible::Trunk(TRUNK), Responsible::System] {
                let verdict = gate.judge(sunday(), &of(nobody), &Ledger::default());
                let Verdict::Denial(denial) = verdict else { panic!("{origin:?} {nobody:?}") };
                assert_eq!(denial.decision.rule, Rule::NobodyResponsible);
            }
        }
    }

    #[test]
    fn a_number_abroad_needs_its_country_whatever_its_class() {
        let judged = |destination: Destination| {
            let gate = priced(|policy| {
                let role = policy.roles.get_mut(&ROLE).expect("inserted");
                let classes = Class::ALL.into_iter().filter(|class| *class != Class::Satellite);
                role.classes = classes.collect();
                role.countries = ["CA".parse().expect("capitals")].into();
                role.price_max = Money(20_000_000);
                policy.budgets.clear();
            });
            match gate.judge(sunday(), &calls_from_alice(destination), &Ledger::default()) {
                Verdict::Denial(denial) => denial.decision.rule,
                Verdict::NeedReserve(_) => Rule::Outside,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(judged(national()), Rule::Outside);
        assert_eq!(judged(to("+14165550100", Class::NanpAbroad, Some("CA"))), Rule::Outside);
        assert_eq!(
            judged(to("+18765550100", Class::NanpAbroad, Some("JM"))),
            Rule::NotAllowedCountry
        );
        assert_eq!(judged(to("+37126555010", Class::Mobile, Some("LV"))), Rule::NotAllowedCountry);
        assert_eq!(
            judged(to("+883510055501", Class::International, None)),
            Rule::NotAllowedCountry
        );
        assert_eq!(judged(to("+881605550100", Class::Satellite, None)), Rule::NotAllowedClass);
        // A role that names it allows nothing unknown all the same.
        assert_eq!(judged(to("+12125550100", Class::Unknown, Some("US"))), Rule::NotAllowedClass);
    }

    #[test]
    fn a_first_step_is_a_minute_or_as_many_increments_as_fit() {
        let first = |hard: i64| {
            let gate = priced(|policy| budget(policy, hard));
            match gate.judge(sunday(), &calls_from_alice(national()), &Ledger::default()) {
                Verdict::NeedReserve(request) => {
                    Ok((request.first().seconds, request.first().held.0))
                }
                Verdict::Denial(denial) => Err((denial.decision.rule, denial.figures)),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(first(1_000_000), Ok((60, 60_000)));
        assert_eq!(first(60_000), Ok((60, 60_000)));
        assert_eq!(first(59_999), Ok((50, 50_000)));
        assert_eq!(first(30_000), Ok((30, 30_000)));
        let bucket = Bucket { account: Scope::Operator, window: Window::Day, begin: 1_795_305_600 };
        let (spent, limit, needed) = (Money::ZERO, Money(29_999), Money(30_000));
        let figures = Some(Figures::Budget { bucket, spent, limit, needed });
        assert_eq!(first(29_999), Err((Rule::Budget, figures)));
    }

    #[test]
    fn a_leg_that_is_up_is_paid_by_steps_until_nothing_fits() {
        let gate = priced(|policy| budget(policy, 145_000));
        let (attempt, mut ledger) = (calls_from_alice(national()), Ledger::default());
        let (rate, first) = open(&gate, &attempt, &mut ledger);
        assert_eq!(first, Paid { seconds: 60, held: Money(60_000) });
        let mut next = || gate.extend(sunday(), &attempt, &rate, &mut ledger);
        assert_eq!(next(), Ok(Paid { seconds: 120, held: Money(120_000) }));
        assert_eq!(next(), Ok(Paid { seconds: 140, held: Money(140_000) }));
        assert_eq!(next().map_err(|denial| denial.decision.rule), Err(Rule::Budget));
        assert_eq!(ledger.paid(attempt.leg), Some(Paid { seconds: 140, held: Money(140_000) }));
    }

    #[test]
    fn no_more_is_held_than_the_longest_call_costs() {
        let gate = priced(|policy| {
            policy.roles.get_mut(&ROLE).expect("inserted").longest = Duration::from_secs(75);
        });
        let (attempt, mut ledger) = (calls_from_alice(national()), Ledger::default());
        let (rate, _) = open(&gate, &attempt, &mut ledger);
        let mut next = || gate.extend(sunday(), &attempt, &rate, &mut ledger);
        assert_eq!(next(), Ok(Paid { seconds: 75, held: Money(80_000) }));
        assert_eq!(next().map_err(|denial| denial.decision.rule), Err(Rule::Longest));
    }

    #[test]
    fn a_reservation_is_judged_anew() {
        let gate = priced(|policy| budget(policy, 100_000));
        let mut ledger = Ledger::default();
        let one = calls_from_alice(national());
        let other = Attempt { leg: LegId(3), ..calls_from_alice(national()) };
        // Both are judged before either is reserved, and there is money for one.
        let (first, second) = (request(&gate, &one, &ledger), request(&gate, &other, &ledger));
        gate.reserve(sunday(), first, &mut ledger).expect("there is money");
        let before = ledger.clone();
        let denial = gate.reserve(sunday(), second, &mut ledger).expect_err("there is none left");
        assert_eq!(denial.decision.rule, Rule::Budget);
        assert!(ledger.hold(other.leg).is_none());
        assert_eq!(ledger.attempts(sunday(), ALICE), before.attempts(sunday(), ALICE));
        assert!(ledger.poll_note().is_some_and(|note| note.crossing == Crossing::Hard));
        // A leg that has a hold is no new leg.
        let Verdict::Denial(denial) = gate.judge(sunday(), &one, &ledger) else { panic!("twice") };
        assert_eq!(denial.decision.rule, Rule::Concurrency);
    }

    #[test]
    fn a_changed_policy_reaches_calls_that_are_up() {
        let gate = priced(|_| {});
        let (attempt, mut ledger) = (calls_from_alice(national()), Ledger::default());
        let (rate, _) = open(&gate, &attempt, &mut ledger);
        let review = |change: fn(&mut Policy), ledger: &mut Ledger| {
            let gate = priced(change);
            let reviewed = gate.review(sunday(), &attempt, &rate, ledger);
            let extended = gate.extend(sunday(), &attempt, &rate, ledger).map(|_| ());
            assert_eq!(reviewed, extended);
            reviewed.map_err(|denial| denial.decision.rule)
        };
        fn role(policy: &mut Policy) -> &mut Role {
            policy.roles.get_mut(&ROLE).expect("inserted")
        }
        assert_eq!(review(|_| {}, &mut ledger), Ok(()));
        type Change = fn(&mut Policy);
        let cases: [(Change, Rule); 6] = [
            (|p| p.lockdown.add(Scope::Role(ROLE)), Rule::Lockdown),
            (|p| role(p).classes.clear(), Rule::NotAllowedClass),
            (|p| p.home = "GB".parse().expect("capitals"), Rule::NotAllowedCountry),
            (|p| role(p).hours = Hours::never(), Rule::Hours),
            (|p| role(p).calls_max = 0, Rule::Concurrency),
            (|p| role(p).price_max = Money(59_999), Rule::TooDear),
        ];
        for (change, rule) in cases {
            assert_eq!(review(change, &mut ledger), Err(rule));
        }
        // Attempts of the past don't end it.
        assert_eq!(review(|p| role(p).calls_per_hour = 0, &mut ledger), Ok(()));
    }

    #[test]
    fn attempts_count_for_an_hour_and_lines_while_they_are_up() {
        let gate = priced(|policy| {
            let role = policy.roles.get_mut(&ROLE).expect("inserted");
            (role.calls_max, role.calls_per_hour) = (2, 3);
        });
        let mut ledger = Ledger::default();
        let leg = |leg: u128| Attempt { leg: LegId(leg), ..calls_from_alice(national()) };
        let judged =
            |now: Now, number: u128, ledger: &Ledger| match gate.judge(now, &leg(number), ledger) {
                Verdict::Denial(denial) => denial.decision.rule,
                Verdict::NeedReserve(_) => Rule::Outside,
                other => panic!("{other:?}"),
            };
        let (rate, _) = open(&gate, &leg(1), &mut ledger);
        open(&gate, &leg(2), &mut ledger);
        assert_eq!(judged(sunday(), 3, &ledger), Rule::Concurrency);
        // Its own line is no other's, and its attempt was counted.
        gate.extend(sunday(), &leg(1), &rate, &mut ledger).expect("it is up already");
        ledger.settle(LegId(2), Money::ZERO);
        open(&gate, &leg(3), &mut ledger);
        ledger.settle(LegId(3), Money::ZERO);
        assert_eq!(judged(sunday(), 4, &ledger), Rule::Rate);
        // The wall clock may jump; an hour is an hour.
        let hour = Duration::from_secs(3_600);
        assert_eq!(judged(Now { utc: START + hour, ..sunday() }, 4, &ledger), Rule::Rate);
        let later = Now { instant: sunday().instant + hour, ..sunday() };
        assert_eq!(judged(later, 4, &ledger), Rule::Outside);
    }

    #[test]
    fn names_of_rules_are_those_of_serde() {
        for rule in Rule::ALL {
            let json = serde_json::to_value(rule).expect("a string");
            assert_eq!(json, rule.name());
            assert_eq!(Rule::from_name(rule.name()), Some(rule));
        }
        let mut names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        prop_oneof![
            Just(Scope::Operator),
            Just(Scope::Tenant(TenantId::HOUSE)),
            Just(Scope::Role(ROLE)),
            Just(Scope::Extension(ALICE)),
            Just(Scope::Trunk(TRUNK)),
        ]
    }

    fn origins() -> impl Strategy<Value = Origin> {
        prop_oneof![
            Just(Origin::Phone),
            Just(Origin::Forward),
            Just(Origin::RingGroup),
            Just(Origin::Transfer),
            Just(Origin::Refer),
            Just(Origin::Redirect),
            Just(Origin::Inbound),
            Just(Origin::TrunkToTrunk),
            Just(Origin::Voicemail),
            Just(Origin::Alert),
        ]
    }

    fn responsibles() -> impl Strategy<Value = Option<Responsible>> {
        prop_oneof![
            Just(None),
            Just(Some(Responsible::Extension(ALICE))),
            Just(Some(Responsible::Trunk(TRUNK))),
            Just(Some(Responsible::System)),
        ]
    }

    fn known_standings() -> impl Strategy<Value = Standing> {
        prop_oneof![
            Just(Standing::Proved(Proof::Digest(Algorithm::Md5))),
            Just(Standing::Proved(Proof::ClientCertificate)),
            Just(Standing::Ourselves),
            (0..=30u32).prop_map(|days| Standing::KnownDevice {
                device: DeviceId(1),
                registered: Utc(START.0 - i64::from(days) * 86_400_000_000),
            }),
        ]
    }

    fn standings() -> impl Strategy<Value = Standing> {
        prop_oneof![known_standings(), Just(Standing::Stranger)]
    }

    fn destinations() -> impl Strategy<Value = Destination> {
        prop_oneof![
            Just(Destination::Extension(BOB)),
            Just(Destination::Service),
            Just(outside()),
            Just(Destination::Unknown),
        ]
    }

    proptest! {
        // Invariant 2: no lockdown, origin or missing payer stands before a call for help.
        #[test]
        fn emergency_passes_every_lockdown(
            lockdown in proptest::collection::vec(scopes(), 0..6),
            origin in origins(),
            responsible in responsibles(),
            standing in known_standings(),
        ) {
            let destination = emergency();
            let attempt = Attempt { origin, responsible, standing, destination, ..internal() };
            prop_assert_eq!(rule(&lockdown, &attempt), Rule::Emergency);
        }

        // Nothing outside is permitted without money set aside, and nothing at all to strangers.
        #[test]
        fn judging_permits_nothing_that_costs_money(
            lockdown in proptest::collection::vec(scopes(), 0..3),
            origin in origins(),
            responsible in responsibles(),
            standing in standings(),
            destination in destinations(),
        ) {
            let attempt = Attempt { origin, responsible, standing, destination, ..internal() };
            let rule = rule(&lockdown, &attempt);
            if rule.permits() {
                prop_assert!(matches!(attempt.destination, Destination::Extension(_) | Destination::Service));
                prop_assert!(matches!(attempt.standing, Standing::Proved(_) | Standing::Ourselves));
                prop_assert!(attempt.responsible.is_some());
                prop_assert!(!lockdown.contains(&Scope::Operator));
            }
        }

        // The fixed order: a rule decides only where none before it applies.
        #[test]
        fn lockdown_is_asked_before_all_but_emergency(
            origin in origins(),
            responsible in responsibles(),
            standing in standings(),
            destination in destinations(),
        ) {
            let attempt = Attempt { origin, responsible, standing, destination, ..internal() };
            prop_assert_eq!(rule(&[Scope::Operator], &attempt), Rule::Lockdown);
        }
    }
}
