//! The one table of encoder classes: their names and numbers, their levels, and how to open their engines.
//!
//! A class is added here: a variant, its row in `Class::ALL`, and its arm in `Encoder::open`.

use std::fmt;
use std::num::NonZeroU32;

use crate::engine::{Engine, Start};
use crate::goflate;

/// One behaviour of one compressor. The numbers stand in recipes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// compress/flate of Go up to 1.26.
    GoFlate1,
}

impl Class {
    /// All classes, the commonest first.
    pub const ALL: [Self; 1] = [Self::GoFlate1];

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::GoFlate1 => 1,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.number() == number)
    }

    /// The name in messages and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::GoFlate1 => "goflate-1",
        }
    }

    /// The levels that are tried, the commonest first.
    fn levels(self) -> &'static [i8] {
        match self {
            Self::GoFlate1 => &[6, 9, 1, 5, 4, 7, 8, 3, 2, -2],
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What compressed a member: a class at a level, as one stream or in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoder {
    pub class: Class,
    pub level: i8,
    /// Content of each block, if the blocks were compressed apart.
    pub block_bytes: Option<NonZeroU32>,
}

impl Encoder {
    /// All encoders that are tried, the commonest first.
    pub fn all() -> impl Iterator<Item = Self> {
        Class::ALL
            .into_iter()
            .flat_map(|class| class.levels().iter().map(move |&level| Self { class, level, block_bytes: None }))
    }

    /// Whether there is such an encoder.
    pub fn is_known(self) -> bool {
        self.class.levels().contains(&self.level) && self.block_bytes.is_none()
    }

    /// Opens its engine. `None` if there is no such encoder, or if it cannot start there.
    pub fn open(self, start: &Start<'_>) -> Option<Box<dyn Engine>> {
        if self.block_bytes.is_some() {
            return None;
        }
        match self.class {
            Class::GoFlate1 => goflate::open(self.level, start),
        }
    }

    /// How much content before its start the engine has to see, at most.
    pub fn history_bytes(self) -> usize {
        match self.class {
            Class::GoFlate1 => goflate::history_bytes(self.level),
        }
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at level {}", self.class, self.level)
    }
}
