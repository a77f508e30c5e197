//! The paths that move images between files and the store: import, export.
//!
//! Each answers with lines of events. The work is a blocking worker that finishes even if its client has gone. A place
//! of `limits.imports_max` is held from before it starts until its last event is out.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lighter_api::{self as api, ExportEvent, ImportEvent, Problem, ProblemKind};
use lighter_image::{ArchiveFormat, Choice, ImageError, Platform, Selector};
use lighter_registry::{Failure as RegistryFailure, Upstream, UpstreamError, UpstreamReference};
use lighter_types::{Blame, Card, error_chain};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::State;
use crate::admin::answers::{Body, Failure, Lines, blocking, byte_stream, kind_of};
use crate::config::upstream_settings;
use crate::faults::Worker;
use crate::images::{self, Exported, ImageSource, ImagesError, Imported, Naming, ReadyArchive, Step};
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
    if request.unsigned && request.name.is_some() {
        return Err(Problem::new(ProblemKind::Request, "an image that is not signed has no name but its digest").into());
    }
    if request.unsigned && request.lifetime_s.is_some() {
        return Err(Problem::new(ProblemKind::Request, "what is not signed does not expire").into());
    }
    let (all, lifetime_s) = (request.all, request.lifetime_s);
    let naming = if request.unsigned { Naming::Digest } else { Naming::Release { name: request.name, lifetime_s } };
    let selector = Selector { platform, from };
    let (lines, response) = Lines::new();
    let place = place(&state).await?;
    lines.write(
        move |lines| {
            let _place = place;
            state.shared.faults.strike(Worker::Import);
            let mut progress = |step| lines.progress(&import_progress(step));
            let imported = if all {
                import_all(&state, &source, &naming, &selector, lines, &mut progress)
            } else {
                images::import(&state.shared, &source, naming, &selector, &mut progress)
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
    naming: &Naming,
    selector: &Selector,
    lines: &Lines,
    progress: &mut dyn FnMut(Step),
) -> Result<Imported, ImagesError> {
    let count = images::count(source)?.max(1);
    let mut import = |place| {
        let selector = Selector { from: Some(Choice::Place(place)), ..selector.clone() };
        images::import(&state.shared, source, naming.clone(), &selector, progress)
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
    let (lines, response) = Lines::new();
    let place = place(&state).await?;
    lines.write(
        move |lines| {
            let _place = place;
            state.shared.faults.strike(Worker::Export);
            let exported = images::export(&state.shared.store, &request.reference, &path, request.blobs, &mut |step| {
                lines.progress(&ExportEvent::Progress { tar_bytes: step.tar_bytes });
            });
            match exported {
                Ok(Exported { manifest, exact, not_exact }) => ExportEvent::Done { manifest, exact, not_exact },
                Err(error) => ExportEvent::Failed { problem: problem(&error) },
            }
        },
        |problem| ExportEvent::Failed { problem },
    );
    Ok(response)
}

/// An image as an archive. The node finds out if something is missing before the answer begins; an answer that breaks
/// off behind that has its reason in the log.
pub async fn archive(
    Extract(state): Extract<State>,
    Body(request): Body<api::ArchiveRequest>,
) -> Result<Response, Failure> {
    let format = match request.format {
        api::ArchiveFormat::OciArchive => ArchiveFormat::Oci,
        api::ArchiveFormat::DockerArchive => ArchiveFormat::Docker,
    };
    let place = place(&state).await?;
    let (store, reference) = (state.shared.store.clone(), request.reference.clone());
    let ready = blocking(move || ReadyArchive::new(&store, &reference, format, request.blobs)).await?;
    let ready = ready.map_err(|error| Failure::from(problem(&error)))?;
    let Exported { manifest, exact, not_exact } = ready.exported.clone();
    let headers = [
        (api::ARCHIVE_MANIFEST_HEADER, manifest.to_string()),
        (api::ARCHIVE_BYTES_HEADER, ready.bytes().0.to_string()),
        (api::ARCHIVE_EXACT_HEADER, exact.to_string()),
        (api::ARCHIVE_WHY_HEADER, not_exact.unwrap_or_default()),
    ];
    let body = byte_stream("an export", move |writer| {
        let _place = place;
        state.shared.faults.strike(Worker::Export);
        ready.write(&state.shared.store, writer).map_err(|error| error_chain(&error))
    });
    Ok(((headers, [(header::CONTENT_TYPE, "application/x-tar")]), body).into_response())
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
        ImagesError::SizesDiffer { .. } => ProblemKind::BadData,
        ImagesError::NotExact(why) => {
            let message = format!("the exact image cannot be made here: {why}");
            return Problem::new(ProblemKind::NotFound, message).remedy(
                "export it with plain layers (--plain); a node with registry.listen or registry.keep_blobs keeps blobs \
                 that have no recipe",
            );
        }
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
