//! The header that is made behind a commit just now (`headers`): an encode of the same layer waits for it, and does not
//! compress the layer a second time.

use std::time::{Duration, Instant};

use lighter_types::DiffId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The layer whose header is made behind its commit, and since when. An encode of it waits for that.
#[derive(Default)]
pub struct Making(watch::Sender<Option<(DiffId, Instant)>>);

/// A header is made for as long as this is held.
pub struct Made<'a>(&'a Making);

impl Making {
    pub fn begin(&self, layer: DiffId) -> Made<'_> {
        self.0.send_replace(Some((layer, Instant::now())));
        Made(self)
    }

    /// Waits while the header of this layer is made; the time since it began. `None` if it is not made, or if the wait
    /// is given up.
    pub async fn wait(&self, layer: DiffId, stopping: &CancellationToken) -> Option<Duration> {
        let mut making = self.0.subscribe();
        let (_, since) = making.borrow().filter(|(of, _)| *of == layer)?;
        let is_over = making.wait_for(|now| now.is_none_or(|(of, _)| of != layer));
        stopping.run_until_cancelled(is_over).await?.ok()?;
        Some(since.elapsed())
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.0.0.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: DiffId = DiffId::new([1; 32]);

    #[tokio::test]
    async fn an_encode_waits_for_the_header_of_its_layer_and_of_no_other() {
        let (making, stopping) = (Making::default(), CancellationToken::new());
        assert_eq!(making.wait(LAYER, &stopping).await, None, "nothing is made");
        let made = making.begin(LAYER);
        assert_eq!(making.wait(DiffId::new([2; 32]), &stopping).await, None);
        let mut waiting = std::pin::pin!(making.wait(LAYER, &stopping));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(made);
        assert!(waiting.await.is_some());
        assert_eq!(making.wait(LAYER, &stopping).await, None);
    }

    #[tokio::test]
    async fn a_wait_for_a_header_can_be_given_up() {
        let (making, stopping) = (Making::default(), CancellationToken::new());
        let _made = making.begin(LAYER);
        let mut waiting = std::pin::pin!(making.wait(LAYER, &stopping));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        stopping.cancel();
        assert_eq!(waiting.await, None);
    }
}
