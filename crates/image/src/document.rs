//! Manifests and indexes of any kind: images, artifacts, attestations, and the lists of what refers to an image.
//!
//! `manifest` reads images and refuses everything else. This module reads what a registry serves under `manifests/`: it
//! looks at the fields that lead to other documents and to blobs, whatever their media types are.
//!
//! Sources: OCI image spec 1.1, "Image Manifest" (`artifactType`, `subject`) and "Image Index"; OCI distribution spec
//! 1.1, "Listing Referrers".

use std::collections::BTreeMap;

use lighter_types::OciDigest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ImageError;
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::manifest::{BlobDescriptor, RawDescriptor, parse, parse_index};
use crate::media::{CONFIG_TYPES, OCI_INDEX, OCI_MANIFEST};

/// The most manifests that one index lists, and the most blobs that one manifest names.
const NAMED_MAX: usize = 4096;

/// A manifest or an index, as far as it leads to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// By the document itself; OCI's if it does not say.
    pub media_type: String,
    pub is_index: bool,
    /// The manifest that this document refers to.
    pub subject: Option<OciDigest>,
    /// The kind of artifact, as the referrers of a registry show it: `artifactType`, or the config's media type.
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
    /// The manifests that an index lists.
    pub manifests: Vec<BlobDescriptor>,
    /// The config and the layers of a manifest.
    pub blobs: Vec<BlobDescriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Document {
    /// Whether an image may be meant: a manifest with the config of one, or an index that names a platform.
    pub fn is_of_image(&self, bytes: &[u8], digest: &OciDigest) -> bool {
        if self.is_index {
            let entries = parse_index(bytes, digest).unwrap_or_default();
            return entries.iter().any(|(_, platform)| platform.is_some());
        }
        self.blobs.first().is_some_and(|config| CONFIG_TYPES.contains(&config.media_type.as_str()))
    }

    /// Reads the fields of a document. The caller checked its digest.
    ///
    /// # Errors
    /// `TooLarge` beyond [`DOCUMENT_BYTES_MAX`], or for an index or a manifest that names too much; `Json`; `Damaged`
    /// for a digest that is none, `Unsupported` for one of another algorithm, for what is neither a manifest nor an
    /// index, and for what is both: clients could disagree about what was signed (CVE-2021-41190).
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX.0 {
            return Err(ImageError::TooLarge { what: path.to_owned(), limit: DOCUMENT_BYTES_MAX.0 });
        }
        let raw: RawDocument = parse(path, "a manifest or an index", bytes)?;
        let is_index = raw.manifests.is_some();
        let is_manifest = raw.config.is_some() || raw.layers.is_some();
        if is_index == is_manifest {
            let found = if is_index { "a manifest and an index at once" } else { "neither" };
            let (what, found) = (path.to_owned(), found.to_owned());
            return Err(ImageError::Unsupported { what, found, wanted: "a manifest or an index" });
        }
        let config_type = raw.config.as_ref().map(|config| config.media_type.clone());
        let named = raw.config.into_iter().chain(raw.layers.into_iter().flatten()).collect();
        let manifests = raw.manifests.unwrap_or_default();
        let usual = if is_index { OCI_INDEX } else { OCI_MANIFEST };
        let is_named = |text: &String| !text.is_empty();
        Ok(Self {
            media_type: raw.media_type.filter(is_named).unwrap_or_else(|| usual.to_owned()),
            is_index,
            subject: raw.subject.map(|subject| subject.into_blob(path)).transpose()?.map(|subject| subject.digest),
            artifact_type: raw.artifact_type.filter(is_named).or(config_type.filter(is_named)),
            annotations: raw.annotations.unwrap_or_default(),
            manifests: descriptors(path, manifests)?,
            blobs: descriptors(path, named)?,
        })
    }

    /// The document as a registry lists it among the referrers of its subject.
    pub(crate) fn as_referrer(&self, digest: &OciDigest, bytes: u64) -> Value {
        let mut descriptor = json!({ "mediaType": self.media_type, "digest": digest.to_string(), "size": bytes });
        if let Some(artifact_type) = &self.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        if !self.annotations.is_empty() {
            descriptor["annotations"] = json!(self.annotations);
        }
        descriptor
    }
}

fn descriptors(path: &str, raw: Vec<RawDescriptor>) -> Result<Vec<BlobDescriptor>, ImageError> {
    if raw.len() > NAMED_MAX {
        return Err(ImageError::TooLarge { what: format!("number of entries in {path}"), limit: NAMED_MAX as u64 });
    }
    raw.into_iter().map(|descriptor| descriptor.into_blob(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &Value) -> Result<Document, ImageError> {
        Document::read("test", document.to_string().as_bytes())
    }

    fn descriptor(byte: u8, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": OciDigest::new([byte; 32]).to_string(), "size": 7 })
    }

    #[test]
    fn a_signature_says_what_it_is_and_refers_to() {
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(1, "application/vnd.cncf.notary.signature"),
            "layers": [descriptor(2, "application/jose+json")],
            "subject": descriptor(3, OCI_MANIFEST),
            "annotations": { "who": "ann" },
        });
        let found = read(&manifest).unwrap();
        assert_eq!(found.subject, Some(OciDigest::new([3; 32])));
        assert_eq!(found.blobs.iter().map(|blob| blob.digest.as_bytes()[0]).collect::<Vec<_>>(), [1, 2]);
        let listed = found.as_referrer(&OciDigest::new([4; 32]), 5);
        let mut expected = descriptor(4, OCI_MANIFEST);
        expected["size"] = json!(5);
        expected["artifactType"] = json!("application/vnd.cncf.notary.signature");
        expected["annotations"] = json!({ "who": "ann" });
        assert_eq!(listed, expected);
        manifest["artifactType"] = json!("application/x");
        assert_eq!(read(&manifest).unwrap().artifact_type.as_deref(), Some("application/x"));
    }

    #[test]
    fn an_index_leads_to_its_manifests() {
        let found = read(&json!({ "schemaVersion": 2, "manifests": [descriptor(1, OCI_MANIFEST)] })).unwrap();
        assert!(found.is_index && found.media_type == OCI_INDEX && found.blobs.is_empty());
        assert_eq!(found.manifests[0].digest, OciDigest::new([1; 32]));
        assert_eq!(found.artifact_type, None);
    }

    #[test]
    fn other_documents_are_refused() {
        let both = json!({ "manifests": [], "layers": [], "config": descriptor(1, "x") });
        for document in [both, json!({}), json!([]), json!({ "manifests": 7 })] {
            assert!(read(&document).is_err(), "{document}");
        }
        let mut traversal = descriptor(1, OCI_MANIFEST);
        traversal["digest"] = json!("sha256:../../etc/passwd");
        assert!(read(&json!({ "manifests": [traversal] })).is_err());
        let many = vec![descriptor(1, OCI_MANIFEST); NAMED_MAX + 1];
        assert!(matches!(read(&json!({ "manifests": many })), Err(ImageError::TooLarge { .. })));
    }
}
