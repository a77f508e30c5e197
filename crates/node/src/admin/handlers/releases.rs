//! The paths of releases: sign, cosign, add, show a record, hand over, forget.

use axum::Json;
use axum::extract::State as Extract;
use lighter_api::{self as api, Problem, ProblemKind, SignedRecord};
use lighter_store::Image;
use lighter_types::{Bytes, ImageReference};
use lighter_wire::{COSIGNATURES_MAX, Handover, Message, SignedHandover, SignedRelease};

use super::files::problem;
use crate::admin::State;
use crate::admin::answers::{Answer, Body, Failure, Parameters, blocking};
use crate::clock::unix_now;
use crate::images::{self, ImagesError, Unsigned, next_date, sign};
use crate::releases::file::{self, Record};
use crate::releases::{ReleaseError, check_signatures};
use crate::shared::Shared;

fn refused(error: &ReleaseError) -> Failure {
    Problem::new(ProblemKind::BadData, format!("a release {error}")).into()
}

fn wrong(message: impl std::fmt::Display) -> Failure {
    Problem::new(ProblemKind::Request, message).into()
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::new(ProblemKind::BadData, error)
}

/// The record of a release, as operators pass it on.
fn written(release: &SignedRelease) -> Result<SignedRecord, Failure> {
    file::of_release(release).map_err(|error| unreadable(&error))
}

/// The image and its release, as they are here.
fn held(shared: &Shared, reference: &ImageReference) -> Result<(Image, SignedRelease), Failure> {
    let unknown = || problem(&ImagesError::Unknown(reference.clone()));
    let image = shared.store.reference(reference).ok_or_else(unknown)?;
    let release = images::release_of(&shared.store, reference);
    let none = || Problem::new(ProblemKind::NotFound, format!("{reference} has no release: it was pulled by digest"));
    Ok((image, release.ok_or_else(none)?))
}

/// The sizes of an image's layers, and of its companions, as they are on this disk.
fn tar_bytes(shared: &Shared, release: &SignedRelease) -> Result<Vec<Bytes>, Failure> {
    let manifest = release.release.manifest;
    let gone = |what: &str| Problem::new(ProblemKind::NotFound, format!("{what} of {manifest} is not on this node"));
    if shared.store.blob_bytes(&manifest).is_none() {
        return Err(gone("the manifest").into());
    }
    let layers = images::diff_ids(&shared.store, manifest).map_err(|error| problem(&error))?;
    let cards = layers.into_iter().chain(release.release.companions).map(|layer| shared.store.card(&layer));
    let sizes: Option<Vec<Bytes>> = cards.map(|card| card.map(|card| card.tar_bytes)).collect();
    sizes.ok_or_else(|| gone("a layer").into())
}

/// Gives an image another record, and remembers it.
fn replace(shared: &Shared, image: Image, release: &SignedRelease) -> Result<(), Failure> {
    let record = release.encode().map_err(|error| unreadable(&error))?;
    let reference = &release.release.reference;
    shared.store.set_reference(reference, Image { release_record: record, ..image })?;
    shared.see(release);
    Ok(())
}

/// Obeys a handover. One that cannot be written is not acknowledged: the operator gives it once more.
fn obey(shared: &Shared, signed: &SignedHandover) -> Result<(), Failure> {
    let written = shared.obey(signed).map_err(|error| refused(&error))?;
    written.map_err(|error| Failure::new(ProblemKind::Machine, &error))
}

pub async fn sign_anew(
    Extract(state): Extract<State>,
    Body(request): Body<api::ReleaseSignRequest>,
) -> Answer<SignedRecord> {
    let shared = state.shared;
    let signed = blocking(move || {
        let (image, old) = held(&shared, &request.reference)?;
        let tar_bytes = tar_bytes(&shared, &old)?;
        let (manifest, companions) = (old.release.manifest, old.release.companions);
        let (reference, lifetime_s) = (request.reference, request.lifetime_s);
        let release = sign(&shared, Unsigned { reference, manifest, companions, tar_bytes, lifetime_s }, unix_now());
        replace(&shared, image, &release)?;
        written(&release)
    });
    signed.await?.map(Json)
}

