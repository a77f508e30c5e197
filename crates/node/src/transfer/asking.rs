//! A requester's look at its own disk before it asks a peer: its have-list, and its part of the patch.

use std::sync::Arc;

use lighter_types::DiffId;
use lighter_wire::PatchRequest;

use super::blocking;
use super::lists::Listed;
use super::part::part_on_disk;
use crate::shared::Shared;

/// The have-list that goes to the peer, if there are layers for one.
pub async fn list(layers: Vec<DiffId>, shared: Arc<Shared>) -> Option<Arc<Listed>> {
    if layers.is_empty() {
        return None;
    }
    // Without a list the fetch goes on; a panic was logged and counted.
    blocking(move || Listed::new(&layers, &shared)).await.ok()?.map(Arc::new)
}

/// The request with the list's name. The engine does not know that, so whether a part of a patch from the same list is
/// on disk is found out here.
pub fn with_list(mut request: PatchRequest, listed: Option<&Listed>, shared: &Shared) -> PatchRequest {
    let Some(listed) = listed else { return request };
    request.have = Some(listed.id);
    if request.resume.is_none()
        && let Some(partial) = shared.store.partial_patch_for(&request.target)
        && partial.key.bases.contains(&listed.id)
        && let Some(part) = part_on_disk(&shared.store, &partial)
    {
        request.resume = Some(part.resume());
    }
    request
}
