//! A requester's look at its own disk before it asks a peer: its have-list, its part of the patch, and the bounds on
//! the layer's size.

use std::sync::Arc;

use lighter_engine::FetchFailure;
use lighter_wire::{PatchRequest, Resume};

use super::blocking;
use super::claims::Sizes;
use super::fetch::FetchJob;
use super::lists::Listed;
use super::part::part_on_disk;
use crate::shared::Shared;

/// The bounds on the layer's size.
pub async fn sizes(job: &FetchJob, shared: &Arc<Shared>) -> Result<Sizes, FetchFailure> {
    let (layer, announced, signed) = (job.request.target, job.tar_bytes_max, job.signed_bytes);
    let (manifests, shared) = (job.manifests.clone(), shared.clone());
    blocking(move || Sizes::of(&shared.store, layer, &manifests, announced, signed)).await
}

/// The have-list that goes to the peer, if the job names layers for one.
pub async fn list(job: &FetchJob, shared: &Arc<Shared>) -> Option<Arc<Listed>> {
    if job.listed.is_empty() {
        return None;
    }
    let (layers, shared) = (job.listed.clone(), shared.clone());
    // Without a list the fetch goes on; a panic was logged and counted.
    blocking(move || Listed::new(&layers, &shared)).await.ok()?.map(Arc::new)
}

/// The request with the list's name. The engine does not know that, so whether a part of a patch from the same list is
/// on disk is found out here.
pub fn with_list(job: &FetchJob, listed: Option<&Listed>, shared: &Shared) -> PatchRequest {
    let mut request = job.request.clone();
    let Some(listed) = listed else { return request };
    request.have = Some(listed.id);
    if request.resume.is_none()
        && let Some(partial) = shared.store.partial_patch_for(&request.target)
        && partial.key.bases.contains(&listed.id)
        && let Some(part) = part_on_disk(&shared.store, &partial)
    {
        request.resume = Some(Resume { patch: part.patch, first_frame: part.frames, settings: part.settings });
    }
    request
}
