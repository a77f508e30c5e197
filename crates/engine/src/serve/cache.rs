//! Patches in this node's cache, and which of them fits a request.

use std::collections::BTreeMap;

use lighter_types::{DiffId, Effort, PatchId};

use crate::event::CachedPatch;
use crate::settings::Settings;
use crate::work;

#[derive(Debug, Default)]
pub struct Cache {
    /// At most [`Settings::PATCHES_MAX`].
    patches: BTreeMap<PatchId, CachedPatch>,
    by_target: BTreeMap<DiffId, Vec<PatchId>>,
    /// For a target and bases: the smallest patch that an encode from them gave, and the effort of the last encode. The
    /// patch may read from fewer bases. At most [`Settings::PATCHES_MAX`].
    made: BTreeMap<(DiffId, Vec<DiffId>), (PatchId, Effort)>,
}

impl Cache {
    pub fn hold(&mut self, patch: CachedPatch) {
        if self.patches.len() >= Settings::PATCHES_MAX || self.patches.contains_key(&patch.patch) {
            return;
        }
        self.by_target.entry(patch.target).or_default().push(patch.patch);
        self.patches.insert(patch.patch, patch);
    }

    pub fn forget(&mut self, patch: PatchId) {
        // More patches may be on disk than are known here.
        let Some(gone) = self.patches.remove(&patch) else { return };
        self.made.retain(|(target, _), (made, _)| *target != gone.target || *made != patch);
        if let Some(patches) = self.by_target.get_mut(&gone.target) {
            patches.retain(|&other| other != patch);
            if patches.is_empty() {
                self.by_target.remove(&gone.target);
            }
        }
    }

    pub fn get(&self, patch: PatchId) -> Option<&CachedPatch> {
        self.patches.get(&patch)
    }

    /// The patches of `target` that a peer with the `offered` bases can apply, the smallest first.
    pub fn fitting(&self, target: DiffId, offered: &[DiffId]) -> impl Iterator<Item = &CachedPatch> {
        let fitting = self.of(target).filter(|patch| patch.bases.iter().all(|base| offered.contains(base)));
        let mut fitting: Vec<&CachedPatch> = fitting.collect();
        fitting.sort_unstable_by_key(|patch| (patch.bytes, patch.patch));
        fitting.into_iter()
    }

    /// The smallest patch that these bases give.
    pub fn smallest_from(&self, target: DiffId, bases: &[DiffId]) -> Option<&CachedPatch> {
        let made = self.made(target, bases).and_then(|(patch, _)| self.get(patch));
        let from_these = self.of(target).filter(|patch| patch.bases == bases);
        from_these.chain(made).min_by_key(|patch| (patch.bytes, patch.patch))
    }

    /// The smallest patch that encodes of `target` from exactly these bases gave, and the effort of the last encode.
    pub fn made(&self, target: DiffId, bases: &[DiffId]) -> Option<(PatchId, Effort)> {
        self.made.get(&(target, bases.to_vec())).copied()
    }

    /// Remembers the patch that an encode from these bases gave, if the patch found room in the cache.
    pub fn remember_made(&mut self, target: DiffId, bases: &[DiffId], patch: &CachedPatch, effort: Effort) {
        if self.made.len() >= Settings::PATCHES_MAX || !self.patches.contains_key(&patch.patch) {
            return;
        }
        let smaller = self.smallest_from(target, bases).filter(|other| other.bytes < patch.bytes);
        let smallest = smaller.map_or(patch.patch, |other| other.patch);
        self.made.insert((target, bases.to_vec()), (smallest, effort));
    }

    fn of(&self, target: DiffId) -> impl Iterator<Item = &CachedPatch> {
        let patches = work::counting(self.by_target.get(&target).into_iter().flatten());
        patches.filter_map(|patch| self.patches.get(patch))
    }
}
