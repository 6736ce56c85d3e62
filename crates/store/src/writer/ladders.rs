//! Lines of ladders on their way to the disk.
//!
//! Nobody waits for a line, so those of one call wait for each other: until the call has its record, or
//! [`HELD_FOR`] since the first. A call that is set up and answered so leaves two rows or three, where each of its
//! messages alone would leave one. What a crash costs is that second of the ladder; the journal has the facts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use guard::id::CallId;
use guard::secret::MasterKey;
use pbx::io::Trace;
use pure::Chance;

use crate::database::Value;
use crate::table;

#[derive(Debug)]
pub(super) struct Ladders {
    /// Lines that are not stored yet.
    held: BTreeMap<CallId, Held>,
    bytes_held: usize,
    /// When the lines of a call must go, soonest first. A call may be long gone, or stand here twice.
    due: VecDeque<(Instant, CallId)>,
    /// Calls that have their record: no line is to come, or few.
    over: BTreeSet<CallId>,
    /// What there was of each call that is up, stored lines too.
    counted: BTreeMap<CallId, Count>,
    /// Of the next row.
    next: i64,
    /// Whose lines were given out and are not known to be stored.
    under_way: Vec<CallId>,
}

#[derive(Debug, Default)]
struct Held {
    lines: Vec<Trace>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Count {
    lines: u32,
    bytes: usize,
}

impl Ladders {
    pub(super) fn new(next: i64) -> Self {
        Self {
            held: BTreeMap::new(),
            bytes_held: 0,
            due: VecDeque::new(),
            over: BTreeSet::new(),
            counted: BTreeMap::new(),
            next,
            under_way: Vec::new(),
        }
    }

    /// Whether memory allows no more while the disk fails.
    pub(super) fn is_full(&self) -> bool {
        self.bytes_held >= KEPT_MAX
    }

    /// Whether so much waits that some must go now.
    pub(super) fn is_crowded(&self) -> bool {
        self.bytes_held > WAITING_MAX
    }

    /// Keeps a line, but for one beyond [`LINES_MAX`] or [`BYTES_MAX`] of its call.
    pub(super) fn push(&mut self, now: Instant, trace: Trace) {
        let call = trace.call;
        if self.counted.len() >= CALLS_COUNTED_MAX && !self.counted.contains_key(&call) {
            self.counted.pop_first();
        }
        let bytes = trace.text.len() + LINE_HEAD;
        let count = self.counted.entry(call).or_default();
        if count.lines >= LINES_MAX || count.bytes + bytes > BYTES_MAX {
            return;
        }
        count.lines += 1;
        count.bytes += bytes;
        let held = self.held.entry(call).or_default();
        if held.lines.is_empty() {
            self.due.push_back((now + HELD_FOR, call));
        }
        held.lines.push(trace);
        held.bytes += bytes;
        self.bytes_held += bytes;
    }

    /// The call has its record: what is held of it goes with that.
    pub(super) fn ended(&mut self, call: CallId) {
        self.counted.remove(&call);
        if self.held.contains_key(&call) {
            self.over.insert(call);
        }
    }

    /// When lines must go, whatever else does.
    pub(super) fn until(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    /// A row for each call whose lines go now; [`Ladders::stored`] follows, or they are given again. `all`: each that
    /// is held.
    pub(super) fn rows(
        &mut self,
        now: Instant,
        all: bool,
        master: &MasterKey,
        chance: &mut Chance,
    ) -> Vec<Vec<Value>> {
        self.under_way = if all {
            self.held.keys().copied().collect()
        } else {
            let over = self.over.iter().copied();
            let old = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, call)| *call);
            let mut going: BTreeSet<CallId> = over.chain(old).collect();
            // Under the heaviest load lines wait less long.
            let of = |call: &CallId| self.held.get(call).map_or(0, |held| held.bytes);
            let mut stay = self.bytes_held - going.iter().map(of).sum::<usize>();
            let mut waiting = self.due.iter().map(|(_, call)| *call);
            while stay > WAITING_MAX
                && let Some(call) = waiting.next()
            {
                stay -= if going.insert(call) { of(&call) } else { 0 };
            }
            going.into_iter().collect()
        };
        let (held, next) = (&self.held, &mut self.next);
        let row = |call| {
            let lines: &[Trace] = &held.get(call)?.lines;
            let id = *next;
            *next += 1;
            Some(table::ladder(id, lines, master, chance))
        };
        self.under_way.iter().filter_map(row).collect()
    }

    /// What [`Ladders::rows`] gave is stored.
    pub(super) fn stored(&mut self) {
        for call in self.under_way.drain(..) {
            self.over.remove(&call);
            self.bytes_held -= self.held.remove(&call).map_or(0, |held| held.bytes);
        }
        while self.due.front().is_some_and(|(_, call)| !self.held.contains_key(call)) {
            self.due.pop_front();
        }
    }
}

