//! The node's mind: who holds what, what a layer would cost from whom, how to get it, and what to do for others.
//!
//! Sans I/O. There is one entry, [`Engine::step`]: something happened at `now`; here is what must be done about it. No
//! clock, no socket, no disk, no thread: the node and the simulator drive the same code. What is asked for in an
//! [`Effect`] of the second group is answered by exactly one [`Input`]. Iteration order is that of ordered maps, the only
//! randomness is a seeded jitter of timers, and every collection has a cap in [`Settings`].

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type)]

mod calibrations;
mod context;
mod directory;
mod effort;
mod event;
mod fetch;
mod flood;
mod holdings;
mod input;
mod open;
mod planner;
mod pull;
mod report;
mod serve;
mod settings;
mod sketches;

use std::time::Duration;

use lighter_types::{DiffId, Moment, PeerId};
use lighter_wire::Announcement;

pub use calibrations::{Calibrations, Rule};
pub use directory::{Directory, Peer};
pub use effort::{EffortChoice, Pace, Undertaking};
pub use event::{
    AskFailure, AskId, BlobFailure, CachedPatch, Effect, EncodeFailure, EncodeId, FetchFailure, FetchId, Fetched,
    ImageRead, Offence, Part, Prospect, PullId, QuestionId, StreamId, Wanted,
};
pub use holdings::Holdings;
pub use input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
pub use open::Open;
pub use planner::{Forecast, Plan, View, plans};
pub use report::{PullFailure, Report};
pub use settings::Settings;
pub use sketches::Sketches;

use context::{Asks, Context, CutOffs};
use directory::Heard;
use fetch::Fetcher;
use flood::{Floods, Verdict};
use pull::Pulls;
use serve::Serve;

/// One node's mind.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    own: Holdings,
    directory: Directory,
    sketches: Sketches,
    calibrations: Calibrations,
    serve: Serve,
    fetcher: Fetcher,
    pulls: Pulls,
    asks: Asks,
    floods: Floods,
    cut_offs: CutOffs,
    /// Absent before the first step.
    announce_at: Option<Moment>,
    announced: u64,
    /// The moment that the last [`Effect::WakeAt`] named, until it ticks.
    wake_at: Option<Moment>,
    jitter: u64,
    stopping: bool,
}

/// The engine's parts as a context and what it acts on; a macro because each caller borrows other fields.
macro_rules! context {
    ($engine:ident, $now:ident, $effects:ident) => {
        Context {
            now: $now,
            settings: &$engine.settings,
            own: &$engine.own,
            directory: &mut $engine.directory,
            sketches: &mut $engine.sketches,
            calibrations: &mut $engine.calibrations,
            asks: &mut $engine.asks,
            cut_offs: &mut $engine.cut_offs,
            effects: $effects,
        }
    };
}

/// What plans are made from; a macro for the same reason.
macro_rules! view {
    ($engine:ident) => {
        View {
            own: &$engine.own,
            directory: &$engine.directory,
            sketches: &$engine.sketches,
            calibrations: &$engine.calibrations,
            settings: &$engine.settings,
        }
    };
}

// Behind the macros that they use.
mod inputs;
mod questions;

impl Engine {
    pub fn new(settings: Settings) -> Self {
        Self {
            own: Holdings::default(),
            directory: Directory::new(settings.peers_max),
            sketches: Sketches::default(),
            calibrations: Calibrations::default(),
            serve: Serve::default(),
            fetcher: Fetcher::default(),
            pulls: Pulls::default(),
            asks: Asks::default(),
            floods: Floods::default(),
            cut_offs: CutOffs::default(),
            announce_at: None,
            announced: 0,
            wake_at: None,
            jitter: settings.seed | 1,
            stopping: false,
            settings,
        }
    }

