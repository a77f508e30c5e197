//! The companions of an image: a bundle that opens leads to documents that have their digests, within its own bytes.
//! The readers of manifests and indexes take the same input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_image::{Companions, Document, parse_index, parse_manifest};
use lighter_types::OciDigest;
use sha2::{Digest, Sha256};

fuzz_target!(|bytes: &[u8]| {
    let digest = OciDigest::new(Sha256::digest(bytes).into());
    let _ = (parse_index(bytes, &digest), parse_manifest(bytes, &digest));
    if let Ok(document) = Document::read("input", bytes) {
        assert!(document.is_index || document.manifests.is_empty());
    }
    let bundle = bytes.to_vec();
    if let Ok(companions) = Companions::open(&bundle) {
        for artifact in companions.artifacts() {
            let read = companions.read_document(&bundle, &artifact.digest);
            assert_eq!(OciDigest::new(Sha256::digest(read.unwrap()).into()), artifact.digest);
        }
        for tag in companions.tags() {
            assert!(companions.tagged(tag).is_some_and(|digest| companions.document(&digest).is_some()));
        }
    }
});
