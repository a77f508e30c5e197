//! An image of several platforms and all that refers to it, from a real registry through a hub to an edge, whose
//! clients see what the registry shows.
//!
//! There is no cosign and no notation here: signatures and attestations are made by hand, as those tools write them.
//! docker-registry 2.8 has no referrers API, so they stand there under the tags that the specification names. The API
//! is that of the nodes themselves: the last test imports an image from one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::images::{self, ImageFiles, Media, descriptor, noise, sha256};
use crate::support::registry::RegistryProcess;
use crate::support::{Fleet, NodeProcess, finish, loopback};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const NOTATION: &str = "application/vnd.cncf.notary.signature";

struct Response {
    status: u16,
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn send(host: &str, method: &str, path: &str, media_type: &str, body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: {media_type}\r\n\
         accept: {MANIFEST}, {INDEX}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let text = String::from_utf8(answer[..end].to_vec()).unwrap();
    // A header's value keeps its case: locations are case-sensitive.
    let head = text.lines().map(|line| match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}\n", name.to_lowercase()),
        None => format!("{line}\n"),
    });
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head: head.collect(), body: answer[end + 4..].to_vec() }
}

fn get(host: &str, path: &str) -> Response {
    send(host, "GET", path, "", b"")
}

fn head(host: &str, path: &str) -> Response {
    send(host, "HEAD", path, "", b"")
}

/// Puts a blob into demo/app: its descriptor.
fn put_blob(host: &str, media_type: &str, bytes: &[u8]) -> Value {
    let begun = send(host, "POST", "/v2/demo/app/blobs/uploads/", "", b"");
    assert_eq!(begun.status, 202, "{}", begun.head);
    let location = begun.header("location").unwrap();
    let path = &location[location.find("/v2/").unwrap()..];
    let path = format!("{path}&digest={}", sha256(bytes));
    let put = send(host, "PUT", &path, "application/octet-stream", bytes);
    assert_eq!(put.status, 201, "{}", put.head);
    descriptor(media_type, bytes)
}

/// Puts a manifest or an index into demo/app, under a tag or its digest: its descriptor.
fn put_document(host: &str, media_type: &str, document: &Value, tag: Option<&str>) -> Value {
    let bytes = document.to_string().into_bytes();
    let digest = sha256(&bytes);
    let put = send(host, "PUT", &format!("/v2/demo/app/manifests/{}", tag.unwrap_or(&digest)), media_type, &bytes);
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    descriptor(media_type, &bytes)
}

/// Puts an artifact of one blob.
fn put_artifact(host: &str, config: &str, blob: (&str, &[u8]), subject: Option<&Value>, tag: Option<&str>) -> Value {
    let config = put_blob(host, config, b"{}");
    let layer = put_blob(host, blob.0, blob.1);
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    put_document(host, MANIFEST, &manifest, tag)
}

/// Puts an image of one layer for a platform: the entry of an index.
fn put_image(host: &str, architecture: &str, tar: &[u8]) -> Value {
    let image: ImageFiles = images::layout_of(&[(tar.to_vec(), Media::Gzip)]);
    let mut manifest = image.manifest();
    let mut config = image.image_config();
    config["architecture"] = json!(architecture);
    manifest["config"] = put_blob(host, CONFIG, config.to_string().as_bytes());
    put_blob(host, "", &image.0[&image.layer_path(0)]);
    let mut entry = put_document(host, MANIFEST, &manifest, None);
    entry["platform"] = json!({ "os": "linux", "architecture": architecture });
    entry
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// cosign's tag, or with an empty suffix that of the list of referrers.
fn tag(descriptor: &Value, suffix: &str) -> String {
    format!("{}{suffix}", digest(descriptor).replace(':', "-"))
}

/// A registry with an image for two platforms and an attestation by BuildKit.
struct Upstream {
    registry: RegistryProcess,
    index: Value,
    platforms: [Value; 2],
    attestation: Value,
    /// The layer for arm64.
    other_layer: String,
}

fn upstream() -> Upstream {
    let registry = RegistryProcess::start();
    let host = registry.host.clone();
    let tar = |seed: u64| images::tar(&[("app", noise(seed, 60_000).as_slice())]);
    let platforms = [("amd64", 1), ("arm64", 2)].map(|(name, seed)| put_image(&host, name, &tar(seed)));
    let other = get(&host, &format!("/v2/demo/app/manifests/{}", digest(&platforms[1]))).json();
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1","predicate":{"sbom":"of the image"}}"#;
    let mut attestation = put_artifact(&host, CONFIG, ("application/vnd.in-toto+json", statement), None, None);
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest(&platforms[0]),
    });
    let manifests = [platforms[0].clone(), platforms[1].clone(), attestation.clone()];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let index = put_document(&host, INDEX, &index, Some("7"));
    let other_layer = digest(&other["layers"][0]).to_owned();
    Upstream { registry, index, platforms, attestation, other_layer }
}

