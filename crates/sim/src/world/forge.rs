//! Strangers who forge what they overheard.

use super::*;

impl World {
    /// Opens a stranger's connection; for forgers.
    pub fn stranger(&mut self) -> u64 {
        let remote = SocketAddr::new(STRANGERS, 45_000);
        let flow = self.server.accept(self.now(), remote);
        self.wire(Wire::new(Far::Stranger, remote, remote, Some(flow)))
    }

    pub fn forge(&mut self, wire: u64, bytes: Bytes) {
        let text = self.summary(&bytes);
        self.note_message(STRANGER, "pbx", &text);
        self.send_up(wire, bytes);
    }

    /// A request with the names of a dialog or transaction of this phone, as somebody who had read
    /// its last INVITE would forge it.
    pub fn overheard(&self, phone: usize, method: &str) -> Bytes {
        let invite = self.tapped.get(&phone).expect("an INVITE of this phone").clone();
        let Ok(Message::Request(invite)) = Message::parse(invite) else {
            panic!("only requests are tapped");
        };
        let headers = invite.headers();
        let method = Method::parse(method.as_bytes()).expect("a method");
        let cancel = method == Method::Cancel;
        let via = headers.top_via().as_str().to_owned();
        let via = if cancel { via } else { via.replace("branch=z9hG4bK", "branch=z9hG4bKforged") };
        let answered = self.tapped_answers.get(&phone).filter(|_| !cancel);
        let to = answered.map_or_else(|| headers.to().to_buf(), |to| to.clone());
        let mut request = sip::Request::builder(method, invite.uri().as_str())
            .header(sip::Name::Via, &via)
            .max_forwards(70)
            .from(&headers.from().to_buf())
            .to(&to)
            .call_id(headers.call_id())
            .cseq(headers.cseq().number + if cancel { 0 } else { 50 });
        if method == Method::Invite {
            request = request.header(sip::Name::Contact, "<sip:mallory@192.0.2.66:45000>");
            let body = String::from_utf8_lossy(invite.body()).replace("10.0.0.", "192.0.2.");
            request = request.body("application/sdp", body);
        }
        request.build().expect("a sound forgery").as_bytes().clone()
    }

    /// Opens a stranger's connection to where carriers are answered.
    pub fn stranger_among_carriers(&mut self) -> u64 {
        let remote = SocketAddr::new(STRANGERS, 45_001);
        let now = self.now();
        let over = pbx::flow::Transport::Tls;
        let flow = self.server.open(now, over, crate::server::CARRIER, remote);
        self.wire(Wire::new(Far::Stranger, remote, remote, Some(flow)))
    }

    /// A BYE of the last call that a carrier took, as somebody who had read its INVITE and the answer
    /// would forge it.
    pub fn overheard_outside(&self) -> Bytes {
        let (invite, answer) = self.tapped_outside.clone().expect("a call that a carrier took");
        let (Ok(Message::Request(invite)), Ok(Message::Response(answer))) =
            (Message::parse(invite), Message::parse(answer))
        else {
            panic!("an INVITE and its answer are tapped");
        };
        let headers = invite.headers();
        let contact = headers.contacts().next().expect("a Contact");
        let request = sip::Request::builder(Method::Bye, contact.uri().as_str())
            .via(sip::Transport::Tls, "192.0.2.66:45001", "z9hG4bKforged")
            .max_forwards(70)
            .from(&answer.headers().to().to_buf())
            .to(&headers.from().to_buf())
            .call_id(headers.call_id())
            .cseq(50);
        request.build().expect("a sound forgery").as_bytes().clone()
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
