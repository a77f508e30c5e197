//! The last frames of a long patch, from a second peer.
//!
//! ```text
//! first fetch:  0 1 2 3 -->          <-- 7 8 9  :tail
//! ```
//!
//! The first fetch brings the frames from the first one up. The tail brings those from the last one down, from another
//! holder, or from a relay that the first fetch's provider names. Where the two meet, the layer is whole: so each peer
//! brings as much as its link allows, and what one of them does not bring comes from the other. The caller keeps the
//! frames of the tail until the first fetch takes them. It ends neither fetch at the meeting for the engine: the end of
//! the first one brings the layer, and then the engine stops the tail.
//!
//! A tail begins when the first bytes of a long patch have come ([`Settings::is_split`]): at once if a relay passes the
//! patch on, since trees of relays give half of an uplink's rate, else when the first fetch leaves a fourth of the
//! uplink unused. It survives the first fetch: the next one meets it too, if it brings the same patch.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, DiffId, Moment, PatchId, broken};
use lighter_wire::{FrameOrder, PatchRequest, Resume};

use super::Fetcher;
use super::failures::tail_failed;
use super::fetching::{Fetching, Named, Stop, Way};
use super::tail::{Tail, TailState};
use super::target::{State, Target};
use crate::core::Step;
use crate::event::{Effect, FetchId, Fetched, Part};
use crate::failure::FetchFailure;
use crate::planner::Plan;
use crate::report::Report;
use crate::settings::Settings;

impl Fetcher {
    /// Begins a tail if it helps: bytes of the first fetch came.
    pub(super) fn consider_tail(&mut self, id: DiffId, step: &mut Step<'_>) {
        let (Some(target), Some(part)) = (self.targets.get(&id), self.parts.get(&id)) else { return };
        if target.tail.fetch.as_ref().is_some_and(|tail| tail.patch != part.patch) {
            // The first fetch brings another patch.
            return self.leave_tail(id, step.effects);
        }
        if !target.wants_tail(part, step) || self.with_tail().len() >= Settings::TAILS_MAX {
            return;
        }
        let State::Fetching(first) = &target.state else { return };
        // Another holder than the first; else the peer that named it, which knows more relays.
        let (peer, namer) = (first.plan.peer, first.namer());
        let mut plans = target.plans(id, step);
        plans.retain(|plan| plan.peer != peer);
        let chosen = plans.iter().find(|plan| Some(plan.peer) != namer).or_else(|| plans.first()).cloned();
        let (patch, settings) = (part.patch, part.settings);
        match (chosen, self.targets.get_mut(&id)) {
            (Some(plan), _) => self.fetch_tail(id, (patch, settings), plan, Way::Quoted, step),
            (None, Some(target)) => target.tail.look_at = step.now + Settings::PACE_WINDOW,
            (None, None) => broken("a target that was here is gone"),
        }
    }

    /// Asks for the last frames. A peer that another one named names no other in its turn.
    fn fetch_tail(&mut self, id: DiffId, (patch, settings): (PatchId, u32), plan: Plan, way: Way, step: &mut Step<'_>) {
        let part = self.parts.get(&id).filter(|part| part.patch == patch);
        let (Some(target), Some(part)) = (self.targets.get_mut(&id), part) else { return };
        let bases = target.offer(id, &plan, Some(part), step.core);
        if !part.bases.iter().all(|base| bases.contains(base)) {
            // It was made with a have-list, or a base of it is gone.
            target.tail.attempts = Settings::TAIL_ATTEMPTS_MAX;
            return;
        }
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        self.fetches.insert(fetch, id);
        // The caller knows which frames it has of the tail.
        let resume = Some(Resume { patch, first_frame: u32::MAX, settings, order: FrameOrder::Down });
        let referable = matches!(way, Way::Quoted).then(|| step.core.settings.referable());
        let (terms, signed_bytes) = (step.core.terms(plan.is_near), target.signed_bytes);
        let request = PatchRequest { target: id, bases, have: None, resume, referable, terms };
        let (from, listed) = (plan.peer, Vec::new());
        step.effects.push(Effect::Fetch { fetch, from, request, listed, beside: None, signed_bytes });
        let fetching = Box::new(Fetching::new(fetch, plan, way, target.tail.bytes, (step.now, step.core.uplink())));
        target.tail.fetch = Some(Tail { patch, settings, state: TailState::Fetching(fetching) });
    }

