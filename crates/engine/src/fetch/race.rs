//! Races: a second source beside a transfer that is late, and the choice of the faster one.
//!
//! ```text
//! Fetching, late --(a quote that is sooner)--> two fetches --(decided)--> the faster one goes on
//! ```
//!
//! A transfer that is late (`pace.rs`) is not stopped: the link may be slow without any peer's fault. The node asks
//! the next best peer for a quote, and fetches from it beside the first. The bytes of the second fetch stay in
//! memory until the first has ended ([`Beside`]). After [`Settings::RACE_TIME`] of both, or when the second has
//! brought what it may bring in vain, the node keeps the first unless the second would end in less than half of its
//! time. A race that the first wins shows what the uplink gives: from then on no more is expected of it.
//!
//! Second sources bring a tenth of the layer and [`Settings::RACE_BYTES`] in vain at most. When that is used up, a late
//! transfer is stopped, and the layer goes on elsewhere from its part on disk.

use lighter_types::{Bytes, BytesPerSecond, DiffId, broken};
use lighter_wire::{Answer, PatchRequest, Request};

use super::fetching::{Fetching, Stop, Way};
use super::pace::Late;
use super::second::{Rival, Second};
use super::target::{State, Target};
use super::{Fetcher, Outcome};
use crate::asks::Purpose;
use crate::core::{Core, Step};
use crate::event::{AskId, Beside, Effect, FetchId, Fetched, Part};
use crate::failure::{AskFailure, FetchFailure, Setback};
use crate::planner::Plan;
use crate::report::Report;
use crate::settings::Settings;

impl Fetcher {
    /// Holds each fetch under way against its plan.
    pub(super) fn look_at_paces(&mut self, step: &mut Step<'_>) {
        let fetching = self.in_state(|state| matches!(state, State::Fetching(_)));
        let flowing =
            fetching.iter().filter(|id| self.targets.get(id).is_some_and(|target| is_flowing(target, step.core)));
        let sharing = flowing.count().max(1) as u64;
        for id in fetching {
            self.settle_race(id, step);
            self.look_at_pace(id, sharing, step);
        }
    }

    /// Asks another source for a quote if the fetch is late. `sharing` fetches share the uplink.
    fn look_at_pace(&mut self, id: DiffId, sharing: u64, step: &mut Step<'_>) {
        let races = self.targets.values().filter(|target| target.second.is_some()).count();
        let Some(target) = self.targets.get_mut(&id) else { return broken("a listed target is gone") };
        let State::Fetching(fetching) = &mut target.state else { return };
        let mut expected = step.core.expected_from(fetching.plan.peer);
        expected.0 = (expected.0 / sharing).max(1);
        let Some(late) = fetching.late(step.now, expected) else { return };
        fetching.look_at = step.now + Settings::PACE_WINDOW;
        if self.leave_late_tail(id, expected, step) {
            return;
        }
        let Some(target) = self.targets.get_mut(&id) else { return broken("a listed target is gone") };
        let State::Fetching(fetching) = &mut target.state else { return };
        if target.second.is_some() || races >= Settings::RACES_MAX || target.pulls.is_empty() {
            return;
        }
        let (peer, namer) = (fetching.plan.peer, fetching.namer());
        let is_over = target.may_waste(id, step.core) == Bytes::ZERO;
        let mut plans = target.plans(id, step);
        plans.retain(|plan| plan.peer != peer);
        // The peer that named a relay has the patch.
        plans.sort_by_key(|plan| Some(plan.peer) != namer);
        let State::Fetching(fetching) = &mut target.state else { return };
        let Some(plan) = plans.into_iter().next() else { return };
        if is_over {
            return fetching.stop(Stop::Slow, step.effects);
        }
        let bases = target.offer(id, &plan, self.parts.get(&id), step.core);
        let terms = step.core.terms(plan.is_near);
        let ask = step.ask(plan.peer, Purpose::Beside(id), Request::Quote { target: id, bases, terms });
        target.second = Some(Second::Asked { ask, plan: Box::new(plan), late });
    }

