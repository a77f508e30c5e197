//! What a rollout would need, by what this node holds and knows of others.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::DiffId;

use super::Driver;
use crate::api::{Problem, ProblemKind, Rollout, RolloutImage, RolloutLayer, RolloutPatch, RolloutSite};

impl Driver {
    pub(super) fn rollout(&self, from: RolloutImage, to: RolloutImage) -> Result<Rollout, Problem> {
        let (old, new) = (ids(&from)?, ids(&to)?);
        let all: BTreeSet<DiffId> = old.iter().chain(&new).copied().collect();
        let layer = |id: &DiffId| {
            let card = self.engine.holdings().card(*id).ok_or_else(|| not_held(id))?;
            let (tar_bytes, compressed_bytes) = (card.tar_bytes.0, card.compressed_bytes.0);
            Ok(RolloutLayer { layer: id.to_string(), tar_bytes, compressed_bytes })
        };
        let patch = |id: &DiffId| {
            let prospect = self.engine.prospect(*id, &old).ok_or_else(|| not_held(id))?;
            let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Ok(RolloutPatch {
                layer: id.to_string(),
                bases: prospect.bases.iter().map(DiffId::to_string).collect(),
                bytes: prospect.bytes.0,
                exact: prospect.is_known,
                encode_ms: millis(prospect.encode),
                apply_ms: millis(prospect.apply),
            })
        };
        let missing: BTreeSet<&DiffId> = new.iter().filter(|layer| !old.contains(layer)).collect();
        Ok(Rollout {
            layers: all.iter().map(layer).collect::<Result<_, Problem>>()?,
            patches: missing.into_iter().map(patch).collect::<Result<_, Problem>>()?,
            sites: self.sites(&old, &new),
            from,
            to,
        })
    }

    fn sites(&self, old: &[DiffId], new: &[DiffId]) -> Vec<RolloutSite> {
        let directory = self.engine.directory();
        let holds = |peer, layers: &[DiffId]| layers.iter().all(|layer| directory.is_held_by(*layer, peer));
        let mut sites: BTreeMap<Option<String>, RolloutSite> = BTreeMap::new();
        for (id, peer) in directory.peers().filter(|(_, peer)| peer.is_known()) {
            let site = peer.site().map(ToString::to_string);
            let found = sites.entry(site.clone()).or_insert_with(|| RolloutSite { site, ..RolloutSite::default() });
            found.nodes += 1;
            found.hold_from += u64::from(holds(id, old));
            found.hold_to += u64::from(holds(id, new));
        }
        sites.into_values().collect()
    }
}

fn ids(image: &RolloutImage) -> Result<Vec<DiffId>, Problem> {
    let parsed = image.layers.iter().map(|layer| layer.parse());
    parsed.collect::<Result<_, _>>().map_err(|error: lighter_types::ParseError| Problem {
        kind: ProblemKind::BadData,
        message: format!("{}: {error}", image.reference),
    })
}

fn not_held(layer: &DiffId) -> Problem {
    Problem {
        kind: ProblemKind::NotFound,
        message: format!("layer {layer} is not on disk any more; pull its image again"),
    }
}
