//! The part of a patch that is on disk while the patch is not whole.

use lighter_engine::Part;
use lighter_patch::Header;
use lighter_store::{PartialPatch, Store};

/// Describes a partial patch to the engine; `None` if its header is not whole.
pub fn part_on_disk(store: &Store, partial: &PartialPatch) -> Option<Part> {
    let writer = store.resume_patch(&partial.patch_id).ok()??;
    let mut file = writer.file().try_clone().ok()?;
    std::io::Seek::rewind(&mut file).ok()?;
    let header = Header::read_from(&mut file).ok().filter(|header| header.id() == partial.patch_id)?;
    let ends = header.frames().iter().map(|frame| frame.payload_offset + u64::from(frame.payload_bytes));
    let frames = ends.take_while(|end| *end <= partial.synced_bytes.0).count() as u32;
    let bases = header.bases().iter().map(|base| base.diff_id).collect();
    let (bytes, bytes_total) = (partial.synced_bytes, header.patch_bytes());
    Some(Part { patch: partial.patch_id, settings: header.settings_id(), bases, frames, bytes, bytes_total })
}
