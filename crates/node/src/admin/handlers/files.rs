//! The paths that move images between files and the store: import, export.
//!
//! Each answers with lines of events. The work is a blocking worker that finishes even if its client has gone. A place
//! of `limits.imports_max` is held from before it starts until its last event is out.

use std::path::PathBuf;

use axum::extract::State as Extract;
use axum::response::Response;
use lighter_api::{self as api, ExportEvent, ImportEvent, Problem, ProblemKind};
use lighter_image::{LayerFormat, Platform, Selector};
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
    let selector = Selector { platform, ..Selector::default() };
    let (lines, response) = Lines::new();
    let place = place(&state).await?;
    lines.write(
        move |lines| {
            let _place = place;
            state.shared.faults.strike(Worker::Import);
            let imported = images::import(&state.shared, &path, request.name, &selector, &mut |step| {
                lines.progress(&import_progress(step));
            });
            match imported {
                Ok(imported) => import_done(imported),
                Err(error) => ImportEvent::Failed { problem: problem(&error) },
            }
        },
        |problem| ImportEvent::Failed { problem },
    );
    Ok(response)
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

fn import_done(imported: Imported) -> ImportEvent {
    ImportEvent::Done {
        reference: imported.reference,
        manifest: imported.manifest,
        layers: imported.layers.iter().map(imported_layer).collect(),
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
        ImagesError::Image(error) | ImagesError::Source { source: error, .. } => match error.blame() {
            Blame::Peer | Blame::Version => ProblemKind::BadData,
            Blame::Machine | Blame::Bug => ProblemKind::Machine,
            Blame::Caller => ProblemKind::Request,
        },
        ImagesError::Store(error) => kind_of(error),
        ImagesError::NoFile { .. } => ProblemKind::Request,
        ImagesError::NoName { .. } | ImagesError::BadName { .. } => ProblemKind::NoName,
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
