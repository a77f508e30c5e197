//! The state machines of the engine, and how one step goes through them.
//!
//! A step has two halves. First the input is brought to the machines that it concerns (`inputs.rs`, `questions.rs`).
//! Then [`Machines::advance`] does what is due by now and names the moment of the next deadline.

mod inputs;
mod questions;

use lighter_types::{DiffId, Moment, PeerId};

use crate::announcer::Announcer;
use crate::core::Step;
use crate::event::Effect;
use crate::failure::Offence;
use crate::fetch::Fetcher;
use crate::floods::{Floods, Verdict};
use crate::kept_lists::KeptLists;
use crate::pull::Pulls;
use crate::report::PullFailure;
use crate::serve::{Coming, Serve};

#[derive(Debug)]
pub struct Machines {
    pub serve: Serve,
    pub fetcher: Fetcher,
    pub pulls: Pulls,
    announcer: Announcer,
    kept_lists: KeptLists,
    /// Messages of peers.
    floods: Floods,
    /// Streams that peers opened: a stream without a message costs something too.
    openings: Floods,
    /// The moment that the last [`Effect::WakeAt`] named, until it ticks.
    wake_at: Option<Moment>,
    is_stopping: bool,
}

impl Machines {
    pub fn new(seed: u64) -> Self {
        Self {
            serve: Serve::default(),
            fetcher: Fetcher::default(),
            pulls: Pulls::default(),
            announcer: Announcer::new(seed),
            kept_lists: KeptLists::default(),
            floods: Floods::default(),
            openings: Floods::default(),
            wake_at: None,
            is_stopping: false,
        }
    }

    /// Does what is due and says when the next thing will be.
    pub fn advance(&mut self, step: &mut Step<'_>) {
        if self.is_stopping {
            return;
        }
        self.announcer.advance(step);
        for peer in step.core.asks.take_retries(step.now) {
            step.ask_holdings(peer);
        }
        let outcomes = self.fetcher.advance(step);
        self.pulls.layers_ended(outcomes, &mut self.fetcher, step);
        self.pulls.advance(step);
        self.end_followers(step);
        self.serve.advance(step);
        self.kept_lists.advance(step);
        self.wake_up(step);
    }

    /// Asks for a tick at the earliest deadline that lies ahead.
    fn wake_up(&mut self, step: &mut Step<'_>) {
        let deadlines = [
            self.announcer.next_deadline(),
            self.kept_lists.next_deadline(),
            step.core.asks.next_deadline(),
            step.core.sketches.next_deadline(step.now),
            self.fetcher.next_deadline(step.now, &step.core.settings),
            self.pulls.next_deadline(),
            self.serve.next_deadline(),
        ];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        let next = next.max(Moment(step.now.0 + 1));
        if self.wake_at != Some(next) {
            self.wake_at = Some(next);
            step.effects.push(Effect::WakeAt(next));
        }
    }

    /// Ends the wait of streams for a layer that is held by now, or that does not come any more.
    fn end_followers(&mut self, step: &mut Step<'_>) {
        let followed: Vec<DiffId> = self.serve.followed().collect();
        for target in followed {
            if matches!(self.fetcher.coming(target), Coming::No) {
                self.serve.stopped_coming(target, step);
            }
        }
    }

    /// Takes on nothing new, gives up the pulls, and tells the peers.
    fn stop(&mut self, step: &mut Step<'_>) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        self.serve.stop(step.effects);
        self.pulls.fail_all(&PullFailure::Stopping, &mut self.fetcher, step);
        self.kept_lists.write(step);
        let leaving = step.core.holdings.leaving(&step.core.settings);
        step.effects.push(Effect::Announce(leaving));
    }

    /// Whether a message of this peer is taken in. Too many messages are refused; far too many cut the peer off.
    fn admits(&mut self, from: PeerId, step: &mut Step<'_>) -> bool {
        if step.is_cut_off(from) {
            return false;
        }
        match self.floods.count(from, step.now, step.core.settings.peers_max) {
            Verdict::Fine => true,
            Verdict::TooMany => false,
            Verdict::Flood => {
                step.cut_off(from, Offence::Flood);
                false
            }
        }
    }

    /// A peer opened streams: a flood of them cuts it off. Too many are nothing to refuse: each was taken or refused on
    /// its own.
    fn streams_accepted(&mut self, from: PeerId, streams: u32, step: &mut Step<'_>) {
        let peers_max = step.core.settings.peers_max;
        if !step.is_cut_off(from) && self.openings.count_many(from, streams, step.now, peers_max) == Verdict::Flood {
            step.cut_off(from, Offence::Flood);
        }
    }
}
