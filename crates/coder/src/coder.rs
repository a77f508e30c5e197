//! The interface between models and coders: a coder writes, or reads, one bit or symbol at a time.
//!
//! An encoder returns what it was given; a decoder ignores what it is given, and returns what it found.

/// Writes or reads bits.
pub trait Coder {
    /// Whether bits are written.
    const ENCODES: bool;

    /// Codes a bit whose probability of being 1 is `one` / 65536; `one` is 1 to 65535. A decoder ignores `bit`.
    fn code(&mut self, bit: bool, one: u16) -> bool;

    /// Whether a decoder has read past the end of its message: what it returns now was not written. Never for an
    /// encoder.
    fn is_past_end(&self) -> bool {
        false
    }
}

/// Writes or reads symbols and plain bits too.
pub trait SymbolCoder: Coder {
    /// Codes one of [`SYMBOLS`] symbols. `starts` says where the share of each symbol begins, of 32768 in all; each
    /// start is above the one before. The first share begins at 0, also where `starts` says less. A decoder ignores
    /// `symbol`.
    fn symbol(&mut self, symbol: usize, starts: &Starts) -> usize;

    /// Codes `count` bits, at most 16, each as likely 0 as 1. A decoder ignores `value`.
    fn bits(&mut self, value: u64, count: u32) -> u64;
}

/// How many symbols there are.
pub const SYMBOLS: usize = 16;

/// Where the share of each symbol begins, of 2^[`SHARE_BITS`].
pub type Starts = [i16; SYMBOLS];

pub(crate) const SHARE_BITS: u32 = 15;
