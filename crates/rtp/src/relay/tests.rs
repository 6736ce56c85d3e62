//! The relay between two phones, a stranger and an eavesdropper.

use std::collections::BTreeSet;

use proptest::prelude::*;
use pure::Utc;

use super::*;
use crate::dtmf::{Digit, Press};
use crate::packet::Header;
use crate::rtcp;
use crate::sdes;
use crate::srtp::{MasterKey, Receiver, Sender, Suite};

const A: EndpointId = EndpointId(0xa);
const B: EndpointId = EndpointId(0xb);

fn at(ms: u64) -> Now {
    Now { instant: Instant(ms * 1_000_000), utc: Utc(1_700_000_000_000_000 + ms as i64 * 1_000) }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a phone holds.
struct Phone {
    at: SocketAddr,
    ssrc: u32,
    keys: Option<(MasterKey, MasterKey)>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    pcmu: u8,
    events: u8,
}

impl Phone {
    fn new(chance: &mut Chance, at: &str, suite: Option<Suite>) -> Self {
        let keys =
            suite.map(|suite| (sdes::generate(chance, suite), sdes::generate(chance, suite)));
        Self {
            at: address(at),
            ssrc: chance.u64() as u32,
            sender: keys.as_ref().map(|(ours, _)| Sender::new(ours)),
            receiver: keys.as_ref().map(|(_, theirs)| Receiver::new(theirs)),
            keys,
            pcmu: 0,
            events: 101,
        }
    }

    fn config(&self, peer: EndpointId) -> EndpointConfig {
        EndpointConfig {
            remote: Some(self.at),
            remote_rtcp: None,
            rtcp_mux: true,
            protection: match &self.keys {
                Some((ours, theirs)) => {
                    Protection::Srtp { send: theirs.clone(), receive: ours.clone() }
                }
                None => Protection::DangerousPlain,
            },
            send: true,
            receive: true,
            payloads: vec![
                Payload { number: self.pcmu, ..Payload::PCMU },
                Payload::telephone_event(self.events),
            ],
            latch: Latch::Follow,
            peer: Some(peer),
            silence_limit: None,
        }
    }

    fn rtp(
        &mut self,
        payload_type: u8,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> PacketBuf {
        let mut packet = PacketBuf::new();
        let (ssrc, marker) = (self.ssrc, false);
        let header =
            Header { marker, payload_type, sequence, timestamp, ssrc, len: 12, padded: false };
        assert!(header.build(payload, &mut packet));
        if let Some(sender) = &mut self.sender {
            sender.protect(&mut packet).unwrap();
        }
        packet
    }

    fn audio(&mut self, sequence: u16, payload: &[u8]) -> PacketBuf {
        self.rtp(self.pcmu, sequence, u32::from(sequence) * 160, payload)
    }

    fn open(&mut self, packet: &mut PacketBuf) -> (Header, Vec<u8>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.unprotect(packet).unwrap();
        }
        let header = Header::parse(packet.as_slice()).unwrap();
        (header, header.payload(packet.as_slice()).unwrap().to_vec())
    }
}

struct Call {
    relay: Relay,
    a: Phone,
    b: Phone,
}

impl Call {
    fn with(suites: [Option<Suite>; 2]) -> Self {
        let mut chance = Chance::from_number(5);
        let a = Phone::new(&mut chance, "192.0.2.1:4000", suites[0]);
        let b = Phone::new(&mut chance, "192.0.2.2:5000", suites[1]);
        let mut relay = Relay::new(chance, Limits::default(), own());
        for (n, endpoint) in [A, B].into_iter().enumerate() {
            let realm = RealmId(0);
            relay.handle(
                at(0),
                Command::Allocate { endpoint, epoch: 1, realm, tag: n as u64, urgent: false },
            );
            let [rtp, rtcp] =
                [0, 1].map(|p| SocketAddr::from(([198, 51, 100, 1], 9_000 + 2 * n as u16 + p)));
            relay.bound(endpoint, 1, rtp, rtcp);
        }
        let mut call = Self { relay, a, b };
        call.arm(0, A, 1, call.a.config(B));
        call.arm(0, B, 1, call.b.config(A));
        call.events();
        call
    }

    fn new() -> Self {
        Self::with([Some(Suite::AesCm128HmacSha1_80), Some(Suite::AeadAes256Gcm)])
    }

    fn plain() -> Self {
        Self::with([None, None])
    }

    fn arm(&mut self, ms: u64, endpoint: EndpointId, epoch: u32, config: EndpointConfig) {
        self.relay.handle(at(ms), Command::Arm { endpoint, epoch, config: Box::new(config) });
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.relay.poll_output())
            .filter_map(|output| match output {
                Output::Event(event) => Some(event),
                Output::Bind { .. } | Output::Release { .. } => None,
            })
            .collect()
    }

    fn from(
        &mut self,
        ms: u64,
        id: EndpointId,
        from: SocketAddr,
        packet: &mut PacketBuf,
    ) -> Option<Forward> {
        self.relay.packet(at(ms), id, Channel::Rtp, from, packet)
    }

    /// A says something, B hears it.
    fn a_says(&mut self, ms: u64, sequence: u16, payload: &[u8]) -> Option<(Header, Vec<u8>)> {
        let mut packet = self.a.audio(sequence, payload);
        self.deliver(ms, &mut packet)
    }

    fn deliver(&mut self, ms: u64, packet: &mut PacketBuf) -> Option<(Header, Vec<u8>)> {
        let forward = self.from(ms, A, self.a.at, packet)?;
        assert_eq!(forward, Forward { endpoint: B, channel: Channel::Rtp, to: self.b.at });
        Some(self.b.open(packet))
    }

    fn b_says(&mut self, ms: u64, sequence: u16) -> Option<Forward> {
        let mut packet = self.b.audio(sequence, b"b");
        self.from(ms, B, self.b.at, &mut packet)
    }

    fn violations(&self, endpoint: EndpointId, violation: Violation) -> u64 {
        self.relay.stats(endpoint).unwrap().violations(violation)
    }
}

