//! Failures of commands: their kinds, what is printed of them, and the exit code.
//!
//! A failure has a kind, a message and perhaps a hint. The kind decides the exit code and, unless the command knows
//! better, the hint. The message says what, where, what was expected and what was found; the hint says what to do. With
//! `--output json` or `jsonl` a failure is one line of JSON; docs/CLI.md has its fields and the table of kinds, which a
//! test holds equal to this file. It goes to stderr in every format: stdout stays the result alone, also when a command
//! fails after it has printed one, as `store fsck` does.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use lighter_api::{Problem, ProblemKind};
use lighter_node::admin::kind_of;
use lighter_node::identity::IdentityError;
use lighter_store::{IndexError, StoreError};
use serde::Serialize;

use crate::format::Format;
use crate::stderr::note;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Other,
    Usage,
    NoName,
    NoSingleImage,
    Exists,
    BadData,
    NotFound,
    Network,
    Registry,
    Machine,
    DiskFull,
    BudgetFull,
    StoreDamaged,
    NoNode,
    Config,
    Cancelled,
    NotMet,
}

impl Kind {
    /// The exit code of a command that ends with this kind of failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage | Self::NoName | Self::NoSingleImage | Self::Exists => 2,
            Self::BadData => 3,
            Self::NotFound => 4,
            Self::Network | Self::Registry => 5,
            Self::Machine | Self::DiskFull | Self::BudgetFull | Self::StoreDamaged => 6,
            Self::NoNode => 7,
            Self::Config => 8,
            Self::Cancelled => 9,
            Self::NotMet => 10,
        }
    }

    /// The hint that fits this kind of failure wherever it happens.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::NoName => Some("give a name with --name"),
            Self::NoSingleImage => {
                Some("choose one with --from NAME, --from NUMBER or --platform, or import every one with --all")
            }
            Self::Exists => Some("choose a path where there is nothing yet"),
            Self::Network => Some("`lighter peer list` shows the connected peers and what they hold"),
            Self::DiskFull => Some("free some space on that disk, or lower the node's budget (store.bytes_max)"),
            Self::BudgetFull => Some(
                "raise the budget (store.bytes_max), remove or unpin images and layers, or lower store.releases_kept",
            ),
            Self::StoreDamaged => Some("stop the node and run `lighter store fsck --rebuild`"),
            Self::Other
            | Self::Usage
            | Self::BadData
            | Self::NotFound
            | Self::Registry
            | Self::Machine
            | Self::NoNode
            | Self::Config
            | Self::Cancelled
            | Self::NotMet => None,
        }
    }
}

impl From<ProblemKind> for Kind {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::Request => Self::Usage,
            ProblemKind::NoName => Self::NoName,
            ProblemKind::NoSingleImage => Self::NoSingleImage,
            ProblemKind::Exists => Self::Exists,
            ProblemKind::NotFound => Self::NotFound,
            ProblemKind::BadData => Self::BadData,
            ProblemKind::Network => Self::Network,
            ProblemKind::Registry => Self::Registry,
            ProblemKind::Machine => Self::Machine,
            ProblemKind::DiskFull => Self::DiskFull,
            ProblemKind::BudgetFull => Self::BudgetFull,
            ProblemKind::StoreDamaged => Self::StoreDamaged,
            ProblemKind::Cancelled => Self::Cancelled,
        }
    }
}

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    message: String,
    hint: Option<String>,
}

