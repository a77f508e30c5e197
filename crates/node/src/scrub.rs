//! The background scrub: every [`store.scrub_days`](crate::config::Store) the node reads all that it holds, at a pace
//! that nobody notices, and compares it with its names. The store sets aside what is damaged; the driver fetches again
//! what an image names (`driver::scrubbing`).
//!
//! One worker makes a pass: the index, then item after item (`Store::next_item`). The last item is on disk, so a node
//! that is often switched off goes on where it stopped. A pass is due so many days after the last one ended, or after
//! the node's first start. Its clock is that of the store's uses, which never goes back.

use std::thread;
use std::time::{Duration, Instant};

use lighter_engine::DiskInput;
use lighter_store::{Item, Scrubbed, StoreError};
use lighter_types::Bytes;
use tokio_util::sync::CancellationToken;

use crate::scrub_figures::keep;
use crate::scrub_record::Record;
use crate::shared::Shared;

const DAY_S: u64 = 24 * 3600;
/// Between two writes of the last item: a power cut has so much read again.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// A stopping node waits for one nap of the worker.
const NAP_MAX: Duration = Duration::from_millis(200);

/// Whether a pass is due or was interrupted.
pub fn is_due(shared: &Shared) -> bool {
    let days = u64::from(shared.config.store.scrub_days);
    let record = &shared.scrub.state().record;
    let is_over = shared.uses.now().0 >= record.since_s.saturating_add(days * DAY_S);
    days > 0 && (record.after.is_some() || is_over)
}

/// Makes a pass, or the rest of one. Returns the number of damaged files that it found.
pub fn pass(stopping: &CancellationToken, shared: &Shared) -> u64 {
    let before = shared.scrub.state().damaged;
    let ended = Pass { shared, stopping, kept: Instant::now() }.run();
    let mut state = shared.scrub.state();
    if let Err(error) = ended {
        // The next pass begins anew: this one would end at the same place.
        state.record = Record { since_s: shared.uses.now().0, ..state.record.ended() };
        tracing::error!(%error, "the scrub of the store failed");
    }
    let (record, found) = (state.record.clone(), state.damaged - before);
    drop(state);
    keep(&shared.store, &record);
    found
}

struct Pass<'a> {
    shared: &'a Shared,
    stopping: &'a CancellationToken,
    kept: Instant,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        let Shared { store, scrub, .. } = self.shared;
        let mut after = scrub.state().record.after.clone();
        if after.is_none() {
            tracing::info!("the scrub of the store begins");
            let record = &mut scrub.state().record;
            (record.bytes, record.damaged) = (0, 0);
            store.scrub_index()?;
        }
        while let Some(item) = store.next_item(after.as_ref()) {
            let scrubbed = store.scrub(&item, &mut |bytes| self.pause(bytes))?;
            match scrubbed {
                Scrubbed::Whole | Scrubbed::Gone => {}
                Scrubbed::Damaged { why, moved_to } => self.found(&item, &why, moved_to.as_deref()),
                Scrubbed::Stopped => return Ok(()),
            }
            scrub.state().record.after = Some(item.clone());
            if self.kept.elapsed() >= KEEP_EVERY {
                let record = scrub.state().record.clone();
                keep(store, &record);
                self.kept = Instant::now();
            }
            after = Some(item);
        }
        let mut state = scrub.state();
        let now_s = self.shared.uses.now().0;
        let Record { bytes, damaged, .. } = state.record;
        state.record = Record {
            since_s: now_s,
            ended_s: Some(now_s),
            ended_bytes: bytes,
            ended_damaged: damaged,
            ..Record::default()
        };
        tracing::info!(bytes, damaged, "the scrub of the store ended");
        Ok(())
    }

    /// Counts bytes, and waits as long as they take at the scrub's rate. Returns whether the node goes on.
    fn pause(&self, bytes: Bytes) -> bool {
        let mut state = self.shared.scrub.state();
        state.bytes += bytes;
        state.record.bytes += bytes.0;
        drop(state);
        let Some(rate) = self.shared.config.store.scrub_rate.0 else { return !self.stopping.is_cancelled() };
        let until = Instant::now() + bytes.at(rate);
        while !self.stopping.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(NAP_MAX));
        }
        false
    }

    fn found(&self, item: &Item, why: &str, moved_to: Option<&std::path::Path>) {
        let moved_to = moved_to.map_or_else(String::new, |path| path.display().to_string());
        tracing::error!(%item, why, moved_to, "the scrub found a damaged file");
        let mut state = self.shared.scrub.state();
        state.damaged += 1;
        state.record.damaged += 1;
        drop(state);
        if let Item::Patch(patch) = item {
            self.shared.input_blocking(DiskInput::PatchGone(*patch));
        }
    }
}
