//! Images with an index, signatures and attestations, from a layout into a bundle and out of it.
//!
//! Signatures are made by hand as cosign and notation write them. Faulty artifacts have one fault each; they are left
//! out, and what stands beside them comes.

use std::io::{Cursor, Read as _};

use lighter_types::OciDigest;
use serde_json::{Value, json};

use super::*;
use crate::imported::Selector;
use crate::layout::REF_NAME;
use crate::limits::Limits;
use crate::manifest::digest_of;
use crate::media::{LayerMedia, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::open::open_image;
use crate::referring::artifact_tags;
use crate::testing::{MemoryFiles, small_tar};
use crate::{ArchiveFiles, Choice, Files, ImageError};

const NOTATION: &str = "application/vnd.cncf.notary.signature";
const COSIGN: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

fn blob(files: &mut MemoryFiles, media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": files.add_blob(bytes), "size": bytes.len() })
}

fn document(files: &mut MemoryFiles, media_type: &str, document: &Value) -> Value {
    blob(files, media_type, document.to_string().as_bytes())
}

/// An artifact manifest of one blob.
fn artifact(
    files: &mut MemoryFiles,
    config_type: &str,
    blob_type: &str,
    bytes: &[u8],
    subject: Option<&Value>,
) -> Value {
    let (config, layer) = (blob(files, config_type, b"{}"), blob(files, blob_type, bytes));
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer],
        "annotations": { "made": "by hand" },
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    document(files, OCI_MANIFEST, &manifest)
}

fn tagged(mut descriptor: Value, tag: &str) -> Value {
    descriptor["annotations"] = json!({ REF_NAME: tag });
    descriptor
}

fn digest(descriptor: &Value) -> OciDigest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

/// A layout with an index of two platforms and an attestation, and what refers to them.
struct Signed {
    files: MemoryFiles,
    index: Value,
    platforms: [Value; 2],
    attestation: Value,
    entries: Vec<Value>,
}

fn signed() -> Signed {
    let mut files = MemoryFiles::default();
    let platforms = ["linux/amd64", "linux/arm64"].map(|platform| {
        let tar = small_tar(platform);
        let mut manifest = files.add_image(&[(tar, LayerMedia::Gzip)], platform, &|_, _| {});
        let (os, architecture) = platform.split_once('/').unwrap();
        manifest["platform"] = json!({ "os": os, "architecture": architecture });
        manifest
    });
    let mut attestation = artifact(&mut files, OCI_CONFIG, "application/vnd.in-toto+json", b"{\"sbom\":1}", None);
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let manifests = [platforms[0].clone(), platforms[1].clone(), attestation.clone()];
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let index = document(&mut files, OCI_INDEX, &index);
    let entries = vec![tagged(index.clone(), "7")];
    Signed { files, index, platforms, attestation, entries }
}

impl Signed {
    fn add(&mut self, entry: Value) {
        self.entries.push(entry);
    }

    fn gather(&mut self) -> (Option<Vec<u8>>, Vec<String>) {
        self.files.add_index(&self.entries.clone());
        gathered(self.files.clone(), None)
    }

    fn companions(&mut self) -> (Vec<u8>, Companions) {
        let (tar, passed_over) = self.gather();
        assert!(passed_over.is_empty(), "{passed_over:?}");
        let tar = tar.unwrap();
        let companions = Companions::open(&tar).unwrap();
        (tar, companions)
    }

    /// A signature by cosign of the index, under its tag.
    fn cosign(&mut self) -> Value {
        let signature = artifact(&mut self.files, OCI_CONFIG, COSIGN, b"{\"critical\":{}}", None);
        tagged(signature, &artifact_tags(&digest(&self.index))[1])
    }
}