    /// Takes in what happened and appends what must be done. `now` never goes back.
    pub fn step(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Disk(input) => self.disk_input(now, input, effects),
            Input::Peer(input) => self.peer_input(now, input, effects),
            Input::Work(input) => self.work_input(now, input, effects),
            Input::Operator(input) => self.operator_input(now, input, effects),
            Input::Tick => self.wake_at = None,
        }
        self.advance(now, effects);
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn holdings(&self) -> &Holdings {
        &self.own
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Pulls under way.
    pub fn pulls(&self) -> usize {
        self.pulls.len()
    }

    /// Whether the peer is cut off at `now`.
    pub fn is_cut_off(&self, peer: PeerId, now: Moment) -> bool {
        self.cut_offs.contains(peer, now)
    }

    /// All ways to get a layer now, the cheapest first, by prediction: no peer is asked.
    pub fn plans(&self, target: DiffId, now: Moment) -> Vec<Plan> {
        let excluded = |peer| self.is_cut_off(peer, now);
        plans(target, view!(self), &excluded, &[])
    }

    /// The layers whose files this plan's peer would be told, which does not hold them.
    pub fn listed(&self, target: DiffId, plan: &Plan) -> Vec<DiffId> {
        self.directory.card(target).map_or_else(Vec::new, |card| planner::listed(card, plan, view!(self), &[]))
    }

    /// What a patch of a held layer would cost a peer that holds `bases`; `None` if the layer is not held.
    pub fn prospect(&self, target: DiffId, bases: &[DiffId]) -> Option<Prospect> {
        self.serve.prospect(target, bases, view!(self))
    }

    /// Whether plans for a layer may get better soon: its sketch is on the way.
    pub fn awaits_sketch(&self, layer: DiffId, now: Moment) -> bool {
        self.sketches.is_awaited(layer, now)
    }

    /// What is on disk of a patch for this layer.
    pub fn part(&self, target: DiffId) -> Option<&Part> {
        self.fetcher.part(target)
    }

    fn announce_soon(&mut self, now: Moment) {
        let soon = now + Settings::GATHER;
        self.announce_at = Some(self.announce_at.map_or(soon, |at| at.min(soon)));
    }

    fn connected(&mut self, now: Moment, peer: PeerId, effects: &mut Vec<Effect>) {
        if self.is_cut_off(peer, now) {
            return;
        }
        self.directory.connected(peer, now);
        // Who was named has the patch: for what else it holds nobody comes to it.
        if !self.fetcher.is_referred_to(peer) {
            context!(self, now, effects).ask_holdings(peer);
        }
    }

    fn announced(&mut self, now: Moment, from: PeerId, announcement: Announcement, effects: &mut Vec<Effect>) {
        if !self.admits(now, from, effects) {
            return;
        }
        let heard = self.directory.announced(from, announcement, now);
        if heard == Heard::Behind {
            context!(self, now, effects).ask_holdings(from);
        }
    }

    fn stop(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.serve.stop(effects);
        self.pulls.fail_all(&PullFailure::Stopping, &mut self.fetcher, &mut context!(self, now, effects));
        effects.push(Effect::Announce(self.own.leaving(&self.settings)));
    }

    /// Whether a message of this peer is taken in. Too many are not; far too many cut it off.
    fn admits(&mut self, now: Moment, from: PeerId, effects: &mut Vec<Effect>) -> bool {
        if self.is_cut_off(from, now) {
            return false;
        }
        match self.floods.message(from, now, self.settings.peers_max) {
            Verdict::Fine => true,
            Verdict::TooMany => false,
            Verdict::Flood => {
                context!(self, now, effects).cut_off(from, Offence::Flood);
                false
            }
        }
    }

    /// Does what is due and says when the next thing will be.
    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !self.stopping {
            self.announce(now, effects);
            let context = &mut context!(self, now, effects);
            context.asks.due(now).into_iter().for_each(|peer| context.ask_holdings(peer));
            let outcomes = self.fetcher.advance(context);
            self.pulls.outcomes(outcomes, &mut self.fetcher, context);
            self.pulls.advance(context);
            self.serve_followers(now, effects);
        }
        let deadlines = [
            self.announce_at,
            self.asks.next_deadline(),
            self.sketches.next_deadline(now),
            self.fetcher.next_deadline(now, &self.settings),
            self.pulls.next_deadline(),
        ];
        let next = deadlines.into_iter().flatten().min().map(|next| next.max(Moment(now.0 + 1)));
        if let (Some(next), false) = (next, self.stopping || next == self.wake_at) {
            self.wake_at = Some(next);
            effects.push(Effect::WakeAt(next));
        }
    }

    fn announce(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        // At first the caller tells what is on disk, layer by layer: that is one announcement.
        if now < *self.announce_at.get_or_insert(now + Settings::GATHER) {
            return;
        }
        let full = self.announced.is_multiple_of(Settings::FULL_EVERY);
        self.announced += 1;
        effects.push(Effect::Announce(self.own.announcement(&self.settings, full)));
        let interval = self.settings.announce_interval;
        // Up to a tenth less than the interval, so that a fleet that started together does not stay together.
        let tenth = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / 10;
        self.announce_at = Some(now + (interval - Duration::from_millis(self.random() % tenth.max(1))));
        let silence = interval * Settings::SILENT_INTERVALS;
        let silence = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        self.directory.forget_silent(Moment(now.0.saturating_sub(silence)));
        self.cut_offs.forget_ended(now);
    }

    /// xorshift64 (Marsaglia 2003): jitter needs no better.
    fn random(&mut self) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter
    }
}

#[cfg(test)]
mod tests;
