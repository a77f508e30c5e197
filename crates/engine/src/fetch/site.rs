//! One fetch for a site: who is about to fetch a layer from outside asks its site first whether somebody does already,
//! and waits for that one.
//!
//! A node answers "coming" while it fetches from outside, or is about to and has the lower number; with the higher one it
//! waits for who asked. So of those who begin together one goes, and nobody waits in a circle, since who waits answers
//! "no". Nobody is waited for who brings nothing for [`Settings::ARRIVAL_STILL`]; then, and when a neighbour gives up or
//! is lost, the site is asked again.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::Arrival;

use crate::context::Context;
use crate::directory::Peer;
use crate::event::AskId;
use crate::planner::{self, is_of_site};
use crate::settings::Settings;

/// What is known of a layer's way to the site.
#[derive(Debug, Default)]
pub struct Site {
    awaited: Option<Awaited>,
    /// Who said that it comes, and it did not.
    ignored: BTreeSet<PeerId>,
}

/// A neighbour through whom the layer comes.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    peer: PeerId,
    /// When it is asked again.
    again: Moment,
    received: Bytes,
    /// When more of it last came.
    moved: Moment,
}

/// A question to the site.
#[derive(Debug)]
pub struct Round {
    asked: BTreeMap<AskId, PeerId>,
    /// Who does not answer by then is not waited for.
    until: Moment,
    coming: Option<(PeerId, Bytes)>,
    /// Whether only the neighbour was asked that is awaited.
    is_about_one: bool,
}

/// What a node's own number is for a layer: another for each, so that each node fetches some of an image's layers.
pub fn number(seed: u64, target: DiffId) -> u64 {
    planner::spread(seed, PeerId::new(*target.as_bytes()))
}

impl Site {
    /// Whom to ask: the neighbour that is awaited, or all. Nobody without a site.
    pub fn neighbours(&mut self, context: &Context<'_>) -> Vec<PeerId> {
        if context.settings.site.is_none() {
            return Vec::new();
        }
        self.awaited = self.awaited.filter(|awaited| {
            let peer = context.directory.peer(awaited.peer);
            peer.is_some_and(|peer| self.is_heard(awaited.peer, peer, context))
        });
        if let Some(awaited) = self.awaited {
            return vec![awaited.peer];
        }
        let near = context.directory.peers().filter(|(id, peer)| self.is_heard(*id, peer, context));
        near.map(|(id, _)| id).take(Settings::NEIGHBOURS_MAX).collect()
    }

    /// Whether the layer is coming: nothing is to be done but wait.
    pub fn is_awaiting(&self, context: &Context<'_>) -> bool {
        self.awaited.is_some_and(|awaited| {
            let peer = context.directory.peer(awaited.peer);
            awaited.again > context.now && peer.is_some_and(|peer| self.is_heard(awaited.peer, peer, context))
        })
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.awaited.map(|awaited| awaited.again)
    }

    /// Begins a round with the neighbours that were asked.
    pub fn begin(&self, asked: BTreeMap<AskId, PeerId>, now: Moment) -> Round {
        Round { asked, until: now + Settings::ARRIVAL_TIMEOUT, coming: None, is_about_one: self.awaited.is_some() }
    }

    /// A round is over. Whether the layer is coming.
    pub fn ended(&mut self, round: &Round, now: Moment) -> bool {
        let Some((peer, received)) = round.coming else {
            self.awaited = None;
            return false;
        };
        let before = self.awaited.filter(|before| before.peer == peer && received <= before.received);
        let moved = before.map_or(now, |before| before.moved);
        if now.since(moved) >= Settings::ARRIVAL_STILL {
            self.awaited = None;
            self.ignored.insert(peer);
            return false;
        }
        self.awaited = Some(Awaited { peer, again: now + Settings::ARRIVAL_AGAIN, received, moved });
        true
    }

    fn is_heard(&self, id: PeerId, peer: &Peer, context: &Context<'_>) -> bool {
        let is_near = peer.is_connected() && is_of_site(peer, context.settings);
        is_near && !self.ignored.contains(&id) && !context.is_cut_off(id)
    }
}

impl Round {
    /// Takes an answer in, if it is one to this round. Who holds the layer has yet to say what it holds.
    pub fn answered(&mut self, ask: AskId, arrival: Option<Arrival>, context: &mut Context<'_>) {
        let Some(from) = self.asked.remove(&ask) else { return };
        match arrival {
            Some(Arrival::Coming { received }) => self.coming = self.coming.max(Some((from, received))),
            Some(Arrival::Held) => {
                context.ask_holdings(from);
                self.coming.get_or_insert((from, Bytes::ZERO));
            }
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

    /// Whether others are to be asked, now that the one that was awaited is not any more.
    pub fn is_to_go_on(&self) -> bool {
        self.is_about_one
    }
}
