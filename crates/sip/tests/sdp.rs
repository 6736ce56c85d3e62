//! Session descriptions: what is understood, what is refused, and that printing loses nothing.

use proptest::prelude::*;
use sip::Violation;
use sip::sdp::{
    CandidateKind, Direction, Format, Hash, MEDIA_MAX, Media, MediaKind, Origin, Proto, RtpMap,
    Session, SessionParam, Setup, Suite, Text, Word,
};

const PHONE: &str = "v=0
o=- 20518 1 IN IP4 203.0.113.1
s=call
b=AS:84
t=0 0
a=sendonly
m=audio 54400 RTP/SAVP 0 8 101
c=IN IP4 203.0.113.2
b=TIAS:64000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=crypto:1 AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 KDR=1 UNENCRYPTED_SRTCP -x
a=crypto:3 F8_128_HMAC_SHA1_80 inline:whatever
a=rtcp:54555 IN IP4 203.0.113.3
a=x-unknown:dropped
m=video 0 RTP/SAVP 31
";

const BROWSER: &str = "v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=ice-lite
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP6 ::1
a=candidate:1 1 udp 2113937151 192.0.2.5 54400 typ host generation 0
a=candidate:2 1 UDP 1677729535 2001:db8::5 54401 typ srflx raddr 0.0.0.0 rport 9
a=candidate:3 1 tcp 1518280447 192.0.2.5 9 typ host tcptype active
a=candidate:4 1 udp 2113937151 0ab.local 54400 typ host
a=ice-ufrag:F7gI
a=ice-pwd:x9cml/YzichV2+XlhiMu8g
a=setup:actpass
a=mid:0
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
";

fn parse(text: &str) -> Result<Session, Violation> {
    Session::parse(text.replace('\n', "\r\n").as_bytes())
}

#[test]
fn a_phone_is_understood() {
    let session = parse(PHONE).unwrap();
    let all: Vec<_> = session.effective().collect();
    assert_eq!(all.len(), 2);
    let audio = all[0];
    assert_eq!(
        (&audio.media.kind, audio.media.port, &audio.media.proto),
        (&MediaKind::Audio, 54400, &Proto::RtpSavp)
    );
    assert_eq!(
        (audio.connection(), audio.direction()),
        ("203.0.113.2".parse().ok(), Direction::SendOnly)
    );
    assert_eq!((audio.rtcp_port(), audio.media.ptime), (Some(54555), Some(20)));
    assert_eq!(audio.media.format(101).unwrap().fmtp.as_ref().unwrap().as_str(), "0-16");
    assert_eq!(audio.media.format(8).unwrap().rtpmap, None);
    let [gcm, cm] = &audio.media.crypto[..] else { panic!("the unknown suite is dropped") };
    assert_eq!(
        (gcm.tag, gcm.suite, gcm.keys[0].key_salt.expose().len()),
        (1, Suite::AeadAes256Gcm, 44)
    );
    assert_eq!(
        (cm.suite, cm.keys[0].lifetime, cm.keys[0].mki.unwrap().len),
        (Suite::AesCm128HmacSha1_80, Some(1 << 20), 4)
    );
    assert_eq!(cm.params, [SessionParam::Kdr(1), SessionParam::UnencryptedSrtcp]);
    let shown = format!("{session:?}");
    assert!(!shown.contains("WVNf") && !shown.contains("87, 83"), "{shown}");
    assert_eq!((all[1].media.port, all[1].connection()), (0, None));
}

#[test]
fn a_browser_is_understood() {
    let session = parse(BROWSER).unwrap();
    let audio = session.effective().next().unwrap();
    assert_eq!((audio.media.rtcp_mux, audio.rtcp_port(), session.ice_lite), (true, Some(9), true));
    assert_eq!(
        (audio.fingerprints()[0].hash, audio.fingerprints()[0].digest[31]),
        (Hash::Sha256, 0x1f)
    );
    assert_eq!(
        (audio.setup(), audio.ice_ufrag().unwrap().as_str()),
        (Some(Setup::ActPass), "F7gI")
    );
    assert_eq!(audio.ice_pwd().unwrap().expose().len(), 22);
    let kinds: Vec<_> =
        audio.media.candidates.iter().map(|c| (c.kind, c.port, c.related)).collect();
    assert_eq!(
        kinds,
        [
            (CandidateKind::Host, 54400, None),
            (CandidateKind::ServerReflexive, 54401, Some(("0.0.0.0".parse().unwrap(), 9)))
        ]
    );
    assert_eq!(
        audio.media.format(111).unwrap().rtpmap,
        Some(RtpMap { encoding: Word::new("opus").unwrap(), clock: 48000, channels: Some(2) })
    );
    assert_eq!(session.bundles, [[audio.media.mid.clone().unwrap()]]);
    assert!(!format!("{session:?}").contains("x9cml"));
}

