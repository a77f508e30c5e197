//! One function for each path of the admin API.

pub mod images;

use axum::Json;
use axum::body::{Body, Bytes as HttpBytes};
use axum::extract::{Path, Query, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use lighter_store::{GcMode, Store, StoreError, UnixSeconds};
use lighter_types::{Card, DiffId, ImageReference};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::State;
use crate::api::{self, Problem, ProblemKind};
use crate::config::Rate;
use crate::driver::pulls;
use crate::event::{Command, Event};
use crate::shared::error_chain;
use crate::{metrics as node_metrics, store_status};

/// A request that failed.
pub struct Failure(Problem);

type Answer<T> = Result<Json<T>, Failure>;

/// Lines that wait for a slow reader; progress beyond is left out.
const LINES_WAITING: usize = 64;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ProblemKind::Request => StatusCode::BAD_REQUEST,
            ProblemKind::NotFound => StatusCode::NOT_FOUND,
            ProblemKind::BadData => StatusCode::UNPROCESSABLE_ENTITY,
            ProblemKind::Network => StatusCode::BAD_GATEWAY,
            ProblemKind::Machine => StatusCode::INTERNAL_SERVER_ERROR,
            ProblemKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self.0)).into_response()
    }
}

fn failure(kind: ProblemKind, error: &dyn std::error::Error) -> Failure {
    Failure(Problem { kind, message: error_chain(error) })
}

impl From<lighter_types::ParseError> for Failure {
    fn from(error: lighter_types::ParseError) -> Self {
        failure(ProblemKind::Request, &error)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        failure(kind_of(&error), &error)
    }
}

fn kind_of(error: &StoreError) -> ProblemKind {
    match error {
        StoreError::NotHeld { .. } => ProblemKind::NotFound,
        StoreError::InUse { .. } | StoreError::OverLimit { .. } => ProblemKind::Request,
        StoreError::Mismatch { .. } => ProblemKind::BadData,
        _ => ProblemKind::Machine,
    }
}

/// Asks the driver.
async fn command<T>(state: &State, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
    let (reply, answer) = oneshot::channel();
    let stopping = || Failure(Problem { kind: ProblemKind::Cancelled, message: "the node is stopping".to_owned() });
    state.shared.events.send(Event::Command(make(reply))).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| failure(ProblemKind::Machine, &error))
}

pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready is a node that listens and, where it has peers to connect to, is connected to one.
pub async fn readyz(Extract(state): Extract<State>) -> Result<&'static str, (StatusCode, &'static str)> {
    let status = command(&state, Command::Status).await;
    let status = status.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"))?;
    if status.listen.is_empty() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "listens nowhere\n"));
    }
    if status.peers_connected == 0 && !state.shared.config.network.bootstrap.is_empty() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "no peer is connected\n"));
    }
    Ok("ready\n")
}

pub async fn metrics(Extract(state): Extract<State>) -> Result<Response, Failure> {
    let status = command(&state, Command::Status).await?;
    let content_type = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((content_type, node_metrics::text(&status)).into_response())
}

pub async fn status(Extract(state): Extract<State>) -> Answer<api::Status> {
    command(&state, Command::Status).await.map(Json)
}

pub async fn peers(Extract(state): Extract<State>) -> Answer<Vec<api::Peer>> {
    command(&state, Command::Peers).await.map(Json)
}

pub async fn layers(Extract(state): Extract<State>) -> Answer<Vec<api::Layer>> {
    let store = state.shared.store.clone();
    let layers = blocking(move || {
        let (references, pins) = (store.references(), store.pins());
        store.cards().iter().map(|card| layer_view(card, &references, &pins)).collect()
    });
    layers.await.map(Json)
}

pub async fn layer(Extract(state): Extract<State>, Path(text): Path<String>) -> Answer<api::Layer> {
    let diff_id: DiffId = text.parse()?;
    let store = &state.shared.store;
    let not_held = || StoreError::NotHeld { item: lighter_store::Item::Layer(diff_id) };
    let card = store.card(&diff_id).ok_or_else(not_held)?;
    let mut layer = layer_view(&card, &store.references(), &store.pins());
    layer.holders = command(&state, |reply| Command::Holders(diff_id, reply)).await?;
    Ok(Json(layer))
}

fn layer_view(card: &Card, references: &[(ImageReference, lighter_store::Image)], pins: &[DiffId]) -> api::Layer {
    let has = references.iter().filter(|(_, image)| image.layers.contains(&card.diff_id));
    api::Layer {
        diff_id: card.diff_id.to_string(),
        tar_bytes: card.tar_bytes.0,
        compressed_bytes: card.compressed_bytes.0,
        tlsh: card.tlsh.map(|tlsh| tlsh.to_string()),
        images: has.map(|(reference, _)| reference.to_string()).collect(),
        pinned: pins.contains(&card.diff_id),
        holders: Vec::new(),
    }
}

