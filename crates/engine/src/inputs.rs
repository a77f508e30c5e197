//! What the caller tells: of the disk, of work that it did, of pulls and of fetches.

use std::time::Duration;

use lighter_similarity::Sketch;
use lighter_types::{Card, DiffId, Moment};

use crate::Engine;
use crate::context::Context;
use crate::event::{CachedPatch, Effect, EncodeFailure, EncodeId, FetchFailure, Input};
use crate::planner::View;
use crate::report::{PullFailure, Report};
use crate::serve::Coming;

impl Engine {
    pub(crate) fn disk_changed(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::LayerHeld { card, sketch } => {
                self.hold(now, card, sketch, effects);
                let held = self.fetcher.layer_held(card.diff_id, effects);
                self.pulls.outcomes(held, &mut self.fetcher, &mut context!(self, now, effects));
            }
            Input::LayerGone(layer) => self.lose(now, layer),
            Input::PatchHeld(patch) => self.serve.patch_held(patch),
            Input::PatchGone(patch) => self.serve.patch_gone(patch),
            _ => {}
        }
    }

    pub(crate) fn hold(&mut self, now: Moment, card: Card, sketch: Option<Sketch>, effects: &mut Vec<Effect>) {
        if self.own.add(card) {
            self.announce_soon(now);
        }
        if let Some(sketch) = sketch {
            self.own.add_sketch(card.diff_id, sketch);
        }
        if let Some((told, from)) = self.sketches.forget(card.diff_id) {
            context!(self, now, effects).check_sketch(card.diff_id, &told, from);
        }
    }

    pub(crate) fn lose(&mut self, now: Moment, layer: DiffId) {
        if self.own.remove(layer) {
            self.announce_soon(now);
        }
    }

    pub(crate) fn encode_ended(
        &mut self,
        now: Moment,
        encode: EncodeId,
        took: Duration,
        result: Result<CachedPatch, EncodeFailure>,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(EncodeFailure::LayerGone(layer)) = result {
            self.lose(now, layer);
        }
        self.serve.encode_ended(encode, took, result.ok(), now, view!(self), effects);
    }

    pub(crate) fn pull_input(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        let context = &mut context!(self, now, effects);
        match input {
            Input::PullAsked { pull, .. } if self.stopping => {
                let report = Report::Failed { why: PullFailure::Stopping };
                context.effects.push(Effect::Report { pull, report });
            }
            Input::PullAsked { pull, wanted } => self.pulls.begin(pull, wanted, context),
            Input::PullCancelled(pull) => {
                self.pulls.fail(pull, PullFailure::Cancelled, &mut self.fetcher, context);
            }
            Input::ImageRead { pull, read } => self.pulls.image_read(pull, read, &mut self.fetcher, context),
            Input::BlobKept { pull, result } => self.pulls.blob_kept(pull, result, &mut self.fetcher, context),
            Input::ImageCommitted { pull, result } => {
                if let Some(report) = self.pulls.committed(pull, result) {
                    context.effects.push(Effect::Report { pull, report });
                }
            }
            _ => {}
        }
    }

    pub(crate) fn fetch_input(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::FetchWorking { fetch } => {
                self.fetcher.working(fetch, now);
                self.fetcher.target_of(fetch).iter().for_each(|&target| self.serve.still_coming(target, effects));
            }
            Input::FetchProgress { fetch, part } => {
                if let Some(target) = self.fetcher.target_of(fetch) {
                    self.serve.came(target, &part, effects);
                }
                self.fetcher.progress(fetch, part, &mut context!(self, now, effects));
            }
            Input::FetchEnded { fetch, result } => {
                if let Ok(fetched) = &result {
                    self.serve.patch_held(fetched.patch.clone());
                    self.hold(now, fetched.card, fetched.sketch.clone(), effects);
                }
                if let Err(FetchFailure::BaseGone(base)) = &result {
                    self.lose(now, *base);
                }
                let context = &mut context!(self, now, effects);
                let outcome = self.fetcher.ended(fetch, result, context);
                self.pulls.outcomes(outcome, &mut self.fetcher, context);
            }
            _ => {}
        }
    }

    /// Those who wait for what does not come any more, or is here, are told.
    pub(crate) fn serve_followers(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let followed: Vec<DiffId> = self.serve.followed().collect();
        for target in followed.into_iter().filter(|target| matches!(self.fetcher.coming(*target), Coming::No)) {
            self.serve.stopped_coming(target, now, view!(self), effects);
        }
    }
}
