//! The layers that an encoder reads, and the frames that it makes.

use lighter_types::{Blake3, DiffId, ReadAt};

use crate::codec::CodecId;
use crate::header::FrameEntry;

/// A layer to read: the target, or a base.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its name. It is not checked here.
    pub diff_id: DiffId,
    /// Its tar.
    pub bytes: &'a dyn ReadAt,
}

/// A frame as an encoder makes it.
pub struct EncodedFrame {
    pub codec: CodecId,
    /// Index into the bases that the encoder was given.
    pub base: Option<usize>,
    pub target_bytes: u64,
    pub payload: Vec<u8>,
}

impl EncodedFrame {
    /// Its entry in the header, still without the base: the place of the base in the table is not known yet.
    pub fn entry(&self) -> FrameEntry {
        FrameEntry {
            codec: self.codec,
            base: None,
            target_bytes: self.target_bytes as u32,
            payload_bytes: self.payload.len() as u32,
            payload_hash: Blake3::new(*blake3::hash(&self.payload).as_bytes()),
        }
    }
}
