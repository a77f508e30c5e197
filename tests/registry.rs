//! Container runtimes pull through a node, and get the very bytes that the image's registry has.
//!
//! The images are made by umoci out of tars from memory; the clients are skopeo and plain HTTP.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, finish, loopback, until};

/// A tar whose releases have most in common, of things that compress.
pub fn tar(release: u64) -> Vec<u8> {
    let lines = |seed: u64| {
        let numbers = noise(seed, 40_000);
        let lines = numbers.chunks(4).map(|n| format!("{} is told to {} by {}\n", n[0], n[1], n[2] ^ n[3]));
        lines.collect::<String>().into_bytes()
    };
    let kept: Vec<(String, Vec<u8>)> = (0..12).map(|n| (format!("usr/share/app/part-{n}"), lines(n))).collect();
    let new = lines(100 + release);
    let files = kept.iter().map(|(path, content)| (path.as_str(), content.as_slice()));
    images::tar(&files.chain([("usr/share/app/new", new.as_slice())]).collect::<Vec<_>>())
}

/// An OCI layout of one layer as umoci makes it.
pub fn umoci_layout(folder: &Path, tar: &[u8]) -> ImageFiles {
    let (layout, file) = (folder.join("layout"), folder.join("layer.tar"));
    fs::create_dir_all(folder).unwrap();
    fs::write(&file, tar).unwrap();
    let image = format!("{}:v1", layout.display());
    for args in [
        vec!["init", "--layout", layout.to_str().unwrap()],
        vec!["new", "--image", &image],
        vec!["raw", "add-layer", "--image", &image, file.to_str().unwrap()],
    ] {
        finish(Command::new("umoci").args(&args)).ok();
    }
    let mut files = ImageFiles::default();
    for name in ["index.json", "oci-layout"] {
        files.0.insert(name.to_owned(), fs::read(layout.join(name)).unwrap());
    }
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("blobs/sha256/{}", path.file_name().unwrap().to_str().unwrap());
        files.0.insert(name, fs::read(&path).unwrap());
    }
    files
}

fn blob<'a>(files: &'a ImageFiles, digest: &str) -> &'a [u8] {
    &files.0[&format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))]
}

/// The digest of an image's first layer.
pub fn layer_digest(files: &ImageFiles) -> String {
    let manifest: Value = serde_json::from_slice(blob(files, &files.manifest_digest())).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}

/// Nodes with a registry each.
fn fleet(count: usize) -> Fleet {
    let mut fleet = Fleet::create(count);
    for node in &mut fleet.nodes {
        node.set(format!("registry.listen={}:0", loopback()));
    }
    fleet
}

/// Where a node's registry listens.
pub fn registry(node: &NodeProcess) -> String {
    let log = node.log();
    let (_, address) = log.rsplit_once("the registry listens address=").expect("the address in the log");
    address.lines().next().unwrap().trim().to_owned()
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// A request with these headers, each with its line's end.
fn request(address: &str, method: &str, path: &str, headers: &str) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head, body: answer[end + 4..].to_vec() }
}

fn get(node: &NodeProcess, path: &str) -> Response {
    request(&registry(node), "GET", path, "")
}

