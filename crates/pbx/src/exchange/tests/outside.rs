//! Ladders to and from carriers. `carrier` is tried first, `second` after it.

use std::time::Duration;

use guard::cause::Disposition;
use guard::fact::Fact;
use guard::gate::Rule;
use guard::id::{ExtensionId, TrunkId};
use guard::ledger::Window;
use guard::money::Money;
use guard::policy::{Account, Budget, Lockdown, Scope};
use sip::{Method, Name, Request};

use super::world::{World, offer, plain};
use crate::command::{Change, Command, NoWay, Reply};
use crate::io::{Input, PersistError, Ticket};
use crate::settings::Settings;

const NUMBER: &str = "12125550177";

fn reason(w: &mut World) -> String {
    let answer = w.phone("alice").last_answer.clone().expect("an answer");
    answer.headers().get(Name::Reason).unwrap_or_default().to_owned()
}

fn daily(hard: i64) -> Budget {
    Budget { of: Account::EachExtension, window: Window::Day, soft: None, hard: Some(Money(hard)) }
}

/// Alice talks to somebody outside.
fn talking(w: &mut World) {
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
    w.ack("alice", None);
}

fn spent(w: &World) -> i64 {
    let of_day = w.spends.iter().filter(|(bucket, _)| {
        bucket.window == Window::Day && matches!(bucket.account, Scope::Extension(_))
    });
    of_day.map(|(_, money)| money.0).sum()
}

#[test]
fn a_call_outside_and_its_cost() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 180, None);
    w.pass(2_000);
    w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
    w.ack("alice", None);
    w.pass(29_500);
    w.within("alice", Method::Bye, None);
    w.reply("carrier", Method::Bye, 200, None);
    w.check(
        "
            0ms  alice   > pbx      INVITE 12125550177 sdp
            0ms  pbx     > carrier  INVITE +12125550177 sdp
            0ms  carrier > pbx      180
            0ms  pbx     > alice    180
         2000ms  carrier > pbx      200 sdp
         2000ms  pbx     > carrier  ACK
         2000ms  pbx     > alice    200 sdp
         2000ms  alice   > pbx      ACK
        31500ms  alice   > pbx      BYE
        31500ms  pbx     > alice    200 BYE
        31500ms  pbx     > carrier  BYE
        31500ms  carrier > pbx      200 BYE
        cdr      101 12125550177 answered 29s
        ",
    );
    let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
    assert_eq!((toll.number.as_str(), toll.seconds), ("+12125550177", 30));
    assert_eq!(Some(toll.cost), toll.rate.cost(30));
    assert!(toll.cost > Money::ZERO && toll.cost <= toll.held);
    assert_eq!(spent(&w), toll.cost.0);
    assert!(w.snapshots.is_empty());
    let held: usize =
        w.exchange.live().iter().filter(|(what, _)| *what == "holds").map(|l| l.1).sum();
    assert_eq!(held, 0);
}

#[test]
fn the_carrier_is_told_a_number_of_ours() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    let invite = w.phone("carrier").last_request.clone().expect("the INVITE");
    let from = invite.headers().get(Name::From).expect("judged");
    assert!(from.starts_with("<sip:+12125550100@carrier.test>"), "{from}");
    let asserted = invite.headers().get(Name::PAssertedIdentity);
    assert_eq!(asserted, Some("<sip:+12125550100@carrier.test>"));
    assert!(invite.headers().get(Name::SessionExpires).is_some());
    let text = String::from_utf8_lossy(invite.as_bytes()).into_owned();
    assert!(!text.contains("Desk 101") && !text.contains("alice"), "{text}");
}

#[test]
fn what_is_not_allowed_is_said_to_the_phone() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", "01137190123456", Some(&offer("sendrecv")));
    w.check(
        "
        0ms  alice > pbx    INVITE 01137190123456 sdp
        0ms  pbx   > alice  403
        cdr  101 01137190123456 refused:not-allowed-class 0s
        ",
    );
    assert!(reason(&mut w).contains("not allowed from this phone"));
}

