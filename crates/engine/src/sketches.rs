//! Sketches of layers that other nodes hold, and the peers that were asked for sketches that are not here.
//!
//! A sketch only steers predictions: a wrong one costs bytes and never a wrong layer. `sketch_questions.rs` asks for
//! them.

use std::collections::BTreeMap;

use lighter_similarity::Sketch;
use lighter_types::{DiffId, Moment, PeerId};

use crate::settings::Settings;
use crate::work;

#[derive(Debug, Default)]
pub struct Sketches {
    /// At most [`Settings::SKETCHES_MAX`].
    kept: BTreeMap<DiffId, Kept>,
    /// At most [`Settings::SKETCHES_ASKED_MAX`].
    asked: BTreeMap<DiffId, Asked>,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    sketch: Sketch,
    from: PeerId,
    /// The order of arrival: beyond the cap, the first to arrive is the first to go.
    order: u64,
}

#[derive(Debug, Default)]
struct Asked {
    peers: Vec<PeerId>,
    /// When the wait for the last peer's answer ends; absent once it answered.
    until: Option<Moment>,
    /// When the node may ask for the sketch once more; absent unless it gave up.
    retry_at: Option<Moment>,
}

impl Sketches {
    /// The sketch of a layer, unless it is not known or has no content.
    pub fn get(&self, layer: DiffId) -> Option<&Sketch> {
        self.kept.get(&layer).map(|kept| &kept.sketch).filter(|sketch| !sketch.is_empty())
    }

    /// Whether the node still waits for an answer.
    pub fn is_awaited(&self, layer: DiffId, now: Moment) -> bool {
        self.asked.get(&layer).and_then(|asked| asked.until).is_some_and(|until| until > now)
    }

    /// When the next wait ends.
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        work::counting(self.asked.values()).filter_map(|asked| asked.until).filter(|until| *until > now).min()
    }

    /// Forgets a layer that the node holds from now on: its own sketch counts. Returns the sketch that a peer gave, and
    /// that peer.
    pub fn forget(&mut self, layer: DiffId) -> Option<(Sketch, PeerId)> {
        self.asked.remove(&layer);
        self.kept.remove(&layer).map(|kept| (kept.sketch, kept.from))
    }

    /// The peers that were asked for the sketch of a layer, in order.
    pub fn asked(&self, layer: DiffId) -> &[PeerId] {
        self.asked.get(&layer).map_or(&[], |asked| &asked.peers)
    }

    pub fn ask(&mut self, layer: DiffId, peer: PeerId, now: Moment) {
        let asked = self.asked.entry(layer).or_default();
        asked.peers.push(peer);
        asked.until = Some(now + Settings::SKETCH_TIMEOUT);
    }

    /// No peer is left to ask for a sketch that was asked for.
    pub fn give_up(&mut self, layer: DiffId, now: Moment) {
        if let Some(asked) = self.asked.get_mut(&layer) {
            asked.retry_at = Some(now + Settings::SKETCH_AGAIN);
        }
    }

    /// Ends the wait for this peer's answer.
    pub fn answered(&mut self, layer: DiffId, from: PeerId) {
        if let Some(asked) = self.asked.get_mut(&layer).filter(|asked| asked.peers.last() == Some(&from)) {
            asked.until = None;
        }
    }

    /// Over the cap, the sketch that arrived first goes.
    pub fn keep(&mut self, layer: DiffId, sketch: Sketch, from: PeerId) {
        self.asked.remove(&layer);
        if self.kept.len() >= Settings::SKETCHES_MAX && !self.kept.contains_key(&layer) {
            let first = self.kept.iter().min_by_key(|(_, kept)| kept.order).map(|(&layer, _)| layer);
            first.map(|first| self.kept.remove(&first));
        }
        self.kept.insert(layer, Kept { sketch, from, order: self.next });
        self.next += 1;
    }

    /// Forgets the layers that the node gave up and may ask for once more.
    pub fn forget_given_up(&mut self, now: Moment) {
        self.asked.retain(|_, asked| asked.retry_at.is_none_or(|at| at > now));
    }

    /// Whether no peer is to be asked for this layer's sketch now.
    pub fn is_settled(&self, layer: DiffId, now: Moment) -> bool {
        self.kept.contains_key(&layer)
            || self.is_awaited(layer, now)
            || self.asked.get(&layer).is_some_and(|asked| asked.retry_at.is_some())
            || (self.asked.len() >= Settings::SKETCHES_ASKED_MAX && !self.asked.contains_key(&layer))
    }
}

#[cfg(test)]
mod tests;
