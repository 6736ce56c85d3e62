//! The client transaction of every request but INVITE (RFC 3261 §17.1.2).

use std::time::Duration;

use bytes::Bytes;

use super::turn::{Event, Turn};
use super::{Path, Timer};
use crate::{Request, Response};

#[derive(Debug)]
pub(super) enum ClientOther {
    Trying(Trying),
    Proceeding(Proceeding),
    Completed,
    Terminated,
}

/// Sent, nothing heard: repeated with growing gaps up to T2.
#[derive(Debug)]
pub(super) struct Trying {
    bytes: Bytes,
    gap: Duration,
}

/// Heard a provisional: repeated each T2.
#[derive(Debug)]
pub(super) struct Proceeding {
    bytes: Bytes,
}

impl ClientOther {
    pub(super) fn new(request: &Request) -> Self {
        Self::Trying(Trying { bytes: request.as_bytes().clone(), gap: Duration::ZERO })
    }

    pub(super) fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> Self {
        match self {
            Self::Trying(s) => s.handle(turn, event),
            Self::Proceeding(s) => s.handle(turn, event),
            Self::Completed => match event {
                Event::Failed => Self::Terminated, // nothing more can come
                _ => Self::Completed,
            },
            Self::Terminated => Self::Terminated,
        }
    }

    /// A final answer, from whatever state.
    fn finish<P: Path>(turn: &mut Turn<'_, P>, response: Response) -> Self {
        turn.disarm();
        turn.pass_up(response);
        if turn.is_reliable() {
            return Self::Terminated; // Timer K is zero (§17.1.2.2)
        }
        turn.rest(turn.config.t4); // Timer K
        Self::Completed
    }
}

impl Trying {
    fn handle<P: Path>(mut self, turn: &mut Turn<'_, P>, event: Event) -> ClientOther {
        match event {
            Event::Begin(_) => {
                turn.transmit(&self.bytes);
                self.gap = turn.config.t1;
                turn.arm_unreliable(Timer::E, self.gap);
                turn.arm(Timer::F, turn.config.t1_64());
                ClientOther::Trying(self)
            }
            Event::Fired(Timer::E) => {
                turn.transmit(&self.bytes);
                self.gap = (self.gap * 2).min(turn.config.t2);
                turn.arm(Timer::E, self.gap);
                ClientOther::Trying(self)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ClientOther::Terminated
            }
            Event::Response(response) if response.status().is_final() => {
                ClientOther::finish(turn, response)
            }
            Event::Response(response) => {
                turn.pass_up(response);
                turn.arm_unreliable(Timer::E, turn.config.t2);
                ClientOther::Proceeding(Proceeding { bytes: self.bytes })
            }
            Event::Failed => {
                turn.transport_failed();
                ClientOther::Terminated
            }
            Event::Repeated | Event::Ack | Event::Respond(_) | Event::Cancel => {
                ClientOther::Trying(self)
            }
        }
    }
}

impl Proceeding {
    fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> ClientOther {
        match event {
            Event::Fired(Timer::E) => {
                turn.transmit(&self.bytes);
                turn.arm(Timer::E, turn.config.t2);
                ClientOther::Proceeding(self)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ClientOther::Terminated
            }
            Event::Response(response) if response.status().is_final() => {
                ClientOther::finish(turn, response)
            }
            Event::Response(response) => {
                turn.pass_up(response);
                ClientOther::Proceeding(self)
            }
            Event::Failed => {
                turn.transport_failed();
                ClientOther::Terminated
            }
            Event::Begin(_) | Event::Repeated | Event::Ack | Event::Respond(_) | Event::Cancel => {
                ClientOther::Proceeding(self)
            }
        }
    }
}
