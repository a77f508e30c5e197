//! Sketches of layers that this node wants: asked for once, from any peer that holds the layer, and kept for
//! predictions.
//!
//! A question waits for [`Settings::SKETCH_TIMEOUT`], and [`Settings::SKETCH_ASKS_MAX`] peers are asked; then planning
//! goes on by TLSH. A sketch only steers predictions, so a wrong one costs bytes and never a wrong layer. Once the layer
//! is here its own sketch is known, and who told another is found out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lighter_similarity::{Sketch, SketchError};
use lighter_types::{DiffId, Moment, PeerId};
use lighter_wire::{Answer, Request, SKETCHES_MAX};

use crate::context::{Context, Purpose};
use crate::directory::Holder;
use crate::event::{AskFailure, Offence};
use crate::planner::{expected_rate, spread};
use crate::settings::Settings;

const _: () = assert!(lighter_wire::SKETCH_BYTES_MAX == lighter_similarity::SKETCH_BYTES_MAX);

/// Sketches of others' layers, and who was asked for those that are not here.
#[derive(Debug, Default)]
pub struct Sketches {
    kept: BTreeMap<DiffId, Kept>,
    asked: BTreeMap<DiffId, Asked>,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    sketch: Sketch,
    from: PeerId,
    /// The order in which they came: beyond the cap, the first goes.
    order: u64,
}

#[derive(Debug, Default)]
struct Asked {
    peers: Vec<PeerId>,
    /// How long the answer of the last one is waited for; absent once it came.
    until: Option<Moment>,
    /// Nobody is asked before this.
    again: Option<Moment>,
}

impl Sketches {
    /// A sketch that says something.
    pub fn get(&self, layer: DiffId) -> Option<&Sketch> {
        self.kept.get(&layer).map(|kept| &kept.sketch).filter(|sketch| !sketch.is_empty())
    }

    /// Whether an answer is still waited for.
    pub fn is_awaited(&self, layer: DiffId, now: Moment) -> bool {
        self.asked.get(&layer).and_then(|asked| asked.until).is_some_and(|until| until > now)
    }

    /// When the next wait ends.
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        self.asked.values().filter_map(|asked| asked.until).filter(|until| *until > now).min()
    }

    /// The layer is held: its own sketch counts from now on. What was told of it, and by whom.
    pub fn forget(&mut self, layer: DiffId) -> Option<(Sketch, PeerId)> {
        self.asked.remove(&layer);
        self.kept.remove(&layer).map(|kept| (kept.sketch, kept.from))
    }

    /// Over the cap, the one that came first goes.
    fn keep(&mut self, layer: DiffId, sketch: Sketch, from: PeerId) {
        self.asked.remove(&layer);
        if self.kept.len() >= Settings::SKETCHES_MAX && !self.kept.contains_key(&layer) {
            let first = self.kept.iter().min_by_key(|(_, kept)| kept.order).map(|(&layer, _)| layer);
            first.map(|first| self.kept.remove(&first));
        }
        self.kept.insert(layer, Kept { sketch, from, order: self.next });
        self.next += 1;
    }

    /// What was given up is begun anew when its time has come.
    fn forget_given_up(&mut self, now: Moment) {
        self.asked.retain(|_, asked| asked.again.is_none_or(|again| again > now));
    }

    /// Whether nobody is to be asked for it now.
    fn is_settled(&self, layer: DiffId, now: Moment) -> bool {
        self.kept.contains_key(&layer)
            || self.is_awaited(layer, now)
            || self.asked.get(&layer).is_some_and(|asked| asked.again.is_some())
            || (self.asked.len() >= Settings::SKETCHES_ASKED_MAX && !self.asked.contains_key(&layer))
    }
}

