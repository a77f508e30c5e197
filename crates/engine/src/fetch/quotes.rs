//! The quotes for one layer: their answers, and the choice of the best.

use lighter_similarity::Prediction;
use lighter_types::{Bytes, DiffId, broken};
use lighter_wire::{Answer, Offer, Quote};

use super::Fetcher;
use super::fetching::Way;
use super::target::{State, Target};
use crate::calibrations::Rule;
use crate::core::{Core, Step};
use crate::effort::{self, Content, from_default, to_default};
use crate::event::{AskId, Part};
use crate::failure::{AskFailure, Setback};
use crate::planner::{self, Forecast, Plan};

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

impl Plan {
    /// Whether going on with `part` is going on with this plan.
    pub fn resumes(&self, part: &Part) -> bool {
        match self.ready {
            Some(patch) => patch == part.patch,
            // The same bases give the same patch on every node.
            None => self.bases == part.bases,
        }
    }

    /// The plan as the provider quoted it; `None` if the quote names bases that this node does not hold. The part that
    /// is on disk of this patch need not be sent again.
    pub fn quoted(self, id: DiffId, quote: Quote, part: Option<&Part>, step: &Step<'_>) -> Option<Self> {
        let core = &*step.core;
        if !quote.bases.iter().all(|&base| core.holdings.holds(base)) {
            return None;
        }
        let effort = quote.effort.unwrap_or_default();
        let mut plan = Self { bases: quote.bases, wait: quote.wait, effort, ..self };
        let card = core.directory.card(id);
        let content = card.map_or(Content::from(&plan.bases), |card| Content::of(card, &plan.bases));
        if let Some(card) = card {
            plan.forecast = Forecast::from_held(card, &plan.bases, core);
        }
        let at_default = match (quote.offer, card) {
            (Offer::Ready { patch, bytes }, _) => {
                plan.ready = Some(patch);
                to_default(content, effort, bytes)
            }
            // An honest peer predicts the same from the same sketches.
            (Offer::Predicted { .. }, Some(card)) if plan.forecast.by_sketch.is_some() => {
                plan.forecast.corrected(card, &plan.bases, core)
            }
            (Offer::Predicted { bytes }, Some(card)) if !plan.bases.is_empty() => {
                let bytes = to_default(content, effort, bytes);
                plan.quoted = Some(bytes);
                let quoted = Prediction { bytes, expected_error: plan.forecast.by_tlsh.expected_error };
                core.calibrations.correct(Rule::Quote, quoted, card.compressed_bytes, &plan.bases).bytes
            }
            (Offer::Predicted { bytes }, _) => to_default(content, effort, bytes),
        };
        let bytes = match quote.offer {
            Offer::Ready { bytes, .. } => bytes,
            Offer::Predicted { .. } => from_default(content, effort, at_default),
        };
        let have = part.filter(|part| plan.resumes(part)).map_or(Bytes::ZERO, |part| part.bytes);
        plan.bytes = bytes - have;
        let rate = core.directory.peer(plan.peer).map(|peer| core.rate_from(plan.peer, peer));
        plan.transfer = plan.bytes.at(rate.unwrap_or(core.settings.uplink_rate));
        let tar_bytes = card.map_or(Bytes::ZERO, |card| card.tar_bytes);
        plan.applying = core.applying.of(effort::applying(at_default, content, tar_bytes, effort));
        Some(plan)
    }
}

impl Target {
    /// The layers whose files a have-list names to the provider that is about to be asked.
    pub fn listed(&mut self, id: DiffId, plan: &Plan, way: Way, core: &Core) -> Vec<DiffId> {
        let may_list = matches!(way, Way::Quoted) && self.lists.may_send() && !self.is_whole_only();
        let listed = match core.directory.card(id).filter(|_| may_list) {
            Some(card) => planner::listed(card, plan, core, &self.damaged),
            None => Vec::new(),
        };
        self.lists.asked(!listed.is_empty());
        listed
    }
}
