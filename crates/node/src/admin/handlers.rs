//! One function for each path of the admin API. This file has the paths of the node as a whole.

pub mod files;
pub mod images;
pub mod layers;
pub mod pulls;
pub mod releases;
pub mod store;

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lighter_api as api;
use lighter_api::ProblemKind;

use super::State;
use super::answers::{Answer, Body, Failure, ask, blocking};
use crate::config::Rate;
use crate::event::Command;
use crate::metrics::{self as node_metrics, BlobShares, RegistryFigures};
use crate::store_reading;

pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The longest time that a node which is ready takes to say so.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A node is ready if its driver answers, no worker is stuck, and it listens and, where it has peers to connect to, is
/// connected to one.
pub async fn readyz(Extract(state): Extract<State>) -> Result<&'static str, (StatusCode, &'static str)> {
    let status = tokio::time::timeout(READY_TIMEOUT, ask(&state, Command::Status)).await;
    let status = status.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "the node does not answer\n"))?;
    let status = status.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"))?;
    if status.stuck.is_some() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "a worker is stuck\n"));
    }
    if status.listen.is_empty() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "listens nowhere\n"));
    }
    if status.peers_connected == 0 && !state.shared.config.network.bootstrap.is_empty() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "no peer is connected\n"));
    }
    Ok("ready\n")
}

pub async fn metrics(Extract(state): Extract<State>) -> Result<Response, Failure> {
    let is_fresh = store_reading::refresh(&state.shared).await;
    let status = ask(&state, Command::Status).await?;
    let content_type = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let shared = state.shared.clone();
    // A disk that hangs would take one more worker with each scrape.
    let shares = match is_fresh {
        true => blocking(move || BlobShares::read(&shared.store)).await?,
        false => BlobShares::default(),
    };
    let figures = RegistryFigures { stats: state.shared.registry_counts.stats(), shares };
    Ok((content_type, node_metrics::text(&status, &figures)).into_response())
}

pub async fn status(Extract(state): Extract<State>) -> Answer<api::Status> {
    store_reading::refresh(&state.shared).await;
    ask(&state, Command::Status).await.map(Json)
}

pub async fn peers(Extract(state): Extract<State>) -> Answer<Vec<api::Peer>> {
    ask(&state, Command::Peers).await.map(Json)
}

pub async fn limits(
    Extract(state): Extract<State>,
    Body(request): Body<api::LimitsRequest>,
) -> Answer<api::LimitsRequest> {
    let (upload_max, download_max) = (rate(request.upload_max)?, rate(request.download_max)?);
    let accountant = &state.shared.accountant;
    accountant.limit(upload_max, download_max);
    let (upload, download) = accountant.limits();
    Ok(Json(api::LimitsRequest { upload_max: Some(upload.to_string()), download_max: Some(download.to_string()) }))
}

fn rate(text: Option<String>) -> Result<Option<Rate>, Failure> {
    let rate = text.map(|text| text.parse()).transpose();
    rate.map_err(|error| Failure::new(ProblemKind::Request, &error))
}
