//! The node's mind: which peer holds what, what a layer would cost from which peer, how to get it, and what to do for
//! others.
//!
//! The engine does no I/O. It has one entry, [`Engine::step`]: the caller says what happened at `now`, and the engine
//! says what must be done about it. The engine reads no clock, no socket and no disk, and starts no thread: the node
//! and the simulator drive the same code. Each [`Effect`] of the second group is answered by exactly one [`Input`].
//! Iteration order is that of ordered maps, the only randomness is a seeded jitter of timers, and every collection has
//! a cap in [`Settings`].
//!
//! Modules use each other in one direction, from the top of this list to its bottom:
//!
//! | modules | what they hold |
//! |---|---|
//! | `machines` | each input, brought to the state machines that it concerns; the timers |
//! | `pull`, `fetch`, `serve`, `sketch_questions`, `announcer`, `kept_lists` | the state machines |
//! | `planner` | ways to get a layer, and their cost |
//! | `core` | what all of them share: [`Core`](core::Core), and the [`Step`](core::Step) that is under way |
//! | `directory`, `holdings`, `sketches`, `calibrations`, `links`, `asks` | facts and beliefs |
//! | `cut_offs`, `neighbours`, `floods` | the same, of peers alone |
//! | `input`, `event`, `report`, `failure`, `open` | the words of the seam |
//! | `settings`, `effort`, `work` | intervals, caps, efforts; counts of steps for tests |

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod announcer;
mod asks;
mod calibrations;
mod core;
mod cut_offs;
mod directory;
mod doubts;
mod effort;
mod event;
mod failure;
mod fetch;
mod floods;
mod holdings;
mod input;
mod kept_lists;
mod links;
mod machines;
mod neighbours;
mod open;
mod planner;
mod pull;
mod report;
mod serve;
mod settings;
mod sketch_questions;
mod sketches;
mod work;

use lighter_types::{DiffId, Link, Moment, PeerId};

pub use calibrations::{Calibrations, Rule, Scope};
pub use core::Races;
pub use directory::{Directory, Peer};
pub use effort::{Content, Cost, EffortChoice, Undertaking};
pub use event::{
    AskId, Beside, CachedPatch, Effect, EncodeId, FetchId, Fetched, ImageFound, ImageRead, KeptList, LayerBlob, Part,
    Prospect, PullId, QuestionId, StreamId, Wanted, Work,
};
pub use failure::{
    AskFailure, BlobFailure, EncodeFailure, FetchFailure, FetchStep, Lie, LocalFailure, LostCause, Offence, Setback,
    SketchLie, UnusableImage,
};
pub use holdings::Holdings;
pub use input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
pub use open::Open;
pub use planner::{Forecast, Plan};
pub use report::{PullFailure, Report};
pub use settings::Settings;
pub use sketches::Sketches;

use core::{Core, Step};
use machines::Machines;

/// One node's mind.
#[derive(Debug)]
pub struct Engine {
    core: Core,
    machines: Machines,
}

impl Engine {
    pub fn new(settings: Settings) -> Self {
        Self { machines: Machines::new(settings.seed), core: Core::new(settings) }
    }

    /// Takes in what happened and appends what must be done. `now` never goes back.
    pub fn step(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        let step = &mut Step { now, core: &mut self.core, effects };
        self.machines.take(input, step);
        self.machines.advance(step);
    }

    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    pub fn holdings(&self) -> &Holdings {
        &self.core.holdings
    }

    pub fn directory(&self) -> &Directory {
        &self.core.directory
    }

    /// The link to a peer, as far as it is known.
    pub fn link(&self, peer: PeerId) -> Link {
        self.core.links.get(peer)
    }

    /// Whether a link to a connected peer outside the site is far or lossy: TCP is slow over this node's uplink.
    pub fn has_bad_link(&self) -> bool {
        let beyond = self.core.directory.peers().filter(|(_, peer)| peer.is_connected() && !self.core.is_of_site(peer));
        beyond.map(|(id, _)| self.link(id)).any(|link| link.is_bad())
    }

    /// Second sources that were tried beside late ones.
    pub fn races(&self) -> Races {
        self.core.races
    }

    /// The number of pulls under way.
    pub fn pulls(&self) -> usize {
        self.machines.pulls.len()
    }

    /// Whether the peer is cut off at `now`.
    pub fn is_cut_off(&self, peer: PeerId, now: Moment) -> bool {
        self.core.cut_offs.contains(peer, now)
    }

    /// All ways to get a layer now, the cheapest first, by prediction: no peer is asked.
    pub fn plans(&self, target: DiffId, now: Moment) -> Vec<Plan> {
        planner::plans(target, &self.core, &|peer| self.is_cut_off(peer, now), &[])
    }

    /// The layers that this plan's peer does not hold and whose files a have-list would name to it.
    pub fn listed(&self, target: DiffId, plan: &Plan) -> Vec<DiffId> {
        let card = self.core.directory.card(target);
        card.map_or_else(Vec::new, |card| planner::listed(card, plan, &self.core, &[]))
    }

    /// The cost of a patch of a held layer for a peer that holds `bases`; `None` if the layer is not held.
    pub fn prospect(&self, target: DiffId, bases: &[DiffId]) -> Option<Prospect> {
        self.machines.serve.prospect(target, bases, &self.core)
    }

    /// Whether plans for a layer may get better soon: its sketch is on the way.
    pub fn awaits_sketch(&self, layer: DiffId, now: Moment) -> bool {
        self.core.sketches.is_awaited(layer, now)
    }

    /// The part of a patch for this layer that is on disk.
    pub fn part(&self, target: DiffId) -> Option<&Part> {
        self.machines.fetcher.part(target)
    }
}

#[cfg(test)]
mod tests;
