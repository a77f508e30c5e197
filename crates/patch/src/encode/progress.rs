//! How an encoder reports its progress, and learns that it is to stop.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use lighter_types::Bytes;

use crate::error::EncodeError;

/// Counts the bytes of the target that are encoded, from any thread.
pub struct Progress<'a> {
    pub report: &'a (dyn Fn(Bytes) -> ControlFlow<()> + Sync),
    pub done: Mutex<u64>,
}

impl Progress<'_> {
    /// Adds to the bytes that are encoded, and reports the sum.
    ///
    /// # Errors
    /// [`EncodeError::Cancelled`], if the caller breaks.
    pub fn add(&self, bytes: u64) -> Result<(), EncodeError> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += bytes;
        match (self.report)(Bytes(*done)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EncodeError::Cancelled),
        }
    }
}
