//! Carriers of a world: where they are, how they are reached, and what befalls them.

use actors::carrier::{self, Carrier, CarrierSettings};
use pbx::flow::Transport;
use pbx::io::{self, Answer, ConnectError, Place, Query, Ticket};

use super::*;
use crate::link::Far;

/// A carrier and where it stands.
#[derive(Debug)]
pub struct CarrierNode {
    pub name: String,
    pub carrier: Carrier,
    /// Its one server.
    pub place: Place,
    /// Nothing passes, either way; it goes on by itself.
    pub cut: bool,
    /// Takes no connection (a TLS handshake fails).
    pub closed: bool,
    /// Added to every way.
    pub lag: Duration,
    pub dead: bool,
    pub events: Vec<(Instant, carrier::Event)>,
    wake: Option<Instant>,
    datagrams: Option<u64>,
}

/// What befalls a carrier, or what somebody makes it do.
#[derive(Clone, Debug)]
pub enum OfCarrier {
    Do(carrier::Action),
    /// No message and no packet passes any more.
    Cut,
    Heal,
    /// Its connections break, and new ones are refused.
    Close,
    Open,
    Lag(Duration),
    /// Takes no further registration.
    Registrar {
        closed: Option<u32>,
    },
}

impl World {
    /// Adds a carrier, whose trunk must be in the store before the start.
    pub fn add_carrier(&mut self, name: &str, settings: CarrierSettings) -> usize {
        let at = self.carriers.len();
        let (transport, port) = match settings.transport {
            sip::Transport::Udp => (Transport::Udp, 5060),
            sip::Transport::Tcp => (Transport::Tcp, 5060),
            _ => (Transport::Tls, 5061),
        };
        let address = settings.media_address;
        self.watch.addresses.insert(Far::Carrier(at), vec![address.to_string()]);
        for account in &settings.accounts {
            self.watch.secrets.push(account.secret.clone());
        }
        let now = self.now();
        self.carriers.push(CarrierNode {
            name: name.to_owned(),
            carrier: Carrier::new(settings, self.chance.fork(), now),
            place: Place { transport, remote: SocketAddr::new(address, port) },
            cut: false,
            closed: false,
            lag: Duration::ZERO,
            dead: false,
            events: Vec::new(),
            wake: None,
            datagrams: None,
        });
        at
    }

    pub(super) fn befall(&mut self, at: usize, what: OfCarrier) {
        match what {
            OfCarrier::Do(action) => {
                match action {
                    carrier::Action::Die => {
                        self.watch.bills.lost_ends = true;
                        self.carriers[at].dead = true;
                        self.coverage.reach(Item::CarrierVanished);
                        self.break_lines(at);
                    }
                    carrier::Action::Start => self.carriers[at].dead = false,
                    _ => {}
                }
                let starts = matches!(action, carrier::Action::Start);
                self.carrier(at, carrier::Input::Do(action));
                // Its UDP socket is there again with the process.
                if let Some(wire) = self.carriers[at].datagrams.filter(|_| starts) {
                    self.carrier_connected(at, wire);
                }
            }
            OfCarrier::Cut => {
                self.watch.bills.lost_ends = true;
                if self.carriers[at].carrier.calls() > 0 {
                    self.coverage.reach(Item::CarrierVanished);
                }
                self.carriers[at].cut = true;
                let wires = self.wires.values_mut();
                for wire in wires.filter(|wire| wire.far == Far::Carrier(at) && wire.reliable) {
                    wire.broken = true;
                }
            }
            OfCarrier::Heal => self.carriers[at].cut = false,
            OfCarrier::Close => {
                self.watch.bills.late_ends = true;
                self.carriers[at].closed = true;
                self.break_lines(at);
            }
            OfCarrier::Open => self.carriers[at].closed = false,
            OfCarrier::Lag(lag) => self.carriers[at].lag = lag,
            OfCarrier::Registrar { closed } => {
                self.carriers[at].carrier.set(|settings| settings.closed = closed);
            }
        }
    }

    /// Every connection of a carrier breaks, and both ends learn of it.
    fn break_lines(&mut self, at: usize) {
        let of = |(id, wire): (&u64, &Wire)| {
            (wire.far == Far::Carrier(at) && wire.reliable).then_some(*id)
        };
        let wires: Vec<u64> = self.wires.iter().filter_map(of).collect();
        for wire in wires {
            self.break_wire(wire);
            self.plan(self.instant, Event::FarLearns { wire });
            let delay = self.weather.delay(&mut self.chance);
            self.plan(self.instant + delay, Event::ServerLearns { wire });
        }
    }

    pub(super) fn look_up(&mut self, ticket: Ticket, query: &Query) {
        let answer = match query {
            Query::Locate { host, port, transport, allowed } => {
                let fits = |node: &&CarrierNode| {
                    let place = node.place;
                    node.carrier.settings().host == *host
                        && port.is_none_or(|port| port == place.remote.port())
                        && transport.is_none_or(|wanted| wanted == place.transport)
                        && allowed.contains(&place.transport)
                };
                let places: Vec<Place> =
                    self.carriers.iter().filter(fits).map(|node| node.place).collect();
                if places.is_empty() { Answer::Failed } else { Answer::Located(places) }
            }
            Query::VerifyIdentity { .. } | Query::SignIdentity { .. } => Answer::Failed,
        };
        let delay = self.weather.delay(&mut self.chance);
        let life = self.server.life;
        self.plan(self.instant + delay, Event::LookedUp { life, ticket, answer });
    }

