//! Chooses the bases for each peer: TLSH ranks, sketches choose a set.
//!
//! The own layers are ranked by TLSH once for all peers. The best few that a peer holds too are the shortlist. A peer's
//! pool is the part of the shortlist that it holds. Peers of one fleet have few different pools, so each pool is looked
//! at once. [`Settings::POOLS_MAX`] pools get a set of bases; a peer with another pool gets the best single base. A
//! peer that holds none of the shortlist gets TLSH's best base, and so does every peer if the target has no sketch.
//!
//! Work that serves all peers is done once: the holders of each base of the shortlist are walked along with the
//! sources, and each choice is kept once and named by its place.

use std::collections::BTreeMap;

use lighter_similarity::{Prediction, RankedBase, Sketch, choose_bases, predict, rank_bases};
use lighter_types::{Bytes, Card, DiffId};

use super::Forecast;
use crate::core::Core;
use crate::directory::{Directory, Holder, Peer};
use crate::settings::Settings;
use crate::work;

/// A set of bases, and the forecast for a patch from it; the same for all peers with this choice.
#[derive(Debug)]
pub struct Choice {
    pub bases: Vec<DiffId>,
    pub distance: Option<u32>,
    pub forecast: Forecast,
    /// After correction.
    pub bytes: Bytes,
}

/// Bases for all peers that hold the target.
pub struct Pool<'a> {
    core: &'a Core,
    card: &'a Card,
    sketch: Option<&'a Sketch>,
    /// The prediction without bases, by the sketch.
    alone: Option<Prediction>,
    /// Own layers that some peer holds too, the best by TLSH first, with the directory's index.
    ranked: Vec<(u32, RankedBase<'a>)>,
    shortlist: Vec<&'a Card>,
    /// How many of the ranked layers were looked at for the shortlist: a source with an empty mask holds none of them.
    drawn: usize,
    /// For each source, the part of the shortlist that it holds, as bits.
    masks: Vec<u32>,
    /// Every choice made; the fields below name choices by their places here.
    choices: Vec<Choice>,
    chosen: BTreeMap<u32, Option<usize>>,
    /// The choice for each base that was a peer's best by TLSH.
    nearest: BTreeMap<DiffId, usize>,
    /// For each base of the shortlist that helps by itself, its bit and its choice, the best first; made when needed.
    singles: Option<Vec<(u32, usize)>>,
}

impl<'a> Pool<'a> {
    /// The choice of no base: the whole layer.
    pub const WHOLE: usize = 0;

