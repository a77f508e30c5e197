//! A blob on its way from a registry: resumed after a break, checked at its end.
//!
//! The descriptor bounds the length. After a break the next attempt asks for the bytes that are missing; a server that
//! answers with the whole blob (200) is read from its start, and the bytes that are here are passed over. sha256 is
//! over all bytes that were handed out, so a source that continues with other bytes is found at the end.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_RANGE, HeaderValue};
use lighter_image::BlobDescriptor;
use lighter_types::OciDigest;
use sha2::{Digest, Sha256};

use super::Upstream;
use super::ask::Ask;
use super::attempts::Attempts;
use super::content_range::{ContentRange, parse_content_range};
use super::error::{Failure, UpstreamError};
use super::exchange::{Answer, Body, content_length};

/// Any type: a blob has none of its own.
const ANY: &str = "*/*";

/// A blob that is being read.
pub(super) struct Download {
    upstream: Arc<Upstream>,
    repository: String,
    blob: BlobDescriptor,
    attempts: Attempts,
    body: Option<Body>,
    /// Bytes of the body that were handed out before.
    passed_over: u64,
    position: u64,
    sha256: Sha256,
    is_done: bool,
}

impl Download {
    pub(super) fn new(upstream: Arc<Upstream>, registry: &str, repository: &str, blob: BlobDescriptor) -> Self {
        let attempts = Attempts::new(upstream.sources(registry));
        Self {
            upstream,
            repository: repository.to_owned(),
            blob,
            attempts,
            body: None,
            passed_over: 0,
            position: 0,
            sha256: Sha256::new(),
            is_done: false,
        }
    }

    /// The next bytes; `None` at the end of a blob whose length and sha256 are right. Dropping the future loses no
    /// bytes that were handed out.
    ///
    /// # Errors
    /// The last failure, when all attempts at all sources failed.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        while !self.is_done {
            match self.next().await {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => self.is_done = true,
                Err(failure) => {
                    self.body = None;
                    // Bytes that were handed out cannot be taken back.
                    let is_final = matches!(failure, Failure::Wrong { .. }) && self.position > 0;
                    let upstream = self.upstream.clone();
                    let left = if is_final { Err(failure) } else { self.attempts.after(failure, &upstream).await };
                    left.map_err(|failure| self.error(failure))?;
                }
            }
        }
        Ok(None)
    }

    /// The next bytes of the current answer, or of a new one. They may be none.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let (body, passed_over) =
                    open(&self.upstream, &self.attempts, &self.repository, &self.blob, self.position).await?;
                self.passed_over = passed_over;
                none.insert(body)
            }
        };
        let whole = self.blob.bytes.0;
        let Some(mut bytes) = body.chunk().await? else {
            return match self.position {
                position if position < whole => {
                    Err(Failure::Broken { received: position, problem: "the body is too short".to_owned() })
                }
                _ => self.check().map(|()| None),
            };
        };
        let again = usize::try_from(self.passed_over).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.split_off(again);
        self.passed_over -= again as u64;
        self.attempts.progressed(bytes.len());
        if bytes.len() as u64 > whole - self.position {
            return Err(wrong("the blob's bytes", whole, format!("more than {whole}")));
        }
        self.position += bytes.len() as u64;
        self.sha256.update(&bytes);
        Ok(Some(bytes))
    }

    fn check(&self) -> Result<(), Failure> {
        let found = OciDigest::new(self.sha256.clone().finalize().into());
        if found == self.blob.digest { Ok(()) } else { Err(wrong("sha256 of the blob", self.blob.digest, found)) }
    }

    fn error(&self, failure: Failure) -> UpstreamError {
        UpstreamError {
            registry: self.attempts.source().host.as_str().into(),
            repository: self.repository.as_str().into(),
            step: format!("get blob {}", self.blob.digest).into(),
            failure,
        }
    }
}

/// Opens the blob at `position`: the body, and how many bytes of it are not wanted.
async fn open(
    upstream: &Upstream,
    attempts: &Attempts,
    repository: &str,
    blob: &BlobDescriptor,
    position: u64,
) -> Result<(Body, u64), Failure> {
    let path = format!("blobs/{}", blob.digest);
    // A range of no bytes cannot be asked for: the whole blob is here, and only its end was missed.
    let from = if position < blob.bytes.0 { position } else { 0 };
    let ask = Ask { source: attempts.source(), repository, path, accept: ANY, from };
    let answer = upstream.exchange(&ask).await?;
    let passed_over = if from > 0 && answer.status == StatusCode::PARTIAL_CONTENT {
        check_range(&answer, blob, position)?;
        0
    } else if answer.status == StatusCode::OK {
        check_length(&answer, blob.bytes.0)?;
        position
    } else {
        return Err(Failure::protocol("it answers with a part where the whole was asked for"));
    };
    Ok((answer.body, passed_over))
}

fn check_range(answer: &Answer, blob: &BlobDescriptor, position: u64) -> Result<(), Failure> {
    let whole = blob.bytes.0;
    let expected = ContentRange { first: position, last: whole.saturating_sub(1), whole };
    let header = answer.headers.get(CONTENT_RANGE).map(HeaderValue::as_bytes);
    match header.and_then(parse_content_range) {
        Some(found) if found == expected => check_length(answer, whole - position),
        _ => {
            let found = header
                .map_or("none".to_owned(), |header| String::from_utf8_lossy(header).escape_debug().take(80).collect());
            Err(wrong("Content-Range", format!("bytes {position}-{}/{whole}", expected.last), found))
        }
    }
}

fn check_length(answer: &Answer, expected: u64) -> Result<(), Failure> {
    match content_length(&answer.headers) {
        Some(found) if found != expected => Err(wrong("Content-Length of the blob", expected, found)),
        _ => Ok(()),
    }
}

fn wrong(what: &'static str, expected: impl ToString, found: impl ToString) -> Failure {
    Failure::Wrong { what, expected: expected.to_string(), found: found.to_string() }
}