/// The server's, on all its threads; it binds to every address.
fn own() -> Vec<Own> {
    ["198.51.100.1", "0.0.0.0"]
        .map(|ip| Own { ip: ip.parse().unwrap(), ports: 9_000..=9_999 })
        .to_vec()
}

fn copy(packet: &PacketBuf) -> PacketBuf {
    let mut copy = PacketBuf::new();
    assert!(copy.fill(packet.as_slice()));
    copy
}

#[test]
fn what_is_said_is_heard_and_nothing_else_crosses() {
    let mut call = Call::new();
    let (first, payload) = call.a_says(0, 100, b"hello").unwrap();
    assert_eq!(payload, b"hello");
    assert_ne!(first.ssrc, call.a.ssrc);
    assert!(first.marker);
    // A gap of one stays a gap of one.
    let (second, _) = call.a_says(40, 102, b"there").unwrap();
    assert_eq!(second.sequence.wrapping_sub(first.sequence), 2);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 320);
    assert_eq!((second.ssrc, second.marker), (first.ssrc, false));
    // Sources and extensions end here.
    let mut packet = PacketBuf::new();
    let mut header = vec![0x91, 0, 0, 103, 0, 0, 0x40, 0x60];
    header.extend(call.a.ssrc.to_be_bytes());
    header.extend([1, 2, 3, 4, 0xbe, 0xde, 0, 1, 5, 5, 5, 5, b'x']);
    assert!(packet.fill(&header));
    call.a.sender.as_mut().unwrap().protect(&mut packet).unwrap();
    let (third, payload) = call.deliver(60, &mut packet).unwrap();
    assert_eq!((third.len, payload.as_slice()), (12, &b"x"[..]));
}

#[test]
fn each_leg_has_its_own_payload_numbers() {
    let mut call = Call::new();
    (call.b.pcmu, call.b.events) = (99, 110);
    call.arm(0, B, 2, call.b.config(A));
    assert_eq!(call.a_says(0, 1, b"x").unwrap().0.payload_type, 99);
    let mut unknown = call.a.rtp(8, 2, 320, b"x");
    assert_eq!(call.from(20, A, call.a.at, &mut unknown), None);
    assert_eq!(call.violations(A, Violation::UnknownPayload), 1);
}

#[test]
fn keys_are_heard_once_and_passed_on() {
    let mut call = Call::new();
    call.events();
    let digit = Digit::from_char('7').unwrap();
    let mut heard = Vec::new();
    for (n, event) in Press::new(digit, 160, 480).enumerate() {
        let mut packet = call.a.rtp(101, 50 + n as u16, 8_000, &event.payload);
        let (header, payload) = call.deliver(n as u64 * 20, &mut packet).unwrap();
        assert_eq!((header.payload_type, payload.as_slice()), (101, &event.payload[..]));
        heard.extend(call.events());
    }
    assert_eq!(heard, [Event::Dtmf { endpoint: A, digit }]);
}

