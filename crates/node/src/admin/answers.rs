//! How handlers read requests and answer them: JSON values, lines of JSON values, and problems with their HTTP status.
//!
//! A short request is answered by one value. Long work answers with [`Lines`]: a worker writes one value a line while
//! the client reads them, and the last line says how the work ended, also if the worker panicked.

use std::io::{self, BufWriter, Write};

use axum::Json;
use axum::body::{Body as HttpBody, Bytes as HttpBytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use lighter_api::{Problem, ProblemKind};
use lighter_store::{IndexError, StoreError};
use lighter_types::error_chain;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::State;
use crate::defects;
use crate::event::{Command, Event};

/// Lines that wait for a slow reader. Progress beyond that is left out.
const LINES_WAITING: usize = 64;

/// A request that failed.
pub struct Failure(pub Problem);

pub type Answer<T> = Result<Json<T>, Failure>;

impl Failure {
    pub fn new(kind: ProblemKind, error: &dyn std::error::Error) -> Self {
        Self(Problem::new(kind, error_chain(error)))
    }

    fn stopping() -> Self {
        Self(Problem::new(ProblemKind::Cancelled, "the node is stopping"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (status_of(self.0.kind), Json(self.0)).into_response()
    }
}

fn status_of(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::Request | ProblemKind::NoName | ProblemKind::NoSingleImage => StatusCode::BAD_REQUEST,
        ProblemKind::Exists => StatusCode::CONFLICT,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::BadData => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemKind::Network | ProblemKind::Registry => StatusCode::BAD_GATEWAY,
        ProblemKind::Machine | ProblemKind::StoreDamaged => StatusCode::INTERNAL_SERVER_ERROR,
        ProblemKind::DiskFull | ProblemKind::BudgetFull => StatusCode::INSUFFICIENT_STORAGE,
        ProblemKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<lighter_types::ParseError> for Failure {
    fn from(error: lighter_types::ParseError) -> Self {
        Self::new(ProblemKind::Request, &error)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(kind_of(&error), &error)
    }
}

/// The kind of a store's failure.
pub fn kind_of(error: &StoreError) -> ProblemKind {
    match error {
        StoreError::NotHeld { .. } => ProblemKind::NotFound,
        StoreError::InUse { .. } | StoreError::OverLimit { .. } => ProblemKind::Request,
        StoreError::Mismatch { .. } => ProblemKind::BadData,
        StoreError::DiskFull { .. } | StoreError::Index(IndexError::Full { .. }) => ProblemKind::DiskFull,
        StoreError::BudgetFull { .. } => ProblemKind::BudgetFull,
        StoreError::Damaged { .. } | StoreError::Index(IndexError::Lost { .. } | IndexError::Damaged { .. }) => {
            ProblemKind::StoreDamaged
        }
        StoreError::Io { .. }
        | StoreError::FolderInUse { .. }
        | StoreError::Index(
            IndexError::NewerSchema { .. }
            | IndexError::Busy { .. }
            | IndexError::Failed { .. }
            | IndexError::Refused { .. },
        ) => ProblemKind::Machine,
    }
}

/// A request's body. A body that is not such JSON is a problem of kind `request`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(Failure(Problem::new(ProblemKind::Request, rejection.body_text()))),
        }
    }
}

/// A request's query. A query without a parameter, or with a bad one, is a problem of kind `request`.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Failure(Problem::new(ProblemKind::Request, rejection.body_text()))),
        }
    }
}

pub async fn no_such_path(uri: Uri) -> Failure {
    Failure(Problem::new(ProblemKind::NotFound, format!("the admin API has no path {}", uri.path())))
}

/// Asks the driver.
pub async fn ask<T>(state: &State, question: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
    let (reply, answer) = oneshot::channel();
    order(state, question(reply)).await?;
    answer.await.map_err(|_| Failure::stopping())
}

/// Gives the driver an order that has no single answer.
pub async fn order(state: &State, command: Command) -> Result<(), Failure> {
    state.shared.events.send(Event::Command(command)).await.map_err(|_| Failure::stopping())
}

/// Does work that waits for the disk.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(ProblemKind::Machine, &defects::task_failed("a worker of the admin API", &error)))
}

/// Lines that a worker writes while the client reads them.
#[derive(Clone)]
pub struct Lines(mpsc::Sender<HttpBytes>);

impl Lines {
    /// The writer, and the response that passes on what it writes.
    pub fn new() -> (Self, Response) {
        let (sender, mut receiver) = mpsc::channel::<HttpBytes>(LINES_WAITING);
        let lines = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        (Self(sender), streamed(lines))
    }

    /// Has a worker write the lines. `failed` makes the last line of a worker that panics.
    pub fn write<E: Serialize + 'static>(
        self,
        work: impl FnOnce(&Self) -> E + Send + 'static,
        failed: fn(Problem) -> E,
    ) {
        let lines = self.clone();
        let working = tokio::task::spawn_blocking(move || lines.event_blocking(&work(&lines)));
        tokio::spawn(async move {
            if let Err(error) = working.await {
                let why = defects::task_failed("a worker of the admin API", &error);
                let failed = line(&failed(Problem::new(ProblemKind::Machine, why)));
                let _ = self.0.send(failed).await;
            }
        });
    }

    /// Writes an event unless the reader is behind or gone.
    pub fn progress(&self, event: &impl Serialize) {
        let _ = self.0.try_send(line(event));
    }

    /// Writes an event that must not be lost. Waits for the reader; returns at once if it has gone.
    pub fn event_blocking(&self, event: &impl Serialize) {
        let _ = self.0.blocking_send(line(event));
    }
}

/// Pieces of a stream that wait for a slow reader.
const PIECES_WAITING: usize = 4;
const PIECE_BYTES: usize = 256 << 10;

/// A body that a worker writes while the client reads it. If the work fails or panics, the body breaks off, so that
/// nobody takes it for whole, and the log says why. The work gets an error when the reader has gone.
pub fn byte_stream(
    what: &'static str,
    work: impl FnOnce(&mut dyn Write) -> Result<(), String> + Send + 'static,
) -> HttpBody {
    let (sender, mut receiver) = mpsc::channel::<io::Result<HttpBytes>>(PIECES_WAITING);
    let pieces = sender.clone();
    let working = tokio::task::spawn_blocking(move || {
        let mut writer = BufWriter::with_capacity(PIECE_BYTES, PieceWriter(pieces));
        work(&mut writer)?;
        writer.flush().map_err(|error| error.to_string())
    });
    tokio::spawn(async move {
        let why = match working.await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(error) => defects::task_failed("a worker of the admin API", &error).to_string(),
        };
        tracing::error!(why, "{what} broke off");
        let _ = sender.send(Err(io::Error::other(why))).await;
    });
    HttpBody::from_stream(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

/// Gives what is written to the reader of a response.
struct PieceWriter(mpsc::Sender<io::Result<HttpBytes>>);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(HttpBytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Events as a response, a line each.
pub fn json_lines<T: Serialize>(events: impl Stream<Item = T> + Send + 'static) -> Response {
    streamed(events.map(|event| line(&event)))
}

fn streamed(lines: impl Stream<Item = HttpBytes> + Send + 'static) -> Response {
    let body = HttpBody::from_stream(lines.map(Ok::<_, std::io::Error>));
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

fn line(event: &impl Serialize) -> HttpBytes {
    // Plain values of this program always have a JSON form.
    let mut bytes = serde_json::to_vec(event).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
