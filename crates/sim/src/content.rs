//! Layers and images, and what patches between them cost: the same for every node.
//!
//! In a scenario the cost of a patch is listed by target and base, as measured or as written down; pairs that are not
//! listed cost the whole compressed layer. The tests of the engine may also say of which blocks layers are made
//! ([`Blocks`]): then a patch costs the blocks that no base has, and layers have sketches.

use std::collections::{BTreeMap, BTreeSet};

use lighter_engine::{CachedPatch, Settings};
use lighter_similarity::Sketch;
use lighter_types::{Bytes, Card, DiffId, Effort, OciDigest, PatchId, Tlsh};

use crate::queue::Micros;
use crate::scenario::{Image, Layer, Scenario};
use crate::units::Span;

#[derive(Default)]
pub struct Content {
    pub cards: BTreeMap<DiffId, Card>,
    pub images: Vec<ImageContent>,
    /// Patches at the effort *default*, by target and base.
    costs: BTreeMap<(DiffId, DiffId), Cost>,
    /// The frames of patches that have known ones, by target and base: bytes of payload and of the target.
    frames: BTreeMap<(DiffId, DiffId), Vec<[u64; 2]>>,
    /// Layers whose costs as a whole were measured: at each effort the same.
    measured: BTreeMap<DiffId, Cost>,
    /// The times to rebuild exact blobs.
    rebuilds: BTreeMap<DiffId, Micros>,
    /// The compressed blobs of layers, for nodes that want them; empty in a scenario.
    pub blobs: BTreeMap<DiffId, Blob>,
    /// The content of layers; empty in a scenario, whose plans go by TLSH.
    pub made_of: BTreeMap<DiffId, Blocks>,
}

/// The compressed blob of a layer.
#[derive(Clone, Copy)]
pub struct Blob {
    /// Its card as a layer.
    pub card: Card,
    /// Whether the layer is in it.
    pub is_good: bool,
}

/// The content of a layer: blocks of 64 KiB by their numbers, and the sketch of them.
#[derive(Clone)]
pub struct Blocks {
    pub blocks: BTreeSet<u64>,
    pub sketch: Sketch,
}

/// A frame of a patch: the unit that is kept, passed on and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The place in the patch where it ends.
    pub end: u64,
    /// The share of the target that is rebuilt with it, in 1/65,536.
    pub rebuilt: u64,
}

/// Least and most bytes of a frame whose size is not known: a fourth of the patch, between these (docs/PATCH.md).
const FRAME_BYTES_MIN: u64 = 64 << 10;
const FRAME_BYTES_MAX: u64 = 1 << 20;
/// All of a target, as [`Frame::rebuilt`] counts.
pub const WHOLE: u64 = 1 << 16;

pub struct ImageContent {
    pub manifest: OciDigest,
    pub config: OciDigest,
    /// Bytes of the manifest and of the config.
    pub documents: [u64; 2],
    pub layers: Vec<DiffId>,
}

/// The cost of a patch, or of a whole layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub bytes: u64,
    pub encode: Micros,
    pub apply: Micros,
    pub chunks: Option<u64>,
}

/// The figures of each effort, in 1/1024: docs/ENGINE.md, "At which effort".
struct Efforts {
    bytes: [u64; 4],
    encode: [u64; 4],
    apply: [u64; 4],
}

/// Patches: their costs are those of *default*.
const OF_PATCHES: Efforts =
    Efforts { bytes: [1479, 1479, 1024, 864], encode: [382, 382, 1024, 3311], apply: [880, 880, 1024, 25_290] };
/// Whole layers: their costs are those of gzip, which are about those of *fast*.
const OF_LAYERS: Efforts = Efforts {
    bytes: [1075, 1024, 875, 923],
    encode: [256, 1024, 17 << 10, 34 << 10],
    apply: [256, 1024, 1024, 26_500],
};

