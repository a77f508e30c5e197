//! The paths of pulls: start one and follow it, give it up, see how it would go.

use axum::Json;
use axum::extract::State as Extract;
use axum::response::Response;
use lighter_api::{self as api, Problem, ProblemKind};
use tokio::sync::mpsc;

use crate::admin::State;
use crate::admin::answers::{Answer, Body, Failure, Parameters, ask, blocking, json_lines, order};
use crate::driver::pulls;
use crate::event::Command;

/// Starts a pull. If the client goes away, the pull goes on; the status shows it.
pub async fn pull(Extract(state): Extract<State>, Body(request): Body<api::PullRequest>) -> Result<Response, Failure> {
    let image = request.image;
    let wanted = pulls::wanted(&state.shared.store, &image)?;
    let (store, key) = (state.shared.store.clone(), image.clone());
    blocking(move || pulls::remember(&store, &key)).await??;
    let (listener, mut heard) = mpsc::channel(pulls::EVENTS_WAITING);
    order(&state, Command::Pull { image, wanted, listener: Some(listener) }).await?;
    Ok(json_lines(futures::stream::poll_fn(move |cx| heard.poll_recv(cx))))
}

pub async fn cancel(
    Extract(state): Extract<State>,
    Body(request): Body<api::CancelRequest>,
) -> Answer<api::CancelRequest> {
    let image = request.image.clone();
    if ask(&state, |reply| Command::Cancel { image, reply }).await? {
        return Ok(Json(request));
    }
    Err(Problem::new(ProblemKind::NotFound, format!("no pull of {} is under way", request.image)).into())
}

pub async fn plan(
    Extract(state): Extract<State>,
    Parameters(query): Parameters<api::ImageQuery>,
) -> Answer<api::ImagePlan> {
    let image = query.image;
    let wanted = pulls::wanted(&state.shared.store, &image)?;
    let plan = ask(&state, |reply| Command::Plan { image, wanted, reply }).await?;
    Ok(Json(plan?))
}
