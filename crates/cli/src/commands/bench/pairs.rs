//! The pairs that `bench patch` measures: a target and its bases, from a folder of releases or from a list in TOML.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lighter_types::{BASES_MAX, Bytes};

use super::releases::releases;
use crate::exit::{Failure, Kind};

/// The longest list: far longer than any real list, far shorter than a layer that was given by mistake.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// A target and its bases: files that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub target: PathBuf,
    /// One to eight.
    pub bases: Vec<PathBuf>,
    pub target_bytes: Bytes,
    /// Bytes of all bases together.
    pub base_bytes: Bytes,
}

impl Pair {
    fn new(name: String, target: PathBuf, bases: Vec<PathBuf>) -> Result<Self, Failure> {
        let target_bytes = file_bytes(&target)?;
        let base_bytes = bases.iter().map(|base| file_bytes(base)).sum::<Result<u64, Failure>>()?;
        Ok(Self { name, target, bases, target_bytes: Bytes(target_bytes), base_bytes: Bytes(base_bytes) })
    }
}

fn file_bytes(path: &Path) -> Result<u64, Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(Failure::new(Kind::Usage, format!("{} is no file", path.display())))
    }
}

/// The pairs of a folder or a list: at least one.
///
/// # Errors
/// `NotFound` for what is not there, `Usage` for a folder without two releases of anything, `Config` for a list that is
/// wrong.
pub fn find(source: &Path) -> Result<Vec<Pair>, Failure> {
    let metadata = std::fs::metadata(source).map_err(|error| Failure::file("read", source, &error))?;
    if metadata.is_dir() { of_folder(source) } else { of_list(source, metadata.len()) }
}

fn of_folder(dir: &Path) -> Result<Vec<Pair>, Failure> {
    let releases = releases(dir)?;
    let mut pairs = Vec::new();
    for two in releases.windows(2) {
        let [old, new] = two else { continue };
        if let (Some(old_number), Some(new_number)) = (old.number, new.number)
            && old.package == new.package
        {
            let name = format!("{} r{old_number} r{new_number}", old.package);
            pairs.push(Pair::new(name, new.path.clone(), vec![old.path.clone()])?);
        }
    }
    if pairs.is_empty() {
        let message = format!("{} has no two releases of one layer", dir.display());
        return Err(Failure::new(Kind::Usage, message)
            .hint("layers are found by name: NAME-rN.tar, such as nginx-r1.tar and nginx-r2.tar"));
    }
    Ok(pairs)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    pair: Vec<Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    target: PathBuf,
    bases: Vec<PathBuf>,
}

fn of_list(path: &Path, bytes: u64) -> Result<Vec<Pair>, Failure> {
    if bytes > LIST_BYTES_MAX {
        return Err(list_failure(path, &format!("{} are no list of pairs, which has 1 MiB at most", Bytes(bytes))));
    }
    let text = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let text = String::from_utf8(text).map_err(|_| list_failure(path, "not a list of pairs: it is no text"))?;
    let list: List = toml::from_str(&text).map_err(|error| list_failure(path, error.to_string().trim()))?;
    if list.pair.is_empty() {
        return Err(list_failure(path, "it names no pair"));
    }
    let mut names = BTreeSet::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut pairs = Vec::new();
    for Entry { name, target, bases } in list.pair {
        if !(1..=BASES_MAX).contains(&bases.len()) {
            let what = format!("pair {name:?} has {} bases; it needs 1 to {BASES_MAX}", bases.len());
            return Err(list_failure(path, &what));
        }
        if !names.insert(name.clone()) {
            return Err(list_failure(path, &format!("two pairs are called {name:?}")));
        }
        let bases = bases.iter().map(|base| folder.join(base)).collect();
        pairs.push(Pair::new(name, folder.join(target), bases)?);
    }
    Ok(pairs)
}

fn list_failure(path: &Path, what: &str) -> Failure {
    Failure::new(Kind::Config, format!("{}: {what}", path.display()))
        .hint("a list has, for each pair, [[pair]], name = \"...\", target = \"FILE\" and bases = [\"FILE\"]")
}
