//! The gate before the parser: a packet is let in or dropped by its source alone.
//!
//! There are lanes, not fairness. A banned source is not heard. A trusted one (a carrier, a source with a
//! binding, one that succeeded lately) never waits behind strangers; it has a rate of its own, far above
//! what any house needs, so that one that floods leaves room for the others. Strangers have a rate each
//! and a total, and are slowed down there, never shut out: an address on UDP can be written by anybody.
//!
//! Nothing is copied, queued or read before [`Admission::admit`] has said yes, and whatever a source does
//! (a datagram, a connection, a message on a connection that has proved nothing) costs it one packet.
//!
//! Drive it so: [`Admission::apply`] each [`Change`] at once and in order, [`Admission::admit`] each packet,
//! [`Admission::expire`] about once a minute.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use pure::{HashSeed, Instant, Map, Now, Utc};

use crate::source::Source;

/// What is to be known of a source from now on: in the process, and in the kernel where there is one
/// to tell. Each replaces what was known before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A carrier, a source with a binding, or one that succeeded lately: it passes by strangers.
    Trust(Source),
    /// No longer; it is a stranger again.
    Distrust(Source),
    /// Nothing of it is read until then. Never said of a source that is trusted.
    Ban { source: Source, until: Utc },
    /// At once, whatever the kernel held.
    Unban(Source),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Pass(Lane),
    Drop(Reason),
}

/// Whose share of the queue a packet takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    Trusted,
    Stranger,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Banned,
    /// More than its own rate, a stranger's or a trusted one's.
    SourceRate,
    /// More than all strangers together may send.
    StrangersTotal,
}

/// So many at once, and so many a second after that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Admission {
    /// What was told: sources that are trusted or banned.
    told: Map<Source, Told>,
    trusted: usize,
    /// When each ban ends.
    bans: BTreeSet<(Utc, Source)>,
    strangers: Map<Source, Bucket>,
    /// The strangers in the order in which they came, or were looked at last.
    order: VecDeque<Source>,
    /// Of strangers who found no place in the table.
    crowd: Bucket,
    total: Bucket,
    counts: Counts,
    /// As they were when they were reported last.
    reported: Counts,
    loudest: Loudest,
    /// Everything passes: a test shows what this gate is worth.
    open: bool,
}

/// What passed and what did not, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub trusted: u64,
    pub strangers: u64,
    pub dropped_banned: u64,
    pub dropped_source_rate: u64,
    pub dropped_strangers_total: u64,
}

/// What was dropped since the last report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shed {
    pub banned: u64,
    pub source_rate: u64,
    pub strangers_total: u64,
    /// The source of at least a tenth of it, where one stands out.
    pub loudest: Option<Source>,
}

#[derive(Debug)]
enum Told {
    Trusted(Bucket),
    Banned { until: Utc },
}

impl Admission {
    /// A phone system of forty phones that comes back after a power cut sends some two hundred packets in
    /// its first second, and a carrier with fifty calls a second some five hundred a second: neither comes
    /// near. It is a fifth of what the exchange takes, so four more sources find room beside one that floods.
    pub const TRUSTED: Rate = Rate { per_second: 2_000, burst: 1_000 };
    /// Sixty phones that sign in for the first time at once, from one address, with three packets each
    /// (connection, question, answer to the challenge); the first that succeeds makes the source trusted.
    pub const STRANGER: Rate = Rate { per_second: 20, burst: 200 };
    /// A request that is answered may be remembered for 32 s (RFC 3261, Timer J): at this rate strangers
    /// together fill less than the table of transactions (`Settings::transactions_max`), whatever they send.
    pub const STRANGERS: Rate = Rate { per_second: 200, burst: 400 };
    /// Half of the total: strangers in the table keep the other half.
    pub const CROWD: Rate = Rate { per_second: 100, burst: 200 };
    /// About 2 MiB. A source leaves when its bucket is full again, which after one packet takes 50 ms, so
    /// 50,000 packets a second from as many sources keep 2,500. At the bound a newcomer has no bucket
    /// of its own and shares [`Admission::CROWD`] with the others.
    pub const STRANGERS_MAX: usize = 16_384;
    /// Sources of every device and carrier of a large node. At the bound a further one stays a stranger.
    pub const TRUSTED_MAX: usize = 65_536;
    /// What is banned beyond is heard at a stranger's rate, and judged where requests are.
    pub const BANS_MAX: usize = 65_536;

