//! Transfers, imports and rebuilds of blobs that are under way. Work that can wait takes less of the processor beside
//! them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Beside them, work that can wait pauses for so many times as long as it worked: it has an eighth of a core. Over a
/// fast link the processor is what limits a transfer (docs/BENCHMARKS.md, "whole").
const PAUSES_BESIDE: u32 = 7;
/// Without any, it has half of a core.
const PAUSES: u32 = 1;

/// The count of them.
#[derive(Default)]
pub struct UnderWay(AtomicUsize);

/// One is under way for as long as this is held.
pub struct Going<'a>(&'a UnderWay);

impl UnderWay {
    pub fn begin(&self) -> Going<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Going(self)
    }

    pub fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// The pause after work that can wait, which took so long.
    pub fn pause(&self, worked: Duration) -> Duration {
        worked * if self.is_any() { PAUSES_BESIDE } else { PAUSES }
    }
}

impl Drop for Going<'_> {
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
