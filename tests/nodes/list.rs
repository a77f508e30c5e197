//! Lists of layers that both ends know cost next to nothing after a restart of either.

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess};

/// An image of so many layers that no other image has.
fn image(seed: u64, layers: u64) -> ImageFiles {
    let tars: Vec<Vec<u8>> =
        (0..layers).map(|layer| images::tar(&[("file", &noise(seed * 1000 + layer, 600))])).collect();
    images::layout(&tars)
}

/// The bytes of questions, answers and announcements of a node since its start, both ways.
fn talk(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().expect("traffic").iter();
    let talk = rows.filter(|row| row["protocol"] == "ask" || row["protocol"] == "gossip");
    talk.map(|row| row["sent_bytes"].as_u64().unwrap() + row["received_bytes"].as_u64().unwrap()).sum()
}

/// 300 layers, whose list has 23 KB, and one more.
#[test]
fn a_list_that_both_ends_know_is_not_sent_after_a_restart() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    for seed in 0..3 {
        hub.import(&folder, &image(seed, 100), &format!("demo/app:{seed}"));
    }
    edge.wait_holdings(&hub.peer_id, 300);
    assert!(talk(edge) > 20_000);

    assert_eq!(edge.stop(), 0);
    edge.start();
    edge.wait_holdings(&hub.peer_id, 300);
    let unchanged = talk(edge);
    assert!((100..3_000).contains(&unchanged), "{unchanged} bytes after a restart of the edge");

    assert_eq!(hub.stop(), 0);
    hub.start();
    edge.wait_holdings(&hub.peer_id, 300);
    let unchanged = talk(hub);
    assert!((100..3_000).contains(&unchanged), "{unchanged} bytes after a restart of the hub");

    assert_eq!(edge.stop(), 0);
    hub.import(&folder, &image(9, 1), "demo/app:more");
    edge.start();
    edge.wait_holdings(&hub.peer_id, 301);
    let more = talk(edge);
    assert!((100..3_000).contains(&more), "{more} bytes for one layer more");
}
