//! Applies a patch while it arrives: each frame is checked, synced to the partial patch, applied, and its part of the
//! target hashed and written. A worker's job: it blocks.
//!
//! What survives a crash is the partial patch; the target is rebuilt from its first frame when the fetch goes on, which
//! is local work at disk speed.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use lighter_engine::{CachedPatch, FetchFailure, Fetched};
use lighter_image::{ImageError, TarScan, TarSink};
use lighter_patch::{ApplyError, Blame, Gathered, Header, ReadAt, RebuiltRange};
use lighter_store::{LayerWriter, PatchKey, PatchWriter, StoreError};
use lighter_types::{Bytes, DiffId};
use tokio::sync::{mpsc, watch};

use super::damage::{OpenLayer, find_damaged, set_aside};
use super::encode::effort_of;
use super::lists::Listed;
use crate::shared::{FileBase, Shared, error_chain, unix_now};

/// Applies what comes over `payloads`, from frame `first_frame` on, to what is on disk of the patch. `Ok(None)`: the
/// payloads ended before the patch did; the frames that came, counted in `frames`, are kept.
pub fn apply(
    shared: &Shared,
    header: &Header,
    listed: Option<&Listed>,
    first_frame: u32,
    payloads: mpsc::Receiver<Vec<u8>>,
    frames: &watch::Sender<u32>,
) -> Result<Option<Fetched>, FetchFailure> {
    let listed = listed.filter(|listed| header.bases().iter().any(|base| base.diff_id == listed.id));
    let gathered = listed.map(|listed| listed.base().map(|files| (listed.id, files))).transpose();
    let gathered = gathered.map_err(|error| FetchFailure::Local(format!("the files of a have-list: {error}")))?;
    let layers = open_bases(shared, header, listed)?;
    let bases = readers(header, &layers, gathered.as_ref())?;
    let writer = open_partial(shared, header)?;
    let kept = header.frames().iter().take_while(|frame| end(frame) <= writer.written()).count() as u32;
    frames.send_replace(kept);
    let arrival = shared.arrivals.begin(header, writer.file(), frames.subscribe());
    let _arrival = arrival.map_err(|error| FetchFailure::Local(format!("cannot open the partial patch: {error}")))?;
    if first_frame > kept {
        return Err(FetchFailure::Local(format!("frames from {first_frame} on came, but only {kept} are on disk")));
    }
    let layer = shared.store.create_layer(header.target(), header.target_bytes()).map_err(|error| local(&error))?;
    let mut source = Frames {
        header,
        bases,
        layer,
        writer,
        payloads,
        arriving: first_frame,
        next: 0,
        kept,
        frames,
        range: None,
        ended: None,
    };
    let mut sink = Written(header.target());
    let scanned = lighter_image::scan_tar("the rebuilt layer", &mut source, &mut sink, &mut |_| {});
    let scan = match (scanned, source.ended) {
        (_, Some(Ended::Cut)) => return Ok(None),
        (_, Some(Ended::Failed(failure))) => {
            if let FetchFailure::BaseGone(base) = failure {
                set_aside(base, shared);
            }
            return Err(failure);
        }
        (Err(error), None) => return Err(FetchFailure::Local(write_failure(error))),
        (Ok(scan), None) => scan,
    };
    let Frames { layer, writer, .. } = source;
    let result = layer.finish_sketched(scan.card, scan.sketch.to_bytes(), unix_now());
    if let Err(error) = result {
        let read = layers.iter().chain(listed.iter().flat_map(|listed| &listed.layers));
        return Err(not_committed(error, read, listed.is_some(), header, shared));
    }
    Ok(Some(fetched(scan, writer, header)))
}

/// Why a rebuilt layer was not committed: another sha256 is the fault of a base on this disk, or of the patch.
fn not_committed<'l>(
    error: StoreError,
    read: impl IntoIterator<Item = &'l OpenLayer>,
    is_by_list: bool,
    header: &Header,
    shared: &Shared,
) -> FetchFailure {
    let StoreError::Mismatch { expected, found, .. } = error else { return local(&error) };
    match find_damaged(read, shared) {
        Some(base) => FetchFailure::BaseGone(base),
        None if is_by_list => FetchFailure::Listed,
        None => {
            let what = format!("the result has sha256 {found}, not {expected}");
            FetchFailure::WrongResult { patch: header.id(), what }
        }
    }
}

