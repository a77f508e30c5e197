//! The quotes for one layer: their answers, and the choice of the best.

use lighter_types::{DiffId, broken};
use lighter_wire::Answer;

use super::Fetcher;
use super::fetching::Way;
use super::target::State;
use crate::core::Step;
use crate::event::AskId;
use crate::failure::{AskFailure, Setback};
use crate::planner;

impl Fetcher {
    /// A peer quotes, or does not. With all quotes in, the node fetches by the best; with none, the target waits for
    /// another chance.
    pub fn quoted(&mut self, id: DiffId, ask: AskId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let part = self.parts.get(&id);
        let Some(target) = self.targets.get_mut(&id) else { return };
        // The target was abandoned meanwhile, and is wanted anew: it has other questions.
        let State::Quoting { asked, quoted } = &mut target.state else { return };
        let Some(plan) = asked.remove(&ask) else { return };
        let from = plan.peer;
        match answer {
            Ok(Answer::Quote(quote)) => match plan.quoted(id, quote, part, step) {
                Some(plan) => quoted.push(plan),
                None => target.exclude(from, Setback::ForeignBases, step),
            },
            Ok(Answer::Refused(refusal)) => target.refused(id, from, refusal, step),
            Ok(_) => target.exclude(from, Setback::OtherAnswer, step),
            Err(failure) => target.exclude(from, Setback::Unanswered(failure), step),
        }
        self.settle_quotes(id, step);
    }

    /// With all quotes in, fetches by the best.
    pub(super) fn settle_quotes(&mut self, id: DiffId, step: &mut Step<'_>) {
        let Some(target) = self.targets.get_mut(&id) else { return broken("quotes without their target") };
        if let State::Quoting { asked, quoted } = &mut target.state
            && asked.is_empty()
        {
            match planner::best_plan(std::mem::take(quoted), step.core) {
                Some(plan) => self.begin(id, plan, Way::Quoted, step),
                None => target.wait(step),
            }
        }
    }
}
