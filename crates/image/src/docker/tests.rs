//! Correct docker archives, and archives with one fault each.

use std::io::Cursor;

use serde_json::{Value, json};

use super::*;
use crate::limits::Limits;
use crate::open::open_image;
use crate::testing::{MemoryFiles, check_refused, compress, docker_archive, import, layout, small_tar};
use crate::{ArchiveFiles, ImageError};

fn layers() -> Vec<Vec<u8>> {
    vec![small_tar("one"), small_tar("two")]
}

fn with_manifest(edit: impl Fn(&mut Value)) -> MemoryFiles {
    let mut files = docker_archive(&layers());
    let mut manifest: Value = serde_json::from_slice(&files.0["manifest.json"]).unwrap();
    edit(&mut manifest);
    files.0.insert("manifest.json".into(), manifest.to_string().into_bytes());
    files
}

#[test]
fn an_archive_has_tars_and_gets_a_manifest() {
    let files = docker_archive(&layers());
    assert_eq!(import(files.clone(), Limits::default()).unwrap(), layers());
    let opened = open_image(files.clone(), &Selector::default(), Limits::default()).unwrap();
    let image = opened.image();
    assert_eq!(image.source_kind, SourceKind::DockerArchive);
    assert_eq!(image.names, ["demo/app:1"]);
    let manifest = crate::parse_manifest(&image.manifest_bytes, &image.manifest_digest).unwrap();
    let config = crate::parse_config(&image.config_bytes, &image.config_digest).unwrap();
    assert_eq!(crate::image_layers(&manifest, &config).unwrap(), image.layers);
    assert_eq!(image.layers[0].blob.digest.as_bytes(), image.layers[0].diff_id.as_bytes());
}

#[test]
fn compressed_layers_are_recognised_by_their_bytes() {
    for media in [LayerMedia::Gzip, LayerMedia::Zstd] {
        let mut files = docker_archive(&layers());
        let blob = compress(&layers()[1], media);
        files.0.insert("1/layer.tar".into(), blob.clone());
        assert_eq!(import(files.clone(), Limits::default()).unwrap(), layers());
        let opened = open_image(files, &Selector::default(), Limits::default()).unwrap();
        let described = &opened.image().layers[1].blob;
        assert_eq!((described.digest, described.media_type.as_str()), (digest_of(&blob), media.media_type()));
    }
}

#[test]
fn an_archive_with_both_forms_is_a_layout() {
    let mut files = layout(&[(small_tar("oci"), LayerMedia::Plain)]);
    files.0.extend(docker_archive(&layers()).0);
    assert_eq!(import(files, Limits::default()).unwrap(), [small_tar("oci")]);
}

#[test]
fn lies_are_refused() {
    check(&|list| list[0]["Layers"][0] = json!("../../etc/passwd"), "not a path within the archive");
    check(&|list| list[0]["Layers"][0] = json!("/etc/passwd"), "not a path within the archive");
    check(&|list| list[0]["Layers"][0] = json!("a/../../b"), "not a path within the archive");
    check(&|list| list[0]["Config"] = json!("../config.json"), "not a path within the archive");
    check(&|list| list[0]["Layers"][0] = json!("9/layer.tar"), "9/layer.tar is missing; manifest.json names it");
    check(&|list| list[0]["Layers"].as_array_mut().unwrap().swap(0, 1), "diff_id 0 of the config");
    check(&|list| drop(list[0]["Layers"].as_array_mut().unwrap().pop()), "1 layers where its config names 2");
    check(&|list| list[0]["Layers"] = json!(vec!["0/layer.tar"; 513]), "over the limit of 512");
    check(&|list| list.as_array_mut().unwrap().clear(), "there are: none");
    check(&|list| *list = json!({ "schemaVersion": 2 }), "is not a docker archive's list of images");
    let mut files = docker_archive(&layers());
    let config = files.0.keys().find(|path| path.ends_with(".json") && path.len() > 60).unwrap().clone();
    files.0.get_mut(&config).unwrap().push(b' ');
    check_refused(&files, "sha256 of config");
    let mut files = docker_archive(&layers());
    files.0.get_mut("0/layer.tar").unwrap()[600] ^= 1;
    check_refused(&files, "sha256 of the tar");
}

