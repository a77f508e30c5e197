//! A queue of frames to rebuild by several threads, whose results come out in order.
//!
//! A thread takes the next frame, or one of the next few that takes much longer. Rebuilt frames that wait for their
//! turn are bounded in bytes; frames in work, one for each thread, do not count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::exit::Failure;

/// How many frames before its turn a thread may take a frame.
const LOOK_AHEAD: usize = 16;

pub struct Line<'a, T> {
    frames: usize,
    ahead_max: usize,
    /// How long a frame takes, in any unit.
    work: &'a (dyn Fn(usize) -> u64 + Sync),
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// Frames that threads may take, each with the magnitude of its work.
    next: VecDeque<(usize, u32)>,
    /// How many frames have been in `next` so far.
    seen: usize,
    /// The frame that the reader wants next.
    wanted: usize,
    /// Rebuilt frames, and how many bytes of memory each takes.
    waiting: BTreeMap<usize, Result<(T, usize), Failure>>,
    waiting_bytes: usize,
    has_ended: bool,
}

impl<'a, T> Line<'a, T> {
    /// A line of so many frames. While more than `ahead_max` bytes wait, threads take only the frame that is wanted
    /// next.
    pub fn new(frames: usize, ahead_max: usize, work: &'a (dyn Fn(usize) -> u64 + Sync)) -> Self {
        let state = State {
            next: VecDeque::new(),
            seen: 0,
            wanted: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            has_ended: false,
        };
        Self { frames, ahead_max, work, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for room, then gives a frame to work on; `None` at the end, or when the reader has gone.
    pub fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            while state.seen < self.frames.min(state.wanted + LOOK_AHEAD) {
                // Magnitudes: threads take frames of similar work in order.
                let index = state.seen;
                state.next.push_back((index, (self.work)(index).max(1).ilog2()));
                state.seen += 1;
            }
            if state.has_ended || (state.next.is_empty() && state.seen == self.frames) {
                return None;
            }
            let place = if state.waiting_bytes <= self.ahead_max {
                let longest = state.next.iter().map(|(_, work)| *work).max();
                state.next.iter().position(|(_, work)| Some(*work) == longest)
            } else {
                state.next.iter().position(|(index, _)| *index == state.wanted)
            };
            if let Some(taken) = place.and_then(|place| state.next.remove(place)) {
                return Some(taken.0);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a rebuilt frame, and how many bytes of memory it takes. After a failure, threads take no more frames.
    pub fn put(&self, index: usize, range: Result<(T, usize), Failure>) {
        let mut state = self.lock();
        match &range {
            Ok((_, bytes)) => state.waiting_bytes += bytes,
            Err(_) => (state.next, state.seen) = (VecDeque::new(), self.frames),
        }
        state.waiting.insert(index, range);
        self.changed.notify_all();
    }

    /// Waits for the next frame; `None` if it will not come.
    pub fn get(&self, index: usize) -> Option<Result<T, Failure>> {
        let mut state = self.lock();
        state.wanted = index;
        self.changed.notify_all();
        while !state.has_ended && !state.waiting.contains_key(&index) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let range = state.waiting.remove(&index)?.map(|(range, bytes)| {
            state.waiting_bytes -= bytes;
            range
        });
        self.changed.notify_all();
        Some(range)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the line when the reader is done or gives up, so that no thread waits any more.
pub struct EndOnDrop<'a, T>(pub &'a Line<'a, T>);

impl<T> Drop for EndOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

/// Ends the line when a thread that rebuilds frames panics: its frame will not come.
pub struct EndOnPanic<'a, T>(pub &'a Line<'a, T>);

impl<T> Drop for EndOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(EndOnDrop(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::exit::Kind;

    /// Runs a line of frames on so many threads. Returns the frames in the order of the results.
    fn run(works: &[u64], bytes: usize, ahead_max: usize, threads: usize) -> Vec<usize> {
        let work = |index: usize| works[index];
        let line = Line::new(works.len(), ahead_max, &work);
        let (held, held_most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let out = thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(index) = line.take() {
                        held_most.fetch_max(held.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        line.put(index, Ok((index, bytes)));
                    }
                });
            }
            let _end = EndOnDrop(&line);
            let mut out = Vec::new();
            for index in 0..works.len() {
                let Some(range) = line.get(index) else { break };
                held.fetch_sub(bytes, Ordering::SeqCst);
                let Ok(range) = range else { break };
                out.push(range);
            }
            out
        });
        // The bytes that may wait, the frame that exceeded them, one in work per thread, and the wanted one.
        assert!(held_most.into_inner() <= ahead_max + bytes * (threads + 2));
        out
    }

    #[test]
    fn frames_come_out_in_order_whatever_they_take_and_however_little_may_wait() {
        let mut state = 1u64;
        for round in 0..80 {
            let works: Vec<u64> = (0..round)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    1 << (state >> 58)
                })
                .collect();
            for (ahead_max, threads) in [(0, 1), (0, 2), (100, 3), (5000, 2)] {
                assert_eq!(run(&works, 100, ahead_max, threads), (0..works.len()).collect::<Vec<_>>());
            }
        }
    }

    /// The order in which one thread takes the frames if the reader gets each as soon as it is there.
    fn taken_in_step(works: &[u64]) -> Vec<usize> {
        let work = |index: usize| works[index];
        let line = Line::new(works.len(), 1000, &work);
        let (mut taken, mut wanted) = (Vec::new(), 0);
        while let Some(index) = line.take() {
            taken.push(index);
            line.put(index, Ok(((), 1)));
            while taken.contains(&wanted) {
                assert!(line.get(wanted).unwrap().is_ok());
                wanted += 1;
            }
        }
        taken
    }

    #[test]
    fn a_long_frame_is_taken_before_its_turn_and_equal_ones_in_theirs() {
        assert_eq!(taken_in_step(&[5, 4, 6, 7, 100, 0]), [4, 0, 1, 2, 3, 5]);
        let mut far = vec![1; 100];
        far[60] = 1000;
        let place = taken_in_step(&far).iter().position(|&index| index == 60).unwrap();
        assert!((60 - LOOK_AHEAD..60).contains(&place), "taken as number {place}");
    }

    #[test]
    fn a_failure_ends_the_line() {
        let line = Line::<()>::new(3, 0, &|_| 1);
        assert_eq!(line.take(), Some(0));
        line.put(0, Err(Failure::new(Kind::BadData, "damaged")));
        assert_eq!(line.take(), None);
        assert!(line.get(0).unwrap().is_err());
    }
}
