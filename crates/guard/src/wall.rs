//! The wall: counts failures, holds pairs, bans sources, and says which sources are somebody's.
//!
//! Two measures for two wrongs. Whoever guesses at one account is *held*: the pair of its source and that
//! account (and the device it claims to be) is not compared with a secret any more, and hears what everybody
//! hears. Nobody else notices: not the account, not its registered phone, not the next desk in
//! the same office. Whoever tries many accounts is *banned* as a source, if it is nobody's: no phone
//! is registered there, no carrier is there, nobody signed in from there within thirty days. A source
//! with such standing is never banned; it is slowed down, and only where devices are concerned that were
//! never seen there.
//!
//! A ban needs proof that the source is where it says. A wrong response proves it by itself: its nonce
//! was bound to the address, so the challenge was read there. A request without credentials proves it on a
//! connection only; over UDP it is counted, and nothing follows.
//!
//! What it will miss: a guesser with a thousand addresses has five guesses on each. Only strong
//! secrets stop that, which is why they are generated.
//!
//! Drive it by asking; then drain [`Wall::poll_effect`], and call [`Wall::expire`] at
//! [`Wall::poll_timeout`]. Tables are bounded as [`bounded`] says.

mod ban;
mod bounded;
mod lane;
mod pair;
mod scanner;
mod standing;
mod suspect;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pure::{Instant, Now, Utc};

pub use ban::{BAN_FIRST, BAN_MAX, BAN_SCANNER, Ban, BanCause, Protected};
pub use pair::{
    FAILURES_MAX, FAILURES_WITHIN, HOLD_FIRST, HOLD_MAX, PEACE, Pair, SPARE_AT_ONCE, SPARE_EVERY,
    SPARE_EVERY_UNKNOWN, Who,
};
pub use scanner::scanner;
pub use standing::STANDING;
pub use suspect::{SCANNING_MAX, SLOW_EVERY, SLOW_MAX, SPRAYING_MAX};

use crate::admission::Change;
use crate::fact::{self, Fact, Lifted, Seconds};
use crate::id::{ExtensionId, TenantId};
use crate::pii::Pii;
use crate::source::Source;
use crate::tally::{Line, Tally};
use bounded::Bounded;
use pair::Failures;
use standing::Standings;
use suspect::Suspect;

/// See the module.
#[derive(Debug)]
pub struct Wall {
    /// A test may show what happens without it.
    off: bool,
    pairs: Bounded<Pair, Failures>,
    /// The same of accounts that don't exist. They have a table of their own: whoever invents names pushes
    /// out no line of an account that somebody can guess at.
    nobodies: Bounded<Pair, Failures>,
    suspects: Bounded<Source, Suspect>,
    bans: Bounded<Source, Standstill>,
    standings: Standings,
    /// What the gate before the parser was told to trust.
    trusted: BTreeSet<Source>,
    /// Scanners seen, so that a thousand written addresses are no thousand lines.
    scanners: Tally,
    effects: VecDeque<Effect>,
}

/// What the wall wants done. In order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    Admission(Change),
    /// To be stored, in place of a former one of its source.
    Keep(Ban),
    /// To be stored no longer.
    Forget(Source),
    /// Connections from there are to be closed.
    Close(Source),
    Fact {
        tenant: Option<TenantId>,
        fact: Fact,
    },
}

/// A pair that is held, for administrators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub pair: Pair,
    pub since: Utc,
    pub until: Utc,
    pub times: u32,
    /// Wrong secrets that were compared, since it last was in peace for a day.
    pub compared: u32,
    /// Why this source is somebody's: a phone of the house, or somebody in it, more likely than a thief.
    pub home: Option<Protected>,
}

/// A source with standing whose unknown devices wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slowed {
    pub source: Source,
    pub since: Utc,
    /// It failed for so many accounts.
    pub accounts: u32,
    pub until: Utc,
}

#[derive(Debug)]
struct Standstill {
    ban: Ban,
    until: Instant,
}