    /// Bytes of a tail came: `part` counts those from the end of the patch. False if the fetch is none.
    pub(super) fn tail_progress(&mut self, id: DiffId, fetch: FetchId, part: &Part, step: &mut Step<'_>) -> bool {
        let first = self.parts.get(&id).map_or(Bytes::ZERO, |part| part.bytes);
        let Some(target) = self.targets.get_mut(&id) else { return false };
        let Some(tail) = target.tail.fetch.as_mut().filter(|tail| tail.is(fetch)) else { return false };
        if let TailState::Fetching(fetching) = &mut tail.state {
            fetching.progress(part.bytes, part.bytes_total, step.now);
        }
        target.tail.bytes = part.bytes;
        let received = (first + part.bytes).min(part.bytes_total);
        let progress = Report::Progress { target: target.name(id), received, total: part.bytes_total };
        step.report_all(&target.pulls, &progress);
        true
    }

    /// A tail ended. Its frames are still there if the first fetch goes on. False if the fetch is none.
    pub(super) fn tail_ended(
        &mut self,
        id: DiffId,
        fetch: FetchId,
        result: &Result<Fetched, FetchFailure>,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(target) = self.targets.get_mut(&id) else { return false };
        let Some(tail) = target.tail.fetch.take_if(|tail| tail.is(fetch)) else { return false };
        let TailState::Fetching(fetching) = tail.state else { return false };
        let failure = match result {
            Ok(_) => {
                broken("a tail that brought a layer");
                return true;
            }
            Err(failure) => failure.clone(),
        };
        if let FetchFailure::Referred { to, patch, settings } = failure
            && patch == tail.patch
            && target.may_ask(to, step)
        {
            if !step.core.is_connected(to) {
                step.effects.push(Effect::Connect(to));
            }
            let named = Named { by: fetching.plan.peer, patch, settings };
            let plan = Box::new(Plan { peer: to, wait: Duration::ZERO, ..fetching.plan });
            let state = TailState::Referred { plan, named, until: step.now + Settings::CONNECT_MAX };
            target.tail.fetch = Some(Tail { state, ..tail });
        } else {
            target.tail.attempts += 1;
            target.tail.look_at = step.now + Settings::PACE_WINDOW;
            tail_failed(target, id, &fetching, failure, step);
            target.forget_tail();
        }
        true
    }

    /// Goes to the relays of tails, and stops tails that stall.
    pub(super) fn advance_tails(&mut self, step: &mut Step<'_>) {
        for id in self.with_tail() {
            let first = self.parts.get(&id).map_or(Bytes::ZERO, |part| part.bytes);
            let Some(target) = self.targets.get_mut(&id) else { return broken("a listed target is gone") };
            let has_met = target.has_met_tail(first);
            let Some(tail) = &mut target.tail.fetch else { return broken("a listed tail is gone") };
            match &mut tail.state {
                TailState::Fetching(fetching) if !has_met => fetching.check_stall(step),
                TailState::Fetching(_) => {}
                TailState::Referred { plan, named, until } => {
                    let (peer, patch, settings) = (plan.peer, tail.patch, tail.settings);
                    if step.core.is_connected(peer) && !step.is_cut_off(peer) {
                        let (plan, way) = ((**plan).clone(), Way::Named(*named));
                        self.fetch_tail(id, (patch, settings), plan, way, step);
                    } else if *until <= step.now {
                        target.tail.fetch = None;
                        target.tail.attempts += 1;
                    }
                }
            }
        }
    }

