//! Packing: a held layer's tar is compressed at rest, behind its commit.
//!
//! The packed file is written and synced under a temporary name, while the layer stays what it is. The bytes that go in
//! have the layer's sha256, and each frame is decoded once before it is written. Then the file gets its name, the
//! folder is synced, and the tar is removed. After a crash in between both files are there: opening takes the packed
//! one, which is whole, and removes the tar. No row changes.
//!
//! Nothing gives way to a packed file. A layer that does not get smaller stays a tar.

use std::io::{BufWriter, Write};

use lighter_types::{Bytes, DiffId, ReadAt};
use sha2::{Digest, Sha256};

use crate::error::{Item, Result};
use crate::packed::PackedWriter;
use crate::store::Store;
use crate::temporary::Temporary;

const CHUNK_BYTES: usize = 1 << 20;
/// A layer is packed if that saves one byte in so many at least.
const GAIN_PARTS: u64 = 32;
/// After so much of the tar the writer looks whether it gets smaller at all.
const TRIED_BYTES: u64 = 32 << 20;

/// How packing a layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// The layer takes so many bytes less.
    Packed { saved: Bytes },
    /// It would not be smaller.
    NotSmaller,
    /// It is packed already, or not held any more.
    Nothing,
    /// There is no room for a second form of it.
    NoRoom,
    /// The caller ended it.
    Stopped,
}

impl Store {
    /// Packs a held layer. Calls `go_on` after each MiB, and ends if that is false.
    ///
    /// # Errors
    /// `Damaged` when the tar has not the layer's sha256: it is still held. `Io`, `DiskFull`: nothing changed, but for
    /// a tar that could not be removed beside its packed file.
    pub fn pack_layer(&self, diff_id: &DiffId, go_on: &mut dyn FnMut() -> bool) -> Result<Packing> {
        let Some(reader) = self.open_layer(diff_id)?.filter(|reader| !reader.is_packed()) else {
            return Ok(Packing::Nothing);
        };
        let item = Item::Layer(*diff_id);
        let mut temporary = Temporary::create(&self.inner, Bytes::ZERO)?;
        let path = temporary.path();
        let failed = |action, error| self.inner.folder.failure(action, &path, error);
        let file = temporary.file.try_clone().map_err(|error| failed("open", error))?;
        let mut writer = PackedWriter::new(BufWriter::with_capacity(CHUNK_BYTES, file));
        let (mut sha256, mut buffer, mut offset) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
        let tar_bytes = reader.card().tar_bytes.0;
        while offset < tar_bytes {
            if !go_on() {
                return Ok(Packing::Stopped);
            }
            let count = (tar_bytes - offset).min(CHUNK_BYTES as u64) as usize;
            reader.read_exact_at(&mut buffer[..count], offset).map_err(|error| failed("read", error))?;
            // A frame is never longer than its content by more than a part of it.
            let missing = Bytes(writer.written().1 + 2 * CHUNK_BYTES as u64) - temporary.reserved();
            if missing > Bytes::ZERO && !temporary.grow_if_free(missing)? {
                return Ok(Packing::NoRoom);
            }
            sha256.update(&buffer[..count]);
            writer.append(&buffer[..count]).map_err(|error| failed("write", error))?;
            offset += count as u64;
            if (TRIED_BYTES..TRIED_BYTES + count as u64).contains(&offset) && !is_smaller(writer.written()) {
                return Ok(Packing::NotSmaller);
            }
        }
        let found = DiffId::new(sha256.finalize().into());
        if found != *diff_id {
            return Err(self.inner.damaged(&item, format!("the tar's sha256 is {found}")));
        }
        let finished = writer.finish().and_then(|mut out| out.flush().map(|()| out));
        let length = finished.and_then(|out| Ok(out.get_ref().metadata()?.len()));
        let length = length.map_err(|error: std::io::Error| failed("write", error))?;
        if !is_smaller((tar_bytes, length)) {
            return Ok(Packing::NotSmaller);
        }
        let saved = Bytes(tar_bytes - length);
        let is_placed = temporary.replace_tar(diff_id, Bytes(length))?;
        Ok(if is_placed { Packing::Packed { saved } } else { Packing::Nothing })
    }

    /// Held layers whose file is the tar, sorted.
    pub fn unpacked_layers(&self) -> Vec<DiffId> {
        let ledger = self.inner.ledger();
        ledger.layers.iter().filter(|(_, layer)| !layer.is_packed).map(|(id, _)| *id).collect()
    }
}

fn is_smaller((tar_bytes, file_bytes): (u64, u64)) -> bool {
    file_bytes + tar_bytes / GAIN_PARTS < tar_bytes
}
