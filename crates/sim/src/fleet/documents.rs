//! Manifests, configs and releases on the disks of a fleet. A document's bytes are its digest: their size is charged,
//! their content is not needed.

use lighter_engine::{BlobFailure, ImageRead, Input, PullId, QuestionId, WorkInput};
use lighter_types::OciDigest;
use lighter_wire::{Answer, Refusal, Request, SignedRelease};

use super::Fleet;
use super::effects::DISK;

/// The most that a document which is to be fetched may have.
const DOCUMENT_BYTES_MAX: u32 = 4096;

impl Fleet {
    pub fn answer_from_disk(&mut self, node: usize, question: QuestionId, request: &Request) {
        let disk = &self.nodes[node].disk;
        let mut documents = 0;
        let answer = match request {
            Request::Resolve(name) => disk.releases.get(name).map(|release| Answer::Release((**release).clone())),
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
            | Request::Holdings { .. }
            | Request::Quote { .. }
            | Request::Sketches(_)
            | Request::Arrival { .. } => None,
        };
        self.answer(node, question, answer.unwrap_or(Answer::Refused(Refusal::NotHeld)), documents);
    }

    pub fn read_image(&mut self, node: usize, pull: PullId, manifest: OciDigest) {
        let blobs = &self.nodes[node].disk.blobs;
        let missing = |digest| ImageRead::Missing { digest, bytes_max: DOCUMENT_BYTES_MAX };
        let read = match self.content.image(manifest) {
            Some(image) if blobs.contains(&manifest) && blobs.contains(&image.config) => {
                ImageRead::Layers(image.layers.clone())
            }
            Some(image) if blobs.contains(&manifest) => missing(image.config),
            Some(_) | None => missing(manifest),
        };
        self.input_after(DISK, node, Input::Work(WorkInput::ImageRead { pull, read }));
    }

    pub fn keep_blob(
        &mut self,
        node: usize,
        pull: PullId,
        digest: OciDigest,
        (bytes, config): (Vec<u8>, Option<Vec<u8>>),
    ) {
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
        let disk = &mut self.nodes[node].disk;
        let image = self.content.image(manifest);
        let is_complete = image.is_some_and(|image| image.layers.iter().all(|layer| disk.layers.contains(layer)));
        disk.releases.extend(release.map(|release| (release.release.reference.clone(), Box::new(release))));
        if !is_complete {
            self.violation(node, "an image is committed without all of its layers");
        }
        self.input_after(DISK, node, Input::Work(WorkInput::ImageCommitted { pull, result: Ok(()) }));
    }
}
