//! What stands in front of the parser: [`guard::admission`] with a clock, for every thread that takes
//! something from the network, and the kernel's table behind it that drops the same earlier and cheaper.
//!
//! Datagrams are judged before they are copied, connections before their handshake, and messages on a
//! connection before the exchange sees them for as long as the connection has proved nothing.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use guard::admission::{Admission, Change, Counts, Lane, Reason, Verdict};
use guard::fact::Fact;
use guard::pii::{Address, Pii};
use guard::source::Source;
use pure::HashSeed;

use crate::clock::Clock;
use crate::exchange_thread::Inbox;
use crate::kernel::Kernel;

/// See the module.
#[derive(Debug)]
pub(crate) struct Front {
    clock: Clock,
    admission: Mutex<Admission>,
    /// Datagrams that were admitted and found their lane full.
    no_room: AtomicU64,
    kernel: OnceLock<Kernel>,
}

/// What passed and what did not, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Passed {
    pub(crate) counts: Counts,
    pub(crate) no_room: u64,
    /// Dropped by the kernel, as it was read last.
    pub(crate) kernel: u64,
}

/// The source is banned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Banned;

impl Front {
    /// `open`: nothing is stopped, so that a test can show what this is worth.
    pub(crate) fn new(clock: Clock, seed: HashSeed, open: bool) -> Arc<Self> {
        let mut admission = Admission::new(seed);
        if open {
            admission.dangerously_open();
        }
        Arc::new(Self {
            clock,
            admission: Mutex::new(admission),
            no_room: AtomicU64::new(0),
            kernel: OnceLock::new(),
        })
    }

    /// What is said from now on is told to the kernel too. Once.
    pub(crate) fn extend(&self, kernel: Kernel) {
        let _ = self.kernel.set(kernel);
    }

    pub(crate) fn apply(&self, change: Change) {
        self.admission().apply(change);
        if let Some(kernel) = self.kernel.get() {
            kernel.tell(change);
        }
    }

    /// A datagram. `None`: it is dropped.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Lane> {
        match self.admission().admit(self.clock.now(), address.into()) {
            Verdict::Pass(lane) => Some(lane),
            Verdict::Drop(_) => None,
        }
    }

    /// Waits until a message on a connection may go on: it isn't lost there, and isn't sent again.
    pub(crate) async fn turn(&self, address: IpAddr) -> Result<(), Banned> {
        loop {
            let verdict = self.admission().ask(self.clock.now(), address.into());
            match verdict {
                Verdict::Pass(_) => return Ok(()),
                Verdict::Drop(Reason::Banned) => return Err(Banned),
                Verdict::Drop(Reason::SourceRate | Reason::StrangersTotal) => {
                    tokio::time::sleep(TURN_PAUSE).await;
                }
            }
        }
    }

    /// A datagram was admitted, and its lane is full.
    pub(crate) fn found_no_room(&self) {
        self.no_room.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn passed(&self) -> Passed {
        Passed {
            counts: self.admission().counts(),
            no_room: self.no_room.load(Ordering::Relaxed),
            kernel: self.kernel.get().map_or(0, Kernel::dropped),
        }
    }

    /// What the kernel does for us, in words.
    pub(crate) fn kernel(&self) -> String {
        self.kernel.get().map_or_else(|| "not used".to_owned(), Kernel::state)
    }

    /// Forgets what is over, and says once a minute what was dropped. Cancel by dropping the future.
    pub(crate) async fn upkeep(self: Arc<Self>, inbox: Inbox) {
        let mut before = self.passed();
        loop {
            tokio::time::sleep(TOLD_EVERY).await;
            if let Some(fact) = self.minute(&mut before) {
                inbox.fact(fact);
            }
        }
    }

    fn minute(&self, before: &mut Passed) -> Option<Fact> {
        let shed = {
            let mut admission = self.admission();
            admission.expire(self.clock.now());
            admission.shed()
        };
        let now = self.passed();
        let no_room = now.no_room - before.no_room;
        // Less than before where the table was made anew: then all of it is new.
        let kernel = now.kernel.checked_sub(before.kernel).unwrap_or(now.kernel);
        *before = now;
        if shed.is_none() && no_room == 0 && kernel == 0 {
            return None;
        }
        let (banned, source_rate, strangers_total) =
            shed.map_or((0, 0, 0), |shed| (shed.banned, shed.source_rate, shed.strangers_total));
        let loudest =
            shed.and_then(|shed| shed.loudest).map(|source: Source| Address(source.to_string()));
        let loudest = Pii::new(loudest);
        Some(Fact::StrangersShed { banned, source_rate, strangers_total, no_room, kernel, loudest })
    }

    /// Takes the table back out of the kernel.
    pub(crate) fn close(&self) {
        if let Some(kernel) = self.kernel.get() {
            kernel.close();
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token of a stranger's bucket comes back every 50 ms.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// So much is one line of the journal, however much was dropped.
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pure::Utc;

    pub(crate) fn front() -> Arc<Front> {
        Front::new(Clock::start(), crate::clock::chance().hash_seed(), false)
    }

    #[test]
    fn a_quiet_minute_is_not_told_and_a_loud_one_once() {
        let front = front();
        let mut before = front.passed();
        assert!(front.admit([192, 0, 2, 1].into()).is_some());
        assert_eq!(front.minute(&mut before), None);
        let source = Source::from(IpAddr::from([192, 0, 2, 1]));
        front.apply(Change::Ban { source, until: Utc(i64::MAX) });
        assert!(front.admit([192, 0, 2, 1].into()).is_none());
        front.found_no_room();
        let Some(Fact::StrangersShed { banned, no_room, loudest, .. }) = front.minute(&mut before)
        else {
            panic!("a fact")
        };
        assert_eq!((banned, no_room), (1, 1));
        assert_eq!(loudest.reveal().as_ref().map(|address| address.0.as_str()), Some("192.0.2.1"));
        assert_eq!(front.minute(&mut before), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_turn_is_let_go_on_and_a_banned_one_is_not() {
        let front = front();
        let stranger = IpAddr::from([192, 0, 2, 1]);
        while front.admit(stranger).is_some() {}
        let waiting = tokio::spawn({
            let front = front.clone();
            async move { front.turn(stranger).await }
        });
        // The bucket runs on the machine's clock, the pauses on tokio's.
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        front.apply(Change::Ban { source: stranger.into(), until: Utc(i64::MAX) });
        assert_eq!(front.turn(stranger).await, Err(Banned));
    }
}
