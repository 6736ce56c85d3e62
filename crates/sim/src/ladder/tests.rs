//! Behaviours of the exchange with real phones. Each ladder is one behaviour.

use actors::phone::Security;
use sip::Status;
use sip::digest::Algorithm;

use super::*;

#[test]
fn a_basic_call() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
         5000ms  pbx     > bob     BYE
         5000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 3s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn the_called_side_hangs_up() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         5000ms  bob hangs up
         5000ms  bob     > pbx     BYE
         5000ms  pbx     > bob     200 BYE
         5000ms  pbx     > alice   BYE
         5000ms  alice   > pbx     200 BYE
          cdr    101 102 answered 3s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn both_hang_up_at_once() {
    slow(5).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            5ms  pbx     > alice   100
            5ms  pbx     > alice   401
           10ms  alice   > pbx     ACK
           10ms  alice   > pbx     INVITE 102
           15ms  pbx     > alice   100
           15ms  pbx     > bob     INVITE 102
           20ms  bob     > pbx     100
           20ms  bob     > pbx     180
           25ms  pbx     > alice   180
         2020ms  bob     > pbx     200 sdp
         2025ms  pbx     > bob     ACK
         2025ms  pbx     > alice   200 sdp
         2030ms  alice   > pbx     ACK
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  bob hangs up
         5000ms  bob     > pbx     BYE
         5005ms  pbx     > alice   200 BYE
         5005ms  pbx     > bob     BYE
         5005ms  pbx     > bob     200 BYE
         5010ms  bob     > pbx     200 BYE
          cdr    101 102 answered 2s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn busy() {
    Ladder::new(|name, phone| {
        if name == "bob" {
            phone.reject_with = Some(Status::BUSY_HERE);
        }
    })
    .check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     486
            0ms  pbx     > bob     ACK
            0ms  pbx     > alice   486
            0ms  alice   > pbx     ACK
          cdr    101 102 busy 0s
        ",
    );
}

#[test]
fn declined() {
    Ladder::new(patient).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         3000ms  bob rejects
         3000ms  bob     > pbx     603
         3000ms  pbx     > bob     ACK
         3000ms  pbx     > alice   603
         3000ms  alice   > pbx     ACK
          cdr    101 102 declined 0s
        ",
    );
}

#[test]
fn the_phone_that_rings_is_lost() {
    Ladder::new(patient).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
        30000ms  bob breaks
        30000ms  pbx     > alice   480
        30000ms  alice   > pbx     ACK
          cdr    101 102 unavailable 0s
        ",
    );
}

#[test]
fn nobody_answers_within_the_ring_time() {
    Ladder::new(patient).after(Duration::from_secs(70)).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
        60000ms  bob     > pbx     180
        60000ms  pbx     > alice   180
        60000ms  pbx     > alice   480
        60000ms  pbx     > bob     CANCEL
        60000ms  alice   > pbx     ACK
        60000ms  bob     > pbx     200 CANCEL
        60000ms  bob     > pbx     487
        60000ms  pbx     > bob     ACK
          cdr    101 102 no-answer 0s
        ",
    );
}

#[test]
fn nobody_is_registered() {
    check(
        "
            0ms  bob stops
         1000ms  alice dials 102
         1000ms  alice   > pbx     INVITE 102
         1000ms  pbx     > alice   100
         1000ms  pbx     > alice   401
         1000ms  alice   > pbx     ACK
         1000ms  alice   > pbx     INVITE 102
         1000ms  pbx     > alice   100
         1000ms  pbx     > alice   480
         1000ms  alice   > pbx     ACK
          cdr    101 102 unavailable 0s
        ",
    );
}

#[test]
fn a_dead_connection_is_unreachable_at_once() {
    Ladder::new(|name, phone| {
        if name == "bob" {
            phone.reconnect_max = Duration::from_secs(60);
        }
    })
    .check(
        "
            0ms  bob breaks
            1ms  alice dials 102
            1ms  alice   > pbx     INVITE 102
            1ms  pbx     > alice   100
            1ms  pbx     > alice   401
            1ms  alice   > pbx     ACK
            1ms  alice   > pbx     INVITE 102
            1ms  pbx     > alice   100
            1ms  pbx     > alice   480
            1ms  alice   > pbx     ACK
          cdr    101 102 unavailable 0s
        ",
    );
}