    /// The second source quotes, or does not.
    pub fn beside_quoted(&mut self, id: DiffId, ask: AskId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let part = self.parts.get(&id);
        // The first fetch may have ended meanwhile.
        let Some(target) = self.targets.get_mut(&id) else { return };
        let Some(Second::Asked { ask: asked, .. }) = &target.second else { return };
        if *asked != ask {
            return;
        }
        let Some(Second::Asked { plan, late, .. }) = target.second.take() else { return };
        let from = plan.peer;
        let plan = match answer {
            Ok(Answer::Quote(quote)) => match plan.quoted(id, quote, part, step) {
                Some(plan) => plan,
                None => return target.exclude(from, Setback::ForeignBases, step),
            },
            Ok(Answer::Refused(refusal)) => return target.refused(id, from, refusal, step),
            Ok(_) => return target.exclude(from, Setback::OtherAnswer, step),
            Err(failure) => return target.exclude(from, Setback::Unanswered(failure), step),
        };
        let State::Fetching(fetching) = &mut target.state else { return };
        if fetching.stop != Stop::No {
            return;
        }
        if fetching.begin_anew_if_larger(plan.bytes, step.now) && !fetching.is_silent(step.now) {
            return;
        }
        let ends_in = plan.wait.saturating_add(plan.transfer);
        if ends_in.saturating_mul(2) >= late.ends_in() {
            return;
        }
        if late == Late::Silent && !plan.wait.is_zero() && !std::mem::replace(&mut fetching.was_patient, true) {
            // The first may wait for the same encode.
            fetching.look_at = step.now + (plan.wait * 2).min(Settings::PATIENT_MAX) + Settings::PACE_WINDOW;
        } else if late == Late::Silent && matches!(fetching.way, Way::Neighbour) {
            // The site is asked again, without the neighbour: so one node of the site goes outside, and not each.
            fetching.stop(Stop::Slow, step.effects);
        } else {
            self.race(id, plan, step);
        }
    }

