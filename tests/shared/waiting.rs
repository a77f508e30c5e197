//! Datagrams on their way, in the order of their arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Datagrams on their way. Those that come beyond are lost.
const WAITING_MAX: usize = 65_536;

/// Datagrams on their way to the end `T`, the earliest first.
pub struct Waiting<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    order: u64,
}

/// Ordered by its fields: two datagrams of one time keep their order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due<T> {
    at: Duration,
    order: u64,
    to: T,
    bytes: Vec<u8>,
}

impl<T: Ord> Default for Waiting<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), order: 0 }
    }
}

impl<T: Ord> Waiting<T> {
    pub fn add(&mut self, at: Duration, to: T, bytes: Vec<u8>) {
        if self.heap.len() < WAITING_MAX {
            self.order += 1;
            self.heap.push(Reverse(Due { at, order: self.order, to, bytes }));
        }
    }

    /// Takes the earliest, if its time has come.
    pub fn take(&mut self, now: Duration) -> Option<(T, Vec<u8>)> {
        self.heap.peek().filter(|Reverse(due)| due.at <= now)?;
        self.heap.pop().map(|Reverse(due)| (due.to, due.bytes))
    }

    /// The time until the next one, at most `limit`.
    pub fn next(&self, now: Duration, limit: Duration) -> Duration {
        self.heap.peek().map_or(limit, |Reverse(due)| due.at.saturating_sub(now).min(limit))
    }
}
