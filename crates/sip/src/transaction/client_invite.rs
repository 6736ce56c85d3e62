//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2).

use std::time::Duration;

use bytes::Bytes;

use super::turn::{Event, Turn};
use super::{D_MIN, Path, Timer, companion};
use crate::{Method, Name, Request, Response};

#[derive(Debug)]
pub(super) enum ClientInvite {
    Calling(Calling),
    Proceeding(Proceeding),
    Accepted,
    Completed(Completed),
    Terminated,
}

/// Sent, nothing heard.
#[derive(Debug)]
pub(super) struct Calling {
    invite: Request,
    gap: Duration,
    on_provisional: OnProvisional,
}

/// What the first provisional sets off: a CANCEL may not overtake its INVITE (§9.1).
#[derive(Clone, Copy, Debug)]
enum OnProvisional {
    Proceed,
    Cancel,
}

/// Heard a provisional.
#[derive(Debug)]
pub(super) struct Proceeding {
    invite: Request,
}

/// Refused; the ACK is kept for repeated refusals.
#[derive(Debug)]
pub(super) struct Completed {
    ack: Option<Bytes>,
}

impl ClientInvite {
    pub(super) fn new(invite: &Request) -> Self {
        Self::Calling(Calling {
            invite: invite.clone(),
            gap: Duration::ZERO,
            on_provisional: OnProvisional::Proceed,
        })
    }

    pub(super) fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> Self {
        match self {
            Self::Calling(s) => s.handle(turn, event),
            Self::Proceeding(s) => s.handle(turn, event),
            Self::Accepted => Self::accepted(turn, event),
            Self::Completed(s) => s.handle(turn, event),
            Self::Terminated => Self::Terminated,
        }
    }

    /// RFC 6026 §7.2: each 2xx goes up, until Timer M; forks answer one after another.
    fn accepted<P: Path>(turn: &mut Turn<'_, P>, event: Event) -> Self {
        match event {
            Event::Response(response) => {
                if response.status().is_success() {
                    turn.pass_up(response);
                }
                Self::Accepted
            }
            // The call stands; whether its path does is seen by what is sent next.
            Event::Failed
            | Event::Cancel
            | Event::Begin(_)
            | Event::Repeated
            | Event::Fired(_)
            | Event::Ack
            | Event::Respond(_) => Self::Accepted,
        }
    }

    /// A final answer, from whatever state.
    fn finish<P: Path>(turn: &mut Turn<'_, P>, invite: &Request, response: Response) -> Self {
        turn.disarm();
        if response.status().is_success() {
            turn.rest(turn.config.t1_64()); // Timer M
            turn.pass_up(response);
            return Self::Accepted;
        }
        let to = response.headers().get(Name::To).unwrap_or_default();
        let ack = companion(invite, Method::Ack, to).map(|ack| ack.as_bytes().clone());
        if let Some(ack) = &ack {
            turn.transmit(ack);
        }
        turn.pass_up(response);
        if turn.is_reliable() {
            return Self::Terminated; // Timer D is zero (§17.1.1.2)
        }
        turn.rest(turn.config.t1_64().max(D_MIN)); // Timer D
        Self::Completed(Completed { ack })
    }
}

impl Calling {
    fn handle<P: Path>(mut self, turn: &mut Turn<'_, P>, event: Event) -> ClientInvite {
        match event {
            Event::Begin(invite) => {
                turn.transmit(invite.as_bytes());
                self.gap = turn.config.t1;
                turn.arm_unreliable(Timer::A, self.gap);
                turn.arm(Timer::B, turn.config.t1_64());
                ClientInvite::Calling(self)
            }
            Event::Fired(Timer::A) => {
                turn.transmit(self.invite.as_bytes());
                self.gap *= 2;
                turn.arm(Timer::A, self.gap);
                ClientInvite::Calling(self)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ClientInvite::Terminated
            }
            Event::Response(response) if response.status().is_final() => {
                ClientInvite::finish(turn, &self.invite, response)
            }
            Event::Response(response) => {
                turn.disarm();
                turn.arm(Timer::C, turn.config.ringing_max);
                turn.pass_up(response);
                let proceeding = Proceeding { invite: self.invite };
                match self.on_provisional {
                    OnProvisional::Proceed => ClientInvite::Proceeding(proceeding),
                    OnProvisional::Cancel => proceeding.cancel(turn),
                }
            }
            Event::Cancel => {
                self.on_provisional = OnProvisional::Cancel;
                ClientInvite::Calling(self)
            }
            Event::Failed => {
                turn.transport_failed();
                ClientInvite::Terminated
            }
            Event::Repeated | Event::Ack | Event::Respond(_) => ClientInvite::Calling(self),
        }
    }
}

impl Proceeding {
    fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> ClientInvite {
        match event {
            Event::Response(response) if response.status().is_final() => {
                ClientInvite::finish(turn, &self.invite, response)
            }
            Event::Response(response) => {
                // Any provisional but a 100 proves that someone still rings (§16.7).
                if response.status().code() > 100 && turn.armed.has(Timer::C) {
                    turn.arm(Timer::C, turn.config.ringing_max);
                }
                turn.pass_up(response);
                ClientInvite::Proceeding(self)
            }
            // The core is told, and has as long as a cancelled INVITE to say CANCEL.
            Event::Fired(Timer::C) => {
                turn.cancel_timer(Timer::C);
                turn.timed_out(Timer::C);
                turn.arm(Timer::Cancelled, turn.config.t1_64());
                ClientInvite::Proceeding(self)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ClientInvite::Terminated
            }
            Event::Cancel => self.cancel(turn),
            Event::Failed => {
                turn.transport_failed();
                ClientInvite::Terminated
            }
            Event::Begin(_) | Event::Repeated | Event::Ack | Event::Respond(_) => {
                ClientInvite::Proceeding(self)
            }
        }
    }

    /// Asks for a CANCEL. A final answer (a 487, or a 2xx that crossed it) still comes; after 64·T1 it is
    /// given up (§9.1). A second CANCEL while one lives is refused by the engine: same branch.
    fn cancel<P: Path>(self, turn: &mut Turn<'_, P>) -> ClientInvite {
        let to = self.invite.headers().get(Name::To).unwrap_or_default();
        turn.cancel = companion(&self.invite, Method::Cancel, to);
        turn.cancel_timer(Timer::C);
        if !turn.armed.has(Timer::Cancelled) {
            turn.arm(Timer::Cancelled, turn.config.t1_64());
        }
        ClientInvite::Proceeding(self)
    }
}

impl Completed {
    /// Bytes of the ACK.
    pub(super) fn len(&self) -> usize {
        self.ack.as_ref().map_or(0, Bytes::len)
    }

    fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> ClientInvite {
        match event {
            Event::Response(response) => {
                if let (true, Some(ack)) = (response.status().is_failure(), &self.ack) {
                    turn.transmit(ack);
                }
                ClientInvite::Completed(self)
            }
            // Answered already: the core needs no second ending.
            Event::Failed => ClientInvite::Terminated,
            Event::Begin(_)
            | Event::Repeated
            | Event::Fired(_)
            | Event::Ack
            | Event::Respond(_)
            | Event::Cancel => ClientInvite::Completed(self),
        }
    }
}
