//! Makes a patch for peers and puts it into the cache. A worker's job: it blocks.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lighter_engine::{CachedPatch, EncodeFailure, EncodeId, LocalFailure, WorkInput};
use lighter_patch::{HaveList, Patch, Source};
use lighter_store::{PatchKey, Store, StoreError, UnixSeconds};
use lighter_types::{Cause, DiffId, Effort, error_chain};
use tokio_util::sync::CancellationToken;

use super::damage::{OpenLayer, find_damaged};
use super::lists::THREADS;
use crate::faults::Worker;
use crate::shared::{FileBase, Shared, local_failure, unix_now};

/// Progress is told this often at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A patch to be made.
pub struct EncodeJob {
    pub encode: EncodeId,
    pub target: DiffId,
    pub bases: Vec<DiffId>,
    pub effort: Effort,
}

/// Makes the patch; how that ended. Given up when the node stops.
pub fn encode(job: &EncodeJob, stopping: &CancellationToken, shared: &Shared) -> WorkInput {
    shared.faults.strike(Worker::Encode);
    let started = Instant::now();
    let result = make(job, stopping, shared);
    let &EncodeJob { encode, target, effort, .. } = job;
    let took = started.elapsed();
    if let Ok(patch) = &result {
        let (bytes, bases, took_ms) = (patch.bytes.0, job.bases.len(), took.as_millis());
        tracing::info!(%target, bytes, bases, ?effort, took_ms, "made a patch");
    }
    WorkInput::EncodeEnded { encode, took, result }
}

fn make(job: &EncodeJob, stopping: &CancellationToken, shared: &Shared) -> Result<CachedPatch, EncodeFailure> {
    let &EncodeJob { encode, target, ref bases, effort } = job;
    let target_layer = open(target, shared)?;
    // Bases that have-lists stand for are gathered from the target.
    let lists: Vec<(DiffId, Arc<HaveList>)> =
        bases.iter().filter_map(|base| Some((*base, shared.lists.get(base)?))).collect();
    let layers = bases.iter().filter(|base| lists.iter().all(|(list, _)| list != *base));
    let base_layers = layers.map(|&base| open(base, shared)).collect::<Result<Vec<_>, _>>()?;
    if let Some(damaged) = find_damaged(base_layers.iter().chain([&target_layer]), shared) {
        return Err(EncodeFailure::LayerGone(damaged));
    }
    let mut listed = Vec::new();
    for (name, list) in &lists {
        let files = list.gather(&[&target_layer.1], THREADS).map_err(|_| EncodeFailure::LayerGone(target))?;
        listed.push((*name, files));
    }
    let mut sources: Vec<Source<'_>> = base_layers.iter().map(source).collect();
    sources.extend(listed.iter().map(|(name, files)| Source { diff_id: *name, bytes: files }));
    let reported_at = Mutex::new(Instant::now());
    let settings = shared.config.patch_settings(effort);
    let patch = lighter_patch::encode(&source(&target_layer), &sources, &settings, &|target_bytes_done| {
        if let Ok(mut reported_at) = reported_at.try_lock()
            && reported_at.elapsed() >= PROGRESS_EVERY
        {
            *reported_at = Instant::now();
            shared.input_if_idle(WorkInput::EncodeProgress { encode, target_bytes_done });
        }
        if stopping.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let patch = patch
        .inspect_err(|error| log_failure(target, error))
        .map_err(|error| EncodeFailure::Local(LocalFailure::Failed(Cause::new(error))))?;
    let used: Vec<DiffId> = patch.header.bases().iter().map(|base| base.diff_id).collect();
    let key = PatchKey { target, bases: used.clone(), settings: patch.header.settings_id() };
    let now = unix_now();
    keep(&patch, key, now, &shared.store)
        .inspect_err(|error| log_failure(target, error))
        .map_err(|error| EncodeFailure::Local(local_failure(error)))?;
    for layer in bases.iter().chain([&target]) {
        // Only the order of eviction hangs on it.
        let _ = shared.store.touch(layer, now);
    }
    Ok(CachedPatch { patch: patch.id(), target, bases: used, bytes: patch.bytes(), effort: Some(effort) })
}

fn log_failure(target: DiffId, error: &dyn std::error::Error) {
    tracing::error!(%target, error = error_chain(error), "a patch could not be made");
}

/// Writes a patch into the cache.
fn keep(patch: &Patch, key: PatchKey, now: UnixSeconds, store: &Store) -> Result<(), StoreError> {
    let mut writer = store.create_patch_unnamed(key, patch.bytes())?;
    writer.append(&patch.header.encode())?;
    for payload in &patch.payloads {
        writer.append(payload)?;
    }
    writer.finish(patch.id(), now)
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
