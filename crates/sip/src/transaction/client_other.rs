//! The client transaction of every request but INVITE (RFC 3261 §17.1.2).

use std::time::Duration;

use bytes::Bytes;

use super::turn::{Event, Turn};
use super::{Path, Timer};
use crate::Request;

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
        let bytes = match &self {
            Self::Trying(s) => s.bytes.clone(),
            Self::Proceeding(s) => s.bytes.clone(),
            Self::Completed => {
                return match event {
                    // Timer K, or a broken path: nothing more can come.
                    Event::Fired(_) | Event::Failed => Self::Terminated,
                    _ => Self::Completed,
                };
            }
            Self::Terminated => return Self::Terminated,
        };
        match event {
            Event::Begin(_) => {
                turn.transmit(&bytes);
                turn.arm_unreliable(Timer::E, turn.config.t1);
                turn.arm(Timer::F, turn.config.t1_64());
                Self::Trying(Trying { bytes, gap: turn.config.t1 })
            }
            Event::Fired(Timer::E) => {
                turn.transmit(&bytes);
                match self {
                    Self::Trying(Trying { gap, .. }) => {
                        let gap = (gap * 2).min(turn.config.t2);
                        turn.arm(Timer::E, gap);
                        Self::Trying(Trying { bytes, gap })
                    }
                    other => {
                        turn.arm(Timer::E, turn.config.t2);
                        other
                    }
                }
            }
            Event::Fired(timer) => {
                turn.timed_out(timer);
                Self::Terminated
            }
            Event::Response(response) if response.status().is_final() => {
                turn.disarm();
                turn.pass_up(response);
                if turn.is_reliable() {
                    return Self::Terminated; // Timer K is zero (§17.1.2.2)
                }
                turn.arm(Timer::K, turn.config.t4);
                Self::Completed
            }
            Event::Response(response) => {
                turn.pass_up(response);
                turn.arm_unreliable(Timer::E, turn.config.t2);
                Self::Proceeding(Proceeding { bytes })
            }
            Event::Failed => {
                turn.transport_failed();
                Self::Terminated
            }
            Event::Repeated | Event::Ack | Event::Respond(_) | Event::Cancel => self,
        }
    }
}
