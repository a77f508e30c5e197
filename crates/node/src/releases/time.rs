//! The time by which releases are judged: this machine's clock, as far as it can be believed.
//!
//! A clock that was never set, or that is behind the peers, or behind what publishers signed, is in doubt. Then no
//! release is refused for its date: a node whose clock shows 1970 would take none at all. An end counts as passed if
//! the latest date that was ever signed and checked lies behind it: so a clock that is set back makes no old release
//! new. Whatever cannot be checked is told to the operator.

use lighter_store::UnixSeconds;

/// A release may be dated so much ahead of this node's clock: clocks differ, and a day of difference harms nobody.
pub const AHEAD_MAX_S: u64 = 86_400;

/// The time, and why it may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    pub now: UnixSeconds,
    pub doubt: Option<String>,
}

impl Time {
    /// The time by this machine's clock and what is known of it: `trouble` says that it must be wrong, and `signed` is
    /// the latest date of a release that was checked when the clock was in no doubt.
    pub fn reckon(wall: UnixSeconds, trouble: Option<String>, signed: u64) -> Self {
        let is_behind = signed > wall.0.saturating_add(AHEAD_MAX_S);
        let behind = || "this machine's clock is behind the date of a release that was checked before".to_owned();
        Self { now: wall.max(UnixSeconds(signed)), doubt: trouble.or_else(|| is_behind.then(behind)) }.settled(wall)
    }

    /// Without a doubt the clock alone counts: a release may be dated a little ahead.
    fn settled(self, wall: UnixSeconds) -> Self {
        if self.doubt.is_none() { Self { now: wall, ..self } } else { self }
    }

    /// Whether a date lies further ahead than clocks differ.
    pub fn is_ahead(&self, date_s: u64) -> bool {
        date_s > self.now.0.saturating_add(AHEAD_MAX_S)
    }

    pub fn has_passed(&self, end_s: u64) -> bool {
        end_s < self.now.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_796_000_000;
    const YEAR: u64 = 365 * 86_400;

    fn reckon(wall: u64, trouble: Option<&str>, signed: u64) -> Time {
        Time::reckon(UnixSeconds(wall), trouble.map(str::to_owned), signed)
    }

    #[test]
    fn a_clock_without_trouble_counts_alone() {
        let time = reckon(NOON, None, NOON + 3600);
        assert_eq!((time.now.0, &time.doubt), (NOON, &None));
        assert!(!time.is_ahead(NOON + AHEAD_MAX_S) && time.is_ahead(NOON + AHEAD_MAX_S + 1));
        assert!(!time.has_passed(NOON) && time.has_passed(NOON - 1));
    }

    #[test]
    fn a_clock_behind_what_was_signed_is_in_doubt_and_makes_nothing_new() {
        for (wall, trouble) in [(600, Some("never set")), (NOON - YEAR, None)] {
            let time = reckon(wall, trouble, NOON);
            assert!(time.doubt.is_some() && time.now.0 == NOON, "{time:?}");
            assert!(time.has_passed(NOON - 1) && !time.has_passed(NOON + 1));
        }
    }

    #[test]
    fn the_largest_dates_do_not_overflow() {
        assert!(!reckon(u64::MAX, None, 0).is_ahead(u64::MAX));
        assert!(reckon(NOON, None, u64::MAX).doubt.is_some());
    }
}
