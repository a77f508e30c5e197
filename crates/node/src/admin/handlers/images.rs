//! The paths of images: list, show, pin, remove; and the plan of a rollout from one to another.

use axum::Json;
use axum::extract::State as Extract;
use lighter_api::{self as api, Problem, ProblemKind};
use lighter_image::{Artifact, Companions, LayerDescriptor};
use lighter_store::Store;
use lighter_types::{Bytes, ImageReference};
use lighter_wire::BlobSource;

use super::files::problem;
use crate::admin::State;
use crate::admin::answers::{Answer, Body, Failure, Parameters, ask, blocking};
use crate::event::Command;
use crate::images::{self, ImagesError, companions, recipes};
use crate::releases::Due;

pub async fn list(Extract(state): Extract<State>) -> Answer<Vec<api::Image>> {
    let store = state.shared.store.clone();
    let images = blocking(move || {
        let images = store.references();
        images.iter().map(|(reference, image)| view(&store, reference, image)).collect()
    });
    images.await.map(Json)
}

pub async fn show(
    Extract(state): Extract<State>,
    Parameters(query): Parameters<api::ReferenceQuery>,
) -> Answer<api::Image> {
    let (store, reference) = (state.shared.store.clone(), query.reference);
    let shown = blocking(move || {
        let documents = images::imported(&store, &reference)?;
        let image = store.reference(&reference).ok_or(ImagesError::Unknown(reference.clone()))?;
        let platform = documents.platform.map(|platform| platform.to_string());
        let blobs = documents.layers.iter().map(|layer| blob(&store, layer)).collect();
        // Blobs that are kept beside the tars are shown as such.
        let layers = documents.layers.iter().map(|layer| layer.diff_id).collect();
        let beside = companions::of_image(&store, &reference)?.map(|opened| opened.companions);
        let index = beside.as_ref().map(Companions::top).filter(|top| *top != image.manifest);
        let artifacts = beside.iter().flat_map(Companions::artifacts).map(artifact).collect();
        Ok(api::Image { platform, blobs, layers, index, artifacts, ..view(&store, &reference, &image) })
    });
    shown.await?.map(Json).map_err(|error| problem(&error).into())
}

fn view(store: &Store, reference: &ImageReference, image: &lighter_store::Image) -> api::Image {
    let release = images::release_of(store, reference);
    let companions = companions::of_record(&image.release_record);
    let cards = image.layers.iter().filter_map(|layer| store.card(layer));
    api::Image {
        reference: reference.clone(),
        manifest: image.manifest,
        config: image.config,
        layers: image.layers.iter().copied().filter(|layer| Some(*layer) != companions).collect(),
        tar_bytes: cards.map(|card| card.tar_bytes).sum(),
        publisher: release.as_ref().map(|release| release.publisher),
        issued_s: release.as_ref().map(|release| release.release.issued_s),
        expires_s: release.as_ref().and_then(|release| release.release.expires_s()),
        cosigners: release.iter().flat_map(|release| &release.cosignatures).map(|further| further.publisher).collect(),
        pinned: store.is_image_pinned(reference),
        platform: None,
        blobs: Vec::new(),
        index: None,
        artifacts: Vec::new(),
    }
}

fn artifact(artifact: &Artifact) -> api::ImageArtifact {
    let Artifact { digest, artifact_type, bytes } = artifact.clone();
    api::ImageArtifact { manifest: digest, kind: artifact_type, bytes }
}

fn blob(store: &Store, layer: &LayerDescriptor) -> api::LayerBlob {
    // A damaged layer is not held any more once it was opened.
    let held = store.open_layer(&layer.diff_id).ok().flatten();
    let at_rest = held.map(|tar| if tar.is_packed() { "zstd" } else { "tar" }.to_owned());
    let is_tar = recipes::source(store, layer) == BlobSource::Plain;
    let parts = [("tar", layer.diff_id, true), ("blob", recipes::as_layer(&layer.blob.digest), !is_tar)];
    let kept = parts.iter().filter(|(_, name, is_part)| *is_part && store.card(name).is_some());
    api::LayerBlob {
        layer: layer.diff_id,
        blob: layer.blob.digest,
        bytes: layer.blob.bytes,
        made_by: recipes::made_by(store, layer),
        kept: kept.map(|(part, ..)| (*part).to_owned()).collect(),
        at_rest,
    }
}

