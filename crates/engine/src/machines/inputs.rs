//! Each group of inputs, matched once and whole: the compiler names a new input that no machine handles.
//!
//! A layer that is held, described or lost changes the holdings, and the node announces that soon.

use std::time::Duration;

use lighter_similarity::Sketch;
use lighter_types::{Bytes, Card, DiffId, PeerId};
use lighter_wire::{Announcement, PatchRequest, Refusal};

use super::Machines;
use crate::core::Step;
use crate::directory::Heard;
use crate::event::{CachedPatch, Effect, EncodeId, FetchId, Fetched, KeptList, Part, PullId, StreamId, Wanted, Work};
use crate::failure::{EncodeFailure, FetchFailure};
use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use crate::report::{PullFailure, Report};
use crate::serve::Opened;

impl Machines {
    pub fn take(&mut self, input: Input, step: &mut Step<'_>) {
        match input {
            Input::Disk(input) => self.take_disk(input, step),
            Input::Peer(input) => self.take_peer(input, step),
            Input::Work(input) => self.take_work(input, step),
            Input::Operator(input) => self.take_operator(input, step),
            Input::Tick => self.wake_at = None,
        }
    }

    fn take_disk(&mut self, input: DiskInput, step: &mut Step<'_>) {
        match input {
            DiskInput::LayerHeld { card, sketch } => {
                self.hold(card, sketch, step);
                let held = self.fetcher.layer_held(card.diff_id, step.effects);
                self.pulls.layers_ended(held, &mut self.fetcher, step);
            }
            DiskInput::LayerDescribed(card) => {
                if step.core.holdings.describe(card) {
                    self.announcer.announce_soon(step.now);
                }
            }
            DiskInput::LayersTold => step.core.holdings.begin(),
            DiskInput::LayerGone(layer) => self.lose(layer, step),
            DiskInput::PatchHeld(patch) => self.serve.patch_held(patch),
            DiskInput::PatchGone(patch) => self.serve.patch_gone(patch),
            DiskInput::PartHeld { target, part } => self.fetcher.part_held(target, part),
            DiskInput::CalibrationHeld { scope, calibration } => step.core.calibrations.hold(scope, calibration),
            DiskInput::PaceHeld(Work::Encode, pace) => self.serve.pace_held(pace),
            DiskInput::PaceHeld(Work::Apply, pace) => step.core.applying = pace,
            DiskInput::LinkHeld { peer, link } => drop(step.core.links.hold(peer, link)),
            DiskInput::ListHeld(list) => self.list_held(list, step),
        }
    }

    fn take_peer(&mut self, input: PeerInput, step: &mut Step<'_>) {
        match input {
            PeerInput::Connected(peer) => self.connected(peer, step),
            PeerInput::LinkSeen { peer, link } => step.see_link(peer, link),
            PeerInput::Missed => self.announcer.announce_soon(step.now),
            PeerInput::Lost(peer) => step.core.directory.disconnected(peer),
            PeerInput::Unreachable(peer) => self.fetcher.unreachable(peer, step.now),
            PeerInput::Announced { from, announcement } => self.announced(from, announcement, step),
            PeerInput::Asked { question, from, request } => self.asked(question, from, request, step),
            PeerInput::StreamOpened { stream, from, request } => self.stream_opened(stream, from, &request, step),
            PeerInput::StreamServed { stream, link } => self.serve.stream_served(stream, link, step),
            PeerInput::StreamClosed(stream) => self.serve.stream_closed(stream, step),
            PeerInput::StreamsAccepted { from, streams } => self.streams_accepted(from, streams, step),
        }
    }

    fn take_work(&mut self, input: WorkInput, step: &mut Step<'_>) {
        match input {
            WorkInput::Answered { ask, answer } => self.answered(ask, answer, step),
            WorkInput::EncodeProgress { encode, target_bytes_done } => {
                self.serve.encode_progress(encode, target_bytes_done, step.effects);
            }
            WorkInput::EncodeEnded { encode, took, result } => self.encode_ended(encode, took, result, step),
            WorkInput::ImageLookedUp { question, from, found } => self.image_looked_up(question, from, found, step),
            WorkInput::ImageRead { pull, read } => self.pulls.image_read(pull, read, &mut self.fetcher, step),
            WorkInput::BlobKept { pull, result } => self.pulls.blob_kept(pull, result, &mut self.fetcher, step),
            WorkInput::ImageCommitted { pull, result } => self.pulls.committed(pull, result, &mut self.fetcher, step),
            WorkInput::FetchWorking { fetch, done, total } => self.fetch_working(fetch, done, total, step),
            WorkInput::FetchProgress { fetch, part } => self.fetch_progress(fetch, part, step),
            WorkInput::FetchEnded { fetch, result } => self.fetch_ended(fetch, result, step),
            WorkInput::Unpacked { layer, held } => self.unpacked(layer, held, step),
        }
    }

