//! A queue of events by their moment. Events of the same moment keep the order in which they were put in.
//!
//! Time only goes forward, so the queue is a radix heap. An event stands in a bucket by the highest bit in which its
//! moment differs from the last moment that was taken, and moves to lower buckets as time comes near. Putting in and
//! taking out cost the same however much waits. All events of a moment always stand in one bucket, which keeps their
//! order.

use slab::Slab;

/// Virtual time, in microseconds since the beginning of a run.
pub type Micros = u64;

const BUCKETS: usize = Micros::BITS as usize + 1;

pub struct Queue<T> {
    last: Micros,
    /// The first bucket has the events of the moment `last`.
    buckets: [Vec<(Micros, u32)>; BUCKETS],
    /// Events of the first bucket that were taken.
    taken: usize,
    /// The events. Buckets hold their keys, so that little is moved about.
    waiting: Slab<T>,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        let buckets = [const { Vec::new() }; BUCKETS];
        Self { last: 0, buckets, taken: 0, waiting: Slab::new() }
    }

    /// A moment that has passed counts as the last one that was taken.
    pub fn push(&mut self, at: Micros, waiting: T) {
        let key = self.waiting.insert(waiting) as u32;
        self.place(at.max(self.last), key);
    }

    /// The next event, and its moment.
    pub fn pop(&mut self) -> Option<(Micros, T)> {
        if self.taken == self.buckets[0].len() {
            self.buckets[0].clear();
            self.taken = 0;
            self.advance()?;
        }
        let (at, key) = self.buckets[0][self.taken];
        self.taken += 1;
        Some((at, self.waiting.remove(key as usize)))
    }

    /// Goes on to the next moment that has an event.
    fn advance(&mut self) -> Option<()> {
        let lowest = self.buckets.iter().position(|bucket| !bucket.is_empty())?;
        let mut bucket = std::mem::take(&mut self.buckets[lowest]);
        self.last = bucket.iter().map(|(at, _)| *at).min()?;
        bucket.drain(..).for_each(|(at, key)| self.place(at, key));
        self.buckets[lowest] = bucket;
        Some(())
    }

    fn place(&mut self, at: Micros, key: u32) {
        let bucket = Micros::BITS - (at ^ self.last).leading_zeros();
        self.buckets[bucket as usize].push((at, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn moments_come_in_their_order_and_events_of_one_moment_as_they_were_put_in() {
        let (mut queue, mut random) = (Queue::new(), Random::new(7));
        let (mut now, mut waiting, mut number) = (0, std::collections::BTreeSet::new(), 0);
        for _ in 0..200_000 {
            if random.below(2) == 0 {
                // From the same moment to years.
                let within = 1 << random.below(45);
                let at = now + random.below(within);
                queue.push(at, number);
                waiting.insert((at, number));
                number += 1;
            } else {
                let next = queue.pop();
                assert_eq!(next, waiting.pop_first());
                now = next.map_or(now, |(at, _)| at);
            }
        }
        assert!(number > 90_000);
        assert_eq!(queue.waiting.len(), waiting.len(), "what was taken is gone");
    }
}
