//! The paths of images: list, show, import, export, pull, cancel, remove.

use std::path::PathBuf;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State as Extract};
use axum::response::Response;
use futures::StreamExt;
use lighter_image::{LayerFormat, Selector};
use lighter_store::{Store, StoreError};
use lighter_types::{Blame, Card, ImageReference};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Answer, Failure, blocking, command, failure, json_lines, kind_of, line, lines};
use crate::admin::State;
use crate::api::{self, Problem, ProblemKind};
use crate::driver::pulls;
use crate::event::{Command, Event};
use crate::images::{self, ImagesError, Step};
use crate::shared::error_chain;

pub async fn images(Extract(state): Extract<State>) -> Answer<Vec<api::Image>> {
    let store = state.shared.store.clone();
    let images = blocking(move || {
        let images = store.references();
        images.iter().map(|(reference, image)| image_view(&store, reference, image)).collect()
    });
    images.await.map(Json)
}

/// Which image a request is about.
#[derive(Deserialize)]
pub struct ReferenceQuery {
    reference: String,
}

pub async fn image(Extract(state): Extract<State>, Query(query): Query<ReferenceQuery>) -> Answer<api::Image> {
    let reference: ImageReference = query.reference.parse()?;
    let store = state.shared.store.clone();
    let view = blocking(move || {
        let documents = images::imported(&store, &reference)?;
        let image = store.reference(&reference).ok_or(ImagesError::Unknown(reference.clone()))?;
        let platform = documents.platform.map(|platform| platform.to_string());
        Ok(api::Image { platform, ..image_view(&store, &reference, &image) })
    });
    view.await?.map(Json).map_err(|error| problem(&error).into())
}

fn image_view(store: &Store, reference: &ImageReference, image: &lighter_store::Image) -> api::Image {
    let release = images::release_of(store, reference);
    let cards = image.layers.iter().filter_map(|layer| store.card(layer));
    api::Image {
        reference: reference.to_string(),
        manifest: image.manifest.to_string(),
        config: image.config.to_string(),
        layers: image.layers.iter().map(ToString::to_string).collect(),
        tar_bytes: cards.map(|card| card.tar_bytes).sum::<lighter_types::Bytes>().0,
        publisher: release.as_ref().map(|release| release.publisher.to_string()),
        issued_s: release.as_ref().map(|release| release.release.issued_s),
        platform: None,
    }
}

pub async fn import(
    Extract(state): Extract<State>,
    Json(request): Json<api::ImportRequest>,
) -> Result<Response, Failure> {
    let path = absolute(&request.path)?;
    let name = request.name.as_deref().map(str::parse::<ImageReference>).transpose()?;
    let platform = request.platform.as_deref().map(str::parse::<lighter_image::Platform>).transpose();
    let platform = platform.map_err(|error| failure(ProblemKind::Request, &error))?;
    let selector = Selector { platform, ..Selector::default() };
    let (lines, body) = lines();
    let place = state.imports.clone().acquire_owned().await.map_err(|error| failure(ProblemKind::Machine, &error))?;
    tokio::task::spawn_blocking(move || {
        let progress = |step: Step| {
            let event = api::ImportEvent::Progress {
                layer: step.layer,
                layers: step.layers,
                tar_bytes: step.tar_bytes.0,
                blob_bytes: step.blob_bytes.0,
                blob_bytes_done: step.blob_bytes_done.0,
            };
            let _ = lines.try_send(line(&event));
        };
        let imported = images::import(&state.shared, &path, name, &selector, &mut { progress });
        let last = match imported {
            Ok(imported) => api::ImportEvent::Done {
                reference: imported.reference.to_string(),
                manifest: imported.manifest.to_string(),
                layers: imported.layers.iter().map(imported_layer).collect(),
            },
            Err(error) => api::ImportEvent::Failed { problem: problem(&error) },
        };
        let _ = lines.blocking_send(line(&last));
        drop(place);
    });
    Ok(body)
}

fn imported_layer((card, held_before): &(Card, bool)) -> api::ImportedLayer {
    api::ImportedLayer {
        diff_id: card.diff_id.to_string(),
        tar_bytes: card.tar_bytes.0,
        compressed_bytes: card.compressed_bytes.0,
        held_before: *held_before,
    }
}

