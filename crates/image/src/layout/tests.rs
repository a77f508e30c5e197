//! Correct OCI layouts, and layouts with one fault each.
//!
//! A faulty layout is made by editing one document of a correct one before the digests are computed, so that only the
//! edited claim is false. Each must be refused with a message that names the fault. The other tests choose images by
//! name and platform, through nested indexes.

use std::io::Cursor;

use serde_json::{Value, json};

use super::*;
use crate::limits::Limits;
use crate::manifest::digest_of;
use crate::media::LayerMedia::{self, Gzip, Plain, Zstd};
use crate::open::open_image;
use crate::testing::{MemoryFiles, check_refused, gzip, import, layout, lying_layout, small_tar};
use lighter_types::Blame;

use crate::{ArchiveFiles, count_images};

fn three_layers() -> Vec<(Vec<u8>, LayerMedia)> {
    vec![(small_tar("one"), Gzip), (small_tar("two"), Zstd), (small_tar("three"), Plain)]
}

/// A layout with an edited manifest.
fn with_manifest(edit: impl Fn(&mut Value)) -> MemoryFiles {
    lying_layout(&three_layers(), &|_, manifest| {
        if !manifest.is_null() {
            edit(manifest);
        }
    })
}

/// A layout with an edited config.
fn with_config(edit: impl Fn(&mut Value)) -> MemoryFiles {
    lying_layout(&three_layers(), &|config, _| {
        if !config.is_null() {
            edit(config);
        }
    })
}

fn layer_path(files: &MemoryFiles, index: usize) -> String {
    let image = open_image(files.clone(), &Selector::default(), Limits::default()).unwrap();
    blob_path(&image.image().layers[index].blob.digest)
}

#[test]
fn every_compression_gives_the_tars() {
    let files = layout(&three_layers());
    let expected: Vec<_> = three_layers().into_iter().map(|(tar, _)| tar).collect();
    assert_eq!(import(files.clone(), Limits::default()).unwrap(), expected);
    let archive = ArchiveFiles::open("a.tar", Cursor::new(files.to_archive())).unwrap();
    assert_eq!(import(archive, Limits::default()).unwrap(), expected);
}

#[test]
fn the_documents_keep_their_bytes() {
    let files = layout(&three_layers());
    let opened = open_image(files.clone(), &Selector::default(), Limits::default()).unwrap();
    let image = opened.image();
    assert_eq!(digest_of(&image.manifest_bytes), image.manifest_digest);
    assert_eq!(digest_of(&image.config_bytes), image.config_digest);
    assert_eq!(files.0[&blob_path(&image.manifest_digest)], image.manifest_bytes);
    assert_eq!(image.names, ["1.0"]);
    assert_eq!(image.platform, Some("linux/amd64".parse().unwrap()));
    assert_eq!(image.source_kind, SourceKind::OciLayout);
    for (layer, (tar, media)) in image.layers.iter().zip(three_layers()) {
        assert_eq!(layer.diff_id.as_bytes(), digest_of(&tar).as_bytes());
        assert_eq!(layer.blob.media_type, media.media_type());
    }
}

#[test]
fn lying_manifests_are_refused() {
    fn check(edit: &dyn Fn(&mut Value), words: &str) {
        check_refused(&with_manifest(edit), words);
    }
    check(&|manifest| manifest["layers"][1]["size"] = json!(7), "expected 7 bytes, found");
    check(&|manifest| manifest["layers"][0]["size"] = json!(u64::MAX), "expected 18446744073709551615 bytes");
    check(&|manifest| manifest["config"]["size"] = json!(7), "expected 7 bytes, found");
    check(&|manifest| manifest["layers"][0]["digest"] = json!("sha256:../../../etc/passwd"), "not an OCI digest");
    check(&|manifest| manifest["config"]["digest"] = json!("sha256:../x"), "not an OCI digest");
    check(
        &|manifest| manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128))),
        "found sha512, wanted sha256",
    );
    check(&|manifest| manifest["layers"][0]["digest"] = json!(digest_of(b"").to_string()), "is missing; manifest");
    check(&|manifest| manifest["layers"][2]["mediaType"] = json!(Gzip.media_type()), "is damaged at byte");
    check(&|manifest| manifest["layers"][0]["mediaType"] = json!(Zstd.media_type()), "is damaged at byte");
    check(&|manifest| manifest["layers"][0]["mediaType"] = json!(Plain.media_type()), "sha256 of the tar");
    check(&|manifest| manifest["layers"][0]["mediaType"] = json!("text/plain"), "found \"text/plain\"");
    check(
        &|manifest| {
            manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        },
        "foreign",
    );
    check(&|manifest| manifest["layers"][0]["urls"] = json!(["https://example.com/x"]), "the url");
    check(&|manifest| drop(manifest["layers"].as_array_mut().unwrap().pop()), "3 layers where its manifest names 2");
    check(&|manifest| manifest["layers"] = json!(vec![manifest["layers"][0].clone(); 513]), "over the limit of 512");
    check(&|manifest| manifest["schemaVersion"] = json!(1), "found schema 1");
    check(&|manifest| manifest["layers"] = json!(7), "is not an image manifest");
    check(&|manifest| drop(manifest.as_object_mut().unwrap().remove("layers")), "no config or no layers");
    check(&|manifest| manifest["manifests"] = json!([]), "found an index");
    check(&|manifest| manifest["mediaType"] = json!("application/vnd.cncf.helm"), "found application/vnd.cncf.helm");
}

