//! Calls as two negotiations that hear each other, and what must be refused.

use proptest::prelude::*;

use super::*;

/// Lines between spaces; a tilde is a space within a line.
fn session(lines: &str) -> Session {
    let mut text =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n".to_owned();
    for line in lines.split_whitespace() {
        text.push_str(&line.replace('~', " "));
        text.push_str("\r\n");
    }
    Session::parse(text.as_bytes()).expect("well-formed")
}

const KEY: &str = "inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn local(protection: Protection) -> Local {
    Local {
        rtp: "198.51.100.1:40000".parse().expect("an address"),
        rtcp_mux: true,
        direction: Direction::SendRecv,
        ptime: Some(20),
        protection,
    }
}

fn sdes() -> Protection {
    Protection::Sdes(vec![Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80])
}

fn dtls() -> Protection {
    Protection::Dtls(Fingerprint { hash: crate::sdp::Hash::Sha256, digest: vec![7; 32] })
}

fn codecs() -> Vec<Codec> {
    let codec = |coding, payload| Codec { coding, payload, fmtp: None };
    vec![codec(Coding::Opus, 111), codec(Coding::Pcmu, 0)]
}

/// One exchange between two of us: the offerer's view and the answerer's.
fn exchange(offered: Protection, accepted: Protection) -> Result<(Agreed, Agreed), Refusal> {
    let mut chance = Chance::from_number(1);
    let (mut a, mut b) = (OfferAnswer::new(1), OfferAnswer::new(2));
    let event = TelephoneEvent { payload: 101, clock: 8_000, fmtp: None };
    let offer = a.make_offer(&local(offered), &codecs(), Some(&event), &mut chance);
    let offer = Session::parse(offer.print().as_bytes()).expect("own writing");
    let (answer, heard_b) =
        b.make_answer(&offer, &local(accepted), &[Coding::Pcmu], &mut chance)?;
    let answer = Session::parse(answer.print().as_bytes()).expect("own writing");
    Ok((a.read_answer(&answer)?, heard_b))
}

#[test]
fn both_sides_hold_the_same_keys() {
    let (a, b) = exchange(sdes(), sdes()).expect("a common suite");
    let (
        Keys::Sdes { suite, local: a_local, remote: a_remote },
        Keys::Sdes { local: b_local, remote: b_remote, .. },
    ) = (a.keys, b.keys)
    else {
        panic!("SDES was offered");
    };
    assert_eq!(suite, Suite::AeadAes256Gcm);
    assert_eq!((&a_local, &a_remote), (&b_remote, &b_local));
    assert_ne!(a_local, a_remote, "a key for each direction");
    assert_eq!(a.remote.codecs.len(), 1, "PCMU alone is available");
    assert_eq!(a.remote.telephone_event.map(|event| event.payload), Some(101));
    assert!(a.rtcp_mux && b.rtcp_mux);
}

#[test]
fn the_weaker_protection_is_never_taken_silently() {
    let weak = Protection::Sdes(vec![Suite::AesCm128HmacSha1_32]);
    assert_eq!(exchange(sdes(), weak).err(), Some(Refusal::NoCommonSuite));
    assert_eq!(exchange(Protection::DangerousPlain, sdes()).err(), Some(Refusal::OtherSecurity));
    assert_eq!(exchange(dtls(), sdes()).err(), Some(Refusal::OtherSecurity));
    assert_eq!(Refusal::OtherSecurity.status().code(), 488);
}

#[test]
fn dtls_has_one_client() {
    let (a, b) = exchange(dtls(), dtls()).expect("both have certificates");
    assert!(matches!(a.keys, Keys::Dtls { role: DtlsRole::Client, .. }));
    assert!(matches!(b.keys, Keys::Dtls { role: DtlsRole::Server, .. }), "RFC 5763 §5");
}

#[test]
fn every_line_of_an_offer_is_answered_in_its_place() {
    let offer = session(
        "m=video~5000~RTP/AVP~96 a=rtpmap:96~H264/90000 m=audio~5002~RTP/AVP~18~8~101 \
         a=rtpmap:101~telephone-event/8000 m=audio~5004~RTP/AVP~0",
    );
    let mut ours = OfferAnswer::new(1);
    let (answer, agreed) = ours
        .make_answer(
            &offer,
            &local(Protection::DangerousPlain),
            &Coding::ALL,
            &mut Chance::from_number(1),
        )
        .expect("PCMA is common");
    let ports: Vec<u16> = answer.media.iter().map(|line| line.port).collect();
    assert_eq!(ports, [0, 40_000, 0]);
    assert_eq!(agreed.remote.codecs[0].coding, Coding::Pcma);
    assert!(!agreed.rtcp_mux, "not offered");
    let again = ours.make_offer(
        &local(Protection::DangerousPlain),
        &codecs(),
        None,
        &mut Chance::from_number(2),
    );
    let ports: Vec<u16> = again.media.iter().map(|line| line.port).collect();
    assert_eq!(ports, [0, 40_000, 0], "lines keep their places (RFC 3264 §8)");
    assert_eq!(again.origin.version, answer.origin.version + 1);
}