    pub fn new(seed: HashSeed) -> Self {
        Self {
            told: Map::new(seed),
            trusted: 0,
            bans: BTreeSet::new(),
            strangers: Map::new(seed),
            order: VecDeque::new(),
            crowd: Bucket::default(),
            total: Bucket::default(),
            counts: Counts::default(),
            reported: Counts::default(),
            loudest: Loudest::default(),
            open: false,
        }
    }

    /// Lets everything pass from now on.
    pub fn dangerously_open(&mut self) {
        self.open = true;
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Trust(source) => {
                let known = matches!(self.told.get(&source), Some(Told::Trusted(_)));
                if !known && self.trusted < Self::TRUSTED_MAX {
                    self.forget(source);
                    self.trusted += 1;
                    self.told.insert(source, Told::Trusted(Bucket::default()));
                }
            }
            Change::Distrust(source) => {
                if let Some(Told::Trusted(_)) = self.told.get(&source) {
                    self.forget(source);
                }
            }
            Change::Ban { source, until } => {
                let trusted = matches!(self.told.get(&source), Some(Told::Trusted(_)));
                debug_assert!(!trusted, "a trusted source is never banned");
                if trusted {
                    return;
                }
                self.forget(source);
                if self.bans.len() < Self::BANS_MAX {
                    self.bans.insert((until, source));
                    self.told.insert(source, Told::Banned { until });
                }
            }
            Change::Unban(source) => {
                if let Some(Told::Banned { .. }) = self.told.get(&source) {
                    self.forget(source);
                }
            }
        }
    }

    /// One packet of this source, or whatever else of it costs work; what doesn't pass is dropped.
    pub fn admit(&mut self, now: Now, source: Source) -> Verdict {
        let verdict = self.ask(now, source);
        if let Verdict::Drop(reason) = verdict {
            let count = match reason {
                Reason::Banned => &mut self.counts.dropped_banned,
                Reason::SourceRate => &mut self.counts.dropped_source_rate,
                Reason::StrangersTotal => &mut self.counts.dropped_strangers_total,
            };
            *count += 1;
            self.loudest.count(source);
        }
        verdict
    }

    /// As [`Admission::admit`], for what is not dropped but asks again.
    pub fn ask(&mut self, now: Now, source: Source) -> Verdict {
        let verdict =
            if self.open { Verdict::Pass(Lane::Stranger) } else { self.judge(now, source) };
        match verdict {
            Verdict::Pass(Lane::Trusted) => self.counts.trusted += 1,
            Verdict::Pass(Lane::Stranger) => self.counts.strangers += 1,
            Verdict::Drop(_) => {}
        }
        verdict
    }

    fn judge(&mut self, now: Now, source: Source) -> Verdict {
        match self.told.get_mut(&source) {
            Some(Told::Trusted(bucket)) => {
                return if bucket.take(now.instant, Self::TRUSTED) {
                    Verdict::Pass(Lane::Trusted)
                } else {
                    Verdict::Drop(Reason::SourceRate)
                };
            }
            Some(Told::Banned { until }) if *until > now.utc => {
                return Verdict::Drop(Reason::Banned);
            }
            Some(Told::Banned { .. }) => self.forget(source),
            None => {}
        }
        if !self.within_its_rate(now.instant, source) {
            return Verdict::Drop(Reason::SourceRate);
        }
        if !self.total.take(now.instant, Self::STRANGERS) {
            return Verdict::Drop(Reason::StrangersTotal);
        }
        Verdict::Pass(Lane::Stranger)
    }

    fn within_its_rate(&mut self, now: Instant, source: Source) -> bool {
        if let Some(bucket) = self.strangers.get_mut(&source) {
            return bucket.take(now, Self::STRANGER);
        }
        self.make_room(now);
        if self.strangers.len() >= Self::STRANGERS_MAX {
            return self.crowd.take(now, Self::CROWD);
        }
        let mut bucket = Bucket::default();
        let taken = bucket.take(now, Self::STRANGER);
        self.strangers.insert(source, bucket);
        self.order.push_back(source);
        taken
    }

    /// Two looks for one newcomer: what is full again goes before the table is.
    fn make_room(&mut self, now: Instant) {
        for _ in 0..2 {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.strangers.get(&oldest).is_some_and(|bucket| !bucket.is_full(now)) {
                self.order.push_back(oldest);
            } else {
                self.strangers.remove(&oldest);
            }
        }
    }

    /// Forgets bans that are over and strangers that went away.
    pub fn expire(&mut self, now: Now) {
        while let Some((until, source)) =
            self.bans.first().copied().filter(|(at, _)| *at <= now.utc)
        {
            debug_assert!(until <= now.utc, "the first ends first");
            self.forget(source);
        }
        for _ in 0..self.order.len().div_ceil(2) {
            self.make_room(now.instant);
        }
    }

    fn forget(&mut self, source: Source) {
        match self.told.remove(&source) {
            Some(Told::Trusted(_)) => self.trusted -= 1,
            Some(Told::Banned { until }) => {
                self.bans.remove(&(until, source));
            }
            None => {}
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What was dropped since this was asked last; `None`: nothing.
    pub fn shed(&mut self) -> Option<Shed> {
        let (now, before) = (self.counts, std::mem::replace(&mut self.reported, self.counts));
        let banned = now.dropped_banned - before.dropped_banned;
        let source_rate = now.dropped_source_rate - before.dropped_source_rate;
        let strangers_total = now.dropped_strangers_total - before.dropped_strangers_total;
        let sum = banned + source_rate + strangers_total;
        let loudest = std::mem::take(&mut self.loudest).above(sum.div_ceil(10));
        (sum > 0).then_some(Shed { banned, source_rate, strangers_total, loudest })
    }
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

/// When the bucket will be full again, which says all: how much is in it follows from it (GCRA).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Bucket(Instant);

impl Bucket {
    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let full = self.0.max(now) + rate.interval();
        let within = full <= now + rate.interval() * rate.burst;
        if within {
            self.0 = full;
        }
        within
    }

    fn is_full(self, now: Instant) -> bool {
        self.0 <= now
    }
}

/// Who was dropped most (Misra and Gries): what is kept of a source is what it surely had, less at most a
/// sixteenth of all.
#[derive(Default, Debug)]
struct Loudest {
    slots: [Option<(Source, u64)>; 16],
}

impl Loudest {
    fn count(&mut self, source: Source) {
        let mut free = None;
        for slot in &mut self.slots {
            match slot {
                Some((held, count)) if *held == source => {
                    *count += 1;
                    return;
                }
                Some(_) => {}
                None => free = Some(slot),
            }
        }
        if let Some(slot) = free {
            *slot = Some((source, 1));
            return;
        }
        for slot in &mut self.slots {
            if let Some((_, count)) = slot {
                *count -= 1;
                if *count == 0 {
                    *slot = None;
                }
            }
        }
    }

    fn above(self, least: u64) -> Option<Source> {
        let held = self.slots.into_iter().flatten().filter(|(_, count)| *count >= least);
        held.max_by_key(|(_, count)| *count).map(|(source, _)| source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pure::Chance;
    use std::net::IpAddr;

    fn admission() -> Admission {
        Admission::new(Chance::from_number(1).hash_seed())
    }

    fn source(number: u32) -> Source {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes()).into()
    }

    fn at(millis: u64) -> Now {
        let millis_utc = i64::try_from(millis).expect("small");
        Now { instant: Instant(millis * 1_000_000), utc: Utc(millis_utc * 1_000) }
    }

    fn until(millis: u64) -> Utc {
        at(millis).utc
    }

    fn passed(admission: &mut Admission, now: Now, source: Source, packets: usize) -> usize {
        (0..packets).filter(|_| matches!(admission.admit(now, source), Verdict::Pass(_))).count()
    }

    #[test]
    fn a_banned_source_is_not_heard_until_its_ban_ends() {
        let mut gate = admission();
        let (rogue, other) = (source(1), source(2));
        gate.apply(Change::Ban { source: rogue, until: until(1_000) });
        assert_eq!(gate.admit(at(999), rogue), Verdict::Drop(Reason::Banned));
        assert_eq!(gate.admit(at(999), other), Verdict::Pass(Lane::Stranger));
        assert_eq!(gate.admit(at(1_000), rogue), Verdict::Pass(Lane::Stranger));

        gate.apply(Change::Ban { source: rogue, until: until(9_000) });
        gate.apply(Change::Unban(rogue));
        assert_eq!(gate.admit(at(1_001), rogue), Verdict::Pass(Lane::Stranger), "at once");
        gate.apply(Change::Ban { source: rogue, until: until(9_000) });
        gate.apply(Change::Trust(rogue));
        assert_eq!(gate.admit(at(1_002), rogue), Verdict::Pass(Lane::Trusted));
        assert!(gate.bans.is_empty());
    }

    #[test]
    #[should_panic(expected = "a trusted source is never banned")]
    fn a_ban_of_a_trusted_source_is_a_fault_of_ours() {
        let mut gate = admission();
        gate.apply(Change::Trust(source(1)));
        gate.apply(Change::Ban { source: source(1), until: until(1_000) });
    }

    #[test]
    fn strangers_crowd_out_nobody_who_is_trusted() {
        let mut gate = admission();
        let phone = source(1);
        gate.apply(Change::Trust(phone));
        for number in 0..50_000 {
            gate.admit(at(0), source(100 + number));
            if number % 1_000 == 0 {
                assert_eq!(gate.admit(at(0), phone), Verdict::Pass(Lane::Trusted));
            }
        }
        let counts = gate.counts();
        assert_eq!((counts.trusted, counts.strangers), (50, u64::from(Admission::STRANGERS.burst)));
        gate.apply(Change::Distrust(phone));
        assert!(matches!(gate.admit(at(0), phone), Verdict::Drop(_)), "a stranger like the others");
    }

    #[test]
    fn everybody_has_a_rate_and_gets_it_back() {
        let mut gate = admission();
        let (trusted, stranger) = (source(1), source(2));
        gate.apply(Change::Trust(trusted));
        assert_eq!(passed(&mut gate, at(0), trusted, 5_000), 1_000);
        assert_eq!(passed(&mut gate, at(100), trusted, 5_000), 200);
        assert_eq!(gate.admit(at(100), trusted), Verdict::Drop(Reason::SourceRate));
        assert_eq!(passed(&mut gate, at(0), stranger, 1_000), 200);
        assert_eq!(passed(&mut gate, at(1_000), stranger, 1_000), 20);
        assert_eq!(gate.admit(at(1_000), stranger), Verdict::Drop(Reason::SourceRate));
        assert_eq!(passed(&mut gate, at(11_000), stranger, 1_000), 200);
    }

    /// Forty phones sign in at once from one address that nobody knew, then from one that is known.
    #[test]
    fn an_office_comes_back_from_a_power_cut() {
        let mut gate = admission();
        let office = source(1);
        assert_eq!(passed(&mut gate, at(0), office, 3 * 40), 3 * 40);
        gate.apply(Change::Trust(office));
        assert_eq!(passed(&mut gate, at(0), office, 20 * 40), 20 * 40);
    }

    #[test]
    fn the_table_of_strangers_is_bounded_and_a_full_one_leaves_them_a_share() {
        let mut gate = admission();
        // Each spends so much that it isn't forgotten soon, and the total has room again each time.
        let flood = u32::try_from(Admission::STRANGERS_MAX).expect("small") + 1_000;
        for number in 0..flood {
            for _ in 0..100 {
                gate.within_its_rate(at(0).instant, source(100 + number));
            }
        }
        assert_eq!(gate.strangers.len(), Admission::STRANGERS_MAX);
        assert_eq!(gate.order.len(), gate.strangers.len());
        let newcomers = (0..1_000)
            .filter(|number| gate.within_its_rate(at(1_000).instant, source(50_000 + number)));
        assert_eq!(newcomers.count(), 100, "the crowd's rate for one second");
        gate.expire(at(20_000));
        assert!(gate.strangers.is_empty() && gate.order.is_empty());
    }

    #[test]
    fn bans_and_trust_are_bounded() {
        let mut gate = admission();
        let more = u32::try_from(Admission::BANS_MAX).expect("small") + 10;
        for number in 0..more {
            gate.apply(Change::Ban { source: source(number), until: until(1_000) });
            gate.apply(Change::Trust(source(1_000_000 + number)));
        }
        assert_eq!((gate.bans.len(), gate.trusted), (Admission::BANS_MAX, Admission::TRUSTED_MAX));
        assert_eq!(gate.admit(at(0), source(more - 1)), Verdict::Pass(Lane::Stranger));
        gate.expire(at(1_000));
        assert!(gate.bans.is_empty());
        assert_eq!(gate.told.len(), Admission::TRUSTED_MAX);
    }

    #[test]
    fn what_was_dropped_is_told_with_who_was_loudest() {
        let mut gate = admission();
        assert_eq!(gate.shed(), None);
        passed(&mut gate, at(0), source(7), 1_000);
        for number in 0..500 {
            gate.admit(at(0), source(100 + number));
        }
        let shed = gate.shed().expect("much was dropped");
        assert_eq!((shed.source_rate, shed.strangers_total), (800, 300));
        assert_eq!(shed.loudest, Some(source(7)));
        assert_eq!(gate.shed(), None, "since then nothing");
        for number in 0..5_000 {
            gate.admit(at(0), source(1_000 + number));
        }
        assert_eq!(gate.shed().expect("all of it").loudest, None, "nobody stands out");
    }

    #[test]
    fn an_open_gate_stops_nothing() {
        let mut gate = admission();
        gate.dangerously_open();
        gate.apply(Change::Ban { source: source(1), until: until(1_000) });
        assert_eq!(passed(&mut gate, at(0), source(1), 5_000), 5_000);
    }

    #[test]
    #[ignore = "a measurement, run by hand: cargo test --release -p guard packet_costs -- --ignored --nocapture"]
    #[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures real time")]
    fn what_a_packet_costs() {
        let mut gate = admission();
        (0..1_000).for_each(|number| gate.apply(Change::Trust(source(number))));
        let trusted = (0..1_000_000u32).map(|n| source(n % 1_000));
        let spoofed =
            (0..1_000_000u32).map(|n| source(100_000 + n.wrapping_mul(2_654_435_761) % 8_000_000));
        let measure = |gate: &mut Admission, what: &str, sources: Vec<Source>| {
            let began = std::time::Instant::now();
            for (n, source) in (0u64..).zip(&sources) {
                gate.admit(Now { instant: Instant(n * 20_000), utc: Utc(0) }, *source);
            }
            let nanos = began.elapsed().as_nanos() / u128::try_from(sources.len()).expect("small");
            println!("{what}: {nanos} ns a packet");
        };
        measure(&mut gate, "trusted", trusted.collect());
        measure(
            &mut gate,
            "strangers, 50,000 a second, each from another address",
            spoofed.collect(),
        );
        measure(&mut gate, "one stranger", vec![source(99_999); 1_000_000]);
    }
}
