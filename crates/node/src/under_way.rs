//! Transfers that are under way: work that can wait takes less of the processor meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Beside transfers, work that can wait pauses for so many times as long as it worked: it has an eighth of a core. Over
/// a fast link the processor is what limits a transfer (docs/BENCHMARKS.md, "whole").
const PAUSES_BESIDE: u32 = 7;
/// Without any, it has half of a core.
const PAUSES: u32 = 1;

/// The count of transfers.
#[derive(Default)]
pub struct UnderWay(AtomicUsize);

/// A transfer is under way for as long as this is held.
pub struct Transfer<'a>(&'a UnderWay);

impl UnderWay {
    pub fn begin(&self) -> Transfer<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Transfer(self)
    }

    /// The pause after work that can wait, which took so long.
    pub fn pause(&self, worked: Duration) -> Duration {
        worked * if self.0.load(Ordering::Relaxed) > 0 { PAUSES_BESIDE } else { PAUSES }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_longer_beside_transfers() {
        let (under_way, worked) = (UnderWay::default(), Duration::from_millis(5));
        assert_eq!(under_way.pause(worked), worked);
        let first = under_way.begin();
        let second = under_way.begin();
        drop(first);
        assert_eq!(under_way.pause(worked), worked * 7);
        drop(second);
        assert_eq!(under_way.pause(worked), worked);
    }
}
