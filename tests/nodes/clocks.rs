//! Clocks that jump, and clocks that were set back or never set: an edge without a battery starts with one.
//!
//! faketime gives a node a wall clock of the test's choice; time since the start passes as it does. `make setup`
//! installs it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// The wall clock of one node.
struct Clock(PathBuf);

impl Clock {
    /// Starts a node with a clock that shows this time and goes on from there.
    #[track_caller]
    fn start(node: &mut NodeProcess, time: &str) -> Self {
        let clock = Self(node.data_dir.with_extension("clock"));
        clock.set(time);
        let mut command: Command = node.run_command();
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &clock.0);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        node.spawn(command);
        node.wait_ready();
        clock
    }

    /// Sets the clock, whether the node runs or not.
    fn set(&self, time: &str) {
        // The library reads the file at every look at the clock: it must never find half a line.
        let new = self.0.with_extension("new");
        fs::write(&new, format!("@{time}\n")).expect("a file");
        fs::rename(&new, &self.0).expect("a clock");
    }
}

/// The library that the command faketime loads.
pub fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("/usr/lib").filter_map(Result::ok);
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.is_file()).expect("faketime is installed: make setup")
}

#[track_caller]
fn wait_warning(node: &NodeProcess, text: &str) {
    until(text, SOON, || {
        let status = node.status();
        status["warnings"].as_array()?.iter().any(|warning| warning.to_string().contains(text)).then_some(())
    });
}

fn image(seed: u64) -> ImageFiles {
    images::layout(&[images::tar(&[("app", &noise(seed, 1_500_000))])])
}

fn received(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().expect("rows");
    rows.iter().filter_map(|row| row["received_bytes"].as_u64()).sum()
}

#[test]
fn clocks_that_jump_in_the_middle_of_a_pull_change_nothing() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("network.upload_max=\"8 Mbit/s\"");
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    let hub_clock = Clock::start(hub, "2026-11-29 12:00:00");
    let edge_clock = Clock::start(edge, "2026-11-29 12:00:00");
    hub.import(&folder, &image(1), "demo/app:1");
    edge.wait_holdings(&hub.peer_id, 1);
    let before = received(edge);
    std::thread::scope(|scope| {
        let pull = scope.spawn(|| edge.pull("demo/app:1"));
        for (part, hub_time, edge_time) in [
            (1, "2026-11-29 12:00:00", "2038-01-19 04:00:00"),
            (2, "1971-02-03 04:05:06", "1970-01-01 00:00:10"),
            (3, "2100-01-01 00:00:00", "2026-11-29 11:00:00"),
        ] {
            until("a part of the layer", SOON, || (received(edge) > before + part * 300_000).then_some(()));
            hub_clock.set(hub_time);
            edge_clock.set(edge_time);
        }
        pull.join().expect("a pull that succeeds");
    });
    assert!(edge.has_image("demo/app:1"));
    // The first release of this name, by the same publisher, is of a later time.
    hub_clock.set("2026-11-29 12:00:00");
    hub.import(&folder, &image(2), "demo/app:1");
    hub_clock.set("1999-12-31 23:59:59");
    let last = hub.import(&folder, &image(3), "demo/app:1");
    let pulled = edge.pull("demo/app:1");
    assert_eq!(pulled["manifest"], last, "{pulled}");
}

#[test]
fn a_node_whose_clock_was_set_back_is_heard_and_pulls() {
    let mut fleet = Fleet::create(2);
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.start();
    hub.import(&folder, &image(1), "demo/app:1");
    let _clock = Clock::start(edge, "2030-01-01 00:00:00");
    edge.import(&folder, &image(2), "demo/own:1");
    hub.wait_holdings(&edge.peer_id, 1);
    assert_eq!(edge.stop(), 0);

    // After a power cut, the clock stands where many clocks of computers begin.
    let _clock = Clock::start(edge, "1980-01-01 00:00:01");
    edge.import(&folder, &image(3), "demo/own:2");
    hub.wait_holdings(&edge.peer_id, 2);
    edge.wait_holdings(&hub.peer_id, 1);
    edge.pull("demo/app:1");
    hub.wait_holdings(&edge.peer_id, 3);
}

/// The test's nodes speak QUIC alone. Certificates of libp2p are valid from 1975 on.
#[test]
fn a_node_in_1970_connects_over_quic_and_pulls_and_says_by_how_much_it_is_behind() {
    let mut fleet = Fleet::create(2);
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.start();
    hub.import(&folder, &image(1), "demo/app:1");
    let clock = Clock::start(edge, "1970-01-01 00:10:00");
    assert!(edge.address().contains("/quic-v1/"), "{}", edge.address());
    edge.wait_holdings(&hub.peer_id, 1);
    edge.pull("demo/app:1");
    wait_warning(edge, "never set: it shows 1970-01-01T00:1");
    wait_warning(edge, "days behind that of the connected peer");
    let behind = ["demo/other:1", "also, this machine's clock was never set", "days behind"];
    edge.cli(&["image", "pull", "demo/other:1"]).fails(5, &behind);

    // Its own image travels the other way, and NTP sets the clock meanwhile.
    edge.import(&folder, &image(2), "demo/own:1");
    clock.set("2030-01-01 00:00:00");
    hub.wait_holdings(&edge.peer_id, 2);
    until("a status without a warning", SOON, || {
        let status = edge.status();
        let warnings = status["warnings"].as_array().expect("a list");
        warnings.iter().all(|warning| !warning.to_string().contains("clock")).then_some(())
    });
}

#[test]
fn a_jump_of_the_clock_is_told_in_status() {
    let mut fleet = Fleet::create(1);
    let [edge] = &mut fleet.nodes[..] else { panic!("one node") };
    let clock = Clock::start(edge, "2026-11-29 12:00:00");
    // The node has looked at it once.
    until("a second of the node's life", SOON, || (edge.status()["uptime_s"].as_u64()? >= 1).then_some(()));
    clock.set("2031-11-29 12:00:00");
    wait_warning(edge, "jumped forward by 18");
    clock.set("2026-11-29 12:00:00");
    wait_warning(edge, "jumped back by 18");
}

#[test]
fn a_pull_names_a_clock_that_was_never_set() {
    let mut fleet = Fleet::create(1);
    let [edge] = &mut fleet.nodes[..] else { panic!("one node") };
    let _clock = Clock::start(edge, "1970-01-01 00:10:00");
    edge.cli(&["image", "pull", "demo/app:1"]).fails(5, &["demo/app:1", "clock was never set"]);
}
