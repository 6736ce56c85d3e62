//! Phones that are gone before we know it: they hang up before our ACK, lose power, start anew. And those that
//! say nothing and are there.

use actors::phone::Security;

use super::tests::patient;
use super::*;

/// RFC 3261 §15 has the called phone wait for our ACK; where it doesn't, its BYE may come first.
#[test]
fn a_bye_overtakes_the_answer_that_it_ends() {
    over_datagrams("102", patient).check(
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
         1999ms  network drops datagrams
         2000ms  bob answers
         2000ms  bob     > pbx     200 sdp
         2001ms  network heals
         2100ms  bob hangs up
         2100ms  bob     > pbx     BYE
         2100ms  pbx     > bob     200 BYE
         2500ms  bob     > pbx     200 sdp
         2500ms  pbx     > bob     ACK
         2500ms  pbx     > alice   487
         2500ms  alice   > pbx     ACK
                  cdr    101 102 answered 0s
        ",
    );
}

#[test]
fn a_bye_comes_and_the_answer_never_does() {
    over_datagrams("102", patient).check(
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
         1999ms  network drops datagrams
         2000ms  bob answers
         2000ms  bob     > pbx     200 sdp
         2001ms  network heals
         2100ms  bob hangs up
         2100ms  bob     > pbx     BYE
         2100ms  pbx     > bob     200 BYE
         2101ms  network drops datagrams
         2500ms  bob     > pbx     200 sdp
         3500ms  bob     > pbx     200 sdp
         5500ms  bob     > pbx     200 sdp
         6100ms  pbx     > bob     CANCEL
         6100ms  pbx     > alice   603
         6100ms  alice   > pbx     ACK
         6600ms  pbx     > bob     CANCEL
         7600ms  pbx     > bob     CANCEL
         9000ms  network heals
         9500ms  bob     > pbx     200 sdp
         9500ms  pbx     > bob     ACK
         9500ms  pbx     > bob     BYE
         9500ms  bob     > pbx     481 BYE
                  cdr    101 102 declined 0s
         9600ms  pbx     > bob     CANCEL
         9600ms  bob     > pbx     200 CANCEL
        ",
    );
}

