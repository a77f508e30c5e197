//! When the scrub runs, and what becomes of its finds: the layers and documents that an image names are fetched again,
//! whoever found them damaged.

use std::time::Duration;

use lighter_api as api;
use lighter_types::Moment;
use tokio::sync::mpsc;

use super::Driver;
use super::work::{Ended, Owed};
use crate::{scrub, store_reading};

/// Between two looks whether a pass is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between two looks for what images lack. A pull of each such image begins: if no peer has it, that costs a question.
const MEND_EVERY: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Default)]
pub struct Scrubbing {
    is_at_work: bool,
    next_look: Moment,
    next_mend: Option<Moment>,
}

impl Driver {
    /// Begins a pass if one is due, and fetches what images lack if it is time.
    pub(super) fn scrub_and_mend(&mut self) {
        let now = self.shared.now();
        let next_mend = *self.scrubbing.next_mend.get_or_insert(now + MEND_EVERY);
        if next_mend <= now {
            self.mend();
        }
        if self.scrubbing.next_look <= now {
            self.scrubbing.next_look = now + LOOK_EVERY;
            if scrub::is_due(&self.shared) {
                self.begin_scrub();
            }
        }
    }

    /// Begins a pass, or goes on with an interrupted one; one is under way at a time.
    pub(super) fn begin_scrub(&mut self) -> api::ScrubStatus {
        if !self.scrubbing.is_at_work {
            self.scrubbing.is_at_work = true;
            self.shared.scrub.begin();
            let stopping = self.stopping.clone();
            self.blocking(Owed::Scrubbed, move |shared| {
                let damaged = scrub::pass(&stopping, shared);
                store_reading::read(shared);
                Ended::Scrubbed { damaged }
            });
        }
        self.shared.scrub.status()
    }

    /// A pass ended.
    pub(super) fn scrubbed(&mut self, damaged: u64) {
        self.scrubbing.is_at_work = false;
        self.shared.scrub.end();
        if damaged > 0 && !self.stopping.is_cancelled() {
            self.mend();
        }
    }

    /// Fetches the images again that lack a layer, a manifest or a config.
    fn mend(&mut self) {
        self.scrubbing.next_mend = Some(self.shared.now() + MEND_EVERY);
        let figures = self.shared.figures.last().0;
        for (image, manifest) in &figures.lacking {
            let is_under_way = self.pulls.manifests().contains(manifest);
            if !is_under_way {
                tracing::info!(image, %manifest, "fetching again what the image lacks");
                // Nobody listens: the end of the pull is in the log.
                let (listener, _) = mpsc::channel(1);
                self.fetch_layers(image.clone(), *manifest, listener);
            }
        }
    }
}
