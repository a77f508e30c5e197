//! The picture of imports has no circle: neither between crates nor between the modules of one crate.
//!
//! Modules are compared with their siblings. A file below `a` that uses what a file below `b` has, both below one
//! parent, makes an arrow from `a` to `b` in that parent's picture. A child that uses its parent's items makes no
//! arrow: the parent is what its children share. Modules of tests are left out, because a test may use everything.
//!
//! Circles are found as sets of modules of which each leads to each other (strongly connected components).

use std::collections::{BTreeMap, BTreeSet};

use super::check;
use super::modules::{Path, Tree};
use super::source::{Source, sources};

/// From, to: and a place where the arrow can be seen.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// The arrows between siblings, by their parent.
fn pictures(sources: &[Source]) -> BTreeMap<Path, Arrows> {
    let tree = Tree::new(sources);
    let mut pictures: BTreeMap<Path, Arrows> = BTreeMap::new();
    let modules = tree.modules.values().filter(|module| !module.source.is_test());
    for module in modules {
        for (line, path) in &module.paths {
            let Some(owner) = tree.owner(path) else { continue };
            let shared = module.path.iter().zip(&owner.path).take_while(|(one, other)| one == other).count();
            let (Some(from), Some(to)) = (module.path.get(shared), owner.path.get(shared)) else { continue };
            let place = format!("{}:{line}", module.source.name);
            let arrows = pictures.entry(module.path[..shared].to_vec()).or_default().entry(from.clone()).or_default();
            arrows.entry(to.clone()).or_insert(place);
        }
    }
    pictures
}

/// The names that `from` leads to.
fn reachable(arrows: &Arrows, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![from.to_owned()];
    while let Some(name) = waiting.pop() {
        for next in arrows.get(&name).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(next.clone()) {
                waiting.push(next.clone());
            }
        }
    }
    found
}

/// One line for each circle: its members, and where each arrow between them is.
fn circles(parent: &str, arrows: &Arrows) -> Vec<String> {
    let ahead: BTreeMap<&str, BTreeSet<String>> =
        arrows.keys().map(|name| (name.as_str(), reachable(arrows, name))).collect();
    let leads = |from: &str, to: &str| ahead.get(from).is_some_and(|found| found.contains(to));
    let mut members: BTreeSet<Vec<&str>> = BTreeSet::new();
    for name in arrows.keys().filter(|name| leads(name, name)) {
        members.insert(
            arrows.keys().map(String::as_str).filter(|other| leads(name, other) && leads(other, name)).collect(),
        );
    }
    let mut problems = Vec::new();
    for circle in members {
        let mut places = Vec::new();
        for from in &circle {
            let within = arrows[*from].iter().filter(|(to, _)| circle.contains(&to.as_str()));
            places.extend(within.map(|(to, place)| format!("    {place}: {from} uses {to}")));
        }
        problems.push(format!("{parent}: a circle of {}\n{}", circle.join(", "), places.join("\n")));
    }
    problems
}

fn circles_in(sources: &[Source]) -> Vec<String> {
    let pictures = pictures(sources);
    pictures.iter().flat_map(|(parent, arrows)| circles(&parent.join("::"), arrows)).collect()
}

#[test]
fn modules_import_without_circles() {
    check("circles of imports", &circles_in(&sources()));
}

#[test]
fn circles_are_found() {
    let files = |a: &str, b: &str| {
        let lib = "mod a;\nmod b;\nmod c;\npub use c::Named;\n";
        [("lib", lib), ("a", a), ("b", b), ("c", "use crate::b::deep::E;\nstruct Named;\n"), ("b/deep", "struct E;\n")]
            .map(|(name, text)| Source::new(&format!("crates/x/src/{name}.rs"), text))
    };
    let plain = circles_in(&files("use crate::b::E;\n", "mod deep;\nstruct E;\n"));
    assert!(plain.is_empty(), "{plain:?}");
    // Through a name that the crate exports, in a path without `use`, from a module further down.
    let found = circles_in(&files("struct A;\n", "mod deep;\nfn f() { crate::Named::new() }\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("a circle of b, c") && found[0].contains("crates/x/src/b.rs:2: b uses c"), "{found:?}");
    let tested = circles_in(&files("use super::b::B;\n", "#[cfg(test)]\nmod tests {\nuse crate::a::A;\n}\n"));
    assert!(tested.is_empty(), "{tested:?}");
}
