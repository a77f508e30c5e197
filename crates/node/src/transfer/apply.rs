//! Applies a patch while it arrives: hashes and writes the range of the target that each frame on disk rebuilds
//! (`decoding`). This is a worker's job: it blocks.
//!
//! A crash leaves the partial patch. When the fetch goes on, the target is rebuilt from its first frame: local work at
//! the speed of the disk.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lighter_engine::{CachedPatch, FetchFailure, Fetched, Lie};
use lighter_image::{Hashes, TarScan, TarSink, scan_tar_with};
use lighter_patch::{Gathered, Header, RebuiltRange};
use lighter_store::{LayerPartReader, LayerWriter, PatchWriter, StoreError};
use lighter_types::{Bytes, Cause, DiffId, Link, OciDigest, ReadAt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::claims::Sizes;
use super::decoding::{Decoder, Ended, Ranges};
use super::encode::effort_of;
use super::failures;
use super::lists::Listed;
use crate::damage::{OpenLayer, find_damaged, set_aside};
use crate::faults::Worker;
use crate::flusher::Flusher;
use crate::growing::Growth;
use crate::headers;
use crate::images;
use crate::later;
use crate::shared::{FileBase, Shared};

/// A layer that was rebuilt.
pub struct Applied {
    pub scan: TarScan,
    /// The time that applying took, without waiting for bytes, hashing and writing.
    pub took: Duration,
    pub hashes: Hashes,
    /// The download that is to become the layer; absent if the layer is committed.
    pub part: Option<LayerPartReader>,
}

/// A patch to apply.
pub struct Applying<'a> {
    pub header: &'a Header,
    /// The manifests of the images that are being pulled.
    pub manifests: &'a [OciDigest],
    pub listed: Option<&'a Listed>,
    pub sizes: Sizes,
    /// Ends the work, within a frame too: nobody wants the layer any more, or the patch will not be whole.
    pub stop: CancellationToken,
}

/// Applies the frames of a partial patch as they are told of in `frames`, and commits the layer. `Ok(None)`: no more
/// came before the patch's end, or the work was stopped.
pub fn apply(
    shared: &Shared,
    patch: Applying<'_>,
    partial: &File,
    frames: watch::Receiver<u32>,
) -> Result<Option<Applied>, FetchFailure> {
    shared.faults.strike(Worker::Apply);
    let Applying { header, manifests, listed, sizes, stop } = patch;
    let listed = listed.filter(|listed| header.bases().iter().any(|base| base.diff_id == listed.id));
    let gathered = listed.map(|listed| listed.base().map(|files| (listed.id, files))).transpose();
    let gathered = gathered.map_err(failures::of_disk)?;
    let layers = open_bases(shared, header, listed)?;
    let bases = readers(header, &layers, gathered.as_ref())?;
    let rebuild = |ranges| {
        let readers = bases.clone();
        let applied = rebuild(shared, (header, manifests), (readers, ranges), sizes, stop.clone());
        applied.map_err(|failed| failed.told(shared, header, &layers, listed))
    };
    // Ends with the applier, however that ends.
    let over = stop.child_token();
    let decoder = Decoder::new(header, bases.clone(), (partial, frames), over.clone());
    if !decoder.may_run_ahead() {
        return rebuild(Ranges::Here(decoder));
    }
    thread::scope(|scope| {
        let _over = over.drop_guard();
        let (sender, ranges) = mpsc::sync_channel(0);
        scope.spawn(move || decoder.run(&sender));
        rebuild(Ranges::Ahead(ranges))
    })
}

