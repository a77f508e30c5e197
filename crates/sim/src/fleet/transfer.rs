//! Patches on their way: opened, served in pieces, kept frame by frame, applied.
//!
//! A requester opens a stream; the provider's engine answers with `Serve`, `Refuse` or `Refer`. A served patch is sent
//! in pieces, no faster than it comes to a provider that passes it on. The requester keeps whole frames on its disk and
//! applies each frame when it is there and the frame before is applied. The provider's part is over when all has been
//! sent, the requester's when all is applied. At the end, both engines hear of it, unless they began another life.

use std::time::Duration;

use lighter_engine::{FetchFailure, FetchId, FetchStep, Fetched, Input, LostCause, PeerInput, StreamId, WorkInput};
use lighter_types::{Bytes, PatchId, broken};
use lighter_wire::{Message, PatchRequest};

use super::Fleet;
use super::due::Due;
use super::effects::STREAM_BYTES;
use super::node::peer;
use super::streams::{Sending, Stream, end_of, settings_of};
use crate::network::Flow;
use crate::queue::Micros;

/// The end of a stream whose other end, or whose patch, went.
pub const LOST: FetchFailure = FetchFailure::Lost(LostCause::ConnectionClosed(FetchStep::Frames));

/// The bytes of a patch before its first frame.
const HEADER_BYTES: u64 = 1000;
/// An answer that is no patch, with the headers of its packet.
const REPLY_BYTES: u64 = 150;
/// Both ends learn after this that a stream is over.
const END: Micros = 1000;

impl Fleet {
    pub fn fetch(&mut self, node: usize, fetch: FetchId, from: usize, request: PatchRequest) {
        let id = StreamId(self.fresh_number());
        let bytes = request.encode().map_or(0, |bytes| bytes.len() as u64) + STREAM_BYTES;
        let (to, from) = ((node, self.nodes[node].life), (from, self.nodes[from].life));
        self.streams.insert(id, Stream { to, from, fetch, request, is_open: false, sending: None });
        if self.nodes[from.0].is_online && !self.are_parted(node, from.0) {
            self.send(node, from.0, bytes, Due::Opened(id));
        } else {
            self.end_stream(id, Err(LOST));
        }
    }

    /// The request arrives at the provider.
    pub fn opened(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (from, life) = stream.from;
        if self.nodes[from].life != life {
            return self.end_stream(id, Err(LOST));
        }
        stream.is_open = true;
        let (requester, request) = (peer(stream.to.0), stream.request.clone());
        self.step(from, Input::Peer(PeerInput::StreamOpened { stream: id, from: requester, request }));
    }

    /// The provider tells the requester that it makes the patch.
    pub fn working(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let ((to, _), (from, _), fetch) = (stream.to, stream.from, stream.fetch);
        self.send_input(from, to, 20, Input::Work(WorkInput::FetchWorking { fetch }));
    }

    pub fn serve(&mut self, node: usize, id: StreamId, patch: PatchId, first_frame: u32) {
        let held = self.nodes[node].disk.patches.get(&patch).or_else(|| self.streams.receiving(node, patch)).cloned();
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Some(patch) = held else { return self.end_stream(id, Err(LOST)) };
        let requester = stream.to.0;
        let now = self.wires.now();
        if let Some(failure) = self.trouble.flaws_of(requester).iter().find_map(|flaw| flaw.reserve(now).err()) {
            // The requester reserves room for the layer when the header has come.
            let failure = Box::new(failure);
            return self.send(node, requester, HEADER_BYTES, Due::Ends { stream: id, failure });
        }
        let path = self.wires.links.path(&self.topology, node, requester);
        let frames = self.content.frames(&patch);
        let had = end_of(&frames, first_frame);
        let pace = self.connections.pace(node, requester);
        let flow = Flow::new(&self.wires.network, pace, path, (patch.bytes.0 - had).max(1));
        stream.sending = Some(Sending::new(patch, frames, flow, had, now));
        if self.streams.served_by(node) > self.nodes[node].engine.settings().streams_max {
            self.violation(node, "more streams are served than allowed");
        }
        self.pump(id);
    }

    /// Sends as much of a patch as may be on its way.
    fn pump(&mut self, id: StreamId) {
        let Some(ends) = self.streams.get(id).map(|stream| [stream.from.0, stream.to.0]) else { return };
        let is_joined = self.is_reachable(ends[0], ends[1]);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (from, life) = stream.from;
        let Some(sending) = &mut stream.sending else { return };
        let provider = &self.nodes[from];
        let sends_on = self.trouble.flaws_of(from).iter().all(|flaw| flaw.sends_on(sending.flow.arrived));
        if is_joined && sends_on && provider.life == life {
            let there = provider.disk.sendable_bytes(&sending.patch).saturating_sub(sending.had);
            let pace = self.connections.pace(from, ends[1]);
            sending.flow.pump(&mut self.wires.network, pace, there, |bytes| Due::Piece { stream: id, bytes });
        }
    }

    /// The connections of a node's streams were silent: they begin as new ones do.
    pub fn start_again(&mut self, node: usize) {
        for (_, stream) in self.streams.of(node) {
            self.connections.forget_pace(stream.from.0, stream.to.0);
        }
    }

    /// All streams of a node go on.
    pub fn pump_streams(&mut self, node: usize) {
        self.streams.ids_of(node).into_iter().for_each(|stream| self.pump(stream));
    }

