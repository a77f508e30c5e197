//! Finds the files of the bases that a file of the target is compared with: those that may be equal, and those that it
//! may have been changed from.
//!
//! The work for a file does not grow with the number of files: of many namesakes, only neighbours in sorted orders are
//! looked at.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;

use crate::{parallel, work};

use super::files::{Entry, Files};

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

/// The entries of all bases, by path, by length and by name. Takes up to 80 bytes for each.
pub struct Pairs<'a> {
    bases: &'a [Vec<Entry>],
    /// By the hash of the path, by the length of the content, and by the hash of the name without versions.
    by_path: Vec<(u64, EntryId)>,
    by_bytes: Vec<(u64, EntryId)>,
    by_name: Vec<(u64, EntryId)>,
    /// Those of names that many files have, by the hash of the name, in each order.
    crowds: HashMap<u64, Vec<Vec<EntryId>>>,
    left_over: Vec<EntryId>,
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
    pub fn new(files: &'a Files, threads: usize) -> Self {
        let bases = &files.bases;
        let list = |key: &fn(&Entry) -> Option<u64>| {
            let mut list = Vec::new();
            for (base, entries) in (0..).zip(bases) {
                let id = |entry| EntryId { base, entry };
                list.extend((0..).zip(entries).filter_map(|(entry, found)| Some((key(found)?, id(entry)))));
            }
            list.sort_unstable();
            list
        };
        let mut lists = all(&[Self::path, Self::bytes, Self::name], threads, list).into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let mut pairs = Self {
            bases,
            by_path: next(),
            by_bytes: next(),
            by_name: next(),
            crowds: HashMap::new(),
            left_over: Vec::new(),
        };
        let crowds = pairs.by_name.chunk_by(|one, other| one.0 == other.0).filter(|ids| ids.len() > NAMESAKES_MAX);
        let wanted: Vec<(&[(u64, EntryId)], Order)> =
            crowds.flat_map(|ids| Order::ALL.map(|order| (ids, order))).collect();
        let ordered = all(&wanted, threads, |(namesakes, order)| {
            let mut ids: Vec<EntryId> = namesakes.iter().map(|(_, id)| *id).collect();
            let compare = |one, other| order.compare(pairs.entry(one), pairs.entry(other)).then(one.cmp(&other));
            ids.sort_unstable_by(|one, other| compare(*one, *other));
            ids
        });
        let mut crowds: HashMap<u64, Vec<Vec<EntryId>>> = HashMap::new();
        for ((namesakes, _), ids) in wanted.iter().zip(ordered) {
            crowds.entry(namesakes[0].0).or_default().push(ids);
        }
        pairs.crowds = crowds;
        pairs.left_over = pairs.find_left_over(&files.target);
        pairs
    }

    fn path(entry: &Entry) -> Option<u64> {
        Some(key(&entry.path))
    }

    fn bytes(entry: &Entry) -> Option<u64> {
        Some(entry.content_bytes).filter(|&bytes| bytes > 0)
    }

    fn name(entry: &Entry) -> Option<u64> {
        Self::bytes(entry).map(|_| name_key(&entry.path))
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
    pub fn left_over(&self) -> &[EntryId] {
        &self.left_over
    }

    fn find_left_over(&self, target: &[Entry]) -> Vec<EntryId> {
        let mut paths: Vec<u64> = target.iter().map(|entry| key(&entry.path)).collect();
        paths.sort_unstable();
        let is_left =
            |(path, id): &&(u64, EntryId)| self.entry(*id).content_bytes > 0 && paths.binary_search(path).is_err();
        let mut left: Vec<EntryId> = self.by_path.iter().filter(is_left).map(|(_, id)| *id).collect();
        left.sort_unstable();
        left
    }
}

/// The results of `work` for each item.
fn all<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Ok(made) = parallel::map(items, threads, |item| Ok::<_, Infallible>(work(item)));
    made
}

/// The entries with a key.
fn with_key(list: &[(u64, EntryId)], key: u64) -> &[(u64, EntryId)] {
    let rest = &list[list.partition_point(|(other, _)| *other < key)..];
    // Few have the same key, mostly.
    let mut bound = 1;
    while rest.get(bound).is_some_and(|(other, _)| *other == key) {
        bound *= 2;
    }
    let near = &rest[..(bound + 1).min(rest.len())];
    &near[..near.partition_point(|(other, _)| *other == key)]
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
            let files = Files { target: Vec::new(), bases: vec![base] };
            let pairs = Pairs::new(&files, 1);
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
