//! Configurations that are wrong, and machines that lack something a configuration asks for.
//!
//! Each test starts the program with such a configuration and compares the message, the place that it names, and the
//! exit code.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Fleet, NodeProcess, Run, command, finish, folder, loopback, run, run_in};

/// A file with this text, in a folder that goes with the test.
struct ConfigFile(tempfile::TempDir);

impl ConfigFile {
    fn new(text: &str) -> Self {
        let folder = folder();
        fs::write(folder.path().join("node.toml"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("node.toml")
    }

    fn check(&self) -> Run {
        run(&["config", "check", self.path().to_str().unwrap()])
    }

    /// The row of a key as `config show --origin` has it.
    fn row(&self, key: &str, environment: &[(&str, &str)], flags: &[&str]) -> Value {
        let mut show = command();
        show.envs(environment.iter().copied()).args(["-o", "json", "config", "show", "--origin"]).arg(self.path());
        for flag in flags {
            show.args(["--set", flag]);
        }
        let rows = finish(&mut show).ok().json();
        rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}")).clone()
    }
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
    let check = |text: &str, words: &[&str]| {
        let file = ConfigFile::new(text);
        file.check().fails(8, words);
        run(&["node", "run", "--config", file.path().to_str().unwrap()]).fails(8, words);
    };
    check(
        "site = \"a\"\n[network]\nmdsn = true\n",
        &["node.toml:3: ", "\"network.mdsn\"", "did you mean \"network.mdns\"?"],
    );
    check("[store]\n# comment\n\nbyte_max = \"1 GiB\"\n", &["node.toml:4: ", "did you mean \"store.bytes_max\"?"]);
    check("sites = \"a\"\n", &["node.toml:1: ", "did you mean \"site\"?"]);
    check("limits.fetch_max = 1\n", &["node.toml:1: ", "did you mean \"limits.fetches_max\"?"]);
    check("[limits]\nuplod_max = \"1 Mbit/s\"\n", &["node.toml:2: ", "did you mean \"network.upload_max\"?"]);
    check("[xyzzy]\nqwerty = 1\n", &["node.toml:2: ", "\"xyzzy.qwerty\""]);
    let other = finish(command().env("LIGHTER_NETWORK_MDSN", "true").args(["config", "show"]));
    other.fails(8, &["environment", "LIGHTER_NETWORK_MDSN", "did you mean \"LIGHTER_NETWORK_MDNS\"?"]);
    run(&["config", "show", "--set", "network.mdsn=true"]).fails(8, &["--set", "did you mean \"network.mdns\"?"]);
    run(&["config", "show", "--set", "network.mdns"]).fails(8, &["section.key=value"]);
}

#[test]
fn a_bad_value_is_told_with_its_line_and_what_would_be_right() {
    let check = |text: &str, words: &[&str]| {
        ConfigFile::new(text).check().fails(8, words);
    };
    check("[network]\nupload_max = \"fast\"\n", &["node.toml:2: network.upload_max", "fast", "20 Mbit/s"]);
    check("[network]\nmdns = \"maybe\"\n", &["node.toml:2: network.mdns", "maybe", "boolean"]);
    check("[network]\nlisten = []\n", &["node.toml:2: network.listen", "at least one"]);
    check("[network]\nlisten = [\"localhost:1\"]\n", &["node.toml:2: network.listen", "localhost:1"]);
    check("[network]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1\"]\n", &["node.toml:2: network.bootstrap", "/p2p/"]);
    check("[fleet]\nmembers = [\"me\"]\n", &["node.toml:2: fleet.members", "\"me\""]);
    check("[limits]\nfetches_max = 0\n", &["node.toml:2: limits.fetches_max", "from 1 to 64"]);
    check("[limits]\nfetches_max = -1\n", &["node.toml:2: limits.fetches_max"]);
    check("[limits]\nfetches_max = 1000\n", &["node.toml:2: limits.fetches_max", "from 1 to 64"]);
    check("[store]\nbytes_max = \"many\"\n", &["node.toml:2: store.bytes_max", "many"]);
    check("[admin]\nlisten = \"0.0.0.0:80\"\n", &["node.toml:2: admin.listen", "loopback"]);
    check("[timing]\nstall_timeout_s = 0\n", &["node.toml:2: timing.stall_timeout_s", "from 1 to 3600"]);
    check("site = \"a b\"\n", &["node.toml:1: site", "a b"]);
    check("[log]\nformat = \"xml\"\n", &["node.toml:2: log.format", "xml"]);
    check("data_dir = 7\n", &["node.toml:1: data_dir"]);
    check("this is no TOML\n", &["node.toml", "not TOML"]);
    check("[network]\nmdns = true\nmdns = true\n", &["node.toml", "duplicate key"]);
}

#[test]
fn a_bad_log_filter_is_a_bad_value() {
    ConfigFile::new("[log]\nfilter = \"a=b=c\"\n").check().fails(8, &["log.filter"]);
}

#[test]
fn a_section_that_is_a_value_and_a_value_that_is_a_section_are_refused() {
    ConfigFile::new("network = 1\n").check().fails(8, &["node.toml:1: ", "network"]);
    ConfigFile::new("[site]\nname = \"a\"\n").check().fails(8, &["node.toml:2: ", "site"]);
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let file = ConfigFile::new("site = \"file\"\n[network]\nmdns = true\n");
    let environment = [("LIGHTER_SITE", "environment"), ("LIGHTER_LIMITS_FETCHES_MAX", "7")];
    let check = |row: Value, value: Value, origin: &str| {
        assert_eq!(row["value"], value, "{row}");
        assert!(row["origin"].as_str().unwrap().contains(origin), "{row}");
    };
    check(file.row("site", &[], &[]), "file".into(), "node.toml");
    check(file.row("site", &environment, &[]), "environment".into(), "environment LIGHTER_SITE");
    check(file.row("site", &environment, &["site=flag"]), "flag".into(), "command line");
    check(file.row("site", &environment, &["site=one", "site=two"]), "two".into(), "command line");
    check(file.row("limits.fetches_max", &environment, &[]), 7.into(), "environment LIGHTER_LIMITS_FETCHES_MAX");
    check(file.row("network.mdns", &environment, &[]), true.into(), "node.toml");
    check(file.row("network.connections_max", &[], &[]), 512.into(), "default");
    let listen = "network.listen=[\"/ip4/127.0.0.1/tcp/1\"]";
    check(file.row("network.listen", &[], &[listen]), serde_json::json!(["/ip4/127.0.0.1/tcp/1"]), "command line");
}

#[test]
fn the_output_of_show_is_the_same_configuration() {
    let file = ConfigFile::new("site = \"a\"\n[store]\nbytes_max = \"3 GiB\"\n");
    let path = file.path();
    let shown = run(&["config", "show", path.to_str().unwrap(), "--set", "log.filter=warn"]).ok().stdout;
    let again = ConfigFile::new(&shown);
    again.check().ok();
    assert_eq!(run(&["config", "show", again.path().to_str().unwrap()]).ok().stdout, shown);
}

#[test]
fn a_missing_file_is_named() {
    for args in [
        &["config", "check", "/nowhere/node.toml"][..],
        &["config", "show", "/nowhere/node.toml"],
        &["node", "run", "--config", "/nowhere/node.toml"],
        &["node", "id", "--config", "/nowhere/node.toml"],
        &["store", "fsck", "--config", "/nowhere/node.toml"],
    ] {
        run(args).fails(4, &["/nowhere/node.toml"]);
    }
}

/// Runs a node that is to fail at its start.
fn start_fails(node: &NodeProcess, settings: &[String], code: i32, words: &[&str]) {
    let mut start = node.run_command();
    for setting in settings {
        start.args(["--set", setting]);
    }
    let mut ended = finish(&mut start);
    // Log lines come before the error.
    let error = ended.stderr.find("error: ").unwrap_or_else(|| panic!("no error in {ended:?}"));
    ended.stderr.drain(..error);
    ended.fails(code, words);
}

#[test]
fn a_port_in_use_is_named() {
    let fleet = Fleet::create(1);
    let node = &fleet.nodes[0];
    let udp_socket = UdpSocket::bind((loopback(), 0)).unwrap();
    let tcp_socket = TcpListener::bind((loopback(), 0)).unwrap();
    let admin_socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp, tcp) = (udp_socket.local_addr().unwrap(), tcp_socket.local_addr().unwrap());
    let quic = format!("/ip4/{}/udp/{}/quic-v1", udp.ip(), udp.port());
    start_fails(node, &[format!("network.listen=[{quic:?}]")], 6, &[&quic, "network.listen"]);
    let plain = format!("/ip4/{}/tcp/{}", tcp.ip(), tcp.port());
    start_fails(node, &[format!("network.listen=[{plain:?}]")], 6, &[&plain, "network.listen"]);
    let admin = admin_socket.local_addr().unwrap().to_string();
    start_fails(node, &[format!("admin.listen={admin:?}")], 6, &[&admin]);
}

