//! Ladders through the exchange. Alice is extension 101; bob and carol are two phones of 102.

mod dangerous;
mod help;
mod outside;
mod strangers;
mod world;

use guard::cause::Disposition;
use guard::fact::{Fact, ViolationKind};
use rtp::relay;
use sip::{Message, Method};
use world::{KEY, World, offer, plain, sdp};

use crate::command::{CallState, Change, Command, Reply};
use crate::directory::Exceptions;
use crate::flow::{Path, Transport};
use crate::settings::Settings;

#[test]
fn a_basic_call() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
    w.reply("carol", Method::Invite, 180, None);
    w.pass(2_000);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.settle_forks();
    w.ack("alice", None);
    w.pass(5_000);
    w.within("alice", Method::Bye, None);
    w.reply("bob", Method::Bye, 200, None);
    w.check(
        "
           0ms  alice > pbx    INVITE 102 sdp
           0ms  pbx   > bob    INVITE 102 sdp
           0ms  pbx   > carol  INVITE 102 sdp
           0ms  bob   > pbx    180
           0ms  pbx   > alice  180
           0ms  carol > pbx    180
        2000ms  bob   > pbx    200 sdp
        2000ms  pbx   > bob    ACK
        2000ms  pbx   > carol  CANCEL
        2000ms  pbx   > alice  200 sdp
        2000ms  carol > pbx    200 CANCEL
        2000ms  carol > pbx    487
        2000ms  pbx   > carol  ACK
        2000ms  alice > pbx    ACK
        7000ms  alice > pbx    BYE
        7000ms  pbx   > alice  200 BYE
        7000ms  pbx   > bob    BYE
        7000ms  bob   > pbx    200 BYE
        cdr     101 102 answered 5s
        ",
    );
}

#[test]
fn nothing_of_one_leg_shows_on_the_other() {
    let mut w = World::new();
    w.call();
    let bobs = w.phone("bob").last_request.clone().expect("the ACK");
    let offered = w.snapshots.len();
    assert_eq!(offered, 1);
    let text = format!("{:?}", bobs.as_bytes());
    for secret in ["192.0.2.1:40011", "alice-1", "tag=t1", KEY] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let answered = w.phone("alice").answered();
    assert!(answered.contains("AES_CM_128_HMAC_SHA1_80 inline:"), "{answered}");
    assert!(!answered.contains(KEY) && !answered.contains("192.0.2.1"), "{answered}");
    // Two legs, each with keys of its own.
    let keys: Vec<_> = w.armed.values().map(|config| config.protection.clone()).collect();
    assert_eq!(keys.len(), 2);
    let relay::Protection::Srtp { send: a, .. } = &keys[0] else { panic!("encrypted") };
    let relay::Protection::Srtp { send: b, .. } = &keys[1] else { panic!("encrypted") };
    assert_ne!(a, b);
    for secret in ["inline:d0Rm", "response="] {
        assert!(w.traces.iter().all(|text| !text.contains(secret)), "{secret} in the ladder");
    }
    assert!(w.traces.iter().any(|text| text.starts_with("INVITE")));
}

#[test]
fn busy_when_all_phones_are() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 486, None);
    w.reply("carol", Method::Invite, 480, None);
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  bob   > pbx    486
        0ms  pbx   > bob    ACK
        0ms  carol > pbx    480
        0ms  pbx   > carol  ACK
        0ms  pbx   > alice  486
        cdr  101 102 busy 0s
        ",
    );
    assert!(w.snapshots.is_empty());
}

#[test]
fn nobody_answers() {
    let mut w = World::with(
        Settings { ring_timeout: std::time::Duration::from_secs(20), ..Settings::default() },
        Exceptions::default(),
    );
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
    w.reply("carol", Method::Invite, 486, None);
    w.pass(20_000);
    w.reply("bob", Method::Cancel, 200, None);
    w.reply("bob", Method::Invite, 487, None);
    w.check(
        "
            0ms  alice > pbx    INVITE 102 sdp
            0ms  pbx   > bob    INVITE 102 sdp
            0ms  pbx   > carol  INVITE 102 sdp
            0ms  bob   > pbx    180
            0ms  pbx   > alice  180
            0ms  carol > pbx    486
            0ms  pbx   > carol  ACK
        20000ms  pbx   > alice  480
        20000ms  pbx   > bob    CANCEL
        20000ms  bob   > pbx    200 CANCEL
        20000ms  bob   > pbx    487
        20000ms  pbx   > bob    ACK
        cdr      101 102 no-answer 0s
        ",
    );
}