#[test]
fn the_invite_waits_for_the_disk_and_a_call_for_help_does_not() {
    let mut w = World::with_carriers(|_| {});
    w.slow_store = true;
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.check("0ms alice > pbx INVITE 12125550177 sdp");
    w.store();
    w.check("0ms pbx > carrier INVITE +12125550177 sdp");
    w.slow_store = true;
    w.invite("bob", "911", Some(&offer("sendrecv")));
    w.check("0ms bob > pbx INVITE 911 sdp\n0ms pbx > carrier INVITE 911 sdp");
}

#[test]
fn another_way_where_the_carrier_fails_and_none_where_the_person_says_no() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 503, None);
    w.reply("second", Method::Invite, 486, None);
    w.check(
        "
        0ms  alice   > pbx      INVITE 12125550177 sdp
        0ms  pbx     > carrier  INVITE +12125550177 sdp
        0ms  carrier > pbx      503
        0ms  pbx     > carrier  ACK
        0ms  pbx     > second   INVITE +12125550177 sdp
        0ms  second  > pbx      486
        0ms  pbx     > second   ACK
        0ms  pbx     > alice    486
        cdr  101 12125550177 busy 0s
        ",
    );
    assert_eq!(w.cdrs[0].tolls.len(), 2);
    assert!(w.cdrs[0].tolls.iter().all(|toll| toll.cost == Money::ZERO));
    assert_eq!(spent(&w), 0);
}

/// 503 is the carrier's lines being taken, and not ours.
#[test]
fn a_full_carrier_is_called_so() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    for name in ["carrier", "second"] {
        w.reply(name, Method::Invite, 503, None);
    }
    assert_eq!(w.dispositions(), [Disposition::Failed]);
    assert!(reason(&mut w).contains("The carrier has no line free."), "{}", reason(&mut w));
}

/// What explains says which call would fail though every rule allows it: 911 first of all.
#[test]
fn no_trunk_in_service_is_told_before_anybody_needs_one() {
    let mut w = World::with_carriers(|_| {});
    let no_way = |w: &mut World, dialled: &str| {
        let extension = w.cdrs.first().and_then(|cdr| cdr.responsible).expect("alice called");
        let dialled = dialled.to_owned();
        match w.command(Command::Explain { extension, dialled }) {
            Reply::Explained(one) => (one.permitted, one.no_way),
            other => panic!("{other:?}"),
        }
    };
    let help = |w: &mut World| match w.command(Command::Status) {
        Reply::Status(status) => status.help_no_way,
        other => panic!("{other:?}"),
    };
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 486, None);
    assert_eq!(no_way(&mut w, "911"), (true, None));
    assert_eq!(no_way(&mut w, NUMBER), (true, None));
    assert_eq!(help(&mut w), None);
    let Reply::Trunks(trunks) = w.command(Command::Trunks) else { panic!("trunks") };
    for view in trunks {
        let trunk = Box::new(crate::directory::Trunk { enabled: false, ..view.trunk });
        let actor = guard::access::Actor::System;
        w.command(Command::Change { actor, change: Change::SetTrunk { trunk, secret: None } });
    }
    assert_eq!(no_way(&mut w, "911"), (true, Some(NoWay::AllDisabled)));
    assert_eq!(no_way(&mut w, NUMBER), (true, Some(NoWay::AllDisabled)));
    assert_eq!(no_way(&mut w, "102"), (true, None), "inside needs no trunk");
    assert_eq!(help(&mut w), Some(NoWay::AllDisabled));
}

#[test]
fn a_carrier_that_says_nothing_is_left() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.pass(4_000);
    w.reply("second", Method::Invite, 200, Some(&offer("sendrecv")));
    // The first answers after all: it is hung up, and its time is paid for.
    w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Bye, 200, None);
    w.ack("alice", None);
    w.check(
        "
           0ms  alice   > pbx      INVITE 12125550177 sdp
           0ms  pbx     > carrier  INVITE +12125550177 sdp
        4000ms  pbx     > second   INVITE +12125550177 sdp
        4000ms  second  > pbx      200 sdp
        4000ms  pbx     > second   ACK
        4000ms  pbx     > alice    200 sdp
        4000ms  carrier > pbx      200 sdp
        4000ms  pbx     > carrier  ACK
        4000ms  pbx     > carrier  BYE
        4000ms  carrier > pbx      200 BYE
        4000ms  alice   > pbx      ACK
        ",
    );
}

