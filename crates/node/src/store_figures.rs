//! The figures of the store as a worker read them last (`store_reading.rs`), for the driver and the admin API: neither
//! waits for the disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lighter_api::StoreStatus;
use lighter_types::OciDigest;

use crate::releases;

/// The figures of one look at the store.
#[derive(Debug, Default)]
pub struct Figures {
    pub status: StoreStatus,
    /// The images that name something which is not held.
    pub lacking: Vec<(String, OciDigest)>,
    /// The releases of this node's images that have ended, or whose dates cannot be checked.
    pub releases: releases::Warnings,
}

/// The last figures, and when they were read.
#[derive(Default)]
pub struct LastFigures {
    last: Mutex<Option<(Arc<Figures>, Instant)>>,
    /// Held by the worker that reads them for the admin API: a disk that hangs takes one worker and no more.
    pub reading: Arc<tokio::sync::Mutex<()>>,
}

impl LastFigures {
    pub fn set(&self, figures: Figures) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(figures), Instant::now()));
    }

    /// The last figures, and their age.
    pub fn last(&self) -> (Arc<Figures>, Duration) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.map_or_else(Default::default, |(figures, read)| (figures, read.elapsed()))
    }
}
