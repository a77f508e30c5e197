//! A cache for small reads of bases: copies are often short and near each other, and the bases are files.

use std::io;

use crate::ReadAt;

/// Reads of half a block and more do not use the cache.
const BLOCK_BYTES: u64 = 4 << 10;
/// Together 2 MiB. Twice as many blocks, or blocks four times as large, do not make a patch of moved code faster.
const BLOCKS: u64 = 512;

/// The cache of one reader, over the bases of a patch. Holds at most 2 MiB.
pub struct BaseCache<'a> {
    bases: Vec<(&'a dyn ReadAt, u64)>,
    /// Each block has one slot: the base and the number of the block there that it holds.
    slots: Vec<Option<(usize, u64)>>,
    /// The bytes of the slots. One piece of memory: 512 that grow one by one cost more than what they hold.
    blocks: Vec<u8>,
}

impl<'a> BaseCache<'a> {
    /// A cache over these bases that holds nothing.
    pub fn new(bases: &[&'a dyn ReadAt]) -> Self {
        let bases = bases.iter().map(|base| (*base, base.len().0)).collect();
        Self { bases, slots: vec![None; BLOCKS as usize], blocks: vec![0; (BLOCKS * BLOCK_BYTES) as usize] }
    }

    /// How many bases there are.
    pub fn bases(&self) -> usize {
        self.bases.len()
    }

    /// Length of a base.
    pub fn bytes(&self, base: usize) -> u64 {
        self.bases[base].1
    }

    /// Fills `buf` from `offset` of a base on.
    ///
    /// # Errors
    /// The offset that could not be read, and why. Reading past the end is `UnexpectedEof`.
    pub fn read(&mut self, base: usize, mut buf: &mut [u8], mut offset: u64) -> Result<(), (u64, io::Error)> {
        if buf.len() as u64 >= BLOCK_BYTES / 2 {
            return self.bases[base].0.read_exact_at(buf, offset).map_err(|source| (offset, source));
        }
        while !buf.is_empty() {
            let block = self.block(base, offset / BLOCK_BYTES)?;
            let found = block.get((offset % BLOCK_BYTES) as usize..).unwrap_or_default();
            let taken = found.len().min(buf.len());
            if taken == 0 {
                return Err((offset, io::ErrorKind::UnexpectedEof.into()));
            }
            let (now, later) = buf.split_at_mut(taken);
            now.copy_from_slice(&found[..taken]);
            buf = later;
            offset += taken as u64;
        }
        Ok(())
    }

    fn block(&mut self, base: usize, number: u64) -> Result<&[u8], (u64, io::Error)> {
        let (reader, base_bytes) = self.bases[base];
        // Neighbouring blocks of one base have different slots; blocks of several bases are spread.
        let slot = ((number + base as u64 * (BLOCKS / 3)) % BLOCKS) as usize;
        let start = number * BLOCK_BYTES;
        let bytes = base_bytes.saturating_sub(start).min(BLOCK_BYTES) as usize;
        let block = &mut self.blocks[slot * BLOCK_BYTES as usize..][..bytes];
        if self.slots[slot] != Some((base, number)) {
            self.slots[slot] = None;
            reader.read_exact_at(block, start).map_err(|source| (start, source))?;
            self.slots[slot] = Some((base, number));
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stands_there_and_nothing_past_the_end() {
        let base: Vec<u8> = (0..300_001u32).map(|n| (n * 7 / 3) as u8).collect();
        let other = vec![9; 70_000];
        let mut cache = BaseCache::new(&[&base, &other]);
        for (offset, bytes) in [(0, 1), (16_380, 100), (299_000, 1001), (5, 8191), (1, 20_000), (16_380, 100)] {
            let mut found = vec![0; bytes];
            cache.read(0, &mut found, offset).unwrap();
            assert_eq!(found, base[offset as usize..][..bytes]);
            // The same place of another base, in turns.
            if offset + bytes as u64 <= other.len() as u64 {
                cache.read(1, &mut found, offset).unwrap();
                assert!(found.iter().all(|&byte| byte == 9));
            }
        }
        for (offset, bytes) in [(300_001, 1), (299_999, 3), (290_000, 20_000), (u64::MAX / 2, 1)] {
            assert!(cache.read(0, &mut vec![0; bytes], offset).is_err());
        }
    }
}