impl Upstream {
    /// Signs as `cosign sign` does: a tag made from the digest.
    fn cosign(&self, image: &Value) -> Value {
        let payload = json!({ "critical": { "image": { "docker-manifest-digest": digest(image) } } }).to_string();
        let blob = ("application/vnd.dev.cosign.simplesigning.v1+json", payload.as_bytes());
        put_artifact(&self.registry.host, CONFIG, blob, None, Some(&tag(image, ".sig")))
    }

    /// Signs as `notation sign` does, in a registry without the referrers API.
    fn notation(&self, listed: &mut Vec<Value>, envelope: &[u8]) -> Value {
        let blob = ("application/jose+json", envelope);
        let mut signature = put_artifact(&self.registry.host, NOTATION, blob, Some(&self.index), None);
        signature["artifactType"] = json!(NOTATION);
        listed.push(signature.clone());
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        put_document(&self.registry.host, INDEX, &list, Some(&tag(&self.index, "")));
        signature
    }

    fn import(&self, hub: &NodeProcess) -> Value {
        let source = format!("docker://{}/demo/app:7", self.registry.host);
        let args = ["-o", "json", "image", "import", &source, "--insecure", "--name", "demo/app:7"];
        hub.cli(&[&args[..], &["--platform", "linux/amd64"]].concat()).ok().json()
    }
}

/// A hub, and edges with a registry each.
fn fleet(count: usize) -> Fleet {
    let mut fleet = Fleet::create(count);
    for node in &mut fleet.nodes {
        node.set(format!("registry.listen={}:0", loopback()));
    }
    fleet.start();
    fleet
}

/// Where a node's registry listens.
fn endpoint(node: &NodeProcess) -> String {
    let log = node.log();
    let (_, address) = log.rsplit_once("the registry listens address=").expect("the address in the log");
    address.lines().next().unwrap().trim().to_owned()
}

/// A node serves the same bytes, of the same kind, as the registry.
fn check_same(upstream: &str, edge: &str, path: &str) {
    let (theirs, ours) = (get(upstream, path), get(edge, path));
    assert_eq!((theirs.status, ours.status), (200, 200), "{path}: {}", String::from_utf8_lossy(&ours.body));
    assert!(theirs.body == ours.body, "{path}");
    if path.contains("/manifests/") {
        for header in ["content-type", "docker-content-digest", "content-length"] {
            assert_eq!(theirs.header(header), ours.header(header), "{path}");
            assert_eq!(head(edge, path).header(header), ours.header(header), "HEAD {path}");
        }
    }
}

