//! Broken invariants: one construct for a state that cannot be reached unless this program has a defect.
//!
//! [`broken`] reports the defect and returns, so that the caller can go on with less. By default the report panics: a
//! test run or a simulation fails at the line that found the defect. A node calls [`on_broken`] once at its start; from
//! then on it logs and counts each report and goes on serving.
//!
//! ```text
//! let Some(target) = self.targets.get_mut(&id) else { return broken("a fetch without its target") };
//! ```

use std::panic::Location;
use std::sync::OnceLock;

/// Receives the broken invariant and the place in the source that found it.
pub type Reporter = fn(what: &'static str, at: &'static Location<'static>);

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Sets the reporter of [`broken`]. Only the first call has an effect.
pub fn on_broken(reporter: Reporter) {
    let _ = REPORTER.set(reporter);
}

/// Reports that an invariant of this program does not hold.
///
/// # Panics
/// Unless [`on_broken`] was called.
#[track_caller]
#[cold]
#[allow(clippy::panic)] // A defect must fail a test run.
pub fn broken(what: &'static str) {
    let at = Location::caller();
    match REPORTER.get() {
        Some(reporter) => reporter(what, at),
        None => panic!("broken invariant at {at}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "broken invariant at crates/types/src/invariant.rs")]
    fn without_a_reporter_a_broken_invariant_panics_at_its_line() {
        broken("two is one");
    }
}
