//! One fetch for a site: who is about to fetch a layer from outside asks its site first whether somebody does already,
//! and has it from that one as it comes.
//!
//! A node answers "coming" while it fetches from outside, or is about to and has the lower number; with the higher one it
//! goes to who asked. So of those who begin together one goes outside, and nobody waits in a circle, since who has it from
//! a neighbour answers "no". When a neighbour gives up or is lost, the site is asked again.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::Arrival;

use crate::core::Step;
use crate::directory::Peer;
use crate::event::AskId;
use crate::planner;
use crate::settings::Settings;

/// What is known of a layer's way to the site.
#[derive(Debug, Default)]
pub struct Site {
    /// Neighbours by whom another layer came.
    ignored: BTreeSet<PeerId>,
}

/// A question to the site.
#[derive(Debug)]
pub struct Round {
    asked: BTreeMap<AskId, PeerId>,
    /// Who does not answer by then is not listened to.
    until: Moment,
    /// The neighbour that it comes through, and how much has come to it.
    coming: Option<(PeerId, Bytes)>,
}

/// What a node's own number is for a layer: another for each, so that each node fetches some of an image's layers.
pub fn number(seed: u64, target: DiffId) -> u64 {
    planner::spread(seed, PeerId::new(*target.as_bytes()))
}

impl Site {
    /// Whom to ask. Nobody without a site.
    pub fn neighbours(&self, step: &Step<'_>) -> Vec<PeerId> {
        if step.core.settings.site.is_none() {
            return Vec::new();
        }
        let is_heard = |id: PeerId, peer: &Peer| {
            let is_near = peer.is_connected() && step.core.is_of_site(peer);
            is_near && !self.ignored.contains(&id) && !step.is_cut_off(id)
        };
        let near = step.core.directory.peers().filter(|(id, peer)| is_heard(*id, peer));
        near.map(|(id, _)| id).take(Settings::NEIGHBOURS_MAX).collect()
    }

    /// What came through this neighbour was another layer; it may not have known.
    pub fn ignore(&mut self, neighbour: PeerId) {
        self.ignored.insert(neighbour);
    }
}

impl Round {
    pub fn new(asked: BTreeMap<AskId, PeerId>, now: Moment) -> Self {
        Self { asked, until: now + Settings::ARRIVAL_TIMEOUT, coming: None }
    }

    /// Takes an answer in, if it is one to this round.
    pub fn answered(&mut self, ask: AskId, arrival: Option<Arrival>) {
        let Some(from) = self.asked.remove(&ask) else { return };
        match arrival {
            Some(Arrival::Coming { received }) => self.coming = self.coming.max(Some((from, received))),
            Some(Arrival::Held) => self.coming = Some((from, Bytes(u64::MAX))),
            Some(Arrival::No) | None => {}
        }
    }

    /// A neighbour is about to fetch it, and comes first.
    pub fn yield_to(&mut self, neighbour: PeerId) {
        self.coming.get_or_insert((neighbour, Bytes::ZERO));
    }

    pub fn is_over(&self, now: Moment) -> bool {
        self.asked.is_empty() || self.until <= now
    }

    pub fn until(&self) -> Moment {
        self.until
    }

    /// The neighbour to have it from.
    pub fn coming(&self) -> Option<PeerId> {
        self.coming.map(|(peer, _)| peer)
    }
}
