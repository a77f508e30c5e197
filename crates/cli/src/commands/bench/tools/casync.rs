//! casync: chunks of some 64 KiB that their content cuts, in a store. The wire carries the index of the target, and the
//! compressed chunks that the base's store lacks.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{Files, Step, Way, file_bytes};

pub(super) struct Casync;

/// A store, and the index of a tar in it.
struct Paths {
    store: PathBuf,
    index: PathBuf,
}

fn paths(files: &Files<'_>, name: &str) -> Paths {
    Paths { store: files.scratch.join(name), index: files.scratch.join(format!("{name}.caibx")) }
}

fn make(paths: &Paths, tar: &Path) -> Vec<Step> {
    vec![Step::stock("casync", &[&"make", &"--store", &paths.store, &paths.index, &tar])]
}

impl Way for Casync {
    fn name(&self) -> &'static str {
        "casync"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["casync"]
    }

    fn prepare(&self, files: &Files<'_>) -> Vec<Step> {
        make(&paths(files, "base"), &files.joined_base)
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        make(&paths(files, "target"), &files.pair.target)
    }

    fn wire_bytes(&self, files: &Files<'_>) -> io::Result<u64> {
        let (base, target) = (paths(files, "base"), paths(files, "target"));
        let held: BTreeSet<OsString> = chunks(&base.store)?.into_iter().map(|(name, _)| name).collect();
        let missing = chunks(&target.store)?.into_iter().filter(|(name, _)| !held.contains(name));
        Ok(missing.map(|(_, bytes)| bytes).sum::<u64>() + file_bytes(&target.index)?)
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        let target = paths(files, "target");
        let (store, seed) = (&target.store, &files.joined_base);
        let arguments: [&dyn AsRef<std::ffi::OsStr>; 7] =
            [&"extract", &"--store", store, &"--seed", seed, &target.index, &files.rebuilt];
        vec![Step::stock("casync", &arguments)]
    }
}

/// The names and sizes of a store's chunks: files in folders named by the first four digits of the names.
fn chunks(store: &Path) -> io::Result<Vec<(OsString, u64)>> {
    let mut chunks = Vec::new();
    for folder in std::fs::read_dir(store)? {
        for chunk in std::fs::read_dir(folder?.path())? {
            let chunk = chunk?;
            chunks.push((chunk.file_name(), chunk.metadata()?.len()));
        }
    }
    Ok(chunks)
}
