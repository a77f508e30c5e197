//! Documents that do not match the layers: false sizes, digests, media types and DiffIds.

use serde_json::{Value, json};

use super::{Victim, flipped, sample};
use crate::support::images::{self, ImageFiles, Media, blob_path, descriptor, sha256, to_bytes};

/// A layout with a changed manifest.
fn lying(change: impl FnOnce(&mut Value)) -> ImageFiles {
    let mut files = sample(Media::Gzip);
    let mut manifest = files.manifest();
    change(&mut manifest);
    files.set_manifest(&manifest);
    files
}

/// A layout with a changed field of the layer's descriptor.
fn lying_layer(key: &str, value: Value) -> ImageFiles {
    lying(|manifest| manifest["layers"][0][key] = value)
}

/// A layout with a changed config.
fn lying_config(change: impl FnOnce(&mut Value)) -> ImageFiles {
    let mut files = sample(Media::Gzip);
    let mut config = files.image_config();
    change(&mut config);
    let bytes = to_bytes(&config);
    files.put(&bytes);
    let mut manifest = files.manifest();
    manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", &bytes);
    files.set_manifest(&manifest);
    files
}

#[test]
fn a_manifest_with_a_false_layer() {
    let mut victim = Victim::new();
    let other = format!("sha256:{}", "ab".repeat(32));
    let size = sample(Media::Gzip).manifest()["layers"][0]["size"].as_u64().unwrap();
    for lie in [0, 1, size - 1, size + 1, 1 << 40, u64::MAX] {
        let files = lying_layer("size", lie.into());
        victim.refuses_both(&format!("size {lie}"), &files, &["layer sha256:", &lie.to_string()]);
    }
    victim.refuses_both("size -1", &lying_layer("size", (-1).into()), &["manifest sha256:"]);
    let files = lying_layer("digest", other.clone().into());
    victim.refuses_both("another digest", &files, &[&"ab".repeat(32), "missing"]);
    // Now the file exists, but its content does not match its name.
    let mut files = files;
    files.0.insert(blob_path(&other), files.0[&sample(Media::Gzip).layer_path(0)].clone());
    victim.refuses_both("a file of a false name", &files, &["ab".repeat(32).as_str(), "expected", "found"]);
    for digest in ["sha256:../../../etc/passwd", "sha512:00", "", "../../x", "sha256:ABCD"] {
        let files = lying_layer("digest", digest.into());
        victim.refuses_both(digest, &files, &["manifest sha256:"]);
    }
    for kind in ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", ""] {
        let files = lying_layer("mediaType", kind.into());
        victim.refuses_both(kind, &files, &["layer sha256:", kind]);
    }
    let files = lying_layer("mediaType", "text/plain".into());
    victim.refuses_both("no layer at all", &files, &["is no image", "text/plain"]);
    let files = lying_layer("mediaType", images::media_type(Media::Plain).into());
    victim.refuses_both("gzip called plain", &files, &["diff_id 0", "expected", "found"]);
    let files = lying_layer("mediaType", images::media_type(Media::Zstd).into());
    victim.refuses_both("gzip called zstd", &files, &["layer sha256:"]);
    let files = lying_layer("urls", json!(["http://example.org/layer"]));
    victim.refuses_both("a layer from elsewhere", &files, &["http://example.org/layer"]);
    victim.finish();
}

