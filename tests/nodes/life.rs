//! A node's life: caps that change while it runs, stops and power cuts in the middle of a transfer, a full budget.
//!
//! The nodes are processes on loopback. A test cuts the power by SIGKILL, starts the node again, and looks at what is
//! left by the admin API and the metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, loopback, run, until};

fn image(seed: u64, bytes: usize) -> ImageFiles {
    images::layout(&[images::tar(&[("app", &noise(seed, bytes))])])
}

fn patch_received(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().unwrap();
    rows.iter().find(|row| row["protocol"] == "patch").unwrap()["received_bytes"].as_u64().unwrap()
}

/// A pull that runs on its own; it ends with the node.
fn pull_aside(node: &NodeProcess, name: &str) -> Child {
    let mut command = node.cli_command();
    command.args(["image", "pull", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a process")
}

#[test]
fn the_upload_cap_holds_and_can_be_changed() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("network.upload_max=\"4 Mbit/s\"");
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    hub.import(folder, &image(1, 2_000_000), "demo/app:1");
    let pulled = edge.pull("demo/app:1");
    let (bytes, took_ms) = (pulled["received_bytes"].as_u64().unwrap(), pulled["took_ms"].as_u64().unwrap());
    let rate = bytes * 8 / took_ms;
    assert!((2000..=4600).contains(&rate), "{rate} kbit/s at a cap of 4000");

    hub.cli(&["node", "limit", "--upload", "100 kbit/s"]).ok();
    hub.import(folder, &image(2, 2_000_000), "demo/app:2");
    let before = patch_received(edge);
    let mut pulling = pull_aside(edge, "demo/app:2");
    until("the transfer to begin", SOON, || (patch_received(edge) > before).then_some(()));
    let started = Instant::now();
    let limits = hub.ask(&["node", "limit", "--upload", "unlimited"]);
    assert_eq!(limits["upload_max"], "unlimited");
    edge.wait_image("demo/app:2");
    // At the old cap it would have taken 160 seconds.
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(pulling.wait().expect("the pull").success());
    hub.cli(&["node", "limit", "--upload", "fast"]).fails(2, &["fast", "Mbit/s"]);
}

/// An edge in the middle of a pull of 4 MB, with more than a megabyte on disk.
fn in_the_middle() -> (Fleet, Child) {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("network.upload_max=\"8 Mbit/s\"");
    fleet.start();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    hub.import(fleet.folder.path(), &image(3, 4_000_000), "demo/app:1");
    edge.import(fleet.folder.path(), &image(4, 100_000), "demo/before:1");
    let pulling = pull_aside(edge, "demo/app:1");
    until("half of the transfer", SOON, || (patch_received(edge) > 2_200_000).then_some(()));
    (fleet, pulling)
}

/// The pull goes on by itself and buys nothing twice but the frame that was in flight.
fn check_goes_on(mut fleet: Fleet) {
    let edge = &mut fleet.nodes[1];
    assert!(!edge.data_dir.join("admin.sock").exists() || edge.http("/healthz").is_none());
    edge.start();
    edge.wait_image("demo/app:1");
    assert!(edge.has_image("demo/before:1"));
    let received = patch_received(edge);
    assert!((1_000_000..3_200_000).contains(&received), "{received} bytes in the second life");
    until("the pull to be over", SOON, || edge.status()["pulls"].as_array()?.is_empty().then_some(()));
    assert_eq!(edge.stop(), 0);
    assert_eq!(edge.fsck()["images"], 2);
}

#[test]
fn a_pull_goes_on_after_a_power_cut() {
    let (mut fleet, mut pulling) = in_the_middle();
    fleet.nodes[1].kill9();
    assert_eq!(pulling.wait().expect("the pull").code(), Some(7));
    check_goes_on(fleet);
}

#[test]
fn a_pull_goes_on_after_a_stop() {
    let (mut fleet, mut pulling) = in_the_middle();
    let started = Instant::now();
    assert_eq!(fleet.nodes[1].stop(), 0);
    assert!(started.elapsed() < Duration::from_secs(8), "a stop takes {:?}", started.elapsed());
    assert_eq!(pulling.wait().expect("the pull").code(), Some(9));
    check_goes_on(fleet);
}

#[test]
fn a_peer_that_comes_back_after_a_power_cut_hears_the_news() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    // So long that the second connection is not taken for one of two that meet.
    until("some seconds of connection", SOON, || (hub.status()["uptime_s"].as_u64()? >= 5).then_some(()));
    edge.kill9();
    edge.start();
    let started = Instant::now();
    hub.import(&folder, &image(1, 100_000), "demo/app:1");
    edge.wait_holdings(&hub.peer_id, 1);
    edge.import(&folder, &image(2, 100_000), "demo/own:1");
    hub.wait_holdings(&edge.peer_id, 1);
    assert!(started.elapsed() < Duration::from_secs(9), "the news took {:?}", started.elapsed());
}

