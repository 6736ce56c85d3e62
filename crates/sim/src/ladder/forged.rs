//! Requests within a call by somebody who has read its names, and by its own peer with something wrong in them: at the
//! phones' port, at the carriers', from another carrier. Beside each stands whoever does the same rightly.

use super::tests::patient;
use super::*;

#[test]
fn a_forged_bye_does_nothing() {
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
         4000ms  mallory forges BYE alice
         4000ms  mallory > pbx     BYE
         4000ms  pbx     > mallory 481 BYE
          fact   violation-seen
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
fn a_forged_cancel_does_nothing() {
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
         1000ms  mallory forges CANCEL alice
         1000ms  mallory > pbx     CANCEL
         1000ms  pbx     > mallory 481 CANCEL
         2000ms  bob answers
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
fn the_caller_gives_up_after_a_forged_cancel() {
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
         1000ms  mallory forges CANCEL alice
         1000ms  mallory > pbx     CANCEL
         1000ms  pbx     > mallory 481 CANCEL
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
fn a_forged_reinvite_does_nothing() {
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
         4000ms  mallory forges INVITE alice
         4000ms  mallory > pbx     re-INVITE
         4000ms  pbx     > mallory 100
         4000ms  pbx     > mallory 481
          fact   violation-seen
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
fn a_forged_refer_does_nothing() {
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
         4000ms  mallory forges REFER alice
         4000ms  mallory > pbx     REFER
         4000ms  pbx     > mallory 481 REFER
          fact   violation-seen
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
fn a_refer_of_the_phone_itself_is_not_allowed_yet() {
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
         4000ms  alice says REFER
         4000ms  alice   > pbx     REFER
         4000ms  pbx     > alice   405 REFER
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
fn another_tag_is_another_call() {
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
         3000ms  alice says BYE with another To tag
         3000ms  alice   > pbx     BYE
         3000ms  pbx     > alice   481 BYE
         3100ms  alice says INVITE with another To tag
         3100ms  alice   > pbx     re-INVITE
         3100ms  pbx     > alice   100
         3100ms  pbx     > alice   481
         3200ms  alice says REFER with another To tag
         3200ms  alice   > pbx     REFER
         3200ms  pbx     > alice   481 REFER
         4000ms  alice says BYE with another From tag
         4000ms  alice   > pbx     BYE
         4000ms  pbx     > alice   481 BYE
          fact   violation-seen
         4100ms  alice says INVITE with another From tag
         4100ms  alice   > pbx     re-INVITE
         4100ms  pbx     > alice   100
         4100ms  pbx     > alice   481
         4200ms  alice says REFER with another From tag
         4200ms  alice   > pbx     REFER
         4200ms  pbx     > alice   481 REFER
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
fn an_old_number_counts_no_more() {
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
         3000ms  alice says BYE with an old CSeq
         3000ms  alice   > pbx     BYE
         3000ms  pbx     > alice   500 BYE
          fact   violation-seen
         3100ms  alice says INVITE with an old CSeq
         3100ms  alice   > pbx     re-INVITE
         3100ms  pbx     > alice   100
         3100ms  pbx     > alice   500
         3200ms  alice says REFER with an old CSeq
         3200ms  alice   > pbx     REFER
         3200ms  pbx     > alice   500 REFER
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
fn numbers_may_be_far_apart() {
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
         4000ms  alice says BYE with a far CSeq
         4000ms  alice   > pbx     BYE
         4000ms  pbx     > alice   200 BYE
         4000ms  pbx     > bob     BYE
         4000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 2s
         5000ms  alice hangs up // Her phone doesn't know it yet.
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   481 BYE
          heard  alice bob
          heard  bob alice
        ",
    );
}

/// A header that may be absent is; one that may not leaves nothing to answer with.
#[test]
fn absent_malformed_and_repeated_are_three_answers() {
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
         3000ms  alice says BYE with a malformed Max-Forwards
         3000ms  alice   > pbx     ?
         3000ms  pbx     > alice   400 BYE: a malformed Max-Forwards
          fact   violation-seen
         3100ms  alice says BYE with Max-Forwards twice
         3100ms  alice   > pbx     ?
         3100ms  pbx     > alice   400 BYE: a header repeated that may stand once
         3200ms  alice says BYE without CSeq
         3200ms  alice   > pbx     ?
         3300ms  alice says BYE with a malformed CSeq
         3300ms  alice   > pbx     ?
         3400ms  alice says BYE with CSeq twice
         3400ms  alice   > pbx     ?
         4000ms  alice says BYE without Max-Forwards
         4000ms  alice   > pbx     BYE
         4000ms  pbx     > alice   200 BYE
         4000ms  pbx     > bob     BYE
         4000ms  bob     > pbx     200 BYE
          cdr    101 102 answered 2s
         5000ms  alice hangs up // Her phone doesn't know it yet.
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   481 BYE
          heard  alice bob
          heard  bob alice
        ",
    );
}

#[test]
fn a_forged_bye_at_the_carriers_port_does_nothing() {
    Ladder::outside(|_| {}).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          3000ms  mallory forges BYE of acme
          3000ms  mallory > pbx     BYE
          3000ms  pbx     > mallory 481 BYE
                  fact   violation-seen
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 4s 1200
                  toll   +12125550177 4s 1200
        ",
    );
}

#[test]
fn forged_requests_at_the_carriers_port_do_nothing() {
    Ladder::outside(|_| {}).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          2000ms  mallory forges INVITE of acme
          2000ms  mallory > pbx     re-INVITE
          2000ms  pbx     > mallory 100
          2000ms  pbx     > mallory 481
                  fact   violation-seen
          2500ms  mallory forges REFER of acme
          2500ms  mallory > pbx     REFER
          2500ms  pbx     > mallory 481 REFER
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 4s 1200
                  toll   +12125550177 4s 1200
        ",
    );
}

#[test]
fn a_forged_cancel_at_the_carriers_port_does_nothing() {
    Ladder::outside(|_| {}).check(
        "
             0ms  acme calls +12125550101
             0ms  acme    > pbx     INVITE +12125550101 as registered
             0ms  pbx     > acme    100
             0ms  pbx     > alice   INVITE 101
             0ms  alice   > pbx     100
             0ms  alice   > pbx     180
             0ms  pbx     > acme    180
          1000ms  mallory forges CANCEL of acme
          1000ms  mallory > pbx     CANCEL
          1000ms  pbx     > mallory 481 CANCEL
          2000ms  alice   > pbx     200 sdp
          2000ms  pbx     > alice   ACK
          2000ms  pbx     > acme    200 sdp
          2000ms  acme    > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    +14155550123 +12125550101 answered 3s
                  heard  alice acme
        ",
    );
}

#[test]
fn the_carriers_socket_is_silent_to_whoever_forges() {
    Ladder::outside(both_by_datagram).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          2000ms  mallory forges BYE of acme by datagram
          2000ms  mallory > pbx     BYE
                  fact   violation-seen
          2500ms  mallory forges INVITE of acme by datagram
          2500ms  mallory > pbx     re-INVITE
          3000ms  mallory forges REFER of acme by datagram
          3000ms  mallory > pbx     REFER
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 4s 1200
                  toll   +12125550177 4s 1200
        ",
    );
}

#[test]
fn another_carrier_ends_no_call() {
    Ladder::outside(both_by_datagram).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          2000ms  bell forges BYE of acme
          2000ms  bell    > pbx     BYE
          2000ms  pbx     > bell    481 BYE
                  fact   violation-seen
          2500ms  bell forges INVITE of acme
          2500ms  bell    > pbx     re-INVITE
          2500ms  pbx     > bell    100
          2500ms  pbx     > bell    481
          3000ms  bell forges REFER of acme
          3000ms  bell    > pbx     REFER
          3000ms  pbx     > bell    481 REFER
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 4s 1200
                  toll   +12125550177 4s 1200
        ",
    );
}

#[test]
fn another_carrier_on_its_own_line_ends_no_call() {
    Ladder::outside(|_| {}).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          2000ms  bell forges BYE of acme
          2000ms  bell    > pbx     BYE
          2000ms  pbx     > bell    481 BYE
                  fact   violation-seen
          2500ms  bell forges INVITE of acme
          2500ms  bell    > pbx     re-INVITE
          2500ms  pbx     > bell    100
          2500ms  pbx     > bell    481
          3000ms  bell forges REFER of acme
          3000ms  bell    > pbx     REFER
          3000ms  pbx     > bell    481 REFER
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 4s 1200
                  toll   +12125550177 4s 1200
        ",
    );
}

#[test]
fn another_carrier_cancels_no_call() {
    Ladder::outside(both_by_datagram).check(
        "
             0ms  acme calls +12125550101
             0ms  acme    > pbx     INVITE +12125550101
             0ms  pbx     > acme    100
             0ms  pbx     > alice   INVITE 101
             0ms  alice   > pbx     100
             0ms  alice   > pbx     180
             0ms  pbx     > acme    180
          1000ms  bell forges CANCEL of acme
          1000ms  bell    > pbx     CANCEL
          1000ms  pbx     > bell    481 CANCEL
          2000ms  alice   > pbx     200 sdp
          2000ms  pbx     > alice   ACK
          2000ms  pbx     > acme    200 sdp
          2000ms  acme    > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    +14155550123 +12125550101 answered 3s
                  heard  alice acme
        ",
    );
}

#[test]
fn another_tag_of_a_carrier_is_another_call() {
    Ladder::outside(|_| {}).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          2000ms  acme says BYE with another To tag
          2000ms  acme    > pbx     BYE
          2000ms  pbx     > acme    481 BYE
          2500ms  acme says INVITE with another To tag
          2500ms  acme    > pbx     re-INVITE
          2500ms  pbx     > acme    100
          2500ms  pbx     > acme    481
          3000ms  acme says BYE with another From tag
          3000ms  acme    > pbx     BYE
          3000ms  pbx     > acme    481 BYE
                  fact   violation-seen
          3500ms  acme says INVITE with another From tag
          3500ms  acme    > pbx     re-INVITE
          3500ms  pbx     > acme    100
          3500ms  pbx     > acme    481
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 4s 1200
                  toll   +12125550177 4s 1200
        ",
    );
}

/// Two carriers that are spoken to on one socket: only their addresses tell them apart.
fn both_by_datagram(house: &mut House<'_>) {
    house.lines[0] = Line::new("acme", 1).by_address(Transport::Udp).plain();
}
