//! Finds the files of the bases that a file of the target is compared with: those that may be equal, and those that it
//! may have been changed from.

use std::collections::{HashMap, HashSet};

use super::files::Entry;

/// An entry of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    pub base: usize,
    pub entry: usize,
}

/// Most files of the same length that a file is compared with byte by byte.
const EQUAL_CANDIDATES_MAX: usize = 8;
/// Most files that a file may have been changed from.
const CHANGED_CANDIDATES_MAX: usize = 3;

/// The entries of all bases, by path, by length and by name.
pub struct Pairs<'a> {
    bases: &'a [Vec<Entry>],
    by_path: HashMap<&'a [u8], Vec<EntryId>>,
    by_bytes: HashMap<u64, Vec<EntryId>>,
    by_name: HashMap<Vec<u8>, Vec<EntryId>>,
}

impl<'a> Pairs<'a> {
    pub fn new(bases: &'a [Vec<Entry>]) -> Self {
        let mut pairs = Self { bases, by_path: HashMap::new(), by_bytes: HashMap::new(), by_name: HashMap::new() };
        for (base, entries) in bases.iter().enumerate() {
            for (entry, found) in entries.iter().enumerate() {
                let id = EntryId { base, entry };
                pairs.by_path.entry(&found.path).or_default().push(id);
                if found.content_bytes > 0 {
                    pairs.by_bytes.entry(found.content_bytes).or_default().push(id);
                    pairs.by_name.entry(name_without_versions(&found.path)).or_default().push(id);
                }
            }
        }
        pairs
    }

    pub fn entry(&self, id: EntryId) -> &'a Entry {
        &self.bases[id.base][id.entry]
    }

    /// The entries of the same path, in the order of the bases.
    pub fn same_path(&self, target: &Entry) -> &[EntryId] {
        self.by_path.get(target.path.as_slice()).map_or(&[], Vec::as_slice)
    }

    /// Entries whose content may equal the target's: those of the same length, those of the same path first.
    pub fn maybe_equal(&self, target: &Entry) -> impl Iterator<Item = EntryId> + '_ {
        let bytes = target.content_bytes;
        let path = self.same_path(target).iter().filter(move |id| self.entry(**id).content_bytes == bytes);
        let others = self.by_bytes.get(&bytes).map_or(&[][..], Vec::as_slice).iter();
        let wanted = target.path.clone();
        let others = others.filter(move |id| self.entry(**id).path != wanted).take(EQUAL_CANDIDATES_MAX);
        path.chain(others).copied()
    }

    /// Entries that the target may have been changed from, the likeliest first: those of the same path; else those of
    /// the same name without versions, those in the same folder first, then the nearest in length.
    pub fn changed_from(&self, target: &Entry) -> Vec<EntryId> {
        let mut found: Vec<EntryId> =
            self.same_path(target).iter().copied().filter(|id| self.entry(*id).content_bytes > 0).collect();
        if found.is_empty() {
            found = self.by_name.get(&name_without_versions(&target.path)).cloned().unwrap_or_default();
            found.sort_by_cached_key(|&id| {
                let entry = self.entry(id);
                let shared = shared_folders(&entry.path, &target.path);
                (std::cmp::Reverse(shared), entry.content_bytes.abs_diff(target.content_bytes), id)
            });
        }
        found.truncate(CHANGED_CANDIDATES_MAX);
        found
    }

    /// Entries with content whose paths are not in the target: removed, or renamed.
    pub fn left_over(&self, target: &[Entry]) -> Vec<EntryId> {
        let paths: HashSet<&[u8]> = target.iter().map(|entry| entry.path.as_slice()).collect();
        let all = self
            .bases
            .iter()
            .enumerate()
            .flat_map(|(base, entries)| (0..entries.len()).map(move |entry| EntryId { base, entry }));
        all.filter(|&id| {
            let entry = self.entry(id);
            entry.content_bytes > 0 && !paths.contains(entry.path.as_slice())
        })
        .collect()
    }
}

/// The file's name, with one mark for each run of digits and dots: libfoo.so.1.2 and libfoo.so.1.3 have the same.
fn name_without_versions(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty()).unwrap_or_default();
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        let byte = if byte.is_ascii_digit() { b'0' } else { byte };
        match (out.last(), byte) {
            (Some(b'0'), b'0' | b'.') => {}
            _ => out.push(byte),
        }
    }
    out
}

/// The path, with one mark for each run of digits and dots.
pub fn path_without_versions(path: &[u8]) -> Vec<u8> {
    folders(path).join(&b'/')
}

fn folders(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').map(name_without_versions).collect()
}

/// How many folders from the root on are the same without versions.
fn shared_folders(one: &[u8], other: &[u8]) -> usize {
    folders(one).iter().zip(&folders(other)).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_do_not_make_another_name() {
        let same = |one: &str, other: &str| {
            assert_eq!(name_without_versions(one.as_bytes()), name_without_versions(other.as_bytes()));
        };
        same("usr/lib/libfoo.so.1.2", "lib/libfoo.so.1.13");
        same("a/package-1.2.10.dist-info", "a/package-1.2.9.dist-info");
        same("perl5.36.0", "perl5.40.1");
        assert_ne!(name_without_versions(b"libfoo.so"), name_without_versions(b"libbar.so"));
    }
}
