//! The effort of an encoder: how much time it spends to make a patch smaller.

/// The effort of an encoder. Each effort makes smaller patches than the previous one, and takes longer to encode and to
/// apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// Whole layers alone: what compresses is compressed quickly, and what does not goes as it is. For links that are
    /// faster than other encoders.
    Plain,
    Fast,
    #[default]
    Default,
    Max,
}

impl Effort {
    /// All efforts, the fastest first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Fast, Self::Default, Self::Max];
    /// Those that read bases.
    pub const WITH_BASES: [Self; 3] = [Self::Fast, Self::Default, Self::Max];
}