impl Context<'_> {
    /// Asks for the sketches of these layers that are not here: each from one peer, as many as fit in one question.
    /// Without layers of our own there is nothing to compare with.
    pub fn want_sketches(&mut self, layers: impl IntoIterator<Item = DiffId>) {
        if self.own.is_empty() {
            return;
        }
        self.sketches.forget_given_up(self.now);
        let mut questions: BTreeMap<PeerId, Vec<DiffId>> = BTreeMap::new();
        for layer in layers {
            if self.own.holds(layer) || self.sketches.is_settled(layer, self.now) {
                continue;
            }
            if let Some(peer) = self.sketch_holder(layer) {
                let asked = self.sketches.asked.entry(layer).or_default();
                asked.peers.push(peer);
                asked.until = Some(self.now + Settings::SKETCH_TIMEOUT);
                questions.entry(peer).or_default().push(layer);
            } else if let Some(asked) = self.sketches.asked.get_mut(&layer) {
                asked.again = Some(self.now + Settings::SKETCH_AGAIN);
            }
        }
        for (peer, layers) in questions {
            for layers in layers.chunks(SKETCHES_MAX) {
                self.ask(peer, Purpose::Sketches(layers.to_vec()), Request::Sketches(layers.to_vec()));
            }
        }
    }

    /// Takes in what a peer says to [`Self::want_sketches`].
    pub fn sketches_answered(&mut self, from: PeerId, layers: &[DiffId], answer: Result<Answer, AskFailure>) {
        for layer in layers {
            if let Some(asked) = self.sketches.asked.get_mut(layer).filter(|asked| asked.peers.last() == Some(&from)) {
                asked.until = None;
            }
        }
        // Whoever does not answer, or not to the question, is passed over: another is asked.
        let Ok(Answer::Sketches(told)) = answer else { return };
        if self.is_cut_off(from) {
            return;
        }
        match read(layers, &told) {
            Ok(read) => {
                for (layer, sketch) in read.into_iter().filter(|(layer, _)| !self.own.holds(*layer)) {
                    self.sketches.keep(layer, sketch, from);
                }
            }
            Err(why) => self.cut_off(from, Offence::WrongBytes(why)),
        }
    }

    /// The layer is here, and with it the truth of what was told of it.
    pub fn check_sketch(&mut self, layer: DiffId, told: &Sketch, from: PeerId) {
        if self.own.sketch(layer).is_some_and(|own| own != told) && !self.is_cut_off(from) {
            self.cut_off(from, Offence::WrongBytes(format!("a sketch that is not that of layer {layer}")));
        }
    }

    /// The fastest peer that holds a layer and was not asked for its sketch; equal ones are in another order on every
    /// node.
    fn sketch_holder(&self, layer: DiffId) -> Option<PeerId> {
        let asked = self.sketches.asked.get(&layer).map_or(&[][..], |asked| &asked.peers);
        if asked.len() >= Settings::SKETCH_ASKS_MAX {
            return None;
        }
        let holders = self.directory.holding(layer);
        let usable =
            |&Holder { id, peer, .. }: &Holder<'_>| peer.is_connected() && !self.is_cut_off(id) && !asked.contains(&id);
        let cost = |&Holder { id, peer, .. }: &Holder<'_>| {
            (Reverse(expected_rate(peer, self.settings)), spread(self.settings.seed, id), id)
        };
        holders.filter(usable).min_by_key(cost).map(|holder| holder.id)
    }
}

/// The sketches that are there. One of another version is as good as none: its sender may be newer than this node.
fn read(layers: &[DiffId], told: &[Option<Vec<u8>>]) -> Result<Vec<(DiffId, Sketch)>, String> {
    if told.len() != layers.len() {
        return Err(format!("{} sketches of {} layers", told.len(), layers.len()));
    }
    let mut read = Vec::new();
    for (&layer, bytes) in layers.iter().zip(told) {
        match bytes.as_deref().map(Sketch::from_bytes) {
            Some(Ok(sketch)) => read.push((layer, sketch)),
            None | Some(Err(SketchError::Version { .. })) => {}
            Some(Err(error)) => return Err(format!("sketch of layer {layer}: {error}")),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
