//! How documents refer to a manifest: by their `subject`, or by a tag that is made from its digest.
//!
//! Sources: OCI distribution spec 1.1, "Referrers Tag Schema"; cosign, "Signature Specification" (the tags `.sig`,
//! `.att`, `.sbom`).

use lighter_types::OciDigest;

use crate::manifest::BlobDescriptor;

/// The kinds of manifests that something refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An image or an index of images. cosign names what belongs to it by tags.
    Image,
    Artifact,
}

/// The documents that refer to a manifest, as far as a source knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referring {
    pub found: Vec<Referrer>,
    /// A line for each question that the source refused.
    pub passed_over: Vec<String>,
}

/// A document that refers to a manifest: by its `subject`, or by its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    pub blob: BlobDescriptor,
    pub tag: Option<String>,
}

/// The tags by which things belong to a manifest without a registry's help: of the referrers (OCI distribution spec
/// 1.1, "Referrers Tag Schema"), and of cosign's signatures, attestations and bills of materials.
pub fn artifact_tags(subject: &OciDigest) -> [String; 4] {
    ["", ".sig", ".att", ".sbom"].map(|suffix| format!("sha256-{}{suffix}", subject.to_hex()))
}

/// The manifest to which something with this tag belongs.
pub fn subject_of_tag(tag: &str) -> Option<OciDigest> {
    let (hex, suffix) = tag.strip_prefix("sha256-")?.split_at_checked(64)?;
    let digest = format!("sha256:{hex}").parse().ok()?;
    (suffix.is_empty() || suffix.starts_with('.')).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_lead_to_their_subject() {
        let digest = OciDigest::new([7; 32]);
        for tag in artifact_tags(&digest) {
            assert_eq!(subject_of_tag(&tag), Some(digest), "{tag}");
        }
        let hex = digest.to_hex();
        for tag in ["latest", "sha256-07", &format!("sha256-{hex}x"), &format!("sha256-é{hex}"), &hex] {
            assert_eq!(subject_of_tag(tag), None, "{tag}");
        }
    }
}
