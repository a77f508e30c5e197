//! How fast this machine is, before it has made or applied any patch: it makes a small one and applies it.
//!
//! An edge with an eighth of a core must not get its first patch at an effort that it applies for minutes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lighter_patch::{Method, Moves, Settings, Source};
use lighter_types::{Bytes, DiffId, Effort, Pace, ReadAt};

/// The time that the work takes on the machine of docs/BENCHMARKS.md.
const USUAL: Duration = Duration::from_millis(78);
/// The layer that the patch is of: 32 KiB of words.
const WORDS: usize = 4096;
/// The shortest of some runs counts: other work may be in the way. There is one more as long as each took clearly
/// longer than usual, and all of them took no longer than this.
const RUNS_TIME_MAX: Duration = Duration::from_millis(300);

/// The pace of this machine. Takes a tenth of a second on a usual one.
pub fn measure() -> Pace {
    let (layer, began) = (layer(), Instant::now());
    let mut took = work(&layer);
    while took.is_some_and(|took| took > USUAL * 5 / 4) && began.elapsed() < RUNS_TIME_MAX {
        took = took.min(work(&layer));
    }
    let mut pace = Pace::default();
    if let Some(took) = took {
        // A pace moves by steps.
        (0..32).for_each(|_| pace.learn(USUAL, took));
    }
    pace
}

/// Makes a patch at the highest effort and applies it. The time that took; `None` for a defect.
fn work(layer: &[u8]) -> Option<Duration> {
    let began = Instant::now();
    let settings = Settings { method: Method::Delta(Effort::Max), memory_bytes_max: Bytes::MIB.times(256), threads: 1 };
    let target = Source { diff_id: DiffId::new([0; 32]), bytes: &layer as &dyn ReadAt };
    let patch = lighter_patch::encode(&target, &[], &settings, &|_| ControlFlow::Continue(())).ok()?;
    for (index, payload) in (0..).zip(&patch.payloads) {
        lighter_patch::apply_frame(&patch.header, index, payload, &[], &Moves::default()).ok()?;
    }
    Some(began.elapsed())
}

/// Words of some letters, drawn by a linear congruential generator (Knuth, MMIX).
fn layer() -> Vec<u8> {
    let mut state: u64 = 1;
    let mut layer = Vec::new();
    for _ in 0..WORDS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        layer.extend(format!("{:07o} ", state >> 52).into_bytes());
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_can_be_done() {
        assert_eq!(layer().len(), WORDS * 8);
        assert!(work(&layer()).is_some());
    }
}
