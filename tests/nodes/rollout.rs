//! `lighter plan rollout`: a running hub's own layers and directory answer what a rollout will take.

use std::fs;

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, SOON, until};

/// A release of 4 MB in 20 files, one of which is its own.
fn release(number: u64) -> ImageFiles {
    let names: Vec<String> = (0..20).map(|file| format!("usr/lib/app/{file}")).collect();
    let seed = |file: u64| if file == 7 { number * 1000 } else { file };
    let contents: Vec<Vec<u8>> = (0..20).map(|file| noise(seed(file), 200_000)).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&contents).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    images::layout(&[images::tar(&files)])
}

const FLEET: &str = r#"
[hub]
rate = "100 Mbit/s"

[registry]
rate = "1 Gbit/s"

[[sites]]
name = "berlin"
uplink = ["2 Mbit/s", "2 Mbit/s"]
latency = "20 ms"
"#;

#[test]
fn a_hub_tells_what_a_rollout_will_take() {
    let mut fleet = Fleet::create(3);
    for edge in &mut fleet.nodes[1..] {
        edge.set("site=berlin");
    }
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, one, other] = &fleet.nodes[..] else { panic!("three nodes") };
    for node in [hub, one, other] {
        node.import(folder, &release(1), "demo/app:1");
    }
    hub.import(folder, &release(2), "demo/app:2");
    let file = folder.join("fleet.toml");
    fs::write(&file, FLEET).unwrap();
    let arguments =
        ["plan", "rollout", "--from", "demo/app:1", "--to", "demo/app:2", "--fleet", file.to_str().unwrap()];
    let planned = || hub.cli(&[&["-o", "json"][..], &arguments].concat()).ok().json();
    let knows = |nodes: u64, old: u64, new: u64| {
        until("the hub to know who holds what", SOON, || {
            let site = planned()["rollout"]["sites"][0].clone();
            let counts = ["nodes", "hold_from", "hold_to"].map(|key| site[key].as_u64().unwrap_or(99));
            (site["site"] == "berlin" && counts == [nodes, old, new]).then_some(())
        });
    };
    knows(2, 2, 0);
    let before = planned();
    let patch = &before["rollout"]["patches"][0];
    let predicted = patch["bytes"].as_u64().expect("bytes");
    assert_eq!((patch["exact"].as_bool(), patch["bases"].as_array().map(Vec::len)), (Some(false), Some(1)), "{patch}");
    assert!((100_000..400_000).contains(&predicted), "200 kB are new, {predicted} predicted");
    let lighter = &before["report"]["strategies"].as_array().expect("strategies").last().expect("one").clone();
    assert_eq!((lighter["strategy"].as_str(), lighter["done"].as_u64()), (Some("lighter"), Some(2)), "{lighter}");
    let text = hub.cli(&arguments).ok().stdout;
    assert!(text.contains("prediction") && text.contains("the hub knows 2 nodes: 2 hold demo/app:1"), "{text}");

    let received = one.pull("demo/app:2")["received_bytes"].as_u64().expect("bytes");
    knows(2, 2, 1);
    let after = planned();
    let patch = &after["rollout"]["patches"][0];
    assert_eq!(patch["exact"], true, "{patch}");
    assert!(patch["bytes"].as_u64().expect("bytes").abs_diff(received) < received / 3, "{patch}, and {received} came");
    assert_eq!(after["report"]["strategies"][0]["done"], 1);
    other.pull("demo/app:2");
    knows(2, 2, 2);
    assert!(hub.cli(&arguments).ok().stdout.contains("no node needs anything"));
}

#[test]
fn a_rollout_that_cannot_be_planned_gives_an_error() {
    let fleet = Fleet::single();
    let hub = &fleet.nodes[0];
    let folder = fleet.folder.path();
    hub.import(folder, &release(1), "demo/app:1");
    hub.import(folder, &release(2), "demo/app:2");
    let file = folder.join("fleet.toml");
    let plan = |text: &str, to: &str| {
        fs::write(&file, text).unwrap();
        hub.cli(&["plan", "rollout", "--from", "demo/app:1", "--to", to, "--fleet", file.to_str().unwrap()])
    };
    plan(FLEET, "demo/app:3").fails(4, &["demo/app:3", "not held by this node", "import or pull"]);
    plan(FLEET, "demo/app:2").fails(8, &["fleet.toml", "berlin", "the hub knows"]);
    plan(&FLEET.replace("latency", "latncy"), "demo/app:2").fails(8, &["fleet.toml", "line 11", "latncy"]);
    hub.cli(&["plan", "rollout", "--from", "a:1", "--to", "a:2", "--fleet", "nowhere.toml"])
        .fails(4, &["nowhere.toml"]);
}
