//! The server transaction of every request but INVITE (RFC 3261 §17.2.2, with RFC 4320).

use bytes::Bytes;

use super::turn::{Event, Turn};
use super::{Path, Timer, is_said_once};
use crate::{Request, Response, Status};

#[derive(Debug)]
pub(super) enum ServerOther {
    Trying(Trying),
    Proceeding(Proceeding),
    Completed(Completed),
    Terminated,
}

/// Received, nothing said.
#[derive(Debug)]
pub(super) struct Trying {
    /// Kept to answer 100 from, should the core be slow.
    request: Request,
}

/// Said 100.
#[derive(Debug)]
pub(super) struct Proceeding {
    trying: Bytes,
}

/// Answered; the answer is said again to each repetition.
#[derive(Debug)]
pub(super) struct Completed {
    answer: Bytes,
}

impl ServerOther {
    pub(super) fn new(request: &Request) -> Self {
        Self::Trying(Trying { request: request.clone() })
    }

    pub(super) fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> Self {
        match self {
            Self::Trying(s) => s.handle(turn, event),
            Self::Proceeding(s) => s.handle(turn, event),
            Self::Completed(s) => s.handle(turn, event),
            Self::Terminated => Self::Terminated,
        }
    }

    /// The answer of the core: a final one, or nothing at all.
    fn respond<P: Path>(self, turn: &mut Turn<'_, P>, response: &Response) -> Self {
        // RFC 4320 §4.1: the only provisional is the 100 that Timer Trying sends. §4.2: a 408 would come
        // when the client has long given up, and do harm to whoever forwards it.
        if response.status().is_provisional() || response.status() == Status::REQUEST_TIMEOUT {
            return self;
        }
        turn.disarm();
        turn.transmit(response.as_bytes());
        // Timer J is zero on a connection (§17.2.2). What strangers hear leaves nothing on datagrams either:
        // the repeated request hears it again. So with a 400, which judges the message alone.
        let status = response.status();
        if turn.is_reliable() || is_said_once(status) || status == Status::BAD_REQUEST {
            return Self::Terminated;
        }
        turn.rest(turn.config.t1_64()); // Timer J
        Self::Completed(Completed { answer: response.as_bytes().clone() })
    }
}

impl Trying {
    fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> ServerOther {
        match event {
            Event::Begin(_) => {
                turn.arm(Timer::Trying, turn.config.until_t2());
                // The client's Timer F: an answer after it reaches nobody.
                turn.arm(Timer::Unanswered, turn.config.t1_64());
                ServerOther::Trying(self)
            }
            Event::Respond(response) => ServerOther::Trying(self).respond(turn, &response),
            Event::Fired(Timer::Trying) => {
                turn.cancel_timer(Timer::Trying);
                match Response::builder(&self.request, Status::TRYING).build() {
                    Ok(trying) => {
                        let trying = trying.as_bytes().clone();
                        turn.transmit(&trying);
                        ServerOther::Proceeding(Proceeding { trying })
                    }
                    // Too long to be said: the client goes on repeating.
                    Err(_) => ServerOther::Trying(self),
                }
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ServerOther::Terminated
            }
            Event::Failed => {
                turn.transport_failed();
                ServerOther::Terminated
            }
            // A repetition in Trying is discarded (§17.2.2).
            Event::Repeated | Event::Ack | Event::Response(_) | Event::Cancel => {
                ServerOther::Trying(self)
            }
        }
    }
}

impl Proceeding {
    fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> ServerOther {
        match event {
            Event::Respond(response) => ServerOther::Proceeding(self).respond(turn, &response),
            Event::Repeated => {
                turn.transmit(&self.trying);
                ServerOther::Proceeding(self)
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                ServerOther::Terminated
            }
            Event::Failed => {
                turn.transport_failed();
                ServerOther::Terminated
            }
            Event::Begin(_) | Event::Ack | Event::Response(_) | Event::Cancel => {
                ServerOther::Proceeding(self)
            }
        }
    }
}

impl Completed {
    /// Bytes of the answer.
    pub(super) fn len(&self) -> usize {
        self.answer.len()
    }

    fn handle<P: Path>(self, turn: &mut Turn<'_, P>, event: Event) -> ServerOther {
        match event {
            Event::Repeated => {
                turn.transmit(&self.answer);
                ServerOther::Completed(self)
            }
            Event::Failed => ServerOther::Terminated, // nobody left to repeat to
            Event::Begin(_)
            | Event::Fired(_)
            | Event::Ack
            | Event::Response(_)
            | Event::Respond(_)
            | Event::Cancel => ServerOther::Completed(self),
        }
    }
}
