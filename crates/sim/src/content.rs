//! What layers are, and what patches between them cost: as the scenario says, the same for every node.

use std::collections::BTreeMap;

use lighter_engine::CachedPatch;
use lighter_types::{Bytes, Card, DiffId, Effort, OciDigest, PatchId, Tlsh};

use crate::network::Micros;
use crate::scenario::Scenario;

pub struct Content {
    pub cards: BTreeMap<DiffId, Card>,
    pub images: Vec<ImageContent>,
    /// By target and base.
    costs: BTreeMap<(DiffId, DiffId), Cost>,
    /// Of patches whose frames are known: bytes of payload and of the target.
    frames: BTreeMap<(DiffId, DiffId), Vec<[u64; 2]>>,
}

/// What is kept, passed on and applied at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it ends in the patch.
    pub end: u64,
    /// How much of the target is there with it, in 1/65,536.
    pub rebuilt: u64,
}

/// Least and most bytes of a frame whose size is not known; a patch is cut into fourths between them (docs/PATCH.md).
const FRAME_BYTES_MIN: u64 = 64 << 10;
const FRAME_BYTES_MAX: u64 = 1 << 20;
/// All of a target, as [`Frame::rebuilt`] counts.
pub const WHOLE: u64 = 1 << 16;

pub struct ImageContent {
    pub manifest: OciDigest,
    pub config: OciDigest,
    /// Bytes of the two.
    pub documents: [u64; 2],
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
            let (manifest, config) = (digest("manifest"), digest("config"));
            ImageContent { manifest, config, documents: image.documents, layers }
        });
        let costs = scenario.patches.iter().map(|patch| {
            let (encode, apply) = (patch.encode.micros(), patch.apply.micros());
            let cost = Cost { bytes: patch.bytes.0, encode, apply, chunks: patch.chunks.map(|chunks| chunks.0) };
            ((id(&patch.target), id(&patch.base)), cost)
        });
        let frames = scenario.patches.iter().filter(|patch| !patch.frames.is_empty());
        Self {
            cards: scenario.layers.iter().enumerate().map(card).collect(),
            images: images.collect(),
            costs: costs.collect(),
            frames: frames.map(|patch| ((id(&patch.target), id(&patch.base)), patch.frames.clone())).collect(),
        }
    }

    /// Bytes of a manifest or config.
    pub fn document_bytes(&self, digest: OciDigest) -> u64 {
        let of = |image: &ImageContent| {
            let place = [image.manifest, image.config].iter().position(|document| *document == digest)?;
            Some(image.documents[place])
        };
        self.images.iter().find_map(of).unwrap_or(0)
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

    /// The frames of a patch, one at least. At another effort than they were measured at, they have the same shares.
    pub fn frames(&self, patch: &CachedPatch) -> Vec<Frame> {
        let bytes = patch.bytes.0;
        let known = patch.bases.first().and_then(|&base| self.frames.get(&(patch.target, base)));
        let Some(known) = known else {
            let size = bytes.div_ceil(4).clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
            let count = bytes.div_ceil(size).max(1);
            let frame = |frame: u64| Frame { end: (frame * size).min(bytes), rebuilt: frame * WHOLE / count };
            return (1..=count).map(frame).collect();
        };
        let all = [0, 1].map(|part| known.iter().map(|frame| u128::from(frame[part])).sum::<u128>().max(1));
        let mut until = [0; 2];
        let frame = |frame: &[u64; 2]| {
            for part in [0, 1] {
                until[part] += u128::from(frame[part]);
            }
            let share = |part: usize, of: u64| (u128::from(of) * until[part] / all[part]) as u64;
            Frame { end: share(0, bytes), rebuilt: share(1, WHOLE) }
        };
        known.iter().map(frame).collect()
    }

    pub fn whole(&self, target: DiffId) -> Cost {
        let card = self.cards.get(&target);
        let (tar, bytes) = card.map_or((0, 0), |card| (card.tar_bytes.0, card.compressed_bytes.0));
        let took = tar.saturating_mul(1_000_000) / WHOLE_RATE;
        Cost { bytes, encode: took, apply: took, chunks: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(known: &str) -> Vec<Frame> {
        let smoke = include_str!("../../../simulations/smoke.toml");
        let text = smoke.replacen("apply = \"150 ms\"", &format!("apply = \"150 ms\"{known}"), 1);
        let scenario = Scenario::parse(&text, |_| unreachable!("no trace is named")).unwrap();
        let content = Content::new(&scenario);
        let id = |name: &str| DiffId::new(*blake3::hash(name.as_bytes()).as_bytes());
        let (patch, _) = content.patch(id("debian12-r2"), &[id("debian12-r1")], Effort::Default);
        content.frames(&CachedPatch { bytes: Bytes(400_000), ..patch })
    }

    #[test]
    fn frames_are_those_that_are_known_or_fourths() {
        let fourths: Vec<Frame> =
            (1..=4).map(|frame| Frame { end: frame * 100_000, rebuilt: frame * WHOLE / 4 }).collect();
        assert_eq!(frames(""), fourths);
        let known = frames("\nframes = [[1000, 9], [3000, 1]]");
        assert_eq!(known[0], Frame { end: 100_000, rebuilt: WHOLE * 9 / 10 }, "shares of the patch as it is");
        assert_eq!(known[1], Frame { end: 400_000, rebuilt: WHOLE });
    }
}
