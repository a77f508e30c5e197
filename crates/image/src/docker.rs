//! Finds an image in a `docker save` archive, which has a `manifest.json`, configs, and layers that only have DiffIds.
//!
//! Source: Docker image specification 1.2 and 1.3, "Combined Image JSON + Filesystem Changeset Format".

use std::io::Read;

use lighter_types::{Bytes, DiffId, OciDigest};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::export::manifest_json;
use crate::files::{Files, open_file, read_document, relative_path};
use crate::imported::{Choice, ImportedImage, Selector, SourceKind};
use crate::layout::listed;
use crate::limits::LAYERS_MAX;
use crate::manifest::{BlobDescriptor, LayerDescriptor, digest_of, parse, parse_config};
use crate::media::{LayerMedia, OCI_CONFIG};

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl ArchiveImage {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

/// Returns the image and the path of each layer.
pub(crate) fn open(files: &mut dyn Files, selector: &Selector) -> Result<(ImportedImage, Vec<String>), ImageError> {
    let images = images(files)?;
    let chosen = choose(files, images, selector)?;
    if chosen.layers.len() > LAYERS_MAX {
        let what = "number of layers in manifest.json".to_owned();
        return Err(ImageError::TooLarge { what, limit: LAYERS_MAX as u64 });
    }
    let config_path = path_in_archive(&chosen.config)?;
    let config_bytes = read_document(files, config_path, "manifest.json")?;
    let config_digest = digest_of(&config_bytes);
    check_config_name(config_path, &config_digest)?;
    let config = parse_config(&config_bytes, &config_digest)?;
    if let Some(wanted) = &selector.platform {
        let accepted = config.platform.as_ref().is_some_and(|offered| wanted.accepts(offered));
        if !accepted {
            let present = config.platform.map_or_else(|| "none that names one".to_owned(), |found| found.to_string());
            return Err(ImageError::NoMatch { wanted: format!("for {wanted}"), present });
        }
    }
    if chosen.layers.len() != config.diff_ids.len() {
        let problem =
            format!("it names {} layers where its config names {}", chosen.layers.len(), config.diff_ids.len());
        return Err(ImageError::damaged("manifest.json", 0, problem));
    }
    let mut layers = Vec::new();
    let mut paths = Vec::new();
    for (path, &diff_id) in chosen.layers.iter().zip(&config.diff_ids) {
        let path = path_in_archive(path)?;
        layers.push(LayerDescriptor { diff_id, blob: describe_layer(files, path, diff_id)? });
        paths.push(path.to_owned());
    }
    let config_blob = BlobDescriptor {
        digest: config_digest,
        media_type: OCI_CONFIG.to_owned(),
        bytes: Bytes(config_bytes.len() as u64),
    };
    let blobs: Vec<_> = layers.iter().map(|layer| layer.blob.clone()).collect();
    let manifest_bytes = manifest_json(&config_blob, &blobs, &Default::default());
    let image = ImportedImage {
        source_kind: SourceKind::DockerArchive,
        manifest_digest: digest_of(&manifest_bytes),
        manifest_bytes,
        config_digest,
        config_bytes,
        layers,
        platform: config.platform,
        names: match &selector.from {
            Some(Choice::Name(name)) => vec![name.clone()],
            _ => chosen.repo_tags.unwrap_or_default(),
        },
        passed_over: Vec::new(),
    };
    Ok((image, paths))
}

/// The number of images.
pub(crate) fn count(files: &mut dyn Files) -> Result<usize, ImageError> {
    Ok(images(files)?.len())
}

fn images(files: &mut dyn Files) -> Result<Vec<ArchiveImage>, ImageError> {
    let bytes = read_document(files, "manifest.json", "the docker archive")?;
    parse("manifest.json", "a docker archive's list of images", &bytes)
}

fn choose(files: &mut dyn Files, images: Vec<ArchiveImage>, selector: &Selector) -> Result<ArchiveImage, ImageError> {
    let describe = |(index, image): (usize, &ArchiveImage)| {
        let name = image.tags().first().map_or("without a name", String::as_str);
        format!("{}: {name}", index + 1)
    };
    let present = listed(&images.iter().enumerate().map(describe).collect::<Vec<_>>());
    let mut matching = Vec::new();
    for (index, image) in images.into_iter().enumerate() {
        let is_chosen = match &selector.from {
            None => true,
            Some(Choice::Name(wanted)) => Choice::is_named(wanted, image.tags()),
            Some(Choice::Place(place)) => *place == index + 1,
            Some(Choice::Digest(digest)) => {
                let config = read_document(files, path_in_archive(&image.config)?, "manifest.json")?;
                digest_of(&config) == *digest
            }
        };
        if is_chosen {
            matching.push(image);
        }
    }
    match (matching.pop(), matching.is_empty()) {
        (Some(image), true) => Ok(image),
        _ => Err(ImageError::NoMatch {
            wanted: selector.from.as_ref().map_or("the archive's only one".to_owned(), Choice::to_string),
            present,
        }),
    }
}

/// Checks that a path in `manifest.json` stays within the archive.
fn path_in_archive(path: &str) -> Result<&str, ImageError> {
    relative_path(path).ok_or_else(|| {
        let shown: String = path.chars().take(80).collect();
        ImageError::damaged("manifest.json", 0, format!("{shown:?} is not a path within the archive"))
    })
}

/// Checks the name of a config against its sha256 if the name looks like one: `HEX.json` or `blobs/sha256/HEX`.
fn check_config_name(path: &str, found: &OciDigest) -> Result<(), ImageError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match OciDigest::from_hex(name.strip_suffix(".json").unwrap_or(name)) {
        Ok(expected) if expected != *found => Err(ImageError::Digest {
            what: format!("sha256 of config {path}"),
            expected: expected.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The descriptor that a registry would have for the layer. Most layers are plain tars. Some builders write compressed
/// layers; these are read once to compute their digest.
fn describe_layer(files: &mut dyn Files, path: &str, diff_id: DiffId) -> Result<BlobDescriptor, ImageError> {
    let mut file = open_file(files, path, "manifest.json")?;
    let mut first = Vec::new();
    file.reader.by_ref().take(4).read_to_end(&mut first).map_err(|error| ImageError::read(path, error))?;
    let media = LayerMedia::from_first_bytes(&first);
    let digest = match media {
        LayerMedia::Plain => OciDigest::new(*diff_id.as_bytes()),
        LayerMedia::Gzip | LayerMedia::Zstd => {
            let mut hasher = Sha256::new();
            hasher.update(&first);
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.reader.read(&mut buffer).map_err(|error| ImageError::read(path, error))? {
                    0 => break,
                    count => hasher.update(&buffer[..count]),
                }
            }
            OciDigest::new(hasher.finalize().into())
        }
    };
    Ok(BlobDescriptor { digest, media_type: media.media_type().to_owned(), bytes: Bytes(file.bytes) })
}

#[cfg(test)]
mod tests;