    /// `sources` are the peers that hold the target, in the order of their indices. `damaged` bases are not used.
    pub fn new(card: &'a Card, core: &'a Core, sources: &[Holder<'_>], damaged: &[DiffId]) -> Self {
        let usable =
            core.holdings.cards().filter(|base| base.diff_id != card.diff_id && !damaged.contains(&base.diff_id));
        let ranked = rank_bases(card, usable, core.holdings.len());
        // Bases that no peer holds are left out here, not once for each peer.
        let indices = core.directory.indices(ranked.iter().map(|ranked| ranked.base.diff_id));
        let ranked = indices.into_iter().zip(ranked).filter_map(|(index, base)| Some((index?, base))).collect();
        let sketch = core.sketches.get(card.diff_id);
        let alone = sketch.map(|_| predict(card, sketch, &[]));
        let mut pool = Self {
            core,
            card,
            sketch,
            alone,
            ranked,
            shortlist: Vec::new(),
            drawn: 0,
            masks: vec![0; sources.len()],
            choices: Vec::new(),
            chosen: BTreeMap::new(),
            nearest: BTreeMap::new(),
            singles: None,
        };
        pool.add(&[], alone);
        pool.draw_shortlist(sources);
        pool
    }

    /// The choice for a patch from the source at this place; `None` if no base helps.
    pub fn choose(&mut self, place: usize, peer: &Peer) -> Option<usize> {
        let mask = self.masks[place];
        if mask == 0 {
            return self.best_beyond(peer);
        }
        if self.sketch.is_none() {
            return Some(self.single(self.shortlist[mask.trailing_zeros() as usize]));
        }
        if let Some(&chosen) = self.chosen.get(&mask) {
            return chosen;
        }
        if self.chosen.len() == Settings::POOLS_MAX {
            return self.best_single(mask);
        }
        let chosen = self.choose_set(mask);
        self.chosen.insert(mask, chosen);
        chosen
    }

    /// The choice at a place that [`Self::choose`] gave.
    pub fn choice(&self, place: usize) -> &Choice {
        &self.choices[place]
    }

    fn draw_shortlist(&mut self, sources: &[Holder<'_>]) {
        for (_, ranked) in work::counting(self.ranked.iter()) {
            // Sketches may find a use for a base that seems useless by TLSH.
            let is_useless = self.sketch.is_none() && !self.helps(ranked);
            if is_useless || self.shortlist.len() == Settings::SHORTLIST_MAX {
                break;
            }
            self.drawn += 1;
            let bit = 1 << self.shortlist.len();
            let mut is_shared = false;
            let mut place = 0;
            for holder in work::counting(self.core.directory.holders(ranked.base.diff_id).iter()) {
                while place < sources.len() && sources[place].index < *holder {
                    work::count(1);
                    place += 1;
                }
                if sources.get(place).is_some_and(|source| source.index == *holder) {
                    self.masks[place] |= bit;
                    is_shared = true;
                }
            }
            if is_shared {
                self.shortlist.push(ranked.base);
            }
        }
    }

    fn choose_set(&mut self, mask: u32) -> Option<usize> {
        let pool: Vec<_> = self.of_mask(mask).map(|base| self.sketched(base)).collect();
        let chosen = choose_bases(self.card, self.sketch, &pool, Settings::PATCH_BASES_MAX);
        let bases: Vec<&Card> = chosen.indices.iter().map(|&index| pool[index].0).collect();
        (!bases.is_empty()).then(|| self.add(&bases, Some(chosen.prediction)))
    }

    fn best_single(&mut self, mask: u32) -> Option<usize> {
        if self.singles.is_none() {
            self.singles = Some(self.rank_singles());
        }
        let mut held = self.singles.iter().flatten().filter(|(bit, _)| mask & bit != 0);
        held.next().map(|&(_, choice)| choice)
    }

    fn rank_singles(&mut self) -> Vec<(u32, usize)> {
        let Some(alone) = self.alone else { return Vec::new() };
        let predictions: Vec<Prediction> = self.shortlist.iter().map(|&base| self.predict_from(base)).collect();
        let mut helping: Vec<usize> =
            (0..predictions.len()).filter(|&place| predictions[place].bytes < alone.bytes).collect();
        helping.sort_by_key(|&place| predictions[place].bytes);
        let mut singles = Vec::with_capacity(helping.len());
        for place in helping {
            singles.push((1 << place, self.add(&[self.shortlist[place]], Some(predictions[place]))));
        }
        singles
    }

    /// TLSH's best base of a source that holds none of the shortlist.
    fn best_beyond(&mut self, peer: &Peer) -> Option<usize> {
        let beyond = self.ranked[self.drawn..].iter().inspect(|_| work::count(1));
        let mut helping = beyond.take_while(|(_, ranked)| self.helps(ranked));
        let &(_, RankedBase { base, .. }) = helping.find(|(index, _)| Directory::holds_index(peer, *index))?;
        Some(self.single(base))
    }

    /// Whether a base lowers the prediction by TLSH.
    fn helps(&self, ranked: &RankedBase<'_>) -> bool {
        ranked.prediction.bytes < self.card.compressed_bytes
    }

    fn single(&mut self, base: &'a Card) -> usize {
        if let Some(&choice) = self.nearest.get(&base.diff_id) {
            return choice;
        }
        let by_sketch = self.sketch.map(|_| self.predict_from(base));
        let choice = self.add(&[base], by_sketch);
        self.nearest.insert(base.diff_id, choice);
        choice
    }

    /// The prediction for a patch from one base, by the sketches.
    fn predict_from(&self, base: &'a Card) -> Prediction {
        predict(self.card, self.sketch, &[self.sketched(base)])
    }

    fn add(&mut self, bases: &[&Card], by_sketch: Option<Prediction>) -> usize {
        let forecast = Forecast::new(self.card, bases, by_sketch);
        let distance = bases.first().and_then(|base| super::distance(self.card, base));
        let bases: Vec<DiffId> = bases.iter().map(|base| base.diff_id).collect();
        let bytes = forecast.corrected(self.card, &bases, self.core);
        self.choices.push(Choice { bases, distance, forecast, bytes });
        self.choices.len() - 1
    }

    fn of_mask(&self, mask: u32) -> impl Iterator<Item = &'a Card> {
        self.shortlist
            .iter()
            .copied()
            .enumerate()
            .filter(move |(place, _)| mask >> place & 1 == 1)
            .map(|(_, base)| base)
    }

    fn sketched(&self, base: &'a Card) -> (&'a Card, Option<&'a Sketch>) {
        (base, self.core.holdings.sketch(base.diff_id))
    }
}
