//! The one table of encoder classes: their names and numbers, their levels, and how to open their engines.
//!
//! A class is added here: a variant, its row in `Class::ALL`, and its arm in `Encoder::open`.

use std::fmt;
use std::num::NonZeroU32;

use crate::bits::BitPosition;
use crate::engine::{Engine, Mark, Start};
use crate::kpflate::Variant;
use crate::{goflate, kpflate, pgzip};

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
}

impl Class {
    /// All classes, the commonest first.
    pub const ALL: [Self; 5] = [Self::GoFlate1, Self::KpFlate2, Self::KpFlate3, Self::GoFlate2, Self::KpFlate1];

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::GoFlate1 => 1,
            Self::KpFlate1 => 2,
            Self::KpFlate2 => 3,
            Self::KpFlate3 => 4,
            Self::GoFlate2 => 5,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.number() == number)
    }

    /// The name in messages and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::GoFlate1 => "goflate-1",
            Self::KpFlate1 => "kpflate-1",
            Self::KpFlate2 => "kpflate-2",
            Self::KpFlate3 => "kpflate-3",
            Self::GoFlate2 => "goflate-2",
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
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The maker of a blob: a class at a level, as one stream or in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoder {
    pub class: Class,
    pub level: i8,
    /// Content of each block, if the blocks were compressed apart.
    pub block_bytes: Option<NonZeroU32>,
}

impl Encoder {
    /// All encoders to be tried, the commonest first: as one stream, and with blocks of these lengths.
    pub fn all(block_bytes: &[NonZeroU32]) -> Vec<Self> {
        let one_stream = [None];
        let block_bytes = one_stream.into_iter().chain(block_bytes.iter().copied().map(Some));
        let with_class = |block_bytes| Class::ALL.into_iter().map(move |class| (class, block_bytes));
        let with_level = |(class, block_bytes): (Class, Option<NonZeroU32>)| {
            class.levels().iter().map(move |&level| Self { class, level, block_bytes })
        };
        block_bytes.flat_map(with_class).flat_map(with_level).filter(|encoder| encoder.is_known()).collect()
    }

    /// Whether there is such an encoder.
    pub fn is_known(self) -> bool {
        let has_such_blocks = match self.class {
            Class::GoFlate1 | Class::GoFlate2 => self.block_bytes.is_none(),
            Class::KpFlate1 | Class::KpFlate2 | Class::KpFlate3 => {
                self.block_bytes.is_none_or(|bytes| bytes.get() as usize > pgzip::DICTIONARY_BYTES)
            }
        };
        has_such_blocks && self.class.levels().contains(&self.level)
    }

    /// Opens its engine. `None` if there is no such encoder, or if it cannot start there.
    pub fn open(self, start: &Start<'_>) -> Option<Box<dyn Engine>> {
        let variant = match (self.class, self.block_bytes) {
            (Class::GoFlate1, None) => return goflate::open(self.level, start),
            (Class::GoFlate1 | Class::GoFlate2, Some(_)) => return None,
            (Class::GoFlate2, None) => Variant::Go,
            (Class::KpFlate1, _) => Variant::First,
            (Class::KpFlate2, _) => Variant::Second,
            (Class::KpFlate3, _) => Variant::Third,
        };
        match self.block_bytes {
            Some(block_bytes) => pgzip::open(variant, self.level, block_bytes, start),
            None if start.mark == Mark::START => Some(kpflate::open(variant, self.level, &[], BitPosition::START)?),
            None => None,
        }
    }

    /// How much content before its start the engine has to see, at most.
    pub fn history_bytes(self) -> usize {
        match self.class {
            Class::GoFlate1 => goflate::history_bytes(self.level),
            Class::KpFlate1 | Class::KpFlate2 | Class::KpFlate3 | Class::GoFlate2 => pgzip::DICTIONARY_BYTES,
        }
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at level {}", self.class, self.level)
    }
}
