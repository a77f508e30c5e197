//! Blobs that this node downloads from upstream registries, so that its site downloads each of them once.
//!
//! A node that is about to download a blob asks its neighbours whether it comes through one of them (wire: `Arrival`,
//! whose target is here the blob's name as a layer). It answers "coming" while it downloads the blob, or is about to
//! and has the lower number; it answers "held" for a while after, until its announcement went round. A node that is
//! about to download and has the higher number goes behind the one that asked. A node that waits for a neighbour
//! answers "no", so no nodes wait for each other in a circle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lighter_types::{Bytes, DiffId, PeerId};
use lighter_wire::Arrival;
use sha2::{Digest, Sha256};

/// An announcement goes round within this time.
const HELD_FOR: Duration = Duration::from_secs(60);
/// Downloads at a time, those included that ended lately. One more is told to nobody.
const DOWNLOADS_MAX: usize = 1024;

/// See the module.
#[derive(Default)]
pub struct SiteDownloads(Mutex<BTreeMap<DiffId, Stage>>);

#[derive(Clone, Copy)]
enum Stage {
    /// The neighbours are being asked.
    Asking {
        number: u64,
        yields: bool,
    },
    Coming {
        received: Bytes,
    },
    Held {
        until: Instant,
    },
}

/// A blob that this node downloads, or is about to. Dropped, it does not come any more.
pub struct Claim {
    downloads: Arc<SiteDownloads>,
    blob: DiffId,
}

/// A node's number for a blob. It differs from blob to blob, so that each node downloads some of an image's.
pub fn number(node: PeerId, blob: DiffId) -> u64 {
    let digest: [u8; 32] = Sha256::new().chain_update(node.as_bytes()).chain_update(blob.as_bytes()).finalize().into();
    digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl SiteDownloads {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DiffId, Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a neighbour that is about to download a blob and has this number for it; `None` if this node has
    /// nothing to do with it.
    pub fn answer(&self, blob: DiffId, number: u64) -> Option<Arrival> {
        match self.lock().get_mut(&blob)? {
            Stage::Asking { number: own, .. } if *own < number => Some(Arrival::Coming { received: Bytes::ZERO }),
            Stage::Asking { yields, .. } => {
                // This node may have asked the neighbour before the neighbour began.
                *yields = true;
                Some(Arrival::No)
            }
            Stage::Coming { received } => Some(Arrival::Coming { received: *received }),
            Stage::Held { until } => (Instant::now() < *until).then_some(Arrival::Held),
        }
    }

    /// Begins to ask for a blob.
    ///
    /// # Errors
    /// If this node is at it already, or has too many: how many bytes of it are there.
    pub fn claim(self: &Arc<Self>, blob: DiffId, number: u64) -> Result<Claim, Bytes> {
        let (mut stages, now) = (self.lock(), Instant::now());
        stages.retain(|_, stage| !matches!(stage, Stage::Held { until } if *until <= now));
        match stages.get(&blob) {
            Some(Stage::Coming { received }) => return Err(*received),
            Some(Stage::Asking { .. }) => return Err(Bytes::ZERO),
            Some(Stage::Held { .. }) | None if stages.len() >= DOWNLOADS_MAX => return Err(Bytes::ZERO),
            Some(Stage::Held { .. }) | None => {}
        }
        stages.insert(blob, Stage::Asking { number, yields: false });
        Ok(Claim { downloads: self.clone(), blob })
    }
}

impl Claim {
    /// No neighbour has the blob: this node downloads it, unless it goes behind one that began meanwhile.
    pub fn begins(&self) -> bool {
        let mut stages = self.downloads.lock();
        let yields = matches!(stages.get(&self.blob), Some(Stage::Asking { yields: true, .. }));
        if !yields {
            stages.insert(self.blob, Stage::Coming { received: Bytes::ZERO });
        }
        !yields
    }

    pub fn received(&self, bytes: Bytes) {
        self.downloads.lock().insert(self.blob, Stage::Coming { received: bytes });
    }

    /// The blob is here.
    pub fn finish(self) {
        self.downloads.lock().insert(self.blob, Stage::Held { until: Instant::now() + HELD_FOR });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut stages = self.downloads.lock();
        if !matches!(stages.get(&self.blob), Some(Stage::Held { .. })) {
            stages.remove(&self.blob);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: DiffId = DiffId::new([7; 32]);

    #[test]
    fn of_two_nodes_that_begin_together_one_goes_first() {
        let nodes = [Arc::new(SiteDownloads::default()), Arc::new(SiteDownloads::default())];
        let numbers = [3, 8];
        let claims = [0, 1].map(|node| nodes[node].claim(BLOB, numbers[node]).unwrap());
        // The first asked the second before the second asked: the answer is no, and the second goes behind it.
        assert_eq!(nodes[1].answer(BLOB, numbers[0]), Some(Arrival::No));
        assert_eq!(nodes[0].answer(BLOB, numbers[1]), Some(Arrival::Coming { received: Bytes::ZERO }));
        assert_eq!(claims.each_ref().map(Claim::begins), [true, false]);
        let [first, second] = claims;
        drop(second);
        assert_eq!(nodes[1].answer(BLOB, numbers[0]), None, "a node that waits says no");
        first.received(Bytes(9));
        assert_eq!(nodes[0].answer(BLOB, numbers[1]), Some(Arrival::Coming { received: Bytes(9) }));
        first.finish();
        assert_eq!(nodes[0].answer(BLOB, numbers[1]), Some(Arrival::Held));
    }

    #[test]
    fn a_download_that_ends_early_comes_no_more_and_may_begin_again() {
        let downloads = Arc::new(SiteDownloads::default());
        let claim = downloads.claim(BLOB, 1).unwrap();
        assert!(downloads.claim(BLOB, 1).is_err(), "one for each node");
        assert!(claim.begins());
        drop(claim);
        assert_eq!(downloads.answer(BLOB, 9), None);
        assert!(downloads.claim(BLOB, 1).is_ok_and(|claim| claim.begins()));
    }

    #[test]
    fn numbers_differ_by_node_and_by_blob() {
        let [one, other] = [1, 2].map(|byte| PeerId::new([byte; 32]));
        assert_eq!(number(one, BLOB), number(one, BLOB));
        assert_ne!(number(one, BLOB), number(other, BLOB));
        assert_ne!(number(one, BLOB), number(one, DiffId::new([8; 32])));
    }
}
