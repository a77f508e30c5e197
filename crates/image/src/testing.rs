//! Test support: builds small images in memory, correct ones and ones with a single fault.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::Hashed;
use crate::export::LayoutWriter;
use crate::files::{Files, OpenFile};
use crate::imported::Selector;
use crate::limits::Limits;
use crate::manifest::digest_of;
use crate::media::LayerMedia;
use crate::open::open_image;
use crate::{ArchiveFiles, ImageError};

/// A folder in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryFiles(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files for MemoryFiles {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        assert!(crate::files::relative_path(path) == Some(path), "{path:?} is no relative path");
        Ok(self.0.get(path).map(|bytes| OpenFile { bytes: bytes.len() as u64, reader: Box::new(&bytes[..]) }))
    }
}

impl LayoutWriter for MemoryFiles {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let bytes = self.0.entry(path.to_owned()).or_default();
        bytes.clear();
        Ok(Box::new(bytes))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.0.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.0.insert(to.to_owned(), bytes);
        Ok(())
    }
}

impl MemoryFiles {
    /// Adds a blob. Returns its digest.
    pub(crate) fn add_blob(&mut self, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        self.0.insert(format!("blobs/sha256/{}", digest.to_hex()), bytes.to_vec());
        digest.to_string()
    }

    /// The folder as a tar.
    pub(crate) fn to_archive(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for (path, bytes) in &self.0 {
            tar.extend(lighter_tar::entry(path, b'0', bytes, ""));
        }
        tar.extend([0; 1024]);
        tar
    }

    /// Adds an image of these layers. Returns its descriptor. `edit` may change config and manifest before their
    /// digests are computed.
    pub(crate) fn add_image(
        &mut self,
        layers: &[(Vec<u8>, LayerMedia)],
        platform: &str,
        edit: &dyn Fn(&mut Value, &mut Value),
    ) -> Value {
        let (os, architecture) = platform.split_once('/').unwrap();
        let mut config = json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers" } });
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": crate::media::OCI_MANIFEST, "layers": [] });
        config["rootfs"]["diff_ids"] = layers.iter().map(|(tar, _)| digest_of(tar).to_string()).collect();
        for (tar, media) in layers {
            let blob = compress(tar, *media);
            let digest = self.add_blob(&blob);
            let layer = json!({ "mediaType": media.media_type(), "digest": digest, "size": blob.len() });
            manifest["layers"].as_array_mut().unwrap().push(layer);
        }
        edit(&mut config, &mut json!(null));
        let config = config.to_string();
        let digest = self.add_blob(config.as_bytes());
        manifest["config"] = json!({ "mediaType": crate::media::OCI_CONFIG, "digest": digest, "size": config.len() });
        edit(&mut json!(null), &mut manifest);
        let manifest = manifest.to_string();
        let digest = self.add_blob(manifest.as_bytes());
        json!({ "mediaType": crate::media::OCI_MANIFEST, "digest": digest, "size": manifest.len() })
    }

    /// Adds `oci-layout` and an `index.json` of these manifests.
    pub(crate) fn add_index(&mut self, manifests: &[Value]) {
        self.0.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        self.0.insert("index.json".into(), index.to_string().into_bytes());
    }
}

/// A layout of one image for linux/amd64.
pub(crate) fn layout(layers: &[(Vec<u8>, LayerMedia)]) -> MemoryFiles {
    lying_layout(layers, &|_, _| {})
}

/// A layout of one image with edited documents. Calls `edit` with the config and null, then with null and the manifest.
pub(crate) fn lying_layout(layers: &[(Vec<u8>, LayerMedia)], edit: &dyn Fn(&mut Value, &mut Value)) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    let mut descriptor = files.add_image(layers, "linux/amd64", edit);
    descriptor["annotations"] = json!({ crate::layout::REF_NAME: "1.0" });
    files.add_index(&[descriptor]);
    files
}

/// An archive in the format of `docker save` before version 25.
pub(crate) fn docker_archive(layers: &[Vec<u8>]) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    let diff_ids: Vec<String> = layers.iter().map(|tar| digest_of(tar).to_string()).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": rootfs }).to_string();
    let config_path = format!("{}.json", digest_of(config.as_bytes()).to_hex());
    files.0.insert(config_path.clone(), config.into_bytes());
    let mut paths = Vec::new();
    for (index, tar) in layers.iter().enumerate() {
        paths.push(format!("{index}/layer.tar"));
        files.0.insert(format!("{index}/layer.tar"), tar.clone());
    }
    let manifest = json!([{ "Config": config_path, "RepoTags": ["demo/app:1"], "Layers": paths }]);
    files.0.insert("manifest.json".into(), manifest.to_string().into_bytes());
    files
}

pub(crate) fn compress(bytes: &[u8], media: LayerMedia) -> Vec<u8> {
    match media {
        LayerMedia::Plain => bytes.to_vec(),
        LayerMedia::Gzip => gzip(bytes),
        LayerMedia::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar of one file with this text. It is longer than the minimum of TLSH.
pub(crate) fn small_tar(text: &str) -> Vec<u8> {
    let mut tar = lighter_tar::entry("etc/text", b'0', text.repeat(100).as_bytes(), "");
    tar.extend([0; 1024]);
    tar
}

/// Opens the only image and scans every layer. Returns the tars.
pub(crate) fn import(files: impl Files, limits: Limits) -> Result<Vec<Vec<u8>>, ImageError> {
    let mut image = open_image(files, &Selector::default(), limits)?;
    let count = image.image().layers.len();
    (0..count)
        .map(|index| {
            let mut tar = Vec::new();
            image.scan_layer(index, &mut Hashed::new(&mut tar), &mut |_| {})?;
            Ok(tar)
        })
        .collect()
}

/// Asserts that the import fails with these words, both from a folder and from an archive.
pub(crate) fn check_refused(files: &MemoryFiles, words: &str) {
    let error = import(files.clone(), Limits::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains(words), "{error} ({words})");
    let archive = ArchiveFiles::open("test.tar", Cursor::new(files.to_archive())).unwrap();
    let error = import(archive, Limits::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains(words), "in an archive: {error} ({words})");
}
