//! The effort of an encoder: how much time it spends to make a patch smaller.

/// The effort of an encoder. Each effort makes smaller patches than the previous one, and takes longer to encode and to
/// apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    Fast,
    #[default]
    Default,
    Max,
}

impl Effort {
    /// All efforts, the fastest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Default, Self::Max];
}
