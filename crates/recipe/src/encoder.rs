//! The one table of encoder classes: their names and numbers, their levels, and how to open their engines.
//!
//! A class is added here: a variant, its row in `Class::ALL`, and its arm in `Encoder::open`.

use std::fmt;
use std::num::NonZeroU32;

use crate::bits::BitPosition;
use crate::deflate::WINDOW_BYTES;
use crate::engine::{Engine, Mark, Start};
use crate::kpflate::Variant;
use crate::libzstd::LibZstdCall;
use crate::zlib::{Pigz, PigzBlocks, PigzThreads, ZlibMemory};
use crate::{goflate, kpflate, libzstd, pgzip, zlib, zstd};

/// One behaviour of one compressor. The numbers stand in recipes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// compress/flate of Go up to 1.26.
    GoFlate1,
    /// flate of klauspost/compress up to 1.15.14.
    KpFlate1,
    /// flate of klauspost/compress up to 1.18.0.
    KpFlate2,
    /// flate of klauspost/compress from 1.18.3 on; but for level 9 also compress/flate of Go from 1.27 on.
    KpFlate3,
    /// compress/flate of Go from 1.27 on.
    GoFlate2,
    /// C zlib with its default memory.
    Zlib1,
    /// C zlib with `memLevel` 9.
    Zlib2,
    /// GNU gzip.
    GnuGzip1,
    /// pigz in several threads.
    Pigz1,
    /// pigz in one thread.
    Pigz2,
    /// pigz with independent blocks.
    Pigz3,
    /// zstd of klauspost/compress 1.14.4 to 1.16.3.
    KpZstd1,
    /// zstd of klauspost/compress 1.16.4 to 1.16.7.
    KpZstd2,
    /// zstd of klauspost/compress 1.17.0 to 1.17.2; below the better level up to 1.17.7.
    KpZstd3,
    /// zstd of klauspost/compress 1.17.3 and 1.17.4, at the better level.
    KpZstd4,
    /// zstd of klauspost/compress 1.17.5 to 1.17.7, at the better level.
    KpZstd5,
    /// zstd of klauspost/compress from 1.17.8 on.
    KpZstd6,
    /// libzstd 1.5.7.
    LibZstd1,
}

/// Families of classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// DEFLATE within gzip members, of the family of Go and klauspost.
    Go,
    /// DEFLATE within gzip members, of the family of zlib.
    Zlib,
    /// Frames of zstd, of klauspost.
    Zstd,
    /// Frames of zstd, of libzstd.
    LibZstd,
}

impl Kind {
    /// Whether a member is a frame of zstd, all of which the engine makes. Else it is one of gzip.
    pub(crate) fn is_zstd(self) -> bool {
        match self {
            Self::Go | Self::Zlib => false,
            Self::Zstd | Self::LibZstd => true,
        }
    }
}

impl Class {
    /// All classes: of each kind the commonest first.
    pub const ALL: [Self; 18] = [
        Self::GoFlate1,
        Self::KpFlate2,
        Self::KpFlate3,
        Self::GoFlate2,
        Self::KpFlate1,
        Self::Zlib1,
        Self::GnuGzip1,
        Self::Zlib2,
        Self::Pigz1,
        Self::Pigz2,
        Self::Pigz3,
        Self::KpZstd6,
        Self::KpZstd1,
        Self::KpZstd3,
        Self::KpZstd2,
        Self::KpZstd5,
        Self::KpZstd4,
        Self::LibZstd1,
    ];

    /// Number and name: the one in recipes, the other in messages and documents.
    fn label(self) -> (u8, &'static str) {
        match self {
            Self::GoFlate1 => (1, "goflate-1"),
            Self::KpFlate1 => (2, "kpflate-1"),
            Self::KpFlate2 => (3, "kpflate-2"),
            Self::KpFlate3 => (4, "kpflate-3"),
            Self::GoFlate2 => (5, "goflate-2"),
            Self::Zlib1 => (6, "zlib-1"),
            Self::Zlib2 => (7, "zlib-2"),
            Self::GnuGzip1 => (8, "gnugzip-1"),
            Self::Pigz1 => (9, "pigz-1"),
            Self::Pigz2 => (10, "pigz-2"),
            Self::Pigz3 => (11, "pigz-3"),
            Self::KpZstd1 => (12, "kpzstd-1"),
            Self::KpZstd2 => (13, "kpzstd-2"),
            Self::KpZstd3 => (14, "kpzstd-3"),
            Self::KpZstd4 => (15, "kpzstd-4"),
            Self::KpZstd5 => (16, "kpzstd-5"),
            Self::KpZstd6 => (17, "kpzstd-6"),
            Self::LibZstd1 => (18, "libzstd-1"),
        }
    }