#[test]
fn a_stopped_node_is_forgotten_at_once() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("timing.announce_interval_s=60");
    fleet.nodes[1].set("timing.announce_interval_s=60");
    fleet.start();
    let peer = fleet.nodes[1].peer_id.clone();
    let started = Instant::now();
    assert_eq!(fleet.nodes[1].stop(), 0);
    until("the hub to forget it", SOON, || {
        fleet.nodes[0].peer(&peer).is_none_or(|peer| peer["connected"] == false).then_some(())
    });
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// `GET path` at a TCP address: status and body.
fn get(address: &str, path: &str) -> (u16, String) {
    get_with(address, path, "")
}

/// The same with more headers, each with its line end.
fn get_with(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the admin port");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Where a node's admin port listens.
fn admin_port(node: &NodeProcess) -> String {
    let log = node.log();
    let (_, address) = log.split_once("the admin API listens address=").expect("the port in the log");
    address.lines().next().expect("an address").to_owned()
}

/// Another user of the machine opens as many connections as the admin port takes, and sends nothing.
#[test]
fn silent_clients_fill_the_admin_port_and_not_the_socket() {
    let mut fleet = Fleet::create(1);
    let node = &mut fleet.nodes[0];
    node.set(format!("admin.listen=\"{}:0\"", loopback()));
    node.start_alone();
    let address = admin_port(node);
    let mut silent: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(&address).expect("the port")).collect();
    let mut next = TcpStream::connect(&address).expect("the port");
    write!(next, "GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("a request");
    assert_eq!(node.status()["peer_id"], node.peer_id.as_str());
    next.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    assert!(next.read(&mut [0]).is_err(), "a place too many");
    silent.pop();
    next.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut answer = String::new();
    next.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn monitoring_sees_a_node_over_a_loopback_port() {
    let mut fleet = Fleet::create(2);
    // The hub's address is known once it ran.
    fleet.nodes[0].start();
    fleet.nodes[0].stop();
    let edge = &mut fleet.nodes[1];
    edge.set(format!("admin.listen=\"{}:0\"", loopback()));
    edge.start_alone();
    let address = admin_port(edge);
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    // Its bootstrap peer does not run yet.
    assert_eq!(get(&address, "/readyz").0, 503);
    fleet.nodes[0].start();
    until("the edge to be ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));
    let (status, text) = get(&address, "/metrics");
    assert_eq!(status, 200);
    for line in ["lighter_peers_connected 1", "lighter_layers 0", "# EOF"] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    assert_eq!(get(&address, "/v1/status").0, 401);
    let token = std::fs::read_to_string(fleet.nodes[1].data_dir.join("admin.token")).expect("a token");
    let token = format!("authorization: Bearer {}\r\n", token.trim());
    assert_eq!(get_with(&address, "/v1/status", &format!("origin: http://evil.example\r\n{token}")).0, 403);
    let (status, body) = get_with(&address, "/v1/status", &token);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["peer_id"]), (200, &fleet.nodes[1].peer_id.clone().into()));
    assert_eq!(get_with(&address, "/v1/nothing", &token).0, 404);
    let config = fleet.nodes[1].config();
    let config = config.to_str().unwrap();
    let refused = run(&["node", "run", "--config", config, "--set", "admin.listen=\"0.0.0.0:4411\""]);
    refused.fails(8, &["admin.listen", "loopback"]);
}

#[test]
fn a_full_budget_keeps_images_and_lets_the_rest_go() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("store.bytes_max=\"11 MiB\"");
    fleet.start();
    let folder = fleet.folder.path();
    let [node, other] = &fleet.nodes[..] else { panic!("two nodes") };
    node.import(folder, &image(1, 3_000_000), "demo/kept:1");
    node.import(folder, &image(2, 5_000_000), "demo/gone:1");
    other.wait_holdings(&node.peer_id, 2);
    node.cli(&["image", "remove", "demo/gone:1"]).ok();
    node.import(folder, &image(3, 4_000_000), "demo/new:1");
    assert_eq!(node.status()["store"]["layers"], 2, "the layer that no image names made room");
    until("the fleet to hear that it went", SOON, || {
        let layers = other.peer(&node.peer_id)?["layers"].as_u64()?;
        (layers == 2).then_some(())
    });
    let path = folder.join("too-much");
    image(4, 6_000_000).write_to(&path);
    let refused = node.cli(&["image", "import", path.to_str().unwrap(), "--name", "demo/more:1"]);
    refused.fails(6, &["no room", "raise the budget"]);
    for name in ["demo/kept:1", "demo/new:1"] {
        assert!(node.has_image(name));
        other.pull(name);
    }
    assert!(!node.has_image("demo/more:1"));
    fleet.nodes[0].stop();
    fleet.nodes[0].fsck();
}

