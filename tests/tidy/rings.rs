//! Crates depend on lower rings, and rings 0 to 2 keep from the machine.
//!
//! The manifests say which crate uses which. Cargo.lock says what the packages of others bring. Clippy checks the calls
//! of the code itself (purity.rs).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::check;
use crate::support::repository;

/// A crate: its name, its ring, and the crates of ours that it may depend on outside its tests.
pub const RINGS: [(&str, u8, &[&str]); 20] = [
    ("types", 0, &[]),
    ("tar", 0, &[]),
    ("cabac", 0, &["coder"]),
    ("coder", 0, &[]),
    ("similarity", 1, &["types", "tar"]),
    ("delta", 1, &["types", "tar", "coder"]),
    ("vcdiff", 1, &["types", "coder"]),
    ("patch", 1, &["types", "tar", "coder", "delta", "vcdiff"]),
    ("wire", 1, &["types"]),
    ("image", 1, &["types", "tar", "similarity"]),
    ("recipe", 1, &["types"]),
    ("api", 1, &["types"]),
    ("engine", 2, &["types", "similarity", "wire"]),
    ("sim", 2, &["types", "similarity", "wire", "engine"]),
    ("store", 3, &["types"]),
    ("streams", 3, &[]),
    ("quic", 3, &[]),
    ("registry", 3, &["types", "image"]),
    (
        "node",
        3,
        &["types", "similarity", "patch", "wire", "image", "api", "engine", "store", "streams", "quic", "registry"],
    ),
    (
        "cli",
        4,
        &[
            "types",
            "tar",
            "similarity",
            "patch",
            "vcdiff",
            "recipe",
            "wire",
            "image",
            "api",
            "engine",
            "sim",
            "store",
            "node",
        ],
    ),
];

/// Packages that rings 0 to 2 never reach, whatever lies between.
const PACKAGES_BARRED: [&str; 6] = ["tokio", "libp2p", "rocksdb", "async-std", "mio", "socket2"];

/// A manifest.
pub fn manifest(path: &Path) -> toml::Table {
    fs::read_to_string(path).unwrap().parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(table: Option<&toml::Value>) -> Vec<String> {
    table.and_then(toml::Value::as_table).map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// The names of the crates that are there.
pub fn crates_present() -> BTreeSet<String> {
    let entries = fs::read_dir(repository().join("crates")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A crate's dependencies outside its tests.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut sections = vec![manifest.get("dependencies"), manifest.get("build-dependencies")];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    sections.extend(targets.into_iter().flat_map(|table| table.values()).map(|target| target.get("dependencies")));
    sections.into_iter().flat_map(keys).collect()
}

/// The dependencies of ours that the ring table does not allow.
fn not_allowed(name: &str, allowed: &[&str], manifest: &toml::Table) -> Vec<String> {
    let ours = dependencies(manifest).into_iter().filter_map(|name| name.strip_prefix("lighter-").map(str::to_owned));
    let barred = ours.filter(|ours| !allowed.contains(&ours.as_str()));
    barred.map(|ours| format!("crates/{name}/Cargo.toml:1: depends on {ours}; it may use {allowed:?}")).collect()
}

#[test]
fn crates_depend_on_lower_rings_only() {
    let present = crates_present();
    let mut problems = Vec::new();
    for (name, ring, allowed) in RINGS.into_iter().filter(|(name, ..)| present.contains(*name)) {
        let manifest = manifest(&repository().join("crates").join(name).join("Cargo.toml"));
        problems.extend(not_allowed(name, allowed, &manifest));
        let ring_of =
            |other: &str| RINGS.iter().find(|(name, ..)| *name == other).map_or(u8::MAX, |(_, ring, _)| *ring);
        let above = allowed.iter().filter(|other| ring_of(other) > ring);
        problems.extend(above.map(|other| format!("RINGS: {name} may use {other}, which is of a higher ring")));
    }
    check("rings", &problems);
}

#[test]
fn every_crate_is_in_a_ring_and_every_ring_is_there() {
    let present = crates_present();
    let known: BTreeSet<String> = RINGS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let unknown = present.difference(&known).map(|name| format!("crates/{name}: in no ring: add it to RINGS"));
    let absent = known.difference(&present).map(|name| format!("RINGS: no crates/{name}"));
    check("crates in rings", &unknown.chain(absent).collect::<Vec<_>>());
}

/// The allowed crates have no circle: a crate stands behind all that it may use.
#[test]
fn the_ring_table_has_no_circle() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for _ in RINGS {
        done.extend(
            RINGS
                .iter()
                .filter(|(.., uses)| uses.iter().all(|name| done.contains(name)))
                .map(|(name, ..)| name)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(done.len(), RINGS.len(), "a circle among all but {done:?}");
}

/// The ways from a crate to a barred package. `graph` has development dependencies too, so crates of ours are not
/// followed: each is looked at by itself.
fn ways_to_the_machine(name: &str, first: Vec<String>, graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut waiting: Vec<(String, String)> = first.into_iter().map(|name| (name.clone(), name)).collect();
    let mut seen = BTreeSet::new();
    while let Some((package, way)) = waiting.pop() {
        if PACKAGES_BARRED.contains(&package.as_str()) {
            problems.push(format!("crates/{name}/Cargo.toml:1: reaches {package}: {way}"));
        }
        if package.starts_with("lighter-") || !seen.insert(package.clone()) {
            continue;
        }
        let next = graph.get(&package).cloned().unwrap_or_default();
        waiting.extend(next.into_iter().map(|next| (next.clone(), format!("{way} > {next}"))));
    }
    problems
}

#[test]
fn rings_0_to_2_do_not_reach_the_machine_through_any_package() {
    let root = repository();
    let lock = manifest(&root.join("Cargo.lock"));
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap().to_owned();
        let dependencies = package.get("dependencies").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let names = dependencies.iter().filter_map(toml::Value::as_str);
        // "name" or "name version": several versions of one package count as one, which can only find more.
        graph.entry(name).or_default().extend(names.filter_map(|name| name.split(' ').next()).map(str::to_owned));
    }
    let present = crates_present();
    let mut problems = Vec::new();
    for (name, ..) in RINGS.iter().filter(|(name, ring, _)| *ring <= 2 && present.contains(*name)) {
        let own = manifest(&root.join("crates").join(name).join("Cargo.toml"));
        problems.extend(ways_to_the_machine(name, keys(own.get("dependencies")), &graph));
    }
    check("ways to the machine", &problems);
}

#[test]
fn the_checks_of_rings_can_fail() {
    let manifest: toml::Table = "[dependencies]\nlighter-node.workspace = true\nserde = \"1\"\n[target.'cfg(unix)'.dependencies]\nlighter-store.workspace = true\n".parse().unwrap();
    assert_eq!(not_allowed("wire", &["types"], &manifest).len(), 2);
    let graph = BTreeMap::from([("a".to_owned(), BTreeSet::from(["mio".to_owned(), "a".to_owned()]))]);
    assert_eq!(
        ways_to_the_machine("wire", vec!["a".to_owned()], &graph),
        ["crates/wire/Cargo.toml:1: reaches mio: a > mio"]
    );
}