/// A recipe of an exact blob (docs/decisions/0024-exact-blobs.md).
const RECIPE_BYTES: u64 = 300;

/// The bytes of a patch of blocks beside the blocks.
const PATCH_HEADER_BYTES: u64 = 2048;

/// Compressing a whole layer, and applying it: bytes of tar a second (docs/BENCHMARKS.md, "import", stands for both).
const WHOLE_RATE: u64 = 120_000_000;

impl Content {
    /// The content of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let mut content = Self::default();
        for (index, layer) in scenario.layers.iter().enumerate() {
            let card = card_of(layer, index);
            content.add_layer(card);
            if layer.encode.is_some() || layer.apply.is_some() {
                let usual = content.whole(card.diff_id);
                let [encode, apply] = [(layer.encode, usual.encode), (layer.apply, usual.apply)]
                    .map(|(measured, usual)| measured.map_or(usual, Span::micros));
                content.measured.insert(card.diff_id, Cost { encode, apply, ..usual });
            }
            content.rebuilds.extend(layer.rebuild.map(|rebuild| (card.diff_id, rebuild.micros())));
        }
        content.images = scenario.images.iter().map(|image| ImageContent::new(image, &content.rebuilds)).collect();
        for patch in &scenario.patches {
            let (target, base) = (layer_id(&patch.target), layer_id(&patch.base));
            let cost = Cost {
                bytes: patch.bytes.0,
                encode: patch.encode.micros(),
                apply: patch.apply.micros(),
                chunks: patch.chunks.map(|chunks| chunks.0),
            };
            content.add_cost(target, base, cost);
            if !patch.frames.is_empty() {
                content.frames.insert((target, base), patch.frames.clone());
            }
        }
        content
    }

    /// Bytes of a manifest or config.
    pub fn document_bytes(&self, digest: OciDigest) -> u64 {
        for image in &self.images {
            if let Some(place) = [image.manifest, image.config].iter().position(|document| *document == digest) {
                return image.documents[place];
            }
        }
        0
    }

    /// The image with this manifest.
    pub fn image(&self, manifest: OciDigest) -> Option<&ImageContent> {
        self.images.iter().find(|image| image.manifest == manifest)
    }

    /// The config of the image with this manifest.
    pub fn config_of(&self, manifest: OciDigest) -> Option<OciDigest> {
        self.image(manifest).map(|image| image.config)
    }

    /// The sketch of a layer, where it is known what the layer is made of.
    pub fn sketch(&self, layer: DiffId) -> Option<Sketch> {
        self.made_of.get(&layer).map(|made_of| made_of.sketch.clone())
    }

    /// The smallest patch from any of these bases at *default*, with the base; the compressed layer without one.
    pub fn cheapest(&self, target: DiffId, bases: impl IntoIterator<Item = DiffId>) -> (Option<DiffId>, Cost) {
        let known = bases.into_iter().filter_map(|base| Some((base, *self.costs.get(&(target, base))?)));
        let best = known.min_by_key(|(_, cost)| cost.bytes);
        best.map_or_else(|| (None, self.whole(target)), |(base, cost)| (Some(base), cost))
    }

    /// The patch that an encoder makes of these bases, and how long making and applying it take.
    pub fn patch(&self, target: DiffId, bases: &[DiffId], effort: Effort) -> (CachedPatch, Cost) {
        let (used, cost) = match self.made_of.get(&target) {
            Some(made_of) => (bases.to_vec(), self.cost_of_blocks(target, made_of, bases)),
            None => {
                let (base, cost) = self.cheapest(target, bases.iter().copied());
                (base.into_iter().collect(), cost)
            }
        };
        let efforts = if used.is_empty() { OF_LAYERS } else { OF_PATCHES };
        let is_measured = used.is_empty() && self.measured.contains_key(&target);
        let scaled = |value, by| if is_measured { value } else { scaled(value, by, effort) };
        let cost = Cost {
            bytes: scaled(cost.bytes, efforts.bytes).max(1),
            encode: scaled(cost.encode, efforts.encode),
            apply: scaled(cost.apply, efforts.apply),
            chunks: None,
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(target.as_bytes());
        for base in &used {
            hasher.update(base.as_bytes());
        }
        // The numbers that efforts had before there was *plain*: events, and so the hashes of runs, stay the same.
        hasher.update(&[(effort as u8).wrapping_sub(1)]);
        let patch = PatchId::new(*hasher.finalize().as_bytes());
        let effort = Some(effort);
        (CachedPatch { patch, target, bases: used, bytes: Bytes(cost.bytes), effort }, cost)
    }

    /// The patch of a whole layer whose header a node makes when it takes the layer in: a large one that it imports, or
    /// that does not compress.
    pub fn header(&self, layer: DiffId, is_imported: bool) -> Option<CachedPatch> {
        let card = self.cards.get(&layer).filter(|card| card.tar_bytes >= Settings::TAIL_BYTES_MIN)?;
        let is_packed = lighter_engine::Content::of(card, &[]) == lighter_engine::Content::Packed;
        (is_imported || is_packed).then(|| self.patch(layer, &[], Effort::Plain).0)
    }

    /// The cost of a patch with the blocks of a layer that no base has: their share of the compressed layer, a fourth
    /// of which a delta saves, and a header.
    fn cost_of_blocks(&self, target: DiffId, made_of: &Blocks, bases: &[DiffId]) -> Cost {
        let whole = self.whole(target);
        let mut missing = made_of.blocks.clone();
        for base in bases.iter().filter_map(|base| self.made_of.get(base)) {
            missing.retain(|block| !base.blocks.contains(block));
        }
        let share = whole.bytes * missing.len() as u64 / (made_of.blocks.len() as u64).max(1);
        Cost { bytes: share * 3 / 4 + PATCH_HEADER_BYTES, ..whole }
    }

    /// Adds a layer.
    pub fn add_layer(&mut self, card: Card) {
        self.cards.insert(card.diff_id, card);
    }

    /// Sets the cost of a patch from one base.
    pub fn add_cost(&mut self, target: DiffId, base: DiffId, cost: Cost) {
        self.costs.insert((target, base), cost);
    }

    /// How long it takes to apply a patch that was made of these bases.
    pub fn applying(&self, patch: &CachedPatch) -> Micros {
        self.patch(patch.target, &patch.bases, patch.effort.unwrap_or(Effort::Default)).1.apply
    }

    /// The frames of a patch, one at least. At each effort they have the shares that were measured at *default*.
    pub fn frames(&self, patch: &CachedPatch) -> Vec<Frame> {
        let bytes = patch.bytes.0;
        let known = patch.bases.first().and_then(|&base| self.frames.get(&(patch.target, base)));
        let Some(known) = known else {
            let size = bytes.div_ceil(4).clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
            let count = bytes.div_ceil(size).max(1);
            let numbers = 1..=count;
            return numbers
                .map(|number| Frame { end: (number * size).min(bytes), rebuilt: number * WHOLE / count })
                .collect();
        };
        let payload = known.iter().map(|[payload, _]| u128::from(*payload)).sum::<u128>().max(1);
        let target = known.iter().map(|[_, target]| u128::from(*target)).sum::<u128>().max(1);
        let (mut payload_until, mut target_until) = (0, 0);
        let mut frames = Vec::new();
        for &[payload_bytes, target_bytes] in known {
            payload_until += u128::from(payload_bytes);
            target_until += u128::from(target_bytes);
            let end = share(bytes, payload_until, payload);
            frames.push(Frame { end, rebuilt: share(WHOLE, target_until, target) });
        }
        frames
    }

    /// The time from the moment at which a node has a layer to the moment at which a runtime can unpack its blob.
    pub fn rebuilding(&self, layer: DiffId) -> Micros {
        self.rebuilds.get(&layer).copied().unwrap_or_default()
    }

    /// The cost of a layer without a base.
    pub fn whole(&self, target: DiffId) -> Cost {
        if let Some(&measured) = self.measured.get(&target) {
            return measured;
        }
        let card = self.cards.get(&target);
        let (tar, bytes) = card.map_or((0, 0), |card| (card.tar_bytes.0, card.compressed_bytes.0));
        let took = tar.saturating_mul(1_000_000) / WHOLE_RATE;
        Cost { bytes, encode: took, apply: took, chunks: None }
    }
}

