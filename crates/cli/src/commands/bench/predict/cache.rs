//! Bytes of patches that earlier runs made: a file of JSON lines, one for each target, base and encoder settings. The
//! id of the settings includes the encoder's version, so an old figure is never taken for a new one.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::Path;

use lighter_types::DiffId;
use serde::{Deserialize, Serialize};

use crate::commands::patch::write_whole;
use crate::exit::{Failure, Kind};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    target: String,
    base: String,
    settings: u32,
}

impl Key {
    /// The patch of a target from some bases, in their order.
    pub fn new(target: DiffId, bases: &[DiffId], settings: u32) -> Self {
        let bases: Vec<String> = bases.iter().map(DiffId::to_string).collect();
        Self { target: target.to_string(), base: bases.join(" "), settings }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    key: Key,
    patch_bytes: u64,
}

/// The known figures, and the file that keeps them, if there is one.
pub struct Cache<'a> {
    path: Option<&'a Path>,
    known: BTreeMap<Key, u64>,
}

impl<'a> Cache<'a> {
    /// # Errors
    /// `BadData` for a line of another form; else if the file cannot be read or written. The file is written at once,
    /// so that this fails before the first patch is made.
    pub fn open(path: Option<&'a Path>) -> Result<Self, Failure> {
        let mut cache = Self { path, known: BTreeMap::new() };
        let Some(path) = path else { return Ok(cache) };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::file("read", path, &error)),
        };
        for (index, line) in text.lines().enumerate() {
            let line: Line = serde_json::from_str(line).map_err(|error| {
                Failure::new(Kind::BadData, format!("{}:{}: {error}", path.display(), index + 1))
                    .hint("name another file with --cache, or remove this one")
            })?;
            cache.known.insert(line.key, line.patch_bytes);
        }
        cache.write()?;
        Ok(cache)
    }

    pub fn get(&self, key: &Key) -> Option<u64> {
        self.known.get(key).copied()
    }

    /// Keeps a figure and writes the file.
    pub fn put(&mut self, key: Key, patch_bytes: u64) -> Result<(), Failure> {
        self.known.insert(key, patch_bytes);
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        let Some(path) = self.path else { return Ok(()) };
        write_whole(path, |file| {
            for (key, &patch_bytes) in &self.known {
                let line = serde_json::to_string(&Line { key: key.clone(), patch_bytes });
                let line = line.map_err(|error| Failure::from_error(Kind::Other, &error))?;
                writeln!(file, "{line}").map_err(|error| Failure::file("write", path, &error))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_kept_and_nothing_else_is_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let mut cache = Cache::open(Some(&path)).unwrap();
        assert_eq!(cache.get(&key(1)), None);
        cache.put(key(1), 77).unwrap();
        cache.put(key(2), 78).unwrap();
        let cache = Cache::open(Some(&path)).unwrap();
        assert_eq!([1, 2, 3].map(|settings| cache.get(&key(settings))), [Some(77), Some(78), None]);
        std::fs::write(&path, "{\"target\":1}\n").unwrap();
        assert_eq!(Cache::open(Some(&path)).err().map(|failure| failure.kind), Some(Kind::BadData));
        let nowhere = folder.path().join("no/cache");
        assert_eq!(Cache::open(Some(&nowhere)).err().map(|failure| failure.kind), Some(Kind::NotFound));
    }

    fn key(settings: u32) -> Key {
        Key::new(DiffId::new([1; 32]), &[DiffId::new([2; 32])], settings)
    }
}