    /// Bytes of a patch arrive at the requester.
    pub fn piece(&mut self, id: StreamId, bytes: u64) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((node, life), (from, _), fetch) = (stream.to, stream.from, stream.fetch);
        if self.nodes[node].life != life {
            return;
        }
        let Some(sending) = &mut stream.sending else { return broken("a piece of a patch that is not sent") };
        sending.flow.take(bytes);
        if from < self.topology.hubs {
            self.record.hub_stream_bytes += bytes;
        }
        if let Some(failure) = self.trouble.flaws_of(from).iter().find_map(|flaw| flaw.sent().err()) {
            return self.end_stream(id, Err(failure));
        }
        let bytes = sending.bytes_there();
        let (part, is_done) = (sending.part(bytes), sending.flow.is_done());
        // Frames that were on disk before are applied anew.
        sending.apply(part.frames as usize, self.content.applying(&sending.patch), self.wires.now());
        let (applied_at, patch) = (sending.applied_at, sending.patch.patch);
        if part.frames > 0 {
            // A frame that is not whole does not survive.
            let kept = end_of(&sending.frames, part.frames).min(bytes);
            self.nodes[node].disk.parts.insert(sending.patch.target, sending.part(kept));
        }
        self.streams.passing_on(node, patch).into_iter().for_each(|id| self.pump(id));
        self.step(node, Input::Work(WorkInput::FetchProgress { fetch, part }));
        if is_done {
            self.served(id);
            self.wires.at(applied_at, Due::Applied(id));
        } else {
            self.pump(id);
        }
    }

    /// The provider has sent all. The requester still applies it.
    fn served(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((from, life), Some(sending)) = (stream.from, &stream.sending) else {
            return broken("a patch that is not sent has come");
        };
        let (bytes, began) = (Bytes(sending.flow.arrived), sending.began);
        if self.nodes[from].life == life && std::mem::take(&mut stream.is_open) {
            let took = Duration::from_micros(self.wires.now() - began);
            self.input_after(END, from, Input::Peer(PeerInput::StreamServed { stream: id, bytes, took }));
            self.input_after(END, from, Input::Peer(PeerInput::StreamClosed(id)));
        }
    }

    /// The requester has applied all.
    pub fn applied(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let ((node, life), Some(sending)) = (stream.to, &stream.sending) else {
            return broken("a patch that is not sent is applied");
        };
        if self.nodes[node].life != life {
            return;
        }
        let (patch, received) = (sending.patch.clone(), Bytes(sending.flow.arrived));
        let Some(&card) = self.content.cards.get(&patch.target) else {
            return broken("a patch for a layer that the scenario does not have");
        };
        let disk = &mut self.nodes[node].disk;
        disk.parts.remove(&patch.target);
        if let Some(failure) = self.trouble.flaws_of(node).iter().find_map(|flaw| flaw.apply(&patch.bases).err()) {
            if let FetchFailure::BaseGone(base) = failure {
                disk.layers.remove(&base);
            }
            return self.end_stream(id, Err(failure));
        }
        let can_apply = patch.bases.iter().all(|base| disk.layers.contains(base));
        disk.layers.insert(patch.target);
        disk.patches.insert(patch.patch, patch.clone());
        if !can_apply {
            self.violation(node, "a patch was applied without its bases");
        }
        let (settings, sketch) = (settings_of(&patch), self.content.sketch(patch.target));
        self.end_stream(id, Ok(Fetched { card, sketch, patch, settings, received }));
    }

    /// The provider has another answer than a patch. The requester learns of it when it arrives.
    pub fn turn_away(&mut self, id: StreamId, failure: FetchFailure) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let ((to, _), (from, _)) = (stream.to, stream.from);
        if std::mem::take(&mut stream.is_open) {
            self.input_after(END, from, Input::Peer(PeerInput::StreamClosed(id)));
        }
        self.send(from, to, REPLY_BYTES, Due::Ends { stream: id, failure: Box::new(failure) });
    }

    /// Both ends learn that the stream is over.
    pub fn end_stream(&mut self, id: StreamId, result: Result<Fetched, FetchFailure>) {
        let Some(stream) = self.streams.remove(id) else { return };
        let ((to, to_life), (from, from_life)) = (stream.to, stream.from);
        // A patch that comes no more cannot be passed on.
        if let (Some(sending), Err(_)) = (&stream.sending, &result) {
            let passed_on = self.streams.passing_on(to, sending.patch.patch);
            passed_on.into_iter().for_each(|id| self.end_stream(id, Err(LOST)));
        }
        if self.nodes[to].life == to_life {
            self.input_after(END, to, Input::Work(WorkInput::FetchEnded { fetch: stream.fetch, result }));
        }
        if self.nodes[from].life == from_life && stream.is_open {
            self.input_after(END, from, Input::Peer(PeerInput::StreamClosed(id)));
        }
    }

    pub fn stop_fetch(&mut self, node: usize, fetch: FetchId) {
        if let Some(id) = self.streams.fetching(node, fetch) {
            self.end_stream(id, Err(FetchFailure::Stopped));
        }
    }

    /// Ends all streams of a node as lost.
    pub fn break_streams(&mut self, node: usize) {
        self.streams.ids_of(node).into_iter().for_each(|id| self.end_stream(id, Err(LOST)));
    }

    /// Ends the streams between a node and other sites as lost.
    pub fn break_far_streams(&mut self, node: usize) {
        for id in self.streams.ids_of(node) {
            let Some(stream) = self.streams.get(id) else { continue };
            let [to, from] = [stream.to.0, stream.from.0].map(|end| self.topology.nodes[end].site);
            if to != from {
                self.end_stream(id, Err(LOST));
            }
        }
    }
}
