//! Manifests, configs and releases on the disks of a fleet. A document's bytes are its digest: their size is charged,
//! their content is not needed.

use std::collections::BTreeMap;

use lighter_engine::{BlobFailure, ImageFound, ImageRead, Input, LayerBlob, PullId, QuestionId, WorkInput};
use lighter_types::{DiffId, ImageReference, OciDigest, PeerId};
use lighter_wire::{Answer, Documents, ImageName, ImageRequest, Refusal, Request, SignedRelease};

use super::Fleet;
use super::effects::DISK;
use super::node::{Disk, Node};

/// The date of releases that nodes date back. Others were issued later.
const DATED_BACK_S: u64 = 0;
/// The most that a document which is to be fetched may have.
const DOCUMENT_BYTES_MAX: u32 = 4096;
/// Unpacking a layer out of its compressed blob: bytes of the layer a second.
const UNPACK_RATE: u64 = 200_000_000;

impl Fleet {
    pub fn answer_from_disk(&mut self, node: usize, question: QuestionId, request: &Request) {
        let disk = &self.nodes[node].disk;
        let mut documents = 0;
        let answer = match request {
            Request::Blob { digest, .. } if disk.blobs.contains(digest) => {
                let config = self.content.config_of(*digest).filter(|config| disk.blobs.contains(config));
                let sent = [Some(*digest), config].into_iter().flatten();
                documents = sent.map(|digest| self.content.document_bytes(digest)).sum();
                let mut bytes = digest.as_bytes().to_vec();
                for flaw in self.trouble.flaws_of(node) {
                    bytes = flaw.document(bytes);
                }
                Some(Answer::Blob { bytes, config: config.map(|config| config.as_bytes().to_vec()) })
            }
            Request::Blob { .. }
            | Request::Image(_)
            | Request::Holdings { .. }
            | Request::Quote { .. }
            | Request::Sketches(_)
            | Request::Arrival { .. } => None,
        };
        self.answer(node, question, answer.unwrap_or(Answer::Refused(Refusal::NotHeld)), documents);
    }

    /// Looks up what the disk has of an image that a peer asks about.
    pub fn look_up_image(
        &mut self,
        node: usize,
        (question, from): (QuestionId, PeerId),
        request: ImageRequest,
        release: Option<SignedRelease>,
    ) {
        let disk = &self.nodes[node].disk;
        let (release, manifest) = match request.name {
            ImageName::Reference(name) => {
                let release = release.or_else(|| disk.releases.get(&name).map(|release| (**release).clone()));
                let release = self.dated_back(node, &name).or(release);
                let manifest = release.as_ref().map(|release| release.release.manifest);
                (release, manifest)
            }
            ImageName::Manifest(manifest) => (None, Some(manifest)),
        };
        let wanted = manifest.filter(|digest| request.documents && request.known != Some(*digest));
        let mut found = ImageFound { release, terms: request.terms, ..ImageFound::default() };
        if let Some(digest) = wanted.filter(|digest| disk.blobs.contains(digest)) {
            let config = self.content.config_of(digest).filter(|config| disk.blobs.contains(config));
            let mut manifest = digest.as_bytes().to_vec();
            for flaw in self.trouble.flaws_of(node) {
                manifest = flaw.document(manifest);
            }
            let image = self.content.image(digest).filter(|_| config.is_some() && request.list.is_some());
            found.layers = image.map(|image| image.layers.clone()).unwrap_or_default();
            let config = config.map(|config| config.as_bytes().to_vec());
            found.documents = Some(Documents { manifest, config, recipes: None });
        }
        self.input_after(DISK, node, Input::Work(WorkInput::ImageLookedUp { question, from, found: Ok(found) }));
    }

    /// A release of the name that is older than all others, and stands for another image that the node has.
    fn dated_back(&self, node: usize, name: &ImageReference) -> Option<SignedRelease> {
        if !self.trouble.flaws_of(node).iter().any(|flaw| flaw.dates_back()) {
            return None;
        }
        let held = self.nodes[node].disk.releases.iter().find(|(held, _)| *held != name);
        let mut old = (**held?.1).clone();
        (old.release.reference, old.release.issued_s) = (name.clone(), DATED_BACK_S);
        Some(old)
    }