#[test]
fn an_edge_shows_what_the_registry_shows() {
    let upstream = upstream();
    let cosign = [&upstream.index, &upstream.platforms[0]].map(|image| upstream.cosign(image));
    let mut listed = Vec::new();
    let notation = upstream.notation(&mut listed, b"envelope one");
    let fleet = fleet(2);
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let imported = upstream.import(hub);
    assert_eq!(imported["manifest"], upstream.platforms[0]["digest"]);
    assert_eq!(imported["passed_over"], json!([]));

    // The tag is the first that a runtime asks for. Nothing was pulled before.
    let (host, node) = (upstream.registry.host.as_str(), endpoint(edge));
    check_same(host, &node, "/v2/demo/app/manifests/7");
    let [amd64, arm64] = &upstream.platforms;
    for document in [&upstream.index, amd64, arm64, &upstream.attestation, &cosign[0], &notation] {
        check_same(host, &node, &format!("/v2/demo/app/manifests/{}", digest(document)));
    }
    for (image, suffix) in [(&upstream.index, ".sig"), (amd64, ".sig"), (&upstream.index, "")] {
        check_same(host, &node, &format!("/v2/demo/app/manifests/{}", tag(image, suffix)));
    }
    for document in [amd64, arm64, &upstream.attestation, &cosign[0], &notation] {
        let manifest = get(host, &format!("/v2/demo/app/manifests/{}", digest(document))).json();
        check_same(host, &node, &format!("/v2/demo/app/blobs/{}", digest(&manifest["config"])));
        if document != arm64 {
            check_same(host, &node, &format!("/v2/demo/app/blobs/{}", digest(&manifest["layers"][0])));
        }
    }
    // The layers of other platforms, and signatures that nobody made, are somewhere else.
    for path in [
        format!("/v2/demo/app/blobs/{}", upstream.other_layer),
        format!("/v2/demo/app/manifests/{}", tag(arm64, ".sig")),
        format!("/v2/demo/other/manifests/{}", digest(&upstream.index)),
        format!("/v2/demo/other/referrers/{}", digest(&upstream.index)),
    ] {
        assert_eq!(get(&node, &path).status, 404, "{path}");
    }
    let path = format!("/v2/demo/app/referrers/{}", digest(&upstream.index));
    let referrers = get(&node, &path);
    assert_eq!((referrers.status, referrers.header("content-type")), (200, Some(INDEX)));
    let mut expected = notation.clone();
    expected["artifactType"] = json!(NOTATION);
    assert_eq!(referrers.json()["manifests"], json!([expected]));
    for (kind, count) in [(NOTATION, 1), ("application/other", 0)] {
        let filtered = get(&node, &format!("{path}?artifactType={kind}"));
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), count, "{kind}");
    }
    let tags = get(&node, "/v2/demo/app/tags/list").json();
    assert_eq!(tags["tags"].as_array().unwrap().len(), 4, "{tags}");
    let shown = edge.ask(&["image", "show", "demo/app:7"]);
    assert_eq!((&shown["index"], &shown["manifest"]), (&upstream.index["digest"], &amd64["digest"]));
    assert_eq!(shown["artifacts"].as_array().unwrap().len(), 4, "{shown}");

    // skopeo finds its platform below the index, as at the registry.
    let out = format!("oci:{}", fleet.folder.path().join("out").display());
    let source = format!("docker://{node}/demo/app:7");
    let copy = ["--override-arch=amd64", "copy", "-q", "--src-tls-verify=false", &source, &out];
    finish(Command::new("skopeo").args(copy)).ok();
    let raw = finish(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &source])).ok();
    assert_eq!(sha256(raw.stdout.as_bytes()), digest(&upstream.index));
}

