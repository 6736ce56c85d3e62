//! The network between phones and server: how long, how lossy, and what of it breaks.

use std::net::SocketAddr;
use std::time::Duration;

use pbx::flow::FlowId;
use pure::{Chance, Instant};

/// The weather of one world. It may change while the world runs.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_min: Duration,
    /// Added by chance, at the most.
    pub jitter: Duration,
    /// Datagrams (signalling and media) lost of a thousand. Connections lose nothing: they break.
    pub loss: u64,
    /// Datagrams that arrive twice, of a thousand.
    pub duplicates: u64,
    /// Datagrams held back for up to a second, so that later ones overtake them, of a thousand.
    pub reordered: u64,
}

impl Weather {
    /// Nothing takes any time: for ladders, whose times then are the engines' own.
    pub const STILL: Self = Self {
        delay_min: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0,
        duplicates: 0,
        reordered: 0,
    };

    pub fn delay(&self, chance: &mut Chance) -> Duration {
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        self.delay_min + Duration::from_micros(chance.below(jitter))
    }

    /// When the copies of a datagram arrive: none, one, or two.
    pub fn datagram(&self, now: Instant, chance: &mut Chance) -> Vec<Instant> {
        if chance.below(1_000) < self.loss {
            return Vec::new();
        }
        let mut delay = self.delay(chance);
        if chance.below(1_000) < self.reordered {
            delay += Duration::from_millis(chance.below(1_000));
        }
        let mut arrivals = vec![now + delay];
        if chance.below(1_000) < self.duplicates {
            arrivals.push(now + delay + self.delay(chance) + Duration::from_millis(1));
        }
        arrivals
    }
}

/// Who is at the far end of a wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Far {
    Phone(usize),
    Carrier(usize),
    Attacker(usize),
    Stranger,
}

/// A connection between somebody and the server, or somebody's UDP socket.
#[derive(Debug)]
pub struct Wire {
    pub far: Far,
    pub reliable: bool,
    /// The far end's address as it knows it.
    pub local: SocketAddr,
    /// The far end's address as the server sees it.
    pub remote: SocketAddr,
    /// The server's flow of a connection. `None`: datagrams, which all come to one socket.
    pub flow: Option<FlowId>,
    pub far_open: bool,
    pub server_open: bool,
    /// Nothing passes any more, though an end may believe otherwise.
    pub broken: bool,
    /// No byte overtakes another: when the last one arrives at either end.
    pub up_last: Instant,
    pub down_last: Instant,
}

impl Wire {
    pub fn new(far: Far, local: SocketAddr, remote: SocketAddr, flow: Option<FlowId>) -> Self {
        Self {
            far,
            reliable: flow.is_some(),
            local,
            remote,
            flow,
            far_open: true,
            server_open: true,
            broken: false,
            up_last: Instant(0),
            down_last: Instant(0),
        }
    }

    /// Arrival of the next bytes toward the server (or the far end) on a connection.
    pub fn ordered(&mut self, up: bool, arrival: Instant) -> Instant {
        let last = if up { &mut self.up_last } else { &mut self.down_last };
        *last = arrival.max(*last);
        *last
    }
}