#[test]
fn nobody_but_the_phone_is_heard() {
    let mut call = Call::new();
    call.a_says(0, 1, b"x").unwrap();
    let stranger = address("203.0.113.9:6666");
    // Guessed, cut, damaged, protected with another key.
    let mut other = Phone::new(
        &mut Chance::from_number(77),
        "203.0.113.9:6666",
        Some(Suite::AesCm128HmacSha1_80),
    );
    let mut genuine = call.a.audio(2, b"y");
    let mut plain = Phone::new(&mut Chance::from_number(78), "203.0.113.9:1", None);
    plain.ssrc = call.a.ssrc;
    for mut packet in [other.audio(2, b"z"), plain.audio(2, b"z"), {
        let mut cut = copy(&genuine);
        cut.truncate(20);
        cut
    }] {
        assert_eq!(call.from(20, A, stranger, &mut packet), None);
    }
    assert_eq!(call.violations(A, Violation::NotAuthentic), 1);
    assert_eq!(call.violations(A, Violation::Malformed), 2); // Too short for a tag.
    // A recorded packet, from elsewhere.
    let mut replay = copy(&genuine);
    assert!(call.deliver(20, &mut genuine).is_some());
    assert_eq!(call.from(40, A, stranger, &mut replay), None);
    assert_eq!(call.violations(A, Violation::Replayed), 1);
    // Still the phone.
    assert_eq!(call.b_says(60, 1).unwrap().to, call.a.at);
    assert_eq!(call.relay.stats(A).unwrap().moves, 0);
}

#[test]
fn a_phone_that_moves_is_followed_by_its_newest_packet_only() {
    let mut call = Call::new();
    call.a_says(0, 1, b"x").unwrap();
    let elsewhere = address("203.0.113.5:7000");
    let (mut late, mut newest) = (call.a.audio(2, b"late"), call.a.audio(3, b"new"));
    assert!(call.from(20, A, elsewhere, &mut newest).is_some());
    assert!(call.from(25, A, call.a.at, &mut late).is_some());
    assert_eq!(call.b_says(40, 1).unwrap().to, elsewhere);

    let mut config = call.a.config(B);
    config.latch = Latch::Signalled;
    call.arm(50, A, 2, config);
    let mut packet = call.a.audio(4, b"x");
    assert_eq!(call.from(60, A, elsewhere, &mut packet), None);
    assert_eq!(call.violations(A, Violation::Stranger), 1);
}

#[test]
fn a_re_invite_with_the_same_keys_forgets_nothing() {
    let mut call = Call::new();
    let mut packet = call.a.audio(1, b"x");
    let mut replay = copy(&packet);
    let (before, _) = call.deliver(0, &mut packet).unwrap();
    call.arm(10, A, 2, call.a.config(B));
    call.arm(10, B, 2, call.b.config(A));
    assert_eq!(call.from(20, A, call.a.at, &mut replay), None);
    assert_eq!(call.violations(A, Violation::Replayed), 1);
    let (after, _) = call.a_says(20, 2, b"y").unwrap();
    assert_eq!((after.ssrc, after.sequence), (before.ssrc, before.sequence + 1));
}

#[test]
fn another_source_of_the_same_phone_goes_on_where_the_first_was() {
    let mut call = Call::new();
    let (before, _) = call.a_says(0, 100, b"x").unwrap();
    let mut late = call.a.audio(101, b"late");
    call.a.ssrc ^= 1;
    let (after, _) = call.a_says(20, 7_000, b"y").unwrap();
    assert_eq!((after.ssrc, after.sequence), (before.ssrc, before.sequence + 1));
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 160);
    assert_eq!(call.from(25, A, call.a.at, &mut late), None);
    let (next, _) = call.a_says(40, 7_001, b"z").unwrap();
    assert_eq!((next.sequence, next.marker), (before.sequence + 2, false));
    let received = call.relay.stats(A).unwrap().received;
    assert_eq!((received.packets, received.lost), (3, 0));
}

#[test]
fn new_keys_on_one_leg_are_not_noticed_on_the_other() {
    let mut call = Call::new();
    let (before, _) = call.a_says(0, 40_000, b"x").unwrap();
    let mut old = call.a.audio(40_001, b"old key");
    call.a = Phone::new(&mut Chance::from_number(9), "192.0.2.1:4000", Some(Suite::AeadAes128Gcm));
    call.arm(10, A, 2, call.a.config(B));
    assert_eq!(call.from(15, A, call.a.at, &mut old), None);
    let (after, _) = call.a_says(20, 3, b"y").unwrap();
    assert_eq!((after.ssrc, after.sequence), (before.ssrc, before.sequence + 1));
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 160);
}

