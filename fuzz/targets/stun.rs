//! STUN: a datagram as it stands, and one that is built here with the right password around the
//! input's attributes, so that the ways behind the integrity are reached too.
//!
//! The builder is this file's own, with its own checksum: it and the crate must agree.
#![no_main]

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use rtp::PacketBuf;
use rtp::stun::{Answer, Class, Credentials, Message, ice_lite, is_stun};
use sha1::Sha1;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, at, with], rest)) = bytes.split_first_chunk::<3>() else { return };
    judge(rest, mode);
    if rest.len() > ATTRIBUTES_MAX {
        return;
    }
    let built = request(rest, mode);
    let answered = judge(&built, mode);
    // Whatever is changed in a request that was answered, it is answered no more. Behind the
    // integrity stands the fingerprint alone, which is checked as well.
    if answered && with != 0 {
        let mut changed = built;
        let place = usize::from(at) * changed.len() / 256;
        changed[place] ^= with;
        assert!(!judge(&changed, mode), "byte {place} was changed");
    }
});

/// Reads it, answers it, and checks the answer. Whether there was one.
fn judge(datagram: &[u8], mode: u8) -> bool {
    let local = Credentials { fragment: OURS.to_owned(), password: PASSWORD.to_owned() };
    let source: SocketAddr = match mode & 3 {
        0 => ([192, 0, 2, 1], 4_000).into(),
        1 => ([0xfd00, 0, 0, 0, 0, 0, 0, 1], 4_001).into(),
        2 => ([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0202], 4_002).into(),
        _ => ([255, 255, 255, 255], 0).into(),
    };
    let parsed = Message::parse(datagram);
    assert_eq!(parsed, Message::parse(datagram));
    let proved = parsed.ok().filter(|message| {
        assert!(is_stun(datagram), "what is read is recognised");
        let authentic = message.is_authentic(PASSWORD);
        assert!(!authentic || !message.is_authentic("another password"));
        let ours = message.username.is_some_and(|name| name.starts_with("evtj:"));
        authentic && ours && message.class == Class::Request
    });
    let mut packet = PacketBuf::new();
    if !packet.fill(datagram) {
        return false;
    }
    let answer = ice_lite(&local, source, &mut packet);
    let (Answer::Respond { nominated }, Some(request)) = (answer, proved) else {
        assert_eq!((answer, proved.is_none()), (Answer::Nothing, true), "only the proved");
        return false;
    };
    let response = Message::parse(packet.as_slice()).expect("what we print, we read");
    assert!(response.is_authentic(PASSWORD) && response.fingerprint);
    assert_eq!(response.transaction, request.transaction);
    assert!(packet.len() <= datagram.len() + GROWTH_MAX, "no amplifier");
    match response.class {
        Class::Success => {
            let canonical = SocketAddr::new(source.ip().to_canonical(), source.port());
            assert_eq!(response.mapped, Some(canonical));
            assert_eq!(nominated, request.use_candidate);
            assert!(request.unknown.is_none() && !request.controlled);
        }
        Class::Error => {
            assert!(!nominated && (request.unknown.is_some() || request.controlled));
            assert!(matches!(response.error, Some(420 | 487)));
        }
        Class::Request | Class::Indication => panic!("not an answer"),
    }
    true
}

/// A binding request with a user name (of ours, unless the mode says otherwise), these attributes,
/// integrity and fingerprint.
fn request(attributes: &[u8], mode: u8) -> Vec<u8> {
    let name: &[u8] = if mode & 0x80 == 0 { b"evtj:h6vY" } else { b"evtjx:6vY" };
    let mut out = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    out.extend([mode; 12]);
    out.extend([0, 6, 0, 9]);
    out.extend(name);
    out.extend([0; 3]);
    out.extend(attributes);
    out.resize(out.len().next_multiple_of(4), 0);
    set_len(&mut out, 24);
    let mut mac = Hmac::<Sha1>::new_from_slice(PASSWORD.as_bytes()).expect("HMAC takes any key");
    mac.update(&out);
    let tag = mac.finalize().into_bytes();
    out.extend([0, 8, 0, 20]);
    out.extend(tag);
    set_len(&mut out, 8);
    let sum = (crc32(&out) ^ 0x5354_554e).to_be_bytes();
    out.extend([0x80, 0x28, 0, 4]);
    out.extend(sum);
    out
}

/// The length of what stands and of `more` bytes to come.
fn set_len(out: &mut [u8], more: usize) {
    let len = (out.len() - 20 + more) as u16;
    out[2..4].copy_from_slice(&len.to_be_bytes());
}

/// Bit by bit, as ITU-T V.42 says it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = !0u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}

const OURS: &str = "evtj";
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// So that the whole fits a datagram of the relay.
const ATTRIBUTES_MAX: usize = 1_400;

/// What an answer may be longer than its request: an IPv6 address, or the name of one attribute.
const GROWTH_MAX: usize = 24;