/// A failure as JSON.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    kind: Kind,
    message: &'a str,
    hint: Option<&'a str>,
    exit_code: u8,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string(), hint: kind.hint().map(str::to_owned) }
    }

    /// An error and its causes.
    pub fn from_error(kind: Kind, error: &dyn std::error::Error) -> Self {
        Self::new(kind, lighter_types::error_chain(error))
    }

    /// A file that cannot be read or written.
    pub fn file(action: &str, path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot {action} {}: {error}", path.display());
        match error.kind() {
            ErrorKind::NotFound => Self::new(Kind::NotFound, message),
            // Not the disk of a node's store.
            ErrorKind::StorageFull => Self::new(Kind::DiskFull, message).hint("free some space on that disk"),
            _ => Self::new(Kind::Machine, message),
        }
    }

    /// A store that this command opened itself.
    pub fn store(error: &StoreError) -> Self {
        let failure = Self::from_error(kind_of(error).into(), error);
        match error {
            StoreError::FolderInUse { .. } => failure.hint("stop the node first, or name another folder as data_dir"),
            // No node has it open.
            StoreError::Damaged { .. } | StoreError::Index(IndexError::Lost { .. } | IndexError::Damaged { .. }) => {
                failure.hint("run `lighter store fsck --rebuild`")
            }
            StoreError::Index(IndexError::NewerSchema { .. }) => failure.hint("use the newer version of lighter"),
            StoreError::Index(IndexError::Failed { .. }) => failure.hint("check the disk, then start the node again"),
            StoreError::Io { .. }
            | StoreError::DiskFull { .. }
            | StoreError::BudgetFull { .. }
            | StoreError::Mismatch { .. }
            | StoreError::OverLimit { .. }
            | StoreError::InUse { .. }
            | StoreError::NotHeld { .. }
            | StoreError::Index(IndexError::Busy { .. } | IndexError::Full { .. } | IndexError::Refused { .. }) => {
                failure
            }
        }
    }

    /// A node's key that cannot be used.
    pub fn identity(error: &IdentityError) -> Self {
        match error {
            IdentityError::Missing(_) => Self::from_error(Kind::NotFound, error)
                .hint("`lighter node init` makes a key; data_dir names the folder of one that exists"),
            IdentityError::Exposed { path, .. } => {
                Self::from_error(Kind::Machine, error).hint(format!("run chmod 600 {}", path.display()))
            }
            IdentityError::Malformed(_) | IdentityError::Exists(_) | IdentityError::Io { .. } => {
                Self::from_error(Kind::Machine, error)
            }
        }
    }

    /// The message, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Replaces the hint of the kind.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Replaces the hint if the failure is of this kind.
    pub fn hint_if(self, kind: Kind, hint: impl Display) -> Self {
        if self.kind == kind { self.hint(hint) } else { self }
    }

    /// Prints the failure on stderr; the exit code.
    pub fn report(&self, format: Format) -> ExitCode {
        match format {
            Format::Table => {
                note(&format_args!("error: {}", self.message));
                if let Some(hint) = &self.hint {
                    note(&format_args!("hint: {hint}"));
                }
            }
            Format::Json | Format::Jsonl => note(&self.to_json()),
        }
        ExitCode::from(self.kind.exit_code())
    }

    fn to_json(&self) -> String {
        let (message, hint) = (self.message.as_str(), self.hint.as_deref());
        let line =
            ErrorLine { error: ErrorFields { kind: self.kind, message, hint, exit_code: self.kind.exit_code() } };
        // Texts and a number always have a JSON form.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let failure = Self::new(problem.kind.into(), problem.message);
        match problem.remedy {
            Some(remedy) => failure.hint(remedy),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 17] = [
        Kind::Other,
        Kind::Usage,
        Kind::NoName,
        Kind::NoSingleImage,
        Kind::Exists,
        Kind::BadData,
        Kind::NotFound,
        Kind::Network,
        Kind::Registry,
        Kind::Machine,
        Kind::DiskFull,
        Kind::BudgetFull,
        Kind::StoreDamaged,
        Kind::NoNode,
        Kind::Config,
        Kind::Cancelled,
        Kind::NotMet,
    ];

    fn name(kind: impl Serialize) -> String {
        serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned()
    }

    /// The cells of a document's table rows, backticks removed.
    fn rows(document: &str) -> Vec<Vec<String>> {
        document.lines().filter(|line| line.starts_with('|')).map(cells).collect()
    }

    fn cells(row: &str) -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    }

    #[test]
    fn the_table_of_kinds_in_docs_is_this_one() {
        let rows = rows(include_str!("../../../docs/CLI.md"));
        for kind in KINDS {
            let row = rows.iter().find(|row| row[0] == name(kind)).unwrap_or_else(|| panic!("{kind:?} is not in docs"));
            assert_eq!(row[1], kind.exit_code().to_string(), "{kind:?}");
        }
    }

    #[test]
    fn the_exit_codes_of_problems_in_docs_are_these() {
        let rows = rows(include_str!("../../../docs/ADMIN.md"));
        for kind in ProblemKind::ALL {
            let row = rows.iter().find(|row| row[0] == name(kind)).unwrap_or_else(|| panic!("{kind:?} is not in docs"));
            assert_eq!(row.last().unwrap(), &Kind::from(kind).exit_code().to_string(), "{kind:?}");
        }
    }

    #[test]
    fn the_hint_about_a_full_disk_names_that_disk() {
        let full = std::io::Error::from(ErrorKind::StorageFull);
        assert_eq!(Failure::file("write", Path::new("out"), &full).hint_text(), Some("free some space on that disk"));
        let denied = std::io::Error::from(ErrorKind::PermissionDenied);
        assert_eq!(Failure::file("write", Path::new("out"), &denied).hint_text(), None);
        assert!(Failure::new(Kind::DiskFull, "").hint_text().is_some_and(|hint| hint.contains("store.bytes_max")));
    }

    #[test]
    fn the_hints_about_a_store_follow_from_its_error() {
        let path = || Path::new("data").to_owned();
        let wrong = || Box::from("wrong");
        for (error, expected) in [
            (StoreError::Index(IndexError::Lost { path: path(), files: 1 }), Some("fsck --rebuild")),
            (StoreError::Index(IndexError::Damaged { path: path(), source: wrong() }), Some("fsck --rebuild")),
            (StoreError::Index(IndexError::Failed { path: path(), source: wrong() }), Some("check the disk")),
            (StoreError::Index(IndexError::Busy { path: path(), source: wrong() }), None),
            (
                StoreError::Index(IndexError::NewerSchema { path: path(), found: 9, supported: 2 }),
                Some("newer version"),
            ),
        ] {
            let failure = Failure::store(&error);
            assert_eq!(failure.hint_text().is_some(), expected.is_some(), "{failure:?}");
            assert!(failure.hint_text().unwrap_or_default().contains(expected.unwrap_or_default()), "{failure:?}");
        }
    }

    #[test]
    fn a_failure_is_one_line_of_json() {
        let failure = Failure::new(Kind::NotFound, "no \"x\"\nhere");
        let golden = r#"{"error":{"kind":"not_found","message":"no \"x\"\nhere","hint":null,"exit_code":4}}"#;
        assert_eq!(failure.to_json(), golden);
        let golden = golden.replace("null", "\"look\"");
        assert_eq!(failure.hint("look").to_json(), golden);
    }
}
