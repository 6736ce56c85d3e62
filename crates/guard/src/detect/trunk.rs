//! A carrier can't be reached, and not only for a moment.
//!
//! *The model.* Lines go down and come back by themselves within seconds: a restart, a new lease. Five
//! minutes are an outage that somebody should know of. *What it misses:* a line that comes and goes.
//! *What it mistakes:* a carrier's announced maintenance.

use std::collections::BTreeMap;
use std::time::Duration;

use pure::Utc;

use super::{At, Finding, insert_bounded, span};
use crate::fact::{Fact, Severity};
use crate::id::TrunkId;
use crate::incident::{Key, What, shown};

#[derive(Debug, Default)]
pub(super) struct TrunkDown {
    down: BTreeMap<TrunkId, Down>,
}

#[derive(Debug)]
struct Down {
    since: At,
    name: String,
    why: String,
    told: Option<Utc>,
}

impl TrunkDown {
    pub(super) fn observe(&mut self, at: At, fact: &Fact) -> Option<Finding> {
        match fact {
            Fact::TrunkDown { trunk, name, why, .. } => {
                let (name, why) = (name.clone(), why.clone());
                match self.down.get_mut(trunk) {
                    Some(down) => down.why = why,
                    None => {
                        let down = Down { since: at, name, why, told: None };
                        let since = |down: &Down| down.since.utc;
                        insert_bounded(&mut self.down, *trunk, down, TRUNKS_MAX, since);
                    }
                }
            }
            Fact::TrunkUp { trunk, .. } | Fact::TrunkRemoved { trunk, .. } => {
                self.down.remove(trunk);
            }
            _ => {}
        }
        None
    }

    pub(super) fn tick(&mut self, utc: Utc) -> Vec<Finding> {
        let mut found = Vec::new();
        for (trunk, down) in &mut self.down {
            let lasts = utc.since(down.since.utc);
            let told = down.told.is_some_and(|told| utc.since(told) < AGAIN);
            if lasts < LASTING || told {
                continue;
            }
            down.told = Some(utc);
            let words = format!(
                "Trunk {} has been down for {}: {}",
                shown(&down.name),
                span(lasts),
                shown(&down.why)
            );
            let at = At { utc, ..down.since };
            found.push(Finding::new(
                at,
                Key::Trunk(*trunk),
                What::TrunkDown,
                Severity::Warn,
                words,
            ));
        }
        found
    }
}

const LASTING: Duration = Duration::from_secs(300);
/// While it stays down it is said again inside the incident, which therefore stays open.
const AGAIN: Duration = Duration::from_secs(1_800);
/// `pbx` has no more trunks than that.
const TRUNKS_MAX: usize = 256;
