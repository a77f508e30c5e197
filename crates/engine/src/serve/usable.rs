//! The part of a request that this node can use: the bases that its patch reads from, and the predicted bytes.

use lighter_similarity::{Prediction, keep_bases};
use lighter_types::{Bytes, Card, DiffId};

use crate::holdings::Holdings;
use crate::settings::Settings;

/// Those of the requester's bases that a patch made here reads from.
pub struct Usable {
    pub bases: Vec<DiffId>,
    pub prediction: Prediction,
    by_sketch: bool,
}

impl Usable {
    pub fn new(target: &Card, offered: &[DiffId], holdings: &Holdings) -> Self {
        let sketch = holdings.sketch(target.diff_id);
        let held = offered.iter().filter_map(|&base| Some((holdings.card(base)?, holdings.sketch(base))));
        let held: Vec<_> = held.collect();
        let kept = keep_bases(target, sketch, &held, Settings::PATCH_BASES_MAX);
        let bases = kept.indices.iter().map(|&index| held[index].0.diff_id).collect();
        Self { bases, prediction: kept.prediction, by_sketch: sketch.is_some() }
    }

    pub fn is_by_sketch(&self) -> bool {
        self.by_sketch
    }

    /// The bytes of the patch if the prediction is too low by its expected error.
    pub fn at_most(&self) -> Bytes {
        let Prediction { bytes, expected_error } = self.prediction;
        bytes + Bytes(bytes.times(expected_error.0.into()).0 / 1024)
    }
}