#[test]
fn the_budget_ends_the_call() {
    // A minute of a national call is two cents or so: what fits is less than a day.
    let mut w = World::with_carriers(|policy| policy.budgets = vec![daily(30_000)]);
    talking(&mut w);
    // Answered at once, as a carrier does: the bill ends there.
    while w.cdrs.is_empty() {
        w.pass(250);
        for name in ["carrier", "alice"] {
            w.reply_if(name, Method::Bye, 200);
        }
    }
    let Some(Disposition::Answered) = w.dispositions().pop() else { panic!("{:?}", w.cdrs) };
    let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
    assert!(toll.held <= Money(30_000) && toll.cost <= toll.held, "{toll:?}");
    // It used what there was, to the last increment that fitted.
    let more = toll.rate.cost(toll.seconds + u64::from(toll.rate.increment.max(1)));
    assert!(more.expect("small") > Money(30_000), "{toll:?}");
    assert!(w.facts.iter().any(|fact| matches!(fact, Fact::BudgetHard { .. })));
    // Record and journal say what cut it.
    let by = w.cdrs[0].ended_by.0.clone().expect("it was cut");
    assert!(by.starts_with("the day budget of "), "{by}");
    let told = w.facts.iter().find(|fact| matches!(fact, Fact::CallEnded { .. }));
    assert!(told.is_some_and(|fact| fact.to_string().contains(&by)), "{told:?}");
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    assert_eq!(w.dispositions().pop(), Some(Disposition::Refused(Rule::Budget)));
    assert!(reason(&mut w).contains("budget"));
}

#[test]
fn an_honest_call_is_extended_as_long_as_it_is_paid_for() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(300_000);
    assert!(w.cdrs.is_empty());
    let extended = w.facts.iter().filter(|fact| matches!(fact, Fact::MoneyHeld { .. })).count();
    assert!(extended >= 5, "{extended} steps in five minutes");
    w.within("carrier", Method::Bye, None);
    w.reply("alice", Method::Bye, 200, None);
    assert_eq!(w.cdrs[0].tolls[0].seconds, 300);
    assert_eq!(w.cdrs[0].ended_by.0, None);
}

#[test]
fn a_lockdown_reaches_calls_that_are_up() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    w.set_policy(|policy| policy.lockdown = Lockdown::new([Scope::Operator]));
    for name in ["carrier", "alice"] {
        w.reply(name, Method::Bye, 200, None);
    }
    assert_eq!(w.dispositions(), [Disposition::Answered]);
    assert_eq!(w.cdrs[0].tolls[0].seconds, 10);
    assert_eq!(w.cdrs[0].ended_by.0.as_deref(), Some("a lockdown"));
}

#[test]
fn a_call_from_outside_rings_the_house() {
    let mut w = World::with_carriers(|_| {});
    w.call_in("carrier", "+12125550101", &offer("sendrecv"));
    w.reply("carol", Method::Invite, 180, None);
    w.reply("bob", Method::Invite, 200, Some(&offer("sendrecv")));
    w.settle_forks();
    w.ack("carrier", None);
    w.within("bob", Method::Bye, None);
    w.reply("carrier", Method::Bye, 200, None);
    w.check(
        "
        0ms  carrier > pbx      INVITE +12125550101 sdp
        0ms  pbx     > bob      INVITE 102 sdp
        0ms  pbx     > carol    INVITE 102 sdp
        0ms  carol   > pbx      180
        0ms  pbx     > carrier  180
        0ms  bob     > pbx      200 sdp
        0ms  pbx     > bob      ACK
        0ms  pbx     > carol    CANCEL
        0ms  pbx     > carrier  200 sdp
        0ms  carol   > pbx      200 CANCEL
        0ms  carol   > pbx      487
        0ms  pbx     > carol    ACK
        0ms  carrier > pbx      ACK
        0ms  bob     > pbx      BYE
        0ms  pbx     > bob      200 BYE
        0ms  pbx     > carrier  BYE
        0ms  carrier > pbx      200 BYE
        cdr  +14155550123 +12125550101 answered 0s
        ",
    );
    let shown = w.phone("bob").last_request.clone().expect("something");
    assert!(shown.headers().get(Name::To).is_some());
    w.call_in("carrier", "+12125550999", &offer("sendrecv"));
    assert_eq!(w.dispositions().pop(), Some(Disposition::NotFound));
}