    pub(crate) fn number(self) -> u8 {
        self.label().0
    }

    /// The class of a number, if this program has it.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.number() == number && class.is_here())
    }

    /// Whether this program has the encoder: libzstd may be of another version.
    fn is_here(self) -> bool {
        self != Self::LibZstd1 || libzstd::is_here()
    }

    /// The name in messages and documents.
    pub fn name(self) -> &'static str {
        self.label().1
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::GoFlate1 | Self::KpFlate1 | Self::KpFlate2 | Self::KpFlate3 | Self::GoFlate2 => Kind::Go,
            Self::Zlib1 | Self::Zlib2 | Self::GnuGzip1 | Self::Pigz1 | Self::Pigz2 | Self::Pigz3 => Kind::Zlib,
            Self::KpZstd1 | Self::KpZstd2 | Self::KpZstd3 | Self::KpZstd4 | Self::KpZstd5 | Self::KpZstd6 => Kind::Zstd,
            Self::LibZstd1 => Kind::LibZstd,
        }
    }

    /// The levels that are tried, the commonest first.
    fn levels(self) -> &'static [i8] {
        match self {
            Self::GoFlate1 => &[6, 9, 1, 5, 4, 7, 8, 3, 2, -2],
            Self::KpFlate2 | Self::KpFlate3 => &[5, 6, 1, 9, 7, 8, 4, 3, 2, -2],
            // At the other levels it is the same as the second class.
            Self::KpFlate1 => &[9, 7, 8],
            // At the other levels it is the same as klauspost's third class.
            Self::GoFlate2 => &[9],
            Self::Zlib1 | Self::Zlib2 | Self::GnuGzip1 | Self::Pigz1 | Self::Pigz2 | Self::Pigz3 => {
                &[6, 9, 1, 5, 4, 7, 8, 3, 2]
            }
            Self::KpZstd1 | Self::KpZstd2 | Self::KpZstd3 | Self::KpZstd6 => &[2, 1, 3],
            // At the other levels they are the same as the third class.
            Self::KpZstd4 | Self::KpZstd5 => &[3],
            Self::LibZstd1 => &[3, 1, 19, 9, 6, 2, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18],
        }
    }

    /// The lengths of blocks that it may work in; none if it makes one stream.
    fn block_bytes_min(self) -> Option<usize> {
        match self.kind() {
            Kind::Go if matches!(self, Self::GoFlate1 | Self::GoFlate2) => None,
            Kind::Go => Some(pgzip::DICTIONARY_BYTES + 1),
            Kind::Zlib if self.is_pigz() => Some(zlib::PIGZ_BLOCK_BYTES_MIN),
            Kind::Zlib | Kind::Zstd | Kind::LibZstd => None,
        }
    }

    fn is_pigz(self) -> bool {
        matches!(self, Self::Pigz1 | Self::Pigz2 | Self::Pigz3)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The maker of a blob: a class at a level, and how it was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoder {
    pub class: Class,
    /// klauspost's zstd calls its levels 1 (fastest), 2 (default) and 3 (better).
    pub level: i8,
    /// Content of each block, if the blocks were compressed apart.
    pub block_bytes: Option<NonZeroU32>,
    /// zstd: content of the first write, if the first block ends with it.
    pub first_write: Option<NonZeroU32>,
    /// zstd: the encoder learned the end with the last content, so no empty block follows a full one.
    pub is_end_joined: bool,
    /// How libzstd was called; for other classes, without options.
    pub libzstd: LibZstdCall,
}

impl Encoder {
    /// A class at a level that makes one stream.
    pub const fn new(class: Class, level: i8) -> Self {
        let libzstd = LibZstdCall::STREAM;
        Self { class, level, block_bytes: None, first_write: None, is_end_joined: false, libzstd }
    }

    /// All encoders of some kind, the commonest first: as one stream, then in blocks of these lengths.
    pub(crate) fn all(kind: Kind, block_bytes: &[NonZeroU32]) -> Vec<Self> {
        let one_stream = [None];
        let block_bytes = one_stream.into_iter().chain(block_bytes.iter().copied().map(Some));
        let classes = Class::ALL.into_iter().filter(|class| class.kind() == kind);
        let with_class = |block_bytes| classes.clone().map(move |class| (class, block_bytes));
        let with_level = |(class, block_bytes): (Class, Option<NonZeroU32>)| {
            class.levels().iter().map(move |&level| Self { block_bytes, ..Self::new(class, level) })
        };
        block_bytes.flat_map(with_class).flat_map(with_level).filter(|encoder| encoder.is_known()).collect()
    }

    /// Whether there is such an encoder.
    pub(crate) fn is_known(self) -> bool {
        let has_such_blocks = match (self.block_bytes, self.class.block_bytes_min()) {
            (Some(bytes), Some(min)) => bytes.get() as usize >= min,
            (Some(_), None) => false,
            (None, _) => !self.class.is_pigz(),
        };
        let has_such_writes = match self.zstd() {
            Some((_, level)) => self.first_write.is_none_or(|bytes| (bytes.get() as usize) < level.block_bytes()),
            None => self.first_write.is_none() && (!self.is_end_joined || self.class == Class::LibZstd1),
        };
        let has_such_calls = match self.class.kind() {
            Kind::LibZstd => self.libzstd.is_known(self.level),
            Kind::Go | Kind::Zlib | Kind::Zstd => self.libzstd == LibZstdCall::STREAM,
        };
        has_such_blocks
            && has_such_writes
            && has_such_calls
            && self.class.is_here()
            && self.class.levels().contains(&self.level)
    }

    /// How it was called, beside its level, as one number of a recipe.
    pub(crate) fn writes_number(self) -> u64 {
        match self.class.kind() {
            Kind::Go | Kind::Zlib => u64::from(self.block_bytes.map_or(0, NonZeroU32::get)),
            Kind::Zstd => u64::from(self.first_write.map_or(0, NonZeroU32::get)) << 1 | u64::from(self.is_end_joined),
            Kind::LibZstd => self.libzstd.number(self.is_end_joined),
        }
    }

    /// `None` if the number is no length of blocks or of a write, and no call.
    pub(crate) fn with_writes_number(self, number: u64) -> Option<Self> {
        Some(match self.class.kind() {
            Kind::Go | Kind::Zlib => Self { block_bytes: NonZeroU32::new(u32::try_from(number).ok()?), ..self },
            Kind::Zstd => {
                let first_write = NonZeroU32::new(u32::try_from(number >> 1).ok()?);
                Self { first_write, is_end_joined: number & 1 == 1, ..self }
            }
            Kind::LibZstd => {
                let (libzstd, is_end_joined) = LibZstdCall::of_number(number)?;
                Self { libzstd, is_end_joined, ..self }
            }
        })
    }

    /// Opens its engine. `None` if there is no such encoder, or if it cannot start there.
    pub fn open(self, start: &Start<'_>) -> Option<Box<dyn Engine>> {
        if !self.is_known() {
            return None;
        }
        match self.class {
            Class::GoFlate1 => goflate::open(self.level, start),
            Class::GoFlate2 => self.open_kpflate(Variant::Go, start),
            Class::KpFlate1 => self.open_kpflate(Variant::First, start),
            Class::KpFlate2 => self.open_kpflate(Variant::Second, start),
            Class::KpFlate3 => self.open_kpflate(Variant::Third, start),
            Class::Zlib1 => zlib::open(self.level, ZlibMemory::Eight, start),
            Class::Zlib2 => zlib::open(self.level, ZlibMemory::Nine, start),
            Class::GnuGzip1 => zlib::open_gnu_gzip(self.level, start),
            Class::Pigz1 => self.open_pigz(PigzBlocks::Dependent, PigzThreads::Several, start),
            Class::Pigz2 => self.open_pigz(PigzBlocks::Dependent, PigzThreads::One, start),
            Class::Pigz3 => self.open_pigz(PigzBlocks::Independent, PigzThreads::Several, start),
            Class::KpZstd1 | Class::KpZstd2 | Class::KpZstd3 | Class::KpZstd4 | Class::KpZstd5 | Class::KpZstd6 => {
                let (class, level) = self.zstd().filter(|_| start.mark == Mark::START)?;
                Some(zstd::open(class, level, self.first_write, self.is_end_joined))
            }
            Class::LibZstd1 if start.mark != Mark::START => None,
            Class::LibZstd1 => libzstd::open(self.level, self.libzstd, self.is_end_joined, start.content_bytes),
        }
    }

    fn open_kpflate(self, variant: Variant, start: &Start<'_>) -> Option<Box<dyn Engine>> {
        match self.block_bytes {
            Some(block_bytes) => pgzip::open(variant, self.level, block_bytes, start),
            None if start.mark == Mark::START => Some(kpflate::open(variant, self.level, &[], BitPosition::START)?),
            None => None,
        }
    }

    fn open_pigz(self, blocks: PigzBlocks, threads: PigzThreads, start: &Start<'_>) -> Option<Box<dyn Engine>> {
        Pigz::open(self.level, self.block_bytes?, blocks, threads, start)
    }

    /// The class and level by the names of the zstd engine.
    fn zstd(self) -> Option<(zstd::Class, zstd::Level)> {
        let class = match self.class {
            Class::KpZstd1 => zstd::Class::CodedLiterals,
            Class::KpZstd2 => zstd::Class::RawLiterals,
            Class::KpZstd3 => zstd::Class::ShortLiterals,
            Class::KpZstd4 => zstd::Class::MoreEntries,
            Class::KpZstd5 => zstd::Class::SmallWindow,
            Class::KpZstd6 => zstd::Class::Runs,
            Class::GoFlate1
            | Class::KpFlate1
            | Class::KpFlate2
            | Class::KpFlate3
            | Class::GoFlate2
            | Class::Zlib1
            | Class::Zlib2
            | Class::GnuGzip1
            | Class::Pigz1
            | Class::Pigz2
            | Class::Pigz3
            | Class::LibZstd1 => return None,
        };
        Some((class, zstd::Level::of_number(self.level)?))
    }

    /// The window that its frames of zstd declare, unless their content fits into one block.
    pub(crate) fn zstd_window_bytes(self) -> Option<usize> {
        self.zstd().map(|(class, level)| level.window_bytes(class))
    }

    /// Whether it matters that the end came with the last content. With klauspost's encoder it does where a frame ends
    /// with a full block; with libzstd it always may.
    pub(crate) fn shows_how_the_end_came(self, content_bytes: u64) -> bool {
        if self.class.kind() == Kind::LibZstd {
            return true;
        }
        let first_write = u64::from(self.first_write.map_or(0, NonZeroU32::get));
        let rest = content_bytes.checked_sub(first_write).filter(|&rest| rest > 0);
        self.zstd().zip(rest).is_some_and(|((_, level), rest)| rest.is_multiple_of(level.block_bytes() as u64))
    }

    /// How much content before its start the engine has to see, at most.
    pub(crate) fn history_bytes(self) -> usize {
        match self.class.kind() {
            Kind::Go if self.class == Class::GoFlate1 => goflate::history_bytes(self.level),
            Kind::Go => pgzip::DICTIONARY_BYTES,
            Kind::Zlib => WINDOW_BYTES,
            Kind::Zstd | Kind::LibZstd => 0,
        }
    }

    /// How many engines may work at a time: together they hold less than 100 MiB, but one of libzstd up to 190 MiB.
    pub(crate) fn threads_max(self) -> usize {
        match self.class.kind() {
            Kind::Go | Kind::Zlib => 48,
            Kind::Zstd => 4,
            Kind::LibZstd => 1,
        }
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at level {}", self.class, self.level)
    }
}