#[test]
fn nobody_is_registered_and_nobody_has_the_number() {
    let mut w = World::new();
    w.invite("bob", "103", Some(&offer("sendrecv")));
    w.invite("bob", "00442012345678", Some(&offer("sendrecv")));
    w.check(
        "
        0ms  bob > pbx  INVITE 103 sdp
        0ms  pbx > bob  404
        cdr  102 103 refused:unknown-destination 0s
        0ms  bob > pbx  INVITE 00442012345678 sdp
        0ms  pbx > bob  403
        cdr  102 00442012345678 refused:not-allowed-class 0s
        ",
    );
}

#[test]
fn a_call_for_help_is_recognised_and_says_that_no_route_exists() {
    let mut w = World::new();
    w.invite("alice", "9911", Some(&plain("sendrecv")));
    w.check(
        "
        0ms  alice > pbx    INVITE 9911 sdp
        0ms  pbx   > alice  503
        cdr  101 911 failed 0s
        ",
    );
    let reason = w.phone("alice").last_answer.clone().expect("an answer");
    assert_eq!(reason.reason(), "No Emergency Route Is Configured");
    assert!(w.facts.iter().any(|fact| matches!(fact, Fact::EmergencyCalled { .. })));
    assert!(w.cdrs[0].emergency);
}

#[test]
fn cancel_while_ringing() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
    w.reply("carol", Method::Invite, 486, None);
    w.cancel("alice");
    w.reply("bob", Method::Cancel, 200, None);
    w.reply("bob", Method::Invite, 487, None);
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  bob   > pbx    180
        0ms  pbx   > alice  180
        0ms  carol > pbx    486
        0ms  pbx   > carol  ACK
        0ms  alice > pbx    CANCEL
        0ms  pbx   > alice  200 CANCEL
        0ms  pbx   > alice  487
        0ms  pbx   > bob    CANCEL
        0ms  bob   > pbx    200 CANCEL
        0ms  bob   > pbx    487
        0ms  pbx   > bob    ACK
        cdr  101 102 cancelled 0s
        ",
    );
}

/// Bob lifts his handset in the moment in which alice gives up.
#[test]
fn cancel_crosses_the_answer_of_the_phone() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
    w.reply("carol", Method::Invite, 486, None);
    w.cancel("alice");
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.reply("bob", Method::Bye, 200, None);
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  bob   > pbx    180
        0ms  pbx   > alice  180
        0ms  carol > pbx    486
        0ms  pbx   > carol  ACK
        0ms  alice > pbx    CANCEL
        0ms  pbx   > alice  200 CANCEL
        0ms  pbx   > alice  487
        0ms  pbx   > bob    CANCEL
        0ms  bob   > pbx    200 sdp
        0ms  pbx   > bob    ACK
        0ms  pbx   > bob    BYE
        0ms  bob   > pbx    200 BYE
        cdr  101 102 cancelled 0s
        ",
    );
}

/// Alice's CANCEL and our 200 cross: the 200 wins, and she hangs up with BYE.
#[test]
fn cancel_crosses_our_200() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("carol", Method::Invite, 486, None);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.cancel("alice");
    w.ack("alice", None);
    w.within("alice", Method::Bye, None);
    w.reply("bob", Method::Bye, 200, None);
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  carol > pbx    486
        0ms  pbx   > carol  ACK
        0ms  bob   > pbx    200 sdp
        0ms  pbx   > bob    ACK
        0ms  pbx   > alice  200 sdp
        0ms  alice > pbx    CANCEL
        0ms  pbx   > alice  200 CANCEL
        0ms  alice > pbx    ACK
        0ms  alice > pbx    BYE
        0ms  pbx   > alice  200 BYE
        0ms  pbx   > bob    BYE
        0ms  bob   > pbx    200 BYE
        cdr  101 102 answered 0s
        ",
    );
}

/// Both phones of 102 are answered; the slower one is acknowledged and hung up.
#[test]
fn late_2xx_of_another_fork() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("carol", Method::Invite, 180, None);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.reply("carol", Method::Invite, 200, Some(&offer("sendrecv")));
    w.reply("carol", Method::Bye, 200, None);
    w.ack("alice", None);
    w.within("bob", Method::Bye, None);
    w.reply("alice", Method::Bye, 200, None);
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  carol > pbx    180
        0ms  pbx   > alice  180
        0ms  bob   > pbx    200 sdp
        0ms  pbx   > bob    ACK
        0ms  pbx   > carol  CANCEL
        0ms  pbx   > alice  200 sdp
        0ms  carol > pbx    200 sdp
        0ms  pbx   > carol  ACK
        0ms  pbx   > carol  BYE
        0ms  carol > pbx    200 BYE
        0ms  alice > pbx    ACK
        0ms  bob   > pbx    BYE
        0ms  pbx   > bob    200 BYE
        0ms  pbx   > alice  BYE
        0ms  alice > pbx    200 BYE
        cdr  101 102 answered 0s
        ",
    );
}

