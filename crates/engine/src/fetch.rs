//! Gets layers: for each wanted layer a small state machine from plans to quotes to a transfer, until the layer is
//! held.
//!
//! ```text
//! Waiting --(a peer holds it)---> Quoting --(best quote)--> Fetching --> held
//!    ^ |                            ^ |                       ^ |  ^
//!    | +--(only outside the site)-> Asking --(a neighbour)----+ |  |
//!    |                                |              (another is named)
//!    |                                |                         v  |
//!    +-------(no answer)--------------+------(any failure)-- Referred
//! ```
//!
//! The reaction to a failure depends on the one to blame (`failures.rs`). A peer that is lost, refuses or is slow: the
//! node backs off from it and goes on elsewhere with what is on disk. A peer that lies: the node cuts it off and throws
//! its part away. A damaged base: the node plans without it. A wrong prediction: the node learns by how much. This
//! machine: the node tells the operator. When half of the attempts are used up, the node asks only for whole layers. An
//! attempt that brought something new does not count.
//!
//! A busy peer is no failure: the node asks it again, and patience lasts until the peer had time, for
//! [`Settings::BUSY_MAX`].
//!
//! A layer may come as its compressed blob, which then is a target of its own (`blobs.rs`).
//!
//! Each fetch has one target in the state Fetching, from its effect until its end: `abandon` and `layer_held` keep such
//! a target. Answers to questions may come late, after their target was abandoned; then they change nothing.

mod blob;
mod blobs;
mod claims;
mod ended;
mod ends;
mod failures;
mod fetching;
mod lists;
mod pace;
mod places;
mod quotes;
mod race;
mod second;
mod site;
mod tail;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, Moment, PeerId, broken};
use lighter_wire::{Answer, Arrival, FrameOrder, PatchRequest, Quote, Resume};

use crate::core::Step;
use crate::event::{AskId, Effect, FetchId, Part, PullId};
use crate::failure::Setback;
use crate::planner::Plan;
use crate::report::{PullFailure, Report};
use crate::serve::Coming;
use crate::settings::Settings;
use crate::work;
use fetching::{Fetching, Named, Stop, Way};
use second::Second;
use target::{State, Target};

/// All layers that are wanted and not held.
#[derive(Debug, Default)]
pub struct Fetcher {
    /// At most [`Settings::TARGETS_MAX`]. Boxed: a leaf of the map has room for eleven values.
    targets: BTreeMap<DiffId, Box<Target>>,
    /// The target of each fetch under way.
    fetches: BTreeMap<FetchId, DiffId>,
    next_fetch: u64,
    /// Second fetches that were stopped, whose layers are held or given up.
    forsaken: BTreeSet<FetchId>,
    /// Parts of patches on disk, also for layers that no pull wants now. At most [`Settings::TARGETS_MAX`].
    parts: BTreeMap<DiffId, Part>,
    /// Layers that are unpacked out of their blobs now.
    unpacking: BTreeSet<DiffId>,
}

/// The end of the wait for a layer.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Failed { pulls: BTreeSet<PullId>, why: PullFailure },
    Held { pulls: BTreeSet<PullId>, target: DiffId },
}

impl Fetcher {
    /// `pull` wants this layer, for which peers made these offers.
    ///
    /// # Errors
    /// `TooMany`: as many layers are wanted as may be.
    pub fn want(
        &mut self,
        pull: PullId,
        id: DiffId,
        offers: Vec<(PeerId, Quote)>,
        step: &Step<'_>,
    ) -> Result<(), PullFailure> {
        if !self.targets.contains_key(&id) && self.targets.len() >= Settings::TARGETS_MAX {
            return Err(PullFailure::TooMany { max: Settings::TARGETS_MAX });
        }
        let until = step.now + step.core.settings.patience;
        let part = self.parts.get(&id);
        let target = self.targets.entry(id).or_insert_with(|| Box::new(Target::new(step.now, until, part)));
        if target.stands_for.take().is_some() {
            // From now on it is wanted by itself.
            target.pulls.clear();
        }
        target.pulls.insert(pull);
        if target.offers.is_empty() {
            target.offers = offers;
        }
        self.want_blob_too(pull, id);
        Ok(())
    }

