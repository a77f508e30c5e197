//! Frames in work: any thread takes the next one, and they come out in order.
//!
//! Bounded by what is rebuilt and waits for its turn; frames in work, one for each thread, are not counted.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use lighter_patch::RebuiltRange;

use crate::exit::Failure;

pub struct Line {
    frames: usize,
    ahead_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The frame to be taken next.
    next: usize,
    waiting: BTreeMap<usize, Result<RebuiltRange, Failure>>,
    waiting_bytes: usize,
    has_ended: bool,
}

impl Line {
    /// Of so many frames. None is begun while more than `ahead_max` bytes wait.
    pub fn new(frames: usize, ahead_max: usize) -> Self {
        Self { frames, ahead_max, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The next frame to work on, when there is room; `None` when there is none, or nobody wants it any more.
    pub fn take(&self) -> Option<usize> {
        let mut state = self.wait_while(|state| !state.has_ended && state.waiting_bytes > self.ahead_max);
        if state.has_ended || state.next == self.frames {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    /// Brings a frame; after a failure no more are taken.
    pub fn put(&self, index: usize, range: Result<RebuiltRange, Failure>) {
        let mut state = self.lock();
        match &range {
            Ok(range) => state.waiting_bytes += range.held_bytes(),
            Err(_) => state.next = self.frames,
        }
        state.waiting.insert(index, range);
        self.changed.notify_all();
    }

    /// Waits for a frame; `None` if it will not come.
    pub fn get(&self, index: usize) -> Option<Result<RebuiltRange, Failure>> {
        let mut state = self.wait_while(|state| !state.has_ended && !state.waiting.contains_key(&index));
        let range = state.waiting.remove(&index)?;
        if let Ok(range) = &range {
            state.waiting_bytes -= range.held_bytes();
        }
        self.changed.notify_all();
        Some(range)
    }

    fn wait_while(&self, waits: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while waits(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the line when whoever takes frames out of it is done or gave up: nobody waits any more.
pub struct EndOnDrop<'a>(pub &'a Line);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

/// Ends the line when a thread that works on frames panics: its frame does not come.
pub struct EndOnPanic<'a>(pub &'a Line);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(EndOnDrop(self.0));
        }
    }
}