#[test]
fn lying_configs_are_refused() {
    fn check(edit: &dyn Fn(&mut Value), words: &str) {
        check_refused(&with_config(edit), words);
    }
    check(&|config| config["rootfs"]["diff_ids"][1] = json!(digest_of(b"x").to_string()), "diff_id 1 of the config");
    check(&|config| config["rootfs"]["diff_ids"].as_array_mut().unwrap().swap(0, 2), "diff_id 0 of the config");
    check(&|config| config["rootfs"]["diff_ids"][0] = json!("sha256:../x"), "not a DiffId");
    check(&|config| config["rootfs"]["diff_ids"] = json!([]), "0 layers where its manifest names 3");
    check(&|config| config["rootfs"]["type"] = json!("disk"), "found disk, wanted layers");
    check(&|config| config["rootfs"]["diff_ids"] = json!(vec![digest_of(b"x").to_string(); 513]), "limit of 512");
    check(&|config| drop(config.as_object_mut().unwrap().remove("rootfs")), "is not an image config");
}

/// No document has the digest of index.json itself. Everything that index.json names is checked.
#[test]
fn damaged_files_are_refused() {
    let good = layout(&three_layers());
    let blobs: Vec<String> = good.0.keys().filter(|path| path.starts_with("blobs/")).cloned().collect();
    for path in blobs {
        for at in [0, good.0[&path].len() / 2, good.0[&path].len() - 1] {
            let mut flipped = good.clone();
            flipped.0.get_mut(&path).unwrap()[at] ^= 0x10;
            let error = import(flipped, Limits::default()).unwrap_err();
            assert_eq!(error.blame(), Blame::Peer, "{path} {at}: {error}");
        }
        let mut truncated = good.clone();
        truncated.0.get_mut(&path).unwrap().pop();
        check_refused(&truncated, "bytes, found");
        let mut longer = good.clone();
        longer.0.get_mut(&path).unwrap().push(0);
        check_refused(&longer, "bytes, found");
        let mut missing = good.clone();
        missing.0.remove(&path);
        check_refused(&missing, "is missing");
    }
}

#[test]
fn garbage_documents_are_refused() {
    check_index("", "is not an image index");
    check_index("nginx", "is not an image index");
    check_index("{\"manifests\": [{}]}", "is not an image index");
    check_index("{\"manifests\": []}", "there are: none");
    check_index("{}", "there are: none");
    check_index("{\"manifests\": null}", "there are: none");
    // Fields that are not read are skipped without recursion. Fields that are read may not nest.
    check_index(&format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), "there are: none");
    check_index(&format!("{{\"manifests\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), "is not an image index");
    check_index("{\"manifests\": [], \"manifests\": []}", "is not an image index");
    check_index(&format!("{{\"x\": \"{}\"}}", "x".repeat(5 << 20)), "over the limit of 4194304");
}

/// A layout with this `index.json` is refused in these words.
fn check_index(index: &str, words: &str) {
    let mut files = layout(&three_layers());
    files.0.insert("index.json".into(), index.as_bytes().to_vec());
    check_refused(&files, words);
}

#[test]
fn other_versions_and_other_sources_are_refused() {
    let mut files = layout(&three_layers());
    files.0.insert("oci-layout".into(), br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec());
    check_refused(&files, "found version \"2.0.0\", wanted version 1");
    check_refused(&MemoryFiles::default(), "neither index.json nor manifest.json");
    for (path, words) in [("oci-layout", "without its index.json"), ("config.json", "runtime bundle")] {
        check_refused(&MemoryFiles([(path.to_owned(), Vec::new())].into()), words);
    }
}

/// One image for each of these platforms, in one nested index.
fn multi_platform(platforms: &[&str], depth: usize) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    let mut manifests: Vec<Value> = platforms
        .iter()
        .map(|text| {
            let mut descriptor = files.add_image(&[(small_tar(text), Gzip)], text, &|_, _| {});
            let parts: Vec<&str> = text.split('/').collect();
            descriptor["platform"] = json!({ "os": parts[0], "architecture": parts[1] });
            descriptor
        })
        .collect();
    let attestation = json!({ "mediaType": crate::media::OCI_MANIFEST, "digest": digest_of(b"none").to_string(),
        "size": 1, "platform": { "os": "unknown", "architecture": "unknown" } });
    manifests.push(attestation);
    for _ in 0..depth {
        let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        let digest = files.add_blob(index.as_bytes());
        manifests = vec![json!({ "mediaType": crate::media::OCI_INDEX, "digest": digest, "size": index.len() })];
    }
    files.add_index(&manifests);
    files
}