#[test]
fn arming_is_idempotent_by_epoch() {
    let mut call = Call::new();
    let mut config = call.a.config(B);
    config.send = false;
    call.arm(0, A, 3, config.clone());
    call.arm(0, A, 2, call.a.config(B));
    call.arm(0, A, 3, call.a.config(B));
    assert_eq!(call.events(), vec![Event::Armed { endpoint: A, epoch: 3 }; 3]);
    assert_eq!(call.b_says(0, 1), None);

    let check = |call: &mut Call, change: fn(&mut EndpointConfig), reason| {
        let mut config = call.a.config(B);
        change(&mut config);
        call.arm(0, A, 9, config);
        assert_eq!(call.events(), [Event::Failed { endpoint: A, epoch: 9, reason }]);
    };
    check(&mut call, |config| config.peer = Some(A), Reason::Loop);
    check(&mut call, |config| config.remote = Some(address("198.51.100.1:9000")), Reason::Address);
    check(&mut call, |config| config.remote = Some(address("198.51.100.1:9002")), Reason::Address);
    // Another relay's, perhaps.
    for own in ["198.51.100.1:9800", "127.0.0.1:9001", "127.3.2.1:9001", "[::1]:9001"]
        .map(address)
        .into_iter()
        .chain([address("[::ffff:198.51.100.1]:9000")])
    {
        let mut config = call.a.config(B);
        config.remote = Some(own);
        call.arm(0, A, 9, config.clone());
        (config.remote, config.remote_rtcp) = (Some(call.a.at), Some(own));
        call.arm(0, A, 9, config);
        let refused = Event::Failed { endpoint: A, epoch: 9, reason: Reason::Address };
        assert_eq!(call.events(), [refused.clone(), refused], "{own}");
    }
    check(&mut call, |config| config.remote = Some(address("0.0.0.0:5000")), Reason::Address);
    check(&mut call, |config| config.remote = Some(address("192.0.2.1:0")), Reason::Address);
    check(&mut call, |config| config.payloads[0].number = 101, Reason::Payloads);
    check(&mut call, |config| config.payloads[0].number = 72, Reason::Payloads);
    let one_key = |config: &mut EndpointConfig| {
        let Protection::Srtp { send, receive } = &mut config.protection else { panic!() };
        *send = receive.clone();
    };
    check(&mut call, one_key, Reason::KeyReused);
}

#[test]
fn phones_on_this_host_or_network_are_not_taken_for_our_own() {
    let mut call = Call::new();
    for (epoch, at) in (9..).zip(["127.0.0.1:4000", "198.51.100.1:8999", "198.51.100.2:9000"]) {
        let mut config = call.a.config(B);
        config.remote = Some(address(at));
        call.arm(0, A, epoch, config);
        assert_eq!(call.events(), [Event::Armed { endpoint: A, epoch }]);
    }
}

#[test]
fn what_our_own_sockets_sent_is_not_heard() {
    let mut call = Call::new();
    for (n, from) in (1..).zip(["198.51.100.1:9800", "127.0.0.1:9001"]) {
        let mut packet = call.a.audio(n, b"round and round");
        assert_eq!(call.from(0, A, address(from), &mut packet), None);
        assert_eq!(call.violations(A, Violation::Loop), u64::from(n));
    }
    assert_eq!(call.relay.stats(A).unwrap().moves, 0);
    call.a_says(20, 3, b"x").unwrap();
}

#[test]
fn no_leg_receives_with_a_key_that_another_sends_with() {
    const C: EndpointId = EndpointId(77);
    let mut call = Call::new();
    let allocate =
        Command::Allocate { endpoint: C, epoch: 1, realm: RealmId(0), tag: 0, urgent: false };
    call.relay.handle(at(0), allocate);
    call.relay.bound(C, 1, address("198.51.100.1:9004"), address("198.51.100.1:9005"));
    call.events();
    let (first, second) = (call.a.config(B), call.b.config(A));
    let keys = |config: &EndpointConfig| match &config.protection {
        Protection::Srtp { send, receive } => (send.clone(), receive.clone()),
        Protection::DangerousPlain => panic!("encrypted"),
    };
    let ((our_key, phone_key), (other_key, _)) = (keys(&first), keys(&second));
    let with = |send: &MasterKey, receive: &MasterKey| EndpointConfig {
        protection: Protection::Srtp { send: send.clone(), receive: receive.clone() },
        ..first.clone()
    };
    let fresh = MasterKey::new(Suite::AesCm128HmacSha1_80, &[7; 30]).unwrap();
    let armed = |epoch| [Event::Armed { endpoint: C, epoch }];
    let refused = |epoch| [Event::Failed { endpoint: C, epoch, reason: Reason::KeyReused }];
    call.arm(0, C, 2, with(&fresh, &our_key));
    assert_eq!(call.events(), refused(2));
    call.arm(0, C, 2, with(&phone_key, &fresh));
    assert_eq!(call.events(), refused(2));
    // Several legs may ring for one offer, whose key is the same.
    call.arm(0, C, 2, with(&fresh, &phone_key));
    assert_eq!(call.events(), armed(2));
    // A refusal leaves what was armed in force.
    call.arm(0, C, 3, with(&fresh, &other_key));
    assert_eq!(call.events(), refused(3));
    call.arm(0, A, 3, with(&our_key, &fresh));
    let reason = Reason::KeyReused;
    assert_eq!(call.events(), [Event::Failed { endpoint: A, epoch: 3, reason }]);
    // The key is free when its leg is gone.
    call.relay.handle(at(0), Command::Close { endpoint: A });
    call.events();
    call.arm(0, C, 3, with(&fresh, &our_key));
    assert_eq!(call.events(), armed(3));
}