#[test]
fn documents_that_do_not_match_the_layers() {
    let mut victim = Victim::new();
    let other = format!("sha256:{}", "ab".repeat(32));
    let twice = lying(|manifest| manifest["layers"] = json!([manifest["layers"][0], manifest["layers"][0]]));
    victim.refuses_both("layer count", &twice, &["names 1 layers", "names 2"]);
    let many = lying(|manifest| manifest["layers"] = vec![manifest["layers"][0].clone(); 513].into());
    victim.refuses_both("too many layers", &many, &["number of layers", "512"]);
    victim.refuses_both("schema 1", &lying(|manifest| manifest["schemaVersion"] = 1.into()), &["schema"]);
    victim.refuses_both("config size", &lying(|manifest| manifest["config"]["size"] = 7.into()), &["expected 7"]);
    victim.refuses_both("no config", &lying(|manifest| manifest["config"] = Value::Null), &["config"]);
    let wrong = lying_config(|config| config["rootfs"]["diff_ids"] = json!([other]));
    victim.refuses_both("a false diff_id", &wrong, &["diff_id 0", &other]);
    let none = lying_config(|config| config["rootfs"]["diff_ids"] = json!([]));
    victim.refuses_both("no diff_ids", &none, &["names 0 layers", "names 1"]);
    let path = lying_config(|config| config["rootfs"]["diff_ids"] = json!(["sha256:../../x"]));
    victim.refuses_both("a diff_id that is a path", &path, &["config sha256:"]);
    victim.refuses_both("no rootfs", &lying_config(|config| config["rootfs"] = Value::Null), &["config sha256:"]);
    let mut deep = sample(Media::Gzip);
    deep.0.insert("index.json".into(), [b"[".repeat(100_000), b"]".repeat(100_000)].concat());
    victim.refuses_both("deep JSON", &deep, &["index.json"]);
    let mut long = sample(Media::Gzip);
    long.0.insert("index.json".into(), b" ".repeat((4 << 20) + 1));
    victim.refuses_both("a long document", &long, &["index.json", "limit"]);
    victim.finish();
}

#[test]
fn a_docker_archive_that_lies() {
    let mut victim = Victim::new();
    let tar = images::tar(&[("a", b"b")]);
    let good = images::docker_save(&[tar.clone(), images::tar(&[("c", b"d")])], "demo/app:1");
    let mut manifest: Value = serde_json::from_slice(&good.0["manifest.json"]).unwrap();
    let mut check = |damage: &str, words: &[&str], change: &dyn Fn(&mut Value)| {
        let mut bad = good.clone();
        let mut changed = manifest.clone();
        change(&mut changed[0]);
        bad.0.insert("manifest.json".into(), to_bytes(&changed));
        victim.refuses_both(damage, &bad, words);
    };
    check("a path out of it", &["../../etc/passwd"], &|image| image["Layers"][0] = "../../etc/passwd".into());
    check("a path from the root", &["/etc/passwd"], &|image| image["Layers"][0] = "/etc/passwd".into());
    check("a config out of it", &["../config.json"], &|image| image["Config"] = "../config.json".into());
    check("no such layer", &["9/layer.tar"], &|image| image["Layers"][0] = "9/layer.tar".into());
    check("one layer less", &["2", "1"], &|image| image["Layers"] = json!(["0/layer.tar"]));
    check("swapped", &["diff_id 0", "expected"], &|image| image["Layers"] = json!(["1/layer.tar", "0/layer.tar"]));
    manifest = json!([]);
    let mut none = good.clone();
    none.0.insert("manifest.json".into(), to_bytes(&manifest));
    let dir = victim.folder("none");
    none.write_to(&dir);
    let ended = victim.import(&dir);
    assert!([2, 3].contains(&ended.code), "{ended:?}");
    let mut damaged = good.clone();
    damaged.0.insert("0/layer.tar".into(), flipped(&tar, 700));
    victim.refuses_both("another layer", &damaged, &["diff_id 0", &sha256(&tar)]);
    victim.finish();
}

#[test]
fn a_layer_that_inflates_beyond_the_budget() {
    let mut victim = Victim::with(&["store.bytes_max=\"100 MiB\""]);
    // zstd compresses 200 MiB of zeros to some KB.
    let bomb = images::layout_of(&[(vec![0; 200 << 20], Media::Zstd)]);
    let blob = bomb.0[&bomb.layer_path(0)].len();
    assert!(blob < 64 << 10, "{blob}");
    let dir = victim.folder("bomb");
    bomb.write_to(&dir);
    victim.refuses("a bomb", &dir, 6, &["no room", "budget"]);
    victim.finish();
}
