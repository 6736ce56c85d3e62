//! Ladders through the exchange. Alice is extension 101; bob and carol are two phones of 102.

mod world;

use sip::Method;
use world::{World, offer};

#[test]
fn a_basic_call() {
    let mut w = World::new();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    w.reply("bob", Method::Invite, 180, None);
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