#[test]
fn hold_drops_and_a_long_hold_does_not_break_the_rollover() {
    let mut call = Call::new();
    let (before, _) = call.a_says(0, 1, b"x").unwrap();
    let mut config = call.b.config(A);
    config.send = false;
    call.arm(10, B, 2, config);
    assert_eq!(call.a_says(20, 2, b"hold"), None);
    call.arm(900_000, B, 3, call.b.config(A));
    // 45,000 packets later, more than half the number space.
    let (after, _) = call.a_says(900_000, 30_000, b"y").unwrap();
    assert_eq!(after.sequence, before.sequence + 1);
    let (next, _) = call.a_says(900_020, 30_001, b"z").unwrap();
    assert_eq!(next.sequence, before.sequence + 2);
    assert_eq!(call.relay.stats(A).unwrap().not_forwarded, 1);
}

#[test]
fn a_bridge_needs_both_sides() {
    let mut call = Call::new();
    let mut config = call.b.config(A);
    config.peer = Some(EndpointId(0xc));
    call.arm(0, B, 2, config);
    assert_eq!(call.a_says(0, 1, b"x"), None);
    assert_eq!(call.b_says(0, 1), None);
}

#[test]
fn plain_rtp_believes_the_signalled_address_at_once_and_nobody_later() {
    let mut call = Call::plain();
    call.a_says(0, 1, b"x").unwrap();
    let mut thief = Phone::new(&mut Chance::from_number(3), "203.0.113.9:6666", None);
    for sequence in 2..50 {
        let mut packet = thief.audio(sequence, b"z");
        assert_eq!(call.from(u64::from(sequence), A, thief.at, &mut packet), None);
    }
    assert_eq!(call.violations(A, Violation::Stranger), 48);
    assert_eq!(call.b_says(60, 1).unwrap().to, call.a.at);
}

#[test]
fn plain_rtp_learns_a_nat_by_probation_and_only_after_arming() {
    let behind_nat = address("203.0.113.50:31000");
    let mut call = Call::plain();
    let heard: Vec<bool> = (1..8)
        .map(|sequence| {
            let mut packet = call.a.audio(sequence, b"x");
            call.from(u64::from(sequence) * 20, A, behind_nat, &mut packet).is_some()
        })
        .collect();
    assert_eq!(heard, [false, false, false, true, true, true, true]);
    assert_eq!(call.b_says(200, 1).unwrap().to, behind_nat);

    // Guesses that aren't in a row, and an address that comes too late.
    let mut call = Call::plain();
    for sequence in [1, 3, 5, 7, 9, 11] {
        let mut packet = call.a.audio(sequence, b"x");
        assert_eq!(call.from(10, A, behind_nat, &mut packet), None);
    }
    for sequence in 20..40 {
        let mut packet = call.a.audio(sequence, b"x");
        assert_eq!(call.from(11_000, A, behind_nat, &mut packet), None);
    }
    assert_eq!(call.b_says(11_500, 1).unwrap().to, call.a.at);
}

#[test]
fn one_forged_plain_packet_does_not_end_a_stream() {
    let mut call = Call::plain();
    call.a_says(0, 1, b"x").unwrap();
    let mut far = call.a.audio(20_000, b"forged");
    assert_eq!(call.from(10, A, call.a.at, &mut far), None);
    assert!(call.a_says(20, 2, b"y").is_some());
    // A phone that starts anew is believed after a few.
    let heard: Vec<bool> = (30_000..30_005).map(|n| call.a_says(40, n, b"z").is_some()).collect();
    assert_eq!(heard, [false, false, false, true, true]);
}

#[test]
fn our_own_packets_are_no_speech() {
    let mut call = Call::plain();
    let mut packet = call.b.audio(1, b"b");
    call.from(0, B, call.b.at, &mut packet).unwrap();
    assert_eq!(call.from(10, A, call.a.at, &mut packet), None);
    assert_eq!(call.violations(A, Violation::Loop), 1);
}

