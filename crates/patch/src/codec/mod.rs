//! The codecs, in one table.
//!
//! A codec turns one frame's range of the target into a payload and back. [`CODECS`] has one row for each codec, with
//! everything that depends on its number: its name, who makes it, its bounds, its work, how it is decoded and exported.
//! Nothing outside this file looks at the number of a codec. To add a codec, add a row here and a module beside it.
//!
//! An encoder reads layers of this machine. A decoder reads bytes from the network: their blake3 is right, and their
//! maker may lie. A decoder appends at most the frame's length, allocates within its stated caps and never panics.

mod section;
mod stored;
pub(crate) mod vcdiff;

use std::fmt;
use std::ops::Range;

use lighter_delta::{CodecError, Going, Map, Rebuilt, Weight, zstd};
use lighter_types::{Bytes, ReadAt};

use crate::limits::{DELTA_TARGET_BYTES_MAX, FRAME_TARGET_BYTES_MAX};

/// How a frame's payload is to be read. A number is never used again for another codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodecId(pub u8);

/// Decodes a payload into the target's bytes at a range. The bases are those of the patch from the frame's own on.
type Decode = fn(&[u8], Range<u64>, &[&dyn ReadAt], &Map, Going<'_>) -> Result<Rebuilt, CodecError>;

/// Everything that depends on the number of a codec.
pub(crate) struct Codec {
    pub id: CodecId,
    name: &'static str,
    pub makers: Makers,
    pub bases: Bases,
    /// Longest range of the target that one frame rebuilds.
    pub target_bytes_max: u32,
    /// About how long a frame takes to decode, in bytes of decoded content, from its payload and the length of its
    /// range.
    pub work: fn(&[u8], u32) -> u64,
    /// How much memory it takes to decode a payload.
    pub weight: fn(&[u8]) -> Weight,
    pub decode: Decode,
    /// The moves that a patch's first payload has for all frames of the patch.
    pub moves: fn(&[u8]) -> Result<Map, CodecError>,
    /// How a VCDIFF file says what a frame says; `None` if it cannot.
    pub export: Option<Export>,
}

/// The makers of a codec's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Makers {
    /// Nodes and tools.
    Nodes,
    /// Tools of peers only, never a node: a node refuses such frames from its peers.
    Tools,
}

/// Which bases a frame of a codec reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bases {
    Without,
    /// The base that the frame names.
    One,
    /// All bases of the patch; the frame names none.
    All,
}

/// How a VCDIFF file says what a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    /// As the bytes of its range.
    Literals,
    /// As copies from the base, and literals between them.
    Copies,
}

/// The target's bytes as they are.
pub(crate) static STORED: Codec = Codec {
    id: CodecId(0),
    name: "stored",
    makers: Makers::Nodes,
    bases: Bases::Without,
    target_bytes_max: FRAME_TARGET_BYTES_MAX,
    work: range_work,
    weight: |_| Weight::Light,
    decode: |payload, range, _, _, _| in_memory(&range, |bytes, out| stored::decode(payload, bytes, out)),
    moves: |_| Ok(Map::default()),
    export: Some(Export::Literals),
};

/// One zstd frame (RFC 8878).
pub(crate) static ZSTD: Codec = Codec {
    id: CodecId(1),
    name: "zstd",
    makers: Makers::Nodes,
    bases: Bases::Without,
    target_bytes_max: FRAME_TARGET_BYTES_MAX,
    work: range_work,
    weight: |_| Weight::Light,
    decode: |payload, range, _, _, _| in_memory(&range, |bytes, out| zstd::decode(payload, bytes, out)),
    moves: |_| Ok(Map::default()),
    export: Some(Export::Literals),
};

/// VCDIFF instructions with one base, recoded and compressed.
pub(crate) static VCDIFF: Codec = Codec {
    id: CodecId(2),
    name: "vcdiff",
    makers: Makers::Tools,
    bases: Bases::One,
    target_bytes_max: FRAME_TARGET_BYTES_MAX,
    work: range_work,
    weight: |_| Weight::Light,
    decode: |payload, range, bases, _, _| {
        let base = bases.first().ok_or("no base")?;
        in_memory(&range, |bytes, out| vcdiff::decode(payload, bytes, *base, out))
    },
    moves: |_| Ok(Map::default()),
    export: Some(Export::Copies),
};

/// Steps that read all bases, with models of what differs.
pub(crate) static DELTA: Codec = Codec {
    id: CodecId(3),
    name: "delta",
    makers: Makers::Nodes,
    bases: Bases::All,
    target_bytes_max: DELTA_TARGET_BYTES_MAX,
    work: |payload, _| lighter_delta::work(payload),
    weight: Weight::of,
    decode: lighter_delta::decode,
    moves: lighter_delta::moves,
    export: None,
};

/// All codecs of this build.
static CODECS: [&Codec; 4] = [&STORED, &ZSTD, &VCDIFF, &DELTA];

/// The names of all codecs of this build, in the order of their numbers.
pub fn codec_names() -> impl Iterator<Item = &'static str> {
    CODECS.iter().map(|codec| codec.name)
}

impl CodecId {
    /// The codec; `None` if it is one of a later build.
    pub(crate) fn find(self) -> Option<&'static Codec> {
        CODECS.iter().copied().find(|codec| codec.id == self)
    }

    /// Longest range of the target that one frame of this codec rebuilds; of an unknown codec, of any.
    pub fn target_bytes_max(self) -> u32 {
        self.find().map_or(DELTA_TARGET_BYTES_MAX, |codec| codec.target_bytes_max)
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.find() {
            Some(codec) => f.write_str(codec.name),
            None => write!(f, "codec {}", self.0),
        }
    }
}

fn range_work(_: &[u8], target_bytes: u32) -> u64 {
    target_bytes.into()
}

/// Decodes a range that is held in memory as a whole.
fn in_memory(
    range: &Range<u64>,
    decode: impl FnOnce(usize, &mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<Rebuilt, CodecError> {
    let bytes = range.end - range.start;
    let mut out = Vec::new();
    out.try_reserve_exact(bytes as usize).map_err(|_| CodecError::Memory { needed: Bytes(bytes) })?;
    decode(bytes as usize, &mut out)?;
    Ok(Rebuilt::of(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_has_a_number_and_a_name_of_its_own() {
        let numbers: Vec<u8> = CODECS.iter().map(|codec| codec.id.0).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(codec_names().collect::<Vec<_>>(), ["stored", "zstd", "vcdiff", "delta"]);
        for codec in CODECS {
            assert_eq!(codec.id.to_string(), codec.name);
        }
        assert_eq!(CodecId(77).to_string(), "codec 77");
        assert!(CodecId(77).find().is_none());
    }

    #[test]
    fn nodes_make_no_vcdiff() {
        let by_nodes: Vec<&str> =
            CODECS.iter().filter(|codec| codec.makers == Makers::Nodes).map(|codec| codec.name).collect();
        assert_eq!(by_nodes, ["stored", "zstd", "delta"]);
    }
}
