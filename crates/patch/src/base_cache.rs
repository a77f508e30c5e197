//! Reads of a base in small pieces, served from a few blocks kept in memory: copies are often short and near each
//! other, and the base is a file.

use std::io;

use crate::ReadAt;

/// Copies of a half block and more are read directly.
const BLOCK_BYTES: u64 = 16 << 10;
/// With [`BLOCK_BYTES`], 1 MiB in all.
const BLOCKS: u64 = 64;

/// One reader's cache over one base.
pub(crate) struct BaseCache<'a> {
    base: &'a dyn ReadAt,
    base_bytes: u64,
    /// Block `n` of the base can be in slot `n % BLOCKS` only.
    slots: Vec<Option<(u64, Vec<u8>)>>,
}

impl<'a> BaseCache<'a> {
    pub(crate) fn new(base: &'a dyn ReadAt) -> Self {
        Self { base, base_bytes: base.len().0, slots: vec![None; BLOCKS as usize] }
    }

    /// Length of the base.
    pub(crate) fn bytes(&self) -> u64 {
        self.base_bytes
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// The offset that could not be read, and why. Reading past the end is `UnexpectedEof`.
    pub(crate) fn read(&mut self, mut buf: &mut [u8], mut offset: u64) -> Result<(), (u64, io::Error)> {
        if buf.len() as u64 >= BLOCK_BYTES / 2 {
            return self.base.read_exact_at(buf, offset).map_err(|source| (offset, source));
        }
        while !buf.is_empty() {
            let block = self.block(offset / BLOCK_BYTES)?;
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

    fn block(&mut self, number: u64) -> Result<&[u8], (u64, io::Error)> {
        let slot = &mut self.slots[(number % BLOCKS) as usize];
        let start = number * BLOCK_BYTES;
        let (held, mut bytes) = slot.take().unwrap_or((u64::MAX, Vec::new()));
        if held != number {
            bytes.resize(self.base_bytes.saturating_sub(start).min(BLOCK_BYTES) as usize, 0);
            self.base.read_exact_at(&mut bytes, start).map_err(|source| (start, source))?;
        }
        Ok(&slot.insert((number, bytes)).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stands_there_and_nothing_past_the_end() {
        let base: Vec<u8> = (0..300_001u32).map(|n| (n * 7 / 3) as u8).collect();
        let mut cache = BaseCache::new(&base);
        for (offset, bytes) in [(0, 1), (16_380, 100), (299_000, 1001), (5, 8191), (1, 20_000), (16_380, 100)] {
            let mut found = vec![0; bytes];
            cache.read(&mut found, offset).unwrap();
            assert_eq!(found, base[offset as usize..][..bytes]);
        }
        for (offset, bytes) in [(300_001, 1), (299_999, 3), (290_000, 20_000), (u64::MAX / 2, 1)] {
            assert!(cache.read(&mut vec![0; bytes], offset).is_err());
        }
    }
}