#[test]
fn silence_is_told_once_and_so_is_its_end() {
    let mut call = Call::new();
    let mut config = call.a.config(B);
    config.silence_limit = Some(Duration::from_secs(5));
    call.arm(0, A, 2, config);
    call.events();
    call.a_says(3_000, 1, b"x").unwrap();
    for seconds in [5, 7, 8, 9, 20] {
        call.relay.handle(at(seconds * 1_000), Command::Renew);
        call.relay.handle_timeout(at(seconds * 1_000));
    }
    assert_eq!(call.events(), [Event::Silence { endpoint: A, since: at(3_000).instant }]);
    // What isn't authentic ends no silence, or a stranger could hold a dead call up.
    let mut forged = call.a.audio(2, b"x");
    forged.as_mut_slice()[14] ^= 1;
    assert_eq!(call.from(20_500, A, call.a.at, &mut forged), None);
    let violation = Violation::NotAuthentic;
    assert_eq!(call.events(), [Event::Violated { endpoint: A, violation, count: 1 }]);
    call.a_says(21_000, 3, b"x").unwrap();
    assert_eq!(call.events(), [Event::Resumed { endpoint: A }]);
    call.relay.handle_timeout(at(26_000));
    assert_eq!(call.events(), [Event::Silence { endpoint: A, since: at(21_000).instant }]);
}

#[test]
fn without_its_exchange_everything_is_closed() {
    let mut call = Call::new();
    call.relay.handle(at(20_000), Command::Renew);
    call.relay.handle_timeout(at(49_999));
    assert_eq!(call.relay.len(), 2);
    while call.relay.poll_output().is_some() {}
    call.relay.handle_timeout(at(50_000));
    let outputs: Vec<_> = std::iter::from_fn(|| call.relay.poll_output()).collect();
    assert_eq!(outputs.len(), 4);
    assert_eq!(outputs[0], Output::Release { endpoint: A });
    let Output::Event(Event::Stats { endpoint: A, stats }) = &outputs[1] else {
        panic!("{outputs:?}");
    };
    assert_eq!(stats.closed, Closed::LeaseExpired);
    assert!(call.relay.is_empty());
    assert_eq!(call.relay.poll_timeout(), None);
}

#[test]
fn ports_come_and_go() {
    let mut relay =
        Relay::new(Chance::from_number(1), Limits { endpoints: 1, ..Limits::default() }, own());
    let allocate = |endpoint, epoch| Command::Allocate {
        endpoint,
        epoch,
        realm: RealmId(3),
        tag: 8,
        urgent: false,
    };
    let (rtp, rtcp) = (address("198.51.100.1:9000"), address("198.51.100.1:9001"));
    let step = |relay: &mut Relay, outputs: &[Output]| {
        let found: Vec<_> = std::iter::from_fn(|| relay.poll_output()).collect();
        assert_eq!(found, outputs);
    };
    let failed = |endpoint, epoch, reason| Output::Event(Event::Failed { endpoint, epoch, reason });
    relay.handle(at(0), allocate(A, 1));
    relay.handle(at(0), allocate(A, 1));
    step(&mut relay, &[Output::Bind { endpoint: A, epoch: 1, realm: RealmId(3) }]);
    relay.handle(at(0), allocate(A, 2));
    relay.handle(at(0), allocate(B, 1));
    step(&mut relay, &[failed(A, 2, Reason::Duplicate), failed(B, 1, Reason::Full)]);
    relay.bind_failed(A, 1);
    step(&mut relay, &[failed(A, 1, Reason::NoPort)]);
    relay.bound(A, 1, rtp, rtcp);
    step(&mut relay, &[Output::Release { endpoint: A }]);
    relay.handle(at(0), allocate(A, 3));
    relay.bound(A, 3, rtp, rtcp);
    relay.handle(at(0), allocate(A, 3));
    let allocated = Output::Event(Event::Allocated { endpoint: A, epoch: 3, rtp, rtcp });
    step(
        &mut relay,
        &[Output::Bind { endpoint: A, epoch: 3, realm: RealmId(3) }, allocated.clone(), allocated],
    );
    relay.handle(at(0), Command::Close { endpoint: A });
    relay.handle(at(0), Command::Close { endpoint: A });
    let outputs: Vec<_> = std::iter::from_fn(|| relay.poll_output()).collect();
    assert!(matches!(&outputs[1], Output::Event(Event::Stats { stats, .. }) if stats.tag == 8));
    assert_eq!(outputs[2], failed(A, 0, Reason::Unknown));
}

