//! Whoever forges what it overheard, and phones that get their own words wrong.

use super::*;
use crate::link::Far;

/// A request within a dialog or to a transaction, by somebody who had read its messages.
#[derive(Clone, Copy, Debug)]
pub struct Forgery {
    pub whose: Whose,
    pub by: Forger,
    pub method: Method,
    pub slip: Slip,
}

/// Whose words are forged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Those of the last call that this phone made.
    Phone(usize),
    /// Those of the last call that a carrier took, or for CANCEL of the last that one made.
    Carrier,
}

/// Who says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forger {
    /// Somebody else, on a connection to the port where its victim is answered.
    Stranger,
    /// The same by a datagram to the carriers' socket.
    Datagram,
    /// A carrier, on its own line.
    Carrier(usize),
    /// The one whose words these are.
    Itself,
}

/// What a forger gets wrong besides where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slip {
    Nothing,
    ToTag,
    FromTag,
    /// The first CSeq, long used.
    OldNumber,
    /// A CSeq far beyond it, as it may be (RFC 3261 §12.2.2).
    FarNumber,
    /// A header that is absent, malformed, or there twice.
    Without(sip::Name),
    Malformed(sip::Name),
    Twice(sip::Name),
}

impl World {
    /// Says what was forged, on the wire that is returned; `None`: nothing was overheard, or whoever forges
    /// has no line.
    pub fn forge(&mut self, forgery: Forgery) -> Option<u64> {
        let Forgery { whose, by, method, slip } = forgery;
        let heard = match whose {
            Whose::Phone(phone) => self.overheard(phone, method, slip).map(|said| (None, said)),
            Whose::Carrier => {
                let heard = self.overheard_outside(method, slip);
                heard.map(|(carrier, said)| (Some(carrier), said))
            }
        };
        let (carrier, message) = heard.filter(|_| self.server.is_up())?;
        let wire = match (by, whose, carrier) {
            (Forger::Stranger, Whose::Phone(_), _) => Some(self.stranger()),
            (Forger::Stranger, Whose::Carrier, _) => Some(self.stranger_among_carriers()),
            (Forger::Datagram, ..) => self.stranger_by_datagram(),
            (Forger::Carrier(at), ..) if carrier != Some(at) => self.line_of(at),
            // That would be no forgery.
            (Forger::Carrier(_), ..) => None,
            (Forger::Itself, Whose::Phone(phone), _) => self.phones[phone].wire,
            (Forger::Itself, Whose::Carrier, at) => at.and_then(|at| self.line_of(at)),
        };
        let wire = wire?;
        self.say_forged(wire, message, by != Forger::Itself);
        Some(wire)
    }

    /// The same in passing: a stranger's connection is closed soon after.
    pub(super) fn forge_in_passing(&mut self, forgery: Forgery) {
        let Some(wire) = self.forge(forgery) else { return };
        let stranger = |wire: &Wire| wire.far == Far::Stranger && wire.reliable;
        if self.wires.get(&wire).is_some_and(stranger) {
            let soon = self.instant + Duration::from_secs(5);
            self.plan(soon, Event::FarLearns { wire });
            self.plan(soon, Event::ServerLearns { wire });
        }
    }

    /// On a wire of somebody; `elsewhere`: its dialogs are others'.
    pub fn say_forged(&mut self, wire: u64, bytes: Bytes, elsewhere: bool) {
        let far = self.wires.get(&wire).map_or(Far::Stranger, |wire| wire.far);
        let text = self.summary(&bytes);
        let name = self.name(far);
        self.note_message(&name, "pbx", &text);
        self.watch.forges(far, &bytes);
        if elsewhere && let Ok(message) = Message::parse(bytes.clone()) {
            self.forged.insert((wire, message.headers().call_id().to_owned()));
        }
        self.send_up(wire, bytes);
    }

