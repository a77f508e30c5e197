//! Ways to get a layer, and the best of them.
//!
//! A plan is a peer and the bases that a patch would read from: layers that both ends hold. The planner predicts the
//! bytes of the patch from sketches where the target's sketch is known, else from the cards. The time until the layer
//! is held comes from the peer's link, from the work of making the patch at the effort that the peer will choose, and
//! from this machine's pace of applying. `ranking.rs` says which plan comes first, by bytes and time.
//!
//! `pool.rs` chooses the bases for each peer, `order.rs` sorts the plans of a large fleet.

mod order;
mod pool;
mod ranking;

use std::time::Duration;

use lighter_similarity::{Prediction, RankedBase, Sketch, choose_bases, predict, predict_with_bases, rank_bases};
use lighter_types::{Bytes, Card, DiffId, Effort, Pace, PatchId, PeerId};

use crate::calibrations::Rule;
use crate::core::Core;
use crate::directory::Holder;
use crate::effort::{self, Content, Cost, Undertaking};
use crate::holdings::Holdings;
use crate::settings::Settings;
use order::{Kind, Order, Way};
use pool::{Choice, Pool};
pub use ranking::{best_plan, may_beat};

/// The predicted bytes of a patch, before any correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// From the cards: the best of the bases by itself.
    pub by_tlsh: Prediction,
    /// From sketches, of all bases together; absent without a sketch of the target.
    pub by_sketch: Option<Prediction>,
}

impl Forecast {
    /// The forecast for a patch from these bases, all held here.
    pub(crate) fn from_held(target: &Card, bases: &[DiffId], core: &Core) -> Self {
        let held = bases.iter().filter_map(|&base| Some((core.holdings.card(base)?, core.holdings.sketch(base))));
        let held: Vec<_> = held.collect();
        let cards: Vec<&Card> = held.iter().map(|(card, _)| *card).collect();
        let sketch = core.sketches.get(target.diff_id);
        Self::new(target, &cards, sketch.map(|sketch| predict(target, Some(sketch), &held)))
    }

    fn new(target: &Card, bases: &[&Card], by_sketch: Option<Prediction>) -> Self {
        Self { by_tlsh: predict_with_bases(target, bases.iter().copied()), by_sketch }
    }

    /// The prediction that a plan goes by.
    pub fn counted(&self) -> Prediction {
        self.by_sketch.unwrap_or(self.by_tlsh)
    }

    /// The rule that gave the counted prediction.
    pub fn rule(&self) -> Rule {
        if self.by_sketch.is_some() { Rule::Sketch } else { Rule::Tlsh }
    }

    /// The counted bytes at the default effort, corrected by what this node learned. The card alone has the bytes of
    /// the whole layer by gzip: those need no correction, and are about what it takes at *fast*.
    pub(crate) fn corrected(&self, target: &Card, bases: &[DiffId], core: &Core) -> Bytes {
        let counted = self.counted();
        if bases.is_empty() && self.rule() == Rule::Tlsh {
            return effort::to_default(Content::of(target, bases), Effort::Fast, counted.bytes);
        }
        core.calibrations.correct(self.rule(), counted, target.compressed_bytes, bases).bytes
    }
}

/// One way to get a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub peer: PeerId,
    /// At most [`Settings::PATCH_BASES_MAX`]; no base means the whole layer.
    pub bases: Vec<DiffId>,
    /// TLSH distance of the target to the first base.
    pub distance: Option<u32>,
    pub forecast: Forecast,
    /// The peer's prediction, if it counts instead of the forecast: without a sketch of the layer here.
    pub quoted: Option<Bytes>,
    /// The effort of the patch: the expected one, or that of a quote.
    pub effort: Effort,
    /// The bytes that count: the corrected prediction, or the quoted bytes.
    pub bytes: Bytes,
    /// The peer is behind the same uplink: bytes cost nothing.
    pub is_near: bool,
    /// The round trip to the peer, where it is known.
    pub round_trip: Duration,
    /// The time that the peer takes before it sends the first byte.
    pub wait: Duration,
    /// The time that the bytes take over the peer's link.
    pub transfer: Duration,
    /// The time that this machine takes to apply the patch.
    pub applying: Duration,
    /// Set by a quote: the patch exists and has exactly `bytes`.
    pub ready: Option<PatchId>,
}

