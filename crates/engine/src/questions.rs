//! Small questions: those of peers, answered from memory or by the caller; and what peers answer to ours.

use lighter_similarity::Sketch;
use lighter_types::{DiffId, Moment, PeerId};
use lighter_wire::{Answer, Arrival, Refusal, Request};

use crate::Engine;
use crate::context::{Context, Purpose};
use crate::event::{AskFailure, AskId, Effect, QuestionId};
use crate::planner::View;

impl Engine {
    pub(crate) fn asked(
        &mut self,
        now: Moment,
        question: QuestionId,
        from: PeerId,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        if !self.admits(now, from, effects) {
            let answer = Answer::Refused(Refusal::Busy);
            effects.push(Effect::Answer { question, answer });
            return;
        }
        let answer = match request {
            Request::Holdings => Answer::Holdings(lighter_wire::Holdings {
                incarnation: self.settings.incarnation,
                version: self.own.version(),
                site: self.settings.site.clone(),
                cards: self.own.told(),
            }),
            Request::Quote { target, bases } => {
                self.serve.quote(from, target, &bases, view!(self)).map_or_else(Answer::Refused, Answer::Quote)
            }
            Request::Arrival { target, number } => {
                let arrival = if self.own.holds(target) {
                    Arrival::Held
                } else {
                    self.fetcher.arrival(target, from, number, view!(self))
                };
                Answer::Arrival(arrival)
            }
            Request::Sketches(layers) => {
                let sketch = |&layer: &DiffId| self.own.sketch(layer).map(Sketch::to_bytes);
                Answer::Sketches(layers.iter().map(sketch).collect())
            }
            request @ (Request::Resolve(_) | Request::Blob { .. }) => {
                let coming = if let Request::Resolve(name) = &request { self.pulls.release_of(name) } else { None };
                effects.push(match coming.cloned() {
                    Some(release) => Effect::Answer { question, answer: Answer::Release(release) },
                    None => Effect::AnswerFromStore { question, request },
                });
                return;
            }
        };
        effects.push(Effect::Answer { question, answer });
    }

    pub(crate) fn answered(
        &mut self,
        now: Moment,
        ask: AskId,
        answer: Result<Answer, AskFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some((from, purpose)) = self.asks.take(ask) else { return };
        let context = &mut context!(self, now, effects);
        match purpose {
            Purpose::Holdings if context.is_cut_off(from) => {}
            Purpose::Holdings => match answer {
                Ok(Answer::Holdings(holdings)) => context.directory.told(from, holdings, now),
                Ok(Answer::Refused(Refusal::Busy)) | Err(AskFailure::Unreachable) => context.asks.unanswered(from, now),
                // The next announcement of a version that is not known asks again.
                Ok(_) | Err(_) => {}
            },
            Purpose::Quote(target) => self.fetcher.quoted(target, ask, answer, context),
            Purpose::Arrival(target) => self.fetcher.arrival_told(target, ask, answer.ok()),
            Purpose::Resolve(pull) => self.pulls.resolved(pull, ask, from, answer, context),
            Purpose::Sketches(layers) => context.sketches_answered(from, &layers, answer),
            Purpose::Blob(pull) => self.pulls.blob_answered(pull, from, answer, context),
        }
    }
}
