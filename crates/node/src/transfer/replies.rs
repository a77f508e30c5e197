//! The replies of a provider that makes the patch, or waits for its next frame: "working", every few seconds.

use std::time::{Duration, Instant};

use futures::AsyncRead;
use lighter_engine::{FetchFailure, FetchStep, Lie, WorkInput};
use lighter_patch::Header;
use lighter_types::Cause;
use lighter_wire::PatchReply;

use super::job::FetchJob;
use super::{CHUNK_TIMEOUT, read_message, within};
use crate::arrivals::Growth;
use crate::shared::Shared;

/// The engine hears of them this often at most, however often a provider says it.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// More replies before a patch are no honest provider's: it says so once a second at most for each encode under way, of
/// which there are at most 64 (`limits.encodes_max`), and a patch is waited for during half an hour
/// (`Settings::WORKING_MAX`).
const REPLIES_MAX: u32 = 1 << 18;

/// The replies of one provider so far.
#[derive(Debug, Default)]
pub struct Replies {
    count: u32,
    told: Option<Instant>,
}

/// The lie of a provider that works without end.
#[derive(Debug, thiserror::Error)]
#[error("it said {REPLIES_MAX} times that it makes the patch")]
struct Endless;

/// The lie of a provider that answers before it says that a patch comes, or in place of a frame.
#[derive(Debug, thiserror::Error)]
#[error("a reply out of its place")]
struct OutOfPlace;

pub fn out_of_place() -> FetchFailure {
    FetchFailure::Lied(Lie::Unreadable(Cause::new(OutOfPlace)))
}

impl Replies {
    /// Reads up to the payload of the next frame. Until it is there the provider may say how it grows.
    pub async fn until_frame(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        header: &Header,
        growth: &Growth,
        (job, shared): (&FetchJob, &Shared),
    ) -> Result<(), FetchFailure> {
        loop {
            match within(CHUNK_TIMEOUT, FetchStep::Frames, read_message(stream)).await? {
                PatchReply::Frame => return Ok(()),
                PatchReply::Working { done } => {
                    growth.heard(done);
                    if self.is_told(Instant::now()).map_err(FetchFailure::Lied)? {
                        let total = Some(header.patch_bytes());
                        shared.input(WorkInput::FetchWorking { fetch: job.fetch, done, total }).await;
                    }
                }
                PatchReply::Start { .. } | PatchReply::Refused(_) | PatchReply::Referred { .. } => {
                    return Err(out_of_place());
                }
            }
        }
    }

    /// One more reply came: whether the engine is to hear of it.
    ///
    /// # Errors
    /// If no honest provider says it so often.
    pub fn is_told(&mut self, now: Instant) -> Result<bool, Lie> {
        self.count += 1;
        if self.count > REPLIES_MAX {
            return Err(Lie::Unreadable(Cause::new(Endless)));
        }
        let is_told = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
        self.told = if is_told { Some(now) } else { self.told };
        Ok(is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_once_a_second_and_end() {
        let (mut replies, began) = (Replies::default(), Instant::now());
        let told = (0..REPLIES_MAX).filter(|number| {
            replies.is_told(began + Duration::from_millis(u64::from(number / 100))).is_ok_and(|told| told)
        });
        assert_eq!(told.count(), 3, "at once, and after each of two seconds");
        assert!(replies.is_told(began).is_err());
    }
}
