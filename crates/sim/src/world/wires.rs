//! Connections and datagrams: opened, broken, and what passes on them.

use super::*;
use crate::link::Far;

impl World {
    pub(super) fn break_wire(&mut self, wire: u64) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.broken = true;
        }
    }

    /// Names a wire. Never used twice.
    pub(super) fn wire(&mut self, wire: Wire) -> u64 {
        self.wires_made += 1;
        let id = self.wires_made;
        if !wire.reliable {
            self.datagrams.insert(wire.remote, id);
        }
        self.wires.insert(id, wire);
        id
    }

    /// The port that the next connection comes from.
    pub(super) fn port(&self) -> u16 {
        30_000 + u16::try_from((self.wires_made + 1) % 20_000).expect("below")
    }

    pub(super) fn connected(&mut self, phone: usize) {
        if self.phones[phone].dead || self.phones[phone].wire.is_some() {
            return;
        }
        let reliable = self.phones[phone].phone.settings().transport.is_reliable();
        if reliable && !self.server.is_up() {
            return self.phone(phone, phone::Input::Disconnected);
        }
        let node = &self.phones[phone];
        let port = self.port();
        let local = SocketAddr::new(node.phone.settings().media_address, port);
        let remote = SocketAddr::new(node.public, port);
        let now = self.now();
        let flow = reliable.then(|| self.server.accept(now, remote));
        let id = self.wire(Wire::new(Far::Phone(phone), local, remote, flow));
        self.phones[phone].wire = Some(id);
        self.serve();
        self.phone(phone, phone::Input::Connected { link: Link { id, reliable }, local });
    }

    pub(super) fn far_learns(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if !std::mem::replace(&mut wire.far_open, false) {
            return;
        }
        let (far, reliable) = (wire.far, wire.reliable);
        self.bury(id);
        match far {
            Far::Phone(phone) => {
                if self.phones[phone].wire == Some(id) {
                    self.phones[phone].wire = None;
                    if !self.phones[phone].dead {
                        self.phone(phone, phone::Input::Disconnected);
                    }
                }
            }
            Far::Carrier(at) => {
                let link = Link { id, reliable };
                self.carrier(at, actors::carrier::Input::Disconnected { link });
            }
            Far::Attacker(at) => self.attacker_learns(at, id),
            Far::Stranger => {}
        }
    }

    pub(super) fn server_learns(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(flow) = wire.flow else { return };
        if !std::mem::replace(&mut wire.server_open, false) {
            return;
        }
        self.bury(id);
        self.server.input(self.now(), Input::FlowClosed { flow });
        // A dead connection is unreachable at once: no device may still be shown on it.
        let views = self.server.exchange().map(|exchange| exchange.registrar().device_views());
        let on_it = |view: &pbx::command::DeviceView| {
            view.registered.as_ref().is_some_and(|registered| registered.path.flow == flow)
        };
        if views.is_some_and(|views| views.iter().any(on_it)) {
            self.watch.broken.push("flow: a device is registered on a dead connection".to_owned());
        }
        self.serve();
    }

    pub(super) fn bury(&mut self, id: u64) {
        if self.wires.get(&id).is_some_and(|wire| !wire.far_open && !wire.server_open) {
            self.wires.remove(&id);
        }
    }

    pub(super) fn arrive_at_server(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get(&id) else { return };
        if wire.broken || !wire.server_open || !self.server.is_up() {
            return;
        }
        let socket = match wire.far {
            Far::Carrier(_) => self.server.carrier_udp(),
            Far::Phone(_) | Far::Attacker(_) | Far::Stranger => self.server.udp_flow(),
        };
        let Some(flow) = wire.flow.or(socket) else { return };
        let path = Path { flow, remote: wire.remote };
        let far = wire.far;
        let outside = matches!(far, Far::Carrier(_));
        self.watch_for_bans(far, path.remote.ip().into());
        // What an intruder reaches is no behaviour of ours to be proud of.
        if !matches!(far, Far::Attacker(_)) {
            self.coverage.server_hears(&bytes, outside);
        }
        if outside {
            self.watch.carrier_is_heard(self.instant, &bytes);
        }
        self.server.input(self.now(), Input::Received { path, bytes });
        self.serve();
    }

    pub(super) fn arrive_at_far(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get(&id) else { return };
        if wire.broken || !wire.far_open {
            return;
        }
        let link = Link { id, reliable: wire.reliable };
        match wire.far {
            Far::Phone(phone) => {
                if self.phones[phone].dead {
                    return;
                }
                let giving = |(_, state): (CallId, &phone::State)| *state == phone::State::GivingUp;
                let giving_up = self.phones[phone].phone.calls().any(giving);
                self.coverage.phone_hears(&bytes, giving_up);
                self.phone(phone, phone::Input::Received { link, bytes });
            }
            Far::Carrier(at) => {
                self.carrier(at, actors::carrier::Input::Received { link, bytes });
            }
            Far::Attacker(at) => {
                self.attacker(at, actors::attacker::Input::Received { link, bytes });
            }
            Far::Stranger => {}
        }
    }

    /// From the far end toward the server.
    pub(super) fn send_up(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.broken && wire.reliable {
            // Nobody acknowledges: the kernel gives up after a while.
            let late = self.instant + Duration::from_secs(5);
            return self.plan(late, Event::FarLearns { wire: id });
        }
        if wire.reliable && !wire.server_open {
            return self.plan(self.instant, Event::FarLearns { wire: id });
        }
        let arrivals = self.arrivals(id, true);
        if arrivals.is_empty() {
            self.coverage.reach(Item::Loss);
        }
        for arrival in arrivals {
            self.plan(arrival, Event::ToServer { wire: id, bytes: bytes.clone() });
        }
    }

    /// From the server toward the far end.
    pub(super) fn send_down(&mut self, id: u64, bytes: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.broken {
            if wire.reliable {
                let late = self.instant + Duration::from_secs(15);
                self.plan(late, Event::ServerLearns { wire: id });
            }
            return;
        }
        if wire.reliable && !wire.far_open {
            return self.plan(self.instant, Event::ServerLearns { wire: id });
        }
        for arrival in self.arrivals(id, false) {
            self.plan(arrival, Event::ToFar { wire: id, bytes: bytes.clone() });
        }
    }

    /// When the copies of a message arrive.
    fn arrivals(&mut self, id: u64, up: bool) -> Vec<Instant> {
        let Some(wire) = self.wires.get_mut(&id) else { return Vec::new() };
        let lag = match wire.far {
            Far::Carrier(at) if self.carriers[at].cut && !wire.reliable => return Vec::new(),
            Far::Carrier(at) => self.carriers[at].lag,
            Far::Phone(_) | Far::Attacker(_) | Far::Stranger => Duration::ZERO,
        };
        if wire.reliable {
            let arrival = self.instant + lag + self.weather.delay(&mut self.chance);
            return vec![wire.ordered(up, arrival)];
        }
        let arrivals = self.weather.datagram(self.instant + lag, &mut self.chance);
        if arrivals.len() > 1 {
            self.coverage.reach(Item::Duplicate);
        }
        arrivals
    }

    /// Bytes that were sent on this wire before: a retransmission.
    pub(super) fn repeated(&mut self, bytes: &Bytes, wire: u64) {
        // FNV-1a: enough to recognise equal bytes among the last few.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if self.seen.contains(&(wire, hash)) {
            self.coverage.reach(Item::Retransmission);
        }
        self.seen.push_back((wire, hash));
        if self.seen.len() > 128 {
            self.seen.pop_front();
        }
    }
}
