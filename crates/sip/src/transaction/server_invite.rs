//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1), with the core's duty of §13.3.1.4.

use std::time::Duration;

use bytes::Bytes;

use super::turn::{Event, Turn};
use super::{PROVISIONAL_GAP, Path, Timer, is_said_once};
use crate::{Response, Status};

#[derive(Debug)]
pub(super) enum ServerInvite {
    Proceeding(Proceeding),
    Accepted(Accepted),
    Acknowledged,
    Completed(Completed),
    Confirmed,
    Terminated,
}

/// Not answered finally.
#[derive(Debug)]
pub(super) struct Proceeding {
    /// The last provisional, said again to each repeated INVITE. `None` only where even a 100 would not
    /// fit into a message.
    last: Option<Bytes>,
}

/// Answered with a 2xx that waits for its ACK, on any transport: the ACK comes end to end.
#[derive(Debug)]
pub(super) struct Accepted {
    answer: Bytes,
    gap: Duration,
}

/// Refused; the refusal is repeated until its ACK.
#[derive(Debug)]
pub(super) struct Completed {
    refusal: Bytes,
    gap: Duration,
}

impl ServerInvite {
    pub(super) fn new() -> Self {
        Self::Proceeding(Proceeding { last: None })
    }

    pub(super) fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> Self {
        match self {
            Self::Proceeding(s) => s.handle(turn, event),
            Self::Accepted(s) => s.handle(turn, event),
            // RFC 6026 §7.1: the 2xx has its ACK; repeated INVITEs are absorbed until Timer L.
            Self::Acknowledged => match event {
                // Nothing can be repeated over a connection that is gone.
                Event::Failed if turn.is_reliable() => Self::Terminated,
                _ => Self::Acknowledged,
            },
            Self::Completed(s) => s.handle(turn, event),
            // Repeated ACKs are absorbed until Timer I (§17.2.1).
            Self::Confirmed => match event {
                Event::Failed => Self::Terminated,
                _ => Self::Confirmed,
            },
            Self::Terminated => Self::Terminated,
        }
    }
}

impl Proceeding {
    fn handle<P: Path>(mut self, turn: &mut Turn<'_, P>, event: Event) -> ServerInvite {
        match event {
            Event::Begin(invite) => {
                turn.arm(Timer::Unanswered, turn.config.unanswered_max);
                let trying = Response::builder(&invite, Status::TRYING).build().ok();
                self.last = trying.map(|trying| trying.as_bytes().clone());
                self.repeat(turn)
            }
            Event::Repeated => self.repeat(turn),
            Event::Respond(response) => self.respond(turn, &response),
            Event::Fired(Timer::Provisional) => {
                turn.arm(Timer::Provisional, PROVISIONAL_GAP);
                self.repeat(turn)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ServerInvite::Terminated
            }
            Event::Failed => {
                turn.transport_failed();
                ServerInvite::Terminated
            }
            // An ACK before any answer is nobody's.
            Event::Ack | Event::Response(_) | Event::Cancel => ServerInvite::Proceeding(self),
        }
    }

    fn repeat<P: Path>(self, turn: &mut Turn<'_, P>) -> ServerInvite {
        if let Some(last) = &self.last {
            turn.transmit(last);
        }
        ServerInvite::Proceeding(self)
    }

    fn respond<P: Path>(mut self, turn: &mut Turn<'_, P>, response: &Response) -> ServerInvite {
        let (status, bytes) = (response.status(), response.as_bytes().clone());
        turn.transmit(&bytes);
        let gap = turn.config.t1;
        if status.is_provisional() {
            self.last = Some(bytes);
            if status != Status::TRYING {
                turn.arm(Timer::Provisional, PROVISIONAL_GAP);
            }
            return ServerInvite::Proceeding(self);
        }
        turn.disarm();
        if status.is_success() {
            turn.arm(Timer::Retransmit2xx, gap);
            turn.arm(Timer::L, turn.config.t1_64());
            return ServerInvite::Accepted(Accepted { answer: bytes, gap });
        }
        // Its ACK finds nothing and changes nothing.
        if is_said_once(status) {
            return ServerInvite::Terminated;
        }
        turn.arm_unreliable(Timer::G, gap);
        // §17.2.1 has 64·T1 for each transport. On a reliable one nothing was lost and nothing is said
        // again, so an ACK that hasn't come in T4 won't: a refusal that nobody acknowledges, which costs
        // a stranger one message, must not hold its place for half a minute. A later ACK is ignored.
        let patience = if turn.is_reliable() { turn.config.t4 } else { turn.config.t1_64() };
        turn.arm(Timer::H, patience);
        ServerInvite::Completed(Completed { refusal: bytes, gap })
    }
}

impl Accepted {
    fn handle<P: Path>(mut self, turn: &mut Turn<'_, P>, event: Event) -> ServerInvite {
        match event {
            Event::Ack => {
                turn.rest(turn.config.t1_64());
                ServerInvite::Acknowledged
            }
            Event::Fired(Timer::Retransmit2xx) => {
                turn.transmit(&self.answer);
                self.gap = (self.gap * 2).min(turn.config.t2);
                turn.arm(Timer::Retransmit2xx, self.gap);
                ServerInvite::Accepted(self)
            }
            // Timer L: the dialog is confirmed without an ACK, and must be ended (§13.3.1.4).
            Event::Fired(_) => {
                turn.timed_out(Timer::Retransmit2xx);
                ServerInvite::Terminated
            }
            // RFC 6026 §7.1: told, and waited on. There is nobody here to repeat it to.
            Event::Failed => {
                turn.transport_failed();
                turn.cancel_timer(Timer::Retransmit2xx);
                ServerInvite::Accepted(self)
            }
            // RFC 6026 §7.1: a repeated INVITE is absorbed; the 2xx has a timer of its own.
            Event::Repeated
            | Event::Begin(_)
            | Event::Respond(_)
            | Event::Response(_)
            | Event::Cancel => ServerInvite::Accepted(self),
        }
    }
}

impl Completed {
    fn handle<P: Path>(mut self, turn: &mut Turn<'_, P>, event: Event) -> ServerInvite {
        match event {
            Event::Repeated => {
                turn.transmit(&self.refusal);
                ServerInvite::Completed(self)
            }
            Event::Ack => {
                turn.disarm();
                if turn.is_reliable() {
                    return ServerInvite::Terminated; // Timer I is zero (§17.2.1)
                }
                turn.rest(turn.config.t4); // Timer I
                ServerInvite::Confirmed
            }
            Event::Fired(Timer::G) => {
                turn.transmit(&self.refusal);
                self.gap = (self.gap * 2).min(turn.config.t2);
                turn.arm(Timer::G, self.gap);
                ServerInvite::Completed(self)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ServerInvite::Terminated
            }
            Event::Failed => {
                turn.transport_failed();
                ServerInvite::Terminated
            }
            Event::Begin(_) | Event::Respond(_) | Event::Response(_) | Event::Cancel => {
                ServerInvite::Completed(self)
            }
        }
    }
}
