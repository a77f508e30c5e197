//! Refusals, with the error bodies of the specification ("Error Codes").

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request gets no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such path")]
    NoPath,
    #[error("the name of the repository is not valid")]
    Name,
    #[error("the digest is not valid: only sha256 is known")]
    Digest,
    #[error("the tag is not valid")]
    Tag,
    #[error("neither this node nor its fleet has the repository {0}")]
    NameUnknown(String),
    #[error("neither this node nor its fleet has {0}")]
    ManifestUnknown(String),
    #[error("no image of this repository here has the blob {0}")]
    BlobUnknown(String),
    #[error("this registry only serves: push to the upstream registry")]
    ReadOnly,
    #[error("the range lies outside the blob")]
    Range,
    #[error("the image is still on its way")]
    Late { retry_after_s: u32 },
    #[error("name and password are needed, or they are wrong")]
    Unauthorized,
    #[error("this user may not pull {0}")]
    Denied(String),
    /// The upstream registry does not give the image: its registry, repository, the step, and a remedy.
    #[error("{0}")]
    Upstream(String),
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoPath | Self::ReadOnly => "UNSUPPORTED",
            // A tag is a part of an image's name; the specification has no code of its own for it.
            Self::Name | Self::Tag => "NAME_INVALID",
            Self::Digest => "DIGEST_INVALID",
            Self::NameUnknown(_) => "NAME_UNKNOWN",
            Self::ManifestUnknown(_) => "MANIFEST_UNKNOWN",
            Self::BlobUnknown(_) => "BLOB_UNKNOWN",
            Self::Range => "SIZE_INVALID",
            Self::Late { .. } => "TOOMANYREQUESTS",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied(_) => "DENIED",
            Self::Upstream(_) | Self::Failed(_) => "UNKNOWN",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoPath | Self::NameUnknown(_) | Self::ManifestUnknown(_) | Self::BlobUnknown(_) => {
                StatusCode::NOT_FOUND
            }
            Self::Name | Self::Digest | Self::Tag => StatusCode::BAD_REQUEST,
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Late { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "code": self.code(), "message": self.to_string() }] });
        let mut response = (self.status(), [(CONTENT_TYPE, "application/json")], body.to_string()).into_response();
        if let Self::Late { retry_after_s } = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        if self == Self::Unauthorized {
            // RFC 7617, section 2.
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"lighter\""));
        }
        if self == Self::ReadOnly {
            super::allow(response.headers_mut());
        }
        response
    }
}