    /// The bytes of the documents that an answer stands for: their digests alone are in it.
    pub fn document_bytes(&self, answer: &Answer) -> u64 {
        let Answer::Image(image) = answer else { return 0 };
        let Some(documents) = &image.documents else { return 0 };
        let sent = [Some(documents.manifest.as_slice()), documents.config.as_deref()];
        let digests = sent.into_iter().flatten().filter_map(|bytes| bytes.try_into().ok().map(OciDigest::new));
        digests.map(|digest| self.content.document_bytes(digest)).sum()
    }

    pub fn read_image(&mut self, node: usize, pull: PullId, manifest: OciDigest) {
        let Node { disk: Disk { blobs, .. }, wants_blobs, .. } = &self.nodes[node];
        let known = self.content.image(manifest).filter(|_| blobs.contains(&manifest));
        let read = match known {
            Some(image) if blobs.contains(&image.config) => {
                let with_blobs = image.layers.iter().filter(|_| *wants_blobs);
                let blobs = with_blobs.filter_map(|layer| {
                    let card = self.content.blobs.get(layer)?.card;
                    Some((*layer, LayerBlob { name: card.diff_id, bytes: card.tar_bytes }))
                });
                ImageRead::Layers { layers: image.layers.clone(), sizes: BTreeMap::new(), blobs: blobs.collect() }
            }
            Some(_) | None => {
                let digest = known.map_or(manifest, |image| image.config);
                ImageRead::Missing { digest, bytes_max: DOCUMENT_BYTES_MAX }
            }
        };
        self.input_after(DISK, node, Input::Work(WorkInput::ImageRead { pull, read }));
    }

    /// Unpacks a layer out of its compressed blob.
    pub fn unpack(&mut self, node: usize, layer: DiffId, blob: DiffId) {
        let disk = &mut self.nodes[node].disk;
        if !disk.layers.contains(&blob) {
            return self.violation(node, "a layer is unpacked out of a blob that is not here");
        }
        let is_good = self.content.blobs.get(&layer).is_some_and(|known| known.is_good && known.card.diff_id == blob);
        let card = self.content.cards.get(&layer).filter(|_| is_good);
        let held = card.map(|&card| (card, self.content.sketch(layer)));
        let bytes = card.map_or(0, |card| card.tar_bytes.0);
        disk.layers.extend(card.map(|card| card.diff_id));
        let took = bytes * 1_000_000 / UNPACK_RATE;
        self.input_after(took.max(DISK), node, Input::Work(WorkInput::Unpacked { layer, held }));
    }

    pub fn keep_blob(&mut self, node: usize, pull: PullId, digest: OciDigest, documents: Documents) {
        let Documents { manifest: bytes, config, recipes: _ } = documents;
        let result = if bytes == digest.as_bytes() {
            let blobs = &mut self.nodes[node].disk.blobs;
            blobs.insert(digest);
            blobs.extend(config.and(self.content.config_of(digest)));
            Ok(())
        } else {
            Err(BlobFailure::WrongDigest)
        };
        self.input_after(DISK, node, Input::Work(WorkInput::BlobKept { pull, result }));
    }

    pub fn commit_image(&mut self, node: usize, pull: PullId, manifest: OciDigest, release: Option<SignedRelease>) {
        if release.as_ref().is_some_and(|release| release.release.issued_s == DATED_BACK_S) {
            self.violation(node, "an old release is committed");
        }
        let disk = &mut self.nodes[node].disk;
        let image = self.content.image(manifest);
        let companions = release.as_ref().and_then(|release| release.release.companions);
        let is_complete =
            image.is_some_and(|image| image.layers.iter().chain(&companions).all(|layer| disk.layers.contains(layer)));
        disk.releases.extend(release.map(|release| (release.release.reference.clone(), Box::new(release))));
        if !is_complete {
            self.violation(node, "an image is committed without all of its layers");
        }
        self.input_after(DISK, node, Input::Work(WorkInput::ImageCommitted { pull, result: Ok(()) }));
    }
}
