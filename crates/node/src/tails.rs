//! The last frames of patches, which come from another peer than the first ones (docs/ENGINE.md, "Both ends").
//!
//! The frames of a tail come from the last one down, and are kept in this order in a file of their own. The fetch of
//! the first frames takes them when it gets there. A tail lives as long as a fetch of its patch: it does not survive a
//! power cut.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use lighter_patch::Header;
use lighter_store::{Spool, Store, StoreError};
use lighter_types::{Bytes, PatchId};
use tokio::sync::watch;

/// The tails of the patches that are on their way.
#[derive(Default)]
pub struct Tails(Mutex<HashMap<PatchId, Weak<Tail>>>);

/// The last frames of a patch.
pub struct Tail {
    header: Arc<Header>,
    /// Payloads, the last frame first. Absent before the first of them.
    spool: RwLock<Option<Spool>>,
    /// All frames from this one up are here.
    from: watch::Sender<u32>,
    /// All frames before this one came by the fetch of the first ones.
    first: watch::Sender<u32>,
}

impl Tails {
    /// The tail of a patch, with nothing in it if no fetch of the patch has one.
    pub fn of(&self, header: &Header) -> Arc<Tail> {
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|_, tail| tail.strong_count() > 0);
        if let Some(tail) = tails.get(&header.id()).and_then(Weak::upgrade) {
            return tail;
        }
        let tail = Arc::new(Tail::new(header));
        tails.insert(header.id(), Arc::downgrade(&tail));
        tail
    }

    pub fn get(&self, patch: PatchId) -> Option<Arc<Tail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&patch).and_then(Weak::upgrade)
    }
}

impl Tail {
    fn new(header: &Header) -> Self {
        let frames = header.frames().len() as u32;
        let (from, first) = (watch::Sender::new(frames), watch::Sender::new(0));
        Self { header: Arc::new(header.clone()), spool: RwLock::new(None), from, first }
    }

    /// The first of the frames that are here up to the last one; the number of frames if there are none.
    pub fn from(&self) -> u32 {
        *self.from.borrow()
    }

    /// Follows [`Self::from`].
    pub fn follow(&self) -> watch::Receiver<u32> {
        self.from.subscribe()
    }

    /// The bytes that are here.
    pub fn bytes(&self) -> Bytes {
        self.bytes_from(self.from())
    }

    /// The bytes of the patch from this frame to the end.
    fn bytes_from(&self, frame: u32) -> Bytes {
        let begins = self.header.frame(frame).map_or(self.header.patch_bytes().0, |frame| frame.payload_offset);
        self.header.patch_bytes() - Bytes(begins)
    }

    /// Waits until a frame is here.
    pub async fn has(&self, frame: u32) {
        // The sender is in this tail.
        let _ = self.from.subscribe().wait_for(|from| *from <= frame).await;
    }

    /// All frames before this one came by the fetch of the first ones.
    pub fn first_came(&self, frames: u32) {
        self.first.send_replace(frames);
    }

    /// Waits until a frame came by the fetch of the first ones.
    pub async fn has_first(&self, frame: u32) {
        let _ = self.first.subscribe().wait_for(|first| *first > frame).await;
    }

    /// Keeps the frame before [`Self::from`], which was checked. Another frame is left out. Blocks.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keep(&self, store: &Store, frame: u32, payload: &[u8]) -> Result<(), StoreError> {
        let mut spool = self.spool.write().unwrap_or_else(PoisonError::into_inner);
        if frame + 1 != self.from() {
            return Ok(());
        }
        if spool.is_none() {
            *spool = Some(store.create_spool()?);
        }
        if let Some(spool) = spool.as_mut() {
            spool.append(payload)?;
            self.from.send_replace(frame);
        }
        Ok(())
    }

    /// The payload of a frame that is here. Blocks.
    ///
    /// # Errors
    /// If it is not here, or the disk fails.
    pub fn read(&self, frame: u32) -> io::Result<Vec<u8>> {
        let spool = self.spool.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(spool), Some(found)) = (spool.as_ref(), self.header.frame(frame)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut payload = vec![0; found.payload_bytes as usize];
        let offset = self.bytes_from(frame + 1);
        spool.read_exact_at(&mut payload, offset.0).map_err(io::Error::other)?;
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use lighter_patch::{Method, Settings, Source, encode};
    use lighter_store::Options;
    use lighter_types::{DiffId, Effort};

    use super::*;
    use crate::tests::tar_of_a_file;

    #[test]
    fn frames_are_kept_from_the_last_one_down() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let tar = tar_of_a_file(2_500_000);
        let target = Source { diff_id: DiffId::new([1; 32]), bytes: &tar };
        let settings = Settings { method: Method::Delta(Effort::Plain), threads: 1, ..Settings::default() };
        let patch = encode(&target, &[], &settings, &|_| ControlFlow::Continue(())).unwrap();
        let (header, payloads) = (&patch.header, &patch.payloads);
        let last = payloads.len() as u32 - 1;
        assert!(last >= 2, "three frames at least");
        let tails = Tails::default();
        let tail = tails.of(header);
        assert_eq!((tail.from(), tail.bytes()), (last + 1, Bytes::ZERO));
        assert!(tail.read(last).is_err());
        tail.keep(&store, 0, &payloads[0]).unwrap();
        assert_eq!(tail.from(), last + 1, "a frame that leaves a gap is left out");
        for frame in [last, last - 1] {
            tail.keep(&store, frame, &payloads[frame as usize]).unwrap();
            // A frame that is here is left out.
            tail.keep(&store, frame, &payloads[0]).unwrap();
        }
        assert_eq!(tail.from(), last - 1);
        for frame in [last, last - 1] {
            assert!(tail.read(frame).unwrap() == payloads[frame as usize], "frame {frame}");
        }
        assert_eq!(
            tail.bytes().0,
            payloads[last as usize - 1..].iter().map(|payload| payload.len() as u64).sum::<u64>()
        );
        assert!(Arc::ptr_eq(&tails.get(header.id()).unwrap(), &tail));
        drop(tail);
        assert!(tails.get(header.id()).is_none(), "it goes with the last fetch of its patch");
        assert_eq!(store.stats().unwrap().used_bytes, Bytes::ZERO);
    }
}
