//! What may be dialled and for how much, and how a call ends when its money does.
//!
//! After the messages: what each carrier means to be paid (`bill`) and what we wrote down (`toll`).

use guard::id::RoleId;
use guard::ledger::Window;
use guard::money::Money;
use guard::number::Class;
use guard::policy::{Account, Budget, Hours, Role};

use super::*;

fn role(house: &mut House<'_>, change: impl FnOnce(&mut Role)) {
    change(house.policy.roles.get_mut(&RoleId(1)).expect("staff"));
}

/// Everything a day and an extension may cost, in millionths.
fn daily(house: &mut House<'_>, hard: i64) {
    let of = Account::EachExtension;
    let budget = Budget { of, window: Window::Day, soft: None, hard: Some(Money(hard)) };
    house.policy.budgets = vec![budget];
}

#[test]
fn a_class_that_is_not_allowed() {
    Ladder::outside(|_| {}).check(
        "
             0ms  alice dials 19005550123
             0ms  alice   > pbx     INVITE 19005550123
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 19005550123
             0ms  pbx     > alice   100
             0ms  pbx     > alice   403: Numbers of this kind are not allowed from this phone.
             0ms  alice   > pbx     ACK
                  cdr    101 19005550123 refused:not-allowed-class 0s
          1000ms  bob dials 12125550177
          1000ms  bob     > pbx     INVITE 12125550177
          1000ms  pbx     > bob     100
          1000ms  pbx     > bob     401
          1000ms  bob     > pbx     ACK
          1000ms  bob     > pbx     INVITE 12125550177
          1000ms  pbx     > bob     100
          1000ms  pbx     > acme    INVITE +12125550177
          1000ms  acme    > pbx     100
          1000ms  acme    > pbx     180
          1000ms  pbx     > bob     180
          2000ms  acme    > pbx     200 sdp
          2000ms  pbx     > acme    ACK
          2000ms  pbx     > bob     200 sdp
          2000ms  bob     > pbx     ACK
          5000ms  bob hangs up
          5000ms  bob     > pbx     BYE
          5000ms  pbx     > bob     200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    102 12125550177 answered 3s
                  heard  bob acme
                  bill   acme +12125550177 3s 1200
                  toll   +12125550177 3s 1200
        ",
    );
}

#[test]
fn a_country_that_is_not_allowed() {
    Ladder::outside(|house| {
        role(house, |role| {
            role.classes.insert(Class::International);
            role.countries.insert("GB".parse().expect("a country"));
        });
    })
    .check(
        "
             0ms  alice dials 01137123456789
             0ms  alice   > pbx     INVITE 01137123456789
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 01137123456789
             0ms  pbx     > alice   100
             0ms  pbx     > alice   403: Calls to this country are not allowed from this phone.
             0ms  alice   > pbx     ACK
                  cdr    101 01137123456789 refused:not-allowed-country 0s
          1000ms  alice dials 011442079460000
          1000ms  alice   > pbx     INVITE 011442079460000
          1000ms  pbx     > alice   100
          1000ms  pbx     > alice   401
          1000ms  alice   > pbx     ACK
          1000ms  alice   > pbx     INVITE 011442079460000
          1000ms  pbx     > alice   100
          1000ms  pbx     > acme    INVITE +442079460000
          1000ms  acme    > pbx     100
          1000ms  acme    > pbx     180
          1000ms  pbx     > alice   180
          2000ms  acme    > pbx     200 sdp
          2000ms  pbx     > acme    ACK
          2000ms  pbx     > alice   200 sdp
          2000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 011442079460000 answered 3s
                  heard  alice acme
                  bill   acme +442079460000 3s 10950
                  toll   +442079460000 3s 10950
        ",
    );
}

