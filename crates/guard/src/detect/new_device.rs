//! A phone signed in that was never seen before.
//!
//! *The model.* A device is told by its instance id, else by what it says of itself; a stolen secret in
//! a thief's software is a new one. The first device of an extension that was added within a day is
//! its owner at work.
//!
//! *What it misses.* A thief who copies the instance id of the real phone (`new_place` may see that), and
//! one who is faster than the owner with a new extension. *What it mistakes:* a phone that was reset or
//! replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use pure::Utc;

use super::{At, Finding, insert_bounded, source};
use crate::fact::{Fact, Severity};
use crate::id::ExtensionId;
use crate::incident::{Key, What, shown};

/// Extensions that were added a short time ago and have no device yet.
#[derive(Debug, Default)]
pub(super) struct NewDevice {
    awaited: BTreeMap<ExtensionId, Utc>,
}

impl NewDevice {
    pub(super) fn observe(&mut self, at: At, fact: &Fact) -> Option<Finding> {
        let (device, extension, agent, address) = match fact {
            Fact::ExtensionAdded { extension, .. } => {
                insert_bounded(&mut self.awaited, *extension, at.utc, AWAITED_MAX, |added| *added);
                return None;
            }
            Fact::DeviceFirstSeen { device, extension, agent, address, .. } => {
                (*device, *extension, agent, address)
            }
            _ => return None,
        };
        let added = self.awaited.remove(&extension);
        if added.is_some_and(|added| at.utc.since(added) < SETTING_UP) {
            return None;
        }
        let from = source(address).map_or_else(|| "a place".to_owned(), |from| from.to_string());
        let calls_itself = match agent.as_str() {
            "" => "It doesn't say what it is.".to_owned(),
            agent => format!("It calls itself {}.", shown(agent)),
        };
        let words = format!(
            "A phone that was never seen before signed in from {from} with the right password. \
             {calls_itself}"
        );
        let finding = Finding::new(at, Key::Device(device), What::NewDevice, Severity::Warn, words);
        Some(Finding { extension: Some(extension), ..finding })
    }
}

const SETTING_UP: Duration = Duration::from_secs(86_400);
/// Extensions that wait for their first phone; at the bound the one that waits the longest is told
/// like any other.
const AWAITED_MAX: usize = 10_000;