#[test]
fn a_version_counts_changes_only() {
    let mut ours = OfferAnswer::new(1);
    let mut chance = Chance::from_number(1);
    let plain = local(Protection::DangerousPlain);
    let first = ours.make_offer(&plain, &codecs(), None, &mut chance);
    let same = ours.make_offer(&plain, &codecs(), None, &mut chance);
    assert_eq!(first, same);
    let held = Local { direction: Direction::SendOnly, ..plain };
    let held = ours.make_offer(&held, &codecs(), None, &mut chance);
    assert_eq!(held.origin.version, 2);
    let mut survivor = OfferAnswer::restore(held);
    let open = local(Protection::DangerousPlain);
    let origin = survivor.make_offer(&open, &codecs(), None, &mut chance).origin;
    assert_eq!((origin.session_id, origin.version), (1, 3));
}

#[test]
fn both_kinds_of_hold() {
    let read = |lines| MediaDescription::read(&session(lines)).expect("audio");
    assert!(read("m=audio~5000~RTP/AVP~0 a=sendonly").is_hold());
    assert!(read("m=audio~5000~RTP/AVP~0 a=inactive").is_hold());
    assert!(!read("m=audio~5000~RTP/AVP~0 a=recvonly").is_hold());
    let old = read("m=audio~5000~RTP/AVP~0 c=IN~IP4~0.0.0.0");
    assert!(old.is_hold() && old.rtp.is_none(), "RFC 3264 §8.4");
    let open = read("m=audio~5000~RTP/AVP~0 a=rtcp:5009");
    assert_eq!(open.rtcp, Some("192.0.2.1:5009".parse().expect("an address")));
}

#[test]
fn a_hold_is_answered_by_listening() {
    let offer = session("m=audio~5000~RTP/AVP~0 a=sendonly");
    let (answer, agreed) = OfferAnswer::new(1)
        .make_answer(
            &offer,
            &local(Protection::DangerousPlain),
            &Coding::ALL,
            &mut Chance::from_number(1),
        )
        .expect("PCMU");
    assert_eq!(answer.media[0].direction, Some(Direction::RecvOnly), "RFC 3264 §6.1");
    assert_eq!(agreed.direction, Direction::RecvOnly);
}

#[test]
fn keys_that_weaken_are_no_keys() {
    let line = |profile: &str, params: &str| {
        format!("m=audio~5000~{profile}~0 a=crypto:1~AES_CM_128_HMAC_SHA1_80~{KEY}{params}")
    };
    let read = |line: String| MediaDescription::read(&session(&line)).map(|media| media.security);
    assert!(matches!(read(line("RTP/SAVP", "")), Ok(Security::Sdes(_))));
    assert!(matches!(read(line("RTP/AVP", "")), Ok(Security::Sdes(_))), "RFC 8643");
    assert_eq!(read(line("RTP/SAVP", "~UNENCRYPTED_SRTP")), Err(Refusal::NoUsableKeys));
    assert_eq!(read(line("RTP/SAVP", "~KDR=3")), Err(Refusal::NoUsableKeys));
    assert_eq!(read("m=audio~5000~RTP/SAVP~0".to_owned()), Err(Refusal::NoUsableKeys));
}

#[test]
fn an_answer_must_fit_the_offer() {
    let mut chance = Chance::from_number(1);
    let mut plain = OfferAnswer::new(1);
    plain.make_offer(&local(Protection::DangerousPlain), &codecs(), None, &mut chance);
    let read = |lines| plain.read_answer(&session(lines)).err();
    assert_eq!(read("m=audio~5000~RTP/AVP~0"), None);
    assert_eq!(read("m=audio~0~RTP/AVP~0"), Some(Refusal::NoAudio));
    assert_eq!(read("m=audio~5000~RTP/AVP~8"), Some(Refusal::NoCommonCodec));
    assert_eq!(read("m=audio~5000~RTP/SAVP~0"), Some(Refusal::OtherProfile));
    assert_eq!(read("m=video~5000~RTP/AVP~0"), Some(Refusal::OtherLines));
    assert_eq!(read("m=audio~5000~RTP/AVP~0 m=video~0~RTP/AVP~9"), Some(Refusal::OtherLines));

    let mut secure = OfferAnswer::new(1);
    let mut offer = secure.make_offer(&local(sdes()), &codecs(), None, &mut chance);
    offer.media[0].crypto.truncate(1);
    assert!(secure.read_answer(&offer).is_ok());
    offer.media[0].crypto[0].tag = 9;
    assert_eq!(secure.read_answer(&offer).err(), Some(Refusal::OtherCrypto), "RFC 4568 §5.1.3");
}

