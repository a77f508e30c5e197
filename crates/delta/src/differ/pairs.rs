//! Finds the files of the bases that a file of the target is compared with: those that may be equal, and those that it
//! may have been changed from.
//!
//! The work for a file does not grow with the number of files: of many namesakes, only neighbours in sorted orders are
//! looked at.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::files::Entry;

/// An entry of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    pub base: usize,
    pub entry: usize,
}

/// Most files that a file may have been changed from.
const CHANGED_CANDIDATES_MAX: usize = 3;
/// So many files of one name are all ranked. If there are more, only the nearest in each order are.
const NAMESAKES_MAX: usize = 64;
/// So many on each side.
const NEAREST: usize = 8;

/// The entries of all bases, by path, by length and by name.
pub struct Pairs<'a> {
    bases: &'a [Vec<Entry>],
    by_path: HashMap<&'a [u8], Vec<EntryId>>,
    by_bytes: HashMap<u64, Vec<EntryId>>,
    by_name: BTreeMap<Vec<u8>, Namesakes>,
}

/// Files of the same name without versions.
#[derive(Default)]
struct Namesakes {
    all: Vec<EntryId>,
    /// Empty if there are few.
    orders: Vec<(Order, Vec<(Place, EntryId)>)>,
}

/// A file's place in an order: a key of its path, and the length of its content.
type Place = (Vec<u8>, u64);

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

    fn place(self, entry: &Entry) -> Place {
        let key = match self {
            Self::Root => path_without_versions(&entry.path),
            Self::Leaf => entry.path.rsplit(|&byte| byte == b'/').collect::<Vec<_>>().join(&b'/'),
            Self::Length => Vec::new(),
        };
        (key, entry.content_bytes)
    }
}

impl<'a> Pairs<'a> {
    pub fn new(bases: &'a [Vec<Entry>]) -> Self {
        let mut pairs = Self { bases, by_path: HashMap::new(), by_bytes: HashMap::new(), by_name: BTreeMap::new() };
        for (base, entries) in bases.iter().enumerate() {
            for (entry, found) in entries.iter().enumerate() {
                let id = EntryId { base, entry };
                pairs.by_path.entry(&found.path).or_default().push(id);
                if found.content_bytes > 0 {
                    pairs.by_bytes.entry(found.content_bytes).or_default().push(id);
                    pairs.by_name.entry(name_without_versions(&found.path)).or_default().all.push(id);
                }
            }
        }
        for namesakes in pairs.by_name.values_mut().filter(|namesakes| namesakes.all.len() > NAMESAKES_MAX) {
            for order in Order::ALL {
                let place = |&id: &EntryId| (order.place(&bases[id.base][id.entry]), id);
                let mut places: Vec<(Place, EntryId)> = namesakes.all.iter().map(place).collect();
                places.sort_unstable();
                namesakes.orders.push((order, places));
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

    /// The entries whose content is so long, in the order of the bases.
    pub fn of_length(&self, content_bytes: u64) -> &[EntryId] {
        self.by_bytes.get(&content_bytes).map_or(&[], Vec::as_slice)
    }

    /// Entries that the target may have been changed from, the likeliest first: those of the same path; else those of
    /// the same name without versions, those first that share most folders from the root on and from the name up, then
    /// the nearest in length.
    pub fn changed_from(&self, target: &Entry) -> Vec<EntryId> {
        let mut found: Vec<EntryId> =
            self.same_path(target).iter().copied().filter(|id| self.entry(*id).content_bytes > 0).collect();
        if found.is_empty() {
            found = self.namesakes(target);
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
        let Some(namesakes) = self.by_name.get(&name_without_versions(&target.path)) else { return Vec::new() };
        if namesakes.orders.is_empty() {
            return namesakes.all.clone();
        }
        let mut near = BTreeSet::new();
        for (order, places) in &namesakes.orders {
            let wanted = order.place(target);
            let at = places.partition_point(|(place, _)| *place < wanted);
            let around = at.saturating_sub(NEAREST)..(at + NEAREST).min(places.len());
            near.extend(places[around].iter().map(|(_, id)| *id));
        }
        near.into_iter().collect()
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
    without_versions(name).collect()
}

/// The path, with one mark for each run of digits and dots.
pub fn path_without_versions(path: &[u8]) -> Vec<u8> {
    let folders: Vec<Vec<u8>> = path.split(|&byte| byte == b'/').map(|name| without_versions(name).collect()).collect();
    folders.join(&b'/')
}

fn without_versions(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut is_in_version = false;
    name.iter().filter_map(move |&byte| {
        let is_digit = byte.is_ascii_digit();
        if is_in_version && (is_digit || byte == b'.') {
            return None;
        }
        is_in_version = is_digit;
        Some(if is_digit { b'0' } else { byte })
    })
}

/// How many folders from the root on are the same without versions, and how many names from the last one up.
fn shared_folders(one: &[u8], other: &[u8]) -> usize {
    let folders = |path| <[u8]>::split(path, |&byte: &u8| byte == b'/');
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
            assert_eq!(name_without_versions(one.as_bytes()), name_without_versions(other.as_bytes()));
        };
        same("usr/lib/libfoo.so.1.2", "lib/libfoo.so.1.13");
        same("a/package-1.2.10.dist-info", "a/package-1.2.9.dist-info");
        same("perl5.36.0", "perl5.40.1");
        assert_ne!(name_without_versions(b"libfoo.so"), name_without_versions(b"libbar.so"));
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
