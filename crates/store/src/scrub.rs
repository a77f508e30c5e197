//! The scrub: reads what is held, one item after the other, so that damage is found before somebody wants the item.
//!
//! A held item that has other bytes than its name, or cannot be read, goes to `quarantine/` and is no longer held. A
//! reference's file is written again from its row. The caller chooses the pace, remembers the last item, and fetches
//! again what went. A partial patch is left out: its frames are checked before they are applied.
//!
//! The scrub reads from the disk, not from the page cache, which would hide a fault of the disk. It also leaves nothing
//! in the cache, where it would push out what is in use.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lighter_types::{Bytes, ImageReference};
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};

use crate::error::{Item, Result};
use crate::index::Column;
use crate::layers::Lease;
use crate::packed::Tar;
use crate::rows;
use crate::store::{Inner, Store};

/// Bytes that are read between two calls of the caller's pause.
const CHUNK_BYTES: usize = 256 << 10;

/// The result of reading one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// It has the bytes of its name.
    Whole,
    /// It has other bytes, or cannot be read. The item is no longer held; a reference is written again and stays.
    Damaged {
        why: String,
        /// The place of the file, if there was one that could be moved.
        moved_to: Option<PathBuf>,
    },
    /// Another thread removed it.
    Gone,
    /// The caller's pause ended the scrub.
    Stopped,
}

impl Store {
    /// The held item behind `after` in the order of a scrub: layers, blobs, patches, references, each by name. `None`
    /// at the end. The first one, if `after` is none.
    pub fn next_item(&self, after: Option<&Item>) -> Option<Item> {
        let ledger = self.inner.ledger();
        let layers = || ledger.layers.keys().next().copied().map(Item::Layer);
        let blobs = || ledger.blobs.keys().next().copied().map(Item::Blob);
        let patches = || ledger.patches.keys().next().copied().map(Item::Patch);
        let images = || ledger.images.keys().next().cloned().map(Item::Image);
        let Some(after) = after else { return layers().or_else(blobs).or_else(patches).or_else(images) };
        match after {
            Item::Layer(id) => {
                let next = ledger.layers.range((Bound::Excluded(id), Bound::Unbounded)).next();
                next.map(|(id, _)| Item::Layer(*id)).or_else(blobs).or_else(patches).or_else(images)
            }
            Item::Blob(digest) => {
                let next = ledger.blobs.range((Bound::Excluded(digest), Bound::Unbounded)).next();
                next.map(|(digest, _)| Item::Blob(*digest)).or_else(patches).or_else(images)
            }
            Item::Patch(id) => {
                let next = ledger.patches.range((Bound::Excluded(id), Bound::Unbounded)).next();
                next.map(|(id, _)| Item::Patch(*id)).or_else(images)
            }
            Item::Image(reference) => {
                let next =
                    ledger.images.range::<ImageReference, _>((Bound::Excluded(reference), Bound::Unbounded)).next();
                next.map(|(reference, _)| Item::Image(reference.clone()))
            }
        }
    }

    /// Reads an item and compares its bytes with its name. Calls `pause` with the number of bytes of each chunk that
    /// was read; the scrub of the item ends when `pause` says false.
    ///
    /// # Errors
    /// `Io` when a file cannot be opened or set aside; `DiskFull`, `Index`. Damage is a result, not an error.
    pub fn scrub(&self, item: &Item, pause: &mut dyn FnMut(Bytes) -> bool) -> Result<Scrubbed> {
        match item {
            Item::Image(reference) => self.inner.scrub_image(reference),
            Item::Layer(_) | Item::Blob(_) | Item::Patch(_) => self.inner.scrub_file(item, pause),
        }
    }

    /// Reads every row of the index, so that the index compares them with its checksums. Returns the number of rows.
    ///
    /// # Errors
    /// `Index`: a row cannot be read, or its checksum differs.
    pub fn scrub_index(&self) -> Result<u64> {
        let mut count = 0;
        for column in Column::ALL {
            self.inner.index.scan(column, &[], &mut |_, _| count += 1)?;
        }
        Ok(count)
    }
}

impl Inner {
    fn scrub_file(self: &std::sync::Arc<Self>, item: &Item, pause: &mut dyn FnMut(Bytes) -> bool) -> Result<Scrubbed> {
        let mut ledger = self.ledger();
        let Some(bytes) = ledger.bytes(item) else { return Ok(Scrubbed::Gone) };
        let expected = match item {
            Item::Layer(id) => Some(*id.as_bytes()),
            Item::Blob(digest) => Some(*digest.as_bytes()),
            Item::Patch(id) => ledger.patches.get(id).map(|patch| patch.sha256),
            Item::Image(_) => None,
        };
        let Some(file) = self.open_item(&mut ledger, item, bytes)? else {
            if let Item::Layer(id) = item {
                ledger.gone.insert(*id);
            }
            let why = format!("the file is missing, or has not its {} bytes", bytes.0);
            return Ok(Scrubbed::Damaged { why, moved_to: None });
        };
        let lease = Lease::take(self, &mut ledger, item.clone());
        drop(ledger);
        let path = self.path(item);
        forget_cached(&file);
        let read = match item {
            Item::Layer(_) => Tar::open(&path).and_then(|tar| sha256_of(tar.stream(), pause)),
            Item::Blob(_) | Item::Patch(_) | Item::Image(_) => sha256_of(&file, pause),
        };
        forget_cached(&file);
        drop(lease);
        let why = match read {
            Ok(None) => return Ok(Scrubbed::Stopped),
            Ok(found) if found == expected => return Ok(Scrubbed::Whole),
            Ok(_) => "its sha256 is another".to_owned(),
            Err(error) => format!("it cannot be read: {error}"),
        };
        let mut ledger = self.ledger();
        // Another thread may have set the file aside, and committed the item anew.
        if !is_at(&file, &path) {
            return Ok(Scrubbed::Gone);
        }
        let moved_to = self.set_aside(&mut ledger, item)?;
        Ok(Scrubbed::Damaged { why, moved_to })
    }

    fn scrub_image(&self, reference: &ImageReference) -> Result<Scrubbed> {
        let mut ledger = self.ledger();
        let Some(image) = ledger.images.get(reference) else { return Ok(Scrubbed::Gone) };
        let expected = rows::image_file(&rows::image(reference, image));
        let path = self.path(&Item::Image(reference.clone()));
        if self.folder.read(&path, rows::IMAGE_FILE_BYTES_MAX).is_ok_and(|file| file.as_ref() == Some(&expected)) {
            return Ok(Scrubbed::Whole);
        }
        let number = ledger.add_temporary(Bytes::ZERO);
        let written = self.folder.write(&path, &expected, number);
        ledger.temporaries.remove(&number);
        written?;
        let why = "the file differed from its row; it was written again".to_owned();
        Ok(Scrubbed::Damaged { why, moved_to: None })
    }
}

/// The sha256 of what is read; `None` if `pause` ended it.
fn sha256_of(mut reader: impl Read, pause: &mut dyn FnMut(Bytes) -> bool) -> io::Result<Option<[u8; 32]>> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(Some(sha256.finalize().into())),
            Ok(read) => {
                sha256.update(&buffer[..read]);
                if !pause(Bytes(read as u64)) {
                    return Ok(None);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Drops a file's pages from the cache, but for those that are not on the disk yet.
fn forget_cached(file: &File) {
    // Advice: without it the scrub only finds less.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// Whether the file has this path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}
