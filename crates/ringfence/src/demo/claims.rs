//! What was claimed, what the system's own records say of it, and whether the actors saw the same.
//!
//! A claim holds where both agree. The records are read from the database after the node has gone down.

use std::collections::BTreeSet;

use guard::cause::Disposition;
use guard::fact::Fact;
use guard::gate::Rule;
use guard::id::NodeId;
use guard::journal::{self, Entry, Position};
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
    pub(super) tampering: Tampering,
}

/// What was done to copies of the journal, and how much of it was found out.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tampering {
    tried: u32,
    found: u32,
}

impl Tampering {
    /// Changes one fact, takes one out, turns two round and cuts the end off, each in a copy.
    pub(super) fn try_all(node: NodeId, entries: &[Entry], head: Position) -> Self {
        let mut tampering = Self::default();
        let middle = entries.len() / 2;
        let Some(last) = entries.len().checked_sub(1).filter(|_| middle > 0) else {
            return tampering;
        };
        let deeds: [fn(&mut Vec<Entry>, usize, usize); 4] = [
            |copy, middle, _| copy[middle].public.insert(1, ' '),
            |copy, middle, _| drop(copy.remove(middle)),
            |copy, middle, _| copy.swap(middle - 1, middle),
            |copy, _, last| copy.truncate(last),
        ];
        for deed in deeds {
            let mut copy = entries.to_vec();
            deed(&mut copy, middle, last);
            tampering.tried += 1;
            let verdict = journal::verify(node, Position::genesis(node), copy, Some(head));
            tampering.found += u32::from(verdict.is_err());
        }
        tampering
    }
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
        untouched(evidence),
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
    let found = evidence.calls.iter().find(of);
    let recorded = found.map(|call| call.disposition.to_string());
    let noted = evidence.facts.iter().any(|fact| {
        matches!(fact, Fact::LegNotEncrypted { call, .. } if Some(*call) == found.map(|found| found.call))
    });
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
        matches!(
            fact,
            Fact::GateDecided { call: of, permitted: false, rule: Rule::NotAllowedCountry, .. }
                if Some(*of) == call.map(|call| call.call)
        )
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
            // What was said before is the budget, and the seconds that ending takes.
            && theft.most.0.saturating_sub(theft.tail.0) <= theft.budget.0
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
    let same = sweep.existing == sweep.missing && !sweep.existing.is_empty();
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
    let noted = evidence.facts.iter().any(|fact| matches!(fact, Fact::GuessingHeld { .. }));
    // Without a hold, all was.
    let compared = guesses.compared.unwrap_or(guesses.tried);
    let held = noted && guesses.compared.is_some();
    Claim {
        name: "guessing",
        claim: "Of all guesses at most ten are compared with a password.",
        measured: format!(
            "{} passwords tried, the right one among them; {compared} compared, {}; {} got in",
            guesses.tried,
            if held { "then held" } else { "never held" },
            guesses.gains
        ),
        holds: guesses.sent > 0
            && guesses.gains == 0
            && (1..=COMPARED_MAX).contains(&compared)
            && held,
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
    let at = |which: fn(&Fact) -> bool| evidence.facts.iter().position(which);
    let called = at(|fact| matches!(fact, Fact::EmergencyCalled { .. }));
    let spent = at(|fact| matches!(fact, Fact::BudgetHard { .. }));
    let noted = called.is_some() && spent.is_some() && spent < called && seen.help_amid_attack;
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

fn untouched(evidence: &Evidence) -> Claim {
    let Tampering { tried, found } = evidence.tampering;
    let facts = evidence.facts.len() as u64;
    Claim {
        name: "journal",
        claim: "All of it stands in a journal that shows tampering.",
        measured: match &evidence.verified {
            Ok(entries) => format!(
                "{entries} entries, unbroken; {found} of {tried} changes to a copy were found out"
            ),
            Err(broken) => broken.clone(),
        },
        holds: facts > 0 && evidence.verified == Ok(facts) && tried > 0 && found == tried,
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

/// Guesses of one source that are compared with a secret. The right one comes next.
pub(super) const COMPARED_MAX: usize = 10;

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
            tampering: Tampering::default(),
        };
        let claims = judge(&Seen::default(), &nothing);
        assert_eq!(claims.len(), 8);
        for claim in claims {
            assert!(!claim.holds, "{claim:?}");
        }
    }
}
