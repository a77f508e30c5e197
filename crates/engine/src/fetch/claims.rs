//! The size of a layer as peers claim it, and as a publisher signed it.

use std::collections::BTreeSet;

use lighter_types::{Bytes, DiffId, PeerId};

use super::Fetcher;
use super::target::Target;
use crate::core::Step;
use crate::settings::Settings;

/// The claims that found no room here.
#[derive(Debug, Default)]
pub struct Claims {
    /// Peers that claimed them. At most those that the directory knows.
    roomless: BTreeSet<PeerId>,
}

impl Fetcher {
    /// A publisher signed this size of a layer that is wanted, in a manifest or a release. Two that differ are both
    /// not believed.
    pub fn signed(&mut self, layer: DiffId, bytes: Option<Bytes>) {
        if let (Some(target), Some(bytes)) = (self.targets.get_mut(&layer), bytes) {
            let is_new = target.signed_bytes.is_none_or(|known| known == bytes);
            target.signed_bytes = is_new.then_some(bytes);
        }
    }
}

impl Target {
    /// This machine has no room for what `from` claims. Whether that ends the pull: no peer that can be asked claims
    /// less, and there was time for one to connect. A single liar must not end it.
    pub fn lacks_room(&mut self, id: DiffId, from: PeerId, step: &Step<'_>) -> bool {
        self.claims.roomless.insert(from);
        let holders = step.core.directory.holding(id).filter(|holder| holder.peer.is_connected());
        let mut usable = holders.filter(|holder| !step.is_cut_off(holder.id));
        self.attempts >= Settings::ROOMLESS_MIN && usable.all(|holder| self.claims.roomless.contains(&holder.id))
    }
}
