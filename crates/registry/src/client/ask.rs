//! Requests: of whom something is asked, and the headers that each has.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use url::Url;

use super::connect::Origin;
use super::error::Failure;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("lighter/", env!("CARGO_PKG_VERSION")));

/// A registry or a mirror of one.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Host and port as in references.
    pub(super) host: String,
    /// The registry of which this is a mirror.
    pub(super) mirror_of: Option<String>,
}

/// A request for something of a repository.
pub(super) struct Ask<'a> {
    pub(super) source: &'a Source,
    pub(super) repository: &'a str,
    /// As `manifests/latest`.
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// The first byte that is wanted.
    pub(super) from: u64,
}

/// A request with a body, to an origin.
pub(super) fn request(
    method: Method,
    origin: &Origin,
    url: &Url,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Failure> {
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error| invalid(&error))?;
    let host = HeaderValue::try_from(&origin.authority).map_err(|error| invalid(&error))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, AGENT);
    Ok(request)
}

/// The failure of a request that cannot be written.
pub(super) fn invalid(error: &dyn std::fmt::Display) -> Failure {
    Failure::protocol(format!("it cannot be asked so: {error}"))
}

/// The failure of a request that was refused.
pub(super) fn refused(host: &str, status: StatusCode, with_credentials: bool) -> Failure {
    Failure::Refused { host: host.to_owned(), status: status.as_u16(), with_credentials }
}
