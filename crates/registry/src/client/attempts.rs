//! Attempts: which source is asked, how often, and how long a failure waits.
//!
//! Mirrors come first, in their order, then the registry itself. A failure that may pass (no connection, a broken or
//! stalled answer, 408, 429, 5xx) is repeated at the same source after a wait that doubles, with jitter, or after what
//! Retry-After asks. Any other failure, and one that does not pass, goes on to the next source.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Upstream;
use super::ask::Source;
use super::error::Failure;

/// Attempts at the registry itself, and at a mirror.
const ATTEMPTS_MAX: u32 = 5;
const MIRROR_ATTEMPTS_MAX: u32 = 2;
/// The first wait, and the longest. With jitter, a wait is between half of it and the whole.
const WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(15);
/// The longest wait that a registry may ask for. Docker Hub asks for up to six hours: that is an answer for people.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// An attempt that brought this much does not count as a failed one. So a blob of 1 GiB has at most 1,024 attempts
/// more.
const PROGRESS_BYTES: u64 = 1 << 20;
/// A mirror that failed is not asked for this long.
pub(super) const AWAY: Duration = Duration::from_secs(60);

/// The attempts of one request.
pub(super) struct Attempts {
    sources: Vec<Source>,
    at: usize,
    failed: u32,
    progress_bytes: u64,
}

impl Attempts {
    /// `sources` is not empty: the registry itself is the last one.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self { sources, at: 0, failed: 0, progress_bytes: 0 }
    }

    pub(super) fn source(&self) -> &Source {
        &self.sources[self.at]
    }

    pub(super) fn progressed(&mut self, bytes: usize) {
        self.progress_bytes += bytes as u64;
        if self.progress_bytes >= PROGRESS_BYTES {
            (self.failed, self.progress_bytes) = (0, 0);
        }
    }

    /// Waits, or goes on to the next source. Dropping the future gives up.
    ///
    /// # Errors
    /// The failure, if there is nothing left to try.
    pub(super) async fn after(&mut self, failure: Failure, upstream: &Upstream) -> Result<(), Failure> {
        self.progress_bytes = 0;
        self.failed += 1;
        let is_last = self.at + 1 == self.sources.len();
        let attempts_max = if is_last { ATTEMPTS_MAX } else { MIRROR_ATTEMPTS_MAX };
        let asked = match &failure {
            Failure::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let may_wait = asked.is_none_or(|wait| wait <= RETRY_AFTER_MAX);
        if failure.is_transient() && self.failed < attempts_max && may_wait {
            let wait = asked.unwrap_or_default().max(backoff(self.failed, upstream.random()));
            tracing::debug!(source = self.source().host, %failure, ?wait, "waits for another attempt");
            sleep(wait).await;
            return Ok(());
        }
        if is_last {
            return Err(failure);
        }
        tracing::info!(source = self.source().host, failure = lighter_types::error_chain(&failure), "mirror failed");
        if failure.is_transient() {
            upstream.set_away(&self.source().host, Instant::now());
        }
        (self.at, self.failed) = (self.at + 1, 0);
        Ok(())
    }
}

/// The wait after the n-th failure in a row, from 1.
fn backoff(failed: u32, random: u64) -> Duration {
    let whole = WAIT.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(WAIT_MAX);
    let half_ms = u64::try_from(whole.as_millis() / 2).unwrap_or_default();
    Duration::from_millis(half_ms + random % (half_ms + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_a_limit() {
        for (failed, low_ms, high_ms) in
            [(1, 250, 500), (2, 500, 1000), (5, 4000, 8000), (6, 7500, 15_000), (99, 7500, 15_000)]
        {
            assert_eq!(backoff(failed, 0), Duration::from_millis(low_ms));
            assert_eq!(backoff(failed, low_ms), Duration::from_millis(high_ms));
            assert!((low_ms..=high_ms).contains(&(backoff(failed, u64::MAX).as_millis() as u64)));
        }
    }
}
