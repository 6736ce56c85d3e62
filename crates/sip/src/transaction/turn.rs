//! What a machine sees and may do while it handles one event.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pure::{Instant, TimerId, Timers};

use super::{Config, Key, Output, Path, Timer};
use crate::{Request, Response};

/// One event for one machine.
#[derive(Debug)]
pub(super) enum Event {
    /// The request that makes the transaction: to be sent, or just received.
    Begin(Request),
    /// The same request again, or an ACK of a failure.
    Repeated,
    Ack,
    Response(Response),
    Respond(Response),
    Cancel,
    Fired(Timer),
    Failed,
}

/// The machine's hands for the time of one event.
pub(super) struct Turn<'a, P> {
    pub(super) now: Instant,
    pub(super) key: Key,
    pub(super) path: P,
    pub(super) config: &'a Config,
    pub(super) armed: &'a mut Armed,
    pub(super) timers: &'a mut Timers<(Key, Timer)>,
    pub(super) out: &'a mut VecDeque<Output<P>>,
    /// A CANCEL that the engine shall send as a transaction of its own.
    pub(super) cancel: Option<Request>,
    /// The transaction is over, and absorbs what is repeated for so long.
    pub(super) rest: Option<Duration>,
}

impl<P: Path> Turn<'_, P> {
    pub(super) fn is_reliable(&self) -> bool {
        self.path.is_reliable()
    }

    pub(super) fn transmit(&mut self, bytes: &Bytes) {
        self.out.push_back(Output::Transmit { path: self.path, bytes: bytes.clone() });
    }

    pub(super) fn pass_up(&mut self, response: Response) {
        self.out.push_back(Output::Response { key: self.key, response });
    }

    pub(super) fn timed_out(&mut self, timer: Timer) {
        self.out.push_back(Output::Timeout { key: self.key, timer });
    }

    pub(super) fn transport_failed(&mut self) {
        self.out.push_back(Output::TransportFailed { key: self.key });
    }

    /// Sets a timer; one of that name pending before is replaced.
    pub(super) fn arm(&mut self, timer: Timer, after: Duration) {
        self.cancel_timer(timer);
        let id = self.timers.set(self.now + after, (self.key, timer));
        if let Some(free) = self.armed.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some((timer, id));
        } else {
            debug_assert!(false, "no state arms more than three timers");
        }
    }

    /// A timer on unreliable paths only: reliable ones repeat nothing (§17.1.1.2).
    pub(super) fn arm_unreliable(&mut self, timer: Timer, after: Duration) {
        if !self.is_reliable() {
            self.arm(timer, after);
        }
    }

    /// A machine learns of a timer only while it is armed, so a fired one makes room first.
    pub(super) fn cancel_timer(&mut self, timer: Timer) {
        for slot in &mut self.armed.0 {
            if let Some((name, id)) = *slot
                && name == timer
            {
                self.timers.cancel(id);
                *slot = None;
            }
        }
    }

    /// What remains is to absorb what is repeated, for so long. No timer of its own wakes it any more.
    pub(super) fn rest(&mut self, span: Duration) {
        self.disarm();
        self.rest = Some(span);
    }

    /// Every timer of a state dies with it.
    pub(super) fn disarm(&mut self) {
        for (_, id) in self.armed.0.iter_mut().filter_map(Option::take) {
            self.timers.cancel(id);
        }
    }
}

/// The timers pending for one transaction.
#[derive(Debug, Default)]
pub(super) struct Armed([Option<(Timer, TimerId)>; 3]);

impl Armed {
    pub(super) fn has(&self, timer: Timer) -> bool {
        self.0.iter().flatten().any(|(name, _)| *name == timer)
    }
}