#[test]
fn printing_loses_nothing_we_keep() {
    for text in [PHONE, BROWSER] {
        let session = parse(text).unwrap();
        let printed = session.print();
        assert_eq!(Session::parse(printed.as_bytes()).unwrap(), session);
        assert_eq!(Session::parse(printed.as_bytes()).unwrap().print(), printed);
        assert!(!printed.contains("unknown") && !printed.contains("msid"));
    }
}

#[test]
fn lines_may_end_in_lf_alone() {
    assert_eq!(Session::parse(PHONE.as_bytes()), parse(PHONE));
}

#[test]
fn the_old_way_to_hold_is_read() {
    for (line, ip) in [("c=IN IP4 0.0.0.0", "0.0.0.0"), ("c=IN IP6 ::", "::")] {
        let held = parse(&PHONE.replacen("c=IN IP4 203.0.113.2", line, 1)).unwrap();
        assert_eq!(held.media[0].connection, Some(ip.parse().unwrap()));
    }
}

#[test]
fn what_is_ambiguous_is_refused() {
    let with = |from: &str, to: &str| {
        assert!(PHONE.contains(from), "{from}");
        parse(&PHONE.replacen(from, to, 1)).unwrap_err()
    };
    for (from, to, violation) in [
        ("v=0", "v=1", Violation::Sdp),
        ("o=- 20518 1 IN IP4 203.0.113.1\n", "", Violation::Sdp),
        ("o=-", "o=- 1 1 IN IP4 1.2.3.4\no=-", Violation::Sdp),
        ("20518", "x", Violation::Sdp),
        ("20518", "99999999999999999999", Violation::Sdp),
        ("s=call", "s=call\ns=again", Violation::Sdp),
        ("s=call\n", "s=call\nc=IN IP4 1.2.3.4\nc=IN IP4 1.2.3.4\n", Violation::SdpRepeated),
        ("t=0 0\n", "", Violation::Sdp),
        ("t=0 0", "t=0 0\nt=0 0", Violation::SdpRepeated),
        ("a=sendonly", "a=sendonly\na=sendrecv", Violation::SdpRepeated),
        ("c=IN IP4 203.0.113.2\n", "", Violation::SdpNoConnection),
        (
            "c=IN IP4 203.0.113.2",
            "c=IN IP4 203.0.113.2\nc=IN IP4 203.0.113.2",
            Violation::SdpRepeated,
        ),
        ("c=IN IP4 203.0.113.2", "c=IN IP6 203.0.113.2", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP4 224.2.1.1/127", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP4 224.2.1.1", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP4 239.255.255.255", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP4 255.255.255.255", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP6 ff02::1", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP6 ::ffff:224.2.1.1", Violation::Sdp),
        ("s=call\n", "s=call\nc=IN IP4 224.2.1.1\n", Violation::Sdp),
        ("a=rtcp:54555", "a=rtcp:54555 IN IP4 224.2.1.1", Violation::Sdp),
        ("a=rtcp:54555", "a=rtcp:54555 IN IP4 255.255.255.255", Violation::Sdp),
        ("a=rtcp:54555", "a=rtcp:54555 IN IP6 ff02::1", Violation::Sdp),
        ("c=IN IP4 203.0.113.2", "c=IN IP4 host.example.com", Violation::Sdp),
        ("54400", "65536", Violation::Sdp),
        ("54400", "-1", Violation::Sdp),
        ("54400", "54400/2", Violation::Sdp),
        ("0 8 101", "0 8 08", Violation::SdpRepeated),
        ("0 8 101", "0 128", Violation::Sdp),
        ("RTP/SAVP 0 8 101", "RTP/SAVP", Violation::Sdp),
        ("RTP/SAVP 0", "RTP/SAVP  0", Violation::Sdp),
        (
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:0 PCMU/8000\na=rtpmap:0 PCMA/8000",
            Violation::SdpRepeated,
        ),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU", Violation::Sdp),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU/0", Violation::Sdp),
        ("a=ptime:20", "a=ptime:0", Violation::Sdp),
        ("a=ptime:20", "a=ptime:20\na=ptime:30", Violation::SdpRepeated),
        ("a=rtcp:54555", "a=rtcp:0", Violation::Sdp),
        ("a=crypto:2", "a=crypto:1", Violation::SdpRepeated),
        ("a=crypto:2", "a=crypto:x", Violation::SdpCrypto),
        ("inline:WVNf", "inline:", Violation::SdpCrypto),
        ("inline:WVNf", "inline:WV!f", Violation::SdpCrypto),
        ("inline:WVNf", "WVNf", Violation::SdpCrypto),
        ("|2^20", "|2^49", Violation::SdpCrypto),
        ("|2^20", "|0", Violation::SdpCrypto),
        ("|1:4", "|1:0", Violation::SdpCrypto),
        ("|1:4", "|99999999999:4", Violation::SdpCrypto),
        ("|1:4", "|1:4|2:4", Violation::SdpCrypto),
        ("KDR=1", "KDR=25", Violation::SdpCrypto),
        ("a=ptime", "y=ptime", Violation::Sdp),
        ("a=ptime", "a =ptime", Violation::Sdp),
        ("a=ptime", "a=pt\0me", Violation::Sdp),
        ("a=ptime", "a=x\ra=ptime", Violation::Sdp),
        ("a=ptime", "\na=ptime", Violation::Sdp),
    ] {
        assert_eq!(with(from, to), violation, "{from} -> {to}");
    }
    let many = |n: usize| {
        format!(
            "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nc=IN IP4 1.2.3.4\nt=0 0\n{}",
            "m=audio 4000 RTP/AVP 0\n".repeat(n)
        )
    };
    assert_eq!(parse(&many(MEDIA_MAX)).unwrap().media.len(), MEDIA_MAX);
    assert_eq!(parse(&many(MEDIA_MAX + 1)).unwrap_err(), Violation::SdpTooLong);
    let browser = |from: &str, to: &str| parse(&BROWSER.replacen(from, to, 1)).unwrap_err();
    assert_eq!(browser("1d:1e:1f", "1d:1e"), Violation::Sdp);
    assert_eq!(browser("ice-pwd:x9cml", "ice-pwd:"), Violation::Sdp);
    assert_eq!(browser("a=setup:actpass", "a=setup:maybe"), Violation::Sdp);
    assert_eq!(browser("a=rtcp-mux", "a=rtcp-mux\na=rtcp-mux"), Violation::SdpRepeated);
    assert_eq!(Session::parse(&[b'v'; 40_000]).unwrap_err(), Violation::SdpTooLong);
}

