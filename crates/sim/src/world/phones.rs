//! Phones of a world: what their owners do with them, and what they want.

use super::*;

impl World {
    pub(super) fn phone_acts(&mut self, phone: usize, action: Action) {
        let node = &mut self.phones[phone];
        match &action {
            Action::Start if !node.dead => return,
            Action::Start => node.dead = false,
            _ if node.dead => return,
            Action::Die => {
                node.dead = true;
                self.note_fault(phone, "dies");
                self.coverage.reach(Item::PhoneDied);
                if let Some(wire) = self.phones[phone].wire {
                    self.break_wire(wire);
                }
            }
            _ => {}
        }
        self.phone(phone, phone::Input::Do(action));
    }

    /// The newest call of this phone.
    pub fn newest_call(&self, phone: usize) -> Option<CallId> {
        self.phones[phone].phone.calls().last().map(|(id, _)| id)
    }

    pub(super) fn in_call(&mut self, phone: usize, what: InCall) {
        let Some(call) = self.newest_call(phone) else { return };
        let action = match what {
            InCall::Answer => Action::Answer { call },
            InCall::Reject => Action::Reject { call },
            InCall::HangUp => Action::HangUp { call },
            InCall::Hold => Action::Hold { call },
            InCall::Mute => Action::Mute { call },
            InCall::Resume => Action::Resume { call },
            InCall::Move => Action::Move { call },
            InCall::Press(digit) => Action::Press { call, digit },
            InCall::Inform(digit) => Action::Inform { call, digit },
        };
        self.phone_acts(phone, action);
    }

    pub(super) fn note_fault(&mut self, phone: usize, what: &str) {
        if !self.log_registering {
            let text = format!("        {} {what}", self.phones[phone].name);
            self.log_line(text);
        }
    }

    pub(super) fn note_mid_call(&mut self, phone: usize) {
        let up = |(_, state): (CallId, &phone::State)| *state == phone::State::Up;
        if self.phones[phone].phone.calls().any(up) {
            self.coverage.reach(Item::FlowLossMidCall);
        }
    }

    pub(super) fn phone(&mut self, at: usize, input: phone::Input) {
        let now = self.now();
        self.phones[at].phone.handle(now, input);
        while let Some(output) = self.phones[at].phone.poll_output() {
            use phone::Output as Out;
            match output {
                Out::Connect => {
                    let delay = self.weather.delay(&mut self.chance) * 3;
                    let reliable = self.phones[at].phone.settings().transport.is_reliable();
                    let event = if self.server.is_up() || !reliable {
                        Event::Connected { phone: at }
                    } else {
                        Event::Refused { phone: at }
                    };
                    self.plan(self.instant + delay, event);
                }
                Out::Disconnect { link } => {
                    if let Some(wire) = self.wires.get_mut(&link.id) {
                        wire.far_open = false;
                    }
                    if self.phones[at].wire == Some(link.id) {
                        self.phones[at].wire = None;
                    }
                    self.bury(link.id);
                }
                Out::Transmit { link, bytes } => self.phone_sends(at, link, bytes),
                Out::Media { from, to, packet } => {
                    let node = &self.phones[at];
                    let from = SocketAddr::new(node.public, from.port() + node.translation);
                    let arrivals = self.weather.datagram(self.instant, &mut self.chance);
                    for arrival in arrivals {
                        let packet = packet.clone();
                        self.plan(arrival, Event::MediaUp { at: to, from, packet });
                    }
                }
                Out::MediaOpen { .. } | Out::MediaClose { .. } => {}
                Out::Event(event) => {
                    self.coverage.event(&event);
                    if !self.log_registering && !matches!(event, phone::Event::Registered { .. }) {
                        let text = format!("        {} {event:?}", self.phones[at].name);
                        self.log_line(text);
                    }
                    self.phones[at].events.push((self.instant, event));
                }
            }
        }
        self.watch_phone(at);
    }

    pub(super) fn watch_phone(&mut self, at: usize) {
        let node = &mut self.phones[at];
        let Some(due) = node.phone.poll_timeout() else { return };
        if node.wake.is_none_or(|wake| due < wake) {
            node.wake = Some(due);
            self.plan(due, Event::WakePhone(at));
        }
    }

    pub(super) fn phone_sends(&mut self, at: usize, link: Link, bytes: Bytes) {
        let text = self.summary(&bytes);
        let name = self.phones[at].name.clone();
        self.note_message(&name, "pbx", &text);
        self.repeated(&bytes, link.id);
        self.watch.says(Far::Phone(at), &bytes);
        if bytes.starts_with(b"INVITE ") {
            self.tapped.insert(at, bytes.clone());
        }
        self.send_up(link.id, bytes);
    }
}
