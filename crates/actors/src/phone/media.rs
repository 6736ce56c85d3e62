//! What a phone says and hears in its calls, and where.

use std::net::SocketAddr;

use pure::Now;
use rtp::dtmf::{Digit, Press};

use super::{CallId, Output, Phone, Timer};
use crate::media::Media;

impl Phone {
    pub(super) fn open_media(&mut self) -> Media {
        let local = self.next_media_address();
        self.out.push_back(Output::MediaOpen { at: local });
        Media::new(local, &mut self.chance)
    }

    pub(super) fn next_media_address(&mut self) -> SocketAddr {
        let port = self.next_port;
        // A hundred calls further on, the first ports are long free.
        let first = self.settings.media_port;
        let after = self.next_port.wrapping_add(2);
        self.next_port = if after >= first.saturating_add(PORTS) { first } else { after };
        SocketAddr::new(self.settings.media_address, port)
    }

    /// Starts or stops the stream as the call's direction says.
    pub(super) fn tune(&mut self, now: Now, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match (call.media.is_speaking(), call.media.packet_timer) {
            (true, None) => {
                let timer = self.timers.set(now.instant, Timer::Packet(id));
                call.media.packet_timer = Some(timer);
            }
            (false, Some(timer)) => {
                self.timers.cancel(timer);
                call.media.packet_timer = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    pub(super) fn mute(&mut self, now: Now, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.media.muted = true;
        }
        self.tune(now, id);
    }

    pub(super) fn speak(&mut self, now: Now, id: CallId) {
        let interval = self.settings.packet_interval;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some((to, packet)) = call.media.packet(self.settings.voice, interval) {
            let from = call.media.local;
            self.out.push_back(Output::Media { from, to, packet });
        }
        call.media.packet_timer = Some(self.timers.set(now.instant + interval, Timer::Packet(id)));
    }

    pub(super) fn hear(&mut self, at: SocketAddr, from: SocketAddr, packet: &[u8]) {
        let security = self.settings.security;
        let call = self.calls.values_mut().find(|call| call.media.local == at);
        // The server's relay is one address; whoever else writes here is a stranger.
        if let Some(call) = call
            && call.media.remote == Some(from)
        {
            call.media.hear(packet, security);
        }
    }

    pub(super) fn press(&mut self, now: Now, id: CallId, key: char) {
        let Some(digit) = Digit::from_char(key) else { return };
        if let Some(call) = self.calls.get_mut(&id) {
            call.media.presses.push(Press::new(digit, 160, 1_600));
        }
        self.tune(now, id);
    }
}

/// Ports a phone uses in turn.
const PORTS: u16 = 200;
