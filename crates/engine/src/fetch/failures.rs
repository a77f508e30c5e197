//! Fetches that failed: which side is to blame, and what the node does then.
//!
//! A lost peer is tried again later, a liar is cut off, and a fault of this machine ends the pull. A claim of a peer
//! that finds no room here is held against the claim.

use lighter_types::{Blame, BytesPerSecond, DiffId, Link, PeerId, broken};

use super::fetching::{Fetching, Named, Stop, Way};
use super::target::{State, Target};
use super::{Fetcher, Outcome};
use crate::core::Step;
use crate::event::Effect;
use crate::failure::{FetchFailure, LostCause, Offence, Setback};
use crate::report::{PullFailure, Report};
use crate::settings::Settings;

impl Fetcher {
    /// A fetch failed. Returns the end of the layer, if it is given up.
    pub(super) fn failed(
        &mut self,
        id: DiffId,
        fetching: &Fetching,
        failure: FetchFailure,
        step: &mut Step<'_>,
    ) -> Option<Outcome> {
        let Some(target) = self.targets.get_mut(&id) else {
            broken("a failed fetch without its target");
            return None;
        };
        if target.pulls.is_empty() {
            self.remove(id, step.effects);
            return None;
        }
        let from = fetching.plan.peer;
        if let FetchFailure::Referred { to, patch, settings } = failure {
            if self.go_on_with_second(id) {
                return None;
            }
            let target = self.targets.get_mut(&id)?;
            target.referred(&fetching.plan, Named { by: from, patch, settings }, to, step);
            return None;
        }
        let setback = match (&failure, fetching.stop) {
            (FetchFailure::Stopped, Stop::Stalled) => Setback::Stalled,
            (FetchFailure::Stopped, Stop::Slow) => Setback::Slow,
            _ => Setback::Fetch(failure.clone()),
        };
        step.report_all(&target.pulls, &Report::Retrying { target: target.name(id), from, why: setback.clone() });
        let is_try =
            setback != Setback::Slow && !matches!(failure, FetchFailure::Refused(refusal) if refusal.is_busy());
        target.attempts += u32::from(is_try);
        if let FetchFailure::NoRoom(why) = &failure
            && target.claims.end_the_pull(id, from, target.attempts, step)
        {
            let why = PullFailure::Local(why.clone());
            return self.remove(id, step.effects)?.failed(why);
        }
        // A panic says nothing about this machine: another patch may not lead to it.
        if let FetchFailure::Local(why) = &failure
            && why.blame() != Blame::Bug
        {
            let why = PullFailure::Local(why.clone());
            return self.remove(id, step.effects)?.failed(why);
        }
        if is_part_useless(&failure) {
            self.parts.remove(&id);
        }
        blame(target, id, fetching, failure, setback, step);
        if step.is_doubted(from) {
            self.leave_doubted(from, step);
        }
        if self.go_on_with_second(id) {
            return None;
        }
        let target = self.targets.get_mut(&id)?;
        target.forget_tail();
        // A blob that comes for its layer has to come at once.
        let is_in_vain = target.stands_for.is_some() && is_try && !fetching.has_bytes;
        if target.attempts >= Settings::ATTEMPTS_MAX || is_in_vain {
            return self.give_up(id, step.effects);
        }
        target.wait(step);
        None
    }

    /// Stops the fetches from a doubted peer that brought nothing yet: all that go through a neighbour, and others that
    /// are late too.
    fn leave_doubted(&mut self, doubted: PeerId, step: &mut Step<'_>) {
        for target in self.targets.values_mut() {
            if let State::Fetching(fetching) = &mut target.state
                && fetching.plan.peer == doubted
                && !fetching.has_bytes
                && (matches!(fetching.way, Way::Neighbour) || fetching.is_silent(step.now))
            {
                fetching.stop(Stop::Slow, step.effects);
            }
        }
    }

    pub(super) fn give_up(&mut self, id: DiffId, effects: &mut Vec<Effect>) -> Option<Outcome> {
        let target = self.remove(id, effects)?;
        let why = match &target.last_failure {
            Some((from, why)) => PullFailure::Exhausted { target: id, from: *from, why: Box::new(why.clone()) },
            None => PullFailure::NoSource { target: id },
        };
        target.failed(why)
    }
}

/// Whether nothing can go on from the part of the patch that is on disk.
fn is_part_useless(failure: &FetchFailure) -> bool {
    match failure {
        FetchFailure::Lied(_)
        | FetchFailure::WrongResult { .. }
        | FetchFailure::Listed
        | FetchFailure::BaseGone(_)
        | FetchFailure::Local(_) => true,
        FetchFailure::Lost(_)
        | FetchFailure::Refused(_)
        | FetchFailure::Referred { .. }
        | FetchFailure::NoRoom(_)
        | FetchFailure::Stopped => false,
    }
}