    fn take_operator(&mut self, input: OperatorInput, step: &mut Step<'_>) {
        match input {
            OperatorInput::PullAsked { pull, wanted } => self.pull_asked(pull, wanted, step),
            OperatorInput::PullCancelled(pull) => {
                self.pulls.fail(pull, PullFailure::Cancelled, &mut self.fetcher, step);
            }
            OperatorInput::SketchesWanted(layers) => step.want_sketches(layers),
            OperatorInput::Stop => self.stop(step),
        }
    }

    /// A layer is held from now on: its own sketch shows whether the peer that described it told the truth.
    fn hold(&mut self, card: Card, sketch: Option<Sketch>, step: &mut Step<'_>) {
        if step.core.holdings.add(card) {
            self.announcer.announce_soon(step.now);
        }
        if let Some(sketch) = sketch {
            step.core.holdings.add_sketch(card.diff_id, sketch);
        }
        if let Some((claimed, from)) = step.core.sketches.forget(card.diff_id) {
            step.check_sketch(card.diff_id, &claimed, from);
        }
    }

    fn lose(&mut self, layer: DiffId, step: &mut Step<'_>) {
        step.core.calibrations.forget(layer);
        if step.core.holdings.remove(layer) {
            self.announcer.announce_soon(step.now);
        }
    }

    fn list_held(&mut self, KeptList { peer, cards }: KeptList, step: &mut Step<'_>) {
        step.core.directory.remember(peer, cards);
        if let Some(digest) = step.core.directory.known_list(peer) {
            self.kept_lists.held(peer, digest);
        }
    }

    fn connected(&mut self, peer: PeerId, step: &mut Step<'_>) {
        if step.is_cut_off(peer) {
            return;
        }
        step.core.directory.connected(peer, step.now);
        // The node connects to a relay for the one patch that it was referred for, not for the relay's other layers.
        if !self.fetcher.is_referred_to(peer) {
            step.ask_holdings(peer);
        }
    }

    fn announced(&mut self, from: PeerId, announcement: Announcement, step: &mut Step<'_>) {
        if !self.admits(from, step) {
            return;
        }
        match step.core.directory.announced(from, announcement, step.now) {
            Heard::Behind => step.ask_holdings(from),
            Heard::Current | Heard::Ignored => {}
        }
    }

    fn stream_opened(&mut self, stream: StreamId, from: PeerId, request: &PatchRequest, step: &mut Step<'_>) {
        if self.admits(from, step) {
            let coming = self.fetcher.coming(request.target);
            self.serve.stream_opened(Opened { stream, from, request, coming }, step);
        } else {
            step.effects.push(Effect::Refuse { stream, refusal: Refusal::BUSY });
        }
    }

    fn encode_ended(
        &mut self,
        encode: EncodeId,
        took: Duration,
        result: Result<CachedPatch, EncodeFailure>,
        step: &mut Step<'_>,
    ) {
        if let Err(EncodeFailure::LayerGone(layer)) = result {
            self.lose(layer, step);
        }
        self.serve.encode_ended(encode, took, result.ok(), step);
    }

    fn fetch_working(&mut self, fetch: FetchId, done: Bytes, total: Option<Bytes>, step: &mut Step<'_>) {
        self.fetcher.working(fetch, (done, total), step.now);
        if let Some(target) = self.fetcher.target_of(fetch) {
            self.serve.still_coming(target, done, step.effects);
        }
    }

    fn fetch_progress(&mut self, fetch: FetchId, part: Part, step: &mut Step<'_>) {
        if let Some(target) = self.fetcher.passes_on(fetch, &part) {
            self.serve.part_grew(target, &part, step.effects);
        }
        self.fetcher.progress(fetch, part, step);
    }

    fn fetch_ended(&mut self, fetch: FetchId, result: Result<Fetched, FetchFailure>, step: &mut Step<'_>) {
        match &result {
            Ok(fetched) => {
                self.serve.patch_held(fetched.patch.clone());
                self.hold(fetched.card, fetched.sketch.clone(), step);
            }
            Err(FetchFailure::BaseGone(base)) => self.lose(*base, step),
            Err(_) => {}
        }
        let outcome = self.fetcher.ended(fetch, result, step);
        self.pulls.layers_ended(outcome, &mut self.fetcher, step);
    }

    fn unpacked(&mut self, layer: DiffId, held: Option<(Card, Option<Sketch>)>, step: &mut Step<'_>) {
        let is_held = held.map(|(card, sketch)| self.hold(card, sketch, step)).is_some();
        let outcome = self.fetcher.unpacked(layer, is_held, step);
        self.pulls.layers_ended(outcome, &mut self.fetcher, step);
    }

    fn pull_asked(&mut self, pull: PullId, wanted: Wanted, step: &mut Step<'_>) {
        if self.is_stopping {
            step.report(pull, Report::Failed { why: PullFailure::Stopping });
        } else {
            self.pulls.begin(pull, wanted, step);
        }
    }
}
