//! What the server of a world wants done.

use super::*;

impl World {
    pub(super) fn kill(&mut self) {
        if !self.server.is_up() {
            return;
        }
        self.note("pbx crashes");
        self.coverage.reach(Item::Crash);
        if self.server.holds() > 0 {
            self.coverage.reach(Item::CrashWithMoney);
        }
        self.watch.bills.crashed = true;
        for node in &self.phones {
            for (_, state) in node.phone.calls() {
                match state {
                    phone::State::Incoming => self.coverage.reach(Item::CrashWhileRinging),
                    phone::State::Up => self.coverage.reach(Item::CrashMidCall),
                    _ => {}
                }
            }
        }
        self.count_guesses();
        self.server.kill();
        self.committing = false;
        self.server_wake = None;
        let connections: Vec<u64> =
            self.wires.iter().filter(|(_, wire)| wire.reliable).map(|(id, _)| *id).collect();
        for wire in connections {
            self.break_wire(wire);
            if let Some(wire) = self.wires.get_mut(&wire) {
                wire.server_open = false;
            }
            let delay = self.weather.delay(&mut self.chance);
            self.plan(self.instant + delay, Event::FarLearns { wire });
        }
    }

    /// Carries out what the server wants.
    pub(super) fn serve(&mut self) {
        while let Some(effect) = self.server.effects.pop_front() {
            match effect {
                Effect::Transmit { path, bytes } => self.server_sends(path, bytes),
                Effect::CloseFlow { flow } => {
                    let wire = self.wires.iter().find(|(_, wire)| wire.flow == Some(flow));
                    if let Some((&wire, _)) = wire {
                        self.break_wire(wire);
                        let delay = self.weather.delay(&mut self.chance);
                        self.plan(self.instant + delay, Event::FarLearns { wire });
                        self.plan(self.instant, Event::ServerLearns { wire });
                    }
                }
                Effect::Media { from, to, packet } => {
                    if to.ip() == STRANGERS {
                        self.watch.broken.push("media: a stranger was sent audio".to_owned());
                    }
                    let arrivals = self.weather.datagram(self.instant, &mut self.chance);
                    for arrival in arrivals {
                        let packet = packet.clone();
                        self.plan(arrival, Event::MediaDown { from, to, packet });
                    }
                }
                Effect::Relay(command) => {
                    let life = self.server.life;
                    let at = self.relay_time(0);
                    self.plan(at, Event::Relay { life, command });
                }
                Effect::RelayEvent(event) => {
                    match &event {
                        relay::Event::Failed { .. } => self.coverage.reach(Item::RelayRefused),
                        relay::Event::Dtmf { .. } => self.coverage.reach(Item::Dtmf),
                        _ => {}
                    }
                    let life = self.server.life;
                    let at = self.relay_time(1);
                    self.plan(at, Event::Relayed { life, event });
                }
                Effect::Fact(fact) => {
                    self.watch.fact(self.instant, &fact);
                    self.coverage.fact(&fact);
                    if fact.severity() >= Severity::Notice {
                        let text = format!("fact   {}", fact.name());
                        self.log_line(text);
                    }
                    self.facts.push(fact);
                }
                Effect::Trace(trace) => self.watch.trace(&trace),
                Effect::Reply(reply) => self.replies.push(reply),
                Effect::Connect { ticket, to } => self.connect_out(ticket, to),
                Effect::Lookup { ticket, query } => self.look_up(ticket, &query),
                Effect::Drained => {
                    self.drained = true;
                    self.note("pbx drained");
                }
            }
        }
        if self.server.store.is_busy() && !self.committing && self.server.is_up() {
            self.committing = true;
            let life = self.server.life;
            let busy = self.instant < self.disk_fails_until;
            let least = if busy { Duration::from_millis(100) } else { Duration::ZERO };
            let micros = u64::try_from(self.commit_delay.as_micros()).expect("short");
            let delay = least + Duration::from_micros(self.chance.below(micros));
            self.plan(self.instant + delay, Event::Commit { life });
        }
        if let Some(due) = self.server.poll_timeout()
            && self.server_wake.is_none_or(|wake| due < wake)
        {
            self.server_wake = Some(due);
            self.plan(due, Event::WakeServer);
        }
    }

    pub(super) fn relay_time(&mut self, way: usize) -> Instant {
        let micros = u64::try_from(self.relay_delay.as_micros()).expect("short");
        let at = self.instant + Duration::from_micros(self.chance.below(micros));
        self.relay_last[way] = self.relay_last[way].max(at);
        self.relay_last[way]
    }

    pub(super) fn server_sends(&mut self, path: Path, bytes: Bytes) {
        let wire = if path.flow.transport.is_reliable() {
            let mut wires = self.wires.iter();
            wires.find(|(_, wire)| wire.flow == Some(path.flow)).map(|(&id, _)| id)
        } else {
            self.datagrams.get(&path.remote).copied()
        };
        let Some(id) = wire else {
            self.server.input(self.now(), Input::TransmitFailed { path });
            return;
        };
        let far = self.wires.get(&id).map_or(Far::Stranger, |wire| wire.far);
        if !matches!(far, Far::Attacker(_)) {
            let name = self.name(far);
            let text = self.summary(&bytes);
            self.note_message("pbx", &name, &text);
            self.repeated(&bytes, id);
        }
        self.judge_forgeries(id, far, &bytes);
        match far {
            Far::Phone(phone) => {
                self.watch.is_told(far, &bytes);
                if bytes.starts_with(b"SIP/2.0 200")
                    && let Ok(Message::Response(response)) = Message::parse(bytes.clone())
                    && response.headers().cseq().method == Method::Invite
                {
                    self.tapped_answers.insert(phone, response.headers().to().to_buf());
                }
            }
            Far::Carrier(_) => {
                self.watch.is_told(far, &bytes);
                if bytes.starts_with(b"INVITE ") {
                    self.tapped_toward = Some(bytes.clone());
                }
                self.watch.carrier_is_told(self.instant, &bytes, &self.server.store);
            }
            Far::Attacker(_) | Far::Stranger => {}
        }
        if !matches!(far, Far::Attacker(_)) {
            self.coverage.server_says(&bytes, matches!(far, Far::Carrier(_)));
        }
        self.send_down(id, bytes);
    }
}
