//! Finds the files of the bases that a file of the target is compared with: those that may be equal, and those that it
//! may have been changed from.
//!
//! The work for a file does not grow with the number of files: of many namesakes, only neighbours in sorted orders are
//! looked at.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::Deref;
use std::sync::OnceLock;

use crate::{parallel, work};

use super::files::{Entry, EntryId};
use super::names::{name_without_versions, shared_folders};
use super::orders::Order;

/// Most files that a file may have been changed from.
const CHANGED_CANDIDATES_MAX: usize = 3;
/// So many files of one name are all ranked. If there are more, only the nearest in each order are.
const NAMESAKES_MAX: usize = 64;
/// So many on each side.
const NEAREST: usize = 8;

/// Keys of paths are made for so many files at a time.
const KEYS_CHUNK: usize = 1 << 12;

/// The entries that a file may have been changed from, the likeliest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origins {
    ids: [EntryId; CHANGED_CANDIDATES_MAX],
    count: u8,
}

impl Origins {
    fn new(found: &[EntryId]) -> Self {
        let mut origins = Self::default();
        for (kept, id) in origins.ids.iter_mut().zip(found) {
            *kept = *id;
            origins.count += 1;
        }
        origins
    }
}

impl Deref for Origins {
    type Target = [EntryId];

    fn deref(&self) -> &[EntryId] {
        &self.ids[..usize::from(self.count)]
    }
}

/// The entries of all bases, by path, by length and by name. Takes up to 80 bytes for each.
pub struct Pairs<'a> {
    bases: &'a [Vec<Entry>],
    /// By the hash of the path, by the length of the content, and by the hash of the name without versions.
    by_path: Vec<(u64, EntryId)>,
    by_bytes: Vec<(u64, EntryId)>,
    by_name: Vec<(u64, EntryId)>,
    /// Those of names that many files have, by the hash of the name, in each order.
    /// Made when the first such name is asked for.
    crowds: OnceLock<HashMap<u64, Vec<Vec<EntryId>>>>,
    threads: usize,
}

impl<'a> Pairs<'a> {
    pub fn new(bases: &'a [Vec<Entry>], threads: usize) -> Self {
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
        Self { bases, by_path: next(), by_bytes: next(), by_name: next(), crowds: OnceLock::new(), threads }
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
    pub fn changed_from(&self, target: &Entry) -> Origins {
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
        Origins::new(&found)
    }

    fn crowds(&self) -> HashMap<u64, Vec<Vec<EntryId>>> {
        let crowds = self.by_name.chunk_by(|one, other| one.0 == other.0).filter(|ids| ids.len() > NAMESAKES_MAX);
        let wanted: Vec<(&[(u64, EntryId)], Order)> =
            crowds.flat_map(|ids| Order::ALL.map(|order| (ids, order))).collect();
        let ordered = all(&wanted, self.threads, |(namesakes, order)| {
            let ids: Vec<EntryId> = namesakes.iter().map(|(_, id)| *id).collect();
            order.sorted(ids, |id| self.entry(id))
        });
        let mut crowds: HashMap<u64, Vec<Vec<EntryId>>> = HashMap::new();
        for ((namesakes, _), ids) in wanted.iter().zip(ordered) {
            crowds.entry(namesakes[0].0).or_default().push(ids);
        }
        crowds
    }

    /// Entries of the same name without versions: all if they are few, else the nearest in each order.
    fn namesakes(&self, target: &Entry) -> Vec<EntryId> {
        let name = name_key(&target.path);
        let Some(orders) = self.crowds.get_or_init(|| self.crowds()).get(&name) else {
            return with_key(&self.by_name, name).iter().map(|(_, id)| *id).collect();
        };
        let mut near = BTreeSet::new();
        for (order, ids) in Order::ALL.into_iter().zip(orders) {
            let wanted = order.key(target);
            let at = ids.partition_point(|id| order.key(self.entry(*id)) < wanted);
            near.extend(&ids[at.saturating_sub(NEAREST)..(at + NEAREST).min(ids.len())]);
        }
        near.into_iter().collect()
    }

    /// Entries with content whose paths are not in the target: removed, or renamed.
    pub fn left_over(&self, target: &[Entry]) -> Vec<EntryId> {
        let chunks: Vec<&[Entry]> = target.chunks(KEYS_CHUNK).collect();
        let keys = all(&chunks, self.threads, |chunk| chunk.iter().filter_map(Self::path).collect::<Vec<u64>>());
        let mut paths: Vec<u64> = keys.into_iter().flatten().collect();
        paths.sort_unstable();
        let mut paths = paths.into_iter().peekable();
        let mut left = Vec::new();
        for (path, id) in &self.by_path {
            while paths.next_if(|other| other < path).is_some() {}
            if paths.peek() != Some(path) && self.entry(*id).content_bytes > 0 {
                left.push(*id);
            }
        }
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
    // Where keys are hashes, this place is near.
    let guess = ((u128::from(key) * list.len() as u128) >> u64::BITS) as usize;
    let is_before = |(other, _): &(u64, EntryId)| *other < key;
    let mut reach = 1;
    let start = if list.get(guess).is_some_and(is_before) {
        while list.get(guess + reach).is_some_and(is_before) {
            reach *= 2;
        }
        let near = &list[guess..(guess + reach).min(list.len())];
        guess + near.partition_point(is_before)
    } else {
        while reach < guess && !is_before(&list[guess - reach]) {
            reach *= 2;
        }
        let first = guess.saturating_sub(reach);
        first + list[first..guess].partition_point(is_before)
    };
    let rest = &list[start..];
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, content_bytes: u64) -> Entry {
        Entry { path: path.as_bytes().to_vec(), start: 0, content: 512, content_bytes, end: 512 + content_bytes }
    }

    #[test]
    fn all_entries_with_a_key_are_found() {
        let hashed = (0..1000_u64).map(|n| (n / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let small = (0..1000_u64).map(|n| n / 7);
        let ends = [0, 0, u64::MAX - 1, u64::MAX, u64::MAX].into_iter();
        for keys in [hashed.collect::<Vec<u64>>(), small.collect(), ends.collect(), Vec::new()] {
            let id = |entry| EntryId { base: 0, entry };
            let mut list: Vec<(u64, EntryId)> = keys.iter().zip(0..).map(|(key, entry)| (*key, id(entry))).collect();
            list.sort_unstable();
            for &key in keys.iter().chain(&[1 << 63, 144]) {
                let wanted: Vec<(u64, EntryId)> = list.iter().copied().filter(|(other, _)| *other == key).collect();
                assert_eq!(with_key(&list, key), wanted, "{key}");
            }
        }
    }

    #[test]
    fn of_many_namesakes_the_nearest_are_ranked() {
        for count in [50, 1_000, 10_000] {
            let mut base: Vec<Entry> = (0..count).map(|n| entry(&format!("old/{n}/part-{n}.json"), n)).collect();
            base.push(entry("x-1.2/deep/part-7.json", 5));
            let bases = [base];
            let pairs = Pairs::new(&bases, 1);
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
