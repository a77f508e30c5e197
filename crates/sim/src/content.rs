//! What layers are, and what patches between them cost: as the scenario says, the same for every node.

use std::collections::BTreeMap;

use lighter_engine::{CachedPatch, Effort};
use lighter_types::{Bytes, Card, DiffId, OciDigest, PatchId, Tlsh};

use crate::network::Micros;
use crate::scenario::Scenario;

pub struct Content {
    pub cards: BTreeMap<DiffId, Card>,
    pub images: Vec<ImageContent>,
    /// By target and base.
    costs: BTreeMap<(DiffId, DiffId), Cost>,
}

pub struct ImageContent {
    pub manifest: OciDigest,
    pub config: OciDigest,
    pub layers: Vec<DiffId>,
}

/// Of a patch at the effort *default*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub bytes: u64,
    pub encode: Micros,
    pub apply: Micros,
    pub chunks: Option<u64>,
}

/// Bytes and seconds of each effort over those of *default*, in 1/1024: docs/ENGINE.md, "At which effort".
const BYTES: [u64; 3] = [1479, 1024, 864];
const ENCODE: [u64; 3] = [382, 1024, 3311];
const APPLY: [u64; 3] = [880, 1024, 25_290];

/// Compressing a whole layer, and applying it: bytes of tar a second (docs/BENCHMARKS.md, "import", stands for both).
const WHOLE_RATE: u64 = 120_000_000;

impl Content {
    pub fn new(scenario: &Scenario) -> Self {
        let id = |name: &str| DiffId::new(*blake3::hash(name.as_bytes()).as_bytes());
        let card = |(index, layer): (usize, &crate::scenario::Layer)| {
            let mut tlsh = [0; 35];
            tlsh.copy_from_slice(
                &[blake3::hash(layer.family.as_bytes()).as_bytes().as_slice(), &[0; 3]].concat()[..35],
            );
            // Releases differ a little.
            tlsh[34] = index as u8;
            let card = Card {
                diff_id: id(&layer.name),
                tar_bytes: Bytes(layer.tar.0),
                compressed_bytes: Bytes(layer.gzip.0),
                tlsh: Some(Tlsh::new(tlsh)),
            };
            (card.diff_id, card)
        };
        let images = scenario.images.iter().map(|image| {
            let digest =
                |salt: &str| OciDigest::new(*blake3::hash(format!("{salt} {}", image.name).as_bytes()).as_bytes());
            let layers = image.layers.iter().map(|layer| id(layer)).collect();
            ImageContent { manifest: digest("manifest"), config: digest("config"), layers }
        });
        let costs = scenario.patches.iter().map(|patch| {
            let (encode, apply) = (patch.encode.micros(), patch.apply.micros());
            let cost = Cost { bytes: patch.bytes.0, encode, apply, chunks: patch.chunks.map(|chunks| chunks.0) };
            ((id(&patch.target), id(&patch.base)), cost)
        });
        Self {
            cards: scenario.layers.iter().enumerate().map(card).collect(),
            images: images.collect(),
            costs: costs.collect(),
        }
    }

    /// Of the image with this manifest.
    pub fn config_of(&self, manifest: OciDigest) -> Option<OciDigest> {
        self.images.iter().find(|image| image.manifest == manifest).map(|image| image.config)
    }

    /// The best patch from any of these bases at *default*, with the base; the compressed layer without one.
    pub fn cheapest(&self, target: DiffId, bases: impl IntoIterator<Item = DiffId>) -> (Option<DiffId>, Cost) {
        let known = bases.into_iter().filter_map(|base| Some((base, *self.costs.get(&(target, base))?)));
        let best = known.min_by_key(|(_, cost)| cost.bytes);
        best.map_or_else(|| (None, self.whole(target)), |(base, cost)| (Some(base), cost))
    }

    /// What an encoder makes of these bases, and how long making and applying it take.
    pub fn patch(&self, target: DiffId, bases: &[DiffId], effort: Effort) -> (CachedPatch, Cost) {
        let (base, cost) = self.cheapest(target, bases.iter().copied());
        let scaled = |value: u64, by: [u64; 3]| value * by[effort as usize] / 1024;
        let cost = if base.is_some() {
            Cost {
                bytes: scaled(cost.bytes, BYTES).max(1),
                encode: scaled(cost.encode, ENCODE),
                apply: scaled(cost.apply, APPLY),
                chunks: None,
            }
        } else {
            cost
        };
        let used: Vec<DiffId> = base.into_iter().collect();
        let mut hasher = blake3::Hasher::new();
        hasher.update(target.as_bytes());
        used.iter().for_each(|base| {
            hasher.update(base.as_bytes());
        });
        hasher.update(&[effort as u8]);
        let patch = PatchId::new(*hasher.finalize().as_bytes());
        let effort = Some(effort);
        (CachedPatch { patch, target, bases: used, bytes: Bytes(cost.bytes), effort }, cost)
    }

    /// How long it takes to apply a patch that was made of these bases.
    pub fn applying(&self, patch: &CachedPatch) -> Micros {
        self.patch(patch.target, &patch.bases, patch.effort.unwrap_or(Effort::Default)).1.apply
    }

    pub fn whole(&self, target: DiffId) -> Cost {
        let card = self.cards.get(&target);
        let (tar, bytes) = card.map_or((0, 0), |card| (card.tar_bytes.0, card.compressed_bytes.0));
        let took = tar.saturating_mul(1_000_000) / WHOLE_RATE;
        Cost { bytes, encode: took, apply: took, chunks: None }
    }
}