    /// `pull` wants nothing any more. The fetches that only it wanted are stopped; their parts stay on disk.
    pub fn abandon(&mut self, pull: PullId, effects: &mut Vec<Effect>) {
        for target in self.targets.values_mut() {
            work::count(1);
            target.pulls.remove(&pull);
            if let (true, State::Fetching(fetching)) = (target.pulls.is_empty(), &mut target.state) {
                fetching.stop(Stop::Abandoned, effects);
                target.stop_second(effects);
            }
        }
        for id in self.with_tail() {
            if self.targets.get(&id).is_some_and(|target| target.pulls.is_empty()) {
                self.leave_tail(id, effects);
            }
        }
        self.targets.retain(|_, target| !target.pulls.is_empty() || matches!(target.state, State::Fetching(_)));
    }

    /// Over the cap, the part of a layer that no pull wants makes room; without one, the new part is not remembered.
    pub fn part_held(&mut self, target: DiffId, part: Part) {
        if self.parts.len() >= Settings::TARGETS_MAX && !self.parts.contains_key(&target) {
            let unwanted = self.parts.keys().find(|id| !self.targets.contains_key(id)).copied();
            let Some(unwanted) = unwanted else { return };
            self.parts.remove(&unwanted);
        }
        self.parts.insert(target, part);
    }

    pub fn part(&self, target: DiffId) -> Option<&Part> {
        self.parts.get(&target)
    }

    /// The layer of which a fetch brought this part, if others can have it from here.
    pub fn passes_on(&self, fetch: FetchId, part: &Part) -> Option<DiffId> {
        let id = self.target_of(fetch)?;
        let State::Fetching(fetching) = &self.targets.get(&id)?.state else { return None };
        (fetching.may_pass_on || part.frames > 0).then_some(id)
    }

    /// The layer that a fetch brings; `None` for a second fetch, whose bytes are not kept yet.
    pub fn target_of(&self, fetch: FetchId) -> Option<DiffId> {
        let id = *self.fetches.get(&fetch)?;
        let state = &self.targets.get(&id)?.state;
        matches!(state, State::Fetching(fetching) if fetching.fetch == fetch).then_some(id)
    }

