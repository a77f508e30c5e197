//! Counts the steps of ranking and choosing bases, for tests that double the bases. Outside tests it does nothing.

/// Counts steps: bases that were looked at or compared.
#[inline]
pub fn count(steps: usize) {
    #[cfg(test)]
    counted::add(steps as u64);
    #[cfg(not(test))]
    let _ = steps;
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
