//! An image's companions out of a registry: the other platforms, what its referrers API lists, and what its tags say.

use std::sync::Arc;

use lighter_image::{Artifact, Companions, Limits, Selector, artifact_tags, open_image};
use lighter_types::OciDigest;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::files::{INDEX, MANIFEST, Registry, for_platform};
use super::network::{Network, Reply};
use crate::client::reference::UpstreamReference;

/// A registry with an image for two platforms and artifacts.
struct Signed {
    registry: Registry,
    index: Value,
    platforms: Vec<Value>,
}

fn signed() -> Signed {
    let mut registry = Registry::default();
    let platforms: Vec<Value> = ["amd64", "arm64"]
        .map(|architecture| for_platform(registry.add_image(architecture, architecture.as_bytes()), architecture))
        .into();
    let index = registry.add_manifest(INDEX, &json!({ "schemaVersion": 2, "manifests": platforms }));
    registry.tag(&index);
    Signed { registry, index, platforms }
}

fn id(descriptor: &Value) -> OciDigest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

impl Signed {
    fn add_artifact(&mut self, kind: &str, subject: Option<&Value>) -> Value {
        let config = self.registry.add_blob(kind, b"{}");
        let layer = self.registry.add_blob("application/octet-stream", kind.as_bytes());
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        self.registry.add_manifest(MANIFEST, &manifest)
    }

    fn tag_as(&mut self, descriptor: &Value, tag: &str) {
        let document = self.registry.0[&format!("/v2/a/b/manifests/{}", id(descriptor))].clone();
        self.registry.0.insert(format!("/v2/a/b/manifests/{tag}"), document);
    }

    fn list_referrers(&mut self, page: &str, listed: &[&Value]) {
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
        self.registry.0.insert(format!("/v2/a/b/referrers/{page}"), (INDEX.to_owned(), list.into_bytes()));
    }
}

/// The companions of the image for linux/amd64, and the lines of what is left out.
fn gathered(network: &Arc<Network>) -> Result<(Option<Companions>, Vec<String>), String> {
    let runtime = Runtime::new().unwrap();
    let client = network.plain_client(&["r.example"]);
    let reference: UpstreamReference = "docker://r.example/a/b:1".parse().unwrap();
    let selector = Selector { platform: Some("linux/amd64".parse().unwrap()), from: None };
    let files = client.open(runtime.handle(), &reference, &selector).unwrap();
    let mut opened = open_image(files, &selector, Limits::default()).unwrap();
    let bundle = opened.gather_companions().map_err(|error| lighter_types::error_chain(&error))?;
    let companions = bundle.map(|bundle| {
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut bundle.reader(), &mut tar).unwrap();
        Companions::open(&tar).unwrap()
    });
    Ok((companions, opened.image().passed_over.clone()))
}

fn artifacts(companions: &Companions) -> Vec<OciDigest> {
    companions.artifacts().iter().map(|Artifact { digest, .. }| *digest).collect()
}

