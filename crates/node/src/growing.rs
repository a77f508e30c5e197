//! Layers that are coming in, as far as they are rebuilt: a blob can be made of such a layer before it is whole.
//!
//! Nothing of such a layer is proved. Whatever is made of it must have a digest of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lighter_types::{Bytes, DiffId, ReadAt};
use tokio::sync::watch;

/// All layers that are coming in.
pub struct Growing {
    layers: Mutex<HashMap<DiffId, GrowingLayer>>,
    /// Changes with each layer that begins.
    begun: watch::Sender<()>,
}

/// A layer that is coming in. A read waits until its bytes are there, and fails if they do not come.
#[derive(Clone)]
pub struct GrowingLayer {
    file: Arc<File>,
    bytes: Bytes,
    there: Arc<There>,
}

/// The bytes of a layer that are in its file, from the first on.
#[derive(Default)]
struct There {
    reached: Mutex<Reached>,
    changed: Condvar,
}

#[derive(Default)]
struct Reached {
    bytes: Bytes,
    /// No more will come.
    is_over: bool,
}

/// A layer is among the [`Growing`] for as long as this is held.
pub struct Growth<'a> {
    growing: &'a Growing,
    layer: DiffId,
    there: Arc<There>,
}

impl Default for Growing {
    fn default() -> Self {
        Self { layers: Mutex::default(), begun: watch::Sender::new(()) }
    }
}

impl Growing {
    /// A layer of so many bytes begins to come into this file.
    ///
    /// # Errors
    /// If the file cannot be opened once more.
    pub fn begin(&self, layer: DiffId, file: &File, bytes: Bytes) -> io::Result<Growth<'_>> {
        let there = Arc::new(There::default());
        let growing = GrowingLayer { file: Arc::new(file.try_clone()?), bytes, there: there.clone() };
        self.lock().insert(layer, growing);
        self.begun.send_replace(());
        Ok(Growth { growing: self, layer, there })
    }

    /// Waits until this layer begins to come.
    pub async fn begins(&self, layer: DiffId) -> GrowingLayer {
        let mut begun = self.begun.subscribe();
        loop {
            let found = self.lock().get(&layer).cloned();
            if let Some(found) = found {
                return found;
            }
            // Its sender is in `self`.
            let _ = begun.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DiffId, GrowingLayer>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Growth<'_> {
    /// So many bytes of the layer are in its file.
    pub fn reached(&self, bytes: Bytes) {
        self.there.lock().bytes = bytes;
        self.there.changed.notify_all();
    }
}

impl Drop for Growth<'_> {
    fn drop(&mut self) {
        let mut layers = self.growing.lock();
        if layers.get(&self.layer).is_some_and(|found| Arc::ptr_eq(&found.there, &self.there)) {
            layers.remove(&self.layer);
        }
        drop(layers);
        self.there.lock().is_over = true;
        self.there.changed.notify_all();
    }
}

impl There {
    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadAt for GrowingLayer {
    fn len(&self) -> Bytes {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = Bytes(offset.saturating_add(buffer.len() as u64));
        let is_missing = |reached: &mut Reached| reached.bytes < end && !reached.is_over;
        let reached = self.there.changed.wait_while(self.there.lock(), is_missing);
        let bytes = reached.unwrap_or_else(PoisonError::into_inner).bytes;
        if bytes < end {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the layer came no further"));
        }
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::FutureExt as _;

    use super::*;

    const LAYER: DiffId = DiffId::new([1; 32]);

    fn read(layer: &GrowingLayer, range: std::ops::Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        layer.read_exact_at(&mut bytes, range.start as u64).map(|()| bytes)
    }

    #[tokio::test]
    async fn a_read_waits_until_its_bytes_are_there() {
        let (growing, mut file) = (Growing::default(), tempfile::tempfile().unwrap());
        let growth = growing.begin(LAYER, &file, Bytes(6)).unwrap();
        let layer = growing.begins(LAYER).await;
        let reading = std::thread::spawn({
            let layer = layer.clone();
            move || read(&layer, 2..6)
        });
        file.write_all(b"abc").unwrap();
        growth.reached(Bytes(3));
        assert_eq!(read(&layer, 1..3).unwrap(), b"bc");
        assert!(!reading.is_finished(), "it read what is not there");
        file.write_all(b"def").unwrap();
        growth.reached(Bytes(6));
        assert_eq!(reading.join().unwrap().unwrap(), b"cdef");
        // The bytes can be read when the layer is committed too.
        drop(growth);
        assert_eq!(read(&layer, 0..6).unwrap(), b"abcdef");
    }

    #[tokio::test]
    async fn a_read_of_what_does_not_come_fails() {
        let (growing, file) = (Growing::default(), tempfile::tempfile().unwrap());
        let growth = growing.begin(LAYER, &file, Bytes(6)).unwrap();
        let layer = growing.begins(LAYER).await;
        let reading = std::thread::spawn(move || read(&layer, 0..1));
        drop(growth);
        assert_eq!(reading.join().unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_layer_that_comes_anew_is_another_one() {
        let (growing, file) = (Growing::default(), tempfile::tempfile().unwrap());
        let first = growing.begin(LAYER, &file, Bytes(6)).unwrap();
        let second = growing.begin(LAYER, &file, Bytes(7)).unwrap();
        drop(first);
        assert_eq!(growing.begins(LAYER).await.len(), Bytes(7));
        drop(second);
        assert!(growing.begins(LAYER).now_or_never().is_none(), "no layer comes");
    }
}