/// The other phone of the same extension rings on.
#[test]
fn a_bye_overtakes_and_another_phone_answers() {
    let cast = [("alice", "101"), ("bob", "102"), ("ben", "102")];
    Ladder::with(Settings::default(), &cast, &["102"], |name, phone| {
        if name != "alice" {
            phone.answer_after = None;
        }
        if name == "bob" {
            phone.transport = sip::Transport::Udp;
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
            0ms  pbx     > ben     INVITE 102
            0ms  pbx     > bob     INVITE 102
            0ms  ben     > pbx     100
            0ms  ben     > pbx     180
            0ms  bob     > pbx     100
            0ms  bob     > pbx     180
            0ms  pbx     > alice   180
         1999ms  network drops datagrams
         2000ms  bob answers
         2000ms  bob     > pbx     200 sdp
         2001ms  network heals
         2100ms  bob hangs up
         2100ms  bob     > pbx     BYE
         2100ms  pbx     > bob     200 BYE
         2101ms  network drops datagrams
         2500ms  bob     > pbx     200 sdp
         3500ms  bob     > pbx     200 sdp
         5500ms  bob     > pbx     200 sdp
         6100ms  pbx     > bob     CANCEL
         6600ms  pbx     > bob     CANCEL
         6900ms  network heals
         7000ms  ben answers
         7000ms  ben     > pbx     200 sdp
         7000ms  pbx     > ben     ACK
         7000ms  pbx     > alice   200 sdp
         7000ms  alice   > pbx     ACK
         7600ms  pbx     > bob     CANCEL
         7600ms  bob     > pbx     200 CANCEL
         9000ms  alice hangs up
         9000ms  alice   > pbx     BYE
         9000ms  pbx     > alice   200 BYE
         9000ms  pbx     > ben     BYE
         9000ms  ben     > pbx     200 BYE
         9500ms  bob     > pbx     200 sdp
         9500ms  pbx     > bob     ACK
         9500ms  pbx     > bob     BYE
         9500ms  bob     > pbx     481 BYE
                  cdr    101 102 answered 2s
                  heard  alice ben
                  heard  ben alice
        ",
    );
}

/// Without a connection that could break nothing else tells of it.
#[test]
fn a_phone_that_lost_power_ends_the_call() {
    quiet(|_, _| {}).check(
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
         5000ms  alice dies
                  fact   media-silent
        65000ms  pbx     > alice   re-INVITE
        65500ms  pbx     > alice   re-INVITE
        66500ms  pbx     > alice   re-INVITE
        68500ms  pbx     > alice   re-INVITE
        72500ms  pbx     > alice   re-INVITE
        80500ms  pbx     > alice   re-INVITE
        96500ms  pbx     > alice   re-INVITE
        97000ms  pbx     > bob     BYE
        97000ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 95s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

#[test]
fn a_phone_that_starts_anew_knows_of_no_call() {
    quiet(|_, _| {}).check(
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
         5000ms  alice dies
        30000ms  alice starts
                  fact   media-silent
        65000ms  pbx     > alice   re-INVITE
        65000ms  alice   > pbx     100
        65000ms  alice   > pbx     481
        65000ms  pbx     > alice   ACK
        65000ms  pbx     > bob     BYE
        65000ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 63s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

/// The honest one that resembles it.
#[test]
fn a_muted_phone_keeps_its_call() {
    quiet(|_, _| {}).check(
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
       150000ms  pbx     > bob     BYE
       150000ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 148s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

/// No audio is expected on hold, so nothing but asking tells that both phones have lost power meanwhile.
#[test]
fn a_held_call_whose_phones_have_started_again_ends() {
    quiet(|_, _| {}).check(
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
         3000ms  bob holds
         3000ms  bob     > pbx     re-INVITE sendonly
         3000ms  pbx     > bob     100
         3000ms  pbx     > alice   re-INVITE sendonly
         3000ms  alice   > pbx     100
         3000ms  alice   > pbx     200 sdp recvonly
         3000ms  pbx     > alice   ACK
         3000ms  pbx     > bob     200 sdp recvonly
         3000ms  bob     > pbx     ACK
         5000ms  bob dies
        21000ms  alice dies
        25000ms  alice starts
        30000ms  bob starts
        63000ms  pbx     > alice   re-INVITE sendonly
        63000ms  pbx     > bob     re-INVITE recvonly
        63000ms  alice   > pbx     100
        63000ms  alice   > pbx     481
        63000ms  bob     > pbx     100
        63000ms  bob     > pbx     481
        63000ms  pbx     > alice   ACK
        63000ms  pbx     > bob     BYE
        63000ms  pbx     > bob     ACK
        63000ms  bob     > pbx     481 BYE
                  cdr    101 102 answered 61s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

/// Whoever listens to music on hold says yes each time.
#[test]
fn a_held_call_whose_phones_are_there_goes_on() {
    quiet(|_, _| {}).check(
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
         3000ms  bob holds
         3000ms  bob     > pbx     re-INVITE sendonly
         3000ms  pbx     > bob     100
         3000ms  pbx     > alice   re-INVITE sendonly
         3000ms  alice   > pbx     100
         3000ms  alice   > pbx     200 sdp recvonly
         3000ms  pbx     > alice   ACK
         3000ms  pbx     > bob     200 sdp recvonly
         3000ms  bob     > pbx     ACK
        63000ms  pbx     > alice   re-INVITE sendonly
        63000ms  pbx     > bob     re-INVITE recvonly
        63000ms  alice   > pbx     100
        63000ms  alice   > pbx     200 sdp recvonly
        63000ms  bob     > pbx     100
        63000ms  bob     > pbx     200 sdp sendonly
        63000ms  pbx     > alice   ACK
        63000ms  pbx     > bob     ACK
       123000ms  pbx     > alice   re-INVITE sendonly
       123000ms  pbx     > bob     re-INVITE recvonly
       123000ms  alice   > pbx     100
       123000ms  alice   > pbx     200 sdp recvonly
       123000ms  bob     > pbx     100
       123000ms  bob     > pbx     200 sdp sendonly
       123000ms  pbx     > alice   ACK
       123000ms  pbx     > bob     ACK
       150000ms  alice hangs up
       150000ms  alice   > pbx     BYE
       150000ms  pbx     > alice   200 BYE
       150000ms  pbx     > bob     BYE
       150000ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 148s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

/// It is asked where it is now, though nobody has told us that its old connection is dead.
#[test]
fn a_muted_phone_that_changed_its_connection_keeps_its_call() {
    let settings = Settings { silence_limit: Duration::from_secs(60), ..Settings::default() };
    let cast = [("alice", "101"), ("bob", "102")];
    Ladder::with(settings, &cast, &[], |_, _| {}).after(Duration::from_secs(60)).check(
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
         5000ms  alice mutes
         6000ms  alice half-breaks
                  fact   media-silent
        65000ms  pbx     > alice   re-INVITE
        65000ms  alice   > pbx     100
        65000ms  alice   > pbx     200 sdp
        65000ms  pbx     > alice   ACK
       125000ms  pbx     > alice   re-INVITE
       125000ms  alice   > pbx     100
       125000ms  alice   > pbx     200 sdp
       125000ms  pbx     > alice   ACK
       185000ms  pbx     > alice   re-INVITE
       185000ms  alice   > pbx     100
       185000ms  alice   > pbx     200 sdp
       185000ms  pbx     > alice   ACK
       200000ms  alice hangs up
       200000ms  alice   > pbx     BYE
       200000ms  pbx     > alice   200 BYE
       200000ms  pbx     > bob     BYE
       200000ms  bob     > pbx     200 BYE
                  cdr    101 102 answered 198s
                  heard  alice bob
                  heard  bob alice
        ",
    );
}

/// Alice's phone is in clear over UDP; after a minute it is asked.
fn quiet(tell: impl Fn(&str, &mut PhoneSettings)) -> Ladder {
    let settings = Settings { silence_limit: Duration::from_secs(60), ..Settings::default() };
    let cast = [("alice", "101"), ("bob", "102")];
    Ladder::with(settings, &cast, &["101"], |name, phone| {
        if name == "alice" {
            phone.transport = sip::Transport::Udp;
            phone.security = Security::Plain;
        }
        tell(name, phone);
    })
    .after(Duration::from_secs(140))
}

/// One extension of the usual cast signals over UDP.
fn over_datagrams(weak: &'static str, tell: impl Fn(&str, &mut PhoneSettings)) -> Ladder {
    let cast = [("alice", "101"), ("bob", "102"), ("carol", "103")];
    Ladder::with(Settings::default(), &cast, &[weak], |name, phone| {
        if phone.number == weak {
            phone.transport = sip::Transport::Udp;
        }
        tell(name, phone);
    })
}

/// Its record is written while its phone is away. Five seconds later it keeps the extension from nothing more.
#[test]
fn a_call_that_is_over_lets_another_phone_of_its_caller_call() {
    let settings = Settings { calls_per_extension_max: 1, ..Settings::default() };
    let cast = [("alice", "101"), ("alan", "101"), ("bob", "102")];
    Ladder::with(settings, &cast, &[], |_, _| {}).after(Duration::from_secs(100)).check(
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
           3000ms  alice breaks
           3000ms  alice dies
           4000ms  bob hangs up
           4000ms  bob     > pbx     BYE
           4000ms  pbx     > bob     200 BYE
            cdr    101 102 answered 2s
          10000ms  alan dials 102
          10000ms  alan    > pbx     INVITE 102
          10000ms  pbx     > alan    100
          10000ms  pbx     > alan    401
          10000ms  alan    > pbx     ACK
          10000ms  alan    > pbx     INVITE 102
          10000ms  pbx     > alan    100
          10000ms  pbx     > bob     INVITE 102
          10000ms  bob     > pbx     100
          10000ms  bob     > pbx     180
          10000ms  pbx     > alan    180
          12000ms  bob     > pbx     200 sdp
          12000ms  pbx     > bob     ACK
          12000ms  pbx     > alan    200 sdp
          12000ms  alan    > pbx     ACK
          14000ms  alan hangs up
          14000ms  alan    > pbx     BYE
          14000ms  pbx     > alan    200 BYE
          14000ms  pbx     > bob     BYE
          14000ms  bob     > pbx     200 BYE
            cdr    101 102 answered 2s
            heard  alice bob
            heard  alan bob
            heard  bob alice
            heard  bob alan
        ",
    );
}
