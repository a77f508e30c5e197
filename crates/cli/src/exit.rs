//! What the command line says when something failed, and the exit code it ends with.

use std::fmt::Display;
use std::process::ExitCode;

use lighter_node::api::{Problem, ProblemKind};

/// Whose turn it is. Documented in docs/CLI.md and in `lighter --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Other = 1,
    Usage = 2,
    BadData = 3,
    NotFound = 4,
    Network = 5,
    Machine = 6,
    NoNode = 7,
    Config = 8,
    Cancelled = 9,
    NotMet = 10,
}

/// Why a command failed, and a hint.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string(), hint: None }
    }

    /// An error and its causes.
    pub fn from_error(code: Code, error: &dyn std::error::Error) -> Self {
        Self::new(code, lighter_node::error_chain(error))
    }

    /// A file that cannot be read or written.
    pub fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Machine,
        };
        Self::new(code, format!("cannot {action} {}: {error}", path.display()))
    }

    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub fn report(self) -> ExitCode {
        eprintln!("error: {}", self.message);
        if let Some(hint) = self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.code as u8)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let (code, hint) = match problem.kind {
            ProblemKind::Request => (Code::Usage, None),
            ProblemKind::NotFound => (Code::NotFound, None),
            ProblemKind::BadData => (Code::BadData, None),
            ProblemKind::Network => {
                (Code::Network, Some("`lighter peer list` shows who is connected and what they hold"))
            }
            ProblemKind::Machine => (Code::Machine, None),
            ProblemKind::Cancelled => (Code::Cancelled, None),
        };
        let failure = Self::new(code, problem.message);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