/// What a crash may cost of a ladder, and longer than the messages of an answer are apart.
const HELD_FOR: Duration = Duration::from_secs(1);
/// Bytes that wait for others while the disk takes them: a second of 600 calls a second.
const WAITING_MAX: usize = 4 << 20;
/// Bytes in memory while the disk fails.
const KEPT_MAX: usize = 20 << 20;
/// A call with two legs takes some thirty lines; one that was on hold all day, a few hundred. What
/// comes beyond isn't kept: a peer must not fill our disk by re-INVITEs, nor by long ones.
const LINES_MAX: u32 = 512;
/// As many lines of a usual message.
const BYTES_MAX: usize = 256 << 10;
/// What a line takes besides its text.
const LINE_HEAD: usize = 64;
/// More calls than one node carries; at the bound one is let go and may take another 512 lines.
const CALLS_COUNTED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    use guard::id::{LegId, TenantId};
    use pure::Utc;

    fn line(call: u128) -> Trace {
        let (call, leg, tenant) = (CallId(call), LegId(1), TenantId(1));
        Trace { tenant, call, leg, utc: Utc(1), sent: true, text: "BYE".to_owned() }
    }

    struct World {
        ladders: Ladders,
        began: Instant,
        master: MasterKey,
        chance: Chance,
    }

    impl World {
        fn new() -> Self {
            let mut chance = Chance::from_number(1);
            let master = MasterKey::draw(&mut chance);
            Self { ladders: Ladders::new(1), began: Instant::now(), master, chance }
        }

        fn push(&mut self, at_ms: u64, call: u128) {
            self.ladders.push(self.began + Duration::from_millis(at_ms), line(call));
        }

        /// Calls whose lines go, with how many.
        fn go(&mut self, at_ms: u64, all: bool) -> Vec<(u128, usize)> {
            let Self { ladders, began, master, chance } = self;
            let rows = ladders.rows(*began + Duration::from_millis(at_ms), all, master, chance);
            let of = |call: &CallId| (call.0, ladders.held[call].lines.len());
            let going: Vec<_> = ladders.under_way.iter().map(of).collect();
            assert_eq!(rows.len(), going.len());
            going
        }
    }

    #[test]
    fn lines_wait_for_others_of_their_call() {
        let mut world = World::new();
        [(0, 1), (400, 1), (500, 2), (900, 1)].into_iter().for_each(|(at, n)| world.push(at, n));
        assert_eq!(world.go(999, false), []);
        assert_eq!(world.ladders.until(), Some(world.began + HELD_FOR));
        assert_eq!(world.go(1_000, false), [(1, 3)]);
        world.ladders.stored();
        assert_eq!(world.ladders.until(), Some(world.began + Duration::from_millis(1_500)));
        world.push(1_100, 1);
        assert_eq!(world.go(1_500, false), [(2, 1)]);
        world.ladders.stored();
        assert_eq!(world.go(2_100, false), [(1, 1)]);
        world.ladders.stored();
        assert_eq!((world.ladders.until(), world.ladders.bytes_held), (None, 0));
    }

    #[test]
    fn a_call_that_is_over_goes_with_its_record() {
        let mut world = World::new();
        [(0, 1), (1, 2)].into_iter().for_each(|(at, n)| world.push(at, n));
        world.ladders.ended(CallId(2));
        world.ladders.ended(CallId(3));
        assert_eq!(world.go(2, false), [(2, 1)]);
        world.ladders.stored();
        assert!(world.ladders.over.is_empty());
        assert_eq!(world.go(2, true), [(1, 1)]);
    }

    #[test]
    fn what_the_disk_refused_is_given_again() {
        let mut world = World::new();
        world.push(0, 1);
        assert_eq!(world.go(1_000, false), [(1, 1)]);
        world.push(1_001, 1);
        assert_eq!(world.go(1_002, false), [(1, 2)]);
    }

    #[test]
    fn under_load_they_wait_less_long() {
        let mut world = World::new();
        let each = line(0).text.len() + LINE_HEAD;
        let calls = u128::try_from(WAITING_MAX / each).expect("small") + 2;
        (0..calls).for_each(|call| world.push(0, call));
        assert!(world.ladders.is_crowded() && !world.ladders.is_full());
        assert_eq!(world.go(1, false), [(0, 1), (1, 1)]);
        world.ladders.stored();
        assert!(!world.ladders.is_crowded());
        assert_eq!(world.go(1, false), []);
    }

    #[test]
    fn long_lines_are_fewer() {
        let mut world = World::new();
        let long = Trace { text: "x".repeat(8 << 10), ..line(1) };
        (0..100).for_each(|_| world.ladders.push(world.began, long.clone()));
        world.push(0, 2);
        assert_eq!(world.go(0, true), [(1, 31), (2, 1)]);
    }
}
