//! Counts of a server: requests by their subject, outcome and source, and the bytes of bodies by the class of the blob.
//!
//! All labels are enums, so a client cannot make the counts grow. Bytes are counted as they leave for the connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt as _;

use super::path::Target;
use super::source::{BlobClass, Origin, Source};

/// The subject of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Base,
    Manifest,
    Blob,
    Tags,
    Referrers,
    /// No path of the specification.
    Other,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Served,
    NotModified,
    /// Nobody has it: the client goes on to its next registry.
    NotFound,
    Unauthorized,
    Denied,
    /// The request is wrong.
    Wrong,
    /// The upstream registry does not answer as it should.
    Upstream,
    /// Still on its way when the client had waited for long.
    Late,
    /// This node failed.
    Failed,
}

/// The labels of one count of requests.
pub type RequestLabels = (Subject, Outcome, Option<Origin>);

/// The counts of a server since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    pub requests: BTreeMap<RequestLabels, u64>,
    /// Bytes of bodies; those of no blob have no class.
    pub body_bytes: BTreeMap<Option<BlobClass>, u64>,
}

/// The counts of one server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Mutex<ServerStats>>);

impl Counts {
    pub fn stats(&self) -> ServerStats {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ServerStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer, and its body while it is sent.
    pub(super) fn count(&self, subject: Subject, source: Option<Source>, response: Response) -> Response {
        let labels = (subject, Outcome::of(response.status()), source.map(|source| source.origin));
        *self.lock().requests.entry(labels).or_default() += 1;
        let (parts, body) = response.into_parts();
        let (counts, class) = (self.clone(), source.and_then(|source| source.class));
        let body = Body::new(body.map_frame(move |frame| {
            if let Some(data) = frame.data_ref() {
                *counts.lock().body_bytes.entry(class).or_default() += data.len() as u64;
            }
            frame
        }));
        Response::from_parts(parts, body)
    }
}

impl Subject {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Base => Self::Base,
            Target::Manifest(_) => Self::Manifest,
            Target::Blob(_) => Self::Blob,
            Target::Tags { .. } => Self::Tags,
            Target::Referrers { .. } => Self::Referrers,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::Other => "other",
        }
    }
}

impl Outcome {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Served,
            304 => Self::NotModified,
            401 => Self::Unauthorized,
            403 => Self::Denied,
            404 => Self::NotFound,
            502 => Self::Upstream,
            503 => Self::Late,
            500..=599 => Self::Failed,
            _ => Self::Wrong,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::NotModified => "not-modified",
            Self::NotFound => "not-found",
            Self::Unauthorized => "unauthorized",
            Self::Denied => "denied",
            Self::Wrong => "wrong",
            Self::Upstream => "upstream",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}