/// RFC 3261 §15 has the called phone wait for our ACK; where it doesn't, its BYE may come first.
#[test]
fn a_bye_overtakes_the_2xx_that_it_ends() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("carol", Method::Invite, 180, None);
    let bye = w.hasty_bye("bob", "bob-tag");
    // Of another phone it is a forgery.
    w.forge("carol", &bye);
    w.forge("bob", &bye);
    w.pass(500);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.settle_forks();
    w.check(
        "
          0ms  alice > pbx    INVITE 102 sdp
          0ms  pbx   > bob    INVITE 102 sdp
          0ms  pbx   > carol  INVITE 102 sdp
          0ms  carol > pbx    180
          0ms  pbx   > alice  180
          0ms  carol > pbx    BYE
          0ms  pbx   > carol  481 BYE
          0ms  bob   > pbx    BYE
          0ms  pbx   > bob    200 BYE
        500ms  bob   > pbx    200 sdp
        500ms  pbx   > bob    ACK
        500ms  pbx   > carol  CANCEL
        500ms  pbx   > alice  487
        500ms  carol > pbx    200 CANCEL
        500ms  carol > pbx    487
        500ms  pbx   > carol  ACK
        cdr    101 102 answered 0s
        ",
    );
}

/// Behind a proxy that forks, another branch may answer.
#[test]
fn a_bye_of_another_branch_ends_no_call() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    let bye = w.hasty_bye("bob", "other");
    w.forge("bob", &bye);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.settle_forks();
    w.ack("alice", None);
    w.pass(10_000);
    let Reply::Calls(calls) = w.command(Command::Calls) else { panic!("calls") };
    assert_eq!(calls.iter().map(|call| call.state).collect::<Vec<_>>(), [CallState::Up]);
}

#[test]
fn byes_cross() {
    let mut w = World::new();
    w.call();
    let bobs = w.request_within("bob", Method::Bye, |bye| bye);
    w.within("alice", Method::Bye, None);
    w.forge("bob", &bobs);
    w.reply("bob", Method::Bye, 200, None);
    w.check(
        "
        0ms  alice > pbx    BYE
        0ms  pbx   > alice  200 BYE
        0ms  pbx   > bob    BYE
        0ms  bob   > pbx    BYE
        0ms  pbx   > bob    200 BYE
        0ms  bob   > pbx    200 BYE
        cdr  101 102 answered 0s
        ",
    );
}