/// A layer that gave way to another is gone for a pull that comes right after, and what a pull counts on stays.
#[test]
fn releases_come_one_after_another_into_a_full_store() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[1].set("store.bytes_max=\"6 MiB\"");
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let releases = 8;
    for release in 0..releases {
        hub.import(folder, &image(release, 1_200_000), &format!("demo/app:{release}"));
    }
    edge.wait_holdings(&hub.peer_id, 8);
    for pull in 0..3 * releases {
        edge.pull(&format!("demo/app:{}", pull % releases));
        if let Some(before) = pull.checked_sub(1) {
            edge.cli(&["image", "remove", &format!("demo/app:{}", before % releases)]).ok();
        }
    }
    assert!(edge.status()["store"]["layers"].as_u64().unwrap() < 8, "the store was full");
}

/// The log goes to a pipe whose reader has ended, as a logging agent may. The node serves, and says what is lost.
#[test]
fn a_node_outlives_the_reader_of_its_log() {
    let fleet = Fleet::create(1);
    let node = &fleet.nodes[0];
    let mut command = node.run_command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a node process");
    drop(child.stderr.take());
    until("the node to tell of lost lines", SOON, || {
        let status = node.cli(&["-o", "json", "status"]);
        (status.code == 0 && status.stdout.contains("lines of the log are lost")).then_some(())
    });
    node.import(fleet.folder.path(), &image(1, 100_000), "demo/app:1");
    assert!(child.try_wait().expect("the child's status").is_none(), "it runs");
    child.kill().expect("a process to kill");
    child.wait().expect("its end");
}

/// The same of a command: it ends with the code of its failure.
#[test]
fn a_command_outlives_the_reader_of_its_notes() {
    let fleet = Fleet::create(1);
    for format in [&["status"][..], &["-o", "json", "status"]] {
        let mut command = fleet.nodes[0].cli_command();
        command.args(format).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        drop(child.stderr.take());
        assert_eq!(child.wait().expect("its end").code(), Some(7));
    }
}

/// A peer that is not there, or whose address belongs to another, is a warning of `status`.
#[test]
fn a_bootstrap_peer_out_of_reach_is_a_warning() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].start();
    let other =
        fleet.nodes[0].address().rsplit_once("/p2p/").map(|(address, _)| address.to_owned()).expect("an address");
    let wrong = format!("{other}/p2p/{}", fleet.nodes[1].peer_id);
    let mut third = Fleet::create(1);
    third.nodes[0].set("fleet.open=true");
    third.nodes[0].set(format!("network.bootstrap=[{wrong:?}]"));
    third.nodes[0].start_alone();
    until("a warning", SOON, || {
        let status = third.nodes[0].cli(&["-o", "json", "status"]);
        (status.code == 0 && status.stdout.contains("of network.bootstrap: ")).then_some(())
    });
}
