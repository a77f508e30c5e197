//! One fetch for a site: a node that is about to fetch a layer from outside asks its site first whether another node
//! fetches it already. If so, it gets the layer from that neighbour as it comes.
//!
//! A node answers "coming" while it fetches the layer from outside, or is about to and has the lower number. A node
//! that is about to and has the higher number goes to the node that asked. So of several nodes that begin together one
//! goes outside. A node that gets the layer from a neighbour answers "no", so no nodes wait for each other in a circle.
//! When a neighbour gives up or is lost, the site is asked again. A neighbour that has nothing to show for its word is
//! late (`race.rs`): the node leaves it, doubts it from then on, and asks the site again.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::Arrival;

use crate::core::Step;
use crate::event::AskId;
use crate::planner;
use crate::settings::Settings;

/// Facts about a layer's way to the site.
#[derive(Debug, Default)]
pub struct Site {
    /// Neighbours through which another layer came, or whose transfers ended early too often. At most the peers of the
    /// site.
    ignored: BTreeSet<PeerId>,
    /// How often a transfer of the layer from a peer ended early.
    lost: BTreeMap<PeerId, u32>,
}

/// A question to the site.
#[derive(Debug)]
pub struct Round {
    asked: BTreeMap<AskId, PeerId>,
    /// When the round ends: later answers do not count.
    until: Moment,
    /// The neighbour through which the layer comes, and how much of it is there.
    coming: Option<(PeerId, Bytes)>,
}

/// A node's number for a layer. It differs from layer to layer, so that each node fetches some of an image's layers.
pub fn number(seed: u64, target: DiffId) -> u64 {
    planner::spread(seed, PeerId::new(*target.as_bytes()))
}

impl Site {
    /// The neighbours to ask; none if this node has no site.
    pub fn neighbours(&self, step: &Step<'_>) -> Vec<PeerId> {
        if step.core.settings.site.is_none() {
            return Vec::new();
        }
        let near = step.core.directory.peers().filter(|(_, peer)| peer.is_connected() && step.core.is_of_site(peer));
        let heard =
            near.map(|(id, _)| id).filter(|id| !self.is_ignored(*id) && !step.is_cut_off(*id) && !step.is_doubted(*id));
        heard.take(Settings::NEIGHBOURS_MAX).collect()
    }

    /// Another layer came through this neighbour, which may not have known: it is not asked again.
    pub fn ignore(&mut self, neighbour: PeerId) {
        self.ignored.insert(neighbour);
    }

    /// A transfer from this neighbour ended early. It would say again that it has the layer: after
    /// [`Settings::NEIGHBOUR_LOSSES_MAX`] of these it is a source like any other, and not asked with the site.
    pub fn lost(&mut self, neighbour: PeerId) {
        let losses = self.lost.entry(neighbour).or_default();
        *losses += 1;
        if *losses >= Settings::NEIGHBOUR_LOSSES_MAX {
            self.ignore(neighbour);
        }
    }

    pub fn is_ignored(&self, neighbour: PeerId) -> bool {
        self.ignored.contains(&neighbour)
    }
}

impl Round {
    pub fn new(asked: BTreeMap<AskId, PeerId>, now: Moment) -> Self {
        Self { asked, until: now + Settings::ARRIVAL_TIMEOUT, coming: None }
    }

    /// Takes in an answer; an answer to an earlier round changes nothing.
    pub fn answered(&mut self, ask: AskId, arrival: Option<Arrival>) {
        let Some(from) = self.asked.remove(&ask) else { return };
        match arrival {
            Some(Arrival::Coming { received }) => self.coming = self.coming.max(Some((from, received))),
            Some(Arrival::Held) => self.coming = Some((from, Bytes(u64::MAX))),
            Some(Arrival::No) | None => {}
        }
    }

    /// A neighbour is about to fetch the layer, and comes before this node.
    pub fn yield_to(&mut self, neighbour: PeerId) {
        self.coming.get_or_insert((neighbour, Bytes::ZERO));
    }

    pub fn is_over(&self, now: Moment) -> bool {
        self.asked.is_empty() || self.until <= now
    }

    pub fn until(&self) -> Moment {
        self.until
    }

    /// The neighbour to get the layer from.
    pub fn coming(&self) -> Option<PeerId> {
        self.coming.map(|(peer, _)| peer)
    }
}
