//! A source that sends a few bytes a second: a second source is tried beside it, and the faster one is kept.

use std::process::Stdio;

use crate::support::images::{self, noise};
use crate::support::{Fleet, SOON, until};

const LAYER_BYTES: u64 = 3_000_000;

#[test]
fn a_source_that_drips_is_left_for_one_that_comes_later() {
    let mut fleet = Fleet::create(3);
    let addresses = fleet.nodes[..2].iter().map(|node| node.address.clone()).collect();
    fleet.nodes[2].bootstrap = addresses;
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [first, second, edge] = &mut fleet.nodes[..] else { panic!("three nodes") };
    first.import(&folder, &images::layout(&[images::tar(&[("app", &noise(1, LAYER_BYTES as usize))])]), "demo/app:1");
    second.pull("demo/app:1");
    assert_eq!(second.stop(), 0);
    edge.wait_holdings(&first.peer_id, 1);
    // 10 KB in the time of a race; all of the layer in ten minutes.
    first.cli(&["node", "limit", "--upload", "40 kbit/s"]).ok();
    let mut pulling = edge.cli_command();
    pulling.args(["image", "pull", "demo/app:1"]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut pulling = pulling.spawn().expect("a process");
    until("bytes of the layer to come", SOON, || {
        let received = edge.status()["pulls"][0]["last"]["received_bytes"].as_u64()?;
        (received > 0).then_some(())
    });
    second.start();
    assert!(pulling.wait().expect("its end").success());
    let races = &edge.status()["races"];
    assert_eq!((races["decided"].as_u64(), races["won"].as_u64()), (Some(1), Some(1)), "{races}");
    let wasted = races["wasted_bytes"].as_u64().expect("a number");
    assert!(wasted <= LAYER_BYTES / 10 + (256 << 10) + (1 << 20), "{wasted}");
    assert!(edge.http("/metrics").expect("metrics").1.contains("\nlighter_races_won_total 1\n"));
    assert_eq!(edge.stop(), 0);
    edge.fsck();
}