#[test]
fn help_goes_out_whatever_the_rules_say() {
    let mut w = World::with_carriers(|policy| {
        policy.lockdown = Lockdown::new([Scope::Operator]);
        policy.budgets = vec![daily(0)];
        for role in policy.roles.values_mut() {
            role.classes.clear();
            role.calls_max = 0;
        }
    });
    w.invite("alice", "911", Some(&offer("sendrecv")));
    let invite = w.phone("carrier").last_request.clone().expect("the INVITE");
    w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
    w.ack("alice", None);
    w.check(
        "
        0ms  alice   > pbx      INVITE 911 sdp
        0ms  pbx     > carrier  INVITE 911 sdp
        0ms  carrier > pbx      200 sdp
        0ms  pbx     > carrier  ACK
        0ms  pbx     > alice    200 sdp
        0ms  alice   > pbx      ACK
        ",
    );
    let asserted = invite.headers().get(Name::PAssertedIdentity);
    assert_eq!(
        asserted,
        Some("<sip:+12125550100@carrier.test>"),
        "somebody must be able to call back"
    );
}

#[test]
fn help_takes_plain_audio_and_another_ones_line() {
    let mut w = World::with_carriers(|_| {});
    for name in ["alice", "bob"] {
        w.invite(name, NUMBER, Some(&offer("sendrecv")));
        w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
        w.ack(name, None);
    }
    w.pass(1_000);
    w.clear();
    w.invite("carol", "911", Some(&plain("sendrecv")));
    w.check(
        "
        1000ms  carol   > pbx      INVITE 911 sdp
        1000ms  pbx     > bob      BYE
        1000ms  pbx     > carrier  BYE
        1000ms  pbx     > carrier  INVITE 911 sdp
        ",
    );
    assert!(w.facts.iter().any(|fact| matches!(fact, Fact::CallPreempted { .. })));
    w.reply("carrier", Method::Invite, 488, None);
    w.check(
        "
        1000ms  carrier > pbx      488
        1000ms  pbx     > carrier  ACK
        1000ms  pbx     > carrier  INVITE 911 sdp
        ",
    );
    w.reply("carrier", Method::Invite, 200, Some(&plain("sendrecv")));
    let answered = w.phone("carol").answered();
    assert!(answered.contains("RTP/AVP"), "{answered}");
}

#[test]
fn help_goes_another_way_where_the_carrier_is_gone() {
    let mut w = World::with_carriers(|_| {});
    w.lose("carrier");
    w.invite("alice", "911", Some(&offer("sendrecv")));
    w.check_ends_with("pbx > second INVITE 911 sdp");
}

#[test]
fn help_goes_out_in_clear_where_no_encrypted_way_is_left() {
    let mut w = World::with_carriers(|_| {});
    w.unreachable = true;
    w.lose("carrier");
    w.lose("second");
    w.invite("alice", "911", Some(&offer("sendrecv")));
    w.reply("plain", Method::Invite, 200, Some(&plain("sendrecv")));
    w.check(
        "
        0ms  alice > pbx    INVITE 911 sdp
        0ms  pbx   > plain  INVITE 911 sdp
        0ms  plain > pbx    200 sdp
        0ms  pbx   > plain  ACK
        0ms  pbx   > alice  200 sdp
        ",
    );
    // The honest caller of anything else is told that there is no line.
    w.invite("bob", NUMBER, Some(&offer("sendrecv")));
    w.check_ends_with("cdr 102 12125550177 failed 0s");
}

#[test]
fn a_crash_loses_no_money() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    w.crash();
    // The line is up again: the orphan is hung up, and costs until that is confirmed.
    w.pass(5_000);
    w.reply("carrier", Method::Bye, 200, None);
    assert_eq!(w.dispositions(), [Disposition::Interrupted]);
    let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
    assert_eq!(toll.seconds, 15);
    assert!(toll.cost > Money::ZERO);
    assert_eq!(spent(&w), toll.cost.0);
}