#[test]
fn an_artifact_that_came_later_arrives_with_the_next_pull_of_the_tag() {
    let upstream = upstream();
    let mut listed = Vec::new();
    upstream.notation(&mut listed, &noise(7, 200_000));
    let fleet = fleet(2);
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    upstream.import(hub);
    edge.pull("demo/app:7");
    let second = upstream.notation(&mut listed, b"envelope two");
    let imported = upstream.import(hub);
    assert_eq!(imported["manifest"], upstream.platforms[0]["digest"]);
    let path = format!("/v2/demo/app/manifests/{}", digest(&second));
    assert_eq!(get(&endpoint(edge), &path).status, 404);
    let done = edge.pull("demo/app:7");
    check_same(&upstream.registry.host, &endpoint(edge), &path);
    // A patch to the first release's companions came, not the 200 KB of the first signature.
    let received = done["received_bytes"].as_u64().unwrap();
    assert!(received < 30_000, "{done}");
    let referrers = get(&endpoint(edge), &format!("/v2/demo/app/referrers/{}", digest(&upstream.index))).json();
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_node_is_a_registry_for_another_import_and_layouts_keep_what_refers_to_their_image() {
    let upstream = upstream();
    let cosign = upstream.cosign(&upstream.index);
    let mut listed = Vec::new();
    let notation = upstream.notation(&mut listed, b"envelope");
    let fleet = fleet(1);
    let hub = &fleet.nodes[0];
    upstream.import(hub);
    // By the referrers API of the node, and cosign's tags.
    let source = format!("docker://{}/demo/app:7", endpoint(hub));
    let args = ["-o", "json", "image", "import", &source, "--insecure", "--platform", "linux/amd64"];
    let copied = hub.cli(&[&args[..], &["--name", "copy/app:7"]].concat()).ok().json();
    assert_eq!(copied["passed_over"], json!([]), "{copied}");
    // A layout by skopeo, with the index whole.
    let layout = fleet.folder.path().join("layout");
    let source = format!("docker://{}/demo/app:7", upstream.registry.host);
    let copy = [
        "copy",
        "-q",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        &source,
        &format!("oci:{}:7", layout.display()),
    ];
    finish(Command::new("skopeo").args(copy)).ok();
    let layout = layout.to_str().unwrap();
    hub.cli(&["image", "import", layout, "--name", "layout/app:7", "--platform", "linux/amd64"]).ok();
    for name in ["copy/app", "layout/app"] {
        let node = endpoint(hub);
        let tagged = get(&node, &format!("/v2/{name}/manifests/7"));
        assert_eq!((tagged.status, sha256(&tagged.body).as_str()), (200, digest(&upstream.index)), "{name}");
        let attestation = get(&node, &format!("/v2/{name}/manifests/{}", digest(&upstream.attestation)));
        assert_eq!(attestation.status, 200, "{name}");
        let signatures = [&cosign, &notation]
            .map(|signature| get(&node, &format!("/v2/{name}/manifests/{}", digest(signature))).status);
        // skopeo copies an image alone.
        assert_eq!(signatures, if name == "copy/app" { [200, 200] } else { [404, 404] }, "{name}");
    }
}

#[test]
fn an_image_that_a_policy_brings_from_upstream_is_what_its_registry_shows() {
    let upstream = upstream();
    let cosign = upstream.cosign(&upstream.index);
    let notation = upstream.notation(&mut Vec::new(), b"envelope");
    let host = upstream.registry.host.as_str();
    let mut fleet = Fleet::create(1);
    let node = &mut fleet.nodes[0];
    node.set(format!("registry.listen={}:0", loopback()));
    let policy = format!(
        "\n[upstream.\"{host}\"]\ninsecure = true\n\n[[registry.policy]]\nrepositories = [\"{host}/demo/*\"]\n\
         resolve = [\"upstream\"]\n"
    );
    let config = std::fs::read_to_string(node.config()).unwrap();
    std::fs::write(node.config(), config + &policy).unwrap();
    fleet.start();
    // As containerd asks: the registry's name is a parameter.
    let endpoint = endpoint(&fleet.nodes[0]);
    let same = |kind: &str, reference: &str| {
        check_same(host, &endpoint, &format!("/v2/demo/app/{kind}/{reference}?ns={host}"));
    };
    same("manifests", "7");
    let own = usize::from(std::env::consts::ARCH == "aarch64");
    for document in [&upstream.index, &upstream.platforms[0], &upstream.platforms[1], &upstream.attestation] {
        same("manifests", digest(document));
    }
    for reference in [tag(&upstream.index, ".sig"), tag(&upstream.index, "")] {
        same("manifests", &reference);
    }
    for document in [&upstream.platforms[own], &upstream.attestation, &cosign, &notation] {
        same("manifests", digest(document));
        let manifest = get(host, &format!("/v2/demo/app/manifests/{}", digest(document))).json();
        for blob in [&manifest["config"], &manifest["layers"][0]] {
            same("blobs", digest(blob));
        }
    }
    let referrers = get(&endpoint, &format!("/v2/demo/app/referrers/{}?ns={host}", digest(&upstream.index))).json();
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 1, "{referrers}");
}

#[test]
fn an_exported_archive_keeps_the_index_and_the_signatures() {
    let upstream = upstream();
    let cosign = upstream.cosign(&upstream.index);
    let fleet = fleet(1);
    let hub = &fleet.nodes[0];
    upstream.import(hub);
    let path = fleet.folder.path().join("app.tar");
    let archive = path.to_str().unwrap();
    let export = ["-o", "json", "image", "export", "demo/app:7", archive, "--format", "oci-archive", "--exact"];
    let exported = hub.cli(&export).ok().json();
    assert_eq!(exported["manifest"], upstream.platforms[0]["digest"], "{exported}");
    // skopeo finds the index under the name.
    let source = format!("oci-archive:{archive}:demo/app:7");
    let raw = finish(Command::new("skopeo").args(["inspect", "--raw", &source])).ok();
    assert_eq!(sha256(raw.stdout.as_bytes()), digest(&upstream.index));
    hub.cli(&["image", "import", archive, "--name", "again/app:7", "--platform", "linux/amd64"]).ok();
    let node = endpoint(hub);
    for (reference, expected) in [("7".to_owned(), &upstream.index), (tag(&upstream.index, ".sig"), &cosign)] {
        let found = get(&node, &format!("/v2/again/app/manifests/{reference}"));
        assert_eq!((found.status, sha256(&found.body).as_str()), (200, digest(expected)), "{reference}");
    }
}