#[test]
fn outside_its_hours() {
    Ladder::outside(|house| role(house, |role| role.hours = Hours::never())).check(
        "
             0ms  alice dials 12125550177
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 12125550177
             0ms  pbx     > alice   100
             0ms  pbx     > alice   403: Outside calls are not allowed at this hour.
             0ms  alice   > pbx     ACK
                  cdr    101 12125550177 refused:hours 0s
          1000ms  alice dials 102
          1000ms  alice   > pbx     INVITE 102
          1000ms  pbx     > alice   100
          1000ms  pbx     > alice   401
          1000ms  alice   > pbx     ACK
          1000ms  alice   > pbx     INVITE 102
          1000ms  pbx     > alice   100
          1000ms  pbx     > bob     INVITE 102
          1000ms  bob     > pbx     100
          1000ms  bob     > pbx     180
          1000ms  pbx     > alice   180
          3000ms  bob     > pbx     200 sdp
          3000ms  pbx     > bob     ACK
          3000ms  pbx     > alice   200 sdp
          3000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > bob     BYE
          5000ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 2s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

#[test]
fn one_call_at_once() {
    Ladder::outside(|house| role(house, |role| role.calls_max = 1)).check(
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
          2000ms  alice dials 12125550178
          2000ms  alice   > pbx     INVITE 12125550178
          2000ms  pbx     > alice   100
          2000ms  pbx     > alice   401
          2000ms  alice   > pbx     ACK
          2000ms  alice   > pbx     INVITE 12125550178
          2000ms  pbx     > alice   100
          2000ms  pbx     > alice   486
          2000ms  alice   > pbx     ACK
                  cdr    101 12125550178 refused:concurrency 0s
          3000ms  bob dials 12125550179
          3000ms  bob     > pbx     INVITE 12125550179
          3000ms  pbx     > bob     100
          3000ms  pbx     > bob     401
          3000ms  bob     > pbx     ACK
          3000ms  bob     > pbx     INVITE 12125550179
          3000ms  pbx     > bob     100
          3000ms  pbx     > acme    INVITE +12125550179
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     180
          3000ms  pbx     > bob     180
          4000ms  acme    > pbx     200 sdp
          4000ms  pbx     > acme    ACK
          4000ms  pbx     > bob     200 sdp
          4000ms  bob     > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
          5000ms  bob hangs up
          5000ms  bob     > pbx     BYE
          5000ms  pbx     > bob     200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    102 12125550179 answered 1s
                  heard  alice acme
                  heard  bob acme
                  bill   acme +12125550177 4s 1200
                  bill   acme +12125550179 1s 1200
                  toll   +12125550177 4s 1200
                  toll   +12125550179 1s 1200
        ",
    );
}

#[test]
fn two_calls_an_hour() {
    Ladder::outside(|house| role(house, |role| role.calls_per_hour = 2)).check(
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
          2000ms  alice hangs up
          2000ms  alice   > pbx     BYE
          2000ms  pbx     > alice   200 BYE
          2000ms  pbx     > acme    BYE
          2000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 1s
          3000ms  alice dials 12125550177
          3000ms  alice   > pbx     INVITE 12125550177
          3000ms  pbx     > alice   100
          3000ms  pbx     > alice   401
          3000ms  alice   > pbx     ACK
          3000ms  alice   > pbx     INVITE 12125550177
          3000ms  pbx     > alice   100
          3000ms  pbx     > acme    INVITE +12125550177
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     180
          3000ms  pbx     > alice   180
          4000ms  acme    > pbx     200 sdp
          4000ms  pbx     > acme    ACK
          4000ms  pbx     > alice   200 sdp
          4000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 1s
          6000ms  alice dials 12125550177
          6000ms  alice   > pbx     INVITE 12125550177
          6000ms  pbx     > alice   100
          6000ms  pbx     > alice   401
          6000ms  alice   > pbx     ACK
          6000ms  alice   > pbx     INVITE 12125550177
          6000ms  pbx     > alice   100
          6000ms  pbx     > alice   403: Too many outside calls within an hour.
          6000ms  alice   > pbx     ACK
                  cdr    101 12125550177 refused:rate 0s
          7000ms  bob dials 12125550177
          7000ms  bob     > pbx     INVITE 12125550177
          7000ms  pbx     > bob     100
          7000ms  pbx     > bob     401
          7000ms  bob     > pbx     ACK
          7000ms  bob     > pbx     INVITE 12125550177
          7000ms  pbx     > bob     100
          7000ms  pbx     > acme    INVITE +12125550177
          7000ms  acme    > pbx     100
          7000ms  acme    > pbx     180
          7000ms  pbx     > bob     180
          8000ms  acme    > pbx     200 sdp
          8000ms  pbx     > acme    ACK
          8000ms  pbx     > bob     200 sdp
          8000ms  bob     > pbx     ACK
          9000ms  bob hangs up
          9000ms  bob     > pbx     BYE
          9000ms  pbx     > bob     200 BYE
          9000ms  pbx     > acme    BYE
          9000ms  acme    > pbx     200 BYE
                  cdr    102 12125550177 answered 1s
                  heard  alice acme
                  heard  alice acme
                  heard  bob acme
                  bill   acme +12125550177 1s 1200
                  bill   acme +12125550177 1s 1200
                  bill   acme +12125550177 1s 1200
                  toll   +12125550177 1s 1200
                  toll   +12125550177 1s 1200
                  toll   +12125550177 1s 1200
        ",
    );
}

#[test]
fn a_number_that_is_too_dear() {
    Ladder::outside(|house| {
        role(house, |role| {
            role.classes.insert(Class::Premium);
            role.price_max = Money(100_000);
        });
    })
    .check(
        "
             0ms  alice dials 19005550123
             0ms  alice   > pbx     INVITE 19005550123
             0ms  pbx     > alice   100
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 19005550123
             0ms  pbx     > alice   100
             0ms  pbx     > alice   403: This number costs more than is allowed from this phone.
             0ms  alice   > pbx     ACK
                  cdr    101 19005550123 refused:too-dear 0s
          1000ms  alice dials 12125550177
          1000ms  alice   > pbx     INVITE 12125550177
          1000ms  pbx     > alice   100
          1000ms  pbx     > alice   401
          1000ms  alice   > pbx     ACK
          1000ms  alice   > pbx     INVITE 12125550177
          1000ms  pbx     > alice   100
          1000ms  pbx     > acme    INVITE +12125550177
          1000ms  acme    > pbx     100
          1000ms  acme    > pbx     180
          1000ms  pbx     > alice   180
          2000ms  acme    > pbx     200 sdp
          2000ms  pbx     > acme    ACK
          2000ms  pbx     > alice   200 sdp
          2000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 3s
                  heard  alice acme
                  bill   acme +12125550177 3s 1200
                  toll   +12125550177 3s 1200
        ",
    );
}

#[test]
fn a_budget_that_is_spent() {
    Ladder::outside(|house| daily(house, 1_200)).check(
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
                  fact   budget-hard
          4000ms  alice hangs up
          4000ms  alice   > pbx     BYE
          4000ms  pbx     > alice   200 BYE
          4000ms  pbx     > acme    BYE
          4000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 3s
          5000ms  alice dials 12125550177
          5000ms  alice   > pbx     INVITE 12125550177
          5000ms  pbx     > alice   100
          5000ms  pbx     > alice   401
          5000ms  alice   > pbx     ACK
          5000ms  alice   > pbx     INVITE 12125550177
          5000ms  pbx     > alice   100
          5000ms  pbx     > alice   403: The budget for outside calls is spent.
          5000ms  alice   > pbx     ACK
                  cdr    101 12125550177 refused:budget 0s
          6000ms  bob dials 12125550177
          6000ms  bob     > pbx     INVITE 12125550177
          6000ms  pbx     > bob     100
          6000ms  pbx     > bob     401
          6000ms  bob     > pbx     ACK
          6000ms  bob     > pbx     INVITE 12125550177
          6000ms  pbx     > bob     100
          6000ms  pbx     > acme    INVITE +12125550177
          6000ms  acme    > pbx     100
          6000ms  acme    > pbx     180
          6000ms  pbx     > bob     180
          7000ms  acme    > pbx     200 sdp
          7000ms  pbx     > acme    ACK
          7000ms  pbx     > bob     200 sdp
          7000ms  bob     > pbx     ACK
          9000ms  bob hangs up
          9000ms  bob     > pbx     BYE
          9000ms  pbx     > bob     200 BYE
          9000ms  pbx     > acme    BYE
          9000ms  acme    > pbx     200 BYE
                  cdr    102 12125550177 answered 2s
                  heard  alice acme
                  heard  bob acme
                  bill   acme +12125550177 3s 1200
                  bill   acme +12125550177 2s 1200
                  toll   +12125550177 3s 1200
                  toll   +12125550177 2s 1200
        ",
    );
}

#[test]
fn the_money_of_a_way_that_failed_is_there_for_the_next() {
    // One increment's worth, which both ways need.
    Ladder::outside(|house| daily(house, 1_200)).check(
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
          3000ms  alice hangs up
          3000ms  alice   > pbx     BYE
          3000ms  pbx     > alice   200 BYE
          3000ms  pbx     > bell    BYE
          3000ms  bell    > pbx     200 BYE
                  cdr    101 12125550177 answered 1s
                  heard  alice bell
                  bill   bell +12125550177 2s 1200
                  toll   +12125550177 0s 0
                  toll   +12125550177 2s 1200
        ",
    );
}

#[test]
fn the_budget_ends_the_call() {
    // Twelve seconds' worth.
    Ladder::outside(|house| daily(house, 2_400)).check(
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
                  fact   budget-hard
         12500ms  pbx     > alice   BYE
         12500ms  pbx     > acme    BYE
         12500ms  alice   > pbx     200 BYE
         12500ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 11s
                  heard  alice acme
                  bill   acme +12125550177 12s 2400
                  toll   +12125550177 12s 2400
        ",
    );
}

#[test]
fn the_reserve_is_extended_while_they_talk() {
    Ladder::outside(|house| daily(house, 100_000)).check(
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
        150000ms  alice hangs up
        150000ms  alice   > pbx     BYE
        150000ms  pbx     > alice   200 BYE
        150000ms  pbx     > acme    BYE
        150000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 149s
                  heard  alice acme
                  bill   acme +12125550177 149s 30000
                  toll   +12125550177 149s 30000
        ",
    );
}

#[test]
fn the_answer_crosses_the_cancel_and_is_billed_one_increment() {
    Ladder::outside(|house| {
        let habit = Habit { answers_when_cancelled: true, ..Habit::that(Takes::Rings) };
        house.lines[0].carrier.otherwise = habit;
    })
    .check(
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
          3000ms  acme    > pbx     200 sdp
          3000ms  pbx     > acme    ACK
          3000ms  pbx     > acme    BYE
          3000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 cancelled 0s
                  bill   acme +12125550177 0s 1200
                  toll   +12125550177 0s 1200
        ",
    );
}

#[test]
fn a_lost_bye_costs_no_more_than_the_silence_allowed() {
    // The carrier is out of reach, and so is the phone: nobody says that it is over.
    Ladder::outside(|_| {}).after(Duration::from_secs(140)).check(
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
         5000ms  acme vanishes
         5000ms  alice half-breaks
         5001ms  alice dies
                  fact   media-silent
        65000ms  pbx     > alice   BYE
        65000ms  pbx     > acme    BYE
                  fact   trunk-down
        95000ms  acme    > pbx     BYE
       120000ms  acme is back
       131003ms  acme    > pbx     BYE
       131003ms  pbx     > acme    200 BYE
                  cdr    101 12125550177 answered 64s
                  fact   trunk-up
                  heard  alice acme
                  bill   acme +12125550177 94s 19200
                  toll   +12125550177 126s 25200
        ",
    );
}

#[test]
fn a_crash_in_a_call_outside() {
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
         10000ms  pbx crashes
         12000ms  pbx starts
                  fact   call-interrupted
                  fact   crash-recovered
                  fact   trunk-up
                  fact   trunk-up
         12000ms  pbx     > acme    BYE
         12000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 interrupted 11s
         13227ms  pbx     > alice   503
         13227ms  pbx     > alice   BYE
         13227ms  alice   > pbx     200 BYE
                  heard  alice acme
                  bill   acme +12125550177 11s 2400
                  toll   +12125550177 11s 2400
        ",
    );
}

#[test]
fn a_crash_while_it_rings_outside() {
    Ladder::outside(|house| house.lines[0].carrier.otherwise = Habit::that(Takes::Rings)).check(
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
          2000ms  pbx crashes
          3000ms  pbx starts
                  fact   call-interrupted
                  fact   crash-recovered
                  fact   trunk-up
                  fact   trunk-up
          3000ms  pbx     > acme    CANCEL
          3000ms  acme    > pbx     481 CANCEL
                  cdr    101 12125550177 interrupted 0s
          3315ms  pbx     > alice   503
                  toll   +12125550177 32s 7200
        ",
    );
}

#[test]
fn a_clock_that_steps_changes_no_bill() {
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
          2000ms  clock steps 3600s
          4000ms  clock steps -7200s
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > acme    BYE
          8000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 0s
                  heard  alice acme
                  bill   acme +12125550177 7s 2400
                  toll   +12125550177 7s 2400
        ",
    );
}

