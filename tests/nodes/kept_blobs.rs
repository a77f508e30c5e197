//! Blobs that no recipe makes give way when the store is full: a clean miss for runtimes, and nothing that the image
//! lacks.

use std::process::Command;

use crate::registry::{layer_digest, status_of, tar};
use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess, finish};

const KEPT: &str = "demo/kept:1";

/// The image's one blob as `image show` has it: what makes it, and what is kept.
fn shown(node: &NodeProcess) -> (String, Vec<String>) {
    let blob = &node.ask(&["image", "show", KEPT])["blobs"][0];
    let kept = blob["kept"].as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned());
    (blob["made_by"].as_str().unwrap().to_owned(), kept.collect())
}

fn expected(kept: &[&str]) -> (String, Vec<String>) {
    ("verbatim".to_owned(), kept.iter().map(|&part| part.to_owned()).collect())
}

#[test]
fn a_kept_blob_gives_way_and_is_a_clean_miss() {
    let mut fleet = Fleet::create(2);
    // No recipe makes this zstd.
    let image = images::layout_of(&[(tar(1), images::Media::Zstd)]);
    let blob = layer_digest(&image);
    let blob_bytes = image.0[&images::blob_path(&blob)].len();
    let other = images::layout(&[images::tar(&[("app", &noise(1, blob_bytes / 2))])]);
    let budget = tar(1).len() + blob_bytes + blob_bytes / 4;
    fleet.nodes[0].set(format!("store.bytes_max=\"{} KiB\"", budget >> 10));
    for node in &mut fleet.nodes {
        node.set(format!("registry.listen={}:0", crate::support::loopback()));
    }
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.import(&folder, &image, KEPT);
    let (manifest, blob) =
        (format!("/v2/demo/kept/manifests/{}", image.manifest_digest()), format!("/v2/demo/kept/blobs/{blob}"));
    assert_eq!(shown(hub), expected(&["tar", "blob"]));
    assert_eq!([status_of(hub, &manifest), status_of(hub, &blob)], [200, 200]);

    hub.import(&folder, &other, "demo/other:1");
    assert_eq!(shown(hub), expected(&["tar"]));
    assert_eq!([status_of(hub, &manifest), status_of(hub, &blob)], [200, 404]);
    assert!(hub.log().contains("a kept blob gave way"), "{}", hub.log());
    let status = hub.status();
    assert!(!status["warnings"].to_string().contains("fetches it again"), "{status}");
    assert_eq!(status["releases_gave_way"], 0);

    // A restart changes nothing, and fsck finds nothing.
    assert_eq!(hub.stop(), 0);
    finish(Command::new(crate::support::lighter()).args(["store", "fsck", "--config"]).arg(hub.config())).ok();
    hub.start_alone();
    assert_eq!(shown(hub), expected(&["tar"]));
    assert_eq!([status_of(hub, &manifest), status_of(hub, &blob)], [200, 404]);

    // A node that would keep the blob gets the image without it.
    edge.wait_holdings(&hub.peer_id, 2);
    edge.pull(KEPT);
    assert_eq!([status_of(edge, &manifest), status_of(edge, &blob)], [200, 404]);

    // An import brings it back, in a store with room.
    edge.import(&folder, &image, "demo/again:1");
    assert_eq!(shown(edge), expected(&["tar", "blob"]));
    assert_eq!(status_of(edge, &blob), 200);
}
