//! Audio on its way, and audio that somebody else sends.

use super::*;

impl World {
    pub(super) fn media_down(&mut self, from: SocketAddr, to: SocketAddr, packet: Vec<u8>) {
        let carrier = self.carriers.iter().position(|node| node.place.remote.ip() == to.ip());
        if let Some(at) = carrier.filter(|at| !self.carriers[*at].cut) {
            return self.carrier(at, actors::carrier::Input::Media { at: to, from, packet });
        }
        let node = self.phones.iter().position(|node| node.public == to.ip() && !node.dead);
        let Some(at) = node else { return };
        let node = &self.phones[at];
        // Through the translator only by the mapping that stands.
        let Some(port) = to.port().checked_sub(node.translation) else { return };
        let own = SocketAddr::new(node.phone.settings().media_address, port);
        self.phone(at, phone::Input::Media { at: own, from, packet });
    }

    /// A stranger sends audio to every media port it can guess, and to every phone in the server's
    /// name.
    pub(super) fn inject(&mut self) {
        self.coverage.reach(Item::Injection);
        let stranger = SocketAddr::new(STRANGERS, 6_666);
        for (at, packet) in self.overheard_media.values().cloned().collect::<Vec<_>>() {
            self.coverage.reach(Item::Replay);
            for _ in 0..REPLAYS {
                let packet = packet.clone();
                self.plan(self.instant, Event::MediaUp { at, from: stranger, packet });
            }
        }
        let mut packet = vec![0x80, 0, 0x12, 0x34, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef];
        packet.extend_from_slice(&INTRUDER.to_be_bytes());
        packet.resize(12 + 160 + 10, 0xff);
        let sockets: Vec<SocketAddr> = self.server.sockets().collect();
        for at in sockets {
            let packet = packet.clone();
            self.plan(self.instant, Event::MediaUp { at, from: stranger, packet });
        }
        let encrypted =
            |node: &Node| node.phone.settings().security == phone::Security::Srtp && !node.dead;
        let targets: Vec<(SocketAddr, u16)> = self
            .phones
            .iter()
            .filter(|node| encrypted(node))
            .map(|node| {
                let settings = node.phone.settings();
                let to = SocketAddr::new(node.public, settings.media_port + node.translation);
                (to, settings.media_port)
            })
            .collect();
        for (to, _) in targets {
            for offset in (0..40).step_by(2) {
                let to = SocketAddr::new(to.ip(), to.port() + offset);
                let from = SocketAddr::new(HOST, 21_000 + offset);
                let packet = packet.clone();
                self.plan(self.instant, Event::MediaDown { from, to, packet });
            }
        }
    }
}
