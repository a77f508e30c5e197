//! Asks a registry what refers to a manifest: by its referrers API, by the tag that stands for the API where there is
//! none, and by cosign's tags.
//!
//! A registry without the API answers with a status of 400 to 499, or with 501; then the tag is asked for (OCI
//! distribution spec 1.1, "Listing Referrers"), and the API not again for this image. A tag that is not there is no
//! failure. Neither is a refusal (401, 403): some registries answer so for what they do not have. Any other failure
//! ends the import: an image that lost its signatures that way would be refused everywhere.

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, LINK};
use lighter_image::{COMPANIONS_MAX, DOCUMENT_BYTES_MAX, Document, Referrer, Referring, Subject, artifact_tags};
use lighter_types::OciDigest;

use super::Upstream;
use super::ask::Ask;
use super::attempts::Attempts;
use super::error::{Failure, UpstreamError};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The most pages of one list. Registries have up to 50 or 100 entries on one.
const PAGES_MAX: usize = 16;

/// The answer to one question, and the documents that came with it.
pub(super) struct Asked {
    pub(super) referring: Referring,
    pub(super) documents: Vec<(OciDigest, Vec<u8>)>,
}

/// Asks one registry about one image.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    /// The registry answered once that it has no referrers API.
    lacks_api: bool,
}

impl Asking {
    /// The documents that refer to `subject`.
    ///
    /// # Errors
    /// The last failure, when all attempts at all sources failed.
    pub(super) async fn referring(
        &mut self,
        upstream: &Upstream,
        registry: &str,
        repository: &str,
        subject: OciDigest,
        kind: Subject,
    ) -> Result<Asked, UpstreamError> {
        let (mut referring, mut documents) = (Referring::default(), Vec::new());
        if !self.lacks_api {
            match upstream.referrers(registry, repository, subject).await {
                Ok(found) => referring.found = found,
                Err(error) if is_absent(&error.failure) => self.lacks_api = true,
                Err(error) => return Err(error),
            }
        }
        let [list, cosign @ ..] = artifact_tags(&subject);
        let list = Some(list).filter(|_| self.lacks_api);
        // cosign signs images only.
        let cosign = cosign.into_iter().filter(|_| kind == Subject::Image);
        for tag in list.into_iter().chain(cosign) {
            match upstream.document(registry, repository, &tag, None).await {
                Ok(document) => {
                    documents.push((document.descriptor.digest, document.bytes));
                    referring.found.push(Referrer { blob: document.descriptor, tag: Some(tag) });
                }
                Err(error) if error.failure.is_not_found() => {}
                Err(error) if is_absent(&error.failure) => {
                    referring.passed_over.push(format!("tag {tag}: {}", lighter_types::error_chain(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Asked { referring, documents })
    }
}

/// Whether a registry says so that it has no such thing, or no such path.
fn is_absent(failure: &Failure) -> bool {
    match failure {
        Failure::Refused { .. } => true,
        Failure::Status { status, .. } => *status == 501 || (400..500).contains(status) && !failure.is_transient(),
        // An answer that is no index: of a proxy's page for every path.
        Failure::Protocol { .. } => true,
        Failure::Unreachable { .. }
        | Failure::Stalled { .. }
        | Failure::Broken { .. }
        | Failure::Wrong { .. }
        | Failure::Realm { .. }
        | Failure::Stopping
        | Failure::Credentials { .. } => false,
    }
}

impl Upstream {
    /// The list of the referrers API.
    async fn referrers(
        &self,
        registry: &str,
        repository: &str,
        subject: OciDigest,
    ) -> Result<Vec<Referrer>, UpstreamError> {
        let mut attempts = Attempts::new(self.sources(registry));
        loop {
            let failure = match self.referrers_once(&attempts, repository, subject).await {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            attempts.after(failure, self).await.map_err(|failure| UpstreamError {
                registry: attempts.source().host.as_str().into(),
                repository: repository.into(),
                step: format!("list what refers to {subject}").into(),
                failure,
            })?;
        }
    }

    async fn referrers_once(
        &self,
        attempts: &Attempts,
        repository: &str,
        subject: OciDigest,
    ) -> Result<Vec<Referrer>, Failure> {
        let mut found = Vec::new();
        let mut query = String::new();
        for _ in 0..PAGES_MAX {
            let path = format!("referrers/{subject}{query}");
            let ask = Ask { source: attempts.source(), repository, path, accept: INDEX, from: 0 };
            let mut answer = self.exchange(&ask).await?;
            let media_type = answer.headers.get(CONTENT_TYPE).and_then(|header| header.to_str().ok());
            if media_type.is_none_or(|media_type| !media_type.to_ascii_lowercase().starts_with(INDEX)) {
                return Err(Failure::protocol("its list of referrers is no index"));
            }
            let bytes = answer.body.read(DOCUMENT_BYTES_MAX.0).await?;
            let list = Document::read("the list of referrers", &bytes)
                .map_err(|error| Failure::protocol(lighter_types::error_chain(&error)))?;
            found.extend(list.manifests.into_iter().map(|blob| Referrer { blob, tag: None }));
            match next_page(&answer.headers) {
                Some(next) if found.len() < COMPANIONS_MAX => query = next,
                Some(_) | None => break,
            }
        }
        Ok(found)
    }
}

/// The query of the next page, of a header as `</v2/a/referrers/sha256:...?n=2&last=x>; rel="next"`. The path is ours.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (target, relation) = link.strip_prefix('<')?.split_once('>')?;
    let (_, query) = target.split_once('?').filter(|_| relation.replace(['"', ' '], "").contains("rel=next"))?;
    let is_plain = query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    (is_plain && query.len() <= 1024).then(|| format!("?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_query_of_the_next_page_is_taken() {
        fn check(link: &str, expected: Option<&str>) {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            assert_eq!(next_page(&headers).as_deref(), expected, "{link}");
        }
        check("</v2/a/referrers/sha256:0?n=2&last=x>; rel=\"next\"", Some("?n=2&last=x"));
        check("<https://evil.example/?a=1>; rel=next", Some("?a=1"));
        check("</v2/a?n=2>; rel=\"prev\"", None);
        check("</v2/a>; rel=\"next\"", None);
        check("</v2/a?x y>; rel=\"next\"", None);
        check("n=2", None);
        assert_eq!(next_page(&HeaderMap::new()), None);
    }
}
