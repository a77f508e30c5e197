//! The framing of klauspost's pgzip: blocks of content that are compressed apart, each with the end of the block
//! before it as a dictionary.
//!
//! Every block ends with a flush: an empty stored block. The last block, which is empty if the content ends with a
//! full block, is followed by the end of the stream. Learned from pgzip's source (MIT): its writer takes blocks of 1
//! MiB unless it is told otherwise, and always more than the dictionary's 16 KiB. An engine can start at the beginning
//! of any block.

use std::num::NonZeroU32;

use crate::bits::BitPosition;
use crate::engine::{Engine, Mark, Start};
use crate::kpflate::{self, Flush, Variant};

/// Content of the block before that a block looks back at: half of what DEFLATE allows.
pub const DICTIONARY_BYTES: usize = 16 << 10;

/// Opens the engine of a level. `None` if there is none, or if no block begins at the start.
pub fn open(variant: Variant, level: i8, block_bytes: NonZeroU32, start: &Start<'_>) -> Option<Box<dyn Engine>> {
    let is_block = start.mark.content.is_multiple_of(u64::from(block_bytes.get())) && start.mark.blob.partial == 1;
    let dictionary = start.history.get(start.history.len().saturating_sub(DICTIONARY_BYTES)..)?;
    let has_dictionary = start.mark.content == 0 || dictionary.len() == DICTIONARY_BYTES;
    if !is_block || !has_dictionary {
        return None;
    }
    let engine = kpflate::open(variant, level, dictionary, BitPosition::START)?;
    let block_bytes = block_bytes.get() as usize;
    let (dictionary, mark) = (Vec::with_capacity(DICTIONARY_BYTES), start.mark);
    Some(Box::new(Blocks { variant, level, block_bytes, engine, bytes: 0, dictionary, mark, written: 0 }))
}

struct Blocks {
    variant: Variant,
    level: i8,
    block_bytes: usize,
    engine: Box<dyn Flush>,
    /// Content of the block so far.
    bytes: usize,
    /// The end of the block, as far as it is there.
    dictionary: Vec<u8>,
    /// The beginning of the block.
    mark: Mark,
    /// Bytes that are written of the block.
    written: u64,
}

impl Blocks {
    fn end_block(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        self.engine.flush(out);
        self.written += (out.len() - before) as u64;
        if let Some(engine) = kpflate::open(self.variant, self.level, &self.dictionary, BitPosition::START) {
            self.engine = engine;
        }
        let bytes = self.mark.blob.bytes + self.written;
        let content = self.mark.content + self.bytes as u64;
        self.mark = Mark { content, blob: BitPosition { bytes, ..BitPosition::START } };
        (self.bytes, self.written) = (0, 0);
        self.dictionary.clear();
    }
}

impl Engine for Blocks {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            let (part, rest) = content.split_at(content.len().min(self.block_bytes - self.bytes));
            let before = out.len();
            self.engine.write(part, out);
            self.written += (out.len() - before) as u64;
            let before_dictionary = self.block_bytes.saturating_sub(DICTIONARY_BYTES + self.bytes);
            self.dictionary.extend_from_slice(part.get(before_dictionary..).unwrap_or_default());
            self.bytes += part.len();
            content = rest;
            if self.bytes == self.block_bytes {
                self.end_block(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.engine.flush(out);
        self.engine.finish(out);
    }

    fn mark(&self) -> Option<Mark> {
        Some(self.mark)
    }
}