pub async fn pin(Extract(state): Extract<State>, Json(request): Json<api::PinRequest>) -> Answer<api::PinRequest> {
    let diff_id: DiffId = request.diff_id.parse()?;
    let (store, pinned) = (state.shared.store.clone(), request.pinned);
    blocking(move || if pinned { store.pin(&diff_id) } else { store.unpin(&diff_id) }).await??;
    Ok(Json(request))
}

/// Which image a plan is for.
#[derive(Deserialize)]
pub struct ImageQuery {
    image: String,
}

pub async fn plan(Extract(state): Extract<State>, Query(query): Query<ImageQuery>) -> Answer<api::ImagePlan> {
    let wanted = pulls::wanted(&state.shared.store, &query.image)?;
    let image = query.image;
    let plan = command(&state, |reply| Command::Plan { image, wanted, reply }).await?;
    Ok(Json(plan?))
}

/// From which image to which.
#[derive(Deserialize)]
pub struct RolloutQuery {
    from: String,
    to: String,
}

pub async fn rollout(Extract(state): Extract<State>, Query(query): Query<RolloutQuery>) -> Answer<api::Rollout> {
    let image = |text: &str| -> Result<api::RolloutImage, Failure> {
        let reference: ImageReference = text.parse()?;
        let not_held = || {
            Failure(Problem {
                kind: ProblemKind::NotFound,
                message: format!("image {text} is not held by this node: import or pull it first"),
            })
        };
        let image = state.shared.store.reference(&reference).ok_or_else(not_held)?;
        let layers = image.layers.iter().map(DiffId::to_string).collect();
        let documents = [image.manifest, image.config];
        let documents = documents.map(|digest| state.shared.store.blob_bytes(&digest).map_or(0, |bytes| bytes.0));
        Ok(api::RolloutImage { reference: text.to_owned(), manifest: image.manifest.to_string(), layers, documents })
    };
    let (from, to) = (image(&query.from)?, image(&query.to)?);
    let rollout = command(&state, |reply| Command::Rollout { from, to, reply }).await?;
    Ok(Json(rollout?))
}

pub async fn limits(
    Extract(state): Extract<State>,
    Json(request): Json<api::LimitsRequest>,
) -> Answer<api::LimitsRequest> {
    let parse = |text: Option<String>| text.map(|text| text.parse::<Rate>()).transpose();
    let bad = |error| failure(ProblemKind::Request, &error);
    let upload_max = parse(request.upload_max).map_err(bad)?;
    let download_max = parse(request.download_max).map_err(bad)?;
    let accountant = &state.shared.accountant;
    accountant.limit(upload_max, download_max);
    let (upload, download) = accountant.limits();
    Ok(Json(api::LimitsRequest { upload_max: Some(upload.to_string()), download_max: Some(download.to_string()) }))
}

pub async fn store(Extract(state): Extract<State>) -> Answer<api::StoreStatus> {
    let store = state.shared.store.clone();
    blocking(move || store_status(&store)).await.map(Json)
}

pub async fn gc(Extract(state): Extract<State>, Json(request): Json<api::GcRequest>) -> Answer<api::GcReport> {
    let store = state.shared.store.clone();
    let report = blocking(move || collect(&store, request.dry_run)).await??;
    Ok(Json(report))
}

/// What is unused may still be wanted by a pull that has not named its image yet: only what lay idle this long goes.
const GC_IDLE_S: u64 = 3600;

/// Removes what nothing names; see [`Store::gc`].
pub fn collect(store: &Store, dry_run: bool) -> Result<api::GcReport, StoreError> {
    let mode = if dry_run { GcMode::DryRun } else { GcMode::Remove };
    let unused_since = UnixSeconds(crate::unix_now().0.saturating_sub(GC_IDLE_S));
    let report = store.gc(mode, unused_since)?;
    let items = report.items.iter().chain(&report.unindexed).map(|(item, _)| item.to_string());
    let partial = report.partial_patches.iter().map(|(id, _)| format!("partial patch {id}"));
    let leftovers = report.leftovers.iter().map(|(path, _)| path.display().to_string());
    Ok(api::GcReport { dry_run, removed: items.chain(partial).chain(leftovers).collect(), bytes: report.bytes().0 })
}

fn lines() -> (mpsc::Sender<HttpBytes>, Response) {
    let (sender, mut receiver) = mpsc::channel::<HttpBytes>(LINES_WAITING);
    let stream = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, json_lines(Body::from_stream(stream.map(Ok::<_, std::io::Error>))))
}

fn json_lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

fn line(event: &impl Serialize) -> HttpBytes {
    // Our own plain values always have a JSON form.
    let mut bytes = serde_json::to_vec(event).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
