//! Releases between real nodes: several publishers, a handover, an end, and a memory that survives a removal.

use std::fs;

use crate::support::Fleet;
use crate::support::images::{self, ImageFiles, noise};

const NAME: &str = "demo/app:1";

fn image(seed: u64) -> ImageFiles {
    images::layout(&[images::tar(&[("app", &noise(seed, 100_000))])])
}

fn release_of(node: &crate::support::NodeProcess) -> String {
    node.cli(&["release", "export", NAME]).ok().stdout
}

#[test]
fn an_edge_takes_what_two_of_two_publishers_signed() {
    let mut fleet = Fleet::create(3);
    let publishers = [fleet.nodes[0].peer_id.clone(), fleet.nodes[1].peer_id.clone()];
    for node in &mut fleet.nodes {
        node.set("timing.patience_s=2");
        node.set(format!("images.scope=[{{repositories=[\"demo/*\"],publishers={publishers:?},threshold=2}}]"));
    }
    fleet.start();
    let folder = fleet.folder.path();
    let [first, second, edge] = &fleet.nodes[..] else { panic!("three nodes") };
    let manifest = first.import(folder, &image(1), NAME);
    edge.cli(&["image", "pull", NAME]).fails(5, &["with 1 of the 2 signatures that demo/app needs"]);
    // The second publisher looks at the image before it signs.
    let file = folder.join("app.release");
    let path = file.to_str().unwrap();
    fs::write(&file, release_of(first)).unwrap();
    second.cli(&["release", "cosign", path]).fails(4, &["is not on this node"]);
    second.pull(&manifest);
    fs::write(&file, second.cli(&["release", "cosign", path]).ok().stdout).unwrap();
    second.cli(&["release", "cosign", path]).fails(2, &["has signed this release before"]);
    first.cli(&["release", "add", path]).ok();
    assert_eq!(edge.pull(NAME)["manifest"], manifest.as_str());
    assert_eq!(edge.ask(&["image", "show", NAME])["cosigners"][0], second.peer_id.as_str());
}

#[test]
fn an_older_release_is_refused_after_a_removal_until_the_newer_one_is_forgotten() {
    let mut fleet = Fleet::create(3);
    for node in &mut fleet.nodes {
        node.set("timing.patience_s=2");
    }
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge, liar] = &mut fleet.nodes[..] else { panic!("three nodes") };
    let older = hub.import(&folder, &image(1), NAME);
    liar.pull(NAME);
    let newer = hub.import(&folder, &image(2), NAME);
    assert_eq!(edge.pull(NAME)["manifest"], newer.as_str());
    // The liar keeps the older release, and the hub is gone.
    hub.stop();
    edge.cli(&["image", "remove", NAME]).ok();
    edge.stop();
    fs::remove_dir_all(edge.data_dir.join("index")).unwrap();
    crate::support::run(&["store", "fsck", "--rebuild", "--set", &format!("data_dir={}", edge.data_dir.display())]);
    edge.start();
    edge.wait_peers(1);
    edge.cli(&["image", "pull", NAME]).fails(5, &["that is not newer than one seen here", "release forget"]);
    edge.cli(&["release", "forget", NAME]).ok();
    edge.cli(&["release", "forget", NAME]).fails(4, &["no release of demo/app:1 was seen"]);
    assert_eq!(edge.pull(NAME)["manifest"], older.as_str());
}

#[test]
fn a_repository_goes_over_to_another_key_in_the_whole_fleet() {
    let mut fleet = Fleet::create(3);
    fleet.nodes[2].set("timing.patience_s=2");
    fleet.start();
    let folder = fleet.folder.path();
    let [old, new, edge] = &fleet.nodes[..] else { panic!("three nodes") };
    let first = old.import(folder, &image(1), NAME);
    assert_eq!(edge.pull(NAME)["manifest"], first.as_str());
    let file = folder.join("demo.handover");
    let handover = old.cli(&["release", "handover", "demo/app", "--to", &new.peer_id]).ok().stdout;
    fs::write(&file, handover).unwrap();
    new.cli(&["release", "add", file.to_str().unwrap()]).ok();
    let second = new.import(folder, &image(2), NAME);
    // The first pull may ask the new publisher before it hears of the handover; the second one knows it.
    edge.pull(NAME);
    assert_eq!(edge.pull(NAME)["manifest"], second.as_str());
    assert_eq!(edge.ask(&["image", "show", NAME])["publisher"], new.peer_id.as_str());
    // The old key signs later, and that does not count.
    old.import(folder, &image(3), NAME);
    assert_eq!(edge.pull(NAME)["manifest"], second.as_str());
}

#[test]
fn a_release_that_has_ended_is_told_and_held_back() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[1].set("timing.patience_s=2");
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.import(&folder, &image(1), NAME);
    hub.cli(&["release", "sign", NAME, "--expires", "1s"]).ok();
    edge.pull(NAME);
    let status = crate::support::until("the end of the release", crate::support::SOON, || {
        let status = edge.status();
        (status["releases_expired"] == 1).then_some(status)
    });
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("the release of demo/app:1 by") && warnings.contains("counts all the same"),
        "{warnings}"
    );
    edge.pull(NAME);
    edge.stop();
    edge.set("images.expired=hold");
    edge.start();
    edge.wait_peers(1);
    edge.cli(&["image", "pull", NAME]).fails(5, &["there is one by", "that expired on"]);
    hub.cli(&["release", "sign", NAME, "--expires", "90d"]).ok();
    edge.pull(NAME);
    assert_eq!(edge.status()["releases_expired"], 0);
}
