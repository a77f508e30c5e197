//! Fetches that failed: who is to blame, and what is done then.

use lighter_types::{BytesPerSecond, DiffId};
use lighter_wire::Refusal;

use super::fetching::{Fetching, Named, Stop, Way};
use super::{Fetcher, Outcome};
use crate::core::Step;
use crate::event::{FetchFailure, Offence};
use crate::report::{PullFailure, Report};
use crate::settings::Settings;

impl Fetcher {
    pub(super) fn failed(
        &mut self,
        id: DiffId,
        fetching: &Fetching,
        failure: FetchFailure,
        step: &mut Step<'_>,
    ) -> Option<Outcome> {
        let target = self.targets.get_mut(&id)?;
        if target.pulls.is_empty() || step.core.holdings.holds(id) {
            let pulls = self.targets.remove(&id)?.pulls;
            return Some(Outcome::Held { pulls, target: id });
        }
        let from = fetching.plan.peer;
        if let FetchFailure::Referred { to, patch, settings } = failure {
            target.referred(&fetching.plan, Named { by: from, patch, settings }, to, step);
            return None;
        }
        let liar = fetching.liar(&failure);
        let why = match (&failure, fetching.stop) {
            (FetchFailure::Stopped, Stop::Stalled) => "it stalled".to_owned(),
            _ => failure.to_string(),
        };
        let report = Report::Retrying { target: id, from, why };
        step.report_all(&target.pulls, &report);
        target.attempts += u32::from(failure != FetchFailure::Refused(Refusal::Busy));
        match failure {
            // Somebody wants it again who came after it was abandoned: nobody is to blame.
            FetchFailure::Stopped if fetching.stop == Stop::Abandoned => {}
            FetchFailure::Stopped => {
                let seconds = step.core.settings.stall_timeout.as_secs().max(1);
                if matches!(fetching.way, Way::Quoted) {
                    step.core.directory.measured(from, BytesPerSecond(Settings::STALL_BYTES / seconds));
                }
                target.exclude(from, "it stalled".to_owned(), step);
            }
            FetchFailure::Lost | FetchFailure::Referred { .. } => target.exclude(from, failure.to_string(), step),
            FetchFailure::Refused(refusal) => target.refused(id, from, refusal, step),
            FetchFailure::Lied(what) | FetchFailure::WrongResult { what, .. } => {
                self.parts.remove(&id);
                target.last_failure = Some(format!("{} sent wrong bytes: {what}", liar.unwrap_or(from)));
                match liar {
                    Some(liar) => step.cut_off(liar, Offence::WrongBytes(what)),
                    None => target.site.ignore(from),
                }
            }
            FetchFailure::Listed => {
                self.parts.remove(&id);
                target.is_unlisted = true;
                target.last_failure = Some(failure.to_string());
            }
            FetchFailure::BaseGone(base) => {
                self.parts.remove(&id);
                target.damaged.push(base);
                target.last_failure = Some(failure.to_string());
            }
            FetchFailure::Local(why) => {
                let pulls = self.targets.remove(&id)?.pulls;
                return Some(Outcome::Failed { pulls, why: PullFailure::Local(why) });
            }
        }
        if target.attempts >= Settings::ATTEMPTS_MAX {
            return self.fail(id);
        }
        target.wait(step);
        None
    }

    /// Gives up on a layer.
    pub(super) fn fail(&mut self, id: DiffId) -> Option<Outcome> {
        let target = self.targets.remove(&id)?;
        let why = match target.last_failure {
            Some(last) => PullFailure::Exhausted { target: id, last },
            None => PullFailure::NoSource { target: id },
        };
        Some(Outcome::Failed { pulls: target.pulls, why })
    }
}