#[test]
fn a_carrier_that_vanishes_costs_no_more_than_the_silence_allowed() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(5_000);
    let endpoint = *w
        .armed
        .iter()
        .find(|(_, config)| config.silence_limit == Some(Duration::from_secs(60)))
        .expect("the carrier's leg")
        .0;
    w.silence_of(endpoint);
    w.pass(40_000);
    let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
    assert!(toll.cost <= toll.held, "{toll:?}");
}

fn transactions(w: &World) -> usize {
    w.exchange.live().iter().find(|(what, _)| *what == "transactions").expect("counted").1
}

fn hangs_up(w: &mut World) {
    w.within("alice", Method::Bye, None);
}

fn unconfirmed(w: &World) -> usize {
    w.facts.iter().filter(|fact| matches!(fact, Fact::EndUnconfirmed { .. })).count()
}

#[test]
fn a_bye_that_the_carrier_refuses_is_said_again() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    hangs_up(&mut w);
    w.reply("carrier", Method::Bye, 503, None);
    assert!(w.cdrs.is_empty(), "a carrier that refuses our BYE still bills");
    w.pass(2_000);
    w.check_ends_with("12000ms pbx > carrier BYE");
    w.reply("carrier", Method::Bye, 200, None);
    assert_eq!(w.dispositions(), [Disposition::Answered]);
    assert_eq!(w.cdrs[0].tolls[0].seconds, 12, "it counted until it took the BYE");
    assert_eq!(unconfirmed(&w), 0);
}

#[test]
fn an_end_that_a_carrier_never_confirms_costs_all_that_was_set_aside_and_is_told() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    hangs_up(&mut w);
    for wait in [2, 4, 8, 16, 30, 30] {
        w.reply("carrier", Method::Bye, 500, None);
        w.pass(wait * 1_000);
        assert!(w.cdrs.is_empty());
    }
    w.reply("carrier", Method::Bye, 500, None);
    let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
    assert_eq!(toll.cost, toll.held);
    assert_eq!((spent(&w), unconfirmed(&w)), (toll.held.0, 1));
}

#[test]
fn a_late_answer_to_our_bye_costs_an_increment_at_most() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    hangs_up(&mut w);
    w.pass(25_000);
    w.reply("carrier", Method::Bye, 200, None);
    let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
    assert_eq!(toll.seconds, 10 + u64::from(toll.rate.increment).min(25));
}

#[test]
fn after_a_crash_a_refused_bye_is_said_again_and_at_last_told() {
    for refusals in [1, 7] {
        let mut w = World::with_carriers(|_| {});
        talking(&mut w);
        w.pass(10_000);
        w.crash();
        for wait in [2, 4, 8, 16, 30, 30, 0].into_iter().take(refusals) {
            assert!(w.cdrs.is_empty(), "the carrier hasn't agreed");
            w.reply("carrier", Method::Bye, 503, None);
            w.pass(wait * 1_000);
        }
        if refusals == 1 {
            w.reply("carrier", Method::Bye, 481, None);
        }
        assert_eq!(w.dispositions(), [Disposition::Interrupted]);
        let [toll] = w.cdrs[0].tolls.as_slice() else { panic!("one leg outside") };
        match refusals {
            1 => assert_eq!((toll.seconds, unconfirmed(&w)), (12, 0)),
            _ => assert_eq!((toll.cost, unconfirmed(&w)), (toll.held, 1)),
        }
        assert_eq!(spent(&w), toll.cost.0);
    }
}

fn locked(w: &mut World, trunks: &[u32]) {
    let scopes: Vec<Scope> = trunks.iter().map(|id| Scope::Trunk(TrunkId(*id))).collect();
    w.set_policy(|policy| policy.lockdown = Lockdown::new(scopes));
}

