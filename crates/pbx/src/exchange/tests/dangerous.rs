//! What each defence is worth: the same call with it and without it.

use guard::cause::Disposition;
use guard::gate::Rule;
use guard::money::Money;
use guard::policy::{Policy, Scope};
use sip::Method;

use super::world::{World, offer, plain};
use crate::settings::Dangerous;

const DEAR: &str = "01137190123456";

/// Nothing may leave, and there is no money for it.
fn locked(policy: &mut Policy) {
    policy.lockdown.add(Scope::Operator);
    for budget in &mut policy.budgets {
        budget.hard = Some(Money::ZERO);
    }
}

#[test]
fn without_encryption_anybody_talks_in_clear() {
    let disposition = |dangerous| {
        let mut w = World::without(dangerous, |_| {});
        w.invite("alice", "102", Some(&plain("sendrecv")));
        w.phone("bob").last_request.as_ref().map(|request| request.method())
    };
    assert_eq!(disposition(Dangerous::default()), None);
    let off = Dangerous { without_encryption: true, ..Dangerous::default() };
    assert_eq!(disposition(off), Some(Method::Invite));
}

#[test]
fn without_the_gate_a_dear_number_rings_and_is_never_cut() {
    let mut w = World::without(Dangerous::default(), locked);
    w.invite("alice", DEAR, Some(&offer("sendrecv")));
    assert_eq!(w.dispositions(), [Disposition::Refused(Rule::Lockdown)]);

    let off = Dangerous { without_gate: true, ..Dangerous::default() };
    let mut w = World::without(off, locked);
    w.invite("alice", DEAR, Some(&offer("sendrecv")));
    w.reply("carrier", Method::Invite, 200, Some(&offer("sendrecv")));
    w.ack("alice", None);
    w.pass(200_000);
    assert!(w.cdrs.is_empty());
}

#[test]
fn without_emergency_a_call_for_help_is_a_call_like_another() {
    let mut w = World::without(Dangerous::default(), locked);
    w.invite("alice", "911", Some(&offer("sendrecv")));
    assert_eq!(w.phone("carrier").last_request.as_ref().map(|r| r.method()), Some(Method::Invite));

    let off = Dangerous { without_emergency: true, ..Dangerous::default() };
    let mut w = World::without(off, locked);
    w.invite("alice", "911", Some(&offer("sendrecv")));
    assert_eq!(w.dispositions(), [Disposition::Refused(Rule::Lockdown)]);
}