/// Its BYE is said on the trunk's next connection, as recovery does after a crash, and the leg costs until
/// that is answered.
#[test]
fn hanging_up_while_the_line_is_broken() {
    Ladder::outside(|_| {}).after(Duration::from_secs(140)).check(
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
          3000ms  acme closes
                  fact   trunk-down
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          6000ms  acme opens
                  fact   trunk-up
          8496ms  pbx     > acme    BYE
          8496ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 8s 2400
                  toll   +12125550177 8s 2400
        ",
    );
}

/// The carrier bills all the while: it is owed the BYE for as long as after a crash, and asked more often
/// than a trunk that nobody waits for.
#[test]
fn a_carrier_that_is_away_for_minutes_is_told_when_it_is_back() {
    Ladder::outside(|house| {
        house.lines[0].carrier.silence_limit = Some(Duration::from_secs(600));
    })
    .after(Duration::from_secs(60))
    .check(
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
         3000ms  acme closes
                  fact   trunk-down
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
       270000ms  acme opens
                  fact   trunk-up
       276017ms  pbx     > acme    BYE
       276017ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 4s
                  heard  alice acme
                  bill   acme +12125550177 276s 55200
                  toll   +12125550177 66s 13200
        ",
    );
}

/// Its own BYE, which it could not say either, is as good as an answer to ours.
#[test]
fn a_carrier_that_has_hung_up_itself_is_owed_no_bye() {
    Ladder::outside(|_| {}).after(Duration::from_secs(60)).check(
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
         3000ms  acme closes
                  fact   trunk-down
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
       270000ms  acme opens
       276017ms  acme    > pbx     BYE
       276017ms  pbx     > acme    200 BYE
                  cdr    101 12125550177 answered 4s
                  fact   trunk-up
                  heard  alice acme
                  bill   acme +12125550177 94s 19200
                  toll   +12125550177 66s 13200
        ",
    );
}

