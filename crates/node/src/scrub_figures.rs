//! The place and the counts of the scrub: for the worker, the driver and the status.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lighter_api as api;
use lighter_store::{Store, UnixSeconds};
use lighter_types::Bytes;

use crate::scrub_record::{self, Record};

/// See the module.
#[derive(Default)]
pub struct Scrub(Mutex<State>);

#[derive(Clone, Default)]
pub struct State {
    pub record: Record,
    is_running: bool,
    /// Damaged files and bytes since the node started.
    pub damaged: u64,
    pub bytes: Bytes,
}

impl Scrub {
    /// The place that earlier lives of the node reached. The first life begins the first interval.
    pub fn of(store: &Store, now: UnixSeconds) -> Self {
        let mut record = scrub_record::kept(store);
        if record.since_s == 0 {
            record.since_s = now.0;
            keep(store, &record);
        }
        Self(Mutex::new(State { record, ..State::default() }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker for a pass is on its way.
    pub fn begin(&self) {
        self.state().is_running = true;
    }

    /// The worker ended, in whatever way.
    pub fn end(&self) {
        self.state().is_running = false;
    }

    /// Makes a pass seem interrupted behind an item.
    #[cfg(test)]
    pub fn set_after(&self, after: Option<lighter_store::Item>) {
        self.state().record.after = after;
    }

    /// The figures as the admin API shows them.
    pub fn status(&self) -> api::ScrubStatus {
        let State { record, is_running, damaged, bytes } = self.state().clone();
        api::ScrubStatus {
            last_s: record.ended_s,
            last_bytes: Bytes(record.ended_bytes),
            last_damaged: record.ended_damaged,
            running: is_running,
            read_bytes: bytes,
            damaged,
        }
    }
}

/// Writes the record; without it the next life of the node reads again.
pub fn keep(store: &Store, record: &Record) {
    if let Err(error) = scrub_record::keep(store, record) {
        tracing::warn!(%error, "the place of the scrub is forgotten when this node stops");
    }
}