/// The bundle of the image for linux/amd64, and the lines of what is left out.
fn gathered(files: impl Files, from: Option<Choice>) -> (Option<Vec<u8>>, Vec<String>) {
    let selector = Selector { from, platform: Some("linux/amd64".parse().unwrap()) };
    let mut opened = open_image(files, &selector, Limits::default()).unwrap();
    let bundle = opened.gather_companions().unwrap();
    let tar = bundle.map(|bundle| {
        let mut tar = Vec::new();
        bundle.reader().read_to_end(&mut tar).unwrap();
        tar
    });
    (tar, opened.image().passed_over.clone())
}

fn slice(tar: &[u8], slice: CompanionSlice) -> &[u8] {
    &tar[slice.offset as usize..][..slice.bytes.0 as usize]
}

#[test]
fn an_image_alone_has_no_companions() {
    let mut files = MemoryFiles::default();
    let image = files.add_image(&[(small_tar("x"), LayerMedia::Plain)], "linux/amd64", &|_, _| {});
    let other = files.add_image(&[(small_tar("y"), LayerMedia::Plain)], "linux/arm64", &|_, _| {});
    files.add_index(&[tagged(image, "1"), tagged(other, "2")]);
    assert_eq!(gathered(files, None), (None, vec![]));
}

#[test]
fn an_index_comes_with_the_documents_of_all_platforms_and_their_attestations() {
    let mut image = signed();
    let (tar, companions) = image.companions();
    assert_eq!(companions.top(), digest(&image.index));
    let (media_type, index) = companions.document(&digest(&image.index)).unwrap();
    assert_eq!((media_type, digest_of(slice(&tar, index))), (OCI_INDEX, digest(&image.index)));
    // The image's own manifest lies beside the bundle; the other platform's comes with its config, without its layers.
    assert_eq!(companions.document(&digest(&image.platforms[0])), None);
    let other = companions.read_document(&tar, &digest(&image.platforms[1])).unwrap();
    let other: Value = serde_json::from_slice(&other).unwrap();
    assert!(companions.blob(&digest(&other["config"])).is_some());
    assert!(companions.blob(&digest(&other["layers"][0])).is_none());
    let attestation = companions.read_document(&tar, &digest(&image.attestation)).unwrap();
    let attestation: Value = serde_json::from_slice(&attestation).unwrap();
    let sbom = digest(&attestation["layers"][0]);
    let found = companions.blob(&sbom).unwrap();
    assert_eq!(slice(&tar, found), b"{\"sbom\":1}");
    Companions::check_blob(&tar, found, &sbom).unwrap();
    assert!(matches!(Companions::check_blob(&tar, found, &OciDigest::new([0; 32])), Err(ImageError::Digest { .. })));
    assert_eq!(companions.artifacts().len(), 1);
    // The same from an archive, byte for byte.
    let archive = ArchiveFiles::open("a.tar", Cursor::new(image.files.to_archive())).unwrap();
    assert_eq!(gathered(archive, None).0, Some(tar));
}

#[test]
fn a_manifest_that_was_chosen_by_its_digest_stands_for_itself() {
    let mut image = signed();
    image.files.add_index(&image.entries.clone());
    let chosen = Choice::Digest(digest(&image.platforms[0]));
    assert_eq!(gathered(image.files, Some(chosen)).0, None);
}

