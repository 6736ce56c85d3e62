//! A relay without sockets: every order is carried out in words. For benchmarks that ask what signalling costs
//! apart from media.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use rtp::relay::{Closed, Command, EndpointId, Event, RealmId, Reason, Sent, Stats, Violation};

use super::MediaRealm;

pub(super) struct NullRelay {
    realms: BTreeMap<RealmId, MediaRealm>,
    tell: Box<dyn Fn(Event) + Send>,
    /// Open endpoints, with their tags.
    open: BTreeMap<EndpointId, u64>,
    /// Pairs given out; ports come round again, since nobody listens at them.
    given: u16,
}

impl NullRelay {
    pub(super) fn new(realms: &[MediaRealm], tell: impl Fn(Event) + Send + 'static) -> Self {
        let realms = realms.iter().map(|realm| (realm.id, *realm)).collect();
        Self { realms, tell: Box::new(tell), open: BTreeMap::new(), given: 0 }
    }

    pub(super) fn open(&self) -> impl Iterator<Item = EndpointId> + '_ {
        self.open.keys().copied()
    }

    pub(super) fn handle(&mut self, command: &Command) {
        if let Some(event) = self.answer(command) {
            (self.tell)(event);
        }
    }

    /// What the order leads to; nothing for a lease.
    fn answer(&mut self, command: &Command) -> Option<Event> {
        match *command {
            Command::Allocate { endpoint, epoch, realm, tag, .. } => {
                let Some(MediaRealm { advertise, ports, .. }) = self.realms.get(&realm) else {
                    return Some(Event::Failed { endpoint, epoch, reason: Reason::NoPort });
                };
                self.open.insert(endpoint, tag);
                self.given = self.given.wrapping_add(1);
                let pairs = u16::try_from(ports.pairs()).unwrap_or(u16::MAX).max(1);
                let port = ports.first + self.given % pairs * 2;
                let rtp = SocketAddr::new(*advertise, port);
                Some(Event::Allocated { endpoint, epoch, rtp, rtcp: (*advertise, port + 1).into() })
            }
            Command::Arm { endpoint, epoch, .. } => Some(Event::Armed { endpoint, epoch }),
            Command::Close { endpoint } => {
                let Some(tag) = self.open.remove(&endpoint) else {
                    return Some(Event::Failed { endpoint, epoch: 0, reason: Reason::Unknown });
                };
                let stats = Stats {
                    tag,
                    closed: Closed::Asked,
                    suite: None,
                    received: rtp::quality::Report::default(),
                    sent: Sent::default(),
                    reported: None,
                    moves: 0,
                    violations: [0; Violation::ALL.len()],
                    not_forwarded: 0,
                };
                Some(Event::Stats { endpoint, stats: Box::new(stats) })
            }
            Command::Renew => None,
        }
    }
}

impl fmt::Debug for NullRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NullRelay").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