pub async fn pin(
    Extract(state): Extract<State>,
    Body(request): Body<api::ImagePinRequest>,
) -> Answer<api::ImagePinRequest> {
    let (store, api::ImagePinRequest { reference, pinned }) = (state.shared.store.clone(), request.clone());
    blocking(move || if pinned { store.pin_image(&reference) } else { store.unpin_image(&reference) }).await??;
    Ok(Json(request))
}

pub async fn remove(
    Extract(state): Extract<State>,
    Body(request): Body<api::RemoveRequest>,
) -> Answer<api::RemoveRequest> {
    let (shared, reference) = (state.shared, request.reference.clone());
    let removed = blocking(move || {
        // The image's row is the other place of its release: it goes once the release is remembered without it.
        let settled = shared.releases.settle(&Due::Seen(reference.clone()));
        settled.map_err(|error| Failure::new(ProblemKind::Machine, &error))?;
        shared.store.remove_reference(&reference).map_err(Failure::from)
    });
    removed.await??;
    Ok(Json(request))
}

pub async fn rollout(
    Extract(state): Extract<State>,
    Parameters(query): Parameters<api::RolloutQuery>,
) -> Answer<api::Rollout> {
    let store = &state.shared.store;
    let (from, to) = (rollout_image(store, query.from)?, rollout_image(store, query.to)?);
    let rollout = ask(&state, |reply| Command::Rollout { from, to, reply }).await?;
    Ok(Json(rollout?))
}

fn rollout_image(store: &Store, reference: ImageReference) -> Result<api::RolloutImage, Failure> {
    let Some(image) = store.reference(&reference) else {
        return Err(Problem::new(ProblemKind::NotFound, format!("image {reference} is not held by this node")).into());
    };
    let documents = [image.manifest, image.config];
    let documents = documents.map(|digest| store.blob_bytes(&digest).unwrap_or(Bytes::ZERO));
    Ok(api::RolloutImage { reference, manifest: image.manifest, layers: image.layers, documents })
}

#[cfg(test)]
mod tests {
    use lighter_image::{BlobDescriptor, Hashed, Hashes, scan_tar_with};
    use lighter_store::{Options, UnixSeconds};
    use lighter_types::{DiffId, OciDigest};
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_layer_is_shown_in_its_form_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let tar = vec![7; 1 << 20];
        let diff_id = DiffId::new(Sha256::digest(&tar).into());
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
        let compressed = BlobDescriptor { digest: OciDigest::new([1; 32]), media_type, bytes: Bytes(9) };
        let layer = LayerDescriptor { diff_id, blob: compressed };
        let forms = || (blob(&store, &layer).kept.join(" "), blob(&store, &layer).at_rest);
        assert_eq!(forms(), (String::new(), None));
        let mut writer = store.create_layer(diff_id, Bytes(tar.len() as u64)).unwrap();
        writer.append(&tar).unwrap();
        let mut nowhere = std::io::sink();
        let scan = scan_tar_with(Hashes::Sketch, "a tar", &mut &tar[..], None, &mut Hashed::new(&mut nowhere)).unwrap();
        writer.finish_sketched(scan.card, scan.sketch.to_bytes(), UnixSeconds(1)).unwrap();
        assert_eq!(forms(), ("tar".to_owned(), Some("tar".to_owned())));
        store.pack_layer(&diff_id, &mut || true).unwrap();
        assert_eq!(forms(), ("tar".to_owned(), Some("zstd".to_owned())));
    }
}