impl Wall {
    /// `bans`: what the store held. Those that are over are forgotten.
    pub fn new(now: Now, off: bool, bans: Vec<Ban>) -> Self {
        let mut wall = Self {
            off,
            pairs: Bounded::new(PAIRS_MAX),
            nobodies: Bounded::new(NOBODIES_MAX),
            suspects: Bounded::new(SUSPECTS_MAX),
            bans: Bounded::new(BANS_MAX),
            standings: Standings::default(),
            trusted: BTreeSet::new(),
            scanners: Tally::default(),
            effects: VecDeque::new(),
        };
        for ban in bans.into_iter().filter(|_| !off) {
            if ban.until <= now.utc {
                wall.effects.push_back(Effect::Forget(ban.source));
                continue;
            }
            wall.suspect(now.instant, ban.source, |suspect| suspect.bans = ban.times);
            wall.place(now, ban);
        }
        wall
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.bans.next_end(), self.standings.next_end()].into_iter().flatten().min()
    }

    /// What is over.
    pub fn expire(&mut self, now: Now) {
        while let Some((source, _)) = self.bans.expire(now.instant) {
            self.lifted(source, Lifted::Expired);
        }
        while let Some(source) = self.standings.expire(now.instant) {
            self.review(source);
        }
        self.forget(now.instant);
    }

    // Questions.

    pub fn is_banned(&self, now: Instant, source: Source) -> bool {
        self.bans.get(&source).is_some_and(|still| now < still.until)
    }

    pub fn standing(&self, source: Source) -> Option<Protected> {
        self.standings.of(source)
    }

    /// Whether what this pair says may be compared with a secret. Ask only where its nonce is good: a
    /// comparison may be one of a few. `help`: it is a call for help from where a device is known. Where its
    /// own extension is at home nothing counts them: whoever guesses there could else keep a phone with the
    /// right secret from help, and tells us of each guess.
    pub fn may_compare(&mut self, now: Instant, pair: &Pair, help: bool) -> bool {
        if self.off {
            return true;
        }
        let excused = help || pair.who.is_known();
        let spares = excused || pair.who == Who::Home;
        let line = match self.pairs.get(pair) {
            Some(_) => self.pairs.get_mut(pair),
            None => self.nobodies.get_mut(pair),
        };
        if let Some(failures) = line
            && failures.held(now).is_some()
        {
            return help && pair.who != Who::Unknown || spares && failures.spare(now);
        }
        excused || self.suspects.get_mut(&pair.source).is_none_or(|found| found.may_compare(now))
    }

    // What happened.

    /// A wrong response to a good nonce. `compared`: with a secret, as [`Wall::may_compare`] said. `exists`:
    /// whether there is such an account; sealed as ever.
    pub fn failed(&mut self, now: Now, pair: Pair, compared: bool, exists: bool) {
        if self.off {
            return;
        }
        self.forget(now.instant);
        let held = self.count(now.instant, &pair, compared, exists);
        if let Some(span) = held {
            let fact = Fact::GuessingHeld {
                failures: FAILURES_MAX as u32,
                seconds: Seconds(span.as_secs()),
                known_device: pair.who.is_known(),
                account: pair.account.as_ref().into(),
                account_exists: Pii::new(Some(exists)),
                address: pair.source.ip().into(),
            };
            self.effects.push_back(Effect::Fact { tenant: Some(pair.tenant), fact });
        }
        let account = Arc::clone(&pair.account);
        let many =
            self.suspect(now.instant, pair.source, |found| found.failed(now.instant, &account));
        if let Some(accounts) = many {
            let slowed = fact::Slowed(self.standing(pair.source).is_some());
            let fact = Fact::SprayingSeen { accounts, slowed, address: pair.source.ip().into() };
            self.effects.push_back(Effect::Fact { tenant: None, fact });
            self.shut_out(now, pair.source, BanCause::Spraying { accounts });
        }
    }

    /// A right response.
    pub fn succeeded(&mut self, now: Now, pair: &Pair, extension: ExtensionId) {
        // A phone that came back into an office where somebody guesses at it doesn't begin his count anew.
        let held = self.pairs.get(pair).is_some_and(|found| found.held(now.instant).is_some());
        if pair.who != Who::Home || !held {
            self.pairs.remove(pair);
        }
        if let Some(suspect) = self.suspects.get_mut(&pair.source) {
            suspect.succeeded(&pair.account);
        }
        self.stands(now, pair.source, extension, Duration::ZERO);
    }

    /// A request without credentials, which will be challenged. `proved`: it came on a connection.
    pub fn asked(&mut self, now: Now, source: Source, account: &str, proved: bool) {
        if self.off || account.is_empty() || self.is_banned(now.instant, source) {
            return;
        }
        let account = Arc::from(account);
        let many = self.suspect(now.instant, source, |found| found.asked(now.instant, &account));
        if let Some(accounts) = many {
            self.scanner_seen(now.instant, source, &BanCause::Scanning { accounts }, proved);
            if proved {
                self.shut_out(now, source, BanCause::Scanning { accounts });
            }
        }
    }

    /// It answers a challenge: that account was not merely asked for.
    pub fn answered(&mut self, source: Source, account: &str) {
        if let Some(suspect) = self.suspects.get_mut(&source) {
            suspect.answered(&Arc::from(account));
        }
    }

    /// It calls itself an attack tool. Whether it is to be treated as one.
    pub fn scanner(&mut self, now: Now, source: Source, tool: &str, proved: bool) -> bool {
        if self.off || self.standing(source).is_some() {
            return false;
        }
        let cause = BanCause::Scanner { agent: tool.to_owned() };
        let first = self.suspects.get(&source).is_none_or(|suspect| !suspect.is_tool(now.instant));
        self.suspect(now.instant, source, |suspect| suspect.tool(now.instant));
        if first {
            self.scanner_seen(now.instant, source, &cause, proved);
        }
        if proved {
            self.shut_out(now, source, cause);
        }
        true
    }

    // Standing.

    /// Somebody of this extension signed in from there, so long ago.
    pub fn stands(&mut self, now: Now, source: Source, extension: ExtensionId, ago: Duration) {
        let until = now.instant + STANDING.saturating_sub(ago);
        self.standings.succeeded(source, extension, until);
        self.review(source);
    }

    /// A phone is registered there from now on.
    pub fn bound(&mut self, source: Source) {
        self.standings.bound(source);
        self.review(source);
    }

    pub fn unbound(&mut self, source: Source) {
        self.standings.unbound(source);
        self.review(source);
    }

    /// Where carriers are, all of them.
    pub fn carriers(&mut self, carriers: BTreeSet<Source>) {
        for source in self.standings.carriers(carriers) {
            self.review(source);
        }
    }

    /// The extension is gone, or has another secret: what was signed in with the old one says nothing any
    /// more, and what failed may try the new one.
    pub fn renewed(&mut self, extension: ExtensionId, tenant: TenantId, account: &str) {
        for source in self.standings.disown(extension) {
            self.review(source);
        }
        let of = |pair: &Pair| pair.tenant == tenant && *pair.account == *account;
        self.pairs.take(|pair, _| of(pair));
        self.nobodies.take(|pair, _| of(pair));
    }

    // Administrators.

    /// Whether an administrator may shut this source out.
    ///
    /// # Errors
    /// It is somebody's: shutting it out would shut out phones, a carrier, or the administrator.
    pub fn may_ban(&self, source: Source) -> Result<(), Protected> {
        self.standing(source).map_or(Ok(()), Err)
    }

    /// Puts a ban of an administrator's into effect, whose row and fact are written; not if somebody signed
    /// in from there meanwhile.
    pub fn ban(&mut self, now: Now, ban: Ban) {
        if self.standing(ban.source).is_some() {
            return self.lifted(ban.source, Lifted::Standing);
        }
        self.place(now, ban);
    }

    /// Forgets everything that is held against a source, or against one account from there. The row is
    /// gone and the fact is written.
    pub fn unban(&mut self, source: Source, account: Option<&str>) {
        let of = |pair: &Pair| {
            pair.source == source && account.is_none_or(|account| *pair.account == *account)
        };
        self.pairs.take(|pair, _| of(pair));
        self.nobodies.take(|pair, _| of(pair));
        match account {
            Some(account) => {
                if let Some(suspect) = self.suspects.get_mut(&source) {
                    suspect.succeeded(&Arc::from(account));
                }
            }
            None => {
                self.suspects.remove(&source);
                self.bans.remove(&source);
                self.effects.push_back(Effect::Admission(Change::Unban(source)));
            }
        }
    }

    pub fn bans(&self) -> Vec<Ban> {
        self.bans.iter().map(|(_, still)| still.ban.clone()).collect()
    }

    /// Wrong secrets of this source that were compared, as far as it is remembered.
    pub fn guesses(&self, source: Source) -> u32 {
        let all = self.pairs.iter().chain(self.nobodies.iter());
        let of_source = all.filter(|(pair, _)| pair.source == source);
        of_source.map(|(_, failures)| failures.compared).sum()
    }

    pub fn held(&self, now: Now) -> Vec<Held> {
        let held = self.pairs.iter().chain(self.nobodies.iter()).filter_map(|(pair, failures)| {
            let (since, until) = failures.held(now.instant)?;
            let since = before(now, since);
            let until = now.utc_at(until);
            let home = self.standing(pair.source);
            let Failures { times, compared, .. } = *failures;
            Some(Held { pair: pair.clone(), since, until, times, compared, home })
        });
        held.collect()
    }

    pub fn slowed(&self, now: Now) -> Vec<Slowed> {
        let slowed = self.suspects.iter().filter_map(|(source, suspect)| {
            let (since, until, accounts) = suspect.slowed(now.instant)?;
            let (since, until) = (before(now, since), now.utc_at(until));
            self.standing(*source).map(|_| Slowed { source: *source, since, until, accounts })
        });
        slowed.collect()
    }

    // Within.

    fn suspect<T>(
        &mut self,
        now: Instant,
        source: Source,
        change: impl FnOnce(&mut Suspect) -> T,
    ) -> T {
        self.forget(now);
        let mut suspect = self.suspects.remove(&source).unwrap_or_default();
        let changed = change(&mut suspect);
        let ends = suspect.ends(now);
        self.suspects.put(source, suspect, ends);
        changed
    }

    /// Bans a source, where nobody is there.
    fn shut_out(&mut self, now: Now, source: Source, cause: BanCause) {
        if self.standing(source).is_some() || self.is_banned(now.instant, source) {
            return;
        }
        let first = cause.first();
        let before = self.suspects.get(&source).map_or(0, |suspect| suspect.bans);
        let span = first.saturating_mul(1 << before.min(20)).min(BAN_MAX);
        let until = now.instant + span;
        let times = self.suspect(now.instant, source, |suspect| suspect.banned(until));
        let ban = Ban { source, cause, since: now.utc, until: now.utc + span, times, by: None };
        self.effects.push_back(Effect::Fact { tenant: None, fact: ban.placed() });
        self.effects.push_back(Effect::Keep(ban.clone()));
        self.place(now, ban);
    }

    fn place(&mut self, now: Now, ban: Ban) {
        let (source, until) = (ban.source, ban.until);
        let still = Standstill { until: now.instant + until.since(now.utc), ban };
        let ends = still.until;
        if let Some((evicted, _)) = self.bans.put(source, still, ends) {
            self.lifted(evicted, Lifted::Crowded);
        }
        self.effects.push_back(Effect::Admission(Change::Ban { source, until }));
        self.effects.push_back(Effect::Close(source));
    }

    /// Tells the gate before the parser what has become of a source, and lifts a ban that may not be.
    fn review(&mut self, source: Source) {
        let trusted = self.standing(source).is_some();
        if trusted == self.trusted.contains(&source) {
            return;
        }
        if trusted {
            if self.bans.remove(&source).is_some() {
                self.lifted(source, Lifted::Standing);
            }
            self.trusted.insert(source);
            self.effects.push_back(Effect::Admission(Change::Trust(source)));
        } else {
            self.trusted.remove(&source);
            self.effects.push_back(Effect::Admission(Change::Distrust(source)));
        }
    }

    fn lifted(&mut self, source: Source, why: Lifted) {
        self.effects.push_back(Effect::Forget(source));
        self.effects.push_back(Effect::Admission(Change::Unban(source)));
        let fact = Fact::BanLifted { why, address: source.ip().into(), actor: Pii::new(None) };
        self.effects.push_back(Effect::Fact { tenant: None, fact });
    }

    fn forget(&mut self, now: Instant) {
        while self.pairs.expire(now).is_some() {}
        while self.nobodies.expire(now).is_some() {}
        while self.suspects.expire(now).is_some() {}
    }

    /// Counts a failure where it has a line, or may have one. How long the pair is held, where this one was
    /// too many.
    fn count(
        &mut self,
        now: Instant,
        pair: &Pair,
        compared: bool,
        exists: bool,
    ) -> Option<Duration> {
        let known = self.pairs.remove(pair).or_else(|| self.nobodies.remove(pair));
        if known.is_none() && !exists {
            let first = Pair::first(pair.source);
            let lines = self.nobodies.from(&first);
            let invented = lines.take_while(|other| other.source == pair.source).count();
            if invented >= NOBODIES_PER_SOURCE_MAX {
                return None;
            }
        }
        let mut failures = known.unwrap_or_default();
        failures.compared = failures.compared.saturating_add(u32::from(compared));
        let held = failures.count(now, pair.who);
        let ends = failures.ends();
        let table = if exists { &mut self.pairs } else { &mut self.nobodies };
        table.put(pair.clone(), failures, ends);
        held
    }

    fn scanner_seen(&mut self, now: Instant, source: Source, sign: &BanCause, proved: bool) {
        self.tell(now);
        if self.scanners.admit(now, source) {
            let (sign, proved) = (sign.clone(), Some(proved));
            let fact = Fact::ScannerSeen { sign, proved, address: source.ip().into() };
            self.effects.push_back(Effect::Fact { tenant: None, fact });
        }
    }

    /// Tells of scanners that were only counted. Call it as time passes.
    pub fn tell(&mut self, now: Instant) {
        for line in self.scanners.due(now) {
            // What a source that was told went on with is the same story.
            let Line::Others { count, loudest } = line else { continue };
            let what = "scans of sources that were not told one by one".to_owned();
            let fact = Fact::StrangersSummed { what, count, loudest: loudest.ip().into() };
            self.effects.push_back(Effect::Fact { tenant: None, fact });
        }
    }
}

/// The command that lets a source try an account again. A name that a shell could read as more than a word
/// is left out: whoever chose it would choose what an administrator pastes.
pub fn undo(source: Source, account: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+');
    match !account.is_empty() && account.chars().all(plain) {
        true => format!("ringfence unban {source} --account {account}"),
        false => format!("ringfence unban {source}"),
    }
}

/// When this instant was, on the clock.
fn before(now: Now, at: Instant) -> Utc {
    Utc(now.utc.0.saturating_sub(micros(now.instant.since(at))))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Pairs that have failed within a day: some 300 bytes each, ten megabytes in all.
pub const PAIRS_MAX: usize = 32_768;
/// Pairs of accounts that don't exist: nothing is compared with them, their lines only tell of them.
pub const NOBODIES_MAX: usize = 8_192;
/// Of one source; further names that it invents are not counted one by one.
pub const NOBODIES_PER_SOURCE_MAX: usize = 64;
/// Sources that have asked or failed within a day: some kilobytes each at the worst.
pub const SUSPECTS_MAX: usize = 8_192;
/// Sources that are shut out at once.
pub const BANS_MAX: usize = 16_384;

#[cfg(test)]
mod tests;
