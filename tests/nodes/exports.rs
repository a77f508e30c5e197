//! Exports: as a folder, a file or a stream; with the blobs and the manifest of the image's registry where the node can
//! make them. skopeo, podman and a node read them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::registry::{layer_digest, tar, umoci_layout};
use crate::support::images::{self, sha256};
use crate::support::{Fleet, NodeProcess, Run, finish};

const IMAGE: &str = "registry.invalid/shop/app:1";

fn export(node: &NodeProcess, args: &[&str]) -> Run {
    node.cli(&[&["-o", "json", "image", "export"], args].concat())
}

/// The manifest of an image that skopeo reads.
fn manifest_by_skopeo(source: &str) -> String {
    sha256(finish(Command::new("skopeo").args(["inspect", "--raw", source])).ok().stdout.as_bytes())
}

#[test]
fn an_image_of_a_known_encoder_leaves_as_it_came() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let path = fleet.folder.path();
    let image = umoci_layout(&path.join("umoci"), &tar(1));
    fleet.nodes[0].import(path, &image, IMAGE);
    // The edge never saw the blob: it has the tar and a recipe.
    let edge = &fleet.nodes[1];
    edge.pull(IMAGE);
    let manifest = image.manifest_digest();
    let [layout, archive, docker] = ["layout", "oci.tar", "docker.tar"].map(|name| path.join(name));
    let [layout, archive, docker] = [&layout, &archive, &docker].map(|path| path.to_str().unwrap());
    for args in [&[IMAGE, layout][..], &[IMAGE, "--exact", "--format", "oci-archive", "--out", archive]] {
        let exported = export(edge, args).ok().json();
        assert_eq!((&exported["manifest"], &exported["exact"]), (&manifest.as_str().into(), &true.into()));
    }
    let blob = layer_digest(&image);
    let exported = fs::read(Path::new(layout).join(images::blob_path(&blob))).unwrap();
    assert!(exported == image.0[&images::blob_path(&blob)]);
    assert_eq!(manifest_by_skopeo(&format!("oci:{layout}")), manifest);
    assert_eq!(manifest_by_skopeo(&format!("oci-archive:{archive}")), manifest);

    // A docker archive has the same config and tars. On stdout is nothing but the archive.
    let exported = export(edge, &[IMAGE, docker, "--format", "docker-archive"]).ok().json();
    assert_eq!(exported["exact"], false, "it has no manifest: {exported}");
    let mut command = edge.cli_command();
    command.args(["image", "export", IMAGE, "-", "--format", "docker-archive"]).stdin(Stdio::null());
    let streamed = command.output().unwrap();
    assert!(streamed.status.success() && streamed.stdout == fs::read(docker).unwrap());
    let storage = path.join("storage.conf");
    let (graph, runroot) = (path.join("graph"), path.join("runroot"));
    fs::write(&storage, format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph:?}\nrunroot = {runroot:?}\n"))
        .unwrap();
    let podman =
        |args: &[&str]| finish(Command::new("podman").args(args).env("CONTAINERS_STORAGE_CONF", &storage)).ok();
    podman(&["load", "-q", "-i", docker]);
    let loaded: Value = podman(&["image", "inspect", IMAGE]).json();
    assert_eq!(loaded[0]["RootFS"]["Layers"][0], sha256(&tar(1)).as_str());

    // A node reads both back.
    edge.cli(&["image", "import", archive, "--name", "back/oci:1"]).ok();
    edge.cli(&["image", "import", docker, "--name", "back/docker:1"]).ok();
    assert_eq!(edge.ask(&["image", "show", "back/oci:1"])["manifest"], manifest.as_str());
}

#[test]
fn an_image_of_an_unknown_encoder_is_exact_where_its_blobs_are_kept() {
    for keeps in [false, true] {
        let mut fleet = Fleet::create(1);
        fleet.nodes[0].set(format!("registry.keep_blobs={keeps}"));
        fleet.start();
        let (node, path) = (&fleet.nodes[0], fleet.folder.path());
        // No recipe makes this zstd.
        let image = images::layout_of(&[(tar(1), images::Media::Zstd)]);
        node.import(path, &image, IMAGE);
        let [exact, auto, plain] = ["exact", "auto", "plain"].map(|name| path.join(name).display().to_string());
        let exported = export(node, &[IMAGE, "--exact", &exact]);
        let by_default = export(node, &[IMAGE, &auto]).ok().json();
        assert_eq!(by_default["exact"], keeps, "{by_default}");
        assert_eq!(by_default["manifest"] == image.manifest_digest().as_str(), keeps, "{by_default}");
        if keeps {
            exported.ok();
        } else {
            exported.fails(4, &["no recipe", "--plain"]);
            assert!(by_default["not_exact"].as_str().unwrap().contains("no recipe"), "{by_default}");
        }
        let by_wish = export(node, &[IMAGE, "--plain", &plain]).ok().json();
        assert_eq!(by_wish["exact"], false);
        assert!(Path::new(&plain).join(images::blob_path(&sha256(&tar(1)))).is_file());
    }
}

#[test]
fn an_archive_that_breaks_off_is_no_file() {
    let fleet = Fleet::single();
    let (node, path) = (&fleet.nodes[0], fleet.folder.path());
    node.import(path, &images::layout_of(&[(tar(1), images::Media::Plain)]), IMAGE);
    let out = path.join("out.tar").display().to_string();
    let name = sha256(&tar(1));
    let file = find(&node.data_dir.join("layers"), name.trim_start_matches("sha256:")).expect("the layer's file");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let broken = export(node, &[IMAGE, &out, "--format", "oci-archive"]);
    broken.fails(7, &["lost the node", "the log of the node says why"]);
    assert!(node.log().contains("an export broke off"), "{}", node.log());
    assert!(!Path::new(&out).exists() && !Path::new(&format!("{out}.partial")).exists());
    // A request that is wrong from the start is told so.
    export(node, &["demo/none:1", &out, "--format", "oci-archive"]).fails(4, &["demo/none:1"]);
    export(node, &[IMAGE, "-"]).fails(2, &["--format oci-archive"]);
    export(node, &[IMAGE, &out, "--format", "oci-archive", "--gzip"]).fails(2, &["--gzip"]);
    export(node, &[IMAGE, &out, "--format", "docker-archive", "--exact"]).fails(2, &["oci-archive"]);
    assert!(!Path::new(&out).exists());
}

/// The file below a folder whose name ends so.
fn find(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

#[test]
fn an_unsigned_import_gives_bases_and_no_name() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let path = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let [first, second] = [1, 2].map(|release| umoci_layout(&path.join(format!("umoci-{release}")), &tar(release)));
    hub.import(path, &first, IMAGE);
    let layout = path.join("first");
    first.write_to(&layout);
    let layout = layout.to_str().unwrap();
    let imported = edge.cli(&["-o", "json", "image", "import", layout, "--unsigned"]).ok().json();
    let name = format!("{}:latest", first.manifest_digest().replace(':', "/"));
    assert_eq!(imported["reference"], name.as_str());
    assert_eq!(edge.ask(&["image", "show", &name])["publisher"], Value::Null);
    edge.cli(&["image", "import", layout, "--unsigned", "--name", "a/b:1"]).fails(2, &["--unsigned"]);
    hub.import(path, &second, "registry.invalid/shop/app:2");
    edge.wait_holdings(&hub.peer_id, 2);
    let pulled = edge.pull("registry.invalid/shop/app:2");
    assert_eq!(pulled["layers"][0]["bases"].as_array().unwrap().len(), 1, "{pulled}");
}