#[test]
fn a_locked_trunk_takes_nothing_out_but_help() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    locked(&mut w, &[1]);
    for name in ["carrier", "alice"] {
        w.reply(name, Method::Bye, 200, None);
    }
    assert_eq!(w.cdrs[0].tolls[0].seconds, 10, "what is up is judged anew");
    w.clear();
    w.invite("bob", NUMBER, Some(&offer("sendrecv")));
    w.check_ends_with("pbx > second INVITE +12125550177 sdp");
    locked(&mut w, &[1, 2]);
    w.invite("carol", NUMBER, Some(&offer("sendrecv")));
    assert_eq!(w.dispositions().pop(), Some(Disposition::Refused(Rule::Lockdown)));
    let (extension, dialled) = (ExtensionId(101), NUMBER.to_owned());
    let Reply::Explained(told) = w.command(Command::Explain { extension, dialled }) else {
        panic!("an explanation")
    };
    assert_eq!((told.decision.rule, told.permitted), (Rule::Lockdown, false));
    w.invite("alice", "911", Some(&offer("sendrecv")));
    w.check_ends_with("pbx > carrier INVITE 911 sdp");
}

#[test]
fn help_goes_on_where_a_carrier_takes_it_and_does_not_ring() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", "911", Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 100, None);
    w.pass(7_900);
    w.check_ends_with("pbx > carrier INVITE 911 sdp");
    w.pass(100);
    w.check_ends_with("8000ms pbx > second INVITE 911 sdp");
    // The first may still answer; here the second is quicker.
    w.reply("second", Method::Invite, 200, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Cancel, 200, None);
    w.reply("carrier", Method::Invite, 487, None);
    w.ack("alice", None);
    assert_eq!(w.phone("alice").last_answer.clone().expect("an answer").status().code(), 200);
    // A carrier that rings is left in peace.
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", "911", Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 180, None);
    w.clear();
    w.pass(20_000);
    w.check("");
}

#[test]
fn of_four_calls_for_help_one_gives_way_to_its_own() {
    let mut w = World::with_carriers(|_| {});
    w.invite("bob", "911", Some(&offer("sendrecv")));
    for _ in 0..4 {
        w.pass(10);
        w.invite("alice", "911", Some(&offer("sendrecv")));
    }
    let gave: Vec<_> = w
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::HelpGaveWay { call, .. } => Some(*call),
            _ => None,
        })
        .collect();
    let first = w.facts.iter().filter_map(|fact| match fact {
        Fact::EmergencyCalled { call, .. } => Some(*call),
        _ => None,
    });
    assert_eq!(gave, Vec::from_iter(first.skip(1).take(1)), "the oldest of alice's");
}

#[test]
fn whoever_may_not_call_any_more_gets_no_further_paid_time() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    let change = Change::SetEnabled { extension: ExtensionId(101), enabled: false };
    let actor = guard::access::Actor::System;
    assert_eq!(w.command(Command::Change { actor, change }), Reply::Done);
    w.pass(40_000);
    assert_eq!(w.phone("carrier").last_request.clone().expect("one").method(), Method::Ack);
    w.pass(10_000);
    for name in ["carrier", "alice"] {
        w.reply(name, Method::Bye, 200, None);
    }
    assert_eq!(w.cdrs[0].tolls[0].seconds, 60);
}

#[test]
fn on_a_carriers_leg_the_session_is_ours_whatever_it_says() {
    let mut w = World::with_carriers(|_| {});
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    let sdp = offer("sendrecv");
    w.reply_with("carrier", Method::Invite, 200, Some(&sdp), |answer| {
        answer.header(Name::SessionExpires, "86400;refresher=uas")
    });
    w.ack("alice", None);
    w.pass(299_000);
    assert_eq!(w.phone("carrier").last_request.clone().expect("one").method(), Method::Ack);
    w.pass(1_100);
    assert_eq!(w.phone("carrier").last_request.clone().expect("one").method(), Method::Invite);
    // It is gone: nobody answers, and the call ends.
    w.pass(300_000);
    assert!(w.log_has("pbx > alice BYE"), "the call has ended");
}

