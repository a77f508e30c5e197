//! Getting layers: for each wanted layer a small state machine from plans to quotes to a transfer, until it is held.
//!
//! ```text
//! Waiting --(somebody holds it)--> Quoting --(best quote)--> Fetching --> held
//!    ^ |                            ^ |                       ^ |  ^
//!    | +--(only outside the site)-> Asking --(a neighbour)----+ |  |
//!    |                                |              (another is named)
//!    |                                |                         v  |
//!    +-------(nobody answers)---------+------(any failure)-- Referred
//! ```
//!
//! Failures are told apart by blame (DESIGN.md, "How an image arrives", 7). A lost, refusing or slow peer: back off from
//! it, go on elsewhere with what is on disk. A lying peer: cut it off, throw its part away. A damaged base: plan without
//! it. A wrong prediction: learn by how much. This machine: tell the operator. When half of the attempts are used up, only
//! whole layers are asked for; an attempt that brought something new is none.
//!
//! A busy peer is no failure: it is asked again, and patience lasts until it had time, for [`Settings::BUSY_MAX`].

mod failures;
mod fetching;
mod site;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::{Answer, Arrival, PatchRequest, Resume};

use crate::core::{Core, Step};
use crate::directory::Peer;
use crate::event::{AskFailure, AskId, Effect, FetchFailure, FetchId, Fetched, Part, PullId};
use crate::planner::Plan;
use crate::report::{PullFailure, Report};
use crate::serve::Coming;
use crate::settings::Settings;
use fetching::{Fetching, Named, Stop, Way};
use target::{State, Target};

/// All layers that are wanted and not held.
#[derive(Debug, Default)]
pub struct Fetcher {
    /// In boxes, since a map keeps room for eleven of what it held once.
    targets: BTreeMap<DiffId, Box<Target>>,
    fetches: BTreeMap<FetchId, DiffId>,
    next_fetch: u64,
    /// Parts of patches on disk; also of layers that nobody wants just now. At most [`Settings::TARGETS_MAX`].
    parts: BTreeMap<DiffId, Part>,
}

/// What the engine has to do for the pulls after a step here.
pub enum Outcome {
    Failed { pulls: BTreeSet<PullId>, why: PullFailure },
    Held { pulls: BTreeSet<PullId>, target: DiffId },
}

impl Fetcher {
    /// `pull` wants `target`.
    pub fn want(&mut self, pull: PullId, target: DiffId, step: &Step<'_>) -> Result<(), PullFailure> {
        if !self.targets.contains_key(&target) && self.targets.len() >= Settings::TARGETS_MAX {
            return Err(PullFailure::TooMany { max: Settings::TARGETS_MAX });
        }
        let until = step.now + step.core.settings.patience;
        let part = self.parts.get(&target);
        let target = self.targets.entry(target).or_insert_with(|| Box::new(Target::new(step.now, until, part)));
        target.pulls.insert(pull);
        Ok(())
    }

    /// `pull` wants nothing any more. What only it wanted is stopped; parts stay on disk.
    pub fn abandon(&mut self, pull: PullId, effects: &mut Vec<Effect>) {
        for target in self.targets.values_mut() {
            target.pulls.remove(&pull);
            if let (true, State::Fetching(fetching)) = (target.pulls.is_empty(), &mut target.state) {
                fetching.stop(Stop::Abandoned, effects);
            }
        }
        self.targets.retain(|_, target| !target.pulls.is_empty() || matches!(target.state, State::Fetching(_)));
    }

    /// Over the cap, the part of a layer that nobody wants makes room.
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

    pub fn target_of(&self, fetch: FetchId) -> Option<DiffId> {
        self.fetches.get(&fetch).copied()
    }