#[test]
fn an_unknown_number() {
    check(
        "
            0ms  alice dials 199
            0ms  alice   > pbx     INVITE 199
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 199
            0ms  pbx     > alice   100
            0ms  pbx     > alice   404
            0ms  alice   > pbx     ACK
          cdr    101 199 refused:unknown-destination 0s
        ",
    );
}

#[test]
fn the_caller_gives_up() {
    Ladder::new(patient).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         3000ms  alice hangs up
         3000ms  alice   > pbx     CANCEL
         3000ms  pbx     > alice   200 CANCEL
         3000ms  pbx     > alice   487
         3000ms  pbx     > bob     CANCEL
         3000ms  alice   > pbx     ACK
         3000ms  bob     > pbx     200 CANCEL
         3000ms  bob     > pbx     487
         3000ms  pbx     > bob     ACK
          cdr    101 102 cancelled 0s
        ",
    );
}

#[test]
fn giving_up_crosses_the_answer() {
    slow(20).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
           20ms  pbx     > alice   100
           20ms  pbx     > alice   401
           40ms  alice   > pbx     ACK
           40ms  alice   > pbx     INVITE 102
           60ms  pbx     > alice   100
           60ms  pbx     > bob     INVITE 102
           80ms  bob     > pbx     100
           80ms  bob     > pbx     180
          100ms  pbx     > alice   180
         2080ms  bob     > pbx     200 sdp
         2100ms  pbx     > bob     ACK
         2100ms  pbx     > alice   200 sdp
         2110ms  alice hangs up
         2110ms  alice   > pbx     CANCEL
         2120ms  alice   > pbx     ACK
         2120ms  alice   > pbx     BYE
         2130ms  pbx     > alice   200 CANCEL
         2140ms  pbx     > alice   200 BYE
         2140ms  pbx     > bob     BYE
         2160ms  bob     > pbx     200 BYE
          cdr    101 102 answered 0s
        ",
    );
}