    /// No forgery is ever granted, and the carriers' socket says nothing at all to strangers. Where a call
    /// is on its way out, a BYE of its own peer is welcome whatever its tags.
    pub(super) fn judge_forgeries(&mut self, wire: u64, far: Far, bytes: &Bytes) {
        let datagram = self.wires.get(&wire).is_some_and(|wire| !wire.reliable);
        let silent = far == Far::Stranger && datagram;
        if !silent && !bytes.starts_with(b"SIP/2.0 2") {
            return;
        }
        let Ok(Message::Response(response)) = Message::parse(bytes.clone()) else { return };
        let headers = response.headers();
        let call_id = headers.call_id().to_owned();
        let method = headers.cseq().method;
        let slipped = headers.top_via().branch().is_some_and(|branch| branch.starts_with(SLIPPED));
        let elsewhere = far == Far::Stranger || self.forged.contains(&(wire, call_id.clone()));
        let crossing = method == Method::Bye && self.coverage.has_left(&call_id);
        if elsewhere || (slipped && !crossing) {
            let (name, text) = (self.name(far), self.summary(bytes));
            self.watch.broken.push(format!("forged: {name} was answered {text}"));
        }
    }

    /// Opens a stranger's connection; for forgers.
    pub fn stranger(&mut self) -> u64 {
        let remote = SocketAddr::new(STRANGERS, 45_000);
        let flow = self.server.accept(self.now(), remote);
        self.wire(Wire::new(Far::Stranger, remote, remote, Some(flow)))
    }

    /// Opens a stranger's connection to where carriers are answered.
    pub fn stranger_among_carriers(&mut self) -> u64 {
        let remote = SocketAddr::new(STRANGERS, 45_001);
        let now = self.now();
        let over = pbx::flow::Transport::Tls;
        let flow = self.server.open(now, over, crate::server::CARRIER, remote);
        self.wire(Wire::new(Far::Stranger, remote, remote, Some(flow)))
    }

    /// A stranger's datagrams to the socket that carriers are spoken to on.
    fn stranger_by_datagram(&mut self) -> Option<u64> {
        let remote = SocketAddr::new(STRANGERS, 45_002);
        let socket = self.server.carrier_udp()?;
        let mut wire = Wire::new(Far::Stranger, remote, remote, Some(socket));
        wire.reliable = false;
        Some(self.wire(wire))
    }

    /// A request with the names of a dialog or transaction of this phone, as somebody who had read
    /// its last INVITE would forge it.
    fn overheard(&self, phone: usize, method: Method, slip: Slip) -> Option<Bytes> {
        let invite = self.tapped.get(&phone)?.clone();
        let Ok(Message::Request(invite)) = Message::parse(invite) else {
            panic!("only requests are tapped");
        };
        let headers = invite.headers();
        let cancel = method == Method::Cancel;
        let answered = self.tapped_answers.get(&phone).filter(|_| !cancel);
        let number = headers.cseq().number;
        let forged = Forged {
            method,
            slip,
            uri: invite.uri().as_str(),
            via: headers.top_via().as_str(),
            from: headers.from().to_buf(),
            to: answered.map_or_else(|| headers.to().to_buf(), |to| to.clone()),
            call_id: headers.call_id(),
            last: number,
            description: invite.body(),
        };
        Some(forged.build())
    }

    /// The same of the last call that a carrier took, or for CANCEL of the last one it made. Which
    /// carrier, and what it would have said.
    fn overheard_outside(&self, method: Method, slip: Slip) -> Option<(usize, Bytes)> {
        if method == Method::Cancel {
            let (carrier, invite) = self.tapped_inbound.clone()?;
            let Ok(Message::Request(invite)) = Message::parse(invite) else {
                panic!("only requests are tapped");
            };
            let headers = invite.headers();
            let forged = Forged {
                method,
                slip,
                uri: invite.uri().as_str(),
                via: headers.top_via().as_str(),
                from: headers.from().to_buf(),
                to: headers.to().to_buf(),
                call_id: headers.call_id(),
                last: headers.cseq().number,
                description: invite.body(),
            };
            return Some((carrier, forged.build()));
        }
        let (carrier, invite, answer) = self.tapped_outside.clone()?;
        let (Ok(Message::Request(invite)), Ok(Message::Response(answer))) =
            (Message::parse(invite), Message::parse(answer))
        else {
            panic!("an INVITE and its answer are tapped");
        };
        let headers = invite.headers();
        let host = self.carriers[carrier].place.remote;
        let over = match self.carriers[carrier].place.transport {
            pbx::flow::Transport::Udp => "UDP",
            pbx::flow::Transport::Tcp => "TCP",
            _ => "TLS",
        };
        let forged = Forged {
            method,
            slip,
            uri: headers.contacts().next().expect("a Contact").uri().as_str(),
            via: &format!("SIP/2.0/{over} {host};branch=z9hG4bK{}", headers.call_id()),
            from: answer.headers().to().to_buf(),
            to: headers.from().to_buf(),
            call_id: headers.call_id(),
            last: 0,
            description: answer.body(),
        };
        Some((carrier, forged.build()))
    }

