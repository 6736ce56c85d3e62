//! What administrators are shown of trunks.

use guard::gate::Algorithm;
use guard::id::TrunkId;
use pure::Now;

use super::Trunks;
use super::line::{Line, Stage};
use crate::command::{TrunkState, TrunkView};

impl Trunks {
    pub(crate) fn views(&self, now: Now, calls: impl Fn(TrunkId) -> usize) -> Vec<TrunkView> {
        let view = |line: &Line| TrunkView {
            trunk: line.trunk.clone(),
            state: line.state(now),
            places: line.next_places(now),
            tls: line.link().and_then(|link| link.tls.clone()),
            calls: calls(line.trunk.id),
            weaknesses: line.weaknesses(),
        };
        self.lines.values().map(view).collect()
    }
}

impl Line {
    fn state(&self, now: Now) -> TrunkState {
        if !self.trunk.enabled {
            return TrunkState::Disabled;
        }
        if let Stage::Up(up) = &self.stage {
            return TrunkState::Up { since: up.since, expires: up.expires };
        }
        let Some((trouble, since)) = &self.trouble else { return TrunkState::Connecting };
        let retry = match &self.stage {
            Stage::Waiting { retry, .. } => *retry,
            Stage::Idle
            | Stage::Locating { .. }
            | Stage::Connecting { .. }
            | Stage::Joining { .. }
            | Stage::Up(_) => now.utc,
        };
        TrunkState::Down { why: trouble.for_administrator(&self.trunk), since: *since, retry }
    }

    /// Where its next call would go: over a connection there; over UDP to each, the one that answers
    /// first.
    fn next_places(&self, now: Now) -> Vec<crate::io::Place> {
        let Some(link) = self.link().filter(|_| self.is_up()) else { return Vec::new() };
        let others = self.places.in_order(now.instant).into_iter();
        let others = others.filter(|place| !place.transport.is_reliable() && *place != link.place);
        std::iter::once(link.place).chain(others).collect()
    }

    /// What is configured weakly, and what turned out to be.
    pub(super) fn weaknesses(&self) -> Vec<&'static str> {
        let mut weak = self.trunk.weaknesses();
        let clear = "signalling is not encrypted";
        let in_clear = self.link().is_some_and(|link| !link.path.flow.transport.is_encrypted());
        if in_clear && !weak.contains(&clear) {
            weak.insert(0, clear);
        }
        if self.account.as_ref().is_some_and(|account| account.used() == Some(Algorithm::Md5)) {
            weak.retain(|weakness| *weakness != "digest may use MD5");
            weak.push("digest MD5");
        }
        weak
    }
}