#[test]
fn calls_in_leave_a_line_for_calls_out() {
    let mut w = World::with_lines(Settings::default(), 4);
    for _ in 0..3 {
        w.call_in("carrier", "+12125550101", &offer("sendrecv"));
    }
    let busy = |w: &World| w.dispositions().contains(&Disposition::Busy);
    assert!(!busy(&w));
    w.call_in("carrier", "+12125550101", &offer("sendrecv"));
    assert!(busy(&w), "the fourth line is for calls out");
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.check_ends_with("pbx > carrier INVITE +12125550177 sdp");
}

#[test]
fn nobody_outside_is_shown_as_one_of_us() {
    for (shown, caller, seen) in [
        ("Grace", "+14155550123", "Grace"),
        ("desk 101", "+14155550123", "+14155550123"),
        ("Grace", "101", "anonymous"),
        ("Grace", "911", "anonymous"),
    ] {
        let mut w = World::with_carriers(|_| {});
        w.call_in_as("carrier", "+12125550101", &offer("sendrecv"), (shown, caller));
        let invite = w.phone("bob").last_request.clone().expect("it rings");
        let from = invite.headers().get(Name::From).expect("judged").to_owned();
        assert!(from.contains(seen), "{shown} {caller}: {from}");
        let ours = ["esk 101", "sip:101@", "sip:911@"];
        assert!(!ours.iter().any(|own| from.contains(own)), "{shown} {caller}: {from}");
    }
}

#[test]
fn help_leaves_though_the_table_is_full() {
    let settings =
        Settings { transactions_max: 10, transactions_per_path_max: 10, ..Settings::default() };
    let mut w = World::with_lines(settings, 2);
    // Each call of alice's is her INVITE and two of ours, to the phones that ring.
    for _ in 0..4 {
        w.invite("alice", "102", Some(&offer("sendrecv")));
    }
    w.clear();
    w.invite("bob", NUMBER, Some(&offer("sendrecv")));
    assert!(!w.log_has("carrier"), "the table is full");
    w.invite("carol", "911", Some(&offer("sendrecv")));
    w.check_ends_with("pbx > carrier INVITE 911 sdp");
}

#[test]
fn a_neighbour_is_not_redialled_without_end() {
    let mut w = World::with_carriers(|_| {});
    let mut rung = 0;
    for _ in 0..30 {
        w.clear();
        w.invite("alice", "102", Some(&offer("sendrecv")));
        rung += u32::from(w.log_has("pbx > bob INVITE"));
        w.reply_if("bob", Method::Invite, 486);
        w.reply_if("carol", Method::Invite, 486);
    }
    assert_eq!(rung, 10, "two phones ring each time");
    w.invite("alice", "911", Some(&offer("sendrecv")));
    w.check_ends_with("pbx > carrier INVITE 911 sdp");
    // Whoever waits a little rings again.
    w.pass(2_000);
    w.clear();
    w.invite("alice", "102", Some(&offer("sendrecv")));
    assert!(w.log_has("pbx > bob INVITE"));
}

