//! Fetches that failed: which side is to blame, and what the node does then.

use lighter_types::{Blame, BytesPerSecond, DiffId, Link, broken};

use super::fetching::{Fetching, Named, Stop, Way};
use super::target::Target;
use super::{Fetcher, Outcome};
use crate::core::Step;
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
            self.targets.remove(&id);
            return None;
        }
        let from = fetching.plan.peer;
        if let FetchFailure::Referred { to, patch, settings } = failure {
            target.referred(&fetching.plan, Named { by: from, patch, settings }, to, step);
            return None;
        }
        let setback = match (&failure, fetching.stop) {
            (FetchFailure::Stopped, Stop::Stalled) => Setback::Stalled,
            _ => Setback::Fetch(failure.clone()),
        };
        step.report_all(&target.pulls, &Report::Retrying { target: id, from, why: setback.clone() });
        target.attempts += u32::from(!matches!(failure, FetchFailure::Refused(refusal) if refusal.is_busy()));
        if let FetchFailure::NoRoom(why) = &failure
            && target.claims.end_the_pull(id, from, target.attempts, step)
        {
            let (pulls, why) = (self.targets.remove(&id)?.pulls, why.clone());
            return Some(Outcome::Failed { pulls, why: PullFailure::Local(why) });
        }
        // A panic says nothing about this machine: another patch may not lead to it.
        if let FetchFailure::Local(why) = &failure
            && why.blame() != Blame::Bug
        {
            let (pulls, why) = (self.targets.remove(&id)?.pulls, why.clone());
            return Some(Outcome::Failed { pulls, why: PullFailure::Local(why) });
        }
        if is_part_useless(&failure) {
            self.parts.remove(&id);
        }
        blame(target, id, fetching, failure, setback, step);
        if target.attempts >= Settings::ATTEMPTS_MAX {
            return self.give_up(id);
        }
        target.wait(step);
        None
    }

    pub(super) fn give_up(&mut self, id: DiffId) -> Option<Outcome> {
        let target = self.targets.remove(&id)?;
        let why = match target.last_failure {
            Some((from, why)) => PullFailure::Exhausted { target: id, from, why: Box::new(why) },
            None => PullFailure::NoSource { target: id },
        };
        Some(Outcome::Failed { pulls: target.pulls, why })
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
        FetchFailure::Stopped => {
            expect_little(fetching, step);
            target.exclude(from, Setback::Stalled, step);
        }
        FetchFailure::NoRoom(_) | FetchFailure::Lost(LostCause::Unusable(_)) => {
            // A neighbour that has the layer says so each time: its patch would be the same.
            target.site.ignore(from);
            target.exclude(from, setback, step);
        }
        FetchFailure::Lost(_) | FetchFailure::Local(_) => target.exclude(from, setback, step),
        FetchFailure::Refused(refusal) => target.refused(id, from, refusal, step),
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
            target.is_unlisted = true;
            target.last_failure = Some((from, setback));
        }
        FetchFailure::BaseGone(base) => {
            target.damaged.push(base);
            target.last_failure = Some((from, setback));
        }
        FetchFailure::Referred { .. } => broken("a referral is no failure"),
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