#[test]
fn hold_and_resume_reach_the_other_leg() {
    let mut w = World::new();
    w.call();
    w.within("alice", Method::Invite, Some(&offer("sendonly")));
    w.reply("bob", Method::Invite, 200, Some(&offer("recvonly")));
    w.ack("alice", None);
    w.within("alice", Method::Invite, Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.ack("alice", None);
    w.check(
        "
        0ms  alice > pbx    INVITE sendonly
        0ms  pbx   > bob    INVITE sendonly
        0ms  bob   > pbx    200 recvonly
        0ms  pbx   > bob    ACK
        0ms  pbx   > alice  200 recvonly
        0ms  alice > pbx    ACK
        0ms  alice > pbx    INVITE sdp
        0ms  pbx   > bob    INVITE sdp
        0ms  bob   > pbx    200 sdp
        0ms  pbx   > bob    ACK
        0ms  pbx   > alice  200 sdp
        0ms  alice > pbx    ACK
        ",
    );
    assert!(w.armed.values().all(|config| config.send && config.receive));
}

/// A new address or a refresh is that leg's own business.
#[test]
fn a_change_of_one_leg_only_stays_there() {
    let mut w = World::new();
    w.call();
    let moved = offer("sendrecv").replace("m=audio 4000", "m=audio 4444");
    w.within("bob", Method::Invite, Some(&moved));
    w.ack("bob", None);
    w.within("alice", Method::Update, None);
    w.check(
        "
        0ms  bob   > pbx    INVITE sdp
        0ms  pbx   > bob    200 sdp
        0ms  bob   > pbx    ACK
        0ms  alice > pbx    UPDATE
        0ms  pbx   > alice  200 UPDATE
        ",
    );
    let ports: Vec<_> = w.armed.values().filter_map(|c| Some(c.remote?.port())).collect();
    assert!(ports.contains(&4_444), "{ports:?}");
}

/// Both hold at once: each gets 491 from the other side's point of view, and the one whose Call-ID
/// is ours waits longer.
#[test]
fn glare() {
    let mut w = World::new();
    w.call();
    w.within("alice", Method::Invite, Some(&offer("sendonly")));
    w.within("bob", Method::Invite, Some(&offer("sendonly")));
    w.reply("bob", Method::Invite, 491, None);
    w.check(
        "
        0ms  alice > pbx    INVITE sendonly
        0ms  pbx   > bob    INVITE sendonly
        0ms  bob   > pbx    INVITE sendonly
        0ms  pbx   > bob    491
        0ms  bob   > pbx    491
        0ms  pbx   > bob    ACK
        ",
    );
    w.pass(4_000);
    w.reply("bob", Method::Invite, 200, Some(&offer("recvonly")));
    assert_eq!(w.phone("alice").last_answer.as_ref().map(|a| a.status().code()), Some(200));
}

#[test]
fn a_forged_bye_does_nothing() {
    let mut w = World::new();
    w.call();
    let bye = w.request_within("alice", Method::Bye, |bye| bye);
    let info =
        w.request_within("alice", Method::Invite, |r| r.body("application/sdp", offer("sendrecv")));
    w.forge("carol", &bye);
    w.forge("carol", &info);
    w.check(
        "
        0ms  carol > pbx    BYE
        0ms  pbx   > carol  481 BYE
        0ms  carol > pbx    INVITE
        0ms  pbx   > carol  481
        ",
    );
    let forged =
        |fact: &&Fact| matches!(fact, Fact::ViolationSeen { kind: ViolationKind::Forged, .. });
    assert_eq!(w.facts.iter().filter(forged).count(), 1, "told once, then counted");
    let Reply::Calls(calls) = w.command(Command::Calls) else { panic!("calls") };
    assert_eq!(calls.iter().map(|call| call.state).collect::<Vec<_>>(), [CallState::Up]);
}

#[test]
fn a_forged_refer_does_nothing() {
    let mut w = World::new();
    w.call();
    let refer = w.request_within("alice", Method::Refer, |refer| {
        refer.header(sip::Name::ReferTo, "<sip:+19005550123@pbx>")
    });
    w.forge("carol", &refer);
    w.check(
        "
        0ms  carol > pbx    REFER
        0ms  pbx   > carol  481 REFER
        ",
    );
}

/// From the right connection too: the names of another dialog, and numbers that were used.
#[test]
fn wrong_tags_and_old_numbers_do_nothing() {
    let mut w = World::new();
    w.call();
    w.within("alice", Method::Update, None);
    let mut expected = "0ms alice > pbx UPDATE\n0ms pbx > alice 200 UPDATE\n".to_owned();
    for method in [Method::Bye, Method::Invite, Method::Refer, Method::Update] {
        for wrong in ["to", "from", "number"] {
            let sound = w.request_within("alice", method, |request| match method {
                Method::Invite => request.body("application/sdp", offer("sendonly")),
                _ => request,
            });
            let headers = sound.headers();
            let text = String::from_utf8_lossy(sound.as_bytes()).into_owned();
            let tag =
                |address: sip::NameAddr<'_>| format!(";tag={}", address.tag().expect("a tag"));
            let text = match wrong {
                "to" => text.replace(&tag(headers.to()), &format!("{}x", tag(headers.to()))),
                "from" => text.replace(&tag(headers.from()), &format!("{}x", tag(headers.from()))),
                _ => text.replace(&format!("CSeq: {} ", headers.cseq().number), "CSeq: 1 "),
            };
            let Ok(Message::Request(forged)) = Message::parse(text.into()) else { panic!("sound") };
            w.forge("alice", &forged);
            let answered =
                if method == Method::Invite { String::new() } else { format!(" {method}") };
            let status = if wrong == "number" { 500 } else { 481 };
            expected += &format!("0ms alice > pbx {method}\n0ms pbx > alice {status}{answered}\n");
        }
    }
    w.check(&expected);
    let Reply::Calls(calls) = w.command(Command::Calls) else { panic!("calls") };
    assert_eq!(calls.iter().map(|call| call.state).collect::<Vec<_>>(), [CallState::Up]);
    let old =
        |fact: &&Fact| matches!(fact, Fact::ViolationSeen { kind: ViolationKind::OutOfOrder, .. });
    assert_eq!(w.facts.iter().filter(old).count(), 1, "told once, then counted");
    w.within("alice", Method::Bye, None);
    w.reply("bob", Method::Bye, 200, None);
}

#[test]
fn plain_audio_is_refused() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&plain("sendrecv")));
    let short = sdp("RTP/SAVP", "0 8 101", "sendrecv", KEY).replace("SHA1_80", "SHA1_32");
    w.invite("alice", "102", Some(&short));
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > alice  488
        cdr  101 102 not-encrypted 0s
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > alice  488
        cdr  101 102 not-encrypted 0s
        ",
    );
    let refused = w.facts.iter().filter(|fact| matches!(fact, Fact::LegNotEncrypted { .. }));
    assert_eq!(refused.count(), 2);
    let answer = w.phone("alice").last_answer.clone().expect("an answer");
    assert!(answer.headers().get(sip::Name::Warning).is_some());
}

