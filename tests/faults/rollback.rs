//! A data folder that is put back to an older state, as by a snapshot or a backup of the disk. The node is then one
//! that holds less, and it catches up; no other node takes it for a liar.

use std::path::Path;
use std::process::Command;

use crate::support::images::{self, two_releases};
use crate::support::{Fleet, NodeProcess, SOON, until};

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--"]).arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}

/// Puts the data folder of a node that does not run back to a copy.
fn put_back(node: &NodeProcess, before: &Path) {
    std::fs::remove_dir_all(&node.data_dir).expect("the folder to go");
    copy(before, &node.data_dir);
}

#[track_caller]
fn wait_layers(node: &NodeProcess, peer: &NodeProcess, layers: u64) {
    let told = || (node.peer(&peer.peer_id)?["layers"].as_u64()? == layers).then_some(());
    until("the layers of a peer to be heard of", SOON, told);
}

#[test]
fn nodes_that_are_put_back_in_time_catch_up() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let (first, second) = two_releases(1, 1 << 20);
    let [first, second] = [first, second].map(|tar| images::layout(&[tar]));
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.import(&folder, &first, "demo/app:1");
    edge.pull("demo/app:1");
    let before = folder.join("edge-before");
    assert_eq!(edge.stop(), 0);
    copy(&edge.data_dir, &before);
    edge.start();
    hub.import(&folder, &second, "demo/app:2");
    edge.pull("demo/app:2");
    wait_layers(hub, edge, 2);

    assert_eq!(edge.stop(), 0);
    put_back(edge, &before);
    edge.start();
    assert!(edge.has_image("demo/app:1") && !edge.has_image("demo/app:2"));
    wait_layers(hub, edge, 1);
    edge.wait_holdings(&hub.peer_id, 2);
    let pulled = edge.pull("demo/app:2");
    assert_eq!(pulled["layers"][0]["bases"].as_array().expect("bases").len(), 1, "{pulled}");
    for (node, peer) in [(&*edge, &*hub), (&*hub, &*edge)] {
        assert_eq!(node.peer(&peer.peer_id).expect("a peer")["cut_off"], false);
    }

    // The publisher itself: it has its release back from the edge, signed by itself.
    assert_eq!(hub.stop(), 0);
    let hub_before = folder.join("hub-before");
    copy(&hub.data_dir, &hub_before);
    hub.start();
    edge.wait_peers(1);
    hub.cli(&["image", "remove", "demo/app:2"]).ok();
    let third = images::layout(&[images::tar(&[("app", &images::noise(9, 100_000))])]);
    hub.import(&folder, &third, "demo/app:2");
    let newer = edge.pull("demo/app:2")["manifest"].clone();
    assert_eq!(hub.stop(), 0);
    put_back(hub, &hub_before);
    hub.start();
    hub.wait_holdings(&edge.peer_id, 3);
    assert_eq!(hub.pull("demo/app:2")["manifest"], newer);
    for node in &mut fleet.nodes {
        assert_eq!(node.stop(), 0);
        node.fsck();
    }
}
