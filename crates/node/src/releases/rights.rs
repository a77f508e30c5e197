//! The keys that may sign releases of one repository, and how many of them must.
//!
//! The operator's configuration says so: the first scope that matches the repository, else all of `fleet.publishers`,
//! one of whom is enough. A key can hand its part over to another key ([`super::handovers`]): what it signs from then
//! on does not count. The node's own key is always one of those that count.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::PeerId;
use lighter_wire::{Handover, SignedRelease};

use super::ReleaseError;
use crate::config::Config;

/// The rights in one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    keys: BTreeSet<PeerId>,
    threshold: usize,
    /// To which key, and when: seconds since 1970.
    handed_over: BTreeMap<PeerId, (PeerId, u64)>,
}

impl Rights {
    /// The rights by the configuration of the node with the key `own`, after these handovers of the repository.
    pub fn of<'h>(
        config: &Config,
        own: PeerId,
        repository: &str,
        handovers: impl IntoIterator<Item = &'h Handover>,
    ) -> Self {
        let scope = config.images.scope_of(repository);
        let (keys, threshold) = match scope {
            Some(scope) => (&scope.publishers, scope.threshold as usize),
            None => (&config.fleet.publishers, 1),
        };
        let mut rights = Self { keys: keys.iter().copied().collect(), threshold, handed_over: BTreeMap::new() };
        rights.keys.insert(own);
        let mut left: Vec<&Handover> = handovers.into_iter().collect();
        // A key may have got its right by an earlier handover. Each pass takes one, so that there are as many as there
        // are handovers.
        while let Some(next) = left.iter().position(|handover| rights.has(handover.from)) {
            let handover = left.swap_remove(next);
            rights.keys.remove(&handover.from);
            rights.keys.insert(handover.to);
            rights.handed_over.insert(handover.from, (handover.to, handover.issued_s));
        }
        rights
    }

    /// Whether a key has a right now.
    pub fn has(&self, key: PeerId) -> bool {
        self.keys.contains(&key)
    }

    /// Whether a signature of this key over a release of this date counts.
    fn counts(&self, key: PeerId, issued_s: u64) -> bool {
        self.has(key) || self.handed_over.get(&key).is_some_and(|(_, since)| issued_s < *since)
    }

    /// Checks that enough of the keys signed. The signatures are good.
    ///
    /// # Errors
    /// [`ReleaseError`] by the cause: nobody listed, another scope, a key that handed over, too few.
    pub fn check(&self, config: &Config, release: &SignedRelease) -> Result<(), ReleaseError> {
        let issued_s = release.release.issued_s;
        let signers: BTreeSet<PeerId> = release.signatures().map(|(publisher, _)| publisher).collect();
        let signed = signers.iter().filter(|signer| self.counts(**signer, issued_s)).count();
        if signed >= self.threshold {
            return Ok(());
        }
        let (publisher, repository) = (release.publisher, release.release.reference.repository().to_owned());
        if signed > 0 {
            return Err(ReleaseError::BelowThreshold { repository, signed, needed: self.threshold });
        }
        if let Some((to, _)) = self.handed_over.get(&publisher) {
            return Err(ReleaseError::HandedOver { publisher, to: *to, repository });
        }
        let scopes = config.images.scope.iter().flat_map(|scope| &scope.publishers);
        let is_listed = config.fleet.publishers.iter().chain(scopes).any(|listed| *listed == publisher);
        match is_listed {
            true => Err(ReleaseError::WrongScope { publisher, repository }),
            false => Err(ReleaseError::Unlisted { publisher }),
        }
    }
}
