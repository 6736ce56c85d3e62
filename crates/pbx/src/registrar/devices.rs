//! Every device that was seen and not forgotten, and those of one extension: looked for with each REGISTER and each
//! call, so that a large house must not be searched for three phones.

use std::collections::{BTreeMap, BTreeSet};

use guard::id::{DeviceId, ExtensionId};

use super::Known;

#[derive(Debug, Default)]
pub(super) struct Devices {
    all: BTreeMap<DeviceId, Known>,
    by_extension: BTreeMap<ExtensionId, BTreeSet<DeviceId>>,
}

impl Devices {
    pub(super) fn insert(&mut self, known: Known) {
        let (id, extension) = (known.device.id, known.device.extension);
        self.remove(&id);
        self.by_extension.entry(extension).or_default().insert(id);
        self.all.insert(id, known);
    }

    pub(super) fn remove(&mut self, id: &DeviceId) {
        let Some(known) = self.all.remove(id) else { return };
        if let Some(own) = self.by_extension.get_mut(&known.device.extension) {
            own.remove(id);
            if own.is_empty() {
                self.by_extension.remove(&known.device.extension);
            }
        }
    }

    pub(super) fn get(&self, id: &DeviceId) -> Option<&Known> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &DeviceId) -> Option<&mut Known> {
        self.all.get_mut(id)
    }

    /// In the order of their ids, as [`Self::of`] has them.
    pub(super) fn values(&self) -> impl Iterator<Item = &Known> {
        self.all.values()
    }

    /// Those of one extension. Where there is none, those of another are looked at, so that the search is no shorter:
    /// how long it takes must not tell which extensions exist.
    pub(super) fn of(&self, extension: ExtensionId) -> impl Iterator<Item = &Known> + Clone {
        let own = self.by_extension.get(&extension);
        let looked_at = own.or_else(|| self.by_extension.values().next());
        let known = looked_at.into_iter().flatten().filter_map(|id| self.all.get(id));
        known.filter(move |known| known.device.extension == extension)
    }
}