    /// Whether this layer is on its way here from outside the site. A node does not pass on what a neighbour passes on
    /// to it, so that no two wait for each other.
    pub fn coming(&self, target: DiffId) -> Coming<'_> {
        match self.targets.get(&target).map(|target| &target.state) {
            None => Coming::No,
            Some(State::Fetching(fetching)) if matches!(fetching.way, Way::Neighbour) => Coming::No,
            Some(State::Fetching(fetching)) if fetching.has_bytes && fetching.may_pass_on => {
                self.parts.get(&target).map_or(Coming::Wanted, Coming::Part)
            }
            Some(_) => Coming::Wanted,
        }
    }

    /// When [`Self::advance`] has something to do even if nothing happens. Everything that was due at `now` is done.
    pub fn next_deadline(&self, now: Moment, settings: &Settings) -> Option<Moment> {
        let deadlines = work::counting(self.targets.iter()).flat_map(|(&id, target)| {
            target.next_deadline(now, settings).into_iter().chain(self.tail_deadline(id, settings))
        });
        deadlines.min()
    }

    /// Does what is due: ends rounds of questions, goes to relays, plans for layers that wait, stops stalled fetches.
    pub fn advance(&mut self, step: &mut Step<'_>) -> Vec<Outcome> {
        if self.targets.is_empty() {
            return Vec::new();
        }
        let waiting =
            work::counting(self.targets.iter()).filter(|(_, target)| matches!(target.state, State::Waiting { .. }));
        let unsketched = waiting.filter(|(id, target)| target.needs_sketch(**id, step)).map(|(&id, _)| id);
        let unsketched: Vec<DiffId> = unsketched.collect();
        step.want_sketches(unsketched);
        let now = step.now;
        for id in self.in_state(|state| matches!(state, State::Asking(round) if round.is_over(now))) {
            self.end_asking(id, step);
        }
        for id in self.in_state(|state| matches!(state, State::Referred { .. })) {
            self.go_to_relay(id, step);
        }
        self.advance_tails(step);
        self.choose_blobs(step);
        let mut outcomes = self.advance_each(step);
        if self.leave_lost_blobs(step) {
            outcomes.extend(self.advance_each(step));
        }
        self.look_at_paces(step);
        outcomes
    }

    /// Begins with layers that wait, as many as may be under way, gives up those whose patience is over, and stops
    /// stalled fetches.
    fn advance_each(&mut self, step: &mut Step<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut places = self.places(step.core);
        for id in self.in_state(|_| true) {
            let Some(target) = self.targets.get_mut(&id) else {
                broken("a listed target is gone");
                continue;
            };
            match &mut target.state {
                // Without the sketch, the plans would be worse.
                State::Waiting { .. } if step.core.sketches.is_awaited(id, step.now) => {}
                State::Waiting { until } => {
                    let is_overdue = *until <= step.now;
                    let place = places.of(id, target.goes_first, step.core);
                    let has_room = *place > 0;
                    if has_room && target.begin(id, self.parts.get(&id), step) {
                        *place -= 1;
                        self.settle_quotes(id, step);
                    } else if is_overdue && (has_room || !target.has_source(id, step)) {
                        if target.is_away(id, step) {
                            target.wait_for_return(step);
                        } else {
                            outcomes.extend(self.give_up(id, step.effects));
                        }
                    }
                }
                State::Fetching(fetching) => fetching.check_stall(step),
                State::Asking(_) | State::Quoting { .. } | State::Referred { .. } | State::Blob(_) => {}
            }
        }
        outcomes
    }

    fn in_state(&self, is_meant: impl Fn(&State) -> bool) -> Vec<DiffId> {
        work::counting(self.targets.iter()).filter(|(_, target)| is_meant(&target.state)).map(|(&id, _)| id).collect()
    }

    /// A neighbour says whether a layer comes through it.
    pub fn arrival_answered(&mut self, id: DiffId, ask: AskId, answer: Option<Answer>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        // A round does not wait for its last answers.
        let State::Asking(round) = &mut target.state else { return };
        let arrival = if let Some(Answer::Arrival(arrival)) = answer { Some(arrival) } else { None };
        round.answered(ask, arrival);
    }

    /// Whether a layer that is not held comes to the site through this node: the answer to a neighbour that is about to
    /// fetch the layer and has this number for it.
    pub fn arrival(&mut self, id: DiffId, from: PeerId, number: u64, step: &Step<'_>) -> Arrival {
        let (core, is_doubted) = (&*step.core, step.is_doubted(from));
        let received = self.parts.get(&id).map_or(Bytes::ZERO, |part| part.bytes);
        let is_ignored = self.targets.get(&id).is_some_and(|target| target.site.is_ignored(from));
        let is_coming = match self.targets.get_mut(&id).map(|target| &mut target.state) {
            Some(State::Asking(round)) => {
                let is_first = site::number(core.settings.seed, id) < number;
                if !is_first && core.is_near(from) && !is_doubted && !is_ignored {
                    // This node may have asked the neighbour before the neighbour began.
                    round.yield_to(from);
                }
                is_first
            }
            Some(state) => state.is_far(core),
            None => false,
        };
        if is_coming { Arrival::Coming { received } } else { Arrival::No }
    }

    /// The provider is still making the patch, or waits for its next frame. So much of so much is there.
    pub fn working(&mut self, fetch: FetchId, (done, total): (Bytes, Option<Bytes>), now: Moment) {
        // News of a fetch may come after its end.
        let Some(&id) = self.fetches.get(&fetch) else { return };
        let Some(target) = self.targets.get_mut(&id) else { return broken("a fetch without its target") };
        if let Some(tail) = target.tail.fetch.as_mut().filter(|tail| tail.is(fetch)) {
            return tail.working(now);
        }
        match (&mut target.state, &mut target.second) {
            (State::Fetching(fetching), _) if fetching.fetch == fetch => fetching.working(done, total, now),
            (_, Some(Second::Racing(rival))) => rival.fetching.working(done, total, now),
            _ => broken("work for a fetch that does not run"),
        }
    }

    /// Bytes of a patch came.
    pub fn progress(&mut self, fetch: FetchId, part: Part, step: &mut Step<'_>) {
        // News of a fetch may come after its end.
        let Some(&id) = self.fetches.get(&fetch) else { return };
        if self.tail_progress(id, fetch, &part, step) {
            return;
        }
        let Some(target) = self.targets.get_mut(&id) else { return broken("a fetch without its target") };
        let State::Fetching(fetching) = &mut target.state else { return broken("progress of a target at rest") };
        if let Some(Second::Racing(rival)) = target.second.as_mut().filter(|_| fetching.fetch != fetch) {
            return rival.progress(part, fetching.watch().bytes(), step.now);
        }
        fetching.may_pass_on |= part.frames > 0;
        fetching.progress(part.bytes, part.bytes_total, step.now);
        target.reached(part.bytes, step.now);
        let received = (part.bytes + target.tail.bytes).min(part.bytes_total);
        let progress = Report::Progress { target: target.name(id), received, total: part.bytes_total };
        step.report_all(&target.pulls, &progress);
        self.part_held(id, part);
        self.consider_tail(id, step);
    }

    /// Whether a layer waits for a connection to this relay.
    pub fn is_referred_to(&self, peer: PeerId) -> bool {
        self.targets.values().any(|target| {
            matches!(&target.state, State::Referred { plan, .. } if plan.peer == peer)
                || target.tail.fetch.as_ref().is_some_and(|tail| tail.is_referred_to(peer))
        })
    }

    /// A relay cannot be connected to: no layer waits for it any more.
    pub fn unreachable(&mut self, peer: PeerId, now: Moment) {
        for target in self.targets.values_mut() {
            if let Some(tail) = &mut target.tail.fetch {
                tail.unreachable(peer, now);
            }
            if let State::Referred { plan, until, .. } = &mut target.state
                && plan.peer == peer
            {
                *until = now;
            }
        }
    }

    /// The neighbours answered or had time enough: fetches through the neighbour that the layer comes to, or goes
    /// outside.
    fn end_asking(&mut self, id: DiffId, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("a round without its target") };
        match target.end_asking(id, self.parts.get(&id), step) {
            Some(plan) => self.begin(id, plan, Way::Neighbour, step),
            None => self.settle_quotes(id, step),
        }
    }

    /// Asks the relay for the patch once it is connected. If that takes too long, the node asks its namer again.
    fn go_to_relay(&mut self, id: DiffId, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("a referral without its target") };
        let State::Referred { plan, named, until } = &target.state else { return broken("a target is not referred") };
        let (peer, named) = (plan.peer, *named);
        if step.core.is_connected(peer) && !step.is_cut_off(peer) {
            let plan = (**plan).clone();
            self.begin(id, plan, Way::Named(named), step);
        } else if *until <= step.now {
            target.exclude(peer, Setback::Unreachable, step);
            target.wait(step);
        }
    }

    /// Fetches by this plan. Only a provider that quoted may refer this node to a relay.
    fn begin(&mut self, id: DiffId, plan: Plan, way: Way, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("a plan without its target") };
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.fetches.insert(fetch, id);
        let part = self.parts.get(&id).filter(|part| plan.resumes(part));
        let resume = match (part, way) {
            (Some(part), _) => Some(part.resume()),
            (None, Way::Named(Named { patch, settings, .. })) => {
                Some(Resume { patch, first_frame: 0, settings, order: FrameOrder::Up })
            }
            (None, Way::Quoted | Way::Neighbour) => None,
        };
        let bases = target.offer(id, &plan, part, step.core);
        let listed = target.listed(id, &plan, way, step.core);
        let is_referable = matches!(way, Way::Quoted) && listed.is_empty() && !target.waited_in_vain;
        let referable = is_referable.then(|| step.core.settings.referable());
        let (terms, signed_bytes) = (step.core.terms(plan.is_near), target.signed_bytes);
        let request = PatchRequest { target: id, bases, have: None, resume, referable, terms };
        step.effects.push(Effect::Fetch { fetch, from: plan.peer, request, listed, beside: None, signed_bytes });
        let report = Report::Fetching {
            target: target.name(id),
            from: plan.peer,
            bases: plan.bases.clone(),
            bytes: plan.bytes,
            exact: plan.ready.is_some(),
        };
        step.report_all(&target.pulls, &report);
        let on_disk = part.map_or(Bytes::ZERO, |part| part.bytes);
        target.state =
            State::Fetching(Box::new(Fetching::new(fetch, plan, way, on_disk, (step.now, step.core.uplink()))));
    }
}

#[cfg(test)]
mod tests;
