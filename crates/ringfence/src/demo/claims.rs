//! What was claimed, what the system's own records say of it, and whether the actors saw the same.
//!
//! A claim holds where both agree. The records are read from the database after the node has gone down.

use std::collections::BTreeSet;

use guard::cause::Disposition;
use guard::fact::Fact;
use guard::gate::Rule;
use guard::money::Money;
use pbx::record::{Cdr, Toll};
use serde::Serialize;

use super::story::{DEAR_NUMBER, FORBIDDEN_NUMBER, Seen};
use crate::admin::amount;

/// What the node wrote down.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) calls: Vec<Cdr>,
    /// In the order of the journal.
    pub(super) facts: Vec<Fact>,
    /// Whether everything was locked under the policy by which the call for help was judged.
    pub(super) locked: bool,
    /// Entries of an unbroken chain, or where it breaks.
    pub(super) verified: Result<u64, String>,
}

/// One line of the summary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Claim {
    pub(super) name: &'static str,
    /// A sentence.
    pub(super) claim: &'static str,
    pub(super) measured: String,
    pub(super) holds: bool,
}

pub(super) fn judge(seen: &Seen, evidence: &Evidence) -> Vec<Claim> {
    vec![
        encryption(seen, evidence),
        clear(seen, evidence),
        country(seen, evidence),
        loss(seen, evidence),
        sweep(seen, evidence),
        guessing(seen, evidence),
        help(seen, evidence),
        journal(evidence),
    ]
}

fn encryption(seen: &Seen, evidence: &Evidence) -> Claim {
    let talk = &seen.talk;
    let call = evidence.calls.iter().find(|call| (&*call.from, &*call.to) == ("101", "102"));
    let suites: BTreeSet<&str> =
        call.iter().flat_map(|call| &call.legs).filter_map(|leg| leg.suite).collect();
    let both_legs = call.is_some_and(|call| {
        let encrypted = |leg: &pbx::record::CdrLeg| {
            leg.suite.is_some() && !leg.signalling.is_empty() && leg.weaknesses.is_empty()
        };
        call.legs.len() == 2 && call.legs.iter().all(encrypted) && carried_audio(call)
    });
    let [a, b] = &talk.keys;
    let apart = !a.is_empty() && !b.is_empty() && a.is_disjoint(b);
    let heard = talk.heard.iter().all(|packets| *packets > 0);
    let [first, second] = talk.heard;
    let suites: Vec<&str> = suites.into_iter().collect();
    Claim {
        name: "encryption",
        claim: "Calls are encrypted on each leg, with keys of its own.",
        measured: format!(
            "{}; {first} and {second} packets heard; {} keys, {} shared",
            if suites.is_empty() { "no SRTP".to_owned() } else { suites.join(", ") },
            a.union(b).count(),
            a.intersection(b).count(),
        ),
        holds: both_legs && apart && heard,
    }
}

fn clear(seen: &Seen, evidence: &Evidence) -> Claim {
    let of = |call: &&Cdr| (&*call.from, &*call.to) == ("104", "102");
    let recorded = evidence.calls.iter().find(of).map(|call| call.disposition.to_string());
    let noted = evidence.facts.iter().any(|fact| matches!(fact, Fact::LegNotEncrypted { .. }));
    let refused = recorded.as_deref() == Some(&Disposition::NotEncrypted.to_string());
    Claim {
        name: "clear-refused",
        claim: "Audio in clear is refused.",
        measured: format!(
            "the phone heard {}; the record says {}",
            status(seen.clear),
            recorded.as_deref().unwrap_or("nothing")
        ),
        holds: seen.clear == Some(488) && refused && noted,
    }
}

fn country(seen: &Seen, evidence: &Evidence) -> Claim {
    let call = evidence.calls.iter().find(|call| call.to == FORBIDDEN_NUMBER);
    let wanted = Disposition::Refused(Rule::NotAllowedCountry);
    let refused = call.is_some_and(|call| call.disposition == wanted && call.tolls.is_empty());
    let decided = evidence.facts.iter().any(|fact| {
        matches!(fact, Fact::GateDecided { permitted: false, rule: Rule::NotAllowedCountry, .. })
    });
    let rang = seen.carrier_called.iter().filter(|number| *number == FORBIDDEN_NUMBER).count();
    let recorded = call.map_or("nothing".to_owned(), |call| call.disposition.to_string());
    Claim {
        name: "country",
        claim: "A country that isn't allowed is refused before anything rings.",
        measured: format!(
            "the phone heard {}; the record says {recorded}; the carrier was asked {rang} times",
            status(seen.abroad)
        ),
        holds: seen.abroad.is_some() && refused && decided && rang == 0,
    }
}

