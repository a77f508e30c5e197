//! A fetch beside another one of the same layer: it keeps what comes in memory until the other one has ended.
//!
//! The engine tries a second source beside a late one, and stops the slower of the two. Only one of them may write
//! the part on disk. So the second one takes no more than a few MiB, and waits; then it goes on from the part that the
//! first one left.

use std::pin::Pin;

use lighter_engine::FetchFailure;
use lighter_types::Bytes;
use tokio_util::sync::CancellationToken;

use super::FetchJob;

/// The fetch that another one runs beside.
pub struct Beside {
    /// Cancelled when it has ended.
    pub over: CancellationToken,
    /// The bytes that may come until then. The engine keeps them to a few MiB.
    pub bytes_max: Bytes,
}

impl Beside {
    /// Waits while as many bytes are here as may be.
    pub async fn may_take(&self, received: Bytes) {
        if received >= self.bytes_max {
            self.over.cancelled().await;
        }
    }
}

/// Waits until a job runs beside no other, and takes what comes meanwhile. Returns whether all of the patch came.
///
/// # Errors
/// The peer failed, or the job is cancelled.
pub async fn until_alone(
    job: &FetchJob,
    mut taking: Pin<&mut impl Future<Output = Result<(), FetchFailure>>>,
) -> Result<bool, FetchFailure> {
    let Some(beside) = &job.beside else { return Ok(false) };
    let mut is_all_here = false;
    loop {
        tokio::select! {
            () = beside.over.cancelled() => return Ok(is_all_here),
            () = job.cancelled.cancelled() => return Err(FetchFailure::Stopped),
            taken = &mut taking, if !is_all_here => {
                taken?;
                is_all_here = true;
            }
        }
    }
}
