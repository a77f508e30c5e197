//! Crash points for tests. Every change of the disk takes one step. A test gives the store a limited number of steps
//! and then opens the folder again. A store without steps left makes no more changes, like a killed process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of changes of the disk that are left. The default has no limit.
#[derive(Clone, Default)]
pub(crate) struct Steps(Option<Arc<AtomicU64>>);

impl Steps {
    /// Allows this many steps.
    #[cfg(test)]
    pub(crate) fn limited(steps: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(steps))))
    }

    /// Takes the step of one change of the disk. Fails when no step is left.
    pub(crate) fn take(&self) -> io::Result<()> {
        let Some(left) = &self.0 else { return Ok(()) };
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .map(drop)
            .map_err(|_| io::Error::other("the test stopped the store at this step"))
    }

    /// Whether no step is left.
    pub(crate) fn are_used_up(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Ordering::SeqCst) == 0)
    }
}
