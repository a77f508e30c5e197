//! Crash points. Every change of the disk takes a step; a test gives the store so many steps and no more, and then
//! opens the folder again. A store without steps left changes nothing more, as a killed process does not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many more changes of the disk will be made. The default is without end.
#[derive(Clone, Default)]
pub(crate) struct Steps(Option<Arc<AtomicU64>>);

impl Steps {
    /// So many steps, then none.
    #[cfg(test)]
    pub(crate) fn limited(steps: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(steps))))
    }

    /// Allows one change of the disk, or ends the store.
    pub(crate) fn take(&self) -> io::Result<()> {
        let Some(left) = &self.0 else { return Ok(()) };
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .map(drop)
            .map_err(|_| io::Error::other("the test ended the store here"))
    }

    /// Whether no change is allowed any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Ordering::SeqCst) == 0)
    }
}
