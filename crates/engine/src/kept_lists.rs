//! When the lists of peers are written to disk: a list that is on disk at both ends need not be sent after a restart.
//!
//! Lists change while images are pulled, and a list of thousands of layers has hundreds of kilobytes. So changes are
//! written together, soon after the first and then rarely, and once more when the node stops.

use std::collections::BTreeMap;

use lighter_types::{Moment, PeerId};
use lighter_wire::ListDigest;

use crate::core::Step;
use crate::event::{Effect, KeptList};
use crate::settings::Settings;
use crate::work;

/// The lists on disk.
#[derive(Debug, Default)]
pub struct KeptLists {
    /// At most [`Settings::LISTS_MAX`], with [`Settings::LISTED_MAX`] layers in all.
    kept: BTreeMap<PeerId, ListDigest>,
    /// When changes are written next; absent without any.
    at: Option<Moment>,
    /// The earliest moment for that.
    not_before: Moment,
}

impl KeptLists {
    pub fn next_deadline(&self) -> Option<Moment> {
        self.at
    }

    /// This list is on disk.
    pub fn held(&mut self, peer: PeerId, digest: ListDigest) {
        self.kept.insert(peer, digest);
    }

    /// Has the lists written if it is time to.
    pub fn advance(&mut self, step: &mut Step<'_>) {
        if step.core.directory.take_changed() {
            let soon = self.not_before.max(step.now + Settings::KEEP_SOON);
            self.at.get_or_insert(soon);
        }
        if self.at.is_some_and(|at| at <= step.now) {
            self.write(step);
        }
    }

    /// Has the lists written that differ from those on disk. Lists that are on disk come first: over the caps, one that
    /// is there is not given up for another.
    pub fn write(&mut self, step: &mut Step<'_>) {
        self.at = None;
        self.not_before = step.now + Settings::KEEP_EVERY;
        let lists = step.core.directory.lists();
        let (there, new): (Vec<_>, Vec<_>) = lists.partition(|(peer, ..)| self.kept.contains_key(peer));
        let mut wanted = BTreeMap::new();
        let mut room = Settings::LISTED_MAX;
        for (peer, digest, layers) in work::counting(there.into_iter().chain(new)) {
            if wanted.len() < Settings::LISTS_MAX && layers <= room {
                room -= layers;
                wanted.insert(peer, digest);
            }
        }
        let gone = self.kept.keys().filter(|peer| !wanted.contains_key(peer));
        let mut changes: Vec<KeptList> = gone.map(|&peer| KeptList { peer, cards: Vec::new() }).collect();
        let changed = wanted.iter().filter(|(peer, digest)| self.kept.get(peer) != Some(digest));
        changes.extend(changed.map(|(&peer, _)| KeptList { peer, cards: step.core.directory.list(peer) }));
        self.kept = wanted;
        if !changes.is_empty() {
            step.effects.push(Effect::KeepLists(changes));
        }
    }
}
