//! The result of decoding a frame.

use std::ops::Range;

/// A piece of a rebuilt range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of a base, as they are.
    Base { index: usize, offset: u64, bytes: u64 },
    /// Bytes of the target, all of them before the piece's own place.
    Target { offset: u64, bytes: u64 },
    /// Bytes that were decoded: a range of [`Rebuilt::material`].
    Material(Range<usize>),
}

/// A rebuilt range of the target: pieces, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    pub pieces: Vec<Piece>,
    pub material: Vec<u8>,
    /// The length of the range.
    bytes: u64,
}

impl Rebuilt {
    /// A range that is all decoded bytes.
    pub fn of(material: Vec<u8>) -> Self {
        Self { pieces: vec![Piece::Material(0..material.len())], bytes: material.len() as u64, material }
    }

    pub fn add_base(&mut self, index: usize, offset: u64, bytes: u64) {
        self.bytes += bytes;
        if let Some(Piece::Base { index: last, offset: start, bytes: length }) = self.pieces.last_mut()
            && *last == index
            && *start + *length == offset
        {
            *length += bytes;
        } else {
            self.pieces.push(Piece::Base { index, offset, bytes });
        }
    }

    pub fn add_target(&mut self, offset: u64, bytes: u64) {
        self.bytes += bytes;
        self.pieces.push(Piece::Target { offset, bytes });
    }

    pub fn add_material(&mut self, range: Range<usize>) {
        self.bytes += range.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Material(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Material(range)),
        }
    }

    /// The length of the range.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