/// Writes and hashes the ranges, and commits the layer.
fn rebuild(
    shared: &Shared,
    (header, manifests): (&Header, &[OciDigest]),
    (bases, ranges): (Vec<&dyn ReadAt>, Ranges<'_>),
    sizes: Sizes,
    stop: CancellationToken,
) -> Result<Option<Applied>, Failed> {
    let mut layer = sizes.create(&shared.store, header)?;
    let file = layer.file().map_err(failures::of_store)?;
    let growth = shared.growing.begin(header.target(), file, header.target_bytes()).map_err(failures::of_opening)?;
    let flusher = Flusher::new(file).map_err(failures::of_opening)?;
    let mut source = Frames {
        header,
        bases,
        layer,
        growth,
        flusher,
        sizes,
        stop,
        ranges,
        range: None,
        applying: Duration::ZERO,
        ended: None,
    };
    let mut sink = Written(header.target());
    let mut named = manifests.iter();
    let blob = named.find_map(|manifest| images::compressed_bytes(&shared.store, *manifest, header.target()));
    let hashes = hashes_of(shared, manifests, header.target());
    let scanned = scan_tar_with(hashes, "the rebuilt layer", &mut source, blob, &mut sink);
    let scan = match (scanned, source.ended) {
        (_, Some(Ended::Cut)) => return Ok(None),
        (_, Some(Ended::Failed(failure))) => return Err(failure.into()),
        (Err(error), None) => return Err(failures::of_disk(error).into()),
        (Ok(scan), None) => scan,
    };
    source.flusher.finish().map_err(failures::of_opening)?;
    later::note_for(&shared.store, header.target(), hashes).map_err(failures::of_store)?;
    let result = source.layer.finish_sketched(scan.card, scan.sketch.to_bytes(), shared.uses.now());
    result.map_err(Failed::Commit)?;
    Ok(Some(Applied { scan, took: source.applying, hashes, part: None }))
}

/// Why a layer was not rebuilt.
enum Failed {
    Before(FetchFailure),
    Commit(StoreError),
}

impl From<FetchFailure> for Failed {
    fn from(failure: FetchFailure) -> Self {
        Self::Before(failure)
    }
}

impl Failed {
    /// The failure, as the engine is told. A base that is gone is set aside.
    fn told(self, shared: &Shared, header: &Header, layers: &[OpenLayer], listed: Option<&Listed>) -> FetchFailure {
        match self {
            Self::Before(FetchFailure::BaseGone(base)) => {
                set_aside(base, shared);
                FetchFailure::BaseGone(base)
            }
            Self::Before(failure) => failure,
            Self::Commit(error) => {
                let read = layers.iter().chain(listed.iter().flat_map(|listed| &listed.layers));
                not_committed(error, read, listed.is_some(), header, shared)
            }
        }
    }
}

/// The hashes of a layer that comes: a blob that is kept itself is like nothing else.
pub fn hashes_of(shared: &Shared, manifests: &[OciDigest], layer: DiffId) -> Hashes {
    if images::is_blob(&shared.store, manifests, layer) { Hashes::None } else { Hashes::Sketch }
}

/// Why a rebuilt layer was not committed: another sha256 is the fault of a base on this disk, or of the patch.
fn not_committed<'l>(
    error: StoreError,
    read: impl IntoIterator<Item = &'l OpenLayer>,
    is_by_list: bool,
    header: &Header,
    shared: &Shared,
) -> FetchFailure {
    if !matches!(error, StoreError::Mismatch { .. }) {
        return failures::of_store(error);
    }
    match find_damaged(read, shared) {
        Some(base) => FetchFailure::BaseGone(base),
        None if is_by_list => FetchFailure::Listed,
        None => FetchFailure::WrongResult { patch: header.id(), why: Cause::new(error) },
    }
}

/// A layer that was committed. It is held whatever becomes of the patch; without that, this node makes its own when
/// asked. `writer` is absent if the patch became the layer.
pub fn fetched(
    shared: &Shared,
    applied: Applied,
    writer: Option<PatchWriter>,
    header: &Header,
    (received, link): (Bytes, Link),
) -> Fetched {
    let Applied { scan, took, .. } = applied;
    let (settings, effort) = (header.settings_id(), effort_of(header.settings_id()));
    let patch = if header.is_stored() {
        // The layer has all its payloads.
        drop(writer);
        if let Err(error) = shared.store.discard_patch(&header.id()) {
            tracing::warn!(patch = %header.id(), %error, "a patch that is not needed any more stays on disk");
        }
        headers::keep(header.clone(), shared, effort)
    } else {
        if let Some(Err(error)) = writer.map(|writer| writer.finish(header.id(), shared.uses.now())) {
            tracing::warn!(patch = %header.id(), %error, "the received patch could not be cached");
        }
        CachedPatch {
            patch: header.id(),
            target: header.target(),
            bases: header.bases().iter().map(|base| base.diff_id).collect(),
            bytes: header.patch_bytes(),
            effort,
        }
    };
    Fetched { card: scan.card, sketch: Some(scan.sketch), patch, settings, received, applying: took, link }
}

