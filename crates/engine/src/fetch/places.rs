//! How many layers may be under way.

use lighter_types::DiffId;

use super::Fetcher;
use super::target::State;
use crate::core::Core;
use crate::settings::Settings;

/// How many further layers may begin: small ones have places of their own.
pub struct Places {
    small: usize,
    other: usize,
}

impl Places {
    /// The places of the layer's kind. A layer that no peer described counts as large.
    pub fn of(&mut self, id: DiffId, core: &Core) -> &mut usize {
        let card = core.directory.card(id);
        let is_small = card.is_some_and(|card| card.compressed_bytes <= Settings::SMALL_LAYER_BYTES);
        if is_small { &mut self.small } else { &mut self.other }
    }
}

impl Fetcher {
    /// The places for layers to begin with.
    pub(super) fn places(&self, core: &Core) -> Places {
        let mut places = Places { small: Settings::SMALL_FETCHES_MAX, other: core.settings.fetches_max };
        for (&id, _) in self.targets.iter().filter(|(_, target)| !matches!(target.state, State::Waiting { .. })) {
            let place = places.of(id, core);
            *place = place.saturating_sub(1);
        }
        places
    }
}
