//! What went wrong on this machine, as the engine hears of it. One place, so that all of a fetch tells it alike.

use std::io;

use lighter_engine::FetchFailure;
use lighter_store::StoreError;
use tokio::task::JoinError;

use crate::defects;
use crate::shared::error_chain;

/// The store failed.
pub fn of_store(error: &StoreError) -> FetchFailure {
    FetchFailure::Local(error_chain(error))
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
