//! Calls to carriers and from them: ways, challenges, and who is believed.

use super::*;

fn acme<'a>(house: &'a mut House<'_>) -> &'a mut actors::carrier::CarrierSettings {
    &mut house.lines[0].carrier
}

#[test]
fn a_call_outside() {
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
fn a_call_from_outside_to_the_contact_we_registered() {
    Ladder::outside(|_| {}).check(
        "
             0ms  acme calls +12125550101
             0ms  acme    > pbx     INVITE +12125550101 as registered
             0ms  pbx     > acme    100
             0ms  pbx     > alice   INVITE 101
             0ms  alice   > pbx     100
             0ms  alice   > pbx     180
             0ms  pbx     > acme    180
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
fn a_call_from_outside_by_address() {
    Ladder::outside(|_| {}).check(
        "
             0ms  bell calls +12125550102
             0ms  bell    > pbx     INVITE +12125550102
             0ms  pbx     > bell    100
             0ms  pbx     > bob     INVITE 102
             0ms  bob     > pbx     100
             0ms  bob     > pbx     180
             0ms  pbx     > bell    180
          2000ms  bob     > pbx     200 sdp
          2000ms  pbx     > bob     ACK
          2000ms  pbx     > bell    200 sdp
          2000ms  bell    > pbx     ACK
          5000ms  bell hangs up
          5000ms  bell    > pbx     BYE
          5000ms  pbx     > bell    200 BYE
          5000ms  pbx     > bob     BYE
          5000ms  bob     > pbx     200 BYE
                  cdr    +14155550123 +12125550102 answered 3s
                  heard  bob bell
        ",
    );
}

#[test]
fn a_call_from_outside_to_a_number_that_is_not_ours() {
    Ladder::outside(|_| {}).check(
        "
             0ms  bell calls +12125550999
             0ms  bell    > pbx     INVITE +12125550999
             0ms  pbx     > bell    100
             0ms  pbx     > bell    404
             0ms  bell    > pbx     ACK
                  cdr    +14155550123 +12125550999 not-found 0s
             0ms  bell calls +12125550102
             0ms  bell    > pbx     INVITE +12125550102
             0ms  pbx     > bell    100
             0ms  pbx     > bob     INVITE 102
             0ms  bob     > pbx     100
             0ms  bob     > pbx     180
             0ms  pbx     > bell    180
          2000ms  bob     > pbx     200 sdp
          2000ms  pbx     > bob     ACK
          2000ms  pbx     > bell    200 sdp
          2000ms  bell    > pbx     ACK
          5000ms  bell hangs up
          5000ms  bell    > pbx     BYE
          5000ms  pbx     > bell    200 BYE
          5000ms  pbx     > bob     BYE
          5000ms  bob     > pbx     200 BYE
                  cdr    +14155550123 +12125550102 answered 3s
                  heard  bob bell
        ",
    );
}

#[test]
fn the_carrier_challenges_the_invite() {
    Ladder::outside(|house| acme(house).challenges_invites = true).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     407
             0ms  pbx     > acme    ACK
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
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
fn the_carrier_challenges_the_bye() {
    Ladder::outside(|house| acme(house).challenges_calls = true).check(
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
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     407 BYE
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
fn the_carrier_challenges_what_is_said_within_the_call() {
    Ladder::outside(|house| acme(house).challenges_calls = true).check(
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
          2000ms  alice presses 5 by INFO
          2000ms  alice   > pbx     INFO
          2000ms  pbx     > alice   200 INFO
          2000ms  pbx     > acme    INFO
          2000ms  acme    > pbx     407 INFO
          2000ms  pbx     > acme    INFO
          2000ms  acme    > pbx     200 INFO
          3000ms  alice holds
          3000ms  alice   > pbx     re-INVITE sendonly
          3000ms  pbx     > alice   100
          3000ms  pbx     > acme    re-INVITE sendonly
          3000ms  acme    > pbx     407
          3000ms  pbx     > acme    ACK
          3000ms  pbx     > acme    re-INVITE sendonly
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     200 sdp recvonly
          3000ms  pbx     > acme    ACK
          3000ms  pbx     > alice   200 sdp recvonly
          3000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     407 BYE
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
fn the_carrier_refuses_the_bye_at_first() {
    Ladder::outside(|house| acme(house).refuses_byes = 2).check(
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
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     503 BYE
          7000ms  pbx     > acme    BYE
          7000ms  acme    > pbx     503 BYE
         11000ms  pbx     > acme    BYE
         11000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 10s 2400
                  toll   +12125550177 10s 2400
        ",
    );
}

#[test]
fn another_way_where_the_carrier_has_no_line() {
    Ladder::outside(|_| {}).check(
        "
             0ms  acme number +12125550177 refuses 503
             1ms  alice dials 12125550177
             1ms  alice   > pbx     INVITE 12125550177
             1ms  pbx     > alice   100
             1ms  pbx     > alice   401
             1ms  alice   > pbx     ACK
             1ms  alice   > pbx     INVITE 12125550177
             1ms  pbx     > alice   100
             1ms  pbx     > acme    INVITE +12125550177
             1ms  acme    > pbx     100
             1ms  acme    > pbx     503
             1ms  pbx     > acme    ACK
             1ms  pbx     > bell    INVITE +12125550177
             1ms  bell    > pbx     100
             1ms  bell    > pbx     180
             1ms  pbx     > alice   180
          1001ms  bell    > pbx     200 sdp
          1001ms  pbx     > bell    ACK
          1001ms  pbx     > alice   200 sdp
          1001ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > bell    BYE
          5000ms  bell    > pbx     200 BYE
                  cdr    101 12125550177 answered 3s
                  heard  alice bell
                  bill   bell +12125550177 4s 1200
                  toll   +12125550177 0s 0
                  toll   +12125550177 4s 1200
        ",
    );
}

#[test]
fn another_way_where_the_carrier_says_nothing() {
    Ladder::outside(|_| {}).check(
        "
             0ms  acme number +12125550177 is mute
             1ms  alice dials 12125550177
             1ms  alice   > pbx     INVITE 12125550177
             1ms  pbx     > alice   100
             1ms  pbx     > alice   401
             1ms  alice   > pbx     ACK
             1ms  alice   > pbx     INVITE 12125550177
             1ms  pbx     > alice   100
             1ms  pbx     > acme    INVITE +12125550177
          4001ms  pbx     > bell    INVITE +12125550177
          4001ms  bell    > pbx     100
          4001ms  bell    > pbx     180
          4001ms  pbx     > alice   180
          5001ms  bell    > pbx     200 sdp
          5001ms  pbx     > bell    ACK
          5001ms  pbx     > alice   200 sdp
          5001ms  alice   > pbx     ACK
          9000ms  alice hangs up
          9000ms  alice   > pbx     BYE
          9000ms  pbx     > alice   200 BYE
          9000ms  pbx     > bell    BYE
          9000ms  bell    > pbx     200 BYE
                  cdr    101 12125550177 answered 3s
                  heard  alice bell
                  bill   bell +12125550177 4s 1200
                  toll   +12125550177 4s 1200
                  toll   +12125550177 0s 0
        ",
    );
}

#[test]
fn no_other_way_where_the_person_is_busy() {
    Ladder::outside(|_| {}).check(
        "
             0ms  acme number +12125550177 refuses 486
             1ms  alice dials 12125550177
             1ms  alice   > pbx     INVITE 12125550177
             1ms  pbx     > alice   100
             1ms  pbx     > alice   401
             1ms  alice   > pbx     ACK
             1ms  alice   > pbx     INVITE 12125550177
             1ms  pbx     > alice   100
             1ms  pbx     > acme    INVITE +12125550177
             1ms  acme    > pbx     100
             1ms  acme    > pbx     486
             1ms  pbx     > acme    ACK
             1ms  pbx     > alice   486
             1ms  alice   > pbx     ACK
                  cdr    101 12125550177 busy 0s
                  toll   +12125550177 0s 0
        ",
    );
}

#[test]
fn early_media_from_outside() {
    Ladder::outside(|house| acme(house).otherwise.early_media = true).check(
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
             0ms  acme    > pbx     183 sdp
             0ms  pbx     > alice   183 sdp
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
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
fn the_other_side_holds_and_resumes() {
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
          3000ms  acme holds
          3000ms  acme    > pbx     re-INVITE sendonly
          3000ms  pbx     > acme    100
          3000ms  pbx     > alice   re-INVITE sendonly
          3000ms  alice   > pbx     100
          3000ms  alice   > pbx     200 sdp recvonly
          3000ms  pbx     > alice   ACK
          3000ms  pbx     > acme    200 sdp recvonly
          3000ms  acme    > pbx     ACK
          5000ms  acme resumes
          5000ms  acme    > pbx     re-INVITE
          5000ms  pbx     > acme    100
          5000ms  pbx     > alice   re-INVITE
          5000ms  alice   > pbx     100
          5000ms  alice   > pbx     200 sdp
          5000ms  pbx     > alice   ACK
          5000ms  pbx     > acme    200 sdp
          5000ms  acme    > pbx     ACK
          8000ms  acme hangs up
          8000ms  acme    > pbx     BYE
          8000ms  pbx     > acme    200 BYE
          8000ms  pbx     > alice   BYE
          8000ms  alice   > pbx     200 BYE
                  cdr    101 12125550177 answered 7s
                  heard  alice acme
                  bill   acme +12125550177 7s 2400
                  toll   +12125550177 7s 2400
        ",
    );
}

#[test]
fn the_caller_gives_up_while_it_rings_outside() {
    Ladder::outside(|house| acme(house).otherwise = Habit::that(Takes::Rings)).check(
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
          3000ms  alice hangs up
          3000ms  alice   > pbx     CANCEL
          3000ms  pbx     > alice   200 CANCEL
          3000ms  pbx     > alice   487
          3000ms  pbx     > acme    CANCEL
          3000ms  alice   > pbx     ACK
          3000ms  acme    > pbx     200 CANCEL
          3000ms  acme    > pbx     487
          3000ms  pbx     > acme    ACK
                  cdr    101 12125550177 cancelled 0s
                  toll   +12125550177 0s 0
        ",
    );
}

#[test]
fn the_session_is_refreshed_toward_a_carrier() {
    let minutes = Duration::from_secs(90);
    Ladder::outside(|house| house.settings.trunk_session_interval = minutes).check(
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
         46000ms  pbx     > acme    re-INVITE
         46000ms  acme    > pbx     100
         46000ms  acme    > pbx     200 sdp
         46000ms  pbx     > acme    ACK
         60000ms  alice hangs up
         60000ms  alice   > pbx     BYE
         60000ms  pbx     > alice   200 BYE
         60000ms  pbx     > acme    BYE
         60000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 59s
                  heard  alice acme
                  bill   acme +12125550177 59s 12000
                  toll   +12125550177 59s 12000
        ",
    );
}

#[test]
fn the_session_of_a_carriers_call_is_refreshed() {
    let minutes = Duration::from_secs(90);
    Ladder::outside(|house| {
        house.settings.trunk_session_interval = minutes;
        acme(house).otherwise.keeps_alive = true;
    })
    .check(
        "
             0ms  acme calls +12125550101
             0ms  acme    > pbx     INVITE +12125550101 as registered
             0ms  pbx     > acme    100
             0ms  pbx     > alice   INVITE 101
             0ms  alice   > pbx     100
             0ms  alice   > pbx     180
             0ms  pbx     > acme    180
          2000ms  alice   > pbx     200 sdp
          2000ms  pbx     > alice   ACK
          2000ms  pbx     > acme    200 sdp
          2000ms  acme    > pbx     ACK
         47000ms  pbx     > acme    UPDATE
         47000ms  acme    > pbx     200 UPDATE
         60000ms  alice hangs up
         60000ms  alice   > pbx     BYE
         60000ms  pbx     > alice   200 BYE
         60000ms  pbx     > acme    BYE
         60000ms  acme    > pbx     200 BYE
                  cdr    +14155550123 +12125550101 answered 58s
                  heard  alice acme
        ",
    );
}

#[test]
fn a_stolen_contact_is_good_for_nothing_from_elsewhere() {
    Ladder::outside(|_| {}).check(
        "
             0ms  mallory calls the contact of acme
             0ms  mallory > pbx     INVITE +12125550101 as registered without offer
             0ms  pbx     > mallory 100
             0ms  pbx     > mallory 401
          1000ms  acme calls +12125550101
          1000ms  acme    > pbx     INVITE +12125550101 as registered
          1000ms  pbx     > acme    100
          1000ms  pbx     > alice   INVITE 101
          1000ms  alice   > pbx     100
          1000ms  alice   > pbx     180
          1000ms  pbx     > acme    180
          3000ms  alice   > pbx     200 sdp
          3000ms  pbx     > alice   ACK
          3000ms  pbx     > acme    200 sdp
          3000ms  acme    > pbx     ACK
          4000ms  alice hangs up
          4000ms  alice   > pbx     BYE
          4000ms  pbx     > alice   200 BYE
          4000ms  pbx     > acme    BYE
          4000ms  acme    > pbx     200 BYE
                  cdr    +14155550123 +12125550101 answered 1s
                  heard  alice acme
        ",
    );
}
