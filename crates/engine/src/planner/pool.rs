//! Which bases for which peer: TLSH ranks, sketches choose a set.
//!
//! The own layers are ranked by TLSH once for all peers. The best few of them that some peer holds too are the
//! shortlist, and a peer's pool is those of the shortlist that it holds: peers of one fleet have few different pools, so
//! each is looked at once. [`Settings::POOLS_MAX`] pools get a set; a peer of any other gets the best single base. Who
//! holds none of the shortlist, and every peer as long as the target has no sketch, gets TLSH's best base.

use std::collections::BTreeMap;

use lighter_similarity::{Prediction, RankedBase, Sketch, choose_bases, predict, rank_bases};
use lighter_types::{Bytes, Card, DiffId, PeerId};

use super::{Forecast, View};
use crate::directory::{Directory, Peer};
use crate::settings::Settings;

/// A set of bases, and what a patch from it is expected to cost; the same for all peers that it is made for.
#[derive(Clone, Debug)]
pub struct Choice {
    pub bases: Vec<DiffId>,
    pub distance: Option<u32>,
    pub forecast: Forecast,
    /// After correction.
    pub bytes: Bytes,
}

/// Bases for all peers that hold the target.
pub struct Pool<'a> {
    view: View<'a>,
    card: &'a Card,
    sketch: Option<&'a Sketch>,
    whole: Bytes,
    /// Without bases, by its sketch.
    alone: Option<Prediction>,
    /// Own layers that some peer holds too, the best by TLSH first, with the directory's index.
    ranked: Vec<(u32, RankedBase<'a>)>,
    shortlist: Vec<&'a Card>,
    /// For each source, which of the shortlist it holds, as bits.
    masks: Vec<u32>,
    chosen: BTreeMap<u32, Option<Choice>>,
    /// For each of the ranked that was some peer's best by TLSH.
    nearest: BTreeMap<u32, Choice>,
    /// For each of the shortlist, by itself; made when it is needed.
    singles: Option<Vec<Choice>>,
}

impl<'a> Pool<'a> {
    /// `sources` are the peers that hold the target, in the order of their ids. `damaged` bases are not used.
    pub fn new(card: &'a Card, view: View<'a>, sources: &[(PeerId, &Peer)], damaged: &[DiffId]) -> Self {
        let usable = view.own.cards().filter(|base| base.diff_id != card.diff_id && !damaged.contains(&base.diff_id));
        let ranked = rank_bases(card, usable, view.own.len());
        // Bases that nobody holds are left out here, not once for each peer.
        let indices = view.directory.indices(ranked.iter().map(|ranked| ranked.base.diff_id));
        let ranked = indices.into_iter().zip(ranked).filter_map(|(index, base)| Some((index?, base))).collect();
        let whole = card.compressed_bytes;
        let sketch = view.sketches.get(card.diff_id);
        let alone = sketch.map(|_| predict(card, sketch, &[]));
        let masks = vec![0; sources.len()];
        let (shortlist, chosen, nearest) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut pool =
            Self { view, card, sketch, whole, alone, ranked, shortlist, masks, chosen, nearest, singles: None };
        if sketch.is_some() {
            pool.draw_shortlist(sources);
        }
        pool
    }

    /// The bases of a patch from the source at this place; `None` if none helps.
    pub fn choose(&mut self, place: usize, peer: &Peer) -> Option<Choice> {
        match self.masks[place] {
            0 => self.best_by_tlsh(peer),
            mask if self.chosen.contains_key(&mask) => self.chosen[&mask].clone(),
            mask if self.chosen.len() < Settings::POOLS_MAX => {
                let chosen = self.choose_set(mask);
                self.chosen.insert(mask, chosen.clone());
                chosen
            }
            mask => self.best_single(mask),
        }
    }

    /// The whole layer.
    pub fn whole(&self) -> Choice {
        self.choice(&[], self.alone)
    }

    fn draw_shortlist(&mut self, sources: &[(PeerId, &Peer)]) {
        for (_, ranked) in &self.ranked {
            if self.shortlist.len() == Settings::SHORTLIST_MAX {
                break;
            }
            let bit = 1 << self.shortlist.len();
            let mut is_shared = false;
            let mut holders = self.view.directory.holders(ranked.base.diff_id).iter().peekable();
            for ((id, _), mask) in sources.iter().zip(&mut self.masks) {
                while holders.next_if(|holder| *holder < id).is_some() {}
                if holders.peek() == Some(&id) {
                    *mask |= bit;
                    is_shared = true;
                }
            }
            if is_shared {
                self.shortlist.push(ranked.base);
            }
        }
    }

    fn choose_set(&self, mask: u32) -> Option<Choice> {
        let pool: Vec<_> = self.of_mask(mask).map(|(_, base)| self.sketched(base)).collect();
        let chosen = choose_bases(self.card, self.sketch, &pool, Settings::PATCH_BASES_MAX);
        let bases: Vec<&Card> = chosen.indices.iter().map(|&index| pool[index].0).collect();
        (!bases.is_empty()).then(|| self.choice(&bases, Some(chosen.prediction)))
    }

    fn best_single(&mut self, mask: u32) -> Option<Choice> {
        if self.singles.is_none() {
            let single = |base: &&Card| {
                let prediction = predict(self.card, self.sketch, &[self.sketched(base)]);
                self.choice(&[base], Some(prediction))
            };
            self.singles = Some(self.shortlist.iter().map(single).collect());
        }
        let singles = self.singles.as_ref()?;
        let alone = self.alone?.bytes;
        let held = self.of_mask(mask).map(|(place, _)| &singles[place]);
        held.min_by_key(|single| single.forecast.counted().bytes)
            .filter(|single| single.forecast.counted().bytes < alone)
            .cloned()
    }

    fn best_by_tlsh(&mut self, peer: &Peer) -> Option<Choice> {
        let mut helping = self.ranked.iter().take_while(|(_, ranked)| ranked.prediction.bytes < self.whole);
        let &(index, RankedBase { base, .. }) = helping.find(|(index, _)| Directory::holds_index(peer, *index))?;
        if let Some(choice) = self.nearest.get(&index) {
            return Some(choice.clone());
        }
        let choice = self.choice(&[base], self.sketch.map(|_| predict(self.card, self.sketch, &[self.sketched(base)])));
        self.nearest.insert(index, choice.clone());
        Some(choice)
    }

    fn choice(&self, bases: &[&Card], by_sketch: Option<Prediction>) -> Choice {
        let forecast = Forecast::new(self.card, bases, by_sketch);
        let distance = bases.first().and_then(|base| super::distance(self.card, base));
        let bases: Vec<DiffId> = bases.iter().map(|base| base.diff_id).collect();
        let bytes = self.view.corrected(self.card, &bases, &forecast);
        Choice { bases, distance, forecast, bytes }
    }

    fn of_mask(&self, mask: u32) -> impl Iterator<Item = (usize, &'a Card)> {
        self.shortlist.iter().copied().enumerate().filter(move |(place, _)| mask >> place & 1 == 1)
    }

    fn sketched(&self, base: &'a Card) -> (&'a Card, Option<&'a Sketch>) {
        (base, self.view.own.sketch(base.diff_id))
    }
}
