//! Imports out of a real registry.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::images::{self, noise, sha256};
use crate::support::registry::RegistryProcess;
use crate::support::{Fleet, NodeProcess, Run, loopback, until};

fn import(node: &NodeProcess, source: &str, more: &[&str]) -> Run {
    node.cli(&[&["-o", "json", "image", "import", source], more].concat())
}

fn blob_gets(registry: &RegistryProcess) -> usize {
    registry.logged("\"GET /v2/demo/app/blobs/")
}

#[test]
fn an_image_comes_from_a_registry_with_its_own_digest() {
    let registry = RegistryProcess::start();
    let base = images::tar(&[("base", &noise(1, 300_000))]);
    let tars = [base.clone(), images::tar(&[("app", &noise(2, 90_000))])];
    let digest = registry.push(&images::layout(&tars), "demo/app:1");
    let mut fleet = Fleet::create(2);
    fleet.start();
    let hub = &fleet.nodes[0];
    let name = format!("{}/demo/app:1", registry.host);
    let imported = import(hub, &format!("docker://{name}"), &["--insecure"]).ok().json();
    assert_eq!((&imported["reference"], &imported["manifest"]), (&name.clone().into(), &digest.clone().into()));
    let layers: Vec<&str> =
        imported["layers"].as_array().unwrap().iter().map(|layer| layer["diff_id"].as_str().unwrap()).collect();
    assert_eq!(layers, tars.iter().map(|tar| sha256(tar)).collect::<Vec<_>>());
    // The same digest arrives at an edge, by the release.
    fleet.nodes[1].cli(&["image", "pull", &name]).ok();
    assert_eq!(fleet.nodes[1].ask(&["image", "show", &name])["manifest"], digest.as_str());
    let status = hub.ask(&["status"]);
    let traffic = status["traffic"].as_array().unwrap();
    let of_registries = traffic.iter().find(|row| row["protocol"] == "registry").unwrap();
    assert!(of_registries["received_bytes"].as_u64().unwrap() > 390_000, "{of_registries}");

    // The second release shares a layer, whose blob the hub has checked before: it does not cross the network again.
    let before = blob_gets(&registry);
    let second = images::layout(&[base, images::tar(&[("app", &noise(3, 90_000))])]);
    let digest = registry.push(&second, "demo/app:2");
    let before = before.max(blob_gets(&registry));
    let source = format!("docker://{}/demo/app@{digest}", registry.host);
    import(hub, &source, &["--insecure"]).fails(2, &["has no name", "--name"]);
    let imported = import(hub, &source, &["--insecure", "--name", "demo/app:2"]).ok().json();
    assert_eq!((&imported["reference"], &imported["manifest"]), (&"demo/app:2".into(), &digest.into()));
    assert_eq!(imported["layers"][0]["held_before"], true);
    // Twice the config, and the other layer.
    until("the registry's log", Duration::from_secs(30), || (blob_gets(&registry) >= before + 3).then_some(()));
    assert_eq!(blob_gets(&registry), before + 3);
}

#[test]
fn a_private_registry_wants_its_certificate_and_credentials() {
    let registry = RegistryProcess::start_private();
    let digest = registry.push(&images::layout(&[images::tar(&[("app", &noise(4, 50_000))])]), "demo/app:1");
    let source = format!("docker://{}/demo/app:1", registry.host);
    let mut fleet = Fleet::create(1);
    let node = &mut fleet.nodes[0];
    node.start();
    import(node, &source, &[]).fails(5, &["cannot get manifest 1 of demo/app", &registry.host, "certificate", "`ca`"]);
    node.stop();
    let key = |name: &str| format!("upstream.\"{}\".{name}", registry.host);
    node.set(format!("{}={:?}", key("ca"), registry.path("certs/ca.crt")));
    node.start();
    import(node, &source, &[]).fails(5, &["401", "without credentials", "`auth_file`"]);
    node.stop();
    let auth_file = registry.path("config.json");
    let entry = |auth: &str| format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.host);
    node.set(format!("{}={auth_file:?}", key("auth_file")));
    node.start();
    import(node, &source, &[]).fails(6, &["credentials", "config.json"]);
    // ann:wrong
    fs::write(&auth_file, entry("YW5uOndyb25n")).unwrap();
    import(node, &source, &[]).fails(5, &["401", "these credentials"]);
    // ann:secret
    fs::write(&auth_file, entry("YW5uOnNlY3JldA==")).unwrap();
    let imported = import(node, &source, &[]).ok().json();
    assert_eq!(imported["manifest"], digest.as_str());
}

#[test]
fn absent_images_are_told_with_the_registry_and_the_remedy() {
    let registry = RegistryProcess::start();
    registry.push(&images::layout(&[images::tar(&[("app", b"x")])]), "demo/app:1");
    let fleet = Fleet::single();
    let node = &fleet.nodes[0];
    let source = |name: &str| format!("docker://{}/{name}", registry.host);
    let absent = import(node, &source("demo/app:9"), &["--insecure"]);
    absent.fails(4, &["cannot get manifest 9 of demo/app from", &registry.host, "404", "check the repository"]);
    import(node, &source("demo/app:1"), &["--insecure", "--platform", "linux/s390x"]).fails(2, &["linux/s390x"]);
    import(node, &source("demo/app:1"), &["--insecure", "--all"]).fails(2, &["one by one"]);
    import(node, &source("Demo/app:1"), &["--insecure"]).fails(2, &["docker://HOST/REPOSITORY:TAG"]);
    import(node, "/nowhere", &["--insecure"]).fails(2, &["insecure is for a registry"]);
    // Plain HTTP is not tried unasked, on loopback neither.
    import(node, &source("demo/app:1"), &[]).fails(5, &["cannot be reached", "`insecure`"]);
    let images: Value = node.ask(&["image", "list"]);
    assert_eq!(images.as_array().unwrap().len(), 0);
}

#[test]
fn a_node_that_stops_does_not_wait_for_a_registry() {
    let silent = TcpListener::bind((loopback(), 0)).unwrap();
    let source = format!("docker://{}/demo/app:1", silent.local_addr().unwrap());
    let mut fleet = Fleet::single();
    let mut command = fleet.nodes[0].cli_command();
    command.args(["image", "import", "--insecure", &source]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut import = command.spawn().unwrap();
    let (_connection, _) = silent.accept().unwrap();
    assert_eq!(fleet.nodes[0].stop(), 0);
    // Cancelled, or the node was gone before it could say so.
    let code = import.wait().unwrap().code();
    assert!(matches!(code, Some(7 | 9)), "{code:?}");
    assert!(!fleet.nodes[0].log().contains("panicked"), "{}", fleet.nodes[0].log());
}
