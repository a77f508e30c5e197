//! Finds the files of the bases that a file of the target is compared with: those that may be equal, and those that it
//! may have been changed from.
//!
//! The work for a file does not grow with the number of files: of many namesakes, only neighbours in sorted orders are
//! looked at.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashMap};

use super::files::Entry;
use crate::work;

/// An entry of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    pub base: u32,
    pub entry: u32,
}

/// Most files that a file may have been changed from.
const CHANGED_CANDIDATES_MAX: usize = 3;
/// So many files of one name are all ranked. If there are more, only the nearest in each order are.
const NAMESAKES_MAX: usize = 64;
/// So many on each side.
const NEAREST: usize = 8;

/// The entries of all bases, by path, by length and by name. Takes 64 bytes for each.
pub struct Pairs<'a> {
    bases: &'a [Vec<Entry>],
    /// By the hash of the path, by the length of the content, and by the hash of the name without versions.
    by_path: Vec<(u64, EntryId)>,
    by_bytes: Vec<(u64, EntryId)>,
    by_name: Vec<(u64, EntryId)>,
    /// Those of names that many files have, by the hash of the name.
    crowds: HashMap<u64, [Vec<EntryId>; Order::ALL.len()]>,
}

/// An order in which likely counterparts are neighbours.
#[derive(Clone, Copy)]
enum Order {
    /// By folders from the root on, without versions: a package of another version.
    Root,
    /// By name, then by folders from the last one up: a folder that moved.
    Leaf,
    /// By length.
    Length,
}

impl Order {
    const ALL: [Self; 3] = [Self::Root, Self::Leaf, Self::Length];

    fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let by_path = match self {
            Self::Root => without_versions(&one.path).cmp(without_versions(&other.path)),
            Self::Leaf => folders(&one.path).rev().cmp(folders(&other.path).rev()),
            Self::Length => Ordering::Equal,
        };
        by_path.then(one.content_bytes.cmp(&other.content_bytes))
    }
}

impl<'a> Pairs<'a> {
    pub fn new(bases: &'a [Vec<Entry>]) -> Self {
        let ids = || {
            let numbered = |(base, entries): (usize, &'a Vec<Entry>)| {
                entries.iter().zip(0..).map(move |(found, entry)| (EntryId { base: base as u32, entry }, found))
            };
            bases.iter().enumerate().flat_map(numbered)
        };
        let with_content = || ids().filter(|(_, entry)| entry.content_bytes > 0);
        let sorted = |mut list: Vec<(u64, EntryId)>| {
            list.sort_unstable();
            list
        };
        let mut pairs = Self {
            bases,
            by_path: sorted(ids().map(|(id, entry)| (key(&entry.path), id)).collect()),
            by_bytes: sorted(with_content().map(|(id, entry)| (entry.content_bytes, id)).collect()),
            by_name: sorted(with_content().map(|(id, entry)| (name_key(&entry.path), id)).collect()),
            crowds: HashMap::new(),
        };
        for namesakes in pairs.by_name.chunk_by(|one, other| one.0 == other.0) {
            if namesakes.len() > NAMESAKES_MAX {
                let entry = |id: EntryId| &bases[id.base as usize][id.entry as usize];
                let orders = Order::ALL.map(|order| {
                    let mut ids: Vec<EntryId> = namesakes.iter().map(|(_, id)| *id).collect();
                    ids.sort_unstable_by(|one, other| order.compare(entry(*one), entry(*other)).then(one.cmp(other)));
                    ids
                });
                pairs.crowds.insert(namesakes[0].0, orders);
            }
        }
        pairs
    }