#[test]
fn the_list_of_the_referrers_api_comes_page_by_page_and_with_cosigns_tags() {
    let mut image = signed();
    let index = image.index.clone();
    let [one, two] = ["one", "two"].map(|kind| image.add_artifact(kind, Some(&index)));
    let of_one = image.add_artifact("of one", Some(&one));
    let signature = image.add_artifact("signature", None);
    image.tag_as(&signature, &artifact_tags(&id(&index))[1]);
    let platforms = image.platforms.clone();
    for subject in [&platforms[0], &platforms[1], &two, &of_one, &signature] {
        image.list_referrers(&id(subject).to_string(), &[]);
    }
    image.list_referrers(&id(&one).to_string(), &[&of_one]);
    image.list_referrers(&format!("{}?page=2", id(&index)), &[&two]);
    let first = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [one] }).to_string();
    let (path, registry) = (format!("/v2/a/b/referrers/{}", id(&index)), image.registry.clone());
    let next = format!("200 OK\nContent-Type: {INDEX}\nLink: <{path}?page=2>; rel=\"next\"");
    let network = Network::new(move |asked| match registry.0.get(asked.path()) {
        _ if asked.path() == path => Reply::new(&next, first.as_bytes()),
        Some((media_type, bytes)) => Reply::new(&format!("200 OK\nContent-Type: {media_type}"), bytes),
        None => Reply::status(404),
    });
    let (companions, passed_over) = gathered(&network).unwrap();
    let companions = companions.unwrap();
    let mut expected = [&one, &two, &of_one, &signature].map(id);
    expected.sort_unstable();
    assert_eq!((artifacts(&companions), passed_over), (expected.to_vec(), vec![]));
    assert_eq!(companions.top(), id(&index));
    assert_eq!(companions.referrers(&id(&index)).len(), 2);
    assert_eq!(companions.tagged(&artifact_tags(&id(&index))[1]), Some(id(&signature)));
    // Where the API answers, its tag is not asked for; and nothing is asked for twice.
    let mut paths: Vec<String> = network.asked().iter().map(|asked| asked.path().to_owned()).collect();
    assert!(!paths.iter().any(|path| path.ends_with(&artifact_tags(&id(&index))[0])), "{paths:?}");
    let count = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), count, "{paths:?}");
}

#[test]
fn a_registry_without_the_api_is_asked_for_the_tag_of_the_referrers() {
    let mut image = signed();
    let index = image.index.clone();
    let artifact = image.add_artifact("notation", Some(&index));
    let list = image.registry.add_manifest(INDEX, &json!({ "schemaVersion": 2, "manifests": [artifact] }));
    image.tag_as(&list, &artifact_tags(&id(&index))[0]);
    let network = image.registry.clone().serve();
    let (companions, passed_over) = gathered(&network).unwrap();
    let companions = companions.unwrap();
    assert_eq!((artifacts(&companions), passed_over), (vec![id(&artifact)], vec![]));
    assert_eq!(companions.tagged(&artifact_tags(&id(&index))[0]), Some(id(&list)));
    // The API is tried once.
    assert_eq!(network.asked().iter().filter(|asked| asked.path().contains("/referrers/")).count(), 1);
}

#[test]
fn an_image_without_artifacts_has_the_documents_of_its_platforms() {
    let mut image = signed();
    let (companions, passed_over) = gathered(&image.registry.clone().serve()).unwrap();
    let companions = companions.unwrap();
    assert!(companions.document(&id(&image.platforms[1])).is_some() && passed_over.is_empty());
    // A platform whose manifest the registry lost is no failure.
    image.registry.0.remove(&format!("/v2/a/b/manifests/{}", id(&image.platforms[1])));
    let (companions, passed_over) = gathered(&image.registry.serve()).unwrap();
    assert_eq!(companions.unwrap().top(), id(&image.index));
    assert_eq!(passed_over, ["1 documents of other platforms are not in the source"]);
}

#[test]
fn refusals_are_lines_and_failures_end_the_import() {
    let image = signed();
    let answers = |status: u16| {
        let registry = image.registry.clone();
        Network::new(move |asked| match registry.0.get(asked.path()) {
            Some((media_type, bytes)) => Reply::new(&format!("200 OK\nContent-Type: {media_type}"), bytes),
            None => Reply::status(status),
        })
    };
    let (companions, passed_over) = gathered(&answers(403)).unwrap();
    assert!(companions.is_some());
    // The list's tag and three of cosign's, for the index and for two platforms.
    assert_eq!(passed_over.len(), 12, "{passed_over:?}");
    assert!(passed_over[0].contains("refuses (403)"), "{passed_over:?}");
    // It asks to wait longer than an import waits.
    let registry = image.registry.clone();
    let overloaded = Network::new(move |asked| match registry.0.get(asked.path()) {
        Some((media_type, bytes)) => Reply::new(&format!("200 OK\nContent-Type: {media_type}"), bytes),
        None => Reply::new("429 X\nRetry-After: 3600", b""),
    });
    let failure = gathered(&overloaded).unwrap_err();
    assert!(failure.contains("429"), "{failure}");
}