/// A layer that was committed. It is held whatever becomes of the patch; without that, this node makes its own when asked.
fn fetched(scan: TarScan, writer: PatchWriter, header: &Header) -> Fetched {
    if let Err(error) = writer.finish(header.id(), unix_now()) {
        tracing::warn!(patch = %header.id(), %error, "the received patch could not be cached");
    }
    let patch = CachedPatch {
        patch: header.id(),
        target: header.target(),
        bases: header.bases().iter().map(|base| base.diff_id).collect(),
        bytes: header.patch_bytes(),
        effort: effort_of(header.settings_id()),
    };
    let settings = header.settings_id();
    Fetched { card: scan.card, sketch: Some(scan.sketch), patch, settings, received: Bytes::ZERO }
}

/// The bases of the header that are layers.
fn open_bases(shared: &Shared, header: &Header, listed: Option<&Listed>) -> Result<Vec<OpenLayer>, FetchFailure> {
    let open = |base: &lighter_patch::Base| {
        let gone = FetchFailure::BaseGone(base.diff_id);
        let reader = shared.store.open_layer(&base.diff_id).map_err(|_| gone.clone())?.ok_or_else(|| gone.clone())?;
        let file = FileBase::new(reader).map_err(|_| gone.clone())?;
        if file.len() == base.bytes {
            Ok((base.diff_id, file))
        } else {
            Err(FetchFailure::Lied(format!("base {} of {}; it has {}", base.diff_id, base.bytes, file.len())))
        }
    };
    let is_layer = |base: &&lighter_patch::Base| listed.is_none_or(|listed| listed.id != base.diff_id);
    header.bases().iter().filter(is_layer).map(open).collect()
}

/// All bases, in the header's order.
fn readers<'a>(
    header: &Header,
    layers: &'a [OpenLayer],
    gathered: Option<&'a (DiffId, Gathered<'a>)>,
) -> Result<Vec<&'a dyn ReadAt>, FetchFailure> {
    let mut layers = layers.iter();
    let mut reader = |base: &lighter_patch::Base| match gathered.filter(|(id, _)| *id == base.diff_id) {
        Some((_, files)) if files.len() != base.bytes => {
            let what = format!("a have-list's base of {}; it has {}", base.bytes, files.len());
            Err(FetchFailure::Lied(what))
        }
        Some((_, files)) => Ok(files as &dyn ReadAt),
        None => layers.next().map(|(_, file)| file as &dyn ReadAt).ok_or(FetchFailure::BaseGone(base.diff_id)),
    };
    header.bases().iter().map(&mut reader).collect()
}

/// The partial patch with this header: the one on disk, or a new one in place of what there was for the target.
fn open_partial(shared: &Shared, header: &Header) -> Result<PatchWriter, FetchFailure> {
    let store = &shared.store;
    let id = header.id();
    if let Some(writer) = store.resume_patch(&id).map_err(|error| local(&error))? {
        if writer.written() >= header.header_bytes() {
            return Ok(writer);
        }
        drop(writer);
    }
    while let Some(other) = store.partial_patch_for(&header.target()) {
        store.discard_patch(&other.patch_id).map_err(|error| local(&error))?;
    }
    let key = PatchKey {
        target: header.target(),
        bases: header.bases().iter().map(|base| base.diff_id).collect(),
        settings: header.settings_id(),
    };
    let mut writer = store.create_patch(key, id, header.patch_bytes()).map_err(|error| local(&error))?;
    writer.append(&header.encode()).and_then(|()| writer.sync()).map_err(|error| local(&error))?;
    Ok(writer)
}