    pub(super) fn connect_out(&mut self, ticket: Ticket, to: io::Far) {
        let delay = self.weather.delay(&mut self.chance) * 3;
        let life = self.server.life;
        self.plan(self.instant + delay, Event::ConnectOut { life, ticket, to });
    }

    pub(super) fn connected_out(&mut self, ticket: Ticket, to: &io::Far) {
        let now = self.now();
        let place = to.place;
        let found = self.carriers.iter().position(|node| node.place == place);
        let result = match found {
            Some(at) if place.transport == Transport::Udp => {
                if self.carriers[at].datagrams.is_none() {
                    let wire = Wire::new(Far::Carrier(at), place.remote, place.remote, None);
                    let id = self.wire(wire);
                    self.carriers[at].datagrams = Some(id);
                    self.carrier_connected(at, id);
                }
                let flow = self.server.bind_carrier_udp(now);
                flow.ok_or_else(|| ConnectError::Refused("no process".to_owned()))
            }
            Some(at) if self.carriers[at].cut => Err(ConnectError::TimedOut),
            Some(at) if self.carriers[at].dead => {
                Err(ConnectError::Unreachable("nobody listens".to_owned()))
            }
            Some(at) if self.carriers[at].closed => {
                let why = "the handshake failed".to_owned();
                Err(ConnectError::Tls { why, mend: pbx::command::Mend::Carrier })
            }
            Some(at) => {
                let flow = self.server.open(now, place.transport, to.realm, place.remote);
                let far = Far::Carrier(at);
                let id = self.wire(Wire::new(far, place.remote, place.remote, Some(flow)));
                self.carrier_connected(at, id);
                Ok(flow)
            }
            None => Err(ConnectError::Unreachable("no such host".to_owned())),
        };
        self.server.input(now, Input::Connected { ticket, result });
        self.serve();
    }

    /// The newest line of a carrier.
    pub(super) fn line_of(&self, at: usize) -> Option<u64> {
        let open = |wire: &&Wire| wire.far == Far::Carrier(at) && wire.far_open && !wire.broken;
        self.wires.iter().rev().find(|(_, wire)| open(wire)).map(|(id, _)| *id)
    }

    fn carrier_connected(&mut self, at: usize, id: u64) {
        let Some(wire) = self.wires.get(&id) else { return };
        let (link, local) = (Link { id, reliable: wire.reliable }, wire.local);
        self.carrier(at, carrier::Input::Connected { link, local });
    }

    /// Gives a carrier its input and carries out what it wants.
    pub(super) fn carrier(&mut self, at: usize, input: carrier::Input) {
        let now = self.now();
        self.carriers[at].carrier.handle(now, input);
        while let Some(output) = self.carriers[at].carrier.poll_output() {
            match output {
                carrier::Output::Transmit { link, bytes } => self.carrier_sends(at, link, bytes),
                carrier::Output::Media { from, to, packet } => {
                    if self.carriers[at].cut {
                        continue;
                    }
                    for arrival in self.weather.datagram(self.instant, &mut self.chance) {
                        let packet = packet.clone();
                        self.plan(arrival, Event::MediaUp { at: to, from, packet });
                    }
                }
                carrier::Output::MediaOpen { .. } | carrier::Output::MediaClose { .. } => {}
                carrier::Output::Event(event) => {
                    self.coverage.carrier(&event);
                    if !self.log_registering {
                        let text = format!("        {} {event:?}", self.carriers[at].name);
                        self.log_line(text);
                    }
                    self.carriers[at].events.push((self.instant, event));
                }
            }
        }
        let Some(due) = self.carriers[at].carrier.poll_timeout() else { return };
        let node = &mut self.carriers[at];
        if node.wake.is_none_or(|wake| due < wake) {
            node.wake = Some(due);
            self.plan(due, Event::WakeCarrier(at));
        }
    }

    pub(super) fn wake_carrier(&mut self, at: usize) {
        self.carriers[at].wake = None;
        self.carrier(at, carrier::Input::Wake);
    }

    fn carrier_sends(&mut self, at: usize, link: Link, bytes: Bytes) {
        let text = self.summary(&bytes);
        let name = self.carriers[at].name.clone();
        self.note_message(&name, "pbx", &text);
        self.repeated(&bytes, link.id);
        self.watch.says(Far::Carrier(at), &bytes);
        self.watch.carrier_says(self.instant, &bytes);
        if bytes.starts_with(b"SIP/2.0 200")
            && let Ok(Message::Response(answer)) = Message::parse(bytes.clone())
            && answer.headers().cseq().method == Method::Invite
            && let Some(invite) = self.tapped_toward.clone()
            && let Ok(Message::Request(parsed)) = Message::parse(invite.clone())
            && parsed.headers().call_id() == answer.headers().call_id()
        {
            self.tapped_outside = Some((at, invite, bytes.clone()));
        }
        if bytes.starts_with(b"INVITE ") {
            self.tapped_inbound = Some((at, bytes.clone()));
        }
        self.send_up(link.id, bytes);
    }
}
