//! Keeps a patch while it arrives. Each frame is checked and synced to the partial patch; then those who wait for it
//! hear of it: the applier of this node, and the streams that pass the patch on. So a relay passes a patch on as fast
//! as its disk is, not as its processor is. This is a worker's job: it blocks.

use std::fs::File;
use std::io;

use lighter_engine::{FetchFailure, LocalFailure};
use lighter_patch::Header;
use lighter_store::{PatchKey, PatchWriter, StoreError};
use lighter_types::PatchId;
use tokio::sync::{mpsc, watch};

use super::claims::{self, Sizes};
use super::failures;
use crate::part_layout::PartLayout;
use crate::shared::Shared;

/// Frames that are synced together at most, while they come faster than the disk syncs: what a power cut costs.
const SYNCED_TOGETHER: usize = 8;

/// A patch of which some frames are on disk.
pub struct Partial {
    writer: PatchWriter,
    /// Frames on disk, from the first on.
    pub kept: u32,
}

impl Partial {
    /// Opens the part of this patch that is on disk, to which frames from `first_frame` on will be added. A part of
    /// another patch for the same target is discarded.
    ///
    /// # Errors
    /// `Local`: the disk fails, or has less than that. `NoRoom`.
    pub fn open(shared: &Shared, header: &Header, first_frame: u32, sizes: &Sizes) -> Result<Self, FetchFailure> {
        let writer = match resume(shared, header).map_err(failures::of_store)? {
            Some(writer) => writer,
            None => create(shared, header, sizes)?,
        };
        let kept = PartLayout::of(header).frames_in(header, writer.written());
        if first_frame > kept {
            return Err(FetchFailure::Local(LocalFailure::PartShrank { first: first_frame, held: kept }));
        }
        Ok(Self { writer, kept })
    }

    /// The file, to read what is there.
    ///
    /// # Errors
    /// If it cannot be opened once more.
    pub fn file(&self) -> io::Result<File> {
        self.writer.file().try_clone()
    }

    /// Takes frames from `arriving` on until no more come, and counts in `frames` those that are on disk. Returns the
    /// partial patch, and what was wrong with the last frame.
    pub fn keep(
        mut self,
        header: &Header,
        arriving: u32,
        mut payloads: mpsc::Receiver<Vec<u8>>,
        frames: &watch::Sender<u32>,
    ) -> (PatchWriter, Result<(), FetchFailure>) {
        let mut frame = arriving;
        while let Some(payload) = payloads.blocking_recv() {
            let mut next = Some(payload);
            let mut came = 0;
            let mut failed = None;
            while let Some(payload) = next.take() {
                if let Err(failure) = self.append(header, frame, &payload, &mut came) {
                    failed = Some(failure);
                    break;
                }
                frame += 1;
                if came < SYNCED_TOGETHER {
                    next = payloads.try_recv().ok();
                }
            }
            // Frames before a wrong one are kept.
            if came > 0 {
                if let Err(error) = self.writer.sync() {
                    return (self.writer, Err(failures::of_store(error)));
                }
                self.kept += came as u32;
                frames.send_replace(self.kept);
            }
            if let Some(failure) = failed {
                return (self.writer, Err(failure));
            }
        }
        (self.writer, Ok(()))
    }

    /// Checks a frame and writes it, unless it is there. Counts it in `came`.
    fn append(&mut self, header: &Header, frame: u32, payload: &[u8], came: &mut usize) -> Result<(), FetchFailure> {
        if frame < self.kept {
            return Ok(());
        }
        lighter_patch::verify_frame(header, frame, payload).map_err(failures::of_apply)?;
        self.writer.append(payload).map_err(claims::of_claim)?;
        *came += 1;
        Ok(())
    }
}

/// Discards what is on disk of a patch that is a lie.
pub fn discard(shared: &Shared, patch: PatchId) {
    if let Err(error) = shared.store.discard_patch(&patch) {
        tracing::warn!(%patch, %error, "a part of a wrong patch stays on disk");
    }
}

/// The partial patch with this header that is on disk. Discards what else there is for the target.
fn resume(shared: &Shared, header: &Header) -> Result<Option<PatchWriter>, StoreError> {
    let store = &shared.store;
    let is_of_layout = match PartLayout::of(header) {
        PartLayout::Patch => true,
        PartLayout::Layer => store.layer_part_header(&header.id())?.is_some_and(|kept| kept == header.encode()),
    };
    let resumed = if is_of_layout { store.resume_patch(&header.id())? } else { None };
    let resumed = resumed.filter(|writer| has_header(header, writer));
    if resumed.is_none() {
        while let Some(other) = store.partial_patch_for(&header.target()) {
            store.discard_patch(&other.patch_id)?;
        }
    }
    Ok(resumed)
}

/// Whether the header of a partial patch is on disk.
fn has_header(header: &Header, writer: &PatchWriter) -> bool {
    PartLayout::of(header) == PartLayout::Layer || writer.written() >= header.header_bytes()
}

/// A new partial patch, with its header.
fn create(shared: &Shared, header: &Header, sizes: &Sizes) -> Result<PatchWriter, FetchFailure> {
    let key = PatchKey {
        target: header.target(),
        bases: header.bases().iter().map(|base| base.diff_id).collect(),
        settings: header.settings_id(),
    };
    sizes.check_room(&shared.store, header)?;
    if PartLayout::of(header) == PartLayout::Layer {
        let (id, bytes) = (header.id(), header.target_bytes());
        return shared.store.create_layer_part(key, id, &header.encode(), bytes).map_err(failures::of_store);
    }
    let created = shared.store.create_patch(key, header.id(), header.patch_bytes());
    let mut writer = created.map_err(failures::of_store)?;
    // The first frame's sync covers the header.
    writer.append(&header.encode()).map_err(claims::of_claim)?;
    Ok(writer)
}
