//! The paths that move images between files and the store: import, export.
//!
//! Each answers with lines of events. The work is a blocking worker that finishes even if its client has gone. A place
//! of `limits.imports_max` is held from before it starts until its last event is out.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::response::Response;
use lighter_api::{self as api, ExportEvent, ImportEvent, Problem, ProblemKind};
use lighter_image::{Choice, ImageError, LayerFormat, Platform, Selector};
use lighter_registry::{Failure as RegistryFailure, Upstream, UpstreamError, UpstreamReference};
use lighter_types::{Blame, Card, error_chain};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::State;
use crate::admin::answers::{Body, Failure, Lines, kind_of};
use crate::config::upstream_settings;
use crate::faults::Worker;
use crate::images::{self, ImageSource, ImagesError, Imported, Step};
use crate::traffic::MeteredDial;

pub async fn import(
    Extract(state): Extract<State>,
    Body(request): Body<api::ImportRequest>,
) -> Result<Response, Failure> {
    let source = source(&state, &request)?;
    let platform = request.platform.as_deref().map(str::parse::<Platform>).transpose();
    let platform = platform.map_err(|error| Failure::new(ProblemKind::Request, &error))?;
    let from = request.from.as_ref().map(|from| from.parse().unwrap_or_else(|never| match never {}));
    if request.all && (from.is_some() || request.name.is_some()) {
        return Err(
            Problem::new(ProblemKind::Request, "all images of a source keep their names: no name, no choice").into()
        );
    }
    let (all, name) = (request.all, request.name);
    let selector = Selector { platform, from };
    let (lines, response) = Lines::new();
    let place = place(&state).await?;
    lines.write(
        move |lines| {
            let _place = place;
            state.shared.faults.strike(Worker::Import);
            let mut progress = |step| lines.progress(&import_progress(step));
            let imported = if all {
                import_all(&state, &source, &selector, lines, &mut progress)
            } else {
                images::import(&state.shared, &source, name, &selector, &mut progress)
            };
            imported
                .map_or_else(|error| ImportEvent::Failed { problem: problem(&error) }, |image| import_done(image, 0))
        },
        |problem| ImportEvent::Failed { problem },
    );
    Ok(response)
}

/// Imports every image of a source. Tells of each but the last, which is the result.
fn import_all(
    state: &State,
    source: &ImageSource,
    selector: &Selector,
    lines: &Lines,
    progress: &mut dyn FnMut(Step),
) -> Result<Imported, ImagesError> {
    let count = images::count(source)?.max(1);
    let mut import = |place| {
        let selector = Selector { from: Some(Choice::Place(place)), ..selector.clone() };
        images::import(&state.shared, source, None, &selector, progress)
    };
    for place in 1..count {
        lines.event_blocking(&import_done(import(place)?, count - place));
    }
    import(count)
}

/// A path of this machine, or an image in a registry with the settings of its host.
fn source(state: &State, request: &api::ImportRequest) -> Result<ImageSource, Failure> {
    let wrong = |message: &str| Failure::from(Problem::new(ProblemKind::Request, message));
    if !UpstreamReference::is_upstream(&request.path) {
        if request.insecure {
            return Err(wrong("insecure is for a registry (docker://...): a path has no connection"));
        }
        return absolute(&request.path).map(ImageSource::Path);
    }
    let reference: UpstreamReference =
        request.path.parse().map_err(|error| Failure::new(ProblemKind::Request, &error))?;
    if request.all {
        return Err(wrong("a registry's images are imported one by one, by tag or digest"));
    }
    let mut settings = upstream_settings(&state.shared.config.upstream);
    if request.insecure {
        settings = settings.with_insecure(reference.registry());
    }
    let dial = Arc::new(MeteredDial::new(state.shared.accountant.clone()));
    // The waits of nodes that fail together differ by their identities.
    let upstream = Upstream::new(settings, dial, state.shared.seed() ^ state.shared.now().0, state.stop.clone());
    Ok(ImageSource::registry(upstream, Handle::current(), reference))
}

