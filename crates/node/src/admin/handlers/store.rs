//! The paths of the store: figures, cleaning up.

use axum::Json;
use axum::extract::State as Extract;
use lighter_api as api;
use lighter_store::{GcMode, Store, StoreError, UnixSeconds};

use crate::admin::State;
use crate::admin::answers::{Answer, Body, ask, blocking};
use crate::event::Command;
use crate::images::recipes;
use crate::store_status;

pub async fn stats(Extract(state): Extract<State>) -> Answer<api::StoreStatus> {
    let store = state.shared.store.clone();
    blocking(move || store_status(&store)).await.map(Json)
}

pub async fn gc(Extract(state): Extract<State>, Body(request): Body<api::GcRequest>) -> Answer<api::GcReport> {
    let mode = if request.dry_run { GcMode::DryRun } else { GcMode::Remove };
    let report = blocking(move || {
        let report = collect(&state.shared.store, mode, state.shared.uses.now())?;
        if mode == GcMode::Remove {
            recipes::sweep(&state.shared.store)?;
        }
        Ok::<_, StoreError>(report)
    });
    Ok(Json(report.await??))
}

pub async fn scrub(Extract(state): Extract<State>, Body(_): Body<api::ScrubRequest>) -> Answer<api::ScrubStatus> {
    ask(&state, Command::Scrub).await.map(Json)
}

/// A pull that has not named its image yet may still need what no image names: only what nothing used for this long is
/// removed.
const GC_IDLE_S: u64 = 3600;

/// Removes what nothing names; see [`Store::gc`].
///
/// # Errors
/// Those of [`Store::gc`].
pub fn collect(store: &Store, mode: GcMode, now: UnixSeconds) -> Result<api::GcReport, StoreError> {
    let unused_since = UnixSeconds(now.0.saturating_sub(GC_IDLE_S));
    let report = store.gc(mode, unused_since)?;
    let items = report.items.iter().chain(&report.unindexed).map(|(item, _)| item.to_string());
    let partial = report.partial_patches.iter().map(|(id, _)| format!("partial patch {id}"));
    let leftovers = report.leftovers.iter().map(|(path, _)| path.display().to_string());
    let dry_run = match mode {
        GcMode::DryRun => true,
        GcMode::Remove => false,
    };
    Ok(api::GcReport { dry_run, removed: items.chain(partial).chain(leftovers).collect(), bytes: report.bytes() })
}
