//! Why a runtime's file is not changed: it cannot be read, or not be changed without touching what it means.

use std::fmt::Display;

/// A file that is left alone.
#[derive(Debug, PartialEq, Eq)]
pub struct EditError {
    /// A fragment about the file.
    pub problem: String,
    /// The lines that its owner can add by hand; empty if the file must be repaired first.
    pub lines: String,
}

impl EditError {
    pub fn new(problem: impl Display, lines: impl Display) -> Self {
        Self { problem: problem.to_string(), lines: lines.to_string() }
    }

    /// A file that is not in its format.
    pub fn unreadable(format: &str, error: impl Display) -> Self {
        Self::new(format!("it is no {format}: {error}"), "")
    }
}
