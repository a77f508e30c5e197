//! Ways to get a layer, and the best of them.
//!
//! A plan is a peer and the bases that a patch would read from; the bases are what both ends hold. Predicted bytes come
//! from sketches where the target's is known, else from the cards; seconds from the link. Plans are ranked by what they
//! cost the link: seconds on the link plus an eighth of the seconds that somebody's processor works before, because our
//! users are short of uplink and not of processors. The rate of a peer outside the site is taken as the configured
//! uplink's, or lower if transfers showed so: a link that happens to be fast is no reason to send more bytes.

mod order;
mod pool;

use std::time::Duration;

use lighter_similarity::{Prediction, choose_bases, predict, predict_with_bases, rank_bases};
use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, PatchId, PeerId};

use crate::calibrations::{Calibrations, Rule};
use crate::directory::{Directory, Holder, Peer};
use crate::holdings::Holdings;
use crate::settings::Settings;
use crate::sketches::Sketches;
use order::Order;
use pool::Pool;

/// What plans are made from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub own: &'a Holdings,
    pub directory: &'a Directory,
    pub sketches: &'a Sketches,
    pub calibrations: &'a Calibrations,
    pub settings: &'a Settings,
}

/// What a patch is expected to weigh, before any correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// From the cards: the best of the bases by itself.
    pub by_tlsh: Prediction,
    /// From sketches, of all bases together; absent without a sketch of the target.
    pub by_sketch: Option<Prediction>,
}

impl Forecast {
    pub(crate) fn new(target: &Card, bases: &[&Card], by_sketch: Option<Prediction>) -> Self {
        Self { by_tlsh: predict_with_bases(target, bases.iter().copied()), by_sketch }
    }

    /// The prediction that a plan goes by.
    pub fn counted(&self) -> Prediction {
        self.by_sketch.unwrap_or(self.by_tlsh)
    }

    /// What told it.
    pub fn rule(&self) -> Rule {
        if self.by_sketch.is_some() { Rule::Sketch } else { Rule::Tlsh }
    }
}

impl View<'_> {
    /// What a patch from these bases, all held here, is expected to weigh.
    pub fn forecast(&self, target: &Card, bases: &[DiffId]) -> Forecast {
        let sketched: Vec<_> =
            bases.iter().filter_map(|&base| Some((self.own.card(base)?, self.own.sketch(base)))).collect();
        let cards: Vec<&Card> = sketched.iter().map(|(card, _)| *card).collect();
        let sketch = self.sketches.get(target.diff_id);
        Forecast::new(target, &cards, sketch.map(|sketch| predict(target, Some(sketch), &sketched)))
    }

    /// The bytes that a forecast comes to with what was learned. Cards alone say of the whole layer what it is.
    pub fn corrected(&self, target: &Card, bases: &[DiffId], forecast: &Forecast) -> Bytes {
        let counted = forecast.counted();
        if bases.is_empty() && forecast.rule() == Rule::Tlsh {
            return counted.bytes;
        }
        self.calibrations.correct(forecast.rule(), counted, target.compressed_bytes).bytes
    }
}

/// One way to get a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub peer: PeerId,
    /// At most [`Settings::PATCH_BASES_MAX`]; none is the whole layer.
    pub bases: Vec<DiffId>,
    /// TLSH distance of the target to the first base.
    pub distance: Option<u32>,
    pub forecast: Forecast,
    /// What the peer predicted, if that counts instead of the forecast: of a layer without a sketch here.
    pub quoted: Option<Bytes>,
    /// What counts: the prediction corrected by what was learned, or what a quote says.
    pub bytes: Bytes,
    /// Of the bytes over the peer's link.
    pub transfer: Duration,
    /// Before the first byte.
    pub wait: Duration,
    /// Set by a quote: the patch exists and has exactly `bytes`.
    pub ready: Option<PatchId>,
}

impl Plan {
    /// What plans are ranked by; less is better.
    pub fn cost(&self) -> Duration {
        self.transfer.saturating_add(self.wait / 8)
    }

    /// What was predicted, before correction, and by which rule; `None` for a whole layer by its card, which is no
    /// prediction.
    pub(crate) fn told(&self) -> Option<(Rule, Bytes)> {
        let forecast = (self.forecast.rule(), self.forecast.counted().bytes);
        let told = self.quoted.map_or(forecast, |bytes| (Rule::Quote, bytes));
        (told.0 == Rule::Sketch || !self.bases.is_empty()).then_some(told)
    }

