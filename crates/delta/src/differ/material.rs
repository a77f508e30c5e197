//! The material: the bytes of the bases that changed files are compared with, in memory, one after the other. They are
//! files, and the contents of compressed streams in files.

use std::io;

use crate::program::Inflated;

use super::steps::Layers;

/// Where a part of the material comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A range of a base, by its address.
    Base { address: u64, is_rewritten: bool },
    /// The content of a compressed stream of a base.
    Inflated(Inflated),
}

/// A part of the material.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub start: usize,
    pub bytes: usize,
    pub origin: Origin,
}

impl Part {
    /// Whether it ends at an address of the bases.
    fn ends_at(&self, end: u64) -> bool {
        matches!(self.origin, Origin::Base { address, .. } if address + self.bytes as u64 == end)
    }

    /// Whether references were rewritten in it: the base has other bytes.
    pub fn is_rewritten(&self) -> bool {
        matches!(self.origin, Origin::Base { is_rewritten: true, .. })
    }
}

/// The material.
#[derive(Default)]
pub struct Material {
    pub bytes: Vec<u8>,
    pub parts: Vec<Part>,
}

impl Material {
    /// Adds a range of a base. Returns where it begins in the material. A range that goes on where the one before ends
    /// becomes one part with it.
    ///
    /// # Errors
    /// The error of the base's reader.
    pub fn add(&mut self, layers: &Layers<'_>, base: usize, offset: u64, bytes: u64) -> io::Result<usize> {
        let start = self.bytes.len();
        self.bytes.resize(start + bytes as usize, 0);
        layers.bases[base].read_exact_at(&mut self.bytes[start..], offset)?;
        let address = layers.address(base, offset);
        let is_rewritten = layers.map.predict(address, &mut self.bytes[start..]);
        let origin = Origin::Base { address, is_rewritten };
        if let Some(last) = self.parts.last_mut()
            && last.ends_at(address)
            && last.is_rewritten() == is_rewritten
        {
            last.bytes += bytes as usize;
            return Ok(start);
        }
        self.parts.push(Part { start, bytes: bytes as usize, origin });
        Ok(start)
    }

    /// Adds the content of a compressed stream of a base. Returns where it begins in the material.
    pub fn add_inflated(&mut self, stream: Inflated, plain: &[u8]) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(plain);
        self.parts.push(Part { start, bytes: plain.len(), origin: Origin::Inflated(stream) });
        start
    }

    /// The parts that a range of the material lies in: the index of each, the offset in it, and the length.
    pub fn split(&self, from: usize, bytes: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let first = self.parts.partition_point(|part| part.start + part.bytes <= from);
        let end = from + bytes;
        self.parts[first..].iter().enumerate().take_while(move |(_, part)| part.start < end).map(
            move |(index, part)| {
                let start = part.start.max(from);
                let stop = (part.start + part.bytes).min(end);
                (first + index, start - part.start, stop - start)
            },
        )
    }
}