pub async fn export(
    Extract(state): Extract<State>,
    Json(request): Json<api::ExportRequest>,
) -> Result<Response, Failure> {
    let path = absolute(&request.path)?;
    let reference: ImageReference = request.reference.parse()?;
    let format = if request.gzip { LayerFormat::Gzip } else { LayerFormat::Plain };
    let (lines, body) = lines();
    let place = state.imports.clone().acquire_owned().await.map_err(|error| failure(ProblemKind::Machine, &error))?;
    tokio::task::spawn_blocking(move || {
        let progress = |step: Step| {
            let _ = lines.try_send(line(&api::ExportEvent::Progress { tar_bytes: step.tar_bytes.0 }));
        };
        let exported = images::export(&state.shared.store, &reference, &path, format, &mut { progress });
        let last = match exported {
            Ok(manifest) => api::ExportEvent::Done { manifest: manifest.to_string() },
            Err(error) => api::ExportEvent::Failed { problem: problem(&error) },
        };
        let _ = lines.blocking_send(line(&last));
        drop(place);
    });
    Ok(body)
}

/// The client that goes away does not end the pull: it goes on, and `status` shows it.
pub async fn pull(Extract(state): Extract<State>, Json(request): Json<api::PullRequest>) -> Result<Response, Failure> {
    let image = request.image;
    let wanted = pulls::wanted(&state.shared.store, &image)?;
    let (store, key) = (state.shared.store.clone(), image.clone());
    blocking(move || pulls::remember(&store, &key)).await??;
    let (listener, mut heard) = mpsc::channel(pulls::EVENTS_WAITING);
    let pull = Command::Pull { image, wanted, listener: Some(listener) };
    let stopping = |_| Problem { kind: ProblemKind::Cancelled, message: "the node is stopping".to_owned() };
    state.shared.events.send(Event::Command(pull)).await.map_err(stopping)?;
    let events = futures::stream::poll_fn(move |cx| heard.poll_recv(cx));
    Ok(json_lines(Body::from_stream(events.map(|event| Ok::<_, std::io::Error>(line(&event))))))
}

pub async fn cancel(
    Extract(state): Extract<State>,
    Json(request): Json<api::CancelRequest>,
) -> Answer<api::CancelRequest> {
    let image = request.image.clone();
    if command(&state, |reply| Command::Cancel { image, reply }).await? {
        return Ok(Json(request));
    }
    let message = format!("no pull of {} is under way", request.image);
    Err(Failure(Problem { kind: ProblemKind::NotFound, message }))
}

pub async fn remove(
    Extract(state): Extract<State>,
    Json(request): Json<api::RemoveRequest>,
) -> Answer<api::RemoveRequest> {
    let reference: ImageReference = request.reference.parse()?;
    let store = state.shared.store.clone();
    blocking(move || match store.reference(&reference) {
        Some(_) => store.remove_reference(&reference),
        None => Err(StoreError::NotHeld { item: lighter_store::Item::Image(reference) }),
    })
    .await??;
    Ok(Json(request))
}

fn problem(error: &ImagesError) -> Problem {
    let kind = match error {
        ImagesError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ProblemKind::NotFound,
        ImagesError::Open { .. } => ProblemKind::Machine,
        ImagesError::Image(error) | ImagesError::Source { source: error, .. } => match error.blame() {
            Blame::Peer | Blame::Version => ProblemKind::BadData,
            Blame::Machine | Blame::Bug => ProblemKind::Machine,
            Blame::Caller => ProblemKind::Request,
        },
        ImagesError::Store(error) => kind_of(error),
        ImagesError::NoFile { .. }
        | ImagesError::NoName { .. }
        | ImagesError::BadName { .. }
        | ImagesError::Exists(_) => ProblemKind::Request,
        ImagesError::Unknown(_) => ProblemKind::NotFound,
        ImagesError::Gone(_) => ProblemKind::Machine,
    };
    Problem { kind, message: error_chain(error) }
}

fn absolute(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("{} is not an absolute path", path.display());
    Err(Failure(Problem { kind: ProblemKind::Request, message }))
}
