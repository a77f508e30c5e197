//! Rings 0 to 2 compute the same on every machine and touch nothing of it. Clippy holds the code to that; this file
//! holds the crates to clippy.
//!
//! - Each pure crate has a `clippy.toml` that bars files, sockets, processes, clocks, the environment, threads and the
//!   order of hashes. The text is the same everywhere. Crates that look things up in hashes, and never walk them, lack
//!   the two lines that bar hash tables altogether; the lines that bar walking them stay.
//! - Each pure crate denies, in its `lib.rs`, loops over hashes, `_` in a match over an enum, and arithmetic with
//!   floats. The simulator may compute with floats: no two machines have to agree on a report.
//! - An exception stands at its place, as `expect` with its reason, in one of the files listed here.

use std::collections::BTreeMap;
use std::fs;

use super::check;
use super::rings::{RINGS, crates_present};
use super::source::{Source, sources};
use crate::support::repository;

/// The crate whose text the others repeat.
const MODEL: &str = "types";
/// Crates that look things up in hash tables.
const HASHING: [&str; 2] = ["patch", "delta"];
/// Lints that every pure crate denies.
const DENIED: [&str; 2] = ["clippy::iter_over_hash_type", "clippy::wildcard_enum_match_arm"];
const FLOATS: &str = "clippy::float_arithmetic";
/// Pure crates that may compute with floats: reports of simulations.
const FLOATING: [&str; 1] = ["sim"];
/// Files that make an exception, and from which lint: threads that end with the call, counts printed for people, and an
/// encoder whose original decides by floats.
const EXCEPTIONS: [(&str, &str); 6] = [
    ("crates/image/src/scan.rs", "clippy::disallowed_methods"),
    ("crates/patch/src/parallel.rs", "clippy::disallowed_methods"),
    ("crates/delta/src/parallel.rs", "clippy::disallowed_methods"),
    ("crates/recipe/src/rebuild.rs", "clippy::disallowed_methods"),
    ("crates/recipe/src/kpflate/blocks.rs", FLOATS),
    ("crates/types/src/quantity.rs", FLOATS),
];

/// The pure crates that are there.
fn pure_crates() -> Vec<&'static str> {
    let present = crates_present();
    RINGS.iter().filter(|(name, ring, _)| *ring <= 2 && present.contains(*name)).map(|(name, ..)| *name).collect()
}

/// The text that a crate's `clippy.toml` should have.
fn wanted(name: &str, model: &str) -> String {
    let is_barred =
        |line: &&str| !HASHING.contains(&name) || !line.contains("HashMap\"") && !line.contains("HashSet\"");
    model.lines().filter(is_barred).map(|line| format!("{line}\n")).collect()
}

/// How a crate's text differs from the one that it should have: the first line that does.
fn difference(name: &str, found: &str, model: &str) -> Option<String> {
    let wanted = wanted(name, model);
    let lines = wanted.lines().count().max(found.lines().count());
    let line = (0..lines).find(|&line| wanted.lines().nth(line) != found.lines().nth(line))?;
    Some(format!("crates/{name}/clippy.toml:{}: other than crates/{MODEL}/clippy.toml", line + 1))
}

/// The lints that a crate's root does not deny.
fn missing_lints(name: &str, root: &Source) -> Vec<String> {
    let floats = [FLOATS].into_iter().filter(|_| !FLOATING.contains(&name));
    let wanted = DENIED.into_iter().chain(floats);
    let denials: String = root.code.split("deny(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let missing = wanted.filter(|lint| !denials.contains(lint));
    missing.map(|lint| format!("{}:1: does not deny {lint}", root.name)).collect()
}

/// Exceptions from the lints above that stand outside tests and outside the list.
fn exceptions(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in source.code_lines() {
        for lint in ["clippy::disallowed_methods", "clippy::disallowed_types", FLOATS].into_iter().chain(DENIED) {
            let is_made = ["allow(", "expect("].iter().any(|word| line.contains(word)) && line.contains(lint);
            if is_made && !EXCEPTIONS.contains(&(source.name.as_str(), lint)) {
                problems.push(format!("{}:{number}: an exception from {lint}", source.name));
            }
        }
    }
    problems
}

#[test]
fn pure_crates_bar_the_machine_in_the_same_words() {
    let read = |name: &str| fs::read_to_string(repository().join("crates").join(name).join("clippy.toml"));
    let model = read(MODEL).unwrap();
    let root = fs::read_to_string(repository().join("clippy.toml")).unwrap();
    let mut problems = Vec::new();
    let repeated = root.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    problems.extend(
        repeated.filter(|line| !model.contains(line)).map(|line| format!("crates/{MODEL}/clippy.toml:1: lacks {line}")),
    );
    for name in pure_crates() {
        match read(name) {
            Ok(text) => problems.extend(difference(name, &text, &model)),
            Err(error) => problems.push(format!("crates/{name}/clippy.toml:1: {error}")),
        }
    }
    check("clippy.toml of pure crates", &problems);
}

#[test]
fn pure_crates_deny_what_differs_from_machine_to_machine() {
    let sources = sources();
    let by_name: BTreeMap<&str, &Source> = sources.iter().map(|source| (source.name.as_str(), source)).collect();
    let mut problems = Vec::new();
    for name in pure_crates() {
        problems.extend(missing_lints(name, by_name[format!("crates/{name}/src/lib.rs").as_str()]));
    }
    check("lints of pure crates", &problems);
}

#[test]
fn exceptions_from_purity_are_listed() {
    let is_pure =
        |source: &&Source| pure_crates().iter().any(|name| source.name.starts_with(&format!("crates/{name}/src/")));
    let sources = sources();
    let pure = sources.iter().filter(is_pure).filter(|source| !source.is_test());
    check("exceptions from purity", &pure.flat_map(exceptions).collect::<Vec<_>>());
}

#[test]
fn the_checks_of_purity_can_fail() {
    let model = "a\n  { path = \"std::collections::HashMap\" },\nb\n";
    assert_eq!(difference("delta", "a\nb\n", model), None);
    assert!(difference("wire", "a\nb\n", model).is_some_and(|found| found.starts_with("crates/wire/clippy.toml:2:")));
    assert!(difference("wire", &format!("{model}c\n"), model).is_some());
    let root =
        Source::new("crates/wire/src/lib.rs", "#![deny(clippy::iter_over_hash_type)]\n// clippy::float_arithmetic\n");
    assert_eq!(missing_lints("wire", &root).len(), 2);
    assert_eq!(missing_lints("sim", &root).len(), 1);
    let source = Source::new("crates/wire/src/lib.rs", "#[expect(clippy::float_arithmetic, reason = \"x\")]\n");
    assert_eq!(exceptions(&source).len(), 1);
}
