//! The paths that move images between files and the store: import, export.
//!
//! Each answers with lines of events. The work is a blocking worker that finishes even if its client has gone. A place
//! of `limits.imports_max` is held from before it starts until its last event is out.

use std::path::{Path, PathBuf};

use axum::extract::State as Extract;
use axum::response::Response;
use lighter_api::{self as api, ExportEvent, ImportEvent, Problem, ProblemKind};
use lighter_image::{Choice, ImageError, LayerFormat, Platform, Selector};
use lighter_types::{Blame, Card, error_chain};
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::State;
use crate::admin::answers::{Body, Failure, Lines, kind_of};
use crate::faults::Worker;
use crate::images::{self, ImagesError, Imported, Step};

pub async fn import(
    Extract(state): Extract<State>,
    Body(request): Body<api::ImportRequest>,
) -> Result<Response, Failure> {
    let path = absolute(&request.path)?;
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
                import_all(&state, &path, &selector, lines, &mut progress)
            } else {
                images::import(&state.shared, &path, name, &selector, &mut progress)
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
    path: &Path,
    selector: &Selector,
    lines: &Lines,
    progress: &mut dyn FnMut(Step),
) -> Result<Imported, ImagesError> {
    let count = images::count(path)?.max(1);
    let mut import = |place| {
        let selector = Selector { from: Some(Choice::Place(place)), ..selector.clone() };
        images::import(&state.shared, path, None, &selector, progress)
    };
    for place in 1..count {
        lines.event_blocking(&import_done(import(place)?, count - place));
    }
    import(count)
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

fn absolute(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Problem::new(ProblemKind::Request, format!("{} is not an absolute path", path.display())).into())
}
