//! Patches that are just coming in: whoever passes one on reads the frames that are on disk, and waits for the next.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_patch::Header;
use lighter_types::PatchId;
use tokio::sync::watch;

/// A patch on its way: what is on disk of it.
#[derive(Clone)]
pub struct Arriving {
    pub file: Arc<File>,
    pub header: Arc<Header>,
    /// Frames checked and on disk. Closed when no more will come.
    pub frames: watch::Receiver<u32>,
}

/// All patches on their way.
#[derive(Default)]
pub struct Arrivals(Mutex<HashMap<PatchId, Arriving>>);

/// A patch is among the [`Arrivals`] for as long as this is held.
pub struct Arrival<'a> {
    arrivals: &'a Arrivals,
    patch: PatchId,
}

impl Arrivals {
    /// A patch begins to come into this file.
    ///
    /// # Errors
    /// If the file cannot be opened once more.
    pub fn begin(&self, header: &Header, file: &File, frames: watch::Receiver<u32>) -> io::Result<Arrival<'_>> {
        let arriving = Arriving { file: Arc::new(file.try_clone()?), header: Arc::new(header.clone()), frames };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(header.id(), arriving);
        Ok(Arrival { arrivals: self, patch: header.id() })
    }

    pub fn get(&self, patch: PatchId) -> Option<Arriving> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&patch).cloned()
    }
}

impl Arriving {
    /// Waits until a frame is on disk; false if it will not come.
    pub async fn has(&mut self, frame: u32) -> bool {
        self.frames.wait_for(|frames| *frames > frame).await.is_ok()
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.patch);
    }
}
