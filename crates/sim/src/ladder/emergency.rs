//! Calls for help. Each against one thing that would stop any other call.

use actors::phone::Security;
use guard::id::RoleId;
use guard::ledger::Window;
use guard::money::Money;
use guard::policy::{Account, Budget, Hours};
use sip::digest::Algorithm;

use super::*;

#[test]
fn with_every_rule_set_to_deny() {
    Ladder::outside(|house| {
        let role = house.policy.roles.get_mut(&RoleId(1)).expect("staff");
        role.classes.clear();
        role.hours = Hours::never();
        (role.calls_max, role.calls_per_hour, role.price_max) = (0, 0, Money::ZERO);
        house.policy.lockdown.add(Scope::Operator);
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
             0ms  pbx     > alice   403: Calls are locked; emergency calls still work.
             0ms  alice   > pbx     ACK
                  cdr    101 12125550177 refused:lockdown 0s
          1000ms  alice dials 911
          1000ms  alice   > pbx     INVITE 911
          1000ms  pbx     > alice   100
                  fact   emergency-called
          1000ms  pbx     > acme    INVITE 911
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
                  cdr    101 911 answered 3s
                  heard  alice acme
                  bill   acme 911 3s 0
        ",
    );
}

#[test]
fn with_the_budget_spent() {
    Ladder::outside(|house| {
        let of = Account::Operator;
        let budget = Budget { of, window: Window::Week, soft: None, hard: Some(Money::ZERO) };
        house.policy.budgets = vec![budget];
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
             0ms  pbx     > alice   403: The budget for outside calls is spent.
                  fact   budget-hard
             0ms  alice   > pbx     ACK
                  cdr    101 12125550177 refused:budget 0s
          1000ms  alice dials 911
          1000ms  alice   > pbx     INVITE 911
          1000ms  pbx     > alice   100
                  fact   emergency-called
          1000ms  pbx     > acme    INVITE 911
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
                  cdr    101 911 answered 3s
                  heard  alice acme
                  bill   acme 911 3s 0
        ",
    );
}

#[test]
fn with_as_many_calls_as_allowed() {
    Ladder::outside(|house| {
        house.policy.roles.get_mut(&RoleId(1)).expect("staff").calls_max = 1;
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
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          2000ms  alice dials 911
          2000ms  alice   > pbx     INVITE 911
          2000ms  pbx     > alice   100
                  fact   emergency-called
          2000ms  pbx     > acme    INVITE 911
          2000ms  acme    > pbx     100
          2000ms  acme    > pbx     180
          2000ms  pbx     > alice   180
          3000ms  acme    > pbx     200 sdp
          3000ms  pbx     > acme    ACK
          3000ms  pbx     > alice   200 sdp
          3000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 2s
          6000ms  alice hangs up
          6000ms  alice   > pbx     BYE
          6000ms  pbx     > alice   200 BYE
          6000ms  pbx     > acme    BYE
          6000ms  acme    > pbx     200 BYE
                  cdr    101 12125550177 answered 5s
                  heard  alice acme
                  heard  alice acme
                  bill   acme +12125550177 5s 1200
                  bill   acme 911 2s 0
                  toll   +12125550177 5s 1200
        ",
    );
}

#[test]
fn over_a_full_trunk() {
    Ladder::outside(|house| {
        house.lines.truncate(1);
        house.lines[0].channels = 1;
    })
    .check(
        "
             0ms  bob dials 12125550177
             0ms  bob     > pbx     INVITE 12125550177
             0ms  pbx     > bob     100
             0ms  pbx     > bob     401
             0ms  bob     > pbx     ACK
             0ms  bob     > pbx     INVITE 12125550177
             0ms  pbx     > bob     100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > bob     180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > bob     200 sdp
          1000ms  bob     > pbx     ACK
          3000ms  alice dials 911
          3000ms  alice   > pbx     INVITE 911
          3000ms  pbx     > alice   100
                  fact   emergency-called
                  fact   call-preempted
          3000ms  pbx     > bob     BYE
          3000ms  pbx     > acme    BYE
          3000ms  bob     > pbx     200 BYE
          3000ms  acme    > pbx     200 BYE
          3000ms  pbx     > acme    INVITE 911
                  cdr    102 12125550177 answered 2s
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     180
          3000ms  pbx     > alice   180
          4000ms  acme    > pbx     200 sdp
          4000ms  pbx     > acme    ACK
          4000ms  pbx     > alice   200 sdp
          4000ms  alice   > pbx     ACK
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > acme    BYE
          8000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 4s
                  heard  alice acme
                  heard  bob acme
                  bill   acme +12125550177 2s 1200
                  bill   acme 911 4s 0
                  toll   +12125550177 2s 1200
        ",
    );
}

#[test]
fn over_a_carrier_without_a_line() {
    Ladder::outside(|house| {
        house.lines.truncate(1);
        house.lines[0].carrier.channels = 1;
    })
    .check(
        "
             0ms  bob dials 12125550177
             0ms  bob     > pbx     INVITE 12125550177
             0ms  pbx     > bob     100
             0ms  pbx     > bob     401
             0ms  bob     > pbx     ACK
             0ms  bob     > pbx     INVITE 12125550177
             0ms  pbx     > bob     100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > bob     180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > bob     200 sdp
          1000ms  bob     > pbx     ACK
          3000ms  alice dials 911
          3000ms  alice   > pbx     INVITE 911
          3000ms  pbx     > alice   100
                  fact   emergency-called
          3000ms  pbx     > acme    INVITE 911
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     503
          3000ms  pbx     > acme    ACK
                  fact   call-preempted
          3000ms  pbx     > bob     BYE
          3000ms  pbx     > acme    BYE
          3000ms  bob     > pbx     200 BYE
          3000ms  acme    > pbx     200 BYE
          3000ms  pbx     > acme    INVITE 911
                  cdr    102 12125550177 answered 2s
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     180
          3000ms  pbx     > alice   180
          4000ms  acme    > pbx     200 sdp
          4000ms  pbx     > acme    ACK
          4000ms  pbx     > alice   200 sdp
          4000ms  alice   > pbx     ACK
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > acme    BYE
          8000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 4s
                  heard  alice acme
                  heard  bob acme
                  bill   acme +12125550177 2s 1200
                  bill   acme 911 4s 0
                  toll   +12125550177 2s 1200
        ",
    );
}

#[test]
fn where_the_carrier_takes_no_encryption() {
    Ladder::outside(|house| {
        house.lines.truncate(1);
        house.lines[0].carrier.only_plain = true;
    })
    .check(
        "
             0ms  bob dials 12125550177
             0ms  bob     > pbx     INVITE 12125550177
             0ms  pbx     > bob     100
             0ms  pbx     > bob     401
             0ms  bob     > pbx     ACK
             0ms  bob     > pbx     INVITE 12125550177
             0ms  pbx     > bob     100
             0ms  pbx     > acme    INVITE +12125550177
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > bob     180
          1000ms  acme    > pbx     488
          1000ms  pbx     > acme    ACK
          1000ms  pbx     > bob     488
          1000ms  bob     > pbx     ACK
                  cdr    102 12125550177 failed 0s
          3000ms  alice dials 911
          3000ms  alice   > pbx     INVITE 911
          3000ms  pbx     > alice   100
                  fact   emergency-called
          3000ms  pbx     > acme    INVITE 911
          3000ms  acme    > pbx     100
          3000ms  acme    > pbx     180
          3000ms  pbx     > alice   180
          4000ms  acme    > pbx     488
          4000ms  pbx     > acme    ACK
          4000ms  pbx     > acme    INVITE 911
          4000ms  acme    > pbx     100
          4000ms  acme    > pbx     180
          5000ms  acme    > pbx     200 sdp
          5000ms  pbx     > acme    ACK
          5000ms  pbx     > alice   200 sdp
          5000ms  alice   > pbx     ACK
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > acme    BYE
          8000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 3s
                  heard  alice acme
                  bill   acme 911 3s 0
                  toll   +12125550177 0s 0
        ",
    );
}

/// Rotating signed the phone off, so it is on no path of its own any more: it says who it is first.
#[test]
fn with_the_former_secret() {
    Ladder::outside(|_| {}).check(
        "
             0ms  admin rotates 101
                  fact   secret-rotated
          1000ms  alice dials 12125550177
          1000ms  alice   > pbx     INVITE 12125550177
          1000ms  pbx     > alice   100
          1000ms  pbx     > alice   401
          1000ms  alice   > pbx     ACK
          1000ms  alice   > pbx     INVITE 12125550177
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
          2000ms  pbx     > acme    INVITE 911
          2000ms  acme    > pbx     100
          2000ms  acme    > pbx     180
          2000ms  pbx     > alice   180
          3000ms  acme    > pbx     200 sdp
          3000ms  pbx     > acme    ACK
          3000ms  pbx     > alice   200 sdp
          3000ms  alice   > pbx     ACK
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > acme    BYE
          8000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 5s
                  heard  alice acme
                  bill   acme 911 5s 0
        ",
    );
}

#[test]
fn with_the_encrypted_trunk_down() {
    Ladder::outside(|_| {}).check(
        "
             0ms  acme closes
                  fact   trunk-down
          1000ms  alice dials 911
          1000ms  alice   > pbx     INVITE 911
          1000ms  pbx     > alice   100
                  fact   emergency-called
          1000ms  pbx     > bell    INVITE 911
          1000ms  bell    > pbx     100
          1000ms  bell    > pbx     180
          1000ms  pbx     > alice   180
          2000ms  bell    > pbx     200 sdp
          2000ms  pbx     > bell    ACK
          2000ms  pbx     > alice   200 sdp
          2000ms  alice   > pbx     ACK
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > bell    BYE
          8000ms  bell    > pbx     200 BYE
                  cdr    101 911 answered 6s
                  heard  alice bell
                  bill   bell 911 6s 0
        ",
    );
}

#[test]
fn with_the_disk_gone() {
    Ladder::outside(|_| {}).expecting("error: ").check(
        "
             0ms  disk fails 5s
          1000ms  bob dials 12125550177
          1000ms  bob     > pbx     INVITE 12125550177
          1000ms  pbx     > bob     100
          1000ms  pbx     > bob     401
          1000ms  bob     > pbx     ACK
          1000ms  bob     > pbx     INVITE 12125550177
          1000ms  pbx     > bob     100
                  fact   persist-failed
          1100ms  pbx     > bob     500
          1100ms  bob     > pbx     ACK
          2000ms  alice dials 911
          2000ms  alice   > pbx     INVITE 911
          2000ms  pbx     > alice   100
                  fact   emergency-called
          2000ms  pbx     > acme    INVITE 911
          2000ms  acme    > pbx     100
          2000ms  acme    > pbx     180
          2000ms  pbx     > alice   180
          3000ms  acme    > pbx     200 sdp
          3000ms  pbx     > acme    ACK
          3000ms  pbx     > alice   200 sdp
          3000ms  alice   > pbx     ACK
                  cdr    102 12125550177 failed 0s
          8000ms  alice hangs up
          8000ms  alice   > pbx     BYE
          8000ms  pbx     > alice   200 BYE
          8000ms  pbx     > acme    BYE
          8000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 5s
                  heard  alice acme
                  bill   acme 911 5s 0
                  toll   +12125550177 0s 0
        ",
    );
}

/// Whoever calls for help may not be able to speak: nothing asks the phone, and nobody but the two ends
/// the call.
#[test]
fn a_call_for_help_may_be_silent() {
    Ladder::outside(|house| {
        house.settings.silence_limit = Duration::from_secs(60);
        house.lines[0].carrier.silence_limit = None;
    })
    .check(
        "
            0ms  alice dials 911
            0ms  alice   > pbx     INVITE 911
            0ms  pbx     > alice   100
                  fact   emergency-called
            0ms  pbx     > acme    INVITE 911
            0ms  acme    > pbx     100
            0ms  acme    > pbx     180
            0ms  pbx     > alice   180
         1000ms  acme    > pbx     200 sdp
         1000ms  pbx     > acme    ACK
         1000ms  pbx     > alice   200 sdp
         1000ms  alice   > pbx     ACK
         5000ms  alice mutes
                  fact   media-silent
       200000ms  acme hangs up
       200000ms  acme    > pbx     BYE
       200000ms  pbx     > acme    200 BYE
       200000ms  pbx     > alice   BYE
       200000ms  alice   > pbx     200 BYE
                  cdr    101 911 answered 199s
                  heard  alice acme
                  bill   acme 911 199s 0
         ",
    );
}

/// In a datagram anybody can write a phone's address: the challenge comes first, without a 100 and without a
/// transaction, and its answer shows where the phone is, whatever the secret.
#[test]
fn over_datagrams_with_an_answer_to_the_challenge() {
    fn tell(name: &str, phone: &mut PhoneSettings) {
        phone.weakest = Algorithm::Md5;
        if name == "alice" {
            phone.security = Security::Plain;
            phone.transport = sip::Transport::Udp;
        }
    }
    Ladder::outside(|house| {
        house.weak = vec!["101"];
        house.tell = &tell;
    })
    .check(
        "
             0ms  alice dials 911
             0ms  alice   > pbx     INVITE 911
             0ms  pbx     > alice   401
             0ms  alice   > pbx     ACK
             0ms  alice   > pbx     INVITE 911
             0ms  pbx     > alice   100
                  fact   emergency-called
             0ms  pbx     > acme    INVITE 911
             0ms  acme    > pbx     100
             0ms  acme    > pbx     180
             0ms  pbx     > alice   180
          1000ms  acme    > pbx     200 sdp
          1000ms  pbx     > acme    ACK
                  fact   exception-used
          1000ms  pbx     > alice   200 sdp
          1000ms  alice   > pbx     ACK
          5000ms  alice hangs up
          5000ms  alice   > pbx     BYE
          5000ms  pbx     > alice   200 BYE
          5000ms  pbx     > acme    BYE
          5000ms  acme    > pbx     200 BYE
                  cdr    101 911 answered 4s
                  heard  alice acme
                  bill   acme 911 4s 0
        ",
    );
}
