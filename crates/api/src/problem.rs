//! Failures: what went wrong, as a kind that a program can act on and a message for people.

use serde::{Deserialize, Serialize};

/// A failure. The message says what failed, where, what was expected and what was found. The command line adds a hint
/// that follows from the kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    pub message: String,
    /// The way to mend it, where the node knows more than follows from the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    pub fn new(kind: ProblemKind, message: impl std::fmt::Display) -> Self {
        Self { kind, message: message.to_string(), remedy: None }
    }

    /// The same with a remedy.
    pub fn remedy(self, remedy: impl std::fmt::Display) -> Self {
        Self { remedy: Some(remedy.to_string()), ..self }
    }
}

/// Decides the HTTP status of an answer, and the exit code and hint of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The request makes no sense: a bad name, rate or path.
    Request,
    /// An import of an image that has no usable name, and the request gives none.
    NoName,
    /// The source has several images, or none that is wanted.
    NoSingleImage,
    /// There is something already where an export is to go.
    Exists,
    /// No such image, layer, file or pull.
    NotFound,
    /// Data that fails its checks: an image, an archive.
    BadData,
    /// No peer could provide it.
    Network,
    /// An upstream registry cannot be reached, refuses, or answers wrongly.
    Registry,
    /// This machine failed: permissions, memory, a disk error.
    Machine,
    /// The disk of the store is full.
    DiskFull,
    /// The store's budget has no room for what was asked.
    BudgetFull,
    /// A file of the store, or its index, is damaged.
    StoreDamaged,
    /// The pull was given up, or the node is stopping.
    Cancelled,
}

impl ProblemKind {
    pub const ALL: [Self; 13] = [
        Self::Request,
        Self::NoName,
        Self::NoSingleImage,
        Self::Exists,
        Self::NotFound,
        Self::BadData,
        Self::Network,
        Self::Registry,
        Self::Machine,
        Self::DiskFull,
        Self::BudgetFull,
        Self::StoreDamaged,
        Self::Cancelled,
    ];
}