/// An archive with this edit of its `manifest.json` is refused in these words.
fn check(edit: &dyn Fn(&mut Value), words: &str) {
    check_refused(&with_manifest(edit), words);
}

#[test]
fn images_are_chosen_by_tag_and_platform() {
    let files = with_manifest(|list| {
        let mut second = list[0].clone();
        second["RepoTags"] = json!(["demo/app:2", "demo/app:latest"]);
        list.as_array_mut().unwrap().push(second);
    });
    assert_eq!(choose(&files, Some("demo/app:latest"), None).unwrap(), ["demo/app:latest"]);
    assert_eq!(choose(&files, Some("2"), None).unwrap(), ["demo/app:2", "demo/app:latest"]);
    let config = open_image(files.clone(), &from(Some("1")), Limits::default()).unwrap().image().config_digest;
    assert!(choose(&files, Some(&config.to_string()), None).is_err(), "both images have this config");
    assert_eq!(count(&mut files.clone()).unwrap(), 2);
    assert!(choose(&files, Some("demo/app:2"), Some("linux/amd64")).is_ok());
    for (name, platform, words) in [
        (None, None, "there are: 1: demo/app:1; 2: demo/app:2"),
        (Some("demo/app:3"), None, "named \"demo/app:3\""),
        (Some("demo/app:1"), Some("linux/arm64"), "for linux/arm64; there are: linux/amd64"),
    ] {
        let error = choose(&files, name, platform).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

fn choose(files: &MemoryFiles, name: Option<&str>, platform: Option<&str>) -> Result<Vec<String>, ImageError> {
    let platform = platform.map(|text| text.parse().unwrap());
    let selector = Selector { platform, ..from(name) };
    Ok(open_image(files.clone(), &selector, Limits::default())?.image().names.clone())
}

fn from(text: Option<&str>) -> Selector {
    Selector { from: text.map(|text| text.parse().unwrap()), ..Selector::default() }
}

/// `skopeo copy dir:` writes one image's manifest under the name of the list.
#[test]
fn a_folder_of_skopeo_is_named() {
    let mut files = docker_archive(&layers());
    files.0.insert("version".into(), b"Directory Transport Version: 1.1\n".to_vec());
    check_refused(&files, "skopeo's dir: transport");
}

/// An archive of `files`, with these entries before them.
fn archive_with(entries: &[Vec<u8>], files: &MemoryFiles) -> ArchiveFiles<Cursor<Vec<u8>>> {
    let bytes = [entries.concat(), files.to_archive()].concat();
    ArchiveFiles::open("saved.tar", Cursor::new(bytes)).unwrap()
}

/// If a layer occurs twice, `docker save` writes the second one as a link to the first.
#[test]
fn links_within_the_archive_are_followed() {
    let same = vec![small_tar("one"), small_tar("one"), small_tar("one")];
    let mut files = docker_archive(&same);
    files.0.remove("1/layer.tar");
    files.0.remove("2/layer.tar");
    let links = [
        lighter_tar::entry("1/layer.tar", b'2', b"", "../0/layer.tar"),
        lighter_tar::entry("2/layer.tar", b'1', b"", "0/layer.tar"),
    ];
    assert_eq!(import(archive_with(&links, &files), Limits::default()).unwrap(), same);
}

#[test]
fn other_links_are_refused() {
    for (link, words) in [
        ("../../etc/passwd", "a link that leaves the archive"),
        ("/etc/passwd", "a link that leaves the archive"),
        ("layer.tar", "more than 8 links lead to the file"),
        ("nothing", "which is missing"),
    ] {
        let mut files = docker_archive(&layers());
        files.0.remove("1/layer.tar");
        let archive = archive_with(&[lighter_tar::entry("1/layer.tar", b'2', b"", link)], &files);
        let error = import(archive, Limits::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{link}: {error}");
    }
}
