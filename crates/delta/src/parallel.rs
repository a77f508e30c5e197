//! Work spread over threads, with results in order: a caller cannot tell how many threads there were.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Calls `work` on every item, from at most `threads` threads, and returns the results in the items' order.
///
/// # Errors
/// The error of the first item, in their order, among those that failed. Once one has failed no further item is begun.
#[expect(clippy::disallowed_methods, reason = "results do not depend on the threads, which end with the call")]
pub fn map<T, R, E>(items: &[T], threads: usize, work: impl Fn(&T) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
{
    if threads <= 1 || items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<R, E>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((item, slot)) = items.get(index).zip(results.get(index)) else { return };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    // Items are begun in order, so whatever was skipped stands after an error.
    results.into_iter().map_while(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [1, 2, 7] {
            let doubled: Result<Vec<u32>, ()> = map(&items, threads, |&item| Ok(item * 2));
            assert_eq!(doubled.unwrap(), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_stops_the_work() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [1, 3] {
            let result = map(&items, threads, |&item| if item < 500 { Ok(()) } else { Err(item) });
            assert!(result.unwrap_err() >= 500);
        }
    }
}
