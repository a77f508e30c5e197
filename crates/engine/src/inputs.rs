//! Each group of inputs, matched once and whole.

use std::time::Duration;

use lighter_similarity::Sketch;
use lighter_types::{Card, DiffId, Moment};
use lighter_wire::Refusal;

use crate::Engine;
use crate::context::Context;
use crate::event::{CachedPatch, Effect, EncodeFailure, EncodeId, FetchFailure, FetchId, Fetched, PullId, Wanted};
use crate::input::{DiskInput, OperatorInput, PeerInput, WorkInput};
use crate::planner::View;
use crate::report::{PullFailure, Report};
use crate::serve::{Coming, Opened};

impl Engine {
    pub(crate) fn disk_input(&mut self, now: Moment, input: DiskInput, effects: &mut Vec<Effect>) {
        match input {
            DiskInput::LayerHeld { card, sketch } => {
                self.hold(now, card, sketch, effects);
                let held = self.fetcher.layer_held(card.diff_id, effects);
                self.pulls.outcomes(held, &mut self.fetcher, &mut context!(self, now, effects));
            }
            DiskInput::LayerGone(layer) => self.lose(now, layer),
            DiskInput::PatchHeld(patch) => self.serve.patch_held(patch),
            DiskInput::PatchGone(patch) => self.serve.patch_gone(patch),
            DiskInput::PartHeld { target, part } => self.fetcher.part_held(target, part),
            DiskInput::CalibrationHeld { rule, settings, calibration } => {
                self.calibrations.hold(rule, settings, calibration);
            }
            DiskInput::PaceHeld(pace) => self.serve.pace_held(pace),
        }
    }

    pub(crate) fn peer_input(&mut self, now: Moment, input: PeerInput, effects: &mut Vec<Effect>) {
        match input {
            PeerInput::Connected(peer) => self.connected(now, peer, effects),
            PeerInput::Lost(peer) => self.directory.disconnected(peer),
            PeerInput::Unreachable(peer) => self.fetcher.unreachable(peer, now),
            PeerInput::Announced { from, announcement } => self.announced(now, from, announcement, effects),
            PeerInput::Asked { question, from, request } => self.asked(now, question, from, request, effects),
            PeerInput::StreamOpened { stream, from, request } => {
                if self.admits(now, from, effects) {
                    let coming = self.fetcher.coming(request.target);
                    let opened = Opened { stream, from, request: &request, coming };
                    self.serve.stream_opened(opened, now, view!(self), effects);
                } else {
                    effects.push(Effect::Refuse { stream, refusal: Refusal::Busy });
                }
            }
            PeerInput::StreamServed { stream, bytes, took } => {
                self.serve.stream_served(stream, bytes, took, view!(self));
            }
            PeerInput::StreamClosed(stream) => self.serve.stream_closed(stream, view!(self)),
        }
    }

    pub(crate) fn work_input(&mut self, now: Moment, input: WorkInput, effects: &mut Vec<Effect>) {
        match input {
            WorkInput::Answered { ask, answer } => self.answered(now, ask, answer, effects),
            WorkInput::EncodeProgress { encode, target_bytes_done } => {
                self.serve.encode_progress(encode, target_bytes_done, effects);
            }
            WorkInput::EncodeEnded { encode, took, result } => self.encode_ended(now, encode, took, result, effects),
            WorkInput::ImageRead { pull, read } => {
                self.pulls.image_read(pull, read, &mut self.fetcher, &mut context!(self, now, effects));
            }
            WorkInput::BlobKept { pull, result } => {
                self.pulls.blob_kept(pull, result, &mut self.fetcher, &mut context!(self, now, effects));
            }
            WorkInput::ImageCommitted { pull, result } => {
                if let Some(report) = self.pulls.committed(pull, result) {
                    effects.push(Effect::Report { pull, report });
                }
            }
            WorkInput::FetchWorking { fetch } => {
                self.fetcher.working(fetch, now);
                self.fetcher.target_of(fetch).iter().for_each(|&target| self.serve.still_coming(target, effects));
            }
            WorkInput::FetchProgress { fetch, part } => {
                if let Some(target) = self.fetcher.target_of(fetch) {
                    self.serve.came(target, &part, effects);
                }
                self.fetcher.progress(fetch, part, &mut context!(self, now, effects));
            }
            WorkInput::FetchEnded { fetch, result } => self.fetch_ended(now, fetch, result, effects),
        }
    }

    pub(crate) fn operator_input(&mut self, now: Moment, input: OperatorInput, effects: &mut Vec<Effect>) {
        match input {
            OperatorInput::PullAsked { pull, wanted } => self.pull_asked(now, pull, wanted, effects),
            OperatorInput::PullCancelled(pull) => {
                let context = &mut context!(self, now, effects);
                self.pulls.fail(pull, PullFailure::Cancelled, &mut self.fetcher, context);
            }
            OperatorInput::SketchesWanted(layers) => context!(self, now, effects).want_sketches(layers),
            OperatorInput::Stop => self.stop(now, effects),
        }
    }

    fn pull_asked(&mut self, now: Moment, pull: PullId, wanted: Wanted, effects: &mut Vec<Effect>) {
        if self.stopping {
            let report = Report::Failed { why: PullFailure::Stopping };
            effects.push(Effect::Report { pull, report });
        } else {
            self.pulls.begin(pull, wanted, &mut context!(self, now, effects));
        }
    }

    fn fetch_ended(
        &mut self,
        now: Moment,
        fetch: FetchId,
        result: Result<Fetched, FetchFailure>,
        effects: &mut Vec<Effect>,
    ) {
        match &result {
            Ok(fetched) => {
                self.serve.patch_held(fetched.patch.clone());
                self.hold(now, fetched.card, fetched.sketch.clone(), effects);
            }
            Err(FetchFailure::BaseGone(base)) => self.lose(now, *base),
            Err(_) => {}
        }
        let context = &mut context!(self, now, effects);
        let outcome = self.fetcher.ended(fetch, result, context);
        self.pulls.outcomes(outcome, &mut self.fetcher, context);
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

    /// Those who wait for what does not come any more, or is here, are told.
    pub(crate) fn serve_followers(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let followed: Vec<DiffId> = self.serve.followed().collect();
        for target in followed.into_iter().filter(|target| matches!(self.fetcher.coming(*target), Coming::No)) {
            self.serve.stopped_coming(target, now, view!(self), effects);
        }
    }
}
