//! Finds contents of the bases that equal a content of the target, whatever their paths.
//!
//! Contents of one length are compared byte by byte if they are few: most differ early. Else hashes are compared,
//! so that the work grows with the bytes, not with the number of pairs.

use std::collections::{BTreeSet, HashMap};
use std::io;

use lighter_types::BaseCache;

use crate::{parallel, work};

use super::files::{Entry, EntryId, equal, hash, hash_as_read};
use super::pairs::Pairs;
use super::steps::Layers;

/// So many contents of one length are compared byte by byte.
const COMPARED_MAX: usize = 8;
/// Contents of bases are hashed in chunks of so many, each with a cache of its own.
const HASHED_CHUNK: usize = 1 << 10;

/// The contents of the bases.
pub struct Contents<'a> {
    layers: &'a Layers<'a>,
    pairs: &'a Pairs<'a>,
    /// Where there are many of one length, the first of each content.
    by_hash: HashMap<(u64, blake3::Hash), EntryId>,
}

impl<'a> Contents<'a> {
    /// Reads the contents of the bases as far as many have the length of one of these entries. Holds 64 bytes for each.
    ///
    /// # Errors
    /// The error of a base's reader.
    pub fn new(layers: &'a Layers<'a>, pairs: &'a Pairs<'a>, target: &[&Entry], threads: usize) -> io::Result<Self> {
        let lengths: BTreeSet<u64> = target.iter().map(|entry| entry.content_bytes).collect();
        let crowded = lengths.into_iter().filter(|&bytes| pairs.of_length(bytes).len() > COMPARED_MAX);
        let mut ids: Vec<EntryId> = crowded.flat_map(|bytes| pairs.of_length(bytes)).collect();
        // In the order that they stand in: neighbours are read together.
        ids.sort_unstable();
        let hashes = parallel::map(&ids.chunks(HASHED_CHUNK).collect::<Vec<_>>(), threads, |chunk| {
            let mut cache = BaseCache::new(&layers.bases);
            let mut hashed = |id: &EntryId| {
                let (base, entry) = (id.base as usize, pairs.entry(*id));
                let at = entry.content;
                hash_as_read(entry.content_bytes, &mut |buffer, done| {
                    cache.read(base, buffer, at + done).map_err(|(_, error)| error)
                })
            };
            chunk.iter().map(&mut hashed).collect::<io::Result<Vec<_>>>()
        })?;
        let mut by_hash = HashMap::new();
        for (id, hash) in ids.into_iter().zip(hashes.into_iter().flatten()) {
            by_hash.entry((pairs.entry(id).content_bytes, hash)).or_insert(id);
        }
        Ok(Self { layers, pairs, by_hash })
    }

    /// An entry with the content of the target's, one of the same path if there is one, and how many bytes are equal:
    /// with the padding, if the padding is equal too.
    ///
    /// # Errors
    /// The error of a reader.
    pub fn find(&self, target: &Entry) -> io::Result<Option<(EntryId, u64)>> {
        let bytes = target.content_bytes;
        let same_path: Vec<EntryId> = self.pairs.same_path(target).collect();
        for &id in same_path.iter().filter(|id| self.pairs.entry(**id).content_bytes == bytes) {
            if let Some(equal) = self.equal(target, id)? {
                return Ok(Some((id, equal)));
            }
        }
        let all = self.pairs.of_length(bytes);
        let others: Vec<EntryId> = if all.len() > COMPARED_MAX {
            self.by_hash.get(&(bytes, hash(self.layers.target, target)?)).copied().into_iter().collect()
        } else {
            all.collect()
        };
        for &id in others.iter().filter(|id| !same_path.contains(id)) {
            if let Some(equal) = self.equal(target, id)? {
                return Ok(Some((id, equal)));
            }
        }
        Ok(None)
    }

    fn equal(&self, target: &Entry, id: EntryId) -> io::Result<Option<u64>> {
        work::count(1);
        let base = self.pairs.entry(id);
        let (one, other) = ((self.layers.target, target.content), (self.layers.bases[id.base as usize], base.content));
        for bytes in [target.end - target.content, target.content_bytes] {
            if base.end - base.content >= bytes && equal(one, other, bytes)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