/// The bases of the header that are layers.
fn open_bases(shared: &Shared, header: &Header, listed: Option<&Listed>) -> Result<Vec<OpenLayer>, FetchFailure> {
    let bases = header.bases().iter().filter(|base| listed.is_none_or(|listed| listed.id != base.diff_id));
    bases.map(|base| open_base(shared, base)).collect()
}

fn open_base(shared: &Shared, base: &lighter_patch::Base) -> Result<OpenLayer, FetchFailure> {
    let reader = shared.store.open_layer(&base.diff_id).ok().flatten();
    let file = reader.and_then(|reader| FileBase::new(reader).ok()).ok_or(FetchFailure::BaseGone(base.diff_id))?;
    if file.len() == base.bytes {
        Ok((base.diff_id, file))
    } else {
        let lie = Lie::BaseBytes { base: base.diff_id, claimed: base.bytes, found: file.len() };
        Err(FetchFailure::Lied(lie))
    }
}

/// All bases, in the header's order.
fn readers<'a>(
    header: &Header,
    layers: &'a [OpenLayer],
    gathered: Option<&'a (DiffId, Gathered<'a>)>,
) -> Result<Vec<&'a dyn ReadAt>, FetchFailure> {
    let mut layers = layers.iter();
    let mut readers: Vec<&dyn ReadAt> = Vec::new();
    for base in header.bases() {
        readers.push(match gathered.filter(|(id, _)| *id == base.diff_id) {
            Some((_, files)) if files.len() != base.bytes => {
                let lie = Lie::BaseBytes { base: base.diff_id, claimed: base.bytes, found: files.len() };
                return Err(FetchFailure::Lied(lie));
            }
            Some((_, files)) => files,
            None => layers.next().map(|(_, file)| file).ok_or(FetchFailure::BaseGone(base.diff_id))?,
        });
    }
    Ok(readers)
}

/// The target's bytes, frame after frame: those on disk first, then those that arrive. Each is written to the layer
/// before it is given out, since later ones may be copies of it.
struct Frames<'a> {
    header: &'a Header,
    bases: Vec<&'a dyn ReadAt>,
    layer: LayerWriter,
    /// Tells of the bytes that are in the layer's file.
    growth: Growth<'a>,
    flusher: Flusher,
    sizes: Sizes,
    stop: CancellationToken,
    ranges: Ranges<'a>,
    /// The range of the target that the last frame rebuilt, as far as it was not read.
    range: Option<RebuiltRange>,
    /// The time that applying took so far.
    applying: Duration,
    /// Why there is no more before the target's end.
    ended: Option<Ended>,
}

impl Frames<'_> {
    /// Goes on with the target's bytes; 0 at its end.
    fn read_next(&mut self, buffer: &mut [u8]) -> Result<usize, Ended> {
        loop {
            if self.stop.is_cancelled() {
                return Err(Ended::Cut);
            }
            if let Some(range) = &mut self.range {
                let bytes = self.layer.written();
                let file = self.layer.file().map_err(|error| Ended::Failed(failures::of_store(error)))?;
                self.growth.reached(bytes);
                let written = FileBase::up_to(file, bytes);
                let began = Instant::now();
                let read = range.read(self.header, &self.bases, &written, buffer);
                self.applying += began.elapsed();
                let count = read.map_err(|error| Ended::Failed(failures::of_apply(error)))?;
                if count > 0 {
                    self.layer.append(&buffer[..count]).map_err(|error| Ended::Failed(self.sizes.of_growth(error)))?;
                    self.flusher.wrote(count);
                    return Ok(count);
                }
            }
            let Some((range, took)) = self.ranges.next()? else { return Ok(0) };
            self.applying += took;
            self.range = Some(range);
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

/// Takes nothing: the bytes are on disk already, and the store proves their name.
pub struct Written(pub DiffId);

impl TarSink for Written {
    fn take(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<DiffId> {
        Ok(self.0)
    }
}
