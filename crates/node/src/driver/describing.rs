//! The layers that a commit left something to do for (`later`): one after the other.

use std::collections::VecDeque;

use lighter_engine::{DiskInput, Input, WorkInput};
use lighter_types::DiffId;

use super::Driver;
use super::work::{Ended, Owed};
use crate::headers;
use crate::images::kept_blobs;
use crate::later;

/// Layers that wait, and whether one is at work.
#[derive(Default)]
pub struct Describing {
    waiting: VecDeque<DiffId>,
    /// Layers that wait for their header: they go first, since a peer may ask for one at any moment.
    headers: VecDeque<DiffId>,
    is_at_work: bool,
}

impl Driver {
    /// Gives the engine an input. A layer that was committed gets its TLSH digest from now on.
    pub(super) fn push(&mut self, input: Input) {
        let (committed, is_imported) = match &input {
            Input::Disk(DiskInput::LayerHeld { card, .. }) => (Some(card), true),
            Input::Work(WorkInput::FetchEnded { result: Ok(fetched), .. }) => (Some(&fetched.card), false),
            Input::Work(WorkInput::Unpacked { held: Some((card, _)), .. }) => (Some(card), false),
            Input::Disk(_) | Input::Work(_) | Input::Peer(_) | Input::Operator(_) | Input::Tick => (None, false),
        };
        let wanted = committed.filter(|card| headers::is_wanted(card, is_imported)).map(|card| card.diff_id);
        self.describing.headers.extend(wanted);
        let undescribed = committed.filter(|card| card.tlsh.is_none()).map(|card| card.diff_id);
        self.describing.waiting.extend(undescribed);
        self.engine.push(input);
        self.describe_next();
    }

    /// Takes up what an earlier life of the node left to do.
    pub(super) fn describe_left(&mut self) {
        kept_blobs::tell_all(&self.shared.store);
        self.describing.headers.extend(headers::lacking(&self.shared));
        self.describing.waiting.extend(later::noted(&self.shared.store));
        self.describing.waiting.extend(later::unpacked(&self.shared));
        self.describe_next();
    }

    /// A layer is done.
    pub(super) fn described(&mut self) {
        self.describing.is_at_work = false;
        self.describe_next();
    }

    fn describe_next(&mut self) {
        if self.describing.is_at_work {
            return;
        }
        let stopping = self.stopping.clone();
        if let Some(layer) = self.describing.headers.pop_front() {
            self.describing.is_at_work = true;
            return self.blocking(Owed::Described, move |shared| {
                if let Some(made) = headers::make(layer, &stopping, shared) {
                    shared.input_blocking(made);
                }
                Ended::Described
            });
        }
        let Some(layer) = self.describing.waiting.pop_front() else { return };
        self.describing.is_at_work = true;
        self.blocking(Owed::Described, move |shared| {
            if let Some(described) = later::describe(layer, &stopping, shared) {
                shared.input_blocking(described);
            }
            later::pack(layer, &stopping, shared);
            Ended::Described
        });
    }
}
