//! A release crosses the fleet as a patch, is counted, and is the same image wherever it comes out.
//!
//! The nodes are processes on loopback with layers made in memory. The tests compare the bytes that the nodes account
//! for with the patch, and the exported images with the imported ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::images::{self, ImageFiles, noise, two_releases};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// Two releases of a layer of 7 MiB that have all but 2 MiB in common, which are twice the same, so that their patch
/// has over 512 KiB, and copies from the target.
pub fn releases() -> (ImageFiles, ImageFiles) {
    let kept = noise(1, 5 << 20);
    let tar = |release: u64| {
        let new = noise(release + 10, 1 << 20);
        images::tar(&[("usr/lib/app/kept", &kept), ("usr/lib/app/new", &new), ("usr/lib/app/plugin/new", &new)])
    };
    (images::layout(&[tar(1)]), images::layout(&[tar(2)]))
}

/// Names of the files in a node's patch cache: PatchIds.
fn patches(node: &NodeProcess) -> BTreeSet<String> {
    let files = walk(&node.data_dir.join("patches"));
    files.into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The layers that a pull brought, and that there was one.
#[track_caller]
fn only_layer(pulled: &Value) -> &Value {
    let layers = pulled["layers"].as_array().expect("a list");
    assert_eq!(layers.len(), 1, "{pulled}");
    &layers[0]
}

/// The config digest and DiffIds of an exported or imported layout.
fn content(files: &ImageFiles) -> (String, Value) {
    let config = files.manifest()["config"]["digest"].as_str().expect("a digest").to_owned();
    (config, files.image_config()["rootfs"]["diff_ids"].clone())
}

fn read_layout(folder: &Path) -> ImageFiles {
    let mut files = ImageFiles::default();
    for path in walk(folder) {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        files.0.insert(name, fs::read(path).expect("a file"));
    }
    files
}

/// The tools that people use take the exported layout, if they are here.
fn check_with_tools(layout: &Path, scratch: &Path) {
    let tools: [(&str, Vec<String>); 2] = [
        ("skopeo", vec!["inspect".into(), format!("oci:{}", layout.display())]),
        (
            "umoci",
            vec![
                "unpack".into(),
                "--rootless".into(),
                "--image".into(),
                format!("{}:demo/app:2", layout.display()),
                scratch.join("bundle").display().to_string(),
            ],
        ),
    ];
    for (tool, args) in tools {
        match Command::new(tool).args(&args).output() {
            Ok(output) => assert!(output.status.success(), "{tool} {args:?}: {output:?}"),
            Err(error) => eprintln!("{tool} is not checked: {error}"),
        }
    }
}

/// The main job: a patch from the hub to the first edge, the same patch on to the second with the hub stopped.
fn check_release(fleet: &mut Fleet) {
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let (first, second) = releases();
    for node in &fleet.nodes {
        node.import(&folder, &first, "demo/app:1");
    }
    let manifest = fleet.nodes[0].import(&folder, &second, "demo/app:2");
    let [hub, near, far] = &mut fleet.nodes[..] else { panic!("three nodes") };
    near.wait_holdings(&hub.peer_id, 2);

    let before = near.status();
    let pulled = near.pull("demo/app:2");
    assert_eq!(pulled["manifest"], manifest.as_str());
    let layer = only_layer(&pulled);
    assert_eq!(layer["from"], hub.peer_id.as_str());
    assert_eq!(layer["bases"].as_array().unwrap().len(), 1, "{layer}");
    let number = |value: &Value| value.as_u64().expect("a number");
    let patch = number(&layer["patch_bytes"]);
    assert_eq!(number(&layer["received_bytes"]), patch);
    assert!(patch > 512 << 10 && patch * 4 < number(&layer["compressed_bytes"]), "{layer}");
    let wire = number(&pulled["received_bytes"]) + number(&pulled["sent_bytes"]);
    assert!(wire >= patch && wire * 100 <= patch * 105, "{wire} bytes on the wire for a patch of {patch}");
    let traffic = |status: &Value| {
        let rows = status["traffic"].as_array().unwrap();
        number(&rows.iter().find(|row| row["protocol"] == "patch").unwrap()["received_bytes"])
    };
    let counted = traffic(&near.status()) - traffic(&before);
    assert!(counted >= patch && counted * 100 <= patch * 101, "{counted} counted for a patch of {patch}");

    assert_eq!(hub.stop(), 0);
    until("the far node to hear of the layer", SOON, || {
        (far.peer(&near.peer_id)?["layers"].as_u64()? >= 2).then_some(())
    });
    let pulled = far.pull("demo/app:2");
    assert_eq!(pulled["manifest"], manifest.as_str());
    let layer = only_layer(&pulled);
    assert_eq!(layer["from"], near.peer_id.as_str());
    assert_eq!(number(&layer["patch_bytes"]), patch);
    assert_eq!(patches(hub), patches(near));
    assert_eq!(patches(near), patches(far));
    assert!(!near.log().contains("made a patch"), "the near node passes on what it received");

    for (node, name) in [(near, "near"), (far, "far")] {
        let out = folder.join(format!("out-{name}"));
        node.cli(&["image", "export", "demo/app:2", out.to_str().unwrap()]).ok();
        assert_eq!(content(&read_layout(&out)), content(&second));
        if name == "far" {
            check_with_tools(&out, &folder);
        }
        assert_eq!(node.stop(), 0);
        node.fsck();
    }
}

#[test]
fn a_release_crosses_as_a_patch_over_quic() {
    check_release(&mut Fleet::create(3));
}

#[test]
fn a_release_crosses_as_a_patch_over_tcp() {
    check_release(&mut Fleet::create_tcp(3));
}

#[test]
fn the_effort_follows_the_configuration_or_else_the_link_and_the_receiver() {
    let (hub, edge) = (0, 1);
    let cases = [
        (hub, "limits.encode_effort=fast", "effort=Fast"),
        (hub, "limits.encode_effort=default", "effort=Default"),
        (hub, "network.uplink_assumed=64 kbit/s", "effort=Max"),
        (edge, "transfer.prefer=bytes", "effort=Max"),
    ];
    let (first, second) = releases();
    for (node, setting, chosen) in cases {
        let mut fleet = Fleet::create(2);
        fleet.nodes[node].set(setting);
        fleet.start();
        let folder = fleet.folder.path();
        fleet.nodes[1].import(folder, &first, "demo/app:1");
        fleet.nodes[0].import(folder, &first, "demo/app:1");
        fleet.nodes[0].import(folder, &second, "demo/app:2");
        fleet.nodes[1].wait_holdings(&fleet.nodes[0].peer_id, 2);
        fleet.nodes[1].pull("demo/app:2");
        let log = fleet.nodes[0].log();
        let made: Vec<&str> = log.lines().filter(|line| line.contains("made a patch")).collect();
        assert!(made.len() == 1 && made[0].contains(chosen), "{setting}: {made:?}");
    }
}

#[test]
fn of_several_layers_only_those_that_are_missing_come() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let below = images::tar(&[("etc/os-release", &noise(1, 300_000))]);
    let (middle, middle_next) = two_releases(2, 1 << 20);
    let top = images::tar(&[("app", &noise(3, 50_000))]);
    let alone = images::tar(&[("data", &noise(4, 700_000))]);
    hub.import(folder, &images::layout(&[below.clone(), middle, top.clone()]), "demo/stack:1");
    let pulled = edge.pull("demo/stack:1");
    assert_eq!((pulled["layers"].as_array().unwrap().len(), &pulled["layers_held_before"]), (3, &0.into()));

    let next = images::layout(&[below.clone(), middle_next, top.clone(), alone]);
    hub.import(folder, &next, "demo/stack:2");
    let pulled = edge.pull("demo/stack:2");
    let layers = pulled["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &pulled["layers_held_before"]), (2, &2.into()));
    let with_base = layers.iter().filter(|layer| !layer["bases"].as_array().unwrap().is_empty());
    assert_eq!(with_base.count(), 1, "{pulled}");

    // The same layers under another config: a few kilobytes.
    hub.import(folder, &images::layout(&[top, below]), "demo/held:1");
    let pulled = edge.pull("demo/held:1");
    assert_eq!((pulled["layers"].as_array().unwrap().len(), &pulled["layers_held_before"]), (0, &2.into()));
    assert!(pulled["received_bytes"].as_u64().unwrap() < 10_000, "{pulled}");
    let out = folder.join("out");
    edge.cli(&["image", "export", "demo/stack:2", out.to_str().unwrap(), "--gzip"]).ok();
    assert_eq!(content(&read_layout(&out)).1, content(&next).1);
}

/// A layer that was merged of two others, as by a build that squashes: all of it stands in what both ends hold.
#[test]
fn a_layer_made_of_two_others_is_patched_from_both() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let files: Vec<(String, Vec<u8>)> =
        (0..48).map(|index| (format!("usr/lib/part{index:02}"), noise(100 + index, 64 << 10))).collect();
    let tar = |range: std::ops::Range<usize>| {
        images::tar(&files[range].iter().map(|(path, content)| (path.as_str(), &content[..])).collect::<Vec<_>>())
    };
    let (one, other, merged) = (tar(0..28), tar(28..48), tar(0..48));
    hub.import(folder, &images::layout(std::slice::from_ref(&one)), "demo/one:1");
    hub.import(folder, &images::layout(std::slice::from_ref(&other)), "demo/other:1");
    edge.pull("demo/one:1");
    edge.pull("demo/other:1");
    hub.import(folder, &images::layout(&[merged]), "demo/merged:1");
    edge.wait_holdings(&hub.peer_id, 3);

    let both: Vec<Value> = [&one, &other].map(|tar| images::sha256(tar).into()).to_vec();
    let plan = edge.ask(&["plan", "demo/merged:1"]);
    let first = &plan["layers"][0]["plans"][0];
    assert_eq!((&first["bases"], &first["counted"]), (&both.clone().into(), &"sketch".into()), "{plan}");
    assert!(first["sketch_bytes"].as_u64() < first["tlsh_bytes"].as_u64(), "{plan}");
    assert!(first["sketch_error_percent"].is_u64(), "{plan}");

    let pulled = edge.pull("demo/merged:1");
    let layer = only_layer(&pulled);
    assert_eq!(layer["bases"], Value::from(both), "{pulled}");
    assert!(layer["patch_bytes"].as_u64().unwrap() < 64 << 10, "{pulled}");
    let out = folder.join("out");
    edge.cli(&["image", "export", "demo/merged:1", out.to_str().unwrap()]).ok();
    assert_eq!(content(&read_layout(&out)).1, Value::from(vec![images::sha256(&tar(0..48))]));
}

