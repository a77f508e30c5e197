//! How much time a patch is worth.

/// How much time is spent on a patch. Each effort makes smaller patches than the one before it, and takes longer to
/// encode and to apply.
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
