//! How many layers may be under way, and facts about those that are wanted.

use lighter_types::{Bytes, DiffId};

use super::Fetcher;
use super::target::{State, Target};
use crate::core::{Core, Step};
use crate::event::PullId;
use crate::report::PullFailure;
use crate::settings::Settings;

/// How many further layers may begin: small ones, and those that go first, have places of their own.
pub struct Places {
    small: usize,
    other: usize,
}

impl Places {
    /// The places of the layer's kind. A layer that no peer described counts as large.
    pub fn of(&mut self, id: DiffId, goes_first: bool, core: &Core) -> &mut usize {
        let card = core.directory.card(id);
        let is_small = card.is_some_and(|card| card.compressed_bytes <= Settings::SMALL_LAYER_BYTES);
        if is_small || goes_first { &mut self.small } else { &mut self.other }
    }
}

impl Fetcher {
    /// As [`Self::want`], for a layer that a client waits for before it can ask for any other: it has a place at once.
    ///
    /// # Errors
    /// As [`Self::want`].
    pub fn want_first(&mut self, pull: PullId, target: DiffId, step: &Step<'_>) -> Result<(), PullFailure> {
        self.want(pull, target, Vec::new(), step)?;
        if let Some(target) = self.targets.get_mut(&target) {
            target.goes_first = true;
        }
        Ok(())
    }

    /// A publisher signed this size of a layer that is wanted, in a manifest or a release. Two that differ are both
    /// not believed.
    pub fn signed(&mut self, layer: DiffId, bytes: Option<Bytes>) {
        if let (Some(target), Some(bytes)) = (self.targets.get_mut(&layer), bytes) {
            let is_new = target.signed_bytes.is_none_or(|known| known == bytes);
            target.signed_bytes = is_new.then_some(bytes);
        }
    }

    /// The places for layers to begin with.
    pub(super) fn places(&self, core: &Core) -> Places {
        let mut places = Places { small: Settings::SMALL_FETCHES_MAX, other: core.settings.fetches_max };
        let is_idle = |target: &Target| matches!(target.state, State::Waiting { .. } | State::Blob(_));
        for (&id, target) in self.targets.iter().filter(|(_, target)| !is_idle(target)) {
            let place = places.of(id, target.goes_first, core);
            *place = place.saturating_sub(1);
        }
        places
    }
}