#[test]
fn signatures_come_by_their_tag_and_by_their_subject() {
    let mut image = signed();
    let cosign = image.cosign();
    let index = image.index.clone();
    let notation = artifact(&mut image.files, NOTATION, "application/jose+json", b"jws", Some(&index));
    // It refers to the platform's manifest; a signature refers to it in turn.
    let platform = image.platforms[1].clone();
    let sbom = artifact(&mut image.files, "application/spdx", "text/spdx", b"sbom", Some(&platform));
    let of_sbom = artifact(&mut image.files, NOTATION, "application/jose+json", b"jws of sbom", Some(&sbom));
    // The last refers to something that is not here.
    let stranger = json!({ "mediaType": OCI_MANIFEST, "digest": OciDigest::new([9; 32]).to_string(), "size": 1 });
    let strange = artifact(&mut image.files, NOTATION, "application/jose+json", b"strange", Some(&stranger));
    for entry in [&of_sbom, &strange, &cosign, &notation, &sbom] {
        image.add(entry.clone());
    }
    let (tar, passed_over) = image.gather();
    assert_eq!(passed_over, [format!("{} is no image: {NOTATION}", digest(&strange))]);
    let companions = Companions::open(&tar.unwrap()).unwrap();
    let tag = &artifact_tags(&digest(&index))[1];
    assert_eq!(companions.tagged(tag), Some(digest(&cosign)));
    assert_eq!(companions.tags().collect::<Vec<_>>(), [tag]);
    let listed = companions.referrers(&digest(&index));
    assert_eq!(listed.len(), 1);
    assert_eq!((digest(&listed[0]), &listed[0]["artifactType"]), (digest(&notation), &json!(NOTATION)));
    assert_eq!(listed[0]["annotations"], json!({ "made": "by hand" }));
    assert_eq!(digest(&companions.referrers(&digest(&platform))[0]), digest(&sbom));
    assert_eq!(digest(&companions.referrers(&digest(&sbom))[0]), digest(&of_sbom));
    assert!(companions.document(&digest(&strange)).is_none());
}

#[test]
fn the_list_of_the_referrers_tag_brings_what_it_lists() {
    let mut image = signed();
    let index = image.index.clone();
    let notation = artifact(&mut image.files, NOTATION, "application/jose+json", b"jws", Some(&index));
    let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [notation] });
    let list = document(&mut image.files, OCI_INDEX, &list);
    let tag = &artifact_tags(&digest(&index))[0];
    image.add(tagged(list.clone(), tag));
    let (_, companions) = image.companions();
    assert_eq!(companions.tagged(tag), Some(digest(&list)));
    assert_eq!(digest(&companions.referrers(&digest(&index))[0]), digest(&notation));
}

#[test]
fn the_layout_of_cosign_save_gets_the_tags_of_a_registry() {
    let mut image = signed();
    let mut signature = image.cosign();
    signature["annotations"] = json!({ "kind": "dev.cosignproject.cosign/sigs" });
    image.add(signature.clone());
    let (_, companions) = image.companions();
    assert_eq!(companions.tagged(&artifact_tags(&digest(&image.index))[1]), Some(digest(&signature)));
}

#[test]
fn artifacts_that_are_too_large_damaged_or_absent_are_left_out_whole() {
    fn check(change: impl Fn(&mut Signed, &mut Value), words: &str) {
        let mut image = signed();
        let index = image.index.clone();
        let good = image.cosign();
        image.add(good.clone());
        let mut bad = artifact(&mut image.files, NOTATION, "application/jose+json", b"jws", Some(&index));
        change(&mut image, &mut bad);
        image.add(bad.clone());
        let (tar, passed_over) = image.gather();
        let companions = Companions::open(&tar.unwrap()).unwrap();
        assert!(companions.document(&digest(&bad)).is_none(), "{words}");
        assert!(companions.document(&digest(&good)).is_some(), "{words}");
        assert!(passed_over.iter().any(|line| line.contains(words)), "{words}: {passed_over:?}");
    }
    let path = |digest: OciDigest| format!("blobs/sha256/{}", digest.to_hex());
    check(|image, _| drop(image.files.0.remove(&path(digest_of(b"jws")))), "is missing");
    check(|image, _| drop(image.files.0.insert(path(digest_of(b"jws")), b"abc".to_vec())), "sha256 of blob");
    check(|image, _| drop(image.files.0.insert(path(digest_of(b"jws")), b"jws!".to_vec())), "expected 3 bytes");
    check(
        |image, bad| {
            let large = vec![7; ARTIFACT_BYTES_MAX.0 as usize];
            let index = image.index.clone();
            *bad = artifact(&mut image.files, NOTATION, "application/jose+json", &large, Some(&index));
        },
        "more than 16777216",
    );
}

