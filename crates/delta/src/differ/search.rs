//! How hard an effort searches for matches.

use lighter_types::Effort;

use super::index::{SPARSE, Window};
use crate::frame::Style;

/// The plan of a file that no base has: its draft, its place in a group, its steps.
const OPEN_FILE_BYTES: u64 = 320;

/// How hard the differ searches for matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// The index over the files that a file may have been changed from.
    pub near: Window,
    /// Whether `near` covers all ranges that a piece of a long content is matched with, and not only those that it
    /// resembles most. In code, short windows find accidents far away.
    pub is_wide: bool,
    /// The index in place of `near` where no reference was rewritten.
    plain: Option<Window>,
    /// The index over all bytes of the bases that are held. It has fewer positions where there are many bytes.
    pub far: Window,
    /// Another index over the same bytes, with longer windows.
    pub sparse: Option<Window>,
    /// Whether compressed streams are decompressed.
    pub streams: bool,
    /// Whether the search keeps to a diagonal where most bytes are equal.
    pub trusting: bool,
    /// Whether a trusting search looks for a better diagonal now and then: in lines that are alike but for a number,
    /// most bytes are equal on any diagonal between two lines. In executables that are held whole, it made patches up
    /// to 5 % larger.
    pub doubting: bool,
    /// After so many positions without a match, the search skips positions.
    pub patience: usize,
    /// Most bytes of the bases that are held in memory.
    pub material_bytes_max: u64,
    pub threads: usize,
    /// Whether long contents are matched with a sparse index too, and long executables a second time.
    pub is_thorough: bool,
    /// The indices of a second search, in which moved code is equal: long windows find it, and short ones would find
    /// accidents.
    again: (Window, Window),
}

impl Search {
    /// The search of an effort, which holds at most `material_bytes_max` bytes of the bases.
    pub fn new(effort: Effort, material_bytes_max: u64, threads: usize) -> Self {
        let window = |bytes, step, chain| Window { bytes, step, chain };
        let (near, far, patience) = match effort {
            Effort::Plain | Effort::Fast => (window(16, 8, 1), window(32, 16, 1), 64),
            Effort::Default => (window(12, 4, 2), window(24, 4, 1), 256),
            Effort::Max => (window(6, 1, 32), window(20, 4, 4), usize::MAX),
        };
        let again = match effort {
            Effort::Plain | Effort::Fast => (window(16, 8, 4), window(32, 16, 1)),
            Effort::Default => (window(16, 4, 4), window(32, 16, 1)),
            Effort::Max => (window(12, 1, 16), window(24, 4, 4)),
        };
        Self {
            near,
            is_wide: true,
            plain: None,
            far,
            sparse: (effort == Effort::Max).then_some(SPARSE),
            patience,
            streams: effort > Effort::Fast,
            trusting: effort != Effort::Max,
            doubting: true,
            material_bytes_max,
            threads,
            is_thorough: effort > Effort::Fast,
            again,
        }
    }

    /// The first search of an executable. It finds where its parts went, and no more: short windows find accidents, by
    /// which the map becomes worse.
    pub fn coarse(&self) -> Self {
        Self { doubting: false, is_wide: false, ..Self::new(Effort::Fast, self.material_bytes_max, self.threads) }
    }

    /// The search where so many files are open. The plan of each takes memory, which the bases do not get.
    pub fn beside(&self, open_files: usize) -> Self {
        let (plans, most) = (open_files as u64 * OPEN_FILE_BYTES, self.material_bytes_max);
        // The plans of a few files take nothing that counts.
        let left = if plans < most / 16 { most } else { most.saturating_sub(plans).max(most / 4) };
        Self { material_bytes_max: left, ..*self }
    }

    /// A quick search of the same ranges.
    pub fn quick(&self) -> Self {
        Self { is_wide: self.is_wide, ..self.coarse() }
    }

    /// The search of parts of the bases in which references were rewritten, or were not.
    pub fn of_parts(&self, is_rewritten: bool) -> Self {
        match self.plain {
            Some(near) if !is_rewritten => Self { near, is_wide: true, ..*self },
            _ => *self,
        }
    }

    /// The second search of an executable.
    pub fn again(&self) -> Self {
        let (near, far) = self.again;
        Self { near, far, doubting: false, is_wide: false, plain: Some(self.near), ..*self }
    }
}

/// How an effort encodes frames.
pub fn style(effort: Effort) -> Style {
    match effort {
        Effort::Plain | Effort::Fast => Style::Light { zstd_level: 3 },
        Effort::Default => Style::Light { zstd_level: 22 },
        Effort::Max => Style::Full,
    }
}
