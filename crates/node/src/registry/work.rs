//! Work of the endpoint that blocks, and the words for a client where it fails.

use std::sync::Arc;

use lighter_registry::server::Refusal;
use lighter_types::{Blame, error_chain};

use crate::images::ImagesError;
use crate::shared::Shared;

/// Runs work that reads the disk, or waits for a registry, on a thread that may wait.
///
/// # Errors
/// Those of the work, as a client hears of them; `Failed` if it panicked.
///
/// Dropped midway, the work goes on to its end.
pub async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, ImagesError> + Send + 'static,
) -> Result<T, Refusal> {
    let shared = shared.clone();
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    let done = done.map_err(|_| Refusal::Failed("a worker of this node panicked".to_owned()))?;
    done.map_err(|error| refusal(&error))
}

/// The text for a client: a registry's failure with its registry, repository, step and remedy.
fn refusal(error: &ImagesError) -> Refusal {
    match error {
        ImagesError::Upstream(error) if error.failure.is_not_found() => Refusal::ManifestUnknown(error_chain(error)),
        ImagesError::Upstream(error) => Refusal::Upstream(format!("{}; {}", error_chain(error), error.remedy())),
        // The registry's bytes are not what its documents say.
        ImagesError::Source { source, .. } if source.blame() != Blame::Machine => {
            let remedy = "do not use what its registry serves there: ask the registry's operator";
            Refusal::Upstream(format!("{}; {remedy}", error_chain(error)))
        }
        ImagesError::Source { .. }
        | ImagesError::Image(_)
        | ImagesError::Open { .. }
        | ImagesError::NoFile { .. }
        | ImagesError::Store(_)
        | ImagesError::NoName { .. }
        | ImagesError::OnlyTag { .. }
        | ImagesError::SeveralNames { .. }
        | ImagesError::BadName { .. }
        | ImagesError::Unknown(_)
        | ImagesError::Exists(_)
        | ImagesError::NotExact(_)
        | ImagesError::SizesDiffer { .. }
        | ImagesError::Gone(_) => {
            let error = error_chain(error);
            tracing::error!(error, "the registry endpoint cannot read or keep an image");
            Refusal::Failed(error)
        }
    }
}
