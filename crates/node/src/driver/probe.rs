//! Signs of life: a short worker looks at the store every few seconds, for the
//! figures of `status` too. A disk that hangs, a lock that is never released
//! or workers that are all taken show in its age, and the node is not ready (`/readyz`, `status`).

use std::time::{Duration, Instant};

use lighter_types::Moment;

use super::Driver;
use super::work::{Ended, Owed};
use crate::faults::Worker;
use crate::store_reading;

const PROBE_EVERY: Duration = Duration::from_secs(10);

/// See the module. One probe is at work at a time.
#[derive(Default)]
pub struct Probe {
    is_at_work: bool,
    next: Moment,
}

impl Probe {
    pub fn ended(&mut self) {
        self.is_at_work = false;
    }
}

impl Driver {
    pub(super) fn probe_store(&mut self) {
        let now = self.shared.now();
        if self.probe.is_at_work || self.probe.next > now {
            return;
        }
        self.probe = Probe { is_at_work: true, next: now + PROBE_EVERY };
        self.blocking(Owed::Probed, |shared| {
            shared.faults.strike(Worker::Probe);
            store_reading::read(shared);
            // A store that fails is another thing than one that hangs: whoever uses it is told.
            let _ = shared.store.state(b"probe");
            Ended::Probed
        });
    }

    /// The reason why the node is stuck, if it is.
    pub(super) fn stuck(&self) -> Option<String> {
        let limit = Duration::from_secs(self.shared.config.timing.stuck_s.into());
        let (task, age) = self.work.stuck(Instant::now(), limit)?;
        Some(format!("a worker is stuck: {task} takes {} s", age.as_secs()))
    }
}