#[test]
fn platforms_that_the_source_lacks_are_counted() {
    let mut image = signed();
    let path = format!("blobs/sha256/{}", digest(&image.platforms[1]).to_hex());
    image.files.0.remove(&path);
    let (tar, passed_over) = image.gather();
    assert_eq!(passed_over, ["1 documents of other platforms are not in the source"]);
    assert_eq!(Companions::open(&tar.unwrap()).unwrap().top(), digest(&image.index));
}

/// Counts what is opened.
struct Counting {
    files: MemoryFiles,
    opened: usize,
}

impl Files for Counting {
    fn open(&mut self, path: &str) -> std::io::Result<Option<crate::files::OpenFile<'_>>> {
        self.opened += 1;
        self.files.open(path)
    }
}

#[test]
fn a_list_of_thousands_is_asked_for_so_often_and_no_more() {
    let mut image = signed();
    image.files.add_index(&image.entries.clone());
    let selector = Selector { from: None, platform: Some("linux/amd64".parse().unwrap()) };
    let found = crate::layout::open(&mut image.files, &selector).unwrap();
    let absent =
        |n: u32| json!({ "mediaType": OCI_MANIFEST, "digest": digest_of(&n.to_le_bytes()).to_string(), "size": 9 });
    let tags = artifact_tags(&digest(&image.index));
    for (from, tag) in [0, 3000].into_iter().zip(&tags) {
        let listed: Vec<Value> = (from..from + 3000).map(absent).collect();
        let list = json!({ "schemaVersion": 2, "manifests": listed });
        let list = document(&mut image.files, OCI_INDEX, &list);
        image.add(tagged(list, tag));
    }
    image.files.add_index(&image.entries.clone());
    let mut counting = Counting { files: image.files, opened: 0 };
    let Gathered { bundle, passed_over } = gather(&mut counting, &found.image, &found.top).unwrap();
    // And `index.json`.
    assert_eq!(counting.opened, READS_MAX + 1);
    assert_eq!(passed_over.len(), LINES_MAX + 1);
    assert_eq!(passed_over[LINES_MAX], format!("{} more are left out", 6000 - LINES_MAX));
    assert!(bundle.is_some());
}

/// The image for linux/amd64 exported in both forms of a layout, with its companions.
fn exported(image: &mut Signed, tar: &dyn lighter_types::ReadAt) -> Vec<Box<dyn Files>> {
    image.files.add_index(&image.entries.clone());
    let selector = Selector { from: None, platform: Some("linux/amd64".parse().unwrap()) };
    let opened = open_image(image.files.clone(), &selector, Limits::default()).unwrap().image().clone();
    let bundle = Bundle::read(tar, &opened.manifest_digest).unwrap();
    let blob = image.files.0[&crate::layout::blob_path(&opened.layers[0].blob.digest)].clone();
    let mut open_layer = |_: usize, _: &crate::LayerDescriptor| -> std::io::Result<Box<dyn std::io::Read>> {
        Ok(Box::new(Cursor::new(blob.clone())))
    };
    let (mut folder, mut written) = (MemoryFiles::default(), Vec::new());
    let exact = crate::LayerFormat::Exact;
    let done = crate::export_image(&mut folder, &opened, Some(&bundle), "a:7", exact, &mut open_layer, &mut |_| {});
    assert_eq!(done.unwrap().manifest_digest, opened.manifest_digest);
    let oci = crate::ArchiveFormat::Oci;
    let archive = crate::ImageArchive::new(&opened, Some(&bundle), "a:7", oci, exact, &[Bytes(0)]).unwrap();
    archive.write(&mut written, &mut open_layer, &mut |_| {}).unwrap();
    vec![Box::new(folder), Box::new(ArchiveFiles::open("a.tar", Cursor::new(written)).unwrap())]
}

