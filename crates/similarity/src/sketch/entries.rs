//! Hashes the headers of a tar's entries, and their paths alone, and keeps the lowest hashes of each.
//!
//! The *header* of an entry is its block of 512 bytes and all extensions before it: long names and pax records. The
//! *path* is the name and the prefix of the block, and the data of a GNU long name. A path in pax records does not
//! count: the block has the beginning of it.
//!
//! Blocks are hashed eight bytes at a time, extensions byte by byte, since they come in pieces of any length.

use lighter_tar::BLOCK_BYTES;

use super::sample::LowestHashes;
use super::{ENTRY_SAMPLES_MAX, EntrySamples};

/// The factor of splitmix64's state (Steele, Lea, Flood, 2014).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Where a header block has its type flag, its magic and its prefix (POSIX.1-2017, "ustar Interchange Format").
const TYPE_FLAG: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..263;
const NAME: std::ops::Range<usize> = 0..100;
const PREFIX: std::ops::Range<usize> = 345..500;

type Block = [u8; BLOCK_BYTES as usize];

/// Samples of the entries that have passed by. Holds about 40 KB.
pub(super) struct Entries {
    headers: LowestHashes,
    paths: LowestHashes,
    /// The hash of the extensions before the next entry.
    extensions: u64,
    /// The hash of the long name before the next entry.
    long_name: u64,
    /// Whether the current extension is a long name.
    is_long_name: bool,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self {
            headers: LowestHashes::new(ENTRY_SAMPLES_MAX),
            paths: LowestHashes::new(ENTRY_SAMPLES_MAX),
            extensions: 0,
            long_name: 0,
            is_long_name: false,
        }
    }

    /// An extension header; its data follows.
    pub(super) fn extension(&mut self, block: &Block) {
        self.extensions = hash_words(self.extensions, block);
        self.is_long_name = block[TYPE_FLAG] == b'L';
    }

    /// Further bytes of the data of an extension.
    pub(super) fn extension_data(&mut self, bytes: &[u8]) {
        self.extensions = hash_bytes(self.extensions, bytes);
        if self.is_long_name {
            self.long_name = hash_bytes(self.long_name, bytes);
        }
    }

    /// The header of an entry.
    pub(super) fn entry(&mut self, block: &Block) {
        let header = hash_words(std::mem::take(&mut self.extensions), block);
        // GNU headers have times where ustar has the prefix.
        let prefix = if &block[MAGIC] == b"ustar\0" { &block[PREFIX] } else { &[] };
        let path = hash_words(std::mem::take(&mut self.long_name), &block[NAME]);
        add(&mut self.headers, header);
        add(&mut self.paths, hash_words(path, prefix));
    }

    pub(super) fn finish(self) -> EntrySamples {
        EntrySamples { headers: self.headers.finish(), paths: self.paths.finish() }
    }
}

fn add(samples: &mut LowestHashes, hash: u64) {
    let hash = finished(hash);
    if hash < samples.threshold() {
        samples.add(hash);
    }
}

fn hash_words(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    hash_bytes(words.iter().fold(hash, |hash, word| mixed(hash, u64::from_le_bytes(*word))), rest)
}

fn hash_bytes(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| mixed(hash, byte.into()))
}

/// Adds a word to a hash. A zero changes an empty hash too.
fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_add(1).wrapping_mul(FACTOR)
}

/// The finaliser of splitmix64: every bit of the hash changes half of the bits of the result.
fn finished(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
