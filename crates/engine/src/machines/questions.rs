//! Questions: those of peers, answered from memory or by the caller; and the answers of peers to this node's questions.

use lighter_similarity::Sketch;
use lighter_types::{DiffId, PeerId, broken};
use lighter_wire::{Answer, Arrival, ListDigest, Refusal, Request};

use super::Machines;
use crate::asks::Purpose;
use crate::core::Step;
use crate::directory::Taken;
use crate::event::{AskId, Effect, QuestionId};
use crate::failure::AskFailure;

impl Machines {
    /// A peer asks. The engine answers at once, or has the caller answer from disk.
    pub(super) fn asked(&mut self, question: QuestionId, from: PeerId, request: Request, step: &mut Step<'_>) {
        let answer =
            if self.admits(from, step) { self.answer(from, request, step) } else { Ok(Answer::Refused(Refusal::Busy)) };
        step.effects.push(match answer {
            Ok(answer) => Effect::Answer { question, answer },
            Err(request) => Effect::AnswerFromStore { question, request },
        });
    }

    /// The answer; the request itself if its answer is on disk.
    fn answer(&mut self, from: PeerId, request: Request, step: &mut Step<'_>) -> Result<Answer, Request> {
        // A peer that asks now must not hear that nothing is held.
        step.core.holdings.begin();
        let core = &*step.core;
        Ok(match request {
            Request::Holdings { known } => Answer::Holdings(lighter_wire::Holdings {
                incarnation: core.settings.incarnation,
                version: core.holdings.version(),
                site: core.settings.site.clone(),
                digest: core.holdings.digest(),
                list: core.holdings.listed(known),
            }),
            Request::Quote { target, bases } => {
                self.serve.quote(from, target, &bases, core).map_or_else(Answer::Refused, Answer::Quote)
            }
            Request::Arrival { target, .. } if core.holdings.holds(target) => Answer::Arrival(Arrival::Held),
            Request::Arrival { target, number } => Answer::Arrival(self.fetcher.arrival(target, from, number, core)),
            Request::Sketches(layers) => {
                let sketch = |&layer: &DiffId| core.holdings.sketch(layer).map(Sketch::to_bytes);
                Answer::Sketches(layers.iter().map(sketch).collect())
            }
            Request::Resolve(name) => match self.pulls.release_of(&name) {
                Some(release) => Answer::Release(release.clone()),
                None => return Err(Request::Resolve(name)),
            },
            request @ Request::Blob { .. } => return Err(request),
        })
    }

    /// A question of this node has its answer, or gets none.
    pub(super) fn answered(&mut self, ask: AskId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let Some((from, purpose)) = step.core.asks.end(ask) else {
            return broken("an answer to a question that is not open");
        };
        match purpose {
            Purpose::Holdings(known) => holdings_answered(from, known, answer, step),
            Purpose::Quote(target) => self.fetcher.quoted(target, ask, answer, step),
            Purpose::Arrival(target) => self.fetcher.arrival_answered(target, ask, answer.ok()),
            Purpose::Resolve(pull) => self.pulls.resolved(pull, ask, from, answer, step),
            Purpose::Sketches(layers) => step.sketches_answered(from, &layers, answer),
            Purpose::Blob(pull) => self.pulls.blob_answered(pull, from, answer, step),
        }
    }
}

/// The answer to a question for holdings that named the list `asked`.
fn holdings_answered(from: PeerId, asked: Option<ListDigest>, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
    if step.is_cut_off(from) {
        return;
    }
    match answer {
        Ok(Answer::Holdings(holdings)) => {
            let taken = step.core.directory.answered(from, holdings, step.now);
            // If the list changed while the answer was on its way, its changes are asked for, else all of it. An answer
            // to the question for all of it that cannot be believed is the last one: the next announcement counts.
            if taken == Taken::Mismatch && asked.is_some() {
                let known = step.core.directory.known_list(from).filter(|&known| Some(known) != asked);
                step.ask_list(from, known);
            }
        }
        Ok(Answer::Refused(Refusal::Busy)) | Err(AskFailure::Unreachable) => {
            step.core.asks.unanswered(from, step.now);
        }
        // After the next announcement of a version that is not known, the peer is asked again.
        Ok(_) | Err(_) => {}
    }
}
