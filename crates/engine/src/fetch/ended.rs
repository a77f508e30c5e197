//! The ends of fetches: a layer that came, and what its transfer taught.

use lighter_types::{Bytes, DiffId, Effort, broken};

use super::blob::Came;
use super::fetching::{Fetching, Stop, Way};
use super::second::Second;
use super::target::State;
use super::{Fetcher, Outcome};
use crate::calibrations::{Rule, Scope};
use crate::core::Step;
use crate::effort::{self, Content, to_default};
use crate::event::{Effect, FetchId, Fetched, Work};
use crate::failure::FetchFailure;
use crate::report::Report;

impl Fetcher {
    /// A fetch ended, one way or the other.
    pub fn ended(
        &mut self,
        fetch: FetchId,
        result: Result<Fetched, FetchFailure>,
        step: &mut Step<'_>,
    ) -> Option<Outcome> {
        if self.forsaken.remove(&fetch) {
            return None;
        }
        let until = step.now + step.core.settings.patience;
        let id = self.fetches.remove(&fetch).filter(|id| self.targets.contains_key(id));
        let Some(id) = id else {
            broken("an end of a fetch without its target");
            return None;
        };
        if self.tail_ended(id, fetch, &result, step) {
            return None;
        }
        let target = self.targets.get_mut(&id)?;
        if matches!(&target.second, Some(Second::Racing(rival)) if rival.fetching.fetch == fetch) {
            return self.rival_ended(id, result, step);
        }
        let State::Fetching(fetching) = std::mem::replace(&mut target.state, State::Waiting { until }) else {
            broken("an end of a fetch whose target is at rest");
            return None;
        };
        target.spent += fetching.received();
        match result {
            Ok(fetched) => self.arrived(id, &fetching, &fetched, step),
            Err(failure) => self.failed(id, &fetching, failure, step),
        }
    }

    /// A layer is here by another way than a fetch. Its own fetch stops.
    pub fn layer_held(&mut self, id: DiffId, effects: &mut Vec<Effect>) -> Option<Outcome> {
        self.parts.remove(&id);
        self.unpack_from(id, None, effects);
        self.leave_blob(id, effects);
        let target = self.targets.get_mut(&id)?;
        let (pulls, is_wanted) = (std::mem::take(&mut target.pulls), target.stands_for.is_none());
        match &mut target.state {
            State::Fetching(fetching) => {
                fetching.stop(Stop::Abandoned, effects);
                target.stop_second(effects);
            }
            State::Waiting { .. }
            | State::Asking(_)
            | State::Quoting { .. }
            | State::Referred { .. }
            | State::Blob(_) => drop(self.remove(id, effects)),
        }
        is_wanted.then_some(Outcome::Held { pulls, target: id })
    }

    /// A fetch brought its layer.
    pub(super) fn arrived(
        &mut self,
        id: DiffId,
        fetching: &Fetching,
        fetched: &Fetched,
        step: &mut Step<'_>,
    ) -> Option<Outcome> {
        self.parts.remove(&id);
        let target = self.remove(id, step.effects)?;
        let plan = &fetching.plan;
        // A patch that is passed on comes no faster than it comes to the peer.
        if matches!(fetching.way, Way::Quoted) {
            step.learn_link(plan.peer, fetched.link);
        }
        step.core.doubts.remove(plan.peer);
        let settings = fetched.settings;
        let effort = step.core.settings.effort_of(settings).unwrap_or_default();
        let bytes = to_default(Content::of(&fetched.card, &fetched.patch.bases), effort, fetched.patch.bytes);
        learn_pace(bytes, effort, fetched, step);
        if let Some((rule, predicted)) = plan.raw_prediction().filter(|_| plan.bases == fetched.patch.bases) {
            let calibration = step.core.calibrations.learn(rule, settings, predicted, bytes);
            step.effects.push(Effect::KeepCalibration { scope: Scope::Encoder(rule, settings), calibration });
            if rule == Rule::Sketch && !plan.bases.is_empty() {
                let calibration = step.core.calibrations.learn_lineage(id, &plan.bases, predicted, bytes);
                step.effects.push(Effect::KeepCalibration { scope: Scope::Lineage(id), calibration });
            }
        }
        let (from, patch_bytes, received) = (plan.peer, fetched.patch.bytes, fetched.received);
        let wasted = target.wasted(fetched);
        step.core.races.wasted += wasted;
        let came = Came { from, patch_bytes, received, wasted };
        if target.stands_for.is_some() {
            self.unpack_from(id, Some(came), step.effects);
            return None;
        }
        // Wanted by itself, it counts by itself: a layer in it costs nothing more.
        let nothing = Bytes::ZERO;
        let came = Came { patch_bytes: nothing, received: nothing, wasted: nothing, ..came };
        self.unpack_from(id, Some(came), step.effects);
        let bases = fetched.patch.bases.clone();
        let report = Report::Layer { target: id, from, bases, patch_bytes, received, wasted };
        step.report_all(&target.pulls, &report);
        Some(Outcome::Held { pulls: target.pulls, target: id })
    }
}

/// Learns how slowly this machine applies patches. A small layer shows the start-up time rather than the pace.
fn learn_pace(bytes: Bytes, effort: Effort, fetched: &Fetched, step: &mut Step<'_>) {
    let tar_bytes = fetched.card.tar_bytes;
    if tar_bytes >= Bytes::MIB {
        let content = Content::of(&fetched.card, &fetched.patch.bases);
        step.core.applying.learn(effort::applying(bytes, content, tar_bytes, effort), fetched.applying);
        step.effects.push(Effect::KeepPace(Work::Apply, step.core.applying));
    }
}
