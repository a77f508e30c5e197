//! A store that is full of releases: old ones give way to new ones, and the operator hears of it before and after.

use serde_json::{Value, json};

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// An image of so many layers of 1.2 MB that do not compress and have nothing in common.
fn image(seed: u64, layers: u64) -> ImageFiles {
    let tars: Vec<_> = (0..layers).map(|n| images::tar(&[("app", &noise(seed * 100 + n, 1_200_000))])).collect();
    images::layout(&tars)
}

fn app(release: u64) -> String {
    format!("demo/app:{release}")
}

fn names(node: &NodeProcess) -> Vec<String> {
    let images = node.ask(&["image", "list"]);
    images.as_array().unwrap().iter().map(|image| image["reference"].as_str().unwrap().to_owned()).collect()
}

fn has_warned(status: &Value) -> bool {
    let warnings = status["warnings"].as_array().unwrap();
    warnings.iter().any(|text| text.as_str().unwrap().contains("the store will be full"))
}

/// Twelve releases fit only if the oldest give way. Then what must not give way fills the store.
#[test]
fn old_releases_give_way_and_a_pinned_one_stays() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[1].set("store.bytes_max=\"6 MiB\"");
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    for release in 0..12 {
        hub.import(folder, &image(release, 1), &app(release));
    }
    edge.wait_holdings(&hub.peer_id, 12);
    let mut has_warned_before = false;
    for release in 0..12 {
        edge.pull(&app(release));
        edge.cli(&["image", "pin", &app(0)]).ok();
        let (status, names) = (edge.status(), names(edge));
        has_warned_before |= has_warned(&status) && status["releases_gave_way"] == 0;
        for kept in [0, release.saturating_sub(1), release] {
            assert!(names.contains(&app(kept)), "{release}: {names:?}");
        }
    }
    assert!(has_warned_before, "status says that the store will be full before a release gives way");
    assert_eq!(names(edge), [app(0), app(10), app(11), app(9)]);
    let status = edge.status();
    assert_eq!(status["releases_gave_way"], 8);
    let gave_way = status["gave_way"].as_array().unwrap().iter().map(|release| &release["reference"]);
    assert!(gave_way.eq((1..=8).rev().map(app).collect::<Vec<_>>().iter()), "{status}");
    assert!(edge.log().contains("a release gave way: the store needed its room image=demo/app:1 "));
    assert!(edge.http("/metrics").unwrap().1.contains("\nlighter_releases_gave_way_total 8\n"));
    until("the fleet to hear of it", SOON, || {
        (hub.peer(&edge.peer_id)?["layers"] == status["store"]["layers"]).then_some(())
    });

    // Only one release may give way, and all layers of a pull must find room, or none does.
    hub.import(folder, &image(50, 3), "demo/big:1");
    hub.import(folder, &image(12, 1), &app(12));
    edge.wait_holdings(&hub.peer_id, 16);
    edge.cli(&["plan", "demo/big:1"]).ok();
    let refused = edge.cli(&["-o", "json", "image", "pull", "demo/big:1"]);
    refused.fails(6, &["no room", "raise the budget", "unpin", "store.releases_kept"]);
    // Its layer would find room, but not together with the patch that brings it.
    edge.cli(&["image", "pin", &app(9)]).ok();
    edge.cli(&["-o", "json", "image", "pull", &app(12)]).fails(6, &["no room"]);
    assert_eq!(names(edge), [app(0), app(10), app(11), app(9)]);
    assert!(has_warned(&edge.status()));

    fleet.nodes[1].stop();
    fleet.nodes[1].fsck();
    fleet.nodes[1].start();
    let edge = &fleet.nodes[1];
    assert_eq!(edge.ask(&["image", "show", &app(0)])["pinned"], true);
    edge.cli(&["image", "remove", &app(0)]).fails(2, &["pin", "image unpin"]);
    let unpinned = edge.ask(&["image", "unpin", &app(0)]);
    assert_eq!(unpinned, json!({ "reference": app(0), "pinned": false }));
    edge.wait_holdings(&fleet.nodes[0].peer_id, 16);
    edge.pull(&app(12));
    assert_eq!(names(edge), [app(10), app(11), app(12), app(9)]);
}

/// The operator of a node may want every release.
#[test]
fn every_release_stays_if_the_configuration_says_so() {
    let mut fleet = Fleet::create(1);
    for setting in ["store.bytes_max=\"6 MiB\"", "store.releases_kept=all"] {
        fleet.nodes[0].set(setting);
    }
    fleet.start();
    let node = &fleet.nodes[0];
    for release in 0..5 {
        node.import(fleet.folder.path(), &image(release, 1), &app(release));
    }
    assert!(has_warned(&node.status()));
    let path = fleet.folder.path().join("more");
    image(5, 1).write_to(&path);
    let refused = node.cli(&["image", "import", path.to_str().unwrap(), "--name", &app(5)]);
    refused.fails(6, &["no room"]);
    assert_eq!(names(node).len(), 5);
}