fn choose_platform(files: &MemoryFiles, platform: Option<&str>) -> Result<String, ImageError> {
    let selector = Selector { platform: platform.map(|text| text.parse().unwrap()), ..Selector::default() };
    let opened = open_image(files.clone(), &selector, Limits::default())?;
    Ok(opened.image().platform.as_ref().unwrap().to_string())
}

#[test]
fn platforms_are_chosen_through_nested_indexes() {
    let host = Platform::host().to_string();
    for depth in 0..=INDEX_DEPTH_MAX {
        let files = multi_platform(&["windows/amd64", &host, "linux/s390x"], depth);
        assert_eq!(choose_platform(&files, None).unwrap(), host);
        assert_eq!(choose_platform(&files, Some("linux/s390x")).unwrap(), "linux/s390x");
        let error = choose_platform(&files, Some("linux/riscv64")).unwrap_err();
        for platform in [&host, "linux/s390x", "windows/amd64"] {
            assert!(error.to_string().contains(platform), "{error}");
        }
        assert_eq!(error.blame(), Blame::Caller);
    }
    let error = choose_platform(&multi_platform(&[&host], INDEX_DEPTH_MAX + 1), None).unwrap_err();
    assert!(error.to_string().contains("nesting of indexes"), "{error}");
}

#[test]
fn a_single_image_matches_any_platform_unless_one_is_requested() {
    let files = multi_platform(&["linux/s390x"], 1);
    assert_eq!(choose_platform(&files, None).unwrap(), "linux/s390x");
    assert!(choose_platform(&files, Some("linux/amd64")).is_err());
}

#[test]
fn images_are_chosen_by_name() {
    let mut files = MemoryFiles::default();
    let (mut one, mut two) = (add_named(&mut files, "1"), add_named(&mut files, "2"));
    for descriptor in [&mut one, &mut two] {
        descriptor["platform"] = json!({ "os": "linux", "architecture": Platform::host().architecture });
    }
    files.add_index(&[one.clone(), two, one]);
    assert_eq!(choose_named(&files, Some("2")).unwrap(), "2");
    assert_eq!(choose_named(&files, Some("docker.io/library/app:1")).unwrap(), "docker.io/library/app:1");
    // Another spelling of the same name, a place, and a digest.
    assert_eq!(choose_named(&files, Some("docker.io/library/app:2")).unwrap(), "docker.io/library/app:2");
    assert_eq!(choose_from(&files, "2").unwrap(), "docker.io/library/app:2");
    let list = "there are: 1: docker.io/library/app:1 (linux/amd64); 2: docker.io/library/app:2 (linux/amd64)";
    for (from, words) in [("9", "number 9; there are: 1: "), ("x", "named \"x\"")] {
        let error = choose_from(&files, from).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(list), "{error}");
    }
    let digest = digest_in_index(&files, 1);
    assert_eq!(choose_from(&files, &digest).unwrap(), "docker.io/library/app:2");
    let error = choose_named(&files, None).unwrap_err().to_string();
    assert!(error.contains(list), "{error}");
    assert_eq!(count_images(&mut files.clone()).unwrap(), 3);
}

/// The digest of an entry of `index.json`.
fn digest_in_index(files: &MemoryFiles, entry: usize) -> String {
    let index: Value = serde_json::from_slice(&files.0["index.json"]).unwrap();
    index["manifests"][entry]["digest"].as_str().unwrap().to_owned()
}

fn choose_from(files: &MemoryFiles, from: &str) -> Result<String, ImageError> {
    let selector = Selector { from: Some(from.parse().unwrap()), ..Selector::default() };
    open_image(files.clone(), &selector, Limits::default()).map(|opened| opened.image().names[0].clone())
}

