//! How slow a machine is, beside the machine of docs/BENCHMARKS.md.

use std::time::Duration;

/// The time that work takes on a machine over the time on the machine of docs/BENCHMARKS.md, in 1/1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pace(u32);

impl Pace {
    const ONE: u32 = 1024;
    /// Beyond these bounds, something else is wrong.
    const MIN: u32 = Self::ONE / 64;
    /// That of the machine of docs/BENCHMARKS.md.
    pub const USUAL: Self = Self(Self::ONE);
    /// The largest value of [`Pace::to_part`].
    pub const PART_MAX: u32 = Self::ONE * 64;

    /// Learns from work that was expected to take some time at the default pace. It counts for a quarter, and for a
    /// factor of two at most.
    pub fn learn(&mut self, expected: Duration, took: Duration) {
        let expected = expected.as_micros().max(1);
        let found = u32::try_from(took.as_micros().saturating_mul(Self::ONE.into()) / expected).unwrap_or(u32::MAX);
        let found = found.clamp(self.0 / 2, self.0 * 2);
        self.0 = ((self.0 * 3 + found) / 4).clamp(Self::MIN, Self::PART_MAX);
    }

    /// The time at this pace of work that takes so long at the default pace.
    pub fn of(self, time: Duration) -> Duration {
        let micros = time.as_micros().saturating_mul(self.0.into()) / u128::from(Self::ONE);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The pace as a plain integer, to be stored or sent.
    pub fn to_part(self) -> u32 {
        self.0
    }

    /// The pace from [`Pace::to_part`]; `None` for a value that it never gives.
    pub fn from_part(part: u32) -> Option<Self> {
        (Self::MIN..=Self::PART_MAX).contains(&part).then_some(Self(part))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::USUAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_is_learned_slowly() {
        let (expected, took) = (Duration::from_secs(10), Duration::from_secs(40));
        let mut pace = Pace::default();
        pace.learn(expected, took);
        assert_eq!(pace.of(expected), Duration::from_millis(12_500));
        (0..20).for_each(|_| pace.learn(expected, took));
        assert!(pace.of(expected).abs_diff(took) < Duration::from_secs(1), "{pace:?}");
    }

    #[test]
    fn absurd_times_stay_within_the_bounds() {
        let mut pace = Pace::default();
        for took in [Duration::MAX, Duration::ZERO] {
            for expected in [Duration::ZERO, Duration::MAX].repeat(200) {
                pace.learn(expected, took);
            }
            assert_eq!(Pace::from_part(pace.to_part()), Some(pace));
            assert!(pace.of(Duration::MAX) > Duration::ZERO);
        }
        assert_eq!((Pace::from_part(0), Pace::from_part(u32::MAX)), (None, None));
    }
}
