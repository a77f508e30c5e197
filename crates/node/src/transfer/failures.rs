//! Failures of a fetch, from the errors of the store, the patch and the workers. The one place that says which of them are
//! this machine's and which are the peer's.

use std::io;

use lighter_engine::FetchFailure;
use lighter_patch::ApplyError;
use lighter_store::StoreError;
use lighter_types::Blame;
use tokio::task::JoinError;

use crate::defects;
use crate::shared::error_chain;

/// The store failed.
pub fn of_store(error: &StoreError) -> FetchFailure {
    FetchFailure::Local(error_chain(error))
}

/// A frame failed its check, or could not be applied.
pub fn of_apply(error: &ApplyError) -> FetchFailure {
    if let ApplyError::BaseRead { diff_id, .. } = error {
        return FetchFailure::BaseGone(*diff_id);
    }
    match error.blame() {
        Blame::Peer => FetchFailure::Lied(error.to_string()),
        Blame::Version | Blame::Machine | Blame::Caller | Blame::Bug => FetchFailure::Local(error.to_string()),
    }
}

/// The file of a partial patch failed; `what` could not be done.
pub fn of_partial(what: &str, error: &io::Error) -> FetchFailure {
    FetchFailure::Local(format!("cannot {what} the partial patch: {error}"))
}

/// A worker of a fetch panicked or was dropped. A panic is logged and counted.
pub fn of_worker(error: &JoinError) -> FetchFailure {
    defects::task_failed("a worker of a fetch", error);
    FetchFailure::Local(format!("a worker failed: {error}"))
}