impl Plan {
    /// The time until the layer is held.
    pub fn time(&self) -> Duration {
        let receiving = effort::receiving(self.transfer, self.applying, self.bytes);
        self.round_trip.saturating_add(self.wait).saturating_add(receiving)
    }

    /// The predicted bytes before correction, and the rule that gave them; `None` for a whole layer by its card, which
    /// is no prediction.
    pub(crate) fn raw_prediction(&self) -> Option<(Rule, Bytes)> {
        let (rule, bytes) = match self.quoted {
            Some(bytes) => (Rule::Quote, bytes),
            None => (self.forecast.rule(), self.forecast.counted().bytes),
        };
        (rule == Rule::Sketch || !self.bases.is_empty()).then_some((rule, bytes))
    }
}

/// A number of a peer that differs from seed to seed: the finaliser of splitmix64 (Steele, Lea, Flood 2014).
pub(crate) fn spread(seed: u64, peer: PeerId) -> u64 {
    let mut start = [0; 8];
    start.copy_from_slice(&peer.as_bytes()[..8]);
    let mut mixed = u64::from_le_bytes(start) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// All plans for a layer, the best first. Each connected peer that holds the layer and is not `excluded` gets a
/// plan from the best bases that both ends hold, and a plan for the whole layer. `damaged` bases are not used.
pub fn plans(target: DiffId, core: &Core, excluded: &dyn Fn(PeerId) -> bool, damaged: &[DiffId]) -> Vec<Plan> {
    let Some(card) = core.directory.card(target) else { return Vec::new() };
    let connected = core.directory.holding(target).filter(|source| source.peer.is_connected());
    let sources: Vec<Holder<'_>> = connected.filter(|source| !excluded(source.id)).collect();
    if sources.is_empty() {
        return Vec::new();
    }
    let mut pool = Pool::new(card, core, &sources, damaged);
    let mut order = Order::with_capacity(2 * sources.len());
    for (place, &Holder { id, peer, .. }) in sources.iter().enumerate() {
        let number = spread(core.settings.seed, id);
        let round_trip = core.links.get(id).round_trip.unwrap_or_default();
        let (rate, is_near) = (core.rate_from(id, peer), core.is_of_site(peer));
        for choice in pool.choose(place, peer).into_iter().chain([Pool::WHOLE]) {
            let way = Way { choice, rate, round_trip, is_near };
            order.add(place, number, way, |way| kind(card, pool.choice(way.choice), way, core));
        }
    }
    let kinds = order.finish(core.settings.prefer);
    kinds.map(|(place, kind)| plan(sources[place].id, pool.choice(kind.way.choice), kind)).collect()
}

/// The cost of a patch by this choice over such a link, at the effort that a provider with a machine of the usual pace
/// chooses for this node.
fn kind(card: &Card, choice: &Choice, way: Way, core: &Core) -> Kind {
    let content = Content::of(card, &choice.bases);
    let alone = Undertaking::alone(choice.bytes, content, card.tar_bytes, way.rate);
    let undertaking = Undertaking { terms: core.terms(way.is_near), ..alone };
    let effort = undertaking.best(content.efforts(), Pace::default());
    let Cost { bytes, time } = undertaking.making(effort, Pace::default());
    Kind {
        way,
        effort,
        cost: Cost { bytes, time: time.saturating_add(way.round_trip) },
        is_whole: choice.bases.is_empty(),
        wait: undertaking.encoding(effort, Pace::default()),
        transfer: bytes.at(way.rate),
        applying: undertaking.applying(effort),
    }
}

/// The plan of this kind by a peer, with its choice of bases.
fn plan(peer: PeerId, choice: &Choice, kind: Kind) -> Plan {
    Plan {
        peer,
        bases: choice.bases.clone(),
        distance: choice.distance,
        forecast: choice.forecast,
        quoted: None,
        effort: kind.effort,
        bytes: kind.cost.bytes,
        is_near: kind.way.is_near,
        round_trip: kind.way.round_trip,
        wait: kind.wait,
        transfer: kind.transfer,
        applying: kind.applying,
        ready: None,
    }
}

/// The bases to name in a request: those of the plan, then the next best bases that this node holds, since the provider
/// may have a patch from one of them.
pub fn offered_bases(target: &Card, plan: &Plan, holdings: &Holdings, damaged: &[DiffId]) -> Vec<DiffId> {
    let usable = usable_bases(target, holdings, damaged);
    let mut offered = plan.bases.clone();
    for ranked in rank_bases(target, usable, Settings::OFFERED_BASES_MAX) {
        let helps = ranked.prediction.bytes < target.compressed_bytes;
        if helps && offered.len() < Settings::OFFERED_BASES_MAX && !offered.contains(&ranked.base.diff_id) {
            offered.push(ranked.base.diff_id);
        }
    }
    offered
}

/// The layers that both this node and a peer hold.
pub fn shared_layers(peer: PeerId, core: &Core) -> Vec<&Card> {
    core.holdings.cards().filter(|card| core.directory.is_held_by(card.diff_id, peer)).collect()
}

/// The bases that a peer would name in a request for `target`, of the layers that both ends hold: those that it would
/// choose first, then the next best, since a patch from one of them may be in the cache.
pub fn shared_bases(target: &Card, shared: &[&Card], core: &Core) -> Vec<DiffId> {
    let ranked = rank_bases(target, shared.iter().copied(), Settings::SHORTLIST_MAX);
    let mut bases: Vec<DiffId> = match core.holdings.sketch(target.diff_id) {
        Some(sketch) => {
            let pool = with_sketches(&ranked, &core.holdings);
            let chosen = choose_bases(target, Some(sketch), &pool, Settings::PATCH_BASES_MAX);
            chosen.indices.into_iter().map(|index| pool[index].0.diff_id).collect()
        }
        None => Vec::new(),
    };
    for RankedBase { base, prediction } in ranked {
        let helps = prediction.bytes < target.compressed_bytes;
        if helps && bases.len() < Settings::OFFERED_BASES_MAX && !bases.contains(&base.diff_id) {
            bases.push(base.diff_id);
        }
    }
    bases
}

/// Whether a have-list may pay, for a patch of these bytes: this node has a layer that the peer lacks, and both are
/// large enough. The sketch of the target tells more; its card does not.
pub fn may_list(target: &Card, peer: PeerId, bytes: Bytes, core: &Core) -> bool {
    let bytes_min = Settings::LISTED_SAVES_MIN;
    let mut large = usable_bases(target, &core.holdings, &[]).filter(|base| base.compressed_bytes >= bytes_min);
    bytes >= bytes_min && large.any(|base| !core.directory.is_held_by(base.diff_id, peer))
}

/// Own layers that the provider does not hold and whose files a have-list should name to it. There are none unless the
/// patch from them is predicted to be less than half of the plan's, and [`Settings::LISTED_SAVES_MIN`] smaller. The
/// prediction is the most that a list brings: it counts parts of files, and the provider can copy only whole files.
pub fn listed(target: &Card, plan: &Plan, core: &Core, damaged: &[DiffId]) -> Vec<DiffId> {
    let Some(sketch) = core.sketches.get(target.diff_id) else { return Vec::new() };
    let ranked = rank_bases(target, usable_bases(target, &core.holdings, damaged), Settings::SHORTLIST_MAX);
    let pool = with_sketches(&ranked, &core.holdings);
    let chosen = choose_bases(target, Some(sketch), &pool, Settings::PATCH_BASES_MAX);
    let bytes = chosen.prediction.bytes;
    if bytes.times(2) > plan.bytes || plan.bytes - bytes < Settings::LISTED_SAVES_MIN {
        return Vec::new();
    }
    let chosen = chosen.indices.into_iter().map(|index| pool[index].0.diff_id);
    chosen.filter(|base| !plan.bases.contains(base) && !core.directory.is_held_by(*base, plan.peer)).collect()
}

/// Own layers, each with its sketch if that is known.
fn with_sketches<'a>(ranked: &[RankedBase<'a>], holdings: &'a Holdings) -> Vec<(&'a Card, Option<&'a Sketch>)> {
    ranked.iter().map(|ranked| (ranked.base, holdings.sketch(ranked.base.diff_id))).collect()
}

/// Own layers that a patch of `target` may read from.
fn usable_bases<'a>(target: &'a Card, holdings: &'a Holdings, damaged: &'a [DiffId]) -> impl Iterator<Item = &'a Card> {
    holdings.cards().filter(|base| base.diff_id != target.diff_id && !damaged.contains(&base.diff_id))
}

fn distance(one: &Card, other: &Card) -> Option<u32> {
    Some(lighter_similarity::distance(one.tlsh.as_ref()?, other.tlsh.as_ref()?).0)
}

#[cfg(test)]
mod tests;
