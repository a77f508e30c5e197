//! Whom a question of a pull went to.

use std::collections::BTreeSet;

use lighter_types::{Moment, PeerId};
use lighter_wire::{Answer, Refusal};

use crate::event::AskFailure;
use crate::settings::Settings;

/// Whom a question went to.
#[derive(Debug)]
pub struct Round {
    pub asked: BTreeSet<PeerId>,
    /// Those of them who gave no answer, or had no time: they are asked again at `retry`.
    lost: BTreeSet<PeerId>,
    retry: Option<Moment>,
    /// When patience ends, or sooner if everybody said no.
    pub until: Moment,
}

impl Round {
    pub fn new(until: Moment) -> Self {
        Self { asked: BTreeSet::new(), lost: BTreeSet::new(), retry: None, until }
    }

    pub fn answered(&mut self, from: PeerId, answer: &Result<Answer, AskFailure>) {
        if matches!(answer, Err(AskFailure::Unreachable) | Ok(Answer::Refused(Refusal::Busy))) {
            self.lost.insert(from);
        }
    }

    /// Who may be asked next at `now`, of `peers` in their order.
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

    /// Everybody was asked and nobody is waited for.
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
