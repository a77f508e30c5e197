//! How hard each level searches.

/// A level of zlib and of GNU gzip: 1 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ZlibLevel(u8);

impl ZlibLevel {
    /// `None` outside of 1 to 9. Level 0 stores and needs no engine.
    pub(super) fn new(level: u8) -> Option<ZlibLevel> {
        (1..=9).contains(&level).then_some(ZlibLevel(level))
    }

    /// Whether the level looks one position ahead before it takes a match. Such levels insert every position into the
    /// hash; the others skip positions within longer matches.
    pub(super) fn is_lazy(self) -> bool {
        self.0 >= 4
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// Source: the table in zlib's `deflate.c`, which GNU gzip shares.
    pub(super) fn search(self) -> Search {
        let (good, lazy, nice, chain) = match self.0 {
            1 => (4, 4, 8, 4),
            2 => (4, 5, 16, 8),
            3 => (4, 6, 32, 32),
            4 => (4, 4, 16, 16),
            5 => (8, 16, 32, 32),
            6 => (8, 16, 128, 128),
            7 => (8, 32, 128, 256),
            8 => (32, 128, 258, 1024),
            _ => (32, 258, 258, 4096),
        };
        Search { good, lazy, nice, chain }
    }
}

/// Limits of the search for a match, in bytes of a match but for `chain`.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// After a match of this length a quarter of the chain is searched.
    pub(super) good: usize,
    /// A lazy level searches on only behind a shorter match. Other levels insert the positions of a match into the hash
    /// only where it is no longer than this.
    pub(super) lazy: usize,
    /// A match of this length ends the search.
    pub(super) nice: usize,
    /// The most candidates.
    pub(super) chain: usize,
}
