//! The meaning of a name: the newest release that a trusted publisher signed, or a digest.

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

fn image(seed: u64) -> ImageFiles {
    images::layout(&[images::tar(&[("app", &noise(seed, 200_000))])])
}

#[test]
fn an_image_is_pulled_by_its_digest() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let (one, two) = (hub.import(folder, &image(1), "demo/app:1"), hub.import(folder, &image(2), "demo/app:2"));
    assert_eq!(edge.pull(&one)["manifest"], one.as_str());
    assert_eq!(edge.pull(&format!("demo/app@{two}"))["manifest"], two.as_str());
    // The name that a digest has here can be exported and removed like any other.
    let name = format!("{}:latest", one.replace(':', "/"));
    let out = folder.join("out");
    edge.cli(&["image", "export", &name, out.to_str().unwrap()]).ok();
    assert_eq!(edge.ask(&["image", "show", &name])["publisher"], serde_json::Value::Null);
    edge.cli(&["image", "remove", &name]).ok();
    assert!(!edge.has_image(&name));
    let unknown = format!("sha256:{}", "0".repeat(64));
    edge.cli(&["image", "pull", &unknown]).fails(5, &[&unknown, "no connected peer has"]);
}

#[test]
fn of_two_releases_of_a_name_the_newest_holds() {
    let mut fleet = Fleet::create(3);
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, near, far] = &fleet.nodes[..] else { panic!("three nodes") };
    let first = hub.import(folder, &image(1), "demo/app:latest");
    assert_eq!(near.pull("demo/app:latest")["manifest"], first.as_str());
    let second = hub.import(folder, &image(2), "demo/app:latest");
    // The near node answers with the first release, the hub with the second.
    assert_eq!(far.pull("demo/app:latest")["manifest"], second.as_str());
    assert_eq!(near.pull("demo/app:latest")["manifest"], second.as_str());
    assert_eq!(near.ask(&["image", "show", "demo/app:latest"])["publisher"], hub.peer_id.as_str());
}

#[test]
fn a_release_of_an_unknown_publisher_is_not_believed() {
    let mut fleet = Fleet::create(3);
    fleet.nodes[1].set("timing.patience_s=3");
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, victim, stranger] = &fleet.nodes[..] else { panic!("three nodes") };
    let good = hub.import(folder, &image(1), "demo/app:1");
    let bad = stranger.import(folder, &image(2), "demo/app:1");
    stranger.import(folder, &image(3), "demo/other:1");
    assert_eq!(victim.pull("demo/app:1")["manifest"], good.as_str());
    let by = format!("there is one by {}, which is not in fleet.publishers", stranger.peer_id);
    victim.cli(&["image", "pull", "demo/other:1"]).fails(5, &["demo/other:1", "signed by a trusted publisher", &by]);
    // A digest says itself what it is: whoever has it may send it.
    assert_eq!(victim.pull(&bad)["manifest"], bad.as_str());
    // Nobody was cut off for having an opinion.
    assert_eq!(victim.peer(&stranger.peer_id).unwrap()["cut_off"], false);
}

#[test]
fn a_node_with_another_nodes_identity_is_noticed() {
    // Both connect to the hub, in turns or at once.
    let mut fleet = Fleet::create(3);
    let key = "identity.key";
    std::fs::copy(fleet.nodes[1].data_dir.join(key), fleet.nodes[2].data_dir.join(key)).expect("a key");
    let identity = fleet.nodes[1].peer_id.clone();
    let address = fleet.nodes[0].address.clone();
    for node in &mut fleet.nodes[1..] {
        node.bootstrap = vec![address.clone()];
    }
    fleet.nodes.iter_mut().for_each(NodeProcess::start);
    let hub = &fleet.nodes[0];
    let warning = format!("two running nodes use the identity {identity}");
    until("the hub to notice", SOON, || {
        let status = hub.status();
        let warnings = status["warnings"].as_array()?;
        warnings.iter().any(|text| text.as_str().unwrap().starts_with(&warning)).then_some(())
    });
    let log = hub.log();
    let line = log.lines().find(|line| line.contains("two running nodes use")).expect("a line in the log");
    assert!(line.contains("ERROR") && line.contains(&identity), "{line}");
}