/// The target's bytes, frame after frame: those on disk first, then those that arrive. Each is written to the layer before
/// it is given out, since later ones may be copies of it.
struct Frames<'a> {
    header: &'a Header,
    bases: Vec<&'a dyn ReadAt>,
    layer: LayerWriter,
    writer: PatchWriter,
    payloads: mpsc::Receiver<Vec<u8>>,
    /// The frame whose payload arrives next.
    arriving: u32,
    /// The frame to apply next.
    next: u32,
    /// Frames on disk.
    kept: u32,
    frames: &'a watch::Sender<u32>,
    /// The range of the target that the last frame rebuilt, as far as it was not read.
    range: Option<RebuiltRange>,
    /// Why there is no more before the target's end.
    ended: Option<Ended>,
}

enum Ended {
    Cut,
    Failed(FetchFailure),
}

impl<'a> Frames<'a> {
    fn apply_next(&mut self) -> Result<(), Ended> {
        let payload = if self.next < self.kept { self.payload_on_disk()? } else { self.payload_arriving()? };
        let range = lighter_patch::apply_frame(self.header, self.next, &payload, &self.bases)
            .map_err(|error| Ended::Failed(blame(&error)))?;
        self.range = Some(range);
        self.next += 1;
        Ok(())
    }

    /// Goes on with the target's bytes; 0 at its end.
    fn read_next(&mut self, buffer: &mut [u8]) -> Result<usize, Ended> {
        loop {
            if let Some(range) = &mut self.range {
                let bytes = self.layer.written();
                let file = self.layer.file().map_err(|error| Ended::Failed(local(&error)))?;
                let written = FileBase::up_to(file, bytes);
                let read = range.read(self.header, &self.bases, &written, buffer);
                let count = read.map_err(|error| Ended::Failed(blame(&error)))?;
                if count > 0 {
                    self.layer.append(&buffer[..count]).map_err(|error| Ended::Failed(local(&error)))?;
                    return Ok(count);
                }
            }
            self.range = None;
            if self.next as usize == self.header.frames().len() {
                return Ok(0);
            }
            self.apply_next()?;
        }
    }

    fn payload_on_disk(&mut self) -> Result<Vec<u8>, Ended> {
        let Some(frame) = self.header.frame(self.next) else { return Err(Ended::Cut) };
        let mut payload = vec![0; frame.payload_bytes as usize];
        let read = self.writer.file().read_exact_at(&mut payload, frame.payload_offset);
        read.map_err(|error| Ended::Failed(FetchFailure::Local(format!("cannot read the partial patch: {error}"))))?;
        Ok(payload)
    }

    /// Waits for a frame, checks it and syncs it to disk.
    fn payload_arriving(&mut self) -> Result<Vec<u8>, Ended> {
        loop {
            let payload = self.payloads.blocking_recv().ok_or(Ended::Cut)?;
            let frame = self.arriving;
            self.arriving += 1;
            if frame < self.kept {
                continue;
            }
            lighter_patch::verify_frame(self.header, frame, &payload).map_err(|error| Ended::Failed(blame(&error)))?;
            let written = self.writer.append(&payload).and_then(|()| self.writer.sync());
            written.map_err(|error| Ended::Failed(local(&error)))?;
            self.kept += 1;
            self.frames.send_replace(self.kept);
            return Ok(payload);
        }
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_next(buffer).map_err(|ended| {
            self.ended = Some(ended);
            io::Error::other("the patch ended early")
        })
    }
}

/// What the scan reads is written already, and the store proves its name.
struct Written(DiffId);

impl TarSink for Written {
    fn take(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<DiffId> {
        Ok(self.0)
    }
}

/// Where a frame's payload ends in the patch.
fn end(frame: &lighter_patch::Frame) -> Bytes {
    Bytes(frame.payload_offset + u64::from(frame.payload_bytes))
}

fn blame(error: &ApplyError) -> FetchFailure {
    match (error, error.blame()) {
        (ApplyError::BaseRead { diff_id, .. }, _) => FetchFailure::BaseGone(*diff_id),
        (_, Blame::Peer) => FetchFailure::Lied(error.to_string()),
        _ => FetchFailure::Local(error.to_string()),
    }
}

fn local(error: &StoreError) -> FetchFailure {
    FetchFailure::Local(error_chain(error))
}

fn write_failure(error: ImageError) -> String {
    error_chain(&error)
}