    /// The first fetch is late, for a link of which `expected` is expected. A tail that is late too is given up, so
    /// that a race can show a better source. Whether there is nothing more to do.
    pub(super) fn leave_late_tail(&mut self, id: DiffId, expected: BytesPerSecond, step: &mut Step<'_>) -> bool {
        let Some(target) = self.targets.get_mut(&id) else { return false };
        let Some(tail) = &mut target.tail.fetch else { return false };
        if let TailState::Fetching(fetching) = &mut tail.state
            && fetching.late(step.now, expected).is_some()
        {
            target.tail.attempts = Settings::TAIL_ATTEMPTS_MAX;
            fetching.stop(Stop::Slow, step.effects);
        }
        true
    }

    /// Stops a tail. Nothing is made of its end.
    pub(super) fn leave_tail(&mut self, id: DiffId, effects: &mut Vec<Effect>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let Some(mut tail) = target.tail.fetch.take() else { return };
        target.tail.bytes = Bytes::ZERO;
        if let Some(fetch) = tail.stop(effects) {
            self.forsaken.insert(fetch);
            self.fetches.remove(&fetch);
        }
    }

    /// When a tail is looked at if nothing happens. One that met the first fetch is not looked at.
    pub(super) fn tail_deadline(&self, id: DiffId, settings: &Settings) -> Option<Moment> {
        let target = self.targets.get(&id)?;
        match &target.tail.fetch.as_ref()?.state {
            TailState::Referred { until, .. } => Some(*until),
            TailState::Fetching(fetching) => {
                let first = self.parts.get(&id).map_or(Bytes::ZERO, |part| part.bytes);
                (fetching.stop == Stop::No && !target.has_met_tail(first)).then(|| fetching.stalls(settings))
            }
        }
    }

    /// The layers that have a tail.
    pub(super) fn with_tail(&self) -> Vec<DiffId> {
        self.targets.iter().filter(|(_, target)| target.tail.fetch.is_some()).map(|(&id, _)| id).collect()
    }
}

impl Target {
    /// Whether a tail would help beside the first fetch, which has brought so much.
    fn wants_tail(&self, part: &Part, step: &Step<'_>) -> bool {
        let State::Fetching(first) = &self.state else { return false };
        let uplink = step.core.settings.uplink_rate;
        let is_free = self.tail.fetch.is_none() && self.second.is_none() && !self.pulls.is_empty();
        is_free
            && first.stop == Stop::No
            && self.tail.attempts < Settings::TAIL_ATTEMPTS_MAX
            && self.tail.look_at <= step.now
            && Settings::is_split(part.bytes_total - part.bytes - self.tail.bytes, uplink)
            && leaves_room(first, uplink)
    }

    /// Whether all of the patch is here, the last frames by the tail.
    fn has_met_tail(&self, first: Bytes) -> bool {
        let fetching = match &self.tail.fetch {
            Some(Tail { state: TailState::Fetching(fetching), .. }) => fetching,
            Some(Tail { state: TailState::Referred { .. }, .. }) | None => return false,
        };
        fetching.has_bytes && first + self.tail.bytes >= fetching.total()
    }

    /// No fetch is left that keeps what a tail brought: it has to come again.
    pub fn forget_tail(&mut self) {
        if self.tail.fetch.is_none() && !matches!(self.state, State::Fetching(_)) {
            self.spent += std::mem::take(&mut self.tail.bytes);
        }
    }
}

/// Whether the first fetch leaves a fourth of the uplink unused, as far as is known.
fn leaves_room(first: &Fetching, uplink: BytesPerSecond) -> bool {
    match first.way {
        Way::Named(_) => true,
        Way::Quoted => first.watch().pace().is_some_and(|pace| pace.0 < uplink.0 / 4 * 3),
        Way::Neighbour => false,
    }
}
