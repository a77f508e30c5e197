//! Archives that people have: several images in one, signatures beside an image, names that are only tags.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess};

/// A layout of images with these names.
fn layout(names: &[&str]) -> ImageFiles {
    let mut all = ImageFiles::default();
    let mut manifests = Vec::new();
    for (name, seed) in names.iter().zip(1..) {
        let files = images::layout(&[images::tar(&[("app", &noise(seed, 50_000))])]);
        let index: Value = serde_json::from_slice(&files.0["index.json"]).unwrap();
        let mut manifest = index["manifests"][0].clone();
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        manifests.push(manifest);
        all.0.extend(files.0);
    }
    set_index(&mut all, &manifests);
    all
}

fn set_index(files: &mut ImageFiles, manifests: &[Value]) {
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    files.0.insert("index.json".to_owned(), images::to_bytes(&index));
}

fn write(fleet: &Fleet, name: &str, files: &ImageFiles) -> String {
    let path = fleet.folder.path().join(name);
    files.write_to(&path);
    path.to_str().unwrap().to_owned()
}

fn names(node: &NodeProcess) -> Vec<String> {
    let images = node.ask(&["image", "list"]);
    images.as_array().unwrap().iter().map(|image| image["reference"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_of_several_images_is_chosen_or_all_are_imported() {
    let mut fleet = Fleet::single();
    let path = write(&fleet, "two", &layout(&["demo/app:1", "demo/app:2"]));
    let node = &fleet.nodes[0];
    let import = |more: &[&str]| node.cli(&[&["-o", "json", "image", "import", path.as_str()], more].concat());
    import(&[]).fails(2, &["1: demo/app:1 (linux/amd64); 2: demo/app:2", "--from"]);
    import(&["--from", "3"]).fails(2, &["number 3", "demo/app:2"]);
    import(&["--all", "--name", "demo/app:3"]).fails(2, &["--all", "--name"]);
    assert_eq!(import(&["--from", "2"]).ok().json()["reference"], "demo/app:2");
    assert_eq!(import(&["--from", "demo/app:1", "--name", "demo/other:7"]).ok().json()["reference"], "demo/other:7");
    // The name that the source has for one of them chooses this one.
    let first = import(&["--name", "demo/app:1"]).ok().json();
    assert_eq!(first["manifest"], node.ask(&["image", "show", "demo/other:7"])["manifest"]);
    let all = import(&["--all"]).ok().json();
    assert_eq!((&all[0]["reference"], &all[1]["reference"]), (&json!("demo/app:1"), &json!("demo/app:2")));
    assert_eq!(names(node), ["demo/app:1", "demo/app:2", "demo/other:7"]);
    assert_eq!(fleet.nodes[0].stop(), 0);
}

#[test]
fn nothing_is_signed_under_a_name_that_was_guessed() {
    let fleet = Fleet::single();
    let node = &fleet.nodes[0];
    let tag = write(&fleet, "tag", &layout(&["latest"]));
    node.cli(&["image", "import", &tag]).fails(2, &["only a tag, \"latest\"", "--name"]);
    let mut twice = layout(&["demo/app:1"]);
    let index: Value = serde_json::from_slice(&twice.0["index.json"]).unwrap();
    let mut other = index["manifests"][0].clone();
    other["annotations"] = json!({ "org.opencontainers.image.ref.name": "demo/app:stable" });
    set_index(&mut twice, &[index["manifests"][0].clone(), other]);
    let twice = write(&fleet, "twice", &twice);
    node.cli(&["image", "import", &twice]).fails(2, &["several names", "demo/app:1, demo/app:stable", "--name"]);
    assert!(names(node).is_empty());
    node.cli(&["image", "import", &tag, "--name", "demo/app:1"]).ok();
}

#[test]
fn a_signature_beside_an_image_is_passed_over() {
    let fleet = Fleet::single();
    let mut files = layout(&["demo/app:1"]);
    let index: Value = serde_json::from_slice(&files.0["index.json"]).unwrap();
    let mut signature = files.manifest();
    signature["layers"][0]["mediaType"] = json!("application/vnd.dev.cosign.simplesigning.v1+json");
    let bytes = images::to_bytes(&signature);
    files.put(&bytes);
    let signature = images::descriptor("application/vnd.oci.image.manifest.v1+json", &bytes);
    set_index(&mut files, &[signature, index["manifests"][0].clone()]);
    let path = write(&fleet, "signed", &files);
    let imported = fleet.nodes[0].cli(&["image", "import", &path]).ok();
    assert!(imported.stderr.contains("passed over") && imported.stderr.contains("simplesigning"), "{imported:?}");
    assert_eq!(names(&fleet.nodes[0]), ["demo/app:1"]);
}

/// A node signs what an image claims, so it checks that for layers that it holds too.
#[test]
fn a_layer_that_is_held_is_checked_all_the_same() {
    let fleet = Fleet::single();
    let node = &fleet.nodes[0];
    let good = layout(&["demo/app:1"]);
    node.cli(&["image", "import", &write(&fleet, "good", &good)]).ok();
    let mut bad = good.clone();
    let blob = bad.layer_path(0);
    bad.0.get_mut(&blob).unwrap()[1000] ^= 1;
    node.cli(&["image", "import", &write(&fleet, "flipped", &bad), "--name", "demo/app:2"])
        .fails(3, &["layer sha256:"]);
    let two = images::layout(&[images::tar(&[("a", &noise(8, 9_000))]), images::tar(&[("b", &noise(9, 9_000))])]);
    node.cli(&["image", "import", &write(&fleet, "two", &two), "--name", "demo/two:1"]).ok();
    let mut swapped = two.clone();
    let mut manifest = two.manifest();
    manifest["layers"].as_array_mut().unwrap().swap(0, 1);
    swapped.set_manifest(&manifest);
    node.cli(&["image", "import", &write(&fleet, "swapped", &swapped), "--name", "demo/two:2"])
        .fails(3, &["diff_id 0"]);
    assert_eq!(names(node), ["demo/app:1", "demo/two:1"]);
}

#[test]
fn an_archive_comes_on_standard_input() {
    let fleet = Fleet::single();
    let mut command = fleet.nodes[0].cli_command();
    command.args(["image", "import", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a process");
    child.stdin.take().expect("its input").write_all(&layout(&["demo/app:1"]).to_archive()).expect("a reader");
    assert!(child.wait().expect("its end").success());
    assert_eq!(names(&fleet.nodes[0]), ["demo/app:1"]);
}
