//! Counts the steps of the engine, for tests that double what a node knows. Outside tests it does nothing.

/// Counts steps: peers, layers, patches or streams that were looked at, and list entries that were moved.
#[inline]
pub fn count(steps: usize) {
    #[cfg(test)]
    counted::add(steps as u64);
    #[cfg(not(test))]
    let _ = steps;
}

/// Counts a step for each item that passes.
#[inline]
pub fn counting<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.inspect(|_| count(1))
}

#[cfg(test)]
pub mod counted {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub fn add(steps: u64) {
        STEPS.set(STEPS.get() + steps);
    }

    /// The steps of some work of this thread.
    pub fn of(work: impl FnOnce()) -> u64 {
        let before = STEPS.get();
        work();
        STEPS.get() - before
    }
}