/// Bob's extension may be called in clear: a second attempt, after his phone refused the first.
#[test]
fn an_exception_allows_plain_audio_and_shows() {
    let exceptions = Exceptions { dangerous_plain_rtp: true };
    let mut w = World::with(Settings::default(), exceptions);
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("carol", Method::Invite, 486, None);
    w.reply("bob", Method::Invite, 488, None);
    assert!(w.phone("bob").offered().contains("RTP/AVP"));
    w.reply("bob", Method::Invite, 200, Some(&plain("sendrecv")));
    w.ack("alice", None);
    assert!(w.facts.iter().any(|fact| matches!(fact, Fact::ExceptionUsed { .. })));
    w.within("alice", Method::Bye, None);
    w.reply("bob", Method::Bye, 200, None);
    assert_eq!(w.dispositions(), [Disposition::Answered]);
    let weak = w.cdrs[0].legs.iter().flat_map(|leg| &leg.weaknesses);
    assert_eq!(weak.collect::<Vec<_>>(), ["audio is not encrypted"]);
}

#[test]
fn the_offer_may_come_late() {
    let mut w = World::new();
    w.invite("alice", "102", None);
    w.reply("carol", Method::Invite, 486, None);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    let offered = w.phone("alice").answered();
    assert!(offered.contains("RTP/SAVP") && offered.contains("PCMU"), "{offered}");
    w.ack("alice", Some(&offer("sendrecv")));
    assert_eq!(w.armed.len(), 2);
    w.within("alice", Method::Bye, None);
    w.reply("bob", Method::Bye, 200, None);
    assert_eq!(w.dispositions(), [Disposition::Answered]);
}

/// Nothing rings before the snapshot is durable, and the caller hears of the answer after it.
#[test]
fn the_disk_comes_first() {
    let mut w = World::new();
    w.slow_store = true;
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.check("0ms  alice > pbx  INVITE 102 sdp");
    w.store();
    w.reply("carol", Method::Invite, 486, None);
    w.slow_store = true;
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.check(
        "
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  carol > pbx    486
        0ms  pbx   > carol  ACK
        0ms  bob   > pbx    200 sdp
        0ms  pbx   > bob    ACK
        ",
    );
    w.store();
    w.check("0ms  pbx > alice  200 sdp");
}

#[test]
fn early_media_is_heard() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 183, Some(&offer("sendrecv")));
    assert_eq!(w.armed.len(), 2);
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  bob   > pbx    183 sdp
        0ms  pbx   > alice  183 sdp
        ",
    );
}

#[test]
fn drain_ends_what_is_up_and_refuses_what_is_new() {
    let mut w = World::new();
    w.call();
    w.command(Command::Drain);
    w.invite("carol", "101", Some(&offer("sendrecv")));
    w.invite("carol", "911", Some(&offer("sendrecv")));
    w.reply("alice", Method::Bye, 200, None);
    w.pass(5_000);
    w.check(
        "
           0ms  pbx   > alice  BYE
           0ms  pbx   > bob    BYE
           0ms  carol > pbx    INVITE 101 sdp
           0ms  pbx   > carol  503
           0ms  carol > pbx    INVITE 911 sdp
           0ms  pbx   > carol  503
        cdr     102 911 failed 0s
           0ms  alice > pbx    200 BYE
        cdr     101 102 answered 0s
        5000ms  pbx drained
        ",
    );
}

