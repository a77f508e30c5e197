//! Questions: those of peers, answered from memory or by the caller; and the answers of peers to this node's questions.

use lighter_similarity::Sketch;
use lighter_types::{PeerId, broken};
use lighter_wire::{Answer, Arrival, ImageAnswer, ImageName, ListDigest, Refusal, Request};

use super::Machines;
use crate::asks::Purpose;
use crate::core::Step;
use crate::directory::Taken;
use crate::event::{AskId, Effect, ImageFound, QuestionId};
use crate::failure::{AskFailure, LocalFailure};
use crate::floods::Verdict;
use crate::settings::Settings;

impl Machines {
    /// A peer asks. The engine answers at once, or has the caller answer from disk.
    pub(super) fn asked(&mut self, question: QuestionId, from: PeerId, request: Request, step: &mut Step<'_>) {
        // A peer that asks now must not hear that nothing is held.
        step.core.holdings.begin();
        let effect = if self.admits(from, step) {
            self.answer(question, from, request, step)
        } else {
            Effect::Answer { question, answer: Answer::Refused(Refusal::BUSY) }
        };
        step.effects.push(effect);
    }

    fn answer(&mut self, question: QuestionId, from: PeerId, request: Request, step: &Step<'_>) -> Effect {
        let core = &*step.core;
        let answer = match request {
            Request::Holdings { known } => Answer::Holdings(lighter_wire::Holdings {
                incarnation: core.settings.incarnation,
                version: core.holdings.version(),
                site: core.settings.site.clone(),
                digest: core.holdings.digest(),
                list: core.holdings.listed(known),
            }),
            Request::Quote { target, bases, terms } => {
                self.serve.quote(from, terms, target, &bases, core).map_or_else(Answer::Refused, Answer::Quote)
            }
            Request::Arrival { target, .. } if core.holdings.holds(target) => Answer::Arrival(Arrival::Held),
            Request::Arrival { target, number } => Answer::Arrival(self.fetcher.arrival(target, from, number, step)),
            Request::Sketches(layers) => {
                let sketches = layers.into_iter().map(|layer| core.holdings.sketch(layer).map(Sketch::to_bytes));
                Answer::Sketches(sketches.collect())
            }
            Request::Image(mut request) => {
                // Offers are for the bases that the peer holds: without its list there are none.
                request.list = request.list.filter(|list| core.directory.known_list(from) == Some(*list));
                let release = match &request.name {
                    ImageName::Reference(reference) => self.pulls.release_of(reference).cloned(),
                    ImageName::Manifest(_) => None,
                };
                return Effect::LookUpImage { question, from, request, release };
            }
            request @ Request::Blob { .. } => return Effect::AnswerFromStore { question, request },
        };
        Effect::Answer { question, answer }
    }

    /// The disk has told what it has of an image that a peer asks about: answers with that, and with offers.
    pub(super) fn image_looked_up(
        &mut self,
        question: QuestionId,
        from: PeerId,
        found: Result<ImageFound, LocalFailure>,
        step: &mut Step<'_>,
    ) {
        let answer = match found {
            Err(_) => Answer::Refused(Refusal::Failed),
            Ok(ImageFound { release: None, documents: None, handovers, .. }) if handovers.is_empty() => {
                Answer::Refused(Refusal::NotHeld)
            }
            Ok(ImageFound { release, handovers, documents, layers, terms }) => {
                let work = layers.len().div_ceil(Settings::OFFERS_PER_MESSAGE);
                let work = u32::try_from(work).unwrap_or(u32::MAX);
                let verdict = self.floods.count_many(from, work, step.now, step.core.settings.peers_max);
                let layers = if verdict == Verdict::Fine { &layers[..] } else { &[] };
                let offers = self.serve.offers(from, terms, layers, step.core);
                Answer::Image(Box::new(ImageAnswer { release, documents, offers, handovers }))
            }
        };
        step.effects.push(Effect::Answer { question, answer });
    }

    /// A question of this node has its answer, or gets none.
    pub(super) fn answered(&mut self, ask: AskId, answer: Result<Answer, AskFailure>, step: &mut Step<'_>) {
        let Some((from, purpose)) = step.core.asks.end(ask) else {
            return broken("an answer to a question that is not open");
        };
        match purpose {
            Purpose::Holdings(known) => holdings_answered(from, known, answer, step),
            Purpose::Quote(target) => self.fetcher.quoted(target, ask, answer, step),
            Purpose::Beside(target) => self.fetcher.beside_quoted(target, ask, answer, step),
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
        Ok(Answer::Refused(Refusal::Busy { .. })) | Err(AskFailure::Unreachable) => {
            step.core.asks.unanswered(from, step.now);
        }
        // After the next announcement of a version that is not known, the peer is asked again.
        Ok(_) | Err(_) => {}
    }
}
