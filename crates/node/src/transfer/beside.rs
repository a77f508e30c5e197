//! A fetch beside another one of the same layer: it keeps what comes in memory until the other one has ended.
//!
//! The engine tries a second source beside a late one, and stops the slower of the two. Only one of them may write
//! the part on disk. So the second one takes no more than a few MiB, and waits; then it goes on from the part that the
//! first one left.

use std::pin::Pin;

use lighter_engine::FetchFailure;

use super::job::FetchJob;

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