#[test]
fn two_nodes_on_one_port() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].start();
    let taken = fleet.nodes[0].address().split("/p2p/").next().unwrap().to_owned();
    start_fails(&fleet.nodes[1], &[format!("network.listen=[{taken:?}]")], 6, &[&taken]);
    assert_eq!(fleet.nodes[0].cli(&["-o", "json", "status"]).ok().json()["peer_id"], fleet.nodes[0].peer_id.as_str());
    fleet.nodes[1].start();
}

#[test]
fn a_folder_without_a_store_stays_without() {
    let fleet = Fleet::create(1);
    let node = &fleet.nodes[0];
    let config = node.config();
    let before = fs::read_dir(&node.data_dir).expect("the data folder").count();
    for command in [&["fsck"][..], &["fsck", "--rebuild"], &["gc"], &["stats"]] {
        let args = [&["store"], command, &["--config", config.to_str().unwrap()]].concat();
        let ended = run(&args).fails(4, &["there is no store in"]);
        assert!(!ended.stderr.contains("hint:"), "the configuration was named: {ended:?}");
    }
    run_in(fleet.folder.path(), &["store", "stats"]).fails(4, &["there is no store in", "hint:", "--config"]);
    assert_eq!(fs::read_dir(&node.data_dir).expect("the data folder").count(), before);
}