#[test]
fn each_leg_gets_our_own_reports() {
    let mut call = Call::new();
    for n in (0..100).filter(|n| n % 10 != 5) {
        call.a_says(u64::from(n) * 20, n, &[0; 160]).unwrap();
    }
    call.relay.handle(at(8_000), Command::Renew);
    call.relay.handle_timeout(at(8_000));
    let mut seen = BTreeSet::new();
    let mut packet = PacketBuf::new();
    while let Some(forward) = call.relay.poll_transmit(at(8_000), &mut packet) {
        assert_eq!(forward.channel, Channel::Rtp);
        let phone = if forward.endpoint == A { &mut call.a } else { &mut call.b };
        assert_eq!(forward.to, phone.at);
        phone.receiver.as_mut().unwrap().unprotect_rtcp(&mut packet).unwrap();
        let first = rtcp::parse(packet.as_slice()).unwrap().next().unwrap();
        match (forward.endpoint, first) {
            (A, rtcp::Packet::ReceiverReport { blocks, .. }) => {
                let block = blocks.iter().next().unwrap();
                assert_eq!((block.ssrc, block.lost, block.highest), (call.a.ssrc, 10, 99));
            }
            (B, rtcp::Packet::SenderReport { ssrc, sender, blocks }) => {
                assert_eq!((sender.packets, sender.bytes), (90, 90 * 160));
                assert_eq!(blocks.iter().count(), 0);
                // B answers with what it heard.
                let block = rtcp::Block {
                    ssrc,
                    lost: 3,
                    last_report: rtcp::short_ntp(sender.ntp),
                    ..rtcp::Block::default()
                };
                let mut answer = PacketBuf::new();
                rtcp::Report { ssrc: call.b.ssrc, sender: None, block: Some(block), cname: 1 }
                    .build(&mut answer);
                call.b.sender.as_mut().unwrap().protect_rtcp(&mut answer).unwrap();
                let from = call.b.at;
                assert_eq!(call.relay.packet(at(8_050), B, Channel::Rtp, from, &mut answer), None);
            }
            other => panic!("{other:?}"),
        }
        seen.insert(forward.endpoint);
    }
    assert_eq!(seen.len(), 2);
    let stats = call.relay.stats(B).unwrap();
    let reported = stats.reported.unwrap();
    assert_eq!(reported.lost, 3);
    assert!(
        reported.round_trip.unwrap().abs_diff(Duration::from_millis(50)) < Duration::from_millis(1)
    );
    let stats = call.relay.stats(A).unwrap();
    assert_eq!((stats.received.packets, stats.received.lost), (90, 10));
    assert!(stats.received.mos.unwrap() < 3.9);
    assert_eq!(stats.suite, Some(Suite::AesCm128HmacSha1_80));
}

#[test]
fn reports_on_a_port_of_their_own() {
    let mut call = Call::plain();
    let mut config = call.a.config(B);
    config.rtcp_mux = false;
    call.arm(0, A, 2, config);
    let mut report = |from: &str| {
        let mut packet = PacketBuf::new();
        rtcp::Report { ssrc: 1, sender: None, block: None, cname: 1 }.build(&mut packet);
        let before = call.violations(A, Violation::Stranger);
        call.relay.packet(at(5), A, Channel::Rtcp, address(from), &mut packet);
        call.violations(A, Violation::Stranger) == before
    };
    assert!(!report("203.0.113.9:4001"));
    assert!(report("192.0.2.1:4001"));
    // With a shared port nobody was told of this one.
    call.arm(10, A, 3, call.a.config(B));
    let mut packet = PacketBuf::new();
    rtcp::Report { ssrc: 1, sender: None, block: None, cname: 1 }.build(&mut packet);
    call.relay.packet(at(15), A, Channel::Rtcp, call.a.at, &mut packet);
    assert_eq!(call.violations(A, Violation::Stranger), 2);
}

#[test]
fn stun_is_neither_media_nor_wrong() {
    let mut call = Call::new();
    let mut packet = PacketBuf::new();
    assert!(crate::stun::keep_alive(crate::stun::TransactionId([1; 12]), &mut packet));
    assert_eq!(call.from(0, A, call.a.at, &mut packet), None);
    assert_eq!(call.events(), []);
}

#[test]
fn a_flood_is_no_flood_of_events() {
    let mut call = Call::new();
    for n in 0..1_000 {
        let mut packet = PacketBuf::new();
        assert!(packet.fill(&[0; 30]));
        call.from(n, A, call.a.at, &mut packet);
    }
    assert_eq!(call.events().len(), 10);
    assert_eq!(call.violations(A, Violation::Malformed), 1_000);
}

#[derive(Clone, Debug)]
enum Step {
    /// The next packet of A arrives, after `late` others were sent.
    Say {
        late: usize,
        lost: bool,
    },
    Junk {
        endpoint: bool,
        rtcp: bool,
        home: bool,
        bytes: Vec<u8>,
    },
    Replay {
        index: prop::sample::Index,
        home: bool,
    },
    Forge {
        index: prop::sample::Index,
        at: prop::sample::Index,
        bit: u8,
    },
    Cut {
        index: prop::sample::Index,
        len: prop::sample::Index,
    },
    Rearm,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..6, prop::bool::weighted(0.1)).prop_map(|(late, lost)| Step::Say { late, lost }),
        1 => (any::<bool>(), any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(endpoint, rtcp, home, bytes)| Step::Junk { endpoint, rtcp, home, bytes }),
        1 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(index, home)| Step::Replay { index, home }),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..8)
            .prop_map(|(index, at, bit)| Step::Forge { index, at, bit }),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(index, len)| Step::Cut { index, len }),
        1 => Just(Step::Rearm),
    ]
}

