//! The size of a layer as peers claim it.

use std::collections::BTreeSet;

use lighter_types::{DiffId, PeerId};

use crate::core::Step;
use crate::settings::Settings;

/// The claims that found no room here.
#[derive(Debug, Default)]
pub struct Claims {
    /// Peers that claimed them. At most those that the directory knows.
    roomless: BTreeSet<PeerId>,
}

impl Claims {
    /// This machine has no room for what `from` claims of `layer`, after so many failures. Whether that ends the pull:
    /// no peer that can be asked claims less, and there was time for one to connect. A single liar must not end it.
    pub fn end_the_pull(&mut self, layer: DiffId, from: PeerId, failures: u32, step: &Step<'_>) -> bool {
        self.roomless.insert(from);
        let holders = step.core.directory.holding(layer).filter(|holder| holder.peer.is_connected());
        let mut usable = holders.filter(|holder| !step.is_cut_off(holder.id));
        failures >= Settings::ROOMLESS_MIN && usable.all(|holder| self.roomless.contains(&holder.id))
    }
}
