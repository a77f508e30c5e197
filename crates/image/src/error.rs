//! What can go wrong between an image's source and its layers: what, where, expected, found, and who is to blame.

use std::io;

use lighter_types::Blame;

/// Why an image could not be read, scanned or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file that the image names is not in its source.
    #[error("{path} is missing; {named_by} names it")]
    Missing { path: String, named_by: String },
    /// The machine could not give the bytes.
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    /// The machine could not take the bytes.
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
    /// Not the JSON document that it should be.
    #[error("{path} is not {wanted}")]
    Json { path: String, wanted: &'static str, source: serde_json::Error },
    /// Bytes that are not those which a digest names. `found` is the digest of what is there.
    #[error("{what}: expected {expected}, found {found}")]
    Digest { what: String, expected: String, found: String },
    /// A file that is longer or shorter than its descriptor says.
    #[error("{what}: expected {expected} bytes, found {found}")]
    Size { what: String, expected: u64, found: u64 },
    /// Beyond a limit of ours; nothing of that size was allocated.
    #[error("{what} is over the limit of {limit}")]
    TooLarge { what: String, limit: u64 },
    /// Bytes that break their own format, from `offset` in `path` on.
    #[error("{path} is damaged at byte {offset}: {problem}")]
    Damaged { path: String, offset: u64, problem: String },
    /// Well formed perhaps, but not what we take.
    #[error("{what}: found {found}, wanted {wanted}")]
    Unsupported { what: String, found: String, wanted: &'static str },
    /// Nothing in the source is what was asked for, or more than one thing is.
    #[error("no single image is {wanted}; there are: {present}")]
    NoMatch { wanted: String, present: String },
}

impl ImageError {
    /// Whose doing it is; the text is for people.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } | Self::Write { .. } => Blame::Machine,
            Self::NoMatch { .. } => Blame::Caller,
            Self::Missing { .. }
            | Self::Json { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. }
            | Self::Unsupported { .. } => Blame::Peer,
        }
    }

    pub(crate) fn damaged(path: impl Into<String>, offset: u64, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), offset, problem: problem.into() }
    }

    pub(crate) fn read(path: impl Into<String>, source: io::Error) -> Self {
        // A reader of ours may have wrapped one of these: give it back as it was.
        match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Read { path: path.into(), source },
        }
    }
}

impl From<ImageError> for io::Error {
    /// So that a typed error crosses `Read`; whoever reads takes it out again with `io::Error::downcast`.
    fn from(error: ImageError) -> Self {
        Self::other(error)
    }
}
