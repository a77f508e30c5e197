//! A registry's image as the import reads it. The runtime runs on its own threads; the reader blocks on this one.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use lighter_image::{ImageError, LayerMedia, Limits, Platform, Selector, open_image};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::network::{Network, Reply, digest, noise};
use crate::client::reference::UpstreamReference;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The things that a registry serves: bytes by path, with their media types.
#[derive(Clone, Default)]
pub(super) struct Registry(pub(super) BTreeMap<String, (String, Vec<u8>)>);

impl Registry {
    pub(super) fn add(&mut self, path: &str, media_type: &str, bytes: &[u8]) -> Value {
        self.0.insert(format!("/v2/a/b/{path}"), (media_type.to_owned(), bytes.to_vec()));
        json!({ "mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len() })
    }

    /// An image with one plain layer for a platform: the descriptor of its manifest.
    pub(super) fn add_image(&mut self, architecture: &str, tar: &[u8]) -> Value {
        let config = json!({ "os": "linux", "architecture": architecture,
            "rootfs": { "type": "layers", "diff_ids": [digest(tar).to_string()] } });
        let config = config.to_string().into_bytes();
        let config = self.add_blob("application/vnd.oci.image.config.v1+json", &config);
        let layer = self.add_blob(LayerMedia::Plain.media_type(), tar);
        self.add_manifest(MANIFEST, &json!({ "schemaVersion": 2, "config": config, "layers": [layer] }))
    }

    pub(super) fn add_blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.add(&format!("blobs/{}", digest(bytes)), media_type, bytes)
    }

    pub(super) fn add_manifest(&mut self, media_type: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        self.add(&format!("manifests/{}", digest(&bytes)), media_type, &bytes)
    }

    pub(super) fn tag(&mut self, descriptor: &Value) {
        let digest = descriptor["digest"].as_str().unwrap();
        let document = self.0[&format!("/v2/a/b/manifests/{digest}")].clone();
        self.0.insert("/v2/a/b/manifests/1".to_owned(), document);
    }

    pub(super) fn serve(self) -> Arc<Network> {
        Network::new(move |asked| match self.0.get(asked.path()) {
            Some((media_type, bytes)) => Reply::new(&format!("200 OK\nContent-Type: {media_type}"), bytes),
            None => Reply::status(404),
        })
    }
}

pub(super) fn for_platform(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
    descriptor
}

/// Names, manifest digest, and the layers' bytes.
type Read = (Vec<String>, String, Vec<Vec<u8>>);

/// Opens the image and reads its layers.
fn read(network: &Arc<Network>, selector: &Selector) -> Result<Read, ImageError> {
    let runtime = Runtime::new().unwrap();
    let client = network.plain_client(&["r.example"]);
    let reference: UpstreamReference = "docker://r.example/a/b:1".parse().unwrap();
    let files = client.open(runtime.handle(), &reference, selector).unwrap();
    let mut opened = open_image(files, selector, Limits::default())?;
    let image = opened.image().clone();
    let mut layers = Vec::new();
    for index in 0..image.layers.len() {
        let mut bytes = Vec::new();
        let read = opened.read_layer(index)?.read_to_end(&mut bytes);
        read.map_err(|source| ImageError::Read { path: String::new(), source })?;
        layers.push(bytes);
    }
    Ok((image.names, image.manifest_digest.to_string(), layers))
}

#[test]
fn an_image_is_read_as_the_registry_has_it() {
    let mut registry = Registry::default();
    let tar = noise(3000);
    let manifest = registry.add_image("amd64", &tar);
    registry.tag(&manifest);
    let network = registry.serve();
    let (names, found, layers) = read(&network, &Selector::default()).unwrap();
    assert_eq!(names, ["r.example/a/b:1"]);
    assert_eq!(found, manifest["digest"].as_str().unwrap());
    assert_eq!(layers, [tar]);
    // The manifest by its tag, config, layer: nothing twice.
    assert_eq!(network.asked().len(), 3);
}

#[test]
fn only_the_manifest_of_the_wanted_platform_is_asked_for() {
    let mut registry = Registry::default();
    let images: Vec<(Value, Vec<u8>)> = ["amd64", "arm64", "s390x"]
        .iter()
        .zip(1..)
        .map(|(architecture, n)| {
            let tar = noise(1000 * n);
            (for_platform(registry.add_image(architecture, &tar), architecture), tar)
        })
        .collect();
    let mut manifests: Vec<Value> = images.iter().map(|(descriptor, _)| descriptor.clone()).collect();
    let mut attestation = registry.add_manifest(MANIFEST, &json!({ "schemaVersion": 2 }));
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    manifests.push(attestation);
    let index = registry.add_manifest(INDEX, &json!({ "schemaVersion": 2, "manifests": manifests }));
    registry.tag(&index);
    let network = registry.serve();
    for (architecture, (descriptor, tar)) in ["amd64", "arm64"].iter().zip(&images) {
        let before = network.asked().len();
        let platform: Platform = format!("linux/{architecture}").parse().unwrap();
        let (_, found, layers) = read(&network, &Selector { platform: Some(platform), from: None }).unwrap();
        assert_eq!((found.as_str(), &layers[0]), (descriptor["digest"].as_str().unwrap(), tar));
        // Index, manifest, config, layer.
        assert_eq!(network.asked().len() - before, 4, "{architecture}");
    }
    // A digest chooses, whatever the platform is.
    let other = images[2].0["digest"].as_str().unwrap();
    let selector = Selector { platform: None, from: Some(other.parse().unwrap()) };
    assert_eq!(read(&network, &selector).unwrap().1, other);
    let riscv = Selector { platform: Some("linux/riscv64".parse().unwrap()), from: None };
    let Err(ImageError::NoMatch { present, .. }) = read(&network, &riscv) else { panic!("there is none") };
    assert!(present.contains("linux/s390x"), "{present}");
}

#[test]
fn foreign_layers_and_urls_are_not_followed() {
    for (media_type, urls) in [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", json!(["http://evil.example/x"])),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", json!(null)),
        ("application/vnd.oci.image.layer.v1.tar", json!(["http://evil.example/x"])),
    ] {
        let mut registry = Registry::default();
        let mut layer = registry.add_blob(media_type, b"x");
        layer["urls"] = urls;
        let config = registry.add_blob("application/vnd.oci.image.config.v1+json", b"{}");
        let document = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        let manifest = registry.add_manifest(MANIFEST, &document);
        registry.tag(&manifest);
        let network = registry.serve();
        assert!(matches!(read(&network, &Selector::default()), Err(ImageError::Unsupported { .. })), "{media_type}");
        assert_eq!(network.places(), ["r.example /v2/a/b/manifests/1"]);
    }
}

#[test]
fn other_algorithms_are_refused() {
    let mut registry = Registry::default();
    let mut layer = registry.add_blob(LayerMedia::Plain.media_type(), b"x");
    layer["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    let config = registry.add_blob("application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = registry.add_manifest(MANIFEST, &json!({ "schemaVersion": 2, "config": config, "layers": [layer] }));
    registry.tag(&manifest);
    let found = read(&registry.serve(), &Selector::default());
    assert!(matches!(&found, Err(ImageError::Unsupported { found, .. }) if found == "sha512"), "{found:?}");
}

#[test]
fn a_failure_below_the_import_is_kept_whole() {
    let mut registry = Registry::default();
    let manifest = registry.add_image("amd64", b"tar");
    registry.tag(&manifest);
    registry.0.retain(|path, _| !path.ends_with(&digest(b"tar").to_string()));
    let network = registry.serve();
    let runtime = Runtime::new().unwrap();
    let client = network.plain_client(&["r.example"]);
    let reference: UpstreamReference = "docker://r.example/a/b:1".parse().unwrap();
    let files = client.open(runtime.handle(), &reference, &Selector::default()).unwrap();
    let source = files.source();
    let mut opened = open_image(files, &Selector::default(), Limits::default()).unwrap();
    assert!(source.take_failure().is_none());
    assert!(opened.read_layer(0).unwrap().read_to_end(&mut Vec::new()).is_err());
    let failure = source.take_failure().unwrap();
    assert!(failure.failure.is_not_found());
    assert_eq!(*failure.step, format!("get blob {}", digest(b"tar")));
}