#[test]
fn a_carrier_that_stays_away_is_owed_no_bye_for_ever() {
    Ladder::outside(|_| {}).after(Duration::from_secs(60)).check(
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
         3000ms  acme closes
                  fact   trunk-down
         5000ms  alice hangs up
         5000ms  alice   > pbx     BYE
         5000ms  pbx     > alice   200 BYE
                  fact   end-unconfirmed
                  cdr    101 12125550177 answered 4s
       910000ms  acme opens
                  heard  alice acme
                  bill   acme +12125550177 94s 19200
                  toll   +12125550177 60s 12000
        ",
    );
}

/// The far side talks on, and the carrier never ends a call by itself.
#[test]
fn a_phone_loses_power_and_the_far_side_talks_on() {
    Ladder::outside(quiet).after(Duration::from_secs(60)).check(
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
                  fact   exception-used
         1000ms  pbx     > alice   200 sdp
         1000ms  alice   > pbx     ACK
         5000ms  alice dies
                  fact   media-silent
        65000ms  pbx     > alice   re-INVITE
        65500ms  pbx     > alice   re-INVITE
        66500ms  pbx     > alice   re-INVITE
        68500ms  pbx     > alice   re-INVITE
        72500ms  pbx     > alice   re-INVITE
        80500ms  pbx     > alice   re-INVITE
        96500ms  pbx     > alice   re-INVITE
        97000ms  pbx     > acme    BYE
        97000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 96s
       100000ms  alice starts
                  heard  alice acme
                  bill   acme +12125550177 96s 19200
                  toll   +12125550177 96s 19200
        ",
    );
}

