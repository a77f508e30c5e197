//! Makes a patch for peers and puts it into the cache. A worker's job: it blocks.
//!
//! Large patches wait for their share of the memory that all patches have together. Payloads go to the disk when they
//! are many: the header is known last, and stands first.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lighter_engine::{CachedPatch, EncodeFailure, EncodeId, LocalFailure, WorkInput};
use lighter_patch::{EncodeError, HaveList, Header, Source, plain_header};
use lighter_store::{PatchKey, Spool, Store, StoreError, UnixSeconds};
use lighter_types::{Cause, DiffId, Effort, ReadAt, error_chain};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::lists::THREADS;
use crate::damage::{OpenLayer, find_damaged};
use crate::faults::Worker;
use crate::headers;
use crate::shared::{FileBase, Shared, local_failure};

/// Progress is told this often at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A patch to be made.
pub struct EncodeJob {
    pub encode: EncodeId,
    pub target: DiffId,
    pub bases: Vec<DiffId>,
    pub effort: Effort,
}

impl EncodeJob {
    /// Whether the header is all that there is to make (`headers`).
    fn is_plain(&self) -> bool {
        self.effort == Effort::Plain && self.bases.is_empty()
    }
}

/// Makes the patch; how that ended. Given up when `stopping` says so. At *plain* the header is all that is made, beside
/// the check of the layer's bytes (`headers`).
pub fn encode(job: &EncodeJob, stopping: &CancellationToken, shared: &Shared) -> WorkInput {
    shared.faults.strike(Worker::Encode);
    let started = Instant::now();
    let &EncodeJob { encode, target, effort, .. } = job;
    let in_making = if job.is_plain() { headers::wait(target, stopping, shared) } else { None };
    // The engine learns from the time how fast this machine makes patches.
    let (result, took) = in_making.map_or_else(
        || {
            let mut waited = Duration::ZERO;
            let result = make(job, stopping, shared, &mut waited);
            (result, started.elapsed().saturating_sub(waited))
        },
        |(patch, took)| (Ok(patch), took),
    );
    if let Ok(patch) = &result {
        let (bytes, bases, took_ms) = (patch.bytes.0, job.bases.len(), took.as_millis());
        tracing::info!(%target, bytes, bases, ?effort, took_ms, "made a patch");
    }
    WorkInput::EncodeEnded { encode, took, result }
}

/// `waited` is the time until there was memory for it.
fn make(
    job: &EncodeJob,
    stopping: &CancellationToken,
    shared: &Shared,
    waited: &mut Duration,
) -> Result<CachedPatch, EncodeFailure> {
    let &EncodeJob { encode, target, ref bases, effort } = job;
    let target_layer = open(target, shared)?;
    // Bases that have-lists stand for are gathered from the target.
    let lists: Vec<(DiffId, Arc<HaveList>)> =
        bases.iter().filter_map(|base| Some((*base, shared.lists.get(base)?))).collect();
    let layers = bases.iter().filter(|base| lists.iter().all(|(list, _)| list != *base));
    let base_layers = layers.map(|&base| open(base, shared)).collect::<Result<Vec<_>, _>>()?;
    let settings = shared.config.patch_settings(effort);
    let reported_at = Mutex::new(Instant::now());
    let progress = |target_bytes_done| {
        if let Ok(mut reported_at) = reported_at.try_lock()
            && reported_at.elapsed() >= PROGRESS_EVERY
        {
            *reported_at = Instant::now();
            shared.input_if_idle(WorkInput::EncodeProgress { encode, target_bytes_done });
        }
        if stopping.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let failed = |error| ended_early(target, error);
    let (damaged, plain) = thread::scope(|scope| {
        let damaged = scope.spawn(|| find_damaged(base_layers.iter().chain([&target_layer]), shared));
        let header = job.is_plain().then(|| plain_header(&source(&target_layer), &settings, &progress));
        (damaged.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), header)
    });
    if let Some(damaged) = damaged {
        return Err(EncodeFailure::LayerGone(damaged));
    }
    if let Some(header) = plain.transpose().map_err(failed)? {
        return Ok(headers::keep(header, shared, Some(effort)));
    }
    let mut listed = Vec::new();
    for (name, list) in &lists {
        let files = list.gather(&[&target_layer.1], THREADS).map_err(|_| EncodeFailure::LayerGone(target))?;
        listed.push((*name, files));
    }
    let mut sources: Vec<Source<'_>> = base_layers.iter().map(source).collect();
    sources.extend(listed.iter().map(|(name, files)| Source { diff_id: *name, bytes: files }));
    let layer_bytes = target_layer.1.len() + base_layers.iter().map(|(_, file)| file.len()).sum();
    let asked = Instant::now();
    let share = stopping.run_until_cancelled(shared.encode_memory.take(effort, layer_bytes));
    let _share =
        Handle::current().block_on(share).ok_or(EncodeFailure::Local(encode_failure(EncodeError::Cancelled)))?;
    *waited = asked.elapsed();
    let mut payloads = Payloads { store: &shared.store, held: Vec::new(), spool: None };
    let header = lighter_patch::encode_to(&source(&target_layer), &sources, &settings, &progress, &mut |payload| {
        payloads.add(&payload)
    })
    .map_err(failed)?;
    let used: Vec<DiffId> = header.bases().iter().map(|base| base.diff_id).collect();
    let key = PatchKey { target, bases: used.clone(), settings: header.settings_id() };
    let now = shared.uses.now();
    payloads
        .keep(&header, key, now)
        .inspect_err(|error| log_failure(target, error))
        .map_err(|error| EncodeFailure::Local(local_failure(error)))?;
    for layer in bases.iter().chain([&target]) {
        // Only the order of eviction hangs on it.
        let _ = shared.store.touch(layer, now);
    }
    Ok(CachedPatch { patch: header.id(), target, bases: used, bytes: header.patch_bytes(), effort: Some(effort) })
}

