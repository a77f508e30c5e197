//! Panics that tests inject into the node's workers. A node in operation has none: only tests can arm one.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// A place that can panic on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worker {
    Driver,
    Fetch,
    Apply,
    Encode,
    ReadImage,
    KeepBlob,
    CommitImage,
    Unpack,
    ServeStream,
    AnswerFromStore,
    LookUpImage,
    Import,
    Export,
    Probe,
}

/// The workers that panic when they start next.
#[derive(Debug, Default)]
pub struct Faults(Mutex<BTreeSet<Worker>>);

impl Faults {
    /// The worker panics once, when it starts next.
    #[cfg(test)]
    pub fn arm(&self, worker: Worker) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(worker);
    }

    /// Whether a test armed this worker and it did not panic yet.
    #[cfg(test)]
    pub fn is_armed(&self, worker: Worker) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&worker)
    }

    /// Called by a worker when it starts.
    ///
    /// # Panics
    /// If a test armed this worker.
    #[allow(clippy::panic, reason = "the panic is what a test asked for")]
    pub fn strike(&self, worker: Worker) {
        let armed = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
        assert!(!armed, "a test injected this panic into {worker:?}");
    }
}
