//! Runs `lighter` and keeps what it said.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::lighter;

/// How a command ended. A code of -1 is a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Panics unless the command was done.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Panics unless the command failed with `code` and `stderr` has all the words. The error stands at the beginning,
    /// or is the last line where the command was asked for JSON.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "wanted {code}: {self:?}");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(self.stderr.starts_with("error: ") || last.starts_with("{\"error\":"), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        let error: Value = serde_json::from_str(last).unwrap_or_default();
        let said = ["message", "hint"].map(|field| error["error"][field].as_str().unwrap_or_default());
        let text = format!("{}{}", self.stderr, said.join("\n"));
        for word in words {
            assert!(text.contains(word), "no {word:?} in {self:?}");
        }
        self
    }

    /// Stdout as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Stdout as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// `lighter` without the caller's `LIGHTER_...` variables, stdin closed.
pub fn command() -> Command {
    let mut command = Command::new(lighter());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIGHTER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `lighter` to its end.
pub fn run<A: AsRef<OsStr>>(args: &[A]) -> Run {
    finish(command().args(args))
}

/// The same in a working folder.
pub fn run_in<A: AsRef<OsStr>>(dir: &Path, args: &[A]) -> Run {
    finish(command().current_dir(dir).args(args))
}

pub fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
