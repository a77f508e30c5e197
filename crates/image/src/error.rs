//! The errors of imports and exports. Each names the failure, its place, the expected and the found value, and
//! [`ImageError::blame`] says who is at fault.

use std::io;

use lighter_types::Blame;

/// The reason why an image could not be read, scanned or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file that the image names is not in its source.
    #[error("{path} is missing; {named_by} names it")]
    Missing { path: String, named_by: String },
    /// The machine could not read the bytes.
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    /// The machine could not write the bytes.
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
    /// A document is not the expected JSON.
    #[error("{path} is not {wanted}")]
    Json { path: String, wanted: &'static str, source: serde_json::Error },
    /// Bytes do not match their digest. `found` is the digest of the bytes.
    #[error("{what}: expected {expected}, found {found}")]
    Digest { what: String, expected: String, found: String },
    /// A file is longer or shorter than in its descriptor.
    #[error("{what}: expected {expected} bytes, found {found}")]
    Size { what: String, expected: u64, found: u64 },
    /// A size or a count is over a limit. Nothing of that size was allocated.
    #[error("{what} is over the limit of {limit}")]
    TooLarge { what: String, limit: u64 },
    /// The bytes at `offset` of `path` break their format.
    #[error("{path} is damaged at byte {offset}: {problem}")]
    Damaged { path: String, offset: u64, problem: String },
    /// A source, document or layer is of a kind that Lighter does not accept.
    #[error("{what}: found {found}, wanted {wanted}")]
    Unsupported { what: String, found: String, wanted: &'static str },
    /// No image of the source matches the selector, or more than one does.
    #[error("no single image is {wanted}; there are: {present}")]
    NoMatch { wanted: String, present: String },
}

impl ImageError {
    /// The party at fault.
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
        // A reader of this crate may have wrapped an `ImageError`. Unwrap it.
        match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Read { path: path.into(), source },
        }
    }
}

impl From<ImageError> for io::Error {
    /// Wraps the error to pass it through `Read`. The caller unwraps it with `io::Error::downcast`.
    fn from(error: ImageError) -> Self {
        Self::other(error)
    }
}
