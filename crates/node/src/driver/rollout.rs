//! The needs of a rollout, from what this node holds and what it knows of other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_api::{Problem, ProblemKind, Rollout, RolloutImage, RolloutLayer, RolloutPatch, RolloutSite};
use lighter_types::{DiffId, PeerId, SiteName};

use super::Driver;

impl Driver {
    pub(super) fn rollout(&self, from: RolloutImage, to: RolloutImage) -> Result<Rollout, Problem> {
        let layers: BTreeSet<DiffId> = from.layers.iter().chain(&to.layers).copied().collect();
        let missing: BTreeSet<DiffId> =
            to.layers.iter().copied().filter(|layer| !from.layers.contains(layer)).collect();
        Ok(Rollout {
            layers: layers.into_iter().map(|layer| self.rollout_layer(layer)).collect::<Result<_, _>>()?,
            patches: missing
                .into_iter()
                .map(|layer| self.rollout_patch(layer, &from.layers))
                .collect::<Result<_, _>>()?,
            sites: self.rollout_sites(&from.layers, &to.layers),
            from,
            to,
        })
    }

    fn rollout_layer(&self, layer: DiffId) -> Result<RolloutLayer, Problem> {
        let card = self.engine.holdings().card(layer).ok_or_else(|| not_held(layer))?;
        Ok(RolloutLayer { layer, tar_bytes: card.tar_bytes, compressed_bytes: card.compressed_bytes })
    }

    fn rollout_patch(&self, layer: DiffId, old: &[DiffId]) -> Result<RolloutPatch, Problem> {
        let prospect = self.engine.prospect(layer, old).ok_or_else(|| not_held(layer))?;
        Ok(RolloutPatch {
            layer,
            bases: prospect.bases,
            bytes: prospect.bytes,
            exact: prospect.is_known,
            encode_ms: millis(prospect.encode),
            apply_ms: millis(prospect.apply),
        })
    }

    fn rollout_sites(&self, old: &[DiffId], new: &[DiffId]) -> Vec<RolloutSite> {
        let mut sites: BTreeMap<Option<SiteName>, RolloutSite> = BTreeMap::new();
        for (id, peer) in self.engine.directory().peers().filter(|(_, peer)| peer.is_known()) {
            let site = peer.site().cloned();
            let found = sites.entry(site.clone()).or_insert_with(|| RolloutSite { site, ..RolloutSite::default() });
            found.nodes += 1;
            found.hold_from += u64::from(self.is_held_whole(id, old));
            found.hold_to += u64::from(self.is_held_whole(id, new));
        }
        sites.into_values().collect()
    }

    fn is_held_whole(&self, peer: PeerId, layers: &[DiffId]) -> bool {
        layers.iter().all(|layer| self.engine.directory().is_held_by(*layer, peer))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn not_held(layer: DiffId) -> Problem {
    Problem::new(ProblemKind::NotFound, format!("layer {layer} is not on this node's disk any more"))
}