fn loss(seen: &Seen, evidence: &Evidence) -> Claim {
    let theft = &seen.theft;
    let tolls = || evidence.calls.iter().flat_map(|call| &call.tolls);
    let own = Money(tolls().map(|toll| toll.cost.0).sum());
    // A call that used up all that was set aside for it was ended for want of more.
    let spent = |toll: &&Toll| toll.answered.is_some() && toll.cost >= toll.held;
    let cut = tolls().filter(spent).count();
    // The carrier's clock is not ours: it may count an increment more or less for each call.
    let slack: i64 = tolls().map(|toll| toll.rate.tail().0).sum();
    let agree = theft.bill.0.abs_diff(own.0) <= slack.unsigned_abs();
    let budget = Disposition::Refused(Rule::Budget);
    let refused = evidence.calls.iter().filter(|call| call.disposition == budget).count();
    let noted = evidence.facts.iter().any(|fact| matches!(fact, Fact::BudgetHard { .. }));
    let dialled = seen.carrier_called.iter().any(|number| number == DEAR_NUMBER);
    Claim {
        name: "loss",
        claim: "A stolen password costs no more than was said before.",
        measured: format!(
            "at most ${}; the carrier bills ${}, our records say ${}; {cut} calls cut while up, \
             {refused} refused",
            amount::text(theft.most),
            amount::text(theft.bill),
            amount::text(own),
        ),
        holds: theft.signed_in
            && dialled
            && theft.bill <= theft.most
            && agree
            && cut > 0
            && cut == theft.cut
            && theft.refused > 0
            && refused > 0
            && noted,
    }
}

fn sweep(seen: &Seen, evidence: &Evidence) -> Claim {
    let sweep = &seen.sweep;
    // What a scanner registered or rang would stand there under names of its own.
    let devices = |fact: &&Fact| matches!(fact, Fact::DeviceFirstSeen { .. });
    let devices = evidence.facts.iter().filter(devices).count();
    let same = sweep.existing == sweep.missing;
    Claim {
        name: "scanner",
        claim: "A scanner learns no extension and gains nothing.",
        measured: format!(
            "{} requests, {} gains; existing and missing extensions {}; {devices} phones known",
            sweep.asked,
            sweep.gains,
            if same { "answered alike" } else { "told apart" },
        ),
        // Three phones of the office and the thief's.
        holds: sweep.asked > 0 && sweep.gains == 0 && same && devices == 4,
    }
}

fn guessing(seen: &Seen, evidence: &Evidence) -> Claim {
    let guesses = &seen.guesses;
    // What was compared until each hold; without any, all was.
    let held = evidence.facts.iter().filter_map(|fact| match fact {
        Fact::GuessingHeld { failures, .. } => Some(u64::from(*failures)),
        _ => None,
    });
    let holds = held.clone().count();
    let compared = match holds {
        0 => guesses.tried as u64,
        _ => held.sum(),
    };
    Claim {
        name: "guessing",
        claim: "Of all guesses at most ten are compared with a password.",
        measured: format!(
            "{} passwords tried, the right one among them; {compared} compared, {}; {} got in",
            guesses.tried,
            if holds > 0 { "then held" } else { "never held" },
            guesses.gains
        ),
        holds: guesses.sent > 0 && guesses.gains == 0 && compared <= COMPARED_MAX && holds > 0,
    }
}

fn help(seen: &Seen, evidence: &Evidence) -> Claim {
    let talk = &seen.help;
    let [here, there] = talk.heard;
    let call = evidence.calls.iter().find(|call| call.emergency);
    let went_through = call.is_some_and(|call| {
        let by = call.decision.map(|decision| decision.rule);
        call.answered.is_some() && by == Some(Rule::Emergency) && carried_audio(call)
    });
    let noted = evidence.facts.iter().any(|fact| matches!(fact, Fact::EmergencyCalled { .. }));
    let state = if evidence.locked { "everything locked" } else { "nothing locked" };
    Claim {
        name: "emergency",
        claim: "911 goes through attack, lockdown and spent budget.",
        measured: format!(
            "{}, {state}; {here} and {there} packets heard",
            if talk.answered { "answered" } else { "NOT answered" }
        ),
        holds: talk.answered && here > 0 && there > 0 && went_through && noted && evidence.locked,
    }
}

fn journal(evidence: &Evidence) -> Claim {
    Claim {
        name: "journal",
        claim: "All of it stands in a journal that shows tampering.",
        measured: match &evidence.verified {
            Ok(entries) => format!("{entries} entries, unbroken"),
            Err(broken) => broken.clone(),
        },
        holds: evidence.verified.is_ok(),
    }
}

/// Whether audio came from both sides.
fn carried_audio(call: &Cdr) -> bool {
    let carried =
        |leg: &pbx::record::CdrLeg| leg.quality.as_ref().is_some_and(|quality| quality.packets > 0);
    call.legs.len() >= 2 && call.legs.iter().all(carried)
}

fn status(status: Option<u16>) -> String {
    status.map_or_else(|| "no refusal".to_owned(), |status| status.to_string())
}

/// Guesses of one source that are compared with a secret.
const COMPARED_MAX: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_holds_that_nobody_saw_or_wrote_down() {
        let nothing = Evidence {
            calls: Vec::new(),
            facts: Vec::new(),
            locked: false,
            verified: Err("it was not read".to_owned()),
        };
        let claims = judge(&Seen::default(), &nothing);
        assert_eq!(claims.len(), 8);
        for claim in claims {
            assert!(!claim.holds, "{claim:?}");
        }
    }
}