#[test]
fn every_suite_reads_back() {
    for suite in Suite::ALL {
        let (key, salt) = suite.key_salt_len();
        for len in [key + salt - 1, key + salt, key + salt + 1] {
            let mut session = parse(PHONE).unwrap();
            let crypto = &mut session.media[0].crypto;
            crypto.truncate(1);
            crypto[0].suite = suite;
            crypto[0].keys[0].key_salt = sip::sdp::Secret::new((0..len as u8).collect());
            let again = Session::parse(session.print().as_bytes());
            assert_eq!(again.is_ok_and(|s| s == session), len == key + salt, "{suite:?} {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_descriptions_never_panic_and_read_back(at in 0usize..1200, byte in any::<u8>(), browser in any::<bool>(), cut in any::<bool>()) {
        let mut bytes = if browser { BROWSER } else { PHONE }.as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(session) = Session::parse(&bytes) {
            prop_assert_eq!(Session::parse(session.print().as_bytes()).unwrap(), session);
        }
    }

    #[test]
    fn what_we_make_reads_back(
        port in 1u16.., id in any::<u64>(), version in any::<u64>(), payload in 0u8..128, v6 in any::<bool>(),
        encoding in "[a-zA-Z0-9-]{1,20}", clock in 1u32.., fmtp in " ?[!-~][ -~]{0,30}", mid in "[!-~]{1,8}",
    ) {
        let ip = if v6 { "2001:db8::7".parse().unwrap() } else { "192.0.2.7".parse().unwrap() };
        let mut session = Session::new(Origin::new(id, version, ip));
        let rtpmap = RtpMap { encoding: Word::new(&encoding).unwrap(), clock, channels: None };
        let format = Format::rtp(payload, Some(rtpmap), Some(Text::new(&fmtp).unwrap()));
        let mut media = Media::new(MediaKind::Audio, port, Proto::RtpAvp, vec![format]);
        media.connection = Some(ip);
        media.mid = Some(Word::new(&mid).unwrap());
        media.direction = Some(Direction::Inactive);
        session.media.push(media);
        prop_assert_eq!(Session::parse(session.print().as_bytes()).unwrap(), session);
    }
}
