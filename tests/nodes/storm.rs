//! Many edges ask one hub at the same moment: each request is served or told to come back, and none is lost.

use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess};

const EDGES: usize = 12;
const LAYERS: usize = 8;

/// The lines of a pull, as JSON, up to its end.
fn pull(edge: &NodeProcess) -> String {
    edge.cli(&["-o", "json", "image", "pull", "demo/storm:1"]).ok().stdout
}

fn metric(node: &NodeProcess, name: &str) -> u64 {
    let (_, text) = node.http("/metrics").expect("metrics");
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is not in {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn of_a_storm_of_pulls_no_request_is_lost() {
    let mut fleet = Fleet::create(1 + EDGES);
    // Patches come from the hub alone, as they do for edges that cannot reach each other.
    fleet.nodes[0].set("limits.copies_max=0");
    fleet.start();
    let (hub, edges) = fleet.nodes.split_first().expect("a hub");
    let tars: Vec<Vec<u8>> =
        (0..LAYERS).map(|layer| images::tar(&[("app", &noise(layer as u64 + 1, 300_000))])).collect();
    hub.import(fleet.folder.path(), &images::layout(&tars), "demo/storm:1");
    let pulls: Vec<String> = std::thread::scope(|scope| {
        let pulls: Vec<_> = edges.iter().map(|edge| scope.spawn(|| pull(edge))).collect();
        pulls.into_iter().map(|pull| pull.join().expect("a pull that succeeds")).collect()
    });
    for (edge, pulled) in edges.iter().zip(pulls) {
        assert!(!pulled.contains("the peer was lost"), "{pulled}");
        assert!(!edge.log().contains("the peer was lost"), "{}", edge.log());
        edge.wait_image("demo/storm:1");
    }
    assert_eq!(metric(hub, "lighter_streams_reset_total"), 0);
    assert_eq!(metric(hub, "lighter_streams_queued"), 0);
}
