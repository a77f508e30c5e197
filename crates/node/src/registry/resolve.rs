//! Finds the document that a tag stands for: by the policy's resolvers, in their order.

use std::time::Duration;

use lighter_image::subject_of_tag;
use lighter_registry::UpstreamReference;
use lighter_registry::server::{Document, Origin, Refusal, Repository, Source};
use lighter_types::{DiffId, ImageReference, OciDigest};
use tokio::time::{Instant, timeout, timeout_at};

use super::beside::document_of;
use super::course::Course;
use super::flights::Flight;
use super::{RETRY_AFTER_S, Registry, known_as, names_of, upstream_of};
use crate::clock::unix_now;
use crate::config::policy::{Policy, Resolver, WhenAway};
use crate::images::{self, companions};
use crate::shared::Shared;

/// A runtime that is told "not here" after more than two seconds looks stuck to its user (containerd #10624).
const RESOLVE_TIMEOUT: Duration = Duration::from_millis(1500);
/// A registry across the world answers within this time; its client repeats a question that fails.
pub(super) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// The same where upstream's last answer counts while it is away.
const UPSTREAM_TIMEOUT_WITH_LAST: Duration = Duration::from_secs(5);

impl Registry {
    pub(super) async fn by_tag(&self, repository: &Repository, tag: &str) -> Result<Document, Refusal> {
        let unknown = || Refusal::ManifestUnknown(format!("{}:{tag}", repository.name));
        if subject_of_tag(tag).is_some() {
            // No peer is asked for an artifact: it comes with its image.
            return self.tagged_beside(repository, tag.to_owned()).await?.ok_or_else(unknown);
        }
        let policy = self.policy(repository);
        let mut trouble = None;
        for resolver in &policy.resolve {
            let resolved = match resolver {
                Resolver::Release => self.by_release(repository, tag).await?,
                Resolver::Upstream => match self.by_upstream(&upstream_of(repository, tag)?, policy).await {
                    Ok(document) => Some(document),
                    Err(Refusal::ManifestUnknown(_)) => {
                        trouble = None;
                        None
                    }
                    Err(refusal) => {
                        trouble = Some(refusal);
                        None
                    }
                },
            };
            if let Some(document) = resolved {
                return Ok(document);
            }
        }
        let trouble = trouble.ok_or_else(unknown)?;
        match self.last_known(repository, tag, policy) {
            Some((manifest, companions, source)) => self.top(manifest, companions, source).await,
            None => Err(trouble),
        }
    }

    /// The newest release of any of the repository's names; while no peer answers, the one that is here.
    async fn by_release(&self, repository: &Repository, tag: &str) -> Result<Option<Document>, Refusal> {
        let references: Vec<ImageReference> =
            names_of(repository).iter().filter_map(|name| format!("{name}:{tag}").parse().ok()).collect();
        // At once: each may take as long as the slowest peer. The first name that has a release counts, and the others
        // are not waited for then.
        let flights = references.iter().map(|reference| self.flights.by_release(reference));
        let flights = flights.collect::<Result<Vec<Flight>, Refusal>>()?;
        let deadline = Instant::now() + RESOLVE_TIMEOUT;
        let source = Source::of(Origin::Release);
        for flight in &flights {
            let Ok(Some((manifest, companions))) = timeout_at(deadline, flight.resolved()).await else { continue };
            if self.documents_of(flight).await? {
                return self.top(manifest, companions, source).await.map(Some);
            }
        }
        let held = references.iter().filter_map(|reference| self.shared.store.reference(reference));
        let mut released = held.filter(|image| {
            let record = &image.release_record;
            let Shared { releases, config, .. } = &*self.shared;
            images::upstream_record::checked_at(record).is_none() && !releases.is_held_back(config, unix_now(), record)
        });
        match released.next() {
            Some(image) => {
                let companions = companions::of_record(&image.release_record);
                self.top(image.manifest, companions, source).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// The image as its registry names it.
    pub(super) async fn by_upstream(&self, wanted: &UpstreamReference, policy: &Policy) -> Result<Document, Refusal> {
        let flight = self.flights.by_upstream(wanted)?;
        let has_last = wanted.name().is_some_and(|name| self.shared.store.reference(&name).is_some());
        let patience = match policy.when_upstream_is_away {
            WhenAway::Last if has_last => UPSTREAM_TIMEOUT_WITH_LAST,
            WhenAway::Last | WhenAway::Fail => UPSTREAM_TIMEOUT,
        };
        let Ok(resolved) = timeout(patience, flight.resolved()).await else {
            let within = patience.as_secs();
            return Err(Refusal::Upstream(format!("{} does not answer within {within} s", wanted.registry())));
        };
        let unknown = || Refusal::ManifestUnknown(wanted.to_string());
        let failure = || flight.state().failure.unwrap_or_else(unknown);
        let (manifest, _) = resolved.ok_or_else(failure)?;
        if !self.documents_of(&flight).await? {
            return Err(failure());
        }
        let Course { top, companions, age_s, .. } = flight.state();
        let source = Source { age_s, ..Source::of(Origin::Upstream) };
        let is_by_manifest = wanted.digest() == Some(manifest);
        match top.filter(|top| !is_by_manifest || top.digest == manifest) {
            Some(top) => Ok(document_of(&top, source)),
            None if is_by_manifest => self.document(manifest, source).await,
            None => self.top(manifest, companions, source).await,
        }
    }

    /// Waits for the documents of an image; whether they are here.
    async fn documents_of(&self, flight: &Flight) -> Result<bool, Refusal> {
        let waiting = Duration::from_secs(self.shared.config.registry.wait_s.into());
        let waited = timeout(waiting, flight.has_documents(&self.shared.store)).await;
        let are_here = waited.map_err(|_| Refusal::Late { retry_after_s: RETRY_AFTER_S })?;
        if let (true, Some(manifest)) = (are_here, flight.state().manifest) {
            self.ahead.want(manifest);
        }
        Ok(are_here)
    }

    /// The image that upstream named last, if that counts while it is away.
    fn last_known(
        &self,
        repository: &Repository,
        tag: &str,
        policy: &Policy,
    ) -> Option<(OciDigest, Option<DiffId>, Source)> {
        if policy.when_upstream_is_away == WhenAway::Fail {
            return None;
        }
        let reference = format!("{}:{tag}", known_as(repository)).parse().ok()?;
        let image = self.shared.store.reference(&reference)?;
        let checked = images::upstream_record::checked_at(&image.release_record)?;
        let age_s = Some(unix_now().0.saturating_sub(checked.0));
        let companions = companions::of_record(&image.release_record);
        Some((image.manifest, companions, Source { age_s, ..Source::of(Origin::LastKnown) }))
    }
}