#[test]
fn after_a_crash_the_phones_are_hung_up_as_they_come_back() {
    let mut w = World::new();
    w.call();
    w.crash();
    assert_eq!(w.dispositions(), [Disposition::Interrupted]);
    w.reconnect("bob");
    w.reply("bob", Method::Bye, 200, None);
    assert_eq!(w.snapshots.len(), 1, "alice is still believed to talk");
    w.reconnect("alice");
    w.reply("alice", Method::Bye, 481, None);
    // Carol's phone had been told to stop ringing; whether it did, nobody knew.
    w.reconnect("carol");
    w.reply("carol", Method::Cancel, 481, None);
    assert!(w.snapshots.is_empty());
    w.check(
        "
        0ms  pbx crashes
        cdr  101 102 interrupted 0s
        0ms  pbx > bob    BYE
        0ms  bob > pbx    200 BYE
        0ms  pbx > alice  503   // in case our 200 never reached her
        0ms  pbx > alice  BYE
        0ms  alice > pbx  481 BYE
        0ms  pbx > carol  CANCEL
        0ms  carol > pbx  481 CANCEL
        ",
    );
}

/// It was ringing when the process died: the phone stops ringing, the caller is told.
#[test]
fn after_a_crash_while_ringing() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
    w.reply("carol", Method::Invite, 486, None);
    w.crash();
    w.check(
        "
        0ms  alice > pbx    INVITE 102 sdp
        0ms  pbx   > bob    INVITE 102 sdp
        0ms  pbx   > carol  INVITE 102 sdp
        0ms  bob   > pbx    180
        0ms  pbx   > alice  180
        0ms  carol > pbx    486
        0ms  pbx   > carol  ACK
        0ms  pbx crashes
        cdr  101 102 interrupted 0s
        ",
    );
    w.reconnect("alice");
    w.reconnect("bob");
    w.check(
        "
        0ms  pbx > alice  503
        0ms  pbx > bob    CANCEL
        ",
    );
    // He lifted the handset before the CANCEL came.
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.check(
        "
        0ms  bob > pbx  200 sdp
        0ms  pbx > bob  ACK
        0ms  pbx > bob  BYE
        ",
    );
}

#[test]
fn both_sides_silent_ends_the_call() {
    let mut w = World::new();
    w.call();
    let endpoints: Vec<_> = w.armed.keys().copied().collect();
    for endpoint in endpoints {
        w.media(relay::Event::Silence { endpoint, since: pure::Instant(0) });
    }
    // The first is asked whether it is there.
    w.check(
        "
        0ms  pbx > bob    INVITE sdp
        0ms  pbx > alice  BYE
        0ms  pbx > bob    BYE
        ",
    );
    for name in ["alice", "bob"] {
        w.reply(name, Method::Bye, 200, None);
    }
    assert_eq!(w.cdrs[0].ended_by.0.as_deref(), Some("silence: no audio came any more"));
}

/// A muted phone says yes each time; one that has started again knows of no call.
#[test]
fn a_silent_side_is_asked_until_it_is_gone() {
    let mut w = World::new();
    w.call();
    let endpoint = *w.armed.keys().next().expect("two legs");
    w.media(relay::Event::Silence { endpoint, since: pure::Instant(0) });
    let asked = if w.is_asked("alice") { "alice" } else { "bob" };
    let other = if asked == "alice" { "bob" } else { "alice" };
    w.reply(asked, Method::Invite, 200, Some(&offer("sendrecv")));
    w.pass(600_000);
    w.reply(asked, Method::Invite, 200, Some(&offer("sendrecv")));
    w.pass(600_000);
    w.reply(asked, Method::Invite, 481, None);
    w.reply(other, Method::Bye, 200, None);
    assert_eq!(w.cdrs[0].disposition, Disposition::Answered);
    assert_eq!(w.cdrs[0].ended_by.0.as_deref(), Some("silence: no audio came any more"));
    // Who is heard again is left alone.
    let mut w = World::new();
    w.call();
    let endpoint = *w.armed.keys().next().expect("two legs");
    w.media(relay::Event::Silence { endpoint, since: pure::Instant(0) });
    let asked = if w.is_asked("alice") { "alice" } else { "bob" };
    w.reply(asked, Method::Invite, 200, Some(&offer("sendrecv")));
    w.media(relay::Event::Resumed { endpoint });
    w.pass(1_000_000);
    assert!(!w.is_asked(asked));
}

