//! Fetches that failed: who is to blame, and what is done then.

use lighter_types::{BytesPerSecond, DiffId};
use lighter_wire::Refusal;

use super::fetching::{Fetching, Named, Stop, Way};
use super::{Fetcher, Outcome};
use crate::context::Context;
use crate::event::{FetchFailure, Offence};
use crate::report::{PullFailure, Report};
use crate::settings::Settings;

impl Fetcher {
    pub(super) fn failed(
        &mut self,
        id: DiffId,
        fetching: &Fetching,
        failure: FetchFailure,
        context: &mut Context<'_>,
    ) -> Option<Outcome> {
        let target = self.targets.get_mut(&id)?;
        if target.pulls.is_empty() || context.own.holds(id) {
            let pulls = self.targets.remove(&id)?.pulls;
            return Some(Outcome::Held { pulls, target: id });
        }
        let from = fetching.plan.peer;
        if let FetchFailure::Referred { to, patch, settings } = failure {
            target.referred(&fetching.plan, Named { by: from, patch, settings }, to, context);
            return None;
        }
        let liar = fetching.liar(&failure);
        let why = match (&failure, fetching.stop) {
            (FetchFailure::Stopped, Stop::Stalled) => "it stalled".to_owned(),
            _ => failure.to_string(),
        };
        let report = Report::Retrying { target: id, from, why };
        context.report_all(&target.pulls, &report);
        target.attempts += u32::from(failure != FetchFailure::Refused(Refusal::Busy));
        match failure {
            // Somebody wants it again who came after it was abandoned: nobody is to blame.
            FetchFailure::Stopped if fetching.stop == Stop::Abandoned => {}
            FetchFailure::Stopped => {
                let seconds = context.settings.stall_timeout.as_secs().max(1);
                if matches!(fetching.way, Way::Quoted) {
                    context.directory.measured(from, BytesPerSecond(Settings::STALL_BYTES / seconds));
                }
                target.exclude(from, "it stalled".to_owned(), context);
            }
            FetchFailure::Lost | FetchFailure::Referred { .. } => target.exclude(from, failure.to_string(), context),
            FetchFailure::Refused(refusal) => target.refused(id, from, refusal, context),
            FetchFailure::Lied(what) | FetchFailure::WrongResult { what, .. } => {
                self.parts.remove(&id);
                target.last_failure = Some(format!("{} sent wrong bytes: {what}", liar.unwrap_or(from)));
                match liar {
                    Some(liar) => context.cut_off(liar, Offence::WrongBytes(what)),
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
        target.wait(context);
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