/// The status that the node's registry answers a GET with.
pub fn status_of(node: &NodeProcess, path: &str) -> u16 {
    get(node, path).status
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Two releases by umoci: the first on all nodes, the second on the hub alone.
fn released(fleet: &mut Fleet) -> (ImageFiles, ImageFiles) {
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [first, second] = [1, 2].map(|release| umoci_layout(&folder.join(format!("umoci-{release}")), &tar(release)));
    for node in &fleet.nodes {
        node.import(&folder, &first, "demo/app:1");
    }
    assert_eq!(fleet.nodes[0].import(&folder, &second, "demo/app:2"), second.manifest_digest());
    for node in &fleet.nodes[1..] {
        node.wait_holdings(&fleet.nodes[0].peer_id, 2);
    }
    (first, second)
}

#[test]
fn skopeo_gets_the_exact_image_through_an_edge_that_got_a_patch() {
    let mut fleet = fleet(2);
    let (_, second) = released(&mut fleet);
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    let before = edge.status();
    let out = fleet.folder.path().join("out");
    let copy = |edge: &NodeProcess, tag: &str| {
        let source = format!("docker://{}/demo/app:{tag}", registry(edge));
        finish(
            Command::new("skopeo")
                .args(["copy", "--quiet", "--src-tls-verify=false", &source])
                .arg(format!("oci:{}:{tag}", out.display())),
        )
    };
    copy(edge, "2").ok();
    let copied: Value = serde_json::from_slice(&fs::read(out.join("index.json")).unwrap()).unwrap();
    assert_eq!(copied["manifests"][0]["digest"], second.manifest_digest());
    let layer = layer_digest(&second);
    assert!(fs::read(out.join("blobs/sha256").join(&layer[7..])).unwrap() == blob(&second, &layer));
    // A patch came, not the blob.
    let received = |status: &Value| {
        let rows = status["traffic"].as_array().unwrap();
        rows.iter().map(|row| row["received_bytes"].as_u64().unwrap()).sum::<u64>()
    };
    let (bytes, whole) = (received(&edge.status()) - received(&before), blob(&second, &layer).len() as u64);
    assert!(bytes * 3 < whole, "{bytes} bytes came for a blob of {whole}");
    // The image stays when its source is gone.
    assert_eq!(hub.stop(), 0);
    fs::remove_dir_all(&out).unwrap();
    copy(edge, "2").ok();
    // A restart of the edge alone changes nothing.
    edge.stop();
    edge.bootstrap.clear();
    edge.start_alone();
    fs::remove_dir_all(&out).unwrap();
    copy(edge, "2").ok();
    assert!(fs::read(out.join("blobs/sha256").join(&layer[7..])).unwrap() == blob(&second, &layer));
}

/// The client asks for the blob of a layer that takes seconds to come: the blob is there when the layer is.
#[test]
fn a_blob_is_rebuilt_while_its_layer_comes() {
    let mut fleet = fleet(2);
    let (_, second) = released(&mut fleet);
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    hub.cli(&["node", "limit", "--upload", "100 kbit/s"]).ok();
    assert_eq!(get(edge, "/v2/demo/app/manifests/2").status, 200);
    let layer = layer_digest(&second);
    let answer = get(edge, &format!("/v2/demo/app/blobs/{layer}"));
    assert!(answer.status == 200 && answer.body == blob(&second, &layer));
    assert!(edge.log().contains("a blob was rebuilt while its layer came"), "{}", edge.log());
}

/// Where no base helps and the link is fast, the blob comes as it is: nothing is encoded or rebuilt. The layer is
/// unpacked out of it, and the next release comes as a patch to it.
#[test]
fn a_node_that_has_nothing_gets_the_blob_itself() {
    let mut fleet = fleet(2);
    fleet.nodes[0].set("registry.keep_blobs=true");
    for setting in ["network.uplink_assumed=\"1 Gbit/s\"", "transfer.prefer=\"time\""] {
        fleet.nodes[1].set(setting);
    }
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let releases = [1, 2].map(|release| umoci_layout(&folder.join(format!("umoci-{release}")), &tar(release)));
    for (tag, image) in ["1", "2"].iter().zip(&releases) {
        hub.import(&folder, image, &format!("demo/app:{tag}"));
        edge.wait_holdings(&hub.peer_id, if *tag == "1" { 2 } else { 4 });
        assert_eq!(get(edge, &format!("/v2/demo/app/manifests/{tag}")).status, 200);
        let layer = layer_digest(image);
        let served = get(edge, &format!("/v2/demo/app/blobs/{layer}"));
        assert!(served.status == 200 && served.body == blob(image, &layer));
        until("the edge to have the image", SOON, || edge.has_image(&format!("demo/app:{tag}")).then_some(()));
    }
    let kept = |node: &NodeProcess, tag: &str| {
        let shown = node.cli(&["--output", "json", "image", "show", &format!("demo/app:{tag}")]).json();
        shown["blobs"][0]["kept"].clone()
    };
    assert_eq!(
        [kept(hub, "1"), kept(hub, "2")],
        [serde_json::json!(["tar", "blob"]), serde_json::json!(["tar", "blob"])]
    );
    assert_eq!([kept(edge, "1"), kept(edge, "2")], [serde_json::json!(["tar", "blob"]), serde_json::json!(["tar"])]);
}

#[test]
fn twenty_clients_at_once_share_one_pull() {
    let mut fleet = fleet(2);
    let (_, second) = released(&mut fleet);
    let edge = &fleet.nodes[1];
    let layer = layer_digest(&second);
    let address = registry(edge);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let manifest = request(&address, "GET", "/v2/demo/app/manifests/2", "");
                assert_eq!((manifest.status, sha256(&manifest.body)), (200, second.manifest_digest()));
                let served = request(&address, "GET", &format!("/v2/demo/app/blobs/{layer}"), "");
                assert!(served.status == 200 && served.body == blob(&second, &layer));
            });
        }
    });
    let log = edge.log();
    let pulled = log.lines().filter(|line| line.contains(" pulled image=\"demo/app:2\"")).count();
    assert_eq!(pulled, 1, "{log}");
}

