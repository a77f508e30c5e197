//! Commands and nodes stay within the memory that they were given, as the kernel measures it. These tests need root.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use crate::support::group::ControlGroup;
use crate::support::{finish, folder, images, lighter};

/// Runs `lighter` with at most so much memory.
#[track_caller]
fn run_within(mebibytes: u64, args: &[&str]) {
    let group = ControlGroup::of_memory("memory", mebibytes);
    let mut command = Command::new(lighter());
    command.args(args);
    finish(&mut group.command(&command)).ok();
}

/// A file of so many parts of 1 MiB that do not compress, the first of a number of its own.
fn noise(path: &Path, first: u64, parts: u64) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    (first..first + parts).for_each(|part| file.write_all(&images::noise(part, 1 << 20)).unwrap());
    file.into_inner().unwrap();
}

#[test]
fn layers_larger_than_the_memory_are_patched_and_applied() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    // The first 100 parts are new, the others stand 7 parts further on.
    noise(&path("base"), 100, 500);
    noise(&path("target"), 7, 593);
    let (base, target, patch, out) = (text("base"), text("target"), text("patch"), text("out"));
    for bases in [&["--base", &base][..], &[]] {
        let create = ["patch", "create", "--memory", "256MiB", "--target", &target, "--out", &patch];
        run_within(320, &[&create, bases].concat());
        run_within(64, &[&["patch", "apply", "--patch", &patch, "--out", &out], bases].concat());
        assert!(same(&path("target"), &path("out")), "{bases:?}");
        fs::remove_file(path("out")).unwrap();
    }
}

fn same(one: &Path, other: &Path) -> bool {
    finish(Command::new("cmp").args([one, other])).code == 0
}

#[test]
fn frames_with_models_are_applied_two_at_a_time() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = |version: u64| -> String {
        (0..120_000u64)
            .map(|n| format!("{}: part {} of {}\n", n * 2_654_435_761 % 999_983, n * version % 1013, n))
            .collect()
    };
    let (base, target, patch, out) = (path("base"), path("target"), path("patch"), path("out"));
    for (name, version) in [(&base, 1), (&target, 2)] {
        fs::write(name, images::tar(&[("table", text(version).repeat(3).as_bytes())])).unwrap();
    }
    let create = ["patch", "create", "--effort", "max", "--base", &base, "--target", &target, "--out", &patch];
    finish(Command::new(lighter()).args(create)).ok();
    run_within(64, &["patch", "apply", "--base", &base, "--patch", &patch, "--out", &out]);
    assert!(same(Path::new(&target), Path::new(&out)));
}

#[test]
fn layers_of_many_files_stay_within_the_memory() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tar = |top: &str, changed: u64| {
        let names: Vec<String> =
            (0..100_000).map(|n| format!("{top}/application-data/section-{}/resource-{n}.txt", n % 997)).collect();
        let contents: Vec<String> = (0..100_000).map(|n| format!("{n}: {}\n", n / changed)).collect();
        let files = names.iter().zip(&contents).map(|(name, content)| (name.as_str(), content.as_bytes()));
        images::tar(&files.collect::<Vec<_>>())
    };
    fs::write(path("base"), tar("usr/share", 1)).unwrap();
    fs::write(path("changed"), tar("usr/share", 2)).unwrap();
    fs::write(path("moved"), tar("opt", 1)).unwrap();
    for target in ["changed", "moved"] {
        let (base, target, patch, out) = (path("base"), path(target), path("patch"), path("out"));
        run_within(384, &["patch", "create", "--base", &base, "--target", &target, "--out", &patch]);
        run_within(64, &["patch", "apply", "--base", &base, "--patch", &patch, "--out", &out]);
        assert!(same(Path::new(&target), Path::new(&out)));
    }
}
