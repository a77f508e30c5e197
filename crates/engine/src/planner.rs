//! Ways to get a layer, and the best of them.
//!
//! A plan is a peer and the bases that a patch would read from; the bases are what both ends hold. Predicted bytes come
//! from the cards, seconds from the link. Plans are ranked by what they cost the link: seconds on the link plus an
//! eighth of the seconds that somebody's processor works before, because our users are short of uplink and not of
//! processors. The rate of a peer outside the site is taken as the configured uplink's, or lower if transfers showed
//! so: a link that happens to be fast is no reason to send more bytes.

use std::time::Duration;

use lighter_similarity::{RankedBase, predict_patch_bytes, rank_bases};
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
        self.transfer.saturating_add(self.wait / 8)
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
    let connected = directory.holders(target).iter().filter_map(|&id| Some((id, directory.peer(id)?)));
    let sources: Vec<(PeerId, &Peer)> = connected.filter(|(id, peer)| peer.is_connected() && !excluded(*id)).collect();
    if sources.is_empty() {
        return Vec::new();
    }
    let whole = predict_patch_bytes(&card, None).bytes;
    let usable = own.cards().filter(|base| base.diff_id != target && !damaged.contains(&base.diff_id));
    let mut ranked = rank_bases(&card, usable, own.len());
    ranked.retain(|ranked| ranked.prediction.bytes < whole);
    let indices = directory.indices(ranked.iter().map(|ranked| ranked.base.diff_id));
    // Bases that nobody holds are left out here, not once for each peer.
    let known: Vec<(u32, &RankedBase<'_>)> =
        indices.into_iter().zip(&ranked).filter_map(|(index, base)| Some((index?, base))).collect();
    let mut plans = Vec::with_capacity(2 * sources.len());
    for (id, peer) in sources {
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
        if let Some((_, best)) = known.iter().find(|(index, _)| Directory::holds_index(peer, *index)) {
            let bytes = directory.calibrated(best.prediction.bytes).min(whole);
            plans.push(plan(vec![best.base.diff_id], distance(&card, best.base), bytes));
        }
        plans.push(plan(Vec::new(), None, whole));
    }
    plans.sort_by_cached_key(|plan| plan.rank(settings.seed));
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