/// The honest one that resembles it listens, with the microphone off.
#[test]
fn a_muted_caller_listens_for_as_long_as_it_is_paid_for() {
    Ladder::outside(quiet).check(
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
                  fact   exception-used
         1000ms  pbx     > alice   200 sdp
         1000ms  alice   > pbx     ACK
         5000ms  alice mutes
                  fact   media-silent
        65000ms  pbx     > alice   re-INVITE
        65000ms  alice   > pbx     100
        65000ms  alice   > pbx     200 sdp
        65000ms  pbx     > alice   ACK
       125000ms  pbx     > alice   re-INVITE
       125000ms  alice   > pbx     100
       125000ms  alice   > pbx     200 sdp
       125000ms  pbx     > alice   ACK
       150000ms  alice hangs up
       150000ms  alice   > pbx     BYE
       150000ms  pbx     > alice   200 BYE
       150000ms  pbx     > acme    BYE
       150000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 149s
                  heard  alice acme
                  bill   acme +12125550177 149s 30000
                  toll   +12125550177 149s 30000
        ",
    );
}

/// Alice's phone is in clear over UDP, and asked after a minute of silence.
fn quiet(house: &mut House<'_>) {
    house.settings.silence_limit = Duration::from_secs(60);
    house.weak = vec!["101"];
    house.tell = &|name, phone| {
        if name == "alice" {
            phone.transport = sip::Transport::Udp;
            phone.security = actors::phone::Security::Plain;
        }
    };
    house.lines[0].carrier.silence_limit = None;
}
