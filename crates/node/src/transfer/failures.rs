//! Failures of a fetch, from the errors of the store, the patch and the workers. The one place that says which of them
//! are this machine's and which are the peer's.

use std::io;

use lighter_engine::{FetchFailure, Lie, LocalFailure};
use lighter_patch::ApplyError;
use lighter_store::StoreError;
use lighter_types::{Blame, Cause};
use tokio::task::JoinError;

use crate::defects;
use crate::shared::local_failure;

/// The store failed.
pub fn of_store(error: StoreError) -> FetchFailure {
    FetchFailure::Local(local_failure(error))
}

/// A frame failed its check, or could not be applied.
pub fn of_apply(error: ApplyError) -> FetchFailure {
    if let ApplyError::BaseRead { diff_id, .. } = error {
        return FetchFailure::BaseGone(diff_id);
    }
    match error.blame() {
        Blame::Peer => FetchFailure::Lied(Lie::Unreadable(Cause::new(error))),
        Blame::Version | Blame::Machine | Blame::Caller | Blame::Bug => {
            FetchFailure::Local(LocalFailure::Failed(Cause::new(error)))
        }
    }
}

/// The file of a partial patch could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the partial patch")]
pub struct PartialError {
    pub act: &'static str,
    pub source: io::Error,
}

/// A read or write on this machine failed.
pub fn of_disk(error: impl std::error::Error + Send + Sync + 'static) -> FetchFailure {
    FetchFailure::Local(LocalFailure::Failed(Cause::new(error)))
}

/// A worker of a fetch panicked or was dropped. A panic is logged and counted.
pub fn of_worker(error: &JoinError) -> FetchFailure {
    FetchFailure::Local(defects::task_failed("a worker of a fetch", error))
}
