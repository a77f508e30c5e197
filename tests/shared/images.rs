//! Images made in memory, the same bytes on every run.
//!
//! Contents come from a seeded generator: releases of one family share most of their bytes, so that patches between
//! them are small. Images are written as OCI layouts, OCI archives and docker archives.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// How a layer's blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Plain,
    Gzip,
    Zstd,
}

/// The files of an image, by path: an OCI layout or what `docker save` writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFiles(pub BTreeMap<String, Vec<u8>>);

/// An OCI layout with these tars as its gzip layers, lowest first, for linux/amd64. Its manifest: [`manifest_digest`].
pub fn layout(tars: &[Vec<u8>]) -> ImageFiles {
    layout_of(&tars.iter().map(|tar| (tar.clone(), Media::Gzip)).collect::<Vec<_>>())
}

/// The same, with a compression for each.
pub fn layout_of(layers: &[(Vec<u8>, Media)]) -> ImageFiles {
    let diff_ids: Vec<String> = layers.iter().map(|(tar, _)| sha256(tar)).collect();
    let blobs = layers.iter().map(|(tar, media)| compress(tar, *media)).collect::<Vec<_>>();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let descriptors = layers.iter().zip(&blobs).map(|((_, media), blob)| descriptor(&media_type(*media), blob));
    let mut files = ImageFiles::default();
    let config = files.put(&to_bytes(&config));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &files.0[&config]),
        "layers": descriptors.collect::<Vec<_>>(),
    });
    for blob in &blobs {
        files.put(blob);
    }
    files.0.insert("oci-layout".into(), to_bytes(&json!({ "imageLayoutVersion": "1.0.0" })));
    files.set_manifest(&manifest);
    files
}

/// An archive as `docker save` wrote it before version 25: `manifest.json` and plain tars.
pub fn docker_save(tars: &[Vec<u8>], name: &str) -> ImageFiles {
    let diff_ids: Vec<String> = tars.iter().map(|tar| sha256(tar)).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    let config = to_bytes(&json!({ "architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs }));
    let config_path = format!("{}.json", &sha256(&config)["sha256:".len()..]);
    let paths: Vec<String> = (0..tars.len()).map(|index| format!("{index}/layer.tar")).collect();
    let manifest = json!([{ "Config": config_path, "RepoTags": [name], "Layers": paths }]);
    let mut files = ImageFiles::default();
    files.0.insert(config_path, config);
    files.0.insert("manifest.json".into(), to_bytes(&manifest));
    files.0.extend(paths.into_iter().zip(tars.iter().cloned()));
    files
}

impl ImageFiles {
    /// Adds a blob: its path.
    pub fn put(&mut self, bytes: &[u8]) -> String {
        let path = blob_path(&sha256(bytes));
        self.0.insert(path.clone(), bytes.to_vec());
        path
    }

    /// Makes this the layout's only manifest.
    pub fn set_manifest(&mut self, manifest: &Value) {
        let bytes = to_bytes(manifest);
        self.put(&bytes);
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, &bytes)] });
        self.0.insert("index.json".into(), to_bytes(&index));
    }

    /// Writes the files into a new folder.
    pub fn write_to(&self, dir: &Path) {
        for (path, bytes) in &self.0 {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
    }

    /// The files as a tar: an OCI archive, or a docker archive.
    pub fn to_archive(&self) -> Vec<u8> {
        let entries: Vec<(&str, &[u8])> = self.0.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
        tar(&entries)
    }

    /// The layout's manifest.
    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.0[&blob_path(&self.manifest_digest())]).expect("a manifest of JSON")
    }

    pub fn manifest_digest(&self) -> String {
        let index: Value = serde_json::from_slice(&self.0["index.json"]).expect("an index of JSON");
        index["manifests"][0]["digest"].as_str().expect("a digest").to_owned()
    }

    /// The config of the layout.
    pub fn image_config(&self) -> Value {
        let manifest = self.manifest();
        let path = blob_path(manifest["config"]["digest"].as_str().expect("a digest"));
        serde_json::from_slice(&self.0[&path]).expect("a config of JSON")
    }

    /// The path of a layer's blob, lowest first.
    pub fn layer_path(&self, index: usize) -> String {
        blob_path(self.manifest()["layers"][index]["digest"].as_str().expect("a digest"))
    }
}

/// `sha256:...` of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    lighter_types::OciDigest::new(Sha256::digest(bytes).into()).to_string()
}

pub fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

pub fn media_type(media: Media) -> String {
    match media {
        Media::Plain => LAYER.to_owned(),
        Media::Gzip => format!("{LAYER}+gzip"),
        Media::Zstd => format!("{LAYER}+zstd"),
    }
}

pub fn compress(bytes: &[u8], media: Media) -> Vec<u8> {
    match media {
        Media::Plain => bytes.to_vec(),
        Media::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
            encoder.write_all(bytes).expect("memory");
            encoder.finish().expect("memory")
        }
        // No recipe knows levels below 1.
        Media::Zstd => zstd::encode_all(bytes, -7).expect("memory"),
    }
}

pub fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

/// A tar of these files, with its end.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar: Vec<u8> = files.iter().flat_map(|(path, content)| tar_entry(path, b'0', content, "")).collect();
    tar.extend([0; 1024]);
    tar
}

/// One ustar entry of any kind, with content and padding. `path` and `link` have at most 100 bytes.
pub fn tar_entry(path: &str, type_flag: u8, content: &[u8], link: &str) -> Vec<u8> {
    let mut block = [0u8; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[136..148].copy_from_slice(b"14000000000\0");
    block[156] = type_flag;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = block.to_vec();
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

/// Pseudorandom bytes that do not compress (SplitMix64, Steele et al. 2014).
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Words in no order: compresses to about a third.
pub fn text(seed: u64, count: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "server", "listen", "root", "index", "proxy", "cache", "worker", "error", "access", "log", "timeout", "client",
        "header", "buffer", "return", "upstream",
    ];
    let mut bytes = Vec::with_capacity(count + 16);
    for byte in noise(seed, count) {
        bytes.extend(WORDS[usize::from(byte & 15)].as_bytes());
        bytes.push(if byte < 32 { b'\n' } else { b' ' });
        if bytes.len() >= count {
            break;
        }
    }
    bytes.truncate(count);
    bytes
}

/// The tars of a layer in two releases, each of about `bytes`: 32 files, half of them text. In the second release two
/// files have some bytes replaced and inserted, one is new and one is gone: a few percent of the first.
pub fn two_releases(seed: u64, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    const FILES: u64 = 32;
    let size = bytes / FILES as usize;
    let content = |index: u64| {
        let seed = seed.wrapping_mul(1000).wrapping_add(index);
        if index.is_multiple_of(2) { text(seed, size) } else { noise(seed, size) }
    };
    let mut files: Vec<(String, Vec<u8>)> =
        (0..FILES).map(|index| (format!("usr/lib/app/part{index:02}"), content(index))).collect();
    let first = tar_of(&files);
    for index in [4, 9] {
        let changed = &mut files[index].1;
        let middle = changed.len() / 2;
        changed.splice(middle..middle + 16, noise(seed ^ index as u64, 48));
        changed[10] ^= 1;
    }
    files.remove(20);
    files.push(("usr/lib/app/release".to_owned(), noise(seed ^ 77, size / 4)));
    (first, tar_of(&files))
}

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar(&files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect::<Vec<_>>())
}
