//! The memory that patches share while they are made: `limits.encode_memory_max`.

use lighter_types::{Bytes, Effort};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A patch takes at least this much.
const ENCODE_BYTES_MIN: Bytes = Bytes::MIB.times(64);
/// A semaphore has at most so many mebibytes.
const MEBIBYTES_MAX: u32 = 1 << 28;

/// Memory in mebibytes, given out in the order of the calls.
pub struct EncodeMemory {
    free: Semaphore,
    all: u32,
}

impl EncodeMemory {
    pub fn new(bytes: Bytes) -> Self {
        let all = mebibytes(bytes).min(MEBIBYTES_MAX);
        Self { free: Semaphore::new(all as usize), all }
    }

    /// Waits for the memory that a patch takes at most: as much as it holds of its layers, which together have so many
    /// bytes, with the indexes; all memory at *max*, and half of it otherwise.
    pub async fn take(&self, effort: Effort, layer_bytes: Bytes) -> Option<SemaphorePermit<'_>> {
        let (factor, most) = match effort {
            Effort::Plain => (0, self.all / 2),
            Effort::Fast | Effort::Default => (3, self.all / 2),
            Effort::Max => (6, self.all),
        };
        let wanted = mebibytes(ENCODE_BYTES_MIN + layer_bytes.times(factor)).min(most);
        self.free.acquire_many(wanted).await.ok()
    }
}

fn mebibytes(bytes: Bytes) -> u32 {
    u32::try_from(bytes.0 >> 20).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_patches_wait_and_small_ones_share() {
        let memory = EncodeMemory::new(Bytes::GIB);
        let first = memory.take(Effort::Default, Bytes::GIB.times(8)).await.unwrap();
        let second = memory.take(Effort::Default, Bytes::MIB.times(20)).await.unwrap();
        assert_eq!((first.num_permits(), second.num_permits()), (512, 64 + 60));
        let large = memory.take(Effort::Max, Bytes::GIB);
        tokio::pin!(large);
        assert!(futures::poll!(&mut large).is_pending(), "all of the memory is not free");
        drop((first, second));
        assert_eq!(large.await.unwrap().num_permits(), 1024);
    }
}
