//! News of a fetch for the engine.

use std::sync::Arc;

use lighter_engine::{Part, WorkInput};
use lighter_patch::Header;
use lighter_types::Bytes;
use tokio::sync::watch;

use super::job::{FetchJob, Start};
use crate::arrivals::Growth;
use crate::shared::Shared;

/// The engine hears of progress after this many bytes.
pub const PROGRESS_BYTES: u64 = 64 << 10;

/// Tells the engine how far a fetch is.
pub struct Progress<'a> {
    pub job: &'a FetchJob,
    pub start: Start,
    pub header: &'a Header,
    /// Frames on disk, from the first on.
    pub frames: watch::Receiver<u32>,
    pub growth: Arc<Growth>,
    pub shared: &'a Shared,
}

impl Progress<'_> {
    /// `received` since this fetch began; zero tells what is on disk.
    pub async fn tell(&self, received: Bytes) {
        let frames = *self.frames.borrow();
        let arrived = self.bytes_before(self.start.first_frame) - self.header.header_bytes() + received;
        let bytes = arrived.max(self.bytes_before(frames));
        self.growth.came(bytes);
        let part = Part {
            patch: self.start.patch,
            settings: self.header.settings_id(),
            bases: self.header.bases().iter().map(|base| base.diff_id).collect(),
            frames,
            bytes,
            bytes_total: self.header.patch_bytes(),
        };
        self.shared.input(WorkInput::FetchProgress { fetch: self.job.fetch, part }).await;
    }

    fn bytes_before(&self, frame: u32) -> Bytes {
        self.header.frame(frame).map_or_else(|| self.header.patch_bytes(), |frame| Bytes(frame.payload_offset))
    }

    /// Waits for the applier. Until it ends, tells of each frame that is on disk: the node passes those on before all
    /// of them are applied.
    pub async fn tell_until<T>(&self, mut applier: impl Future<Output = T> + Unpin, received: Bytes) -> T {
        let mut frames = self.frames.clone();
        loop {
            tokio::select! {
                applied = &mut applier => return applied,
                Ok(()) = frames.changed() => self.tell(received).await,
            }
        }
    }
}
