//! The content that matches can reach, with the block that is being filled.

use super::parse::BLOCK_MAX;

/// Content that is kept beyond the window before it is moved down, so that moving is rare.
const SLACK_BYTES: usize = 4 << 20;

/// At most a window of history and the block after it.
pub(super) struct Window {
    content: Vec<u8>,
    /// Where the block starts.
    start: usize,
    window_bytes: usize,
}

impl Window {
    pub(super) fn new(window_bytes: usize) -> Self {
        Self { content: Vec::new(), start: 0, window_bytes }
    }

    /// The most history that is kept.
    pub(super) fn limit(&self) -> usize {
        self.window_bytes
    }

    pub(super) fn block(&self) -> &[u8] {
        self.content.get(self.start..).unwrap_or_default()
    }

    pub(super) fn block_start(&self) -> usize {
        self.start
    }

    /// History and block.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(super) fn push(&mut self, content: &[u8]) {
        self.content.extend_from_slice(content);
    }

    /// Makes the block history and starts an empty one. Returns by how many bytes content moved down.
    pub(super) fn next_block(&mut self) -> usize {
        self.start = self.content.len();
        if self.start + BLOCK_MAX <= self.window_bytes + SLACK_BYTES {
            return 0;
        }
        let moved = self.start - self.window_bytes.min(self.start);
        self.content.drain(..moved);
        self.start -= moved;
        moved
    }

    /// Forgets all content.
    pub(super) fn clear(&mut self) {
        self.content.clear();
        self.start = 0;
    }
}
