//! Ways to get a layer, and the best of them.
//!
//! A plan is a peer and the bases that a patch would read from; the bases are what both ends hold. Predicted bytes come
//! from the cards, seconds from the link. Plans are ranked by what they cost the link: seconds on the link plus an
//! eighth of the seconds that somebody's processor works before, because our users are short of uplink and not of
//! processors. The rate of a peer outside the site is taken as the configured uplink's, or lower if transfers showed
//! so: a link that happens to be fast is no reason to send more bytes.

use std::time::Duration;

use lighter_similarity::{predict_patch_bytes, rank_bases};
use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, PatchId, PeerId};

use crate::directory::{Directory, Peer};
use crate::holdings::Holdings;
use crate::settings::Settings;

/// One way to get a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub peer: PeerId,
    /// At most [`Settings::PATCH_BASES_MAX`]; none is the whole layer.
    pub bases: Vec<DiffId>,
    /// TLSH distance of the target to the first base.
    pub distance: Option<u32>,
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
        self.transfer + self.wait / 8
    }
}

/// The rate at which a patch from this peer is expected to come.
pub fn expected_rate(peer: &Peer, settings: &Settings) -> BytesPerSecond {
    let same_site = settings.site.is_some() && peer.site() == settings.site.as_ref();
    let assumed = if same_site { settings.site_rate } else { settings.uplink_rate };
    peer.rate().map_or(assumed, |measured| measured.min(assumed)).max(BytesPerSecond(1))
}

/// All plans for a layer, the cheapest first: for each connected peer that holds it and is not `excluded`, the one from
/// the best base that both hold, and the whole layer. `damaged` bases are not used.
pub fn plans(
    target: DiffId,
    own: &Holdings,
    directory: &Directory,
    settings: &Settings,
    excluded: &dyn Fn(PeerId) -> bool,
    damaged: &[DiffId],
) -> Vec<Plan> {
    let Some(&card) = directory.card(target) else { return Vec::new() };
    let usable = own.cards().filter(|base| base.diff_id != target && !damaged.contains(&base.diff_id));
    let ranked = rank_bases(&card, usable, own.len());
    let indices = directory.indices(ranked.iter().map(|ranked| ranked.base.diff_id));
    let whole = predict_patch_bytes(&card, None).bytes;
    let mut plans = Vec::new();
    for &id in directory.holders(target) {
        let Some(peer) = directory.peer(id).filter(|peer| peer.is_connected()) else { continue };
        if excluded(id) {
            continue;
        }
        let rate = expected_rate(peer, settings);
        let plan = |bases: Vec<DiffId>, distance, bytes: Bytes| Plan {
            peer: id,
            bases,
            distance,
            bytes,
            transfer: bytes.at(rate),
            wait: Duration::ZERO,
            ready: None,
        };
        let held = |index: &Option<u32>| index.is_some_and(|index| Directory::holds_index(peer, index));
        if let Some(place) = indices.iter().position(held) {
            let base = &ranked[place];
            let distance = distance(&card, base.base);
            if base.prediction.bytes < whole {
                plans.push(plan(vec![base.base.diff_id], distance, base.prediction.bytes));
            }
        }
        plans.push(plan(Vec::new(), None, whole));
    }
    plans.sort_by_key(|plan| (plan.cost(), plan.bytes, plan.peer, plan.bases.is_empty()));
    plans
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

fn distance(one: &Card, other: &Card) -> Option<u32> {
    Some(lighter_similarity::distance(one.tlsh.as_ref()?, other.tlsh.as_ref()?).0)
}

#[cfg(test)]
mod tests;
