//! Holds sources and documents to the habits of this repository, by reading them.
//!
//! Each check gathers every offender as `file:line: problem` and hands them to [`check`]. Each has a test beside it
//! that shows it fail on a text made up for it. The compiler and clippy check the rest: docs/decisions/0016-versions.md
//! and the `clippy.toml` files say what they keep.

mod documents;
mod english;
mod imports;
mod modules;
mod numbers;
mod purity;
mod rings;
mod shape;
mod source;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{repository, run};

/// Prints every problem, and fails if there is one.
fn check(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}: {} offenders:\n{}", problems.len(), problems.join("\n"));
}

/// All files with this ending below a folder, without build products, in order.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A file's path in the repository.
fn name_of(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned()
}

/// Every Markdown file: its path in the repository, and its text.
fn documents() -> Vec<(String, String)> {
    let root = repository();
    let mut paths = files(&root.join("docs"), ".md");
    paths.extend(fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    paths.iter().map(|path| (name_of(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_configuration_is_right() {
    let found = files(&repository().join("configs"), ".toml");
    assert!(found.len() >= 3, "{found:?}");
    for path in found {
        run(&["config", "check", path.to_str().unwrap()]).ok();
    }
}

#[test]
#[should_panic(expected = "made up: 1 offenders")]
fn one_offender_fails_a_check() {
    check("made up", &["a.rs:1: wrong".to_owned()]);
}
