//! The releases and handovers that peers send: whether they count, and what of them this node remembers.

use lighter_wire::{ImageAnswer, ImageName, ImageRequest, SignedHandover, SignedRelease};

use super::Driver;
use super::work::{Ended, Owed};
use crate::releases::Due;

impl Driver {
    /// Takes in what a peer says of a name: its handovers first, since they say whose releases count. Whether its
    /// release counts, if there is one.
    pub(super) fn believes(&mut self, answer: &ImageAnswer) -> bool {
        for signed in &answer.handovers {
            self.take_handover(signed);
        }
        let Some(release) = &answer.release else { return true };
        if !self.counts(release) {
            return false;
        }
        self.see(release);
        true
    }

    /// Whether a release counts. Remembers why not, for the operator.
    pub(super) fn counts(&mut self, release: &SignedRelease) -> bool {
        match self.shared.judge(release) {
            Ok(()) => true,
            Err(why) => {
                tracing::debug!(reference = %release.release.reference, %why, "a release does not count");
                self.pulls.add_refused(&release.release.reference, &why);
                false
            }
        }
    }

    /// Remembers a release that counts.
    fn see(&mut self, release: &SignedRelease) {
        if !self.shared.releases.see(release, crate::clock::unix_now()) {
            return;
        }
        let reference = release.release.reference.clone();
        if let Some(doubt) = self.shared.releases.time(crate::clock::unix_now()).doubt {
            tracing::warn!(%reference, "the date of a release cannot be checked: {doubt}");
        }
        self.blocking(Owed::Nothing, move |shared| {
            shared.releases.keep(&reference);
            Ended::Nothing
        });
    }

    fn take_handover(&mut self, signed: &SignedHandover) {
        let shared = self.shared.clone();
        let own = shared.identity.peer_id();
        match shared.releases.obey(&shared.config, own, crate::clock::unix_now(), signed) {
            Ok(false) => {}
            Ok(true) => {
                let lighter_wire::Handover { repository, from, to, .. } = &signed.handover;
                tracing::info!(repository, %from, %to, "a publisher handed a repository over");
                let signed = signed.clone();
                self.blocking(Owed::Nothing, move |shared| {
                    if let Err(error) = shared.releases.settle(&Due::handover(&signed)) {
                        let repository = &signed.handover.repository;
                        tracing::warn!(repository, %error, "a handover is forgotten when this node stops");
                    }
                    Ended::Nothing
                });
            }
            Err(why) => tracing::debug!(repository = signed.handover.repository, %why, "a handover does not count"),
        }
    }

    /// The handovers of the repository that a peer asks about.
    pub(super) fn handovers(&self, request: &ImageRequest) -> Vec<SignedHandover> {
        match &request.name {
            ImageName::Reference(reference) => self.shared.releases.handovers(reference.repository()),
            ImageName::Manifest(_) => Vec::new(),
        }
    }
}