    pub fn entry(&self, id: EntryId) -> &'a Entry {
        &self.bases[id.base as usize][id.entry as usize]
    }

    /// The entries of the same path, in the order of the bases; of many, the first.
    pub fn same_path<'p>(&'p self, target: &'p Entry) -> impl Iterator<Item = EntryId> + 'p {
        let found = with_key(&self.by_path, key(&target.path));
        found.iter().take(NAMESAKES_MAX).map(|(_, id)| *id).filter(|id| self.entry(*id).path == target.path)
    }

    /// The entries whose content is so long, in the order of the bases.
    pub fn of_length(&self, content_bytes: u64) -> impl ExactSizeIterator<Item = EntryId> + '_ {
        with_key(&self.by_bytes, content_bytes).iter().map(|(_, id)| *id)
    }

    /// Entries that the target may have been changed from, the likeliest first: those of the same path; else those of
    /// the same name without versions, those first that share most folders from the root on and from the name up, then
    /// the nearest in length.
    pub fn changed_from(&self, target: &Entry) -> Vec<EntryId> {
        let mut found: Vec<EntryId> = self.same_path(target).filter(|id| self.entry(*id).content_bytes > 0).collect();
        if found.is_empty() {
            found = self.namesakes(target);
            work::count(found.len());
            found.sort_by_cached_key(|&id| {
                let entry = self.entry(id);
                let shared = shared_folders(&entry.path, &target.path);
                (Reverse(shared), entry.content_bytes.abs_diff(target.content_bytes), id)
            });
        }
        found.truncate(CHANGED_CANDIDATES_MAX);
        found
    }

    /// Entries of the same name without versions: all if they are few, else the nearest in each order.
    fn namesakes(&self, target: &Entry) -> Vec<EntryId> {
        let name = name_key(&target.path);
        let Some(orders) = self.crowds.get(&name) else {
            return with_key(&self.by_name, name).iter().map(|(_, id)| *id).collect();
        };
        let mut near = BTreeSet::new();
        for (order, ids) in Order::ALL.into_iter().zip(orders) {
            let at = ids.partition_point(|id| order.compare(self.entry(*id), target).is_lt());
            near.extend(&ids[at.saturating_sub(NEAREST)..(at + NEAREST).min(ids.len())]);
        }
        near.into_iter().collect()
    }

    /// Entries with content whose paths are not in the target: removed, or renamed.
    pub fn left_over(&self, target: &[Entry]) -> Vec<EntryId> {
        let mut paths: Vec<u64> = target.iter().map(|entry| key(&entry.path)).collect();
        paths.sort_unstable();
        let is_left =
            |(path, id): &&(u64, EntryId)| self.entry(*id).content_bytes > 0 && paths.binary_search(path).is_err();
        let mut left: Vec<EntryId> = self.by_path.iter().filter(is_left).map(|(_, id)| *id).collect();
        left.sort_unstable();
        left
    }
}

/// The entries with a key.
fn with_key(list: &[(u64, EntryId)], key: u64) -> &[(u64, EntryId)] {
    let first = list.partition_point(|(other, _)| *other < key);
    let count = list[first..].partition_point(|(other, _)| *other == key);
    &list[first..first + count]
}

/// A hash that nobody can make many paths for.
fn key(path: &[u8]) -> u64 {
    blake3::hash(path).as_bytes().first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn name_key(path: &[u8]) -> u64 {
    key(&name_without_versions(path).collect::<Vec<u8>>())
}

/// The file's name, with one mark for each run of digits and dots: libfoo.so.1.2 and libfoo.so.1.3 have the same.
fn name_without_versions(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    without_versions(folders(path).rev().find(|part| !part.is_empty()).unwrap_or_default())
}

/// The path, or a name, with one mark for each run of digits and dots.
pub fn without_versions(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut is_in_version = false;
    path.iter().filter_map(move |&byte| {
        let is_digit = byte.is_ascii_digit();
        if is_in_version && (is_digit || byte == b'.') {
            return None;
        }
        is_in_version = is_digit;
        Some(if is_digit { b'0' } else { byte })
    })
}

fn folders(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

/// How many folders from the root on are the same without versions, and how many names from the last one up.
fn shared_folders(one: &[u8], other: &[u8]) -> usize {
    let front = folders(one).zip(folders(other)).take_while(|(a, b)| without_versions(a).eq(without_versions(b)));
    let back = folders(one).rev().zip(folders(other).rev()).take_while(|(a, b)| a == b);
    front.count() + back.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_do_not_make_another_name() {
        let same = |one: &str, other: &str| {
            assert!(name_without_versions(one.as_bytes()).eq(name_without_versions(other.as_bytes())), "{one} {other}");
        };
        same("usr/lib/libfoo.so.1.2", "lib/libfoo.so.1.13");
        same("a/package-1.2.10.dist-info", "a/package-1.2.9.dist-info");
        same("perl5.36.0", "perl5.40.1");
        assert!(name_without_versions(b"libfoo.so").ne(name_without_versions(b"libbar.so")));
    }

    fn entry(path: &str, content_bytes: u64) -> Entry {
        Entry { path: path.as_bytes().to_vec(), start: 0, content: 512, content_bytes, end: 512 + content_bytes }
    }

    #[test]
    fn of_many_namesakes_the_nearest_are_ranked() {
        for count in [50, 1_000, 10_000] {
            let mut base: Vec<Entry> = (0..count).map(|n| entry(&format!("old/{n}/part-{n}.json"), n)).collect();
            base.push(entry("x-1.2/deep/part-7.json", 5));
            let bases = [base];
            let pairs = Pairs::new(&bases);
            let found = |path: &str, bytes: u64| {
                assert!(pairs.namesakes(&entry(path, bytes)).len() <= NAMESAKES_MAX);
                let id = pairs.changed_from(&entry(path, bytes))[0];
                String::from_utf8(pairs.entry(id).path.clone()).unwrap()
            };
            // A folder that moved, a package of another version, and a name that says nothing.
            assert_eq!(found("new/41/part-41.json", 9_000), "old/41/part-41.json", "{count}");
            assert_eq!(found("x-1.3/deep/part-8.json", 20), "x-1.2/deep/part-7.json", "{count}");
            assert_eq!(found("elsewhere/part-999999.json", 44), "old/44/part-44.json", "{count}");
        }
    }
}