#[test]
fn a_forgotten_device_answers_late() {
    two_devices(20, 2_000, 2_010).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
           20ms  pbx     > alice   100
           20ms  pbx     > alice   401
           40ms  alice   > pbx     ACK
           40ms  alice   > pbx     INVITE 102
           60ms  pbx     > alice   100
           60ms  pbx     > bert    INVITE 102
           60ms  pbx     > bob     INVITE 102
           80ms  bert    > pbx     100
           80ms  bert    > pbx     180
           80ms  bob     > pbx     100
           80ms  bob     > pbx     180
          100ms  pbx     > alice   180
         2080ms  bob     > pbx     200 sdp
         2090ms  bert    > pbx     200 sdp
         2100ms  pbx     > bob     ACK
         2100ms  pbx     > bert    CANCEL
         2100ms  pbx     > alice   200 sdp
         2110ms  pbx     > bert    ACK
         2110ms  pbx     > bert    BYE
         2120ms  bert    > pbx     200 CANCEL
         2120ms  alice   > pbx     ACK
         2130ms  bert    > pbx     200 BYE
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5020ms  pbx     > alice   200 BYE
         5020ms  pbx     > bob     BYE
         5040ms  bob     > pbx     200 BYE
          cdr    101 102 answered 2s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn two_devices_ring_and_one_answers() {
    two_devices(0, 2_000, 20_000).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bert    INVITE 102
            0ms  pbx     > bob     INVITE 102
            0ms  bert    > pbx     100
            0ms  bert    > pbx     180
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > bert    CANCEL
         2000ms  bert    > pbx     200 CANCEL
         2000ms  bert    > pbx     487
         2000ms  pbx     > alice   200 sdp
         2000ms  pbx     > bert    ACK
         2000ms  alice   > pbx     ACK
         5000ms  bert hangs up
         5001ms  alice hangs up
         5001ms  alice   > pbx     BYE
         5001ms  pbx     > alice   200 BYE
         5001ms  pbx     > bob     BYE
         5001ms  bob     > pbx     200 BYE
          cdr    101 102 answered 3s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn hold_and_resume() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         4000ms  alice holds
         4000ms  alice   > pbx     re-INVITE sendonly
         4000ms  pbx     > alice   100
         4000ms  pbx     > bob     re-INVITE sendonly
         4000ms  bob     > pbx     100
         4000ms  bob     > pbx     200 sdp recvonly
         4000ms  pbx     > bob     ACK
         4000ms  pbx     > alice   200 sdp recvonly
         4000ms  alice   > pbx     ACK
         6000ms  alice resumes
         6000ms  alice   > pbx     re-INVITE
         6000ms  pbx     > alice   100
         6000ms  pbx     > bob     re-INVITE
         6000ms  bob     > pbx     100
         6000ms  bob     > pbx     200 sdp
         6000ms  pbx     > bob     ACK
         6000ms  pbx     > alice   200 sdp
         6000ms  alice   > pbx     ACK
         8000ms  bob hangs up
         8000ms  bob     > pbx     BYE
         8000ms  pbx     > bob     200 BYE
         8000ms  pbx     > alice   BYE
         8000ms  alice   > pbx     200 BYE
          cdr    101 102 answered 6s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_new_address() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         4000ms  bob moves
         4000ms  bob     > pbx     re-INVITE
         4000ms  pbx     > bob     100
         4000ms  pbx     > bob     200 sdp
         4000ms  bob     > pbx     ACK
         8000ms  bob hangs up
         8000ms  bob     > pbx     BYE
         8000ms  pbx     > bob     200 BYE
         8000ms  pbx     > alice   BYE
         8000ms  alice   > pbx     200 BYE
          cdr    101 102 answered 6s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn both_hold_at_once() {
    slow(5).check(
        "
             0ms  alice dials 102
             0ms  alice   > pbx     INVITE 102
             5ms  pbx     > alice   100
             5ms  pbx     > alice   401
            10ms  alice   > pbx     ACK
            10ms  alice   > pbx     INVITE 102
            15ms  pbx     > alice   100
            15ms  pbx     > bob     INVITE 102
            20ms  bob     > pbx     100
            20ms  bob     > pbx     180
            25ms  pbx     > alice   180
          2020ms  bob     > pbx     200 sdp
          2025ms  pbx     > bob     ACK
          2025ms  pbx     > alice   200 sdp
          2030ms  alice   > pbx     ACK
          4000ms  alice holds
          4000ms  alice   > pbx     re-INVITE sendonly
          4000ms  bob holds
          4000ms  bob     > pbx     re-INVITE sendonly
          4005ms  pbx     > alice   100
          4005ms  pbx     > bob     re-INVITE sendonly
          4005ms  pbx     > bob     100
          4005ms  pbx     > bob     491
          4010ms  bob     > pbx     100
          4010ms  bob     > pbx     491
          4010ms  bob     > pbx     ACK
          4015ms  pbx     > bob     ACK
          5050ms  bob     > pbx     re-INVITE sendonly
          5055ms  pbx     > bob     100
          5055ms  pbx     > bob     491
          5060ms  bob     > pbx     ACK
          5910ms  bob     > pbx     re-INVITE sendonly
          5915ms  pbx     > bob     100
          5915ms  pbx     > bob     491
          5920ms  bob     > pbx     ACK
          6220ms  bob     > pbx     re-INVITE sendonly
          6225ms  pbx     > bob     100
          6225ms  pbx     > bob     491
          6230ms  bob     > pbx     ACK
          7270ms  bob     > pbx     re-INVITE sendonly
          7275ms  pbx     > bob     100
          7275ms  pbx     > bob     491
          7280ms  bob     > pbx     ACK
          7525ms  pbx     > bob     re-INVITE sendonly
          7530ms  bob     > pbx     100
          7530ms  bob     > pbx     200 sdp recvonly
          7535ms  pbx     > bob     ACK
          7535ms  pbx     > alice   200 sdp recvonly
          7540ms  alice   > pbx     ACK
          8140ms  bob     > pbx     re-INVITE sendonly
          8145ms  pbx     > bob     100
          8145ms  pbx     > alice   re-INVITE sendonly
          8150ms  alice   > pbx     100
          8150ms  alice   > pbx     200 sdp inactive
          8155ms  pbx     > alice   ACK
          8155ms  pbx     > bob     200 sdp inactive
          8160ms  bob     > pbx     ACK
         20000ms  alice hangs up
         20000ms  alice   > pbx     BYE
         20005ms  pbx     > alice   200 BYE
         20005ms  pbx     > bob     BYE
         20010ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 17s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

#[test]
fn early_media() {
    Ladder::new(|name, phone| phone.early_media = name == "bob").check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     183 sdp
            0ms  pbx     > alice   183 sdp
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
         5000ms  pbx     > bob     BYE
         5000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 3s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn the_offer_is_left_to_the_other_side() {
    check(
        "
            0ms  alice dials 102 without offer
            0ms  alice   > pbx     INVITE 102 without offer
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102 without offer
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK sdp
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
         5000ms  pbx     > bob     BYE
         5000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 3s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn audio_in_clear_is_refused() {
    Ladder::new(plain_alice).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
          fact   leg-not-encrypted
            0ms  pbx     > alice   488
            0ms  alice   > pbx     ACK
          cdr    101 102 not-encrypted 0s
        ",
    );
}

#[test]
fn a_phone_that_takes_only_clear_audio_is_refused() {
    Ladder::new(plain_alice).check(
        "
            0ms  bob dials 101
            0ms  bob     > pbx     INVITE 101
            0ms  pbx     > bob     100
            0ms  pbx     > bob     401
            0ms  bob     > pbx     ACK
            0ms  bob     > pbx     INVITE 101
            0ms  pbx     > bob     100
            0ms  pbx     > alice   INVITE 101
            0ms  alice   > pbx     100
            0ms  alice   > pbx     180
            0ms  pbx     > bob     180
         2000ms  alice   > pbx     488
         2000ms  pbx     > alice   ACK
         2000ms  pbx     > bob     488
         2000ms  bob     > pbx     ACK
          cdr    102 101 failed 0s
        ",
    );
}

#[test]
fn audio_in_clear_by_exception() {
    let cast = [("alice", "101"), ("bob", "102")];
    Ladder::with(Settings::default(), &cast, &["101"], plain_alice).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
          fact   exception-used
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
         5000ms  pbx     > bob     BYE
         5000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 3s
        10000ms  bob dials 101
        10000ms  bob     > pbx     INVITE 101
        10000ms  pbx     > bob     100
        10000ms  pbx     > bob     401
        10000ms  bob     > pbx     ACK
        10000ms  bob     > pbx     INVITE 101
        10000ms  pbx     > bob     100
        10000ms  pbx     > alice   INVITE 101
        10000ms  alice   > pbx     100
        10000ms  alice   > pbx     180
        10000ms  pbx     > bob     180
        12000ms  alice   > pbx     488
        12000ms  pbx     > alice   ACK
        12000ms  pbx     > alice   INVITE 101
        12000ms  alice   > pbx     100
        12000ms  alice   > pbx     180
        14000ms  alice   > pbx     200 sdp
        14000ms  pbx     > alice   ACK
          fact   exception-used
        14000ms  pbx     > bob     200 sdp
        14000ms  bob     > pbx     ACK
        15000ms  bob hangs up
        15000ms  bob     > pbx     BYE
        15000ms  pbx     > bob     200 BYE
        15000ms  pbx     > alice   BYE
        15000ms  alice   > pbx     200 BYE
          cdr    102 101 answered 1s
          heard  alice bob
          heard  alice bob
          heard  bob alice
          heard  bob alice
        ",
    );
}

#[test]
fn help_with_no_route_and_under_lockdown() {
    check(
        "
             0ms  alice dials 911
             0ms  alice   > pbx     INVITE 911
             0ms  pbx     > alice   100
                  fact   emergency-called
             0ms  pbx     > alice   503
             0ms  alice   > pbx     ACK
                  cdr    101 911 failed 0s
          1000ms  pbx locks down
          2000ms  alice dials 911
          2000ms  alice   > pbx     INVITE 911
          2000ms  pbx     > alice   100
                  fact   emergency-called
          2000ms  pbx     > alice   503
          2000ms  alice   > pbx     ACK
                  cdr    101 911 failed 0s
          3000ms  alice dials 102
          3000ms  alice   > pbx     INVITE 102
          3000ms  pbx     > alice   100
          3000ms  pbx     > alice   401
          3000ms  alice   > pbx     ACK
          3000ms  alice   > pbx     INVITE 102
          3000ms  pbx     > alice   100
          3000ms  pbx     > alice   403: Calls are locked; emergency calls still work.
          3000ms  alice   > pbx     ACK
                  cdr    101 102 refused:lockdown 0s
        ",
    );
}

#[test]
fn help_with_the_former_secret() {
    Ladder::new(|_, _| {}).check(
        "
             0ms  admin rotates 101
                  fact   secret-rotated
          1000ms  alice dials 102
          1000ms  alice   > pbx     INVITE 102
          1000ms  pbx     > alice   100
          1000ms  pbx     > alice   401
          1000ms  alice   > pbx     ACK
          1000ms  alice   > pbx     INVITE 102
          1000ms  pbx     > alice   100
                  fact   authentication-failed
          1000ms  pbx     > alice   401
          1000ms  alice   > pbx     ACK
          2000ms  alice dials 911
          2000ms  alice   > pbx     INVITE 911
          2000ms  pbx     > alice   401
          2000ms  alice   > pbx     ACK
          2000ms  alice   > pbx     INVITE 911
          2000ms  pbx     > alice   100
                  fact   emergency-called
          2000ms  pbx     > alice   503
          2000ms  alice   > pbx     ACK
                  cdr    101 911 failed 0s
        ",
    );
}

#[test]
fn audio_from_a_stranger_is_not_heard() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         3000ms  mallory injects
          fact   media-forged
          fact   media-forged
         3100ms  mallory injects
          fact   media-forged
          fact   media-forged
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
         5000ms  pbx     > bob     BYE
         5000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 3s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_new_connection_replaces_the_old() {
    Ladder::new(|_, _| {}).registering().check(
        "
            0ms  bob half-breaks
         1371ms  bob     > pbx     REGISTER
         1371ms  pbx     > bob     401 REGISTER
         1371ms  bob     > pbx     REGISTER
         1371ms  pbx     > bob     200 REGISTER
         5000ms  alice dials 102
         5000ms  alice   > pbx     INVITE 102
         5000ms  pbx     > alice   100
         5000ms  pbx     > alice   401
         5000ms  alice   > pbx     ACK
         5000ms  alice   > pbx     INVITE 102
         5000ms  pbx     > alice   100
         5000ms  pbx     > bob     INVITE 102
         5000ms  bob     > pbx     100
         5000ms  bob     > pbx     180
         5000ms  pbx     > alice   180
         7000ms  bob     > pbx     200 sdp
         7000ms  pbx     > bob     ACK
         7000ms  pbx     > alice   200 sdp
         7000ms  alice   > pbx     ACK
         9000ms  alice hangs up
         9000ms  alice   > pbx     BYE
         9000ms  pbx     > alice   200 BYE
         9000ms  pbx     > bob     BYE
         9000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 2s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_registration_expires() {
    Ladder::new(|_, _| {}).after(Duration::from_secs(5)).check(
        "
            0ms  bob dies
       130000ms  alice dials 102
       130000ms  alice   > pbx     INVITE 102
       130000ms  pbx     > alice   100
       130000ms  pbx     > alice   401
       130000ms  alice   > pbx     ACK
       130000ms  alice   > pbx     INVITE 102
       130000ms  pbx     > alice   100
       130000ms  pbx     > alice   480
       130000ms  alice   > pbx     ACK
          cdr    101 102 unavailable 0s
        ",
    );
}

#[test]
fn the_connection_breaks_during_a_call() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         4000ms  bob breaks
         9000ms  bob hangs up
         9000ms  bob     > pbx     BYE
         9000ms  pbx     > bob     200 BYE
         9000ms  pbx     > alice   BYE
         9000ms  alice   > pbx     200 BYE
          cdr    101 102 answered 7s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_crash_during_a_call() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         5000ms  pbx crashes
         5500ms  pbx starts
          fact   call-interrupted
          fact   crash-recovered
          cdr    101 102 interrupted 3s
         5784ms  pbx     > bob     BYE
         5784ms  bob     > pbx     200 BYE
         7055ms  pbx     > alice   503
         7055ms  pbx     > alice   BYE
         7055ms  alice   > pbx     200 BYE
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_crash_while_it_rings() {
    Ladder::new(patient).check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         5000ms  pbx crashes
         5500ms  pbx starts
          fact   call-interrupted
          fact   crash-recovered
          cdr    101 102 interrupted 0s
         6118ms  pbx     > bob     CANCEL
         6118ms  bob     > pbx     481 CANCEL
         7055ms  pbx     > alice   503
        ",
    );
}

#[test]
fn draining() {
    Ladder::new(|_, _| {}).check(
        "
             0ms  alice dials 102
             0ms  alice   > pbx     INVITE 102
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 102
             0ms  pbx     > alice   100
             0ms  pbx     > bob     INVITE 102
             0ms  bob     > pbx     100
             0ms  bob     > pbx     180
             0ms  pbx     > alice   180
          2000ms  bob     > pbx     200 sdp
          2000ms  pbx     > bob     ACK
          2000ms  pbx     > alice   200 sdp
          2000ms  alice   > pbx     ACK
          5000ms  pbx drains
                  fact   drain-started
          5000ms  pbx     > alice   BYE
          5000ms  pbx     > bob     BYE
          5000ms  alice   > pbx     200 BYE
          5000ms  bob     > pbx     200 BYE
          5000ms  pbx drained
                  cdr    101 102 answered 3s
          5001ms  bob dials 101
          5001ms  bob     > pbx     INVITE 101
          5001ms  pbx     > bob     100
          5001ms  pbx     > bob     503
          5001ms  bob     > pbx     ACK
          5002ms  bob dials 911
          5002ms  bob     > pbx     INVITE 911
          5002ms  pbx     > bob     100
                  fact   emergency-called
          5002ms  pbx     > bob     503
          5002ms  bob     > pbx     ACK
                  cdr    102 911 failed 0s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

#[test]
fn keys_cross_and_show_nowhere() {
    check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         3000ms  alice presses 7
         9000ms  alice presses #
        16000ms  alice hangs up
        16000ms  alice   > pbx     BYE
        16000ms  pbx     > alice   200 BYE
        16000ms  pbx     > bob     BYE
        16000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 14s
          heard  alice bob
          heard  bob alice
          digits bob 7#
        ",
    );
}

#[test]
fn a_registration_is_challenged_and_refreshed() {
    Ladder::new(|_, _| {}).registering().after(Duration::from_secs(11)).check(
        "
            0ms  bob stops
            0ms  bob     > pbx     REGISTER
            0ms  pbx     > bob     200 REGISTER
         1000ms  bob dies
         2000ms  bob starts
         2000ms  bob     > pbx     REGISTER
         2000ms  pbx     > bob     401 REGISTER
         2000ms  bob     > pbx     REGISTER
         2000ms  pbx     > bob     200 REGISTER
        60000ms  clock steps 3600s
        66500ms  alice   > pbx     REGISTER
        66500ms  carol   > pbx     REGISTER
        66500ms  pbx     > alice   200 REGISTER
        66500ms  pbx     > carol   200 REGISTER
        69500ms  bob     > pbx     REGISTER
        69500ms  pbx     > bob     200 REGISTER
        ",
    );
}

#[test]
fn a_phone_on_datagrams_repeats_itself() {
    let cast = [("alice", "101"), ("bob", "102")];
    let ladder = Ladder::with(Settings::default(), &cast, &["101"], |name, phone| {
        plain_alice(name, phone);
        if name == "alice" {
            phone.transport = sip::Transport::Udp;
        }
    });
    ladder.check(
        "
            0ms  alice dials 102
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > alice   401
            0ms  alice   > pbx     ACK
            0ms  alice   > pbx     INVITE 102
            0ms  pbx     > alice   100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
          fact   exception-used
         2000ms  pbx     > alice   200 sdp
         2000ms  alice   > pbx     ACK
         5000ms  network drops datagrams
         5001ms  alice hangs up
         5001ms  alice   > pbx     BYE
         5501ms  alice   > pbx     BYE
         6000ms  network heals
         6501ms  alice   > pbx     BYE
         6501ms  pbx     > alice   200 BYE
         6501ms  pbx     > bob     BYE
         6501ms  bob     > pbx     200 BYE
          cdr    101 102 answered 4s
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_crash_while_a_phone_on_datagrams_rings() {
    let cast = [("alice", "101"), ("bob", "102")];
    let ladder = Ladder::with(Settings::default(), &cast, &["101"], |name, phone| {
        plain_alice(name, phone);
        phone.answer_after = None;
        if name == "alice" {
            phone.transport = sip::Transport::Udp;
        }
    });
    ladder.check(
        "
            0ms  bob dials 101
            0ms  bob     > pbx     INVITE 101
            0ms  pbx     > bob     100
            0ms  pbx     > bob     401
            0ms  bob     > pbx     ACK
            0ms  bob     > pbx     INVITE 101
            0ms  pbx     > bob     100
            0ms  pbx     > alice   INVITE 101
            0ms  alice   > pbx     100
            0ms  alice   > pbx     180
            0ms  pbx     > bob     180
         5000ms  pbx crashes
         5500ms  pbx starts
          fact   call-interrupted
          fact   crash-recovered
         5500ms  pbx     > alice   CANCEL
         5500ms  alice   > pbx     200 CANCEL
         5500ms  alice   > pbx     487
          cdr    102 101 interrupted 0s
         6000ms  alice   > pbx     487
         6681ms  pbx     > bob     503
         7000ms  alice   > pbx     487
         9000ms  alice   > pbx     487
        13000ms  alice   > pbx     487
        17000ms  alice   > pbx     487
        21000ms  alice   > pbx     487
        25000ms  alice   > pbx     487
        29000ms  alice   > pbx     487
        33000ms  alice   > pbx     487
        37000ms  alice   > pbx     487
        ",
    );
}

/// Over UDP nothing broke: the phone is called where it was, and need not notice. Bob's connection died, and he is
/// nowhere until he has made another.
#[test]
fn a_phone_on_datagrams_stays_registered_over_a_restart() {
    alice_over_datagrams().registering().check(
        "
            0ms  pbx crashes
          500ms  pbx starts
          501ms  alice dials 102
          501ms  alice   > pbx     INVITE 102
          501ms  pbx     > alice   100
          501ms  pbx     > alice   401
          501ms  alice   > pbx     ACK
          501ms  alice   > pbx     INVITE 102
          501ms  pbx     > alice   100
          501ms  pbx     > alice   480
          501ms  alice   > pbx     ACK
          cdr    101 102 unavailable 0s
         1371ms  bob     > pbx     REGISTER
         1371ms  pbx     > bob     401 REGISTER
         1371ms  bob     > pbx     REGISTER
         1371ms  pbx     > bob     200 REGISTER
         5000ms  bob dials 101
         5000ms  bob     > pbx     INVITE 101
         5000ms  pbx     > bob     100
         5000ms  pbx     > bob     401
         5000ms  bob     > pbx     ACK
         5000ms  bob     > pbx     INVITE 101
         5000ms  pbx     > bob     100
         5000ms  pbx     > alice   INVITE 101
         5000ms  alice   > pbx     100
         5000ms  alice   > pbx     180
         5000ms  pbx     > bob     180
         6000ms  bob hangs up
         6000ms  bob     > pbx     CANCEL
         6000ms  pbx     > bob     200 CANCEL
         6000ms  pbx     > bob     487
         6000ms  pbx     > alice   CANCEL
         6000ms  bob     > pbx     ACK
         6000ms  alice   > pbx     200 CANCEL
         6000ms  alice   > pbx     487
         6000ms  pbx     > alice   ACK
          cdr    102 101 cancelled 0s
        ",
    );
}

#[test]
fn a_phone_on_datagrams_that_signed_off_stays_away_over_a_restart() {
    alice_over_datagrams().registering().check(
        "
            0ms  alice stops
            0ms  alice   > pbx     REGISTER
            0ms  pbx     > alice   200 REGISTER
         2000ms  pbx crashes
         2500ms  pbx starts
         3371ms  bob     > pbx     REGISTER
         3371ms  pbx     > bob     401 REGISTER
         3371ms  bob     > pbx     REGISTER
         3371ms  pbx     > bob     200 REGISTER
         6000ms  bob dials 101
         6000ms  bob     > pbx     INVITE 101
         6000ms  pbx     > bob     100
         6000ms  pbx     > bob     401
         6000ms  bob     > pbx     ACK
         6000ms  bob     > pbx     INVITE 101
         6000ms  pbx     > bob     100
         6000ms  pbx     > bob     480
         6000ms  bob     > pbx     ACK
          cdr    102 101 unavailable 0s
        ",
    );
}

#[test]
fn a_session_is_refreshed() {
    let cast = [("sven", "101"), ("bob", "102")];
    Ladder::of(&cast, |_, _| {}).check(
        "
            0ms  sven dials 102
            0ms  sven    > pbx     INVITE 102
            0ms  pbx     > sven    100
            0ms  pbx     > sven    401
            0ms  sven    > pbx     ACK
            0ms  sven    > pbx     INVITE 102
            0ms  pbx     > sven    100
            0ms  pbx     > bob     INVITE 102
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > sven    180
         2000ms  bob     > pbx     200 sdp
         2000ms  pbx     > bob     ACK
         2000ms  pbx     > sven    200 sdp
         2000ms  sven    > pbx     ACK
        47000ms  pbx     > sven    UPDATE
        47000ms  sven    > pbx     200 UPDATE
        92000ms  pbx     > sven    UPDATE
        92000ms  sven    > pbx     200 UPDATE
       120000ms  sven hangs up
       120000ms  sven    > pbx     BYE
       120000ms  pbx     > sven    200 BYE
       120000ms  pbx     > bob     BYE
       120000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 118s
          heard  sven bob
          heard  bob sven
        ",
    );
}

/// Nobody answers by itself.
pub(super) fn patient(_: &str, phone: &mut PhoneSettings) {
    phone.answer_after = None;
}

/// Alice has no TLS, Bob has.
fn alice_over_datagrams() -> Ladder {
    let cast = [("alice", "101"), ("bob", "102")];
    Ladder::with(Settings::default(), &cast, &["101"], |name, phone| {
        plain_alice(name, phone);
        if name == "alice" {
            phone.transport = sip::Transport::Udp;
        }
    })
}

fn plain_alice(name: &str, phone: &mut PhoneSettings) {
    if name == "alice" {
        phone.security = Security::Plain;
    }
    phone.weakest = Algorithm::Md5;
}

/// The usual cast on a network that takes its time.
fn slow(millis: u64) -> Ladder {
    let mut ladder = Ladder::new(|_, _| {});
    ladder.world.weather.delay_min = Duration::from_millis(millis);
    ladder
}

/// bob and bert are the phones of 102 and answer each after its time.
fn two_devices(delay: u64, bob: u64, bert: u64) -> Ladder {
    let cast = [("alice", "101"), ("bob", "102"), ("bert", "102")];
    let mut ladder = Ladder::of(&cast, |name, phone| {
        let wait = if name == "bert" { bert } else { bob };
        phone.answer_after = Some(Duration::from_millis(wait));
    });
    ladder.world.weather.delay_min = Duration::from_millis(delay);
    ladder
}