proptest! {
    /// Whatever strangers send and the network does: what arrives at A's port is heard by B exactly,
    /// once, in the order and with the gaps of arrival, and nobody else is heard or sent to.
    #[test]
    fn phones_hear_each_other_and_nothing_else(
        steps in prop::collection::vec(step(), 1..120),
        start in any::<u16>(),
        suites in (0usize..5, 0usize..5),
    ) {
        let mut call = Call::with([Some(Suite::ALL[suites.0]), Some(Suite::ALL[suites.1])]);
        let stranger = address("203.0.113.9:6666");
        // The sender's own first number must not hide a rollover from its receiver.
        let (start, mut epoch, mut said) = (u64::from(start & 0x7fff), 1, 0u64);
        let mut queue: Vec<(u64, PacketBuf)> = Vec::new();
        let mut seen: Vec<PacketBuf> = Vec::new();
        let mut offset = None;
        for (n, step) in steps.into_iter().enumerate() {
            let ms = n as u64 * 20;
            match step {
                Step::Say { late, lost } => {
                    let payload = said.to_be_bytes();
                    let packet = call.a.audio((start + said) as u16, &payload);
                    said += 1;
                    if lost {
                        continue;
                    }
                    let place = queue.len() - late.min(queue.len());
                    queue.insert(place, (said - 1, packet));
                    if queue.len() > 4 {
                        let (number, mut packet) = queue.remove(0);
                        seen.push(copy(&packet));
                        let (header, payload) = call.deliver(ms, &mut packet).expect("authentic");
                        prop_assert_eq!(payload, number.to_be_bytes());
                        let distance = header.sequence.wrapping_sub(number as u16);
                        prop_assert_eq!(*offset.get_or_insert(distance), distance);
                    }
                }
                Step::Junk { endpoint, rtcp, home, bytes } => {
                    let mut packet = PacketBuf::new();
                    prop_assert!(packet.fill(&bytes));
                    let (id, phone) = if endpoint { (A, call.a.at) } else { (B, call.b.at) };
                    let from = if home { phone } else { stranger };
                    let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
                    prop_assert_eq!(call.relay.packet(at(ms), id, channel, from, &mut packet), None);
                }
                Step::Replay { .. } | Step::Forge { .. } | Step::Cut { .. } if seen.is_empty() => {}
                Step::Replay { index, home } => {
                    let mut packet = copy(index.get(&seen));
                    let from = if home { call.a.at } else { stranger };
                    prop_assert_eq!(call.from(ms, A, from, &mut packet), None);
                }
                Step::Forge { index, at, bit } => {
                    let mut packet = copy(index.get(&seen));
                    let at = at.index(packet.len());
                    packet.as_mut_slice()[at] ^= 1 << bit;
                    prop_assert_eq!(call.from(ms, A, stranger, &mut packet), None);
                }
                Step::Cut { index, len } => {
                    let mut packet = copy(index.get(&seen));
                    packet.truncate(len.index(packet.len()));
                    prop_assert_eq!(call.from(ms, A, stranger, &mut packet), None);
                }
                Step::Rearm => {
                    epoch += 1;
                    call.arm(ms, A, epoch, call.a.config(B));
                    call.arm(ms, B, epoch, call.b.config(A));
                }
            }
        }
        prop_assert_eq!(call.b_says(5_000, 1).unwrap().to, call.a.at);
        prop_assert_eq!(call.relay.stats(A).unwrap().moves, 0);
        prop_assert_eq!(call.relay.stats(A).unwrap().received.packets, seen.len() as u64);
        prop_assert_eq!(call.relay.stats(B).unwrap().sent.packets, seen.len() as u64);
    }

    /// In plain RTP too, no stranger's packets are answered or heard once the phone has spoken.
    #[test]
    fn strangers_to_a_plain_leg_get_nothing(
        datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let mut call = Call::plain();
        call.a_says(0, 1, b"x").unwrap();
        for (rtcp, mut bytes) in datagrams {
            if let Some(first) = bytes.first_mut() {
                *first = 0x80 | *first & 0x3f;
            }
            let mut packet = PacketBuf::new();
            prop_assert!(packet.fill(&bytes));
            let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
            let stranger = address("203.0.113.9:6666");
            prop_assert_eq!(call.relay.packet(at(5), A, channel, stranger, &mut packet), None);
        }
        prop_assert_eq!(call.b_says(10, 1).unwrap().to, call.a.at);
        prop_assert!(call.a_says(20, 2, b"y").is_some());
    }
}
