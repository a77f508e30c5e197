//! Orders of the entries of one name, in which likely counterparts are neighbours.

use super::files::{Entry, EntryId};
use super::names::{folders, without_versions};

/// Stands between folders in a key, and before the length. No path has them.
const BETWEEN_FOLDERS: u8 = 1;
const BEFORE_LENGTH: u8 = 0;

/// An order in which likely counterparts are neighbours.
#[derive(Clone, Copy)]
pub enum Order {
    /// By folders from the root on, without versions: a package of another version.
    Root,
    /// By name, then by folders from the last one up: a folder that moved.
    Leaf,
    /// By length.
    Length,
}

impl Order {
    pub const ALL: [Self; 3] = [Self::Root, Self::Leaf, Self::Length];

    /// The bytes that entries are ordered by: the path, then the length.
    pub fn key(self, entry: &Entry) -> Vec<u8> {
        let mut key = Vec::with_capacity(entry.path.len() + 1 + size_of::<u64>());
        self.add_key(entry, &mut key);
        key
    }

    fn add_key(self, entry: &Entry, key: &mut Vec<u8>) {
        match self {
            Self::Root => key.extend(without_versions(&entry.path)),
            Self::Leaf => folders(&entry.path).rev().for_each(|folder| {
                key.extend(folder);
                key.push(BETWEEN_FOLDERS);
            }),
            Self::Length => (),
        }
        key.push(BEFORE_LENGTH);
        key.extend(entry.content_bytes.to_be_bytes());
    }

    /// Sorts entries. Makes the key of each once, and compares the eight bytes that follow what all keys begin with
    /// first: comparing paths folder by folder took a third of the time that a patch of 800,000 files took.
    pub fn sorted<'e>(self, ids: Vec<EntryId>, entry: impl Fn(EntryId) -> &'e Entry) -> Vec<EntryId> {
        let mut keys = Vec::new();
        let ends: Vec<usize> = ids
            .iter()
            .map(|&id| {
                self.add_key(entry(id), &mut keys);
                keys.len()
            })
            .collect();
        let key = |index: usize| &keys[index.checked_sub(1).map_or(0, |before| ends[before])..ends[index]];
        let mut common = ends.first().copied().unwrap_or(0);
        for index in 1..ids.len() {
            common = key(0).iter().zip(key(index)).take(common).take_while(|(one, other)| one == other).count();
        }
        let front = |index: usize| {
            let mut front = [0; size_of::<u64>()];
            front.iter_mut().zip(&key(index)[common..]).for_each(|(front, byte)| *front = *byte);
            u64::from_be_bytes(front)
        };
        let mut order: Vec<(u64, usize)> = (0..ids.len()).map(|index| (front(index), index)).collect();
        order.sort_unstable_by(|(one_front, one), (other_front, other)| {
            let by_key = || key(*one)[common..].cmp(&key(*other)[common..]);
            one_front.cmp(other_front).then_with(by_key).then_with(|| ids[*one].cmp(&ids[*other]))
        });
        order.into_iter().map(|(_, index)| ids[index]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sorted_order_is_that_of_the_keys() {
        let paths = ["a/b/x1", "a/b/x10", "a/b", "", "b/x1", "a/c-1.2/x1", "a/c-1.3/x", "x1", "a//b/x1", "a/b/x1"];
        let entries: Vec<Entry> = (0..200)
            .map(|n: u64| {
                let path = format!("{}{}", paths[n as usize % paths.len()], ["", "/part", "x"][n as usize % 3]);
                let content_bytes = n * 2_654_435_761 % 7;
                Entry { path: path.into_bytes(), start: 0, content: 512, content_bytes, end: 512 + content_bytes }
            })
            .collect();
        let ids: Vec<EntryId> = (0..200).map(|entry| EntryId { base: 0, entry }).collect();
        for order in Order::ALL {
            for common in ["", "usr/lib/"] {
                let entries: Vec<Entry> = entries
                    .iter()
                    .map(|entry| Entry { path: [common.as_bytes(), &entry.path].concat(), ..entry.clone() })
                    .collect();
                let mut wanted = ids.clone();
                wanted.sort_by_key(|id| (order.key(&entries[id.entry as usize]), *id));
                assert_eq!(order.sorted(ids.clone(), |id| &entries[id.entry as usize]), wanted);
            }
        }
        assert!(Order::Leaf.sorted(Vec::new(), |_| &entries[0]).is_empty());
    }
}