    /// Fetches by this plan too.
    fn race(&mut self, id: DiffId, plan: Plan, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("a race without its target") };
        let State::Fetching(first) = &target.state else { return broken("a race beside no fetch") };
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.fetches.insert(fetch, id);
        let part = self.parts.get(&id);
        let bases = target.offer(id, &plan, part, step.core);
        // The second source makes the patch that is here in part, if it can.
        let part = part.filter(|part| part.bases.iter().all(|base| bases.contains(base)));
        let resume = part.map(Part::resume);
        let terms = step.core.terms(plan.is_near);
        let request = PatchRequest { target: id, bases, have: None, resume, referable: None, terms };
        let bytes_max = target.may_waste(id, step.core);
        let (beside, signed_bytes) = (Some(Beside { fetch: first.fetch, bytes_max }), target.signed_bytes);
        step.effects.push(Effect::Fetch { fetch, from: plan.peer, request, listed: Vec::new(), beside, signed_bytes });
        let on_disk = part.map_or(Bytes::ZERO, |part| part.bytes);
        let mut fetching = Fetching::new(fetch, plan, Way::Quoted, on_disk, (step.now, step.core.uplink()));
        fetching.may_pass_on = false;
        target.second = Some(Second::Racing(Box::new(Rival { fetching, bytes_max, start: None, patch: None })));
    }

    /// Decides a race that has gone on for long enough.
    fn settle_race(&mut self, id: DiffId, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("a listed target is gone") };
        let (State::Fetching(first), Some(Second::Racing(rival))) = (&mut target.state, &mut target.second) else {
            return;
        };
        rival.fetching.check_stall(step);
        if rival.fetching.is_silent(step.now) {
            // Another source may have its turn.
            rival.fetching.stop(Stop::Beaten, step.effects);
        }
        if first.stop != Stop::No || rival.fetching.stop != Stop::No {
            return;
        }
        let (wins, paces) = match rival.decide(first, step.now) {
            _ if first.is_whole() => (false, None),
            Some((wins, paces)) => (wins, Some(paces)),
            None => return,
        };
        step.core.races.decided += 1;
        step.core.races.won += u64::from(wins);
        let (late, beside) = (first.plan.peer, rival.fetching.plan.peer);
        let kept = if wins { beside } else { late };
        if wins {
            first.stop(Stop::Slow, step.effects);
        } else {
            rival.fetching.stop(Stop::Beaten, step.effects);
            first.look_at = step.now + Settings::PACE_WINDOW;
            if let Some([of_first, of_rival]) = paces {
                first.expected_max = Some(BytesPerSecond(of_first.0.max(1)));
                if !step.core.is_near(beside) {
                    step.core.saw_uplink(BytesPerSecond(of_first.0.saturating_add(of_rival.0)));
                }
            }
        }
        step.report_all(&target.pulls, &Report::Raced { target: target.name(id), late, beside, kept });
    }

    /// A second fetch ended before the first.
    pub(super) fn rival_ended(
        &mut self,
        id: DiffId,
        result: Result<Fetched, FetchFailure>,
        step: &mut Step<'_>,
    ) -> Option<Outcome> {
        let target = self.targets.get_mut(&id)?;
        let Some(Second::Racing(rival)) = target.second.take() else {
            broken("the end of a second fetch that does not run");
            return None;
        };
        target.spent += rival.fetching.received();
        match result {
            // The end of the first is on its way.
            Ok(fetched) => {
                if let State::Fetching(first) = &mut target.state {
                    target.spent += first.received();
                    first.stop(Stop::Abandoned, step.effects);
                    self.fetches.remove(&first.fetch);
                    self.forsaken.insert(first.fetch);
                }
                self.arrived(id, &rival.fetching, &fetched, step)
            }
            Err(failure) => {
                super::failures::rival_failed(target, id, &rival.fetching, failure, step);
                None
            }
        }
    }

    /// The first fetch of a layer ended without it: the second goes on in its place. False if there is none.
    pub(super) fn go_on_with_second(&mut self, id: DiffId) -> bool {
        let Some(target) = self.targets.get_mut(&id) else { return false };
        match target.second.take() {
            Some(Second::Racing(rival)) if rival.fetching.stop == Stop::No => {
                target.state = State::Fetching(Box::new(rival.fetching));
                if self.parts.get(&id).map(|part| part.patch) != rival.patch {
                    self.parts.remove(&id);
                }
                true
            }
            Some(Second::Racing(rival)) => {
                self.fetches.remove(&rival.fetching.fetch);
                self.forsaken.insert(rival.fetching.fetch);
                false
            }
            Some(Second::Asked { .. }) | None => false,
        }
    }

    /// Removes a target. A second fetch for it and its tail are stopped, and nothing is made of their ends.
    pub(super) fn remove(&mut self, id: DiffId, effects: &mut Vec<Effect>) -> Option<Box<Target>> {
        self.leave_tail(id, effects);
        let mut target = self.targets.remove(&id)?;
        if let Some(Second::Racing(rival)) = &mut target.second {
            rival.fetching.stop(Stop::Abandoned, effects);
            self.forsaken.insert(rival.fetching.fetch);
            self.fetches.remove(&rival.fetching.fetch);
        }
        Some(target)
    }
}

impl Target {
    /// No pull wants the layer any more: the second source stops.
    pub fn stop_second(&mut self, effects: &mut Vec<Effect>) {
        match &mut self.second {
            Some(Second::Racing(rival)) => rival.fetching.stop(Stop::Abandoned, effects),
            Some(Second::Asked { .. }) | None => self.second = None,
        }
    }

    /// The bytes that came for the layer beside those of the patch that gave it.
    pub fn wasted(&self, fetched: &Fetched) -> Bytes {
        self.spent + self.had - fetched.patch.bytes
    }

    /// The bytes that the next second source may bring in vain; zero if that is less than it takes to show a rate.
    fn may_waste(&self, id: DiffId, core: &Core) -> Bytes {
        let layer = core.directory.card(id).map_or(Bytes::ZERO, |card| card.compressed_bytes);
        let left = Bytes(layer.0 / 10) + Settings::RACE_BYTES - self.wasted_by_races;
        if left < Bytes(Settings::RACE_BYTES.0 / 4) { Bytes::ZERO } else { left.min(Settings::RACE_BYTES_MAX) }
    }
}

/// Whether bytes come over the uplink for a target.
fn is_flowing(target: &Target, core: &Core) -> bool {
    matches!(&target.state, State::Fetching(fetching)
        if fetching.has_bytes && !fetching.is_whole() && !core.is_near(fetching.plan.peer))
}
