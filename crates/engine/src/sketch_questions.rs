//! Asks peers for the sketches of layers that this node wants, and judges their answers.
//!
//! The node asks [`Settings::SKETCH_ASKS_MAX`] peers for a sketch, one after the other, and waits for each during
//! [`Settings::SKETCH_TIMEOUT`]. Then planning goes on by TLSH. When the layer arrives, its own sketch shows whether
//! the peer that sent one told the truth.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lighter_similarity::{Sketch, SketchError};
use lighter_types::{DiffId, PeerId};
use lighter_wire::{Answer, Request, SKETCHES_MAX};

use crate::asks::Purpose;
use crate::core::Step;
use crate::directory::Holder;
use crate::failure::{AskFailure, Offence, SketchLie};
use crate::planner::spread;
use crate::settings::Settings;

const _: () = assert!(lighter_wire::SKETCH_BYTES_MAX == lighter_similarity::SKETCH_BYTES_MAX);

impl Step<'_> {
    /// Asks for the sketches of these layers that are not here: each from one peer, as many as fit into one question.
    /// Without layers of its own, the node has nothing to compare them with.
    pub fn want_sketches(&mut self, layers: impl IntoIterator<Item = DiffId>) {
        if self.core.holdings.is_empty() {
            return;
        }
        self.core.sketches.forget_given_up(self.now);
        let mut questions: BTreeMap<PeerId, Vec<DiffId>> = BTreeMap::new();
        for layer in layers {
            if self.core.holdings.holds(layer) || self.core.sketches.is_settled(layer, self.now) {
                continue;
            }
            if let Some(peer) = self.sketch_holder(layer) {
                self.core.sketches.ask(layer, peer, self.now);
                questions.entry(peer).or_default().push(layer);
            } else {
                self.core.sketches.give_up(layer, self.now);
            }
        }
        for (peer, layers) in questions {
            for layers in layers.chunks(SKETCHES_MAX) {
                self.ask(peer, Purpose::Sketches(layers.to_vec()), Request::Sketches(layers.to_vec()));
            }
        }
    }

    /// Takes in what a peer answers to [`Self::want_sketches`].
    pub fn sketches_answered(&mut self, from: PeerId, layers: &[DiffId], answer: Result<Answer, AskFailure>) {
        for &layer in layers {
            self.core.sketches.answered(layer, from);
        }
        // A peer that does not answer, or answers another question, is passed over: the node asks another peer.
        let Ok(Answer::Sketches(claimed)) = answer else { return };
        if self.is_cut_off(from) {
            return;
        }
        match read(layers, &claimed) {
            Ok(read) => {
                for (layer, sketch) in read {
                    if !self.core.holdings.holds(layer) {
                        self.core.sketches.keep(layer, sketch, from);
                    }
                }
            }
            Err(why) => self.cut_off(from, Offence::Sketches(why)),
        }
    }

    /// The layer is here, and with it the truth about the sketch that a peer claimed for it.
    pub fn check_sketch(&mut self, layer: DiffId, claimed: &Sketch, from: PeerId) {
        if self.core.holdings.sketch(layer).is_some_and(|own| own != claimed) && !self.is_cut_off(from) {
            self.cut_off(from, Offence::Sketches(SketchLie::OtherLayer(layer)));
        }
    }

    /// The fastest peer that holds a layer and was not asked for its sketch. Each node has another order of equally
    /// fast peers.
    fn sketch_holder(&self, layer: DiffId) -> Option<PeerId> {
        let asked = self.core.sketches.asked(layer);
        if asked.len() >= Settings::SKETCH_ASKS_MAX {
            return None;
        }
        let seed = self.core.settings.seed;
        let usable =
            self.core.directory.holding(layer).filter(|holder| {
                holder.peer.is_connected() && !self.is_cut_off(holder.id) && !asked.contains(&holder.id)
            });
        let fastest = usable
            .min_by_key(|&Holder { id, peer, .. }| (Reverse(self.core.rate_from(id, peer)), spread(seed, id), id));
        fastest.map(|holder| holder.id)
    }
}

/// The sketches in an answer. A sketch of another version counts as none: its sender may be newer than this node.
fn read(layers: &[DiffId], claimed: &[Option<Vec<u8>>]) -> Result<Vec<(DiffId, Sketch)>, SketchLie> {
    if claimed.len() != layers.len() {
        return Err(SketchLie::Count { asked: layers.len(), found: claimed.len() });
    }
    let mut read = Vec::new();
    for (&layer, bytes) in layers.iter().zip(claimed) {
        match bytes.as_deref().map(Sketch::from_bytes) {
            Some(Ok(sketch)) => read.push((layer, sketch)),
            None | Some(Err(SketchError::Version { .. })) => {}
            Some(Err(source)) => return Err(SketchLie::Unreadable { layer, source }),
        }
    }
    Ok(read)
}