#[test]
fn a_call_that_an_administrator_ends_says_so() {
    let mut w = World::new();
    w.call();
    let Reply::Calls(calls) = w.command(Command::Calls) else { panic!("calls") };
    let change = Change::HangUp { call: calls[0].id };
    w.command(Command::Change { actor: guard::access::Actor::System, change });
    for name in ["alice", "bob"] {
        w.reply(name, Method::Bye, 200, None);
    }
    assert_eq!(w.cdrs[0].disposition, Disposition::Answered);
    assert_eq!(w.cdrs[0].ended_by.0.as_deref(), Some("an administrator"));
}

/// A request of somebody without an account.
fn unknown(method: &str, number: &str, branch: u32, to_tag: &str) -> String {
    // The challenge to an INVITE holds no place, its refusal for other reasons does.
    let hops = if number == "102" { 0 } else { 70 };
    format!(
        "{method} sip:{number}@pbx.test SIP/2.0\r\n\
         Via: SIP/2.0/TLS 203.0.113.9;branch=z9hG4bK-s{branch}\r\n\
         Max-Forwards: {hops}\r\n\
         From: <sip:x@pbx.test>;tag=x\r\n\
         To: <sip:{number}@pbx.test>{to_tag}\r\n\
         Call-ID: s{branch}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:x@203.0.113.9;transport=tls>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn transactions(w: &World) -> usize {
    w.exchange.live().iter().find(|(what, _)| *what == "transactions").expect("counted").1
}

#[test]
fn strangers_fill_neither_the_table_nor_its_reserves() {
    let settings =
        Settings { transactions_max: 10, transactions_per_path_max: 5, ..Settings::default() };
    let mut w = World::with(settings, Exceptions::default());
    let path = w.stranger();
    // Whatever is wrong with them.
    for branch in 1_000..1_030 {
        let number = if branch % 2 == 0 { "101" } else { "102" };
        assert_eq!(w.say(path, &unknown("INVITE", number, branch, "")), [100, 401]);
    }
    assert_eq!(transactions(&w), 0);
    let mut branch = 0;
    let paths = ["bob", "carol"].map(|name| w.phones[name].path);
    // Two phones fill the table with INVITEs that they never acknowledge; each gets its share.
    for path in paths {
        for n in 0..8 {
            branch += 1;
            let heard = w.say(path, &unknown("INVITE", "102", branch, ""));
            assert_eq!(heard, if n < 5 { vec![100, 483] } else { vec![503] });
        }
    }
    assert_eq!(transactions(&w), 10);
    let path = w.stranger();
    // An invented dialog opens nothing, and neither does an emergency number that a stranger dials: that is
    // challenged even now, since somebody with a secret may stand behind it.
    for (method, number, tag, status) in [
        ("INVITE", "102", ";tag=mine", 503),
        ("CANCEL", "102", "", 503),
        ("INVITE", "911", "", 401),
    ] {
        branch += 1;
        assert_eq!(w.say(path, &unknown(method, number, branch, tag)), [status], "{method}");
    }
    assert_eq!(transactions(&w), 10);
    // A phone that the exchange knows still gets help, from its own share of the reserve.
    w.invite("alice", "911", None);
    assert!(w.facts.iter().any(|fact| matches!(fact, Fact::EmergencyCalled { .. })));
    // Whoever hangs up the connection gives back what was held for it, at once.
    let before = transactions(&w);
    w.close(paths[0]);
    assert_eq!(transactions(&w), before - 5);
    // And whoever stays has nothing a few seconds later.
    w.pass(6_000);
    assert_eq!(transactions(&w), 0);
}

#[test]
fn many_ports_of_one_address_have_one_share() {
    use sip::transaction::Path as _;
    let mut w = World::new();
    let [desk, other] = [Transport::Udp, Transport::Tcp].map(|transport| {
        let path = w.connect_from([203, 0, 113, 9], transport);
        let neighbour = Path { remote: (path.remote.ip(), path.remote.port() + 1).into(), ..path };
        (path.share().0, neighbour.share().0)
    });
    assert_eq!(desk.0, desk.1);
    assert_ne!(other.0, other.1);
}

/// A phone that asks and asks is answered, and what only absorbs repetitions keeps nobody from calling.
#[test]
fn answers_that_rest_are_no_work_under_way() {
    let settings =
        Settings { transactions_max: 100, transactions_per_path_max: 2, ..Settings::default() };
    let mut w = World::with(settings, Exceptions::default());
    w.plug_in("dave", "101", Transport::Udp);
    w.pass(40_000);
    let path = w.phones["dave"].path;
    for branch in 0..200 {
        assert_eq!(w.say(path, &unknown("OPTIONS", "101", branch, "")), [200]);
    }
    assert_eq!(w.say(path, &unknown("OPTIONS", "101", 7, "")), [200], "said again");
    assert_eq!(transactions(&w), 200);
    w.pass(32_000);
    assert_eq!(transactions(&w), 0);
}

/// Whatever is said in a datagram by somebody who has shown nothing, the answer is said once and nothing stays.
#[test]
fn nobody_holds_a_transaction_by_writing_an_address() {
    let mut w = World::new();
    let socket = w.connect_from([203, 0, 113, 9], Transport::Udp);
    w.plug_in("dave", "101", Transport::Udp);
    w.pass(40_000);
    let methods = [
        "BYE",
        "INFO",
        "UPDATE",
        "PRACK",
        "CANCEL",
        "NOTIFY",
        "OPTIONS",
        "SUBSCRIBE",
        "PUBLISH",
        "REFER",
        "MESSAGE",
        "REGISTER",
        "INVITE",
        "FOO",
    ];
    let strange = w.phones["dave"].path.flow;
    // A stranger's address, and one where a phone is registered, at another port.
    for (path, tag) in
        [(socket, ""), (socket, ";tag=mine")].into_iter().chain(["", ";tag=mine"].map(|tag| {
            let remote = (w.phones["dave"].path.remote.ip(), 9).into();
            (Path { flow: strange, remote }, tag)
        }))
    {
        for (n, method) in (0..).zip(methods) {
            for bad in ["", "Authorization: Digest username=\"\", realm=\"pbx.test\"\r\n"] {
                let text = unknown(method, "101", 100 + n, tag)
                    .replace("Contact:", &format!("{bad}Contact:"));
                w.say(path, &text);
                assert_eq!(transactions(&w), 0, "{method} {tag} {bad}");
            }
        }
    }
}

#[test]
fn an_emergency_that_finds_its_reserve_full_is_refused_once() {
    let settings =
        Settings { transactions_max: 5, transactions_per_path_max: 5, ..Settings::default() };
    let mut w = World::with(settings, Exceptions::default());
    let alice = w.phone("alice").path;
    // Five places, and two reserves of one each: then a known phone's next call for help is told so,
    // where it once went round for ever.
    let answers: Vec<_> =
        (0..9).map(|n| w.say(alice, &unknown("INVITE", "911", n, "")).len()).collect();
    assert_eq!(answers, [2, 2, 2, 2, 2, 2, 2, 1, 1]);
}

#[test]
fn a_full_table_lets_calls_go_on() {
    let settings =
        Settings { transactions_max: 10, transactions_per_path_max: 10, ..Settings::default() };
    let mut w = World::with(settings, Exceptions::default());
    w.call();
    let path = w.phones["carol"].path;
    while transactions(&w) < 10 {
        let branch = u32::try_from(transactions(&w)).expect("few");
        w.say(path, &unknown("INVITE", "102", branch, ""));
    }
    w.within("alice", Method::Bye, None);
    w.reply("bob", Method::Bye, 200, None);
    assert_eq!(w.dispositions(), [Disposition::Answered]);
}

#[test]
fn calls_that_are_ending_count_against_their_caller() {
    let settings = Settings { calls_per_extension_max: 2, ..Settings::default() };
    let mut w = World::with(settings, Exceptions::default());
    // Bob's phone rings and never obeys a CANCEL.
    for _ in 0..3 {
        w.invite("alice", "102", Some(&offer("sendrecv")));
        w.cancel("alice");
    }
    let refused = w.phone("alice").last_answer.clone().expect("an answer");
    assert_eq!(w.dispositions(), [Disposition::Busy], "{refused:?}");
    // After five seconds it is the phone's fault alone: the caller may call again.
    assert!(w.armed.is_empty());
    w.pass(5_000);
    w.invite("alice", "102", Some(&offer("sendrecv")));
    assert_eq!(w.dispositions(), [Disposition::Busy]);
}

#[test]
fn a_description_that_isnt_one_is_the_callers_fault() {
    let mut w = World::new();
    w.invite("alice", "102", Some("v=0\r\nnonsense\r\n"));
    w.check(
        "
        0ms  alice > pbx    INVITE 102
        0ms  pbx   > alice  400
        cdr  101 102 failed 0s
        ",
    );
}