#[test]
fn only_what_the_repository_names_is_served() {
    let mut fleet = fleet(2);
    let (first, second) = released(&mut fleet);
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let layer = layer_digest(&first);
    let manifest = first.manifest_digest();
    for (name, expected) in [("demo/app", 200), ("demo/other", 404)] {
        assert_eq!(get(edge, &format!("/v2/{name}/blobs/{layer}")).status, expected);
        assert_eq!(get(edge, &format!("/v2/{name}/manifests/{manifest}")).status, expected);
    }
    // The hub has the second release, and nobody asked the edge for it.
    assert_eq!(get(hub, &format!("/v2/demo/app/manifests/{}", second.manifest_digest())).status, 200);
    assert_eq!(get(edge, &format!("/v2/demo/app/manifests/{}", second.manifest_digest())).status, 404);
    for (path, code) in [
        ("/v2/demo/app/manifests/nobody-has-it", "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/manifests/1?ns=docker.io", "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/tags/list", "NAME_UNKNOWN"),
    ] {
        let refused = get(edge, path);
        let body: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.status, body["errors"][0]["code"].as_str()), (404, Some(code)), "{path}");
    }
    let tags: Value = serde_json::from_slice(&get(edge, "/v2/demo/app/tags/list").body).unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["1"]));
    assert_eq!(request(&registry(edge), "PUT", "/v2/demo/app/manifests/1", "content-length: 0\r\n").status, 405);
}

#[test]
fn blobs_come_in_ranges_and_every_kind_of_blob_comes_exactly() {
    let mut fleet = fleet(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    // No tool makes such gzip: its blob is kept and moved as it is. zstd likewise.
    let tars = [tar(5), tar(6), tar(7)];
    let media = [images::Media::Plain, images::Media::Gzip, images::Media::Zstd];
    let image = images::layout_of(&tars.into_iter().zip(media).collect::<Vec<_>>());
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    hub.import(&folder, &image, "demo/kinds:1");
    let answer = get(edge, "/v2/demo/kinds/manifests/1");
    assert_eq!((answer.status, sha256(&answer.body)), (200, image.manifest_digest()));
    let manifest: Value = serde_json::from_slice(&answer.body).unwrap();
    let mut digests: Vec<&str> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    digests.push(manifest["config"]["digest"].as_str().unwrap());
    for digest in digests {
        let path = format!("/v2/demo/kinds/blobs/{digest}");
        let (served, expected) = (get(edge, &path), blob(&image, digest));
        assert!(served.status == 200 && served.body == expected, "{digest}");
        let part = request(&registry(edge), "GET", &path, "range: bytes=10-99\r\n");
        assert!(part.status == 206 && part.body == expected[10..100], "{digest}: {}", part.head);
        let head = request(&registry(edge), "HEAD", &path, "");
        assert!(head.head.contains(&format!("content-length: {}", expected.len())), "{}", head.head);
    }
    until("the edge to have the image", SOON, || edge.has_image("demo/kinds:1").then_some(()));
}