/// A second fetch failed, or lost its race.
pub fn rival_failed(target: &mut Target, id: DiffId, rival: &Fetching, failure: FetchFailure, step: &mut Step<'_>) {
    target.wasted_by_races += rival.received();
    let setback = match (&failure, rival.stop) {
        (FetchFailure::Stopped, Stop::Stalled) => Setback::Stalled,
        (FetchFailure::Stopped, Stop::Beaten) => Setback::Beaten,
        _ => Setback::Fetch(failure.clone()),
    };
    if matches!(failure, FetchFailure::Referred { .. }) {
        target.exclude(rival.plan.peer, setback, step);
    } else {
        blame(target, id, rival, failure, setback, step);
    }
}

/// A tail failed, or was stopped.
pub fn tail_failed(target: &mut Target, id: DiffId, tail: &Fetching, failure: FetchFailure, step: &mut Step<'_>) {
    let setback = match (&failure, tail.stop) {
        (FetchFailure::Stopped, Stop::Stalled) => Setback::Stalled,
        (FetchFailure::Stopped, Stop::Slow) => Setback::Slow,
        _ => Setback::Fetch(failure.clone()),
    };
    if matches!(failure, FetchFailure::Referred { .. }) {
        target.exclude(tail.plan.peer, setback, step);
    } else {
        blame(target, id, tail, failure, setback, step);
    }
}

/// Holds a failure against the peer or the base that it is due to.
fn blame(
    target: &mut Target,
    id: DiffId,
    fetching: &Fetching,
    failure: FetchFailure,
    setback: Setback,
    step: &mut Step<'_>,
) {
    let from = fetching.plan.peer;
    match failure {
        // A pull wants the layer again after others abandoned it: no peer is to blame.
        FetchFailure::Stopped if fetching.stop == Stop::Abandoned => {}
        FetchFailure::Stopped if matches!(fetching.stop, Stop::Slow | Stop::Beaten) => {
            expect_pace(fetching, step);
            target.exclude(from, setback, step);
            // A second source that lost its race may have had little time.
            let had_time = fetching.stop == Stop::Slow || fetching.is_silent(step.now);
            let was_in_vain = had_time && !fetching.has_bytes;
            target.waited_in_vain |= was_in_vain;
            if was_in_vain || matches!(fetching.way, Way::Neighbour) {
                step.core.doubts.add(from, step.now);
            }
        }
        FetchFailure::Stopped => {
            // No doubt of a neighbour: over a thin uplink it may wait as this node does. A race tells.
            expect_little(fetching, step);
            target.exclude(from, Setback::Stalled, step);
        }
        FetchFailure::NoRoom(_) | FetchFailure::Lost(LostCause::Unusable(_)) => {
            // A neighbour that has the layer says so each time: its patch would be the same.
            target.site.ignore(from);
            target.exclude(from, setback, step);
        }
        FetchFailure::Lost(_) => {
            target.site.lost(from);
            target.exclude(from, setback, step);
        }
        FetchFailure::Local(_) => target.exclude(from, setback, step),
        FetchFailure::Refused(refusal) => {
            if refusal.is_busy() {
                target.lists.met_busy();
            }
            target.refused(id, from, refusal, step);
        }
        FetchFailure::Lied(lie) => {
            target.last_failure = Some((from, setback));
            step.cut_off(from, Offence::Lied(lie));
        }
        FetchFailure::WrongResult { patch, why } => {
            let liar = fetching.answers_for(patch);
            target.last_failure = Some((liar.unwrap_or(from), setback));
            match liar {
                Some(liar) => step.cut_off(liar, Offence::WrongResult { patch, why }),
                None => target.site.ignore(from),
            }
        }
        FetchFailure::Listed => {
            target.lists.misled();
            target.last_failure = Some((from, setback));
        }
        FetchFailure::BaseGone(base) => {
            target.damaged.push(base);
            target.last_failure = Some((from, setback));
        }
        FetchFailure::Referred { .. } => broken("a referral is no failure"),
    }
}

/// A peer was slower than another: the node expects its pace of it from now on.
fn expect_pace(fetching: &Fetching, step: &mut Step<'_>) {
    let peer = fetching.plan.peer;
    let known = step.core.links.get(peer);
    let Some(pace) = fetching.watch().pace().filter(|_| matches!(fetching.way, Way::Quoted)) else { return };
    if known.down.is_none_or(|down| pace < down) {
        step.core.links.hold(peer, Link { down: Some(BytesPerSecond(pace.0.max(1))), ..known });
    }
}

/// A peer stalled: from now on the node expects of it the rate below which a fetch stalls. The rate of a patch that is
/// passed on is not the peer's.
fn expect_little(fetching: &Fetching, step: &mut Step<'_>) {
    let seconds = step.core.settings.stall_timeout.as_secs().max(1);
    if matches!(fetching.way, Way::Quoted) {
        let peer = fetching.plan.peer;
        let stalled = Link { down: Some(BytesPerSecond(Settings::STALL_BYTES / seconds)), ..step.core.links.get(peer) };
        step.core.links.hold(peer, stalled);
    }
}