pub async fn record(
    Extract(state): Extract<State>,
    Parameters(query): Parameters<api::ReferenceQuery>,
) -> Answer<SignedRecord> {
    let shared = state.shared;
    let found = blocking(move || {
        let (_, release) = held(&shared, &query.reference)?;
        written(&release)
    });
    found.await?.map(Json)
}

/// Adds this node's signature to a release of another publisher. This node signs for what it has looked at: it must
/// hold the image, with layers of the sizes that the release names.
pub async fn cosign(Extract(state): Extract<State>, Body(record): Body<SignedRecord>) -> Answer<SignedRecord> {
    let shared = state.shared;
    let signed = blocking(move || {
        let Record::Release(mut release) = file::read(&record).map_err(|error| unreadable(&error))? else {
            return Err(wrong("a handover has one signature, that of the key that hands over"));
        };
        check_signatures(&release).map_err(|error| refused(&error))?;
        let own = shared.identity.peer_id();
        if release.signatures().any(|(publisher, _)| publisher == own) {
            return Err(wrong("this node has signed this release before"));
        }
        if release.cosignatures.len() >= COSIGNATURES_MAX {
            return Err(wrong(format!("a release has {COSIGNATURES_MAX} further signatures at most")));
        }
        let sizes = tar_bytes(&shared, &release)?;
        if release.release.bounds.as_ref().is_some_and(|bounds| bounds.tar_bytes != sizes) {
            let message = "the layers on this node have other sizes than the release names";
            return Err(Problem::new(ProblemKind::BadData, message).into());
        }
        shared.identity.cosign(&mut release);
        written(&release)
    });
    signed.await?.map(Json)
}

/// Takes in a record: a release of an image that is here, or a handover.
pub async fn add(Extract(state): Extract<State>, Body(record): Body<SignedRecord>) -> Answer<SignedRecord> {
    let shared = state.shared;
    let added = blocking(move || {
        match file::read(&record).map_err(|error| unreadable(&error))? {
            Record::Handover(handover) => {
                obey(&shared, &handover)?;
            }
            Record::Release(release) => {
                shared.judge(&release).map_err(|error| refused(&error))?;
                let manifest = release.release.manifest;
                let mut images = shared.store.references().into_iter().map(|(_, image)| image);
                let image = images.find(|image| image.manifest == manifest);
                let unknown = || Problem::new(ProblemKind::NotFound, format!("{manifest} is not on this node"));
                replace(&shared, image.ok_or_else(unknown)?, &release)?;
            }
        }
        Ok::<_, Failure>(record)
    });
    added.await?.map(Json)
}

pub async fn hand_over(
    Extract(state): Extract<State>,
    Body(request): Body<api::HandoverRequest>,
) -> Answer<SignedRecord> {
    let shared = state.shared;
    let signed = blocking(move || {
        let named: ImageReference = format!("{}:latest", request.repository).parse()?;
        let (from, to) = (shared.identity.peer_id(), request.to);
        let issued_s = next_date(&shared.store, &shared.releases, &named, unix_now());
        if from == to {
            return Err(wrong("a key cannot hand over to itself"));
        }
        let repository = named.repository().to_owned();
        let signed = shared.identity.hand_over(Handover { repository, from, to, issued_s });
        obey(&shared, &signed)?;
        file::of_handover(&signed).map_err(|error| unreadable(&error))
    });
    signed.await?.map(Json)
}

pub async fn forget(
    Extract(state): Extract<State>,
    Body(request): Body<api::ForgetRequest>,
) -> Answer<api::ForgetRequest> {
    let (shared, reference) = (state.shared, request.reference.clone());
    let forgotten = blocking(move || shared.releases.forget(&reference, request.handovers)).await?;
    match forgotten.map_err(|error| Failure::new(ProblemKind::Machine, &error))? {
        true => Ok(Json(request)),
        false => {
            Err(Problem::new(ProblemKind::NotFound, format!("no release of {} was seen", request.reference)).into())
        }
    }
}