impl ImageContent {
    fn new(image: &Image, rebuilds: &BTreeMap<DiffId, Micros>) -> Self {
        let [manifest, config] = ["manifest", "config"]
            .map(|kind| OciDigest::new(*blake3::hash(format!("{kind} {}", image.name).as_bytes()).as_bytes()));
        let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer_id(layer)).collect();
        // Recipes travel with the config.
        let recipes = layers.iter().filter(|layer| rebuilds.contains_key(layer)).count() as u64 * RECIPE_BYTES;
        let documents = [image.documents[0], image.documents[1] + recipes];
        Self { manifest, config, documents, layers }
    }
}

/// A figure at an effort: `by` has that of each effort, in 1/1024.
fn scaled(value: u64, by: [u64; 4], effort: Effort) -> u64 {
    value * by[effort as usize] / 1024
}

/// `part` of `all` of a value.
fn share(value: u64, part: u128, all: u128) -> u64 {
    (u128::from(value) * part / all) as u64
}

/// The name of a scenario's layer as nodes know it.
pub fn layer_id(name: &str) -> DiffId {
    DiffId::new(*blake3::hash(name.as_bytes()).as_bytes())
}

/// The card of a scenario's layer. The TLSH digests of one family differ in their last byte, which is the layer's
/// `index`.
fn card_of(layer: &Layer, index: usize) -> Card {
    let family = blake3::hash(layer.family.as_bytes());
    let mut tlsh = [0; 35];
    tlsh[..32].copy_from_slice(family.as_bytes());
    tlsh[34] = index as u8;
    Card {
        diff_id: layer_id(&layer.name),
        tar_bytes: Bytes(layer.tar.0),
        compressed_bytes: Bytes(layer.gzip.0),
        tlsh: Some(Tlsh::new(tlsh)),
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
        let (patch, _) = content.patch(layer_id("debian12-r2"), &[layer_id("debian12-r1")], Effort::Default);
        content.frames(&CachedPatch { bytes: Bytes(400_000), ..patch })
    }

    #[test]
    fn a_layer_that_was_measured_costs_the_same_at_every_effort() {
        let smoke = include_str!("../../../simulations/smoke.toml");
        let measured = "gzip = 6963982\nencode = \"50 ms\"\napply = \"70 ms\"\nrebuild = \"3 s\"";
        let text = smoke.replacen("gzip = 6963982", measured, 1);
        let content = Content::new(&Scenario::parse(&text, |_| unreachable!("no trace is named")).unwrap());
        for effort in Effort::ALL {
            let (patch, cost) = content.patch(layer_id("nginx-r1"), &[], effort);
            assert_eq!(cost, Cost { bytes: 6_963_982, encode: 50_000, apply: 70_000, chunks: None });
            assert_eq!(content.applying(&patch), 70_000);
        }
        let costs = Effort::ALL.map(|effort| content.patch(layer_id("nginx-r2"), &[], effort).1);
        assert!(costs.windows(2).all(|pair| pair[0] != pair[1]), "{costs:?}");
        assert_eq!(["nginx-r1", "nginx-r2"].map(|layer| content.rebuilding(layer_id(layer))), [3_000_000, 0]);
        let documents: Vec<_> = content.images.iter().map(|image| image.documents).collect();
        assert_eq!(documents, [[2048, 2348], [2048, 2048]]);
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