#[test]
fn a_reset_that_the_disk_refuses_changes_nothing() {
    let mut w = World::with_carriers(|_| {});
    talking(&mut w);
    w.pass(10_000);
    hangs_up(&mut w);
    w.reply("carrier", Method::Bye, 200, None);
    let cost = spent(&w);
    let left = |w: &mut World| match w.command(Command::Budgets) {
        Reply::Budgets(rows) => rows.iter().map(|row| row.spent.0).max().unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert_eq!(left(&mut w), cost);
    for (result, stays) in [(Err(PersistError::Full), cost), (Ok(()), 0)] {
        w.slow_store = true;
        for account in [Scope::Extension(ExtensionId(101)), Scope::Operator] {
            let change = Change::ResetBudget { account };
            let actor = guard::access::Actor::System;
            let command = Command::Change { actor, change };
            w.exchange.handle(w.now(), Input::Command { ticket: Ticket(77), command });
        }
        w.run();
        assert_eq!(left(&mut w), cost, "not before it is durable");
        for ticket in std::mem::take(&mut w.held) {
            w.exchange.handle(w.now(), Input::Persisted { ticket, result });
        }
        w.run();
        assert_eq!(left(&mut w), stays, "{result:?}");
    }
    let refused = |fact: &&Fact| matches!(fact, Fact::ChangeRefused { change, .. } if change == "budget-reset");
    assert_eq!(w.facts.iter().filter(refused).count(), 2);
    // The other two were made, and nothing says so of the first.
    let made = w.facts.iter().filter(|fact| matches!(fact, Fact::BudgetReset { .. }));
    assert_eq!(made.count(), 2);
}

#[test]
fn what_a_carrier_challenges_within_a_call_is_said_once_more() {
    let mut w = World::with_an_account();
    talking(&mut w);
    let press = |w: &mut World, key: char| {
        let info = w.request_within("alice", Method::Info, |info| {
            info.body("application/dtmf-relay", format!("Signal={key}\r\nDuration=160\r\n"))
        });
        w.transmit("alice", info);
    };
    // Two keys in one breath: each is said again with its own digit.
    press(&mut w, '5');
    press(&mut w, '#');
    let said = |w: &mut World| -> Vec<(String, u32, bool)> {
        let pending = w.phone("carrier").asked(&Method::Info);
        let one = |info: &Request| {
            let body = String::from_utf8_lossy(info.body()).into_owned();
            let key = body.lines().next().unwrap_or_default().to_owned();
            let proved = info.headers().get(Name::ProxyAuthorization).is_some();
            (key, info.headers().cseq().number, proved)
        };
        pending.iter().map(one).collect()
    };
    let first = said(&mut w);
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|(_, _, proved)| !proved));
    w.challenge("carrier", Method::Info);
    w.challenge("carrier", Method::Info);
    let again = said(&mut w);
    assert_eq!(again.len(), 2);
    for (before, after) in first.iter().zip(&again) {
        assert_eq!(before.0, after.0);
        assert!(after.1 > before.1 && after.2, "{before:?} {after:?}");
    }
    // The password isn't taken: that is the end of this key, and the call goes on.
    w.challenge("carrier", Method::Info);
    assert_eq!(said(&mut w), again[1..]);
    w.reply("carrier", Method::Info, 200, None);
    hangs_up(&mut w);
    w.reply("carrier", Method::Bye, 200, None);
    assert_eq!(w.dispositions(), [Disposition::Answered]);
}

#[test]
fn a_challenged_refresh_is_repeated_as_what_it_was() {
    let mut w = World::with_an_account();
    w.invite("alice", NUMBER, Some(&offer("sendrecv")));
    w.reply_with("carrier", Method::Invite, 200, Some(&offer("sendrecv")), |answer| {
        answer.header(Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE")
    });
    w.ack("alice", None);
    let mut waited = 0;
    while !w.log_has("pbx > carrier UPDATE") {
        assert!(waited < 3_600, "it never refreshed");
        w.pass(10_000);
        waited += 10;
    }
    w.challenge("carrier", Method::Update);
    let asked = w.phone("carrier").asked(&Method::Update);
    let [again] = asked.as_slice() else { panic!("{asked:?}") };
    let proof = again.headers().get(Name::ProxyAuthorization).expect("credentials").to_owned();
    assert!(again.headers().get(Name::SessionExpires).is_some());
    assert!(again.body().is_empty() && proof.contains("username=\"4711\""));
    w.reply("carrier", Method::Update, 200, None);
    hangs_up(&mut w);
    w.reply("carrier", Method::Bye, 200, None);
}

#[test]
fn under_pressure_a_carriers_useless_call_takes_no_room() {
    let settings = Settings { transactions_per_path_max: 3, ..Settings::default() };
    let mut w = World::with_lines(settings, 4);
    let heard = |w: &mut World| w.phone("carrier").last_answer.clone().expect("an answer");
    for _ in 0..2 {
        w.call_in("carrier", "+12125550101", &offer("sendrecv"));
    }
    let before = transactions(&w);
    w.call_in("carrier", "+12125550999", &offer("sendrecv"));
    assert_eq!(heard(&mut w).status().code(), 404);
    assert_eq!((transactions(&w), w.cdrs.len()), (before, 0));
    // Without pressure it is a call like others, and in the records.
    let mut calm = World::with_lines(Settings::default(), 4);
    calm.call_in("carrier", "+12125550999", &offer("sendrecv"));
    assert_eq!((heard(&mut calm).status().code(), calm.cdrs.len()), (404, 1));
}