/// The failure of an encode that gave no patch.
fn ended_early(target: DiffId, error: EncodeError) -> EncodeFailure {
    if matches!(error, EncodeError::Cancelled) {
        tracing::info!(%target, "a patch is given up: nobody waits for it any more");
    } else {
        log_failure(target, &error);
    }
    EncodeFailure::Local(encode_failure(error))
}

fn log_failure(target: DiffId, error: &dyn std::error::Error) {
    tracing::error!(%target, error = error_chain(error), "a patch could not be made");
}

/// Why no patch was made; what the store refused stays what it is.
fn encode_failure(error: EncodeError) -> LocalFailure {
    let cause = |error| LocalFailure::Failed(Cause::new(error));
    match error {
        EncodeError::Output(error) => match error.downcast::<StoreError>() {
            Ok(error) => local_failure(error),
            Err(error) => cause(EncodeError::Output(error)),
        },
        error => cause(error),
    }
}

/// So many bytes of payloads are held in memory; more go to the disk. The header comes last, and stands first.
const HELD_BYTES_MAX: usize = 16 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// The payloads of a patch while it is made.
struct Payloads<'a> {
    store: &'a Store,
    spool: Option<Spool>,
    /// The bytes behind the spool's.
    held: Vec<u8>,
}

impl Payloads<'_> {
    fn add(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.held.len() + payload.len() > HELD_BYTES_MAX {
            self.spill().map_err(io::Error::other)?;
        }
        self.held.extend_from_slice(payload);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), StoreError> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(self.store.create_spool()?),
        };
        spool.append(&self.held)?;
        self.held.clear();
        Ok(())
    }

    /// Writes the patch into the cache.
    fn keep(&self, header: &Header, key: PatchKey, now: UnixSeconds) -> Result<(), StoreError> {
        let mut writer = self.store.create_patch_unnamed(key, header.patch_bytes())?;
        writer.append(&header.encode())?;
        if let Some(spool) = &self.spool {
            let mut piece = vec![0; PIECE_BYTES];
            let mut done = 0;
            while done < spool.bytes().0 {
                let count = (spool.bytes().0 - done).min(PIECE_BYTES as u64) as usize;
                spool.read_exact_at(&mut piece[..count], done)?;
                writer.append(&piece[..count])?;
                done += count as u64;
            }
        }
        writer.append(&self.held)?;
        writer.finish(header.id(), now)
    }
}

/// The effort of a patch that this node's encoder could have made, by the settings that its header names.
pub fn effort_of(settings: u32) -> Option<Effort> {
    lighter_patch::Settings::effort_of(settings)
}

fn open(layer: DiffId, shared: &Shared) -> Result<OpenLayer, EncodeFailure> {
    let reader = shared.store.open_layer(&layer).ok().flatten();
    let file = reader.and_then(|reader| FileBase::new(reader).ok());
    file.map(|file| (layer, file)).ok_or(EncodeFailure::LayerGone(layer))
}

fn source((diff_id, bytes): &OpenLayer) -> Source<'_> {
    Source { diff_id: *diff_id, bytes }
}
