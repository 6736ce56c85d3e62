//! Intruders of a world: where they are, what they try, and what came of it.

use std::collections::BTreeSet;

use actors::attacker::target::{Ours, Target};
use actors::attacker::{self, Attack, Attacker, AttackerSettings};
use guard::source::Source;

use super::*;

/// An intruder and where it stands.
#[derive(Debug)]
pub struct AttackerNode {
    pub attacker: Attacker,
    pub address: IpAddr,
    reliable: bool,
    wire: Option<u64>,
    wake: Option<Instant>,
    pub events: Vec<(Instant, attacker::Event)>,
    /// Accounts whose secrets it tries.
    pub guessed: BTreeSet<String>,
}

impl World {
    /// Adds an intruder at an address of its own.
    pub fn add_attacker(&mut self, settings: AttackerSettings, host: u8) -> usize {
        let at = self.attackers.len();
        let reliable = settings.transport.is_reliable();
        let port = if reliable { 5061 } else { 5060 };
        let target = Ours::simulated(SocketAddr::new(HOST, port)).expect("an address of no one's");
        let target = Target::new(target, DOMAIN);
        self.attackers.push(AttackerNode {
            attacker: Attacker::new(target, settings, self.chance.fork()),
            address: Ipv4Addr::new(192, 0, 2, host).into(),
            reliable,
            wire: None,
            wake: None,
            events: Vec::new(),
            guessed: BTreeSet::new(),
        });
        at
    }

    pub(super) fn attack(&mut self, at: usize, attack: Attack) {
        if let Attack::Guess { extension, .. } = &attack {
            self.attackers[at].guessed.insert(extension.clone());
        }
        let text = format!("        a{at} begins to {}", attack.name());
        self.log_line(text);
        self.attacker(at, attacker::Input::Do(attack));
    }

    pub(super) fn attacker(&mut self, at: usize, input: attacker::Input) {
        let now = self.now();
        self.attackers[at].attacker.handle(now, input);
        while let Some(output) = self.attackers[at].attacker.poll_output() {
            use attacker::Output as Out;
            match output {
                Out::Connect { .. } => {
                    let delay = self.weather.delay(&mut self.chance) * 3;
                    self.plan(self.instant + delay, Event::AttackerConnected(at));
                }
                Out::Disconnect { link } => {
                    if let Some(wire) = self.wires.get_mut(&link.id) {
                        wire.far_open = false;
                        self.plan(self.instant, Event::ServerLearns { wire: link.id });
                    }
                    self.attackers[at].wire = None;
                }
                Out::Transmit { link, bytes } => self.send_up(link.id, bytes),
                Out::Media { .. } => {}
                Out::Event(event) => {
                    if let attacker::Event::Gained { about, gain, .. } = &event {
                        self.log_line(format!("        a{at} gains {gain:?} by {about}"));
                    }
                    self.attackers[at].events.push((self.instant, event));
                }
            }
        }
        let node = &mut self.attackers[at];
        if let Some(due) = node.attacker.poll_timeout()
            && node.wake.is_none_or(|wake| due < wake)
        {
            node.wake = Some(due);
            self.plan(due, Event::WakeAttacker(at));
        }
    }

    pub(super) fn attacker_wakes(&mut self, at: usize) {
        self.attackers[at].wake = None;
        self.attacker(at, attacker::Input::Wake);
    }

    pub(super) fn attacker_connected(&mut self, at: usize) {
        let AttackerNode { reliable, address, .. } = self.attackers[at];
        if reliable && !self.server.is_up() {
            return self.attacker(at, attacker::Input::Disconnected);
        }
        let local = SocketAddr::new(address, self.port());
        let now = self.now();
        let flow = reliable.then(|| self.server.accept(now, local));
        let id = self.wire(Wire::new(Far::Attacker(at), local, local, flow));
        self.attackers[at].wire = Some(id);
        self.serve();
        self.attacker(at, attacker::Input::Connected { link: Link { id, reliable }, local });
    }

    pub(super) fn attacker_learns(&mut self, at: usize, wire: u64) {
        if self.attackers[at].wire == Some(wire) {
            self.attackers[at].wire = None;
            self.attacker(at, attacker::Input::Disconnected);
        }
    }

    /// Puts a phone behind an address that others share, on ports of its own.
    pub fn behind(&mut self, phone: usize, address: IpAddr) {
        let node = &mut self.phones[phone];
        node.public = address;
        node.translation = 10_000 + u16::try_from(phone).expect("few phones") * 200;
        let own = node.phone.settings().media_address;
        let addresses = vec![own.to_string(), address.to_string()];
        self.watch.addresses.insert(Far::Phone(phone), addresses);
    }

    /// Nothing of a phone or of a carrier may be dropped: what arrives must find no ban.
    pub(super) fn watch_for_bans(&mut self, far: Far, source: Source) {
        let ours = matches!(far, Far::Phone(_) | Far::Carrier(_));
        let now = self.instant;
        let wall = self.server.exchange().map(|exchange| exchange.registrar().wall());
        if ours && wall.is_some_and(|wall| wall.is_banned(now, source)) {
            let name = self.name(far);
            self.watch.broken.push(format!("wall: {name} is shut out"));
        }
    }

    /// How much of each intruder's guessing was compared in this life of the server.
    pub fn count_guesses(&mut self) {
        let Some(exchange) = self.server.exchange() else { return };
        let wall = exchange.registrar().wall();
        for (at, node) in self.attackers.iter().enumerate() {
            let most = GUESSES_MAX * u32::try_from(node.guessed.len()).expect("few accounts");
            let guesses = wall.guesses(Source::from(node.address));
            if guesses > most {
                let what = format!("wall: {guesses} guesses of a{at} were compared, not {most}");
                self.watch.broken.push(what);
            }
        }
    }
}

/// Compared with one account from one source within half an hour: five, a hold of ten minutes, five,
/// a hold of twenty.
const GUESSES_MAX: u32 = 10;