fn import_progress(step: Step) -> ImportEvent {
    ImportEvent::Progress {
        layer: step.layer,
        layers: step.layers,
        tar_bytes: step.tar_bytes,
        blob_bytes: step.blob_bytes,
        blob_bytes_done: step.blob_bytes_done,
    }
}

fn import_done(imported: Imported, left: usize) -> ImportEvent {
    ImportEvent::Done {
        reference: imported.reference,
        manifest: imported.manifest,
        layers: imported.layers.iter().map(imported_layer).collect(),
        passed_over: imported.passed_over,
        left,
    }
}

fn imported_layer((card, held_before): &(Card, bool)) -> api::ImportedLayer {
    api::ImportedLayer {
        diff_id: card.diff_id,
        tar_bytes: card.tar_bytes,
        compressed_bytes: card.compressed_bytes,
        held_before: *held_before,
    }
}

pub async fn export(
    Extract(state): Extract<State>,
    Body(request): Body<api::ExportRequest>,
) -> Result<Response, Failure> {
    let path = absolute(&request.path)?;
    let format = if request.gzip { LayerFormat::Gzip } else { LayerFormat::Plain };
    let (lines, response) = Lines::new();
    let place = place(&state).await?;
    lines.write(
        move |lines| {
            let _place = place;
            state.shared.faults.strike(Worker::Export);
            let exported = images::export(&state.shared.store, &request.reference, &path, format, &mut |step| {
                lines.progress(&ExportEvent::Progress { tar_bytes: step.tar_bytes });
            });
            match exported {
                Ok(manifest) => ExportEvent::Done { manifest },
                Err(error) => ExportEvent::Failed { problem: problem(&error) },
            }
        },
        |problem| ExportEvent::Failed { problem },
    );
    Ok(response)
}

/// Waits for a place among the imports and exports that run at once.
async fn place(state: &State) -> Result<OwnedSemaphorePermit, Failure> {
    let place = state.imports.clone().acquire_owned().await;
    place.map_err(|error| Failure::new(ProblemKind::Machine, &error))
}

pub fn problem(error: &ImagesError) -> Problem {
    let kind = match error {
        ImagesError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ProblemKind::NotFound,
        ImagesError::Open { .. } => ProblemKind::Machine,
        ImagesError::Source { source: ImageError::NoMatch { .. }, .. } => ProblemKind::NoSingleImage,
        ImagesError::Image(error) | ImagesError::Source { source: error, .. } => match error.blame() {
            Blame::Peer | Blame::Version => ProblemKind::BadData,
            Blame::Machine | Blame::Bug => ProblemKind::Machine,
            Blame::Caller => ProblemKind::Request,
        },
        ImagesError::Upstream(error) => {
            return Problem::new(registry_kind(error), error_chain(error)).remedy(error.remedy());
        }
        ImagesError::Store(error) => kind_of(error),
        ImagesError::NoFile { .. } => ProblemKind::Request,
        ImagesError::NoName { .. }
        | ImagesError::OnlyTag { .. }
        | ImagesError::SeveralNames { .. }
        | ImagesError::BadName { .. } => ProblemKind::NoName,
        ImagesError::Exists(_) => ProblemKind::Exists,
        ImagesError::Unknown(_) => ProblemKind::NotFound,
        ImagesError::Gone(_) => ProblemKind::Machine,
    };
    Problem::new(kind, error_chain(error))
}

fn registry_kind(error: &UpstreamError) -> ProblemKind {
    match &error.failure {
        RegistryFailure::Status { .. } if error.failure.is_not_found() => ProblemKind::NotFound,
        RegistryFailure::Stopping => ProblemKind::Cancelled,
        RegistryFailure::Wrong { .. } => ProblemKind::BadData,
        RegistryFailure::Credentials { .. } => ProblemKind::Machine,
        RegistryFailure::Unreachable { .. }
        | RegistryFailure::Stalled { .. }
        | RegistryFailure::Broken { .. }
        | RegistryFailure::Refused { .. }
        | RegistryFailure::Realm { .. }
        | RegistryFailure::Status { .. }
        | RegistryFailure::Protocol { .. } => ProblemKind::Registry,
    }
}

fn absolute(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Problem::new(ProblemKind::Request, format!("{} is not an absolute path", path.display())).into())
}
