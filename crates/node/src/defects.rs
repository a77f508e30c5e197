//! Defects that a running node survives: panics of its tasks, broken invariants, and a log that cannot be written.
//!
//! The node logs each of them at error level, counts it, and goes on. `status` warns of them and `/metrics` has the
//! counts. The counts belong to the process: [`lighter_types::on_broken`] takes a plain function, which knows of no
//! node.

use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use lighter_engine::LocalFailure;
use tokio::task::JoinError;

static PANICS: AtomicU64 = AtomicU64::new(0);
static BROKEN: AtomicU64 = AtomicU64::new(0);
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Defects since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// Tasks that panicked.
    pub panics: u64,
    /// Reports by [`lighter_types::broken`].
    pub broken_invariants: u64,
    /// Lines of the log that could not be written.
    pub lost_lines: u64,
}

impl Defects {
    pub fn counted() -> Self {
        let [panics, broken_invariants, lost_lines] =
            [&PANICS, &BROKEN, &LOST_LINES].map(|count| count.load(Ordering::Relaxed));
        Self { panics, broken_invariants, lost_lines }
    }

    /// A sentence for the operator about each kind of defect that was counted.
    pub fn warnings(self) -> Vec<String> {
        let Self { panics, broken_invariants, lost_lines } = self;
        let mut warnings = Vec::new();
        if panics > 0 {
            warnings.push(format!("{panics} tasks of this node panicked; the log names them"));
        }
        if broken_invariants > 0 {
            let found = format!("{broken_invariants} broken invariants of this node");
            warnings.push(format!("{found}; the log names them"));
        }
        if lost_lines > 0 {
            warnings.push(format!("{lost_lines} lines of the log are lost: its reader is gone, or its disk is full"));
        }
        warnings
    }
}

/// From now on this process logs and counts a broken invariant, and goes on.
pub fn survive_broken_invariants() {
    lighter_types::on_broken(|what, at: &'static Location<'static>| {
        BROKEN.fetch_add(1, Ordering::Relaxed);
        tracing::error!(what, %at, "an invariant of this node is broken");
    });
}

/// The failure of a task that ended without its result. A panic is logged and counted; an abort is no defect.
pub fn task_failed(task: &str, error: &JoinError) -> LocalFailure {
    if error.is_panic() {
        panicked(task, error.to_string());
        LocalFailure::Panicked
    } else {
        LocalFailure::Aborted
    }
}

/// The log: stderr. A line that cannot be written is counted, and the node goes on.
pub struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs and counts a panic.
pub fn panicked(task: &str, error: String) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    tracing::error!(task, error, "a task of this node panicked");
}