    /// Whether this layer is on its way here from outside the site. What a neighbour passes on is not passed on again, so
    /// that no two wait for each other.
    pub fn coming(&self, target: DiffId) -> Coming<'_> {
        match self.targets.get(&target).map(|target| &target.state) {
            None => Coming::No,
            Some(State::Fetching(fetching)) if matches!(fetching.way, Way::Neighbour) => Coming::No,
            Some(State::Fetching(fetching)) if fetching.first_bytes.is_some() => {
                self.parts.get(&target).map_or(Coming::Wanted, Coming::Part)
            }
            Some(_) => Coming::Wanted,
        }
    }

    /// When [`Self::advance`] has something to do even if nothing happens. What was due at `now` is done.
    pub fn next_deadline(&self, now: Moment, settings: &Settings) -> Option<Moment> {
        let deadline = |target: &Target| match &target.state {
            State::Waiting { until } => target.deadline(*until, now),
            State::Asking(round) => Some(round.until()),
            State::Quoting { .. } => None,
            State::Referred { until, .. } => Some(*until),
            State::Fetching(fetching) => fetching.deadline(settings),
        };
        self.targets.values().filter_map(|target| deadline(target)).min()
    }

    /// Does what is due: plans for layers that wait, and stops stalled fetches.
    pub fn advance(&mut self, step: &mut Step<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if self.targets.is_empty() {
            return outcomes;
        }
        let waiting = self.targets.iter().filter(|(_, target)| matches!(target.state, State::Waiting { .. }));
        step.want_sketches(waiting.map(|(&id, _)| id));
        let is_over = |target: &Target| matches!(&target.state, State::Asking(round) if round.is_over(step.now));
        let over: Vec<DiffId> = self.targets.iter().filter(|(_, target)| is_over(target)).map(|(&id, _)| id).collect();
        for id in over {
            let Some(target) = self.targets.get_mut(&id) else { continue };
            if let Some(plan) = target.asked(id, self.parts.get(&id), step) {
                self.begin(id, plan, Way::Neighbour, step);
            }
        }
        let is_referred = |target: &Target| matches!(target.state, State::Referred { .. });
        let referred: Vec<DiffId> =
            self.targets.iter().filter(|(_, target)| is_referred(target)).map(|(&id, _)| id).collect();
        referred.into_iter().for_each(|id| self.go_where_referred(id, step));
        let mut active = self.targets.values().filter(|target| !matches!(target.state, State::Waiting { .. })).count();
        let ids: Vec<DiffId> = self.targets.keys().copied().collect();
        for id in ids {
            let Some(target) = self.targets.get_mut(&id) else { continue };
            match &mut target.state {
                // Without it, plans would be worse.
                State::Waiting { .. } if step.core.sketches.is_awaited(id, step.now) => {}
                State::Waiting { until } => {
                    let overdue = *until <= step.now;
                    let room = active < step.core.settings.fetches_max;
                    if room && target.begin(id, self.parts.get(&id), step) {
                        active += 1;
                    } else if overdue && (room || !target.has_source(id, step)) {
                        outcomes.extend(self.fail(id));
                    }
                }
                State::Fetching(fetching) => fetching.check_stall(step),
                State::Asking(_) | State::Quoting { .. } | State::Referred { .. } => {}
            }
        }
        outcomes
    }

    /// A quote, or that there will be none.
    pub fn quoted(&mut self, id: DiffId, ask: AskId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let part = self.parts.get(&id);
        let Some(target) = self.targets.get_mut(&id) else { return };
        let State::Quoting { asked, quoted } = &mut target.state else { return };
        let Some(plan) = asked.remove(&ask) else { return };
        let from = plan.peer;
        let why = match answer {
            Ok(Answer::Quote(quote)) => match plan.quoted(id, quote, part, step) {
                Some(plan) => {
                    quoted.push(plan);
                    None
                }
                None => Some("a quote for bases that are not here".to_owned()),
            },
            Ok(Answer::Refused(refusal)) => {
                target.refused(id, from, refusal, step);
                None
            }
            Ok(_) => Some("an answer to another question".to_owned()),
            Err(failure) => Some(failure.to_string()),
        };
        if let Some(why) = why {
            target.exclude(from, why, step);
        }
        self.choose(id, step);
    }

    /// A neighbour says whether a layer comes through it.
    pub fn arrival_answered(&mut self, id: DiffId, ask: AskId, answer: Option<Answer>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let State::Asking(round) = &mut target.state else { return };
        let arrival =
            answer.and_then(|answer| if let Answer::Arrival(arrival) = answer { Some(arrival) } else { None });
        round.answered(ask, arrival);
    }

    /// Whether a layer that is not held comes to the site through this node: tells one who is about to fetch it, and whose
    /// number is this.
    pub fn arrival(&mut self, id: DiffId, from: PeerId, number: u64, core: &Core) -> Arrival {
        let received = self.parts.get(&id).map_or(Bytes::ZERO, |part| part.bytes);
        let is_far = |plan: &Plan| !core.directory.peer(plan.peer).is_some_and(|peer| core.is_of_site(peer));
        let is_coming = match self.targets.get_mut(&id).map(|target| &mut target.state) {
            Some(State::Asking(round)) => {
                let is_first = site::number(core.settings.seed, id) < number;
                if !is_first && core.directory.peer(from).is_some_and(|peer| core.is_of_site(peer)) {
                    // It may have been asked before it began.
                    round.yield_to(from);
                }
                is_first
            }
            Some(State::Quoting { asked, quoted }) => asked.values().chain(quoted.iter()).all(is_far),
            Some(State::Referred { plan, .. }) => is_far(plan),
            Some(State::Fetching(fetching)) => fetching.stop == Stop::No && is_far(&fetching.plan),
            Some(State::Waiting { .. }) | None => false,
        };
        if is_coming { Arrival::Coming { received } } else { Arrival::No }
    }

    pub fn working(&mut self, fetch: FetchId, now: Moment) {
        if let Some(fetching) = self.fetching(fetch) {
            fetching.working(now);
        }
    }

    pub fn progress(&mut self, fetch: FetchId, part: Part, step: &mut Step<'_>) {
        let Some(&id) = self.fetches.get(&fetch) else { return };
        let Some(target) = self.targets.get_mut(&id) else { return };
        let new = target.reached(part.bytes, step.now);
        if let State::Fetching(fetching) = &mut target.state {
            fetching.progress(part.bytes, part.bytes_total, step.now);
            fetching.moved |= new;
            let report = Report::Progress { target: id, received: part.bytes, total: part.bytes_total };
            step.report_all(&target.pulls, &report);
        }
        self.part_held(id, part);
    }

    /// A fetch ended, one way or the other.
    pub fn ended(
        &mut self,
        fetch: FetchId,
        result: Result<Fetched, FetchFailure>,
        step: &mut Step<'_>,
    ) -> Option<Outcome> {
        let id = self.fetches.remove(&fetch)?;
        let target = self.targets.get_mut(&id)?;
        let until = step.now + step.core.settings.patience;
        let State::Fetching(fetching) = std::mem::replace(&mut target.state, State::Waiting { until }) else {
            return None;
        };
        match result {
            Ok(fetched) => Some(self.held(id, &fetching, &fetched, step)),
            Err(failure) => self.failed(id, &fetching, failure, step),
        }
    }

    /// A layer is there, by another way; who waited for it is told. A fetch of it stops.
    pub fn layer_held(&mut self, id: DiffId, effects: &mut Vec<Effect>) -> Option<Outcome> {
        self.parts.remove(&id);
        let target = self.targets.get_mut(&id)?;
        let pulls = std::mem::take(&mut target.pulls);
        match &mut target.state {
            State::Fetching(fetching) => fetching.stop(Stop::Abandoned, effects),
            _ => drop(self.targets.remove(&id)),
        }
        Some(Outcome::Held { pulls, target: id })
    }

    fn fetching(&mut self, fetch: FetchId) -> Option<&mut Fetching> {
        match &mut self.targets.get_mut(self.fetches.get(&fetch)?)?.state {
            State::Fetching(fetching) => Some(fetching),
            _ => None,
        }
    }

    fn held(&mut self, id: DiffId, fetching: &Fetching, fetched: &Fetched, step: &mut Step<'_>) -> Outcome {
        self.parts.remove(&id);
        let pulls = self.targets.remove(&id).map(|target| target.pulls).unwrap_or_default();
        fetching.learn_rate(step);
        let plan = &fetching.plan;
        if let Some((rule, predicted)) = plan.raw_prediction().filter(|_| plan.bases == fetched.patch.bases) {
            let settings = fetched.settings;
            let calibration = step.core.calibrations.learn(rule, settings, predicted, fetched.patch.bytes);
            step.effects.push(Effect::KeepCalibration { rule, settings, calibration });
        }
        let report = Report::Layer {
            target: id,
            from: plan.peer,
            bases: fetched.patch.bases.clone(),
            patch_bytes: fetched.patch.bytes,
            received: fetched.received,
        };
        step.report_all(&pulls, &report);
        Outcome::Held { pulls, target: id }
    }

    /// With all quotes in, fetches by the best; with none, waits for another chance.
    fn choose(&mut self, id: DiffId, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let State::Quoting { asked, quoted } = &mut target.state else { return };
        if !asked.is_empty() {
            return;
        }
        let seed = step.core.settings.seed;
        match std::mem::take(quoted).into_iter().min_by_key(|plan| plan.rank(seed)) {
            Some(plan) => self.begin(id, plan, Way::Quoted, step),
            None => target.wait(step),
        }
    }

    /// Who was named is connected: it is asked for the patch. If it could not be reached, whoever named it is asked again.
    fn go_where_referred(&mut self, id: DiffId, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let State::Referred { plan, named, until } = &target.state else { return };
        let is_connected = step.core.directory.peer(plan.peer).is_some_and(Peer::is_connected);
        if is_connected && !step.is_cut_off(plan.peer) {
            let (plan, named) = ((**plan).clone(), *named);
            self.begin(id, plan, Way::Named(named), step);
        } else if *until <= step.now {
            let peer = plan.peer;
            target.exclude(peer, "it could not be reached".to_owned(), step);
            target.wait(step);
        }
    }

    /// Whether a layer waits for a connection to this peer, which was named.
    pub fn is_referred_to(&self, peer: PeerId) -> bool {
        let is_it = |target: &Target| matches!(&target.state, State::Referred { plan, .. } if plan.peer == peer);
        self.targets.values().any(|target| is_it(target))
    }

    /// Who was named cannot be connected to: not waited for any more.
    pub fn unreachable(&mut self, peer: PeerId, now: Moment) {
        for target in self.targets.values_mut() {
            if let State::Referred { plan, until, .. } = &mut target.state
                && plan.peer == peer
            {
                *until = now;
            }
        }
    }

    /// Fetches by this plan. Who quoted may refer to another peer.
    fn begin(&mut self, id: DiffId, plan: Plan, way: Way, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.fetches.insert(fetch, id);
        let part = self.parts.get(&id).filter(|part| plan.resumes(part));
        let named = if let Way::Named(named) = way { Some(named) } else { None };
        let named = named.map(|Named { patch, settings, .. }| Resume { patch, first_frame: 0, settings });
        let resume = part.map(|part| Resume { patch: part.patch, first_frame: part.frames, settings: part.settings });
        let resume = resume.or(named);
        let bases = target.offer(id, &plan, part, step);
        let is_quoted = matches!(way, Way::Quoted);
        let listed = if is_quoted { target.listed(id, &plan, step) } else { Vec::new() };
        let is_referable = is_quoted && listed.is_empty();
        let referable = is_referable.then(|| step.core.settings.referable());
        let request = PatchRequest { target: id, bases, have: None, resume, referable };
        step.effects.push(Effect::Fetch { fetch, from: plan.peer, request, listed });
        let report = Report::Fetching {
            target: id,
            from: plan.peer,
            bases: plan.bases.clone(),
            bytes: plan.bytes,
            exact: plan.ready.is_some(),
        };
        step.report_all(&target.pulls, &report);
        let on_disk = part.map_or(Bytes::ZERO, |part| part.bytes);
        target.state = State::Fetching(Box::new(Fetching::new(fetch, plan, way, on_disk, step.now)));
    }
}
