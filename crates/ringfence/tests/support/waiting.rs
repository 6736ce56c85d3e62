//! How tests wait for phones: each way returns as soon as what it waits for is there, and fails with a
//! picture of all phones when its time is over.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use actors::phone::{Action, CallId, Event, State, Voice};

use super::driver::{Arrival, Fleet, Handset, Seat};

impl Fleet {
    pub(crate) fn new() -> Self {
        Self::start().expect("threads and sockets are to be had")
    }

    /// From now on it reads nothing that the server says, as a phone that hangs.
    pub(crate) fn deafen(&self, handset: Handset, deaf: bool) {
        self.order(Arrival::Deafen { at: handset.0, deaf });
    }

    /// Breaks its connection; it makes a new one as its settings say.
    pub(crate) fn cut(&self, handset: Handset) {
        self.order(Arrival::Cut { at: handset.0 });
    }

    /// Waits until `look` finds what it looks for, or fails after `within` with a picture of all phones.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl FnMut(&[Seat]) -> Option<T>,
    ) -> T {
        let found = self.look(within, look);
        found.unwrap_or_else(|| panic!("waited {within:?} for {what}:\n{}", picture(&self.seats())))
    }

    pub(crate) fn wait_registered(&self, handsets: &[Handset], within: Duration) {
        self.wait("registrations", within, |seats| {
            handsets.iter().all(|at| seats[at.0].phone.is_registered()).then_some(())
        });
    }

    /// `from` dials `to`'s number; returns both ends once `to` rings or has answered.
    pub(crate) fn call(&self, from: Handset, to: Handset, within: Duration) -> (CallId, CallId) {
        let number = self.seats()[to.0].phone.settings().number.clone();
        let known = [self.calls(from), self.calls(to)];
        self.act(from, Action::Dial { number: number.clone() });
        self.wait(&format!("a call to {number} to ring"), within, |seats| {
            let fresh = |at: Handset, known: &[CallId], wanted: &[State]| {
                let mut calls = seats[at.0].phone.calls();
                calls
                    .find(|(id, state)| !known.contains(id) && wanted.contains(state))
                    .map(|(id, _)| id)
            };
            let a = fresh(from, &known[0], &[State::RingingThere, State::Up])?;
            let b = fresh(to, &known[1], &[State::Incoming, State::Up])?;
            Some((a, b))
        })
    }

    pub(crate) fn wait_state(&self, at: Handset, call: CallId, wanted: State, within: Duration) {
        self.wait(&format!("call {call:?} of {at:?} to be {wanted:?}"), within, |seats| {
            seats[at.0]
                .phone
                .calls()
                .any(|(id, state)| id == call && *state == wanted)
                .then_some(())
        });
    }

    /// Waits until the phone has heard `voice` in this call, `packets` times more than now.
    pub(crate) fn wait_heard(
        &self,
        at: Handset,
        call: CallId,
        voice: Voice,
        packets: u64,
        within: Duration,
    ) {
        let count = |seats: &[Seat]| {
            let heard = seats[at.0].phone.heard(call)?;
            Some(heard.get(&voice).copied().unwrap_or(0))
        };
        let before = count(&self.seats()).unwrap_or(0);
        self.wait(&format!("{at:?} to hear {voice:?}"), within, |seats| {
            count(seats).filter(|now| *now >= before + packets)
        });
    }

    /// Waits until neither phone has a call.
    pub(crate) fn wait_idle(&self, handsets: &[Handset], within: Duration) {
        self.wait("no call", within, |seats| {
            handsets.iter().all(|at| seats[at.0].phone.calls().next().is_none()).then_some(())
        });
    }

    pub(crate) fn wait_event(&self, at: Handset, wanted: &Event, within: Duration) {
        self.wait(&format!("{wanted:?} at {at:?}"), within, |seats| {
            seats[at.0].events.iter().any(|(_, event)| event == wanted).then_some(())
        });
    }

    pub(crate) fn calls(&self, at: Handset) -> Vec<CallId> {
        self.seats()[at.0].phone.calls().map(|(id, _)| id).collect()
    }

    /// What only a disagreement between a phone and the server brings forth.
    pub(crate) fn confusions(&self) -> Vec<String> {
        let seats = self.seats();
        let all = seats.iter().flat_map(|seat| {
            let number = seat.phone.settings().number.clone();
            seat.events.iter().map(move |(_, event)| (number.clone(), event))
        });
        all.filter_map(|(number, event)| match event {
            Event::Confused { what } => Some(format!("{number}: {what}")),
            _ => None,
        })
        .collect()
    }
}

impl Seat {
    /// When it noticed the last event that `is` picks.
    pub(crate) fn last(&self, is: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.events.iter().rev().find(|(_, event)| is(event)).map(|(at, _)| *at)
    }
}

/// What the phones look like to whoever reads a failure.
fn picture(seats: &[Seat]) -> String {
    let mut out = String::new();
    for seat in seats {
        let (phone, settings) = (&seat.phone, seat.phone.settings());
        let up = if phone.is_registered() { "registered" } else { "not registered" };
        let calls: Vec<_> = phone.calls().collect();
        let _ = write!(out, "  {} {up}, calls {calls:?}", settings.number);
        for (call, _) in calls {
            let (heard, forged) = (phone.heard(call), phone.forged(call));
            let _ = write!(out, ", {call:?} heard {heard:?}, not authentic {forged:?}");
        }
        if let Some(trouble) = &seat.trouble {
            let _ = write!(out, ", {trouble}");
        }
        let last = seat.events.iter().rev().take(6).rev().map(|(_, event)| event);
        let _ = writeln!(out, "\n    last: {:?}", last.collect::<Vec<_>>());
    }
    out
}