#[test]
fn a_plan_fetches_nothing() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let (first, second) = two_releases(5, 2 << 20);
    hub.import(folder, &images::layout(&[first]), "demo/app:1");
    edge.pull("demo/app:1");
    hub.import(folder, &images::layout(&[second]), "demo/app:2");
    edge.wait_holdings(&hub.peer_id, 2);
    let before = edge.status();
    for command in [&["plan", "demo/app:2"][..], &["image", "pull", "--dry-run", "demo/app:2"]] {
        let plan = edge.ask(command);
        let plans = plan["layers"][0]["plans"].as_array().expect("plans");
        assert_eq!(plan["layers"][0]["held"], false);
        assert_eq!(plans.len(), 2, "with the base and without: {plan}");
        assert_eq!((plans[0]["bases"].as_array().unwrap().len(), &plans[0]["peer"]), (1, &hub.peer_id.clone().into()));
        assert!(plans[0]["predicted_bytes"].as_u64() < plans[1]["predicted_bytes"].as_u64(), "{plan}");
    }
    let after = edge.status();
    for key in ["layers", "images", "patches", "partial_patches"] {
        assert_eq!(before["store"][key], after["store"][key], "{key}");
    }
    assert_eq!(after["pulls"].as_array().unwrap().len(), 0);
    assert!(!edge.has_image("demo/app:2"));
}
