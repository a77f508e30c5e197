//! One request and its answer: authorization, challenges, redirects, and the floor of progress of a body.
//!
//! Credentials and tokens go to the registry's own origin only. A redirect is followed at most [`REDIRECTS_MAX`] times,
//! without them when it leads to another origin, and never from HTTPS to HTTP, nor to plain HTTP at a host that is not
//! configured so. A second 401 behind an answered challenge ends the request.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION, RANGE, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use super::Upstream;
use super::ask::{Ask, invalid, refused, request};
use super::challenge::{CHALLENGES_MAX, Challenge, parse_challenges};
use super::connect::{Connection, Connections, INTERVAL, Origin, problem};
use super::error::Failure;
use super::retry_after::retry_after;
use super::settings::api_host;

/// Redirects on the way to a blob. Registries need one or two.
const REDIRECTS_MAX: usize = 5;
/// A body must bring this many bytes in each [`INTERVAL`]: the least that a line of 1.7 kbit/s carries.
const PROGRESS_BYTES_MIN: u64 = 4 << 10;
/// Bodies of refusals up to this size are read, so that the connection can be kept.
const DRAINED_BYTES_MAX: u64 = 16 << 10;

/// An answer of 200 or 206.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The body of an answer.
pub(super) struct Body {
    incoming: Incoming,
    connection: Option<Connection>,
    origin: Origin,
    connections: Arc<Connections>,
    /// The time spent in waiting for bytes, and the bytes, since the floor was last reached.
    waited: Duration,
    interval_bytes: u64,
    received: u64,
}

impl Upstream {
    /// Asks, and follows challenges and redirects to the answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Any but `Wrong`.
    pub(super) async fn exchange(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let first = self.url(ask)?;
        let own = Origin::of(&first).ok_or_else(|| Failure::protocol("its name is not a host's"))?;
        let (mut url, mut redirects, mut is_authorized) = (first.clone(), 0, false);
        let mut with_credentials = self.settings.of(&ask.source.host).credentials.is_some();
        loop {
            let origin = Origin::of(&url).ok_or_else(|| Failure::protocol(format!("it redirects to {url}")))?;
            let authorization = if origin == own { self.authorization(ask) } else { None };
            let mut answer = self.get(&origin, &url, ask, authorization).await?;
            let status = answer.status;
            match status.as_u16() {
                200 | 206 => return Ok(answer),
                401 if origin == own && !is_authorized => {
                    is_authorized = true;
                    with_credentials = self.authorize(ask, &origin, &challenges(&answer.headers)?).await?;
                    (url, redirects) = (first.clone(), 0);
                }
                401 | 403 => return Err(refused(&origin.authority, status, with_credentials)),
                301 | 302 | 303 | 307 | 308 => {
                    redirects += 1;
                    if redirects > REDIRECTS_MAX {
                        return Err(Failure::protocol(format!("it redirects more than {REDIRECTS_MAX} times")));
                    }
                    url = self.redirected(&origin, &url, &answer.headers)?;
                }
                status => return Err(Failure::Status { status, retry_after: retry_after(&answer.headers) }),
            }
            answer.body.drain().await;
        }
    }

    fn url(&self, ask: &Ask<'_>) -> Result<Url, Failure> {
        let scheme = if self.settings.is_insecure(&ask.source.host) { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{}/{}", api_host(&ask.source.host), ask.repository, ask.path);
        let mut url = Url::parse(&text).map_err(|error| Failure::protocol(format!("its name is no host: {error}")))?;
        if let Some(registry) = &ask.source.mirror_of {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    async fn get(
        &self,
        origin: &Origin,
        url: &Url,
        ask: &Ask<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, Failure> {
        let mut request = request(Method::GET, origin, url, Bytes::new())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(ask.accept));
        if ask.from > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", ask.from)).map_err(|error| invalid(&error))?;
            request.headers_mut().insert(RANGE, range);
        }
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        self.answer(origin, &request).await
    }

    /// Sends one request. Its answer may have any status.
    pub(super) async fn answer(&self, origin: &Origin, request: &Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let (response, connection) = self.connections.send(origin, request).await?;
        let (head, incoming) = response.into_parts();
        let body = Body {
            incoming,
            connection: Some(connection),
            origin: origin.clone(),
            connections: self.connections.clone(),
            waited: Duration::ZERO,
            interval_bytes: 0,
            received: 0,
        };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn redirected(&self, origin: &Origin, from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Failure::protocol("it redirects without saying where to"))?;
        let to = from.join(location).map_err(|error| Failure::protocol(format!("it redirects to no url: {error}")))?;
        let target = Origin::of(&to);
        match target {
            Some(target) if target.is_secure() => Ok(to),
            Some(target) if !origin.is_secure() && self.settings.is_insecure(&target.authority) => Ok(to),
            Some(target) => {
                let problem = format!("it redirects to plain HTTP at {target}, which is not configured as insecure");
                Err(Failure::protocol(problem))
            }
            None => Err(Failure::protocol("it redirects to something else than HTTP")),
        }
    }
}

/// All challenges of an answer.
fn challenges(headers: &HeaderMap) -> Result<Vec<Challenge>, Failure> {
    let mut all = Vec::new();
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let read = parse_challenges(header.as_bytes());
        all.extend(read.ok_or_else(|| Failure::protocol("its WWW-Authenticate header is malformed"))?);
        if all.len() > CHALLENGES_MAX {
            return Err(Failure::protocol(format!("it sends more than {CHALLENGES_MAX} challenges")));
        }
    }
    Ok(all)
}

/// The length that an answer's headers give its body.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Body {
    /// The next bytes; `None` at the end of the answer.
    ///
    /// # Errors
    /// `Stalled`, `Broken`.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let started = Instant::now();
            let frame = timeout(INTERVAL.saturating_sub(self.waited), self.incoming.frame()).await;
            let data = match frame {
                Err(_) => return Err(Failure::Stalled { received: self.interval_bytes, interval: INTERVAL }),
                Ok(None) => {
                    if let Some(connection) = self.connection.take() {
                        self.connections.keep(self.origin.clone(), connection);
                    }
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    return Err(Failure::Broken { received: self.received, problem: problem(&error) });
                }
                // Trailers say nothing here.
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            // Only the wait for the network counts, not the time that the reader takes between two calls.
            self.waited += started.elapsed();
            self.interval_bytes += data.len() as u64;
            self.received += data.len() as u64;
            if self.interval_bytes >= PROGRESS_BYTES_MIN {
                (self.waited, self.interval_bytes) = (Duration::ZERO, 0);
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, at most `bytes_max`.
    ///
    /// # Errors
    /// `Stalled`, `Broken`, `Protocol` if it is longer.
    pub(super) async fn read(&mut self, bytes_max: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > bytes_max {
                return Err(Failure::protocol(format!("its answer is longer than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Reads a small rest, so that the connection can be kept.
    async fn drain(&mut self) {
        let _ = self.read(DRAINED_BYTES_MAX).await;
    }
}