#[test]
fn who_may_speak() {
    use Carrier::{Ack, Invite, Prack, Provisional, Success, Update};
    use Side::{Local as Us, Remote as Them};
    let reliable = Provisional { reliable: true };
    let early = Provisional { reliable: false };

    // Offer in INVITE, previewed, answered, said again.
    let mut call = OfferAnswer::new(1);
    assert_eq!(call.pass(Us, Invite, true), Ok(Meaning::Offer));
    assert!(!call.may_offer());
    assert_eq!(call.pass(Them, early, true), Ok(Meaning::Preview));
    assert_eq!(call.pass(Them, reliable, true), Ok(Meaning::Answer));
    assert_eq!(call.pass(Them, Success, true), Ok(Meaning::Repeated));
    assert_eq!(call.pass(Us, Ack, false), Ok(Meaning::Nothing));
    // Glare, and then a hold that fails.
    assert_eq!(call.pass(Us, Invite, true), Ok(Meaning::Offer));
    assert_eq!(call.pass(Them, Invite, true), Err(Refusal::Glare));
    assert_eq!(call.pass(Us, Update, true), Err(Refusal::TooSoon));
    call.failed();
    assert_eq!(call.state(), State::Stable);

    // Delayed offer: INVITE without, offer in the 2xx, answer in the ACK.
    let mut call = OfferAnswer::new(1);
    assert_eq!(call.pass(Them, Invite, false), Ok(Meaning::Nothing));
    assert_eq!(call.pass(Them, Update, true), Err(Refusal::TooSoon));
    assert_eq!(call.pass(Us, Success, true), Ok(Meaning::Offer));
    assert_eq!(call.pass(Them, Ack, false), Err(Refusal::OutOfPlace), "no answer came");
    assert_eq!(call.pass(Them, Ack, true), Ok(Meaning::Answer));

    // A reliable provisional offers, its PRACK answers (RFC 3262 §5).
    let mut call = OfferAnswer::new(1);
    assert_eq!(call.pass(Us, Invite, false), Ok(Meaning::Nothing));
    assert_eq!(call.pass(Them, reliable, true), Ok(Meaning::Offer));
    assert_eq!(call.pass(Us, Prack, true), Ok(Meaning::Answer));
    assert_eq!(call.state(), State::Stable);
}

proptest! {
    /// Whatever passes: no panic, an offer is only ever answered by the other side, and after a failure
    /// an offer may leave again.
    #[test]
    fn no_negotiation_is_stuck(
        passes in proptest::collection::vec((any::<bool>(), 0_usize..8, any::<bool>()), 0..40),
    ) {
        let carriers = [
            Carrier::Invite,
            Carrier::Provisional { reliable: true },
            Carrier::Provisional { reliable: false },
            Carrier::Success,
            Carrier::Ack,
            Carrier::Update,
            Carrier::Prack,
            Carrier::RequestSuccess,
        ];
        let mut call = OfferAnswer::new(1);
        let mut offerer = None;
        for (ours, carrier, described) in passes {
            let from = if ours { Side::Local } else { Side::Remote };
            let before = call.state();
            match call.pass(from, carriers[carrier], described) {
                Ok(Meaning::Offer) => offerer = Some(from),
                Ok(Meaning::Answer) => prop_assert_eq!(offerer.take(), Some(from.other())),
                Ok(_) => {}
                Err(_) => prop_assert_eq!(call.state(), before),
            }
        }
        call.failed();
        prop_assert!(call.may_offer());
    }

    /// Any description that parses is read, answered or refused; the answer re-parses to itself.
    #[test]
    fn any_offer_is_answered_or_refused(
        port in any::<u16>(), kind in 0_usize..3, profile in 0_usize..4,
        formats in proptest::collection::vec(0_u8..128, 1..6), direction in 0_usize..4,
    ) {
        let formats: std::collections::BTreeSet<u8> = formats.into_iter().collect();
        let formats: Vec<String> = formats.iter().map(u8::to_string).collect();
        let lines = format!(
            "m={}~{port}~{}~{} a={}",
            ["audio", "video", "image"][kind],
            ["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udptl"][profile],
            formats.join("~"),
            ["sendrecv", "sendonly", "recvonly", "inactive"][direction],
        );
        let offer = session(&lines);
        let mut chance = Chance::from_number(1);
        let plain = local(Protection::DangerousPlain);
        if let Ok((answer, agreed)) =
            OfferAnswer::new(1).make_answer(&offer, &plain, &Coding::ALL, &mut chance)
        {
            prop_assert!(!agreed.remote.codecs.is_empty());
            prop_assert_eq!(Session::parse(answer.print().as_bytes()), Ok(answer));
        }
    }
}