#[test]
fn a_data_folder_in_use_is_named_with_who_uses_it() {
    let mut fleet = Fleet::single();
    let dir = fleet.nodes[0].data_dir.to_str().unwrap().to_owned();
    let pid = fleet.nodes[0].pid().unwrap().to_string();
    let listen = format!("network.listen=[\"/ip4/{}/udp/0/quic-v1\"]", loopback());
    start_fails(&fleet.nodes[0], &[listen], 6, &[&dir, "in use", &pid]);
    let config = fleet.nodes[0].config();
    let fsck = ["store", "fsck", "--config", config.to_str().unwrap()];
    run(&fsck).fails(6, &[&dir, "in use", &pid, "stop the node first"]);
    fleet.nodes[0].cli(&["status"]).ok();
    assert_eq!(fleet.nodes[0].stop(), 0);
    run(&fsck).ok();
    fleet.nodes[0].start();
}

#[test]
fn a_missing_or_exposed_or_broken_key_is_told_with_what_to_do() {
    let fleet = Fleet::create(1);
    let node = &fleet.nodes[0];
    let key = node.data_dir.join("identity.key");
    let name = key.to_str().unwrap();
    let id = || run(&["node", "id", "--config", node.config().to_str().unwrap()]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    start_fails(node, &[], 6, &[name, "mode 640", "chmod 600"]);
    id().fails(6, &[name, "mode 640", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read(&key).unwrap();
    for bytes in [&b""[..], b"junk", &good[..good.len() - 1]] {
        fs::write(&key, bytes).unwrap();
        start_fails(node, &[], 6, &[name, "ed25519"]);
    }
    fs::remove_file(&key).unwrap();
    start_fails(node, &[], 4, &[name, "lighter node init"]);
    id().fails(4, &[name, "lighter node init"]);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let fleet = Fleet::create(1);
    let file = fleet.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("data");
    start_fails(&fleet.nodes[0], &[format!("data_dir={:?}", below.to_str().unwrap())], 6, &[below.to_str().unwrap()]);
}