    /// A call to the Contact that a carrier was told, by somebody who has seen it.
    pub fn stolen_contact(&self, contact: &str) -> Bytes {
        let party = |user: &str, host: &str| {
            sip::NameAddrBuf::new(None, &format!("sip:{user}@{host}")).expect("sound")
        };
        let from = party("+19005550123", "acme.test").with_tag("stolen").expect("sound");
        let request = sip::Request::builder(Method::Invite, contact)
            .via(sip::Transport::Tls, "192.0.2.66:45001", "z9hG4bKstolen")
            .max_forwards(70)
            .from(&from)
            .to(&party("+12125550101", "acme.test"))
            .call_id("stolen")
            .cseq(1)
            .header(sip::Name::Contact, "<sip:mallory@192.0.2.66:45001>");
        request.build().expect("a sound forgery").as_bytes().clone()
    }
}

/// What a forged request is made from.
struct Forged<'a> {
    method: Method,
    slip: Slip,
    uri: &'a str,
    /// With its branch, which a CANCEL keeps.
    via: &'a str,
    from: sip::NameAddrBuf,
    to: sip::NameAddrBuf,
    call_id: &'a str,
    /// The CSeq that was used last.
    last: u32,
    description: &'a Bytes,
}

impl Forged<'_> {
    fn build(self) -> Bytes {
        let Self { method, slip, mut from, mut to, last, .. } = self;
        let branch = match slip {
            Slip::ToTag | Slip::FromTag | Slip::OldNumber => SLIPPED,
            _ => FORGED,
        };
        let cancel = method == Method::Cancel;
        let via = self.via.to_owned();
        let via = if cancel { via } else { via.replace("z9hG4bK", branch) };
        let another = |address: &sip::NameAddrBuf| {
            let tag = address.as_name_addr().tag().unwrap_or_default().to_owned();
            address.with_tag(&format!("{tag}x")).expect("sound")
        };
        match slip {
            Slip::ToTag => to = another(&to),
            Slip::FromTag => from = another(&from),
            _ => {}
        }
        let number = match slip {
            _ if cancel => last,
            // That of the INVITE that was challenged.
            Slip::OldNumber => 1,
            Slip::FarNumber => last + 1_000_000,
            _ => last + 50,
        };
        let mut request = sip::Request::builder(method, self.uri)
            .header(sip::Name::Via, &via)
            .max_forwards(70)
            .from(&from)
            .to(&to)
            .call_id(self.call_id)
            .cseq(number);
        if method == Method::Refer {
            request = request.header(sip::Name::ReferTo, "<sip:+19005550123@pbx.test>");
        }
        if method == Method::Invite {
            request = request.header(sip::Name::Contact, "<sip:mallory@192.0.2.66:45000>");
            let body = String::from_utf8_lossy(self.description);
            let body = body.replace("10.0.0.", "192.0.2.").replace("198.18.0.", "192.0.2.");
            request = request.body("application/sdp", body);
        }
        let sound = request.build().expect("a sound forgery").as_bytes().clone();
        let (Slip::Without(name) | Slip::Malformed(name) | Slip::Twice(name)) = slip else {
            return sound;
        };
        let text = String::from_utf8_lossy(&sound);
        let start = format!("{}: ", name.as_str());
        let row = text.split_inclusive("\r\n").find(|row| row.starts_with(&start)).expect("a row");
        let instead = match slip {
            Slip::Without(_) => String::new(),
            Slip::Malformed(_) => format!("{start}x\r\n"),
            _ => row.repeat(2),
        };
        text.replacen(row, &instead, 1).into()
    }
}

/// Begins the branch of what comes from the right side with something wrong in it.
const SLIPPED: &str = "z9hG4bKslipped";
/// And of what comes from elsewhere.
const FORGED: &str = "z9hG4bKforged";

/// Whether its branch says that it was forged here; a CANCEL has its INVITE's.
pub(crate) fn is_forged(request: &sip::Request) -> bool {
    let via = request.headers().top_via();
    via.branch().is_some_and(|branch| branch.starts_with(SLIPPED) || branch.starts_with(FORGED))
}