    /// The order of plans. Equal ones are in another order on every node, so that a fleet that wants one layer does not
    /// ask the same three peers for it.
    pub(crate) fn rank(&self, seed: u64) -> (Duration, Bytes, bool, u64, PeerId) {
        (self.cost(), self.bytes, self.bases.is_empty(), spread(seed, self.peer), self.peer)
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

/// Whether a peer, if it is known, is behind the same uplink.
pub fn is_near(peer: PeerId, view: View<'_>) -> bool {
    view.directory.peer(peer).is_some_and(|peer| is_of_site(peer, view.settings))
}

/// Whether a peer is behind the same uplink.
pub fn is_of_site(peer: &Peer, settings: &Settings) -> bool {
    settings.site.is_some() && peer.site() == settings.site.as_ref()
}

/// The rate at which a patch from this peer is expected to come.
pub fn expected_rate(peer: &Peer, settings: &Settings) -> BytesPerSecond {
    let assumed = if is_of_site(peer, settings) { settings.site_rate } else { settings.uplink_rate };
    peer.rate().map_or(assumed, |measured| measured.min(assumed)).max(BytesPerSecond(1))
}

/// All plans for a layer, the cheapest first: for each connected peer that holds it and is not `excluded`, the one from
/// the best bases that both hold, and the whole layer. `damaged` bases are not used.
pub fn plans(target: DiffId, view: View<'_>, excluded: &dyn Fn(PeerId) -> bool, damaged: &[DiffId]) -> Vec<Plan> {
    let directory = view.directory;
    let Some(card) = directory.card(target) else { return Vec::new() };
    let usable = |source: &Holder<'_>| source.peer.is_connected() && !excluded(source.id);
    let sources: Vec<Holder<'_>> = directory.holding(target).filter(usable).collect();
    if sources.is_empty() {
        return Vec::new();
    }
    let mut pool = Pool::new(card, view, &sources, damaged);
    let mut order = Order::with_capacity(2 * sources.len());
    for (place, &Holder { id, peer, .. }) in sources.iter().enumerate() {
        let (rate, number) = (expected_rate(peer, view.settings), spread(view.settings.seed, id));
        for choice in pool.choose(place, peer).into_iter().chain([Pool::WHOLE]) {
            order.add(place, number, (choice, pool.choice(choice)), rate);
        }
    }
    let plan = |(place, kind): (usize, order::Kind)| {
        let choice = pool.choice(kind.choice);
        Plan {
            peer: sources[place].id,
            bases: choice.bases.clone(),
            distance: choice.distance,
            forecast: choice.forecast,
            quoted: None,
            bytes: choice.bytes,
            transfer: kind.transfer,
            wait: Duration::ZERO,
            ready: None,
        }
    };
    order.finish().map(plan).collect()
}

/// The bases to name in a request: those of the plan, then the next best that this node holds, which the provider may
/// have a patch from.
pub fn offered_bases(target: &Card, plan: &Plan, own: &Holdings, damaged: &[DiffId]) -> Vec<DiffId> {
    let usable = own.cards().filter(|base| base.diff_id != target.diff_id && !damaged.contains(&base.diff_id));
    let mut offered = plan.bases.clone();
    for ranked in rank_bases(target, usable, Settings::OFFERED_BASES_MAX) {
        let helps = ranked.prediction.bytes < target.compressed_bytes;
        if helps && offered.len() < Settings::OFFERED_BASES_MAX && !offered.contains(&ranked.base.diff_id) {
            offered.push(ranked.base.diff_id);
        }
    }
    offered
}

/// Own layers whose files are worth telling the provider, which does not hold these layers: none, unless its patch is
/// predicted to be less than half of what the plan's is, and a good deal smaller. The sketches say so; what the provider
/// can copy are whole files alone, so that this is the most that a list brings.
pub fn listed(target: &Card, plan: &Plan, view: View<'_>, damaged: &[DiffId]) -> Vec<DiffId> {
    let Some(sketch) = view.sketches.get(target.diff_id) else { return Vec::new() };
    let usable = view.own.cards().filter(|base| base.diff_id != target.diff_id && !damaged.contains(&base.diff_id));
    let ranked = rank_bases(target, usable, Settings::SHORTLIST_MAX);
    let pool: Vec<_> = ranked.iter().map(|ranked| (ranked.base, view.own.sketch(ranked.base.diff_id))).collect();
    let chosen = choose_bases(target, Some(sketch), &pool, Settings::PATCH_BASES_MAX);
    let bytes = chosen.prediction.bytes;
    if bytes.times(2) > plan.bytes || plan.bytes - bytes < Settings::LISTED_SAVES_MIN {
        return Vec::new();
    }
    let is_there = |base: &DiffId| view.directory.is_held_by(*base, plan.peer);
    let chosen = chosen.indices.into_iter().map(|index| pool[index].0.diff_id);
    chosen.filter(|base| !plan.bases.contains(base) && !is_there(base)).collect()
}

fn distance(one: &Card, other: &Card) -> Option<u32> {
    Some(lighter_similarity::distance(one.tlsh.as_ref()?, other.tlsh.as_ref()?).0)
}

#[cfg(test)]
mod tests;