/// Two tags of one image are one image with two names.
#[test]
fn an_image_has_all_its_names() {
    let mut files = MemoryFiles::default();
    let one = add_named(&mut files, "1");
    let mut latest = one.clone();
    latest["annotations"] = json!({ CONTAINERD_NAME: "docker.io/library/app:latest" });
    files.add_index(&[one, latest]);
    let opened = open_image(files, &Selector::default(), Limits::default()).unwrap();
    assert_eq!(opened.image().names, ["docker.io/library/app:1", "docker.io/library/app:latest"]);
}

/// Entries beside an image do not keep it out, and are named.
#[test]
fn other_entries_are_passed_over() {
    let mut files = MemoryFiles::default();
    let image = add_named(&mut files, "1");
    let artifact = |files: &mut MemoryFiles, config: &str, layer: &str| {
        files.add_image(&[(small_tar(layer), Plain)], "linux/amd64", &|_, manifest| {
            if !manifest.is_null() {
                manifest["config"]["mediaType"] = json!(config);
                manifest["layers"][0]["mediaType"] = json!(layer);
            }
        })
    };
    let signature = artifact(&mut files, crate::media::OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json");
    let chart = artifact(&mut files, "application/vnd.cncf.helm.config.v1+json", Gzip.media_type());
    let attestation = json!({ "mediaType": crate::media::OCI_MANIFEST, "digest": digest_of(b"none").to_string(),
        "size": 1, "platform": { "os": "unknown", "architecture": "unknown" } });
    let other = |media_type: &str, digest: String| json!({ "mediaType": media_type, "digest": digest, "size": 1 });
    let sha512 = other(crate::media::OCI_MANIFEST, format!("sha512:{}", "0".repeat(128)));
    let missing = other(crate::media::OCI_INDEX, digest_of(b"gone").to_string());
    let unknown = other("application/vnd.example", digest_of(b"what").to_string());
    files.add_index(&[signature, chart, attestation, sha512, missing, unknown, image]);
    let opened = open_image(files.clone(), &Selector::default(), Limits::default()).unwrap();
    assert_eq!(opened.image().names, ["docker.io/library/app:1"]);
    let lines = opened.image().passed_over.join("\n");
    for words in ["simplesigning", "helm.config", "an attestation", "found sha512", "is missing", "vnd.example"] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    assert_eq!(opened.image().passed_over.len(), 6, "{lines}");
    assert_eq!(count_images(&mut files).unwrap(), 1);
}

/// Adds an image under a short name, and under a long one as containerd writes it.
fn add_named(files: &mut MemoryFiles, name: &str) -> Value {
    let mut descriptor = files.add_image(&[(small_tar(name), Gzip)], "linux/amd64", &|_, _| {});
    descriptor["annotations"] = json!({ REF_NAME: name, CONTAINERD_NAME: format!("docker.io/library/app:{name}") });
    descriptor
}

fn choose_named(files: &MemoryFiles, name: Option<&str>) -> Result<String, ImageError> {
    let selector = Selector { from: name.map(|name| Choice::Name(name.to_owned())), ..Selector::default() };
    open_image(files.clone(), &selector, Limits::default()).map(|opened| opened.image().names[0].clone())
}

#[test]
fn two_images_without_names_are_ambiguous() {
    let mut files = MemoryFiles::default();
    let host = Platform::host().to_string();
    let manifests = ["a", "b"].map(|text| files.add_image(&[(small_tar(text), Gzip)], &host, &|_, _| {}));
    files.add_index(&manifests);
    let error = import(files.clone(), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("no single image"), "{error}");
    files.add_index(&[manifests[0].clone(), manifests[0].clone()]);
    assert!(import(files, Limits::default()).is_ok());
}

#[test]
fn blobs_of_several_members_and_frames_are_one_layer() {
    let tar = small_tar("member");
    let (left, right) = tar.split_at(700);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
    let cases = [
        (Gzip, [gzip(left), gzip(b""), gzip(right)].concat()),
        (Zstd, [skippable.clone(), zstd_frame(left), zstd_frame(b""), skippable, zstd_frame(right)].concat()),
    ];
    for (media, blob) in cases {
        let mut files = MemoryFiles::default();
        let digest = files.add_blob(&blob);
        let descriptor = files.add_image(&[(tar.clone(), media)], "linux/amd64", &|_, manifest| {
            if !manifest.is_null() {
                manifest["layers"][0]["digest"] = json!(digest);
                manifest["layers"][0]["size"] = json!(blob.len());
            }
        });
        files.add_index(&[descriptor]);
        assert_eq!(import(files, Limits::default()).unwrap(), vec![tar.clone()]);
    }
}

fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[test]
fn a_missing_layer_names_its_blob() {
    let mut files = layout(&three_layers());
    let path = layer_path(&files, 1);
    files.0.remove(&path);
    check_refused(&files, &path);
}