#[test]
fn an_export_has_the_companions_and_an_import_of_it_has_them_again() {
    let mut image = signed();
    let index = image.index.clone();
    let cosign = image.cosign();
    let notation = artifact(&mut image.files, NOTATION, "application/jose+json", b"jws", Some(&index));
    let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [notation] });
    let list = tagged(document(&mut image.files, OCI_INDEX, &list), &artifact_tags(&digest(&index))[0]);
    for entry in [cosign, list] {
        image.add(entry);
    }
    let (tar, _) = image.companions();
    for files in exported(&mut image, &tar) {
        // By its name, as other tools find it among the artifacts.
        let (again, passed_over) = gathered(files, Some(Choice::Name("a:7".to_owned())));
        assert_eq!((again.as_ref() == Some(&tar), passed_over), (true, vec![]));
    }
}

#[test]
fn a_bundle_that_is_damaged_is_not_exported() {
    let mut image = signed();
    let (tar, companions) = image.companions();
    let manifest = digest(&image.platforms[0]);
    let config = companions.blobs().find(|(digest, _)| companions.document(digest).is_none()).unwrap().1;
    let mut other = tar.clone();
    other[config.offset as usize] ^= 1;
    assert!(matches!(Bundle::read(&other, &manifest), Err(ImageError::Digest { .. })));
    assert!(Bundle::read(&tar, &manifest).is_ok());
}

#[test]
fn hostile_bundles_end_in_an_error() {
    let mut image = signed();
    let cosign = image.cosign();
    image.add(cosign);
    let (tar, companions) = image.companions();
    for length in (0..tar.len()).step_by(97) {
        let _ = Companions::open(&tar[..length].to_vec());
    }
    // A document that is not the one of its name is found when the bundle is opened.
    let (_, place) = companions.document(&digest(&image.index)).unwrap();
    let mut other = tar.clone();
    other[place.offset as usize + 3] ^= 1;
    assert!(matches!(Companions::open(&other), Err(ImageError::Digest { .. })));
    let many: Vec<u8> =
        (0..COMPANIONS_MAX + 4).flat_map(|n| lighter_tar::entry(&n.to_string(), b'0', b"", "")).collect();
    assert!(matches!(Companions::open(&many), Err(ImageError::TooLarge { .. })));
    for (path, content) in [("blobs/sha256/../x", "x"), ("index.json", "[]"), ("index.json", "{\"manifests\":[]}")] {
        assert!(Companions::open(&lighter_tar::entry(path, b'0', content.as_bytes(), "")).is_err(), "{path}");
    }
    let mut behind = lighter_tar::entry("index.json", b'0', b"{}", "");
    behind[124..135].copy_from_slice(b"77777777777");
    lighter_tar::seal(&mut behind[..512]);
    assert!(Companions::open(&behind).is_err());
}

#[test]
fn a_bundle_is_at_most_as_long_as_its_limit() {
    let mut objects = std::collections::BTreeMap::new();
    for n in 0..100_u32 {
        objects.insert(digest_of(&n.to_le_bytes()), vec![0; 1]);
    }
    let mut tar = Vec::new();
    let bundle = Bundle::new(&[], objects);
    bundle.reader().read_to_end(&mut tar).unwrap();
    let (diff_id, bytes) = bundle.measure();
    assert_eq!((diff_id.as_bytes(), bytes.0), (digest_of(&tar).as_bytes(), tar.len() as u64));
    // Each object: a header, and a block.
    let overhead = BUNDLE_BYTES_MAX.0 - COMPANIONS_BYTES_MAX.0 - crate::DOCUMENT_BYTES_MAX.0;
    assert!(tar.len() <= 102 * 1024 + 1024 && overhead >= (COMPANIONS_MAX as u64 + 3) * 1024);
}
