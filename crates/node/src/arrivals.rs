//! Patches that are just coming in: whoever passes one on reads the frames that are on disk, and waits for the next.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lighter_patch::{Frame, Header};
use lighter_types::{Bytes, PatchId};
use tokio::sync::watch;

use crate::part_layout::PartLayout;
use crate::tails::Tail;

/// A patch on its way: what is on disk of it.
#[derive(Clone)]
pub struct Arriving {
    pub file: Arc<File>,
    pub header: Arc<Header>,
    layout: PartLayout,
    /// Frames checked and on disk. Closed when no more will come.
    pub frames: watch::Receiver<u32>,
    /// The last frames, which may be here before those in the middle.
    pub tail: Arc<Tail>,
    pub growth: Arc<Growth>,
}

/// A peer that waits for the next frame hears this number. It grows with each byte of the patch that comes here, or to
/// one of the peers that it comes through, and measures nothing else.
#[derive(Debug, Default)]
pub struct Growth {
    /// Bytes that came here, those of a frame that is not whole among them.
    here: AtomicU64,
    /// The provider's own word.
    before: AtomicU64,
}

impl Growth {
    /// So many bytes of the patch are here.
    pub fn came(&self, bytes: Bytes) {
        self.here.store(bytes.0, Ordering::Relaxed);
    }

    /// The provider waits itself, and says this.
    pub fn heard(&self, done: Bytes) {
        self.before.store(done.0, Ordering::Relaxed);
    }

    pub fn done(&self) -> Bytes {
        Bytes(self.here.load(Ordering::Relaxed).saturating_add(self.before.load(Ordering::Relaxed)))
    }
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
    pub fn begin(
        &self,
        header: &Header,
        file: &File,
        frames: watch::Receiver<u32>,
        tail: Arc<Tail>,
        growth: Arc<Growth>,
    ) -> io::Result<Arrival<'_>> {
        let (file, layout) = (Arc::new(file.try_clone()?), PartLayout::of(header));
        let arriving = Arriving { file, header: Arc::new(header.clone()), layout, frames, tail, growth };
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
        let mut from = self.tail.follow();
        tokio::select! {
            biased;
            came = self.frames.wait_for(|frames| *frames > frame) => came.is_ok(),
            Ok(_) = from.wait_for(|from| *from <= frame) => true,
        }
    }

    /// Reads a frame that is here. Blocks.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read_exact_at(&self, index: u32, frame: &Frame, payload: &mut [u8]) -> io::Result<()> {
        if *self.frames.borrow() > index {
            return self.file.read_exact_at(payload, self.layout.place(frame));
        }
        let of_tail = self.tail.read(index)?;
        if of_tail.len() != payload.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        payload.copy_from_slice(&of_tail);
        Ok(())
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.patch);
    }
}
