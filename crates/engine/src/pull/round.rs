//! The peers that one question of a pull went to.

use std::collections::BTreeSet;

use lighter_types::{Moment, PeerId};
use lighter_wire::{Answer, Refusal};

use crate::failure::AskFailure;
use crate::settings::Settings;

/// A question that goes from peer to peer.
#[derive(Debug)]
pub struct Round {
    pub asked: BTreeSet<PeerId>,
    /// Those asked peers that gave no answer, were busy or failed. They are asked once more at `retry`.
    lost: BTreeSet<PeerId>,
    retry: Option<Moment>,
    /// When patience ends, or sooner if every peer said no.
    pub until: Moment,
}

impl Round {
    pub fn new(until: Moment) -> Self {
        Self { asked: BTreeSet::new(), lost: BTreeSet::new(), retry: None, until }
    }

    pub fn answered(&mut self, from: PeerId, answer: &Result<Answer, AskFailure>) {
        let is_lost = match answer {
            Err(failure) => *failure == AskFailure::Unreachable,
            Ok(answer) => matches!(answer, Answer::Refused(Refusal::Busy { .. } | Refusal::Failed)),
        };
        if is_lost {
            self.lost.insert(from);
        }
    }

    /// The first of `peers`, in their order, that may be asked at `now`.
    pub fn next<'p>(&mut self, now: Moment, mut peers: impl Iterator<Item = &'p PeerId>) -> Option<PeerId> {
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            let lost = std::mem::take(&mut self.lost);
            self.asked.retain(|peer| !lost.contains(peer));
        }
        let peer = *peers.find(|peer| !self.asked.contains(peer))?;
        self.asked.insert(peer);
        Some(peer)
    }

    /// Every peer was asked, and no answer is missing.
    pub fn exhausted(&mut self, now: Moment) {
        if self.lost.is_empty() {
            self.until = self.until.min(now + Settings::RESOLVE_GRACE);
        } else {
            self.retry.get_or_insert(now + Settings::RESOLVE_GRACE);
        }
    }

    pub fn deadline(&self) -> Moment {
        self.retry.map_or(self.until, |retry| retry.min(self.until))
    }
}
